/* embed.c - texts to vectors, to classes, and by relevance: embed, classify, rerank. */
#include "base/json.h"
#include "cli/cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 30 };

/* ---- input: --tokens, the words, -p, the lines of -f or of standard input ------------------------------- */
struct input {
	struct lm_text *t; int n, cap;
	struct lm_buf file;                    /* what lines point into */
	int32_t *ids;
};

static int add(struct input *in, const struct lm_text *t, struct lm_err *err)
{
	if (in->n == in->cap) {
		int cap = in->cap ? 2 * in->cap : 64;
		struct lm_text *p = lm_realloc(in->t, (size_t)cap * sizeof *p);
		if (!p) return lm_fail(err, LM_ENOMEM, "out of memory for %d texts", cap);
		in->t = p;
		in->cap = cap;
	}
	in->t[in->n++] = *t;
	return 0;
}

static int add_text(struct input *in, const char *s, size_t n, struct lm_err *err)
{
	return add(in, &(struct lm_text){ .text = s, .len = n }, err);
}

static int add_lines(struct input *in, const char *path, struct lm_err *err)
{
	int rc = lm_read_file(&in->file, path, MAX_TEXT, err);
	const char *s = lm_buf_cstr(&in->file), *end = s + in->file.n;
	while (!rc && s < end) {
		const char *nl = memchr(s, '\n', (size_t)(end - s));
		size_t n = (size_t)((nl ? nl : end) - s);
		rc = add_text(in, s, n && s[n - 1] == '\r' ? n - 1 : n, err);
		s += n + 1;
	}
	return rc;
}

static int gather(struct cli *c, struct input *in, struct lm_err *err)
{
	int rc = 0, n = 0;
	if (c->tokens) {
		rc = cli_ids(c->tokens, &in->ids, &n, err);
		return rc ? rc : add(in, &(struct lm_text){ .ids = in->ids, .n_ids = n }, err);
	}
	for (int i = 0; i < c->words.n && !rc; i++) rc = add_text(in, c->words.v[i], strlen(c->words.v[i]), err);
	if (!rc && c->prompt) rc = add_text(in, c->prompt, strlen(c->prompt), err);
	if (!rc && (c->file || !in->n)) rc = add_lines(in, c->file ? c->file : "-", err);
	return !rc && !in->n ? lm_fail(err, LM_EINVAL, "there is no text") : rc;
}

static void input_free(struct input *in)
{
	lm_free(in->t);
	lm_free(in->ids);
	lm_buf_free(&in->file);
}

/* ---- output ---------------------------------------------------------------------------------------------- */
/* What a verb makes of n texts: numbers[n][width] by `run`, a line for text i by `show`. */
struct verb {
	struct cli *c;
	struct lm_engine *e;
	struct lm_embed_opt o;
	int width;
	int (*run)(struct verb *v, const struct lm_text *t, int n, float *out, int *n_tokens, struct lm_err *err);
	void (*show)(struct verb *v, struct lm_buf *b, const float *x, int n_tokens);
};

static void numbers(struct lm_buf *b, const float *x, int n, char between)
{
	for (int i = 0; i < n; i++) {
		if (i) lm_buf_char(b, between);
		lm_json_f32(b, x[i]);
	}
}

/* CLI_OK; -1 when the reader has gone. */
static int some(struct verb *v, const struct lm_text *t, int n, struct lm_err *err)
{
	float *out = lm_calloc((size_t)n, (size_t)v->width * sizeof *out);
	int *tokens = lm_calloc((size_t)n, sizeof *tokens);
	struct lm_buf b = { 0 };
	int rc = out && tokens ? v->run(v, t, n, out, tokens, err) : lm_fail(err, LM_ENOMEM, "out of memory for %d results", n);
	for (int i = 0; i < n && !rc; i++) v->show(v, &b, out + (size_t)i * (size_t)v->width, tokens[i]);
	if (!rc && b.bad) rc = lm_fail(err, LM_ENOMEM, "out of memory for the result");
	int put = rc ? 0 : cli_write(lm_buf_cstr(&b), b.n);
	if (put > 0) rc = lm_fail(err, LM_EIO, "the result is incomplete");
	lm_buf_free(&b);
	lm_free(out);
	lm_free(tokens);
	return rc ? rc : put < 0;
}

static int fail(const struct lm_err *err)
{
	return err->code == LM_EUNSUPPORTED ? cli_say(CLI_MODEL, "%s", err->msg) : cli_fail(err);
}

static int all(struct verb *v, int batch)
{
	struct input in = { 0 };
	struct lm_err err = { 0 };
	int rc = gather(v->c, &in, &err);
	for (int i = 0; i < in.n && !rc; i += batch) rc = some(v, in.t + i, in.n - i < batch ? in.n - i : batch, &err);
	input_free(&in);
	return rc < 0 ? fail(&err) : CLI_OK;
}

/* A line of standard input: with --json a string or an array of token ids, where it is one; else text as it stands. */
static int line_text(struct verb *v, const struct lm_buf *line, struct lm_text *t, json_t **json, int32_t **ids)
{
	struct lm_err no = { 0 };
	const char *s = line->p ? line->p : "";
	int n = 0;
	*json = NULL;
	*ids = NULL;
	*t = (struct lm_text){ .text = s, .len = line->n };
	if (!v->c->json || !line->n) return 0;
	if (*s == '[' && cli_json_ids(s, line->n, ids, &n, &no) == 0) *t = (struct lm_text){ .ids = *ids, .n_ids = n };
	if (*s == '"' && (*json = lm_json_parse(s, line->n, &no)) && json_is_string(*json))
		*t = (struct lm_text){ .text = json_string_value(*json), .len = json_string_length(*json) };
	return 0;
}

static int each_line(struct verb *v)
{
	struct lm_buf line = { 0 };
	struct lm_err err = { 0 };
	int rc = 0;
	for (long at = 1; !rc && cli_line(&line); at++) {
		struct lm_text t;
		json_t *json = NULL;
		int32_t *ids = NULL;
		rc = line.bad ? lm_fail(&err, LM_ENOMEM, "out of memory for a line") : line_text(v, &line, &t, &json, &ids);
		if (!rc) rc = some(v, &t, 1, &err);
		if (rc < 0) lm_context(&err, "standard input, line %ld: ", at);
		json_decref(json);
		lm_free(ids);
	}
	lm_buf_free(&line);
	return rc < 0 ? fail(&err) : CLI_OK;
}

/* ---- what the three share ---------------------------------------------------------------------------------- */
/* --batch-size counts texts here, not rows: those given to the model together and answered together. */
static int open_model(struct verb *v, struct cli *c, int *batch)
{
	*batch = c->n_batch;
	c->n_batch = c->n_ubatch = 512;
	c->pooled = true;
	v->c = c;
	v->o = (struct lm_embed_opt){ .pooling = c->pooling, .dimensions = c->dimensions, .prompt_name = c->prompt_name,
				      .normalize = c->normalize_flag ? 1 : c->no_normalize ? 0 : -1,
				      .no_truncate = c->no_truncate, .no_special = c->no_special, .no_bos = c->no_bos };
	if (c->tokens && (c->words.n || c->from_stdin))
		return cli_say(CLI_USAGE, "--tokens is the whole text: other texts do not go with it");
	return cli_open(&v->e, c, false, c->kv_k || c->kv_v ? NULL : "auto");
}

static int finish(struct verb *v, int status)
{
	lm_engine_close(v->e);
	return status;
}

/* ---- embed ------------------------------------------------------------------------------------------------- */
static int run_embed(struct verb *v, const struct lm_text *t, int n, float *out, int *n_tokens, struct lm_err *err)
{
	return lm_embed(v->e, t, n, &v->o, out, n_tokens, err);
}

static void show_embed(struct verb *v, struct lm_buf *b, const float *x, int n_tokens)
{
	bool json = v->c->json || v->c->from_stdin;
	if (json) lm_buf_str(b, "{\"embedding\":[");
	numbers(b, x, v->width, json ? ',' : ' ');
	if (json) lm_buf_fmt(b, "],\"tokens\":%d}", n_tokens);
	lm_buf_char(b, '\n');
}

int embed_main(struct cli *c)
{
	struct verb v = { .run = run_embed, .show = show_embed };
	int batch, status = open_model(&v, c, &batch);
	if (status != CLI_OK) return finish(&v, status);
	const struct lm_heads_info *h = lm_heads(v.e);
	v.width = c->dimensions ? c->dimensions : h->n_dim;
	if (v.width > h->n_dim)
		return finish(&v, cli_say(CLI_USAGE, "--dimensions %d: the model's vectors have %d", v.width, h->n_dim));
	if (!c->pooling && !*h->pooling && !h->unsupported) cli_note(c, "%s says nothing of pooling: the mean of all tokens (--pooling)", lm_info(v.e)->name);
	return finish(&v, c->from_stdin ? each_line(&v) : all(&v, batch));
}

/* ---- classify ---------------------------------------------------------------------------------------------- */
static int run_classify(struct verb *v, const struct lm_text *t, int n, float *out, int *n_tokens, struct lm_err *err)
{
	return lm_classify(v->e, t, n, &v->o, out, n_tokens, err);
}

static void show_classify(struct verb *v, struct lm_buf *b, const float *x, int n_tokens)
{
	const struct lm_heads_info *h = lm_heads(v->e);
	float *score = lm_calloc((size_t)h->n_label, sizeof *score);
	int best = 0;
	(void)n_tokens;
	if (!score) {
		b->bad = true;
		return;
	}
	lm_scores(v->e, x, score);
	for (int i = 0; i < h->n_label; i++)
		if (x[i] > x[best]) best = i;
	if (!v->c->json && !v->c->from_stdin) {
		lm_buf_fmt(b, "%s\t", h->label[best]);
		lm_json_f32(b, score[best]);
	} else {
		lm_buf_str(b, "{\"label\":");
		lm_json_string(b, h->label[best], strlen(h->label[best]));
		lm_buf_str(b, ",\"score\":");
		lm_json_f32(b, score[best]);
		lm_buf_str(b, ",\"scores\":[");
		numbers(b, score, h->n_label, ',');
		lm_buf_str(b, "],\"logits\":[");
		numbers(b, x, h->n_label, ',');
		lm_buf_str(b, "],\"labels\":[");
		for (int i = 0; i < h->n_label; i++) {
			if (i) lm_buf_char(b, ',');
			lm_json_string(b, h->label[i], strlen(h->label[i]));
		}
		lm_buf_str(b, "]}");
	}
	lm_buf_char(b, '\n');
	lm_free(score);
}

int classify_main(struct cli *c)
{
	struct verb v = { .run = run_classify, .show = show_classify };
	int batch, status = open_model(&v, c, &batch);
	if (status != CLI_OK) return finish(&v, status);
	v.width = lm_heads(v.e)->n_label;
	if (!v.width)
		return finish(&v, cli_say(CLI_MODEL, "%s has no classifier: it cannot tell classes of texts apart", lm_info(v.e)->name));
	return finish(&v, c->from_stdin ? each_line(&v) : all(&v, batch));
}

/* ---- rerank ------------------------------------------------------------------------------------------------ */
struct ranked { int index; float score; };

static int by_score(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	return x->score > y->score ? -1 : x->score < y->score ? 1 : x->index - y->index;
}

static void show_ranked(const struct cli *c, struct lm_buf *b, const struct ranked *r, int n, const struct lm_text *t)
{
	if (c->json) lm_buf_str(b, "{\"results\":[");
	for (int i = 0; i < n; i++) {
		const struct lm_text *d = &t[r[i].index];
		if (c->json) {
			lm_buf_fmt(b, "%s{\"index\":%d,\"relevance_score\":", i ? "," : "", r[i].index);
			lm_json_f32(b, r[i].score);
			lm_buf_char(b, '}');
			continue;
		}
		lm_json_f32(b, r[i].score);
		lm_buf_fmt(b, "\t%d\t%.*s\n", r[i].index, d->len > INT32_MAX ? INT32_MAX : (int)d->len, d->text);
	}
	if (c->json) lm_buf_str(b, "]}\n");
}

static int rank(struct verb *v, const struct input *in, int batch, struct lm_err *err)
{
	struct cli *c = v->c;
	float *score = lm_calloc((size_t)in->n, sizeof *score);
	struct ranked *r = lm_calloc((size_t)in->n, sizeof *r);
	struct lm_buf b = { 0 };
	int rc = score && r ? 0 : lm_fail(err, LM_ENOMEM, "out of memory for %d results", in->n);
	for (int i = 0; i < in->n && !rc; i += batch)
		rc = lm_rerank(v->e, c->query, strlen(c->query), in->t + i, in->n - i < batch ? in->n - i : batch, &v->o, score + i,
			       NULL, err);
	for (int i = 0; i < in->n && !rc; i++) r[i] = (struct ranked){ i, score[i] };
	if (!rc) {
		qsort(r, (size_t)in->n, sizeof *r, by_score);
		show_ranked(c, &b, r, c->top_n && c->top_n < in->n ? c->top_n : in->n, in->t);
		if (b.bad) rc = lm_fail(err, LM_ENOMEM, "out of memory for the result");
	}
	if (!rc && cli_write(lm_buf_cstr(&b), b.n) > 0) rc = lm_fail(err, LM_EIO, "the result is incomplete");
	lm_buf_free(&b);
	lm_free(score);
	lm_free(r);
	return rc;
}

int rerank_main(struct cli *c)
{
	struct verb v = { 0 };
	struct input in = { 0 };
	struct lm_err err = { 0 };
	if (!c->query) c->query = c->prompt;
	c->prompt = NULL;
	if (!c->query) return cli_say(CLI_USAGE, "rerank needs what to look for: -p QUERY, then the texts as words, by -f or standard input");
	if (c->tokens) return cli_say(CLI_USAGE, "rerank takes texts, not --tokens");
	int batch, status = open_model(&v, c, &batch), rc = 0;
	if (status != CLI_OK) return finish(&v, status);
	rc = gather(c, &in, &err);
	if (!rc) rc = rank(&v, &in, batch, &err);
	if (rc) status = fail(&err);
	input_free(&in);
	return finish(&v, status);
}
