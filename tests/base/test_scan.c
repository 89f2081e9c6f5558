/* The pull scanner: a tree built with it equals jansson's, everything malformed ends in a sentence with its place. */
#include "base/json.h"
#include "base/scan.h"
#include "test.h"
#include <math.h>

static json_t *text_of(struct lm_scan_str v)
{
	struct lm_buf b = { 0 };
	lm_scan_unescape(v, &b);
	assert_true(lm_scan_is(v, lm_buf_cstr(&b)) || strlen(lm_buf_cstr(&b)) != b.n);
	json_t *j = json_stringn_nocheck(lm_buf_cstr(&b), b.n);
	lm_buf_free(&b);
	return j;
}

static json_t *number_of(struct lm_scan *s)
{
	struct lm_scan twice = *s;
	int64_t i;
	double d;
	if (lm_scan_int(&twice, &i)) {
		*s = twice;
		return json_integer(i);
	}
	if (!lm_scan_num(s, &d)) return NULL;
	return isfinite(d) ? json_real(d) : json_string(isnan(d) ? "NaN" : d < 0 ? "-Infinity" : "Infinity");
}

/* The tree of the next value, NULL after an error. */
static json_t *tree(struct lm_scan *s)
{
	struct lm_scan_str v;
	bool b;
	json_t *j, *x;
	switch (lm_scan_peek(s)) {
	case '{':
		j = json_object();
		lm_scan_object(s);
		while (lm_scan_key(s, &v)) {
			json_t *key = text_of(v);
			if (!(x = tree(s))) break;
			json_object_setn_new_nocheck(j, json_string_value(key), json_string_length(key), x);
			json_decref(key);
		}
		return j;
	case '[':
		j = json_array();
		lm_scan_array(s);
		while (lm_scan_item(s)) {
			if (!(x = tree(s))) break;
			json_array_append_new(j, x);
		}
		return j;
	case '"': return lm_scan_str(s, &v) ? text_of(v) : NULL;
	case '0': return number_of(s);
	case 'n': return lm_scan_null(s) ? json_null() : (lm_scan_fail(s, "expected a value"), NULL);
	case 't':
	case 'f': return lm_scan_bool(s, &b) ? json_boolean(b) : NULL;
	default: lm_scan_skip(s); return NULL;
	}
}

/* NULL and the sentence when the text is not JSON, whether it is read or skipped. */
static json_t *read_all(const char *text, size_t n, struct lm_err *err)
{
	char *exact = malloc(n ? n : 1);                /* no slack: a sanitizer sees one byte too far */
	if (n) memcpy(exact, text, n);
	struct lm_scan s = lm_scan_begin(exact, n), again = s;
	struct lm_err e2;
	const char *raw;
	size_t raw_n;
	json_t *j = tree(&s);
	int rc = lm_scan_end(&s, err);
	bool ok = lm_scan_raw(&again, &raw, &raw_n);
	assert_int_equal(lm_scan_end(&again, &e2), rc);
	if (rc) assert_string_equal(err->msg, e2.msg);
	else assert_true(ok && raw_n > 0);
	free(exact);
	if (!rc) return j;
	assert_int_equal(rc, LM_EFORMAT);
	json_decref(j);
	return NULL;
}

#ifdef SCAN_STDIN
/* A document per line in, its tree or its sentence out: for a comparison with another parser. */
LM_TEST(scan_lines)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	struct lm_err err;
	while ((n = getline(&line, &cap, stdin)) > 0) {
		json_t *j = read_all(line, (size_t)n - 1, &err);
		char *s = j ? json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
		printf("> %s\n", s ? s : err.msg);
		free(s);
		json_decref(j);
	}
}
#endif

LM_TEST(scan_builds_the_tree_of_jansson)
{
	static const char *const doc[] = {
		"{}", "[]", " [ ] ", "{\"a\":1}", "[1,2,[3,{\"b\":[]}],\"x\"]", "\"\"", "0", "-0", "-12", "1.5e3", "1e-7",
		"[true,false,null]", "{\"a\":{\"b\":{\"c\":[[[]]]}},\"d\":\"\"}", "\"\\u00e9\\n\\\"\\\\\\/\\b\\f\\r\\t\"",
		"\"\\ud83d\\ude00 \\u0000 \xE2\x96\x81 abcdefghijklmnopqrstuvwxyz\"", "{\"\\u0061\":1,\"a\":2}",
		"\n\t{ \"k\" :\r\n        [          1 ,2 ]            }\n", "9223372036854775807", "-9223372036854775808",
		"[0.1,-3.4635426998138428,123456789012345678,9007199254740993.0,1.7976931348623157e308,4.9e-324,2.5e-3]",
		"[0.30000000000000004,-0.0,1E5,1e+5,1234567890.12345678,0.000000000000000001]",
	};
	struct lm_err err;
	for (size_t i = 0; i < sizeof doc / sizeof *doc; i++) {
		json_t *want = json_loads(doc[i], JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		json_t *got = read_all(doc[i], strlen(doc[i]), &err);
		if (!want || !got || !json_equal(want, got)) fail_msg("%s: %s", doc[i], got ? "differs" : err.msg);
		json_decref(want);
		json_decref(got);
	}
}

LM_TEST(scan_malformed_is_a_sentence)
{
	static const struct { const char *doc, *sentence; } bad[] = {
		{ "", "line 1, column 1: expected a value, found its end" },
		{ "  \n ", "line 2, column 2: expected a value, found its end" },
		{ "{", "line 1, column 2: expected a name in quotes, found its end" },
		{ "[", "line 1, column 2: expected a value, found its end" },
		{ "[1", "line 1, column 3: expected ',' or ']', found its end" },
		{ "[1,]", "line 1, column 4: expected a value, found ']'" },
		{ "[1 2]", "line 1, column 4: expected ',' or ']', found '2'" },
		{ "[,1]", "line 1, column 2: expected a value, found ','" },
		{ "[1}", "line 1, column 3: expected ',' or ']', found '}'" },
		{ "{\"a\"}", "line 1, column 5: expected ':' after the name, found '}'" },
		{ "{\"a\":}", "line 1, column 6: expected a value, found '}'" },
		{ "{\"a\":1,}", "line 1, column 8: expected a name in quotes, found '}'" },
		{ "{\"a\":1 \"b\":2}", "line 1, column 8: expected ',' or '}', found '\"'" },
		{ "{a:1}", "line 1, column 2: expected a name in quotes, found 'a'" },
		{ "{1:1}", "line 1, column 2: expected a name in quotes, found '1'" },
		{ "{\"\xC3\xA9\":\n \"\xC3\xA9\" x}", "line 2, column 6: expected ',' or '}', found 'x'" },
		{ "1 1", "line 1, column 3: expected the end of the text, found '1'" },
		{ "]", "line 1, column 1: expected a value, found ']'" },
		{ "\"abc", "line 1, column 5: expected the end of a string, found its end" },
		{ "\"a\nb\"", "line 1, column 3: expected no control character in a string, found '\\x0a'" },
		{ "\"abcdefgh\tb\"", "line 1, column 10: expected no control character in a string, found '\\x09'" },
		{ "\"\\x\"", "line 1, column 2: expected an escape such as \\n or \\u00e9, found '\\'" },
		{ "\"\\u12g4\"", "line 1, column 2: expected an escape such as \\n or \\u00e9, found '\\'" },
		{ "\"\\u12", "line 1, column 2: expected an escape such as \\n or \\u00e9, found '\\'" },
		{ "\"\\", "line 1, column 2: expected an escape such as \\n or \\u00e9, found '\\'" },
		{ "tru", "line 1, column 1: expected true or false, found 't'" },
		{ "truex", "line 1, column 5: expected the end of the text, found 'x'" },
		{ "nul", "line 1, column 1: expected a value, found 'n'" },
		{ "01", "line 1, column 1: expected a number, found '0'" },
		{ "-", "line 1, column 1: expected a number, found '-'" },
		{ "+1", "line 1, column 1: expected a value, found '+'" },
		{ ".5", "line 1, column 1: expected a value, found '.'" },
		{ "1.", "line 1, column 3: expected a number, found its end" },
		{ "1.e5", "line 1, column 3: expected a number, found 'e'" },
		{ "1e", "line 1, column 3: expected a number, found its end" },
		{ "[1e+]", "line 1, column 5: expected a number, found ']'" },
		{ "-Inf", "line 1, column 1: expected a number, found '-'" },
		{ "Nan", "line 1, column 1: expected a number, found 'N'" },
		{ "'a'", "line 1, column 1: expected a value, found '''" },
		{ "// c\n1", "line 1, column 1: expected a value, found '/'" },
		{ "\xEF\xBB\xBF{}", "line 1, column 1: expected a value, found '\xEF\xBB\xBF'" },
		{ "\xFF", "line 1, column 1: expected a value, found '\\xff'" },
	};
	struct lm_err err;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		json_t *j = read_all(bad[i].doc, strlen(bad[i].doc), &err);
		if (j) fail_msg("%s: taken", bad[i].doc);
		assert_string_equal(err.msg, bad[i].sentence);
	}
	assert_null(read_all("1\0", 2, &err));
	assert_null(read_all("\"\0\"", 3, &err));
	assert_null(read_all("{\0}", 3, &err));
}

/* Every beginning of a document is malformed, and so is most of it with a character lost. */
LM_TEST(scan_cut_documents)
{
	static const char doc[] = "{\"a\": [1, -2.5e3, \"x\\u00e9\\n\"], \"b\": {\"c\": null, \"d\": [true, [[]]]}, \"e\": \"\"}";
	struct lm_err err;
	for (size_t n = 0; n < sizeof doc - 1; n++) assert_null(read_all(doc, n, &err));
	for (size_t n = 0; n < sizeof doc - 1; n++) {
		char cut[sizeof doc];
		memcpy(cut, doc, n);
		memcpy(cut + n, doc + n + 1, sizeof doc - n - 1);
		json_t *want = json_loads(cut, JSON_DECODE_ANY, NULL), *got = read_all(cut, sizeof doc - 2, &err);
		if (!!want != !!got || (want && !json_equal(want, got))) fail_msg("%s: jansson disagrees", cut);
		json_decref(want);
		json_decref(got);
	}
}

LM_TEST(scan_depth)
{
	char doc[2 * LM_SCAN_DEPTH + 4];
	struct lm_err err;
	for (int open = 0; open < 2; open++) {
		for (int depth = LM_SCAN_DEPTH; depth <= LM_SCAN_DEPTH + 1; depth++) {
			memset(doc, '[', (size_t)depth);
			memset(doc + depth, ']', (size_t)depth);
			json_t *j = read_all(doc, (size_t)(open ? depth : 2 * depth), &err);
			if (depth > LM_SCAN_DEPTH)
				assert_string_equal(err.msg, "line 1, column 65: nested deeper than 64 levels");
			assert_true(!!j == (!open && depth == LM_SCAN_DEPTH));
			json_decref(j);
		}
	}
}

LM_TEST(scan_tolerates)
{
	static const char doc[] = "[99999999999999999999, -99999999999999999999, NaN, Infinity, -Infinity, 1e999, \"\\ud800x\"]";
	struct lm_scan s = lm_scan_begin(doc, sizeof doc - 1);
	int64_t i;
	double d;
	struct lm_scan_str v;
	struct lm_buf b = { 0 };
	assert_true(lm_scan_array(&s));
	assert_true(lm_scan_item(&s) && lm_scan_int(&s, &i) && i == INT64_MAX);
	assert_true(lm_scan_item(&s) && lm_scan_int(&s, &i) && i == INT64_MIN);
	assert_true(lm_scan_item(&s) && lm_scan_peek(&s) == '0' && lm_scan_num(&s, &d) && isnan(d));
	assert_true(lm_scan_item(&s) && lm_scan_peek(&s) == '0' && lm_scan_num(&s, &d) && d == INFINITY);
	assert_true(lm_scan_item(&s) && lm_scan_num(&s, &d) && d == -INFINITY);
	assert_true(lm_scan_item(&s) && lm_scan_num(&s, &d) && d == INFINITY);
	assert_true(lm_scan_item(&s) && lm_scan_str(&s, &v));
	lm_scan_unescape(v, &b);
	assert_string_equal(lm_buf_cstr(&b), "\xEF\xBF\xBDx");
	assert_false(lm_scan_item(&s));
	assert_int_equal(lm_scan_end(&s, NULL), 0);
	lm_buf_free(&b);
}

LM_TEST(scan_error_is_sticky)
{
	struct lm_scan s = lm_scan_begin("[1, 2, \"x\"]", 11);
	struct lm_err err;
	int64_t i;
	double d;
	bool b;
	const char *raw;
	size_t n;
	struct lm_scan_str v;
	assert_true(lm_scan_array(&s) && lm_scan_item(&s));
	assert_false(lm_scan_null(&s));
	assert_true(lm_scan_int(&s, &i));
	assert_false(lm_scan_fail(&s, "one is too little"));
	assert_false(lm_scan_fail(&s, "another"));
	assert_false(lm_scan_item(&s) || lm_scan_int(&s, &i) || lm_scan_num(&s, &d) || lm_scan_bool(&s, &b) || lm_scan_null(&s) ||
		     lm_scan_str(&s, &v) || lm_scan_key(&s, &v) || lm_scan_object(&s) || lm_scan_array(&s) || lm_scan_skip(&s) ||
		     lm_scan_raw(&s, &raw, &n) || lm_scan_peek(&s));
	assert_int_equal(lm_scan_end(&s, &err), LM_EFORMAT);
	assert_string_equal(err.msg, "line 1, column 3: one is too little");
}

LM_TEST(scan_after_a_refused_container)
{
	struct lm_scan s = lm_scan_begin("7", 1);
	struct lm_scan_str key;
	assert_false(lm_scan_array(&s) || lm_scan_item(&s) || lm_scan_object(&s) || lm_scan_key(&s, &key));
}

LM_TEST(scan_pairs)
{
	static const struct { const char *doc; bool ok; } doc[] = {
		{ "[\"a\",\"bc\"]", true }, { " [ \"a\"\n,\t\"bc\" ] ", true }, { "[\"\\u0061\",\"bc\"]", true }, { "[]", false },
		{ "[\"a\"]", false }, { "[\"a\",]", false }, { "[\"a\",\"bc\",\"d\"]", false }, { "[\"a\" \"bc\"]", false }, { "[1,\"bc\"]", false },
		{ "[\"a\",2]", false }, { "\"a\"", false }, { "[\"a\",\"bc\"", false }, { "[\"a\",\"b", false }, { "[", false }, { "", false },
	};
	for (size_t i = 0; i < sizeof doc / sizeof *doc; i++) {
		struct lm_scan s = lm_scan_begin(doc[i].doc, strlen(doc[i].doc));
		struct lm_scan_str a, b;
		assert_int_equal(lm_scan_pair(&s, &a, &b), doc[i].ok);
		assert_int_equal(lm_scan_end(&s, NULL), doc[i].ok ? 0 : LM_EFORMAT);
		if (doc[i].ok) assert_true(lm_scan_is(a, "a") && lm_scan_is(b, "bc"));
	}
}

LM_TEST(scan_is)
{
	struct lm_scan_str v = { "a\\u0062\\n", 9, true }, plain = { "ab", 2, false };
	assert_true(lm_scan_is(v, "ab\n") && lm_scan_is(plain, "ab"));
	assert_false(lm_scan_is(v, "ab") || lm_scan_is(v, "ab\nc") || lm_scan_is(v, "") || lm_scan_is(plain, "abc") || lm_scan_is(plain, "a"));
}
