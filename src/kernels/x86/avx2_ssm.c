/* avx2_ssm.c - recurrent layers. */
#include "kernels/ssm.h"
#include "kernels/x86/avx2_math.h"

static void exp_row(float *y, const float *x, int n)
{
	int i = 0;
	for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, exp8(_mm256_loadu_ps(x + i)));
	if (i < n) _mm256_maskstore_ps(y + i, lanes(n - i), exp8(_mm256_maskload_ps(x + i, lanes(n - i))));
}

void kern_avx2_ssm(struct kern *k)
{
	ssm_slots(k);
	k->exp = exp_row;
}
