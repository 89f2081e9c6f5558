/* out.c - a file written at any place by several threads, that is there whole or not at all. */
#include "base/base.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(struct lm_err *err, const char *path)
{
	return lm_fail(err, LM_EIO, "%.300s: cannot be written: %s", path, strerror(errno));
}

/* A file without a name vanishes with the process, however that ends; not every file system has them. */
static int open_nameless(const char *path)
{
#ifdef O_TMPFILE
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) + (slash == path) : 1;
	if (n >= sizeof dir) return -1;
	memcpy(dir, slash ? path : ".", n);
	dir[n] = 0;
	return open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
#else
	(void)path;
	return -1;
#endif
}

int lm_out_open(struct lm_out *o, const char *path, struct lm_err *err)
{
	struct stat st;
	size_t n = strlen(path) + 32;
	*o = (struct lm_out){ .fd = -1, .path = lm_strdup(path), .tmp = lm_malloc(n) };
	if (!o->path || !o->tmp) {
		lm_out_close(o);
		return lm_fail(err, LM_ENOMEM, "out of memory for a file's name");
	}
	snprintf(o->tmp, n, "%s.%ld.tmp", path, (long)getpid());
	int rc = 0;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		rc = lm_fail(err, LM_EIO, "%.300s: cannot be written: it is not a regular file", path);
	if (!rc && (o->fd = open_nameless(path)) < 0) {
		o->fd = open(o->tmp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
		o->named = o->fd >= 0;
		if (o->fd < 0) rc = failed(err, path);
	}
	if (rc) lm_out_close(o);
	return rc;
}

int lm_out_write(const struct lm_out *o, uint64_t at, const void *p, size_t n, struct lm_err *err)
{
	const char *s = p;
	if (at > INT64_MAX - n) return lm_fail(err, LM_ELIMIT, "%.300s: would be too large", o->path);
	while (n) {
		ssize_t k = pwrite(o->fd, s, n < (1 << 30) ? n : 1 << 30, (off_t)at);
		if (k < 0 && errno == EINTR) continue;
		if (k == 0) errno = ENOSPC;
		if (k <= 0) return failed(err, o->path);
		s += k;
		at += (uint64_t)k;
		n -= (size_t)k;
	}
	return 0;
}

int lm_out_done(struct lm_out *o, struct lm_err *err)
{
	char link[64];
	int rc = 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", o->fd);
	if (fsync(o->fd) && errno != EINVAL) rc = failed(err, o->path);    /* a full disk may show here only */
	if (!rc && !o->named) {
		o->named = linkat(AT_FDCWD, link, AT_FDCWD, o->tmp, AT_SYMLINK_FOLLOW) == 0;
		if (!o->named) rc = failed(err, o->path);
	}
	int fd = o->fd;
	o->fd = -1;
	if (close(fd) && !rc) rc = failed(err, o->path);
	if (!rc && rename(o->tmp, o->path)) rc = failed(err, o->path);
	if (!rc) o->named = false;
	lm_out_close(o);
	return rc;
}

void lm_out_close(struct lm_out *o)
{
	if (o->fd >= 0) close(o->fd);
	if (o->named) unlink(o->tmp);
	lm_free(o->path);
	lm_free(o->tmp);
	*o = (struct lm_out){ .fd = -1 };
}
