/* answer_schema.c - what the request's tools say: a parameter's type decides what its bare text means. */
#include "tokenizer/answer_impl.h"
#include "base/json.h"
#include <string.h>

enum { T_STRING = 1, T_NULL = 2, T_NUMBER = 4, T_BOOL = 8, T_OBJECT = 16, T_ARRAY = 32, T_OTHER = 60 };

const json_t *answer_tool(const json_t *tools, const char *name, size_t n)
{
	size_t i;
	json_t *t;
	json_array_foreach((json_t *)tools, i, t)
	{
		const json_t *f = json_object_get(t, "function");
		if (!f) f = t;
		const json_t *v = json_object_get(f, "name");
		if (json_string_length(v) == n && n && memcmp(json_string_value(v), name, n) == 0) return f;
	}
	return NULL;
}

const json_t *answer_property(const json_t *tool, const char *key, size_t n)
{
	return json_object_getn(json_object_get(json_object_get(tool, "parameters"), "properties"), key, n);
}

static unsigned type_of(const char *name)
{
	static const struct {
		const char *name;
		unsigned type;
	} names[] = { { "string", T_STRING },  { "null", T_NULL },    { "number", T_NUMBER },
		      { "integer", T_NUMBER }, { "boolean", T_BOOL }, { "object", T_OBJECT },
		      { "array", T_ARRAY } };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i].name, name) == 0) return names[i].type;
	return 0;
}

static unsigned values(const json_t *v)
{
	return json_is_string(v)    ? T_STRING
	       : json_is_null(v)    ? T_NULL
	       : json_is_number(v)  ? T_NUMBER
	       : json_is_boolean(v) ? T_BOOL
	       : json_is_object(v)  ? T_OBJECT
	       : json_is_array(v)   ? T_ARRAY
				    : 0;
}

/* The types that a schema allows; 0: it does not say. */
static unsigned types(const json_t *schema, int depth)
{
	static const char *const unions[] = { "anyOf", "oneOf", "allOf" };
	const json_t *t = json_object_get(schema, "type");
	unsigned mask = json_is_string(t) ? type_of(json_string_value(t)) : 0;
	size_t i;
	json_t *v;
	if (depth > 8) return 0;
	json_array_foreach((json_t *)t, i, v) if (json_is_string(v)) mask |= type_of(json_string_value(v));
	if (!mask)
		for (size_t k = 0; k < 3; k++)
			json_array_foreach(json_object_get(schema, unions[k]), i, v) mask |=
				types(v, depth + 1);
	if (!mask) {
		json_array_foreach(json_object_get(schema, "enum"), i, v) mask |= values(v);
		mask |= values(json_object_get(schema, "const"));
	}
	if (!mask && (json_object_get(schema, "properties") || json_object_get(schema, "items")))
		mask = T_OTHER;
	if (json_is_true(json_object_get(schema, "nullable"))) mask |= T_NULL;
	return mask;
}

static bool is_word(const char *s, size_t n, const char *w)
{
	return n == strlen(w) && memcmp(s, w, n) == 0;
}

/* As JSON or a Python literal; false leaves *out as it was. */
static bool literal(struct lm_buf *out, const char *s, size_t n)
{
	size_t back = out->n;
	while (n && answer_space(*s)) s++, n--;
	while (n && answer_space(s[n - 1])) n--;
	if (n && answer_json_ok(s, n)) {
		lm_buf_add(out, s, n);
		return true;
	}
	if (n && answer_python(s, n, out)) return true;
	out->n = back;
	return false;
}

/* The type of a JSON value, by its first byte. */
static unsigned begins(char c)
{
	return c == '"'               ? T_STRING
	       : c == '{'             ? T_OBJECT
	       : c == '['             ? T_ARRAY
	       : c == 'n'             ? T_NULL
	       : c == 't' || c == 'f' ? T_BOOL
				      : T_NUMBER;
}

static void typed(struct lm_buf *out, unsigned mask, const char *s, size_t n)
{
	bool null = mask & T_NULL && (is_word(s, n, "null") || is_word(s, n, "None"));
	bool other = mask & T_OTHER;
	if (null) {
		lm_buf_str(out, "null");
		return;
	}
	/* where a string would do as well, only what is clearly one of the other types is no string */
	if (mask & T_STRING) other = n && begins(*s) & mask & T_OTHER && answer_json_ok(s, n);
	if (!other || !literal(out, s, n)) lm_json_string(out, s, n);
}

void answer_value(struct lm_buf *out, const json_t *schema, struct span hint, const char *base, const char *s,
		  size_t n)
{
	/* string="true" (DeepSeek), type="object" (Kimi K3) */
	bool text = is_word(base + hint.at, hint.n, "true") || is_word(base + hint.at, hint.n, "string");
	typed(out, !hint.n ? types(schema, 0) : text ? T_STRING : T_OTHER, s, n);
}

void answer_scalar(struct lm_buf *out, const json_t *schema, const char *s, size_t n)
{
	unsigned mask = types(schema, 0);
	bool guess = !mask && n && strchr("-0123456789tfnTFN", s[0]);
	typed(out, guess ? T_OTHER : mask, s, n);
}
