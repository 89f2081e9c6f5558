/* added.c - added tokens: a trie per set, walked wherever two bytes begin a token.
 *
 * The edges of a trie lie in one hash table (node, byte -> node), so filling costs a probe per byte.  The
 * table is seeded at random: a file cannot be made to collide in it.  A text costs at most MAX_TEXT probes a
 * byte, and one test of a bit where no token begins.
 *
 * GOTCHAS, all as in the reference:
 *  - the search goes on behind the matched text, not behind the white space that rstrip swallows, so that
 * tokens which begin with white space may match within it;
 *  - of which those that lstrip find nothing left and give no id;
 *  - a match that does not count (single_word, a control token where those are off) is stepped over whole:
 * neither a shorter one at the same place nor one that begins inside it is tried. */
#include "tokenizer/added.h"
#include "tokenizer/regex.h"
#include <string.h>

enum {
	MAX_TEXT = 256,
	MAX_NODE = 1 << 23, /* 100 MB; 20,000 whole words take 150,000 */
	FIRST_CAP = 256
};
struct entry {
	int32_t id;
	unsigned flags;
};
struct trie {
	uint64_t *slot; /* node + 1: 28 bits, byte: 8, child: 28; 0 is free */
	uint64_t mask;
	int32_t *end;        /* of a node: its token's entry, -1 */
	uint32_t n, cap;     /* nodes; 0 is the root */
	uint64_t pair[1024]; /* a bit for each two bytes that begin a token */
	uint64_t one[4];     /* for each byte that is a token */
};
struct added {
	struct trie set[2];
	struct entry *entry;
	int n, cap;
	uint64_t seed[2];
};

struct added *added_new(void)
{
	struct added *a = lm_calloc(1, sizeof *a);
	if (!a) return NULL;
	a->seed[0] = lm_random_seed();
	a->seed[1] = lm_random_seed() | 1;
	return a;
}

void added_free(struct added *a)
{
	if (!a) return;
	for (int i = 0; i < 2; i++) {
		lm_free(a->set[i].slot);
		lm_free(a->set[i].end);
	}
	lm_free(a->entry);
	lm_free(a);
}

bool added_has(const struct added *a, bool normalized)
{
	return a && a->set[normalized].n > 0;
}

/* ---- the trie
 * ------------------------------------------------------------------------------------------------------
 */

/* The slot of an edge, or the free one where it belongs.  key: node + 1 and the byte. */
static inline uint64_t *edge(const struct added *a, const struct trie *t, uint64_t key)
{
	__uint128_t p = (__uint128_t)(key ^ a->seed[0]) * a->seed[1];
	for (uint64_t i = ((uint64_t)p ^ (uint64_t)(p >> 64)) & t->mask;; i = (i + 1) & t->mask)
		if (!t->slot[i] || t->slot[i] >> 28 == key) return &t->slot[i];
}

static inline uint64_t edge_key(uint32_t node, char c)
{
	return (uint64_t)(node + 1) << 8 | (uint8_t)c;
}

/* Room for `more` nodes. */
static int grow(const struct added *a, struct trie *t, uint32_t more, struct lm_err *err)
{
	if (t->n + more <= t->cap) return 0;
	if (t->n + more > MAX_NODE)
		return lm_fail(err, LM_ELIMIT, "the added tokens have more than %d different beginnings",
			       MAX_NODE);
	struct trie old = *t;
	uint32_t cap = old.cap ? old.cap : FIRST_CAP;
	while (cap < t->n + more) cap *= 2;
	int32_t *end = lm_realloc(t->end, cap * sizeof *end);
	if (end) t->end = end;
	uint64_t *slot = end ? lm_calloc(2 * (size_t)cap, sizeof *slot) : NULL;
	if (!slot) return lm_fail(err, LM_ENOMEM, "out of memory for added tokens");
	t->slot = slot;
	t->mask = 2 * (uint64_t)cap - 1;
	t->cap = cap;
	for (uint64_t i = 0; old.slot && i <= old.mask; i++)
		if (old.slot[i]) *edge(a, t, old.slot[i] >> 28) = old.slot[i];
	lm_free(old.slot);
	return 0;
}

static uint32_t trie_put(const struct added *a, struct trie *t, const char *s, size_t n)
{
	uint32_t node = 0;
	if (t->n == 0) t->end[t->n++] = -1;
	for (size_t i = 0; i < n; i++) {
		uint64_t key = edge_key(node, s[i]), *e = edge(a, t, key);
		if (!*e) {
			*e = key << 28 | t->n;
			t->end[t->n++] = -1;
		}
		node = *e & 0xFFFFFFF;
	}
	uint8_t c = (uint8_t)s[0], d = n > 1 ? (uint8_t)s[1] : 0;
	if (n > 1)
		t->pair[(c << 8 | d) / 64] |= (uint64_t)1 << d % 64;
	else {
		memset(&t->pair[c * 4], 0xFF, 32);
		t->one[c / 64] |= (uint64_t)1 << c % 64;
	}
	return node;
}

int added_add(struct added *a, const char *s, size_t n, int32_t id, unsigned flags, struct lm_err *err)
{
	struct trie *t = &a->set[!!(flags & ADDED_NORMALIZED)];
	if (n == 0) return 0;
	if (n > MAX_TEXT)
		return lm_fail(err, LM_ELIMIT, "added token %d has %zu bytes, at most %d are supported", id,
			       n, MAX_TEXT);
	if (a->n == a->cap) {
		int cap = a->cap ? 2 * a->cap : 64; /* at most MAX_NODE entries: no overflow */
		struct entry *e = lm_realloc(a->entry, (size_t)cap * sizeof *e);
		if (!e) return lm_fail(err, LM_ENOMEM, "out of memory for added tokens");
		a->entry = e;
		a->cap = cap;
	}
	int rc = grow(a, t, (uint32_t)n + 1, err);
	if (rc) return rc;
	int32_t *end = &t->end[trie_put(a, t, s, n)];
	if (*end < 0) *end = a->n++;
	a->entry[*end] = (struct entry){ id, flags }; /* of equal texts the last counts */
	return 0;
}

/* Length of the longest token at s, *entry its entry; 0: none. */
static size_t longest(const struct added *a, const struct trie *t, const char *s, size_t n, int32_t *entry)
{
	size_t best = 0;
	uint32_t node = 0;
	for (size_t i = 0; i < n;) {
		uint64_t e = *edge(a, t, edge_key(node, s[i]));
		if (!e) break;
		node = e & 0xFFFFFFF;
		i++;
		if (t->end[node] < 0) continue;
		best = i;
		*entry = t->end[node];
	}
	return best;
}

size_t added_at(const struct added *a, const char *s, size_t n, bool normalized)
{
	int32_t entry;
	return added_has(a, normalized) ? longest(a, &a->set[normalized], s, n, &entry) : 0;
}

/* ---- the text's neighbours
 * -----------------------------------------------------------------------------------------
 */

/* The reference asks a library whose \w follows Unicode's annex 18: beyond the letters, marks, decimal digits
 * and connectors of uni_is_word it has the letter numbers, enclosed letters and the two joiners. */
static bool is_word(uint32_t cp)
{
	static const uint32_t more[][2] = {
		{ 0x16EE, 0x16F0 },   { 0x200C, 0x200D },   { 0x2160, 0x2182 },   { 0x2185, 0x2188 },
		{ 0x24B6, 0x24E9 },   { 0x3007, 0x3007 },   { 0x3021, 0x3029 },   { 0x3038, 0x303A },
		{ 0xA6E6, 0xA6EF },   { 0x10140, 0x10174 }, { 0x10341, 0x10341 }, { 0x1034A, 0x1034A },
		{ 0x103D1, 0x103D5 }, { 0x12400, 0x1246E }, { 0x1F130, 0x1F149 }, { 0x1F150, 0x1F169 },
		{ 0x1F170, 0x1F189 },
	};
	if (uni_is_word(cp)) return true;
	for (size_t i = 0; i < sizeof more / sizeof *more; i++)
		if (cp >= more[i][0] && cp <= more[i][1]) return true;
	return false;
}

/* The character that ends at s[at], at > 0, and its length. */
static size_t before(const char *s, size_t at, uint32_t *cp)
{
	size_t k = 1;
	while (k < at && k < 4 && ((uint8_t)s[at - k] & 0xC0) == 0x80) k++;
	if ((size_t)lm_utf8_next(s + at - k, k, cp) == k) return k;
	*cp = 0xFFFD;
	return 1;
}

static bool alone(const char *s, size_t n, size_t begin, size_t end)
{
	uint32_t left = ' ', right = ' ';
	if (begin > 0) before(s, begin, &left);
	if (end < n) lm_utf8_next(s + end, n - end, &right);
	return !is_word(left) && !is_word(right);
}

static size_t space_before(const char *s, size_t at, size_t floor)
{
	uint32_t cp;
	while (at > floor) {
		size_t k = before(s, at, &cp);
		if (!uni_is_space(cp)) break;
		at -= k;
	}
	return at > floor ? at : floor;
}

static size_t space_after(const char *s, size_t n, size_t at)
{
	uint32_t cp;
	while (at < n) {
		int k = lm_utf8_next(s + at, n - at, &cp);
		if (!uni_is_space(cp)) break;
		at += (size_t)k;
	}
	return at;
}

/* ---- cutting
 * -------------------------------------------------------------------------------------------------------
 */

struct cut {
	const struct added *a;
	const struct added_out *out;
	const char *s;
	size_t n;
	size_t done; /* what is given away so far; goes back when a match lies in swallowed white space */
	size_t space_end; /* white space reaches from an earlier match to here: a run is measured once */
	bool special;
};

static int matched(struct cut *c, size_t begin, size_t end, const struct entry *e)
{
	if ((e->flags & ADDED_SPECIAL) && !c->special) return 0;
	if ((e->flags & ADDED_SINGLE_WORD) && !alone(c->s, c->n, begin, end)) return 0;
	if (e->flags & ADDED_LSTRIP) begin = space_before(c->s, begin, c->done);
	if (e->flags & ADDED_RSTRIP) {
		if (c->space_end <= end) c->space_end = space_after(c->s, c->n, end);
		end = c->space_end;
	}
	int rc = c->done < begin ? c->out->text(c->out->ud, c->s + c->done, begin - c->done) : 0;
	if (rc) return rc;
	c->done = end;
	return begin < end ? c->out->token(c->out->ud, e->id) : 0;
}

int added_cut(const struct added *a, const char *s, size_t n, bool normalized, bool special,
	      const struct added_out *out)
{
	struct cut c = { a, out, s, n, 0, 0, special };
	const struct trie *t = &a->set[normalized];
	for (size_t i = 0; t->n && i < n;) {
		uint8_t b = (uint8_t)s[i], d = i + 1 < n ? (uint8_t)s[i + 1] : 0;
		const uint64_t *bits = i + 1 < n ? &t->pair[(b << 8 | d) / 64] : &t->one[b / 64];
		unsigned bit = i + 1 < n ? d % 64 : b % 64;
		int32_t entry = -1;
		size_t k = *bits >> bit & 1 ? longest(a, t, s + i, n - i, &entry) : 0;
		int rc = k ? matched(&c, i, i + k, &a->entry[entry]) : 0;
		if (rc) return rc;
		i += k ? k : 1;
	}
	return c.done < n ? out->text(out->ud, s + c.done, n - c.done) : 0;
}
