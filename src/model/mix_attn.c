/* mix_attn.c - softmax attention with grouped heads.  Optional tensors: biases, q/k norm, a gate per value. */
#include "model/layers.h"

/* q or k norm, per head or over the row; before rope. */
static void head_norm(const struct fwd *f, struct mat x, const struct normw *n, int head_dim)
{
	const struct hparams *hp = &f->m->hp;
	if (!n->w.base) return;
	f->be->op->norm(f->be, x, x, &n->w, n->b.base ? &n->b : NULL, hp->norm, hp->eps,
			hp->qk_norm_row ? 0 : head_dim);
}

void mix_attn(const struct fwd *f, int il)
{
	const struct layer *l = &f->m->layer[il];
	const struct backend_ops *op = f->be->op;
	const struct attn *a = &l->attn;
	const struct kv *kv = &f->st->kv[il];
	struct mat q = mat_cols(f->q, 0, a->n_head * a->dim_k), k = mat_cols(f->k, 0, a->n_kv * a->dim_k);
	struct mat v = mat_cols(f->v, 0, a->n_kv * a->dim_v), o = mat_cols(f->o, 0, a->n_head * a->dim_v);
	struct lin qkv[3] = { { q, &l->a.q, &l->a.bq, 1 },
			      { k, &l->a.k, &l->a.bk, 1 },
			      { v, &l->a.v, &l->a.bv, 1 } };
	struct lin out = { f->y, &l->a.o, &l->a.bo, 1 };

	fwd_linear(f, qkv, 3, f->h);
	head_norm(f, q, &l->a.qn, a->dim_k);
	head_norm(f, k, &l->a.kn, a->dim_k);
	if (l->rope.kind != ROPE_NONE) {
		fwd_rope(f, q, a->dim_k, l);
		fwd_rope(f, k, a->dim_k, l);
	}
	op->kv_put(f->be, kv, k, v, a, f->at);
	op->attend(f->be, o, q, kv, a, f->at);
	if (l->a.gate.base) {
		struct mat g = mat_cols(f->in, 0, o.cols);
		fwd_linear(f, &(struct lin){ g, &l->a.gate, NULL, 1 }, 1, f->h);
		op->act(f->be, g, g, &o, ACT_SIGMOID);
		o = g;
	}
	fwd_linear(f, &out, 1, o);
}
