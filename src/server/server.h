/* server.h - one model behind the OpenAI API. */
#pragma once
#include "engine/lmrun.h"

struct server_opt {
	const char *host;                /* NULL: 127.0.0.1.  Any but a loopback address needs api_key */
	int port;                        /* 0: any free one (logged) */
	const char *api_key;             /* NULL: none */
	const char *alias;               /* the model's id; NULL: the file's base name without .gguf */
};
/* Serves until SIGINT or SIGTERM.  LM_EIO when the port cannot be had, LM_EINVAL for a bad option. */
int server_run(struct lm_engine *e, const struct server_opt *o, struct lm_err *err);
