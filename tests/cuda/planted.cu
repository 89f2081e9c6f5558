/* planted.cu - kernels that are wrong on purpose, so that the simulator must say so, and two that show what
 * it computes. nvcc never sees them. */
#include "cuda/shim.h"
#include "sim.h"

static __device__ float sum_without_second_barrier(float v, float *part)
{
	for (int i = 16; i > 0; i /= 2) v += __shfl_xor_sync(0xffffffffu, v, i);
	if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
	__syncthreads();
	return part[0] + part[1];
}

static __global__ void no_sync_kernel(float *out)
{
	__shared__ float part[2];
	float a = sum_without_second_barrier((float)threadIdx.x, part);
	float b = sum_without_second_barrier(a * a, part);
	out[threadIdx.x] = b;
}
void planted_no_sync(float *out)
{
	LAUNCH(no_sync_kernel, 1, 64, 0, 0, out);
}

static __global__ void divergent_sync_kernel(float *out)
{
	if (threadIdx.x < 32) __syncthreads();
	out[threadIdx.x] = 1;
}
void planted_divergent_sync(float *out)
{
	LAUNCH(divergent_sync_kernel, 1, 64, 0, 0, out);
}

static __global__ void two_syncs_kernel(float *out)
{
	if (threadIdx.x < 32)
		__syncthreads();
	else
		__syncthreads();
	out[threadIdx.x] = 1;
}
void planted_two_syncs(float *out)
{
	LAUNCH(two_syncs_kernel, 1, 64, 0, 0, out);
}

static __global__ void lost_lane_kernel(float *out)
{
	if (threadIdx.x == 7) return;
	out[threadIdx.x] = __shfl_down_sync(0xffffffffu, (float)threadIdx.x, 1);
}
void planted_lost_lane(float *out)
{
	LAUNCH(lost_lane_kernel, 1, 32, 0, 0, out);
}

static __global__ void overrun_kernel(float *out, int n)
{
	if ((int)threadIdx.x <= n) out[threadIdx.x] = 1;
}
void planted_overrun(float *out, int n)
{
	LAUNCH(overrun_kernel, 1, 32 * (n / 32 + 1), 0, 0, out, n);
}

static __global__ void halves_kernel(float *f16, float *bf16)
{
	unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
	f16[i] = f16_to_f32((uint16_t)i);
	bf16[i] = bf16_to_f32((uint16_t)i);
}
void planted_halves(float *f16, float *bf16)
{
	LAUNCH(halves_kernel, 256, 256, 0, 0, f16, bf16);
}

static __global__ void shuffles_kernel(int *out)
{
	int v = __shfl_xor_sync(0xffffffffu, (int)threadIdx.x * 10, 5);
	out[threadIdx.x] = __shfl_down_sync(0xffffffffu, v, 3);
}
void planted_shuffles(int *out)
{
	LAUNCH(shuffles_kernel, 1, 64, 0, 0, out);
}
