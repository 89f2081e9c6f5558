/* hf_enc.c - rows of the family table: encoders.
 *
 * GOTCHAS
 *   RoBERTa     positions begin behind the padding token's; GGUF has no rows for those that are never used
 *   BERT        a pooler is read only by a classifier; embedding models carry it for nothing
 *   ModernBERT  a period of layers begins with the global one
 *   NomicBERT   fc12 is the gate; the hub's files and transformers' have other names */
#include "format/hf_map.h"
#include <math.h>
#include <string.h>

/* Only with a classifier behind it. */
static int pooler(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	(void)layer, (void)expert;
	return hf_find(m, "classifier.weight") ? hf_emit(m, t, to) : 0;
}

static int64_t offset(struct hf_map *m)
{
	int64_t pad = 1;
	return hf_int(m, "pad_token_id", &pad) < 0 || pad < 0 || pad >= m->n_ctx ? -1 : pad + 1;
}

static int positions(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	int64_t first = offset(m);
	struct tensor out;
	(void)layer, (void)expert;
	if (first < 1 || t->n_dims != 2 || t->dim[0] <= first) return hf_emit(m, t, to);   /* the binder says what is wrong */
	int rc = derive_rows(m->h->f->arena, &out, t, first, t->dim[0] - first, m->err);
	return rc ? rc : hf_emit(m, &out, to);
}

#define BERT_LAYER(in, out) \
	{ "encoder.layer.#." in, "blk.#." out, NULL }, \
	{ "encoder.layer.#." in ".gamma", "blk.#." out ".weight", NULL }, \
	{ "encoder.layer.#." in ".beta", "blk.#." out ".bias", NULL }

static const struct hf_name bert_layers[] = {
	{ "embeddings.word_embeddings", "token_embd", NULL },
	{ "embeddings.position_embeddings", "position_embd", NULL },
	{ "embeddings.token_type_embeddings", "token_types", NULL },
	{ "embeddings.LayerNorm", "token_embd_norm", NULL },
	{ "embeddings.LayerNorm.gamma", "token_embd_norm.weight", NULL },
	{ "embeddings.LayerNorm.beta", "token_embd_norm.bias", NULL },
	{ "embeddings.position_ids", NULL, hf_skip },
	{ "embeddings.token_type_ids", NULL, hf_skip },
	{ "encoder.layer.#.attention.self.query", "blk.#.attn_q", NULL },
	{ "encoder.layer.#.attention.self.key", "blk.#.attn_k", NULL },
	{ "encoder.layer.#.attention.self.value", "blk.#.attn_v", NULL },
	{ "encoder.layer.#.attention.output.dense", "blk.#.attn_output", NULL },
	BERT_LAYER("attention.output.LayerNorm", "attn_output_norm"),
	{ "encoder.layer.#.intermediate.dense", "blk.#.ffn_up", NULL },
	{ "encoder.layer.#.output.dense", "blk.#.ffn_down", NULL },
	BERT_LAYER("output.LayerNorm", "layer_output_norm"),
	HF_END
};
static const struct hf_name bert_heads[] = {
	{ "pooler.dense", "cls", pooler },
	{ "classifier", "cls.output", NULL },
	{ "cls.predictions.*", NULL, hf_skip },          /* what masked tokens may have been, which sentence follows */
	{ "cls.seq_relationship.*", NULL, hf_skip },
	HF_END
};
static const struct hf_name roberta_heads[] = {
	{ "embeddings.position_embeddings", "position_embd", positions },
	{ "pooler.dense", NULL, hf_skip },
	{ "classifier.dense", "cls", NULL },
	{ "classifier.out_proj", "cls.output", NULL },
	{ "lm_head.*", NULL, hf_skip },
	HF_END
};
static const struct hf_name distilbert_names[] = {
	{ "transformer.layer.#.attention.q_lin", "blk.#.attn_q", NULL },
	{ "transformer.layer.#.attention.k_lin", "blk.#.attn_k", NULL },
	{ "transformer.layer.#.attention.v_lin", "blk.#.attn_v", NULL },
	{ "transformer.layer.#.attention.out_lin", "blk.#.attn_output", NULL },
	{ "transformer.layer.#.sa_layer_norm", "blk.#.attn_output_norm", NULL },
	{ "transformer.layer.#.ffn.lin1", "blk.#.ffn_up", NULL },
	{ "transformer.layer.#.ffn.lin2", "blk.#.ffn_down", NULL },
	{ "transformer.layer.#.output_layer_norm", "blk.#.layer_output_norm", NULL },
	{ "pre_classifier", "cls", NULL },
	{ "classifier", "cls.output", NULL },
	{ "vocab_transform", NULL, hf_skip },
	{ "vocab_layer_norm", NULL, hf_skip },
	{ "vocab_projector", NULL, hf_skip },
	HF_END
};
static const struct hf_name nomic_names[] = {
	/* the hub's own code */
	{ "emb_ln", "token_embd_norm", NULL },
	{ "encoder.layers.#.attn.Wqkv", "blk.#.attn_qkv", NULL },
	{ "encoder.layers.#.attn.out_proj", "blk.#.attn_output", NULL },
	{ "encoder.layers.#.norm1", "blk.#.attn_output_norm", NULL },
	{ "encoder.layers.#.mlp.fc11", "blk.#.ffn_up", NULL },
	{ "encoder.layers.#.mlp.fc12", "blk.#.ffn_gate", NULL },
	{ "encoder.layers.#.mlp.fc2", "blk.#.ffn_down", NULL },
	{ "encoder.layers.#.norm2", "blk.#.layer_output_norm", NULL },
	/* transformers */
	HF_QKVO,
	{ "layers.#.post_attention_layernorm", "blk.#.attn_output_norm", NULL },
	{ "layers.#.mlp.gate_proj", "blk.#.ffn_gate", NULL },
	{ "layers.#.mlp.up_proj", "blk.#.ffn_up", NULL },
	{ "layers.#.mlp.down_proj", "blk.#.ffn_down", NULL },
	{ "layers.#.post_mlp_layernorm", "blk.#.layer_output_norm", NULL },
	HF_END
};
static const struct hf_name modern_names[] = {
	{ "embeddings.tok_embeddings", "token_embd", NULL },
	{ "embeddings.norm", "token_embd_norm", NULL },
	{ "layers.#.attn_norm", "blk.#.attn_norm", NULL },
	{ "layers.#.attn.Wqkv", "blk.#.attn_qkv", NULL },
	{ "layers.#.attn.Wo", "blk.#.attn_output", NULL },
	{ "layers.#.mlp_norm", "blk.#.ffn_norm", NULL },
	{ "layers.#.mlp.Wi", "blk.#.ffn_up", NULL },
	{ "layers.#.mlp.Wo", "blk.#.ffn_down", NULL },
	{ "final_norm", "output_norm", NULL },
	{ "head.dense", "cls", pooler },
	{ "head.norm", "cls.norm", pooler },
	{ "classifier", "cls.output", NULL },
	{ "decoder", NULL, hf_skip },
	HF_END
};

/* A setting that must have this text, where there is one. */
static int must_say(struct hf_map *m, const char *name, const char *want)
{
	const char *s = want;
	int rc = hf_str(m, name, &s);
	return rc < 0 ? rc : strcmp(s, want) ? hf_refuse(m, "%s is \"%.40s\", which lmrun does not compute", name, s) : 0;
}

static int bert_pick(struct hf_map *m)
{
	int rc = hf_must(m, "is_decoder", false);
	return rc ? rc : must_say(m, "position_embedding_type", "absolute");
}

static int roberta_pick(struct hf_map *m)
{
	int64_t first = offset(m);
	int rc = bert_pick(m);
	if (rc) return rc;
	if (first < 1) return hf_refuse(m, "pad_token_id is no place in max_position_embeddings");
	m->n_ctx -= first;
	return 0;
}

static int distilbert_pick(struct hf_map *m)
{
	bool sinusoidal = false;                         /* the table is stored all the same */
	return hf_flag(m, "sinusoidal_pos_embds", &sinusoidal) < 0 ? LM_EFORMAT : 0;
}

static int distilbert_keys(struct hf_map *m) { return hf_put_str(m, "classifier.activation", "relu"); }

static int nomic_pick(struct hf_map *m)
{
	static const char *const off[] = { "prenorm", "use_rms_norm", "parallel_block", "rotary_emb_interleaved", "causal" };
	double part = 1, factor = 0;
	int64_t every = 0, trained = 2048;
	int rc = must_say(m, "activation_function", "swiglu");
	if (!rc) rc = must_say(m, "hidden_act", "silu");
	for (int i = 0; i < 5 && !rc; i++) rc = hf_must(m, off[i], false);
	if (rc || (rc = hf_num(m, "rotary_emb_fraction", &part)) < 0) return rc;
	if ((rc = hf_int(m, "moe_every_n_layers", &every)) < 0) return rc;
	if (every) return hf_refuse(m, "moe_every_n_layers is set, which lmrun does not compute");
	if (part != 1) return hf_refuse(m, "rotary_emb_fraction is not 1, which lmrun does not compute");
	/* a base that grows with the text, beyond what was trained */
	if ((rc = hf_num(m, "rotary_scaling_factor", &factor)) < 0 || (rc = hf_int(m, "max_trained_positions", &trained)) < 0) return rc;
	if (factor && trained > 0 && trained < m->n_ctx) m->n_ctx = trained;
	if (!hf_get(m, "layer_norm_eps|layer_norm_epsilon") && json_object_set_new(m->cfg, "layer_norm_eps", json_real(1e-12)))
		return lm_fail(m->err, LM_ENOMEM, "config.json: out of memory");
	if (!hf_get(m, "rope_parameters|rope_theta|rotary_emb_base") && json_object_set_new(m->cfg, "rope_theta", json_real(1000)))
		return lm_fail(m->err, LM_ENOMEM, "config.json: out of memory");
	return 0;
}

/* A period, its first layer global, or a list; two bases. */
static int modern_keys(struct hf_map *m)
{
	const json_t *types = hf_get(m, "layer_types");
	const char *pool = NULL, *act = NULL;
	int64_t every = 3, window = 128;
	uint8_t local[HF_MAX_LAYERS];
	int rc = hf_int(m, "global_attn_every_n_layers", &every);
	if (rc < 0 || (rc = hf_int(m, "local_attention", &window)) < 0) return rc;
	if (every < 1 || window < 0) return hf_refuse(m, "global_attn_every_n_layers or local_attention is no sensible number");
	for (int64_t il = 0; il < m->n_layer; il++) {
		const char *s = json_string_value(json_array_get(types, (size_t)il));
		if (types && (!s || (strcmp(s, "full_attention") && strcmp(s, "sliding_attention"))))
			return lm_fail(m->err, LM_EFORMAT, "config.json: layer_types has not full_attention or sliding_attention for "
				       "each of %lld layers", (long long)m->n_layer);
		local[il] = types ? s && *s == 's' : il % every != 0;
	}
	if ((rc = hf_put_int(m, "attention.sliding_window", window))) return rc;
	if ((rc = hf_put_bools(m, "attention.sliding_window_pattern", local, m->n_layer))) return rc;
	if (!hf_get(m, "rope_parameters")) {                     /* transformers 4 */
		double global = 160000, local_base = 10000;
		if ((rc = hf_num(m, "global_rope_theta", &global)) < 0 || (rc = hf_num(m, "local_rope_theta", &local_base)) < 0)
			return rc;
		if (!(global > 0 && local_base > 0)) return hf_refuse(m, "global_rope_theta or local_rope_theta is not positive");
		if ((rc = hf_put_num(m, "rope.freq_base", global)) || (rc = hf_put_num(m, "rope.freq_base_swa", local_base))) return rc;
	}
	if ((rc = hf_str(m, "classifier_activation", &act)) < 0) return rc;
	if (rc && (rc = hf_put_str(m, "classifier.activation", act))) return rc;
	if ((rc = hf_str(m, "classifier_pooling", &pool)) <= 0) return rc;
	if (strcmp(pool, "mean") && strcmp(pool, "cls")) return hf_refuse(m, "classifier_pooling is \"%.40s\", expected cls or mean", pool);
	return hf_put_int(m, "classifier.pooling_type", *pool == 'm' ? 1 : 2);
}

static int gemma_keys(struct hf_map *m)
{
	bool both = false;
	double x = 256;
	int rc = hf_flag(m, "use_bidirectional_attention", &both);
	if (rc < 0 || (rc = hf_put_bool(m, "attention.causal", !both))) return rc;
	if ((rc = hf_num(m, "query_pre_attn_scalar", &x)) < 0) return rc;
	if (!(x > 0)) return hf_refuse(m, "query_pre_attn_scalar is %g, expected a positive number", x);
	return hf_put_num(m, "attention.scale", 1 / sqrt(x));
}

#define BERT_SIZE "'hidden_size':768,'num_hidden_layers':12,'num_attention_heads':12,'intermediate_size':3072," \
		  "'max_position_embeddings':512,'layer_norm_eps':1e-12"
/* clang-format off */
const struct hf_family hf_enc_families[] = {
	{ .arch = { "BertModel", "BertForSequenceClassification", "BertForMaskedLM", "BertForPreTraining" }, .type = { "bert" },
	  .gguf = "bert", .names = bert_heads, .base = bert_layers, .act = "gelu", .flags = HF_NO_ROPE | HF_BOTH_WAYS, .pick = bert_pick,
	  .defaults = "{" BERT_SIZE "}" },
	{ .arch = { "RobertaModel", "RobertaForSequenceClassification", "RobertaForMaskedLM", "CamembertModel",
	            "CamembertForSequenceClassification", "CamembertForMaskedLM" }, .type = { "roberta", "camembert" },
	  .gguf = "bert", .names = roberta_heads, .base = bert_layers, .act = "gelu", .flags = HF_NO_ROPE | HF_BOTH_WAYS, .pick = roberta_pick,
	  .defaults = "{" BERT_SIZE "}" },
	{ .arch = { "XLMRobertaModel", "XLMRobertaForSequenceClassification", "XLMRobertaForMaskedLM" }, .type = { "xlm-roberta" },
	  .gguf = "bert", .names = roberta_heads, .base = bert_layers, .act = "gelu", .flags = HF_NO_ROPE | HF_BOTH_WAYS, .pick = roberta_pick,
	  .defaults = "{" BERT_SIZE "}" },
	{ .arch = { "DistilBertModel", "DistilBertForSequenceClassification", "DistilBertForMaskedLM" }, .type = { "distilbert" },
	  .gguf = "bert", .names = distilbert_names, .base = bert_layers, .act = "gelu", .flags = HF_NO_ROPE | HF_BOTH_WAYS,
	  .pick = distilbert_pick, .keys_of = distilbert_keys,
	  .defaults = "{'dim':768,'n_layers':6,'n_heads':12,'hidden_dim':3072,'max_position_embeddings':512,"
	              "'layer_norm_eps':1e-12}" },
	{ .arch = { "NomicBertModel" }, .type = { "nomic_bert" }, .gguf = "nomic-bert", .names = nomic_names, .base = bert_layers,
	  .flags = HF_BOTH_WAYS, .pick = nomic_pick },          /* its two spellings of the settings would hide one another as defaults */
	{ .arch = { "ModernBertModel", "ModernBertForSequenceClassification", "ModernBertForMaskedLM" }, .type = { "modernbert" },
	  .gguf = "modern-bert", .names = modern_names, .act = "gelu", .flags = HF_BOTH_WAYS, .keys_of = modern_keys,
	  .defaults = "{'hidden_size':768,'num_hidden_layers':22,'num_attention_heads':12,'intermediate_size':1152,"
	              "'max_position_embeddings':8192,'norm_eps':1e-5,'classifier_pooling':'cls'}" },
	{ .arch = { "Gemma3TextModel" }, .gguf = "gemma-embedding", .names = hf_gemma2_names, .base = hf_llama_names,
	  .window = HF_EVERY, .period = 6, .flags = HF_PLUS_ONE, .keys_of = gemma_keys,
	  .defaults = "{'hidden_size':2304,'num_hidden_layers':26,'num_attention_heads':8,'num_key_value_heads':4,"
	              "'head_dim':256,'intermediate_size':9216,'max_position_embeddings':131072,'rms_norm_eps':1e-6,"
	              "'tie_word_embeddings':true,'sliding_window':4096,'rope_theta':1000000,'rope_local_base_freq':10000}" },
};
/* clang-format on */
const int hf_n_enc = sizeof hf_enc_families / sizeof hf_enc_families[0];
