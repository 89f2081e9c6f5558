/* ssm.h - inner loops of recurrent layers, written once: each instruction set compiles this text with its own flags.  Lanes never
 * meet and every product is rounded before its sum (-ffp-contract=off), so the width of the machine's vectors changes no bit. */
#pragma once
#include "kernels/kern.h"

typedef float v16 __attribute__((vector_size(64)));
typedef float v16u __attribute__((vector_size(64), aligned(4), may_alias));
#define V16(p) (*(v16u *)(void *)(p))

/* Vector element types cannot be loaded through const: reads copy. */
#define GET16(p) (*(const v16u *)(const void *)(p))

static void ssm(float *y, float *s, const float *x, const float *b, const float *c, float da, int n, int p)
{
	int i = 0;
	for (; i + 16 <= p; i += 16) {
		v16 acc = { 0 }, xi = GET16(x + i);
		float *si = s + i;
		for (int k = 0; k < n; k++, si += p) {
			v16 v = GET16(si) * da + xi * b[k];
			V16(si) = v;
			acc = acc + v * c[k];
		}
		V16(y + i) = acc;
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
	for (; i + 16 <= p; i += 16) {
		v16 v = GET16(s + i) * GET16(da + i) + GET16(x + i) * b;
		V16(s + i) = v;
		V16(y + i) = GET16(y + i) + v * c;
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
	for (; i + 16 <= dim_v; i += 16) {
		v16 mem = { 0 }, out = { 0 };
		float *si = s + i;
		for (int j = 0; j < dim_k; j++, si += dim_v) {
			v16 t = GET16(si) * decay;
			V16(si) = t;
			mem = mem + t * k[j];
		}
		v16 e = (GET16(v + i) - mem) * beta;
		si = s + i;
		for (int j = 0; j < dim_k; j++, si += dim_v) {
			v16 t = GET16(si) + e * k[j];
			V16(si) = t;
			out = out + t * q[j];
		}
		V16(y + i) = out;
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
