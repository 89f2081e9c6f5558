/* path.h - what a model's path stands for. */
#pragma once
#include "base/base.h"

/* A GGUF file stands for itself, and so does what does not exist.  A folder that holds exactly one GGUF, at any depth
 * (the parts of a split count once, mmproj files not at all), is that GGUF; several are LM_EINVAL with their names.
 * Other folders and files: *tokenizer is set when `vocab_only`, else LM_EUNSUPPORTED.  *out: the path to open. */
int path_model(const char *path, bool vocab_only, struct lm_buf *out, bool *tokenizer, struct lm_err *err);
