/* cpu.h - what this processor can do, and the cap that LMRUN_CPU puts on it. */
#pragma once
#include "base/base.h"

enum cpu_flag {
	CPU_AVX2 = 1 << 0,        /* AVX2 + FMA + F16C */
	CPU_AVXVNNI = 1 << 1,
	CPU_AVX512 = 1 << 2,      /* F + BW + VL + DQ (+ AVX2) */
	CPU_AVX512VNNI = 1 << 3,
	CPU_AVX512VBMI = 1 << 4,
	CPU_NEON = 1 << 8,
	CPU_DOTPROD = 1 << 9,
	CPU_I8MM = 1 << 10
};

/* Levels in rising order; a level includes what the levels below it on the same processor family offer.
 * Names are the values of LMRUN_CPU: c avx2 avxvnni avx512 avx512vnni neon dotprod i8mm. */
struct cpu_level { const char *name; unsigned flags; };
extern const struct cpu_level cpu_levels[];
extern const int n_cpu_levels;

unsigned cpu_detect(void);                                   /* what the machine has */
/* cpu_detect() under the cap named by `level` (NULL or "": no cap).  LM_EINVAL naming the levels there are. */
int cpu_flags(unsigned *out, const char *level, struct lm_err *err);
const char *cpu_name(unsigned flags);                        /* the highest level that `flags` contain */
const char *cpu_model(void);                                 /* brand string, "unknown" at worst; static storage */
