/* unigram.c - a word to the ids of the highest sum of scores (Viterbi), left to right over the places where
 * characters begin.
 *
 * GOTCHAS, all held by tests against both references:
 * - Of equal sums the one found first stays: the one whose last token begins further left.
 * - `tokenizers` adds up doubles, sentencepiece floats, so sentencepiece breaks ties and near ties in another
 * way, the more so far into a long text; from 100000 on it begins again from 0.
 * - An unknown character costs the lowest score less 10; neighbouring ones are one unknown token.
 * - `tokenizers` looks among all tokens, sentencepiece leaves out those that are not text (control, byte,
 * unused), also for the lowest score, and prefers user-defined ones. */
#include "tokenizer/trie.h"
#include <float.h>
#include <math.h>

struct unigram {
	struct trie *trie;
	double *score; /* [n] */
	double unknown;
};
struct best { /* the best way to a place */
	union {
		double sum;
		uint32_t to; /* once the way is found: where the token that begins here ends */
	};
	uint32_t from; /* where its last token begins */
	int32_t id;    /* of its last token; NOT_REACHED; UNKNOWN */
};
enum { UNKNOWN = -1, NOT_REACHED = -2, MAX_SUM = 100000 };

static bool is_text(const struct tok *t, int32_t id)
{
	unsigned type = t->piece[id].type;
	return type == TYPE_NORMAL || type == TYPE_USER;
}

static void unigram_free(struct tok *t)
{
	struct unigram *u = t->model_data;
	if (!u) return;
	trie_free(u->trie);
	lm_free(u->score);
	lm_free(u);
	t->model_data = NULL;
}

static void set_scores(struct unigram *u, const struct tok *t)
{
	double least = t->any_type ? INFINITY : FLT_MAX;
	for (int32_t id = 0; id < t->n_model; id++) {
		double v = t->score64 ? t->score64[id] : (double)vocab_score(t, id);
		u->score[id] = v;
		if (!t->any_type && t->piece[id].type != TYPE_NORMAL) continue;
		if (v < least) least = v;
	}
	u->unknown = least - 10;
	if (t->float_sums) u->unknown = (double)((float)least - 10.0f);
}

static int unigram_ready(struct tok *t, struct lm_err *err)
{
	if (!t->score && !t->score64)
		return lm_fail(err, LM_EFORMAT, "the tokens of a Unigram model have no scores");
	struct unigram *u = lm_calloc(1, sizeof *u);
	t->model_data = u;
	if (u) u->score = lm_malloc((size_t)t->n * sizeof *u->score);
	if (!u || !u->score) return lm_fail(err, LM_ENOMEM, "out of memory for %d scores", t->n);
	set_scores(u, t);
	return trie_new(&u->trie, t, t->any_type ? NULL : is_text, 0, t->any_type, err);
}

/* The score of a token of len bytes, as sentencepiece makes it. */
static double score_of(const struct unigram *u, const struct tok *t, int32_t id, size_t len)
{
	if (t->any_type || t->piece[id].type != TYPE_USER) return u->score[id];
	return (double)(float)(0.1 * (double)(len - 1));
}

static inline void offer(struct best *b, double sum, size_t from, int32_t id, bool floats)
{
	if (floats) sum = (double)(float)sum;
	if (b->id != NOT_REACHED && !(sum > b->sum)) return;
	b->sum = sum;
	b->from = (uint32_t)from;
	b->id = id;
}

static size_t char_len(const char *s, size_t n)
{
	uint32_t cp;
	return (uint8_t)*s < 0x80 ? 1 : (size_t)lm_utf8_next(s, n, &cp);
}

/* sentencepiece keeps its floats small; places after `end` are not reached yet. */
static void reset_sums(struct best *best, size_t from, size_t end)
{
	float least = (float)best[from].sum;
	for (size_t i = from; i <= end; i++)
		if (best[i].id != NOT_REACHED) best[i].sum = (double)((float)best[i].sum - least);
}

static void viterbi(const struct tok *t, struct best *best, const char *s, size_t n)
{
	const struct unigram *u = t->model_data;
	bool floats = t->float_sums;
	for (size_t i = 0; i <= n; i++) best[i].id = NOT_REACHED;
	best[0] = (struct best){ .id = UNKNOWN };
	for (size_t i = 0, end = 0; i < n;) {
		size_t len = char_len(s + i, n - i);
		if (floats && (best[i].sum < -MAX_SUM || best[i].sum > MAX_SUM)) reset_sums(best, i, end);
		double sum = best[i].sum;
		bool single = false;
		struct trie_walk w = { 0 };
		int32_t id;
		while ((id = trie_next(u->trie, t, &w, s + i, n - i)) >= 0) {
			offer(&best[i + w.at], score_of(u, t, id, w.at) + sum, i, id, floats);
			single |= w.at == len;
			if (i + w.at > end) end = i + w.at;
		}
		if (!single) {
			double v = floats ? (double)((float)u->unknown + (float)sum) : u->unknown + sum;
			offer(&best[i + len], v, i, UNKNOWN, floats);
			if (i + len > end) end = i + len;
		}
		i += len;
	}
}

/* Unknown text: its byte tokens if all are there (tokenizers: unless it is a token as a whole), else one
 * unknown. */
static int put_unknown(const struct tok *t, const char *s, size_t n, tok_put *put, void *ud)
{
	if (t->any_type && n <= MAX_TOKEN) {
		int32_t id = vocab_id(t, s, n);
		if (id >= 0) return put(ud, id);
	}
	bool bytes = t->byte_fallback;
	for (size_t i = 0; i < n && bytes; i++) bytes = vocab_byte(t, (uint8_t)s[i]) >= 0;
	if (!bytes) return t->unk < 0 || t->drop_unk ? 0 : put(ud, t->unk);
	int rc = 0;
	for (size_t i = 0; i < n && !rc; i++) rc = put(ud, vocab_byte(t, (uint8_t)s[i]));
	return rc;
}

static int put_best(const struct tok *t, struct best *best, const char *s, size_t n, tok_put *put, void *ud)
{
	for (size_t i = n; i > 0; i = best[i].from) best[best[i].from].to = (uint32_t)i;
	int rc = 0;
	for (size_t i = 0, end; i < n && !rc; i = end) {
		int32_t id = best[end = best[i].to].id;
		if (id != UNKNOWN && !(t->any_type && id == t->unk)) {
			rc = put(ud, id);
			continue;
		}
		while (end < n &&
		       (id = best[best[end].to].id, id == UNKNOWN || (t->any_type && id == t->unk)))
			end = best[end].to;
		rc = put_unknown(t, s + i, end - i, put, ud);
	}
	return rc;
}

static int unigram_word(const struct tok *t, struct model_work *w, const char *s, size_t n, tok_put *put,
			void *ud)
{
	size_t bytes;
	if (t->bytes && !model_letters(t, w, &s, &n)) return LM_ENOMEM;
	if (n == 0) return 0;
	if (n >= UINT32_MAX || !lm_mul_size(n + 1, sizeof(struct best), &bytes)) return LM_ELIMIT;
	if (bytes > w->own_cap) {
		void *p = lm_realloc(w->own, bytes);
		if (!p) return LM_ENOMEM;
		w->own = p;
		w->own_cap = bytes;
	}
	viterbi(t, w->own, s, n);
	return put_best(t, w->own, s, n, put, ud);
}

const struct model model_unigram = { NULL, unigram_ready, unigram_free, unigram_word };
