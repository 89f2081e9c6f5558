/* avx2_init.c - the AVX2 (and AVX-VNNI) slots. */
#include "kernels/kern.h"

void kern_init_avx2(struct kern *k, unsigned flags)
{
	(void)k;
	(void)flags;
}
