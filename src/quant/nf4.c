/* nf4.c - NormalFloat4 of bitsandbytes: 16 fixed values in -1..1 times the block's largest magnitude.
 * GOTCHA: the first element of a pair is in the high nibble, unlike every GGUF type. */
#include <math.h>
#include "quant/codec.h"

const float quant_nf4_code[16] = {
	-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
	-0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
	0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
	0.7229568362236023f, 1.0f
};

void quant_dec_nf4(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_nf4 *b = src;
	for (int64_t i = 0; i < n / 64; i++, b++, dst += 64)
		for (int j = 0; j < 32; j++) {
			dst[2 * j] = quant_nf4_code[b->q[j] >> 4] * b->absmax;
			dst[2 * j + 1] = quant_nf4_code[b->q[j] & 15] * b->absmax;
		}
}

/* The nearest code: the number of midpoints below x / absmax, so that a tie goes down.  The reference
 * multiplies by the rounded reciprocal, and keeps it finite for blocks of zeros and subnormals; a NaN ends as
 * code 15. */
void quant_enc_nf4(void *restrict dst, const float *restrict src, const float *restrict imp, int64_t n)
{
	struct block_nf4 *b = dst;
	float mid[15];
	(void)imp;
	for (int k = 0; k < 15; k++) mid[k] = (quant_nf4_code[k] + quant_nf4_code[k + 1]) / 2;
	for (int64_t i = 0; i < n / 64; i++, b++, src += 64) {
		float top = 0;
		uint8_t q[64] = { 0 };
		for (int j = 0; j < 64 && top == top; j++)
			if (!(fabsf(src[j]) <= top)) top = fabsf(src[j]);
		float id = 1.0f / (top < 1e-38f ? 1e-38f : top);
		for (int j = 0; j < 64; j++) {
			float x = src[j] * id;
			for (int k = 0; k < 15; k++) q[j] = (uint8_t)(q[j] + !(mid[k] >= x));
		}
		b->absmax = top;
		for (int j = 0; j < 32; j++) b->q[j] = (uint8_t)(q[2 * j] << 4 | q[2 * j + 1]);
	}
}
