/* convert.c - `lmrun convert`: a folder, or a GGUF, to a GGUF. */
#include "cli/cli.h"
#include "engine/convert.h"
#include <signal.h>
#include <string.h>

struct convert_cli { struct opt_list words, lora, lora_scaled; struct lm_lora *adapter; int n_adapter; const char *type; int n_threads; bool no_tokenizer, quiet, help; };

#define AT(f) .offset = offsetof(struct convert_cli, f)
static const char GROUP[] = "Options";
/* clang-format off */
static const struct opt table[] = {
	{ "--outtype", "TYPE", .type = OPT_STR, AT(type), .group = GROUP, .choices = "auto f32 f16 bf16 q8_0",
	  .help = "of the matrices: f32, f16, bf16, q8_0; auto (default): as they are", .no_env = true },
	{ "--lora", "PATH:S", .type = OPT_LIST, AT(lora), .group = GROUP, .help = "merge this adapter, at weight S (1); repeatable", .no_env = true },
	{ "--lora-scaled", "PATH:S", .type = OPT_LIST, AT(lora_scaled), .no_env = true },
	{ "--no-tokenizer", NULL, .type = OPT_FLAG, AT(no_tokenizer), .value = true, .group = GROUP,
	  .help = "weights only, for a tokenizer that a GGUF cannot express", .no_env = true },
	{ "--threads -t", "N", .type = OPT_INT, AT(n_threads), .min = -1, .max = 1024, .group = GROUP, .help = "default: the processors this process may use" },
	{ "--quiet -q", NULL, .type = OPT_FLAG, AT(quiet), .value = true, .group = GROUP, .help = "no remark when it is done" },
	{ "--help -h", NULL, .type = OPT_FLAG, AT(help), .value = true, .group = GROUP, .help = "this text", .no_env = true },
};
/* clang-format on */
enum { N_TABLE = sizeof table / sizeof *table };

static int help(void)
{
	struct lm_buf b = { 0 };
	lm_buf_str(&b, "usage: lmrun convert FOLDER|FILE.gguf OUT.gguf [options]\n");
	opt_help(&b, table, N_TABLE);
	int status = b.bad ? cli_say(CLI_MEMORY, "out of memory for a text") : cli_write(b.p, b.n);
	lm_buf_free(&b);
	return status == -1 ? CLI_OK : status;
}

static int convert(const struct convert_cli *c)
{
	struct convert_opt o = { .in = c->words.v[0], .out = c->words.v[1], .type = DT_COUNT, .no_tokenizer = c->no_tokenizer,
				 .lora = c->adapter, .n_lora = c->n_adapter,
				 .n_threads = c->n_threads > 0 ? c->n_threads : 0 };
	struct convert_done done;
	struct lm_err err = { 0 };
	if (c->type && strcmp(c->type, "auto") && quant_from_name(c->type, &o.type, &err)) return cli_fail(&err);
	signal(SIGXFSZ, SIG_IGN);                              /* a limit on files is an error of write() */
	double t = lm_now();
	if (convert_model(&o, &done, &err)) return cli_fail_open(&err);
	if (!c->quiet)
		lm_log(LM_LOG_INFO, "%s: %d tensors, %.2f GB, mostly %s, in %.1f s", o.out, done.n_tensors, (double)done.bytes / 1e9,
		       done.type, lm_now() - t);
	return CLI_OK;
}

int convert_main(int argc, char **argv)
{
	struct convert_cli c = { 0 };
	struct lm_err err = { 0 };
	int status;
	if (opt_parse(&c, table, N_TABLE, argc, argv, &c.words, &err) ||
	    cli_adapters(&c.adapter, &c.n_adapter, &c.lora, &c.lora_scaled, &err))
		status = cli_fail(&err);
	else if (c.help) status = help();
	else if (c.words.n != 2)
		status = cli_say(CLI_USAGE, "convert takes a model and the file to write, not %d names; try: lmrun convert FOLDER OUT.gguf",
				 c.words.n);
	else status = convert(&c);
	opt_list_free(&c.words);
	opt_list_free(&c.lora);
	opt_list_free(&c.lora_scaled);
	lm_free(c.adapter);
	return status;
}
