/* post.c - the post-processor of a tokenizer.json: what stands around a text, and around two. */
#include "tokenizer/tok_impl.h"
#include <jansson.h>
#include <string.h>

struct post { struct tok *t; struct lm_err *err; };

/* Puts an id before or after all that is there: later processors wrap what earlier ones gave. */
static int put_id(struct post *c, bool after, int at, const json_t *id)
{
	struct tok *t = c->t;
	int32_t *ids = after ? t->after : t->before;
	int *n = after ? &t->n_after : &t->n_before;
	json_int_t v = json_integer_value(id);
	if (!json_is_integer(id) || v < 0 || v >= t->n)
		return lm_fail(c->err, LM_EFORMAT,
			       "post_processor: an id is not that of one of the %d tokens", t->n);
	if (*n == MAX_POST)
		return lm_fail(c->err, LM_ELIMIT, "post_processor: more than %d tokens are added to a text",
			       MAX_POST);
	memmove(ids + at + 1, ids + at, (size_t)(*n - at) * sizeof *ids);
	ids[at] = (int32_t)v;
	++*n;
	return 0;
}

static int template_piece(struct post *c, const json_t *piece, const json_t *special, bool *after, int *at)
{
	const json_t *seq = json_object_get(piece, "Sequence"), *tok = json_object_get(piece, "SpecialToken"),
		     *id;
	const char *name = json_string_value(json_object_get(seq ? seq : tok, "id"));
	size_t i;
	int rc = 0;
	if (!name)
		return lm_fail(c->err, LM_EFORMAT,
			       "post_processor.single: expected {\"Sequence\": {\"id\": ..}} or "
			       "{\"SpecialToken\": {\"id\": ..}}");
	if (seq) {
		if (strcmp(name, "A") || *after)
			return lm_fail(c->err, LM_EUNSUPPORTED,
				       "post_processor.single: expected the sequence A once, found %s%s",
				       name, *after ? " after it" : "");
		*after = true;
		*at = c->t->n_after;
		return 0;
	}
	const json_t *ids = json_object_get(json_object_get(special, name), "ids");
	if (!json_is_array(ids))
		return lm_fail(c->err, LM_EFORMAT,
			       "post_processor.special_tokens: the ids of \"%.64s\" are missing", name);
	json_array_foreach(ids, i, id) if (!rc) rc = put_id(c, *after, (*at)++, id);
	return rc;
}

static void pair_add(struct tok *t, int32_t id, int32_t type)
{
	if (t->n_pair >= MAX_PAIR) t->n_pair = -1;         /* more than is kept: pairs are refused */
	if (t->n_pair >= 0) t->pair[t->n_pair++] = (struct pair_part){id, type};
}

/* The template for two texts.  What is not understood makes pairs unknown, not the tokenizer unusable. */
static void template_pair(struct post *c, const json_t *p)
{
	const json_t *pair = json_object_get(p, "pair"), *special = json_object_get(p, "special_tokens"), *piece, *id;
	struct tok *t = c->t;
	size_t i, k;
	bool second = t->n_pair != 0;                      /* processors one around the other: not composed */
	json_array_foreach(pair, i, piece) {
		const json_t *seq = json_object_get(piece, "Sequence"), *tok = json_object_get(piece, "SpecialToken");
		const char *name = json_string_value(json_object_get(seq ? seq : tok, "id"));
		json_int_t type = json_integer_value(json_object_get(seq ? seq : tok, "type_id"));
		const json_t *ids = name ? json_object_get(json_object_get(special, name), "ids") : NULL;
		bool text = seq && name && (!strcmp(name, "A") || !strcmp(name, "B"));
		if (type < 0 || type > 255 || (!text && !json_is_array(ids))) {
			second = true;
			break;
		}
		if (text) pair_add(t, *name == 'A' ? PAIR_A : PAIR_B, (int32_t)type);
		else json_array_foreach(ids, k, id) {
			json_int_t v = json_integer_value(id);
			if (!json_is_integer(id) || v < 0 || v >= t->n) second = true;
			pair_add(t, (int32_t)v, (int32_t)type);
		}
	}
	if (second || !json_array_size(pair)) t->n_pair = -1;
}

static int template(struct post *c, const json_t *p)
{
	const json_t *single = json_object_get(p, "single"), *special = json_object_get(p, "special_tokens"),
		     *piece;
	bool after = false;
	int at = 0, rc = 0;
	size_t i;
	if (!json_is_array(single))
		return lm_fail(c->err, LM_EFORMAT, "post_processor.single: expected an array");
	json_array_foreach(single, i, piece) if (!rc) rc = template_piece(c, piece, special, &after, &at);
	if (!rc && !after)
		rc = lm_fail(c->err, LM_EUNSUPPORTED, "post_processor.single: the text itself is left out");
	if (!rc) template_pair(c, p);
	return rc;
}

static void cls_sep_pair(struct post *c, int32_t cls, int32_t sep, bool roberta)
{
	struct tok *t = c->t;
	int32_t type = !roberta;
	if (t->n_pair) {
		t->n_pair = -1;
		return;
	}
	pair_add(t, cls, 0);
	pair_add(t, PAIR_A, 0);
	pair_add(t, sep, 0);
	if (roberta) pair_add(t, sep, 0);
	pair_add(t, PAIR_B, type);
	pair_add(t, sep, type);
}

/* BertProcessing and RobertaProcessing: "cls": ["<s>", 0], "sep": ["</s>", 2]. */
static int cls_sep(struct post *c, const json_t *p, bool roberta)
{
	const json_t *cls = json_object_get(p, "cls"), *sep = json_object_get(p, "sep");
	if (json_array_size(cls) != 2 || json_array_size(sep) != 2)
		return lm_fail(c->err, LM_EFORMAT,
			       "post_processor: expected cls and sep, each a token and its id");
	int rc = put_id(c, false, 0, json_array_get(cls, 1));
	if (!rc) rc = put_id(c, true, c->t->n_after, json_array_get(sep, 1));
	if (!rc)
		cls_sep_pair(c, (int32_t)json_integer_value(json_array_get(cls, 1)),
			     (int32_t)json_integer_value(json_array_get(sep, 1)), roberta);
	return rc;
}

static int set(struct post *c, const json_t *p)
{
	const char *type = json_string_value(json_object_get(p, "type"));
	const json_t *sub, *list = json_object_get(p, "processors");
	size_t i;
	int rc = 0;
	if (json_is_null(p)) return 0;
	if (!type && json_object_get(p, "cls")) return cls_sep(c, p, false);
	if (!type) return lm_fail(c->err, LM_EFORMAT, "post_processor: expected an object with a type");
	if (!strcmp(type, "ByteLevel")) return 0; /* offsets only */
	if (!strcmp(type, "TemplateProcessing")) return template(c, p);
	if (!strcmp(type, "BertProcessing")) return cls_sep(c, p, false);
	if (!strcmp(type, "RobertaProcessing")) return cls_sep(c, p, true);
	if (strcmp(type, "Sequence"))
		return lm_fail(c->err, LM_EUNSUPPORTED, "post_processor: the type \"%.64s\" is not supported",
			       type);
	if (!json_is_array(list))
		return lm_fail(c->err, LM_EFORMAT, "post_processor.processors: expected an array");
	json_array_foreach(list, i, sub) if (!rc) rc = set(c, sub);
	return rc;
}

int post_set(struct tok *t, const json_t *p, struct lm_err *err)
{
	return set(&(struct post){t, err}, p);
}
