/* openai.c - /v1/chat/completions and /v1/completions: a body becomes an lm_prompt, events become JSON. */
#include "base/json.h"
#include "server/api.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PING_S = 15, MAX_LOGPROBS = 20 };
#define SSE "text/event-stream"

struct answer {
	struct server *s;
	struct http_call *c;
	struct lm_request *r;
	struct http_wake *wake;
	json_t *body;
	bool chat, stream, usage, begun, echo;
	int logprobs;                            /* -1: none, else how many alternatives to show */
	char id[40];
	int64_t created;
	char *prompt;                            /* rendered or as given; for echo */
	struct lm_buf text;                      /* of a whole answer */
	struct lm_buf lp;                        /* entries of logprobs, comma-separated, not sent yet */
	struct lm_buf lp_held;                   /* entries of tokens whose text is still held back */
	struct lm_buf lp_token, lp_top, lp_at;   /* /v1/completions: token_logprobs, top_logprobs, text_offset */
	size_t offset;
};

static void answer_free(struct answer *a)
{
	lm_request_free(a->r);                   /* first: no notification comes after it */
	http_wake_free(a->wake);
	json_decref(a->body);
	lm_text_free(a->prompt);
	struct lm_buf *b[] = { &a->text, &a->lp, &a->lp_held, &a->lp_token, &a->lp_top, &a->lp_at };
	for (size_t i = 0; i < sizeof b / sizeof b[0]; i++) lm_buf_free(b[i]);
	lm_free(a);
}

/* ---- logprobs ------------------------------------------------------------------------------------------ */
static void json_token(const struct answer *a, struct lm_buf *b, int32_t id, bool bytes)
{
	char *text;
	size_t n;
	if (lm_detokenize(a->s->e, &id, 1, true, &text, &n, NULL)) {
		lm_buf_str(b, bytes ? "\"\",\"bytes\":[]" : "\"\"");
		return;
	}
	lm_json_string(b, text, n);
	if (bytes) {
		lm_buf_str(b, ",\"bytes\":[");
		for (size_t i = 0; i < n; i++) lm_buf_fmt(b, "%s%u", i ? "," : "", (unsigned)(unsigned char)text[i]);
		lm_buf_char(b, ']');
	}
	lm_text_free(text);
}

/* JSON has no infinity: -9999 is what OpenAI sends for "never". */
static void json_logprob(struct lm_buf *b, float v) { lm_json_f32(b, v < -9999 ? -9999 : v); }

static void entry_chat(const struct answer *a, struct lm_buf *b, const struct lm_event *ev)
{
	lm_buf_str(b, b->n ? ",{\"token\":" : "{\"token\":");
	json_token(a, b, ev->token, true);
	lm_buf_str(b, ",\"logprob\":");
	json_logprob(b, ev->logprob);
	lm_buf_str(b, ",\"top_logprobs\":[");
	for (int i = 0; i < a->logprobs && i < ev->n_top; i++) {
		lm_buf_str(b, i ? ",{\"token\":" : "{\"token\":");
		json_token(a, b, ev->top[i].id, true);
		lm_buf_str(b, ",\"logprob\":");
		json_logprob(b, ev->top[i].logprob);
		lm_buf_char(b, '}');
	}
	lm_buf_str(b, "]}");
}

static void entry_text(struct answer *a, const struct lm_event *ev)
{
	const char *sep = a->lp.n ? "," : "";
	lm_buf_str(&a->lp, sep);
	json_token(a, &a->lp, ev->token, false);
	lm_buf_str(&a->lp_token, sep);
	json_logprob(&a->lp_token, ev->logprob);
	lm_buf_fmt(&a->lp_at, "%s%zu", sep, a->offset);
	lm_buf_fmt(&a->lp_top, "%s{", sep);
	for (int i = 0; i < a->logprobs && i < ev->n_top; i++) {
		if (i) lm_buf_char(&a->lp_top, ',');
		json_token(a, &a->lp_top, ev->top[i].id, false);
		lm_buf_char(&a->lp_top, ':');
		json_logprob(&a->lp_top, ev->top[i].logprob);
	}
	lm_buf_char(&a->lp_top, '}');
}

static void note_logprob(struct answer *a, const struct lm_event *ev)
{
	if (a->logprobs < 0) return;
	if (!a->chat) {
		if (ev->token >= 0) entry_text(a, ev);
		a->offset += ev->len;
		return;
	}
	if (ev->token >= 0) entry_chat(a, &a->lp_held, ev);
	if (!ev->len) return;                    /* its text is held back: so is its entry */
	if (a->lp.n && a->lp_held.n) lm_buf_char(&a->lp, ',');
	lm_buf_add(&a->lp, a->lp_held.p, a->lp_held.n);
	a->lp_held.n = 0;
}

static void put_logprobs(struct answer *a, struct lm_buf *b)
{
	if (a->logprobs < 0) {
		lm_buf_str(b, "null");
		return;
	}
	if (a->chat) lm_buf_fmt(b, "{\"content\":[%s],\"refusal\":null}", lm_buf_cstr(&a->lp));
	else
		lm_buf_fmt(b, "{\"tokens\":[%s],\"token_logprobs\":[%s],\"top_logprobs\":[%s],\"text_offset\":[%s]}",
		           lm_buf_cstr(&a->lp), lm_buf_cstr(&a->lp_token), lm_buf_cstr(&a->lp_top), lm_buf_cstr(&a->lp_at));
	struct lm_buf *sent[] = { &a->lp, &a->lp_token, &a->lp_top, &a->lp_at };
	for (size_t i = 0; i < 4; i++) {
		sent[i]->n = 0;
		if (sent[i]->p) sent[i]->p[0] = 0;
	}
}

/* ---- replies ------------------------------------------------------------------------------------------- */
static void put_head(const struct answer *a, struct lm_buf *b)
{
	const char *object = !a->chat ? "text_completion" : a->stream ? "chat.completion.chunk" : "chat.completion";
	lm_buf_fmt(b, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", a->id, object, (long long)a->created);
	lm_json_string(b, a->s->id, strlen(a->s->id));
	lm_buf_fmt(b, ",\"system_fingerprint\":\"lmrun-%s\",\"choices\":[", LMRUN_VERSION);
}

static void put_usage(struct lm_buf *b, const struct lm_event *ev)
{
	lm_buf_fmt(b, "\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d,"
	           "\"prompt_tokens_details\":{\"cached_tokens\":%d},\"completion_tokens_details\":{\"reasoning_tokens\":0}}",
	           ev->n_prompt, ev->n_out, ev->n_prompt + ev->n_out, ev->n_cached);
}

static void put_timings(struct lm_buf *b, const struct lm_event *ev)
{
	int n = ev->n_prompt - ev->n_cached;
	lm_buf_fmt(b, ",\"timings\":{\"cache_n\":%d,\"prompt_n\":%d,\"prompt_ms\":%.3f,\"prompt_per_second\":%.3f,"
	           "\"predicted_n\":%d,\"predicted_ms\":%.3f,\"predicted_per_second\":%.3f}",
	           ev->n_cached, n, ev->t_prompt * 1e3, ev->t_prompt > 0 ? n / ev->t_prompt : 0, ev->n_out, ev->t_out * 1e3,
	           ev->t_out > 0 ? ev->n_out / ev->t_out : 0);
}

static const char *finish_name(const struct lm_event *ev) { return ev->finish == LM_FIN_STOP ? "stop" : "length"; }

/* Sends {head}{rest}] ... } as one event of the stream; body: what stands in "choices". */
static void send_chunk(struct answer *a, struct lm_buf *choice, const struct lm_event *usage)
{
	struct lm_buf b = { 0 };
	lm_buf_str(&b, "data: ");
	put_head(a, &b);
	lm_buf_add(&b, choice->p, choice->n);
	lm_buf_char(&b, ']');
	if (usage) {
		lm_buf_char(&b, ',');
		put_usage(&b, usage);
		put_timings(&b, usage);
	} else if (a->usage) lm_buf_str(&b, ",\"usage\":null");
	lm_buf_str(&b, "}\n\n");
	if (!b.bad) http_chunk(a->c, b.p, b.n);
	lm_buf_free(&b);
	lm_buf_free(choice);
}

static void begin(struct answer *a)
{
	if (a->begun) return;
	a->begun = true;
	http_stream(a->c, SSE);
	struct lm_buf b = { 0 };
	if (a->chat)
		lm_buf_str(&b, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
		           "\"finish_reason\":null}");
	else if (a->echo) {
		lm_buf_str(&b, "{\"text\":");
		lm_json_string(&b, a->prompt, strlen(a->prompt));
		lm_buf_str(&b, ",\"index\":0,\"logprobs\":null,\"finish_reason\":null}");
	} else return;
	send_chunk(a, &b, NULL);
}

static void send_text(struct answer *a, const struct lm_event *ev)
{
	struct lm_buf b = { 0 };
	begin(a);
	if (!ev->len) return;
	lm_buf_str(&b, a->chat ? "{\"index\":0,\"delta\":{\"content\":" : "{\"text\":");
	lm_json_string(&b, ev->text, ev->len);
	lm_buf_str(&b, a->chat ? "},\"logprobs\":" : ",\"index\":0,\"logprobs\":");
	put_logprobs(a, &b);
	lm_buf_str(&b, ",\"finish_reason\":null}");
	send_chunk(a, &b, NULL);
}

static void end_stream(struct answer *a, const struct lm_event *ev)
{
	struct lm_buf b = { 0 };
	begin(a);
	lm_buf_fmt(&b, "{%s\"index\":0,\"logprobs\":null,\"finish_reason\":\"%s\"}", a->chat ? "\"delta\":{}," : "\"text\":\"\",",
	           finish_name(ev));
	send_chunk(a, &b, NULL);
	if (a->usage) send_chunk(a, &(struct lm_buf){ 0 }, ev);
	http_chunk(a->c, "data: [DONE]\n\n", 14);
	http_end(a->c);
}

static void send_whole(struct answer *a, const struct lm_event *ev)
{
	struct lm_buf b = { 0 };
	put_head(a, &b);
	lm_buf_str(&b, a->chat ? "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":" : "{\"text\":");
	lm_json_string(&b, lm_buf_cstr(&a->text), a->text.n);
	lm_buf_str(&b, a->chat ? ",\"refusal\":null},\"logprobs\":" : ",\"index\":0,\"logprobs\":");
	put_logprobs(a, &b);
	lm_buf_fmt(&b, ",\"finish_reason\":\"%s\"}],", finish_name(ev));
	put_usage(&b, ev);
	put_timings(&b, ev);
	lm_buf_char(&b, '}');
	b.bad |= a->text.bad || a->lp.bad;
	api_send_json(a->c, 200, &b);
}

/* The sentence of a failure, before or within a stream. */
static void send_failure(struct answer *a, const struct lm_err *err)
{
	struct refusal r = { 0 };
	if (err->code == LM_EINVAL) api_refuse(&r, 400, "invalid_value", NULL, "%s", err->msg);
	else if (err->code == LM_ENOMEM) api_refuse(&r, 503, NULL, NULL, "%s", err->msg);
	else api_refuse(&r, 500, NULL, NULL, "%s", err->msg);
	if (!a->begun) {
		api_send_refusal(a->c, &r);
		return;
	}
	struct lm_buf b = { 0 };
	lm_buf_str(&b, "data: ");
	api_error_body(&b, &r);
	lm_buf_str(&b, "\n\n");
	if (!b.bad) http_chunk(a->c, b.p, b.n);
	lm_buf_free(&b);
	http_end(a->c);
}

/* ---- events -------------------------------------------------------------------------------------------- */
static void on_wake(void *ud, bool idle)
{
	struct answer *a = ud;
	struct lm_event ev;
	if (idle && a->stream) {
		begin(a);
		http_chunk(a->c, ": ping\n\n", 8);
	}
	while (lm_next(a->r, &ev, 0)) {
		if (ev.kind == LM_TEXT) {
			note_logprob(a, &ev);
			if (a->stream) send_text(a, &ev);
			else lm_buf_add(&a->text, ev.text, ev.len);
			continue;
		}
		if (ev.kind == LM_PROMPT) continue;
		if (ev.kind == LM_FAILED) send_failure(a, &ev.err);
		else if (a->stream) end_stream(a, &ev);
		else send_whole(a, &ev);
		answer_free(a);
		return;
	}
}

static void on_gone(void *ud) { answer_free(ud); }
static void notify(void *ud) { http_wake_fire(((struct answer *)ud)->wake); }

/* ---- requests ------------------------------------------------------------------------------------------ */
/* What this version does not do yet is said, not ignored. */
static bool unsupported(const json_t *o, struct refusal *r)
{
	static const char *const names[] = { "tools", "functions", "grammar", "json_schema", "regex", "suffix" };
	int n = 1, best = 1;
	if (!field_int(o, "n", 1, 16, &n, r) || !field_int(o, "best_of", 1, 16, &best, r)) return false;
	if (n > 1) return field_bad(r, "n", "n is %d: one choice is all this version gives", n);
	if (best > 1) return field_bad(r, "best_of", "best_of is %d: one choice is all this version gives", best);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const json_t *v = json_object_get(o, names[i]);
		if (v && !json_is_null(v) && !(json_is_array(v) && json_array_size(v) == 0) &&
		    !(json_is_string(v) && json_string_length(v) == 0))
			return field_bad(r, names[i], "%s: not supported by this version", names[i]);
	}
	const json_t *f = json_object_get(o, "response_format");
	const char *type = json_string_value(json_object_get(f, "type"));
	if (f && !json_is_null(f) && !type)
		return field_wrong(r, "response_format", "an object with a type", f);
	if (type && strcmp(type, "text") != 0)
		return field_bad(r, "response_format", "response_format %.40s: not supported by this version", type);
	return true;
}

/* Members that both endpoints read. */
static bool common(struct answer *a, struct lm_prompt *p, struct lm_logit_bias **bias, const char ***stop,
                   struct refusal *r)
{
	const json_t *o = a->body, *so = json_object_get(o, "stream_options"), *m = json_object_get(o, "model");
	const char *name = json_string_value(m);
	if (m && !json_is_null(m) && !name) return field_wrong(r, "model", "a string", m);
	if (!api_knows_model(a->s, name)) return api_no_model(a->s, name, r);
	if (!field_bool(o, "stream", &a->stream, r)) return false;
	if (so && !json_is_null(so)) {
		if (!json_is_object(so)) return field_wrong(r, "stream_options", "an object", so);
		if (!a->stream) return field_bad(r, "stream_options", "stream_options is for streams: set stream to true");
		if (!field_bool(so, "include_usage", &a->usage, r)) return false;
	}
	if (!unsupported(o, r) || !field_sampling(o, lm_info(a->s->e)->n_vocab, &p->sampling, bias, r)) return false;
	if (!field_stop(o, stop, &p->n_stop, r)) return false;
	p->stop = *stop;
	return true;
}

static bool max_tokens(const json_t *o, const char *name, int lo, int *out, struct refusal *r)
{
	int v = *out;
	if (!field_int(o, name, -1, INT32_MAX, &v, r)) return false;
	if (v != -1 && v < lo) return field_bad(r, name, "%s is %d, not -1 or at least %d", name, v, lo);
	*out = v;
	return true;
}

static int add_json(const char *p, size_t n, void *buf)
{
	lm_buf_add(buf, p, n);
	return ((struct lm_buf *)buf)->bad ? -1 : 0;
}

static bool parse_chat(struct answer *a, struct lm_prompt *p, struct refusal *r)
{
	const json_t *o = a->body;
	const char *cont;
	bool lp = false;
	int top = -1;
	struct lm_err err;
	p->max_tokens = -1;
	if (!max_tokens(o, "max_tokens", 1, &p->max_tokens, r) ||
	    !max_tokens(o, "max_completion_tokens", 1, &p->max_tokens, r) ||
	    !field_bool(o, "logprobs", &lp, r) || !field_int(o, "top_logprobs", 0, MAX_LOGPROBS, &top, r))
		return false;
	if (top >= 0 && !lp) return field_bad(r, "top_logprobs", "top_logprobs needs logprobs to be true");
	a->logprobs = !lp ? -1 : top > 0 ? top : 0;
	json_t *vars = field_messages(o, &cont, r);
	if (!vars) return false;
	struct lm_buf json = { 0 };
	char *at = NULL;
	int rc = json_dump_callback(vars, add_json, &json, JSON_COMPACT);
	if (rc) rc = lm_fail(&err, LM_ENOMEM, "out of memory");
	else rc = lm_render_chat(a->s->e, json.p, json.n, &a->prompt, &err);
	lm_buf_free(&json);
	if (!rc && cont)                         /* the answer goes on where the last message ends */
		for (char *s = strstr(a->prompt, cont); s; s = strstr(s + 1, cont)) at = s + strlen(cont);
	if (at) *at = 0;
	json_decref(vars);
	if (rc == LM_ENOMEM) return api_no_memory(r);
	if (rc) return field_bad(r, "messages", "%s", err.msg);
	p->text = a->prompt;
	p->len = strlen(a->prompt);
	p->parse_special = true;
	return true;
}

/* One prompt: a string, an array of ids, or an array that holds just one of these.  *ids is for lm_free. */
static bool take_prompt(struct answer *a, struct lm_prompt *p, int32_t **ids, struct refusal *r)
{
	const json_t *v = json_object_get(a->body, "prompt");
	size_t n = json_array_size(v);
	if (!v || json_is_null(v)) return api_refuse(r, 400, "missing_required_parameter", "prompt", "prompt is missing");
	if (n && !json_is_integer(json_array_get(v, 0))) {
		if (n > 1) return field_bad(r, "prompt", "%zu prompts: one at a time is all this version takes", n);
		v = json_array_get(v, 0);
		n = json_array_size(v);
	}
	if (json_is_string(v)) {
		const char *text = field_text(v, "prompt", r);
		if (!text) return false;
		p->text = a->prompt = lm_strdup(text);
		p->len = strlen(text);
		p->add_bos = p->parse_special = true;
		return p->text ? true : api_no_memory(r);
	}
	if (!json_is_array(v) || n == 0)
		return field_wrong(r, "prompt", "a string or a non-empty array of token ids", v);
	*ids = lm_malloc(n * sizeof **ids);
	if (!*ids) return api_no_memory(r);
	for (size_t i = 0; i < n; i++) {
		const json_t *x = json_array_get(v, i);
		json_int_t id = json_integer_value(x);
		if (!json_is_integer(x) || id < 0 || id >= lm_info(a->s->e)->n_vocab)
			return field_bad(r, "prompt", "prompt[%zu] is not a token id of the vocabulary of %d", i,
			                  lm_info(a->s->e)->n_vocab);
		(*ids)[i] = (int32_t)id;
	}
	p->ids = *ids;
	p->n_ids = (int)n;
	size_t len;
	return lm_detokenize(a->s->e, *ids, p->n_ids, true, &a->prompt, &len, NULL) ? api_no_memory(r) : true;
}

static bool parse_text(struct answer *a, struct lm_prompt *p, int32_t **ids, struct refusal *r)
{
	const json_t *o = a->body;
	p->max_tokens = 16;
	a->logprobs = -1;
	if (!field_bool(o, "echo", &a->echo, r) || !max_tokens(o, "max_tokens", a->echo ? 0 : 1, &p->max_tokens, r) ||
	    !field_int(o, "logprobs", 0, MAX_LOGPROBS, &a->logprobs, r))
		return false;
	if (a->echo && a->logprobs >= 0)
		return field_bad(r, "echo", "echo together with logprobs: not supported by this version");
	return take_prompt(a, p, ids, r);
}

/* Starts the engine on it; true: the answer is under way. */
static bool start(struct answer *a, struct lm_prompt *p, struct refusal *r)
{
	struct lm_err err;
	p->n_logprobs = a->logprobs < 0 ? 0 : a->logprobs ? a->logprobs : 1;
	p->notify = notify;
	p->notify_ud = a;
	a->wake = http_wake_new(a->s->http, PING_S, on_wake, a);
	if (!a->wake) return api_no_memory(r);
	if (a->echo && !a->stream) lm_buf_str(&a->text, a->prompt);
	int rc = lm_submit(&a->r, a->s->e, p, &err);
	if (rc == LM_ELIMIT) {
		api_refuse(r, 400, "context_length_exceeded", a->chat ? "messages" : "prompt", "%s", err.msg);
		sscanf(err.msg, "the prompt has %d", &r->n_prompt);
		r->n_ctx = lm_info(a->s->e)->n_ctx;
		return false;
	}
	if (rc == LM_ENOMEM) return api_no_memory(r);
	if (rc) return field_bad(r, NULL, "%s", err.msg);
	a->c->gone = on_gone;
	a->c->gone_ud = a;
	return true;
}

static void complete(struct server *s, struct http_call *c, bool chat)
{
	struct refusal r = { 0 };
	struct lm_err err;
	struct lm_prompt p = { 0 };
	struct lm_logit_bias *bias = NULL;
	const char **stop = NULL;
	int32_t *ids = NULL;
	struct answer *a = lm_calloc(1, sizeof *a);
	if (!a) {
		api_no_memory(&r);
		api_send_refusal(c, &r);
		return;
	}
	*a = (struct answer){ .s = s, .c = c, .chat = chat, .created = (int64_t)time(NULL), .logprobs = -1 };
	snprintf(a->id, sizeof a->id, "%s-%016llx", chat ? "chatcmpl" : "cmpl", (unsigned long long)lm_random_seed());
	a->body = c->body_len ? lm_json_parse(c->body, c->body_len, &err) : NULL;
	bool ok = false;
	const char *why = c->body_len ? err.msg : "the body is empty; a JSON object is expected";
	if (!a->body && c->body_len && err.code == LM_ENOMEM) api_no_memory(&r);
	else if (!a->body) api_refuse(&r, 400, "invalid_json", NULL, "%s", why);
	else if (!json_is_object(a->body)) api_refuse(&r, 400, "invalid_type", NULL, "the body must be a JSON object");
	else ok = common(a, &p, &bias, &stop, &r) && (chat ? parse_chat(a, &p, &r) : parse_text(a, &p, &ids, &r));
	if (ok) ok = start(a, &p, &r);
	lm_free(bias);
	lm_free(stop);
	lm_free(ids);
	if (ok) return;
	api_send_refusal(c, &r);
	answer_free(a);
}

void openai_chat(struct server *s, struct http_call *c) { complete(s, c, true); }
void openai_text(struct server *s, struct http_call *c) { complete(s, c, false); }
