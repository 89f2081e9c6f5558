/* bind.c - tensors of the file to slots of the model.  A slot is a row: name, place, shape.  Absent optional
 * tensors leave their slot empty; every tensor of the file must fill a slot or be on the list of the
 * ignorable. */
#include "model/bind.h"
#include "format/derive.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct slot norm_slots[] = {
	{ "attn_norm", "weight", L(mix_pre.w), ONE, EMBD, ONE, false },
	{ "attn_norm", "bias", L(mix_pre.b), ONE, EMBD, ONE, false },
	{ "attn_norm_2", "weight", L(ffn_pre.w), ONE, EMBD, ONE, false },       /* Falcon 40B; arch.c swaps */
	{ "attn_norm_2", "bias", L(ffn_pre.b), ONE, EMBD, ONE, false },
	{ "post_attention_norm", "weight", L(mix_post.w), ONE, EMBD, ONE, false },
	{ "attn_output_norm", "weight", L(mix_post.w), ONE, EMBD, ONE, false },
	{ "attn_output_norm", "bias", L(mix_post.b), ONE, EMBD, ONE, false },
	{ "ffn_norm", "weight", L(ffn_pre.w), ONE, EMBD, ONE, false },
	{ "ffn_norm", NULL, L(ffn_pre.w), ONE, EMBD, ONE, false },          /* as Falcon-H1's converter writes it */
	{ "ffn_norm", "bias", L(ffn_pre.b), ONE, EMBD, ONE, false },
	{ "post_ffw_norm", "weight", L(ffn_post.w), ONE, EMBD, ONE, false },
	{ "layer_output_norm", "weight", L(ffn_post.w), ONE, EMBD, ONE, false },
	{ "layer_output_norm", "bias", L(ffn_post.b), ONE, EMBD, ONE, false },
};
static const struct slot attn_slots[] = {
	{ "attn_q", "weight", L(a.q), Q, EMBD, ONE, false },                    /* stays first: bind_attn */
	{ "attn_qkv", "weight", L(a.qkv), QKV, EMBD, ONE, false },
	{ "attn_qkv", "bias", L(a.bqkv), ONE, QKV, ONE, false },
	{ "attn_q", "bias", L(a.bq), ONE, Q, ONE, false },
	{ "attn_k", "weight", L(a.k), K, EMBD, ONE, false },
	{ "attn_k", "bias", L(a.bk), ONE, K, ONE, false },
	{ "attn_v", "weight", L(a.v), V, EMBD, ONE, false },
	{ "attn_v", "bias", L(a.bv), ONE, V, ONE, false },
	{ "attn_output", "weight", L(a.o), EMBD, O, ONE, true },
	{ "attn_output", "bias", L(a.bo), ONE, EMBD, ONE, false },
	{ "attn_q_norm", "weight", L(a.qn.w), ONE, HEAD, Q, false },
	{ "attn_q_norm", "bias", L(a.qn.b), ONE, HEAD, Q, false },
	{ "attn_k_norm", "weight", L(a.kn.w), ONE, HEAD, K, false },
	{ "attn_k_norm", "bias", L(a.kn.b), ONE, HEAD, K, false },
	{ "attn_sinks", "weight", L(a.sinks), ONE, HEADS, ONE, false },
};
static const struct slot dense_slots[] = {
	{ "ffn_gate", "weight", L(d.gate), FF, EMBD, ONE, false },
	{ "ffn_gate", "bias", L(d.bgate), ONE, FF, ONE, false },
	{ "ffn_up", "weight", L(d.up), FF, EMBD, FF2, true },
	{ "ffn_up", "bias", L(d.bup), ONE, FF, FF2, false },
	{ "ffn_down", "weight", L(d.down), EMBD, FF, ONE, true },
	{ "ffn_down", "bias", L(d.bdown), ONE, EMBD, ONE, false },
};
static const struct slot model_slots[] = {
	{ "token_embd", "weight", M(embd), VOCAB, EMBD, ONE, true },
	{ "position_embd", "weight", M(pos_embd), CTX, EMBD, ONE, false },
	{ "token_types", "weight", M(type_embd), TYPES, EMBD, ONE, false },
	{ "token_embd_norm", "weight", M(embd_norm.w), ONE, EMBD, ONE, false },
	{ "token_embd_norm", "bias", M(embd_norm.b), ONE, EMBD, ONE, false },
	{ "output_norm", "weight", M(out_norm.w), ONE, EMBD, ONE, false },     /* all but WIRE_POST */
	{ "output_norm", "bias", M(out_norm.b), ONE, EMBD, ONE, false },
	{ "output", "weight", M(head), VOCAB, EMBD, ONE, false },
	{ "output", "bias", M(bhead), ONE, VOCAB, ONE, false },
	{ "rope_freqs", "weight", M(rope_freqs), ONE, ROPE, ONE, false },
	{ "rope_factors_short", "weight", M(rope_short), ONE, ROPE, ONE, false },
	{ "rope_factors_long", "weight", M(rope_long), ONE, ROPE, ONE, false },
	{ "cls", "weight", M(heads.cls.w), EMBD, EMBD, ONE, false },
	{ "cls", "bias", M(heads.cls.b), ONE, EMBD, ONE, false },
	{ "cls.norm", "weight", M(heads.cls.norm.w), ONE, EMBD, ONE, false },
	{ "cls.norm", "bias", M(heads.cls.norm.b), ONE, EMBD, ONE, false },
	{ "cls.output", "weight", M(heads.out.w), LABELS, EMBD, ONE, false },
	{ "cls.output", "bias", M(heads.out.b), ONE, LABELS, ONE, false },
	{ "dense_2", "weight", M(heads.dense[0].w), DENSE_2, EMBD, ONE, false },
	{ "dense_2", "bias", M(heads.dense[0].b), ONE, DENSE_2, ONE, false },
	{ "dense_3", "weight", M(heads.dense[1].w), DENSE_3, DENSE_2, ONE, false },
	{ "dense_3", "bias", M(heads.dense[1].b), ONE, DENSE_3, ONE, false },
	{ "dense_4", "weight", M(heads.dense[2].w), DENSE_4, DENSE_3, ONE, false },
	{ "dense_4", "bias", M(heads.dense[2].b), ONE, DENSE_4, ONE, false },
	{ "dense_5", "weight", M(heads.dense[3].w), DENSE_5, DENSE_4, ONE, false },
	{ "dense_5", "bias", M(heads.dense[3].b), ONE, DENSE_5, ONE, false },
};
/* Layer tensors of old converters that hold nothing we need. */
static const char *const ignorable[] = { "attn_rot_embd.weight" };

int bind_dim(const struct model *m, const struct layer *l, enum dim d)
{
	switch (d) {
	case ONE: return 1;
	case EMBD: return m->hp.n_embd;
	case VOCAB: return m->hp.n_vocab;
	case CTX: return m->hp.n_ctx_train;
	case Q: return l->attn.n_head * l->attn.dim_k;
	case K: return l->attn.n_kv * l->attn.dim_k;
	case V: return l->attn.n_kv * l->attn.dim_v;
	case O: return l->attn.n_head * l->attn.dim_v;
	case QKV: return (l->attn.n_head + l->attn.n_kv) * l->attn.dim_k + l->attn.n_kv * l->attn.dim_v;
	case HEAD: return l->attn.dim_k;
	case FF: return l->n_ff;
	case FF2: return 2 * l->n_ff;
	case ROPE: return m->hp.rope.dims / 2;
	case HEADS: return l->attn.n_head;
	case EXPERTS: return m->hp.moe.n_expert;
	case FF_SH: return l->n_ff_sh;
	case MLA_Q: return l->attn.n_head * m->hp.mla.dim_k;
	case MLA_QA: return m->hp.mla.lora_q;
	case MLA_C: return m->hp.mla.lora_kv;
	case MLA_KV: return l->attn.dim_k;
	case MLA_KVB: return l->attn.n_head * (m->hp.mla.dim_k - l->attn.v_at + m->hp.mla.dim_v);
	case MLA_O: return l->attn.n_head * m->hp.mla.dim_v;
	case TYPES: return m->heads.n_type;
	case LABELS: return m->heads.n_label;
	case DENSE_2: return m->heads.dense_out[0];
	case DENSE_3: return m->heads.dense_out[1];
	case DENSE_4: return m->heads.dense_out[2];
	case DENSE_5: return m->heads.dense_out[3];
	case R_IN: return l->r.n_in - l->r.n_x;
	case R_CONV: return l->r.n_conv;
	case R_TAPS: return l->r.n_conv * l->r.taps;
	case R_INNER: return l->r.n_inner;
	case R_DT: return l->r.n_dt;
	case R_X: return l->r.n_x;
	case R_RANK: return m->hp.ssm.rank;
	case R_RATES: return l->r.n_rates;
	case R_HEAD: return l->r.delta.dim_v;
	}
	return 0;
}

/* "4096x1024" as the file says it. */
static const char *shape(char *buf, size_t n, const struct tensor *t)
{
	size_t at = 0;
	buf[0] = 0;
	for (int i = 0; i < t->n_dims && at < n; i++)
		at += (size_t)snprintf(buf + at, n - at, i ? "x%lld" : "%lld", (long long)t->dim[i]);
	return buf;
}

/* The tensor's rows and columns against the slot; *rows, *cols are what fits. */
static int check_shape(struct binder *b, const struct slot *s, const struct layer *l, const struct tensor *t,
		       int *rows, int *cols)
{
	char found[96];
	int r = bind_dim(b->m, l, s->rows), c = bind_dim(b->m, l, s->cols), alt = bind_dim(b->m, l, s->alt);
	bool vec = s->rows == ONE, fits;

	if (vec) {
		int64_t n = t->dim[0];
		for (int i = 1; i < t->n_dims; i++) n = __builtin_mul_overflow(n, t->dim[i], &n) ? -1 : n;
		fits = n == c && t->n_dims == 1;
		if (!fits && s->alt != ONE && n == alt && t->n_dims <= 2) fits = true, c = alt;
	} else {
		fits = t->n_dims == 2 && t->dim[1] == c &&
		       (t->dim[0] == r || (s->alt != ONE && t->dim[0] == alt));
		if (fits) r = (int)t->dim[0];
	}
	*rows = r, *cols = c;
	if (fits) return 0;
	shape(found, sizeof found, t);
	if (vec) return lm_fail(b->err, LM_EFORMAT, "%s: %s, expected %d elements", t->name, found, c);
	return lm_fail(b->err, LM_EFORMAT, "%s: %s, expected %dx%d", t->name, found, r, c);
}

int bind_floats(struct binder *b, struct mat *out, const struct tensor *t, int rows, int cols)
{
	struct model *m = b->m;
	int64_t n = (int64_t)rows * cols;
	float *v = lm_alloc(m->arena, (size_t)n, sizeof *v, 64);

	if (t->type != DT_F32 && t->type != DT_F16 && t->type != DT_BF16)
		return lm_fail(b->err, LM_EUNSUPPORTED, "%s: type %s, expected f32, f16 or bf16", t->name,
		               quant_info(t->type) ? quant_info(t->type)->name : "unknown");
	void *raw = v ? lm_malloc(t->size) : NULL;
	if (!raw) return lm_fail(b->err, LM_ENOMEM, "out of memory for %s", t->name);
	int rc = tensor_rows(t, 0, tensor_n_rows(t), raw, b->err);
	if (!rc) quant_info(t->type)->decode(v, raw, n);
	lm_free(raw);
	if (rc) return rc;
	*out = (struct mat){
		.rows = rows, .cols = cols, .stride = (int64_t)cols * (int64_t)sizeof *v, .type = DT_F32
	};
	return m->be->op->import(m->be, out, v, b->err);
}

/* Matrices of layers that are not quantised with the others: routers decide by small differences, filters and the like
 * are small. */
static bool stays_float(const char *name)
{
	static const char *const words[] = { ".ffn_gate_inp.", ".ffn_gate_inp_shexp.", ".ssm_conv1d.", ".ssm_a", ".ssm_d",
					     ".shortconv.conv." };
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strstr(name, words[i])) return true;
	return false;
}

/* The type in which a matrix is used.  Only float ones change, and rows that the type has no blocks for do not. */
static enum dtype wanted(struct binder *b, const struct tensor *t, bool layer)
{
	const struct model_opt *o = b->o;
	bool f = t->type == DT_F32 || t->type == DT_F16 || t->type == DT_BF16;

	if (f && layer && o->quantize != DT_COUNT && !stays_float(t->name)) {
		if (quant_row_bytes(o->quantize, t->dim[t->n_dims - 1]) > 0) return o->quantize;
		if (!b->n_odd++) b->odd = t;
	}
	return f && o->precision != DT_COUNT ? o->precision : t->type;
}

/* Products of linear alone, of which no other op and no split reads the columns. */
static bool may_be_sorted(const struct binder *b, const char *name)
{
	static const char *const words[] = { ".attn_q.", ".attn_k.", ".attn_v.", ".attn_qkv.", ".attn_output.", ".ffn_gate.",
					     ".ffn_up.", ".ffn_down." };
	int il, end = 0;
	sscanf(name, "blk.%d%n", &il, &end);
	for (size_t i = 0; b->m->be->ordered && i < sizeof words / sizeof words[0]; i++) {
		size_t n = strlen(words[i]);
		if (!strncmp(name + end, words[i], n) && !strcmp(name + end + n, "weight")) return true;
	}
	return false;
}

int bind_matrix(struct binder *b, struct mat *out, const struct tensor *t, int rows, int cols, bool layer)
{
	struct model *m = b->m;
	const int32_t *order = NULL;
	const struct tensor *sorted = may_be_sorted(b, t->name) ? tensor_sorted(t, &order) : NULL;
	enum dtype type = sorted ? sorted->type : wanted(b, t, layer);
	const struct dtype_info *info = quant_info(type);
	int64_t stride = quant_row_bytes(type, cols);
	const void *data;
	int rc;

	if (type == DT_I8 || type == DT_I16 || type == DT_I32 || type == DT_I64)     /* decoded they would be, to nonsense */
		return lm_fail(b->err, LM_EUNSUPPORTED, "%s: type %s, expected floats or a quantised type", t->name, info->name);
	if (!info || stride < 0 || !m->be->op->has(m->be, type))
		return lm_fail(b->err, LM_EUNSUPPORTED, "%s: type %s is not one that device %s multiplies",
			       t->name, info ? info->name : "unknown", m->be->name);
	if ((rc = model_make(m, sorted ? sorted : t, type, b->o, &data, b->err))) return rc;
	if (data != t->data) file_done(b->f, t);
	*out = (struct mat){ .rows = rows, .cols = cols, .stride = stride, .type = type, .order = order };
	return m->be->op->import(m->be, out, data, b->err);
}

/* The tensor that fills slot s of layer il (-1: of the model), under the family's aliases; NULL: absent. */
static const struct tensor *slot_tensor(const struct binder *b, const struct slot *s, int il, char *name,
					size_t n)
{
	const char *base = s->name;

	for (int i = 0; i < b->n_alias && b->alias[i].from; i++) {
		if (!strcmp(base, b->alias[i].to)) base = b->alias[i].from;
		else if (!strcmp(base, b->alias[i].from)) return NULL;
	}
	if (il < 0) snprintf(name, n, "%s.%s", base, s->part);
	else snprintf(name, n, "blk.%d.%s%s%s", il, base, s->part ? "." : "", s->part ? s->part : "");
	return file_tensor(b->f, name);
}

void bind_count(struct binder *b, const struct tensor *t, const struct mat *out, bool layer, int used, int of)
{
	struct model_info *i = &b->m->info;
	uint64_t n = (uint64_t)out->rows * (uint64_t)out->cols, size = (uint64_t)out->stride * (uint64_t)out->rows;
	bool vec = t->n_dims == 1;

	b->bound[b->n_bound++] = t;
	i->n_bytes += size;
	i->n_params += n;
	if (layer) {
		i->token_bytes += size / (uint64_t)of * (uint64_t)used;
		if (!vec) i->token_macs += n / (uint64_t)of * (uint64_t)used;
	}
	if (!vec && out->type != DT_F32) i->f32_weights = false;
}

const struct tensor *bind_find(const struct binder *b, int il, const char *name)
{
	char full[96];
	snprintf(full, sizeof full, "blk.%d.%s", il, name);
	return file_tensor(b->f, full);
}

int bind_misshapen(struct binder *b, const struct tensor *t, const char *expected)
{
	char found[96];
	shape(found, sizeof found, t);
	return lm_fail(b->err, LM_EFORMAT, "%s: %s, expected %s", t->name, found, expected);
}

int bind_parts(struct binder *b, struct mat *out, const struct tensor *t, int n_head, const int *part, int n_part)
{
	int32_t *order = lm_new(b->m->arena, int32_t, t->dim[0]);
	struct tensor *by_part = lm_new(b->m->arena, struct tensor, 1);
	int per_head = 0, at = 0, n = 0, rc;

	if (!order || !by_part) return lm_fail(b->err, LM_ENOMEM, "out of memory for %s", t->name);
	for (int i = 0; i < n_part; i++) per_head += part[i];
	for (int i = 0; i < n_part; at += part[i++])
		for (int h = 0; h < n_head; h++)
			for (int r = 0; r < part[i]; r++) order[n++] = h * per_head + at + r;
	if ((rc = derive_order(b->m->arena, by_part, t, order, n, b->err))) return rc;
	if ((rc = bind_matrix(b, out, by_part, n, (int)t->dim[1], true))) return rc;
	bind_count(b, t, out, true, 1, 1);
	return 0;
}

static int bind_slot(struct binder *b, const struct slot *s, int il)
{
	struct model *m = b->m;
	struct layer *l = il < 0 ? NULL : &m->layer[il];
	struct mat *out = (struct mat *)(void *)((l ? (char *)l : (char *)m) + s->at);
	char name[96];
	const struct tensor *t = slot_tensor(b, s, il, name, sizeof name);
	int rows, cols, rc;

	if (!t) return s->required ? lm_fail(b->err, LM_EFORMAT, "the tensor %s is missing", name) : 0;
	if (out->base)
		return lm_fail(b->err, LM_EFORMAT, "%s: another tensor already fills its place", t->name);
	if ((rc = check_shape(b, s, l, t, &rows, &cols))) return rc;
	if (s->rows == ONE) rc = bind_floats(b, out, t, 1, cols);
	else rc = bind_matrix(b, out, t, rows, cols, l && s->rows != EXPERTS);
	if (rc) return rc;
	bind_count(b, t, out, l != NULL, 1, 1);
	if (s->rows != ONE) m->weight[m->n_weight++] = (struct weight){ t->name, *out };
	return 0;
}

int bind_slots(struct binder *b, const struct slot *s, size_t n, int il)
{
	int rc = 0;
	for (size_t i = 0; i < n && !rc; i++) rc = bind_slot(b, &s[i], il);
	return rc;
}

/* Fused projections become row views, so that nobody downstream knows of them. */
static int split_fused(struct binder *b, int il)
{
	struct layer *l = &b->m->layer[il];
	int q = l->attn.n_head * l->attn.dim_k, k = l->attn.n_kv * l->attn.dim_k,
	    v = l->attn.n_kv * l->attn.dim_v;
	bool any = l->a.q.base || l->a.k.base || l->a.v.base;

	if (l->a.qkv.base) {
		if (any)
			return lm_fail(b->err, LM_EFORMAT,
				       "blk.%d: both attn_qkv and attn_q, attn_k or attn_v", il);
		l->a.q = mat_rows(l->a.qkv, 0, q);
		l->a.k = mat_rows(l->a.qkv, q, k);
		l->a.v = mat_rows(l->a.qkv, q + k, v);
	} else if (!l->a.q.base || !l->a.k.base || !l->a.v.base) {
		return lm_fail(b->err, LM_EFORMAT,
			       "the tensor blk.%d.attn_%s.weight is missing", il,
			       !l->a.q.base ? "q" : !l->a.k.base ? "k" : "v");
	}
	if (l->a.bqkv.base) {
		if (l->a.bq.base || l->a.bk.base || l->a.bv.base)
			return lm_fail(b->err, LM_EFORMAT, "blk.%d: both attn_qkv.bias and separate biases",
				       il);
		l->a.bq = mat_cols(l->a.bqkv, 0, q);
		l->a.bk = mat_cols(l->a.bqkv, q, k);
		l->a.bv = mat_cols(l->a.bqkv, q + k, v);
	}
	return 0;
}

/* An ffn_up twice as wide is gate and up. */
static int split_up(struct binder *b, int il)
{
	struct layer *l = &b->m->layer[il];
	bool wide = l->d.up.rows != l->n_ff, wide_bias = l->d.bup.base && l->d.bup.cols != l->n_ff;
	if ((wide || wide_bias) && (l->d.gate.base || l->d.bgate.base))
		return lm_fail(b->err, LM_EFORMAT,
			       "blk.%d: ffn_up is twice as wide, but there is an ffn_gate too", il);
	if (wide) {
		l->d.gate = mat_rows(l->d.up, 0, l->n_ff);
		l->d.up = mat_rows(l->d.up, l->n_ff, l->n_ff);
	}
	if (wide_bias) {
		l->d.bgate = mat_cols(l->d.bup, 0, l->n_ff);
		l->d.bup = mat_cols(l->d.bup, l->n_ff, l->n_ff);
	}
	if ((l->d.bgate.base && !l->d.gate.base) || (wide_bias && !wide))
		return lm_fail(b->err, LM_EFORMAT, "blk.%d: a bias of ffn_gate without its weights", il);
	return 0;
}

static bool ignored(const char *name)
{
	const char *dot = strncmp(name, "blk.", 4) ? NULL : strchr(name + 4, '.');
	for (size_t i = 0; dot && i < sizeof ignorable / sizeof ignorable[0]; i++)
		if (!strcmp(dot + 1, ignorable[i])) return true;
	return false;
}

static int by_address(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (const struct tensor *const *)a,
		  y = (uintptr_t) * (const struct tensor *const *)b;
	return x < y ? -1 : x > y;
}

static int check_all_bound(struct binder *b)
{
	qsort(b->bound, (size_t)b->n_bound, sizeof *b->bound, by_address);
	for (int i = 0; i < file_count(b->f); i++) {
		const struct tensor *t = file_at(b->f, i);
		if (bsearch(&t, b->bound, (size_t)b->n_bound, sizeof *b->bound, by_address) ||
		    ignored(t->name))
			continue;
		return lm_fail(b->err, LM_EUNSUPPORTED, "the tensor %s has no place in architecture %s",
			       t->name, b->m->info.arch);
	}
	return 0;
}

/* Rows of attn_q twice as many: each head's query, then its gate (Qwen3-Next). */
static int bind_gated(struct binder *b, const struct tensor *t, int il)
{
	struct layer *l = &b->m->layer[il];
	int d = l->attn.dim_k, q = l->attn.n_head * d, rc;

	if (t->n_dims != 2 || t->dim[1] != b->m->hp.n_embd || l->attn.dim_v != d)
		return bind_misshapen(b, t, "queries and gates of all heads");
	if ((rc = bind_parts(b, &l->a.q, t, l->attn.n_head, (int[]){ d, d }, 2))) return rc;
	l->a.gate = mat_rows(l->a.q, q, q);
	l->a.q = mat_rows(l->a.q, 0, q);
	return 0;
}

static int bind_attn(struct binder *b, int il)
{
	struct layer *l = &b->m->layer[il];
	const struct tensor *q = bind_find(b, il, "attn_q.weight");
	bool gated = q && q->dim[0] == 2 * (int64_t)l->attn.n_head * l->attn.dim_k;
	int rc = gated ? bind_gated(b, q, il) : 0;

	if (!rc) rc = bind_slots(b, attn_slots + gated, sizeof attn_slots / sizeof *attn_slots - gated, il);
	if (!rc && gated && l->a.bq.base) rc = lm_fail(b->err, LM_EFORMAT, "blk.%d: gated heads with an attn_q.bias", il);
	if (!rc) rc = split_fused(b, il);
	if (l->a.sinks.base) l->attn.sinks = &l->a.sinks;
	return rc;
}

static int bind_layer(struct binder *b, int il)
{
	struct layer *l = &b->m->layer[il];
	int rc = bind_slots(b, norm_slots, sizeof norm_slots / sizeof *norm_slots, il);

	if (!rc && l->mix[0] == MIX_MLA) rc = bind_mla(b, il);
	if (!rc && l->mix[0] == MIX_ATTN) rc = bind_attn(b, il);
	if (!rc && (mix_recurs(l->mix[0]) || mix_recurs(l->mix[1]))) rc = bind_rec(b, il);
	if (l->mix[0] == MIX_NONE && !l->ffn_pre.w.base) {     /* Nemotron-H: a layer's one branch has the first norm */
		l->ffn_pre = l->mix_pre;
		l->mix_pre = (struct normw){ 0 };
	}
	if (rc || l->ffn == FFN_NONE) return rc;
	if (l->ffn == FFN_MOE) return bind_moe(b, il);
	rc = bind_slots(b, dense_slots, sizeof dense_slots / sizeof *dense_slots, il);
	return rc ? rc : split_up(b, il);
}

static int bind_all(struct binder *b)
{
	struct model *m = b->m;
	int rc;

	if ((rc = bind_slots(b, model_slots, sizeof model_slots / sizeof *model_slots, -1))) return rc;
	if (m->hp.wiring != WIRE_POST && !m->out_norm.w.base)
		return lm_fail(b->err, LM_EFORMAT, "the tensor output_norm.weight is missing");
	bool tied = !m->head.base;
	if (tied) m->head = m->embd;
	m->info.token_bytes += (uint64_t)m->head.stride * (uint64_t)m->head.rows;
	for (int il = 0; il < m->hp.n_layer; il++)
		if ((rc = bind_layer(b, il))) return rc;
	m->info.mapped_bytes = m->info.n_bytes - m->info.made_bytes;
	const struct tensor *embd = file_tensor(b->f, "token_embd.weight");
	if (!tied && embd && embd->data == m->embd.base) m->info.mapped_bytes -= (uint64_t)m->embd.stride * (uint64_t)m->embd.rows;
	return check_all_bound(b);
}

int model_bind(struct model *m, const struct file *f, const struct alias *alias, int n_alias,
	       const struct model_opt *o, struct lm_err *err)
{
	struct binder b = { .m = m, .f = f, .alias = alias, .n_alias = n_alias, .o = o, .err = err };
	int rc;

	m->info.f32_weights = true;
	b.bound = lm_calloc((size_t)file_count(f), sizeof *b.bound);
	m->weight = lm_new(m->arena, struct weight, file_count(f));
	rc = b.bound && m->weight ? bind_all(&b) : lm_fail(err, LM_ENOMEM, "out of memory for %d tensors", file_count(f));
	if (!rc && b.n_odd)
		lm_log(LM_LOG_INFO, "%d matrices stay in floats: their rows are no whole blocks of %s (%s has %lld columns)",
		       b.n_odd, quant_info(o->quantize)->name, b.odd->name, (long long)b.odd->dim[b.odd->n_dims - 1]);
	lm_free(b.bound);
	return rc;
}
