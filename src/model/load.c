/* load.c - a file becomes a model: the architecture row and the keys become hparams, tensors become layers.
 * The only reader of arch rows; nothing is made from a number of the file before its range is checked. */
#include "model/arch.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static int find_arch(const struct arch **out, const struct file *f, struct lm_err *err)
{
	const char *name;
	size_t n;

	if (!file_str(f, "general.architecture", &name, &n))
		return lm_fail(err, LM_EFORMAT, "the key general.architecture is missing: not a model");
	for (int i = 0; i < n_arch; i++)
		if (strlen(arch_table[i].name) == n && !memcmp(arch_table[i].name, name, n)) {
			*out = &arch_table[i];
			return 0;
		}
	return lm_fail(err, LM_EUNSUPPORTED, "the architecture \"%.*s\" is not one that lmrun runs",
		       n > 60 ? 60 : (int)n, name);
}

/* The row's facts and what they say about the numbers that the keys gave. */
static int apply_row(struct hparams *hp, const struct arch *row, struct lm_err *err)
{
	hp->norm = row->norm;
	hp->wiring = row->wiring;
	if (hp->act == ACT_NONE) hp->act = row->act;
	hp->qk_norm_row = row->flags & AF_QK_NORM_ROW;
	hp->eps = row->norm == NORM_RMS ? hp->eps_rms : hp->eps_ln;
	if (hp->eps < 0)
		return lm_fail(err, LM_EFORMAT, "the key %s.attention.layer_norm_%sepsilon is missing",
			       row->name, row->norm == NORM_RMS ? "rms_" : "");
	if (row->flags & AF_EMBED_SQRT_D) hp->embed_scale = sqrtf((float)hp->n_embd);
	if (row->flags & AF_LOGIT_DIV) hp->logit_scale = 1 / hp->logit_scale;
	if (hp->window < 0) hp->window = row->window;
	if (!(row->flags & AF_ROPE_SWITCH)) hp->rope.off = false;
	if (row->flags & AF_YARN_EXACT && !hp->rope.truncate_said) hp->rope.fraction = true;
	hp->causal = hp->causal_said >= 0 ? hp->causal_said : !(row->flags & AF_BIDIRECTIONAL);
	if (hp->rope.base_local == 0)
		hp->rope.base_local = row->base_local > 0 ? row->base_local : hp->rope.base;
	return 0;
}

/* How experts are chosen: the keys, and the row where they are silent. */
static int apply_moe(struct hparams *hp, const struct arch *row, struct lm_err *err)
{
	enum { UNSAID, SOFTMAX, SIGMOID, CHOSEN };          /* values of expert_gating_func */
	struct moe *m = &hp->moe;
	int groups = m->n_group > 1 ? m->n_group : 1;

	if (!m->n_expert) return 0;
	if (m->n_used < 1 || m->n_used > m->n_expert)
		return lm_fail(err, LM_EFORMAT, "%s.expert_used_count is %d, expected 1 to %d", row->name, m->n_used,
			       m->n_expert);
	if (m->n_expert % groups)
		return lm_fail(err, LM_EFORMAT, "%s: %d experts are not %d even groups", row->name, m->n_expert, groups);
	if (groups > 1 && (m->n_group_used < 1 || m->n_group_used > groups ||
			   m->n_used > m->n_expert / groups * m->n_group_used))
		return lm_fail(err, LM_EFORMAT, "%s.expert_group_used_count is %d: no %d experts out of %d groups of %d",
			       row->name, m->n_group_used, m->n_used, groups, m->n_expert / groups);
	m->gate = hp->gating == SIGMOID ? GATE_SIGMOID : GATE_SOFTMAX;
	m->chosen_softmax = hp->gating == CHOSEN || (hp->gating == UNSAID && (row->flags & AF_MOE_CHOSEN));
	m->renorm = hp->renorm < 0 ? (row->flags & AF_MOE_RENORM) != 0 : hp->renorm;
	m->group_top2 = m->gate == GATE_SIGMOID;            /* DeepSeek: V3 scores by sigmoid, V2 by softmax */
	if (m->scale == 0) m->scale = 1;
	return 0;
}

/* Vocabulary size is what the embedding table says. */
static int load_vocab(struct hparams *hp, const struct file *f, struct lm_err *err)
{
	const struct tensor *t = file_tensor(f, "token_embd.weight");

	if (!t) return lm_fail(err, LM_EFORMAT, "the tensor token_embd.weight is missing");
	if (t->dim[0] < 1 || t->dim[0] > INT32_MAX / 4)
		return lm_fail(err, LM_EFORMAT, "token_embd.weight: %lld rows, expected one per token",
			       (long long)t->dim[0]);
	hp->n_vocab = (int)t->dim[0];
	return 0;
}

/* A fact of layer il that is given by flags per layer, or by a number for a period: its last layer lacks it, or its first.  *out stays as
 * it is when the key is absent. */
static int load_flag(bool *out, const struct file *f, const char *arch, const char *key, bool first, int il,
		     struct lm_err *err)
{
	char name[96];
	int64_t n, at, period;
	enum file_type elem;
	const uint8_t *flags;

	snprintf(name, sizeof name, "%s.%s", arch, key);
	if (!file_has(f, name)) return 0;
	if (file_i64(f, name, &period)) {
		*out = period == 0 || il % (period < 1 ? 1 : period) != (first ? 0 : period - 1);
		return period >= 0 ? 0 : lm_fail(err, LM_EFORMAT, "%s is negative", name);
	}
	n = file_arr_len(f, name);
	flags = file_arr_raw(f, name, &elem, &n);
	if (n <= il) return lm_fail(err, LM_EFORMAT, "%s has fewer values than layers", name);
	if (file_arr_i64(f, name, il, &at)) *out = at != 0;
	else if (flags && elem == FT_BOOL) *out = flags[il] != 0;
	else return lm_fail(err, LM_EFORMAT, "%s holds neither numbers nor true and false", name);
	return 0;
}

/* Does layer il see a window only?  A pattern in the file goes before the row's. */
static int load_local(bool *out, const struct model *m, const struct file *f, const struct arch *row, int il,
                      struct lm_err *err)
{
	*out = false;
	if (!m->hp.window) return 0;
	*out = !row->global.period || il % row->global.period != row->global.at;
	return load_flag(out, f, row->name, "attention.sliding_window_pattern", row->global.period && row->global.at == 0, il,
			 err);
}

/* Latent attention: one key head, [rope | latent], whose tail is the value.  `a` holds the head as the keys without
 * _mla give it, which is as trained in older files. */
static int load_mla(struct model *m, struct layer *l, const char *arch, struct lm_err *err)
{
	struct hparams *hp = &m->hp;
	struct attn *a = &l->attn;
	int rope = hp->rope.dims, dim = hp->mla.dim_k ? hp->mla.dim_k : a->dim_k;
	double grow = hp->rope.scaling == SCALE_YARN && hp->rope.factor > 1 ? 1 + hp->rope.log_mul * log(hp->rope.factor) : 1;

	if (rope < 2 || rope % 2 || rope >= dim || hp->mla.lora_kv + rope > MAX_HEAD_DIM)
		return lm_fail(err, LM_EFORMAT, "%s: %d turning elements in heads of %d over a latent of %d", arch, rope, dim,
			       hp->mla.lora_kv);
	hp->mla.dim_k = dim;
	if (!hp->mla.dim_v) hp->mla.dim_v = a->dim_v;
	a->n_kv = 1;
	a->dim_k = hp->mla.lora_kv + rope, a->dim_v = hp->mla.lora_kv, a->v_at = rope;
	a->scale = (float)((hp->attn_scale > 0 ? hp->attn_scale : 1 / sqrt(dim)) * grow * grow);
	l->mix[0] = MIX_MLA;
	return 0;
}

static bool holds(const struct file *f, int il, const char *const *names)
{
	char name[96];

	for (; *names; names++) {
		snprintf(name, sizeof name, "blk.%d.%s.weight", il, *names);
		if (file_tensor(f, name)) return true;
	}
	return false;
}
#define HOLDS(...) holds(f, il, (const char *const[]){ __VA_ARGS__, NULL })

/* Which sublayers a layer has is what its tensors say. */
static void load_kinds(const struct hparams *hp, struct layer *l, const struct file *f, int il)
{
	enum mix_kind rec = HOLDS("ssm_ba")              ? MIX_DELTA
			    : HOLDS("ssm_x")             ? MIX_MAMBA
			    : HOLDS("ssm_in", "ssm_out") ? MIX_MAMBA2
			    : HOLDS("shortconv.in_proj") ? MIX_CONV
							 : MIX_NONE;
	bool attn = HOLDS("attn_q", "attn_k", "attn_v", "attn_output", "attn_kv_a_mqa") ||
		    (rec == MIX_NONE && HOLDS("attn_qkv"));

	l->mix[0] = attn ? MIX_ATTN : rec;
	if (attn) l->mix[1] = rec;
	l->ffn = hp->moe.n_expert && HOLDS("ffn_gate_inp")  ? FFN_MOE
		 : HOLDS("ffn_gate", "ffn_up", "ffn_down") ? FFN_DENSE
							    : FFN_NONE;
	if (l->mix[0] != MIX_NONE || l->ffn != FFN_NONE || hp->ssm.inner || hp->ssm.l_cache) return;
	l->mix[0] = MIX_ATTN;                            /* none at all: the binder says what is missing */
	l->ffn = FFN_DENSE;
}

/* How wide the feed-forward part is: dense, an expert, the shared one. */
static int load_ffn(struct model *m, const struct file *f, const struct arch *row, int il, struct lm_err *err)
{
	struct hparams *hp = &m->hp;
	struct layer *l = &m->layer[il];
	bool dense = l->ffn == FFN_DENSE;
	int rc, def = dense ? -1 : 0;                    /* needed where there is one */

	if ((rc = keys_layer(&l->n_ff, f, row->name, "feed_forward_length", il, def, dense, MAX_WIDTH, err))) return rc;
	if (l->ffn == FFN_NONE && l->n_ff > 0)
		return lm_fail(err, LM_EFORMAT, "the tensor blk.%d.ffn_up.weight is missing", il);
	if (l->ffn != FFN_MOE) return 0;
	if (!hp->n_ff_exp) hp->n_ff_exp = l->n_ff;
	l->n_ff_sh = hp->n_ff_shexp ? hp->n_ff_shexp : hp->n_shared ? hp->n_shared * hp->n_ff_exp : l->n_ff;
	if (hp->n_ff_exp < 1 || l->n_ff_sh > MAX_WIDTH || l->n_ff_sh < 1)
		return lm_fail(err, LM_EFORMAT, "%s: experts of %d rows and a shared one of %d, expected 1 to %d", row->name,
			       hp->n_ff_exp, l->n_ff_sh, MAX_WIDTH);
	return 0;
}

/* Heads of an attention layer, validated with their relations. */
static int load_heads(struct model *m, const struct file *f, const struct arch *row, int il,
		      struct lm_err *err)
{
	struct layer *l = &m->layer[il];
	struct attn *a = &l->attn;
	const char *n = row->name;
	int rc, dim;

	if ((rc = keys_layer(&a->n_head, f, n, "attention.head_count", il, 0, 1, MAX_HEADS, err))) return rc;
	if ((rc = keys_layer(&a->n_kv, f, n, "attention.head_count_kv", il, a->n_head, 1, MAX_HEADS, err)))
		return rc;
	if (a->n_head % a->n_kv)
		return lm_fail(err, LM_EFORMAT, "%s: %d query heads do not share %d key heads evenly", n,
			       a->n_head, a->n_kv);
	dim = m->hp.n_embd / a->n_head;
	if ((rc = keys_layer(&a->dim_k, f, n, "attention.key_length", il, dim, 1, MAX_HEAD_DIM, err)))
		return rc;
	if ((rc = keys_layer(&a->dim_v, f, n, "attention.value_length", il, a->dim_k, 1, MAX_HEAD_DIM, err)))
		return rc;
	if ((rc = load_local(&l->local, m, f, row, il, err))) return rc;
	a->scale = m->hp.attn_scale > 0 ? m->hp.attn_scale : (float)(1 / sqrt(a->dim_k));
	a->softcap = m->hp.attn_softcap;
	a->window = l->local ? m->hp.window : 0;
	a->causal = m->hp.causal;
	if (m->hp.mla.lora_kv && (rc = load_mla(m, l, n, err))) return rc;
	if (!m->hp.rope.dims) m->hp.rope.dims = a->dim_k;
	if (row->rope != ROPE_NONE && (m->hp.rope.dims > a->dim_k || m->hp.rope.dims % 2))
		return lm_fail(err, LM_EFORMAT,
			       "%s.rope.dimension_count is %d, expected an even number up to %d", n,
			       m->hp.rope.dims, a->dim_k);
	return 0;
}

/* Kinds and widths of layer il. */
static int load_layer(struct model *m, const struct file *f, const struct arch *row, int il,
		      struct lm_err *err)
{
	struct layer *l = &m->layer[il];
	int rc;

	load_kinds(&m->hp, l, f, il);
	if ((rc = load_ffn(m, f, row, il, err))) return rc;
	if (l->mix[0] == MIX_NONE && l->ffn == FFN_NONE)
		return lm_fail(err, LM_EFORMAT, "blk.%d: the file has no tensors of this layer", il);
	for (int i = 0; i < 2; i++) {
		if (l->mix[i] == MIX_ATTN && (rc = load_heads(m, f, row, il, err))) return rc;
		if (mix_recurs(l->mix[i]) && (rc = rec_dims(m, l, il, l->mix[i], err))) return rc;
	}
	return 0;
}

/* Which elements of a head turn together: as the row says, unless the file knows better. */
static enum rope_kind pairing(const struct hparams *hp, const struct arch *row)
{
	if (row->rope == ROPE_NONE || !hp->ropes_given) return row->rope;
	return hp->ropes_interleaved ? ROPE_PAIRS : ROPE_HALVES;
}

static int load_ropes(struct model *m, const struct file *f, const struct arch *row, struct lm_err *err)
{
	const struct hparams *hp = &m->hp;
	bool plain = row->flags & AF_LOCAL_PLAIN;
	struct rope all = { pairing(hp, row), hp->rope.dims, model_rope_mscale(hp), NULL }, local = all, more = { 0 };
	int rc;

	if (row->rope == ROPE_NONE || hp->rope.off) return 0;
	all.inv_freq = model_rope_freqs(m, all.dims, hp->rope.base, true);
	local.inv_freq = model_rope_freqs(m, local.dims, hp->rope.base_local, !plain);
	if (plain) local.mscale = 1;
	if (m->rope_short.base && m->rope_long.base) {
		more = all;
		more.inv_freq = model_rope_freqs_long(m, all.dims, hp->rope.base);
	}
	if (!all.inv_freq || !local.inv_freq || (more.kind != ROPE_NONE && !more.inv_freq))
		return lm_fail(err, LM_ENOMEM, "out of memory for rope frequencies");
	for (int i = 0; i < hp->rope.dims / 2; i++)
		if (!isfinite(all.inv_freq[i]) || !isfinite(local.inv_freq[i]) ||
		    (more.inv_freq && !isfinite(more.inv_freq[i])))
			return lm_fail(err, LM_EFORMAT,
				       "the rope factors of the file give no finite frequency");
	for (int il = 0; il < hp->n_layer; il++) {
		struct layer *l = &m->layer[il];
		bool turns = !row->no_rope.period || il % row->no_rope.period != row->no_rope.at;
		if ((rc = load_flag(&turns, f, row->name, "rope.layers", false, il, err))) return rc;   /* ours */
		if ((row->flags & AF_ROPE_ONLY_SWA) && hp->window && !l->local) turns = false;
		if (turns) l->rope = l->local ? local : all;
		if (turns && !(plain && l->local)) l->rope_long = more;
	}
	return 0;
}

static bool narrow(const struct normw *n, int cols)
{
	return (n->w.base && n->w.cols != cols) || (n->b.base && n->b.cols != cols);
}

/* What presence alone cannot guarantee: every branch passes a norm, and q/k norms are as wide as they reach. */
static int check_norms(const struct model *m, struct lm_err *err)
{
	for (int il = 0; il < m->hp.n_layer; il++) {
		const struct layer *l = &m->layer[il];
		const struct attn *a = &l->attn;
		bool par = m->hp.wiring == WIRE_PARALLEL;
		bool normed = il == 0 && m->embd_norm.w.base;    /* ModernBERT: the embeddings' norm serves */
		if (l->mix[0] != MIX_NONE && !l->mix_pre.w.base && (par || !l->mix_post.w.base) && !normed)
			return lm_fail(err, LM_EFORMAT, "the tensor blk.%d.attn_norm.weight is missing", il);
		if (l->ffn != FFN_NONE && !par && !l->ffn_pre.w.base && !l->ffn_post.w.base)
			return lm_fail(err, LM_EFORMAT,
				       "the tensor blk.%d.ffn_norm.weight is missing", il);
		if (m->hp.qk_norm_row &&
		    (narrow(&l->a.qn, a->n_head * a->dim_k) || narrow(&l->a.kn, a->n_kv * a->dim_k)))
			return lm_fail(err, LM_EFORMAT,
				       "blk.%d: attn_q_norm or attn_k_norm is narrower than the row it norms", il);
	}
	return 0;
}

/* The device makes room for the shapes of experts that it will meet. */
static int room_for_experts(struct model *m, struct lm_err *err)
{
	const struct hparams *hp = &m->hp;
	const struct backend_ops *op = m->be->op;
	const struct moe one = { .n_expert = 1, .n_used = 1 };
	int rc;

	for (int il = 0; il < hp->n_layer; il++) {
		const struct layer *l = &m->layer[il];
		if (l->ffn != FFN_MOE) continue;
		if (!op->moe_room || !op->route || !op->experts)
			return lm_fail(err, LM_EUNSUPPORTED, "device %s does not run mixtures of experts", m->be->name);
		if ((rc = op->moe_room(m->be, &hp->moe, hp->n_embd, l->e.n_ff, err))) return rc;
		if (l->sh_gate.base && (rc = op->moe_room(m->be, &one, hp->n_embd, l->n_ff_sh, err))) return rc;
	}
	return 0;
}

static int max_int(int a, int b) { return a > b ? a : b; }

static void fill_info(struct model *m, const struct arch *row)
{
	const struct hparams *hp = &m->hp;
	struct model_info *i = &m->info;

	i->untested = row->untested;
	i->n_embd = hp->n_embd;
	i->n_vocab = hp->n_vocab;
	i->n_layer = hp->n_layer;
	/* the short LongRoPE factors hold up to the original context; without long ones that is all there is */
	i->n_ctx_train = m->rope_short.base && !m->rope_long.base ? hp->rope.n_ctx_orig : hp->n_ctx_train;
	i->n_pos = m->pos_embd.base ? m->pos_embd.rows : 0;
	i->n_ctx_short = m->rope_short.base && m->rope_long.base ? hp->rope.n_ctx_orig : 0;
	for (int il = 0; il < hp->n_layer; il++) {
		const struct layer *l = &m->layer[il];
		m->max_q = max_int(m->max_q, l->attn.n_head * l->attn.dim_k);
		m->max_kv = max_int(m->max_kv, l->attn.n_kv * max_int(l->attn.dim_k, l->attn.dim_v));
		m->max_o = max_int(m->max_o, l->attn.n_head * l->attn.dim_v);
		if (l->ffn == FFN_DENSE) m->max_ff = max_int(m->max_ff, l->n_ff);
		if (l->sh.up.base) m->max_ff = max_int(m->max_ff, l->n_ff_sh);
		if (l->mix[0] == MIX_MLA) {     /* ffn's scratch holds the heads as trained and the query's low rank */
			m->max_ff = max_int(m->max_ff, l->attn.n_head * max_int(hp->mla.dim_k, hp->mla.dim_v));
			m->max_ff = max_int(m->max_ff, hp->mla.lora_q);
		}
		m->max_in = max_int(m->max_in, l->a.gate.base ? l->attn.n_head * l->attn.dim_v : 0);
		m->max_in = max_int(m->max_in, l->r.n_in);
		m->max_conv = max_int(m->max_conv, l->r.n_conv);
		m->max_inner = max_int(m->max_inner, l->r.n_inner);
		i->recurrent |= mix_recurs(l->mix[0]) || mix_recurs(l->mix[1]);
		i->slot_bytes += ((uint64_t)l->r.conv_state + (uint64_t)l->r.state) * sizeof(float);
	}
}

static int load(struct model *m, const struct file *f, const struct model_opt *o, struct lm_err *err)
{
	const struct arch *row = NULL;
	int rc, n_alias = sizeof row->alias / sizeof row->alias[0];

	if ((rc = find_arch(&row, f, err))) return rc;
	m->info.arch = row->name;
	if ((rc = keys_load(&m->hp, f, row->name, err))) return rc;
	if ((rc = apply_row(&m->hp, row, err))) return rc;
	if ((rc = apply_moe(&m->hp, row, err))) return rc;
	if ((rc = load_vocab(&m->hp, f, err))) return rc;
	if ((rc = heads_size(m, f, err))) return rc;
	m->layer = lm_new(m->arena, struct layer, m->hp.n_layer);
	if (!m->layer) return lm_fail(err, LM_ENOMEM, "out of memory for %d layers", m->hp.n_layer);
	for (int il = 0; il < m->hp.n_layer; il++)
		if ((rc = load_layer(m, f, row, il, err))) return rc;
	if ((rc = model_bind(m, f, row->alias, n_alias, o, err))) return rc;
	if (row->finish && (rc = row->finish(m, f, err))) return rc;
	if ((rc = check_norms(m, err))) return rc;
	if ((rc = room_for_experts(m, err))) return rc;
	if ((rc = load_ropes(m, f, row, err))) return rc;
	fill_info(m, row);
	return heads_load(m, f, row->cls_act, err);
}

/* Tensors in a sentence under the names that a folder has for them: people look for those. */
static void in_their_names(const struct file *f, struct lm_err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._";
	struct lm_buf out = { 0 };
	char word[128], buf[320];

	if (!err || !err->code || !file_is_folder(f)) return;
	for (const char *p = err->msg; *p;) {
		size_t n = strspn(p, letters);
		bool tensor = n > 7 && n < sizeof word && (!memcmp(p + n - 7, ".weight", 7) || !memcmp(p + n - 5, ".bias", 5));
		snprintf(word, sizeof word, "%.*s", (int)n, p);
		if (!n) n = 1;
		if (tensor) lm_buf_str(&out, file_source(f, word, buf, sizeof buf));
		else lm_buf_add(&out, p, n);
		p += n;
	}
	if (!out.bad) snprintf(err->msg, sizeof err->msg, "%s", lm_buf_cstr(&out));
	lm_buf_free(&out);
}

int model_load(struct model **out, const struct file *f, struct backend *be, const struct model_opt *o, struct lm_err *err)
{
	static const struct model_opt plain = { .precision = DT_COUNT, .quantize = DT_COUNT };
	struct lm_arena *a = lm_arena_new(1 << 16);
	struct model *m = a ? lm_new(a, struct model, 1) : NULL;
	int rc;

	if (!m) {
		lm_arena_free(a);
		return lm_fail(err, LM_ENOMEM, "out of memory for a model");
	}
	m->arena = a;
	m->be = be;
	if ((rc = load(m, f, o ? o : &plain, err))) {
		in_their_names(f, err);
		model_free(m);
		return rc;
	}
	*out = m;
	return 0;
}

void model_free(struct model *m)
{
	if (!m) return;
	for (struct made *p = m->made; p; p = p->next) lm_pages_free(p->p, p->n);
	lm_arena_free(m->arena);        /* m lives in its arena; imported weights go with file and backend */
}

const struct model_info *model_info(const struct model *m) { return &m->info; }
