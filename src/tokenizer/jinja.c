/* jinja.c - statements to tree.  Recursion is bounded by JJ_DEPTH, the height of an expression too. */
#include "tokenizer/jinja_parse.h"
#include <stdio.h>

static struct jj_node *parse_body(struct parser *p, const char *const *end);

static void check_target(struct parser *p, const struct jj_node *n, bool in_for)
{
	static const char *const what[] = {
		[JJN_CONST] = "a constant", [JJN_LIST] = "a list", [JJN_DICT] = "a dict"
	};
	if (p->rc) return;
	if (n->kind == JJN_TUPLE) {
		for (const struct jj_node *k = n->a; k; k = k->next) check_target(p, k, in_for);
		return;
	}
	if (n->kind == JJN_NSREF && !in_for) return;
	if (n->kind == JJN_NAME) {
		if (in_for && jj_is(p->c->sym[n->sym], "loop"))
			jjp_fail(p, n->pos, "cannot assign to 'loop'");
		return;
	}
	const char *s = n->kind < sizeof what / sizeof what[0] ? what[n->kind] : NULL;
	jjp_fail(p, n->pos, "cannot assign to %s", s ? s : "an expression");
}

static struct jj_node *parse_target(struct parser *p, const char *stop)
{
	/* A target is no use of a name: "set caller = 1" must not make a macro take one. */
	struct jj_node *macro = p->macro;
	p->macro = NULL;
	struct jj_node *n = jjp_tuple(p, true, false, false, stop);
	p->macro = macro;
	check_target(p, n, stop != NULL);
	return n;
}

static struct jj_node *parse_for(struct parser *p, uint32_t pos)
{
	static const char *const end[] = { "endfor", "else", NULL }, *const end_else[] = { "endfor", NULL };
	struct jj_node *n = jjp_node(p, JJN_FOR, pos);
	jjp_child(p, n, &n->a, parse_target(p, "in"));
	if (!jjp_skip_word(p, "in")) jjp_fail(p, p->cur.pos, "expected 'in'");
	jjp_child(p, n, &n->b, jjp_tuple(p, false, false, false, "recursive"));
	bool soft = p->soft;
	p->soft = false;
	if (jjp_skip_word(p, "if")) jjp_child(p, n, &n->e, jjp_expr(p, true));
	if (jjp_skip_word(p, "recursive") && !p->rc) n->op = JJ_RECURSIVE;
	p->loops++;
	struct jj_node *body = parse_body(p, end);
	p->loops--;
	struct jj_node *other = NULL;
	if (jjp_at_word(p, "else")) {
		jjp_next(p);
		other = parse_body(p, end_else);
	}
	jjp_next(p);
	p->soft = soft;
	if (p->rc) return n;
	n->c = body;
	n->d = other;
	return n;
}

static struct jj_node *parse_if(struct parser *p, uint32_t pos)
{
	static const char *const end[] = { "elif", "else", "endif", NULL };
	static const char *const end_else[] = { "endif", NULL };
	struct jj_node *first = jjp_node(p, JJN_IF, pos), *n = first;
	bool soft = p->soft;
	p->soft = true;
	for (;;) {
		jjp_child(p, n, &n->a, jjp_tuple(p, false, false, false, NULL));
		struct jj_node *body = parse_body(p, end);
		if (p->rc) break;
		n->b = body;
		if (jjp_at_word(p, "elif")) {
			n->c = jjp_node(p, JJN_IF, p->cur.pos);
			n = n->c;
			jjp_next(p);
			continue;
		}
		if (jjp_at_word(p, "else")) {
			jjp_next(p);
			body = parse_body(p, end_else);
			if (p->rc) break;
			n->c = body;
		}
		break;
	}
	jjp_next(p);
	p->soft = soft;
	return first;
}

/* A body that is a function of its own: no break out of it. */
static struct jj_node *parse_function_body(struct parser *p, const char *end)
{
	const char *const ends[] = { end, NULL };
	int loops = p->loops;
	bool soft = p->soft;
	p->loops = 0;
	p->soft = false;
	struct jj_node *body = parse_body(p, ends);
	p->loops = loops;
	p->soft = soft;
	jjp_next(p);
	return p->rc ? NULL : body;
}

static struct jj_node *parse_set(struct parser *p, uint32_t pos)
{
	static const char *const end[] = { "endset", NULL };
	struct jj_node *n = jjp_node(p, JJN_SET, pos);
	jjp_child(p, n, &n->a, parse_target(p, NULL));
	if (jjp_skip(p, '=')) {
		jjp_child(p, n, &n->b, jjp_tuple(p, false, true, false, NULL));
		return n;
	}
	struct jj_node *f = NULL;
	while (!p->rc && jjp_skip(p, '|')) f = jjp_filter(p, f);
	struct jj_node *body = parse_body(p, end);
	jjp_next(p);
	if (p->rc) return n;
	n->kind = JJN_SETBLOCK;
	n->b = f;
	n->c = body;
	return n;
}

static struct jj_node *parse_signature(struct parser *p)
{
	struct chain l = { 0 };
	bool defaults = false;
	jjp_expect(p, '(');
	while (p->cur.t != ')' && !p->rc) {
		if (l.first) jjp_expect(p, ',');
		struct jj_node *n = jjp_node(p, JJN_PARAM, p->cur.pos);
		struct jj_val name = p->cur.v;
		jjp_expect(p, JJT_NAME);
		if (p->rc) break;
		n->sym = jjp_symbol(p, name);
		if (jjp_skip(p, '=')) {
			jjp_child(p, n, &n->a, jjp_expr(p, true));
			defaults = true;
		} else if (defaults) {
			jjp_fail(p, n->pos, "non-default argument follows default argument");
		}
		jjp_append(&l, n);
	}
	jjp_expect(p, ')');
	return p->rc ? NULL : l.first;
}

static struct jj_node *parse_macro(struct parser *p, uint32_t pos, bool call)
{
	struct jj_node *n = jjp_node(p, JJN_MACRO, pos), *outer = p->macro;
	struct jj_val name = p->cur.v;
	if (!call) jjp_expect(p, JJT_NAME);
	if (p->rc) return n;
	n->sym = jjp_symbol(p, call ? jj_cstr("caller") : name);
	p->macro = n;
	if (!call || p->cur.t == '(') jjp_child(p, n, &n->a, parse_signature(p));
	struct jj_node *what = NULL;
	if (call) {
		p->macro = outer;
		what = jjp_expr(p, true);
		if (!p->rc && what->kind != JJN_CALL) jjp_fail(p, pos, "expected a call");
		p->macro = n;
	}
	struct jj_node *body = parse_function_body(p, call ? "endcall" : "endmacro");
	p->macro = outer;
	if (outer && !p->rc) outer->op |= n->op & JJ_USES_CALLER;
	n->c = body;
	if (!call || p->rc) return n;
	struct jj_node *block = jjp_node(p, JJN_CALLBLOCK, pos);
	block->a = n;
	block->b = what;
	return block;
}

static struct jj_node *parse_with(struct parser *p, uint32_t pos)
{
	static const char *const end[] = { "endwith", NULL };
	struct jj_node *n = jjp_node(p, JJN_WITH, pos);
	struct chain l = { 0 };
	while (p->cur.t != JJT_BLOCK_END && !p->rc) {
		if (l.first) jjp_expect(p, ',');
		struct jj_node *set = jjp_node(p, JJN_SET, p->cur.pos);
		jjp_child(p, set, &set->a, jjp_primary(p, true));
		check_target(p, set->a, true);
		jjp_expect(p, '=');
		jjp_child(p, set, &set->b, jjp_expr(p, true));
		if (!p->rc) jjp_append(&l, set);
	}
	struct jj_node *body = parse_body(p, end);
	jjp_next(p);
	if (p->rc) return n;
	n->a = l.first;
	n->c = body;
	return n;
}

static struct jj_node *parse_filter_block(struct parser *p, uint32_t pos)
{
	static const char *const end[] = { "endfilter", NULL };
	struct jj_node *n = jjp_node(p, JJN_FILTERBLOCK, pos), *f = jjp_filter(p, NULL);
	while (!p->rc && jjp_skip(p, '|')) f = jjp_filter(p, f);
	struct jj_node *body = parse_body(p, end);
	jjp_next(p);
	if (p->rc) return n;
	n->b = f;
	n->c = body;
	return n;
}

static struct jj_node *parse_print(struct parser *p, uint32_t pos)
{
	struct chain l = { 0 };
	while (p->cur.t != JJT_BLOCK_END && !p->rc) {
		if (l.first) jjp_expect(p, ',');
		struct jj_node *n = jjp_unary(p, JJN_PRINT, pos, jjp_expr(p, true));
		if (!p->rc) jjp_append(&l, n);
	}
	struct jj_node *n = jjp_node(p, JJN_IF, pos);     /* a chain in one node */
	if (p->rc) return n;
	n->a = jjp_constant(p, pos, jj_bool(true));
	n->b = l.first;
	return n;
}

static struct jj_node *unknown_tag(struct parser *p, const struct jj_token *t)
{
	char buf[48], text[160] = "";
	static const char *const none[] = { NULL };
	const char *const *end = p->end ? p->end : none;
	for (int i = 0; end[i]; i++) {
		size_t n = strlen(text);
		snprintf(text + n, sizeof text - n, "%s'%s'", i ? " or " : "; expected ", end[i]);
	}
	jjp_fail(p, t->pos, "unknown tag %s%s", jjp_describe(t, buf), text);
	return jjp_node(p, JJN_SCOPE, t->pos);
}

static struct jj_node *parse_statement(struct parser *p)
{
	struct jj_token t = p->cur;
	char buf[48];
	if (t.t != JJT_NAME) {
		jjp_fail(p, t.pos, "expected the name of a tag, got %s", jjp_describe(&t, buf));
		return jjp_node(p, JJN_SCOPE, t.pos);
	}
	jjp_next(p);
	if (jj_is(t.v, "for")) return parse_for(p, t.pos);
	if (jj_is(t.v, "if")) return parse_if(p, t.pos);
	if (jj_is(t.v, "set")) return parse_set(p, t.pos);
	if (jj_is(t.v, "macro")) return parse_macro(p, t.pos, false);
	if (jj_is(t.v, "call")) return parse_macro(p, t.pos, true);
	if (jj_is(t.v, "with")) return parse_with(p, t.pos);
	if (jj_is(t.v, "filter")) return parse_filter_block(p, t.pos);
	if (jj_is(t.v, "print")) return parse_print(p, t.pos);
	if (jj_is(t.v, "break") || jj_is(t.v, "continue")) {
		if (!p->loops) jjp_fail(p, t.pos, "'%.*s' outside of a loop", (int)t.v.n, t.v.s);
		return jjp_node(p, jj_is(t.v, "break") ? JJN_BREAK : JJN_CONTINUE, t.pos);
	}
	if (jj_is(t.v, "generation")) {
		struct jj_node *n = jjp_node(p, JJN_SCOPE, t.pos);
		struct jj_node *body = parse_function_body(p, "endgeneration");
		n->c = body;
		return n;
	}
	return unknown_tag(p, &t);
}

/* Statements up to a tag of `end`, whose name is then the current token; NULL: to the end of the template. */
static struct jj_node *parse_statements(struct parser *p, const char *const *end)
{
	struct chain l = { 0 };
	while (!p->rc && p->cur.t != JJT_EOF) {
		struct jj_token t = p->cur;
		struct jj_node *n;
		jjp_next(p);
		if (t.t == JJT_DATA) {
			n = jjp_node(p, JJN_TEXT, t.pos);
			if (!p->rc) n->v = t.v;
		} else if (t.t == JJT_VAR_BEGIN) {
			n = jjp_unary(p, JJN_PRINT, t.pos, jjp_tuple(p, false, true, false, NULL));
			jjp_expect(p, JJT_VAR_END);
		} else {
			for (int i = 0; end && end[i]; i++)
				if (jjp_at_word(p, end[i])) return l.first;
			n = parse_statement(p);
			jjp_expect(p, JJT_BLOCK_END);
		}
		if (!p->rc) jjp_append(&l, n);
	}
	if (end && !p->rc) jjp_fail(p, p->cur.pos, "unexpected end of the template, expected '%s'", end[0]);
	return p->rc ? NULL : l.first;
}

static struct jj_node *parse_body(struct parser *p, const char *const *end)
{
	const char *const *outer = p->end;
	struct jj_node *n = NULL;
	jjp_skip(p, ':');
	jjp_expect(p, JJT_BLOCK_END);
	p->end = end;
	if (jjp_deeper(p)) n = parse_statements(p, end);
	p->depth--;
	p->end = outer;
	return n;
}

int jj_parse(struct chat *c, struct lm_err *err)
{
	struct parser p = { .c = c, .err = err };
	p.lex = (struct jj_lexer){
		.src = c->src, .n = c->len, .mem = c->mem, .err = err, .line_start = true
	};
	jjp_next(&p);
	c->body = parse_statements(&p, NULL);
	return p.rc;
}
