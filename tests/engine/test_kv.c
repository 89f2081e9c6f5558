/* The block allocator under random use: a fake model writes each position's token into its block and reads them
 * back through the table, so a block that is stale, shared too early or handed out twice shows. */
#include "test.h"
#include "engine/kv.h"

enum { MAX_SEQ = 6, MAX_TOK = 400, CAP = MAX_TOK / KV_BLOCK + 1 };
struct sq { struct kv_seq kv; int32_t table[CAP], tok[MAX_TOK]; int n_tok, n_done; bool live; };

static uint32_t rnd_state;
static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 1664525u + 1013904223u;
	return (rnd_state >> 8) % n;
}

static void check(struct kv_pool *p, struct sq *s)
{
	const struct kv_seq *all[MAX_SEQ];
	int n = 0;
	for (int i = 0; i < MAX_SEQ; i++)
		if (s[i].live) all[n++] = &s[i].kv;
	assert_true(kv_check(p, all, n));
}

/* Prompts share beginnings: one of three trunks, cut anywhere, then something of their own. */
static void begin(struct kv_pool *p, struct sq *s, int32_t *mem, int *hits)
{
	int trunk = (int)rnd(3), shared = (int)rnd(200), own = 1 + (int)rnd(60);
	*s = (struct sq){ .live = true, .n_tok = shared + own };
	s->kv = (struct kv_seq){ .table = s->table, .cap = CAP };
	for (int i = 0; i < shared; i++) s->tok[i] = trunk * 1000 + i;
	for (int i = 0; i < own; i++) s->tok[shared + i] = (int32_t)rnd(5);
	s->n_done = kv_match(p, &s->kv, 0, s->tok, s->n_tok);
	*hits += s->n_done;
	assert_true(s->n_done < s->n_tok && s->n_done % KV_BLOCK == 0);
	for (int i = 0; i < s->n_done; i++) assert_int_equal(mem[s->table[i / KV_BLOCK] * KV_BLOCK + i % KV_BLOCK], s->tok[i]);
}

static void advance(struct kv_pool *p, struct sq *s, int32_t *mem)
{
	int n = 1 + (int)rnd(90);
	if (s->n_done + n > s->n_tok) n = s->n_tok - s->n_done;
	if (!kv_grow(p, &s->kv, s->n_done + n)) {       /* full: gives all back, as a preempted sequence does */
		kv_release(p, &s->kv);
		s->live = false;
		return;
	}
	for (int i = s->n_done; i < s->n_done + n; i++) mem[s->table[i / KV_BLOCK] * KV_BLOCK + i % KV_BLOCK] = s->tok[i];
	s->n_done += n;
	kv_publish(p, &s->kv, 0, s->tok, s->n_done);
	for (int i = 0; i < s->n_done; i++) assert_int_equal(mem[s->table[i / KV_BLOCK] * KV_BLOCK + i % KV_BLOCK], s->tok[i]);
	if (s->n_done == s->n_tok && s->n_tok < MAX_TOK) s->tok[s->n_tok++] = (int32_t)rnd(3);
}

static int trial(uint32_t seed)
{
	struct sq s[MAX_SEQ] = { 0 };
	struct kv_pool *p;
	struct lm_err err;
	int hits = 0, n_blocks = 4 + (int)(seed % 37);
	int32_t *mem = calloc((size_t)n_blocks * KV_BLOCK, sizeof *mem);
	rnd_state = seed;
	assert_ok(kv_new(&p, n_blocks, &err), err);
	for (int step = 0; step < 400; step++) {
		struct sq *q = &s[rnd(MAX_SEQ)];
		if (!q->live) begin(p, q, mem, &hits);
		else if (rnd(12) == 0) kv_release(p, &q->kv), q->live = false;
		else advance(p, q, mem);
		check(p, s);
	}
	for (int i = 0; i < MAX_SEQ; i++)
		if (s[i].live) kv_release(p, &s[i].kv), s[i].live = false;
	check(p, s);
	assert_int_equal(kv_n_free(p), n_blocks);
	struct sq all = { .live = true };                /* everything can be had again */
	int32_t *table = calloc((size_t)n_blocks, sizeof *table);
	all.kv = (struct kv_seq){ .table = table, .cap = n_blocks };
	assert_true(kv_grow(p, &all.kv, n_blocks * KV_BLOCK));
	assert_int_equal(kv_n_free(p), 0);
	free(table);
	free(mem);
	kv_free(p);
	return hits;
}

LM_TEST(kv_random_use)
{
	int hits = 0;
	for (uint32_t seed = 1; seed <= 300; seed++) hits += trial(seed);
	assert_true(hits > 10000);                       /* prefixes were in fact found again */
}

LM_TEST(kv_next_turn_finds_the_last_one)
{
	struct kv_pool *p;
	struct lm_err err;
	assert_ok(kv_new(&p, 8, &err), err);
	int32_t table[8], tok[8 * KV_BLOCK];
	for (int i = 0; i < 8 * KV_BLOCK; i++) tok[i] = i;
	struct kv_seq s = { .table = table, .cap = 8 };
	assert_int_equal(kv_match(p, &s, 0, tok, 100), 0);
	assert_true(kv_grow(p, &s, 100));
	kv_publish(p, &s, 0, tok, 100);
	kv_release(p, &s);
	assert_int_equal(kv_match(p, &s, 0, tok, 150), 96);
	kv_release(p, &s);
	assert_int_equal(kv_match(p, &s, 0, tok, 96), 64);  /* one token is left to compute */
	kv_release(p, &s);
	tok[40] = -1;
	assert_int_equal(kv_match(p, &s, 0, tok, 150), 32);
	assert_false(kv_grow(p, &s, 9 * KV_BLOCK));      /* beyond the table */
	kv_release(p, &s);
	assert_int_equal(kv_n_free(p), 8);
	kv_free(p);
}
