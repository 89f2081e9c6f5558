#include "test.h"
#include "base/opt.h"
#include <stddef.h>

struct vals {
	int threads, serve;
	uint64_t seed;
	float temp;
	const char *prompt, *fa;
	struct opt_list stop;
	bool json, cnv, threads_given;
};
#define AT(f) .offset = offsetof(struct vals, f)
static const struct opt table[] = {
	{ .name = "--threads -t", .arg = "N", .type = OPT_INT, AT(threads), .min = 1, .max = 1024, .group = "Run",
	  .help = "threads", .given = offsetof(struct vals, threads_given) + 1 },
	{ .name = "--seed -s", .arg = "N", .type = OPT_U64, AT(seed), .min = -1, .group = "Run", .help = "seed" },
	{ .name = "--temp --temperature", .arg = "T", .type = OPT_FLOAT, AT(temp), .min = 0, .max = 100, .group = "Run", .help = "heat" },
	{ .name = "--prompt -p", .arg = "TEXT", .type = OPT_STR, AT(prompt), .group = "Text", .help = "prompt" },
	{ .name = "--stop", .arg = "S", .type = OPT_LIST, AT(stop), .group = "Text", .help = "stop" },
	{ .name = "--json", .type = OPT_FLAG, AT(json), .value = true, .group = "Text", .help = "as JSON", .no_env = true },
	{ .name = "--conversation -cnv", .type = OPT_FLAG, AT(cnv), .value = true, .group = "Text" },
	{ .name = "--no-conversation -no-cnv", .type = OPT_FLAG, AT(cnv), .value = false, .group = "Text" },
	{ .name = "--serve", .arg = "PORT", .type = OPT_INT, AT(serve), .optional = true, .missing = "8080", .min = 0, .max = 65535,
	  .group = "Text", .help = "serve" },
	{ .name = "--flash-attn -fa", .arg = "on|off|auto", .type = OPT_STR, AT(fa), .optional = true, .missing = "on",
	  .choices = "on off auto" },
};
enum { N_TABLE = sizeof table / sizeof *table };

/* Parses up to 9 words; the answer's list and rest are the caller's to free. */
#define PARSE(v, rest, e, ...) parse(v, rest, e, (char *[]){ "x", __VA_ARGS__, NULL })
static int parse(struct vals *v, struct opt_list *rest, struct lm_err *e, char **argv)
{
	int argc = 0;
	while (argv[argc]) argc++;
	memset(v, 0, sizeof *v);
	return opt_parse(v, table, N_TABLE, argc, argv, rest, e);
}

LM_TEST(opt_reads_every_type_and_spelling)
{
	struct vals v;
	struct opt_list rest = { 0 };
	struct lm_err e = { 0 };
	assert_ok(PARSE(&v, &rest, &e, "-t", "3", "word", "--seed=18446744073709551615", "--temperature", "0.25", "-p", "-x", "--json"), e);
	assert_int_equal(v.threads, 3);
	assert_true(v.threads_given && v.json && !v.cnv);
	assert_true(v.seed == UINT64_MAX);
	assert_true(v.temp == 0.25f);
	assert_string_equal(v.prompt, "-x");
	assert_int_equal(rest.n, 1);
	assert_string_equal(rest.v[0], "word");
	rest.n = 0;
	assert_ok(PARSE(&v, &rest, &e, "-cnv", "-no-cnv", "-", "--", "--json", "-t"), e);
	assert_true(!v.cnv && !v.json && !v.threads_given);
	assert_int_equal(rest.n, 3);
	opt_list_free(&rest);
	assert_ok(PARSE(&v, NULL, &e, "--stop", "a", "--stop=b=c", "--stop", ""), e);
	assert_int_equal(v.stop.n, 3);
	assert_string_equal(v.stop.v[1], "b=c");
	assert_string_equal(v.stop.v[2], "");
	opt_list_free(&v.stop);
	assert_ok(PARSE(&v, NULL, &e, "-s", "-1"), e);
	assert_true(v.seed == UINT64_MAX);
	assert_ok(PARSE(&v, NULL, &e, "--no_conversation"), e);
}

LM_TEST(opt_optional_values)
{
	struct vals v;
	struct opt_list rest = { 0 };
	struct lm_err e = { 0 };
	assert_ok(PARSE(&v, &rest, &e, "--serve", "-fa", "-t", "2"), e);
	assert_int_equal(v.serve, 8080);
	assert_string_equal(v.fa, "on");
	assert_ok(PARSE(&v, &rest, &e, "--serve", "99", "-fa", "off"), e);
	assert_int_equal(v.serve, 99);
	assert_string_equal(v.fa, "off");
	assert_ok(PARSE(&v, &rest, &e, "--serve", "model.gguf", "-fa", "x"), e);
	assert_int_equal(rest.n, 2);
	assert_int_equal(v.serve, 8080);
	assert_int_equal(PARSE(&v, &rest, &e, "--flash-attn=maybe"), LM_EINVAL);
	opt_list_free(&rest);
}

LM_TEST(opt_says_what_is_wrong)
{
	static const struct { const char *a, *b, *want; } bad[] = {
		{ "--thread", "3", "--threads" }, { "--promt", "x", "--prompt" }, { "-cvn", NULL, "-cnv" }, { "--tmep", "1", "--temp" },
		{ "-z", NULL, "unknown option -z" }, { "--zzzzzzzz", NULL, "unknown option --zzzzzzzz" }, { "-t", NULL, "-t needs a value: -t N" },
		{ "-t", "0", "from 1 to 1024, not '0'" }, { "-t", "1025", "1024" }, { "-t", "3x", "'3x'" }, { "-t", "", "''" },
		{ "-t", "99999999999999999999", "9999" }, { "-t", " 3", "' 3'" }, { "--temp", "nan", "a number" }, { "--temp", "1e99", "1e99" },
		{ "-s", "-2", "'-2'" }, { "-s", "18446744073709551616", "whole number" }, { "--json=perhaps", NULL, "on or off" },
		{ "stray", NULL, "unexpected word 'stray'" }, { "-t3", NULL, "unknown option -t3" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct vals v;
		struct lm_err e = { 0 };
		assert_int_equal(parse(&v, NULL, &e, (char *[]){ "x", (char *)bad[i].a, (char *)bad[i].b, NULL }), LM_EINVAL);
		if (!strstr(e.msg, bad[i].want)) fail_msg("%s %s: %s", bad[i].a, bad[i].b, e.msg);
	}
	char name[300];
	memset(name, '-', sizeof name);
	name[299] = 0;
	struct vals v;
	struct lm_err e = { 0 };
	assert_int_equal(PARSE(&v, NULL, &e, name), LM_EINVAL);
}

LM_TEST(opt_environment_is_below_flags)
{
	struct vals v;
	struct lm_err e = { 0 };
	setenv("LLAMA_ARG_THREADS", "5", 1);
	setenv("LMRUN_TEMPERATURE", "0.5", 1);
	setenv("LMRUN_NO_CONVERSATION", "0", 1);
	setenv("LMRUN_JSON", "1", 1);
	assert_ok(PARSE(&v, NULL, &e, "--serve"), e);
	assert_int_equal(v.threads, 5);
	assert_true(v.temp == 0.5f && v.cnv && !v.json);
	setenv("LMRUN_THREADS", "6", 1);
	assert_ok(PARSE(&v, NULL, &e, "--serve"), e);
	assert_int_equal(v.threads, 6);
	assert_ok(PARSE(&v, NULL, &e, "-t", "7"), e);
	assert_int_equal(v.threads, 7);
	setenv("LMRUN_THREADS", "many", 1);
	assert_int_equal(PARSE(&v, NULL, &e, "--serve"), LM_EINVAL);
	assert_non_null(strstr(e.msg, "LMRUN_THREADS"));
	setenv("LMRUN_THREADS", "", 1);
	assert_ok(PARSE(&v, NULL, &e, "--serve"), e);
	unsetenv("LLAMA_ARG_THREADS");
	unsetenv("LMRUN_THREADS");
	unsetenv("LMRUN_TEMPERATURE");
	unsetenv("LMRUN_NO_CONVERSATION");
	unsetenv("LMRUN_JSON");
}

LM_TEST(opt_help_shows_rows_by_group)
{
	struct lm_buf b = { 0 };
	opt_help(&b, table, N_TABLE);
	const char *s = lm_buf_cstr(&b);
	assert_non_null(strstr(s, "Run:\n  -t, --threads N "));
	assert_non_null(strstr(s, "\n\nText:\n"));
	assert_non_null(strstr(s, "--serve [PORT]"));
	assert_null(strstr(s, "-cnv"));
	lm_buf_free(&b);
}

LM_TEST(opt_nearest_wants_a_near_word)
{
	const char *verbs[] = { "run", "chat", "serve", "tokenize", "detokenize" };
	assert_string_equal(opt_nearest("tokenise", verbs, 5), "tokenize");
	assert_string_equal(opt_nearest("srever", verbs, 5), "serve");
	assert_null(opt_nearest("model.gguf", verbs, 5));
	assert_null(opt_nearest("x", verbs, 5));
}
