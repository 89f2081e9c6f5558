/* avx2_quant.c - activation rows (exact.h) and half floats. */
#include "kernels/x86/avx2_blocks.h"

/* Largest |x| as bits over n vectors. */
INLINE uint32_t max_bits(const float *x, int n)
{
	__m256i m = _mm256_setzero_si256();
	for (int i = 0; i < n; i++)
		m = _mm256_max_epu32(m, _mm256_and_si256(load256(x + 8 * i), _mm256_set1_epi32(0x7fffffff)));
	__m128i v = _mm_max_epu32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
	v = _mm_max_epu32(v, _mm_shuffle_epi32(v, 0x4e));
	return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(v, _mm_shuffle_epi32(v, 0xb1)));
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

/* 32 codes; id = 0 forces zeros, also where x is infinite or NaN */
INLINE __m256i codes(const float *x, float id)
{
	const __m256 f = _mm256_set1_ps(id);
	__m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), f)),
		b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8), f));
	__m256i c = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 16), f)),
		d = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 24), f));
	__m256i v = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
	v = _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
	return id != 0 ? v : _mm256_setzero_si256();
}

/* Sums of 4 codes as dwords. */
INLINE __m256i sums4(__m256i q)
{
	return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q), _mm256_set1_epi16(1));
}

static void quant_x32(void *dst, const float *x, int n)
{
	char *p = dst;
	float *d = (float *)(p + x32_d(n)), *ds = (float *)(p + x32_ds(n));
	int32_t *sum = (int32_t *)(p + x32_sum(n));
	for (int b = 0; b < n / 32; b++) {
		float id;
		d[b] = block_scale(max_bits(x + 32 * b, 4), &id);
		__m256i q = codes(x + 32 * b, id), s = sums4(q);
		_mm256_store_si256((__m256i *)(p + 32 * b), q);
		__m128i v = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
		v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
		sum[b] = _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
		ds[b] = d[b] * (float)sum[b];
	}
}

/* The bits that a group with the largest |x| of `group` keeps in a block with `max` (both as bits). */
INLINE int bits_kept(uint32_t group, uint32_t max)
{
	float a, b;
	memcpy(&a, &max, 4);
	memcpy(&b, &group, 4);
	return (b * 2 <= a) + (b * 4 <= a) + (b * 8 <= a);
}

static void quant_x256(void *dst, const float *x, int n)
{
	char *p = dst;
	float *d = (float *)(p + x256_d(n));
	int16_t *s16 = (int16_t *)(p + x256_s16(n)), *s32 = (int16_t *)(p + x256_s32(n));
	int16_t *h = (int16_t *)(p + x256_h(n));
	for (int b = 0; b < n / 256; b++) {
		float id;
		__m256i s[8];
		uint32_t group[8], max = 0;
		for (int i = 0; i < 8; i++) {
			group[i] = max_bits(x + 256 * b + 32 * i, 4);
			max = group[i] > max ? group[i] : max;
		}
		d[b] = block_scale(max, &id);
		if (id != 0) d[b] *= 0.125f; /* not a NaN: it keeps its bits */
		for (int i = 0; i < 8; i++) {
			const int e = bits_kept(group[i], max);
			__m256i q = codes(x + 256 * b + 32 * i, id * (float)(1 << e));
			h[8 * b + i] = (int16_t)(id != 0 ? 3 - e : 0);
			_mm256_store_si256((__m256i *)(p + 256 * b + 32 * i), q);
			s[i] = sums4(q);
		}
		/* lane l, place i: sub-block 2 i + l */
		__m256i w = _mm256_packs_epi32(sum4(s[0], s[1], s[2], s[3]), sum4(s[4], s[5], s[6], s[7]));
		w = _mm256_mullo_epi16(w, factors256(h + 8 * b));
		__m128i even = _mm256_castsi256_si128(w), odd = _mm256_extracti128_si256(w, 1);
		_mm_storeu_si128((__m128i *)(s16 + 16 * b), _mm_unpacklo_epi16(even, odd));
		_mm_storeu_si128((__m128i *)(s16 + 16 * b + 8), _mm_unpackhi_epi16(even, odd));
		_mm_storeu_si128((__m128i *)(s32 + 8 * b), _mm_add_epi16(even, odd));
	}
}

static void to_f16(uint16_t *dst, const float *x, int n)
{
	int i = 0;
	for (; i + 8 <= n; i += 8)
		_mm_storeu_si128((__m128i *)(dst + i),
				 _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
	for (; i < n; i++) dst[i] = (uint16_t)_cvtss_sh(x[i], _MM_FROUND_TO_NEAREST_INT);
}

void kern_avx2_quant(struct kern *k)
{
	k->quant_x32 = quant_x32;
	k->quant_x256 = quant_x256;
	k->to_f16 = to_f16;
}
