/* bench_slots.c - the part of `bench --kernels` that is not products with weights: rows of activations that lie in the
 * last cache (8 MiB, as prompts have them) against reading there, attention and recurrent layers against the f32 peak. */
#include "cli/bench.h"
#include "kernels/kern.h"
#include <stdio.h>
#include <string.h>

enum { N = 4096, ROWS = 512, DIM = 128, STATE = 128, BLOCKS = KV_CHUNK / KV_BLOCK };
struct run {
	const struct kern *k;
	float *x, *y, *w;                    /* [ROWS][N] of each */
	const void *kb[BLOCKS + KV_AHEAD];
	enum dtype t; int n_q;
	int rows;                            /* ROWS; for the portable loops fewer say the same */
};

#define EACH(call) for (int i = 0; i < r->rows; i++) { const float *x = r->x + (size_t)i * N; float *y = r->y + (size_t)i * N; (void)x; call; }
static void do_quant_x32(struct run *r) { EACH(r->k->quant_x32(y, x, N)) }
static void do_quant_x256(struct run *r) { EACH(r->k->quant_x256(y, x, N)) }
static void do_norm_rms(struct run *r) { EACH(r->k->norm_rms(y, x, r->w, N, 1e-5f)) }
static void do_add(struct run *r) { EACH(r->k->add(y, x, 1e-3f, N)) }
static void do_act(struct run *r) { EACH(r->k->act(y, x, x, N, ACT_SILU)) }
static void do_rope(struct run *r) { EACH(for (int h = 0; h < N; h += DIM) r->k->rope(y + h, r->w, DIM, ROPE_HALVES)) }
static void do_softcap(struct run *r) { EACH(r->k->softcap(y, 50, N)) }
static void do_to_f16(struct run *r) { EACH(r->k->to_f16((uint16_t *)(void *)y, x, N)) }
static void do_exp(struct run *r) { EACH(r->k->exp(y, x, N)) }
static void do_attn_soft(struct run *r) { float m, l; EACH(for (int h = 0; h < N; h += KV_CHUNK) r->k->attn_soft(y + h, 0, KV_CHUNK, &m, &l)) }
static void do_attn_merge(struct run *r) { EACH(r->k->attn_merge(y, x, .5f, .5f, N)) }

static void do_attn_score(struct run *r)
{
	for (int i = 0; i < r->rows / r->n_q; i++) r->k->attn_score(r->y, r->x, r->n_q, r->kb, BLOCKS, r->t, DIM, .1f, 0);
}

static void do_attn_value(struct run *r)
{
	int lo[64] = { 0 }, hi[64];
	for (int i = 0; i < r->n_q; i++) hi[i] = KV_CHUNK;
	for (int i = 0; i < r->rows / r->n_q; i++) r->k->attn_value(r->y, r->x, lo, hi, r->n_q, r->kb, r->t, DIM);
}

static void do_ssm(struct run *r) { for (int i = 0; i < r->rows; i++) r->k->ssm(r->y, r->y + N, r->x, r->w, r->w, .5f, STATE, 64); }
static void do_ssm_state(struct run *r) { EACH(r->k->ssm_state(y, r->y, x, r->w, .5f, .5f, N)) }

static void do_delta(struct run *r)
{
	for (int i = 0; i < r->rows; i++) r->k->delta(r->y, r->y + N, r->w, r->w, r->x, .5f, .1f, DIM, DIM);
}

/* What it does for a row: bytes read and written, or operations; attention: for a query */
#define ROW(f, n) { #f, offsetof(struct kern, f), do_##f, 4.0 * N * (n), 0 }
static const struct slot { const char *name; size_t at; void (*fn)(struct run *); double bytes, ops; } slots[] = {
	ROW(quant_x32, 1.28), ROW(quant_x256, 1.28), ROW(norm_rms, 2), ROW(add, 3), ROW(act, 3), ROW(rope, 2), ROW(softcap, 2), ROW(to_f16, 1.5), ROW(exp, 2),
	ROW(attn_soft, 2), ROW(attn_merge, 3),
	{ "attn_score", offsetof(struct kern, attn_score), do_attn_score, 0, 2.0 * KV_CHUNK * DIM },
	{ "attn_value", offsetof(struct kern, attn_value), do_attn_value, 0, 2.0 * KV_CHUNK * DIM },
	{ "ssm", offsetof(struct kern, ssm), do_ssm, 0, 5.0 * STATE * 64 },
	{ "ssm_state", offsetof(struct kern, ssm_state), do_ssm_state, 0, 5.0 * N },
	{ "delta", offsetof(struct kern, delta), do_delta, 0, 8.0 * DIM * DIM },
};

static double best_seconds(const struct slot *s, struct run *r)
{
	double best = 1e30, start = lm_now();
	for (int i = 0; i < 20 && (i < 3 || lm_now() - start < 0.05); i++) {
		double t = lm_now();
		s->fn(r);
		t = lm_now() - t;
		if (t < best) best = t;
	}
	return best;
}

static void one(const struct bench_out *o, const struct slot *s, struct run *r, const char *type, int rows, int cols, const struct bench_limits *l)
{
	double t = best_seconds(s, r);
	if (s->ops > 0) bench_show(o, s->name, type, rows, cols, t, s->ops * r->rows / t * 1e-9, "Gop/s", l->f32, "f32 peak");
	else bench_show(o, s->name, type, rows, cols, t, s->bytes * r->rows / t * 1e-9, "GB/s", l->l3, "cache read");
}

/* Of one query as of a generated token of a group, and of many as of a prompt. */
static void attention(const struct bench_out *o, const struct slot *s, struct run *r, const struct bench_limits *l)
{
	static const enum dtype types[] = { DT_F16, DT_F32, DT_Q8_0 };
	static const int queries[] = { 4, 64 };
	for (int t = 0; t < 3; t++)
		for (int q = 0; q < 2; q++) {
			r->t = types[t];
			r->n_q = queries[q];
			for (int b = 0; b < BLOCKS + KV_AHEAD; b++) r->kb[b] = (const char *)r->w + (size_t)b * KV_BLOCK * DIM * sizeof(float);
			one(o, s, r, quant_info(r->t)->name, r->n_q, KV_CHUNK, l);
		}
}

int bench_slots(const struct bench_out *o, const struct kern *k, const struct kern *below, const struct bench_limits *l)
{
	size_t bytes = (size_t)ROWS * N * sizeof(float);
	struct run r = { .k = k, .x = lm_aligned(64, bytes), .y = lm_aligned(64, bytes), .w = lm_aligned(64, bytes),
			 .rows = strcmp(o->isa, "c") ? ROWS : 64 };
	int rc = r.x && r.y && r.w ? 0 : LM_ENOMEM;
	for (size_t i = 0; i < sizeof slots / sizeof *slots && !rc; i++) {
		const struct slot *s = &slots[i];
		if (!memcmp((const char *)k + s->at, (const char *)below + s->at, sizeof(void (*)(void)))) continue;
		for (size_t j = 0; j < (size_t)ROWS * N; j++) r.x[j] = r.y[j] = r.w[j] = (float)(j % 17) * 0.0625f - 0.53f;
		if (s->fn == do_attn_score || s->fn == do_attn_value) attention(o, s, &r, l);
		else one(o, s, &r, "f32", r.rows, N, l);
	}
	lm_free(r.x), lm_free(r.y), lm_free(r.w);
	return rc;
}
