/* avx512_init.c - the AVX-512 slots.  A machine without VNNI keeps the AVX2 integer kernels. */
#include "kernels/x86/avx512.h"

void kern_init_avx512(struct kern *k, unsigned flags)
{
	kern_avx512_quant(k);
	kern_avx512_rows(k);
	kern_avx512_ssm(k);
	kern_avx512_attn(k);
	kern_avx512_float(k);
	if (!(flags & CPU_AVX512VNNI)) return;
	kern_avx512vnni_gemv32(k);
	kern_avx512vnni_gemv256(k);
	kern_avx512vnni_few32(k);
	kern_avx512vnni_few256(k);
	kern_avx512vnni_gemm32(k);
	kern_avx512vnni_gemm256(k);
}
