/* wordpiece.c - WordPiece: the longest token that the word begins with, then the longest that the rest begins
 * with as a continuation, and so on; one unknown token for a word that is not used up.  WordLevel: a word is
 * a token or unknown. */
#include "tokenizer/trie.h"

struct wordpiece {
	struct trie *start, *cont;
};

static bool begins(const struct tok *t, int32_t id, const struct affix *a)
{
	return t->piece[id].len > a->n && memcmp(piece_text(t, id), a->s, a->n) == 0;
}
static bool is_start(const struct tok *t, int32_t id)
{
	return begins(t, id, &t->start);
}
/* In an inverted vocabulary (a GGUF's) continuations are what is not marked as a start: "\u2581" alone may be
 * "##\u2581". */
static bool is_cont(const struct tok *t, int32_t id)
{
	return t->cont.n || !t->start.n ? begins(t, id, &t->cont) : !begins(t, id, &t->start);
}

static void wordpiece_free(struct tok *t)
{
	struct wordpiece *wp = t->model_data;
	if (!wp) return;
	trie_free(wp->start);
	trie_free(wp->cont);
	lm_free(wp);
	t->model_data = NULL;
}

static int wordpiece_ready(struct tok *t, struct lm_err *err)
{
	struct wordpiece *wp = lm_calloc(1, sizeof *wp);
	t->model_data = wp;
	if (!wp) return lm_fail(err, LM_ENOMEM, "out of memory for a vocabulary of %d entries", t->n);
	int rc = trie_new(&wp->start, t, is_start, t->start.n, false, err);
	return rc ? rc : trie_new(&wp->cont, t, is_cont, t->cont.n, false, err);
}

/* Whether the word is longer than max_chars. */
static bool too_long(const struct tok *t, const char *s, size_t n)
{
	size_t chars = 0, max = t->max_chars > 0 ? (size_t)t->max_chars : 0;
	if (n <= max) return false;
	for (size_t i = 0; i < n && chars <= max; i++) chars += ((uint8_t)s[i] & 0xC0) != 0x80;
	return chars > max;
}

static int put_unk(const struct tok *t, tok_put *put, void *ud)
{
	return t->unk < 0 || t->drop_unk ? 0 : put(ud, t->unk);
}

/* The ids of the word are kept until all of it is used up. */
static bool reserve(struct model_work *w, size_t n)
{
	if (n * sizeof(int32_t) <= w->own_cap) return true;
	void *p = lm_realloc(w->own, 2 * n * sizeof(int32_t));
	if (!p) return false;
	w->own = p;
	w->own_cap = 2 * n * sizeof(int32_t);
	return true;
}

static int wordpiece_word(const struct tok *t, struct model_work *w, const char *s, size_t n, tok_put *put,
			  void *ud)
{
	const struct wordpiece *wp = t->model_data;
	if (t->bytes && !model_letters(t, w, &s, &n)) return LM_ENOMEM;
	if (too_long(t, s, n)) return put_unk(t, put, ud);
	size_t count = 0;
	for (size_t i = 0; i < n;) {
		struct trie_walk walk = { 0 };
		int32_t id, best = -1;
		size_t len = 0;
		while ((id = trie_next(i ? wp->cont : wp->start, t, &walk, s + i, n - i)) >= 0) {
			best = id;
			len = walk.at;
		}
		if (best < 0) return put_unk(t, put, ud);
		if (!reserve(w, count + 1)) return LM_ENOMEM;
		((int32_t *)w->own)[count++] = best;
		i += len;
	}
	int rc = 0;
	for (size_t i = 0; i < count && !rc; i++) rc = put(ud, ((int32_t *)w->own)[i]);
	return rc;
}

static int wordlevel_word(const struct tok *t, struct model_work *w, const char *s, size_t n, tok_put *put,
			  void *ud)
{
	if (t->bytes && !model_letters(t, w, &s, &n)) return LM_ENOMEM;
	int32_t id = n && n <= MAX_TOKEN ? vocab_id(t, s, n) : -1;
	return id >= 0 ? put(ud, id) : put_unk(t, put, ud);
}

const struct model model_wordpiece = { NULL, wordpiece_ready, wordpiece_free, wordpiece_word };
const struct model model_wordlevel = { .word = wordlevel_word };
