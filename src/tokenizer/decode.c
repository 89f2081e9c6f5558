/* decode.c - ids to text, whole and streamed. */
#include "tokenizer/tok_impl.h"
#include <string.h>

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte of a token "<0xAB>", or -1. */
static int byte_token(const struct tok *t, int32_t id)
{
	const char *s = piece_text(t, id);
	if (t->piece[id].type != TYPE_BYTE || t->piece[id].len != 6 || memcmp(s, "<0x", 3) || s[5] != '>')
		return -1;
	int a = hex(s[3]), b = hex(s[4]);
	return a < 0 || b < 0 ? -1 : a << 4 | b;
}

/* Letters to bytes; false, as in the reference, when a character is no letter of the alphabet: then the text
 * stands for itself. */
static bool from_letters(const char *s, size_t n, char *out, int *m)
{
	*m = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		i += (size_t)lm_utf8_next(s + i, n - i, &cp);
		int b = byte_of(cp);
		if (b < 0) return false;
		out[(*m)++] = (char)b;
	}
	return true;
}

static int from_marks(const char *s, size_t n, char *out)
{
	int m = 0;
	for (size_t i = 0; i < n;)
		if (n - i >= 3 && memcmp(s + i, "\xE2\x96\x81", 3) == 0) {
			out[m++] = ' ';
			i += 3;
		} else {
			out[m++] = s[i++];
		}
	return m;
}

/* Bytes of one token into out[MAX_TOKEN]. */
static int bytes_of(const struct tok *t, int32_t id, bool special, char *out)
{
	if (id < 0 || id >= t->n) return 0;
	const struct piece *p = &t->piece[id];
	const char *s = piece_text(t, id);
	int n = 0, b = t->kind == KIND_SPM ? byte_token(t, id) : -1;
	bool as_is = tok_is_control(t, id) || (t->kind == KIND_BYTES && p->type == TYPE_USER);
	if (tok_is_control(t, id) && !special) return 0;
	if (b >= 0) {
		out[0] = (char)b;
		return 1;
	}
	if (!as_is && t->kind == KIND_SPM) return from_marks(s, p->len, out);
	if (!as_is && from_letters(s, p->len, out, &n)) return n;
	memcpy(out, s, p->len);
	return p->len;
}

int tok_bytes(const struct tok *t, int32_t id, bool special, char *buf, int cap)
{
	char tmp[MAX_TOKEN];
	int n = bytes_of(t, id, special, tmp);
	if (cap > 0) memcpy(buf, tmp, (size_t)(n < cap ? n : cap));
	return n;
}

/* A run of byte tokens is text if it is UTF-8 as a whole; else the reference shows one U+FFFD for each byte.
 */
static void flush_run(struct lm_buf *out, struct lm_buf *run)
{
	if (lm_utf8_valid(run->p, run->n))
		lm_buf_add(out, run->p, run->n);
	else
		for (size_t i = 0; i < run->n; i++) lm_buf_str(out, "\xEF\xBF\xBD");
	out->bad |= run->bad;
	run->n = 0;
}

void tok_decode(const struct tok *t, const int32_t *ids, int n, bool special, struct lm_buf *out)
{
	char tmp[MAX_TOKEN];
	struct lm_buf run = {0};
	size_t begin = out->n;
	for (int i = 0; i < n; i++) {
		int m = bytes_of(t, ids[i], special, tmp);
		if (m == 1 && t->kind == KIND_SPM && byte_token(t, ids[i]) >= 0) {
			lm_buf_char(&run, tmp[0]);
			continue;
		}
		if (run.n) flush_run(out, &run);
		lm_buf_add(out, tmp, (size_t)m);
	}
	if (run.n) flush_run(out, &run);
	lm_buf_free(&run);
	if (t->kind == KIND_SPM && t->add_prefix && out->n > begin && out->p[begin] == ' ')
		memmove(out->p + begin, out->p + begin + 1, --out->n - begin);
}

/* Appends s[0..n) to buf at *m, whole characters only; bad sequences become U+FFFD.  Returns what was used.
 */
static int show(const char *s, int n, bool all, char *buf, int cap, int *m)
{
	int i = 0, stop = all ? n : n - lm_utf8_tail(s, (size_t)n);
	while (i < stop) {
		uint32_t cp;
		char c[4];
		int len = lm_utf8_next(s + i, (size_t)(n - i), &cp), k = lm_utf8_put(c, cp);
		if (*m + k <= cap) memcpy(buf + *m, c, (size_t)k);
		*m += k <= cap - *m ? k : 0;
		i += len;
	}
	return i;
}

int tok_stream_push(const struct tok *t, struct tok_stream *s, int32_t id, bool special, char *buf, int cap)
{
	char tmp[4 + MAX_TOKEN];
	int m = 0, n = s->n;
	memcpy(tmp, s->tail, sizeof s->tail);
	int got = bytes_of(t, id, special, tmp + n);
	int skip = t->kind == KIND_SPM && t->add_prefix && !s->started && got > 0 && tmp[0] == ' ';
	if (got > 0) s->started = true;
	n += got;
	int used = skip + show(tmp + skip, n - skip, false, buf, cap, &m);
	s->n = n - used;
	memcpy(s->tail, tmp + used, (size_t)s->n);
	return m;
}

int tok_stream_end(struct tok_stream *s, char *buf, int cap)
{
	int m = 0;
	show((const char *)s->tail, s->n, true, buf, cap, &m);
	s->n = 0;
	return m;
}
