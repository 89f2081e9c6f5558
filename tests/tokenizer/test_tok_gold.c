/* Goldens of the `tokenizers` library (tools/gold_tok.py): real and tiny vocabularies, word splits, NFC. */
#include "test.h"
#include "base/json.h"
#include "tokenizer/tok_impl.h"
#include "tokenizer/tok.h"

struct gold {
	struct lm_buf text;
	size_t at;
};

static void gold_open(struct gold *g, const char *name)
{
	char path[128];
	struct lm_err e = { 0 };
	snprintf(path, sizeof path, "tests/fixtures/tok/%s.json", name);
	*g = (struct gold){ 0 };
	assert_ok(lm_read_file(&g->text, path, 16 << 20, &e), e);
}

static json_t *gold_next(struct gold *g)
{
	if (g->at >= g->text.n) return NULL;
	const char *s = g->text.p + g->at, *end = memchr(s, '\n', g->text.n - g->at);
	assert_non_null(end);
	g->at += (size_t)(end - s) + 1;
	struct lm_err e = { 0 };
	/* not lm_json_parse: texts here hold U+0000 */
	json_error_t je;
	json_t *v = json_loadb(s, (size_t)(end - s), JSON_ALLOW_NUL, &je);
	if (!v) fail_msg("golden line: %s %s", je.text, e.msg);
	return v;
}

static struct tok *open_tok(const char *path, struct file **f)
{
	struct lm_err e = { 0 };
	struct tok *t = NULL;
	if (file_open(f, path, &e))
		fail_msg("%s%s", e.msg, strncmp(path, "models/", 7) ? "" : ": `make models` fetches it");
	assert_ok(tok_load(&t, *f, &e), e);
	return t;
}

static int32_t *ids_of(const json_t *a, int *n)
{
	*n = (int)json_array_size(a);
	int32_t *ids = malloc((size_t)*n * sizeof *ids + 1);
	for (int i = 0; i < *n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(a, (size_t)i));
	return ids;
}

static void show_ids(const char *what, const int32_t *ids, int n)
{
	fprintf(stderr, "  %s:", what);
	for (int i = 0; i < n && i < 60; i++) fprintf(stderr, " %d", ids[i]);
	fprintf(stderr, "\n");
}

static int check_encode(const struct tok *t, const json_t *c, const char *key, unsigned flags)
{
	const json_t *jt = json_object_get(c, "t"), *want = json_object_get(c, key);
	struct lm_err e = { 0 };
	int n_want, n;
	int32_t *w = ids_of(want ? want : json_object_get(c, "i"), &n_want), got[4096];
	n = tok_encode(t, json_string_value(jt), json_string_length(jt), flags, got, 4096, &e);
	bool bad = n != n_want || memcmp(w, got, (size_t)n * sizeof *w);
	if (bad) {
		fprintf(stderr, "%s of \"%.60s\" differs %s\n", key, json_string_value(jt), n < 0 ? e.msg : "");
		show_ids("wanted", w, n_want);
		show_ids("got   ", got, n);
	}
	free(w);
	return bad;
}

static int check_decode(const struct tok *t, const json_t *c, const char *key, bool special)
{
	const json_t *want = json_object_get(c, key);
	if (!want) want = json_object_get(c, "t");
	int n;
	int32_t *ids = ids_of(json_object_get(c, "d"), &n);
	struct lm_buf b = { 0 }, fixed = { 0 };
	tok_decode(t, ids, n, special, &b);
	for (size_t i = 0; i < b.n;) { /* as a terminal or JSON shows it */
		uint32_t cp;
		char u[4];
		i += (size_t)lm_utf8_next(b.p + i, b.n - i, &cp);
		lm_buf_add(&fixed, u, (size_t)lm_utf8_put(u, cp));
	}
	bool bad = fixed.n != json_string_length(want) || memcmp(lm_buf_cstr(&fixed), json_string_value(want), fixed.n);
	if (bad) {
		fprintf(stderr, "decode %s: wanted \"%s\", got \"%s\"\n", key, json_string_value(want), lm_buf_cstr(&fixed));
		show_ids("ids", ids, n);
	}
	lm_buf_free(&b);
	lm_buf_free(&fixed);
	free(ids);
	return bad;
}

static void check_vocab(const char *model, const char *gold, int at_least)
{
	struct file *f;
	struct tok *t = open_tok(model, &f);
	struct gold g;
	int bad = 0, n = 0;
	gold_open(&g, gold);
	for (json_t *c; (c = gold_next(&g)); n++, json_decref(c)) {
		if (json_object_get(c, "d")) {
			bad += check_decode(t, c, "t", true) + check_decode(t, c, "s", false);
			continue;
		}
		bad += check_encode(t, c, "i", TOK_ADD_BOS | TOK_PARSE_SPECIAL);
		bad += check_encode(t, c, "p", TOK_ADD_BOS);
	}
	lm_buf_free(&g.text);
	tok_free(t);
	file_close(f);
	assert_true(n >= at_least);
	assert_int_equal(bad, 0);
}

LM_TEST(tok_gold_smollm2) { check_vocab("models/SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2", 650); }
LM_TEST(tok_gold_gemma3) { check_vocab("models/gemma-3-270m-q4_k_m.gguf", "gemma3", 650); }
LM_TEST(tok_gold_tiny_llama3) { check_vocab("tests/fixtures/tok/tiny_llama-bpe.gguf", "tiny_llama-bpe", 250); }
LM_TEST(tok_gold_tiny_qwen2) { check_vocab("tests/fixtures/tok/tiny_qwen2.gguf", "tiny_qwen2", 250); }
LM_TEST(tok_gold_tiny_falcon) { check_vocab("tests/fixtures/tok/tiny_falcon.gguf", "tiny_falcon", 250); }
LM_TEST(tok_gold_tiny_spm) { check_vocab("tests/fixtures/tok/tiny_spm.gguf", "tiny_spm", 250); }
LM_TEST(tok_gold_tiny_spm_unk) { check_vocab("tests/fixtures/tok/tiny_spm_unk.gguf", "tiny_spm_unk", 250); }

struct lens {
	bool letters; /* words in the byte-level alphabet: a letter is a byte */
	int n, len[512];
};

static int add_len(void *ud, const char *word, size_t n)
{
	struct lens *l = ud;
	size_t k = 0;
	for (size_t i = 0; i < n; i++) k += !l->letters || (word[i] & 0xC0) != 0x80;
	if (l->n < 512) l->len[l->n++] = (int)k;
	return 0;
}

static int check_split(const struct split *p, const char *name, const json_t *text, const json_t *want)
{
	struct split_work *w = split_work_new();
	struct lens l = { .letters = !split_gives_bytes(p) };
	struct lm_err e = { 0 };
	assert_non_null(w);
	assert_ok(split_run(p, w, json_string_value(text), json_string_length(text), true, add_len, &l, &e), e);
	split_work_free(w);
	int bad = l.n != (int)json_array_size(want);
	for (int i = 0; i < l.n && !bad; i++) bad = l.len[i] != json_integer_value(json_array_get(want, (size_t)i));
	if (!bad) return 0;
	char *a = json_dumps(want, JSON_COMPACT), *b = json_dumps(text, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
	fprintf(stderr, "%s of %s: wanted %s, got", name, b, a);
	for (int i = 0; i < l.n; i++) fprintf(stderr, " %d", l.len[i]);
	fprintf(stderr, "\n");
	free(a);
	free(b);
	return 1;
}

LM_TEST(tok_gold_split)
{
	struct gold g;
	gold_open(&g, "split");
	json_t *texts = json_array();
	int bad = 0, families = 0;
	for (json_t *c; (c = gold_next(&g)); json_decref(c)) {
		const char *name = json_string_value(json_object_get(c, "pre"));
		if (!name) {
			json_array_append(texts, json_object_get(c, "t"));
			continue;
		}
		struct split *p;
		struct lm_err e = { 0 };
		const struct family *fam = family_find(name, strlen(name));
		assert_non_null(fam);
		json_t *spec = lm_json_parse(fam->pre_tokenizer, strlen(fam->pre_tokenizer), &e);
		assert_ok(split_new(&p, spec, &e), e);
		json_decref(spec);
		const json_t *all = json_object_get(c, "n");
		assert_int_equal(json_array_size(all), json_array_size(texts));
		for (size_t i = 0; i < json_array_size(texts); i++)
			bad += check_split(p, name, json_array_get(texts, i), json_array_get(all, i));
		split_free(p);
		families++;
	}
	json_decref(texts);
	lm_buf_free(&g.text);
	assert_int_equal(families, 16);
	assert_int_equal(bad, 0);
}

LM_TEST(tok_gold_nfc)
{
	struct gold g;
	gold_open(&g, "nfc");
	int n = 0, bad = 0;
	json_t *spec = json_pack("{s:s}", "type", "NFC");
	struct norm *norm;
	struct norm_work *w = norm_work_new();
	struct lm_err e = { 0 };
	assert_non_null(w);
	assert_ok(norm_new(&norm, spec, &e), e);
	json_decref(spec);
	for (json_t *c; (c = gold_next(&g)); n++, json_decref(c)) {
		const json_t *t = json_object_get(c, "t"), *want = json_object_get(c, "n");
		const char *out;
		size_t len;
		assert_ok(norm_run(norm, w, json_string_value(t), json_string_length(t), &out, &len, &e), e);
		if (len != json_string_length(want) || memcmp(out, json_string_value(want), len)) {
			char *a = json_dumps(t, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
			fprintf(stderr, "NFC of %s differs\n", a);
			free(a);
			bad++;
		}
	}
	norm_work_free(w);
	norm_free(norm);
	lm_buf_free(&g.text);
	assert_true(n >= 200);
	assert_int_equal(bad, 0);
}
