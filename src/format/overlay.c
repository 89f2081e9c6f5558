/* overlay.c - see overlay.h.
 * GOTCHAS
 *   tied     without output.weight the head is token_embd.weight: a change of one of the two alone unties them
 *   DoRA     a row of W + s B A is brought to the length that the adapter has for it; s and the weight come first */
#include "format/overlay.h"
#include "format/derive.h"
#include "format/view.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct factor { const struct low_rank *r; float scale; struct factor *next; };
struct merge { struct derived d; int64_t cols; const struct tensor *size; struct factor *first, **last; };
struct overlay {
	struct file *f;
	const struct file *base;
	struct merge **merge;        /* [f->n_tensors], in the arena: what is added to each */
	struct lm_err *err;
};

static int no_memory(const struct overlay *o) { return lm_fail(o->err, LM_ENOMEM, "%.300s: out of memory", o->f->path); }

/* ---- making rows -------------------------------------------------------------------------------------------- */
/* Rows [row, row+n) of t in f32, to be freed. */
static int floats(const struct tensor *t, int64_t row, int64_t n, float **out, struct lm_err *err)
{
	int64_t cols = t->dim[t->n_dims - 1], bytes = quant_row_bytes(t->type, cols);
	size_t all, raw_size;
	char *raw = NULL;
	int rc = 0;

	*out = NULL;
	if (bytes < 0 || !lm_mul_size((size_t)n, (size_t)cols, &all) || !lm_mul_size(all, sizeof **out, &all) ||
	    !lm_mul_size((size_t)n, (size_t)bytes, &raw_size))
		return lm_fail(err, LM_ELIMIT, "%s: too large", t->name);
	raw = lm_malloc(raw_size);
	*out = lm_malloc(all);
	if (!raw || !*out) rc = lm_fail(err, LM_ENOMEM, "out of memory for %s", t->name);
	if (!rc) rc = tensor_rows(t, row, n, raw, err);
	for (int64_t i = 0; !rc && i < n; i++) quant_info(t->type)->decode(*out + i * cols, raw + i * bytes, cols);
	lm_free(raw);
	if (rc) {
		lm_free(*out);
		*out = NULL;
	}
	return rc;
}

/* dst[n][cols] += scale * left right, left being n rows of one factor. */
static int add_factor(const struct factor *f, int64_t row, int64_t n, int64_t cols, float *dst, struct lm_err *err)
{
	const struct low_rank *r = f->r;
	const struct tensor *tl = r->embed ? &r->a : &r->b, *tr = r->embed ? &r->b : &r->a;
	int64_t rank = r->b.dim[1], step = r->embed ? 1 : cols, next = r->embed ? rank : 1;
	float *left, *right = NULL;
	double *sum = lm_malloc((size_t)cols * sizeof *sum);
	int rc = sum ? floats(tl, row, n, &left, err) : lm_fail(err, LM_ENOMEM, "out of memory for %s", tl->name);

	if (rc) {
		lm_free(sum);
		return rc;
	}
	rc = floats(tr, 0, tr->dim[0], &right, err);
	for (int64_t i = 0; !rc && i < n; i++) {
		for (int64_t c = 0; c < cols; c++) sum[c] = 0;
		for (int64_t k = 0; k < rank; k++) {
			double l = left[i * rank + k];
			const float *p = right + k * step;
			for (int64_t c = 0; c < cols; c++) sum[c] += l * (double)p[c * next];
		}
		for (int64_t c = 0; c < cols; c++) dst[i * cols + c] = (float)((double)dst[i * cols + c] + (double)f->scale * sum[c]);
	}
	lm_free(sum);
	lm_free(left);
	lm_free(right);
	return rc;
}

static void to_length(float *row, int64_t n, float length)
{
	double sq = 0;
	for (int64_t i = 0; i < n; i++) sq += (double)row[i] * (double)row[i];
	for (int64_t i = 0; i < n; i++) row[i] = (float)((double)row[i] * (double)length / sqrt(sq));
}

static int make_merged(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct merge *m = (const struct merge *)d;
	float *w = NULL, *size = NULL;
	int rc = floats(d->from, row, n, &w, err);

	for (const struct factor *f = m->first; !rc && f; f = f->next) rc = add_factor(f, row, n, m->cols, w, err);
	if (!rc && m->size) rc = floats(m->size, row, n, &size, err);
	for (int64_t i = 0; !rc && size && i < n; i++) to_length(w + i * m->cols, m->cols, size[i]);
	if (!rc) memcpy(dst, w, (size_t)(n * m->cols) * sizeof *w);
	lm_free(w);
	lm_free(size);
	return rc;
}

/* ---- the view ------------------------------------------------------------------------------------------------- */
static int start(struct overlay *o)
{
	const struct file *b = o->base;
	struct file *f = o->f = file_new(b->path, o->err);
	int n = b->n_tensors + 1;

	if (!f) return LM_ENOMEM;
	f->key = lm_calloc((size_t)b->n_keys, sizeof *f->key);
	f->tensor = lm_calloc((size_t)n, sizeof *f->tensor);
	f->at = lm_calloc((size_t)n, sizeof *f->at);
	o->merge = lm_new(f->arena, struct merge *, n);
	if (!f->key || !f->tensor || !f->at || !o->merge) return no_memory(o);
	if (b->n_keys) memcpy(f->key, b->key, (size_t)b->n_keys * sizeof *f->key);
	if (b->n_tensors) memcpy(f->tensor, b->tensor, (size_t)b->n_tensors * sizeof *f->tensor);
	f->n_keys = b->n_keys;
	f->n_tensors = b->n_tensors;
	f->folder = b->folder;
	f->bytes = b->bytes;
	f->version = b->version;
	f->alignment = b->alignment;
	return 0;
}

/* Where output.weight is; a tied head gets its own copy of what token_embd.weight is now.  -1: neither is there. */
static int64_t head(struct overlay *o)
{
	int64_t i = index_find(o->base, &o->base->tensors, "output.weight"), e;

	if (i >= 0) return i;
	if (o->f->n_tensors > o->base->n_tensors) return o->base->n_tensors;
	if ((e = index_find(o->base, &o->base->tensors, "token_embd.weight")) < 0) return -1;
	o->f->tensor[o->f->n_tensors] = o->f->tensor[e];
	o->f->tensor[o->f->n_tensors].name = "output.weight";
	return o->f->n_tensors++;
}

static int64_t place(struct overlay *o, const char *name)
{
	return strcmp(name, "output.weight") ? index_find(o->base, &o->base->tensors, name) : head(o);
}

static const char *shape(const struct tensor *t, char *buf, size_t n)
{
	size_t at = 0;
	for (int i = 0; i < t->n_dims && at < n; i++) at += (size_t)snprintf(buf + at, n - at, "%s%lld", i ? "x" : "", (long long)t->dim[i]);
	return buf;
}

/* t takes the place of the tensor of its name; only what has a row a token may change its rows. */
static int put_full(struct overlay *o, const struct adapter *a, const struct tensor *t)
{
	bool vocab = !strcmp(t->name, "token_embd.weight") || !strncmp(t->name, "output.", 7), fits = true;
	char is[96], want[96];
	int64_t i;

	if (a->untie && !strcmp(t->name, "token_embd.weight")) {
		const struct tensor *e = file_tensor(o->base, t->name);
		if (e && e->dim[0] == t->dim[0]) head(o);
	}
	if ((i = place(o, t->name)) < 0)
		return lm_fail(o->err, LM_EFORMAT, "%.200s: the base has no %s: an adapter for another model?", a->path, t->name);
	struct tensor *old = &o->f->tensor[i];
	for (int d = 0; d < 4; d++) fits &= t->dim[d] == old->dim[d] || (vocab && d == 0);
	if (!fits || t->n_dims != old->n_dims)
		return lm_fail(o->err, LM_EFORMAT, "%.200s: %s: %s, the base's is %s: an adapter for another model?", a->path, t->name,
		               shape(t, is, sizeof is), shape(old, want, sizeof want));
	const char *name = old->name;
	*old = *t;
	old->name = name;
	return 0;
}

static int put_low(struct overlay *o, const struct adapter *a, const struct low_rank *r, float weight)
{
	char is[96];
	int64_t i;

	if (r->embed) head(o);
	if ((i = place(o, r->name)) < 0)
		return lm_fail(o->err, LM_EFORMAT, "%.200s: the base has no %s: an adapter for another model?", a->path, r->name);
	struct tensor *t = &o->f->tensor[i];
	const struct tensor *left = r->embed ? &r->a : &r->b;
	int64_t right = r->embed ? r->b.dim[0] : r->a.dim[1], rank = r->b.dim[1];
	struct merge *m = o->merge[i];
	if (t->n_dims != 2 || left->dim[0] != t->dim[0] || right != t->dim[1] || (r->embed ? r->a.dim[1] : r->a.dim[0]) != rank)
		return lm_fail(o->err, LM_EFORMAT, "%.200s: %s: %lldx%lld, the base's %s is %s: an adapter for another model?", a->path,
		               r->a.name, (long long)left->dim[0], (long long)right, r->name, shape(t, is, sizeof is));
	if (r->size && (r->size->dim[0] != t->dim[0] || (m && m->first)))
		return lm_fail(o->err, LM_EUNSUPPORTED, "%.200s: %s: lora_magnitude_vector fits only one adapter of that many rows",
		               a->path, r->a.name);
	if (m && m->size)
		return lm_fail(o->err, LM_EUNSUPPORTED, "%.200s: %s: another adapter has a lora_magnitude_vector for it", a->path, r->a.name);
	struct factor *f = lm_new(o->f->arena, struct factor, 1);
	struct tensor *from = m ? NULL : lm_new(o->f->arena, struct tensor, 1);
	if (!f || (!m && (!from || !(m = lm_new(o->f->arena, struct merge, 1))))) return no_memory(o);
	*f = (struct factor){ r, weight * r->scale, NULL };
	if (from) {
		*from = *t;
		*m = (struct merge){ { make_merged, from }, t->dim[1], r->size, NULL, &m->first };
		o->merge[i] = m;
		t->type = DT_F32;
		t->data = NULL;
		t->how = &m->d;
		t->size = (uint64_t)t->dim[0] * (uint64_t)t->dim[1] * sizeof(float);     /* checked: its bytes were, times at most 32 */
	}
	*m->last = f;
	m->last = &f->next;
	return 0;
}

/* The key vocab_size, where there is one, says what the embedding says. */
static int fix_vocab(struct overlay *o)
{
	const struct tensor *e = file_tensor(o->base, "token_embd.weight");
	int64_t i = e ? index_find(o->base, &o->base->tensors, "token_embd.weight") : -1;

	if (i < 0 || o->f->tensor[i].dim[0] == e->dim[0]) return 0;
	for (int k = 0; k < o->f->n_keys; k++) {
		struct key *key = &o->f->key[k];
		size_t n = strlen(key->name);
		if (n < 12 || strcmp(key->name + n - 11, ".vocab_size") || key->type != FT_U32) continue;
		uint32_t v = (uint32_t)o->f->tensor[i].dim[0];
		uint8_t *p = lm_alloc(o->f->arena, 1, sizeof v, 8);
		if (!p) return no_memory(o);
		memcpy(p, &v, sizeof v);
		key->p = p;
	}
	return 0;
}

static int build(struct overlay *o, struct file **out, const struct adapter *const *a, const float *weight, int n, bool all)
{
	int rc = start(o);

	for (int i = 0; !rc && i < n; i++)
		for (int k = 0; !rc && k < a[i]->n_full; k++) rc = put_full(o, a[i], &a[i]->full[k]);
	for (int i = 0; !rc && i < n; i++)
		for (int k = 0; !rc && k < a[i]->n_low; k++)
			if (all || a[i]->low[k].size) rc = put_low(o, a[i], &a[i]->low[k], weight[i]);
	if (!rc) rc = fix_vocab(o);
	if (rc) {
		file_close(o->f);
		return rc;
	}
	return file_finish(out, o->f, 0, o->err);
}

static int only_one(const struct adapter *const *a, int n, int *found, struct lm_err *err)
{
	*found = -1;
	for (int i = 0; i < n; i++) {
		if (!a[i]->merged) continue;
		if (*found >= 0)
			return lm_fail(err, LM_EUNSUPPORTED, "%.200s and %.200s both replace weights of the base: only one such adapter is "
			               "possible at a time", a[*found]->path, a[i]->path);
		*found = i;
	}
	return 0;
}

int overlay_full(struct file **out, const struct file *base, const struct adapter *const *a, const float *weight, int n,
                 struct lm_err *err)
{
	struct overlay o = { .base = base, .err = err };
	int one, rc = only_one(a, n, &one, err);

	*out = NULL;
	return rc || one < 0 ? rc : build(&o, out, &a[one], &weight[one], 1, false);
}

int overlay_merge(struct file **out, const struct file *base, const struct adapter *const *a, const float *weight, int n,
                  struct lm_err *err)
{
	struct overlay o = { .base = base, .err = err };
	int one, rc = only_one(a, n, &one, err);

	*out = NULL;
	return rc ? rc : build(&o, out, a, weight, n, true);
}
