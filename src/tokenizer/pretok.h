/* pretok.h - text to words, by the pre-tokenizer that the model's metadata names.
 *
 * The patterns are written with Unicode properties, but what the regular expression engine (PCRE2) sees is
 * one byte per character: ASCII as it is, any other character as a symbol for its class.  So the classes are
 * those of our own table (Unicode 16, like the reference's) whatever the library knows, patterns compile in
 * microseconds, and matching non-ASCII text costs what ASCII costs. */
#pragma once
#include "base/base.h"

struct pretok;
enum pretok_flag {
	PRE_NFC = 1,           /* the model's text is normalized first */
	PRE_IGNORE_MERGES = 2, /* a word that is a token needs no merging */
	PRE_BOS = 4,           /* begins with BOS unless the metadata says otherwise */
	PRE_SEP = 8            /* ends with SEP unless the metadata says otherwise */
};

/* name: tokenizer.ggml.pre.  LM_EUNSUPPORTED names one that we lack. */
int pretok_new(struct pretok **out, unsigned *flags, const char *name, size_t len, struct lm_err *err);
void pretok_free(struct pretok *p);

/* What a caller keeps between calls; start with {0}.  One per thread. */
struct pretok_work {
	char *cls;
	size_t cap;
	void *match;
};
void pretok_work_free(struct pretok_work *w);
/* fn for every word of s (valid UTF-8), in order; together they are s.  A non-zero return of fn ends it. */
typedef int pretok_fn(void *ud, const char *word, size_t n);
int pretok_split(const struct pretok *p, struct pretok_work *w, const char *s, size_t n, pretok_fn *fn,
		 void *ud, struct lm_err *err);
bool pretok_is_space(uint32_t cp); /* White_Space */
/* The i-th name of the table (not NUL-terminated), NULL at its end: tests walk it. */
const char *pretok_name(int i, size_t *len);
