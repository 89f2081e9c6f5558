/* avx2_blocks.h - the file's blocks as vectors of unsigned codes in element order.  GEMV multiplies them
 * where they are, GEMM transposes them into panels.  `type` is a constant wherever these are used. */
#pragma once
#include "kernels/x86/avx2.h"

/* ---- DOT_X32
 * --------------------------------------------------------------------------------------------------- */
struct x32 {
	const int8_t *q;
	const float *d, *ds;
	const int32_t *sum;
};
INLINE struct x32 x32_of(const void *x, int n)
{
	const char *p = x;
	return (struct x32){ (const int8_t *)p, (const float *)(p + x32_d(n)), (const float *)(p + x32_ds(n)),
			     (const int32_t *)(p + x32_sum(n)) };
}
INLINE int size32(enum dtype t)
{
	return t == DT_Q4_0 ? 18 : t == DT_Q4_1 ? 20 : t == DT_Q5_0 ? 22 : t == DT_Q5_1 ? 24 : 34;
}
/* w = code - zero */
INLINE int zero32(enum dtype t)
{
	return t == DT_Q4_0 ? 8 : t == DT_Q5_0 ? 16 : 0;
}
INLINE bool min32(enum dtype t)
{
	return t == DT_Q4_1 || t == DT_Q5_1;
}

/* The 32 codes of a block; Q8_0: signed. */
INLINE __m256i codes32(const uint8_t *p, enum dtype t)
{
	const int at = min32(t) ? 4 : 2;
	if (t == DT_Q8_0) return load256(p + 2);
	__m256i v = twice128(p + at + (t == DT_Q5_0 || t == DT_Q5_1 ? 4 : 0));
	v = _mm256_and_si256(_mm256_srlv_epi64(v, _mm256_setr_epi64x(0, 0, 4, 4)), _mm256_set1_epi8(15));
	if (t == DT_Q4_0 || t == DT_Q4_1) return v;
	/* byte i takes byte i / 8 of the high bits and tests its bit i % 8 */
	const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
	const __m256i spread =
		_mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
	__m256i h =
		_mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32((int)load32(p + at)), spread), bit);
	return _mm256_or_si256(v, _mm256_and_si256(_mm256_cmpeq_epi8(h, bit), _mm256_set1_epi8(16)));
}

/* ---- DOT_X256
 * -------------------------------------------------------------------------------------------------- */
struct x256 {
	const int8_t *q;
	const float *d;
	const int16_t *s16, *s32, *h;
};
INLINE struct x256 x256_of(const void *x, int n)
{
	const char *p = x;
	return (struct x256){ (const int8_t *)p, (const float *)(p + x256_d(n)),
			      (const int16_t *)(p + x256_s16(n)), (const int16_t *)(p + x256_s32(n)),
			      (const int16_t *)(p + x256_h(n)) };
}
/* 1 << h of a block's eight groups as words, in both lanes.  Bit 15 makes the lookup's high byte zero. */
INLINE __m256i factors256(const int16_t *h)
{
	return _mm256_shuffle_epi8(_mm256_set1_epi32(0x08040201),
				   _mm256_or_si256(twice128(h), _mm256_set1_epi16((short)0x8000)));
}
INLINE int size256(enum dtype t)
{
	return t == DT_Q2_K ? 84 : t == DT_Q3_K ? 110 : t == DT_Q4_K ? 144 : t == DT_Q5_K ? 176 : 210;
}
INLINE int zero256(enum dtype t)
{
	return t == DT_Q3_K ? 4 : t == DT_Q6_K ? 32 : 0;
}
INLINE bool min256(enum dtype t)
{
	return t == DT_Q2_K || t == DT_Q4_K || t == DT_Q5_K;
}

/* Bit `from` of each byte at bit `to`, other bits of the byte kept apart by the caller's mask. */
INLINE __m256i move_bit(__m256i v, int from, int to)
{
	return from > to ? _mm256_srli_epi16(v, from - to) : _mm256_slli_epi16(v, to - from);
}

/* The codes of elements 32 i to 32 i + 31 of a block. */
INLINE __m256i codes256(const uint8_t *p, int i, enum dtype t)
{
	const __m256i low = _mm256_set1_epi8(15);
	if (t == DT_Q4_K || t == DT_Q5_K) {
		__m256i q = load256(p + (t == DT_Q4_K ? 16 : 48) + 32 * (i / 2));
		__m256i v = _mm256_and_si256(move_bit(q, i % 2 * 4, 0), low);
		if (t == DT_Q4_K) return v;
		return _mm256_or_si256(
			v, _mm256_and_si256(move_bit(load256(p + 16), i, 4), _mm256_set1_epi8(16)));
	}
	if (t == DT_Q6_K) {
		__m256i q = load256(p + 64 * (i / 4) + 32 * (i % 2)), h = load256(p + 128 + 32 * (i / 4));
		__m256i v = _mm256_and_si256(move_bit(q, i % 4 / 2 * 4, 0), low);
		return _mm256_or_si256(v,
				       _mm256_and_si256(move_bit(h, i % 4 * 2, 4), _mm256_set1_epi8(0x30)));
	}
	__m256i q = load256(p + (t == DT_Q2_K ? 16 : 32) + 32 * (i / 4));
	__m256i v = _mm256_and_si256(move_bit(q, i % 4 * 2, 0), _mm256_set1_epi8(3));
	if (t == DT_Q2_K) return v;
	return _mm256_or_si256(v, _mm256_and_si256(move_bit(load256(p), i, 2), _mm256_set1_epi8(4)));
}

/* 16 bytes as words, those of even sub-blocks in the low lane, of odd ones in the high lane: the lanes of
 * codes256. */
INLINE __m128i even_odd(__m128i v)
{
	return _mm_shuffle_epi8(v, _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
}
/* Word i of each lane in the whole lane. */
INLINE __m256i spread_word(__m256i v, int i)
{
	return _mm256_shuffle_epi8(v, _mm256_set1_epi16((short)((2 * i + 1) << 8 | 2 * i)));
}

/* Q3_K: scales minus 32, from low nibbles (bytes 0-7) and high bit pairs (bytes 8-11). */
INLINE __m128i q3_scales(const uint8_t *p)
{
	__m128i v = _mm_loadl_epi64((const __m128i *)p);
	__m128i lo = _mm_and_si128(_mm_unpacklo_epi64(v, _mm_srli_epi16(v, 4)), _mm_set1_epi8(15));
	__m128i hi = _mm_srlv_epi32(_mm_set1_epi32((int)load32(p + 8)), _mm_setr_epi32(0, 2, 4, 6));
	hi = _mm_slli_epi16(_mm_and_si128(hi, _mm_set1_epi8(3)), 4);
	return _mm_sub_epi8(_mm_or_si128(lo, hi), _mm_set1_epi8(32));
}
/* The 16 signed scales of a block with sub-blocks of 16, in their order. */
INLINE __m128i scales16(const uint8_t *p, enum dtype t)
{
	if (t == DT_Q6_K) return load128(p + 192);
	if (t == DT_Q3_K) return q3_scales(p + 96);
	return _mm_and_si128(load128(p), _mm_set1_epi8(15));
}
/* Q2_K */
INLINE __m128i mins16(const uint8_t *p)
{
	return _mm_and_si128(_mm_srli_epi16(load128(p), 4), _mm_set1_epi8(15));
}

/* Headers of Q4_K or Q5_K, one per lane: in each lane the bytes of 8 scales, then those of 8 minima.  The
 * dwords are d and dmin; s0, s1: low six bits of scales and minima 0-3; s2: low nibbles of scales and minima
 * 4-7, whose high bits are on top of s0 and s1. */
INLINE __m256i k4_scales(__m256i h)
{
	const __m256i shift = _mm256_setr_epi32(0, 0, 0, 4, 0, 0, 0, 4);
	const __m256i low = _mm256_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f,
					      0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f);
	const __m256i high = _mm256_setr_epi32(0, 0x30303030, 0, 0x30303030, 0, 0x30303030, 0, 0x30303030);
	__m256i a = _mm256_srlv_epi32(_mm256_shuffle_epi32(h, 0xed /* 1 3 2 3 */), shift);
	__m256i b = _mm256_srli_epi32(_mm256_shuffle_epi32(h, 0xa5 /* 1 1 2 2 */), 2);
	return _mm256_or_si256(_mm256_and_si256(a, low), _mm256_and_si256(b, high));
}
