/* avx2.h - what the AVX2 and AVX-VNNI kernels share: the leaf walk with 8 rows as lanes, transpose-adds, f16
 * headers. The 16 lanes of the contract are two vectors.  Only static inline code: every file that includes
 * it is compiled with the AVX2 flags. */
#pragma once
#include <immintrin.h>
#include "kernels/kern.h"
#include "kernels/walk.h"

/* ---- leaves: 8 outputs as lanes, units ascending --------------------------------------------------------
 */
/* leaf_join of exact.h on 8 lanes; the partial sums of a leaf lie `step` vectors apart */
INLINE __m256 walk_join(const __m256 *part, int step, unsigned has)
{
	__m256 v[LEAVES];
	if (has == 0xff) { /* 8 units and more: no questions */
		for (int i = 0; i < LEAVES / 2; i++)
			v[i] = _mm256_add_ps(part[2 * i * step], part[(2 * i + 1) * step]);
		return _mm256_add_ps(_mm256_add_ps(v[0], v[1]), _mm256_add_ps(v[2], v[3]));
	}
	for (int i = 0; i < LEAVES; i++) v[i] = has >> i & 1 ? part[i * step] : _mm256_setzero_ps();
	for (int s = 1; s < LEAVES; s *= 2)
		for (int i = 0; i < LEAVES; i += 2 * s) {
			if ((has >> i & 1) && (has >> (i + s) & 1))
				v[i] = _mm256_add_ps(v[i], v[i + s]);
			else if (has >> (i + s) & 1)
				v[i] = v[i + s], has |= 1u << i;
		}
	return v[0];
}

/* ---- memory
 * ------------------------------------------------------------------------------------------------ */
INLINE __m256i load256(const void *p)
{
	return _mm256_loadu_si256((const __m256i *)p);
}
INLINE __m128i load128(const void *p)
{
	return _mm_loadu_si128((const __m128i *)p);
}
INLINE __m256i twice128(const void *p)
{
	return _mm256_broadcastsi128_si256(load128(p));
}
INLINE uint32_t load32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return v;
}
/* Sign bits in the first n of 8 lanes, for masked loads and stores. */
INLINE __m256i lanes(int n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
/* Into L2: a fetch into L1 holds one of its few miss buffers until the line comes (Zen 4, Q4_K from DRAM, one thread:
 * 9.5 GB/s with T0, 14 with T1). */
INLINE void fetch(const uint8_t *p)
{
	_mm_prefetch((const char *)p, _MM_HINT_T1);
}

/* Pins a running sum.  GCC otherwise reorders the integer sums of an unrolled loop, forms all products first
 * and spills them: 0.5x. */
INLINE __m256i pin(__m256i v)
{
	__asm__("" : "+x"(v));
	return v;
}

/* ---- sums of dwords inside 128-bit lanes
 * ------------------------------------------------------------------- */
/* Per lane: the sums of the four dwords of a, b, c and d, in that order. */
INLINE __m256i sum4(__m256i a, __m256i b, __m256i c, __m256i d)
{
	__m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
	__m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
	return _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
}
/* The same in 6 instead of 9 instructions, where each dword and the sum of any adjacent two fit 16 bits. */
INLINE __m256i sum4_i16(__m256i a, __m256i b, __m256i c, __m256i d)
{
	const __m256i one = _mm256_set1_epi16(1);
	__m256i ab = _mm256_madd_epi16(_mm256_packs_epi32(a, b), one);
	__m256i cd = _mm256_madd_epi16(_mm256_packs_epi32(c, d), one);
	return _mm256_madd_epi16(_mm256_packs_epi32(ab, cd), one);
}
/* Both lanes of a (rows 0-3) and of b (rows 4-7) are halves of one sum. */
INLINE __m256i lanes_1(__m256i a, __m256i b)
{
	return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

/* ---- eight rows --------------------------------------------------------------------------------------------- */
/* The f16 at offset `at` of each row, as f32. */
INLINE __m256 rows8_f16(const uint8_t *const p[8], int64_t at)
{
	__m128i a = _mm_setzero_si128();
#define AT(i) a = _mm_insert_epi16(a, *(const int16_t *)(const void *)(p[i] + at), i)
	AT(0);
	AT(1);
	AT(2);
	AT(3);
	AT(4);
	AT(5);
	AT(6);
	AT(7);
#undef AT
	return _mm256_cvtph_ps(a);
}
/* The dword at offset `at` of each row. */
INLINE __m256i rows8_u32(const uint8_t *const p[8], int64_t at)
{
#define AT(i) (int)load32(p[i] + at)
	return _mm256_setr_epi32(AT(0), AT(1), AT(2), AT(3), AT(4), AT(5), AT(6), AT(7));
#undef AT
}
/* Two f16 in each dword, low and high, as f32. */
struct two_f32 {
	__m256 lo, hi;
};
INLINE struct two_f32 split_f16(__m256i v)
{
	const __m256i turn = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1, 4,
					      5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
	v = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(v, turn), 0xd8);
	return (struct two_f32){ _mm256_cvtph_ps(_mm256_castsi256_si128(v)),
				 _mm256_cvtph_ps(_mm256_extracti128_si256(v, 1)) };
}
/* acc = fma(d * dx, (float)dot, acc), the step of the contract's chain */
INLINE __m256 chain(__m256 acc, __m256 d, float dx, __m256i dot)
{
	return _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(dx)), _mm256_cvtepi32_ps(dot), acc);
}

/* Rows of a GEMV at constant distances: row i of 8 needs no pointer of its own. */
struct strip8 {
	const uint8_t *p, *p4; /* rows 0 and 4 */
	int64_t stride;
};
INLINE const uint8_t *strip8_row(const struct strip8 *r, int i)
{
	return (i < 4 ? r->p : r->p4) + i % 4 * r->stride;
}
INLINE void strip8_rows(const uint8_t *p[8], const struct strip8 *r)
{
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) p[i] = strip8_row(r, i);
}
INLINE void strip8_on(struct strip8 *r, int64_t bytes)
{
	r->p += bytes;
	r->p4 += bytes;
}
/* The next n rows from *first on.  The last eight begin early where fewer are left; fewer than eight in all go one by
 * one, as eight times the same. */
INLINE struct strip8 strip8_from(int *first, int *n, const void *w, int64_t stride, int rows)
{
	*n = rows < 8 ? 1 : 8;
	if (*first + *n > rows) *first = rows - *n;
	const uint8_t *p = (const uint8_t *)w + *first * stride;
	return rows < 8 ? (struct strip8){ p, p, 0 } : (struct strip8){ p, p + 4 * stride, stride };
}

/* ---- 16 lanes as two vectors: the fold of exact.h
 * ---------------------------------------------------------- */
INLINE float fold16(__m256 a, __m256 b)
{
	a = _mm256_add_ps(a, b);
	__m128 v = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
	v = _mm_add_ps(v, _mm_movehl_ps(v, v));
	return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
}

/* one function per file that fills slots */
void kern_avx2_quant(struct kern *k);
void kern_avx2_gemv32(struct kern *k);
void kern_avx2_gemv256(struct kern *k);
void kern_avx2_float(struct kern *k);
void kern_avx2_gemm32(struct kern *k);
void kern_avx2_gemm256(struct kern *k);
void kern_avx2_rows(struct kern *k);
void kern_avx2_ssm(struct kern *k);
void kern_avx2_attn(struct kern *k);
void kern_avxvnni_gemm(struct kern *k);
