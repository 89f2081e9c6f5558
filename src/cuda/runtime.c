/* runtime.c - runtime.h on libcudart, linked statically: without a driver gpu_count fails and the program
 * goes on. */
#include "cuda/runtime.h"
#include <cuda_runtime_api.h>
#include <stdio.h>

static const char *say(cudaError_t e)
{
	return e == cudaSuccess ? NULL : cudaGetErrorString(e);
}

const char *gpu_count(int *n)
{
	const char *why = say(cudaGetDeviceCount(n));
	if (why) *n = 0;
	return why;
}

const char *gpu_describe(int device, struct gpu_info *out)
{
	struct cudaDeviceProp p;
	const char *why = say(cudaGetDeviceProperties(&p, device));
	if (why) return why;
	snprintf(out->name, sizeof out->name, "%s", p.name);
	out->memory = p.totalGlobalMem;
	out->major = p.major;
	out->minor = p.minor;
	return NULL;
}

const char *gpu_select(int device)
{
	return say(cudaSetDevice(device));
}

const char *gpu_alloc(void **p, size_t n)
{
	const char *why = say(cudaMalloc(p, n));
	if (why)
		*p = NULL;
	else if ((why = say(cudaMemset(*p, 0, n))) != NULL)
		gpu_free(*p), *p = NULL;
	return why;
}

void gpu_free(void *p)
{
	(void)cudaFree(p);
}

const char *gpu_write(void *dst, size_t dst_pitch, const void *src, size_t src_pitch, size_t width,
		      size_t rows)
{
	return say(cudaMemcpy2D(dst, dst_pitch, src, src_pitch, width, rows, cudaMemcpyHostToDevice));
}

const char *gpu_read(void *dst, size_t dst_pitch, const void *src, size_t src_pitch, size_t width,
		     size_t rows)
{
	return say(cudaMemcpy2D(dst, dst_pitch, src, src_pitch, width, rows, cudaMemcpyDeviceToHost));
}

const char *gpu_wait(void)
{
	const char *launch = say(cudaGetLastError()); /* a launch that never started */
	const char *run = say(cudaDeviceSynchronize());
	return launch ? launch : run;
}
