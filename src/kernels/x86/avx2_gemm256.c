/* avx2_gemm256.c - GEMM of the K-quants (DOT_X256): 16 rows by 4 tokens, rows as lanes.
 *
 * Products add up in 16 bits over a sub-block, then vpmaddwd applies the sub-scale: 32 elements of Q4_K
 * (16 * 15 * 127 = 30480), 16 of Q5_K (8 * 31 * 127 = 31496) and Q2_K.  Q6_K and Q3_K start from -zero * (sum
 * of x): the 16-bit sums may wrap on the way, the end fits (8 * 32 * 127 = 32512). */
#include "kernels/x86/avx2_panel.h"

INLINE int depth(enum dtype t)
{
	return t == DT_Q4_K ? 8 : 4;
} /* steps of 4 k per sub-scale */

/* group[i] = sum of scale * code * x over a group of 32, not shifted; the 8 dwords stay in memory: 16 registers hold the 16-bit sums and little else */
INLINE void group_dot(__m256i group[2 * MR], const struct panel256 *w, const struct tile256 *x, int g,
		      enum dtype t)
{
	const int n = 8 / depth(t);
#pragma GCC unroll 2
	for (int j = g * n; j < g * n + n; j++) {
		__m256i acc[2 * MR];
#pragma GCC unroll 8
		for (int k = 0; k < depth(t); k++) {
			const int at = depth(t) * j + k;
			__m256i a = load256(w->q[at][0]), b = load256(w->q[at][1]);
#pragma GCC unroll 4
			for (int i = 0; i < MR; i++) {
				__m256i v = spread32(x->q[at][i]), pa = _mm256_maddubs_epi16(a, v),
					pb = _mm256_maddubs_epi16(b, v);
				if (k == 0 && zero256(t)) {
					__m256i start = _mm256_slli_epi16(spread32(x->pair[j][i]),
									  t == DT_Q6_K ? 5 : 2);
					acc[i] = pin(_mm256_sub_epi16(pa, start));
					acc[MR + i] = pin(_mm256_sub_epi16(pb, start));
				} else {
					acc[i] = pin(k ? _mm256_add_epi16(acc[i], pa) : pa);
					acc[MR + i] = pin(k ? _mm256_add_epi16(acc[MR + i], pb) : pb);
				}
			}
		}
		const int s = t == DT_Q5_K ? j / 2 : j;
		__m256i sa = load256(w->sc[s][0]), sb = load256(w->sc[s][1]);
#pragma GCC unroll 4
		for (int i = 0; i < MR; i++) {
			__m256i pa = _mm256_madd_epi16(acc[i], sa), pb = _mm256_madd_epi16(acc[MR + i], sb);
			group[i] = j > g * n ? _mm256_add_epi32(group[i], pa) : pa;
			group[MR + i] = j > g * n ? _mm256_add_epi32(group[MR + i], pb) : pb;
		}
	}
}

/* dot[i] = I of a block */
INLINE void block_dot(__m256i dot[2 * MR], const struct panel256 *w, const struct tile256 *x, enum dtype t)
{
	for (int g = 0; g < 8; g++) {
		__m256i group[2 * MR];
		group_dot(group, w, x, g, t);
#pragma GCC unroll 8
		for (int i = 0; i < 2 * MR; i++) {
			__m256i v = _mm256_sllv_epi32(group[i], spread32(&x->h[g][i % MR]));
			dot[i] = g ? _mm256_add_epi32(dot[i], v) : v;
		}
	}
}

static size_t panel_bytes(int cols)
{
	return panel256_bytes(cols);
}
static size_t xp_bytes(int n_tok, int cols)
{
	return tile256_bytes(n_tok, cols);
}
static void pack_x(void *xp, const void *x, int n_tok, int cols)
{
	pack_x256(xp, x, n_tok, cols);
}

#define GEMM(id, type)                                                                                       \
	static void pack_##id(void *panel, const void *w, int64_t stride, int rows, int cols)                \
	{                                                                                                    \
		pack256(panel, w, stride, rows, cols, type, false);                                          \
	}                                                                                                    \
	static void run_##id(float *y, int64_t ys, const void *panel, const void *xp, int rows, int n,       \
			     int cols)                                                                       \
	{                                                                                                    \
		run256(y, ys, panel, xp, rows, n, cols, type, block_dot);                                    \
	}                                                                                                    \
	static const struct kern_gemm gemm_##id = { NR, MR, panel_bytes, xp_bytes, pack_x, run_##id };
GEMM(q2_k, DT_Q2_K)
GEMM(q3_k, DT_Q3_K)
GEMM(q4_k, DT_Q4_K)
GEMM(q5_k, DT_Q5_K)
GEMM(q6_k, DT_Q6_K)

void kern_avx2_gemm256(struct kern *k)
{
	static const struct {
		enum dtype t;
		kern_pack *pack;
		const struct kern_gemm *gemm;
	} table[] = {
		{ DT_Q2_K, pack_q2_k, &gemm_q2_k }, { DT_Q3_K, pack_q3_k, &gemm_q3_k },
		{ DT_Q4_K, pack_q4_k, &gemm_q4_k }, { DT_Q5_K, pack_q5_k, &gemm_q5_k },
		{ DT_Q6_K, pack_q6_k, &gemm_q6_k },
	};
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		k->w[table[i].t].pack = table[i].pack;
		k->w[table[i].t].gemm = table[i].gemm;
	}
}
