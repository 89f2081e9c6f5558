/* The tokenizer's edges: files that lie, streaming, round trips, time, and what the flags mean. */
#include "test.h"
#include "base/json.h"
#include "tokenizer/tok.h"

/* ---- small GGUF files, written here ---- */
struct gg {
	struct lm_buf b;
	uint64_t keys;
};

static void raw(struct gg *g, const void *p, size_t n) { lm_buf_add(&g->b, p, n); }
static void u32(struct gg *g, uint32_t v) { raw(g, &v, 4); }
static void u64(struct gg *g, uint64_t v) { raw(g, &v, 8); }
static void text(struct gg *g, const char *s)
{
	u64(g, strlen(s));
	raw(g, s, strlen(s));
}

static void start(struct gg *g)
{
	*g = (struct gg){ 0 };
	raw(g, "GGUF", 4);
	u32(g, 3);
	u64(g, 0);
	u64(g, 0);
}

static void key(struct gg *g, const char *name, uint32_t type)
{
	char full[96];
	snprintf(full, sizeof full, "tokenizer.ggml.%s", name);
	text(g, full);
	u32(g, type);
	g->keys++;
}

static void key_str(struct gg *g, const char *name, const char *v)
{
	key(g, name, FT_STR);
	text(g, v);
}

static void key_u32(struct gg *g, const char *name, uint32_t v)
{
	key(g, name, FT_U32);
	u32(g, v);
}

static void key_bool(struct gg *g, const char *name, bool v)
{
	key(g, name, FT_BOOL);
	raw(g, &(char){ v }, 1);
}

/* Strings between commas. */
static void key_list(struct gg *g, const char *name, const char *list)
{
	uint64_t n = 1;
	for (const char *p = list; *p; p++) n += *p == ',';
	key(g, name, FT_ARR);
	u32(g, FT_STR);
	u64(g, n);
	for (const char *p = list; n--; p += strcspn(p, ",") + 1) {
		u64(g, strcspn(p, ","));
		raw(g, p, strcspn(p, ","));
	}
}

static void key_i32s(struct gg *g, const char *name, uint32_t elem, const void *v, uint64_t n)
{
	key(g, name, FT_ARR);
	u32(g, elem);
	u64(g, n);
	raw(g, v, 4 * n);
}

static int load(struct gg *g, struct file **f, struct tok **t, struct lm_err *e)
{
	memcpy(g->b.p + 16, &g->keys, 8);
	assert_ok(file_open_mem(f, g->b.p, g->b.n, e), *e);
	return tok_load(t, *f, e);
}

static void expect_error(struct gg *g, int code, const char *part)
{
	struct file *f;
	struct tok *t = NULL;
	struct lm_err e = { 0 };
	assert_int_equal(load(g, &f, &t, &e), code);
	assert_null(t);
	if (!strstr(e.msg, part)) fail_msg("\"%s\" does not name %s", e.msg, part);
	file_close(f);
	lm_buf_free(&g->b);
}

#define TOKENS "a,b,c,ab,<s>,</s>"
static const int32_t types[6] = { 1, 1, 1, 1, 3, 3 };
static const float scores[6] = { 0, 0, 0, -1, 0, 0 };

static void gpt2(struct gg *g)
{
	start(g);
	key_str(g, "model", "gpt2");
	key_str(g, "pre", "gpt-2");
}

static void good_gpt2(struct gg *g)
{
	gpt2(g);
	key_list(g, "tokens", TOKENS);
	key_list(g, "merges", "a b");
	key_i32s(g, "token_type", FT_I32, types, 6);
}

LM_TEST(tok_bad_files)
{
	struct gg g;
	start(&g);
	expect_error(&g, LM_EFORMAT, "tokenizer.ggml.model");
	start(&g);
	key_str(&g, "model", "martian\x1b");
	expect_error(&g, LM_EUNSUPPORTED, "martian\\x1b");
	start(&g);
	key_str(&g, "model", "rwkv");
	expect_error(&g, LM_EUNSUPPORTED, "rwkv");
	start(&g);
	key_str(&g, "model", "gpt2");
	key_str(&g, "pre", "no-such-pre");
	expect_error(&g, LM_EUNSUPPORTED, "no-such-pre");
	start(&g);
	key_str(&g, "model", "gpt2");
	key_str(&g, "pre", "gpt-2 phi-2"); /* two names of the table */
	expect_error(&g, LM_EUNSUPPORTED, "gpt-2 phi-2");
	gpt2(&g);
	expect_error(&g, LM_EFORMAT, "tokenizer.ggml.tokens");
	gpt2(&g);
	key_i32s(&g, "tokens", FT_I32, types, 6);
	expect_error(&g, LM_EFORMAT, "tokenizer.ggml.tokens");
	gpt2(&g);
	key_list(&g, "tokens", TOKENS);
	expect_error(&g, LM_EUNSUPPORTED, "tokenizer.ggml.merges");
	static const char *const bad_merge[] = { "ab", "a ", " b", " ", "", "a" };
	for (int i = 0; i < 6; i++) {
		char list[32];
		snprintf(list, sizeof list, "a b,%s", bad_merge[i]);
		gpt2(&g);
		key_list(&g, "tokens", TOKENS);
		key_list(&g, "merges", list);
		expect_error(&g, LM_EFORMAT, "entry 1");
	}
	gpt2(&g);
	key_list(&g, "tokens", TOKENS);
	key_list(&g, "merges", "a b");
	key_i32s(&g, "token_type", FT_I32, types, 5);
	expect_error(&g, LM_EFORMAT, "token_type");
	gpt2(&g);
	key_list(&g, "tokens", TOKENS);
	key_list(&g, "merges", "a b");
	key_str(&g, "token_type", "x");
	expect_error(&g, LM_EFORMAT, "token_type");
}

LM_TEST(tok_bad_roles)
{
	static const char *const ids[] = { "bos_token_id", "eos_token_id", "eot_token_id", "unknown_token_id",
					   "padding_token_id", "seperator_token_id", "cls_token_id", "mask_token_id",
					   "eom_token_id", "fim_pad_token_id" };
	struct gg g;
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
		for (int bad = 0; bad < 3; bad++) {
			good_gpt2(&g);
			if (bad == 2) key_str(&g, ids[i], "4");
			else key_u32(&g, ids[i], bad ? 0x80000000 : 6);
			expect_error(&g, LM_EFORMAT, ids[i]);
		}
	/* "none" as some converters write it */
	good_gpt2(&g);
	key_u32(&g, "bos_token_id", UINT32_MAX);
	struct file *f;
	struct tok *t;
	struct lm_err e;
	assert_ok(load(&g, &f, &t, &e), e);
	assert_int_equal(tok_special(t, TOK_BOS), -1);
	assert_false(tok_adds_bos(t));
	tok_free(t);
	file_close(f);
	lm_buf_free(&g.b);
}

LM_TEST(tok_bad_spm)
{
	struct gg g;
	start(&g);
	key_str(&g, "model", "llama");
	key_list(&g, "tokens", TOKENS);
	expect_error(&g, LM_EFORMAT, "scores");
	start(&g);
	key_str(&g, "model", "llama");
	key_list(&g, "tokens", TOKENS);
	key_i32s(&g, "scores", FT_F32, scores, 5);
	expect_error(&g, LM_EFORMAT, "scores");
	start(&g);
	key_str(&g, "model", "llama");
	key_list(&g, "tokens", TOKENS);
	key_i32s(&g, "scores", FT_I32, types, 6);
	expect_error(&g, LM_EFORMAT, "scores");
	char *big = malloc(70000); /* beyond the limit of a token, and as a special token */
	memset(big, 'x', 69999);
	big[69999] = 0;
	gpt2(&g);
	key_list(&g, "tokens", big);
	expect_error(&g, LM_ELIMIT, "token 0");
	big[300] = 0;
	gpt2(&g);
	key_list(&g, "tokens", big);
	key_list(&g, "merges", "a b");
	key_i32s(&g, "token_type", FT_I32, types + 5, 1);
	expect_error(&g, LM_ELIMIT, "token 0");
	free(big);
}

/* Duplicate, empty and invalid tokens, types and scores out of range, merges of nothing: data, not errors. */
LM_TEST(tok_odd_vocabularies)
{
	struct gg g;
	struct file *f;
	struct tok *t;
	struct lm_err e = { 0 };
	static const int32_t odd[] = { 1, 1, 3, 1, 77, -5, 6, 4, 1, 3 };
	float bad[10] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	uint32_t nan = 0x7FC00000, inf = 0xFF800000;
	memcpy(&bad[1], &nan, 4);
	memcpy(&bad[3], &inf, 4);
	for (int spm = 0; spm < 2; spm++) {
		start(&g);
		key_str(&g, "model", spm ? "llama" : "gpt2");
		key_str(&g, "pre", "gpt-2");
		key_list(&g, "tokens", "a,a,,aa,\xFF\xC3,b,<0x-1>,\xE2\x96,\xE2\x96\x81,");
		key_list(&g, "merges", "a a,a a,x y,a b,b b");
		key_i32s(&g, "token_type", FT_I32, odd, 10);
		key_i32s(&g, "scores", FT_F32, bad, 10);
		assert_ok(load(&g, &f, &t, &e), e);
		int32_t ids[64];
		for (unsigned flags = 0; flags < 8; flags++) {
			int n = tok_encode(t, "aaab bb\xFF\xC3 <0x-1>", 15, flags, ids, 64, &e);
			assert_in_range(n, 3, 64);
			for (int i = 0; i < n; i++) assert_in_range(ids[i], 0, 9);
			assert_true(ids[spm] == 3);
		}
		char buf[64];
		for (int32_t id = -3; id < 13; id++) {
			int n = tok_bytes(t, id, true, buf, sizeof buf);
			assert_in_range(n, 0, id < 0 || id >= 10 ? 0 : 6);
			assert_int_equal(tok_bytes(t, id, true, NULL, 0), n);
			/* control token 2 is where SentencePiece models have </s> */
			assert_true(tok_is_end(t, id) == (spm && id == 2));
		}
		tok_free(t);
		file_close(f);
		lm_buf_free(&g.b);
	}
}

LM_TEST(tok_flags)
{
	struct gg g;
	struct file *f;
	struct tok *t;
	struct lm_err e;
	good_gpt2(&g);
	key_u32(&g, "bos_token_id", 4);
	key_u32(&g, "eos_token_id", 5);
	key_bool(&g, "add_bos_token", true);
	key_bool(&g, "add_eos_token", true);
	assert_ok(load(&g, &f, &t, &e), e);
	int32_t ids[8] = { -7, -7, -7, -7, -7, -7, -7, -7 };
	assert_int_equal(tok_encode(t, "", 0, 0, ids, 8, &e), 0);
	assert_int_equal(tok_encode(t, "", 0, TOK_ADD_BOS, ids, 8, &e), 1);
	assert_int_equal(ids[0], 4);
	/* like snprintf: as many as fit, the length of all */
	ids[2] = -7;
	assert_int_equal(tok_encode(t, "abc", 3, TOK_ADD_BOS | TOK_ADD_EOS, ids, 2, &e), 4);
	assert_int_equal(ids[1], 3);
	assert_int_equal(ids[2], -7);
	assert_int_equal(tok_encode(t, "abc", 3, TOK_ADD_BOS | TOK_ADD_EOS, NULL, 0, &e), 4);
	assert_int_equal(tok_encode(t, "<s>ab</s>", 9, TOK_PARSE_SPECIAL, ids, 8, &e), 3);
	assert_true(ids[0] == 4 && ids[1] == 3 && ids[2] == 5);
	assert_true(tok_is_end(t, 5) && !tok_is_end(t, 4) && tok_is_control(t, 4) && !tok_is_control(t, 3));
	char buf[8];
	assert_int_equal(tok_bytes(t, 4, false, buf, 8), 0);
	assert_int_equal(tok_bytes(t, 4, true, buf, 2), 3);
	tok_free(t);
	file_close(f);
	lm_buf_free(&g.b);
}

static void check_ends(const char *tokens, const int32_t *kinds, int n, const char *ends)
{
	struct gg g;
	struct file *f;
	struct tok *t;
	struct lm_err e;
	gpt2(&g);
	key_list(&g, "tokens", tokens);
	key_list(&g, "merges", "a b");
	key_i32s(&g, "token_type", FT_I32, kinds, (uint64_t)n);
	assert_ok(load(&g, &f, &t, &e), e);
	for (int i = 0; i < n; i++)
		if (tok_is_end(t, i) != (ends[i] == '1')) fail_msg("token %d of %s: end is %c", i, tokens, ends[i]);
	tok_free(t);
	file_close(f);
	lm_buf_free(&g.b);
}

LM_TEST(tok_end_of_generation)
{
	static const int32_t c[] = { 3, 3, 3, 3, 3, 3 }, u[] = { 1, 4, 1, 4, 3, 4 };
	check_ends("<|im_end|>,<|end|>,<|start|>,<|return|>,<|call|>,<|im_end", c, 6, "100110"); /* gpt-oss */
	check_ends("<|im_end|>,<|end|>,<|start|>,<|return|>,<|file_sep|>,<turn|>", c, 6, "110111");
	check_ends("<|tool_response>,</s>,<turn|>,x,y,z", c, 6, "101000"); /* gemma 4 */
	check_ends("<eos>,<end_of_turn>,<EOT>,[EOS],</s>,x", c, 6, "111110");
	check_ends("<eos>,<end_of_turn>,<EOT>,</s>,</s>x,[EOS]", u, 6, "010001");
}

/* ---- real models ---- */
static struct tok *open_tok(const char *path, struct file **f)
{
	struct lm_err e = { 0 };
	struct tok *t = NULL;
	if (file_open(f, path, &e)) fail_msg("%s: `make models` fetches it", e.msg);
	assert_ok(tok_load(&t, *f, &e), e);
	return t;
}

static const char *const models[] = { "models/SmolLM2-135M-Instruct.Q4_1.gguf", "models/gemma-3-270m-q4_k_m.gguf",
				      "tests/fixtures/tok/tiny_spm.gguf", "tests/fixtures/tok/tiny_llama-bpe.gguf" };

LM_TEST(tok_real_roles)
{
	struct file *f;
	struct tok *t = open_tok(models[0], &f);
	assert_int_equal(tok_vocab(t), 49152);
	assert_int_equal(tok_special(t, TOK_BOS), 1);
	assert_int_equal(tok_special(t, TOK_EOS), 2);
	assert_int_equal(tok_special(t, TOK_EOT), 2);
	assert_false(tok_adds_bos(t));
	assert_true(tok_is_end(t, 0) && tok_is_end(t, 2) && !tok_is_end(t, 1) && !tok_is_end(t, 28));
	tok_free(t);
	file_close(f);
	t = open_tok(models[1], &f);
	assert_int_equal(tok_vocab(t), 262144);
	assert_int_equal(tok_special(t, TOK_BOS), 2);
	assert_int_equal(tok_special(t, TOK_EOT), 106);
	assert_true(tok_adds_bos(t));
	/* </s> is the end of a struck-out text here, not of the answer */
	assert_true(tok_is_end(t, 1) && tok_is_end(t, 106) && !tok_is_end(t, 212) && !tok_is_end(t, 2));
	tok_free(t);
	file_close(f);
}

/* Every piece that streaming shows is whole characters, and together they are the text. */
static void stream_is(const struct tok *t, const int32_t *ids, int n, const struct lm_buf *want)
{
	struct tok_stream s = { 0 };
	struct lm_buf got = { 0 };
	for (int i = 0; i <= n; i++) {
		size_t from = got.n;
		if (i < n) tok_stream_push(t, &s, ids[i], true, &got);
		else tok_stream_end(t, &s, &got);
		assert_true(lm_utf8_valid(got.p + from, got.n - from));
	}
	assert_int_equal(got.n, want->n);
	if (want->n) assert_memory_equal(got.p, want->p, got.n);
	lm_buf_free(&got);
}

/* decode(encode(text)) is the text, but for SentencePiece's own space mark. */
static void round_trip(const struct tok *t, const char *s, size_t n, bool spm)
{
	struct lm_buf want = { 0 }, got = { 0 };
	static int32_t ids[8192];
	struct lm_err e;
	for (size_t i = 0; i < n; i++)
		if (spm && n - i >= 3 && memcmp(s + i, "\xE2\x96\x81", 3) == 0) {
			lm_buf_char(&want, ' ');
			i += 2;
		} else {
			lm_buf_char(&want, s[i]);
		}
	int k = tok_encode(t, s, n, 0, ids, 8192, &e);
	assert_in_range(k, 0, 8192);
	tok_decode(t, ids, k, true, &got);
	assert_int_equal(got.n, want.n);
	if (n) assert_memory_equal(got.p, want.p, got.n);
	stream_is(t, ids, k, &want);
	lm_buf_free(&want);
	lm_buf_free(&got);
}

/* SmolLM2 has no token for 21 of the bytes; like the reference we drop them. */
static void find_bytes(const struct tok *t, bool have[256])
{
	memset(have, 0, 256);
	for (int32_t id = 0; id < tok_vocab(t); id++) {
		char b[2];
		if (tok_bytes(t, id, false, b, 2) == 1) have[(uint8_t)b[0]] = true;
	}
}

static bool has_bytes(const bool have[256], const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!have[(uint8_t)s[i]]) return false;
	return true;
}

LM_TEST(tok_round_trip)
{
	struct lm_buf b = { 0 };
	struct lm_err e;
	assert_ok(lm_read_file(&b, "tests/fixtures/tok/gemma3.json", 1 << 24, &e), e);
	for (int m = 0; m < 2; m++) {
		struct file *f;
		struct tok *t = open_tok(models[m], &f);
		int n = 0;
		bool have[256];
		find_bytes(t, have);
		for (size_t i = 0, len; i < b.n; i += len + 1) {
			len = (size_t)((char *)memchr(b.p + i, '\n', b.n - i) - b.p) - i;
			json_t *c = json_loadb(b.p + i, len, JSON_ALLOW_NUL, NULL), *s = json_object_get(c, "t");
			bool all = !json_object_get(c, "d") &&
				   (m == 1 || has_bytes(have, json_string_value(s), json_string_length(s)));
			if (all) {
				round_trip(t, json_string_value(s), json_string_length(s), m == 1);
				n++;
			}
			json_decref(c);
		}
		assert_true(n > (m == 1 ? 500 : 450));
		tok_free(t);
		file_close(f);
	}
	lm_buf_free(&b);
}

/* Each byte of the text a token of its own (there are models whose every emoji comes so), and each cut: a run of byte
 * tokens that is no UTF-8 shows as one U+FFFD for each byte, as in the reference. */
LM_TEST(tok_stream_bytes)
{
	struct file *f;
	struct tok *t = open_tok(models[1], &f);
	const char *s = "a\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80z";
	int32_t ids[16];
	struct lm_buf want = { 0 };
	for (size_t i = 0; i < strlen(s); i++) ids[i] = 238 + (uint8_t)s[i];
	for (size_t n = 0; n <= strlen(s); n++) {
		want.n = 0;
		if (lm_utf8_valid(s, n)) lm_buf_add(&want, s, n);
		else
			for (size_t i = 0; i < n; i++) lm_buf_str(&want, "\xEF\xBF\xBD");
		stream_is(t, ids, (int)n, &want);
	}
	const uint8_t bad[] = { 0xFF, 0xE4, 0xB8, 'a', 0xC0, 0x80, 0xF0, 0x9F, 0x98, 0xED, 0xA0, 'b' };
	for (size_t i = 0; i < sizeof bad; i++) ids[i] = 238 + bad[i];
	want.n = 0;
	for (size_t i = 0; i < sizeof bad; i++) lm_buf_str(&want, "\xEF\xBF\xBD");
	stream_is(t, ids, sizeof bad, &want);
	lm_buf_free(&want);
	tok_free(t);
	file_close(f);
}

LM_TEST(tok_stream_leading_space)
{
	struct file *f;
	struct lm_err e;
	struct tok *t = open_tok(models[2], &f); /* with the space prefix of llama 2 */
	int32_t ids[8];
	int n = tok_encode(t, "a", 1, 0, ids, 8, &e);
	struct lm_buf b = { 0 };
	struct tok_stream s = { 0 };
	for (int i = 0; i < n; i++) tok_stream_push(t, &s, ids[i], true, &b);
	assert_string_equal(lm_buf_cstr(&b), "a");
	s = (struct tok_stream){ .state.started = true }; /* the text goes on from a prompt */
	b.n = 0;
	for (int i = 0; i < n; i++) tok_stream_push(t, &s, ids[i], true, &b);
	assert_string_equal(lm_buf_cstr(&b), " a");
	lm_buf_free(&b);
	tok_free(t);
	file_close(f);
}

/* Bytes that are no UTF-8 are read as U+FFFD, one for each maximal bad part. */
LM_TEST(tok_invalid_utf8)
{
	static const struct { const char *bad, *same; } c[] = {
		{ "a\xFFz", "a\uFFFDz" },
		{ "\xE4\xB8", "\uFFFD" },
		{ "\xE4\xB8\xE4", "\uFFFD\uFFFD" },
		{ "x\xC0\x80y", "x\uFFFD\uFFFDy" },
		{ "\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD" },
		{ "\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD" },
	};
	for (int m = 0; m < 4; m++) {
		struct file *f;
		struct tok *t = open_tok(models[m], &f);
		for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
			int32_t a[64], b[64];
			struct lm_err e;
			int n = tok_encode(t, c[i].bad, strlen(c[i].bad), 0, a, 64, &e);
			assert_int_equal(tok_encode(t, c[i].same, strlen(c[i].same), 0, b, 64, &e), n);
			assert_memory_equal(a, b, (size_t)n * sizeof *a);
		}
		tok_free(t);
		file_close(f);
	}
}

/* One megabyte that offers no place to cut takes n log n: quadratic time would be minutes to hours. */
LM_TEST(tok_long_runs)
{
	static const char *const unit[] = { "a", " ", "ab", "1", "!", "\n", "\xE4\xB8\xAD", "a\xCC\x81\xCC\xA3", "\xCC\x81\xCC\xA3",
					    "<", "<|im_end|", "\xE2\x96\x81", "aB", "'", "\r\n " };
	enum { SIZE = 1 << 20 };
	char *s = malloc(SIZE + 16);
	int32_t *ids = malloc((SIZE + 16) * sizeof *ids);
	for (int m = 0; m < 4; m++) {
		struct file *f;
		struct tok *t = open_tok(models[m], &f);
		for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
			size_t k = strlen(unit[i]), n = 0;
			struct lm_err e = { 0 };
			for (; n < SIZE; n += k) memcpy(s + n, unit[i], k);
			double t0 = cpu_seconds();
			int got = tok_encode(t, s, n, TOK_PARSE_SPECIAL, ids, SIZE + 16, &e);
			if (got <= 0) fail_msg("1 MB of \"%s\": %s", unit[i], e.msg);
			if (cpu_seconds() - t0 > 20) fail_msg("1 MB of \"%s\" took %.0f s", unit[i], cpu_seconds() - t0);
		}
		tok_free(t);
		file_close(f);
	}
	free(s);
	free(ids);
}

LM_TEST(tok_too_long)
{
	struct file *f;
	struct tok *t = open_tok(models[1], &f);
	size_t n = 9 << 20;
	char *s = malloc(n);
	memset(s, 'a', n);
	struct lm_err e = { 0 };
	assert_int_equal(tok_encode(t, s, n, 0, NULL, 0, &e), LM_ELIMIT);
	assert_non_null(strstr(e.msg, "9437184"));
	assert_int_equal(tok_encode(t, s, (size_t)1 << 40, 0, NULL, 0, &e), LM_ELIMIT);
	free(s);
	tok_free(t);
	file_close(f);
}

/* What each kind of vocabulary puts around a text when the metadata does not say; gemma4 its BOS whatever it says. */
LM_TEST(tok_kinds_add)
{
	static const struct { const char *model; bool first, last; } c[] = {
		{ "bert", true, true }, { "t5", false, true }, { "gemma4", true, false }, { "llama", true, false }
	};
	static const int32_t kinds[4] = { 1, 1, 3, 3 };
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		struct gg g;
		struct file *f;
		struct tok *t;
		struct lm_err e = { 0 };
		int32_t ids[16];
		start(&g);
		key_str(&g, "model", c[i].model);
		key_list(&g, "tokens", "\xE2\x96\x81" "a,b,<s>,</s>");
		key_list(&g, "merges", "a b");
		key_i32s(&g, "token_type", FT_I32, kinds, 4);
		key_i32s(&g, "scores", FT_F32, scores, 4);
		static const char *const role[] = { "bos_token_id", "eos_token_id", "seperator_token_id" };
		for (int k = 0; k < 3; k++) {
			key(&g, role[k], FT_U32);
			u32(&g, k ? 3 : 2);
		}
		assert_ok(load(&g, &f, &t, &e), e);
		int n = tok_encode(t, "a", 1, TOK_ADD_BOS | TOK_ADD_EOS, ids, 16, &e);
		assert_true(n > 0 && n <= 16);
		if ((ids[0] == 2) != c[i].first || (ids[n - 1] == 3) != c[i].last) fail_msg("%s", c[i].model);
		tok_free(t);
		file_close(f);
		lm_buf_free(&g.b);
	}
}
