/* What stands around two texts, against `tokenizers` (tools/gold_pair.py). */
#include "base/json.h"
#include "test.h"
#include "tokenizer/tok_impl.h"

enum { MAX = 64 };

static int words(const struct tok *t, const char *text, int32_t *ids)
{
	struct lm_err e = { 0 };
	int n = tok_encode(t, text, strlen(text), TOK_PARSE_SPECIAL, ids, MAX, &e);
	assert_true(n >= 0 && n <= MAX);
	return n;
}

LM_TEST(pair_gold)
{
	struct lm_buf b = { 0 };
	struct lm_err e = { 0 };
	json_t *all, *c;
	size_t i;
	assert_ok(lm_read_file(&b, "tests/fixtures/tok/pairs.json", 1 << 20, &e), e);
	all = lm_json_parse(b.p, b.n, &e);
	assert_true(json_array_size(all) == 36);
	json_array_foreach(all, i, c) {
		const char *text = json_string_value(json_object_get(c, "tokenizer"));
		const json_t *ids = json_object_get(c, "ids"), *types = json_object_get(c, "types");
		int32_t a[MAX], second[MAX], out[MAX], type[MAX];
		struct tok *t;
		assert_ok(hf_json_tok_mem(&t, text, strlen(text), &e), e);
		int n_a = words(t, json_string_value(json_object_get(c, "a")), a);
		int n_b = words(t, json_string_value(json_object_get(c, "b")), second);
		int n = tok_wrap(t, a, n_a, second, n_b, out, type, MAX, &e);
		assert_int_equal(n, (int)json_array_size(ids));
		assert_int_equal(n, tok_wrap(t, a, n_a, second, n_b, out, NULL, 0, &e));
		for (int k = 0; k < n; k++) {
			assert_int_equal(out[k], json_integer_value(json_array_get(ids, (size_t)k)));
			assert_int_equal(type[k], json_integer_value(json_array_get(types, (size_t)k)));
		}
		tok_free(t);
	}
	json_decref(all);
	lm_buf_free(&b);
}

/* A template for pairs that is not understood does not keep a tokenizer from single texts. */
LM_TEST(pair_unknown)
{
	static const char text[] =
		"{\"version\":\"1.0\",\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0,\"b\":1},\"unk_token\":\"a\"},"
		"\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"b\",\"type_id\":0}},"
		"{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"SpecialToken\":{\"id\":\"none\",\"type_id\":0}}],"
		"\"special_tokens\":{\"b\":{\"id\":\"b\",\"ids\":[1],\"tokens\":[\"b\"]}}}}";
	int32_t id = 0, out[4];
	struct lm_err e = { 0 };
	struct tok *t;
	assert_ok(hf_json_tok_mem(&t, text, sizeof text - 1, &e), e);
	assert_int_equal(tok_wrap(t, &id, 1, NULL, 0, out, NULL, 4, &e), 2);
	assert_int_equal(out[0], 1);
	assert_int_equal(tok_wrap(t, &id, 1, &id, 1, out, NULL, 4, &e), LM_EUNSUPPORTED);
	assert_non_null(strstr(e.msg, "two texts"));
	tok_free(t);
}
