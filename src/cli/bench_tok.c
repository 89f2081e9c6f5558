/* bench_tok.c - `lmrun bench --tokenize FILE`: how fast a model's tokenizer loads and reads a text, on one thread. */
#include "base/json.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 256 << 20, MAX_REPS = 1000 };

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

struct times { double s[MAX_REPS]; int n_ids; };

/* Seconds of each of `reps` passes over the text, after one that warms up. */
static int measure(struct lm_engine *e, const struct lm_buf *text, int reps, struct times *t, struct lm_err *err)
{
	int cap = (int)text->n + 16, n = 0;
	int32_t *ids = lm_malloc((size_t)cap * sizeof *ids);
	if (!ids) return lm_fail(err, LM_ENOMEM, "out of memory for the ids of %zu bytes", text->n);
	for (int i = -1; i < reps && n >= 0; i++) {
		double t0 = lm_now();
		n = lm_tokenize(e, text->p, text->n, 0, true, ids, cap, err);
		if (i >= 0) t->s[i] = lm_now() - t0;
	}
	lm_free(ids);
	t->n_ids = n;
	return n < 0 ? n : 0;
}

static void print(const struct lm_model_info *m, const struct lm_buf *text, struct times *t, int reps, bool json)
{
	qsort(t->s, (size_t)reps, sizeof *t->s, ascending);
	double s = t->s[reps / 2], mb = (double)text->n * 1e-6;
	struct lm_buf o = { 0 };
	if (!json) {
		printf("| %-32.32s | %8d | %9.2f MB | %9d | %8.2f | %8.2f |\n", m->name, m->n_vocab, mb, t->n_ids,
		       mb / s, m->t_load * 1e3);
		return;
	}
	lm_buf_str(&o, "{\"model_filename\":");
	lm_json_string(&o, m->path, strlen(m->path));
	lm_buf_fmt(&o, ",\"n_vocab\":%d,\"bytes\":%zu,\"ids\":%d,\"load_ms\":%.3f,\"mb_per_s\":%.3f,\"median_s\":%.6f,"
		   "\"samples_s\":[", m->n_vocab, text->n, t->n_ids, m->t_load * 1e3, mb / s, s);
	for (int i = 0; i < reps; i++) lm_buf_fmt(&o, "%s%.6f", i ? "," : "", t->s[i]);
	puts(o.bad ? "" : (lm_buf_str(&o, "]}"), lm_buf_cstr(&o)));
	lm_buf_free(&o);
}

int bench_tokenize(const char *const *model, int n, const char *file, int reps, bool json, struct lm_err *err)
{
	static struct times t;
	struct lm_buf text = { 0 };
	int rc = lm_read_file(&text, file, MAX_BYTES, err);
	if (!rc && !json)
		printf("| tokenizer                        |    vocab |         text |       ids |     MB/s |  load ms |\n"
		       "|----------------------------------|----------|--------------|-----------|----------|----------|\n");
	for (int i = 0; i < n && !rc; i++) {
		struct lm_engine_opt o = { .model = model[i], .vocab_only = true };
		struct lm_engine *e;
		rc = lm_engine_open(&e, &o, err);
		if (rc) break;
		rc = measure(e, &text, reps, &t, err);
		if (!rc) print(lm_info(e), &text, &t, reps, json);
		lm_engine_close(e);
	}
	lm_buf_free(&text);
	return rc;
}
