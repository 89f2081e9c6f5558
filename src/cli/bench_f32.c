/* bench_f32.c - `lmrun bench --f32`: our f32 product beside OpenBLAS's, each on one thread. */
#include "cli/bench.h"
#include "kernels/cpu_fast.h"
#include "kernels/kern.h"
#include <stdio.h>
#include <stdlib.h>

struct shape { int rows, cols; };
struct product {
	const struct kern_type *k;
	struct blas blas;
	int rows, cols, n_tok;
	float *w, *x, *y;
	char *panel, *xp;
};

static void ours(struct product *p)
{
	const struct kern_gemm *g = p->k->gemm;
	int64_t stride = (int64_t)p->cols * 4;
	if (p->n_tok == 1 || !g) {
		for (int t = 0; t < p->n_tok; t++)
			p->k->gemv(p->y + (size_t)t * (size_t)p->rows, p->w, stride, (char *)p->x + (size_t)t * x_bytes(DOT_F32, p->cols), p->rows, p->cols);
		return;
	}
	if (g->pack_x) g->pack_x(p->xp, p->x, p->n_tok, p->cols);
	for (int i = 0; i < p->rows; i += g->nr) {
		int n = p->rows - i < g->nr ? p->rows - i : g->nr;
		p->k->pack(p->panel, p->w + (size_t)i * (size_t)p->cols, stride, n, p->cols);
		g->run(p->y + i, p->rows, p->panel, g->pack_x ? p->xp : (char *)p->x, n, p->n_tok, p->cols);
	}
}

static void theirs(struct product *p)
{
	int xs = (int)(x_bytes(DOT_F32, p->cols) / sizeof(float));
	if (p->n_tok == 1) p->blas.gemv(101, 111, p->rows, p->cols, 1, p->w, p->cols, p->x, 1, 0, p->y, 1);
	else p->blas.gemm(101, 111, 112, p->n_tok, p->rows, p->cols, 1, p->x, xs, p->w, p->cols, 0, p->y, p->rows);
}

/* In turn, the best of each, Gop/s; theirs 0 without OpenBLAS. */
static void compare(struct product *p, double gops[2])
{
	double best[2] = { 1e30, 1e30 }, start = lm_now(), ops = 2.0 * p->n_tok * p->rows * p->cols;
	for (int i = 0; i < 50 && (i < 3 || lm_now() - start < 0.4); i++)
		for (int who = 0; who < (p->blas.gemm ? 2 : 1); who++) {
			double t = lm_now();
			(who ? theirs : ours)(p);
			t = lm_now() - t;
			if (t < best[who]) best[who] = t;
		}
	for (int who = 0; who < 2; who++) gops[who] = ops / best[who] * 1e-9;
}

static int bench_shape(struct product *p, const struct shape *s, bool json)
{
	static const int tokens[] = { 1, 8, 64, 512 };
	const struct kern_gemm *g = p->k->gemm;
	size_t n_w = (size_t)s->rows * (size_t)s->cols, n_x = x_bytes(DOT_F32, s->cols) / sizeof(float) * 512;
	p->rows = s->rows;
	p->cols = s->cols;
	p->w = lm_aligned(64, n_w * sizeof(float));
	p->x = lm_aligned(64, n_x * sizeof(float));
	p->y = lm_aligned(64, (size_t)s->rows * 512 * sizeof(float));
	p->panel = g ? lm_aligned(64, g->panel_bytes(s->cols) + 64) : NULL;
	p->xp = g && g->pack_x ? lm_aligned(64, g->xp_bytes(512, s->cols) + 64) : NULL;
	int rc = p->w && p->x && p->y && (!g || p->panel) && (!g || !g->pack_x || p->xp) ? 0 : LM_ENOMEM;
	for (size_t i = 0; i < n_w && !rc; i++) p->w[i] = (float)(i % 97) * 0.01f;
	for (size_t i = 0; i < n_x && !rc; i++) p->x[i] = (float)(i % 89) * 0.01f;
	for (int i = 0; i < 4 && !rc; i++) {
		double gops[2];
		p->n_tok = tokens[i];
		compare(p, gops);
		if (json) printf("{\"rows\":%d,\"cols\":%d,\"tokens\":%d,\"gops\":%.4g", s->rows, s->cols, tokens[i], gops[0]);
		else printf("| %5d x %-5d | %6d | %10.1f ", s->rows, s->cols, tokens[i], gops[0]);
		if (!p->blas.gemm) printf(json ? "}\n" : "|            |       |\n");
		else if (json) printf(",\"openblas_gops\":%.4g}\n", gops[1]);
		else printf("| %10.1f | %4.2fx |\n", gops[1], gops[0] / gops[1]);
	}
	lm_free(p->w), lm_free(p->x), lm_free(p->y), lm_free(p->panel), lm_free(p->xp);
	return rc;
}

int bench_f32(bool json, struct lm_err *err)
{
	static const struct shape shapes[] = { { 2048, 2048 }, { 8192, 2048 }, { 2048, 8192 }, { 576, 576 } };
	struct kern *k = lm_calloc(1, sizeof *k);
	struct product p = { 0 };
	struct lm_err none;
	unsigned flags;
	int rc = cpu_flags(&flags, getenv("LMRUN_CPU"), err);
	if (!rc && !k) rc = lm_fail(err, LM_ENOMEM, "out of memory");
	if (!rc) {
		kern_init(k, flags);
		p.k = &k->w[DT_F32];
		if (blas_load(&p.blas, &none)) {
			p.blas = (struct blas){ 0 };
			fprintf(stderr, "%s\n", none.msg);
		}
		if (!json)
			printf("%s, %s, one thread: f32 products, Gop/s\n\n| matrix        | tokens |      lmrun |   OpenBLAS | ratio |\n"
			       "|---------------|--------|------------|------------|-------|\n", cpu_model(), cpu_name(flags));
	}
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && !rc; i++)
		if (bench_shape(&p, &shapes[i], json)) rc = lm_fail(err, LM_ENOMEM, "out of memory");
	lm_free(k);
	return rc;
}
