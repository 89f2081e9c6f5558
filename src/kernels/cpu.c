/* cpu.c - life cycle of the CPU backend and its row-wise ops. */
#include "kernels/cpu_backend.h"

enum { WORTH = 1 << 15 };            /* elements from which waking the pool (about 1 us) pays for a row-wise op */

void cpu_run(struct cpu *c, int64_t work, lm_job *fn, void *ctx)
{
	if (work >= WORTH && c->n_threads > 1) lm_pool_run(c->pool, fn, ctx);
	else fn(ctx, 0, 1);
}

int scratch_want(struct scratch *s, size_t n, struct lm_err *err)
{
	if (n <= s->cap) return 0;
	lm_free(s->p);
	*s = (struct scratch){ 0 };
	s->p = lm_aligned(64, n);
	if (!s->p) return lm_fail(err, LM_ENOMEM, "out of memory: %zu bytes of scratch", n);
	s->cap = n;
	return 0;
}

static void cpu_close(struct backend *b)
{
	struct cpu *c = cpu_of(b);
	lm_pool_free(c->pool);
	for (int i = 0; i < 3; i++) {
		lm_free(c->x[i].p);
		lm_free(c->xp[i].p);
	}
	for (int i = 0; i < MAX_ROPES; i++) lm_free(c->rope[i].cs.p);
	cpu_moe_close(c);
	lm_free(c->panel.p);
	lm_free(c->attn.p);
	lm_free(c->tiles.p);
	lm_free(c);
}

static int cpu_alloc(struct backend *b, struct mat *m, int32_t rows, int32_t cols, enum dtype t, struct lm_err *err)
{
	(void)b;
	int64_t row = quant_row_bytes(t, cols);
	size_t n;
	if (row < 0 || rows < 0 || !lm_mul_size((size_t)row, (size_t)rows, &n))
		return lm_fail(err, LM_EINVAL, "a matrix of %d x %d cannot be made", rows, cols);
	*m = (struct mat){ .rows = rows, .cols = cols, .stride = row, .type = t };
	/* a cache (ops.h), which a token reads from end to end: in large pages (decode at depth 4096 with 2 threads, 134 MB
	 * a token: 21 -> 25 GB/s), but for its first positions (8B: 126 MB zeroed before the first token, 0.56 -> 0.69 s) */
	m->base = t == DT_I8 ? lm_cache(n) : lm_pages(n);
	return m->base ? 0 : lm_fail(err, LM_ENOMEM, "out of memory: %zu bytes for a matrix of %d x %d", n, rows, cols);
}

static void cpu_free(struct backend *b, struct mat *m)
{
	(void)b;
	if (m->base) lm_pages_free(m->base, (size_t)m->stride * (size_t)m->rows);
	*m = (struct mat){ 0 };
}

static int cpu_import(struct backend *b, struct mat *m, const void *host, struct lm_err *err)
{
	struct cpu *c = cpu_of(b);
	(void)err;
	m->base = (void *)(uintptr_t)host;
	m->off = 0;
	int *widest = m->rows > 1 ? c->max_cols : c->one_cols;       /* of one row: mostly norms and biases, never multiplied */
	if (m->cols > widest[m->type]) widest[m->type] = m->cols;
	return 0;
}

static bool cpu_has(const struct backend *b, enum dtype t)
{
	(void)b;
	return quant_info(t) != NULL && quant_info(t)->decode != NULL;
}

static void cpu_write(struct backend *b, const struct mat *dst, const void *src)
{
	(void)b;
	memcpy(mat_row(*dst, 0), src, (size_t)dst->rows * (size_t)dst->stride);
}

static void cpu_read(struct backend *b, void *dst, const struct mat *src)
{
	(void)b;
	memcpy(dst, mat_row(*src, 0), (size_t)src->rows * (size_t)src->stride);
}

static int64_t cpu_kv_bytes(const struct backend *b, enum dtype t, int n_kv, int dim, bool values)
{
	struct cpu *c = (struct cpu *)(uintptr_t)b;      /* remembers the largest head for its scratch */
	(void)values;
	int64_t n = kv_block_bytes(t, n_kv, dim);
	if (n >= 0 && dim > c->max_dim) c->max_dim = dim;
	return n;
}

/* Scratch for `rows` rows of everything imported so far; what has one row is multiplied by one row at a time. */
static int size_scratch(struct cpu *c, int rows, struct lm_err *err)
{
	size_t x[3] = { 0 }, xp[3] = { 0 }, panel = 0;
	for (int t = 0; t < DT_COUNT; t++) {
		int cols = c->max_cols[t], one = c->one_cols[t], wide = one > cols ? one : cols;
		if (!wide) continue;
		enum dot_class d = quant_info((enum dtype)t)->dot;
		const struct kern_gemm *g = c->k.w[t].gemm;
		most(&panel, x_align((size_t)wide * 4));         /* a row in another order */
		if (cols) most(&x[d], x_bytes(d, cols) * (size_t)rows);
		if (one) most(&x[d], x_bytes(d, one));
		if (cols && g && rows >= GEMM_MIN) {
			if (g->pack_x) most(&xp[d], g->xp_bytes(rows, cols));
			most(&panel, g->panel_bytes(cols));
		}
		if (!c->k.w[t].gemv) most(&panel, x_align((size_t)wide * 4) * DECODE_ROWS);
	}
	int rc = 0;
	for (int i = 0; i < 3 && !rc; i++) {
		rc = scratch_want(&c->x[i], x[i], err);
		if (!rc) rc = scratch_want(&c->xp[i], xp[i], err);
	}
	c->panel_stride = x_align(panel) + 64;
	c->attn_stride = x_align(cpu_attn_bytes(c->max_dim)) + 64;
	if (!rc) rc = scratch_want(&c->panel, c->panel_stride * (size_t)c->n_threads, err);
	if (!rc) rc = scratch_want(&c->attn, c->attn_stride * (size_t)c->n_threads, err);
	if (!rc) rc = scratch_want(&c->tiles, (size_t)rows * 3 * sizeof(int), err);
	if (!rc) rc = cpu_moe_scratch(c, rows, err);
	/* two tables before they are asked for: no model has more kinds of RoPE (global and sliding layers) */
	for (int i = 0; i < MAX_ROPES && !rc; i++) {
		int dims = c->rope[i].dims > c->max_dim || i > 1 ? c->rope[i].dims : c->max_dim;
		rc = scratch_want(&c->rope[i].cs, (size_t)rows * (size_t)dims * 4, err);
	}
	return rc;
}

static int cpu_begin(struct backend *b, uint64_t key, const struct seqs *s)
{
	struct cpu *c = cpu_of(b);
	(void)key;
	int64_t cols = 0;
	for (int t = 0; t < DT_COUNT; t++) cols += (int64_t)c->max_cols[t] + c->one_cols[t];
	if (s->n_rows > c->cap_rows || cols != c->cap_cols || c->max_dim != c->cap_dim) {
		int rows = s->n_rows > c->cap_rows ? s->n_rows : c->cap_rows;
		if (size_scratch(c, rows, NULL)) {
			c->cap_rows = 0;
			return LM_ENOMEM;
		}
		c->cap_rows = rows;
		c->cap_cols = cols;
		c->cap_dim = c->max_dim;
	}
	for (int i = 0; i < MAX_ROPES; i++) c->rope[i].pos = NULL;
	c->at = s;
	c->n_ahead = 0;
	return 0;
}

static int cpu_end(struct backend *b, struct lm_err *err)
{
	(void)b;
	(void)err;
	return 0;
}

/* ---- row-wise ops ------------------------------------------------------------------------------------------ */
struct rows_job { struct cpu *c; struct mat y, x, w; const struct mat *up, *bias; const struct seqs *s; const int32_t *row;
                  float f; int group; enum norm_kind kind; enum act act; };

static void embed_job(void *ctx, int tid, int nt)
{
	const struct rows_job *j = ctx;
	int64_t lo, hi;
	cpu_share(j->s->n_rows, tid, nt, &lo, &hi);
	for (int64_t r = lo; r < hi; r++) {
		float *y = f32_row(j->y, (int)r);
		quant_info(j->w.type)->decode(y, mat_row(j->w, j->s->token[r]), j->w.cols);
		if (j->f != 1.0f)
			for (int i = 0; i < j->w.cols; i++) y[i] *= j->f;
	}
}
static void cpu_embed(struct backend *b, struct mat y, const struct mat *table, const struct seqs *s, float scale)
{
	struct rows_job j = { .c = cpu_of(b), .y = y, .w = *table, .s = s, .f = scale };
	cpu_run(j.c, (int64_t)s->n_rows * y.cols, embed_job, &j);
}

/* Mean and variance in 16 lanes; speed does not matter yet (LayerNorm models come with the architectures). */
static void norm_ln(float *y, const float *x, const float *w, const float *bias, int n, float eps, bool l2)
{
	float a[16] = { 0 }, v[16] = { 0 };
	for (int i = 0; i < n && !l2; i++) a[i % 16] += x[i];
	for (int k = 8; k > 0; k /= 2)
		for (int i = 0; i < k; i++) a[i] += a[i + k];
	float mean = a[0] / (float)n;
	for (int i = 0; i < n; i++) v[i % 16] = fmaf(x[i] - mean, x[i] - mean, v[i % 16]);
	for (int k = 8; k > 0; k /= 2)
		for (int i = 0; i < k; i++) v[i] += v[i + k];
	float norm = sqrtf(v[0]), r = l2 ? 1.0f / (norm > eps ? norm : eps) : 1.0f / sqrtf(v[0] / (float)n + eps);
	for (int i = 0; i < n; i++) {
		y[i] = (x[i] - mean) * r;
		if (w) y[i] *= w[i];
		if (bias) y[i] += bias[i];
	}
}

static void norm_job(void *ctx, int tid, int nt)
{
	const struct rows_job *j = ctx;
	const float *w = j->w.base ? mat_row(j->w, 0) : NULL, *bias = j->bias && j->bias->base ? mat_row(*j->bias, 0) : NULL;
	int g = j->group ? j->group : j->x.cols;
	int64_t lo, hi;
	cpu_share(j->x.rows, tid, nt, &lo, &hi);
	for (int64_t r = lo; r < hi; r++)
		for (int i = 0; i + g <= j->x.cols; i += g) {
			float *y = f32_row(j->y, (int)r) + i;
			const float *x = f32_row(j->x, (int)r) + i;
			const float *wi = w ? w + i % j->w.cols : NULL, *bi = bias ? bias + i % j->bias->cols : NULL;
			if (j->kind == NORM_RMS) j->c->k.norm_rms(y, x, wi, g, j->f);
			else norm_ln(y, x, wi, bi, g, j->f, j->kind == NORM_L2);
			for (int c = 0; bi && j->kind == NORM_RMS && c < g; c++) y[c] += bi[c];
		}
}
static void cpu_norm(struct backend *b, struct mat y, struct mat x, const struct mat *w, const struct mat *bias,
                     enum norm_kind k, float eps, int group)
{
	struct rows_job j = { .c = cpu_of(b), .y = y, .x = x, .bias = bias, .f = eps, .group = group, .kind = k };
	if (w) j.w = *w;
	cpu_run(j.c, (int64_t)x.rows * x.cols, norm_job, &j);
}

static void add_job(void *ctx, int tid, int nt)
{
	const struct rows_job *j = ctx;
	int64_t lo, hi;
	cpu_share(j->x.rows, tid, nt, &lo, &hi);
	for (int64_t r = lo; r < hi; r++) j->c->k.add(f32_row(j->y, (int)r), f32_row(j->x, (int)r), j->f, j->x.cols);
}
static void cpu_add(struct backend *b, struct mat y, struct mat x, float scale)
{
	struct rows_job j = { .c = cpu_of(b), .y = y, .x = x, .f = scale };
	cpu_run(j.c, (int64_t)x.rows * x.cols, add_job, &j);
}

static void act_job(void *ctx, int tid, int nt)
{
	const struct rows_job *j = ctx;
	int64_t lo, hi;
	cpu_share(j->x.rows, tid, nt, &lo, &hi);
	for (int64_t r = lo; r < hi; r++)
		j->c->k.act(f32_row(j->y, (int)r), f32_row(j->x, (int)r), j->up ? f32_row(*j->up, (int)r) : NULL, j->x.cols, j->act);
}
static void cpu_act(struct backend *b, struct mat y, struct mat gate, const struct mat *up, enum act a)
{
	struct rows_job j = { .c = cpu_of(b), .y = y, .x = gate, .up = up, .act = a };
	cpu_run(j.c, 4 * (int64_t)gate.rows * gate.cols, act_job, &j);
}

static void softcap_job(void *ctx, int tid, int nt)
{
	const struct rows_job *j = ctx;
	int64_t lo, hi;
	lm_split((int64_t)j->x.rows * j->x.cols, 64, tid, nt, &lo, &hi);
	while (lo < hi) {                /* a row may be a whole vocabulary: split inside rows too */
		int r = (int)(lo / j->x.cols), at = (int)(lo % j->x.cols);
		int n = (int)(hi - lo < j->x.cols - at ? hi - lo : j->x.cols - at);
		j->c->k.softcap(f32_row(j->x, r) + at, j->f, n);
		lo += n;
	}
}
static void cpu_softcap(struct backend *b, struct mat x, float cap)
{
	struct rows_job j = { .c = cpu_of(b), .x = x, .f = cap };
	cpu_run(j.c, 4 * (int64_t)x.rows * x.cols, softcap_job, &j);
}

static void gather_job(void *ctx, int tid, int nt)
{
	const struct rows_job *j = ctx;
	int64_t lo, hi;
	cpu_share(j->y.rows, tid, nt, &lo, &hi);
	for (int64_t r = lo; r < hi; r++)
		memcpy(f32_row(j->y, (int)r), f32_row(j->x, j->row ? j->row[r] : (int)r), (size_t)j->y.cols * sizeof(float));
}
static void cpu_gather(struct backend *b, struct mat y, struct mat x, const int32_t *row)
{
	struct rows_job j = { .c = cpu_of(b), .y = y, .x = x, .row = row };
	cpu_run(j.c, (int64_t)y.rows * y.cols, gather_job, &j);
}

static const struct backend_ops cpu_ops = {
	.close = cpu_close, .alloc = cpu_alloc, .free = cpu_free, .import = cpu_import, .has = cpu_has,
	.write = cpu_write, .read = cpu_read, .kv_bytes = cpu_kv_bytes, .begin = cpu_begin, .end = cpu_end,
	.embed = cpu_embed, .norm = cpu_norm, .linear = cpu_linear, .add = cpu_add, .act = cpu_act,
	.softcap = cpu_softcap, .gather = cpu_gather, .rope = cpu_rope, .kv_put = cpu_kv_put, .attend = cpu_attend,
	.moe_room = cpu_moe_room, .route = cpu_route, .experts = cpu_experts,
	.conv = cpu_conv, .ssm = cpu_ssm, .delta = cpu_delta,
};

int backend_cpu(struct backend **out, int n_threads, const char *level, struct lm_err *err)
{
	unsigned flags;
	int rc = cpu_flags(&flags, level, err);
	if (rc) return rc;
	struct cpu *c = lm_aligned(64, sizeof *c);
	if (!c) return lm_fail(err, LM_ENOMEM, "out of memory: the CPU backend");
	c->b = (struct backend){ .op = &cpu_ops, .name = "cpu", .host = true, .ordered = true };
	c->pool = lm_pool_new(n_threads);
	if (!c->pool) {
		lm_free(c);
		return lm_fail(err, LM_ENOMEM, "%d threads cannot be started", n_threads);
	}
	c->n_threads = lm_pool_size(c->pool);
	kern_init(&c->k, flags);
	*out = &c->b;
	return 0;
}
