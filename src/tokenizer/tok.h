/* tok.h - text <-> token ids.  Immutable after load: share freely. */
#pragma once
#include "format/file.h"
#include "tokenizer/decoder.h"

struct tok;
enum tok_flags {
	TOK_ADD_BOS = 1,         /* BOS (and CLS) where the model's metadata asks for one */
	TOK_ADD_EOS = 2,         /* EOS (and SEP) where the model's metadata asks for one */
	TOK_PARSE_SPECIAL = 4    /* control tokens written in the text become their ids */
};
enum tok_role { TOK_BOS, TOK_EOS, TOK_EOT, TOK_PAD, TOK_UNK, TOK_SEP, TOK_CLS, TOK_MASK };

/* The file must outlive the tokenizer.  LM_EUNSUPPORTED names the tokenizer model or pre-tokenizer we lack. */
int tok_load(struct tok **out, const struct file *f, struct lm_err *err);
/* The same from what Hugging Face folders hold: the folder, or its tokenizer.json, tokenizer.model, vocab.txt or
 * vocab.json (with merges.txt beside it).  tokenizer_config.json, generation_config.json, special_tokens_map.json and
 * added_tokens.json of the same folder are read too. */
int tok_open(struct tok **out, const char *path, struct lm_err *err);
/* For a model without one: it encodes nothing (LM_EUNSUPPORTED), and ids have no text. */
int tok_none(struct tok **out, struct lm_err *err);
/* The tokenizer as the metadata of a GGUF (tokenizer.ggml.*), for a model of n_vocab tokens.  LM_EUNSUPPORTED names the
 * component that GGUF has no words for. */
struct gguf_keys;
int tok_export(const struct tok *t, int n_vocab, struct gguf_keys *k, struct lm_err *err);
/* Do both give the same ids for texts that try what tokenizers differ in?  0: yes, 1: no, and *err says for which; or a
 * negative code. */
int tok_compare(const struct tok *a, const struct tok *b, struct lm_err *err);
void tok_free(struct tok *t);
/* Like snprintf: writes at most `cap` ids and returns how many the text has; negative lm_code on error (LM_ENOMEM,
 * LM_ELIMIT: over 256 MiB of text, or 8 MiB without a place to cut).  Special tokens are matched in the raw text,
 * longest first; user-defined ones (added, not special: "<think>") whatever the flags.  Bytes that are no UTF-8 are
 * read as U+FFFD, one for each maximal bad part. */
int tok_encode(const struct tok *t, const char *text, size_t len, unsigned flags, int32_t *ids, int cap,
               struct lm_err *err);
/* Bytes of one token (may be half a UTF-8 character); returns the length it has, writes at most cap.
 * Control tokens give their text when `special`, else nothing. */
int tok_bytes(const struct tok *t, int32_t id, bool special, char *buf, int cap);
/* The ids of a text, or of two (b not NULL), between the tokens that the model puts around them (CLS, SEP, BOS, EOS).
 * types: their token types, or NULL.  Like snprintf; LM_EUNSUPPORTED when nothing says how two texts are joined. */
int tok_wrap(const struct tok *t, const int32_t *a, int n_a, const int32_t *b, int n_b, int32_t *ids, int32_t *types,
             int cap, struct lm_err *err);
int tok_special(const struct tok *t, enum tok_role role);                  /* id, or -1 */
bool tok_is_end(const struct tok *t, int32_t id);                          /* any end-of-generation id */
bool tok_is_control(const struct tok *t, int32_t id);
bool tok_has_added(const struct tok *t, const char *text);                 /* a control or user-defined token */
int tok_vocab(const struct tok *t);
bool tok_adds_bos(const struct tok *t);
/* Whole text of ids, appended to *out, as the reference gives it: bytes that are no UTF-8 become U+FFFD, a
 * SentencePiece model's first space is taken off; `special`: show control tokens. */
void tok_decode(const struct tok *t, const int32_t *ids, int n, bool special, struct lm_buf *out);

/* The same token by token: whole characters only, so an incomplete tail is held back.  Begin with {0}; with
 * state.started set a first space is kept, as when the text goes on from a prompt.  Text that is safe to show is
 * appended to *out; tok_stream_end gives what is held. */
struct tok_stream { struct decoder_state state; };
void tok_stream_push(const struct tok *t, struct tok_stream *s, int32_t id, bool special, struct lm_buf *out);
void tok_stream_end(const struct tok *t, struct tok_stream *s, struct lm_buf *out);
