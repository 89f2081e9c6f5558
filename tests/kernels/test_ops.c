/* test_ops.c - check_ops: every op of every backend this machine can run against kernels/ref.c, at 1, 7 and 64 rows
 * with odd tails, under the tolerance written beside the op; and the contract of bytes at the level of ops: threads,
 * rows at a time and instruction-set levels never change a bit. */
#include "rnd.h"
#include "test.h"
#include "kernels/cpu_backend.h"
#include "kernels/cpu_fast.h"
#include "base/cpu.h"
#include "kernels/kv.h"
#include "kernels/ops.h"
#include <math.h>

static uint32_t rng_state = 12345;
static float rnd(void) { return rnd_from(&rng_state); }

/* ---- backends under test ----------------------------------------------------------------------------------------- */
struct dev { struct backend *b; char name[64]; };
static struct dev devs[32];
static int n_devs;
static struct backend *ref;

static void open_all(void)
{
	struct lm_err e;
	if (ref) return;
	assert_ok(backend_ref(&ref, &e), e);
	for (int i = 0; i < n_cpu_levels; i++) {
		unsigned flags;
		if (cpu_flags(&flags, cpu_levels[i].name, NULL)) continue;
		for (int t = 1; t <= 3; t++) {
			struct dev *d = &devs[n_devs++];
			snprintf(d->name, sizeof d->name, "cpu %s, %d threads", cpu_levels[i].name, t);
			assert_ok(backend_cpu(&d->b, t, cpu_levels[i].name, &e), e);
		}
	}
	assert_true(n_devs >= 3);
}

static struct mat host(float *p, int rows, int cols)
{
	return (struct mat){ .base = p, .rows = rows, .cols = cols, .stride = (int64_t)cols * 4, .type = DT_F32 };
}
static float *floats(int n)
{
	float *p = malloc((size_t)n * sizeof *p);
	for (int i = 0; i < n; i++) p[i] = rnd();
	return p;
}
static struct seqs plain(int n, int32_t *buf)      /* one sequence, positions 0.. */
{
	for (int i = 0; i < n; i++) buf[i] = i;
	memset(buf + n, 0, (size_t)n * 4);
	return (struct seqs){ .n_rows = n, .n_seqs = 1, .token = buf, .pos = buf, .seq = buf + n };
}

/* Largest |a-b| against the reference's root mean square. */
static double worst(const float *a, const float *b, int n)
{
	double max = 0, sq = 0;
	for (int i = 0; i < n; i++) {
		double d = fabs((double)a[i] - (double)b[i]);
		if (!(d <= max)) max = d;
		sq += (double)b[i] * (double)b[i];
	}
	return max / (sqrt(sq / n) + 1e-30);
}
static void close_to(const char *op, const struct dev *d, const float *a, const float *b, int n, double tol)
{
	double w = worst(a, b, n);
	if (!(w <= tol)) fail_msg("%s on %s: off by %.3g of the rms, allowed %.3g", op, d->name, w, tol);
}
static void same(const char *op, const struct dev *d, const float *a, const float *b, int n)
{
	for (int i = 0; i < n; i++)
		if (memcmp(a + i, b + i, 4)) fail_msg("%s on %s: element %d is %.9g, was %.9g", op, d->name, i, (double)a[i], (double)b[i]);
}

/* ---- linear -------------------------------------------------------------------------------------------------------- */
/* Random weights of any type: random bytes with tame scales. */
static void random_weights(unsigned char *w, enum dtype t, int64_t n_bytes)
{
	const struct dtype_info *info = quant_info(t);
	float tmp[256];
	for (int64_t i = 0; i < n_bytes; i++) {
		rng_state = rng_state * 1664525u + 1013904223u;
		w[i] = (unsigned char)(rng_state >> 24);
	}
	for (int64_t b = 0; b < n_bytes / info->block_bytes; b++) {       /* replace blocks that decode to nothing sane */
		unsigned char *p = w + b * info->block_bytes;
		bool ok = false;
		for (int tries = 0; !ok; tries++) {
			info->decode(tmp, p, info->block_elems);
			ok = true;
			for (int i = 0; i < info->block_elems; i++) ok &= fabsf(tmp[i]) < 1e3f && (tmp[i] == 0 || fabsf(tmp[i]) > 1e-6f);
			for (int i = 0; i < info->block_bytes && !ok; i++) {
				rng_state = rng_state * 1664525u + 1013904223u;
				p[i] = tries < 2000 ? (unsigned char)(rng_state >> 24) : 0;
			}
			if (tries > 2000) break;
		}
	}
}

static const struct { enum dtype t; double tol; } lin_types[] = {
	/* integer types: noise of the int8 activation, about 1/250 of its block's largest; float types: rounding */
	{ DT_F32, 2e-5 }, { DT_F16, 2e-5 }, { DT_BF16, 2e-5 }, { DT_NF4, 2e-5 },
	{ DT_Q4_0, 0.08 }, { DT_Q4_1, 0.08 }, { DT_Q5_0, 0.08 }, { DT_Q5_1, 0.08 }, { DT_Q8_0, 0.08 },
	{ DT_Q2_K, 0.10 }, { DT_Q3_K, 0.10 }, { DT_Q4_K, 0.10 }, { DT_Q5_K, 0.10 }, { DT_Q6_K, 0.10 },
	{ DT_IQ4_NL, 2e-5 }, { DT_MXFP4, 2e-5 },       /* no kernels: decoded rows */
};

static void run_linear(struct backend *b, const struct mat *w, const struct mat *bias, float *y, const float *x, int rows, float scale)
{
	int32_t buf[256];
	struct seqs s = plain(rows, buf);
	struct mat wi = *w, bi = *bias;
	struct lm_err e;
	assert_ok(b->op->import(b, &wi, w->base, &e), e);
	assert_ok(b->op->import(b, &bi, bias->base, &e), e);
	struct lin l = { host(y, rows, w->rows), &wi, &bi, scale };
	assert_true(b->op->has(b, w->type));
	assert_int_equal(b->op->begin(b, 0, &s), 0);
	b->op->linear(b, &l, 1, host((float *)x, rows, w->cols));
	assert_ok(b->op->end(b, &e), e);
}

LM_TEST(ops_linear)
{
	static const int row_counts[] = { 1, 2, 7, 64 };
	open_all();
	for (size_t i = 0; i < sizeof lin_types / sizeof lin_types[0]; i++) {
		enum dtype t = lin_types[i].t;
		int cols = 1280, out = 83;
		int64_t stride = quant_row_bytes(t, cols);
		unsigned char *w = malloc((size_t)(stride * out));
		if (t == DT_F32)
			for (int k = 0; k < out * cols; k++) ((float *)(void *)w)[k] = rnd();
		else random_weights(w, t, stride * out);
		struct mat wm = { .base = w, .rows = out, .cols = cols, .stride = stride, .type = t };
		float *bias = floats(out), *x = floats(64 * cols), *want = floats(64 * out), *got = floats(64 * out), *first = NULL;
		struct mat bm = host(bias, 1, out);
		for (int r = 0; r < 4; r++) {
			int rows = row_counts[r], n = rows * out;
			run_linear(ref, &wm, &bm, want, x, rows, 1.5f);
			free(first);
			first = NULL;
			for (int d = 0; d < n_devs; d++) {
				run_linear(devs[d].b, &wm, &bm, got, x, rows, 1.5f);
				close_to(quant_info(t)->name, &devs[d], got, want, n, lin_types[i].tol);
				if (!first) memcpy(first = floats(n), got, (size_t)n * 4);
				same(quant_info(t)->name, &devs[d], got, first, n);
			}
			/* a row alone gives what it gives in company */
			for (int k = 0; k < rows; k += 5) {
				run_linear(devs[n_devs - 1].b, &wm, &bm, got, x + k * cols, 1, 1.5f);
				same("one row", &devs[n_devs - 1], got, first + k * out, out);
			}
		}
		free(w), free(bias), free(x), free(want), free(got), free(first);
	}
}

/* A matrix of one row is multiplied even where no other of its type, or none as wide, was imported: a reranker's score. */
LM_TEST(ops_linear_one_row)
{
	enum { COLS = 5120, OUT = 40 };
	open_all();
	for (size_t i = 0; i < sizeof lin_types / sizeof lin_types[0]; i++)
		for (int company = 0; company < 2; company++) {
			enum dtype t = lin_types[i].t;
			int64_t stride = quant_row_bytes(t, COLS);
			unsigned char *w = malloc((size_t)(stride * OUT));
			if (t == DT_F32)
				for (int k = 0; k < OUT * COLS; k++) ((float *)(void *)w)[k] = rnd();
			else random_weights(w, t, stride * OUT);
			float *bias = floats(OUT), *x = floats(9 * COLS), *want = floats(9 * OUT), got[9 * OUT], one[9];
			struct mat all = { .base = w, .rows = OUT, .cols = COLS, .stride = stride, .type = t }, row = mat_rows(all, 0, 1);
			struct mat narrow = { .base = w, .rows = OUT, .cols = 256, .stride = quant_row_bytes(t, 256), .type = t };
			struct mat bm = host(bias, 1, OUT), b1 = host(bias, 1, 1);
			for (int n = 0; n < n_cpu_levels; n++) {
				struct dev d;
				struct lm_err e;
				if (cpu_flags(&(unsigned){ 0 }, cpu_levels[n].name, NULL)) continue;
				snprintf(d.name, sizeof d.name, "cpu %s", cpu_levels[n].name);
				assert_ok(backend_cpu(&d.b, 2, cpu_levels[n].name, &e), e);
				if (company) run_linear(d.b, &narrow, &bm, got, x, 9, 1.5f);
				run_linear(d.b, &row, &b1, one, x, 9, 1.5f);
				run_linear(d.b, &all, &bm, got, x, 9, 1.5f);
				for (int k = 0; k < 9; k++) same(quant_info(t)->name, &d, &one[k], &got[k * OUT], 1);
				run_linear(ref, &all, &bm, want, x, 9, 1.5f);
				close_to(quant_info(t)->name, &d, got, want, 9 * OUT, lin_types[i].tol);
				d.b->op->close(d.b);
			}
			free(w), free(bias), free(x), free(want);
		}
}

/* Weights that read x in orders of their own, beside one that does not: what linear gives for an x in that order. */
LM_TEST(ops_linear_order)
{
	enum { C = 640, R = 37, T = 9, N = 5 };
	static const enum dtype types[N] = { DT_Q4_0, DT_Z4_128, DT_Q4_0, DT_F16, DT_Q8_0 };
	static const int which[N] = { 0, 0, 1, 2, 0 };                    /* 2: none */
	static int32_t order[2][C];
	float *x = floats(T * C), *px = floats(T * C), *y = floats(N * T * R), *want = floats(T * R);
	struct mat w[N], zero = { 0 };
	struct lin l[N];
	struct lm_err e;
	int32_t buf[2 * T];
	struct seqs s = plain(T, buf);

	open_all();
	for (int i = 0; i < C; i++) order[0][i] = (i * 271 + 5) % C, order[1][i] = C - 1 - i;
	for (int i = 0; i < N; i++) {
		int64_t stride = quant_row_bytes(types[i], C);
		w[i] = (struct mat){ .base = malloc((size_t)(stride * R)), .rows = R, .cols = C, .stride = stride, .type = types[i],
				     .order = which[i] < 2 ? order[which[i]] : NULL };
		random_weights(w[i].base, types[i], stride * R);
		l[i] = (struct lin){ host(y + i * T * R, T, R), &w[i], &zero, 1 };
	}
	for (int d = -1; d < n_devs; d++)
		for (int rows = 1; rows <= T; rows += T - 1) {
			struct backend *b = d < 0 ? ref : devs[d].b;
			s.n_rows = rows;
			for (int i = 0; i < N; i++) {
				assert_ok(b->op->import(b, &w[i], w[i].base, &e), e);
				l[i].y.rows = rows;
			}
			assert_int_equal(b->op->begin(b, 0, &s), 0);
			b->op->linear(b, l, N, host(x, rows, C));
			for (int i = 0; i < N; i++) {
				struct mat plain_w = w[i];
				for (int k = 0; k < rows * C; k++) px[k] = w[i].order ? x[k / C * C + w[i].order[k % C]] : x[k];
				plain_w.order = NULL;
				struct lin one = { host(want, rows, R), &plain_w, &zero, 1 };
				b->op->linear(b, &one, 1, host(px, rows, C));
				same("order", d < 0 ? &(struct dev){ ref, "ref" } : &devs[d], y + i * T * R, want, rows * R);
			}
			assert_ok(b->op->end(b, &e), e);
		}
	for (int i = 0; i < N; i++) free(w[i].base);
	free(x), free(px), free(y), free(want);
}

/* ---- row-wise ops --------------------------------------------------------------------------------------------------- */
enum { ROWS = 7, COLS = 321 };
static const float *in_x, *in_w;
typedef void op_fn(struct backend *b, struct mat y, struct mat x);
static void op_rms(struct backend *b, struct mat y, struct mat x)
{
	struct mat w = host((float *)in_w, 1, COLS);
	b->op->norm(b, y, x, &w, NULL, NORM_RMS, 1e-5f, 0);
}
static void op_ln(struct backend *b, struct mat y, struct mat x)
{
	struct mat w = host((float *)in_w, 1, COLS), bias = host((float *)in_x, 1, COLS);
	b->op->norm(b, y, x, &w, &bias, NORM_LN, 1e-5f, 0);
}
static void op_group(struct backend *b, struct mat y, struct mat x)
{
	struct mat w = host((float *)in_w, 1, 107);
	b->op->norm(b, y, x, &w, NULL, NORM_RMS, 1e-6f, 107);
}
static void op_add(struct backend *b, struct mat y, struct mat x)
{
	memcpy(y.base, in_w, (size_t)ROWS * COLS * 4);
	b->op->add(b, y, x, 0.25f);
}
static void op_cap(struct backend *b, struct mat y, struct mat x)
{
	memcpy(y.base, x.base, (size_t)ROWS * COLS * 4);
	b->op->softcap(b, y, 2.0f);
}
static enum act the_act;
static void op_act(struct backend *b, struct mat y, struct mat x)
{
	struct mat up = host((float *)in_w, ROWS, COLS);
	b->op->act(b, y, x, &up, the_act);
}
static void op_act_plain(struct backend *b, struct mat y, struct mat x) { b->op->act(b, y, x, NULL, the_act); }
static void op_gather(struct backend *b, struct mat y, struct mat x)
{
	static const int32_t row[ROWS] = { 6, 0, 3, 3, 1, 5, 2 };
	b->op->gather(b, y, x, row);
}

static void check_op(const char *name, op_fn *fn, double tol)
{
	int32_t buf[64];
	struct seqs s = plain(ROWS, buf);
	struct lm_err e;
	int n = ROWS * COLS;
	float *x = floats(n), *w = floats(n), *want = floats(n), *got = floats(n), *first = floats(n);
	in_x = x;
	in_w = w;
	for (int d = -1; d < n_devs; d++) {
		struct backend *b = d < 0 ? ref : devs[d].b;
		float *y = d < 0 ? want : got;
		assert_int_equal(b->op->begin(b, 0, &s), 0);
		fn(b, host(y, ROWS, COLS), host(x, ROWS, COLS));
		assert_ok(b->op->end(b, &e), e);
		if (d < 0) continue;
		close_to(name, &devs[d], got, want, n, tol);
		if (d == 0) memcpy(first, got, (size_t)n * 4);
		same(name, &devs[d], got, first, n);
	}
	free(x), free(w), free(want), free(got), free(first);
}

LM_TEST(ops_rows)
{
	open_all();
	check_op("norm rms", op_rms, 1e-5);
	check_op("norm ln", op_ln, 1e-5);
	check_op("norm by groups", op_group, 1e-5);
	check_op("add", op_add, 1e-6);
	check_op("softcap", op_cap, 1e-5);
	check_op("gather", op_gather, 0);
	for (int a = ACT_NONE; a <= ACT_SWIGLU_OAI; a++) {
		the_act = (enum act)a;
		check_op("act with up", op_act, 1e-5);
		if (a != ACT_SWIGLU_OAI) check_op("act", op_act_plain, 1e-5);     /* that one has two inputs */
	}
}

LM_TEST(ops_embed)
{
	open_all();
	int cols = 320, vocab = 50;
	int64_t stride = quant_row_bytes(DT_Q8_0, cols);
	unsigned char *w = malloc((size_t)(stride * vocab));
	random_weights(w, DT_Q8_0, stride * vocab);
	int32_t token[7] = { 0, 49, 3, 3, 17, 1, 20 }, pos[7] = { 0, 1, 2, 3, 4, 5, 6 }, seq[7] = { 0 };
	struct seqs s = { .n_rows = 7, .n_seqs = 1, .token = token, .pos = pos, .seq = seq };
	float *want = floats(7 * cols), *got = floats(7 * cols);
	struct lm_err e;
	for (int d = -1; d < n_devs; d++) {
		struct backend *b = d < 0 ? ref : devs[d].b;
		struct mat m = { .rows = vocab, .cols = cols, .stride = stride, .type = DT_Q8_0 };
		assert_ok(b->op->import(b, &m, w, &e), e);
		assert_int_equal(b->op->begin(b, 0, &s), 0);
		b->op->embed(b, host(d < 0 ? want : got, 7, cols), &m, &s, 25.0f);
		assert_ok(b->op->end(b, &e), e);
		if (d >= 0) close_to("embed", &devs[d], got, want, 7 * cols, 1e-6);
	}
	free(w), free(want), free(got);
}

/* ---- rope, cache and attention ---------------------------------------------------------------------------------- */
struct att { enum dtype t; int n_head, n_kv, dim, window; float cap; enum rope_kind rope; double tol; bool both; };      /* both: no causal mask */

/* Pushes `rows` rows through rope, kv_put and attend in steps of `step` rows; y: [rows][n_head*dim]. */
static void run_attention(struct backend *b, const struct att *c, const float *q, const float *k, const float *v, float *y, int rows, int step)
{
	struct lm_err e;
	int n_block = rows / KV_BLOCK + 2, qc = c->n_head * c->dim, kc = c->n_kv * c->dim;
	int32_t *buf = malloc((size_t)rows * 3 * 4), *table = malloc((size_t)n_block * 4);
	for (int i = 0; i < n_block; i++) table[i] = n_block - 1 - i;      /* blocks in any order */
	const int32_t *const tables[1] = { table };
	double freq[128];
	for (int i = 0; i < c->dim / 2; i++) freq[i] = pow(10000.0, -2.0 * i / c->dim);
	struct rope r = { c->rope, c->dim, 1.0f, freq };
	struct attn a = { .n_head = c->n_head, .n_kv = c->n_kv, .dim_k = c->dim, .dim_v = c->dim, .scale = 1.0f / sqrtf((float)c->dim),
	                  .softcap = c->cap, .window = c->window, .causal = !c->both };
	int64_t size = b->op->kv_bytes(b, c->t, c->n_kv, c->dim, false);
	assert_true(size > 0);
	char *kb = calloc((size_t)n_block, (size_t)size), *vb = calloc((size_t)n_block, (size_t)size);
	struct kv kv = { { .base = kb, .rows = n_block, .stride = size, .type = c->t }, { .base = vb, .rows = n_block, .stride = size, .type = c->t } };
	float *qq = malloc((size_t)(rows * qc) * 4), *kk = malloc((size_t)(rows * kc) * 4);
	memcpy(qq, q, (size_t)(rows * qc) * 4);
	memcpy(kk, k, (size_t)(rows * kc) * 4);
	for (int at = 0; at < rows; at += step) {
		int n = rows - at < step ? rows - at : step;
		for (int i = 0; i < n; i++) buf[i] = at + i, buf[rows + i] = 0;
		struct seqs s = { .n_rows = n, .n_seqs = 1, .token = buf, .pos = buf, .seq = buf + rows, .table = tables };
		struct mat qm = host(qq + at * qc, n, qc), km = host(kk + at * kc, n, kc);
		assert_int_equal(b->op->begin(b, 0, &s), 0);
		b->op->rope(b, qm, c->dim, &s, &r);
		b->op->rope(b, km, c->dim, &s, &r);
		b->op->kv_put(b, &kv, km, host((float *)v + at * kc, n, kc), &a, &s);
		b->op->attend(b, host(y + at * qc, n, qc), qm, &kv, &a, &s);
		assert_ok(b->op->end(b, &e), e);
	}
	free(buf), free(table), free(kb), free(vb), free(qq), free(kk);
}

/* Runs of a step's rows that turn by two ropes in turn, as sequences with short and long factors do: what a device
 * keeps of one run's angles is not another's. */
LM_TEST(ops_rope_in_runs)
{
	enum { N_ROWS = 12, DIM = 64 };
	static const struct { int at, n, which; } run[] = { { 0, 3, 0 }, { 3, 4, 1 }, { 7, 3, 0 }, { 10, 2, 1 } };
	double freq[2][DIM / 2];
	int32_t pos[N_ROWS], zero[N_ROWS] = { 0 };
	struct lm_err e;
	open_all();
	for (int i = 0; i < DIM / 2; i++) freq[0][i] = pow(10000.0, -2.0 * i / DIM), freq[1][i] = freq[0][i] / 3;
	for (int i = 0; i < N_ROWS; i++) pos[i] = i * i + 1;
	float *x = floats(N_ROWS * DIM), want[N_ROWS * DIM], got[N_ROWS * DIM];
	struct seqs s = { .n_rows = N_ROWS, .n_seqs = 1, .token = zero, .pos = pos, .seq = zero };
	for (int d = -1; d < n_devs; d++) {
		struct backend *b = d < 0 ? ref : devs[d].b;
		float *y = d < 0 ? want : got;
		memcpy(y, x, sizeof want);
		assert_int_equal(b->op->begin(b, 0, &s), 0);
		for (size_t i = 0; i < sizeof run / sizeof run[0]; i++) {
			struct seqs some = s;
			some.n_rows = run[i].n;
			some.token += run[i].at, some.pos += run[i].at, some.seq += run[i].at;
			struct rope r = { ROPE_HALVES, DIM, 1.0f, freq[run[i].which] };
			b->op->rope(b, host(y + run[i].at * DIM, run[i].n, DIM), DIM, &some, &r);
		}
		assert_ok(b->op->end(b, &e), e);
		if (d >= 0) close_to("rope in runs", &devs[d], got, want, N_ROWS * DIM, 1e-5);
	}
	free(x);
}

LM_TEST(ops_attention)
{
	static const struct att cases[] = {
		{ DT_F32, 9, 3, 64, 0, 0, ROPE_PAIRS, 2e-5, false },
		/* a cache entry on the edge may round the other way after a last-bit difference in rope: one f16, bf16 or
		 * int8 step of one key */
		{ DT_F16, 9, 3, 64, 0, 0, ROPE_PAIRS, 5e-4, false },     { DT_F16, 4, 1, 256, 100, 0, ROPE_HALVES, 5e-4, false },
		{ DT_BF16, 8, 2, 80, 0, 30, ROPE_HALVES, 4e-3, false },  { DT_Q8_0, 6, 2, 96, 33, 50, ROPE_PAIRS, 5e-3, false },
		{ DT_F32, 4, 4, 32, 0, 0, ROPE_HALVES, 2e-5, true }, { DT_F32, 6, 2, 64, 101, 0, ROPE_HALVES, 2e-5, true },
		{ DT_F16, 3, 1, 64, 8, 0, ROPE_HALVES, 5e-4, true },
	};
	static const int steps[] = { 1, 7, 64, 333 };
	enum { N = 333 };
	open_all();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct att *c = &cases[i];
		int qc = c->n_head * c->dim, kc = c->n_kv * c->dim;
		float *q = floats(N * qc), *k = floats(N * kc), *v = floats(N * kc);
		float *want = floats(N * qc), *got = floats(N * qc), *first = floats(N * qc);
		run_attention(ref, c, q, k, v, want, N, N);
		for (int d = 0; d < n_devs; d++) {
			int step = d < 3 || c->both ? steps[3] : steps[d % 4];
			if (d < 3 && d > 0) continue;            /* the portable loops are slow: once */
			run_attention(devs[d].b, c, q, k, v, got, N, step);
			close_to("attention", &devs[d], got, want, N * qc, c->tol);
			if (d == 0) memcpy(first, got, (size_t)(N * qc) * 4);
			same("attention", &devs[d], got, first, N * qc);
		}
		free(q), free(k), free(v), free(want), free(got), free(first);
	}
}

LM_TEST(ops_memory)
{
	struct lm_err e;
	open_all();
	for (int d = -1; d < n_devs; d++) {
		struct backend *b = d < 0 ? ref : devs[d].b;
		struct mat m;
		float in[21], out[21];
		assert_ok(b->op->alloc(b, &m, 3, 7, DT_F32, &e), e);
		b->op->read(b, out, &m);
		for (int i = 0; i < 21; i++) assert_true(out[i] == 0 && !signbit(out[i]));
		for (int i = 0; i < 21; i++) in[i] = rnd();
		b->op->write(b, &m, in);
		b->op->read(b, out, &m);
		assert_memory_equal(in, out, sizeof in);
		b->op->free(b, &m);
		assert_null(m.base);
		assert_int_equal(b->op->alloc(b, &m, 1, 33, DT_Q8_0, &e), LM_EINVAL);    /* no whole block */
	}
}

LM_TEST(ops_open_close)
{
	struct lm_err e;
	struct backend *b;
	assert_ok(backend_cpu(&b, 2, "c", &e), e);
	assert_ptr_not_equal(b->op->close, NULL);
	b->op->close(b);
	assert_int_equal(backend_cpu(&b, 1, "sse9", &e), LM_EINVAL);
	assert_non_null(strstr(e.msg, "sse9"));
}

/* --fast: other bytes where OpenBLAS was measured faster (cpu_fast.c), and only there; the same values.  `make test`
 * installs OpenBLAS. */
static void fast_at(const struct dev *d, int cols, int n_x)
{
	enum { N_OUT = 203 };
	struct lm_err e;
	const bool wins = n_x >= 64 && (cols < 1024 || !(cpu_of(d->b)->k.flags & CPU_AVX512));
	const int n = n_x * N_OUT;
	float *w = floats(N_OUT * cols), *bias = floats(N_OUT), *x = floats(n_x * cols), *want = floats(n), *got = floats(n);
	struct mat wm = host(w, N_OUT, cols), bm = host(bias, 1, N_OUT);
	cpu_of(d->b)->sgemm = NULL;
	run_linear(d->b, &wm, &bm, want, x, n_x, 1.5f);
	assert_ok(cpu_fast(d->b, &e), e);
	run_linear(d->b, &wm, &bm, got, x, n_x, 1.5f);
	if (wins) assert_memory_not_equal(got, want, (size_t)n * sizeof *got);
	else assert_memory_equal(got, want, (size_t)n * sizeof *got);
	run_linear(ref, &wm, &bm, want, x, n_x, 1.5f);
	close_to("fast", d, got, want, n, 2e-5);
	free(w), free(bias), free(x), free(want), free(got);
}

LM_TEST(ops_fast)
{
	struct lm_err e;
	struct blas blas;
	open_all();
	assert_int_equal(cpu_fast(ref, &e), LM_EINVAL);
	assert_ok(blas_load(&blas, &e), e);
	for (int n = 0; n < n_cpu_levels; n++) {
		struct dev d = { 0 };
		snprintf(d.name, sizeof d.name, "cpu %s", cpu_levels[n].name);
		if (backend_cpu(&d.b, 2, cpu_levels[n].name, &e)) continue;
		for (int cols = 96; cols <= 1536; cols += 720)
			for (int n_x = 63; n_x <= 64; n_x++) fast_at(&d, cols, n_x);
		d.b->op->close(d.b);
	}
}
