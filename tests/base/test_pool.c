#include "test.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

struct sum { struct lm_pool *pool; int64_t n, grain; _Atomic int64_t total, items; atomic_int seen[8], wrong; };

static void add_chunks(void *ctx, int tid, int nt)
{
	struct sum *s = ctx;
	int64_t lo, hi;
	if (tid < 0 || tid >= nt || nt != lm_pool_size(s->pool)) atomic_fetch_add(&s->wrong, 1);
	else atomic_fetch_add(&s->seen[tid], 1);
	while (lm_pool_next(s->pool, s->n, s->grain, &lo, &hi))
		for (int64_t i = lo; i < hi; i++) {
			atomic_fetch_add(&s->total, i);
			atomic_fetch_add(&s->items, 1);
		}
}

LM_TEST(pool_runs_every_item_once_on_every_thread)
{
	for (int nt = 1; nt <= 5; nt += 2) {
		struct lm_pool *p = lm_pool_new(nt);
		assert_non_null(p);
		assert_int_equal(lm_pool_size(p), nt);
		for (int64_t n = 0; n < 200; n += 7) {
			struct sum s = { .pool = p, .n = n, .grain = 1 + n % 9 };
			lm_pool_run(p, add_chunks, &s);
			assert_int_equal(s.wrong, 0);
			assert_int_equal(s.items, n);
			assert_int_equal(s.total, n * (n - 1) / 2);
			for (int t = 0; t < nt; t++) assert_int_equal(s.seen[t], 1);
		}
		lm_pool_free(p);
	}
}

/* Sleeps longer than the spin on both sides, so that both wake-ups are exercised. */
static void late(void *ctx, int tid, int nt)
{
	if (tid == nt - 1) usleep(300);
	atomic_fetch_add((atomic_int *)ctx, 1);
}

LM_TEST(pool_wakes_sleeping_workers_and_callers)
{
	struct lm_pool *p = lm_pool_new(3);
	atomic_int n = 0;
	for (int i = 0; i < 50; i++) {
		if (i % 3 == 0) usleep(200);
		lm_pool_run(p, late, &n);
		assert_int_equal(n, 3 * (i + 1));
	}
	lm_pool_free(p);
	lm_pool_free(NULL);
}

static void at_once(void *ctx, int tid, int nt)
{
	(void)tid, (void)nt;
	atomic_fetch_add((atomic_int *)ctx, 1);
}

/* A worker that wakes when the caller has run its share looks for the end while it comes; SAN=thread sees the race. */
LM_TEST(pool_ends_while_workers_wake)
{
	for (int i = 0; i < 100; i++) {
		struct lm_pool *p = lm_pool_new(4);
		atomic_int n = 0;
		assert_non_null(p);
		usleep(100);
		lm_pool_run(p, at_once, &n);
		lm_pool_free(p);
		assert_int_equal(n, 4);
	}
}

/* A worker that stops for 5 ms wherever it runs sits out soon, and comes back; no share is lost or run twice. */
struct slow { pthread_t caller; int us; atomic_int away; atomic_int seen[2]; };
static void slow_away(void *ctx, int tid, int nt)
{
	struct slow *s = ctx;
	atomic_fetch_add(&s->seen[tid % nt], 1);
	double end = lm_now() + 100e-6;
	while (lm_now() < end) ;
	if (pthread_equal(pthread_self(), s->caller)) return;
	atomic_fetch_add(&s->away, 1);
	usleep((useconds_t)s->us);
}

LM_TEST(pool_leaves_late_workers_out_for_a_while)
{
	struct lm_pool *p = lm_pool_new(2);
	struct slow s = { .caller = pthread_self(), .us = 5000 };
	int n = 0;
	for (double end = lm_now() + 0.4; lm_now() < end; n++) lm_pool_run(p, slow_away, &s);
	assert_true(s.away >= 1 && s.away <= 20);           /* 80 without sitting out; out after the second, then for 40, 80, ... ms */
	s.us = 0, s.away = 0;
	for (double end = lm_now() + 5; s.away < 100 && lm_now() < end; n++) lm_pool_run(p, slow_away, &s);
	assert_int_equal(s.away, 100);
	assert_int_equal(s.seen[0], n);
	assert_int_equal(s.seen[1], n);
	lm_pool_free(p);
}

static void count(void *ctx, int tid, int nt)
{
	(void)nt;
	if (tid == 0) ++*(long *)ctx;
}

LM_TEST(pool_without_work_uses_no_time)
{
	struct lm_pool *p = lm_pool_new(4);
	long n = 0;
	lm_pool_run(p, count, &n);
	usleep(2000);
	double before = cpu_seconds();
	usleep(100000);
	assert_true(cpu_seconds() - before < 0.02);
	lm_pool_free(p);
}

LM_TEST(pool_run_many_short_jobs)
{
	struct lm_pool *p = lm_pool_new(2);
	long n = 0;
	double t = lm_now();
	for (int i = 0; i < 20000; i++) lm_pool_run(p, count, &n);
	if (getenv("LM_TEST_PRINT")) printf("empty job: %.0f ns\n", (lm_now() - t) / 20000 * 1e9);
	assert_int_equal(n, 20000);
	lm_pool_free(p);
}

LM_TEST(pool_split_covers_without_gap)
{
	const int64_t sizes[] = { 0, 1, 7, 64, 65, 1000, INT64_C(1) << 40 };
	for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
		for (int64_t grain = 1; grain <= 64; grain *= 4)
			for (int nt = 1; nt <= 9; nt++) {
				int64_t at = 0, lo, hi;
				for (int t = 0; t < nt; t++) {
					lm_split(sizes[k], grain, t, nt, &lo, &hi);
					assert_int_equal(lo, at);
					assert_true(hi >= lo && (lo % grain == 0 || lo == sizes[k]));
					at = hi;
				}
				assert_int_equal(at, sizes[k]);
			}
}

LM_TEST(cpu_count_follows_the_affinity_mask)
{
	cpu_set_t all;
	assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
	int n = lm_cpu_count();
	assert_true(n >= 1 && n <= CPU_COUNT(&all));
	pid_t pid = fork();
	if (pid == 0) {
		cpu_set_t one;
		CPU_ZERO(&one);
		for (int i = 0; i < CPU_SETSIZE; i++)
			if (CPU_ISSET(i, &all)) {
				CPU_SET(i, &one);
				break;
			}
		_exit(sched_setaffinity(0, sizeof one, &one) == 0 ? lm_cpu_count() : 99);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}
