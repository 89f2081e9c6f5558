/* line.c - libedit behind three functions.  Prompts and editing go to stderr: stdout is for answers.
 * libedit knows no bracketed paste, so we switch it on and bind its opening mark to a function that takes the
 * text up to the closing mark as it is. */
#include "cli/line.h"
#include "cli/cli.h"
#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

struct line {
	EditLine *el;                          /* NULL: no terminal */
	History *hist;
	char *path;                            /* of the history file; NULL: nowhere to keep it */
	bool more, quit, drop;                 /* a line is continued; leave; forget the message */
};
enum { N_HISTORY = 1000 };

/* ---- the history file: $XDG_STATE_HOME/lmrun/history ------------------------------------------------- */
static bool make_dirs(char *path)
{
	for (char *s = path + 1; (s = strchr(s, '/')) != NULL; s++) {
		*s = 0;
		bool ok = mkdir(path, 0700) == 0 || errno == EEXIST;
		*s = '/';
		if (!ok) return false;
	}
	return true;
}

static char *history_path(void)
{
	struct lm_buf b = { 0 };
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	if (state && *state == '/') lm_buf_fmt(&b, "%s/lmrun/history", state);
	else if (home && *home == '/') lm_buf_fmt(&b, "%s/.local/state/lmrun/history", home);
	if (b.n && !b.bad && make_dirs(b.p)) return b.p;
	lm_buf_free(&b);
	return NULL;
}

/* ---- keys -------------------------------------------------------------------------------------------- */
static struct line *self(EditLine *el)
{
	void *p = NULL;
	el_get(el, EL_CLIENTDATA, &p);
	return p;
}

static char *prompt(EditLine *el) { return self(el)->more ? ". " : "> "; }

static unsigned char on_interrupt(EditLine *el, int ch)
{
	(void)ch;
	struct line *l = self(el);
	const LineInfo *li = el_line(el);
	bool empty = li->lastchar == li->buffer;
	l->quit = empty && !l->more;
	l->drop = !l->quit;
	if (l->quit) return CC_EOF;
	fputs("^C", stderr);
	return CC_NEWLINE;
}

static unsigned char on_suspend(EditLine *el, int ch)
{
	(void)ch;
	el_set(el, EL_PREP_TERM, 0);
	raise(SIGTSTP);
	el_set(el, EL_PREP_TERM, 1);
	return CC_REDISPLAY;
}

/* After ESC[200~: everything up to ESC[201~ is text. */
static unsigned char on_paste(EditLine *el, int ch)
{
	static const wchar_t end[] = L"\033[201~";
	enum { N_END = 6 };
	(void)ch;
	wchar_t *text = NULL, c;
	size_t n = 0, cap = 0;
	while (el_wgetc(el, &c) == 1) {
		if (n + 2 > cap) {
			cap = cap ? 2 * cap : 256;
			wchar_t *p = lm_realloc(text, cap * sizeof *p);
			if (!p) break;
			text = p;
		}
		text[n++] = c == L'\r' ? L'\n' : c;
		if (n < N_END || wmemcmp(text + n - N_END, end, N_END) != 0) continue;
		n -= N_END;
		break;
	}
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		if (text[i] >= L' ' || text[i] == L'\n' || text[i] == L'\t') text[kept++] = text[i];
	if (kept) {
		text[kept] = 0;
		el_winsertstr(el, text);
	}
	lm_free(text);
	return CC_REFRESH;
}

/* ---- opening and closing ----------------------------------------------------------------------------- */
static void use_utf8(void)
{
	setlocale(LC_CTYPE, "");
	if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
}

static bool start_editor(struct line *l)
{
	HistEvent ev;
	use_utf8();
	l->el = el_init("lmrun", stdin, stderr, stderr);
	l->hist = history_init();
	if (!l->el || !l->hist) return false;
	history(l->hist, &ev, H_SETSIZE, N_HISTORY);
	history(l->hist, &ev, H_SETUNIQUE, 1);
	l->path = history_path();
	if (l->path) history(l->hist, &ev, H_LOAD, l->path);
	el_set(l->el, EL_CLIENTDATA, l);
	el_set(l->el, EL_PROMPT, prompt);
	el_set(l->el, EL_HIST, history, l->hist);
	el_set(l->el, EL_EDITOR, "emacs");
	el_set(l->el, EL_SETTY, "-d", "-isig", NULL);          /* Ctrl-C and Ctrl-Z come as keys */
	el_set(l->el, EL_ADDFN, "lm-interrupt", "clear the line, or leave", on_interrupt);
	el_set(l->el, EL_ADDFN, "lm-suspend", "stop the program", on_suspend);
	el_set(l->el, EL_ADDFN, "lm-paste", "take pasted text", on_paste);
	el_set(l->el, EL_BIND, "^C", "lm-interrupt", NULL);
	el_set(l->el, EL_BIND, "^Z", "lm-suspend", NULL);
	el_set(l->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
	el_set(l->el, EL_BIND, "\033[200~", "lm-paste", NULL);
	return true;
}

struct line *line_open(void)
{
	struct line *l = lm_calloc(1, sizeof *l);
	if (!l || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) return l;
	if (start_editor(l)) return l;
	line_close(l);
	return NULL;
}

void line_close(struct line *l)
{
	if (!l) return;
	if (l->hist) history_end(l->hist);
	if (l->el) el_end(l->el);
	lm_free(l->path);
	lm_free(l);
}

/* ---- reading ----------------------------------------------------------------------------------------- */
static bool edit_line(struct line *l, struct lm_buf *b)
{
	int n = 0;
	/* libedit shows the prompt before it takes the terminal: a Ctrl-C in between would end the program */
	el_set(l->el, EL_PREP_TERM, 1);
	fputs("\033[?2004h", stderr);
	el_resize(l->el);
	const char *s = el_gets(l->el, &n);
	fputs("\033[?2004l", stderr);
	if (l->drop || !s || n <= 0) {
		fputc('\n', stderr);
		return l->drop;
	}
	lm_buf_add(b, s, (size_t)n);
	if (b->n && b->p[b->n - 1] == '\n') b->p[--b->n] = 0;
	return true;
}

static bool plain_line(struct lm_buf *b)
{
	struct lm_buf part = { 0 };
	bool got = cli_line(&part);
	lm_buf_add(b, part.p, part.n);
	b->bad |= part.bad;
	lm_buf_free(&part);
	return got;
}

static void remember(struct line *l, struct lm_buf *b)
{
	HistEvent ev;
	if (!l->hist || !b->n || b->bad) return;
	history(l->hist, &ev, H_ENTER, b->p);
	if (l->path) history(l->hist, &ev, H_SAVE, l->path);
}

bool line_read(struct line *l, struct lm_buf *b)
{
	bool got = false;
	b->n = 0;
	for (l->more = false; !b->bad; l->more = true) {
		if (!(l->el ? edit_line(l, b) : plain_line(b))) break;
		got = true;
		if (l->drop) {
			l->drop = l->more = false;
			b->n = 0;
			return lm_buf_add(b, "", 0), true;
		}
		if (!b->n || b->p[b->n - 1] != '\\') break;
		b->p[b->n - 1] = '\n';
	}
	lm_buf_add(b, "", 0);
	remember(l, b);
	return got && !l->quit;
}
