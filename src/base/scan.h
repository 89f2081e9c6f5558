/* scan.h - pull scanner for JSON too large for a tree (vocabularies of 30 MB): one pass, no allocation, strings given
 * as they stand in the text.  Tolerant where real files are (Infinity, NaN, integers beyond 64 bits), bounded
 * elsewhere (nesting up to LM_SCAN_DEPTH).
 *
 *   struct lm_scan s = lm_scan_begin(text, n);
 *   if (lm_scan_object(&s))
 *           while (lm_scan_key(&s, &key)) ... read or lm_scan_skip the value ...
 *   if (lm_scan_end(&s, err)) ...
 *
 * The error is sticky: after one, every call answers false; lm_scan_end turns it into a sentence with line and column. */
#pragma once
#include "base/base.h"

enum { LM_SCAN_DEPTH = 64 };
struct lm_scan { const char *s; size_t n, at; int depth; uint64_t object, fresh; const char *bad; };
/* A string's text between its quotes.  escaped: holds backslashes, so lm_scan_unescape is needed to read it. */
struct lm_scan_str { const char *s; size_t n; bool escaped; };
struct lm_scan lm_scan_begin(const char *s, size_t n);
char lm_scan_peek(struct lm_scan *s);                      /* '{' '[' '"' 't' 'f' 'n', '0' for a number; 0 at the end */
bool lm_scan_object(struct lm_scan *s);                    /* enters {..}; false and an error if there is none */
bool lm_scan_array(struct lm_scan *s);
bool lm_scan_key(struct lm_scan *s, struct lm_scan_str *key);        /* next key of the object; false: it ended (left) */
bool lm_scan_item(struct lm_scan *s);                      /* is there a next item of the array? false: it ended (left) */
bool lm_scan_str(struct lm_scan *s, struct lm_scan_str *v);
bool lm_scan_pair(struct lm_scan *s, struct lm_scan_str *a, struct lm_scan_str *b);  /* ["a", "b"], and no more */
bool lm_scan_int(struct lm_scan *s, int64_t *v);           /* saturates beyond 64 bits */
bool lm_scan_num(struct lm_scan *s, double *v);
bool lm_scan_bool(struct lm_scan *s, bool *v);
bool lm_scan_null(struct lm_scan *s);                      /* takes null if it stands there; no error otherwise */
bool lm_scan_skip(struct lm_scan *s);                      /* any value */
/* The text of any value, skipped: to parse a small part with jansson. */
bool lm_scan_raw(struct lm_scan *s, const char **v, size_t *n);
bool lm_scan_is(struct lm_scan_str v, const char *text);   /* equal, escapes read */
/* Appends the string, escapes read; a lone surrogate becomes U+FFFD. */
void lm_scan_unescape(struct lm_scan_str v, struct lm_buf *out);
bool lm_scan_fail(struct lm_scan *s, const char *what);    /* the caller's own complaint at this place; returns false */
int lm_scan_end(struct lm_scan *s, struct lm_err *err);    /* 0, or LM_EFORMAT; also when text follows the value */
