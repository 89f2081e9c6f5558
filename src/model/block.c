/* block.c - one layer: every decoder, hybrid and encoder we run is this function. */
#include "model/layers.h"

static mix_fn *const mix_table[MIX_COUNT] = {
	[MIX_ATTN] = mix_attn, [MIX_MLA] = mix_mla, [MIX_MAMBA] = mix_mamba, [MIX_MAMBA2] = mix_mamba2, [MIX_CONV] = mix_conv,
	[MIX_DELTA] = mix_delta,
};
static ffn_fn *const ffn_table[FFN_COUNT] = { [FFN_DENSE] = ffn_dense, [FFN_MOE] = ffn_moe };

void fwd_norm(const struct fwd *f, struct mat y, struct mat x, const struct normw *n)
{
	f->be->op->norm(f->be, y, x, &n->w, n->b.base ? &n->b : NULL, f->m->hp.norm, f->m->hp.eps, 0);
}

/* Leaves in f->h what the next branch reads: normed x, or x itself where the layer has no pre-norm. */
static void enter(const struct fwd *f, const struct normw *pre)
{
	if (pre->w.base) fwd_norm(f, f->h, f->x, pre);
	else f->be->op->gather(f->be, f->h, f->x, NULL);
}

/* Runs the layer's one or two mixers on f->h; the sum of their branches is left in f->y. */
static void mix(const struct fwd *f, int il)
{
	const struct layer *l = &f->m->layer[il];
	struct fwd second = *f;

	mix_table[l->mix[0]](f, il);
	if (l->mix[1] == MIX_NONE) return;
	second.y = f->y2;
	mix_table[l->mix[1]](&second, il);
	f->be->op->add(f->be, f->y, f->y2, 1);
}

/* Adds the branch in f->y to the residual; the layer's post-norm goes before that, or after it (WIRE_POST). */
static void join(const struct fwd *f, const struct normw *post)
{
	bool after = f->m->hp.wiring == WIRE_POST;

	if (post->w.base && !after) fwd_norm(f, f->y, f->y, post);
	f->be->op->add(f->be, f->x, f->y, f->m->hp.resid_scale);
	if (post->w.base && after) fwd_norm(f, f->x, f->x, post);
}

/* x (n_tok, n_embd) in, x out. */
void fwd_block(const struct fwd *f, int il)
{
	const struct layer *l = &f->m->layer[il];
	bool parallel = f->m->hp.wiring == WIRE_PARALLEL;

	if (l->mix[0] != MIX_NONE) {
		enter(f, &l->mix_pre);
		mix(f, il);
		fwd_tap(f, "mix", il, &f->y);
		if (parallel && l->ffn_pre.w.base)
			enter(f, &l->ffn_pre); /* GPT-NeoX, Falcon 40B: its own norm of x */
		join(f, &l->mix_post);
	}
	if (l->ffn != FFN_NONE) {
		if (!parallel) enter(f, &l->ffn_pre);
		ffn_table[l->ffn](f, il);
		fwd_tap(f, "ffn", il, &f->y);
		join(f, &l->ffn_post);
	}
	fwd_tap(f, "layer", il, &f->x);
}
