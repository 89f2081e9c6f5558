/* trie.c - sorting the texts, then one pass over them that makes the nodes.
 *
 * Nodes lie level by level, those of a level in the order of the texts.  A text shares the nodes of the bytes that it
 * has in common with the one before it and adds one for each further byte, up to the first that it has in common with
 * no neighbour; so how many nodes a level has is known from the lengths that neighbours share, before any is made. */
#include "tokenizer/trie.h"

struct ent {
	uint64_t key; /* its first eight bytes, the first one highest */
	int32_t id;
	uint32_t len;
};

static uint64_t key_of(const char *s, size_t n)
{
	uint64_t v = 0;
	memcpy(&v, s, n < 8 ? n : 8);
	return __builtin_bswap64(v);
}

struct make {
	struct trie *tr;
	const struct tok *t;
	struct ent *e;
	uint64_t *rest;   /* of a token by its id: bytes 8 to 15, as in `key` */
	uint32_t n;
	uint32_t depth;   /* bytes of the longest text */
	uint32_t *shared; /* [n + 1] bytes that a text has in common with the one before; 0 at both ends */
	uint32_t *next;   /* [depth + 2] where the next node of a level goes */
	bool last;
};

static const char *text(const struct make *m, const struct ent *e)
{
	return piece_text(m->t, e->id) + m->tr->skip;
}

static int compare(const struct make *m, const struct ent *a, const struct ent *b)
{
	uint32_t n = a->len < b->len ? a->len : b->len;
	int d = memcmp(text(m, a), text(m, b), n);
	return d ? d : a->len != b->len ? (a->len < b->len ? -1 : 1) : a->id < b->id ? -1 : 1;
}

/* Texts of one key, sorted by the next eight bytes: Shell's sort, for there are few as a rule, and many in a crafted
 * file. */
static void sort_equal(const struct make *m, struct ent *e, size_t n)
{
	uint64_t key = e->key;
	size_t gap = 1;
	for (size_t i = 0; i < n; i++) e[i].key = m->rest[e[i].id];
	while (gap < n / 3) gap = 3 * gap + 1;
	for (; gap; gap /= 3)
		for (size_t i = gap; i < n; i++) {
			struct ent x = e[i];
			size_t k = i;
			for (; k >= gap; k -= gap) {
				const struct ent *y = &e[k - gap];
				if (x.key > y->key || (x.key == y->key && compare(m, &x, y) > 0)) break;
				e[k] = *y;
			}
			e[k] = x;
		}
	for (size_t i = 0; i < n; i++) e[i].key = key;
}

/* Radix sort by the key, the lowest byte first; returns which of the two arrays holds the result. */
static struct ent *sort(const struct make *m, struct ent *e, struct ent *tmp, size_t n)
{
	uint32_t count[8][256] = { 0 };
	for (size_t i = 0; i < n; i++)
		for (int d = 0; d < 8; d++) count[d][e[i].key >> 8 * d & 255]++;
	for (int d = 0; d < 8; d++) {
		if (n && count[d][e[0].key >> 8 * d & 255] == n) continue;
		uint32_t at = 0;
		for (int b = 0; b < 256; b++) {
			uint32_t c = count[d][b];
			count[d][b] = at;
			at += c;
		}
		for (size_t i = 0; i < n; i++) tmp[count[d][e[i].key >> 8 * d & 255]++] = e[i];
		struct ent *swap = e;
		e = tmp;
		tmp = swap;
	}
	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && e[k].key == e[i].key;) k++;
		if (k - i > 1) sort_equal(m, e + i, k - i);
	}
	return e;
}

static uint32_t common(const struct make *m, const struct ent *a, const struct ent *b)
{
	uint32_t n = a->len < b->len ? a->len : b->len, k = 0;
	uint64_t x = a->key ^ b->key;
	if (!x && n > 8) {
		x = m->rest[a->id] ^ m->rest[b->id];
		k = 8;
	}
	k += x ? (uint32_t)__builtin_clzll(x) / 8 : 8;
	if (x || k >= n) return k < n ? k : n;
	for (const char *s = text(m, a), *r = text(m, b); k < n && s[k] == r[k];) k++;
	return k < n ? k : n;
}

/* The depth of a text's last node: where it ends, or is alone. */
static inline uint32_t last_depth(const struct make *m, uint32_t i)
{
	uint32_t a = m->shared[i], b = m->shared[i + 1], d = (a > b ? a : b) + 1;
	return d < m->e[i].len ? d : m->e[i].len;
}

/* Counts the nodes of each level; m->next is where each level begins.  False: more than ids reach. */
static bool plan(struct make *m)
{
	uint64_t n = 1;
	m->shared[0] = m->shared[m->n] = 0;
	for (uint32_t i = 1; i < m->n; i++) m->shared[i] = common(m, &m->e[i - 1], &m->e[i]);
	for (uint32_t i = 0; i < m->n; i++)
		for (uint32_t d = m->shared[i] + 1, end = last_depth(m, i); d <= end; d++, n++) {
			if (n >= (uint64_t)1 << 30) return false;
			m->next[d]++;
		}
	uint32_t at = 1;
	for (uint32_t d = 1; d < m->depth + 2; d++) {
		uint32_t c = m->next[d];
		m->next[d] = at;
		at += c;
	}
	m->tr->n = at;
	return true;
}

static inline uint8_t byte_at(uint64_t key, uint32_t depth)
{
	return (uint8_t)(key >> (64 - 8 * depth) % 64);
}

/* The nodes of one text.  Its children's level has grown to where its own children begin. */
static void add_nodes(const struct make *m, uint32_t i)
{
	const struct ent *e = &m->e[i];
	struct trie *tr = m->tr;
	uint32_t d = m->shared[i] + 1, end = last_depth(m, i);
	const char *s = end > 16 ? text(m, e) : NULL;
	uint64_t rest = end > 8 ? m->rest[e->id] : 0;
	if (d > e->len) { /* the same text once more */
		if (m->last) tr->node[m->next[e->len] - 1].id = e->id;
		return;
	}
	for (; d <= end; d++) {
		uint32_t k = m->next[d]++;
		tr->label[k] = d > 16 ? (uint8_t)s[d - 1] : byte_at(d > 8 ? rest : e->key, d);
		tr->node[k] = (struct trie_node){ m->next[d + 1], TRIE_NONE };
	}
	tr->node[m->next[end] - 1].id = end == e->len ? e->id : TRIE_NONE - 1 - e->id;
}

static bool make_nodes(struct make *m)
{
	struct trie *tr = m->tr;
	m->shared = lm_malloc(((size_t)m->n + 1) * sizeof *m->shared);
	m->next = lm_calloc((size_t)m->depth + 2, sizeof *m->next);
	bool ok = m->shared && m->next && plan(m);
	if (ok) {
		size_t bytes = (tr->n + (size_t)1) * sizeof *tr->node;
		tr->node = lm_table(bytes, bytes);
		tr->label = lm_malloc(tr->n + (size_t)8);
		ok = tr->node && tr->label;
	}
	if (ok) {
		tr->node[0] = (struct trie_node){ 1, TRIE_NONE };
		tr->node[tr->n] = (struct trie_node){ tr->n, TRIE_NONE };
		tr->label[0] = 0;
		memset(tr->label + tr->n, 0, 8);
		for (uint32_t i = 0; i < m->n; i++) add_nodes(m, i);
		for (uint32_t k = 1; k < m->next[1]; k++) tr->root[tr->label[k]] = k;
	}
	lm_free(m->shared);
	lm_free(m->next);
	return ok;
}

void trie_free(struct trie *tr)
{
	if (!tr) return;
	lm_pages_free(tr->node, (tr->n + (size_t)1) * sizeof *tr->node);
	lm_free(tr->label);
	lm_free(tr);
}

int trie_new(struct trie **out, const struct tok *t, trie_take *take, uint32_t skip, bool last,
	     struct lm_err *err)
{
	struct make m = { .tr = lm_calloc(1, sizeof *m.tr), .t = t, .last = last };
	size_t bytes = (size_t)t->n * (2 * sizeof(struct ent) + sizeof *m.rest);
	struct ent *e = m.tr ? lm_table(bytes, bytes) : NULL;
	uint32_t n = 0;
	if (e) m.tr->skip = skip;
	if (e) m.rest = (uint64_t *)(e + 2 * (size_t)t->n);
	for (int32_t id = 0; e && id < t->n_model; id++) {
		uint32_t len = t->piece[id].len;
		if (len <= skip || (take && !take(t, id))) continue;
		if (len - skip > m.depth) m.depth = len - skip;
		if (len - skip > 8) m.rest[id] = key_of(piece_text(t, id) + skip + 8, len - skip - 8);
		e[n++] = (struct ent){ key_of(piece_text(t, id) + skip, len - skip), id, len - skip };
	}
	m.n = n;
	if (e) m.e = sort(&m, e, e + t->n, n);
	bool ok = e && make_nodes(&m);
	lm_pages_free(e, bytes);
	if (!ok) {
		trie_free(m.tr);
		return lm_fail(err, LM_ENOMEM, "out of memory for a vocabulary of %d entries", t->n);
	}
	*out = m.tr;
	return 0;
}
