/* file.h - one view of a model on disk, whatever the container: typed metadata + named tensors.
 * GGUF is the canonical vocabulary; other containers are presented under its keys and tensor names, so nothing
 * above this line knows which container was opened.  Everything returned points into the mapping and dies with
 * file_close.  Read-only after open: share freely between threads.
 *
 * What differs from a GGUF when a Hugging Face folder was opened (src/format/hf.h):
 *   experts    one matrix each, "blk.3.ffn_gate.7.weight" (the names of early GGUFs), instead of one stacked tensor
 *   q and k    rows in the checkpoint's order; the key "<arch>.rope.interleaved" = false says so where it matters
 *   derived    tensors that do not lie in the file as they are presented: data is NULL, tensor_rows makes them */
#pragma once
#include "quant/quant.h"

struct file;
struct derived;              /* how the rows of a tensor are made; format/derive.h */
struct tensor {
	const char *name;        /* canonical, NUL-terminated: "blk.3.attn_q.weight" */
	enum dtype type;
	int n_dims;              /* 1..4 */
	int64_t dim[4];          /* slowest first: a weight is dim = {rows (out), cols (in)}; unused entries are 1 */
	const void *data;        /* into the mapping, maybe unaligned; never written.  NULL: derived */
	uint64_t size;           /* bytes; verified against type, dims and the file at open */
	const struct derived *how;
};
/* Rows [row, row+n) of t, counted over all its dimensions but the last, as t->type has them, to dst.  Any thread.
 * LM_ENOMEM; LM_EFORMAT when only the values show that the file is wrong. */
int tensor_rows(const struct tensor *t, int64_t row, int64_t n, void *dst, struct lm_err *err);
int64_t tensor_n_rows(const struct tensor *t);

/* The caller has read all it wants of t: memory that holds its bytes in the mapping may go (they come back when read). */
void file_done(const struct file *f, const struct tensor *t);

/* Limits on what a file may claim (docs: RELIABILITY 1). */
enum { FILE_MAX_TENSORS = 1 << 20, FILE_MAX_KEYS = 1 << 20, FILE_MAX_ARRAY = 64 << 20, FILE_MAX_STRING = 16 << 20 };

/* Opens a .gguf (any part of a split opens the whole), or a Hugging Face folder: config.json beside model.safetensors,
 * its shards, or pytorch_model*.bin.  LM_EIO: cannot be opened; LM_EFORMAT/EUNSUPPORTED: not a model we can read.  The
 * sentence names the path and the key or tensor. */
int file_open(struct file **out, const char *path, struct lm_err *err);
/* The same over bytes in memory, which must outlive the file (fuzzing, tests). */
int file_open_mem(struct file **out, const void *data, size_t size, struct lm_err *err);
void file_close(struct file *f);                           /* NULL is fine */
/* All of it will be read soon: what is not in memory is fetched on a thread of its own, until file_close. */
void file_ahead(struct file *f);
const char *file_path(const struct file *f);               /* as given to file_open; "" for memory */
bool file_is_folder(const struct file *f);                 /* the tokenizer then comes from files beside (tok_open) */
const char *file_dir(const struct file *f);                /* that folder, no slash at its end; NULL for a GGUF */
uint64_t file_bytes(const struct file *f);                 /* all parts together */
/* How the file is built, for people who look into one. */
struct file_about { const char *container; int version; uint64_t alignment; int n_parts; };
struct file_about file_about(const struct file *f);
/* Where tensor i's data begins, counted from the start of its file; *part (0-based, may be NULL): which file of a split,
 * -1 for a derived tensor, which lies in none. */
uint64_t file_offset(const struct file *f, int i, int *part);
/* Calls fn for each tensor of one file of weights (.safetensors, .bin, .pt) as that has it: no model is needed.  type in
 * the words of safetensors; dim slowest first.  fn returns 0, or what ends the walk. */
struct file_item { const char *name, *type; int n_dims; const int64_t *dim; uint64_t size, off; };
typedef int file_item_fn(void *ud, const struct file_item *t);
bool file_is_weights(const char *path);                    /* by its name and first bytes: not a GGUF, not a folder */
int file_items(const char *path, file_item_fn *fn, void *ud, struct lm_err *err);
int file_count(const struct file *f);
const struct tensor *file_at(const struct file *f, int i); /* in file order */
const struct tensor *file_tensor(const struct file *f, const char *name);   /* NULL if absent; O(1) */

/* What people find in their files for the tensor `name`, there or missing: a folder has names of its own.  buf, or name. */
const char *file_source(const struct file *f, const char *name, char *buf, size_t n);

/* Metadata.  false when the key is absent or has another type; numbers convert when exact, else count as absent
 * (only f64 -> f32 may round, not overflow; a bool is no number). */
enum file_type { FT_U8, FT_I8, FT_U16, FT_I16, FT_U32, FT_I32, FT_F32, FT_BOOL, FT_STR, FT_ARR, FT_U64, FT_I64, FT_F64 };
extern const uint8_t file_type_size[FT_F64 + 1];           /* bytes of one; 0 for strings and arrays */
extern const char *const file_type_name[FT_F64 + 1];       /* "u32", "string", ... */
int file_n_keys(const struct file *f);
/* Key i in file order: its name and type (for FT_ARR *elem and *n too; otherwise *elem = *type, *n = 1).  The
 * pointers may be NULL. */
const char *file_key(const struct file *f, int i, enum file_type *type, enum file_type *elem, int64_t *n);
/* The bytes of key i's value as in the file, *size of them: a scalar, a string without its length, an array's
 * elements (strings each behind its 64-bit length). */
const void *file_raw(const struct file *f, int i, uint64_t *size);
bool file_has(const struct file *f, const char *key);
bool file_u32(const struct file *f, const char *key, uint32_t *out);
bool file_i64(const struct file *f, const char *key, int64_t *out);
bool file_f32(const struct file *f, const char *key, float *out);
bool file_f64(const struct file *f, const char *key, double *out);
bool file_bool(const struct file *f, const char *key, bool *out);
bool file_str(const struct file *f, const char *key, const char **out, size_t *len);   /* not NUL-terminated */
int64_t file_arr_len(const struct file *f, const char *key);                /* -1 if absent or no array */
bool file_arr_str(const struct file *f, const char *key, int64_t i, const char **out, size_t *len); /* O(1) */
bool file_arr_i64(const struct file *f, const char *key, int64_t i, int64_t *out);
bool file_arr_f32(const struct file *f, const char *key, int64_t i, float *out);
/* Raw elements of a fixed-size numeric array in the mapping (unaligned, little endian); NULL if absent. */
const void *file_arr_raw(const struct file *f, const char *key, enum file_type *elem, int64_t *n);
/* Walks a string array front to back, the fast way to read a whole one: start with *at = 0; false at the end.
 * *at names the key from the first call on, so `key` must stay the same. */
bool file_arr_str_next(const struct file *f, const char *key, uint64_t *at, const char **out, size_t *len);
