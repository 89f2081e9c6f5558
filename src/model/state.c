/* state.c - memory of the sequences: per layer what its mixers need, KV blocks or recurrent state, and the activations of one pass, made once, here. */
#include "model/layers.h"

enum { LOGIT_ROWS = 16 };                    /* of the device scratch: bounds it for large vocabularies */

static int logit_rows(int n_batch) { return n_batch < LOGIT_ROWS ? n_batch : LOGIT_ROWS; }

/* Has layer il a KV cache? */
static bool attends(const struct model *m, int il)
{
	return mix_attends(m->layer[il].mix[0]) || mix_attends(m->layer[il].mix[1]);
}

/* Bytes of one KV block of layer il, keys or values; -1 when the device lacks the type for this head size. */
static int64_t block_bytes(const struct model *m, int il, enum dtype t, bool values)
{
	const struct attn *a = &m->layer[il].attn;
	if (values && a->v_at) return t == DT_Q8_0 && a->v_at % 32 ? -1 : 0;      /* they lie in the keys */
	int64_t n = m->be->op->kv_bytes(m->be, t, a->n_kv, values ? a->dim_v : a->dim_k, values);
	return n > INT32_MAX ? -1 : n;
}

static int alloc_kv(struct state *s, struct mat *m, int il, int n_blocks, enum dtype t, bool values,
		    struct lm_err *err)
{
	int64_t n = block_bytes(s->m, il, t, values);
	int rc;

	if (n < 0)
		return lm_fail(err, LM_EUNSUPPORTED,
			       "a %s cache is not possible on device %s for heads of %d elements",
			       quant_info(t) ? quant_info(t)->name : "KV", s->be->name,
			       values ? s->m->layer[il].attn.dim_v : s->m->layer[il].attn.dim_k);
	if (n == 0) return 0;
	if ((rc = s->be->op->alloc(s->be, m, n_blocks, (int32_t)n, DT_I8, err))) return rc;
	m->type = t;
	return 0;
}

/* Nothing outlives the pass of a bidirectional model: its layers, alike, use the same blocks one after the other. */
static bool shares_kv(const struct model *m, int il)
{
	const struct attn *a = &m->layer[il].attn, *first = &m->layer[0].attn;
	return !m->hp.causal && il > 0 && a->n_kv == first->n_kv && a->dim_k == first->dim_k && a->dim_v == first->dim_v;
}

static int alloc_heads(struct state *s, struct lm_err *err)
{
	const struct heads *h = &s->m->heads;
	int wide = s->m->hp.n_embd > h->n_label ? s->m->hp.n_embd : h->n_label;

	if (!h->out.w.base && !h->dense[0].w.base) return 0;
	for (int i = 0; i < MAX_DENSE; i++) wide = h->dense_out[i] > wide ? h->dense_out[i] : wide;
	int rc = s->be->op->alloc(s->be, &s->hx, HEAD_ROWS, wide, DT_F32, err);
	return rc ? rc : s->be->op->alloc(s->be, &s->hy, HEAD_ROWS, wide, DT_F32, err);
}

static bool two_branches(const struct model *m)
{
	if (m->shared) return true;
	for (int il = 0; il < m->hp.n_layer; il++)
		if (m->layer[il].mix[1] != MIX_NONE) return true;
	return false;
}

static int alloc_layer(struct state *s, int il, int n_blocks, enum dtype kv, struct lm_err *err)
{
	const struct layer *l = &s->m->layer[il];
	int rc;

	if (shares_kv(s->m, il)) {
		s->kv[il] = s->kv[0];
	} else if (attends(s->m, il)) {
		if ((rc = alloc_kv(s, &s->kv[il].k, il, n_blocks, kv, false, err))) return rc;
		if ((rc = alloc_kv(s, &s->kv[il].v, il, n_blocks, kv, true, err))) return rc;
	}
	if (l->r.conv_state &&
	    (rc = s->be->op->alloc(s->be, &s->rec[il].conv, s->n_slots, l->r.conv_state, DT_F32, err)))
		return rc;
	return l->r.state ? s->be->op->alloc(s->be, &s->rec[il].s, s->n_slots, l->r.state, DT_F32, err) : 0;
}

static int make(struct state *s, int n_blocks, int n_batch, enum dtype kv, struct lm_err *err)
{
	const struct model *m = s->m;
	struct fwd *f = &s->f;
	const struct { struct mat *m; int cols; } act[] = {
		{ &f->x, m->hp.n_embd }, { &f->h, m->hp.n_embd }, { &f->y, m->hp.n_embd },
		{ &f->q, m->max_q },     { &f->k, m->max_kv },    { &f->v, m->max_kv },
		{ &f->o, m->max_o },     { &f->g, m->max_ff },    { &f->u, m->max_ff },
		{ &f->y2, two_branches(m) ? m->hp.n_embd : 0 }, { &f->r, m->hp.moe.n_expert }, { &f->rw, m->hp.moe.n_used },
		{ &f->sel, m->hp.moe.n_used }, { &f->in, m->max_in }, { &f->c, m->max_conv }, { &f->s, m->max_inner },
	};
	int rc;

	s->kv = lm_calloc((size_t)m->hp.n_layer, sizeof *s->kv);
	s->rec = lm_calloc((size_t)m->hp.n_layer, sizeof *s->rec);
	s->want = lm_calloc((size_t)n_batch, sizeof *s->want);
	s->type = lm_calloc((size_t)(n_batch > HEAD_ROWS ? n_batch : HEAD_ROWS), sizeof *s->type);
	if (!s->kv || !s->rec || !s->want || !s->type) return lm_fail(err, LM_ENOMEM, "out of memory for the sequences' state");
	for (int il = 0; il < m->hp.n_layer; il++)
		if ((rc = alloc_layer(s, il, n_blocks, kv, err))) return rc;
	if ((rc = alloc_heads(s, err))) return rc;
	for (size_t i = 0; i < sizeof act / sizeof act[0]; i++)
		if (act[i].cols && (rc = s->be->op->alloc(s->be, act[i].m, n_batch, act[i].cols,
							  act[i].m == &f->sel ? DT_I32 : DT_F32, err)))
			return rc;
	if (lora_rank(m)) {
		if ((rc = s->be->op->alloc(s->be, &s->lora_t, n_batch, lora_rank(m), DT_F32, err))) return rc;
		if ((rc = s->be->op->alloc(s->be, &s->lora_y, n_batch, lora_width(m), DT_F32, err))) return rc;
	}
	if (!s->be->host)
		return s->be->op->alloc(s->be, &s->logits, logit_rows(n_batch),
					m->hp.n_vocab, DT_F32, err);
	return 0;
}

int state_new(struct state **out, const struct model *m, int n_blocks, int n_slots, int n_batch, enum dtype kv,
	      struct lm_err *err)
{
	struct state *s = lm_calloc(1, sizeof *s);
	int rc;

	if (!s) return lm_fail(err, LM_ENOMEM, "out of memory for the sequences' state");
	*s = (struct state){ .m = m, .be = m->be, .n_batch = n_batch, .n_slots = n_slots };
	s->f = (struct fwd){ .m = m, .st = s, .be = m->be };
	rc = n_blocks < 1 || n_batch < 1 || n_slots < 1
		     ? lm_fail(err, LM_EINVAL, "a state of %d KV blocks, %d slots and %d rows", n_blocks, n_slots, n_batch)
		     : make(s, n_blocks, n_batch, kv, err);
	if (rc) {
		state_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void state_free(struct state *s)
{
	if (!s) return;
	struct fwd *f = &s->f;
	struct mat *const act[] = {
		&f->x, &f->h, &f->y, &f->q, &f->k, &f->v, &f->o, &f->g, &f->u, &f->y2, &f->r, &f->rw, &f->sel, &f->in, &f->c,
		&f->s, &s->logits, &s->hx, &s->hy, &s->lora_t, &s->lora_y
	};
	for (int il = 0; s->kv && il < s->m->hp.n_layer; il++) {
		if (shares_kv(s->m, il)) continue;
		if (s->kv[il].k.base) s->be->op->free(s->be, &s->kv[il].k);
		if (s->kv[il].v.base) s->be->op->free(s->be, &s->kv[il].v);
	}
	for (int il = 0; s->rec && il < s->m->hp.n_layer; il++) {
		if (s->rec[il].conv.base) s->be->op->free(s->be, &s->rec[il].conv);
		if (s->rec[il].s.base) s->be->op->free(s->be, &s->rec[il].s);
	}
	for (size_t i = 0; i < sizeof act / sizeof act[0]; i++)
		if (act[i]->base) s->be->op->free(s->be, act[i]);
	lm_free(s->kv);
	lm_free(s->rec);
	lm_free(s->want);
	lm_free(s->type);
	lm_free(s);
}

uint64_t state_bytes(const struct model *m, int n_blocks, int n_slots, int n_batch, enum dtype kv)
{
	uint64_t row = ((uint64_t)(two_branches(m) ? 4 : 3) * (uint64_t)m->hp.n_embd + (uint64_t)m->max_q +
	                2 * (uint64_t)m->max_kv + (uint64_t)m->max_o + 2 * (uint64_t)m->max_ff + (uint64_t)m->max_in +
	                (uint64_t)m->max_conv + (uint64_t)m->max_inner + (uint64_t)lora_rank(m) +
	                (uint64_t)lora_width(m)) * sizeof(float);
	uint64_t per_block = 0;

	row += (uint64_t)(m->hp.moe.n_expert + 2 * m->hp.moe.n_used) * sizeof(float);
	for (int il = 0; il < m->hp.n_layer; il++) {
		if (!attends(m, il)) continue;
		int64_t k = block_bytes(m, il, kv, false), v = block_bytes(m, il, kv, true);
		if (!shares_kv(m, il)) per_block += (uint64_t)(k < 0 ? 0 : k) + (uint64_t)(v < 0 ? 0 : v);
	}
	uint64_t logits =
		m->be->host ? 0 : (uint64_t)logit_rows(n_batch) * (uint64_t)m->hp.n_vocab * sizeof(float);
	return per_block * (uint64_t)n_blocks + m->info.slot_bytes * (uint64_t)n_slots + row * (uint64_t)n_batch + logits;
}

void state_tap(struct state *s, model_tap *fn, void *ud)
{
	s->tap = fn;
	s->tap_ud = ud;
}

void fwd_tap(const struct fwd *f, const char *name, int il, const struct mat *x)
{
	if (f->st->tap) f->st->tap(f->st->tap_ud, name, il, x);
}
