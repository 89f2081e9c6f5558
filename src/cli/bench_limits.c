/* bench_limits.c - what this machine can do at most, here and now. */
#include "cli/bench.h"
#include "kernels/peak.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PASSES = 10, ROUNDS = 200000, JOINS = 2000 };
static const size_t ALL = (size_t)512 << 20, L3_PIECE = (size_t)8 << 20;     /* L3: of a thread */

struct work { const char *p; size_t n; int streams, again; peak_fn *peak; _Atomic int64_t ops; _Atomic uint64_t sum; };

static void read_part(void *ctx, int tid, int nt)
{
	struct work *w = ctx;
	int64_t lo, hi;
	lm_split((int64_t)w->n, 4096, tid, nt, &lo, &hi);
	for (int i = 0; i < w->again; i++) w->sum += peak_read(w->p + lo, (size_t)(hi - lo), w->streams);
}

static void compute(void *ctx, int tid, int nt)
{
	struct work *w = ctx;
	(void)tid, (void)nt;
	w->ops += w->peak(ROUNDS);
}

static void nothing(void *ctx, int tid, int nt) { (void)ctx, (void)tid, (void)nt; }

/* Best of some passes: the limit is what the machine can do when nothing disturbs it. */
static double best_read(struct lm_pool *pool, struct work *w)
{
	double best = 0;
	for (int i = 0; i < PASSES; i++) {
		double t = lm_now();
		w->streams = i % 2 ? 4 : 1;
		lm_pool_run(pool, read_part, w);
		double gbps = (double)w->n * w->again / (lm_now() - t) * 1e-9;
		if (gbps > best) best = gbps;
	}
	return best;
}

static double best_peak(struct lm_pool *pool, struct work *w, peak_fn *fn)
{
	double best = 0;
	w->peak = fn;
	for (int i = 0; i < PASSES; i++) {
		double t = lm_now();
		w->ops = 0;
		lm_pool_run(pool, compute, w);
		double gops = (double)w->ops / (lm_now() - t) * 1e-9;
		if (gops > best) best = gops;
	}
	return best;
}

static double join_ns(struct lm_pool *pool)
{
	double t = lm_now();
	for (int i = 0; i < JOINS; i++) lm_pool_run(pool, nothing, NULL);
	return (lm_now() - t) / JOINS * 1e9;
}

static void measure(struct bench_limits *l, int n_threads, bool cores_only)
{
	struct lm_pool *pool = lm_pool_new(n_threads);
	struct work w = { .n = ALL, .again = 1 };
	unsigned flags;
	if (!pool || cpu_flags(&flags, getenv("LMRUN_CPU"), NULL)) return;
	struct peak peak = peak_of(flags);
	if (!cores_only) {
		char *p = mmap(NULL, ALL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED) return;
		memset(p, 1, ALL);
		w.p = p;
		l->read = best_read(pool, &w);
		w.n = L3_PIECE * (size_t)lm_pool_size(pool);
		if (w.n > ALL) w.n = ALL;
		w.again = 4;
		l->l3 = best_read(pool, &w);
	}
	l->i8 = best_peak(pool, &w, peak.i8);
	l->f32 = best_peak(pool, &w, peak.f32);
	l->join_ns = join_ns(pool);
}

/* In a child process, so that neither the memory nor the threads count as ours. */
void bench_limits(struct bench_limits *l, int n_threads, bool cores_only)
{
	int fd[2];
	*l = (struct bench_limits){ 0 };
	if (pipe(fd)) return;
	pid_t pid = fork();
	if (pid == 0) {
		measure(l, n_threads, cores_only);
		ssize_t n = write(fd[1], l, sizeof *l);
		_exit(n == sizeof *l ? 0 : 1);
	}
	close(fd[1]);
	if (pid < 0 || read(fd[0], l, sizeof *l) != sizeof *l) *l = (struct bench_limits){ 0 };
	close(fd[0]);
	if (pid > 0) waitpid(pid, NULL, 0);
}
