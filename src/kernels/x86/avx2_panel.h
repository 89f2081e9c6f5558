/* avx2_panel.h - panels of 16 weight rows and tiles of 4 tokens for the integer GEMMs of AVX2 and AVX-VNNI.
 * A vector of codes is [8 rows][4 k]; a token's 4 k are broadcast against it, so that lanes are rows as in
 * GEMV. */
#pragma once
#include "kernels/x86/avx2_blocks.h"

enum { NR = 16, MR = 4 };

struct panel32 {
	uint8_t q[8][2][32];
	float d[NR], m[NR];
};
struct tile32 {
	int8_t q[8][MR][4];
	int16_t pair[MR][2];
	int32_t sum[MR];
	float d[MR], ds[MR];
};

/* sc: each scale twice (AVX-VNNI: as a dword); mn: the minima of sub-blocks 2 i and 2 i + 1 (AVX-VNNI: of a
 * type with a zero point, the scales).  Q4_K and Q5_K fill the first 8 of sc. */
struct panel256 {
	uint8_t q[64][2][32];
	int16_t sc[16][2][8][2], mn[8][2][8][2];
	float d[NR], dmin[NR];
};
struct tile256 {
	int8_t q[64][MR][4];
	int16_t pair[16][MR][2], s16[8][MR][2];
	int32_t h[8][MR];
	float d[MR], pad[12];
};

/* pair of a tile: sums of x over k = 0, 1 and over k = 2, 3 (mod 4), as the words of a product of codes hold
 * them; not shifted by h, unlike s16. */

INLINE size_t panel32_bytes(int cols)
{
	return (size_t)(cols / 32) * sizeof(struct panel32);
}
INLINE size_t panel256_bytes(int cols)
{
	return (size_t)(cols / 256) * sizeof(struct panel256);
}
INLINE size_t tiles(int n_tok)
{
	return ((size_t)n_tok + MR - 1) / MR;
}
INLINE size_t tile32_bytes(int n_tok, int cols)
{
	return tiles(n_tok) * (size_t)(cols / 32) * sizeof(struct tile32);
}
INLINE size_t tile256_bytes(int n_tok, int cols)
{
	return tiles(n_tok) * (size_t)(cols / 256) * sizeof(struct tile256);
}

INLINE void transpose8(__m256i v[8]) /* 8 x 8 dwords */
{
	__m256i a[8], b[8];
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		a[2 * i] = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
		a[2 * i + 1] = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
	}
#pragma GCC unroll 2
	for (int i = 0; i < 2; i++) {
		b[4 * i] = _mm256_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
		b[4 * i + 1] = _mm256_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
		b[4 * i + 2] = _mm256_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
		b[4 * i + 3] = _mm256_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		v[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
		v[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
	}
}

/* ---- weights
 * -------------------------------------------------------------------------------------------------------- */
/* Eight row pointers; rows that do not exist repeat the last. */
struct rows8 {
	const uint8_t *p[8];
};
INLINE struct rows8 panel_rows(const void *w, int64_t stride, int first, int rows)
{
	struct rows8 r;
	for (int i = 0; i < 8; i++)
		r.p[i] = (const uint8_t *)w + (int64_t)(first + i < rows ? first + i : rows - 1) * stride;
	return r;
}
INLINE void pack32(void *panel, const void *w, int64_t stride, int rows, int cols, enum dtype t)
{
	struct panel32 *o = panel;
	struct rows8 r[2] = { panel_rows(w, stride, 0, rows), panel_rows(w, stride, rows > 8 ? 8 : 0, rows) };
	for (int b = 0; b < cols / 32; b++)
		for (int g = 0; g < 2; g++) {
			const int64_t at = (int64_t)b * size32(t);
			__m256i v[8];
#pragma GCC unroll 8
			for (int i = 0; i < 8; i++) v[i] = codes32(r[g].p[i] + at, t);
			transpose8(v);
#pragma GCC unroll 8
			for (int i = 0; i < 8; i++) _mm256_store_si256((__m256i *)o[b].q[i][g], v[i]);
			struct two_f32 h;
			if (min32(t))
				h = split_f16(rows8_u32(r[g].p, at));
			else
				h = (struct two_f32){ rows8_f16(r[g].p, at), _mm256_setzero_ps() };
			_mm256_storeu_ps(o[b].d + 8 * g, h.lo);
			_mm256_storeu_ps(o[b].m + 8 * g, h.hi);
		}
}

/* One dword per sub-block and row: transposed, row by row. */
INLINE void put_words(int16_t dst[8][2][8][2], int g, __m256i v[8])
{
	transpose8(v);
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) _mm256_storeu_si256((__m256i *)dst[i][g], v[i]);
}
/* Each of 8 words twice; `wide`: as a dword. */
INLINE __m256i twice_words(__m128i v, bool wide)
{
	if (wide) return _mm256_cvtepi16_epi32(v);
	__m256i d = _mm256_cvtepu16_epi32(v);
	return _mm256_or_si256(d, _mm256_slli_epi32(d, 16));
}

INLINE void pack_k4_scales(struct panel256 *o, int g, const struct rows8 *r, int64_t at, bool wide)
{
	__m256i sc[8], mn[8];
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) {
		__m128i s = _mm256_castsi256_si128(k4_scales(_mm256_castsi128_si256(load128(r->p[i] + at))));
		sc[i] = twice_words(_mm_cvtepu8_epi16(s), wide);
		mn[i] = twice_words(_mm_cvtepu8_epi16(_mm_srli_si128(s, 8)), false);
	}
	put_words(o->sc, g, sc);
	put_words(o->mn, g, mn);
}

INLINE void pack_k16_scales(struct panel256 *o, int g, const struct rows8 *r, int64_t at, enum dtype t,
			    bool wide)
{
	__m256i lo[8], hi[8], mn[8];
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) {
		__m256i s = _mm256_cvtepi8_epi16(scales16(r->p[i] + at, t));
		lo[i] = twice_words(_mm256_castsi256_si128(s), wide);
		hi[i] = twice_words(_mm256_extracti128_si256(s, 1), wide);
		mn[i] = t == DT_Q2_K ? _mm256_cvtepi8_epi16(mins16(r->p[i] + at)) : s;
	}
	put_words(o->sc, g, lo);
	put_words(o->sc + 8, g, hi);
	if (t == DT_Q2_K || wide) put_words(o->mn, g, mn);
}

INLINE void pack256(void *panel, const void *w, int64_t stride, int rows, int cols, enum dtype t, bool wide)
{
	struct panel256 *o = panel;
	struct rows8 r[2] = { panel_rows(w, stride, 0, rows), panel_rows(w, stride, rows > 8 ? 8 : 0, rows) };
	for (int b = 0; b < cols / 256; b++)
		for (int g = 0; g < 2; g++) {
			const int64_t at = (int64_t)b * size256(t);
#pragma GCC unroll 8
			for (int i = 0; i < 8; i++) {
				__m256i v[8];
#pragma GCC unroll 8
				for (int k = 0; k < 8; k++) v[k] = codes256(r[g].p[k] + at, i, t);
				transpose8(v);
#pragma GCC unroll 8
				for (int k = 0; k < 8; k++)
					_mm256_store_si256((__m256i *)o[b].q[8 * i + k][g], v[k]);
			}
			struct two_f32 h = { .hi = _mm256_setzero_ps() };
			if (min256(t))
				h = split_f16(rows8_u32(r[g].p, at + (t == DT_Q2_K ? 80 : 0)));
			else
				h.lo = rows8_f16(r[g].p, at + (t == DT_Q3_K ? 108 : 208));
			_mm256_storeu_ps(o[b].d + 8 * g, h.lo);
			_mm256_storeu_ps(o[b].dmin + 8 * g, h.hi);
			if (t == DT_Q4_K || t == DT_Q5_K)
				pack_k4_scales(&o[b], g, &r[g], at, wide);
			else
				pack_k16_scales(&o[b], g, &r[g], at, t, wide);
		}
}

/* ---- activations: tokens that do not exist repeat the last
 * ------------------------------------------------------------ */
/* Dwords of four rows side by side: 16 k. */
INLINE void interleave4(int8_t q[4][MR][4], const int8_t *const x[MR], int k)
{
	__m128i a = load128(x[0] + k), b = load128(x[1] + k), c = load128(x[2] + k), d = load128(x[3] + k);
	__m128i ab = _mm_unpacklo_epi32(a, b), cd = _mm_unpacklo_epi32(c, d);
	_mm_storeu_si128((__m128i *)q[0], _mm_unpacklo_epi64(ab, cd));
	_mm_storeu_si128((__m128i *)q[1], _mm_unpackhi_epi64(ab, cd));
	ab = _mm_unpackhi_epi32(a, b), cd = _mm_unpackhi_epi32(c, d);
	_mm_storeu_si128((__m128i *)q[2], _mm_unpacklo_epi64(ab, cd));
	_mm_storeu_si128((__m128i *)q[3], _mm_unpackhi_epi64(ab, cd));
}
/* Words: sums over k = 0, 1 and over 2, 3 (mod 4) of 16 k, as one dword. */
INLINE void put_pair(int16_t o[2], __m128i v)
{
	v = _mm_maddubs_epi16(_mm_set1_epi8(1), v);
	v = _mm_add_epi16(v, _mm_shuffle_epi32(v, 0x4e));
	int s = _mm_cvtsi128_si32(_mm_add_epi16(v, _mm_shuffle_epi32(v, 0xb1)));
	memcpy(o, &s, sizeof s);
}

INLINE void pack_x32(void *xp, const void *x, int n_tok, int cols)
{
	struct tile32 *o = xp;
	size_t row = x_bytes(DOT_X32, cols);
	for (int t0 = 0; t0 < n_tok; t0 += MR) {
		struct x32 x4[MR];
		const int8_t *q[MR];
		for (int t = 0; t < MR; t++) {
			x4[t] = x32_of((const char *)x + row * (size_t)(t0 + t < n_tok ? t0 + t : n_tok - 1),
				       cols);
			q[t] = x4[t].q;
		}
		for (int b = 0; b < cols / 32; b++, o++) {
			interleave4(o->q, q, 32 * b);
			interleave4(o->q + 4, q, 32 * b + 16);
			for (int t = 0; t < MR; t++) {
				int16_t hi[2];
				put_pair(o->pair[t], load128(q[t] + 32 * b));
				put_pair(hi, load128(q[t] + 32 * b + 16));
				o->pair[t][0] = (int16_t)(o->pair[t][0] + hi[0]);
				o->pair[t][1] = (int16_t)(o->pair[t][1] + hi[1]);
				o->sum[t] = x4[t].sum[b];
				o->d[t] = x4[t].d[b];
				o->ds[t] = x4[t].ds[b];
			}
		}
	}
}

INLINE void pack_x256(void *xp, const void *x, int n_tok, int cols)
{
	struct tile256 *o = xp;
	size_t row = x_bytes(DOT_X256, cols);
	for (int t0 = 0; t0 < n_tok; t0 += MR) {
		struct x256 x4[MR];
		const int8_t *q[MR];
		for (int t = 0; t < MR; t++) {
			x4[t] = x256_of((const char *)x + row * (size_t)(t0 + t < n_tok ? t0 + t : n_tok - 1),
					cols);
			q[t] = x4[t].q;
		}
		for (int b = 0; b < cols / 256; b++, o++)
			for (int j = 0; j < 16; j++) {
				interleave4(o->q + 4 * j, q, 256 * b + 16 * j);
				for (int t = 0; t < MR; t++) {
					put_pair(o->pair[j][t], load128(q[t] + 256 * b + 16 * j));
					o->s16[j / 2][t][j % 2] = x4[t].s16[16 * b + j];
					o->h[j / 2][t] = x4[t].h[8 * b + j / 2];
					o->d[t] = x4[t].d[b];
				}
			}
	}
}

/* ---- a tile's sums: [8-row group][token]
 * ------------------------------------------------------------------------------- */
struct sums {
	__m256 v[2 * MR];
};

INLINE __m256i spread32(const void *p)
{
	return _mm256_set1_epi32((int)load32(p));
}

/* Joins the leaves and stores tokens [0, n_tok) of the tile. */
INLINE void put_tile(float *y, int64_t y_stride, const struct sums part[LEAVES], unsigned has, int rows,
		     int n_tok)
{
	for (int t = 0; t < MR && t < n_tok; t++)
		for (int g = 0; g < 2; g++) {
			__m256 v = walk_join(&part[0].v[g * MR + t], 2 * MR, has);
			_mm256_maskstore_ps(y + t * y_stride + 8 * g, lanes(rows - 8 * g), v);
		}
}

/* ---- the walk over blocks; `dot` is a constant and disappears
 * ------------------------------------------------------------ */
/* acc: I of a block, [8-row group][token] */
typedef void dot32(__m256i acc[2 * MR], const struct panel32 *w, const struct tile32 *x, enum dtype t);
typedef void dot256(__m256i acc[2 * MR], const struct panel256 *w, const struct tile256 *x, enum dtype t);

INLINE void run_tile32(float *y, int64_t y_stride, const struct panel32 *w, const struct tile32 *x, int rows,
		       int n_tok, int64_t n, enum dtype t, dot32 *dot)
{
	struct walk k = walk_start(n);
	struct sums part[LEAVES], s = { { { 0 } } };
	for (int64_t b = 0; b < n; b++, w++, x++) {
		__m256i acc[2 * MR];
		dot(acc, w, x, t);
#pragma GCC unroll 8
		for (int i = 0; i < 2 * MR; i++) {
			const int g = i / MR, o = i % MR;
			s.v[i] = chain(s.v[i], _mm256_loadu_ps(w->d + 8 * g), x->d[o], acc[i]);
			if (min32(t))
				s.v[i] = _mm256_fmadd_ps(_mm256_loadu_ps(w->m + 8 * g),
							 _mm256_set1_ps(x->ds[o]), s.v[i]);
		}
		if (b + 1 == k.end) {
			part[walk_close(&k)] = s;
			s = (struct sums){ { { 0 } } };
		}
	}
	put_tile(y, y_stride, part, k.has, rows, n_tok);
}
INLINE void run32(float *y, int64_t y_stride, const void *panel, const void *xp, int rows, int n_tok,
		  int cols, enum dtype t, dot32 *dot)
{
	const struct tile32 *x = xp;
	for (int i = 0; i < n_tok; i += MR, x += cols / 32)
		run_tile32(y + i * y_stride, y_stride, panel, x, rows, n_tok - i, cols / 32, t, dot);
}

/* Sums over a block's pairs of sub-blocks of word pairs in mn times the sums of 16 x: M. */
INLINE void block_min(__m256i m[2 * MR], const struct panel256 *w, const struct tile256 *x)
{
	for (int i = 0; i < 2 * MR; i++) m[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
	for (int j = 0; j < 8; j++) {
		__m256i a = load256(w->mn[j][0]), b = load256(w->mn[j][1]);
#pragma GCC unroll 4
		for (int i = 0; i < MR; i++) {
			__m256i v = spread32(x->s16[j][i]);
			m[i] = pin(_mm256_add_epi32(m[i], _mm256_madd_epi16(a, v)));
			m[MR + i] = pin(_mm256_add_epi32(m[MR + i], _mm256_madd_epi16(b, v)));
		}
	}
}

INLINE void run_tile256(float *y, int64_t y_stride, const struct panel256 *w, const struct tile256 *x,
			int rows, int n_tok, int64_t n, enum dtype t, dot256 *dot)
{
	struct walk k = walk_start(n);
	struct sums part[LEAVES], s = { { { 0 } } };
	for (int64_t b = 0; b < n; b++, w++, x++) {
		__m256i v[2 * MR];
		dot(v, w, x, t);
#pragma GCC unroll 8
		for (int i = 0; i < 2 * MR; i++)
			s.v[i] = chain(s.v[i], _mm256_loadu_ps(w->d + i / MR * 8), x->d[i % MR], v[i]);
		if (min256(t)) {
			block_min(v, w, x);
#pragma GCC unroll 8
			for (int i = 0; i < 2 * MR; i++) {
				__m256 d = _mm256_mul_ps(_mm256_loadu_ps(w->dmin + i / MR * 8),
							 _mm256_set1_ps(x->d[i % MR]));
				s.v[i] = _mm256_fnmadd_ps(d, _mm256_cvtepi32_ps(v[i]), s.v[i]);
			}
		}
		if (b + 1 == k.end) {
			part[walk_close(&k)] = s;
			s = (struct sums){ { { 0 } } };
		}
	}
	put_tile(y, y_stride, part, k.has, rows, n_tok);
}
INLINE void run256(float *y, int64_t y_stride, const void *panel, const void *xp, int rows, int n_tok,
		   int cols, enum dtype t, dot256 *dot)
{
	const struct tile256 *x = xp;
	for (int i = 0; i < n_tok; i += MR, x += cols / 256)
		run_tile256(y + i * y_stride, y_stride, panel, x, rows, n_tok - i, cols / 256, t, dot);
}
