/* vocab.c - tokens and merges of a file, the tokens as a hash table over their texts.
 *
 * Start-up is one pass over each list: texts are copied only where the file spells them with escapes, a token costs 16
 * bytes and a slot. */
#include "tokenizer/tok_impl.h"
#include <stdlib.h>
#include <string.h>

/* ---- hash ------------------------------------------------------------------------------------------------
 */

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t p = (__uint128_t)a * b;
	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static inline uint64_t load8(const char *s)
{
	uint64_t v;
	memcpy(&v, s, sizeof v);
	return v;
}

/* The first eight bytes, zero padded. */
static inline uint64_t head_of(const char *s, size_t n)
{
	uint32_t a, b;
	if (n >= 8) return load8(s);
	if (n >= 4) {
		memcpy(&a, s, 4);
		memcpy(&b, s + n - 4, 4);
		return a | (uint64_t)b << 8 * (n - 4); /* where the two overlap they agree */
	}
	if (n == 0) return 0;
	return (uint64_t)(uint8_t)s[0] | (uint64_t)(uint8_t)s[n / 2] << 8 * (n / 2) | (uint64_t)(uint8_t)s[n - 1] << 8 * (n - 1);
}

#define K0 0x9E3779B97F4A7C15u
#define K1 0xD1B54A32D192ED03u
static inline uint64_t hash_of(const char *s, size_t n)
{
	uint64_t h = n * K1;
	if (n <= 8) return mix(head_of(s, n) ^ h ^ K0, K1);
	for (; n > 16; s += 16, n -= 16) h = mix(load8(s) ^ h ^ K0, load8(s + 8) ^ K1);
	if (n <= 8) return mix(head_of(s, n) ^ h ^ K0, K1);
	return mix(load8(s) ^ h ^ K0, load8(s + n - 8) ^ K1);
}

uint64_t tok_hash(const char *s, size_t n)
{
	return hash_of(s, n);
}

int table_new(struct table *t, size_t n, size_t room, struct lm_err *err)
{
	size_t cap = 16, id = 1;
	while (cap < room) cap *= 2;
	while (id <= n) id *= 2;
	t->slot = lm_table(cap * sizeof *t->slot, cap * sizeof *t->slot);
	t->mask = cap - 1;
	t->id = (uint32_t)(id - 1);
	return t->slot ? 0 : lm_fail(err, LM_ENOMEM, "out of memory for a vocabulary of %zu entries", n);
}

void table_free(struct table *t)
{
	lm_pages_free(t->slot, ((size_t)t->mask + 1) * sizeof *t->slot);
}

/* Hashes run ahead of insertions, so that the cache misses of the table overlap. */
enum { AHEAD = 16, MANY = 1 << 16 };

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
	out[0] = (char)cp;
	if (cp < 0x80) return 1;
	out[0] = (char)(0xC0 | cp >> 6);
	out[1] = (char)(0x80 | (cp & 0x3F));
	return 2;
}

int byte_of(uint32_t cp)
{
	if (cp < 0x100) return own_letter(cp) ? (int)cp : -1;
	if (cp < 0x100 + 33) return (int)cp - 0x100;
	if (cp < 0x100 + 67) return (int)cp - 0x100 - 33 + 0x7F;
	return cp == 0x100 + 67 ? 0xAD : -1;
}

/* Whether the token's text is s; its head is known once it is indexed, so most need no look at the text. */
static inline bool is_text(const struct tok *t, int32_t id, const char *s, size_t n, uint64_t head)
{
	const struct piece *p = &t->piece[id];
	return p->head == head && p->len == n && (n <= 8 || memcmp(piece_text(t, id) + 8, s + 8, n - 8) == 0);
}

/* ---- look-up ---------------------------------------------------------------------------------------------
 */

int32_t vocab_find(const struct tok *t, const char *s, size_t n, uint64_t hash)
{
	uint64_t head = head_of(s, n);
	if (!t->by_text.slot) return -1;
	for (uint64_t i = hash & t->by_text.mask;; i = (i + 1) & t->by_text.mask) {
		uint32_t v = t->by_text.slot[i];
		if (!v) return -1;
		int32_t id = table_index(&t->by_text, v, hash);
		if (id >= 0 && is_text(t, id, s, n, head)) return id;
	}
}

int32_t vocab_any(const struct tok *t, const char *s, size_t n)
{
	int32_t id = vocab_id(t, s, n);
	for (int32_t i = t->n_model; id < 0 && i < t->n; i++)
		if (t->piece[i].len == n && !memcmp(piece_text(t, i), s, n)) id = i;
	return id;
}

/* ---- filling ---------------------------------------------------------------------------------------------
 */

bool is_filler(const char *s, size_t n)
{
	if (n < 6 || memcmp(s, "[PAD", 4) || s[n - 1] != ']') return false;
	for (size_t i = 4; i < n - 1; i++)
		if (s[i] < '0' || s[i] > '9') return false;
	return true;
}

struct tok *vocab_new(int64_t n, struct lm_err *err)
{
	if (n <= 0 || n > FILE_MAX_ARRAY) {
		lm_fail(err, LM_EFORMAT, "the vocabulary has %lld tokens", (long long)n);
		return NULL;
	}
	struct tok *t = lm_calloc(1, sizeof *t);
	if (t) {
		t->n = (int)n;
		t->unk = -1;
		t->merge_gap = 1;
		t->max_chars = 100;
		for (int r = 0; r < N_ROLE; r++) t->role[r] = -1;
		t->cap = n;
		t->piece = lm_table((size_t)n * sizeof *t->piece, (size_t)n * sizeof *t->piece);
		t->added = added_new();
	}
	if (!t || !t->piece || !t->added) {
		lm_fail(err, LM_ENOMEM, "out of memory for %lld tokens", (long long)n);
		tok_free(t);
		return NULL;
	}
	for (int i = 0; i < t->n; i++) t->piece[i].type = TYPE_NORMAL;
	return t;
}

int vocab_resize(struct tok *t, int64_t n, struct lm_err *err)
{
	if (n <= 0 || n > FILE_MAX_ARRAY) return lm_fail(err, LM_EFORMAT, "the vocabulary has %lld tokens", (long long)n);
	size_t size = sizeof *t->piece;
	if (n > t->cap) {
		struct piece *p = lm_table((size_t)n * size, (size_t)n * size);
		if (!p) return lm_fail(err, LM_ENOMEM, "out of memory for %lld tokens", (long long)n);
		memcpy(p, t->piece, (size_t)t->n * size);
		lm_pages_free(t->piece, (size_t)t->cap * size);
		t->piece = p;
		t->cap = n;
	}
	for (int64_t i = t->n; i < n; i++) t->piece[i] = (struct piece){ .type = TYPE_NORMAL };
	t->n = (int)n;
	return 0;
}

static int too_long(int32_t id, size_t n, struct lm_err *err)
{
	return lm_fail(err, LM_ELIMIT, "token %d has %zu bytes, at most %d are supported", (int)id, n, MAX_TOKEN);
}

/* Appends a copy to t->aux; *off is where. */
static int copy_text(struct tok *t, const char *s, size_t n, uint32_t *off, struct lm_err *err)
{
	if (t->aux.n + n > UINT32_MAX) return lm_fail(err, LM_ELIMIT, "the vocabulary's texts exceed 4 GiB");
	*off = (uint32_t)t->aux.n;
	lm_buf_add(&t->aux, s, n);
	return t->aux.bad ? lm_fail(err, LM_ENOMEM, "out of memory for the vocabulary") : 0;
}

int vocab_copy(struct tok *t, int32_t id, const char *s, size_t n, unsigned type, struct lm_err *err)
{
	struct piece *p = &t->piece[id];
	if (n > MAX_TOKEN) return too_long(id, n, err);
	int rc = copy_text(t, s, n, &p->off, err);
	p->len = rc ? 0 : (uint16_t)n;
	p->type = (uint8_t)type;
	p->aux = true;
	return rc;
}

static int by_id(const void *a, const void *b)
{
	int32_t x = ((const struct shown *)a)->id, y = ((const struct shown *)b)->id;
	return (x > y) - (x < y);
}

int vocab_show(struct tok *t, int32_t id, const char *s, size_t n, struct lm_err *err)
{
	if (n > MAX_TOKEN) return too_long(id, n, err);
	if ((t->n_shown & (t->n_shown + 1)) == 0) { /* 0, 1, 3, 7, ... are full */
		struct shown *p = lm_realloc(t->shown, (2 * (size_t)t->n_shown + 1) * sizeof *p);
		if (!p) return lm_fail(err, LM_ENOMEM, "out of memory for the vocabulary");
		t->shown = p;
	}
	struct shown *v = &t->shown[t->n_shown];
	*v = (struct shown){ .id = id, .len = (uint32_t)n };
	int rc = copy_text(t, s, n, &v->off, err);
	if (rc) return rc;
	t->piece[id].shown = true;
	t->n_shown++;
	return 0;
}

void vocab_sort_shown(struct tok *t)
{
	if (t->n_shown) qsort(t->shown, (size_t)t->n_shown, sizeof *t->shown, by_id);
}

const struct shown *vocab_shown(const struct tok *t, int32_t id)
{
	struct shown key = { .id = id };
	return bsearch(&key, t->shown, (size_t)t->n_shown, sizeof key, by_id);
}

int vocab_set(struct tok *t, int32_t id, const char *s, size_t n, unsigned type, struct lm_err *err)
{
	struct piece *p = &t->piece[id];
	if (n > MAX_TOKEN) return too_long(id, n, err);
	if (s < t->base || (uint64_t)(s - t->base) > UINT32_MAX) return vocab_copy(t, id, s, n, type, err);
	*p = (struct piece){.off = (uint32_t)(s - t->base), .len = (uint16_t)n, .type = (uint8_t)type};
	return 0;
}

int vocab_begin_merges(struct tok *t, int64_t n, struct lm_err *err)
{
	if (n < 0 || n > FILE_MAX_ARRAY) return lm_fail(err, LM_ELIMIT, "the vocabulary has %lld merges", (long long)n);
	lm_pages_free(t->merge, t->merge_bytes);
	t->n_merge = (int)n;
	t->merge_bytes = ((size_t)n + 1) * sizeof *t->merge;
	t->merge = lm_table(t->merge_bytes, 0);
	return t->merge ? 0 : lm_fail(err, LM_ENOMEM, "out of memory for %lld merges", (long long)n);
}

int vocab_merge(struct tok *t, int rank, const char *pair, size_t left, size_t right, bool copy, struct lm_err *err)
{
	uint32_t off = 0;
	int rc = 0;
	if (left >= MAX_TOKEN || right >= MAX_TOKEN)
		return lm_fail(err, LM_ELIMIT, "merge %d has %zu bytes", rank, left + right);
	bool far = pair < t->merge_base || (uint64_t)(pair - t->merge_base) > UINT32_MAX;
	if (far && !copy && t->merge_gap != 1) return lm_fail(err, LM_ELIMIT, "the merges span more than 4 GiB");
	if (copy || far) {
		copy = true;
		rc = copy_text(t, pair, left + right + 1, &off, err);
	} else {
		off = (uint32_t)(pair - t->merge_base);
	}
	t->merge[rank] = (struct merge){off, left & 0x7FFF, right & 0x7FFF, copy};
	return rc;
}

int vocab_scores(struct tok *t, struct lm_err *err)
{
	t->own_score = lm_calloc((size_t)t->n, sizeof *t->own_score);
	t->score = (const uint8_t *)t->own_score;
	return t->score ? 0 : lm_fail(err, LM_ENOMEM, "out of memory for %d scores", t->n);
}

float vocab_score(const struct tok *t, int32_t id)
{
	float f = 0;
	if (t->score) memcpy(&f, t->score + 4 * (size_t)id, sizeof f);
	return f;
}

/* ---- indexing --------------------------------------------------------------------------------------------
 */

static bool matched(const struct piece *p)
{
	return p->type >= TYPE_UNKNOWN && p->type <= TYPE_USER;
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
			tab->slot[i] = table_slot(tab, hash, id);
			return 0;
		}
		if (probes++ == MAX_PROBES) return crowded(err, "the vocabulary");
		int old = table_index(tab, v, hash);
		if (old < 0 || !is_text(t, old, piece_text(t, id), p->len, p->head)) continue;
		if (matched(p) && !matched(&t->piece[old])) tab->slot[i] = table_slot(tab, hash, id);
		return 0;
	}
}

static int index_tokens(struct tok *t, struct lm_err *err)
{
	uint64_t hash[AHEAD];
	int rc = table_new(&t->by_text, (size_t)t->n, 2 * (size_t)t->n, err);
	bool keep = t->model == &model_bpe && t->rank_by == RANK_MERGES;
	size_t bytes = (size_t)t->n * sizeof *t->hash;
	if (keep && !rc && !(t->hash = lm_table(bytes, bytes)))
		rc = lm_fail(err, LM_ENOMEM, "out of memory for a vocabulary of %d entries", t->n);
	for (int i = 0; !rc && i < t->n + AHEAD; i++) {
		if (i >= AHEAD) rc = insert(t, i - AHEAD, hash[i % AHEAD], err);
		if (i >= t->n) continue;
		t->piece[i].head = head_of(piece_text(t, i), t->piece[i].len);
		hash[i % AHEAD] = hash_of(piece_text(t, i), t->piece[i].len);
		if (t->hash) t->hash[i] = hash[i % AHEAD];
		__builtin_prefetch(&t->by_text.slot[hash[i % AHEAD] & t->by_text.mask], 1);
	}
	return rc;
}

static void find_bytes(struct tok *t)
{
	char hex[] = "0123456789ABCDEF", s[16] = "<0x00>";
	for (unsigned b = 0; b < 256; b++) {
		if (t->bytes) {
			size_t n = (size_t)letter_of((uint8_t)b, s);
			t->byte_id[b] = vocab_id(t, s, n);
		} else {
			s[3] = hex[b >> 4];
			s[4] = hex[b & 15];
			t->byte_id[b] = vocab_id(t, s, 6);
		}
	}
}

int32_t vocab_byte(const struct tok *t, uint8_t c)
{
	static const char hex[] = "0123456789ABCDEF";
	char s[6] = { '<', '0', 'x', hex[c >> 4], hex[c & 15], '>' };
	return t->bytes ? vocab_id(t, s, sizeof s) : t->byte_id[c]; /* there byte_id tells letters */
}

/* memmem takes longer to begin than most texts are. */
static const char *find_mark(const char *p, const char *end)
{
	for (; end - p >= 3; p++)
		if (p[0] == MARK[0] && p[1] == MARK[1] && p[2] == MARK[2]) return p;
	return NULL;
}

/* Notes after which bytes a token has U+2581 further on: there a merge may join two words.  False when what stands there
 * may be no text: a byte token or the unknown one. */
static bool find_glue(struct tok *t, int id)
{
	const char *s = piece_text(t, id), *end = s + t->piece[id].len, *p = s;
	for (;;) {
		while (end - p >= 3 && memcmp(p, MARK, 3) == 0) p += 3;
		p = find_mark(p, end);
		if (!p) return true;
		if (t->unk < 0) return false; /* unknown characters vanish, so anything may come before the mark */
		size_t n = (size_t)(p - s), unk = t->piece[t->unk].len;
		if (n >= unk && memcmp(p - unk, piece_text(t, t->unk), unk) == 0) return false;
		if (n >= 6 && memcmp(p - 6, "<0x", 3) == 0 && p[-1] == '>') return false;
		t->glue[(uint8_t)p[-1] / 8] |= (uint8_t)(1 << (uint8_t)p[-1] % 8);
	}
}

/* Text without a pre-tokenizer may be merged word by word, cut before U+2581 where no token joins what is on both sides:
 * then no merge across the border has a product. */
static bool cuts_words(struct tok *t)
{
	if (t->model != &model_bpe || t->bytes || t->ignore_merges || t->cont.n || t->end.n) return false;
	if (vocab_id(t, MARK, 3) < 0) return false;
	for (int i = 0; i < t->n_model; i++)
		if (!find_glue(t, i)) return false;
	return true;
}

/* Tokens and merges know nothing of each other: two threads, where a thread is worth its start. */
struct halves { struct tok *t; int rc[2]; struct lm_err err[2]; };
static void half(void *ctx, int tid, int nt)
{
	struct halves *h = ctx;
	if (tid == 0 && h->t->model->merges) h->rc[0] = h->t->model->merges(h->t, &h->err[0]);
	if (tid == nt - 1) h->rc[1] = index_tokens(h->t, &h->err[1]);
}

int vocab_index(struct tok *t, struct lm_err *err)
{
	struct halves h = { .t = t };
	struct lm_pool *pool = t->n_merge > MANY && lm_cpu_count() > 1 ? lm_pool_new(2) : NULL;
	t->n_model = t->n;
	if (pool) lm_pool_run(pool, half, &h);
	else half(&h, 0, 1);
	lm_pool_free(pool);
	for (int i = 1; i >= 0; i--)
		if (h.rc[i]) return lm_fail(err, h.rc[i], "%s", h.err[i].msg);
	find_bytes(t);
	return 0;
}

int vocab_finish(struct tok *t, struct lm_err *err)
{
	t->cut_words = cuts_words(t);
	return t->model->ready ? t->model->ready(t, err) : 0;
}
