/* kernels.cu - the kernels of the CUDA backend, in the plain subset of CUDA C++ that shim.h also runs on the
 * host: no libraries, nothing beyond sm_80.
 *
 * GOTCHAS
 *   - no thread returns before a __syncthreads of its block; in kernels without one, whole warps may
 *   - block_sum's second barrier keeps a fast warp from overwriting partial sums that a slow one still reads
 *   - blocks of Q8_0 are 34 bytes, so only 2-byte loads are aligned; Q4_K's are 144, so 16-byte loads are */
#include "cuda/shim.h"
#include "cuda/kernels.h"
#include "quant/quant.h"

enum {
	WARP = 32,
	NORM_THREADS = 256,
	ADD_THREADS = 256,
	MV_WARPS = 4, /* weight rows of a block */
	MV_TOKENS = 4 /* activation rows that share one reading of the weights */
};
#define ALL_LANES 0xffffffffu

static __device__ __forceinline__ float warp_sum(float v)
{
	for (int i = WARP / 2; i > 0; i /= 2) v += __shfl_xor_sync(ALL_LANES, v, i);
	return v;
}

static __device__ __forceinline__ int load_int(const uint8_t *p) /* 2-byte aligned */
{
	const uint16_t *h = reinterpret_cast<const uint16_t *>(p);
	return (int)((uint32_t)h[0] | (uint32_t)h[1] << 16);
}

static __device__ __forceinline__ float load_f16(const uint8_t *p)
{
	return f16_to_f32(*reinterpret_cast<const uint16_t *>(p));
}

static __device__ __forceinline__ float *row_of(float *p, int64_t stride, int64_t r)
{
	return reinterpret_cast<float *>(reinterpret_cast<char *>(p) + r * stride);
}

/* ---- norm: one block per row and group ---------------------------------------------------------- */
/* Sum of v over the block, the same bits in every thread.  part: one float per warp. */
static __device__ float block_sum(float v, float *part)
{
	int n_warps = (int)blockDim.x / WARP, warp = (int)threadIdx.x / WARP;
	float sum = 0;

	v = warp_sum(v);
	if (threadIdx.x % WARP == 0) part[warp] = v;
	__syncthreads();
	for (int i = 0; i < n_warps; i++) sum += part[i];
	__syncthreads();
	return sum;
}

static __global__ void norm_kernel(struct norm_args a)
{
	DYN_SHARED(float, part);
	int groups = a.cols / a.group, first = (int)(blockIdx.x % groups) * a.group;
	int64_t r = blockIdx.x / groups;
	const float *x = row_of(const_cast<float *>(a.x), a.x_stride, r) + first;
	float *y = row_of(a.y, a.y_stride, r) + first;
	float mean = 0, sq = 0, f;

	if (a.kind == 1) { /* NORM_LN */
		for (int i = (int)threadIdx.x; i < a.group; i += (int)blockDim.x) mean += x[i];
		mean = block_sum(mean, part) / (float)a.group;
	}
	for (int i = (int)threadIdx.x; i < a.group; i += (int)blockDim.x)
		sq = fmaf(x[i] - mean, x[i] - mean, sq);
	sq = block_sum(sq, part);
	if (a.kind == 2)
		f = 1.0f / fmaxf(sqrtf(sq), a.eps); /* NORM_L2 */
	else
		f = 1.0f / sqrtf(sq / (float)a.group + a.eps);
	for (int i = (int)threadIdx.x; i < a.group; i += (int)blockDim.x) {
		float v = (x[i] - mean) * f;
		if (a.w) v *= a.w[(first + i) % a.n_w];
		y[i] = a.bias ? v + a.bias[(first + i) % a.n_bias] : v;
	}
}

extern "C" void gpu_norm(const struct norm_args *a)
{
	unsigned blocks = (unsigned)a->rows * (unsigned)(a->cols / a->group);
	if (blocks) LAUNCH(norm_kernel, blocks, NORM_THREADS, NORM_THREADS / WARP * sizeof(float), 0, *a);
}

/* ---- add ---------------------------------------------------------------------------------------- */
static __global__ void add_kernel(float *y, int64_t y_stride, const float *x, int64_t x_stride, int cols,
				  float scale)
{
	int i = (int)(blockIdx.y * blockDim.x + threadIdx.x);
	float *yr = row_of(y, y_stride, blockIdx.x);
	const float *xr = row_of(const_cast<float *>(x), x_stride, blockIdx.x);
	if (i < cols) yr[i] = fmaf(scale, xr[i], yr[i]);
}

extern "C" void gpu_add(float *y, int64_t y_stride, const float *x, int64_t x_stride, int rows, int cols,
			float scale)
{
	dim3 grid((unsigned)rows, (unsigned)(cols + ADD_THREADS - 1) / ADD_THREADS);
	if (rows > 0) LAUNCH(add_kernel, grid, ADD_THREADS, 0, 0, y, y_stride, x, x_stride, cols, scale);
}

/* ---- activations to int8: a warp per unit, PER = unit / 32 neighbours a lane -------------------- */
template <int PER>
static __device__ __forceinline__ void quantise_unit(struct act_rows a, const float *x, int64_t row, int u,
						     int n)
{
	int lane = (int)threadIdx.x % WARP, at = (u * WARP + lane) * PER, sum = 0;
	uint32_t top = 0;
	float v[PER];

	for (int i = 0; i < PER; i++) {
		v[i] = x[at + i];
		union {
			float f;
			uint32_t u;
		} bits = { fabsf(v[i]) };
		if (bits.u > top) top = bits.u; /* as integers: a NaN wins */
	}
	for (int i = WARP / 2; i > 0; i /= 2) {
		uint32_t other = __shfl_xor_sync(ALL_LANES, top, i);
		if (other > top) top = other;
	}
	union {
		uint32_t u;
		float f;
	} m = { top };
	bool finite = top < 0x7f800000u, zero = m.f < 1e-30f;
	float d = !finite ? m.f : zero ? 0.0f : m.f / 127.0f, inv = finite && !zero ? 127.0f / m.f : 0.0f;
	for (int i = 0; i < PER; i++) {
		int q = finite && !zero ? (int)rintf(v[i] * inv) : 0;
		a.q[row * n + at + i] = (int8_t)q;
		sum += q;
	}
	if (lane == 0) a.d[row * (n / (WARP * PER)) + u] = d;
	for (int i = 1; i * PER < 32; i *= 2) sum += __shfl_xor_sync(ALL_LANES, sum, i);
	if (lane * PER % 32 == 0) a.sum[row * (n / 32) + at / 32] = sum;
}

static __global__ void quantise_kernel(struct act_rows a, const float *x, int64_t x_stride, int n, int unit)
{
	int u = (int)(blockIdx.y * (blockDim.x / WARP) + threadIdx.x / WARP);
	const float *row = row_of(const_cast<float *>(x), x_stride, blockIdx.x);
	if (u >= n / unit) return; /* the whole warp */
	if (unit == 32)
		quantise_unit<1>(a, row, blockIdx.x, u, n);
	else
		quantise_unit<8>(a, row, blockIdx.x, u, n);
}

extern "C" void gpu_quantise(struct act_rows a, const float *x, int64_t x_stride, int rows, int n, int unit)
{
	dim3 grid((unsigned)rows, (unsigned)(n / unit + MV_WARPS - 1) / MV_WARPS);
	if (rows > 0) LAUNCH(quantise_kernel, grid, MV_WARPS * WARP, 0, 0, a, x, x_stride, n, unit);
}

/* ---- matrix times a few vectors: a warp per weight row ------------------------------------------ */
static __device__ __forceinline__ void store_sums(const struct matvec_args *a, const float *acc, int r,
						  int t0, int nt)
{
	for (int t = 0; t < MV_TOKENS; t++) {
		if (t >= nt) break;
		float sum = warp_sum(acc[t]);
		if (threadIdx.x % WARP == 0)
			row_of(a->y, a->y_stride, t0 + t)[r] = a->scale * (a->bias ? sum + a->bias[r] : sum);
	}
}

/* Four lanes to a block of 32, eight elements each. */
static __global__ void matvec_q8_0_kernel(struct matvec_args a)
{
	int r = (int)(blockIdx.x * MV_WARPS + threadIdx.x / WARP), lane = (int)threadIdx.x % WARP,
	    part = lane % 4;
	int t0 = (int)blockIdx.y * MV_TOKENS, nt = a.rows - t0 < MV_TOKENS ? a.rows - t0 : MV_TOKENS;
	float acc[MV_TOKENS] = { 0 };

	if (r >= a.w_rows) return; /* the whole warp */
	for (int b = lane / 4; b < a.n / 32; b += 8) {
		const uint8_t *w = a.w + r * a.w_stride + (int64_t)b * (int)sizeof(struct block_q8_0);
		const uint8_t *q = w + offsetof(struct block_q8_0, q) + part * 8;
		float dw = load_f16(w + offsetof(struct block_q8_0, d));
		int q0 = load_int(q), q1 = load_int(q + 4);
		for (int t = 0; t < MV_TOKENS; t++) {
			if (t >= nt) break;
			int64_t row = t0 + t;
			int2 x = *reinterpret_cast<const int2 *>(a.x.q + row * a.n + b * 32 + part * 8);
			float d = dw * a.x.d[row * (a.n / 32) + b];
			acc[t] = fmaf(d, (float)__dp4a(q1, x.y, __dp4a(q0, x.x, 0)), acc[t]);
		}
	}
	store_sums(&a, acc, r, t0, nt);
}

extern "C" void gpu_matvec_q8_0(const struct matvec_args *a)
{
	dim3 grid((unsigned)(a->w_rows + MV_WARPS - 1) / MV_WARPS,
		  (unsigned)(a->rows + MV_TOKENS - 1) / MV_TOKENS);
	if (a->rows > 0 && a->w_rows > 0) LAUNCH(matvec_q8_0_kernel, grid, MV_WARPS * WARP, 0, 0, *a);
}

/* Scale and minimum of sub-block s: quant/kquants.c has the layout in words. */
static __device__ __forceinline__ void scale_min(const uint8_t *sc, int s, int *scale, int *min)
{
	if (s < 4) {
		*scale = sc[s] & 63;
		*min = sc[s + 4] & 63;
	} else {
		*scale = (sc[s + 4] & 15) | sc[s - 4] >> 6 << 4;
		*min = sc[s + 4] >> 4 | sc[s] >> 6 << 4;
	}
}

/* w: 16 bytes of nibbles, the low ones times x0, the high ones times x1. */
static __device__ __forceinline__ int2 dot_nibbles(uint4 w, int4 x0, int4 x1)
{
	const unsigned low = 0x0f0f0f0fu;
	int2 v;
	v.x = __dp4a((int)(w.x & low), x0.x, __dp4a((int)(w.y & low), x0.y, 0));
	v.x = __dp4a((int)(w.z & low), x0.z, __dp4a((int)(w.w & low), x0.w, v.x));
	v.y = __dp4a((int)(w.x >> 4 & low), x1.x, __dp4a((int)(w.y >> 4 & low), x1.y, 0));
	v.y = __dp4a((int)(w.z >> 4 & low), x1.z, __dp4a((int)(w.w >> 4 & low), x1.w, v.y));
	return v;
}

/* Eight lanes to a block of 256, 16 bytes of nibbles each: half a pair of sub-blocks. */
static __global__ void matvec_q4_k_kernel(struct matvec_args a)
{
	int r = (int)(blockIdx.x * MV_WARPS + threadIdx.x / WARP), lane = (int)threadIdx.x % WARP;
	int pair = lane % 8 / 2, half = lane % 2;
	int t0 = (int)blockIdx.y * MV_TOKENS, nt = a.rows - t0 < MV_TOKENS ? a.rows - t0 : MV_TOKENS;
	float acc[MV_TOKENS] = { 0 };

	if (r >= a.w_rows) return; /* the whole warp */
	for (int b = lane / 8; b < a.n / 256; b += 4) {
		const uint8_t *w = a.w + r * a.w_stride + (int64_t)b * (int)sizeof(struct block_q4_k);
		const uint8_t *sc = w + offsetof(struct block_q4_k, sc);
		uint4 q = *reinterpret_cast<const uint4 *>(w + offsetof(struct block_q4_k, q) + pair * 32 +
							   half * 16);
		float dw = load_f16(w), dmin = load_f16(w + offsetof(struct block_q4_k, dmin));
		int sc0, sc1, mn0, mn1;
		scale_min(sc, 2 * pair, &sc0, &mn0);
		scale_min(sc, 2 * pair + 1, &sc1, &mn1);
		for (int t = 0; t < MV_TOKENS; t++) {
			if (t >= nt) break;
			int64_t row = t0 + t;
			const int8_t *x = a.x.q + row * a.n + b * 256 + pair * 64 + half * 16;
			const int *sum = a.x.sum + row * (a.n / 32) + b * 8 + pair * 2;
			float dx = a.x.d[row * (a.n / 256) + b];
			int2 i = dot_nibbles(q, *reinterpret_cast<const int4 *>(x),
					     *reinterpret_cast<const int4 *>(x + 32));
			acc[t] = fmaf(dw * dx, (float)(sc0 * i.x + sc1 * i.y), acc[t]);
			if (half == 0)
				acc[t] = fmaf(-(dmin * dx), (float)(mn0 * sum[0] + mn1 * sum[1]), acc[t]);
		}
	}
	store_sums(&a, acc, r, t0, nt);
}

extern "C" void gpu_matvec_q4_k(const struct matvec_args *a)
{
	dim3 grid((unsigned)(a->w_rows + MV_WARPS - 1) / MV_WARPS,
		  (unsigned)(a->rows + MV_TOKENS - 1) / MV_TOKENS);
	if (a->rows > 0 && a->w_rows > 0) LAUNCH(matvec_q4_k_kernel, grid, MV_WARPS * WARP, 0, 0, *a);
}
