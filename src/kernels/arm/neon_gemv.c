/* neon_gemv.c - integer GEMV with widening multiplies, for processors without the dot-product instructions. */
#include "kernels/arm/neon_gemv.h"

void kern_neon_gemv(struct kern *k) { fill_gemv(k); }
