/* decoder_spm.h - the decoder of a tokenizer.model: {"type":"SentencePiece","add_dummy_prefix":b,
 * "remove_extra_whitespaces":b,"unk_id":n,"unk_surface":s}.  Private to decoder.c, which knows the types. */
#pragma once
#include "tokenizer/decoder.h"

struct decoder_spm {
	bool takes_space, takes_all;                       /* the first space of a text; all before its first letter */
	int32_t unk;
	char *surface;                                     /* what an unknown token shows */
	size_t n_surface;
};
int decoder_spm_read(struct decoder_spm *d, const json_t *spec, struct lm_err *err);
void decoder_spm_free(struct decoder_spm *d);
/* As in decoder.h. */
void decoder_spm_push(const struct decoder_spm *d, struct decoder_state *s, int32_t id, const char *text, size_t n, bool added,
		      struct lm_buf *out);
void decoder_spm_end(struct decoder_state *s, struct lm_buf *out);
void decoder_spm_bytes(const char *text, size_t n, bool added, struct lm_buf *out);
