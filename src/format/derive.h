/* derive.h - tensors that do not lie in the file as they are presented: layouts unpacked, rows regrouped, small values
 * recomputed.  A derivation makes rows, any of them, on any thread; derivations stack (a row range of an unpacked
 * matrix), so each does one thing. */
#pragma once
#include "format/file.h"

/* Writes rows [row, row+n) to dst, in the type of the tensor that holds `d`.  Touches nothing but dst. */
typedef int derive_fn(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err);
struct derived {                     /* first member of what a derivation needs to know; lives in the file's arena */
	derive_fn *rows;
	const struct tensor *from;   /* the tensor it is made of; of a layout: only name, data and size of its largest part */
};

/* The weights of t with their columns sorted, in a type that their own order does not allow (layout_int.c): column i of the
 * result is column (*order)[i] of t.  NULL: there is no such form. */
const struct tensor *tensor_sorted(const struct tensor *t, const int32_t **order);

/* ---- the ones every container needs (derive.c).  Each fills *out from *from, which must live as long; the name is
 * the caller's.  LM_ENOMEM, or LM_EFORMAT when the shape does not allow it. */
/* Rows [first, first+n) of a tensor of one or two dimensions.  Mapped tensors stay mapped. */
int derive_rows(struct lm_arena *a, struct tensor *out, const struct tensor *from, int64_t first, int64_t n, struct lm_err *err);
/* Row i is row order[i] of `from`; the array lives as long as the file. */
int derive_order(struct lm_arena *a, struct tensor *out, const struct tensor *from, const int32_t *order, int64_t n,
                 struct lm_err *err);
/* Columns become rows; the type becomes that of the elements (f32, f16, bf16, i8...). */
int derive_transpose(struct lm_arena *a, struct tensor *out, const struct tensor *from, struct lm_err *err);
/* A float vector or matrix as f32: x + add, or -exp(x). */
int derive_add(struct lm_arena *a, struct tensor *out, const struct tensor *from, float add, struct lm_err *err);
int derive_neg_exp(struct lm_arena *a, struct tensor *out, const struct tensor *from, struct lm_err *err);
/* Slice i of the first of three dimensions: a matrix. */
int derive_slice(struct lm_arena *a, struct tensor *out, const struct tensor *from, int64_t i, struct lm_err *err);
/* Matrices (or vectors) of one type and width, one under the other. */
int derive_stack(struct lm_arena *a, struct tensor *out, const struct tensor *const *part, int n, struct lm_err *err);
