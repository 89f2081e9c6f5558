/* Chat templates against jinja2 as transformers sets it up (tools/gold_chat.py). */
#include "test.h"
#include "tokenizer/chat.h"

static json_t *load(const char *path)
{
	json_error_t e;
	json_t *j = json_load_file(path, 0, &e);
	if (!j) fail_msg("%s: line %d: %s", path, e.line, e.text);
	return j;
}
static json_t *gold(void) { return load("tests/fixtures/chat_gold.json"); }

static int run(const char *tmpl, size_t n, const json_t *vars, struct lm_buf *out, struct lm_err *err)
{
	struct chat *c;
	int rc = chat_compile(&c, tmpl, n, err);
	if (rc) {
		assert_null(c);
		return rc;
	}
	rc = chat_render(c, vars, out, err);
	chat_free(c);
	return rc;
}

/* One case of the fixture: the same text, or an error; the same message where the template raised it. */
static void check(const json_t *k, const char *tmpl, size_t n, const json_t *vars)
{
	struct lm_err err = { 0 };
	struct lm_buf out = { 0 };
	const json_t *want = json_object_get(k, "out");
	const char *kind = json_string_value(json_object_get(k, "kind"));
	int rc = run(tmpl, n, vars, &out, &err);
	if (want) {
		if (rc) fail_msg("%.300s\nfails: %s", tmpl, err.msg);
		const char *text = json_string_value(want);
		if (out.n != json_string_length(want) || memcmp(lm_buf_cstr(&out), text, out.n) != 0)
			fail_msg("%.300s\nwant: %s\n got: %s", tmpl, text, lm_buf_cstr(&out));
	} else {
		if (!rc) fail_msg("%.300s\nmust fail (%s), gives: %s", tmpl, kind, lm_buf_cstr(&out));
		assert_int_equal(out.n, 0);
		assert_int_equal(err.code, rc);
		if (strcmp(kind, "TemplateError") == 0) {
			assert_int_equal(rc, LM_EINVAL);
			assert_string_equal(err.msg, json_string_value(json_object_get(k, "err")));
		} else {
			assert_non_null(strstr(err.msg, "chat template, line "));
		}
	}
	lm_buf_free(&out);
}

static void check_list(const char *name, size_t least)
{
	json_t *g = gold();
	const json_t *vars = json_object_get(g, "vars"), *list = json_object_get(g, name);
	assert_true(json_array_size(list) >= least);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *k = json_array_get(list, i), *t = json_object_get(k, "t");
		check(k, json_string_value(t), json_string_length(t), vars);
	}
	json_decref(g);
}

LM_TEST(chat_snippets) { check_list("snippets", 150); }
LM_TEST(chat_failures) { check_list("fails", 100); }

/* Every construct that real templates use (tools/jinja_constructs.py finds them in jinja2's own tree) has its case. */
LM_TEST(chat_constructs)
{
	json_t *g = load("tests/fixtures/jinja_constructs.json");
	const json_t *list = json_object_get(g, "cases"), *k = NULL;
	FILE *f = fopen("tests/fixtures/jinja_constructs.txt", "r");
	char line[200];
	size_t i = 0;
	assert_non_null(f);
	for (; fgets(line, sizeof line, f); i++) {
		line[strcspn(line, "\t")] = 0;
		k = json_array_get(list, i);
		if (!k || strcmp(json_string_value(json_object_get(k, "c")), line) != 0)
			fail_msg("no case has '%s'", line);
		const json_t *t = json_object_get(k, "t");
		check(k, json_string_value(t), json_string_length(t), json_object_get(g, "vars"));
	}
	assert_true(i >= 150 && i == json_array_size(list));
	fclose(f);
	json_decref(g);
}

LM_TEST(chat_conversations)
{
	json_t *g = gold();
	const json_t *list = json_object_get(g, "chats"), *own = json_object_get(g, "templates");
	assert_true(json_array_size(list) >= 140);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *k = json_array_get(list, i), *b = json_object_get(k, "builtin");
		const char *name = json_string_value(b ? b : json_object_get(k, "template"));
		const char *t = b ? chat_builtin(name) : json_string_value(json_object_get(own, name));
		if (!t) fail_msg("no template '%s'", name);
		check(k, t, strlen(t), json_object_get(k, "v"));
	}
	assert_null(chat_builtin("nope"));
	json_decref(g);
}

LM_TEST(chat_bad_arguments)
{
	struct lm_err err = { 0 };
	struct lm_buf out = { 0 };
	struct chat *c;
	json_t *list = json_array();
	assert_int_equal(chat_compile(&c, "a\n\xff", 3, &err), LM_EFORMAT);
	assert_string_equal(err.msg, "chat template, line 2 column 1: a byte that is not UTF-8");
	assert_int_equal(chat_compile(&c, "a\n  {{ b. }}", 12, &err), LM_EFORMAT);
	assert_string_equal(err.msg, "chat template, line 2 column 9: expected a name or number after '.'");
	static const char late[] = "a{{ é }}\n\n {{ x.y }}";
	assert_int_equal(run(late, sizeof late - 1, NULL, &out, &err), LM_EINVAL);
	assert_string_equal(err.msg, "chat template, line 3 column 6: 'x' is undefined");
	assert_int_equal(run("x", 1, list, &out, &err), LM_EINVAL);
	assert_int_equal(run("x", 1, list, &out, NULL), LM_EINVAL);
	assert_int_equal(run("", 0, NULL, &out, &err), 0);
	assert_int_equal(run("{{ tools is none }}{{ bos_token }}", 34, NULL, &out, &err), 0);
	assert_string_equal(lm_buf_cstr(&out), "True");       /* appended to what is there */
	assert_int_equal(run("x", 1, NULL, &out, &err), 0);
	assert_string_equal(lm_buf_cstr(&out), "Truex");
	/* a variable nested too deeply */
	json_t *deep = json_array(), *vars = json_object();
	for (int i = 0; i < 300; i++) {
		json_t *outer = json_array();
		json_array_append_new(outer, deep);
		deep = outer;
	}
	json_object_set_new(vars, "x", deep);
	assert_int_equal(run("{{ x }}", 7, vars, &out, &err), LM_ELIMIT);
	json_decref(vars);
	json_decref(list);
	lm_buf_free(&out);
}
