/* jinja_expr.c - the parser's tools, and expressions to tree. */
#include "tokenizer/jinja_parse.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct jj_node *parse_unary(struct parser *p, bool filters);
static struct jj_node *parse_postfix(struct parser *p, struct jj_node *a);

int jjp_fail(struct parser *p, uint32_t pos, const char *fmt, ...)
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

int jjp_no_memory(struct parser *p)
{
	if (!p->rc) p->rc = lm_fail(p->err, LM_ENOMEM, "chat template: out of memory");
	p->cur.t = JJT_EOF;
	return p->rc;
}

void jjp_next(struct parser *p)
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

bool jjp_at_word(const struct parser *p, const char *word)
{
	return p->cur.t == JJT_NAME && jj_is(p->cur.v, word);
}

bool jjp_skip(struct parser *p, int t)
{
	if (p->cur.t != t) return false;
	jjp_next(p);
	return true;
}

bool jjp_skip_word(struct parser *p, const char *word)
{
	if (!jjp_at_word(p, word)) return false;
	jjp_next(p);
	return true;
}

const char *jjp_describe(const struct jj_token *t, char buf[48])
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

void jjp_expect(struct parser *p, int t)
{
	char a[48], b[48];
	struct jj_token want = { .t = t };
	if (jjp_skip(p, t) || p->rc) return;
	const char *what = t == JJT_NAME ? "a name" : jjp_describe(&want, a);
	jjp_fail(p, p->cur.pos, "expected %s, got %s", what, jjp_describe(&p->cur, b));
}

/* A node at `pos`; never NULL: after an error a shared dummy, so that callers need not look. */
struct jj_node *jjp_node(struct parser *p, int kind, uint32_t pos)
{
	struct jj_node *n = p->rc ? NULL : lm_new(p->c->mem, struct jj_node, 1);
	if (!n) {
		if (!p->rc) jjp_no_memory(p);
		return &p->dummy;
	}
	n->kind = (uint8_t)kind;
	n->pos = pos;
	n->height = 1;
	return n;
}

/* Sets a child, keeps track of the height. */
void jjp_child(struct parser *p, struct jj_node *n, struct jj_node **at, struct jj_node *kid)
{
	if (p->rc) return;
	*at = kid;
	for (; kid; kid = kid->next)
		if (kid->height >= n->height) n->height = (uint16_t)(kid->height + 1);
	if (n->height > JJ_DEPTH)
		jjp_fail(p, n->pos, "expression nested too deeply (%d levels at most)", JJ_DEPTH);
}

struct jj_node *jjp_unary(struct parser *p, int kind, uint32_t pos, struct jj_node *a)
{
	struct jj_node *n = jjp_node(p, kind, pos);
	jjp_child(p, n, &n->a, a);
	return n;
}

static struct jj_node *binary(struct parser *p, int kind, uint32_t pos, int op, struct jj_node *a,
			      struct jj_node *b)
{
	struct jj_node *n = jjp_unary(p, kind, pos, a);
	if (p->rc) return n;
	n->op = (uint8_t)op;
	jjp_child(p, n, &n->b, b);
	return n;
}

/* ---- symbols ------------------------------------------------------------------------------------------- */
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
	bool *seen = lm_new(p->c->mem, bool, cap);
	int *slot = lm_new(p->c->mem, int, cap * 2);
	if (!sym || !slot || !seen) return false;
	if (p->c->n_sym) memcpy(sym, p->c->sym, (size_t)p->c->n_sym * sizeof *sym);
	if (p->c->n_sym) memcpy(seen, p->c->read, (size_t)p->c->n_sym * sizeof *seen);
	p->c->sym = sym;
	p->c->read = seen;
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

int jjp_symbol(struct parser *p, struct jj_val name)
{
	if (p->rc) return 0;
	if (p->c->n_sym == p->cap_sym && !grow_symbols(p)) return jjp_no_memory(p), 0;
	uint32_t mask = (uint32_t)(p->n_slot - 1), h = hash(name) & mask;
	for (; p->slot[h]; h = (h + 1) & mask) {
		struct jj_val s = p->c->sym[p->slot[h] - 1];
		if (s.n == name.n && memcmp(s.s, name.s, s.n) == 0) return p->slot[h] - 1;
	}
	p->c->sym[p->c->n_sym] = name;
	p->slot[h] = ++p->c->n_sym;
	return p->c->n_sym - 1;
}

/* ---- expressions --------------------------------------------------------------------------------------- */

void jjp_append(struct chain *l, struct jj_node *n)
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
	jjp_expect(p, '(');
	while (p->cur.t != ')' && !p->rc) {
		if (!first) {
			jjp_expect(p, ',');
			if (p->cur.t == ')') break;
		}
		first = false;
		struct jj_node *n;
		if (p->cur.t == '*' || p->cur.t == JJT_POW) {
			bool two = p->cur.t == JJT_POW;
			if (dict || (star && !two))
				jjp_fail(p, pos, "invalid syntax for function call expression");
			jjp_next(p);
			n = jjp_unary(p, two ? JJN_STARSTAR : JJN_STAR, pos, jjp_expr(p, true));
			*(two ? &dict : &star) = true;
		} else if (p->cur.t == JJT_NAME && look(p) == '=') {
			struct jj_val name = p->cur.v;
			if (dict) jjp_fail(p, pos, "invalid syntax for function call expression");
			jjp_next(p);
			jjp_next(p);
			n = jjp_unary(p, JJN_KW, pos, jjp_expr(p, true));
			if (!p->rc) n->v = name;
			kw = true;
		} else {
			if (kw || star || dict)
				jjp_fail(p, pos, "invalid syntax for function call expression");
			n = jjp_expr(p, true);
		}
		if (!p->rc) jjp_append(&l, n);
	}
	jjp_expect(p, ')');
	return p->rc ? NULL : l.first;
}

static struct jj_node *parse_subscribed(struct parser *p)
{
	uint32_t pos = p->cur.pos;
	struct jj_node *lim[3] = { NULL };
	if (p->cur.t != ':') {
		lim[0] = jjp_expr(p, true);
		if (p->cur.t != ':') return lim[0];
	}
	jjp_next(p);
	if (p->cur.t != ':' && p->cur.t != ']' && p->cur.t != ',') lim[1] = jjp_expr(p, true);
	if (jjp_skip(p, ':') && p->cur.t != ']' && p->cur.t != ',') lim[2] = jjp_expr(p, true);
	struct jj_node *n = jjp_node(p, JJN_SLICE, pos);
	if (lim[0]) jjp_child(p, n, &n->a, lim[0]);
	if (lim[1]) jjp_child(p, n, &n->b, lim[1]);
	if (lim[2]) jjp_child(p, n, &n->c, lim[2]);
	return n;
}

static struct jj_node *parse_subscript(struct parser *p, struct jj_node *a)
{
	uint32_t pos = p->cur.pos;
	if (jjp_skip(p, '.')) {
		struct jj_token t = p->cur;
		jjp_next(p);
		if (t.t == JJT_NAME) {
			struct jj_node *n = jjp_unary(p, JJN_ATTR, pos, a);
			if (!p->rc) n->v = t.v;
			return n;
		}
		if (t.t != JJT_INT) jjp_fail(p, t.pos, "expected a name or number after '.'");
		struct jj_node *key = jjp_node(p, JJN_CONST, t.pos);
		if (!p->rc) key->v = t.v;
		return binary(p, JJN_ITEM, pos, 0, a, key);
	}
	struct chain l = { 0 };
	int count = 0;
	jjp_expect(p, '[');
	while (p->cur.t != ']' && !p->rc) {
		if (count++) jjp_expect(p, ',');
		struct jj_node *n = parse_subscribed(p);
		if (!p->rc) jjp_append(&l, n);
	}
	jjp_expect(p, ']');
	if (p->rc || count == 1) return binary(p, JJN_ITEM, pos, 0, a, l.first);
	return binary(p, JJN_ITEM, pos, 0, a, jjp_unary(p, JJN_TUPLE, pos, l.first));
}

/* "name(args)" of a filter or test, dots in the name included. */
static struct jj_val parse_dotted(struct parser *p)
{
	struct jj_val name = p->cur.v;
	jjp_expect(p, JJT_NAME);
	while (p->cur.t == '.' && !p->rc) {
		jjp_next(p);
		struct jj_val part = p->cur.v;
		jjp_expect(p, JJT_NAME);
		if (!p->rc) name.n = (uint32_t)(part.s + part.n - name.s);
	}
	return p->rc ? jj_cstr("") : name;
}

struct jj_node *jjp_filter(struct parser *p, struct jj_node *a)
{
	uint32_t pos = p->cur.pos;
	struct jj_val name = parse_dotted(p);
	struct jj_node *n = jjp_unary(p, JJN_FILTER, pos, a);
	if (p->rc) return n;
	n->v = name;
	n->fn = jj_filter(name);
	if (!n->fn && !p->soft)
		jjp_fail(p, pos, "no filter named '%.*s'", (int)(name.n > 60 ? 60 : name.n), name.s);
	if (p->cur.t == '(') jjp_child(p, n, &n->b, parse_args(p));
	return n;
}


static struct jj_node *parse_test(struct parser *p, struct jj_node *a)
{
	uint32_t pos = p->cur.pos;
	bool negated = jjp_skip_word(p, "not");
	struct jj_val name = parse_dotted(p);
	struct jj_node *n = jjp_unary(p, JJN_TEST, pos, a);
	if (p->rc) return n;
	n->v = name;
	n->fn = jj_test(name);
	if (!n->fn && !p->soft)
		jjp_fail(p, pos, "no test named '%.*s'", (int)(name.n > 60 ? 60 : name.n), name.s);
	int t = p->cur.t;
	if (t == '(') {
		jjp_child(p, n, &n->b, parse_args(p));
	} else if ((t == JJT_NAME && !jjp_at_word(p, "else") && !jjp_at_word(p, "or") &&
		    !jjp_at_word(p, "and")) ||
		   t == JJT_STRING || t == JJT_INT || t == JJT_FLOAT || t == '[' || t == '{') {
		if (jjp_at_word(p, "is")) jjp_fail(p, p->cur.pos, "tests cannot be chained with 'is'");
		jjp_child(p, n, &n->b, parse_postfix(p, jjp_primary(p, false)));
	}
	return negated ? jjp_unary(p, JJN_NOT, pos, n) : n;
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
		if (jjp_skip(p, '|')) a = jjp_filter(p, a);
		else if (jjp_skip_word(p, "is")) a = parse_test(p, a);
		else if (p->cur.t == '(') a = parse_call(p, a);
		else break;
	}
	return a;
}

static struct jj_node *parse_list(struct parser *p, bool dict)
{
	struct jj_node *n = jjp_node(p, dict ? JJN_DICT : JJN_LIST, p->cur.pos);
	struct chain l = { 0 };
	int end = dict ? '}' : ']';
	bool first = true;
	jjp_next(p);
	while (p->cur.t != end && !p->rc) {
		if (!first) jjp_expect(p, ',');
		first = false;
		if (p->cur.t == end) break;
		uint32_t pos = p->cur.pos;
		struct jj_node *v = jjp_expr(p, true);
		if (dict) {
			jjp_expect(p, ':');
			v = binary(p, JJN_PAIR, pos, 0, v, jjp_expr(p, true));
		}
		if (!p->rc) jjp_append(&l, v);
	}
	jjp_expect(p, end);
	jjp_child(p, n, &n->a, l.first);
	return n;
}

struct jj_node *jjp_constant(struct parser *p, uint32_t pos, struct jj_val v)
{
	struct jj_node *n = jjp_node(p, JJN_CONST, pos);
	if (!p->rc) n->v = v;
	return n;
}

static struct jj_node *parse_name(struct parser *p, bool target)
{
	struct jj_token t = p->cur;
	jjp_next(p);
	if (jj_is(t.v, "true") || jj_is(t.v, "True")) return jjp_constant(p, t.pos, jj_bool(true));
	if (jj_is(t.v, "false") || jj_is(t.v, "False")) return jjp_constant(p, t.pos, jj_bool(false));
	if (jj_is(t.v, "none") || jj_is(t.v, "None")) return jjp_constant(p, t.pos, jj_none());
	struct jj_node *n = jjp_node(p, JJN_NAME, t.pos);
	if (p->rc) return n;
	n->sym = jjp_symbol(p, t.v);
	if (!target && !p->rc) p->c->read[n->sym] = true;
	if (target && jjp_skip(p, '.')) {
		n->kind = JJN_NSREF;
		n->v = p->cur.v;
		jjp_expect(p, JJT_NAME);
	} else if (p->macro) {
		p->macro->op |= (uint8_t)(jj_is(t.v, "caller")    ? JJ_USES_CALLER
					  : jj_is(t.v, "kwargs")  ? JJ_USES_KWARGS
					  : jj_is(t.v, "varargs") ? JJ_USES_VARARGS
								  : 0);
	}
	return n;
}

/* Adjacent string literals are one. */
static struct jj_node *parse_string(struct parser *p)
{
	struct jj_node *n = jjp_constant(p, p->cur.pos, p->cur.v);
	struct lm_buf b = { 0 };
	jjp_next(p);
	if (p->cur.t != JJT_STRING || p->rc) return n;
	lm_buf_add(&b, n->v.s, n->v.n);
	for (; p->cur.t == JJT_STRING && !p->rc; jjp_next(p)) lm_buf_add(&b, p->cur.v.s, p->cur.v.n);
	const char *s = b.bad ? NULL : lm_arena_str(p->c->mem, b.p, b.n);
	if (!s) jjp_no_memory(p);
	else n->v = jj_view(s, b.n);
	lm_buf_free(&b);
	return n;
}

struct jj_node *jjp_primary(struct parser *p, bool target)
{
	struct jj_token t = p->cur;
	struct jj_node *n;
	char buf[48];
	switch (t.t) {
	case JJT_NAME: return parse_name(p, target);
	case JJT_STRING: return parse_string(p);
	case JJT_INT:
	case JJT_FLOAT: jjp_next(p); return jjp_constant(p, t.pos, t.v);
	case '(':
		jjp_next(p);
		n = jjp_tuple(p, false, true, true, NULL);
		jjp_expect(p, ')');
		return n;
	case '[': return parse_list(p, false);
	case '{': return parse_list(p, true);
	default:
		jjp_fail(p, t.pos, "unexpected %s, expected an expression", jjp_describe(&t, buf));
		return jjp_node(p, JJN_CONST, t.pos);
	}
}

bool jjp_deeper(struct parser *p)
{
	if (++p->depth <= JJ_DEPTH) return true;
	jjp_fail(p, p->cur.pos, "nested too deeply (%d levels at most)", JJ_DEPTH);
	return false;
}

static struct jj_node *parse_unary(struct parser *p, bool filters)
{
	struct jj_node *n;
	uint32_t pos = p->cur.pos;
	int op = p->cur.t;
	if (op == '-' || op == '+') {
		jjp_next(p);
		n = jjp_deeper(p) ? parse_unary(p, false) : jjp_node(p, JJN_CONST, pos);
		p->depth--;
		n = jjp_unary(p, op == '-' ? JJN_NEG : JJN_POS, pos, n);
	} else {
		n = jjp_primary(p, false);
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
		jjp_next(p);
		struct jj_node *b = parse_math(p, level + 1);
		if (level != 1) n = binary(p, JJN_BIN, pos, t, n, b);
		else if (!p->rc) {
			if (!l.first) jjp_append(&l, n);
			jjp_append(&l, b);
		}
	}
	return l.first ? jjp_unary(p, JJN_CONCAT, l.first->pos, l.first) : n;
}

static struct jj_node *parse_compare(struct parser *p)
{
	struct jj_node *a = parse_math(p, 0);
	struct chain l = { 0 };
	uint32_t pos = p->cur.pos;
	while (!p->rc) {
		int t = p->cur.t, op = t;
		uint32_t at = p->cur.pos;
		if (t == JJT_NAME && jj_is(p->cur.v, "in")) op = JJT_IN;
		else if (t == JJT_NAME && jj_is(p->cur.v, "not") && look(p) == JJT_NAME &&
			 jj_is(p->ahead.v, "in"))
			op = JJT_NOTIN;
		else if (t != JJT_EQ && t != JJT_NE && t != JJT_GE && t != JJT_LE && t != '<' && t != '>')
			break;
		jjp_next(p);
		if (op == JJT_NOTIN) jjp_next(p);
		struct jj_node *n = jjp_unary(p, JJN_OPERAND, at, parse_math(p, 0));
		if (p->rc) break;
		n->op = (uint8_t)op;
		jjp_append(&l, n);
	}
	return l.first ? binary(p, JJN_CMP, pos, 0, a, l.first) : a;
}

static struct jj_node *parse_not(struct parser *p)
{
	uint32_t pos = p->cur.pos;
	if (!jjp_at_word(p, "not")) return parse_compare(p);
	jjp_next(p);
	struct jj_node *n = jjp_deeper(p) ? parse_not(p) : jjp_node(p, JJN_CONST, pos);
	p->depth--;
	return jjp_unary(p, JJN_NOT, pos, n);
}

static struct jj_node *parse_or(struct parser *p, bool and)
{
	struct jj_node *n = and ? parse_not(p) : parse_or(p, true);
	for (;;) {
		uint32_t pos = p->cur.pos;
		if (p->rc || !jjp_skip_word(p, and ? "and" : "or")) return n;
		n = binary(p, and ? JJN_AND : JJN_OR, pos, 0, n, and ? parse_not(p) : parse_or(p, true));
	}
}

struct jj_node *jjp_expr(struct parser *p, bool cond)
{
	bool soft = p->soft;
	struct jj_node *n = jjp_deeper(p) ? parse_or(p, false) : &p->dummy;
	while (cond && !p->rc && jjp_at_word(p, "if")) {
		struct jj_node *c = jjp_node(p, JJN_COND, p->cur.pos);
		jjp_next(p);
		p->soft = true;
		jjp_child(p, c, &c->a, parse_or(p, false));
		jjp_child(p, c, &c->b, n);
		if (jjp_skip_word(p, "else")) jjp_child(p, c, &c->c, jjp_expr(p, true));
		n = c;
	}
	p->soft = soft;
	p->depth--;
	return n;
}

/* Expressions with commas make a tuple; `simple`: names and literals only (a target). */
struct jj_node *jjp_tuple(struct parser *p, bool simple, bool cond, bool parens, const char *stop)
{
	uint32_t pos = p->cur.pos;
	struct chain l = { 0 };
	bool tuple = false;
	char buf[48];
	for (;;) {
		int t = p->cur.t;
		if (p->rc || t == JJT_VAR_END || t == JJT_BLOCK_END || t == ')' ||
		    (stop && jjp_at_word(p, stop)))
			break;
		struct jj_node *n = simple ? jjp_primary(p, true) : jjp_expr(p, cond);
		if (p->rc) break;
		jjp_append(&l, n);
		if (p->cur.t != ',') break;
		tuple = true;
		jjp_next(p);
	}
	if (!tuple && l.first) return l.first;
	if (!tuple && !parens)
		jjp_fail(p, p->cur.pos, "expected an expression, got %s", jjp_describe(&p->cur, buf));
	struct jj_node *n = jjp_unary(p, JJN_TUPLE, pos, l.first);
	return n;
}
