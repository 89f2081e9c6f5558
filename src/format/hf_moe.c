/* hf_moe.c - rows of the family table: mixtures of experts. */
#include "format/hf_map.h"

const struct hf_family hf_moe_families[] = {
	{ .gguf = NULL },
};
const int hf_n_moe = 0;
