/* ref_moe.c - the definition of mixture-of-experts ops: which experts a token takes, and what becomes of it there.
 *
 * GOTCHAS
 *   bias     is for choosing only; the weights are the scores without it
 *   groups   a group counts as its best choice, or as the sum of its two best (DeepSeek V3), bias included
 *   softmax  of the chosen only: the choice is by logits then, and the others do not share in the sum */
#include "kernels/ref.h"
#include "base/base.h"
#include <math.h>
#include <string.h>

int ref_moe_room(struct backend *b, const struct moe *m, int n_embd, int n_ff, struct lm_err *err)
{
	struct ref *r = (struct ref *)b;
	size_t n = (size_t)n_embd + 2 * (size_t)n_ff;

	if (m->n_expert > MAX_EXPERTS || m->n_used > m->n_expert)
		return lm_fail(err, LM_EUNSUPPORTED, "%d of %d experts, expected at most %d", m->n_used, m->n_expert,
			       MAX_EXPERTS);
	if (n <= r->n_moe) return 0;
	lm_free(r->moe);
	r->n_moe = 0;
	r->moe = lm_calloc(n, sizeof *r->moe);
	if (!r->moe) return lm_fail(err, LM_ENOMEM, "out of memory for an expert of %d by %d", n_ff, n_embd);
	r->n_moe = n;
	return 0;
}

/* ---- route -------------------------------------------------------------------------------------------- */
static void score(double *s, const float *logit, const struct moe *m)
{
	double sum = 0;
	float top = -INFINITY;

	for (int i = 0; i < m->n_expert; i++) top = fmaxf(top, logit[i]);
	for (int i = 0; i < m->n_expert; i++) {
		if (m->chosen_softmax) s[i] = logit[i];
		else if (m->gate == GATE_SIGMOID) s[i] = 1 / (1 + exp(-(double)logit[i]));
		else sum += s[i] = exp((double)logit[i] - top);
	}
	for (int i = 0; i < m->n_expert && sum > 0; i++) s[i] /= sum;
}

/* The best of n that is not out, the lower index first among equals; it is out then. */
static int take_best(const double *v, bool *out, int n)
{
	int best = -1;
	for (int i = 0; i < n; i++)
		if (!out[i] && (best < 0 || v[i] > v[best])) best = i;
	out[best] = true;
	return best;
}

/* Puts the experts out that are not in one of the best groups. */
static void drop_groups(const double *choice, bool *out, const struct moe *m)
{
	int size = m->n_expert / m->n_group;
	bool taken[MAX_EXPERTS] = { false };
	double worth[MAX_EXPERTS];

	for (int g = 0; g < m->n_group; g++) {
		bool used[MAX_EXPERTS] = { false };
		const double *c = choice + g * size;
		worth[g] = c[take_best(c, used, size)];
		if (m->group_top2 && size > 1) worth[g] += c[take_best(c, used, size)];
	}
	for (int i = 0; i < m->n_group_used; i++) take_best(worth, taken, m->n_group);
	for (int i = 0; i < m->n_expert; i++) out[i] = !taken[i / size];
}

void ref_route(struct backend *b, struct mat sel, struct mat weight, struct mat logits, const struct mat *bias,
	       const struct moe *m)
{
	const float *bv = bias && bias->base ? mat_row(*bias, 0) : NULL;
	(void)b;
	for (int t = 0; t < logits.rows; t++) {
		double s[MAX_EXPERTS], choice[MAX_EXPERTS], w[MAX_EXPERTS], sum = 0;
		bool out[MAX_EXPERTS] = { false };
		int32_t *id = mat_row(sel, t);

		score(s, mat_row(logits, t), m);
		for (int i = 0; i < m->n_expert; i++) choice[i] = s[i] + (bv ? bv[i] : 0);
		if (m->n_group > 1) drop_groups(choice, out, m);
		for (int k = 0; k < m->n_used; k++) {
			id[k] = take_best(choice, out, m->n_expert);
			w[k] = m->chosen_softmax ? exp(s[id[k]] - s[id[0]]) : s[id[k]];
			sum += w[k];
		}
		for (int k = 0; k < m->n_used; k++) {
			double share = m->chosen_softmax ? w[k] / sum : m->renorm ? w[k] / (sum + 1e-20) : w[k];
			((float *)mat_row(weight, t))[k] = (float)(share * m->scale);
		}
	}
}

/* ---- experts ------------------------------------------------------------------------------------------ */
static struct mat vector(float *p, int n)
{
	return (struct mat){ .base = p, .rows = 1, .cols = n, .stride = (int64_t)n * (int64_t)sizeof *p, .type = DT_F32 };
}

/* Expert i of one row x; returns its output. */
static const float *expert(struct ref *r, const struct experts *e, int i, struct mat x)
{
	struct backend *b = &r->b;
	struct mat none = { 0 }, bg = e->bgate.base ? mat_rows(e->bgate, i, 1) : none;
	struct mat bu = e->bup.base ? mat_rows(e->bup, i, 1) : none, bd = e->bdown.base ? mat_rows(e->bdown, i, 1) : none;
	struct mat g = vector(r->moe, e->n_ff), u = vector(r->moe + e->n_ff, e->n_ff);
	struct mat y = vector(r->moe + 2 * e->n_ff, e->down[i].rows);

	b->op->linear(b, &(struct lin){ e->gate ? u : g, &e->up[i], &bu, 1 }, 1, x);
	if (e->gate) b->op->linear(b, &(struct lin){ g, &e->gate[i], &bg, 1 }, 1, x);
	b->op->act(b, g, g, e->gate ? &u : NULL, e->act);
	b->op->linear(b, &(struct lin){ y, &e->down[i], &bd, 1 }, 1, g);
	return y.base;
}

void ref_experts(struct backend *b, struct mat y, struct mat x, const struct experts *e, struct mat sel,
		 struct mat weight)
{
	for (int t = 0; t < x.rows; t++) {
		float *o = mat_row(y, t);
		const int32_t *id = mat_row(sel, t);
		const float *w = mat_row(weight, t);

		memset(o, 0, (size_t)y.cols * sizeof *o);
		for (int k = 0; k < sel.cols; k++) {
			const float *out = expert((struct ref *)b, e, id[k], mat_rows(x, t, 1));
			for (int c = 0; c < y.cols; c++) o[c] = (float)(o[c] + (double)w[k] * out[c]);
		}
	}
}
