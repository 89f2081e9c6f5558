/* mem.c - the allocator's hook, arenas, growing bytes. */
#include "base/base.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- allocation with a failure hook: LM_FAIL_ALLOC=n fails the n-th, n+ the n-th and all after it ---- */
static long fail_at = -1;              /* -1: not read yet, 0: off */
static bool fail_on;
static atomic_long n_allocs;

#ifdef LM_DEBUG
static _Thread_local bool forbidden;
void lm_alloc_forbid(bool on) { forbidden = on; }
#else
enum { forbidden = 0 };
#endif

static bool failing(void)
{
	if (forbidden) __builtin_trap();
	if (fail_at < 0) {
		const char *s = getenv("LM_FAIL_ALLOC");
		char *end = NULL;
		long at = s ? strtol(s, &end, 10) : 0;
		fail_on = end && *end == '+';
		fail_at = at > 0 ? at : 0;
	}
	if (!fail_at) return false;
	long n = atomic_fetch_add(&n_allocs, 1) + 1;
	return fail_on ? n >= fail_at : n == fail_at;
}

void *lm_malloc(size_t n) { return failing() ? NULL : malloc(n ? n : 1); }
void *lm_calloc(size_t n, size_t size) { return failing() ? NULL : calloc(n ? n : 1, size ? size : 1); }
void *lm_realloc(void *p, size_t n) { return failing() ? NULL : realloc(p, n ? n : 1); }
void lm_free(void *p) { free(p); }

void *lm_aligned(size_t align, size_t n)
{
	size_t size;
	if (failing() || !lm_add_size(n, align - 1, &size)) return NULL;
	size &= ~(align - 1);
	void *p = aligned_alloc(align, size ? size : align);
	if (p) memset(p, 0, size ? size : align);
	return p;
}

void *lm_pages(size_t n)
{
	if (failing()) return NULL;
	void *p = mmap(NULL, n ? n : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

/* n bytes, in large pages from `small` on. */
static void *map_large(size_t n, size_t small)
{
	enum { LARGE = 2 << 20 };
	size_t page = (size_t)sysconf(_SC_PAGESIZE), large = n < small + LARGE / 2 ? 0 : LARGE, all;
	if (!lm_add_size(n, large + page, &all)) return NULL;
	size_t keep = (n + page - 1) / page * page;
	uint8_t *p = lm_pages(keep + large);
	if (p && large) { /* from a large page's border on */
		size_t front = (size_t)(-((uintptr_t)p + small) % LARGE);
		if (front) munmap(p, front);
		p += front;
		if (large > front) munmap(p + keep, large - front);
#ifdef MADV_HUGEPAGE
		madvise(p + small, keep - small, MADV_HUGEPAGE);
#endif
	}
	return p;
}

void *lm_cache(size_t n)
{
	enum { SMALL = 512 << 10 };     /* at 8B and 1B: 256 and 512 positions of a layer's keys */
	return map_large(n, SMALL);
}

/* Faults one by one cost more than the zeroing: a page that is read first, as a hash table's is, takes two. */
void *lm_table(size_t n, size_t now)
{
	void *p = map_large(n, 0);
#ifdef MADV_POPULATE_WRITE
	if (p && now) madvise(p, now, MADV_POPULATE_WRITE);
#else
	(void)now;
#endif
	return p;
}

void lm_pages_free(void *p, size_t n)
{
	if (p) munmap(p, n ? n : 1);
}

char *lm_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = lm_malloc(n);
	if (p) memcpy(p, s, n);
	return p;
}

/* ---- arenas: a list of blocks, newest first; marks count bytes handed out so far --------------------- */
struct block { struct block *prev; size_t used, cap, before; };   /* before: bytes handed out by older blocks */
struct lm_arena { struct block *top; size_t next; };
enum { HEAD = (sizeof(struct block) + 63) & ~(size_t)63 };

static struct block *block_new(size_t cap)
{
	size_t n;
	if (!lm_add_size(cap, HEAD, &n)) return NULL;
	struct block *b = lm_malloc(n);
	if (b) *b = (struct block){ .cap = cap };
	return b;
}

struct lm_arena *lm_arena_new(size_t first_block)
{
	struct lm_arena *a = lm_calloc(1, sizeof *a);
	if (a) a->next = first_block < 256 ? 256 : first_block;
	return a;
}

void *lm_alloc(struct lm_arena *a, size_t n, size_t size, size_t align)
{
	size_t bytes, want;
	if (!lm_mul_size(n, size, &bytes) || !lm_add_size(bytes, align, &want)) return NULL;
	struct block *b = a->top;
	uintptr_t base = b ? (uintptr_t)b + HEAD + b->used : 0;
	size_t pad = b ? (size_t)(-base & (align - 1)) : 0;
	if (!b || b->cap - b->used < pad || b->cap - b->used - pad < bytes) {
		size_t cap = want > a->next ? want : a->next;
		struct block *nb = block_new(cap);
		if (!nb) return NULL;
		nb->prev = b;
		nb->before = b ? b->before + b->used : 0;
		a->top = b = nb;
		if (a->next < (size_t)16 << 20) a->next *= 2;
		base = (uintptr_t)b + HEAD;
		pad = (size_t)(-base & (align - 1));
	}
	void *p = (char *)b + HEAD + b->used + pad;
	b->used += pad + bytes;
	return memset(p, 0, bytes);
}

char *lm_arena_str(struct lm_arena *a, const char *s, size_t n)
{
	if (n == SIZE_MAX) return NULL;
	char *p = lm_new(a, char, n + 1);
	if (p && n) memcpy(p, s, n);
	return p;
}

size_t lm_arena_mark(const struct lm_arena *a) { return a->top ? a->top->before + a->top->used : 0; }

void lm_arena_reset(struct lm_arena *a, size_t mark)
{
	while (a->top && a->top->before >= mark && (a->top->before > 0 || mark == 0)) {
		struct block *b = a->top;
		a->top = b->prev;
		lm_free(b);
	}
	if (a->top) a->top->used = mark - a->top->before;
}

void lm_arena_free(struct lm_arena *a)
{
	if (!a) return;
	lm_arena_reset(a, 0);
	lm_free(a);
}

/* ---- growing bytes ------------------------------------------------------------------------------------ */
static bool room(struct lm_buf *b, size_t n)
{
	size_t want;
	if (b->bad || !lm_add_size(b->n, n, &want) || !lm_add_size(want, 1, &want)) {
		b->bad = true;
		return false;
	}
	if (want <= b->cap) return true;
	size_t cap = b->cap < 64 ? 64 : b->cap;
	while (cap < want) cap = cap > SIZE_MAX / 2 ? want : cap * 2;
	char *p = lm_realloc(b->p, cap);
	if (!p) {
		b->bad = true;
		return false;
	}
	b->p = p;
	b->cap = cap;
	return true;
}

void lm_buf_add(struct lm_buf *b, const void *p, size_t n)
{
	if (!room(b, n)) return;
	if (n) memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = 0;
}

void lm_buf_str(struct lm_buf *b, const char *s) { lm_buf_add(b, s, strlen(s)); }
void lm_buf_char(struct lm_buf *b, char c) { lm_buf_add(b, &c, 1); }

void lm_buf_fmt(struct lm_buf *b, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n >= 0 && room(b, (size_t)n)) {
		vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
		b->n += (size_t)n;
	} else b->bad = true;
	va_end(again);
}

const char *lm_buf_cstr(struct lm_buf *b)
{
	if (b->bad || !b->p) return "";
	b->p[b->n] = 0;                          /* a caller may have shortened it */
	return b->p;
}

void lm_buf_free(struct lm_buf *b)
{
	lm_free(b->p);
	*b = (struct lm_buf){ 0 };
}
