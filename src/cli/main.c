/* main.c - verbs, help, and what the process owes its surroundings. */
#include "base/cpu.h"
#include "cli/cli.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct verb {
	const char *name, *args, *help;        /* help NULL: another name of the row above */
	int (*run)(struct cli *c);             /* with the common options */
	int (*own)(int argc, char **argv);     /* with options of its own */
};

static int help_main(struct cli *c);
static int version_main(struct cli *c);

static const struct verb verbs[] = {
	{ "run", "MODEL [PROMPT]", "answer a prompt; without one, a conversation", run_main, NULL },
	{ "chat", "[MODEL]", "a conversation in the terminal", chat_main, NULL },
	{ "serve", "[MODEL]", "the model behind an OpenAI-compatible HTTP interface", serve_main, NULL },
	{ "score", "-m MODEL", "log-probability of every token of a text", score_main, NULL },
	{ "embed", "-m MODEL TEXT...", "a text's vector", embed_main, NULL },
	{ "classify", "-m MODEL TEXT...", "a text's class", classify_main, NULL },
	{ "rerank", "-m MODEL -p QUERY TEXT...", "texts by their relevance to a query", rerank_main, NULL },
	{ "tokenize", "-m MODEL [TEXT]", "text to token ids", tokenize_main, NULL },
	{ "detokenize", "-m MODEL [IDS]", "token ids to text", detokenize_main, NULL },
	{ "template", "-m MODEL|FILE", "render a conversation (JSON) by a chat template", template_main,
	  NULL },
	{ "inspect", "FILE", "metadata and tensors of a model file", NULL, inspect_main },
	{ "show", NULL, NULL, NULL, inspect_main },
	{ "convert", "MODEL OUT.gguf", "a folder of Hugging Face, or a GGUF, as a GGUF", NULL, convert_main },
	{ "bench", "-m MODEL...", "speed and memory", NULL, bench_main },
	{ "version", "", "the version", version_main, NULL },
	{ "help", "", "this text", help_main, NULL },
};
enum { N_VERBS = sizeof verbs / sizeof *verbs };

static const struct verb *find_verb(const char *name)
{
	for (int i = 0; i < N_VERBS; i++)
		if (strcmp(verbs[i].name, name) == 0) return &verbs[i];
	return NULL;
}

/* ---- help -------------------------------------------------------------------------------------------- */
static int put_text(struct lm_buf *b)
{
	int status = b->bad ? cli_say(CLI_MEMORY, "out of memory for a text") : cli_write(b->p, b->n);
	lm_buf_free(b);
	return status == -1 ? CLI_OK : status;
}

static int help_main(struct cli *c)
{
	(void)c;
	struct lm_buf b = { 0 };
	lm_buf_str(&b, "lmrun runs language models.  Text goes to standard output, everything else to "
		       "standard error.\n\n"
		       "  lmrun -m FILE.gguf -p TEXT [options]\n  lmrun VERB [options]\n\nVerbs:\n");
	for (int i = 0; i < N_VERBS; i++) {
		char left[64];
		if (!verbs[i].help) continue;
		snprintf(left, sizeof left, "%s %s", verbs[i].name, verbs[i].args);
		lm_buf_fmt(&b, "  %-30s %s\n", left, verbs[i].help);
	}
	lm_buf_char(&b, '\n');
	opt_help(&b, cli_table, n_cli_table);
	lm_buf_str(&b,
		   "\nEvery long option is also an environment variable: LMRUN_CTX_SIZE for --ctx-size; a "
		   "flag wins.\n"
		   "LMRUN_CPU=c|avx2|avxvnni|avx512|avx512vnni|neon|dotprod|i8mm caps the instruction set.\n"
		   "Exit status: 0 done, 1 failed, 2 wrong usage, 3 not a model we can run, 4 out of memory, "
		   "130 interrupted.\n");
	return put_text(&b);
}

static int version_main(struct cli *c)
{
	(void)c;
	struct lm_buf b = { 0 };
	lm_buf_fmt(&b, "lmrun %s (%s, %s)\n", LMRUN_VERSION, cpu_name(cpu_detect()), cpu_model());
	return put_text(&b);
}

static int short_help(void)
{
	fputs("usage: lmrun -m FILE.gguf -p TEXT [options]\n"
	      "       lmrun VERB [options]\n"
	      "\n"
	      "  lmrun -m models/SmolLM2-135M-Instruct.Q4_1.gguf -p \"Why is the sky blue?\"\n"
	      "\n"
	      "  lmrun chat MODEL      a conversation       lmrun inspect FILE    what a file holds\n"
	      "  lmrun serve MODEL     over HTTP            lmrun bench -m MODEL  speed and memory\n"
	      "\n"
	      "`make models` fetches small models into models/; `lmrun help` lists all options.\n", stderr);
	return CLI_USAGE;
}

static int devices_main(void)
{
	char *text = lm_devices();
	if (!text) return cli_say(CLI_MEMORY, "out of memory for the list of devices");
	int status = cli_write(text, strlen(text));
	lm_text_free(text);
	return status == -1 ? CLI_OK : status;
}

/* ---- the process ------------------------------------------------------------------------------------- */
static enum lm_level log_level = LM_LOG_INFO;

/* A remark that repeats the one before it is said once: a chat template's, at every turn. */
static void log_line(void *ud, enum lm_level level, const char *line)
{
	static char last[256];
	(void)ud;
	if (level > log_level || (level == LM_LOG_INFO && strcmp(line, last) == 0)) return;
	if (level == LM_LOG_INFO) snprintf(last, sizeof last, "%s", line);
	fprintf(stderr, "lmrun: %s%s\n", level == LM_LOG_WARN ? "warning: " : "", line);
}

/* A model opened on descriptor 1 would be overwritten by the answer. */
static bool open_standard(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", fd ? O_WRONLY : O_RDONLY) != fd)
			return false;
	return true;
}

static int unknown_verb(const char *word)
{
	const char *names[N_VERBS];
	for (int i = 0; i < N_VERBS; i++) names[i] = verbs[i].name;
	const char *near = opt_nearest(word, names, N_VERBS);
	if (near) return cli_say(CLI_USAGE, "unknown verb '%.80s'; did you mean %s?", word, near);
	if (access(word, F_OK) == 0)
		return cli_say(CLI_USAGE, "'%.80s' is no verb; to run a model: lmrun -m %.80s -p TEXT", word,
			       word);
	return cli_say(CLI_USAGE, "unknown verb '%.80s'; `lmrun help` lists them", word);
}

/* The verb after the options: lmrun -m FILE chat. */
static const struct verb *late_verb(struct cli *c)
{
	const struct verb *v = c->words.n ? find_verb(c->words.v[0]) : NULL;
	if (!v || !v->run) return NULL;
	memmove(c->words.v, c->words.v + 1, (size_t)--c->words.n * sizeof *c->words.v);
	return v;
}

static int dispatch(struct cli *c, const struct verb *v)
{
	log_level = c->quiet ? LM_LOG_ERROR : c->verbose ? LM_LOG_DEBUG : LM_LOG_INFO;
	if (c->help) return help_main(c);
	if (c->version) return version_main(c);
	if (c->list_devices) return devices_main();
	if (!v && c->words.n && !(v = late_verb(c))) return unknown_verb(c->words.v[0]);
	if (c->dry_run) return plan_main(c);
	if (c->serve && (!v || v->run == run_main)) return serve_main(c);
	if (v && v->run != run_main) return v->run(c);
	return c->interactive ? chat_main(c) : run_main(c);
}

int main(int argc, char **argv)
{
	struct cli c;
	struct lm_err err = { 0 };
	if (!open_standard()) return CLI_FAILED;
	signal(SIGPIPE, SIG_IGN);                              /* a reader that goes is an error of write() */
	cli_catch_interrupts(false);
	lm_log_sink(log_line, NULL);
	if (argc < 2) return short_help();
	const struct verb *v = argv[1][0] == '-' ? NULL : find_verb(argv[1]);
	if (!v && argv[1][0] != '-') return unknown_verb(argv[1]);
	if (v && v->own) return v->own(argc - 1, argv + 1);
	int rc = cli_parse(&c, argc - (v != NULL), argv + (v != NULL), &err);
	int status = rc ? cli_fail(&err) : dispatch(&c, v);
	cli_free(&c);
	return status;
}
