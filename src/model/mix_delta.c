/* mix_delta.c - the gated delta net of Qwen3-Next (Yang, Kautz and Hatamizadeh 2024): q, k and v convolved together, the
 * delta rule per head of v, a norm per head, then the gate.
 *
 * GOTCHAS
 *   the norm comes first here, and its weight is one head wide; its weight is plain where the model's others are 1 + w
 *   heads of v that share a key head are neighbours */
#include "model/layers.h"

void mix_delta(const struct fwd *f, int il)
{
	const struct layer *l = &f->m->layer[il];
	const struct delta *d = &l->r.delta;
	const struct backend_ops *op = f->be->op;
	int n_conv = l->r.n_conv, keys = d->n_k * d->dim_k, inner = l->r.n_inner;
	struct mat qkv = mat_cols(f->in, 0, n_conv), z = mat_cols(f->in, n_conv, inner);
	struct mat ba = mat_cols(f->in, n_conv + inner, 2 * d->n_v), c = mat_cols(f->c, 0, n_conv), s = mat_cols(f->s, 0, inner);
	struct lin in[3] = { { qkv, &l->r.qkv, NULL, 1 }, { z, &l->r.gate, NULL, 1 }, { ba, &l->r.ba, NULL, 1 } };

	fwd_linear(f, in, 3, f->h);
	op->conv(f->be, c, qkv, &l->r.conv, &l->r.bconv, f->st->rec[il].conv, ACT_SILU, f->at);
	op->delta(f->be, s, mat_cols(c, 0, keys), mat_cols(c, keys, keys), mat_cols(c, 2 * keys, inner),
	          mat_cols(ba, d->n_v, d->n_v), mat_cols(ba, 0, d->n_v), d, f->st->rec[il].s, f->at);
	op->norm(f->be, s, s, &l->r.norm.w, NULL, NORM_RMS, f->m->hp.eps, d->dim_v);
	op->act(f->be, z, z, &s, ACT_SILU);
	fwd_linear(f, &(struct lin){ f->y, &l->r.out, &l->r.bout, 1 }, 1, z);
}
