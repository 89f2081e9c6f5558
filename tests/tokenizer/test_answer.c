/* Answers taken apart: against what the real templates write (tools/gold_answers.py), and by hand. */
#include "test.h"
#include "base/json.h"
#include "tokenizer/answer.h"

static json_t *gold(void)
{
	json_error_t e;
	json_t *j = json_load_file("tests/fixtures/answers_gold.json", 0, &e);
	if (!j) fail_msg("tests/fixtures/answers_gold.json: line %d: %s", e.line, e.text);
	return j;
}

static const char *answer_name(const struct answer_format *f)
{
	const char *name = NULL;
	for (int i = 0; answer_at(i, &name) != f; i++) {}
	return name;
}

/* What a stream gives, put together. */
struct got { struct lm_buf text[2], log; int last, n_parts, stop_at; const struct answer *a; const char *all; size_t n; };

static int take(void *ud, enum answer_part p, int index, const char *id, const char *s, size_t n)
{
	struct got *g = ud;
	if (g->stop_at && ++g->n_parts >= g->stop_at) return 77;
	if (p == ANSWER_CONTENT || p == ANSWER_REASONING) {
		assert_true(n > 0);
		size_t at = g->a ? answer_where(g->a) : 0;
		bool joint = p == ANSWER_REASONING && n == 1 && *s == '\n';
		if (g->a && !joint) assert_true(at + n <= g->n && memcmp(g->all + at, s, n) == 0);
		lm_buf_add(&g->text[p == ANSWER_REASONING], s, n);
	} else if (p == ANSWER_CALL) {
		assert_int_equal(index, g->last + 1);           /* calls come one after another */
		g->last = index;
		lm_buf_fmt(&g->log, "\n%s|%.*s|", id, (int)n, s);
	} else {
		assert_int_equal(index, g->last);
		lm_buf_add(&g->log, s, n);
	}
	return 0;
}

static struct got stream(const struct answer_format *f, const json_t *tools, bool thinking, const char *s, size_t n,
                         size_t (*cut)(void *), void *ud)
{
	struct got g = { .last = -1, .all = s, .n = n };
	struct answer_out out = { take, &g };
	struct lm_err err = { 0 };
	struct answer *a;
	assert_ok(answer_new(&a, f, tools, true, thinking, &err), err);
	g.a = a;
	for (size_t i = 0; i < n;) {
		size_t k = cut(ud);
		if (k > n - i) k = n - i;
		char *exact = malloc(k + 1);
		assert_non_null(exact);
		memcpy(exact, s + i, k);
		assert_ok(answer_push(a, exact, k, &out, &err), err);
		free(exact);
		i += k;
	}
	assert_ok(answer_end(a, &out, &err), err);
	answer_free(a);
	return g;
}

static void got_free(struct got *g)
{
	lm_buf_free(&g->text[0]);
	lm_buf_free(&g->text[1]);
	lm_buf_free(&g->log);
}

static size_t cut_all(void *ud) { (void)ud; return SIZE_MAX; }
static size_t cut_one(void *ud) { (void)ud; return 1; }
static size_t cut_random(void *ud)
{
	uint32_t *x = ud;
	*x = *x * 1664525u + 1013904223u;
	return 1 + (*x >> 24) % ((*x >> 16) % 3 ? 5 : 60);
}

static bool same(const struct lm_buf *a, const struct lm_buf *b)
{
	return a->n == b->n && (!a->n || memcmp(a->p, b->p, a->n) == 0);
}

static void same_streams(struct got *w, struct got *g, const char *what, const char *s)
{
	if (!same(&w->text[0], &g->text[0]) || !same(&w->text[1], &g->text[1]) || !same(&w->log, &g->log))
		fail_msg("%s differs from whole for:\n%s\nwhole:  %s|%s%s\nstream: %s|%s%s", what, s, lm_buf_cstr(&w->text[1]),
		         lm_buf_cstr(&w->text[0]), lm_buf_cstr(&w->log), lm_buf_cstr(&g->text[1]), lm_buf_cstr(&g->text[0]),
		         lm_buf_cstr(&g->log));
}

/* However it is cut, the same comes out. */
static void check_cuts(const struct answer_format *f, const json_t *tools, bool thinking, const char *s, size_t n)
{
	uint32_t seed = (uint32_t)n;
	struct got whole = stream(f, tools, thinking, s, n, cut_all, NULL);
	struct got one = stream(f, tools, thinking, s, n, cut_one, NULL);
	same_streams(&whole, &one, "byte by byte", s);
	got_free(&one);
	for (int i = 0; i < 4; i++) {
		struct got r = stream(f, tools, thinking, s, n, cut_random, &seed);
		same_streams(&whole, &r, "cut at random", s);
		got_free(&r);
	}
	got_free(&whole);
}

static bool text_is(const json_t *got, const char *want)
{
	const char *s = json_string_value(got);
	return strcmp(s ? s : "", want) == 0;
}

/* The calls of a message against the fixture's. */
static const char *calls_differ(const json_t *got, const json_t *want, const json_t *ids)
{
	size_t n = json_array_size(want);
	if (json_array_size(got) != n) return "number of calls";
	for (size_t i = 0; i < n; i++) {
		const json_t *g = json_array_get(got, i), *w = json_array_get(want, i), *f = json_object_get(g, "function");
		json_error_t e;
		if (!json_equal(json_object_get(f, "name"), json_object_get(w, "name"))) return "name";
		json_t *a = json_loads(json_string_value(json_object_get(f, "arguments")), 0, &e);
		bool equal = a && json_equal(a, json_object_get(w, "arguments"));
		json_decref(a);
		if (!equal) return "arguments";
		if (ids && !json_equal(json_object_get(g, "id"), json_array_get(ids, i))) return "id";
	}
	return NULL;
}

static bool check_case(const char *name, const struct answer_format *f, const json_t *g, const json_t *k)
{
	struct lm_err err = { 0 };
	const json_t *m = json_array_get(json_object_get(g, "messages"), (size_t)json_integer_value(json_array_get(k, 0)));
	const json_t *text = json_array_get(json_object_get(g, "texts"), (size_t)json_integer_value(json_array_get(k, 1)));
	const json_t *x = json_array_get(k, 3), *tools = json_object_get(g, "tools");
	bool thinking = json_integer_value(json_array_get(k, 2)) != 0;
	const char *s = json_string_value(text);
	char want[2000];
	json_t *got = answer_message(f, tools, thinking, s, strlen(s), &err);
	if (!got) fail_msg("%s: %s\n%s", name, err.msg, s);
	char *shown = json_dumps(got, JSON_INDENT(1));
	snprintf(want, sizeof want, "%s%s", json_integer_value(json_object_get(x, "c")) ? json_string_value(json_object_get(m, "text")) : "",
	         json_string_value(json_object_get(x, "t")));
	const char *bad = calls_differ(json_object_get(got, "tool_calls"), json_object_get(m, "calls"), json_object_get(x, "ids"));
	if (!text_is(json_object_get(got, "content"), want)) bad = "content";
	snprintf(want, sizeof want, "%s", json_integer_value(json_object_get(x, "r")) ? json_string_value(json_object_get(m, "think")) : "");
	if (!text_is(json_object_get(got, "reasoning_content"), want)) bad = "reasoning";
	if (bad) print_error("%s (%s): %s\n%s\n%s\n", name, answer_name(f), bad, s, shown);
	free(shown);
	json_decref(got);
	check_cuts(f, tools, thinking, s, strlen(s));
	return !bad;
}

LM_TEST(answer_gold)
{
	json_t *g = gold(), *t;
	const char *name;
	int n = 0, bad = 0;
	json_object_foreach(json_object_get(g, "templates"), name, t) {
		const json_t *marks = json_object_get(t, "marks");
		const struct answer_format *f = answer_detect(json_string_value(marks), json_string_length(marks));
		size_t i;
		json_t *k;
		json_array_foreach(json_object_get(t, "cases"), i, k) {
			n++;
			bad += !check_case(name, f, g, k);
		}
	}
	json_decref(g);
	if (bad) fail_msg("%d of %d answers are not given back", bad, n);
}

/* ---- by hand ---------------------------------------------------------------------------------------------------- */

static const char some_tools[] =
	"[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{"
	"\"s\":{\"type\":\"string\"},\"i\":{\"type\":\"integer\"},\"b\":{\"type\":\"boolean\"},\"o\":{\"type\":\"object\"},"
	"\"l\":{\"type\":\"array\"},\"n\":{\"type\":[\"string\",\"null\"]},\"u\":{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"null\"}]},"
	"\"e\":{\"enum\":[1,2]},\"m\":{\"type\":[\"string\",\"object\",\"integer\"]},\"x\":{}}}}},"
	"{\"name\":\"g\",\"parameters\":{}}]";

struct hand {
	const char *format, *text;
	const char *content, *reasoning, *calls;    /* calls: a line "id|name|arguments" each */
	bool thinking;
};

static void check_hand(const struct hand *h, const json_t *tools)
{
	const struct answer_format *f = answer_named(h->format);
	if (!f) fail_msg("no format %s", h->format);
	struct got g = stream(f, tools, h->thinking, h->text, strlen(h->text), cut_all, NULL);
	const char *c = h->content ? h->content : "", *r = h->reasoning ? h->reasoning : "", *k = h->calls ? h->calls : "";
	const char *log = g.log.n ? lm_buf_cstr(&g.log) + 1 : "";
	if (strcmp(lm_buf_cstr(&g.text[0]), c) || strcmp(lm_buf_cstr(&g.text[1]), r) || strcmp(log, k))
		fail_msg("%s:\n%s\nwant content: %s\nreasoning: %s\ncalls: %s\n\ngot content: %s\nreasoning: %s\ncalls: %s", h->format,
		         h->text, c, r, k, lm_buf_cstr(&g.text[0]), lm_buf_cstr(&g.text[1]), log);
	got_free(&g);
	check_cuts(f, tools, h->thinking, h->text, strlen(h->text));
}

static void check_hands(const struct hand *h, size_t n, bool with_tools)
{
	json_t *tools = with_tools ? json_loads(some_tools, 0, NULL) : NULL;
	for (size_t i = 0; i < n; i++) check_hand(&h[i], tools);
	json_decref(tools);
}

LM_TEST(answer_families)
{
	static const struct hand hands[] = {
		{ "llama3", "{\"name\": \"f\", \"parameters\": {\"s\": \"a\"}}", NULL, NULL, "|f|{\"s\": \"a\"}", false },
		{ "llama3", "<|python_tag|>{\"name\": \"zz\", \"parameters\": {}}", NULL, NULL, "|zz|{}", false },
		{ "llama3", "{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {\"a\": 1}}", NULL, NULL, "|f|{}\n|g|{\"a\": 1}", false },
		{ "llama3", "<|python_tag|>brave_search.call(query=\"a \\\"b\\\"\")", NULL, NULL, "|brave_search|{\"query\":\"a \\\"b\\\"\"}", false },
		{ "llama3", "<function=f>{\"s\": \"a\"}</function>", NULL, NULL, "|f|{\"s\": \"a\"}", false },
		{ "llama3", "{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"i\": 1}}}", NULL, NULL, "|f|{\"i\": 1}", false },
		{ "llama3", "{\"name\": \"Bob\", \"parameters\": {}}", "{\"name\": \"Bob\", \"parameters\": {}}", NULL, NULL, false },
		{ "llama3", "{\"name\": \"f\", \"age\": 3}", "{\"name\": \"f\", \"age\": 3}", NULL, NULL, false },
		{ "llama3", "Use {\"name\": \"f\", \"parameters\": {}}", "Use {\"name\": \"f\", \"parameters\": {}}", NULL, NULL, false },
		{ "llama3", "{}", "{}", NULL, NULL, false },
		{ "hermes", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"a\"}}\n</tool_call>\n<tool_call>{\"name\":\"g\"}</tool_call>", NULL, NULL,
		  "|f|{\"s\": \"a\"}\n|g|{}", false },
		{ "hermes", "A\n\n<tool_call>{\"arguments\": {\"i\": [1, {\"a\": \"}\"}]}, \"name\": \"f\"}</tool_call>\n\nB ", "A\n\nB ", NULL,
		  "|f|{\"i\": [1, {\"a\": \"}\"}]}", false },
		{ "hermes", "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"s\\\": \\\"q\\\"}\"}</tool_call>", NULL, NULL, "|f|{\"s\": \"q\"}", false },
		{ "hermes", "<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>", NULL, NULL, "|f|{}", false },
		{ "hermes", "<tool_call>{\"id\": \"c1\", \"name\": \"f\", \"arguments\": {}}</tool_call>", NULL, NULL, "c1|f|{}", false },
		{ "hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"s\": \"a\nb\"}}</tool_call>", NULL, NULL, "|f|{\"s\": \"a\\u000ab\"}", false },
		{ "hermes", "<tool_call>[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {}}]</tool_call>", NULL, NULL, "|f|{}\n|g|{}", false },
		{ "hermes", "<think>\nHm <tool_call>.\n</think>\n\n<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>", NULL, "Hm <tool_call>.", "|f|{}", false },
		{ "hermes", "a\n</think>\n\nb", "b", "a", NULL, true },
		{ "hermes", "<think>\na</think>b", "b", "a", NULL, true },
		{ "hermes", "</think>\n\nb", "b", NULL, NULL, false },
		{ "hermes", "a <think>b</think>", "a <think>b</think>", NULL, NULL, false },
		{ "hermes", "  a  \n", "  a  \n", NULL, NULL, false },
		{ "hermes", "<think>a", NULL, "a", NULL, false },
		{ "hermes", "<think></think>", NULL, NULL, NULL, false },
		{ "qwen3-coder", "Ok\n<tool_call>\n<function=f>\n<parameter=s>\n12\n</parameter>\n<parameter=i>\n12\n</parameter>\n<parameter=b>True</parameter>\n"
		  "</function>\n</tool_call>", "Ok", NULL, "|f|{\"s\": \"12\", \"i\": 12, \"b\": true}", false },
		{ "qwen3-coder", "<function=f>\n<parameter=s>\na</parameter>b</parameter>\n</function>", NULL, NULL, "|f|{\"s\": \"a</parameter>b\"}", false },
		{ "qwen3-coder", "<function=f><parameter=o>{'a': [1, None]}</parameter><parameter=l>[1,2]</parameter><parameter=n>null</parameter>"
		  "<parameter=u>null</parameter><parameter=e>2</parameter><parameter=x>1</parameter><parameter=i>many</parameter></function>", NULL, NULL,
		  "|f|{\"o\": {\"a\":[1,null]}, \"l\": [1,2], \"n\": null, \"u\": null, \"e\": 2, \"x\": \"1\", \"i\": \"many\"}", false },
		{ "qwen3-coder", "<function=f><parameter=m>{\"a\": 1}</parameter></function><function=f><parameter=m>7</parameter></function>"
		  "<function=f><parameter=m>[7]</parameter></function><function=f><parameter=m>7x</parameter></function>", NULL, NULL,
		  "|f|{\"m\": {\"a\": 1}}\n|f|{\"m\": 7}\n|f|{\"m\": \"[7]\"}\n|f|{\"m\": \"7x\"}", false },
		{ "qwen3-coder", "<function=f><parameter=s>None</parameter><parameter=n>None</parameter><parameter=i>\n 5 \n</parameter></function>", NULL, NULL,
		  "|f|{\"s\": \"None\", \"n\": null, \"i\": 5}", false },
		{ "hermes", "<think>\n<think>a</think>b", "b", "a", NULL, false },
		{ "qwen3-coder", "Hm.\n<tool_call>\n<function=f>\n</function>\n</tool_call>", NULL, "Hm.", "|f|{}", true },
		{ "qwen3-coder", "I could <function=f>, no.\n</think>\nb", "b", "I could <function=f>, no.", NULL, true },
		{ "qwen3-coder", "<tool_call>\n<function=g>\n</function>\n</tool_call>", NULL, NULL, "|g|{}", false },
		{ "qwen3-coder", "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>", NULL, NULL, "|f|{}", false },
		{ "seed", "<seed:think>a</seed:think>\n<seed:tool_call>\n<function=f>\n<parameter=s>\na\n</parameter>\n</function>\n</seed:tool_call>", NULL, "a",
		  "|f|{\"s\": \"\\na\\n\"}", false },
		{ "minicpm5", "<function name=\"f\"><param name=\"s\"><![CDATA[a<b]]></param><param name=\"i\">1</param></function>", NULL, NULL,
		  "|f|{\"s\": \"a<b\", \"i\": 1}", false },
		{ "mistral", "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"i\": 1}, \"id\": \"abc\"}]", NULL, NULL, "|f|{\"i\": 1}", false },
		{ "mistral", "[TOOL_CALLS][{\"id\": \"abc\", \"name\": \"f\", \"arguments\": {\"i\": 1}}]", NULL, NULL, "abc|f|{\"i\": 1}", false },
		{ "mistral", "Hi[TOOL_CALLS]f[ARGS]{\"i\": 1}[TOOL_CALLS]g[CALL_ID]x1[ARGS]{}", "Hi", NULL, "|f|{\"i\": 1}\nx1|g|{}", false },
		{ "mistral", "[THINK]a\n[/THINK]b", "b", "a", NULL, false },
		{ "mistral", "[TOOL_CALLS] is a marker", "[TOOL_CALLS] is a marker", NULL, NULL, false },
		{ "granite", "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"i\": 1}}, {\"name\": \"g\", \"arguments\": {}}]", NULL, NULL, "|f|{\"i\": 1}\n|g|{}", false },
		{ "granite", "<think>a</think><response>b</response>", "b", "a", NULL, false },
		{ "granite", "<tool_call>[{\"name\": \"f\", \"arguments\": {}}]</tool_call>", NULL, NULL, "|f|{}", false },
		{ "phi4", "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"i\": 1}}]<|/tool_call|>", NULL, NULL, "|f|{\"i\": 1}", false },
		{ "phi4", "functools[{\"name\": \"f\", \"arguments\": {}}]", NULL, NULL, "|f|{}", false },
		{ "deepseek", "<think>\na\n</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"i\": 1}\n```<｜tool▁call▁end｜>\n"
		  "<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", NULL, "a", "|f|{\"i\": 1}\n|g|{}", false },
		{ "deepseek", "x<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"i\": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>", "x", NULL, "|f|{\"i\": 1}", false },
		{ "dsml", "a</think>b\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"x\" string=\"false\">[1]</｜DSML｜parameter>\n"
		  "<｜DSML｜parameter name=\"i\" string=\"true\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>", "b", "a",
		  "|f|{\"x\": [1], \"i\": \"1\"}", true },
		{ "harmony", "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>", "b", "a", NULL, false },
		{ "harmony", "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"i\": 1}<|call|>",
		  NULL, "a", "|f|{\"i\": 1}", false },
		{ "harmony", "<|channel|>commentary<|message|>Now.<|end|><|start|>assistant<|channel|>commentary to=functions.f<|message|>{\"i\":1}<|call|>", "Now.", NULL,
		  "|f|{\"i\":1}", false },
		{ "harmony", "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b<|end|><|start|>assistant to=functions.g"
		  "<|channel|>commentary json<|message|>{}", NULL, "a\nb", "|g|{}", false },
		{ "harmony", "<|channel|>analysis<|message|>a<|channel|>final<|message|>b", "b", "a", NULL, false },
		{ "harmony", "<|channel|>final <|constrain|>json<|message|>{\"a\":1}", "{\"a\":1}", NULL, NULL, false },
		{ "harmony", "just text", "just text", NULL, NULL, false },
		{ "gemma", "```tool_code\nf(s='a', i=2)\n```", NULL, NULL, "|f|{\"s\":\"a\",\"i\":2}", false },
		{ "gemma", "```tool_code\n[f(\"a\", 2), g()]\n```", NULL, NULL, "|f|{\"s\":\"a\",\"i\":2}\n|g|{}", false },
		{ "gemma", "{\"name\": \"f\", \"parameters\": {\"i\": 1}}", NULL, NULL, "|f|{\"i\": 1}", false },
		{ "gemma", "```json\n{\"name\": \"f\", \"parameters\": {\"i\": 1}}\n```", NULL, NULL, "|f|{\"i\": 1}", false },
		{ "gemma", "```json\n{\"a\": 1}\n```", "```json\n{\"a\": 1}\n```", NULL, NULL, false },
		{ "gemma", "```tool_code\nprint(1)\n```", "```tool_code\nprint(1)\n```", NULL, NULL, false },
		{ "gemma4", "<|channel>thought\na\n<channel|>b<|tool_call>call:f{s:<|\"|>x,{}<|\"|>,l:[1,<|\"|>y<|\"|>],o:{k:true,z:word}}<tool_call|><|tool_response>",
		  "b", "a", "|f|{\"s\":\"x,{}\",\"l\":[1,\"y\"],\"o\":{\"k\":true,\"z\":\"word\"}}", false },
		{ "gemma4", "<|channel><|channel>thought\n<channel|>b<channel|>", "b", NULL, NULL, false },
		{ "harmony", "<|channel|>commentary to=assistant<|channel|>final<|message|>b", "b", NULL, NULL, false },
		{ "functiongemma", "<start_function_call>call:f{s:<escape>a b<escape>,i:3}<end_function_call>", NULL, NULL, "|f|{\"s\":\"a b\",\"i\":3}", false },
		{ "functionary-v3.1", "x<function=f>{\"i\": 1}</function><function=g>{}</function>", "x", NULL, "|f|{\"i\": 1}\n|g|{}", false },
		{ "functionary-v3.2", "all\nHello >>>x\n>>>f\n{\"i\": 1}", "Hello >>>x", NULL, "|f|{\"i\": 1}", false },
		{ "functionary-v3.2", "f\n{\"i\": 1}>>>g\n{}", NULL, NULL, "|f|{\"i\": 1}\n|g|{}", false },
		{ "firefunction", " functools[{\"name\": \"f\", \"arguments\": {\"i\": 1}}]", NULL, NULL, "|f|{\"i\": 1}", false },
		{ "command-r", "Action: ```json\n[\n    {\n        \"tool_name\": \"f\",\n        \"parameters\": {\"i\": 1}\n    }\n]```", NULL, NULL, "|f|{\"i\": 1}", false },
		{ "command-r7b", "<|START_THINKING|>a<|END_THINKING|><|START_ACTION|>[\n{\"tool_call_id\": \"0\", \"tool_name\": \"f\", \"parameters\": {\"i\": 1}}\n]<|END_ACTION|>",
		  NULL, "a", "0|f|{\"i\": 1}", false },
		{ "command-r7b", "<|START_RESPONSE|>b<|END_RESPONSE|>", "b", NULL, NULL, false },
		{ "glm", "<think>a</think>\n<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>5</arg_value>\n<arg_key>i</arg_key>\n<arg_value>5</arg_value>\n</tool_call>"
		  "<tool_call>g</tool_call>", NULL, "a", "|f|{\"s\": \"5\", \"i\": 5}\n|g|{}", false },
		{ "kimi-k2", "<think>a<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"i\": 1}<|tool_call_end|>"
		  "<|tool_calls_section_end|>", NULL, "a", "functions.f:0|f|{\"i\": 1}", false },
		{ "kimi-k3", "a<|close|>think<|sep|><|open|>response<|sep|>b<|close|>response<|sep|><|open|>tools<|sep|><|open|>call tool=\"f\" index=\"1\"<|sep|>"
		  "<|open|>json type=\"object\"<|sep|>{\"i\": 1}<|close|>json<|sep|><|close|>call<|sep|><|close|>tools<|sep|><|close|>message<|sep|>", "b", "a",
		  "|f|{\"i\": 1}", true },
		{ "minimax-m2", "a</think>\n\nb\n<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"i\">1</parameter>\n</invoke>\n<invoke name=\"g\">\n</invoke>\n"
		  "</minimax:tool_call>", "b", "a", "|f|{\"i\": 1}\n|g|{}", true },
		{ "lfm2", "<|tool_call_start|>[f(s=\"a]\", o={'k': (1, True, None)}, i=-1.5e3), g()]<|tool_call_end|>Done", "Done", NULL,
		  "|f|{\"s\":\"a]\",\"o\":{\"k\":[1,true,null]},\"i\":-1.5e3}\n|g|{}", false },
		{ "lfm2", "<|tool_call_start|>[{\"name\": \"f\", \"arguments\": {}}]<|tool_call_end|>", NULL, NULL, "|f|{}", false },
		{ "lfm2", "<|tool_call_start|>[f(s='''a\n'b' \\x41\\u00e9\\n\\d''')]", NULL, NULL, "|f|{\"s\":\"a\\n'b' Aé\\n\\\\d\"}", false },
		{ "apertus", "<|tools_prefix|>[{\"f\": {\"i\": 1}}, {\"g\": {}}]<|tools_suffix|>", NULL, NULL, "|f|{\"i\": 1}\n|g|{}", false },
		{ "nemotron-v2", "<TOOLCALL>[{\"name\": \"f\", \"arguments\": {}}]</TOOLCALL>", NULL, NULL, "|f|{}", false },
		{ "apriel", "a\n[BEGIN FINAL RESPONSE]\nb\n<tool_calls>[{\"name\": \"f\", \"arguments\": {}}]</tool_calls>", "b", "a", "|f|{}", true },
		{ "generic", "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>", NULL, NULL, "|f|{}", false },
		{ "generic", "{\"tool_call\": {\"name\": \"f\", \"arguments\": {\"i\": 1}}}", NULL, NULL, "|f|{\"i\": 1}", false },
		{ "generic", "[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {}}]", NULL, NULL, "|f|{}\n|g|{}", false },
		{ "generic", "[1, 2]", "[1, 2]", NULL, NULL, false },
	};
	check_hands(hands, sizeof hands / sizeof hands[0], true);
}

/* What is no call stays what it is; what breaks off is not lost. */
LM_TEST(answer_malformed)
{
	static const struct hand hands[] = {
		{ "hermes", "Write <tool_call> and </tool_call>.", "Write <tool_call> and </tool_call>.", NULL, NULL, false },
		{ "hermes", "<tool_call>{\"name\": 5}</tool_call>", "<tool_call>{\"name\": 5}</tool_call>", NULL, NULL, false },
		{ "hermes", "<tool_call>{\"name\": \"f\", \"argu", "<tool_call>{\"name\": \"f\", \"argu", NULL, NULL, false },
		{ "hermes", "<tool_call>{\"arguments\": {}}</tool_call>", "<tool_call>{\"arguments\": {}}</tool_call>", NULL, NULL, false },
		{ "hermes", "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>", "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>", NULL, NULL, false },
		{ "hermes", "<tool_call>{\"name\": \"f\", \"arguments\": \"no\"}</tool_call>", "<tool_call>{\"name\": \"f\", \"arguments\": \"no\"}</tool_call>", NULL, NULL, false },
		{ "hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"s\": \"a", NULL, NULL, "|f|{\"s\": \"a", false },
		{ "hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"s\": tru}} rest", "}} rest", NULL, "|f|{\"s\": tru", false },
		{ "hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {}} rest", "rest", NULL, "|f|{}", false },
		{ "hermes", "<tool_call><tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>", "<tool_call>", NULL, "|f|{}", false },
		{ "hermes", "<tool_ca", "<tool_ca", NULL, NULL, false },
		{ "hermes", "a < b <t <to <tool", "a < b <t <to <tool", NULL, NULL, false },
		{ "hermes", "<tool_call>\n\n", "<tool_call>\n\n", NULL, NULL, false },
		{ "qwen3-coder", "<tool_call> is written <function=name> so", "<tool_call> is written <function=name> so", NULL, NULL, false },
		{ "qwen3-coder", "<tool_call>\n<function=f>\n<parameter=s>\nlong", "<tool_call>\n<function=f>\n<parameter=s>\nlong", NULL, NULL, false },
		{ "qwen3-coder", "<function=f><parameter=s>a</parameter>", "<function=f><parameter=s>a</parameter>", NULL, NULL, false },
		{ "mistral", "[TOOL_CALLS]f[ARGS]none", "[TOOL_CALLS]f[ARGS]none", NULL, NULL, false },
		{ "mistral", "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}, oops]", ", oops]", NULL, "|f|{}", false },
		{ "lfm2", "<|tool_call_start|>[f(s=)]<|tool_call_end|>x", "<|tool_call_start|>[f(s=)]<|tool_call_end|>x", NULL, NULL, false },
		{ "lfm2", "<|tool_call_start|>[f(1,2,3,4,5,6,7,8,9,10,11)]", "<|tool_call_start|>[f(1,2,3,4,5,6,7,8,9,10,11)]", NULL, NULL, false },
		{ "lfm2", "<|tool_call_start|>[f()", "<|tool_call_start|>[f()", NULL, NULL, false },
		{ "lfm2", "<|tool_call_start|>[f() g()]<|tool_call_end|>", "<|tool_call_start|>[f() g()]<|tool_call_end|>", NULL, NULL, false },
		{ "lfm2", "<|tool_call_start|>[f()] x<|tool_call_end|>", "<|tool_call_start|>[f()] x<|tool_call_end|>", NULL, NULL, false },
		{ "lfm2", "<|tool_call_start|>[f(i=1 s=2)]<|tool_call_end|>", "<|tool_call_start|>[f(i=1 s=2)]<|tool_call_end|>", NULL, NULL, false },
		{ "llama3", "<|python_tag|>f() x", "<|python_tag|>f() x", NULL, NULL, false },
		{ "gemma4", "<|tool_call>call:f{a:}<tool_call|>", "<|tool_call>call:f{a:}<tool_call|>", NULL, NULL, false },
		{ "glm", "<tool_call>f<arg_key>a</arg_key>x</tool_call>", "<tool_call>f<arg_key>a</arg_key>x</tool_call>", NULL, NULL, false },
		{ "harmony", "<|channel|>commentary to=functions.f<|message|>print(1)", "<|channel|>commentary to=functions.f<|message|>print(1)", NULL, NULL, false },
		{ "kimi-k2", "<|tool_call_begin|>functions.:0<|tool_call_argument_begin|>{}", "<|tool_call_begin|>functions.:0<|tool_call_argument_begin|>{}", NULL, NULL, false },
		{ "deepseek", "<｜tool▁calls▁begin｜> alone", "<｜tool▁calls▁begin｜> alone", NULL, NULL, false },
	};
	check_hands(hands, sizeof hands / sizeof hands[0], true);
}

LM_TEST(answer_without_tools)
{
	static const struct hand hands[] = {
		{ "hermes", "<think>a</think>\n<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>", "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>", "a", NULL, false },
		{ "llama3", "{\"name\": \"f\", \"parameters\": {}}", "{\"name\": \"f\", \"parameters\": {}}", NULL, NULL, false },
		{ "mistral", "[TOOL_CALLS]f[ARGS]{}", "[TOOL_CALLS]f[ARGS]{}", NULL, NULL, false },
	};
	check_hands(hands, sizeof hands / sizeof hands[0], false);
}

LM_TEST(answer_unsplit)
{
	struct got g = { .last = -1 };
	struct answer_out out = { take, &g };
	struct lm_err err = { 0 };
	struct answer *a;
	const char *s = "<think>\na</think>\nb";
	assert_ok(answer_new(&a, answer_named("hermes"), NULL, false, false, &err), err);
	assert_ok(answer_push(a, s, strlen(s), &out, &err), err);
	assert_ok(answer_end(a, &out, &err), err);
	assert_string_equal(lm_buf_cstr(&g.text[0]), s);
	assert_int_equal(g.text[1].n, 0);
	answer_free(a);
	got_free(&g);
}

/* What the callback returns ends the parse, for good. */
LM_TEST(answer_stops)
{
	struct got g = { .last = -1, .stop_at = 1 };
	struct answer_out out = { take, &g };
	struct lm_err err = { 0 };
	struct answer *a;
	assert_ok(answer_new(&a, answer_named("hermes"), NULL, true, false, &err), err);
	assert_int_equal(answer_push(a, "abc", 3, &out, &err), 77);
	assert_int_equal(answer_push(a, "abc", 3, &out, &err), 77);
	assert_int_equal(answer_end(a, &out, &err), 77);
	answer_free(a);
	got_free(&g);
}

LM_TEST(answer_prompt)
{
	static const struct { const char *format, *prompt; bool thinks; } prompts[] = {
		{ "hermes", "<|im_start|>assistant\n<think>\n", true }, { "hermes", "<|im_start|>assistant\n<think>", true },
		{ "hermes", "<|im_start|>assistant\n<think>\n\n</think>\n\n", false }, { "hermes", "what is <think>?<|im_start|>assistant\n", false },
		{ "hermes", "", false }, { "apriel", "<|begin_assistant|>\nHere are my reasoning steps:\n", true },
		{ "command-r7b", "<|CHATBOT_TOKEN|><|START_THINKING|>", true }, { "harmony", "<|start|>assistant", false },
		{ "kimi-k3", "<|open|>think<|sep|>", true }, { "seed", "<think>", false },
	};
	for (size_t i = 0; i < sizeof prompts / sizeof prompts[0]; i++)
		assert_int_equal(answer_prompt_thinks(answer_named(prompts[i].format), prompts[i].prompt, strlen(prompts[i].prompt)),
		                 prompts[i].thinks);
}

LM_TEST(answer_tables)
{
	const char *name;
	int n = 0;
	for (const struct answer_format *f; (f = answer_at(n, &name)); n++) assert_non_null(answer_named(name));
	assert_true(n >= 34);
	assert_null(answer_at(-1, NULL));
	assert_null(answer_named("nonesuch"));
	assert_string_equal(answer_name(answer_detect("", 0)), "generic");
	assert_string_equal(answer_name(answer_detect("x<tool_call>", 12)), "hermes");
}

/* Invalid UTF-8 and NUL survive the way into JSON. */
LM_TEST(answer_bytes)
{
	struct lm_err err = { 0 };
	json_t *m = answer_message(answer_named("hermes"), NULL, false, "a\xff\0b\xe2\x82", 6, &err);
	assert_non_null(m);
	const json_t *c = json_object_get(m, "content");
	assert_int_equal(json_string_length(c), 9);
	assert_memory_equal(json_string_value(c), "a\xef\xbf\xbd\0b\xef\xbf\xbd", 9);
	json_decref(m);
	m = answer_message(answer_named("hermes"), NULL, false, "", 0, &err);
	assert_true(json_is_null(json_object_get(m, "content")));
	assert_null(json_object_get(m, "tool_calls"));
	json_decref(m);
}

/* A value within each way of writing: taken, or the whole call is text. */
LM_TEST(answer_literals)
{
	static const struct { const char *value, *json; } python[] = {
		{ "0.5", "0.5" }, { "-0", "-0" }, { "9e9", "9e9" }, { "1E-5", "1E-5" }, { "+3", "3" }, { "''", "\"\"" }, { "()", "[]" },
		{ "[1, ]", "[1]" }, { "{'a': 1, \"b\": [2]}", "{\"a\":1,\"b\":[2]}" }, { "'\\ud83d\\ude00'", "\"😀\"" }, { "'a\\\nb'", "\"ab\"" },
		{ "'\\U0001F600\\x41\\t'", "\"😀A\\t\"" }, { "'\\ud83dx'", "\"\xef\xbf\xbdx\"" }, { "\"\"\"a\"b\"\"\"", "\"a\\\"b\"" }, { " None ", "null" },
		{ "true", "true" }, { "False", "false" },
		{ "", NULL }, { "'a' 1", NULL }, { "01", NULL }, { "1.", NULL }, { "-", NULL }, { "1e", NULL }, { ".5", NULL }, { "'a", NULL }, { "'\\x4'", NULL },
		{ "'\\", NULL }, { "[1 2]", NULL }, { "[1", NULL }, { "(1]", NULL }, { "{'a' 1}", NULL }, { "{1: 2}", NULL }, { "{'a': }", NULL }, { "truex", NULL },
		{ "Nonesuch", NULL }, { "f()", NULL },
	}, loose[] = {
		{ "1", "1" }, { "-2.5", "-2.5" }, { "true", "true" }, { "None", "null" }, { "word two", "\"word two\"" }, { "[]", "[]" }, { "{}", "{}" },
		{ "<|\"|><|\"|>", "\"\"" }, { "{<|\"|>a b<|\"|>:1,c:[x,{}]}", "{\"a b\":1,\"c\":[\"x\",{}]}" },
		{ "", NULL }, { "<|\"|>open", NULL }, { "[1", NULL }, { "{a}", NULL }, { "{:1}", NULL }, { "{a:1]", NULL }, { "[1}", NULL },
	}, nested[] = {
		{ "a", "\"a\"" }, { "", "\"\"" }, { "T<item>1T</item>T<item>trueT</item>", "[1,true]" }, { "T<a>xT</a>\nT<b>T<c>-1T</c>T</b>", "{\"a\":\"x\",\"b\":{\"c\":-1}}" },
		{ "T<a>1T</b>", NULL }, { "T<a>1", NULL }, { "T<item>1T</item>T<a>2T</a>", NULL }, { "T<item>1T</item>T<iten>2T</iten>", NULL }, { "T<>T</>", NULL }, { "T</a>", NULL }, { "T<a", NULL },
	};
	static const struct { const char *format, *before, *after, *tag; const void *list; size_t n; } kinds[] = {
		{ "lfm2", "<|tool_call_start|>[f(x=", ")]<|tool_call_end|>", NULL, python, sizeof python / sizeof python[0] },
		{ "gemma4", "<|tool_call>call:f{x:", "}<tool_call|>", NULL, loose, sizeof loose / sizeof loose[0] },
		{ "minimax-m3", "T<invoke name=\"f\">T<x>", "T</x>T</invoke>", "]<]minimax[>[", nested, sizeof nested / sizeof nested[0] },
	};
	json_t *tools = json_loads(some_tools, 0, NULL);
	for (size_t k = 0; k < 3; k++) {
		for (size_t i = 0; i < kinds[k].n; i++) {
			const char *value = ((const char *const *)kinds[k].list)[2 * i], *json = ((const char *const *)kinds[k].list)[2 * i + 1];
			const char *parts[] = { kinds[k].before, value, kinds[k].after };
			struct lm_buf text = { 0 }, call = { 0 };
			for (size_t p = 0; p < 3; p++)
				for (const char *c = parts[p]; *c; c++)
					if (*c == 'T' && kinds[k].tag) lm_buf_str(&text, kinds[k].tag);
					else lm_buf_char(&text, *c);
			lm_buf_fmt(&call, "|f|{\"x\":%s}", json ? json : "");
			struct hand h = { kinds[k].format, lm_buf_cstr(&text), json ? NULL : lm_buf_cstr(&text), NULL, json ? lm_buf_cstr(&call) : NULL, false };
			check_hand(&h, tools);
			lm_buf_free(&text);
			lm_buf_free(&call);
		}
	}
	json_decref(tools);
}

/* JSON as it comes: good arguments go through whole, bad ones up to where they are bad. */
LM_TEST(answer_json)
{
	static const struct hand hands[] = {
		{ "mistral", "[TOOL_CALLS]f[ARGS]{\"a\": 0.5e+3, \"b\": -0, \"c\": [], \"d\": {}, \"e\": [1E2, 9, \"\\u00e9\\\"\"]} x", "x", NULL,
		  "|f|{\"a\": 0.5e+3, \"b\": -0, \"c\": [], \"d\": {}, \"e\": [1E2, 9, \"\\u00e9\\\"\"]}", false },
		{ "mistral", "[TOOL_CALLS]f[ARGS]{\"a\": 01}", "1}", NULL, "|f|{\"a\": 0", false },
		{ "mistral", "[TOOL_CALLS]f[ARGS]{\"a\": -}", "}", NULL, "|f|{\"a\": -", false },
		{ "mistral", "[TOOL_CALLS]f[ARGS]{\"a\": 1.}", "}", NULL, "|f|{\"a\": 1.", false },
		{ "mistral", "[TOOL_CALLS]f[ARGS]{\"a\": 1e}", "}", NULL, "|f|{\"a\": 1e", false },
		{ "mistral", "[TOOL_CALLS]f[ARGS]{\"a\" 1}", "1}", NULL, "|f|{\"a\" ", false },
		{ "mistral", "[TOOL_CALLS]f[ARGS]{\"a\": [1}", "}", NULL, "|f|{\"a\": [1", false },
		{ "mistral", "[TOOL_CALLS]f[ARGS]{\"a\": \"\\q\"}", "q\"}", NULL, "|f|{\"a\": \"\\", false },
		{ "mistral", "[TOOL_CALLS]f[ARGS]{\"a\": \"\\u12g\"}", "g\"}", NULL, "|f|{\"a\": \"\\u12", false },
		{ "mistral", "[TOOL_CALLS]f[ARGS]{\"a\": 1,}", "}", NULL, "|f|{\"a\": 1,", false },
		{ "mistral", "[TOOL_CALLS]f[ARGS]{a: 1}", "a: 1}", NULL, "|f|{", false },
		{ "hermes", "<tool_call>{\"name\" \"f\"}</tool_call>", "<tool_call>{\"name\" \"f\"}</tool_call>", NULL, NULL, false },
		{ "hermes", "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>", "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>", NULL, NULL, false },
		{ "hermes", "<tool_call>{\"x\": [{}, \"}\"], \"name\": \"f\\u0021\", \"arguments\": {}}</tool_call>", NULL, NULL, "|f!|{}", false },
		{ "hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {}, \"name\": \"g\", \"arguments\": {\"a\": 1}}</tool_call>", NULL, NULL, "|f|{}", false },
		{ "hermes", "<tool_call>{\"function\": {\"function\": {\"function\": {\"function\": {\"function\": {\"name\": \"f\"}}}}}}</tool_call>",
		  "<tool_call>{\"function\": {\"function\": {\"function\": {\"function\": {\"function\": {\"name\": \"f\"}}}}}}</tool_call>", NULL, NULL, false },
	};
	check_hands(hands, sizeof hands / sizeof hands[0], true);
}

/* What is too deep is text, what is too long or too often an error; what is just long goes through. */
LM_TEST(answer_limits)
{
	struct lm_buf b = { 0 };
	struct got g = { .last = -1 };
	struct answer_out out = { take, &g };
	struct lm_err err = { 0 };
	json_t *tools = json_loads(some_tools, 0, NULL);
	struct answer *a;
	static const struct { const char *format, *before, *open, *close, *after; } deep[] = {
		{ "lfm2", "<|tool_call_start|>[f(x=", "[", "]", ")]<|tool_call_end|>" },
		{ "gemma4", "<|tool_call>call:f", "{x:", "}", "<tool_call|>" },
		{ "minimax-m3", "]<]minimax[>[<invoke name=\"f\">", "]<]minimax[>[<x>", "]<]minimax[>[</x>", "]<]minimax[>[</invoke>" },
	};
	for (int i = 0; i < 6; i++) {                           /* 64 levels */
		int depth = i % 2 ? 70 : 60, k = i / 2;
		lm_buf_str(&b, deep[k].before);
		for (int n = 0; n < depth; n++) lm_buf_str(&b, deep[k].open);
		if (k == 1) lm_buf_char(&b, '1');
		for (int n = 0; n < depth; n++) lm_buf_str(&b, deep[k].close);
		lm_buf_str(&b, deep[k].after);
		g = stream(answer_named(deep[k].format), tools, false, b.p, b.n, cut_all, NULL);
		assert_int_equal(g.last, depth < 64 ? 0 : -1);
		got_free(&g);
		b.n = 0;
	}
	g = (struct got){ .last = -1 };
	assert_ok(answer_new(&a, answer_named("hermes"), tools, true, false, &err), err);
	assert_int_equal(answer_push(a, "", ((size_t)64 << 20) + 1, &out, &err), LM_ELIMIT);
	assert_int_equal(answer_end(a, &out, &err), LM_ELIMIT);
	answer_free(a);
	assert_ok(answer_new(&a, answer_named("hermes"), tools, true, false, &err), err);
	int rc = 0;
	for (int i = 0; i < 4096 && !rc; i++) rc = answer_push(a, "<tool_call>{\"name\":\"f\"}</tool_call>", 35, &out, &err);
	assert_int_equal(rc, 0);
	assert_int_equal(answer_push(a, "<tool_call>{\"name\":\"f\"}</tool_call>", 35, &out, &err), LM_ELIMIT);
	answer_free(a);
	got_free(&g);
	for (int i = 0; i < 3000; i++) lm_buf_fmt(&b, "text %d\n<tool_call>{\"name\":\"f\",\"arguments\":{\"s\":\"%0100d\"}}</tool_call>\n", i, i);
	check_cuts(answer_named("hermes"), tools, false, b.p, b.n);
	lm_buf_free(&b);
	json_decref(tools);
}
