/* The engine on real models: one answer whatever the way it was computed, and every promise of lmrun.h. */
#include "test.h"
#include "engine/lmrun.h"
#include <math.h>

static const char *const SMOL = "models/SmolLM2-135M-Instruct.Q4_1.gguf", *const GEMMA = "models/gemma-3-270m-q4_k_m.gguf";

struct result { int32_t tok[256]; float lp[256]; int n; char text[8192]; size_t len; char stop[16]; struct lm_event end; };

static struct lm_engine *engine(const char *model, int n_ctx, int n_batch)
{
	struct lm_engine_opt o = { .model = model, .n_ctx = n_ctx, .n_batch = n_batch, .n_threads = 2 };
	struct lm_engine *e;
	struct lm_err err;
	assert_ok(lm_engine_open(&e, &o, &err), err);
	return e;
}

static struct lm_prompt prompt(const char *text, int max)
{
	struct lm_prompt p = { .text = text, .len = strlen(text), .add_bos = true, .parse_special = true, .max_tokens = max };
	lm_sampling_default(&p.sampling);
	p.sampling.seed = 7;
	return p;
}

static struct lm_request *submit(struct lm_engine *e, const struct lm_prompt *p)
{
	struct lm_request *r;
	struct lm_err err;
	assert_ok(lm_submit(&r, e, p, &err), err);
	return r;
}

static void collect(struct lm_request *r, struct result *x)
{
	*x = (struct result){ 0 };
	while (lm_next(r, &x->end, 120000) && x->end.kind != LM_DONE && x->end.kind != LM_FAILED) {
		if (x->end.kind != LM_TEXT) continue;
		assert_true(lm_utf8_valid(x->end.text, x->end.len));
		if (x->end.token >= 0) x->tok[x->n] = x->end.token, x->lp[x->n++] = x->end.logprob;
		memcpy(x->text + x->len, x->end.text, x->end.len);
		x->len += x->end.len;
	}
	if (x->end.kind != LM_DONE) fail_msg("the request failed: %s", x->end.err.msg);
	if (x->end.stop) snprintf(x->stop, sizeof x->stop, "%s", x->end.stop);
	lm_request_free(r);
	x->end.stop = NULL;                              /* the request's */
}

static void same(const struct result *a, const struct result *b)
{
	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->tok, b->tok, (size_t)a->n * sizeof a->tok[0]);
	assert_memory_equal(a->lp, b->lp, (size_t)a->n * sizeof a->lp[0]);
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a->text, b->text, a->len);
}

static const char *const stories[] = {
	"Once upon a time there was a small machine that could read. Every morning it opened a book and",
	"The capital of France is Paris. The capital of Italy is Rome. The capital of",
	"def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
	"Water boils at one hundred degrees. Ice melts at zero. At night the pond",
};

/* Alone, together, cut off by cancelled neighbours, with prefixes found again, in chunks of any size. */
static void company(const char *model)
{
	struct result alone[4], x;
	static const int batches[] = { 512, 7, 1 };
	for (int k = 0; k < 3; k++) {
		struct lm_engine *e = engine(model, 1024, batches[k]);
		struct lm_request *r[4], *other;
		for (int i = 0; i < 4 && k == 0; i++) {
			struct lm_prompt p = prompt(stories[i], 10);
			p.n_logprobs = 2;
			collect(submit(e, &p), &alone[i]);
		}
		for (int round = 0; round < (k ? 1 : 2); round++) {
			struct lm_prompt q = prompt(stories[3], 30);
			other = submit(e, &q);
			for (int i = 0; i < 4; i++) {
				struct lm_prompt p = prompt(stories[i], 10);
				p.n_logprobs = 2;
				r[i] = submit(e, &p);
			}
			lm_request_free(other);
			for (int i = 0; i < 4; i++) {
				collect(r[i], &x);
				same(&alone[i], &x);
			}
		}
		lm_engine_close(e);
	}
}

LM_TEST(engine_company_changes_no_byte_smollm2) { company(SMOL); }
LM_TEST(engine_company_changes_no_byte_gemma) { company(GEMMA); }

LM_TEST(engine_next_turn_is_the_same_and_cached)
{
	struct lm_engine *e = engine(SMOL, 512, 0);
	struct result first, again, cold;
	char longer[4096];
	struct lm_prompt p = prompt("One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
	                            "sixteen seventeen eighteen nineteen twenty twenty-one twenty-two twenty-three", 40);
	p.sampling.temperature = 0;
	p.n_logprobs = 1;
	collect(submit(e, &p), &first);
	assert_int_equal(first.end.n_cached, 0);
	snprintf(longer, sizeof longer, "%s%.*s", p.text, (int)first.len, first.text);
	p.text = longer;
	p.len = strlen(longer);
	collect(submit(e, &p), &again);
	assert_true(again.end.n_cached >= 32);
	lm_engine_close(e);
	e = engine(SMOL, 512, 0);
	collect(submit(e, &p), &cold);
	assert_int_equal(cold.end.n_cached, 0);
	same(&again, &cold);
	lm_engine_close(e);
}

LM_TEST(engine_stops_and_limits)
{
	struct lm_engine *e = engine(SMOL, 64, 0);
	struct result free_run, x;
	struct lm_prompt p = prompt("Count: 1, 2, 3, 4, 5, 6,", 20);
	p.sampling.temperature = 0;
	collect(submit(e, &p), &free_run);
	assert_int_equal(free_run.end.finish, LM_FIN_LENGTH);
	assert_int_equal(free_run.end.n_out, 20);
	p.stop = (const char *const[]){ "zebra", "9" };
	p.n_stop = 2;
	collect(submit(e, &p), &x);
	char *nine = memchr(free_run.text, '9', free_run.len);
	assert_non_null(nine);
	assert_int_equal(x.end.finish, LM_FIN_STOP);
	assert_string_equal(x.stop, "9");
	assert_int_equal(x.len, nine - free_run.text);
	assert_memory_equal(x.text, free_run.text, x.len);
	p.n_stop = 0;
	p.max_tokens = -1;                               /* until the context is full */
	p.sampling.ignore_eos = true;
	collect(submit(e, &p), &x);
	assert_int_equal(x.end.finish, LM_FIN_LENGTH);
	assert_int_equal(x.end.n_prompt + x.end.n_out, 64);
	p.max_tokens = 0;
	collect(submit(e, &p), &x);
	assert_int_equal(x.end.n_out, 0);
	assert_int_equal(x.stop[0], 0);
	lm_engine_close(e);
}

LM_TEST(engine_cancels_within_a_step)
{
	struct lm_engine *e = engine(SMOL, 2048, 0);
	struct lm_prompt p = prompt("Once upon a time", 2000);
	struct lm_event ev;
	struct lm_request *r = submit(e, &p);
	assert_true(lm_next(r, &ev, 60000));
	double t = lm_now();
	lm_cancel(r);
	while (lm_next(r, &ev, 60000) && ev.kind == LM_TEXT) {}
	assert_int_equal(ev.kind, LM_DONE);
	assert_int_equal(ev.finish, LM_FIN_CANCELED);
	assert_true(lm_now() - t < 5);
	assert_false(ev.n_out >= 2000);
	lm_request_free(r);
	r = submit(e, &p);
	assert_false(lm_next(r, &ev, 0) && ev.kind == LM_DONE);
	lm_engine_close(e);                              /* with a request under way */
	while (lm_next(r, &ev, 0) && ev.kind == LM_TEXT) {}
	assert_int_equal(ev.finish, LM_FIN_CANCELED);
	lm_request_free(r);
}

/* Log-probabilities of prompt tokens are those the same tokens get as an answer. */
LM_TEST(engine_prompt_logprobs_are_the_answers)
{
	struct lm_engine *e = engine(SMOL, 512, 16);
	struct result gen;
	struct lm_event ev;
	struct lm_prompt p = prompt("The quick brown fox", 24);
	int32_t ids[64];
	struct lm_err err;
	p.sampling.temperature = 0;
	p.n_logprobs = 3;
	collect(submit(e, &p), &gen);
	int n = lm_tokenize(e, p.text, p.len, true, true, ids, 64, &err);
	assert_true(n > 0 && gen.n > 4);
	memcpy(ids + n, gen.tok, (size_t)gen.n * sizeof *ids);
	p.ids = ids;
	p.n_ids = n + gen.n;
	p.max_tokens = 0;
	p.prompt_logprobs = true;
	struct lm_request *r = submit(e, &p);
	for (int i = 0; i < p.n_ids; i++) {
		assert_true(lm_next(r, &ev, 60000));
		assert_int_equal(ev.kind, LM_PROMPT);
		assert_int_equal(ev.token, ids[i]);
		if (i < n) continue;
		assert_true(ev.logprob == gen.lp[i - n]);
		assert_int_equal(ev.top[0].id, ids[i]);          /* greedy chose the best */
		assert_true(ev.n_top == 3 && ev.top[0].logprob == ev.logprob && ev.top[1].logprob <= ev.logprob);
	}
	lm_request_free(r);
	lm_engine_close(e);
}

static void refused(struct lm_engine *e, const struct lm_prompt *p, int code, const char *a, const char *b)
{
	struct lm_request *r;
	struct lm_err err = { 0 };
	assert_int_equal(lm_submit(&r, e, p, &err), code);
	assert_null(r);
	if (!strstr(err.msg, a) || !strstr(err.msg, b)) fail_msg("\"%s\" lacks \"%s\" or \"%s\"", err.msg, a, b);
}

LM_TEST(engine_refuses_at_submit)
{
	struct lm_engine *e = engine(SMOL, 64, 0);
	char big[4096];
	memset(big, 'a', sizeof big);
	for (size_t i = 1; i < sizeof big; i += 2) big[i] = ' ';
	struct lm_prompt ok = prompt("hi", 4), p = ok;
	p.text = big, p.len = sizeof big;
	refused(e, &p, LM_ELIMIT, "tokens", "64");
	p = ok;
	p.ids = (const int32_t[]){ 1, 49152 }, p.n_ids = 2;
	refused(e, &p, LM_EINVAL, "49152", "token 1");
	p.ids = (const int32_t[]){ -1 }, p.n_ids = 1;
	refused(e, &p, LM_EINVAL, "-1", "token 0");
	p.n_ids = 0;
	refused(e, &p, LM_EINVAL, "empty", "prompt");
	p = ok, p.sampling.temperature = -1;
	refused(e, &p, LM_EINVAL, "temperature", "-1");
	p = ok, p.sampling.top_p = NAN;
	refused(e, &p, LM_EINVAL, "top_p", "nan");
	p = ok, p.max_tokens = -2;
	refused(e, &p, LM_EINVAL, "max_tokens", "-2");
	p = ok, p.n_logprobs = 101;
	refused(e, &p, LM_EINVAL, "logprobs", "101");
	p = ok, p.stop = (const char *const[]){ "x", "" }, p.n_stop = 2;
	refused(e, &p, LM_EINVAL, "stop string 2", "empty");
	lm_engine_close(e);
}

static void no_engine(struct lm_engine_opt o, int code, const char *says)
{
	struct lm_engine *e;
	struct lm_err err = { 0 };
	assert_int_equal(lm_engine_open(&e, &o, &err), code);
	assert_null(e);
	if (!strstr(err.msg, says)) fail_msg("\"%s\" lacks \"%s\"", err.msg, says);
}

LM_TEST(engine_open_says_what_is_wrong)
{
	no_engine((struct lm_engine_opt){ 0 }, LM_EINVAL, "model");
	no_engine((struct lm_engine_opt){ .model = "no/such.gguf" }, LM_EIO, "no/such.gguf");
	no_engine((struct lm_engine_opt){ .model = "tests/test.h" }, LM_EFORMAT, "tests/test.h");
	no_engine((struct lm_engine_opt){ .model = SMOL, .device = "tpu" }, LM_EINVAL, "tpu");
	no_engine((struct lm_engine_opt){ .model = SMOL, .device = "metal" }, LM_EUNSUPPORTED, "metal");
	no_engine((struct lm_engine_opt){ .model = SMOL, .kv_type = "q2" }, LM_EINVAL, "q2");
	no_engine((struct lm_engine_opt){ .model = SMOL, .n_ctx = -5 }, LM_EINVAL, "-5");
	no_engine((struct lm_engine_opt){ .model = SMOL, .n_ctx = 60000000 }, LM_ENOMEM, "context of 60000000");
	no_engine((struct lm_engine_opt){ .model = SMOL, .cpu_level = "pentium" }, LM_EINVAL, "pentium");
	no_engine((struct lm_engine_opt){ .model = SMOL, .chat_template = "nosuch" }, LM_EINVAL, "nosuch");
}

LM_TEST(engine_info_and_vocab_only)
{
	struct lm_engine *e = engine(SMOL, 0, 0);
	const struct lm_model_info *m = lm_info(e);
	assert_string_equal(m->arch, "llama");
	assert_string_equal(m->quant, "q4_1");
	assert_int_equal(m->n_vocab, 49152);
	assert_int_equal(m->n_ctx_train, 8192);
	assert_true(m->n_ctx >= 512 && m->kv_bytes > 0 && m->has_chat_template && m->t_load > 0);
	lm_engine_close(e);
	struct lm_engine_opt o = { .model = SMOL, .vocab_only = true };
	struct lm_err err;
	assert_ok(lm_engine_open(&e, &o, &err), err);
	struct lm_prompt p = prompt("hi", 1);
	refused(e, &p, LM_EUNSUPPORTED, "without", "weights");
	int32_t ids[16], bad = -3;
	char *text;
	size_t len;
	int n = lm_tokenize(e, "hello world", 11, false, false, ids, 16, &err);
	assert_int_equal(n, 2);
	assert_ok(lm_detokenize(e, ids, n, false, &text, &len, &err), err);
	assert_string_equal(text, "hello world");
	lm_text_free(text);
	assert_int_equal(lm_detokenize(e, &bad, 1, false, &text, &len, &err), LM_EINVAL);
	lm_engine_close(e);
}

LM_TEST(engine_plan)
{
	struct lm_engine *e = engine(SMOL, 0, 0);
	struct lm_plan p;
	struct lm_err err;
	assert_int_equal(lm_plan(e, &p, &err), LM_EINVAL);             /* this one is for running */
	lm_engine_close(e);
	struct lm_engine_opt o = { .model = SMOL, .dry = true, .n_ctx = 1000, .n_batch = 64, .n_threads = 2 };
	assert_ok(lm_engine_open(&e, &o, &err), err);
	assert_ok(lm_plan(e, &p, &err), err);
	assert_int_equal(p.kv, 32 * 32 * 30 * 2 * 3 * 64 * 2);         /* blocks, positions, layers, K and V, heads, f16 */
	assert_int_equal(p.made, 0);
	assert_int_equal(p.token_bytes, lm_info(e)->token_bytes);
	assert_int_equal(p.own, p.program + p.made + p.kv + p.slots + p.step + p.device);
	assert_true(p.mapped <= lm_info(e)->n_bytes && p.mapped > lm_info(e)->n_bytes * 99 / 100);      /* head and embedding are one */
	struct lm_prompt q = prompt("hi", 1);
	refused(e, &q, LM_EUNSUPPORTED, "without", "weights");
	lm_engine_close(e);
}

/* A template without a system role gets the system text before the first user message; other refusals are told. */
LM_TEST(engine_folds_a_system_message)
{
	static const char tmpl[] = "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
	                           "{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}";
	struct lm_engine_opt o = { .model = SMOL, .vocab_only = true, .chat_template = tmpl };
	struct lm_engine *e;
	struct lm_err err = { 0 };
	char *text;
	assert_ok(lm_engine_open(&e, &o, &err), err);
	const char *sys = "{\"messages\":[{\"role\":\"system\",\"content\":\"Be kind.\"},{\"role\":\"user\",\"content\":\"Hi\"}]}";
	assert_ok(lm_render_chat(e, sys, strlen(sys), &text, &err), err);
	assert_string_equal(text, "<|im_start|><user>Be kind.\n\nHi");
	lm_text_free(text);
	const char *alone = "{\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]}";
	assert_int_equal(lm_render_chat(e, alone, strlen(alone), &text, &err), LM_EINVAL);
	assert_non_null(strstr(err.msg, "no system"));
	assert_null(text);
	assert_int_equal(lm_render_chat(e, "[1]", 3, &text, &err), LM_EFORMAT);
	assert_int_equal(lm_render_chat(e, "{", 1, &text, &err), LM_EFORMAT);
	lm_engine_close(e);
}

LM_TEST(engine_says_that_a_model_has_no_template)
{
	struct lm_engine_opt o = { .model = "tests/fixtures/tok/tiny_spm.gguf", .vocab_only = true };
	struct lm_engine *e;
	struct lm_err err;
	char *text;
	assert_ok(lm_engine_open(&e, &o, &err), err);
	assert_false(lm_info(e)->has_chat_template);
	assert_int_equal(lm_render_chat(e, "{}", 2, &text, &err), LM_EUNSUPPORTED);
	assert_non_null(strstr(err.msg, "no chat template"));
	lm_engine_close(e);
	o.model = GEMMA;                                 /* its special tokens tell which built-in one it is */
	assert_ok(lm_engine_open(&e, &o, &err), err);
	assert_false(lm_info(e)->has_chat_template);
	const char *hi = "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"add_generation_prompt\":true}";
	assert_ok(lm_render_chat(e, hi, strlen(hi), &text, &err), err);
	assert_non_null(strstr(text, "<start_of_turn>user\nHi<end_of_turn>"));
	lm_text_free(text);
	lm_engine_close(e);
}
