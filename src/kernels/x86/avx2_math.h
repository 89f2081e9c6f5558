/* avx2_math.h - the functions of exact.h on 8 lanes: the same operations in the same order as the scalar
 * ones. */
#pragma once
#include "kernels/x86/avx2.h"

INLINE __m256 set8(float f)
{
	return _mm256_set1_ps(f);
}
/* 2^n, -126 <= n <= 127 */
INLINE __m256 exp8_pow2(__m256i n)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
INLINE __m256 exp8(__m256 x)
{
	__m256 n = _mm256_round_ps(_mm256_mul_ps(x, set8(EXP_LOG2E)),
				   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	__m256 r = _mm256_fmadd_ps(n, set8(-EXP_LN2HI), x);
	r = _mm256_fmadd_ps(n, set8(-EXP_LN2LO), r);
	__m256 p = _mm256_fmadd_ps(set8(EXP_P0), r, set8(EXP_P1));
	p = _mm256_fmadd_ps(p, r, set8(EXP_P2));
	p = _mm256_fmadd_ps(p, r, set8(EXP_P3));
	p = _mm256_fmadd_ps(p, r, set8(EXP_P4));
	p = _mm256_fmadd_ps(p, r, set8(EXP_P5));
	p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), set8(1.0f));
	__m256i i = _mm256_cvtps_epi32(n), h = _mm256_srai_epi32(i, 1);
	p = _mm256_mul_ps(_mm256_mul_ps(p, exp8_pow2(h)), exp8_pow2(_mm256_sub_epi32(i, h)));
	p = _mm256_blendv_ps(p, set8(INFINITY), _mm256_cmp_ps(x, set8(EXP_HI), _CMP_GT_OQ));
	p = _mm256_andnot_ps(_mm256_cmp_ps(x, set8(EXP_LO), _CMP_LT_OQ), p);
	return _mm256_blendv_ps(p, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}
INLINE __m256 neg8(__m256 x)
{
	return _mm256_xor_ps(x, set8(-0.0f));
}
INLINE __m256 one_plus_exp8(__m256 x)
{
	return _mm256_add_ps(set8(1.0f), exp8(x));
}
INLINE __m256 sigmoid8(__m256 x)
{
	return _mm256_div_ps(set8(1.0f), one_plus_exp8(neg8(x)));
}
INLINE __m256 silu8(__m256 x)
{
	return _mm256_div_ps(x, one_plus_exp8(neg8(x)));
}
INLINE __m256 tanh8(__m256 x)
{
	__m256 e = _mm256_add_ps(exp8(_mm256_mul_ps(set8(2.0f), x)), set8(1.0f));
	return _mm256_sub_ps(set8(1.0f), _mm256_div_ps(set8(2.0f), e));
}
/* 0.5 x (1 + t) */
INLINE __m256 half_times8(__m256 x, __m256 t)
{
	return _mm256_mul_ps(_mm256_mul_ps(set8(0.5f), x), _mm256_add_ps(set8(1.0f), t));
}
INLINE __m256 gelu_tanh8(__m256 x)
{
	__m256 u = _mm256_fmadd_ps(_mm256_mul_ps(set8(GELU_A), x), _mm256_mul_ps(x, x), x);
	return half_times8(x, tanh8(_mm256_mul_ps(set8(GELU_C), u)));
}
INLINE __m256 erf8(__m256 x)
{
	__m256 a = _mm256_andnot_ps(set8(-0.0f), x);
	__m256 t = _mm256_div_ps(set8(1.0f), _mm256_fmadd_ps(set8(0.3275911f), a, set8(1.0f)));
	__m256 p = _mm256_fmadd_ps(set8(1.061405429f), t, set8(-1.453152027f));
	p = _mm256_fmadd_ps(p, t, set8(1.421413741f));
	p = _mm256_fmadd_ps(p, t, set8(-0.284496736f));
	p = _mm256_fmadd_ps(p, t, set8(0.254829592f));
	__m256 y = _mm256_fmadd_ps(neg8(_mm256_mul_ps(p, t)), exp8(neg8(_mm256_mul_ps(a, a))), set8(1.0f));
	return _mm256_blendv_ps(y, neg8(y), _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}
INLINE __m256 gelu8(__m256 x)
{
	return half_times8(x, erf8(_mm256_mul_ps(x, set8(0.7071067811865476f))));
}
