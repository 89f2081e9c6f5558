/* The real models' tokenizers against goldens of the `tokenizers` library (tools/gold_tok.py). */
#include "test.h"
#include "tokenizer/tok.h"

static struct tok *open_model(const char *path, struct file **f)
{
	struct lm_err e = { 0 };
	struct tok *t = NULL;
	if (file_open(f, path, &e)) fail_msg("%s (run `make models`)", e.msg);
	assert_ok(tok_load(&t, *f, &e), e);
	return t;
}

LM_TEST(tok_smollm2_hello)
{
	struct file *f;
	struct tok *t = open_model("models/SmolLM2-135M-Instruct.Q4_1.gguf", &f);
	int32_t ids[16], want[] = { 1, 19556, 905, 2 };
	struct lm_err e;
	const char *s = "<|im_start|>Hello world<|im_end|>";
	assert_int_equal(tok_encode(t, s, strlen(s), TOK_PARSE_SPECIAL, ids, 16, &e), 4);
	assert_memory_equal(ids, want, sizeof want);
	struct lm_buf b = { 0 };
	tok_decode(t, ids, 4, true, &b);
	assert_string_equal(lm_buf_cstr(&b), s);
	lm_buf_free(&b);
	assert_true(tok_is_end(t, 2) && tok_is_end(t, 0) && !tok_is_end(t, 1));
	tok_free(t);
	file_close(f);
}
