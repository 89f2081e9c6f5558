/* pickle.c - a stack machine of some forty opcodes, none of which does anything but make a value.
 * A byte of input makes at most one node and one cell, so memory follows what was read; what the memo's numbers may
 * claim is bounded by the place where they stand. */
#include "format/pickle.h"
#include <string.h>

enum { MAX_NODES = 1 << 25, NONE = 0, TRUE = 1, FALSE = 2, EMPTY = 3 };
enum { NIL = UINT32_MAX };

#define STORAGE(name, type) { "torch", name, PK_G_STORAGE, type }
#define DTYPE(name, type) { "torch", name, PK_G_DTYPE, type }
const struct pk_global pk_global[] = {
	{ "collections", "OrderedDict", PK_G_DICT, 0 },
	{ "torch._utils", "_rebuild_tensor", PK_G_REBUILD, 0 },
	{ "torch._utils", "_rebuild_tensor_v2", PK_G_REBUILD, 0 },
	{ "torch._utils", "_rebuild_tensor_v3", PK_G_REBUILD3, 0 },
	{ "torch._utils", "_rebuild_parameter", PK_G_PARAMETER, 0 },
	{ "torch.storage", "UntypedStorage", PK_G_UNTYPED, RAW_U8 },
	STORAGE("DoubleStorage", RAW_F64), STORAGE("FloatStorage", RAW_F32), STORAGE("HalfStorage", RAW_F16),
	STORAGE("BFloat16Storage", RAW_BF16), STORAGE("LongStorage", RAW_I64), STORAGE("IntStorage", RAW_I32),
	STORAGE("ShortStorage", RAW_I16), STORAGE("CharStorage", RAW_I8), STORAGE("ByteStorage", RAW_U8),
	STORAGE("BoolStorage", RAW_BOOL),
	DTYPE("float64", RAW_F64), DTYPE("float32", RAW_F32), DTYPE("float16", RAW_F16), DTYPE("bfloat16", RAW_BF16),
	DTYPE("int64", RAW_I64), DTYPE("int32", RAW_I32), DTYPE("int16", RAW_I16), DTYPE("int8", RAW_I8),
	DTYPE("uint8", RAW_U8), DTYPE("uint16", RAW_U16), DTYPE("uint32", RAW_U32), DTYPE("uint64", RAW_U64),
	DTYPE("bool", RAW_BOOL), DTYPE("float8_e4m3fn", RAW_F8_E4M3), DTYPE("float8_e5m2", RAW_F8_E5M2),
	DTYPE("float8_e8m0fnu", RAW_E8M0),
};
enum { N_GLOBALS = sizeof pk_global / sizeof pk_global[0] };

static int no_memory(struct lm_err *err) { return lm_fail(err, LM_ENOMEM, "its pickle: out of memory"); }

/* Room for one more of `size` bytes in *v, which holds n. */
static int grow(void *v, uint32_t n, uint32_t *cap, size_t size, struct lm_err *err)
{
	void *old, *p;
	if (n < *cap) return 0;
	if (n >= MAX_NODES) return lm_fail(err, LM_ELIMIT, "its pickle has over %d values", MAX_NODES);
	uint32_t want = *cap ? 2 * *cap : 64;
	memcpy(&old, v, sizeof old);
	if (!(p = lm_realloc(old, want * size))) return no_memory(err);
	memcpy(v, &p, sizeof p);
	*cap = want;
	return 0;
}

/* ---- stack ---------------------------------------------------------------------------------------------- */
static int push(struct pickle *p, uint32_t node, struct lm_err *err)
{
	int rc = grow(&p->stack, p->n_stack, &p->cap_stack, sizeof *p->stack, err);
	if (!rc) p->stack[p->n_stack++] = node;
	return rc;
}

static int push_new(struct pickle *p, struct pk_node v, struct lm_err *err)
{
	int rc = grow(&p->node, p->n_nodes, &p->cap_nodes, sizeof *p->node, err);
	if (rc) return rc;
	p->node[p->n_nodes] = v;
	return push(p, p->n_nodes++, err);
}

static int misused(const struct pickle *p, const char *what, struct lm_err *err)
{
	return lm_fail(err, LM_EFORMAT, "its pickle is malformed at byte %zu: %s", (size_t)(p->c.p - p->base), what);
}

/* Values above the last mark. */
static uint32_t above(const struct pickle *p) { return p->n_stack - (p->n_marks ? p->mark[p->n_marks - 1] : 0); }

static int pop(struct pickle *p, uint32_t *node, struct lm_err *err)
{
	if (!above(p)) return misused(p, "the stack is empty", err);
	*node = p->stack[--p->n_stack];
	return 0;
}

/* The value on top stays there, and is of `kind`. */
static int top(struct pickle *p, enum pk_kind kind, uint32_t *node, struct lm_err *err)
{
	if (!above(p)) return misused(p, "the stack is empty", err);
	*node = p->stack[p->n_stack - 1];
	return p->node[*node].kind == kind ? 0 : misused(p, "a value of another kind was expected", err);
}

static int append(struct pickle *p, uint32_t to, uint32_t item, struct lm_err *err)
{
	int rc = grow(&p->cell, p->n_cells, &p->cap_cells, sizeof *p->cell, err);
	if (rc) return rc;
	struct pk_node *v = &p->node[to];
	p->cell[p->n_cells] = (struct pk_cell){ item, NIL };
	if (v->n) p->cell[v->list.last].next = p->n_cells;
	else v->list.first = p->n_cells;
	v->list.last = p->n_cells++;
	v->n++;
	return 0;
}

/* The last n values of the stack go to the end of `to`. */
static int take(struct pickle *p, uint32_t to, uint32_t n, struct lm_err *err)
{
	int rc = 0;
	for (uint32_t i = p->n_stack - n; !rc && i < p->n_stack; i++) rc = append(p, to, p->stack[i], err);
	p->n_stack -= n;
	return rc;
}

/* How many values lie above the last mark, which is taken away. */
static int unmark(struct pickle *p, uint32_t *n, struct lm_err *err)
{
	if (!p->n_marks) return misused(p, "there is no mark", err);
	*n = above(p);
	p->n_marks--;
	return 0;
}

const struct pk_node *pickle_item(const struct pickle *p, const struct pk_node *v, uint32_t i)
{
	if (i >= v->n || (v->kind != PK_TUPLE && v->kind != PK_LIST)) return NULL;
	uint32_t cell = v->list.first;
	while (i-- > 0) cell = p->cell[cell].next;
	return &p->node[p->cell[cell].node];
}

/* ---- opcodes that make values --------------------------------------------------------------------------- */
typedef int op_fn(struct pickle *p, int arg, struct lm_err *err);

static int op_const(struct pickle *p, int arg, struct lm_err *err) { return push(p, (uint32_t)arg, err); }

static int op_empty(struct pickle *p, int kind, struct lm_err *err)
{
	return push_new(p, (struct pk_node){ .kind = (uint8_t)kind }, err);
}

/* Little endian; of 4 bytes signed. */
static int op_int(struct pickle *p, int bytes, struct lm_err *err)
{
	int64_t v = bytes == 1 ? lm_read_u8(&p->c) : bytes == 2 ? lm_read_u16le(&p->c) : (int32_t)lm_read_u32le(&p->c);
	return push_new(p, (struct pk_node){ .kind = PK_INT, .i = v }, err);
}

/* Two's complement of any length. */
static int op_long(struct pickle *p, int width, struct lm_err *err)
{
	uint32_t n = width == 1 ? lm_read_u8(&p->c) : lm_read_u32le(&p->c);
	const uint8_t *s = lm_read_bytes(&p->c, n);
	struct pk_node v = { .kind = n > 8 ? PK_BIG : PK_INT, .n = n > 8 ? n : 0 };
	uint64_t x = s && n && s[n - 1] & 0x80 ? UINT64_MAX : 0;
	if (n > 8) v.p = s;
	for (uint32_t i = n; s && n <= 8 && i-- > 0;) x = x << 8 | s[i];
	if (n <= 8) v.i = (int64_t)x;
	return push_new(p, v, err);
}

static int op_float(struct pickle *p, int arg, struct lm_err *err)
{
	const uint8_t *s = lm_read_bytes(&p->c, 8);
	struct pk_node v = { .kind = PK_FLOAT };
	uint64_t x = 0;
	(void)arg;
	for (int i = 0; s && i < 8; i++) x = x << 8 | s[i];    /* big endian, alone of all */
	memcpy(&v.d, &x, sizeof v.d);
	return push_new(p, v, err);
}

/* arg: bytes of the length, negative for bytes instead of text. */
static int op_str(struct pickle *p, int arg, struct lm_err *err)
{
	int width = arg < 0 ? -arg : arg;
	uint64_t n = width == 1 ? lm_read_u8(&p->c) : width == 4 ? lm_read_u32le(&p->c) : lm_read_u64le(&p->c);
	const uint8_t *s = lm_read_bytes(&p->c, n);
	if (n > UINT32_MAX) return misused(p, "a string of over 4 GiB", err);
	return push_new(p, (struct pk_node){ .kind = arg < 0 ? PK_BYTES : PK_STR, .n = (uint32_t)n, .p = s }, err);
}

/* ---- opcodes that put values together ------------------------------------------------------------------- */
static int op_mark(struct pickle *p, int arg, struct lm_err *err)
{
	(void)arg;
	int rc = grow(&p->mark, p->n_marks, &p->cap_marks, sizeof *p->mark, err);
	if (!rc) p->mark[p->n_marks++] = p->n_stack;
	return rc;
}

/* Of n values, or of those above the mark. */
static int op_tuple(struct pickle *p, int arg, struct lm_err *err)
{
	uint32_t n = (uint32_t)arg;
	int rc = n ? 0 : unmark(p, &n, err);
	if (!rc && n > above(p)) rc = misused(p, "the stack is empty", err);
	if (!rc) rc = op_empty(p, PK_TUPLE, err);
	if (rc) return rc;
	uint32_t v = p->stack[--p->n_stack];
	rc = take(p, v, n, err);
	return rc ? rc : push(p, v, err);
}

/* Into the list or dict below them: arg values, or those above the mark. */
static int fill(struct pickle *p, enum pk_kind kind, int arg, struct lm_err *err)
{
	uint32_t n = (uint32_t)arg, into;
	int rc = n ? 0 : unmark(p, &n, err);
	if (rc) return rc;
	if (n >= above(p)) return misused(p, "the stack is empty", err);
	if (kind == PK_DICT && n % 2) return misused(p, "a key without a value", err);
	into = p->stack[p->n_stack - n - 1];
	if (p->node[into].kind != kind) return misused(p, "items for what cannot hold them", err);
	return take(p, into, n, err);
}

static int op_append(struct pickle *p, int arg, struct lm_err *err) { return fill(p, PK_LIST, arg, err); }
static int op_setitem(struct pickle *p, int arg, struct lm_err *err) { return fill(p, PK_DICT, arg, err); }

static int put(struct pickle *p, uint64_t i, struct lm_err *err)
{
	if (!above(p)) return misused(p, "the stack is empty", err);
	if (i >= (uint64_t)(p->c.p - p->base)) return misused(p, "a number of the memo is too high", err);
	while (p->n_memo <= i) {
		int rc = grow(&p->memo, p->n_memo, &p->cap_memo, sizeof *p->memo, err);
		if (rc) return rc;
		p->memo[p->n_memo++] = NIL;
	}
	p->memo[i] = p->stack[p->n_stack - 1];
	return 0;
}

static int op_put(struct pickle *p, int width, struct lm_err *err)
{
	return put(p, width == 0 ? p->n_memo : width == 1 ? lm_read_u8(&p->c) : lm_read_u32le(&p->c), err);
}

static int op_get(struct pickle *p, int width, struct lm_err *err)
{
	uint32_t i = width == 1 ? lm_read_u8(&p->c) : lm_read_u32le(&p->c);
	if (i >= p->n_memo || p->memo[i] == NIL) return misused(p, "a number of the memo that was not put there", err);
	return push(p, p->memo[i], err);
}

/* ---- globals and what is done with them ----------------------------------------------------------------- */
struct text { const uint8_t *s; size_t n; };
static bool is(struct text t, const char *word) { return t.n == strlen(word) && !memcmp(t.s, word, t.n); }

static int push_global(struct pickle *p, struct text module, struct text name, struct lm_err *err)
{
	for (uint8_t i = 0; i < N_GLOBALS; i++)
		if (is(module, pk_global[i].module) && is(name, pk_global[i].name))
			return push_new(p, (struct pk_node){ .kind = PK_GLOBAL, .sub = i }, err);
	return lm_fail(err, LM_EUNSUPPORTED, "its pickle asks for %.*s.%.*s, which no state dict of tensors needs",
	               module.n > 60 ? 60 : (int)module.n, (const char *)module.s, name.n > 60 ? 60 : (int)name.n,
	               (const char *)name.s);
}

static struct text line(struct pickle *p)
{
	struct text t = { p->c.p, 0 };
	size_t left = (size_t)(p->c.end - p->c.p);
	const uint8_t *end = left ? memchr(t.s, '\n', left) : NULL;
	if (!end) {
		p->c.bad = true;
		return t;
	}
	t.n = (size_t)(end - t.s);
	p->c.p = end + 1;
	return t;
}

static int op_global(struct pickle *p, int arg, struct lm_err *err)
{
	(void)arg;
	struct text module = line(p), name = line(p);
	return p->c.bad ? 0 : push_global(p, module, name, err);
}

static int op_stack_global(struct pickle *p, int arg, struct lm_err *err)
{
	(void)arg;
	uint32_t name = 0, module = 0;
	int rc = pop(p, &name, err);
	if (!rc) rc = pop(p, &module, err);
	if (rc) return rc;
	const struct pk_node *n = &p->node[name], *m = &p->node[module];
	if (n->kind != PK_STR || m->kind != PK_STR) return misused(p, "a global without a name", err);
	return push_global(p, (struct text){ m->p, m->n }, (struct text){ n->p, n->n }, err);
}

/* OrderedDict of Python 2: a list of [key, value].  The list is emptied, so that no input can copy it often. */
static int dict_of_pairs(struct pickle *p, uint32_t dict, const struct pk_node *args, struct lm_err *err)
{
	if (args->n == 0) return 0;
	struct pk_node *list = &p->node[p->cell[args->list.first].node];
	if (args->n > 1 || list->kind != PK_LIST) return misused(p, "an OrderedDict of something else than pairs", err);
	uint32_t n = list->n, cell = list->list.first;
	int rc = 0;
	list->n = 0;
	for (; !rc && n-- > 0; cell = p->cell[cell].next) {
		const struct pk_node *pair = &p->node[p->cell[cell].node];
		if (!pickle_item(p, pair, 1) || pair->n != 2)
			return misused(p, "an OrderedDict of something else than pairs", err);
		uint32_t key = pair->list.first, value = p->cell[key].next;
		rc = append(p, dict, p->cell[key].node, err);
		if (!rc) rc = append(p, dict, p->cell[value].node, err);
	}
	return rc;
}

static int op_reduce(struct pickle *p, int arg, struct lm_err *err)
{
	(void)arg;
	uint32_t args = 0, call = 0;
	int rc = top(p, PK_TUPLE, &args, err);
	if (!rc) rc = pop(p, &args, err);
	if (!rc) rc = top(p, PK_GLOBAL, &call, err);
	if (!rc) rc = pop(p, &call, err);
	if (rc) return rc;
	uint8_t row = p->node[call].sub;
	const struct pk_node *first;
	switch (pk_global[row].role) {
	case PK_G_DICT:
		rc = op_empty(p, PK_DICT, err);
		return rc ? rc : dict_of_pairs(p, p->stack[p->n_stack - 1], &p->node[args], err);
	case PK_G_REBUILD:
	case PK_G_REBUILD3:
		return push_new(p, (struct pk_node){ .kind = PK_TENSOR, .sub = row, .n = args }, err);
	case PK_G_PARAMETER:
		first = pickle_item(p, &p->node[args], 0);
		if (!first || first->kind != PK_TENSOR) return misused(p, "a parameter without a tensor", err);
		return push(p, (uint32_t)(first - p->node), err);
	default:
		return lm_fail(err, LM_EUNSUPPORTED, "its pickle calls %s.%s, which no state dict of tensors needs",
		               pk_global[row].module, pk_global[row].name);
	}
}

/* Attributes of an OrderedDict (a state dict's _metadata): of no use here. */
static int op_build(struct pickle *p, int arg, struct lm_err *err)
{
	(void)arg;
	uint32_t v = 0;
	int rc = pop(p, &v, err);
	return rc ? rc : top(p, PK_DICT, &v, err);
}

static int op_persid(struct pickle *p, int arg, struct lm_err *err)
{
	(void)arg;
	uint32_t args = 0;
	int rc = top(p, PK_TUPLE, &args, err);
	if (!rc) rc = pop(p, &args, err);
	return rc ? rc : push_new(p, (struct pk_node){ .kind = PK_STORAGE, .n = args }, err);
}

static int op_proto(struct pickle *p, int arg, struct lm_err *err)
{
	(void)arg;
	uint8_t v = lm_read_u8(&p->c);
	return v <= 5 ? 0 : lm_fail(err, LM_EUNSUPPORTED, "its pickle has protocol %d, expected 5 at most", v);
}

static int op_frame(struct pickle *p, int arg, struct lm_err *err)
{
	(void)arg, (void)err;
	lm_read_u64le(&p->c);                              /* a hint for who reads in pieces */
	return 0;
}

/* ---- the table ------------------------------------------------------------------------------------------ */
/* Opcodes without a function are there for their names. */
static const struct { const char *name; op_fn *run; int arg; } ops[256] = {
	['N'] = { "NONE", op_const, NONE },       [0x88] = { "NEWTRUE", op_const, TRUE },
	[0x89] = { "NEWFALSE", op_const, FALSE }, [')'] = { "EMPTY_TUPLE", op_const, EMPTY },
	['}'] = { "EMPTY_DICT", op_empty, PK_DICT }, [']'] = { "EMPTY_LIST", op_empty, PK_LIST },
	['J'] = { "BININT", op_int, 4 },          ['K'] = { "BININT1", op_int, 1 },
	['M'] = { "BININT2", op_int, 2 },         [0x8a] = { "LONG1", op_long, 1 },
	[0x8b] = { "LONG4", op_long, 4 },         ['G'] = { "BINFLOAT", op_float, 0 },
	['X'] = { "BINUNICODE", op_str, 4 },      [0x8c] = { "SHORT_BINUNICODE", op_str, 1 },
	[0x8d] = { "BINUNICODE8", op_str, 8 },    ['T'] = { "BINSTRING", op_str, 4 },
	['U'] = { "SHORT_BINSTRING", op_str, 1 }, ['B'] = { "BINBYTES", op_str, -4 },
	['C'] = { "SHORT_BINBYTES", op_str, -1 }, [0x8e] = { "BINBYTES8", op_str, -8 },
	['('] = { "MARK", op_mark, 0 },           ['t'] = { "TUPLE", op_tuple, 0 },
	[0x85] = { "TUPLE1", op_tuple, 1 },       [0x86] = { "TUPLE2", op_tuple, 2 },
	[0x87] = { "TUPLE3", op_tuple, 3 },       ['a'] = { "APPEND", op_append, 1 },
	['e'] = { "APPENDS", op_append, 0 },      ['s'] = { "SETITEM", op_setitem, 2 },
	['u'] = { "SETITEMS", op_setitem, 0 },    ['q'] = { "BINPUT", op_put, 1 },
	['r'] = { "LONG_BINPUT", op_put, 4 },     [0x94] = { "MEMOIZE", op_put, 0 },
	['h'] = { "BINGET", op_get, 1 },          ['j'] = { "LONG_BINGET", op_get, 4 },
	['c'] = { "GLOBAL", op_global, 0 },       [0x93] = { "STACK_GLOBAL", op_stack_global, 0 },
	['R'] = { "REDUCE", op_reduce, 0 },       ['b'] = { "BUILD", op_build, 0 },
	['Q'] = { "BINPERSID", op_persid, 0 },    [0x80] = { "PROTO", op_proto, 0 },
	[0x95] = { "FRAME", op_frame, 0 },
	['i'] = { "INST", NULL, 0 },     ['o'] = { "OBJ", NULL, 0 },      [0x81] = { "NEWOBJ", NULL, 0 },
	[0x92] = { "NEWOBJ_EX", NULL, 0 }, [0x82] = { "EXT1", NULL, 0 },  [0x83] = { "EXT2", NULL, 0 },
	[0x84] = { "EXT4", NULL, 0 },    ['P'] = { "PERSID", NULL, 0 },   ['I'] = { "INT", NULL, 0 },
	['L'] = { "LONG", NULL, 0 },     ['F'] = { "FLOAT", NULL, 0 },    ['S'] = { "STRING", NULL, 0 },
	['V'] = { "UNICODE", NULL, 0 },  ['d'] = { "DICT", NULL, 0 },     ['l'] = { "LIST", NULL, 0 },
	['p'] = { "PUT", NULL, 0 },      ['g'] = { "GET", NULL, 0 },      ['0'] = { "POP", NULL, 0 },
	['1'] = { "POP_MARK", NULL, 0 }, ['2'] = { "DUP", NULL, 0 },      [0x8f] = { "EMPTY_SET", NULL, 0 },
	[0x90] = { "ADDITEMS", NULL, 0 }, [0x91] = { "FROZENSET", NULL, 0 }, [0x96] = { "BYTEARRAY8", NULL, 0 },
	[0x97] = { "NEXT_BUFFER", NULL, 0 }, [0x98] = { "READONLY_BUFFER", NULL, 0 },
};

static int step(struct pickle *p, uint8_t op, struct lm_err *err)
{
	if (ops[op].run) {
		int rc = ops[op].run(p, ops[op].arg, err);
		if (!p->c.bad || rc == LM_ENOMEM) return rc;
		return lm_fail(err, LM_EFORMAT, "its pickle ends in the opcode %s", ops[op].name);
	}
	if (ops[op].name)
		return lm_fail(err, LM_EUNSUPPORTED, "its pickle has the opcode %s, which no state dict of tensors needs",
		               ops[op].name);
	return lm_fail(err, LM_EFORMAT, "its pickle has the byte 0x%02x where an opcode was expected", op);
}

static int begin(struct pickle *p, const uint8_t *data, size_t n, struct lm_err *err)
{
	static const struct pk_node fixed[] = { [NONE] = { .kind = PK_NONE }, [TRUE] = { .kind = PK_BOOL, .i = 1 },
	                                        [FALSE] = { .kind = PK_BOOL }, [EMPTY] = { .kind = PK_TUPLE } };
	p->c = (struct lm_cursor){ data, data + n, false };
	p->base = data;
	p->n_stack = p->n_marks = p->n_memo = 0;
	if (p->n_nodes) return 0;
	int rc = grow(&p->node, 0, &p->cap_nodes, sizeof *p->node, err);
	if (!rc) memcpy(p->node, fixed, sizeof fixed), p->n_nodes = 4;
	return rc;
}

int pickle_run(struct pickle *p, const uint8_t *data, size_t n, size_t *used, uint32_t *root, struct lm_err *err)
{
	int rc = begin(p, data, n, err);
	while (!rc) {
		uint8_t op = lm_read_u8(&p->c);
		if (p->c.bad) return lm_fail(err, LM_EFORMAT, "its pickle ends before its STOP");
		if (op == '.') break;
		rc = step(p, op, err);
	}
	if (!rc) rc = pop(p, root, err);
	*used = (size_t)(p->c.p - data);
	return rc;
}

void pickle_free(struct pickle *p)
{
	lm_free(p->node);
	lm_free(p->cell);
	lm_free(p->stack);
	lm_free(p->mark);
	lm_free(p->memo);
	*p = (struct pickle){ 0 };
}
