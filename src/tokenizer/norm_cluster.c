/* norm_cluster.c - extended grapheme clusters (UAX #29, rules GB3 to GB13). */
#include "tokenizer/norm_cluster.h"
#include "tokenizer/norm_impl.h"

enum gcb { /* as tools/make_norm.py counts */
	   OTHER,
	   CR,
	   LF,
	   CONTROL,
	   EXTEND,
	   ZWJ,
	   SPACING,
	   PREPEND,
	   L,
	   V,
	   T,
	   LV,
	   LVT,
	   RI,
	   PICT,
	   CONSONANT
};

static enum gcb gcb_of(uint32_t cp)
{
	if (cp >= 0xAC00 && cp <= 0xD7A3) return (cp - 0xAC00) % 28 ? LVT : LV;
	size_t lo = 0, hi = sizeof norm_gcb / sizeof *norm_gcb;
	if (cp < norm_gcb[0] >> 4) return OTHER;
	while (hi - lo > 1) {
		size_t mid = (lo + hi) / 2;
		if (norm_gcb[mid] >> 4 <= cp)
			lo = mid;
		else
			hi = mid;
	}
	return (enum gcb)(norm_gcb[lo] & 15);
}

static bool is_linker(uint32_t cp)
{
	for (size_t i = 0; i < sizeof norm_linker / sizeof *norm_linker; i++)
		if (norm_linker[i] == cp) return true;
	return false;
}

/* What the rules that look back further than one character need. */
struct back {
	int pict;               /* 1: a pictograph, then EXTEND only; 2: then one ZWJ */
	bool consonant, linker; /* a consonant, then EXTEND and ZWJ only; a linker among them */
	bool odd;               /* an odd number of RI */
};

static void advance(struct back *k, enum gcb c, uint32_t cp)
{
	k->pict = c == PICT ? 1 : k->pict != 1 ? 0 : c == EXTEND ? 1 : c == ZWJ ? 2 : 0;
	bool on = k->consonant && (c == EXTEND || c == ZWJ) && cp != 0x200C;
	k->linker = on && (k->linker || is_linker(cp));
	k->consonant = c == CONSONANT || on;
	k->odd = c == RI && !k->odd;
}

static bool joined(const struct back *k, enum gcb a, enum gcb b)
{
	if (a == CR) return b == LF;
	if (a == LF || a == CONTROL || b == CR || b == LF || b == CONTROL) return false;
	if (b == EXTEND || b == ZWJ || b == SPACING || a == PREPEND) return true;
	if (a == L) return b == L || b == V || b == LV || b == LVT;
	if (a == LV || a == V) return b == V || b == T;
	if (a == LVT || a == T) return b == T;
	if (b == CONSONANT) return k->consonant && k->linker;
	if (a == ZWJ && b == PICT) return k->pict == 2;
	return a == RI && b == RI && k->odd;
}

size_t norm_cluster(const uint16_t *flags, const char *s, size_t n)
{
	size_t i = 0, end;
	uint32_t cp = norm_take(s, &i), next;
	struct back k = { 0 };
	unsigned here = norm_flags(flags, cp), there;
	enum gcb a = OTHER, b;
	for (end = i; end < n; a = b, end = i, cp = next, here = there) {
		next = norm_take(s, &i);
		there = norm_flags(flags, next);
		if (!((here | there) & NORM_JOIN) && cp != '\r') break; /* nearly always */
		if (a == OTHER) a = gcb_of(cp);
		advance(&k, a, cp);
		b = gcb_of(next);
		if (!joined(&k, a, b)) break;
	}
	return end;
}
