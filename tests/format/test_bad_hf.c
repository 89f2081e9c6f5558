/* Malformed folders and containers: each is refused with the right code and one sentence that names the thing, within a
 * second and 100 MB.  Every case runs in a child of its own, through file_open, through raw_open, and each container
 * from memory that ends at an unmapped page. */
#include "fuzz/raw.h"
#include "hostile.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

int fuzz_safetensors(const uint8_t *data, size_t size);    /* read all of a container: tests/fuzz */
int fuzz_torch(const uint8_t *data, size_t size);

struct bad { char name[256], says[256], path[256]; int code; struct entry { char path[256]; const uint8_t *p; size_t n; } file[8]; int n; };

/* 0 when `rc` and the sentence are what `b` wants and the child's time is within a second. */
static int judge(const struct bad *b, const char *how, const char *dir, int rc, const struct lm_err *err)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	bool names = rc == 0 || strstr(err->msg, dir);
	if (rc == b->code && strstr(err->msg, b->says) && names && t.tv_sec < 1) return 0;
	fprintf(stderr, "%s %s: code %d, expected %d; \"%s\", expected \"%s\"; %ld s\n", b->name, how, rc, b->code, err->msg,
	        b->says, (long)t.tv_sec);
	return 1;
}

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s), k = strlen(with);
	return n >= k && !strcmp(s + n - k, with);
}

/* The container behind which a page faults. */
static void read_fenced(const struct entry *f)
{
	void *base;
	size_t all;
	const uint8_t *p = hostile_fenced(f->p, f->n, &base, &all);
	if (ends(f->path, ".safetensors")) fuzz_safetensors(p, f->n);
	else if (ends(f->path, ".bin")) fuzz_torch(p, f->n);
	munmap(base, all);
}

static int open_raw(const char *dir, const char *path, struct lm_err *err)
{
	struct raw_open o;
	raw_begin(&o);
	o.h.dir = o.f.path = dir;
	int rc = raw_open(&o.h, path, err);
	if (!rc) rc = layouts_open(&o.h, err);
	hf_close(&o.h);
	for (int i = 0; i < o.f.n_parts; i++) lm_map_close(&o.f.part[i]);
	lm_free(o.f.part);
	lm_arena_free(o.f.arena);
	return rc;
}

static int in_child(const struct bad *b, const char *dir)
{
	char path[600];
	struct lm_err err = { 0 };
	struct file *f;
	hostile_limits(2);
	snprintf(path, sizeof path, "%s%s%s", dir, *b->path ? "/" : "", b->path);
	int rc = file_open(&f, path, &err);
	if (b->code && judge(b, "as a model", dir, rc, &err)) return 1;
	file_close(f);
	if (strncmp(b->name, "folder", 6)) {
		err.msg[0] = 0;
		rc = open_raw(dir, path, &err);
		if (judge(b, "as raw tensors", dir, rc, &err)) return 1;
	}
	for (int i = 0; i < b->n; i++) read_fenced(&b->file[i]);
	return 0;
}

static void in_dir(const struct bad *b, const char *dir, bool make)
{
	char path[600];
	for (int i = 0; i < b->n; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, b->file[i].path);
		char *slash = strrchr(path, '/');
		*slash = 0;
		if (make) mkdir(path, 0777);
		*slash = '/';
		FILE *o = make ? fopen(path, "wb") : NULL;
		if (make) assert_true(o && fwrite(b->file[i].p, 1, b->file[i].n, o) == b->file[i].n);
		if (o) fclose(o);
		if (!make) unlink(path);
		*slash = 0;
		if (!make) rmdir(path);                         /* only where it is empty */
	}
	if (!make) rmdir(dir);
}

/* 0 when all is as `b` wants it; what is not is on stderr. */
static int check(const struct bad *b)
{
	char dir[] = "/tmp/lmrun-test-XXXXXX";
	int status;
	assert_non_null(mkdtemp(dir));
	in_dir(b, dir, true);
	fflush(stdout);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) _exit(in_child(b, dir));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	in_dir(b, dir, false);
	if (WIFSIGNALED(status)) fprintf(stderr, "%s: killed by signal %d\n", b->name, WTERMSIG(status));
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

LM_TEST(hf_malformed_folders)
{
	struct lm_buf all = { 0 };
	struct lm_err err;
	int n = 0, wrong = 0;
	assert_ok(lm_read_file(&all, "tests/fixtures/bad_hf.bin", 4 << 20, &err), err);
	struct lm_cursor c = { (uint8_t *)all.p, (uint8_t *)all.p + all.n, false };
	for (; c.p < c.end; n++) {
		struct bad b;
		hostile_text(&c, b.name);
		b.code = (int8_t)lm_read_u8(&c);
		hostile_text(&c, b.says);
		hostile_text(&c, b.path);
		b.n = lm_read_u8(&c);
		assert_in_range(b.n, 0, 8);
		for (int i = 0; i < b.n; i++) {
			hostile_text(&c, b.file[i].path);
			b.file[i].n = lm_read_u32le(&c);
			b.file[i].p = lm_read_bytes(&c, b.file[i].n);
		}
		assert_false(c.bad);
		wrong += check(&b);
	}
	assert_int_equal(wrong, 0);
	assert_true(n > 240);
	lm_buf_free(&all);
}

/* ---- large ones, made here ----------------------------------------------------------------------------- */
static void check_one(const char *name, int code, const char *says, const char *path, const struct lm_buf *data)
{
	static const char config[] = "{}";
	struct bad b = { .code = code, .n = 2 };
	assert_false(data->bad);
	snprintf(b.name, sizeof b.name, "%s", name);
	snprintf(b.says, sizeof b.says, "%s", says);
	strcpy(b.file[0].path, "config.json");
	b.file[0].p = (const uint8_t *)config;
	b.file[0].n = 2;
	strcpy(b.file[1].path, path);
	b.file[1].p = (uint8_t *)data->p;
	b.file[1].n = data->n;
	assert_int_equal(check(&b), 0);
}

static void put(struct lm_buf *b, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++) lm_buf_char(b, (char)(i < 8 ? v >> 8 * i : 0));
}

/* A header is read in linear time: 60000 tensors, forwards and backwards. */
LM_TEST(hf_many_tensors)
{
	for (int back = 0; back < 2; back++) {
		struct lm_buf b = { 0 };
		int n = 60000;
		put(&b, 0, 8);
		lm_buf_char(&b, '{');
		for (int i = 0; i < n; i++) {
			int at = back ? n - 1 - i : i;
			lm_buf_fmt(&b, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}", i ? "," : "", i, at, at + 1);
		}
		lm_buf_char(&b, '}');
		uint64_t head = b.n - 8;
		memcpy(b.p, &head, 8);
		for (int i = 0; i < n; i++) lm_buf_char(&b, 1);
		check_one("many tensors", 0, "", "model.safetensors", &b);
		lm_buf_free(&b);
	}
}

LM_TEST(hf_header_over_the_limit)
{
	struct lm_buf b = { 0 };
	put(&b, 100000001, 8);
	lm_buf_char(&b, '{');
	char path[] = "/tmp/lmrun-test-XXXXXX";
	int fd = mkstemp(path);
	struct lm_err err = { 0 };
	assert_int_equal(write(fd, b.p, b.n), b.n);
	assert_int_equal(ftruncate(fd, 100000100), 0);
	close(fd);
	assert_int_equal(open_raw("/tmp", path, &err), LM_ELIMIT);
	assert_non_null(strstr(err.msg, "a header of 100000001 bytes, more than the limit"));
	unlink(path);
	lm_buf_free(&b);
}

LM_TEST(hf_many_shards)
{
	for (int n = 9000; n <= 20000; n += 11000) {
		struct lm_buf b = { 0 };
		lm_buf_str(&b, "{\"weight_map\":{");
		for (int i = 0; i < n; i++) lm_buf_fmt(&b, "%s\"t%d\":\"%d.safetensors\"", i ? "," : "", i, i);
		lm_buf_str(&b, "}}");
		/* the first one is missing, however many there are */
		check_one("many shards", LM_EFORMAT, "0.safetensors: No such file", "model.safetensors.index.json", &b);
		lm_buf_free(&b);
	}
}

/* Bytes of pickle that each make a value, an entry of the memo or a place on a stack. */
LM_TEST(hf_large_pickles)
{
	static const struct { const char *unit; size_t n; int code; const char *says; } kind[] = {
		{ "]", 1, LM_EUNSUPPORTED, "holds no state dict" },
		{ "(", 1, LM_EUNSUPPORTED, "holds no state dict" },
		{ "N", 1, LM_EUNSUPPORTED, "holds no state dict" },
		{ "]\x94", 2, LM_EUNSUPPORTED, "holds no state dict" },
		{ "K\1", 2, LM_EUNSUPPORTED, "holds no state dict" },
		{ "]\x85", 2, LM_EUNSUPPORTED, "holds no state dict" },
	};
	for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
		struct lm_buf pkl = { 0 }, b = { 0 };
		lm_buf_add(&pkl, "\x80\2N", 3);
		for (size_t n = 0; n < 1000000 / kind[i].n; n++) lm_buf_add(&pkl, kind[i].unit, kind[i].n);
		lm_buf_str(&pkl, "N.");
		lm_buf_add(&b, "PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18);
		put(&b, pkl.n, 4);
		put(&b, pkl.n, 4);
		put(&b, 10, 4);
		lm_buf_str(&b, "a/data.pkl");
		lm_buf_add(&b, pkl.p, pkl.n);
		size_t at = b.n;
		lm_buf_add(&b, "PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
		put(&b, pkl.n, 4);
		put(&b, pkl.n, 4);
		put(&b, 10, 14);
		put(&b, 0, 4);
		lm_buf_str(&b, "a/data.pkl");
		lm_buf_add(&b, "PK\5\6\0\0\0\0\1\0\1\0", 12);
		put(&b, 56, 4);
		put(&b, at, 4);
		put(&b, 0, 2);
		check_one("a large pickle", kind[i].code, kind[i].says, "pytorch_model.bin", &b);
		lm_buf_free(&pkl);
		lm_buf_free(&b);
	}
}
