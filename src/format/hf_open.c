/* hf_open.c - a Hugging Face folder, or one file of weights with its config.json beside it, becomes a struct file. */
#include "base/json.h"
#include "format/hf.h"
#include <string.h>
#include <sys/stat.h>

enum { MAX_JSON = 16 << 20 };

/* A number of JSON, and what Python reads from more: bare words for infinities and NaN, integers of any length.  The
 * length of the one at s, and what jansson reads in its place; 0: nothing to change. */
static size_t odd_number(const char *s, size_t n, const char **is)
{
	static const struct { const char *word, *is; } words[] = { { "Infinity", "1e308" }, { "NaN", "null" } };
	size_t k = 0;
	for (int i = 0; i < 2; i++) {
		k = strlen(words[i].word);
		*is = words[i].is;
		if (n >= k && !memcmp(s, words[i].word, k)) return k;
	}
	for (k = 0; k < n && s[k] >= '0' && s[k] <= '9';) k++;
	*is = NULL;                                        /* as it stands, made a fraction */
	return k < 19 || (k < n && strchr(".eE", s[k])) ? 0 : k;
}

static void plain_json(const char *s, size_t n, struct lm_buf *b)
{
	size_t from = 0, k;
	const char *is;
	for (size_t i = 0; i < n; i++) {
		bool word = i && strchr("0123456789.+-eE", s[i - 1]) && s[i - 1] != '-';   /* inside a number */
		if (s[i] == '"') {
			for (i++; i < n && s[i] != '"'; i++) i += s[i] == '\\';
		} else if (!word && (k = odd_number(s + i, n - i, &is))) {
			lm_buf_add(b, s + from, i - from);
			if (is) lm_buf_str(b, is);
			else lm_buf_add(b, s + i, k), lm_buf_str(b, ".0");
			from = i + k;
			i = from - 1;
		}
	}
	lm_buf_add(b, s + from, n - from);
}

int hf_json(const char *path, json_t **out, struct lm_err *err)
{
	struct lm_buf text = { 0 }, plain = { 0 };
	struct lm_err e;
	*out = NULL;
	int rc = lm_read_file(&text, path, MAX_JSON, err);
	if (!rc) {
		plain_json(text.p ? text.p : "", text.n, &plain);
		if (plain.bad) rc = lm_fail(err, LM_ENOMEM, "%.300s: out of memory", path);
	}
	if (!rc && !(*out = lm_json_parse(plain.p ? plain.p : "", plain.n, &e)))
		rc = lm_fail(err, e.code, "%.300s: %s", path, e.msg);
	if (!rc && !json_is_object(*out)) {
		rc = lm_fail(err, LM_EFORMAT, "%.300s: is %s, expected an object", path, lm_json_kind(*out));
		json_decref(*out);
		*out = NULL;
	}
	lm_buf_free(&text);
	lm_buf_free(&plain);
	return rc;
}

static bool is_folder(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The folder itself without slashes at its end, or the one that a file lies in. */
static char *folder_of(struct file *f, const char *path)
{
	size_t n = strlen(path);
	if (!is_folder(path)) {
		while (n > 0 && path[n - 1] != '/') n--;
		if (n == 0) return lm_arena_str(f->arena, ".", 1);
	}
	while (n > 1 && path[n - 1] == '/') n--;
	return lm_arena_str(f->arena, path, n);
}

static int read_config(struct hf *h, struct lm_err *err)
{
	struct lm_buf path = { 0 };
	lm_buf_fmt(&path, "%s/config.json", h->dir);
	int rc = path.bad ? lm_fail(err, LM_ENOMEM, "%.300s: out of memory", h->dir)
	                  : hf_json(lm_buf_cstr(&path), &h->config, err);
	lm_buf_free(&path);
	return rc;
}

/* Any shard stands for the whole, as any part of a split GGUF does: "model-00002-of-00003.safetensors" beside an index. */
static bool is_shard(const struct hf *h, const char *path)
{
	static const char *const index[] = { "model.safetensors.index.json", "pytorch_model.bin.index.json" };
	const char *slash = strrchr(path, '/'), *of = strstr(slash ? slash : path, "-of-");
	bool there = false;
	if (!of || of - path < 6 || strspn(of - 5, "0123456789") != 5 || strspn(of + 4, "0123456789") != 5) return false;
	for (int i = 0; i < 2 && !there; i++) {
		struct lm_buf b = { 0 };
		struct stat st;
		lm_buf_fmt(&b, "%s/%s", h->dir, index[i]);
		there = !b.bad && stat(lm_buf_cstr(&b), &st) == 0;
		lm_buf_free(&b);
	}
	return there;
}

int hf_open(struct file *f, const char *path, struct lm_err *err)
{
	struct hf h = { .f = f };
	f->folder = true;
	h.dir = f->dir = folder_of(f, path);
	int rc = h.dir ? read_config(&h, err) : lm_fail(err, LM_ENOMEM, "%.300s: out of memory", path);
	if (!rc) rc = raw_open(&h, is_shard(&h, path) ? h.dir : path, err);
	if (!rc && !(rc = layouts_open(&h, err))) rc = hf_map(&h, err);
	hf_close(&h);
	return rc;
}

void hf_close(struct hf *h)
{
	json_decref(h->config);
	lm_free(h->raw);
	lm_free(h->t);
	h->config = NULL;
	h->raw = NULL;
	h->t = NULL;
}
