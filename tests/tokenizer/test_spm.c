/* tokenizer.model: goldens of the sentencepiece package (tools/gold_spm.py), and messages that are broken. */
#include "tokenizer/gold_ids.h"
#include "tokenizer/folder.h"
#include "tokenizer/pb.h"

/* The package shows no control symbols; ours are shown where asked for, and so is the unknown token. */
static int bad_text(const struct tok *t, const json_t *ids, const json_t *want)
{
	json_t *rest = json_array(), *id;
	size_t i;
	json_array_foreach((json_t *)ids, i, id) {
		int32_t v = (int32_t)json_integer_value(id);
		if (!tok_is_control(t, v) || v == tok_special(t, TOK_UNK)) json_array_append(rest, id);
	}
	int bad = bad_decode(t, rest, true, want);
	json_decref(rest);
	return bad;
}

static void one_model(const char *name)
{
	static const struct { const char *key; enum tok_role role; } roles[] = {
		{ "unk", TOK_UNK }, { "bos", TOK_BOS }, { "eos", TOK_EOS }, { "pad", TOK_PAD } };
	char path[200];
	struct lm_err e = { 0 };
	struct tok *t;
	size_t i;
	json_t *c;
	int bad = 0;
	snprintf(path, sizeof path, "tests/fixtures/spm/%s.json", name);
	json_t *gold = gold_json(path);
	snprintf(path, sizeof path, "tests/fixtures/spm/%s.model", name);
	assert_ok(tok_open(&t, path, &e), e);
	const json_t *r = json_object_get(gold, "roles");
	assert_int_equal(tok_vocab(t), json_integer_value(json_object_get(r, "n")));
	for (i = 0; i < sizeof roles / sizeof *roles; i++)
		assert_int_equal(tok_special(t, roles[i].role), json_integer_value(json_object_get(r, roles[i].key)));
	json_array_foreach(json_object_get(gold, "encode"), i, c) {
		bad += bad_encode(t, json_array_get(c, 0), TOK_ADD_BOS | TOK_ADD_EOS, json_array_get(c, 1));
		bad += bad_text(t, json_array_get(c, 1), json_array_get(c, 2));
	}
	json_array_foreach(json_object_get(gold, "decode"), i, c)
		bad += bad_text(t, json_array_get(c, 0), json_array_get(c, 1));
	json_array_foreach(json_object_get(gold, "special"), i, c)
		bad += bad_encode(t, json_array_get(c, 0), TOK_PARSE_SPECIAL, json_array_get(c, 1));
	if (bad) fail_msg("%s: %d differ", name, bad);
	tok_free(t);
	json_decref(gold);
}
LM_TEST(spm_unigram) { one_model("uni"); }
LM_TEST(spm_unigram_bytes) { one_model("uni_bytes"); }
LM_TEST(spm_unigram_suffix) { one_model("uni_suffix"); }
LM_TEST(spm_unigram_bare) { one_model("uni_bare"); }
LM_TEST(spm_bpe_llama) { one_model("bpe_llama"); }
LM_TEST(spm_bpe_gemma) { one_model("bpe_gemma"); }
LM_TEST(spm_bpe_unknown) { one_model("bpe_unk"); }
LM_TEST(spm_word) { one_model("word"); }
LM_TEST(spm_word_bytes) { one_model("word_bytes"); }
LM_TEST(spm_char) { one_model("char"); }

/* ---- the wire format ------------------------------------------------------------------------------------- */
LM_TEST(pb_fields)
{
	static const uint8_t msg[] = { 0x08, 0x96, 0x01, 0x12, 2, 'h', 'i', 0x1D, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0,
				       0x2B, 0x08, 1, 0x33, 0x34, 0x2C, 0xF8, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1 };
	struct pb r = pb_begin(msg, sizeof msg);
	struct pb_field f;
	assert_true(pb_next(&r, &f) && f.num == 1 && f.wire == PB_VARINT && f.v == 150);
	assert_true(pb_next(&r, &f) && f.num == 2 && f.wire == PB_BYTES && f.n == 2 && !memcmp(f.p, "hi", 2));
	assert_true(pb_next(&r, &f) && f.num == 3 && f.wire == PB_FIXED32 && f.v == 1);
	assert_true(pb_next(&r, &f) && f.num == 4 && f.wire == PB_FIXED64 && f.v == 2);
	assert_true(pb_next(&r, &f) && f.num == 31 && f.v == UINT64_MAX);         /* a group with a group lies between */
	assert_false(pb_next(&r, &f));
	assert_false(r.bad);
}

LM_TEST(pb_broken)
{
	static const struct { const char *s; size_t n; } bad[] = {
		{ "\x08", 1 }, { "\x08\x80", 2 }, { "\x12\x05hi", 4 }, { "\x12\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11 },
		{ "\x1D\x01\x02", 3 }, { "\x21\x01\x02\x03\x04", 5 }, { "\x00\x01", 2 }, { "\x0E\x01", 2 }, { "\x0B", 1 },
		{ "\x0B\x14", 2 }, { "\x0C", 1 }, { "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12 },
		{ "\xF8\xFF\xFF\xFF\xFF\x7F\x01", 7 }, { "\x00", 1 },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct pb r = pb_begin(bad[i].s, bad[i].n);
		struct pb_field f;
		while (pb_next(&r, &f)) {}
		if (!r.bad) fail_msg("message %zu is taken for a good one", i);
		assert_false(pb_next(&r, &f));
	}
	uint8_t deep[5000];                                /* groups in groups */
	memset(deep, 0x0B, sizeof deep);
	struct pb r = pb_begin(deep, sizeof deep);
	struct pb_field f;
	assert_false(pb_next(&r, &f));
	assert_true(r.bad);
	r = pb_begin("", 0);
	assert_false(pb_next(&r, &f));
	assert_false(r.bad);
}

/* ---- models that the library refuses ------------------------------------------------------------------------ */
static void msg_bytes(struct lm_buf *b, unsigned field, const void *p, size_t n)
{
	assert_true(n < 128);
	lm_buf_char(b, (char)(field << 3 | 2));
	lm_buf_char(b, (char)n);
	lm_buf_add(b, p, n);
}

static void msg_piece(struct lm_buf *b, const char *text, float score, int type)
{
	struct lm_buf p = { 0 };
	if (text) msg_bytes(&p, 1, text, strlen(text));
	lm_buf_char(&p, 0x15);
	lm_buf_add(&p, &score, 4);
	lm_buf_char(&p, 0x18);
	lm_buf_char(&p, (char)type);
	msg_bytes(b, 1, p.p, p.n);
	lm_buf_free(&p);
}

static void refused(const struct lm_buf *b, int code, const char *why)
{
	static const struct folder_row row = { .names = " ", .flags = ROW_SPM, .post = "." };
	struct folder f = { .row = &row };
	struct lm_err e = { 0 };
	struct tok *t;
	int rc = spm_load(&t, &f, "x.model", b->p ? b->p : "", b->n, &e);
	if (rc != code || !strstr(e.msg, why)) fail_msg("wanted %d \"%s\", got %d \"%s\"", code, why, rc, e.msg);
	assert_null(t);
}

LM_TEST(spm_refused)
{
	struct lm_buf b = { 0 };
	refused(&b, LM_EFORMAT, "no pieces");
	lm_buf_str(&b, "\x0A\x7F");
	refused(&b, LM_EFORMAT, "not a protobuf message");
	b.n = 0;
	msg_piece(&b, "a", 0, 1);
	refused(&b, LM_EFORMAT, "no piece of the type unknown");
	msg_piece(&b, "<unk>", 0, 2);
	msg_piece(&b, "<unk2>", 0, 2);
	refused(&b, LM_EFORMAT, "pieces 1 and 2 are both the unknown one");
	b.n = 0;
	msg_piece(&b, NULL, 0, 1);
	refused(&b, LM_EFORMAT, "piece 0 has no text");
	b.n = 0;
	msg_piece(&b, "<unk>", 0, 2);
	msg_piece(&b, "<0x41>", 0, 6);
	refused(&b, LM_EFORMAT, "byte_fallback is off");
	msg_bytes(&b, 2, "\x98\x02\x01", 3);
	refused(&b, LM_EFORMAT, "only 1 of 256");
	b.n = 0;
	msg_piece(&b, "<unk>", 0, 2);
	msg_piece(&b, "a", 0, 1);
	msg_bytes(&b, 2, "\x18\x09", 2);
	refused(&b, LM_EUNSUPPORTED, "model_type");
	b.n = 0;
	msg_piece(&b, "<unk>", 0, 2);
	msg_piece(&b, "a", -1, 1);
	msg_bytes(&b, 3, "\x12\x03" "abc", 5);
	refused(&b, LM_EFORMAT, "charsmap");
	lm_buf_free(&b);
}

/* Any byte of a model changed, any length: a tokenizer or a sentence. */
LM_TEST(spm_mutated)
{
	struct lm_buf b = { 0 };
	struct lm_err e = { 0 };
	assert_ok(lm_read_file(&b, "tests/fixtures/spm/uni.model", 1 << 20, &e), e);
	static const struct folder_row row = { .names = " ", .flags = ROW_SPM, .post = "." };
	uint64_t seed = 1;
	for (int i = 0; i < 300; i++) {
		struct folder f = { .row = &row };
		struct tok *t;
		size_t n = i % 3 ? b.n : (size_t)(lm_uniform(seed, (uint64_t)i, 0) * (double)b.n);
		uint8_t *p = malloc(n + 1);
		assert_non_null(p);
		memcpy(p, b.p, n);
		for (int k = 0; n && k < 3; k++)
			p[(size_t)(lm_uniform(seed, (uint64_t)i, (uint64_t)k + 1) * (double)n)] ^= (uint8_t)(1 << i % 8);
		e.msg[0] = 0;
		int rc = spm_load(&t, &f, "x", p, n, &e);
		if (rc) assert_true(!t && e.msg[0]);
		else {
			int32_t ids[64];
			assert_true(tok_encode(t, "Hello  world ab", 15, 0, ids, 64, &e) >= 0);
		}
		tok_free(t);
		folder_free(&f);
		free(p);
	}
	lm_buf_free(&b);
}
