/* test.h - cmocka inside one binary: LM_TEST(name) { ... } registers itself; build/test [filter] runs it. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "base/base.h"

/* What the work cost, whoever else is on the machine: for bounds that tell linear from quadratic. */
static inline double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

void lm_test_add(const char *name, void (*fn)(void **));
#define LM_TEST(id)                                                                      \
	static void id(void **state);                                                        \
	__attribute__((constructor)) static void add_##id(void) { lm_test_add(#id, id); }    \
	static void id(void **state __attribute__((unused)))

/* Fails with the sentence in err when `expr` is not 0. */
#define assert_ok(expr, e)                                                               \
	do {                                                                                 \
		int rc_ = (expr);                                                                \
		if (rc_) fail_msg("%s: %d: %s", #expr, rc_, (e).msg);                            \
	} while (0)
