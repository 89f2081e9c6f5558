/* norm.h - normalizer: the "normalizer" of a tokenizer.json.
 * Types: Sequence, NFC, NFD, NFKC, NFKD, Nmt, Lowercase, Strip, StripAccents, Replace, Prepend, BertNormalizer,
 * Precompiled, ByteLevel; and "SentencePiece" for a tokenizer.model (not in tokenizer.json): {"type":"SentencePiece",
 * "precompiled_charsmap":base64 or "", "add_dummy_prefix":b, "remove_extra_whitespaces":b, "escape_whitespaces":b,
 * "treat_whitespace_as_suffix":b, "user_defined_symbols":[texts that stay as they are]},
 * its charsmap matched as sentencepiece does, longest prefix at each byte. */
#pragma once
#include "base/base.h"
#include <jansson.h>

struct norm;                                               /* immutable, share freely */
/* spec: the JSON object, or NULL / null for none.  LM_EFORMAT, LM_EUNSUPPORTED name the type or field. */
int norm_new(struct norm **out, const json_t *spec, struct lm_err *err);
void norm_free(struct norm *n);                            /* NULL is fine */

struct norm_work;                                          /* what a caller keeps between calls; one per thread */
struct norm_work *norm_work_new(void);                     /* NULL when out of memory */
void norm_work_free(struct norm_work *w);
/* s: valid UTF-8.  *out is s itself when nothing changes (always for NULL n), a part of s when Strip alone does, else
 * memory of w until its next use.  LM_ELIMIT: the text would grow more than 64-fold. */
int norm_run(const struct norm *n, struct norm_work *w, const char *s, size_t len, const char **out, size_t *out_len,
	     struct lm_err *err);
