/* Weights quantised on load against transformers with the same weights dequantised (tools/gold_onload.py): NF4 by
 * bitsandbytes, Q8_0 and Q4_0 by the gguf package. */
#include "gold.h"

#define ROOT "tests/model/onload/"

/* Largest difference over all log-probabilities of the golden. */
static double worst(struct backend *be, const char *kind, enum dtype type)
{
	struct lm_buf b = { 0 };
	struct lm_err e = { 0 };
	struct rig r = { .be = be, .n_batch = 32 };
	const struct model_opt o = { .precision = DT_COUNT, .quantize = type, .n_threads = 2 };
	char path[100];
	double far = 0;
	int32_t n_seqs, n_vocab;

	snprintf(path, sizeof path, ROOT "%s.gold", kind);
	assert_ok(lm_read_file(&b, path, 1 << 20, &e), e);
	assert_true(b.n > 16 && !memcmp(b.p, "LMGOLD2", 8));
	memcpy(&n_seqs, b.p + 8, 4);
	memcpy(&n_vocab, b.p + 12, 4);
	assert_ok(file_open(&r.f, ROOT "llama", &e), e);
	assert_ok(model_load(&r.m, r.f, be, &o, &e), e);
	rig_state(&r, DT_F32);
	assert_int_equal(r.n_vocab, n_vocab);
	const char *p = b.p + 16;
	for (int s = 0; s < n_seqs; s++) {
		int32_t n, ids[32];
		float out[32 * 64];
		memcpy(&n, p, 4);
		assert_true(n <= 32 && n_vocab <= 64);
		memcpy(ids, p + 8, (size_t)n * 4);
		p += 8 + 4 * n;
		rig_run(&r, ids, 0, n, 0, NULL, out);
		for (int t = 0; t < n; t++, p += 4 * n_vocab) {
			const float *row = out + t * n_vocab;
			double top = row[0], sum = 0;
			for (int i = 0; i < n_vocab; i++) top = fmax(top, row[i]);
			for (int i = 0; i < n_vocab; i++) sum += exp(row[i] - top);
			for (int i = 0; i < n_vocab; i++) {
				float want;
				memcpy(&want, p + 4 * i, 4);
				double d = fabs(row[i] - top - log(sum) - want);
				far = d > far || d != d ? d : far;
			}
		}
	}
	assert_ptr_equal(p, b.p + b.n);
	rig_close(&r);
	lm_buf_free(&b);
	return far;
}

static void check(const char *kind, enum dtype type, bool ref, double bound)
{
	struct backend *be;
	struct lm_err e = { 0 };
	assert_ok(ref ? backend_ref(&be, &e) : backend_cpu(&be, 2, NULL, &e), e);
	double d = worst(be, kind, type);
	if (!(d <= bound)) fail_msg("%s on %s: %g from the golden, at most %g", kind, ref ? "ref" : "cpu", d, bound);
}

LM_TEST(onload_as_bitsandbytes_and_gguf_do)
{
	check("nf4", DT_NF4, true, 1e-3);
	check("nf4", DT_NF4, false, 1e-3);
	check("q8_0", DT_Q8_0, true, 1e-3);
	check("q4_0", DT_Q4_0, true, 1e-3);
	/* the CPU multiplies these with activations of 8 bits, which costs this net of large random weights up to 0.30 */
	check("q8_0", DT_Q8_0, false, 0.4);
	check("q4_0", DT_Q4_0, false, 0.4);
}

/* A router is not quantised, nor a matrix whose rows are no whole blocks, nor embeddings. */
LM_TEST(onload_leaves_what_it_should)
{
	struct lm_err e = { 0 };
	struct file *f;
	struct model *m;
	struct backend *be;
	const struct model_opt nf4 = { .precision = DT_COUNT, .quantize = DT_NF4, .n_threads = 1 };
	assert_ok(backend_cpu(&be, 1, NULL, &e), e);
	assert_ok(file_open(&f, ROOT "llama", &e), e);
	assert_ok(model_load(&m, f, be, &nf4, &e), e);
	uint64_t norms = 3 * 64 * 4, layer = (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 64) / 64 * 36;
	assert_int_equal(model_info(m)->n_bytes, norms + 2 * 48 * 64 * 2 + layer);
	model_free(m);
	file_close(f);
	assert_ok(file_open(&f, "tests/model/hf/llama", &e), e);       /* rows of 32 and 24 */
	assert_ok(model_load(&m, f, be, &nf4, &e), e);
	uint64_t quantised = model_info(m)->n_bytes;
	model_free(m);
	assert_ok(model_load(&m, f, be, NULL, &e), e);
	assert_int_equal(model_info(m)->n_bytes, quantised);
	model_free(m);
	file_close(f);
	backend_free(be);
}
