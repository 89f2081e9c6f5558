/* chat.c - a compiled template, rendering it, and the templates we bring along. */
#include "tokenizer/chat.h"
#include "tokenizer/jinja.h"

/* The source with \r\n and \r as \n, less one newline at its end: as jinja2 reads it. */
static int normalise(struct chat *c, const char *s, size_t len, struct lm_err *err)
{
	if (len > JJ_MAX_SOURCE)
		return lm_fail(err, LM_ELIMIT, "chat template of %zu bytes, %d at most", len, JJ_MAX_SOURCE);
	char *out = lm_new(c->mem, char, len + 1);
	if (!out) return lm_fail(err, LM_ENOMEM, "chat template: out of memory");
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		out[n++] = s[i] == '\r' ? '\n' : s[i];
		if (s[i] == '\r' && i + 1 < len && s[i + 1] == '\n') i++;
	}
	if (n && out[n - 1] == '\n') n--;
	c->src = out;
	c->len = n;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		size_t k = (size_t)lm_utf8_next(out + i, n - i, &cp);
		if (!lm_utf8_valid(out + i, k))
			return jj_fail_at(err, LM_EFORMAT, out, n, i, "a byte that is not UTF-8");
		i += k;
	}
	return 0;
}

int chat_compile(struct chat **out, const char *tmpl, size_t len, struct lm_err *err)
{
	struct chat *c = lm_calloc(1, sizeof *c);
	*out = NULL;
	if (!c || !(c->mem = lm_arena_new(4096))) {
		lm_free(c);
		return lm_fail(err, LM_ENOMEM, "chat template: out of memory");
	}
	int rc = normalise(c, tmpl, len, err);
	if (!rc) rc = jj_parse(c, err);
	if (!rc) rc = jj_probe(c, err);
	if (rc) {
		chat_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void chat_free(struct chat *c)
{
	if (!c) return;
	lm_arena_free(c->mem);
	lm_free(c);
}

/* Values of the names that the template uses: the caller's, else a global function, else nothing. */
static void bind(struct jj_run *r, const json_t *vars)
{
	static const char *const null[] = { "tools", "documents" };
	const struct chat *c = r->c;
	r->global = jj_new(r, struct jj_val, c->n_sym);
	r->sym_loop = r->sym_caller = r->sym_kwargs = r->sym_varargs = -1;
	for (int i = 0; i < c->n_sym && !r->rc; i++) {
		struct jj_val name = c->sym[i], v = { .t = JJ_MISSING };
		const json_t *j = json_object_getn(vars, name.s, name.n);
		const struct jj_fn *fn = jj_global(name);
		if (j) v = jj_from_json(r, j, 0);
		else if (fn) v = (struct jj_val){ .t = JJ_FUNC, .fn = fn };
		else if (jj_is(name, null[0]) || jj_is(name, null[1])) v = jj_none();
		r->global[i] = v;
		if (jj_is(name, "loop")) r->sym_loop = i;
		if (jj_is(name, "caller")) r->sym_caller = i;
		if (jj_is(name, "kwargs")) r->sym_kwargs = i;
		if (jj_is(name, "varargs")) r->sym_varargs = i;
	}
	const json_t *now = json_object_get(vars, "now");
	r->has_now = json_is_number(now);
	if (r->has_now) r->now = json_number_value(now);
	if (r->has_now && !(r->now > -6e10 && r->now < 2.5e11)) jj_fail(r, LM_EINVAL, "'now' is no time");
}

int jj_render(const struct chat *c, const json_t *vars, long *steps, size_t mem, struct lm_buf *out, struct lm_err *err)
{
	struct lm_buf text = { 0 };
	struct jj_run r = { .c = c, .err = err, .out = &text };
	r.steps = JJ_MAX_STEPS - *steps;
	r.used = JJ_MAX_MEM - mem;
	if (vars && !json_is_object(vars))
		return lm_fail(err, LM_EINVAL, "the variables of a chat template must be a JSON object");
	r.mem = lm_arena_new(16384);
	if (!r.mem) return lm_fail(err, LM_ENOMEM, "chat template: out of memory");
	bind(&r, vars);
	jj_exec(&r, c->body);
	*steps = r.steps < JJ_MAX_STEPS ? JJ_MAX_STEPS - r.steps : 0;
	lm_arena_free(r.mem);
	if (!r.rc && text.n) lm_buf_add(out, text.p, text.n);
	if (!r.rc && out->bad) r.rc = lm_fail(err, LM_ENOMEM, "chat template: out of memory");
	lm_buf_free(&text);
	return r.rc;
}

int chat_render(const struct chat *c, const json_t *vars, struct lm_buf *out, struct lm_err *err)
{
	long steps = JJ_MAX_STEPS;
	return jj_render(c, vars, &steps, JJ_MAX_MEM, out, err);
}
