/* cpu_moe.c - mixture of experts: routing, and the products of the chosen experts.
 * The (token, k) pairs are sorted by expert, tokens ascending, so that each expert meets its rows once: many rows as a
 * GEMM, few row by row.  A pair's numbers are those of a linear of its own row (exact.h), wherever it lies; the pairs
 * of a token are added in the order of k.  Four passes over the pool: inputs, gate and up, inputs, down; then the sum. */
#include "kernels/cpu_backend.h"

enum { UNIT_ROWS = 32 };             /* weight rows of a unit without a GEMM */

/* ---- routing ------------------------------------------------------------------------------------------------- */
struct route_job { struct mat sel, weight, logits; const float *bias; const struct moe *m; };

/* Logits become scores, in place. */
static void score(float *s, const struct moe *m)
{
	float top = s[0], sum = 0;
	int n = m->n_expert;
	if (m->chosen_softmax) return;
	if (m->gate == GATE_SIGMOID) {
		for (int i = 0; i < n; i++) s[i] = 1.0f / (1.0f + lm_expf(-s[i]));
		return;
	}
	for (int i = 1; i < n; i++) top = s[i] > top ? s[i] : top;
	for (int i = 0; i < n; i++) s[i] = lm_expf(s[i] - top), sum += s[i];
	for (int i = 0; i < n; i++) s[i] /= sum;
}

/* The best of n that is not out yet, the lower index first among equals; it is out then.  A NaN is beaten by nobody. */
static int take_best(const float *v, bool *out, int n)
{
	int best = -1;
	for (int i = 0; i < n; i++)
		if (!out[i] && (best < 0 || v[i] > v[best])) best = i;
	out[best] = true;
	return best;
}

/* Marks the experts of the groups that are not among the best. */
static void drop_groups(const float *choice, bool *out, const struct moe *m)
{
	float best[MAX_EXPERTS];
	bool taken[MAX_EXPERTS] = { false };
	int size = m->n_expert / m->n_group;
	for (int g = 0; g < m->n_group; g++) {
		const float *c = choice + g * size;
		float first = c[0], second = -INFINITY;
		for (int i = 1; i < size; i++) {
			if (c[i] > first) second = first, first = c[i];
			else if (c[i] > second) second = c[i];
		}
		best[g] = m->group_top2 && size > 1 ? first + second : first;
	}
	for (int i = 0; i < m->n_group_used; i++) take_best(best, taken, m->n_group);
	for (int i = 0; i < m->n_expert; i++) out[i] = !taken[i / size];
}

static void route_row(const struct route_job *j, int t)
{
	const struct moe *m = j->m;
	float *s = f32_row(j->logits, t), *w = f32_row(j->weight, t), choice[MAX_EXPERTS], sum = 0;
	bool out[MAX_EXPERTS] = { false };
	int32_t *sel = mat_row(j->sel, t);
	score(s, m);
	for (int i = 0; i < m->n_expert; i++) choice[i] = j->bias ? s[i] + j->bias[i] : s[i];
	if (m->n_group > 1) drop_groups(choice, out, m);
	for (int k = 0; k < m->n_used; k++) {
		sel[k] = take_best(choice, out, m->n_expert);
		w[k] = s[sel[k]];
	}
	if (m->chosen_softmax)
		for (int k = m->n_used - 1; k >= 0; k--) w[k] = lm_expf(w[k] - w[0]);      /* the first is the largest */
	for (int k = 0; k < m->n_used; k++) sum += w[k];
	for (int k = 0; k < m->n_used; k++) {
		if (m->chosen_softmax) w[k] /= sum;
		else if (m->renorm) w[k] /= sum + 1e-20f;
		w[k] *= m->scale;
	}
}

static void route_run(void *ctx, int tid, int nt)
{
	const struct route_job *j = ctx;
	int64_t lo, hi;
	cpu_share(j->logits.rows, tid, nt, &lo, &hi);
	for (int64_t t = lo; t < hi; t++) route_row(j, (int)t);
}

void cpu_route(struct backend *b, struct mat sel, struct mat weight, struct mat logits, const struct mat *bias, const struct moe *m)
{
	struct route_job j = { sel, weight, logits, bias && bias->base ? mat_row(*bias, 0) : NULL, m };
	cpu_run(cpu_of(b), (int64_t)logits.rows * m->n_expert * (m->n_used + 8), route_run, &j);
}

/* ---- scratch ------------------------------------------------------------------------------------------------- */
int cpu_moe_room(struct backend *b, const struct moe *m, int n_embd, int n_ff, struct lm_err *err)
{
	struct cpu *c = cpu_of(b);
	struct moe_shape s = { m->n_expert, m->n_used, n_ff, n_embd };
	if (m->n_expert > MAX_EXPERTS || m->n_used > m->n_expert)
		return lm_fail(err, LM_EUNSUPPORTED, "%d of %d experts, expected at most %d", m->n_used, m->n_expert, MAX_EXPERTS);
	for (int i = 0; i < c->n_moe; i++)
		if (!memcmp(&c->moe[i], &s, sizeof s)) return 0;
	if (c->n_moe == MAX_MOE) return lm_fail(err, LM_EUNSUPPORTED, "more than %d shapes of expert layers", MAX_MOE);
	c->moe[c->n_moe++] = s;
	if (n_embd > c->max_cols[DT_F32]) c->max_cols[DT_F32] = n_embd;        /* a router of one row: not row by row */
	for (int t = 0; t < DT_COUNT && (n_ff == 1 || n_embd == 1); t++)       /* experts of one row are matrices as others are */
		if (c->one_cols[t] > c->max_cols[t]) c->max_cols[t] = c->one_cols[t];
	c->cap_rows = 0;                                                       /* begin() sizes the scratch anew */
	return 0;
}

/* Rows that the packed inputs of all experts may take: each begins a new tile. */
static int packed_rows(const struct moe_shape *s, int rows, int mr)
{
	return rows * s->n_used + s->n_expert * (mr - 1);
}

static int ints_of(const struct moe_shape *s, int rows) { return 2 * rows * s->n_used + 8 * (s->n_expert + 1); }

int cpu_moe_scratch(struct cpu *c, int rows, struct lm_err *err)
{
	size_t x[3] = { 0 }, xp[3] = { 0 }, g = 0, d = 0, i = 0, up = 0;
	int strip = DECODE_ROWS, rc = 0;
	for (int k = 0; k < c->n_moe; k++) {
		const struct moe_shape *s = &c->moe[k];
		size_t pairs = (size_t)rows * (size_t)s->n_used;
		int wide = s->n_ff > s->n_embd ? s->n_ff : s->n_embd;
		for (int t = 0; t < DT_COUNT; t++) {
			const struct kern_gemm *m = c->k.w[t].gemm;
			if (!c->max_cols[t]) continue;
			enum dot_class cl = quant_info((enum dtype)t)->dot;
			most(&x[cl], pairs * x_bytes(cl, wide));
			if (m && m->pack_x) most(&xp[cl], m->xp_bytes(packed_rows(s, rows, m->mr), wide));
			if (m && m->nr > strip) strip = m->nr;
		}
		most(&g, pairs * (size_t)s->n_ff * sizeof(float));
		most(&d, pairs * (size_t)s->n_embd * sizeof(float));
		most(&i, (size_t)ints_of(s, rows) * sizeof(int32_t));
	}
	most(&up, (size_t)rows * (size_t)strip * sizeof(float));
	most(&up, FEW_MAX * MAX_UNITS * UNIT_ROWS * sizeof(float));
	c->moe_up_stride = x_align(up) + 64;
	if (!c->n_moe) return 0;
	for (int k = 0; k < 3 && !rc; k++) {
		rc = scratch_want(&c->pair_x[k], x[k], err);
		if (!rc) rc = scratch_want(&c->pair_xp[k], xp[k], err);
	}
	if (!rc) rc = scratch_want(&c->pair_g, g, err);
	if (!rc) rc = scratch_want(&c->pair_d, d, err);
	if (!rc) rc = scratch_want(&c->pair_i, i, err);
	return rc ? rc : scratch_want(&c->moe_up, c->moe_up_stride * (size_t)c->n_threads, err);
}

void cpu_moe_close(struct cpu *c)
{
	struct scratch *all[] = { &c->pair_g, &c->pair_d, &c->pair_i, &c->moe_up };
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) lm_free(all[i]->p);
	for (int i = 0; i < 3; i++) {
		lm_free(c->pair_x[i].p);
		lm_free(c->pair_xp[i].p);
	}
}

/* ---- experts ------------------------------------------------------------------------------------------------- */
struct moe_job {
	struct cpu *c;
	struct mat y, x, sel, weight;
	const struct experts *e;
	int n_used, n_pair, n_active;
	int32_t *token;                  /* [n_pair] of the sorted pairs */
	int32_t *place;                  /* [n_pair] where pair t * n_used + k went */
	int32_t *start;                  /* [n_expert + 1] sorted pairs of an expert */
	int32_t *active;                 /* [n_active] experts with pairs */
	int32_t *tile[3];                /* [n_active] first packed row, by dot class */
	int32_t *unit0;                  /* [n_active + 1] units of the product at hand */
	/* the product at hand */
	const struct mat *w, *w2;        /* [n_expert]; w2 has the same inputs; NULL: none */
	bool down, want[3];
	int cols;
	int64_t first;                   /* units that each thread begins with */
	const struct kern_gemm *gemm[3];
};

static int rows_of(const struct moe_job *j, int e) { return j->start[e + 1] - j->start[e]; }
static char *pair_row(const struct moe_job *j, int d, int64_t p)
{
	return j->c->pair_x[d].p + (size_t)p * x_bytes((enum dot_class)d, j->cols);
}

static void sort_pairs(struct moe_job *j, int32_t *ints)
{
	int n = j->e->n_expert, at = 0;
	j->token = ints, j->place = j->token + j->n_pair, j->start = j->place + j->n_pair, j->active = j->start + n + 1;
	j->unit0 = j->active + n;
	for (int d = 0; d < 3; d++) j->tile[d] = j->unit0 + (n + 1) + d * n;
	memset(j->start, 0, (size_t)(n + 1) * sizeof *j->start);
	for (int t = 0; t < j->x.rows; t++)
		for (int k = 0; k < j->n_used; k++) j->start[((const int32_t *)mat_row(j->sel, t))[k]]++;
	for (int i = 0; i < n; i++) {
		int count = j->start[i];
		if (count) j->active[j->n_active++] = i;
		j->start[i] = at;
		at += count;
	}
	j->start[n] = at;
	for (int t = 0; t < j->x.rows; t++)
		for (int k = 0; k < j->n_used; k++) {
			int32_t p = j->start[((const int32_t *)mat_row(j->sel, t))[k]]++;
			j->token[p] = t;
			j->place[t * j->n_used + k] = p;
		}
	memmove(j->start + 1, j->start, (size_t)n * sizeof *j->start);       /* each start had run to the next */
	j->start[0] = 0;
}

/* What the weights of the product need: classes, packing, where each expert's packed rows begin, units. */
static int64_t plan(struct moe_job *j, const struct mat *w, const struct mat *w2, bool down)
{
	int64_t macs = 0;
	int packed[3] = { 0 };
	j->w = w, j->w2 = w2, j->down = down, j->cols = w[0].cols;
	for (int d = 0; d < 3; d++) j->want[d] = false, j->gemm[d] = NULL;
	for (int a = 0; a < j->n_active; a++) {
		int e = j->active[a], n = rows_of(j, e);
		const struct mat *ws[2] = { &w[e], w2 ? &w2[e] : NULL };
		for (int i = 0; i < 2 && ws[i]; i++) {
			enum dot_class d = quant_info(ws[i]->type)->dot;
			j->want[d] = true;
			if (cpu_by_gemm(j->c, ws[i], n)) j->gemm[d] = j->c->k.w[ws[i]->type].gemm;
			macs += (int64_t)n * ws[i]->rows * ws[i]->cols;
		}
	}
	for (int a = 0; a < j->n_active; a++)
		for (int d = 0; d < 3; d++) {
			int mr = j->gemm[d] ? j->gemm[d]->mr : 1;
			j->tile[d][a] = packed[d];
			packed[d] += (rows_of(j, j->active[a]) + mr - 1) / mr * mr;
		}
	return macs;
}

/* Whether expert e's rows are wanted packed. */
static bool by_gemm(const struct moe_job *j, int e)
{
	int n = rows_of(j, e);
	return cpu_by_gemm(j->c, &j->w[e], n) || (j->w2 && cpu_by_gemm(j->c, &j->w2[e], n));
}

/* Few pairs: weight rows are read as they come, without panels. */
static bool streamed(const struct moe_job *j, int e)
{
	return rows_of(j, e) < GEMM_MIN || cpu_by_few(j->c, &j->w[e], rows_of(j, e));
}

/* Weight rows of a unit of expert e. */
static int unit_rows(const struct moe_job *j, int e)
{
	int n = rows_of(j, e);
	if (streamed(j, e)) return UNIT_ROWS;
	return cpu_by_gemm(j->c, &j->w[e], n) ? j->c->k.w[j->w[e].type].gemm->nr : DECODE_ROWS;
}

/* Inputs of the sorted pairs: a token's quantised row, copied, or the activation between the products, quantised. */
static void inputs_run(void *ctx, int tid, int nt)
{
	const struct moe_job *j = ctx;
	struct cpu *c = j->c;
	int64_t lo, hi;
	for (int d = 0; d < 3; d++) {
		const struct kern_gemm *g = j->gemm[d];
		size_t row = x_bytes((enum dot_class)d, j->cols);
		for (int a = 0; j->want[d] && a < j->n_active; a++) {
			int first = j->start[j->active[a]], n = rows_of(j, j->active[a]);
			lm_split(n, g ? g->mr : 1, (tid + a) % nt, nt, &lo, &hi);
			for (int64_t p = first + lo; p < first + hi; p++) {
				if (!j->down) memcpy(pair_row(j, d, p), c->x[d].p + (size_t)j->token[p] * row, row);
				else cpu_quantise(c, pair_row(j, d, p), (const float *)c->pair_g.p + p * j->cols, (enum dot_class)d, j->cols);
			}
			if (g && g->pack_x && hi > lo && by_gemm(j, j->active[a]))
				g->pack_x(c->pair_xp[d].p + g->xp_bytes(j->tile[d][a] + (int)lo, j->cols), pair_row(j, d, first + lo), (int)(hi - lo), j->cols);
		}
	}
}

/* Rows [r, r+n) of w for the pairs of the a-th active expert, plus bias, to y[pair * stride + i]. */
static void product(const struct moe_job *j, int a, const struct mat *w, struct mat bias, int r, int n, float *y, int64_t stride, char *panel)
{
	int e = j->active[a], n_tok = rows_of(j, e);
	enum dot_class d = quant_info(w->type)->dot;
	const struct kern_gemm *g = j->gemm[d];
	struct strip s = { w, r, n, y, stride, n_tok, pair_row(j, (int)d, j->start[e]),
	                   g && g->pack_x ? j->c->pair_xp[d].p + g->xp_bytes(j->tile[d][a], j->cols) : NULL };
	cpu_strip(j->c, &s, panel);
	if (!bias.base) return;
	const float *b = (const float *)mat_row(bias, e) + r;
	for (int t = 0; t < n_tok; t++)
		for (int i = 0; i < n; i++) y[t * stride + i] += b[i];
}

/* Weight rows [r, r+n) of the a-th active expert. */
static void strip(const struct moe_job *j, int a, int r, int n, int tid)
{
	struct cpu *c = j->c;
	const struct experts *x = j->e;
	char *panel = c->panel.p + (size_t)tid * c->panel_stride;
	int e = j->active[a], rows = j->w[e].rows, n_tok = rows_of(j, e);
	float *y = (float *)(j->down ? c->pair_d.p : c->pair_g.p) + (int64_t)j->start[e] * rows + r;
	if (j->down) {
		product(j, a, &x->down[e], x->bdown, r, n, y, rows, panel);
	} else if (!x->gate) {
		product(j, a, &x->up[e], x->bup, r, n, y, rows, panel);
		for (int t = 0; t < n_tok; t++) c->k.act(y + (int64_t)t * rows, y + (int64_t)t * rows, NULL, n, x->act);
	} else {
		float *up = (float *)(c->moe_up.p + (size_t)tid * c->moe_up_stride);
		product(j, a, &x->gate[e], x->bgate, r, n, y, rows, panel);
		product(j, a, &x->up[e], x->bup, r, n, up, n, panel);
		for (int t = 0; t < n_tok; t++) c->k.act(y + (int64_t)t * rows, y + (int64_t)t * rows, up + t * n, n, x->act);
	}
}

/* Units [lo, hi) of the a-th active expert: panel by panel, or all rows in one stream. */
static void units(const struct moe_job *j, int a, int lo, int hi, int tid)
{
	int e = j->active[a], step = unit_rows(j, e), end = hi * step < j->w[e].rows ? hi * step : j->w[e].rows, r = lo * step;
	if (streamed(j, e)) step = end - r;
	for (; r < end; r += step) strip(j, a, r, end - r < step ? end - r : step, tid);
}

/* Few rows: the first weights that this thread will read in the product that follows. */
static void fetch_down(const struct moe_job *j, int tid, int nt)
{
	const struct mat *w = &j->e->down[j->active[0]];
	int64_t per = (w->rows + UNIT_ROWS - 1) / UNIT_ROWS, u = first_units(per * j->n_active, nt) * tid;
	w = &j->e->down[j->active[u / per]];
	int r = (int)(u % per) * UNIT_ROWS;
	cpu_fetch(mat_row(*w, r), (w->rows - r) * w->stride);
}

static void units_run(void *ctx, int tid, int nt)
{
	const struct moe_job *j = ctx;
	int64_t rest = nt > 1 ? j->first * nt : 0, n = j->unit0[j->n_active] - rest, lo = j->first * tid, hi = nt > 1 ? lo + j->first : n;
	int a = 0;
	do {
		while (lo < hi) {
			while (lo >= j->unit0[a + 1]) a++;
			int64_t to = hi < j->unit0[a + 1] ? hi : j->unit0[a + 1];
			units(j, a, (int)(lo - j->unit0[a]), (int)(to - j->unit0[a]), tid);
			lo = to;
		}
	} while (nt > 1 && lm_pool_part(j->c->pool, n, MAX_UNITS, &lo, &hi) && (lo += rest, hi += rest, true));
	if (nt > 1 && !j->down && j->x.rows <= FEW_MAX) fetch_down(j, tid, nt);
}

static void multiply(struct moe_job *j, const struct mat *w, const struct mat *w2, bool down)
{
	int64_t macs = plan(j, w, w2, down);
	j->unit0[0] = 0;
	for (int a = 0; a < j->n_active; a++) {
		int e = j->active[a], step = unit_rows(j, e);
		j->unit0[a + 1] = j->unit0[a] + (w[e].rows + step - 1) / step;
	}
	j->first = first_units(j->unit0[j->n_active], j->c->n_threads);
	cpu_run(j->c, 2 * (int64_t)j->n_pair * j->cols, inputs_run, j);
	if (macs >= 1 << 16 && j->c->n_threads > 1) lm_pool_run(j->c->pool, units_run, j);
	else units_run(j, 0, 1);
}

static void tokens_run(void *ctx, int tid, int nt)
{
	const struct moe_job *j = ctx;
	int64_t lo, hi;
	cpu_share(j->x.rows, tid, nt, &lo, &hi);
	for (int d = 0; d < 3; d++)
		for (int64_t t = lo; j->want[d] && t < hi; t++)
			cpu_quantise(j->c, j->c->x[d].p + (size_t)t * x_bytes((enum dot_class)d, j->x.cols), f32_row(j->x, (int)t), (enum dot_class)d, j->x.cols);
}

static void sum_run(void *ctx, int tid, int nt)
{
	const struct moe_job *j = ctx;
	int64_t lo, hi;
	cpu_share(j->y.rows, tid, nt, &lo, &hi);
	for (int64_t t = lo; t < hi; t++) {
		float *y = f32_row(j->y, (int)t);
		const float *w = f32_row(j->weight, (int)t);
		memset(y, 0, (size_t)j->y.cols * sizeof *y);
		for (int k = 0; k < j->n_used; k++)
			j->c->k.add(y, (const float *)j->c->pair_d.p + (int64_t)j->place[t * j->n_used + k] * j->y.cols, w[k], j->y.cols);
	}
}

void cpu_experts(struct backend *b, struct mat y, struct mat x, const struct experts *e, struct mat sel, struct mat weight)
{
	struct cpu *c = cpu_of(b);
	struct moe_job j = { .c = c, .y = y, .x = x, .sel = sel, .weight = weight, .e = e, .n_used = sel.cols, .n_pair = x.rows * sel.cols };
	sort_pairs(&j, (int32_t *)(void *)c->pair_i.p);
	plan(&j, e->up, e->gate, false);
	cpu_run(c, 8 * (int64_t)x.rows * x.cols / 4, tokens_run, &j);
	multiply(&j, e->gate ? e->gate : e->up, e->gate ? e->up : NULL, false);
	multiply(&j, e->down, NULL, true);
	cpu_run(c, (int64_t)j.n_pair * y.cols, sum_run, &j);
}
