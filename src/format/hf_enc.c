/* hf_enc.c - rows of the family table: encoders. */
#include "format/hf_map.h"

const struct hf_family hf_enc_families[] = {
	{ .gguf = NULL },
};
const int hf_n_enc = 0;
