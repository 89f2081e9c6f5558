/* layouts.h - what the layouts of pre-quantised checkpoints share; inside src/format only.
 * A layout walks h->raw for the groups it knows (P.qweight, P.scales, ...), checks all that shows without reading
 * weights, marks what it takes as used and adds one tensor per group, under the name that the plain weight would have.
 * Rows are made on demand, in the smallest type that holds the layout's formula to the last bit (docs/decisions.md). */
#pragma once
#include "format/hf.h"

typedef int layout_fn(struct hf *h, const json_t *config /* quantization_config */, struct lm_err *err);
layout_fn layout_bnb, layout_mxfp4, layout_fp8, layout_modelopt, layout_ct, layout_awq, layout_gptq;

/* Bytes of `name` before `suffix`; 0 when it does not end so, or nothing precedes. */
size_t lay_base(const char *name, const char *suffix);
/* The tensor called r->name[0..base) + suffix; NULL if absent. */
struct raw *lay_peer(const struct hf *h, const struct raw *r, size_t base, const char *suffix);
/* The same, which must be there: "P.qweight: its P.scales is missing". */
int lay_need(const struct hf *h, const struct raw *r, size_t base, const char *suffix, struct raw **out, struct lm_err *err);
/* Marks every tensor as used whose name ends in one of these: scales of activations and of the cache. */
void lay_drop(const struct hf *h, const char *const *suffix, int n);

enum { LAY_FLOAT = 1 << RAW_F32 | 1 << RAW_F16 | 1 << RAW_BF16, LAY_E8M0 = 1 << RAW_U8 | 1 << RAW_E8M0 };
/* r has one of `types` (bits 1 << enum raw_type) and these dimensions. */
int lay_check(const struct raw *r, unsigned types, int n_dims, const int64_t *dim, struct lm_err *err);
#define lay_is(r, types, err, ...)                                                                              \
	lay_check(r, types, (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ }, err)
/* "8x16" */
const char *lay_dims(char *buf, size_t size, int n_dims, const int64_t *dim);
/* How many elements; every dimension is >= 0 and the product was checked by the reader. */
int64_t lay_count(const struct raw *r);
/* Element i as f32, of LAY_FLOAT or LAY_E8M0 (a power of two; 255 is NaN) or F8_E4M3. */
float lay_f32(const struct raw *r, int64_t i);
/* A scale that is no number would make weights of nonsense: LM_EFORMAT names element i. */
int lay_not_finite(const char *name, int64_t i, float v, struct lm_err *err);
static inline uint32_t lay_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Adds the tensor r->name[0..base) + suffix, made by *d mostly of r (whose first member is struct derived; `bytes` of it are copied
 * into the arena).  LM_EFORMAT when a dimension is 0. */
int lay_add(struct hf *h, const struct raw *r, size_t base, const char *suffix, enum dtype type, int n_dims,
            const int64_t *dim, const void *d, size_t bytes, struct lm_err *err);

/* "name" of config: an integer in [lo, hi], or `otherwise` when it is absent; a sentence when it is something else. */
int lay_int(const json_t *config, const char *name, int64_t lo, int64_t hi, int64_t otherwise, int64_t *out,
            struct lm_err *err);

/* ---- integers under scales (layout_int.c): what AWQ, GPTQ and compressed-tensors have in common ------------
 * w[r][c] = (q[r][c] - zero[r][g]) * scale[r][g], g the group of column c; q and zero as unsigned fields of `bits`. */
struct ints {
	struct derived d;
	int bits;
	int64_t rows, cols, group, groups;
	struct raw q, scale, zero;           /* copies: the list of raw tensors is freed before rows are made */
	const int32_t *g_idx;                /* group of each column; NULL: column c is of group c / group */
	int64_t scale_row, scale_group;      /* strides of `scale`, in elements */
	bool symmetric;                      /* every zero is 2^(bits-1) */
	/* Either, or both: the checkpoint's fields of rows [row, row+n).
	 * out[i][k], 32 a row: of columns [col, col+m); col is a multiple of 32, m <= 32.  NULL: by column */
	void (*fetch)(const struct ints *w, int64_t row, int64_t n, int64_t col, int m, uint8_t *out);
	/* out[i]: of one column.  NULL: never asked for, there is no order */
	void (*column)(const struct ints *w, int64_t row, int64_t n, int64_t col, uint8_t *out);
	int (*zero_at)(const struct ints *w, int64_t row, int64_t g);    /* not called when symmetric */
	const int32_t *order;                /* column i is the checkpoint's column order[i]; NULL: i */
	const struct tensor *sorted;         /* the same with an order; NULL: none */
	enum dtype type;                     /* set by ints_add */
	const char *name;                    /* of the scales, set by ints_add */
};
/* The group of each column, as the checkpoint lists them: checked, and forgotten when it is column / group. */
int ints_order(struct hf *h, struct ints *w, const struct raw *g_idx, struct lm_err *err);
/* Are all `rows` fields in each of `n` runs of packed words, `step` bytes apart, equal to `value`? */
bool ints_all(const uint8_t *p, int64_t n, int64_t step, int64_t rows, int bits, uint32_t value);
int ints_add(struct hf *h, const struct raw *r, size_t base, struct ints *w, struct lm_err *err);
/* Field i of a little-endian stream of `bits` each whose 32-bit words lie `stride` bytes apart. */
uint32_t ints_field(const uint8_t *p, int64_t stride, int64_t i, int bits);
/* fetch for fields packed along the columns of a row, resp. of words that hold one row's (GPTQ). */
void ints_fetch(const struct ints *w, const uint8_t *row0, int64_t row_step, int64_t word_step, int64_t n, int64_t col,
                int m, uint8_t *out);
/* column, for the same two. */
void ints_column(const struct ints *w, const uint8_t *row0, int64_t row_step, int64_t word_step, int64_t n, int64_t col,
                 uint8_t *out);

/* ---- 8-bit floats under scales (layout_fp8.c), also of compressed-tensors and ModelOpt ---------------------
 * w is F8 [N][K] or [E][N][K]; scale has one element, one per row ([N] or [N][1]) or one per block. */
int f8_add(struct hf *h, struct raw *w, size_t base, struct raw *scale, int64_t block_rows, int64_t block_cols, struct lm_err *err);
/* ---- 4-bit floats (layout_mx.c) ----------------------------------------------------------------------------
 * q: bytes of [..][K/2], low nibble first.  mx: E8M0 scales per 32.  nv: E4M3 scales per 16 and an f32 for all, which
 * divides them (compressed-tensors) or multiplies. */
int mx4_add(struct hf *h, struct raw *q, size_t base, const char *suffix, struct raw *scale, int n_dims, const int64_t *dim,
            struct lm_err *err);
int nv4_add(struct hf *h, struct raw *q, size_t base, struct raw *scale, struct raw *global, bool divide, struct lm_err *err);
