/* tern.c - very low bits with one scale and no codebook: ternary TQ1_0 and TQ2_0, Q1_0, Q2_0. */
#include "quant/codec.h"

/* Digit k of the five ternary digits of a byte that holds ceil(value * 256 / 243): multiplying by 3^k modulo
 * 256 drops the digits above, multiplying by 3 brings the next one above bit 8. */
static inline float *put_digits(float *restrict dst, float d, const uint8_t *q, int n_bytes, int n_digits)
{
	for (int k = 0, power = 1; k < n_digits; k++, power *= 3)
		for (int j = 0; j < n_bytes; j++) *dst++ = d * (float)(((q[j] * power & 255) * 3 >> 8) - 1);
	return dst;
}

void quant_dec_tq1_0(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_tq1_0 *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d);
		dst = put_digits(dst, d, b->q, 32, 5);
		dst = put_digits(dst, d, b->q + 32, 16, 5);
		dst = put_digits(dst, d, b->h, 4, 4);
	}
}

void quant_dec_tq2_0(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_tq2_0 *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d);
		for (int s = 0; s < 8; s++, dst += 32)
			for (int j = 0; j < 32; j++)
				dst[j] = d * (float)((b->q[s / 4 * 32 + j] >> (s % 4 * 2) & 3) - 1);
	}
}

void quant_dec_q1_0(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q1_0 *b = src;
	for (int64_t i = 0; i < n / 128; i++, b++, dst += 128) {
		float d = quant_f16_to_f32(b->d);
		for (int j = 0; j < 16; j++)
			for (int k = 0; k < 8; k++) dst[8 * j + k] = d * (float)((b->q[j] >> k & 1) * 2 - 1);
	}
}

void quant_dec_q2_0(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q2_0 *b = src;
	for (int64_t i = 0; i < n / 64; i++, b++, dst += 64) {
		float d = quant_f16_to_f32(b->d);
		for (int j = 0; j < 64; j++) dst[j] = d * (float)((b->q[j / 4] >> (j % 4 * 2) & 3) - 1);
	}
}
