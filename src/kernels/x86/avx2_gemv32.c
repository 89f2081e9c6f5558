/* avx2_gemv32.c - GEMV of the types with blocks of 32 (DOT_X32), straight from the file's blocks.
 *
 * Eight rows go together: vpmaddubsw and vpmaddwd leave 8 partial sums per row, one transpose-add makes a
 * vector with a row in each lane for the contract's fma chain. Nothing saturates: codes up to 31 give pairs
 * up to 2 * 31 * 127 and fours up to 15748, so that even twice that fits 16 bits; Q8_0 multiplies |w| (up to
 * 128) by x with the sign of w, 2 * 128 * 127 = 32512, and adds in 32 bits. */
#include "kernels/x86/avx2_blocks.h"

INLINE __m256i row_sums(const uint8_t *p, __m256i x, enum dtype t)
{
	__m256i w = codes32(p, t);
	__m256i v = t == DT_Q8_0 ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
				 : _mm256_maddubs_epi16(w, x);
	return _mm256_madd_epi16(v, _mm256_set1_epi16(1));
}

INLINE __m256i four_rows(const uint8_t *const p[4], int64_t at, __m256i x, enum dtype t)
{
	__m256i a = row_sums(p[0] + at, x, t), b = row_sums(p[1] + at, x, t);
	__m256i c = row_sums(p[2] + at, x, t), d = row_sums(p[3] + at, x, t);
	return t == DT_Q8_0 ? sum4(a, b, c, d) : sum4_i16(a, b, c, d);
}

INLINE __m256 eight_rows(struct strip8 r, const struct x32 *x, int64_t n, enum dtype t)
{
	const int size = size32(t);
	const uint8_t *next = r.p + 8 * r.stride;
	struct walk w = walk_start(n);
	__m256 acc = _mm256_setzero_ps(), part[LEAVES];
	for (int64_t b = 0; b < n; b++, strip8_on(&r, size), next += 8 * size) {
		const uint8_t *p[8];
		__m256i xq = load256(x->q + 32 * b);
		strip8_rows(p, &r);
		for (int i = 0; i < 8 * size; i += 64) fetch(next + i);
		__m256i dot = lanes_1(four_rows(p, 0, xq, t), four_rows(p + 4, 0, xq, t));
		if (zero32(t)) dot = _mm256_sub_epi32(dot, _mm256_set1_epi32(zero32(t) * x->sum[b]));
		if (min32(t)) {
			struct two_f32 h = split_f16(rows8_u32(p, 0));
			acc = chain(acc, h.lo, x->d[b], dot);
			acc = _mm256_fmadd_ps(h.hi, _mm256_set1_ps(x->ds[b]), acc);
		} else
			acc = chain(acc, rows8_f16(p, 0), x->d[b], dot);
		if (b + 1 == w.end) {
			part[walk_close(&w)] = acc;
			acc = _mm256_setzero_ps();
		}
	}
	return walk_join(part, 1, w.has);
}

INLINE void gemv(float *y, const void *w, int64_t stride, const void *x, int rows, int cols, enum dtype t)
{
	struct x32 xr = x32_of(x, cols);
	for (int i = 0, n; i < rows; i += n) {
		struct strip8 r = strip8_from(&i, &n, w, stride, rows);
		_mm256_maskstore_ps(y + i, lanes(n), eight_rows(r, &xr, cols / 32, t));
	}
}

static void gemv_q4_0(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_Q4_0);
}
static void gemv_q4_1(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_Q4_1);
}
static void gemv_q5_0(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_Q5_0);
}
static void gemv_q5_1(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_Q5_1);
}
static void gemv_q8_0(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)
{
	gemv(y, w, stride, x, rows, cols, DT_Q8_0);
}

void kern_avx2_gemv32(struct kern *k)
{
	k->w[DT_Q4_0].gemv = gemv_q4_0;
	k->w[DT_Q4_1].gemv = gemv_q4_1;
	k->w[DT_Q5_0].gemv = gemv_q5_0;
	k->w[DT_Q5_1].gemv = gemv_q5_1;
	k->w[DT_Q8_0].gemv = gemv_q8_0;
}
