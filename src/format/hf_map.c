/* hf_map.c - config.json and a checkpoint's tensors -> GGUF's keys and names. */
#include "format/hf.h"

int hf_map(struct hf *h, struct lm_err *err)
{
	return lm_fail(err, LM_EUNSUPPORTED, "%.300s: the models of Hugging Face folders are not mapped yet", h->dir);
}
