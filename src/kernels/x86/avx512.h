/* avx512.h - what the AVX-512 kernels share: the leaf walk with rows as lanes, transpose-adds, f16 headers.
 * Only static inline code: every file that includes it is compiled with the AVX-512 flags. */
#pragma once
#include <immintrin.h>
#include "kernels/kern.h"
#include "kernels/walk.h"

/* ---- leaves: 16 outputs as lanes, units ascending -------------------------------------------------------
 */
/* leaf_join of exact.h on 16 lanes */
INLINE __m512 walk_join(const __m512 part[LEAVES], unsigned has)
{
	__m512 v[LEAVES];
	for (int i = 0; i < LEAVES; i++) v[i] = part[i];
	for (int step = 1; step < LEAVES; step *= 2)
		for (int i = 0; i < LEAVES; i += 2 * step) {
			if ((has >> i & 1) && (has >> (i + step) & 1))
				v[i] = _mm512_add_ps(v[i], v[i + step]);
			else if (has >> (i + step) & 1)
				v[i] = v[i + step], has |= 1u << i;
		}
	return v[0];
}

INLINE __mmask16 lanes(int n)
{
	return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1);
}

/* ---- sums of dwords inside 128-bit lanes ------------------------------------------------------------------
 */
/* Per lane: the sums of the four dwords of a, b, c and d, in that order. */
INLINE __m512i sum4(__m512i a, __m512i b, __m512i c, __m512i d)
{
	__m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
	__m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
	return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}
/* The same in 6 instead of 9 instructions, where each dword and the sum of any adjacent two fit 16 bits. */
INLINE __m512i sum4_i16(__m512i a, __m512i b, __m512i c, __m512i d)
{
	const __m512i one = _mm512_set1_epi16(1);
	__m512i ab = _mm512_madd_epi16(_mm512_packs_epi32(a, b), one);
	__m512i cd = _mm512_madd_epi16(_mm512_packs_epi32(c, d), one);
	return _mm512_madd_epi16(_mm512_packs_epi32(ab, cd), one);
}
/* u[g] holds four rows per lane, lane j belongs to block j: out[j] = block j of 16 rows. */
INLINE void lanes_4x4(__m512i out[4], const __m512i u[4])
{
	__m512i a = _mm512_shuffle_i32x4(u[0], u[1], 0x88), b = _mm512_shuffle_i32x4(u[2], u[3], 0x88);
	__m512i c = _mm512_shuffle_i32x4(u[0], u[1], 0xdd), d = _mm512_shuffle_i32x4(u[2], u[3], 0xdd);
	out[0] = _mm512_shuffle_i32x4(a, b, 0x88);
	out[2] = _mm512_shuffle_i32x4(a, b, 0xdd);
	out[1] = _mm512_shuffle_i32x4(c, d, 0x88);
	out[3] = _mm512_shuffle_i32x4(c, d, 0xdd);
}
/* Lanes 0 and 1 of u[g] are halves of block 0, lanes 2 and 3 of block 1. */
INLINE void lanes_2x2(__m512i out[2], const __m512i u[4])
{
	__m512i a = _mm512_add_epi32(_mm512_shuffle_i32x4(u[0], u[1], 0x88),
				     _mm512_shuffle_i32x4(u[0], u[1], 0xdd));
	__m512i b = _mm512_add_epi32(_mm512_shuffle_i32x4(u[2], u[3], 0x88),
				     _mm512_shuffle_i32x4(u[2], u[3], 0xdd));
	out[0] = _mm512_shuffle_i32x4(a, b, 0x88);
	out[1] = _mm512_shuffle_i32x4(a, b, 0xdd);
}
/* ---- rows of a GEMV
 * ---------------------------------------------------------------------------------------- */
/* Sixteen row pointers; rows that do not exist repeat the last, their results are not stored. */
struct rows16 {
	const uint8_t *p[16];
	int n;
};
INLINE struct rows16 rows16(const void *w, int64_t stride, int first, int rows)
{
	struct rows16 r = {.n = rows - first < 16 ? rows - first : 16};
	/* as vectors: 16 compares and branches cost as much as a step over four blocks */
	const __m512i iota = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), last = _mm512_set1_epi64(r.n - 1);
	const __m512i base = _mm512_set1_epi64((int64_t)((const uint8_t *)w + first * stride)),
		      step = _mm512_set1_epi64(stride);
	_mm512_storeu_si512(r.p,
			    _mm512_add_epi64(base, _mm512_mullo_epi64(step, _mm512_min_epi64(iota, last))));
	const __m512i iota8 = _mm512_add_epi64(iota, _mm512_set1_epi64(8));
	_mm512_storeu_si512(r.p + 8,
			    _mm512_add_epi64(base, _mm512_mullo_epi64(step, _mm512_min_epi64(iota8, last))));
	return r;
}
/* The f16 at offset `at` of each row, as f32. */
INLINE __m512 rows16_f16(const struct rows16 *r, int64_t at)
{
	__m128i a = _mm_setzero_si128(), b = a;
#define AT(v, i) v = _mm_insert_epi16(v, *(const int16_t *)(const void *)(r->p[i] + at), i & 7)
	AT(a, 0);
	AT(a, 1);
	AT(a, 2);
	AT(a, 3);
	AT(a, 4);
	AT(a, 5);
	AT(a, 6);
	AT(a, 7);
	AT(b, 8);
	AT(b, 9);
	AT(b, 10);
	AT(b, 11);
	AT(b, 12);
	AT(b, 13);
	AT(b, 14);
	AT(b, 15);
#undef AT
	return _mm512_cvtph_ps(_mm256_set_m128i(b, a));
}
/* Low or high words of 16 dwords, f16, as f32. */
INLINE __m512 f16_low(__m512i v)
{
	return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
}
INLINE __m512 f16_high(__m512i v)
{
	return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(v, 16)));
}

/* Rows lie one after the other: while 16 of them are read in step, the next 16 are fetched line by line into
 * L2; row i of 16 fetches its share of a step's bytes.  Zen 4, one thread, Q4_K from DRAM (which goes row after row by now): 6 GB/s
 * without, 8 with a fetch into L1 (its miss buffers are the limit), 25 like this. */
INLINE void fetch(const uint8_t *p, int bytes, int i)
{
	int lines = (bytes + 63) / 64;
	for (int l = i * lines / 16; l < (i + 1) * lines / 16; l++)
		_mm_prefetch((const char *)p + 64 * l, _MM_HINT_T1);
}
/* Kernels that read row after row fetch so many bytes ahead.  Two threads of a Zen 4, memory at 33 GB/s, 2048 and 8192 columns (a
 * throw-away program over 400 MB): Q4_K 26 and 28 GB/s with 16 rows in step, 31 and 30 like this, Q6_K 25 and 22, 32 and
 * 32; 12 KiB ahead 1 to 2 less. */
enum { ROW_AHEAD = 6144 };
INLINE __m512i load512(const void *p)
{
	return _mm512_loadu_si512(p);
}
INLINE __m128i load128(const void *p)
{
	return _mm_loadu_si128((const __m128i *)p);
}
INLINE __m256i load256(const void *p)
{
	return _mm256_loadu_si256((const __m256i *)p);
}

/* one function per file that fills slots */
void kern_avx512_quant(struct kern *k);
void kern_avx512_rows(struct kern *k);
void kern_avx512_ssm(struct kern *k);
void kern_avx512_attn(struct kern *k);
void kern_avx512_float(struct kern *k);
void kern_avx512vnni_gemv32(struct kern *k);
void kern_avx512vnni_gemv256(struct kern *k);
void kern_avx512vnni_few32(struct kern *k);
void kern_avx512vnni_few256(struct kern *k);
void kern_avx512vnni_gemm32(struct kern *k);
void kern_avx512vnni_gemm256(struct kern *k);
