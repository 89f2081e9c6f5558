/* cli.h - what the verbs of the program share: the options, ways to fail, one answer streamed to stdout.
 * Verbs that run a model know engine/lmrun.h only; file tools (inspect, bench, template) may look lower. */
#pragma once
#include "base/opt.h"
#include "engine/lmrun.h"

/* Exit status. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_MODEL = 3, CLI_MEMORY = 4, CLI_INTERRUPTED = 130 };

/* Every option of the verbs that share the table. */
struct cli {
	struct opt_list words;                 /* what is neither option nor verb */
	/* model */
	const char *model, *device, *chat_template, *chat_template_file, *kv_k, *kv_v, *precision, *quantize;
	int n_threads, n_ctx, n_batch, n_ubatch;
	struct opt_list lora, lora_scaled;
	struct lm_lora *adapter; int n_adapter; /* both of them, in the order of loading */
	/* run */
	const char *prompt, *file, *system, *system_file, *tokens;
	int n_predict;
	struct opt_list stop, logit_bias;
	bool dry_run, interactive, raw, single_turn, json, escape, special, quiet, verbose;
	struct lm_sampling sampling;           /* its bias comes from logit_bias */
	bool seed_given;
	/* score, tokenize, detokenize */
	bool from_stdin, no_bos, no_special;
	const char *logprobs_out;
	/* embed, classify, rerank */
	const char *pooling, *prompt_name, *query;
	int dimensions, top_n;
	bool normalize_flag, no_normalize, no_truncate, pooled;              /* pooled: an encoder will do */
	/* server */
	int port;
	const char *host, *api_key, *alias;
	bool serve;
	bool list_devices, version, help;
	/* accepted because llama.cpp's lines have them; they change nothing here */
	const char *gpu_layers, *ignored;
	bool fast;
	bool no_mmap, ignored_flag;
};
extern const struct opt cli_table[];
extern const int n_cli_table;
void cli_defaults(struct cli *c);
/* Defaults, environment, argv[1..argc); checks what belongs together.  LM_EINVAL with one sentence. */
int cli_parse(struct cli *c, int argc, char **argv, struct lm_err *err);
void cli_free(struct cli *c);
/* --lora PATH (or PATH:WEIGHT) and --lora-scaled PATH:WEIGHT, each maybe a list "a,b", taken apart in place; *out is for
 * lm_free even when it fails. */
int cli_adapters(struct lm_lora **out, int *n, const struct opt_list *plain, const struct opt_list *scaled, struct lm_err *err);
/* "1,2,3" (commas or blanks, brackets allowed) to ids; *ids is for lm_free.  LM_EINVAL names the bad one. */
int cli_ids(const char *text, int32_t **ids, int *n, struct lm_err *err);
/* The same from a JSON array. */
int cli_json_ids(const char *s, size_t len, int32_t **ids, int *n, struct lm_err *err);
/* \n \r \t \\ \' \" \xHH of s[0..n) in place; the new length. */
size_t cli_unescape(char *s, size_t n);

/* ---- verbs: the exit status -------------------------------------------------------------------------- */
int run_main(struct cli *c);
int chat_main(struct cli *c);
int score_main(struct cli *c);
int tokenize_main(struct cli *c);
int detokenize_main(struct cli *c);
int template_main(struct cli *c);
int embed_main(struct cli *c);
int classify_main(struct cli *c);
int rerank_main(struct cli *c);
int serve_main(struct cli *c);
int plan_main(struct cli *c);                  /* --dry-run, whatever the verb */
/* These parse their own flags; argv[0] is the verb. */
int inspect_main(int argc, char **argv);
int bench_main(int argc, char **argv);
int convert_main(int argc, char **argv);

/* ---- failing: one sentence on stderr ----------------------------------------------------------------- */
/* Prints "lmrun: <sentence>" and returns `status`. */
int cli_say(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints the sentence; the status is that of opening a model (bytes that are no model: CLI_MODEL), or of anything
 * else (CLI_FAILED). */
int cli_fail_open(const struct lm_err *err);
int cli_fail(const struct lm_err *err);
/* A remark on stderr; silent with --quiet. */
void cli_note(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- one model, one answer (common.c) ---------------------------------------------------------------- */
/* CLI_OK or the exit status, having said why.  kv_type NULL: as the options say. */
int cli_open(struct lm_engine **e, const struct cli *c, bool vocab_only, const char *kv_type);
/* Bytes to stdout at once.  CLI_OK; -1 when the reader has gone; CLI_FAILED having said why. */
int cli_write(const char *s, size_t n);

/* -p or the words, then -f, then standard input when it is wanted and no terminal; `run MODEL` sets c->model. */
int cli_prompt_text(struct cli *c, struct lm_buf *b, bool with_stdin);
int cli_system_text(const struct cli *c, struct lm_buf *b);
/* One line of standard input without its newline; false at the end. */
bool cli_line(struct lm_buf *b);

struct turn { const char *role; char *text; size_t len; char *thought; size_t n_thought; };   /* thought: or NULL */
/* The turns through the model's chat template, ready for an answer; *text is for lm_text_free. */
int cli_render(struct lm_engine *e, const struct turn *t, int n, char **text, struct lm_err *err);

struct answer {
	struct lm_buf text;                    /* as shown: reasoning, if any, between <think> tags */
	struct lm_buf content, thought;        /* of a chat: its parts */
	int32_t *ids; int n, cap;              /* generated tokens */
	enum lm_finish finish;
	int n_prompt, n_cached, n_out;
	double t_prompt, t_out;
	bool interrupted, closed, failed;      /* Ctrl-C; the reader of stdout has gone; it cannot be written */
	bool thinking;                         /* the reasoning is not yet closed */
};
/* Runs p, showing the text on stdout when `show`; with p->markers the answer to a chat, p->text being its whole prompt, is
 * taken apart.  0 or a negative code; *a is valid either way. */
int cli_answer(struct answer *a, struct lm_engine *e, const struct lm_prompt *p, bool show, struct lm_err *err);
void cli_answer_free(struct answer *a);
/* The sampling fields of *p from the options; stop strings too. */
void cli_fill(struct lm_prompt *p, const struct cli *c);
void cli_timing(const struct cli *c, const struct lm_engine *e, const struct answer *a);
/* Takes a random seed when none was given, and says it when it matters. */
void cli_seed(struct cli *c);
/* off: Ctrl-C ends the program with 130; on: it ends the running answer.  cli_answer switches it. */
void cli_catch_interrupts(bool on);
