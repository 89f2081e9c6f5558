/* answer_call.c - the bodies of tool calls, read as far as the bytes go: a step ends with YES (the body is
 * read), NO (it is malformed at a->pos) or MORE. */
#include "tokenizer/answer_impl.h"
#include "base/json.h"
#include <string.h>

static bool skip_space(struct answer *a)
{
	while (a->pos < a->b.n && answer_space(a->b.p[a->pos])) a->pos++;
	return a->pos < a->b.n;
}

/* Reads on in the JSON value at hand up to `end`; tell: its text are arguments to be given away. */
static enum dfa pump(struct answer *a, size_t end, bool tell)
{
	size_t from = a->pos;
	enum dfa r = DFA_GO;
	while (a->pos < end && r == DFA_GO) {
		char c = a->b.p[a->pos], raw[8];
		if ((unsigned char)c < ' ' &&
		    answer_dfa_string(&a->dfa)) { /* a newline as it is: not JSON, but clear */
			static const char hex[] = "0123456789abcdef";
			memcpy(raw, "\\u00", 4);
			raw[4] = hex[c >> 4 & 15];
			raw[5] = hex[c & 15];
			if (tell && a->pos > from) answer_arguments(a, a->b.p + from, a->pos - from);
			if (tell) answer_arguments(a, raw, 6);
			from = ++a->pos;
			continue;
		}
		r = answer_dfa(&a->dfa, c);
		if (r == DFA_GO || r == DFA_DONE) a->pos++;
	}
	if (tell && a->pos > from) answer_arguments(a, a->b.p + from, a->pos - from);
	if (tell) a->at = a->pos;
	return r;
}

static enum match pumped(enum dfa r)
{
	return r == DFA_GO ? MORE : r == DFA_BAD ? NO : YES;
}

enum match answer_step_args(struct answer *a)
{
	if (!a->told && !answer_call(a)) return NO;
	return pumped(pump(a, a->b.n, true));
}

/* ---- {"name": ..., "arguments": ...} ---------------------------------------------------------------- */

enum { KEY_OTHER, KEY_NAME, KEY_ARGS, KEY_ID, KEY_NEST, KEY_FUNCTION, KEY_PLAIN };

static int key_kind(const char *s, size_t n)
{
	static const struct {
		const char *key;
		int kind;
	} keys[] = {
		{ "name", KEY_NAME },      { "tool_name", KEY_NAME },    { "function_name", KEY_NAME },
		{ "arguments", KEY_ARGS }, { "parameters", KEY_ARGS },   { "args", KEY_ARGS },
		{ "id", KEY_ID },          { "tool_call_id", KEY_ID },   { "call_id", KEY_ID },
		{ "tool_call", KEY_NEST }, { "function", KEY_FUNCTION }, { "type", KEY_PLAIN },
		{ "index", KEY_PLAIN },
	};
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (strlen(keys[i].key) == n && memcmp(keys[i].key, s, n) == 0) return keys[i].kind;
	return KEY_OTHER;
}

/* The JSON string b[from..to), quotes and all, read; NULL: not a string, or no memory (then a->rc says so).
 */
static json_t *string_at(struct answer *a, size_t from, size_t to)
{
	struct lm_err e = { 0 };
	json_t *v = to > from && a->b.p[from] == '"' ? lm_json_parse(a->b.p + from, to - from, &e) : NULL;
	if (!v && e.code == LM_ENOMEM) a->rc = LM_ENOMEM;
	return v;
}

static bool short_string(struct answer *a, char out[HEAD_MAX + 1])
{
	json_t *v = string_at(a, a->ob.from, a->pos);
	size_t n = json_string_length(v);
	bool ok = v && n && n <= HEAD_MAX && !memchr(json_string_value(v), 0, n);
	if (ok) memcpy(out, json_string_value(v), n + 1);
	json_decref(v);
	return ok;
}

/* Arguments that stood before the name, or as a string of JSON. */
static bool tell_held(struct answer *a)
{
	struct object *o = &a->ob;
	size_t pos = a->pos;
	bool ok = true;
	if (a->b.p[o->args.at] == '"') {
		json_t *v = string_at(a, o->args.at, o->args.at + o->args.n);
		const char *s = json_string_value(v);
		ok = v && answer_json_ok(s, json_string_length(v)) && s[strspn(s, " \t\r\n")] == '{' &&
		     answer_call(a);
		if (ok) answer_arguments(a, s, json_string_length(v));
		json_decref(v);
	} else if (a->b.p[o->args.at] == 'n') {
		ok = answer_call(a);
		if (ok) answer_arguments(a, "{}", 2);
	} else {
		ok = a->b.p[o->args.at] == '{' && answer_call(a);
		a->pos = o->args.at;
		a->dfa = (struct json_dfa){ 0 };
		if (ok) pump(a, o->args.at + o->args.n, true);
	}
	a->pos = pos;
	o->sent = o->sent || ok;
	return ok;
}

/* The value b[from..pos) has been read. */
static bool value_read(struct answer *a)
{
	struct object *o = &a->ob;
	if (o->what == KEY_NAME && !o->named) {
		o->named = short_string(a, a->name);
		if (!o->named) return false;
	}
	if (o->what == KEY_ID && !o->sent && !short_string(a, a->id)) a->id[0] = 0;
	if (o->what == KEY_ARGS && !o->has_args) {
		o->args = (struct span){ o->from, a->pos - o->from };
		o->has_args = true;
	}
	return !o->named || !o->has_args || o->sent || tell_held(a);
}

/* A value begins at b[pos]: what is to be done with it. */
static enum match value_begins(struct answer *a)
{
	struct object *o = &a->ob;
	char c = a->b.p[a->pos];
	o->from = a->pos;
	a->dfa = (struct json_dfa){ 0 };
	if (o->what == KEY_FUNCTION) o->what = c == '{' ? KEY_NEST : KEY_NAME;
	if (o->what == KEY_NEST && c == '{') {
		if (o->nest == 4) return NO;
		o->nest++;
		a->pos++;
		o->state = OB_KEY;
		return YES;
	}
	if (o->what == KEY_ARGS && c == '{' && o->named && !o->has_args) {
		if (!answer_call(a)) return NO;
		o->sent = o->has_args = true;
		o->state = OB_ARGS;
		return YES;
	}
	o->state = OB_HELD;
	return YES;
}

static enum match key_read(struct answer *a)
{
	struct object *o = &a->ob;
	o->state = OB_COLON;
	if (a->r->body == BODY_KEYED) {
		o->what = KEY_ARGS;
		o->named = !o->named && short_string(a, a->name);
		return o->named ? YES : NO;
	}
	o->what = key_kind(a->b.p + o->from + 1, a->pos - o->from - 2);
	/* where only its look tells a call, another key tells that it is none */
	return o->what == KEY_OTHER && a->r->flags & KNOWN ? NO : YES;
}

/* The call's object has ended at b[pos). */
static enum match object_read(struct answer *a)
{
	struct object *o = &a->ob;
	if (!o->sent) {
		if (!o->named || !answer_call(a)) return NO;
		answer_arguments(a, "{}", 2);
	}
	a->at = a->pos;
	o->state = o->list ? OB_SEP : OB_AGAIN;
	return YES;
}

static void object_begins(struct answer *a)
{
	a->pos++;
	a->ob = (struct object){ .state = OB_KEY, .list = a->ob.list };
	a->told = false;
	a->id[0] = 0;
}

/* The states in which a value's bytes run. */
static enum match step_run(struct answer *a)
{
	struct object *o = &a->ob;
	enum match m = pumped(pump(a, a->b.n, o->state == OB_ARGS));
	if (m != YES) return m;
	if (o->state == OB_KEYSTR) return key_read(a);
	if (o->state == OB_HELD && !value_read(a)) return NO;
	o->state = OB_NEXT;
	return YES;
}

/* The states that want one byte; *done: the whole body is read. */
static enum match step_byte(struct answer *a, bool *done)
{
	struct object *o = &a->ob;
	struct caps caps;
	if (!skip_space(a)) {
		*done = a->final && o->state == OB_AGAIN;
		return *done ? YES : MORE;
	}
	char c = a->b.p[a->pos];
	switch (o->state) {
	case OB_BEGIN:
		if (c == '[' && !o->list) {
			o->list = true;
			a->pos++;
			o->state = OB_ITEM;
			return YES;
		}
		/* fall through */
	case OB_ITEM:
		if (c == '{') object_begins(a);
		return c == '{' ? YES : NO;
	case OB_KEY:
		o->from = a->pos;
		if (c == '}') break;
		a->dfa = (struct json_dfa){ 0 };
		o->state = OB_KEYSTR;
		return c == '"' ? YES : NO;
	case OB_COLON:
		if (c != ':') return NO;
		a->pos++;
		o->state = OB_VALUE;
		return YES;
	case OB_VALUE: return value_begins(a);
	case OB_NEXT:
		if (c == '}') break;
		if (c != ',') return NO;
		a->pos++;
		o->state = OB_KEY;
		return YES;
	case OB_SEP:
		*done = c == ']';
		if (c != ',' && c != ']') return NO;
		a->pos++;
		o->state = OB_ITEM;
		return YES;
	default: /* OB_AGAIN */
		if (c == '{') {
			object_begins(a);
			return YES;
		}
		enum match m = answer_match(";%_%b{", a->b.p + a->pos, a->b.n - a->pos, a->final, &caps);
		if (m == YES) a->pos += caps.used;
		*done = m == NO;
		return m == MORE ? MORE : YES;
	}
	a->pos++;
	if (!o->nest) return object_read(a);
	o->nest--;
	o->state = OB_NEXT;
	return YES;
}

enum match answer_step_objects(struct answer *a)
{
	for (bool done = false;;) {
		enum object_state s = a->ob.state;
		bool run = s == OB_KEYSTR || s == OB_HELD || s == OB_ARGS;
		enum match m = run ? step_run(a) : step_byte(a, &done);
		if (m != YES || a->rc) return m;
		if (done) return YES;
	}
}

/* ---- parameters between tags ------------------------------------------------------------------------ */

static void tag_value(struct answer *a)
{
	struct tagged *t = &a->tg;
	const char *b = a->b.p, *s = b + t->value;
	size_t n = t->value_end - t->value;
	if (a->r->flags & STRIP) {
		if (n && *s == '\n') s++, n--;
		if (n && s[n - 1] == '\n') n--;
	}
	if (a->r->flags & CDATA && n >= 12 && memcmp(s, "<![CDATA[", 9) == 0 &&
	    memcmp(s + n - 3, "]]>", 3) == 0)
		s += 9, n -= 12;
	lm_buf_str(&a->args, a->args.n ? ", " : "{");
	lm_json_string(&a->args, b + t->key.at, t->key.n);
	lm_buf_str(&a->args, ": ");
	const json_t *schema =
		answer_property(answer_tool(a->tools, a->name, strlen(a->name)), b + t->key.at, t->key.n);
	answer_value(&a->args, schema, t->type, b, s, n);
}

/* What may follow a value stands at b[at]: YES and it is taken. */
static enum match tag_next(struct answer *a, size_t at, bool *last)
{
	struct tagged *t = &a->tg;
	struct caps c;
	*last = false;
	enum match m = answer_match(a->r->arg, a->b.p + at, a->b.n - at, a->final, &c);
	if (m == NO) {
		m = answer_match(a->r->close, a->b.p + at, a->b.n - at, a->final, &c);
		*last = m == YES;
	}
	if (m != YES) return m;
	if (t->in_value) tag_value(a);
	a->pos = at + c.used;
	t->in_value = !*last;
	t->maybe = false;
	t->value = a->pos;
	t->key = (struct span){ at + c.key.at, c.key.n };
	t->type = (struct span){ at + c.type.at, c.type.n };
	return YES;
}

/* b[pos..) up to the literal that may end the value; false: it is not there (yet). */
static bool find_end(struct answer *a)
{
	struct tagged *t = &a->tg;
	const char *end = a->r->arg_end;
	size_t k = strlen(end), left = a->b.n - a->pos;
	const char *at = memmem(a->b.p + a->pos, left, end, k);
	if (!at) {
		if (left >= k) a->pos = a->b.n - (k - 1);
		return false;
	}
	t->value_end = (size_t)(at - a->b.p);
	t->after = a->pos = t->value_end + k;
	t->maybe = true;
	return true;
}

enum match answer_step_tagged(struct answer *a)
{
	struct tagged *t = &a->tg;
	for (bool last = false;;) {
		size_t *at = t->in_value ? &t->after : &a->pos;
		if (t->in_value && !t->maybe && !find_end(a)) break;
		while (*at < a->b.n && answer_space(a->b.p[*at])) ++*at;
		if (*at == a->b.n) break;
		enum match m = tag_next(a, *at, &last);
		if (m == MORE) return MORE;
		if (m == NO && !t->in_value) return NO;
		if (m == NO) t->maybe = false; /* the value holds what looks like its end */
		if (!last) continue;
		if (!answer_call(a)) return NO;
		lm_buf_str(&a->args, a->args.n ? "}" : "{}");
		answer_arguments(a, a->args.p, a->args.n);
		return YES;
	}
	if (!a->final) return MORE;
	a->pos = a->b.n;
	return NO;
}

/* ---- bodies that are read once their end is there --------------------------------------------------- */

static bool tell_python(struct answer *a, const char *s, size_t n)
{
	struct lm_buf *list = &a->args;
	bool ok = answer_python_calls(s, n, a->tools, list) && !list->bad;
	for (size_t i = 0; ok && i < list->n; i += strlen(list->p + i) + 1) {
		size_t k = strlen(list->p + i);
		ok = k <= HEAD_MAX && (!(a->r->flags & KNOWN) || answer_tool(a->tools, list->p + i, k));
		i += k + 1;
	}
	for (size_t i = 0; ok && i < list->n && !a->rc;) {
		size_t k = strlen(list->p + i);
		memcpy(a->name, list->p + i, k + 1);
		a->told = false;
		ok = answer_call(a);
		i += k + 1;
		answer_arguments(a, list->p + i, strlen(list->p + i));
		i += strlen(list->p + i) + 1;
	}
	return ok;
}

static bool tell(struct answer *a, size_t from, size_t to)
{
	const char *s = a->b.p + from;
	const json_t *tool = answer_tool(a->tools, a->name, strlen(a->name));
	bool ok;
	if (a->r->body == BODY_PYTHON) return tell_python(a, s, to - from);
	ok = a->r->body == BODY_LOOSE
		     ? answer_loose(s, to - from, a->r->arg, &a->args)
		     : answer_nested(s, to - from, a->r->arg, json_object_get(tool, "parameters"), &a->args);
	if (!ok || a->args.bad || !answer_call(a)) return false;
	answer_arguments(a, a->args.p, a->args.n);
	return true;
}

enum match answer_step_held(struct answer *a)
{
	const char *close = a->r->close;
	size_t k = close ? strlen(close) : 0, left = a->b.n - a->pos, from = a->tg.value;
	const char *at = close ? memmem(a->b.p + a->pos, left, close, k) : NULL;
	if (!at && !a->final) {
		if (close && left >= k) a->pos = a->b.n - (k - 1);
		return MORE;
	}
	size_t to = at ? (size_t)(at - a->b.p) : a->b.n;
	a->pos = to + (at ? k : 0);
	return tell(a, from, to) ? YES : NO;
}
