/* avx512_peak.c - register-only rounds of f32 FMA. Written as assembly so that the compiler neither merges
 * the equal products nor keeps sums in memory. */
#include "kernels/peak.h"

int64_t peak_f32_avx512(int64_t n)
{
	__asm__ volatile("vzeroall\n" ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12");
	for (int64_t r = 0; r < n; r++)
		__asm__ volatile(
			"vfmadd231ps %%zmm11, %%zmm12, %%zmm0\n"
			"vfmadd231ps %%zmm11, %%zmm12, %%zmm1\n"
			"vfmadd231ps %%zmm11, %%zmm12, %%zmm2\n"
			"vfmadd231ps %%zmm11, %%zmm12, %%zmm3\n"
			"vfmadd231ps %%zmm11, %%zmm12, %%zmm4\n"
			"vfmadd231ps %%zmm11, %%zmm12, %%zmm5\n"
			"vfmadd231ps %%zmm11, %%zmm12, %%zmm6\n"
			"vfmadd231ps %%zmm11, %%zmm12, %%zmm7\n"
			"vfmadd231ps %%zmm11, %%zmm12, %%zmm8\n"
			"vfmadd231ps %%zmm11, %%zmm12, %%zmm9\n"
			::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12");
	return n * 10 * 32;
}
