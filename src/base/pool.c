/* pool.c - how many processors are ours, and a thread pool for jobs of a few microseconds.
 * Between the matrix products of one token there are hundreds of jobs, so workers spin on the job counter for
 * SPIN_S before they sleep; a pool without work costs nothing.
 *
 * A busy machine takes processors away, some milliseconds at a time, and a join must wait for none of them:
 *   a share of the job that its worker has not begun is run by the caller;
 *   a worker that was late inside a share sits out for a while, longer each time it is late again.  The system then has
 *   one thread less to find a processor for, and moves the others to those that are free. */
#include "base/base.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#define SPIN_S 20e-6
/* Waiting LATE_S longer than the job ran is not the end of a chunk but a processor lost: the system's slices are 3 ms.  A
 * worker may lose OUT_LEAK of the time; OUT_DEBT seconds beyond that and it is out for OUT_MIN_S, doubled up to OUT_MAX_S
 * while it is late again.  Two threads against one on a machine without a neighbour: 1.4 to 1.9 times as fast. */
#define LATE_S 500e-6
#define OUT_LEAK 0.2
#define OUT_DEBT 8e-3
#define OUT_MIN_S 40e-3
#define OUT_MAX_S 0.64
enum { LINE = 64, MAX_THREADS = 1024 };

/* Fields that different threads write in a hot job lie on different cache lines. */
struct worker {
	_Alignas(LINE) atomic_uint share;      /* of the job seq: 2 seq while somebody runs it, 2 seq + 1 when done */
	atomic_uint out;                       /* 1: sits out; sleeps on it */
	double debt, paid, pause, back;        /* the caller's: seconds lost, as of `paid`; how long it sits out, until when */
	struct lm_pool *pool;
	pthread_t thread;
	int tid;
};

struct lm_pool {
	int n, n_started, n_out;
	struct worker *worker;                 /* [n]; 0 is the caller */
	lm_job *fn;                            /* fn and ctx: published by `seq` */
	void *ctx;
	atomic_bool stop;                      /* a worker that was late may look while it is set */
	_Alignas(LINE) atomic_uint seq;        /* counts jobs; workers wait for it to move */
	atomic_uint sleepers;                  /* workers that may sleep on `seq` */
	atomic_bool joining;                   /* the caller may sleep on a share */
	_Alignas(LINE) atomic_int_least64_t next;
};

/* ---- waiting ----------------------------------------------------------------------------------------- */
#ifdef __linux__
/* Sleeps while *w == old; may return early. */
static void sleep_while(atomic_uint *w, unsigned old)
{
	syscall(SYS_futex, w, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
}
static void wake(atomic_uint *w, int n) { syscall(SYS_futex, w, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0); }
#else
static pthread_mutex_t wait_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wait_cond = PTHREAD_COND_INITIALIZER;
static void sleep_while(atomic_uint *w, unsigned old)
{
	pthread_mutex_lock(&wait_lock);
	while (atomic_load(w) == old) pthread_cond_wait(&wait_cond, &wait_lock);
	pthread_mutex_unlock(&wait_lock);
}
static void wake(atomic_uint *w, int n)
{
	(void)w, (void)n;
	pthread_mutex_lock(&wait_lock);
	pthread_cond_broadcast(&wait_cond);
	pthread_mutex_unlock(&wait_lock);
}
#endif

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb" ::: "memory");  /* `yield` is a no-op on most cores */
#endif
}

/* Spins while *w == old, SPIN_S at most; false when it is still so. */
static bool spin_while(atomic_uint *w, unsigned old)
{
	double end = 0;
	for (int i = 0;; i++) {
		if (atomic_load_explicit(w, memory_order_acquire) != old) return true;
		relax();
		if (i % 32 != 31) continue;
		double now = lm_now();
		if (end == 0) end = now + SPIN_S;
		else if (now >= end) return false;
	}
}

/* ---- workers ----------------------------------------------------------------------------------------- */
/* Sleeping and waking cannot miss each other: the sleeper announces itself and then looks at the word, the
 * waker changes the word and then looks for sleepers, all sequentially consistent. */
static void await_job(struct lm_pool *p, unsigned seen)
{
	if (spin_while(&p->seq, seen)) return;
	atomic_fetch_add(&p->sleepers, 1);
	while (atomic_load(&p->seq) == seen) sleep_while(&p->seq, seen);
	atomic_fetch_sub(&p->sleepers, 1);
}

/* Every share is taken once in every job, by its worker or by the caller: before job seq it is done for seq - 1. */
static bool take(struct worker *w, unsigned seq)
{
	unsigned before = 2 * seq - 1;
	return atomic_load_explicit(&w->share, memory_order_relaxed) == before && atomic_compare_exchange_strong(&w->share, &before, 2 * seq);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct lm_pool *p = w->pool;
	for (unsigned seen = 0;;) {
		while (atomic_load(&w->out)) sleep_while(&w->out, 1);
		await_job(p, seen);
		seen = atomic_load(&p->seq);
		if (atomic_load_explicit(&p->stop, memory_order_relaxed)) return NULL;
		if (!take(w, seen)) continue;
		p->fn(p->ctx, w->tid, p->n);
		atomic_store(&w->share, 2 * seen + 1);
		if (atomic_load(&p->joining)) wake(&w->share, 1);
	}
}

/* ---- the caller -------------------------------------------------------------------------------------- */
static void publish(struct lm_pool *p)
{
	atomic_fetch_add(&p->seq, 1);
	if (atomic_load(&p->sleepers)) wake(&p->seq, p->n);
}

static void come_back(struct lm_pool *p, struct worker *w, double now)
{
	w->paid = now;
	w->debt = OUT_DEBT - LATE_S;
	p->n_out--;
	atomic_store(&w->out, 0);
	wake(&w->out, 1);
}

/* The worker made the caller wait for `lost` seconds. */
static void was_late(struct lm_pool *p, struct worker *w, double lost, double now)
{
	w->debt -= (now - w->paid) * OUT_LEAK;
	if (w->debt < 0) w->debt = 0, w->pause = OUT_MIN_S;
	w->debt += lost;
	w->paid = now;
	if (w->debt < OUT_DEBT || atomic_load(&w->out)) return;
	w->back = now + w->pause;
	if (w->pause < OUT_MAX_S) w->pause *= 2;
	p->n_out++;
	atomic_store(&w->out, 1);
}

/* Waits for a share that its worker has begun, in a job that began at `start`. */
static void await_share(struct lm_pool *p, struct worker *w, unsigned running, double start)
{
	if (spin_while(&w->share, running)) return;
	double from = lm_now();
	atomic_store(&p->joining, true);
	while (atomic_load(&w->share) == running) sleep_while(&w->share, running);
	atomic_store(&p->joining, false);
	double now = lm_now(), lost = now - from;
	if (lost > from - start + LATE_S) was_late(p, w, lost, now);
}

void lm_pool_run(struct lm_pool *p, lm_job *fn, void *ctx)
{
	atomic_store_explicit(&p->next, 0, memory_order_relaxed);
	if (p->n == 1) {
		fn(ctx, 0, 1);
		return;
	}
	double start = lm_now();
	for (int i = 1; i < p->n && p->n_out; i++)
		if (atomic_load_explicit(&p->worker[i].out, memory_order_relaxed) && start >= p->worker[i].back) come_back(p, &p->worker[i], start);
	p->fn = fn;
	p->ctx = ctx;
	publish(p);
	fn(ctx, 0, p->n);
	unsigned seq = atomic_load_explicit(&p->seq, memory_order_relaxed);
	for (int i = 1; i < p->n; i++) {
		struct worker *w = &p->worker[i];
		if (!take(w, seq)) continue;
		fn(ctx, i, p->n);
		atomic_store_explicit(&w->share, 2 * seq + 1, memory_order_relaxed);
	}
	for (int i = 1; i < p->n; i++)
		if (atomic_load_explicit(&p->worker[i].share, memory_order_acquire) == 2 * seq) await_share(p, &p->worker[i], 2 * seq, start);
}

struct lm_pool *lm_pool_new(int n_threads)
{
	int n = n_threads > 0 ? n_threads : lm_cpu_count();
	if (n > MAX_THREADS) return NULL;
	struct lm_pool *p = lm_aligned(LINE, sizeof *p);
	if (!p) return NULL;
	p->n = n;
	p->n_started = 1;
	p->worker = lm_aligned(LINE, (size_t)n * sizeof *p->worker);
	if (!p->worker) {
		lm_free(p);
		return NULL;
	}
	for (int i = 1; i < n; i++) {
		struct worker *w = &p->worker[i];
		w->pool = p;
		w->tid = i;
		w->pause = OUT_MIN_S;
		atomic_store(&w->share, 1);
		if (pthread_create(&w->thread, NULL, work, w)) {
			lm_pool_free(p);
			return NULL;
		}
		p->n_started = i + 1;
	}
	return p;
}

void lm_pool_free(struct lm_pool *p)
{
	if (!p) return;
	atomic_store_explicit(&p->stop, true, memory_order_relaxed);
	for (int i = 1; i < p->n_started; i++)
		if (atomic_load(&p->worker[i].out)) come_back(p, &p->worker[i], 0);
	publish(p);
	for (int i = 1; i < p->n_started; i++) pthread_join(p->worker[i].thread, NULL);
	lm_free(p->worker);
	lm_free(p);
}

int lm_pool_size(const struct lm_pool *p) { return p->n; }

bool lm_pool_next(struct lm_pool *p, int64_t n, int64_t grain, int64_t *lo, int64_t *hi)
{
	int64_t at = atomic_fetch_add_explicit(&p->next, grain, memory_order_relaxed);
	if (at >= n) return false;
	*lo = at;
	*hi = n - at < grain ? n : at + grain;
	return true;
}

bool lm_pool_part(struct lm_pool *p, int64_t n, int64_t most, int64_t *lo, int64_t *hi)
{
	int64_t at = atomic_load_explicit(&p->next, memory_order_relaxed), take;
	do {
		if (at >= n) return false;
		take = (n - at) / (2 * p->n);
		take = take < 1 ? 1 : take > most ? most : take;
	} while (!atomic_compare_exchange_weak_explicit(&p->next, &at, at + take, memory_order_relaxed, memory_order_relaxed));
	*lo = at;
	*hi = at + take;
	return true;
}

void lm_split(int64_t n, int64_t grain, int tid, int nt, int64_t *lo, int64_t *hi)
{
	int64_t chunks = n / grain + (n % grain != 0);
	int64_t a = chunks / nt, b = chunks % nt;      /* the first b threads take one more */
	*lo = (a * tid + (tid < b ? tid : b)) * grain;
	*hi = *lo + (a + (tid < b)) * grain;
	if (*lo > n) *lo = n;
	if (*hi > n) *hi = n;
}

/* ---- how many processors ----------------------------------------------------------------------------- */
#ifdef __linux__
static int affinity_count(void)
{
	for (int max = 1024; max <= 1 << 18; max *= 4) {   /* the kernel refuses a set smaller than its own */
		cpu_set_t *set = CPU_ALLOC((size_t)max);
		if (!set) return 0;
		size_t size = CPU_ALLOC_SIZE((size_t)max);
		int n = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
		CPU_FREE(set);
		if (n > 0) return n;
	}
	return 0;
}

/* The two numbers of a quota in dir, in whole processors rounded up; `now` when there is none or it is larger. */
static int quota(const char *dir, bool v2, int now)
{
	char path[1024], text[64] = "";
	long long q = 0, period = 100000;
	const char *name[2] = { v2 ? "cpu.max" : "cpu.cfs_quota_us", v2 ? NULL : "cpu.cfs_period_us" };
	for (int i = 0; i < 2 && name[i]; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, name[i]);
		FILE *f = fopen(path, "re");
		if (!f) return now;
		char *line = fgets(text, sizeof text, f);
		fclose(f);
		if (!line) return now;
		char *end = text;
		if (i == 0) q = strtoll(text, &end, 10);       /* "max" and -1 mean no quota */
		if (i == 1 || v2) period = strtoll(end, NULL, 10);
	}
	if (q <= 0 || period <= 0) return now;
	long long n = q / period + (q % period != 0);
	return n < now ? (int)n : now;
}

/* Smallest quota of the group `path` below `mount` and of all its parents. */
static int quota_chain(const char *mount, char *path, bool v2, int now)
{
	char dir[768];
	for (;;) {
		snprintf(dir, sizeof dir, "%s%s", mount, path);
		now = quota(dir, v2, now);
		char *slash = strrchr(path, '/');
		if (!slash) return now;
		*slash = 0;
	}
}

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *s = list; s; s = strchr(s, ','), s = s ? s + 1 : NULL)
		if (strncmp(s, word, n) == 0 && (s[n] == ',' || s[n] == 0)) return true;
	return false;
}

static int cgroup_count(int now)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	if (!f) return now;
	char line[640];
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;                 /* id:controllers:/path */
		char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
		if (!path) continue;
		*list++ = *path++ = 0;
		if (*list == 0) now = quota_chain("/sys/fs/cgroup", path, true, now);
		else if (has_word(list, "cpu")) now = quota_chain("/sys/fs/cgroup/cpu", path, false, now);
	}
	fclose(f);
	return now;
}
#else
static int affinity_count(void) { return (int)sysconf(_SC_NPROCESSORS_ONLN); }
static int cgroup_count(int now) { return now; }
#endif

int lm_cpu_count(void)
{
	int n = affinity_count();
	n = cgroup_count(n > 0 ? n : 1);
	return n > MAX_THREADS ? MAX_THREADS : n;
}
