/* chat.c - a conversation in the terminal.  A model with a chat template gets the turns through it; one without
 * continues a text that you and it write by turns. */
#include "cli/cli.h"
#include "cli/line.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct talk {
	struct cli *c;
	struct lm_engine *e;
	struct turn *turn; int n, cap;         /* of a chat; the system message first */
	struct lm_buf text;                    /* of a continuation */
	size_t text_before;                    /* its length before the last answer */
	bool plain, has_last;
	unsigned again;                        /* how often the last answer was asked for anew */
	struct answer last;
	long total_out;
};

/* ---- turns ------------------------------------------------------------------------------------------- */
static bool push(struct talk *k, const char *role, const char *s, size_t n)
{
	if (k->n == k->cap) {
		int cap = k->cap ? 2 * k->cap : 16;
		struct turn *t = lm_realloc(k->turn, (size_t)cap * sizeof *t);
		if (!t) return false;
		k->turn = t;
		k->cap = cap;
	}
	char *copy = lm_malloc(n + 1);
	if (!copy) return false;
	if (n) memcpy(copy, s, n);
	copy[n] = 0;
	k->turn[k->n++] = (struct turn){ .role = role, .text = copy, .len = n };
	return true;
}

static void pop(struct talk *k)
{
	k->n--;
	lm_free(k->turn[k->n].text);
	lm_free(k->turn[k->n].thought);
}

/* What was said: without markers, and the reasoning apart, so that the template puts both where they belong. */
static bool push_answer(struct talk *k, struct answer *a)
{
	const struct lm_buf *said = k->c->special ? &a->text : &a->content;
	if (!push(k, "assistant", said->p, said->n)) return false;
	struct turn *t = &k->turn[k->n - 1];
	t->thought = a->thought.p;             /* the turn's now */
	t->n_thought = a->thought.n;
	a->thought = (struct lm_buf){ 0 };
	return true;
}

static bool last_is(const struct talk *k, const char *role)
{
	return k->n && strcmp(k->turn[k->n - 1].role, role) == 0;
}

static void clear(struct talk *k)
{
	while (k->n && !(k->n == 1 && last_is(k, "system"))) pop(k);
	k->text.n = 0;
	k->has_last = false;
}

static bool set_system(struct talk *k, const char *text, size_t len)
{
	char *copy = lm_malloc(len + 1);
	if (!copy) return false;
	memcpy(copy, text, len);
	copy[len] = 0;
	if (k->n && strcmp(k->turn[0].role, "system") == 0) lm_free(k->turn[0].text);
	else {
		if (!push(k, "system", "", 0)) {
			lm_free(copy);
			return false;
		}
		struct turn t = k->turn[k->n - 1];
		memmove(k->turn + 1, k->turn, (size_t)(k->n - 1) * sizeof *k->turn);
		k->turn[0] = t;
		lm_free(t.text);
	}
	k->turn[0].text = copy;
	k->turn[0].len = len;
	return true;
}

/* ---- one answer -------------------------------------------------------------------------------------- */
static int ask(struct talk *k, struct lm_err *err)
{
	struct lm_prompt p = { .parse_special = true };
	char *rendered = NULL;
	int rc = 0;
	cli_fill(&p, k->c);
	p.sampling.seed += k->again;
	if (k->plain) {
		p.text = lm_buf_cstr(&k->text);
		p.len = k->text.n;
		p.add_bos = true;
	} else {
		rc = cli_render(k->e, k->turn, k->n, &rendered, err);
		p.text = rendered;
		p.markers = !k->c->special;
		p.len = rendered ? strlen(rendered) : 0;
	}
	cli_answer_free(&k->last);
	if (!rc) rc = cli_answer(&k->last, k->e, &p, true, err);
	lm_text_free(rendered);
	return rc;
}

static void explain(struct talk *k, const struct lm_err *err)
{
	if (err->code == LM_ELIMIT)
		cli_say(0, "this no longer fits the context of %d tokens: /clear begins a new conversation",
			lm_info(k->e)->n_ctx);
	else cli_say(0, "%s", err->msg);
}

/* Answers the turns so far; on an error the message asked is taken back.  CLI_OK, or the status to end with. */
static int answer(struct talk *k)
{
	struct lm_err err = { 0 };
	k->text_before = k->text.n;
	int rc = ask(k, &err);
	struct answer *a = &k->last;
	k->has_last = true;
	if (a->text.n && a->text.p[a->text.n - 1] != '\n') cli_write("\n", 1);
	if (rc && !a->text.n) {
		if (last_is(k, "user")) pop(k);
		k->has_last = false;
		explain(k, &err);
		return rc == LM_ENOMEM ? CLI_MEMORY : CLI_OK;
	}
	if (rc) explain(k, &err);
	if (k->plain) lm_buf_add(&k->text, a->text.p, a->text.n);
	else if (!push_answer(k, a))
		return cli_say(CLI_MEMORY, "out of memory for the conversation");
	k->total_out += a->n_out;
	if (k->c->verbose) cli_timing(k->c, k->e, a);
	bool full = a->finish == LM_FIN_LENGTH && a->n_prompt + a->n_out >= lm_info(k->e)->n_ctx;
	if (!rc && full)
		cli_note(k->c, "the context of %d tokens is full: /clear begins a new conversation",
			 lm_info(k->e)->n_ctx);
	return a->failed ? CLI_FAILED : a->closed ? -1 : CLI_OK;
}

static int say(struct talk *k, const char *s, size_t n)
{
	k->again = 0;
	if (!lm_utf8_valid(s, n)) {
		cli_say(0, "that was not UTF-8 text");
		return CLI_OK;
	}
	if (k->plain) {
		if (k->text.n && n) lm_buf_char(&k->text, '\n');
		lm_buf_add(&k->text, s, n);
		if (k->text.bad) return cli_say(CLI_MEMORY, "out of memory for the conversation");
		return k->text.n ? answer(k) : CLI_OK;
	}
	if (!n) return CLI_OK;
	if (!push(k, "user", s, n)) return cli_say(CLI_MEMORY, "out of memory for the conversation");
	return answer(k);
}

/* ---- commands ---------------------------------------------------------------------------------------- */
enum { QUIT = -2 };

static int cmd_help(struct talk *k, const char *arg);

static int cmd_clear(struct talk *k, const char *arg)
{
	(void)arg;
	clear(k);
	cli_say(0, "a new conversation");
	return CLI_OK;
}

static int cmd_regen(struct talk *k, const char *arg)
{
	(void)arg;
	if (!k->has_last) {
		cli_say(0, "there is no answer to give anew");
		return CLI_OK;
	}
	if (k->plain) k->text.n = k->text_before;
	else if (last_is(k, "assistant")) pop(k);
	if (k->c->sampling.temperature <= 0) cli_say(0, "with temperature 0 the answer is the same again");
	k->again++;                            /* another seed, else the same draws */
	return answer(k);
}

static int cmd_stats(struct talk *k, const char *arg)
{
	(void)arg;
	const struct lm_model_info *m = lm_info(k->e);
	int used = k->has_last ? k->last.n_prompt + k->last.n_out : 0;
	cli_say(0, "%s, %s on %s, %d threads | context %d of %d tokens | %ld tokens said", m->name, m->quant,
		m->device, m->n_threads, used, m->n_ctx, k->total_out);
	struct cli loud = *k->c;
	loud.quiet = false;
	if (k->has_last) cli_timing(&loud, k->e, &k->last);
	return CLI_OK;
}

static int cmd_quit(struct talk *k, const char *arg)
{
	(void)k, (void)arg;
	return QUIT;
}

/* Rows of the table that /set may change: numbers that a request reads. */
static int settable(struct opt *row, int cap)
{
	int n = 0;
	for (int i = 0; i < n_cli_table && n < cap; i++) {
		const struct opt *o = &cli_table[i];
		bool sampling = o->group && strcmp(o->group, "Sampling") == 0 && o->type != OPT_LIST;
		if (!sampling && strncmp(o->name, "--predict ", 10) != 0) continue;
		row[n] = *o;
		row[n++].no_env = true;
	}
	return n;
}

static void show_settings(const struct cli *c, const struct opt *row, int n)
{
	for (int i = 0; i < n; i++) {
		const char *at = (const char *)c + row[i].offset;
		fprintf(stderr, "  %-18.*s ", (int)strcspn(row[i].name + 2, " "), row[i].name + 2);
		switch (row[i].type) {
		case OPT_INT: fprintf(stderr, "%d\n", *(const int *)at); break;
		case OPT_U64: fprintf(stderr, "%llu\n", (unsigned long long)*(const uint64_t *)at); break;
		case OPT_FLOAT: fprintf(stderr, "%g\n", (double)*(const float *)at); break;
		case OPT_FLAG: fprintf(stderr, "%s\n", *(const bool *)at ? "on" : "off"); break;
		case OPT_STR:
		case OPT_LIST: break;
		}
	}
	fprintf(stderr, "  %-18s %s\n", "system", "TEXT");
}

static int cmd_set(struct talk *k, const char *arg)
{
	struct opt row[32];
	int n = settable(row, 32);
	size_t len = strcspn(arg, " ");
	const char *value = arg + len + strspn(arg + len, " ");
	if (!*arg) {
		show_settings(k->c, row, n);
		return CLI_OK;
	}
	if (len == 6 && strncmp(arg, "system", 6) == 0) {
		if (k->plain) cli_say(0, "this model has no chat template, so a system message has no place");
		else if (!set_system(k, value, strlen(value)))
			return cli_say(CLI_MEMORY, "out of memory for the conversation");
		return CLI_OK;
	}
	char name[64];
	struct lm_err err = { 0 };
	struct cli now = *k->c;
	snprintf(name, sizeof name, "%s%.*s%s%.24s",
		 arg[0] == '-' ? ""
		 : len == 1    ? "-"
			       : "--",
		 (int)(len < 32 ? len : 32), arg, *value && len > 1 ? "=" : "", len > 1 ? value : "");
	char *argv[] = { "/set", name, len == 1 && *value ? (char *)(uintptr_t)value : NULL, NULL };
	if (opt_parse(&now, row, n, argv[2] ? 3 : 2, argv, NULL, &err)) cli_say(0, "%s", err.msg);
	else *k->c = now;
	return CLI_OK;
}

static const struct command {
	const char *name;
	int (*run)(struct talk *k, const char *arg);
	const char *help;
} commands[] = {
	{ "/help", cmd_help, "this list" },
	{ "/clear", cmd_clear, "forget the conversation" },
	{ "/regen", cmd_regen, "answer the last message anew" },
	{ "/set", cmd_set, "NAME VALUE: temp, top-k, seed, predict, system ...; alone: show them" },
	{ "/stats", cmd_stats, "context, speed" },
	{ "/quit", cmd_quit, "leave; so does Ctrl-D" },
	{ "/exit", cmd_quit, NULL },
	{ "/bye", cmd_quit, NULL },
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static int cmd_help(struct talk *k, const char *arg)
{
	(void)arg;
	for (int i = 0; i < N_COMMANDS; i++)
		if (commands[i].help) fprintf(stderr, "  %-8s %s\n", commands[i].name, commands[i].help);
	fprintf(stderr, "A \\ at the end of a line continues it; Ctrl-C stops an answer, and leaves at an "
			"empty prompt.\n");
	if (k->plain)
		fprintf(stderr, "This model has no chat template: it continues the text; an empty line lets "
				"it go on.\n");
	return CLI_OK;
}

static int command(struct talk *k, const char *line)
{
	size_t n = strcspn(line, " ");
	const char *arg = line + n + strspn(line + n, " ");
	for (int i = 0; i < N_COMMANDS; i++)
		if (strlen(commands[i].name) == n && strncmp(line, commands[i].name, n) == 0)
			return commands[i].run(k, arg);
	cli_say(0, "unknown command %.*s: /help lists the commands, and a blank before it sends it as text",
		(int)(n < 60 ? n : 60), line);
	return CLI_OK;
}

/* ---- the loop ---------------------------------------------------------------------------------------- */
static int loop(struct talk *k)
{
	struct line *in = line_open();
	struct lm_buf b = { 0 };
	int status = in ? CLI_OK : cli_say(CLI_MEMORY, "out of memory for the line editor");
	while (status == CLI_OK && line_read(in, &b)) {
		if (b.bad) status = cli_say(CLI_MEMORY, "out of memory for the message");
		else if (b.n && b.p[0] == '/') status = command(k, b.p);
		else status = say(k, lm_buf_cstr(&b), b.n);
		if (k->c->single_turn && k->has_last) break;
	}
	lm_buf_free(&b);
	line_close(in);
	return status < 0 ? CLI_OK : status;
}

static void greet(const struct talk *k)
{
	const struct lm_model_info *m = lm_info(k->e);
	cli_note(k->c, "%s (%s, %s), context %d tokens; /help lists the commands", m->name, m->arch, m->quant,
		 m->n_ctx);
	if (k->plain && !k->c->raw)
		cli_note(k->c, "this model has no chat template: it continues the text that you type");
}

/* The system message, the greeting, and -p or -f as the first message. */
static int begin(struct talk *k, struct lm_buf *first)
{
	struct lm_buf sys = { 0 };
	k->plain = k->c->raw || !lm_info(k->e)->has_chat_template;
	int status = cli_system_text(k->c, &sys);
	if (status == CLI_OK && sys.n && k->plain)
		status = cli_say(CLI_USAGE,
				 "%s has no chat template, so a system prompt has no place (--chat-template "
				 "gives it one)",
				 k->c->model);
	else if (status == CLI_OK && sys.n && !set_system(k, sys.p, sys.n))
		status = cli_say(CLI_MEMORY, "out of memory for the conversation");
	lm_buf_free(&sys);
	if (status != CLI_OK) return status;
	greet(k);
	cli_seed(k->c);
	return first->n ? say(k, first->p, first->n) : CLI_OK;
}

int chat_main(struct cli *c)
{
	struct talk k = { .c = c };
	struct lm_buf first = { 0 };
	int status = cli_prompt_text(c, &first, false);
	if (status == CLI_OK) status = cli_open(&k.e, c, false, NULL);
	if (status == CLI_OK) status = begin(&k, &first);
	if (status == CLI_OK && !(c->single_turn && k.has_last)) status = loop(&k);
	while (k.n) pop(&k);
	lm_free(k.turn);
	lm_buf_free(&k.text);
	lm_buf_free(&first);
	cli_answer_free(&k.last);
	lm_engine_close(k.e);
	return status < 0 ? CLI_OK : status;
}
