/* device.h - a device's name to its backend. */
#pragma once
#include "kernels/ops.h"

/* "cpu" (also NULL, ""), "ref", "cuda[:N]", "metal"; anything else is LM_EINVAL naming these. */
int device_open(struct backend **out, const char *name, int n_threads, const char *cpu_level, struct lm_err *err);
