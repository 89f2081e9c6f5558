/* rnd.h - numbers for tests of kernels: about normal, within +-3.2, the same on every machine. */
#pragma once
#include <stdint.h>

static inline uint32_t rnd_next(uint32_t *state) { return *state = *state * 1664525u + 1013904223u, *state >> 8; }

static inline float rnd_from(uint32_t *state)
{
	float s = 0;
	for (int i = 0; i < 4; i++) s += (float)rnd_next(state) / 8388608.0f - 1.0f;
	return s * 0.8f;
}
