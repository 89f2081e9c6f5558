/* mix_mamba2.c - Mamba-2 (Dao and Gu 2024): one projection to [gate | x B C | dt], a convolution over x, B and C, the scan of
 * state matrices, a gated norm in groups.
 *
 * GOTCHAS
 *   the gate goes before the norm (Falcon-H1 may ask for the other order), and the norm is per group, not per row
 *   neither norm nor biases need be there */
#include "model/layers.h"

/* y = s * silu(z), normed in groups; left in z */
static void gated_norm(const struct fwd *f, const struct layer *l, struct mat z, struct mat s)
{
	const struct hparams *hp = &f->m->hp;
	const struct backend_ops *op = f->be->op;
	int group = l->r.n_inner / l->r.ssm.n_group;

	if (l->r.norm.w.base && hp->ssm.norm_first) op->norm(f->be, s, s, &l->r.norm.w, NULL, NORM_RMS, hp->eps, group);
	op->act(f->be, z, z, &s, ACT_SILU);
	if (l->r.norm.w.base && !hp->ssm.norm_first) op->norm(f->be, z, z, &l->r.norm.w, NULL, NORM_RMS, hp->eps, group);
}

void mix_mamba2(const struct fwd *f, int il)
{
	const struct layer *l = &f->m->layer[il];
	const struct backend_ops *op = f->be->op;
	int inner = l->r.n_inner, keys = l->r.ssm.n_group * l->r.ssm.n_state;
	struct mat in = mat_cols(f->in, 0, l->r.n_in), c = mat_cols(f->c, 0, l->r.n_conv), s = mat_cols(f->s, 0, inner);
	struct mat z = mat_cols(in, 0, inner), xbc = mat_cols(in, inner, l->r.n_conv);
	struct mat dt = mat_cols(in, inner + l->r.n_conv, l->r.n_dt);
	struct lin out = { f->y, &l->r.out, &l->r.bout, 1 };

	fwd_linear(f, &(struct lin){ in, &l->r.in, &l->r.bin, 1 }, 1, f->h);
	op->conv(f->be, c, xbc, &l->r.conv, &l->r.bconv, f->st->rec[il].conv, ACT_SILU, f->at);
	op->ssm(f->be, s, mat_cols(c, 0, inner), mat_cols(c, inner, keys), mat_cols(c, inner + keys, keys), dt, &l->r.ssm,
	        f->st->rec[il].s, f->at);
	gated_norm(f, l, z, s);
	fwd_linear(f, &out, 1, z);
}
