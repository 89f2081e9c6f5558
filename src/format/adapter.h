/* adapter.h - a low-rank adapter on disk: a PEFT folder (adapter_config.json beside adapter_model.safetensors or .bin) or
 * a GGUF whose general.type is "adapter".  It comes out under the names of the base's tensors and in the order of the
 * base's rows, so nothing above knows what was opened. */
#pragma once
#include "format/file.h"

/* W x becomes W x + weight * scale * B (A x). */
struct low_rank {
	const char *name;            /* the tensor of the base: "blk.3.attn_q.weight" */
	bool embed;                  /* changes the embedding of tokens: a is [n_vocab, r] then, a column of A a token */
	struct tensor a, b;          /* [r, in] and [out, r]; named as in the adapter */
	const struct tensor *size;   /* DoRA: the length of each row of the sum, in the view of the base alone; NULL: not */
	float scale;                 /* alpha / r, or alpha / sqrt(r) */
};
struct adapter {
	const char *path;
	struct low_rank *low; int n_low;
	struct tensor *full; int n_full;     /* take the place of the base's tensor of the same name (modules_to_save, biases) */
	bool merged;                 /* changes what only a view of the base can show: full tensors, or DoRA */
	bool untie;                  /* a full token_embd.weight leaves a tied head as it was */
	int cap_low, cap_full;
	struct lm_arena *arena;
	struct file *file;
};
/* For this base, which must outlive the adapter.  LM_EIO: cannot be opened.  LM_EFORMAT, LM_EUNSUPPORTED: no adapter, not
 * for this base, or of a kind that we do not apply; the sentence names the tensor or the setting. */
int adapter_open(struct adapter **out, const char *path, const struct file *base, struct lm_err *err);
/* The same of bytes in memory, which must outlive it: safetensors or PyTorch weights and their adapter_config.json, or a GGUF
 * when config is NULL (fuzzing, tests). */
int adapter_open_mem(struct adapter **out, const char *config, size_t n_config, const void *data, size_t size,
                     const struct file *base, struct lm_err *err);
void adapter_close(struct adapter *a);       /* NULL is fine */
