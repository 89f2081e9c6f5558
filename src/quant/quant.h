/* quant.h - storage formats of weights: block layouts and their scalar codecs.
 * The decoder here IS the definition of a format; every kernel is tested against it. */
#pragma once
#include "base/base.h"

enum dtype {            /* values are GGUF's, so a file's type id needs no translation */
	DT_F32 = 0, DT_F16 = 1, DT_Q4_0 = 2, DT_Q4_1 = 3, DT_Q5_0 = 6, DT_Q5_1 = 7, DT_Q8_0 = 8, DT_Q8_1 = 9,
	DT_Q2_K = 10, DT_Q3_K = 11, DT_Q4_K = 12, DT_Q5_K = 13, DT_Q6_K = 14, DT_Q8_K = 15,
	DT_IQ2_XXS = 16, DT_IQ2_XS = 17, DT_IQ3_XXS = 18, DT_IQ1_S = 19, DT_IQ4_NL = 20, DT_IQ3_S = 21,
	DT_IQ2_S = 22, DT_IQ4_XS = 23, DT_I8 = 24, DT_I16 = 25, DT_I32 = 26, DT_I64 = 27, DT_F64 = 28,
	DT_IQ1_M = 29, DT_BF16 = 30, DT_TQ1_0 = 34, DT_TQ2_0 = 35, DT_MXFP4 = 39, DT_NVFP4 = 40,
	DT_Q1_0 = 41, DT_Q2_0 = 42,
	/* ours, no GGUF types: what pre-quantised safetensors hold (docs/decisions.md says which layout becomes which) */
	DT_NF4 = 128, DT_FP4 = 129, DT_NV4 = 130, DT_Z4_32 = 131, DT_Z4_128 = 132, DT_Z8_32 = 133, DT_Z8_128 = 134,
	DT_BNB8 = 135, DT_F8_E4M3 = 136, DT_F8_E5M2 = 137, DT_F8_32 = 138, DT_F8_128 = 139,
	DT_COUNT = 140
};

/* How the CPU contract of bytes multiplies a weight type with an activation row (kernels/exact.h). */
enum dot_class {
	DOT_F32,            /* weight decoded to f32, 16 lanes of FMA */
	DOT_X32,            /* activation int8 with one f32 scale per 32 elements */
	DOT_X256            /* activation int8 with one f32 scale per 256 elements */
};

struct dtype_info {
	const char *name;          /* "q4_k", "f16": lower case, as llama.cpp prints them */
	int block_elems;           /* elements per block along a row, e.g. 256 */
	int block_bytes;           /* bytes of one block, e.g. 144; equals sizeof the block struct */
	enum dot_class dot;
	void (*decode)(float *dst, const void *src, int64_t n);   /* n % block_elems == 0; src unaligned */
	/* NULL: read only.  dst unaligned; importance per element or NULL; no type here uses it yet. */
	void (*encode)(void *dst, const float *src, const float *importance, int64_t n);
};

const struct dtype_info *quant_info(enum dtype t);        /* NULL when we do not know the type */
int quant_from_name(const char *name, enum dtype *out, struct lm_err *err);
/* Bytes of one row of `cols` elements; -1 when cols is not a whole number of blocks or overflows. */
int64_t quant_row_bytes(enum dtype t, int64_t cols);

/* IEEE half and bfloat16; every bit pattern decodes, encoding rounds to nearest even. */
float quant_f16_to_f32(uint16_t h);
uint16_t quant_f32_to_f16(float f);
static inline float quant_bf16_to_f32(uint16_t h)
{
	union { uint32_t u; float f; } v = { (uint32_t)h << 16 };
	return v.f;
}
uint16_t quant_f32_to_bf16(float f);

/* Block layouts, as in the file; all little endian, all with alignment 1 or 2 (read headers by memcpy). */
#pragma pack(push, 1)
struct block_q4_0 { uint16_t d; uint8_t q[16]; };                  /* w = d*(q-8); low nibbles first half */
struct block_q4_1 { uint16_t d, m; uint8_t q[16]; };               /* w = d*q + m */
struct block_q5_0 { uint16_t d; uint8_t h[4], q[16]; };            /* w = d*(q-16), fifth bits in h */
struct block_q5_1 { uint16_t d, m; uint8_t h[4], q[16]; };         /* w = d*q + m */
struct block_q8_0 { uint16_t d; int8_t q[32]; };                   /* w = d*q */
struct block_q8_1 { uint16_t d, s; int8_t q[32]; };                /* w = d*q; s = d * sum of q */
struct block_q2_k { uint8_t sc[16], q[64]; uint16_t d, dmin; };
struct block_q3_k { uint8_t h[32], q[64], sc[12]; uint16_t d; };
struct block_q4_k { uint16_t d, dmin; uint8_t sc[12], q[128]; };
struct block_q5_k { uint16_t d, dmin; uint8_t sc[12], h[32], q[128]; };
struct block_q6_k { uint8_t ql[128], qh[64]; int8_t sc[16]; uint16_t d; };
struct block_q8_k { float d; int8_t q[256]; int16_t sums[16]; };    /* w = d*q; sums of 16 q */
struct block_iq2_xxs { uint16_t d; uint32_t q[16]; };              /* per 32: 4 rows; 4 x 7 signs, scale */
struct block_iq2_xs { uint16_t d, q[32]; uint8_t sc[8]; };         /* grid row 9 bits, signs 7 */
struct block_iq2_s { uint16_t d; uint8_t q[32], signs[32], h[8], sc[8]; };
struct block_iq3_xxs { uint16_t d; uint8_t q[64]; uint32_t s[8]; };
struct block_iq3_s { uint16_t d; uint8_t q[64], h[8], signs[32], sc[4]; };
struct block_iq1_s { uint16_t d; uint8_t q[32]; uint16_t h[8]; };
struct block_iq1_m { uint8_t q[32], h[16]; uint16_t sc[4]; };
struct block_iq4_nl { uint16_t d; uint8_t q[16]; };
struct block_iq4_xs { uint16_t d, sc_h; uint8_t sc_l[4], q[128]; };
struct block_tq1_0 { uint8_t q[48], h[4]; uint16_t d; };           /* ternary digits: 5 a byte in q, 4 in h */
struct block_tq2_0 { uint8_t q[64]; uint16_t d; };                 /* w = d*(q-1), bit planes 32 apart */
struct block_mxfp4 { uint8_t e, q[16]; };                          /* e8m0 scale, e2m1 elements */
struct block_nvfp4 { uint8_t d[4], q[32]; };                       /* e4m3 scale per 16 elements */
struct block_q1_0 { uint16_t d; uint8_t q[16]; };                  /* w = bit ? d : -d; 128 elements */
struct block_q2_0 { uint16_t d; uint8_t q[16]; };                  /* w = d*(q-1); 64 elements, 4 to a byte */
struct block_nf4 { float absmax; uint8_t q[32]; };                 /* 64 elements; w = code[q]*absmax;
                                                                      element 2j in the high nibble */
struct block_fp4 { float absmax; uint8_t q[32]; };                 /* the same with bitsandbytes' fp4 code */
struct block_nv4 { float g; uint8_t d[4], q[32]; };                /* 64 e2m1, e4m3 scale per 16: w = (d/g)*e2m1, or
                                                                      (d*-g)*e2m1 when g < 0; nibbles as in nvfp4 */
struct block_z4_32 { float d; int8_t z; uint8_t q[16]; };          /* w = (q-z)*d; of each 32, low nibbles first half */
struct block_z4_128 { float d; int8_t z; uint8_t q[64]; };
struct block_z8_32 { float d; int16_t z; int8_t q[32]; };          /* w = (q-z)*d */
struct block_z8_128 { float d; int16_t z; int8_t q[128]; };
struct block_bnb8 { float d; int8_t q[32]; };                      /* w = (q*d)*(1/127), each product rounded */
struct block_f8_32 { float d; uint8_t q[32]; };                    /* w = e4m3*d */
struct block_f8_128 { float d; uint8_t q[128]; };
#pragma pack(pop)
extern const float quant_nf4_code[16], quant_fp4_code[16];
float quant_e4m3_to_f32(uint8_t x);                                /* OCP E4M3: no infinity, 0x7f and 0xff are NaN */
