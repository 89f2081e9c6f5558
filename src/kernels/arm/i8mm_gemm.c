/* i8mm_gemm.c - integer GEMM with smmla: one multiplies 8 elements of 2 rows by those of 2 tokens, twice the work of sdot. */
#include "kernels/arm/neon.h"

enum { NR = 8, MR = 4, GROUP = 8 };
/* [token pair][row pair]: row 0 token 0, row 0 token 1, row 1 token 0, row 1 token 1 */
struct sums { int32x4_t v[MR / 2][NR / 2]; };

/* s + products of 16 elements */
INLINE void dot_16(struct sums *s, const int8_t q[16 * NR], const int8x16_t x[MR])
{
	for (int h = 0; h < 2; h++)
		for (int t = 0; t < MR / 2; t++) {
			int64x2_t a = vreinterpretq_s64_s8(x[2 * t]), b = vreinterpretq_s64_s8(x[2 * t + 1]);
			int8x16_t v = vreinterpretq_s8_s64(h ? vzip2q_s64(a, b) : vzip1q_s64(a, b));
			for (int r = 0; r < NR / 2; r++) s->v[t][r] = vmmlaq_s32(s->v[t][r], vld1q_s8(q + 64 * h + 16 * r), v);
		}
}
INLINE void by_token(int32x4_t out[MR][2], const struct sums *s)
{
	for (int t = 0; t < MR; t++)
		for (int k = 0; k < 2; k++) {
			int32x4_t a = s->v[t / 2][2 * k], b = s->v[t / 2][2 * k + 1];
			out[t][k] = t % 2 ? vuzp2q_s32(a, b) : vuzp1q_s32(a, b);
		}
}

#include "kernels/arm/neon_gemm.h"

void kern_i8mm_gemm(struct kern *k) { fill_gemm(k); }
