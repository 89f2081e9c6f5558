/* folder.c - the JSON files beside a vocabulary: which tokens have which role, which are added, what is put before and
 * after a text.  Meant to be what transformers makes of the same files. */
#include "tokenizer/folder.h"
#include "base/json.h"
#include "tokenizer/tok_impl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_EXTRA = 1 << 16, MAX_GAP = 1 << 20 };
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* ---- classes --------------------------------------------------------------------------------------------- */
#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}"
#define SPLIT(regex, behavior, invert) "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"" behavior \
	"\",\"invert\":" invert "}"
#define THEN_BYTES(split, again) "{\"type\":\"Sequence\",\"pretokenizers\":[" split ",{\"type\":\"ByteLevel\"," \
	"\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":" again "}]}"
#define QWEN2 "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+" \
	"[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define CLIP "<\\\\|startoftext\\\\|>|<\\\\|endoftext\\\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|" \
	"[^\\\\s\\\\p{L}\\\\p{N}]+"
#define BERT_TOKENS { [TOK_UNK] = "[UNK]", [TOK_SEP] = "[SEP]", [TOK_PAD] = "[PAD]", [TOK_CLS] = "[CLS]", \
	[TOK_MASK] = "[MASK]" }
#define ROBERTA_TOKENS { [TOK_BOS] = "<s>", [TOK_EOS] = "</s>", [TOK_UNK] = "<unk>", [TOK_SEP] = "</s>", \
	[TOK_PAD] = "<pad>", [TOK_CLS] = "<s>", [TOK_MASK] = "<mask>" }
#define SPM_TOKENS .token = { [TOK_BOS] = "<s>", [TOK_EOS] = "</s>", [TOK_UNK] = "<unk>" }

/* The first row of a kind is for classes that are not named here. */
static const struct folder_row rows[] = {
	{ " GPT2Tokenizer CodeGenTokenizer gpt2 codegen gptj gpt_neo ", ROW_VOCAB, ".",
	  { [TOK_BOS] = "<|endoftext|>", [TOK_EOS] = "<|endoftext|>", [TOK_UNK] = "<|endoftext|>" }, NULL, BYTE_LEVEL, NULL },
	{ " RobertaTokenizer BartTokenizer LongformerTokenizer LEDTokenizer roberta bart longformer led ", ROW_VOCAB, "c.s",
	  ROBERTA_TOKENS, NULL, BYTE_LEVEL, NULL },
	{ " CLIPTokenizer clip clip_text_model ", ROW_VOCAB, "b.e",
	  { [TOK_BOS] = "<|startoftext|>", [TOK_EOS] = "<|endoftext|>", [TOK_UNK] = "<|endoftext|>",
	    [TOK_PAD] = "<|endoftext|>" },
	  "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":"
	  "\"\\\\s+\"},\"content\":\" \"},{\"type\":\"Lowercase\"}]}",
	  THEN_BYTES(SPLIT(CLIP, "Removed", "true"), "true"), "</w>" },
	{ " Qwen2Tokenizer qwen2 qwen2_moe qwen3 qwen3_moe ", ROW_VOCAB, ".",
	  { [TOK_EOS] = "<|endoftext|>", [TOK_UNK] = "<|endoftext|>", [TOK_PAD] = "<|endoftext|>" }, "{\"type\":\"NFC\"}",
	  THEN_BYTES(SPLIT(QWEN2, "Isolated", "false"), "false"), NULL },
	{ " WhisperTokenizer DebertaTokenizer BlenderbotTokenizer MvpTokenizer CTRLTokenizer XLMTokenizer FSMTTokenizer ",
	  ROW_VOCAB | ROW_REFUSE, ".", { 0 }, NULL, NULL, NULL },
	{ " BertTokenizer DistilBertTokenizer ElectraTokenizer MobileBertTokenizer LayoutLMTokenizer bert distilbert electra ",
	  ROW_TXT, "c.s", BERT_TOKENS, NULL, NULL, NULL },
	{ " MPNetTokenizer mpnet ", ROW_TXT, "c.s",
	  { [TOK_BOS] = "<s>", [TOK_EOS] = "</s>", [TOK_UNK] = "[UNK]", [TOK_SEP] = "</s>", [TOK_PAD] = "<pad>",
	    [TOK_CLS] = "<s>", [TOK_MASK] = "<mask>" }, NULL, NULL, NULL },
	{ " BertJapaneseTokenizer EsmTokenizer PhobertTokenizer BertweetTokenizer ", ROW_TXT | ROW_REFUSE, ".", { 0 }, NULL,
	  NULL, NULL },
	{ " ", ROW_TEKKEN, "b.",
	  { [TOK_BOS] = "<s>", [TOK_EOS] = "</s>", [TOK_UNK] = "<unk>", [TOK_PAD] = "<pad>" }, NULL, NULL, NULL },
	{ " ", ROW_TIKTOKEN, "b.", { 0 }, NULL, NULL, NULL },
	{ " PreTrainedTokenizer TokenizersBackend SentencePieceBackend ", ROW_SPM, ".", { 0 }, NULL, NULL, NULL },
	{ " LlamaTokenizer CodeLlamaTokenizer llama mistral mixtral phi3 ", ROW_SPM, "b.", SPM_TOKENS, NULL, NULL, NULL },
	{ " GemmaTokenizer gemma gemma2 gemma3 gemma3_text vaultgemma ", ROW_SPM, "b.",
	  { [TOK_BOS] = "<bos>", [TOK_EOS] = "<eos>", [TOK_UNK] = "<unk>", [TOK_PAD] = "<pad>" }, NULL, NULL, NULL },
	{ " T5Tokenizer MT5Tokenizer t5 mt5 umt5 ", ROW_SPM | ROW_T5, ".e",
	  { [TOK_EOS] = "</s>", [TOK_UNK] = "<unk>", [TOK_PAD] = "<pad>" }, NULL, NULL, NULL },
	{ " DebertaV2Tokenizer deberta-v2 BigBirdTokenizer big_bird RemBertTokenizer rembert ", ROW_SPM, "c.s",
	  { [TOK_BOS] = "[CLS]", [TOK_EOS] = "[SEP]", [TOK_UNK] = "[UNK]", [TOK_SEP] = "[SEP]", [TOK_PAD] = "[PAD]",
	    [TOK_CLS] = "[CLS]", [TOK_MASK] = "[MASK]" }, NULL, NULL, NULL },
	{ " XLMRobertaTokenizer xlm-roberta XLMRobertaXLTokenizer xlm-roberta-xl ", ROW_SPM | ROW_FAIRSEQ, "b.e",
	  ROBERTA_TOKENS, NULL, NULL, NULL },
	{ " AlbertTokenizer XLNetTokenizer PegasusTokenizer MBartTokenizer MBart50Tokenizer M2M100Tokenizer NllbTokenizer "
	  "CamembertTokenizer BarthezTokenizer XGLMTokenizer PLBartTokenizer MarianTokenizer SeamlessM4TTokenizer "
	  "Speech2TextTokenizer XLMProphetNetTokenizer FNetTokenizer ReformerTokenizer ", ROW_SPM | ROW_REFUSE, ".", { 0 },
	  NULL, NULL, NULL },
};
static const struct folder_row plain = { " ", 0, ".", { 0 }, NULL, NULL, NULL };

static const struct folder_row *find_row(const char *name, unsigned kind)
{
	char word[80];
	size_t n = name ? strlen(name) : 0;
	if (n > 4 && !strcmp(name + n - 4, "Fast")) n -= 4;
	if (n == 0 || n > sizeof word - 3) return NULL;
	snprintf(word, sizeof word, " %.*s ", (int)n, name);
	for (int i = 0; i < COUNT(rows); i++)
		if (rows[i].flags & kind && strstr(rows[i].names, word)) return &rows[i];
	return NULL;
}

static int choose_row(struct folder *f, unsigned kind, struct lm_err *err)
{
	const char *class = json_string_value(json_object_get(f->config, "tokenizer_class"));
	f->row = find_row(class, kind);
	if (!f->row) f->row = find_row(json_string_value(json_object_get(f->model, "model_type")), kind);
	for (int i = 0; !f->row && i < COUNT(rows); i++)
		if (rows[i].flags & kind) f->row = &rows[i];
	if (!f->row) f->row = &plain;
	if (f->row->flags & ROW_REFUSE)
		return lm_fail(err, LM_EUNSUPPORTED, "%s: the tokenizer class %s is supported by its tokenizer.json only", f->dir,
			       class ? class : "of config.json");
	return 0;
}

/* ---- files ----------------------------------------------------------------------------------------------- */
bool folder_has(const struct folder *f, const char *name, char path[FOLDER_MAX_PATH])
{
	struct stat st;
	int n = snprintf(path, FOLDER_MAX_PATH, "%s/%s", f->dir, name);
	return n > 0 && n < FOLDER_MAX_PATH && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int read_json(const struct folder *f, const char *name, json_t **out, struct lm_err *err)
{
	char path[FOLDER_MAX_PATH];
	struct lm_buf b = { 0 };
	if (!folder_has(f, name, path)) return 0;
	int rc = lm_read_file(&b, path, FOLDER_MAX_JSON, err);
	if (!rc && !(*out = lm_json_python(b.p ? b.p : "", b.n, err))) {
		lm_context(err, "%s: ", path);
		rc = err ? err->code : LM_EFORMAT;
	}
	if (!rc && !json_is_object(*out)) rc = lm_fail(err, LM_EFORMAT, "%s holds no JSON object", path);
	lm_buf_free(&b);
	return rc;
}

int folder_bool(const struct folder *f, const char *key, bool *v, struct lm_err *err)
{
	const json_t *j = json_object_get(f->config, key);
	if (!j || json_is_null(j)) return 0;
	if (!json_is_boolean(j))
		return lm_fail(err, LM_EFORMAT, "%s/tokenizer_config.json: \"%s\" is neither true nor false", f->dir, key);
	*v = json_is_true(j);
	return 0;
}

/* ---- added tokens and special tokens --------------------------------------------------------------------- */
static int add_extra(struct folder *f, const json_t *text, int64_t id, unsigned flags, struct lm_err *err)
{
	const char *s = json_string_value(text);
	size_t n = json_string_length(text);
	if (!s || n == 0 || json_object_getn(f->seen, s, n)) return 0;
	if (f->n_extra == MAX_EXTRA)
		return lm_fail(err, LM_ELIMIT, "%s: more than %d added tokens", f->dir, MAX_EXTRA);
	if ((f->n_extra & (f->n_extra - 1)) == 0) {
		size_t cap = f->n_extra ? 2 * (size_t)f->n_extra : 1;
		struct extra *e = lm_realloc(f->extra, cap * sizeof *e);
		if (!e) return lm_fail(err, LM_ENOMEM, "out of memory for added tokens");
		f->extra = e;
	}
	f->extra[f->n_extra++] = (struct extra){ s, n, id, flags };
	return json_object_setn_new(f->seen, s, n, json_integer(f->n_extra - 1))
		       ? lm_fail(err, LM_ENOMEM, "out of memory for added tokens") : 0;
}

static unsigned flag(const json_t *o, const char *key, unsigned bit, bool unless_said)
{
	const json_t *v = json_object_get(o, key);
	return (v ? json_is_true(v) : unless_said) ? bit : 0;
}

/* An AddedToken as JSON: an object with "content", or a text.  Returns its text. */
static const json_t *token_of(const json_t *v, bool special, unsigned *flags)
{
	*flags = special ? ADDED_SPECIAL : ADDED_NORMALIZED;
	if (!json_is_object(v)) return json_is_string(v) ? v : NULL;
	*flags = flag(v, "special", ADDED_SPECIAL, special);
	*flags |= flag(v, "lstrip", ADDED_LSTRIP, false) | flag(v, "rstrip", ADDED_RSTRIP, false) |
		  flag(v, "single_word", ADDED_SINGLE_WORD, false);
	*flags |= flag(v, "normalized", ADDED_NORMALIZED, !(*flags & ADDED_SPECIAL));
	v = json_object_get(v, "content");
	return json_is_string(v) ? v : NULL;
}

static int bad_token(const struct folder *f, const char *file, const char *key, struct lm_err *err)
{
	return lm_fail(err, LM_EFORMAT, "%s/%s: \"%.60s\" is not an added token", f->dir, file, key);
}

static int read_added_decoder(struct folder *f, const json_t *all, struct lm_err *err)
{
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)all, key, v) {
		unsigned flags;
		char *end;
		long long id = strtoll(key, &end, 10);
		const json_t *text = token_of(v, false, &flags);
		if (!text || *end || end == key || id < 0) return bad_token(f, "tokenizer_config.json", key, err);
		int rc = add_extra(f, text, id, flags, err);
		if (rc) return rc;
	}
	return 0;
}

static bool named_special(const struct folder *f, const char *s)
{
	for (int r = 0; r < N_TOKEN; r++)
		if (f->token[r] && !strcmp(f->token[r], s)) return true;
	return false;
}

static int read_added_file(struct folder *f, struct lm_err *err)
{
	const char *key;
	json_t *v;
	if (!f->added) return 0;
	if (!f->made && !(f->made = json_array())) return lm_fail(err, LM_ENOMEM, "out of memory for added tokens");
	json_object_foreach(f->added, key, v) {
		if (!json_is_integer(v) || json_integer_value(v) < 0) return bad_token(f, "added_tokens.json", key, err);
		unsigned flags = named_special(f, key) ? ADDED_SPECIAL : ADDED_NORMALIZED;
		json_t *text = json_string(key);
		if (json_array_append_new(f->made, text)) return lm_fail(err, LM_ENOMEM, "out of memory for added tokens");
		int rc = add_extra(f, text, json_integer_value(v), flags, err);
		if (rc) return rc;
	}
	return 0;
}

static const char *const token_key[N_TOKEN] = {
	[TOK_BOS] = "bos_token", [TOK_EOS] = "eos_token", [TOK_EOT] = "eot_token", [TOK_PAD] = "pad_token",
	[TOK_UNK] = "unk_token", [TOK_SEP] = "sep_token", [TOK_CLS] = "cls_token", [TOK_MASK] = "mask_token",
};
static const char *const id_key[N_TOKEN] = {
	[TOK_BOS] = "bos_token_id", [TOK_EOS] = "eos_token_id", [TOK_PAD] = "pad_token_id", [TOK_SEP] = "sep_token_id",
};

/* What the files say of a role; false: nothing.  The map is older, and counts where the other has no added tokens. */
static bool stated_token(const struct folder *f, int role, const json_t **v, const char **file)
{
	bool legacy = !json_object_get(f->config, "added_tokens_decoder");
	*file = "special_tokens_map.json";
	if (legacy && (*v = json_object_get(f->map, token_key[role]))) return true;
	*file = "tokenizer_config.json";
	return (*v = json_object_get(f->config, token_key[role])) != NULL;
}

/* Texts of the roles, into f->token; as extras when `add`. */
static int read_tokens(struct folder *f, bool add, struct lm_err *err)
{
	static const uint8_t order[] = { TOK_BOS, TOK_EOS, TOK_UNK, TOK_SEP, TOK_PAD, TOK_CLS, TOK_MASK, TOK_EOT };
	for (int i = 0; i < COUNT(order); i++) {
		int role = order[i], rc = 0;
		const json_t *v, *text = NULL;
		const char *file;
		unsigned flags = ADDED_SPECIAL;
		if (stated_token(f, role, &v, &file)) {
			if (!json_is_null(v) && !json_is_false(v) && !(text = token_of(v, true, &flags)))
				return bad_token(f, file, token_key[role], err);
			f->token[role] = json_string_value(text);
			if (f->token[role] && !*f->token[role]) f->token[role] = NULL;
		} else if (!add) {
			f->token[role] = f->row->token[role];
		}
		if (add && text) rc = add_extra(f, text, EXTRA_NEXT, flags | ADDED_SPECIAL, err);
		else if (add && f->token[role]) {
			json_t *own = json_string(f->token[role]);
			if (json_array_append_new(f->made, own)) return lm_fail(err, LM_ENOMEM, "out of memory for added tokens");
			rc = add_extra(f, own, EXTRA_NEXT, flags, err);
		}
		if (rc) return rc;
	}
	return 0;
}

static int read_more(struct folder *f, const json_t *list, struct lm_err *err)
{
	size_t i;
	const json_t *v;
	if (json_is_object(list)) {
		const char *key;
		json_t *item;
		json_object_foreach((json_t *)list, key, item) {
			int rc = add_extra(f, item, EXTRA_NEXT, ADDED_SPECIAL, err);
			if (rc) return rc;
		}
	}
	for (i = 0; i < json_array_size(list); i++) {
		unsigned flags;
		v = token_of(json_array_get(list, i), true, &flags);
		int rc = v ? add_extra(f, v, EXTRA_NEXT, flags | ADDED_SPECIAL, err) : 0;
		if (rc) return rc;
	}
	return 0;
}

/* T5's sentinels, <extra_id_0> last of all. */
static int read_sentinels(struct folder *f, struct lm_err *err)
{
	const json_t *n = json_object_get(f->config, "extra_ids");
	json_int_t count = json_is_integer(n) ? json_integer_value(n) : 100;
	if (!(f->row->flags & ROW_T5)) return 0;
	if (count < 0 || count > 10000)
		return lm_fail(err, LM_EFORMAT, "%s/tokenizer_config.json: \"extra_ids\" is %lld", f->dir, (long long)count);
	for (json_int_t i = count - 1; i >= 0; i--) {
		json_t *text = json_sprintf("<extra_id_%d>", (int)i);
		if (json_array_append_new(f->made, text)) return lm_fail(err, LM_ENOMEM, "out of memory for added tokens");
		int rc = add_extra(f, text, EXTRA_NEXT, ADDED_SPECIAL, err);
		if (rc) return rc;
	}
	return 0;
}

static int read_extras(struct folder *f, struct lm_err *err)
{
	const json_t *dec = json_object_get(f->config, "added_tokens_decoder");
	f->seen = json_object();
	f->made = json_array();
	if (!f->seen || !f->made) return lm_fail(err, LM_ENOMEM, "out of memory for added tokens");
	if (dec && !json_is_object(dec)) return bad_token(f, "tokenizer_config.json", "added_tokens_decoder", err);
	int rc = dec ? read_added_decoder(f, dec, err) : read_added_file(f, err);
	if (!rc) rc = read_tokens(f, true, err);
	if (!rc) rc = read_sentinels(f, err);
	if (!rc) rc = read_more(f, json_object_get(f->config, "additional_special_tokens"), err);
	if (!rc) rc = read_more(f, json_object_get(f->config, "extra_special_tokens"), err);
	if (!rc && !dec) rc = read_more(f, json_object_get(f->map, "additional_special_tokens"), err);
	return rc;
}

int folder_read(struct folder *f, unsigned kind, struct lm_err *err)
{
	int rc = read_json(f, "tokenizer_config.json", &f->config, err);
	if (!rc) rc = read_json(f, "special_tokens_map.json", &f->map, err);
	if (!rc) rc = read_json(f, "generation_config.json", &f->generation, err);
	if (!rc) rc = read_json(f, "config.json", &f->model, err);
	if (!rc && kind) rc = read_json(f, "added_tokens.json", &f->added, err);
	if (!rc) rc = choose_row(f, kind, err);
	if (!rc) rc = read_tokens(f, false, err);
	return !rc && kind ? read_extras(f, err) : rc;
}

void folder_free(struct folder *f)
{
	json_decref(f->config);
	json_decref(f->map);
	json_decref(f->added);
	json_decref(f->generation);
	json_decref(f->model);
	json_decref(f->seen);
	json_decref(f->made);
	lm_free(f->extra);
}

/* ---- into a vocabulary ----------------------------------------------------------------------------------- */
/* Marks the extras without an id whose text the base vocabulary has. */
static void find_own(struct folder *f, folder_text *text, const void *vocab)
{
	bool begins[256] = { false };
	for (int i = 0; i < f->n_extra; i++)
		if (f->extra[i].id == EXTRA_NEXT) begins[(uint8_t)f->extra[i].s[0]] = true;
	for (int id = 0; id < f->n_base; id++) {
		size_t n = 0;
		const char *s = text(vocab, id, &n);
		if (!s || n == 0 || !begins[(uint8_t)*s]) continue;
		const json_t *at = json_object_getn(f->seen, s, n);
		struct extra *e = at ? &f->extra[json_integer_value(at)] : NULL;
		if (e && e->id == EXTRA_NEXT) e->id = EXTRA_OWN;
	}
}

int folder_place(struct folder *f, int n_base, folder_text *text, const void *vocab, int *n_all, struct lm_err *err)
{
	int64_t n = n_base;
	f->n_base = n_base;
	find_own(f, text, vocab);
	for (int i = 0; i < f->n_extra; i++) {
		const struct extra *e = &f->extra[i];
		if (e->id >= (int64_t)n_base + MAX_GAP)
			return lm_fail(err, LM_ELIMIT, "%s: the added token %lld is too far from the vocabulary of %d tokens",
				       f->dir, (long long)e->id, n_base);
		if (e->id >= n) n = e->id + 1;
	}
	for (int i = 0; i < f->n_extra; i++)
		if (f->extra[i].id == EXTRA_NEXT) f->extra[i].id = n++;
	*n_all = (int)n;
	return 0;
}

int folder_texts(const struct folder *f, struct tok *t, struct lm_err *err)
{
	int rc = 0;
	for (int i = 0; !rc && i < f->n_extra; i++) {
		const struct extra *e = &f->extra[i];
		if (e->id < 0) continue;
		int32_t id = (int32_t)e->id;
		if (t->piece[id].len == e->n && !memcmp(piece_text(t, id), e->s, e->n)) continue;
		rc = vocab_copy(t, id, e->s, e->n, TYPE_USER, err);
	}
	return rc;
}

/* A token that is matched in the normalized text is given as normalized. */
static int add_normalized(struct tok *t, const struct extra *e, int32_t id, struct lm_err *err)
{
	struct norm_work *w = norm_work_new();
	const char *s;
	size_t n;
	int rc = w ? norm_run(t->norm, w, e->s, e->n, &s, &n, err) : lm_fail(err, LM_ENOMEM, "out of memory for added tokens");
	if (!rc) rc = added_add(t->added, s, n, id, e->flags, err);
	norm_work_free(w);
	return rc;
}

static int add_tokens(const struct folder *f, struct tok *t, struct lm_err *err)
{
	int rc = 0;
	for (int i = 0; !rc && i < f->n_extra; i++) {
		const struct extra *e = &f->extra[i];
		int32_t id = e->id >= 0 ? (int32_t)e->id : vocab_id(t, e->s, e->n);
		unsigned flags = f->row->flags & ROW_SPM ? e->flags & ~(unsigned)ADDED_NORMALIZED : e->flags;
		if (id < 0) continue;
		if (t->piece[id].type != TYPE_UNKNOWN) t->piece[id].type = flags & ADDED_SPECIAL ? TYPE_CONTROL : TYPE_USER;
		if (flags & ADDED_NORMALIZED) rc = add_normalized(t, e, id, err);
		else rc = added_add(t->added, e->s, e->n, id, flags, err);
	}
	return rc;
}

/* ---- roles ----------------------------------------------------------------------------------------------- */
/* An id, or a list of them, in a JSON file; all become ends of generation when `ends`. */
static int read_ids(const struct folder *f, struct tok *t, const json_t *file, const char *name, int role, bool ends,
		    struct lm_err *err)
{
	const json_t *v = id_key[role] ? json_object_get(file, id_key[role]) : NULL;
	size_t n = json_is_array(v) ? json_array_size(v) : v && !json_is_null(v);
	for (size_t i = 0; i < n; i++) {
		const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;
		json_int_t id = json_integer_value(one);
		if (!json_is_integer(one))
			return lm_fail(err, LM_EFORMAT, "%s/%s: \"%s\" is not a token id or a list of them", f->dir, name,
				       id_key[role]);
		if (id < 0 || id >= t->n) continue;          /* padded embeddings, other heads: not tokens of ours */
		if (ends) roles_add_end(t, (int32_t)id);
		if (t->role[role] < 0) t->role[role] = (int32_t)id;
	}
	return 0;
}

int folder_roles(const struct folder *f, struct tok *t, struct lm_err *err)
{
	int rc = 0;
	for (int r = 0; r < N_TOKEN; r++) {
		int32_t id = f->token[r] ? vocab_any(t, f->token[r], strlen(f->token[r])) : -1;
		if (id >= 0) t->role[r] = id;
	}
	for (int r = 0; !rc && r < N_TOKEN; r++) {
		rc = read_ids(f, t, f->generation, "generation_config.json", r, r == TOK_EOS, err);
		if (!rc && t->role[r] < 0) rc = read_ids(f, t, f->model, "config.json", r, false, err);
	}
	if (rc) return rc;
	if (t->role[TOK_BOS] < 0) t->role[TOK_BOS] = t->n_before ? t->before[0] : t->role[TOK_CLS];
	roles_ends(t, t->role[TOK_EOT] >= 0);
	return 0;
}

static void add_post(struct tok *t, char letter, bool before)
{
	int role = letter == 'b' ? TOK_BOS : letter == 'e' ? TOK_EOS : letter == 's' ? TOK_SEP : TOK_CLS;
	int32_t id = t->role[role];
	if (id >= 0 && before) t->before[t->n_before++] = id;
	else if (id >= 0) t->after[t->n_after++] = id;
}

/* add_bos_token or add_eos_token, where given, stand in for what the class does. */
static int make_post(const struct folder *f, struct tok *t, struct lm_err *err)
{
	bool bos = false, eos = false, before = true;
	int rc = folder_bool(f, "add_bos_token", &bos, err);
	if (!rc) rc = folder_bool(f, "add_eos_token", &eos, err);
	if (rc) return rc;
	if (json_is_boolean(json_object_get(f->config, "add_bos_token")) ||
	    json_is_boolean(json_object_get(f->config, "add_eos_token"))) {
		if (bos) add_post(t, 'b', true);
		if (eos) add_post(t, 'e', false);
		return 0;
	}
	for (const char *p = f->row->post; *p; p++)
		if (*p == '.') before = false;
		else add_post(t, *p, before);
	return 0;
}

int folder_apply(const struct folder *f, struct tok *t, struct lm_err *err)
{
	int rc = add_tokens(f, t, err);
	if (!rc) rc = folder_roles(f, t, err);
	return rc ? rc : make_post(f, t, err);
}
