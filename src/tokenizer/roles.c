/* roles.c - which tokens begin, end, pad and stop: ids of the metadata, and for files that state too little
 * the texts by which models of known families write them. */
#include "tokenizer/tok_impl.h"
#include <string.h>

static const char *const role_key[N_ROLE] = {
	[TOK_BOS] = "tokenizer.ggml.bos_token_id",     [TOK_EOS] = "tokenizer.ggml.eos_token_id",
	[TOK_EOT] = "tokenizer.ggml.eot_token_id",     [TOK_PAD] = "tokenizer.ggml.padding_token_id",
	[TOK_UNK] = "tokenizer.ggml.unknown_token_id", [TOK_SEP] = "tokenizer.ggml.seperator_token_id",
	[TOK_CLS] = "tokenizer.ggml.cls_token_id",     [TOK_MASK] = "tokenizer.ggml.mask_token_id",
};
static const char *const end_key[] = {"tokenizer.ggml.eom_token_id", "tokenizer.ggml.fim_pad_token_id",
				      "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id"};
/* The first of these that exists is the end of a turn. */
static const char *const turn_text[] = {"<|eot_id|>",
					"<|im_end|>",
					"<|end|>",
					"<end_of_turn>",
					"<turn|>",
					"<|endoftext|>",
					"<|end_of_text|>",
					"<EOT>",
					"_<EOT>",
					"[EOT]",
					"<end_of_utterance>",
					"<\xEF\xBD\x9C"
					"end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"};
static const char *const end_text[] = {
	"<|eot_id|>",
	"<|eom_id|>",
	"<|im_end|>",
	"<|end|>",
	"<|return|>",
	"<|call|>",
	"<|flush|>",
	"<|calls|>",
	"<end_of_turn>",
	"<turn|>",
	"<eos>",
	"<|endoftext|>",
	"<|end_of_text|>",
	"<EOT>",
	"_<EOT>",
	"[EOT]",
	"[EOS]",
	"</s>",
	"<end_of_utterance>",
	"<\xEF\xBD\x9C"
	"end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
	"<|tool_response>",
	"[e~[",
	/* fill-in-the-middle padding, repository and file separators */
	"<|fim_pad|>",
	"<fim-pad>",
	"<fim_pad>",
	"<|fim_repo|>",
	"<|repo_name|>",
	"<fim-repo>",
	"<REPO>",
	"<reponame>",
	"<|file_sep|>",
};
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* -1 when absent; some converters write "none" as -1. */
static int read_id(const struct tok *t, const char *key, int *id, struct lm_err *err)
{
	int64_t v;
	*id = -1;
	if (!file_has(t->file, key)) return 0;
	if (!file_i64(t->file, key, &v)) return lm_fail(err, LM_EFORMAT, "%s is not an integer", key);
	if (v == -1 || v == UINT32_MAX) return 0;
	if (v < 0 || v >= t->n)
		return lm_fail(err, LM_EFORMAT, "%s is %lld, but the vocabulary has %d tokens", key,
			       (long long)v, t->n);
	*id = (int)v;
	return 0;
}

/* A token that the model was given for a purpose, by its text: ordinary tokens may have the same text. */
static int special_id(const struct tok *t, const char *text)
{
	int32_t id = vocab_any(t, text, strlen(text));
	if (id < 0) return -1;
	unsigned type = t->piece[id].type;
	if (type == TYPE_CONTROL) return id;
	/* "</s>" is a user-defined symbol of HTML in gemma 3 */
	return type == TYPE_USER && strcmp(text, "</s>") != 0 ? id : -1;
}

bool tok_is_end(const struct tok *t, int32_t id)
{
	for (int i = 0; i < t->n_end; i++)
		if (t->end_id[i] == id) return true;
	return false;
}

void roles_add_end(struct tok *t, int32_t id)
{
	if (id >= 0 && t->n_end < MAX_END && !tok_is_end(t, id)) t->end_id[t->n_end++] = id;
}

void roles_ends(struct tok *t, bool eot_stated)
{
	/* gpt-oss ends a message, not its answer, with <|end|>; gemma 4 does not stop at </s> */
	bool harmony = special_id(t, "<|return|>") >= 0 && special_id(t, "<|call|>") >= 0;
	bool gemma4 = special_id(t, "<|tool_response>") >= 0;
	for (int i = 0; i < COUNT(end_text); i++)
		if (!(harmony && !strcmp(end_text[i], "<|end|>")) &&
		    !(gemma4 && !strcmp(end_text[i], "</s>")))
			roles_add_end(t, special_id(t, end_text[i]));
	roles_add_end(t, t->role[TOK_EOS]);
	for (int i = 0; !eot_stated && t->role[TOK_EOT] < 0 && i < COUNT(turn_text); i++)
		if (!(harmony && !strcmp(turn_text[i], "<|end|>")))
			t->role[TOK_EOT] = special_id(t, turn_text[i]);
	roles_add_end(t, t->role[TOK_EOT]);
}

static int load_ends(struct tok *t, struct lm_err *err)
{
	for (int i = 0; i < COUNT(end_key); i++) {
		int id;
		int rc = read_id(t, end_key[i], &id, err);
		if (rc) return rc;
		roles_add_end(t, id);
	}
	roles_ends(t, file_has(t->file, role_key[TOK_EOT]));
	return 0;
}

/* Without token types nothing says which tokens are special; those with a role are. */
static void guess_types(struct tok *t)
{
	for (int r = 0; r < N_ROLE; r++)
		if (t->role[r] >= 0) t->piece[t->role[r]].type = TYPE_CONTROL;
	for (int b = 0; b < 256 && t->byte_fallback; b++)
		if (t->byte_id[b] >= 0) t->piece[t->byte_id[b]].type = TYPE_BYTE;
}

/* What the kinds of GGUF vocabularies add when the metadata is silent. */
static void post(struct tok *t, unsigned flags)
{
	bool bos = flags & FAMILY_BOS, eos = flags & KIND_EOS, sep = flags & FAMILY_SEP;
	file_bool(t->file, "tokenizer.ggml.add_bos_token", &bos);
	bool said = file_bool(t->file, "tokenizer.ggml.add_eos_token", &eos);
	file_bool(t->file, "tokenizer.ggml.add_sep_token", &sep);
	int first = t->role[TOK_BOS], last = t->role[TOK_EOS];
	if (flags & KIND_CLS && t->role[TOK_CLS] >= 0) first = t->role[TOK_CLS];
	if (!eos && sep && !said && t->role[TOK_SEP] >= 0) last = t->role[TOK_SEP];
	else if (eos && last < 0) last = t->role[TOK_SEP];
	if ((bos || flags & KIND_BOS_ALWAYS) && first >= 0) t->before[t->n_before++] = first;
	if ((eos || (sep && !said)) && last >= 0) t->after[t->n_after++] = last;
}

int roles_gguf(struct tok *t, unsigned flags, struct lm_err *err)
{
	static const int spm_default[] = {[TOK_BOS] = 1, [TOK_EOS] = 2};
	bool spm = flags & KIND_SPM_IDS;
	int rc = 0;
	for (int r = 0; r < N_ROLE && !rc; r++) rc = read_id(t, role_key[r], &t->role[r], err);
	if (rc) return rc;
	for (int r = TOK_BOS; r <= TOK_EOS && spm; r++)
		if (!file_has(t->file, role_key[r]) && spm_default[r] < t->n &&
		    t->piece[spm_default[r]].type == TYPE_CONTROL)
			t->role[r] = spm_default[r];
	if (t->role[TOK_UNK] < 0 && !t->drop_unk && t->piece[0].type == TYPE_UNKNOWN) t->role[TOK_UNK] = 0;
	if (!file_has(t->file, "tokenizer.ggml.token_type")) guess_types(t);
	rc = load_ends(t, err);
	if (t->role[TOK_BOS] < 0) t->role[TOK_BOS] = t->role[TOK_CLS];
	post(t, flags);
	return rc;
}
