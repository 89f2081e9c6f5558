/* hf_open.c - a Hugging Face folder, or one file of weights with its config.json beside it, becomes a struct file. */
#include "base/json.h"
#include "format/hf.h"
#include <string.h>
#include <sys/stat.h>

enum { MAX_JSON = 16 << 20 };

/* Python writes infinities and NaN as bare words, which JSON has not: the largest round number, and null. */
static void plain_json(const char *s, size_t n, struct lm_buf *b)
{
	static const struct { const char *word; size_t n; const char *is; } odd[] = {
		{ "Infinity", 8, "1e308" }, { "NaN", 3, "null" }
	};
	size_t from = 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '"') {
			for (i++; i < n && s[i] != '"'; i++) i += s[i] == '\\';
			continue;
		}
		for (int k = 0; k < 2; k++) {
			if (n - i < odd[k].n || memcmp(s + i, odd[k].word, odd[k].n)) continue;
			lm_buf_add(b, s + from, i - from);
			lm_buf_str(b, odd[k].is);
			i += odd[k].n - 1;
			from = i + 1;
			break;
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

int hf_open(struct file *f, const char *path, struct lm_err *err)
{
	struct hf h = { .f = f };
	f->folder = true;
	h.dir = f->dir = folder_of(f, path);
	int rc = h.dir ? read_config(&h, err) : lm_fail(err, LM_ENOMEM, "%.300s: out of memory", path);
	if (!rc) rc = raw_open(&h, path, err);
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
