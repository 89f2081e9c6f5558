/* norm.c - a normalizer is a row of steps; nested Sequences are laid out flat. */
#include "tokenizer/letters.h"
#include "tokenizer/norm_impl.h"

enum { MAX_STEPS = 256, MAX_DEPTH = 64, GROWTH = 64 };

enum kind { FORM, CHARS, BERT, STRIP, REPLACE, PREPEND, PRECOMPILED, BYTE_LEVEL, SPM };

struct step {
	enum kind kind;
	unsigned form;                 /* FORM */
	bool left, right;              /* STRIP */
	struct norm_chars chars, late; /* CHARS, BERT; late: what follows NFD where marks may move */
	bool moves;
	struct replace replace; /* REPLACE; PREPEND: put */
	struct charsmap *map;   /* PRECOMPILED, SPM */
	struct spm_opts spm;
};
struct norm {
	uint16_t *flags; /* norm_flags_new */
	struct step *step;
	size_t n, cap;
};

/* ---- reading ---- */
static int read_bert(struct step *st, const struct spec_of *f, struct lm_err *err)
{
	bool clean, cjk, lower, strip;
	int rc = spec_bool(&clean, f, "clean_text", err);
	if (rc == 0) rc = spec_bool(&cjk, f, "handle_chinese_chars", err);
	if (rc == 0) rc = spec_bool(&lower, f, "lowercase", err);
	if (rc) return rc;
	const json_t *v = json_object_get(f->spec, "strip_accents");
	strip = lower;
	if (v && !json_is_null(v)) rc = spec_bool(&strip, f, "strip_accents", err);
	unsigned first = (clean ? CHARS_CLEAN : 0) | (cjk ? CHARS_CJK : 0);
	unsigned second = (strip ? CHARS_NO_MN : 0) | (lower ? CHARS_LOWER : 0);
	st->kind = BERT;
	st->moves = strip;
	norm_chars_init(&st->chars, first | second | (strip ? CHARS_DECOMPOSE : 0));
	norm_chars_init(&st->late, second);
	return rc;
}

static int read_prepend(struct step *st, const struct spec_of *f, struct lm_err *err)
{
	const char *s;
	size_t n;
	int rc = spec_str(&s, &n, f, "prepend", err);
	if (rc) return rc;
	st->kind = PREPEND;
	return replace_literal(&st->replace, "", 0, s, n, err);
}

/* User-defined symbols. */
static int read_kept(struct step *st, const struct spec_of *f, struct lm_err *err)
{
	const json_t *list = json_object_get(f->spec, "user_defined_symbols");
	int rc = 0;
	if (json_array_size(list) && !(st->spm.keep = added_new()))
		return lm_fail(err, LM_ENOMEM, "out of memory for a normalizer");
	for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
		const json_t *v = json_array_get(list, i);
		if (!json_is_string(v)) return spec_wrong(f, "user_defined_symbols", "a list of texts", err);
		rc = added_add(st->spm.keep, json_string_value(v), json_string_length(v), (int32_t)i,
			       ADDED_NORMALIZED, err);
	}
	return rc;
}

static int read_charsmap(struct step *st, const struct spec_of *f, struct lm_err *err)
{
	const char *s;
	size_t n;
	int rc = spec_str(&s, &n, f, "precompiled_charsmap", err);
	if (rc == 0) rc = charsmap_new(&st->map, s, n, err);
	if (rc) return rc;
	st->kind = PRECOMPILED;
	if (f->type[0] == 'P')
		return st->map ? 0 : spec_wrong(f, "precompiled_charsmap", "a table in base64", err);
	st->kind = SPM;
	rc = spec_bool(&st->spm.dummy_prefix, f, "add_dummy_prefix", err);
	if (rc == 0) rc = spec_bool(&st->spm.trim, f, "remove_extra_whitespaces", err);
	if (rc == 0) rc = spec_bool(&st->spm.escape, f, "escape_whitespaces", err);
	st->spm.suffix = json_is_true(json_object_get(f->spec, "treat_whitespace_as_suffix"));
	return rc ? rc : read_kept(st, f, err);
}

static int read_strip(struct step *st, const struct spec_of *f, struct lm_err *err)
{
	st->kind = STRIP;
	int rc = spec_bool(&st->left, f, "strip_left", err);
	return rc ? rc : spec_bool(&st->right, f, "strip_right", err);
}

static int read_replace(struct step *st, const struct spec_of *f, struct lm_err *err)
{
	st->kind = REPLACE;
	return replace_new(&st->replace, f, err);
}

static int read_letters(struct step *st, const struct spec_of *f, struct lm_err *err)
{
	(void)f;
	(void)err;
	st->kind = BYTE_LEVEL;
	return 0;
}

static const struct {
	const char *type;
	int (*read)(struct step *st, const struct spec_of *f, struct lm_err *err); /* NULL: */
	enum kind kind;
	unsigned ops; /* of norm_form or norm_chars */
} kinds[] = {
	{ "NFC", NULL, FORM, FORM_COMPOSE },
	{ "NFD", NULL, FORM, 0 },
	{ "NFKC", NULL, FORM, FORM_COMPOSE | FORM_COMPAT },
	{ "NFKD", NULL, FORM, FORM_COMPAT },
	{ "Lowercase", NULL, CHARS, CHARS_LOWER },
	{ "StripAccents", NULL, CHARS, CHARS_NO_MARK },
	{ "Nmt", NULL, CHARS, CHARS_NMT },
	{ "BertNormalizer", read_bert, 0, 0 },
	{ "Strip", read_strip, 0, 0 },
	{ "Replace", read_replace, 0, 0 },
	{ "Prepend", read_prepend, 0, 0 },
	{ "Precompiled", read_charsmap, 0, 0 },
	{ "SentencePiece", read_charsmap, 0, 0 },
	{ "ByteLevel", read_letters, 0, 0 },
};

static int read_step(struct step *st, const struct spec_of *f, struct lm_err *err)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(kinds[i].type, f->type) != 0) continue;
		if (kinds[i].read) return kinds[i].read(st, f, err);
		st->kind = kinds[i].kind;
		st->form = kinds[i].ops;
		if (st->kind == CHARS) norm_chars_init(&st->chars, kinds[i].ops);
		return 0;
	}
	return lm_fail(err, LM_EUNSUPPORTED, "normalizer \"%.60s\": this type is not known", f->type);
}

static int add(struct norm *n, const json_t *spec, int depth, struct lm_err *err)
{
	struct spec_of f = { "normalizer", spec_type("normalizer", spec, err), spec };
	const json_t *list;
	if (!f.type) return LM_EFORMAT;
	if (depth > MAX_DEPTH || n->n >= MAX_STEPS)
		return lm_fail(err, LM_ELIMIT, "normalizer: more than %d steps, or nested more than %d deep",
			       MAX_STEPS, MAX_DEPTH);
	if (strcmp(f.type, "Sequence") == 0) {
		int rc = spec_array(&list, &f, "normalizers", err);
		for (size_t i = 0; rc == 0 && i < json_array_size(list); i++)
			rc = add(n, json_array_get(list, i), depth + 1, err);
		return rc;
	}
	if (n->n == n->cap) {
		size_t cap = n->cap ? 2 * n->cap : 4;
		struct step *p = lm_realloc(n->step, cap * sizeof *p);
		if (!p) return lm_fail(err, LM_ENOMEM, "out of memory for a normalizer");
		n->step = p;
		n->cap = cap;
	}
	n->step[n->n] = (struct step){ 0 };
	return read_step(&n->step[n->n++], &f, err);
}

int norm_new(struct norm **out, const json_t *spec, struct lm_err *err)
{
	*out = NULL;
	if (!spec || json_is_null(spec)) return 0;
	struct norm *n = lm_calloc(1, sizeof *n);
	if (!n) return lm_fail(err, LM_ENOMEM, "out of memory for a normalizer");
	int rc = add(n, spec, 0, err);
	bool asks = false;
	for (size_t i = 0; i < n->n; i++) {
		enum kind k = n->step[i].kind;
		asks |= k == FORM || k == CHARS || k == BERT || k == PRECOMPILED;
	}
	if (rc == 0 && asks && !(n->flags = norm_flags_new()))
		rc = lm_fail(err, LM_ENOMEM, "out of memory for a normalizer");
	if (rc || n->n == 0)
		norm_free(n);
	else
		*out = n;
	return rc;
}

void norm_free(struct norm *n)
{
	if (!n) return;
	for (size_t i = 0; i < n->n; i++) {
		replace_free(&n->step[i].replace);
		charsmap_free(n->step[i].map);
		added_free(n->step[i].spm.keep);
	}
	lm_free(n->step);
	lm_free(n->flags);
	lm_free(n);
}

struct norm_work *norm_work_new(void)
{
	return lm_calloc(1, sizeof(struct norm_work));
}

void norm_work_free(struct norm_work *w)
{
	if (!w) return;
	lm_buf_free(&w->buf[0]);
	lm_buf_free(&w->buf[1]);
	lm_free(w->cp);
	regex_work_free(&w->re);
	lm_free(w);
}

/* ---- running ---- */
char *norm_room(struct lm_buf *b, size_t n)
{
	size_t want;
	b->bad |= !lm_add_size(b->n, n, &want) || !lm_add_size(want, 1, &want);
	if (b->bad) return NULL;
	if (want > b->cap) {
		size_t cap = want > SIZE_MAX / 2 ? want : want + want / 2;
		char *p = lm_realloc(b->p, cap);
		if (!p) {
			b->bad = true;
			return NULL;
		}
		b->p = p;
		b->cap = cap;
	}
	return b->p + b->n;
}

/* White_Space at s[i..], 0: none, else its bytes. */
static size_t white(const char *s, size_t n, size_t i)
{
	size_t to = i;
	if (i >= n) return 0;
	return uni_is_space(norm_take(s, &to)) ? to - i : 0;
}

static void strip(const struct step *st, const char **s, size_t *n)
{
	size_t k;
	while (st->left && (k = white(*s, *n, 0))) *s += k, *n -= k;
	while (st->right && *n) {
		size_t i = *n - 1;
		while (i && ((unsigned char)(*s)[i] & 0xC0) == 0x80) i--;
		if (!white(*s, *n, i)) return;
		*n = i;
	}
}

static int letters(const char *s, size_t n, struct lm_buf *out)
{
	size_t i = 0;
	while (i < n && s[i] > 0x20 && s[i] < 0x7F) i++;
	if (i == n) return 0;
	char *p = n > SIZE_MAX / 4 ? NULL : norm_room(out, 2 * n + 4);
	if (!p) return LM_ENOMEM;
	memcpy(p, s, i);
	for (p += i; i < n; i++) p += lm_utf8_put(p, letter_cp((uint8_t)s[i]));
	out->n = (size_t)(p - out->p);
	return 1;
}

/* Where marks stay whose order counts, the reference's steps are taken one by one. */
static int bert_slow(const struct norm *n, const struct step *st, struct norm_work *w, const char *s,
		     size_t len, struct lm_buf *out)
{
	struct lm_buf mid[2] = { { 0 }, { 0 } };
	struct norm_chars first;
	norm_chars_init(&first, st->chars.ops & (CHARS_CLEAN | CHARS_CJK));
	int rc = norm_chars_run(&first, n->flags, s, len, &mid[0], NULL);
	if (rc > 0) s = mid[0].p, len = mid[0].n;
	if (rc >= 0) rc = norm_form(0, n->flags, w, s, len, &mid[1]);
	if (rc > 0) s = mid[1].p, len = mid[1].n;
	if (rc >= 0) rc = norm_chars_run(&st->late, n->flags, s, len, out, NULL);
	if (rc == 0) lm_buf_add(out, s, len);
	if (rc == 0) rc = out->bad ? LM_ENOMEM : 1;
	lm_buf_free(&mid[0]);
	lm_buf_free(&mid[1]);
	return rc;
}

static int bert(const struct norm *n, const struct step *st, struct norm_work *w, const char *s, size_t len,
		struct lm_buf *out)
{
	bool moved = false;
	int rc = norm_chars_run(&st->chars, n->flags, s, len, out, st->moves ? &moved : NULL);
	if (rc < 1 || !moved) return rc;
	out->n = 0;
	return bert_slow(n, st, w, s, len, out);
}

static int prepend(const struct replace *r, const char *s, size_t n, struct lm_buf *out)
{
	if (n == 0) return 0;
	lm_buf_add(out, r->put, r->n_put);
	lm_buf_add(out, s, n);
	return out->bad ? LM_ENOMEM : 1;
}

static int run(const struct norm *n, const struct step *st, struct norm_work *w, const char *s, size_t len,
	       struct lm_buf *out, struct lm_err *err)
{
	switch (st->kind) {
	case FORM: return norm_form(st->form, n->flags, w, s, len, out);
	case CHARS: return norm_chars_run(&st->chars, n->flags, s, len, out, NULL);
	case BERT: return bert(n, st, w, s, len, out);
	case REPLACE: return replace_run(&st->replace, &w->re, s, len, out, w->limit, err);
	case PREPEND: return prepend(&st->replace, s, len, out);
	case BYTE_LEVEL: return letters(s, len, out);
	case PRECOMPILED: return charsmap_clusters(st->map, n->flags, w, s, len, out, err);
	case SPM: return charsmap_spm(st->map, st->spm, w, s, len, out, err);
	case STRIP: break;
	}
	return 0;
}

int norm_run(const struct norm *n, struct norm_work *w, const char *s, size_t len, const char **out,
	     size_t *out_len, struct lm_err *err)
{
	int side = 0;
	if (n && !lm_mul_size(len, GROWTH, &w->limit))
		return lm_fail(err, LM_ELIMIT, "a text of %zu bytes", len);
	if (n) w->limit += 1 << 20;
	for (size_t i = 0; n && i < n->n; i++) {
		struct lm_buf *b = &w->buf[side];
		b->n = 0;
		b->bad = false;
		if (n->step[i].kind == STRIP) {
			strip(&n->step[i], &s, &len);
			continue;
		}
		if (err) err->msg[0] = 0;
		int rc = run(n, &n->step[i], w, s, len, b, err);
		if (rc == LM_ENOMEM && err && !err->msg[0])
			lm_fail(err, rc, "out of memory for a normalized text of %zu bytes", len);
		if (rc < 0) return rc;
		if (rc == 0) continue;
		s = b->p;
		len = b->n;
		side ^= 1;
	}
	*out = s;
	*out_len = len;
	return 0;
}
