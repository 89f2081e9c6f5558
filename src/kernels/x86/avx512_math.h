/* avx512_math.h - the functions of exact.h on 16 lanes: the same sequence of operations, so the same bits. */
#pragma once
#include "kernels/x86/avx512.h"

INLINE __m512 f(float x)
{
	return _mm512_set1_ps(x);
}
INLINE __m512 negated(__m512 x)
{
	return _mm512_xor_ps(x, f(-0.0f));
}
INLINE __m512 v_exp(__m512 x)
{
	__m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, f(EXP_LOG2E)),
					_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	__m512 r = _mm512_fmadd_ps(n, f(-EXP_LN2HI), x);
	r = _mm512_fmadd_ps(n, f(-EXP_LN2LO), r);
	__m512 p = f(EXP_P0);
	p = _mm512_fmadd_ps(p, r, f(EXP_P1));
	p = _mm512_fmadd_ps(p, r, f(EXP_P2));
	p = _mm512_fmadd_ps(p, r, f(EXP_P3));
	p = _mm512_fmadd_ps(p, r, f(EXP_P4));
	p = _mm512_fmadd_ps(p, r, f(EXP_P5));
	p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), f(1.0f));
	p = _mm512_scalef_ps(p, n); /* p * 2^h is exact, so both round once */
	p = _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(x, f(EXP_HI), _CMP_GT_OQ), f(INFINITY));
	p = _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(x, f(EXP_LO), _CMP_LT_OQ), _mm512_setzero_ps());
	return _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
}
INLINE __m512 exp_neg1(__m512 x)
{
	return _mm512_add_ps(f(1.0f), v_exp(negated(x)));
} /* 1 + exp(-x) */
INLINE __m512 v_sigmoid(__m512 x)
{
	return _mm512_div_ps(f(1.0f), exp_neg1(x));
}
INLINE __m512 v_silu(__m512 x)
{
	return _mm512_div_ps(x, exp_neg1(x));
}
INLINE __m512 v_tanh(__m512 x)
{
	__m512 e = _mm512_add_ps(v_exp(_mm512_mul_ps(f(2.0f), x)), f(1.0f));
	return _mm512_sub_ps(f(1.0f), _mm512_div_ps(f(2.0f), e));
}
INLINE __m512 half_of(__m512 x, __m512 g) /* 0.5 x (1 + g) */
{
	return _mm512_mul_ps(_mm512_mul_ps(f(0.5f), x), _mm512_add_ps(f(1.0f), g));
}
INLINE __m512 v_gelu_tanh(__m512 x)
{
	__m512 u = _mm512_fmadd_ps(_mm512_mul_ps(f(GELU_A), x), _mm512_mul_ps(x, x), x);
	return half_of(x, v_tanh(_mm512_mul_ps(f(GELU_C), u)));
}
INLINE __m512 v_erf(__m512 x)
{
	__m512 a = _mm512_abs_ps(x), t = _mm512_div_ps(f(1.0f), _mm512_fmadd_ps(f(0.3275911f), a, f(1.0f)));
	__m512 p = f(1.061405429f);
	p = _mm512_fmadd_ps(p, t, f(-1.453152027f));
	p = _mm512_fmadd_ps(p, t, f(1.421413741f));
	p = _mm512_fmadd_ps(p, t, f(-0.284496736f));
	p = _mm512_fmadd_ps(p, t, f(0.254829592f));
	__m512 y = _mm512_fnmadd_ps(_mm512_mul_ps(p, t), v_exp(negated(_mm512_mul_ps(a, a))), f(1.0f));
	return _mm512_mask_xor_ps(y, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), y, f(-0.0f));
}
INLINE __m512 v_gelu(__m512 x)
{
	return half_of(x, v_erf(_mm512_mul_ps(x, f(0.7071067811865476f))));
}

/* acc[l] += acc[l + 8], then 4, 2, 1 */
INLINE float fold16(__m512 v)
{
	__m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
	__m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
	b = _mm_add_ps(b, _mm_movehl_ps(b, b));
	return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
