/* peft_map.c - see peft_map.h.  The base may be a GGUF, so which family its checkpoint was of is only known by the
 * architecture: a name is looked for in all families that become it. */
#include "format/peft_map.h"
#include "format/adapter_impl.h"
#include "format/hf_map.h"
#include "format/view.h"
#include <stdio.h>
#include <string.h>

struct peft_map {
	struct adapter *a;
	const struct file *base;
	const char *arch;
	struct hf h;                 /* what the tables emit goes into the adapter's file and is taken out again */
	struct hf_map m;
};

bool arch_turned(const char *arch)
{
	const struct hf_family *fam;
	for (int i = 0; (fam = hf_family_of(arch, i)); i++)
		if (fam->flags & HF_UNPERMUTED) return true;
	return false;
}

static void number(const struct file *base, const char *arch, const char *key, int64_t *out)
{
	char name[96];
	snprintf(name, sizeof name, "%.60s.%s", arch, key);
	if (!file_i64(base, name, out)) file_arr_i64(base, name, 0, out);
}

int peft_map_new(struct peft_map **out, struct adapter *a, const struct file *base, const char *arch, struct lm_err *err)
{
	struct peft_map *p = lm_calloc(1, sizeof *p);

	if (!(*out = p)) return lm_fail(err, LM_ENOMEM, "out of memory for names");
	p->a = a;
	p->base = base;
	p->arch = arch;
	p->h = (struct hf){ .f = a->file, .dir = a->path };
	p->m = (struct hf_map){ .h = &p->h, .arch = arch, .cfg = json_object(), .err = err };
	number(base, arch, "block_count", &p->m.n_layer);
	number(base, arch, "embedding_length", &p->m.n_embd);
	number(base, arch, "attention.head_count", &p->m.n_head);
	p->m.n_kv = p->m.n_head;
	number(base, arch, "attention.head_count_kv", &p->m.n_kv);
	p->m.head_dim = p->m.n_head > 0 ? p->m.n_embd / p->m.n_head : 0;
	number(base, arch, "attention.key_length", &p->m.head_dim);
	if (!p->m.cfg) return lm_fail(err, LM_ENOMEM, "out of memory for names");
	if (!hf_family_of(arch, 0))
		return lm_fail(err, LM_EUNSUPPORTED, "peft's names are not known for the architecture %.60s", arch);
	return 0;
}

void peft_map_free(struct peft_map *p)
{
	if (!p) return;
	json_decref(p->m.cfg);
	lm_free(p);
}

/* Does a family have a row for this name?  It is the family from here on. */
static bool choose(struct peft_map *p, const char *name)
{
	for (int i = 0; (p->m.fam = hf_family_of(p->arch, i)); i++)
		if (hf_knows(&p->m, name)) return true;
	return false;
}

int peft_map_tensor(struct peft_map *p, const char *name, const struct tensor *t, bool values, struct tensor *out, int cap,
		    struct lm_err *err)
{
	struct file *f = p->a->file;
	struct tensor as = *t;
	int rc, n;

	as.name = lm_arena_str(f->arena, name, strlen(name));
	if (!as.name) return lm_fail(err, LM_ENOMEM, "out of memory for %s", t->name);
	if (!choose(p, name))
		return lm_fail(err, LM_EFORMAT, "%s: the architecture %.60s has no such tensor: an adapter for another model?",
			       t->name, p->arch);
	p->m.err = err;
	if ((rc = hf_map_tensor(&p->m, &as, !values))) return rc;
	n = f->n_tensors;
	f->n_tensors = 0;
	if (n < 1 || n > cap) return lm_fail(err, LM_EUNSUPPORTED, "%s: an adapter cannot change this tensor", t->name);
	for (int i = 0; i < n; i++) {
		out[i] = f->tensor[i];
		if ((p->m.fam->flags & HF_UNPERMUTED) && !base_in_halves(p->base, p->arch))
			if ((rc = adapter_turn(p->a, p->base, p->arch, out[i].name, &out[i], true, err))) return rc;
	}
	return n;
}
