/* fields.c - the members of a request body, each checked and named when wrong. */
#include "base/json.h"
#include "server/api.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STOP = 16 };
static const char WHITE[] = " \t\r\n\v\f";

bool field_wrong(struct refusal *r, const char *name, const char *want, const json_t *v)
{
	return api_refuse(r, 400, "invalid_type", name, "%s must be %s, not %s", name, want, lm_json_kind(v));
}

const char *field_text(const json_t *v, const char *name, struct refusal *r)
{
	const char *s = json_string_value(v);
	if (s && strlen(s) == json_string_length(v)) return s;
	if (s) field_bad(r, name, "%s holds a NUL character", name);
	else field_wrong(r, name, "a string", v);
	return NULL;
}

static const json_t *given(const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);
	return v && !json_is_null(v) ? v : NULL;
}

bool field_bool(const json_t *o, const char *name, bool *out, struct refusal *r)
{
	const json_t *v = given(o, name);
	if (!v) return true;
	if (!json_is_boolean(v)) return field_wrong(r, name, "a boolean", v);
	*out = json_is_true(v);
	return true;
}

/* An integer, also one written 1.0. */
static bool whole(const json_t *v, int64_t *out)
{
	double d = json_real_value(v);
	if (json_is_integer(v)) *out = json_integer_value(v);
	else if (json_is_real(v) && d == floor(d) && fabs(d) < 0x1p53) *out = (int64_t)d;
	else return false;
	return true;
}

bool field_int(const json_t *o, const char *name, int64_t lo, int64_t hi, int *out, struct refusal *r)
{
	const json_t *v = given(o, name);
	int64_t i;
	if (!v) return true;
	if (!whole(v, &i)) return field_wrong(r, name, "an integer", v);
	if (i < lo || i > hi)
		return field_bad(r, name, "%s is %" PRId64 ", not between %" PRId64 " and %" PRId64, name, i, lo, hi);
	*out = (int)i;
	return true;
}

bool field_float(const json_t *o, const char *name, double lo, double hi, float *out, struct refusal *r)
{
	const json_t *v = given(o, name);
	if (!v) return true;
	if (!json_is_number(v)) return field_wrong(r, name, "a number", v);
	double d = json_number_value(v);
	if (!(d >= lo && d <= hi))
		return field_bad(r, name, "%s is %g, not between %g and %g", name, d, lo, hi);
	*out = (float)d;
	return true;
}

bool field_seed(const json_t *o, uint64_t *out, struct refusal *r)
{
	const json_t *v = given(o, "seed");
	int64_t i;
	if (!v) return true;
	if (!whole(v, &i)) return field_wrong(r, "seed", "an integer", v);
	*out = (uint64_t)i;
	return true;
}

/* One pair of logit_bias; -100 stands for never. */
static bool add_bias(struct lm_logit_bias *b, int n_vocab, int64_t id, const json_t *v, struct refusal *r)
{
	double x = json_is_false(v) ? -100 : json_number_value(v);
	if (!json_is_number(v) && !json_is_false(v))
		return field_wrong(r, "logit_bias", "an object of numbers", v);
	if (id < 0 || id >= n_vocab)
		return field_bad(r, "logit_bias", "logit_bias: token %" PRId64 " is not in the vocabulary of %d", id, n_vocab);
	if (!(x >= -100 && x <= 100))
		return field_bad(r, "logit_bias", "logit_bias of token %" PRId64 " is %g, not between -100 and 100", id, x);
	*b = (struct lm_logit_bias){ (int32_t)id, x <= -100 ? -INFINITY : (float)x };
	return true;
}

/* OpenAI's {"id": bias} and llama.cpp's [[id, bias], ...]. */
static bool logit_bias(const json_t *o, int n_vocab, struct lm_sampling *s, struct lm_logit_bias **out, struct refusal *r)
{
	json_t *v = (json_t *)(uintptr_t)given(o, "logit_bias"), *pair;
	size_t n = json_is_object(v) ? json_object_size(v) : json_array_size(v), i = 0;
	const char *key;
	if (!v) return true;
	if (!json_is_object(v) && !json_is_array(v))
		return field_wrong(r, "logit_bias", "an object", v);
	struct lm_logit_bias *b = *out = lm_calloc(n, sizeof *b);
	if (!b) return api_no_memory(r);
	s->bias = b;
	s->n_bias = (int)n;
	n = 0;
	if (json_is_object(v)) {
		json_object_foreach(v, key, pair) {
			char *end;
			long long id = strtoll(key, &end, 10);
			if (!*key || *end) return field_bad(r, "logit_bias", "logit_bias: '%.40s' is not a token id", key);
			if (!add_bias(&b[n++], n_vocab, id, pair, r)) return false;
		}
		return true;
	}
	json_array_foreach(v, i, pair) {
		int64_t id;
		if (json_array_size(pair) != 2 || !whole(json_array_get(pair, 0), &id))
			return field_bad(r, "logit_bias", "logit_bias[%zu] is not a pair [token id, bias]", i);
		if (!add_bias(&b[n++], n_vocab, id, json_array_get(pair, 1), r)) return false;
	}
	return true;
}

bool field_sampling(const json_t *o, int n_vocab, struct lm_sampling *s, struct lm_logit_bias **bias, struct refusal *r)
{
	lm_sampling_default(s);
	s->seed = lm_random_seed();
	return field_float(o, "temperature", 0, 100, &s->temperature, r) && field_float(o, "top_p", 0, 1, &s->top_p, r) &&
	       field_int(o, "top_k", -1, INT32_MAX, &s->top_k, r) && field_float(o, "min_p", 0, 1, &s->min_p, r) &&
	       field_float(o, "typical_p", 0, 1, &s->typical_p, r) &&
	       field_float(o, "presence_penalty", -2, 2, &s->presence, r) &&
	       field_float(o, "frequency_penalty", -2, 2, &s->frequency, r) &&
	       field_float(o, "repetition_penalty", 0.01, 100, &s->repeat, r) &&
	       field_float(o, "repeat_penalty", 0.01, 100, &s->repeat, r) &&
	       field_int(o, "repeat_last_n", -1, INT32_MAX, &s->repeat_last_n, r) &&
	       field_bool(o, "ignore_eos", &s->ignore_eos, r) && field_seed(o, &s->seed, r) &&
	       logit_bias(o, n_vocab, s, bias, r);
}

bool field_stop(const json_t *o, const char ***out, int *n, struct refusal *r)
{
	const json_t *v = given(o, "stop");
	size_t count = json_is_array(v) ? json_array_size(v) : 1;
	if (!v || count == 0) return true;
	if (count > MAX_STOP)
		return field_bad(r, "stop", "%zu stop strings: at most %d are allowed", count, MAX_STOP);
	const char **s = *out = lm_calloc(count, sizeof *s);
	if (!s) return api_no_memory(r);
	for (size_t i = 0; i < count; i++) {
		const json_t *x = json_is_array(v) ? json_array_get(v, i) : v;
		if (!json_is_string(x))
			return field_wrong(r, "stop", "a string or an array of strings", x);
		if (!(s[i] = field_text(x, "stop", r))) return false;
		if (!*s[i]) return field_bad(r, "stop", "a stop string is empty");
	}
	*n = (int)count;
	return true;
}

/* ---- messages ------------------------------------------------------------------------------------------------- */
/* content as one string; NULL: refused. */
static json_t *content(const json_t *v, int at, struct refusal *r)
{
	char param[64];
	size_t i;
	json_t *part;
	snprintf(param, sizeof param, "messages[%d].content", at);
	if (!v || json_is_null(v)) return json_string("");
	if (json_is_string(v)) return field_text(v, param, r) ? json_copy((json_t *)(uintptr_t)v) : NULL;
	if (!json_is_array(v)) {
		field_wrong(r, param, "a string or an array of parts", v);
		return NULL;
	}
	struct lm_buf b = { 0 };
	json_array_foreach((json_t *)(uintptr_t)v, i, part) {
		const char *type = json_string_value(json_object_get(part, "type"));
		const json_t *text = json_object_get(part, "text");
		if (type && strcmp(type, "text") == 0 && json_is_string(text)) {
			if (!field_text(text, param, r)) {
				lm_buf_free(&b);
				return NULL;
			}
			lm_buf_str(&b, json_string_value(text));
			continue;
		}
		bool image = type && strcmp(type, "image_url") == 0;
		if (image) api_refuse(r, 501, NULL, param, "%s: this model takes no images", param);
		else field_bad(r, param, "%s[%zu] is not a part {\"type\": \"text\", \"text\": ...}", param, i);
		lm_buf_free(&b);
		return NULL;
	}
	json_t *s = json_stringn(lm_buf_cstr(&b), b.n);
	lm_buf_free(&b);
	if (!s) api_no_memory(r);
	return s;
}

/* The calls of an assistant's message: names, and arguments as JSON text or an object. */
static bool check_calls(json_t *calls, int at, struct refusal *r)
{
	char param[64];
	size_t i;
	json_t *call;
	snprintf(param, sizeof param, "messages[%d].tool_calls", at);
	if (calls && !json_is_null(calls) && !json_is_array(calls)) return field_wrong(r, param, "an array", calls);
	json_array_foreach(calls, i, call) {
		const json_t *f = json_object_get(call, "function"), *args = json_object_get(f, "arguments");
		bool ok = json_is_string(json_object_get(f, "name"));
		if (!ok || (args && !json_is_null(args) && !json_is_string(args) && !json_is_object(args)))
			return field_bad(r, param, "%s[%zu] is not {\"id\", \"type\": \"function\", \"function\": {\"name\": ..., "
			                 "\"arguments\": JSON text}}", param, i);
	}
	return true;
}

static json_t *message(const json_t *m, int at, struct refusal *r)
{
	static const char *const roles[] = { "system", "developer", "user", "assistant", "tool" };
	char param[64];
	const char *role = json_string_value(json_object_get(m, "role"));
	bool known = false;
	snprintf(param, sizeof param, "messages[%d]%s", at, json_is_object(m) ? ".role" : "");
	if (!json_is_object(m)) {
		field_wrong(r, param, "an object", m);
		return NULL;
	}
	for (size_t i = 0; role && i < sizeof roles / sizeof roles[0]; i++) known |= strcmp(role, roles[i]) == 0;
	if (!known) {
		if (role) field_bad(r, param, "%s is '%.40s', not system, developer, user, assistant or tool", param, role);
		else api_refuse(r, 400, "missing_required_parameter", param, "%s is missing or not a string", param);
		return NULL;
	}
	if (!check_calls(json_object_get(m, "tool_calls"), at, r)) return NULL;
	json_t *text = content(json_object_get(m, "content"), at, r);
	if (!text) return NULL;
	json_t *copy = json_copy((json_t *)(uintptr_t)m);        /* tool_calls, name, ... are for the template */
	json_t *as = json_string(role[0] == 'd' ? "system" : role);
	if (json_object_set_new(copy, "content", text) | json_object_set_new(copy, "role", as)) {
		json_decref(copy);
		api_no_memory(r);
		return NULL;
	}
	return copy;
}

/* Template variables beside the messages. */
static bool extras(const json_t *o, json_t *vars, const json_t *last, const char **cont, struct refusal *r)
{
	bool prompt = true, go_on = true;
	json_t *kw = json_object_get(o, "chat_template_kwargs"), *v;
	const char *key, *role = json_string_value(json_object_get(last, "role"));
	if (kw && !json_is_null(kw) && !json_is_object(kw))
		return field_wrong(r, "chat_template_kwargs", "an object", kw);
	if (!field_bool(o, "add_generation_prompt", &prompt, r)) return false;
	if (!field_bool(o, "continue_final_message", &go_on, r)) return false;
	json_object_foreach(kw, key, v)
		if (strcmp(key, "messages") != 0) json_object_set(vars, key, v);
	*cont = NULL;
	if (go_on && role && strcmp(role, "assistant") == 0 && !json_array_size(json_object_get(last, "tool_calls"))) {
		*cont = json_string_value(json_object_get(last, "content"));
		if (*cont && !(*cont)[strspn(*cont, WHITE)]) *cont = NULL;
	}
	json_object_set_new(vars, "add_generation_prompt", json_boolean(prompt && !*cont));
	return true;
}

/* The last place where s[0..n) stands in text; NULL: none.  Linear, for what a client sends may repeat itself: of
 * places that overlap, 64 are tried. */
static char *find_last(char *text, size_t len, const char *s, size_t n)
{
	char *at = NULL, *end = text + len, *p = text;
	while (n && (p = memmem(p, (size_t)(end - p), s, n)) != NULL) at = p, p += n;
	p = at;
	for (int i = 0; p && i < 64 && (p = memmem(p + 1, (size_t)(end - p - 1), s, n)) != NULL; i++) at = p;
	return at;
}

char *field_continued(char *prompt, const char *cont)
{
	size_t n = strlen(cont), lead = strspn(cont, WHITE), k = n;
	while (k > lead && strchr(WHITE, cont[k - 1])) k--;
	char *at = find_last(prompt, strlen(prompt), cont + lead, k - lead);
	if (!at) return NULL;
	bool whole = (size_t)(at - prompt) >= lead && strncmp(at - lead, cont, n) == 0;
	return whole ? at - lead + n : at + (k - lead);
}

json_t *field_messages(const json_t *o, const char **cont, struct refusal *r)
{
	json_t *list = json_object_get(o, "messages"), *m;
	size_t i;
	if (!list || json_is_null(list)) {
		api_refuse(r, 400, "missing_required_parameter", "messages", "messages is missing");
		return NULL;
	}
	if (!json_is_array(list)) {
		field_wrong(r, "messages", "an array", list);
		return NULL;
	}
	if (json_array_size(list) == 0) {
		field_bad(r, "messages", "messages is empty");
		return NULL;
	}
	json_t *vars = json_object(), *out = json_array();
	json_object_set_new(vars, "messages", out);
	bool ok = vars && out;
	json_array_foreach(list, i, m) {
		json_t *one = ok ? message(m, (int)i, r) : NULL;
		if (!one) ok = false;
		else json_array_append_new(out, one);
	}
	if (ok) ok = extras(o, vars, json_array_get(out, json_array_size(out) - 1), cont, r);
	if (ok) return vars;
	if (!r->status) api_no_memory(r);
	json_decref(vars);
	return NULL;
}
