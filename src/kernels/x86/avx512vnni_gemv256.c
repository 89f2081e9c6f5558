/* avx512vnni_gemv256.c - GEMV of the K-quants (DOT_X256), straight from the file's blocks.
 *
 * Rows are read one after the other, each from its first block to its last: memory gives most to one stream that the
 * processor's own prefetchers can follow.  Per four blocks of a row vpdpbusd sums codes and vpdpwssd sub-scales; what is
 * left, one integer a block, waits until 16 rows are there and then runs through the contract's fma chain with a row in
 * each lane.  Sums of 4 products fit 16 bits for every type here (Q6_K is the largest: 4 * 63 * 127 = 32004).  The shifts
 * of x go into the sub-scales, which then take eleven bits at most. */
#include "kernels/x86/avx512vnni_codes256.h"

/* Blocks of a row that are summed before the next row (a multiple of 4): what 16 rows leave should stay in L1. */
enum { CHUNK = 32 };

struct x256 {
	const int8_t *q;
	const float *d;
	const int16_t *s16, *s32, *h;
};
INLINE struct x256 x256_of(const void *x, int n)
{
	const char *p = x;
	return (struct x256){(const int8_t *)p, (const float *)(p + x256_d(n)),
			     (const int16_t *)(p + x256_s16(n)), (const int16_t *)(p + x256_s32(n)),
			     (const int16_t *)(p + x256_h(n))};
}

/* One block of x in the order of the codes.  For types with 16 sub-blocks also the shift of each, twice, and what a zero
 * point takes off: the sums of 16, negated. */
struct xblock {
	__m512i x[4];
	__m256i h, minus;
};
/* Q4_K, Q5_K: low nibbles of 64 bytes are sub-blocks 0, 2 (4, 6), high ones 1, 3 (5, 7).
 * Q2_K, Q3_K: bit pair s of 64 bytes is elements 32 s .. and 128 + 32 s ..   Q6_K: in order. */
INLINE void x_block(struct xblock *o, const struct x256 *x, int64_t b, int type)
{
	const int8_t *q = x->q + 256 * b;
	const int second = n_sub(type) == 16 ? 128 : 64, third = 192 - second;
	__m512i v0 = load512(q), v1 = load512(q + second), v2 = load512(q + third), v3 = load512(q + 192);
	if (type == Q6_K) {
		o->x[0] = v0, o->x[1] = v2, o->x[2] = v1, o->x[3] = v3;
	} else {
		o->x[0] = _mm512_shuffle_i32x4(v0, v1, 0x44), o->x[1] = _mm512_shuffle_i32x4(v0, v1, 0xee);
		o->x[2] = _mm512_shuffle_i32x4(v2, v3, 0x44), o->x[3] = _mm512_shuffle_i32x4(v2, v3, 0xee);
	}
	if (n_sub(type) == 8) return;
	__m256i h = _mm256_cvtepi16_epi32(load128(x->h + 8 * b));
	o->h = _mm256_or_si256(h, _mm256_slli_epi32(h, 16));
	o->minus = _mm256_sub_epi16(_mm256_setzero_si256(), load256(x->s16 + 16 * b));
}

/* ---- Q4_K, Q5_K
 * ----------------------------------------------------------------------------------------------------- */
/* Headers of four blocks, one in each lane: their eight scales, shifted by h, as words into *sc; returns M in
 * four parts a block. */
INLINE __m512i k4_heads(__m512i *sc, __m512i h, const struct x256 *x, int64_t b)
{
	const __m512i shift = _mm512_set4_epi32(4, 0, 0, 0), none = _mm512_setzero_si512();
	const __m512i low = _mm512_set4_epi32(0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f);
	const __m512i high = _mm512_set4_epi32(0x30303030, 0, 0x30303030, 0);
	/* dwords: scales 0-3, scales 4-7, minima 0-3, minima 4-7 */
	__m512i v = _mm512_srlv_epi32(_mm512_shuffle_epi32(h, (_MM_PERM_ENUM)0xf0 /* 0 0 3 3 */), shift);
	v = _mm512_mask_shuffle_epi32(v, 0x1111, h, (_MM_PERM_ENUM)0x55);
	v = _mm512_mask_shuffle_epi32(v, 0x4444, h, (_MM_PERM_ENUM)0xaa);
	v = _mm512_mask_shuffle_epi32(v, 0x2222, h, (_MM_PERM_ENUM)0xff);
	__m512i up = _mm512_srli_epi32(_mm512_shuffle_epi32(h, (_MM_PERM_ENUM)0xa5 /* 1 1 2 2 */), 2);
	v = _mm512_ternarylogic_epi32(_mm512_and_si512(v, low), up, high, 0xf8); /* v | (up & high) */
	_mm512_store_si512(sc, _mm512_sllv_epi16(_mm512_unpacklo_epi8(v, none), load512(x->h + 8 * b)));
	return _mm512_madd_epi16(_mm512_unpackhi_epi8(v, none), load512(x->s32 + 8 * b));
}

/* Scales (8 words) of the block against the code sums, four dwords of a sub-block in each half of 256 bits. */
INLINE __m512i k4_scaled(const __m512i v[4], const char *sc)
{
	/* bytes of a word: lanes 0, 1 take scales 0 and 1 four times, lanes 2, 3 scales 2 and 3;
	 * then 4 more */
	const __m512i turn = _mm512_setr_epi64(0x0100010001000100, 0x0302030203020302, 0x0100010001000100,
					       0x0302030203020302, 0x0504050405040504, 0x0706070607060706,
					       0x0504050405040504, 0x0706070607060706);
	const __m512i turn4 = _mm512_add_epi8(turn, _mm512_set1_epi8(8));
	__m512i s = _mm512_broadcast_i32x4(load128(sc));
	__m512i sum = _mm512_dpwssd_epi32(_mm512_setzero_si512(), _mm512_packs_epi32(v[0], v[1]),
					  _mm512_shuffle_epi8(s, turn));
	return _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(v[2], v[3]), _mm512_shuffle_epi8(s, turn4));
}

INLINE __m512i k4_dot(const uint8_t *p, const struct xblock *x, const char *sc, int type)
{
	const __m512i low = _mm512_set1_epi8(15), none = _mm512_setzero_si512();
	__m512i v[4];
	__m512i h = type == Q5_K ? _mm512_broadcast_i64x4(load256(p + 16)) : none;
#pragma GCC unroll 2
	for (int i = 0; i < 2; i++) {
		__m512i q = load512(p + (type == Q5_K ? 48 : 16) + 64 * i);
		__m512i a = _mm512_and_si512(q, low), b = _mm512_and_si512(_mm512_srli_epi16(q, 4), low);
		if (type ==
		    Q5_K) { /* bit j of h: sub-block j; the upper half of a vector is two further on */
			const __m512i bit = _mm512_inserti64x4(_mm512_set1_epi8(1), _mm256_set1_epi8(4), 1);
			const __m512i sixteen = _mm512_set1_epi8(16);
			a = _mm512_mask_add_epi8(a, _mm512_test_epi8_mask(h, _mm512_slli_epi16(bit, 4 * i)),
						 a, sixteen);
			b = _mm512_mask_add_epi8(
				b, _mm512_test_epi8_mask(h, _mm512_slli_epi16(bit, 4 * i + 1)), b, sixteen);
		}
		v[2 * i] = _mm512_dpbusd_epi32(none, a, x->x[2 * i]);
		v[2 * i + 1] = _mm512_dpbusd_epi32(none, b, x->x[2 * i + 1]);
	}
	return k4_scaled(v, sc);
}

/* ---- Q2_K, Q3_K, Q6_K
 * ----------------------------------------------------------------------------------------------- */
/* Sixteen scales as words; lane l of v[0] is sub-block at[l], of v[1] `next` further on, of v[2] and v[3] `second` after.
 * log_zero: of the codes' zero point, 0: none. */
INLINE __m512i k16_scaled(const __m512i v[4], __m256i sc, const struct xblock *x, __m512i at, int next,
			  int second, int log_zero)
{
	const __m512i turn = _mm512_mask_add_epi16(at, 0xf0f0f0f0, at, _mm512_set1_epi16((int16_t)next));
	__m512i s = _mm512_castsi256_si512(_mm256_sllv_epi16(sc, x->h)), sum = _mm512_setzero_si512();
	__m512i s1 = _mm512_permutexvar_epi16(turn, s);
	__m512i s2 = _mm512_permutexvar_epi16(_mm512_add_epi16(turn, _mm512_set1_epi16((int16_t)second)), s);
	if (log_zero)
		sum = _mm512_zextsi256_si512(_mm256_slli_epi32(_mm256_madd_epi16(sc, x->minus), log_zero));
	sum = _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(v[0], v[1]), s1);
	return _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(v[2], v[3]), s2);
}

/* Q6_K: lane l of the code vector i is sub-block 4 i + l. */
INLINE __m512i k6_dot(const uint8_t *p, const struct xblock *x)
{
	const __m512i low = _mm512_set1_epi8(15), two = _mm512_set1_epi8(0x30);
	const __m512i left = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
	const __m512i right = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
	__m512i v[4];
#pragma GCC unroll 2
	for (int i = 0; i < 2; i++) {
		__m512i q = load512(p + 64 * i), h = _mm512_broadcast_i64x4(load256(p + 128 + 32 * i));
		__m512i a = _mm512_and_si512(q, low), b = _mm512_and_si512(_mm512_srli_epi16(q, 4), low);
		a = _mm512_ternarylogic_epi32(a, _mm512_sllv_epi16(h, left), two, 0xf8);
		b = _mm512_ternarylogic_epi32(b, _mm512_srlv_epi16(h, right), two, 0xf8);
		v[2 * i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), a, x->x[2 * i]);
		v[2 * i + 1] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), b, x->x[2 * i + 1]);
	}
	const __m512i at = _mm512_setr_epi64(0, 0, 0x0001000100010001, 0x0001000100010001, 0x0002000200020002,
					     0x0002000200020002, 0x0003000300030003, 0x0003000300030003);
	return k16_scaled(v, _mm256_cvtepi8_epi16(load128(p + 192)), x, at, 4, 8, 5);
}

/* Q2_K: the scales of four blocks, as bytes, into *sc; returns M in four parts a block. */
INLINE __m512i k2_heads(__m512i *sc, __m512i h, const struct x256 *x, int64_t b)
{
	const __m512i low = _mm512_set1_epi8(15), none = _mm512_setzero_si512();
	__m512i mn = _mm512_and_si512(_mm512_srli_epi16(h, 4), low);
	__m512i s01 = load512(x->s16 + 16 * b), s23 = load512(x->s16 + 16 * b + 32);
	_mm512_store_si512(sc, _mm512_and_si512(h, low));
	return _mm512_dpwssd_epi32(
		_mm512_madd_epi16(_mm512_unpacklo_epi8(mn, none), _mm512_shuffle_i32x4(s01, s23, 0x88)),
		_mm512_unpackhi_epi8(mn, none), _mm512_shuffle_i32x4(s01, s23, 0xdd));
}

/* The sixteen scales of Q3_K, six bits each in 12 bytes, less 32. */
INLINE __m256i k3_scales(const uint8_t *p)
{
	int32_t high;
	memcpy(&high, p + 8, 4);
	__m128i v = _mm_loadl_epi64((const __m128i *)p);
	v = _mm_and_si128(_mm_srlv_epi32(_mm_unpacklo_epi64(v, v), _mm_setr_epi32(0, 0, 4, 4)),
			  _mm_set1_epi8(15));
	__m128i h = _mm_and_si128(_mm_srlv_epi32(_mm_set1_epi32(high), _mm_setr_epi32(0, 2, 4, 6)),
				  _mm_set1_epi8(3));
	return _mm256_cvtepi8_epi16(_mm_sub_epi8(_mm_or_si128(v, _mm_slli_epi16(h, 4)), _mm_set1_epi8(32)));
}

INLINE __m512i k2_dot(const uint8_t *p, const struct xblock *x, const char *sc, int type)
{
	const __m512i at = _mm512_setr_epi64(0, 0, 0x0001000100010001, 0x0001000100010001, 0x0008000800080008,
					     0x0008000800080008, 0x0009000900090009, 0x0009000900090009);
	const __m512i bit = _mm512_inserti64x4(_mm512_set1_epi8(1), _mm256_set1_epi8(16), 1);
	__m512i q = load512(p + (type == Q2_K ? 16 : 32)), v[4];
	__m512i h = type == Q3_K ? _mm512_broadcast_i64x4(load256(p)) : _mm512_setzero_si512();
#pragma GCC unroll 4
	for (int s = 0; s < 4; s++) {
		__m512i u = _mm512_and_si512(_mm512_srli_epi16(q, (unsigned)(2 * s)), _mm512_set1_epi8(3));
		if (type == Q3_K)
			u = _mm512_mask_add_epi8(
				u, _mm512_test_epi8_mask(h, _mm512_slli_epi16(bit, (unsigned)s)), u,
				_mm512_set1_epi8(4));
		v[s] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), u, x->x[s]);
	}
	__m256i scales = type == Q3_K ? k3_scales(p + 96) : _mm256_cvtepu8_epi16(load128(sc));
	return k16_scaled(v, scales, x, at, 2, 4, type == Q3_K ? 2 : 0);
}

/* ---- four blocks of a row
 * ------------------------------------------------------------------------------------------- */
/* What 16 rows leave behind: M of four blocks (a lane each, in four parts), I of four blocks, and d with dmin in
 * its upper half. */
struct sums {
	__m512i m[CHUNK / 4][16];
	__m128i i[CHUNK / 4][16];
	int32_t d[CHUNK][16];
};
INLINE int32_t d_of(const uint8_t *p, int type)
{
	int32_t d = 0;
	memcpy(&d, p + (type == Q2_K ? 80 : type == Q3_K ? 108 : type == Q6_K ? 208 : 0), has_min(type) ? 4 : 2);
	return d;
}
/* The sum of the lanes. */
INLINE __m128i fold(__m512i v)
{
	__m256i h = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
	return _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}

/* Blocks b .. b+3 of row i, at p; 4 q: their place in the chunk.  Those past the `live` ones repeat the last.  What
 * lies `ahead` is fetched. */
INLINE void four_blocks(struct sums *s, int q, int i, const uint8_t *p, int64_t ahead, int live, const struct xblock *xb,
			const struct x256 *x, int64_t b, int type)
{
	const uint8_t *at[4];
	__m512i sc = _mm512_setzero_si512(), v[4];
	for (int z = 0; z < 4 * block_size(type); z += 64) _mm_prefetch((const char *)p + ahead + z, _MM_HINT_T1);
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++) at[k] = p + (k < live ? k : live - 1) * block_size(type);
	if (has_min(type)) {
		__m512i h = _mm512_castsi128_si512(load128(at[0]));
		h = _mm512_inserti32x4(h, load128(at[1]), 1);
		h = _mm512_inserti32x4(h, load128(at[2]), 2);
		h = _mm512_inserti32x4(h, load128(at[3]), 3);
		s->m[q][i] = type == Q2_K ? k2_heads(&sc, h, x, b) : k4_heads(&sc, h, x, b);
	}
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++) {
		const struct xblock *xk = xb + (k < live ? k : live - 1);
		const char *row_sc = (const char *)&sc + 16 * k;
		s->d[4 * q + k][i] = d_of(at[k], type);
		v[k] = type == Q6_K   ? k6_dot(at[k], xk)
		       : type <= Q3_K ? k2_dot(at[k], xk, row_sc, type)
				      : k4_dot(at[k], xk, row_sc, type);
	}
	s->i[q][i] = fold(sum4(v[0], v[1], v[2], v[3]));
}

/* ---- 16 rows
 * ---------------------------------------------------------------------------------------------------------- */
/* Of blocks 4 q .. 4 q + 3: out[k] has block k of each row. */
INLINE void rows_as_lanes(__m512i i[4], __m512i m[4], const struct sums *s, int q, int type)
{
	const __m512i turn = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	__m512i u[4];
#pragma GCC unroll 4
	for (int g = 0; g < 4; g++) u[g] = _mm512_permutexvar_epi32(turn, load512(&s->i[q][4 * g]));
	lanes_4x4(i, u);
	if (!has_min(type)) return;
#pragma GCC unroll 4
	for (int g = 0; g < 4; g++) {
		const __m512i *v = &s->m[q][4 * g];
		u[g] = sum4(v[0], v[1], v[2], v[3]);
	}
	lanes_4x4(m, u);
}

/* Blocks b .. b+n of 16 rows.  More chunks than one: the next row's is fetched, after the last row's `next`: the next chunk of
 * the first row, or the next 16 rows. */
INLINE void chunk(struct sums *s, const struct rows16 *r, const struct xblock *xb, const struct x256 *x, int64_t b, int n,
		  bool whole, const uint8_t *next, int type)
{
	const int size = block_size(type);
	for (int i = 0; i < 16; i++) {
		const uint8_t *p = r->p[i] + b * size;
		int64_t ahead = whole ? ROW_AHEAD : i < 15 ? r->p[i + 1] - r->p[i] : next - p;
		int k = 0;
		for (; k + 4 <= n; k += 4) four_blocks(s, k / 4, i, p + k * size, ahead, 4, xb + k, x, b + k, type);
		if (k < n) four_blocks(s, k / 4, i, p + k * size, ahead, n - k, xb + k, x, b + k, type);
	}
}

INLINE __m512 k_16rows(const struct rows16 *r, const struct x256 *x, int64_t n, struct xblock xb[CHUNK], int64_t stride, int type)
{
	struct walk w = walk_start(n);
	struct sums s;
	__m512 acc = _mm512_setzero_ps(), part[LEAVES];
	const int64_t chunks = n > CHUNK ? (n + CHUNK - 1) / CHUNK : 1, most = ((n + chunks - 1) / chunks + 3) / 4 * 4;
	for (int64_t b = 0; b < n; b += most) {
		const int m = (int)(n - b < most ? n - b : most);
		for (int k = 0; k < m && chunks > 1; k++) x_block(&xb[k], x, b + k, type);
		chunk(&s, r, xb, x, b, m, chunks == 1, r->p[0] + (b + m < n ? (b + m) * block_size(type) : 16 * stride), type);
		__m512i dot[4], min[4];
		for (int k = 0; k < m; k++) {
			if (k % 4 == 0) rows_as_lanes(dot, min, &s, k / 4, type);
			__m512i d = load512(s.d[k]);
			__m512 dx = _mm512_set1_ps(x->d[b + k]);
			acc = _mm512_fmadd_ps(_mm512_mul_ps(f16_low(d), dx), _mm512_cvtepi32_ps(dot[k % 4]), acc);
			if (has_min(type))
				acc = _mm512_fnmadd_ps(_mm512_mul_ps(f16_high(d), dx), _mm512_cvtepi32_ps(min[k % 4]), acc);
			if (b + k + 1 == w.end) {
				part[walk_close(&w)] = acc;
				acc = _mm512_setzero_ps();
			}
		}
	}
	return walk_join(part, w.has);
}

INLINE void gemv(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, int type)
{
	const struct x256 xr = x256_of(x, cols);
	const int n = cols / 256;
	struct xblock xb[CHUNK];
	for (int k = 0; k < n && n <= CHUNK; k++) x_block(&xb[k], &xr, k, type);
	for (int i = 0; i < rows; i += 16) {
		struct rows16 r = rows16(w, stride, i, rows);
		_mm512_mask_storeu_ps(y + i, lanes(r.n), k_16rows(&r, &xr, n, xb, stride, type));
	}
}

#define GEMV(id, type)                                                                                       \
	static void gemv_##id(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)    \
	{                                                                                                    \
		gemv(y, w, stride, x, rows, cols, type);                                                     \
	}
GEMV(q2_k, Q2_K)
GEMV(q3_k, Q3_K)
GEMV(q4_k, Q4_K)
GEMV(q5_k, Q5_K)
GEMV(q6_k, Q6_K)

void kern_avx512vnni_gemv256(struct kern *k)
{
	k->w[DT_Q2_K].gemv = gemv_q2_k;
	k->w[DT_Q3_K].gemv = gemv_q3_k;
	k->w[DT_Q4_K].gemv = gemv_q4_k;
	k->w[DT_Q5_K].gemv = gemv_q5_k;
	k->w[DT_Q6_K].gemv = gemv_q6_k;
}
