/* answer.c - the machine: text and markers, white space between them, and what is told to the caller. */
#include "tokenizer/answer_impl.h"
#include "base/json.h"
#include <string.h>

int answer_new(struct answer **out, const struct answer_format *f, const json_t *tools, bool reasoning,
	       bool thinking, struct lm_err *err)
{
	struct answer *a = *out = lm_calloc(1, sizeof *a);
	if (!a) return lm_fail(err, LM_ENOMEM, "out of memory for an answer");
	a->f = f;
	a->tools = json_array_size(tools) ? tools : NULL;
	a->reasoning = reasoning;
	a->think = reasoning && thinking;
	a->start[0] = a->start[1] = true;
	a->flow[1].after = a->think;
	for (const struct rule *r = f->rules; r->head; r++) {
		const char *starts[] = { r->head, r->begin };
		for (int k = 0; k < 2; k++)
			if (starts[k] && (starts[k][0] != '%' || starts[k][1] == 'b'))
				a->first[(unsigned char)starts[k][starts[k][0] == '%' ? 2 : 0]] = 1;
	}
	return 0;
}

void answer_free(struct answer *a)
{
	if (!a) return;
	lm_buf_free(&a->b);
	lm_buf_free(&a->args);
	lm_buf_free(&a->flow[0].gap);
	lm_buf_free(&a->flow[1].gap);
	lm_free(a);
}

/* ---- to the caller ---------------------------------------------------------------------------------- */

static void part(struct answer *a, enum answer_part p, const char *id, const char *s, size_t n)
{
	if (!a->rc) a->rc = a->out->part(a->out->ud, p, p >= ANSWER_CALL ? a->n_calls - 1 : 0, id, s, n);
}

/* Text of the answer (think: of its reasoning).  White space is held until it is known what follows: beside a
 * marker it is part of the marker. */
static void text(struct answer *a, bool think, const char *s, size_t n)
{
	struct flow *f = &a->flow[think];
	enum answer_part p = think ? ANSWER_REASONING : ANSWER_CONTENT;
	size_t end = n, at;
	if (f->after)
		while (n && answer_space(*s)) s++, n--, end--;
	if (!n) return;
	f->after = false;
	at = a->base + (size_t)(s - a->b.p);
	while (end && answer_space(s[end - 1])) end--;
	if (end) {
		if (f->some && f->cut && !f->gap.n && think) part(a, p, "", "\n", 1);
		a->where = f->gap_at;
		if (f->gap.n) part(a, p, "", f->gap.p, f->gap.n);
		a->where = at;
		part(a, p, "", s, end);
		f->gap.n = 0;
		f->some = true;
		f->cut = false;
	}
	if (!f->gap.n) f->gap_at = at + end;
	lm_buf_add(&f->gap, s + end, n - end);
	if (f->gap.bad) a->rc = LM_ENOMEM;
}

/* A marker stands here. */
static void mark(struct answer *a)
{
	for (int i = 0; i < 2; i++) {
		struct flow *f = &a->flow[i];
		f->after = f->cut = true;
		if (!f->some) f->gap.n = 0;
	}
}

bool answer_call(struct answer *a)
{
	if (!a->name[0]) return false;
	if (a->r->flags & KNOWN && !answer_tool(a->tools, a->name, strlen(a->name))) return false;
	if (a->n_calls == ANSWER_CALLS) {
		a->rc = lm_fail(a->err, LM_ELIMIT, "an answer holds more than %d tool calls", ANSWER_CALLS);
		return false;
	}
	mark(a);
	a->think = false;
	a->start[0] = false;
	a->told = true;
	a->n_calls++;
	part(a, ANSWER_CALL, a->id, a->name, strlen(a->name));
	return true;
}

void answer_arguments(struct answer *a, const char *s, size_t n)
{
	part(a, ANSWER_ARGUMENTS, "", s, n);
}

/* ---- rules ------------------------------------------------------------------------------------------ */

static bool active(const struct answer *a, const struct rule *r)
{
	if (r->act == DO_CALL && !a->tools) return false;
	if (!a->reasoning && r->flags & REASON) return false;
	if (r->flags & AT_START && !a->start[a->think]) return false;
	if (r->flags & FRAMED && !a->framed) return false;
	return r->flags & (a->think ? IN_THINK : IN_TEXT);
}

static void shift(struct caps *c, size_t by)
{
	c->name.at += by;
	c->id.at += by;
	c->body += by;
	c->used += by;
}

static enum match rule_here(const struct answer *a, const struct rule *r, const char *s, size_t n,
			    struct caps *c)
{
	if (r->begin) {
		enum match m = answer_match(r->begin, s, n, a->final, c);
		size_t at = c->used;
		if (m == MORE) return m;
		if (m == YES) {
			while (at < n && answer_space(s[at]) && at < HEAD_MAX) at++;
			if (at == n) return a->final ? NO : MORE;
			m = answer_match(r->head, s + at, n - at, a->final, c);
			shift(c, at);
			if (m != NO) return m;
		}
	}
	return answer_match(r->head, s, n, a->final, c);
}

static enum match find_rule(const struct answer *a, size_t at, const struct rule **found, struct caps *c)
{
	for (const struct rule *r = a->f->rules; r->head; r++) {
		if (!active(a, r)) continue;
		enum match m = rule_here(a, r, a->b.p + at, a->b.n - at, c);
		*found = r;
		if (m != NO) return m;
	}
	return NO;
}

static void copy(char out[HEAD_MAX + 1], const char *s, struct span from)
{
	size_t n = from.n <= HEAD_MAX ? from.n : 0;
	memcpy(out, s + from.at, n);
	out[n] = 0;
}

/* functions.NAME:3 */
static void name_of_id(struct answer *a)
{
	const char *s = strncmp(a->id, "functions.", 10) == 0 ? a->id + 10 : a->id, *colon = strrchr(s, ':');
	size_t n = colon && colon[1] && !colon[1 + strspn(colon + 1, "0123456789")] ? (size_t)(colon - s)
										    : strlen(s);
	memcpy(a->name, s, n);
	a->name[n] = 0;
}

static void begin_call(struct answer *a, const struct rule *r, const struct caps *c)
{
	const char *s = a->b.p + a->at;
	a->r = r;
	a->told = false;
	copy(a->name, s, c->name);
	copy(a->id, s, c->id);
	if (strstr(r->head, "%f")) name_of_id(a);
	a->pos = a->at + c->body;
	a->dfa = (struct json_dfa){ 0 };
	a->ob = (struct object){ 0 };
	a->tg = (struct tagged){ .value = a->pos };
	a->args.n = 0;
	a->state = READ_BODY;
}

static void obey(struct answer *a, const struct rule *r, const struct caps *c)
{
	if (r->act == DO_CALL) {
		begin_call(a, r, c);
		return;
	}
	a->at += c->used;
	mark(a);
	if (r->flags & FRAME) a->framed = true;
	if (r->act == DO_THINK) a->start[1] = true;
	if (r->act != DO_DROP) a->think = r->act == DO_THINK;
}

/* Gives b[at..to) away as text. */
static void pass(struct answer *a, size_t to)
{
	if (to > a->at) text(a, a->think, a->b.p + a->at, to - a->at);
	a->at = to;
}

/* ---- steps: false when bytes are wanted ------------------------------------------------------------- */

static bool read_text(struct answer *a)
{
	const char *b = a->b.p;
	for (size_t i = a->at; i < a->b.n; i++) {
		bool start = a->start[a->think] && !answer_space(b[i]);
		const struct rule *r;
		struct caps c;
		if (!a->first[(unsigned char)b[i]] && !start) continue;
		enum match m = find_rule(a, i, &r, &c);
		if (m == NO) {
			if (start) a->start[a->think] = false;
			continue;
		}
		pass(a, i);
		if (m == YES) obey(a, r, &c);
		return m == YES;
	}
	pass(a, a->b.n);
	return false;
}

/* The call is none: it is text, as it stands, up to where that showed. */
static void not_a_call(struct answer *a)
{
	size_t to = a->pos > a->at ? a->pos : a->at + 1;
	a->state = READ_TEXT;
	if (a->told && a->pos == a->at) return; /* all of it has been given away */
	a->start[a->think] = false;
	pass(a, to < a->b.n ? to : a->b.n);
}

static bool read_body(struct answer *a)
{
	static enum match (*const step[])(
		struct answer *) = { [BODY_ARGS] = answer_step_args,     [BODY_OBJECTS] = answer_step_objects,
				     [BODY_KEYED] = answer_step_objects, [BODY_TAGGED] = answer_step_tagged,
				     [BODY_PYTHON] = answer_step_held,   [BODY_LOOSE] = answer_step_held,
				     [BODY_NESTED] = answer_step_held };
	bool own = a->r->body >= BODY_TAGGED; /* these bodies take their closing marker themselves */
	enum match m = step[a->r->body](a);
	if (a->args.bad) a->rc = LM_ENOMEM;
	if (m == YES) {
		a->at = a->pos;
		a->state = own ? READ_END : READ_CLOSE;
	}
	if (m == MORE && !a->final) return false;
	if (m == MORE) a->pos = a->b.n; /* cut off */
	if (m != YES) not_a_call(a);
	return true;
}

/* The marker after a call, and the one after all calls: taken if it is there. */
static bool read_marker(struct answer *a, const char *pattern, enum answer_state next)
{
	struct caps c;
	while (pattern && a->pos < a->b.n && answer_space(a->b.p[a->pos])) a->pos++;
	enum match m = !pattern || (a->final && a->pos == a->b.n) ? NO
		       : a->pos == a->b.n
			       ? MORE
			       : answer_match(pattern, a->b.p + a->pos, a->b.n - a->pos, a->final, &c);
	if (m == MORE) return false;
	if (m == YES) a->at = a->pos += c.used;
	a->state = next;
	return true;
}

static bool step(struct answer *a)
{
	switch (a->state) {
	case READ_BODY: return read_body(a);
	case READ_CLOSE: return read_marker(a, a->r->close, READ_END);
	case READ_END: return read_marker(a, a->r->end, READ_TEXT);
	default: return read_text(a);
	}
}

static int run(struct answer *a, const struct answer_out *out, struct lm_err *err)
{
	a->out = out;
	a->err = err;
	while (!a->rc && step(a)) {
	}
	if (a->rc == LM_ENOMEM) return lm_fail(err, LM_ENOMEM, "out of memory for an answer");
	/* only then does nothing point into the buffer but at and pos */
	bool free = a->state != READ_BODY || (a->told && a->at == a->pos);
	if (free && a->at > 4096 && a->at > a->b.n / 2) {
		memmove(a->b.p, a->b.p + a->at, a->b.n - a->at);
		a->b.n -= a->at;
		a->base += a->at;
		a->pos = a->pos > a->at ? a->pos - a->at : 0;
		a->at = 0;
	}
	return a->rc;
}

int answer_push(struct answer *a, const char *s, size_t n, const struct answer_out *out, struct lm_err *err)
{
	if (a->rc) return a->rc;
	if (n > ANSWER_MAX - a->total)
		return a->rc = lm_fail(err, LM_ELIMIT, "an answer is longer than %d bytes", ANSWER_MAX);
	a->total += n;
	lm_buf_add(&a->b, s, n);
	if (a->b.bad) a->rc = LM_ENOMEM;
	return run(a, out, err);
}

int answer_end(struct answer *a, const struct answer_out *out, struct lm_err *err)
{
	a->final = true;
	int rc = a->rc ? a->rc : run(a, out, err);
	for (int i = 0; i < 2 && !rc; i++) {
		struct flow *f = &a->flow[i];
		a->where = f->gap_at;
		if (f->gap.n && !f->cut)
			part(a, i ? ANSWER_REASONING : ANSWER_CONTENT, "", f->gap.p, f->gap.n);
		f->gap.n = 0;
		rc = a->rc;
	}
	return rc;
}

size_t answer_where(const struct answer *a) { return a->where; }

/* ---- a whole answer --------------------------------------------------------------------------------- */

struct message {
	struct lm_buf text[2], args;
	json_t *calls;
};

static json_t *string(const char *s, size_t n)
{
	struct lm_buf b = { 0 };
	json_t *v = NULL;
	if (lm_utf8_valid(s, n)) return json_stringn_nocheck(s, n);
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		char utf8[4];
		i += (size_t)lm_utf8_next(s + i, n - i, &cp);
		lm_buf_add(&b, utf8, (size_t)lm_utf8_put(utf8, cp));
	}
	if (!b.bad) v = json_stringn_nocheck(lm_buf_cstr(&b), b.n);
	lm_buf_free(&b);
	return v;
}

static json_t *string_of(const struct lm_buf *b)
{
	return b->bad ? NULL : string(b->n ? b->p : "", b->n);
}

/* The arguments that have come belong to the last call. */
static int close_call(struct message *m)
{
	size_t n = json_array_size(m->calls);
	if (!n) return 0;
	json_t *f = json_object_get(json_array_get(m->calls, n - 1), "function");
	if (json_object_get(f, "arguments")) return 0;
	int bad = json_object_set_new(f, "arguments", string_of(&m->args));
	m->args.n = 0;
	return bad ? LM_ENOMEM : 0;
}

static int take_part(void *ud, enum answer_part p, int index, const char *id, const char *s, size_t n)
{
	struct message *m = ud;
	(void)index;
	if (p == ANSWER_CONTENT || p == ANSWER_REASONING) lm_buf_add(&m->text[p == ANSWER_REASONING], s, n);
	if (p == ANSWER_ARGUMENTS) lm_buf_add(&m->args, s, n);
	if (m->text[0].bad || m->text[1].bad || m->args.bad) return LM_ENOMEM;
	if (p != ANSWER_CALL) return 0;
	if (close_call(m)) return LM_ENOMEM;
	json_t *call = json_object(), *f = json_object();
	int bad = *id ? json_object_set_new(call, "id", string(id, strlen(id))) : 0;
	bad |= json_object_set_new(call, "type", json_string("function"));
	bad |= json_object_set_new(f, "name", string(s, n));
	bad |= json_object_set_new(call, "function", f);
	bad |= json_array_append_new(m->calls, call);
	return bad ? LM_ENOMEM : 0;
}

static json_t *message(const struct message *m)
{
	json_t *j = json_object();
	int bad = json_object_set_new(j, "role", json_string("assistant"));
	bad |= json_object_set_new(j, "content", m->text[0].n ? string_of(&m->text[0]) : json_null());
	if (m->text[1].n) bad |= json_object_set_new(j, "reasoning_content", string_of(&m->text[1]));
	if (json_array_size(m->calls)) bad |= json_object_set(j, "tool_calls", m->calls);
	if (!bad) return j;
	json_decref(j);
	return NULL;
}

json_t *answer_message(const struct answer_format *f, const json_t *tools, bool thinking, const char *s,
		       size_t n, struct lm_err *err)
{
	struct message m = { .calls = json_array() };
	struct answer_out out = { take_part, &m };
	struct answer *a;
	json_t *j = NULL;
	int rc = answer_new(&a, f, tools, true, thinking, err);
	if (!rc) rc = answer_push(a, s, n, &out, err);
	if (!rc) rc = answer_end(a, &out, err);
	if (!rc) rc = close_call(&m);
	if (!rc) j = message(&m);
	if (!j && (!rc || rc == LM_ENOMEM)) lm_fail(err, LM_ENOMEM, "out of memory for an answer");
	answer_free(a);
	lm_buf_free(&m.text[0]);
	lm_buf_free(&m.text[1]);
	lm_buf_free(&m.args);
	json_decref(m.calls);
	return j;
}
