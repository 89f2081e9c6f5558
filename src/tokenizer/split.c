/* split.c - see split.h.  A pre-tokenizer becomes a line of stages; each cuts the pieces that the one before
 * left, depth first.  Nearly all types are a search by regular expression; ByteLevel and Metaspace also
 * rewrite the text, which begins a new level: a text of its own, with the patterns of the stages that follow
 * as one alphabet. GOTCHAS: positions are characters (bytes where the level has no patterns, or the text is
 * ASCII); a piece's end is the text's end for look-around; UnicodeScripts loses what has no script at a
 * piece's beginning, as the reference does. */
#include "tokenizer/split.h"
#include "tokenizer/regex.h"
#include <string.h>

enum { MAX_STAGES = 32, MAX_LEVELS = 12, MAX_NESTING = 16 };
enum op { FIND, SCRIPTS, FIXED, SPACE, LETTERS, REPLACE };
enum behaviour { ISOLATED, REMOVED, CONTIGUOUS, WITH_PREVIOUS, WITH_NEXT };
enum scheme { ALWAYS, FIRST, NEVER };

struct stage {
	enum op op;
	int level;   /* of the text that it cuts or rewrites */
	int pattern; /* FIND: which one of the level */
	enum behaviour behaviour;
	bool invert;
	size_t length;      /* FIXED */
	enum scheme scheme; /* REPLACE */
	char with[4];
	int n_with;
};

struct split {
	int n, n_levels;
	bool bytes;
	struct regex *regex[MAX_LEVELS]; /* NULL: the level has no patterns */
	struct stage stage[MAX_STAGES];
};

struct split_work {
	struct {
		struct regex_work regex;
		struct lm_buf text;
	} level[MAX_LEVELS];
};

#define GPT2        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define PUNCTUATION "[\\p{=punct}$+<=>^`|~]"

/* ---- from JSON
 * -------------------------------------------------------------------------------------------------------------
 */

struct build {
	struct split *sp;
	struct regex_pattern pattern[MAX_STAGES];
	struct lm_err *err;
};

static int get_bool(struct build *b, const json_t *spec, const char *type, const char *key, int missing,
		    bool *out)
{
	const json_t *v = json_object_get(spec, key);
	if (!v && missing >= 0) {
		*out = missing;
		return 0;
	}
	if (!json_is_boolean(v))
		return lm_fail(b->err, LM_EFORMAT, "pre_tokenizer %s: \"%s\" must be true or false", type,
			       key);
	*out = json_is_true(v);
	return 0;
}

static int get_char(struct build *b, const json_t *spec, const char *type, const char *key, const char **s,
		    size_t *n)
{
	const json_t *v = json_object_get(spec, key);
	uint32_t cp;
	*s = json_string_value(v);
	*n = json_string_length(v);
	if (!*s || !*n || (size_t)lm_utf8_next(*s, *n, &cp) != *n)
		return lm_fail(b->err, LM_EFORMAT, "pre_tokenizer %s: \"%s\" must be one character", type,
			       key);
	return 0;
}

static int get_behaviour(struct build *b, const json_t *spec, const char *type, int missing,
			 enum behaviour *out)
{
	static const char *const names[] = { "Isolated", "Removed", "Contiguous", "MergedWithPrevious",
					     "MergedWithNext" };
	const json_t *v = json_object_get(spec, "behavior");
	const char *s = json_string_value(v);
	if (!v && missing >= 0) {
		*out = (enum behaviour)missing;
		return 0;
	}
	for (int i = 0; s && i < 5; i++)
		if (!strcmp(s, names[i])) {
			*out = (enum behaviour)i;
			return 0;
		}
	return lm_fail(
		b->err, LM_EFORMAT,
		"pre_tokenizer %s: \"behavior\" must be Removed, Isolated, Contiguous, MergedWithPrevious "
		"or MergedWithNext",
		type);
}

static int add(struct build *b, struct stage st)
{
	struct split *sp = b->sp;
	if (sp->n == MAX_STAGES)
		return lm_fail(b->err, LM_ELIMIT, "pre_tokenizer: over %d steps", MAX_STAGES);
	st.level = sp->n_levels - 1;
	sp->stage[sp->n++] = st;
	if (st.op == FIND || st.op == SCRIPTS || st.op == FIXED) return 0;
	if (sp->n_levels == MAX_LEVELS)
		return lm_fail(b->err, LM_ELIMIT, "pre_tokenizer: the text is rewritten over %d times",
			       MAX_LEVELS - 1);
	sp->n_levels++;
	return 0;
}

static int find(struct build *b, const char *s, size_t n, bool literal, bool own, enum behaviour behaviour,
		bool invert)
{
	if (b->sp->n < MAX_STAGES) b->pattern[b->sp->n] = (struct regex_pattern){ s, n, literal, own };
	return add(b, (struct stage){ .op = FIND, .behaviour = behaviour, .invert = invert });
}

static int find_own(struct build *b, const char *s, enum behaviour behaviour, bool invert)
{
	return find(b, s, strlen(s), false, true, behaviour, invert);
}

static int split_type(struct build *b, const json_t *spec)
{
	const json_t *p = json_object_get(spec, "pattern"), *s = json_object_get(p, "String"),
		     *re = json_object_get(p, "Regex");
	enum behaviour behaviour = ISOLATED;
	bool invert = false;
	if (json_object_size(p) != 1 || !json_is_string(s ? s : re))
		return lm_fail(
			b->err, LM_EFORMAT,
			"pre_tokenizer Split: \"pattern\" must be {\"String\": ..} or {\"Regex\": ..}");
	int rc = get_behaviour(b, spec, "Split", -1, &behaviour);
	if (!rc) rc = get_bool(b, spec, "Split", "invert", -1, &invert);
	if (rc) return rc;
	return find(b, json_string_value(s ? s : re), json_string_length(s ? s : re), s != NULL, false,
		    behaviour, invert);
}

static int byte_level(struct build *b, const json_t *spec)
{
	bool prefix = false, regex = false;
	int rc = get_bool(b, spec, "ByteLevel", "add_prefix_space", -1, &prefix);
	if (!rc) rc = get_bool(b, spec, "ByteLevel", "use_regex", true, &regex);
	if (!rc && prefix) rc = add(b, (struct stage){ .op = SPACE });
	if (!rc && regex) rc = find_own(b, GPT2, ISOLATED, false);
	return rc ? rc : add(b, (struct stage){ .op = LETTERS });
}

static int metaspace(struct build *b, const json_t *spec)
{
	struct stage st = { .op = REPLACE };
	static const char *const schemes[] = { "always", "first", "never" };
	const json_t *scheme = json_object_get(spec, "prepend_scheme");
	const char *s;
	size_t n;
	bool legacy = false, cut = false;
	int rc = get_char(b, spec, "Metaspace", "replacement", &s, &n), k = 0;
	if (rc) return rc;
	memcpy(st.with, s, n);
	st.n_with = (int)n;
	for (; scheme && k < 3 && !(json_is_string(scheme) && !strcmp(json_string_value(scheme), schemes[k]));
	     k++) {
	}
	if (k == 3)
		return lm_fail(b->err, LM_EFORMAT,
			       "pre_tokenizer Metaspace: \"prepend_scheme\" must be always, first or never");
	st.scheme = (enum scheme)k;
	const json_t *old = json_object_get(spec, "add_prefix_space"),
		     *split = json_object_get(spec, "split");
	rc = get_bool(b, json_is_null(old) ? NULL : spec, "Metaspace", "add_prefix_space", true, &legacy);
	if (!rc) rc = get_bool(b, json_is_null(split) ? NULL : spec, "Metaspace", "split", true, &cut);
	if (rc) return rc;
	if (!legacy && scheme && st.scheme != NEVER)
		return lm_fail(
			b->err, LM_EFORMAT,
			"pre_tokenizer Metaspace: \"add_prefix_space\" and \"prepend_scheme\" disagree");
	if (!legacy) st.scheme = NEVER;
	rc = add(b, st);
	return rc || !cut ? rc : find(b, s, n, true, false, WITH_NEXT, false);
}

static int fixed_length(struct build *b, const json_t *spec)
{
	const json_t *v = json_object_get(spec, "length");
	if (v && (!json_is_integer(v) || json_integer_value(v) < 1))
		return lm_fail(b->err, LM_EFORMAT,
			       "pre_tokenizer FixedLength: \"length\" must be a whole number above 0");
	return add(b, (struct stage){ .op = FIXED, .length = v ? (size_t)json_integer_value(v) : 5 });
}

static int compile(struct build *b, const json_t *spec, int depth);

static int sequence(struct build *b, const json_t *spec, int depth)
{
	const json_t *list = json_object_get(spec, "pretokenizers"), *v;
	size_t i;
	int rc = 0;
	if (!json_is_array(list))
		return lm_fail(b->err, LM_EFORMAT,
			       "pre_tokenizer Sequence: \"pretokenizers\" must be an array");
	if (depth == MAX_NESTING)
		return lm_fail(b->err, LM_ELIMIT, "pre_tokenizer: Sequences nested over %d deep",
			       MAX_NESTING);
	json_array_foreach(list, i, v)
	{
		rc = compile(b, v, depth + 1);
		if (rc) break;
	}
	return rc;
}

static int compile(struct build *b, const json_t *spec, int depth)
{
	const char *type = json_string_value(json_object_get(spec, "type"));
	enum behaviour behaviour = ISOLATED;
	const char *s;
	size_t n;
	bool yes = false;
	int rc;
	if (!type)
		return lm_fail(b->err, LM_EFORMAT, "pre_tokenizer: an object with a \"type\" was expected");
	if (!strcmp(type, "Sequence")) return sequence(b, spec, depth);
	if (!strcmp(type, "Split")) return split_type(b, spec);
	if (!strcmp(type, "ByteLevel")) return byte_level(b, spec);
	if (!strcmp(type, "Metaspace")) return metaspace(b, spec);
	if (!strcmp(type, "FixedLength")) return fixed_length(b, spec);
	if (!strcmp(type, "UnicodeScripts")) return add(b, (struct stage){ .op = SCRIPTS });
	if (!strcmp(type, "Whitespace")) return find_own(b, "[\\p{=word}]+|[^\\p{=word}\\s]+", REMOVED, true);
	if (!strcmp(type, "WhitespaceSplit")) return find_own(b, "[\\p{=space}]+", REMOVED, false);
	if (!strcmp(type, "BertPreTokenizer")) {
		rc = find_own(b, "[\\p{=space}]+", REMOVED, false);
		return rc ? rc : find_own(b, PUNCTUATION, ISOLATED, false);
	}
	if (!strcmp(type, "Digits")) {
		rc = get_bool(b, spec, type, "individual_digits", -1, &yes);
		return rc ? rc : find_own(b, yes ? "\\p{=numeric}" : "\\p{=numeric}+", ISOLATED, false);
	}
	if (!strcmp(type, "Punctuation")) {
		rc = get_behaviour(b, spec, type, ISOLATED, &behaviour);
		return rc ? rc : find_own(b, PUNCTUATION, behaviour, false);
	}
	if (!strcmp(type, "CharDelimiterSplit")) {
		rc = get_char(b, spec, type, "delimiter", &s, &n);
		return rc ? rc : find(b, s, n, true, false, REMOVED, false);
	}
	return lm_fail(b->err, LM_EUNSUPPORTED, "pre_tokenizer type \"%.40s\" is not known", type);
}

/* One regex per level, of the patterns of its stages. */
static int compile_levels(struct build *b)
{
	struct split *sp = b->sp;
	struct regex_pattern p[MAX_STAGES];
	for (int level = 0; level < sp->n_levels; level++) {
		int n = 0;
		for (int i = 0; i < sp->n; i++)
			if (sp->stage[i].level == level && sp->stage[i].op == FIND) {
				sp->stage[i].pattern = n;
				p[n++] = b->pattern[i];
			}
		int rc = n ? regex_new(&sp->regex[level], p, n, b->err) : 0;
		if (rc) return b->err ? lm_context(b->err, "pre_tokenizer: ") : rc;
	}
	return 0;
}

int split_prefix_space(json_t *spec)
{
	const char *type = json_string_value(json_object_get(spec, "type"));
	size_t i;
	json_t *sub;
	int rc = 0;
	if (type && !strcmp(type, "ByteLevel")) return json_object_set_new(spec, "add_prefix_space", json_true());
	json_array_foreach(json_object_get(spec, "pretokenizers"), i, sub) rc |= split_prefix_space(sub);
	return rc;
}

int split_new(struct split **out, const json_t *spec, struct lm_err *err)
{
	struct split *sp = lm_calloc(1, sizeof *sp);
	if (!sp) return lm_fail(err, LM_ENOMEM, "out of memory for the pre-tokenizer");
	sp->n_levels = 1;
	struct build b = { .sp = sp, .err = err };
	int rc = spec && !json_is_null(spec) ? compile(&b, spec, 0) : 0;
	if (!rc && sp->n && sp->stage[sp->n - 1].op == LETTERS) {
		sp->bytes = true;
		sp->n--;
		sp->n_levels--;
	}
	if (!rc) rc = compile_levels(&b);
	if (rc)
		split_free(sp);
	else
		*out = sp;
	return rc;
}

void split_free(struct split *sp)
{
	if (!sp) return;
	for (int i = 0; i < MAX_LEVELS; i++) regex_free(sp->regex[i]);
	lm_free(sp);
}

bool split_gives_bytes(const struct split *sp)
{
	return sp->bytes;
}

struct split_work *split_work_new(void)
{
	return lm_calloc(1, sizeof(struct split_work));
}

void split_work_free(struct split_work *w)
{
	if (!w) return;
	for (int i = 0; i < MAX_LEVELS; i++) {
		regex_work_free(&w->level[i].regex);
		lm_buf_free(&w->level[i].text);
	}
	lm_free(w);
}

/* ---- running
 * ---------------------------------------------------------------------------------------------------------------
 */

struct run {
	const struct split *sp;
	struct split_work *w;
	split_fn *fn;
	void *ud;
	struct lm_err *err;
};

struct text {
	const char *s;
	size_t n; /* characters, or bytes if `plain` */
	bool plain;
	size_t at, byte; /* a position, and where its bytes begin */
	bool first;      /* its beginning is the whole text's */
	size_t added;    /* bytes at its beginning that a rewriting added */
	struct regex_work *work;
};

static int cut(struct run *r, struct text *t, int k, size_t lo, size_t hi);

static size_t byte_of(struct text *t, size_t at)
{
	if (t->plain) {
		t->byte += at - t->at;
	} else {
		const unsigned char *s = (const unsigned char *)t->s + t->byte;
		for (size_t n = at - t->at; n; n--) s += *s < 0x80 ? 1 : *s < 0xE0 ? 2 : *s < 0xF0 ? 3 : 4;
		t->byte = (size_t)(s - (const unsigned char *)t->s);
	}
	t->at = at;
	return t->byte;
}

/* Stages from k on, over a text of stage k's level. */
static int run_text(struct run *r, int k, int level, struct text t)
{
	const struct regex *re = r->sp->regex[level];
	t.plain = true;
	t.work = &r->w->level[level].regex;
	if (re) {
		int64_t n = regex_read(re, t.work, t.s, t.n, r->err);
		if (n < 0) return (int)n;
		t.plain = (size_t)n == t.n;
		t.n = (size_t)n;
	}
	return cut(r, &t, k, 0, t.n);
}

/* The byte-level letters of GPT-2. */
static void add_letters(struct lm_buf *out, const char *s, size_t n)
{
	char some[256];
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t b = (unsigned char)s[i], c = b;
		if (b <= 0x20)
			c = 0x100 + b;
		else if (b >= 0x7F && b <= 0xA0)
			c = 0x121 + b - 0x7F;
		else if (b == 0xAD)
			c = 0x143;
		if (c < 0x80) {
			some[k++] = (char)c;
		} else {
			some[k++] = (char)(0xC0 | c >> 6);
			some[k++] = (char)(0x80 | (c & 63));
		}
		if (k > sizeof some - 2) {
			lm_buf_add(out, some, k);
			k = 0;
		}
	}
	lm_buf_add(out, some, k);
}

static void replace_spaces(struct lm_buf *out, const struct stage *st, const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		const char *space = memchr(s + i, ' ', n - i);
		size_t end = space ? (size_t)(space - s) : n;
		lm_buf_add(out, s + i, end - i);
		if (space) lm_buf_add(out, st->with, (size_t)st->n_with);
		i = end + 1;
	}
}

/* The stages that give the piece another text. */
static int rewrite(struct run *r, struct text *t, int k, size_t lo, size_t hi)
{
	const struct stage *st = &r->sp->stage[k];
	struct lm_buf *b = &r->w->level[st->level + 1].text;
	size_t begin = byte_of(t, lo), n = byte_of(t, hi) - begin;
	const char *s = t->s + begin;
	struct text sub = { .s = s, .n = n, .first = t->first && begin <= t->added };
	b->n = 0;
	if (st->op == SPACE) {
		if (*s == ' ') return run_text(r, k + 1, st->level + 1, sub);
		lm_buf_char(b, ' ');
		sub.added = 1;
		lm_buf_add(b, s, n);
	} else if (st->op == LETTERS) {
		add_letters(b, s, n);
	} else {
		size_t w = (size_t)st->n_with;
		bool has = *s == ' ' || (n >= w && !memcmp(s, st->with, w));
		if (!has && (st->scheme == ALWAYS || (st->scheme == FIRST && sub.first))) {
			lm_buf_add(b, st->with, w);
			sub.added = w;
		}
		replace_spaces(b, st, s, n);
	}
	if (b->bad) return lm_fail(r->err, LM_ENOMEM, "out of memory for the pre-tokenizer");
	sub.s = b->p;
	sub.n = b->n;
	return run_text(r, k + 1, st->level + 1, sub);
}

/* The piece in stretches of characters of one script; those of none go with what is before them. */
static int cut_scripts(struct run *r, struct text *t, int k, size_t lo, size_t hi)
{
	size_t begin = hi, at = lo, i = byte_of(t, lo);
	const char *s = t->s;
	int last = 0, rc = 0;
	while (at < hi && !rc) {
		uint32_t cp;
		int len = lm_utf8_next(s + i, 4, &cp), script = uni_script(cp);
		if (script && script != last) {
			if (begin < at) rc = cut(r, t, k + 1, begin, at);
			begin = at;
		}
		if (script) last = script;
		i += (size_t)len;
		at += t->plain ? (size_t)len : 1;
	}
	return rc || begin >= hi ? rc : cut(r, t, k + 1, begin, hi);
}

static int cut_fixed(struct run *r, struct text *t, int k, size_t lo, size_t hi)
{
	size_t length = r->sp->stage[k].length, count = 0, begin = lo, at = lo, i = byte_of(t, lo);
	int rc = 0;
	while (at < hi && !rc) {
		unsigned char c = (unsigned char)t->s[i];
		size_t len = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
		i += len;
		at += t->plain ? len : 1;
		if (++count < length && at < hi) continue;
		rc = cut(r, t, k + 1, begin, at);
		begin = at;
		count = 0;
	}
	return rc;
}

/* A piece that may grow: CONTIGUOUS, WITH_PREVIOUS and WITH_NEXT. */
struct held {
	size_t lo, hi;
	bool any, match;
};

static int hold(struct run *r, struct text *t, int k, struct held *h, size_t lo, size_t hi, bool match)
{
	enum behaviour b = r->sp->stage[k].behaviour;
	bool join = h->any && (b == CONTIGUOUS      ? h->match == match
			       : b == WITH_PREVIOUS ? match && !h->match
						    : h->match && !match);
	int rc = 0;
	if (!join) {
		if (h->any) rc = cut(r, t, k + 1, h->lo, h->hi);
		h->lo = lo;
	}
	h->hi = hi;
	h->any = true;
	h->match = match;
	return rc;
}

/* One stretch that the search found (`match`) or left. */
static inline int stretch(struct run *r, struct text *t, int k, struct held *h, size_t lo, size_t hi,
			  bool match)
{
	enum behaviour b = r->sp->stage[k].behaviour;
	if (b == ISOLATED) return cut(r, t, k + 1, lo, hi);
	if (b == REMOVED) return match ? 0 : cut(r, t, k + 1, lo, hi);
	return hold(r, t, k, h, lo, hi, match);
}

static int cut_found(struct run *r, struct text *t, int k, size_t lo, size_t hi)
{
	const struct stage *st = &r->sp->stage[k];
	const struct regex *re = r->sp->regex[st->level];
	struct held h = { 0 };
	size_t from = lo, at = lo, last = SIZE_MAX, stop = hi + regex_may_be_empty(re, st->pattern);
	int rc = 0;
	while (at < stop) {
		size_t b, e;
		int found = regex_find(re, t->work, st->pattern, lo, hi, at, &b, &e, r->err);
		if (found < 0) return found;
		if (!found) break;
		if (b == e && e == last) { /* nothing, where the last one ended */
			at++;
			continue;
		}
		at = last = e;
		if (from != b) rc = stretch(r, t, k, &h, from, b, st->invert);
		if (!rc) rc = stretch(r, t, k, &h, b, e, !st->invert);
		if (rc) return rc;
		from = e;
	}
	if (from != hi) rc = stretch(r, t, k, &h, from, hi, st->invert);
	return rc || !h.any ? rc : cut(r, t, k + 1, h.lo, h.hi);
}

static int cut(struct run *r, struct text *t, int k, size_t lo, size_t hi)
{
	if (lo == hi) return 0;
	if (k == r->sp->n) {
		size_t begin = byte_of(t, lo);
		return r->fn(r->ud, t->s + begin, byte_of(t, hi) - begin);
	}
	switch (r->sp->stage[k].op) {
	case FIND: return cut_found(r, t, k, lo, hi);
	case SCRIPTS: return cut_scripts(r, t, k, lo, hi);
	case FIXED: return cut_fixed(r, t, k, lo, hi);
	default: return rewrite(r, t, k, lo, hi);
	}
}

int split_run(const struct split *sp, struct split_work *w, const char *s, size_t n, bool first, split_fn *fn,
	      void *ud, struct lm_err *err)
{
	struct run r = { sp, w, fn, ud, err };
	if (!n) return 0;
	if (!sp->n) return fn(ud, s, n);
	return run_text(&r, 0, 0, (struct text){ .s = s, .n = n, .first = first });
}
