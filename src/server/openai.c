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
	struct lm_reader *reader;                /* chat: takes the answer apart */
	bool reasoning;                          /* the latest part was reasoning */
	int n_calls, n_reasoning;                /* tool calls; tokens of reasoning */
	struct lm_buf text;                      /* of a whole answer */
	struct lm_buf thought, calls;            /* its reasoning; its tool calls, the last one's string still open */
	struct lm_buf lp;                        /* entries of logprobs, comma-separated, not sent yet */
	struct lm_buf lp_held, lp_range;         /* chat: entries of tokens not yet known to be content; struct range of each */
	size_t lp_next;                          /* the first range not dealt with */
	size_t pushed, said;                     /* bytes of text come; bytes up to the end of the latest token */
	struct lm_buf lp_token, lp_top, lp_at;   /* /v1/completions: token_logprobs, top_logprobs, text_offset */
	size_t offset;
};

static void answer_free(struct answer *a)
{
	lm_request_free(a->r);                   /* first: no notification comes after it */
	http_wake_free(a->wake);
	json_decref(a->body);
	lm_text_free(a->prompt);
	lm_reader_free(a->reader);
	struct lm_buf *b[] = { &a->text, &a->thought, &a->calls, &a->lp, &a->lp_held, &a->lp_range, &a->lp_token, &a->lp_top, &a->lp_at };
	for (size_t i = 0; i < sizeof b / sizeof b[0]; i++) lm_buf_free(b[i]);
	lm_free(a);
}

/* ---- logprobs ------------------------------------------------------------------------------------------ */
/* The bytes of a token; text is for lm_free, NULL: out of memory. */
static char *token_bytes(const struct answer *a, int32_t id, size_t *n)
{
	int len = lm_token_bytes(a->s->e, id, NULL, 0);
	char *text = lm_malloc((size_t)len + 1);
	*n = text ? (size_t)lm_token_bytes(a->s->e, id, text, len) : 0;
	return text;
}

static void json_token(const struct answer *a, struct lm_buf *b, int32_t id, bool bytes)
{
	size_t n;
	char *text = token_bytes(a, id, &n);
	lm_json_string(b, text ? text : "", n);
	if (bytes) {
		lm_buf_str(b, ",\"bytes\":[");
		for (size_t i = 0; i < n; i++) lm_buf_fmt(b, "%s%u", i ? "," : "", (unsigned)(unsigned char)text[i]);
		lm_buf_char(b, ']');
	}
	b->bad |= !text;
	lm_free(text);
}

/* JSON has no infinity: -9999 is what OpenAI sends for "never". */
static void json_logprob(struct lm_buf *b, float v) { lm_json_f32(b, v < -9999 ? -9999 : v); }

static void entry_chat(const struct answer *a, struct lm_buf *b, const struct lm_event *ev)
{
	lm_buf_str(b, "{\"token\":");
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

/* A token's bytes within the text of the answer, and where its entry ends in lp_held. */
struct range { size_t from, to, entry; };

/* Where in the answer this token's text stands: behind the one before it, but for what the engine put differently (a
 * character replaced, a control token hidden); that evens out where its text ends with the token's. */
static struct range place(struct answer *a, const struct lm_event *ev)
{
	size_t n;
	a->pushed += ev->len;
	char *text = ev->token < 0 ? NULL : token_bytes(a, ev->token, &n);
	if (!text) return (struct range){ 0 };
	bool whole = n && n <= ev->len && memcmp(ev->text + ev->len - n, text, n) == 0;
	a->said += n;
	if (whole || a->said < a->pushed) a->said = a->pushed;
	lm_free(text);
	return (struct range){ a->said - (n < a->said ? n : a->said), a->said, 0 };
}

static void note_logprob(struct answer *a, const struct lm_event *ev)
{
	if (a->logprobs < 0) return;
	if (!a->chat) {
		if (ev->token >= 0) entry_text(a, ev);
		a->offset += ev->len;
		return;
	}
	struct range at = place(a, ev);
	if (ev->token < 0) return;
	entry_chat(a, &a->lp_held, ev);
	at.entry = a->lp_held.n;
	lm_buf_add(&a->lp_range, &at, sizeof at);
}

/* Bytes [from, to) are content (else reasoning): the entries of their tokens are due, those before them are not. */
static void settle_logprobs(struct answer *a, bool content, size_t from, size_t to)
{
	const struct range *r = (const void *)a->lp_range.p;
	size_t n = a->lp_range.n / sizeof *r, i = a->lp_next;
	if (a->logprobs < 0 || a->lp_held.bad || a->lp_range.bad) return;
	for (; i < n && r[i].from < to; i++) {
		size_t start = i ? r[i - 1].entry : 0;
		if (!content && r[i].to > to) break; /* its end may be content */
		if (!content || r[i].to <= from) continue;
		if (a->lp.n) lm_buf_char(&a->lp, ',');
		lm_buf_add(&a->lp, a->lp_held.p + start, r[i].entry - start);
	}
	a->lp_next = i;
	if (i == n) a->lp_next = a->lp_range.n = a->lp_held.n = 0;
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

static void put_usage(const struct answer *a, struct lm_buf *b, const struct lm_event *ev)
{
	lm_buf_fmt(b, "\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d,"
	           "\"prompt_tokens_details\":{\"cached_tokens\":%d},\"completion_tokens_details\":{\"reasoning_tokens\":%d}}",
	           ev->n_prompt, ev->n_out, ev->n_prompt + ev->n_out, ev->n_cached, a->n_reasoning);
}

static void put_timings(struct lm_buf *b, const struct lm_event *ev)
{
	int n = ev->n_prompt - ev->n_cached;
	lm_buf_fmt(b, ",\"timings\":{\"cache_n\":%d,\"prompt_n\":%d,\"prompt_ms\":%.3f,\"prompt_per_second\":%.3f,"
	           "\"predicted_n\":%d,\"predicted_ms\":%.3f,\"predicted_per_second\":%.3f}",
	           ev->n_cached, n, ev->t_prompt * 1e3, ev->t_prompt > 0 ? n / ev->t_prompt : 0, ev->n_out, ev->t_out * 1e3,
	           ev->t_out > 0 ? ev->n_out / ev->t_out : 0);
}

static const char *finish_name(const struct answer *a, const struct lm_event *ev)
{
	return ev->finish != LM_FIN_STOP ? "length" : a->n_calls ? "tool_calls" : "stop";
}

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
		put_usage(a, &b, usage);
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

/* One chunk of the stream: {"index":0,HEAD"text"TAIL}, its text as a JSON string. */
static void send_piece(struct answer *a, const char *head, const char *text, size_t n, const char *tail)
{
	struct lm_buf b = { 0 };
	begin(a);
	lm_buf_str(&b, head);
	lm_json_string(&b, text, n);
	lm_buf_str(&b, tail);
	put_logprobs(a, &b);
	lm_buf_str(&b, ",\"finish_reason\":null}");
	send_chunk(a, &b, NULL);
}

/* The beginning of a call's object up to its open string of arguments. */
static void put_call(struct lm_buf *b, const char *id, const char *name, size_t n)
{
	lm_buf_str(b, "\"id\":");
	if (*id) lm_json_string(b, id, strlen(id)); /* as the model wrote it: its template will want it back */
	else
		lm_buf_fmt(b, "\"call_%016llx%08llx\"", (unsigned long long)lm_random_seed(),
		           (unsigned long long)lm_random_seed() & 0xFFFFFFFF);
	lm_buf_str(b, ",\"type\":\"function\",\"function\":{\"name\":");
	lm_json_string(b, name, n);
	lm_buf_str(b, ",\"arguments\":");
}

static void stream_part(struct answer *a, enum lm_part part, int call, const char *id, const char *text, size_t n)
{
	struct lm_buf b = { 0 };
	if (part == LM_CONTENT) send_piece(a, "{\"index\":0,\"delta\":{\"content\":", text, n, "},\"logprobs\":");
	if (part == LM_REASONING) send_piece(a, "{\"index\":0,\"delta\":{\"reasoning_content\":", text, n, "},\"logprobs\":");
	if (part < LM_CALL) return;
	lm_buf_fmt(&b, "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":%d,", call);
	if (part == LM_CALL) put_call(&b, id, text, n);
	else lm_buf_str(&b, "\"function\":{\"arguments\":");
	if (!b.bad) send_piece(a, lm_buf_cstr(&b), part == LM_CALL ? "" : text, part == LM_CALL ? 0 : n, "}}]},\"logprobs\":");
	lm_buf_free(&b);
}

/* Appends text[0..n) to a JSON string that is open in b. */
static void put_inside(struct lm_buf *b, const char *text, size_t n)
{
	struct lm_buf quoted = { 0 };
	lm_json_string(&quoted, text, n);
	if (quoted.n >= 2) lm_buf_add(b, quoted.p + 1, quoted.n - 2);
	b->bad |= quoted.bad;
	lm_buf_free(&quoted);
}

static int on_part(void *ud, enum lm_part part, int call, const char *id, const char *text, size_t n)
{
	struct answer *a = ud;
	a->reasoning = part == LM_REASONING;
	if (part < LM_CALL) {
		size_t at = lm_reader_where(a->reader);
		settle_logprobs(a, part == LM_CONTENT, at, at + n);
	}
	if (part == LM_CALL) a->n_calls++;
	if (a->stream) stream_part(a, part, call, id, text, n);
	else if (part == LM_CONTENT) lm_buf_add(&a->text, text, n);
	else if (part == LM_REASONING) lm_buf_add(&a->thought, text, n);
	else if (part == LM_ARGUMENTS) put_inside(&a->calls, text, n);
	else {
		lm_buf_str(&a->calls, call ? "\"}},{" : "{");
		put_call(&a->calls, id, text, n);
		lm_buf_char(&a->calls, '"');
	}
	return 0;
}

static int take_text(struct answer *a, const struct lm_event *ev, struct lm_err *err)
{
	note_logprob(a, ev);
	if (a->stream) begin(a);
	if (a->reader) {
		int rc = lm_reader_push(a->reader, ev->text, ev->len, on_part, a, err);
		a->n_reasoning += a->reasoning && ev->token >= 0;
		return rc;
	}
	if (!a->stream) lm_buf_add(&a->text, ev->text, ev->len);
	else if (ev->len) send_piece(a, "{\"text\":", ev->text, ev->len, ",\"index\":0,\"logprobs\":");
	return 0;
}

static void end_stream(struct answer *a, const struct lm_event *ev)
{
	struct lm_buf b = { 0 };
	begin(a);
	lm_buf_fmt(&b, "{%s\"index\":0,\"logprobs\":null,\"finish_reason\":\"%s\"}", a->chat ? "\"delta\":{}," : "\"text\":\"\",",
	           finish_name(a, ev));
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
	if (a->n_calls && !a->text.n) lm_buf_str(&b, "null");
	else lm_json_string(&b, lm_buf_cstr(&a->text), a->text.n);
	if (a->thought.n) {
		lm_buf_str(&b, ",\"reasoning_content\":");
		lm_json_string(&b, a->thought.p, a->thought.n);
	}
	if (a->n_calls) lm_buf_fmt(&b, ",\"tool_calls\":[%s\"}}]", lm_buf_cstr(&a->calls));
	lm_buf_str(&b, a->chat ? ",\"refusal\":null},\"logprobs\":" : ",\"index\":0,\"logprobs\":");
	put_logprobs(a, &b);
	lm_buf_fmt(&b, ",\"finish_reason\":\"%s\"}],", finish_name(a, ev));
	put_usage(a, &b, ev);
	put_timings(&b, ev);
	lm_buf_char(&b, '}');
	b.bad |= a->text.bad || a->lp.bad || a->thought.bad || a->calls.bad;
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
		struct lm_err err;
		int rc = 0;
		if (ev.kind == LM_TEXT) rc = take_text(a, &ev, &err);
		if (ev.kind == LM_DONE && a->reader) rc = lm_reader_end(a->reader, on_part, a, &err);
		if (!rc && (ev.kind == LM_TEXT || ev.kind == LM_PROMPT)) continue;
		if (rc) send_failure(a, &err);
		else if (ev.kind == LM_FAILED) send_failure(a, &ev.err);
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
	static const char *const names[] = { "functions", "function_call", "grammar", "json_schema", "regex", "suffix" };
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

/* "tools" as the template and the reader get them; absent when the request forbids calls. */
static bool take_tools(const json_t *o, json_t *vars, struct refusal *r)
{
	json_t *tools = json_object_get(o, "tools"), *choice = json_object_get(o, "tool_choice"), *t;
	const char *how = json_string_value(choice);
	size_t i;
	if (tools && !json_is_null(tools) && !json_is_array(tools)) return field_wrong(r, "tools", "an array", tools);
	json_array_foreach(tools, i, t) {
		const char *type = json_string_value(json_object_get(t, "type"));
		if (!type || strcmp(type, "function") || !json_is_string(json_object_get(json_object_get(t, "function"), "name")))
			return field_bad(r, "tools", "tools[%zu] is not {\"type\": \"function\", \"function\": {\"name\": ...}}", i);
	}
	bool parallel;
	if (!field_bool(o, "parallel_tool_calls", &parallel, r)) return false;
	bool none = how && !strcmp(how, "none"), some = json_array_size(tools) > 0;
	if (choice && !json_is_null(choice) && !json_is_object(choice) && !how)
		return field_wrong(r, "tool_choice", "\"none\", \"auto\", \"required\" or an object", choice);
	if (how && !none && strcmp(how, "auto") && strcmp(how, "required"))
		return field_bad(r, "tool_choice", "tool_choice is '%.40s', not none, auto or required", how);
	if (json_is_object(choice) || (how && !strcmp(how, "required")))
		return field_bad(r, "tool_choice", "tool_choice: a forced call is not supported by this version");
	if (some && !none && json_object_set(vars, "tools", tools)) return api_no_memory(r);
	return true;
}

/* Members that shape the prompt and how its answer is read. */
static bool take_format(const json_t *o, json_t *vars, bool *reasoning, struct refusal *r)
{
	json_t *format = json_object_get(o, "reasoning_format"), *effort = json_object_get(o, "reasoning_effort");
	const char *f = json_string_value(format);
	if (format && !json_is_null(format) && !f) return field_wrong(r, "reasoning_format", "a string", format);
	if (f && strcmp(f, "none") && strcmp(f, "deepseek") && strcmp(f, "auto"))
		return field_bad(r, "reasoning_format", "reasoning_format is '%.40s', not none, auto or deepseek", f);
	*reasoning = !f || strcmp(f, "none") != 0;
	if (effort && !json_is_null(effort) && !json_is_string(effort))
		return field_wrong(r, "reasoning_effort", "a string", effort);
	if (json_is_string(effort) && !json_object_get(vars, "reasoning_effort") &&
	    json_object_set(vars, "reasoning_effort", effort))
		return api_no_memory(r);
	return take_tools(o, vars, r);
}

/* The answer goes on where the last message ends. */
static int go_on(struct answer *a, const char *cont, struct lm_err *err)
{
	char *at = field_continued(a->prompt, cont);
	if (!at)
		return lm_fail(err, LM_EINVAL, "the chat template does not show the last message, of the assistant, as it "
		               "is, so it cannot be continued: set continue_final_message to false");
	*at = 0;
	return 0;
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
	bool reasoning = true;
	if (!vars) return false;
	if (!take_format(o, vars, &reasoning, r)) {
		json_decref(vars);
		return false;
	}
	struct lm_buf json = { 0 };
	int rc = json_dump_callback(vars, add_json, &json, JSON_COMPACT);
	if (rc) rc = lm_fail(&err, LM_ENOMEM, "out of memory");
	else rc = lm_render_chat(a->s->e, json.p, json.n, &a->prompt, &err);
	if (!rc && cont) rc = go_on(a, cont, &err);
	if (!rc) rc = lm_reader_new(&a->reader, a->s->e, json.p, json.n, a->prompt, reasoning, &err);
	lm_buf_free(&json);
	json_decref(vars);
	if (rc == LM_ENOMEM) return api_no_memory(r);
	if (rc) return field_bad(r, "messages", "%s", err.msg);
	p->text = a->prompt;
	p->len = strlen(a->prompt);
	p->parse_special = p->markers = true;
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
