/* quant.c - the table of storage formats: a row is everything the program knows about the shape of a type. */
#include <stdio.h>
#include <strings.h>
#include "quant/codec.h"

#define PLAIN(nm, bytes, enc) { #nm, 1, bytes, DOT_F32, quant_dec_##nm, enc }
#define BLOCK(nm, elems, dot, enc) { #nm, elems, (int)sizeof(struct block_##nm), dot, quant_dec_##nm, enc }

static const struct dtype_info table[DT_COUNT] = {
	[DT_F32] = PLAIN(f32, 4, quant_enc_f32),
	[DT_F16] = PLAIN(f16, 2, quant_enc_f16),
	[DT_Q4_0] = BLOCK(q4_0, 32, DOT_X32, quant_enc_q4_0),
	[DT_Q4_1] = BLOCK(q4_1, 32, DOT_X32, quant_enc_q4_1),
	[DT_Q5_0] = BLOCK(q5_0, 32, DOT_X32, quant_enc_q5_0),
	[DT_Q5_1] = BLOCK(q5_1, 32, DOT_X32, quant_enc_q5_1),
	[DT_Q8_0] = BLOCK(q8_0, 32, DOT_X32, quant_enc_q8_0),
	[DT_Q8_1] = BLOCK(q8_1, 32, DOT_F32, NULL),
	[DT_Q2_K] = BLOCK(q2_k, 256, DOT_X256, NULL),
	[DT_Q3_K] = BLOCK(q3_k, 256, DOT_X256, NULL),
	[DT_Q4_K] = BLOCK(q4_k, 256, DOT_X256, NULL),
	[DT_Q5_K] = BLOCK(q5_k, 256, DOT_X256, NULL),
	[DT_Q6_K] = BLOCK(q6_k, 256, DOT_X256, NULL),
	[DT_Q8_K] = BLOCK(q8_k, 256, DOT_F32, NULL),
	[DT_IQ2_XXS] = BLOCK(iq2_xxs, 256, DOT_F32, NULL),
	[DT_IQ2_XS] = BLOCK(iq2_xs, 256, DOT_F32, NULL),
	[DT_IQ3_XXS] = BLOCK(iq3_xxs, 256, DOT_F32, NULL),
	[DT_IQ1_S] = BLOCK(iq1_s, 256, DOT_F32, NULL),
	[DT_IQ4_NL] = BLOCK(iq4_nl, 32, DOT_F32, NULL),
	[DT_IQ3_S] = BLOCK(iq3_s, 256, DOT_F32, NULL),
	[DT_IQ2_S] = BLOCK(iq2_s, 256, DOT_F32, NULL),
	[DT_IQ4_XS] = BLOCK(iq4_xs, 256, DOT_F32, NULL),
	[DT_I8] = PLAIN(i8, 1, NULL),
	[DT_I16] = PLAIN(i16, 2, NULL),
	[DT_I32] = PLAIN(i32, 4, NULL),
	[DT_I64] = PLAIN(i64, 8, NULL),
	[DT_F64] = PLAIN(f64, 8, NULL),
	[DT_IQ1_M] = BLOCK(iq1_m, 256, DOT_F32, NULL),
	[DT_BF16] = PLAIN(bf16, 2, quant_enc_bf16),
	[DT_TQ1_0] = BLOCK(tq1_0, 256, DOT_F32, NULL),
	[DT_TQ2_0] = BLOCK(tq2_0, 256, DOT_F32, NULL),
	[DT_MXFP4] = BLOCK(mxfp4, 32, DOT_F32, NULL),
	[DT_NVFP4] = BLOCK(nvfp4, 64, DOT_F32, NULL),
	[DT_Q1_0] = BLOCK(q1_0, 128, DOT_F32, NULL),
	[DT_Q2_0] = BLOCK(q2_0, 64, DOT_F32, NULL),
	[DT_NF4] = BLOCK(nf4, 64, DOT_F32, quant_enc_nf4),
	[DT_FP4] = BLOCK(fp4, 64, DOT_F32, NULL),
	[DT_NV4] = BLOCK(nv4, 64, DOT_F32, NULL),
	[DT_Z4_32] = BLOCK(z4_32, 32, DOT_F32, NULL),
	[DT_Z4_128] = BLOCK(z4_128, 128, DOT_F32, NULL),
	[DT_Z8_32] = BLOCK(z8_32, 32, DOT_F32, NULL),
	[DT_Z8_128] = BLOCK(z8_128, 128, DOT_F32, NULL),
	[DT_BNB8] = BLOCK(bnb8, 32, DOT_F32, NULL),
	[DT_F8_E4M3] = PLAIN(f8_e4m3, 1, NULL),
	[DT_F8_E5M2] = PLAIN(f8_e5m2, 1, NULL),
	[DT_F8_32] = BLOCK(f8_32, 32, DOT_F32, NULL),
	[DT_F8_128] = BLOCK(f8_128, 128, DOT_F32, NULL),
};

/* Bytes of a block as the format defines them. */
#define SIZE(nm, bytes) _Static_assert(sizeof(struct block_##nm) == (bytes), "layout of block_" #nm)
SIZE(q4_0, 18);
SIZE(q4_1, 20);
SIZE(q5_0, 22);
SIZE(q5_1, 24);
SIZE(q8_0, 34);
SIZE(q8_1, 36);
SIZE(q2_k, 84);
SIZE(q3_k, 110);
SIZE(q4_k, 144);
SIZE(q5_k, 176);
SIZE(q6_k, 210);
SIZE(q8_k, 292);
SIZE(iq2_xxs, 66);
SIZE(iq2_xs, 74);
SIZE(iq3_xxs, 98);
SIZE(iq1_s, 50);
SIZE(iq4_nl, 18);
SIZE(iq3_s, 110);
SIZE(iq2_s, 82);
SIZE(iq4_xs, 136);
SIZE(iq1_m, 56);
SIZE(tq1_0, 54);
SIZE(tq2_0, 66);
SIZE(mxfp4, 17);
SIZE(nvfp4, 36);
SIZE(q1_0, 18);
SIZE(q2_0, 18);
SIZE(nf4, 36);
SIZE(fp4, 36);
SIZE(nv4, 40);
SIZE(z4_32, 21);
SIZE(z4_128, 69);
SIZE(z8_32, 38);
SIZE(z8_128, 134);
SIZE(bnb8, 36);
SIZE(f8_32, 36);
SIZE(f8_128, 132);

const struct dtype_info *quant_info(enum dtype t)
{
	return (unsigned)t < DT_COUNT && table[t].name ? &table[t] : NULL;
}

int quant_from_name(const char *name, enum dtype *out, struct lm_err *err)
{
	char known[600] = "";
	size_t len = 0;
	for (int t = 0; t < DT_COUNT; t++) {
		if (!table[t].name) continue;
		if (strcasecmp(name, table[t].name) == 0) {
			*out = (enum dtype)t;
			return 0;
		}
		int w = snprintf(known + len, sizeof known - len, " %s", table[t].name);
		if (w > 0 && (size_t)w < sizeof known - len) len += (size_t)w;
	}
	return lm_fail(err, LM_EINVAL, "\"%.40s\" is no weight type; there are%s", name, known);
}

int64_t quant_row_bytes(enum dtype t, int64_t cols)
{
	const struct dtype_info *d = quant_info(t);
	int64_t bytes;
	if (!d || cols < 0 || cols % d->block_elems) return -1;
	return __builtin_mul_overflow(cols / d->block_elems, (int64_t)d->block_bytes, &bytes) ? -1 : bytes;
}
