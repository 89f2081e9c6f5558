/* hf_pool.c - what lies beside a model that embeds or classifies: the pipeline of sentence-transformers (modules.json and
 * what it names), prompts, the length at which texts are cut, the names of classes; as keys and tensors of the file. */
#include "format/hf_map.h"
#include "base/json.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_JSON = 1 << 20, MAX_DENSE = 4, MAX_NAMES = 4096 };

struct pipe { struct hf_map *m; int n_dense; bool normalize, pooled; };

/* DIR/[sub/]name; NULL: no memory. */
static char *path_of(struct hf_map *m, const char *sub, const char *name)
{
	struct lm_buf b = { 0 };
	lm_buf_fmt(&b, "%s/%s%s%s", m->h->dir, sub, *sub ? "/" : "", name);
	char *s = b.bad ? NULL : lm_arena_str(m->h->f->arena, b.p, b.n);
	lm_buf_free(&b);
	if (!s) lm_fail(m->err, LM_ENOMEM, "%.300s: out of memory", m->h->dir);
	return s;
}

/* 1: read, 0: no such file. */
static int object_of(struct hf_map *m, const char *sub, const char *name, json_t **out)
{
	char *path = path_of(m, sub, name);
	*out = NULL;
	if (!path) return LM_ENOMEM;
	if (access(path, F_OK)) return 0;
	int rc = hf_json(path, out, m->err);
	return rc ? rc : 1;
}

/* What the pipeline has and we have not is said when a vector is asked for: the model may be run for other things. */
static int unsupported(struct hf_map *m, const char *what, const char *why)
{
	char text[200];
	snprintf(text, sizeof text, "%.80s: %s", what, why);
	return hf_put_str(m, "embedding.unsupported", text);
}

/* ---- modules --------------------------------------------------------------------------------------------------- */
/* GGUF's numbers, and from 5 on ours. */
static const struct { const char *flag, *mode; int type; } pools[] = {
	{ "pooling_mode_mean_tokens", "mean", 1 }, { "pooling_mode_cls_token", "cls", 2 },
	{ "pooling_mode_lasttoken", "lasttoken", 3 }, { "pooling_mode_max_tokens", "max", 5 },
	{ "pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", 6 }, { "pooling_mode_weightedmean_tokens", "weightedmean", 7 },
};

static int pooling(struct pipe *p, const char *sub)
{
	json_t *o;
	int rc = object_of(p->m, sub, "config.json", &o), type = 0, n = 0;
	if (rc < 0) return rc;
	const char *mode = json_string_value(json_object_get(o, "pooling_mode"));
	for (size_t i = 0; i < sizeof pools / sizeof pools[0]; i++) {
		const json_t *v = json_object_get(o, pools[i].flag);
		if (!json_is_true(v) && !(json_is_integer(v) && json_integer_value(v)) && !(mode && !strcmp(mode, pools[i].mode))) continue;
		type = pools[i].type;
		n++;
	}
	json_decref(o);
	if (n != 1) return unsupported(p->m, sub, "several ways of pooling, or none that lmrun knows");
	p->pooled = true;
	return hf_put_int(p->m, "pooling_type", type);
}

/* A layer of its own folder: linear.weight and linear.bias. */
static int dense_tensors(struct pipe *p, const char *sub, int at)
{
	struct hf_map *m = p->m;
	struct hf d = { .f = m->h->f, .dir = path_of(m, sub, "") };
	int rc = d.dir ? 0 : LM_ENOMEM;
	if (!rc && !(d.config = json_object())) rc = lm_fail(m->err, LM_ENOMEM, "%.300s: out of memory", d.dir);
	if (!rc) rc = raw_open(&d, d.dir, m->err);
	if (!rc) rc = layouts_open(&d, m->err);
	for (int i = 0; i < d.n_t && !rc; i++) {
		const char *part = strrchr(d.t[i].name, '.');
		char *to = hf_text(m, "dense_%d%s", at + 2, part ? part : "");
		m->origin = to ? hf_text(m, "%s/%s", sub, d.t[i].name) : NULL;
		rc = m->origin ? hf_emit(m, &d.t[i], to) : LM_ENOMEM;
	}
	hf_close(&d);
	return rc;
}

static int dense(struct pipe *p, const char *sub)
{
	static const struct { const char *end, *is; } acts[] = {
		{ ".Identity", "identity" }, { ".Tanh", "tanh" }, { ".ReLU", "relu" }, { ".GELU", "gelu" }
	};
	json_t *o;
	char key[48];
	int at = p->n_dense++, rc;
	if (at >= MAX_DENSE) return unsupported(p->m, sub, "more dense layers than lmrun runs");
	if ((rc = object_of(p->m, sub, "config.json", &o)) < 0) return rc;
	const char *act = json_string_value(json_object_get(o, "activation_function")), *is = NULL;
	if (!act) act = "torch.nn.modules.activation.Tanh";      /* the class's default */
	for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
		size_t n = strlen(act), k = strlen(acts[i].end);
		if (n >= k && !strcmp(act + n - k, acts[i].end)) is = acts[i].is;
	}
	snprintf(key, sizeof key, "dense_%d.activation", at + 2);
	rc = is ? hf_put_str(p->m, key, is) : unsupported(p->m, sub, "its activation is not one that lmrun computes");
	json_decref(o);
	return rc ? rc : dense_tensors(p, sub, at);
}

static int module(struct pipe *p, const json_t *v)
{
	const char *type = json_string_value(json_object_get(v, "type")), *sub = json_string_value(json_object_get(v, "path"));
	const char *name = type && strrchr(type, '.') ? strrchr(type, '.') + 1 : type;
	if (!name || !sub) return lm_fail(p->m->err, LM_EFORMAT, "modules.json: expected objects with a type and a path");
	if (*sub == '/' || strstr(sub, "..")) return lm_fail(p->m->err, LM_EFORMAT, "modules.json: the path \"%.100s\" leaves the folder", sub);
	if (!strcmp(name, "Transformer")) return 0;
	if (!strcmp(name, "Pooling")) return pooling(p, sub);
	if (!strcmp(name, "Dense")) return dense(p, sub);
	if (strcmp(name, "Normalize")) return unsupported(p->m, name, "not one of the modules of modules.json that lmrun runs");
	p->normalize = true;
	return 0;
}

static int modules(struct pipe *p)
{
	struct hf_map *m = p->m;
	struct lm_buf text = { 0 };
	char *path = path_of(m, "", "modules.json");
	json_t *list = NULL;
	size_t i;
	const json_t *v;
	if (!path) return LM_ENOMEM;
	if (access(path, F_OK)) return 0;
	int rc = hf_read(&text, path, MAX_JSON, m->err);
	if (!rc && !(list = lm_json_parse(lm_buf_cstr(&text), text.n, m->err))) rc = lm_context(m->err, "%.300s: ", path);
	if (!rc && !json_is_array(list)) rc = lm_fail(m->err, LM_EFORMAT, "%.300s: expected an array", path);
	json_array_foreach(list, i, v) if (!rc) rc = module(p, v);
	json_decref(list);
	lm_buf_free(&text);
	return rc;
}

/* ---- settings beside them ------------------------------------------------------------------------------------------ */
static int put_strs(struct hf_map *m, const char *name, const char *const *v, int64_t n)
{
	char *key = hf_text(m, "%s.%s", m->arch, name);
	return key ? key_put_strs(m->h->f, key, v, n, m->err) : LM_ENOMEM;
}

/* The smaller of two lengths, where they are numbers that a model may have; 0: none yet. */
static int64_t shorter(int64_t n, const json_t *v)
{
	double d = json_number_value(v);
	return json_is_number(v) && d >= 1 && d < (1 << 28) && d == floor(d) && (!n || d < (double)n) ? (int64_t)d : n;
}

/* Where sentence-transformers cuts: its own setting, else the tokenizer's. */
static int max_tokens(struct hf_map *m)
{
	json_t *bert, *tok;
	int64_t n = 0;
	int rc = object_of(m, "", "sentence_bert_config.json", &bert);
	if (rc < 0) return rc;
	n = shorter(0, json_object_get(bert, "max_seq_length"));
	json_decref(bert);
	if (!n) {
		if ((rc = object_of(m, "", "tokenizer_config.json", &tok)) < 0) return rc;
		n = shorter(0, json_object_get(tok, "model_max_length"));
		json_decref(tok);
	}
	return n ? hf_put_int(m, "embedding.max_tokens", n) : 0;
}

static int prompts(struct hf_map *m)
{
	json_t *o, *v;
	const char *name, *def;
	int n = 0, rc = object_of(m, "", "config_sentence_transformers.json", &o);
	json_t *all = json_object_get(o, "prompts");
	size_t cap = json_object_size(all) < MAX_NAMES ? json_object_size(all) : MAX_NAMES;
	const char **names = rc > 0 ? lm_calloc(2 * cap + 1, sizeof *names) : NULL;
	if (rc <= 0) return rc;
	rc = names ? 0 : lm_fail(m->err, LM_ENOMEM, "%.300s: out of memory", m->h->dir);
	json_object_foreach(all, name, v) {
		if (rc || !json_is_string(v) || (size_t)n == cap) continue;
		names[n] = name;
		names[cap + (size_t)n++] = json_string_value(v);
	}
	if (n && !rc) rc = put_strs(m, "embedding.prompt_names", names, n);
	if (n && !rc) rc = put_strs(m, "embedding.prompts", names + cap, n);
	def = json_string_value(json_object_get(o, "default_prompt_name"));
	if (def && !rc) rc = hf_put_str(m, "embedding.default_prompt", def);
	lm_free(names);
	json_decref(o);
	return rc;
}

/* id2label: {"0": "NEGATIVE", ...}, in order of the numbers. */
static int labels(struct hf_map *m)
{
	const json_t *map = json_object_get(m->h->config, "id2label"), *v;
	const char *problem = json_string_value(json_object_get(m->h->config, "problem_type"));
	size_t n = json_object_size(map), i = 0;
	char id[24];
	int rc = 0;
	if (problem && !strcmp(problem, "multi_label_classification")) rc = hf_put_bool(m, "classifier.multi_label", true);
	if (rc || !n || n > MAX_NAMES) return rc;
	const char **names = lm_calloc(n, sizeof *names);
	if (!names) return lm_fail(m->err, LM_ENOMEM, "config.json: out of memory");
	for (; i < n; i++) {
		snprintf(id, sizeof id, "%zu", i);
		v = json_object_get(map, id);
		if (!(names[i] = json_string_value(v))) break;
	}
	if (i == n) rc = put_strs(m, "classifier.output_labels", names, (int64_t)n);
	lm_free(names);
	return rc;
}

static bool has(const struct hf_map *m, const char *name)
{
	for (int i = 0; i < m->h->f->n_tensors; i++)
		if (!strcmp(m->h->f->tensor[i].name, name)) return true;
	return false;
}

int hf_pool(struct hf_map *m)
{
	struct pipe p = { .m = m };
	int rc = modules(&p);
	if (!rc) rc = hf_put_bool(m, "embedding.normalize", p.normalize);
	if (!rc) rc = max_tokens(m);
	if (!rc) rc = prompts(m);
	return !rc && has(m, "cls.output.weight") ? labels(m) : rc;
}
