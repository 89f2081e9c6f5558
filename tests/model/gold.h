/* gold.h - a model on a device with one or two sequences, and the goldens made by tools/gold_model.py and
 * tools/make_tiny.py ("LMGOLD1"). */
#pragma once
#include "kernels/ops.h"
#include "model/model.h"
#include "test.h"
#include <math.h>

/* A loaded model with room for `ctx` positions of each of two sequences, their blocks interleaved. */
struct rig {
	struct file *f;
	struct backend *be;
	struct model *m;
	struct state *s;
	int n_vocab, n_batch;
	int32_t table[2][64];
	const int32_t *tables[2];
	int32_t slots[2];
	uint8_t extended[2];             /* of each sequence; struct batch */
};
enum { RIG_CTX = 64 * KV_BLOCK };

/* The CPU with two threads, or the reference. */
static inline struct backend *rig_device(bool cpu)
{
	struct backend *be = NULL;
	struct lm_err e = { 0 };
	if (cpu) assert_ok(backend_cpu(&be, 2, NULL, &e), e);
	else assert_ok(backend_ref(&be, &e), e);
	return be;
}

/* The sequences' memory, once r->m is there. */
static inline void rig_state(struct rig *r, enum dtype kv)
{
	struct lm_err e = { 0 };
	assert_ok(state_new(&r->s, r->m, 128, 2, r->n_batch, kv, &e), e);
	r->n_vocab = model_info(r->m)->n_vocab;
	for (int i = 0; i < 64; i++) r->table[0][i] = 2 * i + 1, r->table[1][i] = 126 - 2 * i;
	r->tables[0] = r->table[0], r->tables[1] = r->table[1];
	r->slots[0] = 1, r->slots[1] = 0;
}
static inline void rig_open(struct rig *r, const char *path, struct backend *be, enum dtype kv, int n_batch)
{
	struct lm_err e = { 0 };
	*r = (struct rig){ .be = be, .n_batch = n_batch };
	if (file_open(&r->f, path, &e)) fail_msg("%s (run `make models` once)", e.msg);
	assert_ok(model_load(&r->m, r->f, be, NULL, &e), e);
	rig_state(r, kv);
}
static inline void rig_close(struct rig *r)
{
	state_free(r->s);
	model_free(r->m);
	backend_free(r->be);
	file_close(r->f);
}
/* Rows [from, from+n) of the sequence `ids` as sequence `seq`; logits of the rows with want (NULL: all). */
static inline void rig_run(struct rig *r, const int32_t *ids, int from, int n, int seq, const uint8_t *want,
			   float *out)
{
	struct lm_err e = { 0 };
	int32_t pos[256], sq[256];
	uint8_t all[256];
	assert_true(n <= 256);
	for (int i = 0; i < n; i++) pos[i] = from + i, sq[i] = seq;
	memset(all, 1, sizeof all);
	struct batch b = { .at = { n, 2, ids + from, pos, sq, r->tables, r->slots }, .want = want ? want : all,
			   .extended = r->extended };
	assert_ok(model_forward(r->m, r->s, &b, out, &e), e);
}

struct gold {
	int n_ids, n_rows, n_per_row;
	int32_t *ids;
	unsigned char *p;                /* the whole file */
};
static inline int32_t gold_i32(const struct gold *g, size_t at)
{
	int32_t v;
	memcpy(&v, g->p + at, 4);
	return v;
}
static inline void gold_open(struct gold *g, const char *path)
{
	struct lm_buf b = { 0 };
	struct lm_err e = { 0 };
	assert_ok(lm_read_file(&b, path, 64 << 20, &e), e);
	assert_true(b.n > 20 && !memcmp(b.p, "LMGOLD1", 8));
	g->p = (unsigned char *)b.p;
	g->n_ids = gold_i32(g, 8), g->n_rows = gold_i32(g, 12), g->n_per_row = gold_i32(g, 16);
	g->ids = (int32_t *)(void *)(g->p + 20);
	assert_int_equal(b.n, 20 + 4 * (size_t)g->n_ids + (size_t)g->n_rows * (4 + 8 * (size_t)g->n_per_row));
}
static inline void gold_close(struct gold *g) { lm_free(g->p); }

/* Largest |difference| between golden row `row` and the log-probabilities of `logits`. */
static inline double gold_diff(const struct gold *g, int row, const float *logits, int n_vocab)
{
	size_t at = 20 + 4 * (size_t)g->n_ids + (size_t)row * (4 + 8 * (size_t)g->n_per_row) + 4;
	double top = logits[0], sum = 0, worst = 0;
	for (int i = 0; i < n_vocab; i++) top = fmax(top, logits[i]);
	for (int i = 0; i < n_vocab; i++) sum += exp(logits[i] - top);
	for (int i = 0; i < g->n_per_row; i++) {
		float want;
		int32_t tok = gold_i32(g, at + 4 * (size_t)i);
		memcpy(&want, g->p + at + 4 * (size_t)(g->n_per_row + i), 4);
		double d = fabs(logits[tok] - top - log(sum) - want);
		worst = d > worst || d != d ? d : worst;
	}
	return worst;
}
