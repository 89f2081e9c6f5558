/* regex.h - the regular expressions of tokenizer files (Oniguruma's syntax, Unicode 16 classes), run by PCRE2.
 *
 * PCRE2 never sees the text: a set of patterns divides Unicode into the few classes of characters which those
 * patterns can tell apart, and what is searched is one byte per character, the number of its class (ASCII stands for
 * itself).  So the classes are those of our own table whatever the library knows, patterns compile in microseconds,
 * and matching non-ASCII text costs what ASCII costs. */
#pragma once
#include "base/base.h"

struct regex;                                              /* immutable, share freely */
/* literal: s is the text itself.  own: s may name what the reference decides by tables of its own: \p{=numeric},
 * \p{=punct}, \p{=word}, \p{=space}. */
struct regex_pattern { const char *s; size_t n; bool literal, own; };
/* Patterns that are to be run over the same texts.  LM_EFORMAT: not a regular expression, with the place;
 * LM_EUNSUPPORTED: a construct that we lack, or more than 128 classes beyond ASCII; LM_ELIMIT: too large. */
int regex_new(struct regex **out, const struct regex_pattern *p, int n, struct lm_err *err);
void regex_free(struct regex *r);                          /* NULL is fine */
bool regex_may_be_empty(const struct regex *r, int k);     /* can pattern k match no characters? */

/* What a caller keeps between calls; begin with {0}.  One per thread, for any regex. */
struct regex_work {
	const char *text;                                  /* one byte per character: the text itself when all ASCII */
	size_t n;
	char *sym;
	size_t cap;
	void *match;
	uint32_t searches;
	uint32_t asked;                                    /* how often a slow pattern asked whether to go on */
	double began, began_cpu;                           /* seconds; 0: not yet */
	uint64_t total;                                    /* bytes read so far */
	const void *searched;                              /* the pattern */
	const void *run_of;                                /* regex.c's: the latest run of digits, or of white space */
	size_t run_begin, run_end, run_hi, newline;
};
void regex_work_free(struct regex_work *w);
/* Reads valid UTF-8 for the searches that follow (s must stay); returns its number of characters, or a negative
 * lm_code. */
int64_t regex_read(const struct regex *r, struct regex_work *w, const char *s, size_t n, struct lm_err *err);
/* The first match of pattern k in the characters [lo, hi) that begins at or after `at`; look-around ends at lo and hi.
 * 1: *begin and *end are set (characters), 0: none, negative lm_code: a limit was hit. */
int regex_find(const struct regex *r, struct regex_work *w, int k, size_t lo, size_t hi, size_t at, size_t *begin,
	       size_t *end, struct lm_err *err);

bool uni_is_space(uint32_t cp);                            /* White_Space */
/* What the reference's added tokens call a word character: letters, marks, decimal digits, connectors, joiners. */
bool uni_is_word(uint32_t cp);
/* The script as the reference's UnicodeScripts sees it: equal numbers, equal scripts; 0: none (a space, unassigned). */
int uni_script(uint32_t cp);
