/* utf8.c - decoding with one U+FFFD per maximal bad subpart (Unicode 3.9, table 3-7). */
#include "base/base.h"
#include <string.h>

/* Length of the sequence that byte c begins, and the bounds of its second byte. 0: c begins nothing. */
static int lead(unsigned char c, unsigned char *lo, unsigned char *hi)
{
	*lo = 0x80;
	*hi = 0xBF;
	if (c < 0x80) return 1;
	if (c >= 0xC2 && c <= 0xDF) return 2;
	if (c >= 0xE0 && c <= 0xEF) {
		if (c == 0xE0) *lo = 0xA0;
		if (c == 0xED) *hi = 0x9F;
		return 3;
	}
	if (c >= 0xF0 && c <= 0xF4) {
		if (c == 0xF0) *lo = 0x90;
		if (c == 0xF4) *hi = 0x8F;
		return 4;
	}
	return 0;
}

int lm_utf8_next(const char *s, size_t n, uint32_t *cp)
{
	const unsigned char *u = (const unsigned char *)s;
	unsigned char lo, hi;
	int len = lead(u[0], &lo, &hi);
	*cp = 0xFFFD;
	if (len == 0) return 1;
	if (len == 1) {
		*cp = u[0];
		return 1;
	}
	uint32_t v = u[0] & (0x7Fu >> len);
	for (int i = 1; i < len; i++) {
		if ((size_t)i >= n || u[i] < lo || u[i] > hi) return i;
		v = v << 6 | (u[i] & 0x3F);
		lo = 0x80;
		hi = 0xBF;
	}
	*cp = v;
	return len;
}

int lm_utf8_put(char out[4], uint32_t cp)
{
	if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF)) cp = 0xFFFD;
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	int n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
	for (int i = n - 1; i > 0; i--, cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3F));
	out[0] = (char)((0xF00u >> n & 0xFF) | cp);
	return n;
}

bool lm_utf8_valid(const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		int k = lm_utf8_next(s + i, n - i, &cp);
		if (cp == 0xFFFD && !(k == 3 && memcmp(s + i, "\xEF\xBF\xBD", 3) == 0)) return false;
		i += (size_t)k;
	}
	return true;
}

int lm_utf8_tail(const char *s, size_t n)
{
	for (int k = 1; k <= 3 && (size_t)k <= n; k++) {
		unsigned char c = (unsigned char)s[n - (size_t)k], lo, hi;
		if (c < 0x80) return 0;
		if (c >= 0xC0) {
			int len = lead(c, &lo, &hi);
			if (len <= k) return 0;
			if (k > 1) {
				unsigned char d = (unsigned char)s[n - (size_t)k + 1];
				if (d < lo || d > hi) return 0;
			}
			return k;
		}
	}
	return 0;
}
