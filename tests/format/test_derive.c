/* derive.c: each derivation against its definition element by element, on tensors that lie in memory and on derived ones, in
 * one piece and row by row. */
#include "format/derive.h"
#include "test.h"
#include <math.h>

static struct lm_arena *arena;

/* rows x cols values 0, 1, 2, ... in type t; a vector when rows is 0. */
static struct tensor numbers(enum dtype t, int64_t rows, int64_t cols)
{
	int64_t r = rows ? rows : 1, bytes = quant_row_bytes(t, cols);
	float *f = lm_new(arena, float, cols);
	char *p = lm_alloc(arena, (size_t)(r * bytes) + 1, 1, 64);

	p++;                                                   /* files do not align */
	for (int64_t i = 0; i < r; i++) {
		for (int64_t j = 0; j < cols; j++) f[j] = (float)(i * cols + j) / (t == DT_Q8_0 ? 100 : 1);
		quant_info(t)->encode(p + i * bytes, f, NULL, cols);
	}
	struct tensor out = { .name = "t", .type = t, .n_dims = rows ? 2 : 1, .dim = { r, cols, 1, 1 }, .data = p,
		              .size = (uint64_t)(r * bytes) };
	if (!rows) out.dim[0] = cols, out.dim[1] = 1;
	return out;
}

/* The same tensor with no bytes of its own. */
static int pass_on(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	return tensor_rows(d->from, row, n, dst, err);
}
static struct tensor far_away(const struct tensor *t)
{
	struct derived *d = lm_new(arena, struct derived, 1);
	struct tensor *from = lm_new(arena, struct tensor, 1), out = *t;
	*from = *t;
	*d = (struct derived){ pass_on, from };
	out.data = NULL;
	out.how = d;
	return out;
}

/* All rows of t as f32, checked to be the same whole and one by one. */
static const float *read_all(const struct tensor *t)
{
	int64_t rows = tensor_n_rows(t), cols = t->dim[t->n_dims - 1], bytes = quant_row_bytes(t->type, cols);
	char *whole = lm_alloc(arena, (size_t)(rows * bytes), 1, 64), *one = lm_alloc(arena, (size_t)bytes, 1, 64);
	float *f = lm_new(arena, float, rows * cols);
	struct lm_err e = { 0 };

	assert_int_equal(t->size, rows * bytes);
	assert_ok(tensor_rows(t, 0, rows, whole, &e), e);
	for (int64_t r = 0; r < rows; r++) {
		assert_ok(tensor_rows(t, r, 1, one, &e), e);
		assert_memory_equal(one, whole + r * bytes, bytes);
		quant_info(t->type)->decode(f + r * cols, one, cols);
	}
	assert_ok(tensor_rows(t, rows, 0, one, &e), e);
	assert_int_equal(tensor_rows(t, rows, 1, one, &e), LM_EINVAL);
	return f;
}

static const enum dtype types[] = { DT_F32, DT_F16, DT_BF16, DT_Q8_0 };
static void begin(void) { arena = lm_arena_new(1 << 16); }
static void end(void) { lm_arena_free(arena); }
#define EACH(t, far, rows, cols)                                                         \
	for (int far = 0; far < 2; far++)                                                \
		for (int k_ = 0; k_ < 4; k_++)                                           \
			for (struct tensor base_ = numbers(types[k_], rows, cols), t = far ? far_away(&base_) : base_; \
			     t.name; t.name = NULL)

LM_TEST(derive_row_ranges)
{
	struct lm_err e = { 0 };
	begin();
	EACH(t, far, 7, 64) {
		struct tensor a, b;
		const float *all = read_all(&t), *got;
		assert_ok(derive_rows(arena, &a, &t, 2, 4, &e), e);
		assert_true(!a.data == (far == 1));
		got = read_all(&a);
		assert_memory_equal(got, all + 2 * 64, 4 * 64 * 4);
		assert_ok(derive_rows(arena, &b, &a, 1, 2, &e), e);
		assert_memory_equal(read_all(&b), all + 3 * 64, 2 * 64 * 4);
		assert_int_equal(derive_rows(arena, &b, &a, 1, 4, &e), LM_EFORMAT);
		assert_int_equal(derive_rows(arena, &b, &a, -1, 2, &e), LM_EFORMAT);
		assert_int_equal(derive_rows(arena, &b, &a, INT64_MAX, 2, &e), LM_EFORMAT);
		assert_int_equal(derive_rows(arena, &b, &a, 0, 0, &e), LM_EFORMAT);
	}
	end();
}

LM_TEST(derive_vectors)
{
	static const int32_t order[] = { 3, 2, 9, 0 };
	struct lm_err e = { 0 };
	begin();
	EACH(t, far, 0, 32) {
		struct tensor a, b;
		if (t.type == DT_Q8_0) {
			assert_int_equal(derive_rows(arena, &a, &t, 5, 10, &e), LM_EFORMAT);
			continue;
		}
		assert_ok(derive_rows(arena, &a, &t, 5, 10, &e), e);
		for (int i = 0; i < 10; i++) assert_true(read_all(&a)[i] == 5 + i);
		assert_int_equal(a.n_dims, 1);
		assert_int_equal(a.dim[0], 10);
		assert_ok(derive_order(arena, &b, &a, order, 4, &e), e);
		for (int i = 0; i < 4; i++) assert_true(read_all(&b)[i] == 5 + order[i]);
		assert_int_equal(derive_order(arena, &b, &b, order, 4, &e), LM_EFORMAT);   /* no element 9 in it */
	}
	end();
}

LM_TEST(derive_row_orders)
{
	static const int32_t order[] = { 4, 5, 6, 0, 2, 1, 1 };
	struct lm_err e = { 0 };
	begin();
	EACH(t, far, 7, 32) {
		struct tensor a, b;
		const float *all = read_all(&t);
		assert_ok(derive_order(arena, &a, &t, order, 7, &e), e);
		for (int r = 0; r < 7; r++) assert_memory_equal(read_all(&a) + r * 32, all + order[r] * 32, 32 * 4);
		assert_ok(derive_rows(arena, &b, &a, 2, 3, &e), e);
		for (int r = 0; r < 3; r++) assert_memory_equal(read_all(&b) + r * 32, all + order[2 + r] * 32, 32 * 4);
	}
	end();
}

LM_TEST(derive_transposes)
{
	struct lm_err e = { 0 };
	begin();
	EACH(t, far, 37, 64) {
		struct tensor a, b;
		const float *all = read_all(&t), *got;
		assert_ok(derive_transpose(arena, &a, &t, &e), e);
		assert_int_equal(a.type, t.type == DT_Q8_0 ? DT_F32 : t.type);
		got = read_all(&a);
		for (int i = 0; i < 37; i++)
			for (int j = 0; j < 64; j++) assert_true(got[j * 37 + i] == all[i * 64 + j]);
		assert_ok(derive_transpose(arena, &b, &a, &e), e);
		assert_memory_equal(read_all(&b), all, 37 * 64 * 4);
		assert_ok(derive_rows(arena, &b, &a, 10, 2, &e), e);
		assert_memory_equal(read_all(&b), got + 10 * 37, 2 * 37 * 4);
	}
	end();
}

/* More than a chunk of source rows at a time. */
LM_TEST(derive_transpose_large)
{
	struct lm_err e = { 0 };
	begin();
	struct tensor t = numbers(DT_F32, 3000, 96), u = far_away(&t), a, b;
	assert_ok(derive_transpose(arena, &a, &t, &e), e);
	assert_ok(derive_transpose(arena, &b, &u, &e), e);
	assert_memory_equal(read_all(&a), read_all(&b), t.size);
	assert_true(read_all(&a)[95 * 3000 + 2999] == 2999 * 96 + 95);
	end();
}

LM_TEST(derive_values)
{
	struct lm_err e = { 0 };
	begin();
	EACH(t, far, 3, 32) {
		struct tensor a, b, c;
		if (t.type == DT_Q8_0) {
			assert_int_equal(derive_add(arena, &a, &t, 1, &e), LM_EUNSUPPORTED);
			continue;
		}
		assert_ok(derive_add(arena, &a, &t, 1, &e), e);
		assert_int_equal(a.type, DT_F32);
		for (int i = 0; i < 96; i++) assert_true(read_all(&a)[i] == i + 1);
		assert_ok(derive_add(arena, &b, &a, -90, &e), e);
		assert_ok(derive_neg_exp(arena, &c, &b, &e), e);
		for (int i = 0; i < 96; i++) assert_true(fabs(read_all(&c)[i] / -exp(i - 89.0) - 1) < 1e-6);
	}
	end();
}

LM_TEST(derive_slices)
{
	struct lm_err e = { 0 };
	begin();
	EACH(t, far, 6, 32) {
		struct tensor cube = t, a, b;
		const float *all = read_all(&t);
		cube.n_dims = 3;
		cube.dim[0] = 3, cube.dim[1] = 2, cube.dim[2] = 32;
		assert_ok(derive_slice(arena, &a, &cube, 1, &e), e);
		assert_memory_equal(read_all(&a), all + 2 * 32, 2 * 32 * 4);
		assert_ok(derive_transpose(arena, &b, &a, &e), e);
		assert_true(read_all(&b)[2 * 5 + 1] == all[3 * 32 + 5]);
		assert_int_equal(derive_slice(arena, &a, &cube, 3, &e), LM_EFORMAT);
		assert_int_equal(derive_slice(arena, &a, &t, 0, &e), LM_EFORMAT);
	}
	end();
}

LM_TEST(derive_stacks)
{
	struct lm_err e = { 0 };
	begin();
	EACH(t, far, 5, 32) {
		struct tensor vec = numbers(t.type == DT_Q8_0 ? DT_F32 : t.type, 0, 32), a, b;
		const struct tensor *two[] = { &t, &t, &t }, *mixed[] = { &t, &vec };
		const float *all = read_all(&t);
		assert_ok(derive_stack(arena, &a, two, 3, &e), e);
		assert_int_equal(a.dim[0], 15);
		for (int k = 0; k < 3; k++) assert_memory_equal(read_all(&a) + k * 160, all, 160 * 4);
		assert_ok(derive_rows(arena, &b, &a, 3, 8, &e), e);
		assert_memory_equal(read_all(&b), all + 3 * 32, 2 * 32 * 4);
		if (t.type == DT_Q8_0) {
			assert_int_equal(derive_stack(arena, &a, mixed, 2, &e), LM_EFORMAT);
			continue;
		}
		assert_ok(derive_stack(arena, &a, mixed, 2, &e), e);
		assert_int_equal(a.dim[0], 6);
		assert_true(read_all(&a)[5 * 32 + 7] == 7);
	}
	end();
}
