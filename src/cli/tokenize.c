/* tokenize.c - text to ids and back, and the chat template alone: what a model file says without its weights. */
#include "base/json.h"
#include "cli/cli.h"
#include "tokenizer/chat.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TEXT = 1 << 30, MAX_JINJA = 16 << 20 };

/* ---- what both directions share ---------------------------------------------------------------------- */
/* A result on stdout at once; a reader that has gone ends the work quietly (*gone). */
static int put(struct lm_buf *b, bool *gone)
{
	int status = b->bad ? cli_say(CLI_MEMORY, "out of memory for the result")
			    : cli_write(lm_buf_cstr(b), b->n);
	*gone = status == -1;
	b->n = 0;
	return *gone ? CLI_OK : status;
}

/* The words, -p, -f, or all of standard input. */
static int whole_input(struct cli *c, struct lm_buf *b)
{
	struct lm_err err = { 0 };
	for (int i = 0; i < c->words.n; i++) lm_buf_fmt(b, "%s%s", i ? " " : "", c->words.v[i]);
	if (c->prompt) lm_buf_fmt(b, "%s%s", b->n ? " " : "", c->prompt);
	bool given = c->words.n || c->prompt;
	if (!given && lm_read_file(b, c->file ? c->file : "-", MAX_TEXT, &err)) return cli_fail(&err);
	if (b->bad) return cli_say(CLI_MEMORY, "out of memory for the input");
	return CLI_OK;
}

typedef int convert_fn(struct cli *c, struct lm_engine *e, const char *text, size_t len, struct lm_buf *out,
		       struct lm_err *err);

/* Every line of standard input through `convert`, answered at once; the first bad line ends it by its number. */
static int each_line(struct cli *c, struct lm_engine *e, convert_fn *convert)
{
	struct lm_buf line = { 0 }, out = { 0 };
	int status = CLI_OK;
	bool gone = false;
	for (long n = 1; status == CLI_OK && !gone && cli_line(&line); n++) {
		struct lm_err err = { 0 };
		if (line.bad) status = cli_say(CLI_MEMORY, "out of memory for line %ld", n);
		else if (convert(c, e, lm_buf_cstr(&line), line.n, &out, &err)) {
			lm_context(&err, "standard input, line %ld: ", n);
			status = cli_fail(&err);
		} else {
			lm_buf_char(&out, '\n');
			status = put(&out, &gone);
		}
	}
	lm_buf_free(&line);
	lm_buf_free(&out);
	return status;
}

/* `newline`: the result is a line, not text that must stay as it is */
static int convert_input(struct cli *c, convert_fn *convert, bool newline)
{
	struct lm_engine *e = NULL;
	struct lm_buf in = { 0 }, out = { 0 };
	struct lm_err err = { 0 };
	bool gone;
	int status = cli_open(&e, c, true, NULL);
	if (status == CLI_OK && c->from_stdin) status = each_line(c, e, convert);
	else if (status == CLI_OK) {
		status = whole_input(c, &in);
		if (status == CLI_OK && convert(c, e, lm_buf_cstr(&in), in.n, &out, &err))
			status = cli_fail(&err);
		else if (status == CLI_OK) {
			if (newline || c->json || isatty(STDOUT_FILENO)) lm_buf_char(&out, '\n');
			status = put(&out, &gone);
		}
	}
	lm_buf_free(&in);
	lm_buf_free(&out);
	lm_engine_close(e);
	return status;
}

/* ---- tokenize ---------------------------------------------------------------------------------------- */
static int ids_of(struct cli *c, struct lm_engine *e, const char *text, size_t len, struct lm_buf *out,
		  struct lm_err *err)
{
	size_t guess = len + 16 < INT32_MAX ? len + 16 : INT32_MAX;    /* rarely more ids than bytes */
	for (int cap = (int)guess;;) {
		int32_t *ids = lm_malloc((size_t)cap * sizeof *ids);
		if (!ids) return lm_fail(err, LM_ENOMEM, "out of memory for token ids");
		int n = lm_tokenize(e, text, len, c->no_bos ? 0 : LM_ADD_BOS | LM_ADD_EOS, !c->no_special, ids, cap, err);
		if (n >= 0 && n <= cap) {
			if (c->json) lm_buf_char(out, '[');
			for (int i = 0; i < n; i++) lm_buf_fmt(out, "%s%d", i ? "," : "", (int)ids[i]);
			if (c->json) lm_buf_char(out, ']');
		}
		lm_free(ids);
		if (n <= cap) return n < 0 ? n : 0;
		cap = n;
	}
}

static int tokenize(struct cli *c, struct lm_engine *e, const char *text, size_t len, struct lm_buf *out,
		    struct lm_err *err)
{
	if (!c->json || !c->from_stdin) return ids_of(c, e, text, len, out, err);
	json_t *v = lm_json_parse(text, len, err);
	if (!v) return err->code;
	int rc = json_is_string(v) ? ids_of(c, e, json_string_value(v), json_string_length(v), out, err)
		: lm_fail(err, LM_EFORMAT, "expected a JSON string");
	json_decref(v);
	return rc;
}

int tokenize_main(struct cli *c) { return convert_input(c, tokenize, true); }

/* ---- detokenize -------------------------------------------------------------------------------------- */
static int text_of(struct cli *c, struct lm_engine *e, const int32_t *ids, int n, struct lm_buf *out,
		   struct lm_err *err)
{
	char *text;
	size_t len;
	int rc = lm_detokenize(e, ids, n, !c->no_special, &text, &len, err);
	if (rc) return rc;
	if (c->json) lm_json_string(out, text, len);
	else lm_buf_add(out, text, len);
	lm_text_free(text);
	return 0;
}

static int detokenize(struct cli *c, struct lm_engine *e, const char *text, size_t len, struct lm_buf *out,
		      struct lm_err *err)
{
	int32_t *ids = NULL;
	int n;
	bool json = c->json && c->from_stdin;      /* an array and nothing else */
	int rc = json ? cli_json_ids(text, len, &ids, &n, err) : cli_ids(text, &ids, &n, err);
	if (!rc) rc = text_of(c, e, ids, n, out, err);
	lm_free(ids);
	return rc;
}

int detokenize_main(struct cli *c)
{
	if (c->tokens && !c->prompt) c->prompt = c->tokens;
	return convert_input(c, detokenize, false);
}

/* ---- template ---------------------------------------------------------------------------------------- */
/* A folder, a GGUF or a tokenizer file; anything else is a template. */
static bool is_model(const char *path)
{
	static const char *const ends[] = { ".gguf", ".json", ".model", "vocab.txt", "merges.txt" };
	char magic[4] = "";
	struct stat st;
	size_t n = strlen(path);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		if (n >= strlen(ends[i]) && strcmp(path + n - strlen(ends[i]), ends[i]) == 0) return true;
	if (stat(path, &st) || S_ISDIR(st.st_mode)) return true; /* the opener says what is wrong with it */
	if (!S_ISREG(st.st_mode)) return false;            /* a pipe can be read once only */
	FILE *f = fopen(path, "rb");
	bool yes = !f || (fread(magic, 1, 4, f) == 4 && memcmp(magic, "GGUF", 4) == 0);
	if (f) fclose(f);
	return yes;
}

/* A template file on its own: the conversation gives every variable. */
static int render_file(const char *path, const struct lm_buf *vars, struct lm_buf *out, struct lm_err *err)
{
	struct lm_buf text = { 0 };
	struct chat *chat = NULL;
	int rc = lm_read_file(&text, path, MAX_JINJA, err);
	json_t *v = rc ? NULL : lm_json_parse(vars->p, vars->n, err);
	if (!rc && !v) rc = err->code;
	if (!rc) rc = chat_compile(&chat, lm_buf_cstr(&text), text.n, err);
	if (!rc) rc = chat_render(chat, v, out, err);
	chat_free(chat);
	json_decref(v);
	lm_buf_free(&text);
	return rc;
}

static int render_model(struct lm_engine *e, const struct lm_buf *vars, struct lm_buf *out,
			struct lm_err *err)
{
	char *text;
	size_t n;
	int rc = lm_render_template(e, vars->p, vars->n, &text, &n, err);
	if (rc) return rc;
	lm_buf_add(out, text, n);
	lm_text_free(text);
	return 0;
}

int template_main(struct cli *c)
{
	struct lm_engine *e = NULL;
	struct lm_buf vars = { 0 }, out = { 0 };
	struct lm_err err = { 0 };
	bool gone, model = !c->model || c->chat_template || c->chat_template_file || is_model(c->model);
	int status = model ? cli_open(&e, c, true, NULL) : CLI_OK, rc = 0;
	if (status == CLI_OK) status = whole_input(c, &vars);
	if (status == CLI_OK) {
		lm_buf_add(&vars, "", 0);
		rc = model ? render_model(e, &vars, &out, &err) : render_file(c->model, &vars, &out, &err);
		if (rc == LM_EINVAL)
			err.code = LM_EFORMAT; /* raise_exception: the template's word, not a flag's */
		status = rc ? cli_fail(&err) : put(&out, &gone);
	}
	lm_buf_free(&vars);
	lm_buf_free(&out);
	lm_engine_close(e);
	return status;
}
