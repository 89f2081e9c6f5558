/* Folders with something wrong: one sentence that names it in the checkpoint's own words, whatever is wrong. */
#include "kernels/ops.h"
#include "model/model.h"
#include "test.h"
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#define MADE "build/folders/broken"

static char *slurp(const char *path, size_t *n)
{
	struct lm_buf b = { 0 };
	struct lm_err e = { 0 };
	assert_ok(lm_read_file(&b, path, 1 << 20, &e), e);
	*n = b.n;
	lm_buf_cstr(&b);
	return b.p;
}

static void put_file(const char *path, const void *p, size_t n)
{
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

/* The folder `name` of tests/model/hf with the settings `edit` (JSON with ' for ") and the text `from` of its header of
 * weights replaced by `to`, of the same length. */
static int open_broken(const char *name, const char *edit, const char *from, const char *to, struct lm_err *err)
{
	char path[300], *text, *w;
	struct file *f;
	struct backend *be;
	struct model *m;
	size_t n;

	mkdir("build", 0777), mkdir("build/folders", 0777), mkdir(MADE, 0777);
	snprintf(path, sizeof path, "tests/model/hf/%s/config.json", name);
	text = slurp(path, &n);
	json_t *c = json_loadb(text, n, 0, NULL);
	lm_free(text);
	text = lm_strdup(edit);
	for (char *p = text; *p; p++) *p = *p == '\'' ? '"' : *p;
	json_t *more = json_loads(text, 0, NULL);
	assert_non_null(more);
	json_object_update(c, more);
	lm_free(text);
	text = json_dumps(c, 0);
	put_file(MADE "/config.json", text, strlen(text));
	free(text);
	json_decref(c), json_decref(more);
	snprintf(path, sizeof path, "tests/model/hf/%s/model.safetensors", name);
	w = slurp(path, &n);
	if (from) {
		char *at = memmem(w, n, from, strlen(from));
		assert_true(at && strlen(from) == strlen(to));
		memcpy(at, to, strlen(to));
	}
	put_file(MADE "/model.safetensors", w, n);
	lm_free(w);
	assert_ok(backend_ref(&be, err), *err);
	int rc = file_open(&f, MADE, err);
	if (!rc) {
		rc = model_load(&m, f, be, NULL, err);
		if (!rc) model_free(m);
		file_close(f);
	}
	backend_free(be);
	return rc;
}

LM_TEST(folder_errors)
{
	static const struct { const char *name, *edit, *from, *to; int code; const char *says; } c[] = {
		/* tensors */
		{ "qwen2", "{}", "layers.1.mlp.up_proj", "layers.1.mlp.zz_proj", LM_EFORMAT, "model.layers.1.mlp.up_proj.weight is missing" },
		{ "qwen2", "{}", "layers.1.self_attn.q_proj.weight", "layers.1.self_attn.z_proj.weight", LM_EFORMAT,
		  "model.layers.1.self_attn.q_proj.weight is missing" },
		{ "qwen2", "{}", "layers.0.self_attn.k_proj.bias", "layers.0.self_attn.z_proj.bias", LM_EUNSUPPORTED,
		  "model.layers.0.self_attn.z_proj.bias has no place in architecture qwen2" },
		{ "qwen2", "{}", "model.embed_tokens", "model.zmbed_tokens", LM_EFORMAT, "model.embed_tokens.weight is missing" },
		{ "qwen2", "{}", "lm_head", "zm_head", LM_EFORMAT, "lm_head.weight is missing" },
		{ "gemma2", "{}", "layers.2.pre_feedforward_layernorm", "layers.2.zre_feedforward_layernorm", LM_EUNSUPPORTED,
		  "model.layers.2.zre_feedforward_layernorm.weight" },
		{ "glm4", "{}", "layers.1.input_layernorm", "layers.1.znput_layernorm", LM_EUNSUPPORTED,
		  "model.layers.1.znput_layernorm.weight" },
		{ "stablelm-12b", "{}", "q_layernorm.norms.2", "q_layernorm.zorms.2", LM_EFORMAT, "q_layernorm.norms.2.weight is missing" },
		{ "gptneox", "{'num_attention_heads':8,'hidden_size':64}", NULL, NULL, LM_EFORMAT,
		  "query_key_value.bias: 96 rows, expected 192" },
		{ "qwen2", "{'num_hidden_layers':1}", NULL, NULL, LM_EUNSUPPORTED, "model.layers.1." },
		{ "qwen2", "{'num_hidden_layers':3}", NULL, NULL, LM_EFORMAT, "model.layers.2.self_attn.o_proj.weight is missing" },
		{ "qwen2", "{'intermediate_size':25}", NULL, NULL, LM_EFORMAT, "model.layers.0.mlp.gate_proj.weight: 24x32, expected 25x32" },
		{ "qwen2", "{'vocab_size':49}", NULL, NULL, LM_EFORMAT, "model.embed_tokens.weight: 48 rows, expected the vocab_size" },
		{ "gpt2", "{'n_inner':32}", NULL, NULL, LM_EFORMAT, "h.0.mlp.c_fc.weight: 24x32, expected 32x32" },
		{ "qwen2", "{}", "\"BF16\"", "\"I16\" ", LM_EUNSUPPORTED, "type i16, expected floats" },
		/* the family */
		{ "qwen2", "{'architectures':['Qwen9ForCausalLM']}", NULL, NULL, LM_EUNSUPPORTED, "\"Qwen9ForCausalLM\" is not one that lmrun runs" },
		{ "qwen2", "{'architectures':[7]}", NULL, NULL, LM_EFORMAT, "architectures holds no strings" },
		{ "qwen2", "{'architectures':[],'model_type':'qwen9'}", NULL, NULL, LM_EUNSUPPORTED, "\"qwen9\"" },
		{ "qwen2", "{'architectures':null,'model_type':null}", NULL, NULL, LM_EFORMAT, "neither architectures nor model_type" },
		{ "qwen2", "{'architectures':null}", NULL, NULL, 0, "" },
		/* settings */
		{ "qwen2", "{'num_attention_heads':'4'}", NULL, NULL, LM_EFORMAT, "num_attention_heads is a string" },
		{ "qwen2", "{'num_attention_heads':0}", NULL, NULL, LM_EFORMAT, "num_attention_heads is 0" },
		{ "falcon", "{'n_head':8,'num_attention_heads':null}", NULL, NULL, LM_EFORMAT, "query_key_value.weight" },
		{ "qwen2", "{'num_key_value_heads':3}", NULL, NULL, LM_EFORMAT, "do not share 3 key heads" },
		{ "qwen2", "{'num_hidden_layers':2000000000}", NULL, NULL, LM_EFORMAT, "num_hidden_layers is 2000000000" },
		{ "qwen2", "{'hidden_size':1e300}", NULL, NULL, LM_EFORMAT, "hidden_size" },
		{ "qwen2", "{'hidden_size':32.5}", NULL, NULL, LM_EFORMAT, "hidden_size is 32.5, expected a whole number" },
		{ "qwen2", "{'hidden_act':'quick_gelu'}", NULL, NULL, LM_EUNSUPPORTED, "\"quick_gelu\"" },
		{ "qwen2", "{'tie_word_embeddings':1}", NULL, NULL, LM_EFORMAT, "tie_word_embeddings is a number" },
		{ "qwen2-window", "{'layer_types':['chunked_attention']}", NULL, NULL, LM_EUNSUPPORTED, "chunked_attention" },
		{ "qwen2-window", "{'layer_types':['full_attention']}", NULL, NULL, LM_EFORMAT, "layer_types does not hold a name for each" },
		{ "qwen2", "{'rope_parameters':{'rope_type':'mrope'}}", NULL, NULL, LM_EUNSUPPORTED, "\"mrope\"" },
		{ "qwen2", "{'rope_parameters':{'rope_type':'yarn','factor':-1}}", NULL, NULL, LM_EFORMAT, "factor of -1" },
		{ "qwen2", "{'rope_scaling':{'rope_type':'linear'}}", NULL, NULL, LM_EFORMAT, "without a factor" },
		{ "qwen2", "{'rope_scaling':7}", NULL, NULL, LM_EFORMAT, "rope_scaling is not an object" },
		{ "qwen2", "{'rope_parameters':7}", NULL, NULL, LM_EFORMAT, "rope_parameters is not an object" },
		{ "qwen2", "{'rope_parameters':{'rope_type':5}}", NULL, NULL, LM_EFORMAT, "type of rope scaling is a number" },
		{ "qwen2", "{'text_config':'x'}", NULL, NULL, LM_EFORMAT, "text_config is a string" },
		{ "qwen2", "{'quantization_config':'awq'}", NULL, NULL, LM_EFORMAT, "quantization_config is a string" },
		{ "qwen2", "{'rope_parameters':{'rope_theta':0}}", NULL, NULL, LM_EFORMAT, "rope_theta 0" },
		{ "qwen2", "{'partial_rotary_factor':0.01}", NULL, NULL, LM_EFORMAT, "partial_rotary_factor" },
		{ "llama-llama3", "{'rope_scaling':{'rope_type':'llama3','factor':8,'low_freq_factor':4,'high_freq_factor':1}}", NULL, NULL,
		  LM_EFORMAT, "low_freq_factor" },
		{ "phi3-long", "{'rope_parameters':{'type':'su','short_factor':[1],'long_factor':[1]}}", NULL, NULL, LM_EFORMAT,
		  "short_factor of rope scaling has 1 numbers, expected 4" },
		{ "falcon", "{'alibi':true}", NULL, NULL, LM_EUNSUPPORTED, "alibi is true" },
		{ "phi2", "{'qk_layernorm':true}", NULL, NULL, LM_EUNSUPPORTED, "qk_layernorm is true" },
		{ "gemma3", "{'use_bidirectional_attention':true}", NULL, NULL, LM_EUNSUPPORTED, "use_bidirectional_attention" },
		{ "qwen3next", "{'attention_bias':true}", NULL, NULL, LM_EUNSUPPORTED, "attention_bias is true" },
		{ "smollm3", "{'no_rope_layers':[1]}", NULL, NULL, LM_EFORMAT, "no_rope_layers" },
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		struct lm_err e = { 0 };
		int rc = open_broken(c[i].name, c[i].edit, c[i].from, c[i].to, &e);
		if (rc != c[i].code || !strstr(e.msg, c[i].says) || strchr(e.msg, '\n'))
			fail_msg("%s, %s, %s: %d, \"%s\", expected %d with \"%s\"", c[i].name, c[i].edit, c[i].from ? c[i].from : "", rc,
				 e.msg, c[i].code, c[i].says);
	}
}
