/* overlay.h - a model file as adapters change it: the base's keys, and its tensors except those that an adapter replaces
 * or that are made of the base's and an adapter's. */
#pragma once
#include "format/adapter.h"

/* What an adapter beside the weights cannot show: full tensors and DoRA.  *out stays NULL when no adapter has such parts.
 * They hold for all sequences, so only one adapter may have them: else LM_EUNSUPPORTED, naming both.  The base and the
 * adapters must outlive the view. */
int overlay_full(struct file **out, const struct file *base, const struct adapter *const *a, const float *weight, int n,
                 struct lm_err *err);
/* Everything merged: W + sum of weight * scale * B A, f32, made as its rows are read. */
int overlay_merge(struct file **out, const struct file *base, const struct adapter *const *a, const float *weight, int n,
                  struct lm_err *err);
