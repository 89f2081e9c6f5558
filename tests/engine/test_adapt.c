/* Adapters chosen by requests: each answer is the one that the request gets alone, whatever adapters its neighbours use
 * and whatever their prompts left in the prefix cache. */
#include "../model/gold.h"
#include "engine/convert.h"
#include <unistd.h>

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

/* convert --lora: the merged model, from any container, against peft's log-probabilities of the adapters. */
static double merged_off(const char *base, enum dtype type)
{
	static const struct lm_lora lora[] = { { LORA "llama-a", 0.7f }, { LORA "llama-b", -1.3f } };
	static float out[64 * 64];
	char path[] = "/tmp/lmrun-merged-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	struct convert_opt o = { .in = base, .out = path, .type = type, .no_tokenizer = true, .lora = lora, .n_lora = 2 };
	struct convert_done done;
	struct backend *be;
	struct lm_err err = { 0 };
	struct rig r;
	struct gold g;
	double worst = 0;
	assert_ok(convert_model(&o, &done, &err), err);
	assert_ok(backend_ref(&be, &err), err);
	rig_open(&r, path, be, DT_F32, 64);
	gold_open(&g, LORA "llama-2.gold");
	rig_run(&r, g.ids, 0, g.n_ids, 0, NULL, out);
	for (int i = 0; i < g.n_rows; i++) worst = fmax(worst, gold_diff(&g, i, out + i * r.n_vocab, r.n_vocab));
	gold_close(&g);
	rig_close(&r);
	unlink(path);
	return worst;
}

LM_TEST(adapt_convert_merges)
{
	static const char *const bases[] = { LORA "base-llama", "tests/model/tiny/llama.gguf" };
	for (int i = 0; i < 2; i++) {
		assert_true(merged_off(bases[i], DT_F32) < 1e-4);
		assert_true(merged_off(bases[i], DT_COUNT) < 1e-4);
		double d = merged_off(bases[i], DT_F16);
		assert_true(d > 1e-4 && d < 5e-2);                       /* what f16 costs this model: 0.02 */
	}
}
