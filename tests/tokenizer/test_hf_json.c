/* tokenizer.json: small tokenizers of every model type against the `tokenizers` library (tools/gold_hfjson.py), and a
 * sentence for everything that is wrong with a file. */
#include "base/json.h"
#include "test.h"
#include "tokenizer/tok_impl.h"

#ifndef HF_GOLD
#define HF_GOLD "tests/fixtures/tok/hf"
#endif

static json_t *ids_of(const struct tok *t, const json_t *text, unsigned flags)
{
	static int32_t ids[1 << 16];
	struct lm_err err = { 0 };
	json_t *v = json_array();
	int n = tok_encode(t, json_string_value(text), json_string_length(text), flags, ids, 1 << 16, &err);
	if (n < 0) fail_msg("%s", err.msg);
	for (int i = 0; i < n; i++) json_array_append_new(v, json_integer(ids[i]));
	return v;
}

static json_t *text_of(const struct tok *t, const json_t *list, bool special)
{
	int32_t ids[4096];
	struct lm_buf b = { 0 };
	size_t i;
	json_t *id;
	assert_true(json_array_size(list) <= 4096);
	json_array_foreach(list, i, id) ids[i] = (int32_t)json_integer_value(id);
	tok_decode(t, ids, (int)json_array_size(list), special, &b);
	json_t *v = json_stringn(lm_buf_cstr(&b), b.n);
	if (!v) v = json_sprintf("(%zu bytes that are not UTF-8)", b.n);
	lm_buf_free(&b);
	return v;
}

static void same(json_t *got, const json_t *want, const json_t *row, const char *what)
{
	if (!json_equal(got, want))
		fail_msg("%s of %s\ngot %s", what, json_dumps(row, JSON_ENSURE_ASCII), json_dumps(got, JSON_ENCODE_ANY | JSON_ENSURE_ASCII));
	json_decref(got);
}

/* Every row of NAME.gold: text, special parsing, post-processor, ids, decoded with and without control tokens. */
static void gold(const char *name)
{
	char path[512];
	struct tok *t;
	struct lm_err err;
	struct lm_buf b = { 0 };
	size_t i;
	json_t *row;
	snprintf(path, sizeof path, "%s/%s.json", HF_GOLD, name);
	assert_ok(hf_json_tok(&t, path, &err), err);
	snprintf(path, sizeof path, "%s/%s.gold", HF_GOLD, name);
	assert_ok(lm_read_file(&b, path, 1 << 30, &err), err);
	json_t *rows = lm_json_parse(b.p, b.n, &err);
	assert_true(json_array_size(rows) >= 60);
	json_array_foreach(rows, i, row) {
		unsigned flags = json_is_true(json_array_get(row, 1)) ? TOK_PARSE_SPECIAL : 0;
		if (json_is_true(json_array_get(row, 2))) flags |= TOK_ADD_BOS | TOK_ADD_EOS;
		same(ids_of(t, json_array_get(row, 0), flags), json_array_get(row, 3), row, "ids");
		same(text_of(t, json_array_get(row, 3), true), json_array_get(row, 4), row, "text");
		same(text_of(t, json_array_get(row, 3), false), json_array_get(row, 5), row, "text without control tokens");
	}
	json_decref(rows);
	lm_buf_free(&b);
	tok_free(t);
}

LM_TEST(hf_json_byte_level) { gold("byte_level"); }
LM_TEST(hf_json_spm_like) { gold("spm_like"); }
LM_TEST(hf_json_unigram) { gold("unigram"); }
LM_TEST(hf_json_word_piece) { gold("word_piece"); }
LM_TEST(hf_json_word_level) { gold("word_level"); }
LM_TEST(hf_json_suffix) { gold("suffix"); }
LM_TEST(hf_json_prefix) { gold("prefix"); }
LM_TEST(hf_json_holes) { gold("holes"); }

/* A document with M in place of the model, or only rest when that is given. */
#define WL   "{\"type\":\"WordLevel\",\"vocab\":{\"u\":0,\"a\":1},\"unk_token\":\"u\"}"
#define TOK  "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true"
#define POST(p) "{\"model\":" WL ",\"post_processor\":" p "}"
static const struct { const char *doc, *sentence; } bad[] = {
	{ "", "line 1, column 1: expected an object, found its end" },
	{ "[]", "line 1, column 1: expected an object, found '['" },
	{ "{}", "model is missing: the file holds no tokenizer" },
	{ "{\"model\":null}", "model: line 1, column 10: expected an object, found 'n'" },
	{ "{\"model\":{}}", "model has no type, and its fields are of none of BPE, WordPiece, WordLevel, Unigram" },
	{ "{\"model\":{\"type\":\"Foo\"}}", "model.type: expected BPE, WordPiece, WordLevel or Unigram, found \"Foo\"" },
	{ "{\"model\":{\"type\":7}}", "model: line 1, column 18: expected a string, found '7'" },
	{ "{\"model\":" WL "} x", "line 1, column 70: expected the end of the text, found 'x'" },
	{ "{\"model\":" WL ",\"model\":" WL "}", "model: line 1, column 77: this stands in the file a second time" },
	{ "{\"version\":\"2.0\",\"model\":" WL "}", "version: line 1, column 17: a version other than \"1.0\"" },
	{ "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", "model.merges is missing, which a model of type BPE needs" },
	{ "{\"model\":{\"type\":\"BPE\",\"merges\":[]}}", "model.vocab (an object) is missing, which a model of type BPE needs" },
	{ "{\"model\":{\"type\":\"BPE\",\"vocab\":[],\"merges\":[]}}", "model.vocab (an object) is missing, which a model of type BPE needs" },
	{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":{}}}", "model.vocab (a list of tokens and scores) is missing, which a model of type Unigram needs" },
	{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "model.vocab is empty, which a model of type Unigram cannot be" },
	{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":1}}", "model.unk_id is 1, but model.vocab has 1 tokens" },
	{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "model.vocab: line 1, column 41: expected a token's score, found ']'" },
	{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0,1]]}}", "model.vocab: line 1, column 44: expected the end of a token and its score, found '1'" },
	{ "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{},\"unk_token\":\"u\"}}", "model.continuing_subword_prefix is missing, which a model of type WordPiece needs" },
	{ "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{}}}", "model.unk_token is missing, which a model of type WordLevel needs" },
	{ "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":\"b\"}}}", "model.vocab: line 1, column 43: expected an integer, found '\"'" },
	{ "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":1.0}}}", "model.vocab: line 1, column 43: expected an integer, found '1'" },
	{ "{\"model\":{\"vocab\":{\"a\":0,\"b\":0}}}", "model.vocab: line 1, column 31: a second token with this id" },
	{ "{\"model\":{\"vocab\":{\"a\":-1}}}", "model.vocab: a token has the id -1, but a file of 28 bytes may have ids from 0 to 262143 only" },
	{ "{\"model\":{\"vocab\":{\"a\":2147483648}}}", "model.vocab: a token has the id 2147483648, but a file of 36 bytes may have ids from 0 to 262143 only" },
	{ "{\"model\":{\"vocab\":{\"a\":99999999999999999999}}}", "model.vocab: a token has the id 9223372036854775807, but a file of 46 bytes may have ids from 0 to 262143 only" },
	{ "{\"model\":{\"vocab\":{},\"vocab\":{}}}", "model.vocab: line 1, column 30: this stands in the file a second time" },
	{ "{\"model\":{\"vocab\":{},\"merges\":[\"ab\"]}}", "model.merges: line 1, column 36: a merge that is not two texts with one space between" },
	{ "{\"model\":{\"vocab\":{},\"merges\":[\"a b c\"]}}", "model.merges: line 1, column 39: a merge that is not two texts with one space between" },
	{ "{\"model\":{\"vocab\":{},\"merges\":[[\"a\"]]}}", "model.merges: line 1, column 36: expected an array of two strings, found ']'" },
	{ "{\"model\":{\"vocab\":{},\"merges\":[[\"a\",\"b\",\"c\"]]}}", "model.merges: line 1, column 40: expected an array of two strings, found ','" },
	{ "{\"model\":{\"vocab\":{},\"merges\":[1]}}", "model.merges: line 1, column 32: expected a string, found '1'" },
	{ "{\"model\":{\"continuing_subword_prefix\":\"123456789012345678901234567890123\"}}", "model: line 1, column 74: a prefix or suffix of more than 32 bytes" },
	{ "{\"model\":{\"max_input_chars_per_word\":-1}}", "model: line 1, column 40: a negative number of characters" },
	{ "{\"model\":{\"byte_fallback\":1}}", "model: line 1, column 27: expected true or false, found '1'" },
	{ "{\"added_tokens\":{},\"model\":" WL "}", "added_tokens: line 1, column 1: expected an array, found '{'" },
	{ "{\"added_tokens\":[{\"id\":2,\"content\":\"x\"}],\"model\":" WL "}", "added_tokens: line 1, column 24: an added token without one of id, content, single_word, lstrip, rstrip, normalized, special" },
	{ "{\"added_tokens\":[{\"id\":2,\"content\":\"\xFF\"," TOK "}],\"model\":" WL "}", "added_tokens: the content of token 2 is not UTF-8" },
	{ "{\"added_tokens\":[{\"id\":1,\"content\":\"x\"," TOK "}],\"model\":{\"vocab\":{\"u\":0,\"a\":2,\"b\":3},\"unk_token\":\"u\"}}",
	  "added_tokens: \"x\" would get the id 3 of another token, because model.vocab has holes" },
	{ "{\"normalizer\":{\"type\":\"Nope\"},\"model\":" WL "}", "*normalizer" },
	{ "{\"pre_tokenizer\":{\"type\":\"Nope\"},\"model\":" WL "}", "*pre_tokenizer" },
	{ "{\"decoder\":{\"type\":\"Nope\"},\"model\":" WL "}", "*decoder" },
	{ "{\"decoder\":\"\xFF\",\"model\":" WL "}", "*decoder: JSON is not valid" },
	{ POST("[]"), "post_processor: expected an object with a type" },
	{ POST("{\"type\":\"Nope\"}"), "post_processor: the type \"Nope\" is not supported" },
	{ POST("{\"type\":\"Sequence\"}"), "post_processor.processors: expected an array" },
	{ POST("{\"type\":\"BertProcessing\",\"cls\":[\"a\",1]}"), "post_processor: expected cls and sep, each a token and its id" },
	{ POST("{\"type\":\"BertProcessing\",\"cls\":[\"a\",2],\"sep\":[\"a\",1]}"), "post_processor: an id is not that of one of the 2 tokens" },
	{ POST("{\"type\":\"BertProcessing\",\"cls\":[\"a\",\"1\"],\"sep\":[\"a\",1]}"), "post_processor: an id is not that of one of the 2 tokens" },
	{ POST("{\"type\":\"TemplateProcessing\"}"), "post_processor.single: expected an array" },
	{ POST("{\"type\":\"TemplateProcessing\",\"single\":[]}"), "post_processor.single: the text itself is left out" },
	{ POST("{\"type\":\"TemplateProcessing\",\"single\":[7]}"), "post_processor.single: expected {\"Sequence\": {\"id\": ..}} or {\"SpecialToken\": {\"id\": ..}}" },
	{ POST("{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\"}}]}"), "post_processor.single: expected the sequence A once, found B" },
	{ POST("{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"a\"}}]}"), "post_processor.special_tokens: the ids of \"a\" are missing" },
	{ POST("{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"a\"}}],\"special_tokens\":{\"a\":{\"ids\":[1,1,1,1,1,1,1,1,1]}}}"), "post_processor: more than 8 tokens are added to a text" },
};

LM_TEST(hf_json_errors)
{
	int n_wrong = 0;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct lm_err err = { 0 };
		struct tok *t = (struct tok *)&err;
		int rc = hf_json_tok_mem(&t, bad[i].doc, strlen(bad[i].doc), &err);
		if (!rc) fail_msg("taken: %s", bad[i].doc);
		assert_null(t);
		assert_int_equal(rc, err.code);
		assert_int_equal(hf_json_tok_mem(&t, bad[i].doc, strlen(bad[i].doc), NULL), rc);
		const char *want = bad[i].sentence;
		bool same = want[0] == '*' ? !strncmp(err.msg, want + 1, strlen(want) - 1) : !strcmp(err.msg, want);
		if (!same) print_error("%s\nsays   %s\nwanted %s\n", bad[i].doc, err.msg, want);
		n_wrong += !same;
	}
	assert_int_equal(n_wrong, 0);
}

LM_TEST(hf_json_no_file)
{
	struct tok *t;
	struct lm_err err;
	assert_int_equal(hf_json_tok(&t, "tests/fixtures/none.json", &err), LM_EIO);
	assert_int_equal(hf_json_tok(&t, "tests/test.h", &err), LM_EFORMAT);
	assert_string_equal(err.msg, "tests/test.h: line 1, column 1: expected an object, found '/'");
}

/* A file cut anywhere is refused. */
LM_TEST(hf_json_cut_files)
{
	struct lm_buf b = { 0 };
	struct lm_err err;
	struct tok *t;
	assert_ok(lm_read_file(&b, HF_GOLD "/holes.json", 1 << 20, &err), err);
	for (size_t n = 0; n < b.n; n++) {
		char *cut = malloc(n + 1);
		memcpy(cut, b.p, n);
		assert_int_equal(hf_json_tok_mem(&t, cut, n, &err), LM_EFORMAT);
		assert_true(err.msg[0]);
		free(cut);
	}
	lm_buf_free(&b);
}

/* Processors in a sequence wrap what those before them made. */
LM_TEST(hf_json_post_sequence)
{
	static const char doc[] = POST("{\"type\":\"Sequence\",\"processors\":[{\"cls\":[\"u\",0],\"sep\":[\"a\",1]},{\"type\":\"ByteLevel\"},"
		"{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}},{\"Sequence\":{\"id\":\"A\"}},"
		"{\"SpecialToken\":{\"id\":\"y\"}}],\"special_tokens\":{\"x\":{\"ids\":[1,1]},\"y\":{\"ids\":[0]}}}]}");
	struct tok *t;
	struct lm_err err;
	int32_t ids[16];
	assert_ok(hf_json_tok_mem(&t, doc, sizeof doc - 1, &err), err);
	assert_int_equal(tok_encode(t, "", 0, TOK_ADD_BOS | TOK_ADD_EOS, ids, 16, &err), 5);
	const int32_t want[] = { 1, 1, 0, 1, 0 };
	assert_memory_equal(ids, want, sizeof want);
	tok_free(t);
}

/* What tokenizers 0.23 makes of these scores (Tokenizer.from_str, then to_str). */
LM_TEST(hf_json_scores_to_the_last_bit)
{
	static const struct { const char *text; double value; } c[] = {
		{ "-1.7550194708644478", -0x1.c148f4bf34be4p+0 },
		{ "-6.233982562695104", -0x1.8ef991ffa7060p+2 },
		{ "-3.0000000000000004", -0x1.8000000000001p+1 },
		{ "-12.345678901234567", -0x1.8b0fcd32f707ap+3 },
		{ "-0.1", -0x1.999999999999ap-4 },
		{ "-9.999999999999998", -0x1.3ffffffffffffp+3 },
		{ "-1e-07", -0x1.ad7f29abcaf48p-24 },
		{ "-1.7976931348623157e+100", -0x1.0701bd527b497p+333 },
		{ "-0.000012345678901234567", -0x1.9e409302678bap-17 },
		{ "-123456789.12345679", -0x1.d6f34547e6b76p+26 }, /* not the nearest */
		{ "-5.551115123125783e-17", -0x1.0000000000000p-54 },
		{ "-2.2250738585072014e-300", -0x1.7d78400000000p-996 },
		{ "-1.23456789012345678901234567890", -0x1.3c0ca428c59fbp+0 },
		{ "-7.0e0", -0x1.c000000000000p+2 },
		{ "-13.50000000000000000000001", -0x1.b000000000000p+3 },
		{ "-19.12068543778499", -0x1.31ee53da863d5p+4 },
		{ "-18.956549741186986", -0x1.2f4e0719f6536p+4 }, /* not the nearest */
		{ "-1.1310273545361738", -0x1.218b023a9d406p+0 },
		{ "-1.6974399031784326", -0x1.b28b6be713a78p+0 },
		{ "-16.709977562588993", -0x1.0b5c116ec36a9p+4 },
		{ "-14.719399781370466", -0x1.d70552b0b78aep+3 },
		{ "-13.394608028804418", -0x1.aca0a1044e873p+3 },
		{ "-6.162729151782884", -0x1.8a6a278840da0p+2 },
		{ "-12.118883313569249", -0x1.83cde460fa3dbp+3 }, /* not the nearest */
		{ "-12.136034672816757", -0x1.845a6562dbd74p+3 }, /* not the nearest */
		{ "-11.624080342240061", -0x1.73f877567febep+3 }, /* not the nearest */
		{ "-3.1676574050961115", -0x1.9575cc3fe8f68p+1 },
	};
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		double v = 0;
		assert_true(hf_score(c[i].text, strlen(c[i].text), &v));
		if (v != c[i].value) fail_msg("%s is %a, not %a", c[i].text, v, c[i].value);
	}
	static const char *const other[] = { "-5", "0", "1e400", "123456789012345678901.5" };
	for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
		double v;
		assert_false(hf_score(other[i], strlen(other[i]), &v));
	}
}

/* Texts with escapes do not lie in the file, and what holds them while it is read is gone afterwards. */
LM_TEST(hf_json_added_escaped)
{
	static const char doc[] = "{\"added_tokens\":[{\"id\":2,\"content\":\"\\u003cx\\u003e\"," TOK "}],"
				  "\"decoder\":{\"type\":\"Fuse\"},\"model\":" WL "}";
	struct lm_err err;
	struct lm_buf b = { 0 };
	struct tok *t;
	char *heap = malloc(sizeof doc), *fill[64];
	memcpy(heap, doc, sizeof doc);
	assert_ok(hf_json_tok_mem(&t, heap, sizeof doc - 1, &err), err);
	for (int i = 0; i < 64; i++) memset(fill[i] = malloc(4096), '#', 4096);
	const int32_t id = 2;
	tok_decode(t, &id, 1, true, &b);
	assert_string_equal(lm_buf_cstr(&b), "<x>");
	for (int i = 0; i < 64; i++) free(fill[i]);
	lm_buf_free(&b);
	tok_free(t);
	free(heap);
}

/* Byte fallback beside a byte-level pre-tokenizer: "\x01" is the letter U+0101, whose bytes have tokens. */
LM_TEST(hf_json_unigram_bytes_of_letters)
{
	static const char doc[] = "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false},"
		"\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"byte_fallback\":true,\"vocab\":[[\"u\",0],[\"a\",-1],[\"<0xC4>\",-9],[\"<0x81>\",-9]]}}";
	struct lm_err err;
	struct tok *t;
	int32_t ids[8];
	const int32_t want[] = { 1, 2, 3 };
	assert_ok(hf_json_tok_mem(&t, doc, sizeof doc - 1, &err), err);
	assert_int_equal(tok_encode(t, "a\x01", 2, 0, ids, 8, &err), 3);
	assert_memory_equal(ids, want, sizeof want);
	tok_free(t);
}

/* An added token of the vocabulary that the normalizer changes: decode shows the new text, the model keeps the old one. */
LM_TEST(hf_json_added_normalized_in_vocabulary)
{
	static const char doc[] = "{\"added_tokens\":[{\"id\":1,\"content\":\"abcd\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
		"\"normalized\":true,\"special\":false}],\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"abcd\"},\"content\":\"x\"},"
		"\"decoder\":{\"type\":\"Fuse\"},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"c\",\"prepend_scheme\":\"never\",\"split\":false},"
		"\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"abcd\",-1]]}}";
	struct lm_err err;
	struct lm_buf b = { 0 };
	struct tok *t;
	int32_t ids[8];
	assert_ok(hf_json_tok_mem(&t, doc, sizeof doc - 1, &err), err);
	assert_int_equal(tok_encode(t, "ab d", 4, 0, ids, 8, &err), 1);    /* to the model it is "abcd" */
	assert_int_equal(ids[0], 1);
	assert_int_equal(vocab_id(t, "abcd", 4), 1);
	tok_decode(t, ids, 1, true, &b);
	assert_string_equal(lm_buf_cstr(&b), "x");
	lm_buf_free(&b);
	tok_free(t);
}
