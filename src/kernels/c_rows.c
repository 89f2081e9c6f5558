/* c_rows.c - portable row functions and attention of the contract (exact.h). */
#include "kernels/kern.h"

static float fold16(float a[16])
{
	for (int w = 8; w > 0; w /= 2)
		for (int i = 0; i < w; i++) a[i] += a[i + w];
	return a[0];
}

static void norm_rms(float *y, const float *x, const float *w, int n, float eps)
{
	float acc[16] = { 0 };
	for (int i = 0; i < n; i++) acc[i % 16] = fmaf(x[i], x[i], acc[i % 16]);
	float r = 1.0f / sqrtf(fold16(acc) / (float)n + eps);
	for (int i = 0; i < n; i++) y[i] = w ? x[i] * r * w[i] : x[i] * r;
}

static void add(float *y, const float *x, float scale, int n)
{
	for (int i = 0; i < n; i++) y[i] = fmaf(scale, x[i], y[i]);
}

static float act_one(float g, enum act a)
{
	switch (a) {
	case ACT_SIGMOID: return lm_sigmoidf(g);
	case ACT_SILU: return lm_siluf(g);
	case ACT_GELU: return lm_geluf(g);
	case ACT_GELU_TANH: return lm_gelu_tanhf(g);
	case ACT_RELU2: return g > 0 ? g * g : 0;
	case ACT_SWIGLU_OAI: g = g > 7 ? 7 : g; return g * lm_sigmoidf(1.702f * g);
	case ACT_NONE: break;
	}
	return g;
}

/* gpt-oss: the up half is clamped to +-7 and shifted by one */
static float up_one(float u, enum act a)
{
	return a == ACT_SWIGLU_OAI ? (u > 7 ? 7 : u < -7 ? -7 : u) + 1 : u;
}

static void act(float *y, const float *gate, const float *up, int n, enum act a)
{
	for (int i = 0; i < n; i++) {
		float g = act_one(gate[i], a);
		y[i] = up ? g * up_one(up[i], a) : g;
	}
}

static void rope(float *x, const float *cs, int dims, enum rope_kind kind)
{
	int half = dims / 2, step = kind == ROPE_PAIRS ? 2 : 1, far = kind == ROPE_PAIRS ? 1 : half;
	for (int i = 0; i < half; i++) {
		float c = cs[i], s = cs[half + i], a = x[i * step], b = x[i * step + far];
		x[i * step] = fmaf(a, c, -(b * s));
		x[i * step + far] = fmaf(a, s, b * c);
	}
}

static void softcap(float *x, float cap, int n)
{
	for (int i = 0; i < n; i++) x[i] = cap * lm_tanhf(x[i] / cap);
}

/* ---- attention ------------------------------------------------------------------------------------------- */
static float half_at(const void *p, size_t i, enum dtype t)
{
	uint16_t h;
	if (t == DT_F32) return ((const float *)p)[i];
	memcpy(&h, (const char *)p + 2 * i, 2);
	return t == DT_F16 ? quant_f16_to_f32(h) : quant_bf16_to_f32(h);
}

/* Keys of 16 positions, dimension d, as f32 (kernels/ops.h, struct kv; h: which half of the block). */
static void key16(float o[16], const void *kb, int h, int d, enum dtype t, int dim)
{
	if (t != DT_Q8_0) {
		for (int i = 0; i < 16; i++) o[i] = half_at(kb, (size_t)((h * dim + d) * 16 + i), t);
		return;
	}
	const int8_t *q = (const int8_t *)kb + (size_t)h * (size_t)dim * 16;
	const float *scale = (const float *)((const char *)kb + (size_t)dim * KV_BLOCK) + (size_t)h * (size_t)(dim / 32) * 16;
	for (int i = 0; i < 16; i++) o[i] = (float)q[(d / 4 * 16 + i) * 4 + d % 4] * scale[d / 32 * 16 + i];
}

static float value_at(const void *vb, int p, int d, enum dtype t, int dim)
{
	if (t != DT_Q8_0) return half_at(vb, (size_t)(p * dim + d), t);
	const float *scale = (const float *)((const char *)vb + (size_t)dim * KV_BLOCK);
	return (float)((const int8_t *)vb)[p * dim + d] * scale[p * (dim / 32) + d / 32];
}

static void attn_score(float *s, const float *q, int n_q, const void *const *kb, int n_block, enum dtype t, int dim,
                       float scale, float cap)
{
	for (int b = 0; b < n_block; b++)
		for (int h = 0; h < 2; h++)
			for (int i = 0; i < n_q; i++) {
				float acc[16] = { 0 }, k[16], *out = s + i * KV_CHUNK + b * KV_BLOCK + h * 16;
				for (int d = 0; d < dim; d++) {
					key16(k, kb[b], h, d, t, dim);
					for (int j = 0; j < 16; j++) acc[j] = fmaf(q[i * dim + d], k[j], acc[j]);
				}
				for (int j = 0; j < 16; j++) out[j] = acc[j] * scale;
				if (cap > 0) softcap(out, cap, 16);
			}
}

static void attn_soft(float *s, int lo, int hi, float *m, float *l)
{
	float max = -INFINITY, acc[16] = { 0 };
	for (int i = lo; i < hi; i++) max = s[i] > max ? s[i] : max;
	for (int i = 0; i < KV_CHUNK; i++) {
		s[i] = i >= lo && i < hi ? lm_expf(s[i] - max) : 0;
		acc[i % 16] += s[i];
	}
	*m = max;
	*l = fold16(acc);
}

static void attn_value(float *o, const float *s, const int *lo, const int *hi, int n_q, const void *const *vb,
                       enum dtype t, int dim)
{
	for (int i = 0; i < n_q; i++)
		for (int d = 0; d < dim; d++) {
			float acc = 0;
			for (int p = lo[i]; p < hi[i]; p++)
				acc = fmaf(s[i * KV_CHUNK + p], value_at(vb[p / KV_BLOCK], p % KV_BLOCK, d, t, dim), acc);
			o[i * dim + d] = acc;
		}
}

static void attn_merge(float *o, const float *oc, float a, float b, int n)
{
	for (int i = 0; i < n; i++) o[i] = fmaf(oc[i], b, o[i] * a);
}

void kern_c_rows(struct kern *k);
void kern_c_rows(struct kern *k)
{
	k->norm_rms = norm_rms;
	k->add = add;
	k->act = act;
	k->rope = rope;
	k->softcap = softcap;
	k->attn_score = attn_score;
	k->attn_soft = attn_soft;
	k->attn_merge = attn_merge;
	k->attn_value = attn_value;
}
