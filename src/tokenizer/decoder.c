/* decoder.c - running a decoder's steps over one token at a time.
 *
 * The token, or piece, under way is the end of *out from byte a on: a step changes it there, and what the
 * last step leaves is the answer.  A step that owes something from before (a run of bytes that has ended)
 * sends that through the steps behind it first. */
#include "tokenizer/decoder_impl.h"
#include "tokenizer/letters.h"
#include "tokenizer/regex.h"
#include <string.h>

#define BAD "\xEF\xBF\xBD" /* U+FFFD */

struct run {
	const struct decoder *d;
	struct decoder_state *s;
	struct lm_buf *out;
	bool alone; /* decoder_bytes: raw bytes, nothing is held */
};

static void steps(struct run *r, int k, size_t a);

static void send(struct run *r, int k, const void *p, size_t n)
{
	size_t a = r->out->n;
	lm_buf_add(r->out, p, n);
	steps(r, k, a);
}

/* Takes out[a..b) away. */
static void cut(struct lm_buf *out, size_t a, size_t b)
{
	if (b == a || out->bad) return;
	memmove(out->p + a, out->p + b, out->n - b);
	out->n -= b - a;
}

/* Has this step seen a token?  From now on it has. */
static bool begun(struct run *r, int k)
{
	bool yes = r->s->started || r->s->begun >> k & 1;
	r->s->begun |= 1ull << k;
	return yes;
}

/* A plain text as Rust's str::replace has it: an empty pattern matches also in an empty text. */
static void swap(struct run *r, const struct replace *rep, size_t a)
{
	size_t b = r->out->n;
	if (rep->n_pat == 0 && a == b) {
		lm_buf_add(r->out, rep->put, rep->n_put);
		return;
	}
	char *copy = lm_malloc(b - a + 1); /* *out moves as it grows */
	if (!copy || r->out->bad) {
		r->out->bad = true;
		lm_free(copy);
		return;
	}
	memcpy(copy, r->out->p + a, b - a);
	r->out->n = a;
	struct regex_work re = { 0 };
	int rc = replace_run(rep, &re, copy, b - a, r->out, a + 64 * (b - a) + (1 << 20), NULL);
	if (rc == 0) r->out->n = b;
	if (rc < 0) r->out->bad = true;
	if (rep->re) regex_work_free(&re);
	lm_free(copy);
}

/* Is there something to do?  Nearly always not, and then nothing is copied. */
static bool holds(const struct run *r, const struct replace *rep, size_t a)
{
	if (rep->re || rep->n_pat == 0) return true;
	size_t n = r->out->n - a;
	return n >= rep->n_pat && memmem(r->out->p + a, n, rep->pat, rep->n_pat);
}

static void step_replace(struct run *r, const struct replace *rep, size_t a)
{
	if (a < r->out->n && holds(r, rep, a)) swap(r, rep, a);
}

static void cleanup(struct run *r, size_t a)
{
	char *p = r->out->p + a;
	size_t n = r->out->n - a;
	if (!n || !memchr(p, ' ', n)) return;
	for (int i = 0; decoder_cleanup[i][0]; i++) {
		const char *pat = decoder_cleanup[i][0], *put = decoder_cleanup[i][1];
		size_t m = strlen(pat), k = strlen(put), to = 0, at = 0;
		while (at < n)
			if (n - at >= m && memcmp(p + at, pat, m) == 0) {
				memcpy(p + to, put, k);
				to += k;
				at += m;
			} else {
				p[to++] = p[at++];
			}
		n = to;
	}
	r->out->n = a + n;
}

/* ---- whole tokens ---- */
static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
				      : -1;
}

/* The byte of a token "<0xAB>", or -1.  GOTCHA: Rust reads "+A" as a number too. */
static int byte_token(const char *s, size_t n)
{
	if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>') return -1;
	int a = s[3] == '+' ? 0 : hex(s[3]), b = hex(s[4]);
	return a < 0 || b < 0 ? -1 : a << 4 | b;
}

static void send_bad(struct run *r, int k, size_t n)
{
	while (n--) send(r, k, BAD, 3);
}

/* The run of byte tokens has ended: its text, or one U+FFFD for each byte. */
static void end_bytes(struct run *r, int k)
{
	struct decoder_state *s = r->s;
	size_t n = s->n_bytes;
	s->n_bytes = 0;
	s->bad = false;
	if (n == 0) return;
	unsigned char held[DECODER_HELD];
	memcpy(held, s->bytes, n);
	if (lm_utf8_tail((char *)held, n))
		send_bad(r, k + 1, n);
	else
		send(r, k + 1, held, n);
}

static void hold_byte(struct run *r, int k, int byte)
{
	struct decoder_state *s = r->s;
	if (s->bad) {
		send_bad(r, k + 1, 1);
		return;
	}
	s->bytes[s->n_bytes++] = (unsigned char)byte;
	size_t n = s->n_bytes, tail = (size_t)lm_utf8_tail((char *)s->bytes, n);
	if (!lm_utf8_valid((char *)s->bytes, n - tail)) {
		s->bad = true;
		s->n_bytes = 0;
		send_bad(r, k + 1, n);
	} else if (n == DECODER_HELD) {
		unsigned char held[DECODER_HELD];
		memcpy(held, s->bytes, n);
		memcpy(s->bytes, held + n - tail, tail);
		s->n_bytes = (uint16_t)tail;
		send(r, k + 1, held, n - tail);
	}
}

/* Puts what comes from byte `mid` on before out[a..mid); returns where the latter begins now. */
static size_t turn(struct lm_buf *out, size_t a, size_t mid)
{
	size_t n = mid - a, m = out->bad ? 0 : out->n - mid;
	char *copy = m ? lm_malloc(n + 1) : NULL;
	out->bad |= m && !copy;
	if (copy) {
		memcpy(copy, out->p + a, n);
		memmove(out->p + a, out->p + mid, m);
		memcpy(out->p + a + m, copy, n);
	}
	lm_free(copy);
	return a + m;
}

/* false: the token is used up. */
static bool step_bytes(struct run *r, int k, size_t *a)
{
	size_t end = r->out->n;
	int byte = byte_token(r->out->p + *a, end - *a);
	if (byte >= 0) {
		r->out->n = *a;
		if (r->alone)
			lm_buf_char(r->out, (char)byte);
		else
			hold_byte(r, k, byte);
		return r->alone;
	}
	end_bytes(r, k);
	*a = turn(r->out, *a, end);
	return true;
}

/* All characters letters: their bytes, in place.  Else, as in the reference, the text stands for itself. */
static void to_bytes(struct lm_buf *out, size_t a)
{
	char *p = out->p + a;
	size_t n = out->n - a, m = 0;
	uint32_t cp;
	for (size_t i = 0; i < n;) {
		i += (size_t)lm_utf8_next(p + i, n - i, &cp);
		if (letter_byte(cp) < 0) return;
	}
	for (size_t i = 0; i < n;) { /* a letter is no shorter than its byte */
		i += (size_t)lm_utf8_next(p + i, n - i, &cp);
		p[m++] = (char)letter_byte(cp);
	}
	out->n = a + m;
}

/* Each maximal bad part from byte a on becomes U+FFFD. */
static void mend(struct lm_buf *out, size_t a)
{
	size_t n = out->n - a;
	if (out->bad || lm_utf8_valid(out->p + a, n)) return;
	char *copy = lm_malloc(n);
	out->bad |= !copy;
	if (copy) memcpy(copy, out->p + a, n);
	out->n = a;
	for (size_t i = 0; i < n && !out->bad;) {
		uint32_t cp;
		char c[4];
		i += (size_t)lm_utf8_next(copy + i, n - i, &cp);
		lm_buf_add(out, c, (size_t)lm_utf8_put(c, cp));
	}
	lm_free(copy);
}

static void step_letters(struct run *r, const struct decoder_step *st, size_t a)
{
	struct lm_buf *out = r->out;
	to_bytes(out, a);
	if (r->alone) return;
	uint32_t *held = &r->s->num[st->num]; /* their number << 24 | the bytes, the first one lowest */
	size_t k = *held >> 24, n = out->n - a;
	char c[3] = { (char)*held, (char)(*held >> 8), (char)(*held >> 16) };
	lm_buf_add(out, c, k);
	if (k) turn(out, a, a + n);
	if (out->bad) return;
	k = (size_t)lm_utf8_tail(out->p + a, n + k);
	out->n -= k;
	*held = (uint32_t)k << 24;
	for (size_t i = 0; i < k; i++) *held |= (uint32_t)(unsigned char)out->p[out->n + i] << 8 * i;
	mend(out, a);
}

static void end_letters(struct run *r, int k)
{
	uint32_t *held = &r->s->num[r->d->step[k].num];
	if (*held >> 24) send(r, k + 1, BAD, 3); /* the beginning of one character */
	*held = 0;
}

/* Metaspace: the mark becomes a space, in the first token nothing. */
static void step_mark(struct run *r, int k, size_t a)
{
	const struct decoder_step *st = &r->d->step[k];
	const struct replace *m = &st->replace;
	bool first = !begun(r, k) && !st->never;
	char *p = r->out->p + a;
	size_t n = r->out->n - a, to = 0;
	for (size_t i = 0; i < n;)
		if (n - i >= m->n_pat && memcmp(p + i, m->pat, m->n_pat) == 0) {
			if (!first) p[to++] = ' ';
			i += m->n_pat;
		} else {
			p[to++] = p[i++];
		}
	r->out->n = a + to;
}

static void space_before(struct lm_buf *out, size_t a)
{
	lm_buf_char(out, ' ');
	if (out->bad) return;
	memmove(out->p + a + 1, out->p + a, out->n - 1 - a);
	out->p[a] = ' ';
}

static void step_word(struct run *r, int k, size_t a)
{
	const struct replace *prefix = &r->d->step[k].replace;
	if (begun(r, k)) {
		size_t n = r->out->n - a;
		if (n >= prefix->n_pat && memcmp(r->out->p + a, prefix->pat, prefix->n_pat) == 0)
			cut(r->out, a, a + prefix->n_pat);
		else
			space_before(r->out, a);
	}
	if (r->d->step[k].cleanup && !r->out->bad) cleanup(r, a);
}

/* The token that waited was not the last: its suffix is a space. */
static void end_suffix(struct run *r, int k, bool last)
{
	struct decoder_state *s = r->s;
	if (!(s->begun >> k & 1)) return;
	s->begun &= ~(1ull << k);
	size_t a = r->out->n;
	lm_buf_add(r->out, s->token, s->n_token);
	struct replace rep = r->d->step[k].replace;
	if (last) rep.n_put = 0;
	if (!r->out->bad && holds(r, &rep, a)) swap(r, &rep, a);
	steps(r, k + 1, a);
}

/* false: the token waits for the next. */
static bool step_suffix(struct run *r, int k, size_t *a)
{
	struct decoder_state *s = r->s;
	const struct replace *rep = &r->d->step[k].replace;
	size_t end = r->out->n, n = end - *a;
	if (!r->alone) end_suffix(r, k, false);
	*a = turn(r->out, *a, end);
	if (r->out->bad) return false;
	if (r->alone || n > DECODER_HELD) {
		if (holds(r, rep, *a)) swap(r, rep, *a);
		return true;
	}
	memcpy(s->token, r->out->p + *a, n);
	s->n_token = (uint16_t)n;
	s->begun |= 1ull << k;
	r->out->n = *a;
	return false;
}

/* false: a token like the one before, or nothing is left of it. */
static bool step_ctc(struct run *r, int k, size_t a)
{
	const struct decoder_step *st = &r->d->step[k];
	uint64_t h = 0xCBF29CE484222325u; /* FNV-1a stands for the token before */
	for (size_t i = a; i < r->out->n; i++) h = (h ^ (unsigned char)r->out->p[i]) * 0x100000001B3u;
	uint32_t *last = &r->s->num[st->num];
	bool seen = r->s->begun >> k & 1,
	     same = seen && last[0] == (uint32_t)h && last[1] == (uint32_t)(h >> 32);
	last[0] = (uint32_t)h;
	last[1] = (uint32_t)(h >> 32);
	r->s->begun |= 1ull << k;
	if (same) {
		r->out->n = a;
		return false;
	}
	if (st->replace.n_pat) step_replace(r, &st->replace, a);
	if (st->cleanup && !r->out->bad) {
		cleanup(r, a);
		if (holds(r, &st->mark, a)) swap(r, &st->mark, a);
	}
	return r->out->n > a;
}

static void step_strip(struct run *r, const struct decoder_step *st, size_t a)
{
	char *p = r->out->p + a;
	size_t n = r->out->n - a, m = (size_t)st->n_c, from = 0, to = n;
	for (uint32_t i = 0; i < st->start && n - from >= m && memcmp(p + from, st->c, m) == 0; i++)
		from += m;
	for (uint32_t i = 0; i < st->stop && to >= m && memcmp(p + to - m, st->c, m) == 0; i++) to -= m;
	r->out->n = a + to;
	cut(r->out, a, a + (from < to ? from : to));
}

/* ---- pieces of one token ---- */
static void flow_replace(struct run *r, const struct decoder_step *st, size_t a)
{
	const struct replace *rep = &st->replace;
	uint32_t k = r->s->num[st->num]; /* bytes of the pattern that the text so far ends with, held back */
	size_t b = r->out->n;
	if (k == 0 && (a == b || !memchr(r->out->p + a, rep->pat[0], b - a))) return;
	for (size_t i = a; i < b && !r->out->bad; i++) {
		char c = r->out->p[i];
		while (k && rep->pat[k] != c) {
			lm_buf_add(r->out, rep->pat, k - st->fail[k]);
			k = st->fail[k];
		}
		if (rep->pat[k] != c) {
			lm_buf_char(r->out, c);
		} else if (++k == rep->n_pat) {
			lm_buf_add(r->out, rep->put, rep->n_put);
			k = 0;
		}
	}
	r->s->num[st->num] = k;
	cut(r->out, a, b);
}

static void end_replace(struct run *r, int k)
{
	const struct decoder_step *st = &r->d->step[k];
	uint32_t held = r->s->num[st->num];
	r->s->num[st->num] = 0;
	if (held) send(r, k + 1, st->replace.pat, held);
}

static void flow_strip(struct run *r, const struct decoder_step *st, size_t a)
{
	uint32_t *cut_off = &r->s->num[st->num], *held = cut_off + 1; /* characters: taken off, held back */
	size_t b = r->out->n, m = (size_t)st->n_c;
	if (r->alone) return;
	if (r->s->started) *cut_off = st->start;
	for (size_t i = a; i < b && !r->out->bad;) {
		uint32_t cp;
		size_t len = (size_t)lm_utf8_next(r->out->p + i, b - i, &cp);
		bool is = len == m && memcmp(r->out->p + i, st->c, m) == 0;
		char c[4];
		memcpy(c, r->out->p + i, len);
		i += len;
		if (is && *cut_off < st->start) {
			++*cut_off;
		} else if (is && *held < st->stop) {
			++*held;
		} else {
			for (; !is && *held; --*held) lm_buf_add(r->out, st->c, m);
			lm_buf_add(r->out, c, len);
			if (!is) *cut_off = st->start;
		}
	}
	cut(r->out, a, b);
}

/* ---- all of them ---- */

/* Takes the token or piece from byte a on through the steps from k on. */
static void steps(struct run *r, int k, size_t a)
{
	for (; k < r->d->n && !r->out->bad; k++) {
		const struct decoder_step *st = &r->d->step[k];
		switch (st->op) {
		case OP_JOIN:
			if (begun(r, k)) space_before(r->out, a);
			break;
		case OP_BYTES:
			if (!step_bytes(r, k, &a)) return;
			break;
		case OP_LETTERS: step_letters(r, st, a); break;
		case OP_MARK: step_mark(r, k, a); break;
		case OP_WORD: step_word(r, k, a); break;
		case OP_SUFFIX:
			if (!step_suffix(r, k, &a)) return;
			break;
		case OP_CTC:
			if (!step_ctc(r, k, a)) return;
			break;
		case OP_REPLACE: step_replace(r, &st->replace, a); break;
		case OP_STRIP: step_strip(r, st, a); break;
		case OP_FLOW_REPLACE: flow_replace(r, st, a); break;
		case OP_FLOW_STRIP: flow_strip(r, st, a); break;
		}
	}
}

static void end(struct run *r)
{
	for (int k = 0; k < r->d->n && !r->out->bad; k++) switch (r->d->step[k].op) {
		case OP_BYTES: end_bytes(r, k); break;
		case OP_LETTERS: end_letters(r, k); break;
		case OP_SUFFIX: end_suffix(r, k, true); break;
		case OP_FLOW_REPLACE: end_replace(r, k); break;
		default: break; /* what Strip holds back is what it takes off */
		}
}

void decoder_push(const struct decoder *d, struct decoder_state *s, int32_t id, const char *text, size_t n,
		  bool added, struct lm_buf *out)
{
	struct run r = { d, s, out, false };
	if (d->spm)
		decoder_spm_push(d->spm, s, id, text, n, added, out);
	else
		send(&r, 0, text, n);
}

void decoder_end(const struct decoder *d, struct decoder_state *s, struct lm_buf *out)
{
	struct run r = { d, s, out, false };
	if (d->spm)
		decoder_spm_end(s, out);
	else
		end(&r);
}

void decoder_bytes(const struct decoder *d, const char *text, size_t n, bool added, struct lm_buf *out)
{
	struct decoder_state s = { .started = true };
	struct run r = { d, &s, out, true };
	if (d->spm) {
		decoder_spm_bytes(text, n, added, out);
		return;
	}
	send(&r, 0, text, n);
	end(&r);
}
