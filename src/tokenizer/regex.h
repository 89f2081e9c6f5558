/* regex.h - the regular expressions of tokenizer files (Oniguruma's syntax, Unicode 16 classes), run by PCRE2.
 *
 * PCRE2 never sees the text: a set of patterns divides Unicode into the few classes of characters which those
 * patterns can tell apart, and what is searched is one byte per character, the number of its class (ASCII stands for
 * itself).  So the classes are those of our own table whatever the library knows, patterns compile in microseconds,
 * and matching non-ASCII text costs what ASCII costs. */
#pragma once
#include "base/base.h"

struct regex;                                              /* immutable, share freely */
struct regex_pattern { const char *s; size_t n; bool literal; };
/* Patterns that are to be run over the same texts.  LM_EFORMAT: not a regular expression, with the place;
 * LM_EUNSUPPORTED: a construct that we lack, or more than 128 classes beyond ASCII. */
int regex_new(struct regex **out, const struct regex_pattern *p, int n, struct lm_err *err);
void regex_free(struct regex *r);                          /* NULL is fine */

/* What a caller keeps between calls; begin with {0}.  One per thread. */
struct regex_work { char *sym; size_t cap; void *match; bool ascii; };
void regex_work_free(struct regex_work *w);
/* Reads valid UTF-8 for the searches that follow; returns its number of characters, or a negative lm_code. */
int64_t regex_read(const struct regex *r, struct regex_work *w, const char *s, size_t n, struct lm_err *err);
/* The first match of pattern k in the characters [lo, hi) that begins at or after `at`; look-around ends at lo and hi.
 * 1: *begin and *end are set (characters), 0: none, negative lm_code: a limit was hit. */
int regex_find(const struct regex *r, struct regex_work *w, int k, size_t lo, size_t hi, size_t at, size_t *begin,
	       size_t *end, struct lm_err *err);
bool uni_is_space(uint32_t cp);                            /* White_Space */
bool uni_is_word(uint32_t cp);                             /* \w: letters, marks, decimal digits, connectors */
