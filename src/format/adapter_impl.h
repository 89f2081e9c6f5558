/* adapter_impl.h - what the readers of adapters share: inside src/format only. */
#pragma once
#include "format/adapter.h"
#include "format/hf.h"

int adapter_low(struct adapter *a, const struct low_rank *r, struct lm_err *err);
int adapter_full(struct adapter *a, const struct tensor *t, struct lm_err *err);
/* The rows of q and k of this base are in halves, as in checkpoints, though its architecture's GGUFs have pairs. */
bool base_in_halves(const struct file *base, const char *arch);
/* *t, which has a row for each row of the base's tensor `name`: from halves to pairs, or back.  All but q and k stay. */
int adapter_turn(struct adapter *a, const struct file *base, const char *arch, const char *name, struct tensor *t,
                 bool to_pairs, struct lm_err *err);

/* peft.c: the folder (or weights file) a->path; or, where m is not NULL, what it holds. */
struct adapter_mem { const char *config; size_t n_config; const void *data; size_t size; };
int peft_read(struct adapter *a, const struct file *base, const char *arch, const struct adapter_mem *m, struct lm_err *err);
/* peft_names.c.  Do converters to GGUF turn q and k of this architecture into pairs? */
bool arch_turned(const char *arch);
