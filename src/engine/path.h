/* path.h - what a model's path stands for. */
#pragma once
#include "base/base.h"

/* A file stands for itself, and so does what does not exist.  A folder that holds exactly one GGUF, at any depth (the
 * parts of a split count once, mmproj files not at all), is that GGUF; several are LM_EINVAL with their names.  One
 * without is itself when it has a config.json, or its one snapshot when it is laid out as a hub's cache; else
 * LM_EUNSUPPORTED.  With `vocab_only`, *tokenizer is set when *out is for tok_open.  *out: the path to open. */
int path_model(const char *path, bool vocab_only, struct lm_buf *out, bool *tokenizer, struct lm_err *err);
