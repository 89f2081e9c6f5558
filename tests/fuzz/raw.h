/* What the fuzz targets of the containers share: a folder being opened, and a look at all that came of it. */
#pragma once
#include "format/hf.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct raw_open { struct hf h; struct file f; };

static inline void raw_must(bool ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "raw tensors: %s\n", what);
	abort();
}

static inline void raw_begin(struct raw_open *o)
{
	*o = (struct raw_open){ .f = { .path = "", .hash_key = { 1, 2 } } };
	o->f.arena = lm_arena_new(1 << 10);
	raw_must(o->f.arena != NULL, "no memory");
	o->h = (struct hf){ .f = &o->f, .dir = "" };
}

/* After the reader: rc and err are its answer, data[0..size) what it read. */
static inline void raw_end(struct raw_open *o, int rc, const struct lm_err *err, const uint8_t *data, size_t size)
{
	static volatile unsigned looked;
	struct lm_err e;
	(void)looked;
	raw_must(rc == 0 || (rc == err->code && err->msg[0]), "refused without a sentence");
	for (int i = 0; !rc && i < o->h.n_raw; i++) {
		struct raw r = o->h.raw[i];
		raw_must(r.name && r.n_dims >= 0 && r.n_dims <= RAW_DIMS && r.type < RAW_COUNT, "a tensor's kind");
		raw_must(raw_size(&r) && r.size == o->h.raw[i].size, "a tensor's size");
		raw_must(r.off <= size && r.size <= size - r.off && r.data == data + r.off, "a tensor outside the file");
		for (uint64_t k = 0; k < r.size; k++) looked += r.data[k];
	}
	if (!rc && !index_build(&o->f, &o->h.raws, o->h.raw, sizeof *o->h.raw, o->h.n_raw, "tensor", &e)) {
		for (int i = 0; i < o->h.n_raw; i++) raw_must(raw_find(&o->h, o->h.raw[i].name) == &o->h.raw[i], "not found");
		raw_must(!layouts_open(&o->h, &e), "plain tensors refused");
		for (int i = 0; i < o->h.n_t; i++) {
			const struct tensor *t = &o->h.t[i];
			int64_t n = 1;
			for (int d = 0; d < 4; d++) n *= t->dim[d];
			raw_must(n > 0 && t->n_dims >= 1 && t->n_dims <= 4, "a tensor's shape");
			raw_must((uint64_t)quant_row_bytes(t->type, n) == t->size, "a tensor's bytes");
		}
	}
	hf_close(&o->h);
	lm_arena_free(o->f.arena);
}
