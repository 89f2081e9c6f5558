/* tok_impl.h - what the files of the tokenizer share; nobody outside src/tokenizer and its tests includes it.
 *
 * A tokenizer is made in three steps, whatever it is read from: the loader (tok_gguf.c, hf_json.c, spm.c, ...) fills the
 * vocabulary through vocab_*, sets the model's options and makes the parts (norm, split, decoder, added, post);
 * vocab_index indexes the texts, vocab_finish makes what the model needs. */
#pragma once
#include "tokenizer/added.h"
#include "tokenizer/decoder.h"
#include "tokenizer/norm.h"
#include "tokenizer/split.h"
#include "tokenizer/tok.h"

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };
enum {
	MAX_TOKEN = 16384, /* bytes: three per byte (each shown as U+FFFD) fit TOK_MAX_PIECE */
	MAX_END = 64,
	MAX_POST = 8,      /* ids that a post-processor puts before or after a text */
	MAX_PAIR = 3 * MAX_POST + 2,
	MAX_AFFIX = 32,
	N_ROLE = TOK_MASK + 1
};

#define MARK "\xE2\x96\x81" /* U+2581 stands for a space */
struct piece {
	uint64_t head; /* the first eight bytes of the text, zero padded: set by vocab_index */
	uint32_t off; /* from tok.base, or from tok.aux.p */
	uint16_t len;
	uint8_t type;
	bool aux : 1;   /* a text of ours instead of the file's */
	bool shown : 1; /* decode gives another text, tok.shown */
};
/* What decode gives for a token that the model knows by another text. */
struct shown { int32_t id; uint32_t off, len; };
struct merge {
	uint32_t off;       /* of the left part, from tok.merge_base or tok.aux.p */
	uint32_t left : 15, right : 15, aux : 1;
};
/* Open addressing.  A slot is index + 1 in its lower bits (`id`) and hash bits above them; 0 is free. */
struct table {
	uint32_t *slot;
	uint64_t mask;
	uint32_t id;
};
/* For n entries, in `room` slots at least. */
int table_new(struct table *t, size_t n, size_t room, struct lm_err *err);
void table_free(struct table *t);
static inline uint32_t table_slot(const struct table *t, uint64_t hash, int index)
{
	return ((uint32_t)(hash >> 32) & ~t->id) | (uint32_t)(index + 1);
}
/* The index in slot value v if its hash bits are those of `hash`, else -1. */
static inline int32_t table_index(const struct table *t, uint32_t v, uint64_t hash)
{
	return ((v ^ (uint32_t)(hash >> 32)) & ~t->id) ? -1 : (int32_t)(v & t->id) - 1;
}
struct tok;
/* Calls put for each id of the word s.  LM_ENOMEM, LM_ELIMIT or what put returned. */
typedef int tok_put(void *ud, int32_t id);
/* What models keep between words of one call; begin with {0}. */
struct model_work {
	struct sym *sym;
	uint32_t *tree;
	size_t cap, tree_cap;
	char *letters;
	size_t letters_cap;
	void *own; /* of the models other than BPE: lm_malloc'ed, own_cap bytes */
	size_t own_cap;
};
/* A way from a word to ids; bpe.c, unigram.c, wordpiece.c hold one table each. */
struct model {
	/* While vocab_index indexes the tokens, on another thread: looks at nothing but the merges.  May be NULL. */
	int (*merges)(struct tok *t, struct lm_err *err);
	int (*ready)(struct tok *t, struct lm_err *err);   /* after vocab_finish; may be NULL */
	void (*free)(struct tok *t);                       /* what ready made; may be NULL */
	int (*word)(const struct tok *t, struct model_work *w, const char *s, size_t n, tok_put *put, void *ud);
};
/* The word *s in the letters of the byte-level alphabet, in w->letters; false: out of memory. */
bool model_letters(const struct tok *t, struct model_work *w, const char **s, size_t *n);
extern const struct model model_bpe, model_unigram, model_wordpiece, model_wordlevel;

enum rank_by {
	RANK_MERGES, /* BPE: the order of the merges */
	RANK_SCORE,  /* SentencePiece BPE: the pair's token of the highest score */
	RANK_ID      /* tiktoken: the pair's token of the lowest id */
};
enum { PAIR_A = -1, PAIR_B = -2 };
struct pair_part { int32_t id; int32_t type; };            /* a token, or one of the texts, and its token type */
struct affix { char s[MAX_AFFIX]; uint8_t n; };
struct tok {
	const struct model *model;
	/* vocabulary (vocab.c) */
	int n, n_merge;
	int n_model;               /* tokens that were there at vocab_index; those after them are added tokens only */
	struct piece *piece;
	int64_t cap;               /* of piece */
	const char *base, *merge_base;
	struct lm_buf aux;
	struct table by_text;
	uint64_t *hash;            /* [n_model] of the texts; only where merges rank */
	struct merge *merge;
	size_t merge_bytes;
	uint8_t merge_gap;         /* bytes between the parts of a merge in the file; 1 in copies */
	const uint8_t *score;      /* float32 [n], unaligned, in the mapping or in own_score; NULL: none */
	float *own_score;
	double *score64;           /* [n] of a tokenizer.json's Unigram, whose scores are doubles; NULL: score */
	struct shown *shown;       /* [n_shown], by id; texts in aux */
	int n_shown;
	int32_t byte_id[256];      /* the token of a byte ("<0x41>", or its letter), -1 */
	/* options of the model */
	enum rank_by rank_by;
	bool bytes;                /* words are bytes, symbols are letters of the byte-level alphabet */
	bool byte_fallback, fuse_unk, ignore_merges;
	bool any_type;             /* Unigram of a tokenizer.json: text becomes any token, whatever its type */
	bool float_sums;           /* Unigram: sums are floats, as sentencepiece's (tokenizer.model), else doubles */
	bool drop_unk;             /* a character that is no token is left out (no unk token) */
	bool cut_words;            /* words end before MARK, but for those that end with a byte of `glue`, */
	uint8_t glue[32];          /* a set: no merge crosses where they are cut.  Set by vocab_finish */
	int32_t unk;               /* -1: none */
	int max_chars;             /* WordPiece: a longer word is unknown */
	struct affix start, cont;  /* before the text of a word's first part, and of the others: "", "##" */
	struct affix end;          /* after a word's last part: "</w>" */
	void *model_data;          /* what model->ready made */
	/* the other parts */
	struct added *added;
	struct norm *norm;
	struct split *split;
	struct decoder *decoder;
	json_t *spec_norm, *spec_split; /* what norm and split were made from; NULL: none.  export.c compares them */
	int32_t before[MAX_POST], after[MAX_POST]; /* post-processor */
	int n_before, n_after;
	struct pair_part pair[MAX_PAIR];           /* the same for two texts, in order */
	int n_pair;                                /* 0: as the kind of the one for a single text suggests; -1: unknown */
	/* roles (roles.c) */
	int role[N_ROLE];
	int end_id[MAX_END], n_end;
	const struct file *file;   /* a GGUF's */
	struct lm_map map;         /* of the file that `base` lies in, when we opened it */
	bool inverted;             /* a GGUF's WordPiece: decode.c turns "\u2581x", "x" into "x", "##x" */
};

static inline const char *piece_text(const struct tok *t, int32_t id)
{
	return (t->piece[id].aux ? t->aux.p : t->base) + t->piece[id].off;
}
static inline const char *merge_text(const struct tok *t, const struct merge *m)
{
	return (m->aux ? t->aux.p : t->merge_base) + m->off;
}
static inline const char *merge_right(const struct tok *t, const struct merge *m)
{
	return merge_text(t, m) + m->left + (m->aux ? 1 : t->merge_gap);
}

/* ---- vocab.c: the tables ---- */
/* A tokenizer of n tokens without text, all roles absent; NULL when out of memory.  n: 1..FILE_MAX_ARRAY. */
struct tok *vocab_new(int64_t n, struct lm_err *err);
/* The text of a token: referenced where it lies within 4 GiB after t->base (set it first), else copied. */
int vocab_set(struct tok *t, int32_t id, const char *s, size_t n, unsigned type, struct lm_err *err);
int vocab_copy(struct tok *t, int32_t id, const char *s, size_t n, unsigned type, struct lm_err *err);
int vocab_begin_merges(struct tok *t, int64_t n, struct lm_err *err);
/* pair: the left part and the right one, t->merge_gap bytes between; referenced, in the 4 GiB after t->merge_base.
 * copy: one byte between, copied. */
int vocab_merge(struct tok *t, int rank, const char *pair, size_t left, size_t right, bool copy, struct lm_err *err);
/* The text that decode gives for a token of the model, once for each; sorted before vocab_shown finds them. */
int vocab_show(struct tok *t, int32_t id, const char *s, size_t n, struct lm_err *err);
void vocab_sort_shown(struct tok *t);
const struct shown *vocab_shown(const struct tok *t, int32_t id);
/* Room for n tokens, the new ones without text.  After vocab_index: tokens that the model does not know. */
int vocab_resize(struct tok *t, int64_t n, struct lm_err *err);
int vocab_scores(struct tok *t, struct lm_err *err);       /* zeroed own_score, to be filled */
/* When all texts are in (and t->bytes is set): the hash tables and byte tokens; vocab_id answers from here on. */
int vocab_index(struct tok *t, struct lm_err *err);
/* When all options are set: model->ready. */
int vocab_finish(struct tok *t, struct lm_err *err);
uint64_t tok_hash(const char *s, size_t n);
int32_t vocab_find(const struct tok *t, const char *s, size_t n, uint64_t hash); /* -1 if absent */
static inline int32_t vocab_id(const struct tok *t, const char *s, size_t n)
{
	return vocab_find(t, s, n, tok_hash(s, n));
}
int32_t vocab_any(const struct tok *t, const char *s, size_t n);  /* the same, also of tokens unknown to the model */
int32_t vocab_byte(const struct tok *t, uint8_t c); /* "<0x41>", of byte fallback; -1 */
float vocab_score(const struct tok *t, int32_t id);
/* The byte-level alphabet: the UTF-8 letter of a byte (1 or 2 bytes), and the byte of a letter or -1. */
int letter_of(uint8_t byte, char out[2]);
int byte_of(uint32_t cp);
bool is_filler(const char *s, size_t n); /* "[PAD123]" */

/* tok.c: norm, split and decoder from their specs, which it takes over (json null: none; NULL: memory was lacking). */
int tok_parts(struct tok *t, json_t *norm, json_t *pre, json_t *dec, struct lm_err *err);

/* post.c: t->before, after and pair from the post_processor of a tokenizer.json. */
int post_set(struct tok *t, const json_t *p, struct lm_err *err);

/* ---- roles.c: bos, eos, ..., end of generation ---- */
/* flags: enum family_flag, of the family and of the kind together. */
int roles_gguf(struct tok *t, unsigned flags, struct lm_err *err);
/* The ends of generation that the tokens' texts tell, after the roles are set. */
void roles_ends(struct tok *t, bool eot_stated);
void roles_add_end(struct tok *t, int32_t id);

/* ---- loaders ---- */
int gguf_tok(struct tok **out, const struct file *f, struct lm_err *err);            /* tok_gguf.c */
int hf_json_tok(struct tok **out, const char *path, struct lm_err *err);             /* tokenizer.json */
/* hf_score.c: a JSON number as the reference reads it; false: one of another sort (integers, extremes). */
bool hf_score(const char *s, size_t n, double *v);
/* The same from its text, which must outlive the tokenizer. */
int hf_json_tok_mem(struct tok **out, const char *text, size_t n, struct lm_err *err);
