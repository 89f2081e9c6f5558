/* Tiny random encoders against transformers (tools/tiny_enc.py): every row after the last norm, and the classifier's
 * logits; and against themselves: what else is in a pass must not change a byte. */
#include "gold.h"
#include "model/arch.h"

static const char *const cases[] = { "bert", "bert-cls", "roberta", "distilbert", "nomic-bert", "modern-bert", "gemma-embedding" };
enum { N_CASES = sizeof cases / sizeof cases[0], MAX_ROWS = 64, MAX_H = 64 };

struct enc_gold { struct lm_buf b; int n_seqs, hidden, labels; size_t at; };
struct enc_seq { int n; const int32_t *ids, *types; const float *rows, *logits; };

static int32_t take_i32(struct enc_gold *g)
{
	int32_t v;
	memcpy(&v, g->b.p + g->at, 4);
	g->at += 4;
	return v;
}

static const void *take(struct enc_gold *g, size_t n)
{
	const void *p = g->b.p + g->at;
	g->at += n;
	assert_true(g->at <= g->b.n);
	return p;
}

static void gold_read(struct enc_gold *g, const char *name)
{
	char path[256];
	struct lm_err e = { 0 };
	*g = (struct enc_gold){ 0 };
	snprintf(path, sizeof path, "tests/model/enc/%s.gold", name);
	assert_ok(lm_read_file(&g->b, path, 1 << 20, &e), e);
	assert_true(g->b.n > 20 && !memcmp(g->b.p, "LMENC1\0", 8));
	g->at = 8;
	g->n_seqs = take_i32(g), g->hidden = take_i32(g), g->labels = take_i32(g);
	assert_true(g->n_seqs == 3 && g->hidden <= MAX_H && g->labels < 8);
}

static struct enc_seq gold_seq(struct enc_gold *g)
{
	struct enc_seq s = { .n = take_i32(g) };
	size_t n = (size_t)s.n;
	assert_true(s.n <= MAX_ROWS);
	s.ids = take(g, 4 * n);
	s.types = take(g, 4 * n);
	s.rows = take(g, 4 * n * (size_t)g->hidden);
	s.logits = take(g, 4 * (size_t)g->labels);
	return s;
}

/* All rows of seqs[0..n) in one pass. */
static void run(struct rig *r, const struct enc_seq *seqs, int n_seqs, float *out)
{
	int32_t ids[MAX_ROWS * 3], pos[MAX_ROWS * 3], seq[MAX_ROWS * 3], types[MAX_ROWS * 3];
	uint8_t want[MAX_ROWS * 3];
	struct lm_err e = { 0 };
	int n = 0;
	for (int s = 0; s < n_seqs; s++)
		for (int i = 0; i < seqs[s].n; i++, n++)
			ids[n] = seqs[s].ids[i], pos[n] = i, seq[n] = s, types[n] = seqs[s].types[i], want[n] = 1;
	struct batch b = { .at = { n, n_seqs, ids, pos, seq, r->tables, r->slots }, .want = want, .hidden = true, .type = types };
	assert_ok(model_forward(r->m, r->s, &b, out, &e), e);
}

static double worse(double worst, const float *a, const float *b, int n)
{
	for (int i = 0; i < n; i++) {
		double d = fabs((double)a[i] - (double)b[i]);
		if (d > worst || d != d) worst = d;
	}
	return worst;
}

/* What the classifier reads: the first row, or the mean of all. */
static void pool(const struct rig *r, const struct enc_seq *s, const float *rows, int hidden, float *out)
{
	bool mean = model_heads(r->m)->cls_pool == POOL_MEAN;
	for (int d = 0; d < hidden; d++) {
		double sum = 0;
		for (int i = 0; i < s->n; i++) sum += (double)rows[i * hidden + d];
		out[d] = mean ? (float)(sum / s->n) : rows[d];
	}
}

static void check_case(const char *path, const char *name, bool cpu, enum dtype kv, double bound)
{
	static float out[MAX_ROWS * MAX_H], pooled[MAX_H], logits[8];
	struct rig r;
	struct enc_gold g;
	struct lm_err e = { 0 };
	double rows = 0, heads = 0;

	gold_read(&g, name);
	rig_open(&r, path, rig_device(cpu), kv, 128);
	assert_int_equal(model_heads(r.m)->n_label, g.labels);
	assert_false(model_heads(r.m)->causal);
	for (int i = 0; i < g.n_seqs; i++) {
		struct enc_seq s = gold_seq(&g);
		run(&r, &s, 1, out);
		rows = worse(rows, out, s.rows, s.n * g.hidden);
		if (!g.labels) continue;
		pool(&r, &s, out, g.hidden, pooled);
		assert_ok(model_classes(r.m, r.s, pooled, 1, logits, &e), e);
		heads = worse(heads, logits, s.logits, g.labels);
	}
	assert_int_equal(g.at, g.b.n);
	if (!(rows <= bound && heads <= bound)) fail_msg("%s: rows differ from transformers by %g, logits by %g", path, rows, heads);
	lm_buf_free(&g.b);
	rig_close(&r);
}

static void golden(const char *end, bool cpu, enum dtype kv, double bound)
{
	char path[256];
	for (int c = 0; c < N_CASES; c++) {
		snprintf(path, sizeof path, "tests/model/enc/%s%s", cases[c], end);
		check_case(path, cases[c], cpu, kv, bound);
	}
}

LM_TEST(enc_gguf_ref) { golden(".gguf", false, DT_F32, 1e-4); }
LM_TEST(enc_gguf_cpu) { golden(".gguf", true, DT_F32, 1e-4); }
LM_TEST(enc_folder_ref) { golden("", false, DT_F32, 1e-4); }
LM_TEST(enc_folder_cpu) { golden("", true, DT_F32, 2e-2); }      /* BF16 weights: activations are rounded to it */
/* Other names for the same tensors (tools/tiny_pipes.py). */
LM_TEST(enc_folder_names)
{
	check_case("tests/model/enc/nomic-hub", "nomic-bert", false, DT_F32, 1e-4);
	check_case("tests/model/enc/bert-old", "bert", false, DT_F32, 1e-4);
}
LM_TEST(enc_gguf_f16_cache) { golden(".gguf", true, DT_F16, 2e-2); }

/* Three texts in one pass, in any order: the bytes that each gets alone. */
static void company(const char *name, bool cpu)
{
	static float alone[3][MAX_ROWS * MAX_H], all[3 * MAX_ROWS * MAX_H];
	static int32_t table[3][8];
	const int32_t *tables[3] = { table[0], table[1], table[2] };
	char path[256];
	struct rig r;
	struct enc_gold g;
	struct enc_seq s[3];

	gold_read(&g, name);
	snprintf(path, sizeof path, "tests/model/enc/%s.gguf", name);
	rig_open(&r, path, rig_device(cpu), DT_F32, 128);
	for (int i = 0; i < 3; i++) {
		s[i] = gold_seq(&g);
		run(&r, &s[i], 1, alone[i]);
		for (int k = 0; k < 8; k++) table[i][k] = 3 * k + i;
	}
	for (int turn = 0; turn < 2; turn++) {
		struct enc_seq order[3] = { s[turn ? 2 : 0], s[1], s[turn ? 0 : 2] };
		int32_t ids[3 * MAX_ROWS], pos[3 * MAX_ROWS], seq[3 * MAX_ROWS], types[3 * MAX_ROWS];
		uint8_t want[3 * MAX_ROWS];
		struct lm_err e = { 0 };
		int n = 0;
		for (int k = 0; k < 3; k++)
			for (int i = 0; i < order[k].n; i++, n++)
				ids[n] = order[k].ids[i], pos[n] = i, seq[n] = k, types[n] = order[k].types[i], want[n] = 1;
		struct batch b = { .at = { n, 3, ids, pos, seq, tables, NULL }, .want = want, .hidden = true, .type = types };
		assert_ok(model_forward(r.m, r.s, &b, all, &e), e);
		n = 0;
		for (int k = 0; k < 3; n += order[k++].n) {
			int was = turn ? 2 - k : k;
			if (memcmp(all + n * g.hidden, alone[was], (size_t)(order[k].n * g.hidden) * sizeof(float)))
				fail_msg("%s: other texts in the pass change the bytes", name);
		}
	}
	lm_buf_free(&g.b);
	rig_close(&r);
}

LM_TEST(enc_company_ref)
{
	for (int c = 0; c < N_CASES; c++) company(cases[c], false);
}
LM_TEST(enc_company_cpu)
{
	for (int c = 0; c < N_CASES; c++) company(cases[c], true);
}

/* A text in parts, a token type or a position that the model lacks: one sentence, nothing computed. */
LM_TEST(enc_refusals)
{
	static float out[8 * MAX_H];
	struct rig r;
	struct lm_err e = { 0 };
	int32_t ids[4] = { 5, 6, 7, 8 }, pos[4] = { 0, 1, 2, 3 }, seq[4] = { 0 }, types[4] = { 0, 0, 2, 0 };
	uint8_t want[4] = { 1, 1, 1, 1 };
	rig_open(&r, "tests/model/enc/bert.gguf", rig_device(true), DT_F32, 16);
	struct batch b = { .at = { 4, 1, ids, pos, seq, r.tables, NULL }, .want = want, .hidden = true, .type = types };
	assert_int_equal(model_forward(r.m, r.s, &b, out, &e), LM_EINVAL);
	assert_non_null(strstr(e.msg, "token type 2"));
	b.type = NULL;
	pos[0] = 4, pos[1] = 5, pos[2] = 6, pos[3] = 7;
	assert_int_equal(model_forward(r.m, r.s, &b, out, &e), LM_EINVAL);
	assert_non_null(strstr(e.msg, "whole texts"));
	pos[3] = 48;
	assert_int_equal(model_forward(r.m, r.s, &b, out, &e), LM_EINVAL);
	assert_non_null(strstr(e.msg, "position 48"));
	rig_close(&r);
}

/* The layers of an encoder share one layer's blocks. */
LM_TEST(enc_memory)
{
	struct rig r;
	rig_open(&r, "tests/model/enc/modern-bert.gguf", rig_device(true), DT_F32, 16);
	uint64_t a = state_bytes(r.m, 1, 1, 16, DT_F32), b = state_bytes(r.m, 2, 1, 16, DT_F32);
	assert_int_equal(b - a, 2 * 32 * 32 * sizeof(float));
	rig_close(&r);
}
