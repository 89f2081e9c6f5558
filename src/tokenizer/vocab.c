/* vocab.c - the tokens and merges of a file as two hash tables over the mapping.
 *
 * Start-up is one pass over each list: nothing is copied, a token costs 8 bytes and a slot.  Merges are found
 * by the texts of their two parts, so their ids need no look-up at load. */
#include "tokenizer/tok_impl.h"
#include <string.h>

/* ---- hash ------------------------------------------------------------------------------------------------
 */

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t p = (__uint128_t)a * b;
	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static inline uint64_t load(const char *s, size_t n)
{
	uint64_t v = 0;
	memcpy(&v, s, n);
	return v;
}

#define K0 0x9E3779B97F4A7C15u
#define K1 0xD1B54A32D192ED03u
static inline uint64_t hash_of(const char *s, size_t n)
{
	uint64_t a, b, h = n * K1;
	for (; n > 16; s += 16, n -= 16) h = mix(load(s, 8) ^ h ^ K0, load(s + 8, 8) ^ K1);
	if (n >= 8) {
		a = load(s, 8);
		b = load(s + n - 8, 8);
	} else if (n >= 4) {
		a = load(s, 4);
		b = load(s + n - 4, 4);
	} else {
		a = n ? (uint64_t)(uint8_t)s[0] << 16 | (uint64_t)(uint8_t)s[n / 2] << 8 | (uint8_t)s[n - 1]
		      : 0;
		b = 0;
	}
	return mix(a ^ h ^ K0, b ^ K1);
}

uint64_t tok_hash(const char *s, size_t n)
{
	return hash_of(s, n);
}
uint64_t tok_hash_pair(uint64_t left, uint64_t right)
{
	return mix(left ^ K1, right ^ K0);
}

static int table_new(struct table *t, size_t n, struct lm_err *err)
{
	size_t cap = 16, id = 1;
	while (cap < 2 * n) cap *= 2;
	while (id <= n) id *= 2;
	t->slot = lm_calloc(cap, sizeof *t->slot);
	t->mask = cap - 1;
	t->id = (uint32_t)(id - 1);
	return t->slot ? 0 : lm_fail(err, LM_ENOMEM, "out of memory for a vocabulary of %zu entries", n);
}

static inline uint32_t slot_of(const struct table *t, uint64_t hash, int index)
{
	return ((uint32_t)(hash >> 32) & ~t->id) | (uint32_t)(index + 1);
}

/* The index in slot value v if its hash bits are those of `hash`, else -1. */
static inline int32_t index_of(const struct table *t, uint32_t v, uint64_t hash)
{
	return ((v ^ (uint32_t)(hash >> 32)) & ~t->id) ? -1 : (int32_t)(v & t->id) - 1;
}

/* Hashes run ahead of insertions, so that the cache misses of the table overlap. */
enum { AHEAD = 16 };

/* A file made so that its texts fall on the same slots would make loading quadratic. */
enum { MAX_PROBES = 1 << 12 };
static int crowded(struct lm_err *err, const char *what)
{
	return lm_fail(err, LM_EFORMAT, "%s: the texts are crafted to collide in a hash table", what);
}

/* ---- byte-level alphabet ---------------------------------------------------------------------------------
 */

/* Bytes 21-7E, A1-AC and AE-FF are the characters of that number; the 68 others in order U+0100, U+0101, ...
 */
static inline bool own_letter(unsigned b)
{
	return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
}

int letter_of(uint8_t byte, char out[2])
{
	unsigned cp = byte;
	if (!own_letter(byte)) cp = 0x100u + (byte <= 0x20 ? byte : byte <= 0xA0 ? byte - 0x7Fu + 33 : 67);
	char buf[4];
	int n = lm_utf8_put(buf, cp);
	memcpy(out, buf, (size_t)n);
	return n;
}

int byte_of(uint32_t cp)
{
	if (cp < 0x100) return own_letter(cp) ? (int)cp : -1;
	if (cp < 0x100 + 33) return (int)cp - 0x100;
	if (cp < 0x100 + 67) return (int)cp - 0x100 - 33 + 0x7F;
	return cp == 0x100 + 67 ? 0xAD : -1;
}

/* ---- look-up ---------------------------------------------------------------------------------------------
 */

int32_t vocab_find(const struct tok *t, const char *s, size_t n, uint64_t hash)
{
	for (uint64_t i = hash & t->by_text.mask;; i = (i + 1) & t->by_text.mask) {
		uint32_t v = t->by_text.slot[i];
		if (!v) return -1;
		int32_t id = index_of(&t->by_text, v, hash);
		if (id >= 0 && t->piece[id].len == n && memcmp(piece_text(t, id), s, n) == 0) return id;
	}
}

uint32_t vocab_merge(const struct tok *t, const char *s, size_t left, size_t right, uint64_t hash)
{
	for (uint64_t i = hash & t->by_pair.mask;; i = (i + 1) & t->by_pair.mask) {
		uint32_t v = t->by_pair.slot[i];
		if (!v) return UINT32_MAX;
		int32_t k = index_of(&t->by_pair, v, hash);
		if (k < 0) continue;
		const struct merge *m = &t->merge[k];
		const char *p = t->merge_base + m->off;
		if (m->left == left && m->right == right && memcmp(p, s, left) == 0 &&
		    memcmp(p + left + 1, s + left, right) == 0)
			return (uint32_t)k;
	}
}

/* ---- load ------------------------------------------------------------------------------------------------
 */

bool is_filler(const char *s, size_t n)
{
	if (n < 6 || memcmp(s, "[PAD", 4) || s[n - 1] != ']') return false;
	for (size_t i = 4; i < n - 1; i++)
		if (s[i] < '0' || s[i] > '9') return false;
	return true;
}

static bool matched(const struct piece *p)
{
	return p->type >= TYPE_UNKNOWN && p->type <= TYPE_USER;
}

/* Converters write the spaces of SentencePiece's user-defined symbols as spaces; in the model they are
 * U+2581. */
static int restore(struct tok *t, struct piece *p, const char *s, size_t n)
{
	size_t off = t->aux.n;
	for (size_t i = 0; i < n; i++)
		if (s[i] == ' ')
			lm_buf_str(&t->aux, "\xE2\x96\x81");
		else
			lm_buf_char(&t->aux, s[i]);
	if (t->aux.n > UINT32_MAX || t->aux.n - off > MAX_TOKEN) return LM_ELIMIT;
	p->off = (uint32_t)off;
	p->len = (uint16_t)(t->aux.n - off);
	p->aux = true;
	return t->aux.bad ? LM_ENOMEM : 0;
}

/* The first of equal texts is found by its text, unless a later one is special. */
static int insert(struct tok *t, int id, uint64_t hash, struct lm_err *err)
{
	const struct piece *p = &t->piece[id];
	if (p->len == 0) return 0;
	struct table *tab = &t->by_text;
	for (uint64_t i = hash & tab->mask, probes = 0;; i = (i + 1) & tab->mask) {
		uint32_t v = tab->slot[i];
		if (!v) {
			tab->slot[i] = slot_of(tab, hash, id);
			return 0;
		}
		if (probes++ == MAX_PROBES) return crowded(err, "tokenizer.ggml.tokens");
		int old = index_of(tab, v, hash);
		if (old < 0 || t->piece[old].len != p->len ||
		    memcmp(piece_text(t, old), piece_text(t, id), p->len))
			continue;
		if (matched(p) && !matched(&t->piece[old])) tab->slot[i] = slot_of(tab, hash, id);
		return 0;
	}
}

static int add_token(struct tok *t, int id, const char *s, size_t n, struct lm_err *err)
{
	struct piece *p = &t->piece[id];
	if (n > MAX_TOKEN)
		return lm_fail(err, LM_ELIMIT, "token %d has %zu bytes, at most %d are supported", id, n,
			       MAX_TOKEN);
	if (s < t->base || (uint64_t)(s - t->base) > UINT32_MAX)
		return lm_fail(err, LM_ELIMIT, "tokenizer.ggml.tokens spans more than 4 GiB");
	p->off = (uint32_t)(s - t->base);
	p->len = (uint16_t)n;
	if (t->kind == KIND_SPM && p->type == TYPE_USER && memchr(s, ' ', n)) {
		int rc = restore(t, p, s, n);
		if (rc) return lm_fail(err, rc, "token %d: its %zu bytes are too many", id, n);
	}
	if (n > 0 && matched(p) && !is_filler(piece_text(t, id), p->len)) {
		if (p->len > MAX_SPECIAL)
			return lm_fail(err, LM_ELIMIT,
				       "special token %d has %d bytes, at most %d are supported", id, p->len,
				       MAX_SPECIAL);
		unsigned k = p->len - 1u;
		t->lead[(uint8_t)piece_text(t, id)[0]][k / 64] |= (uint64_t)1 << k % 64;
	}
	return 0;
}

static int64_t le_int(const uint8_t *p, enum file_type e)
{
	int32_t v = 0;
	if (e == FT_I32 || e == FT_U32)
		memcpy(&v, p, 4); /* the file is little endian, and so are we */
	else
		v = *p;
	return v;
}

static int load_types(struct tok *t, struct lm_err *err)
{
	enum file_type e;
	int64_t n;
	const uint8_t *p = file_arr_raw(t->file, "tokenizer.ggml.token_type", &e, &n);
	if (!p && file_has(t->file, "tokenizer.ggml.token_type"))
		return lm_fail(err, LM_EFORMAT, "tokenizer.ggml.token_type is not an array of numbers");
	if (!p) {
		for (int i = 0; i < t->n; i++) t->piece[i].type = TYPE_NORMAL;
		return 0;
	}
	if (n != t->n || (e != FT_I32 && e != FT_U32 && e != FT_U8 && e != FT_I8))
		return lm_fail(err, LM_EFORMAT,
			       "tokenizer.ggml.token_type: %lld integers expected, one per token, but there "
			       "are %lld",
			       (long long)t->n, (long long)n);
	size_t step = e == FT_I32 || e == FT_U32 ? 4 : 1;
	for (int i = 0; i < t->n; i++, p += step) {
		int64_t v = le_int(p, e);
		t->piece[i].type = v >= TYPE_NORMAL && v <= TYPE_BYTE ? (uint8_t)v : TYPE_NORMAL;
	}
	return 0;
}

static int load_scores(struct tok *t, struct lm_err *err)
{
	enum file_type e;
	int64_t n;
	t->score = file_arr_raw(t->file, "tokenizer.ggml.scores", &e, &n);
	if (!t->score)
		return lm_fail(err, LM_EFORMAT,
			       "tokenizer.ggml.scores is missing: this model's tokens merge by score");
	if (n != t->n || e != FT_F32)
		return lm_fail(err, LM_EFORMAT,
			       "tokenizer.ggml.scores: %d floats expected, one per token, but there are %lld "
			       "elements",
			       t->n, (long long)n);
	return 0;
}

static int add_merge(struct tok *t, int rank, const char *s, size_t n, uint64_t *hash, struct lm_err *err)
{
	/* a part may itself be or begin with a space */
	const char *sp = n > 2 ? memchr(s + 1, ' ', n - 2) : NULL;
	if (!sp)
		return lm_fail(err, LM_EFORMAT,
			       "tokenizer.ggml.merges: entry %d is not two texts with a space between", rank);
	if (n > 2 * MAX_TOKEN)
		return lm_fail(err, LM_ELIMIT, "tokenizer.ggml.merges: entry %d has %zu bytes", rank, n);
	if (s < t->merge_base || (uint64_t)(s - t->merge_base) > UINT32_MAX)
		return lm_fail(err, LM_ELIMIT, "tokenizer.ggml.merges spans more than 4 GiB");
	size_t left = (size_t)(sp - s), right = n - left - 1;
	t->merge[rank] = (struct merge){(uint32_t)(s - t->merge_base), (uint16_t)left, (uint16_t)right};
	*hash = tok_hash_pair(hash_of(s, left), hash_of(sp + 1, right));
	__builtin_prefetch(&t->by_pair.slot[*hash & t->by_pair.mask]);
	return 0;
}

/* Of equal merges the last counts, as in the reference. */
static int insert_merge(struct tok *t, int rank, uint64_t hash, struct lm_err *err)
{
	struct table *tab = &t->by_pair;
	const struct merge *m = &t->merge[rank];
	for (uint64_t i = hash & tab->mask, probes = 0;; i = (i + 1) & tab->mask) {
		int32_t k = tab->slot[i] ? index_of(tab, tab->slot[i], hash) : -1;
		const struct merge *o = k >= 0 ? &t->merge[k] : NULL;
		if (!tab->slot[i] || (o && o->left == m->left && o->right == m->right &&
				      !memcmp(t->merge_base + o->off, t->merge_base + m->off,
					      (size_t)m->left + m->right + 1))) {
			tab->slot[i] = slot_of(tab, hash, rank);
			return 0;
		}
		if (probes++ == MAX_PROBES) return crowded(err, "tokenizer.ggml.merges");
	}
}

static int load_merges(struct tok *t, struct lm_err *err)
{
	const char *key = "tokenizer.ggml.merges", *s;
	int64_t n = file_arr_len(t->file, key);
	uint64_t at = 0;
	size_t len;
	if (n < 0) return lm_fail(err, LM_EUNSUPPORTED, "%s is missing: a vocabulary without merges", key);
	t->n_merge = (int)n;
	t->merge = lm_malloc((size_t)n * sizeof *t->merge + 1);
	if (!t->merge) return lm_fail(err, LM_ENOMEM, "out of memory for %lld merges", (long long)n);
	int rc = table_new(&t->by_pair, (size_t)n, err);
	int i = 0;
	uint64_t hash[AHEAD];
	for (; !rc && i < t->n_merge && file_arr_str_next(t->file, key, &at, &s, &len); i++) {
		if (i == 0) t->merge_base = s;
		if (i >= AHEAD) rc = insert_merge(t, i - AHEAD, hash[i % AHEAD], err);
		if (!rc) rc = add_merge(t, i, s, len, &hash[i % AHEAD], err);
	}
	for (int k = i < AHEAD ? 0 : i - AHEAD; !rc && k < i; k++)
		rc = insert_merge(t, k, hash[k % AHEAD], err);
	if (!rc && i < t->n_merge) rc = lm_fail(err, LM_EFORMAT, "%s is not an array of strings", key);
	return rc;
}

static void find_bytes(struct tok *t)
{
	char hex[] = "0123456789ABCDEF", s[7] = "<0x00>";
	for (unsigned b = 0; b < 256; b++) {
		if (t->kind == KIND_SPM) {
			s[3] = hex[b >> 4];
			s[4] = hex[b & 15];
			t->byte_id[b] = vocab_id(t, s, 6);
		} else {
			size_t n = (size_t)letter_of((uint8_t)b, s);
			t->letter_hash[b] = tok_hash(s, n);
			t->byte_id[b] = vocab_find(t, s, n, t->letter_hash[b]);
		}
	}
}

/* False when the token has U+2581 after another character: then merges cross from one word into the next. */
static bool words_apart(const struct tok *t, int id)
{
	static const char mark[] = "\xE2\x96\x81";
	const char *s = piece_text(t, id);
	size_t n = t->piece[id].len;
	while (n >= 3 && memcmp(s, mark, 3) == 0) {
		s += 3;
		n -= 3;
	}
	if (n < 4) return true;
	for (size_t i = 0; i + 3 <= n; i++)
		if (s[i] == mark[0] && s[i + 1] == mark[1] && s[i + 2] == mark[2])
			return t->piece[id].type != TYPE_NORMAL && t->piece[id].type != TYPE_USER;
	return true;
}

int vocab_load(struct tok *t, struct lm_err *err)
{
	const char *key = "tokenizer.ggml.tokens", *s;
	int64_t n = file_arr_len(t->file, key);
	uint64_t at = 0;
	size_t len;
	if (n < 0) return lm_fail(err, LM_EFORMAT, "%s is missing: the file holds no vocabulary", key);
	if (n == 0 || n > FILE_MAX_ARRAY)
		return lm_fail(err, LM_EFORMAT, "%s has %lld entries", key, (long long)n);
	t->n = (int)n;
	t->piece = lm_malloc((size_t)n * sizeof *t->piece);
	if (!t->piece) return lm_fail(err, LM_ENOMEM, "out of memory for %d tokens", t->n);
	memset(t->piece, 0, (size_t)n * sizeof *t->piece);
	int rc = table_new(&t->by_text, (size_t)n, err);
	if (!rc) rc = load_types(t, err);
	if (!rc && t->kind == KIND_SPM) rc = load_scores(t, err);
	t->cut_words = t->kind == KIND_SPM;
	int i = 0;
	uint64_t hash[AHEAD];
	for (; !rc && i < t->n && file_arr_str_next(t->file, key, &at, &s, &len); i++) {
		if (i == 0) t->base = s;
		if (i >= AHEAD) rc = insert(t, i - AHEAD, hash[i % AHEAD], err);
		if (!rc) rc = add_token(t, i, s, len, err);
		if (rc) break;
		hash[i % AHEAD] = hash_of(piece_text(t, i), t->piece[i].len);
		__builtin_prefetch(&t->by_text.slot[hash[i % AHEAD] & t->by_text.mask], 1);
		if (t->cut_words) t->cut_words = words_apart(t, i);
	}
	for (int k = i < AHEAD ? 0 : i - AHEAD; !rc && k < i; k++) rc = insert(t, k, hash[k % AHEAD], err);
	if (!rc && i < t->n) rc = lm_fail(err, LM_EFORMAT, "%s is not an array of strings", key);
	if (rc) return rc;
	t->cut_words &= vocab_id(t, "\xE2\x96\x81", 3) >= 0;
	find_bytes(t);
	return t->kind == KIND_BYTES ? load_merges(t, err) : 0;
}
