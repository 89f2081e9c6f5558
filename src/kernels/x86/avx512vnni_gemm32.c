/* avx512vnni_gemm32.c - GEMM of the types with blocks of 32 (DOT_X32).
 * Codes are unsigned, w + zero; a tile's accumulators start at -zero * (sum of x), which pack_x computes for
 * every zero, so that one packed activation serves all types. */
#include "kernels/x86/avx512vnni_codes32.h"

/* One block of 6 tokens. */
struct xtile {
	int32_t q[8][MR];
	float d[MR], ds[MR];
	int32_t start[3][MR];
}; /* for the zeros 8, 16, 128 */

static size_t panel_bytes(int cols)
{
	return (size_t)(cols / 32) * sizeof(struct wblock);
}
static size_t xp_bytes(int n_tok, int cols)
{
	return n_tiles(n_tok) * (size_t)(cols / 32) * sizeof(struct xtile);
}

static void pack_x(void *xp, const void *x, int n_tok, int cols)
{
	struct xtile *o = xp;
	size_t stride = x32_bytes(cols);
	for (int t0 = 0; t0 < n_tok; t0 += MR) {
		const char *row = (const char *)x + (size_t)t0 * stride;
		int n = n_tok - t0 < MR ? n_tok - t0 : MR;
		for (int b = 0; b < cols / 32; b++, o++) {
			pack_codes(o->q[0], row + 32 * b, stride, n, 8);
			for (int t = 0; t < MR; t++) {
				const char *p = row + (size_t)(t < n ? t : 0) * stride;
				o->d[t] = ((const float *)(p + x32_d(cols)))[b];
				o->ds[t] = ((const float *)(p + x32_ds(cols)))[b];
				int32_t sum = ((const int32_t *)(p + x32_sum(cols)))[b];
				o->start[0][t] = -8 * sum;
				o->start[1][t] = -16 * sum;
				o->start[2][t] = -128 * sum;
			}
		}
	}
}

/* ---- weights
 * --------------------------------------------------------------------------------------------------- */
INLINE void pack(void *panel, const void *w, int64_t stride, int rows, int cols, int type)
{
	for (int z = 0; z < 2; z++) {
		struct rows16 r = panel_rows(w, stride, rows, z);
		struct wblock *o = panel;
		for (int b = 0; b < cols / 32; b++) unpack32(o++, &r, (int64_t)b * block_size(type), z, type);
	}
}
#define PACK(id, type)                                                                                       \
	static void pack_##id(void *panel, const void *w, int64_t stride, int rows, int cols)                \
	{                                                                                                    \
		pack(panel, w, stride, rows, cols, type);                                                    \
	}
PACK(q4_0, Q4_0)
PACK(q4_1, Q4_1)
PACK(q5_0, Q5_0)
PACK(q5_1, Q5_1)
PACK(q8_0, Q8_0)

/* ---- the tile: nt tokens; types without a zero have minima
 * --------------------------------------------------------------------------------------- */
INLINE void block_dots(__m512i dot[MR][2], const struct wblock *w, const struct xtile *x, int nt, int zero)
{
#pragma GCC unroll 6
	for (int t = 0; t < nt; t++)
		dot[t][0] = dot[t][1] = zero ? dup32(&x->start[zero == 8    ? 0
							       : zero == 16 ? 1
									    : 2][t])
					     : _mm512_setzero_si512();
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) {
		__m512i w0 = _mm512_load_si512(w->q[i][0]), w1 = _mm512_load_si512(w->q[i][1]);
#pragma GCC unroll 6
		for (int t = 0; t < nt; t++) {
			__m512i v = dup32(&x->q[i][t]);
			dot[t][0] = _mm512_dpbusd_epi32(dot[t][0], w0, v);
			dot[t][1] = _mm512_dpbusd_epi32(dot[t][1], w1, v);
		}
	}
}

INLINE void tile(float *y, int64_t ys, const struct wblock *w, const struct xtile *x, int rows, int n, int nt,
		 int zero)
{
	__m512 acc[MR][2];
	struct tree tree;
	tree_start(&tree, acc, nt, n);
	fetch_tile(y, ys, nt);
	for (int b = 0; b < n; b++, w++, x++) {
		__m512i dot[MR][2];
		block_dots(dot, w, x, nt, zero);
#pragma GCC unroll 6
		for (int t = 0; t < nt; t++)
#pragma GCC unroll 2
			for (int z = 0; z < 2; z++) {
				__m512 d = _mm512_mul_ps(_mm512_load_ps(w->d + 16 * z), dupf(&x->d[t]));
				acc[t][z] = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(dot[t][z]), acc[t][z]);
				if (!zero)
					acc[t][z] = _mm512_fmadd_ps(_mm512_load_ps(w->m + 16 * z),
								    dupf(&x->ds[t]), acc[t][z]);
			}
		tree_step(&tree, acc, nt, b);
	}
	store_tile(y, ys, acc, nt, rows);
}

INLINE void run(float *y, int64_t ys, const void *panel, const void *xp, int rows, int n_tok, int cols,
		int zero)
{
	const struct xtile *x = xp;
	int n = cols / 32, t = 0;
	for (; t + MR <= n_tok; t += MR, x += n) tile(y + t * ys, ys, panel, x, rows, n, MR, zero);
	y += t * ys;
	switch (n_tok - t) {
	case 5: tile(y, ys, panel, x, rows, n, 5, zero); break;
	case 4: tile(y, ys, panel, x, rows, n, 4, zero); break;
	case 3: tile(y, ys, panel, x, rows, n, 3, zero); break;
	case 2: tile(y, ys, panel, x, rows, n, 2, zero); break;
	case 1: tile(y, ys, panel, x, rows, n, 1, zero); break;
	}
}
#define RUN(id, type)                                                                                        \
	static void run##id(float *y, int64_t ys, const void *panel, const void *xp, int rows, int n_tok,    \
			    int cols)                                                                        \
	{                                                                                                    \
		run(y, ys, panel, xp, rows, n_tok, cols, type);                                              \
	}
RUN(0, 0)
RUN(8, 8)
RUN(16, 16)
RUN(128, 128)

static const struct kern_gemm zero0 = {NR, MR, panel_bytes, xp_bytes, pack_x, run0};
static const struct kern_gemm zero8 = {NR, MR, panel_bytes, xp_bytes, pack_x, run8};
static const struct kern_gemm zero16 = {NR, MR, panel_bytes, xp_bytes, pack_x, run16};
static const struct kern_gemm zero128 = {NR, MR, panel_bytes, xp_bytes, pack_x, run128};

INLINE void set(struct kern *k, enum dtype t, kern_pack *p, const struct kern_gemm *g)
{
	k->w[t].pack = p;
	k->w[t].gemm = g;
}
void kern_avx512vnni_gemm32(struct kern *k)
{
	set(k, DT_Q4_0, pack_q4_0, &zero8);
	set(k, DT_Q4_1, pack_q4_1, &zero0);
	set(k, DT_Q5_0, pack_q5_0, &zero16);
	set(k, DT_Q5_1, pack_q5_1, &zero0);
	set(k, DT_Q8_0, pack_q8_0, &zero128);
}
