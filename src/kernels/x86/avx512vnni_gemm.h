/* avx512vnni_gemm.h - what the two integer GEMMs share: tiles of 32 rows x 6 tokens, transposes of code
 * bytes.
 *
 * Panels hold unsigned codes [k/4][32 rows][4], so one vector feeds 16 rows and one broadcast dword of x
 * serves them all: per step of 4 elements 2 loads, 6 broadcasts (load ports) and 12 vpdpbusd.  Tokens are
 * packed in tiles of 6, [k/4][6][4], so that a tile is one sequential stream. */
#pragma once
#include "kernels/x86/avx512.h"

enum { NR = 32, MR = 6 };

INLINE size_t n_tiles(int n_tok)
{
	return (size_t)(n_tok + MR - 1) / MR;
}

/* 16 bytes at `at` of 16 rows: out[i] = dword i of each row. */
INLINE void dwords_16rows(__m512i out[4], const struct rows16 *r, int64_t at)
{
	__m512i z[4];
#pragma GCC unroll 4
	for (int c = 0; c < 4; c++) {
		z[c] = _mm512_castsi128_si512(load128(r->p[c] + at));
		z[c] = _mm512_inserti32x4(z[c], load128(r->p[c + 4] + at), 1);
		z[c] = _mm512_inserti32x4(z[c], load128(r->p[c + 8] + at), 2);
		z[c] = _mm512_inserti32x4(z[c], load128(r->p[c + 12] + at), 3);
	}
	__m512i a = _mm512_unpacklo_epi32(z[0], z[1]), b = _mm512_unpackhi_epi32(z[0], z[1]);
	__m512i c = _mm512_unpacklo_epi32(z[2], z[3]), d = _mm512_unpackhi_epi32(z[2], z[3]);
	out[0] = _mm512_unpacklo_epi64(a, c);
	out[1] = _mm512_unpackhi_epi64(a, c);
	out[2] = _mm512_unpacklo_epi64(b, d);
	out[3] = _mm512_unpackhi_epi64(b, d);
}
/* The dword at `at` of 16 rows. */
INLINE __m512i dword_16rows(const struct rows16 *r, int64_t at)
{
	int32_t v[16];
	for (int i = 0; i < 16; i++) memcpy(&v[i], r->p[i] + at, 4);
	return load512(v);
}
INLINE __m512i low4(__m512i v)
{
	return _mm512_and_si512(v, _mm512_set1_epi8(15));
}
INLINE __m512i high4(__m512i v)
{
	return _mm512_and_si512(_mm512_srli_epi16(v, 4), _mm512_set1_epi8(15));
}

/* Rows 16 h .. 16 h + 15 of a panel of `rows`; a half without rows repeats the last row. */
INLINE struct rows16 panel_rows(const void *w, int64_t stride, int rows, int h)
{
	return 16 * h < rows ? rows16(w, stride, 16 * h, rows) : rows16(w, stride, rows - 1, rows);
}

/* Dword i of token t of 6 tokens' codes; missing tokens are zero. */
INLINE void pack_codes(int32_t *dst, const char *x, size_t stride, int n, int dwords)
{
	for (int t = 0; t < MR; t++)
		for (int i = 0; i < dwords; i++) {
			if (t < n)
				memcpy(&dst[i * MR + t], x + t * stride + 4 * i, 4);
			else
				dst[i * MR + t] = 0;
		}
}

INLINE __m512i dup32(const void *p)
{
	int32_t v;
	memcpy(&v, p, 4);
	return _mm512_set1_epi32(v);
}
INLINE __m512 dupf(const float *p)
{
	return _mm512_set1_ps(*p);
}

/* gcc cannot see that `has` says which subtrees were stored */
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

/* The leaf tree of a tile, joined as leaves end: a binary counter of at most three waiting subtrees.  Keeping
 * all eight leaves for the end cost a third of the time at 576 columns. */
struct tree {
	__m512 part[3][MR][2];
	int64_t n, end;
	int leaf;
	unsigned has;
};

/* Ends the current leaf, whose sums are acc (any: it had units).  Leaves +0 in acc, or the result after the
 * last leaf. */
INLINE void tree_close(struct tree *tr, __m512 acc[MR][2], int nt, bool any)
{
	int level = 0;
	for (; tr->leaf >> level & 1; level++) {
		if (!(tr->has >> level & 1)) continue;
#pragma GCC unroll 6
		for (int t = 0; t < nt; t++)
#pragma GCC unroll 2
			for (int z = 0; z < 2; z++)
				acc[t][z] = any ? _mm512_add_ps(tr->part[level][t][z], acc[t][z])
						: tr->part[level][t][z];
		any = true;
	}
	if (++tr->leaf == LEAVES) return;
	tr->end = leaf_at(tr->leaf + 1, tr->n);
	tr->has = any ? tr->has | 1u << level : tr->has & ~(1u << level);
	if (!any) return;
#pragma GCC unroll 6
	for (int t = 0; t < nt; t++)
#pragma GCC unroll 2
		for (int z = 0; z < 2; z++) {
			tr->part[level][t][z] = acc[t][z];
			acc[t][z] = _mm512_setzero_ps();
		}
}
/* After unit b: ends its leaf if it was the last one there, and the empty leaves that follow. */
INLINE void tree_step(struct tree *tr, __m512 acc[MR][2], int nt, int64_t b)
{
	if (b + 1 != tr->end) return;
	tree_close(tr, acc, nt, true);
	while (tr->leaf < LEAVES && tr->end == b + 1) tree_close(tr, acc, nt, false);
}
INLINE void tree_start(struct tree *tr, __m512 acc[MR][2], int nt, int64_t n)
{
	tr->n = n;
	tr->leaf = 0;
	tr->has = 0;
	tr->end = leaf_at(1, n);
#pragma GCC unroll 6
	for (int t = 0; t < nt; t++) acc[t][0] = acc[t][1] = _mm512_setzero_ps();
	while (tr->end == 0) tree_close(tr, acc, nt, false);
}

/* Fetches for writing where a tile will be stored (512 tokens: 1 to 2 %).  Fetching the next tile's x lost 1 %. */
INLINE void fetch_tile(float *y, int64_t ys, int nt)
{
#pragma GCC unroll 6
	for (int t = 0; t < nt; t++) {
		__asm__ volatile("prefetchw %0" : : "m"(y[t * ys]));
		__asm__ volatile("prefetchw %0" : : "m"(y[t * ys + 16]));
	}
}
INLINE void store_tile(float *y, int64_t ys, __m512 acc[MR][2], int nt, int rows)
{
	if (rows == NR) {
#pragma GCC unroll 6
		for (int t = 0; t < nt; t++) {
			_mm512_storeu_ps(y + t * ys, acc[t][0]);
			_mm512_storeu_ps(y + t * ys + 16, acc[t][1]);
		}
		return;
	}
#pragma GCC unroll 6
	for (int t = 0; t < nt; t++) {
		_mm512_mask_storeu_ps(y + t * ys, lanes(rows), acc[t][0]);
		if (rows > 16) _mm512_mask_storeu_ps(y + t * ys + 16, lanes(rows - 16), acc[t][1]);
	}
}
