/* A quantization_config and a list of raw tensors, {"q": {...}, "t": {"P.qweight": ["I32", [8, 32], FILL], ...}}, FILL a
 * byte, or a text that is repeated: refused with a sentence, or every tensor made can be read, whole and row by row. */
#include "base/json.h"
#include "format/hf.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
enum { LAYOUTS_RAW = 1 << 16, LAYOUTS_MADE = 1 << 22, LAYOUTS_N = 32 };

static void layouts_must(bool ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "fuzz_layouts: %s\n", what);
	abort();
}

/* false: no tensor that a file could have */
static bool layouts_raw(struct raw *r, const char *name, const json_t *v)
{
	const char *type = json_string_value(json_array_get(v, 0));
	const json_t *dims = json_array_get(v, 1), *fill = json_array_get(v, 2);
	*r = (struct raw){ .name = name, .type = RAW_COUNT, .n_dims = (int)json_array_size(dims) };
	for (int i = 0; type && i < RAW_COUNT; i++)
		if (!strcmp(type, raw_info[i].name)) r->type = (enum raw_type)i;
	if (r->type == RAW_COUNT || json_array_size(dims) > RAW_DIMS) return false;
	for (int i = 0; i < r->n_dims; i++) r->dim[i] = json_integer_value(json_array_get(dims, (size_t)i));
	if (!raw_size(r) || r->size > LAYOUTS_RAW) return false;
	uint8_t *p = malloc(r->size ? (size_t)r->size : 1);      /* no slack: a sanitizer sees one byte too far */
	layouts_must(p != NULL, "no memory");
	size_t n = json_string_length(fill);
	for (size_t i = 0; i < r->size; i++) p[i] = (uint8_t)(n ? json_string_value(fill)[i % n] : json_integer_value(fill));
	r->data = p;
	return true;
}

static void layouts_read(const struct tensor *t)
{
	int64_t cols = t->dim[t->n_dims - 1], bytes = quant_row_bytes(t->type, cols), rows = tensor_n_rows(t);
	struct lm_err err = { 0 }, again = { 0 };
	layouts_must(t->name && bytes > 0 && rows > 0 && (uint64_t)(bytes * rows) == t->size, "a size that its shape denies");
	if (t->size > LAYOUTS_MADE || cols > LAYOUTS_MADE) return;
	char *all = malloc((size_t)t->size), *one = malloc((size_t)bytes);
	float *f = malloc((size_t)cols * sizeof *f);
	layouts_must(all && one && f, "no memory");
	int rc = tensor_rows(t, 0, rows, all, &err);
	layouts_must(rc == 0 || (rc == err.code && err.msg[0]), "rows refused without a sentence");
	for (int64_t r = rows - 1; r >= 0 && r > rows - 3; r--) {
		if (tensor_rows(t, r, 1, one, &again)) layouts_must(rc != 0, "one row is refused, all are not");
		else if (!rc) layouts_must(!memcmp(one, all + r * bytes, (size_t)bytes), "one row has other bytes");
	}
	if (!rc) quant_info(t->type)->decode(f, one, cols);
	free(f);
	free(one);
	free(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct file f = { .path = "", .hash_key = { 1, 2 } };
	struct hf h = { .f = &f, .dir = "" };
	struct lm_err err = { 0 };
	json_t *input = lm_json_parse((const char *)data, size, NULL), *v;
	const char *name;
	const uint8_t *own[LAYOUTS_N];
	int n = 0, rc = 0;
	f.arena = lm_arena_new(1 << 10);
	layouts_must(f.arena != NULL, "no memory");
	h.config = json_object();
	json_object_set(h.config, "quantization_config", json_object_get(input, "q"));
	json_object_foreach(json_object_get(input, "t"), name, v) {
		struct raw r;
		if (n == LAYOUTS_N || !layouts_raw(&r, name, v)) continue;
		own[n++] = r.data;
		layouts_must(!raw_add(&h, &r, NULL), "no memory");
	}
	if (n && !index_build(&f, &h.raws, h.raw, sizeof *h.raw, h.n_raw, "tensor", NULL)) {
		rc = layouts_open(&h, &err);
		layouts_must(rc == 0 || (rc == err.code && err.msg[0]), "refused without a sentence");
		for (int i = 0; !rc && i < h.n_t; i++) layouts_read(&h.t[i]);
	}
	hf_close(&h);
	lm_arena_free(f.arena);
	for (int i = 0; i < n; i++) free((void *)(uintptr_t)own[i]);
	json_decref(input);
	return 0;
}
