#include "test.h"
#include "base/json.h"
#include <float.h>
#include <math.h>

static json_t *parse(const char *s, struct lm_err *e) { return lm_json_parse(s, strlen(s), e); }

LM_TEST(json_parses_any_value)
{
	struct lm_err e = { 0 };
	json_t *v = parse("{\"a\":[1,2.5,\"x\\u0000y\",null,true]}", &e);
	assert_non_null(v);
	assert_int_equal(json_string_length(json_array_get(json_object_get(v, "a"), 2)), 3);
	json_decref(v);
	v = parse("\"\xc3\xa9\"", &e);
	assert_string_equal(json_string_value(v), "\xc3\xa9");
	json_decref(v);
}

LM_TEST(json_refuses_with_line_and_column)
{
	const char *bad[] = { "", " ", "{", "[1,]", "{\"a\" 1}", "nul", "\"\xff\"", "[1] x", "1e999", "\"a", "\"\\", "[\"]" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct lm_err e = { 0 };
		assert_null(parse(bad[i], &e));
		assert_int_equal(e.code, LM_EFORMAT);
		assert_non_null(strstr(e.msg, "line 1, column"));
	}
}

LM_TEST(json_of_python)
{
	static const struct { const char *text; double is; } numbers[] = {
		{ "Infinity", 1e308 }, { "-Infinity", -1e308 }, { "1000000000000000019884624838656", 1e30 }, { "-1234567890123456789", -1234567890123456789.0 },
		{ "999999999999999999", 999999999999999999.0 }, { "12345678901234567890.5e-3", 12345678901234567.8905 }, { "7", 7 },
	};
	struct lm_err e = { 0 };
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		json_t *v = lm_json_python(numbers[i].text, strlen(numbers[i].text), &e);
		assert_true(json_is_number(v) && json_number_value(v) == numbers[i].is);
		assert_true(json_is_integer(v) == (strlen(numbers[i].text) < 19 && !strchr(numbers[i].text, 'I')));
		json_decref(v);
	}
	const char *text = "{\"a\":[NaN,\"NaN \\\" Infinity 12345678901234567890\\\\\",NaN]}";
	json_t *v = lm_json_python(text, strlen(text), &e), *a = json_object_get(v, "a");
	assert_true(json_is_null(json_array_get(a, 0)) && json_is_null(json_array_get(a, 2)));
	assert_string_equal(json_string_value(json_array_get(a, 1)), "NaN \" Infinity 12345678901234567890\\");
	json_decref(v);
	const char *bad[] = { "", "1Infinity", "NaNx", "1.Infinity", "1e400", "-", "\"Infinity", "1e12345678901234567890", "{Infinity:1}" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_null(lm_json_python(bad[i], strlen(bad[i]), &e));
		assert_int_equal(e.code, LM_EFORMAT);
	}
}

LM_TEST(json_of_python_is_bounded)
{
	struct lm_err e = { 0 };
	struct lm_buf b = { 0 };
	lm_buf_char(&b, '[');
	for (int i = 0; i < LM_JSON_VALUES + 1; i++) lm_buf_str(&b, "0,");
	lm_buf_str(&b, "0]");
	assert_null(lm_json_python(b.p, b.n, &e));
	assert_int_equal(e.code, LM_ELIMIT);
	lm_buf_free(&b);
}

/* What jansson took and gave back in a parse, many times over: duplicates, growing strings, tables and objects. */
LM_TEST(json_tracks_memory)
{
	struct lm_err e = { 0 };
	struct lm_buf b = { 0 };
	lm_buf_char(&b, '{');
	for (int i = 0; i < 20000; i++) lm_buf_fmt(&b, "\"%d\":[%d,\"%0*d\"],", i % 7000, i, i % 900 + 1, i);
	lm_buf_str(&b, "\"end\":[]}");
	json_t *v = lm_json_parse(b.p, b.n, &e);
	assert_non_null(v);
	assert_int_equal(json_object_size(v), 7001);
	assert_int_equal(json_integer_value(json_array_get(json_object_get(v, "6999"), 0)), 13999);
	json_decref(v);
	assert_null(lm_json_parse(b.p, b.n - 1, &e));
	assert_int_equal(e.code, LM_EFORMAT);
	lm_buf_free(&b);
}

LM_TEST(json_limits_nesting_before_recursion)
{
	enum { N = 1000000 };
	char *s = malloc(N);
	struct lm_err e = { 0 };
	memset(s, '[', N);
	assert_null(lm_json_parse(s, N, &e));
	assert_non_null(strstr(e.msg, "128"));
	for (int depth = 128; depth <= 129; depth++) {
		for (int i = 0; i < depth; i++) s[i] = '[', s[2 * depth - 1 - i] = ']';
		json_t *v = lm_json_parse(s, 2 * (size_t)depth, &e);
		assert_int_equal(v != NULL, depth == 128);
		json_decref(v);
	}
	free(s);
	json_t *v = parse("\"[[[[\\\"[[[[\"", &e);      /* brackets in a string do not count */
	assert_non_null(v);
	json_decref(v);
}

static void check_string(const char *s, size_t n, const char *want)
{
	struct lm_buf b = { 0 };
	lm_json_string(&b, s, n);
	assert_string_equal(lm_buf_cstr(&b), want);
	lm_buf_free(&b);
}

LM_TEST(json_strings_escape_and_repair)
{
	check_string("", 0, "\"\"");
	check_string("a\"b\\c\n\t\r\b\f\x01\0z", 13, "\"a\\\"b\\\\c\\n\\t\\r\\b\\f\\u0001\\u0000z\"");
	check_string("h\xc3\xa9\xf0\x9f\x98\x80/", 8, "\"h\xc3\xa9\xf0\x9f\x98\x80/\"");
	check_string("a\xff\xe2\x82", 4, "\"a\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void check_f32(float v, const char *want)
{
	struct lm_buf b = { 0 };
	lm_json_f32(&b, v);
	if (want) assert_string_equal(lm_buf_cstr(&b), want);
	float back = strtof(lm_buf_cstr(&b), NULL);
	assert_memory_equal(&back, &v, sizeof v);
	lm_buf_free(&b);
}

LM_TEST(json_floats_read_back_exactly)
{
	check_f32(0, "0");
	check_f32(-0.0f, "-0");
	check_f32(0.1f, "0.1");
	check_f32(-0.5f, "-0.5");
	check_f32(16777216, "16777216");
	check_f32(1.17549435e-38f, NULL);
	check_f32(1e-45f, "1e-45");
	check_f32(FLT_MAX, "3.4028235e+38");
	for (uint64_t i = 0; i < 100000; i++) {
		uint32_t r[4], ctr[4] = { (uint32_t)i }, key[2] = { 1, 2 };
		lm_philox(r, ctr, key);
		float v;
		memcpy(&v, r, 4);
		double d;
		memcpy(&d, r + 2, 8);
		if (isfinite(v)) check_f32(v, NULL);
		struct lm_buf b = { 0 };
		lm_json_f64(&b, d);
		if (isfinite(d)) {
			double back = strtod(lm_buf_cstr(&b), NULL);
			assert_memory_equal(&back, &d, 8);
		} else assert_string_equal(lm_buf_cstr(&b), "null");
		lm_buf_free(&b);
	}
	struct lm_buf b = { 0 };
	lm_json_f32(&b, NAN);
	lm_json_f32(&b, -INFINITY);
	lm_json_f64(&b, 0.1);
	assert_string_equal(lm_buf_cstr(&b), "nullnull0.1");
	lm_buf_free(&b);
}
