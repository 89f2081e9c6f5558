/* answer_impl.h - between the files of the answer parser; nobody else includes it.
 *
 * A format is an ordered list of rules: a pattern, and what begins or ends where it stands.  Patterns are literal text
 * with slots:  %n name   %i id   %f "functions.NAME:3", which is both   %k parameter's key   %t its type   %* anything
 * %_ white space, maybe none   %b here begins the body; what follows is looked at and not taken.
 * What a pattern matches is HEAD_MAX bytes at most (a slot SLOT_MAX, %* ANY_MAX): trying one anew, as bytes come, costs
 * no more than that.
 *
 * GOTCHAS
 * - Nothing may be decided by where a push ends: every step either has the bytes that settle it or says MORE.
 * - Nothing may be read twice without bound: a call that fails becomes text up to the place of failure. */
#pragma once
#include "tokenizer/answer.h"

enum { HEAD_MAX = 256, SLOT_MAX = 128, ANY_MAX = 64, LIT_DEPTH = 64, ANSWER_MAX = 64 << 20, ANSWER_CALLS = 4096 };

enum rule_act { DO_DROP, DO_THINK, DO_ANSWER, DO_CALL };
enum rule_flag {
	IN_TEXT = 1, IN_THINK = 2,  /* where the rule holds */
	AT_START = 4,               /* only before any text of the answer (IN_THINK: of the reasoning) */
	KNOWN = 8,                  /* no marker says that this is a call: its name must be one of the tools */
	REASON = 16,                /* belongs to reasoning: off when reasoning is not split */
	FRAME = 32, FRAMED = 64,    /* opens a frame; holds only within one */
	STRIP = 128,                /* a parameter's value stands between newlines */
	CDATA = 256                 /* ... may be wrapped in <![CDATA[ ]]> */
};
enum rule_body {
	BODY_ARGS,                  /* the JSON arguments */
	BODY_OBJECTS,               /* {"name":...,"arguments":{...}}, one, several, or an array of them */
	BODY_KEYED,                 /* {"NAME": {...}}, likewise */
	BODY_TAGGED,                /* parameters, each between tags */
	BODY_PYTHON,                /* f(a=1), or a list of such */
	BODY_LOOSE,                 /* {key:value}, strings between `arg` */
	BODY_NESTED                 /* elements within elements, tags behind `arg` */
};
struct rule {
	const char *head;           /* pattern; NULL ends the list */
	enum rule_act act;
	unsigned flags;
	enum rule_body body;
	const char *begin, *end;    /* patterns around one or more calls; may be missing */
	const char *close;          /* pattern after the body; where the body shows its own end it may be missing */
	const char *arg, *arg_end;  /* BODY_TAGGED: pattern before a value, literal after it */
};
struct answer_format {
	const char *name;
	const char *seen[3];        /* all of these stand in the template */
	const struct rule *rules;
};

enum match { NO, YES, MORE };
struct span { size_t at, n; };
struct caps { struct span name, id, key, type; size_t body, used; };
/* final: no byte comes after s[0..n), so MORE is NO. */
enum match answer_match(const char *pattern, const char *s, size_t n, bool final, struct caps *c);
bool answer_space(char c);

/* ---- JSON, byte by byte: strict but for raw control characters within strings ----------------------- */
struct json_dfa { uint8_t state, depth; bool key; const char *lit; uint64_t array[2]; };
enum dfa { DFA_BAD, DFA_GO, DFA_DONE, DFA_BEFORE };       /* DFA_BEFORE: it ended before this byte */
enum dfa answer_dfa(struct json_dfa *d, char c);
bool answer_dfa_string(const struct json_dfa *d);         /* within a string */

/* ---- values that are not JSON; false: malformed.  What they write is JSON. -------------------------- */
bool answer_json_ok(const char *s, size_t n);             /* is it one JSON value (strict)? */
bool answer_python(const char *s, size_t n, struct lm_buf *out);
bool answer_loose(const char *s, size_t n, const char *quote, struct lm_buf *out);
bool answer_nested(const char *s, size_t n, const char *tag, const json_t *schema, struct lm_buf *out);
/* f(..), [f(..), g(..)]: appends NAME NUL ARGUMENTS NUL for each. */
bool answer_python_calls(const char *s, size_t n, const json_t *tools, struct lm_buf *out);

/* ---- the tools of the request ----------------------------------------------------------------------- */
const json_t *answer_tool(const json_t *tools, const char *name, size_t n);   /* its schema's object; NULL: unknown */
const json_t *answer_property(const json_t *tool, const char *key, size_t n); /* a parameter's schema or NULL */
/* Appends text as JSON of the type that the schema wants; what cannot be that is a string.  hint: what the model
 * itself says of the type, "" if nothing. */
void answer_value(struct lm_buf *out, const json_t *schema, struct span hint, const char *base, const char *s, size_t n);
void answer_scalar(struct lm_buf *out, const json_t *schema, const char *s, size_t n);  /* without a schema: a guess */

/* ---- the machine ------------------------------------------------------------------------------------ */
struct flow { struct lm_buf gap; size_t gap_at; bool some, after, cut; }; /* after: behind a marker; cut: one stood after the gap */
enum answer_state { READ_TEXT, READ_BODY, READ_CLOSE, READ_END };
enum object_state { OB_BEGIN, OB_ITEM, OB_KEY, OB_KEYSTR, OB_COLON, OB_VALUE, OB_HELD, OB_ARGS, OB_NEXT, OB_SEP, OB_AGAIN };
struct object {
	enum object_state state;
	bool list, named, sent;     /* sent: the call is told */
	int nest;                   /* objects entered within the call's own */
	int what;                   /* what the value at hand is for */
	size_t from;                /* of the string or value being read */
	struct span args;
	bool has_args;
};
struct tagged { size_t value, value_end, after; bool in_value, maybe; struct span key, type; };
struct answer {
	const struct answer_format *f;
	const json_t *tools;
	bool reasoning, think, framed, final, start[2];
	size_t total, base, where;  /* base: bytes that stood before b; where: answer_where */
	int rc, n_calls;
	struct lm_buf b;            /* b.p[at..n) is not yet told apart */
	size_t at, pos;             /* pos: how far the call being read has been read */
	enum answer_state state;
	const struct rule *r;
	bool told;                  /* the call being read has been given away: it cannot become text again */
	char name[HEAD_MAX + 1], id[HEAD_MAX + 1];
	struct json_dfa dfa;
	struct object ob;
	struct tagged tg;
	struct lm_buf args;
	struct flow flow[2];
	uint8_t first[256];
	const struct answer_out *out;
	struct lm_err *err;
};
/* Steps: MORE when bytes are wanted, YES when the body is read, NO when it is malformed at a->pos. */
enum match answer_step_args(struct answer *a);
enum match answer_step_objects(struct answer *a);
enum match answer_step_tagged(struct answer *a);
enum match answer_step_held(struct answer *a);
/* Gives away a call's beginning (false: its name is not acceptable) and its arguments. */
bool answer_call(struct answer *a);
void answer_arguments(struct answer *a, const char *s, size_t n);
