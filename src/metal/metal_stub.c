/* metal_stub.c - what stands for Metal, in every build so far. */
#include "metal/metal.h"

int backend_metal(struct backend **out, struct lm_err *err)
{
	*out = NULL;
	return lm_fail(err, LM_EUNSUPPORTED, "metal: Metal is not supported in this build");
}

void metal_list(struct lm_buf *b)
{
	lm_buf_str(b, "metal   not in this build\n");
}
