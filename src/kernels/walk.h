/* walk.h - the leaves of exact.h, unit by unit, for kernels that keep outputs as lanes and walk K once.  Always inline:
 * every file compiles it with its own instruction set. */
#pragma once
#include "kernels/exact.h"

#define INLINE static inline __attribute__((always_inline))

struct walk {
	int64_t n, end;          /* units; the unit after the current leaf's last */
	int leaf;
	unsigned has;            /* leaves that had units */
};

INLINE void walk_skip(struct walk *w) /* to the next leaf that has units */
{
	while (w->leaf < LEAVES && leaf_at(w->leaf, w->n) == leaf_at(w->leaf + 1, w->n)) w->leaf++;
	w->end = leaf_at(w->leaf + 1, w->n);
}
INLINE struct walk walk_start(int64_t n)
{
	struct walk w = { n, 0, 0, 0 };
	walk_skip(&w);
	return w;
}
/* Marks the finished leaf and returns its number; the caller stores its sum there and restarts at +0. */
INLINE int walk_close(struct walk *w)
{
	int leaf = w->leaf++;
	w->has |= 1u << leaf;
	walk_skip(w);
	return leaf;
}
