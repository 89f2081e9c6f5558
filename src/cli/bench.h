/* bench.h - what the model benchmark and the kernel benchmark share. */
#pragma once
#include "base/base.h"

/* Read bandwidth of memory in GB/s with n threads (best of several passes over 512 MiB), measured in a child process
 * so that the memory does not count as ours.  0 when it cannot be measured. */
double bench_bandwidth(int n_threads);
/* Every filled slot of every level this processor has; JSON lines when `json`, else a table. */
int bench_kernels(bool json, const char *only);
/* Load time and speed of the tokenizers of n models over a file's text: one JSON object a line, or a table. */
int bench_tokenize(const char *const *model, int n, const char *file, int reps, bool json, struct lm_err *err);
