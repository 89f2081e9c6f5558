/* added.h - added tokens: cut out of the text before anything else looks at it, leftmost and longest first, as the
 * reference does (its added_vocabulary).  Two sets: those matched in the raw text and those matched in the normalized
 * text. */
#pragma once
#include "base/base.h"

enum added_flag {
	ADDED_SPECIAL = 1,                                 /* a control token: counts only where special parsing is on */
	ADDED_LSTRIP = 2,                                  /* swallows white space to its left */
	ADDED_RSTRIP = 4,
	ADDED_SINGLE_WORD = 8,                             /* no word character (\w) on either side */
	ADDED_NORMALIZED = 16                              /* matched in the normalized text */
};
struct added;                                              /* immutable once filled */
struct added *added_new(void);                             /* NULL when out of memory */
void added_free(struct added *a);                          /* NULL is fine */
/* The text is copied; for ADDED_NORMALIZED give the normalized text.  Empty texts are ignored.  LM_ELIMIT: over 256
 * bytes. */
int added_add(struct added *a, const char *s, size_t n, int32_t id, unsigned flags, struct lm_err *err);
/* Cuts s: text(ud, ..) for each non-empty stretch between, token(ud, id) for each match, in order; a non-zero return
 * ends it.  `normalized`: which of the two sets; `special`: whether control tokens count. */
struct added_out { int (*text)(void *ud, const char *s, size_t n); int (*token)(void *ud, int32_t id); void *ud; };
int added_cut(const struct added *a, const char *s, size_t n, bool normalized, bool special, const struct added_out *out);
/* Bytes of the longest token of a set that s begins with, whatever its flags; 0: none. */
size_t added_at(const struct added *a, const char *s, size_t n, bool normalized);
bool added_has(const struct added *a, bool normalized);    /* is that set non-empty? */
