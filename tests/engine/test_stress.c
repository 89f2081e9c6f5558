/* The contract of bytes under everything at once: requests with their own adapters, prompts that share prefixes, recurrent
 * states, LongRoPE's border, a pool that is too small, cancelled neighbours and vectors asked for in between.  What each
 * gets must be, bit for bit, what it gets alone from one thread of portable code in passes of one row. */
#include "test.h"
#include "base/cpu.h"
#include "engine/lmrun.h"
#include <pthread.h>

#define HF "tests/model/hf/"
#define ENC "tests/model/enc/"
#define LORA "tests/model/lora/"
enum { CTX = 160, VOCAB = 64, DIM = 64, N_JOB = 9, N_TEXT = 12, N_W = 4 };

static const struct lm_lora llama_lora[] = { { LORA "llama-a", 1 }, { LORA "llama-b", -0.5f } };
static const struct lm_lora phi3_lora[] = { { LORA "phi3-a", 1 }, { LORA "phi3-b", 0 } };
static const struct lm_lora gpt2_lora[] = { { LORA "gpt2-a", 0 }, { LORA "gpt2-b", 1 } };
struct model { const char *path, *device, *quantize, *kv_type; const struct lm_lora *lora; };
static const struct model models[] = {
	{ .path = LORA "base-llama", .lora = llama_lora }, { .path = HF "llama", .quantize = "nf4", .lora = llama_lora },
	{ .path = HF "llama-window", .kv_type = "f32" }, { .path = HF "gpt2", .lora = gpt2_lora }, { .path = HF "gpt2", .quantize = "int8" },
	{ .path = HF "phi3-long", .kv_type = "f32" }, { .path = HF "phi3-long", .quantize = "q4_0" }, { .path = HF "phi3", .lora = phi3_lora },
	{ .path = HF "mamba" }, { .path = HF "mamba2" }, { .path = HF "mamba2", .quantize = "q4_0" }, { .path = HF "granitehybrid-moe" }, { .path = HF "falcon-h1" },
	{ .path = HF "lfm2-bias" }, { .path = HF "nemotron_h" }, { .path = HF "qwen3next" }, { .path = HF "qwen3next", .quantize = "nf4" },
	{ .path = HF "qwen3next", .device = "ref" }, { .path = HF "granitehybrid", .device = "ref" }, { .path = HF "phi3-long", .device = "ref" },
	{ .path = HF "qwen3moe", .quantize = "q8_0" }, { .path = HF "gpt-oss-mxfp4" }, { .path = HF "deepseek2-v3" }, { .path = HF "deepseek2", .kv_type = "f32" },
	{ .path = HF "llama-mixtral-window" }, { .path = HF "gemma3", .quantize = "nf4" }, { .path = HF "cohere2-window" }, { .path = HF "qwen2moe" },
};

static uint32_t rng_state;
static int rnd(int n)
{
	rng_state = rng_state * 1664525u + 1013904223u;
	return (int)((rng_state >> 8) % (uint32_t)n);
}

static struct lm_engine *engine(const struct model *m, const char *level, int n_threads, int n_batch, int n_ctx)
{
	struct lm_engine_opt o = { .model = m->path, .device = m->device, .quantize = m->quantize, .kv_type = m->kv_type,
		                   .lora = m->lora, .n_lora = m->lora ? 2 : 0, .cpu_level = level, .n_threads = n_threads,
		                   .n_batch = n_batch, .n_ctx = n_ctx };
	struct lm_engine *e;
	struct lm_err err;
	assert_ok(lm_engine_open(&e, &o, &err), err);
	return e;
}

/* ---- requests ---------------------------------------------------------------------------------------------- */
/* What a request asks for, and what came of it: row p is the distribution after position p. */
struct ask { int32_t ids[CTX]; int n, max, rows; float w[2], temperature; uint64_t seed; bool lora, cut; };
struct got { float row[CTX][VOCAB]; int32_t tok[CTX]; uint8_t have[CTX]; int n; enum lm_finish fin; };
struct flight { struct lm_request *r; const struct ask *a; struct got *g; };

static void make_ask(struct ask *a, const struct model *m, int n_vocab, int ctx)
{
	static const float weights[N_W][2] = { { 1, 0 }, { 0, 0 }, { 0.5f, -0.75f }, { 1, 1e-6f } };
	int trunk = m->lora ? 0 : rnd(3), shared = m->lora ? 40 + rnd(40) : rnd(3) ? rnd(80) : 0, own = 1 + rnd(24);
	*a = (struct ask){ .n = shared + own, .max = 1 + rnd(30), .rows = rnd(4) % 3, .seed = (uint64_t)rnd(1000), .cut = rnd(7) == 0,
		           .lora = m->lora && rnd(4), .temperature = rnd(2) ? 0.9f : 0 };
	memcpy(a->w, weights[rnd(N_W)], sizeof a->w);
	if (a->n >= ctx) a->n = ctx - 1;
	for (int i = 0; i < a->n; i++) a->ids[i] = i < shared ? (trunk * 5 + i * 3) % n_vocab : rnd(n_vocab);
}

static void on_row(void *ud, int pos, const float *lp, int n_vocab)
{
	struct got *g = ud;
	assert_true(pos >= 0 && pos < CTX && n_vocab <= VOCAB && !g->have[pos]);
	memcpy(g->row[pos], lp, (size_t)n_vocab * sizeof *lp);
	g->have[pos] = 1;
}

/* rows 0: log-probabilities of the answer; 1: every row; 2: of the prompt and the answer. */
static struct lm_request *submit(struct lm_engine *e, const struct ask *a, struct got *g)
{
	struct lm_prompt p = { .ids = a->ids, .n_ids = a->n, .max_tokens = a->max, .n_logprobs = VOCAB, .prompt_logprobs = a->rows == 2 };
	struct lm_request *r;
	struct lm_err err;
	memset(g, 0, sizeof *g);
	lm_sampling_default(&p.sampling);
	p.sampling.temperature = a->temperature;
	p.sampling.seed = a->seed;
	p.sampling.ignore_eos = true;
	if (a->lora) p.lora = a->w, p.n_lora = 2;
	if (a->rows == 1) p.on_logits = on_row, p.on_logits_ud = g;
	assert_ok(lm_submit(&r, e, &p, &err), err);
	return r;
}

static void take_top(struct got *g, const struct lm_event *ev)
{
	int pos = ev->pos - 1;
	if (!ev->n_top || g->have[pos]) return;
	for (int i = 0; i < ev->n_top; i++) g->row[pos][ev->top[i].id] = ev->top[i].logprob;
	g->have[pos] = 1;
}

static void collect(struct lm_request *r, struct got *g)
{
	struct lm_event ev;
	for (;;) {
		assert_true(lm_next(r, &ev, 300000));
		if (ev.kind == LM_FAILED) fail_msg("the request failed: %s", ev.err.msg);
		if (ev.kind == LM_DONE) break;
		if (ev.token < 0) continue;
		take_top(g, &ev);
		if (ev.kind == LM_TEXT) g->tok[g->n++] = ev.token;
	}
	g->fin = ev.finish;
	lm_request_free(r);
}

static void same(const struct ask *a, const struct got *solo, const struct got *x, int n_vocab, const char *where)
{
	if (x->fin == LM_FIN_CANCELED) assert_true(a->cut);
	else if (x->n != solo->n) fail_msg("%s: %d tokens, alone %d", where, x->n, solo->n);
	for (int i = 0; i < x->n; i++)
		if (x->tok[i] != solo->tok[i]) fail_msg("%s: token %d is %d, alone %d", where, i, x->tok[i], solo->tok[i]);
	for (int i = 0; i < CTX; i++)
		if (x->have[i] && memcmp(x->row[i], solo->row[i], (size_t)n_vocab * sizeof(float)))
			fail_msg("%s: prompt of %d, the row of position %d differs from the one computed alone", where, a->n, i);
}

/* ---- texts between the steps ---------------------------------------------------------------------------------- */
struct texts { int32_t ids[N_TEXT][CTX]; struct lm_text t[N_TEXT]; float out[N_TEXT][DIM]; int n_dim; };
struct worker { pthread_t thread; struct lm_engine *e; const struct texts *x; uint32_t seed; int calls, bad; bool classes; };

static int vectors(struct lm_engine *e, bool classes, const struct lm_text *t, int n, float *out)
{
	static const struct lm_embed_opt o = { .normalize = 1 };
	struct lm_err err;
	int rc = classes ? lm_classify(e, t, n, &o, out, NULL, &err) : lm_embed(e, t, n, &o, out, NULL, &err);
	if (rc) fprintf(stderr, "%s\n", err.msg);
	return rc;
}

static void make_texts(struct texts *x, struct lm_engine *e, int n_vocab, bool classes)
{
	const struct lm_heads_info *h = lm_heads(e);
	x->n_dim = classes ? h->n_label : h->n_dim;
	assert_true(x->n_dim > 0 && x->n_dim <= DIM);
	for (int i = 0; i < N_TEXT; i++) {
		int n = 1 + rnd(i % 4 ? 20 : 90);
		if (n > h->max_tokens) n = h->max_tokens;
		for (int k = 0; k < n; k++) x->ids[i][k] = rnd(n_vocab);
		x->t[i] = (struct lm_text){ .ids = x->ids[i], .n_ids = n };
		assert_int_equal(vectors(e, classes, &x->t[i], 1, x->out[i]), 0);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint32_t s = w->seed;
	float out[N_TEXT * DIM];
	for (int i = 0; i < w->calls; i++) {
		int from = (int)((s >> 8) % N_TEXT), n = 1 + (int)((s >> 16) % (uint32_t)(N_TEXT - from));
		s = s * 1664525u + 1013904223u;
		if (vectors(w->e, w->classes, &w->x->t[from], n, out)) w->bad++;
		for (int k = 0; k < n; k++)
			w->bad += memcmp(out + k * w->x->n_dim, w->x->out[from + k], (size_t)w->x->n_dim * sizeof *out) != 0;
	}
	return NULL;
}

/* ---- everything at once ---------------------------------------------------------------------------------------- */
static const char *any_level(const struct model *m, char *text, size_t cap, int n_threads, int n_batch, int n_ctx)
{
	unsigned flags;
	const char *level;
	do level = cpu_levels[rnd(n_cpu_levels)].name;
	while (cpu_flags(&flags, level, NULL));
	snprintf(text, cap, "%s%s%s, %s, %d threads, batch %d, context %d", m->path, m->quantize ? " as " : "",
		 m->quantize ? m->quantize : "", level, n_threads, n_batch, n_ctx);
	return level;
}

/* Half of the requests go first; the others come while these run, some cut off at any moment. */
static void round_of(struct lm_engine *e, const struct ask *a, const struct got *solo, struct got *x, int n_vocab, const char *where)
{
	struct flight f[N_JOB];
	struct lm_event ev;
	int order[N_JOB];
	for (int i = 0; i < N_JOB; i++) order[i] = i;
	for (int i = N_JOB - 1; i > 0; i--) {
		int k = rnd(i + 1), t = order[i];
		order[i] = order[k], order[k] = t;
	}
	for (int i = 0; i < N_JOB; i++) {
		int k = order[i];
		f[i] = (struct flight){ submit(e, &a[k], &x[k]), &a[k], &x[k] };
		if (i == N_JOB / 2 && lm_next(f[0].r, &ev, 2) && ev.token >= 0 && ev.kind != LM_DONE) {
			take_top(f[0].g, &ev);
			if (ev.kind == LM_TEXT) f[0].g->tok[f[0].g->n++] = ev.token;
		}
		if (a[k].cut && rnd(2)) lm_cancel(f[i].r);
	}
	for (int i = 0; i < N_JOB; i++)
		if (f[i].a->cut) lm_cancel(f[i].r);
	for (int i = 0; i < N_JOB; i++) {
		collect(f[i].r, f[i].g);
		same(f[i].a, &solo[f[i].a - a], f[i].g, n_vocab, where);
	}
}

static void company(const struct model *m, int n_rounds)
{
	static const int batches[] = { 1, 3, 16, 33, 64, 512 }, contexts[] = { CTX, 96, 128 };
	struct got *solo = calloc(2 * N_JOB, sizeof *solo), *x = solo + N_JOB;
	struct ask *a = calloc(N_JOB, sizeof *a);
	struct texts *t = calloc(1, sizeof *t);
	int ctx = contexts[rnd(3)];
	char where[200];
	struct lm_engine *e = engine(m, "c", 1, 1, ctx);
	int n_vocab = lm_info(e)->n_vocab;
	assert_true(solo && a && t && n_vocab <= VOCAB);
	make_texts(t, e, n_vocab, false);
	for (int i = 0; i < N_JOB; i++) {
		make_ask(&a[i], m, n_vocab, ctx);
		struct ask all = a[i];
		all.rows = 1;                            /* nothing is cached then */
		collect(submit(e, &all, &solo[i]), &solo[i]);
	}
	lm_engine_close(e);
	for (int k = 0; k < n_rounds; k++) {
		int n_threads = 1 + rnd(3), n_batch = batches[rnd(6)];
		const char *level = any_level(m, where, sizeof where, n_threads, n_batch, ctx);
		e = engine(m, level, n_threads, n_batch, ctx);
		struct worker w = { .e = e, .x = t, .seed = rng_state, .calls = 3 };
		assert_int_equal(pthread_create(&w.thread, NULL, work, &w), 0);
		round_of(e, a, solo, x, n_vocab, where);
		round_of(e, a, solo, x, n_vocab, where);  /* with what the first one left in the cache */
		pthread_join(w.thread, NULL);
		if (w.bad) fail_msg("%s: %d vectors differ from those computed alone", where, w.bad);
		lm_engine_close(e);
	}
	free(solo);
	free(a);
	free(t);
}

/* LMRUN_STRESS=N: N times as long, from another seed each. */
static int times(void)
{
	const char *s = getenv("LMRUN_STRESS");
	return s && atoi(s) > 0 ? atoi(s) : 1;
}

LM_TEST(stress_company_changes_no_byte)
{
	for (int k = 0; k < times(); k++)
		for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
			rng_state = (uint32_t)(k * 1000 + (int)i + 1);
			company(&models[i], k ? 3 : 1);
		}
}

static void texts(const struct model *m, bool classes)
{
	struct texts *t = calloc(1, sizeof *t);
	struct worker w[3];
	char where[200];
	struct lm_engine *e = engine(m, "c", 1, 1, 0);
	int n_vocab = lm_info(e)->n_vocab, n_threads = 1 + rnd(3), n_batch = rnd(2) ? 16 : 200;
	assert_non_null(t);
	make_texts(t, e, n_vocab, classes);
	lm_engine_close(e);
	const char *level = any_level(m, where, sizeof where, n_threads, n_batch, 0);
	e = engine(m, level, n_threads, n_batch, 0);
	for (int i = 0; i < 3; i++) {
		w[i] = (struct worker){ .e = e, .x = t, .seed = rng_state + (uint32_t)i * 77777u, .calls = 4, .classes = classes };
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (int i = 0; i < 3; i++) {
		pthread_join(w[i].thread, NULL);
		if (w[i].bad) fail_msg("%s: %d vectors differ from those computed alone", where, w[i].bad);
	}
	lm_engine_close(e);
	free(t);
}

LM_TEST(stress_encoders_change_no_byte)
{
	static const struct { struct model m; bool classes; } c[] = {
		{ { .path = ENC "bert" }, false }, { { .path = ENC "bert-cls" }, true }, { { .path = ENC "distilbert" }, true }, { { .path = ENC "roberta" }, true },
		{ { .path = ENC "nomic-bert", .quantize = "nf4" }, false }, { { .path = ENC "modern-bert", .quantize = "q8_0" }, false },
		{ { .path = ENC "gemma-embedding", .quantize = "q4_0" }, false }, { { .path = ENC "modern-bert", .device = "ref" }, false },
	};
	for (int k = 0; k < times(); k++)
		for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
			rng_state = (uint32_t)(k * 1000 + (int)i + 1);
			texts(&c[i].m, c[i].classes);
		}
}

/* Ids that the model knows and the tokenizer does not, as where the output matrix was padded, are passed over. */
LM_TEST(stress_ids_without_a_text)
{
	struct model m = { .path = HF "llama" };
	struct lm_engine *e = engine(&m, NULL, 1, 0, 0);
	int32_t ids[] = { 4, 47, 48 };
	struct lm_err err = { 0 };
	char *text;
	size_t n;
	assert_ok(lm_detokenize(e, ids, 2, true, &text, &n, &err), err);
	assert_true(n == 0 && text && !*text);
	lm_text_free(text);
	assert_int_equal(lm_detokenize(e, ids, 3, true, &text, &n, &err), LM_EINVAL);
	lm_engine_close(e);
}

/* Learned positions end: no request may come so far that a pass fails, with all who are in it. */
LM_TEST(stress_learned_positions_end)
{
	static const struct model m = { .path = HF "gpt2" };
	struct lm_engine *e = engine(&m, NULL, 2, 512, 4096);
	struct lm_prompt p = { .n_ids = 100, .max_tokens = -1 };
	struct lm_request *r[2];
	struct lm_event ev;
	struct lm_err err = { 0 };
	static int32_t ids[200];
	p.ids = ids;
	lm_sampling_default(&p.sampling);
	p.sampling.ignore_eos = true;
	assert_int_equal(lm_info(e)->n_ctx, 128);
	for (int i = 0; i < 2; i++, p.n_ids = 30) assert_ok(lm_submit(&r[i], e, &p, &err), err);
	for (int i = 0; i < 2; i++) {
		do assert_true(lm_next(r[i], &ev, 60000));
		while (ev.kind == LM_TEXT);
		if (ev.kind != LM_DONE) fail_msg("%s", ev.err.msg);
		assert_int_equal(ev.n_prompt + ev.n_out, 128);
		lm_request_free(r[i]);
	}
	p.n_ids = 129;
	assert_int_equal(lm_submit(&r[0], e, &p, &err), LM_ELIMIT);
	lm_engine_close(e);
}
