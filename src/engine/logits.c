/* logits.c - see logits.h.  No contraction, no reordering: plain IEEE arithmetic in the order written. */
#include "engine/logits.h"
#include <math.h>
#include <string.h>

/* x = n ln 2 + r, |r| <= 0.3466; Taylor to r^13 (the rest is below 4e-18).  Free of branches: loops over it become
 * vector code, which computes the same IEEE operations. */
static inline double exp_in_range(double x)      /* -708 <= x <= 709 */
{
	union { double d; uint64_t u; } t = { x * 1.4426950408889634 + 0x1.8p52 };   /* n sits in the low bits */
	double n = t.d - 0x1.8p52, r = x - n * 0x1.62e42feep-1 - n * 0x1.a39ef35793c76p-33, p = 1.0 / 6227020800;
	p = p * r + 1.0 / 479001600;
	p = p * r + 1.0 / 39916800;
	p = p * r + 1.0 / 3628800;
	p = p * r + 1.0 / 362880;
	p = p * r + 1.0 / 40320;
	p = p * r + 1.0 / 5040;
	p = p * r + 1.0 / 720;
	p = p * r + 1.0 / 120;
	p = p * r + 1.0 / 24;
	p = p * r + 1.0 / 6;
	p = p * r + 0.5;
	p = p * r + 1;
	p = p * r + 1;
	t.u = (t.u + 1023) << 52;                /* 2^n */
	return p * t.d;
}

double logits_exp(double x)
{
	if (x != x) return x;
	return x > 709 ? (double)INFINITY : x < -708 ? 0 : exp_in_range(x);
}

double logits_sum(const float *x, int n, float max, float temperature)
{
	double e[64], sum = 0;
	for (int i = 0; i < n; i += 64) {
		int m = n - i < 64 ? n - i : 64;
		for (int k = 0; k < m; k++) {
			double d = ((double)x[i + k] - (double)max) / (double)temperature, c = d < -708 ? -708 : d;
			double v = exp_in_range(c);
			e[k] = d < -708 ? 0 : v;
		}
		for (int k = 0; k < m; k++) sum += e[k];
	}
	return sum;
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

/* Largest of n entries, and whether one is NaN: LANES at a time, which the compiler turns into vector code (gcc 12 only from 32
 * on: it unrolls shorter loops before it looks). */
enum { LANES = 32 };
static float largest(const float *x, int n, bool *nan)
{
	float best[LANES];
	unsigned bad[LANES] = { 0 }, any = 0;
	int i = 0;
	for (int k = 0; k < LANES; k++) best[k] = -INFINITY;
	for (; i + LANES <= n; i += LANES)
		for (int k = 0; k < LANES; k++) {
			float v = x[i + k];
			bad[k] |= v != v;
			best[k] = v > best[k] ? v : best[k];
		}
	for (; i < n; i++) {
		bad[0] |= x[i] != x[i];
		best[0] = x[i] > best[0] ? x[i] : best[0];
	}
	for (int k = 0; k < LANES; k++) {
		any |= bad[k];
		best[0] = best[k] > best[0] ? best[k] : best[0];
	}
	*nan = any;
	return best[0];
}

/* Index of the first entry >= v from i on; n: none. */
static int first_from(const float *x, int i, int n, float v)
{
	for (; i + LANES <= n; i += LANES) {
		unsigned hit = 0;
		for (int k = 0; k < LANES; k++) hit |= x[i + k] >= v;
		if (hit) break;
	}
	while (i < n && !(x[i] >= v)) i++;
	return i;
}

int logits_max(const float *x, int n)
{
	bool nan;
	float best = largest(x, n, &nan);
	if (nan || best == INFINITY || best == -INFINITY) return -1;
	return first_from(x, 0, n, best);
}

double logits_norm(const float *x, int n, int imax)
{
	return (double)x[imax] + logits_log(logits_sum(x, n, x[imax], 1));
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
	for (int i = k; (i = first_from(x, i, n, out[0].logprob)) < n; i++)
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
