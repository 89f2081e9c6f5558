/* avx512vnni_gemv32.c - GEMV of the types with blocks of 32 (DOT_X32), straight from the file's blocks.
 *
 * Sixteen rows go together.  vpdpbusd leaves sums of 4 products in dwords; transposing while adding makes one
 * vector per block with a row in each lane, so that the contract's fma chain runs for 16 rows at once.
 * Unsigned codes u = w + zero: the accumulators start at -zero * (sum of their x), which makes the sums exact
 * and small enough to be added in 16 bits (Q4_1 is the largest: 2 * 8 * 15 * 127 = 30480). */
#include "kernels/x86/avx512vnni_codes32.h"

struct x32 {
	const int8_t *q;
	const float *d, *ds;
	const int32_t *sum;
};
INLINE struct x32 x32_of(const void *x, int n)
{
	const char *p = x;
	return (struct x32){(const int8_t *)p, (const float *)(p + x32_d(n)), (const float *)(p + x32_ds(n)),
			    (const int32_t *)(p + x32_sum(n))};
}
INLINE __m512 chain(__m512 acc, __m512 d, float dx, __m512i dot)
{
	return _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(dx)), _mm512_cvtepi32_ps(dot), acc);
}

/* ---- Q4_0, Q4_1: four blocks of a row fill a vector
 * ------------------------------------------------------------- */
/* Of four blocks at the offsets o, the halves `at` (0 or 16) of 32 bytes each, or 16 bytes at `at` of any
 * blocks. */
INLINE __m512i four128(const uint8_t *p, const int64_t o[4])
{
	__m512i v = _mm512_castsi128_si512(load128(p + o[0]));
	v = _mm512_inserti32x4(v, load128(p + o[1]), 1);
	v = _mm512_inserti32x4(v, load128(p + o[2]), 2);
	return _mm512_inserti32x4(v, load128(p + o[3]), 3);
}

INLINE __m512i q4_dot(__m512i q, __m512i start, __m512i xlo, __m512i xhi)
{
	const __m512i low = _mm512_set1_epi8(15);
	start = _mm512_dpbusd_epi32(start, _mm512_and_si512(q, low), xlo);
	return _mm512_dpbusd_epi32(start, _mm512_and_si512(_mm512_srli_epi16(q, 4), low), xhi);
}

/* Four Q4_1 blocks are 20 dwords, headers at 0, 5, 10, 15: two loads and one permute give the codes of four
 * blocks, where inserting 16 bytes at a time takes three shuffles (Zen 4: one a cycle). */
struct q4_1x4 {
	__m512i a, b;
}; /* dwords 0-15 and 4-19 */
INLINE struct q4_1x4 q4_1_load(const uint8_t *p, int live)
{
	return (struct q4_1x4){_mm512_maskz_loadu_epi32(lanes(5 * live), p),
			       _mm512_maskz_loadu_epi32(lanes(5 * live - 4), p + 16)};
}
INLINE __m512i q4_1_codes(struct q4_1x4 r)
{
	const __m512i at = _mm512_setr_epi32(1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 28, 29, 30, 31);
	return _mm512_permutex2var_epi32(r.a, at, r.b);
}
/* Headers of four rows: lane j holds those of block j. */
INLINE __m512i q4_1_heads(const struct q4_1x4 r[4])
{
	const __m512i at = _mm512_setr_epi32(0, 16, 0, 0, 5, 21, 0, 0, 10, 26, 0, 0, 15, 31, 0, 0);
	__m512i a = _mm512_permutex2var_epi32(r[0].a, at, r[1].a),
		b = _mm512_permutex2var_epi32(r[2].a, at, r[3].a);
	return _mm512_unpacklo_epi64(a, b);
}
/* out[j]: the 16 d of block j, then the 16 m. */
INLINE void q4_1_scales(__m512i out[4], const __m512i h[4])
{
	/* words of rows 0-7 and 8-15: d of two blocks, then m of the two */
	const __m512i first =
		_mm512_setr_epi32(0x20000, 0x60004, 0x220020, 0x260024, 0xa0008, 0xe000c, 0x2a0028, 0x2e002c,
				  0x30001, 0x70005, 0x230021, 0x270025, 0xb0009, 0xf000d, 0x2b0029, 0x2f002d);
	const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
	const __m512i even = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13),
		      odd = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
	__m512i a = _mm512_permutex2var_epi16(h[0], first, h[1]),
		b = _mm512_permutex2var_epi16(h[2], first, h[3]);
	__m512i c = _mm512_permutex2var_epi16(h[0], second, h[1]),
		d = _mm512_permutex2var_epi16(h[2], second, h[3]);
	out[0] = _mm512_permutex2var_epi64(a, even, b);
	out[1] = _mm512_permutex2var_epi64(a, odd, b);
	out[2] = _mm512_permutex2var_epi64(c, even, d);
	out[3] = _mm512_permutex2var_epi64(c, odd, d);
}

INLINE __m512 q4_16rows(const struct rows16 *r, const struct x32 *x, int64_t n, const uint8_t *next, int type)
{
	const int size = block_size(type);
	struct walk w = walk_start(n);
	__m512 acc = _mm512_setzero_ps(), part[LEAVES];
	for (int64_t b = 0; b < n; b += 4) {
		int live = n - b < 4 ? (int)(n - b) : 4;
		int64_t o[4], xo[4]; /* blocks past the end repeat the last; their sums are not used */
		__m512i u[4], h[4], dot[4], head[4];
		for (int j = 0; j < 4; j++) {
			int64_t at = b + (j < live ? j : live - 1);
			o[j] = at * size + 2; /* Q4_0 */
			xo[j] = at * 32;
		}
		__m512i xlo = four128((const uint8_t *)x->q, xo),
			xhi = four128((const uint8_t *)x->q + 16, xo), start = _mm512_setzero_si512();
		if (type == Q4_0) {
			const __m512i eight = _mm512_set1_epi8(8);
			start = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(start, eight, xlo), eight, xhi);
			start = _mm512_sub_epi32(_mm512_setzero_si512(), start);
		}
#pragma GCC unroll 4
		for (int g = 0; g < 4; g++) {
			struct q4_1x4 raw[4];
			__m512i v[4];
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++) {
				const uint8_t *p = r->p[4 * g + i];
				fetch(next + b * 16 * size, 64 * size, 4 * g + i);
				if (type == Q4_1) raw[i] = q4_1_load(p + b * size, live);
				v[i] = q4_dot(type == Q4_1 ? q4_1_codes(raw[i]) : four128(p, o), start, xlo,
					      xhi);
			}
			u[g] = sum4_i16(v[0], v[1], v[2], v[3]);
			if (type == Q4_1) h[g] = q4_1_heads(raw);
		}
		lanes_4x4(dot, u);
		if (type == Q4_1) q4_1_scales(head, h);
#pragma GCC unroll 4
		for (int j = 0; j < 4; j++) {
			if (j >= live) break;
			__m512 d = type == Q4_1 ? _mm512_cvtph_ps(_mm512_castsi512_si256(head[j]))
						: rows16_f16(r, (b + j) * size);
			acc = chain(acc, d, x->d[b + j], dot[j]);
			if (type == Q4_1) {
				__m512 m = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(head[j], 1));
				acc = _mm512_fmadd_ps(m, _mm512_set1_ps(x->ds[b + j]), acc);
			}
			if (b + j + 1 == w.end) {
				part[walk_close(&w)] = acc;
				acc = _mm512_setzero_ps();
			}
		}
	}
	return walk_join(part, w.has);
}

/* ---- Q5_0, Q5_1, Q8_0: two blocks of a row fill a vector
 * -------------------------------------------------------- */
/* Unsigned codes of the blocks at a and b in element order. */
INLINE __m512i two_blocks(const uint8_t *a, const uint8_t *b, int type)
{
	if (type == Q8_0) {
		__m512i v = _mm512_inserti64x4(_mm512_castsi256_si512(load256(a + 2)), load256(b + 2), 1);
		return _mm512_xor_si512(v, _mm512_set1_epi8((char)0x80));
	}
	const int at = type == Q5_0 ? 2 : 4;
	const __m512i nibble = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
	__m512i v = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(load128(a + at + 4)), 0xff00,
						load128(b + at + 4));
	v = _mm512_and_si512(_mm512_srlv_epi64(v, nibble), _mm512_set1_epi8(15));
	uint32_t ha, hb;
	memcpy(&ha, a + at, 4);
	memcpy(&hb, b + at, 4);
	__mmask64 k = _mm512_kunpackd(_cvtu32_mask32(hb), _cvtu32_mask32(ha));
	return _mm512_mask_add_epi8(v, k, v, _mm512_set1_epi8(16));
}

INLINE __m512 two_16rows(const struct rows16 *r, const struct x32 *x, int64_t n, const uint8_t *next,
			 int type)
{
	const int size = block_size(type), zero = type == Q8_0 ? 128 : 16;
	struct walk w = walk_start(n);
	__m512 acc = _mm512_setzero_ps(), part[LEAVES];
	for (int64_t b = 0; b < n; b += 2) {
		int64_t a0 = b * size, a1 = b + 1 < n ? a0 + size : a0;
		__m512i xq = _mm512_inserti64x4(_mm512_castsi256_si512(load256(x->q + 32 * b)),
						load256(x->q + (b + 1 < n ? 32 * b + 32 : 32 * b)), 1);
		__m512i start = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8((char)zero), xq),
			u[4], dot[2];
		start = _mm512_sub_epi32(_mm512_setzero_si512(), start);
#pragma GCC unroll 4
		for (int g = 0; g < 4; g++) {
			__m512i v[4];
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++) {
				const uint8_t *p = r->p[4 * g + i];
				fetch(next + b * 16 * size, 32 * size, 4 * g + i);
				v[i] = _mm512_dpbusd_epi32(start, two_blocks(p + a0, p + a1, type), xq);
			}
			u[g] = type == Q8_0 ? sum4(v[0], v[1], v[2], v[3]) : sum4_i16(v[0], v[1], v[2], v[3]);
		}
		lanes_2x2(dot, u);
#pragma GCC unroll 2
		for (int j = 0; j < 2; j++) {
			if (b + j >= n) break;
			/* Q5_1 has no zero point: give back what `start` took */
			if (type == Q5_1)
				dot[j] = _mm512_add_epi32(dot[j], _mm512_set1_epi32(16 * x->sum[b + j]));
			acc = chain(acc, rows16_f16(r, j ? a1 : a0), x->d[b + j], dot[j]);
			if (type == Q5_1)
				acc = _mm512_fmadd_ps(rows16_f16(r, (j ? a1 : a0) + 2),
						      _mm512_set1_ps(x->ds[b + j]), acc);
			if (b + j + 1 == w.end) {
				part[walk_close(&w)] = acc;
				acc = _mm512_setzero_ps();
			}
		}
	}
	return walk_join(part, w.has);
}

INLINE void gemv(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, int type)
{
	struct x32 xr = x32_of(x, cols);
	for (int i = 0; i < rows; i += 16) {
		struct rows16 r = rows16(w, stride, i, rows);
		const uint8_t *next = r.p[0] + 16 * stride;
		__m512 v = type <= Q4_1 ? q4_16rows(&r, &xr, cols / 32, next, type)
					: two_16rows(&r, &xr, cols / 32, next, type);
		_mm512_mask_storeu_ps(y + i, lanes(r.n), v);
	}
}

#define GEMV(id, type)                                                                                       \
	static void gemv_##id(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)    \
	{                                                                                                    \
		gemv(y, w, stride, x, rows, cols, type);                                                     \
	}
GEMV(q4_0, Q4_0)
GEMV(q4_1, Q4_1)
GEMV(q5_0, Q5_0)
GEMV(q5_1, Q5_1)
GEMV(q8_0, Q8_0)

void kern_avx512vnni_gemv32(struct kern *k)
{
	k->w[DT_Q4_0].gemv = gemv_q4_0;
	k->w[DT_Q4_1].gemv = gemv_q4_1;
	k->w[DT_Q5_0].gemv = gemv_q5_0;
	k->w[DT_Q5_1].gemv = gemv_q5_1;
	k->w[DT_Q8_0].gemv = gemv_q8_0;
}
