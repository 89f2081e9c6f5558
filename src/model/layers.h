/* layers.h - private to src/model: what load.c leaves behind and the forward pass follows. */
#pragma once
#include "model/model.h"

/* ---- numbers ----------------------------------------------------------------------------------------------------- */
enum {                         /* limits on what a file may claim, checked before anything is made from it */
	MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_HEADS = 1024, MAX_HEAD_DIM = 1024, MAX_CTX = 1 << 28
};
enum wiring { WIRE_SEQUENTIAL,   /* x += mix(norm(x)); x += ffn(norm(x)); a missing norm is skipped, a present
                                    post-norm is applied to the branch before the add */
              WIRE_PARALLEL,     /* x += mix(norm(x)) + ffn(norm(x)); one norm may serve both */
              WIRE_POST };       /* x = norm(x + mix(x)); x = norm(x + ffn(x)): BERT */
enum rope_scaling { SCALE_NONE, SCALE_LINEAR, SCALE_YARN, SCALE_LONGROPE };
struct every { uint8_t period, at; };          /* layer il is special when il % period == at; 0: never */

/* Numbers of the whole model: from the file's keys (keys.c) and the architecture row (load.c). */
struct hparams {
	int n_embd, n_vocab, n_layer, n_ctx_train;
	enum norm_kind norm;
	enum wiring wiring;
	enum act act;
	bool qk_norm_row;                          /* q/k norm over the whole row, not per head */
	float eps, eps_rms, eps_ln;
	float embed_scale, resid_scale, logit_scale, logit_softcap, attn_softcap;
	float attn_scale;                          /* 0: 1/sqrt(dim_k) */
	int window;                                /* of the layers that slide; 0: none do */
	bool parallel;                             /* the key use_parallel_residual */
	bool causal;
	int causal_said;                           /* the key attention.causal; -1: absent */
	bool ropes_interleaved, ropes_given;       /* the key rope.interleaved, and whether it was there */
	struct moe moe;                            /* n_expert 0: dense */
	int gating, renorm;                        /* keys expert_gating_func (0: not said), expert_weights_norm (-1) */
	int n_ff_exp, n_ff_shexp, n_shared;        /* widths of an expert, of the shared one; shared ones in its width */
	/* lora_kv 0: no latent attention; dims of a head as trained; eps of the latents' norms, < 0: as elsewhere */
	struct { int lora_q, lora_kv, dim_k, dim_v; float eps; } mla;
	struct {
		int dims, n_ctx_orig;                  /* dims 0: the whole head */
		float base, base_local, factor, attn_factor, yarn_attn_factor, beta_fast, beta_slow;
		float log_mul;                         /* yarn_log_multiplier: the scores' scale grows by (1 + log_mul ln factor)^2 */
		enum rope_scaling scaling;
		bool off;                              /* rope.scaling.finetuned = false */
		bool truncate_said, fraction;                         /* YaRN's ramp begins and ends between elements */
	} rope;
	struct {
		int conv, inner, state, rank, group, l_cache;      /* keys ssm.*, shortconv.l_cache; 0: absent */
		float dt_min, dt_max, eps;                 /* eps of norm_bcdt; < 0: as elsewhere */
		bool norm_bcdt;                        /* Falcon-Mamba: dt, B and C pass an RMS norm */
		bool norm_first;                       /* the norm goes before the gate, not after */
	} ssm;
};

/* ---- a layer: which mechanisms it has, and the weights of each --------------------------------------------------- */
enum mix_kind { MIX_NONE, MIX_ATTN, MIX_MLA, MIX_MAMBA, MIX_MAMBA2, MIX_CONV, MIX_DELTA, MIX_COUNT };
enum ffn_kind { FFN_NONE, FFN_DENSE, FFN_MOE, FFN_COUNT };
struct normw { struct mat w, b; };             /* w.base NULL: this norm does not exist */
struct ffnw { struct mat gate, up, down, bgate, bup, bdown; };   /* gate.base NULL: a plain ffn */
static inline bool mix_attends(enum mix_kind k) { return k == MIX_ATTN || k == MIX_MLA; }
static inline bool mix_recurs(enum mix_kind k) { return k != MIX_NONE && !mix_attends(k); }

struct layer {
	enum mix_kind mix[2];                      /* two where they run side by side on the same input (Falcon-H1) */
	enum ffn_kind ffn;
	struct normw mix_pre, mix_post, ffn_pre, ffn_post;   /* wiring and presence decide which apply */

	/* attention */
	bool local;                                /* slides, or ropes as sliding layers do */
	struct attn attn;
	struct rope rope;                          /* kind ROPE_NONE on layers without positions */
	struct rope rope_long;                     /* of extended sequences; kind ROPE_NONE: as the others */
	/* gate.base NULL: none; else the heads' values are multiplied by sigmoid(gate h) */
	struct { struct mat q, k, v, o, bq, bk, bv, bo, qkv, bqkv, gate; struct normw qn, kn; struct mat sinks; } a;
	/* latent attention; q: a.q, or q_b after q_a.  k_b, v_b: a matrix per head, stacked */
	struct { struct mat q_a, q_b, kv_a, kv_b, k_b, v_b; struct normw q_norm, kv_norm; } mla;

	/* recurrent mixers (rec.c): widths of the input projection with its scratch, of what the convolution sees, of the inner
	 * row, of dt and of a; taps; f32 values of a slot's two states */
	struct {
		int n_in, n_conv, n_inner, n_dt, n_rates, n_x, taps, conv_state, state;
		struct mat in, bin, conv, bconv, x, dtw, dt, a, d, qkv, gate, ba, out, bout;
		struct normw norm;
		struct ssm ssm;
		struct delta delta;
	} r;

	/* dense feed-forward */
	int n_ff;
	struct ffnw d;

	/* experts */
	struct experts e;                          /* routed: e.up NULL in dense layers */
	struct mat router, brouter, bchoice;       /* logits of the experts; what is added for choosing */
	struct ffnw sh;                            /* the shared expert, of n_ff_sh; up.base NULL: none */
	struct mat sh_gate;                        /* sigmoid(sh_gate x) weighs it; base NULL: it counts in full */
	int n_ff_sh;
};

/* ---- the model --------------------------------------------------------------------------------------------------- */
/* What follows the last norm in models that embed or classify: norm(act(W x + b)), a few rows at a time.  head.c. */
enum { MAX_DENSE = 4 };
struct stage { struct mat w, b; struct normw norm; enum head_act act; };
struct heads {
	struct stage dense[MAX_DENSE], cls, out;   /* w.base NULL: absent; `out` gives the logits */
	int dense_out[MAX_DENSE];                  /* rows of dense[i].w; 0: absent */
	int n_label, n_type;                       /* rows of out.w and of the token types' table */
	struct model_heads info;
};
struct weight { const char *name; struct mat w; };
struct model {
	struct hparams hp;
	struct model_info info;
	struct backend *be;
	struct lm_arena *arena;
	struct mat embd, pos_embd, type_embd, head, bhead, rope_freqs, rope_short, rope_long;
	struct normw embd_norm, out_norm;
	struct heads heads;
	struct layer *layer;
	struct made *made;
	struct weight *weight; int n_weight;       /* the matrices that tensors of the file were bound to */
	struct lora *lora;                         /* adapters; NULL: none.  lora.c */
	int max_q, max_kv, max_o, max_ff;          /* widest rows over the layers; max_kv serves k and v */
	bool shared;                               /* some layer has a shared expert: a second branch */
	int max_in, max_conv, max_inner;           /* of recurrent layers; max_in also of an attention's gate */
};

/* ---- load: keys.c, bind*.c, make.c, rec.c, rope.c, head.c -------------------------------------------------------- */
struct alias { const char *from, *to; };       /* tensor `from` fills slot `to` */
struct made { void *p; size_t n; struct made *next; };   /* pages that hold a tensor made at load */
int keys_load(struct hparams *hp, const struct file *f, const char *arch, struct lm_err *err);
/* A number that may be one value or an array with one per layer; *out = def when the key is absent. */
int keys_layer(int *out, const struct file *f, const char *arch, const char *key, int il, int def, int min,
	       int max, struct lm_err *err);
int model_bind(struct model *m, const struct file *f, const struct alias *alias, int n_alias,
	       const struct model_opt *o, struct lm_err *err);
/* The tensor in memory in type `want`, made by the threads of o (NULL: all); a mapped one of that type is given as it lies.
 * make.c */
int model_make(struct model *m, const struct tensor *t, enum dtype want, const struct model_opt *o, const void **data,
	       struct lm_err *err);
/* The widths of a recurrent layer, from hparams and the mixer.  rec.c */
int rec_dims(const struct model *m, struct layer *l, int il, enum mix_kind kind, struct lm_err *err);
/* inv_freq of a rope with `dims` turning elements, scaled or not; from the arena of m.  NULL: no memory. */
const double *model_rope_freqs(struct model *m, int dims, double base, bool scaled);
const double *model_rope_freqs_long(struct model *m, int dims, double base);    /* by LongRoPE's long factors */
float model_rope_mscale(const struct hparams *hp);                  /* the factor of cos and sin */
/* Sizes of the heads from their tensors, before binding; and what the keys say about them, after it. */
int heads_size(struct model *m, const struct file *f, struct lm_err *err);
int heads_load(struct model *m, const struct file *f, enum head_act cls_act, struct lm_err *err);

/* ---- one pass ---------------------------------------------------------------------------------------------------- */
/* Activations, made once per state, and what varies. */
struct fwd {
	const struct model *m;
	struct state *st;
	const struct seqs *at;
	const struct batch *batch;
	struct backend *be;
	struct mat x, h, y, q, k, v, o, g, u;      /* residual, branch input, branch output; attention; ffn */
	struct mat y2;                             /* branch of a second mixer or a shared expert; empty in models without */
	struct mat r, sel, rw;                     /* router logits [n_expert], experts and weights [n_used]; empty without */
	struct mat in, c, s;                       /* recurrent: projected, convolved, scanned */
};
void fwd_tap(const struct fwd *f, const char *name, int il, const struct mat *x);
void fwd_norm(const struct fwd *f, struct mat y, struct mat x, const struct normw *n);
void fwd_block(const struct fwd *f, int il);
/* Turns the heads of x as layer l does. */
void fwd_rope(const struct fwd *f, struct mat x, int head_dim, const struct layer *l);
/* y = w.down(act(w.gate h) * w.up h) of n_ff. */
void fwd_dense(const struct fwd *f, const struct ffnw *w, int n_ff, struct mat y);
/* Every product with a weight of the model goes through these: op->linear, then what the adapters of each row's sequence
 * add.  The rows of x are those of the batch; or, with fwd_linear_at, x's row i belongs to batch row row[i].  lora.c */
void fwd_linear(const struct fwd *f, const struct lin *l, int n, struct mat x);
void fwd_linear_at(const struct fwd *f, const struct lin *l, int n, struct mat x, const int32_t *row);
void fwd_embed(const struct fwd *f, struct mat y);                   /* the tokens' embeddings */
int lora_rank(const struct model *m);                                /* widths of the two scratch matrices; 0: no adapter */
int lora_width(const struct model *m);

/* A mixer reads f->h (normed input), which it leaves as it is, and leaves its branch in f->y; so an ffn.  One file
 * each: mix_attn.c, ffn.c, ...  block.c lists them; an entry is NULL until the mechanism is built. */
typedef void mix_fn(const struct fwd *f, int il);
typedef void ffn_fn(const struct fwd *f, int il);
mix_fn mix_attn, mix_mla, mix_mamba, mix_mamba2, mix_conv, mix_delta;
ffn_fn ffn_dense, ffn_moe;

/* ---- memory of the sequences ------------------------------------------------------------------------------------- */
enum { HEAD_ROWS = 16 };
struct state {
	const struct model *m;
	struct backend *be;
	int n_batch;
	int n_slots;
	struct kv *kv;                             /* [n_layer]; empty on layers without attention */
	struct rec { struct mat conv, s; } *rec;   /* [n_layer]; empty on layers without recurrence */
	struct fwd f;                              /* activation matrices of n_batch rows */
	struct mat logits;                         /* device scratch; base NULL on devices of host memory */
	struct mat hx, hy;                         /* HEAD_ROWS rows in and out of a head's stage; base NULL: no heads */
	int32_t *type;                             /* [n_batch] zeros: the token type of rows that have none given */
	struct mat lora_t, lora_y;                 /* A x, and a stretch of B (A x); empty without adapters */
	int32_t *want;                             /* [n_batch] indices of the wanted rows */
	model_tap *tap;
	void *tap_ud;
};
