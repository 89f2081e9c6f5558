/* Any bytes as a chat template: a text, or one sentence.  A NUL splits the template from JSON variables; without
 * one a small conversation is used. */
#include "base/json.h"
#include "tokenizer/chat.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char usual[] =
	"{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"h\xc3\xa9 \\u2028\"},"
	"{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}],\"n\":1.5,\"reasoning\":\"r\"},"
	"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]},"
	"{\"role\":\"tool\",\"content\":{\"r\":2}},{\"role\":\"user\",\"content\":\"so?\"}],\"tools\":[{\"a\":[1,null,true]}],"
	"\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"now\":1753871400,\"xs\":[3,1,2],"
	"\"d\":{\"b\":1,\"a\":\"it's\"},\"s\":\" a,b \"}";

static void expect_that(bool ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "fuzz_jinja: %s\n", what);
	abort();
}

/* The same variables as they are for this template, and for one without tools. */
static void other_ways(const struct chat *c, json_t *vars)
{
	struct lm_err err = { 0 };
	struct lm_buf out = { 0 };
	json_t *tools = chat_with_tools(vars, &err);
	expect_that(tools || err.msg[0], "an error without a sentence");
	expect_that(!tools || chat_normalise(c, tools, &err) == 0, "variables that cannot be normalised");
	expect_that(chat_normalise(c, vars, &err) == 0, "variables that cannot be normalised");
	if (tools) chat_render(c, tools, &out, &err);
	lm_buf_free(&out);
	json_decref(tools);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
	size_t n = nul ? (size_t)(nul - data) : size;
	struct lm_err err = { 0 };
	struct lm_buf out = { 0 };
	struct chat *c;
	json_t *vars = nul ? lm_json_parse(text + n + 1, size - n - 1, NULL) : NULL;
	if (!vars) vars = lm_json_parse(usual, sizeof usual - 1, NULL);
	expect_that(vars, "no variables");
	int rc = chat_compile(&c, text, n, &err);
	if (!rc) {
		rc = chat_render(c, vars, &out, &err);
		expect_that(rc || lm_utf8_valid(lm_buf_cstr(&out), out.n), "output that is not UTF-8");
		expect_that(out.n <= 16u << 20, "more text than promised");
		other_ways(c, vars);
	} else {
		expect_that(!c, "a template after an error");
	}
	expect_that(!rc || (rc == err.code && err.msg[0]), "an error without a sentence");
	chat_free(c);
	lm_buf_free(&out);
	json_decref(vars);
	return 0;
}
