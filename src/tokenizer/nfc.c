/* nfc.c - canonical composition.  Text that is in NFC already, nearly all, is recognised by our own table and
 * left alone; utf8proc decomposes and composes only the stretches that need it.
 * GOTCHA: marks are ordered here: the library's exchange sort is quadratic in a run of marks. */
#include "tokenizer/tok_impl.h"
#include "tokenizer/unicode_table.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* May NFC change this character, move it, or join it with the one before? */
static bool unstable(uint32_t cp)
{
	if (cp < 0x300) return false;
	size_t lo = 0, hi = sizeof uni_nfc / sizeof *uni_nfc / 2;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (uni_nfc[2 * mid + 1] < cp)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < sizeof uni_nfc / sizeof *uni_nfc / 2 && uni_nfc[2 * lo] <= cp;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Stable by combining class; cp[0..n) are all marks.  key has room for n. */
static void order(int32_t *cp, size_t n, uint64_t *key)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t ccc = (uint16_t)utf8proc_get_property(cp[i])->combining_class;
		key[i] = ccc << 53 | (uint64_t)i << 21 | (uint32_t)cp[i];
	}
	qsort(key, n, sizeof *key, by_value);
	for (size_t i = 0; i < n; i++) cp[i] = (int32_t)(key[i] & 0x1FFFFF);
}

/* s[0..n): a stable character or none, then unstable ones only. */
static void compose(struct lm_buf *out, const char *s, size_t n)
{
	size_t cap = 4 * n + 8, k = 0; /* one character becomes at most 4, and has at least one byte */
	int32_t *cp = lm_malloc(cap * sizeof *cp);
	uint64_t *key = lm_malloc(cap * sizeof *key);
	out->bad |= !cp || !key;
	for (size_t i = 0; i < n && !out->bad;) {
		uint32_t c;
		i += (size_t)lm_utf8_next(s + i, n - i, &c);
		utf8proc_ssize_t m = utf8proc_decompose_char((int32_t)c, cp + k, (utf8proc_ssize_t)(cap - k),
							     UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, NULL);
		if (m > 0) k += (size_t)m;
	}
	for (size_t i = 0; i < k && !out->bad;) {
		size_t end = i;
		while (end < k && utf8proc_get_property(cp[end])->combining_class > 0) end++;
		if (end > i + 1) order(cp + i, end - i, key);
		i = end + 1;
	}
	if (!out->bad) {
		utf8proc_ssize_t m =
			utf8proc_normalize_utf32(cp, (utf8proc_ssize_t)k, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
		for (utf8proc_ssize_t i = 0; i < m; i++) {
			char c[4];
			lm_buf_add(out, c, (size_t)lm_utf8_put(c, (uint32_t)cp[i]));
		}
	}
	lm_free(cp);
	lm_free(key);
}

bool nfc_append(struct lm_buf *out, const char *s, size_t n)
{
	bool any = false;
	size_t done = 0, last = 0; /* s[0..done) is in *out; `last` begins the latest character */
	for (size_t i = 0; i < n;) {
		uint32_t cp = (uint8_t)s[i];
		size_t begin = i;
		i += cp < 0x80 ? 1 : (size_t)lm_utf8_next(s + i, n - i, &cp);
		if (!unstable(cp)) {
			last = begin;
			continue;
		}
		while (i < n) {
			int len = lm_utf8_next(s + i, n - i, &cp);
			if (!unstable(cp)) break;
			i += (size_t)len;
		}
		lm_buf_add(out, s + done, last - done);
		compose(out, s + last, i - last);
		done = last = i;
		any = true;
	}
	if (any) lm_buf_add(out, s + done, n - done);
	return any;
}
