/* export.c - a tokenizer, whatever it was read from, as the metadata of a GGUF.
 *
 * A GGUF names a kind of vocabulary and, for byte-level BPE, a way to split text (families.c); what a tokenizer does must be
 * found again among these names.  Split rules are compared as JSON first, then by what they make of a text.
 * GOTCHAS
 *   - "llama" merges by the scores of products; merges of a tokenizer.json become scores, which is the same only where
 *     every pair of tokens that makes a token is a merge (as in all that came from SentencePiece);
 *   - "bert" vocabularies mark the starts of words, not their continuations;
 *   - user-defined tokens of SentencePiece are written with spaces for U+2581, as tok_gguf.c and llama.cpp expect;
 *   - ids without a token are filled, for a GGUF has as many tokens as the embedding has rows. */
#include "base/json.h"
#include "format/gguf_write.h"
#include "tokenizer/tok_impl.h"
#include <stdio.h>
#include <string.h>

#define KEY "tokenizer.ggml."

struct export {
	const struct tok *t;
	int n;                                             /* ids to write */
	const char *kind;                                  /* "gpt2", "llama", "bert", "t5", "gemma4" */
	const char *pre;                                   /* NULL: the kind has none */
	bool space;                                        /* a space is put before the text */
	const json_t *charsmap;
	struct lm_err *err;
};

static int cannot(const struct export *x, const char *what)
{
	return lm_fail(x->err, LM_EUNSUPPORTED, "the tokenizer's %s has no counterpart in a GGUF", what);
}

/* ---- comparing split rules ------------------------------------------------------------------------------- */
static bool is_type(const json_t *v, const char *type)
{
	const char *s = json_string_value(json_object_get(v, "type"));
	return s && !strcmp(s, type);
}

/* Appends the steps of a spec to *list, each without what changes nothing; sets *prefix where a step puts a space first. */
static bool steps(json_t *list, const json_t *v, bool *prefix)
{
	const json_t *sub = json_object_get(v, "pretokenizers");
	if (!sub) sub = json_object_get(v, "normalizers");
	if (!v || json_is_null(v)) return true;
	if (is_type(v, "Sequence")) {
		bool ok = true;
		for (size_t i = 0; ok && i < json_array_size(sub); i++) ok = steps(list, json_array_get(sub, i), prefix);
		return ok;
	}
	json_t *one = json_copy((json_t *)(uintptr_t)v);
	if (!one) return false;
	json_object_del(one, "trim_offsets");
	if (is_type(v, "ByteLevel")) {
		const json_t *space = json_object_get(v, "add_prefix_space"), *regex = json_object_get(v, "use_regex");
		if (!space || json_is_true(space)) *prefix = true;
		json_object_del(one, "add_prefix_space");
		json_object_set_new(one, "use_regex", json_boolean(!regex || json_is_true(regex)));
	}
	if (is_type(v, "Split") && !json_object_get(v, "invert")) json_object_set_new(one, "invert", json_false());
	return json_array_append_new(list, one) == 0;
}

/* All steps of a normalizer and a pre-tokenizer; NULL: out of memory. */
static json_t *all_steps(const json_t *norm, const json_t *split, bool *prefix)
{
	json_t *list = json_array();
	*prefix = false;
	if (list && steps(list, norm, prefix) && steps(list, split, prefix)) return list;
	json_decref(list);
	return NULL;
}

static const char probe[] =
	" Hello, World!  It's we'll THEY'RE 'S\n\n\nab12 1234567890 3.14159 0xFF  \t\t x\r\n \n  indented\n\tfoo_bar(baz) -> [1, 22, 333];"
	" caf\u00e9 cafe\u0301 na\u00efve \u00c5ngstr\u00f6m \u0130 stra\u00dfe \u4f60\u597d\u4e16\u754c\u3002\u3053\u3093\u306b\u3061\u306f "
	"\u30ab\u30bf\u30ab\u30ca \ud55c\uad6d\uc5b4 \u0417\u0434\u0440\u0430\u0432\u0441\u0442\u0432\u0443\u0439 \u0645\u0631\u062d\u0628\u0627 \u0928\u092e\u0938\u094d\u0924\u0947 "
	"\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \U0001f680\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2160\u00bd\u00b2 \u0661\u0662\u0663 \u2026\u2014\u201cquoted\u201d\u2019s "
	"http://a.b/c?d=e&f#g camelCase XMLHttpRequest don't DON'T //// === !!! ... \u00a0\u3000 \ufb01 \uff11\uff12 $100,000.00 100000000 end  ";

static int add_word(void *ud, const char *s, size_t n)
{
	gguf_put_str(ud, s, n);
	return 0;
}

/* The words that the rules make of the probe; false: none could be made. */
static bool words(const json_t *norm_spec, const json_t *split_spec, struct lm_buf *out)
{
	struct norm *norm = NULL;
	struct split *split = NULL;
	struct norm_work *nw = norm_work_new();
	struct split_work *sw = split_work_new();
	const char *s;
	size_t n;
	bool ok = nw && sw && !norm_new(&norm, norm_spec, NULL) && !split_new(&split, split_spec, NULL) &&
		  !norm_run(norm, nw, probe, sizeof probe - 1, &s, &n, NULL) &&
		  !split_run(split, sw, s, n, true, add_word, out, NULL) && !out->bad;
	norm_work_free(nw);
	split_work_free(sw);
	norm_free(norm);
	split_free(split);
	return ok;
}

static json_t *parsed(const char *text) { return text ? lm_json_parse(text, strlen(text), NULL) : json_null(); }

/* What the row does is what t does: the same steps, or the same words. */
static bool same_rules(const struct tok *t, const struct family *f, const struct lm_buf *mine, bool *space)
{
	json_t *norm = parsed(f->normalizer), *pre = parsed(f->pre_tokenizer);
	bool a = false, b = false, same = false;
	json_t *ours = all_steps(t->spec_norm, t->spec_split, &a), *its = all_steps(norm, pre, &b);
	struct lm_buf theirs = { 0 };
	if (mine) same = words(norm, pre, &theirs) && theirs.n == mine->n && !memcmp(theirs.p, mine->p, mine->n);
	else same = ours && its && json_equal(ours, its);
	*space = !mine && a && !b;
	json_decref(ours);
	json_decref(its);
	json_decref(norm);
	json_decref(pre);
	lm_buf_free(&theirs);
	return same;
}

/* The first name of the row, or the one that goes with a mask token (which swallows the space before it). */
static const char *row_name(const struct tok *t, const struct family *f, char name[64])
{
	static const char *const masked[] = { "roberta-bpe", "modern-bert" };
	for (int i = 0; t->role[TOK_MASK] >= 0 && i < 2; i++)
		if (strstr(f->names, masked[i])) return masked[i];
	sscanf(f->names, " %63s", name);
	return name;
}

static bool has_sep(const struct tok *t) { return t->n_after > 0 && t->after[0] == t->role[TOK_SEP]; }

/* Some row of families.c that splits as t does; `strict`: with the same flags. */
static const struct family *find_row(struct export *x, const struct lm_buf *mine, bool strict)
{
	const struct family *f;
	for (int i = 0; (f = family_at(i)); i++) {
		bool ignore = f->flags & FAMILY_IGNORE_MERGES, sep = f->flags & FAMILY_SEP;
		if (strstr(f->names, " default ")) continue;       /* not what any model means */
		if (x->t->rank_by != RANK_ID && ignore != x->t->ignore_merges) continue;
		if (strict && sep != has_sep(x->t)) continue;
		if (same_rules(x->t, f, mine, &x->space)) return f;
	}
	return NULL;
}

static int find_pre(struct export *x, char name[64])
{
	struct lm_buf mine = { 0 };
	const struct family *f = find_row(x, NULL, true);
	if (!f) f = find_row(x, NULL, false);
	if (!f && words(x->t->spec_norm, x->t->spec_split, &mine)) f = find_row(x, &mine, false);
	bool bad = mine.bad;
	lm_buf_free(&mine);
	if (bad) return lm_fail(x->err, LM_ENOMEM, "out of memory for the pre-tokenizer");
	if (!f) return cannot(x, "way of splitting text (normalizer, pre_tokenizer, ignore_merges)");
	x->pre = row_name(x->t, f, name);
	return 0;
}

/* ---- SentencePiece's way --------------------------------------------------------------------------------- */
static bool is_space_rule(const json_t *v)
{
	const char *from = json_string_value(json_object_get(json_object_get(v, "pattern"), "String"));
	const char *to = json_string_value(json_object_get(v, "content"));
	return is_type(v, "Replace") && from && to && !strcmp(from, " ") && !strcmp(to, MARK);
}

/* Spaces become U+2581 and nothing else is done; *space: one is put first. */
static bool spm_rules(const struct tok *t, bool *space)
{
	bool any = false, prefix = false, ok = true, escaped = false;
	json_t *list = all_steps(t->spec_norm, t->spec_split, &prefix);
	for (size_t i = 0; ok && i < json_array_size(list); i++) {
		const json_t *v = json_array_get(list, i), *scheme = json_object_get(v, "prepend_scheme");
		const char *s = json_string_value(json_object_get(v, "prepend")), *m = json_string_value(json_object_get(v, "precompiled_charsmap"));
		if (is_type(v, "Prepend")) any |= ok = s && !strcmp(s, MARK);
		else if (is_space_rule(v)) escaped = true;
		else if (is_type(v, "Metaspace")) {
			const char *how = json_string_value(scheme);
			escaped = true;
			any |= !how || strcmp(how, "never");
		} else if (is_type(v, "SentencePiece")) {
			escaped = json_is_true(json_object_get(v, "escape_whitespaces"));
			any |= json_is_true(json_object_get(v, "add_dummy_prefix"));
			ok = m && !*m && !json_is_true(json_object_get(v, "remove_extra_whitespaces")) &&
			     !json_is_true(json_object_get(v, "treat_whitespace_as_suffix"));
		} else if (!(escaped && is_type(v, "Split"))) ok = false;   /* Gemma's Split looks for a space, too late */
	}
	json_decref(list);
	*space = any;
	return ok && escaped;
}

/* The id that a merge makes; -1: none. */
static int32_t product(const struct tok *t, const struct merge *m, char *buf)
{
	memcpy(buf, merge_text(t, m), m->left);
	memcpy(buf + m->left, merge_right(t, m), m->right);
	return vocab_id(t, buf, (size_t)m->left + m->right);
}

/* Pairs of tokens that make token id. */
static int n_pairs(const struct tok *t, int32_t id)
{
	const char *s = piece_text(t, id);
	int n = t->piece[id].len, pairs = 0;
	for (int i = 1; i < n; i++)
		if (((uint8_t)s[i] & 0xC0) != 0x80)
			pairs += vocab_id(t, s, (size_t)i) >= 0 && vocab_id(t, s + i, (size_t)(n - i)) >= 0;
	return pairs;
}

/* Scores that rank products as the merges do: 1 when there are none that do, *score is for lm_free. */
static int merge_scores(struct export *x, float **score)
{
	const struct tok *t = x->t;
	int *count = lm_calloc((size_t)t->n, sizeof *count), rc = 0;
	float *s = *score = lm_calloc((size_t)x->n, sizeof *s);
	char *buf = lm_malloc(2 * 32768);
	int32_t last = -1;
	float rank = 0;
	if (!count || !s || !buf) rc = lm_fail(x->err, LM_ENOMEM, "out of memory for scores");
	for (int i = 0; !rc && i < t->n_merge; i++) {
		int32_t id = product(t, &t->merge[i], buf);
		if (id < 0) continue;
		if (id != last && count[id]) rc = 1;       /* what it makes is made by a later merge too: not one rank */
		if (id != last) s[id] = rank -= 1;
		last = id;
		count[id]++;
	}
	for (int i = 0; !rc && i < t->n_model && i < x->n; i++) {
		if (t->piece[i].type == TYPE_NORMAL && t->piece[i].len && count[i] != n_pairs(t, i)) rc = 1;
		if (!count[i]) s[i] = rank - 1;
	}
	lm_free(count);
	lm_free(buf);
	return rc;
}

/* ---- which kind ------------------------------------------------------------------------------------------ */
static const json_t *find_charsmap(const json_t *v)
{
	const json_t *map = json_object_get(v, "precompiled_charsmap"), *list = json_object_get(v, "normalizers");
	for (size_t i = 0; !map && i < json_array_size(list); i++) map = find_charsmap(json_array_get(list, i));
	return map && json_string_length(map) ? map : NULL;
}

static int choose_bpe(struct export *x, char name[64], float **score)
{
	const struct tok *t = x->t;
	if (t->end.n || t->cont.n) return cannot(x, "model BPE with a prefix or suffix of words");
	if (!t->byte_fallback && t->rank_by != RANK_SCORE) {
		x->kind = "gpt2";
		return find_pre(x, name);
	}
	x->kind = "llama";
	if (!spm_rules(t, &x->space)) return cannot(x, "normalizer and pre_tokenizer beside a model with byte_fallback");
	if (t->rank_by == RANK_SCORE) return 0;
	int rc = merge_scores(x, score);
	if (rc <= 0) return rc;
	lm_free(*score);
	*score = NULL;
	x->kind = "gemma4";                                /* merges as they are */
	x->pre = "gemma4";
	return x->space ? cannot(x, "list of merges, which cannot be put as scores,") : 0;
}

static int choose(struct export *x, char name[64], float **score)
{
	const struct tok *t = x->t;
	if (t->model == &model_bpe) return choose_bpe(x, name, score);
	if (t->model == &model_wordpiece && t->cont.n == 2 && !memcmp(t->cont.s, "##", 2)) {
		if (!is_type(t->spec_norm, "BertNormalizer") || !is_type(t->spec_split, "BertPreTokenizer"))
			return cannot(x, "normalizer or pre_tokenizer beside a model WordPiece");
		x->kind = "bert";
		return 0;
	}
	if (t->model == &model_unigram) {
		x->kind = "t5";
		x->space = true;
		x->charsmap = find_charsmap(t->spec_norm);
		return 0;
	}
	return cannot(x, t->model == &model_wordlevel ? "model WordLevel" : "model");
}

/* ---- the lists ------------------------------------------------------------------------------------------- */
static bool is_kind(const struct export *x, const char *kind) { return !strcmp(x->kind, kind); }

static int32_t type_of(const struct export *x, int id)
{
	const struct tok *t = x->t;
	const struct piece *p = &t->piece[id];
	bool spm = is_kind(x, "llama") || is_kind(x, "t5") || is_kind(x, "gemma4");
	if (spm && id == t->unk) return TYPE_UNKNOWN;
	for (int b = 0; spm && t->byte_fallback && p->len == 6 && b < 256; b++)
		if (t->byte_id[b] == id) return TYPE_BYTE;
	return p->type;
}

static void put_token(const struct export *x, struct lm_buf *b, int id)
{
	const struct tok *t = x->t;
	const char *s = piece_text(t, id);
	size_t n = t->piece[id].len;
	bool bracket = n > 2 && s[0] == '[' && s[n - 1] == ']', normal = t->piece[id].type == TYPE_NORMAL;
	struct lm_buf one = { 0 };
	if (is_kind(x, "bert") && normal && !bracket && !t->inverted) {
		if (n > 2 && !memcmp(s, "##", 2)) s += 2, n -= 2;
		else {
			lm_buf_str(&one, MARK);
			lm_buf_add(&one, s, n);
		}
	} else if (is_kind(x, "llama") && t->piece[id].type == TYPE_USER && memmem(s, n, MARK, 3)) {
		for (size_t i = 0; i < n; i++)
			if (n - i >= 3 && !memcmp(s + i, MARK, 3)) lm_buf_char(&one, ' '), i += 2;
			else lm_buf_char(&one, s[i]);
	}
	b->bad |= one.bad;
	gguf_put_str(b, one.n ? one.p : s, one.n ? one.n : n);
	lm_buf_free(&one);
}

static void put_tokens(const struct export *x, struct gguf_keys *k)
{
	struct lm_buf text = { 0 }, type = { 0 };
	for (int i = 0; i < x->n; i++) {
		int32_t its = TYPE_UNUSED;
		char filler[32];
		if (i < x->t->n && x->t->piece[i].len) {
			put_token(x, &text, i);
			its = type_of(x, i);
		} else gguf_put_str(&text, filler, (size_t)snprintf(filler, sizeof filler, "[PAD%d]", i));
		lm_buf_add(&type, &its, sizeof its);           /* we are little endian, as the file */
	}
	gguf_key_arr(k, KEY "tokens", FT_STR, (uint64_t)x->n, text.p, text.n);
	gguf_key_arr(k, KEY "token_type", FT_I32, (uint64_t)x->n, type.p, type.n);
	k->b.bad |= text.bad || type.bad;
	lm_buf_free(&text);
	lm_buf_free(&type);
}

static void put_scores(const struct export *x, struct gguf_keys *k, const float *score)
{
	const struct tok *t = x->t;
	struct lm_buf b = { 0 };
	if (!is_kind(x, "llama") && !is_kind(x, "t5")) return;
	for (int i = 0; i < x->n; i++) {
		bool own = i < t->n_model && t->piece[i].len;
		float v = score ? score[i] : !own ? 0 : t->score64 ? (float)t->score64[i] : vocab_score(t, i);
		lm_buf_add(&b, &v, sizeof v);
	}
	gguf_key_arr(k, KEY "scores", FT_F32, (uint64_t)x->n, b.p, b.n);
	k->b.bad |= b.bad;
	lm_buf_free(&b);
}

/* The two parts that a token of a ranked vocabulary (tiktoken) is merged from last: *cut bytes, 0: it is a single letter. */
static void last_merge(const struct tok *t, int32_t id, size_t *cut)
{
	const char *s = piece_text(t, id);
	size_t n = t->piece[id].len;
	uint16_t end[MAX_TOKEN + 1];
	int k = 0;
	*cut = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		i += (size_t)lm_utf8_next(s + i, n - i, &cp);
		end[k++] = (uint16_t)i;
	}
	while (k > 2) {
		int best = -1;
		int32_t rank = id;
		for (int i = 0; i + 1 < k; i++) {
			size_t from = i ? end[i - 1] : 0;
			int32_t made = vocab_id(t, s + from, end[i + 1] - from);
			if (made >= 0 && made < rank) rank = made, best = i;
		}
		if (best < 0) return;
		memmove(end + best, end + best + 1, (size_t)(--k - best) * sizeof *end);
	}
	if (k == 2) *cut = end[0];
}

static void put_merges(const struct export *x, struct gguf_keys *k)
{
	const struct tok *t = x->t;
	struct lm_buf b = { 0 }, one = { 0 };
	uint64_t n = 0;
	if (!is_kind(x, "gpt2") && !is_kind(x, "gemma4")) return;
	int all = t->rank_by == RANK_ID ? t->n_model : t->n_merge;
	for (int i = 0; i < all; i++) {
		const char *s, *right;
		size_t left, n_right;
		if (t->rank_by == RANK_ID) {
			if (t->piece[i].type != TYPE_NORMAL) continue;
			last_merge(t, i, &left);
			s = piece_text(t, i);
			right = s + left;
			n_right = t->piece[i].len - left;
			if (!left) continue;
		} else {
			s = merge_text(t, &t->merge[i]);
			left = t->merge[i].left;
			right = merge_right(t, &t->merge[i]);
			n_right = t->merge[i].right;
		}
		one.n = 0;
		lm_buf_add(&one, s, left);
		lm_buf_char(&one, ' ');
		lm_buf_add(&one, right, n_right);
		gguf_put_str(&b, lm_buf_cstr(&one), one.n);
		n++;
	}
	gguf_key_arr(k, KEY "merges", FT_STR, n, b.p ? b.p : "", b.n);
	k->b.bad |= b.bad || one.bad;
	lm_buf_free(&b);
	lm_buf_free(&one);
}

/* ---- roles, and what is put around a text ------------------------------------------------------------------ */
static void put_roles(const struct export *x, struct gguf_keys *k)
{
	static const struct { enum tok_role role; const char *key; } keys[] = {
		{ TOK_BOS, KEY "bos_token_id" },     { TOK_EOS, KEY "eos_token_id" },	  { TOK_EOT, KEY "eot_token_id" },
		{ TOK_UNK, KEY "unknown_token_id" }, { TOK_SEP, KEY "seperator_token_id" }, { TOK_PAD, KEY "padding_token_id" },
		{ TOK_CLS, KEY "cls_token_id" },     { TOK_MASK, KEY "mask_token_id" },
	};
	const struct tok *t = x->t;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		int id = t->role[keys[i].role];
		if (keys[i].role == TOK_BOS && t->n_before) id = t->before[0];
		if (keys[i].role == TOK_EOT && id == t->role[TOK_EOS]) continue;
		if (id >= 0 && id < x->n) gguf_key_u32(k, keys[i].key, (uint32_t)id);
	}
}

static int put_post(const struct export *x, struct gguf_keys *k)
{
	const struct tok *t = x->t;
	int after = t->n_after ? t->after[0] : -1;
	if (t->n_before > 1 || t->n_after > 1) return cannot(x, "post_processor, which puts several tokens on one side of a text,");
	if (after >= 0 && after != t->role[TOK_SEP] && after != t->role[TOK_EOS])
		return cannot(x, "post_processor, which ends a text with neither EOS nor SEP,");
	bool eos = after >= 0 && after == t->role[TOK_EOS];
	gguf_key_bool(k, KEY "add_bos_token", t->n_before > 0);
	if (after < 0 || eos) gguf_key_bool(k, KEY "add_eos_token", eos);
	else gguf_key_bool(k, KEY "add_sep_token", true);
	return 0;
}

static void put_rules(const struct export *x, struct gguf_keys *k)
{
	bool spm = is_kind(x, "llama") || is_kind(x, "t5");
	if (spm || x->space) gguf_key_bool(k, KEY "add_space_prefix", x->space);
	if (is_kind(x, "t5")) gguf_key_bool(k, KEY "remove_extra_whitespaces", true);
	if (is_kind(x, "bert")) {
		const json_t *lower = json_object_get(x->t->spec_norm, "lowercase"), *strip = json_object_get(x->t->spec_norm, "strip_accents");
		gguf_key_bool(k, KEY "normalizer.lowercase", !lower || json_is_true(lower));
		if (json_is_boolean(strip)) gguf_key_bool(k, KEY "normalizer.strip_accents", json_is_true(strip));
	}
}

static void put_charsmap(const struct export *x, struct gguf_keys *k)
{
	struct lm_buf b = { 0 };
	uint32_t acc = 0;
	int bits = 0;
	for (const char *p = json_string_value(x->charsmap); p && *p && *p != '='; p++) {
		static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
		const char *at = strchr(digits, *p);
		acc = acc << 6 | (uint32_t)(at ? at - digits : 0);
		if ((bits += 6) >= 8) lm_buf_char(&b, (char)(acc >> (bits -= 8)));
	}
	if (b.n) gguf_key_arr(k, KEY "precompiled_charsmap", FT_U8, b.n, b.p, b.n);
	k->b.bad |= b.bad;
	lm_buf_free(&b);
}

int tok_export(const struct tok *t, int n_vocab, struct gguf_keys *k, struct lm_err *err)
{
	struct export x = { .t = t, .n = n_vocab, .err = err };
	char name[64];
	float *score = NULL;
	if (t->n > n_vocab)
		return lm_fail(err, LM_EFORMAT, "the tokenizer has %d tokens, the embedding %d rows", t->n, n_vocab);
	int rc = choose(&x, name, &score);
	if (!rc) {
		gguf_key_str(k, KEY "model", x.kind, strlen(x.kind));
		if (x.pre) gguf_key_str(k, KEY "pre", x.pre, strlen(x.pre));
		put_tokens(&x, k);
		put_scores(&x, k, score);
		put_merges(&x, k);
		put_roles(&x, k);
		rc = put_post(&x, k);
		put_rules(&x, k);
		put_charsmap(&x, k);
	}
	lm_free(score);
	if (!rc && k->b.bad) rc = lm_fail(err, LM_ENOMEM, "out of memory for the tokenizer's metadata");
	return rc;
}

/* ---- the check ------------------------------------------------------------------------------------------- */
enum { MAX_IDS = 4096 };

static int compare(const struct tok *a, const struct tok *b, const char *s, size_t n, const char *what, int32_t *ids, struct lm_err *err)
{
	unsigned flags = TOK_ADD_BOS | TOK_ADD_EOS | TOK_PARSE_SPECIAL;
	int na = tok_encode(a, s, n, flags, ids, MAX_IDS, err), nb = na < 0 ? na : tok_encode(b, s, n, flags, ids + MAX_IDS, MAX_IDS, err);
	if (na < 0 || nb < 0) return na < 0 ? na : nb;
	if (na > MAX_IDS) na = MAX_IDS;
	if (nb > MAX_IDS) nb = MAX_IDS;
	if (na == nb && !memcmp(ids, ids + MAX_IDS, (size_t)na * sizeof *ids)) return 0;
	lm_fail(err, LM_EUNSUPPORTED, "%s", what);
	return 1;
}

int tok_compare(const struct tok *a, const struct tok *b, struct lm_err *err)
{
	struct lm_buf text = { 0 };
	int32_t *ids = lm_calloc(2 * MAX_IDS, sizeof *ids);
	int rc = ids ? compare(a, b, probe, sizeof probe - 1, "a text of many scripts", ids, err)
		     : lm_fail(err, LM_ENOMEM, "out of memory for comparing tokenizers");
	for (int i = 0, n = 0; !rc && i < a->n && n < 256; i++) {
		unsigned type = a->piece[i].type;
		if ((type != TYPE_CONTROL && type != TYPE_USER) || !a->piece[i].len) continue;
		if (memmem(piece_text(a, i), a->piece[i].len, MARK, 3)) continue;      /* stands for spaces */
		char what[300];
		text.n = 0;
		lm_buf_fmt(&text, "a %.*s b%.*sc", a->piece[i].len, piece_text(a, i), a->piece[i].len, piece_text(a, i));
		snprintf(what, sizeof what, "the token %.*s within a text", a->piece[i].len < 200 ? a->piece[i].len : 200, piece_text(a, i));
		rc = compare(a, b, lm_buf_cstr(&text), text.n, what, ids, err);
		n++;
	}
	if (!rc && text.bad) rc = lm_fail(err, LM_ENOMEM, "out of memory for comparing tokenizers");
	lm_buf_free(&text);
	lm_free(ids);
	return rc;
}
