/* What a client sends, brought into the form that a template takes; tools for templates without; built-in templates. */
#include "test.h"
#include "tokenizer/chat.h"
#include "base/json.h"

static struct chat *compile(const char *tmpl)
{
	struct chat *c;
	struct lm_err err = { 0 };
	assert_ok(chat_compile(&c, tmpl, strlen(tmpl), &err), err);
	return c;
}

/* JSON with ' for " */
static json_t *parse(const char *text)
{
	struct lm_buf b = { 0 };
	struct lm_err err = { 0 };
	lm_buf_str(&b, text);
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i] == '\'') b.p[i] = '"';
	json_t *j = lm_json_parse(lm_buf_cstr(&b), b.n, &err);
	if (!j) fail_msg("%s: %s", text, err.msg);
	lm_buf_free(&b);
	return j;
}

static void expect_json(const json_t *got, const char *want)
{
	json_t *w = parse(want);
	char *a = json_dumps(got, JSON_ENCODE_ANY), *b = json_dumps(w, JSON_ENCODE_ANY);
	assert_string_equal(a, b);                      /* the order of keys too */
	free(a);
	free(b);
	json_decref(w);
}

static void normalised(const char *tmpl, const char *messages, const char *want)
{
	struct chat *c = compile(tmpl);
	struct lm_err err = { 0 };
	json_t *vars = json_object();
	json_object_set_new(vars, "messages", parse(messages));
	assert_ok(chat_normalise(c, vars, &err), err);
	expect_json(json_object_get(vars, "messages"), want);
	json_decref(vars);
	chat_free(c);
}

static void rendered(const char *tmpl, const json_t *vars, const char *want)
{
	struct chat *c = compile(tmpl);
	struct lm_buf out = { 0 };
	struct lm_err err = { 0 };
	assert_ok(chat_render(c, vars, &out, &err), err);
	assert_string_equal(lm_buf_cstr(&out), want);
	lm_buf_free(&out);
	chat_free(c);
}

LM_TEST(chat_uses_variables)
{
	static const struct { const char *tmpl; bool tools; } k[] = {
		{ "{% for t in tools %}{% endfor %}", true }, { "{% if tools is defined %}{% endif %}", true },
		{ "{% macro m() %}{{ tools|length }}{% endmacro %}", true }, { "{% set x = tools %}", true },
		{ "{% set tools = none %}x", false }, { "{{ m.tools }}{{ m['tools'] }}", false },
		{ "{# tools #}tools{{ 'tools' }}", false }, { "{% for tools in [1] %}{% endfor %}", false }, { "", false },
	};
	for (size_t i = 0; i < sizeof k / sizeof k[0]; i++) {
		struct chat *c = compile(k[i].tmpl);
		if (chat_uses(c, "tools") != k[i].tools) fail_msg("%s", k[i].tmpl);
		assert_false(chat_uses(c, "documents"));
		chat_free(c);
	}
}

#define EACH(body) "{% for m in messages %}" body "{% endfor %}"
#define CALLS(body) EACH("{{ m.content }}{% for c in m.tool_calls or [] %}" body "{% endfor %}")

LM_TEST(chat_normalise_arguments)
{
	const char *text = "[{'role':'assistant','content':'','tool_calls':[{'function':{'name':'f','arguments':'{}'}},"
			   "{'function':{'name':'g','arguments':''}},{'name':'h','arguments':'{\\u0022a\\u0022:[1,2.50]}'},"
			   "{'function':{'name':'k','arguments':'no JSON'}},{'function':{'name':'l','arguments':'[1]'}}]}]";
	const char *object = "[{'role':'assistant','content':'','tool_calls':[{'function':{'name':'f','arguments':{}}},"
			     "{'function':{'name':'g','arguments':{}}},{'name':'h','arguments':{'a':[1,2.5]}},"
			     "{'function':{'name':'k','arguments':'no JSON'}},{'function':{'name':'l','arguments':'[1]'}}]}]";
	/* takes objects; takes both: objects; puts text in as it is: text */
	normalised(CALLS("{{ c.function.arguments|tojson }}"), text, object);
	normalised(CALLS("{{ c.function.arguments if c.function.arguments is string else c.function.arguments|tojson }}"),
		   text, object);
	normalised(CALLS("{% for k, v in c.function.arguments|items %}{{ k }}={{ v }}{% endfor %}"), text, object);
	normalised(CALLS("{{ 'x' + c.function.arguments }}"), text, text);
	normalised(CALLS("{{ c.function.arguments }}"), text, text);
	normalised(CALLS("{{ 'x' + c.function.arguments }}"),
		   "[{'role':'assistant','content':'','tool_calls':[{'function':{'arguments':{'a':[0.1,null,'é'],'b':{}}}}]}]",
		   "[{'role':'assistant','content':'','tool_calls':[{'function':{'arguments':"
		   "'{\\u0022a\\u0022: [0.1, null, \\u0022é\\u0022], \\u0022b\\u0022: {}}'}}]}]");
	/* no calls at all in the template: objects */
	normalised(EACH("{{ m.content }}"), text, object);
}

LM_TEST(chat_normalise_content)
{
	static const char list[] = "[{'role':'user','content':[{'type':'text','text':'a'},{'type':'text','text':'b'}]}]";
	static const char plain[] = "[{'role':'user','content':'a\\nb'}]";
	const char *both = EACH("{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text }}"
				"{% endfor %}{% endif %}");
	const char *parts = EACH("{% for p in m.content %}{{ p['text'] }}{% endfor %}");
	normalised(EACH("{{ m.content }}"), list, plain);
	normalised(EACH("{{ m.content|trim }}"), list, plain);
	normalised(EACH("{{ 'x' + m.content }}"), list, plain);
	normalised(both, list, list);
	normalised(both, plain, plain);
	normalised(parts, list, list);
	normalised(parts, plain, "[{'role':'user','content':[{'type':'text','text':'a\\nb'}]}]");
	/* parts for the user only */
	const char *user = EACH("{{ m.content[0].text if m.role == 'user' and m.content is not string else m.content }}");
	const char *roles = "[{'role':'developer','content':[{'type':'text','text':'s'}]},{'role':'user','content':"
			    "[{'type':'text','text':'u'}]},{'role':'assistant','content':[{'type':'text','text':'x'}]},"
			    "{'role':'tool','content':[{'type':'text','text':'r'}]}]";
	normalised(user, roles, "[{'role':'developer','content':'s'},{'role':'user','content':[{'type':'text','text':'u'}]},"
				"{'role':'assistant','content':'x'},{'role':'tool','content':'r'}]");
	/* an image cannot become text; what is no message stays */
	const char *odd = "[{'role':'user','content':[{'type':'image'},{'type':'text','text':'b'}]},5,{'role':'x','content':7},"
			  "{'content':'c'}]";
	normalised(EACH("{{ m.content }}"), odd, odd);
	normalised("no messages here", list, plain);
	normalised(EACH("{{ m.content }}"), "'text'", "'text'");
	normalised("{{ raise_exception('never') }}{{ messages }}", list, plain);
}

LM_TEST(chat_normalise_null)
{
#define CALL(content) \
	"[{'role':'user','content':null},{'role':'assistant','content':" content \
	",'tool_calls':[{'function':{'name':'f','arguments':{}}}]}]"
	static const char list[] = CALL("null"), list_empty[] = CALL("''");
	normalised(CALLS("{{ c.function.arguments|tojson }}"), list, list_empty);          /* prints None */
	normalised(EACH("{{ 'x' + m.content }}{{ m.tool_calls|tojson if m.tool_calls }}"), list, list_empty);
	normalised(EACH("{{ m.content if m.content }}{{ m.tool_calls|tojson if m.tool_calls }}"), list, list);
	/* the calls only where the content is none: DeepSeek R1 */
	const char *none = EACH("{% if m.content is none %}{{ m.tool_calls|tojson }}{% else %}{{ m.content }}{% endif %}");
	normalised(none, list_empty, list);
	normalised(none, "[{'role':'assistant','content':''}]", "[{'role':'assistant','content':''}]");
}

/* As transformers does it (_alias_reasoning_fields), the order of the keys included. */
LM_TEST(chat_normalise_reasoning)
{
	const char *t = EACH("{{ m.content }}");
	normalised(t, "[{'role':'assistant','content':'c','reasoning_content':'r'}]",
		   "[{'thinking':'r','role':'assistant','content':'c','reasoning_content':'r'}]");
	normalised(t, "[{'role':'assistant','thinking':'r','content':'c'}]",
		   "[{'thinking':'r','role':'assistant','content':'c','reasoning_content':'r'}]");
	normalised(t, "[{'role':'assistant','reasoning':'','content':'c'}]",
		   "[{'thinking':'','role':'assistant','reasoning':'','content':'c','reasoning_content':''}]");
	normalised(t, "[{'reasoning':'3','thinking':'2','reasoning_content':'1'}]",
		   "[{'thinking':'2','reasoning':'3','reasoning_content':'1'}]");
	normalised(t, "[{'thinking':null,'reasoning':'3'}]", "[{'thinking':null,'reasoning':'3','reasoning_content':'3'}]");
	normalised(t, "[{'role':'user','content':'c','reasoning':null}]", "[{'role':'user','content':'c','reasoning':null}]");
}

static json_t *with_tools(const char *vars)
{
	struct lm_err err = { 0 };
	json_t *v = parse(vars), *before = json_deep_copy(v), *out = chat_with_tools(v, &err);
	if (!out) fail_msg("%s", err.msg);
	assert_true(json_equal(v, before));             /* a copy */
	json_decref(v);
	json_decref(before);
	return out;
}

#define TOOLS "'tools':[{'type':'function','function':{'name':'f','parameters':{'n':1.50}}},{'name':'g'}]"
#define PROMPT                                                                                                           \
	"# Functions\n\nYou may call functions to help with the request. These are the functions, each as a JSON object:\n" \
	"{\"name\": \"f\", \"parameters\": {\"n\": 1.5}}\n{\"name\": \"g\"}\n\n"                                         \
	"To call one, answer with its name and its arguments as JSON between tags, one pair of tags for each call:\n"       \
	"<tool_call>\n{\"name\": \"the function's name\", \"arguments\": {\"the parameter's name\": \"its value\"}}\n"    \
	"</tool_call>\nThe results will follow between <tool_response> tags. When no function is needed, answer in plain " \
	"text."

LM_TEST(chat_tools_for_templates_without)
{
	json_t *v = with_tools("{" TOOLS ",'add_generation_prompt':true,'messages':[{'role':'user','content':'Hi'}]}");
	assert_null(json_object_get(v, "tools"));
	rendered(chat_builtin("chatml"), v, "<|im_start|>system\n" PROMPT "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
					    "<|im_start|>assistant\n");
	json_decref(v);
	/* behind a system message of its own, in parts; calls and results in the history; roles alternate */
	v = with_tools("{" TOOLS ",'bos_token':'<bos>','messages':[{'role':'developer','content':[{'type':'text','text':'Be kind.'}]},"
		       "{'role':'user','content':'Hi'},{'role':'assistant','content':null,'tool_calls':[{'id':'1','function':"
		       "{'name':'f','arguments':{'a':'é'}}},{'function':{'name':'g','arguments':'{\\u0022b\\u0022: 1}'}}]},"
		       "{'role':'tool','tool_call_id':'1','content':'one'},{'role':'tool','name':'g','content':{'two':2}},"
		       "{'role':'user','content':'Well?'},{'role':'assistant','content':'Ok','tool_calls':[{'name':'g'}]}]}");
	json_object_set_new(json_array_get(json_object_get(v, "messages"), 0), "role", json_string("system"));
	rendered(chat_builtin("gemma"), v,
		 "<bos><start_of_turn>user\nBe kind.\n\n" PROMPT "\n\nHi<end_of_turn>\n<start_of_turn>model\n"
		 "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"é\"}}\n</tool_call>\n"
		 "<tool_call>\n{\"name\": \"g\", \"arguments\": {\"b\": 1}}\n</tool_call><end_of_turn>\n<start_of_turn>user\n"
		 "<tool_response>\none\n</tool_response>\n<tool_response>\n{\"two\": 2}\n</tool_response>\n\nWell?<end_of_turn>\n"
		 "<start_of_turn>model\nOk\n<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call><end_of_turn>\n");
	json_decref(v);
	/* nothing to do */
	v = with_tools("{'tools':[],'messages':[{'role':'user','content':'Hi'}]}");
	expect_json(v, "{'tools':[],'messages':[{'role':'user','content':'Hi'}]}");
	json_decref(v);
	v = with_tools("{'messages':'text'," TOOLS "}");
	assert_non_null(json_object_get(v, "tools"));
	json_decref(v);
}

static bool one_of(void *ud, const char *token)
{
	for (const char *const *t = ud; *t; t++)
		if (strcmp(*t, token) == 0) return true;
	return false;
}

LM_TEST(chat_builtin_for_vocabulary)
{
	static const struct { const char *name, *token[6]; } k[] = {
		{ "chatml", { "<|im_start|>", "<|im_end|>", "<|endoftext|>" } }, { "gemma", { "<start_of_turn>", "<end_of_turn>" } },
		{ "llama3", { "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>" } },
		{ "granite", { "<|start_of_role|>", "<|end_of_role|>" } }, { "mistral", { "[INST]", "[/INST]" } },
		{ "command-r", { "<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>" } },
		{ "phi3", { "<|user|>", "<|assistant|>", "<|end|>" } }, { "zephyr", { "<|user|>", "<|assistant|>" } },
		{ "deepseek", { "<｜User｜>", "<｜Assistant｜>" } }, { NULL, { "<s>", "</s>" } }, { NULL, { "<|im_start|>" } },
		{ NULL, { "[INST]" } }, { NULL, { "<|endoftext|>" } },
	};
	for (size_t i = 0; i < sizeof k / sizeof k[0]; i++) {
		const char *got = chat_builtin_for(one_of, (void *)(uintptr_t)k[i].token);
		if (k[i].name) assert_string_equal(got, k[i].name);
		else assert_null(got);
		if (got) assert_non_null(chat_builtin(got));
	}
}

/* What cannot be rendered fails when the template is read, by its name and place. */
LM_TEST(chat_unknown_constructs)
{
	static const struct { const char *tmpl, *says; } k[] = {
		{ "a\n {{ s|nofilter }}", "chat template, line 2 column 7: no filter named 'nofilter'" },
		{ "{{ x is notest }}", "column 9: no test named 'notest'" }, { "{{ x is not notest(1) }}", "no test named 'notest'" },
		{ "{% for a in b if a is notest %}{% endfor %}", "no test named 'notest'" },
		{ "{% set x = y|nofilter %}", "no filter named 'nofilter'" }, { "{% filter nofilter %}{% endfilter %}", "'nofilter'" },
		{ "{% macro m() %}{{ x|nofilter }}{% endmacro %}", "no filter named 'nofilter'" },
		{ "{% if 1 %}{% for a in b %}{{ a|nofilter }}{% endfor %}{% endif %}", "no filter named 'nofilter'" },
		{ "{{ x|from_json }}", "no filter named 'from_json'" }, { "{% include 'x' %}", "unknown tag 'include'" },
		{ "{% import 'x' as y %}", "unknown tag 'import'" }, { "{% from 'x' import y %}", "unknown tag 'from'" },
		{ "{% extends 'x' %}", "unknown tag 'extends'" }, { "{% block x %}{% endblock %}", "unknown tag 'block'" },
		{ "{% do x %}", "unknown tag 'do'" }, { "{% trans %}{% endtrans %}", "unknown tag 'trans'" },
		{ "{% debug %}", "unknown tag 'debug'" }, { "{% autoescape true %}{% endautoescape %}", "unknown tag 'autoescape'" },
		{ "{% if x %}\n\n{% elsif y %}{% endif %}", "line 3 column 4: unknown tag 'elsif'" },
		{ "{{ a ? b : c }}", "unexpected character '?'" }, { "{{ a && b }}", "unexpected character '&'" },
	};
	for (size_t i = 0; i < sizeof k / sizeof k[0]; i++) {
		struct chat *c;
		struct lm_err err = { 0 };
		int rc = chat_compile(&c, k[i].tmpl, strlen(k[i].tmpl), &err);
		if (rc != LM_EFORMAT || !strstr(err.msg, k[i].says)) fail_msg("%s: %d %s", k[i].tmpl, rc, err.msg);
		assert_null(c);
	}
	/* a branch not taken is no harm, as in jinja2; one taken names it */
	struct chat *c = compile("{% if x %}{{ '1'|from_json }}{% endif %}y");
	struct lm_buf out = { 0 };
	struct lm_err err = { 0 };
	json_t *vars = parse("{'x':true}");
	assert_ok(chat_render(c, NULL, &out, &err), err);
	assert_string_equal(lm_buf_cstr(&out), "y");
	assert_int_equal(chat_render(c, vars, &out, &err), LM_EINVAL);
	assert_string_equal(err.msg, "chat template, line 1 column 18: no filter named 'from_json'");
	json_decref(vars);
	lm_buf_free(&out);
	chat_free(c);
}
