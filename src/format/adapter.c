/* adapter.c - opening an adapter, and the GGUF kind: <tensor>.lora_a and .lora_b under the base's names. */
#include "format/adapter_impl.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- what both kinds fill in ----------------------------------------------------------------------------- */
static int no_memory(const struct adapter *a, struct lm_err *err) { return lm_fail(err, LM_ENOMEM, "%.300s: out of memory", a->path); }

int adapter_low(struct adapter *a, const struct low_rank *r, struct lm_err *err)
{
	if (a->n_low == a->cap_low) {
		int cap = a->cap_low ? 2 * a->cap_low : 64;
		struct low_rank *p = lm_realloc(a->low, (size_t)cap * sizeof *p);
		if (!p) return no_memory(a, err);
		a->low = p;
		a->cap_low = cap;
	}
	a->low[a->n_low++] = *r;
	a->merged |= r->size != NULL;
	return 0;
}

int adapter_full(struct adapter *a, const struct tensor *t, struct lm_err *err)
{
	if (a->n_full == a->cap_full) {
		int cap = a->cap_full ? 2 * a->cap_full : 16;
		struct tensor *p = lm_realloc(a->full, (size_t)cap * sizeof *p);
		if (!p) return no_memory(a, err);
		a->full = p;
		a->cap_full = cap;
	}
	a->full[a->n_full++] = *t;
	a->merged = true;
	return 0;
}

/* ---- q and k: pairs in most GGUFs, halves in checkpoints ---------------------------------------------------- */
bool base_in_halves(const struct file *base, const char *arch)
{
	char key[96];
	bool pairs;
	snprintf(key, sizeof key, "%.60s.rope.interleaved", arch);
	return file_bool(base, key, &pairs) && !pairs;
}

static int64_t heads_of(const struct file *base, const char *arch, const char *what, int il)
{
	char key[96];
	int64_t n = 0;
	snprintf(key, sizeof key, "%.60s.attention.%s", arch, what);
	if (!file_i64(base, key, &n)) file_arr_i64(base, key, il, &n);
	return n;
}

int adapter_turn(struct adapter *a, const struct file *base, const char *arch, const char *name, struct tensor *t,
                 bool to_pairs, struct lm_err *err)
{
	int il, end = 0;
	bool q = sscanf(name, "blk.%d.attn_q.%n", &il, &end) == 1 && end, k = false;
	struct tensor from = *t, *kept = lm_new(a->arena, struct tensor, 1);

	if (!q) k = sscanf(name, "blk.%d.attn_k.%n", &il, &end) == 1 && end;
	if (!q && !k) return 0;
	int64_t n = heads_of(base, arch, "head_count", il), kv = heads_of(base, arch, "head_count_kv", il);
	if (k && kv > 0) n = kv;
	int64_t rows = t->dim[0], hd = n > 0 ? rows / n : 0;
	if (n < 1 || rows % n || hd % 2 || rows > INT32_MAX) return 0;     /* the shape is wrong: told when it is held against the base */
	int32_t *order = lm_new(a->arena, int32_t, rows);
	if (!order || !kept) return no_memory(a, err);
	for (int64_t r = 0; r < rows; r++) {
		int64_t i = r % hd, from_row = to_pairs ? i % 2 * (hd / 2) + i / 2 : i % (hd / 2) * 2 + i / (hd / 2);
		order[r] = (int32_t)(r - i + from_row);
	}
	*kept = from;
	int rc = derive_order(a->arena, t, kept, order, rows, err);
	t->name = from.name;
	return rc;
}

/* ---- GGUF ------------------------------------------------------------------------------------------------------ */
static bool is_str(const struct file *f, const char *key, const char *want)
{
	const char *s;
	size_t n;
	return file_str(f, key, &s, &n) && n == strlen(want) && !memcmp(s, want, n);
}

static int check_gguf(const struct adapter *a, const char *arch, struct lm_err *err)
{
	const char *s = "", *kind = "";
	size_t n = 0, k = 0;

	if (!is_str(a->file, "general.type", "adapter")) {
		file_str(a->file, "general.type", &s, &n);
		return lm_fail(err, LM_EFORMAT, "is no adapter: general.type is \"%.*s\", expected \"adapter\"", n > 60 ? 60 : (int)n, s);
	}
	if (!is_str(a->file, "adapter.type", "lora")) {
		file_str(a->file, "adapter.type", &kind, &k);
		return lm_fail(err, LM_EUNSUPPORTED, "an adapter of type \"%.*s\": only \"lora\" is applied", k > 60 ? 60 : (int)k, kind);
	}
	if (!is_str(a->file, "general.architecture", arch)) {
		file_str(a->file, "general.architecture", &s, &n);
		return lm_fail(err, LM_EFORMAT, "is for the architecture \"%.*s\", the model is \"%.60s\"", n > 60 ? 60 : (int)n, s, arch);
	}
	if (file_has(a->file, "adapter.alora.invocation_tokens"))
		return lm_fail(err, LM_EUNSUPPORTED, "is activated by tokens of the prompt (aLoRA), which is not built");
	return 0;
}

/* name without .lora_a or .lora_b in the arena, when it ends so. */
static const char *stem(struct adapter *a, const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);
	return n > k && !strcmp(name + n - k, end) ? lm_arena_str(a->arena, name, n - k) : NULL;
}

static int add_pair(struct adapter *a, const struct file *base, const char *arch, const struct tensor *ta, const char *name,
                    float alpha, struct lm_err *err)
{
	struct low_rank r = { .name = name, .a = *ta, .embed = !strcmp(name, "token_embd.weight") };
	size_t n = strlen(ta->name);
	char *other = lm_arena_str(a->arena, ta->name, n);
	int rc;

	if (!other) return no_memory(a, err);
	other[n - 1] = 'b';
	const struct tensor *tb = file_tensor(a->file, other);
	if (!tb) return lm_fail(err, LM_EFORMAT, "%s: %s is missing", ta->name, other);
	r.b = *tb;
	if (ta->n_dims != 2 || tb->n_dims != 2)
		return lm_fail(err, LM_EUNSUPPORTED, "%s: %d dimensions: only adapters of plain matrices are applied", ta->name,
		               ta->n_dims > tb->n_dims ? ta->n_dims : tb->n_dims);
	if (!file_tensor(base, name) && strcmp(name, "output.weight"))
		return lm_fail(err, LM_EFORMAT, "%s: the base has no %s: an adapter for another model?", ta->name, name);
	r.scale = alpha != 0 ? alpha / (float)tb->dim[1] : 1;
	if (base_in_halves(base, arch) && arch_turned(arch) && (rc = adapter_turn(a, base, arch, name, &r.b, false, err)))
		return rc;
	return adapter_low(a, &r, err);
}

static int read_gguf(struct adapter *a, const struct file *base, const char *arch, struct lm_err *err)
{
	float alpha = 0;
	int rc = check_gguf(a, arch, err);

	file_f32(a->file, "adapter.lora.alpha", &alpha);
	if (!rc && !isfinite(alpha)) rc = lm_fail(err, LM_EFORMAT, "adapter.lora.alpha is not a finite number");
	for (int i = 0; !rc && i < file_count(a->file); i++) {
		const struct tensor *t = file_at(a->file, i);
		const char *name = stem(a, t->name, ".lora_a"), *of = name ? NULL : stem(a, t->name, ".lora_b");
		size_t n = strlen(t->name);
		if (name) {
			rc = add_pair(a, base, arch, t, name, alpha, err);
		} else if (of) {
			char *other = lm_arena_str(a->arena, t->name, n);
			if (!other) return no_memory(a, err);
			other[n - 1] = 'a';
			if (!file_tensor(a->file, other)) rc = lm_fail(err, LM_EFORMAT, "%s: %s is missing", t->name, other);
		} else if (n > 12 && !strcmp(t->name + n - 12, "_norm.weight")) {
			rc = adapter_full(a, t, err);
		} else {
			rc = lm_fail(err, LM_EUNSUPPORTED, "%s: neither lora_a nor lora_b of a tensor", t->name);
		}
	}
	return rc;
}

/* ---- either ------------------------------------------------------------------------------------------------------ */
static bool is_gguf(const char *path)
{
	char magic[4] = "";
	struct stat st;
	FILE *f = stat(path, &st) || !S_ISREG(st.st_mode) ? NULL : fopen(path, "rb");
	bool yes = f && fread(magic, 1, 4, f) == 4 && !memcmp(magic, "GGUF", 4);
	if (f) fclose(f);
	return yes;
}

static int read_any(struct adapter *a, const struct file *base, const struct adapter_mem *m, struct lm_err *err)
{
	const char *s;
	char *arch = NULL;
	size_t n;
	int rc;

	if (!file_str(base, "general.architecture", &s, &n) || !(arch = lm_arena_str(a->arena, s, n)))
		return lm_fail(err, LM_EFORMAT, "%.300s: the base has no general.architecture", a->path);
	if (m ? !m->config : is_gguf(a->path)) {
		rc = m ? file_open_mem(&a->file, m->data, m->size, err) : file_open(&a->file, a->path, err);
		if (rc) return rc;
		rc = read_gguf(a, base, arch, err);
		if (rc) lm_context(err, "%.300s: ", a->path);
	} else {
		rc = peft_read(a, base, arch, m, err);
	}
	if (!rc && !a->n_low && !a->n_full) rc = lm_fail(err, LM_EFORMAT, "%.300s: holds no tensor", a->path);
	return rc;
}

static int open_any(struct adapter **out, const char *path, const struct file *base, const struct adapter_mem *m, struct lm_err *err)
{
	struct adapter *a = lm_calloc(1, sizeof *a);
	int rc;

	*out = NULL;
	if (a) a->arena = lm_arena_new(1 << 14);
	if (a && a->arena) a->path = lm_arena_str(a->arena, path, strlen(path));
	if (!a || !a->path) {
		adapter_close(a);
		return lm_fail(err, LM_ENOMEM, "%.300s: out of memory", path);
	}
	if ((rc = read_any(a, base, m, err))) {
		adapter_close(a);
		return rc;
	}
	*out = a;
	return 0;
}

int adapter_open(struct adapter **out, const char *path, const struct file *base, struct lm_err *err)
{
	return open_any(out, path, base, NULL, err);
}

int adapter_open_mem(struct adapter **out, const char *config, size_t n_config, const void *data, size_t size,
                     const struct file *base, struct lm_err *err)
{
	return open_any(out, "", base, &(struct adapter_mem){ config, n_config, data, size }, err);
}

void adapter_close(struct adapter *a)
{
	if (!a) return;
	file_close(a->file);
	lm_free(a->low);
	lm_free(a->full);
	lm_arena_free(a->arena);
	lm_free(a);
}
