/* vocab_files.c - the older files of a vocabulary: vocab.json with merges.txt, vocab.txt.  What they do not say comes
 * from the class of the tokenizer (folder.c). */
#include "base/json.h"
#include "base/scan.h"
#include "tokenizer/folder.h"
#include "tokenizer/tok_impl.h"
#include <string.h>

enum { MAX_MERGES = 64 << 20, MAX_WORDS = 1 << 22 };       /* bytes; ids */

static json_t *parse(const char *text) { return text ? lm_json_parse(text, strlen(text), NULL) : json_null(); }

/* ---- vocab.json ------------------------------------------------------------------------------------------- */
/* n 0: none.  copied: while they still grow, where in the copies. */
struct word { union { const char *s; size_t at; }; uint32_t n; bool copied; };
struct words {
	const char *path;
	struct lm_map map;
	struct word *word;                                 /* by id */
	int n, cap;
	struct lm_buf copies;                              /* texts with escapes, one behind the other */
	struct lm_err *err;
};

static const char *word_text(const void *vocab, int id, size_t *n)
{
	const struct words *w = vocab;
	*n = w->word[id].n;
	return w->word[id].s;
}

/* Ids may leave holes, but not so many that they cost more memory than the file has bytes. */
static bool set_word(struct words *w, struct lm_scan *s, struct lm_scan_str key, int64_t id)
{
	size_t at = w->copies.n;
	if (key.escaped) lm_scan_unescape(key, &w->copies);
	size_t n = key.escaped ? w->copies.n - at : key.n;
	if (n > UINT32_MAX) return lm_scan_fail(s, "a token of more than 4 GiB");
	if (id < 0 || (uint64_t)id > w->map.size + (1 << 16) || id >= MAX_WORDS)
		return lm_scan_fail(s, id < 0 ? "an id below 0" : "an id far beyond the number of tokens");
	if (id >= w->cap) {
		int cap = w->cap ? w->cap : 1 << 16;
		while (cap <= id) cap *= 2;
		struct word *p = lm_realloc(w->word, (size_t)cap * sizeof *p);
		if (!p) return !(w->copies.bad = true);
		memset(p + w->cap, 0, (size_t)(cap - w->cap) * sizeof *p);
		w->word = p;
		w->cap = cap;
	}
	w->word[id] = key.escaped ? (struct word){ .at = at, .n = (uint32_t)n, .copied = true }
				  : (struct word){ .s = key.s, .n = (uint32_t)n };
	if (id >= w->n) w->n = (int)id + 1;
	return true;
}

static int read_words(struct words *w)
{
	struct lm_scan s = lm_scan_begin((const char *)w->map.data, w->map.size);
	struct lm_scan_str key;
	int64_t id;
	if (lm_scan_object(&s))
		while (lm_scan_key(&s, &key) && lm_scan_int(&s, &id) && set_word(w, &s, key, id)) {}
	if (w->copies.bad) return lm_fail(w->err, LM_ENOMEM, "out of memory for %d tokens", w->n);
	if (lm_scan_end(&s, w->err)) return lm_context(w->err, "%s: ", w->path);
	if (w->n == 0) return lm_fail(w->err, LM_EFORMAT, "%s holds no tokens", w->path);
	for (int i = 0; i < w->n; i++)
		if (w->word[i].copied) w->word[i].s = w->copies.p + w->word[i].at;
	return 0;
}

/* ---- merges.txt: a pair a line, most frequent first -------------------------------------------------------- */
static bool next_line(const char **p, const char *end, const char **line, size_t *n)
{
	if (*p >= end) return false;
	const char *nl = memchr(*p, '\n', (size_t)(end - *p));
	*line = *p;
	*n = (size_t)((nl ? nl : end) - *p);
	*p = nl ? nl + 1 : end;
	if (*n && (*line)[*n - 1] == '\r') --*n;
	return true;
}

static bool is_header(const char *s, size_t n) { return n >= 8 && !memcmp(s, "#version", 8); }

static int add_merges(struct tok *t, const struct lm_map *m, const char *path, struct lm_err *err)
{
	const char *p = (const char *)m->data, *end = p + m->size, *s;
	size_t n;
	int64_t count = 0, line = 0;
	while (next_line(&p, end, &s, &n)) count += !is_header(s, n);
	int rc = vocab_begin_merges(t, count, err), rank = 0;
	for (p = (const char *)m->data; !rc && next_line(&p, end, &s, &n);) {
		line++;
		if (is_header(s, n)) continue;
		const char *sp = n ? memchr(s, ' ', n) : NULL;
		size_t left = sp ? (size_t)(sp - s) : 0, right = sp ? n - left - 1 : 0;
		if (!left || !right || memchr(sp + 1, ' ', right))
			return lm_fail(err, LM_EFORMAT, "%s: line %lld is not two texts with a space between", path,
				       (long long)line);
		rc = vocab_merge(t, rank++, s, left, right, true, err);
	}
	return rc;
}

static int read_merges(struct tok *t, const struct folder *f, struct lm_err *err)
{
	char path[FOLDER_MAX_PATH];
	struct lm_map m = { 0 };
	if (!folder_has(f, "merges.txt", path))
		return lm_fail(err, LM_EFORMAT, "%s/merges.txt is missing: vocab.json alone does not say how to merge", f->dir);
	int rc = lm_map_open(&m, path, err);
	if (rc) return rc;
	rc = m.size > MAX_MERGES ? lm_fail(err, LM_ELIMIT, "%s has more than %d bytes", path, MAX_MERGES)
				 : add_merges(t, &m, path, err);
	lm_map_close(&m);
	return rc;
}

/* The reference refuses merges whose parts or product are no tokens.  The first ones and every 256th are looked at:
 * that finds a file which belongs to another vocabulary; a single bad merge is one that never comes about. */
static int check_merges(const struct tok *t, const struct folder *f, struct lm_err *err)
{
	char both[2 * MAX_TOKEN];
	for (int i = 0; i < t->n_merge; i += i < 16 ? 1 : 256) {
		const struct merge *m = &t->merge[i];
		const char *s = merge_text(t, m);
		memcpy(both, s, m->left);
		memcpy(both + m->left, s + m->left + 1, m->right);
		if (vocab_id(t, s, m->left) < 0 || vocab_id(t, s + m->left + 1, m->right) < 0 ||
		    vocab_id(t, both, m->left + m->right) < 0)
			return lm_fail(err, LM_EFORMAT, "%s/merges.txt: \"%.*s\" is not of tokens in vocab.json", f->dir,
				       (int)(m->left + m->right + 1 < 60 ? m->left + m->right + 1 : 60), s);
	}
	return 0;
}

/* ---- parts ------------------------------------------------------------------------------------------------ */
static int bpe_parts(const struct folder *f, struct tok *t, struct lm_err *err)
{
	bool prefix = false;
	int rc = folder_bool(f, "add_prefix_space", &prefix, err);
	if (rc) return rc;
	json_t *pre = parse(f->row->pre_tokenizer);
	if (prefix && pre && split_prefix_space(pre)) {
		json_decref(pre);
		pre = NULL;
	}
	const char *dec = f->row->end ? "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\"},{\"type\":\"Replace\","
					"\"pattern\":{\"String\":\"</w>\"},\"content\":\" \"},{\"type\":\"Strip\",\"content\":"
					"\" \",\"start\":1024,\"stop\":1024}]}"
				      : "{\"type\":\"ByteLevel\"}";
	return tok_parts(t, parse(f->row->normalizer), pre, parse(dec), err);
}

/* The tokens' texts; t owns the mapping from here on. */
static int take_words(struct folder *f, struct words *w, struct tok *t, struct lm_err *err)
{
	int rc = 0;
	t->map = w->map;
	t->base = (const char *)t->map.data;
	w->map = (struct lm_map){ 0 };
	for (int i = 0; !rc && i < w->n; i++)
		if (w->word[i].n) rc = vocab_set(t, i, w->word[i].s, w->word[i].n, TYPE_NORMAL, err);
	if (!rc) rc = folder_texts(f, t, err);
	return rc;
}

static int bpe_build(struct folder *f, struct words *w, struct tok *t, struct lm_err *err)
{
	int rc = take_words(f, w, t, err);
	t->model = &model_bpe;
	t->rank_by = RANK_MERGES;
	t->bytes = true;
	if (f->row->end) {
		t->end.n = (uint8_t)strlen(f->row->end);
		memcpy(t->end.s, f->row->end, t->end.n);
	}
	if (!rc) rc = read_merges(t, f, err);
	if (!rc) rc = vocab_index(t, err);
	if (!rc) rc = check_merges(t, f, err);
	if (!rc) rc = bpe_parts(f, t, err);
	if (!rc) rc = folder_apply(f, t, err);
	t->unk = f->row->end ? t->role[TOK_UNK] : -1;      /* of these classes CLIP alone knows an unknown token */
	t->drop_unk = t->unk < 0;
	return rc ? rc : vocab_finish(t, err);
}

/* The file at path: `read` makes words of it, `build` a tokenizer of those. */
static int load(struct tok **out, struct folder *f, const char *path, int (*read)(struct words *w),
		int (*build)(struct folder *f, struct words *w, struct tok *t, struct lm_err *err), struct lm_err *err)
{
	struct words w = { .path = path, .err = err };
	struct tok *t = NULL;
	int n_all, rc = lm_map_open(&w.map, path, err);
	*out = NULL;
	if (!rc) rc = read(&w);
	if (!rc) rc = folder_place(f, w.n, word_text, &w, &n_all, err);
	if (!rc && !(t = vocab_new(n_all, err))) rc = err ? err->code : LM_ENOMEM;
	if (!rc) rc = build(f, &w, t, err);
	if (w.map.data) lm_map_close(&w.map);
	lm_free(w.word);
	lm_buf_free(&w.copies);
	if (rc) tok_free(t);
	else *out = t;
	return rc;
}

int vocab_json_load(struct tok **out, struct folder *f, const char *path, struct lm_err *err)
{
	return load(out, f, path, read_words, bpe_build, err);
}

/* ---- vocab.txt: a token a line ------------------------------------------------------------------------------ */
static int count_lines(struct words *w)
{
	const char *p = (const char *)w->map.data, *end = p + w->map.size, *s;
	size_t n;
	int64_t count = 0;
	while (next_line(&p, end, &s, &n)) count++;
	if (count == 0) return lm_fail(w->err, LM_EFORMAT, "%s holds no tokens", w->path);
	if (count > MAX_WORDS) return lm_fail(w->err, LM_ELIMIT, "%s has more than %d lines", w->path, MAX_WORDS);
	w->n = (int)count;
	w->word = lm_calloc((size_t)count, sizeof *w->word);
	if (!w->word) return lm_fail(w->err, LM_ENOMEM, "out of memory for %d tokens", w->n);
	p = (const char *)w->map.data;
	for (int i = 0; i < w->n && next_line(&p, end, &s, &n); i++)
		w->word[i] = (struct word){ .s = s, .n = (uint32_t)(n < UINT32_MAX ? n : UINT32_MAX) };
	return 0;
}

static json_t *bert_normalizer(const struct folder *f, struct lm_err *err)
{
	bool lower = true, chinese = true, strip = false;
	const json_t *accents = json_object_get(f->config, "strip_accents");
	if (folder_bool(f, "do_lower_case", &lower, err) || folder_bool(f, "tokenize_chinese_chars", &chinese, err) ||
	    folder_bool(f, "strip_accents", &strip, err))
		return NULL;
	json_t *v = json_pack("{s:s, s:b, s:b, s:o, s:b}", "type", "BertNormalizer", "clean_text", 1, "handle_chinese_chars",
			      chinese, "strip_accents", json_is_boolean(accents) ? json_boolean(strip) : json_null(),
			      "lowercase", lower);
	if (!v) lm_fail(err, LM_ENOMEM, "out of memory for the normalizer");
	return v;
}

static int wordpiece_build(struct folder *f, struct words *w, struct tok *t, struct lm_err *err)
{
	int rc = take_words(f, w, t, err);
	t->model = &model_wordpiece;
	t->cont = (struct affix){ "##", 2 };
	if (!rc) rc = vocab_index(t, err);
	json_t *norm = rc ? NULL : bert_normalizer(f, err);
	if (!rc && !norm) rc = err ? err->code : LM_EFORMAT;
	if (!rc)
		rc = tok_parts(t, norm, parse("{\"type\":\"BertPreTokenizer\"}"),
				parse("{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}"), err);
	if (!rc) rc = folder_apply(f, t, err);
	t->unk = t->role[TOK_UNK];
	return rc ? rc : vocab_finish(t, err);
}

int vocab_txt_load(struct tok **out, struct folder *f, const char *path, struct lm_err *err)
{
	return load(out, f, path, count_lines, wordpiece_build, err);
}
