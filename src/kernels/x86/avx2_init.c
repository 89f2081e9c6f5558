/* avx2_init.c - the AVX2 (and AVX-VNNI) slots. */
#include "kernels/x86/avx2.h"

void kern_init_avx2(struct kern *k, unsigned flags)
{
	kern_avx2_quant(k);
	kern_avx2_gemv32(k);
	kern_avx2_gemv256(k);
	kern_avx2_float(k);
	kern_avx2_gemm32(k);
	kern_avx2_gemm256(k);
	kern_avx2_rows(k);
	kern_avx2_ssm(k);
	kern_avx2_attn(k);
	if (flags & CPU_AVXVNNI) kern_avxvnni_gemm(k);
}
