/* ref_ssm.c - recurrent ops, slowly and obviously: doubles within a token, f32 in the state between tokens.
 *
 * GOTCHAS
 *   state  a row at position 0 forgets it; the state of the conv is the input before the convolution, oldest row first
 *   Mamba  softplus after the bias, then the clamp; d * x is added to y, not to the state
 *   delta  the state decays before it is read for the error; q and k are normed per head, the head of k that v shares */
#include "kernels/ref.h"
#include <math.h>
#include <string.h>

static float *row(struct mat m, int64_t r) { return mat_row(m, r); }
static double softplus(double x) { return x > 40 ? x : log1p(exp(x)); }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* The state of row t's sequence, n values, zeroed where the sequence begins. */
static float *state_of(struct mat state, const struct seqs *s, int t, int n)
{
	float *p = row(state, s->slot[s->seq[t]]);
	if (s->pos[t] == 0) memset(p, 0, (size_t)n * sizeof *p);
	return p;
}

void ref_conv(struct backend *b, struct mat y, struct mat x, const struct mat *w, const struct mat *bias, struct mat state,
              enum act a, const struct seqs *s)
{
	int cols = x.cols, n = w->cols / cols;

	for (int t = 0; t < s->n_rows; t++) {
		float *old = state_of(state, s, t, (n - 1) * cols), *o = row(y, t);
		const float *in = row(x, t);
		for (int c = 0; c < cols; c++) {
			const float *tap = row(*w, 0) + (int64_t)c * n;
			double sum = bias && bias->base ? row(*bias, 0)[c] : 0;
			for (int k = 0; k < n; k++) sum += (double)tap[k] * (k < n - 1 ? old[k * cols + c] : in[c]);
			o[c] = (float)sum;
		}
		if (n < 2) continue;
		memmove(old, old + cols, (size_t)(n - 2) * (size_t)cols * sizeof *old);
		memcpy(old + (int64_t)(n - 2) * cols, in, (size_t)cols * sizeof *old);
	}
	if (a != ACT_NONE) b->op->act(b, y, y, NULL, a);
}

void ref_ssm(struct backend *b, struct mat y, struct mat x, struct mat bm, struct mat c, struct mat dt, const struct ssm *m,
             struct mat state, const struct seqs *s)
{
	int n = m->n_state, per_head = m->dim * n, a_step = m->a->cols / m->n_head;
	(void)b;

	for (int t = 0; t < s->n_rows; t++) {
		float *all = state_of(state, s, t, m->n_head * per_head);
		for (int h = 0; h < m->n_head; h++) {
			int g = h / (m->n_head / m->n_group);
			double d = fmin(fmax(softplus(row(dt, t)[h] + row(*m->dt_bias, 0)[h]), m->dt_min), m->dt_max);
			for (int p = 0; p < m->dim; p++) {
				float *st = all + (int64_t)h * per_head + (int64_t)p * n;
				double xi = row(x, t)[h * m->dim + p], sum = 0;
				for (int i = 0; i < n; i++) {
					double decay = exp(d * row(*m->a, 0)[(int64_t)h * a_step + (a_step > 1 ? i : 0)]);
					double v = decay * st[i] + d * xi * row(bm, t)[g * n + i];
					st[i] = (float)v;
					sum += v * row(c, t)[g * n + i];
				}
				row(y, t)[h * m->dim + p] = (float)(sum + row(*m->d, 0)[h] * xi);
			}
		}
	}
}

/* o = x / |x| * scale */
static void unit(double *o, const float *x, int n, double scale)
{
	double sq = 0;
	for (int i = 0; i < n; i++) sq += (double)x[i] * x[i];
	for (int i = 0; i < n; i++) o[i] = x[i] / sqrt(sq + 1e-6) * scale;
}

void ref_delta(struct backend *b, struct mat y, struct mat q, struct mat k, struct mat v, struct mat alpha, struct mat beta,
               const struct delta *m, struct mat state, const struct seqs *s)
{
	int dk = m->dim_k, dv = m->dim_v;
	double qn[MAX_SSM_DIM], kn[MAX_SSM_DIM];
	(void)b;

	for (int t = 0; t < s->n_rows; t++) {
		float *all = state_of(state, s, t, m->n_v * dk * dv);
		for (int h = 0; h < m->n_v; h++) {
			int from = h / (m->n_v / m->n_k) * dk;
			double decay = exp(row(*m->a, 0)[h] * softplus(row(alpha, t)[h] + row(*m->dt_bias, 0)[h]));
			double rate = sigmoid(row(beta, t)[h]);
			unit(qn, row(q, t) + from, dk, 1 / sqrt(dk));
			unit(kn, row(k, t) + from, dk, 1);
			for (int j = 0; j < dv; j++) {
				float *st = all + (int64_t)h * dk * dv + j;
				double mem = 0, out = 0;
				for (int i = 0; i < dk; i++) mem += decay * st[i * dv] * kn[i];
				double e = rate * (row(v, t)[h * dv + j] - mem);
				for (int i = 0; i < dk; i++) {
					double u = decay * st[i * dv] + kn[i] * e;
					st[i * dv] = (float)u;
					out += u * qn[i];
				}
				row(y, t)[h * dv + j] = (float)out;
			}
		}
	}
}
