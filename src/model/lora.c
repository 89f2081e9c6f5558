/* lora.c - adapters on a model: which weights they change, and what they add to a product.
 *
 * GOTCHAS
 *   views     q, k, v of a fused attn_qkv are rows of one tensor: a product is looked up by where its weight lies, and
 *             takes those rows of B.  Embedding and tied head share memory, so these two are found by name instead
 *   scale     a product's own scale (lin.scale, the embedding's) multiplies the added part too
 *   names     only weights that pass fwd_linear can be changed beside: products[] lists them, and all others are refused
 *   rank 1    is stored as rank 2: a device may take a matrix of one row for a vector */
#include "model/lora.h"
#include "model/layers.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct part {                        /* what one adapter does to one weight */
	uintptr_t at;                /* where the weight begins */
	int64_t stride;
	int32_t rows;
	int adapter;
	float scale;
	struct mat a, b;
};
struct lora {
	int n;
	const float *weight;         /* [n] of sequences that do not say */
	struct part *lin, *embd, *head;
	int n_lin, n_embd, n_head;
	int max_rank, max_out;       /* of lin and embd; the head's rows are added in stretches of max_out */
};

int lora_rank(const struct model *m) { return m->lora ? m->lora->max_rank : 0; }
int lora_width(const struct model *m) { return m->lora ? m->lora->max_out : 0; }

/* ---- loading --------------------------------------------------------------------------------------------- */
struct loader { struct model *m; struct lora *l; struct lm_err *err; };

static bool fits(const struct tensor *t, int64_t rows, int64_t cols)
{
	return t->n_dims == 2 && (rows < 0 || t->dim[0] == rows) && (cols < 0 || t->dim[1] == cols);
}

/* The base's weight; `output.weight` of a tied model is the embedding's. */
static const struct mat *weight_of(const struct model *m, const char *name)
{
	for (int i = 0; i < m->n_weight; i++)
		if (!strcmp(m->weight[i].name, name)) return &m->weight[i].w;
	return strcmp(name, "output.weight") ? NULL : &m->head;
}

/* Tensors of a layer that fwd_linear multiplies. */
static const char *const products[] = {
	"ssm_in",	 "ssm_out",	  "ssm_x",
	"attn_q",	 "attn_k",	  "attn_v",	   "attn_qkv",	      "attn_output",	  "attn_q_a",  "attn_q_b",
	"attn_kv_a_mqa", "ffn_gate",	  "ffn_up",	   "ffn_down",	      "ffn_gate_inp",	  "ssm_in",    "ssm_out",
	"ssm_x",	 "ssm_dt",	  "shortconv.in_proj", "shortconv.out_proj", "ffn_gate_shexp",
	"ffn_up_shexp",	 "ffn_down_shexp", "ffn_gate_inp_shexp",
};

/* A shared expert with a gate of its own is computed as an expert is, not as products. */
static bool is_product(const struct model *m, const char *name)
{
	char part[64], gate[64];
	int il, end = 0;

	if (!strcmp(name, "output.weight") || !strcmp(name, "token_embd.weight")) return true;
	if (sscanf(name, "blk.%d.%63[a-z0-9_.]%n", &il, part, &end) != 2 || name[end]) return false;
	char *dot = strrchr(part, '.');
	if (!dot || strcmp(dot, ".weight")) return false;
	*dot = 0;
	size_t i = 0, n = sizeof products / sizeof *products;
	while (i < n && strcmp(part, products[i])) i++;
	snprintf(gate, sizeof gate, "blk.%d.ffn_gate_inp_shexp.weight", il);
	return i < n && (i < n - 4 || i == n - 1 || !weight_of(m, gate));
}

/* A matrix of the adapter on the device, with at least two rows or columns where that is the rank's side. */
static int take_side(struct loader *l, struct mat *out, const struct tensor *t, bool rank_is_rows)
{
	struct model *m = l->m;
	const void *data;
	const struct dtype_info *info = quant_info(t->type);
	int64_t row = quant_row_bytes(t->type, t->dim[1]);
	int rc;

	if (!info || row < 0 || !m->be->op->has(m->be, t->type))
		return lm_fail(l->err, LM_EUNSUPPORTED, "%s: type %s is not one that device %s multiplies", t->name,
			       info ? info->name : "unknown", m->be->name);
	if ((rc = model_make(m, t, t->type, NULL, &data, l->err))) return rc;
	*out = (struct mat){ .rows = (int32_t)t->dim[0], .cols = (int32_t)t->dim[1], .stride = row, .type = t->type };
	if ((rank_is_rows ? out->rows : out->cols) > 1) return m->be->op->import(m->be, out, data, l->err);

	int32_t n = out->rows;
	out->rows = rank_is_rows ? 2 : n;
	out->cols = rank_is_rows ? out->cols : 2;
	out->stride = quant_row_bytes(t->type, out->cols);
	char *wide = out->stride > 0 ? lm_alloc(m->arena, (size_t)out->rows, (size_t)out->stride, 64) : NULL;
	if (!wide) return lm_fail(l->err, LM_ENOMEM, "out of memory for %s", t->name);
	for (int32_t i = 0; i < n; i++) memcpy(wide + i * out->stride, (const char *)data + i * row, (size_t)row);
	return m->be->op->import(m->be, out, wide, l->err);
}

static int misfit(struct loader *l, const struct low_rank *r, const struct mat *w)
{
	return lm_fail(l->err, LM_EFORMAT,
		       "%s: %lldx%lld and %lldx%lld do not fit %s, which is %dx%d: an adapter for another base?", r->a.name,
		       (long long)r->b.dim[0], (long long)r->b.dim[1], (long long)r->a.dim[0], (long long)r->a.dim[1], r->name,
		       (int)w->rows, (int)w->cols);
}

static int take_part(struct loader *l, const struct low_rank *r, int adapter)
{
	const struct mat *w = weight_of(l->m, r->name);
	struct lora *lo = l->l;
	bool head = !strcmp(r->name, "output.weight");
	int64_t rank = r->b.dim[1];
	int rc;

	if (!w || !is_product(l->m, r->name) || r->embed != !strcmp(r->name, "token_embd.weight"))
		return lm_fail(l->err, LM_EUNSUPPORTED, "%s: %s is not a matrix that an adapter can change here", r->a.name,
			       r->name);
	if (r->a.n_dims != 2 || r->b.n_dims != 2 || rank < 1 || rank > MAX_WIDTH) return misfit(l, r, w);
	if (r->embed ? !fits(&r->a, w->rows, rank) || !fits(&r->b, w->cols, rank)
		     : !fits(&r->a, rank, w->cols) || !fits(&r->b, w->rows, rank))
		return misfit(l, r, w);
	struct part *p = r->embed ? &lo->embd[lo->n_embd++] : head ? &lo->head[lo->n_head++] : &lo->lin[lo->n_lin++];
	*p = (struct part){ .at = (uintptr_t)w->base + w->off, .stride = w->stride, .rows = w->rows, .adapter = adapter,
			    .scale = r->scale };
	if ((rc = take_side(l, &p->a, &r->a, !r->embed))) return rc;
	if ((rc = take_side(l, &p->b, &r->b, false))) return rc;
	if (p->b.cols > lo->max_rank) lo->max_rank = p->b.cols;
	if (!head && p->b.rows > lo->max_out) lo->max_out = p->b.rows;
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct part *x = a, *y = b;
	return x->at != y->at ? (x->at < y->at ? -1 : 1) : (x->adapter > y->adapter) - (x->adapter < y->adapter);
}

int model_lora(struct model *m, const struct adapter *const *a, const float *weight, int n, struct lm_err *err)
{
	struct lora *l = lm_new(m->arena, struct lora, 1);
	float *w = lm_new(m->arena, float, n);
	int all = 0, rc;

	for (int i = 0; i < n; i++) all += a[i]->n_low;
	if (l) l->lin = lm_new(m->arena, struct part, all);
	if (l) l->embd = lm_new(m->arena, struct part, all);     /* a file may name one tensor in two ways */
	if (l) l->head = lm_new(m->arena, struct part, all);
	if (!l || !w || !l->lin || !l->embd || !l->head) return lm_fail(err, LM_ENOMEM, "out of memory for %d adapters", n);
	memcpy(w, weight, (size_t)n * sizeof *w);
	l->n = n;
	l->weight = w;
	l->max_out = m->hp.n_embd;
	l->max_rank = 1;
	for (int i = 0; i < n; i++)
		for (int k = 0; k < a[i]->n_low; k++)
			if (!a[i]->low[k].size && (rc = take_part(&(struct loader){ m, l, err }, &a[i]->low[k], i)))
				return lm_context(err, "%s: ", a[i]->path);
	qsort(l->lin, (size_t)l->n_lin, sizeof *l->lin, by_place);
	m->lora = l;
	return 0;
}

/* ---- running ------------------------------------------------------------------------------------------------ */
/* The weights of the sequence that batch row i belongs to. */
static const float *weights(const struct fwd *f, int i)
{
	const float *const *by_seq = f->batch->lora;
	const float *w = by_seq ? by_seq[f->at->seq[i]] : NULL;
	return w ? w : f->m->lora->weight;
}

/* y[i0..i0+n) += k * B t, in stretches of what the scratch holds. */
static void add_product(const struct fwd *f, struct mat y, struct mat b, struct mat t, float k)
{
	const struct backend_ops *op = f->be->op;
	struct mat all = mat_rows(f->st->lora_y, 0, y.rows);

	for (int c = 0; c < b.rows; c += all.cols) {
		int n = b.rows - c < all.cols ? b.rows - c : all.cols;
		struct mat some = mat_rows(b, c, n), d = mat_cols(all, 0, n);
		op->linear(f->be, &(struct lin){ d, &some, NULL, 1 }, 1, t);
		op->add(f->be, mat_cols(y, c, n), d, k);
	}
}

/* The last of the parts that lie at or before `at`, or -1. */
static int find(const struct lora *l, uintptr_t at)
{
	int lo = 0, hi = l->n_lin;
	while (lo < hi) {
		int mid = (lo + hi) / 2;
		if (l->lin[mid].at <= at) lo = mid + 1;
		else hi = mid;
	}
	return lo - 1;
}

/* Parts [*first, *first + count) change the product with w; *row: where w begins within their tensor. */
static int parts_of(const struct model *m, const struct mat *w, const struct part **first, int *row)
{
	const struct lora *l = m->lora;
	uintptr_t at = (uintptr_t)w->base + w->off;
	int i = find(l, at), n = 1;

	*row = 0;
	if (w == &m->head) return *first = l->head, l->n_head;
	if (i < 0 || at >= l->lin[i].at + (uintptr_t)(l->lin[i].stride * l->lin[i].rows)) return 0;
	*row = (int)((int64_t)(at - l->lin[i].at) / l->lin[i].stride);
	for (; i > 0 && l->lin[i - 1].at == l->lin[i].at; i--) n++;
	*first = &l->lin[i];
	return n;
}

/* Rows from `from` on that share their weights: how many. */
static int same_run(const struct fwd *f, const int32_t *row, int from, int n_rows)
{
	const float *w = weights(f, row ? row[from] : from);
	size_t size = (size_t)f->m->lora->n * sizeof *w;
	int i = from + 1;
	for (; i < n_rows; i++) {
		const float *o = weights(f, row ? row[i] : i);
		if (o != w && memcmp(o, w, size)) break;
	}
	return i - from;
}

static void add_parts(const struct fwd *f, const struct lin *l, struct mat x, const int32_t *row)
{
	const struct part *p = NULL;
	int at, n = parts_of(f->m, l->w, &p, &at);

	for (int i = 0, run; n && i < x.rows; i += run) {
		const float *w = weights(f, row ? row[i] : i);
		run = same_run(f, row, i, x.rows);
		for (int k = 0; k < n; k++) {
			struct mat t = mat_cols(mat_rows(f->st->lora_t, 0, run), 0, p[k].a.rows);
			if (w[p[k].adapter] == 0) continue;
			f->be->op->linear(f->be, &(struct lin){ t, &p[k].a, NULL, 1 }, 1, mat_rows(x, i, run));
			add_product(f, mat_rows(l->y, i, run), mat_rows(p[k].b, at, l->w->rows), t,
				    l->scale * w[p[k].adapter] * p[k].scale);
		}
	}
}

void fwd_linear_at(const struct fwd *f, const struct lin *l, int n, struct mat x, const int32_t *row)
{
	f->be->op->linear(f->be, l, n, x);
	if (!f->m->lora) return;
	for (int i = 0; i < n; i++) add_parts(f, &l[i], x, row);
}

void fwd_linear(const struct fwd *f, const struct lin *l, int n, struct mat x) { fwd_linear_at(f, l, n, x, NULL); }

void fwd_embed(const struct fwd *f, struct mat y)
{
	const struct lora *l = f->m->lora;
	float scale = f->m->hp.embed_scale;

	f->be->op->embed(f->be, y, &f->m->embd, f->at, scale);
	for (int i = 0, run; l && l->n_embd && i < y.rows; i += run) {
		const float *w = weights(f, i);
		struct seqs at = { .token = f->at->token + i };
		run = at.n_rows = same_run(f, NULL, i, y.rows);
		for (int k = 0; k < l->n_embd; k++) {
			const struct part *p = &l->embd[k];
			struct mat t = mat_cols(mat_rows(f->st->lora_t, 0, run), 0, p->a.cols);
			if (w[p->adapter] == 0) continue;
			f->be->op->embed(f->be, t, &p->a, &at, 1);
			add_product(f, mat_rows(y, i, run), p->b, t, scale * w[p->adapter] * p->scale);
		}
	}
}
