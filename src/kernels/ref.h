/* ref.h - private to the reference device (ref*.c). */
#pragma once
#include "kernels/ops.h"

struct ref {
	struct backend b;
	struct lm_pool *pool;
	float *moe;                  /* one expert's gate, up and output of one row */
	size_t n_moe;
};

int ref_moe_room(struct backend *b, const struct moe *m, int n_embd, int n_ff, struct lm_err *err);
void ref_route(struct backend *b, struct mat sel, struct mat weight, struct mat logits, const struct mat *bias,
	       const struct moe *m);
void ref_experts(struct backend *b, struct mat y, struct mat x, const struct experts *e, struct mat sel,
		 struct mat weight);
/* ref_ssm.c */
void ref_conv(struct backend *b, struct mat y, struct mat x, const struct mat *w, const struct mat *bias, struct mat state,
              enum act a, const struct seqs *s);
void ref_ssm(struct backend *b, struct mat y, struct mat x, struct mat bm, struct mat c, struct mat dt, const struct ssm *m,
             struct mat state, const struct seqs *s);
void ref_delta(struct backend *b, struct mat y, struct mat q, struct mat k, struct mat v, struct mat alpha, struct mat beta,
               const struct delta *m, struct mat state, const struct seqs *s);
