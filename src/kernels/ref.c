/* ref.c - every op of ops.h, slowly and obviously: the definition that all devices are held against.  Weights
 * go through their scalar decoder, activations stay f32, every sum is a double.
 *
 * GOTCHAS
 *   norm    a weight row as wide as a group serves every group; one as wide as the row has values per column
 *   rope    the first r->dims elements of each head turn, the rest pass through
 *   window  W keys including the query's own; without a causal mask W/2 to either side
 *   softcap on the scaled score, before the mask
 *   sinks   one more logit of the softmax, neither scaled nor capped, without a value */
#include "base/base.h"
#include "kernels/kv.h"
#include "kernels/ref.h"
#include <math.h>
#include <string.h>

enum {
	CHUNK = 256,     /* elements decoded at a time: a multiple of every block size */
	TILE = 32,       /* tokens that share a decoded chunk */
	MAX_DIM = 1024   /* of a head: attend keeps one output row on the stack */
};

static float *row_f32(struct mat m, int64_t r) { return mat_row(m, r); }
static const float *vec(const struct mat *m) { return m && m->base ? mat_row(*m, 0) : NULL; }

/* ---- life and memory ---------------------------------------------------------------------------------- */
static void ref_close(struct backend *b)
{
	struct ref *r = (struct ref *)b;
	lm_pool_free(r->pool);
	lm_free(r->moe);
	lm_free(r);
}

static int ref_alloc(struct backend *b, struct mat *m, int32_t rows, int32_t cols, enum dtype t,
		     struct lm_err *err)
{
	int64_t row = quant_row_bytes(t, cols);
	size_t stride, all;
	(void)b;
	if (rows < 1 || cols < 1 || row < 1 || !lm_add_size((size_t)row, 63, &stride))
		return lm_fail(err, LM_EINVAL, "a matrix of %d rows by %d columns cannot be made", (int)rows,
			       (int)cols);
	stride &= ~(size_t)63;
	if (!lm_mul_size(stride, (size_t)rows, &all))
		return lm_fail(err, LM_EINVAL, "a matrix of %d rows of %zu bytes is too large", (int)rows,
			       stride);
	*m = (struct mat){
		.base = lm_aligned(64, all), .rows = rows, .cols = cols, .stride = (int64_t)stride, .type = t
	};
	return m->base ? 0 : lm_fail(err, LM_ENOMEM, "out of memory: %zu bytes for a matrix", all);
}

static void ref_free(struct backend *b, struct mat *m)
{
	(void)b;
	lm_free(m->base);
	*m = (struct mat){ 0 };
}

static int ref_import(struct backend *b, struct mat *m, const void *host, struct lm_err *err)
{
	(void)b, (void)err;
	m->base = (void *)(uintptr_t)host;       /* read-only by contract */
	m->off = 0;
	return 0;
}

static bool ref_has(const struct backend *b, enum dtype t)
{
	const struct dtype_info *i = quant_info(t);
	(void)b;
	return i && i->decode && CHUNK % i->block_elems == 0;
}

/* Host rows lie one after the other without gaps. */
static void ref_write(struct backend *b, const struct mat *dst, const void *src)
{
	int64_t n = quant_row_bytes(dst->type, dst->cols);
	(void)b;
	for (int32_t r = 0; r < dst->rows; r++)
		memcpy(mat_row(*dst, r), (const char *)src + r * n, (size_t)n);
}

static void ref_read(struct backend *b, void *dst, const struct mat *src)
{
	int64_t n = quant_row_bytes(src->type, src->cols);
	(void)b;
	for (int32_t r = 0; r < src->rows; r++) memcpy((char *)dst + r * n, mat_row(*src, r), (size_t)n);
}

static int64_t ref_kv_bytes(const struct backend *b, enum dtype t, int n_kv, int dim, bool values)
{
	(void)b, (void)values;
	return dim > MAX_DIM ? -1 : kv_block_bytes(t, n_kv, dim);
}

static int ref_begin(struct backend *b, uint64_t key, const struct seqs *s)
{
	(void)b, (void)key, (void)s;
	return 0;
}

static int ref_end(struct backend *b, struct lm_err *err)
{
	(void)b, (void)err;
	return 0;
}

/* ---- dense -------------------------------------------------------------------------------------------- */
static void ref_embed(struct backend *b, struct mat y, const struct mat *table, const struct seqs *s,
		      float scale)
{
	const struct dtype_info *info = quant_info(table->type);
	(void)b;
	for (int t = 0; t < s->n_rows; t++) {
		float *o = row_f32(y, t);
		info->decode(o, mat_row(*table, s->token[t]), y.cols);
		for (int i = 0; i < y.cols; i++) o[i] *= scale;
	}
}

/* One norm over n elements; w and bias may be NULL. */
static void norm_one(float *y, const float *x, const float *w, const float *bias, int n, enum norm_kind k,
		     double eps)
{
	double mean = 0, sq = 0, f;

	if (k == NORM_LN) {
		for (int i = 0; i < n; i++) mean += x[i];
		mean /= n;
	}
	for (int i = 0; i < n; i++) sq += (x[i] - mean) * (x[i] - mean);
	f = k == NORM_L2 ? 1 / fmax(sqrt(sq), eps) : 1 / sqrt(sq / n + eps);
	for (int i = 0; i < n; i++) y[i] = (float)((x[i] - mean) * f * (w ? w[i] : 1) + (bias ? bias[i] : 0));
}

static void ref_norm(struct backend *b, struct mat y, struct mat x, const struct mat *w,
		     const struct mat *bias, enum norm_kind k, float eps, int group)
{
	int n = group ? group : x.cols;
	const float *wv = vec(w), *bv = vec(bias);
	(void)b;
	for (int t = 0; t < x.rows; t++)
		for (int c = 0; c < x.cols; c += n)
			norm_one(row_f32(y, t) + c, row_f32(x, t) + c, wv ? wv + c % w->cols : NULL,
			         bv ? bv + c % bias->cols : NULL, n, k, eps);
}

/* Eight sums side by side: the adds do not wait for one another, which makes tests eight times shorter. */
static double dot(const float *a, const float *b, int n)
{
	double s[8] = { 0 };
	int i = 0;
	for (; i + 8 <= n; i += 8)
		for (int j = 0; j < 8; j++) s[j] += (double)a[i + j] * b[i + j];
	for (; i < n; i++) s[i % 8] += (double)a[i] * b[i];
	return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

struct linear_job { const struct lin *l; struct mat x; };

/* Elements [k, k+n) of a row as the columns of w meet them: the row itself, or tmp. */
static const float *in_order(const struct mat *w, const float *x, int k, int n, float *tmp)
{
	if (!w->order) return x + k;
	for (int i = 0; i < n; i++) tmp[i] = x[w->order[k + i]];
	return tmp;
}

/* Output features [r0,r1) for up to TILE tokens from t0. */
static void linear_tile(const struct lin *l, struct mat x, int64_t r, int t0, int n)
{
	const struct dtype_info *info = quant_info(l->w->type);
	const char *w = mat_row(*l->w, r);
	const float *bias = vec(l->bias);
	double acc[TILE] = { 0 };
	float c[CHUNK], tmp[CHUNK];

	for (int k = 0; k < x.cols; k += CHUNK) {
		int m = x.cols - k < CHUNK ? x.cols - k : CHUNK;
		info->decode(c, w + k / info->block_elems * info->block_bytes, m);
		for (int t = 0; t < n; t++) acc[t] += dot(c, in_order(l->w, row_f32(x, t0 + t), k, m, tmp), m);
	}
	for (int t = 0; t < n; t++)
		row_f32(l->y, t0 + t)[r] = (float)(l->scale * (acc[t] + (bias ? bias[r] : 0)));
}

static void linear_job(void *ctx, int tid, int n_threads)
{
	const struct linear_job *j = ctx;
	int64_t lo, hi;

	lm_split(j->l->w->rows, 1, tid, n_threads, &lo, &hi);
	for (int64_t r = lo; r < hi; r++)
		for (int t = 0; t < j->x.rows; t += TILE)
			linear_tile(j->l, j->x, r, t, j->x.rows - t < TILE ? j->x.rows - t : TILE);
}

static void ref_linear(struct backend *b, const struct lin *l, int n, struct mat x)
{
	for (int i = 0; i < n; i++)
		lm_pool_run(((struct ref *)b)->pool, linear_job, &(struct linear_job){ &l[i], x });
}

static void ref_add(struct backend *b, struct mat y, struct mat x, float scale)
{
	(void)b;
	for (int t = 0; t < y.rows; t++)
		for (int i = 0; i < y.cols; i++)
			row_f32(y, t)[i] = (float)(row_f32(y, t)[i] + (double)scale * row_f32(x, t)[i]);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static double act_one(double g, double u, enum act a)
{
	switch (a) {
	case ACT_NONE: return g * u;
	case ACT_SIGMOID: return sigmoid(g) * u;
	case ACT_SILU: return g * sigmoid(g) * u;
	case ACT_GELU: return 0.5 * g * (1 + erf(g * 0.70710678118654752440)) * u;
	case ACT_GELU_TANH:
		return 0.5 * g * (1 + tanh(0.79788456080286535588 * (g + 0.044715 * g * g * g))) * u;
	case ACT_RELU2: return g > 0 ? g * g * u : 0;
	case ACT_SWIGLU_OAI:                     /* gpt-oss: clamped, and one added to the linear half */
		g = fmin(g, 7), u = fmax(fmin(u, 7), -7);
		return (u + 1) * g * sigmoid(1.702 * g);
	}
	return 0;
}

static void ref_act(struct backend *b, struct mat y, struct mat gate, const struct mat *up, enum act a)
{
	(void)b;
	for (int t = 0; t < y.rows; t++) {
		const float *g = row_f32(gate, t), *u = up ? row_f32(*up, t) : NULL;
		float *o = row_f32(y, t);
		for (int i = 0; i < y.cols; i++) o[i] = (float)act_one(g[i], u ? u[i] : 1, a);
	}
}

static void ref_softcap(struct backend *b, struct mat x, float cap)
{
	(void)b;
	for (int t = 0; t < x.rows; t++)
		for (int i = 0; i < x.cols; i++)
			row_f32(x, t)[i] = (float)(cap * tanh((double)row_f32(x, t)[i] / cap));
}

static void ref_gather(struct backend *b, struct mat y, struct mat x, const int32_t *row)
{
	(void)b;
	for (int i = 0; i < y.rows; i++)
		memcpy(row_f32(y, i), row_f32(x, row ? row[i] : i), (size_t)y.cols * sizeof(float));
}

/* ---- attention ---------------------------------------------------------------------------------------- */
static void ref_rope(struct backend *b, struct mat x, int head_dim, const struct seqs *s,
		     const struct rope *r)
{
	int half = r->dims / 2;
	(void)b;
	for (int t = 0; t < x.rows; t++)
		for (float *h = row_f32(x, t); h < row_f32(x, t) + x.cols; h += head_dim)
			for (int i = 0; i < half; i++) {
				float *p = r->kind == ROPE_PAIRS ? h + 2 * i : h + i,
				      *q = r->kind == ROPE_PAIRS ? p + 1 : p + half;
				double a = s->pos[t] * r->inv_freq[i], c = cos(a) * r->mscale,
				       d = sin(a) * r->mscale, p0 = *p;
				*p = (float)(p0 * c - *q * d);
				*q = (float)(p0 * d + *q * c);
			}
}

/* A head's row of a KV block, element by element: where position p, element d and its scale lie. */
struct kv_row { char *head; enum dtype t; int dim, p; bool value; };

static char *kv_at(const struct kv_row *r, int d)
{
	return r->head + (r->value ? kv_value_at(r->t, r->dim, r->p, d) : kv_key_at(r->t, r->dim, r->p, d));
}
static char *kv_scale(const struct kv_row *r, int d)
{
	return r->head + (r->value ? kv_value_scale_at(r->dim, r->p, d) : kv_key_scale_at(r->dim, r->p, d));
}

static double kv_get(const struct kv_row *r, int d)
{
	const char *at = kv_at(r, d);
	float f = 0;
	uint16_t h;

	if (r->t == DT_F32) {
		memcpy(&f, at, sizeof f);
		return f;
	}
	if (r->t == DT_Q8_0) {
		memcpy(&f, kv_scale(r, d), sizeof f);
		return (double)f * *(const signed char *)at;
	}
	memcpy(&h, at, sizeof h);
	return r->t == DT_F16 ? quant_f16_to_f32(h) : quant_bf16_to_f32(h);
}

/* 32 elements from d: one scale and int8s, as exact.h quantises. */
static void kv_set_q8(const struct kv_row *r, int d, const float *x)
{
	float a = 0, scale;
	bool finite = true;

	for (int i = 0; i < 32; i++) {
		finite = finite && isfinite(x[i]);
		if (!(fabsf(x[i]) <= a)) a = fabsf(x[i]);
	}
	scale = !finite ? a : a < 1e-30f ? 0 : a / 127;
	memcpy(kv_scale(r, d), &scale, sizeof scale);
	for (int i = 0; i < 32; i++)
		*kv_at(r, d + i) = (char)(signed char)(finite && scale > 0 ? rintf(x[i] * (127 / a)) : 0);
}

static void kv_set(const struct kv_row *r, const float *x)
{
	for (int d = 0; d < r->dim; d++) {
		uint16_t h = r->t == DT_F16 ? quant_f32_to_f16(x[d]) : quant_f32_to_bf16(x[d]);
		if (r->t == DT_F32) memcpy(kv_at(r, d), &x[d], sizeof(float));
		else if (r->t != DT_Q8_0) memcpy(kv_at(r, d), &h, sizeof h);
		else if (d % 32 == 0) kv_set_q8(r, d, x + d);
	}
}

static struct kv_row kv_row(struct mat blocks, int head, int dim, bool value, const int32_t *table, int pos)
{
	return (struct kv_row){ kv_head(blocks, table[pos / KV_BLOCK], blocks.type, dim, head), blocks.type,
				dim, pos % KV_BLOCK, value };
}

static void ref_kv_put(struct backend *b, const struct kv *kv, struct mat k, struct mat v,
		       const struct attn *a, const struct seqs *s)
{
	(void)b;
	for (int t = 0; t < s->n_rows; t++)
		for (int h = 0; h < a->n_kv; h++) {
			const int32_t *table = s->table[s->seq[t]];
			struct kv_row kr = kv_row(kv->k, h, a->dim_k, false, table, s->pos[t]);
			struct kv_row vr = a->v_at ? kr : kv_row(kv->v, h, a->dim_v, true, table, s->pos[t]);
			kv_set(&kr, row_f32(k, t) + h * a->dim_k);
			if (!a->v_at) kv_set(&vr, row_f32(v, t) + h * a->dim_v);
		}
}

struct attend_job { struct mat y, q; const struct kv *kv; const struct attn *a; const struct seqs *s; };

/* First and last position that row t sees. */
static void visible(const struct attend_job *j, int t, int *lo, int *hi)
{
	const struct seqs *s = j->s;
	int w = j->a->window, last = t;

	while (last + 1 < s->n_rows && s->seq[last + 1] == s->seq[t]) last++;
	*hi = j->a->causal ? s->pos[t] : s->pos[last];
	*lo = 0;
	if (!w) return;
	*lo = s->pos[t] - (j->a->causal ? w - 1 : w / 2);
	if (*lo < 0) *lo = 0;
	if (!j->a->causal && *hi > s->pos[t] + w / 2) *hi = s->pos[t] + w / 2;
}

static double score(const struct attend_job *j, const float *q, int head, const int32_t *table, int pos)
{
	const struct attn *a = j->a;
	struct kv_row k = kv_row(j->kv->k, head, a->dim_k, false, table, pos);
	double sum = 0;

	for (int d = 0; d < a->dim_k; d++) sum += q[d] * kv_get(&k, d);
	sum *= a->scale;
	return a->softcap > 0 ? a->softcap * tanh(sum / a->softcap) : sum;
}

/* One query row and head: softmax(scale q K') V.  Scores are computed twice rather than kept. */
static void attend_one(const struct attend_job *j, int t, int h)
{
	const struct attn *a = j->a;
	const int32_t *table = j->s->table[j->s->seq[t]];
	const float *q = row_f32(j->q, t) + h * a->dim_k;
	int head = h / (a->n_head / a->n_kv), lo, hi;
	const float *sinks = vec(a->sinks);
	double o[MAX_DIM] = { 0 }, top = sinks ? sinks[h] : -INFINITY, sum = 0;

	visible(j, t, &lo, &hi);
	for (int p = lo; p <= hi; p++) top = fmax(top, score(j, q, head, table, p));
	if (sinks) sum = exp(sinks[h] - top);
	for (int p = lo; p <= hi; p++) {
		struct kv_row v = a->v_at ? kv_row(j->kv->k, head, a->dim_k, false, table, p)
					  : kv_row(j->kv->v, head, a->dim_v, true, table, p);
		double e = exp(score(j, q, head, table, p) - top);
		sum += e;
		for (int d = 0; d < a->dim_v; d++) o[d] += e * kv_get(&v, a->v_at + d);
	}
	for (int d = 0; d < a->dim_v; d++) row_f32(j->y, t)[h * a->dim_v + d] = (float)(o[d] / sum);
}

static void attend_job(void *ctx, int tid, int n_threads)
{
	const struct attend_job *j = ctx;
	int64_t lo, hi;

	lm_split((int64_t)j->s->n_rows * j->a->n_head, 1, tid, n_threads, &lo, &hi);
	for (int64_t i = lo; i < hi; i++) attend_one(j, (int)(i / j->a->n_head), (int)(i % j->a->n_head));
}

static void ref_attend(struct backend *b, struct mat y, struct mat q, const struct kv *kv,
		       const struct attn *a, const struct seqs *s)
{
	lm_pool_run(((struct ref *)b)->pool, attend_job, &(struct attend_job){ y, q, kv, a, s });
}

static const struct backend_ops ref_ops = {
	.close = ref_close, .alloc = ref_alloc, .free = ref_free, .import = ref_import, .has = ref_has,
	.write = ref_write, .read = ref_read, .kv_bytes = ref_kv_bytes, .begin = ref_begin, .end = ref_end,
	.embed = ref_embed, .norm = ref_norm, .linear = ref_linear, .add = ref_add, .act = ref_act,
	.softcap = ref_softcap, .gather = ref_gather, .rope = ref_rope, .kv_put = ref_kv_put,
	.attend = ref_attend, .moe_room = ref_moe_room, .route = ref_route, .experts = ref_experts,
	.conv = ref_conv, .ssm = ref_ssm, .delta = ref_delta,
};

int backend_ref(struct backend **out, struct lm_err *err)
{
	struct ref *r = lm_calloc(1, sizeof *r);
	if (!r) return lm_fail(err, LM_ENOMEM, "out of memory for the reference device");
	r->b = (struct backend){ .op = &ref_ops, .name = "ref", .host = true, .ordered = true };
	r->pool = lm_pool_new(0);
	if (!r->pool) {
		lm_free(r);
		return lm_fail(err, LM_ENOMEM, "the reference device could not start its threads");
	}
	*out = &r->b;
	return 0;
}
