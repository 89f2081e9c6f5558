/* engine.h - private to src/engine: the engine and its requests.
 *
 * Locks: lm_engine.mu guards the inbox, lm_request.mu the events of one request.  All else in a request is written
 * by lm_submit before it enters the inbox and by the engine thread afterwards. */
#pragma once
#include "engine/kv.h"
#include "engine/lmrun.h"
#include "engine/sampler.h"
#include "engine/stop.h"
#include "model/lora.h"
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
	uint64_t salt;                           /* stands for p.lora in the prefix cache */
	int slot;                                /* of the recurrent state, while it runs */
	struct sampler *smp;
	struct tok_stream ts;
	struct stop stop;
};

/* Texts to be pooled: made by a caller (texts.c), who waits; run by the engine thread (embed.c). */
struct job_text { int32_t *ids, *types; int n; };
enum job_kind { JOB_VECTORS, JOB_CLASSES, JOB_PICK };
struct pool_job {
	struct pool_job *next;
	enum job_kind kind;
	enum pooling pool;
	bool normalize;
	int32_t pick[2];                         /* JOB_PICK: tokens whose logits after the text are the output */
	const struct job_text *text; int n_text;
	float *out; int n_out;                   /* [n_text][n_out] */
	/* the engine thread's */
	int at, n_done;                          /* text under way, its rows that are done */
	double *acc;                             /* [MAX_TEXTS][n_embd] sums */
	struct lm_err err; int rc;
	bool finished;                           /* under lm_engine.mu; then `done` is signalled */
};

struct lm_engine {
	/* read-only once open */
	struct lm_heads_info heads;
	struct lm_arena *names;                      /* of labels and prompts */
	enum dtype kv_type;
	struct file *file;
	struct tok *tok;
	struct chat *chat; struct lm_err chat_err;   /* chat NULL: chat_err says why */
	struct chat *chat_tools;                     /* the template for requests with tools, NULL: the same */
	const struct answer_format *format;          /* what the chat template's model writes */
	bool asks_tools;                             /* the template knows no tools: chat_with_tools asks for hermes' form */
	struct backend *be;
	struct model *model;
	struct file *view;                           /* the file as an adapter replaces some of its tensors; or NULL */
	struct adapter **adapter; int n_lora;
	float *lora_scale;                           /* of requests that say nothing */
	uint32_t salt_key[2];
	int (*forward)(const struct model *, struct state *, const struct batch *, float *, struct lm_err *);   /* tests fake it */
	struct lm_model_info info;
	char *name, *path, *device;
	bool vocab_only, dry;                        /* dry: opened for its plan, made tensors are empty; it answers nothing */
	int n_vocab, n_batch;
	int n_ctx_short;                             /* of model_info */
	bool recurrent; int n_slots;                 /* at most n_slots requests run at once; MAX_RUN in models without state */
	int32_t *end; int n_end;
	/* the inbox */
	pthread_mutex_t mu;
	pthread_cond_t wake;
	struct lm_request *inbox, **inbox_tail;
	struct pool_job *jobs, **jobs_tail;
	pthread_cond_t job_done;
	bool closing, threaded;
	uint64_t n_submitted;
	pthread_t thread;
	/* the engine thread's own */
	struct pooler *pooler;                       /* embed.c; NULL until the first job */
	struct state *state;
	struct kv_pool *pool;
	struct lm_request *wait;                     /* by id */
	struct lm_request *run[MAX_RUN]; int n_run;  /* by id */
	int32_t *token, *pos, *seq; uint8_t *want;   /* [n_batch] */
	const int32_t *table[MAX_RUN];
	uint8_t extended[MAX_RUN];
	const float *lora[MAX_RUN];                  /* weights of the adapters */
	int32_t slot[MAX_RUN];                       /* as table and extended: by place in run */
	bool slot_taken[MAX_RUN];                    /* by slot */
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

/* plan.c: bytes this process may hope for: what is available, under the limit of its cgroup. */
uint64_t mem_available(void);

/* sched.c */
void *sched_main(void *engine);                  /* the engine thread */
/* Memory for the arrays of the engine thread. */
int sched_init(struct lm_engine *e, struct lm_err *err);
void sched_free(struct lm_engine *e);

/* embed.c, on the engine thread */
enum { MAX_TEXTS = 32 };                         /* of a pass */
/* One pass of the oldest job, if there is one. */
void embed_step(struct lm_engine *e);
void embed_cancel(struct lm_engine *e);          /* all jobs: the engine is closing */
void embed_free(struct lm_engine *e);
/* texts.c: what the files say about labels and prompts. */
int heads_open(struct lm_engine *e, struct lm_err *err);
/* adapt.c: the adapters of the options, and with them the model.  e->file and e->be are there. */
int adapt_load(struct lm_engine *e, const struct lm_engine_opt *o, const struct model_opt *how, struct lm_err *err);
void adapt_free(struct lm_engine *e);
/* The weights that a request asks for, into its arena, and its salt. */
int adapt_request(struct lm_request *r, const struct lm_prompt *p, struct lm_err *err);

/* reader.c: is this control token one that the answer's format writes? */
bool reader_marks(const struct lm_engine *e, int32_t id);
