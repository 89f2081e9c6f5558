/* avx2_rows.c - row functions (exact.h).  Tails go through masked loads and stores. */
#include "kernels/x86/avx2_math.h"

/* Elements [i, i+8) of n, the missing ones zero. */
INLINE __m256 get8(const float *x, int i, int n)
{
	return n - i >= 8 ? _mm256_loadu_ps(x + i) : _mm256_maskload_ps(x + i, lanes(n - i));
}
INLINE void put8(float *y, int i, int n, __m256 v)
{
	if (n - i >= 8)
		_mm256_storeu_ps(y + i, v);
	else
		_mm256_maskstore_ps(y + i, lanes(n - i), v);
}

static void norm_rms(float *y, const float *x, const float *w, int n, float eps)
{
	__m256 a = _mm256_setzero_ps(), b = a;
	for (int i = 0; i < n;
	     i += 16) { /* a square is never -0, so that lanes past the end stay as they are */
		__m256 u = get8(x, i, n), v = get8(x, i + 8, n);
		a = _mm256_fmadd_ps(u, u, a);
		b = _mm256_fmadd_ps(v, v, b);
	}
	__m256 r = set8(1.0f / sqrtf(fold16(a, b) / (float)n + eps));
	for (int i = 0; i < n; i += 8) {
		__m256 v = _mm256_mul_ps(get8(x, i, n), r);
		put8(y, i, n, w ? _mm256_mul_ps(v, get8(w, i, n)) : v);
	}
}

static void add(float *y, const float *x, float scale, int n)
{
	for (int i = 0; i < n; i += 8)
		put8(y, i, n, _mm256_fmadd_ps(set8(scale), get8(x, i, n), get8(y, i, n)));
}

static void attn_merge(float *o, const float *oc, float a, float b, int n)
{
	for (int i = 0; i < n; i += 8)
		put8(o, i, n,
		     _mm256_fmadd_ps(get8(oc, i, n), set8(b), _mm256_mul_ps(get8(o, i, n), set8(a))));
}

static void softcap(float *x, float cap, int n)
{
	for (int i = 0; i < n; i += 8) {
		__m256 v = tanh8(_mm256_div_ps(get8(x, i, n), set8(cap)));
		put8(x, i, n, _mm256_mul_ps(set8(cap), v));
	}
}

/* Comparisons keep the operand that the scalar ?: keeps when one is NaN. */
INLINE __m256 act8(__m256 g, enum act a)
{
	switch (a) {
	case ACT_SIGMOID: return sigmoid8(g);
	case ACT_SILU: return silu8(g);
	case ACT_GELU: return gelu8(g);
	case ACT_GELU_TANH: return gelu_tanh8(g);
	case ACT_RELU2:
		return _mm256_and_ps(_mm256_cmp_ps(g, _mm256_setzero_ps(), _CMP_GT_OQ), _mm256_mul_ps(g, g));
	case ACT_SWIGLU_OAI:
		g = _mm256_min_ps(set8(7.0f), g);
		return _mm256_mul_ps(g, sigmoid8(_mm256_mul_ps(set8(1.702f), g)));
	case ACT_NONE: break;
	}
	return g;
}

INLINE void act_row(float *y, const float *gate, const float *up, int n, enum act a)
{
	for (int i = 0; i < n; i += 8) {
		__m256 g = act8(get8(gate, i, n), a);
		if (up) {
			__m256 u = get8(up, i, n);
			if (a == ACT_SWIGLU_OAI)
				u = _mm256_add_ps(_mm256_max_ps(set8(-7.0f), _mm256_min_ps(set8(7.0f), u)),
						  set8(1.0f));
			g = _mm256_mul_ps(g, u);
		}
		put8(y, i, n, g);
	}
}

static void act(float *y, const float *gate, const float *up, int n, enum act a)
{
	switch (a) {
	case ACT_SIGMOID: act_row(y, gate, up, n, ACT_SIGMOID); break;
	case ACT_SILU: act_row(y, gate, up, n, ACT_SILU); break;
	case ACT_GELU: act_row(y, gate, up, n, ACT_GELU); break;
	case ACT_GELU_TANH: act_row(y, gate, up, n, ACT_GELU_TANH); break;
	case ACT_RELU2: act_row(y, gate, up, n, ACT_RELU2); break;
	case ACT_SWIGLU_OAI: act_row(y, gate, up, n, ACT_SWIGLU_OAI); break;
	case ACT_NONE: act_row(y, gate, up, n, ACT_NONE); break;
	}
}

/* ---- rope: 8 pairs (a, b) at a time
 * ------------------------------------------------------------------------------ */
INLINE void turn8(__m256 *a, __m256 *b, __m256 c, __m256 s)
{
	__m256 u = _mm256_fmsub_ps(*a, c, _mm256_mul_ps(*b, s));
	*b = _mm256_fmadd_ps(*a, s, _mm256_mul_ps(*b, c));
	*a = u;
}

/* Floats 0 1 4 5 2 3 6 7: the order in which shuffles inside lanes split pairs. */
INLINE __m256 pair_order(const float *x)
{
	return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_loadu_ps(x)), 0xd8));
}

static void rope(float *x, const float *cs, int dims, enum rope_kind kind)
{
	int half = dims / 2, i = 0;
	const float *sn = cs + half;
	for (; i + 8 <= half; i += 8) {
		__m256 a, b;
		if (kind == ROPE_PAIRS) {
			__m256 u = _mm256_loadu_ps(x + 2 * i), v = _mm256_loadu_ps(x + 2 * i + 8);
			a = _mm256_shuffle_ps(u, v, 0x88);
			b = _mm256_shuffle_ps(u, v, 0xdd);
			turn8(&a, &b, pair_order(cs + i), pair_order(sn + i));
			_mm256_storeu_ps(x + 2 * i, _mm256_unpacklo_ps(a, b));
			_mm256_storeu_ps(x + 2 * i + 8, _mm256_unpackhi_ps(a, b));
		} else {
			a = _mm256_loadu_ps(x + i);
			b = _mm256_loadu_ps(x + half + i);
			turn8(&a, &b, _mm256_loadu_ps(cs + i), _mm256_loadu_ps(sn + i));
			_mm256_storeu_ps(x + i, a);
			_mm256_storeu_ps(x + half + i, b);
		}
	}
	int step = kind == ROPE_PAIRS ? 2 : 1, far = kind == ROPE_PAIRS ? 1 : half;
	for (; i < half; i++) {
		float c = cs[i], s = sn[i], a = x[i * step], b = x[i * step + far];
		x[i * step] = fmaf(a, c, -(b * s));
		x[i * step + far] = fmaf(a, s, b * c);
	}
}

void kern_avx2_rows(struct kern *k)
{
	k->norm_rms = norm_rms;
	k->add = add;
	k->attn_merge = attn_merge;
	k->softcap = softcap;
	k->act = act;
	k->rope = rope;
}
