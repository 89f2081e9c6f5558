/* hf_moe.c - rows of the family table: mixtures of experts.  Experts become one matrix each, which stays in the mapping
 * where the checkpoint stacks them, too.
 *
 * GOTCHAS
 *   gpt-oss   gate and up alternate in the rows of gate_up_proj; a save in bf16 has it transposed, one in MXFP4 not
 *   DeepSeek  kv_b_proj holds keys and values per head; keys' part is presented transposed, as GGUF has it
 *   epsilon   that of the latents' norms is 1e-6 whatever rms_norm_eps says: a key of ours where they differ
 *   norms     DeepSeek V2's class ignores norm_topk_prob, and groups unless topk_method says so
 *   layers    beyond num_hidden_layers (multi-token prediction) are skipped */
#include "format/hf_map.h"
#include <math.h>
#include <string.h>

/* ---- stacked experts -------------------------------------------------------------------------------------------- */
enum { GATE, UP, DOWN };
static const char *const part_name[] = { "ffn_gate", "ffn_up", "ffn_down" };

/* Expert e of t, [experts][rows][cols], as it is stored. */
static int expert_of(struct hf_map *m, const struct tensor *t, int64_t e, struct tensor **out)
{
	struct tensor s;
	int rc = derive_slice(m->h->f->arena, &s, t, e, m->err);

	if (rc) return rc;
	*out = hf_keep(m, &s);
	return *out ? 0 : LM_ENOMEM;
}

static int emit_expert(struct hf_map *m, const struct tensor *t, int layer, int part, int64_t e)
{
	char *to = hf_text(m, "blk.%d.%s.%d.weight", layer, part_name[part], (int)e);
	return to ? hf_emit(m, t, to) : LM_ENOMEM;
}

static int three(struct hf_map *m, const struct tensor *t)
{
	if (t->n_dims == 3 && t->dim[0] <= 4096) return 0;
	return lm_fail(m->err, LM_EFORMAT, "%s: expected the matrices of all experts in one tensor", t->name);
}

/* [experts][gate rows, then up rows][cols] */
static int fused_experts(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	int rc = three(m, t);

	(void)to, (void)expert;
	if (!rc && t->dim[1] % 2) rc = lm_fail(m->err, LM_EFORMAT, "%s: %lld rows are not gate and up", t->name,
					       (long long)t->dim[1]);
	for (int64_t e = 0; !rc && e < t->dim[0]; e++) {
		struct tensor *both, half;
		if ((rc = expert_of(m, t, e, &both))) break;
		for (int part = GATE; !rc && part <= UP; part++) {
			rc = derive_rows(m->h->f->arena, &half, both, part * t->dim[1] / 2, t->dim[1] / 2, m->err);
			if (!rc) rc = emit_expert(m, &half, layer, part, e);
		}
	}
	return rc;
}

static int down_experts(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	int rc = three(m, t);

	(void)to, (void)expert;
	for (int64_t e = 0; !rc && e < t->dim[0]; e++) {
		struct tensor *one;
		if (!(rc = expert_of(m, t, e, &one))) rc = emit_expert(m, one, layer, DOWN, e);
	}
	return rc;
}

/* ---- gpt-oss ---------------------------------------------------------------------------------------------------- */
/* Every second of 2n rows, beginning with `first`. */
static int every_second(struct hf_map *m, const struct tensor *t, int first, struct tensor *out)
{
	int64_t n = t->dim[0] / 2;
	int32_t *order = t->dim[0] % 2 || t->dim[0] > INT32_MAX ? NULL : lm_new(m->h->f->arena, int32_t, n + 1);

	if (!order) return lm_fail(m->err, LM_EFORMAT, "%s: %lld rows are not gates and ups in turn", t->name,
				   (long long)t->dim[0]);
	for (int64_t i = 0; i < n; i++) order[i] = (int32_t)(2 * i + first);
	return derive_order(m->h->f->arena, out, t, order, n, m->err);
}

/* A matrix of a plain save is [in, out]. */
static int upright(struct hf_map *m, struct tensor **t)
{
	struct tensor turned;
	int rc;

	if ((*t)->type == DT_MXFP4) return 0;
	if ((rc = derive_transpose(m->h->f->arena, &turned, *t, m->err))) return rc;
	*t = hf_keep(m, &turned);
	return *t ? 0 : LM_ENOMEM;
}

static int oss_gate_up(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	int rc = three(m, t);

	(void)to, (void)expert;
	for (int64_t e = 0; !rc && e < t->dim[0]; e++) {
		struct tensor *both, one;
		if ((rc = expert_of(m, t, e, &both)) || (rc = upright(m, &both))) break;
		for (int part = GATE; !rc && part <= UP; part++)
			if (!(rc = every_second(m, both, part, &one))) rc = emit_expert(m, &one, layer, part, e);
	}
	return rc;
}

static int oss_down(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	int rc = three(m, t);

	(void)to, (void)expert;
	for (int64_t e = 0; !rc && e < t->dim[0]; e++) {
		struct tensor *one;
		if (!(rc = expert_of(m, t, e, &one)) && !(rc = upright(m, &one))) rc = emit_expert(m, one, layer, DOWN, e);
	}
	return rc;
}

/* [experts][2n], gates and ups in turn. */
static int oss_gate_up_bias(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	struct lm_arena *a = m->h->f->arena;
	struct tensor turned, half, *p, *q;
	int rc = derive_transpose(a, &turned, t, m->err);

	(void)to, (void)expert;
	if (!rc && !(p = hf_keep(m, &turned))) return LM_ENOMEM;
	for (int part = GATE; !rc && part <= UP; part++) {
		char *name = hf_text(m, "blk.%d.%s_exps.bias", layer, part_name[part]);
		if (!name) return LM_ENOMEM;
		if ((rc = every_second(m, p, part, &half))) return rc;
		if (!(q = hf_keep(m, &half))) return LM_ENOMEM;
		if (!(rc = derive_transpose(a, &turned, q, m->err))) rc = hf_emit(m, &turned, name);
	}
	return rc;
}

/* What the arch row has built in. */
static int oss_keys_of(struct hf_map *m)
{
	double alpha = 1.702, limit = 7;
	int rc;

	if ((rc = hf_num(m, "swiglu_alpha", &alpha)) < 0 || (rc = hf_num(m, "swiglu_limit", &limit)) < 0) return rc;
	if (fabs(alpha - 1.702) > 1e-6 || limit != 7)
		return hf_refuse(m, "swiglu_alpha %g and swiglu_limit %g, expected 1.702 and 7", alpha, limit);
	/* the arch row leaves YaRN's ends unrounded, as the released models say; a folder that does not has them rounded */
	const json_t *r = hf_get(m, "rope_scaling|rope_parameters");
	if (!json_is_false(json_object_get(r, "truncate")) && (rc = hf_put_bool(m, "rope.scaling.yarn_truncate", true))) return rc;
	return hf_put_int(m, "expert_feed_forward_length", m->n_ff);
}

/* ---- DeepSeek --------------------------------------------------------------------------------------------------- */
struct mla { int64_t lora_q, lora_kv, rope, nope, v; };

static int mla_dims(struct hf_map *m, struct mla *d)
{
	int rc;

	*d = (struct mla){ 0 };
	if ((rc = hf_int(m, "q_lora_rank", &d->lora_q)) < 0) return rc;
	if ((rc = hf_int(m, "kv_lora_rank", &d->lora_kv)) < 0) return rc;
	if ((rc = hf_int(m, "qk_rope_head_dim", &d->rope)) < 0) return rc;
	if ((rc = hf_int(m, "qk_nope_head_dim", &d->nope)) < 0) return rc;
	if ((rc = hf_int(m, "v_head_dim", &d->v)) < 0) return rc;
	if (d->lora_kv < 1 || d->rope < 1 || d->nope < 1 || d->v < 1 || d->lora_q < 0 || d->lora_kv > 1 << 16 ||
	    d->rope > 1 << 16 || d->nope > 1 << 16 || d->v > 1 << 16)
		return hf_refuse(m, "kv_lora_rank %lld, qk_rope_head_dim %lld, qk_nope_head_dim %lld or v_head_dim %lld is out "
				 "of range", (long long)d->lora_kv, (long long)d->rope, (long long)d->nope, (long long)d->v);
	return 0;
}

/* Rows [nope | v] per head: v's become one stack, nope's, turned, another. */
static int kv_b(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	struct lm_arena *a = m->h->f->arena;
	struct mla d;
	const struct tensor **part[2];
	struct tensor all[2], one;
	int rc = mla_dims(m, &d);
	int64_t n = m->n_head;

	(void)to, (void)expert;
	if (rc) return rc;
	if (t->n_dims != 2 || t->dim[0] != n * (d.nope + d.v))
		return lm_fail(m->err, LM_EFORMAT, "%s: %lld rows, expected %lld heads of %lld + %lld", t->name,
			       (long long)t->dim[0], (long long)n, (long long)d.nope, (long long)d.v);
	for (int i = 0; i < 2; i++)
		if (!(part[i] = lm_new(a, const struct tensor *, n))) return hf_no_memory(m);
	for (int64_t h = 0; h < n; h++) {
		if ((rc = derive_rows(a, &one, t, h * (d.nope + d.v) + d.nope, d.v, m->err))) return rc;
		if (!(part[1][h] = hf_keep(m, &one))) return LM_ENOMEM;
		if ((rc = derive_rows(a, &one, t, h * (d.nope + d.v), d.nope, m->err))) return rc;
		const struct tensor *k = hf_keep(m, &one);
		if (!k) return LM_ENOMEM;
		if ((rc = derive_transpose(a, &one, k, m->err))) return rc;
		if (!(part[0][h] = hf_keep(m, &one))) return LM_ENOMEM;
	}
	for (int i = 0; i < 2; i++) {
		char *name = hf_text(m, "blk.%d.attn_%c_b.weight", layer, "kv"[i]);
		if (!name) return LM_ENOMEM;
		if ((rc = derive_stack(a, &all[i], part[i], (int)n, m->err))) return rc;
		all[i].n_dims = 3;
		all[i].dim[2] = all[i].dim[1], all[i].dim[1] = all[i].dim[0] / n, all[i].dim[0] = n;
		if ((rc = hf_emit(m, &all[i], name))) return rc;
	}
	return 0;
}

static double yarn_mscale(double factor, double by) { return factor > 1 ? 0.1 * by * log(factor) + 1 : 1; }

/* What YaRN multiplies: cos and sin by a ratio, the scores by mscale_all_dim's share, squared. */
static int mla_yarn(struct hf_map *m)
{
	const json_t *r = hf_get(m, "rope_scaling");
	double s = 1, by = 0, all = 0, factor;
	int rc;

	if (!json_object_size(r)) r = hf_get(m, "rope_parameters");
	if ((rc = hf_num_in(m, r, "rope_parameters.", "factor", &s)) < 0) return rc;
	if ((rc = hf_num_in(m, r, "rope_parameters.", "mscale", &by)) < 0) return rc;
	if ((rc = hf_num_in(m, r, "rope_parameters.", "mscale_all_dim", &all)) <= 0 || all == 0) return rc < 0 ? rc : 0;
	factor = by != 0 ? yarn_mscale(s, by) / yarn_mscale(s, all) : yarn_mscale(s, 1);
	if ((rc = hf_num_in(m, r, "rope_parameters.", "attention_factor", &factor)) < 0) return rc;
	if ((rc = hf_put_num(m, "rope.scaling.yarn_log_multiplier", 0.1 * all))) return rc;
	return hf_put_num(m, "rope.scaling.attn_factor", factor);
}

static int deepseek_keys_of(struct hf_map *m)
{
	struct mla d;
	bool pairs = true;
	double eps = 1e-6;
	int rc;

	if ((rc = mla_dims(m, &d)) || (rc = hf_num(m, "rms_norm_eps", &eps)) < 0) return rc;
	if (eps != 1e-6 && (rc = hf_put_num(m, "attention.latent_norm_rms_epsilon", 1e-6))) return rc;
	if ((rc = hf_must(m, "attention_bias", false)) || (rc = hf_flag(m, "rope_interleave", &pairs)) < 0) return rc;
	if (!pairs && (rc = hf_put_bool(m, "rope.interleaved", false))) return rc;
	if (d.lora_q && (rc = hf_put_int(m, "attention.q_lora_rank", d.lora_q))) return rc;
	if ((rc = hf_put_int(m, "attention.kv_lora_rank", d.lora_kv))) return rc;
	if ((rc = hf_put_int(m, "attention.head_count_kv", 1))) return rc;
	if ((rc = hf_put_int(m, "attention.key_length", d.lora_kv + d.rope))) return rc;
	if ((rc = hf_put_int(m, "attention.value_length", d.lora_kv))) return rc;
	if ((rc = hf_put_int(m, "attention.key_length_mla", d.nope + d.rope))) return rc;
	if ((rc = hf_put_int(m, "attention.value_length_mla", d.v))) return rc;
	if ((rc = hf_put_int(m, "rope.dimension_count", d.rope))) return rc;
	return mla_yarn(m);
}

static int put_groups(struct hf_map *m)
{
	int64_t n = 0, used = 0;
	int rc;

	if ((rc = hf_int(m, "n_group", &n)) < 0 || (rc = hf_int(m, "topk_group", &used)) < 0) return rc;
	if ((rc = hf_put_int(m, "expert_group_count", n))) return rc;
	return hf_put_int(m, "expert_group_used_count", used);
}

static int v2_keys_of(struct hf_map *m)
{
	enum { SOFTMAX = 1 };
	const char *how = "greedy";
	int rc = deepseek_keys_of(m);

	if (rc || (rc = hf_put_int(m, "expert_gating_func", SOFTMAX))) return rc;
	if ((rc = hf_str(m, "topk_method", &how)) < 0) return rc;
	if (!strcmp(how, "greedy")) return 0;
	if (!strcmp(how, "group_limited_greedy")) return put_groups(m);
	return hf_refuse(m, "topk_method is \"%.40s\", expected greedy or group_limited_greedy", how);
}

static int v3_keys_of(struct hf_map *m)
{
	enum { SIGMOID = 2 };
	bool norm = true;
	int rc = deepseek_keys_of(m);

	if (rc || (rc = hf_put_int(m, "expert_gating_func", SIGMOID))) return rc;
	if ((rc = hf_flag(m, "norm_topk_prob", &norm)) < 0) return rc;
	if ((rc = hf_put_bool(m, "expert_weights_norm", norm))) return rc;
	return put_groups(m);
}

static int olmoe_keys_of(struct hf_map *m)
{
	double clip = 0;
	int rc = hf_num(m, "clip_qkv", &clip);
	return rc > 0 ? hf_refuse(m, "clip_qkv is %g, which lmrun does not compute", clip) : rc;
}

/* ---- names ------------------------------------------------------------------------------------------------------ */
static const struct hf_name mixtral_names[] = {
	{ "layers.#.block_sparse_moe.gate", "blk.#.ffn_gate_inp", NULL },
	{ "layers.#.block_sparse_moe.experts.@.w1", "blk.#.ffn_gate.@", NULL },
	{ "layers.#.block_sparse_moe.experts.@.w2", "blk.#.ffn_down.@", NULL },
	{ "layers.#.block_sparse_moe.experts.@.w3", "blk.#.ffn_up.@", NULL },
	HF_END
};
/* Qwen, OLMoE, DeepSeek */
const struct hf_name hf_mlp_names[] = {
	{ "layers.#.mlp.gate", "blk.#.ffn_gate_inp", NULL },
	{ "layers.#.mlp.gate.e_score_correction_bias", "blk.#.exp_probs_b.bias", NULL },
	{ "layers.#.mlp.experts.@.gate_proj", "blk.#.ffn_gate.@", NULL },
	{ "layers.#.mlp.experts.@.up_proj", "blk.#.ffn_up.@", NULL },
	{ "layers.#.mlp.experts.@.down_proj", "blk.#.ffn_down.@", NULL },
	{ "layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_gate_up_exps.weight", fused_experts },
	{ "layers.#.mlp.experts.down_proj", "blk.#.ffn_down_exps.weight", down_experts },
	{ "layers.#.mlp.shared_expert_gate", "blk.#.ffn_gate_inp_shexp", NULL },
	{ "layers.#.mlp.shared_expert.gate_proj", "blk.#.ffn_gate_shexp", NULL },
	{ "layers.#.mlp.shared_expert.up_proj", "blk.#.ffn_up_shexp", NULL },
	{ "layers.#.mlp.shared_expert.down_proj", "blk.#.ffn_down_shexp", NULL },
	{ "layers.#.mlp.shared_experts.gate_proj", "blk.#.ffn_gate_shexp", NULL },
	{ "layers.#.mlp.shared_experts.up_proj", "blk.#.ffn_up_shexp", NULL },
	{ "layers.#.mlp.shared_experts.down_proj", "blk.#.ffn_down_shexp", NULL },
	{ "layers.#.self_attn.q_a_proj", "blk.#.attn_q_a", NULL },
	{ "layers.#.self_attn.q_a_layernorm", "blk.#.attn_q_a_norm", NULL },
	{ "layers.#.self_attn.q_b_proj", "blk.#.attn_q_b", NULL },
	{ "layers.#.self_attn.kv_a_proj_with_mqa", "blk.#.attn_kv_a_mqa", NULL },
	{ "layers.#.self_attn.kv_a_layernorm", "blk.#.attn_kv_a_norm", NULL },
	{ "layers.#.self_attn.kv_b_proj", "blk.#.attn_kv_b", kv_b },
	HF_END
};
const struct hf_name hf_granite_names[] = {
	{ "layers.#.block_sparse_moe.router.layer", "blk.#.ffn_gate_inp", NULL },
	{ "layers.#.block_sparse_moe.input_linear", "blk.#.ffn_gate_up_exps", fused_experts },
	{ "layers.#.block_sparse_moe.output_linear", "blk.#.ffn_down_exps", down_experts },
	{ "layers.#.shared_mlp.input_linear", "blk.#.ffn_up_shexp", hf_gate_up },
	{ "layers.#.shared_mlp.output_linear", "blk.#.ffn_down_shexp", NULL },
	HF_END
};
static const struct hf_name oss_names[] = {
	{ "layers.#.self_attn.sinks", "blk.#.attn_sinks.weight", NULL },
	{ "layers.#.post_attention_layernorm", "blk.#.post_attention_norm", NULL },
	{ "layers.#.mlp.router", "blk.#.ffn_gate_inp", NULL },
	{ "layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_gate_up_exps.weight", oss_gate_up },
	{ "layers.#.mlp.experts.gate_up_proj_bias", "blk.#.ffn_gate_up_exps.bias", oss_gate_up_bias },
	{ "layers.#.mlp.experts.down_proj", "blk.#.ffn_down_exps.weight", oss_down },
	{ "layers.#.mlp.experts.down_proj_bias", "blk.#.ffn_down_exps.bias", NULL },
	HF_END
};

/* ---- keys ------------------------------------------------------------------------------------------------------- */
#define COUNTS \
	{ "num_experts|num_local_experts|n_routed_experts", "expert_count", HF_INT }, \
	{ "num_experts_per_tok|num_experts_per_token", "expert_used_count", HF_INT }
static const struct hf_key count_keys[] = { COUNTS, HF_LAST };
static const struct hf_key qwen_keys[] = {
	COUNTS,
	{ "moe_intermediate_size", "expert_feed_forward_length", HF_INT },
	{ "shared_expert_intermediate_size", "expert_shared_feed_forward_length", HF_INT },
	{ "norm_topk_prob", "expert_weights_norm", HF_BOOL },
	HF_LAST
};
static const struct hf_key granite_keys[] = {
	COUNTS,
	{ "shared_intermediate_size", "expert_shared_feed_forward_length", HF_INT },
	HF_GRANITE_SCALES,
	HF_LAST
};
static const struct hf_key deepseek_keys[] = {
	COUNTS,
	{ "moe_intermediate_size", "expert_feed_forward_length", HF_INT },
	{ "n_shared_experts", "expert_shared_count", HF_INT },
	{ "routed_scaling_factor", "expert_weights_scale", HF_F32 },
	{ "first_k_dense_replace", "leading_dense_block_count", HF_INT },
	HF_LAST
};

/* clang-format off */
const struct hf_family hf_moe_families[] = {
	{ .arch = { "MixtralForCausalLM" }, .type = { "mixtral" }, .gguf = "llama",
	  .names = mixtral_names, .base = hf_llama_names, .keys = count_keys, .act = "silu", .window = HF_ALL,
	  .flags = HF_UNPERMUTED,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'num_key_value_heads':8,"
	              "'intermediate_size':14336,'max_position_embeddings':131072,'rms_norm_eps':1e-5,'rope_theta':1000000,"
	              "'num_local_experts':8,'num_experts_per_tok':2}" },
	{ .arch = { "Qwen2MoeForCausalLM" }, .type = { "qwen2_moe" }, .gguf = "qwen2moe",
	  .names = hf_mlp_names, .base = hf_llama_names, .keys = qwen_keys, .act = "silu", .window = HF_BEFORE,
	  .defaults = "{'hidden_size':2048,'num_hidden_layers':24,'num_attention_heads':16,'num_key_value_heads':16,"
	              "'intermediate_size':5632,'max_position_embeddings':32768,'rms_norm_eps':1e-6,'max_window_layers':28,"
	              "'sliding_window':4096,'moe_intermediate_size':1408,'shared_expert_intermediate_size':5632,"
	              "'num_experts_per_tok':4,'num_experts':60,'norm_topk_prob':false}" },
	{ .arch = { "Qwen3MoeForCausalLM" }, .type = { "qwen3_moe" }, .gguf = "qwen3moe",
	  .names = hf_mlp_names, .base = hf_llama_names, .keys = qwen_keys, .act = "silu", .window = HF_USED,
	  .defaults = "{'hidden_size':2048,'num_hidden_layers':24,'num_attention_heads':32,'num_key_value_heads':4,"
	              "'intermediate_size':6144,'max_position_embeddings':32768,'rms_norm_eps':1e-6,'max_window_layers':28,"
	              "'sliding_window':4096,'moe_intermediate_size':768,'num_experts_per_tok':8,'norm_topk_prob':false}" },
	{ .arch = { "OlmoeForCausalLM" }, .type = { "olmoe" }, .gguf = "olmoe",
	  .names = hf_mlp_names, .base = hf_llama_names, .keys = qwen_keys, .act = "silu", .keys_of = olmoe_keys_of,
	  .defaults = "{'hidden_size':2048,'num_hidden_layers':16,'num_attention_heads':16,'num_key_value_heads':16,"
	              "'intermediate_size':2048,'max_position_embeddings':4096,'rms_norm_eps':1e-5,'num_experts_per_tok':8,"
	              "'num_experts':64,'norm_topk_prob':false}" },
	{ .arch = { "GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM" }, .type = { "granitemoe", "granitemoeshared" },
	  .gguf = "granitemoe", .names = hf_granite_names, .base = hf_llama_names, .keys = granite_keys, .act = "silu",
	  .flags = HF_UNPERMUTED,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'intermediate_size':11008,"
	              "'max_position_embeddings':2048,'rms_norm_eps':1e-6,'attention_multiplier':1,'num_local_experts':8,"
	              "'num_experts_per_tok':2}" },
	{ .arch = { "GptOssForCausalLM" }, .type = { "gpt_oss" }, .gguf = "gpt-oss",
	  .names = oss_names, .base = hf_llama_names, .keys = count_keys, .window = HF_EVERY, .period = 2,
	  .keys_of = oss_keys_of,
	  .defaults = "{'hidden_size':2880,'num_hidden_layers':36,'num_attention_heads':64,'num_key_value_heads':8,"
	              "'head_dim':64,'intermediate_size':2880,'max_position_embeddings':131072,'rms_norm_eps':1e-5,"
	              "'sliding_window':128,'num_local_experts':128,'num_experts_per_tok':4,'rope_theta':150000}" },
	{ .arch = { "DeepseekV2ForCausalLM" }, .type = { "deepseek_v2" }, .gguf = "deepseek2",
	  .names = hf_mlp_names, .base = hf_llama_names, .keys = deepseek_keys, .act = "silu", .flags = HF_MTP,
	  .keys_of = v2_keys_of,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'intermediate_size':11008,"
	              "'max_position_embeddings':2048,'rms_norm_eps':1e-6,'kv_lora_rank':512,'qk_rope_head_dim':64,"
	              "'qk_nope_head_dim':128,'v_head_dim':128,'n_routed_experts':64,'n_shared_experts':2,"
	              "'moe_intermediate_size':1407}" },
	{ .arch = { "DeepseekV3ForCausalLM" }, .type = { "deepseek_v3" }, .gguf = "deepseek2",
	  .names = hf_mlp_names, .base = hf_llama_names, .keys = deepseek_keys, .act = "silu", .flags = HF_MTP,
	  .keys_of = v3_keys_of,
	  .defaults = "{'hidden_size':7168,'num_hidden_layers':61,'num_attention_heads':128,'intermediate_size':18432,"
	              "'max_position_embeddings':4096,'rms_norm_eps':1e-6,'kv_lora_rank':512,'qk_rope_head_dim':64,"
	              "'qk_nope_head_dim':128,'v_head_dim':128,'n_routed_experts':256,'n_shared_experts':1,"
	              "'moe_intermediate_size':2048,'num_experts_per_tok':8,'n_group':8,'topk_group':4,"
	              "'routed_scaling_factor':2.5,'norm_topk_prob':true}" },
};
/* clang-format on */
const int hf_n_moe = sizeof hf_moe_families / sizeof hf_moe_families[0];
