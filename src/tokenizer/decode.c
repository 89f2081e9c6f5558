/* decode.c - ids to text, whole and streamed: decoder.h over the vocabulary's texts. */
#include "tokenizer/tok_impl.h"
#include <string.h>


/* The text of a token as the decoder knows it; buf[MAX_TOKEN + 2]. */
static size_t text_of(const struct tok *t, int32_t id, const char **s, char *buf)
{
	const struct piece *p = &t->piece[id];
	if (p->shown) {
		const struct shown *v = vocab_shown(t, id);
		*s = t->aux.p + v->off;
		return v->len;
	}
	*s = piece_text(t, id);
	if (!t->inverted || p->type != TYPE_NORMAL) return p->len;
	if (p->len > 2 && **s == '[' && (*s)[p->len - 1] == ']') return p->len;    /* "[unused7]": converters leave it */
	if (p->len >= 3 && memcmp(*s, MARK, 3) == 0) {
		*s += 3;
		return p->len - 3u;
	}
	memcpy(buf, "##", 2);
	memcpy(buf + 2, *s, p->len);
	*s = buf;
	return p->len + 2u;
}

static bool is_added(const struct tok *t, int32_t id)
{
	return t->piece[id].type >= TYPE_UNKNOWN && t->piece[id].type <= TYPE_USER;
}

/* An id that is no token, a hole in the vocabulary too, is passed over, as in the reference. */
static bool shown(const struct tok *t, int32_t id, bool special)
{
	return id >= 0 && id < t->n && t->piece[id].len > 0 && (special || !tok_is_control(t, id));
}

int tok_bytes(const struct tok *t, int32_t id, bool special, char *buf, int cap)
{
	char tmp[MAX_TOKEN + 2];
	const char *s;
	struct lm_buf out = { 0 };
	if (!shown(t, id, special)) return 0;
	size_t n = text_of(t, id, &s, tmp);
	decoder_bytes(t->decoder, s, n, is_added(t, id), &out);
	n = out.bad ? 0 : out.n;
	if (cap > 0) memcpy(buf, out.p ? out.p : "", n < (size_t)cap ? n : (size_t)cap);
	lm_buf_free(&out);
	return (int)n;
}

void tok_stream_push(const struct tok *t, struct tok_stream *s, int32_t id, bool special, struct lm_buf *out)
{
	char tmp[MAX_TOKEN + 2];
	const char *text;
	if (!shown(t, id, special)) return;
	size_t n = text_of(t, id, &text, tmp);
	decoder_push(t->decoder, &s->state, id, text, n, is_added(t, id), out);
}

void tok_stream_end(const struct tok *t, struct tok_stream *s, struct lm_buf *out)
{
	decoder_end(t->decoder, &s->state, out);
}

void tok_decode(const struct tok *t, const int32_t *ids, int n, bool special, struct lm_buf *out)
{
	struct tok_stream s = { 0 };
	for (int i = 0; i < n; i++) tok_stream_push(t, &s, ids[i], special, out);
	tok_stream_end(t, &s, out);
}
