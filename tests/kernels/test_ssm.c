/* Recurrent ops of the CPU against kernels/ref_ssm.c, and the contract of bytes: threads, instruction sets, the cut of a
 * sequence into passes and the company in a pass change no bit. */
#include "rnd.h"
#include "test.h"
#include "base/cpu.h"
#include "kernels/exact.h"
#include "kernels/ops.h"
#include <math.h>

enum { MAX_IN = 6, N_ROWS = 41, N_SLOTS = 4 };

static uint32_t rng_state = 4711;
static float rnd(void) { return rnd_from(&rng_state); }
static struct mat floats(int rows, int cols, float scale, float add)
{
	struct mat m = { .base = malloc((size_t)rows * (size_t)cols * 4), .rows = rows, .cols = cols, .stride = (int64_t)cols * 4, .type = DT_F32 };
	for (int i = 0; i < rows * cols; i++) ((float *)m.base)[i] = rnd() * scale + add;
	return m;
}

/* One op with its inputs of N_ROWS rows, its weights, and how wide its output and a slot of its state are. */
struct job {
	const char *name;
	struct mat in[MAX_IN], w[3];
	int n_in, out, state;
	enum act act;
	struct ssm ssm;
	struct delta delta;
	void (*run)(const struct job *j, struct backend *b, struct mat y, const struct mat *in, struct mat state, const struct seqs *s);
};

static void run_conv(const struct job *j, struct backend *b, struct mat y, const struct mat *in, struct mat state, const struct seqs *s)
{
	b->op->conv(b, y, in[0], &j->w[0], j->w[1].base ? &j->w[1] : NULL, state, j->act, s);
}
static void run_ssm(const struct job *j, struct backend *b, struct mat y, const struct mat *in, struct mat state, const struct seqs *s)
{
	b->op->ssm(b, y, in[0], in[1], in[2], in[3], &j->ssm, state, s);
}
static void run_delta(const struct job *j, struct backend *b, struct mat y, const struct mat *in, struct mat state, const struct seqs *s)
{
	b->op->delta(b, y, in[0], in[1], in[2], in[3], in[4], &j->delta, state, s);
}

static void make_conv(struct job *j, int cols, int taps, bool bias, enum act act)
{
	*j = (struct job){ .name = "conv", .in = { floats(N_ROWS, cols, 1, 0) }, .n_in = 1, .out = cols, .state = (taps - 1) * cols,
	                   .act = act, .run = run_conv };
	j->w[0] = floats(1, cols * taps, 1, 0);
	if (bias) j->w[1] = floats(1, cols, 1, 0);
}
/* a: rates per head, or per head and state */
static void make_ssm(struct job *j, int n_head, int dim, int n_state, int n_group, bool own_rates, float lo, float hi)
{
	*j = (struct job){ .name = own_rates ? "mamba" : "mamba-2", .n_in = 4, .out = n_head * dim, .state = n_head * dim * n_state,
	                   .run = run_ssm };
	j->in[0] = floats(N_ROWS, n_head * dim, 1, 0);
	j->in[1] = floats(N_ROWS, n_group * n_state, 1, 0);
	j->in[2] = floats(N_ROWS, n_group * n_state, 1, 0);
	j->in[3] = floats(N_ROWS, n_head, 2, 0);
	j->w[0] = floats(1, own_rates ? n_head * n_state : n_head, 1, 0);
	for (int i = 0; i < j->w[0].cols; i++) ((float *)j->w[0].base)[i] = -fabsf(((float *)j->w[0].base)[i]) - 0.05f;
	j->w[1] = floats(1, n_head, 1, 0);
	j->w[2] = floats(1, n_head, 1, 0);
	j->ssm = (struct ssm){ n_head, dim, n_state, n_group, lo, hi, &j->w[0], &j->w[1], &j->w[2] };
}
static void make_delta(struct job *j, int n_k, int n_v, int dim_k, int dim_v)
{
	*j = (struct job){ .name = "delta", .n_in = 5, .out = n_v * dim_v, .state = n_v * dim_k * dim_v, .run = run_delta };
	j->in[0] = floats(N_ROWS, n_k * dim_k, 1, 0);
	j->in[1] = floats(N_ROWS, n_k * dim_k, 1, 0);
	j->in[2] = floats(N_ROWS, n_v * dim_v, 1, 0);
	j->in[3] = floats(N_ROWS, n_v, 2, 0);
	j->in[4] = floats(N_ROWS, n_v, 1, 0);
	j->w[0] = floats(1, n_v, 0.3f, -1);
	j->w[1] = floats(1, n_v, 1, 0);
	j->delta = (struct delta){ n_k, n_v, dim_k, dim_v, &j->w[0], &j->w[1] };
}
static void job_free(struct job *j)
{
	for (int i = 0; i < j->n_in; i++) free(j->in[i].base);
	for (int i = 0; i < 3; i++) free(j->w[i].base);
}

/* The inputs as one sequence in slot `slot`, `step` rows a pass; with company, the first half again as a second sequence. */
static void run(const struct job *j, struct backend *b, int step, int slot, bool company, float *y)
{
	struct mat state, in[MAX_IN], part[MAX_IN], out = { .base = calloc(2 * N_ROWS, (size_t)j->out * 4), .rows = 2 * N_ROWS,
		.cols = j->out, .stride = (int64_t)j->out * 4, .type = DT_F32 };
	int32_t pos[2 * N_ROWS], seq[2 * N_ROWS], slots[2] = { slot, (slot + 1) % N_SLOTS };
	struct lm_err e;

	assert_ok(b->op->alloc(b, &state, N_SLOTS, j->state, DT_F32, &e), e);
	for (int i = 0; i < N_SLOTS; i++)                        /* what stood there before does not matter */
		for (int k = 0; k < j->state; k++) ((float *)mat_row(state, i))[k] = NAN;
	for (int i = 0; i < j->n_in; i++) {
		in[i] = floats(2 * N_ROWS, j->in[i].cols, 0, 0);
		for (int r = 0; r < 2 * N_ROWS; r++)
			memcpy(mat_row(in[i], r), mat_row(j->in[i], r % N_ROWS), (size_t)in[i].stride);
	}
	for (int at = 0; at < N_ROWS; at += step) {
		int n = N_ROWS - at < step ? N_ROWS - at : step, more = company && at == 0 ? N_ROWS : 0;
		for (int i = 0; i < n; i++) pos[i] = at + i, seq[i] = 0;
		for (int i = 0; i < more; i++) pos[n + i] = i, seq[n + i] = 1;
		struct seqs s = { .n_rows = n + more, .n_seqs = 2, .pos = pos, .seq = seq, .slot = slots };
		for (int i = 0; i < j->n_in; i++) part[i] = mat_rows(in[i], at, n + more);
		if (more) assert_int_equal(n, N_ROWS);
		assert_int_equal(b->op->begin(b, 0, &s), 0);
		j->run(j, b, mat_rows(out, at, n + more), part, state, &s);
		assert_ok(b->op->end(b, &e), e);
	}
	memcpy(y, out.base, (size_t)N_ROWS * (size_t)j->out * 4);
	if (company) assert_memory_equal(out.base, mat_row(out, N_ROWS), (size_t)N_ROWS * (size_t)j->out * 4);
	b->op->free(b, &state);
	free(out.base);
	for (int i = 0; i < j->n_in; i++) free(in[i].base);
}

/* Against the reference, then every level, thread count and cut against the first. */
static void check(struct job *j, struct backend *ref, double tol)
{
	size_t n = (size_t)N_ROWS * (size_t)j->out;
	float *want = malloc(n * 4), *first = malloc(n * 4), *got = malloc(n * 4);
	double worst = 0, sq = 0;
	int n_dev = 0;

	run(j, ref, N_ROWS, 2, true, want);
	run(j, ref, 1, 0, false, got);
	assert_memory_equal(want, got, n * 4);
	for (int i = 0; i < n_cpu_levels; i++)
		for (int t = 1; t <= 3 && !cpu_flags(&(unsigned){ 0 }, cpu_levels[i].name, NULL); t++) {
			struct backend *b;
			struct lm_err e;
			assert_ok(backend_cpu(&b, t, cpu_levels[i].name, &e), e);
			for (int step = 1; step <= N_ROWS; step += step < 3 ? 1 : N_ROWS - 3) {
				run(j, b, step, step % N_SLOTS, step == N_ROWS, n_dev ? got : first);
				if (n_dev++ && memcmp(got, first, n * 4))
					fail_msg("%s on %s, %d threads, %d rows a pass: other bits", j->name, cpu_levels[i].name, t, step);
			}
			b->op->close(b);
		}
	for (size_t i = 0; i < n; i++) {
		worst = fmax(worst, fabs((double)first[i] - want[i]));
		sq += (double)want[i] * want[i];
		assert_true(isfinite(first[i]));
	}
	if (!(worst <= tol * sqrt(sq / (double)n))) fail_msg("%s: off by %g of %g", j->name, worst, sqrt(sq / (double)n));
	free(want), free(first), free(got);
	job_free(j);
}

LM_TEST(ops_recurrent)
{
	struct backend *ref;
	struct lm_err e;
	struct job j;

	assert_ok(backend_ref(&ref, &e), e);
	make_conv(&j, 65, 4, true, ACT_SILU), check(&j, ref, 1e-5);
	make_conv(&j, 200, 2, false, ACT_NONE), check(&j, ref, 1e-5);
	make_conv(&j, 7, MAX_CONV, true, ACT_NONE), check(&j, ref, 1e-5);
	make_ssm(&j, 6, 16, 24, 3, false, 0, 1e30f), check(&j, ref, 2e-5);
	make_ssm(&j, 5, 37, 9, 1, false, 0.2f, 0.7f), check(&j, ref, 2e-5);
	make_ssm(&j, 150, 1, 16, 1, true, 0, 1e30f), check(&j, ref, 2e-5);
	make_ssm(&j, 9, 1, 1, 1, true, 0, 1e30f), check(&j, ref, 2e-5);
	make_delta(&j, 2, 6, 20, 24), check(&j, ref, 2e-5);
	make_delta(&j, 3, 3, 16, 5), check(&j, ref, 2e-5);
	ref->op->close(ref);
}

LM_TEST(ops_softplus)
{
	for (float x = -104; x < 104; x += 0.0137f) {
		double want = x > 40 ? x : log1p(exp(x)), got = lm_softplusf(x);
		if (fabs(got - want) > 4e-7 * want + 1e-44) fail_msg("softplus(%g) is %g, not %g", (double)x, got, want);
	}
	assert_true(isnan(lm_softplusf(NAN)));
	assert_true(isinf(lm_softplusf(INFINITY)));
	assert_true(lm_softplusf(-INFINITY) == 0);
}
