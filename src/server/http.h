/* http.h - sockets and framing only: knows no route and no model.  evhttp behind a dozen functions; everything runs
 * in the thread of http_run, except http_wake_fire. */
#pragma once
#include "base/base.h"

struct http;
struct http_call {                       /* a request and its reply; dead after http_reply, http_end or `gone` */
	const char *method;              /* "GET", ...; "" for one we do not know */
	const char *path;                /* percent-decoded, without query and trailing slash */
	const char *body; size_t body_len;
	void (*gone)(void *ud); void *gone_ud;   /* set these: the peer has left, the call is dead */
};
typedef void http_handler(void *ud, struct http_call *c);

enum { HTTP_MAX_BODY = 64 << 20, HTTP_MAX_HEADER = 32 << 10, HTTP_IDLE_S = 60, HTTP_DRAIN_S = 5 };

/* Listens on host:port (port 0: any free one).  LM_EIO naming both when that is impossible. */
int http_open(struct http **out, const char *host, int port, http_handler *h, void *ud, struct lm_err *err);
int http_port(const struct http *h);
/* Serves until SIGINT or SIGTERM, then lets running calls end for HTTP_DRAIN_S; a second signal ends it at once. */
int http_run(struct http *h, struct lm_err *err);
void http_free(struct http *h);

const char *http_header(const struct http_call *c, const char *name);    /* the first, or NULL */
int http_count_header(const struct http_call *c, const char *name);
bool http_is_1_0(const struct http_call *c);
void http_set(struct http_call *c, const char *name, const char *value); /* a header of the reply */
void http_reply(struct http_call *c, int status, const char *type, const char *body, size_t n);
void http_stream(struct http_call *c, const char *type);                 /* 200 and a chunked body */
void http_chunk(struct http_call *c, const char *p, size_t n);
void http_end(struct http_call *c);

/* Calls fn in the loop's thread: after http_wake_fire (any thread), and with idle = true after `idle_s` without. */
struct http_wake;
struct http_wake *http_wake_new(struct http *h, int idle_s, void (*fn)(void *ud, bool idle), void *ud);
void http_wake_fire(struct http_wake *w);
void http_wake_free(struct http_wake *w);                                /* NULL is fine */
