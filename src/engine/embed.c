/* embed.c - texts to vectors and classes, on the engine thread: a pass packs whole texts; one that is longer than a pass
 * goes alone, in parts where the model is causal.  The pooled row of a text does not depend on its company (exact.h). */
#include "engine/engine.h"
#include <math.h>
#include <string.h>

struct pooler {                                  /* memory of the passes, apart from the requests' */
	struct state *s;
	int rows, blocks;
	int32_t *ints;                           /* all arrays below: one allocation */
	int32_t *token, *pos, *seq, *type, *ident;
	uint8_t *want;
	const int32_t *table[MAX_TEXTS];
	int32_t slot[MAX_TEXTS];
	uint8_t extended[MAX_TEXTS];
	float *out; size_t n_out;                /* rows of a pass */
	float *x, *y;                            /* [MAX_TEXTS] pooled rows; through the dense layers */
};
struct pass { struct pool_job *j; int first, n, from, rows, blocks; };   /* texts [first, first+n), the first one from row `from` */

static int text_blocks(int n) { return (n + KV_BLOCK - 1) / KV_BLOCK; }

static void pooler_drop(struct pooler *p)
{
	state_free(p->s);
	lm_free(p->ints);
	lm_free(p->want);
	lm_free(p->x);
	lm_free(p->y);
	p->s = NULL;
	p->ints = NULL;
	p->want = NULL;
	p->x = p->y = NULL;
	p->rows = p->blocks = 0;
}

void embed_free(struct lm_engine *e)
{
	if (!e->pooler) return;
	pooler_drop(e->pooler);
	lm_free(e->pooler->out);
	lm_free(e->pooler);
}

/* Room for passes of `rows` rows and texts of `blocks` blocks together. */
static int pooler_want(struct lm_engine *e, int rows, int blocks, struct lm_err *err)
{
	struct pooler *p = e->pooler ? e->pooler : lm_calloc(1, sizeof *p);
	const struct model_heads *h = model_heads(e->model);
	size_t n_embd = (size_t)model_info(e->model)->n_embd, n_dim = (size_t)h->n_dim > n_embd ? (size_t)h->n_dim : n_embd;
	if (!p) return lm_fail(err, LM_ENOMEM, "out of memory for texts");
	e->pooler = p;
	if (p->s && rows <= p->rows && blocks <= p->blocks) return 0;
	rows = rows > e->n_batch ? rows : e->n_batch;
	blocks = blocks > text_blocks(rows) + MAX_TEXTS ? blocks : text_blocks(rows) + MAX_TEXTS;
	pooler_drop(p);
	size_t r = (size_t)rows;
	p->ints = lm_calloc(4 * r + (size_t)blocks, sizeof *p->ints);
	p->want = lm_calloc(r, 1);
	p->x = lm_calloc(MAX_TEXTS * n_embd, sizeof *p->x);
	p->y = lm_calloc(MAX_TEXTS * n_dim, sizeof *p->y);
	if (!p->ints || !p->want || !p->x || !p->y) {
		pooler_drop(p);
		return lm_fail(err, LM_ENOMEM, "out of memory for passes of %d rows", rows);
	}
	p->token = p->ints, p->pos = p->token + r, p->seq = p->pos + r, p->type = p->seq + r, p->ident = p->type + r;
	for (int i = 0; i < blocks; i++) p->ident[i] = i;
	int rc = state_new(&p->s, e->model, blocks, MAX_TEXTS, rows, e->kv_type, err);
	if (rc) pooler_drop(p);
	else p->rows = rows, p->blocks = blocks;
	return rc;
}

/* ---- what the next pass computes --------------------------------------------------------------------------- */
static struct pass plan(const struct lm_engine *e, struct pool_job *j)
{
	const struct job_text *t = &j->text[j->at];
	struct pass p = { .j = j, .first = j->at, .n = 1, .from = j->n_done, .rows = t->n - j->n_done };
	p.blocks = text_blocks(t->n);
	if (p.rows > e->n_batch && model_heads(e->model)->causal) p.rows = e->n_batch;
	if (p.from > 0) return p;
	while (p.n < MAX_TEXTS && p.first + p.n < j->n_text && p.rows + j->text[p.first + p.n].n <= e->n_batch) {
		const struct job_text *next = &j->text[p.first + p.n++];
		p.rows += next->n;
		p.blocks += text_blocks(next->n);
	}
	return p;
}

static bool wanted(const struct pool_job *j, int i, int n)
{
	if (j->kind == JOB_PICK || j->pool == POOL_LAST) return i == n - 1;
	return j->pool != POOL_CLS || i == 0;
}

/* The rows of text k of the pass: [from, to) of its n. */
static void span(const struct pass *p, int k, int *from, int *to)
{
	int n = p->j->text[p->first + k].n;
	*from = k ? 0 : p->from;
	*to = p->n == 1 && *from + p->rows < n ? *from + p->rows : n;
}

static int fill(const struct lm_engine *e, const struct pass *p, struct batch *b)
{
	struct pooler *w = e->pooler;
	int n = 0, n_want = 0, block = 0, from, to;
	bool types = false;
	for (int k = 0; k < p->n; k++) {
		const struct job_text *t = &p->j->text[p->first + k];
		w->table[k] = w->ident + block;
		w->slot[k] = k;
		w->extended[k] = e->n_ctx_short && t->n > e->n_ctx_short;
		block += text_blocks(t->n);
		span(p, k, &from, &to);
		for (int i = from; i < to; i++, n++) {
			w->token[n] = t->ids[i];
			w->type[n] = t->types ? t->types[i] : 0;
			w->pos[n] = i;
			w->seq[n] = k;
			w->want[n] = wanted(p->j, i, t->n);
			n_want += w->want[n];
			types |= w->type[n] != 0;
		}
	}
	*b = (struct batch){ .at = { .n_rows = n, .n_seqs = p->n, .token = w->token, .pos = w->pos, .seq = w->seq,
		                     .table = w->table, .slot = w->slot },
		             .want = w->want, .extended = w->extended, .hidden = p->j->kind != JOB_PICK, .type = types ? w->type : NULL };
	return n_want;
}

/* ---- pooling ------------------------------------------------------------------------------------------------ */
static void add_row(enum pooling pool, double *acc, const float *x, int n, int i)
{
	for (int d = 0; d < n; d++) {
		double v = (double)x[d];
		if (pool == POOL_CLS || pool == POOL_LAST) acc[d] = v;
		else if (pool == POOL_MAX) acc[d] = i == 0 || v > acc[d] ? v : acc[d];
		else acc[d] += pool == POOL_WEIGHTED ? (i + 1) * v : v;
	}
}

static double divisor(enum pooling pool, int n)
{
	if (pool == POOL_MEAN) return n;
	if (pool == POOL_MEAN_SQRT) return sqrt(n);
	return pool == POOL_WEIGHTED ? (double)n * (n + 1) / 2 : 1;
}

/* Adds the pass's rows to their texts' sums; how many texts are complete, their pooled rows in w->x. */
static int pool_rows(struct lm_engine *e, const struct pass *p, const float *out)
{
	struct pool_job *j = p->j;
	int n_embd = model_info(e->model)->n_embd, n = 0, from, to;
	for (int k = 0; k < p->n; k++) {
		int len = j->text[p->first + k].n;
		double *acc = j->acc + (size_t)k * (size_t)n_embd, by = divisor(j->pool, len);
		span(p, k, &from, &to);
		for (int d = 0; d < n_embd && from == 0; d++) acc[d] = 0;
		for (int i = from; i < to; i++) {
			if (!wanted(j, i, len)) continue;
			add_row(j->pool, acc, out, n_embd, i);
			out += n_embd;
		}
		for (int d = 0; d < n_embd && to == len; d++)
			e->pooler->x[(size_t)k * (size_t)n_embd + (size_t)d] = (float)(acc[d] / by);
		n += to == len;
	}
	return n;
}

static void unit(float *v, int n)
{
	double sum = 0;
	for (int i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
	double f = 1 / fmax(sqrt(sum), 1e-12);
	for (int i = 0; i < n; i++) v[i] = (float)(v[i] * f);
}

static int vectors(struct lm_engine *e, struct pool_job *j, int first, int n, struct lm_err *err)
{
	struct pooler *w = e->pooler;
	int dim = model_heads(e->model)->n_dim;
	int rc = model_vectors(e->model, w->s, w->x, n, w->y, err);
	for (int k = 0; k < n && !rc; k++) {
		float *to = j->out + (size_t)(first + k) * (size_t)j->n_out;
		memcpy(to, w->y + (size_t)k * (size_t)dim, (size_t)j->n_out * sizeof *to);
		for (int d = 0; d < j->n_out; d++)
			if (!isfinite(to[d]))
				return lm_fail(err, LM_EFORMAT, "the model computed a vector that is not of numbers: its weights "
				               "are damaged or overflow");
		if (j->normalize) unit(to, j->n_out);
	}
	return rc;
}

/* The logits of two tokens after each text. */
static int picks(struct lm_engine *e, const struct pass *p, const float *out)
{
	int n = 0, from, to;
	for (int k = 0; k < p->n; k++) {
		span(p, k, &from, &to);
		if (to < p->j->text[p->first + k].n) continue;
		for (int i = 0; i < 2; i++) p->j->out[2 * (p->first + k) + i] = out[p->j->pick[i]];
		out += e->n_vocab;
		n++;
	}
	return n;
}

static int run(struct lm_engine *e, struct pool_job *j, struct lm_err *err)
{
	struct pass p = plan(e, j);
	struct batch b;
	size_t cols = (size_t)(j->kind == JOB_PICK ? e->n_vocab : model_info(e->model)->n_embd), need;
	int rc = pooler_want(e, p.rows, p.blocks, err), n;
	if (rc) return rc;
	struct pooler *w = e->pooler;
	need = (size_t)fill(e, &p, &b) * cols;
	if (need > w->n_out) {
		float *out = lm_realloc(w->out, need * sizeof *out);
		if (!out) return lm_fail(err, LM_ENOMEM, "out of memory for %zu values", need);
		w->out = out;
		w->n_out = need;
	}
	if ((rc = model_forward(e->model, w->s, &b, w->out, err))) return rc;
	n = j->kind == JOB_PICK ? picks(e, &p, w->out) : pool_rows(e, &p, w->out);
	if (n && j->kind == JOB_VECTORS) rc = vectors(e, j, p.first, n, err);
	if (n && j->kind == JOB_CLASSES)
		rc = model_classes(e->model, w->s, w->x, n, j->out + (size_t)p.first * (size_t)j->n_out, err);
	j->at += n;
	j->n_done = n ? 0 : j->n_done + p.rows;
	return rc;
}

/* ---- the queue ---------------------------------------------------------------------------------------------- */
static void finish(struct lm_engine *e, struct pool_job *j)
{
	lm_free(j->acc);
	j->acc = NULL;
	pthread_mutex_lock(&e->mu);
	e->jobs = j->next;
	if (!e->jobs) e->jobs_tail = &e->jobs;
	j->finished = true;
	pthread_cond_broadcast(&e->job_done);    /* from here on j may be gone */
	pthread_mutex_unlock(&e->mu);
}

static struct pool_job *first(struct lm_engine *e)
{
	pthread_mutex_lock(&e->mu);
	struct pool_job *j = e->jobs;
	pthread_mutex_unlock(&e->mu);
	return j;
}

void embed_step(struct lm_engine *e)
{
	struct pool_job *j = first(e);
	if (!j) return;
	if (!j->acc) j->acc = lm_calloc(MAX_TEXTS * (size_t)model_info(e->model)->n_embd, sizeof *j->acc);
	j->rc = j->acc ? run(e, j, &j->err) : lm_fail(&j->err, LM_ENOMEM, "out of memory for texts");
	if (j->rc || j->at == j->n_text) finish(e, j);
}

void embed_cancel(struct lm_engine *e)
{
	for (struct pool_job *j; (j = first(e));) {
		j->rc = lm_fail(&j->err, LM_ECANCELED, "the engine is closing");
		finish(e, j);
	}
}
