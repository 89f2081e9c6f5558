/* hf_score.c - the numbers of a tokenizer.json as the reference reads them, to the last bit: ties between ways through a
 * word depend on it.
 *
 * The reference (serde_json without float_roundtrip) takes the digits as a 64-bit number, rounds it to a double, and
 * multiplies or divides by a power of ten, which rounds again: one score in eight is not the nearest double. */
#include "tokenizer/tok_impl.h"
#include <stdio.h>
#include <stdlib.h>

enum { MAX_EXPONENT = 1000 };

/* The digits at s[i..n) as they add to a number; those after the point lower the exponent, what exceeds 64 bits there
 * is passed over.  False: more than 64 bits before the point. */
static bool read_digits(const char *s, size_t n, size_t *i, uint64_t *digits, int *exponent, bool *point)
{
	bool full = false;
	for (; *i < n && (s[*i] == '.' || (s[*i] >= '0' && s[*i] <= '9')); ++*i) {
		uint64_t next;
		if (s[*i] == '.') {
			*point = true;
		} else if (full || __builtin_mul_overflow(*digits, 10u, &next) ||
			   __builtin_add_overflow(next, (uint64_t)(s[*i] - '0'), &next)) {
			if (!*point) return false;
			full = true;
		} else {
			*digits = next;
			*exponent -= *point;
		}
	}
	return true;
}

static int read_exponent(const char *s, size_t n)
{
	size_t i = n && (s[0] == '-' || s[0] == '+');
	int e = 0;
	for (; i < n && s[i] >= '0' && s[i] <= '9' && e <= MAX_EXPONENT; i++) e = 10 * e + (s[i] - '0');
	return n && s[0] == '-' ? -e : e;
}

static double power(int e)
{
	char text[16];
	double pow = 1;
	if (e <= 22) { /* exact */
		while (e--) pow *= 10;
		return pow;
	}
	snprintf(text, sizeof text, "1e%d", e);
	return strtod(text, NULL);
}

bool hf_score(const char *s, size_t n, double *v)
{
	uint64_t digits = 0;
	int exponent = 0;
	bool minus = n && *s == '-', point = false;
	size_t i = minus;
	if (!read_digits(s, n, &i, &digits, &exponent, &point)) return false;
	bool e = i < n && (s[i] == 'e' || s[i] == 'E');
	if (e) exponent += read_exponent(s + i + 1, n - i - 1);
	if (!point && !e) return false; /* an integer */
	if (exponent > 308) return false;
	double f = (double)digits;
	for (; exponent < -308 && f != 0; exponent += 308) f /= 1e308;
	if (f != 0) f = exponent < 0 ? f / power(-exponent) : f * power(exponent);
	*v = minus ? -f : f;
	return true;
}
