/* cpu_fast.h - OpenBLAS, loaded at run time: what `--fast` uses where it is measured faster than our kernels, and what
 * `bench --f32` is held against.  Outside the contract of bytes: its sums depend on the batch. */
#pragma once
#include "kernels/ops.h"

/* cblas.h with order 101 = by rows, transposition 111 = as it lies, 112 = transposed */
typedef void blas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b,
                        int ldb, float beta, float *c, int ldc);
typedef void blas_sgemv(int order, int ta, int m, int n, float alpha, const float *a, int lda, const float *x, int incx,
                        float beta, float *y, int incy);
struct blas { blas_sgemm *gemm; blas_sgemv *gemv; };

/* Loads libopenblas.so.0, which stays loaded and is told to compute on the caller's thread alone.  LM_EUNSUPPORTED with a
 * sentence that names it where it is not installed. */
int blas_load(struct blas *b, struct lm_err *err);
/* From now on the CPU backend b may use OpenBLAS; LM_EINVAL for another backend.  Before the first step. */
int cpu_fast(struct backend *b, struct lm_err *err);
