/* avx2_gemm32.c - GEMM of the types with blocks of 32 (DOT_X32): 16 rows by 4 tokens, rows as lanes.
 *
 * Products of 4-bit codes add up in 16 bits over a whole block (16 * 15 * 127 = 30480).  5-bit codes start
 * from -16 * (sum of their x): the 16-bit sums may wrap on the way, the end fits (16 * 16 * 127 = 32512).
 * Q8_0 multiplies |w| by x with the sign of w (2 * 128 * 127 = 32512) and adds in 32 bits. */
#include "kernels/x86/avx2_panel.h"

/* acc: I of a block, [8-row group][token] */
INLINE void block_dot(__m256i acc[2 * MR], const struct panel32 *w, const struct tile32 *x, enum dtype t)
{
	const __m256i one = _mm256_set1_epi16(1);
#pragma GCC unroll 4
	for (int i = 0; i < MR; i++) {
		__m256i start = _mm256_setzero_si256();
		if (t == DT_Q5_0 || t == DT_Q5_1)
			start = _mm256_sub_epi16(start, _mm256_slli_epi16(spread32(x->pair[i]), 4));
		acc[i] = acc[MR + i] = start;
	}
#pragma GCC unroll 8
	for (int k = 0; k < 8; k++) {
		__m256i a = load256(w->q[k][0]), b = load256(w->q[k][1]);
		__m256i ua = t == DT_Q8_0 ? _mm256_abs_epi8(a) : a,
			ub = t == DT_Q8_0 ? _mm256_abs_epi8(b) : b;
#pragma GCC unroll 4
		for (int i = 0; i < MR; i++) {
			__m256i v = spread32(x->q[k][i]);
			if (t == DT_Q8_0) {
				acc[i] = pin(_mm256_add_epi32(
					acc[i],
					_mm256_madd_epi16(_mm256_maddubs_epi16(ua, _mm256_sign_epi8(v, a)),
							  one)));
				acc[MR + i] = pin(_mm256_add_epi32(
					acc[MR + i],
					_mm256_madd_epi16(_mm256_maddubs_epi16(ub, _mm256_sign_epi8(v, b)),
							  one)));
			} else {
				acc[i] = pin(_mm256_add_epi16(acc[i], _mm256_maddubs_epi16(ua, v)));
				acc[MR + i] = pin(_mm256_add_epi16(acc[MR + i], _mm256_maddubs_epi16(ub, v)));
			}
		}
	}
	if (t == DT_Q8_0) return;
#pragma GCC unroll 8
	for (int i = 0; i < 2 * MR; i++) {
		acc[i] = _mm256_madd_epi16(acc[i], one);
		if (t == DT_Q4_0) acc[i] = _mm256_sub_epi32(acc[i], _mm256_set1_epi32(8 * x->sum[i % MR]));
		if (t == DT_Q5_1) acc[i] = _mm256_add_epi32(acc[i], _mm256_set1_epi32(16 * x->sum[i % MR]));
	}
}

static size_t panel_bytes(int cols)
{
	return panel32_bytes(cols);
}
static size_t xp_bytes(int n_tok, int cols)
{
	return tile32_bytes(n_tok, cols);
}
static void pack_x(void *xp, const void *x, int n_tok, int cols)
{
	pack_x32(xp, x, n_tok, cols);
}

#define GEMM(id, type)                                                                                       \
	static void pack_##id(void *panel, const void *w, int64_t stride, int rows, int cols)                \
	{                                                                                                    \
		pack32(panel, w, stride, rows, cols, type);                                                  \
	}                                                                                                    \
	static void run_##id(float *y, int64_t ys, const void *panel, const void *xp, int rows, int n,       \
			     int cols)                                                                       \
	{                                                                                                    \
		run32(y, ys, panel, xp, rows, n, cols, type, block_dot);                                     \
	}                                                                                                    \
	static const struct kern_gemm gemm_##id = { NR, MR, panel_bytes, xp_bytes, pack_x, run_##id };
GEMM(q4_0, DT_Q4_0)
GEMM(q4_1, DT_Q4_1)
GEMM(q5_0, DT_Q5_0)
GEMM(q5_1, DT_Q5_1)
GEMM(q8_0, DT_Q8_0)

void kern_avx2_gemm32(struct kern *k)
{
	static const struct {
		enum dtype t;
		kern_pack *pack;
		const struct kern_gemm *gemm;
	} table[] = {
		{ DT_Q4_0, pack_q4_0, &gemm_q4_0 }, { DT_Q4_1, pack_q4_1, &gemm_q4_1 },
		{ DT_Q5_0, pack_q5_0, &gemm_q5_0 }, { DT_Q5_1, pack_q5_1, &gemm_q5_1 },
		{ DT_Q8_0, pack_q8_0, &gemm_q8_0 },
	};
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		k->w[table[i].t].pack = table[i].pack;
		k->w[table[i].t].gemm = table[i].gemm;
	}
}
