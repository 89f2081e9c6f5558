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

/* ---- 16 elements of the types of pre-quantised checkpoints: whole blocks, so none is ever missing ---------------- */
INLINE const uint8_t *block_at(const uint8_t *row, int k, int elems, size_t bytes)
{
	return row + (size_t)(k / elems) * bytes;
}
INLINE __m512 f32_at(const void *p)
{
	float f;
	memcpy(&f, p, sizeof f);
	return _mm512_set1_ps(f);
}
/* Of 32 elements in 16 bytes, the first half is in the low nibbles. */
INLINE __m512i half_of32(const uint8_t *q, int k)
{
	__m128i v = _mm_srl_epi16(_mm_loadu_si128((const __m128i *)q), _mm_cvtsi32_si128((k & 16) >> 2));
	return _mm512_cvtepu8_epi32(_mm_and_si128(v, _mm_set1_epi8(15)));
}
/* A pair in a byte, the first element in the high nibble, of a block of 64. */
INLINE __m512 code64(const uint8_t *b, int k, const float *code)
{
	__m128i q = _mm_loadl_epi64((const __m128i *)(b + 4 + k % 64 / 2)), low = _mm_set1_epi8(15);
	__m512i i = _mm512_cvtepu8_epi32(
		_mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(q, 4), low), _mm_and_si128(q, low)));
	return _mm512_mul_ps(_mm512_permutexvar_ps(i, _mm512_loadu_ps(code)), f32_at(b));
}
INLINE __m512 mxfp4_16(const uint8_t *b, int k)
{
	static const float e2m1[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
	uint32_t e = b[0] < 2 ? 0x00200000u << b[0] : (uint32_t)(b[0] - 1) << 23;
	return _mm512_mul_ps(_mm512_permutexvar_ps(half_of32(b + 1, k), _mm512_loadu_ps(e2m1)),
			     _mm512_castsi512_ps(_mm512_set1_epi32((int)e)));
}
INLINE __m512 less_zero(__m512i q, int z, const uint8_t *d)
{
	return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(q, _mm512_set1_epi32(z))), f32_at(d));
}
INLINE int z_at(const uint8_t *p)
{
	int16_t z;
	memcpy(&z, p, sizeof z);
	return z;
}
INLINE __m512i bytes16(const uint8_t *p)
{
	return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p));
}
/* Shifted, e4m3 is a half of 1/256 of the value, subnormals too; 0x7f is NaN. */
INLINE __m512 e4m3_16(const uint8_t *p)
{
	const __m256i top = _mm256_set1_epi16(0x7f), inf = _mm256_set1_epi16(0x7e00);
	__m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p)), a = _mm256_and_si256(v, top);
	__m256i h = _mm256_or_si256(_mm256_slli_epi16(a, 7), _mm256_slli_epi16(_mm256_andnot_si256(top, v), 8));
	h = _mm256_or_si256(h, _mm256_and_si256(_mm256_cmpeq_epi16(a, top), inf));
	return _mm512_mul_ps(_mm512_cvtph_ps(h), _mm512_set1_ps(256));
}
INLINE __m512 block16(const uint8_t *row, int k, enum dtype t)
{
	const uint8_t *b;
	switch (t) {
	case DT_FP4: return code64(block_at(row, k, 64, sizeof(struct block_fp4)), k, quant_fp4_code);
	case DT_MXFP4: return mxfp4_16(block_at(row, k, 32, sizeof(struct block_mxfp4)), k);
	case DT_Z4_32:
		b = block_at(row, k, 32, sizeof(struct block_z4_32));
		return less_zero(half_of32(b + 5, k), (int8_t)b[4], b);
	case DT_Z4_128:
		b = block_at(row, k, 128, sizeof(struct block_z4_128));
		return less_zero(half_of32(b + 5 + k % 128 / 32 * 16, k), (int8_t)b[4], b);
	case DT_Z8_32:
		b = block_at(row, k, 32, sizeof(struct block_z8_32));
		return less_zero(bytes16(b + 6 + k % 32), z_at(b + 4), b);
	case DT_Z8_128:
		b = block_at(row, k, 128, sizeof(struct block_z8_128));
		return less_zero(bytes16(b + 6 + k % 128), z_at(b + 4), b);
	case DT_F8_32:
		b = block_at(row, k, 32, sizeof(struct block_f8_32));
		return _mm512_mul_ps(e4m3_16(b + 4 + k % 32), f32_at(b));
	case DT_F8_128:
		b = block_at(row, k, 128, sizeof(struct block_f8_128));
		return _mm512_mul_ps(e4m3_16(b + 4 + k % 128), f32_at(b));
	case DT_BNB8:
		b = block_at(row, k, 32, sizeof(struct block_bnb8));
		return _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(bytes16(b + 4 + k % 32)), f32_at(b)),
				     _mm512_set1_ps(7.874015718698502e-3f));
	default: return code64(block_at(row, k, 64, sizeof(struct block_nf4)), k, quant_nf4_code);
	}
}

/* Elements k .. k+15 of a row, those in m. */
INLINE __m512 weights(const uint8_t *row, int k, __mmask16 m, enum dtype t)
{
	if (t == DT_F32) return _mm512_maskz_loadu_ps(m, row + 4 * (int64_t)k);
	if (t == DT_F16) return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, row + 2 * (int64_t)k));
	if (t == DT_BF16)
		return _mm512_castsi512_ps(_mm512_slli_epi32(
			_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, row + 2 * (int64_t)k)), 16));
	return block16(row, k, t);
}

/* Bytes that 16 elements take, rounded up, for the fetch ahead. */
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
GEMV(fp4, DT_FP4)
GEMV(mxfp4, DT_MXFP4)
GEMV(z4_32, DT_Z4_32)
GEMV(z4_128, DT_Z4_128)
GEMV(z8_32, DT_Z8_32)
GEMV(z8_128, DT_Z8_128)
GEMV(f8_32, DT_F8_32)
GEMV(f8_128, DT_F8_128)
GEMV(bnb8, DT_BNB8)

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
PACK(fp4, DT_FP4)
PACK(mxfp4, DT_MXFP4)
PACK(z4_32, DT_Z4_32)
PACK(z4_128, DT_Z4_128)
PACK(z8_32, DT_Z8_32)
PACK(z8_128, DT_Z8_128)
PACK(f8_32, DT_F8_32)
PACK(f8_128, DT_F8_128)
PACK(bnb8, DT_BNB8)

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
	k->w[DT_FP4] = (struct kern_type){gemv_fp4, pack_fp4, &gemm};
	k->w[DT_MXFP4] = (struct kern_type){gemv_mxfp4, pack_mxfp4, &gemm};
	k->w[DT_Z4_32] = (struct kern_type){gemv_z4_32, pack_z4_32, &gemm};
	k->w[DT_Z4_128] = (struct kern_type){gemv_z4_128, pack_z4_128, &gemm};
	k->w[DT_Z8_32] = (struct kern_type){gemv_z8_32, pack_z8_32, &gemm};
	k->w[DT_Z8_128] = (struct kern_type){gemv_z8_128, pack_z8_128, &gemm};
	k->w[DT_F8_32] = (struct kern_type){gemv_f8_32, pack_f8_32, &gemm};
	k->w[DT_F8_128] = (struct kern_type){gemv_f8_128, pack_f8_128, &gemm};
	k->w[DT_BNB8] = (struct kern_type){gemv_bnb8, pack_bnb8, &gemm};
}
