/* jinja_format.c - "%s" % x, "{}".format(x) and strftime_now. */
#include "tokenizer/jinja.h"
#include <math.h>
#include <stdio.h>
#include <time.h>

/* One conversion: what stands between % or : and the letter. */
struct spec {
	char fill[5], align, sign, type;   /* align 0: by type; sign 0, '+', ' '; type 0: str() */
	bool alt, comma, none;             /* none: no precision */
	int64_t width, prec;
};
enum { MAX_FIELD = 1 << 20 };

static void text(struct jj_run *r, struct lm_buf *b, const char *s) { jj_write(r, b, s, strlen(s)); }

/* Writes s with its sign or prefix split off, padded to the width. */
static void pad(struct jj_run *r, struct lm_buf *b, const struct spec *f, const char *lead, struct jj_val s)
{
	int64_t room = f->width - (int64_t)strlen(lead) - (int64_t)jj_chars(s), left = 0;
	const char *fill = f->fill[0] ? f->fill : " ";
	if (room < 0) room = 0;
	if (f->align == '>') left = room;
	if (f->align == '^') left = room / 2;
	if (f->align == '=') text(r, b, lead);
	for (int64_t i = 0; i < (f->align == '=' ? room : left); i++) text(r, b, fill);
	if (f->align != '=') text(r, b, lead);
	jj_write(r, b, s.s, s.n);
	for (int64_t i = f->align == '=' ? room : left; i < room; i++) text(r, b, fill);
}

/* Digits in groups of three. */
static void group(char *s, size_t cap)
{
	size_t n = strlen(s), whole = strspn(s, "0123456789"), commas = whole ? (whole - 1) / 3 : 0;
	if (n + commas + 1 > cap) return;
	memmove(s + whole + commas, s + whole, n - whole + 1);
	for (size_t i = whole, o = whole + commas, k = 0; i > 0 && o > i; k++) {
		if (k && k % 3 == 0) s[--o] = ',';
		s[--o] = s[--i];
	}
}

static void put_int(struct jj_run *r, struct lm_buf *b, struct spec f, int64_t v)
{
	char digits[96], lead[8] = "";
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	size_t n = sizeof digits, i = n;
	unsigned base = f.type == 'x' || f.type == 'X' ? 16 : f.type == 'o' ? 8 : f.type == 'b' ? 2 : 10;
	const char *set = f.type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	digits[--i] = 0;
	do digits[--i] = set[u % base];
	while (u /= base);
	while (!f.none && (int64_t)(n - 1 - i) < f.prec && i > 1) digits[--i] = '0';
	memmove(digits, digits + i, n - i);
	if (f.comma) group(digits, sizeof digits);
	snprintf(lead, sizeof lead, "%s%s",
		 v < 0           ? "-"
		 : f.sign == '+' ? "+"
		 : f.sign == ' ' ? " "
				 : "",
		 !f.alt          ? ""
		 : f.type == 'x' ? "0x"
		 : f.type == 'X' ? "0X"
		 : f.type == 'o' ? "0o"
		 : f.type == 'b' ? "0b"
				 : "");
	if (!f.align) f.align = '>';
	pad(r, b, &f, lead, jj_cstr(digits));
}

static void put_float(struct jj_run *r, struct lm_buf *b, struct spec f, double v)
{
	char buf[1600], form[16];
	int prec = f.none ? 6 : (int)f.prec;
	if (prec > 1000) {
		jj_fail(r, LM_EINVAL, "precision too big");
		return;
	}
	bool per_cent = f.type == '%';
	if (!jj_step(r, 8 + (size_t)prec / 8 + (fabs(v) > 1e18 ? 32 : 0))) return;
	if (f.type == 0) {
		if (f.none) jj_float_repr(buf, fabs(v));
		else snprintf(buf, sizeof buf, "%.*g", prec ? prec : 1, fabs(v));
	} else {
		snprintf(form, sizeof form, "%%%s.*%c", f.alt ? "#" : "", per_cent ? 'f' : f.type);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(buf, sizeof buf, form, prec, per_cent ? fabs(v) * 100 : fabs(v));
#pragma GCC diagnostic pop
	}
	if (f.comma) group(buf, sizeof buf);
	if (per_cent) strcat(buf, "%");
	if (!f.align) f.align = '>';
	pad(r, b, &f,
	    signbit(v) && !isnan(v) ? "-"
	    : f.sign == '+'         ? "+"
	    : f.sign == ' '         ? " "
				    : "",
	    jj_cstr(buf));
}

static void put_str(struct jj_run *r, struct lm_buf *b, struct spec f, struct jj_val s)
{
	if (r->rc || s.t != JJ_STR) return;
	if (!f.none) s = jj_sub(s, 0, jj_offset(s, (size_t)f.prec));
	if (!f.align || f.align == '=') f.align = '<';
	pad(r, b, &f, "", s);
}

static struct jj_val repr(struct jj_run *r, struct jj_val v)
{
	struct lm_buf b = { 0 };
	jj_write_repr(r, &b, v);
	return jj_take(r, &b);
}

static int64_t number(const char *s, size_t n, size_t *i)
{
	int64_t v = 0;
	for (; *i < n && s[*i] >= '0' && s[*i] <= '9'; ++*i)
		if (v < MAX_FIELD) v = v * 10 + (s[*i] - '0');
	return v;
}

/* ---- % ------------------------------------------------------------------------------------------------- */
struct percent { struct jj_val args; int next; bool tuple, keyed; };

static struct jj_val take(struct jj_run *r, struct percent *a)
{
	if (a->tuple ? a->next >= a->args.q->n : a->next > 0)
		return jj_fail(r, LM_EINVAL, "not enough arguments for format string");
	return a->tuple ? a->args.q->v[a->next++] : (a->next++, a->args);
}

static void convert(struct jj_run *r, struct lm_buf *b, struct spec f, struct jj_val v)
{
	char u[4];
	if (r->rc) return;
	if (f.type == 's' || f.type == 'r' || f.type == 'a') {
		put_str(r, b, f, f.type == 's' ? jj_to_str(r, v) : repr(r, v));
	} else if (f.type == 'c' && v.t == JJ_STR && jj_chars(v) == 1) {
		put_str(r, b, f, v);
	} else if (f.type == 'c' && jj_is_int(v) && v.i >= 0 && v.i < 0x110000) {
		f.none = true;
		put_str(r, b, f, jj_str(r, u, (size_t)lm_utf8_put(u, (uint32_t)v.i)));
	} else if (v.t == JJ_UNDEF) {
		jj_undef_fail(r, v);
	} else if (!jj_is_num(v)) {
		jj_fail(r, LM_EINVAL, "%%%c format: a number is required, not %s", f.type, jj_type_name(v));
	} else if (strchr("feEgGF", f.type)) {
		put_float(r, b, f, jj_num(v));
	} else if (strchr("diu", f.type) && v.t == JJ_FLOAT && fabs(v.f) < 9e18) {
		put_int(r, b, f, (int64_t)v.f);
	} else if (strchr("diuxXo", f.type) && jj_is_int(v)) {
		put_int(r, b, f, v.i);
	} else {
		jj_fail(r, LM_EINVAL, "unsupported format character '%c' for %s", f.type, jj_type_name(v));
	}
}

static int64_t field_size(struct jj_run *r, struct percent *a, struct jj_val s, size_t *i)
{
	int64_t n;
	if (*i < s.n && s.s[*i] == '*') {
		struct jj_val v = take(r, a);
		++*i;
		if (!r->rc && !jj_is_int(v)) jj_fail(r, LM_EINVAL, "* wants int");
		n = r->rc ? 0 : v.i;
	} else {
		n = number(s.s, s.n, i);
	}
	if (n >= MAX_FIELD || n < -MAX_FIELD) jj_fail(r, LM_ELIMIT, "a field wider than 1 MiB");
	return n;
}

/* The conversion behind the % at s[i-1]; the position behind it. */
static size_t percent_one(struct jj_run *r, struct lm_buf *b, struct percent *a, struct jj_val s, size_t i)
{
	struct spec f = { .none = true };
	struct jj_val v = { .t = JJ_MISSING };
	if (i < s.n && s.s[i] == '(') {
		const char *end = memchr(s.s + i, ')', s.n - i);
		if (a->args.t != JJ_DICT || !end)
			return jj_fail(r, LM_EINVAL, "format requires a mapping"), s.n;
		const struct jj_val *x = jj_find(r, a->args.d, jj_sub(s, i + 1, (size_t)(end - s.s)));
		if (!x) return jj_fail(r, LM_EINVAL, "format names a key that is not there"), s.n;
		v = *x;
		a->keyed = true;
		i = (size_t)(end - s.s) + 1;
	}
	for (; i < s.n && s.s[i] && strchr("-+ #0", s.s[i]); i++) {
		if (s.s[i] == '-') f.align = '<';
		else if (s.s[i] == '#') f.alt = true;
		else if (s.s[i] == '0') f.fill[0] = '0';
		else if (f.sign != '+') f.sign = s.s[i];
	}
	f.width = field_size(r, a, s, &i);
	if (f.width < 0) {
		f.align = '<';
		f.width = -f.width;
	}
	if (i < s.n && s.s[i] == '.') {
		i++;
		f.none = false;
		f.prec = field_size(r, a, s, &i);
		if (f.prec < 0) f.prec = 0;
	}
	while (i < s.n && (s.s[i] == 'l' || s.s[i] == 'h' || s.s[i] == 'L')) i++;
	if (i >= s.n) return jj_fail(r, LM_EINVAL, "incomplete format"), s.n;
	f.type = s.s[i];
	if (f.type == '%') {
		jj_write(r, b, "%", 1);
		return i + 1;
	}
	if (!f.type || !strchr("srafeEgGFdiuxXoc", f.type))
		return jj_fail(r, LM_EINVAL, "unsupported format character in '%%'"), s.n;
	bool num = strchr("srac", f.type) == NULL;
	if (f.align == '<' || !num) f.fill[0] = 0;
	if (!f.align) f.align = f.fill[0] ? '=' : '>';
	convert(r, b, f, v.t == JJ_MISSING ? take(r, a) : v);
	return i + 1;
}

struct jj_val jj_percent(struct jj_run *r, struct jj_val s, struct jj_val args)
{
	struct lm_buf b = { 0 };
	struct percent a = { .args = args, .tuple = args.t == JJ_SEQ && args.sub == JJ_TUPLE };
	size_t run = 0;
	for (size_t i = 0; i < s.n && !r->rc;) {
		if (s.s[i++] != '%') continue;
		jj_write(r, &b, s.s + run, i - 1 - run);
		run = i = percent_one(r, &b, &a, s, i);
	}
	if (run < s.n) jj_write(r, &b, s.s + run, s.n - run);
	bool mapping = args.t == JJ_DICT || args.t == JJ_UNDEF ||
	               (args.t == JJ_SEQ && (args.sub == JJ_LIST || args.sub == JJ_RANGE));
	bool left = a.tuple ? a.next < args.q->n : !a.next && !mapping;
	if (left && !a.keyed) jj_fail(r, LM_EINVAL, "not all arguments converted during string formatting");
	return jj_take(r, &b);
}

/* ---- format -------------------------------------------------------------------------------------------- */
static struct jj_val lookup(struct jj_run *r, const struct jj_args *a, struct jj_val name, int *automatic)
{
	int64_t i = 0;
	size_t at = 0;
	if (name.n == 0) {
		if (*automatic < 0)
			return jj_fail(
				r, LM_EINVAL,
				"cannot switch from manual field specification to automatic field numbering");
		i = (*automatic)++;
	} else {
		i = number(name.s, name.n, &at);
		if (at < name.n) {
			for (int k = 0; k < a->n_kw; k++)
				if (a->kw[k].len == name.n && memcmp(a->kw[k].name, name.s, name.n) == 0)
					return a->kw[k].v;
			return jj_fail(r, LM_EINVAL, "format: no argument named '%.*s'",
				       (int)(name.n > 60 ? 60 : name.n), name.s);
		}
		if (*automatic > 0)
			return jj_fail(
				r, LM_EINVAL,
				"cannot switch from automatic field numbering to manual field specification");
		*automatic = -1;
	}
	if (i >= a->n)
		return jj_fail(r, LM_EINVAL, "Replacement index %lld out of range for positional args tuple",
			       (long long)i);
	return a->v[i];
}

/* "name.attr[item]" */
static struct jj_val field(struct jj_run *r, const struct jj_args *a, struct jj_val name, int *automatic)
{
	size_t i = 0;
	while (i < name.n && name.s[i] != '.' && name.s[i] != '[') i++;
	struct jj_val v = lookup(r, a, jj_sub(name, 0, i), automatic);
	while (i < name.n && !r->rc) {
		size_t from = i + 1, end = from, k = 0;
		bool item = name.s[i] == '[';
		if (!item && name.s[i] != '.')
			return jj_fail(r, LM_EINVAL, "only '.' or '[' may follow ']' in a format field");
		while (end < name.n && (item ? name.s[end] != ']' : name.s[end] != '.' && name.s[end] != '['))
			end++;
		struct jj_val key = jj_sub(name, from, end);
		if (!key.n || (item && end == name.n))
			return jj_fail(r, LM_EINVAL, "empty attribute in format string");
		int64_t n = number(key.s, key.n, &k);
		v = !item ? jj_attr(r, v, key) : jj_item(r, v, k == key.n ? jj_int(n) : key);
		i = end + item;
	}
	return v;
}

static bool parse_spec(struct jj_run *r, struct jj_val s, struct spec *f)
{
	size_t i = 0, len;
	uint32_t cp;
	*f = (struct spec){ .none = true };
	if (s.n) {
		len = (size_t)lm_utf8_next(s.s, s.n, &cp);
		if (len < s.n && strchr("<>=^", s.s[len]) && s.s[len]) {
			memcpy(f->fill, s.s, len);
			f->align = s.s[len];
			i = len + 1;
		} else if (s.s[0] && strchr("<>=^", s.s[0])) {
			f->align = s.s[0];
			i = 1;
		}
	}
	if (i < s.n && (s.s[i] == '+' || s.s[i] == '-' || s.s[i] == ' ')) f->sign = s.s[i++];
	if (i < s.n && s.s[i] == '#') f->alt = s.s[i++] != 0;
	if (i < s.n && s.s[i] == '0') {
		i++;
		if (!f->fill[0]) f->fill[0] = '0';
		if (!f->align) f->align = '=';
	}
	f->width = number(s.s, s.n, &i);
	if (i < s.n && s.s[i] == ',') f->comma = s.s[i++] != 0;
	if (i < s.n && s.s[i] == '.') {
		size_t from = ++i;
		f->prec = number(s.s, s.n, &i);
		f->none = i == from;
		if (f->none) return jj_fail(r, LM_EINVAL, "format specifier missing precision"), false;
	}
	if (i < s.n) f->type = s.s[i++];
	if (i < s.n || (f->type && !strchr("sdbcoxXneEfFgG%", f->type)))
		return jj_fail(r, LM_EINVAL, "invalid format specifier"), false;
	if (f->width >= MAX_FIELD || f->prec >= MAX_FIELD)
		return jj_fail(r, LM_ELIMIT, "a field wider than 1 MiB"), false;
	return true;
}

static void format_value(struct jj_run *r, struct lm_buf *b, struct jj_val v, struct jj_val how)
{
	struct spec f;
	if (r->rc || !parse_spec(r, how, &f)) return;
	if (!how.n) {
		jj_write_str(r, b, v);
	} else if (v.t == JJ_STR && (!f.type || f.type == 's')) {
		if (f.comma) jj_fail(r, LM_EINVAL, "Cannot specify ',' with 's'.");
		if (f.align == '=' && f.fill[0] != '0')
			jj_fail(r, LM_EINVAL, "'=' alignment not allowed in string format specifier");
		put_str(r, b, f, v);
	} else if (jj_is_num(v) && f.type && strchr("eEfFgG%", f.type)) {
		put_float(r, b, f, jj_num(v));
	} else if (v.t == JJ_FLOAT && (!f.type || f.type == 'n')) {
		put_float(r, b, f, v.f);
	} else if (jj_is_int(v) && (!f.type || strchr("dbcoxXn", f.type))) {
		put_int(r, b, f, v.i);
	} else {
		jj_fail(r, LM_EINVAL, "unsupported format string passed to %s.__format__", jj_type_name(v));
	}
}

static size_t format_one(struct jj_run *r, struct lm_buf *b, struct jj_val s, size_t i,
			 const struct jj_args *a, int *automatic)
{
	size_t end = i, colon = 0, bang = 0;
	int depth = 0;
	for (; end < s.n && !(s.s[end] == '}' && depth == 0); end++) {
		if (s.s[end] == '[' && !colon) depth++;
		if (s.s[end] == ']' && !colon) depth = 0;
		if (!depth && !colon && s.s[end] == ':') colon = end;
		if (!depth && !colon && !bang && s.s[end] == '!') bang = end;
		if (s.s[end] == '{')
			return jj_fail(r, LM_EUNSUPPORTED, "nested fields in format() are not supported"),
			       s.n;
	}
	if (end >= s.n) return jj_fail(r, LM_EINVAL, "expected '}' before end of string"), s.n;
	size_t stop = colon ? colon : end;
	struct jj_val v = field(r, a, jj_sub(s, i, bang ? bang : stop), automatic);
	if (bang) {
		char how = stop == bang + 2 ? s.s[bang + 1] : 0;
		if (how != 'r' && how != 's')
			return jj_fail(r, LM_EINVAL, "unknown conversion in format()"), s.n;
		v = how == 'r' ? repr(r, v) : jj_to_str(r, v);
	}
	format_value(r, b, v, colon ? jj_sub(s, colon + 1, end) : jj_cstr(""));
	return end + 1;
}

struct jj_val jj_format(struct jj_run *r, struct jj_val s, const struct jj_args *a)
{
	struct lm_buf b = { 0 };
	size_t run = 0;
	int automatic = 0;
	for (size_t i = 0; i < s.n && !r->rc;) {
		char c = s.s[i++];
		if (c != '{' && c != '}') continue;
		jj_write(r, &b, s.s + run, i - 1 - run);
		if (i < s.n && s.s[i] == c) {
			run = i++;             /* "{{" is "{" */
			continue;
		}
		if (c == '}') jj_fail(r, LM_EINVAL, "Single '}' encountered in format string");
		else run = i = format_one(r, &b, s, i, a, &automatic);
	}
	if (run < s.n) jj_write(r, &b, s.s + run, s.n - run);
	return jj_take(r, &b);
}

/* ---- strftime ------------------------------------------------------------------------------------------ */
/* Names are C's, whatever the locale; numbers come from the C library. */
static bool named(struct lm_buf *b, char c, const struct tm *t)
{
	static const char *const month[] = { "January",   "February", "March",    "April",
					     "May",       "June",     "July",     "August",
					     "September", "October",  "November", "December" };
	static const char *const day[] = { "Sunday",   "Monday", "Tuesday", "Wednesday",
					   "Thursday", "Friday", "Saturday" };
	switch (c) {
	case 'B': lm_buf_str(b, month[t->tm_mon]); return true;
	case 'b':
	case 'h': lm_buf_add(b, month[t->tm_mon], 3); return true;
	case 'A': lm_buf_str(b, day[t->tm_wday]); return true;
	case 'a': lm_buf_add(b, day[t->tm_wday], 3); return true;
	case 'p': lm_buf_str(b, t->tm_hour < 12 ? "AM" : "PM"); return true;
	case 'P': lm_buf_str(b, t->tm_hour < 12 ? "am" : "pm"); return true;
	case 'f': lm_buf_str(b, "000000"); return true;
	case 'x': lm_buf_fmt(b, "%02d/%02d/%02d", t->tm_mon + 1, t->tm_mday, t->tm_year % 100); return true;
	case 'X': lm_buf_fmt(b, "%02d:%02d:%02d", t->tm_hour, t->tm_min, t->tm_sec); return true;
	case 'c':
		lm_buf_fmt(b, "%.3s %.3s %2d %02d:%02d:%02d %d", day[t->tm_wday], month[t->tm_mon],
			   t->tm_mday, t->tm_hour, t->tm_min, t->tm_sec, t->tm_year + 1900);
		return true;
	case 'z':
	case 'Z': return true;         /* Python's now() has no zone */
	case '%': lm_buf_char(b, '%'); return true;
	default: return false;
	}
}

struct jj_val jj_strftime(struct jj_run *r, struct jj_val fmt)
{
	struct lm_buf b = { 0 };
	struct tm t = { 0 };
	time_t now = r->has_now ? (time_t)r->now : time(NULL);
	if (!(r->has_now ? gmtime_r(&now, &t) : localtime_r(&now, &t)))
		return jj_fail(r, LM_EINVAL, "'now' is no time");
	for (uint32_t i = 0; i < fmt.n && jj_step(r, 4); i++) {
		if (b.n > MAX_FIELD) jj_fail(r, LM_ELIMIT, "a date longer than 1 MiB");
		char form[8] = "%", out[64];
		size_t n = 1;
		if (fmt.s[i] != '%' || i + 1 >= fmt.n) {
			lm_buf_char(&b, fmt.s[i]);
			continue;
		}
		i++;
		if (strchr("-_0^#", fmt.s[i]) && fmt.s[i] && i + 1 < fmt.n) form[n++] = fmt.s[i++];
		if (n == 1 && named(&b, fmt.s[i], &t)) continue;
		form[n++] = fmt.s[i];
		if (!fmt.s[i] || !strchr("YmdHMSyjIeDFTRntuwUWVGgCklsrBbAa", fmt.s[i])) {
			lm_buf_add(&b, form, n);
			continue;
		}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		lm_buf_add(&b, out, strftime(out, sizeof out, form, &t));
#pragma GCC diagnostic pop
	}
	r->live += b.n;
	return jj_take(r, &b);
}
