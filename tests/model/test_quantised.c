/* A tiny model in each layout of pre-quantised weights (tests/model/layouts, tools/tiny_layouts.py) against transformers with
 * the dequantised weights.  Devices that multiply floats are held to what float models are held to; weights shown as Q4_0
 * or Q8_0 meet activations of eight bits on the CPU, which is the whole of the wider bound. */
#include "gold.h"
#include "format/derive.h"
#include <jansson.h>

#define ROOT "tests/model/layouts/"
enum { MAX_ROWS = 32, MAX_VOCAB = 64 };

/* Worst difference of a log-probability over the golden's sequences; counts greedy tokens that differ. */
static double against(struct rig *r, const char *name, int *wrong)
{
	static float out[MAX_ROWS * MAX_VOCAB];
	struct lm_buf b = { 0 };
	struct lm_err e = { 0 };
	char path[256];
	double worst = 0;

	snprintf(path, sizeof path, ROOT "%s.gold", name);
	assert_ok(lm_read_file(&b, path, 1 << 20, &e), e);
	const int32_t *p = (const int32_t *)(void *)(b.p + 8);
	int n_seqs = *p++, v = *p++;
	assert_true(!memcmp(b.p, "LMGOLD2", 8) && n_seqs == 3 && v == r->n_vocab && v <= MAX_VOCAB);
	while (n_seqs--) {
		int n = p[0], more = p[1];
		const int32_t *ids = p + 2, *greedy = ids + n;
		const float *lp = (const float *)(const void *)(greedy + more);
		assert_true(n + more <= MAX_ROWS);
		rig_run(r, ids, 0, n, 0, NULL, out);
		for (int i = 0; i < n; i++) {
			double sum = 0;
			for (int t = 0; t < v; t++) sum += exp(out[i * v + t]);
			for (int t = 0; t < v; t++) {
				double d = fabs(out[i * v + t] - log(sum) - lp[i * v + t]);
				worst = d > worst || d != d ? d : worst;
			}
		}
		memmove(out, out + (n - 1) * v, (size_t)v * sizeof *out);
		for (int k = 0; k < more; k++) {
			int top = 0;
			for (int t = 1; t < v; t++) top = out[t] > out[top] ? t : top;
			*wrong += top != greedy[k];
			struct batch one = { .at = { 1, 2, greedy + k, (int32_t[]){ n + k }, (int32_t[]){ 0 }, r->tables, r->slots },
			                     .want = (const uint8_t[]){ 1 } };
			assert_ok(model_forward(r->m, r->s, &one, out, &e), e);
		}
		p = (const int32_t *)(const void *)(lp + (size_t)n * (size_t)v);
	}
	assert_ptr_equal(p, b.p + b.n);
	lm_buf_free(&b);
	return worst;
}

struct layout { const char *name, *type; double cpu; };     /* type of blk.0's attn_q, or of its first expert */
/* measured: ct-int4 0.045, ct-int8 0.043, gptq (whose logits are the largest) 0.22; all others below 2e-5 */
static const struct layout layouts[] = {
	{ "bnb-nf4", "nf4", 2e-3 },     { "bnb-fp4", "fp4", 2e-3 },      { "bnb-int8", "bnb8", 2e-3 },
	{ "fp8", "f8_32", 2e-3 },       { "ct-int4", "q4_0", 0.06 },      { "ct-int4-asym", "z4_32", 2e-3 },
	{ "ct-int8", "q8_0", 0.06 },     { "ct-fp8", "f8_32", 2e-3 },     { "ct-nvfp4", "nv4", 2e-3 },
	{ "ct-mxfp4", "mxfp4", 2e-3 },  { "gptq", "q4_0", 0.25 },         { "gptq-asym", "z4_32", 2e-3 },
	{ "gptq-order", "f16", 2e-3 },  { "awq", "z4_32", 2e-3 },        { "mxfp4-oss", "mxfp4", 2e-3 },
};

static void golden(bool cpu)
{
	int bad = 0;

	for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
		const struct layout *l = &layouts[i];
		struct backend *be = NULL;
		struct lm_err e = { 0 };
		struct rig r;
		char path[256];
		int wrong = 0;

		if (cpu) assert_ok(backend_cpu(&be, 2, NULL, &e), e);
		else assert_ok(backend_ref(&be, &e), e);
		snprintf(path, sizeof path, ROOT "%s", l->name);
		rig_open(&r, path, be, DT_F32, MAX_ROWS);
		const struct tensor *t = file_tensor(r.f, "blk.0.ffn_gate.0.weight");
		if (!t) t = file_tensor(r.f, "blk.0.attn_q.weight");
		assert_non_null(t);
		assert_string_equal(quant_info(t->type)->name, l->type);
		double worst = against(&r, l->name, &wrong), bound = cpu ? l->cpu : 1e-4;
		if (!(worst <= bound) || wrong)
			print_error("%s: differs from transformers by %g, %d greedy tokens\n", l->name, worst, wrong), bad++;
		rig_close(&r);
	}
	assert_int_equal(bad, 0);
}

/* Columns in the order of activations stay four bits on devices that read x in any order; one order serves q, k and v. */
LM_TEST(quantised_order_stays_small)
{
	struct backend *be = NULL;
	struct lm_err e = { 0 };
	struct rig r;
	uint64_t floats = 0;
	assert_ok(backend_cpu(&be, 1, NULL, &e), e);
	be->ordered = false;
	rig_open(&r, ROOT "gptq-order", be, DT_F32, MAX_ROWS);
	floats = model_info(r.m)->n_bytes;
	rig_close(&r);
	assert_ok(backend_cpu(&be, 1, NULL, &e), e);
	rig_open(&r, ROOT "gptq-order", be, DT_F32, MAX_ROWS);
	const struct tensor *t = file_tensor(r.f, "blk.0.attn_q.weight"), *s;
	const int32_t *order = NULL;
	assert_non_null(t);
	assert_non_null(s = tensor_sorted(t, &order));
	assert_string_equal(quant_info(s->type)->name, "z4_32");
	assert_true(model_info(r.m)->n_bytes < floats);
	rig_close(&r);
}

LM_TEST(quantised_layouts_ref) { golden(false); }
LM_TEST(quantised_layouts_cpu) { golden(true); }
