/* gguf_write.h - a GGUF of version 3 from keys and tensors.  The same input gives the same bytes, whatever the threads. */
#pragma once
#include "format/file.h"

/* The metadata as it will lie in the file, in the order in which it was added.  Begin with {0}; the error is sticky
 * (b.bad), gguf_write reports it. */
struct gguf_keys { struct lm_buf b; uint64_t n; };
void gguf_key_u32(struct gguf_keys *k, const char *name, uint32_t v);
void gguf_key_bool(struct gguf_keys *k, const char *name, bool v);
void gguf_key_str(struct gguf_keys *k, const char *name, const char *s, size_t n);
/* n elements of type `elem` that lie in the `size` bytes at p as a GGUF has them (file_raw gives such). */
void gguf_key_arr(struct gguf_keys *k, const char *name, enum file_type elem, uint64_t n, const void *p, size_t size);
/* Key i of f, as it is. */
void gguf_key_copy(struct gguf_keys *k, const struct file *f, int i);
void gguf_keys_free(struct gguf_keys *k);
/* A string as an element of an array: its length, its bytes. */
void gguf_put_str(struct lm_buf *b, const char *s, size_t n);

struct gguf_tensor { const char *name; enum dtype type; int n_dims; int64_t dim[4]; };   /* as struct tensor */
/* Rows [row, row+n) of tensor t to dst, called by any thread; tmp is the thread's own, *size bytes, for what the rows are
 * made from, and may be replaced (lm_realloc). */
struct gguf_tmp { void *p; size_t size; };
typedef int gguf_rows_fn(void *ud, int t, int64_t row, int64_t n, void *dst, struct gguf_tmp *tmp, struct lm_err *err);
/* Writes `path`; LM_EIO when that fails, and nothing is left of it then.  n_threads 0: all. */
int gguf_write(const char *path, const struct gguf_keys *k, const struct gguf_tensor *t, int n, gguf_rows_fn *rows,
               void *ud, int n_threads, struct lm_err *err);
/* tmp->p with room for n bytes; NULL: out of memory. */
void *gguf_room(struct gguf_tmp *tmp, size_t n);
