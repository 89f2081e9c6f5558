/* trie.c - sorting the texts by their first eight bytes, then one pass that makes the nodes level by level.
 */
#include "tokenizer/trie.h"

struct ent {
	uint64_t key; /* the first eight bytes, the first one highest; later the eight from the level's
			 multiple of 8 */
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
	uint32_t cap;
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

/* Texts of one key: Shell's sort, for there are few as a rule, and many in a crafted file. */
static void sort_equal(const struct make *m, struct ent *e, size_t n)
{
	size_t gap = 1;
	while (gap < n / 3) gap = 3 * gap + 1;
	for (; gap; gap /= 3)
		for (size_t i = gap; i < n; i++) {
			struct ent x = e[i];
			size_t k = i;
			for (; k >= gap && compare(m, &x, &e[k - gap]) < 0; k -= gap) e[k] = e[k - gap];
			e[k] = x;
		}
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

static bool grow(struct make *m)
{
	uint32_t cap = m->cap < 1024 ? 1024 : 2 * m->cap;
	if (m->cap >= 1u << 30) return false;
	struct trie_node *node = lm_realloc(m->tr->node, (cap + (size_t)1) * sizeof *node);
	if (node) m->tr->node = node;
	uint8_t *label = node ? lm_realloc(m->tr->label, cap + (size_t)8) : NULL;
	if (!label) return false;
	m->tr->label = label;
	m->cap = cap;
	return true;
}

static uint8_t byte_at(const struct make *m, uint32_t i, uint32_t depth)
{
	return (uint8_t)(m->e[i].key >> (56 - 8 * (depth % 8)));
}

/* The end of the texts from lo on that have the same byte at depth as lo: steps that double, then halve. */
static uint32_t group_end(const struct make *m, uint32_t lo, uint32_t hi, uint32_t depth)
{
	uint8_t c = byte_at(m, lo, depth);
	uint32_t step = 1;
	if (byte_at(m, hi - 1, depth) == c) return hi;
	for (; step < hi - lo && byte_at(m, lo + step, depth) == c; step *= 2) lo += step;
	for (; step; step /= 2)
		if (step < hi - lo && byte_at(m, lo + step, depth) == c) lo += step;
	return lo + 1;
}

/* Node i stands for the texts lo..hi, equal up to depth (kept in its two fields until here); makes its
 * children. */
static bool open_node(struct make *m, uint32_t i, uint32_t depth)
{
	struct trie *tr = m->tr;
	uint32_t lo = tr->node[i].first, hi = (uint32_t)tr->node[i].id;
	int32_t id = TRIE_NONE;
	for (; lo < hi && m->e[lo].len == depth; lo++)
		if (id == TRIE_NONE || m->last) id = m->e[lo].id;
	if (id == TRIE_NONE && depth && hi - lo == 1) {
		id = TRIE_NONE - 1 - m->e[lo].id;
		lo = hi;
	}
	tr->node[i] = (struct trie_node){ tr->n, id };
	for (uint32_t k = lo; k < hi && depth && depth % 8 == 0;
	     k++) /* one look at each text for eight levels */
		m->e[k].key = key_of(text(m, &m->e[k]) + depth, m->e[k].len - depth);
	while (lo < hi) {
		uint8_t c = byte_at(m, lo, depth);
		uint32_t end = group_end(m, lo, hi, depth);
		if (tr->n >= m->cap && !grow(m)) return false;
		tr->label[tr->n] = c;
		tr->node[tr->n++] = (struct trie_node){ lo, (int32_t)end };
		lo = end;
	}
	return true;
}

static bool make_nodes(struct make *m, uint32_t n)
{
	struct trie *tr = m->tr;
	if (!grow(m)) return false;
	tr->node[0] = (struct trie_node){ 0, (int32_t)n };
	tr->label[0] = 0;
	tr->n = 1;
	for (uint32_t i = 0, depth = 0, level = 1; i < tr->n; i++) {
		if (i == level) {
			depth++;
			level = tr->n;
		}
		if (!open_node(m, i, depth)) return false;
	}
	tr->node[tr->n] = (struct trie_node){ tr->n, TRIE_NONE };
	memset(tr->label + tr->n, 0, 8);
	for (uint32_t k = tr->node[0].first; k < (tr->n > 1 ? tr->node[1].first : 1); k++)
		tr->root[tr->label[k]] = k;
	return true;
}

void trie_free(struct trie *tr)
{
	if (!tr) return;
	lm_free(tr->node);
	lm_free(tr->label);
	lm_free(tr);
}

int trie_new(struct trie **out, const struct tok *t, trie_take *take, uint32_t skip, bool last,
	     struct lm_err *err)
{
	struct make m = { .tr = lm_calloc(1, sizeof *m.tr), .t = t, .last = last };
	struct ent *e = m.tr ? lm_malloc((size_t)t->n * 2 * sizeof *e) : NULL;
	uint32_t n = 0;
	if (e) m.tr->skip = skip;
	for (int32_t id = 0; e && id < t->n_model; id++) {
		uint32_t len = t->piece[id].len;
		if (len <= skip || (take && !take(t, id))) continue;
		e[n++] = (struct ent){ key_of(piece_text(t, id) + skip, len - skip), id, len - skip };
	}
	if (e) m.e = sort(&m, e, e + t->n, n);
	bool ok = e && make_nodes(&m, n);
	lm_free(e);
	if (!ok) {
		trie_free(m.tr);
		return lm_fail(err, LM_ENOMEM, "out of memory for a vocabulary of %d entries", t->n);
	}
	*out = m.tr;
	return 0;
}
