/* gold_ids.h - goldens of ids and texts as JSON, held against a tokenizer. */
#pragma once
#include "test.h"
#include "base/json.h"
#include "tokenizer/tok.h"

static inline json_t *gold_json(const char *path)
{
	json_error_t je;
	json_t *v = json_load_file(path, JSON_ALLOW_NUL, &je);      /* texts hold U+0000 */
	if (!v) fail_msg("%s: %s", path, je.text);
	return v;
}

static inline void show(const char *what, const int32_t *ids, int n)
{
	fprintf(stderr, "  %s:", what);
	for (int i = 0; i < n && i < 60; i++) fprintf(stderr, " %d", ids[i]);
	fprintf(stderr, "\n");
}

static inline int gold_ids(const json_t *a, int32_t *ids, int cap)
{
	int n = (int)json_array_size(a);
	assert_true(n <= cap);
	for (int i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(a, (size_t)i));
	return n;
}

/* 1 when the ids of the text are others. */
static inline int bad_encode(const struct tok *t, const json_t *text, unsigned flags, const json_t *want)
{
	enum { CAP = 4096 };
	static int32_t w[CAP], got[CAP];
	struct lm_err e = { 0 };
	int n_want = gold_ids(want, w, CAP);
	int n = tok_encode(t, json_string_value(text), json_string_length(text), flags, got, CAP, &e);
	if (n == n_want && !memcmp(w, got, (size_t)n * sizeof *w)) return 0;
	fprintf(stderr, "flags %u, \"%.100s\": %s\n", flags, json_string_value(text), n < 0 ? e.msg : "");
	show("wanted", w, n_want);
	show("got   ", got, n);
	return 1;
}

/* 1 when the text of the ids is another, whole or streamed. */
static inline int bad_decode(const struct tok *t, const json_t *ids, bool special, const json_t *want)
{
	enum { CAP = 4096 };
	static int32_t v[CAP];
	struct lm_buf whole = { 0 }, parts = { 0 };
	struct tok_stream s = { 0 };
	int n = gold_ids(ids, v, CAP), bad = 0;
	tok_decode(t, v, n, special, &whole);
	for (int i = 0; i < n; i++) tok_stream_push(t, &s, v[i], special, &parts);
	tok_stream_end(t, &s, &parts);
	struct lm_buf *b[] = { &whole, &parts };
	for (int i = 0; i < 2; i++) {
		size_t len = json_string_length(want);
		if (b[i]->n == len && !memcmp(lm_buf_cstr(b[i]), json_string_value(want), len)) continue;
		fprintf(stderr, "%s: wanted \"%s\", got \"%s\"\n", i ? "streamed" : "decoded", json_string_value(want), lm_buf_cstr(b[i]));
		show("of", v, n);
		bad = 1;
	}
	lm_buf_free(&whole);
	lm_buf_free(&parts);
	return bad;
}
