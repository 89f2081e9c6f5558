/* Adapters chosen by requests: each answer is the one that the request gets alone, whatever adapters its neighbours use
 * and whatever their prompts left in the prefix cache. */
#include "test.h"
#include "engine/lmrun.h"
#include <math.h>

#define LORA "tests/model/lora/"
static const char *const SMOL = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
enum { N_OUT = 12, N_W = 4 };
static const float weights[N_W][2] = { { 1, 0 }, { 0, 1 }, { 0, 0 }, { 0.5f, -0.75f } };

struct result { int32_t tok[N_OUT]; float lp[N_OUT]; int n; struct lm_event end; };

static struct lm_engine *engine(void)
{
	static const struct lm_lora lora[] = { { LORA "smol-a", 1 }, { LORA "smol-b", 0 } };
	struct lm_engine_opt o = { .model = SMOL, .n_ctx = 512, .n_batch = 64, .n_threads = 2, .lora = lora, .n_lora = 2 };
	struct lm_engine *e;
	struct lm_err err;
	assert_ok(lm_engine_open(&e, &o, &err), err);
	assert_int_equal(lm_info(e)->n_lora, 2);
	return e;
}

static struct lm_request *ask(struct lm_engine *e, const float *w)
{
	static const char text[] = "Once upon a time there was a small machine that could read. Every morning it opened a book and read it "
				   "aloud to the other machines of the house, who could not read but liked to hear of far countries, so";
	struct lm_prompt p = { .text = text, .len = sizeof text - 1, .max_tokens = N_OUT, .n_logprobs = 1, .lora = w, .n_lora = w ? 2 : 0 };
	struct lm_request *r;
	struct lm_err err;
	lm_sampling_default(&p.sampling);
	p.sampling.temperature = 0;
	p.sampling.ignore_eos = true;
	assert_ok(lm_submit(&r, e, &p, &err), err);
	return r;
}

static void collect(struct lm_request *r, struct result *x)
{
	memset(x, 0, sizeof *x);
	while (lm_next(r, &x->end, 120000) && x->end.kind == LM_TEXT)
		if (x->end.token >= 0) x->tok[x->n] = x->end.token, x->lp[x->n++] = x->end.logprob;
	assert_int_equal(x->end.kind, LM_DONE);
	lm_request_free(r);
}

static void same(const struct result *a, const struct result *b)
{
	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->tok, b->tok, sizeof a->tok);
	assert_memory_equal(a->lp, b->lp, sizeof a->lp);
}

LM_TEST(adapt_requests_get_their_own_answers)
{
	struct result solo[N_W], x;
	struct lm_request *r[2 * N_W];
	for (int i = 0; i < N_W; i++) {
		struct lm_engine *e = engine();
		collect(ask(e, weights[i]), &solo[i]);
		assert_int_equal(solo[i].end.n_cached, 0);
		lm_engine_close(e);
		for (int k = 0; k < i; k++) assert_memory_not_equal(solo[i].lp, solo[k].lp, sizeof x.lp);
	}
	struct lm_engine *e = engine();
	for (int i = 0; i < 2 * N_W; i++) r[i] = ask(e, weights[i % N_W]);
	for (int i = 0; i < 2 * N_W; i++) {
		collect(r[i], &x);
		same(&x, &solo[i % N_W]);
	}
	for (int i = 0; i < N_W; i++) {                  /* what each finds in the cache now is its own */
		collect(ask(e, weights[i]), &x);
		assert_int_equal(x.end.n_cached, x.end.n_prompt / 32 * 32);
		same(&x, &solo[i]);
	}
	collect(ask(e, NULL), &x);                       /* the weights of the options */
	same(&x, &solo[0]);
	lm_engine_close(e);
}

LM_TEST(adapt_a_new_set_of_weights_finds_nothing_cached)
{
	static const float other[2] = { 0.9999999f, 0 };
	struct lm_engine *e = engine();
	struct result x;
	collect(ask(e, weights[0]), &x);
	collect(ask(e, other), &x);
	assert_int_equal(x.end.n_cached, 0);
	lm_engine_close(e);
}

LM_TEST(adapt_bad_weights_are_refused)
{
	static const float inf[2] = { 1, INFINITY };
	struct lm_engine *e = engine();
	struct lm_prompt p = { .text = "a", .len = 1, .max_tokens = 1, .lora = inf, .n_lora = 1 };
	struct lm_request *r;
	struct lm_err err;
	lm_sampling_default(&p.sampling);
	assert_int_equal(lm_submit(&r, e, &p, &err), LM_EINVAL);
	assert_non_null(strstr(err.msg, "2 adapters"));
	p.n_lora = 2;
	assert_int_equal(lm_submit(&r, e, &p, &err), LM_EINVAL);
	assert_non_null(strstr(err.msg, "adapter 2"));
	lm_engine_close(e);
}
