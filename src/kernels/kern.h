/* kern.h - inner loops of the CPU backend: one slot per loop, one implementation per slot and instruction set.
 * Every slot obeys kernels/exact.h to the bit.  Slots read the file's own blocks: no load-time repack.
 * Weight pointers have no alignment; activation rows and panels are 64-byte aligned.  No slot reads a byte outside
 * the rows it was given (prefetches excepted), and none allocates. */
#pragma once
#include "base/cpu.h"
#include "kernels/exact.h"

/* y[r] = dot(W row r, x) for `rows` rows; x is one activation row in the form of the type's dot class. */
typedef void kern_gemv(float *y, const void *w, int64_t w_stride, const void *x, int rows, int cols);

/* y[t * y_stride + r] = dot(W row r, x row t) for n_tok <= FEW_MAX tokens, straight from the file's blocks; x rows lie
 * x_bytes(class, cols) apart.  Equals gemv bit for bit. */
enum { FEW_MAX = 16 };
typedef void kern_few(float *y, int64_t y_stride, const void *w, int64_t w_stride, const void *x, int rows, int n_tok, int cols);

/* A GEMM of one instruction set: serves every weight type whose pack makes its panels.
 * Use: pack nr weight rows into a panel (fewer at the end: the rest is zero-filled by pack); convert n_tok activation
 * rows once with pack_x (NULL: run takes the rows as they are, xp = rows with stride x_bytes(class, cols));
 * Packed tokens lie in independent tiles of mr: tokens from t0 on (a multiple of mr) begin at xp + xp_bytes(t0, cols), so
 * packing and running can be split there between threads.
 * One pack_x serves all weight types of a dot class at a level: cpu_linear packs once per class.
 * run computes y[t*y_stride + r] for r < rows <= nr, t < n_tok.  Results equal gemv bit for bit. */
struct kern_gemm {
	int nr;                                              /* weight rows per panel */
	int mr;                                              /* tokens per register tile: a good multiple for splitting */
	size_t (*panel_bytes)(int cols);
	size_t (*xp_bytes)(int n_tok, int cols);             /* NULL with pack_x NULL */
	void (*pack_x)(void *xp, const void *x, int n_tok, int cols);   /* x rows: stride x_bytes(class, cols) */
	void (*run)(float *y, int64_t y_stride, const void *panel, const void *xp, int rows, int n_tok, int cols);
};
typedef void kern_pack(void *panel, const void *w, int64_t w_stride, int rows, int cols);

struct kern_type { kern_gemv *gemv; kern_pack *pack; const struct kern_gemm *gemm; };

enum {
	ATTN_TILE = 48,      /* the most (row, head) pairs, "queries", of one attention tile */
	KV_AHEAD = 2         /* blocks of keys or values fetched ahead */
};

struct kern {
	unsigned flags;                                      /* what the slots were chosen from */
	struct kern_type w[DT_COUNT];                        /* by weight type; gemv NULL: type has no kernels, decode to f32 rows */
	kern_few *few[DT_COUNT];                             /* by weight type; NULL: none */
	/* dst: activation row (exact.h) of the class; n a multiple of 32 resp. 256 */
	void (*quant_x32)(void *dst, const float *x, int n);
	void (*quant_x256)(void *dst, const float *x, int n);
	/* row functions, n elements */
	/* y = (x * r) * w, r = 1 / sqrtf(sum / n + eps), sum = the 16-lane sum of x*x */
	void (*norm_rms)(float *y, const float *x, const float *w /* may be NULL */, int n, float eps);
	void (*add)(float *y, const float *x, float scale, int n);          /* y = fma(scale, x, y) */
	void (*act)(float *y, const float *gate, const float *up /* may be NULL */, int n, enum act a); /* y = a(gate) * up */
	/* y0 = fma(x0, cos, -(x1 * sin)), y1 = fma(x0, sin, x1 * cos) */
	void (*rope)(float *x, const float *cs /* [dims/2] cos then [dims/2] sin */, int dims, enum rope_kind k); /* one head */
	void (*softcap)(float *x, float cap, int n);
	void (*to_f16)(uint16_t *dst, const float *x, int n);               /* nearest even */
	/* attention over one chunk (exact.h).  q: [n_q][dim_k] f32 rows of one KV head's queries (stride dim_k);
	 * kb: pointers to this head's keys in n_block KV blocks of the chunk from its first on, then KV_AHEAD pointers to what
	 * will be read next, for prefetching only.  vb likewise.  n_q <= ATTN_TILE.
	 * s: [n_q][KV_CHUNK] scores * scale, soft-capped when cap > 0; positions beyond n_block*32 are not written. */
	void (*attn_score)(float *s, const float *q, int n_q, const void *const *kb, int n_block, enum dtype t, int dim_k,
	                   float scale, float cap);
	/* In place for one query: s[lo,hi) become p; outside is set to 0 up to KV_CHUNK.  Returns m in *m and the 16-lane sum in *l. */
	void (*attn_soft)(float *s, int lo, int hi, float *m, float *l);
	/* Merges a later chunk: o = fma(oc, b, o * a), n elements. */
	void (*attn_merge)(float *o, const float *oc, float a, float b, int n);
	/* o[i][d] = sum over positions lo[i] <= p < hi[i] of s[i][p] * v[p][d], ascending, from +0 (n_q queries). */
	void (*attn_value)(float *o, const float *s, const int *lo, const int *hi, int n_q, const void *const *vb, enum dtype t, int dim_v);
	/* recurrent layers (ssm.h) */
	void (*exp)(float *y, const float *x, int n);
	/* One token, p elements side by side, states ascending: s[i][p] = s * da + x * b[i]; y = sum of s * c[i] from +0 */
	void (*ssm)(float *y, float *s, const float *x, const float *b, const float *c, float da, int n, int p);
	/* One state of that with a factor for each element: s = s * da + x * b; y = y + s * c */
	void (*ssm_state)(float *y, float *s, const float *x, const float *da, float b, float c, int p);
	/* One token of a head of the gated delta rule; s: [dim_k][dim_v] */
	void (*delta)(float *y, float *s, const float *q, const float *k, const float *v, float decay, float beta, int dim_k, int dim_v);
};

/* Starts from C and lets each instruction set that `flags` admit overwrite what it does better, in rising order. */
void kern_init(struct kern *k, unsigned flags);
void kern_init_c(struct kern *k);             /* c.c: every slot, the bit oracle */
void kern_init_avx2(struct kern *k, unsigned flags);     /* x86/avx2_*.c */
void kern_init_avx512(struct kern *k, unsigned flags);   /* x86/avx512_*.c */
void kern_init_neon(struct kern *k, unsigned flags);     /* arm/neon_*.c */
