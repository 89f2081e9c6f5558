/* cuda.h - NVIDIA GPUs behind the op table. */
#pragma once
#include "kernels/ops.h"

/* LM_EUNSUPPORTED in a build without CUDA, LM_EDEVICE when there is no such GPU. */
int backend_cuda(struct backend **out, int device, struct lm_err *err);
void cuda_list(struct lm_buf *b);        /* one line per GPU, "cuda:0  name, memory"; nothing without one */
