/* chat.h - messages to prompt text by a model's own chat template (a Jinja subset, sandboxed: bounded steps,
 * depth and output; no I/O). */
#pragma once
#include "base/base.h"
#include <jansson.h>

struct chat;                                             /* a compiled chat template; immutable, share freely */
/* LM_EFORMAT with line and column. */
int chat_compile(struct chat **out, const char *tmpl, size_t len, struct lm_err *err);
void chat_free(struct chat *c);
/* Renders with the template's variables taken from the JSON object `vars` ("messages", "add_generation_prompt",
 * "bos_token", "eos_token", ...; absent "tools" and "documents" are None, other absent names undefined; "now" fixes
 * strftime_now).  Appends to *out.  raise_exception("...") gives LM_EINVAL with that message. */
int chat_render(const struct chat *c, const json_t *vars, struct lm_buf *out, struct lm_err *err);
/* Built-in template text by name ("chatml", "gemma", "llama2", ...); NULL if unknown. */
const char *chat_builtin(const char *name);
