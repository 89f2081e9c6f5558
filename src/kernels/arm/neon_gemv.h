/* neon_gemv.h - GEMV of the integer types, one row at a time: included by neon_gemv.c and, compiled with the dot-product
 * instructions, by dotprod_gemv.c. */
#pragma once
#include "kernels/arm/neon.h"

INLINE float row32(const uint8_t *w, const void *x, int cols, enum dtype t)
{
	const char *p = x;
	const int8_t *xq = x;
	const float *dx = (const float *)(p + x32_d(cols)), *ds = (const float *)(p + x32_ds(cols));
	int64_t n = cols / 32;
	float part[LEAVES] = { 0 };
	unsigned has = 0;
	for (int l = 0; l < LEAVES; l++) {
		float acc = 0;
		for (int64_t b = leaf_at(l, n); b < leaf_at(l + 1, n); b++) {
			const uint8_t *blk = w + b * size32(t);
			int8x16x2_t q = codes32(blk, t);
			int32x4_t s = dot16(vdupq_n_s32(0), q.val[0], vld1q_s8(xq + 32 * b));
			s = dot16(s, q.val[1], vld1q_s8(xq + 32 * b + 16));
			acc = fmaf(f16_at(blk) * dx[b], (float)vaddvq_s32(s), acc);
			if (min32(t)) acc = fmaf(f16_at(blk + 2), ds[b], acc);
			has |= 1u << l;
		}
		part[l] = acc;
	}
	return leaf_join(part, has);
}

INLINE float row256(const uint8_t *w, const void *x, int cols, enum dtype t)
{
	const char *p = x;
	const int8_t *xq = x;
	const float *dx = (const float *)(p + x256_d(cols));
	const int16_t *s16 = (const int16_t *)(p + x256_s16(cols)), *sh = (const int16_t *)(p + x256_h(cols));
	int64_t n = cols / 256;
	float part[LEAVES] = { 0 };
	unsigned has = 0;
	for (int l = 0; l < LEAVES; l++) {
		float acc = 0;
		for (int64_t b = leaf_at(l, n); b < leaf_at(l + 1, n); b++) {
			const uint8_t *blk = w + b * size256(t);
			struct head256 h;
			int32x4_t dot = vdupq_n_s32(0);
			int min = 0;
			head256(&h, blk, t);
			for (int j = 0; j < 16; j++) {
				int32x4_t s = dot16(vdupq_n_s32(0), codes256(blk, j, t), vld1q_s8(xq + 256 * b + 16 * j));
				dot = vmlaq_n_s32(dot, s, h.sc[j] * (1 << sh[8 * b + j / 2]));
				if (min256(t)) min += h.mn[j] * s16[16 * b + j];
			}
			acc = fmaf(h.d * dx[b], (float)vaddvq_s32(dot), acc);
			if (min256(t)) acc = fmaf(-(h.dmin * dx[b]), (float)min, acc);
			has |= 1u << l;
		}
		part[l] = acc;
	}
	return leaf_join(part, has);
}

INLINE void gemv(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, enum dtype t)
{
	bool wide = t >= DT_Q2_K;
	for (int r = 0; r < rows; r++) {
		const uint8_t *row = (const uint8_t *)w + r * stride;
		__builtin_prefetch(row + stride);
		y[r] = wide ? row256(row, x, cols, t) : row32(row, x, cols, t);
	}
}

static void gemv_q4_0(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_Q4_0); }
static void gemv_q4_1(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_Q4_1); }
static void gemv_q5_0(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_Q5_0); }
static void gemv_q5_1(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_Q5_1); }
static void gemv_q8_0(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_Q8_0); }
static void gemv_q2_k(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_Q2_K); }
static void gemv_q3_k(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_Q3_K); }
static void gemv_q4_k(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_Q4_K); }
static void gemv_q5_k(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_Q5_K); }
static void gemv_q6_k(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_Q6_K); }

static inline void fill_gemv(struct kern *k)
{
	k->w[DT_Q4_0].gemv = gemv_q4_0;
	k->w[DT_Q4_1].gemv = gemv_q4_1;
	k->w[DT_Q5_0].gemv = gemv_q5_0;
	k->w[DT_Q5_1].gemv = gemv_q5_1;
	k->w[DT_Q8_0].gemv = gemv_q8_0;
	k->w[DT_Q2_K].gemv = gemv_q2_k;
	k->w[DT_Q3_K].gemv = gemv_q3_k;
	k->w[DT_Q4_K].gemv = gemv_q4_k;
	k->w[DT_Q5_K].gemv = gemv_q5_k;
	k->w[DT_Q6_K].gemv = gemv_q6_k;
}
