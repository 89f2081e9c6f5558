/* Every fuzz target over its committed corpus (tests/fuzz/corpus/NAME), so that what a fuzzer once found stays found.
 * A new target is two lines here and one file beside this one. */
#include "test.h"
#include <dirent.h>

#define LLVMFuzzerTestOneInput fuzz_gguf
#include "fuzz/fuzz_gguf.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_jinja
#include "fuzz/fuzz_jinja.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_tok
#include "fuzz/fuzz_tok.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_spm
#include "fuzz/fuzz_spm.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_hfjson
#include "fuzz/fuzz_hfjson.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_safetensors
#include "fuzz/fuzz_safetensors.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_layouts
#include "fuzz/fuzz_layouts.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_torch
#include "fuzz/fuzz_torch.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_adapter
#include "fuzz/fuzz_adapter.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_answer
#include "fuzz/fuzz_answer.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_hfmap
#include "fuzz/fuzz_hfmap.c"
#undef LLVMFuzzerTestOneInput

static void replay(const char *name, int (*target)(const uint8_t *, size_t))
{
	char dir[200], path[600];
	struct dirent *e;
	int n = 0;
	snprintf(dir, sizeof dir, "tests/fuzz/corpus/%s", name);
	DIR *d = opendir(dir);
	if (!d) fail_msg("%s cannot be listed", dir);
	while ((e = readdir(d))) {
		struct lm_buf b = { 0 };
		struct lm_err err;
		if (e->d_name[0] == '.') continue;
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		assert_ok(lm_read_file(&b, path, 1 << 20, &err), err);
		uint8_t *exact = malloc(b.n ? b.n : 1);     /* no slack: a sanitizer sees one byte too far */
		assert_non_null(exact);
		if (b.n) memcpy(exact, b.p, b.n);
		target(exact, b.n);
		free(exact);
		lm_buf_free(&b);
		n++;
	}
	closedir(d);
	assert_true(n > 0);
}

LM_TEST(fuzz_corpus_answer) { replay("answer", fuzz_answer); }
LM_TEST(fuzz_corpus_adapter) { replay("adapter", fuzz_adapter); }
LM_TEST(fuzz_corpus_gguf) { replay("gguf", fuzz_gguf); }
LM_TEST(fuzz_corpus_hfmap) { replay("hfmap", fuzz_hfmap); }
LM_TEST(fuzz_corpus_jinja) { replay("jinja", fuzz_jinja); }
LM_TEST(fuzz_corpus_layouts) { replay("layouts", fuzz_layouts); }
LM_TEST(fuzz_corpus_spm) { replay("spm", fuzz_spm); }
LM_TEST(fuzz_corpus_tok) { replay("tok", fuzz_tok); }
LM_TEST(fuzz_corpus_hfjson) { replay("hfjson", fuzz_hfjson); }
LM_TEST(fuzz_corpus_safetensors) { replay("safetensors", fuzz_safetensors); }
LM_TEST(fuzz_corpus_torch) { replay("torch", fuzz_torch); }
