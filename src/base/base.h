/* base.h - what every module may use: errors, memory, mapped files, threads, bytes, log.
 * Depends on libc and pthreads only; knows nothing of tensors or models. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LMRUN_VERSION "0.1.0"

/* ---- errors --------------------------------------------------------------
 * A fallible function returns 0, or a negative lm_code and one sentence in
 * *err (which may be NULL).  Library code never prints, exits or aborts on bad
 * input; assert() guards our own invariants only. */
enum lm_code {
	LM_OK = 0,
	LM_ENOMEM = -1,
	LM_EIO = -2,           /* a file cannot be opened or read */
	LM_EFORMAT = -3,       /* the bytes are not what they claim to be */
	LM_EUNSUPPORTED = -4,  /* well formed, but not something we can run */
	LM_EINVAL = -5,        /* a caller's value is out of range */
	LM_ELIMIT = -6,        /* one of our stated limits */
	LM_ECANCELED = -7,
	LM_EDEVICE = -8
};
struct lm_err { int code; char msg[508]; };

/* Fills *err and returns `code`, so a failing line reads `return lm_fail(err, LM_EFORMAT, ...)`.
 * Control bytes in the formatted text are shown as \xNN: names from files reach terminals through here. */
int lm_fail(struct lm_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Prefixes the message already there with the caller's object ("model.gguf: "); returns err->code. */
int lm_context(struct lm_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- checked arithmetic: the only way sizes that come from input are combined.  false on overflow. */
static inline bool lm_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool lm_add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool lm_mul_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool lm_add_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_add_overflow(a, b, out); }

/* ---- memory ---------------------------------------------------------------
 * Every heap allocation of the libraries goes through these, so that LM_FAIL_ALLOC=n (the n-th fails)
 * and LM_FAIL_ALLOC=n+ (all from the n-th on fail) reach every one of them. */
void *lm_malloc(size_t n);                              /* not zeroed; NULL when out of memory */
void *lm_calloc(size_t n, size_t size);                 /* zeroed; NULL also when n*size overflows */
void *lm_realloc(void *p, size_t n);                    /* p stays valid when NULL is returned */
void *lm_aligned(size_t align, size_t n);               /* zeroed, align a power of two; free with lm_free */
void lm_free(void *p);
/* Whole pages, zero when first touched and not resident before: for large things used bit by bit (KV cache). */
void *lm_pages(size_t n);
/* The same for a table that is soon written all over: in large pages where the system has them, the first `now` bytes
 * resident at once. */
void *lm_table(size_t n, size_t now);
/* Whole pages like lm_pages, large ones but for the beginning: many caches that begin to fill take little each. */
void *lm_cache(size_t n);
void lm_pages_free(void *p, size_t n);
char *lm_strdup(const char *s);
/* A debug build (LM_DEBUG) traps when this thread allocates while forbidden: for loops that promise not to. */
#ifdef LM_DEBUG
void lm_alloc_forbid(bool on);
#else
static inline void lm_alloc_forbid(bool on) { (void)on; }
#endif

/* ---- arenas: one owner, one lifetime, one free ---------------------------- */
struct lm_arena;
struct lm_arena *lm_arena_new(size_t first_block);      /* NULL when out of memory */
/* Zeroed, aligned memory for n objects of `size` bytes; NULL when out of memory or n*size overflows. */
void *lm_alloc(struct lm_arena *a, size_t n, size_t size, size_t align);
#define lm_new(a, T, n) ((T *)lm_alloc((a), (size_t)(n), sizeof(T), _Alignof(T)))
char *lm_arena_str(struct lm_arena *a, const char *s, size_t n);   /* copy of s[0..n) with a NUL; NULL: no memory */
size_t lm_arena_mark(const struct lm_arena *a);
void lm_arena_reset(struct lm_arena *a, size_t mark);   /* frees everything made after `mark` */
void lm_arena_free(struct lm_arena *a);                 /* NULL is fine */

/* ---- growing byte buffer: the error is sticky, test `bad` once at the end -- */
struct lm_buf { char *p; size_t n, cap; bool bad; };
void lm_buf_add(struct lm_buf *b, const void *p, size_t n);
void lm_buf_str(struct lm_buf *b, const char *s);
void lm_buf_char(struct lm_buf *b, char c);
void lm_buf_fmt(struct lm_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *lm_buf_cstr(struct lm_buf *b);              /* NUL-terminated view, "" when empty or bad */
void lm_buf_free(struct lm_buf *b);

/* ---- read-only mapped file, and a cursor whose error is sticky ------------ */
struct lm_map { const uint8_t *data; size_t size; };
int lm_map_open(struct lm_map *m, const char *path, struct lm_err *err);
void lm_map_close(struct lm_map *m);
/* n bytes from `at` on need not stay in memory; they are read anew when touched. */
void lm_map_done(const struct lm_map *m, size_t at, size_t n);
/* Reads n mapped files on a thread of its own, so that they are in memory before they are touched.  NULL when most of them
 * are there already, or when no thread is to be had: all works without.  The files stay mapped until lm_ahead_free. */
struct lm_ahead;
struct lm_ahead *lm_ahead_new(const struct lm_map *part, int n);
void lm_ahead_free(struct lm_ahead *a);                 /* stops it; NULL is fine */
/* A file being written; it takes its name when all of it is there (lm_out_done), else nothing is left of it.  Threads may
 * write at once; what lies between stays zero. */
struct lm_out { int fd; char *path, *tmp; bool named; };
int lm_out_open(struct lm_out *o, const char *path, struct lm_err *err);
int lm_out_write(const struct lm_out *o, uint64_t at, const void *p, size_t n, struct lm_err *err);
int lm_out_done(struct lm_out *o, struct lm_err *err);  /* closes it whatever it returns */
void lm_out_close(struct lm_out *o);                    /* without lm_out_done: as if it had never been begun */
/* Whole file (or stdin for "-") into *b; LM_ELIMIT beyond `max` bytes. */
int lm_read_file(struct lm_buf *b, const char *path, size_t max, struct lm_err *err);
/* Reads past the end yield 0 and set `bad`: parse a whole record, then test `bad` once. */
struct lm_cursor { const uint8_t *p, *end; bool bad; };
uint8_t lm_read_u8(struct lm_cursor *c);
uint16_t lm_read_u16le(struct lm_cursor *c);
uint32_t lm_read_u32le(struct lm_cursor *c);
uint64_t lm_read_u64le(struct lm_cursor *c);
const uint8_t *lm_read_bytes(struct lm_cursor *c, uint64_t n);   /* NULL (and bad) when fewer than n are left */

/* ---- UTF-8 ------------------------------------------------------------------ */
/* Decodes one character at s[0..n), n >= 1.  Returns its length and the code point; an invalid or truncated
 * sequence gives *cp = 0xFFFD and the length of the maximal bad subpart (Unicode 3.9, as Python replaces). */
int lm_utf8_next(const char *s, size_t n, uint32_t *cp);
int lm_utf8_put(char out[4], uint32_t cp);              /* bytes written, 1..4; surrogates and > 10FFFF become U+FFFD */
bool lm_utf8_valid(const char *s, size_t n);
/* Bytes at the end of s[0..n) that begin a character not yet complete: 0..3. */
int lm_utf8_tail(const char *s, size_t n);

/* ---- threads -------------------------------------------------------------- */
int lm_cpu_count(void);                                 /* cores of the affinity mask and of the cgroup quota, >= 1 */
struct lm_pool;
typedef void lm_job(void *ctx, int tid, int n_threads);
struct lm_pool *lm_pool_new(int n_threads);             /* 0 = lm_cpu_count(); NULL when out of memory or threads */
void lm_pool_free(struct lm_pool *p);
int lm_pool_size(const struct lm_pool *p);
/* fn once for every tid in [0, n), 0 on the caller; joins.  A thread that does not come in time to begin its own leaves
 * it to the caller, so calls of fn must not wait for each other. */
void lm_pool_run(struct lm_pool *p, lm_job *fn, void *ctx);
/* Next chunk of a shared counter of the running job: [*lo,*hi) of n items, `grain` at a time; false when none
 * is left.  Which thread gets a chunk is free, so an item's result must not depend on it. */
bool lm_pool_next(struct lm_pool *p, int64_t n, int64_t grain, int64_t *lo, int64_t *hi);
/* The same in chunks that shrink towards the end, from a part of what is left (`most` items at most) to single items: long
 * streams, and no thread waits long for the last. */
bool lm_pool_part(struct lm_pool *p, int64_t n, int64_t most, int64_t *lo, int64_t *hi);
/* Contiguous share [*lo,*hi) of n items in multiples of `grain`; depends on (n, grain, tid, nt) only. */
void lm_split(int64_t n, int64_t grain, int tid, int nt, int64_t *lo, int64_t *hi);

/* ---- random numbers: Philox4x32-10 (Salmon et al. 2011), counter-based: no state, no order ------------- */
void lm_philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2]);
/* Uniform double in [0,1) of 53 bits, a pure function of its arguments. */
double lm_uniform(uint64_t seed, uint64_t position, uint64_t choice);
uint64_t lm_random_seed(void);                          /* from the operating system */

/* ---- time, log: one sink, set by main(); libraries report errors by returning them ------------------- */
double lm_now(void);                                    /* monotonic seconds */
enum lm_level { LM_LOG_ERROR, LM_LOG_WARN, LM_LOG_INFO, LM_LOG_DEBUG };
void lm_log_sink(void (*fn)(void *ud, enum lm_level, const char *line), void *ud);
void lm_log(enum lm_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
