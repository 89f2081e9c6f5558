/* Two kinds of input.  A GGUF file: it loads or is refused with a sentence, and whatever loads reads any text.
 * Anything else: a byte that chooses a vocabulary of tests/fixtures/tok, a byte of flags, and a text. */
#include "base/json.h"
#include "tokenizer/split.h"
#include "tokenizer/tok.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tok_must(bool ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "fuzz_tok: %s\n", what);
	abort();
}

static void clean_append(struct lm_buf *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		char c[4];
		i += (size_t)lm_utf8_next(s + i, n - i, &cp);
		lm_buf_add(out, c, (size_t)lm_utf8_put(c, cp));
	}
}

/* Streamed text is UTF-8 piece by piece.  shown: what came out. */
static void stream_all(const struct tok *t, const int32_t *ids, int n, struct lm_buf *shown)
{
	struct tok_stream s = { 0 };
	for (int i = 0; i <= n; i++) {
		size_t from = shown->n;
		if (i < n) tok_stream_push(t, &s, ids[i], true, shown);
		else tok_stream_end(t, &s, shown);
		tok_must(lm_utf8_valid(lm_buf_cstr(shown) + from, shown->n - from), "a streamed piece is not UTF-8");
	}
}

/* exact: every byte has a token and nothing is normalized, so that the text must come back. */
static void one_text(const struct tok *t, const char *s, size_t n, unsigned flags, bool bytes, bool exact)
{
	struct lm_err err = { 0 };
	int k = tok_encode(t, s, n, flags, NULL, 0, &err);
	if (k < 0) {
		tok_must(err.code == k && err.msg[0], "refused without a sentence");
		return;
	}
	int32_t *ids = malloc((size_t)k * sizeof *ids + 1);
	tok_must(tok_encode(t, s, n, flags, ids, k, &err) == k, "the number of ids depends on the room for them");
	for (int i = 0; i < k; i++) tok_must(ids[i] >= 0 && ids[i] < tok_vocab(t), "an id out of range");
	struct lm_buf want = { 0 }, whole = { 0 }, clean = { 0 }, shown = { 0 };
	clean_append(&want, s, n);
	tok_decode(t, ids, k, true, &whole);
	clean_append(&clean, whole.p, whole.n);
	stream_all(t, ids, k, &shown);
	if (bytes) tok_must(clean.n == shown.n && !memcmp(lm_buf_cstr(&clean), lm_buf_cstr(&shown), clean.n), "streamed differs");
	if (exact) tok_must(whole.n == want.n && !memcmp(lm_buf_cstr(&whole), lm_buf_cstr(&want), want.n), "text does not come back");
	lm_buf_free(&want);
	lm_buf_free(&whole);
	lm_buf_free(&clean);
	lm_buf_free(&shown);
	free(ids);
}

static void one_file(const uint8_t *data, size_t size)
{
	static const char *const text[] = { "", "a", "Hello  world 123 <s>x</s>\n", "\xE2\x96\x81\xE2\x96\x81 \xC3\xA9\xF0\x9F\x98\x80",
					    "<0x0A>\xFF\xC3<|im_start|>\t\r\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	struct file *f;
	struct tok *t = NULL;
	struct lm_err err = { 0 };
	if (file_open_mem(&f, data, size, &err)) return;
	int rc = tok_load(&t, f, &err);
	if (rc) {
		tok_must(!t && err.code == rc && err.msg[0], "refused without a sentence");
		file_close(f);
		return;
	}
	for (unsigned i = 0; i < sizeof text / sizeof *text; i++)
		for (unsigned flags = 0; flags < 8; flags++) one_text(t, text[i], strlen(text[i]), flags, false, false);
	for (int32_t id = -1; id <= tok_vocab(t) && id < 2000; id++) {
		char buf[8];
		tok_must(tok_bytes(t, id, true, buf, sizeof buf) >= tok_bytes(t, id, false, buf, 0), "bytes of a token");
		tok_is_end(t, id);
	}
	tok_free(t);
	file_close(f);
}

struct joined {
	const char *at;
	bool bytes;
};

/* Byte-level families drop nothing: their words are the text. */
static int next_word(void *ud, const char *word, size_t n)
{
	struct joined *j = ud;
	tok_must(n > 0 && (!j->bytes || word == j->at), "words leave a gap or are empty");
	j->at += n;
	return 0;
}

static struct split *split_of(const struct family *fam)
{
	struct lm_err err;
	struct split *s = NULL;
	json_t *spec = fam->pre_tokenizer ? lm_json_parse(fam->pre_tokenizer, strlen(fam->pre_tokenizer), &err) : NULL;
	tok_must(split_new(&s, spec, &err) == 0, "a family of the table");
	json_decref(spec);
	return s;
}

static void split_all(const char *s, size_t n)
{
	static struct split *split[96];
	static struct split_work *w;
	struct lm_buf b = { 0 };
	if (!w) w = split_work_new();
	if (n == 0) return;
	clean_append(&b, s, n);
	const struct family *fam;
	for (int i = 0; (fam = family_at(i)); i++) {
		struct lm_err err;
		if (!split[i]) split[i] = split_of(fam);
		struct joined j = { b.p, split_gives_bytes(split[i]) };
		tok_must(split_run(split[i], w, b.p, b.n, true, next_word, &j, &err) == 0, "a text that cannot be split");
		tok_must(!j.bytes || j.at == b.p + b.n, "words end early");
	}
	lm_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct { const char *path; bool bytes, exact; } vocab[] = {
		{ "tests/fixtures/tok/tiny_llama-bpe.gguf", true, true }, { "tests/fixtures/tok/tiny_falcon.gguf", true, true },
		{ "tests/fixtures/tok/tiny_qwen2.gguf", true, false }, { "tests/fixtures/tok/tiny_spm.gguf", false, false },
		{ "tests/fixtures/tok/tiny_spm_unk.gguf", false, false },
	};
	static struct tok *tok[5];
	if (size >= 4 && memcmp(data, "GGUF", 4) == 0) {
		one_file(data, size);
		return 0;
	}
	if (size < 2) return 0;
	unsigned v = data[0] % 5;
	if (!tok[v]) {
		static struct file *f[5];
		struct lm_err err;
		tok_must(file_open(&f[v], vocab[v].path, &err) == 0 && tok_load(&tok[v], f[v], &err) == 0, vocab[v].path);
	}
	/* without BOS and EOS, which a decoded text shows */
	one_text(tok[v], (const char *)data + 2, size - 2, data[1] & TOK_PARSE_SPECIAL, vocab[v].bytes, vocab[v].exact);
	if (data[1] & 8) split_all((const char *)data + 2, size - 2);
	return 0;
}
