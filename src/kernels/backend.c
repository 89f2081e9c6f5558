#include "kernels/ops.h"

void backend_free(struct backend *b)
{
	if (b) b->op->close(b);
}
