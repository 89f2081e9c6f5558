/* test_base.c - errors, arenas, buffers, files, UTF-8 and random numbers. */
#include "test.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

LM_TEST(base_error_escapes)
{
	struct lm_err e;
	assert_int_equal(lm_fail(&e, LM_EFORMAT, "key %s", "a\x1b[2J\xc2\x9b" "b\xff\xe2\x82z\xe2\x82\xac"), LM_EFORMAT);
	assert_string_equal(e.msg, "key a\\x1b[2J\\xc2\\x9b" "b\\xff\\xe2\\x82z\xe2\x82\xac");
	assert_int_equal(lm_context(&e, "file\n%d: ", 7), LM_EFORMAT);
	assert_memory_equal(e.msg, "file\\x0a7: key", 14);
	char big[3000];
	memset(big, 'x', sizeof big);
	big[sizeof big - 1] = 0;
	lm_fail(&e, LM_EINVAL, "%s", big);
	assert_true(strlen(e.msg) < sizeof e.msg);
	assert_int_equal(lm_fail(NULL, LM_EIO, "nobody listens"), LM_EIO);
}

LM_TEST(base_arena)
{
	struct lm_arena *a = lm_arena_new(100);
	assert_null(lm_alloc(a, SIZE_MAX / 2, 3, 8));
	for (int align = 1; align <= 64; align *= 2) {
		char *p = lm_alloc(a, 7, 3, (size_t)align);
		assert_int_equal((uintptr_t)p % (unsigned)align, 0);
		for (int i = 0; i < 21; i++) assert_int_equal(p[i], 0);
		memset(p, 0xEE, 21);
	}
	size_t mark = lm_arena_mark(a);
	for (int i = 0; i < 1000; i++) memset(lm_new(a, char, 500), 0xEE, 500);
	lm_arena_reset(a, mark);
	assert_int_equal(lm_arena_mark(a), mark);
	char *p = lm_new(a, char, 64);               /* zeroed although it was used before */
	for (int i = 0; i < 64; i++) assert_int_equal(p[i], 0);
	assert_string_equal(lm_arena_str(a, "abcdef", 3), "abc");
	lm_arena_free(a);
}

LM_TEST(base_buffer)
{
	struct lm_buf b = { 0 };
	assert_string_equal(lm_buf_cstr(&b), "");
	for (int i = 0; i < 1000; i++) lm_buf_fmt(&b, "%d,", i);
	assert_int_equal(b.n, 3890);
	lm_buf_char(&b, '!');
	assert_string_equal(lm_buf_cstr(&b) + b.n - 5, "999,!");
	lm_buf_free(&b);
}

LM_TEST(base_files)
{
	char path[] = "/tmp/lmrun-test-XXXXXX", fifo[64];
	struct lm_map m;
	struct lm_err e;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(lm_map_open(&m, path, &e), LM_EFORMAT);             /* empty */
	assert_int_equal(write(fd, "hello", 5), 5);
	close(fd);
	assert_ok(lm_map_open(&m, path, &e), e);
	assert_int_equal(m.size, 5);
	lm_map_close(&m);
	struct lm_buf b = { 0 };
	assert_int_equal(lm_read_file(&b, path, 4, &e), LM_ELIMIT);
	lm_buf_free(&b);
	unlink(path);
	assert_int_equal(lm_map_open(&m, path, &e), LM_EIO);
	assert_non_null(strstr(e.msg, path));
	assert_int_equal(lm_map_open(&m, "/tmp", &e), LM_EIO);
	snprintf(fifo, sizeof fifo, "%s.fifo", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(lm_map_open(&m, fifo, &e), LM_EIO);                 /* returns: nobody ever writes */
	assert_non_null(strstr(e.msg, "not a regular file"));
	unlink(fifo);
}

/* Evicted and fetched again: by the thread alone where it starts (a file system in memory has nothing to fetch). */
LM_TEST(base_ahead)
{
	enum { N = 9 << 20, PAGE = 4096 };
	char path[] = "./lmrun-test-XXXXXX", part[PAGE];
	struct lm_map m[2];
	struct lm_err e;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	for (int i = 0; i < N / PAGE; i++) {
		memset(part, i % 251, sizeof part);
		assert_int_equal(write(fd, part, sizeof part), sizeof part);
	}
	assert_ok(lm_map_open(&m[0], path, &e), e);
	assert_null(lm_ahead_new(m, 1));             /* all of it is there */
	assert_null(lm_ahead_new(m, 0));
	lm_ahead_free(NULL);
	lm_map_close(&m[0]);
	assert_int_equal(fsync(fd), 0);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	for (int i = 0; i < 2; i++) assert_ok(lm_map_open(&m[i], path, &e), e);
	struct lm_ahead *a = lm_ahead_new(m, 2);
	static unsigned char in[N / PAGE];
	double deadline = lm_now() + 10;
	for (int there = 0; a && there < N / PAGE;) {
		if (lm_now() > deadline) fail_msg("%d of %d pages after 10 seconds", there, N / PAGE);
		assert_int_equal(mincore((void *)(uintptr_t)m[1].data, N, in), 0);
		for (there = 0; there < N / PAGE && in[there] & 1;) there++;
	}
	lm_ahead_free(a);
	a = lm_ahead_new(m, 2);
	if (a) fail_msg("everything is in memory and would be read again");
	for (int i = 0; i < N; i += PAGE / 2) assert_int_equal(m[0].data[i], i / PAGE % 251);
	for (int i = 0; i < 2; i++) lm_map_close(&m[i]);
	close(fd);
	unlink(path);
}

LM_TEST(base_cursor)
{
	static const uint8_t d[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	struct lm_cursor c = { d, d + sizeof d, false };
	assert_int_equal(lm_read_u16le(&c), 0x0201);
	assert_int_equal(lm_read_u32le(&c), 0x06050403);
	assert_null(lm_read_bytes(&c, UINT64_MAX));
	assert_true(c.bad);
	assert_int_equal(lm_read_u8(&c), 0);                                 /* sticky */
}

LM_TEST(base_utf8)
{
	static const struct { const char *s; int n, len; uint32_t cp; } t[] = {
		{ "a", 1, 1, 'a' }, { "\xc3\xa9", 2, 2, 0xE9 }, { "\xe2\x82\xac", 3, 3, 0x20AC }, { "\xf0\x9f\x98\x80", 4, 4, 0x1F600 },
		{ "\xf0\x9f\x98", 3, 3, 0xFFFD }, { "\xc0\x80", 2, 1, 0xFFFD }, { "\xed\xa0\x80", 3, 1, 0xFFFD }, { "\xf4\x90\x80\x80", 4, 1, 0xFFFD },
		{ "\x80", 1, 1, 0xFFFD }, { "\xe2\x28\xa1", 3, 1, 0xFFFD }, { "\xe2\x82\x41", 3, 2, 0xFFFD },
	};
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		uint32_t cp;
		assert_int_equal(lm_utf8_next(t[i].s, (size_t)t[i].n, &cp), t[i].len);
		assert_int_equal(cp, t[i].cp);
	}
	for (uint32_t cp = 0; cp < 0x110000; cp++) {
		char s[4];
		uint32_t back;
		int n = lm_utf8_put(s, cp);
		bool surrogate = cp >= 0xD800 && cp < 0xE000;
		if (lm_utf8_next(s, (size_t)n, &back) != n || back != (surrogate ? 0xFFFD : cp)) fail_msg("U+%X", cp);
		for (int k = 1; k < n; k++)
			if (!surrogate && lm_utf8_tail(s, (size_t)k) != k) fail_msg("tail of U+%X at %d", cp, k);
		assert_int_equal(lm_utf8_tail(s, (size_t)n), 0);
	}
	assert_true(lm_utf8_valid("\xef\xbf\xbd", 3));
	assert_false(lm_utf8_valid("a\xff", 2));
}

/* Known answers of the Random123 distribution (kat_vectors, philox4x32 10). */
LM_TEST(base_philox)
{
	static const struct { uint32_t ctr[4], key[2], out[4]; } kat[] = {
		{ { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
		{ { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff }, { 0xffffffff, 0xffffffff }, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
		{ { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 }, { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
	};
	for (int i = 0; i < 3; i++) {
		uint32_t out[4];
		lm_philox(out, kat[i].ctr, kat[i].key);
		assert_memory_equal(out, kat[i].out, sizeof out);
	}
	double sum = 0;
	for (uint64_t p = 0; p < 10000; p++) {
		double u = lm_uniform(7, p, 0);
		assert_true(u >= 0 && u < 1);
		sum += u;
	}
	assert_true(sum > 4850 && sum < 5150);
	assert_true(lm_uniform(7, 1, 0) == lm_uniform(7, 1, 0) && lm_uniform(7, 1, 0) != lm_uniform(8, 1, 0));
}

LM_TEST(table_is_zero_and_writable)
{
	static const size_t size[] = { 0, 1, 4096, 70000, 1 << 20, (3 << 20) + 5 };
	for (size_t i = 0; i < sizeof size / sizeof *size; i++)
		for (int now = 0; now < 2; now++) {
			uint8_t *p = lm_table(size[i], now ? size[i] : 0);
			assert_non_null(p);
			for (size_t k = 0; k < size[i]; k += 61) {
				assert_int_equal(p[k], 0);
				p[k] = 1;
			}
			if (size[i]) p[size[i] - 1] = 1;
			lm_pages_free(p, size[i]);
		}
	assert_null(lm_table(SIZE_MAX - 100, 0));
}
