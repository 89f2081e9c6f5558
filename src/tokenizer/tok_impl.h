/* tok_impl.h - what the files of the tokenizer share; nobody outside src/tokenizer and its tests includes it.
 */
#pragma once
#include "tokenizer/tok.h"
#include "tokenizer/pretok.h"

enum tok_kind { KIND_BYTES, KIND_SPM }; /* byte-level BPE; SentencePiece BPE */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };
enum {
	MAX_TOKEN = 16384, /* bytes: three per byte (each shown as U+FFFD) fit TOK_MAX_PIECE */
	MAX_SPECIAL =
		256, /* bytes of a token that is matched in the text: bounds the work at each position */
	MAX_END = 64,
	N_ROLE = TOK_MASK + 1
};

struct piece {
	uint32_t off; /* from tok.base, or from tok.aux.p */
	uint16_t len;
	uint8_t type;
	bool aux; /* a text of ours instead of the file's */
};
struct merge {
	uint32_t off; /* of "left right", from tok.merge_base */
	uint16_t left, right;
};
/* Open addressing, at most half full.  A slot is index + 1 in its lower bits (`id`) and hash bits above them.
 */
struct table {
	uint32_t *slot;
	uint64_t mask;
	uint32_t id;
};
struct tok {
	const struct file *file;
	enum tok_kind kind;
	int n, n_merge;
	struct piece *piece;
	const char *base, *merge_base;
	struct lm_buf aux;
	struct table by_text, by_pair;
	struct merge *merge;
	const uint8_t *score;      /* float32, unaligned, in the mapping */
	int32_t byte_id[256];      /* the token of a byte, -1 */
	uint64_t letter_hash[256]; /* KIND_BYTES: of the byte's letter */
	uint64_t lead[256]
		     [MAX_SPECIAL / 64]; /* bit n-1: some special token of n bytes begins with this byte */
	int role[N_ROLE];
	int end[MAX_END], n_end;
	bool add_bos, add_eos, add_prefix, cut_words, rstrip, ignore_merges, nfc;
	struct pretok *pre;
};

static inline const char *piece_text(const struct tok *t, int32_t id)
{
	return (t->piece[id].aux ? t->aux.p : t->base) + t->piece[id].off;
}

/* ---- vocab.c: the tables ---- */
uint64_t tok_hash(const char *s, size_t n);
uint64_t tok_hash_pair(uint64_t left, uint64_t right);
int vocab_load(struct tok *t, struct lm_err *err);
int32_t vocab_find(const struct tok *t, const char *s, size_t n, uint64_t hash); /* -1 if absent */
static inline int32_t vocab_id(const struct tok *t, const char *s, size_t n)
{
	return vocab_find(t, s, n, tok_hash(s, n));
}
/* Rank of the merge of two neighbours in s: left bytes, then right bytes; UINT32_MAX if there is none. */
uint32_t vocab_merge(const struct tok *t, const char *s, size_t left, size_t right, uint64_t hash);
/* The byte-level alphabet: the UTF-8 letter of a byte (1 or 2 bytes), and the byte of a letter or -1. */
int letter_of(uint8_t byte, char out[2]);
int byte_of(uint32_t cp);
bool is_filler(const char *s, size_t n); /* "[PAD123]" */

/* ---- roles.c: bos, eos, ..., end of generation ---- */
int roles_load(struct tok *t, unsigned pre_flags, struct lm_err *err);

/* ---- bpe.c: one word to ids ---- */
struct sym;
struct bpe {
	struct sym *sym;
	uint32_t *tree;
	size_t cap;
	char *letters;
	size_t letters_cap;
};
/* Calls put for each id of the word s.  LM_ENOMEM or what put returned. */
typedef int bpe_put(void *ud, int32_t id);
int bpe_word(const struct tok *t, struct bpe *b, const char *s, size_t n, bpe_put *put, void *ud);
void bpe_free(struct bpe *b);

/* ---- nfc.c ---- */
/* Appends NFC(s) to *out and returns true, or returns false when s is in NFC as it stands. */
bool nfc_append(struct lm_buf *out, const char *s, size_t n);
