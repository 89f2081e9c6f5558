/* bpe.c - one word to ids: the neighbours of lowest rank are merged, the leftmost first among equals, until
 * no neighbours have a rank.  Symbols are spans of the word, so a merge moves one boundary; the lowest rank
 * is found by a scan in short words and by a winner tree in long ones, which keeps 1 MB of one letter at n
 * log n. */
#include "tokenizer/tok_impl.h"
#include <string.h>

enum { SCAN = 24 }; /* symbols up to which a scan beats the tree */
#define NONE UINT32_MAX

struct sym {
	uint64_t hash; /* of its text; KIND_BYTES only */
	uint32_t pos, len;
	uint32_t prev, next; /* NONE at the ends */
	uint32_t rank;       /* of joining it with the next */
	int32_t id;
};
struct word {
	const struct tok *t;
	const char *s;
	struct sym *y;
	uint32_t *tree;
	uint32_t n, leaves; /* leaves 0: no tree */
};

/* Higher scores come first.  User-defined symbols come before all: SentencePiece never splits them. */
static uint32_t score_rank(const struct tok *t, int32_t id)
{
	if (t->piece[id].type == TYPE_USER) return 0;
	float f;
	uint32_t u;
	memcpy(&f, t->score + 4 * (size_t)id, sizeof f);
	if (f != f) return NONE - 1; /* a NaN is the worst score */
	if (f == 0) f = 0;           /* and -0 is 0 */
	memcpy(&u, &f, sizeof u);
	u = u >> 31 ? u : ~u & 0x7FFFFFFF;
	return u == 0 ? 1 : u;
}

/* Control, unknown and byte tokens are never made from text. */
static bool can_merge_to(const struct tok *t, int32_t id)
{
	unsigned type = t->piece[id].type;
	return type == TYPE_NORMAL || type == TYPE_USER || type == TYPE_UNUSED;
}

static uint32_t pair_rank(const struct word *w, uint32_t i)
{
	const struct sym *a = &w->y[i];
	if (a->next == NONE) return NONE;
	const struct sym *b = &w->y[a->next];
	if (w->t->kind == KIND_BYTES)
		return vocab_merge(w->t, w->s + a->pos, a->len, b->len, tok_hash_pair(a->hash, b->hash));
	if (a->len + b->len > MAX_TOKEN) return NONE;
	int32_t id = vocab_id(w->t, w->s + a->pos, a->len + b->len);
	return id >= 0 && can_merge_to(w->t, id) ? score_rank(w->t, id) : NONE;
}

static void set_rank(struct word *w, uint32_t i, uint32_t rank)
{
	w->y[i].rank = rank;
	if (!w->leaves) return;
	uint32_t k = w->leaves + i;
	w->tree[k] = rank;
	for (k /= 2; k; k /= 2) {
		uint32_t a = w->tree[2 * k], b = w->tree[2 * k + 1], v = a < b ? a : b;
		if (w->tree[k] == v) return;
		w->tree[k] = v;
	}
}

static uint32_t lowest(const struct word *w)
{
	uint32_t k = 1, best = NONE, at = 0;
	if (w->leaves) {
		if (w->tree[1] == NONE) return NONE;
		while (k < w->leaves) k = 2 * k + (w->tree[2 * k] != w->tree[k]);
		return k - w->leaves;
	}
	for (uint32_t i = 0; i < w->n; i++)
		if (w->y[i].rank < best) best = w->y[at = i].rank;
	return best == NONE ? NONE : at;
}

static void build_tree(struct word *w)
{
	w->leaves = 1;
	while (w->leaves < w->n) w->leaves *= 2;
	for (uint32_t i = 0; i < w->leaves; i++) w->tree[w->leaves + i] = i < w->n ? w->y[i].rank : NONE;
	for (uint32_t k = w->leaves - 1; k; k--) {
		uint32_t a = w->tree[2 * k], b = w->tree[2 * k + 1];
		w->tree[k] = a < b ? a : b;
	}
}

static void merge_all(struct word *w)
{
	uint32_t i;
	for (uint32_t k = 0; k < w->n; k++) w->y[k].rank = pair_rank(w, k);
	if (w->n > SCAN) build_tree(w);
	while ((i = lowest(w)) != NONE) {
		struct sym *a = &w->y[i], *b = &w->y[a->next];
		uint64_t h = tok_hash(w->s + a->pos, a->len + b->len);
		int32_t id = vocab_find(w->t, w->s + a->pos, a->len + b->len, h);
		if (id < 0) { /* a merge whose product is no token */
			set_rank(w, i, NONE);
			continue;
		}
		a->len += b->len;
		a->hash = h;
		a->id = id;
		set_rank(w, a->next, NONE);
		a->next = b->next;
		if (a->next != NONE) w->y[a->next].prev = i;
		set_rank(w, i, pair_rank(w, i));
		if (a->prev != NONE) set_rank(w, a->prev, pair_rank(w, a->prev));
	}
}

static int reserve(struct bpe *b, size_t n)
{
	if (n <= b->cap) return 0;
	size_t cap = n < 64 ? 64 : n, leaves = 1, bytes;
	while (leaves < cap) leaves *= 2;
	if (!lm_mul_size(cap, sizeof *b->sym, &bytes)) return LM_ENOMEM;
	struct sym *y = lm_realloc(b->sym, bytes);
	if (y) b->sym = y;
	uint32_t *tree = y ? lm_realloc(b->tree, 2 * leaves * sizeof *tree) : NULL;
	if (!tree) return LM_ENOMEM;
	b->tree = tree;
	b->cap = cap;
	return 0;
}

/* Writes the word in the byte-level alphabet and makes a symbol of each letter. */
static int start_bytes(struct word *w, struct bpe *b, const char *s, size_t n)
{
	if (b->letters_cap < 2 * n) {
		char *p = lm_realloc(b->letters, 2 * n);
		if (!p) return LM_ENOMEM;
		b->letters = p;
		b->letters_cap = 2 * n;
	}
	uint32_t pos = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)s[i];
		uint32_t len = (uint32_t)letter_of(c, b->letters + pos);
		w->y[i] = (struct sym){.hash = w->t->letter_hash[c],
				       .pos = pos,
				       .len = len,
				       .id = w->t->byte_id[c],
				       .prev = i - 1,
				       .next = i + 1};
		pos += len;
	}
	w->s = b->letters;
	w->n = (uint32_t)n;
	return 0;
}

static void start_chars(struct word *w, const char *s, size_t n)
{
	uint32_t pos = 0, i = 0;
	for (; pos < n; i++) {
		uint32_t cp, len = (uint32_t)lm_utf8_next(s + pos, n - pos, &cp);
		int32_t id = vocab_id(w->t, s + pos, len);
		if (id >= 0 && !can_merge_to(w->t, id)) id = -1;
		w->y[i] = (struct sym){.pos = pos, .len = len, .id = id, .prev = i - 1, .next = i + 1};
		pos += len;
	}
	w->s = s;
	w->n = i;
}

/* The byte tokens of a character that is no token; if one is missing, the unknown token, once for neighbours.
 */
static int put_unknown(const struct word *w, const struct sym *a, bool *unk, bpe_put *put, void *ud)
{
	if (w->t->kind == KIND_BYTES) return 0; /* the reference drops it */
	bool all = true;
	for (uint32_t k = 0; k < a->len; k++) all &= w->t->byte_id[(uint8_t)w->s[a->pos + k]] >= 0;
	if (!all) {
		int rc = *unk || w->t->role[TOK_UNK] < 0 ? 0 : put(ud, w->t->role[TOK_UNK]);
		*unk = true;
		return rc;
	}
	*unk = false;
	int rc = 0;
	for (uint32_t k = 0; k < a->len && !rc; k++) rc = put(ud, w->t->byte_id[(uint8_t)w->s[a->pos + k]]);
	return rc;
}

int bpe_word(const struct tok *t, struct bpe *b, const char *s, size_t n, bpe_put *put, void *ud)
{
	if (n == 0) return 0;
	int rc = reserve(b, n);
	struct word w = {.t = t, .y = b->sym, .tree = b->tree};
	if (!rc && t->kind == KIND_BYTES) rc = start_bytes(&w, b, s, n);
	if (rc) return rc;
	if (t->kind == KIND_SPM) start_chars(&w, s, n);
	w.y[w.n - 1].next = NONE;
	if (t->ignore_merges) {
		size_t len = w.y[w.n - 1].pos + w.y[w.n - 1].len;
		int32_t id = len <= MAX_TOKEN ? vocab_id(t, w.s, len) : -1;
		if (id >= 0) return put(ud, id);
	}
	merge_all(&w);
	bool unk = false;
	for (uint32_t i = 0; i != NONE && !rc; i = w.y[i].next) {
		if (w.y[i].id < 0)
			rc = put_unknown(&w, &w.y[i], &unk, put, ud);
		else {
			unk = false;
			rc = put(ud, w.y[i].id);
		}
	}
	return rc;
}

void bpe_free(struct bpe *b)
{
	lm_free(b->sym);
	lm_free(b->tree);
	lm_free(b->letters);
	*b = (struct bpe){0};
}
