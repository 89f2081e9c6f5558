/* hf_rec.c - rows of the family table: recurrent and hybrid models.
 *
 * GOTCHAS
 *   A, D       Mamba-2's are [heads, 1] in a GGUF, the norm [groups, width]; a delta net's A stays a vector
 *   layers     older configs say "mamba" and "attention", or spell the pattern "M-*-"; newer "linear_attention", "full_attention"
 *   Nemotron-H the class clamps dt at time_step_min and asks no time_step_limit
 *   Falcon-H1  the multipliers of its parts are folded into the weights, as GGUF has no keys for them; those of embedding and
 *              head are keys where the two are one tensor
 *   Qwen3-Next all norms are 1 + w except the one in the delta net */
#include "format/hf_map.h"
#include <string.h>

/* ---- ops --------------------------------------------------------------------------------------------------------- */
/* n values as [n, 1] */
static void as_column(struct tensor *t)
{
	if (t->n_dims != 1) return;
	t->n_dims = 2;
	t->dim[1] = 1;
}

static int column(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	struct tensor out = *t;

	(void)layer, (void)expert;
	as_column(&out);
	return hf_emit(m, &out, to);
}

static int neg_exp_column(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	struct tensor *col = hf_keep(m, t);

	if (!col) return LM_ENOMEM;
	as_column(col);
	return hf_neg_exp(m, col, to, layer, expert);
}

/* The norm's weight as [groups, width]. */
static int grouped(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	struct tensor out = *t;
	int64_t n = 1;
	int rc = hf_int(m, "n_groups|mamba_n_groups", &n);

	(void)layer, (void)expert;
	if (rc < 0) return rc;
	if (t->n_dims == 1 && n > 0 && t->dim[0] % n == 0) {
		out.n_dims = 2;
		out.dim[0] = n;
		out.dim[1] = t->dim[0] / n;
	}
	return hf_emit(m, &out, to);
}

/* Rows times a factor each, as f32: the product has more digits than f16 or bf16 hold (--precision rounds it). */
struct scaled { struct derived d; const float *by; };

static int make_scaled(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct scaled *s = (const struct scaled *)d;
	int64_t cols = d->from->dim[d->from->n_dims - 1], from = quant_row_bytes(d->from->type, cols);
	char *raw = lm_malloc((size_t)from);
	float *f = dst;
	int rc = raw ? 0 : lm_fail(err, LM_ENOMEM, "out of memory for %s", d->from->name);

	for (int64_t r = row; !rc && r < row + n; r++, f += cols) {
		if ((rc = tensor_rows(d->from, r, 1, raw, err))) break;
		quant_info(d->from->type)->decode(f, raw, cols);
		for (int64_t i = 0; i < cols; i++) f[i] *= s->by[r];
	}
	lm_free(raw);
	return rc;
}

static int emit_scaled(struct hf_map *m, const struct tensor *t, const char *to, const float *by)
{
	struct scaled *s = lm_new(m->h->f->arena, struct scaled, 1);
	struct tensor out = *t, *from = hf_keep(m, t);
	int64_t bytes;

	if (!s || !from) return hf_no_memory(m);
	*s = (struct scaled){ { make_scaled, from }, by };
	bytes = quant_row_bytes(DT_F32, t->dim[t->n_dims - 1]);
	out.type = DT_F32;
	out.data = NULL;
	out.how = &s->d;
	if (bytes < 1 || !lm_mul_u64((uint64_t)bytes, (uint64_t)tensor_n_rows(t), &out.size))
		return lm_fail(m->err, LM_EFORMAT, "%s is too large", t->name);
	return hf_emit(m, &out, to);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */
#define MIXER2(p) \
	{ p ".in_proj", "blk.#.ssm_in", NULL }, \
	{ p ".conv1d", "blk.#.ssm_conv1d", hf_conv }, \
	{ p ".dt_bias", "blk.#.ssm_dt.bias", NULL }, \
	{ p ".A_log", "blk.#.ssm_a", neg_exp_column }, \
	{ p ".D", "blk.#.ssm_d", column }, \
	{ p ".norm", "blk.#.ssm_norm", grouped }, \
	{ p ".out_proj", "blk.#.ssm_out", NULL }
#define FRAME \
	{ "embeddings", "token_embd", NULL }, \
	{ "norm_f", "output_norm", NULL }, \
	{ "lm_head", "output", hf_head }, \
	{ "layers.#.norm", "blk.#.attn_norm", NULL }

static const struct hf_name mamba_names[] = {
	FRAME,
	{ "layers.#.mixer.in_proj", "blk.#.ssm_in", NULL },
	{ "layers.#.mixer.conv1d", "blk.#.ssm_conv1d", hf_conv },
	{ "layers.#.mixer.x_proj", "blk.#.ssm_x", NULL },
	{ "layers.#.mixer.dt_proj", "blk.#.ssm_dt", NULL },
	{ "layers.#.mixer.A_log", "blk.#.ssm_a", hf_neg_exp },
	{ "layers.#.mixer.D", "blk.#.ssm_d", NULL },
	{ "layers.#.mixer.out_proj", "blk.#.ssm_out", NULL },
	HF_END
};
static const struct hf_name mamba2_names[] = { FRAME, MIXER2("layers.#.mixer"), HF_END };
static const struct hf_name nemotron_names[] = {
	FRAME,
	{ "layers.#.mixer.q_proj", "blk.#.attn_q", NULL },
	{ "layers.#.mixer.k_proj", "blk.#.attn_k", NULL },
	{ "layers.#.mixer.v_proj", "blk.#.attn_v", NULL },
	{ "layers.#.mixer.o_proj", "blk.#.attn_output", NULL },
	{ "layers.#.mixer.up_proj", "blk.#.ffn_up", NULL },
	{ "layers.#.mixer.down_proj", "blk.#.ffn_down", NULL },
	MIXER2("layers.#.mixer"),
	HF_END
};
static const struct hf_name granite_dense_names[] = {
	{ "layers.#.shared_mlp.input_linear", "blk.#.ffn_up", hf_gate_up },
	{ "layers.#.shared_mlp.output_linear", "blk.#.ffn_down", NULL },
	MIXER2("layers.#.mamba"),
	HF_END
};
static const struct hf_name granite_moe_names[] = {
	HF_EMBED_HEAD,
	{ "layers.#.input_layernorm", "blk.#.attn_norm", NULL },
	HF_QKVO,
	{ "layers.#.post_attention_layernorm", "blk.#.ffn_norm", NULL },
	MIXER2("layers.#.mamba"),
	HF_END
};
static const struct hf_name lfm2_names[] = {
	{ "embedding_norm", "token_embd_norm", NULL },           /* the last norm; the name is GGUF's */
	{ "layers.#.operator_norm", "blk.#.attn_norm", NULL },
	{ "layers.#.ffn_norm", "blk.#.ffn_norm", NULL },
	{ "layers.#.conv.in_proj", "blk.#.shortconv.in_proj", NULL },
	{ "layers.#.conv.conv", "blk.#.shortconv.conv", hf_conv },
	{ "layers.#.conv.out_proj", "blk.#.shortconv.out_proj", NULL },
	{ "layers.#.self_attn.q_layernorm", "blk.#.attn_q_norm", NULL },
	{ "layers.#.self_attn.k_layernorm", "blk.#.attn_k_norm", NULL },
	{ "layers.#.self_attn.out_proj", "blk.#.attn_output", NULL },
	{ "layers.#.feed_forward.w1", "blk.#.ffn_gate", NULL },
	{ "layers.#.feed_forward.w3", "blk.#.ffn_up", NULL },
	{ "layers.#.feed_forward.w2", "blk.#.ffn_down", NULL },
	HF_END
};
static hf_op falcon_scale;
static const struct hf_name falcon_names[] = {
	{ "embed_tokens", "token_embd", falcon_scale },
	{ "lm_head", "output", falcon_scale },
	{ "final_layernorm", "output_norm", NULL },
	{ "layers.#.pre_ff_layernorm.weight", "blk.#.ffn_norm", NULL },      /* without an end, as llama.cpp wants it */
	{ "layers.#.self_attn.q_proj", "blk.#.attn_q", falcon_scale },
	{ "layers.#.self_attn.k_proj", "blk.#.attn_k", falcon_scale },
	{ "layers.#.self_attn.v_proj", "blk.#.attn_v", falcon_scale },
	{ "layers.#.self_attn.o_proj", "blk.#.attn_output", falcon_scale },
	{ "layers.#.mamba.in_proj", "blk.#.ssm_in", falcon_scale },
	{ "layers.#.mamba.out_proj", "blk.#.ssm_out", falcon_scale },
	{ "layers.#.feed_forward.gate_proj", "blk.#.ffn_gate", falcon_scale },
	{ "layers.#.feed_forward.up_proj", "blk.#.ffn_up", NULL },
	{ "layers.#.feed_forward.down_proj", "blk.#.ffn_down", falcon_scale },
	MIXER2("layers.#.mamba"),
	HF_END
};
static const struct hf_name qwen3next_names[] = {
	{ "embed_tokens", "token_embd", NULL },
	{ "norm", "output_norm", hf_add_one },
	{ "lm_head", "output", hf_head },
	{ "mtp.*", NULL, hf_skip },                              /* predicts further tokens: not used */
	{ "layers.#.input_layernorm", "blk.#.attn_norm", hf_add_one },
	{ "layers.#.post_attention_layernorm", "blk.#.post_attention_norm", hf_add_one },
	HF_QKVO,
	{ "layers.#.self_attn.q_norm", "blk.#.attn_q_norm", hf_add_one },
	{ "layers.#.self_attn.k_norm", "blk.#.attn_k_norm", hf_add_one },
	{ "layers.#.mlp.gate_proj", "blk.#.ffn_gate", NULL },
	{ "layers.#.mlp.up_proj", "blk.#.ffn_up", NULL },
	{ "layers.#.mlp.down_proj", "blk.#.ffn_down", NULL },
	{ "layers.#.linear_attn.in_proj_qkvz", "blk.#.ssm_in", NULL },
	{ "layers.#.linear_attn.in_proj_ba", "blk.#.ssm_ba", NULL },
	{ "layers.#.linear_attn.conv1d", "blk.#.ssm_conv1d", hf_conv },
	{ "layers.#.linear_attn.dt_bias", "blk.#.ssm_dt.bias", NULL },
	{ "layers.#.linear_attn.A_log", "blk.#.ssm_a", hf_neg_exp },
	{ "layers.#.linear_attn.norm", "blk.#.ssm_norm", NULL },
	{ "layers.#.linear_attn.out_proj", "blk.#.ssm_out", NULL },
	HF_END
};

/* ---- keys -------------------------------------------------------------------------------------------------------- */
#define EPS(from) { from, "attention.layer_norm_rms_epsilon", HF_F32 }
static const struct hf_key mamba_keys[] = {
	EPS("layer_norm_epsilon|rms_norm_eps"),
	{ "conv_kernel", "ssm.conv_kernel", HF_INT },
	{ "state_size|ssm_state_size", "ssm.state_size", HF_INT },
	{ "mixer_rms_eps", "ssm.dt_b_c_rms_epsilon", HF_F32 },
	HF_LAST
};
static const struct hf_key mamba2_keys[] = {
	EPS("layer_norm_epsilon|rms_norm_eps"),
	{ "conv_kernel|mamba_d_conv", "ssm.conv_kernel", HF_INT },
	{ "state_size|ssm_state_size", "ssm.state_size", HF_INT },
	{ "n_groups|mamba_n_groups", "ssm.group_count", HF_INT },
	HF_LAST
};
#define HYBRID \
	{ "mamba_d_conv", "ssm.conv_kernel", HF_INT }, \
	{ "mamba_d_state", "ssm.state_size", HF_INT }, \
	{ "mamba_n_groups", "ssm.group_count", HF_INT }, \
	{ "mamba_n_heads", "ssm.time_step_rank", HF_INT }
static const struct hf_key granite_keys[] = {
	HYBRID,
	HF_GRANITE_SCALES,
	HF_LAST
};
static const struct hf_key falcon_keys[] = { HYBRID, HF_LAST };
static const struct hf_key lfm2_keys[] = {
	EPS("norm_eps|block_norm_eps"),
	{ "conv_L_cache", "shortconv.l_cache", HF_INT },
	HF_LAST
};
static const struct hf_key qwen3next_keys[] = {
	{ "linear_conv_kernel_dim", "ssm.conv_kernel", HF_INT },
	{ "linear_key_head_dim", "ssm.state_size", HF_INT },
	{ "linear_num_key_heads", "ssm.group_count", HF_INT },
	{ "linear_num_value_heads", "ssm.time_step_rank", HF_INT },
	{ "num_experts", "expert_count", HF_INT },
	{ "num_experts_per_tok", "expert_used_count", HF_INT },
	{ "moe_intermediate_size", "expert_feed_forward_length", HF_INT },
	{ "shared_expert_intermediate_size", "expert_shared_feed_forward_length", HF_INT },
	{ "norm_topk_prob", "expert_weights_norm", HF_BOOL },
	HF_LAST
};

static const struct { const char *name; char kind; } kind_names[] = {
	{ "mamba", 'M' }, { "linear_attention", 'M' }, { "attention", '*' }, { "full_attention", '*' }, { "mlp", '-' },
	{ "conv", 'C' },
};

/* One letter per layer: M or C recurs, * attends, - is a feed-forward part alone. */
static int layer_kinds(struct hf_map *m, char kind[HF_MAX_LAYERS])
{
	const json_t *list = hf_get(m, "layer_types|layers_block_type"), *text = hf_get(m, "hybrid_override_pattern");
	const char *s = json_string_value(text);
	size_t n = s ? strlen(s) : json_array_size(list);

	if (n > HF_MAX_LAYERS || (int64_t)n != m->n_layer)
		return lm_fail(m->err, LM_EFORMAT, "config.json: layer_types is for %zu layers, expected %lld", n,
			       (long long)m->n_layer);
	for (size_t i = 0; i < n; i++) {
		const char *name = s ? NULL : json_string_value(json_array_get(list, i));
		kind[i] = s && strchr("M*-", s[i]) ? s[i] : 0;
		for (size_t k = 0; name && k < sizeof kind_names / sizeof kind_names[0]; k++)
			if (!strcmp(name, kind_names[k].name)) kind[i] = kind_names[k].kind;
		if (!kind[i]) return hf_refuse(m, "layer %zu is of the kind \"%.40s\", which lmrun does not have", i, name ? name : s + i);
	}
	return 0;
}

/* Key heads per layer, 0 where a layer does not attend. */
static int put_kv_heads(struct hf_map *m, const char *kind)
{
	int32_t n[HF_MAX_LAYERS];
	for (int64_t i = 0; i < m->n_layer; i++) n[i] = kind[i] == '*' ? (int32_t)m->n_kv : 0;
	return hf_put_ints(m, "attention.head_count_kv", n, m->n_layer);
}

/* time_step_limit: [lowest, highest], the latter mostly infinite and then written in several ways. */
static int put_limits(struct hf_map *m)
{
	const json_t *v = hf_get(m, "time_step_limit");
	double lo = json_number_value(json_array_get(v, 0)), hi = json_number_value(json_array_get(v, 1));
	int rc = 0;

	if (lo > 0) rc = hf_put_num(m, "ssm.time_step_min", lo);
	if (!rc && hi > 0 && hi < 1e30) rc = hf_put_num(m, "ssm.time_step_max", hi);
	return rc;
}

/* Pure Mamba: no context, no attention, no feed-forward part. */
static int no_attention(struct hf_map *m)
{
	int rc = hf_put_int(m, "feed_forward_length", 0);

	if (!rc && !m->n_ctx) rc = hf_put_int(m, "context_length", 1 << 20);
	return rc ? rc : hf_put_int(m, "attention.head_count", 0);
}

/* A width, when it is said. */
static int dim_said(struct hf_map *m, const char *name, int64_t *out)
{
	int rc = hf_int(m, name, out);

	if (rc > 0 && (*out < 1 || *out > 1 << 24)) return hf_refuse(m, "%s is %lld, which is no width", name, (long long)*out);
	return rc < 0 ? rc : 0;
}

static int mamba_keys_of(struct hf_map *m)
{
	int64_t inner = 2 * m->n_embd, rank = (m->n_embd + 15) / 16, expand = 2;
	int rc;

	if ((rc = hf_int(m, "expand", &expand)) < 0) return rc;
	if (expand < 1 || expand > 64) return hf_refuse(m, "expand is %lld, expected 1 to 64", (long long)expand);
	inner = expand * m->n_embd;
	if ((rc = dim_said(m, "intermediate_size", &inner))) return rc;      /* Falcon-Mamba says 16 times, and has 2 */
	if (!json_is_string(hf_get(m, "time_step_rank")) && (rc = hf_int(m, "time_step_rank", &rank)) < 0) return rc;
	if ((rc = no_attention(m)) || (rc = hf_put_int(m, "ssm.inner_size", inner))) return rc;
	return hf_put_int(m, "ssm.time_step_rank", rank);
}

static int falcon_mamba_keys_of(struct hf_map *m)
{
	int rc = mamba_keys_of(m);
	return rc ? rc : hf_put_bool(m, "ssm.dt_b_c_rms", true);
}

/* inner_size and time_step_rank from heads and their width. */
static int put_inner(struct hf_map *m, const char *heads, const char *width)
{
	int64_t n = 0, dim = 0;
	int rc;

	if ((rc = hf_int(m, heads, &n)) < 0 || (rc = hf_int(m, width, &dim)) < 0) return rc;
	if (n < 1 || dim < 1 || n > 1 << 16 || dim > 1 << 16)
		return hf_refuse(m, "%lld heads of %lld, which is no Mamba layer", (long long)n, (long long)dim);
	if ((rc = hf_put_int(m, "ssm.inner_size", n * dim))) return rc;
	return hf_put_int(m, "ssm.time_step_rank", n);
}

static int mamba2_keys_of(struct hf_map *m)
{
	int rc = no_attention(m);
	if (!rc) rc = put_inner(m, "num_heads", "head_dim");
	return rc ? rc : put_limits(m);
}

static int nemotron_pick(struct hf_map *m)
{
	const json_t *list = hf_get(m, "layers_block_type");
	if (list) m->n_layer = (int64_t)json_array_size(list);
	return 0;
}

static int nemotron_keys_of(struct hf_map *m)
{
	char kind[HF_MAX_LAYERS];
	int32_t ff[HF_MAX_LAYERS];
	double lowest = 0;
	int rc;

	if ((rc = layer_kinds(m, kind)) || (rc = put_kv_heads(m, kind))) return rc;
	for (int64_t i = 0; i < m->n_layer; i++) ff[i] = kind[i] == '-' ? (int32_t)m->n_ff : 0;
	if ((rc = hf_put_ints(m, "feed_forward_length", ff, m->n_layer))) return rc;
	if ((rc = put_inner(m, "mamba_num_heads", "mamba_head_dim"))) return rc;
	if ((rc = hf_num(m, "time_step_min", &lowest)) < 0) return rc;
	return lowest > 0 ? hf_put_num(m, "ssm.time_step_min", lowest) : 0;
}

/* Granite 4.0-h: with experts, the shared MLP is the shared expert. */
static const struct hf_family *granite_with(struct hf_map *m, bool experts);

static int granite_pick(struct hf_map *m)
{
	int64_t n = 0;
	char kind[HF_MAX_LAYERS];
	int rc;

	if ((rc = hf_int(m, "num_local_experts", &n)) < 0 || (rc = layer_kinds(m, kind))) return rc;
	m->fam = granite_with(m, n > 0);
	/* where every layer attends, GGUF calls it by the older name */
	if (!memchr(kind, 'M', (size_t)m->n_layer)) m->arch = n > 0 ? "granitemoe" : "granite";
	return 0;
}

static int granite_keys_of(struct hf_map *m)
{
	char kind[HF_MAX_LAYERS];
	const char *positions = "";
	int64_t n = 0, used = 0, shared = 0, expand = 2;
	int rc;

	if ((rc = layer_kinds(m, kind)) || (rc = put_kv_heads(m, kind))) return rc;
	if ((rc = hf_str(m, "position_embedding_type", &positions)) < 0 || (rc = hf_int(m, "mamba_expand", &expand)) < 0 ||
	    (rc = hf_int(m, "num_local_experts", &n)) < 0 || (rc = hf_int(m, "num_experts_per_tok", &used)) < 0 ||
	    (rc = hf_int(m, "shared_intermediate_size", &shared)) < 0)
		return rc;
	if (expand < 1 || expand > 64) return hf_refuse(m, "mamba_expand is %lld, expected 1 to 64", (long long)expand);
	if ((rc = hf_put_bool(m, "rope.scaling.finetuned", !strcmp(positions, "rope")))) return rc;
	if ((rc = hf_put_int(m, "ssm.inner_size", expand * m->n_embd)) || (rc = put_limits(m))) return rc;
	if (!n) return hf_put_int(m, "feed_forward_length", shared);
	if ((rc = hf_put_int(m, "expert_count", n)) || (rc = hf_put_int(m, "expert_used_count", used))) return rc;
	return hf_put_int(m, "expert_shared_feed_forward_length", shared);
}

/* The width is what the file holds: block_auto_adjust_ff_dim rounds the config's. */
static int lfm2_keys_of(struct hf_map *m)
{
	const struct tensor *w = hf_find(m, "layers.0.feed_forward.w1.weight");
	const json_t *list = hf_get(m, "full_attn_idxs");
	char kind[HF_MAX_LAYERS];
	int rc = 0;

	if (hf_get(m, "layer_types")) rc = layer_kinds(m, kind);
	else {
		if (m->n_layer > HF_MAX_LAYERS) return hf_refuse(m, "%lld layers", (long long)m->n_layer);
		memset(kind, list ? 'C' : '*', (size_t)m->n_layer);
		for (size_t i = 0; i < json_array_size(list); i++) {
			int64_t at = json_integer_value(json_array_get(list, i));
			if (at < 0 || at >= m->n_layer) return hf_refuse(m, "full_attn_idxs names the layer %lld", (long long)at);
			kind[at] = '*';
		}
	}
	if (rc || (rc = put_kv_heads(m, kind))) return rc;
	return w ? hf_put_int(m, "feed_forward_length", w->dim[0]) : 0;
}

static int falcon_keys_of(struct hf_map *m)
{
	static const char *const biases[] = { "mamba_proj_bias", "projectors_bias", "attention_bias", "mlp_bias" };
	bool norm = false, first = true;
	int64_t inner = 0, expand = 2;
	double embed = 1, head = 1;
	int rc;

	for (int i = 0; i < 4; i++)
		if ((rc = hf_must(m, biases[i], false))) return rc;
	if ((rc = hf_flag(m, "mamba_rms_norm", &norm)) < 0 || (rc = hf_flag(m, "mamba_norm_before_gate", &first)) < 0 ||
	    (rc = hf_int(m, "mamba_expand", &expand)) < 0 || (rc = hf_int(m, "mamba_d_ssm", &inner)) < 0 ||
	    (rc = hf_num(m, "embedding_multiplier", &embed)) < 0 || (rc = hf_num(m, "lm_head_multiplier", &head)) < 0)
		return rc;
	if (!inner && expand > 0 && expand <= 64) inner = expand * m->n_embd;
	if (norm && first && (rc = hf_put_bool(m, "ssm.norm_before_gate", true))) return rc;
	if (m->tied && ((rc = hf_put_num(m, "embedding_scale", embed)) || (rc = hf_put_num(m, "logit_scale", head)))) return rc;
	if ((rc = hf_put_int(m, "ssm.inner_size", inner))) return rc;
	return put_limits(m);
}

/* Element i of a list of multipliers; 1 where it is not there. */
static int listed(struct hf_map *m, const char *name, size_t i, double *out)
{
	const json_t *list = hf_get(m, name), *v = json_array_get(list, i);

	*out = 1;
	if (list && !json_is_number(v)) return lm_fail(m->err, LM_EFORMAT, "config.json: %s does not hold enough numbers", name);
	if (list) *out = json_number_value(v);
	return 0;
}

/* ssm_in: a factor for gate, x, B, C and dt each. */
static int in_factors(struct hf_map *m, float *by, int64_t n)
{
	int64_t groups = 1, state = 0, heads = 0, at = 0, part[5];
	double all = 1, f;
	int rc;

	if ((rc = hf_int(m, "mamba_n_groups", &groups)) < 0 || (rc = hf_int(m, "mamba_d_state", &state)) < 0 ||
	    (rc = hf_int(m, "mamba_n_heads", &heads)) < 0 || (rc = hf_num(m, "ssm_in_multiplier", &all)) < 0)
		return rc;
	part[2] = part[3] = groups * state;
	part[4] = heads;
	part[0] = part[1] = (n - 2 * part[2] - heads) / 2;
	for (size_t i = 0; i < 5; i++) {
		if ((rc = listed(m, "ssm_multipliers", i, &f))) return rc;
		for (int64_t r = 0; r < part[i] && at < n; r++) by[at++] = (float)(f * all);
	}
	return at == n ? 0 : lm_fail(m->err, LM_EFORMAT, "config.json: the sizes of mamba_* do not make the %lld rows of in_proj",
				     (long long)n);
}

/* The factor of all other matrices, by GGUF name. */
static int factor_of(struct hf_map *m, const char *to, double *out)
{
	static const struct { const char *to, *from; } row[] = {
		{ ".attn_q.", "attention_in_multiplier" }, { ".attn_k.", "attention_in_multiplier" },
		{ ".attn_v.", "attention_in_multiplier" }, { ".attn_output.", "attention_out_multiplier" },
		{ ".ssm_out.", "ssm_out_multiplier" }, { "token_embd.", "embedding_multiplier" },
		{ "output.", "lm_head_multiplier" },
	};
	double key = 1;
	int rc;

	*out = 1;
	if (strstr(to, ".ffn_gate.")) return listed(m, "mlp_multipliers", 0, out);
	if (strstr(to, ".ffn_down.")) return listed(m, "mlp_multipliers", 1, out);
	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
		if (strstr(to, row[i].to)) {
			rc = hf_num(m, row[i].from, out);
			break;
		}
	if (strstr(to, ".attn_k.") && (rc = hf_num(m, "key_multiplier", &key)) < 0) return rc;
	*out *= key;
	return 0;
}

static int falcon_scale(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	int64_t n = tensor_n_rows(t);
	double f = 1;
	bool in = strstr(to, ".ssm_in."), head = !strncmp(to, "output.", 7), plain = true;
	int rc;

	if (m->tied && head) return hf_head(m, t, to, layer, expert);
	if (m->tied && !strncmp(to, "token_embd.", 11)) return hf_emit(m, t, to);
	float *by = n > INT32_MAX ? NULL : lm_new(m->h->f->arena, float, n);
	if (!by) return hf_no_memory(m);
	if (in) rc = in_factors(m, by, n);
	else rc = factor_of(m, to, &f);
	for (int64_t r = 0; r < n && !in; r++) by[r] = (float)f;
	for (int64_t r = 0; r < n; r++) plain = plain && by[r] == 1;
	if (rc) return rc;
	return plain ? hf_emit(m, t, to) : emit_scaled(m, t, to, by);
}

static int qwen3next_keys_of(struct hf_map *m)
{
	const json_t *list = hf_get(m, "layer_types");
	int64_t n = 0, dim = 0, every = 4;
	char kind[HF_MAX_LAYERS];
	uint8_t recurs[HF_MAX_LAYERS];
	int rc;

	if ((rc = hf_must(m, "attention_bias", false))) return rc;

	if ((rc = hf_int(m, "linear_num_value_heads", &n)) < 0 || (rc = hf_int(m, "linear_value_head_dim", &dim)) < 0 ||
	    (rc = hf_int(m, "full_attention_interval", &every)) < 0)
		return rc;
	if (n < 1 || dim < 1 || n > 1 << 16 || dim > 1 << 16 || every < 1 || m->n_layer > HF_MAX_LAYERS)
		return hf_refuse(m, "linear_num_value_heads %lld of linear_value_head_dim %lld", (long long)n, (long long)dim);
	if ((rc = hf_put_int(m, "ssm.inner_size", n * dim))) return rc;
	if (list && (rc = layer_kinds(m, kind))) return rc;
	for (int64_t i = 0; i < m->n_layer; i++) recurs[i] = list ? kind[i] == 'M' : (i + 1) % every != 0;
	return hf_put_bools(m, "attention.recurrent_layers", recurs, m->n_layer);
}

/* clang-format off */
const struct hf_family hf_rec_families[] = {
	{ .arch = { "MambaForCausalLM", "MambaLMHeadModel" }, .type = { "mamba" }, .gguf = "mamba", .names = mamba_names,
	  .keys = mamba_keys, .act = "silu", .flags = HF_NO_ROPE, .keys_of = mamba_keys_of,
	  .defaults = "{'hidden_size':768,'num_hidden_layers':32,'state_size':16,'conv_kernel':4,'layer_norm_epsilon':1e-5,"
	              "'tie_word_embeddings':true}" },
	{ .arch = { "FalconMambaForCausalLM" }, .type = { "falcon_mamba" }, .gguf = "mamba", .names = mamba_names,
	  .keys = mamba_keys, .act = "silu", .flags = HF_NO_ROPE, .keys_of = falcon_mamba_keys_of,
	  .defaults = "{'hidden_size':768,'num_hidden_layers':32,'state_size':16,'conv_kernel':4,'layer_norm_epsilon':1e-5,"
	              "'mixer_rms_eps':1e-6,'tie_word_embeddings':true}" },
	{ .arch = { "Mamba2ForCausalLM" }, .type = { "mamba2" }, .gguf = "mamba2", .names = mamba2_names,
	  .keys = mamba2_keys, .act = "silu", .flags = HF_NO_ROPE, .keys_of = mamba2_keys_of,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':64,'state_size':128,'conv_kernel':4,'n_groups':8,"
	              "'num_heads':128,'head_dim':64,'layer_norm_epsilon':1e-5}" },
	{ .arch = { "GraniteMoeHybridForCausalLM" }, .type = { "granitemoehybrid" }, .gguf = "granitehybrid",
	  .names = granite_dense_names, .base = hf_llama_names, .keys = granite_keys, .act = "silu", .flags = HF_UNPERMUTED,
	  .pick = granite_pick, .keys_of = granite_keys_of,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'intermediate_size':11008,"
	              "'max_position_embeddings':2048,'rms_norm_eps':1e-6,'attention_multiplier':1,'num_local_experts':8,"
	              "'num_experts_per_tok':2,'shared_intermediate_size':1024,'mamba_n_heads':128,'mamba_n_groups':1,"
	              "'mamba_d_state':256,'mamba_d_conv':4,'mamba_expand':2}" },
	{ .gguf = "granitehybrid",                       /* the same with experts: granite_pick */
	  .names = granite_moe_names, .base = hf_granite_names, .keys = granite_keys, .act = "silu", .flags = HF_UNPERMUTED,
	  .keys_of = granite_keys_of },
	{ .arch = { "Lfm2ForCausalLM", "LFM2ForCausalLM" }, .type = { "lfm2" }, .gguf = "lfm2", .names = lfm2_names,
	  .base = hf_llama_names, .keys = lfm2_keys, .keys_of = lfm2_keys_of,
	  .defaults = "{'hidden_size':2560,'num_hidden_layers':32,'num_attention_heads':32,'num_key_value_heads':8,"
	              "'max_position_embeddings':128000,'norm_eps':1e-5,'conv_L_cache':3,'tie_word_embeddings':true,"
	              "'rope_theta':1000000}" },
	{ .arch = { "FalconH1ForCausalLM" }, .type = { "falcon_h1" }, .gguf = "falcon-h1", .names = falcon_names,
	  .base = hf_llama_names, .keys = falcon_keys, .act = "silu", .keys_of = falcon_keys_of,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'num_key_value_heads':8,"
	              "'intermediate_size':14336,'max_position_embeddings':8192,'rms_norm_eps':1e-5,'mamba_d_ssm':1024,"
	              "'mamba_n_heads':128,'mamba_n_groups':1,'mamba_d_state':256,'mamba_d_conv':4}" },
	{ .arch = { "NemotronHForCausalLM" }, .type = { "nemotron_h" }, .gguf = "nemotron_h", .names = nemotron_names,
	  .keys = mamba2_keys, .flags = HF_NO_ROPE, .pick = nemotron_pick, .keys_of = nemotron_keys_of,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':52,'num_attention_heads':32,'num_key_value_heads':8,"
	              "'head_dim':128,'intermediate_size':21504,'max_position_embeddings':4096,'layer_norm_epsilon':1e-5,"
	              "'mamba_num_heads':128,'mamba_head_dim':64,'ssm_state_size':128,'n_groups':8,'conv_kernel':4,"
	              "'time_step_min':0.001}" },
	{ .arch = { "Qwen3NextForCausalLM" }, .type = { "qwen3_next" }, .gguf = "qwen3next", .names = qwen3next_names,
	  .base = hf_mlp_names, .keys = qwen3next_keys, .act = "silu", .keys_of = qwen3next_keys_of,
	  .defaults = "{'hidden_size':2048,'num_hidden_layers':48,'num_attention_heads':16,'num_key_value_heads':2,"
	              "'head_dim':256,'intermediate_size':5632,'max_position_embeddings':32768,'rms_norm_eps':1e-6,"
	              "'partial_rotary_factor':0.25,'linear_conv_kernel_dim':4,'linear_key_head_dim':128,"
	              "'linear_value_head_dim':128,'linear_num_key_heads':16,'linear_num_value_heads':32,"
	              "'moe_intermediate_size':512,'shared_expert_intermediate_size':512,'num_experts':512,"
	              "'num_experts_per_tok':10,'norm_topk_prob':true}" },
};
/* clang-format on */
const int hf_n_rec = sizeof hf_rec_families / sizeof hf_rec_families[0];

static const struct hf_family *granite_with(struct hf_map *m, bool experts)
{
	return experts ? m->fam + 1 : m->fam;
}
