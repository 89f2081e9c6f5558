/* derive.c - derivations that every container needs.  What lies in a mapping stays there where rows stay whole. */
#include "format/derive.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 1 << 18 };                    /* bytes of source rows held at a time */

struct part { struct derived d; int64_t first, n; };
struct order { struct derived d; const int32_t *row; int64_t n; };
struct shift { struct derived d; float add; bool neg_exp; };
struct stack { struct derived d; int n; const struct tensor *part; };

static int no_memory(const struct tensor *t, struct lm_err *err)
{
	return lm_fail(err, LM_ENOMEM, "out of memory for %s", t->name);
}

/* out = rows x cols (a vector when n_dims is 1) of `type`, made by d. */
static int shape(struct tensor *out, const struct tensor *from, enum dtype type, int n_dims, int64_t rows,
		 int64_t cols, struct lm_err *err)
{
	int64_t bytes = quant_row_bytes(type, cols);
	uint64_t size;

	if (bytes < 1 || rows < 1 || !lm_mul_u64((uint64_t)bytes, (uint64_t)rows, &size))
		return lm_fail(err, LM_EFORMAT, "%s: %lldx%lld elements cannot be taken from it", from->name,
			       (long long)rows, (long long)cols);
	*out = (struct tensor){
		.name = from->name, .type = type, .n_dims = n_dims, .dim = { rows, cols, 1, 1 }, .size = size
	};
	if (n_dims == 1) out->dim[0] = cols, out->dim[1] = 1;
	return 0;
}

static bool in_range(int64_t first, int64_t n, int64_t all) { return n > 0 && first >= 0 && first <= all - n; }

/* Are single elements of t addressable? */
static bool plain(enum dtype t) { return quant_info(t) && quant_info(t)->block_elems == 1; }

/* ---- ranges and orders of rows; the elements of a vector are its rows ----------------------------------- */
static int make_part(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	return tensor_rows(d->from, ((const struct part *)d)->first + row, n, dst, err);
}

/* A vector whose elements lie elsewhere: made whole, then picked from. */
static int whole_vector(const struct tensor *t, char **out, struct lm_err *err)
{
	*out = lm_malloc((size_t)t->size);
	if (!*out) return no_memory(t, err);
	int rc = tensor_rows(t, 0, 1, *out, err);
	if (rc) lm_free(*out);
	return rc;
}

static int make_part_vector(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct part *p = (const struct part *)d;
	size_t bytes = (size_t)quant_info(d->from->type)->block_bytes;
	char *all;
	int rc;

	(void)row;
	if (!n) return 0;
	if ((rc = whole_vector(d->from, &all, err))) return rc;
	memcpy(dst, all + (size_t)p->first * bytes, (size_t)p->n * bytes);
	lm_free(all);
	return 0;
}

static int set_part(struct lm_arena *a, struct tensor *out, derive_fn *make, const struct tensor *from, int64_t first,
		    int64_t n, struct lm_err *err)
{
	struct part *p = lm_new(a, struct part, 1);

	if (!p) return no_memory(from, err);
	*p = (struct part){ { make, from }, first, n };
	out->how = &p->d;
	return 0;
}

int derive_rows(struct lm_arena *a, struct tensor *out, const struct tensor *from, int64_t first, int64_t n,
		struct lm_err *err)
{
	bool vec = from->n_dims == 1;
	int64_t unit;
	int rc;

	if (from->n_dims > 2 || (vec && !plain(from->type)) || !in_range(first, n, from->dim[0]))
		return lm_fail(err, LM_EFORMAT, "%s: no %lld rows from row %lld on in it", from->name, (long long)n,
			       (long long)first);
	if ((rc = shape(out, from, from->type, from->n_dims, vec ? 1 : n, vec ? n : from->dim[1], err))) return rc;
	unit = vec ? quant_info(from->type)->block_bytes : quant_row_bytes(from->type, from->dim[1]);
	if (from->data) {
		out->data = (const char *)from->data + first * unit;
		return 0;
	}
	return set_part(a, out, vec ? make_part_vector : make_part, from, first, n, err);
}

static int make_order(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct order *o = (const struct order *)d;
	int64_t bytes = quant_row_bytes(d->from->type, d->from->dim[1]);
	int rc;

	for (int64_t i = 0, run; i < n; i += run) {      /* neighbours go together */
		for (run = 1; i + run < n && o->row[row + i + run] == o->row[row + i] + run;) run++;
		if ((rc = tensor_rows(d->from, o->row[row + i], run, (char *)dst + i * bytes, err))) return rc;
	}
	return 0;
}

static int make_order_vector(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct order *o = (const struct order *)d;
	size_t bytes = (size_t)quant_info(d->from->type)->block_bytes;
	char *all;
	int rc;

	(void)row;
	if (!n) return 0;
	if ((rc = whole_vector(d->from, &all, err))) return rc;
	for (int64_t i = 0; i < o->n; i++)
		memcpy((char *)dst + (size_t)i * bytes, all + (size_t)o->row[i] * bytes, bytes);
	lm_free(all);
	return 0;
}

int derive_order(struct lm_arena *a, struct tensor *out, const struct tensor *from, const int32_t *order, int64_t n,
                 struct lm_err *err)
{
	bool vec = from->n_dims == 1;
	int rc;

	if (from->n_dims > 2 || (vec && !plain(from->type)))
		return lm_fail(err, LM_EFORMAT, "%s: its rows cannot be put in another order", from->name);
	for (int64_t i = 0; i < n; i++)
		if (order[i] < 0 || order[i] >= from->dim[0])
			return lm_fail(err, LM_EFORMAT, "%s: %lld rows, expected %lld", from->name,
				       (long long)from->dim[0], (long long)n);
	if ((rc = shape(out, from, from->type, from->n_dims, vec ? 1 : n, vec ? n : from->dim[1], err))) return rc;
	struct order *o = lm_new(a, struct order, 1);
	if (!o) return no_memory(from, err);
	*o = (struct order){ { vec ? make_order_vector : make_order, from }, order, n };
	out->how = &o->d;
	return 0;
}

int derive_slice(struct lm_arena *a, struct tensor *out, const struct tensor *from, int64_t i, struct lm_err *err)
{
	int rc;

	if (from->n_dims != 3 || !in_range(i, 1, from->dim[0]))
		return lm_fail(err, LM_EFORMAT, "%s: no slice %lld in it", from->name, (long long)i);
	if ((rc = shape(out, from, from->type, 2, from->dim[1], from->dim[2], err))) return rc;
	if (from->data) {
		out->data = (const char *)from->data + (uint64_t)i * out->size;
		return 0;
	}
	return set_part(a, out, make_part, from, i * from->dim[1], from->dim[1], err);
}

static int make_stack(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct stack *s = (const struct stack *)d;
	int64_t bytes = quant_row_bytes(s->part->type, s->part->dim[s->part->n_dims - 1]);
	char *to = dst;
	int rc;

	for (int i = 0; i < s->n && n > 0; i++) {
		int64_t rows = tensor_n_rows(&s->part[i]), k = rows - row < n ? rows - row : n;
		if (k <= 0) {
			row -= rows;
			continue;
		}
		if ((rc = tensor_rows(&s->part[i], row, k, to, err))) return rc;
		to += k * bytes;
		n -= k;
		row = 0;
	}
	return 0;
}

int derive_stack(struct lm_arena *a, struct tensor *out, const struct tensor *const *part, int n, struct lm_err *err)
{
	const struct tensor *first = part[0];
	int64_t cols = first->dim[first->n_dims - 1], rows = 0;
	struct stack *s = lm_new(a, struct stack, 1);
	struct tensor *copy = lm_new(a, struct tensor, n);
	int rc;

	if (!s || !copy) return no_memory(first, err);
	for (int i = 0; i < n; i++) {
		const struct tensor *t = copy + i;
		copy[i] = *part[i];
		if (t->type != first->type || t->n_dims > 2 || t->dim[t->n_dims - 1] != cols ||
		    __builtin_add_overflow(rows, tensor_n_rows(t), &rows))
			return lm_fail(err, LM_EFORMAT, "%s: type or width differs from %s, to which it belongs",
				       t->name, first->name);
	}
	if ((rc = shape(out, first, first->type, 2, rows, cols, err))) return rc;
	*s = (struct stack){ { make_stack, first }, n, copy };
	out->how = &s->d;
	return 0;
}

/* ---- columns to rows -------------------------------------------------------------------------------------- */
/* Rows [r, r+n) of t as elements of `type`, which is t's own or f32. */
static int elements(const struct tensor *t, int64_t r, int64_t n, enum dtype type, char *tmp, char *out,
		    struct lm_err *err)
{
	int64_t in = quant_row_bytes(t->type, t->dim[1]);
	int rc = tensor_rows(t, r, n, type == t->type ? out : tmp, err);

	for (int64_t i = 0; !rc && type != t->type && i < n; i++)
		quant_info(t->type)->decode((float *)(void *)(out + i * t->dim[1] * 4), tmp + i * in, t->dim[1]);
	return rc;
}

static int make_transpose(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct tensor *t = d->from;
	enum dtype type = plain(t->type) ? t->type : DT_F32;
	int64_t size = quant_info(type)->block_bytes, rows = t->dim[0], cols = t->dim[1];
	int64_t in = quant_row_bytes(t->type, cols), step = CHUNK / (cols * size) > 0 ? CHUNK / (cols * size) : 1;
	bool direct = t->data && type == t->type;
	char *out = direct ? NULL : lm_malloc((size_t)(step * cols * size));
	char *tmp = type == t->type ? NULL : lm_malloc((size_t)(step * in));
	int rc = (!direct && !out) || (type != t->type && !tmp) ? no_memory(t, err) : 0;

	for (int64_t r = 0; !rc && r < rows; r += step) {
		int64_t k = rows - r < step ? rows - r : step;
		const char *src = direct ? (const char *)t->data + r * in : out;
		if (!direct && (rc = elements(t, r, k, type, tmp, out, err))) break;
		for (int64_t j = 0; j < n; j++)
			for (int64_t i = 0; i < k; i++)
				memcpy((char *)dst + (j * rows + r + i) * size, src + (i * cols + row + j) * size,
				       (size_t)size);
	}
	lm_free(out);
	lm_free(tmp);
	return rc;
}

int derive_transpose(struct lm_arena *a, struct tensor *out, const struct tensor *from, struct lm_err *err)
{
	int rc;

	if (from->n_dims != 2 || (!plain(from->type) && !(quant_info(from->type) && quant_info(from->type)->decode)))
		return lm_fail(err, LM_EFORMAT, "%s: expected a matrix", from->name);
	if ((rc = shape(out, from, plain(from->type) ? from->type : DT_F32, 2, from->dim[1], from->dim[0], err)))
		return rc;
	struct derived *d = lm_new(a, struct derived, 1);
	if (!d) return no_memory(from, err);
	*d = (struct derived){ make_transpose, from };
	out->how = d;
	return 0;
}

/* ---- values ------------------------------------------------------------------------------------------------ */
static int make_shift(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct shift *s = (const struct shift *)d;
	const struct tensor *t = d->from;
	int64_t cols = t->dim[t->n_dims - 1], in = quant_row_bytes(t->type, cols);
	char *tmp = lm_malloc((size_t)in);
	float *f = lm_malloc((size_t)cols * sizeof *f);
	int rc = tmp && f ? 0 : no_memory(t, err);

	for (int64_t i = 0; !rc && i < n; i++) {
		if ((rc = tensor_rows(t, row + i, 1, tmp, err))) break;
		quant_info(t->type)->decode(f, tmp, cols);
		for (int64_t k = 0; k < cols; k++) f[k] = s->neg_exp ? (float)-exp((double)f[k]) : f[k] + s->add;
		memcpy((char *)dst + i * cols * 4, f, (size_t)cols * 4);
	}
	lm_free(tmp);
	lm_free(f);
	return rc;
}

static int values(struct lm_arena *a, struct tensor *out, const struct tensor *from, struct shift how, struct lm_err *err)
{
	int64_t cols = from->dim[from->n_dims - 1];
	int rc;

	if (from->n_dims > 2 || (from->type != DT_F32 && from->type != DT_F16 && from->type != DT_BF16))
		return lm_fail(err, LM_EUNSUPPORTED, "%s: type %s, expected a vector or matrix of f32, f16 or bf16",
			       from->name, quant_info(from->type) ? quant_info(from->type)->name : "unknown");
	if ((rc = shape(out, from, DT_F32, from->n_dims, tensor_n_rows(from), cols, err))) return rc;
	struct shift *s = lm_new(a, struct shift, 1);
	if (!s) return no_memory(from, err);
	*s = how;
	s->d = (struct derived){ make_shift, from };
	out->how = &s->d;
	return 0;
}

int derive_add(struct lm_arena *a, struct tensor *out, const struct tensor *from, float add, struct lm_err *err)
{
	return values(a, out, from, (struct shift){ .add = add }, err);
}

int derive_neg_exp(struct lm_arena *a, struct tensor *out, const struct tensor *from, struct lm_err *err)
{
	return values(a, out, from, (struct shift){ .neg_exp = true }, err);
}
