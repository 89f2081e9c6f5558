/* decoder.h - tokens back to text, one at a time: the "decoder" of a tokenizer.json.
 * Types: Sequence, ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, WordPiece, BPEDecoder, CTC; none: tokens
 * are joined by single spaces.  What decoder_push gives piece by piece is, put together, what the reference's decode
 * gives at once. */
#pragma once
#include "base/base.h"
#include <jansson.h>

struct decoder;                                            /* immutable, share freely */
/* spec: the JSON object, or NULL / null for none.  LM_EFORMAT, LM_EUNSUPPORTED name the type or field. */
int decoder_new(struct decoder **out, const json_t *spec, struct lm_err *err);
void decoder_free(struct decoder *d);                      /* NULL is fine */

/* Between two tokens of one text; begin with {0}.  `held`: bytes not certain yet (half a character, a run of byte
 * tokens, a space that the next token may take away).  Plain data: copied with the request that owns it. */
struct decoder_state { unsigned char held[64]; int n_held; int32_t last; bool started, in_bytes; };
/* The token's text (as in the vocabulary) goes in, bytes that are certain now are appended to *out; `added`: an added
 * token, whose text stands for itself where the reference treats it so. */
void decoder_push(const struct decoder *d, struct decoder_state *s, int32_t id, const char *text, size_t n, bool added,
		  struct lm_buf *out);
void decoder_end(const struct decoder *d, struct decoder_state *s, struct lm_buf *out);
/* The bytes which one token alone stands for, without the rules about neighbours (first space, joining): what a
 * grammar or a stop string has to see.  Appended to *out. */
void decoder_bytes(const struct decoder *d, const char *text, size_t n, bool added, struct lm_buf *out);
