/* model.h - weights bound to an architecture, ready to run on one backend; and per-sequence state.
 * A model is read-only after load.  A state belongs to one thread. */
#pragma once
#include "format/file.h"
#include "kernels/ops.h"

struct model; struct state;

/* What the rest of the program may ask about a model. */
struct model_info {
	const char *arch;            /* general.architecture */
	bool untested;               /* no golden vouches for this architecture row yet */
	int n_embd, n_vocab, n_layer, n_ctx_train;
	/* LongRoPE: a sequence of more positions is computed with batch.extended from its first one on; 0: there is no such
	 * limit.  What was computed without is of no use then. */
	int n_ctx_short;
	int n_pos;                   /* learned positions: there is none beyond; 0: no such limit */
	uint64_t n_params, n_bytes;  /* elements and bytes of all bound tensors */
	uint64_t mapped_bytes;       /* of n_bytes: read where the file is mapped; without embeddings that are no head */
	uint64_t made_bytes;         /* of n_bytes: in memory of our own, not where the file is mapped */
	uint64_t token_bytes;        /* weight bytes read for a generated token: head but no embedding */
	uint64_t token_macs;         /* multiply-adds per prompt token without the head */
	bool recurrent;              /* sequences have a state besides their KV blocks: they need a slot, and cannot be cut
	                                back or begun with cached blocks, only computed from position 0 */
	uint64_t slot_bytes;         /* of that state, per sequence */
	bool f32_weights;            /* every matrix is F32: score keeps K/V in f32 then */
};

/* What becomes of matrices that the file holds in f32, f16 or bf16 (or that a layout unpacks to them). */
struct model_opt {
	enum dtype precision;        /* f32, f16, bf16; DT_COUNT: as in the file */
	enum dtype quantize;         /* the layers' matrices are encoded in this type; DT_COUNT: not */
	int n_threads;               /* for making tensors; 0: all */
	bool dry;                    /* tensors that would be made get their memory, untouched: the model cannot run */
};
/* How the rows of a text become its vector or its classes, as the files say. */
enum pooling { POOL_NONE, POOL_MEAN, POOL_CLS, POOL_LAST, POOL_RANK, POOL_MAX, POOL_MEAN_SQRT, POOL_WEIGHTED, POOL_COUNT };
enum head_act { HEAD_IDENTITY, HEAD_TANH, HEAD_RELU, HEAD_GELU };
struct model_heads {
	enum pooling pool;           /* of vectors; POOL_NONE: the files say nothing */
	enum pooling cls_pool;       /* of what the classifier reads */
	bool normalize, normalize_said;
	bool causal;                 /* false: all rows of a sequence must be in one pass, from position 0 on */
	bool multi_label;            /* the classes do not exclude one another */
	int n_dim;                   /* of a vector, after the dense layers */
	int n_label;                 /* 0: no classifier */
	int n_type;                  /* token types; 0: none */
	int max_tokens;              /* longest text; 0: the context */
};
/* The backend and the file must outlive the model.  Every tensor of the file is bound or on the ignore list,
 * and every shape checked; else LM_EFORMAT/LM_EUNSUPPORTED naming tensor, expectation and finding.  Mapped tensors are
 * used where they lie; derived, converted and quantised ones are made in parallel, one after the other.  o NULL: as in
 * the file. */
int model_load(struct model **out, const struct file *f, struct backend *be, const struct model_opt *o,
	       struct lm_err *err);
void model_free(struct model *m);
const struct model_info *model_info(const struct model *m);
const struct model_heads *model_heads(const struct model *m);
/* Name of architecture row i, in table order; NULL past the last. */
const char *model_arch(int i);

/* Memory of the sequences: a flat array of KV blocks per layer, the recurrent state of n_slots sequences, and activations for
 * n_batch rows.  Which block and slot holds what is the caller's business (engine/kv.c): the model only reads tables. */
int state_new(struct state **out, const struct model *m, int n_blocks, int n_slots, int n_batch, enum dtype kv,
	      struct lm_err *err);
void state_free(struct state *s);
/* What state_new would take. */
uint64_t state_bytes(const struct model *m, int n_blocks, int n_slots, int n_batch, enum dtype kv);

struct batch {                   /* n rows to push through the network, any mix of sequences */
	struct seqs at;              /* n = at.n_rows; rows of one sequence adjacent, positions ascending */
	const uint8_t *want;         /* [n] 1 = this row's output is needed */
	const uint8_t *extended;     /* [n_seqs] this sequence is longer than n_ctx_short; NULL: none is */
	/* [n_seqs] the weight of each adapter (model/lora.h) for the sequence; NULL, or an entry NULL: those given at load.
	 * A sequence's result does not depend on the weights of others. */
	const float *const *lora;
	bool hidden;                 /* the output is the row after the last norm, [n_embd], instead of its logits */
	const int32_t *type;         /* [n] token types, where the model has them; NULL: all 0 */
};
/* One pass over at most n_batch rows.  out: [number of `want` rows][n_vocab] f32 logits, in row order.
 * LM_EINVAL for a token id or position that the model does not have (nothing is computed then), LM_EDEVICE
 * when a device failed. */
int model_forward(const struct model *m, struct state *s, const struct batch *b, float *out,
		  struct lm_err *err);
/* n pooled rows [n][n_embd] to vectors [n][n_dim] through the dense layers, or to logits [n][n_label] through the classifier. */
int model_vectors(const struct model *m, struct state *s, const float *x, int n, float *out, struct lm_err *err);
int model_classes(const struct model *m, struct state *s, const float *x, int n, float *out, struct lm_err *err);
/* Debug tap: called after every mixer, ffn and layer when set (tests, tools). */
typedef void model_tap(void *ud, const char *name, int il, const struct mat *x);
void state_tap(struct state *s, model_tap *tap, void *ud);
