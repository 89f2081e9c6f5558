/* norm_impl.h - what the files of the normalizer share. */
#pragma once
#include "tokenizer/added.h"
#include "tokenizer/norm.h"
#include "tokenizer/norm_table.h"
#include "tokenizer/regex.h"
#include "tokenizer/replace.h"
#include <string.h>

/* Flags (enum norm_flag) of the characters below `NORM_NEAR`, where nearly all text lives; the others are searched. */
enum { NORM_NEAR = 0x20000 };
uint16_t *norm_flags_new(void);
unsigned norm_flags_far(uint32_t cp);
static inline unsigned norm_flags(const uint16_t *table, uint32_t cp)
{
	return cp < NORM_NEAR ? table[cp] : norm_flags_far(cp);
}
uint32_t norm_lower_of(uint32_t cp);                       /* of a character with NORM_LOWER, U+0130 aside */

struct norm_work {
	struct lm_buf buf[2];                              /* steps write to one while they read the other */
	uint32_t *cp;                                      /* norm_form.c: characters under way, two halves */
	size_t cap;
	size_t limit;                                      /* bytes that a text may grow to */
	struct regex_work re;
};

/* One character at s[*i] of valid UTF-8; *i moves on. */
static inline uint32_t norm_take(const char *s, size_t *i)
{
	const unsigned char *u = (const unsigned char *)s + *i;
	if (u[0] < 0x80) return *i += 1, u[0];
	if (u[0] < 0xE0) return *i += 2, (u[0] & 0x1Fu) << 6 | (u[1] & 0x3Fu);
	if (u[0] < 0xF0) return *i += 3, (u[0] & 0xFu) << 12 | (u[1] & 0x3Fu) << 6 | (u[2] & 0x3Fu);
	*i += 4;
	return (u[0] & 7u) << 18 | (u[1] & 0x3Fu) << 12 | (u[2] & 0x3Fu) << 6 | (u[3] & 0x3Fu);
}
/* Room for n more bytes and a NUL, NULL when out of memory. */
char *norm_room(struct lm_buf *b, size_t n);

/* Every step: 1: *out (empty before) holds the changed text, 0: nothing changes (*out is rubbish), or a negative
 * lm_code. */

/* ---- norm_form.c: NFC, NFD, NFKC, NFKD ---- */
enum { FORM_COMPOSE = 1, FORM_COMPAT = 2 };
int norm_form(unsigned form, const uint16_t *flags, struct norm_work *w, const char *s, size_t n, struct lm_buf *out);

/* ---- norm_chars.c: what works character by character ---- */
enum norm_chars_op {
	CHARS_CLEAN = 1,                                   /* BertNormalizer: drops controls, all space to U+0020 */
	CHARS_CJK = 2,                                     /* spaces around ideographs */
	CHARS_DECOMPOSE = 4,                               /* canonically; the order of marks is left alone */
	CHARS_NO_MN = 8,
	CHARS_NO_MARK = 16,
	CHARS_LOWER = 32,
	CHARS_NMT = 64
};
struct norm_chars {
	unsigned ops, mask;                                /* mask: flags of characters that the ops change */
	unsigned char ascii[128];                          /* what becomes of it, 0xFF: dropped */
};
void norm_chars_init(struct norm_chars *c, unsigned ops);
/* *moved: a mark was left whose order among others counts; NULL: not asked. */
int norm_chars_run(const struct norm_chars *c, const uint16_t *flags, const char *s, size_t n, struct lm_buf *out,
		   bool *moved);

/* ---- charsmap.c: sentencepiece's rules ---- */
struct charsmap;
struct spm_opts {
	bool dummy_prefix, trim, escape;
	bool suffix;                                       /* the dummy comes last */
	struct added *keep;                                /* texts that stay as they are: of its normalized set */
};
/* base64 of s[0..n).  *out is NULL for an empty text. */
int charsmap_new(struct charsmap **out, const char *s, size_t n, struct lm_err *err);
void charsmap_free(struct charsmap *m);
int charsmap_clusters(const struct charsmap *m, const uint16_t *flags, struct norm_work *w, const char *s, size_t n,
		      struct lm_buf *out, struct lm_err *err);
int charsmap_spm(const struct charsmap *m, struct spm_opts o, struct norm_work *w, const char *s, size_t n,
		 struct lm_buf *out, struct lm_err *err);
