/* hf_json.c - tokenizer.json: the whole pipeline in one file of up to 30 MB.
 *
 * One pass of the pull scanner: the vocabulary and the merges go into the tables where they stand (texts
 * without escapes are referenced in the file), the small parts are remembered as text and read afterwards by
 * jansson.
 *
 * GOTCHAS, all as in the reference (`tokenizers`, added_vocabulary.rs and the models' serialization.rs):
 *  - The id that an added token states is not what it gets: it has that of the model's vocabulary, and
 * without one the next number from the vocabulary's *size* on (which is not the highest id plus 1 where there
 * are holes).
 *  - A token added twice keeps its first place and its last flags, and is special when it once was.
 *  - Added tokens beyond the vocabulary are unknown to the model: they are put in after it was indexed.
 *  - A normalized added token is searched, and shown by decode, in its normalized form; where that differs,
 * decode does not take it for a special token. */
#include "base/json.h"
#include "base/scan.h"
#include "tokenizer/tok_impl.h"
#include <stdlib.h>
#include <string.h>

enum {
	ID_ANY = 1 << 18, /* ids that any file may use; beyond them no more than it has bytes */
	ID_MOST = 1 << 22,
	SHORTEST_MERGE = 4, /* bytes: " ", and a comma */
	COMMON_TOKEN = 60   /* bytes of a file by its tokens, with their merges */
};
struct text {
	const char *p;
	size_t n;
};
enum part { ADDED, NORMALIZER, PRE_TOKENIZER, POST_PROCESSOR, DECODER, N_PART };
static const char *const part_name[N_PART] = { "added_tokens", "normalizer", "pre_tokenizer",
					       "post_processor", "decoder" };
struct kind {
	const char *type;
	const struct model *model;
	unsigned needs; /* fields that the reference insists on */
};
enum field { F_VOCAB = 1, F_LIST = 2, F_MERGES = 4, F_UNK = 8, F_PREFIX = 16, F_MAX = 32, F_TYPE = 64 };
/* In the order in which the reference tries them on a model without a type. */
static const struct kind kinds[] = {
	{ "BPE", &model_bpe, F_VOCAB | F_MERGES },
	{ "WordPiece", &model_wordpiece, F_VOCAB | F_UNK | F_PREFIX | F_MAX },
	{ "WordLevel", &model_wordlevel, F_VOCAB | F_UNK },
	{ "Unigram", &model_unigram, F_LIST },
};
struct load {
	struct tok *t;
	struct lm_scan s;
	struct lm_err *err;
	int rc;            /* of what is not the scanner's error */
	const char *field; /* being read: for the sentence */
	struct text part[N_PART];
	struct lm_arena *texts; /* strings that had escapes */
	unsigned seen;          /* fields of the model */
	bool model;
	struct lm_scan_str type;
	struct text unk;
	int64_t limit;         /* of ids */
	int32_t n_entry, n_id; /* tokens of the vocabulary, its highest id plus 1 */
	int32_t cap;
	int64_t unk_id;
};

/* Ends the scan with an error that is in err already. */
static bool stop(struct load *l, int rc)
{
	l->rc = rc;
	return lm_scan_fail(&l->s, "");
}

static bool out_of_memory(struct load *l)
{
	return stop(l, lm_fail(l->err, LM_ENOMEM, "out of memory for a tokenizer"));
}

/* The string with its escapes read. */
static bool plain(struct load *l, struct lm_scan_str v, struct text *out)
{
	*out = (struct text){ v.s, v.n };
	if (!v.escaped) return true;
	struct lm_buf b = { 0 };
	lm_scan_unescape(v, &b);
	out->n = b.n;
	out->p = b.bad ? NULL : lm_arena_str(l->texts, lm_buf_cstr(&b), b.n);
	lm_buf_free(&b);
	return out->p || out_of_memory(l);
}

/* The next item of an array that must have one. */
static bool must_item(struct lm_scan *s, const char *what)
{
	if (lm_scan_item(s)) return true;
	if (!s->bad) s->at--; /* back to the bracket */
	return lm_scan_fail(s, what);
}

/* ---- vocabulary ------------------------------------------------------------------------------------------
 */

/* Room for the tokens below n. */
static bool reserve(struct load *l, int64_t n)
{
	if (n <= l->cap) return true;
	int64_t cap = 2 * (int64_t)l->cap > n ? 2 * (int64_t)l->cap : n;
	if (!l->cap && cap < (int64_t)(l->s.n / COMMON_TOKEN)) cap = (int64_t)(l->s.n / COMMON_TOKEN);
	if (cap < 1024) cap = 1024;
	if (cap > l->limit) cap = l->limit;
	int rc = vocab_resize(l->t, cap, l->err);
	if (rc) return stop(l, rc);
	l->cap = (int32_t)cap;
	return true;
}

static bool put_token(struct load *l, int64_t id, struct lm_scan_str v)
{
	struct tok *t = l->t;
	int rc;
	if (id < 0 || id >= l->limit) {
		rc = lm_fail(l->err, LM_ELIMIT,
			     "%s: a token has the id %lld, but a file of %zu bytes may have ids from 0 to "
			     "%lld only",
			     l->field, (long long)id, l->s.n, (long long)l->limit - 1);
		return stop(l, rc);
	}
	if (!reserve(l, id + 1)) return false;
	if (t->piece[id].len) return lm_scan_fail(&l->s, "a second token with this id");
	if (!v.escaped) {
		rc = vocab_set(t, (int32_t)id, v.s, v.n, TYPE_NORMAL, l->err);
	} else {
		struct lm_buf b = { 0 };
		lm_scan_unescape(v, &b);
		if (b.bad) return out_of_memory(l);
		rc = vocab_copy(t, (int32_t)id, lm_buf_cstr(&b), b.n, TYPE_NORMAL, l->err);
		lm_buf_free(&b);
	}
	if (rc) return stop(l, rc);
	if (id >= l->n_id) l->n_id = (int32_t)id + 1;
	l->n_entry++;
	return true;
}

/* {"token": id, ...} */
static bool read_vocab(struct load *l)
{
	struct lm_scan_str v;
	int64_t id;
	if (!lm_scan_object(&l->s)) return false;
	while (lm_scan_key(&l->s, &v))
		if (!lm_scan_int(&l->s, &id) || !put_token(l, id, v)) return false;
	return !l->s.bad;
}

static bool put_score(struct load *l, int32_t id, double v, int32_t *cap)
{
	struct tok *t = l->t;
	if (id >= *cap) {
		int32_t more = *cap ? 2 * *cap : 1024; /* below 2 * ID_MOST */
		double *p = lm_realloc(t->score64, (size_t)more * sizeof *p);
		if (!p) return out_of_memory(l);
		t->score64 = p;
		*cap = more;
	}
	t->score64[id] = v;
	return true;
}

static bool read_score(struct lm_scan *s, double *v)
{
	const char *text;
	size_t n;
	struct lm_scan before = *s;
	if (lm_scan_peek(s) == '0' && lm_scan_raw(s, &text, &n) && hf_score(text, n, v)) return true;
	*s = before;
	return lm_scan_num(s, v);
}

/* [["token", score], ...] */
static bool read_scored(struct load *l)
{
	struct lm_scan *s = &l->s;
	struct lm_scan_str v;
	double score;
	int32_t cap = 0;
	if (!lm_scan_array(s)) return false;
	while (lm_scan_item(s)) {
		if (!lm_scan_array(s)) return false;
		if (!must_item(s, "expected a token and its score") || !lm_scan_str(s, &v)) return false;
		if (!must_item(s, "expected a token's score") || !read_score(s, &score)) return false;
		if (lm_scan_item(s)) return lm_scan_fail(s, "expected the end of a token and its score");
		int32_t id = l->n_entry;
		if (s->bad || !put_token(l, id, v) || !put_score(l, id, score, &cap)) return false;
	}
	return !s->bad;
}

/* ---- merges ----------------------------------------------------------------------------------------------
 */

/* "left right"; false and no error: a line of comment. */
static bool merge_line(struct load *l, int rank, struct lm_scan_str v)
{
	struct text line;
	if (!plain(l, v, &line)) return false;
	if (line.n >= 8 && !memcmp(line.p, "#version", 8)) return false;
	const char *sp = memchr(line.p, ' ', line.n), *end = line.p + line.n;
	if (!sp || memchr(sp + 1, ' ', (size_t)(end - sp - 1)))
		return lm_scan_fail(&l->s, "a merge that is not two texts with one space between");
	bool copy = v.escaped || l->t->merge_gap != 1;
	int rc = vocab_merge(l->t, rank, line.p, (size_t)(sp - line.p), (size_t)(end - sp - 1), copy, l->err);
	return rc ? stop(l, rc) : true;
}

/* ["left", "right"].  Between the two stand the same bytes in all of a file, so they can be left where they
 * are. */
static bool merge_pair(struct load *l, int rank)
{
	struct lm_scan_str a, b;
	struct text left, right;
	struct tok *t = l->t;
	int rc;
	if (!lm_scan_pair(&l->s, &a, &b)) return false;
	size_t gap = (size_t)(b.s - (a.s + a.n));
	if (rank == 0 && gap <= UINT8_MAX) t->merge_gap = (uint8_t)gap;
	if (!a.escaped && !b.escaped && gap == t->merge_gap) {
		rc = vocab_merge(t, rank, a.s, a.n, b.n, false, l->err);
	} else {
		struct lm_buf pair = { 0 };
		if (!plain(l, a, &left) || !plain(l, b, &right)) return false;
		lm_buf_add(&pair, left.p, left.n);
		lm_buf_char(&pair, ' ');
		lm_buf_add(&pair, right.p, right.n);
		if (pair.bad) return out_of_memory(l);
		rc = vocab_merge(t, rank, pair.p, left.n, right.n, true, l->err);
		lm_buf_free(&pair);
	}
	return rc ? stop(l, rc) : true;
}

static bool read_merges(struct load *l)
{
	struct lm_scan *s = &l->s;
	struct lm_scan_str v;
	struct tok *t = l->t;
	int rank = 0;
	/* as many as fit the text; memory that is not touched costs nothing */
	int rc = vocab_begin_merges(t, (int64_t)((s->n - s->at) / SHORTEST_MERGE) + 1, l->err);
	if (rc) return stop(l, rc);
	t->merge_base = s->s;
	if (!lm_scan_array(s)) return false;
	while (lm_scan_item(s)) {
		if (lm_scan_peek(s) == '[')
			rank += merge_pair(l, rank);
		else if (lm_scan_str(s, &v))
			rank += merge_line(l, rank, v);
	}
	t->n_merge = rank;
	return !s->bad;
}

/* ---- the model -------------------------------------------------------------------------------------------
 */

static bool read_affix(struct load *l, struct affix *a)
{
	struct lm_scan_str v;
	struct text s;
	if (lm_scan_null(&l->s)) return true;
	if (!lm_scan_str(&l->s, &v) || !plain(l, v, &s)) return false;
	if (s.n > MAX_AFFIX) return lm_scan_fail(&l->s, "a prefix or suffix of more than 32 bytes");
	memcpy(a->s, s.p, s.n);
	a->n = (uint8_t)s.n;
	l->seen |= a == &l->t->cont ? F_PREFIX : 0;
	return true;
}

static bool read_flag(struct load *l, bool *v)
{
	return lm_scan_null(&l->s) || lm_scan_bool(&l->s, v);
}

static bool read_unk(struct load *l)
{
	struct lm_scan_str v;
	if (lm_scan_null(&l->s)) return true;
	l->seen |= F_UNK;
	return lm_scan_str(&l->s, &v) && plain(l, v, &l->unk);
}

static bool read_count(struct load *l, int *v)
{
	int64_t n;
	if (!lm_scan_int(&l->s, &n)) return false;
	if (n < 0) return lm_scan_fail(&l->s, "a negative number of characters");
	*v = n > INT32_MAX ? INT32_MAX : (int)n;
	l->seen |= F_MAX;
	return true;
}

static bool read_dropout(struct load *l)
{
	double v;
	if (lm_scan_null(&l->s)) return true;
	if (!lm_scan_num(&l->s, &v)) return false;
	if (v != 0)
		lm_log(LM_LOG_WARN,
		       "the tokenizer's model.dropout of %g is for training: merges are never left out here",
		       v);
	return true;
}

static bool once(struct load *l, unsigned any, unsigned field)
{
	if (l->seen & any) return lm_scan_fail(&l->s, "this stands in the file a second time");
	l->seen |= field;
	return true;
}

static bool read_field(struct load *l, struct lm_scan_str key)
{
	struct lm_scan *s = &l->s;
	struct tok *t = l->t;
	if (lm_scan_is(key, "vocab")) {
		l->field = "model.vocab";
		bool list = lm_scan_peek(s) == '[';
		return once(l, F_VOCAB | F_LIST, list ? F_LIST : F_VOCAB) &&
		       (list ? read_scored(l) : read_vocab(l));
	}
	if (lm_scan_is(key, "merges")) {
		l->field = "model.merges";
		return once(l, F_MERGES, F_MERGES) && read_merges(l);
	}
	if (lm_scan_is(key, "type")) return once(l, F_TYPE, F_TYPE) && lm_scan_str(s, &l->type);
	if (lm_scan_is(key, "unk_token")) return read_unk(l);
	if (lm_scan_is(key, "unk_id")) return lm_scan_null(s) || lm_scan_int(s, &l->unk_id);
	if (lm_scan_is(key, "continuing_subword_prefix")) return read_affix(l, &t->cont);
	if (lm_scan_is(key, "end_of_word_suffix")) return read_affix(l, &t->end);
	if (lm_scan_is(key, "max_input_chars_per_word")) return read_count(l, &t->max_chars);
	if (lm_scan_is(key, "fuse_unk")) return read_flag(l, &t->fuse_unk);
	if (lm_scan_is(key, "byte_fallback")) return read_flag(l, &t->byte_fallback);
	if (lm_scan_is(key, "ignore_merges")) return read_flag(l, &t->ignore_merges);
	if (lm_scan_is(key, "dropout")) return read_dropout(l);
	return lm_scan_skip(s);
}

static bool read_model(struct load *l)
{
	struct lm_scan_str key;
	l->field = "model";
	if (l->model) return lm_scan_fail(&l->s, "this stands in the file a second time");
	l->model = true;
	if (!lm_scan_object(&l->s)) return false;
	while (l->field = "model", lm_scan_key(&l->s, &key))
		if (!read_field(l, key)) return false;
	return !l->s.bad;
}

static int missing(struct load *l, const struct kind *k)
{
	static const struct {
		unsigned field;
		const char *name;
	} names[] = {
		{ F_VOCAB, "model.vocab (an object)" },
		{ F_LIST, "model.vocab (a list of tokens and scores)" },
		{ F_MERGES, "model.merges" },
		{ F_UNK, "model.unk_token" },
		{ F_PREFIX, "model.continuing_subword_prefix" },
		{ F_MAX, "model.max_input_chars_per_word" },
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (k->needs & names[i].field & ~l->seen)
			return lm_fail(l->err, LM_EFORMAT, "%s is missing, which a model of type %s needs",
				       names[i].name, k->type);
	return 0;
}

static int choose_kind(struct load *l, const struct kind **out)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const struct kind *k = *out = &kinds[i];
		if (!(l->seen & F_TYPE) && !(k->needs & ~l->seen)) return 0;
		if (l->seen & F_TYPE && lm_scan_is(l->type, k->type)) return missing(l, k);
	}
	if (!(l->seen & F_TYPE))
		return lm_fail(l->err, LM_EFORMAT,
			       l->model ? "model has no type, and its fields are of none of BPE, WordPiece, "
					  "WordLevel, Unigram"
					: "model is missing: the file holds no tokenizer");
	return lm_fail(l->err, LM_EUNSUPPORTED,
		       "model.type: expected BPE, WordPiece, WordLevel or Unigram, found \"%.*s\"",
		       (int)(l->type.n < 40 ? l->type.n : 40), l->type.s);
}

static int set_model(struct load *l)
{
	struct tok *t = l->t;
	const struct kind *k;
	int rc = choose_kind(l, &k);
	if (rc) return rc;
	t->model = k->model;
	if (k->model != &model_bpe) t->end = (struct affix){ 0 };
	if (k->model == &model_unigram) {
		t->any_type = t->fuse_unk = true;
		if (!l->n_entry)
			return lm_fail(l->err, LM_EFORMAT,
				       "model.vocab is empty, which a model of type Unigram cannot be");
		if (l->unk_id < -1 || l->unk_id >= l->n_entry)
			return lm_fail(l->err, LM_EFORMAT,
				       "model.unk_id is %lld, but model.vocab has %d tokens",
				       (long long)l->unk_id, l->n_entry);
	}
	rc = vocab_resize(t, l->n_id ? l->n_id : 1, l->err);
	t->bytes = split_gives_bytes(t->split);
	if (!rc) rc = vocab_index(t, l->err);
	if (rc) return rc;
	t->unk = k->model == &model_unigram ? (int32_t)l->unk_id
		 : l->unk.p                 ? vocab_id(t, l->unk.p, l->unk.n)
					    : -1;
	t->role[TOK_UNK] = t->unk;
	return vocab_finish(t, l->err);
}

/* ---- added tokens ----------------------------------------------------------------------------------------
 */

struct entry {
	struct text s;
	int64_t stated; /* its id in the file */
	unsigned flags;
	int32_t id; /* -1: dropped, a later one says the same */
	int32_t at; /* place in the list */
};
struct list {
	struct entry *p;
	int32_t n, cap;
};

static bool read_entry(struct load *l, struct lm_scan *s, struct entry *e)
{
	static const struct {
		const char *name;
		unsigned flag;
	} flags[] = {
		{ "single_word", ADDED_SINGLE_WORD }, { "lstrip", ADDED_LSTRIP },
		{ "rstrip", ADDED_RSTRIP },           { "normalized", ADDED_NORMALIZED },
		{ "special", ADDED_SPECIAL },
	};
	enum { N_FLAG = 5, ID = 1 << N_FLAG, CONTENT = 2 << N_FLAG, ALL = (4 << N_FLAG) - 1 };
	struct lm_scan_str key, v;
	unsigned seen = 0;
	if (!lm_scan_object(s)) return false;
	while (lm_scan_key(s, &key)) {
		bool on, ok = false;
		unsigned i = 0;
		while (i < N_FLAG && !lm_scan_is(key, flags[i].name)) i++;
		if (i < N_FLAG) {
			ok = lm_scan_bool(s, &on);
			e->flags = ok && on ? e->flags | flags[i].flag : e->flags & ~flags[i].flag;
			seen |= 1u << i;
		} else if (lm_scan_is(key, "id")) {
			ok = lm_scan_int(s, &e->stated);
			seen |= ID;
		} else if (lm_scan_is(key, "content")) {
			ok = lm_scan_str(s, &v) && plain(l, v, &e->s);
			seen |= CONTENT;
		} else
			ok = lm_scan_skip(s);
		if (!ok) return false;
	}
	if (!s->bad && seen != ALL)
		lm_scan_fail(s, "an added token without one of id, content, single_word, lstrip, rstrip, "
				"normalized, special");
	return !s->bad;
}

static int read_list(struct load *l, struct list *list)
{
	struct lm_scan s = lm_scan_begin(l->part[ADDED].p, l->part[ADDED].n);
	if (!s.n) return 0;
	lm_scan_array(&s);
	while (lm_scan_item(&s)) {
		struct entry e = { .at = list->n };
		if (!read_entry(l, &s, &e) || !e.s.n) continue;
		if (list->n == list->cap) {
			int32_t cap =
				list->cap ? 2 * list->cap : 256; /* far below the bytes of the file / 64 */
			struct entry *p = lm_realloc(list->p, (size_t)cap * sizeof *p);
			if (!p) return lm_fail(l->err, LM_ENOMEM, "out of memory for added tokens");
			list->p = p;
			list->cap = cap;
		}
		list->p[list->n++] = e;
	}
	if (l->rc) return l->rc;
	int rc = lm_scan_end(&s, l->err);
	return rc ? lm_context(l->err, "added_tokens: "), rc : 0;
}

static int by_text(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = memcmp(x->s.p, y->s.p, x->s.n < y->s.n ? x->s.n : y->s.n);
	if (c) return c;
	if (x->s.n != y->s.n) return x->s.n < y->s.n ? -1 : 1;
	return x->at < y->at ? -1 : 1;
}
static int by_place(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	return x->at < y->at ? -1 : 1;
}

/* Equal texts become one: the first place, the last flags. */
static void drop_doubles(struct list *list)
{
	int32_t n = 0;
	if (list->n) qsort(list->p, (size_t)list->n, sizeof *list->p, by_text);
	for (int32_t i = 0; i < list->n; i++) {
		struct entry *e = &list->p[i], *o = n ? &list->p[n - 1] : NULL;
		if (!o || o->s.n != e->s.n || memcmp(o->s.p, e->s.p, e->s.n))
			list->p[n++] = *e;
		else
			o->flags = e->flags | (o->flags & ADDED_SPECIAL);
	}
	list->n = n;
	if (n) qsort(list->p, (size_t)n, sizeof *list->p, by_place);
}

/* Ids, and room for them. */
static int number(struct load *l, struct list *list)
{
	struct tok *t = l->t;
	int32_t next = l->n_entry, model = t->n, n_odd = 0;
	for (int32_t i = 0; i < list->n; i++) {
		struct entry *e = &list->p[i];
		e->id = vocab_id(t, e->s.p, e->s.n);
		if (e->id < 0) {
			e->id = next++;
			if (e->id < model && t->piece[e->id].len)
				return lm_fail(l->err, LM_EUNSUPPORTED,
					       "added_tokens: \"%.*s\" would get the id %d of another token, "
					       "because model.vocab "
					       "has holes",
					       (int)(e->s.n < 64 ? e->s.n : 64), e->s.p, (int)e->id);
		}
		if (e->id != e->stated && !n_odd++)
			lm_log(LM_LOG_WARN,
			       "the added token \"%.*s\" has the id %lld in tokenizer.json and gets %d, as "
			       "in the "
			       "tokenizers library",
			       (int)(e->s.n < 64 ? e->s.n : 64), e->s.p, (long long)e->stated, (int)e->id);
	}
	return next > model ? vocab_resize(t, next, l->err) : 0;
}

static int add(struct load *l, const struct entry *e, struct norm_work *w)
{
	struct tok *t = l->t;
	const char *s = e->s.p;
	size_t n = e->s.n;
	int rc = 0;
	if (e->flags & ADDED_NORMALIZED && t->norm) rc = norm_run(t->norm, w, e->s.p, e->s.n, &s, &n, l->err);
	if (rc) return rc;
	bool changed = n != e->s.n || memcmp(s, e->s.p, n), ours = s < t->base || s >= t->base + l->s.n;
	unsigned type = e->flags & ADDED_SPECIAL && !changed ? TYPE_CONTROL : TYPE_USER;
	t->piece[e->id].type = (uint8_t)type;
	if (changed && e->id < t->n_model && t->piece[e->id].len) /* the model still knows it by its own text */
		rc = vocab_show(t, e->id, s, n, l->err);
	else if (changed || (ours && !t->piece[e->id].len)) /* ours goes when loading ends */
		rc = vocab_copy(t, e->id, s, n, type, l->err);
	else if (!t->piece[e->id].len)
		rc = vocab_set(t, e->id, s, n, type, l->err);
	return rc ? rc : added_add(t->added, s, n, e->id, e->flags, l->err);
}

static int set_added(struct load *l)
{
	struct list list = { 0 };
	struct norm_work *w = norm_work_new();
	int rc = w ? read_list(l, &list) : lm_fail(l->err, LM_ENOMEM, "out of memory for added tokens");
	for (int32_t i = 0; !rc && i < list.n; i++)
		if (!lm_utf8_valid(list.p[i].s.p, list.p[i].s.n))
			rc = lm_fail(l->err, LM_EFORMAT,
				     "added_tokens: the content of token %lld is not UTF-8",
				     (long long)list.p[i].stated);
	if (!rc) drop_doubles(&list);
	if (!rc) rc = number(l, &list);
	for (int32_t i = 0; !rc && i < list.n; i++) rc = add(l, &list.p[i], w);
	vocab_sort_shown(l->t);
	lm_free(list.p);
	norm_work_free(w);
	return rc;
}

/* ---- load ------------------------------------------------------------------------------------------------
 */

static bool read_version(struct load *l)
{
	struct lm_scan_str v;
	l->field = "version";
	return lm_scan_str(&l->s, &v) &&
	       (lm_scan_is(v, "1.0") || lm_scan_fail(&l->s, "a version other than \"1.0\""));
}

static bool read_top(struct load *l)
{
	struct lm_scan_str key;
	l->field = NULL;
	if (!lm_scan_object(&l->s)) return false;
	while (l->field = NULL, lm_scan_key(&l->s, &key)) {
		struct text v;
		int part = 0;
		if (lm_scan_is(key, "model")) {
			if (!read_model(l)) return false;
			continue;
		}
		if (lm_scan_is(key, "version")) {
			if (!read_version(l)) return false;
			continue;
		}
		while (part < N_PART && !lm_scan_is(key, part_name[part])) part++;
		l->field = part < N_PART ? part_name[part] : NULL;
		if (!lm_scan_raw(&l->s, &v.p, &v.n)) return false;
		if (part < N_PART) l->part[part] = v;
	}
	return !l->s.bad;
}

/* The JSON of a part; null where there is none. */
static json_t *parse(struct load *l, enum part part)
{
	struct text v = l->part[part];
	json_t *j = v.n ? lm_json_parse(v.p, v.n, l->err) : json_null();
	if (!j) lm_context(l->err, "%s: ", part_name[part]);
	return j;
}

static int set_part(struct load *l, enum part part)
{
	struct tok *t = l->t;
	struct lm_err *err = l->err;
	json_t *j = parse(l, part);
	if (!j) return err->code;
	int rc = part == NORMALIZER      ? norm_new(&t->norm, j, err)
		 : part == PRE_TOKENIZER ? split_new(&t->split, j, err)
		 : part == DECODER       ? decoder_new(&t->decoder, j, err)
					 : post_set(l->t, j, l->err);
	if (part == NORMALIZER) t->spec_norm = json_incref(j);
	if (part == PRE_TOKENIZER) t->spec_split = json_incref(j);
	json_decref(j);
	return rc;
}

static int load(struct load *l)
{
	read_top(l);
	if (l->rc) return l->rc;
	int rc = lm_scan_end(&l->s, l->err);
	if (rc && l->field) lm_context(l->err, "%s: ", l->field);
	if (!rc) rc = set_part(l, NORMALIZER);
	if (!rc) rc = set_part(l, PRE_TOKENIZER);
	if (!rc) rc = set_part(l, DECODER);
	if (!rc) rc = set_model(l);
	if (!rc) rc = set_added(l);
	return rc ? rc : set_part(l, POST_PROCESSOR);
}

int hf_json_tok_mem(struct tok **out, const char *text, size_t n, struct lm_err *err)
{
	struct lm_err e;
	struct load l = { .s = lm_scan_begin(text, n), .err = err ? err : &e, .unk_id = -1 };
	*out = NULL;
	l.limit = n < ID_ANY ? ID_ANY : n < ID_MOST ? (int64_t)n : ID_MOST;
	l.texts = lm_arena_new(4096);
	l.t = vocab_new(1, l.err);
	int rc = l.t && l.texts ? 0 : lm_fail(l.err, LM_ENOMEM, "out of memory for a tokenizer");
	if (!rc) {
		l.t->base = text;
		rc = load(&l);
	}
	lm_arena_free(l.texts);
	if (rc)
		tok_free(l.t);
	else
		*out = l.t;
	return rc;
}

int hf_json_tok(struct tok **out, const char *path, struct lm_err *err)
{
	struct lm_map map;
	*out = NULL;
	int rc = lm_map_open(&map, path, err);
	if (rc) return rc;
	rc = hf_json_tok_mem(out, (const char *)map.data, map.size, err);
	if (rc) {
		lm_map_close(&map);
		lm_context(err, "%s: ", path);
	} else
		(*out)->map = map;
	return rc;
}
