/* score.c - the log-probability of every token of a text, given those before it. */
#include "base/json.h"
#include "cli/cli.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TOP = 10, MAX_TEXT = 1 << 30 };

/* Filled from the engine thread, read after its request is done. */
struct score {
	const int32_t *ids; int n;
	float *lp;                             /* [n]; lp[0] has no meaning */
	struct lm_lp top[N_TOP]; int n_top;    /* after the last token */
	FILE *rows;                            /* full rows; NULL: not asked */
};

/* The best N_TOP of row[0..n), ties by lower id. */
static int best(const float *row, int n, struct lm_lp *top)
{
	int k = 0;
	for (int id = 0; id < n; id++) {
		if (k == N_TOP && !(row[id] > top[k - 1].logprob)) continue;
		int at = k < N_TOP ? k++ : k - 1;
		for (; at > 0 && row[id] > top[at - 1].logprob; at--) top[at] = top[at - 1];
		top[at] = (struct lm_lp){ id, row[id] };
	}
	return k;
}

static void write_row(FILE *f, const float *row, int n)
{
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
		fwrite(row, sizeof *row, (size_t)n, f);        /* the error is sticky: tested at the end */
		return;
	}
	for (int i = 0; i < n; i++) {
		uint32_t u;
		memcpy(&u, &row[i], 4);
		for (int k = 0; k < 4; k++) putc((int)(u >> 8 * k & 0xFF), f);
	}
}

static void on_row(void *ud, int pos, const float *row, int n_vocab)
{
	struct score *s = ud;
	if (pos + 1 < s->n) s->lp[pos + 1] = row[s->ids[pos + 1]];
	else if (pos + 1 == s->n) s->n_top = best(row, n_vocab, s->top);
	if (s->rows && pos < s->n) write_row(s->rows, row, n_vocab);
}

/* ---- results ----------------------------------------------------------------------------------------- */
static void as_json(struct lm_buf *b, const struct score *s)
{
	lm_buf_str(b, "{\"tokens\":[");
	for (int i = 0; i < s->n; i++) lm_buf_fmt(b, "%s%d", i ? "," : "", (int)s->ids[i]);
	lm_buf_str(b, "],\"logprobs\":[null");
	for (int i = 1; i < s->n; i++) {
		lm_buf_char(b, ',');
		lm_json_f32(b, s->lp[i]);
	}
	lm_buf_str(b, "],\"top\":[");
	for (int i = 0; i < s->n_top; i++) {
		lm_buf_fmt(b, "%s[%d,", i ? "," : "", (int)s->top[i].id);
		lm_json_f32(b, s->top[i].logprob);
		lm_buf_char(b, ']');
	}
	lm_buf_str(b, "]}\n");
}

static void as_text(struct lm_buf *b, const struct score *s)
{
	for (int i = 0; i < s->n; i++) {
		lm_buf_fmt(b, "%d\t", (int)s->ids[i]);
		if (i) lm_json_f32(b, s->lp[i]);
		else lm_buf_char(b, '-');
		lm_buf_char(b, '\n');
	}
}

static void summary(const struct cli *c, const struct score *s)
{
	double sum = 0;
	for (int i = 1; i < s->n; i++) sum += (double)s->lp[i];
	if (s->n > 1)
		cli_note(c, "%d tokens scored | mean %.5f | perplexity %.4f", s->n - 1, sum / (s->n - 1),
			 exp(-sum / (s->n - 1)));
}

/* ---- one sequence ------------------------------------------------------------------------------------ */
static int run(struct cli *c, struct lm_engine *e, struct score *s, struct answer *a, struct lm_err *err)
{
	struct lm_prompt p = { .ids = s->ids, .n_ids = s->n, .max_tokens = 0,
		.on_logits = on_row, .on_logits_ud = s, .sampling = c->sampling };
	if (s->n == 0) return lm_fail(err, LM_EINVAL, "there is no token to score");
	s->lp = lm_calloc((size_t)s->n, sizeof *s->lp);
	if (!s->lp) return lm_fail(err, LM_ENOMEM, "out of memory for %d log-probabilities", s->n);
	return cli_answer(a, e, &p, false, err);
}

static int score(struct cli *c, struct lm_engine *e, const int32_t *ids, int n, FILE *rows,
		 struct lm_err *err)
{
	struct score s = { .ids = ids, .n = n, .rows = rows };
	struct answer a = { 0 };
	struct lm_buf b = { 0 };
	int rc = run(c, e, &s, &a, err);
	if (!rc && a.interrupted) rc = lm_fail(err, LM_ECANCELED, "interrupted");
	if (!rc) {
		if (c->json || c->from_stdin) as_json(&b, &s);
		else as_text(&b, &s);
		if (b.bad) rc = lm_fail(err, LM_ENOMEM, "out of memory for the result");
		else if (cli_write(b.p, b.n) > 0) rc = lm_fail(err, LM_EIO, "the result is incomplete");
	}
	if (!rc && !c->from_stdin) {
		summary(c, &s);
		cli_timing(c, e, &a);
	}
	cli_answer_free(&a);
	lm_buf_free(&b);
	lm_free(s.lp);
	return rc;
}

/* ---- input ------------------------------------------------------------------------------------------- */
static int text_ids(struct cli *c, struct lm_engine *e, const struct lm_buf *text, int32_t **ids, int *n,
		    struct lm_err *err)
{
	const char *s = text->p ? text->p : "";
	int count = lm_tokenize(e, s, text->n, c->no_bos ? 0 : LM_ADD_BOS, !c->no_special, NULL, 0, err);
	if (count < 0) return count;
	*ids = lm_malloc((size_t)count * sizeof **ids);
	if (!*ids) return lm_fail(err, LM_ENOMEM, "out of memory for %d token ids", count);
	*n = lm_tokenize(e, s, text->n, c->no_bos ? 0 : LM_ADD_BOS, !c->no_special, *ids, count, err);
	return *n < 0 ? *n : 0;
}

/* --tokens, or the text of -p, -f or standard input, byte for byte. */
static int score_one(struct cli *c, struct lm_engine *e, FILE *rows, struct lm_err *err)
{
	struct lm_buf text = { 0 };
	int32_t *ids = NULL;
	int n = 0, rc;
	if (c->tokens) rc = cli_ids(c->tokens, &ids, &n, err);
	else {
		rc = 0;
		if (c->prompt) lm_buf_str(&text, c->prompt);
		else rc = lm_read_file(&text, c->file ? c->file : "-", MAX_TEXT, err);
		if (!rc && !lm_utf8_valid(lm_buf_cstr(&text), text.n))
			rc = lm_fail(err, LM_EFORMAT, "the text to score is not UTF-8");
		if (!rc) rc = text_ids(c, e, &text, &ids, &n, err);
	}
	if (!rc) rc = score(c, e, ids, n, rows, err);
	lm_free(ids);
	lm_buf_free(&text);
	return rc;
}

static int score_lines(struct cli *c, struct lm_engine *e, FILE *rows, struct lm_err *err)
{
	struct lm_buf line = { 0 };
	int rc = 0;
	for (long at = 1; !rc && cli_line(&line); at++) {
		int32_t *ids = NULL;
		int n = 0;
		rc = line.bad ? lm_fail(err, LM_ENOMEM, "out of memory for a line")
			      : cli_json_ids(lm_buf_cstr(&line), line.n, &ids, &n, err);
		if (!rc) rc = score(c, e, ids, n, rows, err);
		if (rc) lm_context(err, "standard input, line %ld: ", at);
		lm_free(ids);
	}
	lm_buf_free(&line);
	return rc;
}

int score_main(struct cli *c)
{
	struct lm_engine *e = NULL;
	struct lm_err err = { 0 };
	FILE *rows = NULL;
	if (c->words.n)
		return cli_say(
			CLI_USAGE,
			"score takes its text by -p, -f, --tokens or standard input, not as the word '%s'",
			c->words.v[0]);
	/* an f16 cache alone moves log-probabilities by up to 7e-3: f32 where the weights or the device deserve it */
	int status = cli_open(&e, c, false, c->kv_k || c->kv_v ? NULL : "auto");
	if (status == CLI_OK && c->logprobs_out && !(rows = fopen(c->logprobs_out, "wb")))
		status = cli_say(CLI_FAILED, "%s: %s", c->logprobs_out, strerror(errno));
	if (status == CLI_OK) {
		int rc = c->from_stdin ? score_lines(c, e, rows, &err) : score_one(c, e, rows, &err);
		if (rc) status = cli_fail(&err);
	}
	if (rows) {
		bool bad = ferror(rows);
		errno = 0;
		if (fclose(rows) || bad)
			status = cli_say(CLI_FAILED, "%s: %s", c->logprobs_out,
					 errno ? strerror(errno) : "not everything could be written");
	}
	lm_engine_close(e);
	return status;
}
