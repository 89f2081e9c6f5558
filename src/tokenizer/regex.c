/* regex.c - see regex.h: the alphabet of a set of patterns, and the searches.
 * GOTCHAS: PCRE2's machine code has a stack of its own, and what overflows it is done again by the
 * interpreter. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/regex_impl.h"
#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	MAX_ATOMS = 128,
	PAGE_BITS = 7,
	PAGE = 1 << PAGE_BITS,
	UNI_END = 0x110000,
	N_PAGES = UNI_END >> PAGE_BITS
};
/* Of one search.  The patterns of real files are linear: a megabyte of one character stays far below. */
enum { MATCH_LIMIT = 20000000, HEAP_LIMIT_KB = 256 << 10, JIT_STACK = 16 << 20 };
enum { SLICE = 1024, SLICE_MIN = 8, SLICE_STEPS = 8 << 20 }; /* starts that are tried before a look at the clock */

/* What is searched for without PCRE2: a set, counted (\p{N}{1,3}), at a line's end (\s+$), or runs of it in
 * threes from their right end (the places between them; the threes; the threes where \b follows the run). The
 * last ones because a search by back-tracking is quadratic in such a run. */
enum kind { BY_PCRE2, COUNTED, AT_LINE_END, BETWEEN_THREES, THREES, THREES_AT_EDGE };

enum { GUARD = 1 }; /* a callout's number */

struct pattern {
	enum kind kind;
	pcre2_code *code;
	bool jit, empty;
	size_t min, max;         /* COUNTED */
	bool in[256], word[256]; /* the set; what \b goes by.  BY_PCRE2: white space, newlines of find_guard */
};

struct regex {
	uint8_t *page; /* blocks of PAGE symbols */
	pcre2_general_context *heap;
	int n;
	uint16_t block[N_PAGES]; /* which block serves the characters [PAGE * i, PAGE * (i + 1)) */
	struct pattern p[];
};

/* ---- the alphabet
 * ---------------------------------------------------------------------------------------------------- */

/* Classes of characters from 0x80 on which no set of the list separates. */
struct alphabet {
	uint32_t *run; /* a run begins at run >> 8 and is of class run & 255 */
	size_t n_run;
	uint32_t sample[MAX_ATOMS];
	uint64_t sign[MAX_ATOMS];
	int n;
};

static uint64_t random_of(uint64_t i)
{
	i = (i + 1) * 0x9E3779B97F4A7C15u;
	i = (i ^ i >> 30) * 0xBF58476D1CE4E5B9u;
	i = (i ^ i >> 27) * 0x94D049BB133111EBu;
	return i ^ i >> 31;
}

/* The bounds of x beyond ASCII. */
static struct uset tail(struct uset x)
{
	uint32_t k = 0;
	while (k < x.n && x.b[k] < 0x80) k++;
	if (k < x.n && x.b[k] == 0x80) k++;
	if (x.n > k && x.b[x.n - 1] == UNI_END) x.n--;
	return (struct uset){ x.b + k, x.n - k };
}

/* By bound, in two passes: values are bound << 32 | set. */
static void sort(uint64_t *v, uint64_t *tmp, size_t n)
{
	for (int shift = 32; shift < 54; shift += 11) {
		uint32_t count[2048] = { 0 };
		for (size_t i = 0; i < n; i++) count[v[i] >> shift & 2047]++;
		for (uint32_t i = 0, sum = 0; i < 2048; i++) {
			uint32_t c = count[i];
			count[i] = sum;
			sum += c;
		}
		for (size_t i = 0; i < n; i++) tmp[count[v[i] >> shift & 2047]++] = v[i];
		uint64_t *t = v;
		v = tmp;
		tmp = t;
	}
}

/* All bounds of all sets, sorted; a set and its complement count once. */
static uint64_t *bounds(const struct uset_list *l, size_t *n)
{
	size_t total = 0;
	for (uint32_t i = 0; i < l->n; i++) total += tail(l->set[i]).n;
	uint64_t *v = lm_new(l->pool.arena, uint64_t, 2 * total + 2);
	if (!v) return NULL;
	*n = 0;
	for (uint32_t i = 0; i < l->n; i++) {
		struct uset x = tail(l->set[i]), y;
		uint32_t k = 0;
		for (; k < i; k++) {
			y = tail(l->set[k]);
			if (uset_same(x, y)) break;
		}
		if (k < i) continue;
		for (uint32_t j = 0; j < x.n; j++) v[(*n)++] = (uint64_t)x.b[j] << 32 | i;
	}
	sort(v, v + total + 1, *n);
	return v;
}

/* Characters are of one class when the same bounds, counted modulo two, lie before them: the signature adds
 * up a random number per set. */
static int divide(struct alphabet *a, const struct uset_list *l, struct lm_err *err)
{
	size_t n;
	uint64_t *v = bounds(l, &n), sign = 0;
	a->run = v ? lm_new(l->pool.arena, uint32_t, n + 1) : NULL;
	if (!a->run) return lm_fail(err, LM_ENOMEM, "out of memory for a regular expression");
	uint32_t at = 0x80;
	for (size_t i = 0;; at = (uint32_t)(v[i] >> 32)) {
		for (; i < n && v[i] >> 32 == at; i++) sign ^= random_of(v[i] & 0xFFFFFFFF);
		int k = 0;
		while (k < a->n && a->sign[k] != sign) k++;
		if (k == MAX_ATOMS)
			return lm_fail(
				err, LM_EUNSUPPORTED,
				"the regular expressions tell apart more than %d classes of characters",
				MAX_ATOMS);
		if (k == a->n) {
			a->sign[k] = sign;
			a->sample[k] = at;
			a->n++;
		}
		a->run[a->n_run++] = at << 8 | (uint32_t)k;
		if (i == n) return 0;
	}
}

/* The two-level table from code points to symbols. */
static int fill_pages(struct regex *r, const struct alphabet *a, struct lm_err *err)
{
	size_t mixed = 0;
	for (size_t i = 0; i < a->n_run; i++) mixed += (a->run[i] >> 8) % PAGE != 0;
	r->page = lm_malloc((mixed + (size_t)a->n) * PAGE);
	if (!r->page) return lm_fail(err, LM_ENOMEM, "out of memory for a regular expression");
	for (int k = 0; k < a->n; k++) memset(r->page + k * PAGE, 0x80 + k, PAGE);
	size_t used = (size_t)a->n, k = 0;
	for (uint32_t i = 1; i < N_PAGES; i++) {
		uint32_t first = i << PAGE_BITS, end = first + PAGE;
		while (k + 1 < a->n_run && a->run[k + 1] >> 8 <= first) k++;
		if (k + 1 == a->n_run || a->run[k + 1] >> 8 >= end) {
			r->block[i] = (uint16_t)(a->run[k] & 255);
			continue;
		}
		uint8_t *page = r->page + used * PAGE;
		r->block[i] = (uint16_t)used++;
		for (uint32_t c = first; c < end; c++) {
			if (k + 1 < a->n_run && a->run[k + 1] >> 8 == c) k++;
			page[c - first] = (uint8_t)(0x80 + (a->run[k] & 255));
		}
	}
	return 0;
}

/* ---- patterns
 * ----------------------------------------------------------------------------------------------------------
 */

static void symbols(const struct alphabet *a, struct uset x, bool in[256])
{
	memset(in, 0, 256);
	for (uint32_t i = 0; i + 1 < x.n && x.b[i] < 0x80; i += 2)
		for (uint32_t c = x.b[i]; c < x.b[i + 1] && c < 0x80; c++) in[c] = true;
	for (int k = 0; k < a->n; k++) in[0x80 + k] = uset_has(x, a->sample[k]);
}

static void write_set(const struct alphabet *a, struct uset x, struct lm_buf *out)
{
	bool in[256];
	int n = 0, last = 0x80 + a->n;
	symbols(a, x, in);
	for (int i = 0; i < last; i++) n += in[i];
	if (n == 0 || n == last) {
		lm_buf_str(out, n ? "." : "[^\\x00-\\xff]");
		return;
	}
	lm_buf_char(out, '[');
	for (int i = 0; i < last; i++) {
		int k = i;
		if (!in[i]) continue;
		while (i + 1 < last && in[i + 1]) i++;
		lm_buf_fmt(out, k == i ? "\\x%02x" : "\\x%02x-\\x%02x", (unsigned)k, (unsigned)i);
	}
	lm_buf_char(out, ']');
}

static unsigned set_number(const char *s)
{
	return (unsigned char)s[1] | (unsigned)(unsigned char)s[2] << 8;
}

/* {n,m} as the translation writes it, up to the end. */
static bool counts(struct pattern *p, const char *s, size_t n)
{
	size_t v[2] = { 0, 0 }, digits = 0;
	int k = 0;
	if (!n || s[0] != '{' || memchr(s, '}', n) != s + n - 1) return false;
	for (size_t i = 1; i + 1 < n; i++) {
		if (s[i] == ',')
			k = 1, digits = 0;
		else
			v[k] = v[k] * 10 + (size_t)(s[i] - '0'), digits++;
	}
	p->min = v[0];
	p->max = digits ? v[1] : SIZE_MAX;
	return p->min && p->max;
}

static bool is(const char *s, size_t n, const char *text)
{
	return n == strlen(text) && !memcmp(s, text, n);
}

/* Is the translated pattern one set (or ASCII character), counted? */
static bool counted_set(struct pattern *p, const char *s, size_t n, const struct alphabet *a,
			const struct uset_list *l)
{
	static const char hex[] = "0123456789abcdef";
	size_t at = 3;
	if (n < 3) return false;
	if ((unsigned char)s[0] == REGEX_SET)
		symbols(a, l->set[set_number(s)], p->in);
	else if (n >= 4 && s[0] == '\\' && s[1] == 'x' && ++at)
		p->in[(strchr(hex, s[2]) - hex) * 16 + (strchr(hex, s[3]) - hex)] = true;
	else
		return false;
	s += at;
	n -= at;
	p->kind = COUNTED;
	p->min = p->max = 1;
	if (!n || counts(p, s, n)) return true;
	p->min = 1;
	p->max = SIZE_MAX;
	if (is(s, n, "+") || is(s, n, "++")) return true;
	p->kind = AT_LINE_END;
	return is(s, n, "+(?=\\n|\\z)");
}

/* Is it, as it stands in the file, one of those that cut numbers in threes?  \d{1,3}(?=(?:\d{3})*\b) and its
 * kin. */
static bool threes(struct pattern *p, const struct regex_pattern *src, const struct lm_buf *text,
		   const struct alphabet *a, const struct uset_list *l)
{
	static const struct {
		enum kind kind;
		const char *a, *b, *c, *d;
	} forms[] = {
		{ BETWEEN_THREES, "(?=(", "{3})+(?!", "))", "" },
		{ BETWEEN_THREES, "(?=(?:", "{3})+(?!", "))", "" },
		{ THREES, "", "{1,3}(?=(?:", "{3})*(?!", "))" },
		{ THREES_AT_EDGE, "", "{1,3}(?=(?:", "{3})*\\b)", NULL },
	};
	static const char *const sets[] = { "\\d", "\\p{N}", "\\p{Nd}", "[0-9]" };
	char want[80];
	for (size_t i = 0; i < 16; i++) {
		const char *x = sets[i / 4], *d = forms[i % 4].d;
		int n = snprintf(want, sizeof want, "%s%s%s%s%s%s%s", forms[i % 4].a, x, forms[i % 4].b, x,
				 forms[i % 4].c, d && *d ? x : "", d ? d : "");
		if (src->literal || src->n != (size_t)n || memcmp(src->s, want, src->n)) continue;
		const char *first = memchr(text->p, REGEX_SET, text->n),
			   *last = memrchr(text->p, REGEX_SET, text->n - 2);
		if (!first || !last) return false;
		p->kind = forms[i % 4].kind;
		p->empty = p->kind == BETWEEN_THREES;
		symbols(a, l->set[set_number(first)], p->in);
		symbols(a, l->set[set_number(last)], p->word);
		return true;
	}
	return false;
}

/* slow: the machine code asks before each item whether it should go on. */
static int compile(struct regex *r, int k, const struct regex_pattern *src, const struct lm_buf *text, bool slow,
		   struct lm_err *err)
{
	int code = 0;
	PCRE2_SIZE at = 0;
	struct pattern *p = &r->p[k];
	pcre2_compile_context *cc = pcre2_compile_context_create(r->heap);
	if (cc && !text->bad)
		p->code = pcre2_compile((PCRE2_SPTR)(text->p ? text->p : ""), text->n,
					PCRE2_DOTALL | PCRE2_USE_OFFSET_LIMIT | (slow ? PCRE2_AUTO_CALLOUT : 0), &code,
					&at, cc);
	pcre2_compile_context_free(cc);
	if (!p->code) {
		if (!code || code == PCRE2_ERROR_HEAP_FAILED)
			return lm_fail(err, LM_ENOMEM, "out of memory for a regular expression");
		char why[120];
		pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
		return lm_fail(err, LM_EUNSUPPORTED, "regular expression %.*s: %s",
			       (int)(src->n < 80 ? src->n : 80), src->s, why);
	}
	uint32_t empty = 0;
	pcre2_pattern_info(p->code, PCRE2_INFO_MATCHEMPTY, &empty);
	p->empty = empty;
	/* where code cannot be made at run time pcre2_match interprets: slower, same answer */
	p->jit = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0;
	return 0;
}

/* In ..|\s*[\r\n]+|.. before alternatives that take a bounded part of a long run of spaces, the run would be looked
 * through again for each part of it.  So this alternative begins with a question: is there a newline in the run?
 * Returns where it begins, 0: there is none or it does not matter. */
static size_t find_guard(struct pattern *p, const struct regex_pattern *src, const struct lm_buf *in,
			 const struct alphabet *a, const struct uset_list *l)
{
	static const char form[] = "|\\s*[\\r\\n]+|\\s{";
	if (src->literal || !memmem(src->s, src->n, form, sizeof form - 1)) return 0;
	for (size_t i = 0; i + 10 <= in->n; i++) {
		const char *s = in->p + i;
		if ((unsigned char)s[0] == REGEX_SET)
			i += 2;
		else if (s[0] == '|' && (unsigned char)s[1] == REGEX_SET && s[4] == '*' &&
			 (unsigned char)s[5] == REGEX_SET && s[8] == '+' && s[9] == '|') {
			symbols(a, l->set[set_number(s + 1)], p->in);
			symbols(a, l->set[set_number(s + 5)], p->word);
			return i + 1;
		}
	}
	return 0;
}

/* Writes the sets of a translated pattern out as classes of symbols, and compiles it. */
static int finish(struct regex *r, int k, const struct regex_pattern *src, const struct lm_buf *in,
		  const struct alphabet *a, const struct uset_list *l, struct lm_err *err)
{
	if (threes(&r->p[k], src, in, a, l) || counted_set(&r->p[k], in->p, in->n, a, l)) return 0;
	r->p[k].kind = BY_PCRE2;
	struct lm_buf text = { 0 };
	size_t guard = find_guard(&r->p[k], src, in, a, l);
	for (size_t i = 0; i < in->n; i++) {
		if (guard && i == guard) lm_buf_fmt(&text, "(?C%d)", GUARD);
		if ((unsigned char)in->p[i] == REGEX_SET) {
			write_set(a, l->set[set_number(in->p + i)], &text);
			i += 2;
		} else {
			lm_buf_char(&text, in->p[i]);
		}
	}
	int rc = compile(r, k, src, &text, regex_slow(in->p, in->n), err);
	lm_buf_free(&text);
	return rc;
}

static void *pcre_malloc(size_t n, void *ud)
{
	(void)ud;
	return lm_malloc(n);
}

static void pcre_free(void *p, void *ud)
{
	(void)ud;
	lm_free(p);
}

static int build(struct regex *r, const struct regex_pattern *p, struct uset_list *l, struct lm_buf *text,
		 struct lm_err *err)
{
	struct alphabet a = { 0 };
	int rc = 0;
	r->heap = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
	if (!r->heap || !l->pool.arena)
		return lm_fail(err, LM_ENOMEM, "out of memory for a regular expression");
	for (int i = 0; !rc && i < r->n; i++) rc = regex_translate(&p[i], l, &text[i], err);
	if (!rc) rc = divide(&a, l, err);
	if (!rc) rc = fill_pages(r, &a, err);
	for (int i = 0; !rc && i < r->n; i++) rc = finish(r, i, &p[i], &text[i], &a, l, err);
	return rc;
}

int regex_new(struct regex **out, const struct regex_pattern *p, int n, struct lm_err *err)
{
	struct uset_list sets = { .pool = { lm_arena_new(1 << 16), USET_POOL } };
	struct regex *r = lm_calloc(1, sizeof *r + (size_t)n * sizeof *r->p);
	struct lm_buf *text = lm_calloc((size_t)n + 1, sizeof *text);
	int rc = 0;
	if (r) r->n = n;
	if (!r || !text)
		rc = lm_fail(err, LM_ENOMEM, "out of memory for a regular expression");
	else
		rc = build(r, p, &sets, text, err);
	for (int i = 0; text && i < n; i++) lm_buf_free(&text[i]);
	lm_free(text);
	lm_arena_free(sets.pool.arena);
	if (rc)
		regex_free(r);
	else
		*out = r;
	return rc;
}

void regex_free(struct regex *r)
{
	if (!r) return;
	for (int i = 0; i < r->n; i++) pcre2_code_free(r->p[i].code);
	pcre2_general_context_free(r->heap);
	lm_free(r->page);
	lm_free(r);
}

bool regex_may_be_empty(const struct regex *r, int k)
{
	return r->p[k].empty;
}

/* ---- searching
 * ---------------------------------------------------------------------------------------------------------
 */

struct match {
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
};

static void match_free(struct match *m)
{
	if (!m) return;
	pcre2_match_data_free(m->data);
	pcre2_match_context_free(m->context);
	pcre2_jit_stack_free(m->stack);
	lm_free(m);
}

#define TOO_LONG "the regular expressions of the tokenizer take too long on this text"

static double cpu_now(void)
{
	struct timespec t = { 0 };
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A second and a microsecond per byte for all texts of one work together, a hundred times the usual.  The clock on the
 * wall is the cheap one to ask; a thread that had to wait for its turn is not late. */
static bool late(struct regex_work *w)
{
	double now = lm_now(), limit = 1 + 1e-6 * (double)w->total;
	if (!w->began) {
		w->began = now;
		w->began_cpu = cpu_now();
	}
	return now - w->began > limit && cpu_now() - w->began_cpu > limit;
}

/* See find_guard: 0 when the run of white space at `at` has a newline at or after it. */
static int newline_ahead(struct regex_work *w, size_t at, size_t hi)
{
	const unsigned char *s = (const unsigned char *)w->text;
	const struct pattern *p = w->searched;
	if (w->run_of != p || at < w->run_begin || at >= w->run_end || w->run_hi != hi) {
		w->run_of = p;
		w->run_hi = hi;
		w->run_begin = at;
		w->newline = SIZE_MAX;
		for (w->run_end = at; w->run_end < hi && p->in[s[w->run_end]]; w->run_end++)
			if (p->word[s[w->run_end]]) w->newline = w->run_end;
	}
	return w->newline == SIZE_MAX || w->newline < at;
}

/* What machine code calls: at the guard, and in a slow pattern before each item. */
static int go_on(pcre2_callout_block *b, void *ud)
{
	struct regex_work *w = ud;
	size_t lo = (size_t)((const char *)b->subject - w->text);
	if (b->callout_number == GUARD) return newline_ahead(w, lo + b->current_position, lo + b->subject_length);
	return ++w->asked % 64 == 0 && late(w) ? PCRE2_ERROR_CALLOUT : 0;
}

static struct match *match_new(struct regex_work *w)
{
	struct match *m = lm_calloc(1, sizeof *m);
	if (!m) return NULL;
	pcre2_general_context *heap = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
	if (heap) {
		m->data = pcre2_match_data_create(1, heap);
		m->context = pcre2_match_context_create(heap);
		m->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK, heap);
	}
	pcre2_general_context_free(heap);
	if (!m->data || !m->context) {
		match_free(m);
		return NULL;
	}
	pcre2_set_match_limit(m->context, MATCH_LIMIT);
	pcre2_set_depth_limit(m->context, MATCH_LIMIT);
	pcre2_set_heap_limit(m->context, HEAP_LIMIT_KB);
	pcre2_jit_stack_assign(m->context, NULL, m->stack);
	pcre2_set_callout(m->context, go_on, w);
	return m;
}

void regex_work_free(struct regex_work *w)
{
	lm_free(w->sym);
	match_free(w->match);
	*w = (struct regex_work){ 0 };
}

static bool all_ascii(const char *s, size_t n)
{
	size_t i = 0;
	for (; i + 8 <= n; i += 8) {
		uint64_t v;
		memcpy(&v, s + i, 8);
		if (v & 0x8080808080808080u) return false;
	}
	for (; i < n; i++)
		if (s[i] & 0x80) return false;
	return true;
}

/* Valid UTF-8 in, one symbol per character out. */
static size_t read_symbols(const struct regex *r, const char *text, size_t n, char *sym)
{
	const unsigned char *s = (const unsigned char *)text, *end = s + n;
	char *out = sym;
	while (s < end) {
		uint32_t c = *s;
		if (c < 0x80) {
			*out++ = (char)c;
			s++;
			continue;
		}
		if (c < 0xE0) {
			c = (c & 31) << 6 | (s[1] & 63u);
			s += 2;
		} else if (c < 0xF0) {
			c = (c & 15) << 12 | (s[1] & 63u) << 6 | (s[2] & 63u);
			s += 3;
		} else {
			c = (c & 7) << 18 | (s[1] & 63u) << 12 | (s[2] & 63u) << 6 | (s[3] & 63u);
			s += 4;
		}
		*out++ = (char)r->page[(size_t)r->block[c >> PAGE_BITS] << PAGE_BITS | c % PAGE];
	}
	return (size_t)(out - sym);
}

int64_t regex_read(const struct regex *r, struct regex_work *w, const char *s, size_t n, struct lm_err *err)
{
	if (!w->match) w->match = match_new(w);
	if (!w->match) return lm_fail(err, LM_ENOMEM, "out of memory for a regular expression");
	w->text = s;
	w->n = n;
	w->run_of = NULL;
	w->total += n;
	if (all_ascii(s, n)) return (int64_t)n;
	if (w->cap < n) {
		char *sym = lm_realloc(w->sym, n);
		if (!sym) return lm_fail(err, LM_ENOMEM, "out of memory for a regular expression");
		w->sym = sym;
		w->cap = n;
	}
	w->text = w->sym;
	w->n = read_symbols(r, s, n, w->sym);
	return (int64_t)w->n;
}

static int find_counted(const struct pattern *p, const unsigned char *s, size_t hi, size_t at, size_t *begin,
			size_t *end)
{
	for (size_t i = at;;) {
		while (i < hi && !p->in[s[i]]) i++;
		if (i == hi) return 0;
		size_t stop = hi - i > p->max ? i + p->max : hi, j = i + 1;
		while (j < stop && p->in[s[j]]) j++;
		if (j - i >= p->min) {
			*begin = i;
			*end = j;
			return 1;
		}
		i = j;
	}
}

/* A run up to its end, if a line ends there, or up to the last newline in it. */
static int find_at_line_end(const struct pattern *p, const unsigned char *s, size_t hi, size_t at,
			    size_t *begin, size_t *end)
{
	for (size_t i = at, j;; i = j) {
		while (i < hi && !p->in[s[i]]) i++;
		if (i == hi) return 0;
		for (j = i + 1; j < hi && p->in[s[j]]; j++) {
		}
		size_t q = j;
		while (q > i && q < hi && s[q] != '\n') q--;
		if (q == i) continue;
		*begin = i;
		*end = q;
		return 1;
	}
}

static int find_threes(const struct pattern *p, struct regex_work *w, size_t hi, size_t at, size_t *begin,
		       size_t *end)
{
	const unsigned char *s = (const unsigned char *)w->text;
	for (size_t i = at;; i = w->run_end) {
		while (i < hi && !p->in[s[i]]) i++;
		if (i == hi) return 0;
		if (w->run_of != p || i < w->run_begin || i >= w->run_end || w->run_hi != hi) {
			w->run_of = p;
			w->run_hi = hi;
			w->run_begin = i;
			for (w->run_end = i + 1; w->run_end < hi && p->in[s[w->run_end]]; w->run_end++) {
			}
		}
		size_t rest = (w->run_end - i) % 3;
		if (p->kind == THREES_AT_EDGE && w->run_end < hi && p->word[s[w->run_end]]) continue;
		if (p->kind == BETWEEN_THREES && w->run_end - i < 3) continue;
		*begin = p->kind == BETWEEN_THREES ? i + rest : i;
		*end = p->kind == BETWEEN_THREES ? *begin : i + (rest ? rest : 3);
		return 1;
	}
}

int regex_find(const struct regex *r, struct regex_work *w, int k, size_t lo, size_t hi, size_t at,
	       size_t *begin, size_t *end, struct lm_err *err)
{
	const struct pattern *p = &r->p[k];
	struct match *m = w->match;
	if (p->kind == COUNTED) return find_counted(p, (const unsigned char *)w->text, hi, at, begin, end);
	if (p->kind == AT_LINE_END)
		return find_at_line_end(p, (const unsigned char *)w->text, hi, at, begin, end);
	if (p->kind != BY_PCRE2) return find_threes(p, w, hi, at, begin, end);
	PCRE2_SPTR s = (PCRE2_SPTR)w->text + lo;
	w->searched = p;
	size_t slice = SLICE_STEPS / (hi - lo + 1) + SLICE_MIN;
	if (slice > SLICE) slice = SLICE;
	int rc = PCRE2_ERROR_NOMATCH;
	for (size_t from = at - lo; rc == PCRE2_ERROR_NOMATCH && from <= hi - lo; from += slice) {
		if ((++w->searches % 64 == 0 || from > at - lo) && late(w))
			return lm_fail(err, LM_ELIMIT, TOO_LONG);
		pcre2_set_offset_limit(m->context, from + slice - 1);
		rc = PCRE2_ERROR_JIT_STACKLIMIT;
		if (p->jit) rc = pcre2_jit_match(p->code, s, hi - lo, from, 0, m->data, m->context);
		if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
			rc = pcre2_match(p->code, s, hi - lo, from, PCRE2_NO_JIT, m->data, m->context);
	}
	if (rc == PCRE2_ERROR_NOMATCH) return 0;
	if (rc == PCRE2_ERROR_NOMEMORY)
		return lm_fail(err, LM_ENOMEM, "out of memory for a regular expression");
	if (rc == PCRE2_ERROR_CALLOUT) return lm_fail(err, LM_ELIMIT, TOO_LONG);
	if (rc < 0)
		return lm_fail(err, LM_ELIMIT,
			       "a regular expression of the tokenizer needs too many steps for this text "
			       "(PCRE2 error %d)",
			       rc);
	const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(m->data);
	*begin = lo + ov[0];
	*end = lo + ov[1];
	return 1;
}
