/* line.h - one message at a time from a person (libedit: history, UTF-8, pasted lines) or from a pipe. */
#pragma once
#include "base/base.h"

struct line;
struct line *line_open(void);                           /* NULL: out of memory */
/* The next message, without its last newline: a trailing '\' joins the next line.  false at the end of input,
 * or when Ctrl-C or Ctrl-D was typed at an empty prompt.  *b is replaced; b->bad when memory ran out. */
bool line_read(struct line *l, struct lm_buf *b);
void line_close(struct line *l);                        /* saves the history; NULL is fine */
