/* safetensors.c - 8 bytes of length, a JSON header, the tensors' bytes.
 * The header is one object: name -> {"dtype", "shape", "data_offsets": [begin, end]}, and "__metadata__" with strings.
 * Offsets count from behind the header; sorted, the tensors must fill the rest of the file without gap or overlap, as the
 * reference has it: a file cannot hide bytes, and no tensor aliases another. */
#include "base/scan.h"
#include "format/hf.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 100000000, MAX_NAME = 1024 };       /* the first is the reference's */

static unsigned long long ull(uint64_t v) { return v; }

struct reader {
	struct hf *h;
	struct lm_scan s;
	struct lm_buf b;                                   /* a string, escapes read */
	const char *name;                                  /* of the tensor being read */
	int part;
	const uint8_t *data;                               /* behind the header */
	uint64_t size, head;
};

static int no_memory(const struct reader *r, struct lm_err *err)
{
	return lm_fail(err, LM_ENOMEM, "tensor %.100s: out of memory", r->name);
}

static int read_name(struct reader *r, struct lm_scan_str key, struct lm_err *err)
{
	r->name = "(the next)";
	r->b.n = 0;
	lm_scan_unescape(key, &r->b);
	if (r->b.bad) return no_memory(r, err);
	if (r->b.n == 0 || r->b.n > MAX_NAME)
		return lm_fail(err, LM_EFORMAT, "a tensor's name has %zu bytes, expected 1 to %d", r->b.n, MAX_NAME);
	if (memchr(r->b.p, 0, r->b.n)) return lm_fail(err, LM_EFORMAT, "a tensor's name has a NUL byte");
	const char *name = lm_arena_str(r->h->f->arena, r->b.p, r->b.n);
	if (!name) return no_memory(r, err);
	r->name = name;
	return 0;
}

static int read_dtype(struct reader *r, struct raw *t, struct lm_err *err)
{
	struct lm_scan_str v;
	if (!lm_scan_str(&r->s, &v)) return 0;             /* the scanner's own sentence */
	for (int i = 0; i < RAW_COUNT; i++)
		if (lm_scan_is(v, raw_info[i].name)) {
			t->type = (enum raw_type)i;
			return 0;
		}
	return lm_fail(err, LM_EUNSUPPORTED, "tensor %.100s: dtype \"%.*s\" is none we know", r->name,
	               v.n > 40 ? 40 : (int)v.n, v.s);
}

/* A list of whole numbers of 0 or more, `max` at most; -1 and a sentence otherwise. */
static int read_list(struct reader *r, int64_t *v, int max, const char *what, struct lm_err *err)
{
	int n = 0;
	if (!lm_scan_array(&r->s)) return 0;
	while (lm_scan_item(&r->s)) {
		int64_t x;
		if (!lm_scan_int(&r->s, &x)) return 0;
		if (x < 0 || x == INT64_MAX)
			return lm_fail(err, LM_EFORMAT, "tensor %.100s: its %s holds a number outside 0 to 2^63-2", r->name,
			               what);
		if (n == max)
			return lm_fail(err, LM_EFORMAT, "tensor %.100s: its %s has more than %d numbers", r->name, what, max);
		v[n++] = x;
	}
	return n;
}

static int read_fields(struct reader *r, struct raw *t, int64_t off[2], struct lm_err *err)
{
	static const char *const fields[] = { "dtype", "shape", "data_offsets" };
	struct lm_scan_str key;
	unsigned seen = 0;
	int n = 0;
	if (!lm_scan_object(&r->s)) return 0;
	while (lm_scan_key(&r->s, &key)) {
		unsigned i = 0;
		while (i < 3 && !lm_scan_is(key, fields[i])) i++;
		if (i == 3) {
			lm_scan_skip(&r->s);
			continue;
		}
		if (seen & 1u << i)
			return lm_fail(err, LM_EFORMAT, "tensor %.100s: has its \"%s\" twice", r->name, fields[i]);
		seen |= 1u << i;
		n = i == 0 ? read_dtype(r, t, err) : i == 1 ? read_list(r, t->dim, RAW_DIMS, "shape", err)
		                                            : read_list(r, off, 2, "data_offsets", err);
		if (n < 0) return n;
		if (i == 1) t->n_dims = n;
		if (i == 2 && n != 2 && !r->s.bad)
			return lm_fail(err, LM_EFORMAT, "tensor %.100s: its data_offsets has %d numbers, expected 2", r->name, n);
	}
	for (unsigned i = 0; i < 3 && !r->s.bad; i++)
		if (!(seen & 1u << i)) return lm_fail(err, LM_EFORMAT, "tensor %.100s: has no \"%s\"", r->name, fields[i]);
	return 0;
}

static int read_tensor(struct reader *r, struct lm_scan_str key, struct lm_err *err)
{
	struct raw t = { .part = r->part };
	int64_t off[2] = { 0, 0 };
	int rc = read_name(r, key, err);
	if (!rc) rc = read_fields(r, &t, off, err);
	if (rc || r->s.bad) return rc;
	t.name = r->name;
	uint64_t begin = (uint64_t)off[0], end = (uint64_t)off[1];
	if (!raw_size(&t))
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: its shape is too large for any file, or no whole bytes of %s",
		               t.name, raw_info[t.type].name);
	if (begin > end || end > r->size)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: lies at %llu to %llu, but the file has %llu bytes of data "
		               "(is it cut off?)", t.name, ull(begin), ull(end), ull(r->size));
	if (end - begin != t.size)
		return lm_fail(err, LM_EFORMAT, "tensor %.100s: has %llu bytes, but its shape in %s needs %llu", t.name,
		               ull(end - begin), raw_info[t.type].name, ull(t.size));
	t.data = r->data + begin;
	t.off = r->head + begin;
	return raw_add(r->h, &t, err);
}

/* ---- the whole ------------------------------------------------------------------------------------------ */
static int by_offset(const void *a, const void *b)
{
	const struct raw *x = *(const struct raw *const *)a, *y = *(const struct raw *const *)b;
	if (x->off != y->off) return x->off < y->off ? -1 : 1;
	return x->size < y->size ? -1 : x->size > y->size;
}

static int check_tiling(const struct reader *r, int first, struct lm_err *err)
{
	int n = r->h->n_raw - first, rc = 0;
	uint64_t at = r->head, end = r->head + r->size;
	const struct raw **v = lm_calloc((size_t)n + 1, sizeof *v), *t = NULL;
	if (!v) return lm_fail(err, LM_ENOMEM, "out of memory for %d tensors", n);
	for (int i = 0; i < n; i++) v[i] = &r->h->raw[first + i];
	qsort(v, (size_t)n, sizeof *v, by_offset);
	for (int i = 0; !rc && i < n; i++) {
		t = v[i];
		if (t->off < at && i)
			rc = lm_fail(err, LM_EFORMAT, "tensor %.100s: overlaps tensor %.100s", t->name, v[i - 1]->name);
		else if (t->off != at)
			rc = lm_fail(err, LM_EFORMAT, "tensor %.100s: %llu bytes before it belong to no tensor", t->name,
			             ull(t->off - at));
		at = t->off + t->size;
	}
	if (!rc && at != end)
		rc = lm_fail(err, LM_EFORMAT, "the last %llu bytes belong to no tensor", ull(end - at));
	lm_free(v);
	return rc;
}

static int read_header(struct reader *r, struct lm_err *err)
{
	struct lm_scan_str key;
	bool metadata = false;
	int rc = 0;
	if (lm_scan_object(&r->s))
		while (!rc && lm_scan_key(&r->s, &key)) {
			if (!lm_scan_is(key, "__metadata__")) {
				rc = read_tensor(r, key, err);
				continue;
			}
			if (metadata) return lm_fail(err, LM_EFORMAT, "its header has \"__metadata__\" twice");
			metadata = true;
			lm_scan_skip(&r->s);
		}
	if (!rc && (rc = lm_scan_end(&r->s, err))) lm_context(err, "its header, ");
	return rc;
}

int safetensors_read(struct hf *h, int part, const uint8_t *data, size_t size, struct lm_err *err)
{
	struct reader r = { .h = h, .part = part };
	int first = h->n_raw;
	if (size < 8)
		return lm_fail(err, LM_EFORMAT, "has %zu bytes, too few for a safetensors file", size);
	uint64_t n = le64(data);
	if (n > size - 8)
		return lm_fail(err, LM_EFORMAT, "claims a header of %llu bytes, but %zu are left (not a safetensors file, or "
		               "cut off?)", ull(n), size - 8);
	if (n > MAX_HEADER)
		return lm_fail(err, LM_ELIMIT, "has a header of %llu bytes, more than the limit of %d", ull(n), MAX_HEADER);
	if (n < 2 || data[8] != '{') return lm_fail(err, LM_EFORMAT, "its header does not begin with '{'");
	r.s = lm_scan_begin((const char *)data + 8, (size_t)n);
	r.head = 8 + n;
	r.data = data + r.head;
	r.size = size - r.head;
	int rc = read_header(&r, err);
	lm_buf_free(&r.b);
	return rc ? rc : check_tiling(&r, first, err);
}
