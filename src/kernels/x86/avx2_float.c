/* avx2_float.c - GEMV and GEMM of the float weights (DOT_F32): F32, F16, BF16, NF4.
 *
 * The 16 lanes of the contract run along K in two vectors.  GEMV takes 4 rows together, so that 8 chains hide
 * the latency of the FMA; GEMM widens 8 rows to f32 once and runs tiles of 2 rows by 3 tokens (12 sums of 16
 * registers). */
#include "kernels/x86/avx2.h"

struct pair {
	__m256 a, b;
};

/* 8 codes of NF4, as f32 */
INLINE __m256 nf4_codes(__m128i index)
{
	__m256i i = _mm256_cvtepu8_epi32(index);
	__m256 lo = _mm256_permutevar8x32_ps(_mm256_loadu_ps(quant_nf4_code), i);
	__m256 hi = _mm256_permutevar8x32_ps(_mm256_loadu_ps(quant_nf4_code + 8), i);
	return _mm256_blendv_ps(lo, hi, _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)));
}
INLINE struct pair nf4_16(const uint8_t *w, int k)
{
	const uint8_t *b = w + (size_t)(k / 64) * 36;
	float absmax;
	memcpy(&absmax, b, sizeof absmax);
	__m128i q = _mm_loadl_epi64((const __m128i *)(b + 4 + k % 64 / 2)), low = _mm_set1_epi8(15);
	q = _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(q, 4), low),
			      _mm_and_si128(q, low)); /* high nibble first */
	__m256 s = _mm256_set1_ps(absmax);
	return (struct pair){ _mm256_mul_ps(nf4_codes(q), s),
			      _mm256_mul_ps(nf4_codes(_mm_srli_si128(q, 8)), s) };
}

INLINE __m256 bf16_8(const uint16_t *p)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p)), 16));
}
/* Elements [k, k+16) of a row, as f32. */
INLINE struct pair load16(const uint8_t *w, int k, enum dtype t)
{
	const uint16_t *h = (const uint16_t *)(const void *)w + k;
	const float *f = (const float *)(const void *)w + k;
	if (t == DT_NF4) return nf4_16(w, k);
	if (t == DT_F32) return (struct pair){ _mm256_loadu_ps(f), _mm256_loadu_ps(f + 8) };
	if (t == DT_F16) return (struct pair){ _mm256_cvtph_ps(load128(h)), _mm256_cvtph_ps(load128(h + 8)) };
	return (struct pair){ bf16_8(h), bf16_8(h + 8) };
}
/* The same where only n < 16 elements are left: the others are zero. */
INLINE struct pair rest16(const uint8_t *w, int k, int n, enum dtype t)
{
	uint8_t buf[64] = { 0 };
	const size_t size = t == DT_F32 ? 4 : 2;
	memcpy(buf, w + (size_t)k * size, (size_t)n * size);
	return load16(buf, 0, t);
}
/* Elements from k on, of `cols` in all; NF4 rows are whole blocks of 64. */
INLINE struct pair get16(const uint8_t *w, int k, int cols, enum dtype t)
{
	return t == DT_NF4 || cols - k >= 16 ? load16(w, k, t) : rest16(w, k, cols - k, t);
}
INLINE void fma16(struct pair *acc, struct pair w, struct pair x)
{
	acc->a = _mm256_fmadd_ps(w.a, x.a, acc->a);
	acc->b = _mm256_fmadd_ps(w.b, x.b, acc->b);
}

/* ---- GEMV
 * ----------------------------------------------------------------------------------------------------------
 */
/* Folds of four rows (exact.h), in the low lanes. */
INLINE __m256 fold4(const struct pair v[4])
{
	__m128 h[4];
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		__m256 s = _mm256_add_ps(v[i].a, v[i].b);
		h[i] = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
	}
	__m128 ab = _mm_add_ps(_mm_unpacklo_ps(h[0], h[1]), _mm_unpackhi_ps(h[0], h[1]));
	__m128 cd = _mm_add_ps(_mm_unpacklo_ps(h[2], h[3]), _mm_unpackhi_ps(h[2], h[3]));
	return _mm256_castps128_ps256(_mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
}

INLINE __m256 four_rows(const uint8_t *const p[4], const float *x, int cols, int ahead, enum dtype t)
{
	struct walk w = walk_start((cols + 31) / 32);
	__m256 part[LEAVES];
	for (int64_t u = 0; u < w.n;) {
		struct pair acc[4];
		for (int i = 0; i < 4; i++) acc[i].a = acc[i].b = _mm256_setzero_ps();
		int end = w.end * 32 < cols ? (int)w.end * 32 : cols;
		for (int k = (int)u * 32; k < end; k += 16) {
			struct pair v = get16((const uint8_t *)x, k, cols, DT_F32);
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++) {
				_mm_prefetch((const char *)p[i] + ahead +
						     (t == DT_F32   ? 4 * k
						      : t == DT_NF4 ? k / 16 * 9
								    : 2 * k),
					     _MM_HINT_T0);
				fma16(&acc[i], get16(p[i], k, cols, t), v);
			}
		}
		u = w.end;
		part[walk_close(&w)] = fold4(acc);
	}
	return walk_join(part, 1, w.has);
}

INLINE void gemv(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, enum dtype t)
{
	for (int i = 0; i < rows; i += 4) {
		const uint8_t *p[4];
		for (int r = 0; r < 4; r++)
			p[r] = (const uint8_t *)w + (int64_t)(i + r < rows ? i + r : rows - 1) * stride;
		_mm256_maskstore_ps(y + i, lanes(rows - i < 4 ? rows - i : 4),
				    four_rows(p, x, cols, (int)(4 * stride), t));
	}
}

/* ---- GEMM
 * ----------------------------------------------------------------------------------------------------------
 */
enum { ROWS = 8, TOKENS = 3 };

static size_t panel_bytes(int cols)
{
	return ROWS * x_bytes(DOT_F32, cols);
}

/* Rows one after the other, widened, whole groups of 16. */
INLINE void pack(void *panel, const void *w, int64_t stride, int rows, int cols, enum dtype t)
{
	size_t size = x_bytes(DOT_F32, cols) / sizeof(float);
	for (int r = 0; r < ROWS; r++) {
		const uint8_t *p = (const uint8_t *)w + (int64_t)(r < rows ? r : rows - 1) * stride;
		float *o = (float *)panel + (size_t)r * size;
		for (int k = 0; k < cols; k += 16) {
			struct pair v = get16(p, k, cols, t);
			_mm256_storeu_ps(o + k, v.a);
			_mm256_storeu_ps(o + k + 8, v.b);
		}
	}
}

/* 2 rows by n tokens; rows and tokens are `size` floats apart */
INLINE void tile(float *y, int64_t y_stride, const float *w, const float *x, size_t size, int rows, int n,
		 int cols)
{
	struct walk l = walk_start((cols + 31) / 32);
	float part[2 * TOKENS][LEAVES] = { { 0 } };
	for (int64_t u = 0; u < l.n;) {
		struct pair acc[2][TOKENS];
		int end = l.end * 32 < cols ? (int)l.end * 32 : cols;
		for (int t = 0; t < n; t++)
			acc[0][t].a = acc[0][t].b = acc[1][t].a = acc[1][t].b = _mm256_setzero_ps();
		for (int k = (int)u * 32; k < end; k += 16) {
			struct pair a = load16((const uint8_t *)w, k, DT_F32),
				    b = load16((const uint8_t *)(w + size), k, DT_F32);
#pragma GCC unroll 3
			for (int t = 0; t < n; t++) {
				struct pair v =
					get16((const uint8_t *)(x + (size_t)t * size), k, cols, DT_F32);
				fma16(&acc[0][t], a, v);
				fma16(&acc[1][t], b, v);
			}
		}
		u = l.end;
		int leaf = walk_close(&l);
		for (int t = 0; t < n; t++)
			for (int r = 0; r < 2; r++) part[2 * t + r][leaf] = fold16(acc[r][t].a, acc[r][t].b);
	}
	for (int t = 0; t < n; t++)
		for (int r = 0; r < 2 && r < rows; r++)
			y[t * y_stride + r] = leaf_join(part[2 * t + r], l.has);
}

static void run(float *y, int64_t y_stride, const void *panel, const void *x, int rows, int n_tok, int cols)
{
	size_t size = x_bytes(DOT_F32, cols) / sizeof(float);
	for (int t = 0; t < n_tok; t += TOKENS)
		for (int r = 0; r < rows; r += 2) {
			const float *w = (const float *)panel + (size_t)r * size,
				    *v = (const float *)x + (size_t)t * size;
			float *o = y + t * y_stride + r;
			if (n_tok - t >= 3)
				tile(o, y_stride, w, v, size, rows - r, 3, cols);
			else if (n_tok - t == 2)
				tile(o, y_stride, w, v, size, rows - r, 2, cols);
			else
				tile(o, y_stride, w, v, size, rows - r, 1, cols);
		}
}

static const struct kern_gemm gemm = { ROWS, TOKENS, panel_bytes, NULL, NULL, run };

static void gemv_f32(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_F32);
}
static void gemv_f16(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_F16);
}
static void gemv_bf16(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_BF16);
}
static void gemv_nf4(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_NF4);
}
static void pack_f32(void *panel, const void *w, int64_t stride, int rows, int cols)
{
	pack(panel, w, stride, rows, cols, DT_F32);
}
static void pack_f16(void *panel, const void *w, int64_t stride, int rows, int cols)
{
	pack(panel, w, stride, rows, cols, DT_F16);
}
static void pack_bf16(void *panel, const void *w, int64_t stride, int rows, int cols)
{
	pack(panel, w, stride, rows, cols, DT_BF16);
}
static void pack_nf4(void *panel, const void *w, int64_t stride, int rows, int cols)
{
	pack(panel, w, stride, rows, cols, DT_NF4);
}

void kern_avx2_float(struct kern *k)
{
	k->w[DT_F32] = (struct kern_type){ gemv_f32, pack_f32, &gemm };
	k->w[DT_F16] = (struct kern_type){ gemv_f16, pack_f16, &gemm };
	k->w[DT_BF16] = (struct kern_type){ gemv_bf16, pack_bf16, &gemm };
	k->w[DT_NF4] = (struct kern_type){ gemv_nf4, pack_nf4, &gemm };
}
