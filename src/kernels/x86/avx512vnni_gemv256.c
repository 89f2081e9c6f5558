/* avx512vnni_gemv256.c - GEMV of the K-quants (DOT_X256), straight from the file's blocks.
 *
 * Sixteen rows go together: per row and block one vector of 16 partial sums of I (codes by vpdpbusd,
 * sub-scales as words by vpdpwssd), then one transpose-add makes a vector with a row in each lane for the
 * contract's fma chain. Sums of 4 products fit 16 bits for every type here (Q6_K is the largest: 4 * 63 * 127
 * = 32004). The shifts of x go into the sub-scales, which then take eleven bits at most. */
#include "kernels/x86/avx512.h"

enum { Q2_K, Q3_K, Q4_K, Q5_K, Q6_K };

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

/* One block of x in the order of the codes, what the accumulators start from, and the shift of each 16 elements
 * (types with 16 sub-blocks). */
struct xblock {
	__m512i x[4], start[4];
	__m256i h;
};
INLINE __m256i shifts16(const int16_t *h)
{
	__m256i v = _mm256_cvtepi16_epi32(load128(h));
	return _mm256_or_si256(v, _mm256_slli_epi32(v, 16));
}
INLINE __m512i start_of(__m512i x, int zero)
{
	__m512i none = _mm512_setzero_si512();
	return _mm512_sub_epi32(none, _mm512_dpbusd_epi32(none, _mm512_set1_epi8((char)zero), x));
}

/* 16 bytes of the rows c, c+4, c+8, c+12 */
INLINE __m512i every_4th(const struct rows16 *r, int c, int64_t at)
{
	__m512i h = _mm512_castsi128_si512(load128(r->p[c] + at));
	h = _mm512_inserti32x4(h, load128(r->p[c + 4] + at), 1);
	h = _mm512_inserti32x4(h, load128(r->p[c + 8] + at), 2);
	return _mm512_inserti32x4(h, load128(r->p[c + 12] + at), 3);
}

/* ---- Q4_K, Q5_K
 * ----------------------------------------------------------------------------------------------------- */
/* 32 bytes hold sub-blocks 2i (low nibbles) and 2i+1: low nibbles of 64 bytes are sub-blocks 0, 2 (4, 6),
 * high 1, 3 (5, 7). */
INLINE struct xblock x_k4(const int8_t *q)
{
	struct xblock b = {.h = _mm256_setzero_si256()};
#pragma GCC unroll 2
	for (int i = 0; i < 2; i++) {
		__m512i lo = load512(q + 128 * i), hi = load512(q + 128 * i + 64);
		b.x[2 * i] = _mm512_shuffle_i32x4(lo, hi, 0x44);
		b.x[2 * i + 1] = _mm512_shuffle_i32x4(lo, hi, 0xee);
		b.start[2 * i] = b.start[2 * i + 1] = _mm512_setzero_si512();
	}
	return b;
}

/* Headers of 16 rows, vector c holding rows c, c+4, c+8, c+12: d and dmin as f32, M of each row, and each
 * row's eight scales, shifted by h, as words into sc[c]. */
struct k4_head {
	__m512 d, dmin;
	__m512i m;
};
INLINE struct k4_head k4_heads(__m512i sc[4], const struct rows16 *r, int64_t at, __m512i s32,
			      __m512i x_h)
{
	const __m512i shift = _mm512_set4_epi32(4, 0, 0, 0);
	const __m512i low = _mm512_set4_epi32(0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f);
	const __m512i high = _mm512_set4_epi32(0x30303030, 0, 0x30303030, 0);
	__m512i m[4], dd = _mm512_setzero_si512();
#pragma GCC unroll 4
	for (int c = 0; c < 4; c++) {
		__m512i h = every_4th(r, c, at);
		dd = _mm512_mask_shuffle_epi32(dd, (__mmask16)(0x1111 << c), h, 0);
		/* dwords: scales 0-3, scales 4-7, minima 0-3, minima 4-7 */
		__m512i a =
			_mm512_srlv_epi32(_mm512_shuffle_epi32(h, (_MM_PERM_ENUM)0xf0 /* 0 0 3 3 */), shift);
		a = _mm512_mask_shuffle_epi32(a, 0x1111, h, (_MM_PERM_ENUM)0x55);
		a = _mm512_mask_shuffle_epi32(a, 0x4444, h, (_MM_PERM_ENUM)0xaa);
		a = _mm512_mask_shuffle_epi32(a, 0x2222, h, (_MM_PERM_ENUM)0xff);
		__m512i b = _mm512_srli_epi32(_mm512_shuffle_epi32(h, (_MM_PERM_ENUM)0xa5 /* 1 1 2 2 */), 2);
		a = _mm512_ternarylogic_epi32(_mm512_and_si512(a, low), b, high, 0xf8); /* a | (b & high) */
		_mm512_store_si512(&sc[c],
				   _mm512_sllv_epi16(_mm512_unpacklo_epi8(a, _mm512_setzero_si512()), x_h));
		m[c] = _mm512_madd_epi16(_mm512_unpackhi_epi8(a, _mm512_setzero_si512()), s32);
	}
	return (struct k4_head){f16_low(dd), f16_high(dd), sum4(m[0], m[1], m[2], m[3])};
}

/* Scales (8 words) of the row against the code sums, four dwords of a sub-block in each half of 256 bits. */
INLINE __m512i k4_scaled(__m512i v[4], const char *sc)
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

INLINE __m512i k4_row(const uint8_t *p, const struct xblock *x, const char *sc, int type)
{
	const __m512i low = _mm512_set1_epi8(15);
	__m512i v[4];
	__m512i h = type == Q5_K ? _mm512_broadcast_i64x4(load256(p + 16)) : _mm512_setzero_si512();
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
		v[2 * i] = _mm512_dpbusd_epi32(x->start[2 * i], a, x->x[2 * i]);
		v[2 * i + 1] = _mm512_dpbusd_epi32(x->start[2 * i + 1], b, x->x[2 * i + 1]);
	}
	return k4_scaled(v, sc);
}

/* ---- Q6_K: lane l of the code vector i is sub-block 4 i + l
 * ------------------------------------------------------------ */
INLINE struct xblock x_k6(const int8_t *q, const int16_t *h)
{
	struct xblock b = {.h = shifts16(h)};
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		b.x[i] = load512(q + 64 * i);
		b.start[i] = start_of(b.x[i], 32);
	}
	return b;
}

/* Sixteen scales as words, to be shifted by h; lane l of v[0] is sub-block at[l], of v[1] next further on, of
 * v[2] and v[3] `second` after. */
INLINE __m512i k16_scaled(__m512i v[4], __m256i sc, __m256i h, __m512i at, int next, int second)
{
	const __m512i turn = _mm512_mask_add_epi16(at, 0xf0f0f0f0, at, _mm512_set1_epi16((int16_t)next));
	__m512i s = _mm512_castsi256_si512(_mm256_sllv_epi16(sc, h));
	__m512i s1 = _mm512_permutexvar_epi16(turn, s);
	__m512i s2 = _mm512_permutexvar_epi16(_mm512_add_epi16(turn, _mm512_set1_epi16((int16_t)second)), s);
	__m512i a = _mm512_dpwssd_epi32(_mm512_setzero_si512(), _mm512_packs_epi32(v[0], v[1]), s1);
	return _mm512_dpwssd_epi32(a, _mm512_packs_epi32(v[2], v[3]), s2);
}

INLINE __m512i k6_row(const uint8_t *p, const struct xblock *x)
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
		v[2 * i] = _mm512_dpbusd_epi32(x->start[2 * i], a, x->x[2 * i]);
		v[2 * i + 1] = _mm512_dpbusd_epi32(x->start[2 * i + 1], b, x->x[2 * i + 1]);
	}
	const __m512i at = _mm512_setr_epi64(0, 0, 0x0001000100010001, 0x0001000100010001, 0x0002000200020002,
					     0x0002000200020002, 0x0003000300030003, 0x0003000300030003);
	return k16_scaled(v, _mm256_cvtepi8_epi16(load128(p + 192)), x->h, at, 4, 8);
}

/* ---- Q2_K, Q3_K: bit pair s of 64 bytes is elements 32 s .. and 128 + 32 s ..
 * ----------------------------------------- */
INLINE struct xblock x_k2(const int8_t *q, const int16_t *h, int zero)
{
	__m512i a = load512(q), b = load512(q + 64), c = load512(q + 128), d = load512(q + 192);
	struct xblock r = {.x = {_mm512_shuffle_i32x4(a, c, 0x44), _mm512_shuffle_i32x4(a, c, 0xee),
				 _mm512_shuffle_i32x4(b, d, 0x44), _mm512_shuffle_i32x4(b, d, 0xee)},
			   .h = shifts16(h)};
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) r.start[i] = start_of(r.x[i], zero);
	return r;
}

/* d and dmin of 16 rows, M of each row, and its 16 scales as bytes into sc[c] (rows c, c+4, c+8, c+12). */
INLINE struct k4_head k2_heads(__m512i sc[4], const struct rows16 *r, int64_t at, const int16_t *s16)
{
	const __m512i low = _mm512_set1_epi8(15), none = _mm512_setzero_si512();
	__m512i m[4], x0 = _mm512_broadcast_i32x4(load128(s16)),
		      x1 = _mm512_broadcast_i32x4(load128(s16 + 8));
#pragma GCC unroll 4
	for (int c = 0; c < 4; c++) {
		__m512i h = every_4th(r, c, at), mn = _mm512_and_si512(_mm512_srli_epi16(h, 4), low);
		_mm512_store_si512(&sc[c], _mm512_and_si512(h, low));
		m[c] = _mm512_dpwssd_epi32(_mm512_madd_epi16(_mm512_unpacklo_epi8(mn, none), x0),
					   _mm512_unpackhi_epi8(mn, none), x1);
	}
	return (struct k4_head){rows16_f16(r, at + 80), rows16_f16(r, at + 82), sum4(m[0], m[1], m[2], m[3])};
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

INLINE __m512i k2_row(const uint8_t *p, const struct xblock *x, const char *sc, int type)
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
		v[s] = _mm512_dpbusd_epi32(x->start[s], u, x->x[s]);
	}
	return k16_scaled(v, type == Q3_K ? k3_scales(p + 96) : _mm256_cvtepu8_epi16(load128(sc)), x->h, at, 2,
			  4);
}

/* ---- the walk over blocks
 * --------------------------------------------------------------------------------------------------- */
INLINE int block_size(int type)
{
	return type == Q2_K ? 84 : type == Q3_K ? 110 : type == Q4_K ? 144 : type == Q5_K ? 176 : 210;
}

INLINE bool has_min(int type)
{
	return type == Q2_K || type == Q4_K || type == Q5_K;
}

/* Partial sums of I of one block of 16 rows. */
INLINE __m512i k_dots(const struct rows16 *r, int64_t at, const struct xblock *x, const __m512i sc[4],
		      const uint8_t *next, int type)
{
	__m512i u[4];
#pragma GCC unroll 4
	for (int g = 0; g < 4; g++) {
		__m512i v[4];
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++) {
			const uint8_t *p = r->p[4 * g + i] + at;
			const char *row_sc = (const char *)&sc[i] + 16 * g;
			fetch(next + 16 * at, 16 * block_size(type), 4 * g + i);
			v[i] = type == Q6_K   ? k6_row(p, x)
			       : type <= Q3_K ? k2_row(p, x, row_sc, type)
					      : k4_row(p, x, row_sc, type);
		}
		u[g] = sum4(v[0], v[1], v[2], v[3]);
	}
	return lanes_1(u);
}

INLINE __m512 k_16rows(const struct rows16 *r, const struct x256 *x, int64_t n, const uint8_t *next, int type)
{
	struct walk w = walk_start(n);
	__m512 acc = _mm512_setzero_ps(), part[LEAVES];
	for (int64_t b = 0; b < n; b++) {
		const int64_t at = b * block_size(type);
		const int8_t *q = x->q + 256 * b;
		__m512i sc[4];
		struct k4_head head = {0};
		struct xblock xb = type == Q6_K   ? x_k6(q, x->h + 8 * b)
				   : type <= Q3_K ? x_k2(q, x->h + 8 * b, type == Q3_K ? 4 : 0)
						  : x_k4(q);
		if (type == Q6_K)
			head.d = rows16_f16(r, at + 208);
		else if (type == Q3_K)
			head.d = rows16_f16(r, at + 108);
		else if (type == Q2_K)
			head = k2_heads(sc, r, at, x->s16 + 16 * b);
		else
			head = k4_heads(sc, r, at, _mm512_broadcast_i32x4(load128(x->s32 + 8 * b)),
					_mm512_broadcast_i32x4(load128(x->h + 8 * b)));
		__m512 dx = _mm512_set1_ps(x->d[b]),
		       dot = _mm512_cvtepi32_ps(k_dots(r, at, &xb, sc, next, type));
		acc = _mm512_fmadd_ps(_mm512_mul_ps(head.d, dx), dot, acc);
		if (has_min(type))
			acc = _mm512_fnmadd_ps(_mm512_mul_ps(head.dmin, dx), _mm512_cvtepi32_ps(head.m), acc);
		if (b + 1 == w.end) {
			part[walk_close(&w)] = acc;
			acc = _mm512_setzero_ps();
		}
	}
	return walk_join(part, w.has);
}

INLINE void gemv(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, int type)
{
	struct x256 xr = x256_of(x, cols);
	for (int i = 0; i < rows; i += 16) {
		struct rows16 r = rows16(w, stride, i, rows);
		_mm512_mask_storeu_ps(y + i, lanes(r.n),
				      k_16rows(&r, &xr, cols / 256, r.p[0] + 16 * stride, type));
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
