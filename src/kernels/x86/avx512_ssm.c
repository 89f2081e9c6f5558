/* avx512_ssm.c - recurrent layers. */
#include "kernels/ssm.h"
#include "kernels/x86/avx512_math.h"

static void exp_row(float *y, const float *x, int n)
{
	for (int i = 0; i < n; i += 16)
		_mm512_mask_storeu_ps(y + i, lanes(n - i), v_exp(_mm512_maskz_loadu_ps(lanes(n - i), x + i)));
}

void kern_avx512_ssm(struct kern *k)
{
	ssm_slots(k);
	k->exp = exp_row;
}
