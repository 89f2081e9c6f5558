/* half.c - numbers that stand alone: halves, bfloat16, doubles, integers. */
#include <string.h>
#include "quant/codec.h"

static inline uint32_t bits_of(float f)
{
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	return u;
}

static inline float of_bits(uint32_t u)
{
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

/* The shifted bits read as f32 are the value times 2^-112, subnormals included, so one exact product serves
 * both kinds.  A NaN is quieted, as every processor's own conversion does.  Masks and not branches, so that
 * loops vectorise. */
static inline float half_to_float(uint16_t h)
{
	int32_t a = (h & 0x7fff) << 13, special = -(a >= 0x0f800000), nan = -(a > 0x0f800000);
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, finite = bits_of(of_bits((uint32_t)a) * 0x1p112f);
	return of_bits(sign | finite | (uint32_t)(special & 0x7f800000) | (uint32_t)(nan & 0x00400000));
}

static inline uint16_t float_to_half(float f)
{
	uint32_t u = bits_of(f), a = u & 0x7fffffff, sign = u >> 16 & 0x8000;
	if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
	if (a >= 0x47800000) return (uint16_t)(sign | 0x7c00);
	/* below 2^-14: adding 0.5, whose last place is a half's smallest step, rounds where the half would */
	if (a < 0x38800000) return (uint16_t)(sign | (bits_of(of_bits(a) + 0.5f) - 0x3f000000));
	return (uint16_t)(sign | (a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13);
}

static inline uint16_t float_to_bf16(float f)
{
	uint32_t u = bits_of(f);
	if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float quant_f16_to_f32(uint16_t h)
{
	return half_to_float(h);
}

uint16_t quant_f32_to_f16(float f)
{
	return float_to_half(f);
}

uint16_t quant_f32_to_bf16(float f)
{
	return float_to_bf16(f);
}

void quant_dec_f32(float *restrict dst, const void *restrict src, int64_t n)
{
	if (n > 0) memcpy(dst, src, (size_t)n * sizeof *dst);
}

/* Unaligned element `i` of type T at `src`, widened to f32. */
#define DECODE_PLAIN(name, T, widen)                                          \
	void name(float *restrict dst, const void *restrict src, int64_t n)       \
	{                                                                         \
		const char *p = src;                                                  \
		for (int64_t i = 0; i < n; i++) {                                     \
			T v;                                                              \
			memcpy(&v, p + (size_t)i * sizeof v, sizeof v);                   \
			dst[i] = widen(v);                                                \
		}                                                                     \
	}
#define TO_FLOAT(v) ((float)(v))
DECODE_PLAIN(quant_dec_f16, uint16_t, half_to_float)
DECODE_PLAIN(quant_dec_bf16, uint16_t, quant_bf16_to_f32)
DECODE_PLAIN(quant_dec_f64, double, TO_FLOAT)
DECODE_PLAIN(quant_dec_i8, int8_t, TO_FLOAT)
DECODE_PLAIN(quant_dec_i16, int16_t, TO_FLOAT)
DECODE_PLAIN(quant_dec_i32, int32_t, TO_FLOAT)
DECODE_PLAIN(quant_dec_i64, int64_t, TO_FLOAT)

void quant_enc_f32(void *restrict dst, const float *restrict src, const float *restrict imp, int64_t n)
{
	(void)imp;
	if (n > 0) memcpy(dst, src, (size_t)n * sizeof *src);
}

#define ENCODE_PLAIN(name, T, narrow)                                                                   \
	void name(void *restrict dst, const float *restrict src, const float *restrict imp, int64_t n)      \
	{                                                                                                   \
		char *p = dst;                                                                                  \
		(void)imp;                                                                                      \
		for (int64_t i = 0; i < n; i++) {                                                               \
			T v = narrow(src[i]);                                                                       \
			memcpy(p + (size_t)i * sizeof v, &v, sizeof v);                                             \
		}                                                                                               \
	}
ENCODE_PLAIN(quant_enc_f16, uint16_t, float_to_half)
ENCODE_PLAIN(quant_enc_bf16, uint16_t, float_to_bf16)
