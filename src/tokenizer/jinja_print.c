/* jinja_print.c - values to text: str(), repr(), json.dumps(). */
#include "tokenizer/jinja.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

void jj_write(struct jj_run *r, struct lm_buf *b, const char *s, size_t n)
{
	if (!n || !jj_step(r, 1 + (n >> 6))) return;
	if (n > JJ_MAX_TEXT - b->n || n > JJ_MAX_MEM - r->used || r->live > JJ_MAX_MEM - r->used - n) {
		jj_fail(r, LM_ELIMIT, "more than %d MiB of text", JJ_MAX_TEXT >> 20);
		return;
	}
	lm_buf_add(b, s, n);
	r->live += n;
	if (b->bad) jj_fail(r, LM_ENOMEM, "out of memory");
}

static void text(struct jj_run *r, struct lm_buf *b, const char *s) { jj_write(r, b, s, strlen(s)); }

/* Python's repr of a float: the shortest digits that read back, exponent form outside 1e-4 .. 1e16. */
void jj_float_repr(char out[40], double f)
{
	char e[32], digits[24];
	if (isnan(f) || isinf(f)) {
		snprintf(out, 40, "%s", isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
		return;
	}
	/* up to 15 digits read back as they were written, but for the smallest numbers: those try each length */
	for (int p = fabs(f) < 2.3e-308 ? 0 : 14; p < 17; p++) {
		snprintf(e, sizeof e, "%.*e", p, f);
		if (strtod(e, NULL) == f) break;
	}
	char *zero = strchr(e, 'e'), *tail = zero;
	while (memchr(e, '.', (size_t)(zero - e)) && tail[-1] == '0') tail--;
	if (tail[-1] == '.') tail--;
	memmove(tail, zero, strlen(zero) + 1);
	char *mark = strchr(e, 'e');
	int x = atoi(mark + 1), n = 0, o = 0;
	for (const char *s = e; s < mark; s++)
		if (*s >= '0' && *s <= '9') digits[n++] = *s;
	if (e[0] == '-') out[o++] = '-';
	if (x < -4 || x >= 16) {
		*mark = 0;
		snprintf(out, 40, "%.24se%c%02d", e, x < 0 ? '-' : '+', abs(x));
		return;
	}
	if (x < 0) {
		snprintf(out + o, (size_t)(40 - o), "0.%.*s%.*s", -x - 1, "0000", n, digits);
		return;
	}
	for (int i = 0; i <= x || i < n; i++) {
		if (i == x + 1) out[o++] = '.';
		out[o++] = i < n ? digits[i] : '0';
	}
	if (n <= x + 1) {
		out[o++] = '.';
		out[o++] = '0';
	}
	out[o] = 0;
}

static bool printable(uint32_t cp)
{
	if (cp < 128) return cp >= 32 && cp < 127;
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_CN:
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_CO:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
	case UTF8PROC_CATEGORY_ZS: return false;
	default: return true;
	}
}

static void repr_str(struct jj_run *r, struct lm_buf *b, struct jj_val s)
{
	char quote = s.n && memchr(s.s, '\'', s.n) && !memchr(s.s, '"', s.n) ? '"' : '\'', esc[12];
	size_t run = 0;
	jj_write(r, b, &quote, 1);
	for (size_t i = 0; i < s.n && !r->rc;) {
		uint32_t cp;
		size_t len = (size_t)lm_utf8_next(s.s + i, s.n - i, &cp);
		const char *as = cp == '\n'   ? "\\n"
				 : cp == '\r' ? "\\r"
				 : cp == '\t' ? "\\t"
				 : cp == '\\' ? "\\\\"
					      : NULL;
		if (cp == (uint32_t)quote) {
			as = esc;
			snprintf(esc, sizeof esc, "\\%c", quote);
		} else if (!as && !printable(cp)) {
			as = esc;
			snprintf(esc, sizeof esc,
				 cp < 256     ? "\\x%02x"
				 : cp < 65536 ? "\\u%04x"
					      : "\\U%08x",
				 (unsigned)cp);
		}
		if (as) {
			jj_write(r, b, s.s + run, i - run);
			text(r, b, as);
			run = i + len;
		}
		i += len;
	}
	jj_write(r, b, s.s + run, s.n - run);
	jj_write(r, b, &quote, 1);
}

static void repr_dict(struct jj_run *r, struct lm_buf *b, const struct jj_dict *d)
{
	text(r, b, "{");
	for (int i = 0; i < d->n && !r->rc; i++) {
		if (i) text(r, b, ", ");
		jj_write_repr(r, b, d->k[i]);
		text(r, b, ": ");
		jj_write_repr(r, b, d->v[i]);
	}
	text(r, b, "}");
}

static void repr_seq(struct jj_run *r, struct lm_buf *b, struct jj_val v)
{
	static const char *const open[] = {
		"[", "(", "", "dict_keys([", "dict_values([", "dict_items([", ""
	};
	static const char *const close[] = { "]", ")", "", "])", "])", "])", "" };
	char buf[100];
	if (v.sub == JJ_RANGE) {
		const struct jj_seq *q = v.q;
		int n = snprintf(buf, sizeof buf, "range(%lld, %lld", (long long)q->start,
				 (long long)q->stop);
		if (q->step != 1)
			n += snprintf(buf + n, sizeof buf - (size_t)n, ", %lld", (long long)q->step);
		snprintf(buf + n, sizeof buf - (size_t)n, ")");
		text(r, b, buf);
		return;
	}
	if (v.sub == JJ_GEN) {
		text(r, b, "<generator object>");
		return;
	}
	text(r, b, open[v.sub]);
	for (int i = 0; i < v.q->n && jj_step(r, 1); i++) {
		if (i) text(r, b, ", ");
		jj_write_repr(r, b, v.q->v[i]);
	}
	if (v.sub == JJ_TUPLE && v.q->n == 1) text(r, b, ",");
	text(r, b, close[v.sub]);
}

static void repr_other(struct jj_run *r, struct lm_buf *b, struct jj_val v)
{
	char buf[160];
	switch (v.t) {
	case JJ_NS:
		text(r, b, "<Namespace ");
		if (v.ns->printing) text(r, b, "{...}");
		else {
			v.ns->printing = true;
			repr_dict(r, b, &v.ns->d);
			v.ns->printing = false;
		}
		text(r, b, ">");
		return;
	case JJ_MACRO:
		text(r, b, "<Macro ");
		repr_str(r, b, v.m->name);
		text(r, b, ">");
		return;
	case JJ_FUNC: snprintf(buf, sizeof buf, "<function %s>", v.fn->name); break;
	case JJ_METHOD:
		snprintf(buf, sizeof buf, "<built-in method %s of %s>", v.mt->fn->name,
			 jj_obj_name(v.mt->self));
		break;
	default: snprintf(buf, sizeof buf, "<%s>", jj_type_name(v)); break;
	}
	text(r, b, buf);
}

void jj_write_repr(struct jj_run *r, struct lm_buf *b, struct jj_val v)
{
	char buf[40];
	if (r->rc || !jj_enter(r, JJ_STACK)) return;
	switch (v.t) {
	case JJ_UNDEF: text(r, b, "Undefined"); break;
	case JJ_NONE: text(r, b, "None"); break;
	case JJ_BOOL: text(r, b, v.i ? "True" : "False"); break;
	case JJ_INT:
		snprintf(buf, sizeof buf, "%lld", (long long)v.i);
		text(r, b, buf);
		break;
	case JJ_FLOAT:
		if (!jj_step(r, 8)) break;
		jj_float_repr(buf, v.f);
		text(r, b, buf);
		break;
	case JJ_STR:
		if (v.sub) text(r, b, "Markup(");
		repr_str(r, b, v);
		if (v.sub) text(r, b, ")");
		break;
	case JJ_SEQ: repr_seq(r, b, v); break;
	case JJ_DICT: repr_dict(r, b, v.d); break;
	default: repr_other(r, b, v); break;
	}
	r->depth--;
}

void jj_write_str(struct jj_run *r, struct lm_buf *b, struct jj_val v)
{
	if (v.t == JJ_STR) jj_write(r, b, v.s, v.n);
	else if (v.t != JJ_UNDEF) jj_write_repr(r, b, v);
}

struct jj_val jj_to_str(struct jj_run *r, struct jj_val v)
{
	struct lm_buf b = { 0 };
	if (v.t == JJ_STR) return v;
	jj_write_str(r, &b, v);
	return jj_take(r, &b);
}

/* ---- JSON ---------------------------------------------------------------------------------------------- */
static void json_str(struct jj_run *r, struct lm_buf *b, struct jj_val s, bool ascii)
{
	static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
	char esc[16];
	size_t run = 0;
	text(r, b, "\"");
	for (size_t i = 0; i < s.n && !r->rc;) {
		uint32_t cp;
		size_t len = (size_t)lm_utf8_next(s.s + i, s.n - i, &cp);
		const char *p = cp && cp < 128 ? strchr(from, (int)cp) : NULL;
		esc[0] = 0;
		if (p) snprintf(esc, sizeof esc, "\\%c", to[p - from]);
		else if (cp < 32 || (ascii && cp > 126 && cp < 65536))
			snprintf(esc, sizeof esc, "\\u%04x", (unsigned)cp);
		else if (ascii && cp > 126)
			snprintf(esc, sizeof esc, "\\u%04x\\u%04x", (unsigned)(0xD7C0 + (cp >> 10)),
				 (unsigned)(0xDC00 + (cp & 0x3FF)));
		if (esc[0]) {
			jj_write(r, b, s.s + run, i - run);
			text(r, b, esc);
			run = i + len;
		}
		i += len;
	}
	jj_write(r, b, s.s + run, s.n - run);
	text(r, b, "\"");
}

static void json_scalar(struct jj_run *r, struct lm_buf *b, struct jj_val v)
{
	char buf[40];
	if (v.t == JJ_NONE) text(r, b, "null");
	else if (v.t == JJ_BOOL) text(r, b, v.i ? "true" : "false");
	else if (v.t == JJ_FLOAT && !isfinite(v.f))
		text(r, b, isnan(v.f) ? "NaN" : v.f < 0 ? "-Infinity" : "Infinity");
	else if (v.t == JJ_FLOAT && jj_step(r, 8)) {
		jj_float_repr(buf, v.f);
		text(r, b, buf);
	} else {
		jj_write_repr(r, b, v);
	}
}

static void line(struct jj_run *r, struct lm_buf *b, const struct jj_json *o, int level)
{
	if (!o->indent) return;
	text(r, b, "\n");
	for (int i = 0; i < level && !r->rc; i++) jj_write(r, b, o->indent, o->n_indent);
}

static void json_key(struct jj_run *r, struct lm_buf *b, struct jj_val k, const struct jj_json *o)
{
	if (k.t == JJ_STR) json_str(r, b, k, o->ascii);
	else if (k.t == JJ_NONE || jj_is_num(k)) {
		text(r, b, "\"");
		json_scalar(r, b, k);
		text(r, b, "\"");
	} else {
		jj_fail(r, LM_EINVAL, "keys must be str, int, float, bool or None, not %s", jj_type_name(k));
	}
	jj_write(r, b, o->key, o->n_key);
}

/* Order of the keys of d: as they stand, or sorted (insertion by halves; a stable order). */
static int *key_order(struct jj_run *r, const struct jj_dict *d, bool sort)
{
	int *at = jj_new(r, int, d->n);
	for (int i = 0; at && i < d->n; i++) {
		int lo = 0, hi = i;
		if (!sort) lo = i;
		while (lo < hi && !r->rc) {
			int mid = (lo + hi) / 2;
			if (jj_order(r, d->k[i], d->k[at[mid]], "<") < 0) hi = mid;
			else lo = mid + 1;
		}
		if (!jj_step(r, (size_t)(i - lo) / 16)) return NULL;
		memmove(at + lo + 1, at + lo, (size_t)(i - lo) * sizeof *at);
		at[lo] = i;
	}
	return at;
}

static void json_dict(struct jj_run *r, struct lm_buf *b, const struct jj_dict *d, const struct jj_json *o,
		      int level)
{
	const int *at = key_order(r, d, o->sort);
	if (!d->n) {
		text(r, b, "{}");
		return;
	}
	text(r, b, "{");
	for (int i = 0; at && i < d->n && !r->rc; i++) {
		if (i) jj_write(r, b, o->item, o->n_item);
		line(r, b, o, level + 1);
		json_key(r, b, d->k[at[i]], o);
		jj_write_json(r, b, d->v[at[i]], o, level + 1);
	}
	line(r, b, o, level);
	text(r, b, "}");
}

void jj_write_json(struct jj_run *r, struct lm_buf *b, struct jj_val v, const struct jj_json *o, int level)
{
	if (r->rc || !jj_enter(r, JJ_STACK)) return;
	if (v.t == JJ_NONE || jj_is_num(v)) {
		json_scalar(r, b, v);
	} else if (v.t == JJ_STR) {
		json_str(r, b, v, o->ascii);
	} else if (v.t == JJ_DICT) {
		json_dict(r, b, v.d, o, level);
	} else if (v.t == JJ_SEQ && v.sub <= JJ_TUPLE) {
		text(r, b, "[");
		for (int i = 0; i < v.q->n && !r->rc; i++) {
			if (i) jj_write(r, b, o->item, o->n_item);
			line(r, b, o, level + 1);
			jj_write_json(r, b, v.q->v[i], o, level + 1);
		}
		if (v.q->n) line(r, b, o, level);
		text(r, b, "]");
	} else {
		jj_fail(r, LM_EINVAL, "Object of type %s is not JSON serializable", jj_type_name(v));
	}
	r->depth--;
}
