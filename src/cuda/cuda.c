/* cuda.c - the host side of the CUDA backend: memory, and shapes to launches.
 *
 * GOTCHAS
 *   - a mat's base is a device pointer: nothing here may read through it
 *   - imported weights are copies that the backend owns, as nobody frees what `import` gave
 *   - linear quantises x once for all weights of a type, into scratch that the next linear overwrites: that
 *     is safe because all launches of a device are in order */
#include "cuda/cuda.h"
#include "cuda/kernels.h"
#include "cuda/runtime.h"
#include <stdio.h>

enum { MIN_COMPUTE = 8 }; /* kernels.cu is compiled for sm_80 and later */

struct import {
	void *p;
	struct import *next;
};
struct cuda {
	struct backend b;
	int device;
	char name[16];     /* "cuda:0" */
	const char *fault; /* the first one; sticky until end() */
	struct import *imports;
	void *scratch; /* x as int8, see act_rows */
	size_t scratch_bytes;
};

static struct cuda *self(struct backend *b)
{
	return (struct cuda *)b;
}
static float *row_f32(struct mat m)
{
	return mat_row(m, 0);
}
static const float *vec(const struct mat *m)
{
	return m && m->base ? mat_row(*m, 0) : NULL;
}

static void keep_fault(struct backend *b, const char *why)
{
	if (!self(b)->fault) self(b)->fault = why;
}

/* ---- life and memory ---------------------------------------------------------------------------- */
static void cuda_close(struct backend *b)
{
	struct cuda *c = self(b);
	for (struct import *i = c->imports, *next; i; i = next) {
		next = i->next;
		gpu_free(i->p);
		lm_free(i);
	}
	gpu_free(c->scratch);
	lm_free(c);
}

static int new_memory(struct backend *b, void **p, size_t n, struct lm_err *err)
{
	const char *why = gpu_alloc(p, n);
	return why ? lm_fail(err, LM_ENOMEM, "%s: %zu bytes of device memory are not to be had: %s", b->name,
			     n, why)
		   : 0;
}

static int cuda_alloc(struct backend *b, struct mat *m, int32_t rows, int32_t cols, enum dtype t,
		      struct lm_err *err)
{
	int64_t row = quant_row_bytes(t, cols);
	size_t stride, all;
	void *p;
	int rc;

	if (rows < 1 || cols < 1 || row < 1 || !lm_add_size((size_t)row, 63, &stride))
		return lm_fail(err, LM_EINVAL, "a matrix of %d rows by %d columns cannot be made", (int)rows,
			       (int)cols);
	stride &= ~(size_t)63;
	if (!lm_mul_size(stride, (size_t)rows, &all))
		return lm_fail(err, LM_EINVAL, "a matrix of %d rows of %zu bytes is too large", (int)rows,
			       stride);
	if ((rc = new_memory(b, &p, all, err)) != 0) return rc;
	*m = (struct mat){ .base = p, .rows = rows, .cols = cols, .stride = (int64_t)stride, .type = t };
	return 0;
}

static void cuda_free(struct backend *b, struct mat *m)
{
	(void)b;
	gpu_free(m->base);
	*m = (struct mat){ 0 };
}

static int cuda_import(struct backend *b, struct mat *m, const void *host, struct lm_err *err)
{
	struct import *i;
	const char *why;
	size_t all;
	int rc;

	if (m->rows < 1 || m->stride < 1 || !lm_mul_size((size_t)m->rows, (size_t)m->stride, &all))
		return lm_fail(err, LM_EINVAL, "a matrix of %d rows of %lld bytes cannot be imported",
			       (int)m->rows, (long long)m->stride);
	i = lm_calloc(1, sizeof *i);
	if (!i) return lm_fail(err, LM_ENOMEM, "out of memory for an imported matrix");
	if ((rc = new_memory(b, &i->p, all, err)) != 0) {
		lm_free(i);
		return rc;
	}
	i->next = self(b)->imports;
	self(b)->imports = i;
	m->base = i->p;
	m->off = 0;
	why = gpu_write(i->p, all, host, all, all, 1);
	return why ? lm_fail(err, LM_EDEVICE, "%s: a matrix cannot be copied to the device: %s", b->name, why)
		   : 0;
}

static bool cuda_has(const struct backend *b, enum dtype t)
{
	(void)b;
	return t == DT_Q4_K || t == DT_Q8_0;
}

static void cuda_write(struct backend *b, const struct mat *dst, const void *src)
{
	size_t n = (size_t)quant_row_bytes(dst->type, dst->cols);
	const char *why = gpu_write(mat_row(*dst, 0), (size_t)dst->stride, src, n, n, (size_t)dst->rows);
	if (why) keep_fault(b, why);
}

static void cuda_read(struct backend *b, void *dst, const struct mat *src)
{
	size_t n = (size_t)quant_row_bytes(src->type, src->cols);
	const char *why = gpu_read(dst, n, mat_row(*src, 0), (size_t)src->stride, n, (size_t)src->rows);
	if (why) keep_fault(b, why);
}

static int cuda_begin(struct backend *b, uint64_t key, const struct seqs *s)
{
	(void)b, (void)key, (void)s;
	return 0;
}

static int cuda_end(struct backend *b, struct lm_err *err)
{
	const char *late = gpu_wait(), *why = self(b)->fault ? self(b)->fault : late;
	self(b)->fault = NULL;
	return why ? lm_fail(err, LM_EDEVICE, "%s: %s", b->name, why) : 0;
}

/* ---- operations --------------------------------------------------------------------------------- */
static void cuda_norm(struct backend *b, struct mat y, struct mat x, const struct mat *w,
		      const struct mat *bias, enum norm_kind k, float eps, int group)
{
	struct norm_args a = { .y = row_f32(y),
			       .x = row_f32(x),
			       .w = vec(w),
			       .bias = vec(bias),
			       .y_stride = y.stride,
			       .x_stride = x.stride,
			       .rows = x.rows,
			       .cols = x.cols,
			       .group = group ? group : x.cols,
			       .kind = (int)k,
			       .eps = eps };
	(void)b;
	if (a.w) a.n_w = w->cols;
	if (a.bias) a.n_bias = bias->cols;
	gpu_norm(&a);
}

static void cuda_add(struct backend *b, struct mat y, struct mat x, float scale)
{
	(void)b;
	gpu_add(row_f32(y), y.stride, row_f32(x), x.stride, y.rows, y.cols, scale);
}

/* Room for x as int8.  false: no memory, and the fault is kept. */
static bool act_room(struct backend *b, struct act_rows *a, struct mat x, int unit)
{
	struct cuda *c = self(b);
	size_t q = (size_t)x.rows * (size_t)x.cols, d = q / (size_t)unit * sizeof(float),
	       all = q + d + q / 32 * sizeof(int);
	const char *why;

	if (all > c->scratch_bytes) {
		gpu_free(c->scratch);
		c->scratch_bytes = 0;
		why = gpu_alloc(&c->scratch, all);
		if (why) {
			keep_fault(b, why);
			return false;
		}
		c->scratch_bytes = all;
	}
	a->q = c->scratch;
	a->d = (float *)(void *)((char *)c->scratch + q);
	a->sum = (int *)(void *)((char *)c->scratch + q + d);
	return true;
}

/* The weights of one type.  `has` and the block size were checked when the model was bound. */
static void linear_of(struct backend *b, const struct lin *l, int n, struct mat x, enum dtype t)
{
	int unit = quant_info(t)->dot == DOT_X32 ? 32 : 256;
	struct matvec_args a = { .rows = x.rows, .n = x.cols };
	bool ready = false;

	for (int i = 0; i < n; i++) {
		if (l[i].w->type != t) continue;
		if (!ready) {
			if (!act_room(b, &a.x, x, unit)) return;
			gpu_quantise(a.x, row_f32(x), x.stride, x.rows, x.cols, unit);
			ready = true;
		}
		a.y = row_f32(l[i].y);
		a.y_stride = l[i].y.stride;
		a.w = mat_row(*l[i].w, 0);
		a.w_stride = l[i].w->stride;
		a.w_rows = l[i].w->rows;
		a.bias = vec(l[i].bias);
		a.scale = l[i].scale;
		if (t == DT_Q8_0)
			gpu_matvec_q8_0(&a);
		else
			gpu_matvec_q4_k(&a);
	}
}

static void cuda_linear(struct backend *b, const struct lin *l, int n, struct mat x)
{
	linear_of(b, l, n, x, DT_Q8_0);
	linear_of(b, l, n, x, DT_Q4_K);
}

static const struct backend_ops cuda_ops = {
	.close = cuda_close,
	.alloc = cuda_alloc,
	.free = cuda_free,
	.import = cuda_import,
	.has = cuda_has,
	.write = cuda_write,
	.read = cuda_read,
	.begin = cuda_begin,
	.end = cuda_end,
	.norm = cuda_norm,
	.linear = cuda_linear,
	.add = cuda_add,
};

/* Names the operations that are not there yet; false when there are none. */
static bool missing(char *out, size_t n)
{
	const struct backend_ops *o = &cuda_ops;
	const struct {
		const char *name;
		bool there;
	} op[] = {
		{ "kv_bytes", o->kv_bytes != NULL }, { "embed", o->embed != NULL },
		{ "act", o->act != NULL },           { "softcap", o->softcap != NULL },
		{ "gather", o->gather != NULL },     { "rope", o->rope != NULL },
		{ "kv_put", o->kv_put != NULL },     { "attend", o->attend != NULL },
	};
	size_t at = 0;

	out[0] = 0;
	for (size_t i = 0; i < sizeof op / sizeof op[0] && at < n; i++)
		if (!op[i].there)
			at += (size_t)snprintf(out + at, n - at, "%s%s", at ? ", " : "", op[i].name);
	return at > 0;
}

int cuda_open(struct backend **out, int device, struct lm_err *err)
{
	struct gpu_info info;
	struct cuda *c;
	int n;
	const char *why = gpu_count(&n);

	*out = NULL;
	if (why || n == 0)
		return lm_fail(err, LM_EDEVICE, "cuda:%d: there is no CUDA device here (%s)", device,
			       why ? why : "none is visible");
	if (device < 0 || device >= n)
		return lm_fail(err, LM_EDEVICE, "cuda:%d: there is no such device, the last one is cuda:%d",
			       device, n - 1);
	if ((why = gpu_describe(device, &info)) != NULL || (why = gpu_select(device)) != NULL)
		return lm_fail(err, LM_EDEVICE, "cuda:%d: %s", device, why);
	if (info.major < MIN_COMPUTE)
		return lm_fail(err, LM_EUNSUPPORTED,
			       "cuda:%d: %s has compute capability %d.%d, and 8.0 is needed", device,
			       info.name, info.major, info.minor);
	c = lm_calloc(1, sizeof *c);
	if (!c) return lm_fail(err, LM_ENOMEM, "out of memory for cuda:%d", device);
	snprintf(c->name, sizeof c->name, "cuda:%d", device);
	c->b = (struct backend){ .op = &cuda_ops, .name = c->name };
	c->device = device;
	*out = &c->b;
	return 0;
}

int backend_cuda(struct backend **out, int device, struct lm_err *err)
{
	char names[200];
	int rc = cuda_open(out, device, err);

	if (rc || !missing(names, sizeof names)) return rc;
	backend_free(*out);
	*out = NULL;
	return lm_fail(err, LM_EUNSUPPORTED,
		       "cuda:%d: running a model is not supported in this build: it lacks the "
		       "operations %s",
		       device, names);
}

void cuda_list(struct lm_buf *b)
{
	struct gpu_info info;
	int n;
	const char *why = gpu_count(&n);

	if (why || n == 0) lm_buf_fmt(b, "cuda    no device: %s\n", why ? why : "none is visible");
	for (int i = 0; i < n; i++) {
		why = gpu_describe(i, &info);
		if (why)
			lm_buf_fmt(b, "cuda:%d  %s\n", i, why);
		else
			lm_buf_fmt(b,
				   "cuda:%d  %s, %zu MiB, compute capability %d.%d; cannot run a model yet\n",
				   i, info.name, info.memory >> 20, info.major, info.minor);
	}
}
