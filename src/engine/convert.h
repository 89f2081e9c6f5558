/* convert.h - a model becomes a GGUF that llama.cpp reads too. */
#pragma once
#include "engine/lmrun.h"
#include "quant/quant.h"

struct convert_opt {
	const char *in, *out;        /* a folder or a GGUF; the file to write */
	enum dtype type;             /* of float matrices: f32, f16, bf16, q8_0; DT_COUNT: as they are */
	bool no_tokenizer;
	const struct lm_lora *lora; int n_lora;   /* adapters to be merged; what they change keeps its type where it can */
	int n_threads;               /* 0: all */
};
struct convert_done { int n_tensors; uint64_t bytes; const char *type; };
/* Writes o->out, or fails and leaves nothing.  A tokenizer that a GGUF expresses only nearly is a warning in the log. */
int convert_model(const struct convert_opt *o, struct convert_done *done, struct lm_err *err);
