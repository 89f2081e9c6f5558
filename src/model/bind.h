/* bind.h - private to the binder (bind*.c): slots, and what a binding pass carries along. */
#pragma once
#include "model/layers.h"

/* Dimensions of a slot, evaluated per layer. */
enum dim {
	ONE, EMBD, VOCAB, CTX, Q, K, V, O, QKV, HEAD, FF, FF2, ROPE, HEADS,
	EXPERTS, FF_SH,                                   /* a router's rows: its matrix stays as the file has it */
	MLA_Q, MLA_QA, MLA_C, MLA_KV, MLA_KVB, MLA_O,
	TYPES, LABELS, DENSE_2, DENSE_3, DENSE_4, DENSE_5, /* token types; heads of models that embed or classify */
	R_IN, R_CONV, R_TAPS, R_INNER, R_DT, R_X, R_RANK, R_RATES, R_HEAD     /* recurrent: struct layer.r */
};

struct slot {
	const char *name, *part;          /* "attn_q", "weight"; part NULL: the name ends there */
	size_t at;                        /* offset of the mat in struct layer or struct model */
	enum dim rows, cols;              /* rows ONE: a vector, made f32 */
	enum dim alt;                     /* also accepted as rows (length of a vector); ONE: nothing else */
	bool required;
};
#define L(field) offsetof(struct layer, field)
#define M(field) offsetof(struct model, field)

struct binder {
	struct model *m;
	const struct file *f;
	const struct alias *alias;
	int n_alias;
	const struct model_opt *o;
	const struct tensor **bound;      /* [file_count] */
	int n_bound;
	const struct tensor *odd;         /* the first of n_odd matrices whose rows are no whole blocks of o->quantize */
	int n_odd;
	struct lm_err *err;
};

int bind_dim(const struct model *m, const struct layer *l, enum dim d);
/* Slots of layer il, -1: of the model. */
int bind_slots(struct binder *b, const struct slot *s, size_t n, int il);
/* A tensor of rows by cols, all dimensions but the last counted as rows, for use as a matrix. */
int bind_matrix(struct binder *b, struct mat *out, const struct tensor *t, int rows, int cols, bool layer);
/* Small: f32 copies of rows x cols elements, wherever the file put them. */
int bind_floats(struct binder *b, struct mat *out, const struct tensor *t, int rows, int cols);
/* Marks t as bound to `out`; used/of: the share of it that a token reads. */
void bind_count(struct binder *b, const struct tensor *t, const struct mat *out, bool layer, int used, int of);
/* A fused matrix of n_head groups of rows, each group n_part parts: all rows of the first part, then of the second, ..., so that
 * each part is a view. */
int bind_parts(struct binder *b, struct mat *out, const struct tensor *t, int n_head, const int *part, int n_part);
/* "%s: 4x3, expected 4x2". */
int bind_misshapen(struct binder *b, const struct tensor *t, const char *expected);
/* Tensor "blk.IL.NAME", NULL when absent. */
const struct tensor *bind_find(const struct binder *b, int il, const char *name);

int bind_moe(struct binder *b, int il);           /* bind_moe.c */
int bind_mla(struct binder *b, int il);           /* bind_mla.c */
int bind_rec(struct binder *b, int il);           /* bind_rec.c */
