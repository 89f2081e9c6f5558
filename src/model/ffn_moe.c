/* ffn_moe.c - mixture of experts: a router weighs a few experts per token; a shared expert may add its branch.
 *
 * GOTCHAS
 *   shared   with a gate of its own (Qwen2-MoE) it is a mixture of one, weighed by the sigmoid of that gate */
#include "model/layers.h"

/* The shared expert's branch, added to f->y. */
static void shared(const struct fwd *f, const struct layer *l)
{
	static const struct moe one = { .n_expert = 1, .n_used = 1, .gate = GATE_SIGMOID, .scale = 1 };
	const struct backend_ops *op = f->be->op;
	struct mat r = mat_cols(f->r, 0, 1), sel = mat_cols(f->sel, 0, 1), w = mat_cols(f->rw, 0, 1);
	const struct experts e = { &l->sh.gate, &l->sh.up, &l->sh.down, .act = f->m->hp.act, .n_expert = 1, .n_ff = l->n_ff_sh };

	if (!l->sh_gate.base) {
		fwd_dense(f, &l->sh, l->n_ff_sh, f->y2);
	} else {
		fwd_linear(f, &(struct lin){ r, &l->sh_gate, NULL, 1 }, 1, f->h);
		op->route(f->be, sel, w, r, NULL, &one);
		op->experts(f->be, f->y2, f->h, &e, sel, w);
	}
	op->add(f->be, f->y, f->y2, 1);
}

void ffn_moe(const struct fwd *f, int il)
{
	const struct layer *l = &f->m->layer[il];
	const struct backend_ops *op = f->be->op;

	fwd_linear(f, &(struct lin){ f->r, &l->router, &l->brouter, 1 }, 1, f->h);
	op->route(f->be, f->sel, f->rw, f->r, &l->bchoice, &f->m->hp.moe);
	op->experts(f->be, f->y, f->h, &l->e, f->sel, f->rw);
	if (l->sh.up.base) shared(f, l);
}
