/* jinja_parse.h - what the two halves of the parser share: jinja_expr.c and jinja.c. */
#pragma once
#include "tokenizer/jinja.h"

struct parser {
	struct chat *c;
	struct lm_err *err;
	struct jj_lexer lex;
	struct jj_token cur, ahead;
	bool has_ahead, soft; /* soft: inside an if, where an unknown filter is an error only when reached */
	int rc, depth, loops;
	int *slot, n_slot;             /* hash table of symbols */
	int cap_sym;
	struct jj_node *macro;
	const char *const *end;        /* words that end the innermost body */
	struct jj_node dummy;          /* what node() gives after an error */
};
struct chain { struct jj_node *first, **last; };

/* The first error stays; after it the current token is the end of the template and nodes are a dummy. */
int jjp_fail(struct parser *p, uint32_t pos, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int jjp_no_memory(struct parser *p);
void jjp_next(struct parser *p);
bool jjp_at_word(const struct parser *p, const char *word);
bool jjp_skip(struct parser *p, int t);                     /* takes the token if it is this one */
bool jjp_skip_word(struct parser *p, const char *word);
void jjp_expect(struct parser *p, int t);
const char *jjp_describe(const struct jj_token *t, char buf[48]);
bool jjp_deeper(struct parser *p);                          /* pair with p->depth-- */
int jjp_symbol(struct parser *p, struct jj_val name);

struct jj_node *jjp_node(struct parser *p, int kind, uint32_t pos);
struct jj_node *jjp_constant(struct parser *p, uint32_t pos, struct jj_val v);
struct jj_node *jjp_unary(struct parser *p, int kind, uint32_t pos, struct jj_node *a);
void jjp_child(struct parser *p, struct jj_node *n, struct jj_node **at,
	       struct jj_node *kid); /* keeps the height */
void jjp_append(struct chain *l, struct jj_node *n);

struct jj_node *jjp_expr(struct parser *p, bool cond);      /* cond: with "a if b else c" */
/* Expressions with commas make a tuple.  simple: names and literals only (a target); parens: may be empty;
 * stop: a word that ends it. */
struct jj_node *jjp_tuple(struct parser *p, bool simple, bool cond, bool parens, const char *stop);
struct jj_node *jjp_filter(struct parser *p, struct jj_node *a);
struct jj_node *jjp_primary(struct parser *p, bool target);
