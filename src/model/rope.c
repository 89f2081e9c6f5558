/* rope.c - rotation frequencies, in double, with every scaling folded in (facts: the papers behind linear,
 * YaRN and LongRoPE interpolation; Llama 3's piecewise scaling arrives in the file as divisors, rope_freqs).
 *
 * GOTCHAS
 *   YaRN      the ramp runs over pair indices; its ends are rounded outwards (not in gpt-oss), then clamped to the head
 *   LongRoPE  the short factors serve up to the original context, the context that we claim (load.c) */
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

const double *model_rope_freqs(struct model *m, int dims, double base, bool scaled)
{
	const struct hparams *hp = &m->hp;
	const struct mat *given = m->rope_short.base ? &m->rope_short : &m->rope_freqs;
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
