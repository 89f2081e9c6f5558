/* text.c - text to ids and back, and messages to a prompt: thread-safe, beside the engine thread. */
#include "base/json.h"
#include "engine/engine.h"
#include <string.h>

int lm_tokenize(struct lm_engine *e, const char *text, size_t len, unsigned add, bool parse_special, int32_t *ids,
                int cap, struct lm_err *err)
{
	unsigned flags = (add & LM_ADD_BOS ? TOK_ADD_BOS : 0) | (add & LM_ADD_EOS ? TOK_ADD_EOS : 0) |
			 (parse_special ? TOK_PARSE_SPECIAL : 0);
	return tok_encode(e->tok, text, len, flags, ids, cap, err);
}

int lm_detokenize(struct lm_engine *e, const int32_t *ids, int n, bool special, char **text, size_t *len, struct lm_err *err)
{
	struct lm_buf b = { 0 };
	*text = NULL;
	for (int i = 0; i < n; i++)
		if (ids[i] < 0 || ids[i] >= e->n_vocab)
			return lm_fail(err, LM_EINVAL, "token %d is %d, the vocabulary has %d", i, ids[i], e->n_vocab);
	lm_buf_add(&b, "", 0);
	tok_decode(e->tok, ids, n, special, &b);
	if (b.bad) {
		lm_buf_free(&b);
		return lm_fail(err, LM_ENOMEM, "out of memory for the text of %d tokens", n);
	}
	*text = b.p;
	*len = b.n;
	return 0;
}

int lm_token_bytes(const struct lm_engine *e, int32_t id, char *buf, int cap)
{
	return tok_bytes(e->tok, id, true, buf, cap);
}

bool lm_is_end(const struct lm_engine *e, int32_t id) { return tok_is_end(e->tok, id); }

void lm_text_free(char *text) { lm_free(text); }

/* Sets vars[name] to the text of a special token, unless the caller gave one. */
static int set_special(const struct lm_engine *e, json_t *vars, const char *name, enum tok_role role)
{
	if (json_object_get(vars, name)) return 0;
	struct lm_buf b = { 0 };
	int32_t id = tok_special(e->tok, role);
	if (id >= 0) tok_decode(e->tok, &id, 1, true, &b);
	json_t *s = json_string(lm_buf_cstr(&b));
	if (!s) s = json_string("");                         /* a token that is no UTF-8 */
	int rc = b.bad || !s ? -1 : json_object_set_new(vars, name, s);
	lm_buf_free(&b);
	return rc;
}

/* A copy of vars whose leading system message stands before the first user message's text; NULL: it has none of
 * that form. */
static json_t *fold_system(const json_t *vars)
{
	json_t *copy = json_deep_copy(vars), *msgs = json_object_get(copy, "messages");
	json_t *first = json_array_get(msgs, 0), *user = NULL;
	const char *role = json_string_value(json_object_get(first, "role"));
	const char *sys = json_string_value(json_object_get(first, "content"));
	for (size_t i = 1; i < json_array_size(msgs) && !user; i++) {
		const char *r = json_string_value(json_object_get(json_array_get(msgs, i), "role"));
		if (r && strcmp(r, "user") == 0) user = json_array_get(msgs, i);
	}
	const char *text = json_string_value(json_object_get(user, "content"));
	if (role && (strcmp(role, "system") == 0 || strcmp(role, "developer") == 0) && sys && text) {
		json_t *both = json_sprintf("%s\n\n%s", sys, text);
		if (both && json_object_set_new(user, "content", both) == 0 && json_array_remove(msgs, 0) == 0) return copy;
	}
	json_decref(copy);
	return NULL;
}

/* The template for these variables: some models bring one of their own for requests with tools. */
static const struct chat *template_for(const struct lm_engine *e, const json_t *vars)
{
	return e->chat_tools && json_array_size(json_object_get(vars, "tools")) ? e->chat_tools : e->chat;
}

static int render(const struct chat *c, const json_t *vars, struct lm_buf *out, struct lm_err *err)
{
	int rc = chat_render(c, vars, out, err);
	if (rc == 0 && out->bad) rc = lm_fail(err, LM_ENOMEM, "out of memory for the prompt");
	return rc;
}

/* The special tokens that templates name, unless the caller gave them. */
static int set_tokens(const struct lm_engine *e, json_t *vars, struct lm_err *err)
{
	if (!json_is_object(vars)) return lm_fail(err, LM_EFORMAT, "the variables of a chat template are a JSON object");
	static const struct { const char *name; enum tok_role role; } more[] = {
		{ "unk_token", TOK_UNK }, { "pad_token", TOK_PAD }, { "sep_token", TOK_SEP }, { "cls_token", TOK_CLS },
		{ "mask_token", TOK_MASK },
	};
	int bad = set_special(e, vars, "bos_token", TOK_BOS) || set_special(e, vars, "eos_token", TOK_EOS);
	for (size_t i = 0; i < sizeof more / sizeof *more && !bad; i++)    /* undefined where the model has none */
		if (tok_special(e->tok, more[i].role) >= 0) bad = set_special(e, vars, more[i].name, more[i].role);
	return bad ? lm_fail(err, LM_ENOMEM, "out of memory for the prompt") : 0;
}

/* Are there tools, or calls and results of earlier ones? */
static bool with_tools(const json_t *vars)
{
	json_t *m;
	size_t i;
	if (json_array_size(json_object_get(vars, "tools"))) return true;
	json_array_foreach(json_object_get(vars, "messages"), i, m) {
		const char *role = json_string_value(json_object_get(m, "role"));
		if ((role && strcmp(role, "tool") == 0) || json_array_size(json_object_get(m, "tool_calls"))) return true;
	}
	return false;
}

/* vars as the template takes them, special tokens and tools included; NULL on error.  Takes vars over. */
static json_t *prepare(const struct lm_engine *e, const struct chat *c, json_t *vars, struct lm_err *err)
{
	int rc = set_tokens(e, vars, err);
	if (!rc && with_tools(vars) && !chat_uses(c, "tools")) {
		json_t *with = chat_with_tools(vars, err);
		json_decref(vars);
		vars = with;
	}
	if (!rc && vars) rc = chat_normalise(c, vars, err);
	if (rc) json_decref(vars);
	return rc ? NULL : vars;
}

int lm_render_template(struct lm_engine *e, const char *vars_json, size_t len, char **text, size_t *n, struct lm_err *err)
{
	*text = NULL;
	if (!e->chat) {
		if (err) *err = e->chat_err;
		return e->chat_err.code;
	}
	json_t *vars = lm_json_parse(vars_json, len, err);
	int rc = vars ? set_tokens(e, vars, err) : (err ? err->code : LM_EFORMAT);
	struct lm_buf out = { 0 };
	lm_buf_add(&out, "", 0);
	if (!rc) rc = render(template_for(e, vars), vars, &out, err);
	json_decref(vars);
	if (rc) lm_buf_free(&out);
	else *text = out.p, *n = out.n;
	return rc;
}

int lm_render_chat(struct lm_engine *e, const char *vars_json, size_t len, char **text, struct lm_err *err)
{
	*text = NULL;
	if (!e->chat) {
		if (err) *err = e->chat_err;
		return e->chat_err.code;
	}
	json_t *vars = lm_json_parse(vars_json, len, err);
	const struct chat *c = template_for(e, vars);
	if (vars) vars = prepare(e, c, vars, err);
	if (!vars) return err ? err->code : LM_EFORMAT;
	struct lm_buf out = { 0 };
	struct lm_err first = { 0 };
	lm_buf_add(&out, "", 0);
	int rc = render(c, vars, &out, &first);
	if (rc == LM_EINVAL) {                               /* the template's own refusal: of a system role, perhaps */
		json_t *folded = fold_system(vars);
		out.n = 0;
		if (folded && (rc = render(c, folded, &out, &(struct lm_err){ 0 })) == 0)
			lm_log(LM_LOG_INFO, "the chat template has no system role: its text goes before the first user message");
		if (folded && rc) rc = first.code;
		json_decref(folded);
	}
	if (!rc && memchr(out.p, 0, out.n)) rc = lm_fail(&first, LM_EINVAL, "a NUL character is in what the chat template is given");
	if (rc && err) *err = first;
	json_decref(vars);
	if (rc) lm_buf_free(&out);
	else *text = out.p;
	return rc;
}
