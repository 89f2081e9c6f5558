/* avx2_attn.c - attention over one chunk (exact.h).
 * Scores: the 16 positions of half a block are two vectors, up to 4 queries share each key.  Values: 16
 * dimensions, up to 4 queries share each value; where ranges differ, the positions at their ends are added
 * query by query. */
#include "kernels/x86/avx2_math.h"

struct pair {
	__m256 a, b;
};

/* 16 elements from element i of a plain type */
INLINE struct pair plain16(const void *p, size_t i, enum dtype t)
{
	if (t == DT_F32)
		return (struct pair){ _mm256_loadu_ps((const float *)p + i),
				      _mm256_loadu_ps((const float *)p + i + 8) };
	const uint16_t *h = (const uint16_t *)p + i;
	if (t == DT_F16) return (struct pair){ _mm256_cvtph_ps(load128(h)), _mm256_cvtph_ps(load128(h + 8)) };
	__m256i a = _mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(h)), 16),
		b = _mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(h + 8)), 16);
	return (struct pair){ _mm256_castsi256_ps(a), _mm256_castsi256_ps(b) };
}

/* ---- scores
 * ---------------------------------------------------------------------------------------------------------
 */
/* Bytes e of 8 dwords, signed, as f32. */
INLINE __m256 byte_f32(__m256i v, int e)
{
	return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_sll_epi32(v, _mm_cvtsi32_si128(24 - 8 * e)), 24));
}
/* Keys of 16 positions at dimension d; half h of the block. */
INLINE struct pair key16(const char *kb, int h, int d, enum dtype t, int dim)
{
	if (t != DT_Q8_0) return plain16(kb, ((size_t)h * (size_t)dim + (size_t)d) * 16, t);
	const char *q = kb + (size_t)h * (size_t)dim * 16 + (size_t)(d / 4) * 64;
	const float *s = (const float *)(kb + (size_t)dim * KV_BLOCK) +
			 ((size_t)h * (size_t)(dim / 32) + (size_t)(d / 32)) * 16;
	return (struct pair){ _mm256_mul_ps(byte_f32(load256(q), d % 4), _mm256_loadu_ps(s)),
			      _mm256_mul_ps(byte_f32(load256(q + 32), d % 4), _mm256_loadu_ps(s + 8)) };
}

/* Fetches into L2 what is read later, n bytes with each step; NULL: nothing (avx512_attn.c has measured where to). */
INLINE void ahead(const char *p, int step, int n)
{
	if (p) _mm_prefetch(p + step * n, _MM_HINT_T1);
}
INLINE int bytes16(enum dtype t)
{
	return t == DT_F32 ? 64 : t == DT_Q8_0 ? 16 : 32;
}

INLINE void score_tile(float *s, const float *q, int n, const char *kb, const char *next, int h, enum dtype t,
		       int dim, float scale, float cap)
{
	__m256 a[4], b[4]; /* arrays of their own: as members of structs gcc keeps them in memory */
#pragma GCC unroll 4
	for (int i = 0; i < n; i++) a[i] = b[i] = _mm256_setzero_ps();
	for (int d = 0; d < dim; d++) {
		struct pair k = key16(kb, h, d, t, dim);
		ahead(next, h * dim + d, bytes16(t));
#pragma GCC unroll 4
		for (int i = 0; i < n; i++) {
			__m256 x = _mm256_broadcast_ss(q + i * dim + d);
			a[i] = _mm256_fmadd_ps(x, k.a, a[i]);
			b[i] = _mm256_fmadd_ps(x, k.b, b[i]);
		}
	}
#pragma GCC unroll 4
	for (int i = 0; i < n; i++) {
		a[i] = _mm256_mul_ps(a[i], set8(scale)), b[i] = _mm256_mul_ps(b[i], set8(scale));
		if (cap > 0) {
			a[i] = _mm256_mul_ps(set8(cap), tanh8(_mm256_div_ps(a[i], set8(cap))));
			b[i] = _mm256_mul_ps(set8(cap), tanh8(_mm256_div_ps(b[i], set8(cap))));
		}
		_mm256_storeu_ps(s + i * KV_CHUNK, a[i]);
		_mm256_storeu_ps(s + i * KV_CHUNK + 8, b[i]);
	}
}

INLINE void scores(float *s, const float *q, int n_q, const void *const *kb, int n_block, enum dtype t,
		   int dim, float scale, float cap)
{
	for (int j = 0; j < 2 * n_block; j++) {
		const char *k = kb[j / 2], *next = kb[j / 2 + KV_AHEAD];
		int i = 0, h = j % 2;
		for (; i + 4 <= n_q; i += 4, next = NULL)
			score_tile(s + i * KV_CHUNK + 16 * j, q + i * dim, 4, k, next, h, t, dim, scale, cap);
		float *o = s + i * KV_CHUNK + 16 * j;
		if (n_q - i == 3)
			score_tile(o, q + i * dim, 3, k, next, h, t, dim, scale, cap);
		else if (n_q - i == 2)
			score_tile(o, q + i * dim, 2, k, next, h, t, dim, scale, cap);
		else if (n_q - i == 1)
			score_tile(o, q + i * dim, 1, k, next, h, t, dim, scale, cap);
	}
}

static void attn_score(float *s, const float *q, int n_q, const void *const *kb, int n_block, enum dtype t,
		       int dim, float scale, float cap)
{
	switch (t) {
	case DT_F32: scores(s, q, n_q, kb, n_block, DT_F32, dim, scale, cap); break;
	case DT_F16: scores(s, q, n_q, kb, n_block, DT_F16, dim, scale, cap); break;
	case DT_BF16: scores(s, q, n_q, kb, n_block, DT_BF16, dim, scale, cap); break;
	default: scores(s, q, n_q, kb, n_block, DT_Q8_0, dim, scale, cap); break;
	}
}

static void attn_soft(float *s, int lo, int hi, float *m, float *l)
{
	float max = -INFINITY;
	__m256 top = set8(-INFINITY), a = _mm256_setzero_ps(), b = a;
	int i = lo;
	for (; i + 8 <= hi; i += 8)
		top = _mm256_max_ps(_mm256_loadu_ps(s + i), top); /* a NaN is passed over */
	float t[8];
	_mm256_storeu_ps(t, top);
	for (int j = 0; j < 8; j++) max = t[j] > max ? t[j] : max;
	for (; i < hi; i++) max = s[i] > max ? s[i] : max;
	if (max == 0) /* of +0 and -0 the first one counts, and lanes lose the order */
		for (i = lo, max = -INFINITY; i < hi; i++) max = s[i] > max ? s[i] : max;
	const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	for (i = 0; i < KV_CHUNK; i += 8) {
		__m256i at = _mm256_add_epi32(lane, _mm256_set1_epi32(i));
		__m256i live = _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(lo), at),
						   _mm256_cmpgt_epi32(_mm256_set1_epi32(hi), at));
		__m256 p = _mm256_setzero_ps();
		if (i + 8 > lo && i < hi)
			p = _mm256_and_ps(exp8(_mm256_sub_ps(_mm256_loadu_ps(s + i), set8(max))),
					  _mm256_castsi256_ps(live));
		_mm256_storeu_ps(s + i, p);
		if (i & 8)
			b = _mm256_add_ps(b, p);
		else
			a = _mm256_add_ps(a, p);
	}
	*m = max;
	*l = fold16(a, b);
}

/* ---- values
 * ----------------------------------------------------------------------------------------------------------
 */
INLINE struct pair value16(const char *vb, int p, int d, enum dtype t, int dim)
{
	size_t i = (size_t)p * (size_t)dim + (size_t)d;
	if (t != DT_Q8_0) return plain16(vb, i, t);
	__m256 s = set8(((const float *)(vb + (size_t)dim * KV_BLOCK))[p * (dim / 32) + d / 32]);
	__m128i q = load128(vb + i);
	return (struct pair){ _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)), s),
			      _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8))),
					    s) };
}

/* o[i][d..d+16) += s[i][p] * v[p] for n queries, lo <= p < hi ascending */
INLINE void value_tile(float *o, const float *s, int n, int lo, int hi, const void *const *vb, int d,
		       enum dtype t, int dim, bool fetch)
{
	__m256 x[4], y[4];
#pragma GCC unroll 4
	for (int i = 0; i < n; i++) x[i] = _mm256_loadu_ps(o + i * dim), y[i] = _mm256_loadu_ps(o + i * dim + 8);
	for (int p = lo; p < hi;) {
		const char *block = vb[p / KV_BLOCK], *next = fetch ? vb[p / KV_BLOCK + KV_AHEAD] : NULL;
		int at = p % KV_BLOCK, end = hi - p < KV_BLOCK - at ? at + hi - p : KV_BLOCK;
		for (; at < end; at++, p++) {
			struct pair v = value16(block, at, d, t, dim);
			ahead(next, d / 16 * KV_BLOCK + at, bytes16(t));
#pragma GCC unroll 4
			for (int i = 0; i < n; i++) {
				__m256 w = _mm256_broadcast_ss(s + i * KV_CHUNK + p);
				x[i] = _mm256_fmadd_ps(w, v.a, x[i]);
				y[i] = _mm256_fmadd_ps(w, v.b, y[i]);
			}
		}
	}
#pragma GCC unroll 4
	for (int i = 0; i < n; i++) {
		_mm256_storeu_ps(o + i * dim, x[i]);
		_mm256_storeu_ps(o + i * dim + 8, y[i]);
	}
}

/* The 16 dimensions from d of n queries: [lo, from) one by one, [from, to) together, [to, hi) one by one. */
INLINE void value_queries(float *o, const float *s, const int *lo, const int *hi, int n,
			  const void *const *vb, int d, enum dtype t, int dim, bool fetch)
{
	int from = lo[0], to = hi[0];
	for (int i = 1; i < n; i++) {
		from = lo[i] > from ? lo[i] : from;
		to = hi[i] < to ? hi[i] : to;
	}
	bool shared = from < to;
	for (int i = 0; i < n; i++) {
		_mm256_storeu_ps(o + i * dim, _mm256_setzero_ps());
		_mm256_storeu_ps(o + i * dim + 8, _mm256_setzero_ps());
		value_tile(o + i * dim, s + i * KV_CHUNK, 1, lo[i], shared ? from : hi[i], vb, d, t, dim, false);
	}
	if (!shared) return;
	value_tile(o, s, n, from, to, vb, d, t, dim, fetch);
	for (int i = 0; i < n; i++)
		if (to < hi[i]) value_tile(o + i * dim, s + i * KV_CHUNK, 1, to, hi[i], vb, d, t, dim, false);
}

/* Dimensions beyond the last 16: plain types only, a Q8_0 head is a multiple of 32. */
static void value_rest(float *o, const float *s, const int *lo, const int *hi, int n_q, const void *const *vb,
		       int d, enum dtype t, int dim)
{
	for (int i = 0; i < n_q; i++)
		for (int j = d; j < dim; j++) {
			float acc = 0;
			for (int p = lo[i]; p < hi[i]; p++) {
				size_t at = (size_t)(p % KV_BLOCK * dim + j);
				const void *v = vb[p / KV_BLOCK];
				float f = t == DT_F32   ? ((const float *)v)[at]
					  : t == DT_F16 ? _cvtsh_ss(((const uint16_t *)v)[at])
							: quant_bf16_to_f32(((const uint16_t *)v)[at]);
				acc = fmaf(s[i * KV_CHUNK + p], f, acc);
			}
			o[i * dim + j] = acc;
		}
}

INLINE void values(float *o, const float *s, const int *lo, const int *hi, int n_q, const void *const *vb,
		   enum dtype t, int dim)
{
	int i = 0, d;
	for (; i < n_q; i += 4) {
		int n = n_q - i;
		float *oi = o + i * dim;
		const float *si = s + i * KV_CHUNK;
		for (d = 0; d + 16 <= dim; d += 16) {
			if (n >= 4)
				value_queries(oi + d, si, lo + i, hi + i, 4, vb, d, t, dim, i == 0);
			else if (n == 3)
				value_queries(oi + d, si, lo + i, hi + i, 3, vb, d, t, dim, i == 0);
			else if (n == 2)
				value_queries(oi + d, si, lo + i, hi + i, 2, vb, d, t, dim, i == 0);
			else
				value_queries(oi + d, si, lo + i, hi + i, 1, vb, d, t, dim, i == 0);
		}
	}
	if (dim % 16) value_rest(o, s, lo, hi, n_q, vb, dim / 16 * 16, t, dim);
}

static void attn_value(float *o, const float *s, const int *lo, const int *hi, int n_q, const void *const *vb,
		       enum dtype t, int dim)
{
	switch (t) {
	case DT_F32: values(o, s, lo, hi, n_q, vb, DT_F32, dim); break;
	case DT_F16: values(o, s, lo, hi, n_q, vb, DT_F16, dim); break;
	case DT_BF16: values(o, s, lo, hi, n_q, vb, DT_BF16, dim); break;
	default: values(o, s, lo, hi, n_q, vb, DT_Q8_0, dim); break;
	}
}

void kern_avx2_attn(struct kern *k)
{
	k->attn_score = attn_score;
	k->attn_soft = attn_soft;
	k->attn_value = attn_value;
}
