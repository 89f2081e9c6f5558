/* test_decoder.c - decoders against the reference (tools/gold_norm.py), cut anywhere, and against hostile
 * specs. */
#include "test.h"
#include "tokenizer/decoder.h"

static struct decoder *make(const char *spec)
{
	struct decoder *d = NULL;
	struct lm_err err;
	json_t *j = spec ? json_loads(spec, 0, NULL) : NULL;
	assert_ok(decoder_new(&d, j, &err), err);
	json_decref(j);
	return d;
}

static void push(const struct decoder *d, struct decoder_state *s, const char *text, struct lm_buf *out)
{
	decoder_push(d, s, 0, text, strlen(text), false, out);
}

/* Tokens, ended by NULL, to their text. */
static void is(const char *spec, const char *const *tokens, const char *want)
{
	struct decoder *d = make(spec);
	struct decoder_state s = { 0 };
	struct lm_buf out = { 0 };
	for (; *tokens; tokens++) push(d, &s, *tokens, &out);
	decoder_end(d, &s, &out);
	assert_string_equal(lm_buf_cstr(&out), want);
	lm_buf_free(&out);
	decoder_free(d);
}
#define IS(spec, want, ...) is(spec, (const char *const[]){ __VA_ARGS__, NULL }, want)

#define REPLACE  "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"}"
#define SEQ(...) "{\"type\":\"Sequence\",\"decoders\":[" __VA_ARGS__ "]}"
#define BYTES    "{\"type\":\"ByteFallback\"}"
#define FUSE     "{\"type\":\"Fuse\"}"
#define STRIP    "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}"
#define LETTERS  "{\"type\":\"ByteLevel\"}"
#define LLAMA    SEQ(REPLACE "," BYTES "," FUSE "," STRIP)
#define BAD      "\xEF\xBF\xBD"

LM_TEST(decoder_equals_the_reference)
{
	json_t *gold = json_load_file("tests/fixtures/tok/decoder.json", JSON_ALLOW_NUL, NULL), *c, *ids, *id;
	assert_non_null(gold);
	json_t *vocab = json_object_get(gold, "vocab");
	size_t i, k, j, compared = 0;
	json_array_foreach(json_object_get(gold, "cases"), i, c)
	{
		struct decoder *d;
		struct lm_err err;
		assert_ok(decoder_new(&d, json_object_get(c, "spec"), &err), err);
		json_array_foreach(json_object_get(c, "in"), k, ids)
		{
			json_t *want = json_array_get(json_object_get(c, "out"), k);
			if (json_is_null(want)) continue;
			struct decoder_state s = { 0 };
			struct lm_buf out = { 0 };
			size_t shown = 0;
			json_array_foreach(ids, j, id)
			{
				json_t *t = json_array_get(vocab, (size_t)json_integer_value(id));
				struct decoder_state copy = s; /* plain data: a copy goes on as well */
				s = copy;
				decoder_push(d, &s, (int32_t)json_integer_value(id), json_string_value(t),
					     json_string_length(t), false, &out);
				assert_true(out.n >= shown); /* what is given stays */
				assert_true(out.n == shown ||
					    memcmp(out.p, json_string_value(want), out.n) == 0);
				shown = out.n;
			}
			decoder_end(d, &s, &out);
			assert_false(out.bad);
			if (out.n != json_string_length(want) ||
			    (out.n && memcmp(out.p, json_string_value(want), out.n) != 0))
				fail_msg("%s, list %zu: \"%s\", not \"%s\"",
					 json_dumps(json_object_get(c, "spec"), JSON_ENCODE_ANY), k,
					 lm_buf_cstr(&out), json_string_value(want));
			lm_buf_free(&out);
			compared++;
		}
		decoder_free(d);
	}
	assert_true(compared > 1000);
	json_decref(gold);
}

LM_TEST(decoder_holds_back_what_is_not_certain)
{
	struct decoder *d = make(LETTERS);
	struct decoder_state s = { 0 };
	struct lm_buf out = { 0 };
	push(d, &s, "\xC3\xA6\xC4\xB9", &out); /* letters of E6 97 */
	assert_int_equal(out.n, 0);
	push(d, &s, "\xC2\xA5", &out); /* of A5 */
	assert_string_equal(lm_buf_cstr(&out), "\xE6\x97\xA5");
	push(d, &s, "\xC3\xA6", &out);
	decoder_end(d, &s, &out);
	assert_string_equal(lm_buf_cstr(&out), "\xE6\x97\xA5" BAD);
	decoder_free(d);
	lm_buf_free(&out);
	IS(LETTERS, BAD "a", "\xC3\xA6\xC4\xB9", "a");
}

LM_TEST(decoder_byte_runs)
{
	IS(LLAMA, "\xE4\xB8\xAD a", "<0xE4>", "<0xB8>", "<0xAD>",
	   "\xE2\x96\x81"
	   "a");
	IS(LLAMA, BAD BAD BAD "b", "<0xE4>", "<0xB8>", "<0x61>", "b");
	IS(LLAMA, "a" BAD BAD,
	   "\xE2\x96\x81"
	   "a",
	   "<0x61>", "<0xFF>");
	/* a run longer than what is held: its beginning stays, as the header says */
	struct decoder *d = make(LLAMA);
	struct decoder_state s = { 0 };
	struct lm_buf out = { 0 };
	for (int i = 0; i < DECODER_HELD; i++) push(d, &s, "<0x61>", &out);
	size_t given = out.n;
	assert_true(given > 0);
	push(d, &s, "<0xFF>", &out);
	decoder_end(d, &s, &out);
	assert_int_equal(out.n, given + 3 * (DECODER_HELD + 1 - given));
	lm_buf_free(&out);
	decoder_free(d);
}

LM_TEST(decoder_goes_on_from_a_text)
{
	struct decoder *d = make(LLAMA);
	struct decoder_state s = { .started = true };
	struct lm_buf out = { 0 };
	push(d, &s,
	     "\xE2\x96\x81"
	     "a",
	     &out);
	decoder_end(d, &s, &out);
	assert_string_equal(lm_buf_cstr(&out), " a");
	out.n = 0;
	decoder_free(d);
	d = make("{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}");
	s = (struct decoder_state){ .started = true };
	push(d, &s, "a", &out);
	push(d, &s, ".", &out);
	push(d, &s, "##b", &out);
	assert_string_equal(lm_buf_cstr(&out), " a.b");
	lm_buf_free(&out);
	decoder_free(d);
}

LM_TEST(decoder_bytes_of_one_token)
{
	static const struct {
		const char *spec, *token, *want;
	} t[] = {
		{ LETTERS, "\xC3\xA6\xC4\xB9", "\xE6\x97" },
		{ LETTERS,
		  "\xC4\xA0"
		  "a",
		  " a" },
		{ LLAMA, "<0xFF>", "\xFF" },
		{ LLAMA,
		  "\xE2\x96\x81"
		  "a",
		  " a" },
		{ "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}", "##a", "a" },
		{ "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", "a</w>", "a " },
		{ "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\"}",
		  "\xE2\x96\x81"
		  "a",
		  " a" },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct decoder *d = make(t[i].spec);
		struct lm_buf out = { 0 };
		decoder_bytes(d, t[i].token, strlen(t[i].token), false, &out);
		assert_string_equal(lm_buf_cstr(&out), t[i].want);
		lm_buf_free(&out);
		decoder_free(d);
	}
}

LM_TEST(decoder_refuses_bad_specs)
{
	static const char *const bad[] = {
		"[]",
		"{}",
		"{\"type\":\"Nope\"}",
		"{\"type\":\"Sequence\"}",
		SEQ("null"),
		SEQ(FUSE "," LETTERS),
		SEQ(LETTERS "," BYTES),
		SEQ(BYTES "," BYTES),
		SEQ(FUSE ",{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a+\"},\"content\":\"\"}"),
		"{\"type\":\"Strip\",\"content\":\"ab\",\"start\":1,\"stop\":0}",
		"{\"type\":\"Strip\",\"content\":\"\",\"start\":1,\"stop\":0}",
		"{\"type\":\"Strip\",\"content\":\"a\",\"start\":-1,\"stop\":0}",
		"{\"type\":\"Strip\",\"content\":\"a\",\"start\":1}",
		"{\"type\":\"WordPiece\",\"prefix\":\"##\"}",
		"{\"type\":\"WordPiece\",\"prefix\":3,\"cleanup\":true}",
		"{\"type\":\"BPEDecoder\"}",
		"{\"type\":\"CTC\",\"pad_token\":\"a\"}",
		"{\"type\":\"Metaspace\"}",
		"{\"type\":\"Metaspace\",\"replacement\":\"a\",\"prepend_scheme\":\"often\"}",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct decoder *d = NULL;
		struct lm_err err = { 0 };
		json_t *j = json_loads(bad[i], 0, NULL);
		assert_non_null(j);
		int rc = decoder_new(&d, j, &err);
		if (rc == 0) fail_msg("accepted: %s", bad[i]);
		assert_null(d);
		assert_true(strlen(err.msg) > 10);
		json_decref(j);
	}
}
