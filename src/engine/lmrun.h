/* lmrun.h - the only header that the CLI, the server and embedders see: text in, text out.
 * All functions are thread-safe unless they say otherwise.  Strings returned live as long as their object. */
#pragma once
#include "base/base.h"

struct lm_engine; struct lm_request;

/* A low-rank adapter: a PEFT folder, its file, or a GGUF.  scale: weight at which requests that say nothing use it. */
struct lm_lora { const char *path; float scale; };

struct lm_engine_opt {
	const char *model;                 /* path of a GGUF file, of a folder with one, or of a Hugging Face folder; with
	                                      vocab_only also of a tokenizer file */
	const char *device;                /* "cpu" (NULL), "ref", "cuda:0", "metal" */
	int n_threads;                     /* 0: all this process may use */
	int n_ctx;                         /* 0: the model's, limited by memory */
	int n_batch;                       /* prefill chunk; 0: 512 */
	const char *kv_type;               /* "f16" (NULL), "f32", "q8_0"; "auto": f32 where score asks for it, else f16 */
	const char *chat_template;         /* template text, or a built-in name; NULL: the model's own */
	const char *cpu_level;             /* LMRUN_CPU or NULL */
	const char *precision;             /* of float weights: "auto" (NULL: as in the file), "f32", "f16", "bf16" */
	const char *quantize;              /* float weights on load: "none" (NULL), "q8_0" = "int8", "nf4", "q4_0" = "int4" */
	const struct lm_lora *lora; int n_lora;    /* adapters, loaded at open; a request chooses among them */
	bool fast;                         /* OpenBLAS where it is measured faster: bytes may then depend on the batch */
	bool dry;                          /* for lm_plan alone: nothing is read or made of the weights, lm_submit refuses */
	bool vocab_only;                   /* tokenizer and chat template alone: no weights are needed or read, lm_submit refuses */
};

/* Zero-initialise, then lm_sampling_default() to get llama.cpp's defaults. */
struct lm_logit_bias { int32_t id; float bias; };
struct lm_sampling {
	float temperature, top_p, min_p, typical_p;
	int top_k;                         /* <= 0: off */
	uint64_t seed;
	float repeat, presence, frequency; /* 1, 0, 0: off */
	int repeat_last_n;                 /* -1: whole context */
	bool ignore_eos;
	const struct lm_logit_bias *bias; int n_bias;
};
void lm_sampling_default(struct lm_sampling *s);

struct lm_prompt {
	const char *text; size_t len;      /* used when ids is NULL */
	const int32_t *ids; int n_ids;     /* prompt as token ids, taken as they are */
	bool add_bos, parse_special;       /* for text */
	const char *const *stop; int n_stop;
	int max_tokens;                    /* -1: until the end of the answer or of the context */
	int n_logprobs;                    /* 0: none; else top-n of every generated token, at most 100 */
	bool prompt_logprobs;              /* LM_PROMPT events with the log-probability of each prompt token */
	bool special;                      /* show control tokens in the text */
	bool markers;                      /* of the control tokens show those that lm_reader looks for */
	const float *lora; int n_lora;     /* the weight of each adapter, in the order of the engine's options; NULL: as
	                                      given there */
	struct lm_sampling sampling;
	/* Optional: called from the engine thread after each event, never after lm_request_free.  It must not call lm_*. */
	void (*notify)(void *ud); void *notify_ud;
	/* Full rows of log-probabilities (f32 [n_vocab]) from the engine thread, row `pos` being the distribution of the
	 * token at pos + 1: every position once, ascending.  NULL: off.  Nothing is taken from the prefix cache then. */
	void (*on_logits)(void *ud, int pos, const float *logprobs, int n_vocab); void *on_logits_ud;
};

enum lm_event_kind { LM_TEXT, LM_PROMPT, LM_DONE, LM_FAILED };
enum lm_finish { LM_FIN_STOP, LM_FIN_LENGTH, LM_FIN_CANCELED };
struct lm_lp { int32_t id; float logprob; };
struct lm_event {
	enum lm_event_kind kind;
	const char *text; size_t len;      /* LM_TEXT: whole UTF-8 characters, may be empty; valid until the next lm_next */
	int32_t token; float logprob;      /* LM_TEXT, LM_PROMPT: token -1 when the text is a held-back tail; logprob NaN
	                                      when not asked for and for the first token of a prompt */
	const struct lm_lp *top; int n_top;
	int pos;                           /* position of `token` */
	enum lm_finish finish;             /* LM_DONE */
	int n_prompt, n_cached, n_out;     /* LM_DONE; n_out counts the end token, which is shown only with `special` */
	double t_prompt, t_out;            /* LM_DONE: seconds */
	const char *stop;                  /* LM_DONE: the stop string that ended it, the request's; or NULL */
	struct lm_err err;                 /* LM_FAILED */
};

int lm_engine_open(struct lm_engine **out, const struct lm_engine_opt *o, struct lm_err *err);
void lm_engine_close(struct lm_engine *e);                     /* waits for running requests to stop; NULL is fine */

struct lm_model_info {
	const char *name, *arch, *path, *device, *quant;   /* quant: dtype that holds most bytes */
	int n_vocab, n_ctx, n_ctx_train, n_embd, n_layer, n_threads;
	uint64_t n_params, n_bytes, file_bytes;
	uint64_t token_bytes;              /* of weights, read for a generated token */
	uint64_t token_macs;               /* multiply-adds of the layers' matrices for a prompt token */
	uint64_t kv_bytes;                 /* of the whole context; committed as it fills */
	double t_load;
	bool has_chat_template, add_bos, untested;
	int n_lora;
};
const struct lm_model_info *lm_info(const struct lm_engine *e);

/* What an engine will have in memory, in bytes, once its context has been full; and the work of a token. */
struct lm_plan {
	int n_ctx, n_batch, n_slots;
	uint64_t program;                  /* tokenizer, templates, tables: there already */
	uint64_t made;                     /* weights that do not lie in the file as they are used */
	uint64_t kv, slots;                /* the cache of n_ctx positions; the state of n_slots sequences (recurrent models) */
	uint64_t step;                     /* activations of n_batch rows, logits; kv, slots and step are 0 in an encoder, whose
	                                      memory goes by the texts */
	uint64_t device;                   /* the device's scratch for such a step */
	uint64_t own;                      /* of all these the sum: memory of this process alone */
	uint64_t mapped, program_file;     /* weights where the file is mapped, other file pages: shared by all who use them */
	uint64_t available;                /* on this machine, now */
	uint64_t token_bytes, token_macs;  /* weight bytes read for a generated token; multiply-adds of a prompt token */
};
/* Of an engine opened with `dry`.  LM_EINVAL for any other, LM_ENOMEM when a step does not fit. */
int lm_plan(struct lm_engine *e, struct lm_plan *p, struct lm_err *err);

/* Queues a request; the engine thread runs it.  The prompt is copied.  LM_ELIMIT when it cannot fit the context
 * (both numbers in the sentence), LM_EINVAL naming a bad field or token id. */
int lm_submit(struct lm_request **out, struct lm_engine *e, const struct lm_prompt *p, struct lm_err *err);
/* Next event, waiting up to timeout_ms (-1: for ever).  false on timeout.  LM_DONE and LM_FAILED are last. */
bool lm_next(struct lm_request *r, struct lm_event *ev, int timeout_ms);
void lm_cancel(struct lm_request *r);                          /* LM_DONE (canceled) follows */
void lm_request_free(struct lm_request *r);                    /* cancels if it still runs */

/* messages_json: {"messages":[...], further template variables}.  *text is for lm_text_free.  What clients send is
 * brought into the form that the template takes: tool calls, content parts, a system role that it refuses. */
int lm_render_chat(struct lm_engine *e, const char *vars_json, size_t len, char **text, struct lm_err *err);
/* The template on just these variables, as the model's reference renders it. */
int lm_render_template(struct lm_engine *e, const char *vars_json, size_t len, char **text, size_t *n, struct lm_err *err);
void lm_text_free(char *text);

/* The way back: an answer to a chat taken apart as it comes.  Submit its request with `markers`. */
enum lm_part {
	LM_CONTENT, LM_REASONING,          /* text */
	LM_CALL,                           /* a tool call begins: text is the function's name, id its id, "" if it has none */
	LM_ARGUMENTS                       /* text: the next stretch of the call's arguments, a JSON object in all */
};
typedef int lm_part_fn(void *ud, enum lm_part part, int call, const char *id, const char *text, size_t n);
struct lm_reader;
/* vars_json: what lm_render_chat was given (its "tools" are the calls looked for), prompt: what it made of it;
 * `reasoning`: false leaves reasoning within the content. */
int lm_reader_new(struct lm_reader **out, struct lm_engine *e, const char *vars_json, size_t len, const char *prompt,
                  bool reasoning, struct lm_err *err);
/* fn for every part that is certain now; a non-zero return of fn ends it and is returned. */
int lm_reader_push(struct lm_reader *r, const char *text, size_t n, lm_part_fn *fn, void *ud, struct lm_err *err);
int lm_reader_end(struct lm_reader *r, lm_part_fn *fn, void *ud, struct lm_err *err);
/* Within fn, of content and reasoning: at which byte of all the text pushed it stands. */
size_t lm_reader_where(const struct lm_reader *r);
void lm_reader_free(struct lm_reader *r);
/* Like snprintf: ids written up to cap, the count returned; negative lm_code on error.  add: what the model puts before
 * a text (BOS, CLS) and behind it (EOS, SEP), where it does. */
enum { LM_ADD_BOS = 1, LM_ADD_EOS = 2 };
int lm_tokenize(struct lm_engine *e, const char *text, size_t len, unsigned add, bool parse_special, int32_t *ids,
                int cap, struct lm_err *err);
int lm_detokenize(struct lm_engine *e, const int32_t *ids, int n, bool special, char **text, size_t *len, struct lm_err *err);
/* The bytes of one token, maybe half a character, a control token's name included: how many; at most cap are written. */
int lm_token_bytes(const struct lm_engine *e, int32_t id, char *buf, int cap);
bool lm_is_end(const struct lm_engine *e, int32_t id);

/* ---- vectors, classes, relevance: any number of texts a call, computed beside running requests */
struct lm_text {
	const char *text; size_t len;      /* with the tokens that the model puts around a text; not used when ids are given */
	const char *pair; size_t pair_len; /* a second text, or NULL */
	const int32_t *ids; int n_ids;     /* token ids, taken as they are */
};
struct lm_embed_opt {
	const char *pooling;               /* "mean", "cls", "last", "max"; NULL: the model's, or mean when it says nothing */
	int normalize;                     /* to length 1: 1, not: 0, as the model says: -1 */
	int dimensions;                    /* the first so many of a vector, 0: all */
	const char *prompt;                /* put before every text; NULL: prompt_name's, or the model's default, if any */
	const char *prompt_name;           /* one of the model's own prompts; NULL: its default; "": none */
	bool no_truncate;                  /* a text beyond the model's length is LM_ELIMIT; otherwise its end is cut off */
	bool no_special;                   /* control tokens written in a text are plain text */
	bool no_bos;                       /* nothing is put around a text */
};
struct lm_heads_info {
	bool encoder;                      /* answers no prompts: lm_submit refuses */
	int n_dim, n_label, max_tokens;    /* of a vector; classes, 0: no classifier; longest text */
	const char *pooling;               /* "mean"...; "" when the files say nothing */
	bool normalize, normalize_said, multi_label;
	const char *const *label;          /* [n_label] */
	const char *unsupported;           /* what lm_embed would have to do and cannot; NULL: nothing */
	int n_prompt;
	const char *const *prompt_name, *const *prompt; const char *default_prompt;    /* "": none */
};
const struct lm_heads_info *lm_heads(const struct lm_engine *e);
/* out: [n][dimensions or n_dim]; n_tokens: [n] or NULL, how many each text had (after cutting).  LM_EUNSUPPORTED for an
 * engine without weights, LM_EINVAL naming a bad option, LM_ELIMIT a text that is too long. */
int lm_embed(struct lm_engine *e, const struct lm_text *t, int n, const struct lm_embed_opt *o, float *out, int *n_tokens,
             struct lm_err *err);
/* logits: [n][n_label].  LM_EUNSUPPORTED when the model has no classifier. */
int lm_classify(struct lm_engine *e, const struct lm_text *t, int n, const struct lm_embed_opt *o, float *logits,
                int *n_tokens, struct lm_err *err);
/* Softmax over the classes of one text; sigmoid of each for one class or classes that do not exclude one another. */
void lm_scores(const struct lm_engine *e, const float *logits, float *scores);
/* score: [n], the relevance of each text to the query, in [0,1]: by a cross-encoder with one class, by a classifier of yes
 * and no, or by what a chat model without a classifier thinks of answering yes rather than no. */
int lm_rerank(struct lm_engine *e, const char *query, size_t len, const struct lm_text *t, int n,
              const struct lm_embed_opt *o, float *score, int *n_tokens, struct lm_err *err);

/* Devices this build and machine offer, one line each; for lm_text_free. */
char *lm_devices(void);
