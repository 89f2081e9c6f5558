/* The real test models on the reference device against transformers (goldens: tools/gold_model.py). */
#include "gold.h"

/* The first n tokens in two passes; the rows in `every` are compared. */
static void real(const char *model, const char *golden, int n, int every)
{
	struct rig r;
	struct gold g;
	struct backend *be = NULL;
	struct lm_err e = { 0 };
	uint8_t want[64] = { 0 };
	double worst = 0;

	assert_ok(backend_ref(&be, &e), e);
	rig_open(&r, model, be, DT_F32, 32);
	gold_open(&g, golden);
	float *out = lm_malloc((size_t)n * (size_t)r.n_vocab * sizeof *out);
	for (int i = 0; i < n; i++) want[i] = i % every == every - 1;
	for (int from = 0, len; from < n; from += len) {
		len = from ? n - from : n / 3;
		rig_run(&r, g.ids, from, len, 0, want + from, out);
		for (int i = from, k = 0; i < from + len; i++) {
			if (!want[i]) continue;
			double d = gold_diff(&g, i, out + (size_t)k++ * (size_t)r.n_vocab, r.n_vocab);
			worst = d > worst || d != d ? d : worst;
		}
	}
	if (!(worst <= 1e-3))
		fail_msg("%s: log-probabilities differ from transformers by up to %g", model, worst);
	lm_free(out);
	gold_close(&g);
	rig_close(&r);
}

LM_TEST(model_real_smollm2)
{
	real("models/SmolLM2-135M-Instruct.Q4_1.gguf", "tests/model/smollm2.gold", 24, 1);
}
LM_TEST(model_real_gemma3) { real("models/gemma-3-270m-q4_k_m.gguf", "tests/model/gemma3-270m.gold", 24, 4); }
