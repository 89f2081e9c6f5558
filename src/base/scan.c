/* scan.c - JSON one value at a time.  `depth` containers are open, bit depth-1 of `object` tells which kind
 * the innermost is, that of `fresh` that nothing of it was read yet.  An error leaves `at` where it was
 * found. */
#include "base/scan.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(LM_SCAN_DEPTH == 64, "a bit of a word each, and the sentence says so");

struct lm_scan lm_scan_begin(const char *s, size_t n)
{
	return (struct lm_scan){ .s = s, .n = n };
}

bool lm_scan_fail(struct lm_scan *s, const char *what)
{
	if (!s->bad) s->bad = what;
	return false;
}

/* ---- characters
 * ------------------------------------------------------------------------------------------------ */
static inline uint64_t load8(const char *p)
{
	uint64_t v;
	memcpy(&v, p, 8);
	return v;
}

/* The byte that holds the lowest bit set. */
static inline size_t low_byte(uint64_t v)
{
	return (size_t)__builtin_ctzll(v) / 8;
}

#define EACH(c) (0x0101010101010101u * (uint64_t)(c))
/* The lowest bit set is that of the first quote, backslash or byte below 0x20 among 8 (higher ones may be
 * wrong). */
static inline uint64_t ends_run(uint64_t v)
{
	uint64_t q = v ^ EACH('"'), b = v ^ EACH('\\');
	return (((q - EACH(1)) & ~q) | ((b - EACH(1)) & ~b) | ((v - EACH(0x20)) & ~v)) & EACH(0x80);
}

static inline bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The next character that is no white space, 0 at the end or after an error. */
static inline char skip_space(struct lm_scan *s)
{
	const char *p = s->s;
	size_t at = s->at, n = s->n;
	if (s->bad) return 0;
	while (at < n && is_space(p[at])) {
		uint64_t other = 0; /* indentation: eight at a time */
		for (at++; !other && n - at >= 8; at += other ? low_byte(other) : 8)
			other = load8(p + at) ^ EACH(' ');
	}
	s->at = at;
	return at < n ? p[at] : 0;
}

static inline bool take(struct lm_scan *s, char c)
{
	if (s->at >= s->n || s->s[s->at] != c) return false;
	s->at++;
	return true;
}

char lm_scan_peek(struct lm_scan *s)
{
	char c = skip_space(s);
	return (c >= '0' && c <= '9') || c == '-' || c == 'N' || c == 'I' ? '0' : c;
}

/* ---- strings
 * --------------------------------------------------------------------------------------------------- */
static int hex4(const char *p)
{
	int v = 0;
	for (int i = 0; i < 4; i++) {
		char c = p[i], l = c | 0x20;
		int d = c >= '0' && c <= '9' ? c - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
		if (d < 0) return -1;
		v = v << 4 | d;
	}
	return v;
}

/* Takes the escape at s->at. */
static bool escape(struct lm_scan *s)
{
	const char *p = s->s + s->at;
	size_t left = s->n - s->at;
	if (left >= 2 && p[1] && strchr("\"\\/bfnrt", p[1])) {
		s->at += 2;
		return true;
	}
	if (left < 6 || p[1] != 'u' || hex4(p + 2) < 0)
		return lm_scan_fail(s, "expected an escape such as \\n or \\u00e9");
	s->at += 6;
	return true;
}

/* s->at is behind the opening quote. */
static inline bool string(struct lm_scan *s, struct lm_scan_str *v)
{
	const char *p = s->s;
	size_t begin = s->at;
	bool escaped = false;
	for (;;) {
		size_t at = s->at;
		uint64_t end = 0;
		for (; !end && s->n - at >= 8; at += end ? low_byte(end) : 8) end = ends_run(load8(p + at));
		while (!end && at < s->n && p[at] != '"' && p[at] != '\\' && (uint8_t)p[at] >= 0x20) at++;
		s->at = at;
		if (at == s->n) return lm_scan_fail(s, "expected the end of a string");
		if (p[at] == '"') break;
		escaped = true;
		if (p[at] != '\\') return lm_scan_fail(s, "expected no control character in a string");
		if (!escape(s)) return false;
	}
	*v = (struct lm_scan_str){ p + begin, s->at - begin, escaped };
	s->at++;
	return true;
}

bool lm_scan_str(struct lm_scan *s, struct lm_scan_str *v)
{
	if (skip_space(s) != '"') return lm_scan_fail(s, "expected a string");
	s->at++;
	return string(s, v);
}

/* Without entering the array: hundreds of thousands of merges come like this. */
bool lm_scan_pair(struct lm_scan *s, struct lm_scan_str *a, struct lm_scan_str *b)
{
	static const char what[] = "expected an array of two strings";
	if (skip_space(s) != '[') return lm_scan_fail(s, what);
	s->at++;
	if (skip_space(s) != '"') return lm_scan_fail(s, what);
	s->at++;
	if (!string(s, a)) return false;
	if (skip_space(s) != ',') return lm_scan_fail(s, what);
	s->at++;
	if (skip_space(s) != '"') return lm_scan_fail(s, what);
	s->at++;
	if (!string(s, b)) return false;
	if (skip_space(s) != ']') return lm_scan_fail(s, what);
	s->at++;
	return true;
}

/* One character of a string that was scanned: its bytes to out, what it takes is returned. */
static size_t next_char(const char *p, size_t n, char out[4], int *out_n)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	*out_n = 1;
	out[0] = p[0];
	if (p[0] != '\\') return 1;
	if (p[1] != 'u') {
		out[0] = to[strchr(from, p[1]) - from];
		return 2;
	}
	uint32_t cp = (uint32_t)hex4(p + 2);
	size_t k = 6;
	if (cp >= 0xD800 && cp < 0xDC00 && n >= 12 && p[6] == '\\' && p[7] == 'u') {
		uint32_t low = (uint32_t)hex4(p + 8);
		if (low >= 0xDC00 && low < 0xE000) {
			cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
			k = 12;
		}
	}
	*out_n = lm_utf8_put(out, cp);
	return k;
}

void lm_scan_unescape(struct lm_scan_str v, struct lm_buf *out)
{
	for (size_t i = 0; v.escaped && i < v.n;) {
		const char *p = v.s + i, *b = memchr(p, '\\', v.n - i);
		char c[4];
		int k;
		lm_buf_add(out, p, b ? (size_t)(b - p) : v.n - i);
		if (!b) return;
		i = (size_t)(b - v.s);
		i += next_char(b, v.n - i, c, &k);
		lm_buf_add(out, c, (size_t)k);
	}
	if (!v.escaped) lm_buf_add(out, v.s, v.n);
}

bool lm_scan_is(struct lm_scan_str v, const char *text)
{
	size_t len = strlen(text);
	if (!v.escaped) return v.n == len && memcmp(v.s, text, len) == 0;
	for (size_t i = 0; i < v.n;) {
		char c[4];
		int k;
		i += next_char(v.s + i, v.n - i, c, &k);
		if ((size_t)k > len || memcmp(c, text, (size_t)k)) return false;
		text += k;
		len -= (size_t)k;
	}
	return len == 0;
}

/* ---- containers
 * ------------------------------------------------------------------------------------------------ */
static bool enter(struct lm_scan *s, char open, const char *what)
{
	if (skip_space(s) != open) return lm_scan_fail(s, what);
	if (s->depth == LM_SCAN_DEPTH) return lm_scan_fail(s, "nested deeper than 64 levels");
	uint64_t bit = (uint64_t)1 << s->depth++;
	s->object = open == '{' ? s->object | bit : s->object & ~bit;
	s->fresh |= bit;
	s->at++;
	return true;
}

bool lm_scan_object(struct lm_scan *s)
{
	return enter(s, '{', "expected an object");
}
bool lm_scan_array(struct lm_scan *s)
{
	return enter(s, '[', "expected an array");
}

/* To the next element of the container; false when it ended, or on an error. */
static inline bool next(struct lm_scan *s, char close, const char *comma)
{
	char c = skip_space(s);
	if (s->bad) return false;
	uint64_t bit = (uint64_t)1 << (s->depth - 1);
	if (c == close) {
		s->at++;
		s->depth--;
		return false;
	}
	if (s->fresh & bit) {
		s->fresh &= ~bit;
		return true;
	}
	if (c != ',') return lm_scan_fail(s, comma);
	s->at++;
	return true;
}

bool lm_scan_key(struct lm_scan *s, struct lm_scan_str *key)
{
	if (!next(s, '}', "expected ',' or '}'")) return false;
	if (skip_space(s) != '"') return lm_scan_fail(s, "expected a name in quotes");
	s->at++;
	if (!string(s, key)) return false;
	if (skip_space(s) != ':') return lm_scan_fail(s, "expected ':' after the name");
	s->at++;
	return true;
}

/* A comma before the bracket is found by whatever reads the item. */
bool lm_scan_item(struct lm_scan *s)
{
	return next(s, ']', "expected ',' or ']'");
}

/* ---- other values
 * ---------------------------------------------------------------------------------------------- */
static bool word(struct lm_scan *s, const char *w)
{
	size_t k = strlen(w);
	if (s->n - s->at < k || memcmp(s->s + s->at, w, k)) return false;
	s->at += k;
	return true;
}

bool lm_scan_null(struct lm_scan *s)
{
	return skip_space(s) == 'n' && word(s, "null");
}

bool lm_scan_bool(struct lm_scan *s, bool *v)
{
	char c = skip_space(s);
	*v = c == 't';
	return (c == 't' && word(s, "true")) || (c == 'f' && word(s, "false")) ||
	       lm_scan_fail(s, "expected true or false");
}

static size_t digits(struct lm_scan *s)
{
	size_t begin = s->at;
	while (s->at < s->n && s->s[s->at] >= '0' && s->s[s->at] <= '9') s->at++;
	return s->at - begin;
}

/* Takes "-12"; no zero before another digit. */
static bool whole(struct lm_scan *s, const char *what)
{
	size_t begin = s->at;
	take(s, '-');
	bool zero = s->at < s->n && s->s[s->at] == '0';
	size_t k = digits(s);
	if (k == 1 || (k > 1 && !zero)) return true;
	s->at = begin;
	return lm_scan_fail(s, what);
}

bool lm_scan_int(struct lm_scan *s, int64_t *v)
{
	skip_space(s);
	size_t i = s->at;
	if (s->bad || !whole(s, "expected an integer")) return false;
	if (s->at < s->n && (s->s[s->at] == '.' || (s->s[s->at] | 0x20) == 'e')) {
		s->at = i;
		return lm_scan_fail(s, "expected an integer");
	}
	bool minus = s->s[i] == '-';
	int64_t x = 0;
	for (i += minus; i < s->at && s->at - i <= 18; i++) x = x * 10 - (s->s[i] - '0');
	for (; i < s->at; i++) {
		int d = s->s[i] - '0';
		if (__builtin_mul_overflow(x, 10, &x) || __builtin_sub_overflow(x, d, &x)) {
			*v = minus ? INT64_MIN : INT64_MAX;
			return true;
		}
	}
	*v = minus ? x : x == INT64_MIN ? INT64_MAX : -x;
	return true;
}

/* Takes a number of JSON's grammar. */
static bool number(struct lm_scan *s)
{
	static const char what[] = "expected a number";
	if (!whole(s, what)) return false;
	if (take(s, '.') && !digits(s)) return lm_scan_fail(s, what);
	if (take(s, 'e') || take(s, 'E')) {
		if (!take(s, '-')) take(s, '+');
		if (!digits(s)) return lm_scan_fail(s, what);
	}
	return true;
}

/* Takes the numbers that are none in JSON but in Python's. */
static bool odd_number(struct lm_scan *s, double *v)
{
	bool minus = s->n - s->at > 1 && s->s[s->at] == '-' && s->s[s->at + 1] == 'I';
	s->at += minus;
	if (word(s, "Infinity"))
		*v = minus ? -INFINITY : INFINITY;
	else if (!minus && word(s, "NaN"))
		*v = NAN;
	else {
		s->at -= minus;
		return false;
	}
	return true;
}

/* Up to 53 bits of digits over a power of ten that a double holds: one division rounds once.  False: not such
 * a one. */
static bool exact(const char *p, size_t n, double *v)
{
	static const double ten[] = { 1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
				      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
	bool minus = *p == '-';
	uint64_t x = 0;
	size_t point = n;
	if (n > 19) return false;
	for (size_t i = minus; i < n; i++) {
		if (p[i] == '.')
			point = i + 1;
		else if (p[i] < '0' || p[i] > '9')
			return false;
		else
			x = x * 10 + (uint64_t)(p[i] - '0');
	}
	if (x > (uint64_t)1 << 53) return false;
	*v = (double)x / ten[n - point];
	if (minus) *v = -*v;
	return true;
}

bool lm_scan_num(struct lm_scan *s, double *v)
{
	skip_space(s);
	if (s->bad) return false;
	if (odd_number(s, v)) return true;
	char text[512];
	size_t begin = s->at;
	if (!number(s)) return false;
	size_t n = s->at - begin;
	if (exact(s->s + begin, n, v)) return true;
	if (n >= sizeof text) return lm_scan_fail(s, "a number of more than 511 characters");
	memcpy(text, s->s + begin, n);
	text[n] = 0;
	*v = strtod(text, NULL);
	return true;
}

static bool scalar(struct lm_scan *s)
{
	struct lm_scan_str v;
	double x;
	bool b;
	switch (lm_scan_peek(s)) {
	case '"': return lm_scan_str(s, &v);
	case 't':
	case 'f': return lm_scan_bool(s, &b);
	case 'n': return lm_scan_null(s) || lm_scan_fail(s, "expected a value");
	case '0': return odd_number(s, &x) || number(s);
	default: return lm_scan_fail(s, "expected a value");
	}
}

bool lm_scan_skip(struct lm_scan *s)
{
	int depth = s->depth;
	do {
		char c = lm_scan_peek(s);
		struct lm_scan_str key;
		if (!(c == '{' ? lm_scan_object(s) : c == '[' ? lm_scan_array(s) : scalar(s))) return false;
		while (s->depth > depth) {
			bool object = s->object >> (s->depth - 1) & 1;
			if (object ? lm_scan_key(s, &key) : lm_scan_item(s)) break;
			if (s->bad) return false;
		}
	} while (s->depth > depth);
	return true;
}

bool lm_scan_raw(struct lm_scan *s, const char **v, size_t *n)
{
	skip_space(s);
	size_t begin = s->at;
	if (!lm_scan_skip(s)) return false;
	*v = s->s + begin;
	*n = s->at - begin;
	return true;
}

/* ---- the sentence
 * ---------------------------------------------------------------------------------------------- */
int lm_scan_end(struct lm_scan *s, struct lm_err *err)
{
	if (!s->bad && skip_space(s)) lm_scan_fail(s, "expected the end of the text");
	if (!s->bad && s->at < s->n) lm_scan_fail(s, "expected the end of the text");
	if (!s->bad && s->depth) lm_scan_fail(s, "expected more");
	if (!s->bad) return 0;
	size_t line = 1, column = 1;
	for (size_t i = 0; i < s->at; i++) {
		if (s->s[i] == '\n') {
			line++;
			column = 1;
		} else
			column += ((uint8_t)s->s[i] & 0xC0) != 0x80;
	}
	char found[40] = "";
	if (!strncmp(s->bad, "expected", 8)) {
		uint32_t cp;
		const char *p = s->s + s->at;
		int k = s->at < s->n ? lm_utf8_next(p, s->n - s->at, &cp) : 0;
		if (k)
			snprintf(found, sizeof found, ", found '%.*s'", k, p);
		else
			strcpy(found, ", found its end");
	}
	return lm_fail(err, LM_EFORMAT, "line %zu, column %zu: %s%s", line, column, s->bad, found);
}
