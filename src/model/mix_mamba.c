/* mix_mamba.c - Mamba (Gu and Dao 2023): [x | gate]; x convolved; dt, B and C projected from it, dt through two matrices.
 *
 * GOTCHAS
 *   Falcon-Mamba norms dt, B and C, without weights, before dt's second matrix
 *   dt's bias is added by the scan, before softplus */
#include "model/layers.h"

void mix_mamba(const struct fwd *f, int il)
{
	const struct layer *l = &f->m->layer[il];
	const struct hparams *hp = &f->m->hp;
	const struct backend_ops *op = f->be->op;
	int inner = l->r.n_inner, rank = hp->ssm.rank, n = l->r.ssm.n_state;
	struct mat xz = mat_cols(f->in, 0, 2 * inner), x = mat_cols(xz, 0, inner), z = mat_cols(xz, inner, inner);
	struct mat small = mat_cols(f->in, 2 * inner, l->r.n_x), c = mat_cols(f->c, 0, inner), s = mat_cols(f->s, 0, inner);
	struct mat part[3] = { mat_cols(small, 0, rank), mat_cols(small, rank, n), mat_cols(small, rank + n, n) };
	struct mat dt = x;                               /* x has been convolved by then */

	fwd_linear(f, &(struct lin){ xz, &l->r.in, &l->r.bin, 1 }, 1, f->h);
	op->conv(f->be, c, x, &l->r.conv, &l->r.bconv, f->st->rec[il].conv, ACT_SILU, f->at);
	fwd_linear(f, &(struct lin){ small, &l->r.x, NULL, 1 }, 1, c);
	for (int i = 0; hp->ssm.norm_bcdt && i < 3; i++)
		op->norm(f->be, part[i], part[i], NULL, NULL, NORM_RMS, hp->ssm.eps < 0 ? hp->eps : hp->ssm.eps, 0);
	fwd_linear(f, &(struct lin){ dt, &l->r.dtw, NULL, 1 }, 1, part[0]);
	op->ssm(f->be, s, c, part[1], part[2], dt, &l->r.ssm, f->st->rec[il].s, f->at);
	op->act(f->be, z, z, &s, ACT_SILU);
	fwd_linear(f, &(struct lin){ f->y, &l->r.out, &l->r.bout, 1 }, 1, z);
}
