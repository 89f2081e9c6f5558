/* trie.h - the texts of a vocabulary by their bytes: finds every token that a text begins with, shortest
 * first.
 *
 * Children of a node lie side by side in the order of their bytes, so the whole is two arrays, made in one
 * pass over the sorted texts.  A text that is alone from some byte on has no nodes for the rest: its leaf
 * names the token, and the rest is compared with the token's own text. */
#pragma once
#include "tokenizer/tok_impl.h"
#include <string.h>

struct trie_node {
	uint32_t first; /* child; the next node's is the end */
	int32_t id; /* of the token that ends here; TRIE_NONE; below it, TRIE_NONE - 1 - id: its rest follows
		     */
};
enum { TRIE_NONE = -1 };
struct trie {
	struct trie_node *node; /* [n + 1] */
	uint8_t *label;         /* [n + 8] the byte that leads to a node */
	uint32_t n;
	uint32_t skip;      /* bytes left out at the front of each text */
	uint32_t root[256]; /* children of the root; 0: none */
};
/* The tokens that `take` picks (NULL: all), without their first `skip` bytes and only if there are more; of
 * equal texts the last counts, or the first. */
typedef bool trie_take(const struct tok *t, int32_t id);
int trie_new(struct trie **out, const struct tok *t, trie_take *take, uint32_t skip, bool last,
	     struct lm_err *err);
void trie_free(struct trie *tr); /* NULL is fine */

/* Child of a node by its byte; 0 if there is none.  Eight labels are compared at once. */
static inline uint32_t trie_child(const struct trie *tr, uint32_t node, uint8_t c)
{
	if (node == 0) return tr->root[c];
	uint32_t i = tr->node[node].first, end = tr->node[node + 1].first;
	for (; i < end; i += 8) {
		uint64_t v, x;
		memcpy(&v, tr->label + i, sizeof v);
		x = v ^ 0x0101010101010101u * c;
		x = (x - 0x0101010101010101u) & ~x & 0x8080808080808080u; /* the lowest set bit is exact */
		if (!x) continue;
		i += (uint32_t)__builtin_ctzll(x) / 8;
		return i < end ? i : 0;
	}
	return 0;
}

/* A walk down; begin with {0}. */
struct trie_walk {
	uint32_t node;
	size_t at; /* bytes of the text read so far */
};
/* The next longer token that s[0..n) begins with, w->at bytes long; -1 when there is none. */
static inline int32_t trie_next(const struct trie *tr, const struct tok *t, struct trie_walk *w,
				const char *s, size_t n)
{
	while (w->at < n) {
		w->node = trie_child(tr, w->node, (uint8_t)s[w->at]);
		if (!w->node) break;
		w->at++;
		int32_t id = tr->node[w->node].id;
		if (id >= 0) return id;
		if (id == TRIE_NONE) continue;
		id = TRIE_NONE - 1 - id;
		size_t len = t->piece[id].len - tr->skip, at = w->at;
		if (len > n || memcmp(piece_text(t, id) + tr->skip + at, s + at, len - at)) break;
		w->at = len; /* and nothing follows: the node has no children */
		return id;
	}
	return -1;
}
