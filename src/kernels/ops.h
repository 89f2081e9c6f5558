/* ops.h - the contract between models and devices: transformer-sized operations.
 *
 * Everything is a matrix: `rows` tokens (or output features) by `cols` elements of `type`.
 * A weight W is rows = out, cols = in, and linear computes y[t,:] = W x[t,:] + b.
 * Activations are DT_F32 rows.  Shapes are checked once, when a model is bound to a backend; ops cannot fail at
 * call time.  A device fault is sticky and is reported by end().  kernels/ref.c is the executable definition of
 * every op.  One thread at a time may use a backend. */
#pragma once
#include "quant/quant.h"

struct mat {                 /* a value: owns nothing, copy freely */
	void *base;              /* host pointer (CPU), device pointer (CUDA), MTLBuffer (Metal) */
	uint64_t off;            /* bytes from base: Metal buffers have no pointer arithmetic */
	int32_t rows, cols;
	int64_t stride;          /* bytes between rows */
	enum dtype type;
	const int32_t *order;    /* of a weight in linear: column i meets x[order[i]]; NULL: x[i].  Only where the backend is `ordered` */
};
static inline void *mat_row(struct mat m, int64_t r) { return (char *)m.base + m.off + (uint64_t)(r * m.stride); }
static inline struct mat mat_rows(struct mat m, int32_t first, int32_t n)   /* rows [first, first+n) */
{
	m.off += (uint64_t)first * (uint64_t)m.stride;
	m.rows = n;
	return m;
}
static inline struct mat mat_cols(struct mat m, int32_t first, int32_t n)   /* f32 only: a view of columns */
{
	m.off += (uint64_t)first * sizeof(float);
	m.cols = n;
	return m;
}

/* y = scale * (W x + bias).  bias, or bias->base, NULL: none. */
struct lin { struct mat y; const struct mat *w, *bias; float scale; };

enum norm_kind { NORM_RMS, NORM_LN, NORM_L2 };
enum act { ACT_NONE, ACT_SIGMOID, ACT_SILU, ACT_GELU, ACT_GELU_TANH, ACT_RELU2, ACT_SWIGLU_OAI };
enum rope_kind { ROPE_NONE, ROPE_PAIRS /* (0,1)(2,3).. */, ROPE_HALVES /* (0,d/2)(1,d/2+1).. */ };

/* RoPE: angle = pos * inv_freq[i], cos and sin multiplied by `mscale`.  inv_freq is a host array of dims/2 doubles
 * made at load (base, scaling, factors are folded in there), so no device knows a scaling type. */
struct rope { enum rope_kind kind; int dims; float mscale; const double *inv_freq; };
/* window: causal, the keys with 0 <= i-j < window; else those with |i-j| <= window/2; 0: all.  Without a causal mask all
 * rows of a sequence are in one pass.  sinks: [n_head] f32 logits that join the softmax's sum without a value. */
struct attn {
	int n_head, n_kv, dim_k, dim_v;
	float scale, softcap /* 0: none */;
	int window;
	bool causal;
	const struct mat *sinks;         /* NULL, or base NULL: none */
	int v_at;                        /* > 0: values are elements [v_at, v_at + dim_v) of the keys; kv->v is not used */
};

/* Limits of the recurrent ops. */
enum { MAX_CONV = 32, MAX_SSM_DIM = 1024, MAX_SSM_STATE = 1024 };

/* KV blocks hold KV_BLOCK positions; attention works in absolute chunks of KV_CHUNK positions (exact.h). */
enum { KV_BLOCK = 32, KV_CHUNK = 256 };

/* What varies from step to step, in host memory that stays unchanged between begin() and end().  Rows of one
 * sequence are adjacent with ascending positions. */
struct seqs {
	int n_rows, n_seqs;
	const int32_t *token;        /* [n_rows] */
	const int32_t *pos;          /* [n_rows] absolute position of the row */
	const int32_t *seq;          /* [n_rows] index into the two arrays below */
	const int32_t *const *table; /* [n_seqs] KV block ids: position p lives in block table[s][p / KV_BLOCK] */
	/* [n_seqs] which row of the recurrent state matrices is the sequence's; NULL for models without such state.  A row at
	 * position 0 starts from zeros, whatever the state holds; so nobody clears it.  Rows go on from where the state
	 * stands: the one before them was the last to be computed. */
	const int32_t *slot;
};

/* One layer's cache.  k: rows = number of blocks, stride = bytes of one block's keys, type = the KV type (cols is
 * not used); v likewise.
 * Layout of a block, for type F32, F16, BF16: K [n_kv][KV_BLOCK/16][dim_k][16 positions]; V [n_kv][KV_BLOCK][dim_v].
 * Q8_0: int8 with one f32 scale per 32 elements of a head's row; each head holds its values, then its scales:
 * K [n_kv]{ [2][dim_k/4][16][4], scales [2][dim_k/32][16] }; V [n_kv]{ [32][dim_v], scales [32][dim_v/32] }.  (kernels/kv.h) */
struct kv { struct mat k, v; };

/* ---- mixture of experts */
enum { MAX_EXPERTS = 1024 };
enum gate_kind { GATE_SOFTMAX, GATE_SIGMOID };
struct moe {
	int n_expert, n_used;
	enum gate_kind gate;             /* how logits of all experts become scores */
	bool chosen_softmax;             /* softmax over the chosen logits only (gpt-oss, GraniteMoe) */
	bool renorm;                     /* the weights of the chosen are divided by their sum */
	float scale;                     /* then multiplied */
	int n_group, n_group_used;       /* > 1: experts outside the n_group_used best of n_group groups are out */
	bool group_top2;                 /* a group counts as the sum of its two best scores, not as its best */
};
/* The experts of a layer: arrays of n_expert matrices; biases are [n_expert] rows, base NULL: none. */
struct experts {
	const struct mat *gate, *up, *down;      /* gate NULL: down(act(up(x))) */
	struct mat bgate, bup, bdown;
	enum act act;
	int n_expert, n_ff;
};

/* ---- recurrent layers.  A state matrix (f32) has one row per slot; what lies in a row is the device's business.  Tokens of a
 * sequence are taken one after the other, so no cut of the rows into passes changes a bit. */
/* Mamba: for head h, its elements p and states n, with dt = clamp(softplus(dt + dt_bias)):
 *     S[p][n] = exp(dt * a) * S[p][n] + dt * x[p] * b[n];   y[p] = sum_n S[p][n] * c[n] + d * x[p]
 * Mamba-2: a is [n_head].  Mamba-1: dim is 1 and a is [n_head][n_state].  All heads of a group share b and c. */
struct ssm {
	int n_head, dim, n_state, n_group;
	float dt_min, dt_max;
	const struct mat *a, *d, *dt_bias;
};
/* The gated delta rule: q and k have n_k heads of dim_k, v and y n_v heads of dim_v; n_v / n_k neighbours share a key head.
 * q and k become unit vectors x / sqrt(sum x^2 + 1e-6), q then / sqrt(dim_k); with S [dim_k][dim_v] per head of v:
 *     S = exp(a * softplus(alpha + dt_bias)) * S;  e = sigmoid(beta) * (v - k S);  S = S + k' e;  y = q S */
struct delta { int n_k, n_v, dim_k, dim_v; const struct mat *a, *dt_bias; };

struct backend;
struct backend_ops {
	void (*close)(struct backend *b);
	/* memory; DT_I8 is what a cache is made of: bytes that fill from the front, and are then read from end to end every step */
	int  (*alloc)(struct backend *b, struct mat *m, int32_t rows, int32_t cols, enum dtype t, struct lm_err *err); /* zeroed */
	void (*free)(struct backend *b, struct mat *m);
	int  (*import)(struct backend *b, struct mat *m, const void *host, struct lm_err *err); /* m->rows.. set; zero-copy if it can */
	bool (*has)(const struct backend *b, enum dtype weight);                                /* asked at bind time */
	/* host rows lie one after the other without gaps, whatever the mat's stride */
	void (*write)(struct backend *b, const struct mat *dst, const void *src);
	void (*read)(struct backend *b, void *dst, const struct mat *src);                      /* waits */
	/* Bytes of one KV block of this type: keys (dim = dim_k) or values.  -1: type or dim not supported. */
	int64_t (*kv_bytes)(const struct backend *b, enum dtype t, int n_kv, int dim, bool values);
	/* One forward pass sits between these; end() waits and reports.  begin may answer "replay" later: key names
	 * the call sequence (rows bucket).  0: issue the ops. */
	int  (*begin)(struct backend *b, uint64_t key, const struct seqs *s);
	int  (*end)(struct backend *b, struct lm_err *err);
	/* dense; y may alias x in norm, act (y = gate) and rope */
	void (*embed)(struct backend *b, struct mat y, const struct mat *table, const struct seqs *s, float scale);
	void (*norm)(struct backend *b, struct mat y, struct mat x, const struct mat *w, const struct mat *bias,
	             enum norm_kind k, float eps, int group /* cols per norm; 0 = whole row */);
	             /* w, bias: as wide as x, or as wide as a group and then the same for every group */
	void (*linear)(struct backend *b, const struct lin *l, int n, struct mat x);  /* n weights share one x */
	void (*add)(struct backend *b, struct mat y, struct mat x, float scale);      /* y += scale * x */
	void (*act)(struct backend *b, struct mat y, struct mat gate, const struct mat *up, enum act a); /* y = a(gate) [* up]; SWIGLU_OAI needs up */
	void (*softcap)(struct backend *b, struct mat x, float cap);                  /* x = cap * tanh(x / cap) */
	void (*gather)(struct backend *b, struct mat y, struct mat x, const int32_t *row); /* y[i] = x[row[i]]; NULL: copy */
	/* attention: x holds n_head heads of head_dim side by side in a row */
	void (*rope)(struct backend *b, struct mat x, int head_dim, const struct seqs *s, const struct rope *r);
	void (*kv_put)(struct backend *b, const struct kv *kv, struct mat k, struct mat v, const struct attn *a, const struct seqs *s);
	void (*attend)(struct backend *b, struct mat y, struct mat q, const struct kv *kv, const struct attn *a, const struct seqs *s);
	/* Ops below are for some families only: NULL where a device lacks them, and model_load refuses the model then. */
	/* mixture of experts */
	/* Asked at bind time, once per kind of layer: can the device run it?  It makes room for it at the next begin(). */
	int  (*moe_room)(struct backend *b, const struct moe *m, int n_embd, int n_ff, struct lm_err *err);
	/* sel: I32 [rows][n_used], weight: f32 [rows][n_used]; logits: [rows][n_expert], overwritten.  bias: [n_expert], added to
	 * the scores for choosing only.  Chosen by falling score, the lower id first among equals. */
	void (*route)(struct backend *b, struct mat sel, struct mat weight, struct mat logits, const struct mat *bias,
	              const struct moe *m);
	/* y[t] = sum over k ascending of weight[t][k] * expert sel[t][k] of x[t] */
	void (*experts)(struct backend *b, struct mat y, struct mat x, const struct experts *e, struct mat sel, struct mat weight);
	/* recurrent: y may not alias an input */
	/* Causal convolution of each column with its K taps, the last of them on the row itself: y = a(sum + bias).
	 * w: f32 [cols][K] in one row; state: K - 1 rows of x per slot. */
	void (*conv)(struct backend *b, struct mat y, struct mat x, const struct mat *w, const struct mat *bias, struct mat state,
	             enum act a, const struct seqs *s);
	/* x, y: [n_head * dim]; bm, c: [n_group * n_state]; dt: [n_head]; state: n_head * dim * n_state per slot */
	void (*ssm)(struct backend *b, struct mat y, struct mat x, struct mat bm, struct mat c, struct mat dt, const struct ssm *m,
	            struct mat state, const struct seqs *s);
	/* alpha, beta: [n_v]; state: n_v * dim_k * dim_v per slot */
	void (*delta)(struct backend *b, struct mat y, struct mat q, struct mat k, struct mat v, struct mat alpha, struct mat beta,
	              const struct delta *m, struct mat state, const struct seqs *s);
};
struct backend {             /* first member of ref/cpu/cuda/metal structs */
	const struct backend_ops *op;
	const char *name;
	bool host;               /* bases are plain host pointers: any caller's memory can be an op's output */
	bool ordered;            /* linear takes weights with an order of columns */
};

/* Devices.  Each fills *out or fails with LM_EUNSUPPORTED ("... not supported in this build") / LM_EDEVICE. */
int backend_ref(struct backend **out, struct lm_err *err);             /* slow, obvious, double accumulators */
int backend_cpu(struct backend **out, int n_threads, const char *level /* LMRUN_CPU or NULL */, struct lm_err *err);
void backend_free(struct backend *b);                                  /* NULL is fine */
