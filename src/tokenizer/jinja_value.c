/* jinja_value.c - Python's values: construction, truth, equality, order, hashing, iteration. */
#include "tokenizer/jinja.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct jj_val jj_fail(struct jj_run *r, int code, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	if (r->rc) return (struct jj_val){ 0 };
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	r->rc = jj_fail_at(r->err, code, r->c->src, r->c->len, r->at ? r->at->pos : 0, "%s", text);
	return (struct jj_val){ 0 };
}

bool jj_step(struct jj_run *r, size_t n)
{
	if (r->rc) return false;
	if (n > (size_t)(JJ_MAX_STEPS - r->steps)) {
		jj_fail(r, LM_ELIMIT, "stopped after %d steps", JJ_MAX_STEPS);
		return false;
	}
	r->steps += (long)n;
	return true;
}

bool jj_enter(struct jj_run *r, int limit)
{
	if (r->rc) return false;
	if (r->depth >= limit) {
		jj_fail(r, LM_ELIMIT, "nested too deeply");
		return false;
	}
	r->depth++;
	return true;
}

void *jj_alloc(struct jj_run *r, size_t n, size_t size)
{
	size_t bytes;
	if (r->rc) return NULL;
	if (!lm_mul_size(n, size, &bytes) || bytes > JJ_MAX_MEM - r->used || r->live > JJ_MAX_MEM - r->used - bytes) {
		jj_fail(r, LM_ELIMIT, "needs more than %d MiB", JJ_MAX_MEM >> 20);
		return NULL;
	}
	void *p = lm_alloc(r->mem, n ? n : 1, size, 16);
	if (!p) jj_fail(r, LM_ENOMEM, "out of memory");
	r->used += bytes + 16;
	if (r->used > JJ_MAX_MEM) r->used = JJ_MAX_MEM;
	return p;
}

/* ---- strings ------------------------------------------------------------------------------------------- */
struct jj_val jj_view(const char *s, size_t n)
{
	return (struct jj_val){ .t = JJ_STR, .n = (uint32_t)n, .s = s };
}
struct jj_val jj_cstr(const char *s) { return jj_view(s, strlen(s)); }

struct jj_val jj_mark_safe(struct jj_val v)
{
	if (v.t == JJ_STR) v.sub = 1;
	for (int i = 0; v.t == JJ_SEQ && v.sub <= JJ_TUPLE && i < v.q->n; i++)
		if (v.q->v[i].t == JJ_STR) v.q->v[i].sub = 1;
	return v;
}

struct jj_val jj_str(struct jj_run *r, const char *s, size_t n)
{
	return jj_concat(r, jj_view("", 0), jj_view(s, n));
}

/* Where n bytes can go: a short string to the shared stretch, a long one that grew to a stretch with room to grow. */
static struct jj_tail *tail_for(struct jj_run *r, size_t n, bool grew)
{
	struct jj_tail *t = r->tail;
	if (n >= 1024 && grew) {
		t++;
		for (int i = 2; i < JJ_TAILS; i++)
			if (r->tail[i].used < t->used) t = &r->tail[i];
		t->at = t->end = NULL;
	}
	if (t->at && (size_t)(t->end - t->at) >= n) return t;
	size_t cap = grew ? n + n / 2 + 64 : n;
	if (cap < 2048) cap = 2048;
	char *p = jj_new(r, char, cap);
	if (!p) return NULL;
	t->at = p;
	t->end = p + cap;
	return t;
}

/* a + b.  Where `a` is one of the strings made last, b goes right behind it: building a text piece by piece stays
 * linear, whatever is made in between. */
struct jj_val jj_concat(struct jj_run *r, struct jj_val a, struct jj_val b)
{
	size_t n = (size_t)a.n + b.n;
	struct jj_tail *t = NULL;
	if (!b.n) return a;
	if (n > JJ_MAX_TEXT) return jj_fail(r, LM_ELIMIT, "a string of more than %d MiB", JJ_MAX_TEXT >> 20);
	if (!jj_step(r, 1 + (b.n >> 8))) return jj_view("", 0);
	for (int i = 0; a.n && !t && i < JJ_TAILS; i++)
		if (r->tail[i].at == a.s + a.n && (size_t)(r->tail[i].end - r->tail[i].at) >= b.n) t = &r->tail[i];
	if (!t) {
		if (!jj_step(r, a.n >> 8) || !(t = tail_for(r, n, a.n > 0))) return jj_view("", 0);
		if (a.n) memcpy(t->at, a.s, a.n);
		a.s = t->at;
		t->at += a.n;
	}
	memcpy(t->at, b.s, b.n);
	t->at += b.n;
	t->used = ++r->clock;
	return jj_view(a.s, n);
}

struct jj_val jj_take(struct jj_run *r, struct lm_buf *b)
{
	struct jj_val v = jj_view("", 0);
	if (b->bad) jj_fail(r, LM_ENOMEM, "out of memory");
	else if (!r->rc) v = jj_str(r, b->p, b->n);
	r->live -= b->n;
	lm_buf_free(b);
	return v;
}

/* ---- containers ---------------------------------------------------------------------------------------- */
struct jj_val jj_seq(struct jj_run *r, int kind, int n)
{
	struct jj_seq *q = jj_new(r, struct jj_seq, 1);
	struct jj_val *v = jj_new(r, struct jj_val, n);
	if (!q || !v || !jj_step(r, (size_t)n)) return (struct jj_val){ 0 };
	q->v = v;
	q->n = n;
	return (struct jj_val){ .t = JJ_SEQ, .sub = (uint8_t)kind, .q = q };
}

struct jj_val jj_undef(struct jj_run *r, const char *hint, const char *obj, struct jj_val name)
{
	struct jj_undef *u = jj_new(r, struct jj_undef, 1);
	if (u) *u = (struct jj_undef){ hint, obj, name };
	return (struct jj_val){ .t = JJ_UNDEF, .u = u };
}

struct jj_val jj_dict(struct jj_run *r, int cap)
{
	struct jj_dict *d = jj_new(r, struct jj_dict, 1);
	if (!d) return (struct jj_val){ 0 };
	if (cap > 0) {
		d->k = jj_new(r, struct jj_val, cap);
		d->v = jj_new(r, struct jj_val, cap);
		d->cap = d->k && d->v ? cap : 0;
	}
	return (struct jj_val){ .t = JJ_DICT, .d = d };
}

bool jj_hashable(struct jj_run *r, struct jj_val v)
{
	if (v.t == JJ_DICT) return false;
	if (v.t != JJ_SEQ) return true;
	if (v.sub == JJ_RANGE || v.sub == JJ_GEN || v.sub == JJ_VALUES) return true;
	if (v.sub != JJ_TUPLE || !jj_enter(r, JJ_STACK)) return false;
	bool can = true;
	for (int i = 0; can && i < v.q->n; i++) can = jj_step(r, 1) && jj_hashable(r, v.q->v[i]);
	r->depth--;
	return can;
}

static uint32_t hash(struct jj_val v)
{
	uint32_t h = 2166136261u;
	if (v.t == JJ_FLOAT && v.f == floor(v.f) && fabs(v.f) < 9e18) v = jj_int((int64_t)v.f);
	if (v.t == JJ_STR) {
		for (uint32_t i = 0; i < v.n; i++) h = (h ^ (unsigned char)v.s[i]) * 16777619u;
		return h;
	}
	if (v.t == JJ_SEQ) return h ^ (uint32_t)v.q->n;
	uint64_t x = v.t == JJ_BOOL || v.t == JJ_INT || v.t == JJ_FLOAT ? (uint64_t)v.i : v.t;
	x *= 0x9E3779B97F4A7C15u;
	return (uint32_t)(x >> 32);
}

struct jj_val *jj_find(struct jj_run *r, const struct jj_dict *d, struct jj_val k)
{
	if (!d->index) {
		for (int i = 0; i < d->n; i++)
			if (jj_step(r, 1) && jj_eq(r, d->k[i], k)) return &d->v[i];
		return NULL;
	}
	if (!jj_step(r, 1 + (k.t == JJ_STR ? k.n >> 6 : 0))) return NULL;
	for (uint32_t h = hash(k) & d->mask; d->index[h]; h = (h + 1) & d->mask) {
		int i = d->index[h] - 1;
		if (!jj_step(r, 1)) return NULL;
		if (jj_eq(r, d->k[i], k)) return &d->v[i];
	}
	return NULL;
}

struct jj_val *jj_find_str(struct jj_run *r, const struct jj_dict *d, const char *k)
{
	return jj_find(r, d, jj_cstr(k));
}

/* Small dicts are searched; from 16 keys on a table of twice their number is kept. */
static bool reindex(struct jj_run *r, struct jj_dict *d)
{
	uint32_t size = 64;
	while (size < (uint32_t)d->cap * 2) size *= 2;
	int32_t *index = jj_new(r, int32_t, size);
	if (!index) return false;
	d->index = index;
	d->mask = size - 1;
	for (int i = 0; i < d->n; i++) {
		uint32_t h = hash(d->k[i]) & d->mask;
		while (index[h]) h = (h + 1) & d->mask;
		index[h] = i + 1;
	}
	return true;
}

bool jj_put(struct jj_run *r, struct jj_dict *d, struct jj_val k, struct jj_val v)
{
	if (!jj_hashable(r, k)) {
		jj_fail(r, LM_EINVAL, "unhashable type: '%s'", jj_type_name(k));
		return false;
	}
	struct jj_val *old = jj_find(r, d, k);
	if (r->rc) return false;
	if (old) {
		*old = v;
		return true;
	}
	if (d->n == d->cap) {
		int cap = d->cap ? d->cap * 2 : 4;
		struct jj_val *nk = jj_new(r, struct jj_val, cap), *nv = jj_new(r, struct jj_val, cap);
		if (!nk || !nv) return false;
		if (d->n) {
			memcpy(nk, d->k, (size_t)d->n * sizeof *nk);
			memcpy(nv, d->v, (size_t)d->n * sizeof *nv);
		}
		d->k = nk;
		d->v = nv;
		d->cap = cap;
		d->index = NULL;
	}
	d->k[d->n] = k;
	d->v[d->n++] = v;
	if (d->index) {
		uint32_t h = hash(k) & d->mask;
		while (d->index[h]) h = (h + 1) & d->mask;
		d->index[h] = d->n;
	} else if (d->cap >= 16) {
		return reindex(r, d);
	}
	return true;
}

struct jj_val jj_from_json(struct jj_run *r, const json_t *j, int depth)
{
	struct jj_val v;
	if (depth > JJ_DEPTH)
		return jj_fail(r, LM_ELIMIT, "a variable is nested more than %d levels deep", JJ_DEPTH);
	switch (json_typeof(j)) {
	case JSON_TRUE: return jj_bool(true);
	case JSON_FALSE: return jj_bool(false);
	case JSON_INTEGER: return jj_int(json_integer_value(j));
	case JSON_REAL: return jj_float(json_real_value(j));
	case JSON_STRING: {
		size_t n = json_string_length(j);       /* a view: the JSON outlives the run */
		if (n > JJ_MAX_TEXT)
			return jj_fail(r, LM_ELIMIT, "a string of more than %d MiB", JJ_MAX_TEXT >> 20);
		return jj_view(json_string_value(j), n);
	}
	case JSON_ARRAY:
		v = jj_seq(r, JJ_LIST, (int)json_array_size(j));
		for (int i = 0; !r->rc && i < v.q->n; i++)
			v.q->v[i] = jj_from_json(r, json_array_get(j, (size_t)i), depth + 1);
		return v;
	case JSON_OBJECT: {
		const char *key;
		json_t *val;
		v = jj_dict(r, (int)json_object_size(j));
		if (r->rc) return v;
		json_object_foreach((json_t *)(uintptr_t)j, key, val) {
			size_t n = strlen(key);
			if (n > JJ_MAX_TEXT)
				return jj_fail(r, LM_ELIMIT, "a key of more than %d MiB", JJ_MAX_TEXT >> 20);
			if (!jj_put(r, v.d, jj_view(key, n), jj_from_json(r, val, depth + 1))) break;
		}
		return v;
	}
	default: return jj_none();
	}
}

/* ---- comparison ---------------------------------------------------------------------------------------- */
bool jj_truth(struct jj_val v)
{
	switch (v.t) {
	case JJ_UNDEF:
	case JJ_NONE: return false;
	case JJ_BOOL:
	case JJ_INT: return v.i != 0;
	case JJ_FLOAT: return v.f != 0;
	case JJ_STR: return v.n > 0;
	case JJ_SEQ: return v.sub == JJ_GEN || v.q->n > 0;
	case JJ_DICT: return v.d->n > 0;
	default: return true;
	}
}

static bool eq_seq(struct jj_run *r, const struct jj_seq *a, const struct jj_seq *b)
{
	if (a == b) return true;
	if (a->n != b->n || !jj_enter(r, JJ_STACK)) return false;
	bool same = true;
	for (int i = 0; same && i < a->n; i++) same = jj_eq(r, a->v[i], b->v[i]);
	r->depth--;
	return same;
}

static bool eq_dict(struct jj_run *r, const struct jj_dict *a, const struct jj_dict *b)
{
	if (a == b) return true;
	if (a->n != b->n || !jj_enter(r, JJ_STACK)) return false;
	bool same = true;
	for (int i = 0; same && i < a->n; i++) {
		const struct jj_val *v = jj_find(r, b, a->k[i]);
		same = v && jj_eq(r, a->v[i], *v);
	}
	r->depth--;
	return same;
}

bool jj_eq(struct jj_run *r, struct jj_val a, struct jj_val b)
{
	if (jj_is_num(a) && jj_is_num(b)) {
		if (a.t != JJ_FLOAT && b.t != JJ_FLOAT) return a.i == b.i;
		/* 64 bits of mantissa: an integer compares exactly */
		return (a.t == JJ_FLOAT ? (long double)a.f : (long double)a.i) ==
		       (b.t == JJ_FLOAT ? (long double)b.f : (long double)b.i);
	}
	if (a.t != b.t || !jj_step(r, 1)) return false;
	switch (a.t) {
	case JJ_STR: return a.n == b.n && jj_step(r, a.n >> 8) && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0);
	case JJ_SEQ:
		if (a.sub == JJ_RANGE && b.sub == JJ_RANGE)
			return a.q->n == b.q->n && (!a.q->n || (a.q->start == b.q->start &&
								(a.q->n == 1 || a.q->step == b.q->step)));
		if (a.sub != b.sub || a.sub == JJ_GEN || a.sub == JJ_VALUES) return a.q == b.q;
		return eq_seq(r, a.q, b.q);
	case JJ_DICT: return eq_dict(r, a.d, b.d);
	case JJ_UNDEF:
	case JJ_NONE: return true;
	case JJ_METHOD: return a.mt == b.mt;
	case JJ_FUNC: return a.fn == b.fn;
	default: return a.ns == b.ns;
	}
}

static int order_text(struct jj_val a, struct jj_val b)
{
	uint32_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.s, b.s, n) : 0;      /* bytes of UTF-8 sort as code points do */
	return c ? (c < 0 ? -1 : 1) : a.n < b.n ? -1 : a.n > b.n;
}

int jj_order(struct jj_run *r, struct jj_val a, struct jj_val b, const char *op)
{
	if (!jj_step(r, 1)) return 0;
	if (jj_is_num(a) && jj_is_num(b)) {
		if (a.t != JJ_FLOAT && b.t != JJ_FLOAT) return a.i < b.i ? -1 : a.i > b.i;
		long double x = a.t == JJ_FLOAT ? (long double)a.f : (long double)a.i;
		long double y = b.t == JJ_FLOAT ? (long double)b.f : (long double)b.i;
		return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
	}
	if (a.t == JJ_STR && b.t == JJ_STR)
		return jj_step(r, (a.n < b.n ? a.n : b.n) >> 8) ? order_text(a, b) : 0;
	if (a.t == JJ_SEQ && b.t == JJ_SEQ && a.sub == b.sub && a.sub <= JJ_TUPLE) {
		int c = 0, n = a.q->n < b.q->n ? a.q->n : b.q->n;
		if (!jj_enter(r, JJ_STACK)) return 0;
		for (int i = 0; !c && !r->rc && i < n; i++)
			if (!jj_eq(r, a.q->v[i], b.q->v[i])) c = jj_order(r, a.q->v[i], b.q->v[i], op);
		r->depth--;
		return c ? c : a.q->n < b.q->n ? -1 : a.q->n > b.q->n;
	}
	if (a.t == JJ_UNDEF || b.t == JJ_UNDEF) jj_binary(r, '<', a, b);
	else
		jj_fail(r, LM_EINVAL, "'%s' not supported between instances of '%s' and '%s'", op,
			jj_type_name(a), jj_type_name(b));
	return 0;
}

bool jj_in(struct jj_run *r, struct jj_val x, struct jj_val seq)
{
	struct jj_iter it;
	struct jj_val v;
	if (seq.t == JJ_STR) {
		if (x.t == JJ_STR) return jj_search(r, seq, x, 0) >= 0;
		jj_fail(r, LM_EINVAL, "'in <string>' requires string as left operand, not %s",
			jj_type_name(x));
		return false;
	}
	if (seq.t == JJ_DICT || (seq.t == JJ_SEQ && seq.sub == JJ_KEYS)) {
		if (!jj_hashable(r, x)) jj_fail(r, LM_EINVAL, "unhashable type: '%s'", jj_type_name(x));
		if (seq.t == JJ_DICT) return !r->rc && jj_find(r, seq.d, x) != NULL;
	}
	if (!jj_iterable(seq)) {
		jj_fail(r, LM_EINVAL, "argument of type '%s' is not iterable", jj_type_name(seq));
		return false;
	}
	if (!jj_iter(r, &it, seq)) return false;
	while (jj_next(r, &it, &v))
		if (jj_eq(r, v, x)) return true;
	return false;
}

/* ---- names --------------------------------------------------------------------------------------------- */
const char *jj_type_name(struct jj_val v)
{
	static const char *const name[] = { "Undefined",
					    "NoneType",
					    "bool",
					    "int",
					    "float",
					    "str",
					    "list",
					    "dict",
					    "Namespace",
					    "Macro",
					    "LoopContext",
					    "function",
					    "builtin_function_or_method",
					    "missing" };
	static const char *const seq[] = { "list",        "tuple",      "range",    "dict_keys",
					   "dict_values", "dict_items", "generator" };
	return v.t == JJ_SEQ ? seq[v.sub] : name[v.t];
}

const char *jj_obj_name(struct jj_val v)
{
	static const char *const name[] = { "Undefined",
					    "None",
					    "bool object",
					    "int object",
					    "float object",
					    "str object",
					    "list object",
					    "dict object",
					    "Namespace object",
					    "Macro object",
					    "LoopContext object",
					    "function object",
					    "builtin_function_or_method object",
					    "missing" };
	static const char *const seq[] = { "list object", "tuple object", "range object", "dict_keys object",
		"dict_values object", "dict_items object", "generator object" };
	return v.t == JJ_SEQ ? seq[v.sub] : name[v.t];
}

/* ---- iteration ----------------------------------------------------------------------------------------- */
bool jj_iterable(struct jj_val v)
{
	return v.t == JJ_STR || v.t == JJ_SEQ || v.t == JJ_DICT || v.t == JJ_UNDEF || v.t == JJ_LOOP;
}

bool jj_iter(struct jj_run *r, struct jj_iter *it, struct jj_val v)
{
	*it = (struct jj_iter){ .v = v };
	if (jj_iterable(v)) return !r->rc;
	jj_fail(r, LM_EINVAL, "'%s' object is not iterable", jj_type_name(v));
	return false;
}

bool jj_next(struct jj_run *r, struct jj_iter *it, struct jj_val *out)
{
	struct jj_val v = it->v;
	uint32_t cp;
	if (!jj_step(r, 1)) return false;
	switch (v.t) {
	case JJ_STR:
		if (it->i >= (int64_t)v.n) return false;
		*out = jj_view(v.s + it->i, (size_t)lm_utf8_next(v.s + it->i, v.n - (size_t)it->i, &cp));
		it->i += out->n;
		return true;
	case JJ_SEQ: {
		int64_t i = v.sub == JJ_GEN ? v.q->next : it->i;
		if (i >= v.q->n) return false;
		*out = v.sub == JJ_RANGE ? jj_int(v.q->start + i * v.q->step) : v.q->v[i];
		if (v.sub == JJ_GEN) v.q->next++;
		it->i++;
		return true;
	}
	case JJ_DICT:
		if (it->i >= v.d->n) return false;
		*out = v.d->k[it->i++];
		return true;
	case JJ_LOOP: jj_fail(r, LM_EUNSUPPORTED, "iterating over 'loop' is not supported"); return false;
	default: return false;
	}
}

int64_t jj_length(struct jj_run *r, struct jj_val v)
{
	if (v.t == JJ_STR) return jj_step(r, v.n >> 6) ? (int64_t)jj_chars(v) : 0;
	if (v.t == JJ_SEQ && v.sub != JJ_GEN) return v.q->n;
	if (v.t == JJ_DICT) return v.d->n;
	if (v.t == JJ_UNDEF) return 0;
	jj_fail(r, LM_EINVAL, "object of type '%s' has no len()", jj_type_name(v));
	return 0;
}

struct jj_val jj_copy(struct jj_run *r, struct jj_val v)
{
	struct jj_iter it;
	struct jj_val x;
	if (!jj_iter(r, &it, v)) return x = (struct jj_val){ 0 };
	int64_t n = v.t == JJ_SEQ && v.sub == JJ_GEN ? v.q->n - v.q->next : jj_length(r, v);
	struct jj_val l = jj_seq(r, JJ_LIST, (int)n);
	for (int i = 0; !r->rc && i < n && jj_next(r, &it, &x); i++) l.q->v[i] = x;
	return l;
}
