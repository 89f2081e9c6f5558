/* Any bytes as a tokenizer.json: it loads or is refused with a sentence, and whatever loads reads and writes a text. */
#include "tokenizer/tok_impl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hfjson_must(bool ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "fuzz_hfjson: %s\n", what);
	abort();
}

static void hfjson_text(const struct tok *t, const char *s, size_t n, unsigned flags)
{
	static int32_t ids[4096];
	struct lm_err err = { 0 };
	struct lm_buf out = { 0 };
	int k = tok_encode(t, s, n, flags, ids, 4096, &err);
	hfjson_must(k >= 0 || (err.code == k && err.msg[0]), "refused without a sentence");
	hfjson_must(k < 0 || tok_encode(t, s, n, flags, NULL, 0, &err) == k, "the number of ids depends on the room for them");
	if (k > 4096) k = 4096;
	for (int i = 0; i < k; i++) hfjson_must(ids[i] >= 0 && ids[i] < tok_vocab(t), "an id out of range");
	if (k > 0) tok_decode(t, ids, k, flags & TOK_PARSE_SPECIAL, &out);
	lm_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const text[] = { "", "Foo the  bar zzz <s>x</s>\n12", "\xE2\x96\x81\xE2\x96\x81 \xC3\xA9\xF0\x9F\x98\x80<0x0A>\xFF",
					    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	struct tok *t = NULL;
	struct lm_err err = { 0 };
	int rc = hf_json_tok_mem(&t, (const char *)data, size, &err);
	if (rc) {
		hfjson_must(!t && err.code == rc && err.msg[0], "refused without a sentence");
		return 0;
	}
	for (unsigned i = 0; i < sizeof text / sizeof *text; i++) hfjson_text(t, text[i], strlen(text[i]), i & 1 ? 7 : 0);
	hfjson_text(t, (const char *)data, size < 300 ? size : 300, TOK_PARSE_SPECIAL);
	tok_free(t);
	return 0;
}
