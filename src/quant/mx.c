/* mx.c - four-bit floats (e2m1) under an eight-bit scale: MXFP4 (OCP microscaling, a power of two per 32
 * elements) and NVFP4 (e4m3 per 16 elements).
 * GOTCHA: GGUF counts elements doubled (0 1 2 3 4 6 8 12) and scales halved, so both stay exact. */
#include <math.h>
#include <string.h>
#include "quant/codec.h"

static const float levels[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

static inline void put(float *restrict dst, float scale, const uint8_t *q, int half)
{
	for (int j = 0; j < half; j++) {
		dst[j] = scale * levels[q[j] & 15];
		dst[j + half] = scale * levels[q[j] >> 4];
	}
}

/* 2^(e-128): subnormal for e of 0 and 1; 255 is not a NaN here. */
static inline float half_of_e8m0(uint8_t e)
{
	uint32_t u = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

/* The sign bit is ignored; 0x7f, a NaN elsewhere, is zero here, and 0xff is 240 as its bits say. */
static inline float half_of_ue4m3(uint8_t x)
{
	int e = x >> 3 & 15, m = x & 7;
	if (x == 0x7f) return 0;
	return e ? ldexpf((float)(8 + m), e - 11) : ldexpf((float)m, -10);
}

void quant_dec_mxfp4(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_mxfp4 *b = src;
	for (int64_t i = 0; i < n / 32; i++, b++, dst += 32) put(dst, half_of_e8m0(b->e), b->q, 16);
}

void quant_dec_nvfp4(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_nvfp4 *b = src;
	for (int64_t i = 0; i < n / 64; i++, b++)
		for (int s = 0; s < 4; s++, dst += 16) put(dst, half_of_ue4m3(b->d[s]), b->q + 8 * s, 8);
}
