/* The option table of the program: every spelling, and what must hold between values. */
#include "test.h"
#include "cli/lora.c"
#include "cli/opts.c"

static int parse(struct cli *c, struct lm_err *e, const char *const *word)
{
	char *argv[32] = { "lmrun" }, text[32][512];
	int argc = 1;
	for (; word[argc - 1]; argc++) {
		snprintf(text[argc], sizeof text[argc], "%s", word[argc - 1]);
		argv[argc] = text[argc];
	}
	return cli_parse(c, argc, argv, e);
}
#define PARSE(c, e, ...) parse(c, e, (const char *const[]){ __VA_ARGS__, NULL })

/* A value that the row takes. */
static const char *sample(const struct opt *o)
{
	static char word[64];
	if (o->type == OPT_FLAG) return NULL;
	if (strcmp(o->name, "--logit-bias -l") == 0) return "5+1.5";
	if (strcmp(o->name, "--lora-scaled") == 0) {               /* taken apart in place */
		snprintf(word, sizeof word, "text:0.5");
		return word;
	}
	if (o->choices) {
		snprintf(word, sizeof word, "%.*s", (int)strcspn(o->choices, " "), o->choices);
		return word;
	}
	if (o->type == OPT_STR || o->type == OPT_LIST) return "text";
	return o->type == OPT_FLOAT ? "0.5" : "3";
}

static bool changed(const struct opt *o, const struct cli *c)
{
	const char *at = (const char *)c + o->offset;
	switch (o->type) {
	case OPT_FLAG: return *(const bool *)at == o->value;
	case OPT_INT: return *(const int *)at == 3;
	case OPT_U64: return *(const uint64_t *)at == 3;
	case OPT_FLOAT: return *(const float *)at == 0.5f;
	case OPT_STR: return *(const char *const *)at && strcmp(*(const char *const *)at, sample(o)) == 0;
	case OPT_LIST: return ((const struct opt_list *)at)->n == 1;
	}
	return false;
}

LM_TEST(cli_every_spelling_reaches_its_field)
{
	int n = 0;
	for (int i = 0; i < n_cli_table; i++) {
		const struct opt *o = &cli_table[i];
		char names[2048], *save = NULL;
		snprintf(names, sizeof names, "%s", o->name);
		for (char *w = strtok_r(names, " ", &save); w; w = strtok_r(NULL, " ", &save), n++) {
			struct cli c;
			struct lm_err e = { 0 };
			if (PARSE(&c, &e, w, sample(o))) fail_msg("%s: %s", w, e.msg);
			if (!changed(o, &c)) fail_msg("%s does not reach its field", w);
			assert_int_equal(c.words.n, 0);
			cli_free(&c);
		}
	}
	assert_true(n > 100);
}

LM_TEST(cli_no_spelling_is_in_two_rows)
{
	for (int i = 0; i < n_cli_table; i++) {
		char names[2048], *save = NULL;
		snprintf(names, sizeof names, "%s", cli_table[i].name);
		for (char *w = strtok_r(names, " ", &save); w; w = strtok_r(NULL, " ", &save))
			for (int k = 0; k < n_cli_table; k++) {
				char other[2048];
				snprintf(other, sizeof other, " %s ", cli_table[k].name);
				char want[80];
				snprintf(want, sizeof want, " %s ", w);
				if (k != i && strstr(other, want)) fail_msg("%s is in two rows", w);
			}
	}
}

LM_TEST(cli_help_lines_fit_and_have_groups)
{
	for (int i = 0; i < n_cli_table; i++) {
		const struct opt *o = &cli_table[i];
		if (!o->help) continue;
		assert_non_null(o->group);
		assert_true(strlen(o->help) <= 90);
		assert_true(o->type == OPT_FLAG || o->arg);
	}
}

LM_TEST(cli_llama_lines_work)
{
	struct cli c;
	struct lm_err e = { 0 };
	assert_ok(PARSE(&c, &e, "-m", "x.gguf", "-p", "hi", "-n", "64", "-t", "8", "-c", "4096", "-ngl", "99", "--temp", "0", "-fa", "on",
	                "--jinja", "-no-cnv", "--no-mmap", "-b", "64", "-s", "-1", "--mlock", "-fa", "--simple-io"), e);
	assert_string_equal(c.model, "x.gguf");
	assert_string_equal(c.gpu_layers, "99");
	assert_true(c.n_predict == 64 && c.n_threads == 8 && c.n_ctx == 4096 && c.n_batch == 64 && c.raw && c.no_mmap);
	assert_true(c.sampling.temperature == 0 && !c.seed_given);
	cli_free(&c);
	assert_ok(PARSE(&c, &e, "--max_new_tokens", "5", "--repetition_penalty=1.1", "--context-size", "9", "--gpu-layers", "-1"), e);
	assert_true(c.n_predict == 5 && c.sampling.repeat == 1.1f && c.n_ctx == 9);
	cli_free(&c);
	assert_ok(PARSE(&c, &e, "--device", "mps", "-s", "7", "--serve", "--cpu-only"), e);
	assert_true(c.serve && c.port == 8080 && c.seed_given && c.sampling.seed == 7);
	assert_string_equal(c.device, "cpu");
	cli_free(&c);
}

LM_TEST(cli_defaults_are_those_of_the_contract)
{
	struct cli c;
	cli_defaults(&c);
	assert_true(c.n_predict == -1 && c.n_ctx == 0 && c.port == 8080);
	assert_true(c.sampling.temperature == 0.8f && c.sampling.top_k == 40 && c.sampling.top_p == 0.95f && c.sampling.min_p == 0.05f);
	assert_true(c.sampling.repeat == 1 && c.sampling.repeat_last_n == 64 && c.sampling.typical_p == 1);
}

LM_TEST(cli_refuses_with_a_sentence)
{
	static const struct { const char *word[5], *want; } bad[] = {
		{ { "--tokens", "1", "-p", "x" }, "--tokens is the whole prompt" },
		{ { "-i", "--json" }, "--json" },
		{ { "--raw", "-sys", "x" }, "--system-prompt needs the chat template" },
		{ { "-ctk", "f16", "-ctv", "q8_0" }, "one type" },
		{ { "-ctk", "q4_0" }, "f16 f32 q8_0" },
		{ { "--stop", "" }, "--stop" },
		{ { "-l", "12" }, "ID+B" },
		{ { "-l", "x+1" }, "ID+B" },
		{ { "-l", "1+nan" }, "ID+B" },
		{ { "-l", "1++2" }, "ID+B" },
		{ { "--mirostat", "2" }, "unknown option --mirostat" },
		{ { "--grammar", "x" }, "unknown option --grammar" },
		{ { "-t", "x" }, "whole number" },
		{ { "--top-p", "1.5" }, "from 0 to 1" },
		{ { "--chat-template", "a", "--chat-template-file", "b" }, "exclude" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct cli c;
		struct lm_err e = { 0 };
		assert_int_equal(parse(&c, &e, bad[i].word), LM_EINVAL);
		if (!strstr(e.msg, bad[i].want)) fail_msg("%s: %s", bad[i].word[0], e.msg);
		cli_free(&c);
	}
}

LM_TEST(cli_logit_bias_and_escapes)
{
	struct cli c;
	struct lm_err e = { 0 };
	assert_ok(PARSE(&c, &e, "-l", "15+1.5", "--logit-bias=7-inf", "-e", "--stop", "a\\n", "--stop", "\\x41\\q\\"), e);
	assert_int_equal(c.sampling.n_bias, 2);
	assert_true(c.sampling.bias[0].id == 15 && c.sampling.bias[0].bias == 1.5f && c.sampling.bias[1].bias == -INFINITY);
	assert_string_equal(c.stop.v[0], "a\n");
	assert_string_equal(c.stop.v[1], "A\\q\\");
	cli_free(&c);
}

LM_TEST(cli_token_ids)
{
	struct lm_err e = { 0 };
	int32_t *ids;
	int n;
	assert_ok(cli_ids("1, 2 3\n[40]", &ids, &n, &e), e);
	assert_true(n == 4 && ids[0] == 1 && ids[2] == 3 && ids[3] == 40);
	lm_free(ids);
	const char *bad[] = { "1,-2", "1,x", "1.5", "99999999999", "2147483648", "0x10", "1;2" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(cli_ids(bad[i], &ids, &n, &e), LM_EINVAL);
	assert_ok(cli_json_ids("[1, 2]", 6, &ids, &n, &e), e);
	assert_int_equal(n, 2);
	lm_free(ids);
	const char *json[] = { "[1,\"2\"]", "[1.0]", "[-1]", "[[1]]", "3", "{}", "[true]" };
	for (size_t i = 0; i < sizeof json / sizeof *json; i++)
		assert_true(cli_json_ids(json[i], strlen(json[i]), &ids, &n, &e) < 0);
}
