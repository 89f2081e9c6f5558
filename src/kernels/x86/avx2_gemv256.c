/* avx2_gemv256.c - GEMV of the K-quants (DOT_X256), straight from the file's blocks.
 *
 * Eight rows go together, in pairs: a vector holds 16 bytes of row c and the same of row c + 4, so that both
 * halves of a sub-block of 32 meet one scale and add up in 16 bits first (4 * 31 * 127 = 15748).  Codes by
 * vpmaddubsw (pairs of products fit 16 bits for every type: Q6_K is the largest, 2 * 63 * 127 = 16002),
 * sub-scales by vpmaddwd; one transpose-add of the four pairs makes a vector with a row in each lane for the
 * contract's fma chain. */
#include "kernels/x86/avx2_blocks.h"

/* Blocks from a fetch to its use, 9 KB of Q4_K in all.  Zen 4, two threads, chunks of 160 rows of 8192: 27 GB/s
 * where the next 8 rows were fetched as one stream (the first of a chunk cold, 37 KB too many at its end), 33 so. */
enum { AHEAD = 8 };

/* What a block of 8 rows adds to the chain; dmin and m only for types with minima. */
struct step {
	__m256 d, dmin;
	__m256i dot, m;
};

/* One block of x. */
struct xblock {
	const int8_t *q;
	const int16_t *sums, *h;    /* sums of 32 for Q4_K and Q5_K, else of 16 */
};

/* 16 bytes at `at` of rows c and c + 4 */
INLINE __m256i pair_of(const struct strip8 *r, int c, int at)
{
	return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(strip8_row(r, c) + at)),
				       load128(strip8_row(r, c + 4) + at), 1);
}
INLINE __m256i low4(__m256i v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
INLINE __m256i high4(__m256i v) { return low4(_mm256_srli_epi16(v, 4)); }

/* Rows 2 i and 2 i + 1 of the blocks AHEAD. */
INLINE void fetch_pair(const struct strip8 *r, int bytes, int i)
{
	for (int l = 0; l < bytes; l += 64) {
		fetch(strip8_row(r, 2 * i) + l);
		fetch(strip8_row(r, 2 * i + 1) + l);
	}
}

/* ---- Q4_K, Q5_K --------------------------------------------------------------------------------------------- */
/* d, dmin and M; sc[c]: the eight scales << h of rows c and c + 4, as words */
INLINE struct step k4_heads(__m256i sc[4], const struct strip8 *r, const struct xblock *x)
{
	const __m256i s32 = twice128(x->sums), f = factors256(x->h), zero = _mm256_setzero_si256();
	__m256i m[4], dd = zero;
#pragma GCC unroll 4
	for (int c = 0; c < 4; c++) {
		__m256i v = pair_of(r, c, 0), a = k4_scales(v);
		sc[c] = _mm256_mullo_epi16(_mm256_unpacklo_epi8(a, zero), f);
		m[c] = _mm256_madd_epi16(_mm256_unpackhi_epi8(a, zero), s32);
		__m256i first = _mm256_shuffle_epi32(v, 0);
		dd = c == 0   ? first
		     : c == 1 ? _mm256_blend_epi32(dd, first, 0x22)
		     : c == 2 ? _mm256_blend_epi32(dd, first, 0x44)
			      : _mm256_blend_epi32(dd, first, 0x88);
	}
	struct two_f32 d = split_f16(dd);
	return (struct step){ d.lo, d.hi, zero, sum4(m[0], m[1], m[2], m[3]) };
}

/* Codes of 4 bits with bit i of each byte of h on top. */
INLINE __m256i fifth(__m256i code, __m256i h, int i)
{
	return _mm256_or_si256(code, _mm256_and_si256(move_bit(h, i, 4), _mm256_set1_epi8(16)));
}

INLINE struct step k4_step(const struct strip8 *r, const struct xblock *x, const struct strip8 *next, enum dtype t)
{
	__m256i sc[4], acc[4];
	struct step s = k4_heads(sc, r, x);
	for (int c = 0; c < 4; c++) acc[c] = _mm256_setzero_si256();
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++) { /* sub-blocks 2 j, in low nibbles, and 2 j + 1 */
		const int at = (t == DT_Q4_K ? 16 : 48) + 32 * j;
		const int8_t *q = x->q + 64 * j;
		__m256i x0 = twice128(q), x1 = twice128(q + 16), y0 = twice128(q + 32), y1 = twice128(q + 48);
		fetch_pair(next, size256(t), j);
#pragma GCC unroll 4
		for (int c = 0; c < 4; c++) {
			__m256i a = pair_of(r, c, at), b = pair_of(r, c, at + 16);
			__m256i a0 = low4(a), a1 = high4(a), b0 = low4(b), b1 = high4(b);
			if (t == DT_Q5_K) {
				__m256i ha = pair_of(r, c, 16), hb = pair_of(r, c, 32);
				a0 = fifth(a0, ha, 2 * j), a1 = fifth(a1, ha, 2 * j + 1);
				b0 = fifth(b0, hb, 2 * j), b1 = fifth(b1, hb, 2 * j + 1);
			}
			__m256i lo = _mm256_add_epi16(_mm256_maddubs_epi16(a0, x0), _mm256_maddubs_epi16(b0, x1));
			__m256i hi = _mm256_add_epi16(_mm256_maddubs_epi16(a1, y0), _mm256_maddubs_epi16(b1, y1));
			lo = _mm256_madd_epi16(lo, spread_word(sc[c], 2 * j));
			hi = _mm256_madd_epi16(hi, spread_word(sc[c], 2 * j + 1));
			acc[c] = pin(_mm256_add_epi32(acc[c], _mm256_add_epi32(lo, hi)));
		}
	}
	s.dot = sum4(acc[0], acc[1], acc[2], acc[3]);
	return s;
}

/* ---- Q2_K, Q3_K, Q6_K: sub-blocks of 16 ---------------------------------------------------------------------- */
/* Codes of rows c and c + 4: v[i] is sub-block 8 half + k + 2 i. */
INLINE void codes16(__m256i v[4], const struct strip8 *r, int c, int half, int k, enum dtype t)
{
	const __m256i two = _mm256_set1_epi8(0x30);
	if (t == DT_Q6_K) {
		__m256i a = pair_of(r, c, 64 * half + 16 * k), b = pair_of(r, c, 64 * half + 32 + 16 * k);
		__m256i h = pair_of(r, c, 128 + 32 * half + 16 * k);
		v[0] = _mm256_or_si256(low4(a), _mm256_and_si256(_mm256_slli_epi16(h, 4), two));
		v[1] = _mm256_or_si256(low4(b), _mm256_and_si256(_mm256_slli_epi16(h, 2), two));
		v[2] = _mm256_or_si256(high4(a), _mm256_and_si256(h, two));
		v[3] = _mm256_or_si256(high4(b), _mm256_and_si256(_mm256_srli_epi16(h, 2), two));
		return;
	}
	__m256i q = pair_of(r, c, (t == DT_Q2_K ? 16 : 32) + 32 * half + 16 * k);
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		v[i] = _mm256_and_si256(move_bit(q, 2 * i, 0), _mm256_set1_epi8(3));
		if (t == DT_Q3_K)
			v[i] = _mm256_or_si256(v[i], _mm256_and_si256(move_bit(pair_of(r, c, 16 * k), 4 * half + i, 2),
								      _mm256_set1_epi8(4)));
	}
}

/* Dot products of 16 words in two halves each. */
INLINE __m256i dot_words(const __m256i a[2], const __m256i b[2])
{
	return _mm256_add_epi32(_mm256_madd_epi16(a[0], b[0]), _mm256_madd_epi16(a[1], b[1]));
}

/* d, dmin and M; sc[c]: the 16 scales << h of rows c and c + 4, as words; acc[c]: -zero * (sum of scale * x) */
INLINE struct step k16_heads(__m256i sc[4][2], __m256i acc[4], const struct strip8 *r, const struct xblock *x,
			     enum dtype t)
{
	const __m256i s16[2] = { twice128(x->sums), twice128(x->sums + 8) }; /* shifted by h already */
	const __m256i f = factors256(x->h), zero = _mm256_setzero_si256();
	const __m256i f0 = _mm256_unpacklo_epi16(f, f), f1 = _mm256_unpackhi_epi16(f, f);
	__m256i m[4];
#pragma GCC unroll 4
	for (int c = 0; c < 4; c++) {
		__m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(scales16(strip8_row(r, c), t)),
						    scales16(strip8_row(r, c + 4), t), 1);
		sc[c][0] = _mm256_srai_epi16(_mm256_unpacklo_epi8(v, v), 8);
		sc[c][1] = _mm256_srai_epi16(_mm256_unpackhi_epi8(v, v), 8);
		acc[c] = zero;
		if (zero256(t))
			acc[c] = _mm256_sub_epi32(zero, _mm256_slli_epi32(dot_words(sc[c], s16), t == DT_Q6_K ? 5 : 2));
		sc[c][0] = _mm256_mullo_epi16(sc[c][0], f0);
		sc[c][1] = _mm256_mullo_epi16(sc[c][1], f1);
		if (t == DT_Q2_K) {
			__m256i u = high4(pair_of(r, c, 0));
			m[c] = dot_words((__m256i[]){ _mm256_unpacklo_epi8(u, zero), _mm256_unpackhi_epi8(u, zero) }, s16);
		}
	}
	const uint8_t *p[8];
	strip8_rows(p, r);
	if (t == DT_Q2_K) {
		struct two_f32 d = split_f16(rows8_u32(p, 80));
		return (struct step){ d.lo, d.hi, zero, sum4(m[0], m[1], m[2], m[3]) };
	}
	return (struct step){ rows8_f16(p, t == DT_Q3_K ? 108 : 208), _mm256_setzero_ps(), zero, zero };
}

INLINE struct step k16_step(const struct strip8 *r, const struct xblock *x, const struct strip8 *next, enum dtype t)
{
	__m256i sc[4][2], acc[4];
	struct step s = k16_heads(sc, acc, r, x, t);
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++) { /* sub-blocks 8 (j / 2) + j % 2 + 0, 2, 4, 6 */
		const int8_t *q = x->q + 128 * (j / 2) + 16 * (j % 2);
		__m256i y[4] = { twice128(q), twice128(q + 32), twice128(q + 64), twice128(q + 96) };
		fetch_pair(next, size256(t), j);
#pragma GCC unroll 4
		for (int c = 0; c < 4; c++) {
			__m256i v[4];
			codes16(v, r, c, j / 2, j % 2, t);
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++)
				v[i] = _mm256_madd_epi16(_mm256_maddubs_epi16(v[i], y[i]),
							 spread_word(sc[c][j / 2], j % 2 + 2 * i));
			v[0] = _mm256_add_epi32(_mm256_add_epi32(v[0], v[1]), _mm256_add_epi32(v[2], v[3]));
			acc[c] = pin(_mm256_add_epi32(acc[c], v[0]));
		}
	}
	s.dot = sum4(acc[0], acc[1], acc[2], acc[3]);
	return s;
}

/* ---- the walk over blocks ------------------------------------------------------------------------------------- */
INLINE __m256 eight_rows(struct strip8 r, const struct x256 *x, int64_t n, enum dtype t)
{
	const bool k4 = t == DT_Q4_K || t == DT_Q5_K;
	const int64_t ahead = n < AHEAD ? n : AHEAD;
	struct strip8 next = r;
	strip8_on(&next, ahead * size256(t));
	struct walk w = walk_start(n);
	__m256 acc = _mm256_setzero_ps(), part[LEAVES];
	for (int64_t b = 0; b < n; b++, strip8_on(&r, size256(t)), strip8_on(&next, size256(t))) {
		if (b + ahead == n) strip8_on(&next, 8 * r.stride - n * size256(t));
		struct xblock xb = { x->q + 256 * b, k4 ? x->s32 + 8 * b : x->s16 + 16 * b, x->h + 8 * b };
		struct step s = k4 ? k4_step(&r, &xb, &next, t) : k16_step(&r, &xb, &next, t);
		acc = chain(acc, s.d, x->d[b], s.dot);
		if (min256(t))
			acc = _mm256_fnmadd_ps(_mm256_mul_ps(s.dmin, _mm256_set1_ps(x->d[b])), _mm256_cvtepi32_ps(s.m), acc);
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
	for (int i = 0, n; i < rows; i += n) {
		struct strip8 r = strip8_from(&i, &n, w, stride, rows);
		_mm256_maskstore_ps(y + i, lanes(n), eight_rows(r, &xr, cols / 256, t));
	}
}

#define GEMV(id, type)                                                                                       \
	static void gemv_##id(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)    \
	{                                                                                                    \
		gemv(y, w, stride, x, rows, cols, type);                                                     \
	}
GEMV(q2_k, DT_Q2_K)
GEMV(q3_k, DT_Q3_K)
GEMV(q4_k, DT_Q4_K)
GEMV(q5_k, DT_Q5_K)
GEMV(q6_k, DT_Q6_K)

void kern_avx2_gemv256(struct kern *k)
{
	k->w[DT_Q2_K].gemv = gemv_q2_k;
	k->w[DT_Q3_K].gemv = gemv_q3_k;
	k->w[DT_Q4_K].gemv = gemv_q4_k;
	k->w[DT_Q5_K].gemv = gemv_q5_k;
	k->w[DT_Q6_K].gemv = gemv_q6_k;
}
