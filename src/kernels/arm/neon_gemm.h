/* neon_gemm.h - GEMM of the integer types for what multiplies groups of int8 at once: panels of 8 weight rows, tiles of 4 tokens.
 * 16 elements of the 8 rows are 128 bytes, in groups of GROUP elements: [16/GROUP][8 rows][GROUP].  The file that includes this has
 * GROUP, struct sums and its two functions before it.  A block of 32 (X32) is 256 bytes of codes, then d and m; a block of 256 (X256)
 * is 2 KiB of codes, 16 scales and minima per row, then d and dmin. */
#pragma once
#include "kernels/arm/neon.h"

struct panel32 { int8_t q[2][16 * NR]; float d[NR], m[NR]; };
struct panel256 { int8_t q[16][16 * NR]; int32_t sc[16][NR], mn[16][NR]; float d[NR], dmin[NR]; };

static size_t panel32_bytes(int cols) { return (size_t)cols / 32 * sizeof(struct panel32); }
static size_t panel256_bytes(int cols) { return (size_t)cols / 256 * sizeof(struct panel256); }

/* ---- pack ------------------------------------------------------------------------------------------------------------ */
INLINE void put16(int8_t q[16 * NR], int row, int8x16_t v)
{
	int8_t tmp[16];
	vst1q_s8(tmp, v);
	for (int i = 0; i < 16; i += GROUP) memcpy(q + i * NR + row * GROUP, tmp + i, GROUP);
}

INLINE void pack32(void *panel, const void *w, int64_t stride, int rows, int cols, enum dtype t)
{
	struct panel32 *o = panel;
	memset(panel, 0, panel32_bytes(cols));
	for (int r = 0; r < rows; r++)
		for (int b = 0; b < cols / 32; b++) {
			const uint8_t *blk = (const uint8_t *)w + r * stride + (int64_t)b * size32(t);
			int8x16x2_t v = codes32(blk, t);
			put16(o[b].q[0], r, v.val[0]);
			put16(o[b].q[1], r, v.val[1]);
			o[b].d[r] = f16_at(blk);
			o[b].m[r] = min32(t) ? f16_at(blk + 2) : 0;
		}
}

INLINE void pack256(void *panel, const void *w, int64_t stride, int rows, int cols, enum dtype t)
{
	struct panel256 *o = panel;
	memset(panel, 0, panel256_bytes(cols));
	for (int r = 0; r < rows; r++)
		for (int b = 0; b < cols / 256; b++) {
			const uint8_t *blk = (const uint8_t *)w + r * stride + (int64_t)b * size256(t);
			struct head256 h;
			head256(&h, blk, t);
			for (int j = 0; j < 16; j++) {
				put16(o[b].q[j], r, codes256(blk, j, t));
				o[b].sc[j][r] = h.sc[j];
				o[b].mn[j][r] = h.mn[j];
			}
			o[b].d[r] = h.d;
			o[b].dmin[r] = h.dmin;
		}
}

/* ---- run --------------------------------------------------------------------------------------------------------------- */
struct tile { float32x4_t v[MR][2]; };               /* tokens x 8 rows */
struct dots { int32x4_t v[MR][2]; };

INLINE struct tile tile_join(struct tile part[LEAVES], unsigned has)
{
	for (int s = 1; s < LEAVES; s *= 2)
		for (int i = 0; i < LEAVES; i += 2 * s) {
			if ((has >> i & 1) && (has >> (i + s) & 1)) {
				for (int k = 0; k < 2 * MR; k++) part[i].v[k / 2][k % 2] = vaddq_f32(part[i].v[k / 2][k % 2], part[i + s].v[k / 2][k % 2]);
			} else if (has >> (i + s) & 1) part[i] = part[i + s], has |= 1u << i;
		}
	return part[0];
}

/* Rows of MR tokens; a token beyond n repeats the last, its result is not stored. */
struct xrows { const char *p[MR]; int n; };
INLINE struct xrows xrows(const void *x, size_t stride, int first, int n_tok)
{
	struct xrows r = { .n = n_tok - first < MR ? n_tok - first : MR };
	for (int t = 0; t < MR; t++) r.p[t] = (const char *)x + stride * (size_t)(first + (t < r.n ? t : r.n - 1));
	return r;
}

INLINE void block32(struct tile *acc, const struct panel32 *p, const struct xrows *x, int cols, int64_t b, bool has_min)
{
	struct sums sum = { 0 };
	struct dots s;
	for (int h = 0; h < 2; h++) {
		int8x16_t v[MR];
		for (int t = 0; t < MR; t++) v[t] = vld1q_s8((const int8_t *)x->p[t] + 32 * b + 16 * h);
		dot_16(&sum, p->q[h], v);
	}
	by_token(s.v, &sum);
	for (int t = 0; t < MR; t++) {
		float dx = ((const float *)(x->p[t] + x32_d(cols)))[b], ds = ((const float *)(x->p[t] + x32_ds(cols)))[b];
		for (int k = 0; k < 2; k++) {
			acc->v[t][k] = vfmaq_f32(acc->v[t][k], vmulq_n_f32(vld1q_f32(p->d + 4 * k), dx), vcvtq_f32_s32(s.v[t][k]));
			if (has_min) acc->v[t][k] = vfmaq_n_f32(acc->v[t][k], vld1q_f32(p->m + 4 * k), ds);
		}
	}
}

INLINE void block256(struct tile *acc, const struct panel256 *p, const struct xrows *x, int cols, int64_t b, bool has_min)
{
	struct dots dot = { 0 }, min = { 0 };
	for (int j = 0; j < 16; j++) {
		struct sums sum = { 0 };
		struct dots s;
		int8x16_t v[MR];
		for (int t = 0; t < MR; t++) v[t] = vld1q_s8((const int8_t *)x->p[t] + 256 * b + 16 * j);
		dot_16(&sum, p->q[j], v);
		by_token(s.v, &sum);
		for (int t = 0; t < MR; t++) {
			int s16 = ((const int16_t *)(x->p[t] + x256_s16(cols)))[16 * b + j];
			int32x4_t h = vdupq_n_s32(((const int16_t *)(x->p[t] + x256_h(cols)))[8 * b + j / 2]);
			for (int k = 0; k < 2; k++) {
				dot.v[t][k] = vmlaq_s32(dot.v[t][k], vshlq_s32(s.v[t][k], h), vld1q_s32(&p->sc[j][4 * k]));
				if (has_min) min.v[t][k] = vmlaq_n_s32(min.v[t][k], vld1q_s32(&p->mn[j][4 * k]), s16);
			}
		}
	}
	for (int t = 0; t < MR; t++) {
		float dx = ((const float *)(x->p[t] + x256_d(cols)))[b];
		for (int k = 0; k < 2; k++) {
			acc->v[t][k] = vfmaq_f32(acc->v[t][k], vmulq_n_f32(vld1q_f32(p->d + 4 * k), dx), vcvtq_f32_s32(dot.v[t][k]));
			if (has_min) acc->v[t][k] = vfmsq_f32(acc->v[t][k], vmulq_n_f32(vld1q_f32(p->dmin + 4 * k), dx), vcvtq_f32_s32(min.v[t][k]));
		}
	}
}

INLINE void run(float *y, int64_t y_stride, const void *panel, const void *xp, int rows, int n_tok, int cols, bool wide, bool has_min)
{
	int64_t n = wide ? cols / 256 : cols / 32;
	for (int first = 0; first < n_tok; first += MR) {
		struct xrows x = xrows(xp, wide ? x256_bytes(cols) : x32_bytes(cols), first, n_tok);
		struct tile part[LEAVES];
		unsigned has = 0;
		for (int l = 0; l < LEAVES; l++) {
			struct tile acc = { 0 };
			for (int64_t b = leaf_at(l, n); b < leaf_at(l + 1, n); b++) {
				if (wide) block256(&acc, (const struct panel256 *)panel + b, &x, cols, b, has_min);
				else block32(&acc, (const struct panel32 *)panel + b, &x, cols, b, has_min);
				has |= 1u << l;
			}
			part[l] = acc;
		}
		struct tile out = tile_join(part, has);
		for (int t = 0; t < x.n; t++) {
			float row[NR];
			vst1q_f32(row, out.v[t][0]);
			vst1q_f32(row + 4, out.v[t][1]);
			memcpy(y + (first + t) * y_stride, row, (size_t)rows * sizeof *row);
		}
	}
}

static void run32(float *y, int64_t s, const void *p, const void *x, int r, int n, int c) { run(y, s, p, x, r, n, c, false, false); }
static void run32m(float *y, int64_t s, const void *p, const void *x, int r, int n, int c) { run(y, s, p, x, r, n, c, false, true); }
static void run256(float *y, int64_t s, const void *p, const void *x, int r, int n, int c) { run(y, s, p, x, r, n, c, true, false); }
static void run256m(float *y, int64_t s, const void *p, const void *x, int r, int n, int c) { run(y, s, p, x, r, n, c, true, true); }

static void pack_q4_0(void *p, const void *w, int64_t s, int r, int c) { pack32(p, w, s, r, c, DT_Q4_0); }
static void pack_q4_1(void *p, const void *w, int64_t s, int r, int c) { pack32(p, w, s, r, c, DT_Q4_1); }
static void pack_q5_0(void *p, const void *w, int64_t s, int r, int c) { pack32(p, w, s, r, c, DT_Q5_0); }
static void pack_q5_1(void *p, const void *w, int64_t s, int r, int c) { pack32(p, w, s, r, c, DT_Q5_1); }
static void pack_q8_0(void *p, const void *w, int64_t s, int r, int c) { pack32(p, w, s, r, c, DT_Q8_0); }
static void pack_q2_k(void *p, const void *w, int64_t s, int r, int c) { pack256(p, w, s, r, c, DT_Q2_K); }
static void pack_q3_k(void *p, const void *w, int64_t s, int r, int c) { pack256(p, w, s, r, c, DT_Q3_K); }
static void pack_q4_k(void *p, const void *w, int64_t s, int r, int c) { pack256(p, w, s, r, c, DT_Q4_K); }
static void pack_q5_k(void *p, const void *w, int64_t s, int r, int c) { pack256(p, w, s, r, c, DT_Q5_K); }
static void pack_q6_k(void *p, const void *w, int64_t s, int r, int c) { pack256(p, w, s, r, c, DT_Q6_K); }

INLINE void fill_gemm(struct kern *k)
{
	static const struct kern_gemm g32 = { NR, MR, panel32_bytes, NULL, NULL, run32 }, g32m = { NR, MR, panel32_bytes, NULL, NULL, run32m },
	                              g256 = { NR, MR, panel256_bytes, NULL, NULL, run256 }, g256m = { NR, MR, panel256_bytes, NULL, NULL, run256m };
	static const struct { enum dtype t; kern_pack *pack; const struct kern_gemm *gemm; } table[] = {
		{ DT_Q4_0, pack_q4_0, &g32 },  { DT_Q4_1, pack_q4_1, &g32m },  { DT_Q5_0, pack_q5_0, &g32 },   { DT_Q5_1, pack_q5_1, &g32m },
		{ DT_Q8_0, pack_q8_0, &g32 },  { DT_Q2_K, pack_q2_k, &g256m }, { DT_Q3_K, pack_q3_k, &g256 },  { DT_Q4_K, pack_q4_k, &g256m },
		{ DT_Q5_K, pack_q5_k, &g256m }, { DT_Q6_K, pack_q6_k, &g256 },
	};
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		k->w[table[i].t].pack = table[i].pack;
		k->w[table[i].t].gemm = table[i].gemm;
	}
}
