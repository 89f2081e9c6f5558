/* hf_dense.c - rows of the family table: dense decoders.  `defaults` are those of transformers' config classes, for what a
 * config.json may leave out. */
#include "format/hf_map.h"
#include <math.h>

const struct hf_name hf_llama_names[] = {
	HF_EMBED_HEAD,
	{ "layers.#.input_layernorm", "blk.#.attn_norm", NULL },
	HF_QKVO,
	{ "layers.#.self_attn.qkv_proj", "blk.#.attn_qkv", NULL },
	{ "layers.#.self_attn.q_norm", "blk.#.attn_q_norm", NULL },
	{ "layers.#.self_attn.k_norm", "blk.#.attn_k_norm", NULL },
	{ "layers.#.post_attention_layernorm", "blk.#.ffn_norm", NULL },
	{ "layers.#.mlp.gate_proj", "blk.#.ffn_gate", NULL },
	{ "layers.#.mlp.up_proj", "blk.#.ffn_up", NULL },
	{ "layers.#.mlp.gate_up_proj", "blk.#.ffn_up", NULL },
	{ "layers.#.mlp.down_proj", "blk.#.ffn_down", NULL },
	HF_END
};

/* Norms of both branches, before and after. */
const struct hf_name hf_gemma2_names[] = {
	{ "layers.#.post_attention_layernorm", "blk.#.post_attention_norm", NULL },
	{ "layers.#.pre_feedforward_layernorm", "blk.#.ffn_norm", NULL },
	{ "layers.#.post_feedforward_layernorm", "blk.#.post_ffw_norm", NULL },
	{ "vision_tower.*", NULL, hf_skip },
	{ "multi_modal_projector.*", NULL, hf_skip },
	HF_END
};
/* Norms after the branches only; also seed_oss, whose second norm has this GGUF name. */
static const struct hf_name post_names[] = {
	{ "layers.#.post_attention_layernorm", "blk.#.post_attention_norm", NULL },
	{ "layers.#.post_feedforward_layernorm", "blk.#.post_ffw_norm", NULL },
	HF_END
};
static const struct hf_name glm4_names[] = {
	{ "layers.#.post_self_attn_layernorm", "blk.#.post_attention_norm", NULL },
	{ "layers.#.post_mlp_layernorm", "blk.#.post_ffw_norm", NULL },
	HF_END
};
static const struct hf_name phi_names[] = {
	{ "final_layernorm", "output_norm", NULL },
	{ "layers.#.self_attn.dense", "blk.#.attn_output", NULL },
	{ "layers.#.mlp.fc1", "blk.#.ffn_up", NULL },
	{ "layers.#.mlp.fc2", "blk.#.ffn_down", NULL },
	HF_END
};
static const struct hf_name starcoder2_names[] = {
	{ "layers.#.mlp.c_fc", "blk.#.ffn_up", NULL },
	{ "layers.#.mlp.c_proj", "blk.#.ffn_down", NULL },
	HF_END
};
static const struct hf_name stablelm_names[] = {
	{ "layers.#.self_attn.q_layernorm.norms.@", "blk.#.attn_q_norm", hf_stack },
	{ "layers.#.self_attn.k_layernorm.norms.@", "blk.#.attn_k_norm", hf_stack },
	HF_END
};
static const struct hf_name gpt2_names[] = {
	{ "wte", "token_embd", NULL },
	{ "wpe", "position_embd", NULL },
	{ "ln_f", "output_norm", NULL },
	{ "lm_head", "output", hf_head },
	{ "h.#.attn.bias", NULL, hf_skip },              /* the causal mask */
	{ "h.#.ln_1", "blk.#.attn_norm", NULL },
	{ "h.#.attn.c_attn", "blk.#.attn_qkv", hf_transpose },
	{ "h.#.attn.c_proj", "blk.#.attn_output", hf_transpose },
	{ "h.#.ln_2", "blk.#.ffn_norm", NULL },
	{ "h.#.mlp.c_fc", "blk.#.ffn_up", hf_transpose },
	{ "h.#.mlp.c_proj", "blk.#.ffn_down", hf_transpose },
	HF_END
};
static const struct hf_name gptneox_names[] = {
	{ "embed_in", "token_embd", NULL },
	{ "final_layer_norm", "output_norm", NULL },
	{ "embed_out", "output", hf_head },
	{ "layers.#.attention.bias", NULL, hf_skip },    /* the causal mask */
	{ "layers.#.input_layernorm", "blk.#.attn_norm", NULL },
	{ "layers.#.post_attention_layernorm", "blk.#.ffn_norm", NULL },
	{ "layers.#.attention.query_key_value", "blk.#.attn_qkv", hf_regroup },
	{ "layers.#.attention.dense", "blk.#.attn_output", NULL },
	{ "layers.#.mlp.dense_h_to_4h", "blk.#.ffn_up", NULL },
	{ "layers.#.mlp.dense_4h_to_h", "blk.#.ffn_down", NULL },
	HF_END
};
static const struct hf_name falcon_names[] = {
	{ "word_embeddings", "token_embd", NULL },
	{ "ln_f", "output_norm", NULL },
	{ "lm_head", "output", hf_head },
	{ "h.#.input_layernorm", "blk.#.attn_norm", NULL },
	{ "h.#.ln_mlp", "blk.#.attn_norm", NULL },
	{ "h.#.ln_attn", "blk.#.attn_norm_2", NULL },
	{ "h.#.self_attention.query_key_value", "blk.#.attn_qkv", hf_regroup },
	{ "h.#.self_attention.dense", "blk.#.attn_output", NULL },
	{ "h.#.mlp.dense_h_to_4h", "blk.#.ffn_up", NULL },
	{ "h.#.mlp.dense_4h_to_h", "blk.#.ffn_down", NULL },
	HF_END
};

static const struct hf_key granite_keys[] = {
	HF_GRANITE_SCALES,
	HF_LAST
};
static const struct hf_key cohere_keys[] = {
	{ "logit_scale", "logit_scale", HF_F32 },
	HF_LAST
};
static const struct hf_key neox_keys[] = {
	{ "use_parallel_residual", "use_parallel_residual", HF_BOOL },
	HF_LAST
};

static int gemma_keys_of(struct hf_map *m)
{
	double x = 0;
	int rc = hf_must(m, "use_bidirectional_attention", false);

	if (rc || (rc = hf_num(m, "query_pre_attn_scalar", &x)) <= 0) return rc;
	if (!(x > 0)) return hf_refuse(m, "query_pre_attn_scalar is %g, expected a positive number", x);
	return hf_put_num(m, "attention.scale", 1 / sqrt(x));
}

static int falcon_pick(struct hf_map *m)
{
	bool grouped = false, one = true;
	int rc;

	if ((rc = hf_must(m, "alibi", false)) || (rc = hf_must(m, "parallel_attn", true))) return rc;
	if ((rc = hf_flag(m, "new_decoder_architecture", &grouped)) < 0 || (rc = hf_flag(m, "multi_query", &one)) < 0)
		return rc;
	if (!grouped) m->n_kv = one ? 1 : m->n_head;
	m->head_dim = m->n_head > 0 ? m->n_embd / m->n_head : 0;
	return 0;
}

static int gpt2_pick(struct hf_map *m)
{
	int rc = hf_must(m, "scale_attn_by_inverse_layer_idx", false);
	return rc ? rc : hf_must(m, "scale_attn_weights", true);
}

static int phi_pick(struct hf_map *m) { return hf_must(m, "qk_layernorm", false); }

/* Which layers turn q and k. */
static int smollm3_keys_of(struct hf_map *m)
{
	const json_t *list = hf_get(m, "no_rope_layers");
	int64_t every = 4;
	uint8_t on[1024];
	int rc = hf_int(m, "no_rope_layer_interval", &every);

	if (rc < 0) return rc;
	if ((rc = hf_must(m, "use_sliding_window", false))) return rc;
	for (int64_t il = 0; il < m->n_layer; il++) {
		const json_t *v = json_array_get(list, (size_t)il);
		if (list && !json_is_integer(v))
			return lm_fail(m->err, LM_EFORMAT, "config.json: no_rope_layers does not hold a number for each of "
				       "%lld layers", (long long)m->n_layer);
		on[il] = list ? json_integer_value(v) != 0 : every < 1 || (il + 1) % every != 0;
	}
	return hf_put_bools(m, "rope.layers", on, m->n_layer);
}

/* clang-format off */
const struct hf_family hf_dense[] = {
	{ .arch = { "LlamaForCausalLM", "LLaMAForCausalLM" }, .type = { "llama" }, .gguf = "llama",
	  .names = hf_llama_names, .act = "silu", .flags = HF_UNPERMUTED,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'intermediate_size':11008,"
	              "'max_position_embeddings':2048,'rms_norm_eps':1e-6}" },
	{ .arch = { "MistralForCausalLM" }, .type = { "mistral" }, .gguf = "llama",
	  .names = hf_llama_names, .act = "silu", .window = HF_ALL, .flags = HF_UNPERMUTED,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'num_key_value_heads':8,"
	              "'intermediate_size':14336,'max_position_embeddings':131072,'rms_norm_eps':1e-6,"
	              "'sliding_window':4096}" },
	{ .arch = { "SmolLM3ForCausalLM" }, .type = { "smollm3" }, .gguf = "smollm3",
	  .names = hf_llama_names, .act = "silu", .flags = HF_UNPERMUTED, .keys_of = smollm3_keys_of,
	  .defaults = "{'hidden_size':2048,'num_hidden_layers':36,'num_attention_heads':16,'num_key_value_heads':4,"
	              "'intermediate_size':11008,'max_position_embeddings':32768,'rms_norm_eps':1e-6,"
	              "'tie_word_embeddings':true,'rope_theta':2000000}" },
	{ .arch = { "ArceeForCausalLM" }, .type = { "arcee" }, .gguf = "arcee",
	  .names = hf_llama_names, .act = "relu2", .flags = HF_UNPERMUTED,
	  .defaults = "{'hidden_size':2560,'num_hidden_layers':32,'num_attention_heads':32,'intermediate_size':18432,"
	              "'max_position_embeddings':4096,'rms_norm_eps':1e-5}" },
	{ .arch = { "GraniteForCausalLM" }, .type = { "granite" }, .gguf = "granite",
	  .names = hf_llama_names, .act = "silu", .keys = granite_keys, .flags = HF_UNPERMUTED,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'intermediate_size':11008,"
	              "'max_position_embeddings':2048,'rms_norm_eps':1e-6,'attention_multiplier':1}" },
	{ .arch = { "Qwen2ForCausalLM" }, .type = { "qwen2" }, .gguf = "qwen2",
	  .names = hf_llama_names, .act = "silu", .window = HF_FROM,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'num_key_value_heads':32,"
	              "'intermediate_size':22016,'max_position_embeddings':32768,'rms_norm_eps':1e-6,'sliding_window':4096,"
	              "'max_window_layers':28}" },
	{ .arch = { "Qwen3ForCausalLM", "Qwen3Model" }, .type = { "qwen3" }, .gguf = "qwen3",
	  .names = hf_llama_names, .act = "silu", .window = HF_FROM,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'num_key_value_heads':32,"
	              "'head_dim':128,'intermediate_size':22016,'max_position_embeddings':32768,'rms_norm_eps':1e-6,"
	              "'sliding_window':4096,'max_window_layers':28}" },
	{ .arch = { "Phi3ForCausalLM" }, .type = { "phi3" }, .gguf = "phi3",
	  .names = hf_llama_names, .act = "silu", .window = HF_ALL,
	  .defaults = "{'hidden_size':3072,'num_hidden_layers':32,'num_attention_heads':32,'intermediate_size':8192,"
	              "'max_position_embeddings':4096,'rms_norm_eps':1e-5,'original_max_position_embeddings':4096}" },
	{ .arch = { "SeedOssForCausalLM" }, .type = { "seed_oss" }, .gguf = "seed_oss",
	  .names = post_names, .base = hf_llama_names, .act = "silu",
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':64,'num_attention_heads':80,'num_key_value_heads':8,"
	              "'head_dim':128,'intermediate_size':27648,'max_position_embeddings':524288,'rms_norm_eps':1e-6}" },
	{ .arch = { "Ernie4_5ForCausalLM" }, .type = { "ernie4_5" }, .gguf = "ernie4_5",
	  .names = hf_llama_names, .act = "silu",
	  .defaults = "{'hidden_size':1024,'num_hidden_layers':18,'num_attention_heads':16,'num_key_value_heads':2,"
	              "'head_dim':128,'intermediate_size':3072,'max_position_embeddings':131072,'rms_norm_eps':1e-5,"
	              "'tie_word_embeddings':true,'rope_theta':500000}" },
	{ .arch = { "Glm4ForCausalLM" }, .type = { "glm4" }, .gguf = "glm4",
	  .names = glm4_names, .base = hf_llama_names, .act = "silu",
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':40,'num_attention_heads':32,'num_key_value_heads':2,"
	              "'head_dim':128,'intermediate_size':13696,'max_position_embeddings':131072,'rms_norm_eps':1.5625e-7,"
	              "'partial_rotary_factor':0.5}" },
	{ .arch = { "Olmo2ForCausalLM" }, .type = { "olmo2" }, .gguf = "olmo2",
	  .names = post_names, .base = hf_llama_names, .act = "silu",
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'intermediate_size':11008,"
	              "'max_position_embeddings':2048,'rms_norm_eps':1e-5}" },
	{ .arch = { "Olmo3ForCausalLM" }, .type = { "olmo3" }, .gguf = "olmo2",
	  .names = post_names, .base = hf_llama_names, .act = "silu", .window = HF_EVERY, .period = 4,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'intermediate_size':11008,"
	              "'max_position_embeddings':2048,'rms_norm_eps':1e-5,'sliding_window':4096,'rope_theta':500000}" },
	{ .arch = { "Exaone4ForCausalLM" }, .type = { "exaone4" }, .gguf = "exaone4",
	  .names = post_names, .base = hf_llama_names, .act = "silu", .window = HF_EVERY, .period = 4,
	  .defaults = "{'hidden_size':4096,'num_hidden_layers':32,'num_attention_heads':32,'num_key_value_heads':32,"
	              "'intermediate_size':16384,'max_position_embeddings':2048,'rms_norm_eps':1e-5,'sliding_window':4096}" },
	{ .arch = { "GemmaForCausalLM" }, .type = { "gemma" }, .gguf = "gemma",
	  .names = hf_llama_names, .flags = HF_PLUS_ONE, .keys_of = gemma_keys_of,
	  .defaults = "{'hidden_size':3072,'num_hidden_layers':28,'num_attention_heads':16,'num_key_value_heads':16,"
	              "'head_dim':256,'intermediate_size':24576,'max_position_embeddings':8192,'rms_norm_eps':1e-6,"
	              "'tie_word_embeddings':true}" },
	{ .arch = { "Gemma2ForCausalLM" }, .type = { "gemma2" }, .gguf = "gemma2",
	  .names = hf_gemma2_names, .base = hf_llama_names, .window = HF_EVERY, .period = 2,
	  .flags = HF_PLUS_ONE, .keys_of = gemma_keys_of,
	  .defaults = "{'hidden_size':2304,'num_hidden_layers':26,'num_attention_heads':8,'num_key_value_heads':4,"
	              "'head_dim':256,'intermediate_size':9216,'max_position_embeddings':8192,'rms_norm_eps':1e-6,"
	              "'tie_word_embeddings':true,'sliding_window':4096,'query_pre_attn_scalar':256,"
	              "'attn_logit_softcapping':50,'final_logit_softcapping':30}" },
	{ .arch = { "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration" }, .type = { "gemma3_text", "gemma3" },
	  .gguf = "gemma3", .names = hf_gemma2_names, .base = hf_llama_names, .window = HF_EVERY, .period = 6,
	  .flags = HF_PLUS_ONE, .keys_of = gemma_keys_of,
	  .defaults = "{'hidden_size':2304,'num_hidden_layers':26,'num_attention_heads':8,'num_key_value_heads':4,"
	              "'head_dim':256,'intermediate_size':9216,'max_position_embeddings':131072,'rms_norm_eps':1e-6,"
	              "'tie_word_embeddings':true,'sliding_window':4096,'query_pre_attn_scalar':256,'rope_theta':1000000,"
	              "'rope_local_base_freq':10000}" },
	{ .arch = { "VaultGemmaForCausalLM" }, .type = { "vaultgemma" }, .gguf = "vaultgemma",
	  .names = hf_gemma2_names, .base = hf_llama_names, .window = HF_EVERY, .period = 2,
	  .flags = HF_PLUS_ONE, .keys_of = gemma_keys_of,
	  .defaults = "{'hidden_size':2304,'num_hidden_layers':26,'num_attention_heads':8,'num_key_value_heads':4,"
	              "'head_dim':256,'intermediate_size':9216,'max_position_embeddings':8192,'rms_norm_eps':1e-6,"
	              "'tie_word_embeddings':true,'sliding_window':4096,'query_pre_attn_scalar':256,"
	              "'attn_logit_softcapping':50,'final_logit_softcapping':30}" },
	{ .arch = { "GPT2LMHeadModel", "GPT2ForCausalLM" }, .type = { "gpt2" }, .gguf = "gpt2",
	  .names = gpt2_names, .act = "gelu_tanh", .flags = HF_NO_ROPE, .pick = gpt2_pick,
	  .defaults = "{'layer_norm_epsilon':1e-5,'tie_word_embeddings':true,'n_embd':768,'n_positions':1024,'n_head':12,"
	              "'n_layer':12}" },
	{ .arch = { "Starcoder2ForCausalLM" }, .type = { "starcoder2" }, .gguf = "starcoder2",
	  .names = starcoder2_names, .base = hf_llama_names, .act = "gelu_tanh", .window = HF_ALL,
	  .defaults = "{'hidden_size':3072,'num_hidden_layers':30,'num_attention_heads':24,'num_key_value_heads':2,"
	              "'intermediate_size':12288,'max_position_embeddings':4096,'norm_epsilon':1e-5,"
	              "'tie_word_embeddings':true}" },
	{ .arch = { "NemotronForCausalLM" }, .type = { "nemotron" }, .gguf = "nemotron",
	  .names = hf_llama_names, .act = "relu2", .flags = HF_PLUS_ONE,
	  .defaults = "{'hidden_size':6144,'num_hidden_layers':32,'num_attention_heads':48,'intermediate_size':24576,"
	              "'max_position_embeddings':4096,'norm_eps':1e-5,'partial_rotary_factor':0.5}" },
	{ .arch = { "StableLmForCausalLM", "StableLMEpochForCausalLM" }, .type = { "stablelm" }, .gguf = "stablelm",
	  .names = stablelm_names, .base = hf_llama_names, .act = "silu",
	  .defaults = "{'hidden_size':2560,'num_hidden_layers':32,'num_attention_heads':32,'num_key_value_heads':32,"
	              "'intermediate_size':6912,'max_position_embeddings':4096,'layer_norm_eps':1e-5,"
	              "'partial_rotary_factor':0.25}" },
	{ .arch = { "PhiForCausalLM" }, .type = { "phi" }, .gguf = "phi2",
	  .names = phi_names, .base = hf_llama_names, .act = "gelu_tanh", .pick = phi_pick,
	  .defaults = "{'hidden_size':2048,'num_hidden_layers':24,'num_attention_heads':32,'intermediate_size':8192,"
	              "'max_position_embeddings':2048,'layer_norm_eps':1e-5,'partial_rotary_factor':0.5}" },
	{ .arch = { "GPTNeoXForCausalLM" }, .type = { "gpt_neox" }, .gguf = "gptneox",
	  .names = gptneox_names, .act = "gelu", .keys = neox_keys,
	  .defaults = "{'hidden_size':6144,'num_hidden_layers':44,'num_attention_heads':64,'intermediate_size':24576,"
	              "'max_position_embeddings':2048,'layer_norm_eps':1e-5,'use_parallel_residual':true,"
	              "'partial_rotary_factor':0.25}" },
	{ .arch = { "FalconForCausalLM", "RWForCausalLM" }, .type = { "falcon" }, .gguf = "falcon",
	  .names = falcon_names, .act = "gelu", .pick = falcon_pick,
	  .defaults = "{'hidden_size':4544,'num_hidden_layers':32,'num_attention_heads':71,'max_position_embeddings':2048,"
	              "'layer_norm_epsilon':1e-5,'tie_word_embeddings':true,'multi_query':true}" },
	{ .arch = { "CohereForCausalLM" }, .type = { "cohere" }, .gguf = "command-r",
	  .names = hf_llama_names, .act = "silu", .keys = cohere_keys,
	  .defaults = "{'hidden_size':8192,'num_hidden_layers':40,'num_attention_heads':64,'intermediate_size':22528,"
	              "'max_position_embeddings':8192,'layer_norm_eps':1e-5,'tie_word_embeddings':true,"
	              "'logit_scale':0.0625,'rope_theta':500000}" },
	{ .arch = { "Cohere2ForCausalLM" }, .type = { "cohere2" }, .gguf = "cohere2",
	  .names = hf_llama_names, .act = "silu", .keys = cohere_keys, .window = HF_EVERY, .period = 4,
	  .defaults = "{'hidden_size':8192,'num_hidden_layers':40,'num_attention_heads':64,'intermediate_size':22528,"
	              "'max_position_embeddings':8192,'layer_norm_eps':1e-5,'tie_word_embeddings':true,"
	              "'sliding_window':4096,'logit_scale':0.0625}" },
};
/* clang-format on */
const int hf_n_dense = sizeof hf_dense / sizeof hf_dense[0];
