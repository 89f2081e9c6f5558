/* Runs the registered tests whose name contains any of the arguments (all without arguments). */
#include "test.h"

static struct CMUnitTest tests[4096];
static size_t n_tests;

void lm_test_add(const char *name, void (*fn)(void **))
{
	if (n_tests == sizeof tests / sizeof tests[0]) abort();
	tests[n_tests++] = (struct CMUnitTest){ .name = name, .test_func = fn };
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct CMUnitTest *)a)->name, ((const struct CMUnitTest *)b)->name);
}

int main(int argc, char **argv)
{
	size_t n = 0;
	for (size_t i = 0; i < n_tests; i++) {
		bool want = argc < 2;
		for (int k = 1; k < argc; k++) want |= strstr(tests[i].name, argv[k]) != NULL;
		if (want) tests[n++] = tests[i];
	}
	qsort(tests, n, sizeof tests[0], by_name);
	if (n == 0) {
		fprintf(stderr, "no test has that in its name\n");
		return 2;
	}
	int failed = _cmocka_run_group_tests("lmrun", tests, n, NULL, NULL);
	printf("%zu passed, %d failed\n", n - (size_t)failed, failed);
	return failed != 0;
}
