/* answer_formats.c - the formats, as data.  One row per way of writing; the first whose words all stand in
 * the template applies, so the particular come before the general. */
#include "tokenizer/answer_impl.h"
#include <string.h>

/* clang-format off */
#define RULE(text, what, where) { .head = text, .act = what, .flags = where }
#define CALL(text, where, how, ...) { .head = text, .act = DO_CALL, .flags = where, .body = how, __VA_ARGS__ }
#define LIST(...) (const struct rule[]) { __VA_ARGS__, { .head = NULL } }
#define DROP(text) RULE(text, DO_DROP, IN_TEXT)
#define ANYWHERE (IN_TEXT | IN_THINK)

/* a reasoning block may begin where no text has been written yet; its end without a beginning is dropped there */
#define THINKING(open, close) \
	RULE(open, DO_THINK, IN_TEXT | AT_START | REASON), RULE(open, DO_DROP, IN_THINK | AT_START | REASON), \
	RULE(close, DO_ANSWER, IN_THINK | REASON), RULE(close, DO_DROP, IN_TEXT | AT_START | REASON)
/* the same between special tokens, which no text holds by chance */
#define THINKING_ANYWHERE(open, close) \
	RULE(open, DO_THINK, ANYWHERE | REASON), RULE(close, DO_ANSWER, IN_THINK | REASON), \
	RULE(close, DO_DROP, IN_TEXT | AT_START | REASON)
#define THINK THINKING("<think>", "</think>")
/* gpt-oss: a message of its own on each channel */
#define CHANNEL(text, what, where) \
	RULE("<|start|>assistant<|channel|>" text, what, where), RULE("<|channel|>" text, what, where)

#define OBJECTS(text, after) CALL(text, IN_TEXT, BODY_OBJECTS, .close = after)
#define LISTED(text, after) OBJECTS(text "%_%b[", after), OBJECTS(text "%_%b{", after)
#define ARGS(text, after) CALL(text, IN_TEXT, BODY_ARGS, .close = after)
/* a call ends reasoning that was left open */
#define TAGS_ANYWHERE(text, before, after, last, more, ...) \
	CALL(text, ANYWHERE | more, BODY_TAGGED, .arg = before, .arg_end = after, .close = last, __VA_ARGS__)
#define TAGS(text, before, after, last, ...) \
	CALL(text, IN_TEXT, BODY_TAGGED, .arg = before, .arg_end = after, .close = last, __VA_ARGS__)
#define PYTHON(text, where, after) CALL(text, where, BODY_PYTHON, .close = after)
/* JSON where nothing but its look says that it is a call */
#define BARE(text, after) CALL(text, IN_TEXT | AT_START | KNOWN, BODY_OBJECTS, .close = after)
#define BARE_JSON \
	BARE("%b{%_\"", NULL), BARE("%b[%_{%_\"", NULL), BARE("```json%_%b{", "```"), BARE("```json%_%b[", "```")
#define LFM2 LIST( \
	PYTHON("<|tool_call_start|>%b%_[%_%n(", IN_TEXT, "<|tool_call_end|>"), \
	LISTED("<|tool_call_start|>", "<|tool_call_end|>"), THINK)

static const struct answer_format formats[] = {
	{ "harmony", { "<|channel|>", "<|message|>", "analysis" }, LIST(
		CHANNEL("analysis<|message|>", DO_THINK, ANYWHERE | REASON),
		CHANNEL("final<|message|>", DO_ANSWER, IN_THINK | REASON), CHANNEL("final<|message|>", DO_DROP, IN_TEXT),
		CHANNEL("commentary<|message|>", DO_ANSWER, IN_THINK | REASON),
		CHANNEL("commentary<|message|>", DO_DROP, IN_TEXT), CHANNEL("final %*<|message|>", DO_DROP, IN_TEXT),
		CALL("<|channel|>%*to=functions.%n%*<|message|>%_%b{", ANYWHERE, BODY_ARGS,
		     .begin = "<|start|>assistant", .close = "<|call|>"),
		CALL(" to=functions.%n<|channel|>%*<|message|>%_%b{", ANYWHERE, BODY_ARGS,
		     .begin = "<|start|>assistant", .close = "<|call|>"),
		RULE("<|end|>", DO_ANSWER, IN_THINK | REASON), DROP("<|end|>"), DROP("<|return|>"),
		DROP("<|start|>assistant"), DROP("<|channel|>commentary to=assistant")) },
	{ "glimmer", { "atem:function_calls>", "<|message|>" }, LIST(
		RULE(" to=self<|message|>", DO_THINK, IN_TEXT | REASON), RULE("<|eom|>", DO_ANSWER, IN_THINK | REASON),
		TAGS("<atem:invoke name=\"%n\">", "<atem:parameter name=\"%k\">", "</atem:parameter>", "</atem:invoke>",
		     .begin = " to=%n<|message|>%_<atem:function_calls>", .end = "</atem:function_calls>"),
		DROP(" to=user<|message|>"), DROP("<|start|>assistant"), DROP("<|eom|>"), DROP("<|eot|>")) },
	{ "kimi-k3", { "<|open|>", "<|sep|>", "<|close|>" }, LIST(
		THINKING_ANYWHERE("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
		CALL("<|open|>call tool=\"%n\"%*<|sep|>%_<|open|>json%*<|sep|>%_%b{", IN_TEXT, BODY_ARGS,
		     .begin = "<|open|>tools<|sep|>", .close = "<|close|>json<|sep|>%_<|close|>call<|sep|>",
		     .end = "<|close|>tools<|sep|>"),
		TAGS("<|open|>call tool=\"%n\"%*<|sep|>", "<|open|>argument key=\"%k\" type=\"%t\"<|sep|>",
		     "<|close|>argument<|sep|>", "<|close|>call<|sep|>",
		     .begin = "<|open|>tools<|sep|>", .end = "<|close|>tools<|sep|>"),
		DROP("<|open|>response<|sep|>"), DROP("<|close|>response<|sep|>"), DROP("<|close|>message<|sep|>")) },
	/* Kimi K2 may call from within its reasoning */
	{ "kimi-k2", { "<|tool_calls_section_begin|>" }, LIST(
		CALL("<|tool_call_begin|>%f<|tool_call_argument_begin|>%_%b{", ANYWHERE, BODY_ARGS,
		     .begin = "<|tool_calls_section_begin|>", .close = "<|tool_call_end|>", .end = "<|tool_calls_section_end|>"),
		THINK) },
	{ "minimax-m3", { "]<]minimax[>[" }, LIST(
		THINKING("<mm:think>", "</mm:think>"),
		CALL("]<]minimax[>[<invoke name=\"%n\">", IN_TEXT, BODY_NESTED, .arg = "]<]minimax[>[",
		     .begin = "]<]minimax[>[<tool_call>", .close = "]<]minimax[>[</invoke>", .end = "]<]minimax[>[</tool_call>")) },
	{ "minimax-m2", { "<minimax:tool_call>" }, LIST(
		TAGS("<invoke name=\"%n\">", "<parameter name=\"%k\">", "</parameter>", "</invoke>",
		     .begin = "<minimax:tool_call>", .end = "</minimax:tool_call>"),
		THINK) },
	/* DeepSeek V3.2 and on */
	{ "dsml", { "｜DSML｜" }, LIST(
		TAGS_ANYWHERE("<｜DSML｜invoke name=\"%n\">", "<｜DSML｜parameter name=\"%k\" string=\"%t\">",
		     "</｜DSML｜parameter>", "</｜DSML｜invoke>", 0, .begin = "<｜DSML｜%*>", .end = "</｜DSML｜%*>"),
		THINK) },
	/* DeepSeek R1, and V3.1 with less around the arguments */
	{ "deepseek", { "<｜tool▁calls▁begin｜>" }, LIST(
		CALL("<｜tool▁call▁begin｜>function<｜tool▁sep｜>%n%_```json%_%b{", IN_TEXT, BODY_ARGS,
		     .begin = "<｜tool▁calls▁begin｜>", .close = "```%_<｜tool▁call▁end｜>", .end = "<｜tool▁calls▁end｜>"),
		CALL("<｜tool▁call▁begin｜>%n<｜tool▁sep｜>%_%b{", IN_TEXT, BODY_ARGS,
		     .begin = "<｜tool▁calls▁begin｜>", .close = "<｜tool▁call▁end｜>", .end = "<｜tool▁calls▁end｜>"),
		THINK) },
	{ "seed", { "<seed:tool_call>" }, LIST(
		TAGS("<function=%n>", "<parameter=%k>", "</parameter>", "</function>",
		     .begin = "<seed:tool_call>", .end = "</seed:tool_call>"),
		THINKING("<seed:think>", "</seed:think>")) },
	{ "hunyuan3", { ":opensource", "<tool_sep" }, LIST(
		TAGS("<tool_call:opensource>%n%_<tool_sep:opensource>",
		     "<arg_key:opensource>%k</arg_key:opensource>%_<arg_value:opensource>", "</arg_value:opensource>",
		     "</tool_call:opensource>", .begin = "<tool_calls:opensource>", .end = "</tool_calls:opensource>"),
		THINKING("<think:opensource>", "</think:opensource>")) },
	{ "glm", { "<arg_key>", "<tool_call>" }, LIST(
		CALL("<tool_call>%n%b%_<", IN_TEXT, BODY_TAGGED, .arg = "<arg_key>%k</arg_key>%_<arg_value>",
		     .arg_end = "</arg_value>", .close = "</tool_call>"),
		OBJECTS("<tool_call>%_%b{", "</tool_call>"), THINK) },
	/* Qwen3-Coder, Qwen3.5, Nemotron 3, Step 3.5 */
	{ "qwen3-coder", { "<function=", "<parameter=" }, LIST(
		TAGS_ANYWHERE("<function=%n>", "<parameter=%k>", "</parameter>", "</function>", STRIP,
		     .begin = "<tool_call>", .end = "</tool_call>"),
		OBJECTS("<tool_call>%_%b{", "</tool_call>"), THINK) },
	{ "minicpm5", { "<function name=\"", "<param name=\"" }, LIST(
		CALL("<function name=\"%n\">", IN_TEXT | CDATA, BODY_TAGGED, .arg = "<param name=\"%k\">",
		     .arg_end = "</param>", .close = "</function>"),
		THINK) },
	{ "functionary-v3.1", { "<function=" }, LIST(ARGS("<function=%n>%_%b{", "</function>"), THINK) },
	{ "functionary-v3.2", { ">>>all" }, LIST(
		RULE("all\n", DO_DROP, IN_TEXT | AT_START), DROP(">>>all\n"),
		CALL("%n\n%_%b{", IN_TEXT | AT_START | KNOWN, BODY_ARGS, .close = NULL),
		CALL(">>>%n\n%_%b{", IN_TEXT | KNOWN, BODY_ARGS, .close = NULL), THINK) },
	{ "mistral", { "[TOOL_CALLS]" }, LIST(
		OBJECTS("[TOOL_CALLS]%_%b[", NULL), ARGS("[TOOL_CALLS]%n[CALL_ID]%i[ARGS]%_%b{", NULL),
		ARGS("[TOOL_CALLS]%n[ARGS]%_%b{", NULL), ARGS("[TOOL_CALLS]%n%_%b{", NULL),
		THINKING_ANYWHERE("[THINK]", "[/THINK]"), THINK) },
	{ "command-r7b", { "<|START_ACTION|>" }, LIST(
		LISTED("<|START_ACTION|>", "<|END_ACTION|>"), THINKING_ANYWHERE("<|START_THINKING|>", "<|END_THINKING|>"),
		DROP("<|START_RESPONSE|>"), DROP("<|END_RESPONSE|>"), DROP("<|START_TEXT|>"), DROP("<|END_TEXT|>")) },
	{ "command-r", { "Action:", "directly-answer" }, LIST(
		CALL("Action:%_```json%_%b[", IN_TEXT | KNOWN, BODY_OBJECTS, .close = "```"), THINK) },
	{ "apertus", { "<|tools_prefix|>" }, LIST(
		CALL("<|tools_prefix|>%_%b[", IN_TEXT, BODY_KEYED, .close = "<|tools_suffix|>"),
		THINKING_ANYWHERE("<|inner_prefix|>", "<|inner_suffix|>")) },
	{ "nemotron-v2", { "<TOOLCALL>" }, LIST(LISTED("<TOOLCALL>", "</TOOLCALL>"), THINK) },
	{ "gemma4", { "<|tool_call>" }, LIST(
		CALL("<|tool_call>call:%n%b{", IN_TEXT, BODY_LOOSE, .arg = "<|\"|>", .close = "<tool_call|>"),
		THINKING_ANYWHERE("<|channel>thought", "<channel|>"), DROP("<|tool_response>"),
		RULE("<|channel>%b<|channel>", DO_DROP, IN_TEXT | REASON), RULE("<channel|>", DO_DROP, IN_TEXT | REASON)) },
	{ "functiongemma", { "<start_function_call>" }, LIST(
		CALL("<start_function_call>call:%n%b{", IN_TEXT, BODY_LOOSE, .arg = "<escape>", .close = "<end_function_call>"),
		THINK, DROP("<start_function_response>")) },
	{ "solar", { "<|tool_call:begin|>" }, LIST(
		CALL("<|tool_call:begin|>%i<|tool_call:name|>%n<|tool_call:args|>%_%b{", IN_TEXT, BODY_ARGS,
		     .begin = "<|tool_calls|>", .close = "<|tool_call:end|>", .end = "<|calls|>"),
		RULE("<|think|>", DO_THINK, IN_TEXT | REASON), RULE("<|end|>", DO_ANSWER, IN_THINK | REASON),
		DROP("<|end|>"), DROP("<|begin|>assistant"), DROP("<|content|>")) },
	{ "gigachat3.1", { "<|function_call|>" }, LIST(OBJECTS("<|function_call|>%_%b{", NULL), THINK) },
	{ "gigachat3", { "<|message_sep|>", "function call" }, LIST(
		OBJECTS("<|message_sep|>%_function call<|role_sep|>%_%b{", "<|message_sep|>"), THINK) },
	{ "firefunction", { "functools[" }, LIST(OBJECTS("functools%_%b[", NULL), THINK) },
	/* most of its templates say only where the tools stand */
	{ "lfm2", { "<|tool_call_start|>" }, LFM2 },
	{ "lfm2", { "<|tool_response_start|>" }, LFM2 },
	{ "lfm2", { "List of tools: [", "keep_past_thinking" }, LFM2 },
	{ "phi4", { "<|tool|>", "<|/tool|>" }, LIST(
		LISTED("<|tool_call|>", "<|/tool_call|>"), OBJECTS("functools%_%b[", NULL), THINK) },
	/* Granite 3; 4 writes as Hermes does */
	{ "granite", { "<|tool_call|>" }, LIST(
		LISTED("<|tool_call|>", "<|/tool_call|>"), LISTED("<tool_call>", "</tool_call>"), THINK,
		RULE("<response>", DO_DROP, IN_TEXT | AT_START | FRAME), RULE("</response>", DO_DROP, IN_TEXT | FRAMED)) },
	{ "apriel", { "[BEGIN FINAL RESPONSE]" }, LIST(
		LISTED("<tool_calls>", "</tool_calls>"),
		THINKING("Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]"), DROP("[END FINAL RESPONSE]")) },
	{ "minimax-m1", { "<tool_calls>" }, LIST(LISTED("<tool_calls>", "</tool_calls>"), THINK) },
	{ "hermes", { "<tool_call>" }, LIST(LISTED("<tool_call>", "</tool_call>"), THINK) },
	{ "llama3", { "<|start_header_id|>", "\"parameters\": " }, LIST(
		PYTHON("<|python_tag|>%_%b%n(", IN_TEXT, NULL), OBJECTS("<|python_tag|>%_%b{", NULL),
		ARGS("<function=%n>%_%b{", "</function>"), BARE("%b{%_\"", NULL), THINK) },
	{ "gemma", { "<start_of_turn>" }, LIST(
		PYTHON("```tool_code%_%b%n(", IN_TEXT | KNOWN, "```"), PYTHON("```tool_code%_%b[%_%n(", IN_TEXT | KNOWN, "```"),
		BARE_JSON, THINK) },
	{ "generic", { NULL }, LIST(LISTED("<tool_call>", "</tool_call>"), BARE_JSON, THINK) },
};
/* clang-format on */
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

const struct answer_format *answer_detect(const char *tmpl, size_t len)
{
	for (int i = 0; i < N_FORMATS; i++) {
		bool all = true;
		for (int k = 0; k < 3 && formats[i].seen[k]; k++)
			all = all && memmem(tmpl, len, formats[i].seen[k], strlen(formats[i].seen[k]));
		if (all) return &formats[i];
	}
	return &formats[N_FORMATS - 1];
}

const struct answer_format *answer_at(int i, const char **name)
{
	if (i < 0 || i >= N_FORMATS) return NULL;
	if (name) *name = formats[i].name;
	return &formats[i];
}

const struct answer_format *answer_named(const char *name)
{
	for (int i = 0; i < N_FORMATS; i++)
		if (strcmp(formats[i].name, name) == 0) return &formats[i];
	return NULL;
}

static size_t trimmed(const char *s, size_t n)
{
	while (n && answer_space(s[n - 1])) n--;
	return n;
}

bool answer_prompt_thinks(const struct answer_format *f, const char *prompt, size_t len)
{
	size_t n = trimmed(prompt, len);
	for (const struct rule *r = f->rules; r->head; r++) {
		size_t k = trimmed(r->head, strlen(r->head));
		if (r->act == DO_THINK && k <= n && !strchr(r->head, '%') &&
		    memcmp(prompt + n - k, r->head, k) == 0)
			return true;
	}
	return false;
}

static bool holds(const char *pattern, const char *token, size_t n)
{
	return pattern && memmem(pattern, strlen(pattern), token, n);
}

bool answer_writes(const struct answer_format *f, const char *token, size_t n)
{
	for (const struct rule *r = f->rules; r->head; r++)
		if (holds(r->head, token, n) || holds(r->begin, token, n) || holds(r->end, token, n) ||
		    holds(r->close, token, n) || holds(r->arg, token, n) || holds(r->arg_end, token, n))
			return true;
	return false;
}
