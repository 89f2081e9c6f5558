/* Any text as config.json, beside one tensor for each name that the family it names knows: it maps or is refused with a
 * sentence; what is mapped can be read to the last row.  Without a known family the tensors are llama's. */
#include "base/json.h"
#include "format/hf_map.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hfmap_must(bool ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "fuzz_hfmap: %s\n", what);
	abort();
}

/* The family that the text names, by whatever words it has. */
static const struct hf_family *named(const json_t *config)
{
	const struct hf_family *const tables[] = { hf_dense, hf_moe_families, hf_rec_families, hf_enc_families };
	const int sizes[] = { hf_n_dense, hf_n_moe, hf_n_rec, hf_n_enc };
	const char *arch = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
	const char *type = json_string_value(json_object_get(config, "model_type"));

	for (int t = 0; t < 4; t++)
		for (int i = 0; i < sizes[t]; i++) {
			for (int k = 0; k < 6 && arch && tables[t][i].arch[k]; k++)
				if (!strcmp(arch, tables[t][i].arch[k])) return &tables[t][i];
			for (int k = 0; k < 4 && type && tables[t][i].type[k]; k++)
				if (!strcmp(type, tables[t][i].type[k])) return &tables[t][i];
		}
	return &hf_dense[0];
}

/* A tensor of zeros whose shape follows from its name. */
static void add(struct hf *h, const char *pat, const char *suffix)
{
	static const float zeros[96 * 64];
	char name[200];
	size_t n = 0;
	struct tensor t = { .type = DT_F32, .n_dims = 2, .dim = { 48, 32, 1, 1 }, .data = zeros };

	for (const char *p = pat; *p; p++) name[n++] = *p == '#' || *p == '@' ? '0' : *p == '*' ? 'x' : *p;
	snprintf(name + n, sizeof name - n, "%s", suffix);
	if (strstr(name, "norm") || !strcmp(suffix, ".bias")) t.n_dims = 1, t.dim[0] = 32, t.dim[1] = 1;
	else if (strstr(name, "conv")) t.n_dims = 3, t.dim[1] = 1, t.dim[2] = 4;
	else if (strstr(name, "experts") && !strchr(pat, '@')) t.n_dims = 3, t.dim[0] = 4, t.dim[1] = 32, t.dim[2] = 16;
	else if (strstr(name, "query_key_value")) t.dim[0] = 96;
	t.size = 4;
	for (int i = 0; i < t.n_dims; i++) t.size *= (uint64_t)t.dim[i];
	t.name = lm_arena_str(h->f->arena, name, strlen(name));
	if (!t.name || hf_add_tensor(h, &t, NULL)) abort();
}

static void add_all(struct hf *h, const struct hf_name *n)
{
	for (; n && n->from; n++) {
		if (strstr(n->to ? n->to : "", ".weight") || !n->to) add(h, n->from, "");
		add(h, n->from, ".weight");
		if (strstr(n->from, "layers.#")) add(h, n->from, ".bias");
	}
}

/* The names of both tables, each once. */
static void fill_tensors(struct hf *h, const struct hf_family *fam)
{
	int n = 0;

	add_all(h, fam->names);
	add_all(h, fam->base);
	for (int i = 0; i < h->n_t; i++) {
		bool twice = false;
		for (int k = 0; k < n && !twice; k++) twice = !strcmp(h->t[k].name, h->t[i].name);
		if (!twice) h->t[n++] = h->t[i];
	}
	h->n_t = n;
	if (index_build(h->f, &h->ts, h->t, sizeof *h->t, h->n_t, "tensor", NULL)) abort();
}

static void read_rows(const struct tensor *t)
{
	int64_t bytes = quant_row_bytes(t->type, t->dim[t->n_dims - 1]), rows = tensor_n_rows(t);
	struct lm_err e = { 0 };
	char *p = malloc((size_t)t->size);

	hfmap_must(bytes > 0 && (uint64_t)(bytes * rows) == t->size && t->size < 1 << 24, "a size that its shape denies");
	if (!p) abort();
	hfmap_must(!tensor_rows(t, 0, rows, p, &e), "rows of zeros that cannot be made");
	hfmap_must(!tensor_rows(t, rows - 1, 1, p, &e), "a last row that cannot be made");
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct file *f = lm_calloc(1, sizeof *f);
	struct hf h = { .f = f, .dir = "folder" };
	struct lm_err e = { 0 };
	char buf[320];

	if (!f || !(f->arena = lm_arena_new(1 << 14))) abort();
	f->path = "folder";
	f->folder = true;
	h.config = lm_json_parse((const char *)data, size, &e);
	if (json_is_object(h.config)) {
		fill_tensors(&h, named(h.config));
		e = (struct lm_err){ 0 };
		int rc = hf_map(&h, &e);
		hfmap_must(rc == (rc ? e.code : 0) && (!rc || e.msg[0]), "a code without a sentence");
		for (int i = 0; !rc && i < f->n_tensors; i++) read_rows(&f->tensor[i]);
		if (!rc && !index_build(f, &f->keys, f->key, sizeof *f->key, f->n_keys, "key", &e) &&
		    !index_build(f, &f->tensors, f->tensor, sizeof *f->tensor, f->n_tensors, "tensor", &e))
			for (int i = 0; i < f->n_tensors; i++)
				hfmap_must(file_source(f, f->tensor[i].name, buf, sizeof buf), "a tensor without a source");
		file_source(f, "blk.7.attn_q.weight", buf, sizeof buf);
	}
	hf_close(&h);
	file_close(f);
	return 0;
}
