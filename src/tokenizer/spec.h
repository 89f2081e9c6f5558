/* spec.h - members of the JSON objects in tokenizer.json, each error one sentence: "normalizer Strip: strip_left
 * must be true or false, not a string". */
#pragma once
#include "base/base.h"
#include <jansson.h>

/* What is read: `kind` is "normalizer" or "decoder", `type` its "type". */
struct spec_of {
	const char *kind, *type;
	const json_t *spec;
};
/* The "type" of a spec, or NULL and a sentence.  The text lives as long as spec. */
const char *spec_type(const char *kind, const json_t *spec, struct lm_err *err);
/* Present or an error. */
int spec_bool(bool *out, const struct spec_of *f, const char *name, struct lm_err *err);
int spec_int(int64_t *out, const struct spec_of *f, const char *name, int64_t max, struct lm_err *err); /* >= 0 */
int spec_str(const char **s, size_t *n, const struct spec_of *f, const char *name, struct lm_err *err);
int spec_array(const json_t **out, const struct spec_of *f, const char *name, struct lm_err *err);
int spec_wrong(const struct spec_of *f, const char *name, const char *want, struct lm_err *err);
