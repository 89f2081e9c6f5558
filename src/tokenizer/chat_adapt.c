/* chat_adapt.c - from what a client sends to what a template takes: what it takes is found by asking it. */
#include "base/json.h"
#include "tokenizer/jinja.h"

/* Steps of all the questions at load together, some 30 ms: the templates we know take 16 thousand at most.  Memory of
 * each. */
enum { PROBE_STEPS = 300000, PROBE_MEM = JJ_MAX_MEM / 64 };
enum role { SYSTEM, USER, ASSISTANT, TOOL, N_ROLES };
static const char *const role_name[N_ROLES] = { "system", "user", "assistant", "tool" };
/* a conversation for each role; its own message says @ */
static const char *const role_chat[N_ROLES] = {
	"[{\"role\":\"system\",\"content\":\"@\"},{\"role\":\"user\",\"content\":\"u\"}]",
	"[{\"role\":\"user\",\"content\":\"@\"}]",
	"[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":\"@\"},{\"role\":\"user\",\"content\":\"v\"}]",
	"[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"call12345\","
	"\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"qzkey\":\"qzval\"}}}]},"
	"{\"role\":\"tool\",\"tool_call_id\":\"call12345\",\"name\":\"f\",\"content\":\"@\"}]",
};
static const char needle[] = "qzneedle";

static int role_of(const json_t *msg)
{
	const char *s = json_string_value(json_object_get(msg, "role"));
	for (int i = 0; s && i < N_ROLES; i++)
		if (strcmp(s, role_name[i]) == 0) return i;
	return s && strcmp(s, "developer") == 0 ? SYSTEM : -1;
}

static int no_memory(struct lm_err *err) { return lm_fail(err, LM_ENOMEM, "chat template: out of memory"); }

/* Takes over v; NULL v or a failure: -1. */
static int set(json_t *o, const char *key, json_t *v) { return v ? json_object_set_new(o, key, v) : -1; }

static json_t *text_part(const char *s, size_t n)
{
	json_t *list = json_array(), *part = json_object();
	bool ok = part && set(part, "type", json_string("text")) == 0 && set(part, "text", json_stringn(s, n)) == 0;
	if (ok && list && json_array_append_new(list, part) == 0) return list;
	if (!ok || !list) json_decref(part);
	json_decref(list);
	return NULL;
}

/* ---- questions to a template ------------------------------------------------------------------------- */
/* A conversation's rendering in *out, "" where the template fails; takes over msgs. */
static int ask(struct chat *c, json_t *msgs, struct lm_buf *out, struct lm_err *err)
{
	json_t *vars = json_object();
	struct lm_err ignored;
	bool ok = vars && msgs && json_object_set(vars, "messages", msgs) == 0 &&
		  set(vars, "add_generation_prompt", json_true()) == 0 && set(vars, "bos_token", json_string("")) == 0 &&
		  set(vars, "eos_token", json_string("")) == 0;
	int rc = ok ? jj_render(c, vars, &c->probe_steps, PROBE_MEM, out, &ignored) : LM_ENOMEM;
	json_decref(vars);
	json_decref(msgs);
	return rc == LM_ENOMEM || out->bad ? no_memory(err) : 0;
}

static bool says(struct lm_buf *b, const char *s) { return strstr(lm_buf_cstr(b), s) != NULL; }

/* The role's conversation with our word as its content, a string or a part. */
static json_t *role_messages(int role, bool part)
{
	json_t *msgs = lm_json_parse(role_chat[role], strlen(role_chat[role]), NULL), *m;
	size_t i;
	json_array_foreach(msgs, i, m) {
		const char *s = json_string_value(json_object_get(m, "content"));
		if (!s || strcmp(s, "@") != 0) continue;
		if (set(m, "content", part ? text_part(needle, strlen(needle)) : json_string(needle)) == 0) continue;
		json_decref(msgs);
		return NULL;
	}
	return msgs;
}

static int probe_parts(struct chat *c, int role, struct lm_err *err)
{
	struct lm_buf str = { 0 }, part = { 0 };
	int rc = ask(c, role_messages(role, false), &str, err);
	if (!rc) rc = ask(c, role_messages(role, true), &part, err);
	if (!rc && says(&part, needle)) {
		bool same = str.n == part.n && memcmp(lm_buf_cstr(&str), lm_buf_cstr(&part), str.n) == 0;
		if (same) c->takes_parts |= (uint8_t)(1u << role);
		else if (!says(&str, needle)) c->needs_parts |= (uint8_t)(1u << role);
	}
	lm_buf_free(&str);
	lm_buf_free(&part);
	return rc;
}

/* The conversation with a tool call: arguments as text or as an object, content "" or null. */
static json_t *call_messages(bool text, bool null)
{
	json_t *msgs = role_messages(TOOL, false), *m = json_array_get(msgs, 1);
	json_t *f = json_object_get(json_array_get(json_object_get(m, "tool_calls"), 0), "function");
	if (text && set(f, "arguments", json_string("{\"qzkey\": \"qzval\"}"))) goto failed;
	if (null && set(m, "content", json_null())) goto failed;
	return msgs;
failed:
	json_decref(msgs);
	return NULL;
}

/* Renders the call with arguments as an object and as text; does either come out? */
static int probe_arguments(struct chat *c, bool null, bool *shown, struct lm_err *err)
{
	struct lm_buf obj = { 0 }, str = { 0 };
	int rc = ask(c, call_messages(false, null), &obj, err);
	if (!rc) rc = ask(c, call_messages(true, null), &str, err);
	/* an object put down by Python's repr, or text escaped a second time, is not what the model learnt */
	bool obj_ok = says(&obj, "qzval") && !says(&obj, "'qzkey'");
	bool str_ok = says(&str, "qzval") && !says(&str, "\\\"qzkey");
	c->text_arguments = !obj_ok && str_ok;
	*shown = obj_ok || str_ok;
	lm_buf_free(&obj);
	lm_buf_free(&str);
	return rc;
}

static int probe_calls(struct chat *c, struct lm_err *err)
{
	struct lm_buf empty = { 0 }, null = { 0 };
	bool shown;
	int rc = probe_arguments(c, false, &shown, err);
	if (!rc && !shown) {
		rc = probe_arguments(c, true, &shown, err);
		c->calls_without_content = shown;
	} else if (!rc) {
		rc = ask(c, call_messages(c->text_arguments, false), &empty, err);
		if (!rc) rc = ask(c, call_messages(c->text_arguments, true), &null, err);
		c->needs_content = !says(&null, "qzval") || (says(&null, "None") && !says(&empty, "None"));
	}
	lm_buf_free(&empty);
	lm_buf_free(&null);
	return rc;
}

int jj_probe(struct chat *c, struct lm_err *err)
{
	int rc = 0;
	if (!chat_uses(c, "messages")) return 0;
	c->probe_steps = PROBE_STEPS;
	for (int i = 0; !rc && i < N_ROLES; i++) rc = probe_parts(c, i, err);
	return rc ? rc : probe_calls(c, err);
}

bool chat_uses(const struct chat *c, const char *variable)
{
	for (int i = 0; i < c->n_sym; i++)
		if (c->read[i] && jj_is(c->sym[i], variable)) return true;
	return false;
}

/* ---- chat_normalise ---------------------------------------------------------------------------------- */
/* What our own template `text` makes of x. */
static int put_text(const char *text, const json_t *x, struct lm_buf *out, struct lm_err *err)
{
	struct chat *c = NULL;
	json_t *vars = json_object();
	int rc = vars && json_object_set(vars, "x", (json_t *)(uintptr_t)x) == 0 ? 0 : no_memory(err);
	if (!rc) rc = chat_compile(&c, text, strlen(text), err);
	if (!rc) rc = chat_render(c, vars, out, err);
	if (!rc && out->bad) rc = no_memory(err);
	chat_free(c);
	json_decref(vars);
	return rc;
}

static int fix_arguments(const struct chat *c, json_t *call, struct lm_err *err)
{
	json_t *f = json_object_get(call, "function"), *o = json_is_object(f) ? f : call;
	json_t *a = json_object_get(o, "arguments");
	struct lm_buf b = { 0 };
	int rc = 0;
	if (c->text_arguments && json_is_object(a)) {
		rc = put_text("{{ x|tojson }}", a, &b, err);
		if (!rc && set(o, "arguments", json_stringn(lm_buf_cstr(&b), b.n))) rc = no_memory(err);
		lm_buf_free(&b);
	} else if (!c->text_arguments && json_is_string(a)) {
		json_t *v = json_string_length(a) ? lm_json_parse(json_string_value(a), json_string_length(a), NULL)
						  : json_object();
		if (!json_is_object(v)) json_decref(v);        /* no arguments: a text that stays */
		else rc = set(o, "arguments", v) ? no_memory(err) : 0;
	}
	return rc;
}

/* Text parts as one string, parts on lines of their own; NULL: others are among them, or no memory (*rc). */
static json_t *joined(const json_t *parts, int *rc)
{
	struct lm_buf b = { 0 };
	json_t *p, *s = NULL;
	size_t i;
	json_array_foreach((json_t *)(uintptr_t)parts, i, p) {
		const char *type = json_string_value(json_object_get(p, "type"));
		const json_t *t = json_is_string(p) ? p : json_object_get(p, "text");
		if (!json_is_string(t) || (type && strcmp(type, "text") != 0)) {
			lm_buf_free(&b);
			return NULL;
		}
		if (i) lm_buf_char(&b, '\n');
		lm_buf_add(&b, json_string_value(t), json_string_length(t));
	}
	if (!b.bad) s = json_stringn(lm_buf_cstr(&b), b.n);
	if (!s) *rc = LM_ENOMEM;
	lm_buf_free(&b);
	return s;
}

static int fix_content(const struct chat *c, json_t *m, struct lm_err *err)
{
	json_t *content = json_object_get(m, "content"), *v = NULL;
	int role = role_of(m), rc = 0;
	unsigned bit = role < 0 ? 0 : 1u << role;
	if (!content || json_is_null(content)) {
		if (role != ASSISTANT || !c->needs_content) return 0;
		return set(m, "content", json_string("")) ? no_memory(err) : 0;
	}
	if (c->calls_without_content && json_object_get(m, "tool_calls") && json_is_string(content) &&
	    !json_string_length(content))
		return set(m, "content", json_null()) ? no_memory(err) : 0;
	if (json_is_array(content) && !(c->takes_parts & bit) && !(c->needs_parts & bit)) {
		v = joined(content, &rc);
	} else if (json_is_string(content) && (c->needs_parts & bit)) {
		v = text_part(json_string_value(content), json_string_length(content));
		if (!v) rc = LM_ENOMEM;
	}
	if (rc || (v && set(m, "content", v))) return no_memory(err);
	return 0;
}

/* transformers: "reasoning_content" is the first of the three names that holds something, "thinking" where it is
 * absent is the same, and stands first. */
static int fix_reasoning(json_t *m, struct lm_err *err)
{
	static const char *const names[] = { "reasoning_content", "thinking", "reasoning" };
	json_t *found = NULL;
	for (int i = 0; !found && i < 3; i++) {
		json_t *v = json_object_get(m, names[i]);
		if (v && !json_is_null(v)) found = v;
	}
	if (!found) return 0;
	json_t *copy = json_object();
	bool ok = copy && json_object_set(copy, "thinking", found) == 0 && json_object_update(copy, m) == 0 &&
		  json_object_set(copy, "reasoning_content", found) == 0 && json_object_clear(m) == 0 &&
		  json_object_update(m, copy) == 0;
	json_decref(copy);
	return ok ? 0 : no_memory(err);
}

int chat_normalise(const struct chat *c, json_t *vars, struct lm_err *err)
{
	json_t *m, *call;
	size_t i, k;
	int rc = 0;
	json_array_foreach(json_object_get(vars, "messages"), i, m) {
		if (!json_is_object(m)) continue;
		json_array_foreach(json_object_get(m, "tool_calls"), k, call)
			if (!rc) rc = fix_arguments(c, call, err);
		if (!rc) rc = fix_content(c, m, err);
		if (!rc) rc = fix_reasoning(m, err);
		if (rc) break;
	}
	return rc;
}

/* ---- tools for a template that has none --------------------------------------------------------------- */
static const char tools_text[] =
	"{{ x.system ~ '\\n\\n' if x.system else '' }}# Functions\n\n"
	"You may call functions to help with the request. These are the functions, each as a JSON object:\n"
	"{% for t in x.tools %}{{ (t.function if t is mapping and t.function is mapping else t)|tojson }}\n{% endfor %}\n\n"
	"To call one, answer with its name and its arguments as JSON between tags, one pair of tags for each call:\n"
	"<tool_call>\n{\"name\": \"the function's name\", \"arguments\": {\"the parameter's name\": \"its value\"}}\n</tool_call>\n"
	"The results will follow between <tool_response> tags. When no function is needed, answer in plain text.";
static const char calls_text[] =
	"{{ x.content ~ '\\n' if x.content else '' }}{% for c in x.tool_calls %}"
	"{% set f = c.function if c is mapping and c.function is mapping else c %}"
	"{{ '\\n' if not loop.first }}<tool_call>\n{\"name\": {{ f.name|tojson }}, \"arguments\": "
	"{{ f.arguments if f.arguments is string and f.arguments else (f.arguments or {})|tojson }}}\n</tool_call>{% endfor %}";
static const char result_text[] = "<tool_response>\n{{ x if x is string else x|tojson }}\n</tool_response>";

/* Content as a string: its text parts joined, anything else as JSON; "" when null or absent. */
static json_t *content_text(const json_t *m, struct lm_err *err)
{
	const json_t *content = json_object_get(m, "content");
	int rc = 0;
	json_t *s = json_is_string(content) ? json_copy((json_t *)(uintptr_t)content) : NULL;
	if (!content || json_is_null(content)) s = json_string("");
	else if (json_is_array(content)) s = joined(content, &rc);
	if (s || rc) return s ? s : (no_memory(err), NULL);
	struct lm_buf b = { 0 };
	if (put_text("{{ x|tojson }}", content, &b, err) == 0 && !(s = json_stringn(lm_buf_cstr(&b), b.n))) no_memory(err);
	lm_buf_free(&b);
	return s;
}

/* Content of m as `text` makes it of x; takes over x. */
static int set_text(json_t *m, const char *text, json_t *x, struct lm_err *err)
{
	struct lm_buf b = { 0 };
	int rc = x ? put_text(text, x, &b, err) : no_memory(err);
	if (!rc && set(m, "content", json_stringn(lm_buf_cstr(&b), b.n))) rc = no_memory(err);
	lm_buf_free(&b);
	json_decref(x);
	return rc;
}

static int put_calls(json_t *m, struct lm_err *err)
{
	json_t *x = json_object(), *s = content_text(m, err);
	if (!x) json_decref(s);
	if (!x || !s || set(x, "content", s) || json_object_set(x, "tool_calls", json_object_get(m, "tool_calls"))) {
		json_decref(x);
		return s ? no_memory(err) : err ? err->code : LM_ENOMEM;
	}
	json_object_del(m, "tool_calls");
	return set_text(m, calls_text, x, err);
}

/* A result becomes a user's turn, or the end of the one before it: users and assistants alternate. */
static int put_result(json_t *m, struct lm_err *err)
{
	json_t *s = content_text(m, err);
	if (!s) return err ? err->code : LM_ENOMEM;
	int rc = set_text(m, result_text, s, err);
	if (!rc && set(m, "role", json_string("user"))) rc = no_memory(err);
	json_object_del(m, "tool_call_id");
	json_object_del(m, "name");
	return rc;
}

static int append_text(json_t *m, const json_t *more, const char *between, struct lm_err *err)
{
	const json_t *s = json_object_get(m, "content"), *t = json_object_get(more, "content");
	struct lm_buf b = { 0 };
	lm_buf_add(&b, json_string_value(s), json_string_length(s));
	lm_buf_str(&b, between);
	lm_buf_add(&b, json_string_value(t), json_string_length(t));
	int rc = b.bad || set(m, "content", json_stringn(lm_buf_cstr(&b), b.n)) ? no_memory(err) : 0;
	lm_buf_free(&b);
	return rc;
}

static int rewrite_history(json_t *msgs, struct lm_err *err)
{
	bool after_result = false;
	int rc = 0;
	for (size_t i = 0; i < json_array_size(msgs) && !rc; i++) {
		json_t *m = json_array_get(msgs, i), *last = i ? json_array_get(msgs, i - 1) : NULL;
		bool result = role_of(m) == TOOL, user = role_of(m) == USER && json_is_string(json_object_get(m, "content"));
		if (result) rc = put_result(m, err);
		else if (json_array_size(json_object_get(m, "tool_calls"))) rc = put_calls(m, err);
		if (!rc && after_result && (result || user)) {
			rc = append_text(last, m, result ? "\n" : "\n\n", err);
			json_array_remove(msgs, i--);
			continue;
		}
		after_result = result;
	}
	return rc;
}

static int put_tools(json_t *vars, struct lm_err *err)
{
	json_t *msgs = json_object_get(vars, "messages"), *first = json_array_get(msgs, 0), *x = json_object(), *s;
	bool system = role_of(first) == SYSTEM;
	if (!system) {
		first = json_object();
		if (!first || set(first, "role", json_string("system")) || json_array_insert(msgs, 0, first)) {
			json_decref(first);
			json_decref(x);
			return no_memory(err);
		}
		json_decref(first);                            /* the array's now */
	}
	s = content_text(first, err);
	if (!x) json_decref(s);
	if (!x || !s || set(x, "system", s) || json_object_set(x, "tools", json_object_get(vars, "tools"))) {
		json_decref(x);
		return s ? no_memory(err) : err ? err->code : LM_ENOMEM;
	}
	int rc = set_text(first, tools_text, x, err);
	json_object_del(vars, "tools");
	return rc;
}

json_t *chat_with_tools(const json_t *vars, struct lm_err *err)
{
	struct lm_err own;
	if (!err) err = &own;
	json_t *copy = json_deep_copy(vars);
	if (!copy) return no_memory(err), NULL;
	json_t *msgs = json_object_get(copy, "messages");
	int rc = rewrite_history(msgs, err);
	if (!rc && json_is_array(msgs) && json_array_size(json_object_get(copy, "tools"))) rc = put_tools(copy, err);
	if (!rc) return copy;
	json_decref(copy);
	return NULL;
}
