/* peft.c - adapters as the peft library saves them: adapter_config.json beside adapter_model.safetensors or .bin.
 *
 * GOTCHAS
 *   names     "base_model.model." + the checkpoint's module + ".lora_A.weight"; some writers leave the adapter's name in
 *             (".lora_A.default.weight"), embeddings have no ".weight" (".lora_embedding_A")
 *   r         is what lora_A has; the number in the config counts for nothing but its absence of surprises
 *   patterns  of alpha_pattern are regular expressions for the end of a module's name, after a dot
 *   full      what is neither A nor B takes the place of the base's tensor: modules_to_save, trained biases, embeddings
 *             that were resized.  ".base_layer.weight" of the base's shape is the base's own, saved along; its bias is not */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/json.h"
#include "format/adapter_impl.h"
#include "format/peft_map.h"
#include "format/view.h"
#include <math.h>
#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_PATTERNS = 4096, MATCH_LIMIT = 100000, MAX_OUT = 8 };

struct alpha { pcre2_code *re; double alpha; };
struct peft {
	struct adapter *a;
	const struct file *base;
	struct hf h;
	json_t *cfg;
	struct peft_map *map;
	double alpha;
	bool rs;
	struct alpha *by_name; int n_by_name;
	pcre2_match_data *match;
	pcre2_match_context *limits;
	struct lm_err *err;
};

static int no_memory(const struct peft *p) { return lm_fail(p->err, LM_ENOMEM, "%.300s: out of memory", p->a->path); }

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s), k = strlen(with);
	return n >= k && !strcmp(s + n - k, with);
}

/* ---- adapter_config.json ---------------------------------------------------------------------------------- */
static bool truthy(const json_t *v)
{
	if (json_is_array(v)) return json_array_size(v) > 0;
	if (json_is_object(v)) return json_object_size(v) > 0;
	if (json_is_string(v)) return json_string_length(v) > 0;
	return v && !json_is_null(v) && !json_is_false(v) && !(json_is_integer(v) && json_integer_value(v) == 0);
}

/* Settings that change the arithmetic in ways that we do not follow. */
static int refuse(const struct peft *p)
{
	static const char *const keys[] = { "layer_replication", "alora_invocation_tokens", "trainable_token_indices",
		                            "target_parameters", "lora_bias", "use_qalora", "arrow_config", "use_bdlora",
		                            "kasa_config", "velora_config", "monteclora_config" };
	static const char *const inits[] = { "pissa", "olora", "corda", "loftq", "lora_ga" };
	const char *kind = json_string_value(json_object_get(p->cfg, "peft_type"));
	const char *init = json_string_value(json_object_get(p->cfg, "init_lora_weights"));

	if (!kind || strcmp(kind, "LORA"))
		return lm_fail(p->err, LM_EUNSUPPORTED, "peft_type %s%.40s: only LORA adapters are applied", kind ? "" : "is missing",
		               kind ? kind : "");
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (truthy(json_object_get(p->cfg, keys[i])))
			return lm_fail(p->err, LM_EUNSUPPORTED, "an adapter with \"%s\", which is not built", keys[i]);
	for (size_t i = 0; init && i < sizeof inits / sizeof *inits; i++)
		if (!strncmp(init, inits[i], strlen(inits[i])))
			return lm_fail(p->err, LM_EUNSUPPORTED, "init_lora_weights \"%.40s\" changes the base's own weights, which is "
			               "not built: save it converted to plain LoRA", init);
	return 0;
}

static int add_pattern(struct peft *p, const char *key, const json_t *v)
{
	struct lm_buf b = { 0 };
	int code;
	PCRE2_SIZE at;

	if (!json_is_number(v)) return lm_fail(p->err, LM_EFORMAT, "alpha_pattern: \"%.60s\" is no number", key);
	lm_buf_fmt(&b, "^(?:(?:.*\\.)?(?:%s))$", key);
	pcre2_code *re = b.bad ? NULL : pcre2_compile((PCRE2_SPTR)b.p, b.n, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
	bool bad = b.bad;
	lm_buf_free(&b);
	if (bad) return no_memory(p);
	if (!re) return lm_fail(p->err, LM_EFORMAT, "alpha_pattern: \"%.60s\" is no regular expression", key);
	p->by_name[p->n_by_name++] = (struct alpha){ re, json_number_value(v) };
	return 0;
}

static int read_config(struct peft *p)
{
	const json_t *alpha = json_object_get(p->cfg, "lora_alpha"), *pat = json_object_get(p->cfg, "alpha_pattern"), *v;
	const char *key;
	int rc = refuse(p);

	if (rc) return rc;
	p->alpha = alpha ? json_number_value(alpha) : 8;                 /* peft's default */
	if ((alpha && !json_is_number(alpha)) || !isfinite(p->alpha))
		return lm_fail(p->err, LM_EFORMAT, "lora_alpha is no number");
	const json_t *rs = json_object_get(p->cfg, "use_rslora");
	p->rs = json_is_true(rs);
	if (rs && !json_is_boolean(rs) && !json_is_null(rs))
		return lm_fail(p->err, LM_EFORMAT, "use_rslora is %s, expected true or false", lm_json_kind(rs));
	if (pat && !json_is_object(pat) && !json_is_null(pat))
		return lm_fail(p->err, LM_EFORMAT, "alpha_pattern is %s, expected an object", lm_json_kind(pat));
	size_t n = json_is_object(pat) ? json_object_size(pat) : 0;
	if (n > MAX_PATTERNS) return lm_fail(p->err, LM_ELIMIT, "alpha_pattern has %zu entries, at most %d are read", n, MAX_PATTERNS);
	p->by_name = lm_calloc(n, sizeof *p->by_name);
	p->match = n ? pcre2_match_data_create(1, NULL) : NULL;
	p->limits = n ? pcre2_match_context_create(NULL) : NULL;
	if (!p->by_name || (n && (!p->match || !p->limits))) return no_memory(p);
	if (n) {
		pcre2_set_match_limit(p->limits, MATCH_LIMIT);
		pcre2_set_depth_limit(p->limits, MATCH_LIMIT);
		json_object_foreach((json_t *)(uintptr_t)pat, key, v)
			if ((rc = add_pattern(p, key, v))) return rc;
	}
	return 0;
}

/* A pattern that reaches the limit ends the reading: thousands of them, asked for every module, would take hours. */
static int alpha_of(const struct peft *p, const char *module, double *out)
{
	*out = p->alpha;
	for (int i = 0; i < p->n_by_name; i++) {
		int rc = pcre2_match(p->by_name[i].re, (PCRE2_SPTR)module, strlen(module), 0, 0, p->match, p->limits);
		if (rc >= 0) {
			*out = p->by_name[i].alpha;
			return 0;
		}
		if (rc == PCRE2_ERROR_NOMEMORY) return no_memory(p);
		if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT)
			return lm_fail(p->err, LM_ELIMIT, "alpha_pattern: its pattern number %d takes too long to match", i + 1);
	}
	return 0;
}

/* ---- tensors -------------------------------------------------------------------------------------------------- */
/* What a tensor is to its module. */
enum kind { LORA_A, LORA_B, EMBED_A, EMBED_B, MAGNITUDE, OTHER };
static const struct { const char *mark; enum kind kind; } marks[] = {
	{ ".lora_A.", LORA_A }, { ".lora_B.", LORA_B }, { ".lora_embedding_A", EMBED_A }, { ".lora_embedding_B", EMBED_B },
	{ ".lora_magnitude_vector", MAGNITUDE },
};

static const char *checkpoint_name(const char *s)
{
	static const char prefix[] = "base_model.model.";
	return strncmp(s, prefix, sizeof prefix - 1) ? s : s + sizeof prefix - 1;
}

/* What follows a mark: nothing, ".weight", or an adapter's name before that. */
static bool tail_fits(const char *s)
{
	s += *s == '.';
	const char *w = strcmp(s, "weight") ? strstr(s, ".weight") : s;
	size_t n = w ? (size_t)(w - s) : strlen(s);
	return (!w || !strcmp(w, s == w ? "weight" : ".weight")) && memchr(s, '.', n) == NULL;
}

/* The kind of tensor, and in *module its module's name under the checkpoint. */
static enum kind kind_of(struct peft *p, const char *name, const char **module)
{
	const char *s = checkpoint_name(name);
	*module = NULL;
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
		const char *at = strstr(s, marks[i].mark);
		if (!at || !tail_fits(at + strlen(marks[i].mark))) continue;
		*module = lm_arena_str(p->a->arena, s, (size_t)(at - s));
		return marks[i].kind;
	}
	return OTHER;
}

/* The tensor beside `name`, with `other` instead of `mark`; NULL when there is none, or no such mark. */
static const struct tensor *beside(struct peft *p, const char *name, const char *mark, const char *other)
{
	const char *at = strstr(name, mark);
	struct lm_buf b = { 0 };
	if (!at) return NULL;
	lm_buf_add(&b, name, (size_t)(at - name));
	lm_buf_str(&b, other);
	lm_buf_str(&b, at + strlen(mark));
	const struct tensor *t = b.bad ? NULL : hf_tensor(&p->h, lm_buf_cstr(&b));
	lm_buf_free(&b);
	return t;
}

static const struct tensor *keep(struct peft *p, const struct tensor *t)
{
	struct tensor *k = lm_new(p->a->arena, struct tensor, 1);
	if (k) *k = *t;
	return k;
}

static int scale_of(const struct peft *p, const char *module, int64_t r, float *out)
{
	double alpha;
	int rc = alpha_of(p, module, &alpha);
	*out = (float)(alpha / (p->rs ? sqrt((double)r) : (double)r));
	return rc;
}

/* DoRA: lengths of rows, [out] or [out, 1], a row each here. */
static int take_size(struct peft *p, const struct tensor *t, const char *weight, struct low_rank *r, int i, int n)
{
	struct tensor rows = *t, *out = lm_new(p->a->arena, struct tensor, MAX_OUT);
	rows.n_dims = 2;
	rows.dim[0] = t->n_dims == 2 && t->dim[0] == 1 ? t->dim[1] : t->dim[0];
	rows.dim[1] = 1;
	if (!out) return no_memory(p);
	if (t->n_dims > 2 || (t->n_dims == 2 && t->dim[0] != 1 && t->dim[1] != 1))
		return lm_fail(p->err, LM_EFORMAT, "%s: not a vector", t->name);
	const struct tensor *kept = keep(p, &rows);
	int got = kept ? peft_map_tensor(p->map, weight, kept, false, out, MAX_OUT, p->err) : no_memory(p);
	if (got < 0) return got;
	if (got != n) return lm_fail(p->err, LM_EFORMAT, "%s: does not go with its lora_B", t->name);
	r->size = &out[i];
	return 0;
}

static int take_pair(struct peft *p, const struct tensor *a, const char *module)
{
	const struct tensor *b = beside(p, a->name, ".lora_A.", ".lora_B.");
	const struct tensor *size = beside(p, a->name, ".lora_A.", ".lora_magnitude_vector.");
	struct tensor out[MAX_OUT];
	char weight[600];

	if (!size) size = beside(p, a->name, ".lora_A.weight", ".lora_magnitude_vector");
	if (!b) return lm_fail(p->err, LM_EFORMAT, "%s: its lora_B is missing", a->name);
	if (a->n_dims != 2 || b->n_dims != 2 || a->dim[0] != b->dim[1])
		return lm_fail(p->err, LM_EUNSUPPORTED, "%s and its lora_B are not two matrices that can be multiplied", a->name);
	snprintf(weight, sizeof weight, "%.580s.weight", module);
	const struct tensor *kept = keep(p, b);
	int n = kept ? peft_map_tensor(p->map, weight, kept, false, out, MAX_OUT, p->err) : no_memory(p);
	if (n < 0) return n;
	for (int i = 0; i < n; i++) {
		struct low_rank r = { .name = out[i].name, .a = *a, .b = out[i] };
		int rc = scale_of(p, module, a->dim[0], &r.scale);
		if (!rc && size) rc = take_size(p, size, weight, &r, i, n);
		r.b.name = b->name;
		if (rc || (rc = adapter_low(p->a, &r, p->err))) return rc;
	}
	return 0;
}

/* A is [r, n_vocab]: a column is a token. */
static int take_embed(struct peft *p, const struct tensor *a, const char *module)
{
	const struct tensor *b = beside(p, a->name, ".lora_embedding_A", ".lora_embedding_B");
	struct tensor out[MAX_OUT];
	struct low_rank r = { .embed = true };
	char weight[600];
	int rc;

	if (!b) return lm_fail(p->err, LM_EFORMAT, "%s: its lora_embedding_B is missing", a->name);
	if (a->n_dims != 2 || b->n_dims != 2 || a->dim[0] != b->dim[1])
		return lm_fail(p->err, LM_EUNSUPPORTED, "%s and its lora_embedding_B are not two matrices that can be multiplied", a->name);
	const struct tensor *kept = keep(p, a);
	if (!kept) return no_memory(p);
	if ((rc = derive_transpose(p->a->arena, &r.a, kept, p->err))) return rc;
	snprintf(weight, sizeof weight, "%.580s.weight", module);
	const struct tensor *turned = keep(p, &r.a);
	int n = turned ? peft_map_tensor(p->map, weight, turned, false, out, MAX_OUT, p->err) : no_memory(p);
	if (n < 0) return n;
	if (n != 1 || strcmp(out[0].name, "token_embd.weight"))
		return lm_fail(p->err, LM_EUNSUPPORTED, "%s: only the embedding of tokens can be changed so", a->name);
	r.name = out[0].name;
	r.a.name = a->name;
	r.b = *b;
	if ((rc = scale_of(p, module, a->dim[0], &r.scale))) return rc;
	return adapter_low(p->a, &r, p->err);
}

static bool same_shape(const struct tensor *a, const struct tensor *b)
{
	return b && a->dim[0] == b->dim[0] && a->dim[1] == b->dim[1];
}

/* ".modules_to_save[.NAME]." and ".base_layer." out of a name; *own: it was the base's. */
static void plain_name(char *to, size_t n, const char *from, bool *own)
{
	static const char save[] = ".modules_to_save.", base[] = ".base_layer.";
	const char *s = checkpoint_name(from), *at = strstr(s, save), *rest;

	*own = false;
	if (at) {
		rest = at + sizeof save - 2;                                  /* from its last dot on */
		const char *dot = strrchr(rest, '.');
		snprintf(to, n, "%.*s%s", (int)(at - s), s, dot ? dot : rest);
	} else if ((at = strstr(s, base))) {
		*own = true;
		snprintf(to, n, "%.*s%s", (int)(at - s), s, at + sizeof base - 2);
	} else {
		snprintf(to, n, "%s", s);
	}
}

/* Is the module of tensor `name` in modules_to_save?  Then it alone is another, though its weights were tied. */
static bool saved_alone(const struct peft *p, const char *name)
{
	const json_t *v, *list = json_object_get(p->cfg, "modules_to_save");
	size_t i;

	if (json_is_true(json_object_get(p->cfg, "ensure_weight_tying"))) return false;
	json_array_foreach((json_t *)(uintptr_t)list, i, v) {
		char end[200];
		snprintf(end, sizeof end, ".%.180s.weight", json_is_string(v) ? json_string_value(v) : "");
		if (ends(name, end)) return true;
	}
	return false;
}

static int take_full(struct peft *p, const struct tensor *t)
{
	struct tensor out[MAX_OUT];
	const struct tensor *kept = keep(p, t);
	char name[640];
	bool own;

	if (strlen(t->name) > 600) return lm_fail(p->err, LM_EFORMAT, "%.100s...: the name is too long", t->name);
	if (strstr(t->name, ".original_module.")) return 0;                  /* the base's, saved along */
	plain_name(name, sizeof name, t->name, &own);
	int n = kept ? peft_map_tensor(p->map, name, kept, true, out, MAX_OUT, p->err) : no_memory(p), rc = 0;
	if (n < 0) return n;
	for (int i = 0; !rc && i < n; i++) {
		const struct tensor *b = file_tensor(p->base, out[i].name);
		if (own && ends(name, ".weight") && same_shape(&out[i], b)) continue;
		if (!b && strcmp(out[i].name, "output.weight"))
			return lm_fail(p->err, LM_EFORMAT, "%s: the base has no %s: an adapter for another model?", t->name, out[i].name);
		if (!strcmp(out[i].name, "token_embd.weight") && saved_alone(p, name)) p->a->untie = true;
		rc = adapter_full(p->a, &out[i], p->err);
	}
	return rc;
}

static int take_tensor(struct peft *p, const struct tensor *t)
{
	const char *module;
	enum kind k = kind_of(p, t->name, &module);
	bool lost = false;

	if (k != OTHER && !module) return no_memory(p);
	switch (k) {
	case LORA_A: return take_pair(p, t, module);
	case EMBED_A: return take_embed(p, t, module);
	case LORA_B: lost = !beside(p, t->name, ".lora_B.", ".lora_A."); break;
	case EMBED_B: lost = !beside(p, t->name, ".lora_embedding_B", ".lora_embedding_A"); break;
	case MAGNITUDE: return 0;                                            /* taken with its A; alone: told by the count */
	case OTHER:
		if (strstr(t->name, "lora_") || strstr(t->name, "hada_") || strstr(t->name, "lokr_") || strstr(t->name, "oft_"))
			return lm_fail(p->err, LM_EUNSUPPORTED, "%s: not a tensor of a plain LoRA adapter", t->name);
		return take_full(p, t);
	}
	return lost ? lm_fail(p->err, LM_EFORMAT, "%s: its lora_A is missing", t->name) : 0;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */
static int find_weights(struct peft *p, struct lm_buf *path)
{
	static const char *const names[] = { "adapter_model.safetensors", "adapter_model.bin" };
	struct stat st;
	for (size_t i = 0; i < 2; i++) {
		path->n = 0;
		lm_buf_fmt(path, "%s/%s", p->h.dir, names[i]);
		if (path->bad) return no_memory(p);
		if (lstat(lm_buf_cstr(path), &st) == 0) return 0;
	}
	return lm_fail(p->err, LM_EIO, "%.300s: holds neither adapter_model.safetensors nor adapter_model.bin", p->h.dir);
}

static int open_folder(struct peft *p)
{
	struct lm_buf path = { 0 };
	struct stat st;
	size_t n = strlen(p->a->path);
	bool file = stat(p->a->path, &st) == 0 && !S_ISDIR(st.st_mode);
	int rc = 0;

	while (file && n > 0 && p->a->path[n - 1] != '/') n--;
	while (n > 1 && p->a->path[n - 1] == '/') n--;
	p->h.dir = n ? lm_arena_str(p->a->arena, p->a->path, n) : ".";
	if (!p->h.dir) return no_memory(p);
	lm_buf_fmt(&path, "%s/adapter_config.json", p->h.dir);
	if (path.bad) rc = no_memory(p);
	if (!rc && stat(p->a->path, &st)) rc = lm_fail(p->err, LM_EIO, "%.300s: there is no such adapter", p->a->path);
	else if (!rc && stat(path.p, &st))
		rc = lm_fail(p->err, LM_EFORMAT, "%.300s: is neither a GGUF adapter nor beside an adapter_config.json", p->a->path);
	if (!rc) rc = hf_json(path.p, &p->cfg, p->err);
	if (!rc && (rc = read_config(p))) lm_context(p->err, "%.300s: ", path.p);
	if (!rc) rc = file ? (lm_buf_free(&path), lm_buf_str(&path, p->a->path), 0) : find_weights(p, &path);
	if (!rc) rc = raw_open(&p->h, path.p, p->err);
	if (!rc) rc = layouts_open(&p->h, p->err);
	lm_buf_free(&path);
	return rc;
}

/* What open_folder finds, from memory. */
static int open_mem(struct peft *p, const struct adapter_mem *m)
{
	const uint8_t *data = m->data;
	int rc;

	p->h.dir = "";
	if (!(p->cfg = lm_json_parse(m->config, m->n_config, p->err))) return p->err->code;
	if (!json_is_object(p->cfg)) return lm_fail(p->err, LM_EFORMAT, "adapter_config.json is no object");
	if ((rc = read_config(p))) return rc;
	rc = m->size > 8 && data[8] == '{' ? safetensors_read(&p->h, 0, data, m->size, p->err) : torch_read(&p->h, 0, data, m->size, p->err);
	if (!rc) rc = index_build(p->h.f, &p->h.raws, p->h.raw, sizeof *p->h.raw, p->h.n_raw, "tensor", p->err);
	return rc ? rc : layouts_open(&p->h, p->err);
}

static int take_all(struct peft *p, const char *arch)
{
	int n_size = 0, n_used = 0;
	int rc = peft_map_new(&p->map, p->a, p->base, arch, p->err);

	for (int i = 0; !rc && i < p->h.n_raw; i++)
		if (!p->h.raw[i].used)
			rc = lm_fail(p->err, LM_EUNSUPPORTED, "%s: type %s, expected numbers of 16 or 32 bits", p->h.raw[i].name,
			             raw_info[p->h.raw[i].type].name);
	for (int i = 0; !rc && i < p->h.n_t; i++) {
		const struct tensor *t = &p->h.t[i];
		if (t->type != DT_F32 && t->type != DT_F16 && t->type != DT_BF16)
			rc = lm_fail(p->err, LM_EUNSUPPORTED, "%s: type %s, expected f32, f16 or bf16", t->name, quant_info(t->type)->name);
		else rc = take_tensor(p, t);
		n_size += strstr(t->name, ".lora_magnitude_vector") != NULL;
	}
	for (int i = 0; i < p->a->n_low; i++) n_used += p->a->low[i].size != NULL;
	if (!rc && n_size > n_used) rc = lm_fail(p->err, LM_EFORMAT, "a lora_magnitude_vector has no lora_A beside it");
	return rc ? lm_context(p->err, "%.300s: ", p->a->path) : 0;
}

int peft_read(struct adapter *a, const struct file *base, const char *arch, const struct adapter_mem *m, struct lm_err *err)
{
	struct peft p = { .a = a, .base = base, .err = err };
	int rc;

	if (!(a->file = file_new(a->path, err))) return LM_ENOMEM;
	p.h.f = a->file;
	rc = m ? open_mem(&p, m) : open_folder(&p);
	if (!rc) rc = take_all(&p, arch);
	for (int i = 0; i < p.n_by_name; i++) pcre2_code_free(p.by_name[i].re);
	lm_free(p.by_name);
	pcre2_match_data_free(p.match);
	pcre2_match_context_free(p.limits);
	peft_map_free(p.map);
	json_decref(p.cfg);
	hf_close(&p.h);
	return rc;
}
