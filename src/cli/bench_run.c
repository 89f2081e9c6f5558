/* bench_run.c - the runs that `lmrun bench` measures.
 *
 * What comes before (-d) is computed once: each run finds it in the prefix cache, and ends otherwise than those before
 * it, so that nothing else helps.  Of sequences that generate together only the time when all of them do counts. */
#include "cli/bench.h"
#include "kernels/ops.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { SLACK = 32 };                     /* tokens by which sequences submitted one after another may be apart */

int bench_context(const struct bench_test *t)
{
	int each = t->depth + t->n + 64 + (t->n_seqs > 1 ? SLACK : 0);
	return each * t->n_seqs;
}

/* Counts tokens from when each sequence has its first one.  The engine thread writes. */
struct watch { int n_seqs, n_started, n, total; double t0, t1; atomic_bool over; };
struct seq { struct lm_request *r; struct watch *w; bool started; int32_t *ids; struct lm_event done; };

static void on_event(void *ud)
{
	struct seq *s = ud;
	struct watch *w = s->w;
	if (!s->started) {
		s->started = true;
		if (++w->n_started == w->n_seqs) w->t0 = lm_now();
	} else if (w->n_started == w->n_seqs && ++w->n == w->total) {
		w->t1 = lm_now();
		atomic_store(&w->over, true);
	}
}

/* Waits for the last event; when the watch is over the rest is cancelled. */
static int finish(struct seq *s, struct lm_err *err)
{
	for (;;) {
		if (atomic_load(&s->w->over)) lm_cancel(s->r);
		if (!lm_next(s->r, &s->done, 10)) continue;
		if (s->done.kind == LM_DONE) return 0;
		if (s->done.kind != LM_FAILED) continue;
		*err = s->done.err;
		return err->code;
	}
}

/* One request for each of n sequences of n_ids tokens, to their end or until `total` tokens were counted. */
static int run(struct lm_engine *e, struct seq *s, int n, int n_ids, int n_gen, struct watch *w, struct lm_err *err)
{
	struct lm_prompt p = { .n_ids = n_ids, .max_tokens = n_gen, .notify = on_event };
	int rc = 0, n_sub = 0;
	lm_sampling_default(&p.sampling);
	p.sampling.temperature = 0;
	p.sampling.repeat = 1;
	p.sampling.ignore_eos = true;
	for (; n_sub < n; n_sub++) {
		struct seq *q = &s[n_sub];
		q->w = w;
		q->started = false;
		p.ids = q->ids;
		p.notify_ud = q;
		rc = lm_submit(&q->r, e, &p, err);
		if (rc) break;
	}
	if (rc) atomic_store(&w->over, true);
	for (int i = 0; i < n_sub; i++) {
		struct lm_err later;
		int rc2 = finish(&s[i], rc ? &later : err);
		if (!rc) rc = rc2;
		lm_request_free(s[i].r);
	}
	return rc;
}

int bench_first(struct lm_engine *e, struct lm_err *err)
{
	int32_t one = 1;
	struct watch w = { .n_seqs = 1 };
	return run(e, &(struct seq){ .ids = &one }, 1, 1, 1, &w, err);
}

static void fill(int32_t *ids, int n, int salt, int n_vocab)
{
	uint32_t k = (uint32_t)salt;
	for (uint32_t i = 0; i < (uint32_t)n; i++) ids[i] = (int32_t)((k * 7919 + i * 104729 + (k + i) * (i % 13)) % (uint32_t)n_vocab);
}

/* Tokens a second of one run over n tokens. */
static int measure(struct lm_engine *e, const struct bench_test *t, struct seq *s, int n, double *ts, struct lm_err *err)
{
	static int salt = BENCH_SEQS;            /* below: those of the depth */
	struct watch w = { .n_seqs = t->n_seqs, .total = t->gen ? n * t->n_seqs : -1 };
	int n_new = t->gen ? 1 : n, n_gen = !t->gen ? 1 : t->n_seqs > 1 ? n + 1 + SLACK : n + 1;
	for (int i = 0; i < t->n_seqs; i++) fill(s[i].ids + t->depth, n_new, ++salt, lm_info(e)->n_vocab);
	int rc = run(e, s, t->n_seqs, t->depth + n_new, n_gen, &w, err);
	if (rc) return rc;
	if (t->gen) {
		if (!atomic_load(&w.over)) return lm_fail(err, LM_ELIMIT, "%d sequences do not run together here", t->n_seqs);
		*ts = w.total / (w.t1 - w.t0);
		return 0;
	}
	const struct lm_event *d = &s[0].done;
	*ts = (d->n_prompt - d->n_cached) / d->t_prompt;
	if (d->n_cached > t->depth - KV_BLOCK) return 0;
	return lm_fail(err, LM_EUNSUPPORTED, "prompts at a depth need the prefix cache, which %s does without", lm_info(e)->arch);
}

static void summarise(struct bench_result *r)
{
	double sum = 0, sq = 0;
	for (int i = 0; i < r->n; i++) sum += r->ts[i];
	r->mean = sum / r->n;
	for (int i = 0; i < r->n; i++) sq += (r->ts[i] - r->mean) * (r->ts[i] - r->mean);
	r->dev = r->n > 1 ? sqrt(sq / (r->n - 1)) : 0;
}

int bench_run(struct lm_engine *e, const struct bench_test *t, struct bench_result *r, struct lm_err *err)
{
	const struct lm_model_info *info = lm_info(e);
	struct seq s[BENCH_SEQS] = { { 0 } };
	size_t each = (size_t)t->depth + (size_t)t->n + 1;
	int32_t *ids = lm_calloc(each * (size_t)t->n_seqs, sizeof *ids);
	int rc = ids ? 0 : lm_fail(err, LM_ENOMEM, "out of memory");
	double ts = 0;
	r->n = 0;
	for (int i = 0; i < t->n_seqs && !rc; i++) {
		struct watch w = { .n_seqs = 1 };
		s[i].ids = ids + each * (size_t)i;
		fill(s[i].ids, t->depth, i, info->n_vocab);
		if (t->depth) rc = run(e, &s[i], 1, t->depth + 1, 1, &w, err);
	}
	if (!rc) rc = measure(e, t, s, t->n < 32 ? t->n : 32, &ts, err);     /* warms up */
	while (r->n < t->reps && !rc) {
		rc = measure(e, t, s, t->n, &ts, err);
		r->ts[r->n++] = ts;
	}
	lm_free(ids);
	if (!rc) summarise(r);
	/* a step reads the weights once for all sequences */
	r->gbps = t->gen && !rc ? r->mean / t->n_seqs * (double)info->token_bytes * 1e-9 : 0;
	r->gops = t->gen || rc ? 0 : r->mean * 2 * (double)info->token_macs * 1e-9;
	return rc;
}
