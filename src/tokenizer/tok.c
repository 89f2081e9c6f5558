/* tok.c - loading, and text to ids: special tokens are cut out of the raw text, leftmost and longest first;
 * each piece between them is normalized, split into words, and each word merged (bpe.c). */
#include "tokenizer/tok_impl.h"
#include <ctype.h>
#include <string.h>

enum {
	MAX_TEXT = 256 << 20, /* bytes: ids and positions then fit 32 bits with room for the expansions */
	MAX_WORD = 8 << 20,   /* bytes without a place to cut: about 400 MB of working memory */
	CACHE_WORDS = 4096,
	CACHE_FROM = 2048 /* bytes of text from which remembering words pays */
};

/* ---- load ------------------------------------------------------------------------------------------------
 */

static bool is(const char *s, size_t n, const char *word)
{
	return strlen(word) == n && !memcmp(s, word, n);
}

static int load_pre(struct tok *t, unsigned *flags, struct lm_err *err)
{
	const char *pre;
	size_t n;
	if (!file_str(t->file, "tokenizer.ggml.pre", &pre, &n)) {
		pre = "default";
		n = strlen(pre);
	}
	if (is(pre, n, "default"))
		lm_log(LM_LOG_WARN,
		       "%s does not say how its text is split into words (tokenizer.ggml.pre): a common "
		       "way is taken, and answers may be worse for it",
		       file_path(t->file)[0] ? file_path(t->file) : "the model");
	int rc = pretok_new(&t->pre, flags, pre, n, err);
	t->nfc = *flags & PRE_NFC;
	t->ignore_merges = *flags & PRE_IGNORE_MERGES;
	return rc;
}

/* The special tokens of phi-3 swallow the white space after them; GGUF has no key for it. */
static bool is_phi3(const struct file *f)
{
	const char *s, *want = "phi-3";
	size_t n, k = 0;
	if (!file_str(f, "general.name", &s, &n)) return false;
	for (size_t i = 0; i < n && want[k]; i++) {
		char c = s[i] == ' ' || s[i] == '_' ? '-' : (char)tolower((unsigned char)s[i]);
		k = c == want[k] ? k + 1 : c == want[0];
	}
	return !want[k];
}

int tok_load(struct tok **out, const struct file *f, struct lm_err *err)
{
	const char *model;
	size_t n;
	unsigned flags = 0;
	if (!file_str(f, "tokenizer.ggml.model", &model, &n))
		return lm_fail(err, LM_EFORMAT,
			       "tokenizer.ggml.model is missing: the file holds no tokenizer");
	bool bytes = is(model, n, "gpt2");
	if (!bytes && !is(model, n, "llama"))
		return lm_fail(err, LM_EUNSUPPORTED,
			       "tokenizer.ggml.model: the tokenizer \"%.*s\" is not supported",
			       (int)(n < 64 ? n : 64), model);
	struct tok *t = lm_calloc(1, sizeof *t);
	if (!t) return lm_fail(err, LM_ENOMEM, "out of memory for the tokenizer");
	t->file = f;
	t->kind = bytes ? KIND_BYTES : KIND_SPM;
	int rc = bytes ? load_pre(t, &flags, err) : 0;
	if (!rc) rc = vocab_load(t, err);
	if (!rc) rc = roles_load(t, flags, err);
	if (rc) {
		tok_free(t);
		return rc;
	}
	t->rstrip = is_phi3(f);
	*out = t;
	return 0;
}

void tok_free(struct tok *t)
{
	if (!t) return;
	pretok_free(t->pre);
	lm_free(t->piece);
	lm_free(t->merge);
	lm_free(t->by_text.slot);
	lm_free(t->by_pair.slot);
	lm_buf_free(&t->aux);
	lm_free(t);
}

int tok_special(const struct tok *t, enum tok_role role)
{
	return t->role[role];
}
int tok_vocab(const struct tok *t)
{
	return t->n;
}
bool tok_adds_bos(const struct tok *t)
{
	return t->add_bos;
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
	int32_t *ids;
	int cap, n;
	struct bpe bpe;
	struct pretok_work pre;
	struct lm_buf norm, prefixed;
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

static int merge_word(struct enc *e, const char *s, size_t n)
{
	if (n > MAX_WORD)
		return lm_fail(e->err, LM_ELIMIT,
			       "the text has %zu bytes without a word's end, at most %d are supported", n,
			       MAX_WORD);
	int rc = bpe_word(e->t, &e->bpe, s, n, put, e);
	return rc ? lm_fail(e->err, rc, "out of memory for a word of %zu bytes", n) : 0;
}

static int word(void *ud, const char *s, size_t n)
{
	struct enc *e = ud;
	if (!e->seen || n > sizeof e->seen->word) return merge_word(e, s, n);
	struct seen *w = &e->seen[tok_hash(s, n) >> 20 & (CACHE_WORDS - 1)];
	if (w->len == n && memcmp(w->word, s, n) == 0) {
		for (int i = 0; i < w->n; i++) put(e, w->id[i]);
		return 0;
	}
	int from = e->n, rc = merge_word(e, s, n);
	if (rc || e->n > e->cap || (size_t)(e->n - from) > sizeof w->id / sizeof *w->id) return rc;
	w->len = (uint8_t)n;
	w->n = (uint8_t)(e->n - from);
	memcpy(w->word, s, n);
	memcpy(w->id, e->ids + from, w->n * sizeof *w->id);
	return 0;
}

static int piece_bytes(struct enc *e, const char *s, size_t n)
{
	if (e->t->add_prefix && s[0] != ' ') {
		e->prefixed.n = 0;
		lm_buf_char(&e->prefixed, ' ');
		lm_buf_add(&e->prefixed, s, n);
		s = e->prefixed.p;
		n++;
	}
	e->norm.n = 0;
	if (!e->prefixed.bad && e->t->nfc && nfc_append(&e->norm, s, n)) {
		s = e->norm.p;
		n = e->norm.n;
	}
	if (e->prefixed.bad || e->norm.bad)
		return lm_fail(e->err, LM_ENOMEM, "out of memory for %zu bytes of text", n);
	return pretok_split(e->t->pre, &e->pre, s, n, word, e, e->err);
}

/* Spaces become U+2581.  Where no token holds one after another character, each word is merged alone. */
static int piece_spm(struct enc *e, const char *s, size_t n)
{
	static const char mark[] = "\xE2\x96\x81";
	struct lm_buf *b = &e->norm;
	b->n = 0;
	if (e->t->add_prefix) lm_buf_add(b, mark, 3);
	for (size_t i = 0; i < n;) {
		const char *sp = memchr(s + i, ' ', n - i);
		size_t end = sp ? (size_t)(sp - s) : n;
		lm_buf_add(b, s + i, end - i);
		if (sp) lm_buf_add(b, mark, 3);
		i = end + (sp != NULL);
	}
	if (b->bad) return lm_fail(e->err, LM_ENOMEM, "out of memory for %zu bytes of text", n);
	if (!e->t->cut_words) return word(e, b->p, b->n);
	size_t from = 0, i = 0;
	int rc = 0;
	while (!rc && i < b->n) {
		while (b->n - i >= 3 && memcmp(b->p + i, mark, 3) == 0)
			i += 3; /* the marks before the word */
		const char *next = b->n - i >= 3 ? memmem(b->p + i, b->n - i, mark, 3) : NULL;
		i = next ? (size_t)(next - b->p) : b->n;
		rc = word(e, b->p + from, i - from);
		from = i;
	}
	return rc;
}

static int piece(struct enc *e, const char *s, size_t n)
{
	if (n == 0) return 0;
	return e->t->kind == KIND_BYTES ? piece_bytes(e, s, n) : piece_spm(e, s, n);
}

/* The longest special token that s begins with; -1 if there is none. */
static int32_t special_at(const struct tok *t, const char *s, size_t n, bool control)
{
	const uint64_t *lens = t->lead[(uint8_t)s[0]];
	for (int k = MAX_SPECIAL / 64 - 1; k >= 0; k--)
		for (uint64_t left = lens[k]; left;) {
			int bit = 63 - __builtin_clzll(left);
			size_t len = (size_t)(64 * k + bit + 1);
			left &= ~((uint64_t)1 << bit);
			if (len > n) continue;
			int32_t id = vocab_id(t, s, len);
			if (id < 0) continue;
			unsigned type = t->piece[id].type;
			if (type != TYPE_USER && !(control && (type == TYPE_CONTROL || type == TYPE_UNKNOWN)))
				continue;
			if (!is_filler(s, len)) return id;
		}
	return -1;
}

static size_t skip_space(const char *s, size_t n)
{
	size_t i = 0;
	while (i < n) {
		uint32_t cp;
		size_t len = (size_t)lm_utf8_next(s + i, n - i, &cp);
		if (!pretok_is_space(cp)) break;
		i += len;
	}
	return i;
}

static int pieces(struct enc *e, const char *s, size_t n, bool control)
{
	const struct tok *t = e->t;
	bool any[256];
	for (int i = 0; i < 256; i++) {
		any[i] = false;
		for (int k = 0; k < MAX_SPECIAL / 64; k++) any[i] |= t->lead[i][k] != 0;
	}
	size_t from = 0;
	for (size_t i = 0; i < n;) {
		int32_t id = any[(uint8_t)s[i]] ? special_at(t, s + i, n - i, control) : -1;
		if (id < 0) {
			i++;
			continue;
		}
		int rc = piece(e, s + from, i - from);
		if (rc) return rc;
		put(e, id);
		i += t->piece[id].len;
		if (t->rstrip && t->piece[id].type == TYPE_CONTROL && id != t->role[TOK_BOS] &&
		    !is(piece_text(t, id), t->piece[id].len, "<|endoftext|>"))
			i += skip_space(s + i, n - i);
		from = i;
	}
	return piece(e, s + from, n - from);
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

int tok_encode(const struct tok *t, const char *text, size_t len, unsigned flags, int32_t *ids, int cap,
	       struct lm_err *err)
{
	struct enc e = {.t = t, .ids = ids, .cap = cap > 0 ? cap : 0, .err = err};
	struct lm_buf valid = {0};
	int rc = 0;
	if (len > MAX_TEXT)
		return lm_fail(err, LM_ELIMIT, "the text has %zu bytes, at most %d are supported", len,
			       MAX_TEXT);
	if (!lm_utf8_valid(text, len)) {
		clean(&valid, text, len);
		text = valid.p;
		len = valid.n;
		if (valid.bad) rc = lm_fail(err, LM_ENOMEM, "out of memory for %zu bytes of text", len);
	}
	if (len >= CACHE_FROM) e.seen = lm_calloc(CACHE_WORDS, sizeof *e.seen); /* without it: slower */
	if (flags & TOK_ADD_BOS && t->add_bos) put(&e, t->role[TOK_BOS]);
	if (!rc) rc = pieces(&e, text, len, flags & TOK_PARSE_SPECIAL);
	if (flags & TOK_ADD_EOS && t->add_eos)
		put(&e, t->role[TOK_EOS] >= 0 ? t->role[TOK_EOS] : t->role[TOK_SEP]);
	lm_free(e.seen);
	bpe_free(&e.bpe);
	pretok_work_free(&e.pre);
	lm_buf_free(&e.norm);
	lm_buf_free(&e.prefixed);
	lm_buf_free(&valid);
	return rc ? rc : e.n;
}
