/* plan.c - the memory of the machine, and what of it an engine will take.
 *
 * Most of a plan is what the engine has done by then: the tokenizer is loaded, tables are made, and the device makes room
 * for a step before there is one.  Only what fills later is computed: weights in the mapping, the cache, activations. */
#include "engine/engine.h"
#include <stdio.h>
#include <string.h>

static uint64_t read_number(const char *path, const char *key)
{
	char line[256];
	unsigned long long v = 0;
	FILE *f = fopen(path, "r");
	if (!f) return UINT64_MAX;
	size_t n = strlen(key);
	bool found = false;
	while (!found && fgets(line, sizeof line, f))
		found = strncmp(line, key, n) == 0 && sscanf(line + n, "%llu", &v) == 1;
	fclose(f);
	return found ? v : UINT64_MAX;
}

static uint64_t read_kb(const char *path, const char *key)
{
	uint64_t kb = read_number(path, key);
	return kb < UINT64_MAX / 1024 ? kb * 1024 : UINT64_MAX;
}

uint64_t mem_available(void)
{
	uint64_t bytes = read_kb("/proc/meminfo", "MemAvailable:");
	uint64_t limit = read_number("/sys/fs/cgroup/memory.max", "");
	return bytes < limit ? bytes : limit;
}

/* What this process has in memory now; 0 where the system does not tell. */
static uint64_t held(const char *key)
{
	uint64_t n = read_kb("/proc/self/status", key);
	return n == UINT64_MAX ? 0 : n;
}

/* What a file holds besides tensors: the vocabulary, mostly, which has been read. */
static uint64_t metadata(const struct file *f)
{
	uint64_t n = file_bytes(f);
	for (int i = 0; i < file_count(f); i++)
		if (file_at(f, i)->data) n -= file_at(f, i)->size < n ? file_at(f, i)->size : n;
	return n;
}

int lm_plan(struct lm_engine *e, struct lm_plan *p, struct lm_err *err)
{
	*p = (struct lm_plan){ .available = mem_available(), .n_ctx = e->info.n_ctx, .n_batch = e->n_batch };
	if (!e->dry) return lm_fail(err, LM_EINVAL, "%s was not opened for a plan", e->info.name);
	const struct model_info *m = model_info(e->model);
	int n = (e->info.n_ctx + KV_BLOCK - 1) / KV_BLOCK;
	uint64_t all = state_bytes(e->model, n, e->n_slots, e->n_batch, e->kv_type), own = held("RssAnon:");
	p->program = own;
	p->program_file = held("VmExe:") + held("VmLib:") + metadata(e->file);
	p->mapped = m->mapped_bytes;
	p->made = m->made_bytes;
	p->token_bytes = m->token_bytes;
	p->token_macs = m->token_macs;
	p->n_slots = e->n_slots;
	if (!e->heads.encoder) {
		p->kv = e->info.kv_bytes;
		p->slots = m->slot_bytes * (uint64_t)e->n_slots;
		p->step = all - p->kv - p->slots + (uint64_t)e->n_vocab * sizeof *e->out;
	}
	struct seqs most = { .n_rows = e->n_batch };
	int rc = e->be->op->begin(e->be, 0, &most) ? lm_fail(err, LM_ENOMEM, "out of memory for a step of %d rows", e->n_batch)
	                                           : e->be->op->end(e->be, err);
	uint64_t after = held("RssAnon:");
	p->device = after > own ? after - own : 0;
	p->own = p->program + p->made + p->kv + p->slots + p->step + p->device;
	return rc;
}
