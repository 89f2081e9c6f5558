/* check_kern.c - holds every kernel slot of every instruction-set level this machine has against kernels/c.c, bit for
 * bit (after dav1d's checkasm).  check_kern [--isa=NAME] [--kern=TEXT] [--bench] [--seed=N]
 *
 * Each slot whose pointer differs from the level below is run on random and adversarial data, at every length from
 * one block to 17 and beyond, with inputs that end at an unmapped page and canaries around outputs. */
#include "kernels/kern.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *want_isa, *want_kern;
static bool bench;
static uint64_t seed = 1;
static int n_passed, n_failed, n_checks;
static const char *level_name, *slot_name;
static bool slot_ok;

/* ---- random data ------------------------------------------------------------------------------------------- */
static uint64_t rng_state;
static uint32_t rnd(void)
{
	rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng_state >> 33) * 2654435761u >> 1;
}
static float rnd_f(void) { return (float)((int)(rnd() % 20001) - 10000) * 1e-4f; }
static float rnd_gauss(void)
{
	float s = 0;
	for (int i = 0; i < 6; i++) s += rnd_f();
	return s;
}

/* ---- memory that faults one byte after its end ------------------------------------------------------------- */
struct guard { char *map, *p; size_t map_size, n; };
static struct guard guard_new(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (n + page - 1) / page * page + page;
	char *m = mmap(NULL, body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	mprotect(m + body, page, PROT_NONE);
	return (struct guard){ m, m + body - n, body + page, n };
}
static void guard_free(struct guard *g) { munmap(g->map, g->map_size); }

/* Outputs: the canary before and after must survive. */
enum { CANARY = 64 };
static float *canary_new(size_t n)
{
	float *p = malloc((n + 2 * CANARY) * sizeof *p);
	memset(p, 0xA5, (n + 2 * CANARY) * sizeof *p);
	return p + CANARY;
}
static bool canary_ok(const float *p, size_t n)
{
	const unsigned char *a = (const unsigned char *)(p - CANARY), *b = (const unsigned char *)(p + n);
	for (size_t i = 0; i < CANARY * sizeof *p; i++)
		if (a[i] != 0xA5 || b[i] != 0xA5) return false;
	return true;
}
static void canary_free(float *p) { free(p - CANARY); }

/* Bits equal, or both NaN (payloads are the processor's own). */
static void compare(const char *what, const float *a, const float *b, size_t n, int i0, int i1)
{
	n_checks++;
	for (size_t i = 0; i < n; i++)
		if (memcmp(a + i, b + i, sizeof *a) && !(a[i] != a[i] && b[i] != b[i])) {
			if (slot_ok)
				printf("  %s %s: %s (%d, %d): element %zu is %.9g, c has %.9g\n", level_name, slot_name, what,
				       i0, i1, i, (double)a[i], (double)b[i]);
			slot_ok = false;
			return;
		}
}
static void require(bool ok, const char *what)
{
	n_checks++;
	if (!ok && slot_ok) printf("  %s %s: %s\n", level_name, slot_name, what);
	slot_ok &= ok;
}
static bool begin_slot(const char *name, const void *mine, const void *below)
{
	if (mine == below || (want_kern && !strstr(name, want_kern))) return false;
	slot_name = name;
	slot_ok = true;
	rng_state = seed;
	return true;
}
static void end_slot(void)
{
	n_passed += slot_ok;
	n_failed += !slot_ok;
	if (!slot_ok || bench) printf("%-10s %-24s %s\n", level_name, slot_name, slot_ok ? "ok" : "FAILED");
}

/* ---- weights -------------------------------------------------------------------------------------------------- */
/* Where a block keeps its f16 scales (f32 for the types that are ours). */
static const struct wtype { enum dtype t; const char *name; int n_scale, at[2]; } wtypes[] = {
	{ DT_F32, "f32", 0, { 0 } },    { DT_F16, "f16", 0, { 0 } },    { DT_BF16, "bf16", 0, { 0 } },
	{ DT_NF4, "nf4", 1, { 0 } },    { DT_Q4_0, "q4_0", 1, { 0 } },  { DT_Q4_1, "q4_1", 2, { 0, 2 } },
	{ DT_Q5_0, "q5_0", 1, { 0 } },  { DT_Q5_1, "q5_1", 2, { 0, 2 } }, { DT_Q8_0, "q8_0", 1, { 0 } },
	{ DT_Q2_K, "q2_k", 2, { 80, 82 } }, { DT_Q3_K, "q3_k", 1, { 108 } }, { DT_Q4_K, "q4_k", 2, { 0, 2 } },
	{ DT_Q5_K, "q5_k", 2, { 0, 2 } }, { DT_Q6_K, "q6_k", 1, { 208 } },
	{ DT_FP4, "fp4", 1, { 0 } },    { DT_MXFP4, "mxfp4", 0, { 0 } }, { DT_Z4_32, "z4_32", 1, { 0 } },
	{ DT_Z4_128, "z4_128", 1, { 0 } }, { DT_Z8_32, "z8_32", 1, { 0 } }, { DT_Z8_128, "z8_128", 1, { 0 } },
	{ DT_F8_32, "f8_32", 1, { 0 } }, { DT_F8_128, "f8_128", 1, { 0 } }, { DT_BNB8, "bnb8", 1, { 0 } },
};
enum { N_WTYPES = sizeof wtypes / sizeof wtypes[0] };

enum fill { FILL_RANDOM, FILL_ZERO, FILL_ONES, FILL_ALTERNATE, FILL_SUBNORMAL, FILL_HUGE, FILL_STEPS, FILL_RAW, N_FILLS };

static void fill_weights(char *w, const struct wtype *wt, size_t n_block, enum fill fill)
{
	const struct dtype_info *info = quant_info(wt->t);
	size_t size = (size_t)info->block_bytes;
	if (info->block_elems == 1) {            /* plain floats */
		for (size_t i = 0; i < n_block; i++) {
			float f = fill == FILL_ZERO ? 0 : fill == FILL_SUBNORMAL ? rnd_f() * 1e-38f :
			          fill == FILL_HUGE ? rnd_f() * 3e4f : fill == FILL_ALTERNATE ? (i & 1 ? -1.0f : 1.0f) : rnd_gauss();
			uint16_t h = wt->t == DT_F16 ? quant_f32_to_f16(f) : quant_f32_to_bf16(f);
			if (fill == FILL_RAW && wt->t != DT_F32) h = (uint16_t)rnd();
			if (wt->t == DT_F32) memcpy(w + 4 * i, &f, 4);
			else memcpy(w + 2 * i, &h, 2);
		}
		return;
	}
	for (size_t b = 0; b < n_block; b++, w += size) {
		for (size_t i = 0; i < size; i++)
			w[i] = (char)(fill == FILL_ZERO ? 0 : fill == FILL_ONES || fill == FILL_HUGE ? 0xff :
			              fill == FILL_ALTERNATE ? (i & 1 ? 0x0f : 0xf0) : (int)(rnd() & 0xff));
		for (int s = 0; s < wt->n_scale && fill != FILL_RAW; s++) {
			float f = fill == FILL_SUBNORMAL ? rnd_f() * 5e-8f : fill == FILL_HUGE ? 60000.0f : rnd_f() * 0.1f;
			uint16_t h = quant_f32_to_f16(f);
			if (wt->t >= DT_NF4) memcpy(w + wt->at[s], &f, 4);
			else memcpy(w + wt->at[s], &h, 2);
		}
		/* exponents that cancel nothing, and those at both ends */
		if (wt->t == DT_MXFP4 && fill != FILL_RAW) w[0] = (char)(fill == FILL_SUBNORMAL ? rnd() % 3 : 120 + rnd() % 12);
	}
}

/* Groups of 32 that hold 0 to 32 equal values, in either half more: sums of codes * x on both sides of every bound. */
static void fill_steps(float *x, int n)
{
	for (int g = 0; g < n; g += 32) {
		float sign = rnd() & 1 ? -1.0f : 1.0f;
		int flip = rnd() & 1 ? 31 : 0;
		for (int i = 0; i < 32; i++)
			if (g + (i ^ flip) < n) x[g + (i ^ flip)] = i % 4 * 8 + i / 4 < g / 32 % 33 ? sign : 0;
	}
}
static void fill_floats(float *x, int n, enum fill fill)
{
	if (fill == FILL_STEPS) return fill_steps(x, n);
	for (int i = 0; i < n; i++)
		x[i] = fill == FILL_ZERO ? 0 : fill == FILL_ONES ? 1.0f : fill == FILL_ALTERNATE ? (i & 1 ? -3.0f : 3.0f) :
		       fill == FILL_SUBNORMAL ? rnd_f() * 1e-38f : fill == FILL_HUGE ? rnd_f() * 1e30f : rnd_gauss();
}

/* Groups of 32 of very different sizes, so that every shift of X256 occurs. */
static void vary_groups(float *x, int n)
{
	for (int g = 0; g + 32 <= n; g += 32) {
		float f = 1.0f / (float)(1 << rnd() % 6);
		for (int i = 0; i < 32; i++) x[g + i] *= f;
	}
}

/* Fills a row of the class by the C quantiser. */
static void make_x(char *dst, enum dot_class c, int cols, enum fill fill, const struct kern *ck)
{
	float *x = malloc((size_t)cols * sizeof *x);
	fill_floats(x, cols, fill);
	if (c == DOT_X256) vary_groups(x, cols);
	if (c == DOT_F32) {
		memset(dst, 0, x_bytes(c, cols));
		memcpy(dst, x, (size_t)cols * 4);
	} else if (c == DOT_X32) ck->quant_x32(dst, x, cols);
	else ck->quant_x256(dst, x, cols);
	free(x);
}

static void check_gemv_at(const struct kern *k, const struct kern *ck, const struct wtype *wt, int rows, int cols, enum fill fw,
                          enum fill fx, size_t gap)
{
	const struct dtype_info *info = quant_info(wt->t);
	int64_t row = quant_row_bytes(wt->t, cols), stride = row + (int64_t)gap;
	struct guard w = guard_new((size_t)(stride * (rows - 1) + row)), x = guard_new(x_bytes(info->dot, cols));
	float *a = canary_new((size_t)rows), *b = canary_new((size_t)rows);
	memset(w.p, 0xEE, w.n);
	for (int r = 0; r < rows; r++) fill_weights(w.p + r * stride, wt, (size_t)(cols / info->block_elems), fw);
	make_x(x.p, info->dot, cols, fx, ck);
	k->w[wt->t].gemv(a, w.p, stride, x.p, rows, cols);
	ck->w[wt->t].gemv(b, w.p, stride, x.p, rows, cols);
	compare("rows, cols", a, b, (size_t)rows, rows, cols);
	require(canary_ok(a, (size_t)rows), "gemv wrote outside y");
	canary_free(a);
	canary_free(b);
	guard_free(&w);
	guard_free(&x);
}

static int unit_of(enum dtype t)
{
	const struct dtype_info *i = quant_info(t);
	return i->dot == DOT_X256 ? 256 : i->block_elems > 32 ? i->block_elems : 32;
}

static void check_gemv(const struct kern *k, const struct kern *ck, const struct wtype *wt)
{
	int unit = unit_of(wt->t);
	for (int n = 1; n <= 17; n++)
		for (int rows = 1; rows <= 18; rows += n % 3 + 1) check_gemv_at(k, ck, wt, rows, n * unit, FILL_RANDOM, FILL_RANDOM, 0);
	for (int rows = 1; rows <= 70; rows++) check_gemv_at(k, ck, wt, rows, 2 * unit, FILL_RANDOM, FILL_RANDOM, (size_t)rows % 3 * 2);
	if (quant_info(wt->t)->block_elems == 1)
		for (int cols = 1; cols <= 100; cols++) check_gemv_at(k, ck, wt, 1 + cols % 9, cols, FILL_RANDOM, FILL_RANDOM, 0);
	for (int fw = 0; fw < N_FILLS; fw++)
		for (int fx = 0; fx < FILL_RAW; fx++)
			for (int n = 1; n <= 9; n += 4) check_gemv_at(k, ck, wt, 19, n * unit, (enum fill)fw, (enum fill)fx, 0);
	check_gemv_at(k, ck, wt, 40, 24 * unit, FILL_RANDOM, FILL_RANDOM, 0);
	check_gemv_at(k, ck, wt, 16, (2048 / unit + 1) * unit, FILL_RANDOM, FILL_RANDOM, 0);
	/* long rows go in parts */
	for (int n = 4096 / unit; n <= 16640 / unit; n += 2048 / unit + 1)
		for (int rows = 1; rows <= 17; rows += 16) check_gemv_at(k, ck, wt, rows, n * unit, FILL_RANDOM, FILL_RANDOM, 0);
	if (quant_info(wt->t)->block_elems == 1)
		for (int cols = 4095; cols <= 4113; cols++) check_gemv_at(k, ck, wt, 17, cols, FILL_RANDOM, FILL_RANDOM, 0);
}

static void check_gemm_at(const struct kern *k, const struct kern *ck, const struct wtype *wt, int rows, int n_tok, int cols,
                          enum fill fw, enum fill fx)
{
	const struct dtype_info *info = quant_info(wt->t);
	const struct kern_gemm *g = k->w[wt->t].gemm;
	int64_t row = quant_row_bytes(wt->t, cols);
	size_t xrow = x_bytes(info->dot, cols), ys = (size_t)rows + 3;
	struct guard w = guard_new((size_t)row * (size_t)rows), x = guard_new(xrow * (size_t)n_tok);
	struct guard panel = guard_new(x_align(g->panel_bytes(cols))), xp = guard_new(g->pack_x ? x_align(g->xp_bytes(n_tok, cols)) : 64);
	float *a = canary_new(ys * (size_t)n_tok), *b = canary_new((size_t)rows);
	for (int r = 0; r < rows; r++) fill_weights(w.p + r * row, wt, (size_t)(cols / info->block_elems), fw);
	for (int t = 0; t < n_tok; t++) make_x(x.p + xrow * (size_t)t, info->dot, cols, fx, ck);
	k->w[wt->t].pack(panel.p, w.p, row, rows, cols);
	if (g->pack_x) g->pack_x(xp.p, x.p, n_tok, cols);
	/* in two parts where there is more than one tile, as threads do */
	int t0 = n_tok > g->mr ? n_tok / 2 / g->mr * g->mr : 0;
	size_t xp0 = g->pack_x ? g->xp_bytes(t0, cols) : xrow * (size_t)t0;
	const char *xs = g->pack_x ? xp.p : x.p;
	if (t0) g->run(a, (int64_t)ys, panel.p, xs, rows, t0, cols);
	g->run(a + ys * (size_t)t0, (int64_t)ys, panel.p, xs + xp0, rows, n_tok - t0, cols);
	for (int t = 0; t < n_tok; t++) {
		ck->w[wt->t].gemv(b, w.p, row, x.p + xrow * (size_t)t, rows, cols);
		compare("gemm rows, tokens", a + ys * (size_t)t, b, (size_t)rows, rows, n_tok);
		for (size_t r = (size_t)rows; r < ys; r++)
			require(memcmp(a + ys * (size_t)t + r, "\xA5\xA5\xA5\xA5", 4) == 0, "gemm wrote beyond its rows");
	}
	require(canary_ok(a, ys * (size_t)n_tok), "gemm wrote outside y");
	canary_free(a);
	canary_free(b);
	guard_free(&w);
	guard_free(&x);
	guard_free(&panel);
	guard_free(&xp);
}

static void check_gemm(const struct kern *k, const struct kern *ck, const struct wtype *wt)
{
	int unit = unit_of(wt->t), nr = k->w[wt->t].gemm->nr;
	for (int n = 1; n <= 17; n++) check_gemm_at(k, ck, wt, nr, 1 + n % 7, n * unit, FILL_RANDOM, FILL_RANDOM);
	for (int t = 1; t <= 26; t++) check_gemm_at(k, ck, wt, nr, t, 2 * unit, FILL_RANDOM, FILL_RANDOM);
	for (int rows = 1; rows <= nr; rows++) check_gemm_at(k, ck, wt, rows, 3, unit, FILL_RANDOM, FILL_RANDOM);
	if (quant_info(wt->t)->block_elems == 1)
		for (int cols = 1; cols <= 70; cols++) check_gemm_at(k, ck, wt, nr, 5, cols, FILL_RANDOM, FILL_RANDOM);
	for (int fw = 0; fw < N_FILLS; fw++)
		for (int fx = 0; fx < FILL_RAW; fx++)
			for (int n = 1; n <= 9; n += 4) check_gemm_at(k, ck, wt, nr, 7, n * unit, (enum fill)fw, (enum fill)fx);
	check_gemm_at(k, ck, wt, nr, 13, (2048 / unit + 1) * unit, FILL_RANDOM, FILL_RANDOM);
}

/* Rows of x, like the weights, end at an unmapped page; the last token of x too. */
static void check_few_at(const struct kern *k, const struct kern *ck, const struct wtype *wt, int rows, int n_tok, int cols,
                         enum fill fw, enum fill fx, size_t gap)
{
	const struct dtype_info *info = quant_info(wt->t);
	int64_t row = quant_row_bytes(wt->t, cols), stride = row + (int64_t)gap;
	size_t xrow = x_bytes(info->dot, cols), ys = (size_t)rows + 3;
	struct guard w = guard_new((size_t)(stride * (rows - 1) + row)), x = guard_new(xrow * (size_t)n_tok);
	float *a = canary_new(ys * (size_t)n_tok), *b = canary_new((size_t)rows);
	for (int r = 0; r < rows; r++) fill_weights(w.p + r * stride, wt, (size_t)(cols / info->block_elems), fw);
	for (int t = 0; t < n_tok; t++) make_x(x.p + xrow * (size_t)t, info->dot, cols, fx, ck);
	k->few[wt->t](a, (int64_t)ys, w.p, stride, x.p, rows, n_tok, cols);
	for (int t = 0; t < n_tok; t++) {
		ck->w[wt->t].gemv(b, w.p, stride, x.p + xrow * (size_t)t, rows, cols);
		compare("few rows, tokens", a + ys * (size_t)t, b, (size_t)rows, rows, n_tok);
		for (size_t r = (size_t)rows; r < ys; r++)
			require(memcmp(a + ys * (size_t)t + r, "\xA5\xA5\xA5\xA5", 4) == 0, "few wrote beyond its rows");
	}
	require(canary_ok(a, ys * (size_t)n_tok), "few wrote outside y");
	canary_free(a);
	canary_free(b);
	guard_free(&w);
	guard_free(&x);
}

static void check_few(const struct kern *k, const struct kern *ck, const struct wtype *wt)
{
	int unit = unit_of(wt->t);
	for (int n = 1; n <= 17; n++) check_few_at(k, ck, wt, 40, 1 + n % 7, n * unit, FILL_RANDOM, FILL_RANDOM, 0);
	for (int t = 1; t <= FEW_MAX; t++) check_few_at(k, ck, wt, 33, t, 3 * unit, FILL_RANDOM, FILL_RANDOM, 0);
	for (int rows = 1; rows <= 70; rows++) check_few_at(k, ck, wt, rows, 2 + rows % 3, unit, FILL_RANDOM, FILL_RANDOM, (size_t)rows % 3 * 2);
	for (int fw = 0; fw < N_FILLS; fw++)
		for (int fx = 0; fx < FILL_RAW; fx++)
			for (int n = 1; n <= 9; n += 4) check_few_at(k, ck, wt, 35, 7, n * unit, (enum fill)fw, (enum fill)fx, 0);
	check_few_at(k, ck, wt, 32, FEW_MAX, (2048 / unit + 1) * unit, FILL_RANDOM, FILL_RANDOM, 0);
}

/* ---- activation rows and row functions ------------------------------------------------------------------------ */
static void check_quant(const struct kern *k, const struct kern *ck, bool wide)
{
	void (*mine)(void *, const float *, int) = wide ? k->quant_x256 : k->quant_x32;
	void (*c)(void *, const float *, int) = wide ? ck->quant_x256 : ck->quant_x32;
	int unit = wide ? 256 : 32;
	for (int n = 1; n <= 40; n++)
		for (int f = 0; f < N_FILLS; f++) {
			int cols = n * unit;
			size_t size = wide ? x256_bytes(cols) : x32_bytes(cols);
			struct guard x = guard_new((size_t)cols * 4), a = guard_new(size), b = guard_new(size);
			float *v = (float *)x.p;
			fill_floats(v, cols, (enum fill)f);
			if (wide && n % 2) vary_groups(v, cols);
			if (f == FILL_RAW)       /* ties, infinities and NaN */
				for (int i = 0; i < cols; i++)
					v[i] = i % 97 == 3 && n % 4 == 0 ? NAN : i % 89 == 5 && n % 4 == 1 ? INFINITY : (float)((int)(rnd() % 255) - 127) * 0.5f;
			memset(a.p, 0, size);
			memset(b.p, 0, size);
			mine(a.p, v, cols);
			c(b.p, v, cols);
			compare(wide ? "quant_x256" : "quant_x32", (float *)a.p, (float *)b.p, size / 4, cols, f);
			guard_free(&x);
			guard_free(&a);
			guard_free(&b);
		}
}

typedef void row_fn(float *y, const float *x, const float *w, int n, const struct kern *k);
static void run_norm(float *y, const float *x, const float *w, int n, const struct kern *k) { k->norm_rms(y, x, w, n, 1e-5f); }
static void run_norm0(float *y, const float *x, const float *w, int n, const struct kern *k) { (void)w; k->norm_rms(y, x, NULL, n, 1e-6f); }
static void run_add(float *y, const float *x, const float *w, int n, const struct kern *k) { memcpy(y, w, (size_t)n * 4); k->add(y, x, 0.7f, n); }
static void run_cap(float *y, const float *x, const float *w, int n, const struct kern *k) { (void)w; memcpy(y, x, (size_t)n * 4); k->softcap(y, 30.0f, n); }
static enum act row_act;
static void run_act(float *y, const float *x, const float *w, int n, const struct kern *k) { k->act(y, x, w, n, row_act); }
static void run_act0(float *y, const float *x, const float *w, int n, const struct kern *k) { (void)w; k->act(y, x, NULL, n, row_act); }
static void run_merge(float *y, const float *x, const float *w, int n, const struct kern *k) { memcpy(y, x, (size_t)n * 4); k->attn_merge(y, w, 0.3f, 0.9f, n); }
static void run_f16(float *y, const float *x, const float *w, int n, const struct kern *k)
{
	(void)w;
	memset(y, 0, (size_t)n * 4);
	k->to_f16((uint16_t *)y, x, n);
}

static void check_row(const struct kern *k, const struct kern *ck, row_fn *fn)
{
	for (int n = 1; n <= 600; n += n < 80 ? 1 : 37)
		for (int f = 0; f <= FILL_RAW; f++) {
			struct guard x = guard_new((size_t)n * 4), w = guard_new((size_t)n * 4);
			float *a = canary_new((size_t)n), *b = canary_new((size_t)n);
			fill_floats((float *)x.p, n, (enum fill)f);
			fill_floats((float *)w.p, n, FILL_RANDOM);
			if (f == FILL_RAW)
				for (int i = 0; i < n; i++) ((float *)x.p)[i] = i % 7 == 6 ? -INFINITY : i % 7 == 5 ? INFINITY : rnd_f() * 120.0f;
			fn(a, (float *)x.p, (float *)w.p, n, k);
			fn(b, (float *)x.p, (float *)w.p, n, ck);
			compare("n, fill", a, b, (size_t)n, n, f);
			require(canary_ok(a, (size_t)n), "wrote outside y");
			canary_free(a);
			canary_free(b);
			guard_free(&x);
			guard_free(&w);
		}
}

static void check_rope(const struct kern *k, const struct kern *ck)
{
	for (int dims = 2; dims <= 256; dims += 2)
		for (int kind = ROPE_PAIRS; kind <= ROPE_HALVES; kind++) {
			struct guard cs = guard_new((size_t)dims * 4);
			float *a = canary_new((size_t)dims), *b = canary_new((size_t)dims);
			fill_floats((float *)cs.p, dims, FILL_RANDOM);
			fill_floats(b, dims, FILL_RANDOM);
			memcpy(a, b, (size_t)dims * 4);
			k->rope(a, (float *)cs.p, dims, (enum rope_kind)kind);
			ck->rope(b, (float *)cs.p, dims, (enum rope_kind)kind);
			compare("dims, kind", a, b, (size_t)dims, dims, kind);
			require(canary_ok(a, (size_t)dims), "wrote outside x");
			canary_free(a);
			canary_free(b);
			guard_free(&cs);
		}
}

/* ---- attention -------------------------------------------------------------------------------------------------- */
static size_t kv_size(enum dtype t, int dim)
{
	return t == DT_F32 ? (size_t)dim * 128 : t == DT_Q8_0 ? (size_t)dim * 32 + (size_t)dim * 4 : (size_t)dim * 64;
}
static void fill_kv(char *p, enum dtype t, int dim)
{
	size_t n = kv_size(t, dim);
	if (t == DT_F32)
		for (size_t i = 0; i < n / 4; i++) ((float *)p)[i] = rnd_gauss();
	else if (t == DT_Q8_0) {
		for (size_t i = 0; i < (size_t)dim * 32; i++) p[i] = (char)rnd();
		for (size_t i = 0; i < (size_t)dim; i++) ((float *)(p + dim * 32))[i] = rnd_f() * 0.02f;
	} else
		for (size_t i = 0; i < n / 2; i++) {
			float f = rnd_gauss();
			((uint16_t *)p)[i] = t == DT_F16 ? quant_f32_to_f16(f) : quant_f32_to_bf16(f);
		}
}

static const enum dtype kv_types[] = { DT_F32, DT_F16, DT_BF16, DT_Q8_0 };
static const int head_dims[] = { 32, 64, 80, 96, 128, 256, 7, 24, 288 };
enum { N_HEAD_DIMS = sizeof head_dims / sizeof *head_dims };

static void check_score(const struct kern *k, const struct kern *ck)
{
	for (int it = 0; it < 4; it++)
		for (int id = 0; id < N_HEAD_DIMS; id++)
			for (int n_q = 1; n_q <= ATTN_TILE; n_q += n_q < 9 ? 1 : 13) {
				int dim = head_dims[id], nb = 1 + (n_q + id) % 8;
				enum dtype t = kv_types[it];
				if (t == DT_Q8_0 && dim % 32) continue;
				struct guard kv[8], q = guard_new((size_t)(n_q * dim) * 4);
				struct guard ptrs = guard_new((size_t)(nb + KV_AHEAD) * sizeof(void *));
				const void **kb = (const void **)(void *)ptrs.p;
				for (int i = 0; i < nb; i++) {
					kv[i] = guard_new(kv_size(t, dim));
					fill_kv(kv[i].p, t, dim);
					kb[i] = kv[i].p;
				}
				for (int i = nb; i < nb + KV_AHEAD; i++) kb[i] = kb[0];
				fill_floats((float *)q.p, n_q * dim, FILL_RANDOM);
				size_t n = (size_t)n_q * KV_CHUNK;
				float *a = canary_new(n), *b = canary_new(n);
				memset(a, 0, n * 4);
				memset(b, 0, n * 4);
				k->attn_score(a, (float *)q.p, n_q, kb, nb, t, dim, 0.125f, n_q % 3 ? 0 : 50.0f);
				ck->attn_score(b, (float *)q.p, n_q, kb, nb, t, dim, 0.125f, n_q % 3 ? 0 : 50.0f);
				compare("score dim, queries", a, b, n, dim, n_q);
				require(canary_ok(a, n), "wrote outside s");
				canary_free(a);
				canary_free(b);
				guard_free(&q);
				guard_free(&ptrs);
				for (int i = 0; i < nb; i++) guard_free(&kv[i]);
			}
}

static void check_soft(const struct kern *k, const struct kern *ck)
{
	for (int lo = 0; lo < KV_CHUNK; lo += 1 + lo / 7)
		for (int hi = lo + 1; hi <= KV_CHUNK; hi += 1 + (hi - lo) / 5) {
			float *a = canary_new(KV_CHUNK), *b = canary_new(KV_CHUNK), r[4];
			for (int i = 0; i < KV_CHUNK; i++) a[i] = b[i] = rnd_gauss() * (lo % 5 ? 4.0f : 60.0f);
			k->attn_soft(a, lo, hi, &r[0], &r[1]);
			ck->attn_soft(b, lo, hi, &r[2], &r[3]);
			compare("soft lo, hi", a, b, KV_CHUNK, lo, hi);
			compare("soft max and sum", r, r + 2, 2, lo, hi);
			require(canary_ok(a, KV_CHUNK), "wrote outside s");
			canary_free(a);
			canary_free(b);
		}
}

static void check_value(const struct kern *k, const struct kern *ck)
{
	for (int it = 0; it < 4; it++)
		for (int id = 0; id < N_HEAD_DIMS; id++)
			for (int n_q = 1; n_q <= ATTN_TILE; n_q += n_q < 9 ? 1 : 13) {
				int dim = head_dims[id], nb = 1 + (n_q + id) % 8, lo[ATTN_TILE], hi[ATTN_TILE];
				enum dtype t = kv_types[it];
				if (t == DT_Q8_0 && dim % 32) continue;
				struct guard kv[8];
				struct guard ptrs = guard_new((size_t)(nb + KV_AHEAD) * sizeof(void *));
				const void **vb = (const void **)(void *)ptrs.p;
				for (int i = 0; i < nb; i++) {
					kv[i] = guard_new(kv_size(t, dim));
					fill_kv(kv[i].p, t, dim);
					vb[i] = kv[i].p;
				}
				for (int i = nb; i < nb + KV_AHEAD; i++) vb[i] = vb[0];
				float *s = malloc((size_t)n_q * KV_CHUNK * 4);
				fill_floats(s, n_q * KV_CHUNK, FILL_RANDOM);
				for (int i = 0; i < n_q; i++) {      /* causal-like ranges, some empty */
					hi[i] = nb * KV_BLOCK - n_q + i + 1 > 0 ? nb * KV_BLOCK - n_q + i + 1 : 0;
					if (hi[i] > nb * KV_BLOCK) hi[i] = nb * KV_BLOCK;
					lo[i] = id % 2 ? 0 : hi[i] > 20 ? hi[i] - 20 : 0;
					if (n_q == 7 && i == 3) lo[i] = hi[i] = 0;
				}
				size_t n = (size_t)(n_q * dim);
				float *a = canary_new(n), *b = canary_new(n);
				k->attn_value(a, s, lo, hi, n_q, vb, t, dim);
				ck->attn_value(b, s, lo, hi, n_q, vb, t, dim);
				compare("value dim, queries", a, b, n, dim, n_q);
				require(canary_ok(a, n), "wrote outside o");
				canary_free(a);
				canary_free(b);
				free(s);
				guard_free(&ptrs);
				for (int i = 0; i < nb; i++) guard_free(&kv[i]);
			}
}

/* ---- bench: ns per call, GB/s of weights (gemv), Gop/s (gemm) ------------------------------------------------- */
static double best_of(void (*fn)(void *), void *ctx)
{
	double best = 1e9;
	for (int r = 0; r < 7; r++) {
		double t0 = lm_now();
		fn(ctx);
		double t = lm_now() - t0;
		if (t < best) best = t;
	}
	return best;
}
struct gemv_run { const struct kern *k; enum dtype t; char *w, *x; float *y; int rows, cols, n_tok; char *panel, *xp; };
static void run_gemv(void *p)
{
	struct gemv_run *g = p;
	g->k->w[g->t].gemv(g->y, g->w, quant_row_bytes(g->t, g->cols), g->x, g->rows, g->cols);
}
static void run_gemm(void *p)
{
	struct gemv_run *g = p;
	const struct kern_gemm *m = g->k->w[g->t].gemm;
	int64_t row = quant_row_bytes(g->t, g->cols);
	if (m->pack_x) m->pack_x(g->xp, g->x, g->n_tok, g->cols);
	for (int r = 0; r < g->rows; r += m->nr) {
		int n = g->rows - r < m->nr ? g->rows - r : m->nr;
		g->k->w[g->t].pack(g->panel, g->w + row * r, row, n, g->cols);
		m->run(g->y + r, g->rows, g->panel, m->pack_x ? g->xp : g->x, n, g->n_tok, g->cols);
	}
}
static void bench_type(const struct kern *k, const struct kern *ck, const struct wtype *wt)
{
	static const struct { int rows, cols; const char *note; } shapes[] = { { 1536, 576, "" }, { 2048, 2048, "" }, { 40960, 2048, "dram" } };
	for (int s = 0; s < 3; s++) {
		struct gemv_run g = { .k = k, .t = wt->t, .rows = shapes[s].rows, .cols = shapes[s].cols, .n_tok = 256 };
		if (g.cols % unit_of(wt->t)) continue;
		int64_t row = quant_row_bytes(g.t, g.cols);
		enum dot_class c = quant_info(g.t)->dot;
		g.w = malloc((size_t)(row * g.rows));
		g.x = aligned_alloc(64, x_bytes(c, g.cols) * 256);
		g.y = malloc((size_t)g.rows * 256 * sizeof(float));
		fill_weights(g.w, wt, (size_t)g.rows * (size_t)(g.cols / quant_info(g.t)->block_elems), FILL_RANDOM);
		for (int t = 0; t < 256; t++) make_x(g.x + x_bytes(c, g.cols) * (size_t)t, c, g.cols, FILL_RANDOM, ck);
		double v = best_of(run_gemv, &g);
		printf("%-10s %-6s gemv %6dx%-5d %9.1f us %7.2f GB/s %s\n", level_name, wt->name, g.rows, g.cols, v * 1e6,
		       (double)(row * g.rows) / v * 1e-9, shapes[s].note);
		if (k->w[g.t].gemm && s < 2) {
			const struct kern_gemm *m = k->w[g.t].gemm;
			g.panel = aligned_alloc(64, x_align(m->panel_bytes(g.cols)));
			g.xp = aligned_alloc(64, m->pack_x ? x_align(m->xp_bytes(256, g.cols)) : 64);
			v = best_of(run_gemm, &g);
			printf("%-10s %-6s gemm %6dx%-5d %9.1f us %7.1f Gop/s, 256 tokens\n", level_name, wt->name, g.rows, g.cols, v * 1e6,
			       2.0 * g.rows * g.cols * 256 / v * 1e-9);
			free(g.panel);
			free(g.xp);
		}
		free(g.w);
		free(g.x);
		free(g.y);
	}
}

/* ---- the walk ------------------------------------------------------------------------------------------------------ */
static void run_exp(float *y, const float *x, const float *w, int n, const struct kern *k) { (void)w; k->exp(y, x, n); }

/* The three loops of recurrent layers: p lanes of n states, y and state both. */
enum loop { SSM, SSM_STATE, DELTA };
static void run_loop(enum loop l, const struct kern *k, float *y, float *s, const float *x, const float *b, int n, int p)
{
	if (l == SSM) k->ssm(y, s, x, b, b + n, 0.7f, n, p);
	else if (l == SSM_STATE) k->ssm_state(y, s, x, s + p, b[0], b[1], p);
	else k->delta(y, s, b, b + n, x, 0.9f, 0.4f, n, p);
}
static void check_loop(const struct kern *k, const struct kern *ck, enum loop l)
{
	for (int p = 1; p <= 80; p++)
		for (int n = l == SSM_STATE ? 2 : 1; n <= (l == SSM_STATE ? 2 : 40); n += 13) {
			size_t size = (size_t)n * (size_t)p;
			struct guard x = guard_new((size_t)p * 4), b = guard_new((size_t)n * 8);
			float *ya = canary_new((size_t)p), *yb = canary_new((size_t)p), *sa = canary_new(size), *sb = canary_new(size);
			fill_floats((float *)x.p, p, FILL_RANDOM);
			fill_floats((float *)b.p, 2 * n, FILL_RANDOM);
			fill_floats(sa, (int)size, FILL_RANDOM);
			memcpy(sb, sa, size * 4);
			fill_floats(ya, p, FILL_RANDOM);
			memcpy(yb, ya, (size_t)p * 4);
			run_loop(l, k, ya, sa, (float *)x.p, (float *)b.p, n, p);
			run_loop(l, ck, yb, sb, (float *)x.p, (float *)b.p, n, p);
			compare("p, n of y", ya, yb, (size_t)p, p, n);
			compare("p, n of the state", sa, sb, size, p, n);
			require(canary_ok(ya, (size_t)p) && canary_ok(sa, size), "wrote outside y or the state");
			canary_free(ya), canary_free(yb), canary_free(sa), canary_free(sb);
			guard_free(&x);
			guard_free(&b);
		}
}

static void check_rows(const struct kern *k, const struct kern *below, const struct kern *ck)
{
	static const char *const act_names[] = { "none", "sigmoid", "silu", "gelu", "gelu_tanh", "relu2", "swiglu_oai" };
#define ROW(slot, fn) if (begin_slot(#slot, (void *)k->slot, (void *)below->slot)) { fn; end_slot(); }
	ROW(quant_x32, check_quant(k, ck, false))
	ROW(quant_x256, check_quant(k, ck, true))
	ROW(norm_rms, (check_row(k, ck, run_norm), check_row(k, ck, run_norm0)))
	ROW(add, check_row(k, ck, run_add))
	ROW(softcap, check_row(k, ck, run_cap))
	ROW(to_f16, check_row(k, ck, run_f16))
	ROW(attn_merge, check_row(k, ck, run_merge))
	ROW(rope, check_rope(k, ck))
	ROW(attn_score, check_score(k, ck))
	ROW(attn_soft, check_soft(k, ck))
	ROW(attn_value, check_value(k, ck))
	ROW(exp, check_row(k, ck, run_exp))
	ROW(ssm, check_loop(k, ck, SSM))
	ROW(ssm_state, check_loop(k, ck, SSM_STATE))
	ROW(delta, check_loop(k, ck, DELTA))
	for (int a = ACT_NONE; a <= ACT_SWIGLU_OAI; a++) {
		char name[32];
		snprintf(name, sizeof name, "act %s", act_names[a]);
		row_act = (enum act)a;
		if (!begin_slot(name, (void *)k->act, (void *)below->act)) continue;
		check_row(k, ck, run_act);
		check_row(k, ck, run_act0);
		end_slot();
	}
}

static void check_level(const struct kern *k, const struct kern *below, const struct kern *ck)
{
	for (int i = 0; i < N_WTYPES; i++) {
		const struct wtype *wt = &wtypes[i];
		const struct kern_type *m = &k->w[wt->t], *b = &below->w[wt->t];
		char name[40];
		snprintf(name, sizeof name, "gemv %s", wt->name);
		if (begin_slot(name, (void *)m->gemv, (void *)b->gemv)) {
			check_gemv(k, ck, wt);
			end_slot();
		}
		snprintf(name, sizeof name, "few %s", wt->name);
		if (k->few[wt->t] && k->few[wt->t] != below->few[wt->t] && begin_slot(name, m, NULL)) {
			check_few(k, ck, wt);
			end_slot();
		}
		snprintf(name, sizeof name, "gemm %s", wt->name);
		if (m->gemm && (m->gemm != b->gemm || m->pack != b->pack) && begin_slot(name, m, NULL)) {
			check_gemm(k, ck, wt);
			end_slot();
		}
		if (bench && (!want_kern || strstr(name, want_kern) || strstr(want_kern, wt->name))) bench_type(k, ck, wt);
	}
	check_rows(k, below, ck);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--isa=", 6)) want_isa = argv[i] + 6;
		else if (!strncmp(argv[i], "--kern=", 7)) want_kern = argv[i] + 7;
		else if (!strncmp(argv[i], "--seed=", 7)) seed = strtoull(argv[i] + 7, NULL, 10);
		else if (!strcmp(argv[i], "--bench")) bench = true;
		else {
			fprintf(stderr, "check_kern [--isa=NAME] [--kern=TEXT] [--bench] [--seed=N]\n");
			return 2;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	struct kern c, below, k;
	kern_init_c(&c);
	below = c;
	for (int i = 0; i < n_cpu_levels; i++) {
		unsigned flags;
		struct lm_err err;
		level_name = cpu_levels[i].name;
		if (!strcmp(level_name, "c")) {
			if (bench && (!want_isa || !strcmp(want_isa, "c")))
				for (int w = 0; w < N_WTYPES; w++)
					if (!want_kern || strstr(want_kern, wtypes[w].name)) bench_type(&c, &c, &wtypes[w]);
			continue;
		}
		if (cpu_flags(&flags, level_name, &err)) {
			printf("%-10s not run: this processor lacks it\n", level_name);
			continue;
		}
		kern_init(&k, flags);
		int before = n_passed + n_failed;
		if (!want_isa || !strcmp(want_isa, level_name)) {
			check_level(&k, &below, &c);
			printf("%-10s %d slots checked\n", level_name, n_passed + n_failed - before);
		}
		below = k;
	}
	printf("check_kern: %d comparisons\n%d passed, %d failed\n", n_checks, n_passed, n_failed);
	return n_failed != 0;
}
