/* kern.c - fills the table: portable first, then each instruction set the flags admit, in rising order. */
#include "kernels/kern.h"

void kern_init(struct kern *k, unsigned flags)
{
	kern_init_c(k);
#if defined(__x86_64__)
	if (flags & CPU_AVX2) kern_init_avx2(k, flags);
	if (flags & CPU_AVX512) kern_init_avx512(k, flags);
#elif defined(__aarch64__)
	if (flags & CPU_NEON) kern_init_neon(k, flags);
#endif
	k->flags = flags;
}
