/* cuda_stub.c - what stands for CUDA in a build without it. */
#include "cuda/cuda.h"

int backend_cuda(struct backend **out, int device, struct lm_err *err)
{
	*out = NULL;
	return lm_fail(err, LM_EUNSUPPORTED, "cuda:%d: CUDA is not supported in this build (make CUDA=1)",
		       device);
}

void cuda_list(struct lm_buf *b)
{
	lm_buf_str(b, "cuda    not in this build (make CUDA=1, with nvcc)\n");
}
