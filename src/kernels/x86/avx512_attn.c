/* avx512_attn.c - attention over one chunk (exact.h): 16 positions, or 16 dimensions of a value, as lanes.
 * Scores and values are the same product, out[query][64] += w[query][k] * x[k][64]: for a score k is the dimension
 * and the 64 are the positions of two blocks, for a value k is the position and the 64 are dimensions.
 * A register tile is 6 queries x 4 vectors: 24 sums, 4 operands and a weight.  Zen 4, one thread, f16 in L1: 117
 * Gop/s of a peak of 117, and 12 x 2 or 8 x 2 reach 106 and 104. */
#include "kernels/x86/avx512_math.h"

enum { TILE_Q = 6, TILE_V = 4, WIDE = 16 * TILE_V };

INLINE __m512 plain16(const char *x, int i, enum dtype t)
{
	if (t == DT_F32) return _mm512_loadu_ps((const float *)x + i);
	__m256i h = load256((const uint16_t *)x + i);
	if (t == DT_F16) return _mm512_cvtph_ps(h);
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* Bytes of 16 elements. */
INLINE int bytes16(enum dtype t)
{
	return t == DT_F32 ? 64 : t == DT_Q8_0 ? 16 : 32;
}
/* Fetches what will be read later, n bytes with each step.  Into L2: Zen 4, decoding at depth 4096 from DRAM with
 * 1 and 2 threads: 7.4 and 12.8 GB/s without, 10.8 and 20 into L1, 15.8 and 28 into L2; 4 or 8 blocks ahead no
 * better than 2. */
INLINE void ahead(const char *p, int n)
{
	for (int i = 0; i < n; i += 64) _mm_prefetch(p + i, _MM_HINT_T1);
}

INLINE void zero(__m512 a[TILE_Q][TILE_V], int n)
{
#pragma GCC unroll 6
	for (int i = 0; i < n; i++)
#pragma GCC unroll 4
		for (int v = 0; v < TILE_V; v++) a[i][v] = _mm512_setzero_ps();
}

INLINE void add_products(__m512 a[TILE_Q][TILE_V], const float *w, int pitch, const __m512 x[TILE_V], int n)
{
#pragma GCC unroll 6
	for (int i = 0; i < n; i++) {
		__m512 q = f(w[i * pitch]);
#pragma GCC unroll 4
		for (int v = 0; v < TILE_V; v++) a[i][v] = _mm512_fmadd_ps(q, x[v], a[i][v]);
	}
}

/* ---- scores: keys of a block lie as [half][dim][16 positions] ----------------------------------------------- */
/* Keys of 16 positions, dimension d of half h. */
INLINE __m512 key16(const char *kb, int h, int d, enum dtype t, int dim)
{
	if (t != DT_Q8_0) return plain16(kb, (h * dim + d) * 16, t);
	/* dwords hold dimensions 4 (d / 4) .. + 3 of a position */
	__m512i q = load512(kb + h * dim * 16 + d / 4 * 64);
	q = _mm512_srai_epi32(_mm512_sllv_epi32(q, _mm512_set1_epi32(24 - 8 * (d % 4))), 24);
	const float *scale = (const float *)(kb + dim * KV_BLOCK) + (h * (dim / 32) + d / 32) * 16;
	return _mm512_mul_ps(_mm512_cvtepi32_ps(q), _mm512_loadu_ps(scale));
}

struct keys {
	const char *kb[2], *next[2]; /* two blocks, or one twice; next[0] NULL: nothing to fetch */
	int n_block, dim;
	float scale;
};

INLINE void score_tile(float *s, const float *q, int n, const struct keys *k, enum dtype t)
{
	__m512 a[TILE_Q][TILE_V];
	const int part = 2 * bytes16(t);
	zero(a, n);
	for (int d = 0; d < k->dim; d++) {
		__m512 x[TILE_V];
#pragma GCC unroll 4
		for (int v = 0; v < TILE_V; v++) x[v] = key16(k->kb[v / 2], v % 2, d, t, k->dim);
		if (k->next[0])
			for (int i = 0; i < 2; i++) ahead(k->next[i] + d * part, part);
		add_products(a, q + d, k->dim, x, n);
	}
#pragma GCC unroll 6
	for (int i = 0; i < n; i++)
#pragma GCC unroll 4
		for (int v = 0; v < TILE_V; v++)
			if (v < 2 * k->n_block) _mm512_storeu_ps(s + i * KV_CHUNK + 16 * v, _mm512_mul_ps(a[i][v], f(k->scale)));
}

INLINE void scores(float *s, const float *q, int n_q, const void *const *kb, int n_block, enum dtype t, int dim,
		   float scale)
{
	for (int b = 0; b < n_block; b += 2, s += 2 * KV_BLOCK) {
		int b1 = b + 1 < n_block ? b + 1 : b;
		struct keys k = { { kb[b], kb[b1] }, { kb[b + KV_AHEAD], kb[b1 + KV_AHEAD] }, n_block - b, dim, scale };
		int i = 0;
		for (; n_q - i >= TILE_Q; i += TILE_Q, k.next[0] = NULL) score_tile(s + i * KV_CHUNK, q + i * dim, TILE_Q, &k, t);
		if (n_q - i >= 4) score_tile(s + i * KV_CHUNK, q + i * dim, 4, &k, t), i += 4, k.next[0] = NULL;
		if (n_q - i == 3) score_tile(s + i * KV_CHUNK, q + i * dim, 3, &k, t);
		if (n_q - i == 2) score_tile(s + i * KV_CHUNK, q + i * dim, 2, &k, t);
		if (n_q - i == 1) score_tile(s + i * KV_CHUNK, q + i * dim, 1, &k, t);
	}
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
	switch (t) {
	case DT_F32: scores(s, q, n_q, kb, n_block, DT_F32, dim, scale); break;
	case DT_F16: scores(s, q, n_q, kb, n_block, DT_F16, dim, scale); break;
	case DT_BF16: scores(s, q, n_q, kb, n_block, DT_BF16, dim, scale); break;
	default: scores(s, q, n_q, kb, n_block, DT_Q8_0, dim, scale); break;
	}
	if (cap > 0) cap_scores(s, n_q, n_block * KV_BLOCK, cap);
}

/* ---- softmax ----------------------------------------------------------------------------------------------- */
INLINE __mmask16 visible(int i, int lo, int hi) /* lanes i .. i+15 inside [lo, hi) */
{
	return (__mmask16)(lanes(hi - i < 0 ? 0 : hi - i) & ~lanes(lo - i < 0 ? 0 : lo - i));
}

static void attn_soft(float *s, int lo, int hi, float *m, float *l)
{
	int i, first = lo / 16 * 16, last = hi / 16 * 16; /* vectors at both ends are seen in part */
	__m512 max[2] = { _mm512_mask_max_ps(f(-INFINITY), visible(first, lo, hi), _mm512_loadu_ps(s + first), f(-INFINITY)) };
	max[1] = max[0];
	if (last < hi) max[1] = _mm512_mask_max_ps(max[1], visible(last, lo, hi), _mm512_loadu_ps(s + last), max[1]);
	for (i = first + 16; i + 16 < last; i += 32) {
		max[0] = _mm512_max_ps(_mm512_loadu_ps(s + i), max[0]); /* a NaN is passed over */
		max[1] = _mm512_max_ps(_mm512_loadu_ps(s + i + 16), max[1]);
	}
	if (i < last) max[0] = _mm512_max_ps(_mm512_loadu_ps(s + i), max[0]);
	*m = _mm512_reduce_max_ps(_mm512_max_ps(max[0], max[1]));
	const __m512 top = f(*m);
	__m512 acc = _mm512_setzero_ps();
	for (i = 0; i < first; i += 16) _mm512_storeu_ps(s + i, acc);
	for (; i < hi; i += 16) {
		__m512 p = v_exp(_mm512_sub_ps(_mm512_loadu_ps(s + i), top));
		if (i < lo || i + 16 > hi) p = _mm512_maskz_mov_ps(visible(i, lo, hi), p);
		_mm512_storeu_ps(s + i, p);
		acc = _mm512_add_ps(acc, p);
	}
	for (; i < KV_CHUNK; i += 16) _mm512_storeu_ps(s + i, _mm512_setzero_ps());
	*l = fold16(acc);
}

/* ---- values ------------------------------------------------------------------------------------------------ */
struct values {
	const void *const *vb;
	const float *s;
	const int *lo, *hi;
	float *o;
	int dim, pitch; /* elements from a position to the next; floats from a query's output to the next */
	bool fetch;     /* the blocks KV_AHEAD further on */
};

/* Vector v of the dimensions d .. of position p.  Q8_0: 32 elements share a scale. */
INLINE __m512 value16(const char *vb, int p, int d, enum dtype t, int dim)
{
	if (t != DT_Q8_0) return plain16(vb, p * dim + d, t);
	const float *scale = (const float *)(vb + dim * KV_BLOCK);
	__m512 q = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load128(vb + p * dim + d)));
	return _mm512_mul_ps(q, f(scale[p * (dim / 32) + d / 32]));
}

/* What lies at a position that a query does not see may be anything: it is masked out, not weighted with zero. */
INLINE void add_seen(__m512 a[TILE_Q][TILE_V], const struct values *v, int q0, int p, const __m512 x[TILE_V], int n)
{
#pragma GCC unroll 6
	for (int i = 0; i < n; i++) {
		__mmask16 m = (__mmask16)(p >= v->lo[q0 + i] && p < v->hi[q0 + i] ? 0xffff : 0);
		__m512 q = f(v->s[(q0 + i) * KV_CHUNK + p]);
#pragma GCC unroll 4
		for (int j = 0; j < TILE_V; j++) a[i][j] = _mm512_mask3_fmadd_ps(q, x[j], a[i][j], m);
	}
}

/* Dimensions d .. d + wide - 1 of n queries; of WIDE vectors those that do not exist repeat the first. */
INLINE void value_tile(const struct values *v, int q0, int n, int d, int wide, enum dtype t)
{
	__m512 a[TILE_Q][TILE_V];
	int lo = KV_CHUNK, hi = 0, all_lo = 0, all_hi = KV_CHUNK; /* positions of any and of every query */
	for (int i = 0; i < n; i++) {
		int l = v->lo[q0 + i], h = v->hi[q0 + i];
		if (l < h) lo = l < lo ? l : lo, hi = h > hi ? h : hi;
		all_lo = l > all_lo ? l : all_lo;
		all_hi = h < all_hi ? h : all_hi;
	}
	const int part = TILE_V * bytes16(t);
	int at[TILE_V];
	for (int j = 0; j < TILE_V; j++) at[j] = d + (16 * j < wide ? 16 * j : 0);
	zero(a, n);
	for (int b = lo / KV_BLOCK * KV_BLOCK; b < hi; b += KV_BLOCK) {
		const char *vb = v->vb[b / KV_BLOCK], *next = v->vb[b / KV_BLOCK + KV_AHEAD];
		next += d / WIDE * KV_BLOCK * part;
		int end = hi < b + KV_BLOCK ? hi : b + KV_BLOCK;
		for (int p = lo > b ? lo : b; p < end; p++) {
			__m512 x[TILE_V];
#pragma GCC unroll 4
			for (int j = 0; j < TILE_V; j++) x[j] = value16(vb, p - b, at[j], t, v->dim);
			if (v->fetch) ahead(next + (p - b) * part, part);
			if (p >= all_lo && p < all_hi) add_products(a, v->s + q0 * KV_CHUNK + p, KV_CHUNK, x, n);
			else add_seen(a, v, q0, p, x, n);
		}
	}
#pragma GCC unroll 6
	for (int i = 0; i < n; i++)
#pragma GCC unroll 4
		for (int j = 0; j < TILE_V; j++)
			if (16 * j < wide) _mm512_mask_storeu_ps(v->o + (q0 + i) * v->pitch + d + 16 * j, lanes(wide - 16 * j), a[i][j]);
}

INLINE void value_rows(struct values v, int n_q, int d, int wide, enum dtype t)
{
	int i = 0;
	v.fetch = true;
	for (; n_q - i >= TILE_Q; i += TILE_Q, v.fetch = false) value_tile(&v, i, TILE_Q, d, wide, t);
	if (n_q - i >= 4) value_tile(&v, i, 4, d, wide, t), i += 4, v.fetch = false;
	if (n_q - i == 3) value_tile(&v, i, 3, d, wide, t);
	if (n_q - i == 2) value_tile(&v, i, 2, d, wide, t);
	if (n_q - i == 1) value_tile(&v, i, 1, d, wide, t);
}

/* The last dim % 16 dimensions, of a copy: a load of 16 could leave the block. */
INLINE void value_rest(struct values v, int n_q, int n_block, enum dtype t)
{
	_Alignas(64) char copy[KV_CHUNK * 16 * sizeof(float)];
	const void *vb[KV_CHUNK / KV_BLOCK + KV_AHEAD];
	int size = t == DT_F32 ? 4 : 2, rest = v.dim % 16;
	for (int b = 0; b < n_block + KV_AHEAD; b++) {
		vb[b] = copy + (b < n_block ? b : 0) * KV_BLOCK * 16 * size;
		for (int p = 0; b < n_block && p < KV_BLOCK; p++)
			memcpy(copy + (b * KV_BLOCK + p) * 16 * size, (const char *)v.vb[b] + (p * v.dim + v.dim - rest) * size, (size_t)(rest * size));
	}
	v.vb = vb;
	v.o += v.dim - rest;
	v.dim = 16;
	value_rows(v, n_q, 0, rest, t);
}

INLINE void values(float *o, const float *s, const int *lo, const int *hi, int n_q, const void *const *vb,
		   enum dtype t, int dim)
{
	struct values v = { vb, s, lo, hi, o, dim, dim, false };
	int whole = dim / 16 * 16, last = 0;
	for (int d = 0; d < whole; d += WIDE) value_rows(v, n_q, d, whole - d < WIDE ? whole - d : WIDE, t);
	if (t == DT_Q8_0 || whole == dim) return;
	for (int i = 0; i < n_q; i++) last = lo[i] < hi[i] && hi[i] > last ? hi[i] : last;
	value_rest(v, n_q, (last + KV_BLOCK - 1) / KV_BLOCK, t);
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

void kern_avx512_attn(struct kern *k)
{
	k->attn_score = attn_score;
	k->attn_soft = attn_soft;
	k->attn_value = attn_value;
}
