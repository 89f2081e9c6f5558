/* Every component type and option of tokenizer.json, and tokenizer.model, against the `tokenizers` and `sentencepiece`
 * packages: tests/fixtures/tok/parts.json, made and described by tools/tok_trained.py. */
#include "test.h"
#include "tokenizer/tok.h"
#include <jansson.h>
#include <unistd.h>

enum { MAX_SAID = 400, ALL = TOK_ADD_BOS | TOK_ADD_EOS | TOK_PARSE_SPECIAL };

struct gold {
	FILE *f;
	json_t *texts, *added_texts, *bases;
	char dir[32], path[64];
	int n, bad;
};

static json_t *next_line(struct gold *g)
{
	static char line[1 << 20];
	json_error_t e;
	if (!fgets(line, sizeof line, g->f)) return NULL;
	json_t *v = json_loads(line, JSON_ALLOW_NUL, &e);
	if (!v) fail_msg("tests/fixtures/tok/parts.json: %s: %s", e.text, line);
	return v;
}

static void gold_open(struct gold *g)
{
	*g = (struct gold){ .f = fopen("tests/fixtures/tok/parts.json", "rb"), .bases = json_object() };
	assert_non_null(g->f);
	json_t *first = next_line(g);
	g->texts = json_incref(json_object_get(first, "texts"));
	g->added_texts = json_incref(json_object_get(first, "added"));
	json_decref(first);
	assert_true(json_array_size(g->texts) > 100 && json_array_size(g->added_texts) > 50);
	strcpy(g->dir, "/tmp/lmrun-test-XXXXXX");
	assert_non_null(mkdtemp(g->dir));
}

static void gold_close(struct gold *g)
{
	rmdir(g->dir);
	fclose(g->f);
	json_decref(g->texts);
	json_decref(g->added_texts);
	json_decref(g->bases);
}

/* The first few differences are shown; all are counted. */
static void differ(struct gold *g, const char *name, const char *what, const json_t *in, const json_t *want, const json_t *got)
{
	if (g->bad++ >= MAX_SAID) return;
	char *i = json_dumps(in, JSON_ENCODE_ANY | JSON_COMPACT), *w = json_dumps(want, JSON_ENCODE_ANY | JSON_COMPACT);
	char *o = json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT);
	fprintf(stderr, "%s, %s of %.200s\n  wanted %.300s\n  got    %.300s\n", name, what, i, w, o);
	free(i);
	free(w);
	free(o);
}

static void check_ids(struct gold *g, const struct tok *t, const char *name, const char *what, const json_t *text, unsigned flags,
		      const json_t *want)
{
	int32_t ids[1024];
	struct lm_err e = { 0 };
	int n = tok_encode(t, json_string_value(text), json_string_length(text), flags, ids, 1024, &e);
	json_t *got = n < 0 ? json_string(e.msg) : json_array();
	for (int i = 0; i < n && i < 1024; i++) json_array_append_new(got, json_integer(ids[i]));
	if (!json_equal(want, got)) differ(g, name, what, text, want, got);
	json_decref(got);
}

static void check_text(struct gold *g, const struct tok *t, const char *name, const json_t *list, const json_t *want)
{
	if (json_is_null(want)) return;            /* the reference panics */
	int32_t ids[1024];
	int n = (int)json_array_size(list);
	struct lm_buf b = { 0 };
	assert_true(n <= 1024);
	for (int i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
	tok_decode(t, ids, n, true, &b);
	json_t *got = json_stringn_nocheck(lm_buf_cstr(&b), b.n);
	if (!json_equal(want, got)) differ(g, name, "text", list, want, got);
	/* piece by piece it is the same text */
	struct lm_buf s = { 0 };
	struct tok_stream stream = { 0 };
	for (int i = 0; i < n; i++) tok_stream_push(t, &stream, ids[i], true, &s);
	tok_stream_end(t, &stream, &s);
	json_t *streamed = json_stringn_nocheck(lm_buf_cstr(&s), s.n);
	if (!json_equal(got, streamed)) differ(g, name, "streamed text", list, got, streamed);
	json_decref(got);
	json_decref(streamed);
	lm_buf_free(&b);
	lm_buf_free(&s);
}

/* What another key says of text k, or what `usual` does. */
static const json_t *special_case(const json_t *c, const char *key, size_t k, const json_t *usual)
{
	char at[24];
	snprintf(at, sizeof at, "%zu", k);
	const json_t *v = json_object_get(json_object_get(c, key), at);
	return v ? v : usual;
}

static int unbase64(const char *s, unsigned char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t v = 0;
	int bits = 0, n = 0;
	for (const char *d; *s && *s != '='; s++) {
		assert_non_null(d = strchr(digits, *s));
		v = v << 6 | (uint32_t)(d - digits);
		if ((bits += 6) >= 8) out[n++] = (unsigned char)(v >> (bits -= 8));
	}
	return n;
}

/* The case's own file in a folder of its own. */
static void write_case(struct gold *g, const json_t *c)
{
	const json_t *model = json_object_get(c, "model");
	snprintf(g->path, sizeof g->path, "%s/tokenizer.%s", g->dir, model ? "model" : "json");
	FILE *f = fopen(g->path, "wb");
	assert_non_null(f);
	if (model) {
		static unsigned char bytes[1 << 16];
		assert_true(json_string_length(model) < sizeof bytes);
		int n = unbase64(json_string_value(model), bytes);
		assert_int_equal(fwrite(bytes, 1, (size_t)n, f), n);
	} else {
		const json_t *base = json_object_get(g->bases, json_string_value(json_object_get(c, "base")));
		json_t *all = json_deep_copy(base ? base : json_object_get(c, "tokenizer"));
		assert_non_null(all);
		if (base) json_object_update(all, json_object_get(c, "set"));
		assert_int_equal(json_dumpf(all, f, JSON_COMPACT), 0);
		json_decref(all);
	}
	assert_int_equal(fclose(f), 0);
}

static void check_case(struct gold *g, const json_t *c)
{
	const char *name = json_string_value(json_object_get(c, "name"));
	bool model = json_object_get(c, "model") != NULL, added = !strncmp(name, "added_", 6);
	const json_t *texts = added ? g->added_texts : g->texts, *ids = json_object_get(c, "i");
	struct tok *t = NULL;
	struct lm_err e = { 0 };
	write_case(g, c);
	if (tok_open(&t, model ? g->dir : g->path, &e)) {
		fprintf(stderr, "%s: %s\n", name, e.msg);
		g->bad++;
	} else {
		assert_int_equal(json_array_size(ids), json_array_size(texts));
		for (size_t k = 0; k < json_array_size(ids); k++) {
			const json_t *text = json_array_get(texts, k), *i = json_array_get(ids, k), *b = special_case(c, "b", k, i);
			check_ids(g, t, name, "ids", text, model ? 0 : ALL, i);
			check_ids(g, t, name, "bare ids", text, model ? 0 : TOK_PARSE_SPECIAL, b);
			if (!model) check_ids(g, t, name, "plain ids", text, ALL & ~TOK_PARSE_SPECIAL, special_case(c, "p", k, i));
			if (json_object_get(c, "r")) check_text(g, t, name, b, special_case(c, "d", k, text));
		}
		const json_t *r = json_object_get(c, "r");
		for (size_t k = 0; k < json_array_size(r); k++)
			check_text(g, t, name, json_array_get(json_array_get(r, k), 0), json_array_get(json_array_get(r, k), 1));
		tok_free(t);
	}
	unlink(g->path);
}

/* Every case whose name begins so. */
static void check_all(const char *prefix, int expected)
{
	struct gold g;
	gold_open(&g);
	for (json_t *c; (c = next_line(&g)); json_decref(c)) {
		const char *base = json_string_value(json_object_get(c, "base")), *name = json_string_value(json_object_get(c, "name"));
		if (!name) json_object_set(g.bases, base, json_object_get(c, "tokenizer"));
		else if (!strncmp(name, prefix, strlen(prefix))) {
			int before = g.bad;
			check_case(&g, c);
			if (g.bad > before) fprintf(stderr, "%s: %d differences\n", name, g.bad - before);
			g.n++;
		}
	}
	gold_close(&g);
	assert_int_equal(g.n, expected);
	assert_int_equal(g.bad, 0);
}

LM_TEST(tok_parts_bpe) { check_all("bpe_", 14); }
LM_TEST(tok_parts_wordpiece) { check_all("wordpiece", 3); }
LM_TEST(tok_parts_wordlevel) { check_all("wordlevel", 2); }
LM_TEST(tok_parts_unigram) { check_all("unigram", 5); }
LM_TEST(tok_parts_norm) { check_all("norm_", 38); }
LM_TEST(tok_parts_pre) { check_all("pre_", 61); }
LM_TEST(tok_parts_post) { check_all("post_", 7); }
LM_TEST(tok_parts_added) { check_all("added_", 8); }
LM_TEST(tok_parts_dec) { check_all("dec_", 26); }
LM_TEST(tok_parts_sp) { check_all("sp_", 11); }
