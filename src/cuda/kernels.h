/* kernels.h - the launches of kernels.cu, as the C side calls them.  Pointers are device pointers, strides
 * are in bytes; nothing waits and nothing fails here: runtime.h's gpu_wait reports. */
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* kind as enum norm_kind; w, bias: n_w, n_bias values or NULL, repeated along the row. */
struct norm_args {
	float *y;
	const float *x, *w, *bias;
	int64_t y_stride, x_stride;
	int rows, cols, group, n_w, n_bias, kind;
	float eps;
};
void gpu_norm(const struct norm_args *a);

/* y += scale * x */
void gpu_add(float *y, int64_t y_stride, const float *x, int64_t x_stride, int rows, int cols, float scale);

/* Activation rows as int8: q[rows][n], d[rows][n / unit], sum[rows][n / 32] of q. */
struct act_rows {
	int8_t *q;
	float *d;
	int *sum;
};
/* unit: 32 or 256, as quant.h's DOT_X32 and DOT_X256; the rule of a block is exact.h's. */
void gpu_quantise(struct act_rows a, const float *x, int64_t x_stride, int rows, int n, int unit);

/* y[t][r] = scale * (W x[t] + bias)[r], W [w_rows][n] in the file's blocks, each row 16-byte (q4_k) or 2-byte
 * aligned. */
struct matvec_args {
	float *y;
	const uint8_t *w;
	const float *bias;
	struct act_rows x;
	int64_t y_stride, w_stride;
	int w_rows, rows, n;
	float scale;
};
void gpu_matvec_q8_0(const struct matvec_args *a);
void gpu_matvec_q4_k(const struct matvec_args *a);

#ifdef __cplusplus
}
#endif
