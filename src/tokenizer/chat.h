/* chat.h - messages to prompt text by a model's own chat template (a Jinja subset, sandboxed: bounded steps,
 * depth and output; no I/O). */
#pragma once
#include "base/base.h"
#include <jansson.h>

struct chat;                                             /* a compiled chat template; immutable, share freely */
/* LM_EFORMAT with line and column.  An unknown tag, filter or test fails here, by its name; but, as in jinja2, not a
 * filter or test within the branch of an if: that one fails when it is reached (DeepSeek V3.2's from_json). */
int chat_compile(struct chat **out, const char *tmpl, size_t len, struct lm_err *err);
void chat_free(struct chat *c);
/* Renders with the template's variables taken from the JSON object `vars` ("messages", "add_generation_prompt",
 * "bos_token", "eos_token", ...; absent "tools" and "documents" are None, other absent names undefined; "now" fixes
 * strftime_now).  Appends to *out.  raise_exception("...") gives LM_EINVAL with that message. */
int chat_render(const struct chat *c, const json_t *vars, struct lm_buf *out, struct lm_err *err);

/* ---- from what a client sends to what a template takes (chat_adapt.c) ---- */
/* Does the template read this variable?  One that it only sets does not count. */
bool chat_uses(const struct chat *c, const char *variable);
/* Brings the messages of vars into the form that this template takes, in place.  What it takes was found when it was
 * compiled, by rendering small conversations both ways and looking for a word of theirs:
 *  - tool calls' arguments, JSON text in OpenAI's form, become an object, or text where only that comes out as JSON;
 *  - content parts of type text become one string for a role whose parts do not come out as the string does, and a
 *    string becomes a part for a role whose strings do not come out at all; parts other than text stay as they are;
 *  - an assistant's content that is null or absent becomes "" where it would print None or fail, and "" beside tool
 *    calls null where the calls come out only so;
 *  - reasoning_content, thinking and reasoning are one thing, as transformers has it. */
int chat_normalise(const struct chat *c, json_t *vars, struct lm_err *err);
/* For a template that does not use "tools": a copy of vars without them, whose system message (made when there is
 * none) lists the functions as JSON and asks for calls as {"name", "arguments"} between <tool_call> tags; calls and
 * results in the history become text of that form, results in a user's turn.  NULL on error. */
json_t *chat_with_tools(const json_t *vars, struct lm_err *err);

/* ---- the templates that we bring along (chat_builtin.c) ---- */
/* Text by name ("chatml", "gemma", "llama2", ...); NULL if unknown. */
const char *chat_builtin(const char *name);
/* Name of the one that a vocabulary was made for, told by tokens that it has; NULL when they tell nothing. */
const char *chat_builtin_for(bool (*has)(void *ud, const char *token), void *ud);
