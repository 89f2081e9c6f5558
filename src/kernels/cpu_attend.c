/* cpu_attend.c - rotary positions, the KV cache and attention over it.
 * A tile is a few consecutive rows of one sequence times the query heads of one KV head: its keys and values are read
 * once for all of them.  Chunks of KV_CHUNK absolute positions are visited ascending, whatever the tile (exact.h). */
#include "kernels/cpu_backend.h"

/* ---- rotary positions ---------------------------------------------------------------------------------------- */
/* Cody-Waite reduction by pi/2 in three parts, then Taylor polynomials on [-pi/4, pi/4] (error below 1e-13). */
void lm_sincos(double x, double *s, double *c)
{
	double n = rint(x * 0.63661977236758134308);
	double r = ((x - n * 1.57079632673412561417) - n * 6.07710050630396597660e-11) - n * 2.02226624879595063154e-21;
	double z = r * r;
	double sn = r + r * z * (-1.0 / 6 + z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880 + z * (-1.0 / 39916800 + z / 6227020800.0)))));
	double cs = 1 - z / 2 + z * z * (1.0 / 24 + z * (-1.0 / 720 + z * (1.0 / 40320 + z * (-1.0 / 3628800 + z / 479001600.0))));
	switch ((int64_t)n & 3) {
	case 0: *s = sn, *c = cs; break;
	case 1: *s = cs, *c = -sn; break;
	case 2: *s = -sn, *c = -cs; break;
	default: *s = -cs, *c = sn; break;
	}
}

struct rope_job { struct cpu *c; const struct rope *r; const struct seqs *s; struct rope_table *table; struct mat x; int head_dim; };

static void table_job(void *ctx, int tid, int nt)
{
	const struct rope_job *j = ctx;
	int half = j->r->dims / 2;
	int64_t lo, hi;
	cpu_share(j->s->n_rows, tid, nt, &lo, &hi);
	for (int64_t t = lo; t < hi; t++) {
		float *cs = (float *)j->table->cs.p + t * j->r->dims;
		for (int i = 0; i < half; i++) {
			double sn, c;
			lm_sincos((double)j->s->pos[t] * j->r->inv_freq[i], &sn, &c);
			cs[i] = (float)c * j->r->mscale;
			cs[half + i] = (float)sn * j->r->mscale;
		}
	}
}

static void rotate_job(void *ctx, int tid, int nt)
{
	const struct rope_job *j = ctx;
	int64_t lo, hi;
	cpu_share(j->s->n_rows, tid, nt, &lo, &hi);
	for (int64_t t = lo; t < hi; t++)
		for (int h = 0; h + j->head_dim <= j->x.cols; h += j->head_dim)
			j->c->k.rope(f32_row(j->x, (int)t) + h, (const float *)j->table->cs.p + t * j->r->dims, j->r->dims, j->r->kind);
}

/* The cos and sin of this step's positions, made once for all layers.  begin() has sized the tables for the heads
 * that kv_bytes was asked about; only a rope without a cache (tests) is sized here. */
static struct rope_table *table_of(struct cpu *c, const struct rope *r)
{
	for (int i = 0; i < MAX_ROPES; i++) {
		struct rope_table *t = &c->rope[i];
		if (t->inv_freq && t->inv_freq != r->inv_freq) continue;
		t->inv_freq = r->inv_freq;
		t->dims = r->dims;
		return scratch_want(&t->cs, (size_t)c->cap_rows * (size_t)r->dims * 4, NULL) ? NULL : t;
	}
	c->rope[0].inv_freq = r->inv_freq;       /* more kinds of RoPE than tables: reuse the first */
	c->rope[0].dims = r->dims;
	c->rope[0].pos = NULL;
	return scratch_want(&c->rope[0].cs, (size_t)c->cap_rows * (size_t)r->dims * 4, NULL) ? NULL : &c->rope[0];
}

void cpu_rope(struct backend *b, struct mat x, int head_dim, const struct seqs *s, const struct rope *r)
{
	struct rope_job j = { cpu_of(b), r, s, table_of(cpu_of(b), r), x, head_dim };
	if (!j.table) return;
	if (j.table->pos != s->pos || j.table->n_rows != s->n_rows)
		cpu_run(j.c, (int64_t)s->n_rows * r->dims * 16, table_job, &j);
	j.table->pos = s->pos;
	j.table->n_rows = s->n_rows;
	cpu_run(j.c, (int64_t)x.rows * x.cols, rotate_job, &j);
}

/* ---- the cache ---------------------------------------------------------------------------------------------------- */
struct put_job { struct cpu *c; const struct kv *kv; struct mat k, v; const struct attn *a; const struct seqs *s; };

/* int8 codes and scales of a head's vector, as exact.h quantises activations (x32 row of dim elements). */
struct q8 { const int8_t *q; const float *d; };
static struct q8 quantise_head(struct cpu *c, int tid, const float *x, int dim)
{
	char *row = c->attn.p + (size_t)tid * c->attn_stride;
	c->k.quant_x32(row, x, dim);
	return (struct q8){ (const int8_t *)row, (const float *)(row + x32_d(dim)) };
}

static void put_key(struct cpu *c, int tid, char *head, enum dtype t, int dim, int p, const float *x)
{
	if (t == DT_Q8_0) {
		struct q8 v = quantise_head(c, tid, x, dim);
		for (int d = 0; d < dim; d++) head[kv_key_at(t, dim, p, d)] = (char)v.q[d];
		for (int d = 0; d < dim; d += 32) memcpy(head + kv_key_scale_at(dim, p, d), v.d + d / 32, 4);
	} else if (t == DT_F32) {
		for (int d = 0; d < dim; d++) memcpy(head + kv_key_at(t, dim, p, d), x + d, 4);
	} else {
		uint16_t *h = (uint16_t *)(c->attn.p + (size_t)tid * c->attn_stride);
		if (t == DT_F16) c->k.to_f16(h, x, dim);
		else
			for (int d = 0; d < dim; d++) h[d] = quant_f32_to_bf16(x[d]);
		char *at = head + kv_key_at(t, dim, p, 0);
		for (int d = 0; d < dim; d++) memcpy(at + 32 * (size_t)d, h + d, 2);
	}
}

static void put_value(struct cpu *c, int tid, char *head, enum dtype t, int dim, int p, const float *x)
{
	char *at = head + kv_value_at(t, dim, p, 0);
	if (t == DT_Q8_0) {
		struct q8 v = quantise_head(c, tid, x, dim);
		memcpy(at, v.q, (size_t)dim);
		memcpy(head + kv_value_scale_at(dim, p, 0), v.d, (size_t)dim / 32 * sizeof(float));
	} else if (t == DT_F32) memcpy(at, x, (size_t)dim * sizeof(float));
	else if (t == DT_F16) c->k.to_f16((uint16_t *)at, x, dim);
	else
		for (int d = 0; d < dim; d++) ((uint16_t *)at)[d] = quant_f32_to_bf16(x[d]);
}

static void put_job(void *ctx, int tid, int nt)
{
	const struct put_job *j = ctx;
	const struct attn *a = j->a;
	int64_t lo, hi;
	lm_split(j->s->n_rows, KV_BLOCK, tid, nt, &lo, &hi);
	for (int64_t r = lo; r < hi; r++) {
		int pos = j->s->pos[r], p = pos % KV_BLOCK;
		int32_t id = j->s->table[j->s->seq[r]][pos / KV_BLOCK];
		const float *k = f32_row(j->k, (int)r), *v = f32_row(j->v, (int)r);
		for (int h = 0; h < a->n_kv; h++) {
			put_key(j->c, tid, kv_head(j->kv->k, id, j->kv->k.type, a->dim_k, h), j->kv->k.type, a->dim_k, p, k + h * a->dim_k);
			if (!a->v_at) put_value(j->c, tid, kv_head(j->kv->v, id, j->kv->v.type, a->dim_v, h), j->kv->v.type, a->dim_v, p, v + h * a->dim_v);
		}
	}
}

void cpu_kv_put(struct backend *b, const struct kv *kv, struct mat k, struct mat v, const struct attn *a, const struct seqs *s)
{
	struct put_job j = { cpu_of(b), kv, k, v, a, s };
	cpu_run(j.c, (int64_t)s->n_rows * (k.cols + v.cols), put_job, &j);
}

/* ---- attention ------------------------------------------------------------------------------------------------------ */
struct tile { int row, n, end; };                /* rows [row, row+n) of one sequence, whose last position is end-1 */
struct attend_job {
	struct cpu *c;
	struct mat y, q;
	const struct kv *kv;
	const struct attn *a;
	const struct seqs *s;
	const struct tile *tile;
	int n_tile, heads, n_part;               /* query heads of a unit; units per KV head */
};

/* One thread's memory: queries, scores, this chunk's outputs, merged outputs. */
struct work { float *q, *s, *oc, *o; char *v; float m[ATTN_TILE], l[ATTN_TILE]; int lo[ATTN_TILE], hi[ATTN_TILE]; bool seen[ATTN_TILE]; };

size_t cpu_attn_bytes(int dim)
{
	size_t n = ((size_t)dim * 3 + KV_CHUNK) * ATTN_TILE * sizeof(float), q8 = x32_bytes(dim) + 256;
	n += (size_t)kv_head_bytes(DT_F32, dim) * (KV_CHUNK / KV_BLOCK);        /* values that lie in the keys */
	return n > q8 ? n : q8;
}

/* Positions that the row at pos sees: [*lo, *hi). */
static void sees(const struct attn *a, int pos, int end, int *lo, int *hi)
{
	int back = a->causal ? a->window - 1 : a->window / 2;
	*hi = a->causal ? pos + 1 : end;
	if (!a->causal && a->window > 0 && *hi - pos > a->window / 2 + 1) *hi = pos + a->window / 2 + 1;
	*lo = a->window > 0 && pos > back ? pos - back : 0;
}

/* Merges this chunk's (m, l, oc) of the n pairs into the running ones; a pair that sees nothing of it has lo == hi. */
static void merge(const struct attend_job *j, struct work *w, int n, const float *mc, const float *lc)
{
	size_t dim = (size_t)j->a->dim_v;
	float f[2 * ATTN_TILE];          /* exp(m - M) and exp(mc - M) of each pair */
	for (int i = 0; i < n; i++) {
		bool both = w->hi[i] > w->lo[i] && w->seen[i];
		float m = both && w->m[i] > mc[i] ? w->m[i] : mc[i];
		f[2 * i] = both ? w->m[i] - m : 0;
		f[2 * i + 1] = both ? mc[i] - m : 0;
	}
	j->c->k.exp(f, f, 2 * n);
	for (int i = 0; i < n; i++) {
		float *o = w->o + (size_t)i * dim, *oc = w->oc + (size_t)i * dim, a = f[2 * i], b = f[2 * i + 1];
		if (w->hi[i] <= w->lo[i]) continue;
		if (!w->seen[i]) {
			w->seen[i] = true;
			w->m[i] = mc[i];
			w->l[i] = lc[i];
			memcpy(o, oc, dim * sizeof *o);
			continue;
		}
		w->m[i] = w->m[i] > mc[i] ? w->m[i] : mc[i];
		w->l[i] = fmaf(lc[i], b, w->l[i] * a);
		j->c->k.attn_merge(o, oc, a, b, (int)dim);
	}
}

/* The values of one block out of its keys, in the layout of values.  One query row of a layer reads a block for all of
 * its heads, so this costs a few per cent of the products. */
static void values_of(char *to, const char *keys, enum dtype t, const struct attn *a)
{
	if (t == DT_Q8_0) {
		for (int p = 0; p < KV_BLOCK; p++)
			for (int d = 0; d < a->dim_v; d++) {
				to[kv_value_at(t, a->dim_v, p, d)] = keys[kv_key_at(t, a->dim_k, p, a->v_at + d)];
				if (d % 32 == 0) memcpy(to + kv_value_scale_at(a->dim_v, p, d), keys + kv_key_scale_at(a->dim_k, p, a->v_at + d), 4);
			}
		return;
	}
	for (int half = 0; half < 2; half++)
		for (int d = 0; d < a->dim_v; d++) {
			const char *from = keys + kv_key_at(t, a->dim_k, half * 16, a->v_at + d);
			char *at = to + kv_value_at(t, a->dim_v, half * 16, d);
			for (int i = 0; i < 16; i++) {
				if (t == DT_F32) memcpy(at + (size_t)i * (size_t)a->dim_v * 4, from + i * 4, 4);
				else memcpy(at + (size_t)i * (size_t)a->dim_v * 2, from + i * 2, 2);
			}
		}
}

/* A sink joins the sum of pair i last, with no value; returns the factor of the output. */
static float join_sink(struct work *w, int i, float sink)
{
	float m = w->m[i] > sink ? w->m[i] : sink, a = lm_expf(w->m[i] - m);
	w->l[i] = fmaf(w->l[i], a, lm_expf(sink - m));
	return a;
}

/* One chunk of positions [base, base + KV_CHUNK) for the n pairs of a tile. */
static void chunk(const struct attend_job *j, struct work *w, const int32_t *table, int base, int last, int kv_h, int n, const int *lo, const int *hi)
{
	const struct attn *a = j->a;
	enum { MOST = KV_CHUNK / KV_BLOCK + KV_AHEAD };
	const void *kb[MOST], *vb[MOST];
	enum dtype vt = a->v_at ? j->kv->k.type : j->kv->v.type;
	float mc[ATTN_TILE] = { 0 }, lc[ATTN_TILE];
	int end = 0;
	for (int i = 0; i < n; i++) {
		w->lo[i] = lo[i] > base ? lo[i] - base : 0;
		w->hi[i] = hi[i] - base < KV_CHUNK ? hi[i] - base : KV_CHUNK;
		if (w->hi[i] <= w->lo[i]) w->lo[i] = w->hi[i] = 0;
		if (w->hi[i] > end) end = w->hi[i];
	}
	if (end == 0) return;
	int n_block = (end + KV_BLOCK - 1) / KV_BLOCK;
	for (int i = 0; i < n_block; i++) {
		int32_t id = table[base / KV_BLOCK + i];
		kb[i] = kv_head(j->kv->k, id, j->kv->k.type, a->dim_k, kv_h);
		if (!a->v_at) {
			vb[i] = kv_head(j->kv->v, id, vt, a->dim_v, kv_h);
			continue;
		}
		char *v = w->v + i * kv_head_bytes(vt, a->dim_v);
		values_of(v, kb[i], vt, a);
		vb[i] = v;
	}
	for (int i = 0, at = base / KV_BLOCK + n_block; i < KV_AHEAD; i++, at++) {        /* what is read next */
		kb[n_block + i] = vb[i < n_block ? i : n_block - 1];
		vb[n_block + i] = at * KV_BLOCK < last ? kv_head(j->kv->k, table[at], j->kv->k.type, a->dim_k, kv_h) : vb[0];
	}
	j->c->k.attn_score(w->s, w->q, n, kb, n_block, j->kv->k.type, a->dim_k, a->scale, a->softcap);
	for (int i = 0; i < n; i++)
		if (w->hi[i] > w->lo[i]) j->c->k.attn_soft(w->s + (size_t)i * KV_CHUNK, w->lo[i], w->hi[i], &mc[i], &lc[i]);
	j->c->k.attn_value(w->oc, w->s, w->lo, w->hi, n, vb, vt, a->dim_v);
	merge(j, w, n, mc, lc);
}

static void attend_unit(const struct attend_job *j, const struct tile *t, int kv_h, int part, struct work *w)
{
	const struct attn *a = j->a;
	int group = a->n_head / a->n_kv, h0 = kv_h * group + part * j->heads;
	int heads = group - part * j->heads < j->heads ? group - part * j->heads : j->heads, n = t->n * heads;
	int lo[ATTN_TILE], hi[ATTN_TILE], first = INT32_MAX, last = 0;
	for (int i = 0; i < n; i++) {
		int r = t->row + i / heads;
		sees(a, j->s->pos[r], t->end, &lo[i], &hi[i]);
		if (lo[i] < first) first = lo[i];
		if (hi[i] > last) last = hi[i];
		memcpy(w->q + (size_t)i * (size_t)a->dim_k, f32_row(j->q, r) + (h0 + i % heads) * a->dim_k, (size_t)a->dim_k * sizeof(float));
		w->seen[i] = false;
	}
	for (int base = first / KV_CHUNK * KV_CHUNK; base < last; base += KV_CHUNK)
		chunk(j, w, j->s->table[j->s->seq[t->row]], base, last, kv_h, n, lo, hi);
	for (int i = 0; i < n; i++) {
		float *y = f32_row(j->y, t->row + i / heads) + (h0 + i % heads) * a->dim_v, scale = 1;
		const float *o = w->o + (size_t)i * (size_t)a->dim_v;
		if (a->sinks && a->sinks->base) scale = join_sink(w, i, ((const float *)mat_row(*a->sinks, 0))[h0 + i % heads]);
		for (int d = 0; d < a->dim_v; d++) y[d] = o[d] * scale / w->l[i];
	}
}

static void attend_run(void *ctx, int tid, int nt)
{
	const struct attend_job *j = ctx;
	struct cpu *c = j->c;
	struct work w;
	size_t dim = (size_t)c->max_dim * ATTN_TILE;
	w.q = (float *)(c->attn.p + (size_t)tid * c->attn_stride);
	w.s = w.q + dim;
	w.oc = w.s + (size_t)KV_CHUNK * ATTN_TILE;
	w.o = w.oc + dim;
	w.v = (char *)(w.o + dim);
	int64_t per = (int64_t)j->a->n_kv * j->n_part, n = per * j->n_tile, lo = 0, hi = n;
	if (nt > 1 && !lm_pool_next(c->pool, n, 1, &lo, &hi)) return;
	do {
		for (int64_t u = lo; u < hi; u++) {      /* the last tiles see most positions: take them first */
			const struct tile *t = &j->tile[j->n_tile - 1 - u / per];
			attend_unit(j, t, (int)(u % per / j->n_part), (int)(u % j->n_part), &w);
		}
	} while (nt > 1 && lm_pool_next(c->pool, n, 1, &lo, &hi));
}

void cpu_attend(struct backend *b, struct mat y, struct mat q, const struct kv *kv, const struct attn *a, const struct seqs *s)
{
	struct cpu *c = cpu_of(b);
	struct tile *tile = (struct tile *)c->tiles.p;
	struct attend_job j = { .c = c, .y = y, .q = q, .kv = kv, .a = a, .s = s, .tile = tile };
	int group = a->n_head / a->n_kv;
	int64_t work = 0;
	j.heads = group < ATTN_TILE ? group : ATTN_TILE;
	/* one row a sequence (decode) leaves few units: then the heads of a KV head are shared among threads too */
	if (s->n_rows == s->n_seqs && s->n_rows * a->n_kv < c->n_threads) j.heads = (j.heads + c->n_threads - 1) / c->n_threads;
	j.n_part = (group + j.heads - 1) / j.heads;
	for (int r = 0; r < s->n_rows; r++) {
		struct tile *t = j.n_tile ? &tile[j.n_tile - 1] : NULL;
		if (t && s->seq[t->row] == s->seq[r] && (t->n + 1) * j.heads <= ATTN_TILE) t->n++;
		else tile[j.n_tile++] = (struct tile){ r, 1, 0 };
		work += (int64_t)(s->pos[r] + 1) * (a->dim_k + a->dim_v) * a->n_head;
	}
	for (int i = j.n_tile - 1; i >= 0; i--) {        /* rows of a sequence are adjacent */
		bool last = i + 1 == j.n_tile || s->seq[tile[i + 1].row] != s->seq[tile[i].row];
		tile[i].end = last ? s->pos[tile[i].row + tile[i].n - 1] + 1 : tile[i + 1].end;
	}
	if (work >= 1 << 16 && c->n_threads > 1) lm_pool_run(c->pool, attend_run, &j);
	else attend_run(&j, 0, 1);
}
