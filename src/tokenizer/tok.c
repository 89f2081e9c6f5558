/* tok.c - text to ids: added tokens are cut out of the raw text; each piece between them is normalized, split into
 * words, and the model turns each word into ids (bpe.c, unigram.c, wordpiece.c). */
#include "tokenizer/tok_impl.h"
#include <string.h>

enum {
	MAX_TEXT = 256 << 20, /* bytes: ids and positions then fit 32 bits with room for the expansions */
	MAX_WORD = 8 << 20,   /* bytes without a place to cut: about 400 MB of working memory */
	CACHE_WORDS = 4096,
	CACHE_FROM = 2048 /* bytes of text from which remembering words pays */
};

int tok_load(struct tok **out, const struct file *f, struct lm_err *err)
{
	*out = NULL;
	return gguf_tok(out, f, err);
}

int tok_none(struct tok **out, struct lm_err *err)
{
	struct tok *t = vocab_new(1, err);
	int rc = t ? tok_parts(t, json_null(), json_null(), json_null(), err) : LM_ENOMEM;
	if (t) t->model = &model_wordlevel;
	if (!rc) rc = vocab_index(t, err);
	if (t) t->model = NULL;                            /* tok_encode knows it by this */
	if (rc) tok_free(t);
	*out = rc ? NULL : t;
	return rc;
}

void tok_free(struct tok *t)
{
	if (!t) return;
	if (t->model && t->model->free) t->model->free(t);
	added_free(t->added);
	norm_free(t->norm);
	split_free(t->split);
	decoder_free(t->decoder);
	json_decref(t->spec_norm);
	json_decref(t->spec_split);
	lm_pages_free(t->piece, (size_t)t->cap * sizeof *t->piece);
	lm_pages_free(t->merge, t->merge_bytes);
	lm_free(t->shown);
	lm_free(t->own_score);
	lm_free(t->score64);
	lm_pages_free(t->hash, (size_t)t->n_model * sizeof *t->hash);
	table_free(&t->by_text);
	lm_buf_free(&t->aux);
	if (t->map.data) lm_map_close(&t->map);
	lm_free(t);
}

int tok_parts(struct tok *t, json_t *norm, json_t *pre, json_t *dec, struct lm_err *err)
{
	int rc = norm && pre && dec ? 0 : lm_fail(err, LM_ENOMEM, "out of memory for the tokenizer");
	if (!rc) rc = norm_new(&t->norm, norm, err);
	if (!rc) rc = split_new(&t->split, pre, err);
	if (!rc) rc = decoder_new(&t->decoder, dec, err);
	t->spec_norm = norm;
	t->spec_split = pre;
	json_decref(dec);
	return rc;
}

int tok_special(const struct tok *t, enum tok_role role)
{
	return t->role[role];
}
bool tok_has_added(const struct tok *t, const char *text)
{
	int32_t id = vocab_any(t, text, strlen(text));
	return id >= 0 && (t->piece[id].type == TYPE_CONTROL || t->piece[id].type == TYPE_USER);
}
int tok_vocab(const struct tok *t)
{
	return t->n;
}
bool tok_adds_bos(const struct tok *t)
{
	return t->n_before > 0;
}
bool tok_is_control(const struct tok *t, int32_t id)
{
	return id >= 0 && id < t->n &&
	       (t->piece[id].type == TYPE_CONTROL || t->piece[id].type == TYPE_UNKNOWN);
}

/* ---- encode ----------------------------------------------------------------------------------------------
 */

/* A word met before in this call and its ids; words and answers that do not fit are not remembered. */
struct seen {
	uint8_t len, n;
	char word[30];
	int32_t id[8];
};
struct enc {
	const struct tok *t;
	const char *text;          /* its first byte */
	bool special;
	int32_t *ids;
	int cap, n;
	struct model_work model;
	struct split_work *split;
	struct norm_work *norm;
	struct seen *seen;
	struct lm_err *err;
};

static int put(void *ud, int32_t id)
{
	struct enc *e = ud;
	if (e->n < e->cap) e->ids[e->n] = id;
	e->n++;
	return 0;
}

static int model_word(struct enc *e, const char *s, size_t n)
{
	if (n > MAX_WORD)
		return lm_fail(e->err, LM_ELIMIT,
			       "the text has %zu bytes without a word's end, at most %d are supported", n,
			       MAX_WORD);
	int rc = e->t->model->word(e->t, &e->model, s, n, put, e);
	return rc ? lm_fail(e->err, rc, "out of memory for a word of %zu bytes", n) : 0;
}

static int cached_word(struct enc *e, const char *s, size_t n)
{
	if (!e->seen || n > sizeof e->seen->word) return model_word(e, s, n);
	struct seen *w = &e->seen[tok_hash(s, n) >> 20 & (CACHE_WORDS - 1)];
	if (w->len == n && memcmp(w->word, s, n) == 0) {
		for (int i = 0; i < w->n; i++) put(e, w->id[i]);
		return 0;
	}
	int from = e->n, rc = model_word(e, s, n);
	if (rc || e->n > e->cap || (size_t)(e->n - from) > sizeof w->id / sizeof *w->id) return rc;
	w->len = (uint8_t)n;
	w->n = (uint8_t)(e->n - from);
	memcpy(w->word, s, n);
	memcpy(w->id, e->ids + from, w->n * sizeof *w->id);
	return 0;
}

static bool glued(const struct tok *t, uint8_t c)
{
	return t->glue[c / 8] >> c % 8 & 1;
}

/* A word of a vocabulary whose merges do not cross most U+2581: each stretch from marks to the next mark on its own. */
static int word(void *ud, const char *s, size_t n)
{
	struct enc *e = ud;
	if (!e->t->cut_words) return cached_word(e, s, n);
	int rc = 0;
	for (size_t from = 0, i = 0; !rc && i < n; from = i) {
		do {
			while (n - i >= 3 && memcmp(s + i, MARK, 3) == 0) i += 3; /* the marks before the word */
			const char *next = n - i >= 3 ? memmem(s + i, n - i, MARK, 3) : NULL;
			i = next ? (size_t)(next - s) : n;
		} while (i < n && glued(e->t, (uint8_t)s[i - 1]));
		rc = cached_word(e, s + from, i - from);
	}
	return rc;
}

struct stretch {
	struct enc *e;
	bool first;
};

/* Normalized text between added tokens. */
static int normal_text(void *ud, const char *s, size_t n)
{
	struct stretch *st = ud;
	int rc = n ? split_run(st->e->t->split, st->e->split, s, n, st->first, word, st->e, st->e->err) : 0;
	st->first = false;
	return rc;
}

static int normal_token(void *ud, int32_t id)
{
	struct stretch *st = ud;
	st->first = false;
	return put(st->e, id);
}

/* Raw text between added tokens. */
static int raw_text(void *ud, const char *s, size_t n)
{
	struct enc *e = ud;
	struct stretch st = {e, s == e->text};
	const char *out;
	size_t len;
	int rc = norm_run(e->t->norm, e->norm, s, n, &out, &len, e->err);
	if (rc || !len) return rc;
	if (!added_has(e->t->added, true)) return normal_text(&st, out, len);
	struct added_out to = {normal_text, normal_token, &st};
	return added_cut(e->t->added, out, len, true, e->special, &to);
}

/* Characters stay as they are; each maximal bad sequence becomes U+FFFD, as the reference's decoder does it.
 */
static void clean(struct lm_buf *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		char c[4];
		i += (size_t)lm_utf8_next(s + i, n - i, &cp);
		lm_buf_add(out, c, (size_t)lm_utf8_put(c, cp));
	}
}

static int encode(struct enc *e, size_t len)
{
	const struct tok *t = e->t;
	struct added_out to = {raw_text, put, e};
	e->split = split_work_new();
	e->norm = norm_work_new();
	if (!e->split || !e->norm) return lm_fail(e->err, LM_ENOMEM, "out of memory for %zu bytes of text", len);
	if (len >= CACHE_FROM) e->seen = lm_calloc(CACHE_WORDS, sizeof *e->seen); /* without it: slower */
	return added_cut(t->added, e->text, len, false, e->special, &to);
}

int tok_encode(const struct tok *t, const char *text, size_t len, unsigned flags, int32_t *ids, int cap,
	       struct lm_err *err)
{
	struct enc e = {.t = t, .text = text, .ids = ids, .cap = cap > 0 ? cap : 0, .err = err,
			.special = flags & TOK_PARSE_SPECIAL};
	struct lm_buf valid = {0};
	int rc = 0;
	if (!t->model) return lm_fail(err, LM_EUNSUPPORTED, "the model has no tokenizer: it takes token ids only");
	if (len > MAX_TEXT)
		return lm_fail(err, LM_ELIMIT, "the text has %zu bytes, at most %d are supported", len,
			       MAX_TEXT);
	if (!lm_utf8_valid(text, len)) {
		clean(&valid, text, len);
		e.text = valid.p;
		len = valid.n;
		if (valid.bad) rc = lm_fail(err, LM_ENOMEM, "out of memory for %zu bytes of text", len);
	}
	for (int i = 0; i < t->n_before && flags & TOK_ADD_BOS; i++) put(&e, t->before[i]);
	if (!rc && len) rc = encode(&e, len);
	for (int i = 0; i < t->n_after && flags & TOK_ADD_EOS; i++) put(&e, t->after[i]);
	lm_free(e.seen);
	lm_free(e.model.sym);
	lm_free(e.model.tree);
	lm_free(e.model.letters);
	lm_free(e.model.own);
	split_work_free(e.split);
	norm_work_free(e.norm);
	lm_buf_free(&valid);
	return rc ? rc : e.n;
}

/* ---- around one text or two ------------------------------------------------------------------------------ */
/* Where no post-processor says it.  RoBERTa and its kin: <s> A </s></s> B </s>, else as BERT: [CLS] A [SEP] B [SEP]. */
static int default_pair(const struct tok *t, struct pair_part out[MAX_PAIR])
{
	int32_t last = t->n_after ? t->after[0] : -1;
	bool twice = t->n_before && last >= 0 && t->piece[last].len == 4 && !memcmp(piece_text(t, last), "</s>", 4);
	int n = 0;
	for (int i = 0; i < t->n_before; i++) out[n++] = (struct pair_part){t->before[i], 0};
	out[n++] = (struct pair_part){PAIR_A, 0};
	for (int i = 0; i < t->n_after; i++) out[n++] = (struct pair_part){t->after[i], 0};
	if (twice) out[n++] = (struct pair_part){last, 0};
	out[n++] = (struct pair_part){PAIR_B, !twice};
	for (int i = 0; i < t->n_after; i++) out[n++] = (struct pair_part){t->after[i], !twice};
	return n;
}

struct wrap { int32_t *ids, *types; int cap, n; };

static void wrap_add(struct wrap *w, const int32_t *ids, int n, int32_t type)
{
	for (int i = 0; i < n; i++, w->n++) {
		if (w->n >= w->cap) continue;
		w->ids[w->n] = ids[i];
		if (w->types) w->types[w->n] = type;
	}
}

int tok_wrap(const struct tok *t, const int32_t *a, int n_a, const int32_t *b, int n_b, int32_t *ids, int32_t *types,
	     int cap, struct lm_err *err)
{
	struct wrap w = {ids, types, cap, 0};
	struct pair_part own[MAX_PAIR];
	const struct pair_part *p = t->pair;
	int n = t->n_pair;
	if (!b) {
		wrap_add(&w, t->before, t->n_before, 0);
		wrap_add(&w, a, n_a, 0);
		wrap_add(&w, t->after, t->n_after, 0);
		return w.n;
	}
	if (n < 0) return lm_fail(err, LM_EUNSUPPORTED, "the tokenizer does not say how two texts are joined");
	if (n == 0) n = default_pair(t, own), p = own;
	for (int i = 0; i < n; i++)
		if (p[i].id == PAIR_A) wrap_add(&w, a, n_a, p[i].type);
		else if (p[i].id == PAIR_B) wrap_add(&w, b, n_b, p[i].type);
		else wrap_add(&w, &p[i].id, 1, p[i].type);
	return w.n;
}
