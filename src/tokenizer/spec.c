/* spec.c - members of JSON objects. */
#include "base/json.h"
#include "tokenizer/spec.h"
#include <string.h>

const char *spec_type(const char *kind, const json_t *spec, struct lm_err *err)
{
	if (!json_is_object(spec)) {
		lm_fail(err, LM_EFORMAT, "the %s must be an object, found %s", kind, lm_json_kind(spec));
		return NULL;
	}
	const json_t *type = json_object_get(spec, "type");
	if (json_is_string(type)) return json_string_value(type);
	lm_fail(err, LM_EFORMAT, "the %s needs a \"type\" that is a string, found %s", kind, lm_json_kind(type));
	return NULL;
}

int spec_wrong(const struct spec_of *f, const char *name, const char *want, struct lm_err *err)
{
	return lm_fail(err, LM_EFORMAT, "%s %s: \"%s\" must be %s, found %s", f->kind, f->type, name, want,
		       lm_json_kind(json_object_get(f->spec, name)));
}

int spec_bool(bool *out, const struct spec_of *f, const char *name, struct lm_err *err)
{
	const json_t *v = json_object_get(f->spec, name);
	if (!json_is_boolean(v)) return spec_wrong(f, name, "true or false", err);
	*out = json_is_true(v);
	return 0;
}

int spec_int(int64_t *out, const struct spec_of *f, const char *name, int64_t max, struct lm_err *err)
{
	const json_t *v = json_object_get(f->spec, name);
	if (!json_is_integer(v)) return spec_wrong(f, name, "a whole number", err);
	*out = json_integer_value(v);
	if (*out >= 0 && *out <= max) return 0;
	return lm_fail(err, LM_EFORMAT, "%s %s: \"%s\" must be 0 to %lld, found %lld", f->kind, f->type, name,
		       (long long)max, (long long)*out);
}

int spec_str(const char **s, size_t *n, const struct spec_of *f, const char *name, struct lm_err *err)
{
	const json_t *v = json_object_get(f->spec, name);
	if (!json_is_string(v)) return spec_wrong(f, name, "a string", err);
	*s = json_string_value(v);
	*n = json_string_length(v);
	return 0;
}

int spec_array(const json_t **out, const struct spec_of *f, const char *name, struct lm_err *err)
{
	*out = json_object_get(f->spec, name);
	return json_is_array(*out) ? 0 : spec_wrong(f, name, "an array", err);
}
