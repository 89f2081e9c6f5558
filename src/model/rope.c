/* rope.c - rotation frequencies, in double, with every scaling folded in (facts: the papers behind linear,
 * YaRN and LongRoPE interpolation; Llama 3's piecewise scaling arrives in the file as divisors, rope_freqs).
 *
 * GOTCHAS
 *   YaRN      the ramp runs over pair indices; its ends are rounded outwards (not in gpt-oss), then clamped to the head
 *   LongRoPE  the short factors serve sequences up to the original context, the long ones all positions of a longer one */
#include "model/layers.h"
#include <math.h>

#define PI 3.14159265358979323846

/* Pair index at which a rotation turns `turns` times over the original context. */
static double yarn_dim(double turns, int dims, double base, double n_ctx)
{
	return dims * log(n_ctx / (turns * 2 * PI)) / (2 * log(base));
}

static double yarn(const struct hparams *hp, double freq, int i, int dims, double base)
{
	double lo = yarn_dim(hp->rope.beta_fast, dims, base, hp->rope.n_ctx_orig);
	double hi = yarn_dim(hp->rope.beta_slow, dims, base, hp->rope.n_ctx_orig);
	lo = fmax(hp->rope.fraction ? lo : floor(lo), 0);
	hi = fmin(hp->rope.fraction ? hi : ceil(hi), dims - 1);
	double ramp = fmin(fmax((i - lo) / fmax(hi - lo, 0.001), 0), 1);
	return freq / hp->rope.factor * ramp + freq * (1 - ramp);
}

static const double *freqs(struct model *m, int dims, double base, bool scaled, const struct mat *given)
{
	const struct hparams *hp = &m->hp;
	float *div = given->base ? lm_new(m->arena, float, dims / 2) : NULL;
	double *f = lm_new(m->arena, double, dims / 2);

	if (!f || (given->base && !div)) return NULL;
	if (div) m->be->op->read(m->be, div, given);
	for (int i = 0; i < dims / 2; i++) {
		f[i] = pow(base, -2.0 * i / dims);
		if (!scaled) continue;
		if (div) f[i] /= div[i];
		if (hp->rope.scaling == SCALE_LINEAR) f[i] /= hp->rope.factor;
		if (hp->rope.scaling == SCALE_YARN) f[i] = yarn(hp, f[i], i, dims, base);
	}
	return f;
}

const double *model_rope_freqs(struct model *m, int dims, double base, bool scaled)
{
	return freqs(m, dims, base, scaled, m->rope_short.base ? &m->rope_short : &m->rope_freqs);
}

const double *model_rope_freqs_long(struct model *m, int dims, double base)
{
	return freqs(m, dims, base, true, &m->rope_long);
}

void fwd_rope(const struct fwd *f, struct mat x, int head_dim, const struct layer *l)
{
	const uint8_t *extended = l->rope_long.kind == ROPE_NONE ? NULL : f->batch->extended;
	int n = f->at->n_rows;

	for (int i = 0, k; i < n; i += k) {              /* rows of one sort at a time */
		struct seqs some = *f->at;
		bool is_long = extended && extended[some.seq[i]];
		for (k = 1; i + k < n && (extended && extended[some.seq[i + k]]) == is_long;) k++;
		some.n_rows = k;
		some.token += i, some.pos += i, some.seq += i;
		f->be->op->rope(f->be, mat_rows(x, i, k), head_dim, &some, is_long ? &l->rope_long : &l->rope);
	}
}

float model_rope_mscale(const struct hparams *hp)
{
	double m = 1;
	if (hp->rope.scaling == SCALE_YARN)
		m = hp->rope.yarn_attn_factor > 0 ? hp->rope.yarn_attn_factor
		    : hp->rope.log_mul > 0        ? 1
		    : hp->rope.factor > 1         ? 0.1 * log(hp->rope.factor) + 1
		                                  : 1;
	return (float)(m * hp->rope.attn_factor);
}
