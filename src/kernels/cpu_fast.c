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

/* Our f32 products on Zen 4, one thread, as a multiple of OpenBLAS 0.3.21's speed with 1, 8, 64 and 512 tokens (`lmrun bench --f32`):
 * AVX-512 2048 x 2048 0.88, 2.30, 1.28, 1.02; 576 x 576 0.78, 1.29, 0.91, 0.84; AVX2 0.92, 1.68, 0.92, 0.65; 0.85, 1.06, 0.72, 0.64.
 * One token reads memory, whoever does it. */
bool cpu_fast_wins(const struct cpu *c, const struct mat *w, int n_tok)
{
	if (!c->sgemm || w->type != DT_F32) return false;
	return n_tok >= 64 && (w->cols < 1024 || !(c->k.flags & CPU_AVX512));
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
