/* check_cuda.c - the CUDA backend in the simulator against ref.c: every operation in three thread orders with
 * equal bits, and within the tolerance written at its test.  The last tests plant bugs and want them found.
 */
#include "test.h"
#include "cuda/cuda.h"
#include "cuda/runtime.h"
#include "sim.h"
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct backend *ref, *dev;
static struct lm_err err;

static void open_both(void)
{
	assert_ok(backend_ref(&ref, &err), err);
	assert_ok(cuda_open(&dev, 0, &err), err);
}
static void close_both(void)
{
	backend_free(ref);
	backend_free(dev);
}

/* ---- data: a fixed sequence per seed ------------------------------------------------------------ */
static float noise(uint64_t seed, uint64_t i)
{
	return (float)(lm_uniform(seed, i, 0) * 2 - 1);
}

static float *noises(uint64_t seed, int64_t n, float scale)
{
	float *v = lm_malloc((size_t)n * sizeof *v);
	assert_non_null(v);
	for (int64_t i = 0; i < n; i++) v[i] = scale * noise(seed, (uint64_t)i);
	return v;
}

static struct mat put(struct backend *b, int rows, int cols, const float *v)
{
	struct mat m;
	assert_ok(b->op->alloc(b, &m, rows, cols, DT_F32, &err), err);
	b->op->write(b, &m, v);
	return m;
}

static float *get(struct backend *b, const struct mat *m)
{
	float *v = lm_malloc((size_t)m->rows * (size_t)m->cols * sizeof *v);
	assert_non_null(v);
	b->op->read(b, v, m);
	assert_ok(b->op->end(b, &err), err);
	return v;
}

/* Runs fn on the device in every order, demands the same bits, and returns them. */
typedef float *run_fn(struct backend *b, const void *ctx);
static float *three_orders(run_fn *fn, const void *ctx, int64_t n)
{
	float *first = NULL;
	for (int o = 0; o < SIM_ORDERS; o++) {
		sim_set_order((enum sim_order)o);
		assert_int_equal(dev->op->begin(dev, 0, NULL), 0);
		float *v = fn(dev, ctx);
		if (!first) {
			first = v;
			continue;
		}
		assert_memory_equal(v, first, (size_t)n * sizeof *v);
		lm_free(v);
	}
	return first;
}

/* |got - want| <= tol * max(1, |want|) everywhere */
static void close_to(const float *got, const float *want, int64_t n, double tol)
{
	for (int64_t i = 0; i < n; i++)
		if (!(fabs((double)got[i] - want[i]) <= tol * fmax(1, fabs((double)want[i]))))
			fail_msg("element %lld: %.9g, not %.9g", (long long)i, (double)got[i],
				 (double)want[i]);
}

/* ---- norm: 2e-6, some rounding steps of f32 sums of up to 2048 squares -------------------------- */
struct norm_case {
	enum norm_kind k;
	int rows, cols, group, w_cols, bias_cols;
	float scale, eps;
	bool in_place;
};

static float *run_norm(struct backend *b, const void *ctx)
{
	const struct norm_case *c = ctx;
	float *xv = noises(1, (int64_t)c->rows * c->cols, c->scale), *wv = noises(2, c->cols, 1),
	      *bv = noises(3, c->cols, 1);
	struct mat x = put(b, c->rows, c->cols, xv), y = c->in_place ? x : put(b, c->rows, c->cols, xv);
	struct mat w = put(b, 1, c->w_cols ? c->w_cols : 1, wv),
		   bias = put(b, 1, c->bias_cols ? c->bias_cols : 1, bv);

	b->op->norm(b, y, x, c->w_cols ? &w : NULL, c->bias_cols ? &bias : NULL, c->k, c->eps, c->group);
	float *v = get(b, &y);
	if (!c->in_place) b->op->free(b, &y);
	b->op->free(b, &x), b->op->free(b, &w), b->op->free(b, &bias);
	lm_free(xv), lm_free(wv), lm_free(bv);
	return v;
}

LM_TEST(cuda_norm)
{
	static const struct norm_case cases[] = {
		{ NORM_RMS, 1, 1, 0, 1, 0, 1, 1e-5f, false },
		{ NORM_RMS, 3, 576, 0, 576, 0, 3, 1e-6f, false },
		{ NORM_RMS, 2, 2048, 0, 2048, 0, 1e-3f, 1e-5f, true },
		{ NORM_RMS, 7, 33, 0, 0, 33, 100, 1e-5f, false },
		{ NORM_RMS, 2, 256, 64, 64, 0, 1, 1e-6f, true },
		{ NORM_RMS, 2, 256, 64, 256, 256, 1, 1e-6f, false },
		{ NORM_LN, 3, 300, 0, 300, 300, 2, 1e-5f, false },
		{ NORM_LN, 1, 128, 32, 32, 0, 2, 1e-5f, true },
		{ NORM_L2, 2, 130, 0, 0, 0, 2, 1e-6f, false },
	};
	open_both();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t n = (int64_t)cases[i].rows * cases[i].cols;
		float *want = run_norm(ref, &cases[i]), *got = three_orders(run_norm, &cases[i], n);
		close_to(got, want, n, 2e-6);
		lm_free(want), lm_free(got);
	}
	close_both();
}

/* ---- add: 1.2e-7, one rounding on either side --------------------------------------------------- */
struct add_case {
	int rows, cols, first, width;
	float scale;
}; /* columns [first, first+width) of wider rows */

static float *run_add(struct backend *b, const void *ctx)
{
	const struct add_case *c = ctx;
	float *yv = noises(4, (int64_t)c->rows * c->cols, 10),
	      *xv = noises(5, (int64_t)c->rows * c->cols, 10);
	struct mat y = put(b, c->rows, c->cols, yv), x = put(b, c->rows, c->cols, xv);

	b->op->add(b, mat_cols(y, c->first, c->width), mat_cols(x, 0, c->width), c->scale);
	float *v = get(b, &y);
	b->op->free(b, &y), b->op->free(b, &x);
	lm_free(yv), lm_free(xv);
	return v;
}

LM_TEST(cuda_add)
{
	static const struct add_case cases[] = {
		{ 1, 1, 0, 1, 1 },
		{ 3, 577, 0, 577, 0.5f },
		{ 2, 1030, 6, 1000, -1.75f },
		{ 5, 256, 0, 256, 1 },
	};
	open_both();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t n = (int64_t)cases[i].rows * cases[i].cols;
		float *want = run_add(ref, &cases[i]), *got = three_orders(run_add, &cases[i], n);
		close_to(got, want, n, 1.2e-7);
		lm_free(want), lm_free(got);
	}
	close_both();
}

/* ---- linear ------------------------------------------------------------------------------------- */
struct linear_case {
	enum dtype t;
	int out, in, rows;
	bool bias, whole; /* whole: x is made of integers up to 127, which quantise to themselves */
	float scale;
	const uint8_t *w;
	const float *x;
};

/* Any bytes are a weight; only the f16 scales are kept in a sane range. */
static uint8_t *weights(enum dtype t, int rows, int cols, uint64_t seed)
{
	int64_t row = quant_row_bytes(t, cols), n = row * rows;
	int block = quant_info(t)->block_bytes;
	uint8_t *w = lm_malloc((size_t)n);

	assert_non_null(w);
	for (int64_t i = 0; i < n; i++) w[i] = (uint8_t)(lm_uniform(seed, (uint64_t)i, 1) * 256);
	for (int64_t i = 0; i < n; i += block) {
		uint16_t d = quant_f32_to_f16(0.02f * noise(seed, (uint64_t)i)),
			 m = quant_f32_to_f16(0.01f * noise(seed + 1, (uint64_t)i));
		memcpy(w + i, &d, 2);
		if (t == DT_Q4_K) memcpy(w + i + 2, &m, 2);
	}
	return w;
}

static float *activations(const struct linear_case *c, int unit)
{
	float *x = noises(7, (int64_t)c->rows * c->in, 2);
	for (int i = 0; c->whole && i < c->rows * c->in; i++) x[i] = i % unit == 5 ? -127 : rintf(x[i] * 60);
	return x;
}

/* Two weights share x: the second is the lower half of the first, and gives the same bits. */
static float *run_linear(struct backend *b, const void *ctx)
{
	const struct linear_case *c = ctx;
	float *bv = noises(8, c->out, 1), *zero = lm_calloc((size_t)c->rows * (size_t)c->out, sizeof *zero);
	assert_non_null(zero);
	struct mat w = { .rows = c->out, .cols = c->in, .stride = quant_row_bytes(c->t, c->in), .type = c->t }, half;
	struct mat x = put(b, c->rows, c->in, c->x), bias = put(b, 1, c->out, bv);
	struct mat y = put(b, c->rows, c->out, zero), z = put(b, c->rows, c->out, zero);

	assert_ok(b->op->import(b, &w, c->w, &err), err);
	half = mat_rows(w, c->out / 2, c->out - c->out / 2);
	const struct lin l[2] = { { y, &w, c->bias ? &bias : NULL, c->scale }, { z, &half, NULL, 1 } };
	b->op->linear(b, l, 2, x);
	float *v = get(b, &y), *v2 = get(b, &z);
	for (int t = 0; t < c->rows && !c->bias && c->scale == 1; t++)
		assert_memory_equal(v + (size_t)t * (size_t)c->out + c->out / 2,
				    v2 + (size_t)t * (size_t)c->out, (size_t)half.rows * sizeof *v);
	b->op->free(b, &x), b->op->free(b, &bias), b->op->free(b, &y), b->op->free(b, &z);
	lm_free(bv), lm_free(zero), lm_free(v2);
	return v;
}

/* What may differ in y[t][r]: each |w| times half a quantisation step of its unit of x (0 when x is whole),
 * and 2e-6 of the sum of the terms' magnitudes for f32 sums. */
static double linear_bound(const struct linear_case *c, int unit, int t, int r)
{
	const uint8_t *row = c->w + quant_row_bytes(c->t, c->in) * r;
	const float *x = c->x + (size_t)t * (size_t)c->in;
	float w[256];
	double sum = 0;

	for (int k = 0; k < c->in; k += unit) {
		double top = 0;
		quant_info(c->t)->decode(w, row + quant_row_bytes(c->t, k), unit);
		for (int i = 0; i < unit; i++) top = fmax(top, fabs((double)x[k + i]));
		double step = c->whole ? 0 : 0.5001 * top / 127;
		for (int i = 0; i < unit; i++)
			sum += fabs((double)w[i]) * (step + 2e-6 * fabs((double)x[k + i]));
	}
	return fabs((double)c->scale) * sum + 1e-6;
}

static void check_linear(struct linear_case c)
{
	int unit = c.t == DT_Q4_K ? 256 : 32;
	uint8_t *w = weights(c.t, c.out, c.in, 11);
	float *x = activations(&c, unit);
	c.w = w, c.x = x;
	float *want = run_linear(ref, &c), *got = three_orders(run_linear, &c, (int64_t)c.rows * c.out);

	for (int i = 0; i < c.rows * c.out; i++) {
		double bound = linear_bound(&c, unit, i / c.out, i % c.out);
		if (!(fabs((double)got[i] - want[i]) <= bound))
			fail_msg("%s %dx%d, x row %d, output %d: %.9g, not %.9g (bound %.3g)",
				 quant_info(c.t)->name, c.out, c.in, i / c.out, i % c.out, (double)got[i],
				 (double)want[i], bound);
	}
	lm_free(want), lm_free(got), lm_free(x), lm_free(w);
}

LM_TEST(cuda_linear_q8_0)
{
	open_both();
	check_linear((struct linear_case){ DT_Q8_0, 1, 32, 1, false, true, 1, 0, 0 });
	check_linear((struct linear_case){ DT_Q8_0, 7, 64, 2, false, true, 1, 0, 0 });
	check_linear((struct linear_case){ DT_Q8_0, 33, 288, 3, true, true, 0.5f, 0, 0 });
	check_linear((struct linear_case){ DT_Q8_0, 13, 576, 3, true, false, 2, 0, 0 });
	check_linear((struct linear_case){ DT_Q8_0, 5, 2048, 6, false, false, 1, 0, 0 });
	close_both();
}

LM_TEST(cuda_linear_q4_k)
{
	open_both();
	check_linear((struct linear_case){ DT_Q4_K, 1, 256, 1, false, true, 1, 0, 0 });
	check_linear((struct linear_case){ DT_Q4_K, 7, 512, 2, false, true, 1, 0, 0 });
	check_linear((struct linear_case){ DT_Q4_K, 33, 1280, 3, true, true, 0.5f, 0, 0 });
	check_linear((struct linear_case){ DT_Q4_K, 13, 768, 3, true, false, 2, 0, 0 });
	check_linear((struct linear_case){ DT_Q4_K, 5, 2048, 6, false, false, 1, 0, 0 });
	close_both();
}

/* A NaN or an infinity in x must not vanish; a zero row must give exact zeros. */
LM_TEST(cuda_linear_special)
{
	float x[3 * 256] = { 0 };
	uint8_t *w = weights(DT_Q4_K, 3, 256, 12), *w8 = weights(DT_Q8_0, 3, 256, 12);
	x[3] = NAN, x[256 + 7] = INFINITY, x[256 + 9] = 1;
	struct linear_case c[2] = { { DT_Q4_K, 3, 256, 3, false, false, 1, w, x },
				    { DT_Q8_0, 3, 256, 3, false, false, 1, w8, x } };

	open_both();
	for (int i = 0; i < 2; i++) {
		float *v = run_linear(dev, &c[i]);
		for (int k = 0; k < 6; k++) assert_false(isfinite(v[k]));
		for (int k = 6; k < 9; k++) assert_true(v[k] == 0);
		lm_free(v);
	}
	lm_free(w), lm_free(w8);
	close_both();
}

LM_TEST(cuda_has_and_open)
{
	struct backend *b;
	open_both();
	for (int t = 0; t < DT_COUNT; t++)
		assert_int_equal(dev->op->has(dev, (enum dtype)t), t == DT_Q4_K || t == DT_Q8_0);
	close_both();
	assert_int_equal(backend_cuda(&b, 0, &err), LM_EUNSUPPORTED);
	assert_non_null(strstr(err.msg, "cuda:0"));
	assert_non_null(strstr(err.msg, "not supported in this build"));
	assert_non_null(strstr(err.msg, "attend"));
	assert_null(b);
	assert_int_equal(backend_cuda(&b, 3, &err), LM_EDEVICE);
	assert_null(b);
}

/* ---- the simulator itself ----------------------------------------------------------------------- */
static float *device_floats(int n)
{
	void *p;
	assert_null(gpu_alloc(&p, (size_t)n * sizeof(float)));
	return p;
}

LM_TEST(cuda_sim_conversions)
{
	static float f16[65536], bf16[65536];
	float *a = device_floats(65536), *b = device_floats(65536);
	planted_halves(a, b);
	assert_null(gpu_read(f16, sizeof f16, a, sizeof f16, sizeof f16, 1));
	assert_null(gpu_read(bf16, sizeof bf16, b, sizeof bf16, sizeof bf16, 1));
	assert_null(gpu_wait());
	for (int i = 0; i < 65536; i++) {
		float f = quant_f16_to_f32((uint16_t)i), g = quant_bf16_to_f32((uint16_t)i);
		if (isnan(f))
			assert_true(isnan(f16[i]));
		else
			assert_memory_equal(&f, &f16[i], 4);
		assert_memory_equal(&g, &bf16[i], 4);
	}
	gpu_free(a), gpu_free(b);
}

LM_TEST(cuda_sim_shuffles)
{
	int out[64];
	void *p = device_floats(64);
	for (int o = 0; o < SIM_ORDERS; o++) {
		sim_set_order((enum sim_order)o);
		planted_shuffles(p);
		assert_null(gpu_read(out, sizeof out, p, sizeof out, sizeof out, 1));
		assert_null(gpu_wait());
		for (int i = 0; i < 64; i++) {
			int from = i % 32 + 3 > 31 ? i : i + 3;
			assert_int_equal(out[i], (from ^ 5) * 10);
		}
	}
	gpu_free(p);
}

LM_TEST(cuda_sim_finds_a_missing_barrier)
{
	float out[SIM_ORDERS][64];
	float *p = device_floats(64);
	for (int o = 0; o < SIM_ORDERS; o++) {
		sim_set_order((enum sim_order)o);
		planted_no_sync(p);
		assert_null(gpu_wait());
		assert_null(gpu_read(out[o], sizeof out[o], p, sizeof out[o], sizeof out[o], 1));
	}
	assert_memory_not_equal(out[SIM_FORWARD], out[SIM_REVERSE], sizeof out[0]);
	gpu_free(p);
}

static void finds(void (*kernel)(float *), const char *what)
{
	float *p = device_floats(64);
	for (int o = 0; o < SIM_ORDERS; o++) {
		sim_set_order((enum sim_order)o);
		kernel(p);
		const char *why = gpu_wait();
		assert_non_null(why);
		if (!strstr(why, what)) fail_msg("'%s' does not say '%s'", why, what);
		assert_null(gpu_wait());
	}
	gpu_free(p);
}

LM_TEST(cuda_sim_finds_divergence)
{
	finds(planted_divergent_sync, "divergent_sync_kernel, block (0,0): divergent");
	finds(planted_two_syncs, "divergent __syncthreads");
	finds(planted_lost_lane, "has returned");
}

static void overrun(float *p)
{
	planted_overrun(p, 64);
}
static void host_read(float *p)
{
	*(volatile float *)p = p[0] + 1;
}

/* A child that must not live to its exit. */
static void dies(void (*fn)(float *))
{
	float *p = device_floats(64);
	int status = 0;
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr)) _exit(0);
		fn(p);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	gpu_free(p);
}

LM_TEST(cuda_sim_memory_is_closed)
{
	dies(overrun);
	dies(host_read);
}
