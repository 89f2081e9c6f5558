/* avx2_peak.c - register-only rounds of AVX2: vpmaddubsw + vpmaddwd + vpaddd, and FMA. */
#include "kernels/peak.h"
#include <immintrin.h>

int64_t peak_i8_avx2(int64_t n)
{
	__m256i acc[8], a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5), one = _mm256_set1_epi16(1);
	for (int i = 0; i < 8; i++) acc[i] = _mm256_setzero_si256();
	for (int64_t r = 0; r < n; r++) {
		__asm__ volatile("" : "+x"(a), "+x"(b));
		for (int i = 0; i < 8; i++) acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), one));
		__asm__ volatile("" : "+x"(acc[0]), "+x"(acc[1]), "+x"(acc[2]), "+x"(acc[3]), "+x"(acc[4]), "+x"(acc[5]), "+x"(acc[6]), "+x"(acc[7]));
		a = _mm256_xor_si256(a, one);
	}
	return n * 8 * 64;
}

int64_t peak_f32_avx2(int64_t n)
{
	__m256 acc[10], a = _mm256_set1_ps(1e-3f), b = _mm256_set1_ps(0.5f);
	for (int i = 0; i < 10; i++) acc[i] = _mm256_setzero_ps();
	for (int64_t r = 0; r < n; r++) {
		for (int i = 0; i < 10; i++) acc[i] = _mm256_fmadd_ps(a, b, acc[i]);
		__asm__ volatile("" : "+x"(acc[0]), "+x"(acc[1]), "+x"(acc[2]), "+x"(acc[3]), "+x"(acc[4]), "+x"(acc[5]), "+x"(acc[6]), "+x"(acc[7]), "+x"(acc[8]), "+x"(acc[9]));
	}
	return n * 10 * 16;
}
