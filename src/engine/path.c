/* path.c - a folder given as a model: the GGUF somewhere in it, or what it is to Hugging Face. */
#include "engine/path.h"
#include "tokenizer/folder.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 16, MAX_ENTRIES = 100000, MAX_FOUND = 64 };
struct walk {
	char path[4096];                                   /* of the folder being read, then of an entry */
	char *found[MAX_FOUND];
	int n, n_entries;
	bool bad;                                          /* out of memory */
};

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s), k = strlen(with);
	return n >= k && !strcmp(s + n - k, with);
}

/* "-00002-of-00003.gguf" belongs to the file that ends in -00001-of-00003.gguf. */
static bool later_part(const char *name)
{
	size_t n = strlen(name);
	int part, parts;
	return n > 20 && sscanf(name + n - 20, "-%5d-of-%5d.gguf", &part, &parts) == 2 && part > 1;
}

static void take(struct walk *w, const char *name)
{
	if (!ends(name, ".gguf") || later_part(name) || !strncmp(name, "mmproj", 6) || w->n == MAX_FOUND) return;
	w->found[w->n] = lm_strdup(w->path);
	w->bad |= !w->found[w->n];
	w->n += w->found[w->n] != NULL;
}

/* Links to files are followed (a hub's cache is made of them), links to folders are not: they may run in circles. */
static void read_dir(struct walk *w, int depth)
{
	size_t n = strlen(w->path);
	DIR *d = opendir(w->path);
	for (struct dirent *e; d && (e = readdir(d)) && w->n_entries++ < MAX_ENTRIES;) {
		struct stat st;
		int k = snprintf(w->path + n, sizeof w->path - n, "/%s", e->d_name);
		if (e->d_name[0] == '.' || k < 0 || (size_t)k >= sizeof w->path - n || lstat(w->path, &st)) continue;
		if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH) read_dir(w, depth + 1);
		else if (S_ISREG(st.st_mode) || (S_ISLNK(st.st_mode) && !stat(w->path, &st) && S_ISREG(st.st_mode)))
			take(w, e->d_name);
		w->path[n] = 0;
	}
	w->path[n] = 0;
	if (d) closedir(d);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int several(struct walk *w, const char *path, const char *what, struct lm_err *err)
{
	struct lm_buf b = { 0 };
	size_t skip = strlen(path);
	int i = 0;
	for (; i < w->n && b.n < 300; i++)
		lm_buf_fmt(&b, "%s%.100s", i ? ", " : "", w->found[i] + skip + (w->found[i][skip] == '/'));
	if (i < w->n) lm_buf_str(&b, ", ...");
	int rc = lm_fail(err, LM_EINVAL, "%s holds %d %s, name one of them: %s", path, w->n, what, lm_buf_cstr(&b));
	lm_buf_free(&b);
	return rc;
}

static bool has(const char *dir, const char *name)
{
	char path[4200];
	struct stat st;
	int n = snprintf(path, sizeof path, "%s/%s", dir, name);
	return n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0;
}

/* The folders of w->path/snapshots, which a hub's cache makes one for each revision, become w->found. */
static void find_snapshots(struct walk *w)
{
	size_t n = strlen(w->path);
	int k = snprintf(w->path + n, sizeof w->path - n, "/snapshots");
	if (k < 0 || (size_t)k >= sizeof w->path - n) return;
	size_t at = n + (size_t)k;
	DIR *d = opendir(w->path);
	for (struct dirent *e; d && (e = readdir(d)) && w->n < MAX_FOUND;) {
		k = snprintf(w->path + at, sizeof w->path - at, "/%s", e->d_name);
		if (e->d_name[0] == '.' || k < 0 || (size_t)k >= sizeof w->path - at || !has(w->path, ".")) continue;
		w->found[w->n] = lm_strdup(w->path);
		w->bad |= !w->found[w->n];
		w->n += w->found[w->n] != NULL;
	}
	if (d) closedir(d);
	w->path[n] = 0;
	qsort(w->found, (size_t)w->n, sizeof *w->found, by_name);
}

/* No GGUF in it: w->path is a model of Hugging Face, or a tokenizer. */
static int of_hf(struct walk *w, bool vocab_only, struct lm_buf *out, bool *tokenizer, struct lm_err *err)
{
	const char *dir = w->path;
	*tokenizer = vocab_only;
	if (!has(dir, "config.json") && !folder_has_tokenizer(dir)) {
		find_snapshots(w);
		if (w->bad) return lm_fail(err, LM_ENOMEM, "out of memory for the files of %s", dir);
		if (w->n > 1) return several(w, dir, "snapshots", err);
		if (w->n) dir = w->found[0];
	}
	if (!vocab_only && !has(dir, "config.json"))
		return lm_fail(err, LM_EUNSUPPORTED, "%s holds no model: there is no GGUF file, nor a config.json beside weights",
		               dir);
	lm_buf_str(out, dir);
	return 0;
}

static int of_folder(struct walk *w, const char *path, bool vocab_only, struct lm_buf *out, bool *tokenizer,
		     struct lm_err *err)
{
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/') n--;
	if (n >= sizeof w->path) return lm_fail(err, LM_EINVAL, "the model's path has %zu bytes", n);
	memcpy(w->path, path, n);
	read_dir(w, 0);
	if (w->bad) return lm_fail(err, LM_ENOMEM, "out of memory for the files of %s", path);
	qsort(w->found, (size_t)w->n, sizeof *w->found, by_name);
	w->path[n] = 0;
	if (w->n == 0) return of_hf(w, vocab_only, out, tokenizer, err);
	*tokenizer = vocab_only && w->n > 1 && folder_has_tokenizer(path);
	if (!*tokenizer && w->n > 1) return several(w, w->path, "GGUF files", err);
	lm_buf_str(out, *tokenizer ? path : w->found[0]);
	return 0;
}

/* A file of weights stands for its folder where only the tokenizer is wanted. */
static bool is_weights(const char *path)
{
	return ends(path, ".safetensors") || ends(path, ".bin") || ends(path, ".pt") || ends(path, ".pth");
}

static void add_folder(const char *path, struct lm_buf *out)
{
	const char *slash = strrchr(path, '/');
	lm_buf_add(out, slash ? path : ".", slash ? (size_t)(slash - path) + (slash == path) : 1);
}

static bool is_gguf(const char *path)
{
	char magic[4] = "";
	FILE *f = fopen(path, "rb");
	bool yes = !f || (fread(magic, 1, 4, f) == 4 && memcmp(magic, "GGUF", 4) == 0);
	if (f) fclose(f);
	return yes || ends(path, ".gguf");                 /* the opener says what is wrong with it */
}

int path_model(const char *path, bool vocab_only, struct lm_buf *out, bool *tokenizer, struct lm_err *err)
{
	struct stat st;
	int rc = 0;
	*tokenizer = false;
	bool there = stat(path, &st) == 0;
	if (!there || !S_ISDIR(st.st_mode)) {
		/* a pipe is not looked into: that would wait for a writer */
		*tokenizer = vocab_only && there && S_ISREG(st.st_mode) && !is_gguf(path);
		if (*tokenizer && is_weights(path)) add_folder(path, out);
		else lm_buf_str(out, path);
	} else {
		struct walk *w = lm_calloc(1, sizeof *w);
		if (!w) return lm_fail(err, LM_ENOMEM, "out of memory for the files of %s", path);
		rc = of_folder(w, path, vocab_only, out, tokenizer, err);
		for (int i = 0; i < w->n; i++) lm_free(w->found[i]);
		lm_free(w);
	}
	lm_buf_add(out, "", 1);                            /* its end: out->p is a path */
	return !rc && out->bad ? lm_fail(err, LM_ENOMEM, "out of memory for the model's path") : rc;
}
