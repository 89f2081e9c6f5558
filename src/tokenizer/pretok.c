/* pretok.c - see pretok.h.  One byte per character: < 0x80 is ASCII itself, 0x80 | flags << 4 | class any
 * other; the flags say in which of the pattern's own character ranges (\p{x1}, \p{x2}, \p{x4}) it lies.
 * GOTCHAS: a sequence of patterns applies each to the pieces that the one before left, and a piece's end is
 * the subject's end for lookahead.  "Digits, then GPT2" is one pattern here: a digit also ends a run of
 * spaces. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/pretok.h"
#include "tokenizer/unicode_table.h"
#include <pcre2.h>
#include <string.h>

/* The classes of tools/make_unicode.py; LONG_S is a letter (Ll) that folds to s. */
enum cls { C_OTHER, C_SPACE, C_LU, C_LL, C_LT, C_LM, C_LO, C_M, C_ND, C_NO, C_P, C_S, C_LONG_S, N_CLS };
enum { MAX_STAGES = 6, MAX_SETS = 3 };
#define BITS(a, b) ((2u << (b)) - (1u << (a)))

static const struct prop {
	const char *name, *ascii;        /* as it stands inside [] */
	unsigned classes, flag, no_flag; /* flags a symbol must have, and must not have */
} props[] = {
	{"L", "A-Za-z", BITS(C_LU, C_LO) | 1u << C_LONG_S, 0, 0},
	{"Lu", "A-Z", 1u << C_LU, 0, 0},
	{"Ll", "a-z", 1u << C_LL | 1u << C_LONG_S, 0, 0},
	{"Lt", "", 1u << C_LT, 0, 0},
	{"Lm", "", 1u << C_LM, 0, 0},
	{"Lo", "", 1u << C_LO, 0, 0},
	{"M", "", 1u << C_M, 0, 0},
	{"N", "0-9", BITS(C_ND, C_NO), 0, 0},
	{"P", "\\x21-\\x23\\x25-\\x2a\\x2c-\\x2f\\x3a\\x3b\\x3f\\x40\\x5b-\\x5d\\x5f\\x7b\\x7d", 1u << C_P, 0,
	 0},
	{"early_P", "\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e", 1u << C_P, 0,
	 1}, /* with all of ASCII's */
	{"S", "\\x24\\x2b\\x3c-\\x3e\\x5e\\x60\\x7c\\x7e", 1u << C_S, 0, 0},
	{"s", "\\x09-\\x0d\\x20", 1u << C_SPACE, 0, 0},
	{"long_s", "", 1u << C_LONG_S, 0, 0},
	{"x1", "", BITS(0, N_CLS - 1), 1, 0},
	{"x2", "", BITS(0, N_CLS - 1), 2, 0},
	{"x4", "", BITS(0, N_CLS - 1), 4, 0},
};

/* Pairs lo, hi, ascending. */
struct set {
	const uint32_t *range;
	size_t n;
};
#define SET(a)                                                                                               \
	{                                                                                                    \
		a, sizeof(a) / sizeof *(a)                                                                   \
	}
static const uint32_t ds3_cjk[] = {0x3040, 0x30FF, 0x4E00, 0x9FA5};
static const uint32_t ds_cjk[] = {0x800, 0x9FA5, 0xAC00, 0xD7FF};
static const uint32_t ds_punct[] = {0x2018, 0x201F, 0x3000, 0x3002, 0xFF01, 0xFF0F, 0xFF1A, 0xFF5E};
static const uint32_t bloom_stop[] = {0x60C,  0x60C,  0x6D4,  0x6D4,  0x964,  0x964,
				      0x2026, 0x2026, 0x3001, 0x3002, 0xFF0C, 0xFF0C};
/* Letters of the scripts with two cases, as the model's own pattern lists them. */
static const uint32_t ds_letter[] = {
	0xB5,    0xB5,    0xC0,    0xD6,    0xD8,    0xF6,    0xF8,    0x1BA,   0x1BC,   0x1BF,   0x1C4,
	0x293,   0x295,   0x2AF,   0x370,   0x373,   0x376,   0x377,   0x37B,   0x37D,   0x37F,   0x37F,
	0x386,   0x386,   0x388,   0x38A,   0x38C,   0x38C,   0x38E,   0x3A1,   0x3A3,   0x3F5,   0x3F7,
	0x481,   0x48A,   0x52F,   0x531,   0x556,   0x10A0,  0x10C5,  0x13A0,  0x13F5,  0x13F8,  0x13FD,
	0x1C90,  0x1CBA,  0x1CBD,  0x1CBF,  0x1D00,  0x1D2B,  0x1D6B,  0x1D77,  0x1D79,  0x1D9A,  0x1E00,
	0x1F15,  0x1F18,  0x1F1D,  0x1F20,  0x1F45,  0x1F48,  0x1F4D,  0x1F50,  0x1F57,  0x1F59,  0x1F59,
	0x1F5B,  0x1F5B,  0x1F5D,  0x1F5D,  0x1F5F,  0x1F7D,  0x1F80,  0x1FB4,  0x1FB6,  0x1FBC,  0x1FBE,
	0x1FBE,  0x1FC2,  0x1FC4,  0x1FC6,  0x1FCC,  0x1FD0,  0x1FD3,  0x1FD6,  0x1FDB,  0x1FE0,  0x1FEC,
	0x1FF2,  0x1FF4,  0x1FF6,  0x1FFC,  0x2102,  0x2102,  0x2107,  0x2107,  0x210A,  0x2113,  0x2115,
	0x2115,  0x2119,  0x211D,  0x2124,  0x2124,  0x2126,  0x2126,  0x2128,  0x2128,  0x212A,  0x212D,
	0x212F,  0x2134,  0x2139,  0x2139,  0x213C,  0x213F,  0x2145,  0x2149,  0x214E,  0x214E,  0x2183,
	0x2184,  0x2C00,  0x2C7B,  0x2C7E,  0x2CE4,  0x2CEB,  0x2CEE,  0x2CF2,  0x2CF3,  0xA640,  0xA66D,
	0xA680,  0xA69B,  0xA722,  0xA76F,  0xA771,  0xA787,  0xA78B,  0xA78E,  0xAB70,  0xABBF,  0xFB00,
	0xFB06,  0xFB13,  0xFB17,  0xFF21,  0xFF3A,  0xFF41,  0xFF5A,  0x10400, 0x1044F, 0x104B0, 0x104D3,
	0x104D8, 0x104FB, 0x10C80, 0x10CB2, 0x10CC0, 0x10CF2, 0x118A0, 0x118DF, 0x1E900, 0x1E943,
};

#define APOS        "'(?i:[s\\p{long_s}]|t|re|ve|m|ll|d)"
#define SPACES      "\\s+(?!\\S)|\\s+"
#define NEWLINES    "\\s*[\\r\\n]+|" SPACES
#define GPT2        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|" SPACES
#define DIGITS_GPT2 "\\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?![^\\s\\p{N}])|\\s+"
#define WORD        "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define QWEN(num)   APOS "|" WORD num "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" NEWLINES
#define UPPER       "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER       "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(apos, num)                                                                                     \
	"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" apos "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" apos \
	"|" num "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" NEWLINES
#define BLOOM " ?[^(\\s|.,!?)\\p{x1}]+"

/* Names share a row when pattern and flags are the same. */
/* clang-format off */
static const struct row {
	const char *names; /* each between spaces */
	unsigned flags;
	int byte_stage; /* the stages from this on see the UTF-8 bytes of their piece; 0: none */
	struct set set[MAX_SETS];
	const char *stage[MAX_STAGES];
} rows[] = {
	{ .names = " gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jais"
		   " trillion granite-docling exaone4 ", .stage = { GPT2 } },
	{ .names = " jina-v1-en jina-v2-code roberta-bpe ", .flags = PRE_SEP, .stage = { GPT2 } },
	{ .names = " mpt olmo ", .flags = PRE_NFC, .stage = { GPT2 } },
	{ .names = " starcoder refact smollm codeshell exaone minerva-7b mellum2 ", .stage = { DIGITS_GPT2 } },
	{ .names = " command-r ", .flags = PRE_NFC, .stage = { DIGITS_GPT2 } },
	{ .names = " llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano ",
	  .flags = PRE_IGNORE_MERGES | PRE_BOS, .stage = { QWEN("\\p{N}{1,3}") } },
	{ .names = " dbrx smaug-bpe ", .stage = { QWEN("\\p{N}{1,3}") } },
	{ .names = " chatglm-bpe glm4 glm5 ", .flags = PRE_IGNORE_MERGES, .stage = { QWEN("\\p{N}{1,3}") } },
	{ .names = " qwen2 ", .flags = PRE_NFC, .stage = { QWEN("\\p{N}") } },
	{ .names = " deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2 ",
	  .stage = { QWEN("\\p{N}") } },
	{ .names = " qwen35 ", .flags = PRE_NFC,
	  .stage = { APOS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|"
		     NEWLINES } },
	{ .names = " gpt-4o llama4 kanana2 talkie minimax-m2 ", .stage = { CASED("(?:" APOS ")?", "\\p{N}{1,3}") } },
	{ .names = " tekken ", .flags = PRE_IGNORE_MERGES | PRE_BOS, .stage = { CASED("", "\\p{N}") } },
	{ .names = " deepseek-v3 hunyuan-dense joyai-llm hy_v4 ", .set = { SET(ds3_cjk) },
	  .stage = { "\\p{N}{1,3}", "\\p{x1}+",
		     "[!-/:-@\\[-`{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|"
		     NEWLINES } },
	{ .names = " deepseek-coder ", .set = { SET(ds_cjk) },
	  .stage = { "[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "\\p{x1}+", "\\p{N}" } },
	{ .names = " deepseek-llm ", .set = { SET(ds_letter), SET(ds_punct), SET(ds_cjk) },
	  .stage = { "[\\r\\n]", "\\s?[A-Za-z\\p{x1}]+", "\\s?[!-/:-~\\p{x2}]+", "\\s+$", "\\p{x4}+", "\\p{N}" } },
	/* its digits are looked for in the byte-level alphabet, where the bytes B2, B3, B9, BC-BE are numbers */
	{ .names = " falcon ", .set = { SET(uni_late) }, .byte_stage = 2,
	  .stage = { "[\\p{early_P}]+", GPT2, "[0-9\\xB2\\xB3\\xB9\\xBC-\\xBE]+", "[0-9][0-9][0-9]" } },
	/* what GGUF files without a name are run with elsewhere */
	{ .names = " default ", .stage = { "[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]" } },
	{ .names = " bloom poro-chat gpt3-finnish ", .set = { SET(bloom_stop) }, .stage = { BLOOM } },
	{ .names = " viking ", .set = { SET(bloom_stop) }, .stage = { BLOOM, "\\p{N}" } },
	{ .names = " bailingmoe bailingmoe2 llada-moe ",
	  .stage = { "'(?i:[sdmt\\p{long_s}]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}|"
		     " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|" SPACES } },
	{ .names = " seed-coder ", .stage = { APOS "|" WORD "\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" NEWLINES } },
	{ .names = " minicpm5 ", .stage = { "\\p{N}{1,3}", QWEN("\\p{N}+") } },
};
/* clang-format on */
enum { N_ROWS = sizeof rows / sizeof *rows };

struct pretok {
	const struct row *row;
	pcre2_code *code[MAX_STAGES];
	bool jit[MAX_STAGES];
	int n;
	pcre2_match_context *match;
	pcre2_general_context *heap;
};

/* ---- classes ---------------------------------------------------------------------------------------------
 */

static unsigned class_of(uint32_t cp)
{
	size_t lo = 0, hi = sizeof uni_run / sizeof *uni_run;
	while (hi - lo > 1) {
		size_t mid = (lo + hi) / 2;
		if (uni_run[mid] >> 4 <= cp)
			lo = mid;
		else
			hi = mid;
	}
	return uni_run[lo] & 15;
}

bool pretok_is_space(uint32_t cp)
{
	return cp < 0x80 ? cp == ' ' || (cp >= 9 && cp <= 13) : class_of(cp) == C_SPACE;
}

static bool in_set(const struct set *s, uint32_t cp)
{
	size_t lo = 0, hi = s->n / 2; /* the first pair whose end is not below cp */
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (s->range[2 * mid + 1] < cp)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->n / 2 && s->range[2 * lo] <= cp;
}

static char symbol(const struct row *r, uint32_t cp)
{
	unsigned v = 0x80 | class_of(cp);
	for (int i = 0; i < MAX_SETS && r->set[i].n; i++)
		if (in_set(&r->set[i], cp)) v |= 16u << i;
	return (char)v;
}

/* ---- patterns --------------------------------------------------------------------------------------------
 */

static void add_prop(struct lm_buf *b, const char *name, size_t n, unsigned flags)
{
	for (size_t i = 0; i < sizeof props / sizeof *props; i++) {
		const struct prop *p = &props[i];
		if (strlen(p->name) != n || memcmp(p->name, name, n)) continue;
		lm_buf_str(b, p->ascii);
		for (unsigned f = 0; f <= flags; f++)
			for (unsigned c = 0; c < N_CLS; c++)
				if ((f & p->flag) == p->flag && !(f & p->no_flag) && p->classes >> c & 1)
					lm_buf_char(b, (char)(0x80 | f << 4 | c));
		return;
	}
	b->bad = true; /* no such property: a slip in the table above, found by the test that walks it */
}

/* Writes \p{..}, \s and \S out as sets of bytes. */
static void expand(struct lm_buf *b, const char *pat, unsigned flags)
{
	bool in = false; /* inside [] */
	for (const char *p = pat; *p; p++) {
		if (*p == '[' || *p == ']') in = *p == '[';
		if (*p != '\\') {
			lm_buf_char(b, *p);
			continue;
		}
		p++;
		if (*p != 'p' && *p != 's' && *p != 'S') {
			lm_buf_char(b, '\\');
			lm_buf_char(b, *p);
			continue;
		}
		if (!in) lm_buf_str(b, *p == 'S' ? "[^" : "[");
		if (*p == 'p') {
			const char *end = strchr(p, '}');
			add_prop(b, p + 2, (size_t)(end - p - 2), flags);
			p = end;
		} else {
			add_prop(b, "s", 1, flags);
		}
		if (!in) lm_buf_char(b, ']');
	}
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

static int compile(struct pretok *p, const char *pat, struct lm_err *err)
{
	struct lm_buf b = {0};
	unsigned flags = 0;
	for (int i = 0; i < MAX_SETS && p->row->set[i].n; i++) flags |= 1u << i;
	expand(&b, pat, flags);
	pcre2_compile_context *cc = pcre2_compile_context_create(p->heap);
	int code = 0;
	PCRE2_SIZE at = 0;
	pcre2_code *re = NULL;
	if (cc && !b.bad) re = pcre2_compile((PCRE2_SPTR)b.p, b.n, 0, &code, &at, cc);
	pcre2_compile_context_free(cc);
	lm_buf_free(&b);
	if (!re && code && code != PCRE2_ERROR_HEAP_FAILED)
		return lm_fail(err, LM_EINVAL, "pre-tokenizer pattern %s: PCRE2 error %d at %zu", pat, code,
			       at);
	if (!re) return lm_fail(err, LM_ENOMEM, "out of memory for a pre-tokenizer pattern");
	/* where code cannot be made at run time pcre2_match interprets: slower, same answer */
	p->jit[p->n] = pcre2_jit_compile(re, PCRE2_JIT_COMPLETE) == 0;
	p->code[p->n++] = re;
	return 0;
}

static const struct row *find_row(const char *name, size_t len)
{
	char word[64];
	if (len == 0 || len > sizeof word - 3 || memchr(name, ' ', len) || memchr(name, 0, len)) return NULL;
	word[0] = ' ';
	memcpy(word + 1, name, len);
	memcpy(word + 1 + len, " ", 2);
	for (int i = 0; i < N_ROWS; i++)
		if (strstr(rows[i].names, word)) return &rows[i];
	return NULL;
}

int pretok_new(struct pretok **out, unsigned *flags, const char *name, size_t len, struct lm_err *err)
{
	const struct row *row = find_row(name, len);
	if (!row)
		return lm_fail(err, LM_EUNSUPPORTED,
			       "tokenizer.ggml.pre: the pre-tokenizer \"%.*s\" is not supported",
			       (int)(len < 64 ? len : 64), name);
	struct pretok *p = lm_calloc(1, sizeof *p);
	if (!p) return lm_fail(err, LM_ENOMEM, "out of memory for the pre-tokenizer");
	p->row = row;
	int rc = 0;
	p->heap = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
	if (p->heap) p->match = pcre2_match_context_create(p->heap);
	if (!p->match) rc = lm_fail(err, LM_ENOMEM, "out of memory for the pre-tokenizer");
	for (int i = 0; !rc && i < MAX_STAGES && row->stage[i]; i++) rc = compile(p, row->stage[i], err);
	if (rc) {
		pretok_free(p);
		return rc;
	}
	/* The patterns of the table are linear and do not recurse; the limits are for what we did not
	 * foresee. */
	pcre2_set_match_limit(p->match, 100000000);
	pcre2_set_depth_limit(p->match, 100000000);
	pcre2_set_heap_limit(p->match, 1 << 20); /* KiB, used by the interpreter only */
	*flags = row->flags;
	*out = p;
	return 0;
}

void pretok_free(struct pretok *p)
{
	if (!p) return;
	for (int i = 0; i < p->n; i++) pcre2_code_free(p->code[i]);
	pcre2_match_context_free(p->match);
	pcre2_general_context_free(p->heap);
	lm_free(p);
}

void pretok_work_free(struct pretok_work *w)
{
	lm_free(w->cls);
	pcre2_match_data_free(w->match);
	*w = (struct pretok_work){0};
}

const char *pretok_name(int i, size_t *len)
{
	for (int r = 0; r < N_ROWS; r++)
		for (const char *p = rows[r].names + 1; *p; p += *len + 1) {
			*len = strcspn(p, " ");
			if (i-- == 0) return p;
		}
	return NULL;
}

/* ---- splitting -------------------------------------------------------------------------------------------
 */

struct split {
	const struct pretok *p;
	struct pretok_work *w;
	const char *text, *cls;
	size_t at, byte; /* how many characters are given out, and where the next begins in text */
	bool ascii;
	pretok_fn *fn;
	void *ud;
	struct lm_err *err;
};

static void advance(struct split *s, size_t hi)
{
	size_t n = hi - s->at;
	if (s->ascii) s->byte += n, n = 0;
	for (; n; n--) {
		unsigned char c = (unsigned char)s->text[s->byte]; /* valid UTF-8: the lead byte tells the length */
		s->byte += c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
	}
	s->at = hi;
}

/* The characters [s->at, hi) are a word. */
static int give(struct split *s, size_t hi)
{
	size_t begin = s->byte;
	advance(s, hi);
	return s->fn(s->ud, s->text + begin, s->byte - begin);
}

static int stage(struct split *s, int k, size_t lo, size_t hi);

/* The rest of the stages over the bytes of the characters [s->at, hi). */
static int stage_bytes(struct split *s, int k, size_t hi)
{
	struct split sub = *s;
	sub.text = sub.cls = s->text + s->byte;
	sub.ascii = true;
	sub.at = sub.byte = 0;
	advance(s, hi);
	return stage(&sub, k, 0, (size_t)(s->text + s->byte - sub.text));
}

static int stage(struct split *s, int k, size_t lo, size_t hi)
{
	if (lo == hi) return 0;
	if (k == s->p->n) return give(s, hi);
	if (!s->ascii && k && k == s->p->row->byte_stage) return stage_bytes(s, k, hi);
	const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(s->w->match);
	size_t from = lo, at = lo; /* first character not given out; where to search */
	while (at < hi) {
		int (*match)(const pcre2_code *, PCRE2_SPTR, PCRE2_SIZE, PCRE2_SIZE, uint32_t,
			     pcre2_match_data *, pcre2_match_context *) =
			s->p->jit[k] ? pcre2_jit_match : pcre2_match;
		int rc = match(s->p->code[k], (PCRE2_SPTR)s->cls + lo, hi - lo, at - lo, 0, s->w->match,
			       s->p->match);
		if (rc == PCRE2_ERROR_NOMATCH) break;
		if (rc < 0)
			return lm_fail(
				s->err, rc == PCRE2_ERROR_NOMEMORY ? LM_ENOMEM : LM_ELIMIT,
				"the text is too much for the pre-tokenizer's pattern (PCRE2 error %d)", rc);
		size_t begin = lo + ov[0], end = lo + ov[1];
		rc = stage(s, k + 1, from, begin);
		if (!rc) rc = stage(s, k + 1, begin, end);
		if (rc) return rc;
		from = end;
		at = end > at ? end : at + 1;
	}
	return stage(s, k + 1, from, hi);
}

int pretok_split(const struct pretok *p, struct pretok_work *w, const char *s, size_t n, pretok_fn *fn,
		 void *ud, struct lm_err *err)
{
	struct split sp = {
		.p = p, .w = w, .text = s, .cls = s, .fn = fn, .ud = ud, .err = err, .ascii = true};
	if (!w->match) w->match = pcre2_match_data_create(1, p->heap);
	if (!w->match) return lm_fail(err, LM_ENOMEM, "out of memory for the pre-tokenizer");
	for (size_t i = 0; i < n && sp.ascii; i++) sp.ascii = !(s[i] & 0x80);
	if (sp.ascii) return stage(&sp, 0, 0, n);
	if (w->cap < n) {
		char *p_new = lm_realloc(w->cls, n);
		if (!p_new) return lm_fail(err, LM_ENOMEM, "out of memory for the pre-tokenizer");
		w->cls = p_new;
		w->cap = n;
	}
	size_t n_cls = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp = (unsigned char)s[i];
		if (cp < 0x80)
			i++;
		else
			i += (size_t)lm_utf8_next(s + i, n - i, &cp);
		w->cls[n_cls++] = cp < 0x80 ? (char)cp : symbol(p->row, cp);
	}
	sp.cls = w->cls;
	return stage(&sp, 0, 0, n_cls);
}
