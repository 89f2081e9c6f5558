/* test_norm.c - normalizers against the reference (tools/gold_norm.py), against hostile specs and long runs.
 */
#include "test.h"
#include "tokenizer/norm.h"

static json_t *load(const char *path)
{
	json_error_t e;
	json_t *j = json_load_file(path, JSON_ALLOW_NUL, &e);
	if (!j) fail_msg("%s:%d: %s", path, e.line, e.text);
	return j;
}

static struct norm *make(const char *spec)
{
	struct norm *n = NULL;
	struct lm_err err;
	json_t *j = json_loads(spec, JSON_ALLOW_NUL, NULL);
	assert_non_null(j);
	assert_ok(norm_new(&n, j, &err), err);
	json_decref(j);
	return n;
}

/* The sentence that a bad spec ends in. */
static int refused(json_t *j, struct lm_err *err)
{
	struct norm *n = NULL;
	*err = (struct lm_err){ 0 };
	int rc = norm_new(&n, j, err);
	if (rc == 0) fail_msg("accepted: %s", json_dumps(j, JSON_ENCODE_ANY));
	assert_null(n);
	assert_int_equal(err->code, rc);
	assert_true(strlen(err->msg) > 10);
	json_decref(j);
	return rc;
}

LM_TEST(norm_equals_the_reference)
{
	json_t *gold = load("tests/fixtures/tok/norm.json"), *texts = json_object_get(gold, "in"), *c, *want;
	struct norm_work *w = norm_work_new();
	struct lm_err err;
	size_t i, k, compared = 0;
	assert_non_null(w);
	json_array_foreach(json_object_get(gold, "cases"), i, c)
	{
		struct norm *n;
		assert_ok(norm_new(&n, json_object_get(c, "spec"), &err), err);
		json_array_foreach(json_object_get(c, "out"), k, want)
		{
			json_t *in = json_array_get(texts, k);
			const char *out;
			size_t len;
			if (json_is_null(want)) continue;
			assert_ok(norm_run(n, w, json_string_value(in), json_string_length(in), &out, &len,
					   &err),
				  err);
			if (len != json_string_length(want) ||
			    (len && memcmp(out, json_string_value(want), len) != 0))
				fail_msg("%s of text %zu: \"%.*s\", not \"%s\"",
					 json_dumps(json_object_get(c, "spec"), 0), k, (int)len, out,
					 json_string_value(want));
			compared++;
		}
		norm_free(n);
	}
	assert_true(compared > 2000);
	norm_work_free(w);
	json_decref(gold);
}

LM_TEST(norm_copies_nothing_that_stays)
{
	static const char *const specs[] = {
		"{\"type\":\"NFC\"}",
		"{\"type\":\"NFKC\"}",
		"{\"type\":\"Lowercase\"}",
		"{\"type\":\"Replace\",\"pattern\":{\"String\":\"#\"},\"content\":\"x\"}",
		"{\"type\":\"Nmt\"}",
		"{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_"
		"accents\":null,"
		"\"lowercase\":true}"
	};
	const char *s = "plain text, \xD1\x8F\xCE\xB1", *out;
	struct norm_work *w = norm_work_new();
	struct lm_err err;
	size_t len;
	for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
		struct norm *n = make(specs[i]);
		assert_ok(norm_run(n, w, s, strlen(s), &out, &len, &err), err);
		assert_ptr_equal(out, s);
		assert_int_equal(len, strlen(s));
		norm_free(n);
	}
	assert_ok(norm_run(NULL, w, s, strlen(s), &out, &len, &err), err);
	assert_ptr_equal(out, s);
	norm_work_free(w);
}

/* A megabyte of marks in the worst order, of jamo, of the character that NFKC makes the most of. */
LM_TEST(norm_long_runs_are_linear)
{
	static const struct {
		const char *spec, *unit;
		size_t out;
	} t[] = {
		{ "{\"type\":\"NFC\"}", "\xCC\x81\xCC\xA3", 4 },
		{ "{\"type\":\"NFD\"}", "\xCC\x81\xCC\xA3", 4 },
		{ "{\"type\":\"NFC\"}", "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", 3 },
		{ "{\"type\":\"NFKD\"}", "\xEF\xB7\xBA", 33 },
		{ "{\"type\":\"SentencePiece\",\"precompiled_charsmap\":\"\",\"add_dummy_prefix\":false,"
		  "\"remove_extra_whitespaces\":true,\"escape_whitespaces\":true}",
		  "    ", 0 },
		{ "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\"\"}", "    ", 0 },
	};
	struct norm_work *w = norm_work_new();
	struct lm_err err;
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct norm *n = make(t[i].spec);
		size_t m = strlen(t[i].unit), times = (1 << 20) / m, len;
		char *s = lm_malloc(m * times);
		const char *out;
		for (size_t k = 0; k < times; k++) memcpy(s + k * m, t[i].unit, m);
		double begin = cpu_seconds();
		assert_ok(norm_run(n, w, s, m * times, &out, &len, &err), err);
		assert_int_equal(len, t[i].out * times);
		assert_true(cpu_seconds() - begin < 5);
		lm_free(s);
		norm_free(n);
	}
	norm_work_free(w);
}

LM_TEST(norm_refuses_bad_specs)
{
	static const char *const bad[] = {
		"[]",
		"3",
		"\"NFC\"",
		"{}",
		"{\"type\":7}",
		"{\"type\":\"Nope\"}",
		"{\"type\":\"Strip\",\"strip_left\":true}",
		"{\"type\":\"Strip\",\"strip_left\":1,\"strip_right\":true}",
		"{\"type\":\"Prepend\"}",
		"{\"type\":\"Prepend\",\"prepend\":null}",
		"{\"type\":\"Replace\",\"pattern\":\"a\",\"content\":\"b\"}",
		"{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"}}",
		"{\"type\":\"Replace\",\"pattern\":{},\"content\":\"\"}",
		"{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\",\"Regex\":\"b\"},\"content\":\"b\"}",
		"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(\"},\"content\":\"b\"}",
		"{\"type\":\"Sequence\"}",
		"{\"type\":\"Sequence\",\"normalizers\":[null]}",
		"{\"type\":\"Sequence\",\"normalizers\":{}}",
		"{\"type\":\"BertNormalizer\"}",
		"{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_"
		"accents\":\"x\","
		"\"lowercase\":true}",
		"{\"type\":\"Precompiled\"}",
		"{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"\"}",
		"{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAA\"}",
		"{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"A?==\"}",
		"{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AB==\"}",
		"{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"////fwAA\"}",
		"{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAAAAAA\"}",
		"{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"BAAAAAABAABh\"}", /* a leaf without a
											   place */
		"{\"type\":\"SentencePiece\",\"precompiled_charsmap\":\"\"}",
	};
	struct lm_err err;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		json_t *j = json_loads(bad[i], JSON_DECODE_ANY, NULL);
		assert_non_null(j);
		refused(j, &err);
	}
	json_t *deep = json_loads("{\"type\":\"NFC\"}", 0, NULL);
	for (int i = 0; i < 200; i++)
		deep = json_pack("{s:s,s:[o]}", "type", "Sequence", "normalizers", deep);
	assert_int_equal(refused(deep, &err), LM_ELIMIT);
	json_t *many = json_array();
	for (int i = 0; i < 1000; i++) json_array_append_new(many, json_pack("{s:s}", "type", "NFC"));
	assert_int_equal(refused(json_pack("{s:s,s:o}", "type", "Sequence", "normalizers", many), &err),
			 LM_ELIMIT);
}

/* Steps that each make the text larger end in a sentence, not in all the memory there is. */
LM_TEST(norm_bounds_what_a_text_grows_to)
{
	json_t *steps = json_array();
	for (int i = 0; i < 40; i++)
		json_array_append_new(steps, json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern",
						       "String", "a", "content", "aaaaaaaa"));
	json_t *spec = json_pack("{s:s,s:o}", "type", "Sequence", "normalizers", steps);
	struct norm *n;
	struct lm_err err;
	assert_ok(norm_new(&n, spec, &err), err);
	struct norm_work *w = norm_work_new();
	const char *out;
	size_t len;
	assert_int_equal(norm_run(n, w, "aaaa", 4, &out, &len, &err), LM_ELIMIT);
	assert_non_null(strstr(err.msg, "more than"));
	norm_work_free(w);
	norm_free(n);
	json_decref(spec);
}
