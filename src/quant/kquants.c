/* kquants.c - blocks of 256 elements whose sub-blocks have small integer scales (and minima) times one f16:
 * Q2_K to Q6_K, and Q8_K.
 * GOTCHAS: sub-scale times d is rounded to f32 before it meets the element, and so is the minimum; elements
 * of a bit plane are 32 apart (64 for the nibbles of Q6_K); the high bit of Q3_K is stored inverted. */
#include <string.h>
#include "quant/codec.h"

void quant_dec_q2_k(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q2_k *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d), dmin = quant_f16_to_f32(b->dmin);
		for (int s = 0; s < 16; s++, dst += 16) {
			const uint8_t *q = b->q + s / 8 * 32 + s % 2 * 16;
			int shift = s / 2 % 4 * 2;
			float dl = d * (float)(b->sc[s] & 15), ml = dmin * (float)(b->sc[s] >> 4);
			for (int j = 0; j < 16; j++) dst[j] = dl * (float)(q[j] >> shift & 3) - ml;
		}
	}
}

/* 16 six-bit scales: low nibbles in bytes 0..7 (low half first), high pairs of bits in bytes 8..11. */
static inline int q3_scale(const uint8_t sc[12], int s)
{
	int low = sc[s % 8] >> (s / 8 * 4) & 15, high = sc[8 + s % 4] >> (s / 4 * 2) & 3;
	return (low | high << 4) - 32;
}

void quant_dec_q3_k(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q3_k *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d);
		for (int s = 0; s < 16; s++, dst += 16) {
			const uint8_t *q = b->q + s / 8 * 32 + s % 2 * 16, *h = b->h + s % 2 * 16;
			int shift = s / 2 % 4 * 2, bit = s / 2;
			float dl = d * (float)q3_scale(b->sc, s);
			for (int j = 0; j < 16; j++)
				dst[j] = dl * (float)((q[j] >> shift & 3) + (h[j] >> bit & 1) * 4 - 4);
		}
	}
}

/* Scale and minimum of sub-block s, six bits each: the first four in the low bits of bytes s and s+4, the
 * last four as nibbles of byte s+4 with their high bits on top of bytes s-4 and s. */
static inline void scale_min(const uint8_t sc[12], int s, int *scale, int *min)
{
	if (s < 4) {
		*scale = sc[s] & 63;
		*min = sc[s + 4] & 63;
	} else {
		*scale = (sc[s + 4] & 15) | sc[s - 4] >> 6 << 4;
		*min = sc[s + 4] >> 4 | sc[s] >> 6 << 4;
	}
}

void quant_dec_q4_k(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q4_k *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d), dmin = quant_f16_to_f32(b->dmin);
		for (int p = 0; p < 4; p++, dst += 64) {
			const uint8_t *q = b->q + p * 32;
			int sc0, sc1, min0, min1;
			scale_min(b->sc, 2 * p, &sc0, &min0);
			scale_min(b->sc, 2 * p + 1, &sc1, &min1);
			float d0 = d * (float)sc0, m0 = dmin * (float)min0, d1 = d * (float)sc1, m1 = dmin * (float)min1;
			for (int j = 0; j < 32; j++) dst[j] = d0 * (float)(q[j] & 15) - m0;
			for (int j = 0; j < 32; j++) dst[j + 32] = d1 * (float)(q[j] >> 4) - m1;
		}
	}
}

void quant_dec_q5_k(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q5_k *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d), dmin = quant_f16_to_f32(b->dmin);
		for (int s = 0; s < 8; s++, dst += 32) {
			const uint8_t *q = b->q + s / 2 * 32;
			int shift = s % 2 * 4, scale, min;
			scale_min(b->sc, s, &scale, &min);
			float dl = d * (float)scale, ml = dmin * (float)min;
			for (int j = 0; j < 32; j++)
				dst[j] = dl * (float)((q[j] >> shift & 15) | (b->h[j] >> s & 1) << 4) - ml;
		}
	}
}

void quant_dec_q6_k(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q6_k *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d);
		for (int s = 0; s < 16; s++, dst += 16) {
			const uint8_t *l = b->ql + s / 8 * 64 + s % 4 * 16, *h = b->qh + s / 8 * 32 + s % 2 * 16;
			int lshift = s / 4 % 2 * 4, hshift = s / 2 % 4 * 2;
			float dl = d * (float)b->sc[s];
			for (int j = 0; j < 16; j++)
				dst[j] = dl * (float)(((l[j] >> lshift & 15) | (h[j] >> hshift & 3) << 4) - 32);
		}
	}
}

void quant_dec_q8_k(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q8_k *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++, dst += 256)
		for (int j = 0; j < 256; j++) dst[j] = b->d * (float)b->q[j];
}
