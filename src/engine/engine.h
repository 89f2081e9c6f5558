/* engine.h - private to src/engine: the engine and its requests.
 *
 * Locks: lm_engine.mu guards the inbox, lm_request.mu the events of one request.  All else in a request is written
 * by lm_submit before it enters the inbox and by the engine thread afterwards. */
#pragma once
#include "engine/kv.h"
#include "engine/lmrun.h"
#include "engine/sampler.h"
#include "engine/stop.h"
#include "model/model.h"
#include "tokenizer/answer.h"
#include "tokenizer/chat.h"
#include "tokenizer/tok.h"
#include <pthread.h>
#include <stdatomic.h>

enum { MAX_RUN = 32 };                           /* requests that share one step */

struct event {                                   /* a queued event; top and text follow it in memory */
	struct event *next;
	struct lm_event ev;
};

struct lm_request {
	pthread_mutex_t mu;
	pthread_cond_t cv;
	struct event *head, *tail, *shown;       /* shown: what the last lm_next gave out */
	struct lm_event final;
	bool finished;                           /* final is set; the engine has let go of the request */
	bool orphan;                             /* the caller has freed it: the engine frees it when it lets go */
	atomic_bool cancel;

	struct lm_arena *arena;                  /* all arrays below */
	struct lm_engine *e;
	struct lm_request *next;                 /* in the inbox or in the waiting list */
	uint64_t id;                             /* order of submission */
	struct lm_prompt p;                      /* pointers into the arena; text and ids unset */
	int32_t *tok; int n_tok, n_prompt, n_max;/* prompt and answer; n_max: where it must end */
	int n_done;                              /* tok[0..n_done) are in the KV cache */
	int n_step;                              /* rows in the step under way */
	int n_seen;                              /* positions whose logits were reported (prompt_logprobs, on_logits) */
	int n_cached;
	bool started, answering;
	bool extended;                           /* longer than n_ctx_short; its blocks are not shared */
	double t_start, t_first;
	struct kv_seq kv;
	struct sampler *smp;
	struct tok_stream ts;
	struct stop stop;
};

struct lm_engine {
	/* read-only once open */
	struct file *file;
	struct tok *tok;
	struct chat *chat; struct lm_err chat_err;   /* chat NULL: chat_err says why */
	struct chat *chat_tools;                     /* the template for requests with tools, NULL: the same */
	const struct answer_format *format;          /* what the chat template's model writes */
	bool asks_tools;                             /* the template knows no tools: chat_with_tools asks for hermes' form */
	struct backend *be;
	struct model *model;
	int (*forward)(const struct model *, struct state *, const struct batch *, float *, struct lm_err *);   /* tests fake it */
	struct lm_model_info info;
	char *name, *path, *device;
	bool vocab_only;
	int n_vocab, n_batch;
	int n_ctx_short;                             /* of model_info */
	int32_t *end; int n_end;
	/* the inbox */
	pthread_mutex_t mu;
	pthread_cond_t wake;
	struct lm_request *inbox, **inbox_tail;
	bool closing, threaded;
	uint64_t n_submitted;
	pthread_t thread;
	/* the engine thread's own */
	struct state *state;
	struct kv_pool *pool;
	struct lm_request *wait;                     /* by id */
	struct lm_request *run[MAX_RUN]; int n_run;  /* by id */
	int32_t *token, *pos, *seq; uint8_t *want;   /* [n_batch] */
	const int32_t *table[MAX_RUN];
	uint8_t extended[MAX_RUN];
	float *out; size_t n_out;                    /* logits of the step: floats allocated */
	float *row;                                  /* [n_vocab] log-probabilities for on_logits */
	struct lm_lp *top;                           /* [100] */
	struct lm_buf piece;                         /* the text of the latest token */
};

/* request.c, called by the engine thread */
/* Queues a copy of *ev.  LM_ENOMEM. */
int request_push(struct lm_request *r, const struct lm_event *ev, struct lm_err *err);
/* Queues the last event and lets go of r: it may be gone afterwards. */
void request_finish(struct lm_request *r, const struct lm_event *final);

/* sched.c */
void *sched_main(void *engine);                  /* the engine thread */
/* Memory for the arrays of the engine thread. */
int sched_init(struct lm_engine *e, struct lm_err *err);
void sched_free(struct lm_engine *e);

/* reader.c: is this control token one that the answer's format writes? */
bool reader_marks(const struct lm_engine *e, int32_t id);
