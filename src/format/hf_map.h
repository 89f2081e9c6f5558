/* hf_map.h - the table of Hugging Face families: how a checkpoint's names and config.json become GGUF's names and keys.
 * Inside src/format only.  A family is a row; hf_map.c walks the rows of hf_dense.c, hf_moe.c, hf_rec.c and hf_enc.c. */
#pragma once
#include "format/hf.h"

struct hf_map;

/* What is done with the tensor t of the checkpoint (NULL: nothing, it gets the name `to`).  t lives as long as the
 * file; layer and expert are -1 where the pattern has no '#' or '@'.  An op emits none, one or several tensors. */
typedef int hf_op(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert);

/* A name after the prefix, with '#' for the number of the layer, '@' for one of an expert and one '*' for anything.
 * ".weight" or ".bias" is kept: "norm" -> "output_norm" serves both.  A pattern that matches the whole name ("dt_bias")
 * names the GGUF tensor with its suffix ("blk.#.ssm_dt.bias").  to NULL with op hf_skip: ignored. */
struct hf_name { const char *from, *to; hf_op *op; };

hf_op hf_skip;               /* holds nothing that we need */
hf_op hf_add_one;            /* stored as w, used as 1 + w; the result is f32 */
hf_op hf_neg_exp;            /* -exp(w), f32 */
hf_op hf_transpose;          /* [in, out], as GPT-2's Conv1D */
hf_op hf_regroup;            /* fused rows per key head [q.. k v] -> [Q; K; V]; weight or bias */
hf_op hf_stack;              /* '@' = 0 emits all n_head (or n_kv, for "attn_k...") vectors as one matrix */
hf_op hf_head;               /* output projection: ignored when tied and the same values */
hf_op hf_conv;               /* depthwise convolution [C, 1, K] -> [C, K] */
hf_op hf_gate_up;            /* rows of the gate, then as many of up; `to` has "ffn_up" in it, the gate gets "ffn_gate" */

enum hf_kind { HF_INT, HF_F32, HF_BOOL };
/* A setting that is a key: names in config.json, the first that is there and not null, "a|b".  Absent: no key. */
struct hf_key { const char *from, *to; enum hf_kind kind; };

enum hf_window {
	HF_FULL,             /* sliding_window is not asked */
	HF_ALL,              /* every layer, when sliding_window is not null */
	HF_EVERY,            /* layer_types, else all but every sliding_window_pattern-th (default: period) */
	HF_FROM,             /* layer_types, else those from max_window_layers on; nothing without use_sliding_window */
	HF_BEFORE,           /* the same, but every second layer before max_window_layers */
	HF_USED              /* every layer, with use_sliding_window */
};
enum hf_flag {
	HF_UNPERMUTED = 1 << 0,  /* GGUF's q and k rows are in pairs, the checkpoint's in halves */
	HF_PLUS_ONE = 1 << 1,    /* all norm weights are used as 1 + w */
	HF_NO_ROPE = 1 << 2,     /* no rotary positions: no rope keys */
	HF_MTP = 1 << 3,         /* layers beyond num_hidden_layers (multi-token prediction) are not needed */
	HF_BOTH_WAYS = 1 << 4    /* every token sees all others: attention.causal = false */
};

enum { HF_MAX_LAYERS = 1024 };

struct hf_family {
	const char *arch[6];         /* "LlamaForCausalLM", ... of config.json's architectures */
	const char *type[4];         /* model_type, when there are no architectures */
	const char *gguf;            /* general.architecture */
	const struct hf_name *names; /* tried first; ends with from NULL.  May be NULL, as the next */
	const struct hf_name *base;  /* tried next: hf_llama_names mostly */
	const struct hf_key *keys;   /* beyond the common ones, ends with from NULL; NULL: none */
	const char *defaults;        /* of the transformers config class, a JSON object with ' for " */
	const char *act;             /* the activation that the arch row runs; others become the key "activation".  NULL: not asked */
	enum hf_window window;
	int period;
	unsigned flags;
	int (*pick)(struct hf_map *m);   /* before anything else: may change m->arch, or refuse; NULL: none */
	int (*keys_of)(struct hf_map *m);/* after the common keys: adds more; NULL: none */
};

struct hf_map {                      /* one folder being mapped */
	struct hf *h;
	const struct hf_family *fam;
	json_t *cfg;                 /* settings of the text model, the family's defaults filled in */
	const char *arch;            /* prefix of the keys */
	int64_t n_layer;             /* 1 to HF_MAX_LAYERS */
	int64_t n_embd, n_head, n_kv, head_dim, n_ff, n_ctx;     /* 0 where config.json does not say: n_head, n_kv, n_ctx */
	bool tied;
	int32_t *regroup;            /* row order of hf_regroup, made once */
	const char *origin;          /* name of the tensor being mapped */
	struct lm_err *err;
};

/* ---- rows that several families have */
#define HF_END { NULL, NULL, NULL }          /* of a table of names */
#define HF_LAST { NULL, NULL, HF_INT }       /* of a table of keys */
#define HF_EMBED_HEAD \
	{ "embed_tokens", "token_embd", NULL }, \
	{ "norm", "output_norm", NULL }, \
	{ "lm_head", "output", hf_head }
#define HF_QKVO \
	{ "layers.#.self_attn.q_proj", "blk.#.attn_q", NULL }, \
	{ "layers.#.self_attn.k_proj", "blk.#.attn_k", NULL }, \
	{ "layers.#.self_attn.v_proj", "blk.#.attn_v", NULL }, \
	{ "layers.#.self_attn.o_proj", "blk.#.attn_output", NULL }
#define HF_GRANITE_SCALES \
	{ "embedding_multiplier", "embedding_scale", HF_F32 }, \
	{ "residual_multiplier", "residual_scale", HF_F32 }, \
	{ "logits_scaling", "logit_scale", HF_F32 }, \
	{ "attention_multiplier", "attention.scale", HF_F32 }

extern const struct hf_name hf_llama_names[], hf_gemma2_names[], hf_mlp_names[] /* experts in "mlp" */;
extern const struct hf_name hf_granite_names[];          /* experts and shared MLP of Granite */
extern const struct hf_family hf_dense[], hf_moe_families[], hf_rec_families[], hf_enc_families[];
extern const int hf_n_dense, hf_n_moe, hf_n_rec, hf_n_enc;

/* ---- for adapters (peft_map.c) */
/* Family i of those that become this GGUF architecture; NULL: no more. */
const struct hf_family *hf_family_of(const char *gguf, int i);
/* Has m->fam a row for this name? */
bool hf_knows(const struct hf_map *m, const char *name);
/* Is the row for this name one of what the family's models leave out? */
bool hf_skips(const struct hf_map *m, const char *name);
/* Emits what t, the checkpoint's tensor or (rows) something with a row for each of its rows, becomes. */
int hf_map_tensor(struct hf_map *m, const struct tensor *t, bool rows);

/* ---- for ops */
/* Adds a tensor to the file; `to` with '#' and '@' filled in is what ops are given as `to`. */
int hf_emit(struct hf_map *m, const struct tensor *t, const char *to);
/* The tensor of the checkpoint with this full name (any of the prefixes in front), NULL: absent. */
const struct tensor *hf_find(const struct hf_map *m, const char *name);
int hf_no_memory(struct hf_map *m);          /* LM_ENOMEM, naming the folder */
/* A copy that lives as long as the file, for derivations to be made from; NULL: no memory, m->err filled. */
struct tensor *hf_keep(struct hf_map *m, const struct tensor *t);
/* A name in the arena: hf_text(m, "blk.%d.ffn_gate.%d.weight", layer, e); NULL: no memory, m->err filled. */
char *hf_text(struct hf_map *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- for keys.  names: "a|b", the first that is there and not null.  1: found, 0: absent (*out untouched), < 0: of
 * another type, m->err filled. */
int hf_int(struct hf_map *m, const char *names, int64_t *out);
int hf_num(struct hf_map *m, const char *names, double *out);
int hf_flag(struct hf_map *m, const char *names, bool *out);
int hf_str(struct hf_map *m, const char *names, const char **out);
const json_t *hf_get(const struct hf_map *m, const char *names);   /* NULL: absent or null */
/* The same in any object, `where` for sentences ("rope_scaling."). */
int hf_int_in(struct hf_map *m, const json_t *o, const char *where, const char *names, int64_t *out);
int hf_num_in(struct hf_map *m, const json_t *o, const char *where, const char *names, double *out);
/* "<arch>.name" */
int hf_put_int(struct hf_map *m, const char *name, int64_t v);
int hf_put_num(struct hf_map *m, const char *name, double v);
int hf_put_bool(struct hf_map *m, const char *name, bool v);
int hf_put_bools(struct hf_map *m, const char *name, const uint8_t *v, int64_t n);
int hf_put_ints(struct hf_map *m, const char *name, const int32_t *v, int64_t n);
int hf_put_str(struct hf_map *m, const char *name, const char *s);
/* A setting that changes the arithmetic in a way we do not compute: absent or `want`, else LM_EUNSUPPORTED. */
int hf_must(struct hf_map *m, const char *name, bool want);
/* LM_EUNSUPPORTED: "config.json: parallel_attn is false, which ..." */
int hf_refuse(struct hf_map *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define HF_PARTIAL "partial_rotary_factor|rotary_pct"
#define HF_THETA "rope_theta|rotary_emb_base"
/* hf_keys.c */
int hf_settings(struct hf_map *m);        /* m->cfg and the numbers of m */
int hf_keys(struct hf_map *m);            /* all keys */
int hf_pool(struct hf_map *m);            /* pooling, dense layers, prompts, labels: keys and tensors; hf_pool.c */
int hf_ropes(struct hf_map *m);           /* rope keys and tensors; hf_rope.c */
