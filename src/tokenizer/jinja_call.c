/* jinja_call.c - arguments, calls and the global functions. */
#include "tokenizer/jinja.h"
#include <stdio.h>

static void star_star(struct jj_run *r, struct jj_val v, struct jj_args *a)
{
	if (v.t != JJ_DICT) {
		jj_fail(r, LM_EINVAL, "argument after ** must be a mapping, not %s", jj_type_name(v));
		return;
	}
	struct jj_kw *kw = jj_new(r, struct jj_kw, a->n_kw + v.d->n + 1);
	if (!kw) return;
	if (a->n_kw) memcpy(kw, a->kw, (size_t)a->n_kw * sizeof *kw);
	a->kw = kw;
	for (int i = 0; i < v.d->n; i++) {
		if (v.d->k[i].t != JJ_STR) {
			jj_fail(r, LM_EINVAL, "keywords must be strings");
			return;
		}
		kw[a->n_kw++] = (struct jj_kw){ v.d->k[i].s, v.d->k[i].n, v.d->v[i] };
	}
}

static void star(struct jj_run *r, struct jj_val v, struct jj_args *a, int room)
{
	struct jj_val l = jj_copy(r, v);
	if (r->rc) return;
	struct jj_val *p = jj_new(r, struct jj_val, a->n + l.q->n + room);
	if (!p) return;
	if (a->n) memcpy(p, a->v, (size_t)a->n * sizeof *p);
	if (l.q->n) memcpy(p + a->n, l.q->v, (size_t)l.q->n * sizeof *p);
	a->v = p;
	a->n += l.q->n;
}

bool jj_args(struct jj_run *r, const struct jj_node *first, struct jj_args *a)
{
	int count = 0, n_kw = 1;
	*a = (struct jj_args){ 0 };
	for (const struct jj_node *n = first; n; n = n->next) n->kind == JJN_KW ? n_kw++ : count++;
	a->v = count ? jj_new(r, struct jj_val, count) : NULL;
	a->kw = jj_new(r, struct jj_kw, n_kw);
	for (const struct jj_node *n = first; n && !r->rc; n = n->next) {
		bool wrapped = n->kind == JJN_KW || n->kind == JJN_STAR || n->kind == JJN_STARSTAR;
		struct jj_val v = jj_eval(r, wrapped ? n->a : n);
		if (r->rc) break;
		if (n->kind == JJN_STAR) star(r, v, a, count);
		else if (n->kind == JJN_STARSTAR) star_star(r, v, a);
		else if (n->kind == JJN_KW) a->kw[a->n_kw++] = (struct jj_kw){ n->v.s, n->v.n, v };
		else a->v[a->n++] = v;
	}
	return !r->rc;
}

/* The k-th name of a parameter list; false behind the last. */
static bool param(const char *list, int k, struct jj_val *name, bool *optional)
{
	for (;; k--) {
		list += strspn(list, " ");
		size_t n = strcspn(list, " ");
		if (!n) return false;
		if (k == 0) {
			*optional = *list == '?';
			*name = jj_view(list + *optional, n - *optional);
			return true;
		}
		list += n;
	}
}

struct jj_val jj_apply(struct jj_run *r, const struct jj_fn *fn, struct jj_val self, const struct jj_args *a)
{
	struct jj_val p[JJ_MAX_PARAMS], name;
	bool optional;
	int n = 0, used = 0;
	if (r->rc || !jj_step(r, 1)) return self;
	if (fn->params[0] == '*') return fn->fn(r, self, NULL, a);
	for (; param(fn->params, n, &name, &optional); n++) {
		p[n] = (struct jj_val){ .t = JJ_MISSING };
		if (n < a->n) p[n] = a->v[n];
		else for (int i = 0; i < a->n_kw; i++)
			if (a->kw[i].len == name.n && memcmp(a->kw[i].name, name.s, name.n) == 0) {
				p[n] = a->kw[i].v;
				used++;
			}
		if (p[n].t == JJ_MISSING && !optional)
			return jj_fail(r, LM_EINVAL, "%s() missing required argument '%.*s'", fn->name,
				       (int)name.n, name.s);
	}
	if (a->n > n)
		return jj_fail(r, LM_EINVAL, "%s() takes at most %d argument(s), %d given", fn->name, n,
			       a->n);
	for (int i = 0; used != a->n_kw && i < a->n_kw; i++) {
		int k = 0;
		while (param(fn->params, k, &name, &optional) &&
		       !(a->kw[i].len == name.n && memcmp(a->kw[i].name, name.s, name.n) == 0))
			k++;
		if (k >= n || k < a->n)
			return jj_fail(r, LM_EINVAL, "%s() got an unexpected keyword argument '%.*s'",
				       fn->name, (int)(a->kw[i].len > 60 ? 60 : a->kw[i].len), a->kw[i].name);
	}
	return fn->fn(r, self, p, a);
}

struct jj_val jj_call(struct jj_run *r, struct jj_val f, const struct jj_args *a)
{
	struct jj_val v = f;
	if (r->rc || !jj_enter(r, JJ_STACK)) return v;
	switch (f.t) {
	case JJ_UNDEF: v = jj_undef_fail(r, f); break;
	case JJ_FUNC: v = jj_apply(r, f.fn, jj_none(), a); break;
	case JJ_METHOD:
		v = jj_apply(r, f.mt->fn, f.mt->self, a);
		if (f.mt->self.t == JJ_STR && f.mt->self.sub) v = jj_mark_safe(v);
		break;
	case JJ_MACRO: v = jj_macro_call(r, f.m, a); break;
	case JJ_LOOP:
		if (a->n == 1 && !a->n_kw) v = jj_loop_call(r, f.l, a->v[0]);
		else jj_fail(r, LM_EINVAL, "loop() takes one argument");
		break;
	default: v = jj_fail(r, LM_EINVAL, "'%s' object is not callable", jj_type_name(f)); break;
	}
	r->depth--;
	return v;
}

/* ---- globals ------------------------------------------------------------------------------------------- */
static struct jj_val g_range(struct jj_run *r, struct jj_val self, const struct jj_val *p,
			     const struct jj_args *raw)
{
	int64_t start = 0, stop, step = 1, span, n;
	(void)self;
	(void)raw;
	for (int i = 0; i < 3; i++) {
		if (p[i].t == JJ_MISSING || jj_is_int(p[i])) continue;
		if (p[i].t == JJ_UNDEF) return jj_undef_fail(r, p[i]);
		return jj_fail(r, LM_EINVAL, "'%s' object cannot be interpreted as an integer",
			       jj_type_name(p[i]));
	}
	stop = p[0].i;
	if (p[1].t != JJ_MISSING) {
		start = p[0].i;
		stop = p[1].i;
	}
	if (p[2].t != JJ_MISSING) step = p[2].i;
	if (!step) return jj_fail(r, LM_EINVAL, "range() arg 3 must not be zero");
	if (__builtin_sub_overflow(stop, start, &span))
		return jj_fail(r, LM_ELIMIT, "range too big (100000 items at most)");
	n = step > 0 ? (span > 0 ? (span - 1) / step + 1 : 0) : (span < 0 ? (span + 1) / step + 1 : 0);
	if (n > 100000) return jj_fail(r, LM_ELIMIT, "range too big (100000 items at most)");
	struct jj_seq *q = jj_new(r, struct jj_seq, 1);
	if (!q) return self;
	*q = (struct jj_seq){ .n = (int)n, .start = start, .stop = stop, .step = step };
	return (struct jj_val){ .t = JJ_SEQ, .sub = JJ_RANGE, .q = q };
}

static void put_pairs(struct jj_run *r, struct jj_dict *d, struct jj_val src)
{
	struct jj_iter it;
	struct jj_val x;
	if (src.t == JJ_DICT) {
		for (int i = 0; i < src.d->n && jj_put(r, d, src.d->k[i], src.d->v[i]); i++) continue;
		return;
	}
	if (src.t == JJ_UNDEF) jj_undef_fail(r, src);
	if (r->rc || !jj_iter(r, &it, src)) return;
	while (jj_next(r, &it, &x)) {
		struct jj_val l = jj_copy(r, x);
		if (r->rc) return;
		if (l.q->n == 2) jj_put(r, d, l.q->v[0], l.q->v[1]);
		else jj_fail(r, LM_EINVAL, "a dict is made of pairs, not of %d items", l.q->n);
	}
}

static struct jj_val g_dict(struct jj_run *r, struct jj_val self, const struct jj_val *p,
			    const struct jj_args *raw)
{
	struct jj_val v = jj_dict(r, raw->n_kw);
	(void)self;
	(void)p;
	if (r->rc) return v;
	if (raw->n > 1) return jj_fail(r, LM_EINVAL, "dict expected at most 1 argument, got %d", raw->n);
	if (raw->n) put_pairs(r, v.d, raw->v[0]);
	for (int i = 0; i < raw->n_kw && !r->rc; i++)
		jj_put(r, v.d, jj_view(raw->kw[i].name, raw->kw[i].len), raw->kw[i].v);
	return v;
}

static struct jj_val g_namespace(struct jj_run *r, struct jj_val self, const struct jj_val *p,
				 const struct jj_args *raw)
{
	struct jj_val d = g_dict(r, self, p, raw);
	struct jj_ns *ns = jj_new(r, struct jj_ns, 1);
	if (r->rc) return d;
	for (int i = 0; i < d.d->n; i++)
		if (d.d->k[i].t == JJ_STR && d.d->k[i].n && d.d->k[i].s[0] == '_')
			return jj_fail(r, LM_EINVAL,
				       "a namespace's attribute must not begin with an underscore");
	ns->d = *d.d;
	return (struct jj_val){ .t = JJ_NS, .ns = ns };
}

static struct jj_val g_raise(struct jj_run *r, struct jj_val self, const struct jj_val *p,
			     const struct jj_args *raw)
{
	struct jj_val s = jj_to_str(r, p[0]);
	(void)raw;
	/* the message alone: it is the template's own sentence */
	if (!r->rc) r->rc = lm_fail(r->err, LM_EINVAL, "%.*s", (int)s.n, s.s);
	return self;
}

static struct jj_val g_strftime(struct jj_run *r, struct jj_val self, const struct jj_val *p,
				const struct jj_args *raw)
{
	(void)self;
	(void)raw;
	if (p[0].t == JJ_STR) return jj_strftime(r, p[0]);
	return jj_fail(r, LM_EINVAL, "strftime() argument 1 must be str, not %s", jj_type_name(p[0]));
}

const struct jj_fn *jj_global(struct jj_val name)
{
	static const struct jj_fn table[] = {
		{ "range", "start ?stop ?step", g_range },
		{ "dict", "*", g_dict },
		{ "namespace", "*", g_namespace },
		{ "raise_exception", "message", g_raise },
		{ "strftime_now", "format", g_strftime },
	};
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (jj_is(name, table[i].name)) return &table[i];
	return NULL;
}
