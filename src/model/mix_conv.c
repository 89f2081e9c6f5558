/* mix_conv.c - the short convolution of LFM2: [B | C | u]; out(C * conv(B * u)), without an activation. */
#include "model/layers.h"

void mix_conv(const struct fwd *f, int il)
{
	const struct layer *l = &f->m->layer[il];
	const struct backend_ops *op = f->be->op;
	int n = l->r.n_inner;
	struct mat in = mat_cols(f->in, 0, l->r.n_in), bu = mat_cols(in, 0, n), c = mat_cols(in, n, n);
	struct mat u = mat_cols(in, 2 * n, n), y = mat_cols(f->c, 0, n);

	fwd_linear(f, &(struct lin){ in, &l->r.in, &l->r.bin, 1 }, 1, f->h);
	op->act(f->be, bu, bu, &u, ACT_NONE);
	op->conv(f->be, y, bu, &l->r.conv, &l->r.bconv, f->st->rec[il].conv, ACT_NONE, f->at);
	op->act(f->be, c, c, &y, ACT_NONE);
	fwd_linear(f, &(struct lin){ f->y, &l->r.out, &l->r.bout, 1 }, 1, c);
}
