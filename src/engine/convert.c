/* convert.c - whatever file_open presents, as one GGUF: keys, tokenizer, tensors in the order of the file.
 * GOTCHAS
 *   - families whose GGUF turns neighbouring elements of a head while the checkpoint turns halves (the view says
 *     <arch>.rope.interleaved = false) get the rows of q and k, and their biases, in GGUF's order: row 2i + j of a head
 *     is the checkpoint's row j * d/2 + i, d being the elements that turn;
 *   - experts, one matrix each in a folder, are stacked into one tensor;
 *   - llama.cpp reads vectors, norms, routers and filters in F32 only. */
#include "engine/convert.h"
#include "engine/path.h"
#include "format/overlay.h"
#include "format/gguf_write.h"
#include "tokenizer/folder.h"
#include "tokenizer/tok.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 128 };

struct item {
	const struct tensor *const *part;                  /* n_part tensors, one under the other */
	int n_part;
	int turn, head, dims;                              /* rows [0, turn) in heads whose first dims are reordered; 0: none */
};
struct convert {
	const struct convert_opt *o;
	struct file *f;
	struct file *base;                                 /* what f is a view of, with adapters merged; else NULL */
	struct adapter **adapter;
	struct tok *tok;
	struct lm_arena *arena;
	char arch[64];
	bool permute;
	struct gguf_tensor *t;
	struct item *item;
	int n;
	uint64_t bytes[DT_COUNT];
	struct gguf_keys keys;
	struct lm_err *err;
};

static int no_memory(const struct convert *c) { return lm_fail(c->err, LM_ENOMEM, "out of memory for %s", c->o->out); }

/* ---- types ----------------------------------------------------------------------------------------------- */
static bool is_float(enum dtype t) { return t == DT_F32 || t == DT_F16 || t == DT_BF16 || t == DT_F64; }

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s), k = strlen(with);
	return n >= k && !strcmp(s + n - k, with);
}

/* Tensors that are F32 in every GGUF, besides vectors and norms. */
static bool always_f32(const struct gguf_tensor *t)
{
	static const char *const words[] = { "ffn_gate_inp.", "ffn_gate_inp_shexp.", "position_embd.", "token_types.",
					     "ssm_conv1d.", "shortconv.conv." };
	if (t->n_dims == 1 || ends(t->name, "_norm.weight") || !ends(t->name, ".weight")) return true;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strstr(t->name, words[i])) return true;
	return false;
}

/* The type before adapters were merged, if it can be had again. */
static enum dtype type_of(const struct convert *c, const struct tensor *t)
{
	const struct tensor *was = c->base ? file_tensor(c->base, t->name) : NULL;
	if (!was || was->type == t->type) return t->type;
	return quant_info(was->type)->encode ? was->type : DT_F16;
}

/* What is quantised in a folder stays as it is where GGUF has the type; a GGUF's is unpacked when a type was asked for. */
static enum dtype out_type(const struct convert *c, const struct gguf_tensor *t, enum dtype from)
{
	bool ours = from >= DT_NF4, whole = from >= DT_I8 && from <= DT_I64, keep = !ours && !is_float(from);
	enum dtype want = c->o->type;
	if (whole) return from;
	if (always_f32(t)) return DT_F32;
	if (keep && (want == DT_COUNT || file_is_folder(c->f))) return from;
	if (want == DT_COUNT) return ours ? DT_BF16 : from == DT_F64 ? DT_F32 : from;
	return quant_row_bytes(want, t->dim[t->n_dims - 1]) > 0 ? want : DT_F16;
}

/* ---- tensors --------------------------------------------------------------------------------------------- */
/* "blk.3.ffn_gate.7.weight": layer, sort and number of an expert's matrix. */
struct expert { int il, e; char base[32], part[16]; };
static bool is_expert(const char *name, struct expert *x)
{
	int n = 0;
	char sort[32];
	if (sscanf(name, "blk.%d.%31[a-z_].%d.%15[a-z]%n", &x->il, sort, &x->e, x->part, &n) != 4 || name[n]) return false;
	if (x->il < 0 || x->e < 0 || strncmp(sort, "ffn_", 4)) return false;
	memcpy(x->base, sort, sizeof sort);
	return true;
}

static struct item *add(struct convert *c, const char *name, const struct tensor *const *part, int n_part, bool stack)
{
	const struct tensor *t = part[0];
	struct gguf_tensor *out = &c->t[c->n];
	struct item *it = &c->item[c->n];
	*out = (struct gguf_tensor){ .name = name, .n_dims = t->n_dims, .dim = { t->dim[0], t->dim[1], t->dim[2], t->dim[3] } };
	if (stack) {
		memmove(out->dim + 1, t->dim, 3 * sizeof *t->dim);
		out->dim[0] = n_part;
		out->n_dims++;
	}
	out->type = out_type(c, out, type_of(c, t));
	*it = (struct item){ .part = part, .n_part = n_part };
	c->n++;
	return it;
}

/* All experts of a sort, when t is the first one. */
static int add_experts(struct convert *c, const struct tensor *t, const struct expert *x)
{
	char name[MAX_NAME];
	int n = 0;
	if (x->e > 0) {
		snprintf(name, sizeof name, "blk.%d.%s.0.%s", x->il, x->base, x->part);
		return file_tensor(c->f, name) ? 0 : lm_fail(c->err, LM_EFORMAT, "the tensor %s is missing", name);
	}
	for (;; n++) {
		snprintf(name, sizeof name, "blk.%d.%s.%d.%s", x->il, x->base, n, x->part);
		if (!file_tensor(c->f, name)) break;
	}
	const struct tensor **part = lm_new(c->arena, const struct tensor *, n);
	for (int i = 0; part && i < n; i++) {
		snprintf(name, sizeof name, "blk.%d.%s.%d.%s", x->il, x->base, i, x->part);
		part[i] = file_tensor(c->f, name);
		if (part[i]->type != t->type || part[i]->n_dims != t->n_dims || memcmp(part[i]->dim, t->dim, sizeof t->dim) || t->n_dims > 3)
			return lm_fail(c->err, LM_EFORMAT, "%s: not of the type and shape of %s", name, t->name);
	}
	int len = snprintf(name, sizeof name, "blk.%d.%s_exps.%s", x->il, x->base, x->part);
	char *own = part ? lm_arena_str(c->arena, name, (size_t)len) : NULL;
	if (!own) return no_memory(c);
	add(c, own, part, n, true);
	return 0;
}

/* A number of the architecture's, maybe one per layer; -1: absent. */
static int64_t arch_number(const struct convert *c, const char *key, int il)
{
	char name[MAX_NAME];
	int64_t v = -1;
	snprintf(name, sizeof name, "%s.%s", c->arch, key);
	if (!file_i64(c->f, name, &v) && !file_arr_i64(c->f, name, il, &v)) v = -1;
	return v;
}

/* Which rows of a q, k or qkv are reordered, and in what heads. */
static int set_turn(struct convert *c, struct item *it, const struct tensor *t)
{
	static const char *const sorts[] = { "attn_q", "attn_k", "attn_qkv", "attn_q_norm", "attn_k_norm" };
	int il = -1, n = 0, sort = 0;
	char base[32];
	if (!c->permute || sscanf(t->name, "blk.%d.%31[a-z_]%n", &il, base, &n) != 2) return 0;
	while (sort < 5 && strcmp(base, sorts[sort])) sort++;
	if (sort == 5) return 0;
	int64_t n_head = arch_number(c, "attention.head_count", il), n_kv = arch_number(c, "attention.head_count_kv", il);
	int64_t embd = arch_number(c, "embedding_length", il), head = arch_number(c, "attention.key_length", il);
	int64_t dims = arch_number(c, "rope.dimension_count", il), rows = t->n_dims == 1 ? t->dim[0] : tensor_n_rows(t);
	if (n_kv < 0) n_kv = n_head;
	if (head < 0 && n_head > 0) head = embd / n_head;
	if (dims < 0) dims = head;
	int64_t turn = sort == 2 ? (n_head + n_kv) * head : rows;
	if (n_head < 1 || n_kv < 0 || n_head > 1 << 20 || n_kv > 1 << 20 || head < 2 || head > 1 << 20 || dims > head || dims < 2 ||
	    dims % 2 || turn > rows || turn % head || rows > INT32_MAX)
		return lm_fail(c->err, LM_EFORMAT, "%s: its rows are no heads of %lld elements, of which %lld turn", t->name,
			       (long long)head, (long long)dims);
	it->turn = (int)turn;
	it->head = (int)head;
	it->dims = (int)dims;
	return 0;
}

/* A head that is the embedding is left out: that is how a GGUF says so. */
static bool is_tied(const struct convert *c, const struct tensor *t)
{
	const struct tensor *e = file_tensor(c->f, "token_embd.weight");
	return !strcmp(t->name, "output.weight") && e && t->data && e->data == t->data && e->type == t->type && e->size == t->size;
}

static int list_tensors(struct convert *c)
{
	int n = file_count(c->f), rc = 0;
	c->t = lm_new(c->arena, struct gguf_tensor, n);
	c->item = lm_new(c->arena, struct item, n);
	if (!c->t || !c->item) return no_memory(c);
	for (int i = 0; !rc && i < n; i++) {
		const struct tensor *t = file_at(c->f, i);
		struct expert x;
		if (is_tied(c, t)) continue;
		if (is_expert(t->name, &x)) {
			rc = add_experts(c, t, &x);
			continue;
		}
		const struct tensor **part = lm_new(c->arena, const struct tensor *, 1);
		if (!part) return no_memory(c);
		*part = t;
		rc = set_turn(c, add(c, t->name, part, 1, false), t);
	}
	for (int i = 0; i < c->n; i++)
		c->bytes[c->t[i].type] += (uint64_t)tensor_n_rows(c->item[i].part[0]) * (uint64_t)c->item[i].n_part *
					  (uint64_t)quant_row_bytes(c->t[i].type, c->t[i].dim[c->t[i].n_dims - 1]);
	return rc;
}

/* Where what stands at `at` in GGUF's order is in the checkpoint's. */
static int64_t source(const struct item *it, int64_t at)
{
	int64_t in = it->turn ? at % it->head : 0;
	if (at >= it->turn || in >= it->dims) return at;
	return at - in + in % 2 * (it->dims / 2) + in / 2;
}

/* n rows of the type they have, from one part. */
static int plain_rows(const struct item *it, const struct tensor *t, int64_t row, int64_t n, char *dst, struct lm_err *err)
{
	int64_t bytes = quant_row_bytes(t->type, t->dim[t->n_dims - 1]);
	int rc = 0;
	if (!it->turn || t->n_dims == 1) return tensor_rows(t, row, n, dst, err);
	for (int64_t i = 0; !rc && i < n; i++) rc = tensor_rows(t, source(it, row + i), 1, dst + i * bytes, err);
	return rc;
}

static int rows(void *ud, int at, int64_t row, int64_t n, void *dst, struct gguf_tmp *tmp, struct lm_err *err)
{
	const struct convert *c = ud;
	const struct item *it = &c->item[at];
	enum dtype from = it->part[0]->type, to = c->t[at].type;
	const struct dtype_info *a = quant_info(from), *b = quant_info(to);
	int64_t cols = c->t[at].dim[c->t[at].n_dims - 1], in = quant_row_bytes(from, cols), out = quant_row_bytes(to, cols);
	int64_t per = tensor_n_rows(it->part[0]);
	bool vector = it->turn && it->part[0]->n_dims == 1;
	if (from != to && !b->encode) return lm_fail(err, LM_EUNSUPPORTED, "%s: %s cannot be written", c->t[at].name, b->name);
	for (int64_t k; n > 0; n -= k, row += k, dst = (char *)dst + k * out) {
		const struct tensor *t = it->part[row / per];
		k = per - row % per < n ? per - row % per : n;
		if (from == to && !vector) {
			int rc = plain_rows(it, t, row % per, k, dst, err);
			if (rc) return rc;
			continue;
		}
		/* floats of a row, again for a vector's new order, and the source's rows */
		char *p = gguf_room(tmp, (size_t)(2 * cols) * sizeof(float) + (size_t)(k * in));
		if (!p) return lm_fail(err, LM_ENOMEM, "out of memory for rows of %s", t->name);
		float *f = (float *)(void *)p, *g = f + cols;
		char *raw = (char *)(g + cols);
		int rc = plain_rows(it, t, row % per, k, raw, err);
		for (int64_t r = 0; !rc && r < k; r++) {
			a->decode(f, raw + r * in, cols);
			for (int64_t i = 0; vector && i < cols; i++) g[i] = f[source(it, i)];
			b->encode((char *)dst + r * out, vector ? g : f, NULL, cols);
		}
		if (rc) return rc;
	}
	return 0;
}

/* ---- keys ------------------------------------------------------------------------------------------------ */
/* What general.file_type says, by the type of most bytes; -1: nothing. */
static int file_type(const struct convert *c, const char **name)
{
	static const struct { enum dtype type; int ftype; } types[] = {
		{ DT_F32, 0 }, { DT_F16, 1 }, { DT_Q4_0, 2 }, { DT_Q4_1, 3 }, { DT_Q8_0, 7 }, { DT_Q5_0, 8 }, { DT_Q5_1, 9 },
		{ DT_BF16, 32 }, { DT_MXFP4, 38 },
	};
	int best = 0;
	for (int i = 1; i < DT_COUNT; i++)
		if (c->bytes[i] > c->bytes[best]) best = i;
	*name = quant_info((enum dtype)best)->name;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].type == (enum dtype)best) return types[i].ftype;
	return -1;
}

/* Keys of the source that are not true of the result, or that are written anew. */
static bool dropped(const struct convert *c, const char *key, bool typed)
{
	static const char *const names[] = { "general.alignment", "split.no", "split.count", "split.tensors.count",
					     "general.architecture", "general.quantization_version" };
	size_t n = strlen(c->arch);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(key, names[i])) return true;
	if (!strncmp(key, "tokenizer.", 10) && (c->o->no_tokenizer || file_is_folder(c->f))) return true;
	if (!strncmp(key, c->arch, n) && !strcmp(key + n, ".rope.interleaved")) return c->permute;
	return typed && !strcmp(key, "general.file_type");
}

static void general_keys(struct convert *c)
{
	struct gguf_keys *k = &c->keys;
	const char *path = c->o->in, *base;
	size_t n = strlen(path);
	gguf_key_str(k, "general.architecture", c->arch, strlen(c->arch));
	gguf_key_u32(k, "general.quantization_version", 2);
	if (!file_has(c->f, "general.type")) gguf_key_str(k, "general.type", "model", 5);
	if (file_has(c->f, "general.name")) return;
	while (n > 1 && path[n - 1] == '/') n--;
	for (base = path + n; base > path && base[-1] != '/';) base--;
	gguf_key_str(k, "general.name", base, (size_t)(path + n - base));
}

static int put_templates(struct convert *c)
{
	static const char *const names[] = { "default", "tool_use", "rag" };
	for (int i = 0; i < 3; i++) {
		struct lm_buf b = { 0 };
		char key[MAX_NAME];
		int rc = folder_template(c->o->in, names[i], &b, c->err);
		snprintf(key, sizeof key, i ? "tokenizer.chat_template.%s" : "tokenizer.chat_template", names[i]);
		if (!rc) gguf_key_str(&c->keys, key, lm_buf_cstr(&b), b.n);
		lm_buf_free(&b);
		if (rc < 0) return rc;
	}
	return 0;
}

/* llama.cpp insists on it where attention looks both ways. */
static void put_token_types(struct convert *c)
{
	static const char name[] = "tokenizer.ggml.token_type_count";
	const struct tensor *t = file_tensor(c->f, "token_types.weight");
	bool causal = true;
	char key[MAX_NAME];
	snprintf(key, sizeof key, "%s.attention.causal", c->arch);
	if (file_bool(c->f, key, &causal) && !causal && (!file_has(c->f, name) || dropped(c, name, false)))
		gguf_key_u32(&c->keys, name, t && t->n_dims == 2 ? (uint32_t)t->dim[0] : 1);
}

/* llama.cpp counts a classifier's outputs by its labels; transformers' own names for labels without one. */
static void put_labels(struct convert *c)
{
	const struct tensor *t = file_tensor(c->f, "cls.output.weight");
	struct lm_buf b = { 0 };
	char key[MAX_NAME], label[32];
	snprintf(key, sizeof key, "%s.classifier.output_labels", c->arch);
	if (!t || t->n_dims != 2 || t->dim[0] < 2 || t->dim[0] > 1 << 16 || file_has(c->f, key)) return;
	for (int i = 0; i < t->dim[0]; i++) gguf_put_str(&b, label, (size_t)snprintf(label, sizeof label, "LABEL_%d", i));
	gguf_key_arr(&c->keys, key, FT_STR, (uint64_t)t->dim[0], b.p, b.n);
	c->keys.b.bad |= b.bad;
	lm_buf_free(&b);
}

static int put_tokenizer(struct convert *c)
{
	const struct tensor *e = file_tensor(c->f, "token_embd.weight");
	int64_t n = e ? e->dim[0] : 0;
	char key[MAX_NAME];
	snprintf(key, sizeof key, "%s.vocab_size", c->arch);
	if (n > 0 && n < UINT32_MAX && !file_has(c->f, key)) gguf_key_u32(&c->keys, key, (uint32_t)n);
	put_token_types(c);
	put_labels(c);
	if (c->o->no_tokenizer) {
		gguf_key_str(&c->keys, "tokenizer.ggml.model", "none", 4);
		return 0;
	}
	if (!file_is_folder(c->f)) return 0;
	int rc = tok_open(&c->tok, c->o->in, c->err);
	if (!rc) rc = tok_export(c->tok, n > 0 && n <= INT32_MAX ? (int)n : tok_vocab(c->tok), &c->keys, c->err);
	if (rc) return lm_context(c->err, "%s: ", c->o->in);
	return put_templates(c);
}

static int make_keys(struct convert *c, const char **type)
{
	int ftype = file_type(c, type);
	bool typed = ftype >= 0 && (file_is_folder(c->f) || c->o->type != DT_COUNT);
	general_keys(c);
	for (int i = 0; i < file_n_keys(c->f); i++)
		if (!dropped(c, file_key(c->f, i, NULL, NULL, NULL), typed)) gguf_key_copy(&c->keys, c->f, i);
	if (typed) gguf_key_u32(&c->keys, "general.file_type", (uint32_t)ftype);
	return put_tokenizer(c);
}

/* ---- all of it ------------------------------------------------------------------------------------------- */
/* The tokenizer of what was written, against the folder's. */
static int check_tokenizer(struct convert *c)
{
	struct file *f = NULL;
	struct tok *t = NULL;
	int rc = file_open(&f, c->o->out, c->err);
	if (!rc) rc = tok_load(&t, f, c->err);
	if (!rc) rc = tok_compare(c->tok, t, c->err);
	if (rc > 0)
		lm_log(LM_LOG_WARN, "%s: its tokenizer gives other ids than the folder's for %s", c->o->out, c->err->msg);
	tok_free(t);
	file_close(f);
	return rc > 0 ? 0 : rc;
}

static int merge_adapters(struct convert *c)
{
	const struct convert_opt *o = c->o;
	float *weight = lm_new(c->arena, float, o->n_lora);
	int rc = 0;

	c->adapter = lm_new(c->arena, struct adapter *, o->n_lora);
	if (!weight || !c->adapter) return no_memory(c);
	for (int i = 0; !rc && i < o->n_lora; i++) {
		weight[i] = o->lora[i].scale;
		rc = adapter_open(&c->adapter[i], o->lora[i].path, c->f, c->err);
	}
	if (rc) return rc;
	c->base = c->f;
	c->f = NULL;
	return overlay_merge(&c->f, c->base, (const struct adapter *const *)c->adapter, weight, o->n_lora, c->err);
}

static int open_source(struct convert *c)
{
	struct lm_buf path = { 0 };
	const char *s;
	size_t n;
	bool tokenizer, interleaved = true;
	char key[MAX_NAME];
	int rc = path_model(c->o->in, false, &path, &tokenizer, c->err);
	if (!rc) rc = file_open(&c->f, path.p, c->err);
	lm_buf_free(&path);
	if (rc) return rc;
	if (!file_str(c->f, "general.architecture", &s, &n) || n == 0 || n >= sizeof c->arch)
		return lm_fail(c->err, LM_EFORMAT, "%s: the key general.architecture is missing: not a model", c->o->in);
	memcpy(c->arch, s, n);
	snprintf(key, sizeof key, "%s.rope.interleaved", c->arch);
	c->permute = file_is_folder(c->f) && file_bool(c->f, key, &interleaved) && !interleaved;
	return 0;
}

int convert_model(const struct convert_opt *o, struct convert_done *done, struct lm_err *err)
{
	struct lm_err e;
	struct convert c = { .o = o, .err = err ? err : &e };
	const char *type = "";
	c.arena = lm_arena_new(1 << 16);
	int rc = c.arena ? open_source(&c) : no_memory(&c);
	if (!rc && o->n_lora) rc = merge_adapters(&c);
	if (!rc) rc = list_tensors(&c);
	if (!rc) rc = make_keys(&c, &type);
	if (!rc) rc = gguf_write(o->out, &c.keys, c.t, c.n, rows, &c, o->n_threads, c.err);
	if (!rc && c.tok) rc = check_tokenizer(&c);
	*done = (struct convert_done){ .n_tensors = c.n, .type = type, .bytes = c.keys.b.n };
	for (int i = 0; i < DT_COUNT; i++) done->bytes += c.bytes[i];
	gguf_keys_free(&c.keys);
	tok_free(c.tok);
	file_close(c.f);
	for (int i = 0; c.adapter && i < o->n_lora; i++) adapter_close(c.adapter[i]);
	file_close(c.base);
	lm_arena_free(c.arena);
	return rc;
}
