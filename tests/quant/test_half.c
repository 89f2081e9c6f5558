/* Halves and bfloat16 against their definition, every bit pattern. */
#include <math.h>
#include "quant/quant.h"
#include "test.h"

static float from_bits(uint32_t u)
{
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

/* IEEE 754: sign, 5 bits of exponent with bias 15, 10 of fraction. */
static double half_value(uint16_t h)
{
	int e = h >> 10 & 31, m = h & 1023;
	double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
	return h & 0x8000 ? -v : v;
}

LM_TEST(half_decodes_every_pattern)
{
	for (uint32_t h = 0; h < 65536; h++) {
		double want = half_value((uint16_t)h);
		float got = quant_f16_to_f32((uint16_t)h);
		if (isnan(want)) assert_true(isnan(got));
		else assert_true((double)got == want);
		assert_int_equal(!!signbit(got), h >> 15);
		float b = quant_bf16_to_f32((uint16_t)h);
		uint32_t u;
		memcpy(&u, &b, sizeof u);
		assert_int_equal(u, h << 16);
	}
}

LM_TEST(half_encodes_what_it_decodes)
{
	for (uint32_t h = 0; h < 65536; h++) {
		bool nan = (h & 0x7c00) == 0x7c00 && (h & 0x3ff);
		uint16_t back = quant_f32_to_f16(quant_f16_to_f32((uint16_t)h));
		assert_int_equal(back, nan ? h | 0x200 : h);
		nan = (h & 0x7f80) == 0x7f80 && (h & 0x7f);
		back = quant_f32_to_bf16(quant_bf16_to_f32((uint16_t)h));
		assert_int_equal(back, nan ? h | 0x40 : h);
	}
}

/* Between two neighbours the midpoint goes to the even one, and a hair to either side to that side. */
LM_TEST(half_rounds_to_nearest_even)
{
	for (uint16_t h = 0; h < 0x7c00; h++) {
		double a = half_value(h), b = h == 0x7bff ? 65536.0 : half_value((uint16_t)(h + 1));
		float mid = (float)((a + b) / 2);
		uint16_t even = h & 1 ? (uint16_t)(h + 1) : h;
		assert_int_equal(quant_f32_to_f16(mid), even);
		assert_int_equal(quant_f32_to_f16(-mid), even | 0x8000);
		assert_int_equal(quant_f32_to_f16(nextafterf(mid, 0)), h);
		assert_int_equal(quant_f32_to_f16(nextafterf(mid, INFINITY)), h + 1);
	}
	assert_int_equal(quant_f32_to_f16(INFINITY), 0x7c00);
	assert_int_equal(quant_f32_to_f16(3e38f), 0x7c00);
	assert_int_equal(quant_f32_to_f16(1e-45f), 0);
}

LM_TEST(bf16_rounds_to_nearest_even)
{
	for (uint32_t h = 0; h < 0x7f80; h++) {
		uint32_t even = h & 1 ? h + 1 : h;
		assert_int_equal(quant_f32_to_bf16(from_bits(h << 16 | 0x8000)), even);
		assert_int_equal(quant_f32_to_bf16(from_bits(h << 16 | 0x80008000)), even | 0x8000);
		assert_int_equal(quant_f32_to_bf16(from_bits(h << 16 | 0x7fff)), h);
		assert_int_equal(quant_f32_to_bf16(from_bits(h << 16 | 0x8001)), h + 1);
	}
}
