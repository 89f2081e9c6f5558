/* ffn.c - the feed-forward part: down(act(gate(h)) * up(h)), or down(act(up(h))) without a gate. */
#include "model/layers.h"

void ffn_dense(const struct fwd *f, int il)
{
	const struct layer *l = &f->m->layer[il];
	const struct backend_ops *op = f->be->op;
	enum act act = f->m->hp.act;
	struct mat g = mat_cols(f->g, 0, l->n_ff), u = mat_cols(f->u, 0, l->n_ff);
	struct lin gate_up[2] = { { g, &l->d.gate, &l->d.bgate, 1 }, { u, &l->d.up, &l->d.bup, 1 } };
	struct lin down = { f->y, &l->d.down, &l->d.bdown, 1 };

	if (!l->d.gate.base) {
		gate_up[1].y = g;
		fwd_linear(f, &gate_up[1], 1, f->h);
		op->act(f->be, g, g, NULL, act);
	} else {
		fwd_linear(f, gate_up, 2, f->h);
		op->act(f->be, g, g, &u, act);
	}
	fwd_linear(f, &down, 1, g);
}
