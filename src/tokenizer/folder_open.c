/* folder_open.c - tok_open: which of a folder's files hold the tokenizer; and the chat templates beside it. */
#include "base/json.h"
#include "tokenizer/folder.h"
#include "tokenizer/tok_impl.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_TEMPLATE = 16 << 20 };
enum kind { KIND_JSON, KIND_SPM, KIND_TEKKEN, KIND_VOCAB, KIND_TXT, KIND_TIKTOKEN, N_KIND };

/* In the order in which they are looked for. */
static const struct { const char *name; enum kind kind; } files[] = {
	{ "tokenizer.json", KIND_JSON },	{ "tokenizer.model", KIND_SPM },
	{ "spiece.model", KIND_SPM },		{ "sentencepiece.bpe.model", KIND_SPM },
	{ "spm.model", KIND_SPM },		{ "tekken.json", KIND_TEKKEN },
	{ "vocab.json", KIND_VOCAB },		{ "vocab.txt", KIND_TXT },
};
#define N_FILES (sizeof files / sizeof *files)

static const char *const beside[] = { "tokenizer_config.json", "config.json", "special_tokens_map.json",
				      "generation_config.json", "added_tokens.json", "chat_template.json" };

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s), k = strlen(with);
	return n >= k && !strcmp(s + n - k, with);
}

/* What a file of that name is, when it was named itself; N_KIND: it stands for its folder. */
static enum kind kind_of(const char *base)
{
	for (size_t i = 0; i < N_FILES; i++)
		if (!strcmp(base, files[i].name)) return files[i].kind;
	if (!strcmp(base, "merges.txt")) return KIND_VOCAB;
	if (ends(base, ".model") || ends(base, ".spm") || ends(base, ".tiktoken")) return KIND_SPM;
	if (ends(base, ".txt")) return KIND_TXT;
	for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
		if (!strcmp(base, beside[i])) return N_KIND;
	return strstr(base, "tekken") ? KIND_TEKKEN : ends(base, "vocab.json") ? KIND_VOCAB : KIND_JSON;
}

/* Fills f->dir and, for a file, *base. */
static int take_path(struct folder *f, const char *path, const char **base, struct lm_err *err)
{
	struct stat st;
	*base = NULL;
	if (stat(path, &st)) return lm_fail(err, LM_EIO, "%s: %s", path, strerror(errno));
	size_t n = strlen(path);
	if (!S_ISDIR(st.st_mode)) {
		const char *slash = strrchr(path, '/');
		*base = slash ? slash + 1 : path;
		n = slash ? (size_t)(slash - path) + (slash == path) : 0;
	}
	while (n > 1 && path[n - 1] == '/') n--;
	if (n >= sizeof f->dir) return lm_fail(err, LM_EIO, "the path has %zu bytes, at most %zu are possible", n, sizeof f->dir);
	snprintf(f->dir, sizeof f->dir, "%.*s", n ? (int)n : 1, n ? path : ".");
	return 0;
}

static int find_file(const struct folder *f, char path[FOLDER_MAX_PATH], enum kind *kind, struct lm_err *err)
{
	for (size_t i = 0; i < N_FILES; i++)
		if (folder_has(f, files[i].name, path)) {
			*kind = files[i].kind;
			return 0;
		}
	return lm_fail(err, LM_EUNSUPPORTED, "%s holds no tokenizer: tokenizer.json, tokenizer.model, tekken.json, vocab.json "
		       "with merges.txt or vocab.txt is needed", f->dir);
}

bool folder_has_tokenizer(const char *dir)
{
	char path[FOLDER_MAX_PATH];
	const char *base;
	enum kind kind;
	struct folder f = { 0 };                           /* not of the heap: to have no memory is no answer */
	return !take_path(&f, dir, &base, NULL) && !base && !find_file(&f, path, &kind, NULL);
}

static int load_spm(struct tok **out, struct folder *f, const char *path, struct lm_err *err)
{
	struct lm_map m = { 0 };
	int rc = lm_map_open(&m, path, err);
	if (rc) return rc;
	rc = spm_load(out, f, path, m.data, m.size, err);
	if (rc) lm_map_close(&m);
	else (*out)->map = m;
	return rc;
}

static int load(struct tok **out, struct folder *f, enum kind kind, const char *path, struct lm_err *err)
{
	static const unsigned row[N_KIND] = { [KIND_SPM] = ROW_SPM, [KIND_VOCAB] = ROW_VOCAB, [KIND_TXT] = ROW_TXT,
					      [KIND_TEKKEN] = ROW_TEKKEN, [KIND_TIKTOKEN] = ROW_TIKTOKEN };
	int rc = folder_read(f, row[kind], err);
	if (rc) return rc;
	switch (kind) {
	case KIND_SPM: return load_spm(out, f, path, err);
	case KIND_TIKTOKEN: return tiktoken_load(out, f, path, err);
	case KIND_TEKKEN: return tekken_load(out, f, path, err);
	case KIND_VOCAB: return vocab_json_load(out, f, path, err);
	case KIND_TXT: return vocab_txt_load(out, f, path, err);
	default: break;
	}
	rc = hf_json_tok(out, path, err);
	if (!rc) rc = folder_roles(f, *out, err);
	return rc;
}

/* Two kinds of file go by the name tokenizer.model. */
static int sniff(const char *path, enum kind *kind, struct lm_err *err)
{
	struct lm_map m = { 0 };
	int rc = lm_map_open(&m, path, err);
	if (rc) return rc;
	if (tiktoken_is(m.data, m.size)) *kind = KIND_TIKTOKEN;
	lm_map_close(&m);
	return 0;
}

int tok_open(struct tok **out, const char *path, struct lm_err *err)
{
	char file[FOLDER_MAX_PATH];
	const char *base;
	enum kind kind = KIND_JSON;
	*out = NULL;
	struct folder *f = lm_calloc(1, sizeof *f);
	if (!f) return lm_fail(err, LM_ENOMEM, "out of memory for the tokenizer");
	int rc = take_path(f, path, &base, err);
	if (!rc && base) kind = kind_of(base);
	if (!rc && (!base || kind == N_KIND)) rc = find_file(f, file, &kind, err);
	else if (!rc) {
		if (!strcmp(base, "merges.txt")) base = "vocab.json";
		if (!folder_has(f, base, file)) rc = lm_fail(err, LM_EIO, "%s/%s is no file", f->dir, base);
	}
	if (!rc && kind == KIND_SPM) rc = sniff(file, &kind, err);
	if (!rc) rc = load(out, f, kind, file, err);
	if (rc) {
		tok_free(*out);
		*out = NULL;
	}
	folder_free(f);
	lm_free(f);
	return rc;
}

/* ---- chat templates -------------------------------------------------------------------------------------- */
static int add_text(struct lm_buf *out, const char *s, size_t n, struct lm_err *err)
{
	lm_buf_add(out, s, n);
	return out->bad ? lm_fail(err, LM_ENOMEM, "out of memory for the chat template") : 0;
}

/* A "chat_template": a text, or a list of {"name", "template"}. */
static int json_template(const json_t *v, const char *name, const char *path, struct lm_buf *out, struct lm_err *err)
{
	if (!v || json_is_null(v)) return 1;
	if (json_is_string(v))
		return strcmp(name, "default") ? 1 : add_text(out, json_string_value(v), json_string_length(v), err);
	if (!json_is_array(v))
		return lm_fail(err, LM_EFORMAT, "%s: \"chat_template\" is neither a text nor a list of named ones", path);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *one = json_array_get(v, i), *text = json_object_get(one, "template");
		const char *its = json_string_value(json_object_get(one, "name"));
		if (!its || !json_is_string(text))
			return lm_fail(err, LM_EFORMAT, "%s: \"chat_template\": entry %zu has no \"name\" and \"template\"", path, i);
		if (!strcmp(its, name)) return add_text(out, json_string_value(text), json_string_length(text), err);
	}
	return 1;
}

static int template_of_json(const struct folder *f, const char *file, const char *name, struct lm_buf *out,
			    struct lm_err *err)
{
	char path[FOLDER_MAX_PATH];
	struct lm_buf b = { 0 };
	if (!folder_has(f, file, path)) return 1;
	int rc = lm_read_file(&b, path, FOLDER_MAX_JSON, err);
	json_t *v = rc ? NULL : lm_json_python(b.p ? b.p : "", b.n, err);
	if (!rc && !v) {
		lm_context(err, "%s: ", path);
		rc = err ? err->code : LM_EFORMAT;
	}
	if (!rc) rc = json_template(json_object_get(v, "chat_template"), name, path, out, err);
	json_decref(v);
	lm_buf_free(&b);
	return rc;
}

static int find_template(const struct folder *f, const char *name, struct lm_buf *out, struct lm_err *err)
{
	char file[300], path[FOLDER_MAX_PATH];
	if (!*name || strlen(name) > 200 || strchr(name, '/') || *name == '.') return 1;
	snprintf(file, sizeof file, "additional_chat_templates/%s.jinja", name);
	bool found = strcmp(name, "default") == 0 && folder_has(f, "chat_template.jinja", path);
	if (found || folder_has(f, file, path)) return lm_read_file(out, path, MAX_TEMPLATE, err);
	int rc = template_of_json(f, "tokenizer_config.json", name, out, err);
	return rc == 1 ? template_of_json(f, "chat_template.json", name, out, err) : rc;
}

int folder_template(const char *path, const char *name, struct lm_buf *out, struct lm_err *err)
{
	const char *base;
	struct folder *f = lm_calloc(1, sizeof *f);
	if (!f) return lm_fail(err, LM_ENOMEM, "out of memory for the chat template");
	int rc = take_path(f, path, &base, err);
	if (!rc) rc = find_template(f, name ? name : "default", out, err);
	lm_free(f);
	return rc;
}

int file_template(const struct file *f, const char *name, struct lm_buf *out, struct lm_err *err)
{
	char key[300] = "tokenizer.chat_template";
	const char *s;
	size_t n;
	if (name && strcmp(name, "default")) snprintf(key, sizeof key, "tokenizer.chat_template.%.200s", name);
	if (!file_str(f, key, &s, &n) || n == 0) return 1;
	return add_text(out, s, n, err);
}
