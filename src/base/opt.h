/* opt.h - the option table: one row drives the parser, the help text and the environment variables. */
#pragma once
#include "base/base.h"

enum opt_type { OPT_FLAG, OPT_INT, OPT_U64, OPT_FLOAT, OPT_STR, OPT_LIST /* repeatable string */ };

struct opt {
	const char *name;              /* "--threads"; further spellings separated by spaces: "--threads -t" */
	const char *arg;               /* metavariable in the help, NULL for OPT_FLAG */
	enum opt_type type;
	size_t offset;                 /* of the field: bool, int, uint64_t, float, const char *, struct opt_list */
	double min, max;               /* inclusive; both 0 = unbounded; OPT_U64 with min -1: "-1" is UINT64_MAX */
	const char *group;             /* heading in the help */
	const char *help;              /* one line; NULL hides the row */
	bool value;                    /* OPT_FLAG: what giving the flag stores (false for --no-...) */
	bool optional;                 /* the value may be left out (--serve [PORT]): `missing` is stored */
	const char *missing;
	size_t given;                  /* offset+1 of a bool set when the option was given; 0: none */
	const char *choices;           /* the words that OPT_STR may be, separated by spaces; NULL: any */
	bool no_env;                   /* not settable by environment variables */
};
struct opt_list { const char **v; int n, cap; };

/* Parses argv[1..argc) into *out by `table`.  A word that is no option goes to *rest (NULL: it is an error);
 * "--" ends options; long options also take "--name=value", and '_' for '-' in their name; "-n5" is not "-n 5".
 * A required value is the next word whatever it looks like; an optional one only when it can be a value.
 * Environment variables LMRUN_<NAME> and LLAMA_ARG_<NAME>, for every long spelling, are read first, so a flag
 * wins.  LM_EINVAL with one sentence, naming the nearest known option when the name is unknown.  Strings point
 * into argv or the environment. */
int opt_parse(void *out, const struct opt *table, int n_opt, int argc, char **argv, struct opt_list *rest,
              struct lm_err *err);
void opt_list_free(struct opt_list *l);
/* Help text, grouped in table order. */
void opt_help(struct lm_buf *b, const struct opt *table, int n_opt);
/* Edit distance helper: the candidate nearest to `word`, or NULL when none is near. */
const char *opt_nearest(const char *word, const char *const *names, int n);
