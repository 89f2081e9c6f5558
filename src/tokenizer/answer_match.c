/* answer_match.c - patterns with slots, and JSON one byte at a time. */
#include "tokenizer/answer_impl.h"
#include <string.h>

bool answer_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static bool name_byte(char c)
{
	return ((unsigned char)c > ' ' && c != 0x7f && !strchr("<>\"'{}[]()=,;|`\\", c));
}

/* Up to where the literal `lit` (of n_lit bytes) stands, `most` bytes on at most; a byte of `stop` ends the
 * search. */
static enum match until(const char *lit, size_t n_lit, size_t most, char stop, const char *s, size_t n,
			size_t *at)
{
	size_t end = *at + most;
	for (size_t i = *at; i < n && i <= end; i++) {
		if (n - i >= n_lit && memcmp(s + i, lit, n_lit) == 0) {
			*at = i;
			return YES;
		}
		if (s[i] == '\n' || (s[i] == stop && n - i >= n_lit)) return NO;
	}
	return n >= end + n_lit ? NO : MORE;
}

/* One slot; *p stands on its letter and is left behind it. */
static enum match slot(const char **p, const char *s, size_t n, size_t *at, struct caps *c)
{
	size_t from = *at;
	char what = *(*p)++;
	enum match m = YES;
	switch (what) {
	case 'b': c->body = from; return YES;
	case '_':
		while (*at < n && answer_space(s[*at])) ++*at;
		return *at == n ? MORE : YES;
	case 'n':
		while (*at < n && *at - from <= SLOT_MAX && name_byte(s[*at])) ++*at;
		m = *at - from > SLOT_MAX ? NO : *at == n ? MORE : *at == from ? NO : YES;
		c->name = (struct span){ from, *at - from };
		return m;
	case '*': return until(*p, strcspn(*p, "%"), ANY_MAX, 0, s, n, at);
	default: m = until(*p, strcspn(*p, "%"), SLOT_MAX, '<', s, n, at);
	}
	struct span got = { from, *at - from };
	if (what == 'i' || what == 'f') c->id = got;
	if (what == 'k') c->key = got;
	if (what == 't') c->type = got;
	return m;
}

enum match answer_match(const char *p, const char *s, size_t n, bool final, struct caps *c)
{
	size_t at = 0, none = (size_t)-1;
	*c = (struct caps){ .body = none };
	while (*p) {
		enum match m = YES;
		if (at > HEAD_MAX) return NO;
		if (*p == '%') {
			p++;
			m = slot(&p, s, n, &at, c);
		} else if (at == n) {
			m = MORE;
		} else {
			m = s[at++] == *p++ ? YES : NO;
		}
		if (m == MORE) return final || at > HEAD_MAX ? NO : MORE;
		if (m == NO) return NO;
	}
	if (at > HEAD_MAX) return NO;
	if (c->body == none) c->body = at;
	c->used = c->body;
	return YES;
}

/* ---- JSON ------------------------------------------------------------------------------------------- */

enum {
	J_VALUE,
	J_ITEM0,
	J_KEY0,
	J_KEY,
	J_COLON,
	J_NEXT,
	J_STR,
	J_ESC,
	J_U1,
	J_U2,
	J_U3,
	J_U4,
	J_LIT,
	N_MINUS,
	N_ZERO,
	N_INT,
	N_DOT,
	N_FRAC,
	N_E,
	N_ESIGN,
	N_EXP,
	J_END
};

bool answer_dfa_string(const struct json_dfa *d)
{
	return d->state == J_STR;
}

static bool in_array(const struct json_dfa *d)
{
	return d->array[(d->depth - 1) / 64] >> ((d->depth - 1) % 64) & 1;
}

/* A value has ended. */
static enum dfa ended(struct json_dfa *d)
{
	d->state = d->depth ? J_NEXT : J_END;
	return d->depth ? DFA_GO : DFA_DONE;
}

static enum dfa opened(struct json_dfa *d, char c)
{
	if (d->depth == 128) return DFA_BAD;
	uint64_t bit = (uint64_t)1 << (d->depth % 64), *w = &d->array[d->depth / 64];
	*w = c == '[' ? *w | bit : *w & ~bit;
	d->depth++;
	d->state = c == '[' ? J_ITEM0 : J_KEY0;
	return DFA_GO;
}

static enum dfa closed(struct json_dfa *d, char c)
{
	if (c != (in_array(d) ? ']' : '}')) return DFA_BAD;
	d->depth--;
	return ended(d);
}

static enum dfa value_begins(struct json_dfa *d, char c)
{
	switch (c) {
	case '{':
	case '[': return opened(d, c);
	case '"':
		d->state = J_STR;
		d->key = false;
		return DFA_GO;
	case 't':
		d->lit = "rue";
		d->state = J_LIT;
		return DFA_GO;
	case 'f':
		d->lit = "alse";
		d->state = J_LIT;
		return DFA_GO;
	case 'n':
		d->lit = "ull";
		d->state = J_LIT;
		return DFA_GO;
	case '-': d->state = N_MINUS; return DFA_GO;
	case '0': d->state = N_ZERO; return DFA_GO;
	default: break;
	}
	if (c < '1' || c > '9') return DFA_BAD;
	d->state = N_INT;
	return DFA_GO;
}

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Within a number: the next state, -1 when c does not belong to it, -2 when it may not end there. */
static int number(int state, char c)
{
	switch (state) {
	case N_MINUS: return c == '0' ? N_ZERO : digit(c) ? N_INT : -2;
	case N_ZERO: return c == '.' ? N_DOT : c == 'e' || c == 'E' ? N_E : -1;
	case N_INT: return digit(c) ? N_INT : c == '.' ? N_DOT : c == 'e' || c == 'E' ? N_E : -1;
	case N_DOT: return digit(c) ? N_FRAC : -2;
	case N_FRAC: return digit(c) ? N_FRAC : c == 'e' || c == 'E' ? N_E : -1;
	case N_E: return c == '+' || c == '-' ? N_ESIGN : digit(c) ? N_EXP : -2;
	case N_ESIGN: return digit(c) ? N_EXP : -2;
	default: return digit(c) ? N_EXP : -1;
	}
}

static enum dfa string_byte(struct json_dfa *d, char c)
{
	if (d->state == J_STR) {
		if (c == '\\') d->state = J_ESC;
		if (c != '"') return DFA_GO;
		if (!d->key) return ended(d);
		d->state = J_COLON;
		return DFA_GO;
	}
	if (d->state == J_ESC) {
		if (!c || !strchr("\"\\/bfnrtu", c)) return DFA_BAD;
		d->state = c == 'u' ? J_U1 : J_STR;
		return DFA_GO;
	}
	if (!digit(c) && !((c | 32) >= 'a' && (c | 32) <= 'f')) return DFA_BAD;
	d->state = d->state == J_U4 ? J_STR : (uint8_t)(d->state + 1);
	return DFA_GO;
}

enum dfa answer_dfa(struct json_dfa *d, char c)
{
	if (d->state >= J_STR && d->state <= J_U4) return string_byte(d, c);
	if (d->state == J_LIT) {
		if (c != *d->lit++) return DFA_BAD;
		return *d->lit ? DFA_GO : ended(d);
	}
	if (d->state >= N_MINUS && d->state <= N_EXP) {
		int next = number(d->state, c);
		if (next == -2) return DFA_BAD;
		if (next >= 0) {
			d->state = (uint8_t)next;
			return DFA_GO;
		}
		if (ended(d) == DFA_DONE) return DFA_BEFORE;
	}
	if (answer_space(c)) return DFA_GO;
	switch (d->state) {
	case J_ITEM0:
		if (c == ']') return closed(d, c);
		return value_begins(d, c);
	case J_VALUE: return value_begins(d, c);
	case J_KEY0:
		if (c == '}') return closed(d, c);
		/* fall through */
	case J_KEY:
		if (c != '"') return DFA_BAD;
		d->state = J_STR;
		d->key = true;
		return DFA_GO;
	case J_COLON:
		if (c != ':') return DFA_BAD;
		d->state = J_VALUE;
		return DFA_GO;
	default: break;
	}
	if (d->state != J_NEXT) return DFA_BAD;
	if (c != ',') return closed(d, c);
	d->state = in_array(d) ? J_VALUE : J_KEY;
	return DFA_GO;
}

bool answer_json_ok(const char *s, size_t n)
{
	struct json_dfa d = { 0 };
	size_t i = 0;
	enum dfa r = DFA_GO;
	for (; i < n && r == DFA_GO; i++) {
		if ((unsigned char)s[i] < ' ' && answer_dfa_string(&d)) return false;
		r = answer_dfa(&d, s[i]);
	}
	if (r == DFA_GO) return answer_dfa(&d, ' ') == DFA_BEFORE; /* a number ends with the text */
	if (r == DFA_BEFORE) i--;
	while (i < n && answer_space(s[i])) i++;
	return r != DFA_BAD && i == n;
}
