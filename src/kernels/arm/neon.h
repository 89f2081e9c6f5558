/* neon.h - what the NEON kernels share: blocks as signed codes, integer dots, the leaf walk, exp.  Only static inline
 * code; files named dotprod_* compile it with the dot-product instructions. */
#pragma once
#include <arm_neon.h>
#include "kernels/kern.h"

#define INLINE static inline __attribute__((always_inline))

INLINE float f16_at(const void *p)
{
	__fp16 h;
	memcpy(&h, p, sizeof h);
	return (float)h;
}

/* acc + dot products of four neighbours each (of eight, in the base instruction set: only the total counts). */
INLINE int32x4_t dot16(int32x4_t acc, int8x16_t a, int8x16_t b)
{
#if defined(__ARM_FEATURE_DOTPROD)
	return vdotq_s32(acc, a, b);
#else
	acc = vpadalq_s16(acc, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
	return vpadalq_s16(acc, vmull_high_s8(a, b));
#endif
}

/* ---- DOT_X32: 32 signed codes of a block ------------------------------------------------------------------------- */
INLINE int size32(enum dtype t)
{
	return t == DT_Q4_0 ? 18 : t == DT_Q4_1 ? 20 : t == DT_Q5_0 ? 22 : t == DT_Q5_1 ? 24 : 34;
}
INLINE bool min32(enum dtype t) { return t == DT_Q4_1 || t == DT_Q5_1; }

/* 16 where bit i of the 16 bits at p is set, for byte i */
INLINE uint8x16_t fifth_bits(const uint8_t *p)
{
	static const uint8_t bit[16] = { 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128 };
	uint8x16_t v = vcombine_u8(vdup_n_u8(p[0]), vdup_n_u8(p[1]));
	return vandq_u8(vtstq_u8(v, vld1q_u8(bit)), vdupq_n_u8(16));
}
INLINE int8x16x2_t codes32(const uint8_t *p, enum dtype t)
{
	if (t == DT_Q8_0) return (int8x16x2_t){ { vld1q_s8((const int8_t *)p + 2), vld1q_s8((const int8_t *)p + 18) } };
	int at = min32(t) ? 4 : 2;
	bool five = t == DT_Q5_0 || t == DT_Q5_1;
	uint8x16_t v = vld1q_u8(p + at + (five ? 4 : 0)), lo = vandq_u8(v, vdupq_n_u8(15)), hi = vshrq_n_u8(v, 4);
	if (five) {
		lo = vorrq_u8(lo, fifth_bits(p + at));
		hi = vorrq_u8(hi, fifth_bits(p + at + 2));
	}
	int8x16_t zero = vdupq_n_s8(t == DT_Q4_0 ? 8 : t == DT_Q5_0 ? 16 : 0);
	return (int8x16x2_t){ { vsubq_s8(vreinterpretq_s8_u8(lo), zero), vsubq_s8(vreinterpretq_s8_u8(hi), zero) } };
}

/* ---- DOT_X256 ------------------------------------------------------------------------------------------------------- */
INLINE int size256(enum dtype t)
{
	return t == DT_Q2_K ? 84 : t == DT_Q3_K ? 110 : t == DT_Q4_K ? 144 : t == DT_Q5_K ? 176 : 210;
}
INLINE bool min256(enum dtype t) { return t == DT_Q2_K || t == DT_Q4_K || t == DT_Q5_K; }
INLINE uint8x16_t shift_right(uint8x16_t v, int n) { return vshlq_u8(v, vdupq_n_s8((int8_t)-n)); }

/* Signed codes of elements [16 j, 16 j + 16). */
INLINE int8x16_t codes256(const uint8_t *p, int j, enum dtype t)
{
	int i = j / 2, h = j % 2 * 16;               /* group of 32, half of it */
	uint8x16_t v, one = vdupq_n_u8(1), two = vdupq_n_u8(3);
	if (t == DT_Q4_K || t == DT_Q5_K) {
		v = vandq_u8(shift_right(vld1q_u8(p + (t == DT_Q4_K ? 16 : 48) + 32 * (i / 2) + h), i % 2 * 4), vdupq_n_u8(15));
		if (t == DT_Q5_K) v = vorrq_u8(v, vshlq_n_u8(vandq_u8(shift_right(vld1q_u8(p + 16 + h), i), one), 4));
		return vreinterpretq_s8_u8(v);
	}
	if (t == DT_Q6_K) {
		v = vandq_u8(shift_right(vld1q_u8(p + 64 * (i / 4) + 32 * (i % 2) + h), i % 4 / 2 * 4), vdupq_n_u8(15));
		v = vorrq_u8(v, vshlq_n_u8(vandq_u8(shift_right(vld1q_u8(p + 128 + 32 * (i / 4) + h), i % 4 * 2), two), 4));
		return vsubq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8(32));
	}
	v = vandq_u8(shift_right(vld1q_u8(p + (t == DT_Q2_K ? 16 : 32) + 32 * (i / 4) + h), i % 4 * 2), two);
	if (t == DT_Q2_K) return vreinterpretq_s8_u8(v);
	v = vorrq_u8(v, vshlq_n_u8(vandq_u8(shift_right(vld1q_u8(p + h), i), one), 2));
	return vsubq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8(4));
}

/* Scales and minima of the 16 sub-blocks of 16, and where d and dmin are. */
struct head256 { int sc[16], mn[16]; float d, dmin; };
INLINE void k4_scale(const uint8_t *s, int j, int *sc, int *mn)
{
	*sc = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
	*mn = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6) << 4;
}
INLINE void head256(struct head256 *o, const uint8_t *p, enum dtype t)
{
	int at = t == DT_Q2_K ? 80 : t == DT_Q3_K ? 108 : t == DT_Q6_K ? 208 : 0;
	o->d = f16_at(p + at);
	o->dmin = min256(t) ? f16_at(p + at + 2) : 0;
	for (int j = 0; j < 16; j++) {
		o->mn[j] = 0;
		if (t == DT_Q2_K) o->sc[j] = p[j] & 15, o->mn[j] = p[j] >> 4;
		else if (t == DT_Q6_K) o->sc[j] = (int8_t)p[192 + j];
		else if (t == DT_Q3_K) o->sc[j] = ((j < 8 ? p[96 + j] & 15 : p[88 + j] >> 4) | (p[104 + j % 4] >> (j / 4 * 2) & 3) << 4) - 32;
		else k4_scale(p + 4, j / 2, &o->sc[j], &o->mn[j]);
	}
}

/* ---- 16 lanes as four vectors ----------------------------------------------------------------------------------------- */
struct v16 { float32x4_t v[4]; };
INLINE struct v16 v16_zero(void) { return (struct v16){ { vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0) } }; }
/* Four floats at any address: weights have no alignment. */
INLINE float32x4_t load4(const void *p) { return vreinterpretq_f32_u8(vld1q_u8(p)); }
INLINE struct v16 v16_load(const void *p)
{
	const char *c = p;
	return (struct v16){ { load4(c), load4(c + 16), load4(c + 32), load4(c + 48) } };
}
INLINE void v16_store(float *p, struct v16 a)
{
	for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, a.v[i]);
}
INLINE struct v16 v16_fma(struct v16 acc, struct v16 a, struct v16 b)
{
	for (int i = 0; i < 4; i++) acc.v[i] = vfmaq_f32(acc.v[i], a.v[i], b.v[i]);
	return acc;
}
INLINE float v16_fold(struct v16 a)
{
	float32x4_t s = vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3]));
	float32x2_t t = vadd_f32(vget_low_f32(s), vget_high_f32(s));
	return vget_lane_f32(t, 0) + vget_lane_f32(t, 1);
}
/* 16 f16 or bf16 at p, as f32 */
INLINE struct v16 v16_half(const void *p, enum dtype t)
{
	struct v16 o;
	uint16x8_t a = vreinterpretq_u16_u8(vld1q_u8(p)), b = vreinterpretq_u16_u8(vld1q_u8((const uint8_t *)p + 16));
	if (t == DT_F16) {
		o.v[0] = vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(a)));
		o.v[1] = vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(a)));
		o.v[2] = vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(b)));
		o.v[3] = vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(b)));
	} else {
		o.v[0] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(a), 16));
		o.v[1] = vreinterpretq_f32_u32(vshll_high_n_u16(a, 16));
		o.v[2] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(b), 16));
		o.v[3] = vreinterpretq_f32_u32(vshll_high_n_u16(b, 16));
	}
	return o;
}

/* lm_expf of exact.h on four lanes */
INLINE float32x4_t exp4(float32x4_t x)
{
	float32x4_t n = vrndnq_f32(vmulq_f32(x, vdupq_n_f32(EXP_LOG2E)));
	float32x4_t r = vfmaq_f32(x, n, vdupq_n_f32(-EXP_LN2HI));
	r = vfmaq_f32(r, n, vdupq_n_f32(-EXP_LN2LO));
	float32x4_t p = vdupq_n_f32(EXP_P0);
	p = vfmaq_f32(vdupq_n_f32(EXP_P1), p, r);
	p = vfmaq_f32(vdupq_n_f32(EXP_P2), p, r);
	p = vfmaq_f32(vdupq_n_f32(EXP_P3), p, r);
	p = vfmaq_f32(vdupq_n_f32(EXP_P4), p, r);
	p = vfmaq_f32(vdupq_n_f32(EXP_P5), p, r);
	p = vaddq_f32(vfmaq_f32(r, p, vmulq_f32(r, r)), vdupq_n_f32(1));
	int32x4_t i = vcvtq_s32_f32(n), h = vshrq_n_s32(i, 1), bias = vdupq_n_s32(127);
	float32x4_t a = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(h, bias), 23));
	float32x4_t b = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vsubq_s32(i, h), bias), 23));
	float32x4_t y = vmulq_f32(vmulq_f32(p, a), b);
	y = vbslq_f32(vcgtq_f32(x, vdupq_n_f32(EXP_HI)), vdupq_n_f32(INFINITY), y);
	y = vbslq_f32(vcltq_f32(x, vdupq_n_f32(EXP_LO)), vdupq_n_f32(0), y);
	return vbslq_f32(vceqq_f32(x, x), y, x);
}

void kern_neon_gemv(struct kern *k);
void kern_neon_rows(struct kern *k);
void kern_neon_float(struct kern *k);
void kern_dotprod_gemv(struct kern *k);
void kern_dotprod_gemm(struct kern *k);
void kern_i8mm_gemm(struct kern *k);
