/* Tiny random models of every architecture row against transformers (tools/make_tiny.py), and against
 * themselves: how the rows of a prompt are cut into passes must not change a byte. */
#include "gold.h"
#include "model/arch.h"

static const char *const cases[] = {
	"llama",   "llama-bias",   "llama-linear", "llama-yarn",    "llama-llama3", "llama-window",
	"qwen2",   "qwen3",        "phi3",         "phi3-longrope", "granite",      "smollm3",
	"glm4",    "ernie4_5",     "arcee",        "seed_oss",      "olmo2",        "olmo2-olmo3",
	"exaone4", "exaone4-full", "gemma",        "gemma2",        "gemma2-27b",   "gemma3",
	"gpt2",    "starcoder2",   "nemotron",     "stablelm",      "stablelm-12b", "phi2",
	"gptneox", "gptneox-seq",  "falcon",       "falcon-40b",    "command-r",    "command-r-plus",
	"cohere2", "deepseek2-new", "deepseek2-old",
};
enum { N_CASES = sizeof cases / sizeof cases[0], MAX_OUT = 64 * 256 };

static void open_kv(struct rig *r, struct gold *g, const char *name, bool cpu, enum dtype kv)
{
	char path[256];
	snprintf(path, sizeof path, "tests/model/tiny/%s.gguf", name);
	rig_open(r, path, rig_device(cpu), kv, 64);
	snprintf(path, sizeof path, "tests/model/tiny/%s.gold", name);
	gold_open(g, path);
	assert_int_equal(g->n_rows, g->n_ids);
	assert_true(g->n_ids * r->n_vocab <= MAX_OUT);
}

static void open_case(struct rig *r, struct gold *g, const char *name, bool cpu)
{
	open_kv(r, g, name, cpu, DT_F32);
}

/* Largest difference over the whole vocabulary and all positions. */
static double worst_of(struct rig *r, const struct gold *g)
{
	static float out[MAX_OUT];
	double worst = 0;

	rig_run(r, g->ids, 0, g->n_ids, 0, NULL, out);
	for (int i = 0; i < g->n_rows; i++) {
		double d = gold_diff(g, i, out + i * r->n_vocab, r->n_vocab);
		worst = d > worst || d != d ? d : worst;
	}
	return worst;
}

static void golden(bool cpu, double bound)
{
	int bad = 0;

	for (int c = 0; c < N_CASES; c++) {
		struct rig r;
		struct gold g;
		open_case(&r, &g, cases[c], cpu);
		double worst = worst_of(&r, &g);
		if (!(worst <= bound))
			print_error("%s: differs from transformers by %g\n", cases[c], worst), bad++;
		gold_close(&g);
		rig_close(&r);
	}
	assert_int_equal(bad, 0);
}

LM_TEST(model_tiny_ref) { golden(false, 1e-4); }
LM_TEST(model_tiny_cpu) { golden(true, 1e-4); }

/* The cache types, keys and values of 128 elements: what their rounding costs here, with a margin of about 2.
 */
LM_TEST(model_tiny_kv_types)
{
	static const struct {
		enum dtype t;
		double bound;
	} kv[] = { { DT_F16, 7e-3 }, { DT_BF16, 4e-2 }, { DT_Q8_0, 0.15 } };

	for (int i = 0; i < 6; i++) {
		struct rig r;
		struct gold g;
		open_kv(&r, &g, "gemma2-27b", i % 2, kv[i / 2].t);
		double worst = worst_of(&r, &g);
		if (!(worst <= kv[i / 2].bound)) fail_msg("KV type %d: %g", kv[i / 2].t, worst);
		gold_close(&g);
		rig_close(&r);
	}
}

/* Two sequences in one pass: `a` whole beside the last rows of `b`, whose first rows went before. */
static void interleaved(struct rig *r, const struct gold *g, float *out)
{
	int32_t ids[128], pos[128], seq[128], n = g->n_ids, half = n / 2;
	uint8_t want[128] = { 0 };
	struct lm_err e = { 0 };

	rig_run(r, g->ids, 0, half, 1, NULL, out);
	for (int i = 0; i < n; i++) ids[i] = g->ids[i], pos[i] = i, seq[i] = 0, want[i] = 1;
	for (int i = half; i < n; i++) {
		int k = n + i - half;
		ids[k] = g->ids[i], pos[k] = i, seq[k] = 1, want[k] = 1;
	}
	struct batch b = { .at = { 2 * n - half, 2, ids, pos, seq, r->tables, r->slots }, .want = want };
	assert_ok(model_forward(r->m, r->s, &b, out, &e), e);
}

static void consistent(const char *name, bool cpu)
{
	static float whole[MAX_OUT], out[2 * MAX_OUT];
	struct rig r;
	struct gold g;

	open_case(&r, &g, name, cpu);
	int n = g.n_ids, v = r.n_vocab, half = n / 2;
	size_t row = (size_t)v * sizeof(float);
	rig_run(&r, g.ids, 0, n, 0, NULL, whole);
	for (int step = 1; step <= 7; step += 3) {
		for (int i = 0; i < n; i += step)
			rig_run(&r, g.ids, i, n - i < step ? n - i : step, 0, NULL, out + i * v);
		if (memcmp(whole, out, (size_t)n * row))
			fail_msg("%s: passes of %d rows give other bytes", name, step);
	}
	interleaved(&r, &g, out);
	if (memcmp(whole, out, (size_t)n * row) ||
	    memcmp(whole + half * v, out + n * v, (size_t)(n - half) * row))
		fail_msg("%s: two sequences in one pass give other bytes", name);
	gold_close(&g);
	rig_close(&r);
}

LM_TEST(model_cuts_ref)
{
	for (int c = 0; c < N_CASES; c++) consistent(cases[c], false);
}
LM_TEST(model_cuts_cpu)
{
	for (int c = 0; c < N_CASES; c++) consistent(cases[c], true);
}

/* A device whose memory is not ours gets its logits through a scratch of 16 rows: the same bytes, for any rows. */
LM_TEST(model_logits_in_slices)
{
	static float whole[MAX_OUT], out[MAX_OUT];
	struct rig r;
	struct gold g;
	int32_t ids[40];
	uint8_t want[40];

	for (int far = 0; far < 2; far++) {
		struct backend *be = rig_device(false);
		be->host = !far;
		rig_open(&r, "tests/model/tiny/gemma2.gguf", be, DT_F32, 64);
		gold_open(&g, "tests/model/tiny/gemma2.gold");
		for (int i = 0; i < 40; i++) ids[i] = g.ids[i % g.n_ids], want[i] = i != 7;
		rig_run(&r, ids, 0, 40, 0, want, far ? out : whole);
		assert_true(state_bytes(r.m, 1, 1, 64, DT_F32) > 0);
		gold_close(&g);
		rig_close(&r);
	}
	assert_memory_equal(whole, out, 39 * 48 * sizeof(float));
}
