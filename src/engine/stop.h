/* stop.h - stop strings over a stream of bytes: shows nothing that might become one, and the same text however the
 * stream is cut into pieces.  The stop string that ends first wins; of those ending together, the longest. */
#pragma once
#include "base/base.h"

struct stop {
	const char *const *s; const size_t *len; int n;   /* the strings, none empty; the caller's */
	struct lm_buf held;                                /* pushed, not shown yet */
	size_t shown;                                      /* bytes at the front of held that the last call gave out */
};
/* Adds a piece; *out, *n: what may be shown now, valid until the next call.  Returns the index of the stop string
 * that the stream has reached (then nothing more will come), else -1.  Out of memory: held.bad. */
int stop_push(struct stop *s, const char *p, size_t len, const char **out, size_t *n);
/* The stream has ended without a stop: what was held back. */
void stop_end(struct stop *s, const char **out, size_t *n);
void stop_free(struct stop *s);
