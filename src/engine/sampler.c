/* sampler.c - the chain.
 *
 * Candidates are kept sorted by logit descending, then id ascending.  Without top-k the list would be the whole
 * vocabulary; a sorted prefix is enough for almost every draw, so the chain runs on a prefix that grows until the
 * answer no longer depends on the rest (1024, 16384, all).
 *
 * GOTCHAS: weights are exp(logit - largest logit), not normalised; thresholds are multiplied by their sum instead.
 * top-p and typical see the probabilities after the filters before them and before the temperature.  typical may
 * drop the most probable token, so greedy goes through the chain when it is on.  min-p compares with the best
 * candidate still there. */
#include "engine/sampler.h"
#include "engine/logits.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct undo { int32_t id; float old; };
struct sampler {
	struct lm_sampling s;
	int n_vocab;
	const int32_t *end; int n_end;
	struct lm_lp *c; int cap;                /* candidates; logprob holds the logit */
	double *w;                               /* [cap] their weights */
	struct undo *undo; int n_undo, cap_undo;
	int32_t *count;                          /* [n_vocab] all zero between picks; only with penalties */
};

void lm_sampling_default(struct lm_sampling *s)
{
	*s = (struct lm_sampling){ .temperature = 0.8f, .top_p = 0.95f, .min_p = 0.05f, .typical_p = 1, .top_k = 40,
	                           .repeat = 1, .repeat_last_n = 64 };
}

static bool penal(const struct lm_sampling *s)
{
	return s->repeat_last_n != 0 && (s->repeat != 1 || s->presence != 0 || s->frequency != 0);
}

int sampler_check(const struct lm_sampling *s, int n_vocab, struct lm_err *err)
{
	struct { const char *name; float v, lo, hi; } f[] = {
		{ "temperature", s->temperature, 0, 100 }, { "top_p", s->top_p, 0, 1 },
		{ "min_p", s->min_p, 0, 1 },               { "typical_p", s->typical_p, 0, 1 },
		{ "repeat_penalty", s->repeat, 0, 100 },   { "presence_penalty", s->presence, -100, 100 },
		{ "frequency_penalty", s->frequency, -100, 100 },
	};
	for (size_t i = 0; i < sizeof f / sizeof f[0]; i++)
		if (!(f[i].v >= f[i].lo && f[i].v <= f[i].hi))
			return lm_fail(err, LM_EINVAL, "%s: %g is not between %g and %g", f[i].name, (double)f[i].v,
			               (double)f[i].lo, (double)f[i].hi);
	if (s->repeat == 0) return lm_fail(err, LM_EINVAL, "repeat_penalty: 0 divides by zero; 1 turns it off");
	if (s->repeat_last_n < -1)
		return lm_fail(err, LM_EINVAL, "repeat_last_n: %d is not -1, 0 or a count", s->repeat_last_n);
	for (int i = 0; i < s->n_bias; i++) {
		if (s->bias[i].id < 0 || s->bias[i].id >= n_vocab)
			return lm_fail(err, LM_EINVAL, "logit_bias: token %d is not in the vocabulary of %d",
			               s->bias[i].id, n_vocab);
		if (s->bias[i].bias != s->bias[i].bias || s->bias[i].bias == INFINITY)
			return lm_fail(err, LM_EINVAL, "logit_bias: the bias of token %d is not a finite number",
			               s->bias[i].id);
	}
	return 0;
}

int sampler_new(struct sampler **out, const struct lm_sampling *s, int n_vocab, const int32_t *end, int n_end,
                struct lm_err *err)
{
	*out = NULL;
	int rc = sampler_check(s, n_vocab, err);
	if (rc) return rc;
	struct sampler *p = lm_calloc(1, sizeof *p);
	if (!p) return lm_fail(err, LM_ENOMEM, "out of memory for a sampler");
	p->s = *s;
	p->n_vocab = n_vocab;
	p->end = end;
	p->n_end = s->ignore_eos ? n_end : 0;
	struct lm_logit_bias *bias = lm_calloc((size_t)s->n_bias, sizeof *bias);
	p->s.bias = bias;
	p->cap_undo = s->n_bias + p->n_end;
	p->undo = lm_calloc((size_t)p->cap_undo, sizeof *p->undo);
	if (penal(s)) p->count = lm_calloc((size_t)n_vocab, sizeof *p->count);
	if (!bias || !p->undo || (penal(s) && !p->count)) {
		sampler_free(p);
		return lm_fail(err, LM_ENOMEM, "out of memory for a sampler");
	}
	if (s->n_bias) memcpy(bias, s->bias, (size_t)s->n_bias * sizeof *bias);
	*out = p;
	return 0;
}

void sampler_free(struct sampler *s)
{
	if (!s) return;
	lm_free((void *)(uintptr_t)s->s.bias);
	lm_free(s->c);
	lm_free(s->w);
	lm_free(s->undo);
	lm_free(s->count);
	lm_free(s);
}

/* ---- edits: bias, forbidden ends, penalties; undone afterwards ------------------------------------------ */
static void set(struct sampler *s, float *logits, int32_t id, float v)
{
	s->undo[s->n_undo++] = (struct undo){ id, logits[id] };
	logits[id] = v;
}

static int penalise(struct sampler *s, float *logits, const int32_t *tok, int n_tok, struct lm_err *err)
{
	const struct lm_sampling *p = &s->s;
	int n = p->repeat_last_n < 0 || p->repeat_last_n > n_tok ? n_tok : p->repeat_last_n;
	const int32_t *last = tok + n_tok - n;
	size_t want = (size_t)s->n_undo + (size_t)n;
	if (want > (size_t)s->cap_undo) {
		struct undo *u = lm_realloc(s->undo, (want + want / 2) * sizeof *u);
		if (!u) return lm_fail(err, LM_ENOMEM, "out of memory for the penalties of %d tokens", n);
		s->undo = u;
		s->cap_undo = (int)(want + want / 2);
	}
	for (int i = 0; i < n; i++) s->count[last[i]]++;
	for (int i = 0; i < n; i++) {
		int32_t id = last[i];
		if (!s->count[id]) continue;             /* done: it stands twice in the window */
		float l = logits[id] <= 0 ? logits[id] * p->repeat : logits[id] / p->repeat;
		set(s, logits, id, l - ((float)s->count[id] * p->frequency + p->presence));
		s->count[id] = 0;
	}
	return 0;
}

static int edit(struct sampler *s, float *logits, const int32_t *tok, int n_tok, struct lm_err *err)
{
	s->n_undo = 0;
	for (int i = 0; i < s->s.n_bias; i++)
		set(s, logits, s->s.bias[i].id, logits[s->s.bias[i].id] + s->s.bias[i].bias);
	for (int i = 0; i < s->n_end; i++) set(s, logits, s->end[i], -INFINITY);
	return s->count ? penalise(s, logits, tok, n_tok, err) : 0;
}

/* ---- the chain ------------------------------------------------------------------------------------------- */
struct list { int n; bool whole; double sum; };   /* whole: no candidate lies beyond the n; sum: of all weights */

/* The best n entries with their weights. */
static int gather(struct sampler *s, const float *logits, int n, struct lm_err *err)
{
	if (n > s->cap) {
		struct lm_lp *c = lm_realloc(s->c, (size_t)n * sizeof *c);
		if (c) s->c = c;
		double *w = lm_realloc(s->w, (size_t)n * sizeof *w);
		if (w) s->w = w;
		if (!c || !w) return lm_fail(err, LM_ENOMEM, "out of memory for %d candidates", n);
		s->cap = n;
	}
	logits_top(logits, s->n_vocab, n, s->c);
	for (int i = 0; i < n; i++) s->w[i] = logits_exp((double)s->c[i].logprob - (double)s->c[0].logprob);
	return 0;
}

struct odd { double shift; int i; };
static int by_shift(const void *a, const void *b)
{
	const struct odd *x = a, *y = b;
	return x->shift < y->shift ? -1 : x->shift > y->shift ? 1 : x->i - y->i;
}

/* Locally typical sampling (Meister et al. 2022): keeps what is nearest to the entropy until its mass exceeds p. */
static int typical(struct sampler *s, struct list *l, struct lm_err *err)
{
	struct odd *o = lm_calloc((size_t)l->n, sizeof *o);
	if (!o) return lm_fail(err, LM_ENOMEM, "out of memory for %d candidates", l->n);
	double logz = logits_log(l->sum), entropy = 0, cum = 0;
	for (int i = 0; i < l->n; i++)
		if (s->w[i] > 0)
			entropy += s->w[i] / l->sum * (logz - ((double)s->c[i].logprob - (double)s->c[0].logprob));
	for (int i = 0; i < l->n; i++)
		o[i] = (struct odd){ fabs(logz - ((double)s->c[i].logprob - (double)s->c[0].logprob) - entropy), i };
	qsort(o, (size_t)l->n, sizeof *o, by_shift);
	int n = 0;
	while (n < l->n) {
		cum += s->w[o[n].i];
		n++;
		if (cum > (double)s->s.typical_p * l->sum) break;
	}
	for (int i = n; i < l->n; i++) s->c[o[i].i].id = -1;
	lm_free(o);
	n = 0;
	l->sum = 0;
	for (int i = 0; i < l->n; i++)
		if (s->c[i].id >= 0) {
			s->c[n] = s->c[i];
			s->w[n] = s->w[i];
			l->sum += s->w[n++];
		}
	l->n = n;
	return 0;
}

static void top_p(const struct sampler *s, struct list *l)
{
	double cum = 0;
	for (int i = 0; i < l->n; i++) {
		cum += s->w[i];
		if (cum >= (double)s->s.top_p * l->sum) {
			l->n = i + 1;
			l->whole = true;
			return;
		}
	}
}

static void min_p(const struct sampler *s, struct list *l)
{
	for (int i = 1; i < l->n; i++)
		if (s->w[i] < (double)s->s.min_p * s->w[0]) {
			l->n = i;
			l->whole = true;
			return;
		}
}

static double weight(const struct sampler *s, float logit)
{
	return logits_exp(((double)logit - (double)s->c[0].logprob) / (double)s->s.temperature);
}

/* Inverse CDF at the temperature.  -1: the answer lies beyond the prefix. */
static int draw(const struct sampler *s, const struct list *l, const float *logits, int pos)
{
	double sum = 0, cum = 0;
	if (s->s.temperature <= 0) return s->c[0].id;
	if (l->whole)
		for (int i = 0; i < l->n; i++) sum += weight(s, s->c[i].logprob);
	else
		sum = logits_sum(logits, s->n_vocab, s->c[0].logprob, s->s.temperature);
	double at = lm_uniform(s->s.seed, (uint64_t)pos, 0) * sum;
	int last = 0;
	for (int i = 0; i < l->n; i++) {
		double w = weight(s, s->c[i].logprob);
		cum += w;
		if (cum > at) return s->c[i].id;
		if (w > 0) last = i;
	}
	return l->whole ? s->c[last].id : -1;      /* rounding: cum ended a hair below sum */
}

static int chain(struct sampler *s, const float *logits, int imax, int pos, struct lm_err *err)
{
	const struct lm_sampling *p = &s->s;
	bool cut = p->top_k > 0 && p->top_k < s->n_vocab;
	double all = 0;
	if (!cut && (p->typical_p < 1 || p->top_p < 1)) all = logits_sum(logits, s->n_vocab, logits[imax], 1);
	int n = cut ? p->top_k : p->typical_p < 1 ? s->n_vocab : 1024;
	for (;; n *= 16) {
		if (n > s->n_vocab) n = s->n_vocab;
		int rc = gather(s, logits, n, err);
		struct list l = { n, cut || n == s->n_vocab, all };
		if (rc) return rc;
		if (cut)
			for (int i = 0; i < n; i++) l.sum += s->w[i];
		if (p->typical_p < 1 && (rc = typical(s, &l, err))) return rc;
		if (p->top_p < 1) top_p(s, &l);
		if (p->min_p > 0) min_p(s, &l);
		if (!l.whole && (p->top_p < 1 || p->min_p > 0)) continue;      /* the cut lies beyond the prefix */
		int id = draw(s, &l, logits, pos);
		if (id >= 0) return id;
	}
}

int sampler_pick(struct sampler *s, float *logits, const int32_t *tok, int n_tok, struct lm_err *err)
{
	int imax = logits_max(logits, s->n_vocab);
	if (imax < 0)
		return lm_fail(err, LM_EFORMAT, "the model computed logits that are not numbers at position %d: its weights "
		               "are damaged or overflow", n_tok - 1);
	int rc = edit(s, logits, tok, n_tok, err);
	if (!rc && s->n_undo) imax = logits_max(logits, s->n_vocab);
	if (!rc && imax < 0) rc = lm_fail(err, LM_EINVAL, "logit_bias and ignore_eos leave no token to choose from");
	else if (!rc && s->s.temperature <= 0 && !(s->s.typical_p < 1)) rc = imax;
	else if (!rc) rc = chain(s, logits, imax, n_tok, err);
	while (s->n_undo > 0) {
		s->n_undo--;
		logits[s->undo[s->n_undo].id] = s->undo[s->n_undo].old;
	}
	return rc;
}
