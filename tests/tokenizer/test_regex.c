/* test_regex.c - patterns, and classes over all of Unicode, against the reference (tools/gold_split.py). */
#include "gold.h"
#include "tokenizer/regex_impl.h"
#include "tokenizer/split.h"

/* ---- patterns -------------------------------------------------------------------------------------------
 */

struct bounds {
	uint32_t hash;
	const char *text;
};

static int add_bounds(void *ud, const char *s, size_t n)
{
	struct bounds *b = ud;
	uint32_t v[2] = { 0, 0 };
	for (const char *p = b->text; p < s; p++) v[0] += (*p & 0xC0) != 0x80;
	v[1] = v[0];
	for (size_t i = 0; i < n; i++) v[1] += (s[i] & 0xC0) != 0x80;
	b->hash = gold_hash(b->hash, v, sizeof v);
	return 0;
}

struct counts {
	json_t *texts;
	int good, bad, lacking;
};

static void check_pattern(const json_t *row, void *ud)
{
	struct counts *c = ud;
	struct lm_err err = { 0 };
	struct split *match = NULL, *cut = NULL;
	const char *p = json_string_value(json_object_get(row, "p"));
	for (int i = 0; i < 2; i++) {
		json_t *spec = json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "Regex", p,
					 "behavior", i ? "Isolated" : "Removed", "invert", !i);
		int rc = split_new(i ? &cut : &match, spec, &err);
		json_decref(spec);
		if (json_object_get(row, "bad")) {
			if (!rc) fail_msg("%s: accepted", p);
			assert_true(rc == LM_EFORMAT || rc == LM_EUNSUPPORTED || rc == LM_ELIMIT);
			c->bad++;
			return;
		}
		if (rc) fail_msg("%s: %s", p, err.msg);
	}
	struct split_work *w = split_work_new();
	size_t i;
	json_t *t;
	json_array_foreach(c->texts, i, t)
	{
		struct bounds b = { (uint32_t)GOLD_BEGIN, json_string_value(t) };
		assert_ok(split_run(match, w, b.text, json_string_length(t), true, add_bounds, &b, &err),
			  err);
		assert_ok(split_run(cut, w, b.text, json_string_length(t), true, add_bounds, &b, &err), err);
		if ((b.hash & 0xFFFFF) != gold_nth(row, i))
			fail_msg("%s: other matches in text %zu: %s", p, i, b.text);
	}
	split_work_free(w);
	split_free(match);
	split_free(cut);
	c->good++;
}

LM_TEST(regex_matches_are_the_references)
{
	struct counts c = { .texts = gold_texts() };
	gold_lines(GOLD "regex.jsonl", check_pattern, &c);
	assert_true(c.good > 110);
	assert_true(c.bad > 20);
	json_decref(c.texts);
}

/* ---- classes --------------------------------------------------------------------------------------------
 */

static bool member[0x110000];

static void find_members(const struct regex *r)
{
	enum { BLOCK = 4096 };
	struct regex_work w = { 0 };
	struct lm_err err;
	static char text[4 * BLOCK];
	memset(member, 0, sizeof member);
	for (uint32_t first = 0; first < 0x110000; first += BLOCK) {
		size_t n = 0, chars = 0, b, e;
		static uint32_t cp[BLOCK];
		for (uint32_t c = first; c < first + BLOCK; c++)
			if (c < 0xD800 || c >= 0xE000) cp[chars++] = c, n += (size_t)lm_utf8_put(text + n, c);
		assert_int_equal(regex_read(r, &w, text, n, &err), (int64_t)chars);
		for (size_t at = 0; at < chars && regex_find(r, &w, 0, 0, chars, at, &b, &e, &err) == 1;
		     at = e) {
			assert_true(e > b);
			for (size_t i = b; i < e; i++) member[cp[i]] = true;
		}
	}
	regex_work_free(&w);
}

static void check_class(const json_t *row, void *ud)
{
	const char *p = json_string_value(json_object_get(row, "p")),
		   *own = json_string_value(json_object_get(row, "own"));
	const char *script = json_string_value(json_object_get(row, "script"));
	char text[64];
	if (own) p = text, snprintf(text, sizeof text, "\\p{%s}", own);
	if (p) {
		struct regex_pattern pat = { p, strlen(p), false, own != NULL };
		struct lm_err err;
		struct regex *r;
		assert_ok(regex_new(&r, &pat, 1, &err), err);
		find_members(r);
		regex_free(r);
	} else {
		uint32_t base;
		lm_utf8_next(script, strlen(script), &base);
		for (uint32_t c = 0; c < 0x110000; c++)
			member[c] = !uni_script(c) || uni_script(c) == uni_script(base);
	}
	uint32_t h = (uint32_t)GOLD_BEGIN, n = 0;
	bool in = false, ascii_too = !own || strcmp(own, "=punct");
	if (own && !strcmp(own, "=word"))
		for (uint32_t c = 0; c < 0x110000; c++)
			assert_true(uni_is_word(c) == member[c] || (c >= 0xD800 && c < 0xE000));
	if (p && !strcmp(p, "\\s"))
		for (uint32_t c = 0; c < 0x110000; c++) assert_true(uni_is_space(c) == member[c]);
	/* the fixture's bounds leave the surrogates out, and so a run ends there */
	for (uint32_t c = 0; c <= 0x110000; c++) {
		bool now =
			c < 0x110000 && member[c] && (c < 0xD800 || c >= 0xE000) && (ascii_too || c >= 0x80);
		n += now;
		if (now != in) h = gold_hash(h, &c, 4);
		in = now;
	}
	if (n != json_integer_value(json_object_get(row, "n")) ||
	    h != json_integer_value(json_object_get(row, "h")))
		fail_msg("%s: %u characters, other than in the reference", p ? p : script, n);
	++*(int *)ud;
}

LM_TEST(regex_classes_over_all_characters)
{
	int n = 0;
	gold_lines(GOLD "class.jsonl", check_class, &n);
	assert_true(n > 130);
}

/* ---- limits and errors ------------------------------------------------------------------------------------
 */

static int compiled(const char *p, size_t n, struct lm_err *err)
{
	struct regex_pattern pat = { p, n, false, false };
	struct regex *r;
	int rc = regex_new(&r, &pat, 1, err);
	if (!rc) regex_free(r);
	return rc;
}

LM_TEST(regex_says_what_it_lacks)
{
	static const struct {
		const char *p;
		int rc;
		const char *word;
	} cases[] = {
		{ "(a)\\1", LM_EUNSUPPORTED, "references" },
		{ "(?<n>a)\\k<n>", LM_EUNSUPPORTED, "references" },
		{ "\\g<0>", LM_EUNSUPPORTED, "references" },
		{ "\\X", LM_EUNSUPPORTED, "text segments" },
		{ "(?~a)", LM_EUNSUPPORTED, "(?~" },
		{ "(?(1)a|b)", LM_EUNSUPPORTED, "(?(" },
		{ "(?W)a", LM_EUNSUPPORTED, "option" },
		{ "\\p{InBasicLatin}", LM_EUNSUPPORTED, "property" },
		{ "\\xe4", LM_EUNSUPPORTED, "7f" },
		{ "(?<=a+)x", LM_EUNSUPPORTED, "lookbehind" },
		{ "a{70000}", LM_ELIMIT, "65535" },
		{ "ab[", LM_EFORMAT, "byte 3" },
		{ "\\p{=punct}", LM_EUNSUPPORTED, "property" },
		{ "\xff", LM_EFORMAT, "UTF-8" },
		{ "a\\", LM_EFORMAT, "escape" },
		{ "[a\\", LM_EFORMAT, "escape" },
		{ "(((((", LM_EFORMAT, "parenthesis" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct lm_err err = { 0 };
		int rc = compiled(cases[i].p, strlen(cases[i].p), &err);
		if (rc != cases[i].rc || !strstr(err.msg, cases[i].word))
			fail_msg("%s: %d: %s", cases[i].p, rc, err.msg);
	}
}

/* Patterns made to be slow or large end soon, with an error or without. */
LM_TEST(regex_hostile_patterns)
{
	static const char *const unit[] = { "(",
					    "[",
					    "[^",
					    "(?:",
					    "(?i:",
					    "\\w",
					    "[\\w\\d",
					    "(?i)[\\p{L}]",
					    "a{1000}",
					    "(a|",
					    "\\p{L}{500}",
					    "a?",
					    "[a&&",
					    "(?=",
					    "(?<=",
					    "\\b",
					    "(?i)",
					    "(?>",
					    "a**",
					    "[[:alpha:]",
					    "\xe4\xb8\xad[\xe4\xb8\xad-\xe4\xb8\xae]" };
	double t0 = cpu_seconds();
	for (size_t i = 0; i < sizeof unit / sizeof *unit; i++)
		for (size_t k = 10; k <= 100000; k *= 100) {
			struct lm_buf b = { 0 };
			struct lm_err err = { 0 };
			for (size_t j = 0; j < k; j++) lm_buf_str(&b, unit[i]);
			if (compiled(b.p, b.n, &err)) assert_true(err.msg[0]);
			lm_buf_free(&b);
		}
	assert_true(cpu_seconds() - t0 < 20);
}

/* More classes than there are symbols: 200 characters, each alone in a set. */
LM_TEST(regex_too_many_classes)
{
	struct lm_buf b = { 0 };
	struct lm_err err;
	for (uint32_t i = 0; i < 200; i++) {
		char c[4];
		lm_buf_add(&b, c, (size_t)lm_utf8_put(c, 0x4E00 + 2 * i));
		if (i == 126) assert_ok(compiled(b.p, b.n, &err), err);
	}
	assert_int_equal(compiled(b.p, b.n, &err), LM_EUNSUPPORTED);
	assert_non_null(strstr(err.msg, "128"));
	lm_buf_free(&b);
}

static int searched(const char *p, const char *unit, size_t n_text, double *seconds)
{
	struct regex_pattern pat = { p, strlen(p), false, false };
	struct lm_err err = { 0 };
	struct regex *r;
	struct regex_work w = { 0 };
	struct lm_buf b = { 0 };
	while (b.n < n_text) lm_buf_str(&b, unit);
	lm_buf_str(&b, "!");
	assert_ok(regex_new(&r, &pat, 1, &err), err);
	int64_t n = regex_read(r, &w, b.p, b.n, &err);
	assert_true(n > 0);
	double t0 = cpu_seconds();
	int rc = 1;
	for (size_t at = 0, begin, end; at < (size_t)n && rc == 1; at = end > at ? end : at + 1)
		rc = regex_find(r, &w, 0, 0, (size_t)n, at, &begin, &end, &err);
	*seconds = cpu_seconds() - t0;
	if (rc < 0) assert_true(err.msg[0]);
	regex_work_free(&w);
	regex_free(r);
	lm_buf_free(&b);
	return rc;
}

LM_TEST(regex_hostile_texts)
{
	double t;
	assert_int_equal(searched("(a+)+$", "a", 1000000, &t), LM_ELIMIT);
	assert_true(t < 10);
	assert_int_equal(searched("(?:a|a)*$", "a", 1000000, &t), LM_ELIMIT);
	assert_true(t < 10);
	assert_int_equal(searched("(?:a*)*b", "a", 1000000, &t), LM_ELIMIT);
	assert_true(t < 10);
	assert_int_equal(searched("(?:ab?)+[bc]", "a", 300000, &t), LM_ELIMIT);
	assert_true(t < 20);
	assert_int_equal(searched("\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", " ", 1000000, &t), 0);
	assert_true(t < 5);
}

/* Without a bound of our own these run for minutes: repeated characters are not counted by PCRE2's machine code. */
LM_TEST(regex_overlapping_repeats)
{
	static const char *const slow[] = { "a*a*a*a*b", ".*.*=.*", "a{0,1000}a{0,1000}a{0,1000}b", "(?=a*a*b)x?" };
	double t;
	for (size_t i = 0; i < sizeof slow / sizeof *slow; i++) {
		assert_int_equal(searched(slow[i], "a", 1000000, &t), LM_ELIMIT);
		assert_true(t < 10);
	}
}

static int slow_pattern(const char *s)
{
	struct uset_list sets = { .pool = { lm_arena_new(1 << 16), USET_POOL } };
	struct regex_pattern p = { .s = s, .n = strlen(s) };
	struct lm_err err = { 0 };
	struct lm_buf out = { 0 };
	int rc = regex_translate(&p, &sets, &out, &err);
	if (!rc) rc = regex_slow(out.p, out.n);
	lm_buf_free(&out);
	lm_arena_free(sets.pool.arena);
	return rc;
}

static int slow_in(const json_t *spec)
{
	const char *re = json_string_value(json_object_get(json_object_get(spec, "pattern"), "Regex"));
	const json_t *v;
	size_t i;
	int n = re ? slow_pattern(re) : 0;
	json_array_foreach(json_object_get(spec, "pretokenizers"), i, v) n += slow_in(v);
	return n;
}

/* Patterns that are watched while they run pay for it; those of real files must not be. */
LM_TEST(regex_real_patterns_are_linear)
{
	const struct family *f;
	for (int i = 0; (f = family_at(i)); i++) {
		json_t *spec = f->pre_tokenizer ? json_loads(f->pre_tokenizer, 0, NULL) : json_null();
		if (slow_in(spec)) fail_msg("a pattern of %s is taken for a slow one", f->names);
		json_decref(spec);
	}
	static const char *const slow[] = { "(a+)+b", "(a?){30}a{30}", "(?:ab?|a)*c", "\\w+\\s+\\w+", "(?!.*a.*b)x" };
	for (size_t i = 0; i < sizeof slow / sizeof *slow; i++) assert_int_equal(slow_pattern(slow[i]), 1);
}
