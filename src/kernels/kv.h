/* kv.h - where the element (head, position, dimension) of a KV block lies.  The layout of ops.h, once.
 *
 * A block is n_kv heads, one after the other, each contiguous: a kernel needs the address of a head alone.
 * Keys of a head:    F32, F16, BF16  [2 halves][dim][16 positions]
 *                    Q8_0            int8 [2 halves][dim/4][16 positions][4], then f32 scales
 *                                    [2 halves][dim/32][16 positions]
 * Values of a head:  F32, F16, BF16  [32 positions][dim]
 *                    Q8_0            int8 [32 positions][dim], then f32 scales [32 positions][dim/32]
 * Q8_0 rows are quantised as exact.h quantises activations: one f32 scale per 32 elements, |q| <= 127.  The
 * size of a head is always a multiple of 64 bytes. */
#pragma once
#include "kernels/ops.h"

/* Bytes of an element of a KV type; 0: not a KV type. */
static inline size_t kv_elem(enum dtype t)
{
	return t == DT_F32 ? 4 : t == DT_F16 || t == DT_BF16 ? 2 : t == DT_Q8_0 ? 1 : 0;
}
/* Bytes of one head of one block, keys or values; -1: type or dim not supported. */
static inline int64_t kv_head_bytes(enum dtype t, int dim)
{
	if (!kv_elem(t) || dim < 1 || (t == DT_Q8_0 && dim % 32)) return -1;
	int64_t scales = t == DT_Q8_0 ? (int64_t)dim / 32 * KV_BLOCK * (int64_t)sizeof(float) : 0;
	return (int64_t)dim * KV_BLOCK * (int64_t)kv_elem(t) + scales;
}
/* Bytes of a block; keys and values are equally large for equal dims. */
static inline int64_t kv_block_bytes(enum dtype t, int n_kv, int dim)
{
	int64_t h = kv_head_bytes(t, dim), all;
	return h < 0 || n_kv < 1 || __builtin_mul_overflow(h, (int64_t)n_kv, &all) ? -1 : all;
}
/* Byte offsets inside a head of key or value element d of position p (0 <= p < KV_BLOCK); of its scale. */
static inline size_t kv_key_at(enum dtype t, int dim, int p, int d)
{
	size_t half = (size_t)(p / 16), i = (size_t)(p % 16), n = (size_t)dim, k = (size_t)d;
	if (t == DT_Q8_0) return ((half * (n / 4) + k / 4) * 16 + i) * 4 + k % 4;
	return ((half * n + k) * 16 + i) * kv_elem(t);
}
static inline size_t kv_key_scale_at(int dim, int p, int d)
{
	size_t n = (size_t)dim, half = (size_t)(p / 16);
	return n * KV_BLOCK + ((half * (n / 32) + (size_t)d / 32) * 16 + (size_t)(p % 16)) * sizeof(float);
}
static inline size_t kv_value_at(enum dtype t, int dim, int p, int d)
{
	return ((size_t)p * (size_t)dim + (size_t)d) * kv_elem(t);
}
static inline size_t kv_value_scale_at(int dim, int p, int d)
{
	size_t n = (size_t)dim;
	return n * KV_BLOCK + ((size_t)p * (n / 32) + (size_t)d / 32) * sizeof(float);
}
/* The head's bytes in block `id` of a layer's keys or values. */
static inline void *kv_head(struct mat blocks, int32_t id, enum dtype t, int dim, int head)
{
	return (char *)mat_row(blocks, id) + (int64_t)head * kv_head_bytes(t, dim);
}
