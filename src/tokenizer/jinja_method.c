/* jinja_method.c - methods of str, dict, list and tuple.  What would change a list or dict is refused. */
#include "tokenizer/jinja.h"
#include <stdio.h>
#include <utf8proc.h>

#define METHOD(id)                                                                                           \
	static struct jj_val id(struct jj_run *r, struct jj_val self, const struct jj_val *p,                \
				const struct jj_args *raw)
#define UNUSED ((void)p, (void)raw)

struct list { struct jj_val *v; int n, cap; };

static void push(struct jj_run *r, struct list *l, struct jj_val v)
{
	if (l->n == l->cap) {
		int cap = l->cap ? 2 * l->cap : 8;
		struct jj_val *more = jj_new(r, struct jj_val, cap);
		if (!more) return;
		if (l->n) memcpy(more, l->v, (size_t)l->n * sizeof *more);
		l->v = more;
		l->cap = cap;
	}
	l->v[l->n++] = v;
}

static struct jj_val finish(struct jj_run *r, const struct list *l, int kind)
{
	struct jj_val v = jj_seq(r, kind, 0);
	if (r->rc) return v;
	v.q->v = l->v;
	v.q->n = l->n;
	return v;
}

static bool need_str(struct jj_run *r, struct jj_val v, const char *what)
{
	if (v.t == JJ_STR) return true;
	if (v.t == JJ_UNDEF) jj_fail(r, LM_EINVAL, "%s: expected a str, not an undefined value", what);
	else jj_fail(r, LM_EINVAL, "%s: expected a str, not %s", what, jj_type_name(v));
	return false;
}

/* An optional integer argument; None counts as absent. */
static int64_t opt_int(struct jj_run *r, struct jj_val v, int64_t absent)
{
	if (v.t == JJ_MISSING || v.t == JJ_NONE) return absent;
	if (!jj_is_int(v))
		jj_fail(r, LM_EINVAL, "'%s' object cannot be interpreted as an integer", jj_type_name(v));
	return jj_is_int(v) ? v.i : absent;
}

/* ---- str: trimming and cutting ------------------------------------------------------------------------- */
static struct jj_val strip(struct jj_run *r, struct jj_val self, const struct jj_val *p, int sides)
{
	if (p[0].t == JJ_MISSING || p[0].t == JJ_NONE) return jj_strip(r, self, NULL, sides);
	return need_str(r, p[0], "strip()") ? jj_strip(r, self, &p[0], sides) : self;
}
METHOD(s_strip) { UNUSED; return strip(r, self, p, 3); }
METHOD(s_lstrip) { UNUSED; return strip(r, self, p, 1); }
METHOD(s_rstrip) { UNUSED; return strip(r, self, p, 2); }

static void split_space(struct jj_run *r, struct jj_val s, int64_t max, struct list *l)
{
	struct jj_val rest = jj_strip(r, s, NULL, 1);
	while (rest.n && !r->rc) {
		size_t end = 0, len;
		if (max-- == 0) {
			push(r, l, rest);
			return;
		}
		for (; end < rest.n; end += len) {
			uint32_t cp;
			len = (size_t)lm_utf8_next(rest.s + end, rest.n - end, &cp);
			if (jj_space(cp)) break;
		}
		if (!jj_step(r, 1 + end / 4)) return;
		push(r, l, jj_sub(rest, 0, end));
		rest = jj_strip(r, jj_sub(rest, end, rest.n), NULL, 1);
	}
}

static bool sep_of(struct jj_run *r, struct jj_val v, const char *what)
{
	if (!need_str(r, v, what)) return false;
	if (!v.n) jj_fail(r, LM_EINVAL, "empty separator");
	return v.n > 0;
}

METHOD(s_split)
{
	struct list l = { 0 };
	int64_t max = opt_int(r, p[1], -1), at;
	size_t from = 0;
	UNUSED;
	if (p[0].t == JJ_MISSING || p[0].t == JJ_NONE) {
		split_space(r, self, max, &l);
		return finish(r, &l, JJ_LIST);
	}
	if (!sep_of(r, p[0], "split()")) return self;
	while (max-- != 0 && (at = jj_search(r, self, p[0], from)) >= 0) {
		push(r, &l, jj_sub(self, from, (size_t)at));
		from = (size_t)at + p[0].n;
	}
	push(r, &l, jj_sub(self, from, self.n));
	return finish(r, &l, JJ_LIST);
}

/* Byte of the last occurrence of `what` in s[0..end), or -1. */
static int64_t search_back(struct jj_run *r, struct jj_val s, struct jj_val what, size_t end)
{
	if (what.n > end || !jj_step(r, 1)) return -1;
	for (size_t at = end - what.n + 1; at-- > 0;) {
		if (at % 64 == 0 && !jj_step(r, 1)) return -1;
		if (what.n && s.s[at] != what.s[0]) continue;
		if (!jj_step(r, 1 + (what.n >> 6))) return -1;
		if (!what.n || memcmp(s.s + at, what.s, what.n) == 0) return (int64_t)at;
	}
	return -1;
}

static void reverse(struct list *l)
{
	for (int i = 0, j = l->n - 1; i < j; i++, j--) {
		struct jj_val t = l->v[i];
		l->v[i] = l->v[j];
		l->v[j] = t;
	}
}

static void rsplit_space(struct jj_run *r, struct jj_val s, int64_t max, struct list *l)
{
	struct jj_val rest = jj_strip(r, s, NULL, 2);
	while (rest.n && !r->rc) {
		size_t from = rest.n;
		if (max-- == 0) {
			push(r, l, rest);
			return;
		}
		while (from > 0) {
			size_t at = from - 1;
			uint32_t cp;
			while (at > 0 && (rest.s[at] & 0xC0) == 0x80) at--;
			lm_utf8_next(rest.s + at, rest.n - at, &cp);
			if (jj_space(cp)) break;
			from = at;
		}
		if (!jj_step(r, 1 + (rest.n - from) / 4)) return;
		push(r, l, jj_sub(rest, from, rest.n));
		rest = jj_strip(r, jj_sub(rest, 0, from), NULL, 2);
	}
}

METHOD(s_rsplit)
{
	struct list l = { 0 };
	int64_t max = opt_int(r, p[1], -1), at;
	size_t end = self.n;
	UNUSED;
	if (p[0].t == JJ_MISSING || p[0].t == JJ_NONE) {
		rsplit_space(r, self, max, &l);
	} else {
		if (!sep_of(r, p[0], "rsplit()")) return self;
		while (max-- != 0 && (at = search_back(r, self, p[0], end)) >= 0) {
			push(r, &l, jj_sub(self, (size_t)at + p[0].n, end));
			end = (size_t)at;
		}
		push(r, &l, jj_sub(self, 0, end));
	}
	reverse(&l);
	return finish(r, &l, JJ_LIST);
}

static struct jj_val three(struct jj_run *r, struct jj_val a, struct jj_val b, struct jj_val c)
{
	struct jj_val v = jj_seq(r, JJ_TUPLE, 3);
	if (r->rc) return v;
	v.q->v[0] = a;
	v.q->v[1] = b;
	v.q->v[2] = c;
	return v;
}

METHOD(s_partition)
{
	UNUSED;
	if (!sep_of(r, p[0], "partition()")) return self;
	int64_t at = jj_search(r, self, p[0], 0);
	if (at < 0) return three(r, self, jj_cstr(""), jj_cstr(""));
	return three(r, jj_sub(self, 0, (size_t)at), p[0], jj_sub(self, (size_t)at + p[0].n, self.n));
}
METHOD(s_rpartition)
{
	UNUSED;
	if (!sep_of(r, p[0], "rpartition()")) return self;
	int64_t at = search_back(r, self, p[0], self.n);
	if (at < 0) return three(r, jj_cstr(""), jj_cstr(""), self);
	return three(r, jj_sub(self, 0, (size_t)at), p[0], jj_sub(self, (size_t)at + p[0].n, self.n));
}
METHOD(s_splitlines) { UNUSED; return jj_lines(r, self, p[0].t != JJ_MISSING && jj_truth(p[0])); }

/* ---- str: search --------------------------------------------------------------------------------------- */
/* self[start:end] by the optional arguments p[0], p[1]; *from: its first byte, -1: start lies beyond the end.
 */
static struct jj_val window(struct jj_run *r, struct jj_val self, const struct jj_val *p, int64_t *from)
{
	*from = 0;
	if (p[0].t == JJ_MISSING && p[1].t == JJ_MISSING) return self;
	int64_t n = jj_length(r, self), a = opt_int(r, p[0], 0), b = opt_int(r, p[1], n);
	if (a < 0) a = a < -n ? 0 : a + n;
	if (b < 0) b = b < -n ? 0 : b + n;
	if (b > n) b = n;
	if (a > b) {
		*from = -1;
		return jj_cstr("");
	}
	if (!jj_step(r, self.n >> 5)) return self;
	*from = (int64_t)jj_offset(self, (size_t)a);
	return jj_sub(self, (size_t)*from, jj_offset(self, (size_t)b));
}

static bool has_affix(struct jj_run *r, struct jj_val s, struct jj_val x, bool end)
{
	if (!jj_step(r, x.n >> 8)) return false;
	return x.n <= s.n && (!x.n || memcmp(s.s + (end ? s.n - x.n : 0), x.s, x.n) == 0);
}

static struct jj_val affix(struct jj_run *r, struct jj_val self, const struct jj_val *p, bool end)
{
	int64_t from;
	struct jj_val s = window(r, self, p + 1, &from);
	const char *what = end ? "endswith()" : "startswith()";
	if (from < 0 || r->rc) return jj_bool(false);
	if (p[0].t != JJ_SEQ || p[0].sub != JJ_TUPLE)
		return need_str(r, p[0], what) ? jj_bool(has_affix(r, s, p[0], end)) : self;
	for (int i = 0; i < p[0].q->n; i++) {
		if (!need_str(r, p[0].q->v[i], what)) return self;
		if (has_affix(r, s, p[0].q->v[i], end)) return jj_bool(true);
	}
	return jj_bool(false);
}
METHOD(s_startswith) { UNUSED; return affix(r, self, p, false); }
METHOD(s_endswith) { UNUSED; return affix(r, self, p, true); }

static struct jj_val find(struct jj_run *r, struct jj_val self, const struct jj_val *p, bool back, bool must)
{
	int64_t from, at = -1;
	struct jj_val s = window(r, self, p + 1, &from);
	if (r->rc || !need_str(r, p[0], "find()")) return self;
	if (from >= 0) at = back ? search_back(r, s, p[0], s.n) : jj_search(r, s, p[0], 0);
	if (at < 0) return must ? jj_fail(r, LM_EINVAL, "substring not found") : jj_int(-1);
	return jj_step(r, self.n >> 6) ? jj_int((int64_t)jj_chars(jj_sub(self, 0, (size_t)(from + at))))
				       : self;
}
METHOD(s_find) { UNUSED; return find(r, self, p, false, false); }
METHOD(s_rfind) { UNUSED; return find(r, self, p, true, false); }
METHOD(s_index) { UNUSED; return find(r, self, p, false, true); }
METHOD(s_rindex) { UNUSED; return find(r, self, p, true, true); }

METHOD(s_count)
{
	int64_t from, at, n = 0;
	struct jj_val s = window(r, self, p + 1, &from);
	UNUSED;
	if (r->rc || !need_str(r, p[0], "count()")) return self;
	if (from < 0) return jj_int(0);
	if (!p[0].n) return jj_int((int64_t)jj_chars(s) + 1);
	for (size_t i = 0; (at = jj_search(r, s, p[0], i)) >= 0; n++) i = (size_t)at + p[0].n;
	return jj_int(n);
}

METHOD(s_replace)
{
	UNUSED;
	if (!need_str(r, p[0], "replace()") || !need_str(r, p[1], "replace()")) return self;
	return jj_replace(r, self, p[0], p[1], opt_int(r, p[2], -1));
}
METHOD(s_removeprefix)
{
	UNUSED;
	if (!need_str(r, p[0], "removeprefix()")) return self;
	return has_affix(r, self, p[0], false) ? jj_sub(self, p[0].n, self.n) : self;
}
METHOD(s_removesuffix)
{
	UNUSED;
	if (!need_str(r, p[0], "removesuffix()")) return self;
	return has_affix(r, self, p[0], true) ? jj_sub(self, 0, self.n - p[0].n) : self;
}

/* ---- str: case and kind -------------------------------------------------------------------------------- */
METHOD(s_upper) { UNUSED; return jj_case(r, self, 'U'); }
METHOD(s_lower) { UNUSED; return jj_case(r, self, 'L'); }
METHOD(s_title) { UNUSED; return jj_case(r, self, 'T'); }
METHOD(s_capitalize) { UNUSED; return jj_case(r, self, 'C'); }
METHOD(s_swapcase) { UNUSED; return jj_case(r, self, 'S'); }
METHOD(s_isupper) { UNUSED; (void)r; return jj_bool(jj_is_upper(r, self)); }
METHOD(s_islower) { UNUSED; (void)r; return jj_bool(jj_is_lower(r, self)); }

static bool all(struct jj_run *r, struct jj_val s, char kind)
{
	for (size_t i = 0; i < s.n && jj_step(r, 1);) {
		uint32_t cp;
		i += (size_t)lm_utf8_next(s.s + i, s.n - i, &cp);
		utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
		bool alpha = c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
		bool digit = c == UTF8PROC_CATEGORY_ND || cp == 0xB2 || cp == 0xB3 || cp == 0xB9;
		bool ok = kind == 's' ? jj_space(cp) : kind == 'a' ? alpha : kind == 'd' ? digit
		          : kind == '0' ? c == UTF8PROC_CATEGORY_ND : kind == '7' ? cp < 128
		          : alpha || digit || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
		if (kind == 'n') ok = ok && !alpha;
		if (!ok) return false;
	}
	return s.n > 0 || kind == '7';
}
METHOD(s_isspace) { UNUSED; return jj_bool(all(r, self, 's')); }
METHOD(s_isalpha) { UNUSED; return jj_bool(all(r, self, 'a')); }
METHOD(s_isdigit) { UNUSED; return jj_bool(all(r, self, 'd')); }
METHOD(s_isdecimal) { UNUSED; return jj_bool(all(r, self, '0')); }
METHOD(s_isnumeric) { UNUSED; return jj_bool(all(r, self, 'n')); }
METHOD(s_isalnum) { UNUSED; return jj_bool(all(r, self, 'w')); }
METHOD(s_isascii) { UNUSED; return jj_bool(all(r, self, '7')); }

/* ---- str: padding and joining -------------------------------------------------------------------------- */
static struct jj_val pad(struct jj_run *r, struct jj_val self, const struct jj_val *p, char how)
{
	struct jj_val fill = p[1].t == JJ_MISSING ? jj_cstr(" ") : p[1];
	int64_t n = jj_length(r, self), room = opt_int(r, p[0], 0) - n, left;
	struct lm_buf b = { 0 };
	if (r->rc || !need_str(r, fill, "fill character")) return self;
	if (fill.n > 4 || jj_chars(fill) != 1)
		return jj_fail(r, LM_EINVAL, "the fill character must be exactly one character long");
	if (room <= 0) return self;
	left = how == 'l' ? 0 : how == 'r' ? room : room / 2 + (room & (room + n) & 1);
	for (int64_t i = 0; i < left && jj_step(r, 1); i++) jj_write(r, &b, fill.s, fill.n);
	jj_write(r, &b, self.s, self.n);
	for (int64_t i = left; i < room && jj_step(r, 1); i++) jj_write(r, &b, fill.s, fill.n);
	return jj_take(r, &b);
}
METHOD(s_center) { UNUSED; return pad(r, self, p, 'c'); }
METHOD(s_ljust) { UNUSED; return pad(r, self, p, 'l'); }
METHOD(s_rjust) { UNUSED; return pad(r, self, p, 'r'); }
METHOD(s_zfill)
{
	UNUSED;
	bool sign = self.n && (self.s[0] == '-' || self.s[0] == '+');
	struct jj_val q[2] = { jj_int(opt_int(r, p[0], 0) - sign), jj_cstr("0") };
	struct jj_val v = pad(r, jj_sub(self, sign, self.n), q, 'r');
	return sign ? jj_concat(r, jj_sub(self, 0, 1), v) : v;
}

METHOD(s_join)
{
	struct lm_buf b = { 0 };
	struct jj_iter it;
	struct jj_val x;
	UNUSED;
	if (!jj_iter(r, &it, p[0])) return self;
	for (int i = 0; jj_next(r, &it, &x); i++) {
		if (x.t != JJ_STR) {
			jj_fail(r, LM_EINVAL, "sequence item %d: expected str instance, %s found", i,
				jj_type_name(x));
			break;
		}
		if (i) jj_write(r, &b, self.s, self.n);
		jj_write(r, &b, x.s, x.n);
	}
	return jj_take(r, &b);
}
METHOD(s_format) { (void)p; return jj_format(r, self, raw); }
METHOD(unsupported)
{
	UNUSED;
	(void)self;
	return jj_fail(r, LM_EUNSUPPORTED, "this method is not supported");
}

/* ---- dict, list ---------------------------------------------------------------------------------------- */
METHOD(d_get)
{
	UNUSED;
	if (!jj_hashable(r, p[0])) return jj_fail(r, LM_EINVAL, "unhashable type: '%s'", jj_type_name(p[0]));
	const struct jj_val *v = jj_find(r, self.d, p[0]);
	return v ? *v : p[1].t == JJ_MISSING ? jj_none() : p[1];
}

static struct jj_val view(struct jj_run *r, const struct jj_dict *d, int kind)
{
	struct jj_val v = jj_seq(r, kind, d->n);
	for (int i = 0; !r->rc && i < d->n; i++) {
		if (kind != JJ_ITEMS) {
			v.q->v[i] = kind == JJ_KEYS ? d->k[i] : d->v[i];
			continue;
		}
		struct jj_val pair = jj_seq(r, JJ_TUPLE, 2);
		if (r->rc) break;
		pair.q->v[0] = d->k[i];
		pair.q->v[1] = d->v[i];
		v.q->v[i] = pair;
	}
	return v;
}
METHOD(d_items) { UNUSED; return view(r, self.d, JJ_ITEMS); }
METHOD(d_keys) { UNUSED; return view(r, self.d, JJ_KEYS); }
METHOD(d_values) { UNUSED; return view(r, self.d, JJ_VALUES); }
METHOD(same) { UNUSED; (void)r; return self; }

METHOD(l_count)
{
	int64_t n = 0;
	UNUSED;
	for (int i = 0; i < self.q->n && jj_step(r, 1); i++) n += jj_eq(r, self.q->v[i], p[0]);
	return jj_int(n);
}
METHOD(l_index)
{
	UNUSED;
	for (int i = 0; i < self.q->n && jj_step(r, 1); i++)
		if (jj_eq(r, self.q->v[i], p[0])) return jj_int(i);
	return jj_fail(r, LM_EINVAL, "value is not in the list");
}

static const struct jj_fn str_methods[] = {
	{ "split", "?sep ?maxsplit", s_split },
	{ "strip", "?chars", s_strip },
	{ "lstrip", "?chars", s_lstrip },
	{ "rstrip", "?chars", s_rstrip },
	{ "startswith", "prefix ?start ?end", s_startswith },
	{ "endswith", "suffix ?start ?end", s_endswith },
	{ "replace", "old new ?count", s_replace },
	{ "format", "*", s_format },
	{ "upper", "", s_upper },
	{ "lower", "", s_lower },
	{ "title", "", s_title },
	{ "capitalize", "", s_capitalize },
	{ "swapcase", "", s_swapcase },
	{ "casefold", "", s_lower },
	{ "join", "iterable", s_join },
	{ "find", "sub ?start ?end", s_find },
	{ "rfind", "sub ?start ?end", s_rfind },
	{ "index", "sub ?start ?end", s_index },
	{ "rindex", "sub ?start ?end", s_rindex },
	{ "count", "sub ?start ?end", s_count },
	{ "rsplit", "?sep ?maxsplit", s_rsplit },
	{ "partition", "sep", s_partition },
	{ "rpartition", "sep", s_rpartition },
	{ "splitlines", "?keepends", s_splitlines },
	{ "removeprefix", "prefix", s_removeprefix },
	{ "removesuffix", "suffix", s_removesuffix },
	{ "isupper", "", s_isupper },
	{ "islower", "", s_islower },
	{ "isspace", "", s_isspace },
	{ "isalpha", "", s_isalpha },
	{ "isdigit", "", s_isdigit },
	{ "isdecimal", "", s_isdecimal },
	{ "isnumeric", "", s_isnumeric },
	{ "isalnum", "", s_isalnum },
	{ "isascii", "", s_isascii },
	{ "center", "width ?fillchar", s_center },
	{ "ljust", "width ?fillchar", s_ljust },
	{ "rjust", "width ?fillchar", s_rjust },
	{ "zfill", "width", s_zfill },
	{ "encode", "*", unsupported },
	{ "format_map", "*", unsupported },
	{ "translate", "*", unsupported },
	{ "maketrans", "*", unsupported },
	{ "expandtabs", "*", unsupported },
	{ "isidentifier", "*", unsupported },
	{ "isprintable", "*", unsupported },
	{ "istitle", "*", unsupported },
	{ NULL, NULL, NULL },
};
static const struct jj_fn dict_methods[] = {
	{ "get", "key ?default", d_get },
	{ "items", "", d_items },
	{ "keys", "", d_keys },
	{ "values", "", d_values },
	{ "copy", "", same },
	{ "fromkeys", "*", unsupported },
	{ NULL, NULL, NULL },
};
static const struct jj_fn list_methods[] = {
	{ "count", "value", l_count },
	{ "index", "value", l_index },
	{ "copy", "", same },
	{ NULL, NULL, NULL },
};
static const char *const dict_unsafe[] = { "pop", "update", "setdefault", "clear", "popitem", NULL };
static const char *const list_unsafe[] = { "append", "pop",     "extend", "insert", "remove",
					   "sort",   "reverse", "clear",  NULL };

static struct jj_val unsafe(struct jj_run *r, struct jj_val v, struct jj_val name)
{
	char *hint = jj_new(r, char, 160);
	if (!hint) return v;
	snprintf(hint, 160, "access to attribute '%.*s' of '%s' object is unsafe",
		 (int)(name.n > 60 ? 60 : name.n), name.s, jj_type_name(v));
	return jj_undef(r, hint, NULL, name);
}

bool jj_method(struct jj_run *r, struct jj_val v, struct jj_val name, struct jj_val *out)
{
	bool list = v.t == JJ_SEQ && v.sub <= JJ_TUPLE;
	const struct jj_fn *m = v.t == JJ_STR    ? str_methods
				: v.t == JJ_DICT ? dict_methods
				: list           ? list_methods
						 : NULL;
	const char *const *bad = v.t == JJ_DICT ? dict_unsafe : list && v.sub == JJ_LIST ? list_unsafe : NULL;
	for (; bad && *bad; bad++)
		if (jj_is(name, *bad)) {
			*out = unsafe(r, v, name);
			return true;
		}
	if (name.n > 4 && memcmp(name.s, "__", 2) == 0 && memcmp(name.s + name.n - 2, "__", 2) == 0) {
		*out = unsafe(r, v, name);
		return true;
	}
	for (; m && m->name; m++) {
		if (!jj_is(name, m->name) || (v.sub == JJ_TUPLE && m->fn == same)) continue;
		struct jj_method *mt = jj_new(r, struct jj_method, 1);
		if (mt) *mt = (struct jj_method){ v, m };
		*out = (struct jj_val){ .t = mt ? JJ_METHOD : JJ_UNDEF, .mt = mt };
		return true;
	}
	return false;
}
