/* engine.c - opening and closing: a path becomes a model on a device, with memory for its sequences and a thread. */
#include "engine/engine.h"
#include "engine/device.h"
#include "engine/path.h"
#include "kernels/cpu_fast.h"
#include "tokenizer/folder.h"
#include <stdio.h>
#include <string.h>

enum { MIN_CTX = 512, DEFAULT_BATCH = 512, MAX_BATCH = 1 << 16, MAX_CTX = 1 << 26 };

/* ---- context, state ---------------------------------------------------------------------------------------- */
static int blocks(int n_ctx) { return (n_ctx + KV_BLOCK - 1) / KV_BLOCK; }

static int kv_dtype(const struct lm_engine *e, const struct lm_engine_opt *o, enum dtype *out, struct lm_err *err)
{
	const char *name = o->kv_type && *o->kv_type ? o->kv_type : "f16";
	if (strcmp(name, "auto") == 0)
		name = model_info(e->model)->f32_weights || (o->device && strcmp(o->device, "ref") == 0) ? "f32" : "f16";
	if (strcmp(name, "f16") == 0) *out = DT_F16;
	else if (strcmp(name, "f32") == 0) *out = DT_F32;
	else if (strcmp(name, "q8_0") == 0) *out = DT_Q8_0;
	else return lm_fail(err, LM_EINVAL, "cache type '%s': there are f16, f32 and q8_0", name);
	return 0;
}

/* How many requests may run at once: all, unless their recurrent states would take more than a quarter of the memory.  Pages of
 * a slot that nobody uses are never touched. */
static void choose_slots(struct lm_engine *e)
{
	const struct model_info *m = model_info(e->model);
	uint64_t have = mem_available() / 4;
	e->recurrent = m->recurrent;
	e->n_slots = MAX_RUN;
	while (m->recurrent && e->n_slots > 1 && m->slot_bytes > have / (uint64_t)e->n_slots) e->n_slots /= 2;
}

static uint64_t state_size(const struct lm_engine *e, int n_blocks, enum dtype kv)
{
	return state_bytes(e->model, n_blocks, e->n_slots, e->n_batch, kv);
}

/* The context asked for, if memory can hold it; else the model's, cut to what half of the free memory holds. */
static int choose_ctx(struct lm_engine *e, const struct lm_engine_opt *o, enum dtype kv, struct lm_err *err)
{
	const struct model_info *m = model_info(e->model);
	uint64_t have = mem_available();
	int n = o->n_ctx > 0 ? o->n_ctx : m->n_ctx_train > 0 ? m->n_ctx_train : 4096;
	if (n > MAX_CTX) n = MAX_CTX;
	if (m->n_pos && n > m->n_pos) {
		lm_log(LM_LOG_WARN, "context %d instead of %d: the model knows no further positions", m->n_pos, n);
		n = m->n_pos;
	}
	uint64_t need = state_size(e, blocks(n), kv);
	if (o->n_ctx > 0) {
		if (need > have)
			return lm_fail(err, LM_ENOMEM, "a context of %d needs %.1f GB of memory, %.1f GB are available", n,
			               (double)need / 1e9, (double)have / 1e9);
		if (m->n_ctx_train > 0 && n > m->n_ctx_train)
			lm_log(LM_LOG_WARN, "context %d is longer than the %d the model was trained for", n, m->n_ctx_train);
	}
	int full = n;
	while (o->n_ctx <= 0 && n > MIN_CTX && need > have / 2) {
		n = n / 2 > MIN_CTX ? n / 2 : MIN_CTX;
		need = state_size(e, blocks(n), kv);
	}
	if (n < full)
		lm_log(LM_LOG_INFO, "context %d instead of the model's %d: %.1f GB of memory are available", n, full,
		       (double)have / 1e9);
	e->info.n_ctx = n;
	return 0;
}

static int make_state(struct lm_engine *e, const struct lm_engine_opt *o, struct lm_err *err)
{
	enum dtype kv = DT_F16;
	if (o->n_ctx < 0 || o->n_ctx > MAX_CTX) return lm_fail(err, LM_EINVAL, "context %d is not between 0 and %d", o->n_ctx, MAX_CTX);
	if (o->n_batch < 0 || o->n_batch > MAX_BATCH)
		return lm_fail(err, LM_EINVAL, "batch %d is not between 0 and %d", o->n_batch, MAX_BATCH);
	e->n_batch = o->n_batch ? o->n_batch : DEFAULT_BATCH;
	int rc = kv_dtype(e, o, &kv, err);
	if (!model_heads(e->model)->causal) kv = DT_F32;      /* of one layer, for one pass: nothing is saved by less */
	e->kv_type = kv;
	if (rc) return rc;
	choose_slots(e);
	rc = choose_ctx(e, o, kv, err);
	if (rc) return rc;
	if (e->n_batch > e->info.n_ctx) e->n_batch = e->info.n_ctx;
	int n = blocks(e->info.n_ctx);
	e->info.kv_bytes = state_size(e, 2 * n, kv) - state_size(e, n, kv);
	if (model_heads(e->model)->causal) {                   /* an encoder answers no prompts */
		rc = state_new(&e->state, e->model, n, e->n_slots, e->n_batch, kv, err);
		if (!rc) rc = kv_new(&e->pool, n, err);
	}
	return rc ? rc : sched_init(e, err);
}

/* ---- what lm_info tells -------------------------------------------------------------------------------------- */
static int name_it(struct lm_engine *e, const struct lm_engine_opt *o, struct lm_err *err)
{
	const char *s;
	size_t n;
	char name[256];
	if (e->file && file_str(e->file, "general.name", &s, &n) && n > 0) {
		if (n >= sizeof name) n = sizeof name - 1 - (size_t)lm_utf8_tail(s, sizeof name - 1);
		memcpy(name, s, n);
		name[n] = 0;
	} else {
		n = strlen(o->model);
		while (n > 1 && o->model[n - 1] == '/') n--;
		for (s = o->model + n; s > o->model && s[-1] != '/';) s--;
		snprintf(name, sizeof name, "%.*s", (int)(o->model + n - s), s);
	}
	e->name = lm_strdup(name);
	e->path = lm_strdup(o->model);
	e->info.name = e->name;
	e->info.path = e->path;
	return e->name && e->path ? 0 : lm_fail(err, LM_ENOMEM, "out of memory for names");
}

/* The type that holds most of the bytes. */
static const char *main_type(const struct file *f)
{
	uint64_t bytes[DT_COUNT] = { 0 };
	int best = DT_F32;
	for (int i = 0; i < file_count(f); i++) bytes[file_at(f, i)->type] += file_at(f, i)->size;
	for (int i = 0; i < DT_COUNT; i++)
		if (bytes[i] > bytes[best]) best = i;
	return quant_info((enum dtype)best)->name;
}

static void describe(struct lm_engine *e, const struct lm_engine_opt *o, const struct model_opt *w)
{
	const struct model_info *m = model_info(e->model);
	struct lm_model_info *i = &e->info;
	i->arch = m->arch;
	i->device = e->device = lm_strdup(e->be->name);
	if (!i->device) i->device = "";
	i->quant = w->quantize != DT_COUNT ? quant_info(w->quantize)->name : main_type(e->file);
	i->n_ctx_train = m->n_ctx_train;
	i->n_embd = m->n_embd;
	i->n_layer = m->n_layer;
	i->n_threads = o->n_threads > 0 ? o->n_threads : lm_cpu_count();
	i->n_params = m->n_params;
	i->n_bytes = m->n_bytes;
	i->token_bytes = m->token_bytes;
	i->token_macs = m->token_macs;
	i->untested = m->untested;
	if (m->untested) lm_log(LM_LOG_WARN, "architecture %s has no test of its own yet: check its answers", m->arch);
}

const struct lm_model_info *lm_info(const struct lm_engine *e) { return &e->info; }

/* ---- opening --------------------------------------------------------------------------------------------------- */
/* path: what the caller's stands for (path.h). */
static int model_template(const struct lm_engine *e, const char *path, const char *name, struct lm_buf *b, struct lm_err *err)
{
	if (e->file && !file_is_folder(e->file)) return file_template(e->file, name, b, err);
	return folder_template(e->file ? file_dir(e->file) : path, name, b, err);
}

static bool has_token(void *ud, const char *text) { return tok_has_added(((struct lm_engine *)ud)->tok, text); }

/* None in the file: the one that its special tokens were made for serves those who ask for a chat.  It does not count
 * as the model's own, for it may be a base model, which continues a text. */
static int guess_chat(struct lm_engine *e, struct lm_err *err)
{
	const char *name = chat_builtin_for(has_token, e), *t = name ? chat_builtin(name) : NULL;
	if (!t)
		return lm_fail(&e->chat_err, LM_EUNSUPPORTED,
		               "%s has no chat template: give one (--chat-template), or use --raw", e->info.name), 0;
	lm_log(LM_LOG_INFO, "%s has no chat template: a chat uses the built-in '%s'", e->info.name, name);
	e->format = answer_detect(t, strlen(t));
	return chat_compile(&e->chat, t, strlen(t), err);
}

/* A template that the caller gave must compile; one in the file that does not is told when it is needed. */
static int make_chat(struct lm_engine *e, const struct lm_engine_opt *o, const char *path, struct lm_err *err)
{
	const char *t = o->chat_template, *named = t ? chat_builtin(t) : NULL;
	size_t n = t ? strlen(t) : 0;
	if (named) t = named, n = strlen(named);
	else if (t && !strchr(t, '{'))
		return lm_fail(err, LM_EINVAL, "chat template '%.60s' is neither template text nor the name of a built-in one", t);
	e->format = answer_detect(t ? t : "", n);
	if (t) {
		int rc = chat_compile(&e->chat, t, n, err);
		e->info.has_chat_template = rc == 0;
		return rc;
	}
	struct lm_buf b = { 0 };
	int rc = model_template(e, path, NULL, &b, err);
	if (rc == 1) rc = guess_chat(e, err);
	else if (!rc) {
		e->info.has_chat_template = true;
		e->format = answer_detect(lm_buf_cstr(&b), b.n);
		if (chat_compile(&e->chat, lm_buf_cstr(&b), b.n, &e->chat_err)) lm_context(&e->chat_err, "the model's ");
	}
	b.n = 0;
	if (!rc && e->info.has_chat_template) rc = model_template(e, path, "tool_use", &b, err);
	if (!rc && b.n && chat_compile(&e->chat_tools, lm_buf_cstr(&b), b.n, &e->chat_err))
		lm_log(LM_LOG_WARN, "the model's chat template for tools: %s", e->chat_err.msg);
	else if (!rc && b.n) e->format = answer_detect(lm_buf_cstr(&b), b.n);
	lm_buf_free(&b);
	return rc < 0 ? rc : 0;
}

static int list_ends(struct lm_engine *e, struct lm_err *err)
{
	int n = 0, vocab = tok_vocab(e->tok);
	for (int i = 0; i < vocab; i++) n += tok_is_end(e->tok, i);
	e->end = lm_calloc((size_t)n, sizeof *e->end);
	if (!e->end) return lm_fail(err, LM_ENOMEM, "out of memory for the end tokens");
	for (int i = 0; i < vocab; i++)
		if (tok_is_end(e->tok, i) && i < e->n_vocab) e->end[e->n_end++] = i;
	return 0;
}

/* Names of weight types in lm_engine_opt; DT_COUNT: the weights stay as they are. */
struct type_name { const char *name; enum dtype type; };
static const struct type_name precisions[] = {
	{ "auto", DT_COUNT },  { "f32", DT_F32 },  { "float32", DT_F32 },  { "float", DT_F32 }, { "f16", DT_F16 },
	{ "float16", DT_F16 }, { "half", DT_F16 }, { "bf16", DT_BF16 },	   { "bfloat16", DT_BF16 }, { NULL, DT_COUNT },
};
static const struct type_name quants[] = {
	{ "none", DT_COUNT }, { "q8_0", DT_Q8_0 }, { "int8", DT_Q8_0 }, { "nf4", DT_NF4 },
	{ "q4_0", DT_Q4_0 },  { "int4", DT_Q4_0 }, { NULL, DT_COUNT },
};

/* false: there is no such name. */
static bool find_type(enum dtype *out, const struct type_name *n, const char *name)
{
	*out = DT_COUNT;
	if (!name || !*name) return true;
	while (n->name && strcmp(n->name, name)) n++;
	*out = n->type;
	return n->name != NULL;
}

static int weight_opt(struct model_opt *w, const struct lm_engine_opt *o, struct lm_err *err)
{
	*w = (struct model_opt){ .n_threads = o->n_threads, .dry = o->dry };
	if (!find_type(&w->precision, precisions, o->precision))
		return lm_fail(err, LM_EINVAL, "precision '%.40s': there are auto, f32, f16 and bf16", o->precision);
	if (!find_type(&w->quantize, quants, o->quantize))
		return lm_fail(err, LM_EINVAL, "quantize '%.40s': there are none, q8_0 (int8), q4_0 (int4) and nf4", o->quantize);
	return 0;
}

/* A model met for the first time comes from the disk in one stream.  Not where most of it may never be asked for (experts),
 * was read already to make other tensors of it, or would drive out of memory what others have there. */
static void read_ahead(struct lm_engine *e)
{
	const struct model_info *m = model_info(e->model);
	if (!e->dry && !m->made_bytes && m->token_bytes > m->n_bytes / 2 && e->info.file_bytes < mem_available() / 2) file_ahead(e->file);
}

static int open_weights(struct lm_engine *e, const struct lm_engine_opt *o, struct lm_err *err)
{
	struct model_opt w;
	int rc = weight_opt(&w, o, err);
	if (!rc) rc = device_open(&e->be, o->device, o->n_threads, o->cpu_level, err);
	if (!rc && o->fast) rc = cpu_fast(e->be, err);
	if (!rc) rc = adapt_load(e, o, &w, err);
	if (rc) return rc;
	e->n_vocab = e->info.n_vocab = model_info(e->model)->n_vocab;
	e->n_ctx_short = model_info(e->model)->n_ctx_short;
	if (tok_vocab(e->tok) > e->n_vocab)
		return lm_fail(err, LM_EFORMAT, "%s: the tokenizer has %d tokens, the output matrix %d rows", o->model,
		               tok_vocab(e->tok), e->n_vocab);
	describe(e, o, &w);
	read_ahead(e);
	rc = make_state(e, o, err);
	if (!rc) rc = heads_open(e, err);
	if (!rc) rc = list_ends(e, err);
	if (!rc && pthread_create(&e->thread, NULL, sched_main, e))
		rc = lm_fail(err, LM_ENOMEM, "the engine's thread cannot be started");
	e->threaded = rc == 0;
	return rc;
}

/* Weights without a vocabulary, as `convert --no-tokenizer` writes them: the model's name says so, or is absent. */
static bool no_vocabulary(const struct file *f)
{
	const char *s;
	size_t n;

	if (!file_str(f, "tokenizer.ggml.model", &s, &n)) return !file_has(f, "tokenizer.ggml.tokens");
	return (n == 4 && !memcmp(s, "none", 4)) || (n == 8 && !memcmp(s, "no_vocab", 8));
}

/* A folder or a GGUF may hold weights alone: prompts are token ids then. */
static int open_tokenizer(struct lm_engine *e, struct lm_err *err)
{
	if (!file_is_folder(e->file))
		return !e->vocab_only && no_vocabulary(e->file) ? tok_none(&e->tok, err) : tok_load(&e->tok, e->file, err);
	const char *dir = file_dir(e->file);
	return folder_has_tokenizer(dir) ? tok_open(&e->tok, dir, err) : tok_none(&e->tok, err);
}

static int open_all(struct lm_engine *e, const struct lm_engine_opt *o, struct lm_err *err)
{
	double t = lm_now();
	struct lm_buf path = { 0 };
	bool tokenizer;
	int rc = path_model(o->model, e->vocab_only, &path, &tokenizer, err);
	if (!rc && tokenizer) rc = tok_open(&e->tok, path.p, err);
	else if (!rc && !(rc = file_open(&e->file, path.p, err))) rc = open_tokenizer(e, err);
	if (!rc) rc = name_it(e, o, err);
	if (!rc) rc = make_chat(e, o, path.p, err);
	lm_buf_free(&path);
	if (rc) return rc;
	e->asks_tools = e->chat && !e->chat_tools && !chat_uses(e->chat, "tools");
	e->info.add_bos = tok_adds_bos(e->tok);
	e->info.file_bytes = e->file ? file_bytes(e->file) : 0;
	e->info.n_vocab = e->n_vocab = tok_vocab(e->tok);
	e->info.arch = e->info.device = e->info.quant = "";
	if (!e->vocab_only) rc = open_weights(e, o, err);
	e->info.t_load = lm_now() - t;
	return rc;
}

int lm_engine_open(struct lm_engine **out, const struct lm_engine_opt *o, struct lm_err *err)
{
	*out = NULL;
	if (!o->model || !*o->model) return lm_fail(err, LM_EINVAL, "no model file was given");
	struct lm_engine *e = lm_calloc(1, sizeof *e);
	if (!e) return lm_fail(err, LM_ENOMEM, "out of memory for the engine");
	pthread_mutex_init(&e->mu, NULL);
	pthread_cond_init(&e->wake, NULL);
	pthread_cond_init(&e->job_done, NULL);
	e->inbox_tail = &e->inbox;
	e->jobs_tail = &e->jobs;
	e->forward = model_forward;
	e->vocab_only = o->vocab_only;
	e->dry = o->dry;
	int rc = open_all(e, o, err);
	if (rc) lm_engine_close(e);
	else *out = e;
	return rc;
}

void lm_engine_close(struct lm_engine *e)
{
	if (!e) return;
	if (e->threaded) {
		pthread_mutex_lock(&e->mu);
		e->closing = true;
		pthread_cond_signal(&e->wake);
		pthread_mutex_unlock(&e->mu);
		pthread_join(e->thread, NULL);
	}
	sched_free(e);
	embed_free(e);
	lm_arena_free(e->names);
	kv_free(e->pool);
	state_free(e->state);
	model_free(e->model);
	adapt_free(e);
	backend_free(e->be);
	chat_free(e->chat);
	chat_free(e->chat_tools);
	tok_free(e->tok);
	file_close(e->file);
	lm_free(e->end);
	lm_free(e->name);
	lm_free(e->path);
	lm_free(e->device);
	pthread_cond_destroy(&e->wake);
	pthread_cond_destroy(&e->job_done);
	pthread_mutex_destroy(&e->mu);
	lm_free(e);
}
