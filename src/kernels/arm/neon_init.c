/* neon_init.c - the NEON slots. */
#include "kernels/kern.h"

void kern_init_neon(struct kern *k, unsigned flags)
{
	(void)k;
	(void)flags;
}
