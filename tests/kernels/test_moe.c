/* test_moe.c - route and experts of every CPU level and thread count against the reference, and against themselves:
 * how the tokens are cut into passes must not change a byte.  And attention with sinks, and with values inside the
 * keys. */
#include "rnd.h"
#include "test.h"
#include "base/cpu.h"
#include "kernels/kv.h"
#include "kernels/ops.h"
#include <math.h>

static uint32_t rng_state = 777;
static uint32_t rnd_int(void) { return rnd_next(&rng_state); }
static float rnd(void) { return rnd_from(&rng_state); }
static float *floats(int n)
{
	float *p = malloc((size_t)n * sizeof *p);
	for (int i = 0; i < n; i++) p[i] = rnd();
	return p;
}
static struct mat host(void *p, int rows, int cols, enum dtype t)
{
	return (struct mat){ .base = p, .rows = rows, .cols = cols, .stride = quant_row_bytes(t, cols), .type = t };
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */
enum { MAX_DEVS = 32 };
struct devs { struct backend *b[MAX_DEVS]; int n; };         /* b[0] is the reference */

static struct devs open_devs(void)
{
	struct devs d = { .n = 1 };
	struct lm_err e = { 0 };
	assert_ok(backend_ref(&d.b[0], &e), e);
	for (int i = 0; i < n_cpu_levels; i++) {
		unsigned flags;
		if (cpu_flags(&flags, cpu_levels[i].name, NULL)) continue;
		for (int t = 1; t <= 3; t++) assert_ok(backend_cpu(&d.b[d.n++], t, cpu_levels[i].name, &e), e);
	}
	return d;
}
static void close_devs(struct devs *d)
{
	for (int i = 0; i < d->n; i++) backend_free(d->b[i]);
}
static void begin(struct backend *b, int rows)
{
	static int32_t zero[256];
	static struct seqs s;
	s = (struct seqs){ .n_rows = rows, .n_seqs = 1, .token = zero, .pos = zero, .seq = zero };
	assert_int_equal(b->op->begin(b, 0, &s), 0);
}
static void end(struct backend *b)
{
	struct lm_err e = { 0 };
	assert_ok(b->op->end(b, &e), e);
}
static double rms(const float *a, int n)
{
	double sq = 0;
	for (int i = 0; i < n; i++) sq += (double)a[i] * (double)a[i];
	return sqrt(sq / n) + 1e-30;
}
static double worst(const float *a, const float *b, int n)
{
	double max = 0;
	for (int i = 0; i < n; i++) {
		double d = fabs((double)a[i] - (double)b[i]);
		if (!(d <= max)) max = d;
	}
	return max / rms(b, n);
}

/* ---- route --------------------------------------------------------------------------------------------------------- */
enum { ROWS = 37, MOST = 64 };
static void run_route(struct backend *b, const struct moe *m, const float *logits, const float *bias, int32_t *sel, float *w)
{
	struct lm_err e = { 0 };
	float *copy = malloc((size_t)(ROWS * m->n_expert) * 4);
	struct mat bm = host((float *)(uintptr_t)bias, 1, m->n_expert, DT_F32);
	memcpy(copy, logits, (size_t)(ROWS * m->n_expert) * 4);
	assert_ok(b->op->moe_room(b, m, 64, 64, &e), e);
	begin(b, ROWS);
	b->op->route(b, host(sel, ROWS, m->n_used, DT_I32), host(w, ROWS, m->n_used, DT_F32), host(copy, ROWS, m->n_expert, DT_F32),
	             bias ? &bm : NULL, m);
	end(b);
	free(copy);
}

LM_TEST(moe_route)
{
	static const struct moe kinds[] = {
		{ .n_expert = 8, .n_used = 2, .renorm = true, .scale = 1 },
		{ .n_expert = 60, .n_used = 4, .scale = 1 },
		{ .n_expert = 64, .n_used = 64, .renorm = true, .scale = 2.5f },
		{ .n_expert = 32, .n_used = 4, .chosen_softmax = true, .scale = 1 },
		{ .n_expert = 16, .n_used = 3, .gate = GATE_SIGMOID, .renorm = true, .scale = 2.5f, .n_group = 4, .n_group_used = 2, .group_top2 = true },
		{ .n_expert = 16, .n_used = 6, .scale = 16, .n_group = 8, .n_group_used = 3 },
		{ .n_expert = 8, .n_used = 2, .gate = GATE_SIGMOID, .scale = 1, .n_group = 8, .n_group_used = 2, .group_top2 = true },
		{ .n_expert = 1, .n_used = 1, .gate = GATE_SIGMOID, .scale = 1 },
	};
	static float w[2][ROWS * MOST];
	static int32_t sel[2][ROWS * MOST];
	struct devs d = open_devs();

	for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
		for (int biased = 0; biased < 2; biased++) {
			const struct moe *m = &kinds[k];
			float *logits = floats(ROWS * m->n_expert), *bias = biased && !m->chosen_softmax ? floats(m->n_expert) : NULL;
			run_route(d.b[0], m, logits, bias, sel[0], w[0]);
			for (int i = 1; i < d.n; i++) {
				run_route(d.b[i], m, logits, bias, sel[1], w[1]);
				assert_memory_equal(sel[0], sel[1], (size_t)(ROWS * m->n_used) * 4);
				double off = worst(w[1], w[0], ROWS * m->n_used);
				if (!(off <= 1e-5)) fail_msg("routing %zu on device %d: weights off by %g", k, i, off);
			}
			free(logits), free(bias);
		}
	close_devs(&d);
}

/* By hand: equal scores go to the lower id; the bias chooses but does not weigh; a group that is out is out. */
LM_TEST(moe_route_by_hand)
{
	struct devs d = open_devs();
	int32_t sel[ROWS * 2];
	float w[ROWS * 2], logits[ROWS * 4] = { 0 }, bias[4] = { 0, 0, 0, 1 };
	struct moe m = { .n_expert = 4, .n_used = 2, .renorm = true, .scale = 3 };

	for (int i = 0; i < d.n; i++) {
		run_route(d.b[i], &m, logits, NULL, sel, w);
		assert_true(sel[0] == 0 && sel[1] == 1 && w[0] == 1.5f && w[1] == 1.5f);
		run_route(d.b[i], &m, logits, bias, sel, w);
		assert_true(sel[0] == 3 && sel[1] == 0 && w[0] == 1.5f && w[1] == 1.5f);
	}
	m.n_group = 2, m.n_group_used = 1;
	logits[0] = 2, logits[2] = 1.9f, logits[3] = 1.9f;      /* groups (2, 0) and (1.9, 1.9) */
	for (int top2 = 0; top2 < 2; top2++)
		for (int i = 0; i < d.n; i++) {
			m.group_top2 = top2;
			run_route(d.b[i], &m, logits, NULL, sel, w);
			assert_true(sel[0] == 2 * top2 && sel[1] == 2 * top2 + 1);
		}
	close_devs(&d);
}

/* Logits that are no numbers choose experts that exist. */
LM_TEST(moe_route_of_nothing)
{
	struct devs d = open_devs();
	float logits[ROWS * 8], w[ROWS * 3];
	int32_t sel[ROWS * 3];

	for (int kind = 0; kind < 4; kind++)
		for (int i = 0; i < d.n; i++) {
			struct moe m = { .n_expert = 8, .n_used = 3, .gate = kind & 1 ? GATE_SIGMOID : GATE_SOFTMAX, .scale = 1,
			                 .n_group = kind & 2 ? 4 : 0, .n_group_used = 2, .group_top2 = true };
			for (int k = 0; k < ROWS * 8; k++) logits[k] = k % 3 == 0 ? NAN : k % 3 == 1 ? INFINITY : -INFINITY;
			run_route(d.b[i], &m, logits, NULL, sel, w);
			for (int k = 0; k < ROWS * 3; k += 3)
				for (int q = 0; q < 3; q++) {
					assert_in_range(sel[k + q], 0, 7);
					assert_int_not_equal(sel[k + q], sel[k + (q + 1) % 3]);
				}
		}
	close_devs(&d);
}

/* ---- experts ------------------------------------------------------------------------------------------------------- */
enum { N_EXP = 6, D = 256, FF = 256, TOK = 45 };
struct layer_of { enum dtype type, down; bool gated, biased; enum act act; double tol; };
struct net { struct mat gate[N_EXP], up[N_EXP], down[N_EXP]; float *bias[3]; void *raw; };

/* Weights of type t from random floats, so that their sizes are those of a model. */
static struct mat weights(enum dtype t, int rows, int cols)
{
	const struct dtype_info *info = quant_info(t);
	int64_t stride = quant_row_bytes(t, cols);
	char *p = malloc((size_t)(stride * rows));
	float *f = floats(rows * cols);
	for (int i = 0; i < rows * cols; i++) f[i] /= sqrtf((float)cols);
	for (int r = 0; r < rows; r++) {
		if (info->encode) info->encode(p + r * stride, f + r * cols, NULL, cols);
		else
			for (int64_t b = 0; b < stride; b++)      /* Q4_K and MXFP4: any bytes, with tame scales */
				p[r * stride + b] = (char)(b % info->block_bytes == 0 ? (t == DT_MXFP4 ? 122 : 0) :
				                           t != DT_MXFP4 && b % info->block_bytes < 4 ? (b % 2 ? 0x10 : 0) : (int)(rnd_int() & 255));
	}
	free(f);
	return host(p, rows, cols, t);
}

static struct net net_new(const struct layer_of *l)
{
	struct net n;
	for (int e = 0; e < N_EXP; e++) {
		n.gate[e] = weights(l->type, FF, D);
		n.up[e] = weights(l->type, FF, D);
		n.down[e] = weights(l->down, D, FF);
	}
	for (int i = 0; i < 3; i++) n.bias[i] = floats(N_EXP * (i < 2 ? FF : D));
	return n;
}
static void net_free(struct net *n)
{
	for (int e = 0; e < N_EXP; e++) free(n->gate[e].base), free(n->up[e].base), free(n->down[e].base);
	for (int i = 0; i < 3; i++) free(n->bias[i]);
}

static void run_experts(struct backend *b, const struct layer_of *l, const struct net *n, const float *x, const int32_t *sel,
                        const float *w, int k, float *y, int step)
{
	struct lm_err err = { 0 };
	struct moe m = { .n_expert = N_EXP, .n_used = k };
	struct experts e = { .gate = l->gated ? n->gate : NULL, .up = n->up, .down = n->down, .act = l->act, .n_expert = N_EXP, .n_ff = FF };
	if (l->biased) {
		e.bgate = host(n->bias[0], N_EXP, FF, DT_F32), e.bup = host(n->bias[1], N_EXP, FF, DT_F32);
		e.bdown = host(n->bias[2], N_EXP, D, DT_F32);
	}
	for (int i = 0; i < N_EXP; i++) {
		struct mat g = n->gate[i], u = n->up[i], d = n->down[i];
		assert_ok(b->op->import(b, &g, g.base, &err), err);
		assert_ok(b->op->import(b, &u, u.base, &err), err);
		assert_ok(b->op->import(b, &d, d.base, &err), err);
	}
	assert_ok(b->op->moe_room(b, &m, D, FF, &err), err);
	for (int t = 0; t < TOK; t += step) {
		int r = TOK - t < step ? TOK - t : step;
		begin(b, r);
		b->op->experts(b, host(y + t * D, r, D, DT_F32), host((float *)(uintptr_t)x + t * D, r, D, DT_F32), &e,
		               host((int32_t *)(uintptr_t)sel + t * k, r, k, DT_I32), host((float *)(uintptr_t)w + t * k, r, k, DT_F32));
		end(b);
	}
}

/* The same by the ops that a dense layer uses, one pair after the other. */
static void composed(struct backend *b, const struct layer_of *l, const struct net *n, const float *x, const int32_t *sel,
                     const float *w, int k, float *y)
{
	static float g[FF], u[FF], o[D];
	struct mat gm = host(g, 1, FF, DT_F32), um = host(u, 1, FF, DT_F32), om = host(o, 1, D, DT_F32);
	memset(y, 0, sizeof(float) * TOK * D);
	for (int p = 0; p < TOK * k; p++) {
		int e = sel[p];
		struct mat bias[3], xm = host((float *)(uintptr_t)x + p / k * D, 1, D, DT_F32), ym = host(y + p / k * D, 1, D, DT_F32);
		for (int i = 0; i < 3; i++) bias[i] = host(l->biased ? n->bias[i] + e * (i < 2 ? FF : D) : NULL, 1, i < 2 ? FF : D, DT_F32);
		begin(b, 1);
		b->op->linear(b, &(struct lin){ l->gated ? um : gm, &n->up[e], &bias[1], 1 }, 1, xm);
		if (l->gated) b->op->linear(b, &(struct lin){ gm, &n->gate[e], &bias[0], 1 }, 1, xm);
		b->op->act(b, gm, gm, l->gated ? &um : NULL, l->act);
		b->op->linear(b, &(struct lin){ om, &n->down[e], &bias[2], 1 }, 1, gm);
		b->op->add(b, ym, om, w[p]);
		end(b);
	}
}

/* Who goes where: at random; all to one; each expert once, then nobody; in turn. */
static void choose(int how, int32_t *sel, int k)
{
	for (int t = 0; t < TOK; t++)
		for (int i = 0; i < k; i++) {
			bool again = true;
			while (again) {
				sel[t * k + i] = how == 0 ? (int32_t)(rnd_int() % N_EXP) : how == 1 ? (i ? (int32_t)(rnd_int() % N_EXP) : 3) :
				                 how == 2 ? (t == 1 ? i + 3 : i) : (t + i) % N_EXP;
				again = false;
				for (int j = 0; j < i; j++) again |= sel[t * k + j] == sel[t * k + i];
			}
		}
}

LM_TEST(moe_experts)
{
	/* quantised: the noise of two int8 activations, one after the other (0.08 each in test_ops); what holds them tightly is that the bytes are those of the dense ops */
	static const struct layer_of layers[] = {
		{ DT_F32, DT_F32, true, false, ACT_SILU, 2e-5 },      { DT_BF16, DT_F16, true, true, ACT_SWIGLU_OAI, 2e-5 },
		{ DT_Q8_0, DT_F32, false, true, ACT_RELU2, 0.15 },    { DT_Q4_K, DT_Q8_0, true, false, ACT_SILU, 0.3 },
		{ DT_MXFP4, DT_MXFP4, true, true, ACT_SWIGLU_OAI, 2e-5 }, { DT_NF4, DT_Q4_0, true, false, ACT_GELU_TANH, 0.15 },
	};
	static float want[TOK * D], got[TOK * D], first[TOK * D], w[TOK * 3];
	static int32_t sel[TOK * 3];
	static const int steps[] = { TOK, 1, 7, 33 };
	struct devs d = open_devs();

	for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
		struct net n = net_new(&layers[i]);
		float *x = floats(TOK * D);
		for (int how = 0; how < 4; how++) {
			int k = how == 1 ? 1 : how == 3 ? 2 : 3;
			choose(how, sel, k);
			for (int j = 0; j < TOK * k; j++) w[j] = fabsf(rnd());
			run_experts(d.b[0], &layers[i], &n, x, sel, w, k, want, TOK);
			for (int b = 1; b < d.n; b++) {
				memset(got, 0, sizeof got);
				run_experts(d.b[b], &layers[i], &n, x, sel, w, k, got, steps[(b + how) % 4]);
				double off = worst(got, want, TOK * D);
				if (!(off <= layers[i].tol)) fail_msg("layer %zu, choice %d, device %d: off by %g", i, how, b, off);
				if (b == 1) composed(d.b[b], &layers[i], &n, x, sel, w, k, first);
				if (memcmp(first, got, sizeof first)) fail_msg("layer %zu, choice %d: device %d gives other bytes", i, how, b);
			}
		}
		net_free(&n);
		free(x);
	}
	close_devs(&d);
}

/* ---- attention: sinks, and values that are part of the keys --------------------------------------------------------- */
enum { N = 300, HEADS = 6, KV_HEADS = 2, DIM = 64 };
static void run_sinks(struct backend *b, const float *q, const float *k, const float *v, float *sinks, int window, float *y, int step)
{
	static int32_t pos[N], seq[N], table[N / KV_BLOCK + 1];
	const int32_t *const tables[1] = { table };
	struct mat sm = host(sinks, 1, HEADS, DT_F32);
	struct attn a = { .n_head = HEADS, .n_kv = KV_HEADS, .dim_k = DIM, .dim_v = DIM, .scale = 0.125f, .window = window,
	                  .causal = true, .sinks = sinks ? &sm : NULL };
	int64_t size = b->op->kv_bytes(b, DT_F32, KV_HEADS, DIM, false);
	int blocks = N / KV_BLOCK + 1, qc = HEADS * DIM, kc = KV_HEADS * DIM;
	char *kb = calloc((size_t)blocks, (size_t)size), *vb = calloc((size_t)blocks, (size_t)size);
	struct kv kv = { { .base = kb, .rows = blocks, .stride = size, .type = DT_F32 }, { .base = vb, .rows = blocks, .stride = size, .type = DT_F32 } };
	for (int i = 0; i < N; i++) pos[i] = i;
	for (int i = 0; i < blocks; i++) table[i] = blocks - 1 - i;
	for (int at = 0; at < N; at += step) {
		int n = N - at < step ? N - at : step;
		struct seqs s = { .n_rows = n, .n_seqs = 1, .token = seq, .pos = pos + at, .seq = seq, .table = tables };
		assert_int_equal(b->op->begin(b, 0, &s), 0);
		b->op->kv_put(b, &kv, host((float *)(uintptr_t)k + at * kc, n, kc, DT_F32), host((float *)(uintptr_t)v + at * kc, n, kc, DT_F32), &a, &s);
		b->op->attend(b, host(y + at * qc, n, qc, DT_F32), host((float *)(uintptr_t)q + at * qc, n, qc, DT_F32), &kv, &a, &s);
		end(b);
	}
	free(kb), free(vb);
}

LM_TEST(moe_attention_sinks)
{
	static float want[N * HEADS * DIM], got[N * HEADS * DIM], first[N * HEADS * DIM];
	struct devs d = open_devs();
	float *q = floats(N * HEADS * DIM), *k = floats(N * KV_HEADS * DIM), *v = floats(N * KV_HEADS * DIM);
	float sinks[HEADS] = { -40, -1, 0, 2, 5, 60 };

	for (int window = 0; window <= 40; window += 40) {
		run_sinks(d.b[0], q, k, v, sinks, window, want, N);
		for (int b = 1; b < d.n; b++) {
			run_sinks(d.b[b], q, k, v, sinks, window, got, b % 3 ? N : 41);
			double off = worst(got, want, N * HEADS * DIM);
			if (!(off <= 2e-5)) fail_msg("window %d, device %d: off by %g", window, b, off);
			if (b == 1) memcpy(first, got, sizeof first);
			if (memcmp(first, got, sizeof first)) fail_msg("window %d, device %d: other bytes", window, b);
		}
		run_sinks(d.b[0], q, k, v, NULL, window, first, N);      /* a sink far below takes nothing, one far above all */
		for (int t = 0; t < N; t++) {
			assert_true(worst(want + t * HEADS * DIM, first + t * HEADS * DIM, DIM) < 1e-6);
			assert_true(rms(want + t * HEADS * DIM + (HEADS - 1) * DIM, DIM) < 1e-12);
		}
	}
	free(q), free(k), free(v);
	close_devs(&d);
}

enum { LAT_H = 33, LAT_N = 260 };
/* One wide key head whose tail is the value (MLA): as if the tail lay in a value cache, to the byte on the CPU. */
static void run_latent(struct backend *b, enum dtype t, bool shared, const float *q, const float *k, float *y, int step)
{
	enum { H = LAT_H, DK = 96, AT = 32, DV = 64, M = LAT_N };
	static int32_t pos[M], seq[M], table[M / KV_BLOCK + 1];
	const int32_t *const tables[1] = { table };
	struct attn a = { .n_head = H, .n_kv = 1, .dim_k = DK, .dim_v = DV, .scale = 0.1f, .causal = true, .v_at = shared ? AT : 0 };
	int blocks = M / KV_BLOCK + 1;
	int64_t size = b->op->kv_bytes(b, t, 1, DK, false);
	char *kb = calloc((size_t)blocks, (size_t)size), *vb = calloc((size_t)blocks, (size_t)size);
	struct kv kv = { { .base = kb, .rows = blocks, .stride = size, .type = t }, { .base = vb, .rows = blocks, .stride = size, .type = t } };
	if (shared) kv.v = (struct mat){ 0 };
	for (int i = 0; i < M; i++) pos[i] = i;
	for (int i = 0; i < blocks; i++) table[i] = (i + 3) % blocks;
	for (int at = 0; at < M; at += step) {
		int n = M - at < step ? M - at : step;
		struct seqs s = { .n_rows = n, .n_seqs = 1, .token = seq, .pos = pos + at, .seq = seq, .table = tables };
		struct mat km = host((float *)(uintptr_t)k + at * DK, n, DK, DT_F32);
		assert_int_equal(b->op->begin(b, 0, &s), 0);
		b->op->kv_put(b, &kv, km, mat_cols(km, AT, DV), &a, &s);
		b->op->attend(b, host(y + at * H * DV, n, H * DV, DT_F32), host((float *)(uintptr_t)q + at * H * DK, n, H * DK, DT_F32), &kv, &a, &s);
		end(b);
	}
	free(kb), free(vb);
}

LM_TEST(moe_attention_latent)
{
	enum { SIZE = LAT_N * LAT_H * 64 };
	static const enum dtype types[] = { DT_F32, DT_F16, DT_BF16, DT_Q8_0 };
	struct devs d = open_devs();
	float *q = floats(LAT_N * LAT_H * 96), *k = floats(LAT_N * 96), *a = floats(SIZE), *c = floats(SIZE), *want = floats(SIZE);

	for (int i = 0; i < 4; i++) {
		if (types[i] == DT_Q8_0) run_latent(d.b[0], types[i], true, q, k, want, LAT_N);
		for (int b = 2; b < d.n; b += 3) {
			run_latent(d.b[b], types[i], false, q, k, a, LAT_N);
			run_latent(d.b[b], types[i], true, q, k, c, b % 2 ? LAT_N : 33);
			assert_memory_equal(a, c, SIZE * sizeof(float));
			double off = types[i] == DT_Q8_0 ? worst(c, want, SIZE) : 0;
			if (!(off <= 2e-5)) fail_msg("type %d, device %d: off by %g", types[i], b, off);
		}
	}
	free(q), free(k), free(a), free(c), free(want);
	close_devs(&d);
}
