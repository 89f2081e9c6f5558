/* replace.h - Replace of tokenizer.json, which normalizers and decoders share: every match of a pattern becomes a
 * text. */
#pragma once
#include "tokenizer/spec.h"

struct regex;
struct regex_work;
struct replace {
	struct regex *re;                                  /* NULL: `pat` stands for itself */
	char *pat, *put;
	size_t n_pat, n_put;
};
int replace_new(struct replace *r, const struct spec_of *f, struct lm_err *err); /* "pattern", "content" */
/* The same for a literal, copied. */
int replace_literal(struct replace *r, const char *pat, size_t n_pat, const char *put, size_t n_put,
		    struct lm_err *err);
void replace_free(struct replace *r);
/* Appends s with its matches replaced to *out and returns 1; 0: there is none, nothing is appended; negative
 * lm_code.  re: for regular expressions, may be NULL for a literal.  LM_ELIMIT: *out would pass `limit` bytes. */
int replace_run(const struct replace *r, struct regex_work *re, const char *s, size_t n, struct lm_buf *out,
		size_t limit, struct lm_err *err);
