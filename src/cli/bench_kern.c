/* bench_kern.c - `lmrun bench --kernels`: every filled (type, instruction set) slot on one thread, in ns, GB/s of weights
 * (gemv) or Gop/s (gemm), as a share of what was measured here: memory read bandwidth, or the level's own peak.  The
 * slots without weights: bench_slots.c. */
#include "cli/bench.h"
#include "kernels/kern.h"
#include "kernels/peak.h"
#include <stdio.h>

enum { BENCH_TOKENS = 128 };
struct run {
	const struct kern *k;
	enum dtype t;
	char *w, *x, *panel, *xp;
	float *y;
	int rows, cols;
};

static double best_seconds(void (*fn)(struct run *), struct run *r)
{
	double best = 1e30, start = lm_now();
	for (int i = 0; i < 20 && (i < 3 || lm_now() - start < 0.15); i++) {
		double t = lm_now();
		fn(r);
		t = lm_now() - t;
		if (t < best) best = t;
	}
	return best;
}

static void gemv(struct run *r) { r->k->w[r->t].gemv(r->y, r->w, quant_row_bytes(r->t, r->cols), r->x, r->rows, r->cols); }

static void gemm(struct run *r)
{
	const struct kern_type *k = &r->k->w[r->t];
	const struct kern_gemm *g = k->gemm;
	int64_t stride = quant_row_bytes(r->t, r->cols);
	if (g->pack_x) g->pack_x(r->xp, r->x, BENCH_TOKENS, r->cols);
	for (int i = 0; i < r->rows; i += g->nr) {
		int n = r->rows - i < g->nr ? r->rows - i : g->nr;
		k->pack(r->panel, r->w + i * stride, stride, n, r->cols);
		g->run(r->y + i, r->rows, r->panel, g->pack_x ? r->xp : r->x, n, BENCH_TOKENS, r->cols);
	}
}

static double peak_gops(peak_fn *fn)
{
	double best = 0;
	for (int i = 0; i < 5; i++) {
		double t = lm_now();
		int64_t ops = fn(200000);
		double gops = (double)ops / (lm_now() - t) * 1e-9;
		if (gops > best) best = gops;
	}
	return best;
}

void bench_show(const struct bench_out *o, const char *slot, const char *type, int rows, int cols, double seconds, double rate,
                const char *unit, double limit, const char *of)
{
	if (o->json)
		printf("{\"isa\":\"%s\",\"slot\":\"%s\",\"type\":\"%s\",\"rows\":%d,\"cols\":%d,\"ns\":%.0f,\"rate\":%.4g,\"unit\":\"%s\","
		       "\"limit\":%.4g,\"limit_of\":\"%s\",\"percent\":%.1f}\n",
		       o->isa, slot, type, rows, cols, seconds * 1e9, rate, unit, limit, of, 100 * rate / limit);
	else
		printf("| %-10s | %-10s | %-5s | %5d x %-4d | %12.0f | %9.1f %-6s | %5.1f %% of %s |\n", o->isa, slot, type, rows, cols,
		       seconds * 1e9, rate, unit, 100 * rate / limit, of);
}

/* Weights of small positive bytes: every format decodes them to finite values.  x has the shape of a bell, as activations have: were
 * all sizes as frequent, the integer GEMMs would take their way for sums beyond 16 bits half of the time. */
static bool make(struct run *r, size_t n_w)
{
	enum dot_class d = quant_info(r->t)->dot;
	size_t row = x_bytes(d, r->cols);
	float *x = lm_calloc((size_t)r->cols, sizeof *x);
	r->w = lm_aligned(64, n_w);
	r->x = lm_aligned(64, row * BENCH_TOKENS);
	r->y = lm_aligned(64, (size_t)r->rows * BENCH_TOKENS * sizeof(float));
	if (!x || !r->w || !r->x || !r->y) {
		lm_free(x);
		return false;
	}
	for (size_t i = 0; i < n_w; i++) r->w[i] = (char)(i * 7 % 48);
	for (int i = 0; i < r->cols; i++) x[i] = (float)(i * 5 % 17 + i * 11 % 23 + i * 7 % 29 + i * 13 % 31 - 48);
	for (int t = 0; t < BENCH_TOKENS; t++) {
		void *dst = r->x + row * (size_t)t;
		if (d == DOT_X32) r->k->quant_x32(dst, x, r->cols);
		else if (d == DOT_X256) r->k->quant_x256(dst, x, r->cols);
		else memcpy(dst, x, (size_t)r->cols * sizeof *x);
	}
	lm_free(x);
	return true;
}

static int bench_type(const struct bench_out *o, const struct kern *k, const struct kern *below, enum dtype t, const struct bench_limits *l)
{
	const struct kern_type *m = &k->w[t], *b = &below->w[t];
	bool slow = strcmp(o->isa, "c") == 0;     /* the portable loops: a smaller matrix says the same */
	struct run r = { .k = k, .t = t, .rows = slow ? 256 : 16384, .cols = 2048 };
	size_t n_w = (size_t)quant_row_bytes(t, r.cols) * (size_t)r.rows;
	int rc = 0;
	if (!make(&r, n_w)) rc = LM_ENOMEM;
	if (!rc && m->gemv && m->gemv != b->gemv) {
		double s = best_seconds(gemv, &r);
		bench_show(o, "gemv", quant_info(t)->name, r.rows, r.cols, s, (double)n_w / s * 1e-9, "GB/s", l->read, "memory read");
	}
	if (!rc && m->gemm && (m->gemm != b->gemm || m->pack != b->pack)) {
		const struct kern_gemm *g = m->gemm;
		bool f = quant_info(t)->dot == DOT_F32;
		r.rows = 1024;
		r.panel = lm_aligned(64, g->panel_bytes(r.cols) + 64);
		r.xp = g->pack_x ? lm_aligned(64, g->xp_bytes(BENCH_TOKENS, r.cols) + 64) : NULL;
		if (!r.panel || (g->pack_x && !r.xp)) rc = LM_ENOMEM;
		double s = rc ? 1 : best_seconds(gemm, &r);
		if (!rc) bench_show(o, "gemm", quant_info(t)->name, r.rows, r.cols, s, 2.0 * r.rows * r.cols * BENCH_TOKENS / s * 1e-9, "Gop/s",
		              f ? l->f32 : l->i8, f ? "f32 peak" : "int8 peak");
	}
	lm_free(r.w), lm_free(r.x), lm_free(r.y), lm_free(r.panel), lm_free(r.xp);
	return rc;
}

static void level_peak(struct bench_limits *l, unsigned flags)
{
	struct peak p = peak_of(flags);
	l->i8 = peak_gops(p.i8);
	l->f32 = peak_gops(p.f32);
}

int bench_kernels(bool json, const char *only)
{
	struct bench_limits limits;
	bench_limits(&limits, 1, false);
	struct kern *k = lm_calloc(1, sizeof *k), *below = lm_calloc(1, sizeof *below);
	int rc = k && below ? 0 : LM_ENOMEM;
	if (!json) {
		printf("%s; memory read with one thread %.1f GB/s\n\n", cpu_model(), limits.read);
		printf("| isa        | slot       | type  |       matrix |           ns |             rate | share of the limit |\n"
		       "|------------|------------|-------|--------------|--------------|------------------|--------------------|\n");
	}
	for (int i = 0; i < n_cpu_levels && !rc; i++) {
		unsigned flags;
		if (cpu_flags(&flags, cpu_levels[i].name, NULL)) continue;
		struct bench_out o = { json, cpu_levels[i].name };
		level_peak(&limits, flags);
		kern_init(k, flags);
		for (int t = 0; t < DT_COUNT && !rc; t++)
			if (quant_info((enum dtype)t) && k->w[t].gemv && (!only || !strcmp(only, quant_info((enum dtype)t)->name)))
				rc = bench_type(&o, k, below, (enum dtype)t, &limits);
		if (!rc && (!only || !strcmp(only, "rows"))) rc = bench_slots(&o, k, below, &limits);
		*below = *k;
	}
	lm_free(k);
	lm_free(below);
	return rc;
}
