/* hf_open.c - a Hugging Face folder, or one file of weights with its config.json beside it, becomes a struct file. */
#include "base/json.h"
#include "format/hf.h"
#include <string.h>
#include <sys/stat.h>

enum { MAX_JSON = 16 << 20 };

int hf_read(struct lm_buf *text, const char *path, size_t max, struct lm_err *err)
{
	struct stat st;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return lm_fail(err, LM_EFORMAT, "%.300s: is not a regular file", path);
	return lm_read_file(text, path, max, err);
}

int hf_json(const char *path, json_t **out, struct lm_err *err)
{
	struct lm_buf text = { 0 };
	struct lm_err e;
	*out = NULL;
	int rc = hf_read(&text, path, MAX_JSON, err);
	if (!rc && !(*out = lm_json_python(text.p ? text.p : "", text.n, &e)))
		rc = lm_fail(err, e.code, "%.300s: %s", path, e.msg);
	if (!rc && !json_is_object(*out)) {
		rc = lm_fail(err, LM_EFORMAT, "%.300s: is %s, expected an object", path, lm_json_kind(*out));
		json_decref(*out);
		*out = NULL;
	}
	lm_buf_free(&text);
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
