/* Any bytes: they open or they are refused with a sentence; what opens can be read to the last byte. */
#include "format/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sink;

static void touch(const void *p, size_t n)
{
	const uint8_t *b = p;
	for (size_t i = 0; i < n; i++) sink += b[i];
}

static void must(bool ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "fuzz_gguf: %s\n", what);
	abort();
}

static void read_strings(const struct file *f, const char *key, int64_t n)
{
	const char *s, *t;
	size_t len, len2;
	uint64_t at = 0;
	for (int64_t i = 0; i < n; i++) {
		must(file_arr_str(f, key, i, &s, &len), "a string of an array is missing");
		must(file_arr_str_next(f, key, &at, &t, &len2), "the walk ends early");
		must(s == t && len == len2, "index and walk disagree");
		touch(s, len);
	}
	must(!file_arr_str(f, key, n, &s, &len) && !file_arr_str_next(f, key, &at, &t, &len2), "a string too many");
}

static void read_key(const struct file *f, int i)
{
	enum file_type type, elem;
	int64_t n, i64;
	uint64_t size;
	uint32_t u32;
	float f32;
	double f64;
	bool b;
	const char *s, *key = file_key(f, i, &type, &elem, &n);
	size_t len;
	must(key && file_has(f, key), "a key is not found by its name");
	const void *raw = file_raw(f, i, &size);
	touch(raw, size);
	if (file_u32(f, key, &u32)) must(file_i64(f, key, &i64) && i64 == u32, "u32 and i64 disagree");
	if (file_f32(f, key, &f32)) must(file_f64(f, key, &f64), "f32 without f64");
	if (file_bool(f, key, &b)) must(type == FT_BOOL, "a bool of another type");
	if (file_str(f, key, &s, &len)) touch(s, len);
	must(file_arr_len(f, key) == (type == FT_ARR ? n : -1), "array length");
	if (type != FT_ARR) return;
	if (elem == FT_STR) read_strings(f, key, n);
	for (int64_t k = -1; k <= n; k++) {
		bool in = k >= 0 && k < n;
		must((!file_arr_i64(f, key, k, &i64) && !file_arr_f32(f, key, k, &f32)) || in, "an element too many");
	}
	must((file_arr_raw(f, key, &elem, &i64) != NULL) == (elem != FT_STR), "raw array");
}

static void read_tensor(const struct file *f, int i)
{
	const struct tensor *t = file_at(f, i);
	int64_t row = quant_row_bytes(t->type, t->dim[t->n_dims - 1]), rows = 1;
	must(file_tensor(f, t->name) == t, "a tensor is not found by its name");
	must(t->n_dims >= 1 && t->n_dims <= 4, "dimensions");
	for (int d = 0; d < 4; d++) must(t->dim[d] >= 1 && (d < t->n_dims || t->dim[d] == 1), "a dimension");
	for (int d = 0; d < t->n_dims - 1; d++) rows *= t->dim[d];
	must(row > 0 && (uint64_t)row * (uint64_t)rows == t->size, "size");
	must(file_offset(f, i, NULL) % file_about(f).alignment == 0, "alignment");
	touch(t->data, t->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct file *f;
	struct lm_err err = { 0 };
	int rc = file_open_mem(&f, data, size, &err);
	if (rc) {
		must(!f && err.code == rc && err.msg[0], "refused without a sentence");
		return 0;
	}
	for (int i = 0; i < file_n_keys(f); i++) read_key(f, i);
	for (int i = 0; i < file_count(f); i++) read_tensor(f, i);
	must(!file_has(f, "absent") || file_n_keys(f) > 0, "a key from nowhere");
	file_close(f);
	return 0;
}
