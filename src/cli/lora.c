/* lora.c - --lora and --lora-scaled: lists of adapters with their weights. */
#include "cli/cli.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct list { struct lm_lora *v; int n, cap; };

static bool there(const char *path) { return access(path, F_OK) == 0; }

/* "PATH:0.5" to its parts.  false: no finite number behind a colon. */
static bool cut_weight(char *s, float *weight)
{
	char *colon = strrchr(s, ':'), *end = NULL;
	if (colon) *weight = strtof(colon + 1, &end);
	if (!colon || colon == s || end == colon + 1 || *end || !isfinite(*weight)) return false;
	*colon = 0;
	return true;
}

/* "a,b" to its parts, in place, unless there is something of just that name. */
static int add(struct list *l, const char *text, bool scaled, struct lm_err *err)
{
	char *s = (char *)(uintptr_t)text, *comma;             /* argv is ours to write */
	for (; s; s = comma) {
		comma = there(s) ? NULL : strchr(s, ',');
		if (comma) *comma++ = 0;
		if (l->n == l->cap) {
			int cap = l->cap + 16;
			struct lm_lora *p = lm_realloc(l->v, (size_t)cap * sizeof *p);
			if (!p) return lm_fail(err, LM_ENOMEM, "out of memory for --lora");
			l->v = p;
			l->cap = cap;
		}
		struct lm_lora *a = &l->v[l->n++];
		*a = (struct lm_lora){ s, 1 };
		if (scaled && !cut_weight(s, &a->scale)) return lm_fail(err, LM_EINVAL, "--lora-scaled takes PATH:WEIGHT, not '%.200s'", s);
		if (!scaled && !there(s)) {
			float weight = 1;
			if (cut_weight(s, &weight)) a->scale = weight;
		}
		if (!*s) return lm_fail(err, LM_EINVAL, "--lora%s: a path is empty", scaled ? "-scaled" : "");
	}
	return 0;
}

int cli_adapters(struct lm_lora **out, int *n, const struct opt_list *plain, const struct opt_list *scaled, struct lm_err *err)
{
	struct list l = { 0 };
	int rc = 0;
	for (int i = 0; !rc && i < plain->n; i++) rc = add(&l, plain->v[i], false, err);
	for (int i = 0; !rc && i < scaled->n; i++) rc = add(&l, scaled->v[i], true, err);
	*out = l.v;
	*n = l.n;
	return rc;
}
