/* decoder.h - tokens back to text, one at a time: the "decoder" of a tokenizer.json.
 * Types: Sequence, ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, WordPiece, BPEDecoder, CTC; none: tokens
 * are joined by single spaces.  What decoder_push gives piece by piece is, put together, what the reference's decode
 * gives at once, but for what would have to be held back without bound:
 * - ByteFallback: one bad byte makes its whole run of byte tokens bad.  Of a run that is good so far the latest
 *   DECODER_HELD bytes wait for its end; characters before those are given and stay when the run turns bad.
 * - BPEDecoder: the last token keeps no space for its suffix; a token of over DECODER_HELD bytes is taken for another.
 * LM_EUNSUPPORTED: ByteLevel, ByteFallback or a regular expression after Fuse or ByteLevel: they would need it all. */
#pragma once
#include "base/base.h"
#include <jansson.h>

struct decoder;                                            /* immutable, share freely */
/* spec: the JSON object, or NULL / null for none.  LM_EFORMAT, LM_EUNSUPPORTED name the type or field. */
int decoder_new(struct decoder **out, const json_t *spec, struct lm_err *err);
void decoder_free(struct decoder *d);                      /* NULL is fine */

enum { DECODER_HELD = 128, DECODER_NUM = 40 };
/* Between two tokens of one text; begin with {0}.  Plain data: copied with the request that owns it.
 * `started` is the caller's: the text goes on from another, so no rule about a first token applies. */
struct decoder_state {
	bool started, bad;                                 /* bad: the run of byte tokens */
	uint16_t n_bytes, n_token;
	unsigned char bytes[DECODER_HELD], token[DECODER_HELD]; /* of ByteFallback; of BPEDecoder */
	uint64_t begun;                                    /* steps that have seen a token */
	uint32_t num[DECODER_NUM];                         /* what the other steps remember */
};
/* The token's text (as in the vocabulary) goes in, bytes that are certain now are appended to *out.  Only SentencePiece's
 * own decoder asks `id` and `added`: in the reference's other decoders an added token goes the way of all others. */
void decoder_push(const struct decoder *d, struct decoder_state *s, int32_t id, const char *text, size_t n, bool added,
		  struct lm_buf *out);
void decoder_end(const struct decoder *d, struct decoder_state *s, struct lm_buf *out);
/* The bytes that one token adds to a text already begun, exact also where it is a part of a character: what a grammar
 * or a stop string has to see.  Appended to *out. */
void decoder_bytes(const struct decoder *d, const char *text, size_t n, bool added, struct lm_buf *out);
