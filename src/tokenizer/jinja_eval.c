/* jinja_eval.c - expressions: names, attributes, items, operators. */
#include "tokenizer/jinja.h"
#include <math.h>
#include <stdio.h>

struct jj_val jj_undef_fail(struct jj_run *r, struct jj_val v)
{
	const struct jj_undef *u = v.u;
	struct lm_buf b = { 0 };
	if (r->rc) return v;
	if (!u) return jj_fail(r, LM_EINVAL, "undefined value");
	int n = (int)(u->name.t == JJ_STR && u->name.n > 100 ? 100 : u->name.n);
	if (u->hint) return jj_fail(r, LM_EINVAL, "%s", u->hint);
	if (!u->obj) return jj_fail(r, LM_EINVAL, "'%.*s' is undefined", n, u->name.s);
	if (u->name.t == JJ_STR)
		return jj_fail(r, LM_EINVAL, "'%s' has no attribute '%.*s'", u->obj, n, u->name.s);
	jj_write_repr(r, &b, u->name);
	jj_fail(r, LM_EINVAL, "%s has no element %.100s", u->obj, lm_buf_cstr(&b));
	r->live -= b.n;
	lm_buf_free(&b);
	return v;
}

/* ---- attributes and items ------------------------------------------------------------------------------ */
static bool attribute(struct jj_run *r, struct jj_val v, struct jj_val name, struct jj_val *out)
{
	if (v.t == JJ_LOOP) return jj_loop_attr(r, v, name, out);
	if (v.t == JJ_NS) {
		const struct jj_val *x = jj_find(r, &v.ns->d, name);
		if (x) *out = *x;
		return x != NULL;
	}
	if (v.t == JJ_MACRO && jj_is(name, "name")) {
		*out = v.m->name;
		return true;
	}
	return jj_method(r, v, name, out);
}

struct jj_val jj_attr(struct jj_run *r, struct jj_val v, struct jj_val name)
{
	struct jj_val out;
	if (v.t == JJ_UNDEF) return jj_undef_fail(r, v);
	if (attribute(r, v, name, &out)) return out;
	if (v.t == JJ_DICT) {
		const struct jj_val *x = jj_find(r, v.d, name);
		if (x) return *x;
	}
	return jj_undef(r, NULL, jj_obj_name(v), name);
}

struct jj_val jj_item(struct jj_run *r, struct jj_val v, struct jj_val key)
{
	struct jj_val out;
	if (r->rc) return v;
	if (v.t == JJ_UNDEF) return jj_undef_fail(r, v);
	if (v.t == JJ_DICT && jj_hashable(r, key)) {
		const struct jj_val *x = jj_find(r, v.d, key);
		if (x) return *x;
	}
	if (jj_is_int(key) && (v.t == JJ_STR || (v.t == JJ_SEQ && v.sub <= JJ_RANGE))) {
		int64_t n = jj_length(r, v), i = key.i < 0 ? key.i + n : key.i;
		if (i >= 0 && i < n) {
			if (v.t == JJ_SEQ)
				return v.sub == JJ_RANGE ? jj_int(v.q->start + i * v.q->step) : v.q->v[i];
			size_t at = jj_step(r, (size_t)i >> 5) ? jj_offset(v, (size_t)i) : 0;
			uint32_t cp;
			struct jj_val one = jj_view(v.s + at, (size_t)lm_utf8_next(v.s + at, v.n - at, &cp));
			one.sub = v.sub;
			return one;
		}
	}
	if (key.t == JJ_STR && attribute(r, v, key, &out)) return out;
	return jj_undef(r, NULL, jj_obj_name(v), key);
}

/* Python's slice.indices(): [at[0], at[1]) in steps of at[2] over n items; false: failed. */
static bool slice_range(struct jj_run *r, const struct jj_val lim[3], int64_t n, int64_t at[3])
{
	for (int i = 0; i < 3; i++)
		if (lim[i].t != JJ_NONE && !jj_is_int(lim[i])) {
			jj_fail(r, LM_EINVAL, "slice indices must be integers or None, not %s",
				jj_type_name(lim[i]));
			return false;
		}
	int64_t step = lim[2].t == JJ_NONE ? 1 : lim[2].i, low = step < 0 ? -1 : 0,
		high = step < 0 ? n - 1 : n;
	if (!step) {
		jj_fail(r, LM_EINVAL, "slice step cannot be zero");
		return false;
	}
	for (int i = 0; i < 2; i++) {
		int64_t x = lim[i].i;
		if (lim[i].t == JJ_NONE) x = (i == 0) == (step < 0) ? high : low;
		else {
			if (x < 0) x = x < -n ? -1 : x + n;
			if (x < low) x = low;
			if (x > high) x = high;
		}
		at[i] = x;
	}
	at[2] = step > n ? n + 1 : step < -n ? -n - 1 : step;
	return true;
}

static struct jj_val slice_str(struct jj_run *r, struct jj_val v, const int64_t at[3])
{
	struct lm_buf b = { 0 };
	if (!jj_step(r, v.n >> 5)) return v;
	if (at[2] == 1)
		return at[0] >= at[1] ? jj_view("", 0)
				      : jj_sub(v, jj_offset(v, (size_t)at[0]), jj_offset(v, (size_t)at[1]));
	struct jj_val l = jj_copy(r, v);
	for (int64_t i = at[0]; !r->rc && (at[2] > 0 ? i < at[1] : i > at[1]); i += at[2])
		jj_write(r, &b, l.q->v[i].s, l.q->v[i].n);
	return jj_take(r, &b);
}

struct jj_val jj_slice(struct jj_run *r, struct jj_val v, const struct jj_val lim[3])
{
	int64_t at[3], n;
	if (r->rc) return v;
	if (v.t == JJ_UNDEF) return jj_undef_fail(r, v);
	bool can = v.t == JJ_STR || (v.t == JJ_SEQ && v.sub <= JJ_RANGE);
	if (!can) return jj_fail(r, LM_EINVAL, "'%s' object cannot be sliced", jj_type_name(v));
	n = jj_length(r, v);
	if (!slice_range(r, lim, n, at)) return v;
	if (v.t == JJ_STR) return v.sub ? jj_mark_safe(slice_str(r, v, at)) : slice_str(r, v, at);
	int64_t count =
		at[2] > 0 ? (at[1] - at[0] + at[2] - 1) / at[2] : (at[0] - at[1] - at[2] - 1) / -at[2];
	if (count < 0) count = 0;
	struct jj_val out = jj_seq(r, v.sub, v.sub == JJ_RANGE ? 0 : (int)count);
	if (r->rc) return out;
	out.q->n = (int)count;
	if (v.sub == JJ_RANGE) {
		out.q->start = v.q->start + at[0] * v.q->step;
		out.q->stop = v.q->start + at[1] * v.q->step;
		out.q->step = v.q->step * at[2];
	}
	for (int64_t i = 0; v.sub != JJ_RANGE && i < count; i++) out.q->v[i] = v.q->v[at[0] + i * at[2]];
	return out;
}

/* ---- arithmetic ---------------------------------------------------------------------------------------- */
static const char *op_name(int op)
{
	static const char text[][2] = { "+", "-", "*", "/", "%", "<" };
	if (op == JJT_FLOORDIV) return "//";
	if (op == JJT_POW) return "** or pow()";
	for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
		if (text[i][0] == op) return text[i];
	return "?";
}

static struct jj_val overflow(struct jj_run *r) { return jj_fail(r, LM_EINVAL, "integer beyond 64 bits"); }

static struct jj_val power(struct jj_run *r, struct jj_val a, struct jj_val b)
{
	if (!jj_is_int(a) || !jj_is_int(b) || b.i < 0) {
		double x = jj_num(a), y = jj_num(b);
		if (x == 0 && y < 0) return jj_fail(r, LM_EINVAL, "0.0 cannot be raised to a negative power");
		if (x < 0 && y != floor(y))
			return jj_fail(r, LM_EINVAL, "a negative number cannot be raised to a fraction");
		double z = pow(x, y);
		if (isinf(z) && !isinf(x) && !isinf(y)) return jj_fail(r, LM_EINVAL, "result too large");
		return jj_float(z);
	}
	int64_t z = 1, base = a.i;
	for (int64_t e = b.i; e; e >>= 1) {
		if ((e & 1) && __builtin_mul_overflow(z, base, &z)) return overflow(r);
		if (e > 1 && __builtin_mul_overflow(base, base, &base)) return overflow(r);
	}
	return jj_int(z);
}

static struct jj_val divide(struct jj_run *r, int op, struct jj_val a, struct jj_val b)
{
	if (jj_num(b) == 0)
		return jj_fail(r, LM_EINVAL,
			       op == '/' ? "division by zero" : "integer division or modulo by zero");
	if (op == '/') return jj_float(jj_num(a) / jj_num(b));
	if (jj_is_int(a) && jj_is_int(b)) {
		if (b.i == -1) {
			int64_t z;
			if (op == '%') return jj_int(0);
			return __builtin_sub_overflow((int64_t)0, a.i, &z) ? overflow(r) : jj_int(z);
		}
		int64_t q = a.i / b.i, m = a.i % b.i;
		if (m && (m < 0) != (b.i < 0)) {
			q--;
			m += b.i;
		}
		return jj_int(op == '%' ? m : q);
	}
	double x = jj_num(a), y = jj_num(b), m = fmod(x, y), q = (x - m) / y;
	if (m != 0 && (m < 0) != (y < 0)) {
		m += y;
		q -= 1;
	} else if (m == 0) {
		m = copysign(0, y);
	}
	if (op == '%') return jj_float(m);
	double f = floor(q);
	return jj_float(q != 0 ? (q - f > 0.5 ? f + 1 : f) : copysign(0, x / y));
}

static struct jj_val number(struct jj_run *r, int op, struct jj_val a, struct jj_val b)
{
	int64_t z;
	if (op == '/' || op == '%' || op == JJT_FLOORDIV) return divide(r, op, a, b);
	if (op == JJT_POW) return power(r, a, b);
	if (a.t == JJ_FLOAT || b.t == JJ_FLOAT) {
		double x = jj_num(a), y = jj_num(b);
		return jj_float(op == '+' ? x + y : op == '-' ? x - y : x * y);
	}
	bool over = op == '+'   ? __builtin_add_overflow(a.i, b.i, &z)
		    : op == '-' ? __builtin_sub_overflow(a.i, b.i, &z)
				: __builtin_mul_overflow(a.i, b.i, &z);
	return over ? overflow(r) : jj_int(z);
}

static struct jj_val repeat(struct jj_run *r, struct jj_val v, int64_t n)
{
	int64_t len = v.t == JJ_STR ? (int64_t)v.n : v.q->n;
	if (n < 0) n = 0;
	if (len && n > JJ_MAX_TEXT / len)
		return jj_fail(r, LM_ELIMIT, "a value repeated to more than %d Mi", JJ_MAX_TEXT >> 20);
	if (v.t == JJ_SEQ) {
		struct jj_val out = jj_seq(r, v.sub, (int)(len * n));
		for (int64_t i = 0; !r->rc && i < len * n; i++) out.q->v[i] = v.q->v[i % len];
		return out;
	}
	struct lm_buf b = { 0 };
	for (int64_t i = 0; len && i < n && jj_step(r, 1); i++) jj_write(r, &b, v.s, v.n);
	return v.sub ? jj_mark_safe(jj_take(r, &b)) : jj_take(r, &b);
}

/* What markupsafe does when a marked-safe string meets a plain one. */
static struct jj_val escaped(struct jj_run *r, struct jj_val s)
{
	static const char *const ent[] = { "&amp;", "&lt;", "&gt;", "&#39;", "&#34;" };
	static const char from[] = "&<>'\"";
	struct lm_buf b = { 0 };
	if (s.sub) return s;
	for (uint32_t i = 0; i < s.n && !r->rc; i++) {
		const char *p = s.s[i] ? strchr(from, s.s[i]) : NULL;
		if (p) jj_write(r, &b, ent[p - from], strlen(ent[p - from]));
		else jj_write(r, &b, s.s + i, 1);
	}
	return jj_take(r, &b);
}

static struct jj_val add_str(struct jj_run *r, struct jj_val a, struct jj_val b)
{
	uint8_t safe = a.sub | b.sub;
	if (safe) {
		a = escaped(r, a);
		b = escaped(r, b);
	}
	struct jj_val v = jj_concat(r, a, b);
	if (v.t == JJ_STR) v.sub = safe;
	return v;
}

static struct jj_val add_seq(struct jj_run *r, struct jj_val a, struct jj_val b)
{
	if (a.q->n > JJ_MAX_STEPS - b.q->n) return jj_fail(r, LM_ELIMIT, "list too long");
	struct jj_val out = jj_seq(r, a.sub, a.q->n + b.q->n);
	if (r->rc) return out;
	if (a.q->n) memcpy(out.q->v, a.q->v, (size_t)a.q->n * sizeof *a.q->v);
	if (b.q->n) memcpy(out.q->v + a.q->n, b.q->v, (size_t)b.q->n * sizeof *b.q->v);
	return out;
}

struct jj_val jj_binary(struct jj_run *r, int op, struct jj_val a, struct jj_val b)
{
	if (r->rc) return a;
	if (op == '%' && a.t == JJ_STR) return jj_percent(r, a, b);
	if (a.t == JJ_UNDEF || b.t == JJ_UNDEF) return jj_undef_fail(r, a.t == JJ_UNDEF ? a : b);
	if (jj_is_num(a) && jj_is_num(b)) return number(r, op, a, b);
	bool list_a = a.t == JJ_SEQ && a.sub <= JJ_TUPLE, list_b = b.t == JJ_SEQ && b.sub <= JJ_TUPLE;
	if (op == '+' && a.t == JJ_STR && b.t == JJ_STR) return add_str(r, a, b);
	if (op == '+' && list_a && list_b && a.sub == b.sub) return add_seq(r, a, b);
	if (op == '*' && (a.t == JJ_STR || list_a) && jj_is_int(b)) return repeat(r, a, b.i);
	if (op == '*' && (b.t == JJ_STR || list_b) && jj_is_int(a)) return repeat(r, b, a.i);
	if (op == '+' && (a.t == JJ_STR || list_a))
		return jj_fail(r, LM_EINVAL, "can only concatenate %s (not \"%s\") to %s", jj_type_name(a),
			       jj_type_name(b), jj_type_name(a));
	return jj_fail(r, LM_EINVAL, "unsupported operand type(s) for %s: '%s' and '%s'", op_name(op),
		       jj_type_name(a), jj_type_name(b));
}

static bool compare(struct jj_run *r, int op, struct jj_val a, struct jj_val b)
{
	static const char *const name[] = { "<", "<=", ">", ">=" };
	int i = op == '<' ? 0 : op == JJT_LE ? 1 : op == '>' ? 2 : 3;
	if (r->rc) return false;
	if (op == JJT_EQ) return jj_eq(r, a, b);
	if (op == JJT_NE) return !jj_eq(r, a, b);
	if (op == JJT_IN) return jj_in(r, a, b);
	if (op == JJT_NOTIN) return !jj_in(r, a, b);
	int c = jj_order(r, a, b, name[i]);
	if (c == 2) return false;
	return i == 0 ? c < 0 : i == 1 ? c <= 0 : i == 2 ? c > 0 : c >= 0;
}

static struct jj_val eval_compare(struct jj_run *r, const struct jj_node *n)
{
	struct jj_val a = jj_eval(r, n->a);
	for (const struct jj_node *o = n->b; o && !r->rc; o = o->next) {
		struct jj_val b = jj_eval(r, o->a);
		if (!compare(r, o->op, a, b)) return jj_bool(false);
		a = b;
	}
	return jj_bool(true);
}

/* ---- the tree ------------------------------------------------------------------------------------------ */
static struct jj_val eval_list(struct jj_run *r, const struct jj_node *n)
{
	int count = 0, i = 0;
	for (const struct jj_node *k = n->a; k; k = k->next) count++;
	struct jj_val v = jj_seq(r, n->kind == JJN_LIST ? JJ_LIST : JJ_TUPLE, count);
	for (const struct jj_node *k = n->a; k && !r->rc; k = k->next) v.q->v[i++] = jj_eval(r, k);
	return v;
}

static struct jj_val eval_dict(struct jj_run *r, const struct jj_node *n)
{
	struct jj_val v = jj_dict(r, 0);
	for (const struct jj_node *k = n->a; k && !r->rc; k = k->next) {
		struct jj_val key = jj_eval(r, k->a);
		jj_put(r, v.d, key, jj_eval(r, k->b));
	}
	return v;
}

static struct jj_val eval_slice(struct jj_run *r, const struct jj_node *n)
{
	const struct jj_node *at[3] = { n->b->a, n->b->b, n->b->c };
	struct jj_val v = jj_eval(r, n->a), lim[3];
	for (int i = 0; i < 3; i++) lim[i] = at[i] ? jj_eval(r, at[i]) : jj_none();
	return jj_slice(r, v, lim);
}

static struct jj_val eval_concat(struct jj_run *r, const struct jj_node *n)
{
	struct jj_val v = jj_view("", 0);
	for (const struct jj_node *k = n->a; k && !r->rc; k = k->next) {
		struct jj_val s = jj_to_str(r, jj_eval(r, k));
		v = v.n ? jj_concat(r, v, s) : s;
		v.sub = 0;
	}
	return v;
}

static struct jj_val eval_call(struct jj_run *r, const struct jj_node *n)
{
	struct jj_val f = jj_eval(r, n->a);
	struct jj_args a;
	if (!jj_args(r, n->b, &a)) return f;
	return jj_call(r, f, &a);
}

static struct jj_val eval_filter(struct jj_run *r, const struct jj_node *n)
{
	struct jj_val v = jj_eval(r, n->a);
	struct jj_args a;
	const char *what = n->kind == JJN_FILTER ? "filter" : "test";
	if (!n->fn)
		return jj_fail(r, LM_EINVAL, "no %s named '%.*s'", what, (int)(n->v.n > 60 ? 60 : n->v.n),
			       n->v.s);
	if (!n->b) return jj_apply(r, n->fn, v, &(struct jj_args){ 0 });
	return jj_args(r, n->b, &a) ? jj_apply(r, n->fn, v, &a) : v;
}

static struct jj_val eval_sign(struct jj_run *r, const struct jj_node *n)
{
	struct jj_val v = jj_eval(r, n->a);
	int64_t z;
	if (r->rc) return v;
	if (v.t == JJ_UNDEF) return jj_undef_fail(r, v);
	if (!jj_is_num(v))
		return jj_fail(r, LM_EINVAL, "bad operand type for unary %c: '%s'",
			       n->kind == JJN_NEG ? '-' : '+', jj_type_name(v));
	if (v.t == JJ_FLOAT) return n->kind == JJN_NEG ? jj_float(-v.f) : v;
	if (n->kind == JJN_POS) return jj_int(v.i);
	return __builtin_sub_overflow((int64_t)0, v.i, &z) ? overflow(r) : jj_int(z);
}

static struct jj_val eval_logic(struct jj_run *r, const struct jj_node *n)
{
	struct jj_val v = jj_eval(r, n->a);
	if (n->kind == JJN_COND) {
		if (jj_truth(v)) return jj_eval(r, n->b);
		if (n->c) return jj_eval(r, n->c);
		return jj_undef(r,
				"the inline if-expression evaluated to false and no else section was defined",
				NULL, jj_cstr("if"));
	}
	if (n->kind == JJN_NOT) return jj_bool(!jj_truth(v));
	return jj_truth(v) == (n->kind == JJN_AND) ? jj_eval(r, n->b) : v;
}

static struct jj_val eval_binary(struct jj_run *r, const struct jj_node *n)
{
	struct jj_val a = jj_eval(r, n->a);
	if (n->kind == JJN_ITEM) return jj_item(r, a, jj_eval(r, n->b));
	return jj_binary(r, n->op, a, jj_eval(r, n->b));
}

static struct jj_val eval_name(struct jj_run *r, const struct jj_node *n)
{
	struct jj_val v = jj_get_var(r, n->sym);
	return v.t == JJ_MISSING ? jj_undef(r, NULL, NULL, r->c->sym[n->sym]) : v;
}

static struct jj_val eval(struct jj_run *r, const struct jj_node *n)
{
	switch (n->kind) {
	case JJN_CONST: return n->v;
	case JJN_NAME: return eval_name(r, n);
	case JJN_LIST:
	case JJN_TUPLE: return eval_list(r, n);
	case JJN_DICT: return eval_dict(r, n);
	case JJN_ATTR: return jj_attr(r, jj_eval(r, n->a), n->v);
	case JJN_ITEM: return n->b->kind == JJN_SLICE ? eval_slice(r, n) : eval_binary(r, n);
	case JJN_BIN: return eval_binary(r, n);
	case JJN_CALL: return eval_call(r, n);
	case JJN_FILTER:
	case JJN_TEST: return eval_filter(r, n);
	case JJN_COND:
	case JJN_AND:
	case JJN_OR:
	case JJN_NOT: return eval_logic(r, n);
	case JJN_NEG:
	case JJN_POS: return eval_sign(r, n);
	case JJN_CONCAT: return eval_concat(r, n);
	case JJN_CMP: return eval_compare(r, n);
	default: return jj_fail(r, LM_EINVAL, "a slice stands where a value is expected");
	}
}

struct jj_val jj_eval(struct jj_run *r, const struct jj_node *n)
{
	const struct jj_node *at = r->at;
	if (!jj_step(r, 1) || !jj_enter(r, JJ_STACK)) return (struct jj_val){ 0 };
	r->at = n;
	struct jj_val v = eval(r, n);
	r->at = at;
	r->depth--;
	return r->rc ? (struct jj_val){ 0 } : v;
}
