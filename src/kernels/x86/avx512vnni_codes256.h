/* avx512vnni_codes256.h - blocks of the K-quants, 16 rows together, as the GEMM and the kernel for few tokens want them (the GEMV takes
 * the sizes alone): unsigned
 * codes [k/4][2 halves][16 rows][4], and the header as vectors with a row in each lane. */
#pragma once
#include "kernels/x86/avx512vnni_gemm.h"

enum { Q2_K, Q3_K, Q4_K, Q5_K, Q6_K };

INLINE int block_size(int type)
{
	return type == Q2_K ? 84 : type == Q3_K ? 110 : type == Q4_K ? 144 : type == Q5_K ? 176 : 210;
}
INLINE bool has_min(int type) { return type == Q2_K || type == Q4_K || type == Q5_K; }
INLINE int n_sub(int type) { return type == Q4_K || type == Q5_K ? 8 : 16; }

/* ---- codes: 16 bytes of 16 rows at a time, into half z of q ----------------------------------------------------- */
INLINE void put4(uint8_t (*q)[2][64], int step, int z, const __m512i v[4])
{
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) _mm512_store_si512(q[step + i][z], v[i]);
}
/* v + add where the bit `n` of h is set */
INLINE __m512i bit_add(__m512i v, __m512i h, int n, int add)
{
	return _mm512_mask_add_epi8(v, _mm512_test_epi8_mask(h, _mm512_set1_epi8((char)(1 << n))), v, _mm512_set1_epi8((char)add));
}
/* Bits n and n + 1 of each byte, at bits 4 and 5. */
INLINE __m512i pair_at4(__m512i h, int n)
{
	return _mm512_and_si512(n < 4 ? _mm512_slli_epi16(h, 4 - n) : _mm512_srli_epi16(h, n - 4), _mm512_set1_epi8(0x30));
}

/* Q4_K, Q5_K: chunk c of q holds low nibbles of sub-block c / 2 * 2, high nibbles of the next. */
INLINE void codes_k4(uint8_t (*q)[2][64], const struct rows16 *r, int64_t at, int z, int type)
{
	__m512i h[2][4];
	if (type == Q5_K) {
		dwords_16rows(h[0], r, at + 16);
		dwords_16rows(h[1], r, at + 32);
	}
#pragma GCC unroll 8
	for (int c = 0; c < 8; c++) {
		__m512i v[4], lo[4], hi[4];
		dwords_16rows(v, r, at + (type == Q5_K ? 48 : 16) + 16 * c);
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++) {
			lo[i] = low4(v[i]);
			hi[i] = high4(v[i]);
			if (type == Q5_K) {
				lo[i] = bit_add(lo[i], h[c % 2][i], c / 2 * 2, 16);
				hi[i] = bit_add(hi[i], h[c % 2][i], c / 2 * 2 + 1, 16);
			}
		}
		put4(q, 16 * (c / 2) + 4 * (c % 2), z, lo);
		put4(q, 16 * (c / 2) + 4 * (c % 2) + 8, z, hi);
	}
}

/* Q6_K: chunk c of ql holds elements 128 (c / 4) + 16 (c % 4) .., and those 64 further on in the high nibbles. */
INLINE void codes_k6(uint8_t (*q)[2][64], const struct rows16 *r, int64_t at, int z)
{
#pragma GCC unroll 4
	for (int p = 0; p < 4; p++) {            /* chunks that share their upper bits */
		__m512i v[4], h[4], lo[4], hi[4];
		dwords_16rows(h, r, at + 128 + 32 * (p / 2) + 16 * (p % 2));
#pragma GCC unroll 2
		for (int s = 0; s < 2; s++) {
			const int c = p / 2 * 4 + 2 * s + p % 2;
			dwords_16rows(v, r, at + 16 * c);
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++) {
				lo[i] = _mm512_or_si512(low4(v[i]), pair_at4(h[i], 2 * s));
				hi[i] = _mm512_or_si512(high4(v[i]), pair_at4(h[i], 2 * s + 4));
			}
			put4(q, 32 * (c / 4) + 4 * (c % 4), z, lo);
			put4(q, 32 * (c / 4) + 4 * (c % 4) + 16, z, hi);
		}
	}
}

/* Q2_K, Q3_K: chunk c of q holds elements 128 (c / 2) + 32 s + 16 (c % 2) .. in bit pair s. */
INLINE void codes_k2(uint8_t (*q)[2][64], const struct rows16 *r, int64_t at, int z, int type)
{
	for (int c = 0; c < 4; c++) {
		__m512i v[4], h[4], two[4];
		dwords_16rows(v, r, at + (type == Q2_K ? 16 : 32) + 16 * c);
		if (type == Q3_K) dwords_16rows(h, r, at + 16 * (c % 2));
		for (int s = 0; s < 4; s++) {
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++) {
				two[i] = _mm512_and_si512(_mm512_srli_epi16(v[i], (unsigned)(2 * s)), _mm512_set1_epi8(3));
				if (type == Q3_K) two[i] = bit_add(two[i], h[i], c / 2 * 4 + s, 4);
			}
			put4(q, 32 * (c / 2) + 8 * s + 4 * (c % 2), z, two);
		}
	}
}

INLINE void codes256(uint8_t (*q)[2][64], const struct rows16 *r, int64_t at, int z, int type)
{
	if (type == Q6_K) codes_k6(q, r, at, z);
	else if (type == Q2_K || type == Q3_K) codes_k2(q, r, at, z, type);
	else codes_k4(q, r, at, z, type);
}

/* ---- headers ----------------------------------------------------------------------------------------------------- */
/* Scales and minima 4 g .. 4 g + 3 of a row are the bytes (scales signed) of its dword in sc[g] and mn[g]. */
struct head256 { __m512 d, dmin; __m512i sc[4], mn[4]; };

INLINE struct head256 head256(const struct rows16 *r, int64_t at, int type)
{
	const __m512i six = _mm512_set1_epi8(63);
	struct head256 h;
	__m512i v[4];
	if (type == Q3_K) {
		__m512i a = dword_16rows(r, at + 96), b = dword_16rows(r, at + 100), up = dword_16rows(r, at + 104);
		h.d = rows16_f16(r, at + 108);
#pragma GCC unroll 4
		for (int g = 0; g < 4; g++) {
			__m512i low = g == 0 ? low4(a) : g == 1 ? low4(b) : g == 2 ? high4(a) : high4(b);
			h.sc[g] = _mm512_sub_epi8(_mm512_or_si512(low, pair_at4(up, 2 * g)), _mm512_set1_epi8(32));
		}
		return h;
	}
	dwords_16rows(v, r, type == Q6_K ? at + 192 : at);
	if (type == Q6_K) {
		h.d = rows16_f16(r, at + 208);
		memcpy(h.sc, v, sizeof v);
	} else if (type == Q2_K) {
		h.d = rows16_f16(r, at + 80), h.dmin = rows16_f16(r, at + 82);
#pragma GCC unroll 4
		for (int g = 0; g < 4; g++) h.sc[g] = low4(v[g]), h.mn[g] = high4(v[g]);
	} else { /* v: d and dmin, bytes 0-3, 4-7, 8-11 of the packed scales */
		h.d = f16_low(v[0]), h.dmin = f16_high(v[0]);
		h.sc[0] = _mm512_and_si512(v[1], six), h.sc[1] = _mm512_or_si512(low4(v[3]), pair_at4(v[1], 6));
		h.mn[0] = _mm512_and_si512(v[2], six), h.mn[1] = _mm512_or_si512(high4(v[3]), pair_at4(v[2], 6));
	}
	return h;
}
/* Bytes 4 g .. 4 g + 3 of each row's dword, signed, as two pairs of words. */
INLINE void put_pairs(int32_t to[][NR], int g, int z, __m512i v)
{
	const __m512i first = _mm512_broadcast_i32x4(_mm_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13));
	const __m512i second = _mm512_broadcast_i32x4(_mm_setr_epi8(-1, 2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15));
	_mm512_store_si512(to[2 * g] + 16 * z, _mm512_srai_epi16(_mm512_shuffle_epi8(v, first), 8));
	_mm512_store_si512(to[2 * g + 1] + 16 * z, _mm512_srai_epi16(_mm512_shuffle_epi8(v, second), 8));
}
