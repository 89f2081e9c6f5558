/* keys.c - the metadata keys that reach the arithmetic: name, type, default and range of each. */
#include "model/layers.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum key_type { K_INT, K_F32, K_BOOL };
struct key {
	const char *name;                 /* after "<architecture>." */
	enum key_type type;
	size_t at;                        /* offset in struct hparams */
	double min, max, def;             /* inclusive */
	bool required;
};
#define AT(field) offsetof(struct hparams, field)
#define TINY 1e-30                    /* smallest positive f32 that is still a sensible factor */

static const struct key keys[] = {
	{ "block_count", K_INT, AT(n_layer), 1, MAX_LAYERS, 0, true },
	{ "context_length", K_INT, AT(n_ctx_train), 1, MAX_CTX, 0, true },
	{ "embedding_length", K_INT, AT(n_embd), 1, MAX_WIDTH, 0, true },
	{ "attention.layer_norm_rms_epsilon", K_F32, AT(eps_rms), 0, 1, -1, false },
	{ "attention.layer_norm_epsilon", K_F32, AT(eps_ln), 0, 1, -1, false },
	{ "attention.scale", K_F32, AT(attn_scale), 0, 1e6, 0, false },
	{ "attention.sliding_window", K_INT, AT(window), 0, INT32_MAX, -1, false },
	{ "attn_logit_softcapping", K_F32, AT(attn_softcap), 0, 1e6, 0, false },
	{ "final_logit_softcapping", K_F32, AT(logit_softcap), 0, 1e6, 0, false },
	{ "embedding_scale", K_F32, AT(embed_scale), TINY, 1e6, 1, false },
	{ "residual_scale", K_F32, AT(resid_scale), TINY, 1e6, 1, false },
	{ "logit_scale", K_F32, AT(logit_scale), TINY, 1e6, 1, false },
	{ "attention.causal", K_INT, AT(causal_said), 0, 1, -1, false },
	{ "expert_count", K_INT, AT(moe.n_expert), 0, MAX_EXPERTS, 0, false },
	{ "expert_used_count", K_INT, AT(moe.n_used), 0, MAX_EXPERTS, 0, false },
	{ "expert_group_count", K_INT, AT(moe.n_group), 0, MAX_EXPERTS, 0, false },
	{ "expert_group_used_count", K_INT, AT(moe.n_group_used), 0, MAX_EXPERTS, 0, false },
	{ "expert_gating_func", K_INT, AT(gating), 0, 3, 0, false },
	{ "expert_weights_norm", K_INT, AT(renorm), 0, 1, -1, false },
	{ "expert_weights_scale", K_F32, AT(moe.scale), 0, 1e6, 1, false },
	{ "expert_feed_forward_length", K_INT, AT(n_ff_exp), 0, MAX_WIDTH, 0, false },
	{ "expert_shared_feed_forward_length", K_INT, AT(n_ff_shexp), 0, MAX_WIDTH, 0, false },
	{ "expert_shared_count", K_INT, AT(n_shared), 0, MAX_EXPERTS, 0, false },
	{ "attention.q_lora_rank", K_INT, AT(mla.lora_q), 0, MAX_WIDTH, 0, false },
	{ "attention.kv_lora_rank", K_INT, AT(mla.lora_kv), 0, MAX_HEAD_DIM, 0, false },
	{ "attention.key_length_mla", K_INT, AT(mla.dim_k), 0, MAX_HEAD_DIM, 0, false },
	{ "attention.value_length_mla", K_INT, AT(mla.dim_v), 0, MAX_HEAD_DIM, 0, false },
	{ "attention.latent_norm_rms_epsilon", K_F32, AT(mla.eps), 0, 1, -1, false },    /* ours */
	{ "use_parallel_residual", K_BOOL, AT(parallel), 0, 1, 1, false },
	{ "rope.dimension_count", K_INT, AT(rope.dims), 0, MAX_HEAD_DIM, 0, false },
	{ "rope.freq_base", K_F32, AT(rope.base), TINY, 1e15, 10000, false },
	{ "rope.freq_base_swa", K_F32, AT(rope.base_local), TINY, 1e15, 0, false },
	{ "rope.scale_linear", K_F32, AT(rope.factor), 0, 1e6, 1, false },    /* the older name of the next */
	{ "rope.scaling.factor", K_F32, AT(rope.factor), 0, 1e6, 1, false },
	{ "rope.scaling.original_context_length", K_INT, AT(rope.n_ctx_orig), 1, MAX_CTX, 0, false },
	{ "rope.scaling.attn_factor", K_F32, AT(rope.attn_factor), TINY, 1e6, 1, false },
	{ "rope.scaling.yarn_attn_factor", K_F32, AT(rope.yarn_attn_factor), TINY, 1e6, -1, false },
	{ "rope.scaling.yarn_beta_fast", K_F32, AT(rope.beta_fast), TINY, 1e6, 32, false },
	{ "rope.scaling.yarn_beta_slow", K_F32, AT(rope.beta_slow), TINY, 1e6, 1, false },
	{ "rope.scaling.yarn_log_multiplier", K_F32, AT(rope.log_mul), 0, 1e6, 0, false },
	{ "ssm.conv_kernel", K_INT, AT(ssm.conv), 0, MAX_CONV, 0, false },
	{ "ssm.inner_size", K_INT, AT(ssm.inner), 0, MAX_WIDTH, 0, false },
	{ "ssm.state_size", K_INT, AT(ssm.state), 0, MAX_SSM_STATE, 0, false },
	{ "ssm.time_step_rank", K_INT, AT(ssm.rank), 0, MAX_WIDTH, 0, false },
	{ "ssm.group_count", K_INT, AT(ssm.group), 0, MAX_WIDTH, 0, false },
	{ "ssm.dt_b_c_rms", K_BOOL, AT(ssm.norm_bcdt), 0, 1, 0, false },
	/* ours: a folder's mixer_rms_eps, time_step_limit and mamba_norm_before_gate */
	{ "ssm.dt_b_c_rms_epsilon", K_F32, AT(ssm.eps), 0, 1, -1, false },
	{ "ssm.time_step_min", K_F32, AT(ssm.dt_min), 0, 1e30, 0, false },
	{ "ssm.time_step_max", K_F32, AT(ssm.dt_max), 0, 1e30, 1e30, false },
	{ "ssm.norm_before_gate", K_BOOL, AT(ssm.norm_first), 0, 1, 0, false },
	{ "shortconv.l_cache", K_INT, AT(ssm.l_cache), 0, MAX_CONV, 0, false },
};

/* Keys that change the result in ways we do not compute, and the value with which they do not. */
static const struct { const char *name; double neutral; } refused[] = {
	{ "attention.clamp_kqv", 0 },
	{ "attention.max_alibi_bias", 0 },
	{ "attention.temperature_length", 0 },
	{ "attention.temperature_scale", 0 },
	{ "nextn_predict_layers", 0 },
	{ "rope.scaling.yarn_ext_factor", 1 },
	{ "expert_group_scale", 0 },
	{ "rope.scaling.alpha", 0 },
	{ "rope.dimension_sections", 0 },
};

enum { NAME = 160 };
static void full(char out[NAME], const char *arch, const char *key)
{
	snprintf(out, NAME, "%s.%s", arch, key);
}

/* Any number or bool as a double; false when the key holds neither. */
static bool number(const struct file *f, const char *name, double *out)
{
	bool b;
	if (file_f64(f, name, out)) return true;
	if (!file_bool(f, name, &b)) return false;
	*out = b;
	return true;
}

static int key_load(struct hparams *hp, const struct file *f, const char *arch, const struct key *k,
		    struct lm_err *err)
{
	char name[NAME];
	double v = k->def;
	char *at = (char *)hp + k->at;

	full(name, arch, k->name);
	if (file_has(f, name)) {
		if (!number(f, name, &v) || (k->type != K_F32 && v != floor(v)))
			return lm_fail(err, LM_EFORMAT, "%s is not %s", name,
				       k->type == K_F32   ? "a number"
				       : k->type == K_INT ? "a whole number"
							  : "true or false");
		if (!(v >= k->min && v <= k->max))
			return lm_fail(err, LM_EFORMAT, "%s is %g, expected %g to %g", name, v, k->min,
				       k->max);
	} else if (k->required) {
		return lm_fail(err, LM_EFORMAT, "the key %s is missing", name);
	} else if (k > keys && k[-1].at == k->at) {
		return 0;                         /* an older name has set it, or its default */
	}
	if (k->type == K_INT) *(int *)(void *)at = (int)v;
	else if (k->type == K_F32) *(float *)(void *)at = (float)v;
	else *(bool *)(void *)at = v != 0;
	return 0;
}

static int scaling_load(struct hparams *hp, const struct file *f, const char *arch, struct lm_err *err)
{
	static const char *const names[] = { "none", "linear", "yarn", "longrope" };
	char name[NAME];
	const char *s;
	size_t n;
	double on;

	full(name, arch, "rope.scaling.finetuned");
	hp->rope.off = number(f, name, &on) && on == 0;
	full(name, arch, "rope.scaling.yarn_truncate");   /* ours, as the next two */
	hp->rope.truncate_said = number(f, name, &on);
	hp->rope.fraction = hp->rope.truncate_said && on == 0;
	full(name, arch, "rope.interleaved");     /* folders keep q and k as the checkpoint has them */
	hp->ropes_given = file_bool(f, name, &hp->ropes_interleaved);
	if (hp->rope.factor == 0) hp->rope.factor = 1;
	if (!hp->rope.n_ctx_orig) hp->rope.n_ctx_orig = hp->n_ctx_train;
	hp->rope.scaling = SCALE_LINEAR;          /* what a factor alone means */
	full(name, arch, "rope.scaling.type");
	if (!file_has(f, name)) return 0;
	if (!file_str(f, name, &s, &n)) return lm_fail(err, LM_EFORMAT, "%s is not a string", name);
	for (int i = 0; i < 4; i++)
		if (n == strlen(names[i]) && !memcmp(s, names[i], n)) {
			hp->rope.scaling = (enum rope_scaling)i;
			return 0;
		}
	return lm_fail(err, LM_EUNSUPPORTED, "%s is \"%.*s\", expected none, linear, yarn or longrope", name,
	               n > 40 ? 40 : (int)n, s);
}

/* The activation of a file that may have another than its family's. */
static int act_load(struct hparams *hp, const struct file *f, const char *arch, const char *key, struct lm_err *err)
{
	static const struct { const char *name; enum act act; } acts[] = {
		{ "silu", ACT_SILU }, { "gelu", ACT_GELU }, { "gelu_tanh", ACT_GELU_TANH }, { "relu2", ACT_RELU2 },
		{ "swish", ACT_SILU }, { "gelu_new", ACT_GELU_TANH }, { "gelu_pytorch_tanh", ACT_GELU_TANH },
	};
	char name[NAME];
	const char *s;
	size_t n;

	full(name, arch, key);
	if (!file_has(f, name)) return 0;
	if (!file_str(f, name, &s, &n)) return lm_fail(err, LM_EFORMAT, "%s is not a string", name);
	for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
		if (n == strlen(acts[i].name) && !memcmp(s, acts[i].name, n)) {
			hp->act = acts[i].act;
			return 0;
		}
	return lm_fail(err, LM_EUNSUPPORTED, "%s is \"%.*s\", expected silu, gelu, gelu_tanh or relu2", name,
	               n > 40 ? 40 : (int)n, s);
}

int keys_load(struct hparams *hp, const struct file *f, const char *arch, struct lm_err *err)
{
	char name[NAME];
	double v;
	int rc;

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if ((rc = key_load(hp, f, arch, &keys[i], err))) return rc;
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		full(name, arch, refused[i].name);
		if (file_arr_len(f, name) >= 0)
			return lm_fail(err, LM_EUNSUPPORTED, "%s: a mechanism that lmrun does not have",
				       name);
		if (number(f, name, &v) && v != refused[i].neutral)
			return lm_fail(err, LM_EUNSUPPORTED, "%s is %g: a mechanism that lmrun does not have",
				       name, v);
	}
	if ((rc = act_load(hp, f, arch, "hidden_activation", err))) return rc;
	if ((rc = act_load(hp, f, arch, "activation", err))) return rc;
	return scaling_load(hp, f, arch, err);
}

int keys_layer(int *out, const struct file *f, const char *arch, const char *key, int il, int def, int min,
	       int max, struct lm_err *err)
{
	char name[NAME];
	int64_t v = def, n;

	full(name, arch, key);
	n = file_arr_len(f, name);
	if (n >= 0) {
		if (il >= n)
			return lm_fail(err, LM_EFORMAT, "%s has %lld values, fewer than layers", name,
				       (long long)n);
		if (!file_arr_i64(f, name, il, &v))
			return lm_fail(err, LM_EFORMAT, "%s holds no whole numbers", name);
	} else if (file_has(f, name) && !file_i64(f, name, &v)) {
		return lm_fail(err, LM_EFORMAT, "%s is not a whole number", name);
	}
	if (v < min && !file_has(f, name)) return lm_fail(err, LM_EFORMAT, "the key %s is missing", name);
	if (v < min || v > max)
		return lm_fail(err, LM_EFORMAT, "%s is %lld, expected %d to %d", name, (long long)v, min,
			       max);
	*out = (int)v;
	return 0;
}
