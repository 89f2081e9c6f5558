/* cli.h - what the verbs of the program share: the options, ways to fail, and the terminal.
 * Verbs that run a model know engine/lmrun.h only; file tools (inspect, bench, template) may look lower. */
#pragma once
#include "base/opt.h"
#include "engine/lmrun.h"
#include <signal.h>

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_MODEL = 3, CLI_MEMORY = 4, CLI_NETWORK = 5, CLI_INTERRUPTED = 130 };

/* Every option of the verbs that share the table, in the order of the table. */
struct cli {
	const char *verb;                      /* "run" when only flags were given */
	const char *prog;
	struct opt_list words;                 /* what is neither option nor verb */
	/* model */
	const char *model, *device, *chat_template, *chat_template_file;
	int n_threads, n_ctx, n_batch, n_ubatch, n_gpu_layers;
	const char *kv_k, *kv_v;
	/* run */
	const char *prompt, *file, *system, *system_file, *tokens;
	int n_predict;
	struct opt_list stop, logit_bias;
	bool interactive, raw, single_turn, json, escape, special, quiet, verbose;
	struct lm_sampling sampling;           /* bias filled from logit_bias by cli_parse */
	bool seed_given;
	/* score, tokenize, detokenize */
	bool from_stdin, no_bos, no_special;
	const char *logprobs_out;
	/* server */
	int serve;                             /* -1: not asked */
	const char *host, *api_key;
	int port;
	bool list_devices, version, help;
	bool no_mmap, mlock, ngl_given;
	const char *ignored;                   /* values of options that change nothing here */
	bool ignored_flag;
};
extern const struct opt cli_table[];
extern const int n_cli_table;
/* Defaults, environment, argv[1..argc).  LM_EINVAL with one sentence. */
int cli_parse(struct cli *c, int argc, char **argv, struct lm_err *err);
void cli_free(struct cli *c);

/* ---- verbs: argv[0] is the verb; they return the exit status ------------------------------------------ */
int run_main(struct cli *c);
int chat_main(struct cli *c);
int score_main(struct cli *c);
int tokenize_main(struct cli *c);
int detokenize_main(struct cli *c);
int template_main(struct cli *c);
/* These two parse their own flags. */
int inspect_main(int argc, char **argv);
int bench_main(int argc, char **argv);

/* ---- failing: one sentence on stderr ------------------------------------------------------------------- */
/* Prints "lmrun: <sentence>" and returns `status`. */
int cli_say(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for an error of opening a model (LM_EFORMAT is CLI_MODEL) and of anything else (CLI_FAILED). */
int cli_fail_open(const struct lm_err *err);
int cli_fail(const struct lm_err *err);
/* A remark on stderr; silent with --quiet. */
void cli_note(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
