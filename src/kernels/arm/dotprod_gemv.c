/* dotprod_gemv.c - integer GEMV with sdot. */
#include "kernels/arm/neon_gemv.h"

void kern_dotprod_gemv(struct kern *k) { fill_gemv(k); }
