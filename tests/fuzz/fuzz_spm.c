/* Any bytes as a tokenizer.model: it loads or is refused with a sentence, and whatever loads reads any text. */
#include "tokenizer/folder.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void spm_must(bool ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "fuzz_spm: %s\n", what);
	abort();
}

static void spm_text(const struct tok *t, const char *s, size_t n, unsigned flags)
{
	struct lm_err err = { 0 };
	int k = tok_encode(t, s, n, flags, NULL, 0, &err);
	if (k < 0) {
		spm_must(err.code == k && err.msg[0], "refused without a sentence");
		return;
	}
	int32_t *ids = malloc((size_t)k * sizeof *ids + 1);
	spm_must(ids && tok_encode(t, s, n, flags, ids, k, &err) == k, "the number of ids depends on the room for them");
	struct lm_buf whole = { 0 }, parts = { 0 };
	struct tok_stream st = { 0 };
	for (int i = 0; i < k; i++) {
		spm_must(ids[i] >= 0 && ids[i] < tok_vocab(t), "an id out of range");
		tok_stream_push(t, &st, ids[i], true, &parts);
	}
	tok_stream_end(t, &st, &parts);
	tok_decode(t, ids, k, true, &whole);
	spm_must(whole.n == parts.n && (!whole.n || !memcmp(whole.p, parts.p, whole.n)), "streamed text differs");
	lm_buf_free(&whole);
	lm_buf_free(&parts);
	free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const text[] = { "", "a", "Hello  world 12 <s>x</s>\n", "\xE2\x96\x81\xE2\x96\x81 \xC3\xA9\xF0\x9F\x98\x80 ",
					    "<0x0A>\xFF\xC3<unk>\t", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	static const struct folder_row rows[] = { { .names = " ", .flags = ROW_SPM, .post = "." },
						  { .names = " ", .flags = ROW_SPM | ROW_FAIRSEQ, .post = "b.e" } };
	for (int r = 0; r < 2; r++) {
		struct folder f = { .dir = "x", .row = &rows[r] };
		struct lm_err err = { 0 };
		struct tok *t = NULL;
		int rc = spm_load(&t, &f, "x", data, size, &err);
		if (rc) spm_must(!t && err.code == rc && err.msg[0], "refused without a sentence");
		for (unsigned i = 0; !rc && i < sizeof text / sizeof *text; i++)
			for (unsigned flags = 0; flags < 8; flags += 4) spm_text(t, text[i], strlen(text[i]), flags);
		if (!rc) spm_text(t, (const char *)data, size < 64 ? size : 64, TOK_PARSE_SPECIAL);
		tok_free(t);
		folder_free(&f);
	}
	return 0;
}
