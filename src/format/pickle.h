/* pickle.h - the part of Python's pickle that a PyTorch state dict is made of, as a tree; inside src/format only.
 * Nothing is imported, called or executed: a known global is a number, a call of one that builds a tensor is a node
 * with its arguments.  Every other opcode or global is refused by name. */
#pragma once
#include "format/hf.h"

enum pk_kind { PK_NONE, PK_BOOL, PK_INT, PK_FLOAT, PK_BIG, PK_STR, PK_BYTES, PK_TUPLE, PK_LIST, PK_DICT, PK_GLOBAL,
	       PK_STORAGE, PK_TENSOR };
struct pk_node {
	uint8_t kind, sub;           /* sub of GLOBAL, TENSOR: the row of pk_global */
	bool seen;                   /* for who walks the tree */
	uint32_t n;                  /* length; items; of a DICT keys and values; STORAGE, TENSOR: the tuple of arguments */
	union {
		int64_t i;
		double d;
		const uint8_t *p;    /* STR, BYTES, BIG (an integer of over 8 bytes): into the data */
		struct { uint32_t first, last; } list;         /* cells */
	};
};
struct pk_cell { uint32_t node, next; };

enum pk_role { PK_G_DICT, PK_G_REBUILD, PK_G_REBUILD3, PK_G_PARAMETER, PK_G_STORAGE, PK_G_UNTYPED, PK_G_DTYPE };
struct pk_global { const char *module, *name; enum pk_role role; enum raw_type type; };
extern const struct pk_global pk_global[];

struct pickle {
	struct pk_node *node;
	struct pk_cell *cell;
	uint32_t *stack, *mark, *memo;
	uint32_t n_nodes, n_cells, n_stack, n_marks, n_memo;
	uint32_t cap_nodes, cap_cells, cap_stack, cap_marks, cap_memo;
	struct lm_cursor c;
	const uint8_t *base;
};

/* One pickle from the front of data[0..n): *used bytes of it, its value *root.  Trees of earlier runs stay; data must
 * outlive p.  Begin with {0}. */
int pickle_run(struct pickle *p, const uint8_t *data, size_t n, size_t *used, uint32_t *root, struct lm_err *err);
void pickle_free(struct pickle *p);
/* Item i of a tuple or list, NULL: there is none. */
const struct pk_node *pickle_item(const struct pickle *p, const struct pk_node *v, uint32_t i);
