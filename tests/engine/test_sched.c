/* The scheduler with a fake model, whose next token is a hash of the tokens it reads back through the block table:
 * a block that is stale, shared too early or handed out twice changes the answer.  Every answer must be the one that
 * the request gets alone, whatever the company, pool size, chunk, cancelling and preemption. */
#include "test.h"
#include "engine/engine.h"
#include "engine/logits.h"

enum { VOCAB = 64, FIRST = 24, N_CTX = 256, LONG = 1 << 20 };    /* ids below FIRST are control tokens of the real tokenizer */

/* n_slots > 0: a recurrent model, whose state of a sequence is where it stands and the hash of what it has read. */
struct fake {
	int32_t *mem;
	int n_rows_max, n_forward, fail_at, n_ctx_short, n_slots;
	struct { int pos; uint32_t hash; } state[MAX_RUN];
};

static int next_token(const int32_t *tok, int n)
{
	uint32_t h = 2166136261u;
	for (int i = 0; i < n; i++) h = (h ^ (uint32_t)tok[i]) * 16777619u;
	return FIRST + (int)((h >> 7) % (VOCAB - FIRST));
}

/* Reads row i into its sequence's slot; the token that follows. */
static int recur(struct fake *f, const struct seqs *at, int i)
{
	int slot = at->slot[at->seq[i]];

	assert_true(slot >= 0 && slot < f->n_slots);
	for (int k = 0; k < at->n_seqs; k++) assert_true(k == at->seq[i] || at->slot[k] != slot);
	if (at->pos[i] == 0) f->state[slot].pos = 0, f->state[slot].hash = 2166136261u;
	assert_int_equal(f->state[slot].pos++, at->pos[i]);
	f->state[slot].hash = (f->state[slot].hash ^ (uint32_t)at->token[i]) * 16777619u;
	return FIRST + (int)((f->state[slot].hash >> 7) % (VOCAB - FIRST));
}

static int fake_forward(const struct model *m, struct state *st, const struct batch *b, float *out, struct lm_err *err)
{
	struct fake *f = (struct fake *)(uintptr_t)m;
	(void)st;
	if (++f->n_forward == f->fail_at) return lm_fail(err, LM_EDEVICE, "the fake device fell over");
	assert_true(b->at.n_rows > 0 && b->at.n_rows <= f->n_rows_max);
	for (int i = 0; i < b->at.n_rows; i++) {
		const int32_t *t = b->at.table[b->at.seq[i]];
		int pos = b->at.pos[i], seen[N_CTX + 1], mark = b->extended[b->at.seq[i]] ? LONG : 0;
		if (i && b->at.seq[i] == b->at.seq[i - 1]) assert_int_equal(pos, b->at.pos[i - 1] + 1);
		assert_true(mark ? f->n_ctx_short > 0 : !f->n_ctx_short || pos < f->n_ctx_short);
		f->mem[t[pos / KV_BLOCK] * KV_BLOCK + pos % KV_BLOCK] = b->at.token[i] | mark;
		int next = f->n_slots ? recur(f, &b->at, i) : -1;
		if (!b->want[i]) continue;
		for (int p = 0; p <= pos; p++) {
			seen[p] = f->mem[t[p / KV_BLOCK] * KV_BLOCK + p % KV_BLOCK] ^ mark;
			assert_true(seen[p] < LONG);             /* no key turned by the other factors */
		}
		for (int v = 0; v < VOCAB; v++) out[v] = v < FIRST ? -50 : (float)(v * 7 % 13) * 0.1f;
		assert_true(next < 0 || next == next_token(seen, pos + 1));
		out[next_token(seen, pos + 1)] = 20;
		out += VOCAB;
	}
	return 0;
}

static void engine_up(struct lm_engine *e, struct fake *f, struct file **file, int n_blocks, int n_batch)
{
	struct lm_err err;
	*e = (struct lm_engine){ .forward = fake_forward, .model = (struct model *)(void *)f, .n_vocab = VOCAB, .n_batch = n_batch, .n_slots = MAX_RUN };
	*f = (struct fake){ .mem = calloc((size_t)n_blocks * KV_BLOCK, sizeof *f->mem), .n_rows_max = n_batch };
	assert_ok(file_open(file, "models/SmolLM2-135M-Instruct.Q4_1.gguf", &err), err);
	assert_ok(tok_load(&e->tok, *file, &err), err);
	e->info.n_ctx = N_CTX;
	e->info.name = "fake";
	e->inbox_tail = &e->inbox;
	pthread_mutex_init(&e->mu, NULL);
	pthread_cond_init(&e->wake, NULL);
	assert_ok(kv_new(&e->pool, n_blocks, &err), err);
	assert_ok(sched_init(e, &err), err);
	assert_int_equal(pthread_create(&e->thread, NULL, sched_main, e), 0);
}

static void engine_down(struct lm_engine *e, struct fake *f, struct file *file)
{
	pthread_mutex_lock(&e->mu);
	e->closing = true;
	pthread_cond_signal(&e->wake);
	pthread_mutex_unlock(&e->mu);
	pthread_join(e->thread, NULL);
	assert_true(kv_check(e->pool, NULL, 0));
	sched_free(e);
	kv_free(e->pool);
	tok_free(e->tok);
	file_close(file);
	free(f->mem);
}

static struct lm_request *ask(struct lm_engine *e, const int32_t *tok, int n, int max)
{
	struct lm_prompt p = { .ids = tok, .n_ids = n, .max_tokens = max };
	struct lm_request *r;
	struct lm_err err;
	lm_sampling_default(&p.sampling);
	p.sampling.temperature = 0.8f;
	assert_ok(lm_submit(&r, e, &p, &err), err);
	return r;
}

/* Reads r to its end; the tokens must be those of the hash. */
static void expect(struct lm_request *r, const int32_t *tok, int n, int max, bool may_be_cut)
{
	int32_t seq[N_CTX + 1];
	struct lm_event ev;
	int at = n;
	memcpy(seq, tok, (size_t)n * sizeof *seq);
	for (;;) {
		assert_true(lm_next(r, &ev, 60000));
		if (ev.kind != LM_TEXT) break;
		if (ev.token < 0) continue;
		assert_int_equal(ev.pos, at);
		assert_int_equal(ev.token, next_token(seq, at));
		seq[at++] = ev.token;
	}
	assert_int_equal(ev.kind, LM_DONE);
	assert_int_equal(ev.n_prompt, n);
	assert_int_equal(ev.n_out, at - n);
	if (ev.finish == LM_FIN_CANCELED) assert_true(may_be_cut);
	else assert_int_equal(at, n + max < N_CTX ? n + max : N_CTX);
	assert_true(lm_next(r, &ev, 0) && ev.kind == LM_DONE);   /* the last event stays */
}

static uint32_t rng_state;
static int rnd(int n)
{
	rng_state = rng_state * 1664525u + 1013904223u;
	return (int)((rng_state >> 8) % (uint32_t)n);
}

struct job { struct lm_request *r; int32_t tok[N_CTX]; int n, max; bool cut; };

static void make_job(struct lm_engine *e, struct job *j)
{
	int trunk = rnd(3), shared = rnd(150), own = 1 + rnd(20);
	*j = (struct job){ .n = shared + own, .max = 1 + rnd(60), .cut = rnd(8) == 0 };
	for (int i = 0; i < shared; i++) j->tok[i] = FIRST + (trunk * 5 + i * 3) % (VOCAB - FIRST);
	for (int i = shared; i < j->n; i++) j->tok[i] = FIRST + rnd(VOCAB - FIRST);
	j->r = ask(e, j->tok, j->n, j->max);
}

LM_TEST(sched_company_changes_nothing)
{
	static const struct { int blocks, batch, limit, slots; } c[] = {
		{ 8, 1, 0, 0 }, { 8, 64, 0, 0 }, { 9, 3, 0, 0 }, { 20, 16, 0, 0 }, { 64, 512, 0, 0 },
		{ 8, 64, 60, 0 }, { 9, 3, 33, 0 }, { 20, 16, 100, 0 }, { 64, 512, 7, 0 },       /* LongRoPE's short factors end there */
		{ 8, 64, 0, 1 }, { 8, 16, 0, 4 }, { 9, 3, 0, 32 }, { 64, 512, 0, 5 }, { 20, 16, 0, 32 }     /* recurrent */
	};
	for (size_t k = 0; k < sizeof c / sizeof c[0]; k++) {
		struct lm_engine e;
		struct fake f;
		struct file *file;
		struct job j[24];
		rng_state = (uint32_t)k + 1;
		engine_up(&e, &f, &file, c[k].blocks, c[k].batch);
		e.n_ctx_short = f.n_ctx_short = c[k].limit;
		f.n_slots = c[k].slots;
		e.recurrent = f.n_slots > 0;
		if (f.n_slots) e.n_slots = f.n_slots;
		for (int round = 0; round < 3; round++) {
			for (int i = 0; i < 24; i++) make_job(&e, &j[i]);
			for (int i = 0; i < 24; i++)
				if (j[i].cut) lm_cancel(j[i].r);
			for (int i = 0; i < 24; i++) expect(j[i].r, j[i].tok, j[i].n, j[i].max, j[i].cut);
			for (int i = 0; i < 24; i++) lm_request_free(j[i].r);
		}
		engine_down(&e, &f, file);
	}
}

LM_TEST(sched_next_turn_reuses_the_prefix)
{
	struct lm_engine e;
	struct fake f;
	struct file *file;
	struct lm_event ev;
	int32_t tok[200];
	engine_up(&e, &f, &file, 8, 64);
	for (int i = 0; i < 200; i++) tok[i] = FIRST + i % 31;
	for (int n = 100; n <= 200; n += 50) {
		struct lm_request *r = ask(&e, tok, n, 3);
		do assert_true(lm_next(r, &ev, 60000));
		while (ev.kind == LM_TEXT);
		assert_int_equal(ev.n_cached, n == 100 ? 0 : (n - 50) / KV_BLOCK * KV_BLOCK);
		lm_request_free(r);
	}
	engine_down(&e, &f, file);
}

/* Requests freed while they run, or left when the engine closes, leave nothing behind. */
LM_TEST(sched_frees_and_closes_in_flight)
{
	for (int round = 0; round < 20; round++) {
		struct lm_engine e;
		struct fake f;
		struct file *file = NULL;
		struct job j[6];
		struct lm_event ev;
		rng_state = (uint32_t)round;
		engine_up(&e, &f, &file, 10, 8);
		for (int i = 0; i < 6; i++) make_job(&e, &j[i]);
		for (int i = 0; i < 3; i++) lm_request_free(j[i].r);
		engine_down(&e, &f, file);
		for (int i = 3; i < 6; i++) {
			while (lm_next(j[i].r, &ev, 0) && ev.kind == LM_TEXT) {}
			assert_int_equal(ev.kind, LM_DONE);
			lm_request_free(j[i].r);
		}
	}
}

LM_TEST(sched_a_failing_device_fails_those_in_the_step)
{
	struct lm_engine e;
	struct fake f;
	struct file *file;
	struct lm_event ev;
	int32_t tok[] = { FIRST, FIRST + 1 };
	engine_up(&e, &f, &file, 8, 64);
	f.fail_at = 3;
	struct lm_request *r = ask(&e, tok, 2, 50);
	do assert_true(lm_next(r, &ev, 60000));
	while (ev.kind == LM_TEXT);
	assert_int_equal(ev.kind, LM_FAILED);
	assert_non_null(strstr(ev.err.msg, "fell over"));
	lm_request_free(r);
	r = ask(&e, tok, 2, 5);                          /* and the next one is served */
	expect(r, tok, 2, 5, false);
	lm_request_free(r);
	engine_down(&e, &f, file);
}

struct rows { int n; float at[N_CTX]; const int32_t *tok; int n_tok; };
static void on_row(void *ud, int pos, const float *lp, int n_vocab)
{
	struct rows *r = ud;
	double sum = 0;
	assert_int_equal(pos, r->n);
	assert_int_equal(n_vocab, VOCAB);
	for (int i = 0; i < n_vocab; i++) sum += logits_exp((double)lp[i]);
	assert_true(sum > 0.999999 && sum < 1.000001);
	r->at[r->n++] = pos + 1 < r->n_tok ? lp[r->tok[pos + 1]] : 0;
}

LM_TEST(sched_prompt_logprobs_in_order_and_once)
{
	for (int batch = 1; batch < 200; batch = batch * 3 + 1) {
		struct lm_engine e;
		struct fake f;
		struct file *file;
		struct lm_event ev;
		struct lm_err err;
		struct lm_request *r;
		int32_t tok[90];
		for (int i = 0; i < 90; i++) tok[i] = FIRST + i * 5 % 40;
		struct rows rows = { .tok = tok, .n_tok = 90 };
		engine_up(&e, &f, &file, 8, batch);
		struct lm_prompt p = { .ids = tok, .n_ids = 90, .max_tokens = 0, .prompt_logprobs = true, .n_logprobs = 3,
			               .on_logits = on_row, .on_logits_ud = &rows };
		lm_sampling_default(&p.sampling);
		for (int again = 0; again < 2; again++) {
			rows.n = 0;
			assert_ok(lm_submit(&r, &e, &p, &err), err);
			for (int i = 0; i < 90; i++) {
				assert_true(lm_next(r, &ev, 60000));
				assert_int_equal(ev.kind, LM_PROMPT);
				assert_int_equal(ev.pos, i);
				assert_int_equal(ev.token, tok[i]);
				if (i == 0) assert_true(ev.logprob != ev.logprob);
				else assert_true(ev.logprob == rows.at[i - 1] && ev.n_top == 3 && ev.top[0].id == next_token(tok, i));
			}
			assert_true(lm_next(r, &ev, 60000) && ev.kind == LM_DONE && ev.n_out == 0 && ev.n_cached == 0);
			assert_int_equal(rows.n, 90);
			lm_request_free(r);
		}
		engine_down(&e, &f, file);
	}
}
