/* avx512vnni_gemv256.c - GEMV of the K-quants (DOT_X256), straight from the file's blocks.
 *
 * Sixteen rows go together: per row and block one vector of 16 partial sums of I (codes by vpdpbusd, sub-scales as
 * words by vpdpwssd), then one transpose-add makes a vector with a row in each lane for the contract's fma chain.
 * Sums of 4 products fit 16 bits for every type here (Q6_K is the largest: 4 * 63 * 127 = 32004). */
#include "kernels/x86/avx512.h"

enum { Q2_K, Q3_K, Q4_K, Q5_K, Q6_K };

struct x256 { const int8_t *q; const float *d; const int16_t *s16, *s32; };
INLINE struct x256 x256_of(const void *x, int n)
{
	const char *p = x;
	return (struct x256){ (const int8_t *)p, (const float *)(p + x256_d(n)), (const int16_t *)(p + x256_s16(n)),
		              (const int16_t *)(p + x256_s32(n)) };
}

/* One block of x in the order of the codes, and what the accumulators start from. */
struct xblock { __m512i x[4], start[4]; };

/* ---- Q4_K, Q5_K ----------------------------------------------------------------------------------------------------- */
/* 32 bytes hold sub-blocks 2i (low nibbles) and 2i+1: low nibbles of 64 bytes are sub-blocks 0, 2 (4, 6), high 1, 3 (5, 7). */
INLINE struct xblock x_k4(const int8_t *q)
{
	struct xblock b;
#pragma GCC unroll 2
	for (int i = 0; i < 2; i++) {
		__m512i lo = load512(q + 128 * i), hi = load512(q + 128 * i + 64);
		b.x[2 * i] = _mm512_shuffle_i32x4(lo, hi, 0x44);
		b.x[2 * i + 1] = _mm512_shuffle_i32x4(lo, hi, 0xee);
		b.start[2 * i] = b.start[2 * i + 1] = _mm512_setzero_si512();
	}
	return b;
}

/* Headers of 16 rows, vector c holding rows c, c+4, c+8, c+12: d and dmin as f32, M of each row, and each row's eight
 * scales as bytes into sc[c]. */
struct k4_head { __m512 d, dmin; __m512i m; };
INLINE struct k4_head k4_heads(__m512i sc[4], const struct rows16 *r, int64_t at, __m512i s32)
{
	const __m512i shift = _mm512_set4_epi32(4, 0, 0, 0);
	const __m512i low = _mm512_set4_epi32(0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f);
	const __m512i high = _mm512_set4_epi32(0x30303030, 0, 0x30303030, 0);
	__m512i m[4], dd = _mm512_setzero_si512();
#pragma GCC unroll 4
	for (int c = 0; c < 4; c++) {
		__m512i h = _mm512_castsi128_si512(load128(r->p[c] + at));
		h = _mm512_inserti32x4(h, load128(r->p[c + 4] + at), 1);
		h = _mm512_inserti32x4(h, load128(r->p[c + 8] + at), 2);
		h = _mm512_inserti32x4(h, load128(r->p[c + 12] + at), 3);
		dd = _mm512_mask_shuffle_epi32(dd, (__mmask16)(0x1111 << c), h, 0);
		/* dwords: scales 0-3, scales 4-7, minima 0-3, minima 4-7 */
		__m512i a = _mm512_srlv_epi32(_mm512_shuffle_epi32(h, (_MM_PERM_ENUM)0xf0 /* 0 0 3 3 */), shift);
		a = _mm512_mask_shuffle_epi32(a, 0x1111, h, (_MM_PERM_ENUM)0x55);
		a = _mm512_mask_shuffle_epi32(a, 0x4444, h, (_MM_PERM_ENUM)0xaa);
		a = _mm512_mask_shuffle_epi32(a, 0x2222, h, (_MM_PERM_ENUM)0xff);
		__m512i b = _mm512_srli_epi32(_mm512_shuffle_epi32(h, (_MM_PERM_ENUM)0xa5 /* 1 1 2 2 */), 2);
		a = _mm512_ternarylogic_epi32(_mm512_and_si512(a, low), b, high, 0xf8);       /* a | (b & high) */
		_mm512_store_si512(&sc[c], a);
		m[c] = _mm512_madd_epi16(_mm512_unpackhi_epi8(a, _mm512_setzero_si512()), s32);
	}
	return (struct k4_head){ f16_low(dd), f16_high(dd), sum4(m[0], m[1], m[2], m[3]) };
}

/* Scales (8 bytes) of the row against the code sums, four dwords of a sub-block in each half of 256 bits. */
INLINE __m512i k4_scaled(__m512i v[4], const char *sc)
{
	/* byte pairs (scale, nothing): lanes 0, 1 take scales 0 and 1 four times, lanes 2, 3 scales 2 and 3; then 4 more */
	const __m512i turn = _mm512_setr_epi64(0x8000800080008000, 0x8001800180018001, 0x8000800080008000, 0x8001800180018001,
	                                       0x8002800280028002, 0x8003800380038003, 0x8002800280028002, 0x8003800380038003);
	const __m512i turn4 = _mm512_add_epi16(turn, _mm512_set1_epi16(4));
	__m512i s = _mm512_broadcast_i32x4(load128(sc));
	__m512i sum = _mm512_dpwssd_epi32(_mm512_setzero_si512(), _mm512_packs_epi32(v[0], v[1]), _mm512_shuffle_epi8(s, turn));
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
		if (type == Q5_K) {              /* bit j of h: sub-block j; the upper half of a vector is two further on */
			const __m512i bit = _mm512_inserti64x4(_mm512_set1_epi8(1), _mm256_set1_epi8(4), 1);
			const __m512i sixteen = _mm512_set1_epi8(16);
			a = _mm512_mask_add_epi8(a, _mm512_test_epi8_mask(h, _mm512_slli_epi16(bit, 4 * i)), a, sixteen);
			b = _mm512_mask_add_epi8(b, _mm512_test_epi8_mask(h, _mm512_slli_epi16(bit, 4 * i + 1)), b, sixteen);
		}
		v[2 * i] = _mm512_dpbusd_epi32(x->start[2 * i], a, x->x[2 * i]);
		v[2 * i + 1] = _mm512_dpbusd_epi32(x->start[2 * i + 1], b, x->x[2 * i + 1]);
	}
	return k4_scaled(v, sc);
}

/* ---- Q6_K: lane l of the code vector i is sub-block 4 i + l ------------------------------------------------------------ */
INLINE struct xblock x_k6(const int8_t *q, int zero)
{
	struct xblock b;
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		b.x[i] = load512(q + 64 * i);
		b.start[i] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8((char)zero), b.x[i]));
	}
	return b;
}

/* Sixteen scales as words, sub-block 4 i + l for lane l of v[i]. */
INLINE __m512i k16_scaled(__m512i v[4], __m256i sc)
{
	const __m512i turn = _mm512_setr_epi64(0x0000000000000000, 0x0004000400040004, 0x0001000100010001, 0x0005000500050005,
	                                       0x0002000200020002, 0x0006000600060006, 0x0003000300030003, 0x0007000700070007);
	__m512i s = _mm512_castsi256_si512(sc);
	__m512i a = _mm512_dpwssd_epi32(_mm512_setzero_si512(), _mm512_packs_epi32(v[0], v[1]), _mm512_permutexvar_epi16(turn, s));
	return _mm512_dpwssd_epi32(a, _mm512_packs_epi32(v[2], v[3]),
	                           _mm512_permutexvar_epi16(_mm512_add_epi16(turn, _mm512_set1_epi16(8)), s));
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
	return k16_scaled(v, _mm256_cvtepi8_epi16(load128(p + 192)));
}

/* ---- the walk over blocks --------------------------------------------------------------------------------------------------- */
INLINE int block_size(int type) { return type == Q4_K ? 144 : type == Q5_K ? 176 : 210; }

INLINE __m512 k_16rows(const struct rows16 *r, const struct x256 *x, int64_t n, const uint8_t *next, int type)
{
	const int size = block_size(type);
	struct walk w = walk_start(n);
	__m512 acc = _mm512_setzero_ps(), part[LEAVES];
	for (int64_t b = 0; b < n; b++) {
		const int64_t at = b * size;
		__m512i sc[4], u[4];
		struct k4_head head;
		struct xblock xb;
		__m512 d;
		if (type == Q6_K) {
			xb = x_k6(x->q + 256 * b, 32);
			d = rows16_f16(r, at + 208);
		} else {
			xb = x_k4(x->q + 256 * b);
			head = k4_heads(sc, r, at, _mm512_broadcast_i32x4(load128(x->s32 + 8 * b)));
			d = head.d;
		}
#pragma GCC unroll 4
		for (int g = 0; g < 4; g++) {
			__m512i v[4];
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++) {
				const uint8_t *p = r->p[4 * g + i] + at;
				fetch(next + 16 * at, 16 * size, 4 * g + i);
				v[i] = type == Q6_K ? k6_row(p, &xb) : k4_row(p, &xb, (const char *)&sc[i] + 16 * g, type);
			}
			u[g] = sum4(v[0], v[1], v[2], v[3]);
		}
		acc = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(x->d[b])), _mm512_cvtepi32_ps(lanes_1(u)), acc);
		if (type != Q6_K)
			acc = _mm512_fnmadd_ps(_mm512_mul_ps(head.dmin, _mm512_set1_ps(x->d[b])), _mm512_cvtepi32_ps(head.m), acc);
		if (b + 1 == w.end) {
			walk_close(&w, part, acc);
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
		_mm512_mask_storeu_ps(y + i, lanes(r.n), k_16rows(&r, &xr, cols / 256, r.p[0] + 16 * stride, type));
	}
}

static void gemv_q4_k(float *y, const void *w, int64_t stride, const void *x, int rows, int cols) { gemv(y, w, stride, x, rows, cols, Q4_K); }
static void gemv_q5_k(float *y, const void *w, int64_t stride, const void *x, int rows, int cols) { gemv(y, w, stride, x, rows, cols, Q5_K); }
static void gemv_q6_k(float *y, const void *w, int64_t stride, const void *x, int rows, int cols) { gemv(y, w, stride, x, rows, cols, Q6_K); }

void kern_avx512vnni_gemv256(struct kern *k)
{
	k->w[DT_Q4_K].gemv = gemv_q4_k;
	k->w[DT_Q5_K].gemv = gemv_q5_k;
	k->w[DT_Q6_K].gemv = gemv_q6_k;
}
