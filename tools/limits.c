/* limits.c - what this machine can do at best, to judge a row by; `make limits` builds and runs it.
 *
 *   build/release/limits [max_threads] [repeats]
 *   build/release/limits --cores N
 *
 * For 1..max_threads threads the median, least and most of `repeats` measurements of: reading memory beyond the caches and
 * 8 MiB a thread again and again, operations (a multiply and an add are two) in registers of the int8 dot product and the
 * f32 multiply-add of the highest instruction set (LMRUN_CPU caps it), and one fork and join of the thread pool.
 * --cores: int8 and f32 Gop/s and the join of N threads as three numbers, in a tenth of a second: on a virtual machine
 * two processors may be two threads of one core for a while, and what is measured then says nothing. */
#include "base/cpu.h"
#include "cli/bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 100 };

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void line(const char *what, int n_threads, double *v, int n, const char *unit)
{
	qsort(v, (size_t)n, sizeof *v, ascending);
	printf("| %-24s | %d | %8.1f [%.1f-%.1f] %s |\n", what, n_threads, v[n / 2], v[0], v[n - 1], unit);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--cores") == 0) {
		struct bench_limits l;
		bench_limits(&l, atoi(argv[2]), true);
		printf("%.1f %.1f %.1f\n", l.i8, l.f32, l.join_ns);
		return 0;
	}
	int threads = argc > 1 ? atoi(argv[1]) : lm_cpu_count(), n = argc > 2 ? atoi(argv[2]) : 5;
	unsigned flags;
	if (threads < 1 || n < 1 || n > MOST || cpu_flags(&flags, getenv("LMRUN_CPU"), NULL)) {
		fprintf(stderr, "usage: limits [max_threads] [repeats, at most %d]\n", MOST);
		return 2;
	}
	printf("%s, %s\n\n| what | threads | median [least-most] |\n|---|---|---|\n", cpu_model(), cpu_name(flags));
	for (int t = 1; t <= threads; t++) {
		double v[5][MOST];
		for (int i = 0; i < n; i++) {
			struct bench_limits l;
			bench_limits(&l, t, false);
			v[0][i] = l.read, v[1][i] = l.l3, v[2][i] = l.i8, v[3][i] = l.f32, v[4][i] = l.join_ns;
		}
		line("memory read", t, v[0], n, "GB/s");
		line("8 MiB a thread, again", t, v[1], n, "GB/s");
		line("int8 dot product", t, v[2], n, "Gop/s");
		line("f32 multiply-add", t, v[3], n, "Gop/s");
		line("fork and join", t, v[4], n, "ns");
	}
	return 0;
}
