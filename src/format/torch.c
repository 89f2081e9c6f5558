/* torch.c - PyTorch checkpoints: a zip archive of NAME/data.pkl and NAME/data/KEY (since 1.6), or the stream of pickles
 * from before.  Tensors are where the archive has them, stored and not compressed, so they stay in the mapping.
 * GOTCHAS
 *   - several tensors may share a storage, each with an offset; what is not in row order there is refused by name;
 *   - people save {"state_dict": {...}, "epoch": 3}: the dict that holds tensors is looked for. */
#include "format/pickle.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 1024, MAX_KEY = 64 };

static unsigned long long ull(uint64_t v) { return v; }

/* A storage's bytes in the file. */
struct store { const uint8_t *key; size_t n; uint64_t off, size; };
struct reader {
	struct hf *h;
	int part;
	const uint8_t *data;
	uint64_t size;
	struct pickle p;
	struct store *store;                               /* sorted by key */
	int n_stores, cap_stores;
};

static int no_memory(struct lm_err *err) { return lm_fail(err, LM_ENOMEM, "out of memory for its tensors"); }

static int add_store(struct reader *r, struct store s, struct lm_err *err)
{
	if (r->n_stores == FILE_MAX_TENSORS) return lm_fail(err, LM_ELIMIT, "has more than %d storages", FILE_MAX_TENSORS);
	if (r->n_stores == r->cap_stores) {
		int cap = r->cap_stores ? 2 * r->cap_stores : 64;
		struct store *v = lm_realloc(r->store, (size_t)cap * sizeof *v);
		if (!v) return no_memory(err);
		r->store = v;
		r->cap_stores = cap;
	}
	r->store[r->n_stores++] = s;
	return 0;
}

static int by_key(const void *a, const void *b)
{
	const struct store *x = a, *y = b;
	int c = memcmp(x->key, y->key, x->n < y->n ? x->n : y->n);
	return c ? c : x->n < y->n ? -1 : x->n > y->n;
}

static int sort_stores(struct reader *r, struct lm_err *err)
{
	if (r->n_stores) qsort(r->store, (size_t)r->n_stores, sizeof *r->store, by_key);
	for (int i = 1; i < r->n_stores; i++)
		if (!by_key(&r->store[i - 1], &r->store[i]))
			return lm_fail(err, LM_EFORMAT, "storage %.*s: occurs twice", (int)r->store[i].n,
			               (const char *)r->store[i].key);
	return 0;
}

static const struct store *find_store(const struct reader *r, const struct pk_node *key)
{
	struct store want = { .key = key->p, .n = key->n };
	return r->n_stores ? bsearch(&want, r->store, (size_t)r->n_stores, sizeof want, by_key) : NULL;
}

/* ---- a tensor ------------------------------------------------------------------------------------------- */
static const struct pk_node *item(const struct reader *r, const struct pk_node *v, uint32_t i, enum pk_kind kind)
{
	const struct pk_node *x = pickle_item(&r->p, v, i);
	return x && x->kind == kind ? x : NULL;
}

/* ('storage', type, key, location, count), and one more from before 1.6: the part of another that it is. */
static int read_storage(const struct reader *r, const struct pk_node *v, const char *name, const struct store **s,
                        enum raw_type *type, struct lm_err *err)
{
	const struct pk_node *args = v->kind == PK_STORAGE ? &r->p.node[v->n] : NULL, *what, *cls, *key, *count, *view;
	what = args ? item(r, args, 0, PK_STR) : NULL;
	cls = args ? item(r, args, 1, PK_GLOBAL) : NULL;
	key = args ? item(r, args, 2, PK_STR) : NULL;
	count = args ? item(r, args, 4, PK_INT) : NULL;
	if (!what || !cls || !key || !count || what->n != 7 || memcmp(what->p, "storage", 7))
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: its storage is not described as PyTorch does", name);
	view = pickle_item(&r->p, args, 5);
	if (view && view->kind != PK_NONE)
		return lm_fail(err, LM_EUNSUPPORTED, "tensor %.100s: its storage is a part of another one", name);
	const struct pk_global *g = &pk_global[cls->sub];
	if (g->role != PK_G_STORAGE && g->role != PK_G_UNTYPED)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: %s.%s is no storage", name, g->module, g->name);
	*type = g->type;
	*s = find_store(r, key);
	if (!*s)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: its storage %.*s is not in the file", name,
		               key->n > MAX_KEY ? MAX_KEY : (int)key->n, (const char *)key->p);
	uint64_t bytes;
	if (count->i < 0 || !lm_mul_u64((uint64_t)count->i, (uint64_t)raw_info[*type].bits / 8, &bytes) ||
	    bytes > (*s)->size)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: its storage should have %lld values of %s, but has %llu bytes",
		               name, (long long)count->i, raw_info[*type].name, ull((*s)->size));
	return 0;
}

/* Shape and strides; only rows without gaps, in order. */
static int read_shape(const struct reader *r, const struct pk_node *args, struct raw *t, struct lm_err *err)
{
	const struct pk_node *size = item(r, args, 2, PK_TUPLE), *stride = item(r, args, 3, PK_TUPLE);
	if (!size || !stride || size->n != stride->n)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: is not described as PyTorch does", t->name);
	if (size->n > RAW_DIMS)
		return lm_fail(err, LM_EUNSUPPORTED, "tensor %.100s: has %u dimensions, expected %d at most", t->name, size->n,
		               RAW_DIMS);
	t->n_dims = (int)size->n;
	for (uint32_t d = 0; d < size->n; d++) {
		const struct pk_node *v = item(r, size, d, PK_INT);
		if (!v || v->i < 0) return lm_fail(err, LM_EFORMAT, "tensor %.100s: its shape is not one", t->name);
		t->dim[d] = v->i;
	}
	if (!raw_size(t)) return lm_fail(err, LM_EFORMAT, "tensor %.100s: its shape is too large for any file", t->name);
	int64_t want = 1;
	for (uint32_t d = size->n; t->size && d-- > 0;) {
		const struct pk_node *v = item(r, stride, d, PK_INT);
		if (!v) return lm_fail(err, LM_EFORMAT, "tensor %.100s: its strides are none", t->name);
		if (t->dim[d] > 1 && v->i != want)
			return lm_fail(err, LM_EUNSUPPORTED, "tensor %.100s: its values do not lie in the order of its rows (stride "
			               "%lld of dimension %u, expected %lld)", t->name, (long long)v->i, d, (long long)want);
		want *= t->dim[d];                         /* of a size that was checked */
	}
	return 0;
}

static int read_tensor(struct reader *r, const struct pk_node *v, const char *name, struct lm_err *err)
{
	struct raw t = { .name = name, .part = r->part };
	const struct pk_node *args = &r->p.node[v->n], *storage = pickle_item(&r->p, args, 0);
	const struct pk_node *first = item(r, args, 1, PK_INT), *dtype;
	const struct store *s = NULL;
	if (!storage || !first || first->i < 0)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: is not described as PyTorch does", name);
	int rc = read_storage(r, storage, name, &s, &t.type, err);
	if (rc) return rc;
	if (pk_global[v->sub].role == PK_G_REBUILD3) {
		dtype = item(r, args, 6, PK_GLOBAL);
		if (!dtype || pk_global[dtype->sub].role != PK_G_DTYPE)
			return lm_fail(err, LM_EFORMAT, "tensor %.100s: has no dtype", name);
		t.type = pk_global[dtype->sub].type;
	} else if (pk_global[item(r, &r->p.node[storage->n], 1, PK_GLOBAL)->sub].role == PK_G_UNTYPED)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: has no dtype", name);
	rc = read_shape(r, args, &t, err);
	if (rc) return rc;
	uint64_t at, end;
	if (!lm_mul_u64((uint64_t)first->i, (uint64_t)raw_info[t.type].bits / 8, &at) || !lm_add_u64(at, t.size, &end) ||
	    end > s->size)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: needs %llu bytes from value %lld on of a storage that has %llu",
		               name, ull(t.size), (long long)first->i, ull(s->size));
	t.off = s->off + at;
	t.data = r->data + t.off;
	return raw_add(r->h, &t, err);
}

/* ---- the state dict ------------------------------------------------------------------------------------- */
/* A dict's pairs: for (i = 0, cell = first; i < n; i += 2, ...) */
static const struct pk_node *next(const struct reader *r, uint32_t *cell)
{
	const struct pk_cell *c = &r->p.cell[*cell];
	*cell = c->next;
	return &r->p.node[c->node];
}

static bool holds_tensors(const struct reader *r, const struct pk_node *dict)
{
	uint32_t cell = dict->list.first;
	for (uint32_t i = 0; i < dict->n; i += 2) {
		next(r, &cell);
		if (next(r, &cell)->kind == PK_TENSOR) return true;
	}
	return false;
}

static bool key_is(const struct pk_node *key, const char *word)
{
	return key->kind == PK_STR && key->n == strlen(word) && !memcmp(key->p, word, key->n);
}

/* The dict of the tensors: this one, the one under a name that people use, or the only one that holds any. */
static const struct pk_node *state_dict(const struct reader *r, const struct pk_node *root)
{
	static const char *const names[] = { "state_dict", "model_state_dict", "model", "module" };
	const struct pk_node *only = NULL;
	for (int depth = 0; depth < 4; depth++) {
		const struct pk_node *found = NULL, *named = NULL;
		size_t best = sizeof names / sizeof *names;
		int n = 0;
		if (root->kind != PK_DICT || root->n == 0 || holds_tensors(r, root)) break;
		uint32_t cell = root->list.first;
		for (uint32_t i = 0; i < root->n; i += 2) {
			const struct pk_node *key = next(r, &cell), *v = next(r, &cell);
			if (v->kind != PK_DICT) continue;
			for (size_t k = 0; k < best; k++)
				if (key_is(key, names[k])) named = v, best = k;
			found = v;
			n++;
		}
		only = named ? named : n == 1 ? found : NULL;
		if (!only) return NULL;
		root = only;
	}
	return root->kind == PK_DICT && root->n && holds_tensors(r, root) ? root : NULL;
}

static int read_state(struct reader *r, uint32_t root, struct lm_err *err)
{
	const struct pk_node *dict = state_dict(r, &r->p.node[root]);
	if (!dict) return lm_fail(err, LM_EUNSUPPORTED, "its pickle holds no state dict: a dict from names to tensors");
	uint32_t cell = dict->list.first;
	int rc = 0;
	for (uint32_t i = 0; !rc && i < dict->n; i += 2) {
		const struct pk_node *key = next(r, &cell), *v = next(r, &cell);
		if (v->kind != PK_TENSOR) continue;
		if (key->kind != PK_STR || key->n == 0 || key->n > MAX_NAME || memchr(key->p, 0, key->n))
			return lm_fail(err, LM_EFORMAT, "tensor number %u has no name of 1 to %d bytes", i / 2 + 1, MAX_NAME);
		/* told here, for a name of the memo costs two bytes and its copy up to a thousand */
		if (key->seen)
			return lm_fail(err, LM_EFORMAT, "tensor %.*s: occurs twice", key->n > 100 ? 100 : (int)key->n,
			               (const char *)key->p);
		r->p.node[key - r->p.node].seen = true;
		const char *name = lm_arena_str(r->h->f->arena, (const char *)key->p, key->n);
		rc = name ? read_tensor(r, v, name, err) : no_memory(err);
	}
	return rc;
}

/* ---- zip ------------------------------------------------------------------------------------------------ */
static uint64_t get(const uint8_t *p, int bytes)
{
	uint64_t v = 0;
	for (int i = bytes; i-- > 0;) v = v << 8 | p[i];
	return v;
}

struct zip { uint64_t at, size, n; const uint8_t *pickle; size_t pickle_size; };

enum { END = 22, END64 = 56, LOCATOR = 20, CENTRAL = 46, LOCAL = 30 };

/* The end record, which a comment of up to 64 KiB may follow, says where the table of entries is. */
static int find_table(const struct reader *r, struct zip *z, struct lm_err *err)
{
	const uint8_t *p = r->data;
	uint64_t n = r->size, at;
	if (n < END) return lm_fail(err, LM_EFORMAT, "has %llu bytes, too few for a zip archive", ull(n));
	uint64_t low = n - END > 65535 ? n - END - 65535 : 0;
	for (at = n - END; memcmp(p + at, "PK\5\6", 4); at--)
		if (at == low) return lm_fail(err, LM_EFORMAT, "is a zip archive without its end (is it cut off?)");
	z->n = get(p + at + 10, 2);
	z->size = get(p + at + 12, 4);
	z->at = get(p + at + 16, 4);
	if (at >= LOCATOR && !memcmp(p + at - LOCATOR, "PK\6\7", 4)) {
		uint64_t end = get(p + at - LOCATOR + 8, 8);
		if (n < END64 || end > n - END64 || memcmp(p + end, "PK\6\6", 4))
			return lm_fail(err, LM_EFORMAT, "is a zip archive whose 64-bit end is not where it should be");
		z->n = get(p + end + 32, 8);
		z->size = get(p + end + 40, 8);
		z->at = get(p + end + 48, 8);
	}
	if (z->at > n || z->size > n - z->at || z->n > z->size / CENTRAL)
		return lm_fail(err, LM_EFORMAT, "is a zip archive whose table of %llu entries goes past its end", ull(z->n));
	return 0;
}

/* 64-bit values stand in an extra field, in this order, for those that are all ones in the record. */
static bool wide(const uint8_t *extra, size_t n, uint64_t *v[3])
{
	bool any = *v[0] == UINT32_MAX || *v[1] == UINT32_MAX || *v[2] == UINT32_MAX;
	while (any && n >= 4) {
		size_t id = get(extra, 2), len = get(extra + 2, 2);
		if (len > n - 4) return false;
		if (id != 1) {
			extra += 4 + len;
			n -= 4 + len;
			continue;
		}
		const uint8_t *p = extra + 4;
		for (int i = 0; i < 3; i++) {
			if (*v[i] != UINT32_MAX) continue;
			if (len < 8) return false;
			*v[i] = le64(p);
			p += 8, len -= 8;
		}
		return true;
	}
	return true;                                       /* a size of 4 GiB - 1, exactly */
}

static bool tail_of(const uint8_t *name, size_t n, const char *tail)
{
	size_t k = strlen(tail);
	return n >= k && !memcmp(name + n - k, tail, k);
}

/* An entry that matters: NAME/data.pkl, NAME/data/KEY, NAME/byteorder. */
static int take_entry(struct reader *r, struct zip *z, const uint8_t *name, size_t n, uint64_t at, uint64_t size,
                      struct lm_err *err)
{
	const uint8_t *slash = memchr(name, '/', n), *p = r->data;
	if (!slash) return 0;
	const uint8_t *rest = slash + 1;
	size_t k = n - (size_t)(rest - name);
	bool pickle = k == 8 && tail_of(rest, k, "data.pkl"), order = k == 9 && tail_of(rest, k, "byteorder");
	bool store = k > 5 && !memcmp(rest, "data/", 5);
	if (!pickle && !order && !store) return 0;
	if (r->size < LOCAL || at > r->size - LOCAL || memcmp(p + at, "PK\3\4", 4))
		return lm_fail(err, LM_EFORMAT, "zip entry %.*s: is not where the table has it", (int)n, (const char *)name);
	at += LOCAL + get(p + at + 26, 2) + get(p + at + 28, 2);
	if (at > r->size || size > r->size - at)
		return lm_fail(err, LM_EFORMAT, "zip entry %.*s: goes past the end of the file", (int)n, (const char *)name);
	if (order && !(size == 6 && !memcmp(p + at, "little", 6)))
		return lm_fail(err, LM_EUNSUPPORTED, "has values that are not little-endian");
	if (pickle && z->pickle) return lm_fail(err, LM_EFORMAT, "zip entry %.*s: occurs twice", (int)n, (const char *)name);
	if (pickle) z->pickle = p + at, z->pickle_size = (size_t)size;
	return store ? add_store(r, (struct store){ rest + 5, k - 5, at, size }, err) : 0;
}

static int read_entry(struct reader *r, struct zip *z, struct lm_cursor *c, struct lm_err *err)
{
	const uint8_t *e = lm_read_bytes(c, CENTRAL);
	if (!e || memcmp(e, "PK\1\2", 4)) return lm_fail(err, LM_EFORMAT, "is a zip archive with a broken table of entries");
	size_t n = get(e + 28, 2), n_extra = get(e + 30, 2), n_comment = get(e + 32, 2);
	uint64_t size = get(e + 24, 4), packed = get(e + 20, 4), at = get(e + 42, 4);
	const uint8_t *name = lm_read_bytes(c, n), *extra = lm_read_bytes(c, n_extra);
	lm_read_bytes(c, n_comment);
	if (c->bad || !wide(extra, n_extra, (uint64_t *[]){ &size, &packed, &at }))
		return lm_fail(err, LM_EFORMAT, "is a zip archive with a broken table of entries");
	if (n > 255) return lm_fail(err, LM_EFORMAT, "is a zip archive with an entry whose name has %zu bytes", n);
	if (get(e + 10, 2) || size != packed)
		return lm_fail(err, LM_EUNSUPPORTED, "zip entry %.*s: is compressed, PyTorch stores them plain", (int)n,
		               (const char *)name);
	return take_entry(r, z, name, n, at, size, err);
}

static int read_zip(struct reader *r, struct lm_err *err)
{
	struct zip z = { 0 };
	size_t used;
	uint32_t root;
	int rc = find_table(r, &z, err);
	if (rc) return rc;
	struct lm_cursor c = { r->data + z.at, r->data + z.at + z.size, false };
	for (uint64_t i = 0; !rc && i < z.n; i++) rc = read_entry(r, &z, &c, err);
	if (!rc && !z.pickle)
		rc = lm_fail(err, LM_EFORMAT, "is a zip archive without data.pkl, not a PyTorch checkpoint");
	if (!rc) rc = sort_stores(r, err);
	if (!rc) rc = pickle_run(&r->p, z.pickle, z.pickle_size, &used, &root, err);
	return rc ? rc : read_state(r, root, err);
}

/* ---- before 1.6 ----------------------------------------------------------------------------------------- */
/* Pickled: a magic number, a version, facts about the system, the object, the keys of its storages; then for each of
 * those its count and its values. */
static const uint8_t magic[] = { 0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.' };

/* What a storage's values take, which only the tensors tell. */
struct width { const uint8_t *key; size_t n; unsigned bytes; };

static int width_by_key(const void *a, const void *b)
{
	const struct width *x = a, *y = b;
	return by_key(&(struct store){ .key = x->key, .n = x->n }, &(struct store){ .key = y->key, .n = y->n });
}

/* All storages that the pickle names, sorted. */
static int find_widths(const struct reader *r, struct width **out, int *n, struct lm_err *err)
{
	uint32_t all = 0;
	*n = 0;
	for (uint32_t i = 0; i < r->p.n_nodes; i++) all += r->p.node[i].kind == PK_STORAGE;
	struct width *w = lm_calloc((size_t)all + 1, sizeof *w);
	if (!w) return no_memory(err);
	for (uint32_t i = 0; i < r->p.n_nodes; i++) {
		const struct pk_node *v = &r->p.node[i], *args = &r->p.node[v->n];
		if (v->kind != PK_STORAGE) continue;
		const struct pk_node *cls = item(r, args, 1, PK_GLOBAL), *key = item(r, args, 2, PK_STR);
		if (cls && key) w[(*n)++] = (struct width){ key->p, key->n, (unsigned)raw_info[pk_global[cls->sub].type].bits / 8 };
	}
	qsort(w, (size_t)*n, sizeof *w, width_by_key);
	*out = w;
	return 0;
}

static int read_stores(struct reader *r, uint64_t at, const struct pk_node *keys, struct lm_err *err)
{
	struct width *w = NULL;
	int n, rc = find_widths(r, &w, &n, err);
	uint32_t cell = keys->n ? keys->list.first : 0;
	for (uint32_t i = 0; !rc && i < keys->n; i++) {
		const struct pk_node *key = next(r, &cell);
		struct width want = { key->kind == PK_STR ? key->p : NULL, key->n, 0 }, *found = NULL;
		if (want.key) found = bsearch(&want, w, (size_t)n, sizeof *w, width_by_key);
		uint64_t bytes, count;
		if (!found) rc = lm_fail(err, LM_EFORMAT, "storage number %u: no tensor has its key", i + 1);
		else if (r->size - at < 8) rc = lm_fail(err, LM_EFORMAT, "ends before storage number %u", i + 1);
		if (rc) break;
		count = le64(r->data + at);
		at += 8;
		if (!lm_mul_u64(count, found->bytes, &bytes) || bytes > r->size - at)
			rc = lm_fail(err, LM_EFORMAT, "storage number %u: %llu values go past the end of the file", i + 1, ull(count));
		else rc = add_store(r, (struct store){ key->p, key->n, at, bytes }, err);
		at += rc ? 0 : bytes;
	}
	lm_free(w);
	return rc ? rc : sort_stores(r, err);
}

static int read_legacy(struct reader *r, struct lm_err *err)
{
	uint64_t at = sizeof magic;
	size_t used;
	uint32_t root = 0, v[4] = { 0 };                   /* version, system, object, keys */
	for (int i = 0; i < 4; i++) {
		int rc = pickle_run(&r->p, r->data + at, (size_t)(r->size - at), &used, &v[i], err);
		if (rc) return rc;
		at += used;
	}
	root = v[2];
	const struct pk_node *version = &r->p.node[v[0]], *system = &r->p.node[v[1]], *keys = &r->p.node[v[3]];
	if (version->kind != PK_INT || version->i != 1001 || system->kind != PK_DICT || keys->kind != PK_LIST)
		return lm_fail(err, LM_EUNSUPPORTED, "is not a PyTorch checkpoint of protocol 1001");
	uint32_t cell = system->n ? system->list.first : 0;
	for (uint32_t i = 0; i < system->n; i += 2) {
		const struct pk_node *key = next(r, &cell), *is = next(r, &cell);
		if (key_is(key, "little_endian") && !(is->kind == PK_BOOL && is->i))
			return lm_fail(err, LM_EUNSUPPORTED, "has values that are not little-endian");
	}
	int rc = read_stores(r, at, keys, err);
	return rc ? rc : read_state(r, root, err);
}

int torch_read(struct hf *h, int part, const uint8_t *data, size_t size, struct lm_err *err)
{
	struct reader r = { .h = h, .part = part, .data = data, .size = size };
	int rc;
	if (size >= 4 && !memcmp(data, "PK\3\4", 4)) rc = read_zip(&r, err);
	else if (size >= sizeof magic && !memcmp(data, magic, sizeof magic)) rc = read_legacy(&r, err);
	else if (size && data[0] == 0x80)
		rc = lm_fail(err, LM_EUNSUPPORTED, "is a pickle, but not one that torch.save wrote");
	else rc = lm_fail(err, LM_EFORMAT, "is not a PyTorch checkpoint: it is neither a zip archive nor a pickle");
	pickle_free(&r.p);
	lm_free(r.store);
	return rc;
}
