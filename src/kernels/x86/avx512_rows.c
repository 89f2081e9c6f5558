/* avx512_rows.c - functions over one row of floats. */
#include "kernels/x86/avx512_math.h"

static void norm_rms(float *y, const float *x, const float *w, int n, float eps)
{
	__m512 acc = _mm512_setzero_ps();
	for (int i = 0; i < n; i += 16) {
		__m512 v = _mm512_maskz_loadu_ps(lanes(n - i), x + i);
		acc = _mm512_mask3_fmadd_ps(v, v, acc, lanes(n - i));
	}
	__m512 r = f(1.0f / sqrtf(fold16(acc) / (float)n + eps));
	for (int i = 0; i < n; i += 16) {
		__m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes(n - i), x + i), r);
		if (w) v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(lanes(n - i), w + i));
		_mm512_mask_storeu_ps(y + i, lanes(n - i), v);
	}
}

static void add(float *y, const float *x, float scale, int n)
{
	for (int i = 0; i < n; i += 16) {
		__mmask16 m = lanes(n - i);
		__m512 v = _mm512_fmadd_ps(f(scale), _mm512_maskz_loadu_ps(m, x + i),
					   _mm512_maskz_loadu_ps(m, y + i));
		_mm512_mask_storeu_ps(y + i, m, v);
	}
}

static void softcap(float *x, float cap, int n)
{
	for (int i = 0; i < n; i += 16) {
		__m512 v = _mm512_maskz_loadu_ps(lanes(n - i), x + i);
		_mm512_mask_storeu_ps(x + i, lanes(n - i),
				      _mm512_mul_ps(f(cap), v_tanh(_mm512_div_ps(v, f(cap)))));
	}
}

INLINE __m512 act_one(__m512 g, enum act a)
{
	switch (a) {
	case ACT_SIGMOID: return v_sigmoid(g);
	case ACT_SILU: return v_silu(g);
	case ACT_GELU: return v_gelu(g);
	case ACT_GELU_TANH: return v_gelu_tanh(g);
	case ACT_RELU2:
		return _mm512_maskz_mul_ps(_mm512_cmp_ps_mask(g, _mm512_setzero_ps(), _CMP_GT_OQ), g, g);
	case ACT_SWIGLU_OAI:
		g = _mm512_min_ps(f(7.0f), g); /* the second operand where either is NaN, as in c_rows.c */
		return _mm512_mul_ps(g, v_sigmoid(_mm512_mul_ps(f(1.702f), g)));
	case ACT_NONE: break;
	}
	return g;
}

INLINE void act_row(float *y, const float *gate, const float *up, int n, enum act a)
{
	for (int i = 0; i < n; i += 16) {
		__m512 v = act_one(_mm512_maskz_loadu_ps(lanes(n - i), gate + i), a);
		if (up) {
			__m512 u = _mm512_maskz_loadu_ps(lanes(n - i), up + i);
			if (a == ACT_SWIGLU_OAI)
				u = _mm512_add_ps(_mm512_max_ps(f(-7.0f), _mm512_min_ps(f(7.0f), u)),
						  f(1.0f));
			v = _mm512_mul_ps(v, u);
		}
		_mm512_mask_storeu_ps(y + i, lanes(n - i), v);
	}
}

static void act(float *y, const float *gate, const float *up, int n, enum act a)
{
	switch (a) { /* one loop per function */
	case ACT_NONE: act_row(y, gate, up, n, ACT_NONE); break;
	case ACT_SIGMOID: act_row(y, gate, up, n, ACT_SIGMOID); break;
	case ACT_SILU: act_row(y, gate, up, n, ACT_SILU); break;
	case ACT_GELU: act_row(y, gate, up, n, ACT_GELU); break;
	case ACT_GELU_TANH: act_row(y, gate, up, n, ACT_GELU_TANH); break;
	case ACT_RELU2: act_row(y, gate, up, n, ACT_RELU2); break;
	case ACT_SWIGLU_OAI: act_row(y, gate, up, n, ACT_SWIGLU_OAI); break;
	}
}

static void rope_halves(float *x, const float *cs, int half)
{
	for (int i = 0; i < half; i += 16) {
		__mmask16 m = lanes(half - i);
		__m512 c = _mm512_maskz_loadu_ps(m, cs + i), s = _mm512_maskz_loadu_ps(m, cs + half + i);
		__m512 a = _mm512_maskz_loadu_ps(m, x + i), b = _mm512_maskz_loadu_ps(m, x + half + i);
		_mm512_mask_storeu_ps(x + i, m, _mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s)));
		_mm512_mask_storeu_ps(x + half + i, m, _mm512_fmadd_ps(a, s, _mm512_mul_ps(b, c)));
	}
}

static void rope_pairs(float *x, const float *cs, int half)
{
	const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
	for (int i = 0; i < half; i += 8) {
		int n = half - i < 8 ? half - i : 8;
		__m512 c = _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(lanes(n), cs + i));
		__m512 s = _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(lanes(n), cs + half + i));
		__m512 v = _mm512_maskz_loadu_ps(lanes(2 * n), x + 2 * i), w = _mm512_permute_ps(v, 0xb1);
		/* even lanes: v = a, w = b; odd lanes: v = b, w = a */
		__m512 even = _mm512_fmsub_ps(v, c, _mm512_mul_ps(w, s)),
		       odd = _mm512_fmadd_ps(w, s, _mm512_mul_ps(v, c));
		_mm512_mask_storeu_ps(x + 2 * i, lanes(2 * n), _mm512_mask_mov_ps(even, 0xaaaa, odd));
	}
}

static void rope(float *x, const float *cs, int dims, enum rope_kind kind)
{
	if (kind == ROPE_PAIRS)
		rope_pairs(x, cs, dims / 2);
	else
		rope_halves(x, cs, dims / 2);
}

void kern_avx512_rows(struct kern *k)
{
	k->norm_rms = norm_rms;
	k->add = add;
	k->act = act;
	k->rope = rope;
	k->softcap = softcap;
}
