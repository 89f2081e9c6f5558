/* gold.h - reading the fixtures of tools/gold_split.py. */
#pragma once
#include "test.h"
#include <jansson.h>

#define GOLD "tests/fixtures/split/"
enum { GOLD_DIGITS = 5 };

static inline uint32_t gold_hash(uint32_t h, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++) h = (h ^ ((const uint8_t *)p)[i]) * 0x01000193u;
	return h;
}
enum { GOLD_BEGIN = 0x811C9DC5 - 0x100000000 };            /* of a hash */

/* The texts of all cases. */
static inline json_t *gold_texts(void)
{
	json_error_t e;
	json_t *t = json_load_file(GOLD "texts.json", JSON_ALLOW_NUL, &e);
	if (!t) fail_msg("texts.json: %s", e.text);
	return t;
}

/* fn for each line of a file; returns how many there were. */
static inline int gold_lines(const char *path, void (*fn)(const json_t *row, void *ud), void *ud)
{
	struct lm_err err;
	struct lm_buf b = { 0 };
	int n = 0;
	assert_ok(lm_read_file(&b, path, 1 << 24, &err), err);
	for (size_t i = 0; i < b.n;) {
		const char *end = memchr(b.p + i, '\n', b.n - i);
		size_t len = (end ? (size_t)(end - b.p) : b.n) - i;
		json_error_t e;
		json_t *row = json_loadb(b.p + i, len, JSON_ALLOW_NUL, &e);
		if (!row) fail_msg("%s: line %d: %s", path, n + 1, e.text);
		fn(row, ud);
		json_decref(row);
		i += len + 1;
		n++;
	}
	lm_buf_free(&b);
	return n;
}

/* The k-th hash of a row. */
static inline uint32_t gold_nth(const json_t *row, size_t k)
{
	char digits[GOLD_DIGITS + 1] = { 0 };
	const char *h = json_string_value(json_object_get(row, "h"));
	assert_true(h && strlen(h) >= (k + 1) * GOLD_DIGITS);
	memcpy(digits, h + k * GOLD_DIGITS, GOLD_DIGITS);
	return (uint32_t)strtoul(digits, NULL, 16);
}
