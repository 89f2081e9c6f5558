/* request.c - a request's life outside the engine thread: checked and queued, its events waited for, freed. */
#include "engine/engine.h"
#include <errno.h>
#include <string.h>
#include <time.h>

enum { MAX_LOGPROBS = 100, MAX_STOPS = 1024 };

/* ---- events ---------------------------------------------------------------------------------------------- */
int request_push(struct lm_request *r, const struct lm_event *ev, struct lm_err *err)
{
	size_t top = (size_t)ev->n_top * sizeof *ev->top;
	struct event *n = lm_malloc(sizeof *n + top + ev->len + 1);
	if (!n) return lm_fail(err, LM_ENOMEM, "out of memory for an event");
	n->next = NULL;
	n->ev = *ev;
	char *at = (char *)(n + 1);
	if (top) memcpy(at, ev->top, top);
	n->ev.top = (struct lm_lp *)(void *)at;
	if (ev->len) memcpy(at + top, ev->text, ev->len);
	at[top + ev->len] = 0;
	n->ev.text = at + top;
	pthread_mutex_lock(&r->mu);
	if (r->orphan) {
		lm_free(n);
	} else {
		if (r->tail) r->tail->next = n;
		else r->head = n;
		r->tail = n;
		pthread_cond_signal(&r->cv);
		if (r->p.notify) r->p.notify(r->p.notify_ud);
	}
	pthread_mutex_unlock(&r->mu);
	return 0;
}

static void destroy(struct lm_request *r)
{
	if (!r) return;
	for (struct event *n = r->head, *next; n; n = next) {
		next = n->next;
		lm_free(n);
	}
	lm_free(r->shown);
	stop_free(&r->stop);
	sampler_free(r->smp);
	lm_arena_free(r->arena);
	pthread_cond_destroy(&r->cv);
	pthread_mutex_destroy(&r->mu);
	lm_free(r);
}

void request_finish(struct lm_request *r, const struct lm_event *final)
{
	pthread_mutex_lock(&r->mu);
	bool orphan = r->orphan;
	r->final = *final;
	r->finished = true;
	pthread_cond_broadcast(&r->cv);
	if (!orphan && r->p.notify) r->p.notify(r->p.notify_ud);
	pthread_mutex_unlock(&r->mu);            /* from here on the caller may free r */
	if (orphan) destroy(r);
}

bool lm_next(struct lm_request *r, struct lm_event *ev, int timeout_ms)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	if (timeout_ms > 0) {
		until.tv_sec += timeout_ms / 1000;
		until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
		if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&r->mu);
	while (!r->head && !r->finished && timeout_ms != 0) {
		int rc = timeout_ms < 0 ? pthread_cond_wait(&r->cv, &r->mu) : pthread_cond_timedwait(&r->cv, &r->mu, &until);
		if (rc == ETIMEDOUT) break;
	}
	struct event *n = r->head;
	bool any = n || r->finished;
	if (any) lm_free(r->shown), r->shown = n;
	if (n) {
		r->head = n->next;
		if (!r->head) r->tail = NULL;
		*ev = n->ev;
	} else if (any) {
		*ev = r->final;
	}
	pthread_mutex_unlock(&r->mu);
	return any;
}

void lm_cancel(struct lm_request *r) { atomic_store(&r->cancel, true); }

void lm_request_free(struct lm_request *r)
{
	if (!r) return;
	lm_cancel(r);
	pthread_mutex_lock(&r->mu);
	while (!r->finished && r->p.on_logits) pthread_cond_wait(&r->cv, &r->mu);   /* its callback must not run on */
	bool gone = r->finished;
	r->orphan = true;
	pthread_mutex_unlock(&r->mu);
	if (gone) destroy(r);
}

/* ---- submitting -------------------------------------------------------------------------------------------- */
static int copy_stops(struct lm_request *r, const struct lm_prompt *p, struct lm_err *err)
{
	if (p->n_stop < 0 || p->n_stop > MAX_STOPS)
		return lm_fail(err, LM_EINVAL, "%d stop strings: at most %d are allowed", p->n_stop, MAX_STOPS);
	const char **s = lm_new(r->arena, const char *, p->n_stop);
	size_t *len = lm_new(r->arena, size_t, p->n_stop);
	if (!s || !len) return lm_fail(err, LM_ENOMEM, "out of memory for the stop strings");
	for (int i = 0; i < p->n_stop; i++) {
		len[i] = strlen(p->stop[i]);
		if (len[i] == 0) return lm_fail(err, LM_EINVAL, "stop string %d is empty", i + 1);
		s[i] = lm_arena_str(r->arena, p->stop[i], len[i]);
		if (!s[i]) return lm_fail(err, LM_ENOMEM, "out of memory for the stop strings");
	}
	r->stop = (struct stop){ .s = s, .len = len, .n = p->n_stop };
	return 0;
}

static int check(const struct lm_engine *e, const struct lm_prompt *p, struct lm_err *err)
{
	if (e->vocab_only || e->dry) return lm_fail(err, LM_EUNSUPPORTED, "%s was opened without its weights", e->info.name);
	if (e->heads.encoder)
		return lm_fail(err, LM_EUNSUPPORTED, "%s is an encoder: it answers no prompts, but embeds or classifies texts",
		               e->info.name);
	if (p->max_tokens < -1) return lm_fail(err, LM_EINVAL, "max_tokens: %d is not -1 or a count", p->max_tokens);
	if (p->n_logprobs < 0 || p->n_logprobs > MAX_LOGPROBS)
		return lm_fail(err, LM_EINVAL, "logprobs: %d is not between 0 and %d", p->n_logprobs, MAX_LOGPROBS);
	for (int i = 0; p->ids && i < p->n_ids; i++)
		if (p->ids[i] < 0 || p->ids[i] >= e->n_vocab)
			return lm_fail(err, LM_EINVAL, "token %d of the prompt is %d, the vocabulary has %d", i, p->ids[i],
			               e->n_vocab);
	return 0;
}

/* The text as tokens, to be freed.  No EOS: an answer is to follow. */
static int encode(const struct lm_engine *e, const struct lm_prompt *p, int32_t **ids, struct lm_err *err)
{
	unsigned flags = (p->add_bos ? TOK_ADD_BOS : 0) | (p->parse_special ? TOK_PARSE_SPECIAL : 0);
	size_t guess = p->len < INT32_MAX / 8 ? p->len : 0;     /* rarely more tokens than bytes */
	for (int cap = (int)guess + 16;;) {
		*ids = lm_malloc((size_t)cap * sizeof **ids);
		if (!*ids) return lm_fail(err, LM_ENOMEM, "out of memory for the tokens of %zu bytes", p->len);
		int n = tok_encode(e->tok, p->text, p->len, flags, *ids, cap, err);
		if (n >= 0 && n <= cap) return n;
		lm_free(*ids);
		if (n < 0) return n;
		cap = n;
	}
}

/* The prompt's tokens, with room for the answer. */
static int take_prompt(struct lm_request *r, const struct lm_prompt *p, struct lm_err *err)
{
	struct lm_engine *e = r->e;
	int n_ctx = e->info.n_ctx, n = p->n_ids;
	int32_t *ids = NULL;
	if (!p->ids) {
		n = encode(e, p, &ids, err);
		if (n < 0) return n;
	}
	int rc = n < 0 ? n : 0, room = p->max_tokens == 0 ? n_ctx : n_ctx - 1;
	if (n == 0) rc = lm_fail(err, LM_EINVAL, "the prompt is empty");
	else if (n > room)
		rc = lm_fail(err, LM_ELIMIT, "the prompt has %d tokens, more than the context of %d holds%s", n, n_ctx,
		             n == n_ctx ? " with an answer" : "");
	if (!rc) {
		r->n_max = p->max_tokens < 0 || p->max_tokens > n_ctx - n ? n_ctx : n + p->max_tokens;
		r->kv.cap = r->n_max / KV_BLOCK + 1;
		r->tok = lm_new(r->arena, int32_t, r->n_max + 1);
		r->kv.table = lm_new(r->arena, int32_t, r->kv.cap);
		if (!r->tok || !r->kv.table) rc = lm_fail(err, LM_ENOMEM, "out of memory for %d tokens", r->n_max);
		else memcpy(r->tok, p->ids ? p->ids : ids, (size_t)n * sizeof *ids);
	}
	r->n_tok = r->n_prompt = n;
	lm_free(ids);
	return rc;
}

static int build(struct lm_request *r, const struct lm_prompt *p, struct lm_err *err)
{
	struct lm_engine *e = r->e;
	r->arena = lm_arena_new(4096);
	if (!r->arena) return lm_fail(err, LM_ENOMEM, "out of memory for a request");
	int rc = take_prompt(r, p, err);
	if (!rc) rc = copy_stops(r, p, err);
	if (!rc) rc = adapt_request(r, p, err);
	if (!rc) rc = sampler_new(&r->smp, &p->sampling, e->n_vocab, e->end, e->n_end, err);
	const float *lora = r->p.lora;
	r->p = *p;
	r->p.lora = lora;
	r->p.text = NULL;
	r->p.ids = NULL;
	r->p.stop = r->stop.s;
	r->p.sampling.bias = NULL;
	return rc;
}

int lm_submit(struct lm_request **out, struct lm_engine *e, const struct lm_prompt *p, struct lm_err *err)
{
	*out = NULL;
	int rc = check(e, p, err);
	if (rc) return rc;
	struct lm_request *r = lm_calloc(1, sizeof *r);
	if (!r) return lm_fail(err, LM_ENOMEM, "out of memory for a request");
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&r->mu, NULL);
	pthread_cond_init(&r->cv, &attr);
	pthread_condattr_destroy(&attr);
	r->e = e;
	rc = build(r, p, err);
	if (rc) {
		destroy(r);
		return rc;
	}
	pthread_mutex_lock(&e->mu);
	if (e->closing) rc = lm_fail(err, LM_ECANCELED, "the engine is closing");
	else {
		r->id = e->n_submitted++;
		*e->inbox_tail = r;
		e->inbox_tail = &r->next;
		pthread_cond_signal(&e->wake);
	}
	pthread_mutex_unlock(&e->mu);
	if (rc) destroy(r);
	else *out = r;
	return rc;
}
