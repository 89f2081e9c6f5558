/* unicode.c - sets of characters by name, from the committed tables of Unicode 16.
 * GOTCHAS: the reference takes \p{..} from its regular expression library (Unicode 16), but Punctuation,
 * Digits and UnicodeScripts from tables of other ages: the names beginning with = are those. */
#include "tokenizer/regex_impl.h"
#include "tokenizer/unicode_prop.h"
#include "tokenizer/unicode_script.h"
#include <stdlib.h>
#include <string.h>

enum { UNI_END = 0x110000 };
#define COUNT(a)          (sizeof(a) / sizeof *(a))
#define UNI_SET(a)        ((struct uset){ a, COUNT(a) })
#define CAT(c)            (1u << UNI_##c)
#define CATS(first, last) ((2u << UNI_##last) - (1u << UNI_##first))

/* Names of sets of categories, and of sets made of categories and a list. */
static const struct class
{
	const char *name;
	uint32_t cats;
	const uint32_t *more;
	size_t n_more;
	const uint32_t *less;
	size_t n_less;
} classes[] = {
	{ .name = "l", .cats = CATS(LU, LO) },
	{ .name = "letter", .cats = CATS(LU, LO) },
	{ .name = "lc", .cats = CATS(LU, LT) },
	{ .name = "casedletter", .cats = CATS(LU, LT) },
	{ .name = "lu", .cats = CAT(LU) },
	{ .name = "uppercaseletter", .cats = CAT(LU) },
	{ .name = "ll", .cats = CAT(LL) },
	{ .name = "lowercaseletter", .cats = CAT(LL) },
	{ .name = "lt", .cats = CAT(LT) },
	{ .name = "titlecaseletter", .cats = CAT(LT) },
	{ .name = "lm", .cats = CAT(LM) },
	{ .name = "modifierletter", .cats = CAT(LM) },
	{ .name = "lo", .cats = CAT(LO) },
	{ .name = "otherletter", .cats = CAT(LO) },
	{ .name = "m", .cats = CATS(MN, ME) },
	{ .name = "mark", .cats = CATS(MN, ME) },
	{ .name = "combiningmark", .cats = CATS(MN, ME) },
	{ .name = "mn", .cats = CAT(MN) },
	{ .name = "nonspacingmark", .cats = CAT(MN) },
	{ .name = "mc", .cats = CAT(MC) },
	{ .name = "spacingmark", .cats = CAT(MC) },
	{ .name = "me", .cats = CAT(ME) },
	{ .name = "enclosingmark", .cats = CAT(ME) },
	{ .name = "n", .cats = CATS(ND, NO) },
	{ .name = "number", .cats = CATS(ND, NO) },
	{ .name = "nd", .cats = CAT(ND) },
	{ .name = "decimalnumber", .cats = CAT(ND) },
	{ .name = "digit", .cats = CAT(ND) },
	{ .name = "nl", .cats = CAT(NL) },
	{ .name = "letternumber", .cats = CAT(NL) },
	{ .name = "no", .cats = CAT(NO) },
	{ .name = "othernumber", .cats = CAT(NO) },
	{ .name = "p", .cats = CATS(PC, PO) },
	{ .name = "punctuation", .cats = CATS(PC, PO) },
	{ .name = "punct", .cats = CATS(PC, PO) },
	{ .name = "pc", .cats = CAT(PC) },
	{ .name = "connectorpunctuation", .cats = CAT(PC) },
	{ .name = "pd", .cats = CAT(PD) },
	{ .name = "dashpunctuation", .cats = CAT(PD) },
	{ .name = "ps", .cats = CAT(PS) },
	{ .name = "openpunctuation", .cats = CAT(PS) },
	{ .name = "pe", .cats = CAT(PE) },
	{ .name = "closepunctuation", .cats = CAT(PE) },
	{ .name = "pi", .cats = CAT(PI) },
	{ .name = "initialpunctuation", .cats = CAT(PI) },
	{ .name = "pf", .cats = CAT(PF) },
	{ .name = "finalpunctuation", .cats = CAT(PF) },
	{ .name = "po", .cats = CAT(PO) },
	{ .name = "otherpunctuation", .cats = CAT(PO) },
	{ .name = "s", .cats = CATS(SM, SO) },
	{ .name = "symbol", .cats = CATS(SM, SO) },
	{ .name = "sm", .cats = CAT(SM) },
	{ .name = "mathsymbol", .cats = CAT(SM) },
	{ .name = "sc", .cats = CAT(SC) },
	{ .name = "currencysymbol", .cats = CAT(SC) },
	{ .name = "sk", .cats = CAT(SK) },
	{ .name = "modifiersymbol", .cats = CAT(SK) },
	{ .name = "so", .cats = CAT(SO) },
	{ .name = "othersymbol", .cats = CAT(SO) },
	{ .name = "z", .cats = CATS(ZS, ZP) },
	{ .name = "separator", .cats = CATS(ZS, ZP) },
	{ .name = "zs", .cats = CAT(ZS) },
	{ .name = "spaceseparator", .cats = CAT(ZS) },
	{ .name = "zl", .cats = CAT(ZL) },
	{ .name = "lineseparator", .cats = CAT(ZL) },
	{ .name = "zp", .cats = CAT(ZP) },
	{ .name = "paragraphseparator", .cats = CAT(ZP) },
	{ .name = "c", .cats = CATS(CC, CN) },
	{ .name = "other", .cats = CATS(CC, CN) },
	{ .name = "cc", .cats = CAT(CC) },
	{ .name = "control", .cats = CAT(CC) },
	{ .name = "cntrl", .cats = CAT(CC) },
	{ .name = "cf", .cats = CAT(CF) },
	{ .name = "format", .cats = CAT(CF) },
	{ .name = "cs", .cats = CAT(CS) },
	{ .name = "surrogate", .cats = CAT(CS) },
	{ .name = "co", .cats = CAT(CO) },
	{ .name = "privateuse", .cats = CAT(CO) },
	{ .name = "cn", .cats = CAT(CN) },
	{ .name = "unassigned", .cats = CAT(CN) },
	{ .name = "any", .cats = CATS(LU, CN) },
	{ .name = "assigned", .cats = CATS(LU, CO) },
#define MORE(a) .more = a, .n_more = COUNT(a)
	{ .name = "alphabetic", .cats = CATS(LU, LO) | CAT(NL), MORE(uni_other_alpha) },
	{ .name = "alpha", .cats = CATS(LU, LO) | CAT(NL), MORE(uni_other_alpha) },
	{ .name = "alnum", .cats = CATS(LU, LO) | CAT(NL) | CAT(ND), MORE(uni_other_alpha) },
	{ .name = "word", .cats = CATS(LU, ME) | CAT(NL) | CAT(ND) | CAT(PC), MORE(uni_other_alpha) },
	{ .name = "lowercase", .cats = CAT(LL), MORE(uni_other_lower) },
	{ .name = "lower", .cats = CAT(LL), MORE(uni_other_lower) },
	{ .name = "uppercase", .cats = CAT(LU), MORE(uni_other_upper) },
	{ .name = "upper", .cats = CAT(LU), MORE(uni_other_upper) },
	{ .name = "space", MORE(uni_is_whitespace) },
	{ .name = "=space", MORE(uni_is_whitespace) },
	{ .name = "=numeric", .cats = CATS(ND, NO), MORE(uni_late_n) },
	{ .name = "=punct",
	  .cats = CATS(PC, PO),
	  MORE(uni_early_p),
	  .less = uni_late_p,
	  .n_less = COUNT(uni_late_p) },
};

static const uint32_t blank[] = { 9, 10 }, ascii[] = { 0, 0x80 };
static const uint32_t xdigit[] = { '0', '9' + 1, 'A', 'F' + 1, 'a', 'f' + 1 };
static const uint32_t line_break[] = { 0x2028, 0x202A };

/* ---- sets ------------------------------------------------------------------------------------------------
 */

static uint32_t *bounds(struct uset_pool *a, size_t n)
{
	if (n > a->left) {
		a->left = 0;
		return NULL;
	}
	a->left -= n;
	return lm_new(a->arena, uint32_t, n);
}

bool uset_range(struct uset_pool *a, uint32_t lo, uint32_t hi, struct uset *out)
{
	uint32_t *b = bounds(a, 2);
	if (!b) return false;
	b[0] = lo;
	b[1] = hi + 1;
	*out = (struct uset){ b, 2 };
	return true;
}

/* Members are where at least `need` of the two are. */
static bool merge(struct uset_pool *a, struct uset x, struct uset y, int need, struct uset *out)
{
	uint32_t *b = bounds(a, (size_t)x.n + y.n + 1), n = 0;
	if (!b) return false;
	uint32_t i = 0, j = 0;
	while (i < x.n || j < y.n) {
		uint32_t at = j >= y.n || (i < x.n && x.b[i] < y.b[j]) ? x.b[i] : y.b[j];
		if (i < x.n && x.b[i] == at) i++;
		if (j < y.n && y.b[j] == at) j++;
		bool in = (int)(i & 1) + (int)(j & 1) >= need;
		if (in != (n & 1)) b[n++] = at;
	}
	*out = (struct uset){ b, n };
	return true;
}

bool uset_or(struct uset_pool *a, struct uset x, struct uset y, struct uset *out)
{
	return merge(a, x, y, 1, out);
}

bool uset_and(struct uset_pool *a, struct uset x, struct uset y, struct uset *out)
{
	return merge(a, x, y, 2, out);
}

bool uset_not(struct uset_pool *a, struct uset x, struct uset *out)
{
	uint32_t *b = bounds(a, (size_t)x.n + 2), n = 0;
	if (!b) return false;
	bool from_0 = x.n && x.b[0] == 0, to_end = x.n && x.b[x.n - 1] == UNI_END;
	if (!from_0) b[n++] = 0;
	for (uint32_t i = from_0; i + to_end < x.n; i++) b[n++] = x.b[i];
	if (!to_end) b[n++] = UNI_END;
	*out = (struct uset){ b, n };
	return true;
}

/* How many of b[0..n) are <= cp. */
static size_t upto(const uint32_t *b, size_t n, uint32_t cp)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (b[mid] <= cp)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool uset_has(struct uset x, uint32_t cp)
{
	return upto(x.b, x.n, cp) & 1;
}

bool uset_same(struct uset x, struct uset y)
{
	return x.n == y.n && (!x.n || !memcmp(x.b, y.b, x.n * sizeof *x.b));
}

static int by_first(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
	return (a > b) - (a < b);
}

bool uset_ranges(struct uset_pool *a, uint32_t (*pair)[2], size_t k, struct uset *out)
{
	uint32_t *b = bounds(a, 2 * k + 1), n = 0;
	if (!b) return false;
	qsort(pair, k, sizeof *pair, by_first);
	for (size_t i = 0; i < k; i++) {
		if (n && pair[i][0] <= b[n - 1]) {
			if (pair[i][1] >= b[n - 1]) b[n - 1] = pair[i][1] + 1;
			continue;
		}
		b[n++] = pair[i][0];
		b[n++] = pair[i][1] + 1;
	}
	*out = (struct uset){ b, n };
	return true;
}

bool uset_fold(struct uset_pool *a, struct uset x, struct uset *out)
{
	uint32_t more[UNI_N_FOLD][2];
	size_t n = 0;
	for (size_t i = 0; i < COUNT(uni_fold); i++) {
		uint32_t first = uni_fold[i].first, last = uni_fold[i].last,
			 step = (uint32_t)uni_fold[i].step;
		size_t k = upto(x.b, x.n, first);
		if (!(k & 1) && (k == x.n || x.b[k] > last)) continue; /* none of them is a member */
		for (uint32_t c = first; c <= last; c += step)
			if (uset_has(x, c)) {
				more[n][0] = more[n][1] = (uint32_t)((int32_t)c + uni_fold[i].distance);
				n++;
			}
	}
	struct uset y;
	return uset_ranges(a, more, n, &y) && uset_or(a, x, y, out);
}

/* ---- names -----------------------------------------------------------------------------------------------
 */

static bool of_runs(struct uset_pool *a, const uint32_t *run, size_t n, int bits, const bool *in,
		    struct uset *out)
{
	uint32_t *b = bounds(a, n + 2), k = 0;
	if (!b) return false;
	uint32_t mask = (1u << bits) - 1;
	for (size_t i = 0; i < n; i++)
		if (in[run[i] & mask] != (k & 1)) b[k++] = run[i] >> bits;
	if (k & 1) b[k++] = UNI_END;
	*out = (struct uset){ b, k };
	return true;
}

static bool of_cats(struct uset_pool *a, uint32_t cats, struct uset *out)
{
	bool in[32] = { 0 };
	for (int i = 0; i <= UNI_CN; i++) in[i] = cats >> i & 1;
	return of_runs(a, uni_cat_run, COUNT(uni_cat_run), 5, in, out);
}

static bool of_class(struct uset_pool *a, const struct class *c, struct uset *out)
{
	struct uset not ;
	if (!of_cats(a, c->cats, out)) return false;
	if (c->more && !uset_or(a, *out, (struct uset){ c->more, (uint32_t)c->n_more }, out)) return false;
	if (!c->less) return true;
	return uset_not(a, (struct uset){ c->less, (uint32_t)c->n_less }, &not ) &&
	       uset_and(a, *out, not, out);
}

/* The number of a script, from 1; 0: none of that name. */
static int script_number(const char *name, size_t n)
{
	char word[UNI_NAME + 4];
	word[0] = ' ';
	memcpy(word + 1, name, n);
	memcpy(word + 1 + n, " ", 2);
	const char *at = strstr(uni_script_name, word);
	if (!at || !n) return 0;
	int k = 1;
	for (const char *p = uni_script_name; p < at; p++) k += *p == '\n';
	return k;
}

/* The few that are made of others. */
static bool composed(struct uset_pool *a, const char *name, struct uset *out, bool *ok)
{
	struct uset x;
	*ok = true;
	if (!strcmp(name, "blank")) {
		*ok = of_cats(a, CAT(ZS), &x) && uset_or(a, x, UNI_SET(blank), out);
	} else if (!strcmp(name, "ascii")) {
		*out = UNI_SET(ascii);
	} else if (!strcmp(name, "xdigit") || !strcmp(name, "asciihexdigit") || !strcmp(name, "ahex")) {
		*out = UNI_SET(xdigit);
	} else if (!strcmp(name, "graph")) {
		*ok = of_cats(a, CAT(CC) | CAT(CN) | CAT(CS), &x) &&
		      uset_or(a, x, UNI_SET(uni_is_whitespace), &x) && uset_not(a, x, out);
	} else if (!strcmp(name, "print")) {
		*ok = of_cats(a, CAT(CC) | CAT(CN) | CAT(CS), &x) && uset_or(a, x, UNI_SET(line_break), &x) &&
		      uset_not(a, x, out);
	} else if (!strcmp(name, "posixpunct")) {
		*ok = of_cats(a, CATS(PC, SO), out);
	} else if (!strcmp(name, "=word")) {
		*ok = uset_named(a, "word", 4, true, &x) > 0 &&
		      uset_or(a, x, UNI_SET(uni_is_joincontrol), out);
	} else {
		return false;
	}
	return true;
}

int uset_named(struct uset_pool *a, const char *name, size_t n, bool own, struct uset *out)
{
	char key[UNI_NAME];
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		char c = name[i];
		if (c == ' ' || c == '_' || c == '-') continue;
		if (k + 1 == sizeof key || (unsigned char)c >= 0x80 || c < ' ' || (c == '=' && !own))
			return 0;
		key[k++] = c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
	}
	key[k] = 0;
	bool ok;
	for (size_t i = 0; i < COUNT(classes); i++)
		if (!strcmp(classes[i].name, key)) return of_class(a, &classes[i], out) ? 1 : LM_ENOMEM;
	for (size_t i = 0; i < COUNT(uni_prop); i++)
		if (!strcmp(uni_prop[i].name, key)) {
			*out = (struct uset){ uni_prop[i].b, uni_prop[i].n };
			return 1;
		}
	if (composed(a, key, out, &ok)) return ok ? 1 : LM_ENOMEM;
	int script = script_number(key, k);
	if (!script && strcmp(key, "unknown") && strcmp(key, "zzzz")) return 0;
	bool in[256] = { 0 };
	in[script] = true;
	return of_runs(a, uni_script_run, COUNT(uni_script_run), 8, in, out) ? 1 : LM_ENOMEM;
}

/* ---- single characters -----------------------------------------------------------------------------------
 */

bool uni_is_space(uint32_t cp)
{
	if (cp < 0x80) return cp == ' ' || (cp >= 9 && cp <= 13);
	return uset_has(UNI_SET(uni_is_whitespace), cp);
}

/* The run of a table with `bits` bits of value that cp lies in. */
static uint32_t run_of(const uint32_t *run, size_t n, int bits, uint32_t cp)
{
	uint32_t last = cp << bits | ((1u << bits) - 1);
	return run[upto(run, n, last) - 1] & ((1u << bits) - 1);
}

bool uni_is_word(uint32_t cp)
{
	if (cp >= UNI_END) return false;
	uint32_t cats = CATS(LU, ME) | CAT(NL) | CAT(ND) | CAT(PC);
	return cats >> run_of(uni_cat_run, COUNT(uni_cat_run), 5, cp) & 1 ||
	       uset_has(UNI_SET(uni_other_alpha), cp) || uset_has(UNI_SET(uni_is_joincontrol), cp);
}

int uni_script(uint32_t cp)
{
	if (cp == ' ' || cp >= UNI_END || uset_has(UNI_SET(uni_no_script), cp)) return 0;
	if (cp == 0x30FC) return UNI_HAN;
	for (size_t i = 0; i < COUNT(uni_moved); i++)
		if (uni_moved[i].cp == cp) return uni_moved[i].script;
	int script = (int)run_of(uni_script_run, COUNT(uni_script_run), 8, cp);
	return script == UNI_HIRAGANA || script == UNI_KATAKANA ? UNI_HAN : script;
}
