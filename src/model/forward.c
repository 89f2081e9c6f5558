/* forward.c - one pass: embed, layers, head. */
#include "model/layers.h"

static void embed(const struct fwd *f)
{
	const struct model *m = f->m;
	struct seqs by_pos = *f->at;

	fwd_embed(f, f->x);
	if (m->pos_embd.base) { /* learned positions: rows chosen by position instead of token */
		by_pos.token = f->at->pos;
		f->be->op->embed(f->be, f->h, &m->pos_embd, &by_pos, 1);
		f->be->op->add(f->be, f->x, f->h, 1);
	}
	if (m->type_embd.base) {
		by_pos.token = f->batch->type ? f->batch->type : f->st->type;
		f->be->op->embed(f->be, f->h, &m->type_embd, &by_pos, 1);
		f->be->op->add(f->be, f->x, f->h, 1);
	}
	if (m->embd_norm.w.base) fwd_norm(f, f->x, f->x, &m->embd_norm);
	fwd_tap(f, "embed", -1, &f->x);
}

/* Logits of the n rows f->h. */
static void head(const struct fwd *f, struct mat h, float *out)
{
	const struct model *m = f->m;
	const struct hparams *hp = &m->hp;
	int step = f->be->host ? h.rows : f->st->logits.rows;

	for (int i = 0; i < h.rows; i += step) {
		int n = h.rows - i < step ? h.rows - i : step;
		float *to = out + (int64_t)i * hp->n_vocab;
		struct mat y = mat_rows(f->st->logits, 0, n);
		if (f->be->host)
			y = (struct mat){
				.base = to, .rows = n, .cols = hp->n_vocab,
				.stride = (int64_t)hp->n_vocab * (int64_t)sizeof(float), .type = DT_F32
			};
		fwd_linear_at(f, &(struct lin){ y, &m->head, &m->bhead, hp->logit_scale }, 1, mat_rows(h, i, n),
			      f->st->want + i);
		if (hp->logit_softcap > 0) f->be->op->softcap(f->be, y, hp->logit_softcap);
		if (!f->be->host) f->be->op->read(f->be, to, &y);
	}
}

/* Bidirectional attention reads what this pass wrote: each sequence whole, from position 0 on. */
static int check_whole(const struct seqs *at, struct lm_err *err)
{
	for (int i = 0; i < at->n_rows; i++) {
		bool first = i == 0 || at->seq[i] != at->seq[i - 1];
		if (at->pos[i] != (first ? 0 : at->pos[i - 1] + 1))
			return lm_fail(err, LM_EINVAL, "row %d is at position %d: an encoder takes whole texts", i,
				       (int)at->pos[i]);
	}
	return 0;
}

static int check_batch(const struct model *m, const struct state *s, const struct batch *b, struct lm_err *err)
{
	const struct seqs *at = &b->at;
	if (at->n_rows < 1 || at->n_rows > s->n_batch)
		return lm_fail(err, LM_EINVAL, "a pass of %d rows, expected 1 to %d", at->n_rows, s->n_batch);
	for (int i = 0; i < at->n_rows; i++) {
		if (at->token[i] < 0 || at->token[i] >= m->hp.n_vocab)
			return lm_fail(err, LM_EINVAL, "token id %d is not in the vocabulary of %d",
				       (int)at->token[i], m->hp.n_vocab);
		if (at->pos[i] < 0 || (m->pos_embd.base && at->pos[i] >= m->pos_embd.rows))
			return lm_fail(err, LM_EINVAL, "position %d is beyond the model's %d",
				       (int)at->pos[i], m->pos_embd.base ? m->pos_embd.rows : INT32_MAX);
		if (m->type_embd.base && b->type && (b->type[i] < 0 || b->type[i] >= m->type_embd.rows))
			return lm_fail(err, LM_EINVAL, "token type %d: the model has %d", (int)b->type[i],
				       m->type_embd.rows);
	}
	for (int i = 0; m->info.recurrent && i < at->n_seqs; i++)
		if (!at->slot || at->slot[i] < 0 || at->slot[i] >= s->n_slots)
			return lm_fail(err, LM_EINVAL, "sequence %d has no slot for its recurrent state", i);
	return m->hp.causal ? 0 : check_whole(at, err);
}

int model_forward(const struct model *m, struct state *s, const struct batch *b, float *out,
		  struct lm_err *err)
{
	struct fwd f = s->f;
	struct mat *const act[] = { &f.x, &f.h, &f.y, &f.q, &f.k, &f.v, &f.o, &f.g, &f.u, &f.y2, &f.r, &f.sel, &f.rw, &f.in,
	                            &f.c, &f.s };
	int n = b->at.n_rows, n_want = 0, rc;

	if ((rc = check_batch(m, s, b, err))) return rc;
	f.at = &b->at;
	f.batch = b;
	for (size_t i = 0; i < sizeof act / sizeof act[0]; i++) *act[i] = mat_rows(*act[i], 0, n);
	for (int i = 0; i < n; i++)
		if (b->want[i]) s->want[n_want++] = i;

	if ((rc = f.be->op->begin(f.be, (uint64_t)n, &b->at)))
		return lm_fail(err, rc, "device %s could not begin a pass of %d rows", f.be->name, n);
	lm_alloc_forbid(true);
	embed(&f);
	for (int il = 0; il < m->hp.n_layer; il++) fwd_block(&f, il);
	if (n_want) {
		struct mat h = mat_rows(f.h, 0, n_want), y = mat_rows(f.y, 0, n_want);
		f.be->op->gather(f.be, y, f.x, s->want);
		if (m->out_norm.w.base) fwd_norm(&f, h, y, &m->out_norm);
		else h = y;
		if (b->hidden) f.be->op->read(f.be, out, &h);
		else head(&f, h, out);
	}
	lm_alloc_forbid(false);
	return f.be->op->end(f.be, err);
}
