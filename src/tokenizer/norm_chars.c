/* norm_chars.c - what works character by character: BertNormalizer, Lowercase, StripAccents, Nmt. */
#include "tokenizer/norm_impl.h"
#include <utf8proc.h>

static void fill(uint16_t *t, uint32_t lo, uint32_t hi, unsigned flags)
{
	for (uint32_t c = lo; c < hi && c < NORM_NEAR; c++) t[c] = (uint16_t)flags;
}

uint16_t *norm_flags_new(void)
{
	uint16_t *t = lm_calloc(NORM_NEAR, sizeof *t);
	if (!t) return NULL;
	size_t n = sizeof norm_runs / sizeof *norm_runs;
	for (size_t i = 0; i < n; i++) {
		uint32_t hi = i + 1 < n ? norm_runs[i + 1] >> NORM_FLAG_BITS : NORM_NEAR;
		unsigned flags = norm_runs[i] & ((1u << NORM_FLAG_BITS) - 1);
		if (flags) fill(t, norm_runs[i] >> NORM_FLAG_BITS, hi, flags);
	}
	for (uint32_t c = 'A'; c <= 'Z'; c++) t[c] |= NORM_LOWER;
	t[0x130] |= NORM_LOWER;
	for (size_t i = 0; i < sizeof norm_lowers / sizeof *norm_lowers; i++)
		for (uint32_t c = norm_lowers[i].lo; c <= norm_lowers[i].hi; c += norm_lowers[i].step)
			t[c] |= NORM_LOWER;
	return t;
}

unsigned norm_flags_far(uint32_t cp)
{
	size_t lo = 0,
	       hi = sizeof norm_runs / sizeof *norm_runs; /* the last run that begins at or before cp */
	while (hi - lo > 1) {
		size_t mid = (lo + hi) / 2;
		if (norm_runs[mid] >> NORM_FLAG_BITS <= cp)
			lo = mid;
		else
			hi = mid;
	}
	return norm_runs[lo] & ((1u << NORM_FLAG_BITS) - 1);
}

uint32_t norm_lower_of(uint32_t cp)
{
	if (cp < 0x80) return cp | 0x20;
	size_t lo = 0, hi = sizeof norm_lowers / sizeof *norm_lowers;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct norm_lower *r = &norm_lowers[mid];
		if (cp > r->hi)
			lo = mid + 1;
		else if (cp < r->lo)
			hi = mid;
		else
			return (cp - r->lo) % r->step ? cp : (uint32_t)((int32_t)cp + r->delta);
	}
	return cp;
}

static bool ideograph(uint32_t c)
{
	return c >= 0x3400 && (c <= 0x4DBF || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF) ||
			       (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
			       (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0x2F800 && c <= 0x2FA1F));
}

static bool space(uint32_t c) /* White_Space beyond ASCII, U+0085 aside, which is a control */
{
	return c == 0xA0 || (c >= 0x1680 && (c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
					     c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000));
}

/* What Nmt makes of it: 0: dropped. */
static uint32_t nmt(uint32_t c)
{
	if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F)
		return 0;
	if (c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
	    c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD)
		return ' ';
	return c;
}

void norm_chars_init(struct norm_chars *c, unsigned ops)
{
	*c = (struct norm_chars){ .ops = ops };
	c->mask = (ops & CHARS_CLEAN ? NORM_OTHER : 0) | (ops & CHARS_DECOMPOSE ? NORM_CANON | NORM_CCC : 0) |
		  (ops & CHARS_NO_MN ? NORM_MN : 0) | (ops & CHARS_NO_MARK ? NORM_MARK : 0) |
		  (ops & CHARS_LOWER ? NORM_LOWER : 0);
	for (int b = 0; b < 128; b++) {
		bool white = b == '\t' || b == '\n' || b == '\r';
		c->ascii[b] = (unsigned char)b;
		if (ops & CHARS_CLEAN && (b < 32 || b == 127)) c->ascii[b] = white ? ' ' : 0xFF;
		if (ops & CHARS_NMT && b)
			c->ascii[b] = (unsigned char)(nmt((uint32_t)b) ? nmt((uint32_t)b) : 0xFF);
		if (ops & CHARS_LOWER && b >= 'A' && b <= 'Z') c->ascii[b] = (unsigned char)(b | 0x20);
	}
}

static bool changes(const struct norm_chars *c, unsigned flags, uint32_t cp)
{
	return flags & c->mask || (c->ops & CHARS_CLEAN && space(cp)) ||
	       (c->ops & CHARS_CJK && ideograph(cp)) || (c->ops & CHARS_NMT && nmt(cp) != cp);
}

/* Bytes before the first character that changes. */
static size_t same(const struct norm_chars *c, const uint16_t *flags, const char *s, size_t n)
{
	size_t i = 0;
	while (i < n) {
		unsigned char b = (unsigned char)s[i];
		if (b < 0x80) {
			if (c->ascii[b] != b) break;
			i++;
			continue;
		}
		size_t at = i;
		uint32_t cp = norm_take(s, &i);
		if (changes(c, norm_flags(flags, cp), cp)) return at;
	}
	return i;
}

/* A character that is there to stay, after decomposition. */
static char *settle(const struct norm_chars *c, unsigned flags, uint32_t cp, char *p, bool *moved)
{
	if ((c->ops & CHARS_NO_MN && flags & NORM_MN) || (c->ops & CHARS_NO_MARK && flags & NORM_MARK))
		return p;
	if (flags & NORM_CCC && moved) *moved = true;
	if (c->ops & CHARS_LOWER && flags & NORM_LOWER) {
		if (cp == 0x130) return (char *)memcpy(p, "i\xCC\x87", 3) + 3;
		cp = norm_lower_of(cp);
	}
	return p + lm_utf8_put(p, cp);
}

/* Writes at most 32 bytes. */
static char *change(const struct norm_chars *c, const uint16_t *table, uint32_t cp, char *p, bool *moved)
{
	unsigned flags = norm_flags(table, cp);
	if (c->ops & CHARS_CLEAN && flags & NORM_OTHER) return p;
	if (c->ops & CHARS_CLEAN && space(cp)) cp = ' ';
	if (c->ops & CHARS_NMT && !(cp = nmt(cp))) return p;
	bool pad = c->ops & CHARS_CJK && ideograph(cp);
	if (pad) *p++ = ' ';
	if (c->ops & CHARS_DECOMPOSE && flags & NORM_CANON) {
		int32_t d[8];
		utf8proc_ssize_t m = utf8proc_decompose_char((int32_t)cp, d, 8,
							     UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, NULL);
		for (int i = 0; i < m && i < 4; i++)
			p = settle(c, norm_flags(table, (uint32_t)d[i]), (uint32_t)d[i], p, moved);
	} else {
		p = settle(c, flags, cp, p, moved);
	}
	if (pad) *p++ = ' ';
	return p;
}

int norm_chars_run(const struct norm_chars *c, const uint16_t *flags, const char *s, size_t n,
		   struct lm_buf *out, bool *moved)
{
	enum { SPARE = 64 };
	size_t i = same(c, flags, s, n);
	if (i == n) return 0;
	char *p = norm_room(out, n + SPARE);
	if (!p) return LM_ENOMEM;
	memcpy(p, s, i);
	p += i;
	const char *end =
		out->p + out->cap - SPARE; /* p + the bytes to come stay below: one byte each is granted */
	while (i < n) {
		unsigned char b = (unsigned char)s[i];
		if (b < 0x80) {
			*p = (char)c->ascii[b];
			p += c->ascii[b] != 0xFF;
			i++;
			continue;
		}
		if (end - p < (ptrdiff_t)(n - i)) {
			out->n = (size_t)(p - out->p);
			if (!(p = norm_room(out, (n - i) + (n - i) / 2 + SPARE))) return LM_ENOMEM;
			end = out->p + out->cap - SPARE;
		}
		uint32_t cp = norm_take(s, &i);
		p = change(c, flags, cp, p, moved);
	}
	out->n = (size_t)(p - out->p);
	return 1;
}
