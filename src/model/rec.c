/* rec.c - recurrent layers at load: widths from the keys, and their relations. */
#include "model/layers.h"

static int bad(int il, const char *what, struct lm_err *err)
{
	return lm_fail(err, LM_EFORMAT, "blk.%d: %s", il, what);
}

/* Widths and states, as products of numbers below 2^20: in range, or refused. */
static int fits(int64_t n_in, int64_t n_conv, int64_t state, int il, struct lm_err *err)
{
	if (n_in <= MAX_WIDTH && n_conv <= MAX_WIDTH && state <= INT32_MAX / 4 && n_conv * MAX_CONV <= INT32_MAX / 4) return 0;
	return bad(il, "the sizes of ssm.* make a recurrent layer too large", err);
}

static int dims_mamba2(const struct hparams *hp, struct layer *l, int il, struct lm_err *err)
{
	int64_t inner = hp->ssm.inner, both = 2 * (int64_t)hp->ssm.group * hp->ssm.state, n = inner * hp->ssm.state;
	int rank = hp->ssm.rank, rc;

	if (!inner || !rank || !hp->ssm.group || !hp->ssm.state)
		return bad(il, "Mamba-2 needs the keys ssm.inner_size, state_size, time_step_rank and group_count", err);
	if (inner % rank || rank % hp->ssm.group || inner / rank > MAX_SSM_DIM)
		return bad(il, "ssm.inner_size is not a multiple of ssm.time_step_rank, or that not of ssm.group_count", err);
	if ((rc = fits(2 * inner + both + rank, inner + both, n, il, err))) return rc;
	l->r.n_conv = (int)(inner + both);
	l->r.n_in = (int)inner + l->r.n_conv + rank;
	l->r.n_dt = l->r.n_rates = rank;
	l->r.state = (int)n;
	l->r.ssm = (struct ssm){ .n_head = rank, .dim = (int)inner / rank, .n_state = hp->ssm.state, .n_group = hp->ssm.group };
	return 0;
}

static int dims_mamba(const struct hparams *hp, struct layer *l, int il, struct lm_err *err)
{
	int64_t inner = hp->ssm.inner, x = hp->ssm.rank + 2 * (int64_t)hp->ssm.state, n = inner * hp->ssm.state;
	int rc;

	if (!inner || !hp->ssm.rank || !hp->ssm.state)
		return bad(il, "Mamba needs the keys ssm.inner_size, state_size and time_step_rank", err);
	if ((rc = fits(2 * inner + x, inner, n, il, err))) return rc;
	l->r.n_conv = l->r.n_dt = (int)inner;
	l->r.n_x = (int)x;
	l->r.n_in = 2 * (int)inner + l->r.n_x;
	l->r.n_rates = l->r.state = (int)n;
	l->r.ssm = (struct ssm){ .n_head = (int)inner, .dim = 1, .n_state = hp->ssm.state, .n_group = 1 };
	return 0;
}

static int dims_delta(const struct hparams *hp, struct layer *l, int il, struct lm_err *err)
{
	int64_t inner = hp->ssm.inner, keys = 2 * (int64_t)hp->ssm.group * hp->ssm.state, n = inner * hp->ssm.state;
	int n_v = hp->ssm.rank, rc;

	if (!inner || !n_v || !hp->ssm.group || !hp->ssm.state)
		return bad(il, "a delta net needs the keys ssm.inner_size, state_size, time_step_rank and group_count", err);
	if (inner % n_v || n_v % hp->ssm.group || inner / n_v > MAX_SSM_DIM)
		return bad(il, "ssm.inner_size is not a multiple of ssm.time_step_rank, or that not of ssm.group_count", err);
	if ((rc = fits(2 * inner + keys + 2 * n_v, inner + keys, n, il, err))) return rc;
	l->r.n_conv = (int)(inner + keys);
	l->r.n_x = 2 * n_v;
	l->r.n_in = l->r.n_conv + (int)inner + l->r.n_x;
	l->r.n_dt = l->r.n_rates = n_v;
	l->r.state = (int)n;
	l->r.delta = (struct delta){ .n_k = hp->ssm.group, .n_v = n_v, .dim_k = hp->ssm.state, .dim_v = (int)inner / n_v };
	return 0;
}

int rec_dims(const struct model *m, struct layer *l, int il, enum mix_kind kind, struct lm_err *err)
{
	const struct hparams *hp = &m->hp;
	const struct backend_ops *op = m->be->op;
	int rc = 0;

	if (!op->conv || !op->ssm || !op->delta)
		return lm_fail(err, LM_EUNSUPPORTED, "blk.%d: device %s does not run recurrent layers yet", il, m->be->name);
	if (!hp->causal)
		return lm_fail(err, LM_EUNSUPPORTED, "blk.%d: a recurrent layer in a model that looks both ways", il);
	l->r.taps = kind == MIX_CONV ? hp->ssm.l_cache : hp->ssm.conv;
	if (l->r.taps < 2)
		return bad(il, kind == MIX_CONV ? "the key shortconv.l_cache is missing or below 2"
		                                : "the key ssm.conv_kernel is missing or below 2", err);
	if (hp->ssm.dt_min > hp->ssm.dt_max) return bad(il, "ssm.time_step_min is above ssm.time_step_max", err);
	l->r.n_inner = kind == MIX_CONV ? hp->n_embd : hp->ssm.inner;
	if (kind == MIX_MAMBA2) rc = dims_mamba2(hp, l, il, err);
	else if (kind == MIX_MAMBA) rc = dims_mamba(hp, l, il, err);
	else if (kind == MIX_DELTA) rc = dims_delta(hp, l, il, err);
	else if (!(rc = fits(3 * (int64_t)hp->n_embd, hp->n_embd, 0, il, err))) {
		l->r.n_conv = hp->n_embd;
		l->r.n_in = 3 * hp->n_embd;
	}
	if (rc) return rc;
	l->r.conv_state = (l->r.taps - 1) * l->r.n_conv;
	l->r.ssm.dt_min = hp->ssm.dt_min;
	l->r.ssm.dt_max = hp->ssm.dt_max;
	l->r.ssm.a = &l->r.a;
	l->r.ssm.d = &l->r.d;
	l->r.ssm.dt_bias = l->r.delta.dt_bias = &l->r.dt;
	l->r.delta.a = &l->r.a;
	return 0;
}
