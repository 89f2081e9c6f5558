/* bind_moe.c - the tensors of a layer of experts: one stacked tensor per projection (gate and up together or apart),
 * or one matrix per expert, as folders and early GGUFs have them. */
#include "model/bind.h"
#include <stdio.h>

static const struct slot slots[] = {
	{ "ffn_gate_inp", "weight", L(router), EXPERTS, EMBD, ONE, true },
	{ "ffn_gate_inp", "bias", L(brouter), ONE, EXPERTS, ONE, false },
	{ "exp_probs_b", "bias", L(bchoice), ONE, EXPERTS, ONE, false },
	{ "ffn_gate_shexp", "weight", L(sh.gate), FF_SH, EMBD, ONE, false },
	{ "ffn_up_shexp", "weight", L(sh.up), FF_SH, EMBD, ONE, false },
	{ "ffn_down_shexp", "weight", L(sh.down), EMBD, FF_SH, ONE, false },
	{ "ffn_gate_inp_shexp", "weight", L(sh_gate), ONE, EMBD, EMBD, false },
};

static int misshapen(struct binder *b, const struct tensor *t, int n, int rows, int cols)
{
	char want[64];
	if (n) snprintf(want, sizeof want, "%dx%dx%d", n, rows, cols);
	else snprintf(want, sizeof want, "%dx%d", rows, cols);
	return bind_misshapen(b, t, want);
}

/* A tensor of all experts, rows by cols each. */
static int stacked(struct binder *b, struct mat *all, const struct tensor *t, int rows, int cols)
{
	const struct moe *e = &b->m->hp.moe;
	int rc;

	if (t->n_dims != 3 || t->dim[0] != e->n_expert || t->dim[1] != rows || t->dim[2] != cols)
		return misshapen(b, t, e->n_expert, rows, cols);
	if ((int64_t)e->n_expert * rows > INT32_MAX)
		return lm_fail(b->err, LM_EUNSUPPORTED, "%s: more than %d rows", t->name, INT32_MAX);
	if ((rc = bind_matrix(b, all, t, e->n_expert * rows, cols, true))) return rc;
	bind_count(b, t, all, true, e->n_used, e->n_expert);
	return 0;
}

static int single(struct binder *b, struct mat *out, int il, const char *name, int i, int rows, int cols)
{
	const struct moe *e = &b->m->hp.moe;
	const struct tensor *t;
	char full[64];
	int rc;

	snprintf(full, sizeof full, "%s.%d.weight", name, i);
	t = bind_find(b, il, full);
	if (!t) return lm_fail(b->err, LM_EFORMAT, "the tensor blk.%d.%s is missing", il, full);
	if (t->n_dims != 2 || t->dim[0] != rows || t->dim[1] != cols) return misshapen(b, t, 0, rows, cols);
	if ((rc = bind_matrix(b, out, t, rows, cols, true))) return rc;
	bind_count(b, t, out, true, e->n_used, e->n_expert);
	return 0;
}

/* One projection of all experts; *out stays NULL when the layer has none of that name. */
static int projection(struct binder *b, const struct mat **out, int il, const char *name, int rows, int cols)
{
	int n = b->m->hp.moe.n_expert, rc;
	char full[64];
	const struct tensor *t;
	struct mat all, *w;

	snprintf(full, sizeof full, "%s_exps.weight", name);
	t = bind_find(b, il, full);
	snprintf(full, sizeof full, "%s.0.weight", name);
	if (!t && !bind_find(b, il, full)) return 0;
	w = lm_new(b->m->arena, struct mat, n);
	if (!w) return lm_fail(b->err, LM_ENOMEM, "out of memory for %d experts", n);
	if (t && (rc = stacked(b, &all, t, rows, cols))) return rc;
	for (int i = 0; i < n; i++) {
		if (t) w[i] = mat_rows(all, i * rows, rows);
		else if ((rc = single(b, &w[i], il, name, i, rows, cols))) return rc;
	}
	*out = w;
	return 0;
}

/* Gate and up of an expert in one matrix: the gate's rows first. */
static int fused(struct binder *b, struct layer *l, int il)
{
	int n = b->m->hp.moe.n_expert, ff = l->e.n_ff, rc;
	const struct tensor *t = bind_find(b, il, "ffn_gate_up_exps.weight");
	struct mat all, *gate, *up;

	if (!t) return 0;
	if (l->e.gate || l->e.up)
		return lm_fail(b->err, LM_EFORMAT, "blk.%d: both ffn_gate_up_exps and ffn_gate_exps or ffn_up_exps", il);
	gate = lm_new(b->m->arena, struct mat, n), up = lm_new(b->m->arena, struct mat, n);
	if (!gate || !up) return lm_fail(b->err, LM_ENOMEM, "out of memory for %d experts", n);
	if ((rc = stacked(b, &all, t, 2 * ff, b->m->hp.n_embd))) return rc;
	for (int i = 0; i < n; i++) gate[i] = mat_rows(all, 2 * ff * i, ff), up[i] = mat_rows(all, 2 * ff * i + ff, ff);
	l->e.gate = gate, l->e.up = up;
	return 0;
}

static int biases(struct binder *b, struct mat *out, int il, const char *name, int cols)
{
	const struct tensor *t = bind_find(b, il, name);
	int n = b->m->hp.moe.n_expert, rc;

	if (!t) return 0;
	if (t->n_dims != 2 || t->dim[0] != n || t->dim[1] != cols) return misshapen(b, t, 0, n, cols);
	if ((rc = bind_floats(b, out, t, n, cols))) return rc;
	bind_count(b, t, out, true, b->m->hp.moe.n_used, n);
	return 0;
}

static int bind_shared(struct binder *b, struct layer *l, int il)
{
	bool any = l->sh.gate.base || l->sh.up.base || l->sh.down.base || l->sh_gate.base;

	if (any && (!l->sh.up.base || !l->sh.down.base))
		return lm_fail(b->err, LM_EFORMAT, "blk.%d: ffn_up_shexp and ffn_down_shexp are not both there", il);
	if (any) b->m->shared = true;
	return 0;
}

int bind_moe(struct binder *b, int il)
{
	struct model *m = b->m;
	struct layer *l = &m->layer[il];
	int d = m->hp.n_embd, ff = m->hp.n_ff_exp, rc;

	l->e.act = m->hp.act, l->e.n_expert = m->hp.moe.n_expert, l->e.n_ff = ff;
	if ((rc = bind_slots(b, slots, sizeof slots / sizeof *slots, il))) return rc;
	if ((rc = projection(b, &l->e.gate, il, "ffn_gate", ff, d))) return rc;
	if ((rc = projection(b, &l->e.up, il, "ffn_up", ff, d))) return rc;
	if ((rc = projection(b, &l->e.down, il, "ffn_down", d, ff))) return rc;
	if ((rc = fused(b, l, il))) return rc;
	if ((rc = biases(b, &l->e.bgate, il, "ffn_gate_exps.bias", ff))) return rc;
	if ((rc = biases(b, &l->e.bup, il, "ffn_up_exps.bias", ff))) return rc;
	if ((rc = biases(b, &l->e.bdown, il, "ffn_down_exps.bias", d))) return rc;
	if (!l->e.up || !l->e.down)
		return lm_fail(b->err, LM_EFORMAT, "blk.%d: ffn_%s_exps.weight is missing", il, l->e.up ? "down" : "up");
	if (l->e.bgate.base && !l->e.gate)
		return lm_fail(b->err, LM_EFORMAT, "blk.%d: a bias of ffn_gate_exps without its weights", il);
	return bind_shared(b, l, il);
}
