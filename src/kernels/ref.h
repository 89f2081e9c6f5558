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
