/* cpu_linear.c - matrix products: one activation, quantised once, against several weights.
 * One row, or a few: gemv and its like on the file's blocks, threads take chunks of output rows.  Many rows: threads take panels of
 * weight rows, unpack each once into their own scratch and run it against all tokens.  Which thread computes an output is
 * free; how it is computed never depends on it (exact.h). */
#include "kernels/cpu_backend.h"

enum { MAX_LIN = 8 };

struct linear_job {
	struct cpu *c;
	const struct lin *l;
	int n, n_tok;
	struct mat x;
	const int32_t *order;            /* of all n */
	bool want[3];                    /* dot classes in use */
	const struct kern_gemm *gemm[3];
	int64_t unit0[MAX_LIN + 1];      /* units of lin i: [unit0[i], unit0[i+1]) */
	int rows_per[MAX_LIN];
	int64_t first;                   /* units that each thread begins with: those that it had been told to fetch */
	const struct ahead *next;        /* the product that came after this one; NULL: none */
};

static enum dot_class class_of(enum dtype t) { return quant_info(t)->dot; }
static bool by_gemm(const struct linear_job *j, const struct mat *w) { return cpu_by_gemm(j->c, w, j->n_tok); }

static char *x_row(const struct linear_job *j, enum dot_class d, int cols, int64_t t)
{
	return j->c->x[d].p + (size_t)t * x_bytes(d, cols);
}

/* ---- activation: quantise, then pack --------------------------------------------------------------------- */
void cpu_quantise(const struct cpu *c, void *row, const float *x, enum dot_class d, int cols)
{
	if (d == DOT_X32) c->k.quant_x32(row, x, cols);
	else if (d == DOT_X256) c->k.quant_x256(row, x, cols);
	else memcpy(row, x, (size_t)cols * sizeof(float));
}

/* Row t of x as the weights' columns meet it. */
static const float *in_order(const struct linear_job *j, int64_t t, float *tmp)
{
	const float *x = f32_row(j->x, (int)t);
	if (!j->order) return x;
	for (int i = 0; i < j->x.cols; i++) tmp[i] = x[j->order[i]];
	return tmp;
}

static void prepare_job(void *ctx, int tid, int nt)
{
	const struct linear_job *j = ctx;
	float *tmp = (float *)(void *)(j->c->panel.p + (size_t)tid * j->c->panel_stride);
	int64_t lo, hi;
	for (int d = 0; d < 3; d++) {
		const struct kern_gemm *g = j->gemm[d];
		if (!j->want[d]) continue;
		lm_split(j->n_tok, g ? g->mr : 1, tid, nt, &lo, &hi);
		for (int64_t t = lo; t < hi; t++)
			cpu_quantise(j->c, x_row(j, (enum dot_class)d, j->x.cols, t), in_order(j, t, tmp), (enum dot_class)d, j->x.cols);
		if (g && g->pack_x && hi > lo)
			g->pack_x(j->c->xp[d].p + g->xp_bytes((int)lo, j->x.cols), x_row(j, (enum dot_class)d, j->x.cols, lo), (int)(hi - lo), j->x.cols);
	}
}

/* ---- products ----------------------------------------------------------------------------------------------- */
/* y = scale * (y + bias) for rows [r, r+n) of one output */
static void finish(const struct lin *l, int n_tok, int r, int n)
{
	const float *bias = l->bias && l->bias->base ? (const float *)mat_row(*l->bias, 0) + r : NULL;
	if (!bias && l->scale == 1.0f) return;
	for (int t = 0; t < n_tok; t++) {
		float *y = f32_row(l->y, t) + r;
		for (int i = 0; i < n; i++) {
			float v = bias ? y[i] + bias[i] : y[i];
			y[i] = v * l->scale;
		}
	}
}

/* A weight type without kernels: its rows are decoded to f32 and multiplied as such. */
static void strip_decoded(const struct cpu *c, const struct strip *s, float *rows)
{
	const struct mat *w = s->w;
	size_t stride = x_align((size_t)w->cols * sizeof(float));
	for (int i = 0; i < s->n; i += DECODE_ROWS) {
		int m = s->n - i < DECODE_ROWS ? s->n - i : DECODE_ROWS;
		for (int k = 0; k < m; k++)
			quant_info(w->type)->decode((float *)((char *)rows + (size_t)k * stride), mat_row(*w, s->r + i + k), w->cols);
		for (int t = 0; t < s->n_tok; t++)
			c->k.w[DT_F32].gemv(s->y + t * s->y_stride + i, rows, (int64_t)stride, s->x + (size_t)t * x_bytes(DOT_F32, w->cols), m, w->cols);
	}
}

void cpu_strip(const struct cpu *c, const struct strip *s, char *panel)
{
	const struct mat *w = s->w;
	const struct kern_type *k = &c->k.w[w->type];
	size_t row = x_bytes(class_of(w->type), w->cols);
	if (cpu_fast_wins(c, w, s->n_tok)) {
		cpu_fast_strip(c, s);
	} else if (!k->gemv) {
		strip_decoded(c, s, (float *)panel);
	} else if (cpu_by_few(c, w, s->n_tok)) {
		c->k.few[w->type](s->y, s->y_stride, mat_row(*w, s->r), w->stride, s->x, s->n, s->n_tok, w->cols);
	} else if (!cpu_by_gemm(c, w, s->n_tok)) {
		for (int t = 0; t < s->n_tok; t++)
			k->gemv(s->y + t * s->y_stride, mat_row(*w, s->r), w->stride, s->x + (size_t)t * row, s->n, w->cols);
	} else {
		for (int i = 0; i < s->n; i += k->gemm->nr) {
			int n = s->n - i < k->gemm->nr ? s->n - i : k->gemm->nr;
			k->pack(panel, mat_row(*w, s->r + i), w->stride, n, w->cols);
			k->gemm->run(s->y + i, s->y_stride, panel, k->gemm->pack_x ? s->xp : s->x, n, s->n_tok, w->cols);
		}
	}
}

/* Units [lo, hi) of lin i. */
static void run_units(const struct linear_job *j, int i, int64_t lo, int64_t hi, char *panel)
{
	const struct lin *l = &j->l[i];
	const struct mat *w = l->w;
	enum dot_class d = class_of(w->type);
	int r = (int)lo * j->rows_per[i], to = hi * j->rows_per[i] < w->rows ? (int)hi * j->rows_per[i] : w->rows, n = to - r;
	struct strip s = { w, r, n, f32_row(l->y, 0) + r, l->y.stride / (int64_t)sizeof(float), j->n_tok, j->c->x[d].p, j->c->xp[d].p };
	cpu_strip(j->c, &s, panel);
	finish(l, j->n_tok, r, n);
}

/* The first rows of the next product that this thread will read: others may still be at this one, and then the caller is on its
 * own for a while. */
static void fetch(const struct ahead *a, int tid)
{
	int64_t from = a->first * tid, left = a->bytes - from;
	cpu_fetch(a->w + from, left < a->first ? left : a->first);
}

static void linear_run(void *ctx, int tid, int nt)
{
	const struct linear_job *j = ctx;
	char *panel = j->c->panel.p + (size_t)tid * j->c->panel_stride;
	int64_t rest = nt > 1 ? j->first * nt : 0, n = j->unit0[j->n] - rest, lo = j->first * tid, hi = nt > 1 ? lo + j->first : n;
	int i = 0;
	do {
		while (lo < hi) {
			while (lo >= j->unit0[i + 1]) i++;
			int64_t to = hi < j->unit0[i + 1] ? hi : j->unit0[i + 1];
			run_units(j, i, lo - j->unit0[i], to - j->unit0[i], panel);
			lo = to;
		}
	} while (nt > 1 && lm_pool_part(j->c->pool, n, MAX_UNITS, &lo, &hi) && (lo += rest, hi += rest, true));
	if (nt > 1 && j->next) fetch(j->next, tid);
}

/* Remembers this product and finds its successor of the last step. */
static const struct ahead *note(struct cpu *c, const struct linear_job *j)
{
	if (j->n_tok > FEW_MAX || c->n_ahead + 1 >= MAX_AHEAD) return NULL;
	const struct mat *w = j->l[0].w;
	struct ahead *a = &c->ahead[c->n_ahead++];
	*a = (struct ahead){ mat_row(*w, 0), w->stride * w->rows, j->first * j->rows_per[0] * w->stride };
	return a[1].w ? a + 1 : NULL;
}

static void linear_group(struct cpu *c, const struct lin *l, int n, struct mat x)
{
	struct linear_job j = { .c = c, .l = l, .n = n, .n_tok = x.rows, .x = x, .order = l->w->order };
	int64_t macs = 0;
	for (int i = 0; i < n; i++) {
		const struct mat *w = l[i].w;
		enum dot_class d = class_of(w->type);
		j.want[d] = true;
		if (by_gemm(&j, w)) j.gemm[d] = c->k.w[w->type].gemm;
		j.rows_per[i] = by_gemm(&j, w) ? c->k.w[w->type].gemm->nr : x.rows > 1 ? 32 : 16;
		if (cpu_fast_wins(c, w, x.rows)) j.rows_per[i] = cpu_fast_rows(c, w);
		j.unit0[i + 1] = j.unit0[i] + (w->rows + j.rows_per[i] - 1) / j.rows_per[i];
		macs += (int64_t)w->rows * w->cols * x.rows;
	}
	j.first = first_units(j.unit0[n], c->n_threads);
	j.next = note(c, &j);
	cpu_run(c, 8 * (int64_t)x.rows * x.cols / 4, prepare_job, &j);
	if (macs >= 1 << 16 && c->n_threads > 1) lm_pool_run(c->pool, linear_run, &j);
	else linear_run(&j, 0, 1);
}

/* Of one row, and wider than the scratch for whole steps: an odd head, a feed-forward part of one element. */
static bool lone(const struct cpu *c, const struct mat *w) { return w->rows == 1 && w->cols > c->max_cols[w->type]; }

static void one_by_one(struct cpu *c, struct lin l, struct mat x)
{
	struct mat y = l.y;
	for (int t = 0; t < x.rows; t++) {
		l.y = mat_rows(y, t, 1);
		linear_group(c, &l, 1, mat_rows(x, t, 1));
	}
}

void cpu_linear(struct backend *b, const struct lin *l, int n, struct mat x)
{
	struct cpu *c = cpu_of(b);
	struct lin rest[MAX_LIN];
	int m = 0;
	for (int i = 0; i < n; i++) {            /* those that read x in one order share it */
		bool alone = lone(c, l[i].w);
		if (m && (alone || m == MAX_LIN || rest[0].w->order != l[i].w->order)) linear_group(c, rest, m, x), m = 0;
		if (alone) one_by_one(c, l[i], x);
		else rest[m++] = l[i];
	}
	if (m) linear_group(c, rest, m, x);
}
