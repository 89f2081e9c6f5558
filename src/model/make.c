/* make.c - tensors that cannot be used where they lie: derived, converted to another precision, quantised on load.
 * One tensor at a time, its rows shared by threads; beyond the result only a few rows are held. */
#include "model/layers.h"

enum { ROWS_BYTES = 1 << 20 };               /* of source rows that a thread holds at a time */

struct make_job {
	const struct tensor *t;
	enum dtype want;
	int64_t n_rows, cols, in, out;           /* bytes of a row before and after */
	char *dst;
	struct lm_pool *pool;
	struct lm_err err[64];                   /* by thread */
};

/* Rows [lo, hi): the source's bytes, then f32, then the wanted type, through tmp when they differ. */
static int make_rows(const struct make_job *j, int64_t lo, int64_t hi, char *tmp, float *f, struct lm_err *err)
{
	char *dst = j->dst + lo * j->out;
	int rc;

	if (j->want == j->t->type) return tensor_rows(j->t, lo, hi - lo, dst, err);
	if ((rc = tensor_rows(j->t, lo, hi - lo, tmp, err))) return rc;
	for (int64_t r = 0; r < hi - lo; r++) {
		quant_info(j->t->type)->decode(f, tmp + r * j->in, j->cols);
		quant_info(j->want)->encode(dst + r * j->out, f, NULL, j->cols);
	}
	return 0;
}

static void make_run(void *ctx, int tid, int nt)
{
	struct make_job *j = ctx;
	int64_t step = ROWS_BYTES / j->in > 0 ? ROWS_BYTES / j->in : 1, lo, hi;
	bool other = j->want != j->t->type;
	char *tmp = other ? lm_malloc((size_t)(step * j->in)) : NULL;
	float *f = other ? lm_malloc((size_t)j->cols * sizeof *f) : NULL;
	struct lm_err *err = &j->err[tid];

	(void)nt;
	if (other && (!tmp || !f)) lm_fail(err, LM_ENOMEM, "out of memory for %s", j->t->name);
	while (lm_pool_next(j->pool, j->n_rows, step, &lo, &hi))
		if (!err->code) make_rows(j, lo, hi, tmp, f, err);
	lm_free(tmp);
	lm_free(f);
}

static int fill(struct make_job *j, int n_threads, struct lm_err *err)
{
	j->pool = lm_pool_new(n_threads > 64 ? 64 : n_threads);
	if (!j->pool || lm_pool_size(j->pool) > 64) {
		lm_pool_free(j->pool);
		j->pool = lm_pool_new(1);
	}
	if (!j->pool) return lm_fail(err, LM_ENOMEM, "out of memory for threads");
	lm_pool_run(j->pool, make_run, j);
	lm_pool_free(j->pool);
	for (int i = 0; i < 64; i++)
		if (j->err[i].code) return lm_fail(err, j->err[i].code, "%s", j->err[i].msg);
	return 0;
}

int model_make(struct model *m, const struct tensor *t, enum dtype want, const struct model_opt *o, const void **data,
	       struct lm_err *err)
{
	struct made *made;
	size_t n = 0;
	int rc;

	if (t->data && want == t->type) {
		*data = t->data;
		return 0;
	}
	struct make_job *j = lm_calloc(1, sizeof *j);
	if (!j) return lm_fail(err, LM_ENOMEM, "out of memory for %s", t->name);
	j->t = t;
	j->want = want;
	j->n_rows = tensor_n_rows(t);
	j->cols = t->dim[t->n_dims - 1];
	j->in = quant_row_bytes(t->type, j->cols);
	j->out = quant_row_bytes(want, j->cols);
	made = lm_new(m->arena, struct made, 1);
	rc = j->in < 1 || j->out < 1 || !lm_mul_size((size_t)j->out, (size_t)j->n_rows, &n)
		     ? lm_fail(err, LM_EFORMAT, "%s: rows of %lld elements cannot be made %s", t->name,
			       (long long)j->cols, quant_info(want)->name)
		     : 0;
	if (!rc && !(j->dst = made ? lm_pages(n) : NULL)) rc = lm_fail(err, LM_ENOMEM, "out of memory for %s", t->name);
	if (!rc) {
		*made = (struct made){ j->dst, n, m->made };
		m->made = made;
		m->info.made_bytes += n;
		*data = j->dst;
		rc = o && o->dry ? 0 : fill(j, o ? o->n_threads : 0, err);
	}
	lm_free(j);
	return rc;
}
