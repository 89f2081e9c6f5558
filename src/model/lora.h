/* lora.h - low-rank adapters beside the weights they change: y += weight * scale * B (A x), per sequence. */
#pragma once
#include "format/adapter.h"
#include "model/model.h"

/* Puts the low-rank parts of these adapters on the model's device, once, before its first state.  weight[i] counts for
 * sequences that do not say (struct batch).  The adapters must outlive the model.  LM_EFORMAT naming the tensor whose shape
 * is not the base's; LM_EUNSUPPORTED naming one that the forward pass does not multiply as a matrix. */
int model_lora(struct model *m, const struct adapter *const *a, const float *weight, int n, struct lm_err *err);
