/* hf.h - a Hugging Face folder as a struct file, in three steps; inside src/format only.
 *
 *   raw.c, safetensors.c, torch.c   containers -> raw tensors: names and bytes as the checkpoint has them
 *   layouts.c                       raw tensors -> tensors under the checkpoint's names: plain types as they lie,
 *                                   pre-quantised groups (P.weight + P.weight.absmax + ...) as one derived tensor each
 *   hf_map.c, hf_keys.c             config.json and those tensors -> GGUF's keys and names
 *
 * Nothing is copied that can stay in the mapping.  Every raw tensor is consumed by a layout, mapped to a name, or on
 * the family's list of what to ignore; else the model's binder names it (it appears under its own name). */
#pragma once
#include "format/derive.h"
#include "format/view.h"
#include <jansson.h>

enum raw_type {
	RAW_F64, RAW_F32, RAW_F16, RAW_BF16, RAW_F8_E4M3, RAW_F8_E5M2, RAW_E8M0, RAW_I64, RAW_I32, RAW_I16, RAW_I8, RAW_U8,
	RAW_U16, RAW_U32, RAW_U64, RAW_BOOL, RAW_F4, RAW_COUNT
};
extern const struct raw_info { const char *name; int bits; enum dtype type; /* DT_COUNT: none of ours */ } raw_info[RAW_COUNT];

enum { RAW_DIMS = 6 };
struct raw {
	const char *name;            /* first member: indexed */
	enum raw_type type;
	int n_dims;                  /* 0: a scalar */
	int64_t dim[RAW_DIMS];       /* row major, no gaps: a torch tensor with other strides is refused by name */
	const uint8_t *data;         /* into a mapping, any alignment */
	uint64_t size;               /* verified: product of dims * bits / 8 */
	int part;
	uint64_t off;                /* of data in its file */
	bool used;                   /* a layout or a map has taken it */
};

struct hf {                          /* one folder being opened; freed when file_open returns */
	struct file *f;              /* owns mappings (f->part) and arena; its keys and tensors are filled at the end */
	const char *dir;             /* the folder, without a slash at the end */
	json_t *config;              /* config.json, an object; text_config of a multimodal model is looked into by hf_keys.c */
	struct raw *raw;
	int n_raw, cap_raw;
	struct index raws;
	struct tensor *t;            /* after layouts_open: under the checkpoint's names; t[i].name is unique */
	int n_t, cap_t;
	struct index ts;
	struct hf_order { const int32_t *at; int64_t n; } order[8];      /* layouts: the last orders of columns */
	unsigned n_order;
};

/* raw.c: the files of h->dir (model.safetensors; model.safetensors.index.json and its shards; pytorch_model.bin, its index and
 * shards), or the one file `path` when it is not a folder.  A path in an index that leaves the folder, a shard that lacks
 * a tensor, a tensor met twice: LM_EFORMAT. */
int raw_open(struct hf *h, const char *path, struct lm_err *err);
struct raw *raw_find(const struct hf *h, const char *name);      /* NULL if absent */
int raw_add(struct hf *h, const struct raw *r, struct lm_err *err);
bool raw_size(struct raw *r);                                    /* from type and dims; false: none, or no whole bytes */
/* One container that is mapped already as part `part`; fuzz targets call these. */
int safetensors_read(struct hf *h, int part, const uint8_t *data, size_t size, struct lm_err *err);
int torch_read(struct hf *h, int part, const uint8_t *data, size_t size, struct lm_err *err);

/* layouts.c: h->raw -> h->t.  quantization_config says which layout; unknown ones are LM_EUNSUPPORTED by name.  A raw
 * tensor that none takes and whose type none of ours is (or that is empty) stays out of h->t with used = false: hf_map
 * refuses it by name unless its family ignores that name. */
int layouts_open(struct hf *h, struct lm_err *err);
int hf_add_tensor(struct hf *h, const struct tensor *t, struct lm_err *err);
const struct tensor *hf_tensor(const struct hf *h, const char *name);   /* after layouts_open; NULL if absent */

/* hf_map.c: h->config and h->t -> h->f->key, h->f->tensor. */
int hf_map(struct hf *h, struct lm_err *err);
/* file_source for a folder; NULL: nothing in the family's tables becomes `name`. */
const char *hf_source(const struct file *f, const char *name, char *buf, size_t n);
/* hf_open.c: all of it.  gguf_open's sibling. */
int hf_open(struct file *f, const char *path, struct lm_err *err);
void hf_close(struct hf *h);                                     /* all but h->f, which the tensors point into */
/* lm_read_file of a regular file: a pipe in a folder would be waited for. */
int hf_read(struct lm_buf *text, const char *path, size_t max, struct lm_err *err);
/* An object in a file, as Python writes it (lm_json_python).  Free with json_decref. */
int hf_json(const char *path, json_t **out, struct lm_err *err);

/* A key of f whose value is n strings, copied into the arena; replaces the one of that name (hf_keys.c). */
int key_put_strs(struct file *f, const char *name, const char *const *v, int64_t n, struct lm_err *err);
