/* answer_value.c - values that models write in other ways than JSON, turned into JSON: Python literals and
 * calls, Gemma's loose objects, elements within elements, and bare text that the tool's schema gives a type.
 */
#include "tokenizer/answer_impl.h"
#include "base/json.h"
#include <string.h>

struct lit {
	const char *s;
	size_t n, at;
	struct lm_buf *out;
	int depth;
	const char *quote;
};

static void blanks(struct lit *l)
{
	while (l->at < l->n && answer_space(l->s[l->at])) l->at++;
}

static char peek(const struct lit *l)
{
	return l->at < l->n ? l->s[l->at] : 0;
}

static bool take(struct lit *l, const char *word)
{
	size_t k = strlen(word);
	if (l->n - l->at < k || memcmp(l->s + l->at, word, k) != 0) return false;
	l->at += k;
	return true;
}

/* JSON's and Python's words; after one may not follow what would make it another. */
static bool word(struct lit *l)
{
	static const char *const words[][2] = { { "true", "true" },   { "True", "true" },
						{ "false", "false" }, { "False", "false" },
						{ "null", "null" },   { "None", "null" } };
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		size_t from = l->at;
		if (!take(l, words[i][0])) continue;
		char c = peek(l);
		if (!c || answer_space(c) || strchr(",]})", c)) {
			lm_buf_str(l->out, words[i][1]);
			return true;
		}
		l->at = from;
	}
	return false;
}

static bool number(struct lit *l)
{
	size_t from = l->at;
	if (peek(l) == '+') from = ++l->at;
	while (l->at < l->n && peek(l) && strchr("+-.eE0123456789", peek(l))) l->at++;
	if (!answer_json_ok(l->s + from, l->at - from)) return false;
	lm_buf_add(l->out, l->s + from, l->at - from);
	return true;
}

static bool hex(struct lit *l, int digits, uint32_t *cp)
{
	*cp = 0;
	for (int i = 0; i < digits; i++, l->at++) {
		char c = peek(l), low = (char)(c | 32);
		if (c >= '0' && c <= '9')
			*cp = *cp * 16 + (uint32_t)(c - '0');
		else if (low >= 'a' && low <= 'f')
			*cp = *cp * 16 + (uint32_t)(low - 'a' + 10);
		else
			return false;
	}
	return true;
}

/* A backslash has been read.  What Python does not know it keeps, backslash and all. */
static bool escape(struct lit *l, struct lm_buf *text)
{
	static const char from[] = "nrtbfav0\\'\"/", to[] = "\n\r\t\b\f\a\v\0\\'\"/";
	char c = peek(l), utf8[4];
	const char *at = c ? strchr(from, c) : NULL;
	if (!c) return false;
	l->at++;
	if (c == '\n') return true;
	if (at) {
		lm_buf_char(text, to[at - from]);
		return true;
	}
	if (c != 'x' && c != 'u' && c != 'U') {
		lm_buf_char(text, '\\');
		lm_buf_char(text, c);
		return true;
	}
	uint32_t cp, low;
	if (!hex(l, c == 'x' ? 2 : c == 'u' ? 4 : 8, &cp)) return false;
	size_t back = l->at;
	if (cp >= 0xd800 && cp < 0xdc00) {
		if (take(l, "\\u") && hex(l, 4, &low) && low >= 0xdc00 && low < 0xe000)
			cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
		else
			l->at = back;
	}
	lm_buf_add(text, utf8, (size_t)lm_utf8_put(utf8, cp));
	return true;
}

static bool quoted(struct lit *l)
{
	const char *end = take(l, "\"\"\"") ? "\"\"\""
			  : take(l, "'''")  ? "'''"
			  : take(l, "\"")   ? "\""
			  : take(l, "'")    ? "'"
					    : NULL;
	struct lm_buf text = { 0 };
	bool ok = end != NULL;
	while (ok && !take(l, end)) {
		ok = l->at < l->n;
		if (!ok) break;
		char c = l->s[l->at++];
		if (c == '\\')
			ok = escape(l, &text);
		else
			lm_buf_char(&text, c);
	}
	if (ok) lm_json_string(l->out, text.p ? text.p : "", text.n);
	if (text.bad) l->out->bad = true;
	lm_buf_free(&text);
	return ok;
}

static bool python(struct lit *l);

/* What stands between brackets, commas between; a comma at the end is Python's. */
static bool items(struct lit *l, char close, bool (*item)(struct lit *l))
{
	for (bool more = false;; more = true) {
		blanks(l);
		if (peek(l) == close) break;
		if (more) lm_buf_char(l->out, ',');
		if (!item(l)) return false;
		blanks(l);
		if (peek(l) == close) break;
		if (!take(l, ",")) return false;
	}
	l->at++;
	return true;
}

static bool python_pair(struct lit *l)
{
	if (peek(l) != '"' && peek(l) != '\'') return false;
	if (!quoted(l)) return false;
	blanks(l);
	if (!take(l, ":")) return false;
	lm_buf_char(l->out, ':');
	return python(l);
}

static bool bracket(struct lit *l, char close, bool (*item)(struct lit *l))
{
	if (++l->depth > LIT_DEPTH) return false;
	l->at++;
	lm_buf_char(l->out, close == '}' ? '{' : '[');
	if (!items(l, close, item)) return false;
	lm_buf_char(l->out, close == '}' ? '}' : ']');
	l->depth--;
	return true;
}

static bool python(struct lit *l)
{
	blanks(l);
	switch (peek(l)) {
	case '{': return bracket(l, '}', python_pair);
	case '[': return bracket(l, ']', python);
	case '(': return bracket(l, ')', python);
	case '"':
	case '\'': return quoted(l);
	default: return word(l) || number(l);
	}
}

bool answer_python(const char *s, size_t n, struct lm_buf *out)
{
	struct lit l = { s, n, 0, out, 0, NULL };
	if (!python(&l)) return false;
	blanks(&l);
	return l.at == n;
}

/* ---- f(a=1) ----------------------------------------------------------------------------------------- */

/* The name of the i-th parameter, for an argument without one. */
static const char *nth(const json_t *tool, size_t i)
{
	const char *key;
	json_t *v, *props = json_object_get(json_object_get(tool, "parameters"), "properties");
	json_object_foreach(props, key, v) if (!i--) return key;
	return NULL;
}

static bool arguments(struct lit *l, const json_t *tool)
{
	for (size_t i = 0;; i++) {
		struct caps c;
		blanks(l);
		if (peek(l) == ')') break;
		if (i) lm_buf_char(l->out, ',');
		bool named = answer_match("%n%_=%_", l->s + l->at, l->n - l->at, false, &c) == YES;
		const char *key = named ? l->s + l->at + c.name.at : nth(tool, i);
		if (!key) return false;
		lm_json_string(l->out, key, named ? c.name.n : strlen(key));
		lm_buf_char(l->out, ':');
		if (named) l->at += c.used;
		if (!python(l)) return false;
		blanks(l);
		if (peek(l) == ')') break;
		if (!take(l, ",")) return false;
	}
	l->at++;
	return true;
}

static bool call(struct lit *l, const json_t *tools)
{
	struct caps c;
	blanks(l);
	if (answer_match("%n%_(", l->s + l->at, l->n - l->at, false, &c) != YES) return false;
	const char *name = l->s + l->at + c.name.at;
	size_t n = c.name.n;
	/* Llama 3 writes its own tools as brave_search.call(...) */
	if (n > 5 && memcmp(name + n - 5, ".call", 5) == 0 && !answer_tool(tools, name, n)) n -= 5;
	lm_buf_add(l->out, name, n);
	lm_buf_char(l->out, 0);
	lm_buf_char(l->out, '{');
	l->at += c.used;
	if (!arguments(l, answer_tool(tools, name, n))) return false;
	lm_buf_add(l->out, "}", 2);
	return true;
}

bool answer_python_calls(const char *s, size_t n, const json_t *tools, struct lm_buf *out)
{
	struct lit l = { s, n, 0, out, 0, NULL };
	blanks(&l);
	bool list = take(&l, "[");
	for (;;) {
		if (!call(&l, tools)) return false;
		blanks(&l);
		if (!take(&l, list ? "," : ";") && list) break;
		blanks(&l);
		if (!list && l.at == n) return true;
	}
	if (!take(&l, "]")) return false;
	blanks(&l);
	return l.at == n;
}

/* ---- Gemma: {key:value}, strings between quotes of its own ------------------------------------------ */

static bool loose(struct lit *l);

static bool loose_string(struct lit *l)
{
	size_t k = strlen(l->quote);
	const char *from = l->s + l->at, *end = memmem(from, l->n - l->at, l->quote, k);
	if (!end) return false;
	lm_json_string(l->out, from, (size_t)(end - from));
	l->at += (size_t)(end - from) + k;
	return true;
}

static bool loose_pair(struct lit *l)
{
	if (take(l, l->quote)) {
		if (!loose_string(l)) return false;
	} else {
		size_t from = l->at;
		while (l->at < l->n && !strchr(":,{}[]", l->s[l->at])) l->at++;
		if (l->at == from) return false;
		lm_json_string(l->out, l->s + from, l->at - from);
	}
	blanks(l);
	if (!take(l, ":")) return false;
	lm_buf_char(l->out, ':');
	return loose(l);
}

static bool loose(struct lit *l)
{
	blanks(l);
	if (take(l, l->quote)) return loose_string(l);
	if (peek(l) == '{') return bracket(l, '}', loose_pair);
	if (peek(l) == '[') return bracket(l, ']', loose);
	size_t from = l->at, end;
	while (l->at < l->n && !strchr(",]}", l->s[l->at])) l->at++;
	for (end = l->at; end > from && answer_space(l->s[end - 1]); end--) {
	}
	if (end == from) return false;
	answer_scalar(l->out, NULL, l->s + from, end - from);
	return true;
}

bool answer_loose(const char *s, size_t n, const char *quote, struct lm_buf *out)
{
	struct lit l = { s, n, 0, out, 0, quote };
	blanks(&l);
	if (peek(&l) != '{' || !loose(&l)) return false;
	blanks(&l);
	return l.at == n;
}

/* ---- elements within elements ----------------------------------------------------------------------- */

struct nest {
	struct lit l;
	const char *tag;
};

/* TAG<name> or, for close, TAG</name>: the name. */
static bool element(struct nest *x, bool close, struct span *name)
{
	struct lit *l = &x->l;
	size_t back = l->at;
	if (take(l, x->tag) && take(l, close ? "</" : "<") && (close || peek(l) != '/')) {
		const char *gt = memchr(l->s + l->at, '>', l->n - l->at);
		*name = (struct span){ l->at, gt ? (size_t)(gt - l->s) - l->at : 0 };
		l->at = gt ? (size_t)(gt - l->s) + 1 : l->n;
		if (gt && name->n) return true;
	}
	l->at = back;
	return false;
}

static bool children(struct nest *x, const json_t *schema, bool list, bool top);

/* From behind <name> to behind </name>. */
static bool inside(struct nest *x, struct span name, const json_t *schema)
{
	struct lit *l = &x->l;
	struct span in, end;
	size_t from = l->at;
	if (++l->depth > LIT_DEPTH) return false;
	blanks(l);
	size_t back = l->at;
	if (element(x, false, &in)) {
		l->at = back;
		bool list = in.n == 4 && memcmp(l->s + in.at, "item", 4) == 0;
		if (!children(x, schema, list, false)) return false;
	} else {
		const char *tag = memmem(l->s + from, l->n - from, x->tag, strlen(x->tag));
		if (!tag) return false;
		l->at = (size_t)(tag - l->s);
		answer_scalar(l->out, schema, l->s + from, l->at - from);
	}
	l->depth--;
	return element(x, true, &end) && end.n == name.n && memcmp(l->s + end.at, l->s + name.at, end.n) == 0;
}

static bool children(struct nest *x, const json_t *schema, bool list, bool top)
{
	struct lit *l = &x->l;
	struct span name;
	lm_buf_char(l->out, list ? '[' : '{');
	for (bool more = false;; more = true) {
		blanks(l);
		if (!element(x, false, &name)) break;
		if (more) lm_buf_char(l->out, ',');
		const char *key = l->s + name.at;
		if (list) {
			if (name.n != 4 || memcmp(key, "item", 4) != 0) return false;
		} else {
			lm_json_string(l->out, key, name.n);
			lm_buf_char(l->out, ':');
		}
		const json_t *inner =
			list ? json_object_get(schema, "items")
			     : json_object_getn(json_object_get(schema, "properties"), key, name.n);
		if (!inside(x, name, inner)) return false;
	}
	lm_buf_char(l->out, list ? ']' : '}');
	return !top || l->at == l->n;
}

bool answer_nested(const char *s, size_t n, const char *tag, const json_t *schema, struct lm_buf *out)
{
	struct nest x = { { s, n, 0, out, 0, NULL }, tag };
	return children(&x, schema, false, true);
}
