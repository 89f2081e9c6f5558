/* cpu_backend.h - private to the CPU backend (cpu*.c): its threads, its kernels and its scratch memory.
 * Scratch is sized by begin() from the rows of the step and the largest shapes seen at import; ops never allocate. */
#pragma once
#include "kernels/cpu_fast.h"
#include "kernels/kern.h"
#include "kernels/kv.h"

/* Rows from which a panel pays (below, gemv row by row is faster), and from which unpacking a block for all of them does, where
 * there is such a kernel; it serves FEW_MAX, where a panel begins to pay.  Measured on Zen 4: two rows of Q4_K and
 * Q6_K take 10 and 36 % longer together than one by one, of Q8_0 and Q5_0 42 and 26 % less. */
enum { GEMM_MIN = 4, FEW_MIN_X256 = 3, FEW_MIN = 2 };
/* Units of output rows are taken MAX_UNITS at a time at most, so that a thread that loses its processor holds few; each thread
 * begins with its own first_units(). */
enum { MAX_UNITS = 64 };
enum { FETCH_BYTES = 32 << 10 };     /* fetched ahead by each thread between two products; 96 and 256 KiB do no better on Zen 4 */
enum { MAX_AHEAD = 1024 };
enum { MAX_ROPES = 4 };              /* different RoPE tables in one model */

struct scratch { char *p; size_t cap; };

/* Of the rows at `pos`, n_rows of them; pos NULL: of none yet in this step. */
struct rope_table { const double *inv_freq; int dims; const int32_t *pos; int n_rows; struct scratch cs; };

enum { MAX_MOE = 64 };
struct moe_shape { int n_expert, n_used, n_ff, n_embd; };

struct cpu {
	struct backend b;
	struct lm_pool *pool;
	struct kern k;
	blas_sgemm *sgemm;           /* OpenBLAS with --fast, else NULL */
	int n_threads;
	int max_cols[DT_COUNT];      /* by weight type: longest row imported, of matrices with several */
	int one_cols[DT_COUNT];      /* ... of those with one */
	int max_dim;                 /* largest head dimension asked of kv_bytes */
	int cap_rows;                /* rows that the scratch below was sized for */
	int64_t cap_cols;            /* sum of the widths that it was sized for */
	int cap_dim;
	struct scratch x[3];         /* activation rows by dot class (DOT_F32: aligned copies) */
	struct scratch xp[3];        /* the same packed for the class's GEMM */
	struct scratch panel;        /* per thread: one weight panel, or decoded rows of a type without kernels */
	size_t panel_stride;
	struct scratch attn;         /* per thread */
	size_t attn_stride;
	struct scratch tiles;        /* struct tile[n_rows] */
	struct rope_table rope[MAX_ROPES];
	/* the mixtures of experts that moe_room was asked for, and their scratch (cpu_moe.c) */
	struct moe_shape moe[MAX_MOE];
	int n_moe;
	struct scratch pair_x[3], pair_xp[3];    /* activation rows by (token, expert), sorted by expert; packed */
	struct scratch pair_g, pair_d;           /* f32 [pair][n_ff] between the products, [pair][n_embd] after them */
	struct scratch pair_i;                   /* the sort: int32s */
	struct scratch moe_up;                   /* per thread: a strip of the up product */
	size_t moe_up_stride;
	const struct seqs *at;
	/* What the products of few rows read, in the order of the last step: bytes of the first matrix, and of a thread's first units. */
	struct ahead { const char *w; int64_t bytes, first; } ahead[MAX_AHEAD];
	int n_ahead;
};
enum { DECODE_ROWS = 16 };           /* rows decoded at a time for a weight type without kernels */

static inline struct cpu *cpu_of(struct backend *b) { return (struct cpu *)b; }
static inline float *f32_row(struct mat m, int r) { return mat_row(m, r); }

/* Runs fn on the pool when the work (in elements) is worth waking it, else on the caller alone. */
void cpu_run(struct cpu *c, int64_t work, lm_job *fn, void *ctx);
/* Rows [*lo,*hi) of thread tid when n_threads share n. */
static inline void cpu_share(int64_t n, int tid, int n_threads, int64_t *lo, int64_t *hi) { lm_split(n, 1, tid, n_threads, lo, hi); }
int scratch_want(struct scratch *s, size_t n, struct lm_err *err);
static inline void most(size_t *a, size_t b) { *a = b > *a ? b : *a; }

static inline int64_t first_units(int64_t n, int nt) { return n / (2 * nt) < MAX_UNITS ? n / (2 * nt) : MAX_UNITS; }
/* Asks for the first of n bytes of weights while nobody waits for memory. */
static inline void cpu_fetch(const char *p, int64_t n)
{
	for (int64_t i = 0; i < n && i < FETCH_BYTES; i += 64) __builtin_prefetch(p + i, 0, 2);
}

/* cpu_linear.c */
static inline bool cpu_by_few(const struct cpu *c, const struct mat *w, int n_tok)
{
	int min = quant_info(w->type)->dot == DOT_X256 ? FEW_MIN_X256 : FEW_MIN;
	return n_tok >= min && n_tok <= FEW_MAX && c->k.few[w->type];
}
static inline bool cpu_by_gemm(const struct cpu *c, const struct mat *w, int n_tok)
{
	return n_tok >= GEMM_MIN && c->k.w[w->type].gemm && !cpu_by_few(c, w, n_tok);
}
void cpu_quantise(const struct cpu *c, void *row, const float *x, enum dot_class d, int cols);
/* Rows [r, r+n) of w times n_tok activation rows: x of w's dot class, 64-byte aligned; xp the same packed, needed by a
 * GEMM that packs.  y[t * y_stride + i], without bias. */
struct strip { const struct mat *w; int r, n; float *y; int64_t y_stride; int n_tok; const char *x, *xp; };
void cpu_strip(const struct cpu *c, const struct strip *s, char *panel);
void cpu_linear(struct backend *b, const struct lin *l, int n, struct mat x);
/* cpu_fast.c */
bool cpu_fast_wins(const struct cpu *c, const struct mat *w, int n_tok);
int cpu_fast_rows(const struct cpu *c, const struct mat *w);         /* of one chunk */
void cpu_fast_strip(const struct cpu *c, const struct strip *s);     /* cpu_strip by OpenBLAS */
/* cpu_moe.c */
int cpu_moe_room(struct backend *b, const struct moe *m, int n_embd, int n_ff, struct lm_err *err);
void cpu_route(struct backend *b, struct mat sel, struct mat weight, struct mat logits, const struct mat *bias, const struct moe *m);
void cpu_experts(struct backend *b, struct mat y, struct mat x, const struct experts *e, struct mat sel, struct mat weight);
int cpu_moe_scratch(struct cpu *c, int rows, struct lm_err *err);
void cpu_moe_close(struct cpu *c);
/* cpu_attend.c */
void cpu_rope(struct backend *b, struct mat x, int head_dim, const struct seqs *s, const struct rope *r);
void cpu_kv_put(struct backend *b, const struct kv *kv, struct mat k, struct mat v, const struct attn *a, const struct seqs *s);
void cpu_attend(struct backend *b, struct mat y, struct mat q, const struct kv *kv, const struct attn *a, const struct seqs *s);
size_t cpu_attn_bytes(int dim);      /* scratch of one thread */
/* sin and cos of |x| < 2^30 in plain double arithmetic, the same bits everywhere; error below 1e-9. */
void lm_sincos(double x, double *s, double *c);
/* cpu_ssm.c */
void cpu_conv(struct backend *b, struct mat y, struct mat x, const struct mat *w, const struct mat *bias, struct mat state,
              enum act a, const struct seqs *s);
void cpu_ssm(struct backend *b, struct mat y, struct mat x, struct mat bm, struct mat c, struct mat dt, const struct ssm *m,
             struct mat state, const struct seqs *s);
void cpu_delta(struct backend *b, struct mat y, struct mat q, struct mat k, struct mat v, struct mat alpha, struct mat beta,
               const struct delta *m, struct mat state, const struct seqs *s);
