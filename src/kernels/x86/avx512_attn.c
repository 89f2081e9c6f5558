/* avx512_attn.c - attention over one chunk (exact.h): 16 positions, or 16 dimensions of a value, as lanes. */
#include "kernels/x86/avx512_math.h"

/* ---- scores: keys lie as [half][dim][16 positions], so one vector per dimension
 * ------------------------------ */
/* Keys of 16 positions, dimension d of half h. */
INLINE __m512 key16(const void *kb, int h, int d, enum dtype t, int dim)
{
	size_t i = (size_t)(h * dim + d) * 16;
	if (t == DT_F32) return _mm512_loadu_ps((const float *)kb + i);
	if (t == DT_F16) return _mm512_cvtph_ps(load256((const uint16_t *)kb + i));
	if (t == DT_BF16)
		return _mm512_castsi512_ps(
			_mm512_slli_epi32(_mm512_cvtepu16_epi32(load256((const uint16_t *)kb + i)), 16));
	/* Q8_0: dwords hold dimensions 4 (d / 4) .. + 3 of a position */
	__m512i q = load512((const int8_t *)kb + (size_t)h * dim * 16 + (size_t)(d / 4) * 64);
	q = _mm512_srai_epi32(_mm512_sllv_epi32(q, _mm512_set1_epi32(24 - 8 * (d % 4))), 24);
	const float *scale = (const float *)((const char *)kb + (size_t)dim * KV_BLOCK) +
			     (size_t)(h * (dim / 32) + d / 32) * 16;
	return _mm512_mul_ps(_mm512_cvtepi32_ps(q), _mm512_loadu_ps(scale));
}

/* n queries against both halves of a block: 2 n independent chains hide the latency of the FMA. */
INLINE void score_tile(float *s, const float *q, int n, const void *kb, enum dtype t, int dim, float scale)
{
	__m512 a[8][2];
#pragma GCC unroll 8
	for (int i = 0; i < n; i++) a[i][0] = a[i][1] = _mm512_setzero_ps();
	for (int d = 0; d < dim; d++) {
		__m512 k0 = key16(kb, 0, d, t, dim), k1 = key16(kb, 1, d, t, dim);
#pragma GCC unroll 8
		for (int i = 0; i < n; i++) {
			__m512 v = f(q[i * dim + d]);
			a[i][0] = _mm512_fmadd_ps(v, k0, a[i][0]);
			a[i][1] = _mm512_fmadd_ps(v, k1, a[i][1]);
		}
	}
#pragma GCC unroll 8
	for (int i = 0; i < n; i++) {
		_mm512_storeu_ps(s + i * KV_CHUNK, _mm512_mul_ps(a[i][0], f(scale)));
		_mm512_storeu_ps(s + i * KV_CHUNK + 16, _mm512_mul_ps(a[i][1], f(scale)));
	}
}

/* Tiles of 8, 4 and what is left: every size of its own would double the code for little. */
INLINE void score_block(float *s, const float *q, int n_q, const void *kb, enum dtype t, int dim, float scale)
{
	int i = 0;
	for (; i + 8 <= n_q; i += 8) score_tile(s + i * KV_CHUNK, q + (size_t)i * dim, 8, kb, t, dim, scale);
	if (n_q - i >= 4) score_tile(s + i * KV_CHUNK, q + (size_t)i * dim, 4, kb, t, dim, scale), i += 4;
	if (n_q - i == 3) score_tile(s + i * KV_CHUNK, q + (size_t)i * dim, 3, kb, t, dim, scale);
	if (n_q - i == 2) score_tile(s + i * KV_CHUNK, q + (size_t)i * dim, 2, kb, t, dim, scale);
	if (n_q - i == 1) score_tile(s + i * KV_CHUNK, q + (size_t)i * dim, 1, kb, t, dim, scale);
}

static void cap_scores(float *s, int n_q, int n, float cap)
{
	for (int i = 0; i < n_q; i++)
		for (int p = 0; p < n; p += 16) {
			__m512 v = _mm512_div_ps(_mm512_loadu_ps(s + i * KV_CHUNK + p), f(cap));
			_mm512_storeu_ps(s + i * KV_CHUNK + p, _mm512_mul_ps(f(cap), v_tanh(v)));
		}
}

static void attn_score(float *s, const float *q, int n_q, const void *const *kb, int n_block, enum dtype t,
		       int dim, float scale, float cap)
{
	for (int b = 0; b < n_block; b++) {
		float *o = s + b * KV_BLOCK;
		if (t == DT_F16)
			score_block(o, q, n_q, kb[b], DT_F16, dim, scale);
		else if (t == DT_F32)
			score_block(o, q, n_q, kb[b], DT_F32, dim, scale);
		else if (t == DT_BF16)
			score_block(o, q, n_q, kb[b], DT_BF16, dim, scale);
		else
			score_block(o, q, n_q, kb[b], DT_Q8_0, dim, scale);
	}
	if (cap > 0) cap_scores(s, n_q, n_block * KV_BLOCK, cap);
}

/* ---- softmax
 * ------------------------------------------------------------------------------------------------------ */
INLINE __mmask16 visible(int i, int lo, int hi) /* lanes i .. i+15 inside [lo, hi) */
{
	return (__mmask16)(lanes(hi - i < 0 ? 0 : hi - i) & ~lanes(lo - i < 0 ? 0 : lo - i));
}

static void attn_soft(float *s, int lo, int hi, float *m, float *l)
{
	__m512 max = f(-INFINITY), acc = _mm512_setzero_ps();
	int first = lo / 16 * 16;
	for (int i = first; i < hi; i += 16)
		max = _mm512_mask_max_ps(max, visible(i, lo, hi), _mm512_loadu_ps(s + i), max);
	*m = _mm512_reduce_max_ps(max);
	for (int i = 0; i < KV_CHUNK; i += 16) {
		__m512 p = _mm512_setzero_ps();
		if (i >= first && i < hi)
			p = _mm512_maskz_mov_ps(visible(i, lo, hi),
						v_exp(_mm512_sub_ps(_mm512_loadu_ps(s + i), f(*m))));
		_mm512_storeu_ps(s + i, p);
		acc = _mm512_add_ps(acc, p);
	}
	*l = fold16(acc);
}

/* ---- values
 * ----------------------------------------------------------------------------------------------------------
 */
/* Dimensions d .. d+15 (those in m) of position p of a block. */
INLINE __m512 value16(const void *vb, int p, int d, __mmask16 m, enum dtype t, int dim)
{
	size_t i = (size_t)p * dim + d;
	if (t == DT_F32) return _mm512_maskz_loadu_ps(m, (const float *)vb + i);
	if (t == DT_F16) return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, (const uint16_t *)vb + i));
	if (t == DT_BF16)
		return _mm512_castsi512_ps(_mm512_slli_epi32(
			_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, (const uint16_t *)vb + i)), 16));
	const float *scale = (const float *)((const char *)vb + (size_t)dim * KV_BLOCK);
	__m512 v = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(m, (const int8_t *)vb + i)));
	return _mm512_mul_ps(v, f(scale[p * (dim / 32) + d / 32]));
}

struct values {
	const void *const *vb;
	const float *s;
	const int *lo, *hi;
	enum dtype t;
	int dim;
};
enum { VQ = 6, VD = 4 }; /* a tile: 6 queries x 4 vectors in 24 registers */

/* Positions [p, end); all: every query sees every one of them.  A hidden position is masked out, not weighted
 * with zero: what lies there may be anything. */
INLINE void value_span(__m512 a[VQ][VD], const struct values *v, int q0, int nq, int d, int nd, enum dtype t,
		       int p, int end, bool all)
{
	for (; p < end; p++) {
		const float *s = v->s + (size_t)q0 * KV_CHUNK + p;
		__m512 x[VD];
#pragma GCC unroll 4
		for (int j = 0; j < nd; j++)
			x[j] = value16(v->vb[p / KV_BLOCK], p % KV_BLOCK, d + 16 * j,
				       lanes(v->dim - d - 16 * j), t, v->dim);
#pragma GCC unroll 6
		for (int i = 0; i < nq; i++) {
			if (!all && (p < v->lo[q0 + i] || p >= v->hi[q0 + i])) continue;
			__m512 w = f(s[i * KV_CHUNK]);
#pragma GCC unroll 4
			for (int j = 0; j < nd; j++) a[i][j] = _mm512_fmadd_ps(w, x[j], a[i][j]);
		}
	}
}

/* Outputs of nq queries and nd vectors of 16 dimensions from d on. */
INLINE void value_tile(float *o, const struct values *v, int q0, int nq, int d, int nd, enum dtype t)
{
	__m512 a[VQ][VD];
	int lo = KV_CHUNK, hi = 0, all_lo = 0, all_hi = KV_CHUNK; /* positions of any and of every query */
	for (int i = 0; i < nq; i++) {
		int l = v->lo[q0 + i], h = v->hi[q0 + i];
		if (l < h) lo = l < lo ? l : lo, hi = h > hi ? h : hi;
		all_lo = l > all_lo ? l : all_lo;
		all_hi = h < all_hi ? h : all_hi;
	}
#pragma GCC unroll 6
	for (int i = 0; i < nq; i++)
#pragma GCC unroll 4
		for (int j = 0; j < nd; j++) a[i][j] = _mm512_setzero_ps();
	/* before, inside and after what all see; without such positions everything is "before" */
	int at[4] = { lo, all_lo < all_hi ? all_lo : hi, all_lo < all_hi ? all_hi : hi, hi };
	for (int i = 0; i < 3; i++) value_span(a, v, q0, nq, d, nd, t, at[i], at[i + 1], i == 1);
#pragma GCC unroll 6
	for (int i = 0; i < nq; i++)
#pragma GCC unroll 4
		for (int j = 0; j < nd; j++)
			_mm512_mask_storeu_ps(o + (size_t)(q0 + i) * v->dim + d + 16 * j,
					      lanes(v->dim - d - 16 * j), a[i][j]);
}

INLINE void value_rows(float *o, const struct values *v, int n_q, int d, int nd, enum dtype t)
{
	int i = 0;
	for (; i + VQ <= n_q; i += VQ) value_tile(o, v, i, VQ, d, nd, t);
	if (nd > 1 && n_q - i >= 4) value_tile(o, v, i, 4, d, nd, t), i += 4;
	if (nd > 1 && n_q - i == 3) value_tile(o, v, i, 3, d, nd, t), i += 3;
	if (nd > 1 && n_q - i == 2) value_tile(o, v, i, 2, d, nd, t), i += 2;
	for (; i < n_q; i++) value_tile(o, v, i, 1, d, nd, t);
}

INLINE void value_all(float *o, const struct values *v, int n_q, enum dtype t)
{
	int d = 0;
	for (; v->dim - d > 48; d += 64) value_rows(o, v, n_q, d, 4, t);
	for (; d < v->dim; d += 16) value_rows(o, v, n_q, d, 1, t);
}

static void attn_value(float *o, const float *s, const int *lo, const int *hi, int n_q, const void *const *vb,
		       enum dtype t, int dim)
{
	struct values v = { vb, s, lo, hi, t, dim };
	if (t == DT_F16)
		value_all(o, &v, n_q, DT_F16);
	else if (t == DT_F32)
		value_all(o, &v, n_q, DT_F32);
	else if (t == DT_BF16)
		value_all(o, &v, n_q, DT_BF16);
	else
		value_all(o, &v, n_q, DT_Q8_0);
}

void kern_avx512_attn(struct kern *k)
{
	k->attn_score = attn_score;
	k->attn_soft = attn_soft;
	k->attn_value = attn_value;
}
