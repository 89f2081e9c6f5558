/* logits.h - one row of logits: its maximum, its normaliser, its best entries.  All of it the same bits on every
 * machine: own exp and log in double, sums in index order (kernels/exact.h speaks of the same for f32). */
#pragma once
#include "engine/lmrun.h"

double logits_exp(double x);             /* error below 2 ulp; 0 under -708, +inf over 709; NaN stays */
double logits_log(double x);             /* x > 0 and normal */
/* sum of exp((x[i] - max) / temperature), max being the largest entry */
double logits_sum(const float *x, int n, float max, float temperature);

/* Index of the largest entry, the lowest on ties; -1 when an entry is NaN, +inf, or all are -inf. */
int logits_max(const float *x, int n);
/* log(sum(exp(x))), given the index of the maximum. */
double logits_norm(const float *x, int n, int imax);
/* The k best entries (1 <= k <= n) by value descending, then index ascending, to out[k]. */
void logits_top(const float *x, int n, int k, struct lm_lp *out);
