/* serve.c - one model behind the HTTP interfaces. */
#include "cli/cli.h"
#include "server/server.h"

int serve_main(struct cli *c)
{
	struct lm_engine *e = NULL;
	struct lm_err err = { 0 };
	int at = !c->model && c->words.n;
	if (at) c->model = c->words.v[0];
	if (c->words.n > at) return cli_say(CLI_USAGE, "serve takes one model, not also the word '%.80s'", c->words.v[at]);
	if (c->prompt || c->file || c->tokens || c->interactive || c->json)
		return cli_say(CLI_USAGE, "a server takes its prompts over HTTP: -p, -f, --tokens, -i and --json do not go with it");
	int status = cli_open(&e, c, false, NULL);
	if (status != CLI_OK) return status;
	struct server_opt o = { .host = c->host, .port = c->port, .api_key = c->api_key, .alias = c->alias };
	if (server_run(e, &o, &err)) status = cli_fail(&err);
	lm_engine_close(e);
	return status;
}
