/* head.c - what follows the last norm in models that embed or classify: dense layers, a classifier, and what the keys
 * say about them.  The pooling between the rows and these is the caller's (engine/embed.c): it may span passes. */
#include "model/layers.h"
#include <stdio.h>
#include <string.h>

/* Rows of the tensor `name`, 0 when it is absent. */
static int rows_of(int *out, const struct file *f, const char *name, struct lm_err *err)
{
	const struct tensor *t = file_tensor(f, name);

	*out = 0;
	if (!t) return 0;
	if (t->dim[0] < 1 || t->dim[0] > MAX_WIDTH)
		return lm_fail(err, LM_EFORMAT, "%s: %lld rows, expected 1 to %d", name, (long long)t->dim[0], MAX_WIDTH);
	*out = (int)t->dim[0];
	return 0;
}

int heads_size(struct model *m, const struct file *f, struct lm_err *err)
{
	struct heads *h = &m->heads;
	int rc = rows_of(&h->n_type, f, "token_types.weight", err);
	char name[32];

	if (!rc) rc = rows_of(&h->n_label, f, "cls.output.weight", err);
	for (int i = 0; i < MAX_DENSE && !rc; i++) {
		snprintf(name, sizeof name, "dense_%d.weight", i + 2);
		rc = rows_of(&h->dense_out[i], f, name, err);
	}
	return rc;
}

static int load_act(enum head_act *out, const struct file *f, const char *arch, const char *key, struct lm_err *err)
{
	static const char *const names[] = { "identity", "tanh", "relu", "gelu" };
	char name[160];
	const char *s;
	size_t n;

	snprintf(name, sizeof name, "%s.%s", arch, key);
	if (!file_has(f, name)) return 0;
	if (!file_str(f, name, &s, &n)) return lm_fail(err, LM_EFORMAT, "%s is not a string", name);
	for (int i = 0; i < 4; i++)
		if (n == strlen(names[i]) && !memcmp(s, names[i], n)) {
			*out = (enum head_act)i;
			return 0;
		}
	return lm_fail(err, LM_EUNSUPPORTED, "%s is \"%.*s\", expected identity, tanh, relu or gelu", name,
		       n > 40 ? 40 : (int)n, s);
}

static int load_pool(enum pooling *out, const struct file *f, const char *arch, const char *key, struct lm_err *err)
{
	int v, rc = keys_layer(&v, f, arch, key, 0, (int)*out, 0, POOL_COUNT - 1, err);
	if (!rc) *out = (enum pooling)v;
	return rc;
}

int heads_load(struct model *m, const struct file *f, enum head_act cls_act, struct lm_err *err)
{
	struct heads *h = &m->heads;
	struct model_heads *i = &h->info;
	const char *arch = m->info.arch;
	char name[160];
	int rc = load_pool(&i->pool, f, arch, "pooling_type", err);

	i->causal = m->hp.causal;
	i->n_label = h->n_label;
	i->n_type = h->n_type;
	i->n_dim = m->hp.n_embd;
	i->cls_pool = m->hp.causal ? POOL_LAST : POOL_CLS;
	i->normalize = true;
	/* a GGUF of DistilBERT is one of BERT but for the token types, which BERT always has */
	if (cls_act == HEAD_TANH && !m->type_embd.base) cls_act = HEAD_RELU;
	h->cls.act = h->cls.w.base ? cls_act : HEAD_IDENTITY;
	if (!rc) rc = load_pool(&i->cls_pool, f, arch, "classifier.pooling_type", err);
	if (!rc && h->cls.w.base) rc = load_act(&h->cls.act, f, arch, "classifier.activation", err);
	if (!rc) rc = keys_layer(&i->max_tokens, f, arch, "embedding.max_tokens", 0, 0, 0, MAX_CTX, err);
	for (int k = 0; k < MAX_DENSE && !rc; k++) {
		snprintf(name, sizeof name, "dense_%d.activation", k + 2);
		if (h->dense_out[k]) i->n_dim = h->dense_out[k];
		rc = load_act(&h->dense[k].act, f, arch, name, err);
	}
	if (!rc && h->cls.norm.w.base && h->cls.act == HEAD_RELU)
		rc = lm_fail(err, LM_EUNSUPPORTED, "a classifier with relu and cls.norm: a mechanism that lmrun does not have");
	snprintf(name, sizeof name, "%s.embedding.normalize", arch);
	i->normalize_said = file_bool(f, name, &i->normalize);
	snprintf(name, sizeof name, "%s.classifier.multi_label", arch);
	file_bool(f, name, &i->multi_label);
	return rc;
}

const struct model_heads *model_heads(const struct model *m) { return &m->heads.info; }

/* The first n rows of a scratch matrix as one of `cols` columns without gaps. */
static struct mat compact(struct mat m, int n, int cols)
{
	m.rows = n;
	m.cols = cols;
	m.stride = (int64_t)cols * (int64_t)sizeof(float);
	return m;
}

/* y = norm(act(W x + b)) for n <= HEAD_ROWS rows in host memory. */
static int run_stage(const struct model *m, struct state *s, const struct stage *g, const float *x, int n, float *out,
		     struct lm_err *err)
{
	static const int32_t block = 0, *const table = &block;
	struct backend *be = s->be;
	struct seqs at = { .n_rows = n, .n_seqs = 1, .token = s->type, .pos = s->type, .seq = s->type, .table = &table,
			   .slot = s->type };
	struct fwd f = { .m = m, .st = s, .be = be, .at = &at };
	struct mat in = compact(s->hx, n, g->w.cols), y = compact(s->hy, n, g->w.rows);
	int rc = be->op->begin(be, (uint64_t)n, &at);

	if (rc) return lm_fail(err, rc, "device %s could not begin a pass of %d rows", be->name, n);
	be->op->write(be, &in, x);
	be->op->linear(be, &(struct lin){ y, &g->w, &g->b, 1 }, 1, in);
	if (g->act == HEAD_TANH) be->op->softcap(be, y, 1);
	if (g->act == HEAD_GELU) be->op->act(be, y, y, NULL, ACT_GELU);
	if (g->norm.w.base) fwd_norm(&f, y, y, &g->norm);
	be->op->read(be, out, &y);
	for (int64_t i = 0; i < (int64_t)n * y.cols && g->act == HEAD_RELU; i++) out[i] = out[i] > 0 ? out[i] : 0;
	return be->op->end(be, err);
}

/* The stages one after the other; absent ones are left out.  *cols: of x, then of out. */
static int run(const struct model *m, struct state *s, const struct stage *const *g, int n_stage, const float *x, int n,
	       float *out, struct lm_err *err)
{
	int cols = m->hp.n_embd, wide = s->hx.cols > cols ? s->hx.cols : cols, last = cols, rc = 0;
	float *a = lm_calloc((size_t)HEAD_ROWS * (size_t)wide, sizeof *a);

	if (!a) return lm_fail(err, LM_ENOMEM, "out of memory for a head");
	for (int k = 0; k < n_stage; k++) last = g[k]->w.base ? g[k]->w.rows : last;
	for (int from = 0; from < n && !rc; from += HEAD_ROWS) {
		int step = n - from < HEAD_ROWS ? n - from : HEAD_ROWS;
		memcpy(a, x + (int64_t)from * cols, (size_t)step * (size_t)cols * sizeof *a);
		for (int k = 0; k < n_stage && !rc; k++)
			if (g[k]->w.base) rc = run_stage(m, s, g[k], a, step, a, err);
		memcpy(out + (int64_t)from * last, a, (size_t)step * (size_t)last * sizeof *a);
	}
	lm_free(a);
	return rc;
}

int model_vectors(const struct model *m, struct state *s, const float *x, int n, float *out, struct lm_err *err)
{
	const struct stage *g[MAX_DENSE];
	for (int i = 0; i < MAX_DENSE; i++) g[i] = &m->heads.dense[i];
	return run(m, s, g, MAX_DENSE, x, n, out, err);
}

int model_classes(const struct model *m, struct state *s, const float *x, int n, float *out, struct lm_err *err)
{
	const struct stage *const g[] = { &m->heads.cls, &m->heads.out };
	return run(m, s, g, 2, x, n, out, err);
}
