/* opt.c - one table: parser, environment, help. */
#include "base/opt.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LEN = 64 };

/* Next of the words separated by spaces at *s into out; false at the end. */
static bool next_word(const char **s, char out[NAME_MAX_LEN])
{
	*s += strspn(*s, " ");
	size_t n = strcspn(*s, " ");
	if (n == 0) return false;
	snprintf(out, NAME_MAX_LEN, "%.*s", (int)n, *s);
	*s += n;
	return true;
}

static bool in_words(const char *list, const char *word)
{
	char w[NAME_MAX_LEN];
	while (next_word(&list, w))
		if (strcmp(w, word) == 0) return true;
	return false;
}

/* The option called word[0..n), '_' standing for '-' after a leading "--". */
static const struct opt *find(const struct opt *table, int n_opt, const char *word, size_t n)
{
	char name[NAME_MAX_LEN];
	if (n >= sizeof name) return NULL;
	memcpy(name, word, n);
	name[n] = 0;
	if (strncmp(name, "--", 2) == 0)
		for (char *c = name + 2; *c; c++)
			if (*c == '_') *c = '-';
	for (int i = 0; i < n_opt; i++)
		if (in_words(table[i].name, name)) return &table[i];
	return NULL;
}

/* ---- values ------------------------------------------------------------------------------------------ */
static int bad_number(const struct opt *o, const char *kind, const char *where, const char *text,
		      struct lm_err *err)
{
	if (o->min == 0 && o->max == 0)
		return lm_fail(err, LM_EINVAL, "%s takes %s, not '%.80s'", where, kind, text);
	if (o->type == OPT_U64 && o->max == 0)
		return lm_fail(err, LM_EINVAL, "%s takes %s from %.0f to %llu, not '%.80s'", where, kind, o->min,
			       (unsigned long long)UINT64_MAX, text);
	return lm_fail(err, LM_EINVAL, "%s takes %s from %.10g to %.10g, not '%.80s'", where, kind, o->min,
		       o->max, text);
}

static bool in_range(const struct opt *o, double v)
{
	return (o->min == 0 && o->max == 0) || (v >= o->min && v <= o->max);
}

static bool is_number_start(const char *s)
{
	return isdigit((unsigned char)s[0]) || s[0] == '-' || s[0] == '+' || s[0] == '.';
}

static int put_number(const struct opt *o, char *field, const char *where, const char *text,
		      struct lm_err *err)
{
	char *end = NULL;
	const char *kind = o->type == OPT_FLOAT ? "a number" : "a whole number";
	bool ok = is_number_start(text);
	errno = 0;
	if (o->type == OPT_INT) {
		long v = strtol(text, &end, 10);
		ok = ok && v >= INT32_MIN && v <= INT32_MAX && in_range(o, (double)v);
		if (ok) *(int *)field = (int)v;
	} else if (o->type == OPT_U64) {
		uint64_t v = strtoull(text, &end, 10);
		ok = ok &&
		     (text[0] == '-' ? o->min == -1 && v == UINT64_MAX : o->max == 0 || (double)v <= o->max);
		if (ok) *(uint64_t *)field = v;
	} else {
		float v = strtof(text, &end);
		ok = ok && isfinite(v) && in_range(o, (double)v);
		if (ok) *(float *)field = v;
	}
	if (!ok || errno == ERANGE || end == text || *end) return bad_number(o, kind, where, text, err);
	return 0;
}

static int put_list(struct opt_list *l, const char *text, struct lm_err *err)
{
	if (l->n == l->cap) {
		int cap = l->cap ? 2 * l->cap : 8;
		const char **v = lm_realloc(l->v, (size_t)cap * sizeof *v);
		if (!v) return lm_fail(err, LM_ENOMEM, "out of memory for options");
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = text;
	return 0;
}

static int put_flag(const struct opt *o, bool *field, const char *where, const char *text, struct lm_err *err)
{
	static const char yes[] = "1 true on yes", no[] = "0 false off no";
	if (!text || in_words(yes, text)) *field = o->value;
	else if (in_words(no, text)) *field = !o->value;
	else return lm_fail(err, LM_EINVAL, "%s takes on or off, not '%.80s'", where, text);
	return 0;
}

/* Stores `text` (NULL: none was given) of the option that the user wrote as `where`. */
static int put(void *out, const struct opt *o, const char *where, const char *text, struct lm_err *err)
{
	char *field = (char *)out + o->offset;
	int rc = 0;
	if (!text && o->type != OPT_FLAG) text = o->missing;
	switch (o->type) {
	case OPT_FLAG: rc = put_flag(o, (bool *)field, where, text, err); break;
	case OPT_INT:
	case OPT_U64:
	case OPT_FLOAT: rc = put_number(o, field, where, text, err); break;
	case OPT_LIST: rc = put_list((struct opt_list *)field, text, err); break;
	case OPT_STR:
		if (o->choices && !in_words(o->choices, text))
			rc = lm_fail(err, LM_EINVAL, "%s takes one of: %s; not '%.80s'", where, o->choices,
				     text);
		else *(const char **)field = text;
		break;
	}
	if (!rc && o->given) ((bool *)out)[o->given - 1] = true;
	return rc;
}

static bool can_be_value(const struct opt *o, const char *word)
{
	if (o->choices) return in_words(o->choices, word);
	if (o->type != OPT_STR && o->type != OPT_LIST) return isdigit((unsigned char)word[word[0] == '-']);
	return word[0] != '-';
}

/* ---- the environment --------------------------------------------------------------------------------- */
static int put_env(void *out, const struct opt *o, struct lm_err *err)
{
	static const char *const prefix[] = { "LLAMA_ARG_", "LMRUN_" };   /* ours wins */
	char name[NAME_MAX_LEN], var[NAME_MAX_LEN + 16];
	for (int p = 0; p < 2; p++)
		for (const char *s = o->name; next_word(&s, name);) {
			if (strncmp(name, "--", 2) != 0) continue;
			snprintf(var, sizeof var, "%s%s", prefix[p], name + 2);
			for (char *c = var; *c; c++) *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
			const char *v = getenv(var);
			int rc = v && *v ? put(out, o, var, v, err) : 0;
			if (rc) return rc;
		}
	return 0;
}

/* ---- the command line -------------------------------------------------------------------------------- */
static int unknown(const struct opt *table, int n_opt, const char *word, size_t n, struct lm_err *err)
{
	char name[NAME_MAX_LEN], near[NAME_MAX_LEN] = "", w[NAME_MAX_LEN];
	const char *names[2] = { near, w };
	snprintf(name, sizeof name, "%.*s", (int)n, word);
	for (int i = 0; i < n_opt; i++)
		for (const char *s = table[i].name; next_word(&s, w);) {
			const char *best = opt_nearest(name, names, *near ? 2 : 0);
			if (!*near) best = opt_nearest(name, names + 1, 1);
			if (best == w) memcpy(near, w, sizeof near);
		}
	if (*near) return lm_fail(err, LM_EINVAL, "unknown option %s; did you mean %s?", name, near);
	return lm_fail(err, LM_EINVAL, "unknown option %s; `lmrun help` lists them all", name);
}

/* The option at argv[*i], and its value; *i moves to the last word used. */
static int parse_option(void *out, const struct opt *table, int n_opt, int argc, char **argv, int *i,
			struct lm_err *err)
{
	const char *word = argv[*i], *eq = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
	size_t n = eq ? (size_t)(eq - word) : strlen(word);
	const struct opt *o = find(table, n_opt, word, n);
	if (!o) return unknown(table, n_opt, word, n, err);
	char where[NAME_MAX_LEN];
	snprintf(where, sizeof where, "%.*s", (int)n, word);
	const char *value = eq ? eq + 1 : NULL;
	if (!value && o->type != OPT_FLAG && *i + 1 < argc && (!o->optional || can_be_value(o, argv[*i + 1])))
		value = argv[++*i];
	if (!value && o->type != OPT_FLAG && !o->optional)
		return lm_fail(err, LM_EINVAL, "%s needs a value: %s %s", where, where,
			       o->arg ? o->arg : "VALUE");
	return put(out, o, where, value, err);
}

int opt_parse(void *out, const struct opt *table, int n_opt, int argc, char **argv, struct opt_list *rest,
              struct lm_err *err)
{
	int rc = 0;
	for (int i = 0; i < n_opt && !rc; i++)
		if (!table[i].no_env) rc = put_env(out, &table[i], err);
	bool words_only = false;
	for (int i = 1; i < argc && !rc; i++) {
		const char *word = argv[i];
		if (!words_only && strcmp(word, "--") == 0) words_only = true;
		else if (!words_only && word[0] == '-' && word[1])
			rc = parse_option(out, table, n_opt, argc, argv, &i, err);
		else if (rest) rc = put_list(rest, word, err);
		else rc = lm_fail(err, LM_EINVAL, "unexpected word '%.80s'", word);
	}
	return rc;
}

void opt_list_free(struct opt_list *l)
{
	lm_free(l->v);
	*l = (struct opt_list){ 0 };
}

/* ---- help -------------------------------------------------------------------------------------------- */
/* "-t, --threads N": the first short and the first long spelling. */
static void usage(struct lm_buf *b, const struct opt *o)
{
	char w[NAME_MAX_LEN], shrt[NAME_MAX_LEN] = "", lng[NAME_MAX_LEN] = "";
	for (const char *s = o->name; next_word(&s, w);) {
		char *to = strncmp(w, "--", 2) == 0 ? lng : shrt;
		if (!*to) memcpy(to, w, sizeof w);
	}
	lm_buf_fmt(b, "%s%s%s", shrt, *shrt && *lng ? ", " : "", lng);
	if (o->arg) lm_buf_fmt(b, o->optional ? " [%s]" : " %s", o->arg);
}

void opt_help(struct lm_buf *b, const struct opt *table, int n_opt)
{
	const char *group = NULL;
	for (int i = 0; i < n_opt; i++) {
		const struct opt *o = &table[i];
		if (!o->help) continue;
		if (o->group && (!group || strcmp(group, o->group) != 0)) {
			lm_buf_fmt(b, "%s%s:\n", group ? "\n" : "", o->group);
			group = o->group;
		}
		struct lm_buf left = { 0 };
		usage(&left, o);
		lm_buf_fmt(b, "  %-30s %s\n", lm_buf_cstr(&left), o->help);
		lm_buf_free(&left);
	}
}

/* ---- spelling ---------------------------------------------------------------------------------------- */
static int min_int(int a, int b) { return a < b ? a : b; }

/* Edit distance with transpositions of neighbours (Damerau), three rows of the table at a time. */
static int distance(const char *a, const char *b)
{
	int rows[3][NAME_MAX_LEN + 1], na = (int)strlen(a), nb = (int)strlen(b);
	if (na > NAME_MAX_LEN || nb > NAME_MAX_LEN) return NAME_MAX_LEN;
	for (int j = 0; j <= nb; j++) rows[0][j] = j;
	for (int i = 1; i <= na; i++) {
		int *now = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
		now[0] = i;
		for (int j = 1; j <= nb; j++) {
			now[j] = min_int(min_int(up[j], now[j - 1]) + 1, up[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = min_int(now[j], up2[j - 2] + 1);
		}
	}
	return rows[na % 3][nb];
}

const char *opt_nearest(const char *word, const char *const *names, int n)
{
	const char *best = NULL;
	int letters = (int)strlen(word + strspn(word, "-"));
	int least = min_int(4, (letters + 2) / 3 + 1); /* near: fewer edits than this, and than letters */
	least = min_int(least, letters);
	for (int i = 0; i < n; i++) {
		int d = distance(word, names[i]);
		if (d >= least) continue;
		least = d;
		best = names[i];
	}
	return best;
}
