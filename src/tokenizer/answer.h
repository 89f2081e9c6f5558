/* answer.h - the way back: what a model wrote, taken apart into content, reasoning and tool calls, whole or as it
 * streams.  The formats are a table of data (markers, how calls are written); which one applies is found from the chat
 * template's text. */
#pragma once
#include "base/base.h"
#include <jansson.h>

struct answer_format;                                      /* static data */
/* The format that a chat template's model writes; never NULL (plain text when nothing is known of it). */
const struct answer_format *answer_detect(const char *tmpl, size_t len);
const struct answer_format *answer_named(const char *name);/* "hermes", "llama3", ...; NULL if unknown */
const struct answer_format *answer_at(int i, const char **name);     /* NULL at the end */

enum answer_part {
	ANSWER_CONTENT, ANSWER_REASONING,                  /* text */
	ANSWER_CALL,                                       /* a call begins: text is the function's name, id its id */
	ANSWER_ARGUMENTS                                   /* text: the next stretch of the call's JSON arguments */
};
struct answer_out {
	/* index: which call, from 0 (ANSWER_CALL, ANSWER_ARGUMENTS); id: "" where the model gives none.
	 * A non-zero return ends the parse and is returned. */
	int (*part)(void *ud, enum answer_part p, int index, const char *id, const char *text, size_t n);
	void *ud;
};
struct answer;                                             /* one answer being read */
/* tools: the request's "tools" array (OpenAI form) or NULL: with none, call markers are plain content.  `reasoning`:
 * false leaves reasoning within the content, markers and all.  `thinking`: the prompt ended inside a reasoning block
 * (its template opened one), so the answer begins in it. */
int answer_new(struct answer **out, const struct answer_format *f, const json_t *tools, bool reasoning, bool thinking,
	       struct lm_err *err);
void answer_free(struct answer *a);
/* The next stretch of text, cut anywhere, with special tokens shown.  What cannot yet be told apart is held back.
 * A malformed call becomes content, as it stands: nothing the model wrote is lost.  LM_ENOMEM, LM_ELIMIT. */
int answer_push(struct answer *a, const char *s, size_t n, const struct answer_out *out, struct lm_err *err);
int answer_end(struct answer *a, const struct answer_out *out, struct lm_err *err);
/* Does this rendered prompt end inside a reasoning block of f? */
bool answer_prompt_thinks(const struct answer_format *f, const char *prompt, size_t len);
/* A whole answer at once, as an OpenAI message: {"role":"assistant","content":str or null,"reasoning_content":str,
 * "tool_calls":[{"id","type":"function","function":{"name","arguments"}}]}, absent where empty.  NULL on error. */
json_t *answer_message(const struct answer_format *f, const json_t *tools, bool thinking, const char *s, size_t n,
		       struct lm_err *err);
