/* avx512_quant.c - activation rows (exact.h) and half floats. */
#include "kernels/x86/avx512.h"

/* Largest |x| as bits over n vectors. */
INLINE uint32_t max_bits(const float *x, int n)
{
	__m512i m = _mm512_setzero_si512();
#pragma GCC unroll 16
	for (int i = 0; i < n; i++)
		m = _mm512_max_epu32(m, _mm512_and_si512(load512(x + 16 * i), _mm512_set1_epi32(0x7fffffff)));
	return _mm512_reduce_max_epu32(m);
}

/* Scale of a block whose largest |x| has the bits `max`; *id the factor, 0 when every code is 0. */
INLINE float block_scale(uint32_t max, float *id)
{
	float a;
	memcpy(&a, &max, 4);
	*id = 0;
	if (a < X_TINY) return 0;
	if (max >= 0x7f800000) return a;
	*id = 127.0f / a;
	return a / 127.0f;
}

/* 16 codes as dwords; id = 0 forces zeros, also where x is infinite or NaN */
INLINE __m512i codes(const float *x, float id)
{
	__mmask16 live = id != 0 ? 0xffff : 0;
	return _mm512_maskz_cvtps_epi32(live, _mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(id)));
}

static void quant_x32(void *dst, const float *x, int n)
{
	char *p = dst;
	float *d = (float *)(p + x32_d(n)), *ds = (float *)(p + x32_ds(n));
	int32_t *sum = (int32_t *)(p + x32_sum(n));
	for (int b = 0; b < n / 32; b++) {
		float id;
		d[b] = block_scale(max_bits(x + 32 * b, 2), &id);
		__m512i lo = codes(x + 32 * b, id), hi = codes(x + 32 * b + 16, id);
		_mm_store_si128((__m128i *)(p + 32 * b), _mm512_cvtepi32_epi8(lo));
		_mm_store_si128((__m128i *)(p + 32 * b + 16), _mm512_cvtepi32_epi8(hi));
		sum[b] = _mm512_reduce_add_epi32(_mm512_add_epi32(lo, hi));
		ds[b] = d[b] * (float)sum[b];
	}
}

/* Largest |x| as bits of each 32 of 256 elements. */
INLINE __m256i group_max(const float *x)
{
	const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
	__m256i v[8];
#pragma GCC unroll 8
	for (int j = 0; j < 8; j++) {
		__m512i m = _mm512_max_epu32(_mm512_and_si512(load512(x + 32 * j), magnitude),
					     _mm512_and_si512(load512(x + 32 * j + 16), magnitude));
		v[j] = _mm256_max_epu32(_mm512_castsi512_si256(m), _mm512_extracti64x4_epi64(m, 1));
	}
#pragma GCC unroll 4
	for (int j = 0; j < 8; j += 2) /* words j, j+1, j, j+1 in each half */
		v[j] = _mm256_max_epu32(_mm256_unpacklo_epi32(v[j], v[j + 1]),
					_mm256_unpackhi_epi32(v[j], v[j + 1]));
#pragma GCC unroll 2
	for (int j = 0; j < 8; j += 4)
		v[j] = _mm256_max_epu32(_mm256_unpacklo_epi64(v[j], v[j + 2]),
					_mm256_unpackhi_epi64(v[j], v[j + 2]));
	return _mm256_max_epu32(_mm256_permute2x128_si256(v[0], v[4], 0x20),
				_mm256_permute2x128_si256(v[0], v[4], 0x31));
}

/* Largest e <= 3 with b * 2^e <= a, of eight b. */
INLINE __m256i spare_bits(__m256 b, float a)
{
	const __m256i one = _mm256_set1_epi32(1);
	__m256 max = _mm256_set1_ps(a);
	__m256i e = _mm256_setzero_si256();
#pragma GCC unroll 3
	for (int i = 0; i < 3; i++) {
		b = _mm256_add_ps(b, b);
		e = _mm256_mask_add_epi32(e, _mm256_cmp_ps_mask(b, max, _CMP_LE_OQ), e, one);
	}
	return e;
}

/* Sums of 16 and of 32 codes of one block of 256, shifted by the dwords h. */
INLINE void block_sums(int16_t *s16, int16_t *s32, const char *q, __m256i h)
{
	const __m512i one8 = _mm512_set1_epi8(1), one16 = _mm512_set1_epi16(1);
	__m512i v[4];
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		v[i] = _mm512_madd_epi16(_mm512_maddubs_epi16(one8, load512(q + 64 * i)), one16);
	__m512i s = sum4(v[0], v[1], v[2], v[3]); /* lane l, place i: sub-block 4 i + l */
	const __m512i turn = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	__m256i w = _mm512_cvtepi32_epi16(_mm512_permutexvar_epi32(turn, s));
	w = _mm256_sllv_epi16(w, _mm256_or_si256(h, _mm256_slli_epi32(h, 16)));
	_mm256_storeu_si256((__m256i *)s16, w);
	_mm_storeu_si128((__m128i *)s32, _mm256_cvtepi32_epi16(_mm256_madd_epi16(w, _mm256_set1_epi16(1))));
}

static void quant_x256(void *dst, const float *x, int n)
{
	char *p = dst;
	float *d = (float *)(p + x256_d(n));
	int16_t *s16 = (int16_t *)(p + x256_s16(n)), *s32 = (int16_t *)(p + x256_s32(n));
	int16_t *h = (int16_t *)(p + x256_h(n));
	for (int b = 0; b < n / 256; b++) {
		__m256i max = group_max(x + 256 * b), shift = _mm256_setzero_si256();
		uint32_t top = _mm512_reduce_max_epu32(_mm512_zextsi256_si512(max));
		float id, ids[8] = {0}, a;
		d[b] = block_scale(top, &id);
		if (id != 0) {
			memcpy(&a, &top, 4);
			__m256i e = spare_bits(_mm256_castsi256_ps(max), a);
			__m256 two_e = _mm256_cvtepi32_ps(_mm256_sllv_epi32(_mm256_set1_epi32(1), e));
			_mm256_storeu_ps(ids, _mm256_mul_ps(_mm256_set1_ps(id), two_e));
			shift = _mm256_sub_epi32(_mm256_set1_epi32(3), e);
			d[b] *= 0.125f;
		}
		_mm_storeu_si128((__m128i *)(h + 8 * b), _mm256_cvtepi32_epi16(shift));
		for (int i = 0; i < 256; i += 16)
			_mm_store_si128((__m128i *)(p + 256 * b + i),
					_mm512_cvtepi32_epi8(codes(x + 256 * b + i, ids[i / 32])));
		block_sums(s16 + 16 * b, s32 + 8 * b, p + 256 * b, shift);
	}
}

static void to_f16(uint16_t *dst, const float *x, int n)
{
	int i = 0;
	for (; i + 16 <= n; i += 16)
		_mm256_storeu_si256((__m256i *)(dst + i),
				    _mm512_cvtps_ph(_mm512_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
	if (i == n) return;
	__m512 v = _mm512_maskz_loadu_ps(lanes(n - i), x + i);
	_mm256_mask_storeu_epi16(dst + i, lanes(n - i), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

void kern_avx512_quant(struct kern *k)
{
	k->quant_x32 = quant_x32;
	k->quant_x256 = quant_x256;
	k->to_f16 = to_f16;
}
