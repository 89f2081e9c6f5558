/* split.h - pre-tokenizer: a text to words, as the "pre_tokenizer" of a tokenizer.json describes it.
 * Types: Sequence, Split, ByteLevel, Metaspace, Whitespace, WhitespaceSplit, Digits, Punctuation,
 * CharDelimiterSplit, BertPreTokenizer, UnicodeScripts, FixedLength. */
#pragma once
#include "base/base.h"
#include <jansson.h>

struct split;                                              /* immutable, share freely */
/* spec: the JSON object, or NULL / null for none (the text is one word).  LM_EFORMAT, LM_EUNSUPPORTED name the type
 * or field. */
int split_new(struct split **out, const json_t *spec, struct lm_err *err);
/* Sets add_prefix_space on each ByteLevel of a spec; non-zero: out of memory. */
int split_prefix_space(json_t *spec);
void split_free(struct split *s);                          /* NULL is fine */
/* True when ByteLevel comes last (as nearly always): words are then given as plain bytes, not as its letters, and the
 * model begins from bytes.  ByteLevel in the middle of a sequence turns the text into letters for what follows. */
bool split_gives_bytes(const struct split *s);

struct split_work;                                         /* what a caller keeps between calls; one per thread */
struct split_work *split_work_new(void);                   /* NULL when out of memory */
void split_work_free(struct split_work *w);
/* fn for every word of s (valid UTF-8), in order.  `first`: s begins the whole text (Metaspace "first").
 * A non-zero return of fn ends it and is returned. */
typedef int split_fn(void *ud, const char *word, size_t n);
int split_run(const struct split *sp, struct split_work *w, const char *s, size_t n, bool first, split_fn *fn, void *ud,
	      struct lm_err *err);

/* families.c: what tokenizer.ggml.pre names.  A GGUF holds a name only; these are the pipelines behind the names, in
 * the words of tokenizer.json.  NULL members: none. */
enum family_flag {
	FAMILY_IGNORE_MERGES = 1,
	FAMILY_BOS = 2,                                    /* begins with BOS unless the metadata says otherwise */
	FAMILY_SEP = 4,                                    /* ends with SEP unless the metadata says otherwise */
	/* of the kinds of vocabularies (tok_gguf.c), beside those of their families */
	KIND_EOS = 8,                                      /* ends with EOS unless the metadata says otherwise */
	KIND_BOS_ALWAYS = 16,                              /* whatever the metadata says */
	KIND_CLS = 32,                                     /* CLS is what it begins with */
	KIND_SPM_IDS = 64                                  /* BOS is 1 and EOS 2 where the metadata is silent */
};
struct family {
	const char *names;                                 /* each between spaces: " gpt-2 phi-2 " */
	unsigned flags;
	const char *normalizer, *pre_tokenizer;            /* JSON */
};
const struct family *family_find(const char *name, size_t len);      /* NULL if unknown */
const struct family *family_at(int i);                     /* tests walk the table; NULL at its end */
