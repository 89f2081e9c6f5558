/* A tokenizer of a folder, written as a GGUF and read from it, gives the ids that the folder's gives. */
#include "format/gguf_write.h"
#include "test.h"
#include "tokenizer/tok_impl.h"
#include <jansson.h>
#include <unistd.h>

/* name: under tests/fixtures; NULL kind: refused, with `says` in the sentence; else says is what tok_compare
 * finds: what a GGUF cannot express. */
struct sample { const char *name, *kind, *pre, *says, *skip /* texts with one of these bytes */; };
static const struct sample samples[] = {
	{ "folder/gpt2", "gpt2", "gpt-2", NULL, NULL },
	{ "folder/gpt2_more", "gpt2", "gpt-2", NULL, NULL },
	/* its token "café" is matched in normalized text, where a GGUF's are matched as they stand */
	{ "folder/qwen2", "gpt2", "qwen2", "many scripts", NULL },
	{ "folder/roberta", "gpt2", "roberta-bpe", NULL, NULL },
	{ "folder/tiktoken", "gpt2", "llama3", NULL, NULL },
	{ "folder/tekken", "gpt2", "tekken", NULL, NULL },
	{ "folder/bert", "bert", NULL, NULL, NULL },
	/* tokens that count only as words of their own, and ideographs that are not split */
	{ "folder/bert_cased", "bert", NULL, "many scripts", "<N\xE4\xE5\xE6\xE7\xE8\xE9" },
	/* spaces beside a user-defined symbol belong to the stretches around it */
	{ "folder/llama", "llama", NULL, "<x>", "<" },
	/* no space is put before a text that begins with one, nor after a token */
	{ "folder/llama_first", "llama", NULL, "many scripts", "< \xE2" },
	{ "folder/gemma", "llama", NULL, NULL, "<\xE2" },
	/* a tokenizer.model's own normalizer: a GGUF's is that of tokenizer.json, which looks at whole graphemes */
	{ "folder/t5", "t5", NULL, "many scripts", "\n\r\t\xC2\xCC\xE2\xEF<N" },
	{ "folder/xlmr", "t5", NULL, "many scripts", "\n\r\t\xC2\xCC\xE2\xEF<N" },
	{ "folder/hf", "gpt2", "qwen2", "many scripts", NULL },
	{ "folder/clip", NULL, NULL, "prefix or suffix", NULL },
};
enum { N_SAMPLE = sizeof samples / sizeof *samples, MAX_IDS = 8192 };

static int no_rows(void *ud, int t, int64_t row, int64_t n, void *dst, struct gguf_tmp *tmp, struct lm_err *err)
{
	(void)ud, (void)t, (void)row, (void)n, (void)dst, (void)tmp;
	return lm_fail(err, LM_EINVAL, "no tensor was given");
}

/* t as a GGUF, opened; *f is the file behind it. */
static int again(const struct tok *t, struct file **f, struct tok **out, struct lm_err *err)
{
	struct gguf_keys k = { 0 };
	char path[] = "/tmp/lmrun-export-XXXXXX";
	int fd = mkstemp(path), rc;
	assert_true(fd >= 0);
	close(fd);
	gguf_key_str(&k, "general.architecture", "llama", 5);
	rc = tok_export(t, tok_vocab(t) + 3, &k, err);
	if (!rc) assert_ok(gguf_write(path, &k, NULL, 0, no_rows, NULL, 1, err), *err);
	if (!rc) assert_ok(file_open(f, path, err), *err);
	if (!rc) assert_ok(tok_load(out, *f, err), *err);
	gguf_keys_free(&k);
	unlink(path);
	return rc;
}

static int32_t ids_a[MAX_IDS], ids_b[MAX_IDS];

static void same(const struct sample *s, const struct tok *a, const struct tok *b, const char *text, size_t n)
{
	if (s->skip && n && strcspn(text, s->skip) < n) return;
	static const unsigned flags[] = { 0, TOK_ADD_BOS | TOK_ADD_EOS | TOK_PARSE_SPECIAL };
	for (int i = 0; i < 2; i++) {
		int na = tok_encode(a, text, n, flags[i], ids_a, MAX_IDS, NULL), nb = tok_encode(b, text, n, flags[i], ids_b, MAX_IDS, NULL);
		assert_true(na >= 0 && na <= MAX_IDS);
		if (na != nb || memcmp(ids_a, ids_b, (size_t)na * sizeof *ids_a))
			fail_msg("%s: other ids (%d, %d) for \"%.*s\"", s->name, na, nb, (int)n, text);
	}
}

static void fixture_texts(const struct sample *s, const struct tok *a, const struct tok *b)
{
	char path[200];
	json_t *v, *one;
	size_t i;
	snprintf(path, sizeof path, "tests/fixtures/%s.json", s->name);
	v = json_load_file(path, JSON_ALLOW_NUL, NULL);
	assert_non_null(v);
	assert_true(json_array_size(json_object_get(v, "cases")) > 20);
	json_array_foreach(json_object_get(v, "cases"), i, one) {
		const json_t *text = json_array_get(one, 0);
		same(s, a, b, json_string_value(text), json_string_length(text));
	}
	json_decref(v);
}

static void random_texts(const struct sample *s, const struct tok *a, const struct tok *b)
{
	static const char *const bits[] = {
		" ", " ", "  ", "\n", "\n\n", "\t", "\r\n", "a", "e", "th", "he", "the ", "ing", "Hello", "WORLD", "1", "23", "2024", ".", ",", "!", "'s", "'LL",
		"-", "_", "(", ")", "\"", "é", "e\xCC\x81", "ß", "Ω", "你", "好", "日本語", "한국", "🚀", "👩‍👧", "\xC2\xA0", "\xE2\x96\x81", "<", ">", "|", "/", "#",
		"\xE2\x80\x99", "ﬁ", "²", "हि", "ไทย", "مر", "low", "er", "new", "est"
	};
	for (uint64_t n = 0; n < 2000; n++) {
		struct lm_buf t = { 0 };
		int k = (int)(lm_uniform(7, n, 0) * 24);
		for (int i = 0; i <= k; i++)
			lm_buf_str(&t, bits[(size_t)(lm_uniform(7, n, (uint64_t)i + 1) * (double)(sizeof bits / sizeof *bits))]);
		same(s, a, b, lm_buf_cstr(&t), t.n);
		lm_buf_free(&t);
	}
}

static void check_names(const struct sample *s, const struct file *f)
{
	const char *v = "";
	size_t n = 0;
	assert_true(file_str(f, "tokenizer.ggml.model", &v, &n));
	assert_memory_equal(v, s->kind, n);
	assert_int_equal(file_str(f, "tokenizer.ggml.pre", &v, &n), s->pre != NULL);
	if (s->pre && (n != strlen(s->pre) || memcmp(v, s->pre, n))) fail_msg("%s: pre is %.*s, not %s", s->name, (int)n, v, s->pre);
}

LM_TEST(export_gives_the_ids_of_the_folder)
{
	for (int i = 0; i < N_SAMPLE; i++) {
		const struct sample *s = &samples[i];
		struct tok *a, *b = NULL;
		struct file *f = NULL;
		struct lm_err err = { 0 };
		char path[200];
		snprintf(path, sizeof path, "tests/fixtures/%s", s->name);
		assert_ok(tok_open(&a, path, &err), err);
		int rc = again(a, &f, &b, &err);
		if (s->kind) {
			assert_ok(rc, err);
			check_names(s, f);
			fixture_texts(s, a, b);
			random_texts(s, a, b);
			assert_int_equal(tok_vocab(b), tok_vocab(a) + 3);
			for (int r = 0; r <= TOK_MASK; r++)
				if (r != TOK_BOS) assert_int_equal(tok_special(b, (enum tok_role)r), tok_special(a, (enum tok_role)r));
			rc = tok_compare(a, b, &err);
			if (rc != (s->says != NULL) || (rc && !strstr(err.msg, s->says))) fail_msg("%s: %d: %s", s->name, rc, err.msg);
		} else {
			assert_int_equal(rc, LM_EUNSUPPORTED);
			assert_non_null(strstr(err.msg, s->says));
		}
		tok_free(a);
		tok_free(b);
		file_close(f);
	}
}
