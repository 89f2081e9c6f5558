/* ssm.h - inner loops of recurrent layers, written once: each instruction set compiles this text with its own flags.  Lanes never
 * meet and every product is rounded before its sum (-ffp-contract=off), so the width of the machine's vectors changes no bit. */
#pragma once
#include "kernels/kern.h"

/* As wide as the machine's: gcc takes wider ones apart through memory (Zen 4, AVX2, `ssm`: 1.1 Gop/s with 16
 * lanes, 50 with 8). */
#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vec __attribute__((vector_size(LANES * sizeof(float))));
typedef float vecu __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
#define VEC(p) (*(vecu *)(void *)(p))

/* Vector element types cannot be loaded through const: reads copy. */
#define GET(p) (*(const vecu *)(const void *)(p))

static void ssm(float *y, float *s, const float *x, const float *b, const float *c, float da, int n, int p)
{
	int i = 0;
	for (; i + LANES <= p; i += LANES) {
		vec acc = { 0 }, xi = GET(x + i);
		float *si = s + i;
		for (int k = 0; k < n; k++, si += p) {
			vec v = GET(si) * da + xi * b[k];
			VEC(si) = v;
			acc = acc + v * c[k];
		}
		VEC(y + i) = acc;
	}
	for (; i < p; i++) {
		float acc = 0;
		for (int k = 0; k < n; k++) {
			float *v = s + (size_t)k * (size_t)p + i;
			*v = *v * da + x[i] * b[k];
			acc = acc + *v * c[k];
		}
		y[i] = acc;
	}
}

static void ssm_state(float *y, float *s, const float *x, const float *da, float b, float c, int p)
{
	int i = 0;
	for (; i + LANES <= p; i += LANES) {
		vec v = GET(s + i) * GET(da + i) + GET(x + i) * b;
		VEC(s + i) = v;
		VEC(y + i) = GET(y + i) + v * c;
	}
	for (; i < p; i++) {
		s[i] = s[i] * da[i] + x[i] * b;
		y[i] = y[i] + s[i] * c;
	}
}

static void delta(float *y, float *s, const float *q, const float *k, const float *v, float decay, float beta, int dim_k,
                  int dim_v)
{
	int i = 0;
	for (; i + LANES <= dim_v; i += LANES) {
		vec mem = { 0 }, out = { 0 };
		float *si = s + i;
		for (int j = 0; j < dim_k; j++, si += dim_v) {
			vec t = GET(si) * decay;
			VEC(si) = t;
			mem = mem + t * k[j];
		}
		vec e = (GET(v + i) - mem) * beta;
		si = s + i;
		for (int j = 0; j < dim_k; j++, si += dim_v) {
			vec t = GET(si) + e * k[j];
			VEC(si) = t;
			out = out + t * q[j];
		}
		VEC(y + i) = out;
	}
	for (; i < dim_v; i++) {
		float mem = 0, out = 0, *si = s + i;
		for (int j = 0; j < dim_k; j++) {
			float *t = si + (size_t)j * (size_t)dim_v;
			*t = *t * decay;
			mem = mem + *t * k[j];
		}
		float e = (v[i] - mem) * beta;
		for (int j = 0; j < dim_k; j++) {
			float *t = si + (size_t)j * (size_t)dim_v;
			*t = *t + e * k[j];
			out = out + *t * q[j];
		}
		y[i] = out;
	}
}

static void ssm_slots(struct kern *k)
{
	k->ssm = ssm;
	k->ssm_state = ssm_state;
	k->delta = delta;
}
