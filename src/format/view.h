/* view.h - what the readers of this folder fill in and file.c serves: inside src/format only. */
#pragma once
#include "format/file.h"

/* A metadata value as it lies in the file.  `name` comes first here and in struct tensor: the index relies on it. */
struct key {
	const char *name;        /* NUL-terminated, in the arena */
	enum file_type type, elem;
	uint64_t n;              /* elements of an array, 1 otherwise */
	uint64_t size;           /* bytes at p: of a string without its length, of an array with all it holds */
	const uint8_t *p;
	const uint64_t *mark;    /* string arrays: where in p elements 0, STRIDE, 2*STRIDE, ... begin */
};
/* A mark for each string would cost a large vocabulary more than reading the file; every 32nd keeps
 * file_arr_str O(1) at 1/32 of the memory. */
enum { STRIDE = 32 };
enum { AT_BITS = 43 };       /* a string array's size fits in: file_arr_str_next keeps the key number above it */

/* Open addressing over the names of an array of structs whose first member is the name. */
struct index { uint32_t *slot; uint64_t mask; const char *base; size_t stride; };

struct file {
	struct lm_arena *arena;  /* names, marks, indexes, path */
	const char *path;
	struct lm_map *part;     /* what file_close unmaps; none for a file in memory */
	int n_parts;
	struct lm_ahead *ahead;
	uint64_t bytes, hash_key[2];
	int version;
	bool folder;             /* of Hugging Face; else a GGUF */
	const char *dir;         /* that folder, without a slash at the end */
	uint64_t alignment;
	struct key *key;
	int n_keys, cap_keys;
	struct tensor *tensor;
	struct tensor_at { uint64_t off; int part; } *at;     /* beside tensor[] */
	int n_tensors, cap_tensors;
	const char **origin;     /* beside tensor[] in a folder: the checkpoint's names */
	const struct hf_family *family;                       /* which mapped them */
	const char *prefix;      /* in front of most of those names */
	struct index keys, tensors;
};

/* An empty one; NULL: no memory.  finish builds its indexes, unless rc is a failure: then it is closed. */
struct file *file_new(const char *path, struct lm_err *err);
int file_finish(struct file **out, struct file *f, int rc, struct lm_err *err);
/* Indexes n structs of `stride` bytes at base.  A name met twice is LM_EFORMAT, called `what` in the sentence. */
int index_build(struct file *f, struct index *ix, const void *base, size_t stride, int n, const char *what,
                struct lm_err *err);
int64_t index_find(const struct file *f, const struct index *ix, const char *name);  /* -1 if absent */
bool key_i64(const struct key *k, int64_t *out);            /* a scalar integer, or a float that is one */

/* Fills f from the file at `path` and all other parts of its split, or from bytes in memory. */
int gguf_open(struct file *f, const char *path, struct lm_err *err);
int gguf_open_mem(struct file *f, const void *data, size_t size, struct lm_err *err);

static inline uint64_t le64(const uint8_t *p)
{
	return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
	       (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}
