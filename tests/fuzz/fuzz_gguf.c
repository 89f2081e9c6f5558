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

#ifndef LLVMFuzzerTestOneInput       /* the replay names the target so, and needs no mutator */
/* Half of all inputs are written anew: whole files of the keys and types that matter, counts and offsets right, with
 * one number in a hundred replaced.  Changes of single bytes would hardly meet, say, two split keys in one file. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

struct gen { uint8_t *p; size_t n, max; uint64_t state; };

static uint64_t rnd(struct gen *g, uint64_t below)
{
	g->state ^= g->state << 13;
	g->state ^= g->state >> 7;
	g->state ^= g->state << 17;
	return (g->state >> 11) % below;
}

static uint64_t edge(struct gen *g)
{
	static const uint64_t v[] = { 0, 1, 2, 3, 4, 7, 31, 32, 33, 64, 255, 256, 65535, 65536, 1 << 20, (1 << 20) + 1, INT32_MAX,
		                      1ull << 31, UINT32_MAX, 1ull << 32, 1ull << 61, 1ull << 62, INT64_MAX - 31, INT64_MAX,
		                      1ull << 63, UINT64_MAX - 31, UINT64_MAX };
	return v[rnd(g, sizeof v / sizeof v[0])];
}

static void put(struct gen *g, uint64_t v, unsigned bytes)
{
	if (rnd(g, 100) == 0) v = edge(g);
	for (unsigned i = 0; i < bytes && g->n < g->max; i++) g->p[g->n++] = (uint8_t)(v >> (8 * i));
}

static void put_str(struct gen *g, const char *s)
{
	put(g, strlen(s), 8);
	for (; *s && g->n < g->max; s++) g->p[g->n++] = (uint8_t)*s;
}

static void put_value(struct gen *g, unsigned type)
{
	static const char *const words[] = { "", "a", "llama", "<|im_end|>", "\xc4\xa0the" };
	if (type == FT_STR) put_str(g, words[rnd(g, 5)]);
	else if (type == FT_BOOL) put(g, rnd(g, 2), 1);
	else put(g, rnd(g, 2) ? rnd(g, 5) : edge(g), type <= FT_F64 ? file_type_size[type] : 8);
}

/* Writes a key and, when it is the alignment and well made, stores that. */
static void put_key(struct gen *g, uint64_t *align)
{
	static const char *const names[] = { "general.alignment", "split.no", "split.count", "split.tensors.count", "a", "b", "c",
		                             "tokenizer.ggml.tokens" };
	unsigned name = (unsigned)rnd(g, 8), type = (unsigned)rnd(g, 13);
	put_str(g, names[name]);
	if (name == 0 && rnd(g, 4)) {
		*align = 1ull << rnd(g, 10);
		put(g, FT_U32, 4);
		put(g, *align, 4);
		return;
	}
	put(g, type, 4);
	if (type != FT_ARR) {
		put_value(g, type);
		return;
	}
	uint64_t n = rnd(g, 70);
	type = (unsigned)rnd(g, 13);
	put(g, type, 4);
	put(g, n, 8);
	for (uint64_t i = 0; i < n; i++) put_value(g, type);
}

static void put_tensor(struct gen *g, uint64_t align, uint64_t *off)
{
	char name[2] = { (char)('a' + rnd(g, 26)), 0 };
	unsigned n_dims = 1 + (unsigned)rnd(g, 4), type = (unsigned)rnd(g, rnd(g, 4) ? 4 : DT_COUNT);
	int64_t cols = rnd(g, 4) ? 32 : 256, row = quant_info(type) ? quant_row_bytes(type, cols) : 8;
	uint64_t size = row > 0 ? (uint64_t)row : 8;
	put_str(g, name);
	put(g, n_dims, 4);
	put(g, (uint64_t)cols, 8);
	for (unsigned d = 1; d < n_dims; d++) {
		uint64_t n = 1 + rnd(g, 3);
		put(g, n, 8);
		size *= n;
	}
	put(g, type, 4);
	put(g, *off, 8);
	*off = (*off + size + align - 1) & ~(align - 1);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	struct gen g = { data, 0, max_size, seed * 0x9E3779B97F4A7C15u + 1 };
	if (seed & 1) return LLVMFuzzerMutate(data, size, max_size);
	uint64_t n_keys = rnd(&g, 6), n_tensors = rnd(&g, 5), align = 32, off = 0;
	put(&g, 0x46554747, 4);
	put(&g, 2 + rnd(&g, 2), 4);
	put(&g, n_tensors, 8);
	put(&g, n_keys, 8);
	for (uint64_t i = 0; i < n_keys; i++) put_key(&g, &align);
	for (uint64_t i = 0; i < n_tensors; i++) put_tensor(&g, align, &off);
	uint64_t end = ((g.n + align - 1) & ~(align - 1)) + off - rnd(&g, 20) / 19;
	while (g.n < end && g.n < max_size) data[g.n++] = (uint8_t)g.n;
	return g.n;
}
#endif
