/* jinja.c - tokens to tree.  Recursion is bounded by JJ_DEPTH, the height of an expression too. */
#include "tokenizer/jinja.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct parser {
	struct chat *c;
	struct lm_err *err;
	struct jj_lexer lex;
	struct jj_token cur, ahead;
	bool has_ahead, soft;          /* soft: inside an if, where an unknown filter is an error only when reached */
	int rc, depth, loops;
	int *slot, n_slot;             /* hash table of symbols */
	int cap_sym;
	struct jj_node *macro;
	const char *const *end;        /* words that end the innermost body */
	struct jj_node dummy;          /* what node() gives after an error */
};

static struct jj_node *parse_expr(struct parser *p, bool cond);
static struct jj_node *parse_tuple(struct parser *p, bool simple, bool cond, bool parens, const char *stop);
static struct jj_node *parse_unary(struct parser *p, bool filters);
static struct jj_node *parse_body(struct parser *p, const char *const *end);

static int fail(struct parser *p, uint32_t pos, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct parser *p, uint32_t pos, const char *fmt, ...)
{
	char text[300];
	va_list ap;
	if (p->rc) return p->rc;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	p->cur.t = JJT_EOF;
	p->has_ahead = false;
	p->lex.at = p->lex.n;          /* nothing more to read */
	return p->rc = jj_fail_at(p->err, LM_EFORMAT, p->c->src, p->c->len, pos, "%s", text);
}

static int no_memory(struct parser *p)
{
	if (!p->rc) p->rc = lm_fail(p->err, LM_ENOMEM, "chat template: out of memory");
	p->cur.t = JJT_EOF;
	return p->rc;
}

static void next(struct parser *p)
{
	if (p->rc) {
		p->cur.t = JJT_EOF;
		return;
	}
	if (p->has_ahead) {
		p->cur = p->ahead;
		p->has_ahead = false;
		return;
	}
	p->rc = jj_lex(&p->lex, &p->cur);
	if (p->rc) p->cur.t = JJT_EOF;
}

static int look(struct parser *p)
{
	if (p->rc) return JJT_EOF;
	if (!p->has_ahead) {
		p->rc = jj_lex(&p->lex, &p->ahead);
		if (p->rc) {
			p->cur.t = JJT_EOF;
			return JJT_EOF;
		}
		p->has_ahead = true;
	}
	return p->ahead.t;
}

static bool is(struct jj_val name, const char *word) { return jj_is(name, word); }
static bool at_word(const struct parser *p, const char *word) { return p->cur.t == JJT_NAME && is(p->cur.v, word); }

static bool skip(struct parser *p, int t)
{
	if (p->cur.t != t) return false;
	next(p);
	return true;
}

static bool skip_word(struct parser *p, const char *word)
{
	if (!at_word(p, word)) return false;
	next(p);
	return true;
}

static const char *describe(const struct jj_token *t, char buf[48])
{
	switch (t->t) {
	case JJT_EOF: return "the end of the template";
	case JJT_DATA: return "text";
	case JJT_VAR_END: return "'}}'";
	case JJT_BLOCK_END: return "'%}'";
	case JJT_STRING: return "a string";
	case JJT_INT:
	case JJT_FLOAT: return "a number";
	case JJT_NAME: snprintf(buf, 48, "'%.*s'", (int)(t->v.n > 40 ? 40 : t->v.n), t->v.s); return buf;
	case JJT_POW: return "'**'";
	case JJT_FLOORDIV: return "'//'";
	case JJT_EQ: return "'=='";
	case JJT_NE: return "'!='";
	case JJT_GE: return "'>='";
	case JJT_LE: return "'<='";
	default: snprintf(buf, 48, "'%c'", t->t); return buf;
	}
}

static void expect(struct parser *p, int t)
{
	char a[48], b[48];
	struct jj_token want = { .t = t };
	if (skip(p, t) || p->rc) return;
	const char *what = t == JJT_NAME ? "a name" : describe(&want, a);
	fail(p, p->cur.pos, "expected %s, got %s", what, describe(&p->cur, b));
}

/* A node at `pos`; never NULL: after an error a shared dummy, so that callers need not look. */
static struct jj_node *node(struct parser *p, int kind, uint32_t pos)
{
	struct jj_node *n = p->rc ? NULL : lm_new(p->c->mem, struct jj_node, 1);
	if (!n) {
		if (!p->rc) no_memory(p);
		return &p->dummy;
	}
	n->kind = (uint8_t)kind;
	n->pos = pos;
	n->height = 1;
	return n;
}

/* Sets a child, keeps track of the height. */
static void child(struct parser *p, struct jj_node *n, struct jj_node **at, struct jj_node *kid)
{
	if (p->rc) return;
	*at = kid;
	for (; kid; kid = kid->next)
		if (kid->height >= n->height) n->height = (uint16_t)(kid->height + 1);
	if (n->height > JJ_DEPTH) fail(p, n->pos, "expression nested too deeply (%d levels at most)", JJ_DEPTH);
}

static struct jj_node *unary(struct parser *p, int kind, uint32_t pos, struct jj_node *a)
{
	struct jj_node *n = node(p, kind, pos);
	child(p, n, &n->a, a);
	return n;
}

static struct jj_node *binary(struct parser *p, int kind, uint32_t pos, int op, struct jj_node *a, struct jj_node *b)
{
	struct jj_node *n = unary(p, kind, pos, a);
	if (p->rc) return n;
	n->op = (uint8_t)op;
	child(p, n, &n->b, b);
	return n;
}

/* ---- symbols ---------------------------------------------------------------------------------------------- */
static uint32_t hash(struct jj_val s)
{
	uint32_t h = 2166136261u;
	for (uint32_t i = 0; i < s.n; i++) h = (h ^ (unsigned char)s.s[i]) * 16777619u;
	return h;
}

static bool grow_symbols(struct parser *p)
{
	int cap = p->cap_sym ? p->cap_sym * 2 : 64;
	struct jj_val *sym = lm_new(p->c->mem, struct jj_val, cap);
	int *slot = lm_new(p->c->mem, int, cap * 2);
	if (!sym || !slot) return false;
	if (p->c->n_sym) memcpy(sym, p->c->sym, (size_t)p->c->n_sym * sizeof *sym);
	p->c->sym = sym;
	p->slot = slot;
	p->cap_sym = cap;
	p->n_slot = cap * 2;
	for (int i = 0; i < p->c->n_sym; i++) {
		uint32_t h = hash(sym[i]) & (uint32_t)(p->n_slot - 1);
		while (slot[h]) h = (h + 1) & (uint32_t)(p->n_slot - 1);
		slot[h] = i + 1;
	}
	return true;
}

static int symbol(struct parser *p, struct jj_val name)
{
	if (p->rc) return 0;
	if (p->c->n_sym == p->cap_sym && !grow_symbols(p)) return no_memory(p), 0;
	uint32_t mask = (uint32_t)(p->n_slot - 1), h = hash(name) & mask;
	for (; p->slot[h]; h = (h + 1) & mask) {
		struct jj_val s = p->c->sym[p->slot[h] - 1];
		if (s.n == name.n && memcmp(s.s, name.s, s.n) == 0) return p->slot[h] - 1;
	}
	p->c->sym[p->c->n_sym] = name;
	p->slot[h] = ++p->c->n_sym;
	return p->c->n_sym - 1;
}

/* ---- expressions ---------------------------------------------------------------------------------------- */
struct chain { struct jj_node *first, **last; };

static void append(struct chain *l, struct jj_node *n)
{
	if (!l->last) l->last = &l->first;
	*l->last = n;
	l->last = &n->next;
}

static struct jj_node *parse_args(struct parser *p)
{
	struct chain l = { 0 };
	uint32_t pos = p->cur.pos;
	bool kw = false, star = false, dict = false, first = true;
	expect(p, '(');
	while (p->cur.t != ')' && !p->rc) {
		if (!first) {
			expect(p, ',');
			if (p->cur.t == ')') break;
		}
		first = false;
		struct jj_node *n;
		if (p->cur.t == '*' || p->cur.t == JJT_POW) {
			bool two = p->cur.t == JJT_POW;
			if (dict || (star && !two)) fail(p, pos, "invalid syntax for function call expression");
			next(p);
			n = unary(p, two ? JJN_STARSTAR : JJN_STAR, pos, parse_expr(p, true));
			*(two ? &dict : &star) = true;
		} else if (p->cur.t == JJT_NAME && look(p) == '=') {
			struct jj_val name = p->cur.v;
			if (dict) fail(p, pos, "invalid syntax for function call expression");
			next(p);
			next(p);
			n = unary(p, JJN_KW, pos, parse_expr(p, true));
			if (!p->rc) n->v = name;
			kw = true;
		} else {
			if (kw || star || dict) fail(p, pos, "invalid syntax for function call expression");
			n = parse_expr(p, true);
		}
		if (!p->rc) append(&l, n);
	}
	expect(p, ')');
	return p->rc ? NULL : l.first;
}

static struct jj_node *parse_subscribed(struct parser *p)
{
	uint32_t pos = p->cur.pos;
	struct jj_node *lim[3] = { NULL };
	if (p->cur.t != ':') {
		lim[0] = parse_expr(p, true);
		if (p->cur.t != ':') return lim[0];
	}
	next(p);
	if (p->cur.t != ':' && p->cur.t != ']' && p->cur.t != ',') lim[1] = parse_expr(p, true);
	if (skip(p, ':') && p->cur.t != ']' && p->cur.t != ',') lim[2] = parse_expr(p, true);
	struct jj_node *n = node(p, JJN_SLICE, pos);
	if (lim[0]) child(p, n, &n->a, lim[0]);
	if (lim[1]) child(p, n, &n->b, lim[1]);
	if (lim[2]) child(p, n, &n->c, lim[2]);
	return n;
}

static struct jj_node *parse_subscript(struct parser *p, struct jj_node *a)
{
	uint32_t pos = p->cur.pos;
	if (skip(p, '.')) {
		struct jj_token t = p->cur;
		next(p);
		if (t.t == JJT_NAME) {
			struct jj_node *n = unary(p, JJN_ATTR, pos, a);
			if (!p->rc) n->v = t.v;
			return n;
		}
		if (t.t != JJT_INT) fail(p, t.pos, "expected a name or number after '.'");
		struct jj_node *key = node(p, JJN_CONST, t.pos);
		if (!p->rc) key->v = t.v;
		return binary(p, JJN_ITEM, pos, 0, a, key);
	}
	struct chain l = { 0 };
	int count = 0;
	expect(p, '[');
	while (p->cur.t != ']' && !p->rc) {
		if (count++) expect(p, ',');
		struct jj_node *n = parse_subscribed(p);
		if (!p->rc) append(&l, n);
	}
	expect(p, ']');
	if (p->rc || count == 1) return binary(p, JJN_ITEM, pos, 0, a, l.first);
	return binary(p, JJN_ITEM, pos, 0, a, unary(p, JJN_TUPLE, pos, l.first));
}

/* "name(args)" of a filter or test, dots in the name included. */
static struct jj_val parse_dotted(struct parser *p)
{
	struct jj_val name = p->cur.v;
	expect(p, JJT_NAME);
	while (p->cur.t == '.' && !p->rc) {
		next(p);
		struct jj_val part = p->cur.v;
		expect(p, JJT_NAME);
		if (!p->rc) name.n = (uint32_t)(part.s + part.n - name.s);
	}
	return p->rc ? jj_cstr("") : name;
}

static struct jj_node *parse_filter(struct parser *p, struct jj_node *a)
{
	uint32_t pos = p->cur.pos;
	struct jj_val name = parse_dotted(p);
	struct jj_node *n = unary(p, JJN_FILTER, pos, a);
	if (p->rc) return n;
	n->v = name;
	n->fn = jj_filter(name);
	if (!n->fn && !p->soft) fail(p, pos, "no filter named '%.*s'", (int)(name.n > 60 ? 60 : name.n), name.s);
	if (p->cur.t == '(') child(p, n, &n->b, parse_args(p));
	return n;
}

static struct jj_node *parse_postfix(struct parser *p, struct jj_node *a);
static struct jj_node *parse_primary(struct parser *p, bool target);

static struct jj_node *parse_test(struct parser *p, struct jj_node *a)
{
	uint32_t pos = p->cur.pos;
	bool negated = skip_word(p, "not");
	struct jj_val name = parse_dotted(p);
	struct jj_node *n = unary(p, JJN_TEST, pos, a);
	if (p->rc) return n;
	n->v = name;
	n->fn = jj_test(name);
	if (!n->fn && !p->soft) fail(p, pos, "no test named '%.*s'", (int)(name.n > 60 ? 60 : name.n), name.s);
	int t = p->cur.t;
	if (t == '(') {
		child(p, n, &n->b, parse_args(p));
	} else if ((t == JJT_NAME && !at_word(p, "else") && !at_word(p, "or") && !at_word(p, "and")) || t == JJT_STRING ||
	           t == JJT_INT || t == JJT_FLOAT || t == '[' || t == '{') {
		if (at_word(p, "is")) fail(p, p->cur.pos, "tests cannot be chained with 'is'");
		child(p, n, &n->b, parse_postfix(p, parse_primary(p, false)));
	}
	return negated ? unary(p, JJN_NOT, pos, n) : n;
}

static struct jj_node *parse_call(struct parser *p, struct jj_node *a)
{
	uint32_t pos = p->cur.pos;
	return binary(p, JJN_CALL, pos, 0, a, parse_args(p));
}

static struct jj_node *parse_postfix(struct parser *p, struct jj_node *a)
{
	while (!p->rc) {
		if (p->cur.t == '.' || p->cur.t == '[') a = parse_subscript(p, a);
		else if (p->cur.t == '(') a = parse_call(p, a);
		else break;
	}
	return a;
}

static struct jj_node *parse_filters(struct parser *p, struct jj_node *a)
{
	while (!p->rc) {
		if (skip(p, '|')) a = parse_filter(p, a);
		else if (skip_word(p, "is")) a = parse_test(p, a);
		else if (p->cur.t == '(') a = parse_call(p, a);
		else break;
	}
	return a;
}

static struct jj_node *parse_list(struct parser *p, bool dict)
{
	struct jj_node *n = node(p, dict ? JJN_DICT : JJN_LIST, p->cur.pos);
	struct chain l = { 0 };
	int end = dict ? '}' : ']';
	bool first = true;
	next(p);
	while (p->cur.t != end && !p->rc) {
		if (!first) expect(p, ',');
		first = false;
		if (p->cur.t == end) break;
		uint32_t pos = p->cur.pos;
		struct jj_node *v = parse_expr(p, true);
		if (dict) {
			expect(p, ':');
			v = binary(p, JJN_PAIR, pos, 0, v, parse_expr(p, true));
		}
		if (!p->rc) append(&l, v);
	}
	expect(p, end);
	child(p, n, &n->a, l.first);
	return n;
}

static struct jj_node *constant(struct parser *p, uint32_t pos, struct jj_val v)
{
	struct jj_node *n = node(p, JJN_CONST, pos);
	if (!p->rc) n->v = v;
	return n;
}

static struct jj_node *parse_name(struct parser *p, bool target)
{
	struct jj_token t = p->cur;
	next(p);
	if (is(t.v, "true") || is(t.v, "True")) return constant(p, t.pos, jj_bool(true));
	if (is(t.v, "false") || is(t.v, "False")) return constant(p, t.pos, jj_bool(false));
	if (is(t.v, "none") || is(t.v, "None")) return constant(p, t.pos, jj_none());
	struct jj_node *n = node(p, JJN_NAME, t.pos);
	if (p->rc) return n;
	n->sym = symbol(p, t.v);
	if (target && skip(p, '.')) {
		n->kind = JJN_NSREF;
		n->v = p->cur.v;
		expect(p, JJT_NAME);
	} else if (p->macro) {
		p->macro->op |= (uint8_t)(is(t.v, "caller") ? JJ_USES_CALLER : is(t.v, "kwargs") ? JJ_USES_KWARGS
		                          : is(t.v, "varargs") ? JJ_USES_VARARGS : 0);
	}
	return n;
}

/* Adjacent string literals are one. */
static struct jj_node *parse_string(struct parser *p)
{
	struct jj_node *n = constant(p, p->cur.pos, p->cur.v);
	struct lm_buf b = { 0 };
	next(p);
	if (p->cur.t != JJT_STRING || p->rc) return n;
	lm_buf_add(&b, n->v.s, n->v.n);
	for (; p->cur.t == JJT_STRING && !p->rc; next(p)) lm_buf_add(&b, p->cur.v.s, p->cur.v.n);
	const char *s = b.bad ? NULL : lm_arena_str(p->c->mem, b.p, b.n);
	if (!s) no_memory(p);
	else n->v = jj_view(s, b.n);
	lm_buf_free(&b);
	return n;
}

static struct jj_node *parse_primary(struct parser *p, bool target)
{
	struct jj_token t = p->cur;
	struct jj_node *n;
	char buf[48];
	switch (t.t) {
	case JJT_NAME: return parse_name(p, target);
	case JJT_STRING: return parse_string(p);
	case JJT_INT:
	case JJT_FLOAT: next(p); return constant(p, t.pos, t.v);
	case '(':
		next(p);
		n = parse_tuple(p, false, true, true, NULL);
		expect(p, ')');
		return n;
	case '[': return parse_list(p, false);
	case '{': return parse_list(p, true);
	default: fail(p, t.pos, "unexpected %s, expected an expression", describe(&t, buf)); return node(p, JJN_CONST, t.pos);
	}
}

static bool deeper(struct parser *p)
{
	if (++p->depth <= JJ_DEPTH) return true;
	fail(p, p->cur.pos, "nested too deeply (%d levels at most)", JJ_DEPTH);
	return false;
}

static struct jj_node *parse_unary(struct parser *p, bool filters)
{
	struct jj_node *n;
	uint32_t pos = p->cur.pos;
	int op = p->cur.t;
	if (op == '-' || op == '+') {
		next(p);
		n = deeper(p) ? parse_unary(p, false) : node(p, JJN_CONST, pos);
		p->depth--;
		n = unary(p, op == '-' ? JJN_NEG : JJN_POS, pos, n);
	} else {
		n = parse_primary(p, false);
	}
	n = parse_postfix(p, n);
	return filters ? parse_filters(p, n) : n;
}

/* Left-associative levels, loosest first: 0 + -, 1 ~, 2 * / // %, 3 **. */
static struct jj_node *parse_math(struct parser *p, int level)
{
	static const int ops[4][5] = { { '+', '-' }, { '~' }, { '*', '/', '%', JJT_FLOORDIV }, { JJT_POW } };
	if (level == 4) return parse_unary(p, true);
	struct jj_node *n = parse_math(p, level + 1);
	struct chain l = { 0 };
	while (!p->rc) {
		int t = p->cur.t, i = 0;
		uint32_t pos = p->cur.pos;
		while (ops[level][i] && ops[level][i] != t) i++;
		if (!ops[level][i]) break;
		next(p);
		struct jj_node *b = parse_math(p, level + 1);
		if (level != 1) n = binary(p, JJN_BIN, pos, t, n, b);
		else if (!p->rc) {
			if (!l.first) append(&l, n);
			append(&l, b);
		}
	}
	return l.first ? unary(p, JJN_CONCAT, l.first->pos, l.first) : n;
}

static struct jj_node *parse_compare(struct parser *p)
{
	struct jj_node *a = parse_math(p, 0);
	struct chain l = { 0 };
	uint32_t pos = p->cur.pos;
	while (!p->rc) {
		int t = p->cur.t, op = t;
		uint32_t at = p->cur.pos;
		if (t == JJT_NAME && is(p->cur.v, "in")) op = JJT_IN;
		else if (t == JJT_NAME && is(p->cur.v, "not") && look(p) == JJT_NAME && is(p->ahead.v, "in")) op = JJT_NOTIN;
		else if (t != JJT_EQ && t != JJT_NE && t != JJT_GE && t != JJT_LE && t != '<' && t != '>') break;
		next(p);
		if (op == JJT_NOTIN) next(p);
		struct jj_node *n = unary(p, JJN_OPERAND, at, parse_math(p, 0));
		if (p->rc) break;
		n->op = (uint8_t)op;
		append(&l, n);
	}
	return l.first ? binary(p, JJN_CMP, pos, 0, a, l.first) : a;
}

static struct jj_node *parse_not(struct parser *p)
{
	uint32_t pos = p->cur.pos;
	if (!at_word(p, "not")) return parse_compare(p);
	next(p);
	struct jj_node *n = deeper(p) ? parse_not(p) : node(p, JJN_CONST, pos);
	p->depth--;
	return unary(p, JJN_NOT, pos, n);
}

static struct jj_node *parse_or(struct parser *p, bool and)
{
	struct jj_node *n = and ? parse_not(p) : parse_or(p, true);
	for (;;) {
		uint32_t pos = p->cur.pos;
		if (p->rc || !skip_word(p, and ? "and" : "or")) return n;
		n = binary(p, and ? JJN_AND : JJN_OR, pos, 0, n, and ? parse_not(p) : parse_or(p, true));
	}
}

static struct jj_node *parse_expr(struct parser *p, bool cond)
{
	bool soft = p->soft;
	struct jj_node *n = deeper(p) ? parse_or(p, false) : &p->dummy;
	while (cond && !p->rc && at_word(p, "if")) {
		struct jj_node *c = node(p, JJN_COND, p->cur.pos);
		next(p);
		p->soft = true;
		child(p, c, &c->a, parse_or(p, false));
		child(p, c, &c->b, n);
		if (skip_word(p, "else")) child(p, c, &c->c, parse_expr(p, true));
		n = c;
	}
	p->soft = soft;
	p->depth--;
	return n;
}

/* Expressions with commas make a tuple; `simple`: names and literals only (a target). */
static struct jj_node *parse_tuple(struct parser *p, bool simple, bool cond, bool parens, const char *stop)
{
	uint32_t pos = p->cur.pos;
	struct chain l = { 0 };
	bool tuple = false;
	char buf[48];
	for (;;) {
		int t = p->cur.t;
		if (p->rc || t == JJT_VAR_END || t == JJT_BLOCK_END || t == ')' || (stop && at_word(p, stop))) break;
		struct jj_node *n = simple ? parse_primary(p, true) : parse_expr(p, cond);
		if (p->rc) break;
		append(&l, n);
		if (p->cur.t != ',') break;
		tuple = true;
		next(p);
	}
	if (!tuple && l.first) return l.first;
	if (!tuple && !parens) fail(p, p->cur.pos, "expected an expression, got %s", describe(&p->cur, buf));
	struct jj_node *n = unary(p, JJN_TUPLE, pos, l.first);
	return n;
}

/* ---- statements -------------------------------------------------------------------------------------------- */
static void check_target(struct parser *p, const struct jj_node *n, bool in_for)
{
	static const char *const what[] = { [JJN_CONST] = "a constant", [JJN_LIST] = "a list", [JJN_DICT] = "a dict" };
	if (p->rc) return;
	if (n->kind == JJN_TUPLE) {
		for (const struct jj_node *k = n->a; k; k = k->next) check_target(p, k, in_for);
		return;
	}
	if (n->kind == JJN_NSREF && !in_for) return;
	if (n->kind == JJN_NAME) {
		if (in_for && is(p->c->sym[n->sym], "loop")) fail(p, n->pos, "cannot assign to 'loop'");
		return;
	}
	const char *s = n->kind < sizeof what / sizeof what[0] ? what[n->kind] : NULL;
	fail(p, n->pos, "cannot assign to %s", s ? s : "an expression");
}

static struct jj_node *parse_target(struct parser *p, const char *stop)
{
	/* A target is no use of a name: "set caller = 1" must not make a macro take one. */
	struct jj_node *macro = p->macro;
	p->macro = NULL;
	struct jj_node *n = parse_tuple(p, true, false, false, stop);
	p->macro = macro;
	check_target(p, n, stop != NULL);
	return n;
}

static struct jj_node *parse_for(struct parser *p, uint32_t pos)
{
	static const char *const end[] = { "endfor", "else", NULL }, *const end_else[] = { "endfor", NULL };
	struct jj_node *n = node(p, JJN_FOR, pos);
	child(p, n, &n->a, parse_target(p, "in"));
	if (!skip_word(p, "in")) fail(p, p->cur.pos, "expected 'in'");
	child(p, n, &n->b, parse_tuple(p, false, false, false, "recursive"));
	bool soft = p->soft;
	p->soft = false;
	if (skip_word(p, "if")) child(p, n, &n->e, parse_expr(p, true));
	if (skip_word(p, "recursive") && !p->rc) n->op = JJ_RECURSIVE;
	p->loops++;
	struct jj_node *body = parse_body(p, end);
	p->loops--;
	struct jj_node *other = NULL;
	if (at_word(p, "else")) {
		next(p);
		other = parse_body(p, end_else);
	}
	next(p);
	p->soft = soft;
	if (p->rc) return n;
	n->c = body;
	n->d = other;
	return n;
}

static struct jj_node *parse_if(struct parser *p, uint32_t pos)
{
	static const char *const end[] = { "elif", "else", "endif", NULL }, *const end_else[] = { "endif", NULL };
	struct jj_node *first = node(p, JJN_IF, pos), *n = first;
	bool soft = p->soft;
	p->soft = true;
	for (;;) {
		child(p, n, &n->a, parse_tuple(p, false, false, false, NULL));
		struct jj_node *body = parse_body(p, end);
		if (p->rc) break;
		n->b = body;
		if (at_word(p, "elif")) {
			n->c = node(p, JJN_IF, p->cur.pos);
			n = n->c;
			next(p);
			continue;
		}
		if (at_word(p, "else")) {
			next(p);
			body = parse_body(p, end_else);
			if (p->rc) break;
			n->c = body;
		}
		break;
	}
	next(p);
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
	next(p);
	return p->rc ? NULL : body;
}

static struct jj_node *parse_set(struct parser *p, uint32_t pos)
{
	static const char *const end[] = { "endset", NULL };
	struct jj_node *n = node(p, JJN_SET, pos);
	child(p, n, &n->a, parse_target(p, NULL));
	if (skip(p, '=')) {
		child(p, n, &n->b, parse_tuple(p, false, true, false, NULL));
		return n;
	}
	struct jj_node *f = NULL;
	while (!p->rc && skip(p, '|')) f = parse_filter(p, f);
	struct jj_node *body = parse_body(p, end);
	next(p);
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
	expect(p, '(');
	while (p->cur.t != ')' && !p->rc) {
		if (l.first) expect(p, ',');
		struct jj_node *n = node(p, JJN_PARAM, p->cur.pos);
		struct jj_val name = p->cur.v;
		expect(p, JJT_NAME);
		if (p->rc) break;
		n->sym = symbol(p, name);
		if (skip(p, '=')) {
			child(p, n, &n->a, parse_expr(p, true));
			defaults = true;
		} else if (defaults) {
			fail(p, n->pos, "non-default argument follows default argument");
		}
		append(&l, n);
	}
	expect(p, ')');
	return p->rc ? NULL : l.first;
}

static struct jj_node *parse_macro(struct parser *p, uint32_t pos, bool call)
{
	struct jj_node *n = node(p, JJN_MACRO, pos), *outer = p->macro;
	struct jj_val name = p->cur.v;
	if (!call) expect(p, JJT_NAME);
	if (p->rc) return n;
	n->sym = symbol(p, call ? jj_cstr("caller") : name);
	p->macro = n;
	if (!call || p->cur.t == '(') child(p, n, &n->a, parse_signature(p));
	struct jj_node *what = NULL;
	if (call) {
		p->macro = outer;
		what = parse_expr(p, true);
		if (!p->rc && what->kind != JJN_CALL) fail(p, pos, "expected a call");
		p->macro = n;
	}
	struct jj_node *body = parse_function_body(p, call ? "endcall" : "endmacro");
	p->macro = outer;
	if (outer && !p->rc) outer->op |= n->op & JJ_USES_CALLER;
	n->c = body;
	if (!call || p->rc) return n;
	struct jj_node *block = node(p, JJN_CALLBLOCK, pos);
	block->a = n;
	block->b = what;
	return block;
}

static struct jj_node *parse_with(struct parser *p, uint32_t pos)
{
	static const char *const end[] = { "endwith", NULL };
	struct jj_node *n = node(p, JJN_WITH, pos);
	struct chain l = { 0 };
	while (p->cur.t != JJT_BLOCK_END && !p->rc) {
		if (l.first) expect(p, ',');
		struct jj_node *set = node(p, JJN_SET, p->cur.pos);
		child(p, set, &set->a, parse_primary(p, true));
		check_target(p, set->a, true);
		expect(p, '=');
		child(p, set, &set->b, parse_expr(p, true));
		if (!p->rc) append(&l, set);
	}
	struct jj_node *body = parse_body(p, end);
	next(p);
	if (p->rc) return n;
	n->a = l.first;
	n->c = body;
	return n;
}

static struct jj_node *parse_filter_block(struct parser *p, uint32_t pos)
{
	static const char *const end[] = { "endfilter", NULL };
	struct jj_node *n = node(p, JJN_FILTERBLOCK, pos), *f = parse_filter(p, NULL);
	while (!p->rc && skip(p, '|')) f = parse_filter(p, f);
	struct jj_node *body = parse_body(p, end);
	next(p);
	if (p->rc) return n;
	n->b = f;
	n->c = body;
	return n;
}

static struct jj_node *parse_print(struct parser *p, uint32_t pos)
{
	struct chain l = { 0 };
	while (p->cur.t != JJT_BLOCK_END && !p->rc) {
		if (l.first) expect(p, ',');
		struct jj_node *n = unary(p, JJN_PRINT, pos, parse_expr(p, true));
		if (!p->rc) append(&l, n);
	}
	struct jj_node *n = node(p, JJN_IF, pos);     /* a chain in one node */
	if (p->rc) return n;
	n->a = constant(p, pos, jj_bool(true));
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
	fail(p, t->pos, "unknown tag %s%s", describe(t, buf), text);
	return node(p, JJN_SCOPE, t->pos);
}

static struct jj_node *parse_statement(struct parser *p)
{
	struct jj_token t = p->cur;
	char buf[48];
	if (t.t != JJT_NAME) {
		fail(p, t.pos, "expected the name of a tag, got %s", describe(&t, buf));
		return node(p, JJN_SCOPE, t.pos);
	}
	next(p);
	if (is(t.v, "for")) return parse_for(p, t.pos);
	if (is(t.v, "if")) return parse_if(p, t.pos);
	if (is(t.v, "set")) return parse_set(p, t.pos);
	if (is(t.v, "macro")) return parse_macro(p, t.pos, false);
	if (is(t.v, "call")) return parse_macro(p, t.pos, true);
	if (is(t.v, "with")) return parse_with(p, t.pos);
	if (is(t.v, "filter")) return parse_filter_block(p, t.pos);
	if (is(t.v, "print")) return parse_print(p, t.pos);
	if (is(t.v, "break") || is(t.v, "continue")) {
		if (!p->loops) fail(p, t.pos, "'%.*s' outside of a loop", (int)t.v.n, t.v.s);
		return node(p, is(t.v, "break") ? JJN_BREAK : JJN_CONTINUE, t.pos);
	}
	if (is(t.v, "generation")) {
		struct jj_node *n = node(p, JJN_SCOPE, t.pos), *body = parse_function_body(p, "endgeneration");
		n->c = body;
		return n;
	}
	return unknown_tag(p, &t);
}

/* Statements up to "{% end": the tag's name is then the current token.  end NULL: to the end of the template. */
static struct jj_node *parse_statements(struct parser *p, const char *const *end)
{
	struct chain l = { 0 };
	while (!p->rc && p->cur.t != JJT_EOF) {
		struct jj_token t = p->cur;
		struct jj_node *n;
		next(p);
		if (t.t == JJT_DATA) {
			n = node(p, JJN_TEXT, t.pos);
			if (!p->rc) n->v = t.v;
		} else if (t.t == JJT_VAR_BEGIN) {
			n = unary(p, JJN_PRINT, t.pos, parse_tuple(p, false, true, false, NULL));
			expect(p, JJT_VAR_END);
		} else {
			for (int i = 0; end && end[i]; i++)
				if (at_word(p, end[i])) return l.first;
			n = parse_statement(p);
			expect(p, JJT_BLOCK_END);
		}
		if (!p->rc) append(&l, n);
	}
	if (end && !p->rc) fail(p, p->cur.pos, "unexpected end of the template, expected '%s'", end[0]);
	return p->rc ? NULL : l.first;
}

static struct jj_node *parse_body(struct parser *p, const char *const *end)
{
	const char *const *outer = p->end;
	struct jj_node *n = NULL;
	skip(p, ':');
	expect(p, JJT_BLOCK_END);
	p->end = end;
	if (deeper(p)) n = parse_statements(p, end);
	p->depth--;
	p->end = outer;
	return n;
}

int jj_parse(struct chat *c, struct lm_err *err)
{
	struct parser p = { .c = c, .err = err };
	p.lex = (struct jj_lexer){ .src = c->src, .n = c->len, .mem = c->mem, .err = err, .line_start = true };
	next(&p);
	c->body = parse_statements(&p, NULL);
	return p.rc;
}
