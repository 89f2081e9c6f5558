/* The sampler against draws of tools/gold_sampler.py (numpy), and its own promises. */
#include "test.h"
#include "engine/logits.h"
#include "engine/sampler.h"
#include <inttypes.h>
#include <math.h>

enum { DRAWS = 24 };
static const int32_t ends[] = { 2, 5 };

static float *make_logits(int n, uint32_t x, int steps)
{
	float *l = malloc((size_t)n * sizeof *l);
	for (int i = 0; i < n; i++) {
		x = x * 1664525u + 1013904223u;
		double v = (double)(x >> 8) / (1 << 24);
		if (steps) v = floor(v * steps) / steps;
		l[i] = (float)(v * 20 - 10);
	}
	return l;
}

static double num(FILE *f)
{
	double v;
	assert_int_equal(fscanf(f, "%lf", &v), 1);
	return v;
}

static void one_case(FILE *f, int n, int line)
{
	uint32_t lcg = (uint32_t)num(f);
	int steps = (int)num(f);
	struct lm_sampling s = { .temperature = (float)num(f), .top_k = (int)num(f) };
	s.typical_p = (float)num(f), s.top_p = (float)num(f), s.min_p = (float)num(f), s.repeat = (float)num(f);
	s.presence = (float)num(f), s.frequency = (float)num(f), s.repeat_last_n = (int)num(f);
	s.ignore_eos = num(f) != 0;
	assert_int_equal(fscanf(f, "%" SCNu64, &s.seed), 1);
	struct lm_logit_bias bias[8];
	s.n_bias = (int)num(f), s.bias = bias;
	for (int i = 0; i < s.n_bias; i++) bias[i].id = (int)num(f), bias[i].bias = (float)num(f);
	int n_hist = (int)num(f);
	int32_t *hist = calloc((size_t)n_hist + DRAWS, sizeof *hist);
	for (int i = 0; i < n_hist; i++) hist[i] = (int32_t)num(f);
	float *l = make_logits(n, lcg, steps), *keep = make_logits(n, lcg, steps);
	struct sampler *smp;
	struct lm_err err;
	/* the history does not grow in the goldens: it slides, so that it ends at the drawn position */
	if (s.repeat_last_n < 0 || s.repeat_last_n > n_hist) s.repeat_last_n = n_hist;
	assert_ok(sampler_new(&smp, &s, n, ends, 2, &err), err);
	for (int i = 0; i < DRAWS; i++) {
		int want = (int)num(f), got = sampler_pick(smp, l, hist, n_hist + i, &err);
		if (got != want) fail_msg("line %d draw %d: %d, numpy drew %d", line, i, got, want);
		assert_memory_equal(l, keep, (size_t)n * sizeof *l);
		memmove(hist + i + 1, hist + i, (size_t)n_hist * sizeof *hist);
	}
	sampler_free(smp);
	free(l), free(keep), free(hist);
}

LM_TEST(sampler_draws_as_numpy)
{
	FILE *f = fopen("tests/engine/sampler.txt", "r");
	assert_non_null(f);
	int n, line = 0;
	while (fscanf(f, "%d", &n) == 1) one_case(f, n, ++line);
	fclose(f);
	assert_true(line > 200);
}

LM_TEST(sampler_refuses_bad_values)
{
	struct lm_err err;
	struct sampler *p;
	struct lm_logit_bias out = { 10, 1 }, nan = { 1, NAN };
#define BAD(field, value, word)                                                          \
	do {                                                                             \
		struct lm_sampling s;                                                    \
		lm_sampling_default(&s);                                                 \
		s.field = value;                                                         \
		assert_int_equal(sampler_new(&p, &s, 10, ends, 2, &err), LM_EINVAL);     \
		assert_non_null(strstr(err.msg, word));                                  \
	} while (0)
	BAD(temperature, -1, "temperature");
	BAD(temperature, NAN, "temperature");
	BAD(top_p, 1.5f, "top_p");
	BAD(min_p, -0.1f, "min_p");
	BAD(typical_p, 2, "typical_p");
	BAD(repeat, 0, "repeat_penalty");
	BAD(presence, INFINITY, "presence_penalty");
	BAD(frequency, NAN, "frequency_penalty");
	BAD(repeat_last_n, -2, "repeat_last_n");
	BAD(n_bias, 1; s.bias = &out, "token 10");
	BAD(n_bias, 1; s.bias = &nan, "token 1");
}

static int pick(const struct lm_sampling *s, float *l, int n, struct lm_err *err)
{
	struct sampler *p;
	int32_t tok[1] = { 0 };
	assert_ok(sampler_new(&p, s, n, ends, 2, err), *err);
	int id = sampler_pick(p, l, tok, 1, err);
	sampler_free(p);
	return id;
}

LM_TEST(sampler_names_logits_that_are_not_numbers)
{
	struct lm_sampling s;
	struct lm_err err;
	lm_sampling_default(&s);
	for (int t = 0; t < 2; t++) {
		s.temperature = (float)t;
		float nan[] = { 1, NAN, 2 }, inf[] = { 1, INFINITY, 2 }, none[] = { -INFINITY, -INFINITY };
		assert_int_equal(pick(&s, nan, 3, &err), LM_EFORMAT);
		assert_non_null(strstr(err.msg, "not numbers"));
		assert_int_equal(pick(&s, inf, 3, &err), LM_EFORMAT);
		assert_int_equal(pick(&s, none, 2, &err), LM_EFORMAT);
		float some[] = { -INFINITY, -INFINITY, 3, -INFINITY };
		assert_int_equal(pick(&s, some, 4, &err), 2);
		struct lm_logit_bias never = { 2, -INFINITY };
		struct lm_sampling b = s;
		b.bias = &never, b.n_bias = 1;
		assert_int_equal(pick(&b, some, 4, &err), LM_EINVAL);
		assert_true(some[2] == 3);
	}
}

LM_TEST(sampler_greedy_takes_the_lowest_id_of_a_tie)
{
	struct lm_sampling s = { .top_p = 1, .typical_p = 1, .repeat = 1 };
	struct lm_err err;
	float l[] = { 1, 7, 3, 7, 7 };
	assert_int_equal(pick(&s, l, 5, &err), 1);
}

/* Frequencies of many draws are the softmax. */
LM_TEST(sampler_frequencies_are_probabilities)
{
	struct lm_sampling s = { .temperature = 2, .top_p = 1, .typical_p = 1, .repeat = 1, .seed = 11 };
	float l[] = { 0, 1, 2, -INFINITY, 3 };
	int count[5] = { 0 }, n = 200000;
	struct sampler *p;
	struct lm_err err;
	int32_t *tok = calloc((size_t)n, sizeof *tok);
	assert_ok(sampler_new(&p, &s, 5, ends, 2, &err), err);
	for (int i = 0; i < n; i++) count[sampler_pick(p, l, tok, i, &err)]++;
	double z = 0;
	for (int i = 0; i < 5; i++) z += exp(l[i] / 2.0);
	assert_int_equal(count[3], 0);
	for (int i = 0; i < 5; i++) assert_true(fabs(count[i] / (double)n - exp(l[i] / 2.0) / z) < 0.004);
	sampler_free(p);
	free(tok);
}

LM_TEST(logits_exp_and_log_are_exact_to_two_ulp)
{
	for (int i = 0; i < 2000000; i++) {
		double x = (i - 1000000) * 7.1e-4, want = exp(x), got = logits_exp(x);
		if (want > 1e-300 && want < 1e300) assert_true(fabs(got - want) <= 4.5e-16 * want);
		double y = 1e-9 + i * 3.7e-3;
		assert_true(fabs(logits_log(y) - log(y)) <= 5e-16 * fabs(log(y)) + 1e-16);
	}
	assert_true(logits_exp(0) == 1 && logits_exp(-INFINITY) == 0 && logits_exp(INFINITY) == INFINITY);
	assert_true(logits_exp(NAN) != logits_exp(NAN));
	assert_true(logits_exp(-708) > 0 && logits_exp(-709) == 0 && logits_exp(709) < INFINITY && logits_log(1) == 0);
}

LM_TEST(logits_top_is_a_sort)
{
	for (int n = 1; n < 300; n += 7)
		for (int k = 1; k <= n; k += n / 5 + 1) {
			float *l = make_logits(n, (uint32_t)(n + k), n % 2 ? 9 : 0);
			struct lm_lp out[300];
			logits_top(l, n, k, out);
			for (int i = 0; i < k; i++) {
				int better = 0;
				for (int j = 0; j < n; j++) better += l[j] > l[out[i].id] || (l[j] == l[out[i].id] && j < out[i].id);
				assert_int_equal(better, i);
				assert_true(out[i].logprob == l[out[i].id]);
			}
			assert_int_equal(logits_max(l, n), out[0].id);
			free(l);
		}
}
