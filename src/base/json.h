/* json.h - thin layer over jansson, which serves requests and replies: a linear prescan refuses nesting over
 * LM_JSON_DEPTH before jansson recurses; writing needs no tree. */
#pragma once
#include "base/base.h"
#include <jansson.h>

#define LM_JSON_DEPTH 128
#define LM_JSON_VALUES 400000            /* of lm_json_python: settings; a tree takes 100 bytes and more for each */

/* Parses s[0..n), any JSON value.  NULL and a sentence with line and column on error (LM_EFORMAT).
 * Strings may hold U+0000: use json_string_length.  Free with json_decref. */
json_t *lm_json_parse(const char *s, size_t n, struct lm_err *err);
/* The same of what Python's json wrote: Infinity becomes 1e308, NaN null, an integer of 19 digits or more a real. */
json_t *lm_json_python(const char *s, size_t n, struct lm_err *err);
/* What a value is, for sentences: "an object", ..., "a boolean", "missing" for NULL. */
const char *lm_json_kind(const json_t *v);
/* Appends s[0..n) as a JSON string with quotes; invalid UTF-8 becomes U+FFFD, non-ASCII is kept. */
void lm_json_string(struct lm_buf *b, const char *s, size_t n);
/* Shortest text that reads back as the same float/double ("null" for NaN and infinities). */
void lm_json_f32(struct lm_buf *b, float v);
void lm_json_f64(struct lm_buf *b, double v);
