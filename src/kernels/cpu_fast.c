/* cpu_fast.c - see cpu_fast.h. */
#include "kernels/cpu_fast.h"
#include "kernels/cpu_backend.h"
#include <dlfcn.h>

int blas_load(struct blas *b, struct lm_err *err)
{
	void *lib = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return lm_fail(err, LM_EUNSUPPORTED, "libopenblas.so.0 cannot be loaded: OpenBLAS (Debian: libopenblas0) is what "
		               "--fast and bench --f32 need");
	void (*threads)(int) = (void (*)(int))dlsym(lib, "openblas_set_num_threads");
	b->gemm = (blas_sgemm *)dlsym(lib, "cblas_sgemm");
	b->gemv = (blas_sgemv *)dlsym(lib, "cblas_sgemv");
	if (!threads || !b->gemm || !b->gemv)
		return lm_fail(err, LM_EUNSUPPORTED, "libopenblas.so.0 lacks cblas_sgemm: it is not OpenBLAS with its C interface");
	threads(1);                      /* our pool shares the rows out */
	return 0;
}

int cpu_fast(struct backend *b, struct lm_err *err)
{
	struct blas blas;
	if (strcmp(b->name, "cpu")) return lm_fail(err, LM_EINVAL, "--fast is for the device cpu, not for %s", b->name);
	int rc = blas_load(&blas, err);
	if (!rc) cpu_of(b)->sgemm = blas.gemm;
	return rc;
}

/* f32 weights on Zen 4 against OpenBLAS 0.3.21, one thread, Gop/s: AVX-512, K 576, 64 and 512 tokens 85 : 94 and
 * 83 : 104, from K 2048 on 91 : 70 and 101 : 99; AVX2, K 2048, 8, 64 and 512 tokens 34 : 40, 44 : 83 and 44 : 104. */
bool cpu_fast_wins(const struct cpu *c, const struct mat *w, int n_tok)
{
	if (!c->sgemm || w->type != DT_F32) return false;
	return c->k.flags & CPU_AVX512 ? w->cols < 1024 && n_tok >= 64 : n_tok >= 16;
}

/* Two chunks a thread: each packs all of x anew. */
int cpu_fast_rows(const struct cpu *c, const struct mat *w)
{
	int n = (w->rows + 2 * c->n_threads - 1) / (2 * c->n_threads);
	return n < 64 ? 64 : n;
}

void cpu_fast_strip(const struct cpu *c, const struct strip *s)
{
	const struct mat *w = s->w;
	const int f = (int)sizeof(float);
	c->sgemm(101, 111, 112, s->n_tok, s->n, w->cols, 1, (const float *)(const void *)s->x, (int)x_bytes(DOT_F32, w->cols) / f,
	         mat_row(*w, s->r), (int)(w->stride / f), 0, s->y, (int)s->y_stride);
}
