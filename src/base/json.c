/* json.c - parsing through jansson, writing by hand. */
#include "base/json.h"
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

/* jansson's parser does not notice every failure of memory: where a string outgrows its buffer, characters are lost, among
 * them the closing quote up to which it copies then, over whatever follows.  So it never learns of one: parsing ends
 * where memory does, by a jump, and what it holds by then is known from a set of addresses. */
struct parse { void **slot; int bits; size_t n; jmp_buf starved; };
static _Thread_local struct parse *parsing;

static size_t home(const struct parse *p, const void *m)
{
	return (size_t)((uint64_t)(uintptr_t)m * 0x9E3779B97F4A7C15u >> (64 - p->bits));
}

static void insert(struct parse *p, void *m)
{
	size_t mask = ((size_t)1 << p->bits) - 1, i = home(p, m);
	while (p->slot[i]) i = (i + 1) & mask;
	p->slot[i] = m;
}

/* False: no memory for that. */
static bool keep(struct parse *p, void *m)
{
	if (!p->slot || 2 * ++p->n > (size_t)1 << p->bits) {
		struct parse old = *p;
		p->bits = old.slot ? old.bits + 1 : 8;
		p->slot = lm_calloc((size_t)1 << p->bits, sizeof *p->slot);
		if (!p->slot) {
			p->slot = old.slot, p->bits = old.bits;
			return false;
		}
		for (size_t i = 0; old.slot && i < (size_t)1 << old.bits; i++)
			if (old.slot[i]) insert(p, old.slot[i]);
		lm_free(old.slot);
	}
	insert(p, m);
	return true;
}

/* Takes m out; what had to move on for it, moves back. */
static void forget(struct parse *p, const void *m)
{
	size_t mask = ((size_t)1 << p->bits) - 1, hole = home(p, m);
	while (p->slot[hole] && p->slot[hole] != m) hole = (hole + 1) & mask;
	p->n -= p->slot[hole] != NULL;
	for (size_t i = (hole + 1) & mask; p->slot[i]; i = (i + 1) & mask)
		if (((i - home(p, p->slot[i])) & mask) >= ((i - hole) & mask)) p->slot[hole] = p->slot[i], hole = i;
	p->slot[hole] = NULL;
}

static void *take(size_t n)
{
	void *m = lm_malloc(n);
	if (m && parsing && !keep(parsing, m)) {
		lm_free(m);
		m = NULL;
	}
	if (!m && parsing) longjmp(parsing->starved, 1);
	return m;
}

static void give(void *m)
{
	if (m && parsing && parsing->slot) forget(parsing, m);
	lm_free(m);
}

static void use_our_memory(void) { json_set_alloc_funcs(take, give); }

/* json_loadb; with *starved, there was no memory for it. */
static json_t *load(const char *s, size_t n, json_error_t *e, bool *starved)
{
	struct parse p = { 0 };
	json_t *volatile v = NULL;
	parsing = &p;
	*starved = false;
	if (setjmp(p.starved)) *starved = true;
	else v = json_loadb(s, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, e);
	parsing = NULL;
	for (size_t i = 0; *starved && p.slot && i < (size_t)1 << p.bits; i++) lm_free(p.slot[i]);
	lm_free(p.slot);
	return *starved ? NULL : v;
}

/* jansson recurses by nesting, so a few kilobytes of '[' would cost it the stack. */
static bool too_deep(const char *s, size_t n)
{
	int depth = 0;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		if (c == '"') {
			for (i++; i < n && s[i] != '"'; i++) i += s[i] == '\\';
		} else if (c == '[' || c == '{') {
			if (++depth > LM_JSON_DEPTH) return true;
		} else if (c == ']' || c == '}') depth--;
	}
	return false;
}

json_t *lm_json_parse(const char *s, size_t n, struct lm_err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, use_our_memory);
	if (too_deep(s, n)) {
		lm_fail(err, LM_EFORMAT, "JSON is nested deeper than %d levels", LM_JSON_DEPTH);
		return NULL;
	}
	json_error_t e;
	bool starved;
	json_t *v = load(s, n, &e, &starved);
	if (v) return v;
	if (starved)
		lm_fail(err, LM_ENOMEM, "out of memory for JSON");
	else
		lm_fail(err, LM_EFORMAT, "JSON is not valid at line %d, column %d: %s", e.line, e.column,
			e.text);
	return NULL;
}

/* A number of JSON, and what Python reads from more: bare words for infinities and NaN, integers of any length.  The
 * length of the one at s, and what jansson reads in its place; 0: nothing to change. */
static size_t odd_number(const char *s, size_t n, const char **is)
{
	static const struct { const char *word, *is; } words[] = { { "Infinity", "1e308" }, { "NaN", "null" } };
	size_t k = 0;
	for (int i = 0; i < 2; i++) {
		k = strlen(words[i].word);
		*is = words[i].is;
		if (n >= k && !memcmp(s, words[i].word, k)) return k;
	}
	for (k = 0; k < n && s[k] >= '0' && s[k] <= '9';) k++;
	*is = NULL;                                        /* as it stands, made a fraction */
	return k < 19 || (k < n && strchr(".eE", s[k])) ? 0 : k;
}

/* How many values and names there are, about. */
static size_t to_json(const char *s, size_t n, struct lm_buf *b)
{
	size_t from = 0, values = 0, k;
	const char *is;
	for (size_t i = 0; i < n; i++) {
		bool word = i && strchr("0123456789.+-eE", s[i - 1]) && s[i - 1] != '-';   /* inside a number */
		if (s[i] == '"') {
			for (i++; i < n && s[i] != '"'; i++) i += s[i] == '\\';
		} else if (!word && (k = odd_number(s + i, n - i, &is))) {
			lm_buf_add(b, s + from, i - from);
			if (is) lm_buf_str(b, is);
			else lm_buf_add(b, s + i, k), lm_buf_str(b, ".0");
			from = i + k;
			i = from - 1;
		}
		values += i < n && (s[i] == ',' || s[i] == '[' || s[i] == '{');
	}
	lm_buf_add(b, s + from, n - from);
	return values;
}

json_t *lm_json_python(const char *s, size_t n, struct lm_err *err)
{
	struct lm_buf b = { 0 };
	bool many = to_json(s, n, &b) > LM_JSON_VALUES;
	json_t *v = b.bad || many ? NULL : lm_json_parse(b.p ? b.p : "", b.n, err);
	if (many) lm_fail(err, LM_ELIMIT, "JSON has more than %d values", LM_JSON_VALUES);
	if (b.bad) lm_fail(err, LM_ENOMEM, "out of memory for JSON");
	lm_buf_free(&b);
	return v;
}

const char *lm_json_kind(const json_t *v)
{
	if (!v) return "missing";
	switch (json_typeof(v)) {
	case JSON_OBJECT: return "an object";
	case JSON_ARRAY: return "an array";
	case JSON_STRING: return "a string";
	case JSON_INTEGER:
	case JSON_REAL: return "a number";
	case JSON_NULL: return "null";
	default: return "a boolean";
	}
}

void lm_json_string(struct lm_buf *b, const char *s, size_t n)
{
	lm_buf_char(b, '"');
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		int k = lm_utf8_next(s + i, n - i, &cp);
		const char *names = "\"\\\b\f\n\r\t", *letters = "\"\\bfnrt";
		const char *at = cp && cp < 0x80 ? strchr(names, (int)cp) : NULL;
		if (at) {
			lm_buf_char(b, '\\');
			lm_buf_char(b, letters[at - names]);
		} else if (cp < 0x20) {
			lm_buf_fmt(b, "\\u%04x", cp);
		} else if (cp == 0xFFFD) {
			lm_buf_str(b, "\xEF\xBF\xBD");         /* also what stood for it was broken */
		} else {
			lm_buf_add(b, s + i, (size_t)k);
		}
		i += (size_t)k;
	}
	lm_buf_char(b, '"');
}

/* %g drops trailing zeros, so the first precision to try is the one that every short number survives:
 * FLT_DIG and DBL_DIG digits; below the normal range fewer may do. */
void lm_json_f32(struct lm_buf *b, float v)
{
	char text[32] = "null";
	if (isfinite(v))
		for (int digits = fabsf(v) < FLT_MIN ? 1 : FLT_DIG; digits <= 9; digits++) {
			snprintf(text, sizeof text, "%.*g", digits, (double)v);
			if (strtof(text, NULL) == v) break;
		}
	lm_buf_str(b, text);
}

void lm_json_f64(struct lm_buf *b, double v)
{
	char text[40] = "null";
	if (isfinite(v))
		for (int digits = fabs(v) < DBL_MIN ? 1 : DBL_DIG; digits <= 17; digits++) {
			snprintf(text, sizeof text, "%.*g", digits, v);
			if (strtod(text, NULL) == v) break;
		}
	lm_buf_str(b, text);
}
