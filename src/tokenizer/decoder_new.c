/* decoder_new.c - a decoder from its JSON. */
#include "tokenizer/decoder_impl.h"
#include <string.h>

enum { MAX_DEPTH = 64, MAX_CUT = 1 << 20 };

const char *const decoder_cleanup[][2] = {
	{ " .", "." },   { " ?", "?" },     { " !", "!" },     { " ,", "," },
	{ " ' ", "'" },  { " n't", "n't" }, { " 'm", "'m" },   { " do not", " don't" },
	{ " 's", "'s" }, { " 've", "'ve" }, { " 're", "'re" }, { NULL, NULL },
};

struct build {
	struct decoder *d;
	bool flow; /* pieces of one token come from here on */
	struct lm_err *err;
};

static int too_many(struct build *b)
{
	return lm_fail(b->err, LM_ELIMIT, "decoder: more than %d steps or %d that remember something",
		       DECODER_STEPS, DECODER_NUM);
}

/* A new step, or NULL and a sentence. */
static struct decoder_step *add(struct build *b, enum decoder_op op, int nums)
{
	if (b->d->n == DECODER_STEPS || b->d->n_num + nums > DECODER_NUM) {
		too_many(b);
		return NULL;
	}
	struct decoder_step *st = &b->d->step[b->d->n++];
	*st = (struct decoder_step){ .op = op, .num = b->d->n_num };
	b->d->n_num += nums;
	return st;
}

static int no_pieces(struct build *b, const struct spec_of *f)
{
	return lm_fail(b->err, LM_EUNSUPPORTED, "decoder %s after Fuse or ByteLevel is not supported",
		       f->type);
}

static bool has(const struct build *b, enum decoder_op op)
{
	for (int i = 0; i < b->d->n; i++)
		if (b->d->step[i].op == op) return true;
	return false;
}

/* ---- steps over pieces ---- */

/* Longest proper border of each beginning of the pattern (Knuth, Morris and Pratt). */
static int flow_ready(struct build *b, struct decoder_step *st)
{
	const struct replace *r = &st->replace;
	if (r->re || r->n_pat == 0)
		return lm_fail(b->err, LM_EUNSUPPORTED,
			       "decoder: to replace %s after Fuse or ByteLevel is not supported",
			       r->re ? "a regular expression" : "an empty pattern");
	st->fail = lm_calloc(r->n_pat + 1, sizeof *st->fail);
	if (!st->fail) return lm_fail(b->err, LM_ENOMEM, "out of memory for a decoder");
	for (size_t i = 1, k = 0; i < r->n_pat; i++) {
		while (k && r->pat[i] != r->pat[k]) k = st->fail[k];
		if (r->pat[i] == r->pat[k]) k++;
		st->fail[i + 1] = (uint16_t)k;
	}
	return 0;
}

static int flow_literal(struct build *b, const char *pat, size_t n_pat, const char *put, size_t n_put)
{
	if (n_pat == 0 && n_put == 0) return 0;
	struct decoder_step *st = add(b, OP_FLOW_REPLACE, 1);
	if (!st) return LM_ELIMIT;
	int rc = replace_literal(&st->replace, pat, n_pat, put, n_put, b->err);
	return rc ? rc : flow_ready(b, st);
}

static int flow_cleanup(struct build *b)
{
	int rc = 0;
	for (int i = 0; rc == 0 && decoder_cleanup[i][0]; i++)
		rc = flow_literal(b, decoder_cleanup[i][0], strlen(decoder_cleanup[i][0]),
				  decoder_cleanup[i][1], strlen(decoder_cleanup[i][1]));
	return rc;
}

/* ---- the types ---- */
static int read_letters(struct build *b, const struct spec_of *f)
{
	if (b->flow) return no_pieces(b, f);
	b->flow = true;
	return add(b, OP_LETTERS, 1) ? 0 : LM_ELIMIT;
}

static int read_bytes(struct build *b, const struct spec_of *f)
{
	if (b->flow) return no_pieces(b, f);
	if (has(b, OP_BYTES))
		return lm_fail(b->err, LM_EUNSUPPORTED, "decoder: ByteFallback twice is not supported");
	return add(b, OP_BYTES, 0) ? 0 : LM_ELIMIT;
}

static int read_fuse(struct build *b, const struct spec_of *f)
{
	(void)f;
	b->flow = true;
	return 0;
}

/* A field that is one character. */
static int read_char(struct build *b, const struct spec_of *f, const char *name, const char **s, size_t *n)
{
	uint32_t cp;
	int rc = spec_str(s, n, f, name, b->err);
	if (rc) return rc;
	if (*n == 0 || (size_t)lm_utf8_next(*s, *n, &cp) != *n)
		return spec_wrong(f, name, "one character", b->err);
	return 0;
}

static int read_strip(struct build *b, const struct spec_of *f)
{
	const char *s;
	size_t n;
	int64_t start, stop;
	int rc = read_char(b, f, "content", &s, &n);
	if (rc == 0) rc = spec_int(&start, f, "start", MAX_CUT, b->err);
	if (rc == 0) rc = spec_int(&stop, f, "stop", MAX_CUT, b->err);
	if (rc) return rc;
	struct decoder_step *st = add(b, b->flow ? OP_FLOW_STRIP : OP_STRIP, b->flow ? 2 : 0);
	if (!st) return LM_ELIMIT;
	memcpy(st->c, s, n);
	st->n_c = (int)n;
	st->start = (uint32_t)start;
	st->stop = (uint32_t)stop;
	return 0;
}

static int read_replace(struct build *b, const struct spec_of *f)
{
	struct decoder_step *st = add(b, b->flow ? OP_FLOW_REPLACE : OP_REPLACE, b->flow ? 1 : 0);
	if (!st) return LM_ELIMIT;
	int rc = replace_new(&st->replace, f, b->err);
	return rc || !b->flow ? rc : flow_ready(b, st);
}

static int read_mark(struct build *b, const struct spec_of *f)
{
	const char *s, *scheme = "always";
	size_t n;
	int rc = read_char(b, f, "replacement", &s, &n);
	if (rc) return rc;
	const json_t *v = json_object_get(f->spec, "prepend_scheme"),
		     *old = json_object_get(f->spec, "add_prefix_space");
	if (v && !json_is_string(v)) return spec_wrong(f, "prepend_scheme", "a string", b->err);
	if (v) scheme = json_string_value(v);
	bool never = strcmp(scheme, "never") == 0;
	if (!never && strcmp(scheme, "always") != 0 && strcmp(scheme, "first") != 0)
		return lm_fail(
			b->err, LM_EFORMAT,
			"decoder Metaspace: prepend_scheme must be always, first or never, found \"%.40s\"",
			scheme);
	if (old && !json_is_boolean(old) && !json_is_null(old))
		return spec_wrong(f, "add_prefix_space", "true or false", b->err);
	if (json_is_false(old) && v && !never)
		return lm_fail(b->err, LM_EFORMAT,
			       "decoder Metaspace: add_prefix_space is false but prepend_scheme is %.40s",
			       scheme);
	if (json_is_false(old)) never = true;
	if (b->flow) return flow_literal(b, s, n, " ", never ? 1 : 0);
	struct decoder_step *st = add(b, OP_MARK, 0);
	if (!st) return LM_ELIMIT;
	st->never = never;
	return replace_literal(&st->replace, s, n, " ", 1, b->err);
}

static int read_word(struct build *b, const struct spec_of *f)
{
	const char *s;
	size_t n;
	bool cleanup;
	int rc = spec_str(&s, &n, f, "prefix", b->err);
	if (rc == 0) rc = spec_bool(&cleanup, f, "cleanup", b->err);
	if (rc) return rc;
	if (b->flow) return cleanup ? flow_cleanup(b) : 0;
	struct decoder_step *st = add(b, OP_WORD, 0);
	if (!st) return LM_ELIMIT;
	st->cleanup = cleanup;
	return replace_literal(&st->replace, s, n, "", 0, b->err);
}

static int read_suffix(struct build *b, const struct spec_of *f)
{
	const char *s;
	size_t n;
	int rc = spec_str(&s, &n, f, "suffix", b->err);
	if (rc) return rc;
	if (b->flow) return flow_literal(b, s, n, "", 0);
	if (has(b, OP_SUFFIX))
		return lm_fail(b->err, LM_EUNSUPPORTED, "decoder: BPEDecoder twice is not supported");
	struct decoder_step *st = add(b, OP_SUFFIX, 0);
	return st ? replace_literal(&st->replace, s, n, " ", 1, b->err) : LM_ELIMIT;
}

static int read_ctc(struct build *b, const struct spec_of *f)
{
	const char *pad, *mark;
	size_t n_pad, n_mark;
	bool cleanup;
	int rc = spec_str(&pad, &n_pad, f, "pad_token", b->err);
	if (rc == 0) rc = spec_str(&mark, &n_mark, f, "word_delimiter_token", b->err);
	if (rc == 0) rc = spec_bool(&cleanup, f, "cleanup", b->err);
	if (rc) return rc;
	if (b->flow) {
		rc = flow_literal(b, pad, n_pad, "", 0);
		if (rc == 0 && cleanup) rc = flow_cleanup(b);
		return rc || !cleanup ? rc : flow_literal(b, mark, n_mark, " ", 1);
	}
	struct decoder_step *st = add(b, OP_CTC, 2);
	if (!st) return LM_ELIMIT;
	st->cleanup = cleanup;
	rc = replace_literal(&st->replace, pad, n_pad, "", 0, b->err);
	return rc ? rc : replace_literal(&st->mark, mark, n_mark, " ", 1, b->err);
}

static const struct {
	const char *type;
	int (*read)(struct build *b, const struct spec_of *f);
} kinds[] = {
	{ "ByteLevel", read_letters }, { "ByteFallback", read_bytes }, { "Fuse", read_fuse },
	{ "Strip", read_strip },       { "Replace", read_replace },    { "Metaspace", read_mark },
	{ "WordPiece", read_word },    { "BPEDecoder", read_suffix },  { "CTC", read_ctc },
};

static int read_one(struct build *b, const json_t *spec, int depth)
{
	struct spec_of f = { "decoder", spec_type("decoder", spec, b->err), spec };
	const json_t *list;
	if (!f.type) return LM_EFORMAT;
	if (depth > MAX_DEPTH)
		return lm_fail(b->err, LM_ELIMIT, "decoder: nested more than %d deep", MAX_DEPTH);
	if (strcmp(f.type, "Sequence") == 0) {
		int rc = spec_array(&list, &f, "decoders", b->err);
		for (size_t i = 0; rc == 0 && i < json_array_size(list); i++)
			rc = read_one(b, json_array_get(list, i), depth + 1);
		return rc;
	}
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(kinds[i].type, f.type) == 0) return kinds[i].read(b, &f);
	return lm_fail(b->err, LM_EUNSUPPORTED, "decoder \"%.60s\": this type is not known", f.type);
}

static int read_spm(struct decoder *d, const json_t *spec, struct lm_err *err)
{
	d->spm = lm_calloc(1, sizeof *d->spm);
	return d->spm ? decoder_spm_read(d->spm, spec, err)
		      : lm_fail(err, LM_ENOMEM, "out of memory for a decoder");
}

int decoder_new(struct decoder **out, const json_t *spec, struct lm_err *err)
{
	*out = NULL;
	struct build b = { .d = lm_calloc(1, sizeof *b.d), .err = err };
	if (!b.d) return lm_fail(err, LM_ENOMEM, "out of memory for a decoder");
	int rc = 0;
	const char *type = json_string_value(json_object_get(spec, "type"));
	if (!spec || json_is_null(spec))
		add(&b, OP_JOIN, 0);
	else if (type && !strcmp(type, "SentencePiece"))
		rc = read_spm(b.d, spec, err);
	else
		rc = read_one(&b, spec, 0);
	if (rc)
		decoder_free(b.d);
	else
		*out = b.d;
	return rc;
}

void decoder_free(struct decoder *d)
{
	if (!d) return;
	if (d->spm) decoder_spm_free(d->spm);
	lm_free(d->spm);
	for (int i = 0; i < d->n; i++) {
		replace_free(&d->step[i].replace);
		replace_free(&d->step[i].mark);
		lm_free(d->step[i].fail);
	}
	lm_free(d);
}
