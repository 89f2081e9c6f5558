/* Folders of Hugging Face models: goldens of transformers (tools/gold_folder.py), chat templates, and files that are
 * missing or broken. */
#include "tokenizer/gold_ids.h"
#include "tokenizer/folder.h"
#include <sys/stat.h>
#include <unistd.h>

static const struct { const char *name; enum tok_role role; } roles[] = {
	{ "bos", TOK_BOS }, { "eos", TOK_EOS }, { "unk", TOK_UNK }, { "sep", TOK_SEP }, { "pad", TOK_PAD }, { "cls", TOK_CLS },
	{ "mask", TOK_MASK },
};

static struct tok *open_ok(const char *path)
{
	struct lm_err e = { 0 };
	struct tok *t;
	assert_ok(tok_open(&t, path, &e), e);
	return t;
}

static void one_folder(const char *name)
{
	enum { BOTH = TOK_ADD_BOS | TOK_ADD_EOS };
	char path[200];
	json_t *c;
	size_t i;
	int bad = 0;
	snprintf(path, sizeof path, "tests/fixtures/folder/%s.json", name);
	json_t *gold = gold_json(path);
	path[strlen(path) - 5] = 0;
	struct tok *t = open_ok(path);
	assert_int_equal(tok_vocab(t), json_integer_value(json_object_get(gold, "n")));
	for (i = 0; i < sizeof roles / sizeof *roles; i++) {
		const json_t *want = json_object_get(json_object_get(gold, "roles"), roles[i].name);
		if (want && tok_special(t, roles[i].role) != json_integer_value(want))
			fail_msg("%s is %d, not %d", roles[i].name, tok_special(t, roles[i].role), (int)json_integer_value(want));
	}
	json_array_foreach(json_object_get(gold, "cases"), i, c) {
		const json_t *text = json_array_get(c, 0), *full = json_array_get(c, 1);
		bad += bad_encode(t, text, BOTH | TOK_PARSE_SPECIAL, full);
		bad += bad_encode(t, text, TOK_PARSE_SPECIAL, json_array_get(c, 2));
		bad += bad_encode(t, text, 0, json_array_get(c, 3));
		if (json_array_size(c) < 5) continue;
		bad += bad_decode(t, full, true, json_array_get(c, 4));
		bad += bad_decode(t, full, false, json_array_get(c, 5));
	}
	if (bad) fail_msg("%s: %d differ", name, bad);
	tok_free(t);
	json_decref(gold);
}
LM_TEST(folder_gpt2) { one_folder("gpt2"); }
LM_TEST(folder_gpt2_more) { one_folder("gpt2_more"); }
LM_TEST(folder_roberta) { one_folder("roberta"); }
LM_TEST(folder_clip) { one_folder("clip"); }
LM_TEST(folder_qwen2) { one_folder("qwen2"); }
LM_TEST(folder_bert) { one_folder("bert"); }
LM_TEST(folder_bert_cased) { one_folder("bert_cased"); }
LM_TEST(folder_llama) { one_folder("llama"); }
LM_TEST(folder_gemma) { one_folder("gemma"); }
LM_TEST(folder_xlmr) { one_folder("xlmr"); }
LM_TEST(folder_hf) { one_folder("hf"); }
LM_TEST(folder_tiktoken) { one_folder("tiktoken"); }
LM_TEST(folder_llama_first) { one_folder("llama_first"); }
LM_TEST(folder_t5) { one_folder("t5"); }

/* transformers puts no <s> before a text of tekken.json; mistral's own library and its GGUF files do. */
LM_TEST(folder_tekken)
{
	json_t *gold = gold_json("tests/fixtures/folder/tekken.json"), *c;
	struct tok *t = open_ok("tests/fixtures/folder/tekken");
	size_t i;
	int bad = 0;
	json_array_foreach(json_object_get(gold, "cases"), i, c) {
		bad += bad_encode(t, json_array_get(c, 0), TOK_PARSE_SPECIAL, json_array_get(c, 2));
		bad += bad_encode(t, json_array_get(c, 0), 0, json_array_get(c, 3));
		bad += bad_decode(t, json_array_get(c, 1), true, json_array_get(c, 4));
	}
	assert_int_equal(bad, 0);
	int32_t id;
	struct lm_err e;
	assert_int_equal(tok_encode(t, "", 0, TOK_ADD_BOS, &id, 1, &e), 1);
	assert_int_equal(id, 1);
	assert_true(tok_is_end(t, 2));
	tok_free(t);
	json_decref(gold);
}

LM_TEST(folder_by_its_file)
{
	static const char *const paths[] = { "tests/fixtures/folder/gpt2/", "tests/fixtures/folder/gpt2/vocab.json",
					     "tests/fixtures/folder/gpt2/merges.txt", "tests/fixtures/folder/bert/vocab.txt",
					     "tests/fixtures/folder/t5/spiece.model", "tests/fixtures/folder/tekken/tekken.json" };
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) tok_free(open_ok(paths[i]));
}

LM_TEST(folder_ends_of_generation)
{
	struct tok *t = open_ok("tests/fixtures/folder/gpt2_more");
	assert_true(tok_is_end(t, 331) && tok_is_end(t, 333) && !tok_is_end(t, 330) && !tok_is_end(t, 332));
	tok_free(t);
	t = open_ok("tests/fixtures/folder/qwen2");
	assert_true(tok_is_end(t, 362) && tok_is_end(t, 360) && !tok_is_end(t, 361));
	assert_true(tok_is_control(t, 361) && !tok_is_control(t, 363));
	tok_free(t);
	t = open_ok("tests/fixtures/folder/hf");
	assert_true(tok_is_end(t, 361) && tok_is_end(t, 362) && !tok_is_end(t, 7));
	assert_int_equal(tok_special(t, TOK_PAD), 360);
	tok_free(t);
	t = open_ok("tests/fixtures/folder/llama");
	assert_true(tok_is_end(t, 2) && tok_is_end(t, 561) && !tok_is_end(t, 1) && tok_adds_bos(t));
	tok_free(t);
}

/* ---- folders made on the spot ----------------------------------------------------------------------------- */
struct temp { char dir[64]; };

static struct temp temp_new(void)
{
	struct temp d = { "/tmp/lmrun-test-XXXXXX" };
	if (!mkdtemp(d.dir)) fail_msg("no temporary folder");
	return d;
}

static void temp_put(const struct temp *d, const char *name, const char *text)
{
	char path[200];
	snprintf(path, sizeof path, "%s/%s", d->dir, name);
	if (text) {
		FILE *f = fopen(path, "w");
		assert_non_null(f);
		fputs(text, f);
		fclose(f);
	} else if (mkdir(path, 0700)) {
		fail_msg("mkdir %s", path);
	}
}

static void temp_free(const struct temp *d)
{
	char cmd[128];
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", d->dir);
	if (system(cmd)) fail_msg("%s", cmd);
}

#define VOCAB "{\"a\":0,\"b\":1,\"ab\":2,\"\\u0120\":3}"
#define TEMPLATE_LIST "{\"chat_template\":[{\"name\":\"default\",\"template\":\"D\"},{\"name\":\"tool_use\",\"template\":\"T\"}]}"

static void broken(const char *const *file, const char *const *text, int code, const char *why)
{
	struct temp d = temp_new();
	struct lm_err e = { 0 };
	struct tok *t;
	for (int i = 0; file[i]; i++) temp_put(&d, file[i], text[i]);
	int rc = tok_open(&t, d.dir, &e);
	temp_free(&d);
	if (rc != code || !strstr(e.msg, why)) fail_msg("wanted %d \"%s\", got %d \"%s\"", code, why, rc, e.msg);
	assert_null(t);
}

LM_TEST(folder_broken)
{
#define FILES(...) (const char *const[]){ __VA_ARGS__, NULL }
	struct lm_err e;
	struct tok *t;
	assert_int_equal(tok_open(&t, "tests/fixtures/none", &e), LM_EIO);
	broken(FILES("x"), FILES(""), LM_EUNSUPPORTED, "holds no tokenizer");
	broken(FILES("vocab.json"), FILES(VOCAB), LM_EFORMAT, "merges.txt is missing");
	broken(FILES("vocab.json", "merges.txt"), FILES("[]", ""), LM_EFORMAT, "vocab.json");
	broken(FILES("vocab.json", "merges.txt"), FILES("{}", ""), LM_EFORMAT, "no tokens");
	broken(FILES("vocab.json", "merges.txt"), FILES("{\"a\":-1}", ""), LM_EFORMAT, "below 0");
	broken(FILES("vocab.json", "merges.txt"), FILES("{\"a\":2000000000}", ""), LM_EFORMAT, "far beyond");
	broken(FILES("vocab.json", "merges.txt"), FILES("{\"a\":0", ""), LM_EFORMAT, "vocab.json");
	broken(FILES("vocab.json", "merges.txt"), FILES(VOCAB, "a b\nab\n"), LM_EFORMAT, "line 2");
	broken(FILES("vocab.json", "merges.txt"), FILES(VOCAB, "#version: 0.2\na b\nb a\n"), LM_EFORMAT, "\"b a\"");
	broken(FILES("vocab.txt"), FILES(""), LM_EFORMAT, "the file is empty");
	broken(FILES("tokenizer.model"), FILES("this is no protobuf"), LM_EFORMAT, "tokenizer.model is no SentencePiece model");
	broken(FILES("tokenizer.model"), FILES("YQ== 0\nYg== 2\n"), LM_EFORMAT, "line 2 has a rank out of order");
	broken(FILES("tokenizer.model"), FILES("YQ== 0\nYg==\n"), LM_EFORMAT, "line 2 is not a token");
	broken(FILES("tokenizer.model"), FILES("YQ== 0\n*== 1\n"), LM_EFORMAT, "line 2 is not a token");
	broken(FILES("tekken.json"), FILES("{\"vocab\":[]}"), LM_EFORMAT, "vocab is missing");
	broken(FILES("tekken.json"), FILES("{\"vocab\":[{\"token_bytes\":\"!\"}]}"), LM_EFORMAT, "base64");
	broken(FILES("tekken.json"), FILES("{\"vocab\":[{\"token_bytes\":\"YQ==\"}]}"), LM_EFORMAT, "config.pattern is missing");
	broken(FILES("tekken.json"), FILES("{\"config\":{\"pattern\":\"(\"},\"vocab\":[{\"token_bytes\":\"YQ==\"}]}"), LM_EFORMAT,
	       "pattern");
	broken(FILES("tekken.json"), FILES("{\"special_tokens\":[{\"rank\":1,\"token_str\":\"x\"}]}"), LM_EFORMAT, "ranks");
	broken(FILES("vocab.txt", "tokenizer_config.json"), FILES("a\n", "{"), LM_EFORMAT, "tokenizer_config.json");
	broken(FILES("vocab.txt", "tokenizer_config.json"), FILES("a\n", "[]"), LM_EFORMAT, "no JSON object");
	broken(FILES("vocab.txt", "tokenizer_config.json"), FILES("a\n", "{\"do_lower_case\":\"yes\"}"), LM_EFORMAT,
	       "\"do_lower_case\"");
	broken(FILES("vocab.txt", "tokenizer_config.json"), FILES("a\n", "{\"bos_token\":7}"), LM_EFORMAT, "\"bos_token\"");
	broken(FILES("vocab.txt", "special_tokens_map.json"), FILES("a\n", "{\"cls_token\":{}}"), LM_EFORMAT, "\"cls_token\"");
	broken(FILES("vocab.txt", "tokenizer_config.json"), FILES("a\n", "{\"added_tokens_decoder\":{\"x\":{\"content\":\"y\"}}}"),
	       LM_EFORMAT, "\"x\" is not an added token");
	broken(FILES("vocab.txt", "tokenizer_config.json"),
	       FILES("a\n", "{\"added_tokens_decoder\":{\"99999999\":{\"content\":\"y\"}}}"), LM_ELIMIT, "too far");
	broken(FILES("vocab.txt", "added_tokens.json"), FILES("a\n", "{\"y\":\"z\"}"), LM_EFORMAT, "added_tokens.json");
	broken(FILES("vocab.txt", "generation_config.json"), FILES("a\n", "{\"eos_token_id\":[\"x\"]}"), LM_EFORMAT,
	       "generation_config.json: \"eos_token_id\"");
	broken(FILES("vocab.json", "merges.txt", "tokenizer_config.json"), FILES(VOCAB, "", "{\"tokenizer_class\":\"WhisperTokenizer\"}"),
	       LM_EUNSUPPORTED, "WhisperTokenizer");
}

LM_TEST(folder_without_config)
{
	struct temp d = temp_new();
	struct lm_err e = { 0 };
	int32_t ids[8];
	temp_put(&d, "vocab.json", VOCAB);
	temp_put(&d, "merges.txt", "a b\n");
	struct tok *t = open_ok(d.dir);
	assert_int_equal(tok_encode(t, "ab a", 4, 0, ids, 8, &e), 3);
	assert_true(ids[0] == 2 && ids[1] == 3 && ids[2] == 0);
	assert_int_equal(tok_special(t, TOK_BOS), 4);      /* <|endoftext|>, added as transformers does */
	tok_free(t);
	temp_free(&d);
}

static void template_is(const struct temp *d, const char *name, const char *want)
{
	struct lm_buf b = { 0 };
	struct lm_err e = { 0 };
	int rc = folder_template(d->dir, name, &b, &e);
	if (rc < 0) fail_msg("%s", e.msg);
	assert_int_equal(rc, want ? 0 : 1);
	if (want) assert_string_equal(lm_buf_cstr(&b), want);
	lm_buf_free(&b);
}

LM_TEST(folder_templates)
{
	struct temp d = temp_new();
	template_is(&d, NULL, NULL);
	temp_put(&d, "chat_template.json", "{\"chat_template\":\"J\"}");
	template_is(&d, NULL, "J");
	temp_put(&d, "tokenizer_config.json", "{\"chat_template\":\"C\"}");
	template_is(&d, NULL, "C");
	template_is(&d, "default", "C");
	template_is(&d, "tool_use", NULL);
	temp_put(&d, "tokenizer_config.json", TEMPLATE_LIST);
	template_is(&d, NULL, "D");
	template_is(&d, "tool_use", "T");
	template_is(&d, "rag", NULL);
	temp_put(&d, "additional_chat_templates", NULL);
	temp_put(&d, "additional_chat_templates/rag.jinja", "R\n");
	template_is(&d, "rag", "R\n");
	temp_put(&d, "chat_template.jinja", "F");
	template_is(&d, NULL, "F");
	template_is(&d, "../chat_template", NULL);
	char file[100];
	struct lm_buf b = { 0 };
	struct lm_err e = { 0 };
	snprintf(file, sizeof file, "%s/tokenizer_config.json", d.dir);
	assert_ok(folder_template(file, NULL, &b, &e), e);  /* beside a file of the folder */
	assert_string_equal(lm_buf_cstr(&b), "F");
	temp_put(&d, "tokenizer_config.json", "{\"chat_template\":7}");
	assert_int_equal(folder_template(d.dir, "rag2", &b, &e), LM_EFORMAT);
	assert_non_null(strstr(e.msg, "chat_template"));
	lm_buf_free(&b);
	temp_free(&d);
}
