/* http.c - see http.h.
 *
 * GOTCHAS of evhttp 2.1: it stops reading while a reply is under way, so a peer that leaves is not noticed; reading
 * is switched on again here with the read callback removed (evhttp would end the process on a byte in that state)
 * and a bound on what may arrive.  Its read timeout would fire on a client that waits for a long answer: none while
 * a call runs.  It accepts two Content-Length headers (the caller asks http_count_header).  Its own error pages
 * (400, 413 before any handler runs) are HTML: the output callback puts JSON in their place. */
#include "server/http.h"
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <event2/thread.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { MAX_AHEAD = 64 << 10 };

struct http {
	struct event_base *base;
	struct evhttp *ev;
	struct evhttp_bound_socket *sock;
	struct event *sig[2];
	http_handler *handler; void *ud;
	int port, n_calls, n_signals;
};
struct call {
	struct http_call pub;
	struct http *h;
	struct evhttp_request *req;
	char *path;
};
struct http_wake {
	struct event *ev;
	struct timeval idle;
	void (*fn)(void *ud, bool idle); void *ud;
};

/* ---- a call ------------------------------------------------------------------------------------------------- */
static struct call *mine(const struct http_call *c) { return (struct call *)(uintptr_t)c; }

static void forget(struct call *c)
{
	struct http *h = c->h;
	lm_free(c->path);
	lm_free(c);
	if (--h->n_calls == 0 && h->n_signals) event_base_loopexit(h->base, NULL);
}

/* The connection is going.  evhttp disowns a request whose answer was not complete. */
static void left(struct evhttp_connection *conn, void *ud)
{
	struct call *c = ud;
	(void)conn;
	if (c->pub.gone) c->pub.gone(c->pub.gone_ud);
	if (!evhttp_request_get_connection(c->req)) evhttp_request_free(c->req);
	forget(c);
}

/* The reply has left, ours or evhttp's own after an error of the socket; evhttp frees the request. */
static void sent(struct evhttp_request *req, void *ud)
{
	struct call *c = ud;
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
	if (c->pub.gone) c->pub.gone(c->pub.gone_ud);
	forget(c);
}

/* Watches for the peer's leaving while the answer is computed. */
static void watch(struct call *c)
{
	struct evhttp_connection *conn = evhttp_request_get_connection(c->req);
	struct bufferevent *bev = evhttp_connection_get_bufferevent(conn);
	bufferevent_data_cb rd, wr;
	bufferevent_event_cb ev;
	void *ud;
	struct timeval write_s = { HTTP_IDLE_S, 0 };
	evhttp_connection_set_closecb(conn, left, c);
	evhttp_request_set_on_complete_cb(c->req, sent, c);
	bufferevent_getcb(bev, &rd, &wr, &ev, &ud);
	bufferevent_setcb(bev, NULL, wr, ev, ud);
	bufferevent_setwatermark(bev, EV_READ, 0, MAX_AHEAD);
	bufferevent_set_timeouts(bev, NULL, &write_s);
	bufferevent_enable(bev, EV_READ);
}

/* The reply is complete; the call lives until its bytes have left. */
static void unwatch(struct call *c)
{
	struct evhttp_connection *conn = evhttp_request_get_connection(c->req);
	c->pub.gone = NULL;
	bufferevent_setwatermark(evhttp_connection_get_bufferevent(conn), EV_READ, 0, 0);
	evhttp_connection_set_timeout(conn, HTTP_IDLE_S);
}

static const char *method_name(struct evhttp_request *req)
{
	switch (evhttp_request_get_command(req)) {
	case EVHTTP_REQ_GET: return "GET";
	case EVHTTP_REQ_POST: return "POST";
	case EVHTTP_REQ_HEAD: return "HEAD";
	case EVHTTP_REQ_PUT: return "PUT";
	case EVHTTP_REQ_DELETE: return "DELETE";
	case EVHTTP_REQ_OPTIONS: return "OPTIONS";
	case EVHTTP_REQ_PATCH: return "PATCH";
	default: return "";
	}
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* Path of the request, decoded, into *c.  false: it is none, or there is no memory. */
static bool take_path(struct call *c)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(c->req);
	const char *raw = uri ? evhttp_uri_get_path(uri) : NULL;
	char *to = c->path = lm_strdup(raw && *raw ? raw : "/");
	if (!to) return false;
	for (const char *p = to; *p; p++, to++) {
		bool coded = *p == '%' && hex(p[1]) >= 0 && hex(p[2]) >= 0;
		*to = coded ? (char)(hex(p[1]) * 16 + hex(p[2])) : *p;
		if (*to == 0) return false;
		if (coded) p += 2;
	}
	*to = 0;
	while (to > c->path + 1 && to[-1] == '/') *--to = 0;
	return true;
}

static void on_request(struct evhttp_request *req, void *ud)
{
	struct http *h = ud;
	struct call *c = lm_calloc(1, sizeof *c);
	if (c) {
		*c = (struct call){ .h = h, .req = req };
		h->n_calls++;
	}
	if (!c || !take_path(c)) {
		evhttp_send_error(req, c ? 400 : 503, NULL);
		if (c) forget(c);
		return;
	}
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	c->pub.method = method_name(req);
	c->pub.path = c->path;
	c->pub.body_len = evbuffer_get_length(in);
	c->pub.body = c->pub.body_len ? (const char *)evbuffer_pullup(in, -1) : "";
	if (!c->pub.body) {
		evhttp_send_error(req, 503, NULL);
		forget(c);
		return;
	}
	watch(c);
	h->handler(h->ud, &c->pub);
}

const char *http_header(const struct http_call *c, const char *name)
{
	return evhttp_find_header(evhttp_request_get_input_headers(mine(c)->req), name);
}

int http_count_header(const struct http_call *c, const char *name)
{
	struct evkeyval *kv;
	int n = 0;
	for (kv = evhttp_request_get_input_headers(mine(c)->req)->tqh_first; kv; kv = kv->next.tqe_next)
		n += strcasecmp(kv->key, name) == 0;
	return n;
}

bool http_is_1_0(const struct http_call *c) { return mine(c)->req->major == 1 && mine(c)->req->minor == 0; }

void http_set(struct http_call *c, const char *name, const char *value)
{
	evhttp_add_header(evhttp_request_get_output_headers(mine(c)->req), name, value);
}

void http_reply(struct http_call *c, int status, const char *type, const char *body, size_t n)
{
	struct call *m = mine(c);
	struct evbuffer *b = evbuffer_new();
	if (strcmp(c->method, "HEAD") == 0) {    /* evhttp would send the body */
		char size[24];
		snprintf(size, sizeof size, "%zu", n);
		http_set(c, "Content-Length", size);
	} else if (b) evbuffer_add(b, body, n);
	http_set(c, "Content-Type", type);
	unwatch(m);
	evhttp_send_reply(m->req, b ? status : 503, NULL, b);
	if (b) evbuffer_free(b);
}

void http_stream(struct http_call *c, const char *type)
{
	http_set(c, "Content-Type", type);
	http_set(c, "Cache-Control", "no-cache");
	evhttp_send_reply_start(mine(c)->req, 200, NULL);
}

void http_chunk(struct http_call *c, const char *p, size_t n)
{
	struct evbuffer *b = evbuffer_new();
	if (!b) return;
	evbuffer_add(b, p, n);
	evhttp_send_reply_chunk(mine(c)->req, b);
	evbuffer_free(b);
}

void http_end(struct http_call *c)
{
	unwatch(mine(c));
	evhttp_send_reply_end(mine(c)->req);
}

/* ---- wakes -------------------------------------------------------------------------------------------------- */
static void woken(evutil_socket_t fd, short what, void *ud)
{
	struct http_wake *w = ud;
	(void)fd;
	event_add(w->ev, &w->idle);              /* the silence starts anew; fn may free w */
	w->fn(w->ud, what == EV_TIMEOUT);
}

struct http_wake *http_wake_new(struct http *h, int idle_s, void (*fn)(void *ud, bool idle), void *ud)
{
	struct http_wake *w = lm_calloc(1, sizeof *w);
	if (!w) return NULL;
	*w = (struct http_wake){ .idle = { idle_s, 0 }, .fn = fn, .ud = ud };
	w->ev = event_new(h->base, -1, 0, woken, w);
	if (!w->ev || event_add(w->ev, &w->idle)) {
		http_wake_free(w);
		return NULL;
	}
	return w;
}

void http_wake_fire(struct http_wake *w) { event_active(w->ev, EV_WRITE, 1); }

void http_wake_free(struct http_wake *w)
{
	if (!w) return;
	if (w->ev) event_free(w->ev);
	lm_free(w);
}

/* ---- connections: evhttp's own error pages become JSON -------------------------------------------------------- */
static void on_output(struct evbuffer *out, const struct evbuffer_cb_info *info, void *ud)
{
	(void)ud;
	if (info->n_added == 0 || evbuffer_get_length(out) > 2048) return;
	const char *p = (const char *)evbuffer_pullup(out, -1);
	size_t n = evbuffer_get_length(out);
	if (!p || n < 12 || memcmp(p, "HTTP/1.", 7)) return;
	const char *end = memmem(p, n, "\r\n\r\n", 4);         /* our own bodies are JSON and may speak of HTML */
	if (!end || n - (size_t)(end - p) < 16 || memcmp(end + 4, "<HTML><HEAD>", 12)) return;
	int status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + p[11] - '0';
	const char *eol = memchr(p, '\r', n), *why = p + 13;
	int why_n = eol && eol > why ? (int)(eol - why) : 0;
	bool big = status == 413;
	struct lm_buf body = { 0 }, b = { 0 };
	lm_buf_fmt(&body, "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":%s}}",
	           big ? "the request is larger than the server takes (body 64 MiB)" : "the request is not valid HTTP or a limit",
	           status >= 500 ? "server_error" : "invalid_request_error", big ? "\"request_too_large\"" : "null");
	lm_buf_fmt(&b, "HTTP/1.1 %d %.*s\r\nServer: lmrun/%s\r\nContent-Type: application/json\r\nConnection: close\r\n"
	           "Content-Length: %zu\r\n\r\n%s", status, why_n, why, LMRUN_VERSION, body.n, lm_buf_cstr(&body));
	if (!b.bad && !body.bad) {
		evbuffer_unfreeze(out, 1);       /* a bufferevent keeps its output frozen but while it writes */
		if (evbuffer_drain(out, n) == 0) evbuffer_add(out, b.p, b.n);
		evbuffer_freeze(out, 1);
	}
	lm_buf_free(&body);
	lm_buf_free(&b);
}

static struct bufferevent *on_connect(struct event_base *base, void *ud)
{
	(void)ud;
	struct bufferevent *bev = bufferevent_socket_new(base, -1, 0);
	if (bev) evbuffer_add_cb(bufferevent_get_output(bev), on_output, NULL);
	return bev;
}

/* ---- life of the server ----------------------------------------------------------------------------------------- */
static void on_signal(evutil_socket_t sig, short what, void *ud)
{
	struct http *h = ud;
	struct timeval drain = { HTTP_DRAIN_S, 0 }, now = { 0, 0 };
	(void)sig;
	(void)what;
	if (h->n_signals++ == 0 && h->sock) {
		evhttp_del_accept_socket(h->ev, h->sock);
		h->sock = NULL;
	}
	event_base_loopexit(h->base, h->n_calls && h->n_signals == 1 ? &drain : &now);
}

static int bound_port(struct http *h)
{
	struct sockaddr_storage a = { 0 };
	socklen_t n = sizeof a;
	if (getsockname(evhttp_bound_socket_get_fd(h->sock), (struct sockaddr *)&a, &n)) return 0;
	return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

/* What libevent would print: our own sentence says it, but for errors after which it ends the process. */
static void on_log(int severity, const char *msg)
{
	if (severity >= EVENT_LOG_ERR) lm_log(LM_LOG_ERROR, "libevent: %s", msg);
}

int http_open(struct http **out, const char *host, int port, http_handler *handler, void *ud, struct lm_err *err)
{
	*out = NULL;
	struct http *h = lm_calloc(1, sizeof *h);
	if (!h) return lm_fail(err, LM_ENOMEM, "out of memory for the server");
	h->handler = handler;
	h->ud = ud;
	event_set_log_callback(on_log);
	if (evthread_use_pthreads() == 0) h->base = event_base_new();
	if (h->base) h->ev = evhttp_new(h->base);
	if (!h->ev) {
		http_free(h);
		return lm_fail(err, LM_ENOMEM, "out of memory for the server");
	}
	evhttp_set_gencb(h->ev, on_request, h);
	evhttp_set_bevcb(h->ev, on_connect, h);
	evhttp_set_allowed_methods(h->ev, 0xFFFF);           /* the router answers 405 itself */
	evhttp_set_max_body_size(h->ev, HTTP_MAX_BODY);
	evhttp_set_max_headers_size(h->ev, HTTP_MAX_HEADER);
	evhttp_set_timeout(h->ev, HTTP_IDLE_S);
	evhttp_set_default_content_type(h->ev, NULL);
	errno = 0;
	h->sock = evhttp_bind_socket_with_handle(h->ev, host, (uint16_t)port);
	if (!h->sock) {
		int e = errno;
		http_free(h);
		return lm_fail(err, LM_EIO, "cannot listen on %s port %d: %s", host, port, e ? strerror(e) : "no such address");
	}
	h->port = bound_port(h);
	*out = h;
	return 0;
}

int http_port(const struct http *h) { return h->port; }

int http_run(struct http *h, struct lm_err *err)
{
	static const int sigs[2] = { SIGINT, SIGTERM };
	for (int i = 0; i < 2; i++) {
		h->sig[i] = evsignal_new(h->base, sigs[i], on_signal, h);
		if (!h->sig[i] || event_add(h->sig[i], NULL)) return lm_fail(err, LM_ENOMEM, "out of memory for the server");
	}
	signal(SIGPIPE, SIG_IGN);
	if (event_base_dispatch(h->base) < 0) return lm_fail(err, LM_EIO, "the server's event loop failed");
	return 0;
}

void http_free(struct http *h)
{
	if (!h) return;
	for (int i = 0; i < 2; i++)
		if (h->sig[i]) event_free(h->sig[i]);
	if (h->ev) evhttp_free(h->ev);                       /* calls under way end through `left` */
	if (h->base) event_base_free(h->base);
	lm_free(h);
}
