/* nf4.c - NormalFloat4 of bitsandbytes: 16 fixed values in -1..1 times the block's largest magnitude.
 * GOTCHA: the first element of a pair is in the high nibble, unlike every GGUF type. */
#include <string.h>
#include "quant/codec.h"

const float quant_nf4_code[16] = {
	-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
	-0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
	0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
	0.7229568362236023f, 1.0f
};

void quant_dec_nf4(float *restrict dst, const void *restrict src, int64_t n)
{
	const struct block_nf4 *b = src;
	for (int64_t i = 0; i < n / 64; i++, b++, dst += 64)
		for (int j = 0; j < 32; j++) {
			dst[2 * j] = quant_nf4_code[b->q[j] >> 4] * b->absmax;
			dst[2 * j + 1] = quant_nf4_code[b->q[j] & 15] * b->absmax;
		}
}
