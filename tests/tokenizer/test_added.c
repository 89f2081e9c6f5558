/* Added tokens against the `tokenizers` library (tools/gold_added.py), and the bounds of the trie. */
#include "base/json.h"
#include "test.h"
#include "tokenizer/added.h"

#ifndef GOLD
#define GOLD "tests/fixtures/tok/added.json"
#endif

/* What comes out, as the golden has it: texts and ids. */
struct outcome { const struct added *a; json_t *v; bool special; };

static int put_text(void *ud, const char *s, size_t n)
{
	struct outcome *o = ud;
	return json_array_append_new(o->v, json_stringn(s, n));
}
static int put_token(void *ud, int32_t id)
{
	struct outcome *o = ud;
	return json_array_append_new(o->v, json_integer(id));
}
static int put_piece(void *ud, const char *s, size_t n)
{
	struct outcome *o = ud;
	assert_true(n > 0);
	return added_cut(o->a, s, n, true, o->special, &(struct added_out){ put_text, put_token, o });
}

static json_t *cut(const struct added *a, const char *s, size_t n, bool special)
{
	struct outcome o = { a, json_array(), special };
	assert_int_equal(added_cut(a, s, n, false, special, &(struct added_out){ put_piece, put_token, &o }), 0);
	return o.v;
}

static struct added *fill(const json_t *tokens)
{
	struct added *a = added_new();
	struct lm_err err;
	size_t i;
	json_t *t;
	json_array_foreach(tokens, i, t) {
		const json_t *s = json_array_get(t, 0);
		assert_ok(added_add(a, json_string_value(s), json_string_length(s),
				    (int32_t)json_integer_value(json_array_get(t, 1)),
				    (unsigned)json_integer_value(json_array_get(t, 2)), &err), err);
	}
	return a;
}

LM_TEST(added_as_the_reference_cuts)
{
	struct lm_buf b = { 0 };
	struct lm_err err;
	size_t i, j, n = 0;
	json_t *set, *c;
	assert_ok(lm_read_file(&b, GOLD, 1 << 30, &err), err);
	json_t *sets = lm_json_parse(b.p, b.n, &err);
	assert_non_null(sets);
	json_array_foreach(sets, i, set) {
		struct added *a = fill(json_object_get(set, "added"));
		json_array_foreach(json_object_get(set, "cases"), j, c) {
			const json_t *s = json_array_get(c, 0);
			json_t *got = cut(a, json_string_value(s), json_string_length(s), json_is_true(json_array_get(c, 1)));
			if (!json_equal(got, json_array_get(c, 2)))
				fail_msg("set %s\ncase %s\ngot %s", json_dumps(json_object_get(set, "added"), 0),
					 json_dumps(c, 0), json_dumps(got, 0));
			json_decref(got);
			n++;
		}
		added_free(a);
	}
	assert_true(n >= 1500);
	json_decref(sets);
	lm_buf_free(&b);
}

static int count_text(void *ud, const char *s, size_t n)
{
	(void)s;
	*(size_t *)ud += n;
	return 0;
}
static int count_token(void *ud, int32_t id)
{
	(void)id;
	++*(size_t *)ud;
	return 0;
}
static int stop(void *ud, int32_t id)
{
	(void)ud;
	return id;
}

LM_TEST(added_return_ends_the_cutting)
{
	struct added *a = added_new();
	struct lm_err err;
	size_t n = 0;
	assert_ok(added_add(a, "<b>", 3, 7, 0, &err), err);
	assert_ok(added_add(a, "", 0, 8, 0, &err), err);
	assert_int_equal(added_cut(a, "aa<b>cc<b>", 10, false, true, &(struct added_out){ count_text, stop, &n }), 7);
	assert_int_equal(n, 2);
	assert_true(added_has(a, false));
	assert_false(added_has(a, true));
	added_free(a);
	added_free(NULL);
}

LM_TEST(added_limits)
{
	struct added *a = added_new();
	struct lm_err err;
	char s[257];
	memset(s, 'a', sizeof s);
	assert_int_equal(added_add(a, s, 257, 1, 0, &err), LM_ELIMIT);
	assert_non_null(strstr(err.msg, "added token 1 has 257 bytes"));
	assert_false(added_has(a, false));
	int rc = 0;
	for (int i = 0; !rc && i < 40000; i++) {        /* 10 MB that share nothing but their ends */
		snprintf(s, sizeof s, "%06d", i);
		s[6] = 'x';
		rc = added_add(a, s, 256, i, 0, &err);
	}
	assert_int_equal(rc, LM_ELIMIT);
	assert_non_null(strstr(err.msg, "different beginnings"));
	added_free(a);
}

/* 1 MB against the worst of sets: beginnings of every length, runs of white space that strip on both sides. */
LM_TEST(added_is_linear)
{
	struct added *a = added_new();
	struct lm_err err;
	size_t n = 1 << 20, seen = 0;
	char *text = malloc(n), s[256];
	memset(s, 'a', sizeof s);
	s[255] = 'b';
	assert_ok(added_add(a, s, 256, 1, 0, &err), err);
	assert_ok(added_add(a, " ", 1, 2, ADDED_LSTRIP | ADDED_RSTRIP, &err), err);
	assert_ok(added_add(a, "\n", 1, 2, ADDED_LSTRIP | ADDED_SINGLE_WORD, &err), err);
	struct added_out out = { count_text, count_token, &seen };
	double t0 = cpu_seconds();
	memset(text, 'a', n);
	assert_int_equal(added_cut(a, text, n, false, true, &out), 0);
	assert_int_equal(seen, n);
	memset(text, ' ', n);
	assert_int_equal(added_cut(a, text, n, false, true, &out), 0);
	assert_int_equal(seen, n + 1);               /* the first swallows all others */
	for (size_t i = 0; i < n; i++) text[i] = i % 2 ? ' ' : '\n';
	assert_int_equal(added_cut(a, text, n, false, true, &out), 0);
	for (size_t i = 0; i < n; i++) text[i] = i % 2 ? 'a' : '\n';
	assert_int_equal(added_cut(a, text, n, false, true, &out), 0);
	assert_true(cpu_seconds() - t0 < 30);                /* 2 s here; quadratic would be a day */
	free(text);
	added_free(a);
}
