/* peft_map.h - the names of a checkpoint's tensors -> those of the base, with what happens to their rows on the way:
 * hf_map.c's tables, asked one tensor at a time.  Inside src/format only. */
#pragma once
#include "format/adapter.h"
#include "format/hf.h"

struct peft_map;
int peft_map_new(struct peft_map **out, struct adapter *a, const struct file *base, const char *arch, struct lm_err *err);
void peft_map_free(struct peft_map *m);
/* t has a row for each row of the checkpoint's tensor `name` and must live as long as the adapter; out[0..n): the base's
 * tensors that these rows belong to, the count returned.  values: t is the tensor itself, so that what is computed from its
 * elements (1 + w) applies.  LM_EFORMAT: the architecture has no such name. */
int peft_map_tensor(struct peft_map *m, const char *name, const struct tensor *t, bool values, struct tensor *out, int cap,
                    struct lm_err *err);
