/* regex_parse.c - Oniguruma's syntax, as tokenizer files write it, to PCRE2's, with every set of characters
 * left as a number (see regex_impl.h). GOTCHAS, where the two differ: (?m) is "dot matches newline"; ^ and $
 * are always at lines; a{2}? is (?:a{2})? and a{1,2}+ is (?:a{1,2})+; (?i) in the middle of a group binds to
 * the group's end, alternatives included; bare \w and \b count the digits and fractions of Latin-1 (b2 b3 b9
 * bc bd be) as word characters, [\w] does not; (?i) folds
 * [..] and single characters but not \p{..}. */
#include "tokenizer/regex_impl.h"
#include <string.h>

enum { OPT_I = 1, OPT_M = 2, OPT_X = 4, MAX_DEPTH = 64, MAX_REPEAT = 65535, MAX_PATTERN = 1 << 16 };

struct parse {
	const char *s;
	size_t n, at;
	unsigned opt;
	int depth, groups;
	bool own;
	struct uset_list *sets;
	struct lm_buf *out;
	struct lm_err *err;
	int rc;
};

/* ---- errors, characters, sets
 * ------------------------------------------------------------------------------ */

static bool fail(struct parse *p, int code, const char *what)
{
	if (p->rc) return false;
	p->rc = lm_fail(p->err, code, "regular expression %.*s%s: %s at byte %zu",
			(int)(p->n < 80 ? p->n : 80), p->s, p->n < 80 ? "" : "...", what, p->at);
	return false;
}

static bool bad(struct parse *p, const char *what)
{
	return fail(p, LM_EFORMAT, what);
}
static bool lacking(struct parse *p, const char *what)
{
	return fail(p, LM_EUNSUPPORTED, what);
}

static bool no_memory(struct parse *p)
{
	if (!p->sets->pool.left) return fail(p, LM_ELIMIT, "its sets of characters are too large");
	return fail(p, LM_ENOMEM, "out of memory");
}

static bool more(const struct parse *p)
{
	return p->at < p->n;
}
static char peek(const struct parse *p)
{
	return p->at < p->n ? p->s[p->at] : 0;
}

static bool looking_at(const struct parse *p, const char *text)
{
	size_t n = strlen(text);
	return p->n - p->at >= n && !memcmp(p->s + p->at, text, n);
}

static bool take(struct parse *p, const char *text)
{
	if (!looking_at(p, text)) return false;
	p->at += strlen(text);
	return true;
}

static uint32_t next_char(struct parse *p)
{
	uint32_t cp;
	p->at += (size_t)lm_utf8_next(p->s + p->at, p->n - p->at, &cp);
	return cp;
}

static bool emit_set(struct parse *p, struct uset x)
{
	struct uset_list *l = p->sets;
	uint32_t k = 0;
	while (k < l->n && !uset_same(l->set[k], x)) k++;
	if (k == l->n) {
		if (k == REGEX_MAX_SETS) return fail(p, LM_ELIMIT, "over 1024 different sets of characters");
		if (k == l->cap) {
			struct uset *set = lm_new(l->pool.arena, struct uset, 2 * (size_t)l->cap + 16);
			if (!set) return no_memory(p);
			if (k) memcpy(set, l->set, k * sizeof *set);
			l->set = set;
			l->cap = 2 * l->cap + 16;
		}
		l->set[l->n++] = x;
	}
	char mark[3] = { (char)REGEX_SET, (char)(k & 255), (char)(k >> 8) };
	lm_buf_add(p->out, mark, sizeof mark);
	return true;
}

static bool emit_char(struct parse *p, uint32_t cp)
{
	struct uset one;
	if (cp < 0x80 && !(p->opt & OPT_I)) {
		lm_buf_fmt(p->out, "\\x%02x", cp);
		return true;
	}
	if (!uset_range(&p->sets->pool, cp, cp, &one)) return no_memory(p);
	if ((p->opt & OPT_I) && !uset_fold(&p->sets->pool, one, &one)) return no_memory(p);
	return emit_set(p, one);
}

static bool named(struct parse *p, const char *name, size_t n, struct uset *out)
{
	int rc = uset_named(&p->sets->pool, name, n, p->own, out);
	if (rc < 0) return no_memory(p);
	return rc || lacking(p, "a property of that name is not known");
}

/* ---- escapes
 * ------------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if ((c | 32) >= 'a' && (c | 32) <= 'f') return (c | 32) - 'a' + 10;
	return -1;
}

static uint32_t number(struct parse *p, int base, int max_digits, int *digits)
{
	uint32_t v = 0;
	*digits = 0;
	for (; more(p) && *digits < max_digits; p->at++, ++*digits) {
		int d = hex_digit(peek(p));
		if (d < 0 || d >= base) break;
		v = v * (uint32_t)base + (uint32_t)d;
	}
	return v;
}

static bool code_point(struct parse *p, uint32_t v, uint32_t *cp)
{
	*cp = v;
	if (v > 0x10FFFF || (v >= 0xD800 && v < 0xE000)) return bad(p, "no such character");
	return true;
}

/* \x41, \x{41}, \u0041, \o{101}, \101 */
static bool escape_number(struct parse *p, char c, uint32_t *cp)
{
	int digits;
	bool brace = (c == 'x' || c == 'o') && peek(p) == '{';
	if (brace) {
		p->at++;
		uint32_t v = number(p, c == 'x' ? 16 : 8, c == 'x' ? 8 : 10, &digits);
		if (!digits || !take(p, "}")) return bad(p, "a code point and } were expected");
		return code_point(p, v, cp);
	}
	if (c == 'u') {
		uint32_t v = number(p, 16, 4, &digits);
		return digits == 4 ? code_point(p, v, cp) : bad(p, "\\u wants four digits");
	}
	if (c == 'o') {
		*cp = 'o';
		return true;
	}
	if (c != 'x') p->at--;
	uint32_t v = c == 'x' ? number(p, 16, 2, &digits) : number(p, 8, 3, &digits);
	if (c == 'x' && !digits) v = 0;
	if (v > 0x7F) return lacking(p, "a byte above 7f by its number (write the character, or \\x{..})");
	return code_point(p, v, cp);
}

/* The escapes that mean one character, after the backslash; anything else means itself. */
static bool escape_char(struct parse *p, uint32_t *cp)
{
	static const char from[] = "tnrfvae", to[] = "\t\n\r\f\v\a\x1b";
	char c = peek(p);
	const char *k = c ? strchr(from, c) : NULL;
	if (k) {
		p->at++;
		*cp = (uint32_t)to[k - from];
		return true;
	}
	if (c == 'x' || c == 'u' || c == 'o' || (c >= '0' && c <= '7')) {
		p->at++;
		return escape_number(p, c, cp);
	}
	if (c == 'c' || (c == 'C' && p->at + 1 < p->n && p->s[p->at + 1] == '-')) {
		p->at += c == 'c' ? 1 : 2;
		if (!more(p)) return bad(p, "the pattern ends in an escape");
		uint32_t v = next_char(p);
		if (v == '\\' || v >= 0x80) return lacking(p, "a control character written like that");
		*cp = v == '?' ? 0x7F : v & 0x1F;
		return true;
	}
	if (c == 'M' && p->at + 1 < p->n && p->s[p->at + 1] == '-') return lacking(p, "\\M-");
	*cp = next_char(p);
	return true;
}

/* \p{..}, \d and so on, after the backslash.  Sets *is when it is one. */
static bool escape_class(struct parse *p, bool in_brackets, bool *is, struct uset *out)
{
	char c = peek(p);
	*is = true;
	bool not = c == 'P' || (c && strchr("SDWH", c));
	if ((c == 'p' || c == 'P') && p->at + 1 < p->n && p->s[p->at + 1] == '{') {
		p->at += 2;
		const char *end = memchr(p->s + p->at, '}', p->n - p->at);
		if (take(p, "^")) not = !not ;
		if (!end) return bad(p, "} is missing after \\p{");
		size_t begin = p->at, n = (size_t)(end - p->s) - begin;
		if (!named(p, p->s + begin, n, out)) return false;
		p->at = begin + n + 1;
	} else if (c && strchr("sSdDwWhH", c)) {
		p->at++;
		const char *name = strchr("sS", c)   ? "space"
				   : strchr("dD", c) ? "digit"
				   : strchr("wW", c) ? "word"
						     : "xdigit";
		if (!named(p, name, strlen(name), out)) return false;
	} else {
		*is = false;
		return true;
	}
	struct uset_pool *a = &p->sets->pool;
	struct uset word;
	static const uint32_t latin[] = { 0xB2, 0xB4, 0xB9, 0xBA, 0xBC, 0xBF };
	if (!in_brackets) {
		if (!named(p, "word", 4, &word)) return false;
		if (uset_same(word, *out) &&
		    !uset_or(a, word, (struct uset){ latin, 6 }, out))
			return no_memory(p);
	}
	return !not || uset_not(a, *out, out) || no_memory(p);
}

/* ---- [...]
 * ----------------------------------------------------------------------------------------------------- */

static bool brackets(struct parse *p, struct uset *out);

/* [:alpha:], after the first bracket; *is: it is one. */
static bool posix(struct parse *p, bool *is, struct uset *out)
{
	size_t k = p->at + 1;
	bool not = k < p->n && p->s[k] == '^';
	size_t begin = k + not ;
	for (k = begin; k < p->n && k - begin < 20 && p->s[k] >= 'a' && p->s[k] <= 'z'; k++) {
	}
	*is = peek(p) == ':' && k + 1 < p->n && p->s[k] == ':' && p->s[k + 1] == ']';
	if (!*is) return true;
	size_t n = k - begin;
	static const char *const known =
		" alnum alpha ascii blank cntrl digit graph lower print punct space upper xdigit word ";
	char name[24] = { ' ' };
	memcpy(name + 1, p->s + begin, n);
	name[n + 1] = ' ';
	if (!n || !strstr(known, name)) return bad(p, "a POSIX class of that name is not known");
	bool punct = !strcmp(name, " punct ");
	if (!named(p, punct ? "posixpunct" : p->s + begin, punct ? 10 : n, out)) return false;
	p->at = k + 2;
	return !not || uset_not(&p->sets->pool, *out, out) || no_memory(p);
}

/* One element of brackets: a character (*single) or a set. */
static bool element(struct parse *p, bool *single, uint32_t *cp, struct uset *out)
{
	bool is = false;
	*single = false;
	if (take(p, "[")) {
		if (!posix(p, &is, out)) return false;
		return is || brackets(p, out);
	}
	if (take(p, "\\")) {
		if (!more(p)) return bad(p, "the pattern ends in an escape");
		if (!escape_class(p, true, &is, out)) return false;
		if (is) return true;
		if (!escape_char(p, cp)) return false;
	} else {
		*cp = next_char(p);
	}
	*single = true;
	return true;
}

/* A character that may begin a range; adds what it is to the pairs in *r. */
static bool range(struct parse *p, uint32_t lo, struct lm_buf *r)
{
	struct uset x;
	uint32_t pair[2] = { lo, lo };
	bool dash = peek(p) == '-' && p->at + 1 < p->n && p->s[p->at + 1] != ']' &&
		    !(p->n - p->at > 2 && !memcmp(p->s + p->at + 1, "&&", 2));
	if (dash) {
		bool single;
		p->at++;
		if (!element(p, &single, &pair[1], &x)) return false;
		if (!single) return bad(p, "a range must end in a character");
		if (pair[1] < lo) return bad(p, "the range is empty");
	}
	lm_buf_add(r, pair, sizeof pair);
	return true;
}

/* The elements up to ] or &&: characters and ranges to *r, sets to *sum. */
static bool elements(struct parse *p, struct lm_buf *r, struct uset *sum)
{
	for (bool first = true; more(p) && !p->rc; first = false) {
		struct uset x;
		uint32_t cp;
		bool single;
		if (looking_at(p, "&&") || (peek(p) == ']' && !first)) return true;
		if (!element(p, &single, &cp, &x)) return false;
		if (single) {
			if (!range(p, cp, r)) return false;
			continue;
		}
		if (!uset_or(&p->sets->pool, *sum, x, sum)) return no_memory(p);
		if (peek(p) == '-' && p->at + 1 < p->n && p->s[p->at + 1] != ']')
			return bad(p, "a range must begin with a character");
	}
	return p->rc ? false : bad(p, "] is missing");
}

static bool part(struct parse *p, struct uset *out)
{
	struct lm_buf r = { 0 };
	struct uset x;
	*out = (struct uset){ 0 };
	bool ok = elements(p, &r, out);
	if (ok && (r.n || r.bad))
		ok = (!r.bad && uset_ranges(&p->sets->pool, (uint32_t(*)[2])(void *)r.p, r.n / 8, &x) &&
		      uset_or(&p->sets->pool, *out, x, out)) ||
		     no_memory(p);
	lm_buf_free(&r);
	return ok;
}

/* After the opening bracket. */
static bool brackets(struct parse *p, struct uset *out)
{
	struct uset_pool *a = &p->sets->pool;
	bool not = take(p, "^"), any = false;
	struct uset all = { 0 };
	if (++p->depth > MAX_DEPTH) return fail(p, LM_ELIMIT, "nested more than 64 deep");
	if (peek(p) == ']' && !memchr(p->s + p->at + 1, ']', p->n - p->at - 1))
		return bad(p, "the class is empty");
	for (bool again = true; again; any = true) {
		struct uset x = { 0 };
		if (!(any && peek(p) == ']') && !part(p, &x)) return false;
		again = take(p, "&&");
		if (!any)
			all = x;
		else if (!uset_and(a, all, x, &all))
			return no_memory(p);
	}
	if (!take(p, "]")) return bad(p, "] is missing");
	p->depth--;
	if ((p->opt & OPT_I) && !uset_fold(a, all, &all)) return no_memory(p);
	*out = all;
	return !not || uset_not(a, all, out) || no_memory(p);
}

/* ---- atoms
 * ------------------------------------------------------------------------------------------------------ */

static bool alternatives(struct parse *p);

enum kind { ATOM, ANCHOR, NOTHING }; /* what may be repeated, what may not, what is not there */

/* \b: the edge of a word, \B: not one. */
static bool word_edge(struct parse *p, bool edge)
{
	struct uset w;
	bool is;
	struct parse q = *p;
	q.s = "w", q.n = 1, q.at = 0;
	if (!escape_class(&q, false, &is, &w)) return p->rc = q.rc, false;
	static const char *const look[2][4] = { { "(?:(?<=", ")(?=", ")|(?<!", ")(?!" },
						{ "(?:(?<=", ")(?!", ")|(?<!", ")(?=" } };
	for (int i = 0; i < 4; i++) {
		lm_buf_str(p->out, look[edge][i]);
		if (!emit_set(p, w)) return false;
	}
	lm_buf_str(p->out, "))");
	return true;
}

static bool back_reference(const struct parse *p)
{
	int v = 0;
	for (size_t i = p->at; i < p->n && p->s[i] >= '0' && p->s[i] <= '9' && v < 1000; i++)
		v = v * 10 + p->s[i] - '0';
	return peek(p) != '0' && v && (v <= 9 || v <= p->groups);
}

static bool escape(struct parse *p, enum kind *kind)
{
	static const struct {
		char c;
		const char *out;
	} anchors[] = {
		{ 'A', "\\A" }, { 'z', "\\z" }, { 'Z', "(?=\\n?\\z)" }, { 'G', "\\G" }, { 'K', "\\K" },
	};
	struct uset x;
	uint32_t cp;
	bool is;
	if (!more(p)) return bad(p, "the pattern ends in an escape");
	char c = peek(p);
	for (size_t i = 0; i < sizeof anchors / sizeof *anchors; i++)
		if (c == anchors[i].c) {
			*kind = ANCHOR;
			p->at++;
			lm_buf_str(p->out, anchors[i].out);
			return true;
		}
	if (c == 'b' || c == 'B') {
		*kind = ANCHOR;
		p->at++;
		return word_edge(p, c == 'b');
	}
	static const uint32_t nl[] = { 10, 11 }, breaks[] = { 0xA, 0xE, 0x85, 0x86, 0x2028, 0x202A };
	if (c == 'R') {
		p->at++;
		lm_buf_str(p->out, "(?>\\r\\n|");
		if (!emit_set(p, (struct uset){ breaks, 6 })) return false;
		lm_buf_char(p->out, ')');
		return true;
	}
	if (c == 'N' || c == 'O') {
		p->at++;
		x = c == 'N' ? (struct uset){ nl, 2 } : (struct uset){ 0 };
		return uset_not(&p->sets->pool, x, &x) ? emit_set(p, x) : no_memory(p);
	}
	if (strchr("XyYgk", c) &&
	    !((c == 'g' || c == 'k') && !(p->at + 1 < p->n && strchr("<'", p->s[p->at + 1]))))
		return lacking(p, c == 'X' || (c | 32) == 'y' ? "\\X and \\y (text segments)"
							      : "references to groups");
	if (back_reference(p)) return lacking(p, "references to groups");
	if (!escape_class(p, false, &is, &x)) return false;
	if (is) return emit_set(p, x);
	return escape_char(p, &cp) && emit_char(p, cp);
}

/* (?imx-imx) and (?imx-imx:..., after (?; *whole: the former. */
static bool options(struct parse *p, bool *whole)
{
	unsigned on = p->opt;
	bool off = false;
	for (; more(p); p->at++) {
		char c = peek(p);
		unsigned bit = c == 'i' ? OPT_I : c == 'm' ? OPT_M : c == 'x' ? OPT_X : 0;
		if (c == '-' && !off) {
			off = true;
		} else if (bit) {
			on = off ? on & ~bit : on | bit;
		} else if (c == ')' || c == ':') {
			p->at++;
			*whole = c == ')';
			p->opt = on;
			return true;
		} else if (strchr("WDSPyCIL", c)) {
			return lacking(p, "the group option");
		} else {
			return bad(p, "the group option is not known");
		}
	}
	return bad(p, "the pattern ends in a group");
}

static bool group_name(struct parse *p, char end)
{
	const char *e = memchr(p->s + p->at, end, p->n - p->at);
	if (!e || e == p->s + p->at) return bad(p, "a group's name was expected");
	p->at = (size_t)(e - p->s) + 1;
	return true;
}

/* What follows the opening parenthesis up to the body; *kind NOTHING: a comment. */
static bool group_head(struct parse *p, enum kind *kind, bool *whole)
{
	static const struct {
		const char *in, *out;
		enum kind kind;
	} heads[] = {
		{ "?:", "(?:", ATOM },   { "?>", "(?>", ATOM },     { "?=", "(?=", ANCHOR },
		{ "?!", "(?!", ANCHOR }, { "?<=", "(?<=", ANCHOR }, { "?<!", "(?<!", ANCHOR },
	};
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
		if (take(p, heads[i].in)) {
			*kind = heads[i].kind;
			lm_buf_str(p->out, heads[i].out);
			return true;
		}
	if (take(p, "?#")) {
		*kind = NOTHING;
		for (; more(p) && peek(p) != ')'; p->at++) p->at += peek(p) == '\\';
		return take(p, ")") || bad(p, "the pattern ends in a comment");
	}
	lm_buf_str(p->out, "(?:");
	if (looking_at(p, "?~") || looking_at(p, "?(") || looking_at(p, "?@") || looking_at(p, "?{"))
		return lacking(p, "the group (?~, (?(, (?@ or (?{");
	if (looking_at(p, "?<") || looking_at(p, "?'")) {
		char end = p->s[p->at + 1] == '<' ? '>' : '\'';
		p->at += 2;
		p->groups++;
		return group_name(p, end);
	}
	if (take(p, "?")) return options(p, whole);
	p->groups++;
	return true;
}

static bool group(struct parse *p, enum kind *kind)
{
	unsigned opt = p->opt;
	bool whole = false;
	if (!group_head(p, kind, &whole)) return false;
	if (*kind == NOTHING) return true;
	if (++p->depth > MAX_DEPTH) return fail(p, LM_ELIMIT, "nested more than 64 deep");
	if (!alternatives(p)) return false;
	p->depth--;
	lm_buf_char(p->out, ')');
	p->opt = opt;
	if (whole) return true; /* it ends where the group around it ends */
	return take(p, ")") || bad(p, "a parenthesis is not closed");
}

/* {n,m} and its kin; false if it is none of them (then it is literal text). */
static bool interval(struct parse *p, int *lo, int *hi)
{
	size_t back = p->at;
	int a, b, v[2];
	p->at++;
	v[0] = (int)number(p, 10, 6, &a);
	v[1] = v[0];
	b = a;
	if (take(p, ",")) {
		v[1] = (int)number(p, 10, 6, &b);
		if (!b) v[1] = -1;
		if (!a && !b) a = -1;
	} else if (!a) {
		a = -1;
	}
	if (a < 0 || !take(p, "}")) {
		p->at = back;
		return false;
	}
	*lo = v[0];
	*hi = v[1];
	return true;
}

static bool atom(struct parse *p, enum kind *kind)
{
	static const uint32_t nl[] = { 10, 11 };
	struct uset x = { 0 };
	uint32_t cp;
	char c = peek(p);
	*kind = ATOM;
	if (take(p, "(")) return group(p, kind);
	if (take(p, "\\")) return escape(p, kind);
	if (take(p, "[")) return brackets(p, &x) && emit_set(p, x);
	if (take(p, ".")) {
		if (!(p->opt & OPT_M)) x = (struct uset){ nl, 2 };
		return uset_not(&p->sets->pool, x, &x) ? emit_set(p, x) : no_memory(p);
	}
	if (c == '^' || c == '$') {
		p->at++;
		*kind = ANCHOR;
		lm_buf_str(p->out, c == '^' ? "(?:\\A|(?<=\\n)(?!\\z))" : "(?=\\n|\\z)");
		return true;
	}
	int lo, hi;
	if (c == '*' || c == '+' || c == '?' || (c == '{' && interval(p, &lo, &hi)))
		return bad(p, "nothing to repeat");
	cp = next_char(p);
	return emit_char(p, cp);
}

/* ---- repetition, sequences, alternatives
 * -------------------------------------------------------------------------- */

static void wrap(struct parse *p, size_t begin)
{
	size_t n = p->out->n - begin;
	lm_buf_str(p->out, "(?:)");
	if (p->out->bad) return;
	memmove(p->out->p + begin + 3, p->out->p + begin, n);
	memcpy(p->out->p + begin, "(?:", 3);
	p->out->p[p->out->n - 1] = ')';
}

/* All quantifiers after an atom, whose output starts at `begin`. */
static bool quantifiers(struct parse *p, size_t begin, enum kind kind)
{
	for (int k = 0; more(p); k++) {
		int lo = 0, hi = 0;
		char c = peek(p);
		bool star = c == '*' || c == '+' || c == '?';
		if (!star && !(c == '{' && interval(p, &lo, &hi))) return true;
		if (kind != ATOM) return bad(p, "this cannot be repeated");
		if (lo > MAX_REPEAT || hi > MAX_REPEAT) return fail(p, LM_ELIMIT, "a repetition over 65535");
		if (p->out->n > MAX_PATTERN) return fail(p, LM_ELIMIT, "the pattern is too long");
		if (k) wrap(p, begin);
		bool swapped = !star && hi >= 0 && hi < lo;
		if (star)
			lm_buf_char(p->out, c), p->at++;
		else if (hi < 0)
			lm_buf_fmt(p->out, "{%d,}", lo);
		else
			lm_buf_fmt(p->out, "{%d,%d}", swapped ? hi : lo, swapped ? lo : hi);
		if (swapped)
			lm_buf_char(p->out, '+');
		else if ((star || lo != hi) && take(p, "?"))
			lm_buf_char(p->out, '?');
		else if (star && take(p, "+"))
			lm_buf_char(p->out, '+');
	}
	return true;
}

/* (?x): white space and comments between atoms mean nothing. */
static void skip_blank(struct parse *p)
{
	while ((p->opt & OPT_X) && more(p)) {
		char c = peek(p);
		if (c == '#')
			while (more(p) && peek(p) != '\n') p->at++;
		else if (c == ' ' || (c >= 9 && c <= 13))
			p->at++;
		else
			return;
	}
}

static bool sequence(struct parse *p)
{
	for (;;) {
		skip_blank(p);
		if (!more(p) || peek(p) == '|' || peek(p) == ')') return true;
		enum kind kind;
		size_t begin = p->out->n;
		if (!atom(p, &kind)) return false;
		skip_blank(p);
		if (kind != NOTHING && !quantifiers(p, begin, kind)) return false;
		if (p->out->n > MAX_PATTERN) return fail(p, LM_ELIMIT, "the pattern is too long");
	}
}

static bool alternatives(struct parse *p)
{
	unsigned opt = p->opt;
	while (sequence(p)) {
		p->opt = opt;
		if (!take(p, "|")) return true;
		lm_buf_char(p->out, '|');
	}
	return false;
}

int regex_translate(const struct regex_pattern *pat, struct uset_list *sets, struct lm_buf *out,
		    struct lm_err *err)
{
	struct parse p = { .s = pat->s, .n = pat->n, .own = pat->own, .sets = sets, .out = out, .err = err };
	if (pat->n > MAX_PATTERN) return lm_fail(err, LM_ELIMIT, "a regular expression of %zu bytes", pat->n);
	if (!lm_utf8_valid(pat->s, pat->n))
		return lm_fail(err, LM_EFORMAT, "a regular expression is not valid UTF-8");
	if (pat->literal)
		while (more(&p) && emit_char(&p, next_char(&p))) {
		}
	else if (alternatives(&p) && more(&p))
		bad(&p, "a parenthesis closes nothing");
	if (!p.rc && out->bad) no_memory(&p);
	return p.rc;
}
