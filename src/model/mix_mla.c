/* mix_mla.c - latent attention (DeepSeek V2, V3): keys and values are made from one low-rank row per position, c.
 * The absorbed form: what would make keys of c is applied to the query instead, what would make values of c to the
 * result, so the cache holds [k_rope | c] once, for all heads.
 *
 * GOTCHAS
 *   order    a query head is [nope | rope], and the projection gives [c | k_rope]; here rope goes first in both, since
 *            op rope turns the first elements of a head
 *   scale    of the head as trained (nope + rope), not of the latent; under YaRN times (1 + log_mul ln factor)^2
 *   norm     of c before it is cached; k_rope has none */
#include "model/layers.h"

/* The latents' norms have an epsilon of their own in a folder. */
static void norm(const struct fwd *f, struct mat x, const struct normw *n)
{
	float eps = f->m->hp.mla.eps < 0 ? f->m->hp.eps : f->m->hp.mla.eps;
	f->be->op->norm(f->be, x, x, &n->w, NULL, f->m->hp.norm, eps, 0);
}

/* The query heads as trained, [n_head][nope | rope], in f->u. */
static struct mat queries(const struct fwd *f, const struct layer *l)
{
	const struct hparams *hp = &f->m->hp;
	struct mat q = mat_cols(f->u, 0, l->attn.n_head * hp->mla.dim_k), a = mat_cols(f->g, 0, hp->mla.lora_q);

	if (l->a.q.base) {
		fwd_linear(f, &(struct lin){ q, &l->a.q, NULL, 1 }, 1, f->h);
		return q;
	}
	fwd_linear(f, &(struct lin){ a, &l->mla.q_a, NULL, 1 }, 1, f->h);
	norm(f, a, &l->mla.q_norm);
	fwd_linear(f, &(struct lin){ q, &l->mla.q_b, NULL, 1 }, 1, a);
	return q;
}

/* Head h of a row of heads, from its element `at`, n of them. */
static struct mat head(struct mat x, int h, int dim, int at, int n) { return mat_cols(x, h * dim + at, n); }

void mix_mla(const struct fwd *f, int il)
{
	const struct layer *l = &f->m->layer[il];
	const struct backend_ops *op = f->be->op;
	const struct attn *a = &l->attn;
	const struct hparams *hp = &f->m->hp;
	int rope = a->v_at, lora = a->dim_v, nope = hp->mla.dim_k - rope, dim_v = hp->mla.dim_v;
	struct mat q = mat_cols(f->q, 0, a->n_head * a->dim_k), k = mat_cols(f->k, 0, a->dim_k);
	struct mat c = mat_cols(k, rope, lora), o = mat_cols(f->o, 0, a->n_head * lora);
	struct mat v = mat_cols(f->u, 0, a->n_head * dim_v), raw = queries(f, l);
	struct mat w_rope = mat_rows(l->mla.kv_a, lora, rope), w_c = mat_rows(l->mla.kv_a, 0, lora);
	struct lin kv[2] = { { mat_cols(k, 0, rope), &w_rope, NULL, 1 }, { c, &w_c, NULL, 1 } };

	fwd_linear(f, kv, 2, f->h);
	norm(f, c, &l->mla.kv_norm);
	for (int h = 0; h < a->n_head; h++) {
		struct mat w = mat_rows(l->mla.k_b, h * lora, lora);
		op->gather(f->be, head(q, h, a->dim_k, 0, rope), head(raw, h, hp->mla.dim_k, nope, rope), NULL);
		fwd_linear(f, &(struct lin){ head(q, h, a->dim_k, rope, lora), &w, NULL, 1 }, 1,
			   head(raw, h, hp->mla.dim_k, 0, nope));
	}
	if (l->rope.kind != ROPE_NONE) {
		fwd_rope(f, q, a->dim_k, l);
		fwd_rope(f, k, a->dim_k, l);
	}
	op->kv_put(f->be, &f->st->kv[il], k, c, a, f->at);
	op->attend(f->be, o, q, &f->st->kv[il], a, f->at);
	for (int h = 0; h < a->n_head; h++) {
		struct mat w = mat_rows(l->mla.v_b, h * dim_v, dim_v);
		fwd_linear(f, &(struct lin){ head(v, h, dim_v, 0, dim_v), &w, NULL, 1 }, 1, head(o, h, lora, 0, lora));
	}
	fwd_linear(f, &(struct lin){ f->y, &l->a.o, NULL, 1 }, 1, v);
}
