/* logits.c - see logits.h.  Compiled without SIMD flags and without contraction: plain IEEE double arithmetic. */
#include "engine/logits.h"
#include <math.h>
#include <string.h>

static double pow2(int n)                /* 2^n, -1022 <= n <= 1023 */
{
	union { uint64_t u; double d; } v = { (uint64_t)(n + 1023) << 52 };
	return v.d;
}

/* x = n ln 2 + r, |r| <= 0.3466; Taylor to r^13 (the rest is below 4e-18). */
double logits_exp(double x)
{
	static const double c[] = { 1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
		                    1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1, 1 };
	if (x != x) return x;
	if (x > 709.782712893384) return (double)INFINITY;
	if (x < -745.2) return 0;
	double n = x * 1.4426950408889634 + 0x1.8p52 - 0x1.8p52;      /* nearest integer */
	double r = x - n * 0x1.62e42feep-1 - n * 0x1.a39ef35793c76p-33;
	double p = c[0];
	for (int i = 1; i < (int)(sizeof c / sizeof c[0]); i++) p = p * r + c[i];
	int k = (int)n, h = k / 2;
	return p * pow2(h) * pow2(k - h);
}

/* x = 2^e m, m in [sqrt 1/2, sqrt 2); log m = 2 atanh((m-1)/(m+1)), odd series to s^21. */
double logits_log(double x)
{
	union { double d; uint64_t u; } v = { x };
	int e = (int)(v.u >> 52) - 1023;
	v.u = (v.u & 0xFFFFFFFFFFFFFu) | (uint64_t)1023 << 52;
	double m = v.d;
	if (m > 1.4142135623730951) m *= 0.5, e++;
	double s = (m - 1) / (m + 1), z = s * s, p = 0;
	for (int k = 21; k >= 3; k -= 2) p = (p + 1.0 / k) * z;
	return e * 0x1.62e42feep-1 + (2 * s + (2 * s * p + e * 0x1.a39ef35793c76p-33));
}

int logits_max(const float *x, int n)
{
	float best = -INFINITY;
	bool bad = false;
	for (int i = 0; i < n; i++) {
		bad |= x[i] != x[i];
		best = x[i] > best ? x[i] : best;
	}
	if (bad || best == INFINITY || best == -INFINITY) return -1;
	for (int i = 0; i < n; i++)
		if (x[i] == best) return i;
	return -1;
}

double logits_norm(const float *x, int n, int imax)
{
	double max = (double)x[imax], sum = 0;
	for (int i = 0; i < n; i++) sum += logits_exp((double)x[i] - max);
	return max + logits_log(sum);
}

/* True when a stands after b in the order "value descending, index ascending". */
static bool after(struct lm_lp a, struct lm_lp b)
{
	return a.logprob < b.logprob || (a.logprob == b.logprob && a.id > b.id);
}

/* Heap of n entries whose root is the last in order; sinks h[i]. */
static void sink(struct lm_lp *h, int n, int i)
{
	struct lm_lp v = h[i];
	for (int c; (c = 2 * i + 1) < n; i = c) {
		if (c + 1 < n && after(h[c + 1], h[c])) c++;
		if (!after(h[c], v)) break;
		h[i] = h[c];
	}
	h[i] = v;
}

void logits_top(const float *x, int n, int k, struct lm_lp *out)
{
	for (int i = 0; i < k; i++) out[i] = (struct lm_lp){ i, x[i] };
	for (int i = k / 2 - 1; i >= 0; i--) sink(out, k, i);
	/* a later index loses a tie, so only a larger value displaces the root */
	for (int i = k; i < n; i++)
		if (x[i] > out[0].logprob) {
			out[0] = (struct lm_lp){ i, x[i] };
			sink(out, k, 0);
		}
	for (int m = k - 1; m > 0; m--) {        /* heap sort: the last in order goes to the end */
		struct lm_lp last = out[0];
		out[0] = out[m];
		out[m] = last;
		sink(out, m, 0);
	}
}
