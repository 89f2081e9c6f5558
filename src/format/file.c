/* file.c - the common view: opening, the name indexes, typed access to metadata.
 * Whatever a reader put in struct file has been checked against the file, so nothing here can run past it. */
#include "format/hf.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

const uint8_t file_type_size[FT_F64 + 1] = {
	[FT_U8] = 1,  [FT_I8] = 1,   [FT_U16] = 2, [FT_I16] = 2, [FT_U32] = 4, [FT_I32] = 4,
	[FT_F32] = 4, [FT_BOOL] = 1, [FT_U64] = 8, [FT_I64] = 8, [FT_F64] = 8
};
const char *const file_type_name[FT_F64 + 1] = {
	[FT_U8] = "u8",   [FT_I8] = "i8",   [FT_U16] = "u16",   [FT_I16] = "i16",    [FT_U32] = "u32",
	[FT_I32] = "i32", [FT_F32] = "f32", [FT_BOOL] = "bool", [FT_STR] = "string", [FT_ARR] = "array",
	[FT_U64] = "u64", [FT_I64] = "i64", [FT_F64] = "f64"
};

/* ---- open and close ------------------------------------------------------------------------------------ */
struct file *file_new(const char *path, struct lm_err *err)
{
	struct file *f = lm_calloc(1, sizeof *f);
	if (f) {
		f->arena = lm_arena_new(1 << 14);
		f->path = f->arena ? lm_arena_str(f->arena, path, strlen(path)) : NULL;
		f->hash_key[0] = lm_random_seed();
		f->hash_key[1] = lm_random_seed();
	}
	if (f && f->path) return f;
	file_close(f);
	lm_fail(err, LM_ENOMEM, "%s: out of memory", path);
	return NULL;
}

int file_finish(struct file **out, struct file *f, int rc, struct lm_err *err)
{
	if (!rc) rc = index_build(f, &f->keys, f->key, sizeof *f->key, f->n_keys, "key", err);
	if (!rc) rc = index_build(f, &f->tensors, f->tensor, sizeof *f->tensor, f->n_tensors, "tensor", err);
	if (rc) {
		file_close(f);
		return rc;
	}
	*out = f;
	return 0;
}

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s), k = strlen(with);
	return n >= k && !strcmp(s + n - k, with);
}

bool file_is_weights(const char *path)
{
	static const char *const names[] = { ".bin", ".pt", ".pth" };
	struct stat st;
	char head[2] = "";
	bool named = false;
	if (stat(path, &st) || !S_ISREG(st.st_mode)) return false;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) named |= ends(path, names[i]);
	FILE *f = named ? fopen(path, "rb") : NULL;         /* others use these names too */
	named = f && fread(head, 1, 2, f) == 2 && (memcmp(head, "PK", 2) == 0 || head[0] == (char)0x80);
	if (f) fclose(f);
	return named || ends(path, ".safetensors");
}

static bool is_hf(const char *path)
{
	struct stat st;
	char config[4200];
	int n = snprintf(config, sizeof config, "%s/config.json", path);
	return (n > 0 && (size_t)n < sizeof config && stat(config, &st) == 0) || file_is_weights(path);
}

int file_open(struct file **out, const char *path, struct lm_err *err)
{
	*out = NULL;
	struct file *f = file_new(path, err);
	if (!f) return LM_ENOMEM;
	return file_finish(out, f, is_hf(path) ? hf_open(f, path, err) : gguf_open(f, path, err), err);
}

int file_open_mem(struct file **out, const void *data, size_t size, struct lm_err *err)
{
	*out = NULL;
	struct file *f = file_new("", err);
	if (!f) return LM_ENOMEM;
	return file_finish(out, f, gguf_open_mem(f, data, size, err), err);
}

int file_items(const char *path, file_item_fn *fn, void *ud, struct lm_err *err)
{
	struct file *f = file_new(path, err);
	if (!f) return LM_ENOMEM;
	struct hf h = { .f = f, .dir = path };
	int rc = raw_open(&h, path, err);
	for (int i = 0; !rc && i < h.n_raw; i++) {
		const struct raw *r = &h.raw[i];
		struct file_item t = { r->name, raw_info[r->type].name, r->n_dims, r->dim, r->size, r->off };
		rc = fn(ud, &t);
	}
	hf_close(&h);
	file_close(f);
	return rc;
}

void file_close(struct file *f)
{
	if (!f) return;
	lm_ahead_free(f->ahead);
	for (int i = 0; i < f->n_parts; i++) lm_map_close(&f->part[i]);
	lm_free(f->part);
	lm_free(f->key);
	lm_free(f->tensor);
	lm_free(f->origin);
	lm_free(f->at);
	lm_arena_free(f->arena);
	lm_free(f);
}

void file_ahead(struct file *f)
{
	if (!f->ahead) f->ahead = lm_ahead_new(f->part, f->n_parts);
}

const char *file_path(const struct file *f) { return f->path; }
bool file_is_folder(const struct file *f) { return f->folder; }
const char *file_dir(const struct file *f) { return f->dir; }
uint64_t file_bytes(const struct file *f) { return f->bytes; }
int file_count(const struct file *f) { return f->n_tensors; }
int file_n_keys(const struct file *f) { return f->n_keys; }

struct file_about file_about(const struct file *f)
{
	return (struct file_about){ f->folder ? "Hugging Face folder" : "GGUF", f->version, f->alignment, f->n_parts > 0 ? f->n_parts : 1 };
}

int64_t tensor_n_rows(const struct tensor *t)
{
	int64_t n = 1;                           /* the product was checked at open */
	for (int i = 0; i + 1 < t->n_dims; i++) n *= t->dim[i];
	return n;
}

int tensor_rows(const struct tensor *t, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	int64_t bytes = quant_row_bytes(t->type, t->dim[t->n_dims - 1]);
	if (bytes < 0 || row < 0 || n < 0 || row > tensor_n_rows(t) - n)
		return lm_fail(err, LM_EINVAL, "%s: rows %lld to %lld are not there", t->name, (long long)row,
			       (long long)(row + n));
	if (!t->data) return t->how->rows(t->how, row, n, dst, err);
	memcpy(dst, (const char *)t->data + row * bytes, (size_t)(n * bytes));
	return 0;
}

void file_done(const struct file *f, const struct tensor *t)
{
	while (t && !t->data && t->how) t = t->how->from;
	const uint8_t *p = t ? t->data : NULL;
	for (int i = 0; p && i < f->n_parts; i++) {
		const struct lm_map *m = &f->part[i];
		if (p >= m->data && p < m->data + m->size) lm_map_done(m, (size_t)(p - m->data), (size_t)t->size);
	}
}

const struct tensor *file_at(const struct file *f, int i)
{
	return i >= 0 && i < f->n_tensors ? &f->tensor[i] : NULL;
}

uint64_t file_offset(const struct file *f, int i, int *part)
{
	if (part) *part = f->at ? f->at[i].part : -1;
	if (f->at) return f->at[i].off;
	const uint8_t *p = f->tensor[i].data;
	for (int k = 0; p && k < f->n_parts; k++) {
		if (p < f->part[k].data || p >= f->part[k].data + f->part[k].size) continue;
		if (part) *part = k;
		return (uint64_t)(p - f->part[k].data);
	}
	return 0;
}

/* ---- name index ---------------------------------------------------------------------------------------- */
static uint64_t rotl(uint64_t x, int n) { return x << n | x >> (64 - n); }

static void sip_round(uint64_t v[4])
{
	v[0] += v[1], v[2] += v[3];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] = rotl(v[0], 32);
	v[2] += v[1], v[0] += v[3];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein 2012) under a key of this process: a file cannot choose names that
 * collide. */
static uint64_t hash(const uint64_t key[2], const char *s, size_t n)
{
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
		          key[1] ^ 0x7465646279746573 };
	for (size_t i = 0; i <= n / 8; i++) {
		uint8_t word[8] = { 0 };
		memcpy(word, s + 8 * i, i < n / 8 ? 8 : n % 8);
		if (i == n / 8) word[7] = (uint8_t)n;
		uint64_t m = le64(word);
		v[3] ^= m;
		sip_round(v);
		v[0] ^= m;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++) sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static const char *name_at(const struct index *ix, uint64_t i)
{
	const char *name;
	memcpy(&name, ix->base + i * ix->stride, sizeof name);
	return name;
}

/* The slot that holds `name`, or the free one where it belongs. */
static uint32_t *probe(const struct file *f, const struct index *ix, const char *name)
{
	uint64_t h = hash(f->hash_key, name, strlen(name));
	for (;; h++) {
		uint32_t *slot = &ix->slot[h & ix->mask];
		if (!*slot || strcmp(name_at(ix, *slot - 1), name) == 0) return slot;
	}
}

int index_build(struct file *f, struct index *ix, const void *base, size_t stride, int n, const char *what,
                struct lm_err *err)
{
	uint64_t cap = 4;
	while (cap < 2 * (uint64_t)n) cap *= 2;
	*ix = (struct index){ lm_new(f->arena, uint32_t, cap), cap - 1, base, stride };
	if (!ix->slot) return lm_fail(err, LM_ENOMEM, "%s: out of memory", f->path);
	for (uint32_t i = 0; i < (uint32_t)n; i++) {
		const char *name = name_at(ix, i);
		uint32_t *slot = probe(f, ix, name);
		if (*slot) {
			lm_fail(err, LM_EFORMAT, "%s %.100s: occurs twice (number %u and number %u)", what,
			        name, *slot, i + 1);
			if (*f->path) lm_context(err, "%.300s: ", f->path);
			return LM_EFORMAT;
		}
		*slot = i + 1;
	}
	return 0;
}

int64_t index_find(const struct file *f, const struct index *ix, const char *name)
{
	return (int64_t)*probe(f, ix, name) - 1;
}

const struct tensor *file_tensor(const struct file *f, const char *name)
{
	int64_t i = index_find(f, &f->tensors, name);
	return i < 0 ? NULL : &f->tensor[i];
}

const char *file_source(const struct file *f, const char *name, char *buf, size_t n)
{
	const char *s = f->folder ? hf_source(f, name, buf, n) : NULL;
	return s ? s : name;
}

/* ---- numbers ------------------------------------------------------------------------------------------- */
static bool integral(double d, int64_t *out)
{
	if (!(d >= -0x1p63 && d < 0x1p63) || d != trunc(d)) return false;
	*out = (int64_t)d;
	return true;
}

static bool num_i64(enum file_type t, const uint8_t *p, int64_t *out)
{
	union {
		uint8_t b[8];
		uint16_t u16;
		int16_t i16;
		uint32_t u32;
		int32_t i32;
		uint64_t u64;
		float f32;
		double f64;
	} v = { { 0 } };
	memcpy(v.b, p, file_type_size[t]);
	switch (t) {
	case FT_U8: *out = v.b[0]; return true;
	case FT_I8: *out = (int8_t)v.b[0]; return true;
	case FT_U16: *out = v.u16; return true;
	case FT_I16: *out = v.i16; return true;
	case FT_U32: *out = v.u32; return true;
	case FT_I32: *out = v.i32; return true;
	case FT_U64:
	case FT_I64: *out = (int64_t)v.u64; return t == FT_I64 || *out >= 0;
	case FT_F32: return integral(v.f32, out);
	case FT_F64: return integral(v.f64, out);
	default: return false;
	}
}

static bool num_f64(enum file_type t, const uint8_t *p, double *out)
{
	float f;
	int64_t i;
	if (t == FT_F64) {
		memcpy(out, p, 8);
	} else if (t == FT_F32) {
		memcpy(&f, p, 4);
		*out = f;
	} else if (t == FT_U64) {
		*out = (double)le64(p);
		return *out < 0x1p64 && (uint64_t)*out == le64(p);
	} else {
		if (!num_i64(t, p, &i)) return false;
		*out = (double)i;
		return *out < 0x1p63 && (int64_t)*out == i;
	}
	return true;
}

static bool num_f32(enum file_type t, const uint8_t *p, float *out)
{
	double d;
	if (!num_f64(t, p, &d)) return false;
	if (t == FT_F64 && isfinite(d) && fabs(d) > (double)FLT_MAX) return false;
	*out = (float)d;
	return t == FT_F32 || t == FT_F64 || (double)*out == d;
}

/* ---- metadata by key ----------------------------------------------------------------------------------- */
static const struct key *find(const struct file *f, const char *key)
{
	int64_t i = index_find(f, &f->keys, key);
	return i < 0 ? NULL : &f->key[i];
}

bool key_i64(const struct key *k, int64_t *out) { return num_i64(k->type, k->p, out); }

const char *file_key(const struct file *f, int i, enum file_type *type, enum file_type *elem, int64_t *n)
{
	if (i < 0 || i >= f->n_keys) return NULL;
	const struct key *k = &f->key[i];
	if (type) *type = k->type;
	if (elem) *elem = k->elem;
	if (n) *n = (int64_t)k->n;
	return k->name;
}

const void *file_raw(const struct file *f, int i, uint64_t *size)
{
	if (i < 0 || i >= f->n_keys) return NULL;
	*size = f->key[i].size;
	return f->key[i].p;
}

bool file_has(const struct file *f, const char *key) { return find(f, key) != NULL; }

bool file_i64(const struct file *f, const char *key, int64_t *out)
{
	const struct key *k = find(f, key);
	int64_t v;
	if (!k || !num_i64(k->type, k->p, &v)) return false;
	*out = v;
	return true;
}

bool file_u32(const struct file *f, const char *key, uint32_t *out)
{
	int64_t v;
	if (!file_i64(f, key, &v) || v < 0 || v > UINT32_MAX) return false;
	*out = (uint32_t)v;
	return true;
}

bool file_f64(const struct file *f, const char *key, double *out)
{
	const struct key *k = find(f, key);
	double v;
	if (!k || !num_f64(k->type, k->p, &v)) return false;
	*out = v;
	return true;
}

bool file_f32(const struct file *f, const char *key, float *out)
{
	const struct key *k = find(f, key);
	float v;
	if (!k || !num_f32(k->type, k->p, &v)) return false;
	*out = v;
	return true;
}

bool file_bool(const struct file *f, const char *key, bool *out)
{
	const struct key *k = find(f, key);
	if (!k || k->type != FT_BOOL) return false;
	*out = k->p[0] != 0;
	return true;
}

bool file_str(const struct file *f, const char *key, const char **out, size_t *len)
{
	const struct key *k = find(f, key);
	if (!k || k->type != FT_STR) return false;
	*out = (const char *)k->p;
	*len = (size_t)k->size;
	return true;
}

/* ---- arrays -------------------------------------------------------------------------------------------- */
static const struct key *find_arr(const struct file *f, const char *key)
{
	const struct key *k = find(f, key);
	return k && k->type == FT_ARR ? k : NULL;
}

int64_t file_arr_len(const struct file *f, const char *key)
{
	const struct key *k = find_arr(f, key);
	return k ? (int64_t)k->n : -1;
}

/* Element i of a numeric array, NULL if there is none. */
static const uint8_t *element(const struct key *k, int64_t i)
{
	if (!k || i < 0 || (uint64_t)i >= k->n || k->elem == FT_STR) return NULL;
	return k->p + (uint64_t)i * file_type_size[k->elem];
}

bool file_arr_i64(const struct file *f, const char *key, int64_t i, int64_t *out)
{
	const struct key *k = find_arr(f, key);
	const uint8_t *p = element(k, i);
	int64_t v;
	if (!p || !num_i64(k->elem, p, &v)) return false;
	*out = v;
	return true;
}

bool file_arr_f32(const struct file *f, const char *key, int64_t i, float *out)
{
	const struct key *k = find_arr(f, key);
	const uint8_t *p = element(k, i);
	float v;
	if (!p || !num_f32(k->elem, p, &v)) return false;
	*out = v;
	return true;
}

const void *file_arr_raw(const struct file *f, const char *key, enum file_type *elem, int64_t *n)
{
	const struct key *k = find_arr(f, key);
	if (!k || k->elem == FT_STR) return NULL;
	if (elem) *elem = k->elem;
	if (n) *n = (int64_t)k->n;
	return k->p;
}

bool file_arr_str(const struct file *f, const char *key, int64_t i, const char **out, size_t *len)
{
	const struct key *k = find_arr(f, key);
	if (!k || k->elem != FT_STR || i < 0 || (uint64_t)i >= k->n) return false;
	const uint8_t *p = k->p + k->mark[i / STRIDE];
	for (int64_t left = i % STRIDE; left > 0; left--) p += 8 + le64(p);
	*len = (size_t)le64(p);
	*out = (const char *)p + 8;
	return true;
}

/* *at = key number + 1 in the upper bits, bytes consumed in the lower AT_BITS. */
_Static_assert(FILE_MAX_KEYS <= 1 << (64 - AT_BITS - 1), "a key number fits above the position");

bool file_arr_str_next(const struct file *f, const char *key, uint64_t *at, const char **out, size_t *len)
{
	if (!*at) {
		int64_t i = index_find(f, &f->keys, key);
		if (i < 0 || f->key[i].type != FT_ARR || f->key[i].elem != FT_STR) return false;
		*at = (uint64_t)(i + 1) << AT_BITS;
	}
	const struct key *k = &f->key[(*at >> AT_BITS) - 1];
	uint64_t pos = *at & (((uint64_t)1 << AT_BITS) - 1);
	if (pos >= k->size) return false;
	*len = (size_t)le64(k->p + pos);
	*out = (const char *)k->p + pos + 8;
	*at += 8 + *len;
	return true;
}
