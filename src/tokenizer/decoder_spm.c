/* decoder_spm.c - pieces to text as the sentencepiece package does it.
 *
 * GOTCHAS: of a run of byte pieces every byte that is no part of a character shows as one U+FFFD (the `tokenizers`
 * library does that to the whole run); the mark is taken off the front of each piece as long as nothing is shown, of the
 * first one only where spaces count (remove_extra_whitespaces off). */
#include "tokenizer/decoder_spm.h"
#include <string.h>

#define MARK    "\xE2\x96\x81"
#define REPLACE "\xEF\xBF\xBD"

int decoder_spm_read(struct decoder_spm *d, const json_t *spec, struct lm_err *err)
{
	const json_t *surface = json_object_get(spec, "unk_surface"), *unk = json_object_get(spec, "unk_id");
	d->takes_all = json_is_true(json_object_get(spec, "remove_extra_whitespaces"));
	d->takes_space = d->takes_all || json_is_true(json_object_get(spec, "add_dummy_prefix"));
	if (!json_is_string(surface) || !json_is_integer(unk))
		return lm_fail(err, LM_EFORMAT, "decoder \"SentencePiece\": unk_surface is no text or unk_id no number");
	d->unk = (int32_t)json_integer_value(unk);
	d->n_surface = json_string_length(surface);
	d->surface = lm_malloc(d->n_surface + 1);
	if (!d->surface) return lm_fail(err, LM_ENOMEM, "out of memory for a decoder");
	memcpy(d->surface, json_string_value(surface), d->n_surface);
	return 0;
}

void decoder_spm_free(struct decoder_spm *d) { lm_free(d->surface); }

static int hex(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* The byte of a piece "<0xAB>", or -1. */
static int byte_piece(const char *s, size_t n, bool added)
{
	if (added || n != 6 || memcmp(s, "<0x", 3) || s[5] != '>') return -1;
	int a = hex(s[3]), b = hex(s[4]);
	return a < 0 || b < 0 ? -1 : a << 4 | b;
}

/* Shows the characters of the held bytes; what may become one stays, unless `all`. */
static void show_held(struct decoder_state *s, bool all, struct lm_buf *out)
{
	const char *p = (const char *)s->bytes;
	int n = s->n_bytes, keep = all ? 0 : lm_utf8_tail(p, (size_t)n), i = 0;
	while (i < n - keep) {
		uint32_t cp;
		int len = lm_utf8_next(p + i, (size_t)(n - i), &cp);
		bool good = lm_utf8_valid(p + i, (size_t)len);
		lm_buf_add(out, good ? p + i : REPLACE, good ? (size_t)len : 3);
		i += good ? len : 1;
		s->begun = 1;
	}
	memmove(s->bytes, s->bytes + i, (size_t)(n - i));
	s->n_bytes = (uint16_t)(n - i);
}

static void add_spaced(struct lm_buf *out, const char *s, size_t n)
{
	for (const char *m; (m = n >= 3 ? memmem(s, n, MARK, 3) : NULL);) {
		lm_buf_add(out, s, (size_t)(m - s));
		lm_buf_char(out, ' ');
		n -= (size_t)(m + 3 - s);
		s = m + 3;
	}
	lm_buf_add(out, s, n);
}

void decoder_spm_push(const struct decoder_spm *d, struct decoder_state *s, int32_t id, const char *text, size_t n, bool added,
		      struct lm_buf *out)
{
	int b = byte_piece(text, n, added);
	if (b >= 0) {
		s->bytes[s->n_bytes++] = (unsigned char)b;   /* at most three stay from one push to the next */
		show_held(s, false, out);
		return;
	}
	show_held(s, true, out);
	if (id == d->unk) {
		lm_buf_add(out, d->surface, d->n_surface);
		s->begun |= d->n_surface > 0;
		return;
	}
	if (!s->started && !s->begun && d->takes_space && n >= 3 && memcmp(text, MARK, 3) == 0) {
		text += 3;
		n -= 3;
		s->begun = !d->takes_all;
	}
	add_spaced(out, text, n);
	s->begun |= n > 0;
}

void decoder_spm_end(struct decoder_state *s, struct lm_buf *out) { show_held(s, true, out); }

void decoder_spm_bytes(const char *text, size_t n, bool added, struct lm_buf *out)
{
	int b = byte_piece(text, n, added);
	if (b >= 0) lm_buf_char(out, (char)b);
	else add_spaced(out, text, n);
}
