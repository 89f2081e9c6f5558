/* Any bytes as a model's answer: however they are cut, the same parts come out.  The first byte picks the format, the
 * second says what is asked for (1 tools, 2 reasoning, 4 the prompt thinks), the third how to cut. */
#include "base/json.h"
#include "tokenizer/answer_impl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char fuzz_tools[] =
	"[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{"
	"\"s\":{\"type\":\"string\"},\"i\":{\"type\":\"integer\"},\"o\":{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\","
	"\"items\":{\"type\":\"string\"}}}},\"n\":{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"number\"}]}}}}},{\"name\":\"g\"}]";

struct seen { struct lm_buf text[2], calls; int last; };

static void promise(bool ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "fuzz_answer: %s\n", what);
	abort();
}

static int seen_part(void *ud, enum answer_part p, int index, const char *id, const char *s, size_t n)
{
	struct seen *g = ud;
	if (p == ANSWER_CONTENT || p == ANSWER_REASONING) {
		promise(n > 0, "an empty part");
		lm_buf_add(&g->text[p == ANSWER_REASONING], s, n);
		return 0;
	}
	if (p == ANSWER_CALL) {
		promise(index == g->last + 1 && n > 0, "calls out of order or without a name");
		g->last = index;
		lm_buf_fmt(&g->calls, "\n%s|", id);
	}
	promise(index == g->last, "arguments of another call");
	lm_buf_add(&g->calls, s, n);
	if (p == ANSWER_CALL) lm_buf_char(&g->calls, '|');
	return 0;
}

/* cut: 0 for one push, else a seed. */
static struct seen seen_parse(const struct answer_format *f, const json_t *tools, unsigned what, const char *s, size_t n, unsigned cut)
{
	struct seen g = { .last = -1 };
	struct answer_out out = { seen_part, &g };
	struct answer *a;
	promise(!answer_new(&a, f, tools, what & 2, what & 4, NULL), "no memory");
	for (size_t i = 0, k; i < n; i += k) {
		if (cut) cut = cut * 1103515245u + 12345u;
		k = !cut ? n : cut % 2 ? 1 : 1 + (cut >> 16) % 40;
		if (k > n - i) k = n - i;
		uint8_t *exact = malloc(k);                     /* no slack: a sanitizer sees one byte too far */
		promise(exact, "no memory");
		memcpy(exact, s + i, k);
		promise(!answer_push(a, (const char *)exact, k, &out, NULL), "an error");
		free(exact);
	}
	promise(!answer_end(a, &out, NULL), "an error at the end");
	answer_free(a);
	return g;
}

static bool seen_alike(const struct lm_buf *a, const struct lm_buf *b)
{
	return a->n == b->n && (!a->n || memcmp(a->p, b->p, a->n) == 0);
}

static void seen_free(struct seen *g)
{
	lm_buf_free(&g->text[0]);
	lm_buf_free(&g->text[1]);
	lm_buf_free(&g->calls);
}

static bool seen_drops(const struct answer_format *f)
{
	for (const struct rule *r = f->rules; r->head; r++)
		if (r->act == DO_DROP && !(r->flags & REASON)) return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3 || size > 1 << 16) return 0;
	int n_formats = 0;
	while (answer_at(n_formats, NULL)) n_formats++;
	const struct answer_format *f = answer_at(data[0] % n_formats, NULL);
	json_t *tools = data[1] & 1 ? lm_json_parse(fuzz_tools, sizeof fuzz_tools - 1, NULL) : NULL;
	const char *s = (const char *)data + 3;
	size_t n = size - 3;
	struct seen whole = seen_parse(f, tools, data[1], s, n, 0), got;
	for (unsigned i = 0; i < 2; i++) {
		got = seen_parse(f, tools, data[1], s, n, 1 + data[2] + i * 77u);
		promise(seen_alike(&whole.text[0], &got.text[0]) && seen_alike(&whole.text[1], &got.text[1]) && seen_alike(&whole.calls, &got.calls),
		     "a stream differs from the whole");
		seen_free(&got);
	}
	if (!(data[1] & 3) && !seen_drops(f))
		promise(whole.text[0].n == n && (!n || memcmp(whole.text[0].p, s, n) == 0), "plain text is changed");
	json_t *m = answer_message(f, tools, data[1] & 4, s, n, NULL), *v = lm_json_parse(s, n, NULL);
	promise(m, "no message");
	/* jansson takes a NUL for the end */
	promise(!v || memchr(s, 0, n) || answer_json_ok(s, n), "JSON that is refused");
	json_decref(v);
	json_decref(m);
	json_decref(tools);
	seen_free(&whole);
	return 0;
}
