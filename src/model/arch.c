/* arch.c - every architecture we run, one row each.  What a file shows by the tensors it holds (biases, q/k
 * norms, gated or plain ffn, fused projections, tied output, learned positions, post-norms) and what it says
 * in its keys is not repeated here; a row states only what neither can show. */
#include "model/arch.h"
#include <math.h>

/* Gemma 2 and 3: no key holds query_pre_attn_scalar.  It is the head size except in the 27B models, the only
 * ones whose heads have 128 elements: there it is n_embd / n_head. */
static int finish_gemma(struct model *m, const struct file *f, struct lm_err *err)
{
	(void)f, (void)err;
	for (int il = 0; il < m->hp.n_layer; il++) {
		struct attn *a = &m->layer[il].attn;
		if (a->dim_k == 128 && m->hp.attn_scale == 0)
			a->scale = (float)(1 / sqrt((double)m->hp.n_embd / a->n_head));
	}
	return 0;
}

static int finish_gptneox(struct model *m, const struct file *f, struct lm_err *err)
{
	(void)f, (void)err;
	m->hp.wiring = m->hp.parallel ? WIRE_PARALLEL : WIRE_SEQUENTIAL;
	return 0;
}

/* Falcon 40B: attn_norm_2 (bound to ffn_pre) is attention's norm and attn_norm the ffn's. */
static int finish_falcon(struct model *m, const struct file *f, struct lm_err *err)
{
	(void)f, (void)err;
	for (int il = 0; il < m->hp.n_layer; il++) {
		struct layer *l = &m->layer[il];
		struct normw first = l->mix_pre;
		if (!l->ffn_pre.w.base) continue;
		l->mix_pre = l->ffn_pre;
		l->ffn_pre = first;
	}
	return 0;
}

/* StableLM 2 12B: without an ffn norm both branches read the one there is. */
static int finish_stablelm(struct model *m, const struct file *f, struct lm_err *err)
{
	(void)f, (void)err;
	if (!m->layer[0].ffn_pre.w.base) m->hp.wiring = WIRE_PARALLEL;
	return 0;
}

#define RMS .norm = NORM_RMS
#define LN .norm = NORM_LN
#define SEQ .wiring = WIRE_SEQUENTIAL
#define PAR .wiring = WIRE_PARALLEL
#define PAIRS .rope = ROPE_PAIRS
#define HALVES .rope = ROPE_HALVES

/* clang-format off */
const struct arch arch_table[] = {
	/* sequential, RMS norm */
	{ .name = "llama",      RMS, SEQ, .act = ACT_SILU, PAIRS, .flags = AF_MOE_RENORM },    /* and Mixtral */
	{ .name = "qwen2",      RMS, SEQ, .act = ACT_SILU, HALVES },
	{ .name = "qwen3",      RMS, SEQ, .act = ACT_SILU, HALVES },
	{ .name = "phi3",       RMS, SEQ, .act = ACT_SILU, HALVES },
	{ .name = "granite",    RMS, SEQ, .act = ACT_SILU, PAIRS, .flags = AF_LOGIT_DIV | AF_ROPE_SWITCH },
	{ .name = "smollm3",    RMS, SEQ, .act = ACT_SILU, PAIRS, .no_rope = { 4, 3 } },
	{ .name = "glm4",       RMS, SEQ, .act = ACT_SILU, PAIRS },
	{ .name = "ernie4_5",   RMS, SEQ, .act = ACT_SILU, PAIRS },
	{ .name = "arcee",      RMS, SEQ, .act = ACT_RELU2, PAIRS },
	{ .name = "seed_oss",   RMS, SEQ, .act = ACT_SILU, HALVES,
	  .alias = { { "post_attention_norm", "ffn_norm" } } },
	{ .name = "olmo2",      RMS, SEQ, .act = ACT_SILU, HALVES, .global = { 4, 3 },
	  .flags = AF_QK_NORM_ROW | AF_LOCAL_PLAIN },
	{ .name = "exaone4",    RMS, SEQ, .act = ACT_SILU, HALVES, .global = { 4, 3 },
	  .flags = AF_ROPE_ONLY_SWA },
	{ .name = "gemma",      RMS, SEQ, .act = ACT_GELU_TANH, HALVES, .flags = AF_EMBED_SQRT_D },
	{ .name = "gemma2",     RMS, SEQ, .act = ACT_GELU_TANH, HALVES, .global = { 2, 1 }, .window = 4096,
	  .flags = AF_EMBED_SQRT_D, .finish = finish_gemma },
	{ .name = "vaultgemma", RMS, SEQ, .act = ACT_GELU_TANH, HALVES, .global = { 2, 1 },
	  .flags = AF_EMBED_SQRT_D },                                        /* no GGUF has it yet */
	{ .name = "gemma3",     RMS, SEQ, .act = ACT_GELU_TANH, HALVES, .global = { 6, 5 },
	  .base_local = 10000, .flags = AF_EMBED_SQRT_D | AF_LOCAL_PLAIN, .finish = finish_gemma },
	/* mixtures of experts */
	{ .name = "qwen2moe",   RMS, SEQ, .act = ACT_SILU, HALVES },
	{ .name = "qwen3moe",   RMS, SEQ, .act = ACT_SILU, HALVES, .flags = AF_MOE_RENORM },
	{ .name = "olmoe",      RMS, SEQ, .act = ACT_SILU, HALVES, .flags = AF_QK_NORM_ROW },
	{ .name = "granitemoe", RMS, SEQ, .act = ACT_SILU, PAIRS,
	  .flags = AF_LOGIT_DIV | AF_ROPE_SWITCH | AF_MOE_RENORM },
	{ .name = "gpt-oss",    RMS, SEQ, .act = ACT_SWIGLU_OAI, HALVES, .global = { 2, 1 },
	  .flags = AF_MOE_CHOSEN | AF_YARN_EXACT, .alias = { { "post_attention_norm", "ffn_norm" } } },
	{ .name = "deepseek2",  RMS, SEQ, .act = ACT_SILU, PAIRS },
	/* recurrent, alone or among attention layers */
	{ .name = "mamba",      RMS, SEQ, .act = ACT_SILU },
	{ .name = "mamba2",     RMS, SEQ, .act = ACT_SILU },
	{ .name = "granitehybrid", RMS, SEQ, .act = ACT_SILU, PAIRS,
	  .flags = AF_LOGIT_DIV | AF_ROPE_SWITCH | AF_MOE_RENORM },
	{ .name = "lfm2",       RMS, SEQ, .act = ACT_SILU, HALVES, .alias = { { "token_embd_norm", "output_norm" } } },
	{ .name = "falcon-h1",  RMS, SEQ, .act = ACT_SILU, HALVES },
	{ .name = "nemotron_h", RMS, SEQ, .act = ACT_RELU2 },
	{ .name = "qwen3next",  RMS, SEQ, .act = ACT_SILU, HALVES, .flags = AF_MOE_RENORM,
	  .alias = { { "post_attention_norm", "ffn_norm" } } },
	/* layer norm */
	{ .name = "gpt2",       LN, SEQ, .act = ACT_GELU_TANH },
	{ .name = "starcoder2", LN, SEQ, .act = ACT_GELU_TANH, HALVES },
	{ .name = "nemotron",   LN, SEQ, .act = ACT_RELU2, HALVES },
	{ .name = "stablelm",   LN, SEQ, .act = ACT_SILU, HALVES, .finish = finish_stablelm },
	/* encoders */
	{ .name = "bert",        LN, .wiring = WIRE_POST, .act = ACT_GELU, .flags = AF_BIDIRECTIONAL, .cls_act = HEAD_TANH },
	{ .name = "nomic-bert",  LN, .wiring = WIRE_POST, .act = ACT_SILU, HALVES, .flags = AF_BIDIRECTIONAL,
	  .cls_act = HEAD_TANH },
	{ .name = "modern-bert", LN, SEQ, .act = ACT_GELU, HALVES, .global = { 3, 0 }, .base_local = 10000,
	  .flags = AF_BIDIRECTIONAL, .cls_act = HEAD_GELU },
	{ .name = "gemma-embedding", RMS, SEQ, .act = ACT_GELU_TANH, HALVES, .global = { 6, 5 }, .base_local = 10000,
	  .flags = AF_EMBED_SQRT_D | AF_LOCAL_PLAIN | AF_BIDIRECTIONAL },
	/* parallel */
	{ .name = "phi2",       LN, PAR, .act = ACT_GELU_TANH, HALVES },
	{ .name = "gptneox",    LN, PAR, .act = ACT_GELU, HALVES, .finish = finish_gptneox },
	{ .name = "falcon",     LN, PAR, .act = ACT_GELU, HALVES, .finish = finish_falcon },
	{ .name = "command-r",  LN, PAR, .act = ACT_SILU, PAIRS },
	{ .name = "cohere2",    LN, PAR, .act = ACT_SILU, PAIRS, .global = { 4, 3 },
	  .flags = AF_ROPE_ONLY_SWA },
};
/* clang-format on */
const int n_arch = sizeof arch_table / sizeof arch_table[0];

const char *model_arch(int i) { return i >= 0 && i < n_arch ? arch_table[i].name : NULL; }
