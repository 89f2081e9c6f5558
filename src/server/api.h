/* api.h - private to src/server: what the routes share. */
#pragma once
#include "engine/lmrun.h"
#include "server/http.h"
#include <jansson.h>

struct server {
	struct lm_engine *e;
	struct http *http;
	const char *host, *api_key;
	char *id;                        /* the model's name in every reply */
	const char *base;                /* the file's base name */
	int64_t created;
};

/* A refusal: fills itself, is sent once. */
struct refusal {
	int status;
	const char *type, *code;         /* code NULL: null */
	char param[64];                  /* "": null */
	char msg[512];
	int n_prompt, n_ctx;             /* of context_length_exceeded; else 0 */
};
/* Fills *r and returns false: `return api_refuse(r, ...)` in parsers. */
bool api_refuse(struct refusal *r, int status, const char *code, const char *param, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
bool api_no_memory(struct refusal *r);
void api_error_body(struct lm_buf *b, const struct refusal *r);
void api_send_refusal(struct http_call *c, const struct refusal *r);
void api_send_json(struct http_call *c, int status, struct lm_buf *b);   /* frees *b */

/* Is this one of the model's names? */
bool api_knows_model(const struct server *s, const char *name);
bool api_no_model(const struct server *s, const char *name, struct refusal *r);   /* the refusal when it is not */

/* openai.c: both answer later and own the call from here on. */
void openai_chat(struct server *s, struct http_call *c);
void openai_text(struct server *s, struct http_call *c);

/* fields.c: optional members of a request body; absent and null leave *out alone. */
bool field_wrong(struct refusal *r, const char *name, const char *want, const json_t *v);   /* "NAME must be WANT, not ..." */
#define field_bad(r, name, ...) api_refuse((r), 400, "invalid_value", (name), __VA_ARGS__)
const char *field_text(const json_t *v, const char *name, struct refusal *r);   /* a string without NUL; NULL: refused */
bool field_bool(const json_t *o, const char *name, bool *out, struct refusal *r);
bool field_int(const json_t *o, const char *name, int64_t lo, int64_t hi, int *out, struct refusal *r);
bool field_float(const json_t *o, const char *name, double lo, double hi, float *out, struct refusal *r);
bool field_seed(const json_t *o, uint64_t *out, struct refusal *r);
/* All sampling members, llama.cpp's and vLLM's spellings too. *bias is for lm_free. */
bool field_sampling(const json_t *o, int n_vocab, struct lm_sampling *s, struct lm_logit_bias **bias, struct refusal *r);
/* string or array of up to 16 strings; *out is for lm_free, its strings live as long as o. */
bool field_stop(const json_t *o, const char ***out, int *n, struct refusal *r);
/* {"messages", ...} of a chat request checked and turned into template variables; NULL: refused. *cont: text of a
 * last assistant message that is to be continued, or NULL; it lives as long as the result. */
json_t *field_messages(const json_t *o, const char **cont, struct refusal *r);
/* The end, in the prompt, of the last message that is to be continued, as transformers finds it: the last place where its
 * text stands, white space around it or not.  NULL: the template shows it differently. */
char *field_continued(char *prompt, const char *cont);
