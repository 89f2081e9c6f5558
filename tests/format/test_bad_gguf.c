/* Malformed files: each is refused with the right code and a sentence that names the place, within a second and
 * 100 MB.  Every case runs in a child of its own, from memory that ends at an unmapped page and by its path. */
#include "format/file.h"
#include "hostile.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

int fuzz_gguf(const uint8_t *data, size_t size);           /* reads all of a file: tests/fuzz */

struct bad { char name[256], says[256]; int code; const uint8_t *data; size_t size; };

/* 0 when `rc` and the sentence are what `b` wants and the child's time is within a second. */
static int judge(const struct bad *b, const char *how, int rc, const struct lm_err *err)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	if (rc == b->code && strstr(err->msg, b->says) && t.tv_sec < 1) return 0;
	fprintf(stderr, "%s %s: code %d, expected %d; \"%s\", expected \"%s\"; %ld s\n", b->name, how, rc, b->code, err->msg,
	        b->says, (long)t.tv_sec);
	return 1;
}

static int in_child(const struct bad *b, const char *path)
{
	struct file *f;
	struct lm_err err = { 0 };
	hostile_limits(2);
	if (b->data) {
		void *base;
		size_t all;
		const uint8_t *p = hostile_fenced(b->data, b->size, &base, &all);
		int rc = file_open_mem(&f, p, b->size, &err);
		if (judge(b, "in memory", rc, &err)) return 1;
		file_close(f);
		fuzz_gguf(p, b->size);
	}
	err.msg[0] = 0;
	int rc = file_open(&f, path, &err);
	if (judge(b, "by path", rc, &err)) return 1;
	if (rc && !strstr(err.msg, path)) {
		fprintf(stderr, "%s: \"%s\" does not name %s\n", b->name, err.msg, path);
		return 1;
	}
	file_close(f);
	return 0;
}

static void check(const struct bad *b, const char *path)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) _exit(in_child(b, path));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) fail_msg("%s: killed by signal %d", b->name, WTERMSIG(status));
	if (WEXITSTATUS(status)) fail_msg("%s: see above", b->name);
}

static void write_file(const char *path, const void *data, size_t n)
{
	FILE *o = fopen(path, "wb");
	assert_non_null(o);
	assert_int_equal(fwrite(data, 1, n, o), n);
	fclose(o);
}

LM_TEST(gguf_malformed_files)
{
	struct lm_buf all = { 0 };
	struct lm_err err;
	char path[] = "/tmp/lmrun-test-XXXXXX";
	int fd = mkstemp(path), n = 0;
	assert_true(fd >= 0);
	close(fd);
	assert_ok(lm_read_file(&all, "tests/fixtures/bad_gguf.bin", 1 << 20, &err), err);
	struct lm_cursor c = { (uint8_t *)all.p, (uint8_t *)all.p + all.n, false };
	for (; c.p < c.end; n++) {
		struct bad b;
		hostile_text(&c, b.name);
		b.code = (int8_t)lm_read_u8(&c);
		hostile_text(&c, b.says);
		b.size = lm_read_u16le(&c);
		b.data = lm_read_bytes(&c, b.size);
		assert_false(c.bad);
		write_file(path, b.data, b.size);
		check(&b, path);
	}
	assert_true(n > 200);
	unlink(path);
	lm_buf_free(&all);
}

/* Files over our limits hold what they claim, so they are large: made with holes. */
static void check_large(const char *name, int code, const char *says, const void *head, size_t n, uint64_t size)
{
	struct bad b = { .code = code };
	char path[] = "/tmp/lmrun-test-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, head, n), n);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
	snprintf(b.name, sizeof b.name, "%s", name);
	snprintf(b.says, sizeof b.says, "%s", says);
	check(&b, path);
	unlink(path);
}

static void put(struct lm_buf *b, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++) lm_buf_char(b, (char)(v >> (8 * i)));
}

/* A head with the counts, then one key `k` of `type`, up to where its value begins. */
static void put_head(struct lm_buf *b, uint64_t n_tensors, uint64_t n_keys, int type)
{
	b->n = 0;
	lm_buf_str(b, "GGUF");
	put(b, 3, 4);
	put(b, n_tensors, 8);
	put(b, n_keys, 8);
	put(b, 1, 8);
	lm_buf_str(b, "k");
	put(b, (uint64_t)type, 4);
}

LM_TEST(gguf_over_the_limits)
{
	struct lm_buf b = { 0 };
	put_head(&b, 0, FILE_MAX_KEYS + 1, FT_U8);
	check_large("keys", LM_ELIMIT, "1048577 keys, more than the limit", b.p, b.n, 16 << 20);
	put_head(&b, FILE_MAX_TENSORS + 1, 1, FT_U8);
	check_large("tensors", LM_ELIMIT, "1048577 tensors, more than the limit", b.p, b.n, 40 << 20);
	put_head(&b, 0, 1, FT_STR);
	put(&b, FILE_MAX_STRING + 1, 8);
	check_large("string", LM_ELIMIT, "key k: a string of 16777217 bytes", b.p, b.n, 20 << 20);
	put_head(&b, 0, 1, FT_ARR);
	put(&b, FT_U8, 4);
	put(&b, FILE_MAX_ARRAY + 1, 8);
	check_large("array", LM_ELIMIT, "key k: an array of 67108865 elements", b.p, b.n, 65 << 20);
	put_head(&b, 0, 1, FT_ARR);
	put(&b, FT_STR, 4);
	put(&b, 2, 8);
	put(&b, FILE_MAX_STRING + 1, 8);
	check_large("string in array", LM_ELIMIT, "key k: element 0 has 16777217 bytes", b.p, b.n, 20 << 20);
	lm_buf_free(&b);
}

/* ---- splits ------------------------------------------------------------------------------------------- */
static struct lm_buf read_all(const char *path)
{
	struct lm_buf b = { 0 };
	struct lm_err err;
	assert_ok(lm_read_file(&b, path, 1 << 20, &err), err);
	return b;
}

/* The three parts of the fixture in a folder of their own, one of them changed by `spoil`; opened by part `by`. */
static void check_split(int code, const char *says, int by, void (*spoil)(const char *dir, struct lm_buf part[3]))
{
	char dir[] = "/tmp/lmrun-test-XXXXXX", path[100], from[100];
	struct lm_buf part[3];
		assert_non_null(mkdtemp(dir));
	for (int i = 0; i < 3; i++) {
		snprintf(from, sizeof from, "tests/fixtures/gguf/split-%05d-of-00003.gguf", i + 1);
		part[i] = read_all(from);
	}
	spoil(dir, part);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/m-%05d-of-00003.gguf", dir, i + 1);
		if (part[i].n) write_file(path, part[i].p, part[i].n);
	}
	struct file *f;
	struct lm_err err = { 0 };
	snprintf(path, sizeof path, by ? "%s/m-%05d-of-00003.gguf" : "%s/model.gguf", dir, by);
	int rc = file_open(&f, path, &err);
	if (rc != code || !strstr(err.msg, says) || !strstr(err.msg, dir))
		fail_msg("%s: %d, expected %d; \"%s\", expected \"%s\"", path, rc, code, err.msg, says);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/m-%05d-of-00003.gguf", dir, i + 1);
		unlink(path);
		lm_buf_free(&part[i]);
	}
	snprintf(path, sizeof path, "%s/model.gguf", dir);
	unlink(path);
	rmdir(dir);
}

/* Where the value of `key` begins: behind the name and the type. */
static uint8_t *value_of(struct lm_buf *b, const char *key)
{
	char *p = memmem(b->p, b->n, key, strlen(key));
	assert_non_null(p);
	return (uint8_t *)p + strlen(key) + 4;
}

static void lose_second(const char *dir, struct lm_buf part[3]) { (void)dir, part[1].n = 0; }
static void lose_first(const char *dir, struct lm_buf part[3]) { (void)dir, part[0].n = 0; }
static void cut_third(const char *dir, struct lm_buf part[3]) { (void)dir, part[2].n -= 8; }
static void garble_second(const char *dir, struct lm_buf part[3]) { (void)dir, memset(part[1].p, 0, 4); }
static void swap_parts(const char *dir, struct lm_buf part[3])
{
	struct lm_buf t = part[1];
	(void)dir;
	part[1] = part[2];
	part[2] = t;
}
static void other_number(const char *dir, struct lm_buf part[3]) { (void)dir, value_of(&part[2], "split.no")[0] = 1; }
static void other_count(const char *dir, struct lm_buf part[3]) { (void)dir, value_of(&part[1], "split.count")[0] = 4; }
static void number_too_high(const char *dir, struct lm_buf part[3]) { (void)dir, value_of(&part[0], "split.no")[0] = 3; }
static void other_total(const char *dir, struct lm_buf part[3])
{
	(void)dir;
	for (int i = 0; i < 3; i++) value_of(&part[i], "split.tensors.count")[0] = 6;
}
static void same_tensor_twice(const char *dir, struct lm_buf part[3])
{
	(void)dir;
	char *p = memmem(part[2].p, part[2].n, "blk.4.weight", 12);
	assert_non_null(p);
	memcpy(p, "blk.0.weight", 12);
}
static void rename_first(const char *dir, struct lm_buf part[3])
{
	char path[100];
	snprintf(path, sizeof path, "%s/model.gguf", dir);
	write_file(path, part[0].p, part[0].n);
}

LM_TEST(gguf_broken_splits)
{
	for (int by = 1; by <= 3; by += 2) {
		check_split(LM_EIO, "m-00002-of-00003.gguf: No such file", by, lose_second);
		check_split(LM_EFORMAT, "m-00003-of-00003.gguf: tensor blk.4.weight: needs", by, cut_third);
		check_split(LM_EFORMAT, "m-00002-of-00003.gguf: begins with the bytes 00", by, garble_second);
		check_split(LM_EFORMAT, "must end in -00003-of-00003.gguf", 2, swap_parts);
		check_split(LM_EFORMAT, "m-00002-of-00003.gguf: claims to be part 3 of 3", 1, swap_parts);
		check_split(LM_EFORMAT, "m-00003-of-00003.gguf: claims to be part 2 of 3", 1, other_number);
		check_split(LM_EFORMAT, "m-00002-of-00003.gguf: claims to be part 2 of 4", by, other_count);
		check_split(LM_EFORMAT, "5 tensors, but split.tensors.count is 6", by, other_total);
		check_split(LM_EFORMAT, "tensor blk.0.weight: occurs twice", by, same_tensor_twice);
	}
	check_split(LM_EIO, "m-00001-of-00003.gguf: No such file", 2, lose_first);
	check_split(LM_EFORMAT, "claims to be part 4 of 3", 1, number_too_high);
	check_split(LM_EFORMAT, "is part 1 of 3, so its name must end in -00001-of-00003.gguf", 0, rename_first);

	struct lm_buf b = read_all("tests/fixtures/gguf/split-00002-of-00003.gguf");
	struct file *f;
	struct lm_err err;
	assert_int_equal(file_open_mem(&f, b.p, b.n, &err), LM_EUNSUPPORTED);
	assert_non_null(strstr(err.msg, "part 2 of 3"));
	lm_buf_free(&b);
}

/* ---- every cut and every changed byte of a good file: opens or is refused, reads nothing outside ---------- */
/* Where a file's tensor data begins and where the last byte that matters ends. */
static void extent(const struct lm_buf *b, size_t *first, size_t *end)
{
	struct file *f;
	struct lm_err err;
	assert_ok(file_open_mem(&f, b->p, b->n, &err), err);
	int last = file_count(f) - 1;
	*first = (size_t)file_offset(f, 0, NULL);
	*end = (size_t)(file_offset(f, last, NULL) + file_at(f, last)->size);
	file_close(f);
}

LM_TEST(gguf_every_truncation)
{
	struct lm_buf b = read_all("tests/fixtures/gguf/types.gguf");
	void *base;
	size_t all, first, end;
	uint8_t *p = hostile_fenced((uint8_t *)b.p, b.n, &base, &all);
	extent(&b, &first, &end);
	for (size_t n = 0; n < b.n; n++) {
		uint8_t *q = p + (b.n - n);                 /* the fence stays where it is */
		struct file *f;
		struct lm_err err = { 0 };
		memmove(q, b.p, n);
		int rc = file_open_mem(&f, q, n, &err);
		file_close(f);
		assert_int_equal(rc, n < end ? LM_EFORMAT : 0);
		assert_true(rc == 0 || err.msg[0]);
		fuzz_gguf(q, n);
	}
	munmap(base, all);
	lm_buf_free(&b);
}

LM_TEST(gguf_every_changed_byte)
{
	struct lm_buf b = read_all("tests/fixtures/gguf/types.gguf");
	void *base;
	size_t all, head, end;
	uint8_t *p = hostile_fenced((uint8_t *)b.p, b.n, &base, &all);
	extent(&b, &head, &end);
	for (size_t i = 0; i < head; i++) {
		uint8_t was = p[i];
		for (int k = 0; k < 8; k++) {
			p[i] = (uint8_t)(was ^ 1 << k);
			fuzz_gguf(p, b.n);
		}
		static const uint8_t extreme[] = { 0, 0x7f, 0xff };
		for (int k = 0; k < 3; k++) {
			p[i] = extreme[k];
			fuzz_gguf(p, b.n);
		}
		p[i] = was;
	}
	munmap(base, all);
	lm_buf_free(&b);
}
