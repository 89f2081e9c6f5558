/* regex_cost.c - how long a translated pattern may be tried at one place, judged from the pattern alone.
 *
 * PCRE2's machine code does not count the steps of a repeated character, so its match limit does not bound "a*a*a*b".
 * Here each part gets the number of ways in which it can match and the steps to try them, as powers of ten.  What nothing
 * behind it can make fail is matched in its first way only, so the patterns of real files come out linear. */
#include "tokenizer/regex_impl.h"
#include <math.h>

enum { MAX_NESTING = 300 }; /* PCRE2 takes no more than 250 */
/* A text of a million characters; steps at one place that are still fine; more than any text could take. */
static const double LONG = 6, FINE = 8, ENDLESS = 99;

struct part {
	double ways, steps; /* when something that may fail comes behind */
	double alone, fail; /* steps when nothing does; how many of them until it has failed */
	bool sure;          /* cannot fail */
};
struct walk { const char *s; size_t n, at; int depth; };

static struct part alternatives(struct walk *w);

static double sum(double a, double b)
{
	double hi = a > b ? a : b, lo = a > b ? b : a;
	return hi + log10(1 + pow(10, lo - hi));
}

static char peek(const struct walk *w) { return w->at < w->n ? w->s[w->at] : 0; }

static struct part atom(struct walk *w)
{
	struct part p = { 0 };
	if ((unsigned char)peek(w) == REGEX_SET) {
		w->at += 3;
	} else if (peek(w) == '\\') {
		p.sure = w->s[w->at + 1] == 'K';
		w->at += w->s[w->at + 1] == 'x' ? 4 : 2;
	} else if (peek(w) == '(') {
		char kind = w->s[w->at + 2];
		w->at += kind == '<' ? 4 : 3;
		p = alternatives(w);
		w->at++;
		if (kind == ':') return p;
		p.sure &= kind == '>';
		p.ways = 0;
		p.steps = p.alone;
		if (kind != '>') p.fail = p.alone; /* (?! fails when it has matched */
	} else {
		w->at++;
	}
	return p;
}

struct count { double lo, hi; bool keep; }; /* keep: what was matched is not tried in another way */

static bool count(struct walk *w, struct count *q)
{
	char c = peek(w);
	if (c != '*' && c != '+' && c != '?' && c != '{') return false;
	*q = (struct count){ .lo = c == '+', .hi = c == '?' ? 1 : INFINITY };
	w->at++;
	if (c == '{') {
		double v[2] = { 0, 0 };
		int k = 0, digits = 0;
		for (; (c = peek(w)) && c != '}'; w->at++) {
			if (c == ',')
				k = 1, digits = 0;
			else
				v[k] = v[k] * 10 + (c - '0'), digits++;
		}
		w->at++;
		q->lo = v[0];
		q->hi = digits ? v[k] : INFINITY;
	}
	q->keep = peek(w) == '+';
	if (q->keep || peek(w) == '?') w->at++;
	return true;
}

static struct part repeated(struct part p, const struct count *q)
{
	bool any = isinf(q->hi), many = q->lo > 1;
	double times = any ? LONG : q->hi > 1 ? log10(q->hi) : 0;
	double within = p.ways > 0 ? (any ? ENDLESS : p.ways * q->hi) : 0;
	double ways = within + (any ? LONG : log10(q->hi - q->lo + 1));
	/* what it takes in one after another is no more than the text, however it is nested */
	p.alone = many ? p.steps + times + p.ways * q->lo : any ? LONG + p.fail : p.alone + times;
	if (many) p.fail = p.alone;
	p.steps = q->keep ? p.alone : p.steps + times > ways ? p.steps + times : ways;
	p.ways = q->keep ? 0 : ways;
	p.sure |= q->lo == 0;
	return p;
}

static struct part sequence(struct walk *w)
{
	struct part all = { .sure = true };
	while (w->at < w->n && peek(w) != '|' && peek(w) != ')') {
		struct part p = atom(w);
		for (struct count q; count(w, &q);) p = repeated(p, &q);
		/* one that may fail has all before it tried in every way */
		if (!p.sure) all.alone = all.fail = sum(all.steps, all.ways + p.fail);
		all.alone = sum(all.alone, p.alone);
		all.steps = sum(all.steps, all.ways + p.steps);
		all.ways += p.ways;
		all.sure &= p.sure;
	}
	return all;
}

static struct part alternatives(struct walk *w)
{
	if (++w->depth > MAX_NESTING) {
		w->at = w->n;
		return (struct part){ ENDLESS, ENDLESS, ENDLESS, ENDLESS, false };
	}
	struct part all = sequence(w);
	while (peek(w) == '|') {
		w->at++;
		struct part p = sequence(w);
		all.steps = sum(all.steps, p.steps);
		all.alone = sum(all.alone, p.alone);
		all.fail = sum(all.fail, p.fail);
		all.ways = sum(all.ways, p.ways);
		all.sure |= p.sure;
	}
	w->depth--;
	return all;
}

bool regex_slow(const char *s, size_t n)
{
	struct walk w = { .s = s, .n = n };
	return n && alternatives(&w).alone > FINE;
}
