/* legacy.c - blocks of 32 elements with one scale (and one minimum): Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q8_1.
 * GOTCHAS: byte j of a 4-bit block holds elements j (low nibble) and j+16 (high), not neighbours.
 * A minimum is added after the product is rounded; the encoders round as the `gguf` package does. */
#include <math.h>
#include <string.h>
#include "quant/codec.h"

void quant_dec_q4_0(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q4_0 *b = src;
	for (int64_t i = 0; i < n / 32; i++, b++, dst += 32) {
		float d = quant_f16_to_f32(b->d);
		for (int j = 0; j < 16; j++) dst[j] = d * (float)((b->q[j] & 15) - 8);
		for (int j = 0; j < 16; j++) dst[j + 16] = d * (float)((b->q[j] >> 4) - 8);
	}
}

void quant_dec_q4_1(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q4_1 *b = src;
	for (int64_t i = 0; i < n / 32; i++, b++, dst += 32) {
		float d = quant_f16_to_f32(b->d), m = quant_f16_to_f32(b->m);
		for (int j = 0; j < 16; j++) dst[j] = d * (float)(b->q[j] & 15) + m;
		for (int j = 0; j < 16; j++) dst[j + 16] = d * (float)(b->q[j] >> 4) + m;
	}
}

/* The 32 five-bit values of a block: nibbles in q, fifth bits in h. */
static inline void unpack5(int8_t v[32], const uint8_t q[16], const uint8_t h[4])
{
	uint32_t hi;
	memcpy(&hi, h, sizeof hi);
	for (int j = 0; j < 16; j++) {
		v[j] = (int8_t)((q[j] & 15) | (int)(hi >> j & 1) << 4);
		v[j + 16] = (int8_t)(q[j] >> 4 | (int)(hi >> (j + 16) & 1) << 4);
	}
}

void quant_dec_q5_0(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q5_0 *b = src;
	for (int64_t i = 0; i < n / 32; i++, b++, dst += 32) {
		float d = quant_f16_to_f32(b->d);
		int8_t v[32];
		unpack5(v, b->q, b->h);
		for (int j = 0; j < 32; j++) dst[j] = d * (float)(v[j] - 16);
	}
}

void quant_dec_q5_1(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q5_1 *b = src;
	for (int64_t i = 0; i < n / 32; i++, b++, dst += 32) {
		float d = quant_f16_to_f32(b->d), m = quant_f16_to_f32(b->m);
		int8_t v[32];
		unpack5(v, b->q, b->h);
		for (int j = 0; j < 32; j++) dst[j] = d * (float)v[j] + m;
	}
}

void quant_dec_q8_0(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q8_0 *b = src;
	for (int64_t i = 0; i < n / 32; i++, b++, dst += 32) {
		float d = quant_f16_to_f32(b->d);
		for (int j = 0; j < 32; j++) dst[j] = d * (float)b->q[j];
	}
}

void quant_dec_q8_1(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_q8_1 *b = src;
	for (int64_t i = 0; i < n / 32; i++, b++, dst += 32) {
		float d = quant_f16_to_f32(b->d);
		for (int j = 0; j < 32; j++) dst[j] = d * (float)b->q[j];
	}
}

/* ---- encoders ----------------------------------------------------------------------------------------- */

/* v cut to an integer of lo..hi; a NaN (from a NaN weight, or 0 * inf when 1/d overflows) becomes lo. */
static inline int cut(float v, int lo, int hi)
{
	v = v > (float)lo ? v : (float)lo;
	return (int)(v < (float)hi ? v : (float)hi);
}

/* Nearest integer, ties away from zero, of lo..hi. */
static inline int nearest(float v, int lo, int hi)
{
	int i = cut(v, lo, hi);
	float rest = v - (float)i;
	i += (rest >= 0.5f) - (rest <= -0.5f);
	return i > hi ? hi : i < lo ? lo : i;
}

static inline float reciprocal(float d)
{
	return d == 0 ? 0 : 1 / d;
}

/* The element of the largest magnitude, with its sign; the first of equals; the first NaN if there is one. */
static float extreme(const float *x)
{
	float best = x[0];
	for (int j = 1; j < 32 && best == best; j++)
		if (!(fabsf(x[j]) <= fabsf(best))) best = x[j];
	return best;
}

static void range(const float *x, float *lo, float *hi)
{
	*lo = *hi = x[0];
	for (int j = 1; j < 32; j++) {
		if (!(x[j] >= *lo)) *lo = x[j];
		if (!(x[j] <= *hi)) *hi = x[j];
		if (x[j] != x[j]) return;
	}
}

static void pack4(uint8_t q[16], const int v[32])
{
	for (int j = 0; j < 16; j++) q[j] = (uint8_t)((v[j] & 15) | (v[j + 16] & 15) << 4);
}

static void pack_fifth(uint8_t h[4], const int v[32])
{
	uint32_t hi = 0;
	for (int j = 0; j < 32; j++) hi |= (uint32_t)(v[j] >> 4 & 1) << j;
	memcpy(h, &hi, sizeof hi);
}

void quant_enc_q4_0(void *restrict dst, const float *restrict src, const float *restrict imp, int64_t n)
{
	struct block_q4_0 *b = dst;
	(void)imp;
	for (int64_t i = 0; i < n / 32; i++, b++, src += 32) {
		float d = extreme(src) / -8, id = reciprocal(d);
		int v[32];
		for (int j = 0; j < 32; j++) v[j] = cut(src[j] * id + 8.5f, 0, 15);
		b->d = quant_f32_to_f16(d);
		pack4(b->q, v);
	}
}

void quant_enc_q4_1(void *restrict dst, const float *restrict src, const float *restrict imp, int64_t n)
{
	struct block_q4_1 *b = dst;
	(void)imp;
	for (int64_t i = 0; i < n / 32; i++, b++, src += 32) {
		float lo, hi;
		range(src, &lo, &hi);
		float d = (hi - lo) / 15, id = reciprocal(d);
		int v[32];
		for (int j = 0; j < 32; j++) v[j] = cut((src[j] - lo) * id + 0.5f, 0, 15);
		b->d = quant_f32_to_f16(d);
		b->m = quant_f32_to_f16(lo);
		pack4(b->q, v);
	}
}

void quant_enc_q5_0(void *restrict dst, const float *restrict src, const float *restrict imp, int64_t n)
{
	struct block_q5_0 *b = dst;
	(void)imp;
	for (int64_t i = 0; i < n / 32; i++, b++, src += 32) {
		float d = extreme(src) / -16, id = reciprocal(d);
		int v[32];
		for (int j = 0; j < 32; j++) v[j] = cut(src[j] * id + 16.5f, 0, 31);
		b->d = quant_f32_to_f16(d);
		pack4(b->q, v);
		pack_fifth(b->h, v);
	}
}

void quant_enc_q5_1(void *restrict dst, const float *restrict src, const float *restrict imp, int64_t n)
{
	struct block_q5_1 *b = dst;
	(void)imp;
	for (int64_t i = 0; i < n / 32; i++, b++, src += 32) {
		float lo, hi;
		range(src, &lo, &hi);
		float d = (hi - lo) / 31, id = reciprocal(d);
		int v[32];
		for (int j = 0; j < 32; j++) v[j] = cut((src[j] - lo) * id + 0.5f, 0, 31);
		b->d = quant_f32_to_f16(d);
		b->m = quant_f32_to_f16(lo);
		pack4(b->q, v);
		pack_fifth(b->h, v);
	}
}

void quant_enc_q8_0(void *restrict dst, const float *restrict src, const float *restrict imp, int64_t n)
{
	struct block_q8_0 *b = dst;
	(void)imp;
	for (int64_t i = 0; i < n / 32; i++, b++, src += 32) {
		float d = fabsf(extreme(src)) / 127, id = reciprocal(d);
		for (int j = 0; j < 32; j++) b->q[j] = (int8_t)nearest(src[j] * id, -127, 127);
		b->d = quant_f32_to_f16(d);
	}
}
