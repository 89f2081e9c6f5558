/* jinja_exec.c - statements: text, if, for, set, macros, blocks. */
#include "tokenizer/jinja.h"
#include <stdio.h>

struct jj_loop {
	const struct jj_node *def;
	struct jj_scope *up;           /* scope around the loop, for the "if" of a "for ... if" */
	struct jj_iter it;
	struct jj_val cur, before, after, changed;
	int64_t index0, length;        /* length: -1 until asked for */
	int depth0;
	bool peeked, ended;            /* `after` holds the next item; there is none */
};

/* ---- variables ----------------------------------------------------------------------------------------- */
struct jj_scope *jj_scope(struct jj_run *r, struct jj_scope *up)
{
	struct jj_scope *s = jj_new(r, struct jj_scope, 1);
	if (s) s->up = up;
	return s;
}

void jj_set_var(struct jj_run *r, int sym, struct jj_val v)
{
	struct jj_scope *s = r->scope;
	if (r->rc) return;
	if (!s) {
		r->global[sym] = v;
		return;
	}
	for (int i = 0; i < s->n; i++)
		if (s->var[i].sym == sym) {
			s->var[i].v = v;
			return;
		}
	if (!jj_step(r, (size_t)s->n / 8)) return;
	if (s->n == s->cap) {
		int cap = s->cap ? 2 * s->cap : 4;
		void *p = jj_alloc(r, (size_t)cap, sizeof *s->var);
		if (!p) return;
		if (s->n) memcpy(p, s->var, (size_t)s->n * sizeof *s->var);
		s->var = p;
		s->cap = cap;
	}
	s->var[s->n].sym = sym;
	s->var[s->n++].v = v;
}

struct jj_val jj_get_var(const struct jj_run *r, int sym)
{
	for (const struct jj_scope *s = r->scope; s; s = s->up)
		for (int i = 0; i < s->n; i++)
			if (s->var[i].sym == sym) return s->var[i].v;
	return r->global[sym];
}

static void unpack(struct jj_run *r, const struct jj_node *target, struct jj_val v)
{
	struct jj_iter it;
	struct jj_val x;
	int want = 0, got = 0;
	if (v.t == JJ_UNDEF || !jj_iterable(v)) {
		if (v.t == JJ_UNDEF) jj_undef_fail(r, v);
		else jj_fail(r, LM_EINVAL, "cannot unpack non-iterable %s object", jj_type_name(v));
		return;
	}
	for (const struct jj_node *k = target->a; k; k = k->next) want++;
	if (!jj_iter(r, &it, v)) return;
	for (const struct jj_node *k = target->a; k; k = k->next, got++) {
		if (!jj_next(r, &it, &x)) {
			jj_fail(r, LM_EINVAL, "not enough values to unpack (expected %d, got %d)", want, got);
			return;
		}
		jj_assign(r, k, x);
	}
	if (jj_next(r, &it, &x)) jj_fail(r, LM_EINVAL, "too many values to unpack (expected %d)", want);
}

void jj_assign(struct jj_run *r, const struct jj_node *target, struct jj_val v)
{
	if (r->rc || !jj_enter(r, JJ_STACK)) return;
	if (target->kind == JJN_NAME) {
		jj_set_var(r, target->sym, v);
	} else if (target->kind == JJN_TUPLE) {
		unpack(r, target, v);
	} else {
		struct jj_val ns = jj_get_var(r, target->sym);
		r->at = target;
		if (ns.t != JJ_NS) jj_fail(r, LM_EINVAL, "cannot assign attribute on non-namespace object");
		else if (target->v.s[0] == '_')
			jj_fail(r, LM_EINVAL, "a namespace's attribute must not begin with an underscore");
		else jj_put(r, &ns.ns->d, target->v, v);
	}
	r->depth--;
}

/* ---- loops --------------------------------------------------------------------------------------------- */
static bool fetch(struct jj_run *r, struct jj_loop *l, struct jj_val *out)
{
	const struct jj_node *test = l->def->e;
	while (!l->ended && jj_next(r, &l->it, out)) {
		if (!test) return true;
		struct jj_scope *scope = r->scope;
		r->scope = jj_scope(r, l->up);
		jj_assign(r, l->def->a, *out);
		bool keep = jj_truth(jj_eval(r, test));
		r->scope = scope;
		if (r->rc) break;
		if (keep) return true;
	}
	l->ended = true;
	return false;
}

static bool peek(struct jj_run *r, struct jj_loop *l)
{
	if (!l->peeked) l->peeked = fetch(r, l, &l->after);
	return l->peeked;
}

/* Length of the loop: of what it runs over, or, where that is filtered or a generator, by taking all of the
 * rest. */
static int64_t loop_length(struct jj_run *r, struct jj_loop *l)
{
	if (l->length >= 0) return l->length;
	struct jj_val v = l->it.v, x;
	if (!l->def->e && !(v.t == JJ_SEQ && v.sub == JJ_GEN)) return l->length = jj_length(r, v);
	int n = 0, cap = 16;
	struct jj_val *rest = jj_new(r, struct jj_val, cap);
	while (rest && fetch(r, l, &x)) {
		if (n == cap) {
			struct jj_val *more = jj_new(r, struct jj_val, 2 * cap);
			if (!more) break;
			memcpy(more, rest, (size_t)n * sizeof *rest);
			rest = more;
			cap *= 2;
		}
		rest[n++] = x;
	}
	struct jj_val list = jj_seq(r, JJ_LIST, 0);
	if (r->rc) return 0;
	list.q->v = rest;
	list.q->n = n;
	l->it = (struct jj_iter){ .v = list };
	l->ended = false;
	/* the rest is filtered already: run over it as over a plain list */
	struct jj_node *def = jj_new(r, struct jj_node, 1);
	if (!def) return 0;
	*def = *l->def;
	def->e = NULL;
	l->def = def;
	return l->length = l->index0 + 1 + (l->peeked ? 1 : 0) + n;
}

static struct jj_val loop_cycle(struct jj_run *r, struct jj_val self, const struct jj_val *p,
				const struct jj_args *raw)
{
	(void)p;
	if (!raw->n) return jj_fail(r, LM_EINVAL, "no items for cycling given");
	return raw->v[self.l->index0 % raw->n];
}

static struct jj_val loop_changed(struct jj_run *r, struct jj_val self, const struct jj_val *p,
				  const struct jj_args *raw)
{
	struct jj_val now = jj_seq(r, JJ_TUPLE, raw->n);
	(void)p;
	if (r->rc) return now;
	if (raw->n) memcpy(now.q->v, raw->v, (size_t)raw->n * sizeof *raw->v);
	bool same = self.l->changed.t == JJ_SEQ && jj_eq(r, self.l->changed, now);
	self.l->changed = now;
	return jj_bool(!same);
}

bool jj_loop_attr(struct jj_run *r, struct jj_val v, struct jj_val name, struct jj_val *out)
{
	static const struct jj_fn cycle = { "cycle", "*", loop_cycle },
				  changed = { "changed", "*", loop_changed };
	struct jj_loop *l = v.l;
	if (jj_is(name, "index0")) *out = jj_int(l->index0);
	else if (jj_is(name, "index")) *out = jj_int(l->index0 + 1);
	else if (jj_is(name, "first")) *out = jj_bool(l->index0 == 0);
	else if (jj_is(name, "last")) *out = jj_bool(!peek(r, l));
	else if (jj_is(name, "length")) *out = jj_int(loop_length(r, l));
	else if (jj_is(name, "revindex")) *out = jj_int(loop_length(r, l) - l->index0);
	else if (jj_is(name, "revindex0")) *out = jj_int(loop_length(r, l) - l->index0 - 1);
	else if (jj_is(name, "depth0")) *out = jj_int(l->depth0);
	else if (jj_is(name, "depth")) *out = jj_int(l->depth0 + 1);
	else if (jj_is(name, "previtem"))
		*out = l->index0 ? l->before : jj_undef(r, "there is no previous item", NULL, name);
	else if (jj_is(name, "nextitem"))
		*out = peek(r, l) ? l->after : jj_undef(r, "there is no next item", NULL, name);
	else if (jj_is(name, "cycle") || jj_is(name, "changed")) {
		struct jj_method *m = jj_new(r, struct jj_method, 1);
		if (m) *m = (struct jj_method){ v, jj_is(name, "cycle") ? &cycle : &changed };
		*out = (struct jj_val){ .t = m ? JJ_METHOD : JJ_UNDEF, .mt = m };
	} else {
		return false;
	}
	return true;
}

/* One pass of the body in a scope of its own; true when it came to its end. */
static bool loop_body(struct jj_run *r, struct jj_loop *l, struct jj_scope **scope)
{
	const struct jj_node *body = l->def->c, *target = l->def->a;
	if (!*scope || (*scope)->kept) *scope = jj_scope(r, l->up);
	if (!*scope) return false;
	(*scope)->n = 0;
	r->scope = *scope;
	if (r->sym_loop >= 0) jj_set_var(r, r->sym_loop, (struct jj_val){ .t = JJ_LOOP, .l = l });
	jj_assign(r, target, l->cur);
	jj_exec(r, body);
	r->scope = l->up;
	return !r->rc && !r->flow;
}

static void exec_for(struct jj_run *r, const struct jj_node *n, struct jj_val items, struct jj_scope *up,
		     int depth0)
{
	struct jj_loop *l = jj_new(r, struct jj_loop, 1);
	struct jj_scope *outer = r->scope, *scope = NULL;
	bool ran = false;
	if (!l) return;
	*l = (struct jj_loop){ .def = n, .up = up, .index0 = -1, .length = -1, .depth0 = depth0 };
	if (!jj_iter(r, &l->it, items)) return;
	for (;;) {
		struct jj_val x = l->after;
		if (l->peeked) l->peeked = false;
		else if (!fetch(r, l, &x)) break;
		l->index0++;
		l->before = l->cur;
		l->cur = x;
		/* as jinja2 does it: a pass left by break or continue does not count against the else */
		if (loop_body(r, l, &scope)) ran = true;
		int flow = r->flow;
		r->flow = 0;
		if (r->rc || flow == JJN_BREAK) break;
	}
	if (!ran && n->d && !r->rc) {
		r->scope = jj_scope(r, up);
		jj_exec(r, n->d);
	}
	r->scope = outer;
}

struct jj_val jj_loop_call(struct jj_run *r, struct jj_loop *l, struct jj_val items)
{
	struct lm_buf b = { 0 }, *out = r->out;
	if (l->def->op != JJ_RECURSIVE)
		return jj_fail(r, LM_EINVAL,
			       "the loop must have the 'recursive' marker to be called recursively");
	if (r->calls >= JJ_DEPTH)
		return jj_fail(r, LM_ELIMIT, "loops nested more than %d levels deep", JJ_DEPTH);
	r->calls++;
	r->out = &b;
	exec_for(r, l->def, items, l->up, l->depth0 + 1);
	r->out = out;
	r->calls--;
	return jj_take(r, &b);
}

/* ---- macros -------------------------------------------------------------------------------------------- */
static struct jj_val make_macro(struct jj_run *r, const struct jj_node *n)
{
	struct jj_macro *m = jj_new(r, struct jj_macro, 1);
	if (!m) return (struct jj_val){ 0 };
	*m = (struct jj_macro){ n, r->scope, r->c->sym[n->sym] };
	for (struct jj_scope *s = r->scope; s && !s->kept; s = s->up) s->kept = true;
	return (struct jj_val){ .t = JJ_MACRO, .m = m };
}

static struct jj_val *find_kw(const struct jj_args *a, struct jj_val name)
{
	for (int i = 0; i < a->n_kw; i++)
		if (a->kw[i].len == name.n && memcmp(a->kw[i].name, name.s, name.n) == 0) return &a->kw[i].v;
	return NULL;
}

/* kwargs, varargs and caller: bound where the macro names them, an error where it does not. */
static void bind_rest(struct jj_run *r, const struct jj_macro *m, const struct jj_args *a, int n_param)
{
	int used = m->def->op;
	struct jj_val kwargs = jj_dict(r, 0), caller = { .t = JJ_MISSING };
	for (int i = 0; i < a->n_kw && !r->rc; i++) {
		struct jj_val name = jj_view(a->kw[i].name, a->kw[i].len);
		bool param = false;
		int at = 0;
		for (const struct jj_node *p = m->def->a; p; p = p->next, at++)
			if (jj_eq(r, r->c->sym[p->sym], name)) param = at >= a->n;
		if (param) continue;
		if (jj_is(name, "caller") && (used & JJ_USES_CALLER)) caller = a->kw[i].v;
		else if (used & JJ_USES_KWARGS) jj_put(r, kwargs.d, name, a->kw[i].v);
		else
			jj_fail(r, LM_EINVAL, "macro '%.*s' takes no keyword argument '%.*s'", (int)m->name.n,
				m->name.s, (int)(name.n > 60 ? 60 : name.n), name.s);
	}
	if (a->n > n_param && !(used & JJ_USES_VARARGS))
		jj_fail(r, LM_EINVAL, "macro '%.*s' takes not more than %d argument(s)", (int)m->name.n,
			m->name.s, n_param);
	if ((used & JJ_USES_CALLER) && r->sym_caller >= 0) {
		if (caller.t == JJ_MISSING)
			caller = jj_undef(r, "No caller defined", NULL, jj_cstr("caller"));
		jj_set_var(r, r->sym_caller, caller);
	}
	if (used & JJ_USES_KWARGS) jj_set_var(r, r->sym_kwargs, kwargs);
	if (used & JJ_USES_VARARGS) {
		int n = a->n > n_param ? a->n - n_param : 0;
		struct jj_val rest = jj_seq(r, JJ_TUPLE, n);
		if (!r->rc && n) memcpy(rest.q->v, a->v + n_param, (size_t)n * sizeof *a->v);
		jj_set_var(r, r->sym_varargs, rest);
	}
}

static void bind_params(struct jj_run *r, const struct jj_macro *m, const struct jj_args *a)
{
	int i = 0, n_param = 0;
	for (const struct jj_node *p = m->def->a; p; p = p->next) n_param++;
	bind_rest(r, m, a, n_param);
	for (const struct jj_node *p = m->def->a; p && !r->rc; p = p->next, i++) {
		struct jj_val name = r->c->sym[p->sym], v;
		const struct jj_val *kw = find_kw(a, name);
		if (i < a->n) v = a->v[i];
		else if (kw) v = *kw;
		else if (p->a) v = jj_eval(r, p->a);
		else {
			char *hint = jj_new(r, char, name.n + 40);
			if (!hint) return;
			snprintf(hint, name.n + 40, "parameter '%.*s' was not provided", (int)name.n, name.s);
			v = jj_undef(r, hint, NULL, name);
		}
		jj_set_var(r, p->sym, v);
	}
}

struct jj_val jj_macro_call(struct jj_run *r, struct jj_macro *m, const struct jj_args *a)
{
	struct lm_buf b = { 0 }, *out = r->out;
	struct jj_scope *outer = r->scope;
	if (r->calls >= JJ_DEPTH)
		return jj_fail(r, LM_ELIMIT, "macro calls nested more than %d levels deep", JJ_DEPTH);
	r->calls++;
	r->scope = jj_scope(r, m->scope);
	r->out = &b;
	bind_params(r, m, a);
	jj_exec(r, m->def->c);
	r->out = out;
	r->scope = outer;
	r->calls--;
	return jj_take(r, &b);
}

/* ---- statements ---------------------------------------------------------------------------------------- */
/* Runs a body in a scope of its own and catches what it writes. */
static struct jj_val capture(struct jj_run *r, const struct jj_node *body)
{
	struct lm_buf b = { 0 }, *out = r->out;
	struct jj_scope *outer = r->scope;
	r->out = &b;
	r->scope = jj_scope(r, outer);
	jj_exec(r, body);
	r->out = out;
	r->scope = outer;
	return jj_take(r, &b);
}

/* The filters of a block: their innermost has no operand of its own. */
static struct jj_val filter_text(struct jj_run *r, const struct jj_node *f, struct jj_val text)
{
	struct jj_args a;
	if (!f || r->rc) return text;
	if (!jj_enter(r, JJ_STACK)) return text;
	if (f->a) text = filter_text(r, f->a, text);
	r->at = f;
	if (!f->fn) jj_fail(r, LM_EINVAL, "no filter named '%.*s'", (int)(f->v.n > 60 ? 60 : f->v.n), f->v.s);
	if (jj_args(r, f->b, &a)) text = jj_apply(r, f->fn, text, &a);
	r->depth--;
	return text;
}

static void exec_if(struct jj_run *r, const struct jj_node *n)
{
	while (!r->rc) {
		if (jj_truth(jj_eval(r, n->a))) {
			jj_exec(r, n->b);
			return;
		}
		/* a chain of elif is walked, not descended into */
		if (!n->c || n->c->kind != JJN_IF || n->c->next) break;
		n = n->c;
	}
	jj_exec(r, n->c);
}

static void exec_with(struct jj_run *r, const struct jj_node *n)
{
	struct jj_scope *outer = r->scope, *inner = jj_scope(r, outer);
	for (const struct jj_node *s = n->a; s && !r->rc; s = s->next) {
		struct jj_val v = jj_eval(r, s->b);     /* values see the outer scope */
		r->scope = inner;
		jj_assign(r, s->a, v);
		r->scope = outer;
	}
	r->scope = inner;
	jj_exec(r, n->c);
	r->scope = outer;
}

static void exec_call(struct jj_run *r, const struct jj_node *n)
{
	struct jj_args a;
	struct jj_val f = jj_eval(r, n->b->a);
	if (!jj_args(r, n->b->b, &a)) return;
	a.kw[a.n_kw++] = (struct jj_kw){ "caller", 6, make_macro(r, n->a) };
	jj_write_str(r, r->out, jj_call(r, f, &a));
}

static void check_namespaces(struct jj_run *r, const struct jj_node *t)
{
	if (t->kind == JJN_NSREF && jj_get_var(r, t->sym).t != JJ_NS) {
		r->at = t;
		jj_fail(r, LM_EINVAL, "cannot assign attribute on non-namespace object");
	}
	for (const struct jj_node *k = t->kind == JJN_TUPLE ? t->a : NULL; k && !r->rc; k = k->next)
		check_namespaces(r, k);
}

static void exec_one(struct jj_run *r, const struct jj_node *n)
{
	switch (n->kind) {
	case JJN_TEXT: jj_write(r, r->out, n->v.s, n->v.n); break;
	case JJN_PRINT: jj_write_str(r, r->out, jj_eval(r, n->a)); break;
	case JJN_IF: exec_if(r, n); break;
	case JJN_FOR: exec_for(r, n, jj_eval(r, n->b), r->scope, 0); break;
	case JJN_SET:
		check_namespaces(r, n->a);
		jj_assign(r, n->a, jj_eval(r, n->b));
		break;
	case JJN_SETBLOCK: jj_assign(r, n->a, filter_text(r, n->b, capture(r, n->c))); break;
	case JJN_FILTERBLOCK: {
		struct jj_val v = filter_text(r, n->b, capture(r, n->c));
		if (v.t == JJ_STR) jj_write(r, r->out, v.s, v.n);
		else jj_fail(r, LM_EINVAL, "a filter block must give a str, not %s", jj_type_name(v));
		break;
	}
	case JJN_MACRO: jj_set_var(r, n->sym, make_macro(r, n)); break;
	case JJN_CALLBLOCK: exec_call(r, n); break;
	case JJN_WITH: exec_with(r, n); break;
	case JJN_SCOPE: {
		struct jj_scope *outer = r->scope;
		r->scope = jj_scope(r, outer);
		jj_exec(r, n->c);
		r->scope = outer;
		break;
	}
	default: r->flow = n->kind; break;      /* break, continue */
	}
}

void jj_exec(struct jj_run *r, const struct jj_node *n)
{
	if (r->rc || !jj_enter(r, JJ_STACK)) return;
	for (; n && !r->flow && jj_step(r, 1); n = n->next) {
		r->at = n;
		exec_one(r, n);
	}
	r->depth--;
}

