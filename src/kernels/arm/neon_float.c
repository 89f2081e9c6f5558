/* neon_float.c - GEMV and GEMM of the float types (DOT_F32): 16 lanes along K as four vectors.  A panel is NR rows of
 * f32, padded with zeros to whole units of 32; two rows and two tokens share their loads. */
#include "kernels/arm/neon.h"

enum { NR = 8, MR = 2 };

/* 16 elements from k on, k + 16 <= cols */
INLINE struct v16 weights16(const char *w, int k, enum dtype t)
{
	if (t == DT_F32) return v16_load(w + 4 * (size_t)k);
	if (t != DT_NF4) return v16_half(w + 2 * (size_t)k, t);
	float o[16], absmax;
	const char *blk = w + k / 64 * 36;
	memcpy(&absmax, blk, 4);
	for (int i = 0; i < 16; i += 2) {
		uint8_t v = (uint8_t)blk[4 + (k % 64 + i) / 2];
		o[i] = quant_nf4_code[v >> 4] * absmax;
		o[i + 1] = quant_nf4_code[v & 15] * absmax;
	}
	return v16_load(o);
}
/* ... and with zeros past cols */
INLINE struct v16 weights_tail(const char *w, int k, int cols, enum dtype t)
{
	char tmp[64] = { 0 };
	int size = t == DT_F32 ? 4 : 2;
	memcpy(tmp, w + (size_t)k * (size_t)size, (size_t)(cols - k) * (size_t)size);
	return weights16(tmp, 0, t);
}

INLINE float row(const char *w, const float *x, int cols, enum dtype t)
{
	int64_t n = (cols + 31) / 32;
	float part[LEAVES] = { 0 };
	unsigned has = 0;
	for (int l = 0; l < LEAVES; l++) {
		struct v16 acc = v16_zero();
		int end = (int)leaf_at(l + 1, n) * 32 < cols ? (int)leaf_at(l + 1, n) * 32 : cols;
		for (int k = (int)leaf_at(l, n) * 32; k < end; k += 16) {
			has |= 1u << l;
			if (k + 16 <= cols) acc = v16_fma(acc, weights16(w, k, t), v16_load(x + k));
			else acc = v16_fma(acc, weights_tail(w, k, cols, t), weights_tail((const char *)x, k, cols, DT_F32));
		}
		part[l] = v16_fold(acc);
	}
	return leaf_join(part, has);
}

INLINE void gemv(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, enum dtype t)
{
	for (int r = 0; r < rows; r++) y[r] = row((const char *)w + r * stride, x, cols, t);
}
static void gemv_f32(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_F32); }
static void gemv_f16(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_F16); }
static void gemv_bf16(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_BF16); }
static void gemv_nf4(float *y, const void *w, int64_t s, const void *x, int r, int c) { gemv(y, w, s, x, r, c, DT_NF4); }

/* ---- GEMM ------------------------------------------------------------------------------------------------------------ */
static size_t width(int cols) { return ((size_t)cols + 31) / 32 * 32; }
static size_t panel_bytes(int cols) { return width(cols) * NR * sizeof(float); }

INLINE void pack(void *panel, const void *w, int64_t stride, int rows, int cols, enum dtype t)
{
	float *o = panel;
	memset(o, 0, panel_bytes(cols));
	for (int r = 0; r < rows; r++)
		for (int k = 0; k < cols; k += 16) {
			const char *src = (const char *)w + r * stride;
			v16_store(o + (size_t)r * width(cols) + k, k + 16 <= cols ? weights16(src, k, t) : weights_tail(src, k, cols, t));
		}
}
static void pack_f32(void *p, const void *w, int64_t s, int r, int c) { pack(p, w, s, r, c, DT_F32); }
static void pack_f16(void *p, const void *w, int64_t s, int r, int c) { pack(p, w, s, r, c, DT_F16); }
static void pack_bf16(void *p, const void *w, int64_t s, int r, int c) { pack(p, w, s, r, c, DT_BF16); }
static void pack_nf4(void *p, const void *w, int64_t s, int r, int c) { pack(p, w, s, r, c, DT_NF4); }

/* Two rows times two tokens; out[token][row]. */
INLINE void quad(float out[2][2], const float *w0, const float *w1, const float *x0, const float *x1, int cols)
{
	int64_t n = (cols + 31) / 32;
	float part[4][LEAVES] = { { 0 } };
	unsigned has = 0;
	for (int l = 0; l < LEAVES; l++) {
		struct v16 acc[4] = { v16_zero(), v16_zero(), v16_zero(), v16_zero() };
		int end = (int)leaf_at(l + 1, n) * 32 < cols ? (int)leaf_at(l + 1, n) * 32 : cols;
		for (int k = (int)leaf_at(l, n) * 32; k < end; k += 16) {
			bool whole = k + 16 <= cols;
			struct v16 a = v16_load(w0 + k), b = v16_load(w1 + k);
			struct v16 u = whole ? v16_load(x0 + k) : weights_tail((const char *)x0, k, cols, DT_F32);
			struct v16 v = whole ? v16_load(x1 + k) : weights_tail((const char *)x1, k, cols, DT_F32);
			acc[0] = v16_fma(acc[0], a, u);
			acc[1] = v16_fma(acc[1], b, u);
			acc[2] = v16_fma(acc[2], a, v);
			acc[3] = v16_fma(acc[3], b, v);
			has |= 1u << l;
		}
		for (int i = 0; i < 4; i++) part[i][l] = v16_fold(acc[i]);
	}
	for (int i = 0; i < 4; i++) out[i / 2][i % 2] = leaf_join(part[i], has);
}

static void run(float *y, int64_t y_stride, const void *panel, const void *xp, int rows, int n_tok, int cols)
{
	const float *w = panel;
	size_t step = x_bytes(DOT_F32, cols);
	for (int t = 0; t < n_tok; t += MR)
		for (int r = 0; r < rows; r += 2) {
			int t1 = t + 1 < n_tok ? t + 1 : t, r1 = r + 1 < rows ? r + 1 : r;
			float out[2][2];
			quad(out, w + (size_t)r * width(cols), w + (size_t)r1 * width(cols), (const float *)((const char *)xp + step * (size_t)t),
			     (const float *)((const char *)xp + step * (size_t)t1), cols);
			for (int i = 0; i < 2 && t + i < n_tok; i++)
				for (int j = 0; j < 2 && r + j < rows; j++) y[(t + i) * y_stride + r + j] = out[i][j];
		}
}

void kern_neon_float(struct kern *k)
{
	static const struct kern_gemm g = { NR, MR, panel_bytes, NULL, NULL, run };
	k->w[DT_F32] = (struct kern_type){ gemv_f32, pack_f32, &g };
	k->w[DT_F16] = (struct kern_type){ gemv_f16, pack_f16, &g };
	k->w[DT_BF16] = (struct kern_type){ gemv_bf16, pack_bf16, &g };
	k->w[DT_NF4] = (struct kern_type){ gemv_nf4, pack_nf4, &g };
}
