/* peak.c - the portable rounds, and the choice among levels. */
#include "kernels/peak.h"

enum { N = 256 };

int64_t peak_i8_c(int64_t n)
{
	static int8_t a[N], b[N];
	static volatile int sink;
	int s = 0;
	for (int64_t r = 0; r < n; r++) {
		__asm__ volatile("" ::"r"(a), "r"(b) : "memory");
		for (int i = 0; i < N; i++) s += a[i] * b[i];
	}
	sink = s;
	(void)sink;
	return n * N * 2;
}

int64_t peak_f32_c(int64_t n)
{
	static float a[N], b[N], c[N];
	for (int64_t r = 0; r < n; r++) {
		__asm__ volatile("" ::"r"(a), "r"(b), "r"(c) : "memory");
		for (int i = 0; i < N; i++) c[i] += a[i] * b[i];
	}
	return n * N * 2;
}

struct peak peak_of(unsigned flags)
{
	struct peak p = { peak_i8_c, peak_f32_c };
	(void)flags;
#if defined(__x86_64__)
	if (flags & CPU_AVX2) p = (struct peak){ peak_i8_avx2, peak_f32_avx2 };
	if (flags & CPU_AVX512) p.f32 = peak_f32_avx512;
	if (flags & CPU_AVX512VNNI) p.i8 = peak_i8_avx512vnni;
#endif
	return p;
}

uint64_t peak_read(const void *p, size_t n, int streams)
{
	const uint64_t *a = p;
	uint64_t s[8] = { 0 };
	size_t m = n / 64 / (size_t)streams * 8;        /* words in each stream */
	for (size_t i = 0; i + 8 <= m; i += 8)
		for (int k = 0; k < streams; k++) {
			const uint64_t *q = a + (size_t)k * m + i;
			__builtin_prefetch((const char *)q + 4096);
			for (int j = 0; j < 8; j++) s[j] ^= q[j];
		}
	return s[0] ^ s[1] ^ s[2] ^ s[3] ^ s[4] ^ s[5] ^ s[6] ^ s[7];
}
