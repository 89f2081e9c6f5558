/* exact.h - the contract of bytes: the one order of arithmetic that every CPU kernel follows, whatever the
 * instruction set, thread count, batch size or chunking.  kernels/c.c is its executable form (the bit oracle);
 * check_kern compares every instruction set with it by memcmp.
 *
 * Leaves.  The K elements of a dot product are cut in units (256 elements for DOT_X256, 32 for all else; the last
 * unit of a DOT_F32 row may be short) and the n units into 8 leaves at floor(i*n/8).  Each leaf is summed on its
 * own from +0; leaves join in one fixed tree, ((0+1)+(2+3))+((4+5)+(6+7)), where a leaf without units takes no
 * part: its sibling passes up unchanged.  So 1, 2, 4 or 8 machines can each own a subtree.
 *
 * DOT_X32.  The activation row is quantised per 32 elements: xq (int8, |xq| <= 127), dx (f32), and the integer sum
 * S of xq (quantiser below).  Inside a leaf, per block ascending, with I = sum wq*xq as an exact integer:
 *     acc = fma(dw * dx, (float)I, acc)           the product dw*dx is rounded to f32 once
 *     acc = fma(mw, dx * (float)S, acc)           only for types with a minimum (Q4_1, Q5_1: w = dw*wq + mw)
 * wq is the signed value (Q4_0: q-8, Q5_0: q-16, Q8_0: q; Q4_1, Q5_1: q).  dw, mw: the block's f16 fields as f32.
 *
 * DOT_X256.  xq and dx per 256 elements, and a shift h of 0 to 3 bits per 32 elements: an element is dx * (xq << h), so a
 * group of small elements keeps up to three bits more than its block's largest would leave it.  Per block ascending, with
 * h_j the shift of sub-block j:
 *     I = sum_j (sc_j << h_j) * (sum over sub-block j of wq*xq)               exact, below 2^31 for every type
 *     M = sum_j mn_j * (sum over sub-block j of xq << h_j)                    exact int32
 *     acc = fma(dw * dx, (float)I, acc)
 *     acc = fma(-(dmin * dx), (float)M, acc)      only for types with minima (Q2_K, Q4_K, Q5_K)
 * Signed values: Q3_K q-4 with scale sc-32; Q6_K q-32; Q2_K, Q4_K, Q5_K unsigned q.
 *
 * DOT_F32.  Weights become f32 exactly (F16, BF16: widened; NF4: code*absmax).  Lane l of 16 takes the elements
 * k = l (mod 16) of the leaf, ascending, by acc[l] = fma(w, x, acc[l]) from +0; missing elements of the last 16 count
 * as fma(0, 0, acc).  The leaf folds acc[l] += acc[l+8] for l < 8, then 4, 2, 1.
 *
 * Sums over a row (norms, softmax denominators) are DOT_F32 sums without leaves: 16 lanes, one fold.
 *
 * Attention: see attend() in c.c.  Score: one FMA chain over d ascending from +0, then * scale, then the soft cap.
 * Per absolute chunk of KV_CHUNK positions: m = max of the visible scores; p = lm_expf(s - m), a masked key is
 * skipped; l = 16-lane sum of p over the chunk's positions (lane = position mod 16, ascending, then folded; masked
 * positions add +0); o[d] = fma(p, v[d], o[d]) over ascending visible positions from +0.  Chunks merge ascending:
 * first visible chunk: (m,l,o) as they are; later: M = max(m, mc); a = lm_expf(m - M), b = lm_expf(mc - M);
 * l = fma(lc, b, l * a); o[d] = fma(oc[d], b, o[d] * a).  A chunk with no visible key takes no part.
 * y[d] = o[d] / l.  K and V are always read back from the cache.
 * A sink s of the head joins last: M = max(m, s); a = lm_expf(m - M); l = fma(l, a, lm_expf(s - M)); y[d] = o[d] * a / l.
 *
 * Experts: a pair (token, k) is computed as a linear of its own row; y = fma(weight[k], out[k], y) over ascending k from
 * +0.  Routing: softmax and sums over the chosen ascending, one float after the other.
 *
 * Recurrent layers (ssm.h): per element one chain, tokens ascending, states ascending, every product rounded before its sum; the
 * squares of a head's q and k are a 16-lane sum.
 *
 * Functions that reach an output (exp, tanh, silu, gelu, erf) are the fixed FMA sequences below.  sqrt and division
 * are IEEE.  No -ffast-math, -ffp-contract=off, FTZ/DAZ never set. */
#pragma once
#include <math.h>
#include <string.h>
#include "kernels/ops.h"

enum { LEAVES = 8 };
/* First unit of leaf i of n units. */
static inline int64_t leaf_at(int i, int64_t n) { return (int64_t)i * n / LEAVES; }

/* The leaf tree over the leaves that have units. */
static inline float leaf_join(const float part[LEAVES], unsigned has)     /* part[i] counts when bit i of has is set */
{
	float v[LEAVES];
	unsigned h = has;
	memcpy(v, part, sizeof v);
	for (int step = 1; step < LEAVES; step *= 2)
		for (int i = 0; i < LEAVES; i += 2 * step) {
			if ((h >> i & 1) && (h >> (i + step) & 1)) v[i] = v[i] + v[i + step];
			else if (h >> (i + step) & 1) v[i] = v[i + step], h |= 1u << i;
		}
	return v[0];
}

/* ---- activation rows ---------------------------------------------------------------------------------
 * One quantised row of n elements (n a multiple of 32 resp. 256), arrays one after the other, each 64-byte aligned
 * when the row is:  int8 q[n] | f32 d[n/B] | f32 ds[n/B] = d * (float)sum | int32 sum[n/B]      (X32,  B = 32)
 *                   int8 q[n] | f32 d[n/B] | int16 s16[n/16] sums of 16, shifted | int16 s32[n/32], shifted | int16 h[n/32]
 *                                                                                               (X256, B = 256) */
static inline size_t x_align(size_t n) { return (n + 63) & ~(size_t)63; }
static inline size_t x32_d(int n) { return x_align((size_t)n); }
static inline size_t x32_ds(int n) { return x32_d(n) + x_align((size_t)n / 8); }
static inline size_t x32_sum(int n) { return x32_ds(n) + x_align((size_t)n / 8); }
static inline size_t x32_bytes(int n) { return x32_sum(n) + x_align((size_t)n / 8); }
static inline size_t x256_d(int n) { return x_align((size_t)n); }
static inline size_t x256_s16(int n) { return x256_d(n) + x_align((size_t)n / 64); }
static inline size_t x256_s32(int n) { return x256_s16(n) + x_align((size_t)n / 8); }
static inline size_t x256_h(int n) { return x256_s32(n) + x_align((size_t)n / 16); }
static inline size_t x256_bytes(int n) { return x256_h(n) + x_align((size_t)n / 16); }
/* Bytes of an activation row in the form a weight class wants (multiple of 64; for f32 an odd one, so that the same columns
 * of many rows lie in many sets of a cache). */
static inline size_t x_bytes(enum dot_class c, int n)
{
	return c == DOT_X32 ? x32_bytes(n) : c == DOT_X256 ? x256_bytes(n) : x_align((size_t)n * 4) | 64;
}
/* The quantiser of one block of n elements: a = max of |x| taken on the bit patterns as unsigned integers (so a NaN
 * wins); if a is below X_TINY: d = 0, q = 0.  If a is infinite or NaN: d = a, q = 0.  Else d = a / 127,
 * q = nearest-even int of x * (127 / a); division IEEE f32.
 * X256: a is that of the block of 256, b that of 32 elements.  Such a group takes the largest e <= 3 with b * 2^e <= a (no
 * rounding in it), q = nearest-even int of x * (127 / a) * 2^e, h = 3 - e, and d = a / 127 / 8; all zero as above. */
#define X_TINY 1e-30f

/* ---- functions ----------------------------------------------------------------------------------------
 * exp: n = nearest-even(x * log2 e); r = x - n ln 2 in two FMAs; degree-6 Taylor-like polynomial (Cephes expf
 * coefficients); 2^n in two factors so that results below FLT_MIN are rounded once.  x > 88.72 gives +inf, x < -104 gives 0, NaN stays. */
#define EXP_LOG2E 1.44269504088896341f
#define EXP_LN2HI 0.693359375f
#define EXP_LN2LO -2.12194440e-4f
#define EXP_P0 1.9875691500e-4f
#define EXP_P1 1.3981999507e-3f
#define EXP_P2 8.3334519073e-3f
#define EXP_P3 4.1665795894e-2f
#define EXP_P4 1.6666665459e-1f
#define EXP_P5 5.0000001201e-1f
#define EXP_HI 88.7228390520683f
#define EXP_LO -103.972077083992f

static inline float lm_pow2i(int n)       /* 2^n, -126 <= n <= 127 */
{
	union { uint32_t u; float f; } v = { (uint32_t)(n + 127) << 23 };
	return v.f;
}
static inline float lm_expf(float x)
{
	if (x != x) return x;
	if (x > EXP_HI) return INFINITY;
	if (x < EXP_LO) return 0.0f;
	float n = rintf(x * EXP_LOG2E);
	float r = fmaf(n, -EXP_LN2HI, x);
	r = fmaf(n, -EXP_LN2LO, r);
	float p = EXP_P0;
	p = fmaf(p, r, EXP_P1);
	p = fmaf(p, r, EXP_P2);
	p = fmaf(p, r, EXP_P3);
	p = fmaf(p, r, EXP_P4);
	p = fmaf(p, r, EXP_P5);
	p = fmaf(p, r * r, r) + 1.0f;
	int i = (int)n, h = i >> 1;           /* arithmetic shift: floor(i / 2) */
	return p * lm_pow2i(h) * lm_pow2i(i - h);
}
/* 1 / (1 + exp(-x)) */
static inline float lm_sigmoidf(float x) { return 1.0f / (1.0f + lm_expf(-x)); }
static inline float lm_siluf(float x) { return x / (1.0f + lm_expf(-x)); }
/* tanh(x) = 1 - 2 / (exp(2x) + 1): absolute error below 1.5e-7, all that gelu and soft caps need. */
static inline float lm_tanhf(float x) { return 1.0f - 2.0f / (lm_expf(2.0f * x) + 1.0f); }
#define GELU_C 0.7978845608028654f
#define GELU_A 0.044715f
static inline float lm_gelu_tanhf(float x)
{
	float u = GELU_C * fmaf(GELU_A * x, x * x, x);
	return 0.5f * x * (1.0f + lm_tanhf(u));
}
/* erf by Abramowitz & Stegun 7.1.26 (absolute error below 1.5e-7) */
static inline float lm_erff(float x)
{
	float a = fabsf(x), t = 1.0f / fmaf(0.3275911f, a, 1.0f);
	float p = 1.061405429f;
	p = fmaf(p, t, -1.453152027f);
	p = fmaf(p, t, 1.421413741f);
	p = fmaf(p, t, -0.284496736f);
	p = fmaf(p, t, 0.254829592f);
	float y = fmaf(-(p * t), lm_expf(-(a * a)), 1.0f);
	return x < 0 ? -y : y;
}
static inline float lm_geluf(float x) { return 0.5f * x * (1.0f + lm_erff(x * 0.7071067811865476f)); }
/* ln(1 + exp(x)) = x + ln(1 + exp(-x)) where that is nearer.  The logarithm of v in (1, 2] is 2 artanh((v-1)/(v+1)), a series in
 * double whose first left-out term is below 1e-9. */
static inline float lm_softplusf(float x)
{
	if (x != x || x > 40.0f) return x;
	double u = lm_expf(x > 0 ? -x : x), s = u / (2.0 + u), q = s * s;
	double p = 1.0 / 17;
	for (int i = 15; i > 0; i -= 2) p = p * q + 1.0 / i;
	return (float)((x > 0 ? (double)x : 0.0) + 2.0 * s * p);
}
