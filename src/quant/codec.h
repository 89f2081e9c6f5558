/* codec.h - the codecs behind the dtype table; only src/quant includes this.
 * Each decodes or encodes n elements, a whole number of blocks.  Block structs are packed, so a pointer to
 * one may have any address.  Files are little endian and so are the processors we build for. */
#pragma once
#include "quant/quant.h"

typedef void quant_decode_fn(float *restrict dst, const void *restrict src, int64_t n);
typedef void quant_encode_fn(void *restrict dst, const float *restrict src, const float *restrict imp,
                             int64_t n);

/* half.c: one number per element */
quant_decode_fn quant_dec_f32, quant_dec_f16, quant_dec_bf16, quant_dec_f64;
quant_decode_fn quant_dec_i8, quant_dec_i16, quant_dec_i32, quant_dec_i64;
quant_encode_fn quant_enc_f32, quant_enc_f16, quant_enc_bf16;
/* legacy.c: blocks of 32 with one scale */
quant_decode_fn quant_dec_q4_0, quant_dec_q4_1, quant_dec_q5_0, quant_dec_q5_1;
quant_decode_fn quant_dec_q8_0, quant_dec_q8_1;
quant_encode_fn quant_enc_q4_0, quant_enc_q4_1, quant_enc_q5_0, quant_enc_q5_1, quant_enc_q8_0;
/* kquants.c: blocks of 256 with scales of scales */
quant_decode_fn quant_dec_q2_k, quant_dec_q3_k, quant_dec_q4_k, quant_dec_q5_k;
quant_decode_fn quant_dec_q6_k, quant_dec_q8_k;
/* iq.c: codebooks */
quant_decode_fn quant_dec_iq2_xxs, quant_dec_iq2_xs, quant_dec_iq2_s, quant_dec_iq3_xxs, quant_dec_iq3_s;
quant_decode_fn quant_dec_iq1_s, quant_dec_iq1_m, quant_dec_iq4_nl, quant_dec_iq4_xs;
/* tern.c, mx.c, nf4.c */
quant_decode_fn quant_dec_tq1_0, quant_dec_tq2_0, quant_dec_q1_0, quant_dec_q2_0;
quant_decode_fn quant_dec_mxfp4, quant_dec_nvfp4, quant_dec_nf4;
quant_encode_fn quant_enc_nf4;
/* own.c: what pre-quantised safetensors need */
quant_decode_fn quant_dec_fp4, quant_dec_nv4, quant_dec_z4_32, quant_dec_z4_128, quant_dec_z8_32, quant_dec_z8_128;
quant_decode_fn quant_dec_bnb8, quant_dec_f8_e4m3, quant_dec_f8_e5m2, quant_dec_f8_32, quant_dec_f8_128;
