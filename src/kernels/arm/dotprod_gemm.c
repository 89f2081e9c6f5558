/* dotprod_gemm.c - integer GEMM with sdot: one multiplies 4 elements of 4 rows by those of a token. */
#include "kernels/arm/neon.h"

enum { NR = 8, MR = 4, GROUP = 4 };
struct sums { int32x4_t v[MR][2]; };

/* s + products of 16 elements */
INLINE void dot_16(struct sums *s, const int8_t q[16 * NR], const int8x16_t x[MR])
{
#define STEP(i)                                                                                          \
	do {                                                                                             \
		int8x16_t a = vld1q_s8(q + 32 * i), b = vld1q_s8(q + 32 * i + 16);                       \
		for (int t = 0; t < MR; t++) {                                                           \
			s->v[t][0] = vdotq_laneq_s32(s->v[t][0], a, x[t], i);                            \
			s->v[t][1] = vdotq_laneq_s32(s->v[t][1], b, x[t], i);                            \
		}                                                                                        \
	} while (0)
	STEP(0);
	STEP(1);
	STEP(2);
	STEP(3);
#undef STEP
}
INLINE void by_token(int32x4_t out[MR][2], const struct sums *s) { memcpy(out, s->v, sizeof s->v); }

#include "kernels/arm/neon_gemm.h"

void kern_dotprod_gemm(struct kern *k) { fill_gemm(k); }
