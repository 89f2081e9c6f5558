/* tok_gguf.c - a tokenizer from a GGUF's metadata.
 *
 * A GGUF holds tokens, types, merges or scores, and the *names* of a model and of a pre-tokenizer; the pipeline behind
 * the names is written here and in families.c in the words of tokenizer.json. */
#include "base/json.h"
#include "tokenizer/tok_impl.h"
#include <ctype.h>
#include <string.h>

#define KEY  "tokenizer.ggml."

static bool is(const char *s, size_t n, const char *word) { return strlen(word) == n && !memcmp(s, word, n); }

/* What a name in tokenizer.ggml.model stands for. */
struct kind {
	const char *name;
	const struct model *model;
	enum rank_by rank_by;
	unsigned flags; /* enum family_flag */
	bool bytes, byte_fallback, fuse_unk, by_family, scores;
	const char *normalizer, *pre_tokenizer, *decoder;
};
static const struct kind kinds[] = {
	{ .name = "gpt2", .model = &model_bpe, .rank_by = RANK_MERGES, .bytes = true, .by_family = true,
	  .decoder = "{\"type\":\"ByteLevel\"}" },
	{ .name = "llama", .flags = FAMILY_BOS | KIND_SPM_IDS, .model = &model_bpe, .rank_by = RANK_SCORE, .byte_fallback = true, .fuse_unk = true,
	  .scores = true,
	  .normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" MARK "\"},"
			"{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}]}",
	  .decoder = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" MARK "\"},"
		     "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
		     "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}" },
	{ .name = "gemma4", .flags = FAMILY_BOS | KIND_BOS_ALWAYS, .model = &model_bpe, .rank_by = RANK_MERGES, .byte_fallback = true, .fuse_unk = true,
	  .normalizer = "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}",
	  .decoder = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" MARK "\"},"
		     "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}" },
	{ .name = "bert", .flags = FAMILY_BOS | FAMILY_SEP | KIND_CLS, .model = &model_wordpiece,
	  .normalizer = "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
			"\"strip_accents\":null,\"lowercase\":true}",
	  .pre_tokenizer = "{\"type\":\"BertPreTokenizer\"}",
	  .decoder = "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}" },
	{ .name = "t5", .flags = KIND_EOS, .model = &model_unigram, .scores = true, .fuse_unk = true,
	  .normalizer = "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"\"}",
	  .pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":"
			   "\"Metaspace\",\"replacement\":\"" MARK "\",\"prepend_scheme\":\"always\",\"split\":true}]}",
	  .decoder = "{\"type\":\"Metaspace\",\"replacement\":\"" MARK "\",\"prepend_scheme\":\"always\",\"split\":true}" },
};

static const struct kind *find_kind(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (is(name, n, kinds[i].name)) return &kinds[i];
	return NULL;
}

/* ---- the lists ------------------------------------------------------------------------------------------- */

static int load_types(struct tok *t, struct lm_err *err)
{
	enum file_type e;
	int64_t n;
	const uint8_t *p = file_arr_raw(t->file, KEY "token_type", &e, &n);
	if (!p && file_has(t->file, KEY "token_type"))
		return lm_fail(err, LM_EFORMAT, KEY "token_type is not an array of numbers");
	if (!p) return 0;
	if (n != t->n || (e != FT_I32 && e != FT_U32 && e != FT_U8 && e != FT_I8))
		return lm_fail(err, LM_EFORMAT,
			       KEY "token_type: %d integers expected, one per token, but there are %lld", t->n,
			       (long long)n);
	size_t step = e == FT_I32 || e == FT_U32 ? 4 : 1;
	for (int i = 0; i < t->n; i++, p += step) {
		int32_t v = *p;
		if (step == 4) memcpy(&v, p, 4); /* the file is little endian, and so are we */
		t->piece[i].type = v >= TYPE_NORMAL && v <= TYPE_BYTE ? (uint8_t)v : TYPE_NORMAL;
	}
	return 0;
}

static int load_scores(struct tok *t, struct lm_err *err)
{
	enum file_type e;
	int64_t n;
	t->score = file_arr_raw(t->file, KEY "scores", &e, &n);
	if (!t->score)
		return lm_fail(err, LM_EFORMAT, KEY "scores is missing: this model's tokens merge by score");
	if (n != t->n || e != FT_F32)
		return lm_fail(err, LM_EFORMAT,
			       KEY "scores: %d floats expected, one per token, but there are %lld elements", t->n,
			       (long long)n);
	return 0;
}

/* Converters write the spaces of SentencePiece's user-defined symbols as spaces; in the model they are U+2581. */
static int restore(struct tok *t, int id, const char *s, size_t n, struct lm_err *err)
{
	struct lm_buf b = { 0 };
	for (size_t i = 0; i < n; i++)
		if (s[i] == ' ') lm_buf_str(&b, MARK);
		else lm_buf_char(&b, s[i]);
	int rc = b.bad ? lm_fail(err, LM_ENOMEM, "out of memory for token %d", id)
		       : vocab_copy(t, id, b.p, b.n, TYPE_USER, err);
	lm_buf_free(&b);
	return rc;
}

static int load_tokens(struct tok *t, struct lm_err *err)
{
	const char *key = KEY "tokens", *s;
	uint64_t at = 0;
	size_t len;
	int i = 0, rc = load_types(t, err);
	for (; !rc && i < t->n && file_arr_str_next(t->file, key, &at, &s, &len); i++) {
		unsigned type = t->piece[i].type;
		if (i == 0) t->base = s;
		if (type == TYPE_USER && !t->bytes && !t->inverted && memchr(s, ' ', len)) rc = restore(t, i, s, len, err);
		else rc = vocab_set(t, i, s, len, type, err);
	}
	if (!rc && i < t->n) rc = lm_fail(err, LM_EFORMAT, "%s is not an array of strings", key);
	return rc;
}

static int load_merges(struct tok *t, struct lm_err *err)
{
	const char *key = KEY "merges", *s;
	int64_t n = file_arr_len(t->file, key);
	uint64_t at = 0;
	size_t len;
	if (n < 0 && t->rank_by == RANK_ID) return 0;
	if (n < 0) return lm_fail(err, LM_EUNSUPPORTED, "%s is missing: a vocabulary without merges", key);
	int i = 0, rc = vocab_begin_merges(t, n, err);
	for (; !rc && i < t->n_merge && file_arr_str_next(t->file, key, &at, &s, &len); i++) {
		/* a part may itself be or begin with a space */
		const char *sp = len > 2 ? memchr(s + 1, ' ', len - 2) : NULL;
		if (i == 0) t->merge_base = s;
		if (!sp)
			return lm_fail(err, LM_EFORMAT, "%s: entry %d is not two texts with a space between", key, i);
		rc = vocab_merge(t, i, s, (size_t)(sp - s), len - 1 - (size_t)(sp - s), false, err);
	}
	if (!rc && i < t->n_merge) rc = lm_fail(err, LM_EFORMAT, "%s is not an array of strings", key);
	return rc;
}

/* ---- the parts ------------------------------------------------------------------------------------------- */

static json_t *parse(const char *text) { return text ? lm_json_parse(text, strlen(text), NULL) : json_null(); }

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static void add_base64(struct lm_buf *b, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
		char c[4] = { base64[v >> 18], base64[v >> 12 & 63], i + 1 < n ? base64[v >> 6 & 63] : '=',
			      i + 2 < n ? base64[v & 63] : '=' };
		lm_buf_add(b, c, 4);
	}
}

/* What metadata says about a normalizer beyond its kind. */
static json_t *normalizer(const struct tok *t, const struct kind *k, const struct family *fam, struct lm_err *err)
{
	json_t *v = parse(fam && fam->normalizer ? fam->normalizer : k->normalizer);
	bool yes = true;
	int rc = v ? 0 : -1;
	if (k->rank_by == RANK_SCORE && file_bool(t->file, KEY "add_space_prefix", &yes) && !yes)
		rc |= json_array_remove(json_object_get(v, "normalizers"), 0);
	if (k->model == &model_wordpiece && file_bool(t->file, KEY "normalizer.lowercase", &yes))
		rc |= json_object_set_new(v, "lowercase", json_boolean(yes));
	if (k->model == &model_wordpiece && file_bool(t->file, KEY "normalizer.strip_accents", &yes))
		rc |= json_object_set_new(v, "strip_accents", json_boolean(yes));
	if (k->model == &model_unigram) {
		enum file_type e;
		int64_t n;
		const uint8_t *map = file_arr_raw(t->file, KEY "precompiled_charsmap", &e, &n);
		struct lm_buf b = { 0 };
		if (map && (e == FT_U8 || e == FT_I8)) add_base64(&b, map, (size_t)n);
		if (!b.n && !b.bad) json_decref(v), v = json_null();
		else rc |= b.bad ? -1 : json_object_set_new(v, "precompiled_charsmap", json_stringn(b.p, b.n));
		lm_buf_free(&b);
	}
	if (rc) lm_fail(err, LM_ENOMEM, "out of memory for the normalizer");
	if (rc) json_decref(v), v = NULL;
	return v;
}

static int load_parts(struct tok *t, const struct kind *k, const struct family *fam, struct lm_err *err)
{
	json_t *norm = normalizer(t, k, fam, err), *pre = NULL, *dec = NULL;
	if (!norm) return err ? err->code : LM_ENOMEM;
	pre = parse(fam ? fam->pre_tokenizer : k->pre_tokenizer);
	dec = parse(k->decoder);
	bool space = k->rank_by == RANK_SCORE;
	file_bool(t->file, KEY "add_space_prefix", &space);
	int rc = pre && dec ? 0 : -1;
	if (t->bytes && space && !rc) rc = split_prefix_space(pre);
	if (k->rank_by == RANK_SCORE && !space && !rc) rc = json_array_remove(json_object_get(dec, "decoders"), 3);
	if (rc) json_decref(pre), pre = NULL;
	return tok_parts(t, norm, pre, dec, err);
}

static int find_family(const struct file *f, const struct family **fam, struct lm_err *err)
{
	const char *pre = "default";
	size_t n = strlen(pre);
	file_str(f, KEY "pre", &pre, &n);
	*fam = family_find(pre, n);
	if (!*fam)
		return lm_fail(err, LM_EUNSUPPORTED, KEY "pre: the pre-tokenizer \"%.*s\" is not supported",
			       (int)(n < 64 ? n : 64), pre);
	if (is(pre, n, "default"))
		lm_log(LM_LOG_WARN,
		       "%s does not say how its text is split into words (" KEY "pre): a common way is taken, and answers "
		       "may be worse for it",
		       file_path(f)[0] ? file_path(f) : "the model");
	return 0;
}

/* ---- added tokens: which texts stand for a token, and what they do to the spaces around them -------------- */

/* Is "phi3" in general.name, whatever stands between its two parts?  Its special tokens swallow the white space after
 * them; GGUF has no key for it. */
static bool is_phi3(const struct file *f)
{
	const char *s, *want = "phi3";
	size_t n, k = 0;
	if (!file_str(f, "general.name", &s, &n)) return false;
	for (size_t i = 0; i < n && want[k]; i++) {
		char c = (char)tolower((unsigned char)s[i]);
		bool gap = k == 3 && (c == '-' || c == ' ' || c == '_');
		if (!gap) k = c == want[k] ? k + 1 : c == want[0];
	}
	return !want[k];
}

/* Nor for the mask tokens of these, which swallow the white space before them. */
static bool mask_strips(const struct file *f)
{
	static const char *const pres[] = { "jina-v2-es", "jina-v2-de", "jina-v2-code", "modern-bert", "roberta-bpe" };
	static const char *const archs[] = { "jina-bert-v3", "nomic-bert-moe", "modern-bert" };
	const char *s;
	size_t n;
	if (file_str(f, KEY "pre", &s, &n))
		for (size_t i = 0; i < sizeof pres / sizeof *pres; i++)
			if (is(s, n, pres[i])) return true;
	if (file_str(f, "general.architecture", &s, &n))
		for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
			if (is(s, n, archs[i])) return true;
	return false;
}

static int load_added(struct tok *t, struct lm_err *err)
{
	bool phi3 = is_phi3(t->file), mask = mask_strips(t->file);
	int rc = 0;
	for (int i = 0; i < t->n && !rc; i++) {
		const struct piece *p = &t->piece[i];
		const char *s = piece_text(t, i);
		if (p->type < TYPE_UNKNOWN || p->type > TYPE_USER || is_filler(s, p->len)) continue;
		unsigned flags = p->type == TYPE_USER ? 0 : ADDED_SPECIAL;
		if (phi3 && i != t->role[TOK_BOS] && !is(s, p->len, "<unk>") && !is(s, p->len, "<|endoftext|>"))
			flags |= ADDED_RSTRIP;
		if (mask && (is(s, p->len, "<mask>") || is(s, p->len, "[MASK]"))) flags |= ADDED_LSTRIP;
		rc = added_add(t->added, s, p->len, i, flags, err);
		if (rc) lm_context(err, "token %d: ", i);
	}
	return rc;
}

/* ---- load ------------------------------------------------------------------------------------------------ */

static int load(struct tok *t, const struct kind *k, const struct family *fam, struct lm_err *err)
{
	int rc = 0;
	t->model = k->model;
	t->rank_by = k->rank_by;
	t->bytes = k->bytes;
	t->byte_fallback = k->byte_fallback;
	t->fuse_unk = k->fuse_unk;
	t->drop_unk = k->bytes;
	t->inverted = k->model == &model_wordpiece;
	if (t->inverted) t->start = (struct affix){ MARK, 3 };
	if (fam) t->ignore_merges = fam->flags & FAMILY_IGNORE_MERGES;
	if (k->by_family && !file_has(t->file, KEY "merges") && t->ignore_merges) t->rank_by = RANK_ID;
	if (!rc) rc = load_tokens(t, err);
	if (!rc && k->scores) rc = load_scores(t, err);
	if (!rc && k->model == &model_bpe && !k->scores) rc = load_merges(t, err);
	if (!rc) rc = load_parts(t, k, fam, err);
	if (!rc) t->bytes = t->bytes && split_gives_bytes(t->split);
	if (!rc) rc = vocab_index(t, err);
	if (!rc) rc = roles_gguf(t, k->flags | (fam ? fam->flags : 0), err);
	if (!rc) rc = load_added(t, err);
	t->unk = t->role[TOK_UNK];
	return rc ? rc : vocab_finish(t, err);
}

int gguf_tok(struct tok **out, const struct file *f, struct lm_err *err)
{
	const char *model;
	size_t n;
	int64_t n_tokens = file_arr_len(f, KEY "tokens");
	if (!file_str(f, KEY "model", &model, &n))
		return lm_fail(err, LM_EFORMAT, KEY "model is missing: the file holds no tokenizer");
	const struct kind *k = find_kind(model, n);
	if (!k)
		return lm_fail(err, LM_EUNSUPPORTED, KEY "model: the tokenizer \"%.*s\" is not supported",
			       (int)(n < 64 ? n : 64), model);
	const struct family *fam = NULL;
	int rc = k->by_family ? find_family(f, &fam, err) : 0;
	if (rc) return rc;
	if (n_tokens < 0) return lm_fail(err, LM_EFORMAT, KEY "tokens is missing: the file holds no vocabulary");
	if (n_tokens == 0) return lm_fail(err, LM_EFORMAT, KEY "tokens has 0 entries");
	struct tok *t = vocab_new(n_tokens, err);
	if (!t) return err ? err->code : LM_ENOMEM;
	t->file = f;
	rc = load(t, k, fam, err);
	if (rc) tok_free(t);
	else *out = t;
	return rc;
}
