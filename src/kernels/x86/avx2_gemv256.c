/* avx2_gemv256.c - GEMV of the K-quants (DOT_X256), straight from the file's blocks.
 *
 * Eight rows go together: per row and block one vector of 8 partial sums of I (codes by vpmaddubsw,
 * sub-scales by vpmaddwd), then one transpose-add makes a vector with a row in each lane for the contract's
 * fma chain. Pairs of products fit 16 bits for every type (Q6_K is the largest: 2 * 63 * 127 = 16002). */
#include "kernels/x86/avx2_blocks.h"

/* sum over the block of scale * code * x, 8 partial sums.  sc: scales << h as words, even and odd sub-blocks
 * as lanes. */
INLINE __m256i row_dot(const uint8_t *p, const int8_t *x, __m256i sc, enum dtype t)
{
	__m256i v[8];
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		v[i] = _mm256_madd_epi16(_mm256_maddubs_epi16(codes256(p, i, t), load256(x + 32 * i)),
					 spread_word(sc, i));
	__m256i a = _mm256_add_epi32(_mm256_add_epi32(v[0], v[1]), _mm256_add_epi32(v[2], v[3]));
	return _mm256_add_epi32(a,
				_mm256_add_epi32(_mm256_add_epi32(v[4], v[5]), _mm256_add_epi32(v[6], v[7])));
}

/* What a block of 8 rows adds to the chain; dmin and m only for types with minima. */
struct step {
	__m256 d, dmin;
	__m256i dot, m;
};

/* ---- Q4_K, Q5_K
 * ---------------------------------------------------------------------------------------------------- */
INLINE struct step k4_step(const struct rows8 *r, int64_t at, const struct x256 *x, int64_t b, enum dtype t)
{
	const __m256i s32 = twice128(x->s32 + 8 * b), zero = _mm256_setzero_si256();
	const __m256i f = factors256(x->h + 8 * b);
	__m256i sc[4], m[4], v[8], dd = zero;
#pragma GCC unroll 4
	for (int c = 0; c < 4; c++) { /* rows c and c + 4 */
		__m256i h = _mm256_inserti128_si256(_mm256_castsi128_si256(load128(r->p[c] + at)),
						    load128(r->p[c + 4] + at), 1);
		__m256i a = k4_scales(h);
		_mm256_store_si256(&sc[c], _mm256_mullo_epi16(_mm256_unpacklo_epi8(a, zero), f));
		m[c] = _mm256_madd_epi16(_mm256_unpackhi_epi8(a, zero), s32);
		__m256i first = _mm256_shuffle_epi32(h, 0);
		dd = c == 0   ? first
		     : c == 1 ? _mm256_blend_epi32(dd, first, 0x22)
		     : c == 2 ? _mm256_blend_epi32(dd, first, 0x44)
			      : _mm256_blend_epi32(dd, first, 0x88);
	}
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		v[i] = row_dot(r->p[i] + at, x->q + 256 * b,
			       twice128((const char *)&sc[i % 4] + 16 * (i / 4)), t);
	struct two_f32 d = split_f16(dd);
	return (struct step){ d.lo, d.hi, lanes_1(sum4(v[0], v[1], v[2], v[3]), sum4(v[4], v[5], v[6], v[7])),
			      sum4(m[0], m[1], m[2], m[3]) };
}

/* ---- Q2_K, Q3_K, Q6_K: sub-blocks of 16
 * ----------------------------------------------------------------------------- */
/* Sums of 16 x, even and odd sub-blocks as lanes. */
INLINE __m256i even_odd_sums(const int16_t *s16)
{
	const __m256i turn = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1, 4,
					      5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
	return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(load256(s16), turn), 0xd8);
}

INLINE struct step k16_step(const struct rows8 *r, int64_t at, const struct x256 *x, int64_t b, enum dtype t)
{
	const __m256i s16 = even_odd_sums(x->s16 + 16 * b), f = factors256(x->h + 8 * b);
	struct step s;
	__m256i v[8], m[8];
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) {
		const uint8_t *p = r->p[i] + at;
		__m256i sc = _mm256_cvtepi8_epi16(even_odd(scales16(p, t)));
		v[i] = row_dot(p, x->q + 256 * b, _mm256_mullo_epi16(sc, f), t);
		/* w = code - zero; the sums are shifted already */
		if (t == DT_Q6_K)
			v[i] = _mm256_sub_epi32(v[i], _mm256_slli_epi32(_mm256_madd_epi16(sc, s16), 5));
		if (t == DT_Q3_K)
			v[i] = _mm256_sub_epi32(v[i], _mm256_slli_epi32(_mm256_madd_epi16(sc, s16), 2));
		if (t == DT_Q2_K) m[i] = _mm256_madd_epi16(_mm256_cvtepi8_epi16(even_odd(mins16(p))), s16);
	}
	s.dot = lanes_1(sum4(v[0], v[1], v[2], v[3]), sum4(v[4], v[5], v[6], v[7]));
	if (t == DT_Q2_K) {
		struct two_f32 d = split_f16(rows8_u32(r, at + 80));
		s.d = d.lo;
		s.dmin = d.hi;
		s.m = lanes_1(sum4(m[0], m[1], m[2], m[3]), sum4(m[4], m[5], m[6], m[7]));
	} else
		s.d = rows8_f16(r, at + (t == DT_Q3_K ? 108 : 208));
	return s;
}

/* ---- the walk over blocks
 * -------------------------------------------------------------------------------------------- */
INLINE __m256 eight_rows(const struct rows8 *r, const struct x256 *x, int64_t n, const uint8_t *next,
			 enum dtype t)
{
	const int size = size256(t);
	struct walk w = walk_start(n);
	__m256 acc = _mm256_setzero_ps(), part[LEAVES];
	for (int64_t b = 0; b < n; b++) {
		const int64_t at = b * size;
		fetch(next + 8 * at, 8 * size);
		struct step s =
			t == DT_Q4_K || t == DT_Q5_K ? k4_step(r, at, x, b, t) : k16_step(r, at, x, b, t);
		acc = chain(acc, s.d, x->d[b], s.dot);
		if (min256(t))
			acc = _mm256_fnmadd_ps(_mm256_mul_ps(s.dmin, _mm256_set1_ps(x->d[b])),
					       _mm256_cvtepi32_ps(s.m), acc);
		if (b + 1 == w.end) {
			part[walk_close(&w)] = acc;
			acc = _mm256_setzero_ps();
		}
	}
	return walk_join(part, 1, w.has);
}

INLINE void gemv(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, enum dtype t)
{
	struct x256 xr = x256_of(x, cols);
	for (int i = 0; i < rows; i += 8) {
		struct rows8 r = rows8(w, stride, i, rows);
		__m256 v = eight_rows(&r, &xr, cols / 256, r.p[0] + 8 * stride, t);
		_mm256_maskstore_ps(y + i, lanes(r.n), v);
	}
}

static void gemv_q2_k(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_Q2_K);
}
static void gemv_q3_k(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_Q3_K);
}
static void gemv_q4_k(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_Q4_K);
}
static void gemv_q5_k(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_Q5_K);
}
static void gemv_q6_k(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_Q6_K);
}

void kern_avx2_gemv256(struct kern *k)
{
	k->w[DT_Q2_K].gemv = gemv_q2_k;
	k->w[DT_Q3_K].gemv = gemv_q3_k;
	k->w[DT_Q4_K].gemv = gemv_q4_k;
	k->w[DT_Q5_K].gemv = gemv_q5_k;
	k->w[DT_Q6_K].gemv = gemv_q6_k;
}
