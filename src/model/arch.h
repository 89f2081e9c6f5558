/* arch.h - an architecture is a row of data.  Only load.c reads it: it copies the row's facts into hparams
 * and layers, and the forward pass follows those. */
#pragma once
#include "model/layers.h"

enum arch_flag {
	AF_EMBED_SQRT_D  = 1 << 0,   /* embeddings times sqrt(n_embd) */
	AF_ROPE_ONLY_SWA = 1 << 1,   /* where some layers slide, the global ones carry no position */
	AF_QK_NORM_ROW   = 1 << 2,   /* q/k norm over the whole row, not per head */
	AF_LOCAL_PLAIN   = 1 << 3,   /* rope scaling is for global layers only */
	AF_LOGIT_DIV     = 1 << 4,   /* logits are divided by logit_scale, not multiplied */
	AF_ROPE_SWITCH   = 1 << 5,   /* rope.scaling.finetuned = false turns rope off */
	AF_MOE_RENORM    = 1 << 6,   /* weights of the chosen experts sum to one, unless the file says otherwise */
	AF_MOE_CHOSEN    = 1 << 7,   /* ... as a softmax of their logits, by which they are chosen */
	AF_YARN_EXACT    = 1 << 8,   /* the ends of YaRN's ramp are not rounded */
	AF_BIDIRECTIONAL = 1 << 9    /* every token sees all others, unless the file says attention.causal */
};

struct arch {
	const char *name;            /* general.architecture */
	enum norm_kind norm;
	enum wiring wiring;
	enum act act;
	enum rope_kind rope;
	struct every global;         /* with a sliding window: which layers see everything */
	struct every no_rope;        /* layers without positions */
	enum head_act cls_act;       /* between the two matrices of a classifier */
	int window;                  /* when the file has no attention.sliding_window */
	float base_local; /* of sliding layers when the file has no rope.freq_base_swa; 0: as global layers */
	unsigned flags;
	struct alias alias[2];       /* tensor names this family uses in another sense */
	bool untested;               /* no golden vouches for the row */
	/* After binding: values derived from numbers of the file, a norm moved to another slot. */
	int (*finish)(struct model *m, const struct file *f, struct lm_err *err);
};
extern const struct arch arch_table[];
extern const int n_arch;
