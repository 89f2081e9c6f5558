/* avx512vnni_peak.c - register-only rounds of vpdpbusd. */
#include "kernels/peak.h"
#include <immintrin.h>

int64_t peak_i8_avx512vnni(int64_t n)
{
	__m512i acc[10], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
	for (int i = 0; i < 10; i++) acc[i] = _mm512_setzero_si512();
	for (int64_t r = 0; r < n; r++) {
		for (int i = 0; i < 10; i++) acc[i] = _mm512_dpbusd_epi32(acc[i], a, b);
		__asm__ volatile("" : "+v"(acc[0]), "+v"(acc[1]), "+v"(acc[2]), "+v"(acc[3]), "+v"(acc[4]), "+v"(acc[5]), "+v"(acc[6]), "+v"(acc[7]), "+v"(acc[8]), "+v"(acc[9]));
	}
	return n * 10 * 128;
}
