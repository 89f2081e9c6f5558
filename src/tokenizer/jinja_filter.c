/* jinja_filter.c - filters, as jinja2 defines them; tojson as transformers does. */
#include "tokenizer/jinja.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FILTER(id)                                                                                           \
	static struct jj_val id(struct jj_run *r, struct jj_val self, const struct jj_val *p,                \
				const struct jj_args *raw)
#define UNUSED ((void)p, (void)raw, (void)r)

static bool given(struct jj_val v) { return v.t != JJ_MISSING; }
static bool flag(struct jj_val v) { return given(v) && jj_truth(v); }

static int64_t integer(struct jj_run *r, struct jj_val v, int64_t absent)
{
	if (!given(v) || v.t == JJ_NONE) return absent;
	if (jj_is_int(v)) return v.i;
	jj_fail(r, LM_EINVAL, "expected an integer, not %s", jj_type_name(v));
	return absent;
}

/* A lazy result in Python: true whatever it holds, without length, gone once read. */
static struct jj_val generator(struct jj_run *r, struct jj_val list)
{
	(void)r;
	if (list.t == JJ_SEQ) list.sub = JJ_GEN;
	return list;
}

/* v by a path like "a.b.0"; None: v itself. */
static struct jj_val by_path(struct jj_run *r, struct jj_val v, struct jj_val path, struct jj_val deflt)
{
	if (!given(path) || path.t == JJ_NONE) return v;
	if (path.t != JJ_STR) {
		v = jj_item(r, v, path);
		return v.t == JJ_UNDEF && given(deflt) && deflt.t != JJ_NONE ? deflt : v;
	}
	for (size_t at = 0; at <= path.n && jj_step(r, path.n / 8);) {
		size_t end = at;
		bool digits = true;
		int64_t n = 0;
		for (; end < path.n && path.s[end] != '.'; end++) {
			digits = digits && isdigit((unsigned char)path.s[end]) && n < INT32_MAX;
			n = digits ? n * 10 + (path.s[end] - '0') : 0;
		}
		v = jj_item(r, v, digits && end > at ? jj_int(n) : jj_sub(path, at, end));
		if (v.t == JJ_UNDEF && given(deflt) && deflt.t != JJ_NONE) v = deflt;
		at = end + 1;
	}
	return v;
}

static struct jj_val fold(struct jj_run *r, struct jj_val v, bool sensitive)
{
	return !sensitive && v.t == JJ_STR ? jj_case(r, v, 'L') : v;
}

/* ---- text ---------------------------------------------------------------------------------------------- */
/* What a safe string becomes is safe. */
static struct jj_val like(struct jj_val self, struct jj_val v)
{
	return self.t == JJ_STR && self.sub ? jj_mark_safe(v) : v;
}
FILTER(f_upper) { UNUSED; return like(self, jj_case(r, jj_to_str(r, self), 'U')); }
FILTER(f_lower) { UNUSED; return like(self, jj_case(r, jj_to_str(r, self), 'L')); }
FILTER(f_title) { UNUSED; return jj_case(r, jj_to_str(r, self), 'W'); }
FILTER(f_capitalize) { UNUSED; return like(self, jj_case(r, jj_to_str(r, self), 'C')); }
FILTER(f_string) { UNUSED; return jj_to_str(r, self); }
FILTER(f_safe)
{
	UNUSED;
	struct jj_val s = jj_to_str(r, self);
	s.sub = s.t == JJ_STR;
	return s;
}
FILTER(f_trim)
{
	UNUSED;
	struct jj_val s = jj_to_str(r, self);
	if (r->rc || !given(p[0]) || p[0].t == JJ_NONE) return like(self, jj_strip(r, s, NULL, 3));
	if (p[0].t != JJ_STR) return jj_fail(r, LM_EINVAL, "strip arg must be None or str");
	return like(self, jj_strip(r, s, &p[0], 3));
}
FILTER(f_replace)
{
	UNUSED;
	struct jj_val s = jj_to_str(r, self), old = jj_to_str(r, p[0]), new_ = jj_to_str(r, p[1]);
	int64_t max = integer(r, p[2], -1);
	return r->rc ? s : jj_replace(r, s, old, new_, max);
}
FILTER(f_escape)
{
	static const char *const ent[] = { "&amp;", "&lt;", "&gt;", "&#39;", "&#34;" };
	struct jj_val s = jj_to_str(r, self);
	struct lm_buf b = { 0 };
	UNUSED;
	if (s.sub) return s;
	for (uint32_t i = 0; i < s.n && !r->rc; i++) {
		const char *q = s.s[i] ? strchr("&<>'\"", s.s[i]) : NULL;
		if (q) jj_write(r, &b, ent[q - "&<>'\""], strlen(ent[q - "&<>'\""]));
		else jj_write(r, &b, s.s + i, 1);
	}
	s = jj_take(r, &b);
	s.sub = s.t == JJ_STR;
	return s;
}
FILTER(f_forceescape)
{
	struct jj_val s = jj_to_str(r, self);
	s.sub = 0;
	return f_escape(r, s, p, raw);
}
FILTER(f_center)
{
	struct jj_val m = { 0 }, width = given(p[0]) ? p[0] : jj_int(80), s = jj_to_str(r, self);
	UNUSED;
	if (r->rc || !jj_method(r, s, jj_cstr("center"), &m)) return s;
	return jj_call(r, m, &(struct jj_args){ .v = &width, .n = 1 });
}
FILTER(f_indent)
{
	struct jj_val by = given(p[0]) ? p[0] : jj_int(4), pad;
	struct lm_buf b = { 0 };
	UNUSED;
	if (self.t != JJ_STR)
		return self.t == JJ_UNDEF
			       ? jj_undef_fail(r, self)
			       : jj_fail(r, LM_EINVAL, "indent needs a str, not %s", jj_type_name(self));
	pad = by.t == JJ_STR ? by : jj_binary(r, '*', jj_cstr(" "), by);
	struct jj_val lines = jj_lines(r, jj_concat(r, self, jj_cstr("\n")), false);
	for (int i = 0; !r->rc && i < lines.q->n; i++) {
		struct jj_val l = lines.q->v[i];
		if (i) jj_write(r, &b, "\n", 1);
		if (i ? (l.n || flag(p[2])) : flag(p[1])) jj_write(r, &b, pad.s, pad.n);
		jj_write(r, &b, l.s, l.n);
	}
	return like(self, jj_take(r, &b));
}
FILTER(f_join)
{
	struct lm_buf b = { 0 };
	struct jj_iter it;
	struct jj_val x, d = given(p[0]) ? jj_to_str(r, p[0]) : jj_cstr("");
	UNUSED;
	if (!jj_iter(r, &it, self)) return self;
	for (int i = 0; jj_next(r, &it, &x); i++) {
		if (i) jj_write(r, &b, d.s, d.n);
		jj_write_str(r, &b, by_path(r, x, p[1], jj_none()));
	}
	return jj_take(r, &b);
}
FILTER(f_format)
{
	UNUSED;
	struct jj_val args = jj_seq(r, JJ_TUPLE, raw->n), s = jj_to_str(r, self);
	if (r->rc) return args;
	if (raw->n_kw && raw->n)
		return jj_fail(r, LM_EINVAL, "format takes positional or keyword arguments, not both");
	for (int i = 0; i < raw->n; i++) args.q->v[i] = raw->v[i];
	if (raw->n_kw) args = jj_dict(r, raw->n_kw);
	for (int i = 0; i < raw->n_kw && !r->rc; i++)
		jj_put(r, args.d, jj_view(raw->kw[i].name, raw->kw[i].len), raw->kw[i].v);
	return r->rc ? s : jj_percent(r, s, args);
}
FILTER(f_truncate)
{
	UNUSED;
	int64_t max = integer(r, p[0], 255), leeway = integer(r, p[3], 5), n;
	struct jj_val end = given(p[2]) ? p[2] : jj_cstr("...");
	n = jj_length(r, self);
	if (end.t == JJ_STR && !jj_step(r, end.n / 8)) return self;
	if (end.t != JJ_STR || max < (int64_t)jj_chars(end) || leeway < 0)
		return jj_fail(r, LM_EINVAL, "truncate: length or leeway too small");
	if (max > n || n <= max + leeway) return self;
	if (self.t != JJ_STR)
		return jj_fail(r, LM_EINVAL, "truncate needs a str, not %s", jj_type_name(self));
	struct jj_val s = jj_sub(self, 0, jj_offset(self, (size_t)(max - (int64_t)jj_chars(end))));
	if (!flag(p[1]))
		for (uint32_t i = s.n; i-- > 0;)
			if (s.s[i] == ' ') {
				s = jj_sub(s, 0, i);
				break;
			}
	return jj_concat(r, s, end);
}
FILTER(f_wordcount)
{
	int64_t n = 0;
	bool in = false;
	struct jj_val s = jj_to_str(r, self);
	UNUSED;
	for (size_t i = 0; i < s.n && jj_step(r, 1);) {
		uint32_t cp;
		i += (size_t)lm_utf8_next(s.s + i, s.n - i, &cp);
		bool w = jj_alnum(cp) || cp == '_';
		n += w && !in;
		in = w;
	}
	return jj_int(n);
}
FILTER(f_tojson)
{
	struct jj_json o = {
		.ascii = flag(p[0]), .sort = flag(p[3]), .item = ", ", .key = ": ", .n_item = 2, .n_key = 2
	};
	struct lm_buf b = { 0 };
	struct jj_val pad = p[1];
	UNUSED;
	if (given(pad) && pad.t != JJ_NONE) {
		if (jj_is_int(pad)) pad = jj_binary(r, '*', jj_cstr(" "), pad);
		if (r->rc || pad.t != JJ_STR)
			return jj_fail(r, LM_EINVAL, "tojson: indent must be an integer or a str");
		o.indent = pad.s;
		o.n_indent = pad.n;
		o.n_item = 1;
	}
	if (given(p[2]) && p[2].t != JJ_NONE) {
		struct jj_val sep = jj_copy(r, p[2]);
		if (r->rc || sep.q->n != 2 || sep.q->v[0].t != JJ_STR || sep.q->v[1].t != JJ_STR)
			return jj_fail(r, LM_EINVAL, "tojson: separators must be two strings");
		o.item = sep.q->v[0].s;
		o.n_item = sep.q->v[0].n;
		o.key = sep.q->v[1].s;
		o.n_key = sep.q->v[1].n;
	}
	jj_write_json(r, &b, self, &o, 0);
	return jj_take(r, &b);
}

/* ---- numbers ------------------------------------------------------------------------------------------- */
/* Python's int(text, base): blanks around, a sign, single underscores, a prefix where it fits the base. */
static bool parse_int(struct jj_val s, int64_t base, int64_t *out)
{
	size_t i = 0;
	bool neg = false, digit = false;
	s = jj_strip(NULL, s, NULL, 3);
	if (i < s.n && (s.s[i] == '-' || s.s[i] == '+')) neg = s.s[i++] == '-';
	if (i + 2 < s.n && s.s[i] == '0') {
		int c = s.s[i + 1] | 32, b = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
		if (b && (base == b || base == 0)) {
			base = b;
			i += 2;
		}
	}
	if (base == 0) base = 10;
	*out = 0;
	for (; i < s.n; i++) {
		char c = s.s[i];
		int d = c >= '0' && c <= '9'                 ? c - '0'
			: (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10
							     : 99;
		if (c == '_' && digit && i + 1 < s.n) {
			digit = false;
			continue;
		}
		if (d >= base || __builtin_mul_overflow(*out, base, out) ||
		    __builtin_sub_overflow(*out, d, out))
			return false;
		digit = true;
	}
	return digit && (neg || !__builtin_sub_overflow((int64_t)0, *out, out));
}

static bool parse_float(struct jj_val s, double *out)
{
	char buf[400], *end;
	size_t n = 0;
	s = jj_strip(NULL, s, NULL, 3);
	if (!s.n || s.n >= sizeof buf) return false;
	for (uint32_t i = 0; i < s.n; i++) {
		char c = s.s[i];
		if (c == 'x' || c == 'X' || c == '(' || !c) return false;
		if (c == '_' && i && isdigit((unsigned char)s.s[i - 1]) && i + 1 < s.n &&
		    isdigit((unsigned char)s.s[i + 1]))
			continue;
		buf[n++] = c;
	}
	buf[n] = 0;
	*out = strtod(buf, &end);
	return end == buf + n && !isspace((unsigned char)buf[0]);
}

FILTER(f_int)
{
	int64_t i;
	double f;
	struct jj_val deflt = given(p[0]) ? p[0] : jj_int(0);
	UNUSED;
	if (self.t == JJ_UNDEF) return jj_undef_fail(r, self);
	if (jj_is_int(self)) return jj_int(self.i);
	if (self.t == JJ_STR && !jj_step(r, self.n / 4)) return self;
	if (self.t == JJ_STR && parse_int(self, integer(r, p[1], 10), &i)) return jj_int(i);
	if (self.t == JJ_FLOAT) f = self.f;
	else if (self.t != JJ_STR || !parse_float(self, &f)) return deflt;
	if (!isfinite(f))
		return self.t == JJ_FLOAT && isinf(f)
			       ? jj_fail(r, LM_EINVAL, "cannot convert float infinity to integer")
			       : deflt;
	if (fabs(f) >= 9.2e18) return jj_fail(r, LM_EINVAL, "integer beyond 64 bits");
	return jj_int((int64_t)f);
}
FILTER(f_float)
{
	double f;
	UNUSED;
	if (self.t == JJ_UNDEF) return jj_undef_fail(r, self);
	if (jj_is_num(self)) return jj_float(jj_num(self));
	if (self.t == JJ_STR && !jj_step(r, self.n / 4)) return self;
	if (self.t == JJ_STR && parse_float(self, &f)) return jj_float(f);
	return given(p[0]) ? p[0] : jj_float(0);
}
FILTER(f_abs)
{
	UNUSED;
	if (self.t == JJ_UNDEF) return jj_undef_fail(r, self);
	if (self.t == JJ_FLOAT) return jj_float(fabs(self.f));
	if (!jj_is_int(self))
		return jj_fail(r, LM_EINVAL, "bad operand type for abs(): '%s'", jj_type_name(self));
	return self.i < 0 ? jj_binary(r, '-', jj_int(0), self) : jj_int(self.i);
}
FILTER(f_round)
{
	UNUSED;
	int64_t digits = integer(r, p[0], 0);
	if (r->rc || !jj_is_num(self))
		return jj_fail(r, LM_EINVAL, "round needs a number, not %s", jj_type_name(self));
	double x = jj_num(self), scale = pow(10, (double)digits);
	if (!given(p[1]) || jj_is(p[1], "common")) {
		char buf[400];
		if (jj_is_int(self) && digits >= 0) return jj_int(self.i);
		if (digits > 17 || !isfinite(x)) return jj_float(x);
		if (digits < 0)
			return jj_is_int(self) ? jj_int((int64_t)(nearbyint(x / scale) * scale))
					       : jj_float(nearbyint(x / scale) * scale);
		snprintf(buf, sizeof buf, "%.*f", (int)digits, x); /* exact decimal, half to even as Python */
		return jj_float(strtod(buf, NULL));
	}
	if (jj_is(p[1], "ceil")) return jj_float(ceil(x * scale) / scale);
	if (jj_is(p[1], "floor")) return jj_float(floor(x * scale) / scale);
	return jj_fail(r, LM_EINVAL, "method must be common, ceil or floor");
}
FILTER(f_sum)
{
	struct jj_iter it;
	struct jj_val x, sum = given(p[1]) ? p[1] : jj_int(0);
	UNUSED;
	if (!jj_iter(r, &it, self)) return self;
	while (jj_next(r, &it, &x)) sum = jj_binary(r, '+', sum, by_path(r, x, p[0], jj_none()));
	return sum;
}

/* ---- sequences ----------------------------------------------------------------------------------------- */
FILTER(f_length) { UNUSED; return jj_int(jj_length(r, self)); }
FILTER(f_list) { UNUSED; return jj_copy(r, self); }
FILTER(f_default)
{
	UNUSED;
	if (self.t == JJ_UNDEF || (flag(p[1]) && !jj_truth(self))) return given(p[0]) ? p[0] : jj_cstr("");
	return self;
}
FILTER(f_first)
{
	struct jj_iter it;
	struct jj_val x;
	UNUSED;
	if (!jj_iter(r, &it, self)) return self;
	return jj_next(r, &it, &x)
		       ? x
		       : jj_undef(r, "No first item, sequence was empty.", NULL, jj_cstr("first"));
}
FILTER(f_last)
{
	UNUSED;
	if (self.t == JJ_SEQ && self.sub == JJ_GEN)
		return jj_fail(r, LM_EINVAL, "'generator' object is not reversible");
	struct jj_val l = jj_copy(r, self);
	if (r->rc || l.q->n) return r->rc ? self : l.q->v[l.q->n - 1];
	return jj_undef(r, "No last item, sequence was empty.", NULL, jj_cstr("last"));
}
FILTER(f_reverse)
{
	UNUSED;
	if (self.t == JJ_STR)
		return jj_slice(r, self, (struct jj_val[3]){ jj_none(), jj_none(), jj_int(-1) });
	struct jj_val l = jj_copy(r, self);
	for (int i = 0, j = r->rc ? -1 : l.q->n - 1; i < j; i++, j--) {
		struct jj_val t = l.q->v[i];
		l.q->v[i] = l.q->v[j];
		l.q->v[j] = t;
	}
	/* Python cannot reverse a generator: jinja2 then makes a list */
	return self.t == JJ_SEQ && self.sub == JJ_GEN ? l : generator(r, l);
}
FILTER(f_items)
{
	UNUSED;
	if (self.t == JJ_UNDEF) return generator(r, jj_seq(r, JJ_LIST, 0));
	if (self.t != JJ_DICT) return jj_fail(r, LM_EINVAL, "Can only get item pairs from a mapping.");
	struct jj_val m = { 0 };
	if (!jj_method(r, self, jj_cstr("items"), &m)) return self;
	return generator(r, jj_call(r, m, &(struct jj_args){ 0 }));
}

/* Stable merge sort of key/value pairs by key. */
struct pair { struct jj_val k, v; };

static void merge_sort(struct jj_run *r, struct pair *a, struct pair *tmp, int n, bool down)
{
	if (n < 2 || r->rc) return;
	int h = n / 2, i = 0, j = h, o = 0;
	merge_sort(r, a, tmp, h, down);
	merge_sort(r, a + h, tmp, n - h, down);
	while (i < h && j < n && !r->rc) {
		int c = jj_order(r, a[j].k, a[i].k, "<");
		tmp[o++] = (down ? c == 1 : c == -1) ? a[j++] : a[i++];
	}
	while (i < h) tmp[o++] = a[i++];
	while (j < n) tmp[o++] = a[j++];
	memcpy(a, tmp, (size_t)n * sizeof *a);
}

static struct jj_val sorted(struct jj_run *r, struct pair *a, int n, bool down)
{
	struct pair *tmp = jj_new(r, struct pair, n);
	struct jj_val out = jj_seq(r, JJ_LIST, n);
	if (r->rc) return out;
	merge_sort(r, a, tmp, n, down);
	for (int i = 0; i < n; i++) out.q->v[i] = a[i].v;
	return out;
}

/* The sort key by an attribute list like "a,b.c": always a list, so that equal parts need no order. */
static struct jj_val sort_key(struct jj_run *r, struct jj_val x, struct jj_val path, bool sensitive)
{
	int n = 1;
	size_t at = 0;
	if (path.t == JJ_STR && !jj_step(r, path.n / 4)) return path;
	for (uint32_t i = 0; path.t == JJ_STR && i < path.n; i++) n += path.s[i] == ',';
	struct jj_val key = jj_seq(r, JJ_LIST, n);
	for (int i = 0; i < n && !r->rc; i++) {
		const char *c = n > 1 ? memchr(path.s + at, ',', path.n - at) : NULL;
		size_t end = c ? (size_t)(c - path.s) : path.n;
		struct jj_val part = n > 1 ? jj_sub(path, at, end) : path;
		key.q->v[i] = fold(r, by_path(r, x, part, jj_none()), sensitive);
		at = end + 1;
	}
	return key;
}

FILTER(f_sort)
{
	UNUSED;
	struct jj_val l = jj_copy(r, self);
	struct pair *a = r->rc ? NULL : jj_new(r, struct pair, l.q->n);
	for (int i = 0; a && !r->rc && i < l.q->n; i++)
		a[i] = (struct pair){ sort_key(r, l.q->v[i], p[2], flag(p[1])), l.q->v[i] };
	return a ? sorted(r, a, l.q->n, flag(p[0])) : self;
}
FILTER(f_dictsort)
{
	struct jj_val by = given(p[1]) ? p[1] : jj_cstr("key"), m = { 0 };
	UNUSED;
	if (self.t == JJ_UNDEF) return jj_undef_fail(r, self);
	if (self.t != JJ_DICT)
		return jj_fail(r, LM_EINVAL, "'%s' object has no attribute 'items'", jj_type_name(self));
	if (!jj_is(by, "key") && !jj_is(by, "value"))
		return jj_fail(r, LM_EINVAL, "You can only sort by either \"key\" or \"value\"");
	if (!jj_method(r, self, jj_cstr("items"), &m)) return self;
	struct jj_val l = jj_call(r, m, &(struct jj_args){ 0 });
	struct pair *a = r->rc ? NULL : jj_new(r, struct pair, l.q->n);
	int at = jj_is(by, "value");
	for (int i = 0; a && !r->rc && i < l.q->n; i++)
		a[i] = (struct pair){ fold(r, l.q->v[i].q->v[at], flag(p[0])), l.q->v[i] };
	return a ? sorted(r, a, l.q->n, flag(p[2])) : self;
}

static struct jj_val extreme(struct jj_run *r, struct jj_val self, const struct jj_val *p, int want)
{
	struct jj_iter it;
	struct jj_val x, best = { 0 }, best_key = { 0 };
	bool any = false;
	if (!jj_iter(r, &it, self)) return self;
	while (jj_next(r, &it, &x)) {
		struct jj_val key = fold(r, by_path(r, x, p[1], jj_none()), flag(p[0]));
		if (any && jj_order(r, key, best_key, want < 0 ? "<" : ">") != want) continue;
		best = x;
		best_key = key;
		any = true;
	}
	return any ? best : jj_undef(r, "No aggregated item, sequence was empty.", NULL, jj_cstr("min"));
}
FILTER(f_min) { UNUSED; return extreme(r, self, p, -1); }
FILTER(f_max) { UNUSED; return extreme(r, self, p, 1); }

FILTER(f_unique)
{
	UNUSED;
	struct jj_val l = jj_copy(r, self), seen = jj_dict(r, 0);
	int n = 0;
	for (int i = 0; !r->rc && i < l.q->n; i++) {
		struct jj_val key = fold(r, by_path(r, l.q->v[i], p[1], jj_none()), flag(p[0]));
		int before = seen.d->n;
		if (jj_put(r, seen.d, key, jj_none()) && seen.d->n > before) l.q->v[n++] = l.q->v[i];
	}
	if (!r->rc) l.q->n = n;
	return generator(r, l);
}

static struct jj_val group(struct jj_run *r, struct jj_val key, const struct pair *a, int n)
{
	struct jj_val g = jj_seq(r, JJ_TUPLE, 2), l = jj_seq(r, JJ_LIST, n);
	if (r->rc) return g;
	for (int i = 0; i < n; i++) l.q->v[i] = a[i].v;
	g.q->v[0] = key;
	g.q->v[1] = l;
	return g;
}
FILTER(f_groupby)
{
	UNUSED;
	struct jj_val l = jj_copy(r, self), out = jj_seq(r, JJ_LIST, 0);
	bool sensitive = flag(p[2]);
	struct pair *a = r->rc ? NULL : jj_new(r, struct pair, l.q->n);
	for (int i = 0; a && i < l.q->n && !r->rc; i++)
		a[i] = (struct pair){ fold(r, by_path(r, l.q->v[i], p[0], p[1]), sensitive), l.q->v[i] };
	if (r->rc || !a) return self;
	sorted(r, a, l.q->n, false);
	out.q->v = l.q->v;                     /* the copy is ours and at least as long */
	for (int i = 0, j; i < l.q->n && !r->rc; i = j) {
		for (j = i + 1; j < l.q->n && jj_eq(r, a[i].k, a[j].k); j++) continue;
		struct jj_val key = sensitive ? a[i].k : by_path(r, a[i].v, p[0], p[1]);
		out.q->v[out.q->n++] = group(r, key, a + i, j - i);
	}
	return out;
}

/* batch: lists of n items; slice: n lists.  p[1] fills what is missing. */
FILTER(f_batch)
{
	UNUSED;
	struct jj_val l = jj_copy(r, self), out;
	int64_t n = integer(r, p[0], 1);
	if (r->rc || n < 1 || n > JJ_MAX_STEPS) return jj_fail(r, LM_EINVAL, "batch needs a positive number");
	out = jj_seq(r, JJ_LIST, (int)((l.q->n + n - 1) / n));
	for (int i = 0; !r->rc && i < out.q->n; i++) {
		int64_t from = i * n, have = l.q->n - from < n ? l.q->n - from : n,
			len = given(p[1]) && p[1].t != JJ_NONE ? n : have;
		struct jj_val row = jj_seq(r, JJ_LIST, (int)len);
		for (int64_t k = 0; !r->rc && k < len; k++) row.q->v[k] = k < have ? l.q->v[from + k] : p[1];
		out.q->v[i] = row;
	}
	return generator(r, out);
}
FILTER(f_slice)
{
	UNUSED;
	struct jj_val l = jj_copy(r, self), out;
	int64_t n = integer(r, p[0], 1), at = 0;
	if (r->rc || n < 1 || n > JJ_MAX_STEPS) return jj_fail(r, LM_EINVAL, "slice needs a positive number");
	out = jj_seq(r, JJ_LIST, (int)n);
	for (int64_t i = 0; !r->rc && i < n; i++) {
		int64_t extra = i < l.q->n % n, len = l.q->n / n + extra,
			fill = !extra && given(p[1]) && p[1].t != JJ_NONE;
		struct jj_val row = jj_seq(r, JJ_LIST, (int)(len + fill));
		for (int64_t k = 0; !r->rc && k < len + fill; k++)
			row.q->v[k] = k < len ? l.q->v[at + k] : p[1];
		out.q->v[i] = row;
		at += len;
	}
	return generator(r, out);
}

FILTER(f_map)
{
	UNUSED;
	if (!jj_truth(self)) return generator(r, jj_seq(r, JJ_LIST, 0));
	struct jj_val l = jj_copy(r, self), path = { .t = JJ_MISSING }, deflt = { .t = JJ_MISSING };
	const struct jj_fn *fn = NULL;
	struct jj_args rest = {
		.v = raw->n ? raw->v + 1 : NULL, .n = raw->n - 1, .kw = raw->kw, .n_kw = raw->n_kw
	};
	for (int i = 0; !raw->n && i < raw->n_kw; i++) {
		struct jj_val name = jj_view(raw->kw[i].name, raw->kw[i].len);
		if (jj_is(name, "attribute")) path = raw->kw[i].v;
		else if (jj_is(name, "default")) deflt = raw->kw[i].v;
		else
			return jj_fail(r, LM_EINVAL, "map: unexpected keyword argument '%.*s'",
				       (int)(name.n > 60 ? 60 : name.n), name.s);
	}
	if (!raw->n && !given(path)) return jj_fail(r, LM_EINVAL, "map requires a filter argument");
	if (raw->n) {
		struct jj_val name = jj_to_str(r, raw->v[0]);
		fn = raw->v[0].t == JJ_STR ? jj_filter(name) : NULL;
		if (!fn)
			return jj_fail(r, LM_EINVAL, "no filter named '%.*s'",
				       (int)(name.n > 60 ? 60 : name.n), name.s);
	}
	for (int i = 0; !r->rc && i < l.q->n; i++)
		l.q->v[i] = fn ? jj_apply(r, fn, l.q->v[i], &rest) : by_path(r, l.q->v[i], path, deflt);
	return generator(r, l);
}

static struct jj_val choose(struct jj_run *r, struct jj_val self, const struct jj_args *raw, bool attr,
			    bool want)
{
	int off = attr ? 1 : 0, n = 0;
	const struct jj_fn *fn = NULL;
	struct jj_args rest = { .v = raw->n > off ? raw->v + off + 1 : NULL,
				.n = raw->n - off - 1,
				.kw = raw->kw,
				.n_kw = raw->n_kw };
	if (!jj_truth(self)) return generator(r, jj_seq(r, JJ_LIST, 0));
	if (attr && !raw->n) return jj_fail(r, LM_EINVAL, "missing parameter for attribute name");
	if (raw->n > off) {
		struct jj_val name = jj_to_str(r, raw->v[off]);
		fn = jj_test(name);
		if (!fn)
			return jj_fail(r, LM_EINVAL, "no test named '%.*s'", (int)(name.n > 60 ? 60 : name.n),
				       name.s);
	}
	struct jj_val l = jj_copy(r, self);
	for (int i = 0; !r->rc && i < l.q->n; i++) {
		struct jj_val x = l.q->v[i], key = attr ? by_path(r, x, raw->v[0], jj_none()) : x;
		if (jj_truth(fn ? jj_apply(r, fn, key, &rest) : key) == want) l.q->v[n++] = x;
	}
	if (!r->rc) l.q->n = n;
	return generator(r, l);
}
FILTER(f_select) { UNUSED; return choose(r, self, raw, false, true); }
FILTER(f_reject) { UNUSED; return choose(r, self, raw, false, false); }
FILTER(f_selectattr) { UNUSED; return choose(r, self, raw, true, true); }
FILTER(f_rejectattr) { UNUSED; return choose(r, self, raw, true, false); }

FILTER(f_attr)
{
	UNUSED;
	if (p[0].t != JJ_STR) return jj_fail(r, LM_EINVAL, "attr needs a name, not %s", jj_type_name(p[0]));
	if (self.t == JJ_UNDEF) return jj_undef_fail(r, self);
	struct jj_val v = jj_attr(r, self, p[0]);
	/* only attributes, no items */
	return self.t == JJ_DICT && v.t != JJ_METHOD ? jj_undef(r, NULL, jj_obj_name(self), p[0]) : v;
}

static const struct jj_fn filters[] = {
	{ "tojson", "?ensure_ascii ?indent ?separators ?sort_keys", f_tojson },
	{ "length", "", f_length },
	{ "trim", "?chars", f_trim },
	{ "default", "?default_value ?boolean", f_default },
	{ "string", "", f_string },
	{ "upper", "", f_upper },
	{ "join", "?d ?attribute", f_join },
	{ "dictsort", "?case_sensitive ?by ?reverse", f_dictsort },
	{ "lower", "", f_lower },
	{ "items", "", f_items },
	{ "safe", "", f_safe },
	{ "list", "", f_list },
	{ "replace", "old new ?count", f_replace },
	{ "selectattr", "*", f_selectattr },
	{ "map", "*", f_map },
	{ "indent", "?width ?first ?blank", f_indent },
	{ "int", "?default ?base", f_int },
	{ "rejectattr", "*", f_rejectattr },
	{ "reject", "*", f_reject },
	{ "select", "*", f_select },
	{ "unique", "?case_sensitive ?attribute", f_unique },
	{ "sort", "?reverse ?case_sensitive ?attribute", f_sort },
	{ "min", "?case_sensitive ?attribute", f_min },
	{ "max", "?case_sensitive ?attribute", f_max },
	{ "d", "?default_value ?boolean", f_default },
	{ "count", "", f_length },
	{ "first", "", f_first },
	{ "last", "", f_last },
	{ "reverse", "", f_reverse },
	{ "capitalize", "", f_capitalize },
	{ "title", "", f_title },
	{ "float", "?default", f_float },
	{ "abs", "", f_abs },
	{ "round", "?precision ?method", f_round },
	{ "sum", "?attribute ?start", f_sum },
	{ "format", "*", f_format },
	{ "e", "", f_escape },
	{ "escape", "", f_escape },
	{ "attr", "name", f_attr },
	{ "batch", "linecount ?fill_with", f_batch },
	{ "slice", "slices ?fill_with", f_slice },
	{ "groupby", "attribute ?default ?case_sensitive", f_groupby },
	{ "wordcount", "", f_wordcount },
	{ "center", "?width", f_center },
	{ "forceescape", "", f_forceescape },
	{ "truncate", "?length ?killwords ?end ?leeway", f_truncate },
};

const struct jj_fn *jj_filter(struct jj_val name)
{
	for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
		if (jj_is(name, filters[i].name)) return &filters[i];
	return NULL;
}
