/* plan.c - --dry-run: what a model would take of this machine, before it does. */
#include "base/json.h"
#include "cli/cli.h"
#include <stdio.h>
#include <string.h>

/* Rows of zero bytes are left out. */
static void line(struct lm_buf *b, uint64_t bytes, const char *what, const char *more)
{
	if (bytes) lm_buf_fmt(b, "%10.1f MiB  %s%s\n", (double)bytes / 1048576, what, more);
}

static void put_table(struct lm_buf *b, const struct lm_plan *p, const struct lm_model_info *m, bool encoder)
{
	char kv[64], step[64], slots[64];
	snprintf(kv, sizeof kv, ", %d tokens", p->n_ctx);
	snprintf(step, sizeof step, ", %d tokens at once", p->n_batch);
	snprintf(slots, sizeof slots, ", %d sequences", p->n_slots);
	lm_buf_fmt(b, "%s (%s, %s), device %s, %d threads\n\nof this process alone:\n", m->name, m->arch, m->quant, m->device,
		   m->n_threads);
	line(b, p->program, "program, tokenizer, templates", "");
	line(b, p->made, "weights made of those in the file", "");
	line(b, p->kv, "K/V cache", kv);
	line(b, p->slots, "recurrent state", slots);
	line(b, p->step, "activations and logits", step);
	line(b, p->device, "scratch of the device", step);
	line(b, p->own, "in all", encoder ? ", and what the longest text takes" : "");
	lm_buf_str(b, "\nshared with all that use the same files:\n");
	line(b, p->mapped, "weights in the file", p->token_bytes < p->mapped / 2 ? ", experts as they are asked for" : "");
	line(b, p->program_file, "program and metadata", "");
	lm_buf_fmt(b, "\n%10.1f MiB  in memory at most, of %.1f MiB available\n", (double)(p->own + p->mapped + p->program_file) / 1048576,
		   (double)p->available / 1048576);
	if (encoder) return;
	lm_buf_fmt(b, "\na generated token reads %.1f MiB of weights and up to %.1f MiB of cache;\n"
		   "a token of a prompt takes %.3f billion multiplications\n",
		   (double)p->token_bytes / 1048576, (double)p->kv / 1048576, (double)p->token_macs * 1e-9);
}

static void put_json(struct lm_buf *b, const struct lm_plan *p, const struct lm_model_info *m)
{
	const struct { const char *name; uint64_t n; } v[] = {
		{ "n_ctx", (uint64_t)p->n_ctx }, { "n_batch", (uint64_t)p->n_batch }, { "n_slots", (uint64_t)p->n_slots },
		{ "n_threads", (uint64_t)m->n_threads }, { "program_bytes", p->program }, { "made_bytes", p->made },
		{ "kv_bytes", p->kv }, { "slot_bytes", p->slots }, { "step_bytes", p->step }, { "device_bytes", p->device },
		{ "private_bytes", p->own }, { "mapped_bytes", p->mapped }, { "program_file_bytes", p->program_file },
		{ "total_bytes", p->own + p->mapped + p->program_file }, { "available_bytes", p->available },
		{ "token_bytes", p->token_bytes }, { "token_macs", p->token_macs },
	};
	lm_buf_str(b, "{\"model\":");
	lm_json_string(b, m->name, strlen(m->name));
	lm_buf_fmt(b, ",\"arch\":\"%s\",\"type\":\"%s\",\"device\":\"%s\"", m->arch, m->quant, m->device);
	for (size_t i = 0; i < sizeof v / sizeof *v; i++) lm_buf_fmt(b, ",\"%s\":%llu", v[i].name, (unsigned long long)v[i].n);
	lm_buf_str(b, "}\n");
}

int plan_main(struct cli *c)
{
	struct lm_engine *e = NULL;
	struct lm_plan p;
	struct lm_err err = { 0 };
	struct lm_buf b = { 0 };
	if (!c->model && c->words.n) c->model = c->words.v[0];
	int status = cli_open(&e, c, false, NULL);
	if (status == CLI_OK && lm_plan(e, &p, &err)) status = cli_fail(&err);
	if (status == CLI_OK) {
		if (c->json) put_json(&b, &p, lm_info(e));
		else put_table(&b, &p, lm_info(e), lm_heads(e)->encoder);
		status = b.bad ? cli_say(CLI_MEMORY, "out of memory for a text") : cli_write(b.p, b.n);
	}
	lm_buf_free(&b);
	lm_engine_close(e);
	return status == -1 ? CLI_OK : status;
}
