/* bpe.c - a word to ids: the neighbours of lowest rank are joined, the leftmost
 * first among equals, until no neighbours have a rank.
 *
 * Where merges rank (RANK_MERGES), symbols are ids and a table of pairs tells
 * rank and product, as in `tokenizers`: so unknown tokens, bytes and affixes
 * are symbols like all others.  Else (RANK_SCORE: SentencePiece, RANK_ID:
 * tiktoken) symbols are spans of the word, and two join when their text is a
 * token.
 *
 * The lowest rank is found by a scan in short words and by a winner tree over
 * blocks in long ones, which keeps 1 MB of one letter at n log n.
 *
 * GOTCHAS, all held by tests against the references:
 * - An unknown token is put when the next known symbol comes, so the byte
 * tokens of a character between go before it.
 * - Byte tokens are of the character *with* its affixes, and only if none of
 * them is missing.
 * - User-defined symbols of SentencePiece are cut out first, the longest at
 * each place, and never joined.
 * - Unused tokens of SentencePiece may be made on the way, and fall apart again
 * in the end; a character that is one is unknown. */
#include "tokenizer/trie.h"

enum {
	SCAN = 32,  /* symbols up to which a scan beats the tree */
	BLOCK = 64, /* ranks that are scanned at once in long words */
	AHEAD = 16, /* merges whose cache misses overlap at load */
	MAX_PROBES = 1 << 12,
	UNUSED_DEPTH = 100
};
#define NONE UINT32_MAX

struct made {           /* by a merge */
	uint32_t check; /* bits of its key that its slot does not tell */
	int32_t id;     /* UNSEEN until first asked for, -1: no token */
};
enum { UNSEEN = -2 };
struct bpe {
	const struct tok *t;
	struct table pair; /* ranks by the key of the merge's parts */
	int shift;         /* of a key, to the check */
	struct made *made; /* [n_merge] */
	const uint64_t *hash;  /* the tokenizer's */
	int32_t start[4][256]; /* ids of one byte of text by place: FIRST, LAST; -1:
				  see the text */
	struct trie *user;     /* NULL: no user-defined symbols */
	bool unused;           /* there are unused tokens */
};
enum { FIRST = 1, LAST = 2 };
struct sym {
	uint32_t pos, len;
	uint32_t prev, next; /* NONE at the ends */
	int32_t id, joined;  /* the token, and the one that it gives with the next */
};
struct word {
	const struct tok *t;
	const struct bpe *b;
	struct model_work *work;
	const char *s;
	struct sym *y;
	uint32_t *rank;     /* of joining a symbol with the next */
	uint32_t *tree;     /* the lowest rank of each block of symbols, of two blocks,
			       ...; [1] of all */
	uint32_t n, leaves; /* leaves 0: no tree */
};

/* ---- letters ---- */

bool model_letters(const struct tok *t, struct model_work *w, const char **s, size_t *n)
{
	(void)t;
	size_t need;
	if (!lm_mul_size(*n, 2, &need)) return false;
	if (w->letters_cap < need + 2) {
		char *p = lm_realloc(w->letters, need + 2);
		if (!p) return false;
		w->letters = p;
		w->letters_cap = need + 2;
	}
	size_t at = 0;
	for (size_t i = 0; i < *n; i++) at += (size_t)letter_of((uint8_t)(*s)[i], w->letters + at);
	*s = w->letters;
	*n = at;
	return true;
}

/* ---- ranks ---- */

/* Higher scores come first. */
static uint32_t score_rank(const struct tok *t, int32_t id)
{
	float f = vocab_score(t, id);
	uint32_t u;
	if (f != f) return NONE - 1; /* a NaN is the worst score */
	if (f == 0) f = 0;           /* and -0 is 0 */
	memcpy(&u, &f, sizeof u);
	return u >> 31 ? u : ~u & 0x7FFFFFFF;
}

/* Control, unknown and byte tokens are never made from text; only merges make
 * them. */
static bool is_text(const struct tok *t, int32_t id)
{
	unsigned type = t->piece[id].type;
	return t->rank_by == RANK_MERGES || type == TYPE_NORMAL || type == TYPE_USER || type == TYPE_UNUSED;
}
static bool is_user(const struct tok *t, int32_t id)
{
	return t->piece[id].type == TYPE_USER;
}
static int32_t find_text(const struct tok *t, const char *s, size_t n)
{
	int32_t id = n <= MAX_TOKEN ? vocab_id(t, s, n) : -1;
	return id >= 0 && is_text(t, id) ? id : -1;
}

/* Two pairs of texts of one vocabulary have the same key once in 2^64: never.
 */
static inline uint64_t pair_key(uint64_t left, uint64_t right)
{
	__uint128_t p = (__uint128_t)(left ^ 0x9E3779B97F4A7C15u) * (right ^ 0xD1B54A32D192ED03u);
	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

/* Asked for by many threads, all of which find the same. */
static __attribute__((noinline)) int32_t find_product(const struct bpe *b, int32_t rank)
{
	const struct tok *t = b->t;
	const struct merge *m = &t->merge[rank];
	size_t cut = t->cont.n < m->right ? t->cont.n : m->right, right = m->right - cut;
	char text[MAX_TOKEN];
	int32_t id = -1;
	if (m->left + right <= MAX_TOKEN) {
		memcpy(text, merge_text(t, m), m->left);
		memcpy(text + m->left, merge_right(t, m) + cut, right);
		id = vocab_id(t, text, m->left + right);
	}
	__atomic_store_n(&b->made[rank].id, id, __ATOMIC_RELAXED);
	return id;
}

static inline uint32_t merge_rank(const struct bpe *b, int32_t left, int32_t right, int32_t *joined)
{
	uint64_t key = pair_key(b->hash[left], b->hash[right]);
	for (uint64_t i = key & b->pair.mask;; i = (i + 1) & b->pair.mask) {
		uint32_t v = b->pair.slot[i];
		if (!v) return NONE;
		int32_t rank = table_index(&b->pair, v, key);
		if (rank < 0 || b->made[rank].check != (uint32_t)(key >> b->shift)) continue;
		int32_t id = __atomic_load_n(&b->made[rank].id, __ATOMIC_RELAXED);
		*joined = id == UNSEEN ? find_product(b, rank) : id;
		return *joined < 0 ? NONE : (uint32_t)rank;
	}
}

/* The rank of the token that two neighbours' text is, len bytes from pos; the
 * left one has `left` bytes. */
static uint32_t text_rank(const struct word *w, uint32_t pos, uint32_t len, uint32_t left, int32_t *joined)
{
	int32_t id = find_text(w->t, w->s + pos, len);
	if (id < 0) return NONE;
	*joined = id;
	if (w->b->unused && w->t->piece[id].type == TYPE_UNUSED)
		((uint16_t *)w->work->own)[id] = (uint16_t)left;
	return w->t->rank_by == RANK_ID ? (uint32_t)id : score_rank(w->t, id);
}

static uint32_t pair_rank(struct word *w, struct sym *a)
{
	if (a->next == NONE) return NONE;
	const struct sym *b = &w->y[a->next];
	if (w->t->rank_by == RANK_MERGES) return merge_rank(w->b, a->id, b->id, &a->joined);
	if (w->b->user && ((a->id >= 0 && is_user(w->t, a->id)) || (b->id >= 0 && is_user(w->t, b->id))))
		return NONE;
	return text_rank(w, a->pos, a->len + b->len, a->len, &a->joined);
}

/* ---- joining ---- */

static uint32_t block_min(const struct word *w, uint32_t block)
{
	const uint32_t *rank = w->rank + (size_t)block * BLOCK;
	uint32_t least = NONE;
	for (int i = 0; i < BLOCK; i++) least = rank[i] < least ? rank[i] : least;
	return least;
}

static void set_rank(struct word *w, uint32_t i, uint32_t rank)
{
	uint32_t old = w->rank[i], *tree = w->tree;
	w->rank[i] = rank;
	if (!w->leaves) return;
	uint32_t k = w->leaves + i / BLOCK, least = tree[k];
	if (rank > least && old == least)
		rank = block_min(w, i / BLOCK);
	else if (rank >= least)
		return;
	if (rank == least) return;
	tree[k] = rank;
	for (k /= 2; k; k /= 2) {
		uint32_t x = tree[2 * k], y = tree[2 * k + 1], v = x < y ? x : y;
		if (tree[k] == v) return;
		tree[k] = v;
	}
}

static uint32_t lowest(const struct word *w)
{
	uint32_t k = 1, best = NONE, at = NONE;
	if (!w->leaves) {
		for (uint32_t i = 0; i < w->n; i++)
			if (w->rank[i] < best) best = w->rank[at = i];
		return at;
	}
	best = w->tree[1];
	if (best == NONE) return NONE;
	while (k < w->leaves) k = 2 * k + (w->tree[2 * k] != best);
	at = (k - w->leaves) * BLOCK;
	while (w->rank[at] != best) at++;
	return at;
}

/* Memory for the ranks, in whole blocks, and for the tree over the blocks;
 * leaves is 0 for few symbols. */
static bool make_ranks(struct word *w)
{
	uint32_t blocks = (w->n + BLOCK - 1) / BLOCK, leaves = 1;
	while (leaves < blocks) leaves *= 2;
	size_t need = (size_t)blocks * BLOCK + 2 * (size_t)leaves;
	if (w->work->tree_cap < need) {
		uint32_t *p = lm_realloc(w->work->tree, need * sizeof *p);
		if (!p) return false;
		w->work->tree = p;
		w->work->tree_cap = need;
	}
	w->rank = w->work->tree;
	w->tree = w->rank + (size_t)blocks * BLOCK;
	w->leaves = w->n > SCAN ? leaves : 0;
	return true;
}

static void build_tree(struct word *w)
{
	uint32_t leaves = w->leaves, *tree = w->tree;
	uint32_t blocks = (w->n + BLOCK - 1) / BLOCK;
	for (uint32_t i = w->n; i < blocks * BLOCK; i++) w->rank[i] = NONE;
	for (uint32_t i = 0; i < leaves; i++) tree[leaves + i] = i < blocks ? block_min(w, i) : NONE;
	for (uint32_t k = leaves - 1; k; k--)
		tree[k] = tree[2 * k] < tree[2 * k + 1] ? tree[2 * k] : tree[2 * k + 1];
}

static int join_linked(struct word *w)
{
	uint32_t i;
	if (!make_ranks(w)) return LM_ENOMEM;
	for (uint32_t k = 0; k < w->n; k++) {
		w->y[k].prev = k - 1; /* NONE for 0 */
		w->y[k].next = k + 1 < w->n ? k + 1 : NONE;
		w->rank[k] = pair_rank(w, &w->y[k]);
	}
	if (w->leaves) build_tree(w);
	while ((i = lowest(w)) != NONE) {
		struct sym *a = &w->y[i], *b = &w->y[a->next];
		a->len += b->len;
		a->id = a->joined;
		set_rank(w, a->next, NONE);
		a->next = b->next;
		if (a->next != NONE) w->y[a->next].prev = i;
		if (a->prev != NONE) set_rank(w, a->prev, pair_rank(w, &w->y[a->prev]));
		set_rank(w, i, pair_rank(w, a));
	}
	return 0;
}

/* The same for few symbols of which only the ids count: arrays close up over
 * what is joined.  Returns how many are left. */
static uint32_t join_few(const struct bpe *b, int32_t *id, uint32_t n)
{
	uint32_t rank[SCAN];
	int32_t joined[SCAN];
	for (uint32_t i = 0; i + 1 < n; i++) rank[i] = merge_rank(b, id[i], id[i + 1], &joined[i]);
	for (;;) {
		uint32_t best = NONE, at = 0;
		for (uint32_t i = 0; i + 1 < n; i++)
			if (rank[i] < best) best = rank[at = i];
		if (best == NONE) return n;
		id[at] = joined[at];
		n--;
		for (uint32_t i = at + 1; i < n; i++) {
			id[i] = id[i + 1];
			rank[i] = rank[i + 1]; /* one beyond the last is never looked at */
			joined[i] = joined[i + 1];
		}
		if (at + 1 < n) rank[at] = merge_rank(b, id[at], id[at + 1], &joined[at]);
		if (at) rank[at - 1] = merge_rank(b, id[at - 1], id[at], &joined[at - 1]);
	}
}

/* ---- symbols ---- */

static bool reserve(struct word *w, size_t n)
{
	struct model_work *k = w->work;
	size_t bytes, cap = n < 64 ? 64 : n + n / 2;
	if (n > k->cap) {
		struct sym *y =
			lm_mul_size(cap, sizeof *y, &bytes) && n < NONE ? lm_realloc(k->sym, bytes) : NULL;
		if (!y) return false;
		k->sym = y;
		k->cap = cap;
	}
	w->y = k->sym;
	return true;
}

static bool push(struct word *w, int32_t id)
{
	if (!reserve(w, (size_t)w->n + 1)) return false;
	w->y[w->n++] = (struct sym){ .id = id };
	return true;
}

/* A character with the affixes of its place (FIRST, LAST); at most 2 *
 * MAX_AFFIX + 4 bytes. */
static size_t with_affixes(const struct tok *t, char *out, const char *s, size_t n, int place)
{
	size_t at = 0;
	if (!(place & FIRST)) {
		memcpy(out, t->cont.s, t->cont.n);
		at = t->cont.n;
	}
	memcpy(out + at, s, n);
	at += n;
	if (place & LAST) {
		memcpy(out + at, t->end.s, t->end.n);
		at += t->end.n;
	}
	return at;
}

static bool has_bytes(const struct tok *t, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (vocab_byte(t, (uint8_t)s[i]) < 0) return false;
	return t->byte_fallback && n > 0;
}

/* A character that is not in `start`: its token, its bytes, or an unknown one,
 * which waits in *unk. */
static bool push_char(struct word *w, const char *s, size_t n, int place, bool *unk)
{
	const struct tok *t = w->t;
	char buf[2 * MAX_AFFIX + 4];
	size_t len = with_affixes(t, buf, s, n, place);
	int32_t id = vocab_id(t, buf, len);
	bool ok = true;
	if (id >= 0) {
		if (*unk) ok = push(w, t->unk);
		*unk = false;
		return ok && push(w, id);
	}
	if (has_bytes(t, buf, len)) {
		for (size_t i = 0; i < len && ok; i++) ok = push(w, vocab_byte(t, (uint8_t)buf[i]));
		return ok;
	}
	if (t->unk < 0 || t->drop_unk) return true;
	if (*unk && !t->fuse_unk) ok = push(w, t->unk);
	*unk = true;
	return ok;
}

/* RANK_MERGES: the ids of the characters, or of the letters of the bytes. */
static bool start_ids(struct word *w, const char *s, size_t n)
{
	bool unk = false, ok = reserve(w, n);
	for (size_t i = 0, len; i < n && ok; i += len) {
		uint8_t c = (uint8_t)s[i];
		uint32_t cp;
		len = c < 0x80 || w->t->bytes ? 1 : (size_t)lm_utf8_next(s + i, n - i, &cp);
		int place = (i ? 0 : FIRST) | (i + len == n ? LAST : 0);
		int32_t id = w->b->start[place][c];
		if (id >= 0 && !unk) {
			ok = push(w, id);
		} else if (w->t->bytes) {
			char letter[2];
			ok = push_char(w, letter, (size_t)letter_of(c, letter), place, &unk);
		} else
			ok = push_char(w, s + i, len, place, &unk);
	}
	return ok && (!unk || push(w, w->t->unk));
}

/* The longest user-defined symbol that s begins with; 0 bytes if none does. */
static size_t user_at(const struct word *w, const char *s, size_t n, int32_t *id)
{
	struct trie_walk walk = { 0 };
	int32_t v;
	size_t len = 0;
	while ((v = trie_next(w->b->user, w->t, &walk, s, n)) >= 0) {
		*id = v;
		len = walk.at;
	}
	return len;
}

/* RANK_SCORE, RANK_ID: spans of the word. */
static bool start_spans(struct word *w, const char *s, size_t n)
{
	w->s = s;
	for (size_t i = 0, len; i < n; i += len) {
		int32_t id = -1;
		uint32_t cp;
		len = w->b->user ? user_at(w, s + i, n - i, &id) : 0;
		if (!len) {
			len = (uint8_t)s[i] < 0x80 ? 1 : (size_t)lm_utf8_next(s + i, n - i, &cp);
			id = len == 1 && !w->t->bytes ? w->b->start[FIRST][(uint8_t)s[i]]
						      : find_text(w->t, s + i, len);
		}
		if (!push(w, id)) return false;
		w->y[w->n - 1].pos = (uint32_t)i;
		w->y[w->n - 1].len = (uint32_t)len;
	}
	return true;
}

/* ---- a word ---- */

/* A span that is no token: its bytes, else one unknown token for neighbours. */
static int put_unknown(const struct word *w, const struct sym *a, bool *unk, tok_put *put, void *ud)
{
	const struct tok *t = w->t;
	const char *s = w->s + a->pos;
	int rc = 0;
	if (has_bytes(t, s, a->len)) {
		*unk = false;
		for (uint32_t k = 0; k < a->len && !rc; k++) rc = put(ud, vocab_byte(t, (uint8_t)s[k]));
		return rc;
	}
	if (t->unk >= 0 && !t->drop_unk && !(*unk && t->fuse_unk)) rc = put(ud, t->unk);
	*unk = true;
	return rc;
}

/* A span: its token, but an unused one falls into the two spans that it was
 * last made of.  A character that is one is unknown; at UNUSED_DEPTH it stays,
 * as in the reference. */
static int put_span(const struct word *w, const struct sym *a, int depth, bool *unk, tok_put *put, void *ud)
{
	bool unused =
		w->b->unused && a->id >= 0 && depth <= UNUSED_DEPTH && w->t->piece[a->id].type == TYPE_UNUSED;
	uint32_t left = unused ? ((uint16_t *)w->work->own)[a->id] : 0;
	if (left) {
		struct sym b = { .pos = a->pos, .len = left },
			   c = { .pos = a->pos + left, .len = a->len - left };
		b.id = find_text(w->t, w->s + b.pos, b.len);
		c.id = find_text(w->t, w->s + c.pos, c.len);
		int rc = put_span(w, &b, depth + 1, unk, put, ud);
		return rc ? rc : put_span(w, &c, depth + 1, unk, put, ud);
	}
	if (unused || a->id < 0) return put_unknown(w, a, unk, put, ud);
	*unk = false;
	return put(ud, a->id);
}

static int spans_word(struct word *w, tok_put *put, void *ud)
{
	size_t bytes = (size_t)w->t->n * sizeof(uint16_t);
	if (w->b->unused && w->work->own_cap < bytes) {
		lm_free(w->work->own);
		w->work->own = lm_calloc(1, bytes);
		w->work->own_cap = w->work->own ? bytes : 0;
		if (!w->work->own) return LM_ENOMEM;
	}
	int rc = join_linked(w);
	bool unk = false;
	for (uint32_t i = 0; i != NONE && !rc; i = w->y[i].next) rc = put_span(w, &w->y[i], 0, &unk, put, ud);
	return rc;
}

static int ids_word(struct word *w, tok_put *put, void *ud)
{
	int rc = 0;
	if (w->n > SCAN) {
		rc = join_linked(w);
		for (uint32_t i = 0; i != NONE && !rc; i = w->y[i].next) rc = put(ud, w->y[i].id);
		return rc;
	}
	int32_t id[SCAN];
	for (uint32_t i = 0; i < w->n; i++) id[i] = w->y[i].id;
	uint32_t n = join_few(w->b, id, w->n);
	for (uint32_t i = 0; i < n && !rc; i++) rc = put(ud, id[i]);
	return rc;
}

static int bpe_word(const struct tok *t, struct model_work *k, const char *s, size_t n, tok_put *put,
		    void *ud)
{
	struct word w = { .t = t, .b = t->model_data, .work = k };
	const char *text = s;
	size_t len = n;
	bool whole = t->ignore_merges || t->rank_by == RANK_ID;
	if (n == 0) return 0;
	if (n > NONE / 4) return LM_ELIMIT;
	if (t->bytes && (whole || t->rank_by != RANK_MERGES) && !model_letters(t, k, &text, &len))
		return LM_ENOMEM;
	if (whole && len <= MAX_TOKEN) {
		int32_t id = find_text(t, text, len);
		if (id >= 0) return put(ud, id);
	}
	bool ids = t->rank_by == RANK_MERGES;
	if (!(ids ? start_ids(&w, s, n) : start_spans(&w, text, len))) return LM_ENOMEM;
	if (w.n == 0) return 0;
	return ids ? ids_word(&w, put, ud) : spans_word(&w, put, ud);
}

/* ---- load ---- */

static int insert(struct bpe *b, uint64_t key, int rank, struct lm_err *err)
{
	struct table *tab = &b->pair;
	uint32_t check = (uint32_t)(key >> b->shift);
	b->made[rank] = (struct made){ check, UNSEEN };
	for (uint64_t i = key & tab->mask, probes = 0;; i = (i + 1) & tab->mask) {
		uint32_t v = tab->slot[i];
		int32_t old = v ? table_index(tab, v, key) : -1;
		if (!v || (old >= 0 && b->made[old].check == check)) {
			tab->slot[i] = table_slot(tab, key, rank); /* of equal merges the last counts, as in the reference */
			return 0;
		}
		if (probes++ == MAX_PROBES)
			return lm_fail(err, LM_EFORMAT, "the merges are crafted to collide in a hash table");
	}
}

/* Nothing is looked up: a merge is filed under the texts of its parts, and what
 * it makes is found when it is used. */
static int bpe_merges(struct tok *t, struct lm_err *err)
{
	struct bpe *b = lm_calloc(1, sizeof *b);
	t->model_data = b;
	if (!b) return lm_fail(err, LM_ENOMEM, "out of memory for %d merges", t->n_merge);
	b->t = t;
	if (t->rank_by != RANK_MERGES) return 0;
	size_t n = (size_t)t->n_merge;
	int rc = table_new(&b->pair, n, n + n / 2, err);
	b->made = rc ? NULL : lm_table((n + 1) * sizeof *b->made, n * sizeof *b->made);
	if (!b->made) return lm_fail(err, LM_ENOMEM, "out of memory for %d merges", t->n_merge);
	b->shift = __builtin_ctzll(b->pair.mask + 1);
	uint64_t key[AHEAD];
	for (int k = 0; k < t->n_merge + AHEAD && !rc; k++) {
		if (k >= AHEAD) rc = insert(b, key[k % AHEAD], k - AHEAD, err);
		if (k >= t->n_merge) continue;
		const struct merge *m = &t->merge[k];
		key[k % AHEAD] =
			pair_key(tok_hash(merge_text(t, m), m->left), tok_hash(merge_right(t, m), m->right));
		__builtin_prefetch(&b->pair.slot[key[k % AHEAD] & b->pair.mask], 1);
	}
	return rc;
}

static void set_start(const struct tok *t, struct bpe *b)
{
	for (int place = 0; place < 4; place++)
		for (int c = 0; c < 256; c++) {
			char buf[2 * MAX_AFFIX + 4], letter[2] = { (char)c };
			size_t n = t->bytes ? (size_t)letter_of((uint8_t)c, letter) : 1;
			n = with_affixes(t, buf, letter, n, place);
			b->start[place][c] = c < 0x80 || t->bytes ? find_text(t, buf, n) : -1;
		}
}

static void bpe_free(struct tok *t)
{
	struct bpe *b = t->model_data;
	if (!b) return;
	table_free(&b->pair);
	lm_pages_free(b->made, ((size_t)t->n_merge + 1) * sizeof *b->made);
	trie_free(b->user);
	lm_free(b);
	t->model_data = NULL;
}

static int bpe_ready(struct tok *t, struct lm_err *err)
{
	struct bpe *b = t->model_data;
	b->hash = t->hash;
	set_start(t, b);
	if (t->rank_by != RANK_SCORE) return 0;
	if (!t->score)
		return lm_fail(err, LM_EFORMAT, "the tokens of a SentencePiece BPE model have no scores");
	bool user = false;
	for (int32_t id = 0; id < t->n_model; id++) {
		user |= is_user(t, id);
		b->unused |=
			t->piece[id].type == TYPE_UNUSED && !is_filler(piece_text(t, id), t->piece[id].len);
	}
	return user ? trie_new(&b->user, t, is_user, 0, false, err) : 0;
}

const struct model model_bpe = { bpe_merges, bpe_ready, bpe_free, bpe_word };
