/* chat_pending.c - weak stand-ins until the template engine lands; the linker prefers the real ones. */
#include "tokenizer/chat.h"

__attribute__((weak)) int chat_compile(struct chat **out, const char *tmpl, size_t len, struct lm_err *err)
{
	(void)tmpl;
	(void)len;
	*out = NULL;
	return lm_fail(err, LM_EUNSUPPORTED, "chat templates are not supported in this build");
}
__attribute__((weak)) void chat_free(struct chat *c) { (void)c; }
__attribute__((weak)) int chat_render(const struct chat *c, const json_t *vars, struct lm_buf *out, struct lm_err *err)
{
	(void)c;
	(void)vars;
	(void)out;
	return lm_fail(err, LM_EUNSUPPORTED, "chat templates are not supported in this build");
}
__attribute__((weak)) const char *chat_builtin(const char *name)
{
	(void)name;
	return NULL;
}
