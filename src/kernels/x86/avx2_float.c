/* avx2_float.c - GEMV and GEMM of the float weights (DOT_F32): F32, F16, BF16, and the
 * types of pre-quantised checkpoints.
 *
 * The 16 lanes of the contract run along K in two vectors.  GEMV takes 4 rows together, so that 8 chains hide
 * the latency of the FMA; GEMM widens 8 rows to f32 once and runs tiles of 2 rows by 3 tokens (12 sums of 16
 * registers). */
#include "kernels/x86/avx2.h"

struct pair {
	__m256 a, b;
};

/* 8 values of a table of 16 */
INLINE __m256 codes(__m128i index, const float *code)
{
	__m256i i = _mm256_cvtepu8_epi32(index);
	__m256 lo = _mm256_permutevar8x32_ps(_mm256_loadu_ps(code), i);
	__m256 hi = _mm256_permutevar8x32_ps(_mm256_loadu_ps(code + 8), i);
	return _mm256_blendv_ps(lo, hi, _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)));
}
INLINE __m256 f32_at(const void *p)
{
	float f;
	memcpy(&f, p, sizeof f);
	return _mm256_set1_ps(f);
}
INLINE struct pair times(__m256 a, __m256 b, __m256 s)
{
	return (struct pair){ _mm256_mul_ps(a, s), _mm256_mul_ps(b, s) };
}

/* ---- 16 elements of types whose rows are whole blocks ------------------------------------------------------- */
INLINE const uint8_t *block_at(const uint8_t *row, int k, int elems, size_t bytes)
{
	return row + (size_t)(k / elems) * bytes;
}
/* A pair in a byte, the first element in the high nibble, of a block of 64. */
INLINE struct pair code64(const uint8_t *b, int k, const float *code)
{
	__m128i q = _mm_loadl_epi64((const __m128i *)(b + 4 + k % 64 / 2)), low = _mm_set1_epi8(15);
	q = _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(q, 4), low), _mm_and_si128(q, low));
	return times(codes(q, code), codes(_mm_srli_si128(q, 8), code), f32_at(b));
}
/* Of 32 elements in 16 bytes, the first half is in the low nibbles. */
INLINE __m128i half_of32(const uint8_t *q, int k)
{
	return _mm_and_si128(_mm_srl_epi16(load128(q), _mm_cvtsi32_si128((k & 16) >> 2)), _mm_set1_epi8(15));
}
INLINE struct pair mxfp4_16(const uint8_t *b, int k)
{
	static const float e2m1[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
	uint32_t e = b[0] < 2 ? 0x00200000u << b[0] : (uint32_t)(b[0] - 1) << 23;
	__m128i q = half_of32(b + 1, k);
	return times(codes(q, e2m1), codes(_mm_srli_si128(q, 8), e2m1),
		     _mm256_castsi256_ps(_mm256_set1_epi32((int)e)));
}
INLINE __m256 less(__m256i q, int z) { return _mm256_cvtepi32_ps(_mm256_sub_epi32(q, _mm256_set1_epi32(z))); }
INLINE struct pair z4_16(const uint8_t *b, const uint8_t *q, int k)
{
	__m128i v = half_of32(q, k);
	int z = (int8_t)b[4];
	return times(less(_mm256_cvtepu8_epi32(v), z), less(_mm256_cvtepu8_epi32(_mm_srli_si128(v, 8)), z), f32_at(b));
}
INLINE struct pair i8_16(const uint8_t *q, int z, __m256 d)
{
	__m128i v = load128(q);
	return times(less(_mm256_cvtepi8_epi32(v), z), less(_mm256_cvtepi8_epi32(_mm_srli_si128(v, 8)), z), d);
}
INLINE struct pair z8_16(const uint8_t *b, const uint8_t *q)
{
	int16_t z;
	memcpy(&z, b + 4, sizeof z);
	return i8_16(q, z, f32_at(b));
}
/* Shifted, e4m3 is a half of 1/256 of the value, subnormals too; 0x7f is NaN. */
INLINE struct pair f8_16(const uint8_t *b, const uint8_t *q)
{
	const __m256i top = _mm256_set1_epi16(0x7f), inf = _mm256_set1_epi16(0x7e00);
	__m256i v = _mm256_cvtepu8_epi16(load128(q)), a = _mm256_and_si256(v, top);
	__m256i h = _mm256_or_si256(_mm256_slli_epi16(a, 7), _mm256_slli_epi16(_mm256_andnot_si256(top, v), 8));
	h = _mm256_or_si256(h, _mm256_and_si256(_mm256_cmpeq_epi16(a, top), inf));
	struct pair f = times(_mm256_cvtph_ps(_mm256_castsi256_si128(h)), _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1)),
			      _mm256_set1_ps(256));
	return times(f.a, f.b, f32_at(b));
}
INLINE struct pair block16(const uint8_t *row, int k, enum dtype t)
{
	const uint8_t *b;
	struct pair v;
	switch (t) {
	case DT_FP4: return code64(block_at(row, k, 64, sizeof(struct block_fp4)), k, quant_fp4_code);
	case DT_MXFP4: return mxfp4_16(block_at(row, k, 32, sizeof(struct block_mxfp4)), k);
	case DT_Z4_32:
		b = block_at(row, k, 32, sizeof(struct block_z4_32));
		return z4_16(b, b + 5, k);
	case DT_Z4_128:
		b = block_at(row, k, 128, sizeof(struct block_z4_128));
		return z4_16(b, b + 5 + k % 128 / 32 * 16, k);
	case DT_Z8_32:
		b = block_at(row, k, 32, sizeof(struct block_z8_32));
		return z8_16(b, b + 6 + k % 32);
	case DT_Z8_128:
		b = block_at(row, k, 128, sizeof(struct block_z8_128));
		return z8_16(b, b + 6 + k % 128);
	case DT_F8_32:
		b = block_at(row, k, 32, sizeof(struct block_f8_32));
		return f8_16(b, b + 4 + k % 32);
	case DT_F8_128:
		b = block_at(row, k, 128, sizeof(struct block_f8_128));
		return f8_16(b, b + 4 + k % 128);
	case DT_BNB8:
		b = block_at(row, k, 32, sizeof(struct block_bnb8));
		v = i8_16(b + 4 + k % 32, 0, f32_at(b));
		return times(v.a, v.b, _mm256_set1_ps(7.874015718698502e-3f));
	default: return code64(block_at(row, k, 64, sizeof(struct block_nf4)), k, quant_nf4_code);
	}
}
INLINE bool in_blocks(enum dtype t) { return t != DT_F32 && t != DT_F16 && t != DT_BF16; }
/* Bytes that 16 elements take, about, for the fetch ahead. */
INLINE int step_bytes(enum dtype t)
{
	switch (t) {
	case DT_F32: return 64;
	case DT_F16: case DT_BF16: return 32;
	case DT_Z4_32: return 11;
	case DT_Z8_32: return 19;
	case DT_Z8_128: case DT_F8_128: return 17;
	case DT_F8_32: case DT_BNB8: return 18;
	default: return 9;
	}
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
	if (in_blocks(t)) return block16(w, k, t);
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
/* Elements from k on, of `cols` in all. */
INLINE struct pair get16(const uint8_t *w, int k, int cols, enum dtype t)
{
	return in_blocks(t) || cols - k >= 16 ? load16(w, k, t) : rest16(w, k, cols - k, t);
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
						     k / 16 * step_bytes(t),
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
/* Panels of PARTS times 8 rows, so that the tokens are read from far as seldom; BLOCK: tokens whose leaves stay side by
 * side on the stack. */
enum { PART = 8, PARTS = 4, ROWS = PART * PARTS, TOKENS = 3, BLOCK = 48 };

INLINE int padded(int cols) { return (cols + 15) & ~15; }
static size_t panel_bytes(int cols)
{
	return (size_t)ROWS * (size_t)padded(cols) * sizeof(float);
}

/* In each part, 16 elements of a row beside those of the next: rows far apart in step meet in few sets of L1. */
INLINE void pack(void *panel, const void *w, int64_t stride, int rows, int cols, enum dtype t)
{
	for (int r = 0; r < ROWS && r < (rows + PART - 1) / PART * PART; r++) {
		const uint8_t *p = (const uint8_t *)w + (int64_t)(r < rows ? r : rows - 1) * stride;
		float *o = (float *)panel + (size_t)(r / PART * PART) * (size_t)padded(cols) + r % PART * 16;
		for (int k = 0; k < cols; k += 16) {
			struct pair v = get16(p, k, cols, t);
			_mm256_storeu_ps(o + (size_t)k * PART, v.a);
			_mm256_storeu_ps(o + (size_t)k * PART + 8, v.b);
		}
	}
}

/* acc[2 t + r]: two rows by n tokens, `size` floats apart, of 16 elements, as many as `left` admits */
INLINE void step(struct pair acc[2 * TOKENS], const float *w, const float *x, size_t size, int left, const int n)
{
	struct pair a = load16((const uint8_t *)w, 0, DT_F32), b = load16((const uint8_t *)w, 16, DT_F32);
#pragma GCC unroll 3
	for (int t = 0; t < n; t++) {
		struct pair v = get16((const uint8_t *)(x + (size_t)t * size), 0, left, DT_F32);
		fma16(&acc[2 * t], a, v);
		fma16(&acc[2 * t + 1], b, v);
	}
}
/* One leaf, of `len` elements: y[t][r] */
INLINE void tile(float (*y)[PART], const float *w, const float *x, size_t size, int len, const int n)
{
	struct pair acc[2 * TOKENS];
	int k = 0;
#pragma GCC unroll 6
	for (int i = 0; i < 2 * TOKENS; i++) acc[i].a = acc[i].b = _mm256_setzero_ps();
	for (; k + 16 <= len; k += 16) step(acc, w + k * PART, x + k, size, 16, n);
	if (k < len) step(acc, w + k * PART, x + k, size, len - k, n);
	__m128 f = _mm256_castps256_ps128(fold4(acc));
	_mm_storel_pi((__m64 *)(void *)y[0], f);
	if (n > 1) _mm_storeh_pi((__m64 *)(void *)y[1], f);
	if (n == 3) {
		const struct pair last[4] = { acc[4], acc[5], acc[4], acc[5] };
		_mm_storel_pi((__m64 *)(void *)y[2], _mm256_castps256_ps128(fold4(last)));
	}
}
static void leaf_tiles(float (*y)[PART], const float *w, const float *x, size_t size, int len, int rows, int n_tok)
{
	for (int t = 0; t < n_tok; t += TOKENS)
		for (int r = 0; r < rows && r < PART; r += 2) {
			float(*o)[PART] = (float(*)[PART])&y[t][r];
			if (n_tok - t >= 3) tile(o, w + r * 16, x + (size_t)t * size, size, len, 3);
			else if (n_tok - t == 2) tile(o, w + r * 16, x + (size_t)t * size, size, len, 2);
			else tile(o, w + r * 16, x + (size_t)t * size, size, len, 1);
		}
}

/* Leaf by leaf, so that no tile walks and that a leaf of 8 rows stays in L1, of BLOCK tokens in L2. */
static void run(float *y, int64_t y_stride, const void *panel, const void *xp, int rows, int n_tok, int cols)
{
	const size_t size = x_bytes(DOT_F32, cols) / sizeof(float);
	float part[PARTS][LEAVES][BLOCK][PART];
	for (int t = 0; t < n_tok; t += BLOCK) {
		const float *x = (const float *)xp + (size_t)t * size;
		const int n = n_tok - t < BLOCK ? n_tok - t : BLOCK;
		struct walk l = walk_start((cols + 31) / 32);
		for (int k = 0, end; k < cols; k = end) {
			end = l.end * 32 < cols ? (int)l.end * 32 : cols;
			int leaf = walk_close(&l);
			for (int p = 0; p * PART < rows; p++)
				leaf_tiles(part[p][leaf], (const float *)panel + (size_t)(p * padded(cols) + k) * PART,
					   x + k, size, end - k, rows - p * PART, n);
		}
		for (int p = 0; p * PART < rows; p++)
			for (int i = 0; i < n; i++) {
				__m256 v[LEAVES];
				for (int j = 0; j < LEAVES; j++) v[j] = _mm256_loadu_ps(part[p][j][i]);
				float *o = y + (t + i) * y_stride + p * PART;
				if (rows - p * PART >= PART) _mm256_storeu_ps(o, walk_join(v, 1, l.has));
				else _mm256_maskstore_ps(o, lanes(rows - p * PART), walk_join(v, 1, l.has));
			}
	}
}

static const struct kern_gemm gemm = { ROWS, TOKENS, panel_bytes, NULL, NULL, run };

#define KERNELS(id, type)                                                                              \
	static void gemv_##id(float *y, const void *w, int64_t stride, const void *x, int rows, int cols) \
	{                                                                                                 \
		gemv(y, w, stride, x, rows, cols, type);                                                      \
	}                                                                                                 \
	static void pack_##id(void *panel, const void *w, int64_t stride, int rows, int cols)             \
	{                                                                                                 \
		pack(panel, w, stride, rows, cols, type);                                                     \
	}
KERNELS(f32, DT_F32)
KERNELS(f16, DT_F16)
KERNELS(bf16, DT_BF16)
KERNELS(nf4, DT_NF4)
KERNELS(fp4, DT_FP4)
KERNELS(mxfp4, DT_MXFP4)
KERNELS(z4_32, DT_Z4_32)
KERNELS(z4_128, DT_Z4_128)
KERNELS(z8_32, DT_Z8_32)
KERNELS(z8_128, DT_Z8_128)
KERNELS(f8_32, DT_F8_32)
KERNELS(f8_128, DT_F8_128)
KERNELS(bnb8, DT_BNB8)

void kern_avx2_float(struct kern *k)
{
	k->w[DT_F32] = (struct kern_type){ gemv_f32, pack_f32, &gemm };
	k->w[DT_F16] = (struct kern_type){ gemv_f16, pack_f16, &gemm };
	k->w[DT_BF16] = (struct kern_type){ gemv_bf16, pack_bf16, &gemm };
	k->w[DT_NF4] = (struct kern_type){ gemv_nf4, pack_nf4, &gemm };
	k->w[DT_FP4] = (struct kern_type){ gemv_fp4, pack_fp4, &gemm };
	k->w[DT_MXFP4] = (struct kern_type){ gemv_mxfp4, pack_mxfp4, &gemm };
	k->w[DT_Z4_32] = (struct kern_type){ gemv_z4_32, pack_z4_32, &gemm };
	k->w[DT_Z4_128] = (struct kern_type){ gemv_z4_128, pack_z4_128, &gemm };
	k->w[DT_Z8_32] = (struct kern_type){ gemv_z8_32, pack_z8_32, &gemm };
	k->w[DT_Z8_128] = (struct kern_type){ gemv_z8_128, pack_z8_128, &gemm };
	k->w[DT_F8_32] = (struct kern_type){ gemv_f8_32, pack_f8_32, &gemm };
	k->w[DT_F8_128] = (struct kern_type){ gemv_f8_128, pack_f8_128, &gemm };
	k->w[DT_BNB8] = (struct kern_type){ gemv_bnb8, pack_bnb8, &gemm };
}
