/* avxvnni_gemm.c - GEMM of the integer types by vpdpbusd: the panels and tiles of AVX2, sums in 32 bits from
 * the start. The GEMVs stay AVX2: there the one instruction that a block of 32 codes would save is a tenth of
 * its row. */
#include "kernels/x86/avx2_panel.h"

INLINE __m256i dp(__m256i acc, __m256i u, __m256i s)
{
	return pin(_mm256_dpbusd_avx_epi32(acc, u, s));
}

/* The panel of Q8_0 holds signed bytes: w + 128 here, and 128 * (sum of x) taken back with the other zero
 * points. */
INLINE void block_dot32(__m256i acc[2 * MR], const struct panel32 *w, const struct tile32 *x, enum dtype t)
{
	const int zero = t == DT_Q8_0 ? 128 : zero32(t);
	const __m256i flip = _mm256_set1_epi8((char)0x80);
#pragma GCC unroll 8
	for (int i = 0; i < 2 * MR; i++) acc[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
	for (int k = 0; k < 8; k++) {
		__m256i a = load256(w->q[k][0]), b = load256(w->q[k][1]);
		if (t == DT_Q8_0) a = _mm256_xor_si256(a, flip), b = _mm256_xor_si256(b, flip);
#pragma GCC unroll 4
		for (int i = 0; i < MR; i++) {
			__m256i v = spread32(x->q[k][i]);
			acc[i] = dp(acc[i], a, v);
			acc[MR + i] = dp(acc[MR + i], b, v);
		}
	}
#pragma GCC unroll 8
	for (int i = 0; i < 2 * MR && zero; i++)
		acc[i] = _mm256_sub_epi32(acc[i], _mm256_set1_epi32(zero * x->sum[i % MR]));
}

/* group[i] = sum of scale * code * x over a group of 32, not shifted */
INLINE void group_dot256(__m256i group[2 * MR], const struct panel256 *w, const struct tile256 *x, int g,
			 enum dtype t)
{
	const int depth = t == DT_Q4_K || t == DT_Q5_K ? 8 : 4; /* steps of 4 k per sub-scale */
	const int n = 8 / depth;
#pragma GCC unroll 2
	for (int j = g * n; j < g * n + n; j++) {
		__m256i acc[2 * MR];
#pragma GCC unroll 8
		for (int i = 0; i < 2 * MR; i++) acc[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
		for (int k = 0; k < depth; k++) {
			__m256i a = load256(w->q[depth * j + k][0]), b = load256(w->q[depth * j + k][1]);
#pragma GCC unroll 4
			for (int i = 0; i < MR; i++) {
				__m256i v = spread32(x->q[depth * j + k][i]);
				acc[i] = dp(acc[i], a, v);
				acc[MR + i] = dp(acc[MR + i], b, v);
			}
		}
#pragma GCC unroll 8
		for (int i = 0; i < 2 * MR; i++) {
			__m256i v = _mm256_mullo_epi32(acc[i], load256(w->sc[j][i / MR]));
			group[i] = j > g * n ? _mm256_add_epi32(group[i], v) : v;
		}
	}
}

INLINE void block_dot256(__m256i dot[2 * MR], const struct panel256 *w, const struct tile256 *x, enum dtype t)
{
	for (int g = 0; g < 8; g++) {
		__m256i group[2 * MR];
		group_dot256(group, w, x, g, t);
#pragma GCC unroll 8
		for (int i = 0; i < 2 * MR; i++) {
			__m256i v = _mm256_sllv_epi32(group[i], spread32(&x->h[g][i % MR]));
			dot[i] = g ? _mm256_add_epi32(dot[i], v) : v;
		}
	}
	if (!zero256(t)) return;
	__m256i m[2 * MR];
	block_min(m, w, x);
#pragma GCC unroll 8
	for (int i = 0; i < 2 * MR; i++)
		dot[i] = _mm256_sub_epi32(dot[i], _mm256_slli_epi32(m[i], t == DT_Q6_K ? 5 : 2));
}

static size_t bytes32(int cols)
{
	return panel32_bytes(cols);
}
static size_t bytes256(int cols)
{
	return panel256_bytes(cols);
}
static size_t xp32(int n_tok, int cols)
{
	return tile32_bytes(n_tok, cols);
}
static size_t xp256(int n_tok, int cols)
{
	return tile256_bytes(n_tok, cols);
}
INLINE void wide32(void *panel, const void *w, int64_t stride, int rows, int cols, enum dtype t)
{
	pack32(panel, w, stride, rows, cols, t);
}
INLINE void wide256(void *panel, const void *w, int64_t stride, int rows, int cols, enum dtype t)
{
	pack256(panel, w, stride, rows, cols, t, true);
}
static void packx32(void *xp, const void *x, int n_tok, int cols)
{
	pack_x32(xp, x, n_tok, cols);
}
static void packx256(void *xp, const void *x, int n_tok, int cols)
{
	pack_x256(xp, x, n_tok, cols);
}

#define GEMM(id, class, type)                                                                                \
	static void pack_##id(void *panel, const void *w, int64_t stride, int rows, int cols)                \
	{                                                                                                    \
		wide##class(panel, w, stride, rows, cols, type);                                             \
	}                                                                                                    \
	static void run_##id(float *y, int64_t ys, const void *panel, const void *xp, int rows, int n,       \
			     int cols)                                                                       \
	{                                                                                                    \
		run##class(y, ys, panel, xp, rows, n, cols, type, block_dot##class);                         \
	}                                                                                                    \
	static const struct kern_gemm gemm_##id = { NR, MR, bytes##class, xp##class, packx##class, run_##id };
GEMM(q4_0, 32, DT_Q4_0)
GEMM(q4_1, 32, DT_Q4_1)
GEMM(q5_0, 32, DT_Q5_0)
GEMM(q5_1, 32, DT_Q5_1)
GEMM(q8_0, 32, DT_Q8_0)
GEMM(q2_k, 256, DT_Q2_K)
GEMM(q3_k, 256, DT_Q3_K)
GEMM(q4_k, 256, DT_Q4_K)
GEMM(q5_k, 256, DT_Q5_K)
GEMM(q6_k, 256, DT_Q6_K)

void kern_avxvnni_gemm(struct kern *k)
{
	static const struct {
		enum dtype t;
		kern_pack *pack;
		const struct kern_gemm *gemm;
	} table[] = {
		{ DT_Q4_0, pack_q4_0, &gemm_q4_0 }, { DT_Q4_1, pack_q4_1, &gemm_q4_1 },
		{ DT_Q5_0, pack_q5_0, &gemm_q5_0 }, { DT_Q5_1, pack_q5_1, &gemm_q5_1 },
		{ DT_Q8_0, pack_q8_0, &gemm_q8_0 }, { DT_Q2_K, pack_q2_k, &gemm_q2_k },
		{ DT_Q3_K, pack_q3_k, &gemm_q3_k }, { DT_Q4_K, pack_q4_k, &gemm_q4_k },
		{ DT_Q5_K, pack_q5_k, &gemm_q5_k }, { DT_Q6_K, pack_q6_k, &gemm_q6_k },
	};
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		k->w[table[i].t].pack = table[i].pack;
		k->w[table[i].t].gemm = table[i].gemm;
	}
}
