/* The table of types. */
#include "quant/quant.h"
#include "test.h"

LM_TEST(quant_table_is_sound)
{
	for (int t = 0; t < DT_COUNT; t++) {
		const struct dtype_info *d = quant_info((enum dtype)t);
		if (!d) continue;
		enum dtype back = DT_COUNT;
		struct lm_err err;
		assert_ok(quant_from_name(d->name, &back, &err), err);
		assert_int_equal(back, t);
		assert_non_null(d->decode);
		assert_true(d->block_elems > 0 && d->block_bytes > 0);
		if (d->dot == DOT_X32) assert_int_equal(d->block_elems, 32);
		if (d->dot == DOT_X256) assert_int_equal(d->block_elems, 256);
		assert_int_equal(quant_row_bytes((enum dtype)t, 0), 0);
		assert_int_equal(quant_row_bytes((enum dtype)t, d->block_elems), d->block_bytes);
		assert_int_equal(quant_row_bytes((enum dtype)t, 768), 256 / d->block_elems * d->block_bytes * 3);
		if (d->block_elems > 1) assert_int_equal(quant_row_bytes((enum dtype)t, d->block_elems + 1), -1);
		assert_int_equal(quant_row_bytes((enum dtype)t, -d->block_elems), -1);
	}
}

LM_TEST(quant_refuses_unknown_types)
{
	assert_null(quant_info((enum dtype)4));
	assert_null(quant_info((enum dtype)DT_COUNT));
	assert_null(quant_info((enum dtype)-1));
	assert_int_equal(quant_row_bytes((enum dtype)4, 32), -1);
	assert_int_equal(quant_row_bytes(DT_I64, INT64_MAX / 4), -1);
	struct lm_err err;
	enum dtype t = DT_COUNT;
	assert_int_equal(quant_from_name("q4_K", &t, &err), 0);
	assert_int_equal(t, DT_Q4_K);
	assert_int_equal(quant_from_name("q9_9", &t, &err), LM_EINVAL);
	assert_non_null(strstr(err.msg, "q9_9"));
	assert_non_null(strstr(err.msg, "nf4"));
}
