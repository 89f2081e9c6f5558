/* avx512vnni_codes32.h - a block of the types with blocks of 32, of 32 rows, as the GEMM and the kernel for few tokens want it (the
 * GEMV takes the sizes alone):
 * unsigned codes w + zero [k/4][2 halves][16 rows][4], scales and minima by row. */
#pragma once
#include "kernels/x86/avx512vnni_gemm.h"

enum { Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 };

struct wblock {
	uint8_t q[8][2][64];
	float d[NR], m[NR];
};

INLINE int block_size(int type)
{
	return type == Q4_0 ? 18 : type == Q4_1 ? 20 : type == Q5_0 ? 22 : type == Q5_1 ? 24 : 34;
}
INLINE bool has_min(int type) { return type == Q4_1 || type == Q5_1; }

/* Adds 16 where bit 4 i + byte of the row's dword h is set. */
INLINE __m512i fifth_bits(__m512i v, __m512i h, int i)
{
	const __m512i spread = _mm512_add_epi8(_mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12)),
	                                       _mm512_set1_epi8((char)(i / 2)));
	const __m512i bit = _mm512_set1_epi32(i % 2 ? (int)0x80402010 : 0x08040201);
	__mmask64 k = _mm512_test_epi8_mask(_mm512_shuffle_epi8(h, spread), bit);
	return _mm512_mask_add_epi8(v, k, v, _mm512_set1_epi8(16));
}

/* The block at `at` of 16 rows into half z. */
INLINE void unpack32(struct wblock *o, const struct rows16 *r, int64_t at, int z, int type)
{
	const bool five = type == Q5_0 || type == Q5_1;
	const int64_t q = at + (has_min(type) ? 4 : 2) + (five ? 4 : 0);
	__m512i v[8];
	dwords_16rows(v, r, q);
	if (type == Q8_0) {
		dwords_16rows(v + 4, r, q + 16);
#pragma GCC unroll 8
		for (int i = 0; i < 8; i++) v[i] = _mm512_xor_si512(v[i], _mm512_set1_epi8((char)0x80));
	} else {
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++) v[i + 4] = high4(v[i]), v[i] = low4(v[i]);
	}
	if (five) {
		__m512i h = dword_16rows(r, q - 4);
#pragma GCC unroll 8
		for (int i = 0; i < 8; i++) v[i] = fifth_bits(v[i], h, i);
	}
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) _mm512_store_si512(o->q[i][z], v[i]);
	if (has_min(type)) {
		__m512i h = dword_16rows(r, at);
		_mm512_store_ps(o->d + 16 * z, f16_low(h));
		_mm512_store_ps(o->m + 16 * z, f16_high(h));
	} else {
		_mm512_store_ps(o->d + 16 * z, rows16_f16(r, at));
	}
}
