/* metal_stub.c - what stands for Metal in a build without it. */
#include "metal/metal.h"

int backend_metal(struct backend **out, struct lm_err *err)
{
	*out = NULL;
	return lm_fail(err, LM_EUNSUPPORTED, "metal: Metal is not supported in this build (make METAL=1 on macOS)");
}

void metal_list(struct lm_buf *b) { (void)b; }
