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

INLINE void gemv_16(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, enum dtype t)
{
	for (int i = 0; i < rows; i += 16) {
		struct rows16 r = rows16(w, stride, i, rows);
		_mm512_mask_storeu_ps(y + i, lanes(r.n), dot_16rows(&r, x, cols, r.p[0] + 16 * stride, t));
	}
}

/* The 16 lanes of each leaf of m rows: row i into acc[leaf][first + i].  Returns which leaves have units.  Bytes that lie
 * `ahead` are fetched into L2; 0: none. */
INLINE unsigned leaf_lanes(__m512 (*acc)[16], int first, const uint8_t *w, int64_t stride, const float *x, int cols,
			   enum dtype t, const int m, const int ahead)
{
	struct walk l = walk_start((cols + 31) / 32);
	for (int k = 0; k < cols;) {
		__m512 a[8];
		int end = l.end * 32 < cols ? (int)l.end * 32 : cols, leaf = walk_close(&l);
#pragma GCC unroll 8
		for (int i = 0; i < m; i++) a[i] = _mm512_setzero_ps();
		for (; k + 32 <= end; k += 32) {
			__m512 v0 = _mm512_loadu_ps(x + k), v1 = _mm512_loadu_ps(x + k + 16);
#pragma GCC unroll 8
			for (int i = 0; i < m; i++) {
				const uint8_t *row = w + i * stride;
				for (int z = 0; z < 2 * step_bytes(t) && ahead; z += 64)
					_mm_prefetch((const char *)row + ahead + step_bytes(t) * (int64_t)(k / 16) + z, _MM_HINT_T1);
				a[i] = _mm512_fmadd_ps(weights(row, k, 0xffff, t), v0, a[i]);
				a[i] = _mm512_fmadd_ps(weights(row, k + 16, 0xffff, t), v1, a[i]);
			}
		}
		for (; k < end; k += 16) {
			__mmask16 some = lanes(end - k);
			__m512 v = _mm512_maskz_loadu_ps(some, x + k);
#pragma GCC unroll 8
			for (int i = 0; i < m; i++)
				a[i] = _mm512_fmadd_ps(weights(w + i * stride, k, some, t), v, a[i]);
		}
		if (k > end) k = end;
#pragma GCC unroll 8
		for (int i = 0; i < m; i++) acc[leaf][first + i] = a[i];
	}
	return l.has;
}
INLINE void gemv_in_step(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, enum dtype t, const int step,
			 const int ahead)
{
	__m512 acc[LEAVES][16] = { { { 0 } } }, part[LEAVES];
	for (int i = 0; i < rows; i += 16) {
		const int n = rows - i < 16 ? rows - i : 16;
		const uint8_t *p = (const uint8_t *)w + i * stride;
		unsigned has = 0;
		int r = 0;
		for (; r + step <= n; r += step) has = leaf_lanes(acc, r, p + r * stride, stride, x, cols, t, step, ahead);
		for (; r < n; r++) has = leaf_lanes(acc, r, p + r * stride, stride, x, cols, t, 1, ahead);
		for (int j = 0; j < LEAVES; j++) part[j] = fold16x16(acc[j]);
		_mm512_mask_storeu_ps(y + i, lanes(n), walk_join(part, has));
	}
}
/* Eight rows in step and no fetch of our own.  Zen 4, one thread, against 16 rows and a fetch of the next 16: f32
 * from DRAM 8192 x 2048 20 GB/s (17), 2048 x 8192 23 (18); by 4, 2 or 1 rows less. */
INLINE void gemv_8(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, enum dtype t)
{
	gemv_in_step(y, w, stride, x, rows, cols, t, 8, 0);
}
/* Row after row, 6 KiB ahead (avx512vnni_gemv256.c), as long as x and what it is multiplied with share L1; beyond 16 in step, which
 * read x once.  Two threads of a Zen 4, f16, two runs with memory at 31 and 35 GB/s: 2048 columns 31 and 34 GB/s, with 16 in step 24
 * and 32; 8192 columns 25 and 26, with 16 in step 29 and 30. */
INLINE void gemv_1(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, enum dtype t)
{
	if (cols <= 4096) gemv_in_step(y, w, stride, x, rows, cols, t, 1, ROW_AHEAD);
	else gemv_16(y, w, stride, x, rows, cols, t);
}
#define GEMV(id, type, kind)                                                                                 \
	static void gemv_##id(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)    \
	{                                                                                                    \
		gemv_##kind(y, w, stride, x, rows, cols, type);                                              \
	}
GEMV(f32, DT_F32, 8)
GEMV(f16, DT_F16, 1)
GEMV(bf16, DT_BF16, 1)
GEMV(nf4, DT_NF4, 16)
GEMV(fp4, DT_FP4, 16)
GEMV(mxfp4, DT_MXFP4, 16)
GEMV(z4_32, DT_Z4_32, 16)
GEMV(z4_128, DT_Z4_128, 16)
GEMV(z8_32, DT_Z8_32, 16)
GEMV(z8_128, DT_Z8_128, 16)
GEMV(f8_32, DT_F8_32, 16)
GEMV(f8_128, DT_F8_128, 16)
GEMV(bnb8, DT_BNB8, 16)

/* ---- GEMM: panels of f32 rows, tiles of 16 sums ----------------------------------------------------------- */
/* Zen 4, 512 tokens, K 8192: 103 Gop/s with two parts of 16 rows, 90 with one; blocks of 32 and 128 tokens are no better
 * than 64, and lose 3 and 5. */
enum { PARTS = 2, NR = 16 * PARTS, MR = 4, BLOCK = 64 };

INLINE int padded(int cols)
{
	return (cols + 15) & ~15;
}
static size_t panel_bytes(int cols)
{
	return (size_t)NR * (size_t)padded(cols) * sizeof(float);
}

/* Parts of 16 rows, in each 16 elements of a row beside those of the next: rows far apart in step meet in few sets of L1. */
INLINE void pack(void *panel, const void *w, int64_t stride, int rows, int cols, enum dtype t)
{
	for (int r = 0; r < ((rows + 15) & ~15); r++) {
		float *o = (float *)panel + (size_t)(r & ~15) * (size_t)padded(cols) + r % 16 * 16;
		const uint8_t *row = (const uint8_t *)w + (r < rows ? r : rows - 1) * stride;
		for (int k = 0; k < cols; k += 16)
			_mm512_store_ps(o + (size_t)k * 16, weights(row, k, lanes(cols - k), t));
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

/* Sixteen elements of a leaf, of 16 / t rows by t tokens, xs floats apart. */
INLINE void step(__m512 acc[16], const float *w, const float *x, size_t xs, __mmask16 m, const int t)
{
	const int rows = 16 / t;
	__m512 a[16];
#pragma GCC unroll 16
	for (int r = 0; r < rows; r++) a[r] = _mm512_load_ps(w + r * 16);
#pragma GCC unroll 4
	for (int i = 0; i < t; i++) {
		__m512 v = _mm512_maskz_loadu_ps(m, x + (size_t)i * xs);
#pragma GCC unroll 16
		for (int r = 0; r < rows; r++)
			acc[i * rows + r] = _mm512_fmadd_ps(a[r], v, acc[i * rows + r]);
	}
}
/* The n elements of a leaf; lane: token * (16 / t) + row.  Fetches a share, from `next` on, of the next t tokens and of
 * the next leaf (8192 x 512: 95 Gop/s with one of the two, 105 with both). */
INLINE __m512 tile(const float *w, const float *x, size_t xs, int n, const float *next, const int t)
{
	__m512 acc[16];
	int k = 0;
#pragma GCC unroll 16
	for (int i = 0; i < 16; i++) acc[i] = _mm512_setzero_ps();
	for (; k + 16 <= n; k += 16) {
		step(acc, w + k * 16, x + k, xs, 0xffff, t);
		_mm_prefetch((const char *)(next + (size_t)t * xs + k), _MM_HINT_T0);
		_mm_prefetch((const char *)(next + n + k), _MM_HINT_T1);
	}
	if (k < n) step(acc, w + k * 16, x + k, xs, lanes(n - k), t); /* what follows a row of x is anything */
	return fold16x16(acc);
}
/* 16 rows by t tokens in t tiles */
INLINE void tiles(__m512 *out, const float *w, const float *x, size_t xs, int n, const int t)
{
	for (int i = 0; i < t; i++)
		out[i] = tile(w + 16 / t * i * 16, x, xs, n, x + (size_t)i * xs, t);
}
/* What was summed as tiles(): a vector of 16 rows for each token. */
INLINE void by_token(__m512 *v, const int t)
{
	__m512i u[4];
	if (t == 2) {
		__m512 a = v[0], b = v[1];
		v[0] = _mm512_shuffle_f32x4(a, b, 0x44);
		v[1] = _mm512_shuffle_f32x4(a, b, 0xee);
	} else if (t == 4) {
		for (int i = 0; i < 4; i++) u[i] = _mm512_castps_si512(v[i]);
		lanes_4x4(u, u);
		for (int i = 0; i < 4; i++) v[i] = _mm512_castsi512_ps(u[i]);
	}
}
/* Tokens of the next tile of n left. */
INLINE int width(int n) { return n >= 4 ? 4 : n >= 2 ? 2 : 1; }

static void leaf_tiles(__m512 *out, const float *w, const float *x, size_t xs, int n, int n_tok)
{
	int t = 0;
	for (; t + 4 <= n_tok; t += 4) tiles(out + t, w, x + (size_t)t * xs, xs, n, 4);
	if (n_tok - t >= 2) {
		tiles(out + t, w, x + (size_t)t * xs, xs, n, 2);
		t += 2;
	}
	if (t < n_tok) tiles(out + t, w, x + (size_t)t * xs, xs, n, 1);
}

static void join(float *y, int64_t ys, const __m512 part[LEAVES][BLOCK], unsigned has, int rows, int n_tok)
{
	for (int t = 0, m; t < n_tok; t += m) {
		__m512 v[4];
		m = width(n_tok - t);
		for (int i = 0; i < m; i++) {
			__m512 leaf[LEAVES];
			for (int j = 0; j < LEAVES; j++) leaf[j] = part[j][t + i];
			v[i] = walk_join(leaf, has);
		}
		by_token(v, m);
		for (int i = 0; i < m; i++) _mm512_mask_storeu_ps(y + (t + i) * ys, lanes(rows), v[i]);
	}
}

/* Leaf by leaf, so that no tile walks and that a leaf of 16 rows stays in L1, of BLOCK tokens in L2. */
static void run(float *y, int64_t ys, const void *panel, const void *xp, int rows, int n_tok, int cols)
{
	const size_t xs = x_bytes(DOT_F32, cols) / sizeof(float);
	__m512 part[PARTS][LEAVES][BLOCK];
	for (int t = 0; t < n_tok; t += BLOCK) {
		const float *x = (const float *)xp + (size_t)t * xs;
		const int n = n_tok - t < BLOCK ? n_tok - t : BLOCK;
		struct walk l = walk_start((cols + 31) / 32);
		for (int k = 0, end; k < cols; k = end) {
			end = l.end * 32 < cols ? (int)l.end * 32 : cols;
			int leaf = walk_close(&l);
			for (int p = 0; p * 16 < rows; p++)
				leaf_tiles(part[p][leaf], (const float *)panel + (size_t)(p * padded(cols) + k) * 16, x + k, xs, end - k, n);
		}
		for (int p = 0; p * 16 < rows; p++)
			join(y + t * ys + p * 16, ys, part[p], l.has, rows - p * 16, n);
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
