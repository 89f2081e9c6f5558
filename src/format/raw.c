/* raw.c - the weight files of a Hugging Face folder, whichever they are, as one list of raw tensors.
 * GOTCHAS
 *   - an index names files: a name that leaves the folder is refused, while links are followed (a hub's cache is made
 *     of links to blobs outside the snapshot);
 *   - an index may leave out tensors that its shards hold (they are read too), but what it lists must be there. */
#include "base/scan.h"
#include "format/hf.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_SHARDS = 10000, MAX_INDEX = 256 << 20 };

const struct raw_info raw_info[RAW_COUNT] = {
	[RAW_F64] = { "F64", 64, DT_F64 },        [RAW_F32] = { "F32", 32, DT_F32 },
	[RAW_F16] = { "F16", 16, DT_F16 },        [RAW_BF16] = { "BF16", 16, DT_BF16 },
	[RAW_F8_E4M3] = { "F8_E4M3", 8, DT_F8_E4M3 }, [RAW_F8_E5M2] = { "F8_E5M2", 8, DT_F8_E5M2 },
	[RAW_E8M0] = { "F8_E8M0", 8, DT_COUNT },  [RAW_I64] = { "I64", 64, DT_I64 },
	[RAW_I32] = { "I32", 32, DT_I32 },        [RAW_I16] = { "I16", 16, DT_I16 },
	[RAW_I8] = { "I8", 8, DT_I8 },            [RAW_U8] = { "U8", 8, DT_COUNT },
	[RAW_U16] = { "U16", 16, DT_COUNT },      [RAW_U32] = { "U32", 32, DT_COUNT },
	[RAW_U64] = { "U64", 64, DT_COUNT },      [RAW_BOOL] = { "BOOL", 8, DT_COUNT },
	[RAW_F4] = { "F4", 4, DT_COUNT },
};

static int no_memory(const struct hf *h, struct lm_err *err)
{
	return lm_fail(err, LM_ENOMEM, "%.300s: out of memory", h->dir);
}

bool raw_size(struct raw *r)
{
	uint64_t n = 1;
	bool none = false;
	for (int d = 0; d < r->n_dims; d++) {
		none |= r->dim[d] == 0;
		if (r->dim[d] < 0 || (r->dim[d] && !lm_mul_u64(n, (uint64_t)r->dim[d], &n))) return false;
	}
	if (!lm_mul_u64(none ? 0 : n, (uint64_t)raw_info[r->type].bits, &n) || n % 8) return false;
	r->size = n / 8;
	return true;
}

int raw_add(struct hf *h, const struct raw *r, struct lm_err *err)
{
	size_t bytes;
	if (h->n_raw == FILE_MAX_TENSORS)
		return lm_fail(err, LM_ELIMIT, "has more than %d tensors", FILE_MAX_TENSORS);
	if (h->n_raw == h->cap_raw) {
		int cap = h->cap_raw ? 2 * h->cap_raw : 64;
		struct raw *p = NULL;
		if (lm_mul_size((size_t)cap, sizeof *p, &bytes)) p = lm_realloc(h->raw, bytes);
		if (!p) return no_memory(h, err);
		h->raw = p;
		h->cap_raw = cap;
	}
	h->raw[h->n_raw++] = *r;
	return 0;
}

struct raw *raw_find(const struct hf *h, const char *name)
{
	int64_t i = index_find(h->f, &h->raws, name);
	return i < 0 ? NULL : &h->raw[i];
}

/* ---- one file ------------------------------------------------------------------------------------------- */
static const char *tail(const char *path)               /* a long path must not push the sentence out */
{
	size_t n = strlen(path);
	return n > 300 ? path + n - 300 : path;
}

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s), k = strlen(with);
	return n >= k && !strcmp(s + n - k, with);
}

/* What a file is shows in its bytes: names are often wrong. */
static int read_container(struct hf *h, const char *path, const struct lm_map *m, struct lm_err *err)
{
	static const char lfs[] = "version https://git-lfs";
	int part = h->f->n_parts - 1;
	if (m->size >= sizeof lfs - 1 && !memcmp(m->data, lfs, sizeof lfs - 1))
		return lm_fail(err, LM_EFORMAT, "is a Git LFS pointer; the model itself was not downloaded");
	if (m->size > 8 && m->data[8] == '{') return safetensors_read(h, part, m->data, m->size, err);
	if (ends(path, ".safetensors") && memcmp(m->data, "PK", m->size < 2 ? m->size : 2))
		return safetensors_read(h, part, m->data, m->size, err);
	return torch_read(h, part, m->data, m->size, err);
}

static int add_file(struct hf *h, const char *path, struct lm_err *err)
{
	struct file *f = h->f;
	struct lm_map m, *parts = lm_realloc(f->part, ((size_t)f->n_parts + 1) * sizeof *parts);
	if (!parts) return no_memory(h, err);
	f->part = parts;
	int rc = lm_map_open(&m, path, err);
	if (rc) return rc;
	f->part[f->n_parts++] = m;
	f->bytes += m.size;
	rc = read_container(h, path, &m, err);
	if (rc) lm_context(err, "%s: ", tail(path));
	return rc;
}

/* ---- an index and its shards ---------------------------------------------------------------------------- */
struct listed { const char *tensor, *shard; };
struct list { struct listed *v; int n, cap; };

static int by_shard(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;
	return strcmp(x->shard, y->shard);
}

static bool inside(const char *path)
{
	if (!*path || *path == '/') return false;
	for (const char *p = path; p; p = strchr(p, '/')) {
		p += *p == '/';
		size_t n = strcspn(p, "/");
		if (n == 0 || (n == 1 && *p == '.') || (n == 2 && p[0] == '.' && p[1] == '.')) return false;
	}
	return true;
}

/* A string of the index in the arena; one with a NUL inside would be taken for another. */
static const char *keep(struct hf *h, struct lm_scan_str s, struct lm_buf *b)
{
	b->n = 0;
	lm_scan_unescape(s, b);
	if (b->bad || (b->n && memchr(b->p, 0, b->n))) return NULL;
	return lm_arena_str(h->f->arena, b->n ? b->p : "", b->n);
}

static int add_listed(struct hf *h, struct list *l, struct lm_scan_str key, struct lm_scan_str file, struct lm_buf *b,
                      struct lm_err *err)
{
	if (l->n == FILE_MAX_TENSORS) return lm_fail(err, LM_ELIMIT, "lists more than %d tensors", FILE_MAX_TENSORS);
	if (l->n == l->cap) {
		int cap = l->cap ? 2 * l->cap : 256;
		struct listed *v = lm_realloc(l->v, (size_t)cap * sizeof *v);
		if (!v) return no_memory(h, err);
		l->v = v;
		l->cap = cap;
	}
	struct listed *v = &l->v[l->n];
	v->tensor = keep(h, key, b);
	if (!v->tensor) return b->bad ? no_memory(h, err) : lm_fail(err, LM_EFORMAT, "a tensor's name has a NUL byte");
	/* most entries name the shard of the one before */
	bool same = l->n && !file.escaped && lm_scan_is(file, v[-1].shard);
	v->shard = same ? v[-1].shard : keep(h, file, b);
	if (!v->shard) return b->bad ? no_memory(h, err) : lm_fail(err, LM_EFORMAT, "a file's name has a NUL byte");
	if (!inside(v->shard))
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: its file \"%.100s\" is not inside the folder", v->tensor,
		               v->shard);
	l->n++;
	return 0;
}

static int read_index(struct hf *h, struct list *l, const char *text, size_t n, struct lm_err *err)
{
	struct lm_scan s = lm_scan_begin(text, n);
	struct lm_scan_str key, file;
	struct lm_buf b = { 0 };
	bool map = false;
	int rc = 0;
	if (lm_scan_object(&s))
		while (!rc && lm_scan_key(&s, &key)) {
			if (!lm_scan_is(key, "weight_map")) {
				lm_scan_skip(&s);
				continue;
			}
			map = true;
			if (!lm_scan_object(&s)) break;
			while (!rc && lm_scan_key(&s, &key))
				if (lm_scan_str(&s, &file)) rc = add_listed(h, l, key, file, &b, err);
		}
	lm_buf_free(&b);
	if (rc) return rc;
	if ((rc = lm_scan_end(&s, err))) return rc;
	return map && l->n ? 0 : lm_fail(err, LM_EFORMAT, "has no \"weight_map\" that lists tensors");
}

static char *join(struct hf *h, const char *name)
{
	size_t n = strlen(h->dir), k = strlen(name);
	char *p = lm_new(h->f->arena, char, n + k + 2);
	if (!p) return NULL;
	memcpy(p, h->dir, n);
	p[n] = '/';
	memcpy(p + n + 1, name, k + 1);
	return p;
}

/* The shards in the order of their names, each once.  One that cannot be opened is the index's mistake, not the user's. */
static int add_shards(struct hf *h, const struct list *l, struct lm_err *err)
{
	int shards = 0, rc = 0;
	for (int i = 0; !rc && i < l->n; i++) {
		if (i && !strcmp(l->v[i].shard, l->v[i - 1].shard)) continue;
		if (++shards > MAX_SHARDS) return lm_fail(err, LM_ELIMIT, "lists more than %d files", MAX_SHARDS);
		char *path = join(h, l->v[i].shard);
		rc = path ? add_file(h, path, err) : no_memory(h, err);
	}
	if (rc == LM_EIO && err) err->code = LM_EFORMAT;
	return rc == LM_EIO ? LM_EFORMAT : rc;
}

/* Every tensor listed is in its shard. */
static int check_listed(struct hf *h, const struct list *l, struct lm_err *err)
{
	int part = -1;
	for (int i = 0; i < l->n; i++) {
		part += !i || strcmp(l->v[i].shard, l->v[i - 1].shard);
		const struct raw *r = raw_find(h, l->v[i].tensor);
		if (!r || r->part != part)
			return lm_fail(err, LM_EFORMAT, "tensor %.100s: is not in %.100s, where the index has it",
			               l->v[i].tensor, l->v[i].shard);
	}
	return 0;
}

static int index_raws(struct hf *h, struct lm_err *err)
{
	return index_build(h->f, &h->raws, h->raw, sizeof *h->raw, h->n_raw, "tensor", err);
}

static int open_shards(struct hf *h, const char *path, struct lm_err *err)
{
	struct lm_map m;
	struct list l = { 0 };
	int rc = lm_map_open(&m, path, err);
	if (rc) return rc;
	if (m.size > MAX_INDEX)
		rc = lm_fail(err, LM_ELIMIT, "has %zu bytes, more than the limit of %d", m.size, MAX_INDEX);
	if (!rc) rc = read_index(h, &l, (const char *)m.data, m.size, err);
	if (rc) lm_context(err, "%s: ", tail(path));
	lm_map_close(&m);
	if (!rc) {
		if (l.n) qsort(l.v, (size_t)l.n, sizeof *l.v, by_shard);
		rc = add_shards(h, &l, err);
	}
	if (!rc) rc = index_raws(h, err);
	if (!rc && (rc = check_listed(h, &l, err))) lm_context(err, "%s: ", tail(path));
	lm_free(l.v);
	return rc;
}

/* ---- what there is -------------------------------------------------------------------------------------- */
/* In the order of transformers. */
static const struct { const char *name; bool index; } files[] = {
	{ "model.safetensors", false },
	{ "model.safetensors.index.json", true },
	{ "pytorch_model.bin", false },
	{ "pytorch_model.bin.index.json", true },
};

int raw_open(struct hf *h, const char *path, struct lm_err *err)
{
	struct stat st;
	if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
		int rc = add_file(h, path, err);
		return rc ? rc : index_raws(h, err);
	}
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		char *at = join(h, files[i].name);
		if (!at) return no_memory(h, err);
		if (lstat(at, &st)) continue;
		if (files[i].index) return open_shards(h, at, err);
		int rc = add_file(h, at, err);
		return rc ? rc : index_raws(h, err);
	}
	return lm_fail(err, LM_EUNSUPPORTED, "%.300s: holds no weights: neither model.safetensors nor pytorch_model.bin, "
	               "nor an index of their parts", path);
}
