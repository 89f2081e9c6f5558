/* avx512_float.c - weights that become f32 (DOT_F32): 16 lanes along K, a fold per leaf, then the leaf tree.
 *
 * Sixteen sums are folded together: each step of the contract (8, 4, 2, 1) halves two vectors into one, so 15
 * adds end with one output in each lane, and the leaf tree runs on that vector. */
#include "kernels/x86/avx512.h"

INLINE __m512 half_lanes(__m512 a, __m512 b) /* l + (l + 8): a in the lower half, b in the upper */
{
	return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}
INLINE __m512 quarter_lanes(__m512 a, __m512 b) /* l + (l + 4): one row in each 128 bits */
{
	return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}
INLINE __m512 fold4(const __m512 a[4])
{
	return quarter_lanes(half_lanes(a[0], a[1]), half_lanes(a[2], a[3]));
}
INLINE __m512 pairs(__m512 a, __m512 b) /* l + (l + 2) */
{
	__m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
	return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)),
			     _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}
/* Lane i: the folded sum of acc[i]. */
INLINE __m512 fold16x16(const __m512 acc[16])
{
	const __m512i turn = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	__m512 a = pairs(fold4(acc), fold4(acc + 4)), b = pairs(fold4(acc + 8), fold4(acc + 12));
	return _mm512_permutexvar_ps(
		turn, _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd)));
}

/* Elements k .. k+15 of a row, those in m. */
INLINE __m512 weights(const uint8_t *row, int k, __mmask16 m, enum dtype t)
{
	if (t == DT_F32) return _mm512_maskz_loadu_ps(m, row + 4 * (int64_t)k);
	if (t == DT_F16) return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, row + 2 * (int64_t)k));
	if (t == DT_BF16)
		return _mm512_castsi512_ps(_mm512_slli_epi32(
			_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, row + 2 * (int64_t)k)), 16));
	/* NF4: whole blocks of 64; element 2j in the high nibble of byte j */
	const uint8_t *b = row + (int64_t)(k / 64) * (int64_t)sizeof(struct block_nf4);
	__m128i q = _mm_loadl_epi64((const __m128i *)(b + 4 + k % 64 / 2)), low = _mm_set1_epi8(15);
	__m512i i = _mm512_cvtepu8_epi32(
		_mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(q, 4), low), _mm_and_si128(q, low)));
	float absmax;
	memcpy(&absmax, b, 4);
	return _mm512_mul_ps(_mm512_permutexvar_ps(i, _mm512_loadu_ps(quant_nf4_code)),
			     _mm512_set1_ps(absmax));
}

/* Bytes that 16 elements take, rounded up, for the fetch ahead. */
INLINE int step_bytes(enum dtype t)
{
	return t == DT_F32 ? 64 : t == DT_NF4 ? 9 : 32;
}

INLINE __m512 dot_16rows(const struct rows16 *r, const float *x, int cols, const uint8_t *next, enum dtype t)
{
	struct walk w = walk_start((cols + 31) / 32);
	__m512 part[LEAVES];
	for (int k = 0; k < cols;) {
		int end = w.end * 32 < cols ? (int)w.end * 32 : cols;
		__m512 acc[16];
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) acc[i] = _mm512_setzero_ps();
		for (; k < end; k += 16) {
			__mmask16 m = lanes(cols - k);
			__m512 v = _mm512_maskz_loadu_ps(m, x + k);
#pragma GCC unroll 16
			for (int i = 0; i < 16; i++) {
				fetch(next + (int64_t)k * step_bytes(t), 16 * step_bytes(t), i);
				acc[i] = _mm512_fmadd_ps(weights(r->p[i], k, m, t), v, acc[i]);
			}
		}
		part[walk_close(&w)] = fold16x16(acc);
	}
	return walk_join(part, w.has);
}

INLINE void gemv(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, enum dtype t)
{
	for (int i = 0; i < rows; i += 16) {
		struct rows16 r = rows16(w, stride, i, rows);
		_mm512_mask_storeu_ps(y + i, lanes(r.n), dot_16rows(&r, x, cols, r.p[0] + 16 * stride, t));
	}
}
#define GEMV(id, type)                                                                                       \
	static void gemv_##id(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)    \
	{                                                                                                    \
		gemv(y, w, stride, x, rows, cols, type);                                                     \
	}
GEMV(f32, DT_F32)
GEMV(f16, DT_F16)
GEMV(bf16, DT_BF16)
GEMV(nf4, DT_NF4)

/* ---- GEMM: panels of 16 f32 rows, tiles of 4 rows x 4 tokens
 * ------------------------------------------------------ */
enum { NR = 16, MR = 4 };

INLINE int padded(int cols)
{
	return (cols + 15) & ~15;
}
static size_t panel_bytes(int cols)
{
	return (size_t)NR * (size_t)padded(cols) * sizeof(float);
}

INLINE void pack(void *panel, const void *w, int64_t stride, int rows, int cols, enum dtype t)
{
	for (int r = 0; r < NR; r++) {
		float *o = (float *)panel + (size_t)r * (size_t)padded(cols);
		const uint8_t *row = (const uint8_t *)w + (r < rows ? r : rows - 1) * stride;
		for (int k = 0; k < cols; k += 16)
			_mm512_store_ps(o + k, weights(row, k, lanes(cols - k), t));
	}
}
#define PACK(id, type)                                                                                       \
	static void pack_##id(void *panel, const void *w, int64_t stride, int rows, int cols)                \
	{                                                                                                    \
		pack(panel, w, stride, rows, cols, type);                                                    \
	}
PACK(f32, DT_F32)
PACK(f16, DT_F16)
PACK(bf16, DT_BF16)
PACK(nf4, DT_NF4)

/* Lane 4 t + r: row r of four panel rows, token t; missing tokens repeat the last. */
INLINE __m512 tile(const float *w, const float *const x[MR], int cols)
{
	struct walk walk = walk_start((cols + 31) / 32);
	__m512 part[LEAVES];
	size_t ws = (size_t)padded(cols);
	for (int k = 0; k < cols;) {
		int end = walk.end * 32 < cols ? (int)walk.end * 32 : cols;
		__m512 acc[16];
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) acc[i] = _mm512_setzero_ps();
		for (; k < end; k += 16) {
			__m512 a[4], v[4];
			__mmask16 m = lanes(cols - k);
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++)
				a[i] = _mm512_load_ps(w + i * ws + k),
				v[i] = _mm512_maskz_loadu_ps(m, x[i] + k);
#pragma GCC unroll 16
			for (int i = 0; i < 16; i++) acc[i] = _mm512_fmadd_ps(a[i % 4], v[i / 4], acc[i]);
		}
		part[walk_close(&walk)] = fold16x16(acc);
	}
	return walk_join(part, walk.has);
}

static void run(float *y, int64_t ys, const void *panel, const void *xp, int rows, int n_tok, int cols)
{
	size_t stride = x_bytes(DOT_F32, cols);
	for (int t = 0; t < n_tok; t += MR) {
		const float *x[MR];
		for (int i = 0; i < MR; i++)
			x[i] = (const float *)((const char *)xp +
					       (size_t)(t + i < n_tok ? t + i : n_tok - 1) * stride);
		for (int r = 0; r < rows; r += 4) {
			float out[16];
			_mm512_storeu_ps(
				out, tile((const float *)panel + (size_t)r * (size_t)padded(cols), x, cols));
			for (int i = 0; i < MR && t + i < n_tok; i++)
				_mm_mask_storeu_ps(y + (t + i) * ys + r, (__mmask8)(lanes(rows - r) & 15),
						   _mm_loadu_ps(out + 4 * i));
		}
	}
}

static const struct kern_gemm gemm = {NR, MR, panel_bytes, NULL, NULL, run};

void kern_avx512_float(struct kern *k)
{
	k->w[DT_F32] = (struct kern_type){gemv_f32, pack_f32, &gemm};
	k->w[DT_F16] = (struct kern_type){gemv_f16, pack_f16, &gemm};
	k->w[DT_BF16] = (struct kern_type){gemv_bf16, pack_bf16, &gemm};
	k->w[DT_NF4] = (struct kern_type){gemv_nf4, pack_nf4, &gemm};
}
