/* bind_mla.c - the tensors of latent attention.  The absorbed form wants, per head, what makes keys of c transposed
 * (k_b) and what makes values (v_b).  Newer files hold them so; older ones hold both in attn_kv_b as trained:
 * [head][nope + v][c]. */
#include "model/bind.h"
#include <stdio.h>
#include <string.h>

static const struct slot slots[] = {
	{ "attn_q", "weight", L(a.q), MLA_Q, EMBD, ONE, false },
	{ "attn_q_a", "weight", L(mla.q_a), MLA_QA, EMBD, ONE, false },
	{ "attn_q_a_norm", "weight", L(mla.q_norm.w), ONE, MLA_QA, ONE, false },
	{ "attn_q_b", "weight", L(mla.q_b), MLA_Q, MLA_QA, ONE, false },
	{ "attn_kv_a_mqa", "weight", L(mla.kv_a), MLA_KV, EMBD, ONE, true },
	{ "attn_kv_a_norm", "weight", L(mla.kv_norm.w), ONE, MLA_C, ONE, true },
	{ "attn_kv_b", "weight", L(mla.kv_b), MLA_KVB, MLA_C, ONE, false },
	{ "attn_output", "weight", L(a.o), EMBD, MLA_O, ONE, true },
};

/* A stack of one matrix per head. */
static int heads(struct binder *b, struct mat *out, int il, const char *name, int rows, int cols)
{
	int n = b->m->layer[il].attn.n_head, rc;
	const struct tensor *t = bind_find(b, il, name);
	char want[64];

	if (!t) return lm_fail(b->err, LM_EFORMAT, "the tensor blk.%d.%s is missing", il, name);
	snprintf(want, sizeof want, "%dx%dx%d", n, rows, cols);
	if (t->n_dims != 3 || t->dim[0] != n || t->dim[1] != rows || t->dim[2] != cols) return bind_misshapen(b, t, want);
	if ((rc = bind_matrix(b, out, t, n * rows, cols, true))) return rc;
	bind_count(b, t, out, true, 1, 1);
	return 0;
}

/* Head h of attn_kv_b, [nope + v][c] decoded in w: its keys' part transposed to k, its values' part copied to v. */
static void split_head(float *k, float *v, const float *w, int nope, int dim_v, int c)
{
	for (int i = 0; i < c; i++)
		for (int j = 0; j < nope; j++) k[(int64_t)i * nope + j] = w[(int64_t)j * c + i];
	memcpy(v, w + (int64_t)nope * c, (size_t)dim_v * (size_t)c * sizeof *v);
}

/* Pages that live as long as the model. */
static float *pages(struct binder *b, const struct mat *m)
{
	size_t n = (size_t)m->rows * (size_t)m->stride;
	struct made *made = lm_new(b->m->arena, struct made, 1);
	float *p = made ? lm_pages(n) : NULL;

	if (p) *made = (struct made){ p, n, b->m->made }, b->m->made = made;
	return p;
}

/* k_b and v_b in f32 out of attn_kv_b. */
static int split(struct binder *b, struct layer *l)
{
	const struct hparams *hp = &b->m->hp;
	int n = l->attn.n_head, c = hp->mla.lora_kv, nope = hp->mla.dim_k - l->attn.v_at, v = hp->mla.dim_v;
	struct mat *kv = &l->mla.kv_b;
	struct mat k_b = { .rows = n * c, .cols = nope, .stride = (int64_t)nope * 4, .type = DT_F32 };
	struct mat v_b = { .rows = n * v, .cols = c, .stride = (int64_t)c * 4, .type = DT_F32 };
	float *k = pages(b, &k_b), *values = pages(b, &v_b);
	char *raw = lm_malloc((size_t)kv->rows * (size_t)kv->stride);
	float *w = lm_malloc((size_t)(nope + v) * (size_t)c * sizeof *w);
	int rc = k && values && raw && w ? 0 : lm_fail(b->err, LM_ENOMEM, "out of memory for attn_kv_b");

	if (!rc) b->m->be->op->read(b->m->be, raw, kv);
	for (int h = 0; !rc && h < n; h++) {
		for (int r = 0; r < nope + v; r++)
			quant_info(kv->type)->decode(w + (int64_t)r * c, raw + ((int64_t)h * (nope + v) + r) * kv->stride, c);
		split_head(k + (int64_t)h * c * nope, values + (int64_t)h * v * c, w, nope, v, c);
	}
	lm_free(raw);
	lm_free(w);
	if (!rc) rc = b->m->be->op->import(b->m->be, &k_b, k, b->err);
	if (!rc) rc = b->m->be->op->import(b->m->be, &v_b, values, b->err);
	l->mla.k_b = k_b, l->mla.v_b = v_b;
	return rc;
}

int bind_mla(struct binder *b, int il)
{
	struct layer *l = &b->m->layer[il];
	const struct hparams *hp = &b->m->hp;
	int rc = bind_slots(b, slots, sizeof slots / sizeof *slots, il);

	if (rc) return rc;
	if (!l->a.q.base == !l->mla.q_b.base || !l->mla.q_b.base != !l->mla.q_a.base || !l->mla.q_a.base != !l->mla.q_norm.w.base)
		return lm_fail(b->err, LM_EFORMAT, "blk.%d: neither attn_q alone nor attn_q_a, attn_q_a_norm and attn_q_b", il);
	if (l->mla.kv_b.base) return split(b, l);
	if ((rc = heads(b, &l->mla.k_b, il, "attn_k_b.weight", hp->mla.lora_kv, hp->mla.dim_k - l->attn.v_at))) return rc;
	return heads(b, &l->mla.v_b, il, "attn_v_b.weight", hp->mla.dim_v, hp->mla.lora_kv);
}
