/* jinja_test.c - what may follow "is". */
#include "tokenizer/jinja.h"

#define TEST(id)                                                                          \
	static struct jj_val id(struct jj_run *r, struct jj_val self, const struct jj_val *p, \
	                        const struct jj_args *raw)
#define UNUSED ((void)p, (void)raw, (void)r)

TEST(t_defined) { UNUSED; return jj_bool(self.t != JJ_UNDEF); }
TEST(t_undefined) { UNUSED; return jj_bool(self.t == JJ_UNDEF); }
TEST(t_none) { UNUSED; return jj_bool(self.t == JJ_NONE); }
TEST(t_boolean) { UNUSED; return jj_bool(self.t == JJ_BOOL); }
TEST(t_true) { UNUSED; return jj_bool(self.t == JJ_BOOL && self.i); }
TEST(t_false) { UNUSED; return jj_bool(self.t == JJ_BOOL && !self.i); }
TEST(t_integer) { UNUSED; return jj_bool(self.t == JJ_INT); }
TEST(t_float) { UNUSED; return jj_bool(self.t == JJ_FLOAT); }
TEST(t_number) { UNUSED; return jj_bool(jj_is_num(self)); }
TEST(t_string) { UNUSED; return jj_bool(self.t == JJ_STR); }
TEST(t_mapping) { UNUSED; return jj_bool(self.t == JJ_DICT); }
TEST(t_iterable) { UNUSED; return jj_bool(jj_iterable(self)); }
TEST(t_sequence)
{
	UNUSED;
	/* what has len() and [] in Python: undefined values and dicts too; views and generators lack one */
	return jj_bool(self.t == JJ_UNDEF || self.t == JJ_STR || self.t == JJ_DICT ||
	               (self.t == JJ_SEQ && self.sub <= JJ_RANGE));
}
TEST(t_callable)
{
	UNUSED;
	return jj_bool(self.t == JJ_FUNC || self.t == JJ_METHOD || self.t == JJ_MACRO || self.t == JJ_LOOP ||
	               self.t == JJ_UNDEF);
}
TEST(t_escaped) { UNUSED; return jj_bool(self.t == JJ_STR && self.sub); }
TEST(t_filter) { UNUSED; return jj_bool(self.t == JJ_STR && jj_filter(self)); }
TEST(t_test) { UNUSED; return jj_bool(self.t == JJ_STR && jj_test(self)); }
TEST(t_lower) { UNUSED; return jj_bool(jj_is_lower(r, jj_to_str(r, self))); }
TEST(t_upper) { UNUSED; return jj_bool(jj_is_upper(r, jj_to_str(r, self))); }

static struct jj_val remainder_is(struct jj_run *r, struct jj_val self, struct jj_val by, int64_t want)
{
	struct jj_val m = jj_binary(r, '%', self, by);
	return jj_bool(!r->rc && jj_eq(r, m, jj_int(want)));
}
TEST(t_odd) { UNUSED; return remainder_is(r, self, jj_int(2), 1); }
TEST(t_even) { UNUSED; return remainder_is(r, self, jj_int(2), 0); }
TEST(t_divisibleby) { UNUSED; return remainder_is(r, self, p[0], 0); }

TEST(t_eq) { UNUSED; return jj_bool(jj_eq(r, self, p[0])); }
TEST(t_ne) { UNUSED; return jj_bool(!jj_eq(r, self, p[0])); }
TEST(t_lt) { UNUSED; return jj_bool(jj_order(r, self, p[0], "<") == -1); }
TEST(t_gt) { UNUSED; return jj_bool(jj_order(r, self, p[0], ">") == 1); }
TEST(t_le) { UNUSED; int c = jj_order(r, self, p[0], "<="); return jj_bool(c <= 0); }
TEST(t_ge) { UNUSED; int c = jj_order(r, self, p[0], ">="); return jj_bool(c == 0 || c == 1); }
TEST(t_in) { UNUSED; return jj_bool(jj_in(r, self, p[0])); }
TEST(t_sameas)
{
	UNUSED;
	struct jj_val o = p[0];
	if (self.t != o.t) return jj_bool(false);
	if (self.t >= JJ_SEQ) return jj_bool(self.ns == o.ns);
	return jj_bool(jj_eq(r, self, o));
}

static const struct jj_fn tests[] = {
	{ "defined", "", t_defined },
	{ "string", "", t_string },
	{ "none", "", t_none },
	{ "mapping", "", t_mapping },
	{ "iterable", "", t_iterable },
	{ "sequence", "", t_sequence },
	{ "boolean", "", t_boolean },
	{ "undefined", "", t_undefined },
	{ "false", "", t_false },
	{ "true", "", t_true },
	{ "number", "", t_number },
	{ "integer", "", t_integer },
	{ "float", "", t_float },
	{ "callable", "", t_callable },
	{ "odd", "", t_odd },
	{ "even", "", t_even },
	{ "divisibleby", "num", t_divisibleby },
	{ "in", "seq", t_in },
	{ "eq", "other", t_eq },
	{ "equalto", "other", t_eq },
	{ "==", "other", t_eq },
	{ "ne", "other", t_ne },
	{ "!=", "other", t_ne },
	{ "lt", "other", t_lt },
	{ "lessthan", "other", t_lt },
	{ "<", "other", t_lt },
	{ "gt", "other", t_gt },
	{ "greaterthan", "other", t_gt },
	{ ">", "other", t_gt },
	{ "le", "other", t_le },
	{ "<=", "other", t_le },
	{ "ge", "other", t_ge },
	{ ">=", "other", t_ge },
	{ "sameas", "other", t_sameas },
	{ "lower", "", t_lower },
	{ "upper", "", t_upper },
	{ "escaped", "", t_escaped },
	{ "filter", "", t_filter },
	{ "test", "", t_test },
};

const struct jj_fn *jj_test(struct jj_val name)
{
	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
		if (jj_is(name, tests[i].name)) return &tests[i];
	return NULL;
}
