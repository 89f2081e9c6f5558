/* iq.c - the IQ formats: elements are rows of a codebook (grid) with signs, or 16 uneven levels (IQ4).
 * GOTCHAS: the order of the f32 roundings is d * (0.5 + s), then * 0.25 (IQ2) or * 0.5 (IQ3_XXS), then the
 * element; seven sign bits stand for eight signs, whose number of minuses is even; IQ1_M keeps the four
 * nibbles of its f16 scale on top of its four words of sub-scales. */
#include <string.h>
#include "quant/codec.h"
#include "quant/iq_tables.h"

/* Eight two-bit codes, one to a byte. */
static inline uint64_t spread(uint16_t codes)
{
	uint64_t x = codes;
	x = (x | x << 24) & 0x000000ff000000ff;
	x = (x | x << 12) & 0x000f000f000f000f;
	return (x | x << 6) & 0x0303030303030303;
}

/* Codes 0 1 2 are the levels 8 25 43 of the IQ2 grids; no byte carries. */
static inline uint64_t iq2_levels(uint16_t codes)
{
	uint64_t c = spread(codes);
	return 0x0808080808080808 + c * 17 + (c >> 1 & 0x0101010101010101);
}

static inline unsigned eight_signs(uint32_t seven)
{
	seven &= 127;
	return seven | (unsigned)__builtin_parity(seven) << 7;
}

/* Eight elements: scale * byte j of row, negated where bit j of signs is set. */
static inline void put(float *restrict dst, float scale, uint64_t row, unsigned signs)
{
	for (int j = 0; j < 8; j++) {
		float v = scale * (float)(int)(row >> (8 * j) & 255);
		uint32_t u;
		memcpy(&u, &v, sizeof u);
		u ^= (uint32_t)(signs >> j & 1) << 31;
		memcpy(&dst[j], &u, sizeof u);
	}
}

void quant_dec_iq2_xxs(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_iq2_xxs *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d);
		for (int s = 0; s < 8; s++) {
			uint32_t index = b->q[2 * s], signs = b->q[2 * s + 1];
			float db = d * (0.5f + (float)(signs >> 28)) * 0.25f;
			for (int k = 0; k < 4; k++, dst += 8)
				put(dst, db, iq2_levels(iq2_xxs_grid[index >> (8 * k) & 255]), eight_signs(signs >> (7 * k)));
		}
	}
}

/* Scale of the IQ2 kinds that have one nibble per 16 elements. */
static inline float iq2_scale(float d, const uint8_t sc[8], int s)
{
	return d * (0.5f + (float)(sc[s / 2] >> (s % 2 * 4) & 15)) * 0.25f;
}

void quant_dec_iq2_xs(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_iq2_xs *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d);
		for (int g = 0; g < 32; g++, dst += 8) {
			unsigned q = b->q[g];
			put(dst, iq2_scale(d, b->sc, g / 2), iq2_levels(iq2_xs_grid[q & 511]), eight_signs(q >> 9));
		}
	}
}

void quant_dec_iq2_s(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_iq2_s *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d);
		for (int g = 0; g < 32; g++, dst += 8) {
			int index = b->q[g] | (b->h[g / 4] >> (g % 4 * 2) & 3) << 8;
			put(dst, iq2_scale(d, b->sc, g / 2), iq2_levels(iq2_s_grid[index]), b->signs[g]);
		}
	}
}

void quant_dec_iq3_xxs(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_iq3_xxs *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d);
		const uint8_t *q = b->q;
		for (int s = 0; s < 8; s++) {
			uint32_t signs = b->s[s];
			float db = d * (0.5f + (float)(signs >> 28)) * 0.5f;
			for (int k = 0; k < 4; k++, dst += 8, q += 2) {
				uint64_t row = iq3_xxs_grid[q[0]] | (uint64_t)iq3_xxs_grid[q[1]] << 32;
				put(dst, db, row, eight_signs(signs >> (7 * k)));
			}
		}
	}
}

void quant_dec_iq3_s(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_iq3_s *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d);
		for (int g = 0; g < 32; g++, dst += 8) {
			int s = g / 4, high = b->h[s] >> (g % 4 * 2);
			float db = d * (float)(1 + 2 * (b->sc[s / 2] >> (s % 2 * 4) & 15));
			uint64_t row = iq3_s_grid[b->q[2 * g] | (high & 1) << 8];
			row |= (uint64_t)iq3_s_grid[b->q[2 * g + 1] | (high & 2) << 7] << 32;
			put(dst, db, row, b->signs[g]);
		}
	}
}

/* Eight elements of IQ1: (-1, 0 or 1, plus delta) * scale. */
static inline void put_iq1(float *restrict dst, float scale, float delta, uint16_t codes)
{
	uint64_t c = spread(codes);
	for (int j = 0; j < 8; j++) dst[j] = scale * ((float)((int)(c >> (8 * j) & 3) - 1) + delta);
}

void quant_dec_iq1_s(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_iq1_s *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d);
		for (int s = 0; s < 8; s++) {
			unsigned h = b->h[s];
			float dl = d * (float)(2 * (h >> 12 & 7) + 1), delta = h & 0x8000 ? -0.125f : 0.125f;
			for (int k = 0; k < 4; k++, dst += 8)
				put_iq1(dst, dl, delta, iq1_grid[b->q[4 * s + k] | (h >> (3 * k) & 7) << 8]);
		}
	}
}

void quant_dec_iq1_m(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_iq1_m *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		unsigned h = 0;
		for (int k = 0; k < 4; k++) h |= (unsigned)(b->sc[k] >> 12) << (4 * k);
		float d = quant_f16_to_f32((uint16_t)h);
		for (int g = 0; g < 32; g++, dst += 8) {
			int s = g / 2, high = b->h[g / 2] >> (g % 2 * 4);
			float dl = d * (float)(2 * (b->sc[s / 4] >> (s % 4 * 3) & 7) + 1);
			put_iq1(dst, dl, high & 8 ? -0.125f : 0.125f, iq1_grid[b->q[g] | (high & 7) << 8]);
		}
	}
}

static const float iq4_levels[16] = {
	-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
};

/* 32 elements of 16 bytes: low nibbles, then high nibbles. */
static inline void put_iq4(float *restrict dst, float scale, const uint8_t q[16])
{
	for (int j = 0; j < 16; j++) {
		dst[j] = scale * iq4_levels[q[j] & 15];
		dst[j + 16] = scale * iq4_levels[q[j] >> 4];
	}
}

void quant_dec_iq4_nl(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_iq4_nl *b = src;
	for (int64_t i = 0; i < n / 32; i++, b++, dst += 32) put_iq4(dst, quant_f16_to_f32(b->d), b->q);
}

void quant_dec_iq4_xs(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_iq4_xs *b = src;
	for (int64_t i = 0; i < n / 256; i++, b++) {
		float d = quant_f16_to_f32(b->d);
		for (int s = 0; s < 8; s++, dst += 32) {
			int low = b->sc_l[s / 2] >> (s % 2 * 4) & 15, high = b->sc_h >> (2 * s) & 3;
			put_iq4(dst, d * (float)((low | high << 4) - 32), b->q + 16 * s);
		}
	}
}
