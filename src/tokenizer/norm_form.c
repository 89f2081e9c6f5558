/* norm_form.c - NFC, NFD, NFKC, NFKD.  Text that is in the form already, nearly all, is recognised by our own
 * table and left alone; utf8proc decomposes and composes only the stretches that need it. GOTCHA: our table
 * is the reference's (older than utf8proc's): a character that it calls inert never gets there. GOTCHA: marks
 * are ordered here: the library's exchange sort is quadratic in a run of marks. */
#include "tokenizer/norm_impl.h"
#include <utf8proc.h>

enum { MAX_DECOMPOSED = 32, MIN_FLUSH = 1024, SHORT = 24 };

struct form {
	const uint16_t *flags;
	struct norm_work *w;
	struct lm_buf *out;
	unsigned change; /* flags of characters that decompose */
	unsigned wait;   /* flags of characters that belong to those before */
	bool compose;
	size_t k; /* w->cp[0..k): combining class << 24 | character */
};

static bool grow(struct norm_work *w, size_t n)
{
	size_t cap = w->cap ? w->cap : 256, bytes;
	while (cap < n) cap *= 2;
	if (cap == w->cap) return true;
	if (!lm_mul_size(cap, 2 * sizeof *w->cp, &bytes)) return false;
	uint32_t *cp = lm_realloc(w->cp, bytes);
	if (!cp) return false;
	w->cp = cp;
	w->cap = cap;
	return true;
}

/* Stable by combining class, a[0..n) are all marks; tmp has room for n. */
static void order(uint32_t *a, size_t n, uint32_t *tmp)
{
	if (n <= SHORT) {
		for (size_t i = 1; i < n; i++) {
			uint32_t x = a[i];
			size_t j = i;
			for (; j > 0 && a[j - 1] >> 24 > x >> 24; j--) a[j] = a[j - 1];
			a[j] = x;
		}
		return;
	}
	size_t begin[257] = { 0 };
	for (size_t i = 0; i < n; i++) begin[(a[i] >> 24) + 1]++;
	for (int c = 1; c < 257; c++) begin[c] += begin[c - 1];
	for (size_t i = 0; i < n; i++) tmp[begin[a[i] >> 24]++] = a[i];
	memcpy(a, tmp, n * sizeof *a);
}

static bool is_late(uint32_t cp)
{
	for (size_t i = 0; i < sizeof norm_late / sizeof *norm_late; i++)
		if (norm_late[i] == cp) return true;
	return false;
}

static void put(struct form *f, const uint32_t *a, size_t n)
{
	char *p = norm_room(f->out, 4 * n);
	if (!p) return;
	for (size_t i = 0; i < n; i++) p += lm_utf8_put(p, a[i] & 0x1FFFFF);
	f->out->n = (size_t)(p - f->out->p);
}

static void flush(struct form *f)
{
	uint32_t *a = f->w->cp;
	size_t n = f->k;
	f->k = 0;
	for (size_t i = 0; i < n;) {
		size_t end = i;
		while (end < n && a[end] >> 24) end++;
		if (end > i + 1) order(a + i, end - i, a + f->w->cap);
		i = end + 1;
	}
	if (!f->compose || n < 2) {
		put(f, a, n);
		return;
	}
	size_t lone = is_late(a[0]);
	put(f, a, lone);
	int32_t *cp = (int32_t *)(a + f->w->cap);
	for (size_t i = lone; i < n; i++) cp[i - lone] = (int32_t)(a[i] & 0x1FFFFF);
	utf8proc_ssize_t m = utf8proc_normalize_utf32(cp, (utf8proc_ssize_t)(n - lone),
						      UTF8PROC_COMPOSE | UTF8PROC_STABLE);
	if (m > 0) put(f, (uint32_t *)cp, (size_t)m);
}

static void push(struct form *f, uint32_t cp)
{
	int32_t d[MAX_DECOMPOSED] = { (int32_t)cp };
	utf8proc_ssize_t m = 1;
	if (norm_flags(f->flags, cp) & f->change)
		m = utf8proc_decompose_char((int32_t)cp, d, MAX_DECOMPOSED,
					    f->change & NORM_COMPAT
						    ? UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | UTF8PROC_COMPAT
						    : UTF8PROC_DECOMPOSE | UTF8PROC_STABLE,
					    NULL);
	if (m < 1 || m > MAX_DECOMPOSED) d[0] = (int32_t)cp, m = 1;
	if (f->k >= MIN_FLUSH && !(norm_flags(f->flags, (uint32_t)d[0]) & f->wait)) flush(f);
	if (!grow(f->w, f->k + (size_t)m)) {
		f->out->bad = true;
		return;
	}
	for (int i = 0; i < m; i++) {
		uint32_t ccc = 0;
		if (norm_flags(f->flags, (uint32_t)d[i]) & NORM_CCC)
			ccc = (uint8_t)utf8proc_get_property(d[i])->combining_class;
		f->w->cp[f->k++] = ccc << 24 | (uint32_t)d[i];
	}
}

/* The next character with one of these flags at or after i, and the beginning of the character before it. */
static size_t next(const uint16_t *flags, unsigned mask, const char *s, size_t n, size_t i, size_t *before)
{
	size_t last = i;
	while (i < n) {
		uint64_t word;
		while (n - i >= sizeof word &&
		       (memcpy(&word, s + i, sizeof word), !(word & 0x8080808080808080u)))
			i += sizeof word, last = i - 1;
		if (i == n) break;
		size_t at = i;
		uint32_t cp = norm_take(s, &i);
		if (norm_flags(flags, cp) & mask) {
			*before = last;
			return at;
		}
		last = at;
	}
	return n;
}

int norm_form(unsigned form, const uint16_t *flags, struct norm_work *w, const char *s, size_t n,
	      struct lm_buf *out)
{
	struct form f = { .flags = flags, .w = w, .out = out, .compose = form & FORM_COMPOSE };
	f.change = form & FORM_COMPAT ? NORM_CANON | NORM_COMPAT : NORM_CANON;
	f.wait = f.compose ? NORM_NFC_MAY : NORM_CCC;
	unsigned mask = f.wait | (f.compose && !(form & FORM_COMPAT) ? 0 : f.change);
	size_t done = 0, before = 0;
	size_t i = next(flags, mask, s, n, 0, &before);
	if (i == n) return 0;
	while (i < n && !out->bad) {
		if (!f.compose) before = i;
		lm_buf_add(out, s + done, before - done);
		for (i = before; i < n && !out->bad;) {
			size_t at = i;
			uint32_t cp = norm_take(s, &i);
			if (at > before && !(norm_flags(flags, cp) & mask)) {
				i = at;
				break;
			}
			push(&f, cp);
		}
		flush(&f);
		done = i;
		i = next(flags, mask, s, n, i, &before);
	}
	lm_buf_add(out, s + done, n - done);
	return out->bad ? LM_ENOMEM : 1;
}
