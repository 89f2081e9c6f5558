/* Chat templates against jinja2 as transformers sets it up (tools/gold_chat.py). */
#include "test.h"
#include "tokenizer/chat.h"
#include <time.h>

static json_t *gold(void)
{
	json_error_t e;
	json_t *j = json_load_file("tests/fixtures/chat_gold.json", 0, &e);
	if (!j) fail_msg("tests/fixtures/chat_gold.json: line %d: %s", e.line, e.text);
	return j;
}

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

/* ---- what must end in one sentence, soon, without much memory ---------------------------------- */
static void repeat(struct lm_buf *b, const char *s, int n)
{
	while (n-- > 0) lm_buf_str(b, s);
}

#if defined(__SANITIZE_ADDRESS__)
static const double limit = 15;
#else
static const double limit = 2;
#endif

static void hostile(const char *name, struct lm_buf *t, int want)
{
	struct lm_err err = { 0 };
	struct lm_buf out = { 0 };
	clock_t from = clock();
	int rc = run(lm_buf_cstr(t), t->n, NULL, &out, &err);
	double s = (double)(clock() - from) / CLOCKS_PER_SEC;
	if (rc != want) fail_msg("%s: %d instead of %d: %s", name, rc, want, err.msg);
	assert_non_null(strstr(err.msg, "chat template"));
	/* processor time; most take 0.1 s, work on long strings up to 1 s */
	if (s > limit) fail_msg("%s: %.2f s", name, s);
	lm_buf_free(&out);
	lm_buf_free(t);
}

LM_TEST(chat_hostile_nesting)
{
	static const struct { const char *head, *body, *mid, *tail; int n; } k[] = {
		{ "{{ ", "(", "1", ")", 100000 }, { "{{ ", "[", "1", "]", 100000 },
		{ "{{ ", "{1: ", "1", "}", 100000 },
		{ "{{ ", "-", "1", "", 100000 }, { "{{ ", "not ", "1", "", 100000 },
		{ "{{ 'a'", "|upper", "", "", 50000 },
		{ "{{ 1", " + 1", "", "", 50000 }, { "{{ a", ".b", "", "", 50000 },
		{ "{{ a", "[0]", "", "", 50000 },
		{ "{{ a", "()", "", "", 50000 }, { "{{ 1", " and 1", "", "", 50000 },
		{ "{{ 1", " is odd", "", "", 50000 },
		{ "{{ 1", " if 1 else 2", "", "", 50000 }, { "{{ ", "1 if 1 else ", "1", "", 50000 },
		{ "{{ ", "f(", "1", ")", 100000 }, { "{{ ", "x[", "1", "]", 100000 },
	}, s[] = {
		{ "", "{% if 1 %}", "x", "{% endif %}", 20000 },
		{ "", "{% for a in b %}", "x", "{% endfor %}", 20000 },
		{ "", "{% macro m() %}", "x", "{% endmacro %}", 20000 },
		{ "", "{% set x %}", "x", "{% endset %}", 20000 },
		{ "", "{% filter upper %}", "x", "{% endfilter %}", 20000 }, { "", "{% if 1 %}"
		  "{% else %}", "x", "{% endif %}", 20000 },
	};
	for (size_t i = 0; i < sizeof k / sizeof k[0]; i++) {
		struct lm_buf b = { 0 };
		lm_buf_str(&b, k[i].head);
		repeat(&b, k[i].body, k[i].n);
		lm_buf_str(&b, k[i].mid);
		repeat(&b, k[i].tail, k[i].n);
		lm_buf_str(&b, " }}");
		hostile(k[i].body, &b, LM_EFORMAT);
	}
	for (size_t i = 0; i < sizeof s / sizeof s[0]; i++) {
		struct lm_buf b = { 0 };
		repeat(&b, s[i].body, s[i].n);
		lm_buf_str(&b, s[i].mid);
		repeat(&b, s[i].tail, s[i].n);
		hostile(s[i].body, &b, LM_EFORMAT);
	}
}

LM_TEST(chat_hostile_work)
{
	static const struct { const char *text; int rc; } k[] = {
		{ "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", LM_ELIMIT },
		{ "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}"
		  "{{ a() }}", LM_ELIMIT },
		{ "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}", LM_ELIMIT },
		{ "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}"
		  "{% endfor %}", LM_ELIMIT },
		{ "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", LM_ELIMIT },
		{ "{% set x = 'ab' %}{% for i in range(1) %}{{ x * 99999999 }}{% endfor %}", LM_ELIMIT },
		{ "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}"
		  "{% endfor %}", LM_ELIMIT },
		{ "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}"
		  "{% endfor %}", LM_ELIMIT },
		{ "{% set ns = namespace(x=['ab']) %}{% for i in range(99) %}"
		  "{% set ns.x = ns.x + ns.x %}{% endfor %}", LM_ELIMIT },
		{ "{% set ns = namespace(x=['ab']) %}{% for i in range(99) %}"
		  "{% set ns.x = [ns.x|join(','), ns.x|join(',')] %}{% endfor %}", LM_ELIMIT },
		{ "{% set ns = namespace(x=['ab']) %}{% for i in range(99) %}"
		  "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}", LM_ELIMIT },
		{ "{% set ns = namespace(x=['ab']) %}{% for i in range(99) %}"
		  "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}", LM_ELIMIT },
		{ "{% set ns = namespace(x=[1]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}"
		  "{% endfor %}{{ ns.x }}", LM_ELIMIT },
		{ "{% set ns = namespace(x=[1]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}"
		  "{% endfor %}{{ ns.x|tojson }}", LM_ELIMIT },
		{ "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(9999) %}"
		  "{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}{% endfor %}"
		  "{{ ns.x == ns.y }}", LM_ELIMIT },
		{ "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}"
		  "{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}"
		  "{% endfor %}{{ ns.x == ns.y }}", LM_ELIMIT },
		{ "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(9999) %}"
		  "{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}{% endfor %}"
		  "{{ ns.x < ns.y }}", LM_ELIMIT },
		{ "{% set ns = namespace() %}{% set ns.l = [ns] %}{{ ns.l|tojson }}", LM_EINVAL },
		{ "{{ 'x'|center(99999999999) }}", LM_EFORMAT },
		{ "{{ 'x'.center(99999999999) }}", LM_ELIMIT },
		{ "{{ '%99999999999d' % 1 }}", LM_ELIMIT }, { "{{ '{:99999999999}'.format(1) }}", LM_ELIMIT },
		{ "{{ '%.99999999f' % 1 }}", LM_ELIMIT }, { "{{ '%*d' % (99999999999, 1) }}", LM_ELIMIT },
		{ "{{ ('a' * 1000000).replace('a', 'b' * 1000) }}", LM_ELIMIT },
		{ "{{ 'a'|indent(99999999999) }}", LM_ELIMIT },
		{ "{{ (range(99999)|list) * 999999 }}", LM_ELIMIT },
		{ "{{ [1]|batch(99999999, 1)|list }}", LM_EINVAL },
		{ "{{ [1]|tojson(indent=99999999) }}", LM_ELIMIT }, { "{{ 9 ** 99 }}", LM_EINVAL },
		{ "{{ 9223372036854775807 + 1 }}", LM_EINVAL }, { "{{ 99999999999999999999 }}", LM_EFORMAT },
		{ "{% for i in range(99999) %}{{ ('a' * 9999)|upper|length }}{% endfor %}", LM_ELIMIT },
		{ "{% for i in range(99999) %}{{ 'b' in ('a' * 99999) }}{% endfor %}", LM_ELIMIT },
		{ "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", LM_ELIMIT },
		{ "{% set ns = namespace() %}{% macro m() %}{% call w() %}{{ m() }}{% endcall %}"
		  "{% endmacro %}"
		  "{% macro w() %}{{ caller() }}{% endmacro %}{{ m() }}", LM_ELIMIT },
		{ "{% for i in range(99999) %}{{ xs|default([3, 1, 2] * 9999)|sort|length }}"
		  "{% endfor %}", LM_ELIMIT },
	};
	for (size_t i = 0; i < sizeof k / sizeof k[0]; i++) {
		struct lm_buf b = { 0 };
		lm_buf_str(&b, k[i].text);
		hostile(k[i].text, &b, k[i].rc);
	}
}

/* Work on long strings is charged by their length, however few calls do it. */
LM_TEST(chat_hostile_strings)
{
	static const char *const op[] = { "u in v", "u.startswith(v)", "u is lower", "z|int", "u[-1]", "u|length",
		"u.rfind('z')", "u.removeprefix(v)", "u.splitlines()|length", "[1, 2]|sort(attribute=u)",
		"[1]|map(attribute=u)|list", "u.strip('a')|length", "z.split()", "u.find('z')", "u|wordcount" };
	for (size_t i = 0; i < sizeof op / sizeof op[0]; i++) {
		struct lm_buf b = { 0 };
		lm_buf_fmt(&b, "{%% set ns = namespace(u='a', z=' ') %%}{%% for i in range(21) %%}{%% set ns.u = ns.u ~ ns.u %%}"
		           "{%% set ns.z = ns.z ~ ns.z %%}{%% endfor %%}{%% set u = ns.u %%}{%% set z = ns.z %%}"
		           "{%% set v = u[1:] ~ 'a' %%}{%% for i in range(99999) %%}{%% for i in range(99) %%}{%% if %s %%}"
		           "{%% endif %%}{%% endfor %%}{%% endfor %%}", op[i]);
		hostile(op[i], &b, LM_ELIMIT);
	}
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
