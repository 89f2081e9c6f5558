/* ahead.c - mapped files that are not in memory yet, read from front to back while others already work on them.
 * A model met for the first time is read by page faults, each of which waits for its own piece; one thread that goes
 * ahead keeps the disk busy, and its pages are mapped when their turn comes. */
#include "base/base.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STEP = 4 << 20, SAMPLES = 64, COLD = SAMPLES / 8 };

struct lm_ahead { pthread_t thread; atomic_bool stop; int n; struct lm_map part[]; };

/* How many of SAMPLES pages, evenly spread, would have to be read. */
static int absent(const struct lm_map *part, int n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), all = 0, at = 0;
	int missing = 0, i = 0;
	for (int k = 0; k < n; k++) all += part[k].size;
	for (size_t s = 0; s < SAMPLES; s++) {
		size_t want = all / SAMPLES * s;
		unsigned char in = 1;
		while (want - at >= part[i].size) at += part[i++].size;
		const uint8_t *p = part[i].data + (want - at) / page * page;
		if (mincore((void *)(uintptr_t)p, 1, (void *)&in) == 0) missing += !(in & 1);
	}
	return missing;
}

static void *read_on(void *arg)
{
	struct lm_ahead *a = arg;
	for (int i = 0; i < a->n; i++)
		for (size_t at = 0; at < a->part[i].size && !atomic_load(&a->stop); at += STEP) {
			size_t n = a->part[i].size - at < STEP ? a->part[i].size - at : STEP;
			void *p = (void *)(uintptr_t)(a->part[i].data + at);
#ifdef MADV_POPULATE_READ
			if (madvise(p, n, MADV_POPULATE_READ) == 0) continue;
#endif
			if (madvise(p, n, MADV_WILLNEED)) return NULL;
		}
	return NULL;
}

struct lm_ahead *lm_ahead_new(const struct lm_map *part, int n)
{
	if (n < 1 || absent(part, n) < COLD) return NULL;
	struct lm_ahead *a = lm_calloc(1, sizeof *a + (size_t)n * sizeof *part);
	if (!a) return NULL;
	a->n = n;
	memcpy(a->part, part, (size_t)n * sizeof *part);
	if (pthread_create(&a->thread, NULL, read_on, a) == 0) return a;
	lm_free(a);
	return NULL;
}

void lm_ahead_free(struct lm_ahead *a)
{
	if (!a) return;
	atomic_store(&a->stop, true);
	pthread_join(a->thread, NULL);
	lm_free(a);
}
