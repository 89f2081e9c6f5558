/* gguf.c - GGUF versions 2 and 3, little endian, whole or split into parts.
 * Layout: magic, version, counts; metadata; tensor table; padding to the alignment; tensor data.
 * GOTCHAS
 *   - every number here is the file's claim: it is compared with what is left of the file before it is used;
 *   - tensor offsets count from the data section, which starts at the next multiple of general.alignment;
 *   - dimensions are stored fastest first; struct tensor has them slowest first;
 *   - a big-endian file has the same magic, and its version reads as 3 << 24;
 *   - in a split, part 1 alone has the metadata; each part has its own tensor table and data section. */
#include "format/view.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A name is 8 bytes of length and at least one character; then a type and one byte of value, or dimensions,
 * type and offset: what bounds a claimed count by the bytes there are. */
enum { MIN_KEY = 8 + 1 + 4 + 1, MIN_TENSOR = 8 + 1 + 4 + 8 + 4 + 8 };
enum { MAX_KEY_NAME = 65535, MAX_TENSOR_NAME = 255, MAX_ALIGN = 1 << 20, MAX_PARTS = 65535 };

struct part {
	struct file *f;
	const char *path; /* "" in memory */
	int number;       /* of the part, from 0 */
	const uint8_t *base;
	size_t size;
	struct lm_cursor c;
	int version;
	uint64_t n_keys, n_tensors, align;
	struct key *key; /* goes to f for part 0, else freed */
	int have_keys, cap_keys;
	int first_tensor; /* index in f->tensor of this part's first */
	int64_t split_no, split_count, split_tensors;
};

/* For printf: 64-bit types have no portable letter of their own. */
static unsigned long long ull(uint64_t v) { return v; }
static long long ll(int64_t v) { return v; }

static uint64_t left(const struct part *p) { return (uint64_t)(p->c.end - p->c.p); }

/* Room for one more in *v of n elements with `size` bytes: doubling, so that memory follows what was read and
 * not what was claimed. */
static bool grow(void *v, int n, int *cap, size_t size)
{
	void *old, *p;
	size_t want = *cap ? 2 * (size_t)*cap : 64, bytes;
	if (n < *cap) return true;
	memcpy(&old, v, sizeof old);
	if (!lm_mul_size(want, size, &bytes) || !(p = lm_realloc(old, bytes))) return false;
	memcpy(v, &p, sizeof p);
	*cap = (int)want;
	return true;
}

static int no_memory(struct lm_err *err) { return lm_fail(err, LM_ENOMEM, "out of memory"); }

/* ---- head ---------------------------------------------------------------------------------------------- */
/* What people give us instead of GGUF, told by how it begins. */
static const struct {
	const char *bytes;
	size_t n, at;
	const char *is;
} others[] = {
	{ "lmgg", 4, 0, "a GGML file from before GGUF; convert the model again" },
	{ "tjgg", 4, 0, "a GGJT file from before GGUF; convert the model again" },
	{ "fmgg", 4, 0, "a GGMF file from before GGUF; convert the model again" },
	{ "FUGG", 4, 0, "a GGUF file with its bytes swapped; only little-endian files are read" },
	{ "{", 1, 8, "a safetensors file, not GGUF" },
	{ "PK\3\4", 4, 0, "a zip archive (a PyTorch checkpoint?), not GGUF" },
	{ "version https://git-lfs", 23, 0, "a Git LFS pointer; the model itself was not downloaded" },
	{ "<", 1, 0, "a text file (a web page?), not GGUF" },
};

static int read_magic(struct part *p, struct lm_err *err)
{
	const uint8_t *m = p->base;
	if (p->size >= 4 && memcmp(m, "GGUF", 4) == 0) {
		p->c.p += 4;
		return 0;
	}
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (p->size >= others[i].at + others[i].n &&
		    !memcmp(m + others[i].at, others[i].bytes, others[i].n))
			return lm_fail(err, LM_EFORMAT, "is %s", others[i].is);
	if (p->size < 4) return lm_fail(err, LM_EFORMAT, "has %zu bytes, too few for a GGUF file", p->size);
	return lm_fail(err, LM_EFORMAT,
	               "begins with the bytes %02x %02x %02x %02x, expected the magic \"GGUF\"", m[0], m[1],
	               m[2], m[3]);
}

static int check_count(const struct part *p, uint64_t n, uint64_t min, uint64_t max, const char *what,
                       struct lm_err *err)
{
	if (n > left(p) / min)
		return lm_fail(err, LM_EFORMAT,
		               "claims %llu %s, but the %llu bytes after its head have room for %llu at most",
		               ull(n), what, ull(left(p)), ull(left(p) / min));
	if (n > max)
		return lm_fail(err, LM_ELIMIT, "claims %llu %s, more than the limit of %llu", ull(n), what,
		               ull(max));
	return 0;
}

static int read_head(struct part *p, struct lm_err *err)
{
	int rc = read_magic(p, err);
	if (rc) return rc;
	uint32_t version = lm_read_u32le(&p->c);
	if (p->c.bad)
		return lm_fail(err, LM_EFORMAT, "ends in its head (%zu bytes, expected at least 24)", p->size);
	if (version && !(version & 0xffff))
		return lm_fail(err, LM_EUNSUPPORTED,
		               "is a big-endian GGUF file; only little-endian files are read");
	if (version == 1)
		return lm_fail(err, LM_EUNSUPPORTED,
		               "is GGUF version 1; versions 2 and 3 are read, convert the model again");
	if (version < 2 || version > 3)
		return lm_fail(err, version ? LM_EUNSUPPORTED : LM_EFORMAT,
		               "has GGUF version %u, expected 2 or 3", version);
	p->version = (int)version;
	p->n_tensors = lm_read_u64le(&p->c);
	p->n_keys = lm_read_u64le(&p->c);
	if (p->c.bad)
		return lm_fail(err, LM_EFORMAT, "ends in its head (%zu bytes, expected at least 24)", p->size);
	rc = check_count(p, p->n_keys, MIN_KEY, FILE_MAX_KEYS, "keys", err);
	return rc ? rc : check_count(p, p->n_tensors, MIN_TENSOR, FILE_MAX_TENSORS, "tensors", err);
}

/* ---- metadata ------------------------------------------------------------------------------------------ */
/* A name, copied with a NUL.  One with a NUL inside would be taken for another, so it is refused. */
static int read_name(struct part *p, const char *what, uint64_t i, uint64_t max, const char **out,
                     struct lm_err *err)
{
	unsigned long long nr = i + 1, len = lm_read_u64le(&p->c);
	if (p->c.bad) return lm_fail(err, LM_EFORMAT, "the file ends before %s %llu", what, nr);
	if (len == 0 || len > max)
		return lm_fail(err, LM_EFORMAT, "%s %llu has a name of %llu bytes, expected 1 to %llu", what,
		               nr, len, ull(max));
	const uint8_t *s = lm_read_bytes(&p->c, len);
	if (!s) return lm_fail(err, LM_EFORMAT, "the file ends in the name of %s %llu", what, nr);
	if (memchr(s, 0, len)) return lm_fail(err, LM_EFORMAT, "%s %llu has a NUL byte in its name", what, nr);
	*out = lm_arena_str(p->f->arena, (const char *)s, len);
	return *out ? 0 : no_memory(err);
}

static int read_string(struct part *p, struct key *k, struct lm_err *err)
{
	uint64_t len = lm_read_u64le(&p->c);
	if (!p->c.bad && len <= left(p) && len > FILE_MAX_STRING)
		return lm_fail(err, LM_ELIMIT, "key %.100s: a string of %llu bytes, more than the limit of %d",
		               k->name, ull(len), FILE_MAX_STRING);
	k->p = lm_read_bytes(&p->c, len);
	k->size = len;
	if (p->c.bad)
		return lm_fail(err, LM_EFORMAT, "key %.100s: its string goes past the end of the file",
		               k->name);
	return 0;
}

/* Where the next key begins is known only after a walk over all strings: with a large vocabulary, this loop
 * is the cost of opening a file. */
static int walk_strings(struct part *p, struct key *k, struct lm_err *err)
{
	const uint8_t *at = p->c.p, *end = p->c.end;
	uint64_t *mark = lm_new(p->f->arena, uint64_t, k->n / STRIDE + 1), i;
	if (!mark) return no_memory(err);
	for (i = 0; i < k->n; i++) {
		uint64_t room = (uint64_t)(end - at), len;
		if (i % STRIDE == 0) mark[i / STRIDE] = (uint64_t)(at - p->c.p);
		if (room < 8) break;
		len = le64(at);
		if (len > room - 8 || len > FILE_MAX_STRING) break;
		at += 8 + len;
	}
	if (i < k->n) {
		bool big = (uint64_t)(end - at) >= 8 && le64(at) <= (uint64_t)(end - at) - 8;
		return big ? lm_fail(err, LM_ELIMIT,
		                     "key %.100s: element %llu has %llu bytes, more than the limit of %d",
		                     k->name, ull(i), ull(le64(at)), FILE_MAX_STRING)
		           : lm_fail(err, LM_EFORMAT,
		                     "key %.100s: element %llu of %llu goes past the end of the file", k->name,
		                     ull(i), ull(k->n));
	}
	k->mark = mark;
	k->size = (uint64_t)(at - p->c.p);
	p->c.p = at;
	if (k->size >> AT_BITS) return lm_fail(err, LM_ELIMIT, "key %.100s: an array of over 8 TiB", k->name);
	return 0;
}

/* A bool is 0 or 1; anything else shows that writer and reader disagree about the layout. */
static int check_bools(const struct key *k, struct lm_err *err)
{
	for (uint64_t i = 0; i < k->size; i++)
		if (k->p[i] > 1)
			return lm_fail(err, LM_EFORMAT, "key %.100s: a bool of value %d, expected 0 or 1",
			               k->name, k->p[i]);
	return 0;
}

static int read_array(struct part *p, struct key *k, struct lm_err *err)
{
	uint32_t elem = lm_read_u32le(&p->c);
	k->n = lm_read_u64le(&p->c);
	if (p->c.bad)
		return lm_fail(err, LM_EFORMAT, "key %.100s: the file ends in the head of its array", k->name);
	if (elem > FT_F64)
		return lm_fail(err, LM_EFORMAT, "key %.100s: elements of type %u, expected 0 to %d", k->name,
		               elem, FT_F64);
	if (elem == FT_ARR)
		return lm_fail(err, LM_EUNSUPPORTED, "key %.100s: an array of arrays is not read", k->name);
	k->elem = (enum file_type)elem;
	uint64_t min = elem == FT_STR ? 8 : file_type_size[elem];
	if (k->n > left(p) / min)
		return lm_fail(err, LM_EFORMAT,
		               "key %.100s: claims %llu elements of type %s, but %llu bytes are left", k->name,
		               ull(k->n), file_type_name[elem], ull(left(p)));
	if (k->n > FILE_MAX_ARRAY)
		return lm_fail(err, LM_ELIMIT,
		               "key %.100s: an array of %llu elements, more than the limit of %d", k->name,
		               ull(k->n), FILE_MAX_ARRAY);
	k->p = p->c.p;
	if (elem == FT_STR) return walk_strings(p, k, err);
	k->size = k->n * min; /* cannot overflow: n <= left / min */
	lm_read_bytes(&p->c, k->size);
	return elem == FT_BOOL ? check_bools(k, err) : 0;
}

static int read_key(struct part *p, uint64_t i, struct key *k, struct lm_err *err)
{
	int rc = read_name(p, "key", i, MAX_KEY_NAME, &k->name, err);
	if (rc) return rc;
	uint32_t type = lm_read_u32le(&p->c);
	if (p->c.bad) return lm_fail(err, LM_EFORMAT, "key %.100s: the file ends before its type", k->name);
	if (type > FT_F64)
		return lm_fail(err, LM_EFORMAT, "key %.100s: value type %u, expected 0 to %d", k->name, type,
		               FT_F64);
	k->type = k->elem = (enum file_type)type;
	k->n = 1;
	if (type == FT_ARR) return read_array(p, k, err);
	if (type == FT_STR) return read_string(p, k, err);
	k->size = file_type_size[type];
	k->p = lm_read_bytes(&p->c, k->size);
	if (!k->p) return lm_fail(err, LM_EFORMAT, "key %.100s: the file ends in its value", k->name);
	return type == FT_BOOL ? check_bools(k, err) : 0;
}

/* The keys that say how to read the rest. */
static int special_key(struct part *p, const struct key *k, struct lm_err *err)
{
	static const char *const names[] = { "split.no", "split.count", "split.tensors.count" };
	int64_t *const into[] = { &p->split_no, &p->split_count, &p->split_tensors };
	for (int i = 0; i < 3; i++) {
		if (strcmp(k->name, names[i])) continue;
		if (key_i64(k, into[i]) && *into[i] >= 0 && *into[i] <= INT32_MAX) return 0;
		return lm_fail(err, LM_EFORMAT, "key %s: is not a count", k->name);
	}
	if (strcmp(k->name, "general.alignment")) return 0;
	int64_t a = 0;
	if (k->type != FT_U32 || !key_i64(k, &a))
		return lm_fail(err, LM_EFORMAT, "key %s: has type %s, expected u32", k->name,
		               file_type_name[k->type]);
	if (a < 1 || a > MAX_ALIGN || (a & (a - 1)))
		return lm_fail(err, LM_EFORMAT, "key %s: is %lld, expected a power of two from 1 to %d",
		               k->name, ll(a), MAX_ALIGN);
	p->align = (uint64_t)a;
	return 0;
}

static int read_keys(struct part *p, struct lm_err *err)
{
	for (uint64_t i = 0; i < p->n_keys; i++) {
		if (!grow(&p->key, p->have_keys, &p->cap_keys, sizeof *p->key)) return no_memory(err);
		struct key *k = &p->key[p->have_keys];
		*k = (struct key){ 0 };
		int rc = read_key(p, i, k, err);
		if (!rc) rc = special_key(p, k, err);
		if (rc) return rc;
		p->have_keys++;
	}
	return 0;
}

/* ---- tensor table -------------------------------------------------------------------------------------- */
static const char *shape_text(const struct tensor *t, char buf[100])
{
	int n = 0;
	for (int d = 0; d < t->n_dims; d++)
		n += snprintf(buf + n, 100 - (size_t)n, "%s%lld", d ? "x" : "", ll(t->dim[d]));
	return buf;
}

static int read_dims(struct part *p, struct tensor *t, struct lm_err *err)
{
	uint32_t n = lm_read_u32le(&p->c);
	if (p->c.bad)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: the file ends before its dimensions", t->name);
	if (n < 1 || n > 4)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: has %u dimensions, expected 1 to 4", t->name,
		               n);
	t->n_dims = (int)n;
	for (uint32_t d = 0; d < 4; d++) t->dim[d] = 1;
	for (uint32_t d = n; d-- > 0;) {
		uint64_t v = lm_read_u64le(&p->c);
		if (p->c.bad) break;
		if (v < 1 || v > INT64_MAX)
			return lm_fail(err, LM_EFORMAT,
			               "tensor %.100s: dimension %u is %llu, expected 1 to 2^63-1", t->name,
			               n - d, ull(v));
		t->dim[d] = (int64_t)v;
	}
	return 0;
}

/* Bytes of the tensor, from its type and dimensions alone. */
static int size_of(struct tensor *t, uint32_t type, struct lm_err *err)
{
	const struct dtype_info *q = type <= DT_NF4 ? quant_info((enum dtype)type) : NULL;      /* those behind are in no GGUF */
	char shape[100];
	if (!q)
		return lm_fail(err, LM_EUNSUPPORTED, "tensor %.100s: type number %u is none we know", t->name,
		               type);
	t->type = (enum dtype)type;
	uint64_t n = 1;
	int64_t cols = t->dim[t->n_dims - 1], row = quant_row_bytes(t->type, cols);
	if (row < 0 && cols % q->block_elems)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: rows of %lld elements, but %s has blocks of %d",
		               t->name, ll(cols), q->name, q->block_elems);
	bool ok = row >= 0;
	t->size = ok ? (uint64_t)row : 0;
	for (int d = 0; ok && d < t->n_dims; d++) {
		ok = lm_mul_u64(n, (uint64_t)t->dim[d], &n);
		if (ok && d < t->n_dims - 1) ok = lm_mul_u64(t->size, (uint64_t)t->dim[d], &t->size);
	}
	if (ok && n <= INT64_MAX && t->size <= INT64_MAX) return 0;
	return lm_fail(err, LM_EFORMAT, "tensor %.100s: its shape %s is too large for any file", t->name,
	               shape_text(t, shape));
}

static int read_tensor(struct part *p, uint64_t i, struct tensor *t, uint64_t *off, struct lm_err *err)
{
	int rc = read_name(p, "tensor", i, MAX_TENSOR_NAME, &t->name, err);
	if (!rc) rc = read_dims(p, t, err);
	if (rc) return rc;
	uint32_t type = lm_read_u32le(&p->c);
	*off = lm_read_u64le(&p->c);
	if (p->c.bad)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: the file ends in its description", t->name);
	rc = size_of(t, type, err);
	if (rc) return rc;
	if (*off & (p->align - 1))
		return lm_fail(err, LM_EFORMAT,
		               "tensor %.100s: offset %llu is not a multiple of the alignment %llu", t->name,
		               ull(*off), ull(p->align));
	return 0;
}

struct range {
	uint64_t off, end;
	int i;
};

static int by_offset(const void *a, const void *b)
{
	const struct range *x = a, *y = b;
	return x->off < y->off ? -1 : x->off > y->off;
}

/* Two tensors in the same bytes: a writer's mistake, or someone's trick.  Writers go upwards, so sorting is
 * rare. */
static int check_overlap(struct part *p, struct lm_err *err)
{
	struct file *f = p->f;
	int n = f->n_tensors - p->first_tensor, bad = -1;
	const struct tensor *t = f->tensor + p->first_tensor;
	const struct tensor_at *at = f->at + p->first_tensor;
	bool rising = true;
	for (int i = 1; i < n && rising; i++)
		rising = at[i].off - at[i - 1].off >= t[i - 1].size && at[i].off > at[i - 1].off;
	if (rising) return 0;
	struct range *r = lm_calloc((size_t)n, sizeof *r);
	if (!r) return no_memory(err);
	for (int i = 0; i < n; i++) r[i] = (struct range){ at[i].off, at[i].off + t[i].size, i };
	qsort(r, (size_t)n, sizeof *r, by_offset);
	for (int i = 1; i < n && bad < 0; i++)
		if (r[i].off < r[i - 1].end) bad = i;
	int rc = bad < 0 ? 0
	                 : lm_fail(err, LM_EFORMAT, "tensor %.100s: overlaps tensor %.100s", t[r[bad].i].name,
	                           t[r[bad - 1].i].name);
	lm_free(r);
	return rc;
}

/* Offsets become pointers, once it is known where the data section starts and that they stay in the file. */
static int place(struct part *p, struct lm_err *err)
{
	struct file *f = p->f;
	if (f->n_tensors == p->first_tensor) return 0;
	uint64_t head = (uint64_t)(p->c.p - p->base), data = (head + p->align - 1) & ~(p->align - 1);
	uint64_t room = data <= p->size ? p->size - data : 0;
	for (int i = p->first_tensor; i < f->n_tensors; i++) {
		struct tensor *t = &f->tensor[i];
		struct tensor_at *at = &f->at[i];
		if (at->off > room || t->size > room - at->off)
			return lm_fail(
				err, LM_EFORMAT,
				"tensor %.100s: needs %llu bytes from %llu on in the data section, which "
				"has %llu (is the file cut off?)",
				t->name, ull(t->size), ull(at->off), ull(room));
		at->off += data;
		t->data = p->base + at->off;
	}
	return check_overlap(p, err);
}

static int read_tensors(struct part *p, struct lm_err *err)
{
	struct file *f = p->f;
	p->first_tensor = f->n_tensors;
	if (p->n_tensors > (uint64_t)(FILE_MAX_TENSORS - f->n_tensors))
		return lm_fail(err, LM_ELIMIT, "all parts together have more than %d tensors",
		               FILE_MAX_TENSORS);
	for (uint64_t i = 0; i < p->n_tensors; i++) {
		int cap = f->cap_tensors;
		if (!grow(&f->at, f->n_tensors, &cap, sizeof *f->at)) return no_memory(err);
		if (!grow(&f->tensor, f->n_tensors, &f->cap_tensors, sizeof *f->tensor)) return no_memory(err);
		struct tensor *t = &f->tensor[f->n_tensors];
		*t = (struct tensor){ 0 };
		f->at[f->n_tensors].part = p->number;
		int rc = read_tensor(p, i, t, &f->at[f->n_tensors].off, err);
		if (rc) return rc;
		f->n_tensors++;
	}
	return place(p, err);
}

/* ---- parts --------------------------------------------------------------------------------------------- */
/* Adds the part at p->base to the file; the keys of part 0 become the file's. */
static int read_part(struct part *p, struct lm_err *err)
{
	struct file *f = p->f;
	p->c = (struct lm_cursor){ p->base, p->base + p->size, false };
	p->align = 32;
	p->split_count = p->split_tensors = -1;
	int rc = read_head(p, err);
	if (!rc) rc = read_keys(p, err);
	if (!rc) rc = read_tensors(p, err);
	if (rc || p->number > 0)
		lm_free(p->key);
	else {
		f->key = p->key;
		f->n_keys = p->have_keys;
		f->version = p->version;
		f->alignment = p->align;
	}
	p->key = NULL;
	f->bytes += p->size;
	if (rc && *p->path) {
		size_t n = strlen(p->path); /* a long path must not push the sentence out */
		lm_context(err, "%s%s: ", n > 300 ? "..." : "", n > 300 ? p->path + n - 300 : p->path);
	}
	return rc;
}

/* Maps the file at `path` as the next part and reads it. */
static int add_part(struct file *f, struct part *p, const char *path, struct lm_err *err)
{
	struct lm_map m, *parts = lm_realloc(f->part, ((size_t)f->n_parts + 1) * sizeof *parts);
	if (!parts) return lm_fail(err, LM_ENOMEM, "%.300s: out of memory", path);
	f->part = parts;
	int rc = lm_map_open(&m, path, err);
	if (rc) return rc;
	*p = (struct part){ .f = f, .path = path, .number = f->n_parts, .base = m.data, .size = m.size };
	f->part[f->n_parts++] = m;
	return read_part(p, err);
}

static void forget_parts(struct file *f)
{
	while (f->n_parts > 0) lm_map_close(&f->part[--f->n_parts]);
	lm_free(f->key);
	f->key = NULL;
	f->n_keys = f->n_tensors = 0;
	f->bytes = 0;
}

enum { TAIL = sizeof "-00001-of-00003.gguf" - 1 };

/* Opens parts 1 to n beside the one at `path`, whose name must end as `p` says; name is path's copy to write
 * in. */
static int open_split(struct file *f, const struct part *p, const char *path, char *name, struct lm_err *err)
{
	size_t n = strlen(path);
	int64_t count = p->split_count, all = p->split_tensors, no = p->split_no;
	struct part q;
	char tail[64];
	if (count > MAX_PARTS || no >= count)
		return lm_fail(err, LM_EFORMAT, "%.300s: claims to be part %lld of %lld", path, ll(no + 1),
		               ll(count));
	snprintf(tail, sizeof tail, "-%05lld-of-%05lld.gguf", ll(no + 1), ll(count));
	if (n < TAIL || strcmp(path + n - TAIL, tail))
		return lm_fail(err, LM_EFORMAT, "%.300s: is part %lld of %lld, so its name must end in %s",
		               path, ll(no + 1), ll(count), tail);
	forget_parts(f);
	for (int64_t i = 0; i < count; i++) {
		snprintf(tail, sizeof tail, "-%05lld-of-%05lld.gguf", ll(i + 1), ll(count));
		memcpy(name + n - TAIL, tail, TAIL);
		int rc = add_part(f, &q, name, err);
		if (rc) return rc;
		if (q.split_no != i || q.split_count != count || q.split_tensors != all)
			return lm_fail(err, LM_EFORMAT,
			               "%.300s: claims to be part %lld of %lld with %lld tensors in all, "
			               "expected %lld of %lld with %lld",
			               name, ll(q.split_no + 1), ll(q.split_count), ll(q.split_tensors),
			               ll(i + 1), ll(count), ll(all));
	}
	if (all < 0 || all == f->n_tensors) return 0;
	return lm_fail(err, LM_EFORMAT,
	               "%.300s: the %lld parts have %d tensors, but split.tensors.count is %lld", path,
	               ll(count), f->n_tensors, ll(all));
}

int gguf_open(struct file *f, const char *path, struct lm_err *err)
{
	struct part p;
	int rc = add_part(f, &p, path, err);
	if (rc || p.split_count < 2) return rc;
	char *name = lm_arena_str(f->arena, path, strlen(path));
	if (!name) return lm_fail(err, LM_ENOMEM, "%.300s: out of memory", path);
	return open_split(f, &p, path, name, err);
}

int gguf_open_mem(struct file *f, const void *data, size_t size, struct lm_err *err)
{
	struct part p = { .f = f, .path = "", .base = data, .size = size };
	int rc = read_part(&p, err);
	if (rc || p.split_count < 2) return rc;
	return lm_fail(err, LM_EUNSUPPORTED, "is part %lld of %lld: a split file is opened by its path",
	               ll(p.split_no + 1), ll(p.split_count));
}
