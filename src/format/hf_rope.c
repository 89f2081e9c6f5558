/* hf_rope.c - rotary settings of config.json as GGUF has them.  transformers 4 has rope_theta, rope_scaling and
 * partial_rotary_factor beside the other settings, transformers 5 one dict rope_parameters, with a dict per kind of layer
 * where there are two kinds.
 *
 * GOTCHAS
 *   llama3    has no keys: the divisors of the frequencies are a tensor, made here
 *   yarn      attn_factor multiplies the default 0.1 ln(factor) + 1, as in llama.cpp; config.json has the product
 *   longrope  a config's own original_max_position_embeddings goes before the dict's; the ratio is not `factor` there
 *   dynamic   changes nothing up to max_position_embeddings, which is the context that is claimed */
#include "base/json.h"
#include "format/hf_map.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct ropes {
	const json_t *all, *local;           /* dicts of global and of sliding layers; NULL: none */
	double theta, partial;
	int64_t dims, orig;
	const char *type;
};

static const json_t *object(const json_t *v) { return json_is_object(v) ? v : NULL; }

static int find_dicts(struct hf_map *m, struct ropes *r)
{
	const json_t *v5 = hf_get(m, "rope_parameters"), *v4 = hf_get(m, "rope_scaling"), *type;
	const json_t *nested = object(json_object_get(v5, "full_attention"));

	if (v4 && !json_is_object(v4))
		return lm_fail(m->err, LM_EFORMAT, "config.json: rope_scaling is not an object");
	if (v5 && !json_is_object(v5))
		return lm_fail(m->err, LM_EFORMAT, "config.json: rope_parameters is not an object");
	r->local = object(json_object_get(v5, "sliding_attention"));
	r->all = v4 && json_object_size(v4) ? v4 : nested ? nested : r->local ? NULL : v5;
	for (int i = 0; i < 4; i++) {
		type = json_object_get(i % 2 ? r->all : r->local, i < 2 ? "rope_type" : "type");
		if (type && !json_is_null(type) && !json_is_string(type))
			return lm_fail(m->err, LM_EFORMAT, "config.json: the type of rope scaling is %s, expected a string",
				       lm_json_kind(type));
	}
	return 0;
}

static const char *type_of(const json_t *o)
{
	const char *s = json_string_value(json_object_get(o, "rope_type"));
	if (!s) s = json_string_value(json_object_get(o, "type"));
	return s ? s : "default";
}

static bool plain(const char *type) { return !strcmp(type, "default") || !strcmp(type, "none"); }

static int find_numbers(struct hf_map *m, struct ropes *r)
{
	int rc;

	r->theta = 10000;
	r->partial = 1;
	r->orig = m->n_ctx;
	r->type = type_of(r->all);
	if (json_object_get(r->all, "short_factor")) r->type = "longrope";    /* once called su, and yarn */
	if ((rc = hf_num(m, HF_THETA, &r->theta)) < 0) return rc;
	if ((rc = hf_num_in(m, r->all, "rope_parameters.", "rope_theta", &r->theta)) < 0) return rc;
	if ((rc = hf_num(m, HF_PARTIAL, &r->partial)) < 0) return rc;
	if ((rc = hf_num_in(m, r->all, "rope_parameters.", "partial_rotary_factor", &r->partial)) < 0) return rc;
	if ((rc = hf_int_in(m, r->all, "rope_parameters.", "original_max_position_embeddings", &r->orig)) < 0) return rc;
	if ((rc = hf_int(m, "original_max_position_embeddings", &r->orig)) < 0) return rc;
	if (!(r->theta > 0 && r->theta < 1e15) || !(r->partial >= 0 && r->partial <= 1) || r->orig < 1)
		return lm_fail(m->err, LM_EFORMAT, "config.json: rope_theta %g, partial_rotary_factor %g or "
			       "original_max_position_embeddings %lld is out of range", r->theta, r->partial,
			       (long long)r->orig);
	r->dims = (int64_t)((double)m->head_dim * r->partial);
	if (r->dims < 2)
		return lm_fail(m->err, LM_EFORMAT, "config.json: a partial_rotary_factor of %g leaves nothing of a head of %lld to "
			       "turn", r->partial, (long long)m->head_dim);
	return 0;
}

static int factor_of(struct hf_map *m, const struct ropes *r, bool required, double *out)
{
	int rc = hf_num_in(m, r->all, "rope_parameters.", "factor", out);

	if (rc < 0) return rc;
	if (!rc && required) return lm_fail(m->err, LM_EFORMAT, "config.json: rope scaling without a factor");
	return !rc || *out > 0 ? 0 : lm_fail(m->err, LM_EFORMAT, "config.json: rope scaling by a factor of %g", *out);
}

/* n f32 values that live with the file, as tensor `name`. */
static int emit_floats(struct hf_map *m, const char *name, float *v, int64_t n)
{
	struct tensor t = { .name = name, .type = DT_F32, .n_dims = 1, .dim = { n, 1, 1, 1 }, .data = v,
		            .size = (uint64_t)n * sizeof *v };
	return hf_emit(m, &t, name);
}

static int linear(struct hf_map *m, const struct ropes *r)
{
	double factor = 1;
	int rc = factor_of(m, r, true, &factor);

	if (rc || (rc = hf_put_str(m, "rope.scaling.type", "linear"))) return rc;
	return hf_put_num(m, "rope.scaling.factor", factor);
}

static int llama3(struct hf_map *m, const struct ropes *r)
{
	double s = 1, low = 1, high = 4, pi2 = 6.283185307179586477, orig = (double)r->orig;
	float *div = lm_new(m->h->f->arena, float, r->dims / 2 + 1);
	int rc = div ? factor_of(m, r, true, &s) : lm_fail(m->err, LM_ENOMEM, "config.json: out of memory");

	if (rc) return rc;
	if ((rc = hf_num_in(m, r->all, "rope_parameters.", "low_freq_factor", &low)) < 0) return rc;
	if ((rc = hf_num_in(m, r->all, "rope_parameters.", "high_freq_factor", &high)) < 0) return rc;
	if (!(low > 0) || !(high > low))
		return lm_fail(m->err, LM_EFORMAT, "config.json: low_freq_factor %g and high_freq_factor %g of llama3 rope "
			       "are no range", low, high);
	for (int64_t i = 0; i < r->dims / 2; i++) {
		double wl = pi2 * pow(r->theta, 2.0 * (double)i / (double)r->dims), k = (orig / wl - low) / (high - low);
		div[i] = (float)(wl > orig / low ? s : wl < orig / high ? 1 : 1 / ((1 - k) / s + k));
	}
	return emit_floats(m, "rope_freqs.weight", div, r->dims / 2);
}

static double yarn_mscale(double factor, double by) { return factor > 1 ? 0.1 * by * log(factor) + 1 : 1; }

static int yarn(struct hf_map *m, const struct ropes *r)
{
	double s = (double)m->n_ctx / (double)r->orig, by = 0, all = 0, factor, beta;
	const json_t *whole = json_object_get(hf_get(m, "rope_parameters"), "truncate");
	int rc;

	if ((rc = factor_of(m, r, false, &s))) return rc;
	if ((rc = hf_num_in(m, r->all, "rope_parameters.", "mscale", &by)) < 0) return rc;
	if ((rc = hf_num_in(m, r->all, "rope_parameters.", "mscale_all_dim", &all)) < 0) return rc;
	factor = by != 0 && all != 0 ? yarn_mscale(s, by) / yarn_mscale(s, all) : yarn_mscale(s, 1);
	if ((rc = hf_num_in(m, r->all, "rope_parameters.", "attention_factor", &factor)) < 0) return rc;
	if ((rc = hf_put_str(m, "rope.scaling.type", "yarn"))) return rc;
	if ((rc = hf_put_num(m, "rope.scaling.factor", s))) return rc;
	if ((rc = hf_put_int(m, "rope.scaling.original_context_length", r->orig))) return rc;
	factor /= yarn_mscale(s, 1);
	if (fabs(factor - 1) > 1e-9 && (rc = hf_put_num(m, "rope.scaling.attn_factor", factor))) return rc;
	rc = hf_num_in(m, r->all, "rope_parameters.", "beta_fast", &beta);
	if (rc < 0 || (rc && beta != 0 && (rc = hf_put_num(m, "rope.scaling.yarn_beta_fast", beta)))) return rc;
	rc = hf_num_in(m, r->all, "rope_parameters.", "beta_slow", &beta);
	if (rc < 0 || (rc && beta != 0 && (rc = hf_put_num(m, "rope.scaling.yarn_beta_slow", beta)))) return rc;
	if (!whole) whole = json_object_get(r->all, "truncate");
	return json_is_false(whole) ? hf_put_bool(m, "rope.scaling.yarn_truncate", false) : 0;
}

static int factors(struct hf_map *m, const struct ropes *r, const char *from, const char *to)
{
	const json_t *list = json_object_get(r->all, from);
	int64_t n = r->dims / 2;
	float *v = lm_new(m->h->f->arena, float, n + 1);

	if (!v) return lm_fail(m->err, LM_ENOMEM, "config.json: out of memory");
	if (json_array_size(list) != (size_t)n)
		return lm_fail(m->err, LM_EFORMAT, "config.json: %s of rope scaling has %zu numbers, expected %lld", from,
			       json_array_size(list), (long long)n);
	for (int64_t i = 0; i < n; i++) {
		const json_t *x = json_array_get(list, (size_t)i);
		v[i] = (float)json_number_value(x);
		if (!json_is_number(x) || !(v[i] > 0) || !isfinite(v[i]))
			return lm_fail(m->err, LM_EFORMAT, "config.json: %s of rope scaling holds something else than "
				       "positive numbers", from);
	}
	return emit_floats(m, to, v, n);
}

static int longrope(struct hf_map *m, const struct ropes *r)
{
	double s = (double)m->n_ctx / (double)r->orig, factor = 1;
	int rc;

	if ((rc = factor_of(m, r, false, &s))) return rc;
	if (s > 1 && r->orig > 1) factor = sqrt(1 + log(s) / log((double)r->orig));
	if ((rc = hf_num_in(m, r->all, "rope_parameters.", "attention_factor", &factor)) < 0) return rc;
	if ((rc = hf_put_str(m, "rope.scaling.type", "longrope"))) return rc;
	if ((rc = hf_put_num(m, "rope.scaling.attn_factor", factor))) return rc;
	if ((rc = hf_put_int(m, "rope.scaling.original_context_length", r->orig))) return rc;
	if ((rc = factors(m, r, "short_factor", "rope_factors_short.weight"))) return rc;
	return factors(m, r, "long_factor", "rope_factors_long.weight");
}

/* Sliding layers with a theta of their own. */
static int local(struct hf_map *m, const struct ropes *r)
{
	double theta = r->theta;
	int rc = hf_num(m, "rope_local_base_freq", &theta);

	if (rc < 0) return rc;
	if (!plain(type_of(r->local)))
		return hf_refuse(m, "rope scaling \"%.40s\" of sliding layers is not one that lmrun computes",
				 type_of(r->local));
	if ((rc |= hf_num_in(m, r->local, "rope_parameters.sliding_attention.", "rope_theta", &theta)) < 0) return rc;
	return rc ? hf_put_num(m, "rope.freq_base_swa", theta) : 0;
}

int hf_ropes(struct hf_map *m)
{
	struct ropes r = { 0 };
	int rc;

	if (!m->n_head) return 0;
	if ((rc = find_dicts(m, &r)) || (rc = find_numbers(m, &r))) return rc;
	if ((rc = hf_put_num(m, "rope.freq_base", r.theta))) return rc;
	if ((rc = hf_put_int(m, "rope.dimension_count", r.dims))) return rc;
	if ((m->fam->flags & HF_UNPERMUTED) && (rc = hf_put_bool(m, "rope.interleaved", false))) return rc;
	if ((rc = local(m, &r))) return rc;
	if (plain(r.type) || !strcmp(r.type, "dynamic")) return 0;
	if (!strcmp(r.type, "linear")) return linear(m, &r);
	if (!strcmp(r.type, "llama3")) return llama3(m, &r);
	if (!strcmp(r.type, "yarn")) return yarn(m, &r);
	if (!strcmp(r.type, "longrope")) return longrope(m, &r);
	return hf_refuse(m, "rope scaling \"%.40s\" is not one that lmrun computes", r.type);
}
