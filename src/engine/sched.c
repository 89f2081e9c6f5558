/* sched.c - the engine thread: what each step computes, and what becomes of its logits.
 *
 * Prompt, answer and an answer resumed after preemption are one state: n_done < n_tok.  A step gives one row to
 * every request that has just one token to compute, and shares the rest of n_batch among those with more, the
 * shortest first.  By the contract of bytes a request's result does not depend on any of this.  When blocks run out
 * the newest request gives its back and waits; the oldest can take the whole pool, so it always gets on. */
#include "engine/engine.h"
#include "engine/logits.h"
#include <math.h>
#include <string.h>

enum { OUT_BYTES = 64 << 20 };                   /* logits of one step when a request wants them all */

/* ---- lists by age ------------------------------------------------------------------------------------------ */
static void wait_insert(struct lm_engine *e, struct lm_request *r)
{
	struct lm_request **at = &e->wait;
	while (*at && (*at)->id < r->id) at = &(*at)->next;
	r->next = *at;
	*at = r;
}

static void run_insert(struct lm_engine *e, struct lm_request *r)
{
	int i = e->n_run++;
	for (r->slot = 0; e->slot_taken[r->slot];) r->slot++;
	e->slot_taken[r->slot] = true;
	for (; i > 0 && e->run[i - 1]->id > r->id; i--) e->run[i] = e->run[i - 1];
	e->run[i] = r;
}

static void run_remove(struct lm_engine *e, const struct lm_request *r)
{
	int i = 0;
	while (e->run[i] != r) i++;
	e->slot_taken[r->slot] = false;
	e->n_run--;
	memmove(&e->run[i], &e->run[i + 1], (size_t)(e->n_run - i) * sizeof e->run[0]);
}

/* ---- endings; r has left both lists ------------------------------------------------------------------------- */
static void done(struct lm_engine *e, struct lm_request *r, enum lm_finish fin, const char *stop)
{
	double now = lm_now();
	kv_release(e->pool, &r->kv);
	struct lm_event ev = { .kind = LM_DONE, .finish = fin, .stop = stop, .token = -1, .n_prompt = r->n_prompt,
		               .n_cached = r->n_cached, .n_out = r->n_tok - r->n_prompt };
	if (r->started) ev.t_prompt = (r->answering ? r->t_first : now) - r->t_start;
	if (r->answering) ev.t_out = now - r->t_first;
	request_finish(r, &ev);
}

static void failed(struct lm_engine *e, struct lm_request *r, const struct lm_err *err)
{
	kv_release(e->pool, &r->kv);
	request_finish(r, &(struct lm_event){ .kind = LM_FAILED, .token = -1, .err = *err });
}

static void drop_canceled(struct lm_engine *e, bool all)
{
	for (int i = e->n_run - 1; i >= 0; i--) {
		struct lm_request *r = e->run[i];
		if (!all && !atomic_load(&r->cancel)) continue;
		run_remove(e, r);
		done(e, r, LM_FIN_CANCELED, NULL);
	}
	for (struct lm_request **at = &e->wait; *at;) {
		struct lm_request *r = *at;
		if (!all && !atomic_load(&r->cancel)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		done(e, r, LM_FIN_CANCELED, NULL);
	}
}

/* ---- planning: sets n_step of every running request --------------------------------------------------------- */
static void preempt(struct lm_engine *e, struct lm_request *r)
{
	kv_release(e->pool, &r->kv);
	r->n_done = r->n_step = 0;
	run_remove(e, r);
	wait_insert(e, r);
}

/* Room for r's next n positions, at the cost of newer requests.  false: r itself was the newest and waits now. */
static bool grow(struct lm_engine *e, struct lm_request *r, int n)
{
	while (!kv_grow(e->pool, &r->kv, r->n_done + n)) {
		struct lm_request *last = e->run[e->n_run - 1];
		preempt(e, last);
		if (last == r) return false;
	}
	r->n_step = n;
	return true;
}

/* LongRoPE turns all keys of a sequence otherwise once it is too long for the short factors: it begins anew. */
static void extend(struct lm_engine *e, struct lm_request *r)
{
	if (!e->n_ctx_short || r->n_tok <= e->n_ctx_short || r->extended) return;
	kv_release(e->pool, &r->kv);
	r->n_done = 0;
	r->extended = true;
}

static bool wants_all(const struct lm_request *r) { return r->p.prompt_logprobs || r->p.on_logits; }

static void admit(struct lm_engine *e)
{
	while (e->wait && e->n_run < e->n_slots) {
		struct lm_request *r = e->wait;
		extend(e, r);
		/* cached positions have no logits: who wants them all computes them all; and no recurrent state */
		r->n_done = wants_all(r) || r->extended || e->recurrent ? 0 : kv_match(e->pool, &r->kv, r->salt, r->tok, r->n_tok);
		int need = (r->n_tok + KV_BLOCK) / KV_BLOCK - r->kv.n;
		if (need > kv_n_free(e->pool) && e->n_run > 0) {
			kv_release(e->pool, &r->kv);
			r->n_done = 0;
			return;
		}
		e->wait = r->next;
		if (!r->started) {
			r->started = true;
			r->t_start = lm_now();
			r->n_cached = r->n_done;
		}
		run_insert(e, r);
	}
}

static int cap_rows(const struct lm_engine *e, const struct lm_request *r, int n)
{
	int most = (int)((size_t)OUT_BYTES / sizeof(float) / (size_t)e->n_vocab);
	if (most < 1) most = 1;
	return wants_all(r) && n > most ? most : n;
}

static void plan(struct lm_engine *e)
{
	int left = e->n_batch;
	for (int i = 0; i < e->n_run; i++) {
		e->run[i]->n_step = 0;
		extend(e, e->run[i]);
	}
	for (int i = 0; i < e->n_run && left > 0; i++) {
		struct lm_request *r = e->run[i];
		if (r->n_tok - r->n_done == 1 && grow(e, r, 1)) left--;
	}
	if (left > 0) admit(e);
	for (;;) {
		struct lm_request *r = NULL;
		int n = 0;
		for (int i = 0; i < e->n_run; i++) {
			struct lm_request *o = e->run[i];
			if (o->n_step) continue;
			n++;
			if (!r || o->n_tok - o->n_done < r->n_tok - r->n_done) r = o;
		}
		if (!r || left <= 0) return;
		int share = left / n > 0 ? left / n : 1, rest = r->n_tok - r->n_done;
		share = cap_rows(e, r, rest < share ? rest : share);
		if (grow(e, r, share)) left -= share;
	}
}

/* ---- one step ------------------------------------------------------------------------------------------------ */
/* Fills the batch; returns the rows whose logits are wanted. */
static int fill(struct lm_engine *e, struct batch *b)
{
	int n = 0, n_want = 0;
	for (int i = 0; i < e->n_run; i++) {
		struct lm_request *r = e->run[i];
		e->table[i] = r->kv.table;
		e->extended[i] = r->extended;
		e->lora[i] = r->p.lora;
		e->slot[i] = r->slot;
		for (int k = 0; k < r->n_step; k++, n++) {
			int pos = r->n_done + k;
			e->token[n] = r->tok[pos];
			e->pos[n] = pos;
			e->seq[n] = i;
			e->want[n] = pos == r->n_tok - 1 || (wants_all(r) && pos >= r->n_seen);
			n_want += e->want[n];
		}
	}
	*b = (struct batch){ .at = { .n_rows = n, .n_seqs = e->n_run, .token = e->token, .pos = e->pos, .seq = e->seq,
		                     .table = e->table, .slot = e->slot }, .want = e->want, .extended = e->extended,
		              .lora = e->n_lora ? e->lora : NULL };
	return n_want;
}

/* Reports row `pos`, the distribution of the token at pos + 1. */
static int report(struct lm_engine *e, struct lm_request *r, int pos, const float *logits, struct lm_err *err)
{
	int imax = logits_max(logits, e->n_vocab);
	if (imax < 0)
		return lm_fail(err, LM_EFORMAT, "the model computed logits that are not numbers at position %d: its weights "
		               "are damaged or overflow", pos);
	double norm = logits_norm(logits, e->n_vocab, imax);
	if (r->p.on_logits) {
		for (int i = 0; i < e->n_vocab; i++) e->row[i] = (float)((double)logits[i] - norm);
		r->p.on_logits(r->p.on_logits_ud, pos, e->row, e->n_vocab);
	}
	int rc = 0;
	struct lm_event ev = { .kind = LM_PROMPT, .text = "" };
	if (r->p.prompt_logprobs && pos == 0) {
		ev.token = r->tok[0];
		ev.logprob = NAN;
		rc = request_push(r, &ev, err);
	}
	if (!rc && r->p.prompt_logprobs && pos + 1 < r->n_prompt) {
		ev.token = r->tok[pos + 1];
		ev.pos = pos + 1;
		ev.logprob = (float)((double)logits[ev.token] - norm);
		ev.n_top = r->p.n_logprobs < e->n_vocab ? r->p.n_logprobs : e->n_vocab;
		ev.top = e->top;
		if (ev.n_top) logits_top(logits, e->n_vocab, ev.n_top, e->top);
		for (int i = 0; i < ev.n_top; i++) e->top[i].logprob = (float)((double)e->top[i].logprob - norm);
		rc = request_push(r, &ev, err);
	}
	r->n_seen = pos + 1;
	return rc;
}

/* Text that was held back and will not become a stop string or a character any more. */
static int flush(struct lm_engine *e, struct lm_request *r, struct lm_err *err)
{
	const char *text;
	size_t n;
	struct lm_event ev = { .kind = LM_TEXT, .token = -1, .logprob = NAN, .pos = r->n_tok - 1 };
	struct lm_buf b = { 0 };
	stop_end(&r->stop, &text, &n);
	lm_buf_add(&b, text, n);
	tok_stream_end(e->tok, &r->ts, &b);
	ev.text = lm_buf_cstr(&b);
	ev.len = b.n;
	int rc = b.bad ? lm_fail(err, LM_ENOMEM, "out of memory for the text") : b.n ? request_push(r, &ev, err) : 0;
	lm_buf_free(&b);
	return rc;
}

static int logprobs(struct lm_engine *e, const struct lm_request *r, const float *logits, struct lm_event *ev)
{
	int imax = logits_max(logits, e->n_vocab);
	double norm = logits_norm(logits, e->n_vocab, imax);
	ev->n_top = r->p.n_logprobs < e->n_vocab ? r->p.n_logprobs : e->n_vocab;
	ev->top = e->top;
	ev->logprob = (float)((double)logits[ev->token] - norm);
	logits_top(logits, e->n_vocab, ev->n_top, e->top);
	for (int i = 0; i < ev->n_top; i++) e->top[i].logprob = (float)((double)e->top[i].logprob - norm);
	return 0;
}

/* What an answer has come to: 0 goes on, 1 done (*fin, *stop), negative failed. */
static int advance(struct lm_engine *e, struct lm_request *r, float *logits, enum lm_finish *fin, const char **stop,
                   struct lm_err *err)
{
	*fin = LM_FIN_LENGTH;
	*stop = NULL;
	if (!r->answering) r->answering = true, r->t_first = lm_now();
	if (r->p.max_tokens == 0) return 1;
	int id = sampler_pick(r->smp, logits, r->tok, r->n_tok, err), hit = -1, rc = 0;
	if (id < 0) return id;
	bool end = tok_is_end(e->tok, id);
	struct lm_event ev = { .kind = LM_TEXT, .token = id, .logprob = NAN, .pos = r->n_tok };
	r->tok[r->n_tok++] = id;
	if (!end || r->p.special || r->p.markers) {
		bool show = r->p.special || (r->p.markers && reader_marks(e, id));
		e->piece.n = 0;
		if (show || !end) tok_stream_push(e->tok, &r->ts, id, show, &e->piece);
		hit = stop_push(&r->stop, lm_buf_cstr(&e->piece), e->piece.n, &ev.text, &ev.len);
		if (r->stop.held.bad || e->piece.bad) return lm_fail(err, LM_ENOMEM, "out of memory for the text");
		if (r->p.n_logprobs) logprobs(e, r, logits, &ev);
		rc = request_push(r, &ev, err);
	}
	if (hit >= 0) *stop = r->stop.s[hit];
	if (hit >= 0 || end) *fin = LM_FIN_STOP;
	if (rc || (hit < 0 && !end && r->n_tok < r->n_max)) return rc;
	if (hit < 0) rc = flush(e, r, err);
	return rc ? rc : 1;
}

/* The step's results for one request; its wanted rows begin at *out. */
static void take(struct lm_engine *e, struct lm_request *r, float **out)
{
	struct lm_err err;
	enum lm_finish fin = LM_FIN_LENGTH;
	const char *stop = NULL;
	int rc = 0;
	float *last = NULL;
	for (int k = 0; k < r->n_step; k++) {
		int pos = r->n_done + k;
		bool all = wants_all(r) && pos >= r->n_seen;
		if (pos != r->n_tok - 1 && !all) continue;
		last = *out;
		*out += e->n_vocab;
		if (all && rc == 0) rc = report(e, r, pos, last, &err);
	}
	r->n_done += r->n_step;
	if (!r->extended && !e->recurrent) kv_publish(e->pool, &r->kv, r->salt, r->tok, r->n_done);
	if (rc == 0 && r->n_done == r->n_tok) rc = advance(e, r, last, &fin, &stop, &err);
	if (rc == 0) return;
	run_remove(e, r);
	if (rc > 0) done(e, r, fin, stop);
	else failed(e, r, &err);
}

static void step(struct lm_engine *e)
{
	struct batch b;
	struct lm_err err;
	plan(e);
	size_t need = (size_t)fill(e, &b) * (size_t)e->n_vocab;
	int rc = 0;
	if (b.at.n_rows == 0) return;
	if (need > e->n_out) {
		float *p = lm_realloc(e->out, need * sizeof *p);
		if (p) e->out = p, e->n_out = need;
		else rc = lm_fail(&err, LM_ENOMEM, "out of memory for %zu logits", need);
	}
	if (!rc) rc = e->forward(e->model, e->state, &b, e->out, &err);
	struct lm_request *in[MAX_RUN];
	int n = e->n_run;
	memcpy(in, e->run, (size_t)n * sizeof in[0]);
	float *out = e->out;
	for (int i = 0; i < n; i++) {
		if (!in[i]->n_step) continue;
		if (!rc) {
			take(e, in[i], &out);
			continue;
		}
		run_remove(e, in[i]);
		failed(e, in[i], &err);
	}
}

void *sched_main(void *engine)
{
	struct lm_engine *e = engine;
	for (;;) {
		pthread_mutex_lock(&e->mu);
		while (!e->closing && !e->inbox && !e->jobs && !e->wait && e->n_run == 0) pthread_cond_wait(&e->wake, &e->mu);
		struct lm_request *r = e->inbox;
		bool closing = e->closing;
		e->inbox = NULL;
		e->inbox_tail = &e->inbox;
		pthread_mutex_unlock(&e->mu);
		while (r) {
			struct lm_request *next = r->next;
			wait_insert(e, r);
			r = next;
		}
		drop_canceled(e, closing);
		if (closing) {
			embed_cancel(e);
			return NULL;
		}
		embed_step(e);
		step(e);
	}
}

int sched_init(struct lm_engine *e, struct lm_err *err)
{
	size_t n = (size_t)e->n_batch;
	e->token = lm_calloc(n, sizeof *e->token);
	e->pos = lm_calloc(n, sizeof *e->pos);
	e->seq = lm_calloc(n, sizeof *e->seq);
	e->want = lm_calloc(n, 1);
	e->row = lm_malloc((size_t)e->n_vocab * sizeof *e->row);
	e->top = lm_calloc(100, sizeof *e->top);
	if (e->token && e->pos && e->seq && e->want && e->row && e->top) return 0;
	return lm_fail(err, LM_ENOMEM, "out of memory for batches of %d rows", e->n_batch);
}

void sched_free(struct lm_engine *e)
{
	lm_free(e->token);
	lm_free(e->pos);
	lm_free(e->seq);
	lm_free(e->want);
	lm_free(e->row);
	lm_free(e->top);
	lm_buf_free(&e->piece);
	lm_free(e->out);
}
