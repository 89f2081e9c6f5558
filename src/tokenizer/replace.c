/* replace.c - every match of a pattern becomes a text. */
#include "tokenizer/replace.h"
#include "tokenizer/regex.h"
#include <string.h>

enum { MAX_PUT = 4096 }; /* bytes: real files hold a few */

static char *copy(const char *s, size_t n)
{
	char *p = lm_malloc(n + 1);
	if (p && n) memcpy(p, s, n);
	return p;
}

int replace_literal(struct replace *r, const char *pat, size_t n_pat, const char *put, size_t n_put,
		    struct lm_err *err)
{
	if (n_put > MAX_PUT || n_pat > MAX_PUT)
		return lm_fail(err, LM_ELIMIT,
			       "Replace: a pattern or content of %zu bytes, at most %d are taken",
			       n_put > n_pat ? n_put : n_pat, MAX_PUT);
	*r = (struct replace){
		.pat = copy(pat, n_pat), .put = copy(put, n_put), .n_pat = n_pat, .n_put = n_put
	};
	if (r->pat && r->put) return 0;
	replace_free(r);
	return lm_fail(err, LM_ENOMEM, "out of memory for a replacement");
}

/* Regular expressions that are plain texts need no engine. */
static bool plain(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] == 0 || strchr("\\.+*?()|[]{}^$", s[i])) return false;
	return true;
}

int replace_new(struct replace *r, const struct spec_of *f, struct lm_err *err)
{
	const json_t *p = json_object_get(f->spec, "pattern"), *v = NULL;
	const char *put;
	size_t n_put, n;
	*r = (struct replace){ 0 };
	bool literal = true;
	if (json_object_size(p) == 1) {
		v = json_object_get(p, "String");
		if (!v) literal = !(v = json_object_get(p, "Regex"));
	}
	if (!json_is_string(v))
		return spec_wrong(f, "pattern", "an object with one \"String\" or \"Regex\"", err);
	int rc = spec_str(&put, &n_put, f, "content", err);
	n = json_string_length(v);
	if (rc == 0) rc = replace_literal(r, json_string_value(v), n, put, n_put, err);
	if (rc || literal || plain(r->pat, n)) return rc;
	struct regex_pattern one = { .s = r->pat, .n = n };
	rc = regex_new(&r->re, &one, 1, err);
	if (rc) replace_free(r);
	return rc;
}

void replace_free(struct replace *r)
{
	regex_free(r->re);
	lm_free(r->pat);
	lm_free(r->put);
	*r = (struct replace){ 0 };
}

static int too_large(size_t limit, struct lm_err *err)
{
	return lm_fail(err, LM_ELIMIT, "Replace makes a text of more than %zu bytes out of a short one",
		       limit);
}

static const char *find(const struct replace *r, const char *s, size_t n)
{
	return r->n_pat == 1 ? memchr(s, r->pat[0], n) : memmem(s, n, r->pat, r->n_pat);
}

static int literal(const struct replace *r, const char *s, size_t n, struct lm_buf *out, size_t limit,
		   struct lm_err *err)
{
	const char *end = s + n, *m = find(r, s, n);
	if (!m) return 0;
	for (; m; m = find(r, s, (size_t)(end - s))) {
		lm_buf_add(out, s, (size_t)(m - s));
		lm_buf_add(out, r->put, r->n_put);
		s = m + r->n_pat;
		if (out->n > limit) return too_large(limit, err);
	}
	lm_buf_add(out, s, (size_t)(end - s));
	return out->bad ? lm_fail(err, LM_ENOMEM, "out of memory for a text of %zu bytes", n) : 1;
}

/* The empty pattern matches between any two characters and at both ends. */
static int between(const struct replace *r, const char *s, size_t n, struct lm_buf *out, size_t limit,
		   struct lm_err *err)
{
	for (size_t i = 0; i < n; i++) {
		if (((unsigned char)s[i] & 0xC0) != 0x80) lm_buf_add(out, r->put, r->n_put);
		lm_buf_char(out, s[i]);
		if (out->n > limit) return too_large(limit, err);
	}
	lm_buf_add(out, r->put, r->n_put);
	return out->bad ? lm_fail(err, LM_ENOMEM, "out of memory for a text of %zu bytes", n) : 1;
}

/* Where character `to` begins, given that character `at` begins at byte i. */
static size_t walk(const char *s, size_t i, size_t at, size_t to)
{
	for (; at < to; at++) {
		unsigned char c = (unsigned char)s[i];
		i += c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
	}
	return i;
}

/* GOTCHA: an empty match right after the last match does not count; the search goes on one character later.
 */
static int pattern(const struct replace *r, struct regex_work *re, const char *s, size_t n,
		   struct lm_buf *out, size_t limit, struct lm_err *err)
{
	int64_t chars = regex_read(r->re, re, s, n, err);
	if (chars < 0) return (int)chars;
	size_t at = 0, done = 0, i = 0, last = SIZE_MAX, b, e; /* s[0..i), `done` characters, are in *out */
	int any = 0;
	while (at <= (size_t)chars) {
		int rc = regex_find(r->re, re, 0, 0, (size_t)chars, at, &b, &e, err);
		if (rc < 0) return rc;
		if (rc == 0) break;
		if (b == e && e == last) {
			at++;
			continue;
		}
		size_t to = walk(s, i, done, b);
		lm_buf_add(out, s + i, to - i);
		lm_buf_add(out, r->put, r->n_put);
		i = walk(s, to, b, e);
		at = last = done = e;
		any = 1;
		if (out->n > limit) return too_large(limit, err);
	}
	if (any) lm_buf_add(out, s + i, n - i);
	return out->bad ? lm_fail(err, LM_ENOMEM, "out of memory for a text of %zu bytes", n) : any;
}

int replace_run(const struct replace *r, struct regex_work *re, const char *s, size_t n, struct lm_buf *out,
		size_t limit, struct lm_err *err)
{
	if (n == 0) return 0;
	if (r->re) return pattern(r, re, s, n, out, limit, err);
	return r->n_pat ? literal(r, s, n, out, limit, err) : between(r, s, n, out, limit, err);
}
