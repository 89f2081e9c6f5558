/* test_split.c - every pre_tokenizer type, option and family against the reference (tools/gold_split.py). */
#include "gold.h"
#include "tokenizer/split.h"
#include <time.h>

struct words {
	uint32_t hash;
	int n;
};

static int word(void *ud, const char *s, size_t n)
{
	struct words *w = ud;
	assert_true(n > 0);
	if (w->n++) w->hash = gold_hash(w->hash, "\xff", 1);
	w->hash = gold_hash(w->hash, s, n);
	return 0;
}

struct gold {
	json_t *texts;
	struct split_work *work;
	json_t *families;
	int specs, bad;
};

static void compare(const json_t *row, const struct split *sp, struct gold *g, const char *name)
{
	struct lm_err err;
	size_t i;
	json_t *t;
	json_array_foreach(g->texts, i, t)
	{
		struct words w = { (uint32_t)GOLD_BEGIN, 0 };
		assert_ok(split_run(sp, g->work, json_string_value(t), json_string_length(t), true, word, &w,
				    &err),
			  err);
		if ((w.hash & 0xFFFFF) != gold_nth(row, i))
			fail_msg("%s: other words for text %zu: %s", name, i, json_string_value(t));
	}
}

static void check_row(const json_t *row, void *ud)
{
	struct gold *g = ud;
	struct split *sp = NULL;
	struct lm_err err = { 0 };
	const json_t *spec = json_object_get(row, "s");
	const char *family = json_string_value(json_object_get(row, "f"));
	json_t *own = NULL;
	if (family) {
		const struct family *f = family_find(family, strlen(family));
		if (!f) fail_msg("%s: no such family", family);
		own = f->pre_tokenizer ? json_loads(f->pre_tokenizer, 0, NULL) : json_null();
		assert_non_null(own);
		spec = own;
		const char *as = json_string_value(json_object_get(row, "as"));
		if (as)
			row = json_object_get(g->families, as);
		else
			json_object_set(g->families, family, (json_t *)row);
		assert_non_null(row);
	}
	char *name = family ? lm_strdup(family) : json_dumps(spec, JSON_ENCODE_ANY);
	int rc = split_new(&sp, spec, &err);
	if (json_object_get(row, "bad")) {
		if (!rc) fail_msg("%s: accepted", name);
		assert_true(rc == LM_EFORMAT || rc == LM_EUNSUPPORTED);
		assert_true(strlen(err.msg) > 10);
		g->bad++;
	} else {
		if (rc) fail_msg("%s: %s", name, err.msg);
		compare(row, sp, g, name);
		split_free(sp);
		g->specs++;
	}
	if (family)
		lm_free(name);
	else
		free(name);
	json_decref(own);
}

LM_TEST(split_words_are_the_references)
{
	struct gold g = { .texts = gold_texts(), .work = split_work_new(), .families = json_object() };
	assert_non_null(g.work);
	assert_true(json_array_size(g.texts) > 190);
	gold_lines(GOLD "split.jsonl", check_row, &g);
	assert_true(g.specs > 200);
	assert_true(g.bad > 25);
	split_work_free(g.work);
	json_decref(g.texts);
	json_decref(g.families);
}

/* Every name that llama.cpp knows is a row, and every row has JSON that can be run. */
LM_TEST(split_families_are_complete)
{
	struct lm_err err;
	struct lm_buf b = { 0 };
	int n = 0;
	assert_ok(lm_read_file(&b, GOLD "families.txt", 1 << 16, &err), err);
	for (char *p = b.p, *end; p < b.p + b.n; p = end + 1, n++) {
		end = memchr(p, '\n', (size_t)(b.p + b.n - p));
		assert_non_null(end);
		if (!family_find(p, (size_t)(end - p))) fail_msg("%.*s: no such family", (int)(end - p), p);
	}
	assert_true(n > 85);
	lm_buf_free(&b);
	const struct family *f;
	for (int i = 0; (f = family_at(i)); i++) {
		json_t *spec = f->pre_tokenizer ? json_loads(f->pre_tokenizer, 0, NULL) : NULL;
		json_t *norm = f->normalizer ? json_loads(f->normalizer, 0, NULL) : NULL;
		struct split *sp;
		assert_true(!f->pre_tokenizer == !spec && !f->normalizer == !norm);
		assert_ok(split_new(&sp, spec, &err), err);
		split_free(sp);
		json_decref(spec);
		json_decref(norm);
	}
	assert_null(family_find("gpt", 3));
	assert_null(family_find("", 0));
	assert_null(family_find("gpt-2 phi-2", 11));
	assert_null(family_find("gpt-2\0", 6));
}

static struct split *made(const char *json)
{
	struct lm_err err;
	struct split *sp;
	json_t *spec = json_loads(json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	assert_non_null(spec);
	assert_ok(split_new(&sp, spec, &err), err);
	json_decref(spec);
	return sp;
}

static int append(void *ud, const char *s, size_t n)
{
	lm_buf_add(ud, s, n);
	lm_buf_char(ud, '|');
	return 0;
}

static void gives(const char *json, const char *text, bool first, const char *want)
{
	struct lm_err err;
	struct lm_buf b = { 0 };
	struct split *sp = made(json);
	struct split_work *w = split_work_new();
	assert_ok(split_run(sp, w, text, strlen(text), first, append, &b, &err), err);
	assert_string_equal(lm_buf_cstr(&b), want);
	lm_buf_free(&b);
	split_work_free(w);
	split_free(sp);
}

#define META "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\"}"
LM_TEST(split_first_is_the_texts_beginning_only)
{
	gives(META, "a b", true, "_a|_b|");
	gives(META, "a b", false, "a|_b|");
	gives("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"}," META "]}", "a b",
	      true, "_a|b|");
	gives("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"}," META "]}", " a b",
	      true, "a|b|");
	gives("null", "a b", true, "a b|");
	gives("null", "", true, "");
}

LM_TEST(split_bytes_or_letters)
{
	struct split *sp = made("{\"type\":\"ByteLevel\",\"add_prefix_space\":false}");
	assert_true(split_gives_bytes(sp));
	split_free(sp);
	sp = made("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\",\"add_prefix_space\":"
		  "false},"
		  "{\"type\":\"Digits\",\"individual_digits\":true}]}");
	assert_false(split_gives_bytes(sp));
	split_free(sp);
	gives("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\",\"add_prefix_space\":true},"
	      "{\"type\":\"Digits\",\"individual_digits\":true}]}",
	      "\xc2\xb2 x\n", true, "\xc4\xa0\xc3\x82|\xc2\xb2|\xc4\xa0x|\xc4\x8a|");
}

static int stop_at_two(void *ud, const char *s, size_t n)
{
	(void)s, (void)n;
	return ++*(int *)ud == 2 ? 77 : 0;
}

LM_TEST(split_ends_when_told)
{
	static const char *const specs[] = {
		"{\"type\":\"ByteLevel\",\"add_prefix_space\":true}",
		"{\"type\":\"UnicodeScripts\"}",
		"{\"type\":\"FixedLength\",\"length\":1}",
		META,
		"{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}",
	};
	for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
		int n = 0;
		struct lm_err err;
		struct split *sp = made(specs[i]);
		struct split_work *w = split_work_new();
		assert_int_equal(split_run(sp, w, "aб a. cб .!d", 14, true, stop_at_two, &n, &err), 77);
		assert_int_equal(n, 2);
		split_work_free(w);
		split_free(sp);
	}
}

/* Nesting, number of steps and the like end in a sentence. */
LM_TEST(split_limits)
{
	struct lm_err err;
	struct split *sp;
	json_t *spec = json_loads(META, 0, NULL);
	for (int i = 0; i < 40; i++)
		spec = json_pack("{s:s,s:[o]}", "type", "Sequence", "pretokenizers", spec);
	assert_int_equal(split_new(&sp, spec, &err), LM_ELIMIT);
	json_decref(spec);
	json_t *list = json_array();
	for (int i = 0; i < 33; i++)
		json_array_append_new(list, json_pack("{s:s}", "type", "WhitespaceSplit"));
	spec = json_pack("{s:s,s:o}", "type", "Sequence", "pretokenizers", list);
	assert_int_equal(split_new(&sp, spec, &err), LM_ELIMIT);
	json_decref(spec);
	list = json_array();
	for (int i = 0; i < 20; i++) json_array_append_new(list, json_loads(META, 0, NULL));
	spec = json_pack("{s:s,s:o}", "type", "Sequence", "pretokenizers", list);
	assert_int_equal(split_new(&sp, spec, &err), LM_ELIMIT);
	json_decref(spec);
}

/* ---- a long run of white space that is cut into parts (jais-2) -------------------------------------------- */
static int add_end(void *ud, const char *s, size_t n)
{
	struct lm_buf *b = ud;
	lm_buf_add(b, &(const char *){ s + n }, sizeof s);
	return 0;
}

static void ends_of(const char *pre, const char *s, size_t n, struct lm_buf *ends)
{
	struct lm_err err = { 0 };
	struct split *sp;
	json_t *spec = json_loads(pre, 0, NULL);
	struct split_work *w = split_work_new();
	ends->n = 0;
	assert_ok(split_new(&sp, spec, &err), err);
	assert_ok(split_run(sp, w, s, n, true, add_end, ends, &err), err);
	split_work_free(w);
	split_free(sp);
	json_decref(spec);
}

/* The question whether a newline comes changes nothing: the same pattern in a form that does not get it. */
LM_TEST(split_newline_question)
{
	const char *pre = family_find("jais-2", 6)->pre_tokenizer, *at = strstr(pre, "|\\\\s*[\\\\r\\\\n]+|");
	char plain[2048], text[1500];
	struct lm_buf a = { 0 }, b = { 0 };
	uint32_t seed = 1;
	snprintf(plain, sizeof plain, "%.*s|(?:%.*s)%s", (int)(at - pre), pre, 13, at + 1, at + 14);
	for (int i = 0; i < 2000; i++) {
		size_t n = (seed >> 8) % sizeof text;
		for (size_t k = 0; k < n; k++) {
			seed = seed * 1664525 + 1013904223;
			text[k] = (seed >> 10) % 300 ? " \t  "[seed >> 28 & 3] : "\n\ra!"[seed >> 28 & 3];
		}
		seed = seed * 1664525 + 1013904223;
		ends_of(pre, text, n, &a);
		ends_of(plain, text, n, &b);
		assert_int_equal(a.n, b.n);
		assert_memory_equal(a.p ? a.p : "", b.p ? b.p : "", a.n);
	}
	lm_buf_free(&a);
	lm_buf_free(&b);
}

LM_TEST(split_spaces_in_parts_are_linear)
{
	enum { SHORT = 500000, LONG = 8 * SHORT };
	const char *pre = family_find("jais-2", 6)->pre_tokenizer;
	char *s = malloc(LONG);
	struct lm_buf b = { 0 };
	clock_t t[2];
	memset(s, ' ', LONG);
	for (int i = 0; i < 2; i++) {
		t[i] = clock();
		ends_of(pre, s, i ? LONG : SHORT, &b);
		t[i] = clock() - t[i];
	}
	if (t[1] > 30 * t[0] + CLOCKS_PER_SEC / 10) /* quadratic: 64 */
		fail_msg("%g s, but %g s for an eighth of it", (double)t[1] / CLOCKS_PER_SEC, (double)t[0] / CLOCKS_PER_SEC);
	lm_buf_free(&b);
	free(s);
}
