/* Files that claim nonsense: one sentence naming it, never a crash, hang or large allocation. */
#include "gold.h"

struct bytes { unsigned char *p; size_t n; };

static struct bytes slurp(const char *path)
{
	struct lm_buf b = { 0 };
	struct lm_err e = { 0 };
	assert_ok(lm_read_file(&b, path, 1 << 24, &e), e);
	return (struct bytes){ (unsigned char *)b.p, b.n };
}
static unsigned char *find(struct bytes b, const char *s)
{
	unsigned char *at = memmem(b.p, b.n, s, strlen(s));
	if (!at) fail_msg("the fixture lacks %s", s);
	return at;
}
/* The four value bytes of a key. */
static unsigned char *value(struct bytes b, const char *key) { return find(b, key) + strlen(key) + 4; }
static void set_u32(struct bytes b, const char *key, uint32_t v) { memcpy(value(b, key), &v, 4); }
static void set_f32(struct bytes b, const char *key, float v) { memcpy(value(b, key), &v, 4); }

/* Loads b; returns the code, the sentence in *e. */
static int load(struct bytes b, struct lm_err *e)
{
	struct file *f = NULL;
	struct backend *be = NULL;
	struct model *m = NULL;
	int rc = file_open_mem(&f, b.p, b.n, e);

	if (!rc) assert_ok(backend_ref(&be, e), *e);
	if (!rc) rc = model_load(&m, f, be, NULL, e);
	if (!rc) model_free(m);
	backend_free(be);
	file_close(f);
	return rc;
}
static void refused(struct bytes b, int code, const char *word)
{
	struct lm_err e = { 0 };
	int rc = load(b, &e);
	if (rc != code || !strstr(e.msg, word))
		fail_msg("expected %d and \"%s\", found %d: %s", code, word, rc, e.msg);
	lm_free(b.p);
}

LM_TEST(model_load_numbers)
{
	static const struct { const char *key; uint32_t v; const char *word; } bad[] = {
		{ "llama.block_count", 0, "llama.block_count is 0" },
		{ "llama.block_count", 1000000000, "llama.block_count" },
		{ "llama.block_count", 0xffffffff, "llama.block_count" },
		{ "llama.block_count", 3, "blk.2." },
		{ "llama.embedding_length", 0, "llama.embedding_length" },
		{ "llama.embedding_length", 64, "token_embd.weight" },
		{ "llama.embedding_length", 0x7fffffff, "llama.embedding_length" },
		{ "llama.feed_forward_length", 0, "llama.feed_forward_length" },
		{ "llama.feed_forward_length", 25, "ffn_gate.weight" },
		{ "llama.context_length", 0, "llama.context_length" },
		{ "llama.attention.head_count", 0, "llama.attention.head_count" },
		{ "llama.attention.head_count", 3, "share" },
		{ "llama.attention.head_count", 8, "" },
		{ "llama.attention.head_count", 0xffffffff, "llama.attention.head_count" },
		{ "llama.attention.head_count_kv", 0, "llama.attention.head_count_kv" },
		{ "llama.attention.head_count_kv", 3, "share" },
		{ "llama.attention.head_count_kv", 4, "attn_k.weight" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct bytes b = slurp("tests/model/tiny/llama.gguf");
		set_u32(b, bad[i].key, bad[i].v);
		refused(b, LM_EFORMAT, bad[i].word);
	}
	struct bytes b = slurp("tests/model/tiny/llama.gguf");
	set_u32(b, "llama.block_count", 1);
	refused(b, LM_EUNSUPPORTED, "blk.1.");
}

LM_TEST(model_load_experts)
{
	static const struct { const char *key; uint32_t v; const char *word; } bad[] = {
		{ "deepseek2.expert_count", 0, "blk.1.ffn_up.weight" },
		{ "deepseek2.expert_count", 6, "ffn_gate_inp.weight" },
		{ "deepseek2.expert_count", 1025, "deepseek2.expert_count" },
		{ "deepseek2.expert_count", 0xffffffff, "deepseek2.expert_count" },
		{ "deepseek2.expert_used_count", 0, "deepseek2.expert_used_count" },
		{ "deepseek2.expert_used_count", 5, "deepseek2.expert_used_count" },
		{ "deepseek2.expert_used_count", 3, "deepseek2.expert_group_used_count" },
		{ "deepseek2.expert_group_count", 3, "even groups" },
		{ "deepseek2.expert_group_used_count", 0, "deepseek2.expert_group_used_count" },
		{ "deepseek2.expert_group_used_count", 3, "deepseek2.expert_group_used_count" },
		{ "deepseek2.expert_gating_func", 4, "deepseek2.expert_gating_func" },
		{ "deepseek2.expert_feed_forward_length", 9, "blk.1.ffn_gate_shexp.weight" },
		{ "deepseek2.expert_shared_count", 2, "shexp.weight" },
		{ "deepseek2.expert_shared_count", 1024, "shexp.weight" },
		{ "deepseek2.attention.kv_lora_rank", 0, "attn_output" },
		{ "deepseek2.attention.kv_lora_rank", 17, "attn_kv_a" },
		{ "deepseek2.attention.kv_lora_rank", 1020, "latent" },
		{ "deepseek2.attention.q_lora_rank", 0, "attn_q_a" },
		{ "deepseek2.attention.key_length_mla", 8, "latent" },
		{ "deepseek2.attention.key_length_mla", 22, "attn_q" },
		{ "deepseek2.attention.value_length_mla", 11, "attn_output" },
		{ "deepseek2.rope.dimension_count", 7, "turning" },
		{ "deepseek2.rope.dimension_count", 6, "attn_kv_a_mqa" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct bytes b = slurp("tests/model/tiny/deepseek2-new.gguf");
		set_u32(b, bad[i].key, bad[i].v);
		refused(b, LM_EFORMAT, bad[i].word);
	}
}

LM_TEST(model_load_floats)
{
	static const float bad[] = { NAN, INFINITY, -1, 1e30f };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct bytes b = slurp("tests/model/tiny/llama.gguf");
		set_f32(b, "llama.attention.layer_norm_rms_epsilon", bad[i]);
		refused(b, LM_EFORMAT, "epsilon");
		b = slurp("tests/model/tiny/llama.gguf");
		set_f32(b, "llama.rope.freq_base", bad[i] == 1e30f ? 0 : bad[i]);
		refused(b, LM_EFORMAT, "freq_base");
	}
	struct bytes b = slurp("tests/model/tiny/granite.gguf");
	set_f32(b, "granite.logit_scale", 0);
	refused(b, LM_EFORMAT, "granite.logit_scale");
	b = slurp("tests/model/tiny/llama-yarn.gguf");
	set_f32(b, "llama.rope.scaling.factor", -4);
	refused(b, LM_EFORMAT, "llama.rope.scaling.factor");
	b = slurp("tests/model/tiny/glm4.gguf");
	set_u32(b, "glm4.rope.dimension_count", 7);
	refused(b, LM_EFORMAT, "glm4.rope.dimension_count");
	b = slurp("tests/model/tiny/glm4.gguf");
	set_u32(b, "glm4.rope.dimension_count", 32);
	refused(b, LM_EFORMAT, "glm4.rope.dimension_count");
}

/* The same bytes with another word of the same length. */
static struct bytes renamed(const char *path, const char *from, const char *to)
{
	struct bytes b = slurp(path);
	memcpy(find(b, from), to, strlen(to));
	return b;
}

LM_TEST(model_load_tensors)
{
	const char *p = "tests/model/tiny/llama.gguf";
	refused(renamed(p, "blk.0.attn_q.weight", "blk.0.attn_z.weight"), LM_EFORMAT, "attn_q");
	refused(renamed(p, "blk.1.attn_norm.weight", "blk.1.attn_norm.wait_t"), LM_EUNSUPPORTED,
		"attn_norm.wait_t has no place");
	refused(renamed(p, "blk.1.ffn_down.weight", "blk.1.ffn_town.weight"), LM_EFORMAT,
		"blk.1.ffn_down.weight is missing");
	refused(renamed(p, "output_norm.weight", "output_nose.weight"), LM_EFORMAT,
		"output_norm.weight is missing");
	refused(renamed(p, "token_embd.weight", "token_emdb.weight"), LM_EFORMAT,
		"token_embd.weight is missing");
	refused(renamed(p, "llama.feed_forward_length", "llama.feed_forward_lengTH"), LM_EFORMAT,
		"llama.feed_forward_length is missing");
	refused(renamed("tests/model/tiny/qwen2.gguf", "blk.0.attn_q.bias", "blk.0.attn_z.bias"),
		LM_EUNSUPPORTED, "attn_z.bias");
}

/* A family that norms whole q and k rows, in a file whose norms are one head wide. */
LM_TEST(model_load_narrow_norm)
{
	struct bytes b = slurp("tests/model/tiny/qwen3.gguf");
	unsigned char *at;
	while ((at = memmem(b.p, b.n, "qwen3", 5))) memcpy(at, "olmo2", 5);
	refused(b, LM_EFORMAT, "attn_q_norm");
}

LM_TEST(model_load_architecture)
{
	struct bytes b = slurp("tests/model/tiny/llama.gguf");
	unsigned char *at = find(b, "general.architecture") + strlen("general.architecture") + 4 + 8;
	memcpy(at, "l\033[ma", 5);
	refused(b, LM_EUNSUPPORTED, "\\x1b");       /* control bytes do not reach a terminal */
}

/* A rope factor of zero would give an infinite frequency. */
LM_TEST(model_load_rope_factor)
{
	struct bytes b = slurp("tests/model/tiny/llama-llama3.gguf");
	float one = 1, zero = 0;
	unsigned char *at = b.p + b.n;
	do at -= 4;
	while (at > b.p && memcmp(at, &one, 4));
	memcpy(at, &zero, 4);
	refused(b, LM_EFORMAT, "rope");
}

/* Any damage to header bytes: a sentence or a model that runs; sanitizers watch. */
LM_TEST(model_load_damaged)
{
	static const char *const files[] = { "llama-yarn", "gemma2",     "phi3-longrope",
					     "exaone4",    "falcon-40b", "stablelm-12b" };
	uint32_t key[2] = { 1, 2 }, ctr[4] = { 0 }, r[4];

	for (unsigned i = 0; i < 600; i++) {
		char path[128];
		struct lm_err e = { 0 };
		snprintf(path, sizeof path, "tests/model/tiny/%s.gguf", files[i % 6]);
		struct bytes b = slurp(path);
		for (int k = 0; k < 2; k++) {
			ctr[0] = 2 * i + (unsigned)k;
			lm_philox(r, ctr, key);
			b.p[24 + r[0] % 3000] = (unsigned char)(r[1] % 4 ? r[2] : r[2] % 8);
		}
		int rc = load(b, &e);
		assert_true(rc == 0 || (rc < 0 && e.msg[0]));
		lm_free(b.p);
	}
}

LM_TEST(model_forward_refuses)
{
	struct rig r;
	struct backend *be = NULL;
	struct lm_err e = { 0 };
	const uint8_t want[64] = { 0 };
	int32_t token = 48, pos = 0, seq = 0;

	assert_ok(backend_ref(&be, &e), e);
	rig_open(&r, "tests/model/tiny/gpt2.gguf", be, DT_F32, 4);
	struct batch b = { .at = { 1, 1, &token, &pos, &seq, r.tables, r.slots }, .want = want };
	assert_int_equal(model_forward(r.m, r.s, &b, NULL, &e), LM_EINVAL);
	assert_non_null(strstr(e.msg, "48"));
	token = -1;
	assert_int_equal(model_forward(r.m, r.s, &b, NULL, &e), LM_EINVAL);
	token = 5, pos = 128;                       /* gpt2 has learned positions: 128 of them */
	assert_int_equal(model_forward(r.m, r.s, &b, NULL, &e), LM_EINVAL);
	pos = 127;
	assert_ok(model_forward(r.m, r.s, &b, NULL, &e), e);
	b.at.n_rows = 5;
	assert_int_equal(model_forward(r.m, r.s, &b, NULL, &e), LM_EINVAL);
	rig_close(&r);
}

/* The state takes what it says, and a cache type that the heads do not fit is refused. */
LM_TEST(model_state_limits)
{
	struct rig r;
	struct backend *be = NULL;
	struct state *s = NULL;
	struct lm_err e = { 0 };

	assert_ok(backend_ref(&be, &e), e);
	rig_open(&r, "tests/model/tiny/qwen3.gguf", be, DT_F16, 4);
	assert_int_equal(state_new(&s, r.m, 4, 1, 4, DT_Q8_0, &e), LM_EUNSUPPORTED);   /* heads of 16 */
	assert_non_null(strstr(e.msg, "q8_0"));
	assert_int_equal(state_new(&s, r.m, 4, 1, 4, DT_Q4_K, &e), LM_EUNSUPPORTED);
	assert_int_equal(state_new(&s, r.m, 0, 1, 4, DT_F32, &e), LM_EINVAL);
	/* 2 layers, 2 heads of 16 keys and 16 values, 32 positions of 2 bytes */
	assert_int_equal(state_bytes(r.m, 9, 1, 4, DT_F16) - state_bytes(r.m, 8, 1, 4, DT_F16),
			 2 * 2 * 2 * 16 * 32 * 2);
	rig_close(&r);
}
