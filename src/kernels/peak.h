/* peak.h - what a processor core could do at most, per instruction-set level: the yardstick of `bench --kernels`.
 * Each function runs n rounds of independent register-only instructions and returns the operations done (a
 * multiply and an add are two). */
#pragma once
#include "base/cpu.h"

typedef int64_t peak_fn(int64_t n);
peak_fn peak_i8_c, peak_f32_c, peak_i8_avx2, peak_f32_avx2, peak_f32_avx512, peak_i8_avx512vnni;

struct peak { peak_fn *i8, *f32; };
/* The widest instructions that `flags` admit. */
struct peak peak_of(unsigned flags);
/* Reads p[0..n) by one thread in 1 to 4 streams (which number is fastest depends on the processor); the sum keeps the
 * loads alive. */
uint64_t peak_read(const void *p, size_t n, int streams);
