/* hf_map.c - a checkpoint's tensors under GGUF's names.  The family is found by config.json's architectures; its row
 * says what each name becomes.  What no row knows keeps its own name, and the model's binder then names it. */
#include "format/hf_map.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* In front of names, depending on the class that saved the checkpoint. */
static const char *const prefixes[] = {
	"language_model.model.", "model.language_model.", "language_model.", "model.", "transformer.", "gpt_neox.",
	"backbone.", "bert.", "roberta.", "distilbert.", ""
};
enum { N_PREFIX = sizeof prefixes / sizeof prefixes[0] };

/* Buffers of old checkpoints, and a classifier behind a decoder: of any family. */
static const struct hf_name ignored[] = {
	{ "*rotary_emb.inv_freq", NULL, hf_skip },
	{ "*.attn.masked_bias", NULL, hf_skip },
	{ "*.attention.masked_bias", NULL, hf_skip },
	{ "score", "cls.output", NULL },
	HF_END
};

int hf_no_memory(struct hf_map *m) { return lm_fail(m->err, LM_ENOMEM, "%s: out of memory", m->h->dir); }

struct tensor *hf_keep(struct hf_map *m, const struct tensor *t)
{
	struct tensor *p = lm_new(m->h->f->arena, struct tensor, 1);

	if (p) *p = *t;
	else hf_no_memory(m);
	return p;
}

/* ---- names --------------------------------------------------------------------------------------------------- */
/* Decimal number at s[0..n) to *out (if nothing else is there yet); its length, 0: none. */
static size_t number(const char *s, size_t n, int *out)
{
	size_t k = 0;
	int v = 0;

	for (; k < n && k < 7 && isdigit((unsigned char)s[k]); k++) v = 10 * v + (s[k] - '0');
	if (k && *out >= 0 && *out != v) return 0;
	*out = k ? v : *out;
	return k;
}

static bool match(const char *pat, const char *s, size_t n, int *layer, int *expert)
{
	size_t i = 0, tail;

	*layer = *expert = -1;
	for (; *pat; pat++) {
		if (*pat == '*') {
			tail = strlen(pat + 1);
			return n - i >= tail && !memcmp(s + n - tail, pat + 1, tail);
		}
		if (*pat == '#' || *pat == '@') {
			size_t k = number(s + i, n - i, *pat == '#' ? layer : expert);
			if (!k) return false;
			i += k;
		} else if (i >= n || s[i++] != *pat) {
			return false;
		}
	}
	return i == n;
}

static const struct hf_name *match_in(const struct hf_name *table, const char *s, size_t n, int *layer, int *expert)
{
	for (; table && table->from; table++)
		if (match(table->from, s, n, layer, expert)) return table;
	return NULL;
}

/* The row for the name `s` without its prefix; *suffix is what is to be appended to the row's `to`. */
static const struct hf_name *find_row(const struct hf_family *fam, const char *s, const char **suffix, int *layer,
				      int *expert)
{
	const struct hf_name *const tables[] = { fam->names, fam->base, ignored };
	const char *dot = strrchr(s, '.');
	const struct hf_name *row;
	bool part = dot && (!strcmp(dot, ".weight") || !strcmp(dot, ".bias"));

	for (int i = 0; i < 3; i++) {
		*suffix = "";
		if ((row = match_in(tables[i], s, strlen(s), layer, expert))) return row;
		*suffix = dot;
		if (part && (row = match_in(tables[i], s, (size_t)(dot - s), layer, expert))) return row;
	}
	return NULL;
}

/* to + suffix with the numbers filled in. */
static char *fill(struct hf_map *m, const char *to, const char *suffix, int layer, int expert)
{
	char name[200];
	size_t n = 0;

	for (; *to && n < sizeof name - 24; to++)
		if (*to == '#' || *to == '@') n += (size_t)snprintf(name + n, 24, "%d", *to == '#' ? layer : expert);
		else name[n++] = *to;
	name[n] = 0;
	return hf_text(m, "%s%s", name, suffix);
}

char *hf_text(struct hf_map *m, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	char *s = lm_arena_str(m->h->f->arena, text, strlen(text));
	if (!s) hf_no_memory(m);
	return s;
}

const struct tensor *hf_find(const struct hf_map *m, const char *name)
{
	char full[300];

	for (int i = 0; i < N_PREFIX; i++) {
		snprintf(full, sizeof full, "%s%s", prefixes[i], name);
		int64_t k = index_find(m->h->f, &m->h->ts, full);
		if (k >= 0) return &m->h->t[k];
	}
	return NULL;
}

/* ---- tensors -------------------------------------------------------------------------------------------------- */
int hf_emit(struct hf_map *m, const struct tensor *t, const char *to)
{
	struct file *f = m->h->f;

	if (f->n_tensors == f->cap_tensors) {
		int cap = f->cap_tensors ? 2 * f->cap_tensors : 64;
		if (cap > FILE_MAX_TENSORS)
			return lm_fail(m->err, LM_ELIMIT, "%s: more than %d tensors", m->h->dir, FILE_MAX_TENSORS);
		struct tensor *p = lm_realloc(f->tensor, (size_t)cap * sizeof *p);
		if (p) f->tensor = p;
		const char **origin = p ? lm_realloc(f->origin, (size_t)cap * sizeof *origin) : NULL;
		if (!origin) return hf_no_memory(m);
		f->origin = origin;
		f->cap_tensors = cap;
	}
	f->tensor[f->n_tensors] = *t;
	f->tensor[f->n_tensors].name = to;
	f->origin[f->n_tensors++] = m->origin ? m->origin : to;
	return 0;
}

int hf_skip(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	(void)m, (void)t, (void)to, (void)layer, (void)expert;
	return 0;
}

int hf_add_one(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	struct tensor out;
	int rc = derive_add(m->h->f->arena, &out, t, 1, m->err);

	(void)layer, (void)expert;
	return rc ? rc : hf_emit(m, &out, to);
}

int hf_neg_exp(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	struct tensor out;
	int rc = derive_neg_exp(m->h->f->arena, &out, t, m->err);

	(void)layer, (void)expert;
	return rc ? rc : hf_emit(m, &out, to);
}

int hf_transpose(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	struct tensor out;
	int rc;

	(void)layer, (void)expert;
	if (t->n_dims == 1) return hf_emit(m, t, to);           /* the bias of such a matrix */
	rc = derive_transpose(m->h->f->arena, &out, t, m->err);
	return rc ? rc : hf_emit(m, &out, to);
}

int hf_conv(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	struct tensor out = *t;

	(void)layer, (void)expert;
	if (t->n_dims == 3 && t->dim[1] == 1) {
		out.n_dims = 2;
		out.dim[1] = t->dim[2];
		out.dim[2] = 1;
	}
	return hf_emit(m, &out, to);
}

int hf_gate_up(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	const char *at = strstr(to, "ffn_up");
	char *gate = hf_text(m, "%.*sffn_gate%s", (int)(at - to), to, at + strlen("ffn_up"));
	int64_t n = t->dim[0] / 2;
	struct tensor half;
	int rc = gate ? 0 : LM_ENOMEM;

	(void)layer, (void)expert;
	for (int i = 0; !rc && i < 2; i++) {
		rc = derive_rows(m->h->f->arena, &half, t, i * n, n, m->err);
		if (!rc) rc = hf_emit(m, &half, i ? to : gate);
	}
	return rc;
}

int hf_regroup(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	int64_t per = m->n_kv > 0 ? m->n_head / m->n_kv : 0, d = m->head_dim, group = (per + 2) * d;
	int64_t n = (m->n_head + 2 * m->n_kv) * d, q = m->n_head * d;
	struct tensor out;
	int rc;

	(void)layer, (void)expert;
	if (per < 1 || per * m->n_kv != m->n_head || t->dim[0] != n)
		return lm_fail(m->err, LM_EFORMAT, "%s: %lld rows, expected %lld: %lld query and %lld key heads of %lld",
			       t->name, (long long)t->dim[0], (long long)n, (long long)m->n_head, (long long)m->n_kv,
			       (long long)d);
	if (m->n_kv == 1) return hf_emit(m, t, to);
	if (!m->regroup) {
		m->regroup = lm_new(m->h->f->arena, int32_t, n);
		if (!m->regroup) return hf_no_memory(m);
		for (int64_t i = 0; i < n; i++) {
			int64_t g = i < q ? i / (per * d) : (i - q) / d % m->n_kv, at;
			at = i < q ? i % (per * d) : per * d + (i - q) / (m->n_kv * d) * d + (i - q) % d;
			m->regroup[i] = (int32_t)(g * group + at);
		}
	}
	rc = derive_order(m->h->f->arena, &out, t, m->regroup, n, m->err);
	return rc ? rc : hf_emit(m, &out, to);
}

int hf_stack(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	int64_t n = strstr(to, "attn_k") ? m->n_kv : m->n_head;
	const struct tensor **part;
	const char *at = NULL;
	struct tensor out;
	int rc = 0;

	(void)layer;
	if (expert >= n) return hf_emit(m, t, t->name);         /* one too many: the binder names it */
	if (expert) return 0;
	for (const char *p = t->name; (p = strstr(p, ".0.")); p++) at = p + 1;
	part = at ? lm_calloc((size_t)n, sizeof *part) : NULL;
	if (!part) return hf_no_memory(m);
	for (int i = 0; !rc && i < n; i++) {
		char name[300];
		snprintf(name, sizeof name, "%.*s%d%s", (int)(at - t->name), t->name, i, at + 1);
		int64_t k = index_find(m->h->f, &m->h->ts, name);
		if (k < 0) rc = lm_fail(m->err, LM_EFORMAT, "the tensor %s is missing", name);
		else part[i] = &m->h->t[k];
	}
	if (!rc) rc = derive_stack(m->h->f->arena, &out, part, (int)n, m->err);
	lm_free(part);
	return rc ? rc : hf_emit(m, &out, to);
}

/* The checkpoint's embedding table; NULL: none. */
static const struct tensor *embedding(const struct hf_map *m)
{
	const struct hf_name *const tables[] = { m->fam->names, m->fam->base };
	char name[96];

	for (int i = 0; i < 2; i++)
		for (const struct hf_name *r = tables[i]; r && r->from; r++) {
			if (!r->to || strcmp(r->to, "token_embd")) continue;
			snprintf(name, sizeof name, "%s.weight", r->from);
			return hf_find(m, name);
		}
	return NULL;
}

/* A head that was saved beside its table and has other values is one of its own, whatever the config says; so does
 * transformers have it. */
static bool is_table(const struct hf_map *m, const struct tensor *head)
{
	const struct tensor *t = embedding(m);

	if (!t || !t->data || !head->data || t->type != head->type || t->size != head->size) return true;
	return t->data == head->data || !memcmp(t->data, head->data, t->size);
}

int hf_head(struct hf_map *m, const struct tensor *t, const char *to, int layer, int expert)
{
	(void)layer, (void)expert;
	return m->tied && strcmp(to, "output.bias") && is_table(m, t) ? 0 : hf_emit(m, t, to);
}

static bool is_norm_weight(const char *to)
{
	size_t n = strlen(to);
	return n > 11 && !strcmp(to + n - 11, "norm.weight");
}

/* The row for a full name, whatever its prefix. */
static const struct hf_name *row_of(const struct hf_map *m, const char *name, const char **suffix, int *layer, int *expert)
{
	const struct hf_name *row = NULL;

	for (int i = 0; !row && i < N_PREFIX; i++) {
		size_t n = strlen(prefixes[i]);
		if (strncmp(name, prefixes[i], n)) continue;
		row = find_row(m->fam, name + n, suffix, layer, expert);
		if (row && *layer >= 0) m->h->f->prefix = prefixes[i];
	}
	return row;
}

/* A pattern with its numbers, in front of it the prefix. */
static const char *spell(const char *prefix, const char *pat, int layer, int expert, const char *suffix, char *buf, size_t n)
{
	size_t at = (size_t)snprintf(buf, n, "%s", prefix);

	for (; *pat && at + 12 < n; pat++)
		if (*pat == '#' || *pat == '@') at += (size_t)snprintf(buf + at, 12, "%d", *pat == '#' ? layer : expert);
		else buf[at++] = *pat;
	snprintf(buf + at, n - at, "%s", suffix);
	return buf;
}

const char *hf_source(const struct file *f, const char *name, char *buf, size_t n)
{
	const struct hf_name *const tables[] = { f->family ? f->family->names : NULL, f->family ? f->family->base : NULL };
	const char *dot = strrchr(name, '.'), *prefix = f->prefix ? f->prefix : "";
	int64_t there = f->tensors.slot ? index_find(f, &f->tensors, name) : -1;
	int layer, expert;

	if (there >= 0) return f->origin[there];
	for (int i = 0; i < 2 && n > 64; i++)
		for (const struct hf_name *r = tables[i]; r && r->from; r++) {
			const char *before = r->op == hf_head ? "" : prefix;
			if (!r->to) continue;
			if (match(r->to, name, strlen(name), &layer, &expert))
				return spell(before, r->from, layer, expert, "", buf, n);
			if (dot && match(r->to, name, (size_t)(dot - name), &layer, &expert))
				return spell(before, r->from, layer, expert, dot, buf, n);
		}
	return NULL;
}

/* Is `name` of a layer that the model does without? */
static bool beyond(const struct hf_map *m, const char *name)
{
	const char *at = m->fam->flags & HF_MTP ? strstr(name, "layers.") : NULL;
	int layer = -1;

	return at && number(at + 7, strlen(at + 7), &layer) && layer >= m->n_layer;
}

/* Tensors of a type that no dtype of ours holds: only what is ignored anyway may be one. */
static int check_unread(struct hf_map *m)
{
	const char *suffix;
	int layer, expert;

	for (int i = 0; i < m->h->n_raw; i++) {
		const struct raw *r = &m->h->raw[i];
		const struct hf_name *row = r->used ? NULL : row_of(m, r->name, &suffix, &layer, &expert);
		if (r->used || (row && row->op == hf_skip) || beyond(m, r->name)) continue;
		return lm_fail(m->err, LM_EUNSUPPORTED, "the tensor %.200s of type %s has no place in architecture %s",
			       r->name, raw_info[r->type].name, m->arch);
	}
	return 0;
}

bool hf_knows(const struct hf_map *m, const char *name)
{
	const char *suffix;
	int layer, expert;
	return row_of(m, name, &suffix, &layer, &expert) != NULL;
}

bool hf_skips(const struct hf_map *m, const char *name)
{
	const char *suffix;
	int layer, expert;
	const struct hf_name *row = row_of(m, name, &suffix, &layer, &expert);
	return row && row->op == hf_skip;
}

int hf_map_tensor(struct hf_map *m, const struct tensor *t, bool rows)
{
	const char *suffix = "";
	int layer, expert;
	const struct hf_name *row = row_of(m, t->name, &suffix, &layer, &expert);

	if (beyond(m, t->name)) return 0;
	m->origin = t->name;
	if (!row) return hf_emit(m, t, t->name);
	if (row->op == hf_skip) return 0;
	char *to = fill(m, row->to ? row->to : "", suffix, layer, expert);
	struct tensor *copy = to ? hf_keep(m, t) : NULL;
	if (!copy) return LM_ENOMEM;
	if (rows && (row->op == hf_transpose || row->op == hf_conv)) return hf_emit(m, copy, to);
	if (row->op) return row->op(m, copy, to, layer, expert);
	if ((m->fam->flags & HF_PLUS_ONE) && is_norm_weight(to)) return hf_add_one(m, copy, to, layer, expert);
	return hf_emit(m, copy, to);
}

/* ---- the family ------------------------------------------------------------------------------------------------ */
static bool listed(const char *const *names, int n, const char *s)
{
	for (int i = 0; i < n && names[i]; i++)
		if (s && !strcmp(names[i], s)) return true;
	return false;
}

/* Row i of the four tables, one behind the other; NULL past the last. */
static const struct hf_family *row_at(int i)
{
	const struct hf_family *const tables[] = { hf_dense, hf_moe_families, hf_rec_families, hf_enc_families };
	const int sizes[] = { hf_n_dense, hf_n_moe, hf_n_rec, hf_n_enc };

	for (int t = 0; t < 4; i -= sizes[t++])
		if (i < sizes[t]) return &tables[t][i];
	return NULL;
}

static const struct hf_family *family(const char *arch, const char *type)
{
	const struct hf_family *f;

	for (int i = 0; (f = row_at(i)); i++)
		if (arch ? listed(f->arch, 6, arch) : listed(f->type, 4, type)) return f;
	return NULL;
}

/* A decoder saved without its head, or with one that tells classes apart, is the family of the whole model. */
static const struct hf_family *bare_family(const char *arch)
{
	static const char *const ends[] = { "ForSequenceClassification", "Model" };
	char name[96];

	for (int i = 0; i < 2; i++) {
		size_t n = strlen(arch), k = strlen(ends[i]);
		if (n <= k || strcmp(arch + n - k, ends[i])) continue;
		snprintf(name, sizeof name, "%.*sForCausalLM", n - k > 64 ? 64 : (int)(n - k), arch);
		const struct hf_family *f = family(name, NULL);
		if (f) return f;
	}
	return NULL;
}

const struct hf_family *hf_family_of(const char *gguf, int i)
{
	const struct hf_family *f;

	for (int k = 0; (f = row_at(k)); k++)
		if (!strcmp(f->gguf, gguf) && i-- == 0) return f;
	return NULL;
}

static int pick_family(struct hf_map *m)
{
	const json_t *list = json_object_get(m->h->config, "architectures"), *v;
	const char *type = json_string_value(json_object_get(m->h->config, "model_type")), *name = NULL;

	for (size_t i = 0; i < json_array_size(list) && !m->fam; i++) {
		v = json_array_get(list, i);
		if (!json_is_string(v)) return lm_fail(m->err, LM_EFORMAT, "config.json: architectures holds no strings");
		name = name ? name : json_string_value(v);
		m->fam = family(json_string_value(v), NULL);
		if (!m->fam) m->fam = bare_family(json_string_value(v));
	}
	if (!name && type) m->fam = family(NULL, name = type);
	if (!name)
		return lm_fail(m->err, LM_EFORMAT, "config.json: neither architectures nor model_type says what the model is");
	if (!m->fam)
		return lm_fail(m->err, LM_EUNSUPPORTED, "config.json: the architecture \"%.60s\" is not one that lmrun runs",
			       name);
	m->arch = m->fam->gguf;
	m->h->f->family = m->fam;
	return 0;
}

static const struct tensor *emitted(const struct file *f, const char *name)
{
	for (int i = 0; i < f->n_tensors; i++)
		if (!strcmp(f->tensor[i].name, name)) return &f->tensor[i];
	return NULL;
}

/* What a GGUF cannot contradict: the size of the vocabulary, and whether the head is the embedding table. */
static int check_head(struct hf_map *m)
{
	const struct tensor *embd = emitted(m->h->f, "token_embd.weight");
	const json_t *list = json_object_get(m->h->config, "architectures");
	const char *name = json_string_value(json_array_get(list, 0));
	int64_t n_vocab = 0;
	int rc = hf_int(m, "vocab_size", &n_vocab);

	if (rc < 0) return rc;
	if (embd && rc && embd->n_dims == 2 && embd->dim[0] != n_vocab)
		return lm_fail(m->err, LM_EFORMAT, "%s: %lld rows, expected the vocab_size of config.json, %lld",
			       m->h->f->origin[embd - m->h->f->tensor], (long long)embd->dim[0], (long long)n_vocab);
	if (m->tied || !name || !strstr(name, "ForCausalLM") || emitted(m->h->f, "output.weight")) return 0;
	/* saved without its head, as embedding models are: then nothing has a prefix */
	if (embd && index_find(m->h->f, &m->h->ts, "embed_tokens.weight") >= 0) return 0;
	return lm_fail(m->err, LM_EFORMAT, "the tensor lm_head.weight is missing, and tie_word_embeddings is false");
}

static int map(struct hf_map *m)
{
	int rc;

	if ((rc = pick_family(m))) return rc;
	if ((rc = hf_settings(m))) return rc;
	if (m->fam->pick && (rc = m->fam->pick(m))) return rc;
	if ((rc = hf_keys(m))) return rc;
	for (int i = 0; i < m->h->n_t; i++)
		if ((rc = hf_map_tensor(m, &m->h->t[i], false))) return rc;
	if ((rc = check_unread(m))) return rc;
	if ((rc = hf_pool(m))) return rc;
	return check_head(m);
}

int hf_map(struct hf *h, struct lm_err *err)
{
	struct hf_map m = { .h = h, .err = err };
	int rc = map(&m);

	json_decref(m.cfg);
	return rc;
}
