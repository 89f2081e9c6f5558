/* hf_keys.c - config.json to GGUF's keys: the numbers that every family has, each family's own, and what layers see. */
#include "format/hf_map.h"
#include "base/json.h"
#include <stdarg.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- keys of a file ------------------------------------------------------------------------------------------- */
/* A value put again replaces the one before: a family's hook knows better than the common keys. */
static int put(struct file *f, const char *name, struct key k, const void *p, struct lm_err *err)
{
	int i = 0;
	uint8_t *copy = lm_alloc(f->arena, k.size + 1, 1, 8);

	while (i < f->n_keys && strcmp(f->key[i].name, name)) i++;
	if (i == f->cap_keys && copy) {
		int cap = f->cap_keys ? 2 * f->cap_keys : 64;
		struct key *more = lm_realloc(f->key, (size_t)cap * sizeof *more);
		if (more) f->key = more, f->cap_keys = cap;
		else copy = NULL;
	}
	k.name = copy ? lm_arena_str(f->arena, name, strlen(name)) : NULL;
	if (!k.name) return lm_fail(err, LM_ENOMEM, "%s: out of memory", f->path);
	memcpy(copy, p, k.size);
	k.p = copy;
	f->key[i] = k;
	f->n_keys += i == f->n_keys;
	return 0;
}

static struct key scalar(enum file_type t) { return (struct key){ .type = t, .elem = t, .n = 1, .size = file_type_size[t] }; }

static struct key array(enum file_type t, int64_t n)
{
	return (struct key){ .type = FT_ARR, .elem = t, .n = (uint64_t)n, .size = (uint64_t)n * file_type_size[t] };
}

static int put_i64(struct file *f, const char *name, int64_t v, struct lm_err *err)
{
	uint32_t u = (uint32_t)v;
	return v >= 0 && v <= UINT32_MAX ? put(f, name, scalar(FT_U32), &u, err) : put(f, name, scalar(FT_I64), &v, err);
}

static int put_f32(struct file *f, const char *name, double v, struct lm_err *err)
{
	float x = (float)v;
	return put(f, name, scalar(FT_F32), &x, err);
}

static int put_bool(struct file *f, const char *name, bool v, struct lm_err *err)
{
	uint8_t b = v;
	return put(f, name, scalar(FT_BOOL), &b, err);
}

static int put_str(struct file *f, const char *name, const char *s, size_t n, struct lm_err *err)
{
	return put(f, name, (struct key){ .type = FT_STR, .elem = FT_STR, .n = 1, .size = n }, s, err);
}

static int put_i32s(struct file *f, const char *name, const int32_t *v, int64_t n, struct lm_err *err)
{
	return put(f, name, array(FT_I32, n), v, err);
}

static int put_bools(struct file *f, const char *name, const uint8_t *v, int64_t n, struct lm_err *err)
{
	return put(f, name, array(FT_BOOL, n), v, err);
}

int key_put_strs(struct file *f, const char *name, const char *const *v, int64_t n, struct lm_err *err)
{
	struct key k = { .type = FT_ARR, .elem = FT_STR, .n = (uint64_t)n };
	uint64_t *mark = lm_new(f->arena, uint64_t, n / STRIDE + 1);
	struct lm_buf b = { 0 };

	for (int64_t i = 0; i < n && mark; i++) {
		uint64_t len = strlen(v[i]);
		uint8_t le[8];
		if (i % STRIDE == 0) mark[i / STRIDE] = b.n;
		for (int j = 0; j < 8; j++) le[j] = (uint8_t)(len >> (8 * j));
		lm_buf_add(&b, le, 8);
		lm_buf_add(&b, v[i], len);
	}
	k.size = b.n;
	k.mark = mark;
	int rc = !mark || b.bad ? lm_fail(err, LM_ENOMEM, "%s: out of memory", f->path)
	                        : put(f, name, k, b.n ? b.p : "", err);
	lm_buf_free(&b);
	return rc;
}

/* ---- settings ---------------------------------------------------------------------------------------------------- */
/* The first of "a|b" that o has and that is not null. */
static const json_t *get(const json_t *o, const char *names, char name[64])
{
	while (*names) {
		size_t n = strcspn(names, "|");
		snprintf(name, 64, "%.*s", (int)n, names);
		const json_t *v = json_object_get(o, name);
		if (v && !json_is_null(v)) return v;
		names += n + (names[n] == '|');
	}
	return NULL;
}

static int wrong(struct hf_map *m, const char *where, const char *name, const json_t *v, const char *want)
{
	if (json_is_real(v))
		return lm_fail(m->err, LM_EFORMAT, "config.json: %s%s is %g, expected %s", where, name, json_real_value(v),
			       want);
	return lm_fail(m->err, LM_EFORMAT, "config.json: %s%s is %s, expected %s", where, name, lm_json_kind(v), want);
}

int hf_num_in(struct hf_map *m, const json_t *o, const char *where, const char *names, double *out)
{
	char name[64];
	const json_t *v = get(o, names, name);

	if (!v) return 0;
	if (!json_is_number(v) || !isfinite(json_number_value(v))) return wrong(m, where, name, v, "a finite number");
	*out = json_number_value(v);
	return 1;
}

int hf_int_in(struct hf_map *m, const json_t *o, const char *where, const char *names, int64_t *out)
{
	char name[64];
	const json_t *v = get(o, names, name);
	double d;

	if (!v) return 0;
	d = json_number_value(v);
	if (!json_is_number(v) || d != floor(d)) return wrong(m, where, name, v, "a whole number");
	if (!(fabs(d) < 1e15))
		return lm_fail(m->err, LM_EFORMAT, "config.json: %s%s is %g, which is no sensible number", where, name, d);
	*out = json_is_integer(v) ? json_integer_value(v) : (int64_t)d;
	return 1;
}

int hf_int(struct hf_map *m, const char *names, int64_t *out) { return hf_int_in(m, m->cfg, "", names, out); }
int hf_num(struct hf_map *m, const char *names, double *out) { return hf_num_in(m, m->cfg, "", names, out); }

const json_t *hf_get(const struct hf_map *m, const char *names)
{
	char name[64];
	return get(m->cfg, names, name);
}

int hf_flag(struct hf_map *m, const char *names, bool *out)
{
	char name[64];
	const json_t *v = get(m->cfg, names, name);

	if (!v) return 0;
	if (!json_is_boolean(v)) return wrong(m, "", name, v, "true or false");
	*out = json_is_true(v);
	return 1;
}

int hf_str(struct hf_map *m, const char *names, const char **out)
{
	char name[64];
	const json_t *v = get(m->cfg, names, name);

	if (!v) return 0;
	if (!json_is_string(v)) return wrong(m, "", name, v, "a string");
	*out = json_string_value(v);
	return 1;
}

int hf_refuse(struct hf_map *m, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return lm_fail(m->err, LM_EUNSUPPORTED, "config.json: %s", text);
}

int hf_must(struct hf_map *m, const char *name, bool want)
{
	bool v = want;
	int rc = hf_flag(m, name, &v);

	if (rc < 0 || v == want) return rc < 0 ? rc : 0;
	return hf_refuse(m, "%s is %s, which lmrun does not compute", name, v ? "true" : "false");
}

enum { NAME = 128 };
static const char *full(const struct hf_map *m, const char *name, char out[NAME])
{
	snprintf(out, NAME, "%s.%s", m->arch, name);
	return out;
}

int hf_put_int(struct hf_map *m, const char *name, int64_t v)
{
	char s[NAME];
	return put_i64(m->h->f, full(m, name, s), v, m->err);
}
int hf_put_num(struct hf_map *m, const char *name, double v)
{
	char s[NAME];
	return put_f32(m->h->f, full(m, name, s), v, m->err);
}
int hf_put_bool(struct hf_map *m, const char *name, bool v)
{
	char s[NAME];
	return put_bool(m->h->f, full(m, name, s), v, m->err);
}
int hf_put_bools(struct hf_map *m, const char *name, const uint8_t *v, int64_t n)
{
	char s[NAME];
	return put_bools(m->h->f, full(m, name, s), v, n, m->err);
}
int hf_put_ints(struct hf_map *m, const char *name, const int32_t *v, int64_t n)
{
	char s[NAME];
	return put_i32s(m->h->f, full(m, name, s), v, n, m->err);
}
int hf_put_str(struct hf_map *m, const char *name, const char *v)
{
	char s[NAME];
	return put_str(m->h->f, full(m, name, s), v, strlen(v), m->err);
}

/* The family's defaults: JSON with ' for ". */
static json_t *defaults(struct hf_map *m)
{
	const char *s = m->fam->defaults ? m->fam->defaults : "{}";
	char *text = lm_strdup(s);
	json_t *v;

	if (!text) {
		lm_fail(m->err, LM_ENOMEM, "config.json: out of memory");
		return NULL;
	}
	for (char *p = text; *p; p++)
		if (*p == '\'') *p = '"';
	v = lm_json_parse(text, strlen(text), m->err);
	lm_free(text);
	return v;
}

/* A number of the model that others are computed from.  min 0 and -1: may be absent, and then 1 and 0 are the least. */
static int dim(struct hf_map *m, int64_t *out, const char *names, int64_t min, int64_t max)
{
	int rc = hf_int(m, names, out);

	if (rc < 0) return rc;
	if (!rc && min < 1) return 0;
	if (!rc)
		return lm_fail(m->err, LM_EFORMAT, "config.json: %.*s is missing", (int)strcspn(names, "|"), names);
	min += min < 1;
	if (*out < min || *out > max)
		return lm_fail(m->err, LM_EFORMAT, "config.json: %.*s is %lld, expected %lld to %lld",
			       (int)strcspn(names, "|"), names, (long long)*out, (long long)min, (long long)max);
	return 0;
}

/* Names that classes have for the same number. */
#define LAYERS "num_hidden_layers|n_layer|n_layers|num_layers"
#define EMBD "hidden_size|n_embd|d_model|dim"
#define HEADS "num_attention_heads|n_head|n_heads|num_heads"
#define KV_HEADS "num_key_value_heads|num_kv_heads|n_head_kv"
#define FF "intermediate_size|ffn_hidden_size|n_inner|hidden_dim"
#define CONTEXT "max_position_embeddings|n_positions|n_ctx"

static bool has_name(const char *names, const char *name)
{
	size_t n = strlen(name);

	for (; *names; names += strcspn(names, "|"), names += *names == '|')
		if (strcspn(names, "|") == n && !memcmp(names, name, n)) return true;
	return false;
}

/* Does the config say what the default `name` is for, under that name or another? */
static bool said(const json_t *cfg, const char *name)
{
	static const char *const groups[] = { LAYERS, EMBD, HEADS, KV_HEADS, FF, CONTEXT, HF_PARTIAL, HF_THETA };
	const char *key;
	json_t *v;

	if (json_object_get(cfg, name)) return true;
	for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
		if (has_name(groups[i], name)) json_object_foreach((json_t *)(uintptr_t)cfg, key, v)
			if (has_name(groups[i], key) && !json_is_null(v)) return true;
	return false;
}

int hf_settings(struct hf_map *m)
{
	json_t *text = json_object_get(m->h->config, "text_config");
	json_t *def = defaults(m), *v;
	const char *name;
	int rc, bad;

	if (!def) return m->err && m->err->code ? m->err->code : LM_ENOMEM;
	if (text && !json_is_null(text) && !json_is_object(text)) {
		json_decref(def);
		return lm_fail(m->err, LM_EFORMAT, "config.json: text_config is %s, expected an object", lm_json_kind(text));
	}
	/* not by json_copy and json_object_update_missing, which keep silent about entries they have no memory for */
	m->cfg = json_object();
	bad = !m->cfg || json_object_update(m->cfg, json_is_object(text) ? text : m->h->config);
	json_object_foreach(def, name, v)
		if (!bad && !said(m->cfg, name)) bad = json_object_set(m->cfg, name, v);
	json_decref(def);
	if (bad) return lm_fail(m->err, LM_ENOMEM, "config.json: out of memory");
	if ((rc = dim(m, &m->n_layer, LAYERS, 1, HF_MAX_LAYERS))) return rc;
	if ((rc = dim(m, &m->n_embd, EMBD, 1, 1 << 20))) return rc;
	if ((rc = dim(m, &m->n_head, HEADS, 0, 1 << 16))) return rc;
	m->n_kv = m->n_head;
	if ((rc = dim(m, &m->n_kv, KV_HEADS, 0, 1 << 16))) return rc;
	m->head_dim = m->n_head > 0 ? m->n_embd / m->n_head : 0;
	if ((rc = dim(m, &m->head_dim, "head_dim", 0, 1 << 16))) return rc;
	m->n_ff = 4 * m->n_embd;
	if ((rc = dim(m, &m->n_ff, FF, -1, 1 << 24))) return rc;
	if ((rc = dim(m, &m->n_ctx, CONTEXT, 0, 1 << 28))) return rc;
	return (rc = hf_flag(m, "tie_word_embeddings", &m->tied)) < 0 ? rc : 0;
}

/* ---- keys ---------------------------------------------------------------------------------------------------------- */
static const struct hf_key common[] = {
	{ "vocab_size", "vocab_size", HF_INT },
	{ "rms_norm_eps", "attention.layer_norm_rms_epsilon", HF_F32 },
	{ "layer_norm_eps|layer_norm_epsilon|norm_epsilon|norm_eps", "attention.layer_norm_epsilon", HF_F32 },
	{ "attn_logit_softcapping", "attn_logit_softcapping", HF_F32 },
	{ "final_logit_softcapping", "final_logit_softcapping", HF_F32 },
	HF_LAST
};

static int put_keys(struct hf_map *m, const struct hf_key *k)
{
	int rc = 0;

	for (; k && k->from; k++) {
		int64_t i = 0;
		double d = 0;
		bool b = false;
		if (k->kind == HF_INT) {
			if ((rc = hf_int(m, k->from, &i)) > 0) rc = hf_put_int(m, k->to, i);
		} else if (k->kind == HF_F32) {
			if ((rc = hf_num(m, k->from, &d)) > 0) rc = hf_put_num(m, k->to, d);
		} else if ((rc = hf_flag(m, k->from, &b)) > 0) {
			rc = hf_put_bool(m, k->to, b);
		}
		if (rc) return rc;
	}
	return 0;
}

static int put_dims(struct hf_map *m)
{
	bool causal = true;
	int rc;

	if ((rc = put_str(m->h->f, "general.architecture", m->arch, strlen(m->arch), m->err))) return rc;
	if ((rc = hf_put_int(m, "block_count", m->n_layer))) return rc;
	if (m->n_ctx && (rc = hf_put_int(m, "context_length", m->n_ctx))) return rc;
	if ((rc = hf_put_int(m, "embedding_length", m->n_embd))) return rc;
	if ((rc = hf_put_int(m, "feed_forward_length", m->n_ff))) return rc;
	if (!m->n_head) return 0;
	/* decoders made embedding models say so */
	if ((rc = hf_flag(m, "is_causal", &causal)) < 0) return rc;
	if ((m->fam->flags & HF_BOTH_WAYS || !causal) && (rc = hf_put_bool(m, "attention.causal", false))) return rc;
	if ((rc = hf_put_int(m, "attention.head_count", m->n_head))) return rc;
	if ((rc = hf_put_int(m, "attention.head_count_kv", m->n_kv))) return rc;
	if ((rc = hf_put_int(m, "attention.key_length", m->head_dim))) return rc;
	return hf_put_int(m, "attention.value_length", m->head_dim);
}

/* The activation, where it is another than the family's. */
static int put_activation(struct hf_map *m)
{
	static const struct { const char *name, *is; } acts[] = {
		{ "silu", "silu" }, { "swish", "silu" }, { "gelu", "gelu" }, { "gelu_new", "gelu_tanh" },
		{ "gelu_pytorch_tanh", "gelu_tanh" }, { "gelu_fast", "gelu_tanh" }, { "relu2", "relu2" },
	};
	const char *name;
	int rc = m->fam->act ? hf_str(m, "hidden_activation|hidden_act|activation_function|activation", &name) : 0;

	if (rc <= 0) return rc;
	for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
		if (!strcmp(name, acts[i].name))
			return strcmp(acts[i].is, m->fam->act) ? hf_put_str(m, "activation", acts[i].is) : 0;
	return hf_refuse(m, "the activation \"%.40s\" is not one that lmrun computes", name);
}

/* layer_types: does layer il slide?  < 0: error. */
static int slides(struct hf_map *m, const json_t *types, int64_t il)
{
	const char *s = json_string_value(json_array_get(types, (size_t)il));

	if (s && !strcmp(s, "sliding_attention")) return 1;
	if (s && !strcmp(s, "full_attention")) return 0;
	if (s) return hf_refuse(m, "layer_types has \"%.40s\", expected full_attention or sliding_attention", s);
	return lm_fail(m->err, LM_EFORMAT, "config.json: layer_types does not hold a name for each of %lld layers",
		       (long long)m->n_layer);
}

static int put_pattern(struct hf_map *m, bool *any)
{
	const json_t *types = hf_get(m, "layer_types"), *letters = hf_get(m, "sliding_window_pattern");
	int64_t period = m->fam->period, from = m->n_layer;
	uint8_t local[HF_MAX_LAYERS];
	int rc;

	*any = false;
	if (json_is_string(letters)) period = (int64_t)json_string_length(letters);    /* "LLLG" */
	else if (!types && (rc = dim(m, &period, "sliding_window_pattern", -1, 1024))) return rc;
	if ((rc = dim(m, &from, "max_window_layers", -1, 1 << 20))) return rc;
	for (int64_t il = 0; il < m->n_layer; il++) {
		if (types) rc = slides(m, types, il);
		else if (m->fam->window == HF_FROM) rc = il >= from;
		else if (m->fam->window == HF_BEFORE) rc = il < from && il % 2 == 0;
		else rc = period > 0 && (il + 1) % period != 0;
		if (rc < 0) return rc;
		local[il] = (uint8_t)rc;
		*any |= rc > 0;
	}
	return *any || m->fam->window == HF_EVERY ? hf_put_bools(m, "attention.sliding_window_pattern", local, m->n_layer) : 0;
}

static int put_window(struct hf_map *m)
{
	enum hf_window kind = m->fam->window;
	int64_t n = 0;
	bool asked = kind == HF_FROM || kind == HF_BEFORE || kind == HF_USED, on = !asked, any = true;
	int rc;

	if (kind == HF_FULL) return 0;
	if ((rc = dim(m, &n, "sliding_window", -1, INT32_MAX))) return rc;
	if (asked && (rc = hf_flag(m, "use_sliding_window", &on)) < 0) return rc;
	if (!on) n = 0;
	if (n && kind != HF_ALL && kind != HF_USED && (rc = put_pattern(m, &any))) return rc;
	/* where positions depend on it (cohere2), a window that no layer has still counts */
	return hf_put_int(m, "attention.sliding_window", any || kind == HF_EVERY ? n : 0);
}

int hf_keys(struct hf_map *m)
{
	int rc;

	if ((rc = put_dims(m))) return rc;
	if ((rc = put_keys(m, common))) return rc;
	if ((rc = put_keys(m, m->fam->keys))) return rc;
	if ((rc = put_activation(m))) return rc;
	if ((rc = put_window(m))) return rc;
	if (!(m->fam->flags & HF_NO_ROPE) && (rc = hf_ropes(m))) return rc;
	return m->fam->keys_of ? m->fam->keys_of(m) : 0;
}
