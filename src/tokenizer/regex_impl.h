/* regex_impl.h - what unicode.c, regex_parse.c and regex.c share. */
#pragma once
#include "tokenizer/regex.h"

/* A set of characters as an inversion list: its members are [b0,b1), [b2,b3), ...; n is even. */
struct uset { const uint32_t *b; uint32_t n; };
/* Where sets live.  left: how many more bounds may be made; false of what follows: none are left, or no memory. */
struct uset_pool { struct lm_arena *arena; size_t left; };
enum { USET_POOL = 1 << 22 };
/* The union of k ranges, any order: pair[2i]..pair[2i+1], both included.  Sorts them. */
bool uset_ranges(struct uset_pool *a, uint32_t (*pair)[2], size_t k, struct uset *out);
bool uset_range(struct uset_pool *a, uint32_t lo, uint32_t hi, struct uset *out);      /* lo..hi, both included */
bool uset_or(struct uset_pool *a, struct uset x, struct uset y, struct uset *out);
bool uset_and(struct uset_pool *a, struct uset x, struct uset y, struct uset *out);
bool uset_not(struct uset_pool *a, struct uset x, struct uset *out);
bool uset_fold(struct uset_pool *a, struct uset x, struct uset *out);        /* with what is the same but for case */
bool uset_has(struct uset x, uint32_t cp);
bool uset_same(struct uset x, struct uset y);
/* The set that \p{name} or [:name:] means; 1: found, 0: no such name, negative lm_code.  `own`: our own names too,
 * for what the reference decides by other tables: "=numeric", "=punct", "=word". */
enum { UNI_NAME = 40 };
int uset_named(struct uset_pool *a, const char *name, size_t n, bool own, struct uset *out);

/* The sets that the patterns of one regex name, each once. */
struct uset_list { struct uset_pool pool; struct uset *set; uint32_t n, cap; };
/* Translates one pattern into PCRE2's syntax for the alphabet that is still to be made: ASCII, and for every set the
 * byte REGEX_SET and its number in two bytes, low one first. */
enum { REGEX_SET = 0xFF, REGEX_MAX_SETS = 1024 };
int regex_translate(const struct regex_pattern *p, struct uset_list *sets, struct lm_buf *out, struct lm_err *err);
/* May a search for this translated pattern take more than linear time at one place? */
bool regex_slow(const char *s, size_t n);
