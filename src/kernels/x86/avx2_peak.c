/* avx2_peak.c - register-only rounds of AVX2: vpmaddubsw + vpmaddwd + vpaddd, and FMA. Written as assembly so that the compiler neither merges
 * the equal products nor keeps sums in memory. */
#include "kernels/peak.h"

int64_t peak_i8_avx2(int64_t n)
{
	__asm__ volatile("vzeroall\n" ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12");
	for (int64_t r = 0; r < n; r++)
		__asm__ volatile(
			"vpmaddubsw %%ymm11, %%ymm10, %%ymm5\n"
			"vpmaddubsw %%ymm11, %%ymm10, %%ymm6\n"
			"vpmaddubsw %%ymm11, %%ymm10, %%ymm7\n"
			"vpmaddubsw %%ymm11, %%ymm10, %%ymm8\n"
			"vpmaddubsw %%ymm11, %%ymm10, %%ymm9\n"
			"vpmaddwd %%ymm12, %%ymm5, %%ymm5\n"
			"vpmaddwd %%ymm12, %%ymm6, %%ymm6\n"
			"vpmaddwd %%ymm12, %%ymm7, %%ymm7\n"
			"vpmaddwd %%ymm12, %%ymm8, %%ymm8\n"
			"vpmaddwd %%ymm12, %%ymm9, %%ymm9\n"
			"vpaddd %%ymm5, %%ymm0, %%ymm0\n"
			"vpaddd %%ymm6, %%ymm1, %%ymm1\n"
			"vpaddd %%ymm7, %%ymm2, %%ymm2\n"
			"vpaddd %%ymm8, %%ymm3, %%ymm3\n"
			"vpaddd %%ymm9, %%ymm4, %%ymm4\n"
			::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12");
	return n * 5 * 64;
}

int64_t peak_f32_avx2(int64_t n)
{
	__asm__ volatile("vzeroall\n" ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12");
	for (int64_t r = 0; r < n; r++)
		__asm__ volatile(
			"vfmadd231ps %%ymm11, %%ymm12, %%ymm0\n"
			"vfmadd231ps %%ymm11, %%ymm12, %%ymm1\n"
			"vfmadd231ps %%ymm11, %%ymm12, %%ymm2\n"
			"vfmadd231ps %%ymm11, %%ymm12, %%ymm3\n"
			"vfmadd231ps %%ymm11, %%ymm12, %%ymm4\n"
			"vfmadd231ps %%ymm11, %%ymm12, %%ymm5\n"
			"vfmadd231ps %%ymm11, %%ymm12, %%ymm6\n"
			"vfmadd231ps %%ymm11, %%ymm12, %%ymm7\n"
			"vfmadd231ps %%ymm11, %%ymm12, %%ymm8\n"
			"vfmadd231ps %%ymm11, %%ymm12, %%ymm9\n"
			::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12");
	return n * 10 * 16;
}
