/* server.c - who may ask (host, origin, key), what there is (routes, models), and how a refusal looks. */
#include "server/server.h"
#include "base/json.h"
#include "server/api.h"
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* ---- refusals ------------------------------------------------------------------------------------------ */
bool api_refuse(struct refusal *r, int status, const char *code, const char *param, const char *fmt, ...)
{
	va_list ap;
	*r = (struct refusal){ .status = status, .code = code };
	static const struct { int status; const char *type; } types[] = {
		{ 401, "authentication_error" }, { 403, "permission_error" }, { 404, "not_found_error" },
		{ 500, "server_error" }, { 501, "not_supported_error" }, { 503, "unavailable_error" },
	};
	r->type = "invalid_request_error";
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if (types[i].status == status) r->type = types[i].type;
	if (param) snprintf(r->param, sizeof r->param, "%s", param);
	va_start(ap, fmt);
	vsnprintf(r->msg, sizeof r->msg, fmt, ap);
	va_end(ap);
	return false;
}

bool api_no_memory(struct refusal *r) { return api_refuse(r, 503, NULL, NULL, "out of memory"); }

void api_error_body(struct lm_buf *b, const struct refusal *r)
{
	lm_buf_str(b, "{\"error\":{\"message\":");
	lm_json_string(b, r->msg, strlen(r->msg));
	lm_buf_fmt(b, ",\"type\":\"%s\",\"param\":", r->type);
	if (*r->param) lm_json_string(b, r->param, strlen(r->param));
	else lm_buf_str(b, "null");
	lm_buf_str(b, ",\"code\":");
	if (r->code) lm_json_string(b, r->code, strlen(r->code));
	else lm_buf_str(b, "null");
	if (r->n_ctx) lm_buf_fmt(b, ",\"n_prompt_tokens\":%d,\"n_ctx\":%d", r->n_prompt, r->n_ctx);
	lm_buf_str(b, "}}");
}

void api_send_json(struct http_call *c, int status, struct lm_buf *b)
{
	static const char oom[] = "{\"error\":{\"message\":\"out of memory\",\"type\":\"unavailable_error\","
	                          "\"param\":null,\"code\":null}}";
	if (b->bad) http_reply(c, 503, "application/json", oom, sizeof oom - 1);
	else http_reply(c, status, "application/json", b->p, b->n);
	lm_buf_free(b);
}

void api_send_refusal(struct http_call *c, const struct refusal *r)
{
	struct lm_buf b = { 0 };
	api_error_body(&b, r);
	if (r->status == 503) http_set(c, "Retry-After", "1");
	api_send_json(c, r->status, &b);
}

/* ---- models -------------------------------------------------------------------------------------------- */
bool api_knows_model(const struct server *s, const char *name)
{
	size_t n = name ? strlen(name) : 0, id = strlen(s->id), base = strlen(s->base);
	if (n == 0) return true;
	if (n > 7 && strcmp(name + n - 7, ":latest") == 0) n -= 7;
	if (n == id && strncmp(name, s->id, n) == 0) return true;
	if (n == base && strncmp(name, s->base, n) == 0) return true;
	return n + 5 == base && strncmp(name, s->base, n) == 0 && strcmp(s->base + n, ".gguf") == 0;
}

bool api_no_model(const struct server *s, const char *name, struct refusal *r)
{
	return api_refuse(r, 404, "model_not_found", "model", "the model '%.80s' does not exist; there is '%s'", name, s->id);
}

static void put_model(const struct server *s, struct lm_buf *b)
{
	const struct lm_model_info *m = lm_info(s->e);
	lm_buf_str(b, "{\"id\":");
	lm_json_string(b, s->id, strlen(s->id));
	lm_buf_fmt(b, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"lmrun\",\"aliases\":[", (long long)s->created);
	lm_json_string(b, s->base, strlen(s->base));
	lm_buf_fmt(b, "],\"status\":\"loaded\",\"meta\":{\"n_vocab\":%d,\"n_ctx\":%d,\"n_ctx_train\":%d,\"n_embd\":%d,"
	           "\"n_params\":%llu,\"size\":%llu,\"ftype\":\"%s\"}}", m->n_vocab, m->n_ctx, m->n_ctx_train, m->n_embd,
	           (unsigned long long)m->n_params, (unsigned long long)m->n_bytes, m->quant);
}

static void get_models(struct server *s, struct http_call *c)
{
	struct lm_buf b = { 0 };
	lm_buf_str(&b, "{\"object\":\"list\",\"data\":[");
	put_model(s, &b);
	lm_buf_str(&b, "]}");
	api_send_json(c, 200, &b);
}

static void get_model(struct server *s, struct http_call *c, const char *name)
{
	struct lm_buf b = { 0 };
	struct refusal r;
	if (api_knows_model(s, name)) {
		put_model(s, &b);
		api_send_json(c, 200, &b);
		return;
	}
	api_no_model(s, name, &r);
	api_send_refusal(c, &r);
}

static void get_health(struct server *s, struct http_call *c)
{
	(void)s;
	http_reply(c, 200, "application/json", "{\"status\":\"ok\"}", 15);
}

/* ---- who may ask --------------------------------------------------------------------------------------- */
static bool is_loopback(const char *h)
{
	unsigned char a[4];                      /* 127.example is a name, and may be anybody's */
	return strcasecmp(h, "localhost") == 0 || (inet_pton(AF_INET, h, a) == 1 && a[0] == 127) || strcmp(h, "::1") == 0 ||
	       strcmp(h, "[::1]") == 0;
}

/* A page in a browser reaches us under its own name once DNS is bent: only our own names and, when bound beyond
 * loopback, plain addresses are taken.  host: "name[:port]", ends at n. */
static bool own_host(const struct server *s, const char *host, size_t n)
{
	char name[256], *colon;
	unsigned char addr[16];
	if (n == 0 || n >= sizeof name) return false;
	memcpy(name, host, n);
	name[n] = 0;
	colon = strrchr(name, ':');
	if (colon && strspn(colon + 1, "0123456789") == strlen(colon + 1) && (name[0] != '[' || colon[-1] == ']')) *colon = 0;
	if (strcasecmp(name, "localhost") == 0 || strcmp(name, "127.0.0.1") == 0) return true;
	if (strcmp(name, "[::1]") == 0 || strcasecmp(name, s->host) == 0) return true;
	return !is_loopback(s->host) && (inet_pton(AF_INET, name, addr) == 1 || name[0] == '[');
}

static bool same_key(const char *a, const char *b)       /* time does not tell where they differ */
{
	size_t n = strlen(a), m = strlen(b);
	unsigned diff = n != m;
	for (size_t i = 0; i < n; i++) diff |= (unsigned)(unsigned char)a[i] ^ (unsigned)(unsigned char)b[m ? i % m : 0];
	return diff == 0;
}

static bool has_key(const struct server *s, const struct http_call *c)
{
	const char *bearer = http_header(c, "Authorization");
	const char *x = http_header(c, "x-api-key"), *k = http_header(c, "api-key");
	if (bearer && strncasecmp(bearer, "Bearer ", 7) == 0 && same_key(bearer + 7, s->api_key)) return true;
	return (x && same_key(x, s->api_key)) || (k && same_key(k, s->api_key));
}

static bool admit(const struct server *s, const struct http_call *c, bool open, struct refusal *r)
{
	const char *host = http_header(c, "Host");
	const char *origin = http_header(c, "Origin"), *site = http_header(c, "Sec-Fetch-Site");
	const char *at = origin ? strstr(origin, "://") : NULL;
	if (http_count_header(c, "Content-Length") > 1 || http_count_header(c, "Host") > 1)
		return api_refuse(r, 400, NULL, NULL, "a header that may stand once stands twice (Content-Length, Host)");
	if (!host && !http_is_1_0(c)) return api_refuse(r, 400, NULL, NULL, "the Host header is missing");
	if (host && !own_host(s, host, strlen(host)))
		return api_refuse(r, 403, NULL, NULL, "host '%.80s' is not a name of this server", host);
	if ((origin && !(at && own_host(s, at + 3, strlen(at + 3)))) || (site && strcmp(site, "cross-site") == 0))
		return api_refuse(r, 403, NULL, NULL, "requests of pages from elsewhere are refused");
	if (s->api_key && !open && !has_key(s, c))
		return api_refuse(r, 401, "invalid_api_key", NULL, "the API key is missing or wrong");
	return true;
}

/* ---- routes -------------------------------------------------------------------------------------------- */
static const struct route {
	const char *path, *method;
	void (*fn)(struct server *s, struct http_call *c);
	bool open;                                   /* needs no key */
} routes[] = {
	{ "/health", "GET", get_health, true },
	{ "/v1/health", "GET", get_health, true },
	{ "/v1/models", "GET", get_models, false },
	{ "/models", "GET", get_models, false },
	{ "/v1/chat/completions", "POST", openai_chat, false },
	{ "/chat/completions", "POST", openai_chat, false },
	{ "/v1/completions", "POST", openai_text, false },
};

static bool method_fits(const char *want, const char *got)
{
	return strcmp(want, got) == 0 || (strcmp(want, "GET") == 0 && strcmp(got, "HEAD") == 0);
}

static void set_headers(struct http_call *c)
{
	char id[32];
	const char *theirs = http_header(c, "X-Request-Id");
	snprintf(id, sizeof id, "req_%016llx", (unsigned long long)lm_random_seed());
	http_set(c, "Server", "lmrun/" LMRUN_VERSION);
	http_set(c, "X-Request-Id", theirs && *theirs && strlen(theirs) <= 200 ? theirs : id);
}

static void handle(void *ud, struct http_call *c)
{
	struct server *s = ud;
	struct refusal r = { 0 };
	const struct route *hit = NULL;
	const char *model = NULL;
	set_headers(c);
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
		if (strcmp(routes[i].path, c->path) == 0) hit = &routes[i];
	if (strncmp(c->path, "/v1/models/", 11) == 0) model = c->path + 11;
	else if (strncmp(c->path, "/models/", 8) == 0) model = c->path + 8;
	const char *allow = hit ? hit->method : "GET";
	if (!admit(s, c, hit && hit->open, &r)) {
		/* refused */
	} else if (!hit && !model) api_refuse(&r, 404, NULL, NULL, "there is no %.100s here", c->path);
	else if (!method_fits(allow, c->method)) {
		http_set(c, "Allow", strcmp(allow, "GET") == 0 ? "GET, HEAD" : allow);
		api_refuse(&r, 405, NULL, NULL, "%.100s takes %s", c->path, allow);
	} else {
		if (model) get_model(s, c, model);
		else hit->fn(s, c);
		return;
	}
	api_send_refusal(c, &r);
}

/* ---- life ---------------------------------------------------------------------------------------------- */
static int check(const struct server_opt *o, struct lm_err *err)
{
	if (o->port < 0 || o->port > 65535) return lm_fail(err, LM_EINVAL, "port %d is not between 0 and 65535", o->port);
	if (o->host && !is_loopback(o->host) && (!o->api_key || !*o->api_key))
		return lm_fail(err, LM_EINVAL, "host %s would let other machines in: an API key is needed (--api-key)",
		               o->host);
	return 0;
}

int server_run(struct lm_engine *e, const struct server_opt *o, struct lm_err *err)
{
	struct server s = { .e = e, .host = o->host ? o->host : "127.0.0.1", .created = (int64_t)time(NULL) };
	int rc = check(o, err);
	if (rc) return rc;
	const char *slash = strrchr(lm_info(e)->path, '/');
	s.base = slash ? slash + 1 : lm_info(e)->path;
	s.api_key = o->api_key && *o->api_key ? o->api_key : NULL;
	s.id = lm_strdup(o->alias && *o->alias ? o->alias : s.base);
	if (!s.id) return lm_fail(err, LM_ENOMEM, "out of memory for the server");
	size_t n = strlen(s.id);
	if (!(o->alias && *o->alias) && n > 5 && strcmp(s.id + n - 5, ".gguf") == 0) s.id[n - 5] = 0;
	rc = http_open(&s.http, s.host, o->port, handle, &s, err);
	if (!rc) {
		bool v6 = strchr(s.host, ':') && s.host[0] != '[';
		lm_log(LM_LOG_INFO, "serving %s at http://%s%s%s:%d (context %d)", s.id, v6 ? "[" : "", s.host, v6 ? "]" : "",
		       http_port(s.http), lm_info(e)->n_ctx);
		rc = http_run(s.http, err);
	}
	http_free(s.http);
	lm_free(s.id);
	return rc;
}
