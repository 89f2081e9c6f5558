/* jinja.h - the template engine behind chat.h: tree, values and run state.  Private to this folder.
 *
 * GOTCHAS (jinja2 as transformers sets it up, not our choice):
 *  - x.name asks the object's attributes first and its items second; x['name'] the other way round.
 *  - filters like map and select give generators: always true, no length, consumed once.
 *  - an undefined value prints as "" and is false, but any operation on it is an error.
 *  - a for body is a fresh scope per iteration, an if body is no scope, a macro sees where it was defined. */
#pragma once
#include "tokenizer/chat.h"
#include <string.h>

enum {
	JJ_DEPTH = 200,            /* nesting of the template, of values when printed, and of macro calls */
	JJ_STACK = 2000,           /* nesting of evaluation in all, so that C's stack stays below 1 MiB */
	JJ_MAX_SOURCE = 1 << 20,   /* bytes of a template */
	JJ_MAX_STEPS = 8000000,    /* of at most some 100 ns each, so that every template ends within a second */
	JJ_MAX_TEXT = 16 << 20,    /* bytes of the output and of any string */
	JJ_MAX_MEM = 48 << 20      /* bytes asked for by one rendering; blocks and buffers may be twice that */
};

/* ---- values: 16 bytes, owned by the run's arena or the template's ------------------------------------- */
enum { JJ_TAILS = 8 };
enum jj_type {
	JJ_UNDEF, JJ_NONE, JJ_BOOL, JJ_INT, JJ_FLOAT, JJ_STR, JJ_SEQ, JJ_DICT, JJ_NS, JJ_MACRO, JJ_LOOP,
	JJ_FUNC, JJ_METHOD, JJ_MISSING      /* an argument not given; never seen by a template */
};
enum jj_seq_kind { JJ_LIST, JJ_TUPLE, JJ_RANGE, JJ_KEYS, JJ_VALUES, JJ_ITEMS, JJ_GEN };

struct jj_val {
	uint8_t t;                 /* enum jj_type */
	uint8_t sub;               /* JJ_SEQ: enum jj_seq_kind; JJ_STR: 1 = marked safe */
	uint32_t n;                /* JJ_STR: bytes */
	union {
		int64_t i;             /* JJ_INT, JJ_BOOL */
		double f;
		const char *s;         /* valid UTF-8, not terminated */
		struct jj_seq *q;
		struct jj_dict *d;
		struct jj_ns *ns;
		struct jj_macro *m;
		struct jj_loop *l;
		const struct jj_fn *fn;
		struct jj_method *mt;
		const struct jj_undef *u;
	};
};
struct jj_seq { struct jj_val *v; int n, next; int64_t start, stop, step; };  /* next: of a JJ_GEN */
struct jj_dict { struct jj_val *k, *v; int n, cap; int32_t *index; uint32_t mask; };
struct jj_ns { struct jj_dict d; bool printing; };
struct jj_method { struct jj_val self; const struct jj_fn *fn; };
struct jj_undef { const char *hint, *obj; struct jj_val name; };    /* hint, or "obj has no attribute name" */
struct jj_kw { const char *name; size_t len; struct jj_val v; };
struct jj_args { struct jj_val *v; struct jj_kw *kw; int n, n_kw; };
struct jj_run;
/* One callable: a filter, a test, a method or a global function.  `params` names them in order, "?" before an
 * optional one; "*" takes any (look at raw).  self: the filtered value; p: one per parameter. */
struct jj_fn {
	const char *name, *params;
	struct jj_val (*fn)(struct jj_run *r, struct jj_val self, const struct jj_val *p,
	                    const struct jj_args *raw);
};
enum { JJ_MAX_PARAMS = 6 };

/* ---- tree ---------------------------------------------------------------------------------------------- */
enum jj_kind {
	/* statements, chained by next */
	JJN_TEXT, JJN_PRINT, JJN_IF /* a body b else c */, JJN_FOR /* a in b: c else d if e */,
	JJN_SET /* a = b */, JJN_SETBLOCK /* a = filter b of c */, JJN_MACRO /* sym, params a, body c */,
	JJN_BREAK, JJN_CONTINUE, JJN_FILTERBLOCK /* filter b of c */, JJN_CALLBLOCK /* macro a, call b */,
	JJN_WITH /* chain of sets a, body c */, JJN_SCOPE /* body c */,
	/* expressions */
	JJN_CONST, JJN_NAME, JJN_NSREF, JJN_LIST, JJN_TUPLE, JJN_DICT, JJN_PAIR, JJN_ATTR, JJN_ITEM,
	JJN_SLICE,
	JJN_CALL /* a(b...) */, JJN_FILTER /* a|v(b...) */, JJN_TEST, JJN_COND /* b if a else c */, JJN_AND,
	JJN_OR, JJN_NOT, JJN_NEG, JJN_POS, JJN_BIN, JJN_CONCAT, JJN_CMP, JJN_OPERAND, JJN_KW, JJN_STAR,
	JJN_STARSTAR, JJN_PARAM
};
enum { JJ_USES_CALLER = 1, JJ_USES_KWARGS = 2, JJ_USES_VARARGS = 4, JJ_RECURSIVE = 8 };
struct jj_node {
	uint8_t kind, op;          /* op: token of an operator, or JJ_USES_* */
	uint16_t height;           /* of an expression: bounds the evaluator's recursion */
	uint32_t pos;              /* byte offset in the source */
	int sym;                   /* name, as index of the symbol table */
	struct jj_val v;
	const struct jj_fn *fn;    /* filter or test, NULL: unknown, an error when reached */
	struct jj_node *a, *b, *c, *d, *e, *next;
};
struct chat {
	struct lm_arena *mem;
	const char *src;           /* newlines normalised */
	size_t len;
	struct jj_node *body;
	struct jj_val *sym;        /* JJ_STR per symbol */
	bool *read;                /* per symbol: stands in an expression, not as a target alone */
	int n_sym;
	/* found by rendering (chat_adapt.c): bits of roles, and how tool calls are taken */
	uint8_t takes_parts, needs_parts;
	long probe_steps;          /* left for that */
	bool text_arguments, needs_content, calls_without_content;
};
/* chat_render within a budget: *steps, of which what is left comes back, and `mem` bytes. */
int jj_render(const struct chat *c, const json_t *vars, long *steps, size_t mem, struct lm_buf *out, struct lm_err *err);
/* Fills what the template takes; LM_ENOMEM. */
int jj_probe(struct chat *c, struct lm_err *err);

/* ---- tokens (jinja_lex.c) ------------------------------------------------------------------------------ */
enum jj_tok {
	JJT_EOF, JJT_DATA, JJT_VAR_BEGIN, JJT_VAR_END, JJT_BLOCK_BEGIN, JJT_BLOCK_END, JJT_NAME, JJT_STRING,
	JJT_INT, JJT_FLOAT, JJT_POW, JJT_FLOORDIV, JJT_EQ, JJT_NE, JJT_GE, JJT_LE, JJT_NOTIN, JJT_IN,
	/* the others are their own character: + - * / % ~ [ ] ( ) { } < > = . : | , ; */
};
struct jj_token { int t; uint32_t pos; struct jj_val v; };
struct jj_lexer {
	const char *src;
	size_t n, at;
	struct lm_arena *mem;
	struct lm_err *err;
	int state;                 /* 0: text, else the JJT_*_BEGIN we are in */
	bool line_start;
	char open[2 * JJ_DEPTH];
	int n_open;
};
/* Next token; 0 or negative lm_code. */
int jj_lex(struct jj_lexer *x, struct jj_token *t);
int jj_fail_at(struct lm_err *err, int code, const char *src, size_t len, size_t pos, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));
int jj_parse(struct chat *c, struct lm_err *err);

/* ---- run ----------------------------------------------------------------------------------------------- */
struct jj_scope { struct jj_scope *up; struct { int sym; struct jj_val v; } *var; int n, cap; bool kept; };
struct jj_macro { const struct jj_node *def; struct jj_scope *scope; struct jj_val name; };
struct jj_run {
	const struct chat *c;
	struct lm_arena *mem;
	struct lm_err *err;
	int rc;                    /* sticky: the first error; every loop tests it */
	size_t used;               /* bytes taken from mem */
	size_t live;               /* bytes of text being written, in all buffers */
	long steps;
	int depth, calls;
	int flow;                  /* 0, JJN_BREAK, JJN_CONTINUE */
	const struct jj_node *at;
	struct lm_buf *out;
	struct jj_scope *scope;    /* NULL: top level, whose variables are global[sym] */
	struct jj_val *global;
	/* room behind strings made lately: appending to one of them is in place; [0]: for short ones */
	struct jj_tail { char *at, *end; unsigned used; } tail[JJ_TAILS];
	unsigned clock;
	int sym_loop, sym_caller, sym_kwargs, sym_varargs;     /* -1: the template does not name it */
	bool has_now;
	double now;
};

/* Fails the run once, at the node being evaluated; returns undefined. */
struct jj_val jj_fail(struct jj_run *r, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool jj_step(struct jj_run *r, size_t n);              /* charges n steps; false when the run has failed */
bool jj_enter(struct jj_run *r, int limit);            /* one level deeper; pair with r->depth-- when true */
void *jj_alloc(struct jj_run *r, size_t n, size_t size);
#define jj_new(r, T, n) ((T *)jj_alloc((r), (size_t)(n), sizeof(T)))

/* values (jinja_value.c) */
static inline struct jj_val jj_none(void) { return (struct jj_val){ .t = JJ_NONE }; }
static inline struct jj_val jj_bool(bool b) { return (struct jj_val){ .t = JJ_BOOL, .i = b }; }
static inline struct jj_val jj_int(int64_t i) { return (struct jj_val){ .t = JJ_INT, .i = i }; }
static inline struct jj_val jj_float(double f) { return (struct jj_val){ .t = JJ_FLOAT, .f = f }; }
static inline bool jj_is_num(struct jj_val v) { return v.t >= JJ_BOOL && v.t <= JJ_FLOAT; }
static inline bool jj_is_int(struct jj_val v) { return v.t == JJ_INT || v.t == JJ_BOOL; }
static inline double jj_num(struct jj_val v) { return v.t == JJ_FLOAT ? v.f : (double)v.i; }
struct jj_val jj_str(struct jj_run *r, const char *s, size_t n);      /* copies */
struct jj_val jj_view(const char *s, size_t n);                       /* does not */
struct jj_val jj_cstr(const char *s);                                 /* of a literal */
struct jj_val jj_concat(struct jj_run *r, struct jj_val a, struct jj_val b);
struct jj_val jj_take(struct jj_run *r, struct lm_buf *b);            /* its bytes as a string; frees b */
struct jj_val jj_seq(struct jj_run *r, int kind, int n);              /* n undefined items to fill */
struct jj_val jj_undef(struct jj_run *r, const char *hint, const char *obj, struct jj_val name);
struct jj_val jj_dict(struct jj_run *r, int cap);
bool jj_put(struct jj_run *r, struct jj_dict *d, struct jj_val k, struct jj_val v);
struct jj_val *jj_find(struct jj_run *r, const struct jj_dict *d, struct jj_val k);    /* NULL: absent */
struct jj_val *jj_find_str(struct jj_run *r, const struct jj_dict *d, const char *k);
bool jj_hashable(struct jj_run *r, struct jj_val v);
bool jj_truth(struct jj_val v);
bool jj_eq(struct jj_run *r, struct jj_val a, struct jj_val b);
int jj_order(struct jj_run *r, struct jj_val a, struct jj_val b, const char *op);   /* -1 0 1, 2: NaN */
bool jj_in(struct jj_run *r, struct jj_val x, struct jj_val seq);
const char *jj_type_name(struct jj_val v);             /* Python's: "str", "dict", ... */
const char *jj_obj_name(struct jj_val v);              /* "dict object", "None" */
struct jj_val jj_from_json(struct jj_run *r, const json_t *j, int depth);
struct jj_val jj_copy(struct jj_run *r, struct jj_val seq);    /* any iterable to a new list */

/* iteration over any iterable; fails for what is none */
struct jj_iter { struct jj_val v; int64_t i; };
bool jj_iter(struct jj_run *r, struct jj_iter *it, struct jj_val v);
bool jj_next(struct jj_run *r, struct jj_iter *it, struct jj_val *out);
bool jj_iterable(struct jj_val v);
int64_t jj_length(struct jj_run *r, struct jj_val v);  /* fails for what has none */

/* text (jinja_print.c) */
void jj_write(struct jj_run *r, struct lm_buf *b, const char *s, size_t n);      /* bounded */
void jj_write_str(struct jj_run *r, struct lm_buf *b, struct jj_val v);          /* str(v) */
void jj_write_repr(struct jj_run *r, struct lm_buf *b, struct jj_val v);
struct jj_val jj_to_str(struct jj_run *r, struct jj_val v);
struct jj_val jj_mark_safe(struct jj_val v);           /* a string, or the strings of a fresh list, as markupsafe does */
void jj_float_repr(char out[40], double f);
struct jj_json { bool ascii, sort; const char *indent, *item, *key; size_t n_indent, n_item, n_key; };
void jj_write_json(struct jj_run *r, struct lm_buf *b, struct jj_val v, const struct jj_json *o, int level);
struct jj_val jj_percent(struct jj_run *r, struct jj_val fmt, struct jj_val args);        /* fmt % args */
struct jj_val jj_format(struct jj_run *r, struct jj_val fmt, const struct jj_args *a);   /* fmt.format() */
struct jj_val jj_strftime(struct jj_run *r, struct jj_val fmt);

/* strings (jinja_str.c); positions are bytes unless said otherwise */
bool jj_space(uint32_t cp);
bool jj_alnum(uint32_t cp);
size_t jj_chars(struct jj_val s);                      /* code points */
struct jj_val jj_sub(struct jj_val s, size_t from, size_t to);                    /* bytes [from, to) */
size_t jj_offset(struct jj_val s, size_t chars);       /* bytes of the first so many code points */
/* sides: 1 left, 2 right; set: characters, NULL white space (r may be NULL then) */
struct jj_val jj_strip(struct jj_run *r, struct jj_val s, const struct jj_val *set, int sides);
struct jj_val jj_case(struct jj_run *r, struct jj_val s, char how); /* U L C(apital) T(itle) S(wap) W(ords) */
struct jj_val jj_replace(struct jj_run *r, struct jj_val s, struct jj_val old, struct jj_val by, int64_t max);
struct jj_val jj_lines(struct jj_run *r, struct jj_val s, bool keep);
int64_t jj_search(struct jj_run *r, struct jj_val s, struct jj_val what, size_t from);   /* byte or -1 */
bool jj_is_upper(struct jj_run *r, struct jj_val s);
bool jj_is_lower(struct jj_run *r, struct jj_val s);

/* calls (jinja_call.c, jinja_filter.c, jinja_method.c), expressions (jinja_eval.c), statements (_exec.c) */
struct jj_val jj_call(struct jj_run *r, struct jj_val f, const struct jj_args *a);
struct jj_val jj_apply(struct jj_run *r, const struct jj_fn *fn, struct jj_val self, const struct jj_args *a);
const struct jj_fn *jj_filter(struct jj_val name);     /* NULL: unknown */
const struct jj_fn *jj_test(struct jj_val name);
const struct jj_fn *jj_global(struct jj_val name);
/* Attribute `name` of v that Python's object has: a method, or the SecurityError undefined.  false: none. */
bool jj_method(struct jj_run *r, struct jj_val v, struct jj_val name, struct jj_val *out);
struct jj_val jj_attr(struct jj_run *r, struct jj_val v, struct jj_val name);    /* v.name */
struct jj_val jj_item(struct jj_run *r, struct jj_val v, struct jj_val key);     /* v[key] */
struct jj_val jj_slice(struct jj_run *r, struct jj_val v, const struct jj_val lim[3]);
struct jj_val jj_binary(struct jj_run *r, int op, struct jj_val a, struct jj_val b);
bool jj_loop_attr(struct jj_run *r, struct jj_val v, struct jj_val name, struct jj_val *out);
struct jj_val jj_undef_fail(struct jj_run *r, struct jj_val u);                  /* "'x' is undefined" */
void jj_exec(struct jj_run *r, const struct jj_node *n);                         /* a chain of statements */
struct jj_val jj_eval(struct jj_run *r, const struct jj_node *n);
void jj_assign(struct jj_run *r, const struct jj_node *target, struct jj_val v);
struct jj_val jj_macro_call(struct jj_run *r, struct jj_macro *m, const struct jj_args *a);
struct jj_val jj_loop_call(struct jj_run *r, struct jj_loop *l, struct jj_val items);
struct jj_scope *jj_scope(struct jj_run *r, struct jj_scope *up);
void jj_set_var(struct jj_run *r, int sym, struct jj_val v);
struct jj_val jj_get_var(const struct jj_run *r, int sym);           /* JJ_MISSING: no such variable */
/* Evaluates arguments; there is room for one more keyword, a caller. */
bool jj_args(struct jj_run *r, const struct jj_node *first, struct jj_args *a);
static inline bool jj_is(struct jj_val v, const char *s)
{
	return v.t == JJ_STR && v.n == strlen(s) && memcmp(v.s, s, v.n) == 0;
}
