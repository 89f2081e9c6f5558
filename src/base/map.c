/* map.c - files: mapped whole and read-only, or read into memory; the cursor over bytes. */
#include "base/base.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int lm_map_open(struct lm_map *m, const char *path, struct lm_err *err)
{
	*m = (struct lm_map){ 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);   /* a pipe must not make us wait for a writer */
	if (fd < 0) return lm_fail(err, LM_EIO, "%.300s: %s", path, strerror(errno));
	struct stat st;
	int rc = 0;
	if (fstat(fd, &st) < 0) rc = lm_fail(err, LM_EIO, "%s: %s", path, strerror(errno));
	else if (S_ISDIR(st.st_mode)) rc = lm_fail(err, LM_EIO, "%s: is a directory", path);
	else if (!S_ISREG(st.st_mode)) rc = lm_fail(err, LM_EIO, "%s: is not a regular file", path);
	else if (st.st_size == 0) rc = lm_fail(err, LM_EFORMAT, "%s: the file is empty", path);
	if (!rc) {
		void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED) rc = lm_fail(err, LM_EIO, "%s: cannot be mapped: %s", path, strerror(errno));
		else *m = (struct lm_map){ p, (size_t)st.st_size };
#ifdef MADV_HUGEPAGE
		/* what is not in memory yet comes in large pages, where the file system has them: a warm 1B then costs 2,800
		 * faults instead of 14,600 */
		if (!rc) madvise(p, (size_t)st.st_size, MADV_HUGEPAGE);
#endif
	}
	close(fd);                              /* the mapping keeps the file */
	return rc;
}

void lm_map_close(struct lm_map *m)
{
	if (m->data) munmap((void *)(uintptr_t)m->data, m->size);
	*m = (struct lm_map){ 0 };
}

void lm_map_done(const struct lm_map *m, size_t at, size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), end = at + n < m->size ? at + n : m->size;
	at = (at + page - 1) / page * page;    /* a page shared with what lies beside it stays */
	end = end / page * page;
	if (at < end) madvise((void *)(uintptr_t)(m->data + at), end - at, MADV_DONTNEED);
}

int lm_read_file(struct lm_buf *b, const char *path, size_t max, struct lm_err *err)
{
	bool std = strcmp(path, "-") == 0;
	int fd = std ? 0 : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return lm_fail(err, LM_EIO, "%s: %s", path, strerror(errno));
	int rc = 0;
	char part[1 << 16];
	for (;;) {
		ssize_t n = read(fd, part, sizeof part);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) rc = lm_fail(err, LM_EIO, "%s: %s", path, strerror(errno));
		if (n <= 0) break;
		if (b->n + (size_t)n > max) {
			rc = lm_fail(err, LM_ELIMIT, "%s: more than %zu bytes", path, max);
			break;
		}
		lm_buf_add(b, part, (size_t)n);
		if (b->bad) {
			rc = lm_fail(err, LM_ENOMEM, "%s: out of memory", path);
			break;
		}
	}
	if (!std) close(fd);
	return rc;
}

const uint8_t *lm_read_bytes(struct lm_cursor *c, uint64_t n)
{
	if (c->bad || n > (uint64_t)(c->end - c->p)) {
		c->bad = true;
		return NULL;
	}
	const uint8_t *p = c->p;
	c->p += n;
	return p;
}

static uint64_t read_le(struct lm_cursor *c, unsigned n)
{
	const uint8_t *p = lm_read_bytes(c, n);
	uint64_t v = 0;
	if (p)
		for (unsigned i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t lm_read_u8(struct lm_cursor *c) { return (uint8_t)read_le(c, 1); }
uint16_t lm_read_u16le(struct lm_cursor *c) { return (uint16_t)read_le(c, 2); }
uint32_t lm_read_u32le(struct lm_cursor *c) { return (uint32_t)read_le(c, 4); }
uint64_t lm_read_u64le(struct lm_cursor *c) { return read_le(c, 8); }
