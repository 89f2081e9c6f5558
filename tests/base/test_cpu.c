#include "test.h"
#include "base/cpu.h"

LM_TEST(cpu_cap_is_honoured)
{
	struct lm_err e = { 0 };
	unsigned have = cpu_detect(), f = 1;
	assert_ok(cpu_flags(&f, NULL, &e), e);
	assert_int_equal(f, have);
	assert_ok(cpu_flags(&f, "c", &e), e);
	assert_int_equal(f, 0);
	assert_string_equal(cpu_name(0), "c");
	for (int i = 0; i < n_cpu_levels; i++) {
		const struct cpu_level *l = &cpu_levels[i];
		int rc = cpu_flags(&f, l->name, &e);
		if ((have & l->flags) == l->flags) {
			assert_ok(rc, e);
			assert_int_equal(f & l->flags, l->flags);
			assert_int_equal(f & ~have, 0);
			assert_string_equal(cpu_name(f), l->name);
		} else {
			assert_int_equal(rc, LM_EINVAL);
			assert_non_null(strstr(e.msg, l->name));
		}
	}
	if (have & CPU_AVX2) {
		assert_ok(cpu_flags(&f, "avx2", &e), e);
		assert_int_equal(f, CPU_AVX2);
	}
	if (have & CPU_AVX512VNNI) {
		assert_ok(cpu_flags(&f, "avx512", &e), e);
		assert_int_equal(f & (CPU_AVX512VNNI | CPU_AVX512VBMI), 0);
	}
}

LM_TEST(cpu_unknown_level_names_those_there_are)
{
	struct lm_err e = { 0 };
	unsigned f;
	assert_int_equal(cpu_flags(&f, "sse9", &e), LM_EINVAL);
	assert_non_null(strstr(e.msg, "sse9"));
	assert_non_null(strstr(e.msg, "has c"));
	assert_true(strlen(cpu_model()) > 0);
}
