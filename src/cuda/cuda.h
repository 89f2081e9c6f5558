/* cuda.h - NVIDIA GPUs behind the op table.  The code runs in the tests' simulator and compiles with nvcc;
 * docs/gpu.md says what is proven and what is not. */
#pragma once
#include "kernels/ops.h"

/* For models.  LM_EUNSUPPORTED in a build without CUDA, and as long as an operation is missing; LM_EDEVICE
 * when there is no such GPU. */
int backend_cuda(struct backend **out, int device, struct lm_err *err);
/* The device with the operations that exist, the others NULL: for tests.  Not in a build without CUDA. */
int cuda_open(struct backend **out, int device, struct lm_err *err);
void cuda_list(struct lm_buf *b); /* one line per GPU, or one that says why there is none */
