/* decoder_impl.h - what the files of the decoder share: a decoder is a row of steps.
 *
 * The reference passes a list of tokens from step to step.  Up to Fuse or ByteLevel, which make one token of all, a
 * step gets whole tokens; from there on the one token comes in pieces, and a step has to remember what it is in the
 * middle of.  Which of the two holds is known when the decoder is read, so each kind below is one or the other. */
#pragma once
#include "tokenizer/decoder_spm.h"
#include "tokenizer/replace.h"

enum decoder_op {
	/* whole tokens */
	OP_JOIN,                                           /* a space before all but the first */
	OP_BYTES,                                          /* ByteFallback */
	OP_LETTERS,                                        /* ByteLevel: what follows gets pieces */
	OP_MARK,                                           /* Metaspace */
	OP_WORD,                                           /* WordPiece */
	OP_SUFFIX,                                         /* BPEDecoder */
	OP_CTC,
	OP_REPLACE,
	OP_STRIP,
	/* pieces of one token */
	OP_FLOW_REPLACE,
	OP_FLOW_STRIP
};
struct decoder_step {
	enum decoder_op op;
	struct replace replace;                            /* BPEDecoder: the suffix; WordPiece: the prefix; CTC: the pad */
	struct replace mark;                               /* CTC: the delimiter */
	bool cleanup, never;                               /* never: Metaspace keeps a first space */
	uint16_t *fail;                                    /* OP_FLOW_REPLACE: longest border of each part of the pattern */
	char c[4];                                         /* Strip's character, of n_c bytes */
	int n_c;
	uint32_t start, stop;
	int num;                                           /* its first number in the state */
};
enum { DECODER_STEPS = 64 };
struct decoder {
	struct decoder_step step[DECODER_STEPS];
	int n, n_num;
	struct decoder_spm *spm;                           /* a tokenizer.model's: instead of the steps */
};
/* The pairs of WordPiece's clean-up, ended by NULL: no text is longer than its pattern. */
extern const char *const decoder_cleanup[][2];
