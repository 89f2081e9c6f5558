/* stop.c - see stop.h.  What is held is shorter than the longest stop string, so plain comparison is enough. */
#include "engine/stop.h"
#include <string.h>

/* Drops what the last call gave out. */
static void settle(struct stop *s)
{
	if (!s->shown) return;
	s->held.n -= s->shown;
	memmove(s->held.p, s->held.p + s->shown, s->held.n);
	s->shown = 0;
}

/* The longest stop string that ends at held[end); its index or -1. */
static int ends_at(const struct stop *s, size_t end)
{
	int best = -1;
	for (int i = 0; i < s->n; i++)
		if (s->len[i] <= end && memcmp(s->held.p + end - s->len[i], s->s[i], s->len[i]) == 0 &&
		    (best < 0 || s->len[i] > s->len[best]))
			best = i;
	return best;
}

/* True when held[at..) is a proper beginning of a stop string. */
static bool may_begin(const struct stop *s, size_t at)
{
	size_t left = s->held.n - at;
	for (int i = 0; i < s->n; i++)
		if (left < s->len[i] && memcmp(s->held.p + at, s->s[i], left) == 0) return true;
	return false;
}

int stop_push(struct stop *s, const char *p, size_t len, const char **out, size_t *n)
{
	settle(s);
	size_t from = s->held.n;
	lm_buf_add(&s->held, p, len);
	*out = lm_buf_cstr(&s->held);
	*n = 0;
	if (s->held.bad) return -1;
	for (size_t end = from + 1; end <= s->held.n; end++) {
		int i = ends_at(s, end);
		if (i < 0) continue;
		*n = end - s->len[i];
		*n -= (size_t)lm_utf8_tail(s->held.p, *n);   /* a stop string may begin inside a character */
		s->held.n = s->shown = *n;
		return i;
	}
	while (s->shown < s->held.n && !may_begin(s, s->shown)) s->shown++;
	while (s->shown > 0 && lm_utf8_tail(s->held.p, s->shown)) s->shown--;
	*n = s->shown;
	return -1;
}

void stop_end(struct stop *s, const char **out, size_t *n)
{
	settle(s);
	*out = lm_buf_cstr(&s->held);
	*n = s->shown = s->held.n;
}

void stop_free(struct stop *s) { lm_buf_free(&s->held); }
