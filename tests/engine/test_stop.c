/* Stop strings: every way of cutting the stream shows the same text, and a stop string never leaks. */
#include "test.h"
#include "engine/stop.h"

struct run { char text[512]; size_t n; int hit; };

/* Pushes s in pieces; bit i of cuts: a cut after byte i. */
static struct run run(const char *s, const char *const *stops, int n_stop, uint32_t cuts)
{
	size_t len[8];
	for (int i = 0; i < n_stop; i++) len[i] = strlen(stops[i]);
	struct stop st = { .s = stops, .len = len, .n = n_stop };
	struct run r = { .hit = -1 };
	size_t from = 0, end = strlen(s), n;
	const char *out;
	for (size_t i = 0; i < end && r.hit < 0; i++) {
		if (i + 1 < end && !(cuts >> (i % 32) & 1)) continue;
		r.hit = stop_push(&st, s + from, i + 1 - from, &out, &n);
		memcpy(r.text + r.n, out, n);
		r.n += n;
		from = i + 1;
	}
	if (r.hit < 0) {
		stop_end(&st, &out, &n);
		memcpy(r.text + r.n, out, n);
		r.n += n;
	}
	stop_free(&st);
	return r;
}

static void same(const char *s, const char *const *stops, int n_stop, const char *want, int hit)
{
	size_t n = strlen(s);
	uint32_t all = n < 15 ? 1u << n : 1u << 14;
	for (uint32_t cuts = 0; cuts < all; cuts++) {
		uint32_t c = n < 15 ? cuts : cuts * 2654435761u;
		struct run r = run(s, stops, n_stop, c);
		if (r.n != strlen(want) || memcmp(r.text, want, r.n) || r.hit != hit)
			fail_msg("\"%s\" cut %x: \"%.*s\" stop %d, expected \"%s\" stop %d", s, c, (int)r.n, r.text, r.hit, want, hit);
	}
}
#define STOPS(...) (const char *const[]){ __VA_ARGS__ }, (int)(sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

LM_TEST(stop_every_split_of_the_stream)
{
	same("hello END more", STOPS("END"), "hello ", 0);
	same("aaab", STOPS("aab"), "a", 0);
	same("aabaabaac", STOPS("aabaac"), "aab", 0);
	same("abcabd", STOPS("abd"), "abc", 0);
	same("no such thing", STOPS("zebra", "thinker"), "no such thing", -1);
	same("ends in a beginni", STOPS("beginning"), "ends in a beginni", -1);
	same("END", STOPS("END"), "", 0);
	same("xabcd", STOPS("abcd", "bc"), "xa", 1);           /* the one that ends first */
	same("xxab", STOPS("b", "ab"), "xx", 1);               /* ending together: the longest */
	same("User: hi\nUser:", STOPS("\nUser:"), "User: hi", 0);
	same("\n\n\nx", STOPS("\n\n"), "", 0);
	same("ab", STOPS("a"), "", 0);
}

LM_TEST(stop_keeps_characters_whole)
{
	same("a\xE2\x82\xAC" "b", STOPS("\xAC" "b"), "a", 0);  /* begins inside the euro sign */
	const char *s = "x\xF0\x9F\x98\x80y STOP";
	same(s, STOPS("STOP"), "x\xF0\x9F\x98\x80y ", 0);
	size_t len = 4, n;
	const char *out;
	struct stop st = { .s = (const char *const[]){ "\x98\x80zz" }, .len = &len, .n = 1 };
	assert_int_equal(stop_push(&st, "x\xF0\x9F\x98\x80", 5, &out, &n), -1);
	assert_int_equal(n, 1);                                /* the emoji is not split though only 2 bytes are suspect */
	assert_int_equal(stop_push(&st, "y", 1, &out, &n), -1);
	assert_int_equal(n, 5);
	stop_free(&st);
}

/* Random streams over a small alphabet, against a search of the whole text. */
LM_TEST(stop_random_streams)
{
	uint32_t ctr[4] = { 0 }, key[2] = { 5, 6 }, r[4];
	for (int t = 0; t < 20000; t++) {
		char s[25], stops_buf[3][6];
		const char *stops[3] = { stops_buf[0], stops_buf[1], stops_buf[2] };
		ctr[0] = (uint32_t)t;
		lm_philox(r, ctr, key);
		for (int i = 0; i < 24; i++) s[i] = (char)('a' + (r[i / 8] >> (i % 8 * 2) & 3) % 3);
		s[24] = 0;
		ctr[1] = 1;
		lm_philox(r, ctr, key);
		ctr[1] = 0;
		for (int k = 0; k < 3; k++) {
			int n = 1 + (int)(r[k] >> 28) % 5;
			for (int i = 0; i < n; i++) stops_buf[k][i] = (char)('a' + (r[k] >> (2 * i) & 3) % 3);
			stops_buf[k][n] = 0;
		}
		size_t cut = 24;
		int hit = -1;
		for (size_t end = 1; end <= 24 && hit < 0; end++)
			for (int k = 0; k < 3; k++) {
				size_t n = strlen(stops[k]);
				if (n <= end && !memcmp(s + end - n, stops[k], n) && (hit < 0 || n > strlen(stops[hit])))
					hit = k, cut = end - n;
			}
		struct run got = run(s, stops, 3, r[3]);
		assert_int_equal(got.hit, hit);
		assert_int_equal(got.n, cut);
		assert_memory_equal(got.text, s, cut);
	}
}
