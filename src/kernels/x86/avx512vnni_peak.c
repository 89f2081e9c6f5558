/* avx512vnni_peak.c - register-only rounds of vpdpbusd. Written as assembly so that the compiler neither merges
 * the equal products nor keeps sums in memory. */
#include "kernels/peak.h"

int64_t peak_i8_avx512vnni(int64_t n)
{
	__asm__ volatile("vzeroall\n" ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12");
	for (int64_t r = 0; r < n; r++)
		__asm__ volatile(
			"vpdpbusd %%zmm11, %%zmm12, %%zmm0\n"
			"vpdpbusd %%zmm11, %%zmm12, %%zmm1\n"
			"vpdpbusd %%zmm11, %%zmm12, %%zmm2\n"
			"vpdpbusd %%zmm11, %%zmm12, %%zmm3\n"
			"vpdpbusd %%zmm11, %%zmm12, %%zmm4\n"
			"vpdpbusd %%zmm11, %%zmm12, %%zmm5\n"
			"vpdpbusd %%zmm11, %%zmm12, %%zmm6\n"
			"vpdpbusd %%zmm11, %%zmm12, %%zmm7\n"
			"vpdpbusd %%zmm11, %%zmm12, %%zmm8\n"
			"vpdpbusd %%zmm11, %%zmm12, %%zmm9\n"
			::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12");
	return n * 10 * 128;
}
