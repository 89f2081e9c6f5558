/* Templates that mean harm: each ends in one sentence, within a second and 100 MB, in a child of its own. */
#include "hostile.h"
#include "tokenizer/chat.h"
#include <sys/wait.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const double seconds = 15;
#else
static const double seconds = 1;
#endif

static void repeat(struct lm_buf *b, const char *s, int n)
{
	while (n-- > 0) lm_buf_str(b, s);
}

static int in_child(const char *name, struct lm_buf *t, int want)
{
	struct lm_err err = { 0 };
	struct lm_buf out = { 0 };
	struct chat *c;
	hostile_limits(20);
	clock_t from = clock();
	int rc = chat_compile(&c, lm_buf_cstr(t), t->n, &err);
	if (!rc) rc = chat_render(c, NULL, &out, &err);
	double s = (double)(clock() - from) / CLOCKS_PER_SEC;
	chat_free(c);
	if (rc == want && strstr(err.msg, "chat template") && s < seconds) return 0;
	fprintf(stderr, "%.200s: %d, expected %d; %.2f s; \"%s\"\n", name, rc, want, s, err.msg);
	return 1;
}

static void hostile(const char *name, struct lm_buf *t, int want)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) _exit(in_child(name, t, want));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) fail_msg("%.200s: killed by signal %d", name, WTERMSIG(status));
	if (WEXITSTATUS(status)) fail_msg("%.200s: see above", name);
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
		{ "{{ 'x'|center(99999999999) }}", LM_ELIMIT },
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

/* a text of n doublings in ns.u and u */
#define GROW(text, n)                                                                                              \
	"{% set ns = namespace(u='" text "') %}{% for i in range(" n ") %}{% set ns.u = ns.u ~ ns.u %}{% endfor %}" \
	"{% set u = ns.u %}"

LM_TEST(chat_hostile_growth)
{
	static const struct { const char *text; int rc; } k[] = {
		{ "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", LM_ELIMIT },
		{ "{{ range(10**9) }}", LM_ELIMIT },
		{ "{% for i in range(1000000000) %}{% endfor %}", LM_ELIMIT },
		{ "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", LM_ELIMIT },
		{ GROW("a", "24") "{% for i in range(99999) %}{% set x = ns.u|upper %}{% endfor %}", LM_ELIMIT },
		{ GROW("a", "23") "{% for i in range(99999) %}{% set x = ns.u|lower|length %}{% endfor %}", LM_ELIMIT },
		{ "{% macro m(n) %}{{ u }}{{ m(n + 1) }}{% endmacro %}{% set u = 'a' * 10000000 %}{{ m(0) }}", LM_ELIMIT },
		{ "{{ 'a' * 10**9 }}", LM_ELIMIT },
		{ "{{ ('a' * 1000000).replace('a', 'b' * 1000) }}", LM_ELIMIT },
		{ "{{ ('a' * 1000000).replace('', 'b' * 1000) }}", LM_ELIMIT },
		{ "{{ ('a' * 4000).join(['b' * 4000] * 4000) }}", LM_ELIMIT },
		{ "{{ (['b' * 4000] * 99999)|join('a' * 4000) }}", LM_ELIMIT },
		{ "{{ '%1000000000d' % 1 }}", LM_ELIMIT },
		{ "{{ '%999999d' % 1 }}{% for i in range(99999) %}{% set x = '%999999d' % 1 %}{% endfor %}", LM_ELIMIT },
		{ "{% for i in range(99999) %}{% set x = '%.900f' % 1e300 %}{% endfor %}", LM_ELIMIT },
		{ "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = (1/3)|string %}{% endfor %}{% endfor %}", LM_ELIMIT },
		{ "{{ 'a'|indent(999999999) }}", LM_ELIMIT },
		{ "{{ ('a\\n' * 1000000)|indent(1000000) }}", LM_ELIMIT },
		{ "{{ ('\\n' * 1000000)|indent('x' * 1000, blank=true) }}", LM_ELIMIT },
		{ "{{ 'a'.center(10**9) }}", LM_ELIMIT },
		{ "{% for i in range(99999) %}{% set x = 'a'.ljust(999999) %}{% endfor %}", LM_ELIMIT },
		{ "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}", LM_ELIMIT },
		{ "{% set ns = namespace(x={}) %}{% for i in range(99999) %}{% set ns.x = dict(ns.x, **{i|string: i}) %}{% endfor %}", LM_ELIMIT },
		{ "{% for i in range(99999) %}{% set x = range(99999)|list %}{% endfor %}", LM_ELIMIT },
		{ "{% for i in range(99999) %}{% set x = range(99999)|list|sort %}{% endfor %}", LM_ELIMIT },
		{ "{{ (['a' * 1000, 'a' * 999 ~ 'b'] * 50000)|sort|length }}", LM_ELIMIT },
		{ "{{ ([[1]] * 99999)|tojson(indent=1000) }}", LM_ELIMIT },
		{ "{% set ns = namespace(x=[1]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}", LM_ELIMIT },
		{ "{% set ns = namespace(x=[1,1]) %}{% for i in range(99) %}{% set ns.x = [ns.x,ns.x] %}{% endfor %}{{ ns.x|tojson }}", LM_ELIMIT },
		{ "{% set ns = namespace(x=[1,1]) %}{% for i in range(99) %}{% set ns.x = [ns.x,ns.x] %}{% endfor %}{{ ns.x == ns.x }}{{ {(ns.x|string): 1} }}", LM_ELIMIT },
		{ "{% set ns = namespace(x=(1,)) %}{% for i in range(64) %}{% set ns.x = (ns.x,ns.x) %}{% endfor %}{{ {ns.x: 1} }}", LM_ELIMIT },
		{ "{% for x in [1] recursive %}{{ loop([1,1]) }}{% endfor %}", LM_ELIMIT },
		{ "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}", LM_ELIMIT },
		{ GROW("a", "23") "{% for i in range(99999) %}{% set x = ns.u.split('a') %}{% endfor %}", LM_ELIMIT },
		{ GROW("a", "22") "{{ ns.u|list|length }}", LM_ELIMIT },
		{ GROW("a", "22") "{% for c in ns.u %}{{ c|upper }}{% endfor %}", LM_ELIMIT },
		{ GROW("ab", "20") "{% set u = ns.u %}{% for i in range(99999) %}{% if u.find('b' * 1000) %}{% endif %}{% if u.count('aa') %}{% endif %}{% endfor %}", LM_ELIMIT },
		{ GROW("a", "20") "{% set u = ns.u %}{% set v = u[:500000] ~ 'b' %}{% for i in range(999) %}{% if v in u %}{% endif %}{% endfor %}", LM_ELIMIT },
		{ GROW("a", "20") "{% set u = ns.u %}{% set v = 'b' ~ u[:500000] %}{% for i in range(999) %}{% if u.rfind(v) %}{% endif %}{% if u.rfind(u[:500000] ~ 'b') %}{% endif %}{% endfor %}", LM_ELIMIT },
		{ GROW("é", "20") "{% set u = ns.u %}{% for i in range(99999) %}{% set x = u[99999] ~ u[-1] ~ u[5:99999] %}{% endfor %}", LM_ELIMIT },
		{ GROW("é", "21") "{% set u = ns.u %}{% for i in range(99999) %}{% set x = u[::-1] %}{% endfor %}", LM_ELIMIT },
		{ GROW("\\\\x01", "21") "{% set u = ns.u %}{% for i in range(99999) %}{% set x = [u]|string %}{% endfor %}", LM_ELIMIT },
		{ GROW("\\\\x01", "20") "{% set u = ns.u %}{% for i in range(99999) %}{% set x = u|tojson %}{% endfor %}", LM_ELIMIT },
		{ GROW("<", "20") "{% set u = ns.u %}{% for i in range(99999) %}{% set x = u|e %}{% endfor %}", LM_ELIMIT },
		{ GROW("1", "20") "{% set u = ns.u %}{% for i in range(99999) %}{% set x = u|int %}{% set x = u|float %}{% endfor %}", LM_ELIMIT },
		{ GROW("a ", "20") "{% set u = ns.u %}{% for i in range(99999) %}{% set x = u|wordcount %}{% set x = u|title %}{% set x = u.swapcase() %}{% endfor %}", LM_ELIMIT },
		{ "{% set u = '{}' * 99999 %}{{ u.format(*range(99999)) }}{% for i in range(99999) %}{% set x = u.format(*range(99999)) %}{% endfor %}", LM_ELIMIT },
		{ "{% set u = '%s' * 9999 %}{% set a = range(9999)|list %}{% for i in range(99999) %}{% set x = u|format(*a) %}{% endfor %}", LM_ELIMIT },
		{ "{% set u = '%Y' * 999999 %}{% for i in range(99999) %}{% set x = strftime_now(u) %}{% endfor %}", LM_ELIMIT },
		{ "{% set ns = namespace(s='') %}{% for i in range(99999) %}{% set ns.s = 'x' ~ ns.s ~ 'y' %}{% endfor %}", LM_ELIMIT },
		{ "{% set ns = namespace(s='') %}{% for i in range(99999) %}{% set ns.s = ns.s ~ 'y' %}{% set t = ns.s ~ 'z' %}{% endfor %}{{ ns.s|length }}", LM_ELIMIT },
		{ "{% for i in range(99999) %}{% set ns = namespace(**{i|string: 1}) %}{% endfor %}", LM_ELIMIT },
		{ "{% for i in range(99999) %}{% for k, v in {'a':1,'b':2}|dictsort %}{{ k }}{{ v }}{% endfor %}{% endfor %}", LM_ELIMIT },
		{ "{% for a in range(99999) if a % 2 %}{% for b in range(a) if b % 3 %}{{ loop.length }}{% endfor %}{% endfor %}", LM_ELIMIT },
		{ "{{ raise_exception('x' * 16000000) }}", LM_ELIMIT },
		{ "{% set x = ['a' * 15000000] %}{% set y = x|tojson %}{% set z = y|tojson %}{% set w = z|tojson %}{{ w }}", LM_ELIMIT },
		{ "{% set x = 'a' * 15000000 %}{{ x }}{{ x }}", LM_ELIMIT },
		{ "{% set x = 'a' * 8000000 %}{{ x }}{% filter upper %}{{ x }}{% endfilter %}{% filter upper %}{{ x }}{% endfilter %}", LM_ELIMIT },
	};
	for (size_t i = 0; i < sizeof k / sizeof k[0]; i++) {
		struct lm_buf b = { 0 };
		lm_buf_str(&b, k[i].text);
		hostile(k[i].text, &b, k[i].rc);
	}
}

/* Text caught at every level of nesting is held at once. */
LM_TEST(chat_hostile_captures)
{
	static const char *const open[] = { "{% set a %}", "{% filter upper %}", "{% macro m() %}" };
	static const char *const end[] = { "{% endset %}", "{% endfilter %}", "{% endmacro %}{{ m() }}" };
	for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
		struct lm_buf b = { 0 };
		lm_buf_str(&b, GROW("a", "23"));
		for (int n = 0; n < 60; n++) lm_buf_fmt(&b, "%s{{ u }}", open[i]);
		repeat(&b, end[i], 60);
		hostile(open[i], &b, LM_ELIMIT);
	}
}

/* What a template takes is asked at load: one that never ends must not hold up a start. */
LM_TEST(chat_probes_are_quick)
{
	static const char *const slow[] = {
		"{% for m in messages %}{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}{% endfor %}",
		"{{ messages }}{% set x = 'a' * 1000000 %}{% for i in range(9999) %}{{ x.replace('a', 'b')|upper|length }}{% endfor %}",
		"{% set n = namespace(s='aa') %}{% for m in messages %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}{% endfor %}",
	};
	for (size_t i = 0; i < sizeof slow / sizeof *slow; i++) {
		struct lm_err err = { 0 };
		struct chat *c;
		clock_t from = clock();
		assert_ok(chat_compile(&c, slow[i], strlen(slow[i]), &err), err);
		double s = (double)(clock() - from) / CLOCKS_PER_SEC;
		chat_free(c);
		if (s > seconds / 10) fail_msg("%.60s: %.3f s to compile", slow[i], s);
	}
}
