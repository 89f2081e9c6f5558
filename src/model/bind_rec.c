/* bind_rec.c - the tensors of recurrent mixers. */
#include "model/bind.h"
#include <stdio.h>

static const struct slot mamba2_slots[] = {
	{ "ssm_in", "weight", L(r.in), R_IN, EMBD, ONE, true },
	{ "ssm_in", "bias", L(r.bin), ONE, R_IN, ONE, false },
	{ "ssm_conv1d", "weight", L(r.conv), ONE, R_TAPS, R_TAPS, true },
	{ "ssm_conv1d", "bias", L(r.bconv), ONE, R_CONV, ONE, false },
	{ "ssm_dt", "bias", L(r.dt), ONE, R_DT, ONE, true },
	{ "ssm_a", NULL, L(r.a), ONE, R_RATES, R_RATES, true },
	{ "ssm_d", NULL, L(r.d), ONE, R_DT, R_DT, true },
	{ "ssm_out", "weight", L(r.out), EMBD, R_INNER, ONE, true },
	{ "ssm_out", "bias", L(r.bout), ONE, EMBD, ONE, false },
	{ "ssm_norm", "weight", L(r.norm.w), ONE, R_INNER, R_INNER, false },
};
/* Mamba has the first MAMBA_SAME of these too. */
enum { MAMBA_SAME = 9 };
static const struct slot mamba_slots[] = {
	{ "ssm_x", "weight", L(r.x), R_X, R_INNER, ONE, true },
	{ "ssm_dt", "weight", L(r.dtw), R_INNER, R_RANK, ONE, true },
};
static const struct slot conv_slots[] = {
	{ "shortconv.in_proj", "weight", L(r.in), R_IN, EMBD, ONE, true },
	{ "shortconv.in_proj", "bias", L(r.bin), ONE, R_IN, ONE, false },
	{ "shortconv.conv", "weight", L(r.conv), ONE, R_TAPS, R_TAPS, true },
	{ "shortconv.conv", "bias", L(r.bconv), ONE, R_CONV, ONE, false },
	{ "shortconv.out_proj", "weight", L(r.out), EMBD, R_INNER, ONE, true },
	{ "shortconv.out_proj", "bias", L(r.bout), ONE, EMBD, ONE, false },
};
static const struct slot delta_slots[] = {
	{ "attn_qkv", "weight", L(r.qkv), R_CONV, EMBD, ONE, false },
	{ "attn_gate", "weight", L(r.gate), R_INNER, EMBD, ONE, false },
	{ "ssm_conv1d", "weight", L(r.conv), ONE, R_TAPS, R_TAPS, true },
	{ "ssm_conv1d", "bias", L(r.bconv), ONE, R_CONV, ONE, false },
	{ "ssm_dt", "bias", L(r.dt), ONE, R_DT, ONE, true },
	{ "ssm_a", NULL, L(r.a), ONE, R_RATES, R_RATES, true },
	{ "ssm_norm", "weight", L(r.norm.w), ONE, R_HEAD, ONE, true },
	{ "ssm_out", "weight", L(r.out), EMBD, R_INNER, ONE, true },
};
#define SLOTS(s) s, sizeof s / sizeof *s

/* A matrix whose rows belong to key heads: rows in all, the parts of one head. */
static int by_head(struct binder *b, struct mat *out, const struct tensor *t, int rows, const int *part, int n_part)
{
	const struct hparams *hp = &b->m->hp;
	char want[48];

	snprintf(want, sizeof want, "%dx%d", rows, hp->n_embd);
	if (t->n_dims != 2 || t->dim[0] != rows || t->dim[1] != hp->n_embd) return bind_misshapen(b, t, want);
	return bind_parts(b, out, t, hp->ssm.group, part, n_part);
}

/* q, k, v and gate of a delta net: ssm_in with all of a key head together (checkpoints, older GGUFs), or two matrices. */
static int bind_delta(struct binder *b, int il)
{
	struct layer *l = &b->m->layer[il];
	const struct delta *d = &l->r.delta;
	const struct tensor *in = bind_find(b, il, "ssm_in.weight"), *ba = bind_find(b, il, "ssm_ba.weight");
	int share = d->n_v / d->n_k, v = share * d->dim_v, rc = bind_slots(b, SLOTS(delta_slots), il);
	bool any = l->r.qkv.base || l->r.gate.base;

	if (rc) return rc;
	if ((rc = by_head(b, &l->r.ba, ba, 2 * d->n_v, (int[]){ share, share }, 2))) return rc;
	if (in && any) return lm_fail(b->err, LM_EFORMAT, "blk.%d: both ssm_in and attn_qkv or attn_gate", il);
	if (!in && (!l->r.qkv.base || !l->r.gate.base))
		return lm_fail(b->err, LM_EFORMAT, "blk.%d: attn_qkv and attn_gate (or ssm_in) are not all there", il);
	if (!in) return 0;
	if ((rc = by_head(b, &l->r.in, in, l->r.n_conv + l->r.n_inner, (int[]){ d->dim_k, d->dim_k, v, v }, 4))) return rc;
	l->r.qkv = mat_rows(l->r.in, 0, l->r.n_conv);
	l->r.gate = mat_rows(l->r.in, l->r.n_conv, l->r.n_inner);
	return 0;
}

int bind_rec(struct binder *b, int il)
{
	const struct layer *l = &b->m->layer[il];
	int rc;

	switch (mix_recurs(l->mix[0]) ? l->mix[0] : l->mix[1]) {
	case MIX_MAMBA2: return bind_slots(b, SLOTS(mamba2_slots), il);
	case MIX_MAMBA:
		rc = bind_slots(b, mamba2_slots, MAMBA_SAME, il);
		return rc ? rc : bind_slots(b, SLOTS(mamba_slots), il);
	case MIX_CONV: return bind_slots(b, SLOTS(conv_slots), il);
	default: return bind_delta(b, il);
	}
}
