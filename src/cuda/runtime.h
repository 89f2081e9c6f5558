/* runtime.h - the little that the backend asks of CUDA's runtime.  runtime.c stands on libcudart;
 * tests/cuda/sim.cpp stands in for it, with device memory that the host cannot touch.
 * A function returns NULL, or what went wrong as a string that stays valid. */
#pragma once
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gpu_info {
	char name[256];
	size_t memory;
	int major, minor;
};

const char *gpu_count(int *n); /* *n is 0 when it fails */
const char *gpu_describe(int device, struct gpu_info *out);
const char *gpu_select(int device);        /* for this thread, from now on */
const char *gpu_alloc(void **p, size_t n); /* zeroed, 256-byte aligned */
void gpu_free(void *p);                    /* NULL is fine */
/* rows of `width` bytes, `pitch` bytes apart; both wait for the copy, after all launches before them */
const char *gpu_write(void *dst, size_t dst_pitch, const void *src, size_t src_pitch, size_t width,
		      size_t rows);
const char *gpu_read(void *dst, size_t dst_pitch, const void *src, size_t src_pitch, size_t width,
		     size_t rows);
const char *gpu_wait(void); /* for all launches; reports the first that failed */

#ifdef __cplusplus
}
#endif
