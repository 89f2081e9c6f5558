/* own.c - types that no GGUF has: the values of pre-quantised safetensors, to the last bit and at about their size.
 * Scales are f32, because checkpoints have them in f16, bf16 and f32. */
#include <math.h>
#include "quant/codec.h"

const float quant_fp4_code[16] = {
	0.0f, 0.005208333333f, 0.66666667f, 1.0f, 0.33333333f, 0.5f, 0.16666667f, 0.25f,
	0.0f, -0.005208333333f, -0.66666667f, -1.0f, -0.33333333f, -0.5f, -0.16666667f, -0.25f
};

void quant_dec_fp4(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_fp4 *b = src;
	for (int64_t i = 0; i < n / 64; i++, b++, dst += 64)
		for (int j = 0; j < 32; j++) {
			dst[2 * j] = quant_fp4_code[b->q[j] >> 4] * b->absmax;
			dst[2 * j + 1] = quant_fp4_code[b->q[j] & 15] * b->absmax;
		}
}

/* Shifted, it is a half of 1/256 of the value, subnormals too. */
float quant_e4m3_to_f32(uint8_t x)
{
	if ((x & 0x7f) == 0x7f) return NAN;
	return quant_f16_to_f32((uint16_t)((x & 0x7f) << 7 | (x & 0x80) << 8)) * 256.0f;
}

void quant_dec_nv4(float *restrict dst, const void *restrict src, int64_t n)
{
	static const float e2m1[16] = { 0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -.5f, -1, -1.5f, -2, -3, -4, -6 };
	const struct block_nv4 *b = src;
	for (int64_t i = 0; i < n / 64; i++, b++)
		for (int s = 0; s < 4; s++, dst += 16) {
			float d = quant_e4m3_to_f32(b->d[s]);
			d = b->g < 0 ? d * -b->g : d / b->g;
			for (int j = 0; j < 8; j++) {
				dst[j] = e2m1[b->q[8 * s + j] & 15] * d;
				dst[j + 8] = e2m1[b->q[8 * s + j] >> 4] * d;
			}
		}
}

static inline void put4(float *restrict dst, const uint8_t *q, int z, float d, int n)
{
	for (int k = 0; k < n; k += 32)
		for (int j = 0; j < 16; j++) {
			dst[k + j] = (float)((q[k / 2 + j] & 15) - z) * d;
			dst[k + j + 16] = (float)((q[k / 2 + j] >> 4) - z) * d;
		}
}

#define DEC_Z4(elems)                                                                             \
	void quant_dec_z4_##elems(float *restrict dst, const void *restrict src, int64_t n)           \
	{                                                                                             \
		const struct block_z4_##elems *b = src;                                                   \
		for (int64_t i = 0; i < n / elems; i++, b++) put4(dst + i * elems, b->q, b->z, b->d, elems); \
	}
DEC_Z4(32)
DEC_Z4(128)

#define DEC_EACH(name, elems, value)                                                              \
	void quant_dec_##name(float *restrict dst, const void *restrict src, int64_t n)               \
	{                                                                                             \
		const struct block_##name *b = src;                                                       \
		for (int64_t i = 0; i < n / elems; i++, b++)                                              \
			for (int j = 0; j < elems; j++) dst[i * elems + j] = (value);                         \
	}
DEC_EACH(z8_32, 32, (float)(b->q[j] - b->z) * b->d)
DEC_EACH(z8_128, 128, (float)(b->q[j] - b->z) * b->d)
DEC_EACH(bnb8, 32, (float)b->q[j] * b->d * 7.874015718698502e-3f)
DEC_EACH(f8_32, 32, quant_e4m3_to_f32(b->q[j]) * b->d)
DEC_EACH(f8_128, 128, quant_e4m3_to_f32(b->q[j]) * b->d)

void quant_dec_f8_e4m3(float *restrict dst, const void *restrict src, int64_t n)
{
	const uint8_t *p = src;
	for (int64_t i = 0; i < n; i++) dst[i] = quant_e4m3_to_f32(p[i]);
}

/* The upper byte of an IEEE half. */
void quant_dec_f8_e5m2(float *restrict dst, const void *restrict src, int64_t n)
{
	const uint8_t *p = src;
	for (int64_t i = 0; i < n; i++) dst[i] = quant_f16_to_f32((uint16_t)(p[i] << 8));
}
