/* cpu_ssm.c - recurrent ops: tokens one after the other, channels and heads shared among the threads.
 *
 * How the state of the scans lies is ours: Mamba-2 [head][n_state][dim], Mamba-1 in blocks of BLOCK channels
 * [n_state][channels], delta [head][dim_k][dim_v]; so lanes are elements that never meet. */
#include "kernels/cpu_backend.h"

enum { BLOCK = 64 };                 /* channels that a thread takes at a time */

/* n values of row t's state, zeroed where the sequence begins. */
static float *state_of(struct mat state, const struct seqs *s, int t, int64_t at, int64_t n)
{
	float *p = f32_row(state, s->slot[s->seq[t]]) + at;
	if (s->pos[t] == 0) memset(p, 0, (size_t)n * sizeof *p);
	return p;
}

/* ---- convolution ------------------------------------------------------------------------------------------------ */
struct conv_job { struct cpu *c; struct mat y, x, state; const struct mat *w, *bias; int taps; enum act act; const struct seqs *s; };

/* Rows [t0, t1) of one sequence, n columns from c0; taps: [K][BLOCK]. */
static void conv_run(const struct conv_job *j, float (*taps)[BLOCK], int t0, int t1, int c0, int n)
{
	const float *bias = j->bias && j->bias->base ? f32_row(*j->bias, 0) + c0 : NULL;
	float *old = f32_row(j->state, j->s->slot[j->s->seq[t0]]) + c0;
	int last = j->taps - 1, cols = j->x.cols;

	for (int k = 0; j->s->pos[t0] == 0 && k < last; k++) memset(old + (int64_t)k * cols, 0, (size_t)n * sizeof *old);
	for (int t = t0; t < t1; t++) {
		float *y = f32_row(j->y, t) + c0, sum[BLOCK] = { 0 };
		for (int k = 0; k <= last; k++) {
			int at = t - last + k;
			const float *x = at >= t0 ? f32_row(j->x, at) + c0 : old + (int64_t)(at - t0 + last) * cols;
			for (int i = 0; i < n; i++) sum[i] = sum[i] + taps[k][i] * x[i];
		}
		for (int i = 0; i < n; i++) y[i] = bias ? sum[i] + bias[i] : sum[i];
		if (j->act != ACT_NONE) j->c->k.act(y, y, NULL, n, j->act);
	}
	for (int k = 0; k < last; k++) {         /* the last K - 1 rows of state and x together */
		int at = t1 - last + k;
		const float *x = at >= t0 ? f32_row(j->x, at) + c0 : old + (int64_t)(at - t0 + last) * cols;
		memmove(old + (int64_t)k * cols, x, (size_t)n * sizeof *old);
	}
}

static void conv_job(void *ctx, int tid, int nt)
{
	const struct conv_job *j = ctx;
	const struct seqs *s = j->s;
	float taps[MAX_CONV][BLOCK];
	int64_t lo, hi;

	lm_split(j->x.cols, BLOCK, tid, nt, &lo, &hi);
	for (int c0 = (int)lo; c0 < hi; c0 += BLOCK) {
		int n = hi - c0 < BLOCK ? (int)(hi - c0) : BLOCK;
		const float *w = f32_row(*j->w, 0) + (int64_t)c0 * j->taps;
		for (int i = 0; i < n; i++)
			for (int k = 0; k < j->taps; k++) taps[k][i] = w[i * j->taps + k];
		for (int t = 0, end; t < s->n_rows; t = end) {
			for (end = t + 1; end < s->n_rows && s->seq[end] == s->seq[t];) end++;
			conv_run(j, taps, t, end, c0, n);
		}
	}
}

void cpu_conv(struct backend *b, struct mat y, struct mat x, const struct mat *w, const struct mat *bias, struct mat state,
              enum act a, const struct seqs *s)
{
	struct conv_job j = { cpu_of(b), y, x, state, w, bias, w->cols / x.cols, a, s };
	cpu_run(j.c, 8 * (int64_t)s->n_rows * x.cols, conv_job, &j);
}

/* ---- Mamba ------------------------------------------------------------------------------------------------------ */
struct ssm_job { struct cpu *c; struct mat y, x, bm, cm, dt, state; const struct ssm *m; const struct seqs *s; };

static float step_size(const struct ssm *m, float dt, float bias)
{
	float d = lm_softplusf(dt + bias);
	return d < m->dt_min ? m->dt_min : d > m->dt_max ? m->dt_max : d;
}

/* Mamba-2: whole heads. */
static void ssm_job(void *ctx, int tid, int nt)
{
	const struct ssm_job *j = ctx;
	const struct ssm *m = j->m;
	int64_t lo, hi, size = (int64_t)m->dim * m->n_state;
	const float *a = f32_row(*m->a, 0), *d = f32_row(*m->d, 0), *bias = f32_row(*m->dt_bias, 0);
	float xd[MAX_SSM_DIM];

	cpu_share(m->n_head, tid, nt, &lo, &hi);
	for (int64_t h = lo; h < hi; h++) {
		int64_t g = h / (m->n_head / m->n_group) * m->n_state;
		for (int t = 0; t < j->s->n_rows; t++) {
			float *st = state_of(j->state, j->s, t, h * size, size), *y = f32_row(j->y, t) + h * m->dim;
			const float *x = f32_row(j->x, t) + h * m->dim;
			float dt = step_size(m, f32_row(j->dt, t)[h], bias[h]);
			for (int i = 0; i < m->dim; i++) xd[i] = dt * x[i];
			j->c->k.ssm(y, st, xd, f32_row(j->bm, t) + g, f32_row(j->cm, t) + g, lm_expf(dt * a[h]), m->n_state, m->dim);
			for (int i = 0; i < m->dim; i++) y[i] = y[i] + d[h] * x[i];
		}
	}
}

/* Mamba-1: n channels from c0, each a head of one element with its own rates. */
static void ssm1_block(const struct ssm_job *j, int64_t c0, int n)
{
	const struct ssm *m = j->m;
	const float *a = f32_row(*m->a, 0) + c0 * m->n_state, *d = f32_row(*m->d, 0) + c0, *bias = f32_row(*m->dt_bias, 0) + c0;
	float dt[BLOCK], xd[BLOCK], da[BLOCK];

	for (int t = 0; t < j->s->n_rows; t++) {
		float *st = state_of(j->state, j->s, t, c0 * m->n_state, (int64_t)n * m->n_state), *y = f32_row(j->y, t) + c0;
		const float *x = f32_row(j->x, t) + c0, *in = f32_row(j->dt, t) + c0;
		const float *bv = f32_row(j->bm, t), *cv = f32_row(j->cm, t);
		for (int i = 0; i < n; i++) {
			dt[i] = step_size(m, in[i], bias[i]);
			xd[i] = dt[i] * x[i];
			y[i] = 0;
		}
		for (int k = 0; k < m->n_state; k++) {
			for (int i = 0; i < n; i++) da[i] = dt[i] * a[i * m->n_state + k];
			j->c->k.exp(da, da, n);
			j->c->k.ssm_state(y, st + (int64_t)k * n, xd, da, bv[k], cv[k], n);
		}
		for (int i = 0; i < n; i++) y[i] = y[i] + d[i] * x[i];
	}
}

static void ssm1_job(void *ctx, int tid, int nt)
{
	const struct ssm_job *j = ctx;
	int64_t lo, hi;

	lm_split(j->m->n_head, BLOCK, tid, nt, &lo, &hi);
	for (int64_t c0 = lo; c0 < hi; c0 += BLOCK) ssm1_block(j, c0, hi - c0 < BLOCK ? (int)(hi - c0) : BLOCK);
}

void cpu_ssm(struct backend *b, struct mat y, struct mat x, struct mat bm, struct mat c, struct mat dt, const struct ssm *m,
             struct mat state, const struct seqs *s)
{
	struct ssm_job j = { cpu_of(b), y, x, bm, c, dt, state, m, s };
	bool own_rates = m->a->cols > m->n_head;         /* Mamba-1 */
	cpu_run(j.c, 2 * (int64_t)s->n_rows * x.cols * m->n_state, own_rates ? ssm1_job : ssm_job, &j);
}

/* ---- gated delta rule --------------------------------------------------------------------------------------------- */
struct delta_job { struct cpu *c; struct mat y, q, k, v, alpha, beta, state; const struct delta *m; const struct seqs *s; };

/* o = x / |x| * scale; the squares in 16 lanes */
static void unit(float *o, const float *x, int n, float scale)
{
	float sq[16] = { 0 };
	for (int i = 0; i < n; i++) sq[i % 16] = sq[i % 16] + x[i] * x[i];
	for (int w = 8; w > 0; w /= 2)
		for (int i = 0; i < w; i++) sq[i] += sq[i + w];
	float r = scale / sqrtf(sq[0] + 1e-6f);
	for (int i = 0; i < n; i++) o[i] = x[i] * r;
}

static void delta_job(void *ctx, int tid, int nt)
{
	const struct delta_job *j = ctx;
	const struct delta *m = j->m;
	int64_t lo, hi, size = (int64_t)m->dim_k * m->dim_v;
	float q[MAX_SSM_DIM], k[MAX_SSM_DIM], scale = 1.0f / sqrtf((float)m->dim_k);

	cpu_share(m->n_v, tid, nt, &lo, &hi);
	for (int64_t h = lo; h < hi; h++) {
		int64_t from = h / (m->n_v / m->n_k) * m->dim_k;
		float a = f32_row(*m->a, 0)[h], bias = f32_row(*m->dt_bias, 0)[h];
		for (int t = 0; t < j->s->n_rows; t++) {
			float *st = state_of(j->state, j->s, t, h * size, size);
			float decay = lm_expf(a * lm_softplusf(f32_row(j->alpha, t)[h] + bias));
			unit(q, f32_row(j->q, t) + from, m->dim_k, scale);
			unit(k, f32_row(j->k, t) + from, m->dim_k, 1);
			j->c->k.delta(f32_row(j->y, t) + h * m->dim_v, st, q, k, f32_row(j->v, t) + h * m->dim_v, decay,
			              lm_sigmoidf(f32_row(j->beta, t)[h]), m->dim_k, m->dim_v);
		}
	}
}

void cpu_delta(struct backend *b, struct mat y, struct mat q, struct mat k, struct mat v, struct mat alpha, struct mat beta,
               const struct delta *m, struct mat state, const struct seqs *s)
{
	struct delta_job j = { cpu_of(b), y, q, k, v, alpha, beta, state, m, s };
	cpu_run(j.c, 3 * (int64_t)s->n_rows * v.cols * m->dim_k, delta_job, &j);
}
