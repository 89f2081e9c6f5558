/* hf_rec.c - rows of the family table: recurrent and hybrid models. */
#include "format/hf_map.h"

const struct hf_family hf_rec_families[] = {
	{ .gguf = NULL },
};
const int hf_n_rec = 0;
