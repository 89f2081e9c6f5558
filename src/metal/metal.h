/* metal.h - Apple GPUs behind the op table. */
#pragma once
#include "kernels/ops.h"

/* LM_EUNSUPPORTED in a build without Metal. */
int backend_metal(struct backend **out, struct lm_err *err);
void metal_list(struct lm_buf *b);       /* one line per GPU; nothing without one */
