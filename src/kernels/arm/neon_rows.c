/* neon_rows.c - activation rows, the exp-based activations and attention.  The plain row functions (norm, add, rope) are
 * left to c.c: on this architecture fmaf is one instruction and the compiler vectorises them. */
#include "kernels/arm/neon.h"

/* ---- quantisers --------------------------------------------------------------------------------------------------------- */
INLINE float abs_max(const float *x, int n)
{
	uint32x4_t m = vdupq_n_u32(0), mask = vdupq_n_u32(0x7fffffff);
	for (int i = 0; i < n; i += 4) m = vmaxq_u32(m, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), mask));
	uint32_t max = vmaxvq_u32(m);
	float a;
	memcpy(&a, &max, 4);
	return a;
}

/* q = nearest-even int of x * id */
INLINE void codes(int8_t *q, const float *x, int n, float id)
{
	for (int i = 0; i < n; i += 16) {
		int32x4_t v[4];
		for (int j = 0; j < 4; j++) v[j] = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i + 4 * j), id));
		int16x8_t lo = vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1])), hi = vcombine_s16(vmovn_s32(v[2]), vmovn_s32(v[3]));
		vst1q_s8(q + i, vcombine_s8(vmovn_s16(lo), vmovn_s16(hi)));
	}
}

INLINE float quant_block(int8_t *q, const float *x, int n)
{
	float a = abs_max(x, n);
	if (!(a >= X_TINY && a < INFINITY)) {
		memset(q, 0, (size_t)n);
		return a < X_TINY ? 0 : a;
	}
	codes(q, x, n, 127.0f / a);
	return a / 127.0f;
}

INLINE float quant_block256(int8_t *q, int16_t *h, const float *x)
{
	float a = abs_max(x, 256);
	memset(q, 0, 256);
	memset(h, 0, 8 * sizeof *h);
	if (!(a >= X_TINY && a < INFINITY)) return a < X_TINY ? 0 : a;
	for (int j = 0; j < 8; j++) {
		float b = abs_max(x + 32 * j, 32);
		int e = b * 8 <= a ? 3 : b * 4 <= a ? 2 : b * 2 <= a ? 1 : 0;
		codes(q + 32 * j, x + 32 * j, 32, 127.0f / a * (float)(1 << e));
		h[j] = (int16_t)(3 - e);
	}
	return a / 127.0f * 0.125f;
}

static void quant_x32(void *dst, const float *x, int n)
{
	char *p = dst;
	int8_t *q = dst;
	float *d = (float *)(p + x32_d(n)), *ds = (float *)(p + x32_ds(n));
	int32_t *sum = (int32_t *)(p + x32_sum(n));
	for (int b = 0; b < n / 32; b++) {
		d[b] = quant_block(q + 32 * b, x + 32 * b, 32);
		sum[b] = vaddlvq_s8(vld1q_s8(q + 32 * b)) + vaddlvq_s8(vld1q_s8(q + 32 * b + 16));
		ds[b] = d[b] * (float)sum[b];
	}
}

static void quant_x256(void *dst, const float *x, int n)
{
	char *p = dst;
	int8_t *q = dst;
	float *d = (float *)(p + x256_d(n));
	int16_t *s16 = (int16_t *)(p + x256_s16(n)), *s32 = (int16_t *)(p + x256_s32(n));
	int16_t *h = (int16_t *)(p + x256_h(n));
	for (int b = 0; b < n / 256; b++) d[b] = quant_block256(q + 256 * b, h + 8 * b, x + 256 * b);
	for (int j = 0; j < n / 16; j++) s16[j] = (int16_t)(vaddlvq_s8(vld1q_s8(q + 16 * j)) * (1 << h[j / 2]));
	for (int j = 0; j < n / 32; j++) s32[j] = (int16_t)(s16[2 * j] + s16[2 * j + 1]);
}

/* ---- attention -------------------------------------------------------------------------------------------------------------- */
INLINE struct v16 scale16(struct v16 a, struct v16 b)
{
	for (int i = 0; i < 4; i++) a.v[i] = vmulq_f32(a.v[i], b.v[i]);
	return a;
}
INLINE struct v16 bytes16(int8x16_t v)
{
	struct v16 o;
	int16x8_t lo = vmovl_s8(vget_low_s8(v)), hi = vmovl_high_s8(v);
	o.v[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo)));
	o.v[1] = vcvtq_f32_s32(vmovl_high_s16(lo));
	o.v[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi)));
	o.v[3] = vcvtq_f32_s32(vmovl_high_s16(hi));
	return o;
}

/* Keys of 16 positions at dimension d of half h. */
INLINE struct v16 key16(const char *kb, int h, int d, enum dtype t, int dim)
{
	if (t == DT_F32) return v16_load((const float *)(const void *)kb + (h * dim + d) * 16);
	if (t != DT_Q8_0) return v16_half(kb + (size_t)((h * dim + d) * 16) * 2, t);
	int8x16x4_t q = vld4q_s8((const int8_t *)kb + h * dim * 16 + d / 4 * 64);
	const float *scale = (const float *)(const void *)(kb + (size_t)dim * 32) + h * (dim / 32) * 16 + d / 32 * 16;
	return scale16(bytes16(q.val[d % 4]), v16_load(scale));
}

INLINE void score(float *s, const float *q, int n_q, const void *const *kb, int n_block, enum dtype t, int dim, float scale)
{
	for (int b = 0; b < n_block; b++)
		for (int h = 0; h < 2; h++)
			for (int i = 0; i < n_q; i += 4) {          /* four queries share the keys */
				struct v16 acc[4] = { v16_zero(), v16_zero(), v16_zero(), v16_zero() };
				int m = n_q - i < 4 ? n_q - i : 4;
				for (int d = 0; d < dim; d++) {
					struct v16 k = key16(kb[b], h, d, t, dim);
					for (int j = 0; j < 4; j++) {
						float x = q[(i + (j < m ? j : 0)) * dim + d];
						for (int c = 0; c < 4; c++) acc[j].v[c] = vfmaq_n_f32(acc[j].v[c], k.v[c], x);
					}
				}
				for (int j = 0; j < m; j++)
					for (int c = 0; c < 4; c++)
						vst1q_f32(s + (i + j) * KV_CHUNK + b * KV_BLOCK + h * 16 + 4 * c, vmulq_n_f32(acc[j].v[c], scale));
			}
}

static void attn_score(float *s, const float *q, int n_q, const void *const *kb, int n_block, enum dtype t, int dim, float scale, float cap)
{
	if (t == DT_F32) score(s, q, n_q, kb, n_block, DT_F32, dim, scale);
	else if (t == DT_F16) score(s, q, n_q, kb, n_block, DT_F16, dim, scale);
	else if (t == DT_BF16) score(s, q, n_q, kb, n_block, DT_BF16, dim, scale);
	else score(s, q, n_q, kb, n_block, DT_Q8_0, dim, scale);
	if (cap > 0)
		for (int i = 0; i < n_q; i++)
			for (int p = 0; p < n_block * KV_BLOCK; p++) s[i * KV_CHUNK + p] = cap * lm_tanhf(s[i * KV_CHUNK + p] / cap);
}

static void attn_soft(float *s, int lo, int hi, float *m, float *l)
{
	float max = -INFINITY;
	for (int i = lo; i < hi; i++) max = s[i] > max ? s[i] : max;
	struct v16 acc = v16_zero();
	for (int i = 0; i < lo; i++) s[i] = -INFINITY;
	for (int i = hi; i < KV_CHUNK; i++) s[i] = -INFINITY;
	for (int i = 0; i < KV_CHUNK; i += 16)
		for (int c = 0; c < 4; c++) {
			float32x4_t p = exp4(vsubq_f32(vld1q_f32(s + i + 4 * c), vdupq_n_f32(max)));
			vst1q_f32(s + i + 4 * c, p);
			acc.v[c] = vaddq_f32(acc.v[c], p);
		}
	*m = max;
	*l = v16_fold(acc);
}

/* Values of 4 dimensions from d on, position p. */
INLINE float32x4_t value4(const char *vb, int p, int d, enum dtype t, int dim)
{
	size_t at = (size_t)p * (size_t)dim + (size_t)d;
	if (t == DT_F32) return vld1q_f32((const float *)(const void *)vb + at);
	if (t == DT_F16) return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)(const void *)vb + at)));
	if (t == DT_BF16) return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16((const uint16_t *)(const void *)vb + at), 16));
	float scale = ((const float *)(const void *)(vb + (size_t)dim * 32))[p * (dim / 32) + d / 32];
	int32_t four;
	memcpy(&four, vb + at, 4);
	int16x8_t v = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
	return vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(v))), scale);
}

INLINE void value(float *o, const float *s, int lo, int hi, const void *const *vb, enum dtype t, int dim)
{
	int d = 0;
	for (; d + 16 <= dim; d += 16) {
		struct v16 acc = v16_zero();
		for (int p = lo; p < hi; p++)
			for (int c = 0; c < 4; c++)
				acc.v[c] = vfmaq_n_f32(acc.v[c], value4(vb[p / KV_BLOCK], p % KV_BLOCK, d + 4 * c, t, dim), s[p]);
		v16_store(o + d, acc);
	}
	for (; d + 4 <= dim; d += 4) {
		float32x4_t acc = vdupq_n_f32(0);
		for (int p = lo; p < hi; p++) acc = vfmaq_n_f32(acc, value4(vb[p / KV_BLOCK], p % KV_BLOCK, d, t, dim), s[p]);
		vst1q_f32(o + d, acc);
	}
	for (; d < dim; d++) {                          /* only the float types have dims that are no multiple of 4 */
		float acc = 0;
		for (int p = lo; p < hi; p++) {
			const uint16_t *h = (const uint16_t *)vb[p / KV_BLOCK] + p % KV_BLOCK * dim + d;
			float v = t == DT_F32 ? ((const float *)vb[p / KV_BLOCK])[p % KV_BLOCK * dim + d] : t == DT_F16 ? f16_at(h) : quant_bf16_to_f32(*h);
			acc = fmaf(s[p], v, acc);
		}
		o[d] = acc;
	}
}

static void attn_value(float *o, const float *s, const int *lo, const int *hi, int n_q, const void *const *vb, enum dtype t, int dim)
{
	for (int i = 0; i < n_q; i++) {
		const float *si = s + i * KV_CHUNK;
		if (t == DT_F32) value(o + i * dim, si, lo[i], hi[i], vb, DT_F32, dim);
		else if (t == DT_F16) value(o + i * dim, si, lo[i], hi[i], vb, DT_F16, dim);
		else if (t == DT_BF16) value(o + i * dim, si, lo[i], hi[i], vb, DT_BF16, dim);
		else value(o + i * dim, si, lo[i], hi[i], vb, DT_Q8_0, dim);
	}
}

void kern_neon_rows(struct kern *k)
{
	k->quant_x32 = quant_x32;
	k->quant_x256 = quant_x256;
	k->attn_score = attn_score;
	k->attn_soft = attn_soft;
	k->attn_value = attn_value;
}
