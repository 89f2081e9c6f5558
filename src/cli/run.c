/* run.c - one prompt, one answer. */
#include "base/json.h"
#include "cli/cli.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PROMPT = 256 << 20 };

/* ---- what is the prompt ------------------------------------------------------------------------------ */
/* Adds a file (or standard input), on a line of its own; one newline at its end belongs to the file, not the text. */
static int add_file(struct lm_buf *b, const char *path)
{
	struct lm_err err = { 0 };
	if (b->n) lm_buf_char(b, '\n');
	size_t at = b->n;
	if (lm_read_file(b, path, MAX_PROMPT, &err)) return cli_fail(&err);
	if (b->n > at && b->p[b->n - 1] == '\n') b->n--;
	return CLI_OK;
}

/* MODEL of `run MODEL [PROMPT]`, when -m is absent, then the words that are the prompt. */
static void add_words(struct lm_buf *b, struct cli *c)
{
	int i = 0;
	if (!c->model && c->words.n) c->model = c->words.v[i++];
	for (int k = i; k < c->words.n; k++) lm_buf_fmt(b, "%s%s", k > i ? " " : "", c->words.v[k]);
}

static int check_text(const struct lm_buf *b)
{
	for (size_t i = 0; i < b->n;) {
		uint32_t cp;
		int k = lm_utf8_next(b->p + i, b->n - i, &cp);
		if (!lm_utf8_valid(b->p + i, (size_t)k) || cp == 0)
			return cli_say(CLI_FAILED, "the prompt is not UTF-8 text: byte %zu is 0x%02x", i, (unsigned char)b->p[i]);
		i += (size_t)k;
	}
	return CLI_OK;
}

int cli_prompt_text(struct cli *c, struct lm_buf *b, bool with_stdin)
{
	int status = CLI_OK;
	bool file_is_stdin = c->file && strcmp(c->file, "-") == 0;
	add_words(b, c);
	if (c->prompt) lm_buf_fmt(b, "%s%s", b->n ? "\n" : "", c->prompt);
	if (c->escape && b->n) b->n = cli_unescape(b->p, b->n);
	if (c->file) status = add_file(b, c->file);
	if (status == CLI_OK && with_stdin && !file_is_stdin && !isatty(STDIN_FILENO)) {
		struct lm_buf in = { 0 };
		status = add_file(&in, "-");
		if (in.n && b->n) lm_buf_char(b, '\n');
		lm_buf_add(b, in.p, in.n);
		b->bad |= in.bad;
		lm_buf_free(&in);
	}
	if (status != CLI_OK) return status;
	if (b->bad) return cli_say(CLI_MEMORY, "out of memory for the prompt");
	return check_text(b);
}

int cli_system_text(const struct cli *c, struct lm_buf *b)
{
	if (c->system) lm_buf_str(b, c->system);
	if (c->system && c->escape) b->n = cli_unescape(b->p, b->n);
	if (!c->system_file) return CLI_OK;
	return add_file(b, c->system_file);
}

/* ---- the prompt as the model wants it ---------------------------------------------------------------- */
/* With the template: the rendered text, which holds its own BOS.  *rendered is for lm_text_free. */
static int to_chat(struct cli *c, struct lm_engine *e, struct lm_buf *user, struct lm_prompt *p,
		   char **rendered)
{
	struct lm_buf sys = { 0 };
	struct lm_err err = { 0 };
	struct turn t[2];
	int n = 0, status = cli_system_text(c, &sys);
	if (status == CLI_OK) {
		if (sys.n) t[n++] = (struct turn){ .role = "system", .text = sys.p, .len = sys.n };
		t[n++] = (struct turn){ .role = "user", .text = user->p, .len = user->n };
		if (cli_render(e, t, n, rendered, &err)) status = cli_fail(&err);
	}
	lm_buf_free(&sys);
	if (status != CLI_OK) return status;
	p->text = *rendered;
	p->len = strlen(*rendered);
	p->parse_special = true;
	p->markers = !c->special;
	return CLI_OK;
}

static int to_prompt(struct cli *c, struct lm_engine *e, struct lm_buf *text, struct lm_prompt *p,
		     char **rendered, int32_t **ids)
{
	struct lm_err err = { 0 };
	if (c->tokens) {
		if (cli_ids(c->tokens, ids, &p->n_ids, &err)) return cli_fail(&err);
		p->ids = *ids;
		return CLI_OK;
	}
	if (!c->raw && lm_info(e)->has_chat_template) return to_chat(c, e, text, p, rendered);
	if (c->system || c->system_file)
		return cli_say(CLI_USAGE,
			       "%s has no chat template, so a system prompt has no place (--chat-template "
			       "gives it one)",
			       c->model);
	p->text = lm_buf_cstr(text);
	p->len = text->n;
	p->add_bos = p->parse_special = true;
	return CLI_OK;
}

/* ---- the result -------------------------------------------------------------------------------------- */
static int print_json(const struct answer *a)
{
	static const char *const why[] = {
		[LM_FIN_STOP] = "stop", [LM_FIN_LENGTH] = "length", [LM_FIN_CANCELED] = "canceled"
	};
	struct lm_buf b = { 0 };
	lm_buf_str(&b, "{\"tokens\":[");
	for (int i = 0; i < a->n; i++) lm_buf_fmt(&b, "%s%d", i ? "," : "", (int)a->ids[i]);
	lm_buf_str(&b, "],\"text\":");
	lm_json_string(&b, a->text.p, a->text.n);
	lm_buf_fmt(&b, ",\"finish_reason\":\"%s\"}\n", why[a->finish]);
	int status = b.bad ? cli_say(CLI_MEMORY, "out of memory for the result") : cli_write(b.p, b.n);
	lm_buf_free(&b);
	return status == -1 ? CLI_OK : status;
}

static int answer(struct cli *c, struct lm_engine *e, struct lm_prompt *p)
{
	struct answer a;
	struct lm_err err = { 0 };
	int status = CLI_OK;
	cli_fill(p, c);
	int rc = cli_answer(&a, e, p, !c->json, &err);
	bool line_open = a.text.n && a.text.p[a.text.n - 1] != '\n';
	if (!c->json && line_open && isatty(STDOUT_FILENO)) cli_write("\n", 1);
	if (rc) status = cli_fail(&err);
	else if (c->json) status = print_json(&a);
	if (!rc && !a.closed && !a.failed) cli_timing(c, e, &a);
	if (a.failed) status = CLI_FAILED;
	else if (a.interrupted) status = CLI_INTERRUPTED;
	cli_answer_free(&a);
	return status;
}

int run_main(struct cli *c)
{
	struct lm_buf text = { 0 };
	struct lm_engine *e = NULL;
	struct lm_prompt p = { 0 };
	char *rendered = NULL;
	int32_t *ids = NULL;
	int status = c->tokens && !c->words.n ? CLI_OK : cli_prompt_text(c, &text, true);
	bool none = !c->tokens && !c->prompt && !c->file && !text.n && c->model;
	if (status == CLI_OK && none && isatty(STDIN_FILENO) && !c->json) {
		lm_buf_free(&text);
		return chat_main(c);
	}
	if (status == CLI_OK && none)
		status = cli_say(CLI_USAGE, "no prompt: use -p TEXT, -f FILE or standard input");
	if (status == CLI_OK) status = cli_open(&e, c, false, NULL);
	if (status == CLI_OK) status = to_prompt(c, e, &text, &p, &rendered, &ids);
	if (status == CLI_OK) cli_seed(c);
	if (status == CLI_OK) status = answer(c, e, &p);
	lm_engine_close(e);
	lm_text_free(rendered);
	lm_free(ids);
	lm_buf_free(&text);
	return status;
}
