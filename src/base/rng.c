/* rng.c - Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011): random numbers as a function of a counter. */
#include "base/base.h"
#include <stdlib.h>
#include <sys/random.h>

void lm_philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2])
{
	uint32_t c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3], k0 = key[0], k1 = key[1];
	for (int r = 0; r < 10; r++) {
		uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
		uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
		c1 = (uint32_t)b;
		c3 = (uint32_t)a;
		c0 = n0;
		c2 = n2;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

double lm_uniform(uint64_t seed, uint64_t position, uint64_t choice)
{
	uint32_t ctr[4] = { (uint32_t)position, (uint32_t)(position >> 32), (uint32_t)choice, (uint32_t)(choice >> 32) };
	uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) }, r[4];
	lm_philox(r, ctr, key);
	uint64_t bits = ((uint64_t)r[0] << 32 | r[1]) >> 11;
	return (double)bits * 0x1p-53;
}

uint64_t lm_random_seed(void)
{
	uint64_t v;
	if (getrandom(&v, sizeof v, 0) != sizeof v) v = (uint64_t)(lm_now() * 1e9);
	return v;
}
