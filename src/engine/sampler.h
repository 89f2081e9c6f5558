/* sampler.h - logits to a token, in llama.cpp's order: logit bias, penalties, top-k, typical, top-p, min-p,
 * temperature, draw.  A sampler remembers nothing: what it draws is a function of the logits, the tokens so far and
 * the seed, so batch company, preemption and retries cannot shift it. */
#pragma once
#include "engine/lmrun.h"

struct sampler;
/* LM_EINVAL naming the first field out of range. */
int sampler_check(const struct lm_sampling *s, int n_vocab, struct lm_err *err);
/* Copies what it needs of *s.  end[n_end]: the ids that ignore_eos forbids; must outlive the sampler. */
int sampler_new(struct sampler **out, const struct lm_sampling *s, int n_vocab, const int32_t *end, int n_end,
                struct lm_err *err);
void sampler_free(struct sampler *s);                /* NULL is fine */
/* The token for position n_tok, after tok[0..n_tok).  logits [n_vocab] is edited on the way and restored.
 * LM_EFORMAT when a logit is not a number or none is finite. */
int sampler_pick(struct sampler *s, float *logits, const int32_t *tok, int n_tok, struct lm_err *err);
