/* answer.h - the way back: what a model wrote, taken apart into content, reasoning and tool calls, whole or as it
 * streams.  The formats are a table of data (markers, how calls are written); which one applies is found from the
 * chat template's text.
 *
 * A server uses it so: answer_detect once per model; per request (and per choice, when n > 1)
 *     answer_new(&a, f, tool_choice is "none" ? NULL : tools, reasoning_format is not "none",
 *                answer_prompt_thinks(f, prompt, len), &err);
 *     answer_push for every stretch of text that the engine gives, special tokens shown and cut at whole characters;
 *     answer_end when generation has ended; then finish_reason is "tool_calls" if there was a call.
 * A part becomes delta.content, delta.reasoning_content, or delta.tool_calls[{"index": index, ...}]: ANSWER_CALL with
 * "id" (one of the server's own where it is "") and "function": {"name", "arguments": ""}, ANSWER_ARGUMENTS with
 * "function": {"arguments"}.  Stop strings are the engine's: they are looked for in the text before it comes here.
 *
 * White space beside a marker belongs to the marker (templates put newlines there); elsewhere, at the beginning and at
 * the end of an answer too, it is kept.  So white space at the end of a stretch is held until it is known what follows.
 * Two reasoning blocks with nothing between are joined by a newline. */
#pragma once
#include "base/base.h"
#include <jansson.h>

struct answer_format;                                      /* static data */
/* The format that a chat template's model writes; never NULL (plain text when nothing is known of it). */
const struct answer_format *answer_detect(const char *tmpl, size_t len);
const struct answer_format *answer_named(const char *name);/* "hermes", "llama3", ...; NULL if unknown */
const struct answer_format *answer_at(int i, const char **name);     /* NULL at the end */

/* Is this text, of a control token, part of a marker of f?  Then the answer has to be read with it shown. */
bool answer_writes(const struct answer_format *f, const char *token, size_t n);

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
/* The next stretch of text, cut anywhere, with special tokens shown.  What cannot yet be told apart is held back: at
 * most a marker (256 bytes), white space, and a call up to where its arguments begin; arguments that are not JSON until
 * the call is whole.  Where the cuts are changes nothing in what comes out but the stretches it comes in.
 * A malformed call becomes content, as it stands, and so does one that is cut off: nothing the model wrote is lost.
 * JSON arguments are given away as they come, so one that breaks off within them stays a call with what there was of
 * them, and content goes on behind.  An id that stands behind the arguments comes too late and is dropped.
 * Parameters between tags become JSON of the type that the tool's schema names: a string stays as it is, even "5"; what
 * cannot be read as a number, boolean, array, object is a string; where a string and another type are allowed, it is
 * the other one if it reads as that.  LM_ENOMEM; LM_ELIMIT beyond 64 MiB or 4096 calls. */
int answer_push(struct answer *a, const char *s, size_t n, const struct answer_out *out, struct lm_err *err);
int answer_end(struct answer *a, const struct answer_out *out, struct lm_err *err);
/* Within part, of content and reasoning: at which byte of all that was pushed its text begins.  The text stands there as
 * it is given, but for the newline between two blocks of reasoning. */
size_t answer_where(const struct answer *a);
/* Does this rendered prompt end inside a reasoning block of f? */
bool answer_prompt_thinks(const struct answer_format *f, const char *prompt, size_t len);
/* A whole answer at once, as an OpenAI message: {"role":"assistant","content":str or null,"reasoning_content":str,
 * "tool_calls":[{"id","type":"function","function":{"name","arguments"}}]}, absent where empty.  NULL on error. */
json_t *answer_message(const struct answer_format *f, const json_t *tools, bool thinking, const char *s, size_t n,
		       struct lm_err *err);
