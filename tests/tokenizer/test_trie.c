/* The trie against a search through all texts: random vocabularies of few letters, so that texts share beginnings,
 * repeat, hold NUL and differ only behind the bytes that are sorted first. */
#include "test.h"
#include "tokenizer/trie.h"

static uint32_t seed = 1;
static uint32_t below(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static size_t fill(char *s, uint32_t most)
{
	static const char letter[] = { 'a', 'b', '\0', '\xFF' };
	size_t n = 1 + below(most), same = below(3) ? below(24) : 0;
	for (size_t i = 0; i < n; i++) s[i] = i < same ? 'a' : letter[below(4)];
	return n;
}

/* The shortest token of more than `least` bytes that s begins with, the first or the last of equal ones; -1. */
static int32_t search(const struct tok *t, const char *s, size_t n, size_t skip, size_t least, bool last)
{
	int32_t best = -1;
	for (int32_t i = 0; i < t->n; i++) {
		size_t len = t->piece[i].len < skip ? 0 : t->piece[i].len - skip;
		if (len <= least || len > n || memcmp(piece_text(t, i) + skip, s, len)) continue;
		if (best < 0 || t->piece[i].len < t->piece[best].len || (last && t->piece[i].len == t->piece[best].len))
			best = i;
	}
	return best;
}

static void check(int n, uint32_t most, uint32_t skip, bool last)
{
	struct lm_err e;
	struct tok *t = vocab_new(n, &e);
	struct trie *tr;
	char s[64];
	assert_non_null(t);
	for (int i = 0; i < n; i++) {
		size_t len = fill(s, most);
		assert_int_equal(vocab_copy(t, i, s, len, TYPE_NORMAL, &e), 0);
	}
	t->n_model = n;
	assert_int_equal(trie_new(&tr, t, NULL, skip, last, &e), 0);
	for (int k = 0; k < 200; k++) {
		struct trie_walk w = { 0 };
		size_t len = fill(s, 64), at = 0;
		int32_t id;
		do {
			int32_t want = search(t, s, len, skip, at, last);
			id = trie_next(tr, t, &w, s, len);
			assert_int_equal(id, want);
			at = w.at;
		} while (id >= 0);
	}
	trie_free(tr);
	tok_free(t);
}

LM_TEST(trie_finds_what_a_search_finds)
{
	for (int round = 0; round < 60; round++)
		check(1 + (int)below(300), round % 3 ? 40 : 6, (uint32_t)(round % 4), round & 1);
}
