/* neon_init.c - the NEON slots, the dot-product ones over them, the matrix ones over those. */
#include "kernels/arm/neon.h"

void kern_init_neon(struct kern *k, unsigned flags)
{
	kern_neon_gemv(k);
	kern_neon_float(k);
	kern_neon_rows(k);
	if (!(flags & CPU_DOTPROD)) return;
	kern_dotprod_gemv(k);
	kern_dotprod_gemm(k);
	if (flags & CPU_I8MM) kern_i8mm_gemm(k);
}
