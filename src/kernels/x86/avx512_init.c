/* avx512_init.c - the AVX-512 slots. */
#include "kernels/kern.h"

void kern_init_avx512(struct kern *k, unsigned flags)
{
	(void)k;
	(void)flags;
}
