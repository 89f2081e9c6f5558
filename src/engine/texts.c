/* texts.c - texts to token ids for pooling, and what the files say about vectors, classes and prompts.  Runs on the
 * callers' threads; embed.c does the rest on the engine's. */
#include "base/json.h"
#include "engine/engine.h"
#include "tokenizer/folder.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const pool_names[POOL_COUNT] = {
	[POOL_NONE] = "", [POOL_MEAN] = "mean", [POOL_CLS] = "cls", [POOL_LAST] = "last", [POOL_RANK] = "",
	[POOL_MAX] = "max", [POOL_MEAN_SQRT] = "mean_sqrt_len", [POOL_WEIGHTED] = "weightedmean",
};

/* ---- what the files say ------------------------------------------------------------------------------------ */
/* An array of strings of the file, copied; n of them.  NULL: out of memory. */
static const char *const *strings(struct lm_engine *e, const char *key, int n)
{
	const char **out = lm_new(e->names, const char *, n + 1), *s;
	size_t len;
	for (int i = 0; out && i < n; i++) {
		bool is = file_arr_str(e->file, key, i, &s, &len);
		out[i] = lm_arena_str(e->names, is ? s : "", is ? len : 0);
		if (!out[i]) return NULL;
	}
	return out;
}

static const char *const *labels(struct lm_engine *e, const char *key, int n)
{
	char text[24];
	if (file_arr_len(e->file, key) == n) return strings(e, key, n);
	const char **out = lm_new(e->names, const char *, n + 1);
	for (int i = 0; out && i < n; i++) {
		snprintf(text, sizeof text, "LABEL_%d", i);
		if (!(out[i] = lm_arena_str(e->names, text, strlen(text)))) return NULL;
	}
	return out;
}

int heads_open(struct lm_engine *e, struct lm_err *err)
{
	const struct model_heads *h = model_heads(e->model);
	const char *arch = model_info(e->model)->arch, *s = "";
	struct lm_heads_info *i = &e->heads;
	char key[160];
	size_t n = 0;

	*i = (struct lm_heads_info){ .encoder = !h->causal, .n_dim = h->n_dim, .n_label = h->n_label, .normalize = h->normalize,
		                     .normalize_said = h->normalize_said, .multi_label = h->multi_label,
		                     .pooling = pool_names[h->pool] };
	i->max_tokens = h->max_tokens && h->max_tokens < e->info.n_ctx ? h->max_tokens : e->info.n_ctx;
	e->names = lm_arena_new(1024);
	if (!e->names) return lm_fail(err, LM_ENOMEM, "out of memory for labels");
	snprintf(key, sizeof key, "%s.classifier.output_labels", arch);
	i->label = labels(e, key, h->n_label);
	snprintf(key, sizeof key, "%s.embedding.prompt_names", arch);
	int64_t names = file_arr_len(e->file, key);
	i->n_prompt = names > 0 && names < 10000 ? (int)names : 0;
	i->prompt_name = strings(e, key, i->n_prompt);
	snprintf(key, sizeof key, "%s.embedding.prompts", arch);
	i->prompt = strings(e, key, i->n_prompt);
	snprintf(key, sizeof key, "%s.embedding.default_prompt", arch);
	file_str(e->file, key, &s, &n);
	i->default_prompt = lm_arena_str(e->names, s, n);
	snprintf(key, sizeof key, "%s.embedding.unsupported", arch);
	if (file_str(e->file, key, &s, &n) && !(i->unsupported = lm_arena_str(e->names, s, n))) i->label = NULL;
	return i->label && i->prompt && i->prompt_name && i->default_prompt ? 0
		: lm_fail(err, LM_ENOMEM, "out of memory for labels");
}

const struct lm_heads_info *lm_heads(const struct lm_engine *e) { return &e->heads; }

/* ---- tokens ------------------------------------------------------------------------------------------------- */
/* The text's ids alone, to be freed. */
static int encode(struct lm_engine *e, const char *s, size_t len, bool special, int32_t **ids, struct lm_err *err)
{
	size_t guess = len < INT32_MAX / 8 ? len : 0;
	for (int cap = (int)guess + 16;;) {
		*ids = lm_malloc((size_t)cap * sizeof **ids);
		if (!*ids) return lm_fail(err, LM_ENOMEM, "out of memory for the tokens of %zu bytes", len);
		int n = tok_encode(e->tok, s, len, special ? TOK_PARSE_SPECIAL : 0, *ids, cap, err);
		if (n >= 0 && n <= cap) return n;
		lm_free(*ids);
		*ids = NULL;
		if (n < 0) return n;
		cap = n;
	}
}

/* Both lengths cut to `room` together as the reference's "longest first" does it: what is too much comes off the longer
 * one, then off both. */
static void cut_pair(int *a, int *b, int room)
{
	bool swap = *a > *b;
	int lo = swap ? *b : *a, hi = swap ? *a : *b;
	if (lo + hi <= room) return;
	hi = lo > room ? lo : room - lo > lo ? room - lo : lo;
	if (lo + hi > room) lo = room / 2, hi = lo + room % 2;
	*a = swap ? hi : lo;
	*b = swap ? lo : hi;
}

struct make {
	struct lm_engine *e;
	const struct lm_embed_opt *o;
	const char *prompt; size_t n_prompt;     /* before every text */
	struct job_text *out;
};

static int too_long(const struct make *m, int i, int n, struct lm_err *err)
{
	return lm_fail(err, LM_ELIMIT, "text %d has %d tokens, more than the %d that %s takes", i + 1, n,
		       m->e->heads.max_tokens, m->e->info.name);
}

/* Ids between the model's own tokens, cut to its length. */
static int wrap(const struct make *m, int i, int32_t *a, int n_a, int32_t *b, int n_b, struct lm_err *err)
{
	struct job_text *t = &m->out[i];
	int32_t none = 0, *second = b ? b : NULL;
	int around = m->o->no_bos ? 0 : tok_wrap(m->e->tok, a, 0, b ? &none : NULL, 0, NULL, NULL, 0, err);
	int room = m->e->heads.max_tokens - around;
	if (around < 0) return around;
	if (n_a + n_b > room && (m->o->no_truncate || room < 1)) return too_long(m, i, n_a + n_b + around, err);
	if (b) cut_pair(&n_a, &n_b, room);
	else if (n_a > room) n_a = room;
	int cap = n_a + n_b + around;
	t->ids = lm_calloc((size_t)cap, sizeof *t->ids);
	t->types = b ? lm_calloc((size_t)cap, sizeof *t->types) : NULL;
	if (!t->ids || (b && !t->types)) return lm_fail(err, LM_ENOMEM, "out of memory for %d tokens", cap);
	t->n = cap;
	if (m->o->no_bos) memcpy(t->ids, a, (size_t)n_a * sizeof *a);
	else tok_wrap(m->e->tok, a, n_a, second, n_b, t->ids, t->types, cap, err);
	for (int k = 0; t->types && k < cap; k++)        /* models of one token type: RoBERTa */
		if (t->types[k] >= model_heads(m->e->model)->n_type) t->types[k] = 0;
	return 0;
}

static int make_ids(const struct make *m, int i, const struct lm_text *in, struct lm_err *err)
{
	struct job_text *t = &m->out[i];
	for (int k = 0; k < in->n_ids; k++)
		if (in->ids[k] < 0 || in->ids[k] >= m->e->n_vocab)
			return lm_fail(err, LM_EINVAL, "token %d of text %d is %d, the vocabulary has %d", k, i + 1, (int)in->ids[k],
				       m->e->n_vocab);
	if (in->n_ids > m->e->heads.max_tokens) return too_long(m, i, in->n_ids, err);
	t->ids = lm_malloc((size_t)in->n_ids * sizeof *t->ids + 1);
	if (!t->ids) return lm_fail(err, LM_ENOMEM, "out of memory for %d tokens", in->n_ids);
	if (in->n_ids) memcpy(t->ids, in->ids, (size_t)in->n_ids * sizeof *t->ids);
	t->n = in->n_ids;
	return 0;
}

static int make_text(const struct make *m, int i, const struct lm_text *in, struct lm_err *err)
{
	struct lm_buf whole = { 0 };
	const char *s = in->text ? in->text : "";
	size_t len = in->len;
	int32_t *a = NULL, *b = NULL;
	if (m->n_prompt) {
		lm_buf_add(&whole, m->prompt, m->n_prompt);
		lm_buf_add(&whole, s, len);
		s = lm_buf_cstr(&whole);
		len = whole.n;
	}
	int n_b = 0, n_a = whole.bad ? lm_fail(err, LM_ENOMEM, "out of memory for a text")
				     : encode(m->e, s, len, !m->o->no_special, &a, err);
	if (n_a >= 0 && in->pair) n_b = encode(m->e, in->pair, in->pair_len, !m->o->no_special, &b, err);
	int rc = n_a < 0 ? n_a : n_b < 0 ? n_b : wrap(m, i, a, n_a, b, n_b, err);
	lm_free(a);
	lm_free(b);
	lm_buf_free(&whole);
	return rc;
}

static void free_texts(struct job_text *t, int n)
{
	for (int i = 0; t && i < n; i++) {
		lm_free(t[i].ids);
		lm_free(t[i].types);
	}
	lm_free(t);
}

static int make_texts(const struct make *m, const struct lm_text *t, int n, struct lm_err *err)
{
	int rc = 0;
	for (int i = 0; i < n && !rc; i++) {
		rc = t[i].ids ? make_ids(m, i, &t[i], err) : make_text(m, i, &t[i], err);
		if (!rc && m->out[i].n == 0) rc = lm_fail(err, LM_EINVAL, "text %d has no token", i + 1);
	}
	return rc;
}

/* ---- running ------------------------------------------------------------------------------------------------ */
static int submit(struct lm_engine *e, struct pool_job *j, struct lm_err *err)
{
	pthread_mutex_lock(&e->mu);
	if (e->closing) j->rc = lm_fail(&j->err, LM_ECANCELED, "the engine is closing");
	else {
		*e->jobs_tail = j;
		e->jobs_tail = &j->next;
		pthread_cond_signal(&e->wake);
		while (!j->finished) pthread_cond_wait(&e->job_done, &e->mu);
	}
	pthread_mutex_unlock(&e->mu);
	if (j->rc && err) *err = j->err;
	return j->rc;
}

static int run(const struct make *m, struct pool_job *j, const struct lm_text *t, int n, int *n_tokens, struct lm_err *err)
{
	static const struct lm_embed_opt plain = { .normalize = -1 };
	struct make own = *m;
	if (!own.o) own.o = &plain;
	if (m->e->vocab_only || m->e->dry) return lm_fail(err, LM_EUNSUPPORTED, "%s was opened without its weights", m->e->info.name);
	if (n < 1) return n ? lm_fail(err, LM_EINVAL, "%d texts", n) : 0;
	own.out = lm_calloc((size_t)n, sizeof *own.out);
	if (!own.out) return lm_fail(err, LM_ENOMEM, "out of memory for %d texts", n);
	int rc = make_texts(&own, t, n, err);
	j->text = own.out;
	j->n_text = n;
	if (!rc) rc = submit(m->e, j, err);
	for (int i = 0; i < n && n_tokens; i++) n_tokens[i] = own.out[i].n;
	free_texts(own.out, n);
	return rc;
}

static int choose_pool(const struct lm_engine *e, const char *name, enum pooling *out, struct lm_err *err)
{
	*out = e->model ? model_heads(e->model)->pool : POOL_MEAN;
	if (*out == POOL_NONE || *out == POOL_RANK) *out = POOL_MEAN;
	if (!name) return 0;
	for (int i = 0; i < POOL_COUNT; i++)
		if (*pool_names[i] && !strcmp(name, pool_names[i])) {
			*out = (enum pooling)i;
			return 0;
		}
	return lm_fail(err, LM_EINVAL, "pooling '%.40s': there are mean, cls, last, max, mean_sqrt_len and weightedmean", name);
}

static int choose_prompt(struct make *m, struct lm_err *err)
{
	const struct lm_heads_info *h = &m->e->heads;
	const char *name = m->o && m->o->prompt_name ? m->o->prompt_name : h->default_prompt;
	m->prompt = m->o && m->o->prompt ? m->o->prompt : "";
	if (!*m->prompt && name && *name) {
		int i = 0;
		struct lm_buf b = { 0 };
		while (i < h->n_prompt && strcmp(h->prompt_name[i], name)) lm_buf_fmt(&b, "%s%s", i ? ", " : "", h->prompt_name[i]), i++;
		if (i < h->n_prompt) m->prompt = h->prompt[i];
		else if (m->o && m->o->prompt_name)
			lm_fail(err, LM_EINVAL, "the model has no prompt '%.40s'; its prompts: %.300s", name, b.n ? b.p : "none");
		lm_buf_free(&b);
		if (i == h->n_prompt && m->o && m->o->prompt_name) return LM_EINVAL;
	}
	m->n_prompt = strlen(m->prompt);
	return 0;
}

int lm_embed(struct lm_engine *e, const struct lm_text *t, int n, const struct lm_embed_opt *o, float *out, int *n_tokens,
             struct lm_err *err)
{
	struct make m = { .e = e, .o = o };
	struct pool_job j = { .kind = JOB_VECTORS, .out = out, .n_out = e->heads.n_dim };
	int rc = choose_pool(e, o ? o->pooling : NULL, &j.pool, err);
	if (!rc && e->heads.unsupported)
		rc = lm_fail(err, LM_EUNSUPPORTED, "%s makes vectors in a way that lmrun does not: %s", e->info.name, e->heads.unsupported);
	if (!rc) rc = choose_prompt(&m, err);
	if (rc) return rc;
	if (o && (o->dimensions < 0 || o->dimensions > j.n_out))
		return lm_fail(err, LM_EINVAL, "dimensions: %d, the model's vectors have %d", o->dimensions, j.n_out);
	if (o && o->dimensions) j.n_out = o->dimensions;
	j.normalize = o && o->normalize >= 0 ? o->normalize != 0 : e->heads.normalize;
	return run(&m, &j, t, n, n_tokens, err);
}

int lm_classify(struct lm_engine *e, const struct lm_text *t, int n, const struct lm_embed_opt *o, float *logits,
                int *n_tokens, struct lm_err *err)
{
	struct make m = { .e = e, .o = o };
	struct pool_job j = { .kind = JOB_CLASSES, .out = logits, .n_out = e->heads.n_label };
	if (!j.n_out && !e->vocab_only)
		return lm_fail(err, LM_EUNSUPPORTED, "%s has no classifier: it cannot tell classes of texts apart", e->info.name);
	j.pool = e->model ? model_heads(e->model)->cls_pool : POOL_CLS;
	return run(&m, &j, t, n, n_tokens, err);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

void lm_scores(const struct lm_engine *e, const float *logits, float *scores)
{
	int n = e->heads.n_label;
	double top = -INFINITY, sum = 0;
	bool each = n == 1 || e->heads.multi_label;
	for (int i = 0; i < n; i++) top = fmax(top, (double)logits[i]);
	for (int i = 0; i < n; i++) sum += exp((double)logits[i] - top);
	for (int i = 0; i < n; i++) scores[i] = (float)(each ? sigmoid((double)logits[i]) : exp((double)logits[i] - top) / sum);
}

/* ---- relevance ---------------------------------------------------------------------------------------------- */
static const char JUDGE[] = "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
			    "Note that the answer can only be \"yes\" or \"no\".";
static const char ASKED[] = "Given a web search query, retrieve relevant passages that answer the query";
struct rank { struct lm_engine *e; const char *query; size_t len; const struct lm_embed_opt *o; float *score; int *n_tokens; };

/* By a cross-encoder: the pair has one logit. */
static int rank_pairs(const struct rank *r, const struct lm_text *t, int n, struct lm_err *err)
{
	struct lm_text *pair = lm_calloc((size_t)n, sizeof *pair);
	int rc = pair ? 0 : lm_fail(err, LM_ENOMEM, "out of memory for %d texts", n);
	for (int i = 0; i < n && !rc; i++)
		pair[i] = (struct lm_text){ .text = r->query, .len = r->len, .pair = t[i].text, .pair_len = t[i].len };
	if (!rc) rc = lm_classify(r->e, pair, n, r->o, r->score, r->n_tokens, err);
	for (int i = 0; i < n && !rc; i++) r->score[i] = (float)sigmoid((double)r->score[i]);
	lm_free(pair);
	return rc;
}

/* The question that the model answers by yes or no: its own template with {query} and {document}... */
static void fill_template(struct lm_buf *b, const char *form, const struct rank *r, const struct lm_text *t)
{
	for (const char *s = form; *s;) {
		if (!strncmp(s, "{query}", 7)) lm_buf_add(b, r->query, r->len), s += 7;
		else if (!strncmp(s, "{document}", 10)) lm_buf_add(b, t->text, t->len), s += 10;
		else lm_buf_char(b, *s++);
	}
}

/* ...or the chat template, as Qwen3-Reranker is asked. */
static int fill_chat(struct lm_buf *b, const struct rank *r, const struct lm_text *t, struct lm_err *err)
{
	struct lm_buf user = { 0 }, vars = { 0 };
	char *text = NULL;
	lm_buf_fmt(&user, "<Instruct>: %s\n<Query>: ", ASKED);
	lm_buf_add(&user, r->query, r->len);
	lm_buf_str(&user, "\n<Document>: ");
	lm_buf_add(&user, t->text, t->len);
	lm_buf_str(&vars, "{\"add_generation_prompt\":true,\"enable_thinking\":false,\"messages\":[{\"role\":\"system\",\"content\":");
	lm_json_string(&vars, JUDGE, sizeof JUDGE - 1);
	lm_buf_str(&vars, "},{\"role\":\"user\",\"content\":");
	lm_json_string(&vars, lm_buf_cstr(&user), user.n);
	lm_buf_str(&vars, "}]}");
	int rc = user.bad || vars.bad ? lm_fail(err, LM_ENOMEM, "out of memory for a question")
				      : lm_render_chat(r->e, vars.p, vars.n, &text, err);
	if (!rc) lm_buf_str(b, text);
	lm_text_free(text);
	lm_buf_free(&user);
	lm_buf_free(&vars);
	return rc;
}

/* The probability of `yes` against `no`, from logits [n][2]. */
static void yes_scores(const struct rank *r, const float *logits, int n, int yes)
{
	for (int i = 0; i < n; i++)
		r->score[i] = (float)sigmoid((double)logits[2 * i + yes] - (double)logits[2 * i + !yes]);
}

static int pick_tokens(const struct rank *r, struct pool_job *j, struct lm_err *err)
{
	static const char *const words[] = { "yes", "no" };
	for (int i = 0; i < 2; i++) {
		int n = tok_encode(r->e->tok, words[i], strlen(words[i]), 0, &j->pick[i], 1, err);
		if (n < 0) return n;
		if (n != 1 || j->pick[i] >= r->e->n_vocab)
			return lm_fail(err, LM_EUNSUPPORTED, "%s has no token for \"%s\": it cannot be asked whether a text answers",
				       r->e->info.name, words[i]);
	}
	return 0;
}

/* Questions for all texts; the model's classifier of yes and no, or the logits of these words. */
static int rank_asked(const struct rank *r, const struct lm_text *t, int n, const char *form, int yes, struct lm_err *err)
{
	struct lm_embed_opt o = { .normalize = -1, .no_truncate = true, .no_bos = true };
	struct make m = { .e = r->e, .o = &o };
	struct pool_job j = { .kind = yes < 0 ? JOB_PICK : JOB_CLASSES, .pool = POOL_LAST, .n_out = 2 };
	struct lm_buf *q = lm_calloc((size_t)n, sizeof *q);
	struct lm_text *in = lm_calloc((size_t)n, sizeof *in);
	float *logits = lm_calloc((size_t)n, 2 * sizeof *logits);
	int rc = q && in && logits ? 0 : lm_fail(err, LM_ENOMEM, "out of memory for %d texts", n);
	if (!rc && yes < 0) rc = pick_tokens(r, &j, err);
	for (int i = 0; i < n && !rc; i++) {
		if (form) fill_template(&q[i], form, r, &t[i]);
		else rc = fill_chat(&q[i], r, &t[i], err);
		in[i] = (struct lm_text){ .text = lm_buf_cstr(&q[i]), .len = q[i].n };
		if (!rc && q[i].bad) rc = lm_fail(err, LM_ENOMEM, "out of memory for a question");
	}
	j.out = logits;
	if (!rc) rc = run(&m, &j, in, n, r->n_tokens, err);
	if (!rc) yes_scores(r, logits, n, yes < 0 ? 0 : yes);
	for (int i = 0; i < n && q; i++) lm_buf_free(&q[i]);
	lm_free(q);
	lm_free(in);
	lm_free(logits);
	return rc;
}

static int rank_model(const struct rank *r, const struct lm_text *t, int n, int yes, struct lm_err *err)
{
	struct lm_buf form = { 0 };
	int rc = r->e->file ? file_template(r->e->file, "rerank", &form, err) : 1;
	if (rc >= 0) rc = rank_asked(r, t, n, rc == 0 && form.n ? lm_buf_cstr(&form) : NULL, yes, err);
	lm_buf_free(&form);
	return rc;
}

int lm_rerank(struct lm_engine *e, const char *query, size_t len, const struct lm_text *t, int n,
              const struct lm_embed_opt *o, float *score, int *n_tokens, struct lm_err *err)
{
	const struct lm_heads_info *h = &e->heads;
	struct rank r = { e, query, len, o, score, n_tokens };
	if (e->vocab_only || e->dry) return lm_fail(err, LM_EUNSUPPORTED, "%s was opened without its weights", e->info.name);
	for (int i = 0; i < n; i++)
		if (t[i].ids || !t[i].text) return lm_fail(err, LM_EINVAL, "text %d is not given as text: a question is made of it", i + 1);
	if (n < 1) return n ? lm_fail(err, LM_EINVAL, "%d texts", n) : 0;
	if (h->n_label == 1) return rank_pairs(&r, t, n, err);
	for (int yes = 0; yes < 2 && h->n_label == 2; yes++)
		if (!strcmp(h->label[yes], "yes") && !strcmp(h->label[!yes], "no")) return rank_model(&r, t, n, yes, err);
	if (h->n_label == 0 && !h->encoder) return rank_model(&r, t, n, -1, err);
	return lm_fail(err, LM_EUNSUPPORTED, "%s is no reranker: it has %d classes, expected one, or yes and no", e->info.name,
		       h->n_label);
}
