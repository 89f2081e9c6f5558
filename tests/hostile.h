/* hostile.h - input that means harm is read in a child of its own: little memory, little time, and a page that faults behind
 * the last byte. */
#pragma once
#include "test.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { HOSTILE_LIMITED = 0 };                  /* a sanitizer reserves terabytes of addresses */
#else
enum { HOSTILE_LIMITED = 1 };
#endif

/* This process: 100 MB more than it has now, cpu_s seconds, no core file. */
static inline void hostile_limits(unsigned cpu_s)
{
	unsigned long pages = 0;
	FILE *s = fopen("/proc/self/statm", "r");
	if (s && fscanf(s, "%lu", &pages) == 1 && HOSTILE_LIMITED) {
		rlim_t as = pages * (rlim_t)sysconf(_SC_PAGESIZE) + (100u << 20);
		setrlimit(RLIMIT_AS, &(struct rlimit){ as, as });
	}
	if (s) fclose(s);
	setrlimit(RLIMIT_CPU, &(struct rlimit){ cpu_s, cpu_s });
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
}

/* A copy of data[0..n) whose end is followed by a page that faults; *base, *all for munmap. */
static inline uint8_t *hostile_fenced(const uint8_t *data, size_t n, void **base, size_t *all)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (n + page - 1) / page * page;
	*all = room + page;
	*base = mmap(NULL, *all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (*base == MAP_FAILED) abort();
	mprotect((char *)*base + room, page, PROT_NONE);
	uint8_t *p = (uint8_t *)*base + room - n;
	if (n) memcpy(p, data, n);
	return p;
}

/* Length-prefixed text of a corpus of malformed files (tools/make_bad_*.py). */
static inline void hostile_text(struct lm_cursor *c, char out[256])
{
	uint8_t n = lm_read_u8(c);
	const uint8_t *p = lm_read_bytes(c, n);
	assert_non_null(p);
	memcpy(out, p, n);
	out[n] = 0;
}
