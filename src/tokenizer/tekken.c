/* tekken.c - a tokenizer of bytes and ranks: Mistral's tekken.json, which has a pattern and control tokens that come
 * before all others (15 MB, scanned, not parsed into a tree); and tiktoken's own files, "base64 rank" a line, which have
 * neither: the pattern is Llama 3's, as for transformers, and added tokens come from the folder. */
#include "base/scan.h"
#include "tokenizer/folder.h"
#include "tokenizer/tok_impl.h"
#include <stdio.h>
#include <string.h>

enum { MAX_WORDS = 1 << 22, MAX_CONTROL = 1 << 16 };

/* Files of 2024 leave their control tokens to the program. */
static const char *const old_control[] = {
	"<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
	"[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]",
	"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
};
enum { N_OLD = (int)(sizeof old_control / sizeof *old_control) };

struct text { size_t off, n; };                            /* in tekken.texts */
struct tekken {
	const char *path;
	struct lm_map map;
	struct text *word, *control;                       /* letters of the byte-level alphabet; plain texts */
	int n_word, n_control, n_first;                    /* n_first: ids before the words */
	int64_t size, n_special;                           /* as stated, -1 */
	bool has_control;
	struct lm_buf texts, pattern;
	struct lm_err *err;
};

/* ---- base64 of bytes, to letters --------------------------------------------------------------------------- */
static int sextet(char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52
	     : c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool letters(struct lm_buf *out, const char *s, size_t n)
{
	uint32_t acc = 0;
	int bits = 0;
	char part[256]; /* given away before it is full: a letter has two bytes at most */
	size_t at = 0;
	while (n && s[n - 1] == '=') n--;
	for (size_t i = 0; i < n; i++) {
		int v = sextet(s[i]);
		if (v < 0) return false;
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits < 8) continue;
		bits -= 8;
		at += (size_t)letter_of((uint8_t)(acc >> bits), part + at);
		acc &= (1u << bits) - 1;
		if (at + 2 <= sizeof part) continue;
		lm_buf_add(out, part, at);
		at = 0;
	}
	lm_buf_add(out, part, at);
	return true;
}

/* ---- the file ---------------------------------------------------------------------------------------------- */
static void read_config(struct tekken *k, struct lm_scan *s)
{
	struct lm_scan_str key, v;
	if (!lm_scan_object(s)) return;
	while (lm_scan_key(s, &key)) {
		if (lm_scan_is(key, "pattern") && lm_scan_str(s, &v)) lm_scan_unescape(v, &k->pattern);
		else if (lm_scan_is(key, "default_vocab_size") && !lm_scan_null(s)) lm_scan_int(s, &k->size);
		else if (lm_scan_is(key, "default_num_special_tokens") && !lm_scan_null(s)) lm_scan_int(s, &k->n_special);
		else if (!lm_scan_is(key, "pattern")) lm_scan_skip(s);
	}
}

/* Room for entry n; memory that fails is known by k->texts.bad. */
static bool grow(struct tekken *k, struct text **v, int n)
{
	if (n & (n - 1)) return true;
	struct text *p = lm_realloc(*v, (n ? 2 * (size_t)n : 1) * sizeof *p);
	if (p) *v = p;
	k->texts.bad |= !p;
	return p;
}

/* A word's place in the list is its rank, as for the reference. */
static bool read_word(struct tekken *k, struct lm_scan *s)
{
	struct lm_scan_str key, v;
	bool found = false;
	if (!lm_scan_object(s)) return false;
	if (k->n_word == MAX_WORDS) return lm_scan_fail(s, "too many tokens");
	if (!grow(k, &k->word, k->n_word)) return false;
	struct text *t = &k->word[k->n_word];
	t->off = k->texts.n;
	while (lm_scan_key(s, &key)) {
		if (!lm_scan_is(key, "token_bytes")) lm_scan_skip(s);
		else if (lm_scan_str(s, &v)) {
			found = !v.escaped && !found && letters(&k->texts, v.s, v.n);
			if (!found) return lm_scan_fail(s, "token_bytes are not base64");
		}
	}
	t->n = k->texts.n - t->off;
	k->n_word++;
	return t->n || k->texts.bad || lm_scan_fail(s, "a token has no token_bytes");
}

static bool read_control(struct tekken *k, struct lm_scan *s)
{
	struct lm_scan_str key, v;
	int64_t rank = k->n_control;
	if (!lm_scan_object(s)) return false;
	if (k->n_control == MAX_CONTROL) return lm_scan_fail(s, "too many control tokens");
	if (!grow(k, &k->control, k->n_control)) return false;
	struct text *t = &k->control[k->n_control];
	*t = (struct text){ k->texts.n, 0 };
	while (lm_scan_key(s, &key)) {
		if (lm_scan_is(key, "token_str") && lm_scan_str(s, &v)) lm_scan_unescape(v, &k->texts);
		else if (lm_scan_is(key, "rank")) lm_scan_int(s, &rank);
		else if (!lm_scan_is(key, "token_str")) lm_scan_skip(s);
	}
	t->n = k->texts.n - t->off;
	if (rank != k->n_control) return lm_scan_fail(s, "the ranks of the control tokens are not 0, 1, 2, ...");
	k->n_control++;
	return true;
}

static int read_file(struct tekken *k)
{
	struct lm_scan s = lm_scan_begin((const char *)k->map.data, k->map.size);
	struct lm_scan_str key;
	if (lm_scan_object(&s))
		while (lm_scan_key(&s, &key)) {
			if (lm_scan_is(key, "config")) read_config(k, &s);
			else if (lm_scan_is(key, "vocab") && lm_scan_array(&s))
				while (lm_scan_item(&s) && read_word(k, &s)) {}
			else if (lm_scan_is(key, "special_tokens") && !lm_scan_null(&s) && (k->has_control = lm_scan_array(&s)))
				while (lm_scan_item(&s) && read_control(k, &s)) {}
			else if (!lm_scan_is(key, "vocab") && !lm_scan_is(key, "special_tokens")) lm_scan_skip(&s);
		}
	if (k->texts.bad || k->pattern.bad) return lm_fail(k->err, LM_ENOMEM, "out of memory for %d tokens", k->n_word);
	if (lm_scan_end(&s, k->err)) return lm_context(k->err, "%s: ", k->path);
	if (!k->n_word || !k->pattern.n)
		return lm_fail(k->err, LM_EFORMAT, "%s: %s is missing", k->path, k->n_word ? "config.pattern" : "vocab");
	return 0;
}

/* Which ids there are: default_vocab_size cuts the words, default_num_special_tokens fills up the control tokens. */
static int count_ids(struct tekken *k)
{
	for (int i = 0; !k->has_control && i < N_OLD; i++) {
		if (!grow(k, &k->control, k->n_control)) return lm_fail(k->err, LM_ENOMEM, "out of memory for tokens");
		k->control[k->n_control++] = (struct text){ k->texts.n, strlen(old_control[i]) };
		lm_buf_str(&k->texts, old_control[i]);
	}
	if (k->n_special < 0) k->n_special = k->n_control;
	if (k->n_special < k->n_control || k->n_special > MAX_CONTROL)
		return lm_fail(k->err, LM_EFORMAT, "%s: config.default_num_special_tokens is %lld, there are %d", k->path,
			       (long long)k->n_special, k->n_control);
	if (k->size >= 0 && (k->size <= k->n_special || k->size > (int64_t)MAX_WORDS + MAX_CONTROL))
		return lm_fail(k->err, LM_EFORMAT, "%s: config.default_vocab_size is %lld", k->path, (long long)k->size);
	k->n_first = (int)k->n_special;
	if (k->size >= 0 && k->size - k->n_special < k->n_word) k->n_word = (int)(k->size - k->n_special);
	return k->texts.bad ? lm_fail(k->err, LM_ENOMEM, "out of memory for %d tokens", k->n_word) : 0;
}

/* ---- the tokenizer ------------------------------------------------------------------------------------------ */
static int add_control(const struct tekken *k, struct tok *t, int i)
{
	char filler[32];
	const char *s = filler;
	size_t n = (size_t)snprintf(filler, sizeof filler, "<SPECIAL_%d>", i);
	if (i < k->n_control) {
		s = k->texts.p + k->control[i].off;
		n = k->control[i].n;
	}
	int rc = vocab_copy(t, i, s, n, TYPE_CONTROL, k->err);
	return rc ? rc : added_add(t->added, s, n, i, ADDED_SPECIAL, k->err);
}

static int make_parts(const struct tekken *k, struct tok *t)
{
	json_t *regex = json_stringn(k->pattern.p, k->pattern.n);
	json_t *pre = regex ? json_pack("{s:s, s:[{s:s, s:{s:o}, s:s, s:b}, {s:s, s:b, s:b, s:b}]}", "type", "Sequence",
					"pretokenizers", "type", "Split", "pattern", "Regex", regex, "behavior", "Isolated",
					"invert", 0, "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 0)
			    : NULL;
	json_t *dec = json_pack("{s:s}", "type", "ByteLevel");
	int rc = tok_parts(t, json_null(), pre, dec, k->err);
	return rc == LM_EFORMAT ? lm_context(k->err, "%s: config.pattern: ", k->path) : rc;
}

static const char *base_text(const void *vocab, int id, size_t *n)
{
	const struct tekken *k = vocab;
	if (id >= k->n_control) return NULL;               /* an added token is never one of the words */
	*n = k->control[id].n;
	return k->texts.p + k->control[id].off;
}

static int build(const struct tekken *k, struct folder *f, struct tok *t)
{
	int rc = 0;
	for (int i = 0; !rc && i < k->n_first; i++) rc = add_control(k, t, i);
	for (int i = 0; !rc && i < k->n_word; i++)
		rc = vocab_copy(t, k->n_first + i, k->texts.p + k->word[i].off, k->word[i].n, TYPE_NORMAL, k->err);
	if (!rc) rc = folder_texts(f, t, k->err);
	t->model = &model_bpe;
	t->rank_by = RANK_ID;
	t->bytes = t->ignore_merges = t->drop_unk = true;
	if (!rc) rc = vocab_index(t, k->err);
	if (!rc) rc = make_parts(k, t);
	if (!rc) rc = folder_apply(f, t, k->err);
	t->unk = -1;
	return rc ? rc : vocab_finish(t, k->err);
}

/* ---- tiktoken's files --------------------------------------------------------------------------------------- */
static const char llama3[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
			     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

bool tiktoken_is(const void *data, size_t size)
{
	const char *s = data;
	size_t n = 0;
	while (n < size && n < 400 && (sextet(s[n]) >= 0 || s[n] == '=')) n++;
	return n && n + 1 < size && s[n] == ' ' && s[n + 1] >= '0' && s[n + 1] <= '9';
}

static int bad_line(const struct tekken *k, const char *what)
{
	return lm_fail(k->err, LM_EFORMAT, "%s: line %d %s", k->path, k->n_word + 1, what);
}

/* One token a line, in the order of the ranks. */
static int read_lines(struct tekken *k)
{
	const char *s = (const char *)k->map.data, *end = s + k->map.size;
	for (const char *nl; s < end; s = nl + 1) {
		nl = memchr(s, '\n', (size_t)(end - s));
		if (!nl) nl = end;
		const char *sp = memchr(s, ' ', (size_t)(nl - s));
		if (s == nl) continue;
		if (!sp) return bad_line(k, "is not a token in base64 and its rank");
		if (k->n_word == MAX_WORDS) return bad_line(k, "is one token too many");
		if (!grow(k, &k->word, k->n_word)) break;
		struct text *t = &k->word[k->n_word];
		t->off = k->texts.n;
		if (!letters(&k->texts, s, (size_t)(sp - s))) return bad_line(k, "is not a token in base64 and its rank");
		t->n = k->texts.n - t->off;
		int64_t rank = 0;
		for (const char *p = sp + 1; p < nl && *p != '\r'; p++)
			rank = *p >= '0' && *p <= '9' && rank < INT32_MAX ? rank * 10 + (*p - '0') : INT64_MAX / 20;
		if (rank != k->n_word || (!t->n && !k->texts.bad)) return bad_line(k, "has a rank out of order, or no token");
		k->n_word++;
	}
	lm_buf_str(&k->pattern, llama3);
	k->has_control = true;
	return k->texts.bad || k->pattern.bad ? lm_fail(k->err, LM_ENOMEM, "out of memory for %d tokens", k->n_word) : 0;
}

static int load_file(struct tok **out, struct folder *f, const char *path, int (*read)(struct tekken *k), struct lm_err *err)
{
	struct tekken k = { .path = path, .size = -1, .n_special = -1, .err = err };
	struct tok *t = NULL;
	int n_all, rc = lm_map_open(&k.map, path, err);
	*out = NULL;
	if (!rc) rc = read(&k);
	if (!rc) rc = count_ids(&k);
	if (!rc) rc = folder_place(f, k.n_first + k.n_word, base_text, &k, &n_all, err);
	if (!rc && !(t = vocab_new(n_all, err))) rc = err ? err->code : LM_ENOMEM;
	if (!rc) rc = build(&k, f, t);
	if (k.map.data) lm_map_close(&k.map);
	lm_free(k.word);
	lm_free(k.control);
	lm_buf_free(&k.texts);
	lm_buf_free(&k.pattern);
	if (rc) tok_free(t);
	else *out = t;
	return rc;
}

int tekken_load(struct tok **out, struct folder *f, const char *path, struct lm_err *err)
{
	return load_file(out, f, path, read_file, err);
}

int tiktoken_load(struct tok **out, struct folder *f, const char *path, struct lm_err *err)
{
	return load_file(out, f, path, read_lines, err);
}
