/* reader.c - answers taken apart: answer.h with the engine's format. */
#include "base/json.h"
#include "engine/engine.h"
#include <string.h>

struct lm_reader { struct answer *a; json_t *vars; };

_Static_assert((int)LM_CONTENT == (int)ANSWER_CONTENT && (int)LM_REASONING == (int)ANSWER_REASONING &&
               (int)LM_CALL == (int)ANSWER_CALL && (int)LM_ARGUMENTS == (int)ANSWER_ARGUMENTS, "the same parts");

int lm_reader_new(struct lm_reader **out, struct lm_engine *e, const char *vars_json, size_t len, const char *prompt,
                  bool reasoning, struct lm_err *err)
{
	*out = NULL;
	struct lm_reader *r = lm_calloc(1, sizeof *r);
	if (!r) return lm_fail(err, LM_ENOMEM, "out of memory for the answer");
	r->vars = lm_json_parse(vars_json, len, err);
	const json_t *tools = json_object_get(r->vars, "tools");
	bool some = json_array_size(tools) > 0;
	const struct answer_format *f = some && e->asks_tools ? answer_named("hermes") : e->format;
	bool thinks = prompt && answer_prompt_thinks(f, prompt, strlen(prompt));
	int rc = !r->vars ? (err ? err->code : LM_EFORMAT)
	                  : answer_new(&r->a, f, some ? tools : NULL, reasoning, reasoning && thinks, err);
	if (rc) lm_reader_free(r);
	else *out = r;
	return rc;
}

struct parts { lm_part_fn *fn; void *ud; };

static int part(void *ud, enum answer_part p, int index, const char *id, const char *text, size_t n)
{
	const struct parts *to = ud;
	return to->fn(to->ud, (enum lm_part)p, index, id, text, n);
}

int lm_reader_push(struct lm_reader *r, const char *text, size_t n, lm_part_fn *fn, void *ud, struct lm_err *err)
{
	struct parts to = { fn, ud };
	return answer_push(r->a, text, n, &(struct answer_out){ part, &to }, err);
}

int lm_reader_end(struct lm_reader *r, lm_part_fn *fn, void *ud, struct lm_err *err)
{
	struct parts to = { fn, ud };
	return answer_end(r->a, &(struct answer_out){ part, &to }, err);
}

size_t lm_reader_where(const struct lm_reader *r) { return answer_where(r->a); }

void lm_reader_free(struct lm_reader *r)
{
	if (!r) return;
	answer_free(r->a);
	json_decref(r->vars);
	lm_free(r);
}

bool reader_marks(const struct lm_engine *e, int32_t id)
{
	char s[256];
	int n = tok_is_control(e->tok, id) ? tok_bytes(e->tok, id, true, s, sizeof s) : 0;
	return n > 0 && n <= (int)sizeof s && answer_writes(e->format, s, (size_t)n);
}
