/* ffn.c - the feed-forward part: down(act(gate(h)) * up(h)), or down(act(up(h))) without a gate. */
#include "model/layers.h"

void fwd_dense(const struct fwd *f, const struct ffnw *w, int n_ff, struct mat y)
{
	const struct backend_ops *op = f->be->op;
	enum act act = f->m->hp.act;
	struct mat g = mat_cols(f->g, 0, n_ff), u = mat_cols(f->u, 0, n_ff);
	struct lin gate_up[2] = { { g, &w->gate, &w->bgate, 1 }, { u, &w->up, &w->bup, 1 } };
	struct lin down = { y, &w->down, &w->bdown, 1 };

	if (!w->gate.base) {
		gate_up[1].y = g;
		fwd_linear(f, &gate_up[1], 1, f->h);
		op->act(f->be, g, g, NULL, act);
	} else {
		fwd_linear(f, gate_up, 2, f->h);
		op->act(f->be, g, g, &u, act);
	}
	fwd_linear(f, &down, 1, g);
}

void ffn_dense(const struct fwd *f, int il)
{
	const struct layer *l = &f->m->layer[il];
	fwd_dense(f, &l->d, l->n_ff, f->y);
}
