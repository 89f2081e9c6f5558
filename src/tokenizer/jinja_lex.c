/* jinja_lex.c - template source to tokens, one at a time, with trim_blocks and lstrip_blocks. */
#include "tokenizer/jinja.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

int jj_fail_at(struct lm_err *err, int code, const char *src, size_t len, size_t pos, const char *fmt, ...)
{
	char text[400];
	int line = 1, col = 1;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < pos && i < len; i++) {
		if (src[i] == '\n') {
			line++;
			col = 1;
		} else if ((src[i] & 0xC0) != 0x80) {
			col++;
		}
	}
	return lm_fail(err, code, "chat template, line %d column %d: %s", line, col, text);
}

static int fail(struct jj_lexer *x, size_t pos, const char *what)
{
	return jj_fail_at(x->err, LM_EFORMAT, x->src, x->n, pos, "%s", what);
}

static size_t skip_space(const struct jj_lexer *x, size_t at)
{
	while (at < x->n) {
		uint32_t cp;
		int k = lm_utf8_next(x->src + at, x->n - at, &cp);
		if (!jj_space(cp)) break;
		at += (size_t)k;
	}
	return at;
}

static bool looking_at(const struct jj_lexer *x, size_t at, const char *s)
{
	size_t n = strlen(s);
	return x->n - at >= n && memcmp(x->src + at, s, n) == 0;
}

static void advance(struct jj_lexer *x, size_t to)
{
	if (to > x->at) x->line_start = x->src[to - 1] == '\n';
	x->at = to;
}

/* Length of a closing tag at `at` ("%}" with signs, and what it swallows), 0 if there is none. */
static size_t closing(const struct jj_lexer *x, size_t at, const char *end, bool trim, bool plus)
{
	size_t n = strlen(end), from = at;
	bool minus = at < x->n && x->src[at] == '-' && looking_at(x, at + 1, end);
	if (minus) return skip_space(x, at + 1 + n) - from;
	if (plus && at < x->n && x->src[at] == '+' && looking_at(x, at + 1, end)) return 1 + n;
	if (!looking_at(x, at, end)) return 0;
	at += n;
	if (trim && at < x->n && x->src[at] == '\n') at++;
	return at - from;
}

/* "{% raw %}" at the tag at `at`: the position behind it, else 0. */
static size_t word_tag(const struct jj_lexer *x, size_t at, const char *word, bool end_tag)
{
	if (!looking_at(x, at, "{%")) return 0;
	at += 2;
	if (at < x->n && (x->src[at] == '-' || x->src[at] == '+')) at++;
	at = skip_space(x, at);
	if (!looking_at(x, at, word)) return 0;
	at = skip_space(x, at + strlen(word));
	size_t n = closing(x, at, "%}", end_tag, end_tag);
	return n ? at + n : 0;
}

/* Text before a tag at `tag`, cut as its sign and lstrip_blocks ask. */
static size_t cut_text(const struct jj_lexer *x, size_t from, size_t tag, bool variable)
{
	char sign = tag + 2 < x->n ? x->src[tag + 2] : 0;
	size_t end = tag;
	if (sign == '-') {
		struct jj_val s = jj_strip(NULL, jj_view(x->src + from, tag - from), NULL, 2);
		return from + s.n;
	}
	if (sign == '+' || variable) return tag;
	while (end > from && x->src[end - 1] != '\n') end--;
	if (end == from && !x->line_start) return tag;
	return skip_space(x, end) >= tag ? end : tag;
}

static void data(struct jj_lexer *x, struct jj_token *t, size_t from, size_t to)
{
	*t = (struct jj_token){ JJT_DATA, (uint32_t)from, jj_view(x->src + from, to - from) };
}

static int lex_raw(struct jj_lexer *x, struct jj_token *t, size_t from)
{
	for (size_t at = from; at < x->n; at++) {
		size_t end = x->src[at] == '{' ? word_tag(x, at, "endraw", true) : 0;
		if (!end) continue;
		data(x, t, from, cut_text(x, from, at, false));
		advance(x, end);
		return 0;
	}
	return fail(x, from, "missing end of raw directive");
}

static int skip_comment(struct jj_lexer *x, size_t tag)
{
	size_t at = tag + 2;
	if (at < x->n && (x->src[at] == '-' || x->src[at] == '+')) at++;
	for (; at < x->n; at++) {
		size_t n = closing(x, at, "#}", true, true);
		if (!n) continue;
		advance(x, at + n);
		return 0;
	}
	return fail(x, tag, "missing end of comment tag");
}

/* Text up to the next tag; the tag's own token comes with the next call. */
static int lex_text(struct jj_lexer *x, struct jj_token *t)
{
	for (;;) {
		size_t from = x->at, tag = from;
		while (tag + 1 < x->n &&
		       !(x->src[tag] == '{' && strchr("%{#", x->src[tag + 1]) && x->src[tag + 1]))
			tag++;
		if (tag + 1 >= x->n) tag = x->n;
		if (tag == x->n) {
			data(x, t, from, tag);
			if (from == tag) t->t = JJT_EOF;
			advance(x, tag);
			return 0;
		}
		bool variable = x->src[tag + 1] == '{';
		size_t end = cut_text(x, from, tag, variable);
		if (end > from) {
			data(x, t, from, end);
			/* what was cut is gone; the tag must not be cut again from an empty line's start */
			x->at = tag;
			x->line_start = false;
			return 0;
		}
		size_t raw = word_tag(x, tag, "raw", false);
		if (raw) {
			int rc = lex_raw(x, t, raw);
			if (rc || t->v.n) return rc;
			continue;
		}
		if (x->src[tag + 1] == '#') {
			int rc = skip_comment(x, tag);
			if (rc) return rc;
			continue;
		}
		*t = (struct jj_token){ variable ? JJT_VAR_BEGIN : JJT_BLOCK_BEGIN, (uint32_t)tag,
					jj_none() };
		x->state = t->t;
		x->at = tag + 2;
		if (x->at < x->n && (x->src[x->at] == '-' || x->src[x->at] == '+')) x->at++;
		x->line_start = false;
		return 0;
	}
}

static int digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : 99;
}

/* Digits of `base` with single underscores between them; the end. */
static size_t digits(const struct jj_lexer *x, size_t at, int base)
{
	while (at < x->n) {
		if (digit(x->src[at]) < base) at++;
		else if (x->src[at] == '_' && at + 1 < x->n && digit(x->src[at + 1]) < base) at += 2;
		else break;
	}
	return at;
}

static bool is_digit(const struct jj_lexer *x, size_t at)
{
	return at < x->n && x->src[at] >= '0' && x->src[at] <= '9';
}

/* End of a float at `at`, or 0: digits, then a fraction, an exponent or both. */
static size_t float_end(const struct jj_lexer *x, size_t at)
{
	if (at > 0 && x->src[at - 1] == '.') return 0;
	size_t end = digits(x, at, 10), e;
	bool real = false;
	if (end < x->n && x->src[end] == '.' && is_digit(x, end + 1)) {
		end = digits(x, end + 1, 10);
		real = true;
	}
	e = end;
	if (e < x->n && (x->src[e] | 32) == 'e') {
		e++;
		if (e < x->n && (x->src[e] == '+' || x->src[e] == '-')) e++;
		if (is_digit(x, e)) return digits(x, e, 10);
	}
	return real ? end : 0;
}

static int lex_number(struct jj_lexer *x, struct jj_token *t)
{
	size_t from = x->at, end = float_end(x, from);
	char buf[400];
	size_t n = 0;
	if (end) {
		for (size_t i = from; i < end && n + 1 < sizeof buf; i++)
			if (x->src[i] != '_') buf[n++] = x->src[i];
		if (n + 1 == sizeof buf) return fail(x, from, "number too long");
		buf[n] = 0;
		*t = (struct jj_token){ JJT_FLOAT, (uint32_t)from, jj_float(strtod(buf, NULL)) };
		x->at = end;
		return 0;
	}
	int base = 10;
	size_t at = from;
	if (x->src[at] == '0' && at + 2 < x->n) {
		int letter = x->src[at + 1] | 32, b = letter == 'x'   ? 16
						      : letter == 'o' ? 8
						      : letter == 'b' ? 2
								      : 0;
		size_t first = at + 2 + (x->src[at + 2] == '_');
		if (b && first < x->n && digit(x->src[first]) < b) {
			base = b;
			at = first;
		}
	}
	if (base == 10 && x->src[at] == '0') {
		while (at < x->n &&
		       (x->src[at] == '0' || (x->src[at] == '_' && at + 1 < x->n && x->src[at + 1] == '0')))
			at++;
		end = at;
	} else {
		end = digits(x, at, base);
	}
	int64_t v = 0;
	for (at = base == 10 ? from : at; at < end; at++) {
		if (x->src[at] == '_') continue;
		if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, digit(x->src[at]), &v))
			return fail(x, from, "integer beyond 64 bits");
	}
	*t = (struct jj_token){ JJT_INT, (uint32_t)from, jj_int(v) };
	x->at = end;
	return 0;
}

/* \xHH, \uHHHH, \UHHHHHHHH or \ooo behind the backslash at *i; the code point, or -1. */
static int64_t escape_code(const char *s, size_t n, size_t *i)
{
	int len = s[*i] == 'x' ? 2 : s[*i] == 'u' ? 4 : s[*i] == 'U' ? 8 : 0;
	int64_t cp = 0;
	if (!len) {
		for (int k = 0; k < 3 && *i < n && s[*i] >= '0' && s[*i] <= '7'; k++)
			cp = cp * 8 + (s[(*i)++] - '0');
		return cp;
	}
	for (++*i; len > 0 && *i < n && digit(s[*i]) < 16; len--) cp = cp * 16 + digit(s[(*i)++]);
	return len || cp > 0x10FFFF ? -1 : cp;
}

/* Body s[0..n) of a string literal to out (never longer); its length, or -1 on a bad escape. */
static long unescape(char *out, const char *s, size_t n)
{
	static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
	size_t o = 0;
	for (size_t i = 0; i < n;) {
		if (s[i] != '\\') {
			out[o++] = s[i++];
			continue;
		}
		char c = s[++i];
		const char *p = c ? strchr(from, c) : NULL;
		if (c == '\n') {
			i++;
		} else if (p) {
			out[o++] = to[p - from];
			i++;
		} else if (c == 'x' || c == 'u' || c == 'U' || (c >= '0' && c <= '7')) {
			char u[4];
			int64_t cp = escape_code(s, n, &i);
			if (cp < 0) return -1;
			int k = lm_utf8_put(u, (uint32_t)cp);
			memcpy(out + o, u, (size_t)k);
			o += (size_t)k;
		} else if (c == 'N') {
			return -1;
		} else {
			out[o++] = '\\';
		}
	}
	return (long)o;
}

static int lex_string(struct jj_lexer *x, struct jj_token *t)
{
	size_t from = x->at + 1, at = from;
	char quote = x->src[x->at];
	bool plain = true;
	while (at < x->n && x->src[at] != quote) {
		if (x->src[at] == '\\') {
			plain = false;
			at++;
		}
		at++;
	}
	if (at >= x->n) return fail(x, x->at, "string without its closing quote");
	*t = (struct jj_token){ JJT_STRING, (uint32_t)x->at, jj_view(x->src + from, at - from) };
	if (!plain) {
		/* "\x80" (4 bytes) makes 2, "\7" 1: never longer than the source */
		char *s = lm_new(x->mem, char, at - from + 1);
		if (!s) return lm_fail(x->err, LM_ENOMEM, "chat template: out of memory");
		long n = unescape(s, x->src + from, at - from);
		if (n < 0) return fail(x, x->at, "string with an escape that means nothing");
		t->v = jj_view(s, (size_t)n);
	}
	x->at = at + 1;
	return 0;
}

static bool name_char(uint32_t cp)
{
	if (cp < 0x80) return cp == '_' || (cp >= '0' && cp <= '9') || ((cp | 32) >= 'a' && (cp | 32) <= 'z');
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL && c != UTF8PROC_CATEGORY_ME;
}

static int lex_operator(struct jj_lexer *x, struct jj_token *t)
{
	static const struct { const char *s; int t; } two[] = { { "//", JJT_FLOORDIV }, { "**", JJT_POW },
		{ "==", JJT_EQ }, { "!=", JJT_NE }, { ">=", JJT_GE }, { "<=", JJT_LE } };
	char c = x->src[x->at], msg[64];
	t->pos = (uint32_t)x->at;
	for (size_t i = 0; i < sizeof two / sizeof two[0]; i++)
		if (looking_at(x, x->at, two[i].s)) {
			t->t = two[i].t;
			x->at += 2;
			return 0;
		}
	if (!c || !strchr("+-*/%~[](){}<>=.:|,;", c)) {
		uint32_t cp;
		lm_utf8_next(x->src + x->at, x->n - x->at, &cp);
		snprintf(msg, sizeof msg,
			 cp > 32 && cp < 127 ? "unexpected character '%c'" : "unexpected character U+%04X",
			 (int)cp);
		return fail(x, x->at, msg);
	}
	if (strchr("([{", c)) {
		if (x->n_open == (int)sizeof x->open)
			return fail(x, x->at, "nested too deeply (200 levels at most)");
		x->open[x->n_open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
	} else if (strchr(")]}", c)) {
		if (!x->n_open || x->open[--x->n_open] != c) {
			snprintf(msg, sizeof msg, "unexpected '%c'", c);
			return fail(x, x->at, msg);
		}
	}
	t->t = (unsigned char)c;
	x->at++;
	return 0;
}

int jj_lex(struct jj_lexer *x, struct jj_token *t)
{
	if (!x->state) return lex_text(x, t);
	bool block = x->state == JJT_BLOCK_BEGIN;
	size_t n = 0;
	for (;;) {
		if (!x->n_open) n = closing(x, x->at, block ? "%}" : "}}", block, block);
		size_t next = n ? x->at : skip_space(x, x->at);
		if (next == x->at) break;
		x->at = next;
	}
	*t = (struct jj_token){ JJT_EOF, (uint32_t)x->at, jj_none() };
	if (x->at >= x->n) return 0;
	if (n) {
		t->t = block ? JJT_BLOCK_END : JJT_VAR_END;
		advance(x, x->at + n);
		x->state = 0;
		return 0;
	}
	char c = x->src[x->at];
	if (c >= '0' && c <= '9') return lex_number(x, t);
	if (c == '\'' || c == '"') return lex_string(x, t);
	size_t at = x->at;
	while (at < x->n) {
		uint32_t cp;
		int k = lm_utf8_next(x->src + at, x->n - at, &cp);
		if (!name_char(cp)) break;
		at += (size_t)k;
	}
	if (at == x->at) return lex_operator(x, t);
	t->t = JJT_NAME;
	t->v = jj_view(x->src + x->at, at - x->at);
	x->at = at;
	return 0;
}
