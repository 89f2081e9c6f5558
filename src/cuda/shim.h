/* shim.h - what kernels.cu needs besides CUDA C++, so that one source serves two compilers.  Under nvcc: a
 * launch macro, dynamic shared memory, f16.  Under a host compiler: CUDA itself, one fiber per thread of a
 * block, one block at a time; tests/cuda/sim.cpp switches between them in an order that the test chooses.
 *
 * GOTCHAS of the host side
 *   - a static __shared__ array keeps what the block before left in it; dynamic shared memory starts as NaN
 *   - a thread may not return before the others' __syncthreads or full-mask shuffle: undefined in CUDA, a
 *     failure here, with the kernel's name, the line and the thread
 *   - nothing is said here of registers, bank conflicts, coalescing: only nvcc and a device know */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__

#define LAUNCH(kernel, grid, block, smem, stream, ...) kernel<<<grid, block, smem, stream>>>(__VA_ARGS__)
#define DYN_SHARED(T, name)                                                                                  \
	extern __shared__ __align__(16) unsigned char dyn_shared_bytes[];                                    \
	T *name = reinterpret_cast<T *>(dyn_shared_bytes)

/* Not from cuda_fp16.h: that header alone doubles the compile time of kernels.cu. */
static __device__ __forceinline__ float f16_to_f32(uint16_t h)
{
	float f;
	asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
	return f;
}
static __device__ __forceinline__ float bf16_to_f32(uint16_t h)
{
	return __uint_as_float((uint32_t)h << 16);
}

#else

#include <math.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__                       static thread_local

struct dim3 {
	unsigned x, y, z;
	dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) int2 {
	int x, y;
};
struct alignas(16) int4 {
	int x, y, z, w;
};
struct alignas(16) uint4 {
	unsigned x, y, z, w;
};

/* What the running fiber sees.  sim_here changes with every switch. */
struct sim_here {
	dim3 thread, block, block_dim, grid_dim;
};
extern thread_local sim_here sim_here_now;
#define threadIdx                        (sim_here_now.thread)
#define blockIdx                         (sim_here_now.block)
#define blockDim                         (sim_here_now.block_dim)
#define gridDim                          (sim_here_now.grid_dim)

void *sim_dyn_shared();
#define DYN_SHARED(T, name)              T *name = static_cast<T *>(sim_dyn_shared())

/* Both return when all threads of the block, or all lanes of the mask, have come to the same line. */
void sim_syncthreads(const char *file, int line);
uint32_t sim_shuffle(unsigned mask, uint32_t mine, int from_lane, const char *file, int line);
#define __syncthreads()                  sim_syncthreads(__FILE__, __LINE__)
#define __shfl_xor_sync(mask, v, lanes)  sim_shfl_xor(mask, v, lanes, __FILE__, __LINE__)
#define __shfl_down_sync(mask, v, lanes) sim_shfl_down(mask, v, lanes, __FILE__, __LINE__)

int sim_lane();
template <class T> T sim_shfl(unsigned mask, T v, int from, const char *file, int line)
{
	uint32_t bits;
	static_assert(sizeof v == sizeof bits, "shuffles move 32 bits");
	memcpy(&bits, &v, sizeof bits);
	bits = sim_shuffle(mask, bits, from, file, line);
	memcpy(&v, &bits, sizeof bits);
	return v;
}
template <class T> T sim_shfl_xor(unsigned mask, T v, int lanes, const char *file, int line)
{
	return sim_shfl(mask, v, sim_lane() ^ lanes, file, line);
}
template <class T> T sim_shfl_down(unsigned mask, T v, int lanes, const char *file, int line)
{
	return sim_shfl(mask, v, sim_lane() + lanes > 31 ? sim_lane() : sim_lane() + lanes, file, line);
}

/* The two signatures CUDA has for scalars: a mixed call is ambiguous here as it is there. */
static inline int __dp4a(int a, int b, int c)
{
	for (int i = 0; i < 32; i += 8) c += (int8_t)(a >> i) * (int8_t)(b >> i);
	return c;
}
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c)
{
	for (int i = 0; i < 32; i += 8) c += (a >> i & 255) * (b >> i & 255);
	return c;
}

static inline float bf16_to_f32(uint16_t h)
{
	uint32_t u = (uint32_t)h << 16;
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}
static inline float f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 1023;
	if (e == 0) return (sign ? -1.0f : 1.0f) * ldexpf((float)m, -24);
	uint32_t u = sign | (e == 31 ? 255u : e + 112) << 23 | m << 13;
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

/* Runs body once per thread of every block; what goes wrong is kept for sim_fault(). */
void sim_run(const char *kernel, dim3 grid, dim3 block, size_t smem, void (*body)(void *), void *ctx);
template <class F> void sim_launch(const char *kernel, dim3 grid, dim3 block, size_t smem, F f)
{
	sim_run(
		kernel, grid, block, smem, [](void *p) { (*static_cast<F *>(p))(); }, &f);
}
#define LAUNCH(kernel, grid, block, smem, stream, ...)                                                       \
	sim_launch(#kernel, grid, block, smem, [=] { kernel(__VA_ARGS__); })

#endif
