/* kv.h - who owns which KV block.  A flat array of ref-counted blocks of KV_BLOCK positions; each sequence holds a
 * table of block ids, which is all that the model reads.  Full blocks are published to a tree keyed by their tokens and
 * a salt, which stands for all else that their content depends on (the weights of adapters):
 * a published block is never written again, so sequences share it without copying; one that nobody holds stays as
 * cache until its place is needed (least recently used first).  Blocks are numbers here: no memory of the device is
 * touched.  One thread. */
#pragma once
#include "kernels/ops.h"

struct kv_pool;
struct kv_seq {
	int32_t *table; int cap;             /* the caller's array of cap ids */
	int n;                               /* blocks held */
	int n_pub;                           /* of these, published */
};

int kv_new(struct kv_pool **out, int n_blocks, struct lm_err *err);
void kv_free(struct kv_pool *p);         /* NULL is fine */
/* Takes the longest run of published blocks that hold tok[0..n_tok), at most n_tok-1 positions, so that at least one
 * token is left to compute.  s must be empty.  Returns the positions found. */
int kv_match(struct kv_pool *p, struct kv_seq *s, uint64_t salt, const int32_t *tok, int n_tok);
/* Makes room for positions [0, n_pos).  false: no block left; what was taken stays held. */
bool kv_grow(struct kv_pool *p, struct kv_seq *s, int n_pos);
/* tok[0..n_done) are computed: full blocks become shareable. */
void kv_publish(struct kv_pool *p, struct kv_seq *s, uint64_t salt, const int32_t *tok, int n_done);
void kv_release(struct kv_pool *p, struct kv_seq *s);
int kv_n_free(const struct kv_pool *p);  /* blocks that kv_grow could take now */
/* Every count and link consistent with these sequences?  For tests. */
bool kv_check(const struct kv_pool *p, const struct kv_seq *const *seqs, int n_seqs);
