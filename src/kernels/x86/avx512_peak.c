/* avx512_peak.c - register-only rounds of f32 FMA. */
#include "kernels/peak.h"
#include <immintrin.h>

int64_t peak_f32_avx512(int64_t n)
{
	__m512 acc[10], a = _mm512_set1_ps(1e-3f), b = _mm512_set1_ps(0.5f);
	for (int i = 0; i < 10; i++) acc[i] = _mm512_setzero_ps();
	for (int64_t r = 0; r < n; r++) {
		for (int i = 0; i < 10; i++) acc[i] = _mm512_fmadd_ps(a, b, acc[i]);
		__asm__ volatile("" : "+v"(acc[0]), "+v"(acc[1]), "+v"(acc[2]), "+v"(acc[3]), "+v"(acc[4]), "+v"(acc[5]), "+v"(acc[6]), "+v"(acc[7]), "+v"(acc[8]), "+v"(acc[9]));
	}
	return n * 10 * 32;
}
