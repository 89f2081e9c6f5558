/* jinja_str.c - Python's str on UTF-8: characters, case, white space, search. */
#include "tokenizer/jinja.h"
#include <string.h>
#include <utf8proc.h>

bool jj_space(uint32_t cp)
{
	return cp == ' ' || (cp >= 9 && cp <= 13) || (cp >= 0x1C && cp <= 0x1F) || cp == 0x85 || cp == 0xA0 ||
	       cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 ||
	       cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool jj_alnum(uint32_t cp)
{
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) ||
	       (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO);
}

size_t jj_chars(struct jj_val s)
{
	size_t n = 0;
	for (uint32_t i = 0; i < s.n; i++) n += (s.s[i] & 0xC0) != 0x80;
	return n;
}

size_t jj_offset(struct jj_val s, size_t chars)
{
	uint32_t i = 0;
	for (; i < s.n; i++)
		if ((s.s[i] & 0xC0) != 0x80 && chars-- == 0) break;
	return i;
}

struct jj_val jj_sub(struct jj_val s, size_t from, size_t to)
{
	return from < to ? jj_view(s.s + from, to - from) : jj_view("", 0);
}

static uint32_t char_at(struct jj_val s, size_t i, size_t *len)
{
	uint32_t cp;
	*len = (size_t)lm_utf8_next(s.s + i, s.n - i, &cp);
	return cp;
}

static bool in_set(const struct jj_val *set, struct jj_val c, uint32_t cp)
{
	size_t len;
	if (!set) return jj_space(cp);
	for (size_t i = 0; i < set->n; i += len)
		if (char_at(*set, i, &len) == cp && len == c.n) return true;
	return false;
}

struct jj_val jj_strip(struct jj_run *r, struct jj_val s, const struct jj_val *set, int sides)
{
	size_t from = 0, to = s.n, len, cost = set ? 1 + set->n / 4 : 1;
	while ((sides & 1) && from < to) {
		uint32_t cp = char_at(s, from, &len);
		if (!in_set(set, jj_sub(s, from, from + len), cp) || (r && !jj_step(r, cost))) break;
		from += len;
	}
	while ((sides & 2) && to > from) {
		size_t at = to - 1;
		while (at > from && (s.s[at] & 0xC0) == 0x80) at--;
		uint32_t cp = char_at(s, at, &len);
		if (!in_set(set, jj_sub(s, at, to), cp) || (r && !jj_step(r, cost))) break;
		to = at;
	}
	return jj_sub(s, from, to);
}

/* ---- case ---------------------------------------------------------------------------------------------- */
static utf8proc_category_t category(uint32_t cp) { return utf8proc_category((utf8proc_int32_t)cp); }

static bool cased(uint32_t cp)
{
	utf8proc_category_t c = category(cp);
	return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT;
}

static void put(struct lm_buf *b, uint32_t cp)
{
	char u[4];
	lm_buf_add(b, u, (size_t)lm_utf8_put(u, cp));
}

/* Characters whose capital is two or three: the common ones of Unicode's SpecialCasing. */
static const char *special_upper(uint32_t cp)
{
	static const char *const lig[] = { "FF", "FI", "FL", "FFI", "FFL", "ST", "ST" };
	if (cp == 0xDF) return "SS";
	if (cp == 0x149) return "\xCA\xBCN";
	return cp >= 0xFB00 && cp <= 0xFB06 ? lig[cp - 0xFB00] : NULL;
}

static void put_upper(struct lm_buf *b, uint32_t cp, bool title)
{
	const char *s = special_upper(cp);
	if (!s) {
		put(b, (uint32_t)(title ? utf8proc_totitle((utf8proc_int32_t)cp)
					: utf8proc_toupper((utf8proc_int32_t)cp)));
	} else if (title && cp != 0x149) {
		lm_buf_char(b, s[0]);
		for (s++; *s; s++) lm_buf_char(b, (char)(*s | 32));
	} else {
		lm_buf_str(b, s);
	}
}

static void put_lower(struct lm_buf *b, uint32_t cp, bool after_cased, struct jj_val rest)
{
	size_t len;
	if (cp == 0x130) {
		lm_buf_str(b, "i\xCC\x87");
	} else if (cp == 0x3A3) {
		bool last = after_cased && !(rest.n && cased(char_at(rest, 0, &len)));
		put(b, last ? 0x3C2 : 0x3C3);
	} else {
		put(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
	}
}

/* how: U upper, L lower, S swapcase, C capitalize, T title (Python's), W title (jinja's filter: words begin
 * after white space and one of -({[<). */
struct jj_val jj_case(struct jj_run *r, struct jj_val s, char how)
{
	struct lm_buf b = { 0 };
	bool prev_cased = false, begin = true;
	size_t len;
	if (!jj_step(r, s.n) || 2 * (size_t)s.n > JJ_MAX_MEM - r->used) return jj_fail(r, LM_ELIMIT, "a string too long to change its case");
	for (size_t i = 0; i < s.n && !b.bad; i += len) {
		uint32_t cp = char_at(s, i, &len);
		bool up = how == 'U' || (how == 'C' && i == 0) || (how == 'T' && !prev_cased) ||
			  (how == 'W' && begin) || (how == 'S' && category(cp) == UTF8PROC_CATEGORY_LL);
		if (how == 'S' && !up && category(cp) != UTF8PROC_CATEGORY_LU) put(&b, cp);
		else if (up) put_upper(&b, cp, how == 'C' || how == 'T');
		else put_lower(&b, cp, prev_cased, jj_sub(s, i + len, s.n));
		prev_cased = cased(cp);
		begin = jj_space(cp) || (cp < 128 && cp && strchr("-({[<", (int)cp));
	}
	r->live += b.n;
	return jj_take(r, &b);
}

static bool is_case(struct jj_val s, utf8proc_category_t want)
{
	bool any = false;
	size_t len;
	for (size_t i = 0; i < s.n; i += len) {
		uint32_t cp = char_at(s, i, &len);
		if (!cased(cp)) continue;
		if (category(cp) != want) return false;
		any = true;
	}
	return any;
}

bool jj_is_upper(struct jj_run *r, struct jj_val s)
{
	return jj_step(r, s.n / 4) && is_case(s, UTF8PROC_CATEGORY_LU);
}
bool jj_is_lower(struct jj_run *r, struct jj_val s)
{
	return jj_step(r, s.n / 4) && is_case(s, UTF8PROC_CATEGORY_LL);
}

/* ---- search -------------------------------------------------------------------------------------------- */
int64_t jj_search(struct jj_run *r, struct jj_val s, struct jj_val what, size_t from)
{
	if (from > s.n || what.n > s.n - from) return -1;
	if (!what.n) return (int64_t)from;
	if (!jj_step(r, what.n >> 4)) return -1;
	const char *p = what.n == 1 ? memchr(s.s + from, what.s[0], s.n - from)
				    : memmem(s.s + from, s.n - from, what.s, what.n);
	if (!jj_step(r, 1 + ((p ? (size_t)(p - s.s) - from : s.n - from) >> 6))) return -1;
	return p ? p - s.s : -1;
}

static void add(struct jj_run *r, struct lm_buf *b, struct jj_val s) { jj_write(r, b, s.s, s.n); }

/* Python puts `new_` before every character and at the end when `old` is empty. */
static struct jj_val spread(struct jj_run *r, struct jj_val s, struct jj_val new_, int64_t max)
{
	struct lm_buf b = { 0 };
	size_t i = 0, len;
	for (; i < s.n && max != 0 && !r->rc; i += len, max--) {
		char_at(s, i, &len);
		add(r, &b, new_);
		add(r, &b, jj_sub(s, i, i + len));
	}
	add(r, &b, jj_sub(s, i, s.n));
	if (i == s.n && max != 0) add(r, &b, new_);
	return jj_take(r, &b);
}

struct jj_val jj_replace(struct jj_run *r, struct jj_val s, struct jj_val old, struct jj_val new_,
			 int64_t max)
{
	struct lm_buf b = { 0 };
	size_t from = 0;
	if (!old.n) return spread(r, s, new_, max);
	while (max != 0 && !r->rc) {
		int64_t at = jj_search(r, s, old, from);
		if (at < 0) break;
		add(r, &b, jj_sub(s, from, (size_t)at));
		add(r, &b, new_);
		from = (size_t)at + old.n;
		if (max > 0) max--;
	}
	if (!from) return s;
	add(r, &b, jj_sub(s, from, s.n));
	return jj_take(r, &b);
}

static bool line_end(uint32_t cp)
{
	return (cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 ||
	       cp == 0x2029;
}

struct jj_val jj_lines(struct jj_run *r, struct jj_val s, bool keep)
{
	struct jj_val out = { 0 };
	for (int pass = 0; pass < 2 && jj_step(r, s.n / 4); pass++) {
		int n = 0;
		size_t from = 0, len;
		for (size_t i = 0; i < s.n; i += len) {
			uint32_t cp = char_at(s, i, &len);
			if (!line_end(cp)) continue;
			size_t end = i;
			if (cp == '\r' && i + 1 < s.n && s.s[i + 1] == '\n') len = 2;
			if (pass) out.q->v[n] = jj_sub(s, from, keep ? i + len : end);
			n++;
			from = i + len;
		}
		if (from < s.n) {
			if (pass) out.q->v[n] = jj_sub(s, from, s.n);
			n++;
		}
		if (pass) break;
		out = jj_seq(r, JJ_LIST, n);
		if (r->rc) break;
	}
	return out;
}
