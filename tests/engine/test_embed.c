/* Texts pooled beside requests: cut into passes, from several threads, when the engine closes. */
#include "engine/lmrun.h"
#include "test.h"
#include <math.h>
#include <pthread.h>

#define PIPES "tests/cli/pipes/"
enum { N = 70, DIM = 64 };

static struct lm_engine *engine(const char *model, int n_batch)
{
	struct lm_engine_opt o = { .model = model, .n_batch = n_batch, .n_threads = 2 };
	struct lm_engine *e;
	struct lm_err err = { 0 };
	assert_ok(lm_engine_open(&e, &o, &err), err);
	return e;
}

/* Texts of 0 to 39 words. */
static void texts(struct lm_text *t, char buf[N][256])
{
	for (int i = 0; i < N; i++) {
		size_t n = 0;
		for (int k = 0; k < i * 7 % 40; k++) n += (size_t)snprintf(buf[i] + n, 256 - n, k % 3 ? "one " : "cat ");
		t[i] = (struct lm_text){ .text = buf[i], .len = n };
	}
}

/* Whatever a pass holds, and however a text is cut into passes: the same bytes. */
static void any_passes(const char *model)
{
	static float want[N * DIM], got[N * DIM];
	static char buf[N][256];
	struct lm_text t[N];
	struct lm_err err = { 0 };
	int tokens[N], n_dim = 0;
	texts(t, buf);
	for (int batch = 512; batch; batch = batch == 512 ? 48 : batch == 48 ? 3 : 0) {
		struct lm_engine *e = engine(model, batch);
		n_dim = lm_heads(e)->n_dim;
		assert_true(n_dim <= DIM);
		assert_ok(lm_embed(e, t, N, NULL, batch == 512 ? want : got, tokens, &err), err);
		if (batch != 512) assert_memory_equal(want, got, (size_t)(N * n_dim) * sizeof *want);
		for (int i = 0; i < N; i += 9) {
			assert_ok(lm_embed(e, &t[i], 1, NULL, got, NULL, &err), err);
			assert_memory_equal(want + i * n_dim, got, (size_t)n_dim * sizeof *want);
		}
		lm_engine_close(e);
	}
}

LM_TEST(embed_any_passes_encoder) { any_passes(PIPES "embed"); }
LM_TEST(embed_any_passes_decoder) { any_passes(PIPES "last"); }

struct worker { struct lm_engine *e; pthread_t thread; float out[N * DIM]; int rc; };

static void *work(void *ud)
{
	struct worker *w = ud;
	struct lm_text t[N];
	struct lm_err err = { 0 };
	for (int i = 0; i < N; i++) t[i] = (struct lm_text){ .text = "one two cat", .len = 3 + (size_t)(i % 9) };
	for (int i = 0; i < 5 && !w->rc; i++) w->rc = lm_embed(w->e, t, N, NULL, w->out, NULL, &err);
	return NULL;
}

/* Four threads and a request for an answer at once. */
LM_TEST(embed_threads)
{
	static struct worker w[4];
	struct lm_engine *e = engine(PIPES "last", 16);
	struct lm_request *r;
	struct lm_event ev;
	struct lm_err err = { 0 };
	int32_t ids[] = { 4, 5, 6 };
	struct lm_prompt p = { .ids = ids, .n_ids = 3, .max_tokens = 20 };
	lm_sampling_default(&p.sampling);
	p.sampling.ignore_eos = true;
	for (int i = 0; i < 4; i++) {
		w[i] = (struct worker){ .e = e };
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	assert_ok(lm_submit(&r, e, &p, &err), err);
	do assert_true(lm_next(r, &ev, -1));
	while (ev.kind != LM_DONE && ev.kind != LM_FAILED);
	assert_int_equal(ev.kind, LM_DONE);
	assert_int_equal(ev.n_out, 20);
	lm_request_free(r);
	for (int i = 0; i < 4; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].rc, 0);
		assert_memory_equal(w[i].out, w[0].out, sizeof w[i].out);
	}
	lm_engine_close(e);
}

/* What cannot be done is said before anything is queued. */
LM_TEST(embed_refusals)
{
	struct lm_engine *e = engine(PIPES "embed", 0), *words;
	struct lm_engine_opt o = { .model = PIPES "embed", .vocab_only = true };
	struct lm_err err = { 0 };
	float out[DIM];
	int32_t bad[] = { 2, 48 };
	struct lm_text t = { .text = "one", .len = 3 }, ids = { .ids = bad, .n_ids = 2 };
	struct lm_embed_opt opt = { .normalize = -1, .pooling = "median" };
	struct lm_prompt p = { .ids = bad, .n_ids = 1 };
	struct lm_request *r;
	lm_sampling_default(&p.sampling);
	assert_int_equal(lm_submit(&r, e, &p, &err), LM_EUNSUPPORTED);
	assert_int_equal(lm_embed(e, &t, 1, &opt, out, NULL, &err), LM_EINVAL);
	assert_non_null(strstr(err.msg, "median"));
	opt = (struct lm_embed_opt){ .normalize = -1, .dimensions = 17 };
	assert_int_equal(lm_embed(e, &t, 1, &opt, out, NULL, &err), LM_EINVAL);
	assert_int_equal(lm_embed(e, &ids, 1, NULL, out, NULL, &err), LM_EINVAL);
	ids.n_ids = 0;
	assert_int_equal(lm_embed(e, &ids, 1, NULL, out, NULL, &err), LM_EINVAL);
	assert_int_equal(lm_embed(e, &t, 0, NULL, out, NULL, &err), 0);
	assert_int_equal(lm_embed(e, &t, -1, NULL, out, NULL, &err), LM_EINVAL);
	assert_int_equal(lm_classify(e, &t, 1, NULL, out, NULL, &err), LM_EUNSUPPORTED);
	assert_int_equal(lm_rerank(e, "a", 1, &t, 1, NULL, out, NULL, &err), LM_EUNSUPPORTED);
	lm_engine_close(e);
	assert_ok(lm_engine_open(&words, &o, &err), err);
	assert_int_equal(lm_embed(words, &t, 1, NULL, out, NULL, &err), LM_EUNSUPPORTED);
	assert_int_equal(lm_classify(words, &t, 1, NULL, out, NULL, &err), LM_EUNSUPPORTED);
	assert_int_equal(lm_rerank(words, "a", 1, &t, 1, NULL, out, NULL, &err), LM_EUNSUPPORTED);
	lm_engine_close(words);
}

/* A chat model judges by the logits of yes and no after its template's question. */
LM_TEST(rerank_by_yes_and_no)
{
	struct lm_engine *e = engine(PIPES "last", 0);
	struct lm_err err = { 0 };
	struct lm_text t[2] = { { .text = "one cat", .len = 7 }, { .text = "blue", .len = 4 } };
	float score[2], again;
	assert_int_equal(lm_rerank(e, "cat", 3, t, 2, NULL, score, NULL, &err), LM_EUNSUPPORTED);
	assert_non_null(strstr(err.msg, "chat template"));
	lm_engine_close(e);
	struct lm_engine_opt o = { .model = PIPES "last", .n_threads = 2, .chat_template = "{{ messages[1].content[-30:] }}" };
	assert_ok(lm_engine_open(&e, &o, &err), err);
	assert_ok(lm_rerank(e, "cat", 3, t, 2, NULL, score, NULL, &err), err);
	assert_true(score[0] > 0 && score[0] < 1 && score[0] != score[1]);
	assert_ok(lm_rerank(e, "cat", 3, t + 1, 1, NULL, &again, NULL, &err), err);
	assert_memory_equal(&again, &score[1], sizeof again);
	lm_engine_close(e);
}

/* A text beyond the short factors' range is turned by the long ones from its first token on.  The numbers are the means over
 * transformers' last_hidden_state (float32), of 12 tokens and of 24; n_ctx_short is 16. */
LM_TEST(embed_longrope)
{
	static const float want[2][6] = { { 0.3257f, 0.11146f, -0.66195f, 0.17563f, 0.22195f, 0.08225f },
		                          { 0.0998f, 0.00693f, -0.63978f, 0.36879f, -0.01408f, 0.06414f } };
	for (int batch = 1; batch <= 512; batch *= 8) {
		struct lm_engine_opt o = { .model = "tests/model/hf/phi3-long", .device = "ref", .kv_type = "f32", .n_batch = batch };
		struct lm_engine *e;
		struct lm_err err = { 0 };
		int32_t ids[24];
		struct lm_text t[3] = { { .ids = ids, .n_ids = 12 }, { .ids = ids, .n_ids = 24 }, { .ids = ids, .n_ids = 12 } };
		float out[3][DIM];
		assert_ok(lm_engine_open(&e, &o, &err), err);
		assert_int_equal(lm_heads(e)->n_dim, 32);
		for (int i = 0; i < 24; i++) ids[i] = (i * 7 + 3) % 48;
		assert_ok(lm_embed(e, t, 3, NULL, out[0], NULL, &err), err);
		for (int i = 0; i < 3; i++)
			for (int k = 0; k < 6; k++) assert_true(fabsf((out[0] + i * 32)[k] - want[i % 2][k]) < 2e-5f);
		lm_engine_close(e);
	}
}
