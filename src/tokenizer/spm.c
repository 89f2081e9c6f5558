/* spm.c - a tokenizer from a tokenizer.model: a SentencePiece model as one protobuf message (sentencepiece_model.proto
 * of google/sentencepiece), read in place.
 *
 * GOTCHAS (the library's rules, not ours):
 *  - roles are looked up by the texts of trainer_spec (bos_piece, ...), its ids only say what training did.
 * *  - user-defined symbols are cut out of the *normalized* text (BPE, characters), or preferred in the lattice
 *    (unigram), or nothing but words (word); the normalizer leaves them alone in the raw text.
 *  - the whole text is one "word"; neighbouring unknown pieces are one unknown token. */
#include "tokenizer/folder.h"
#include "tokenizer/pb.h"
#include "tokenizer/tok_impl.h"
#include <math.h>
#include <string.h>

enum { MAX_PIECES = 1 << 22 };
enum { SPM_UNIGRAM = 1, SPM_BPE, SPM_WORD, SPM_CHAR };
enum { PIECES = 1, TRAINER = 2, NORMALIZER = 3, DENORMALIZER = 5 };        /* fields of ModelProto */

struct view { const char *s; size_t n; };
struct spm_piece { struct view text; float score; int type; };
struct spm_norm { struct view charsmap; bool dummy, remove, escape; };
struct spm {
	const char *path;
	struct spm_piece *piece;
	int n, model, unk;
	bool suffix, bytes;
	struct view role[TOK_MASK + 1], unk_surface;
	struct spm_norm norm, denorm;
	struct lm_err *err;
};

/* ---- the message ----------------------------------------------------------------------------------------- */
static int broken(const struct spm *m, const char *what)
{
	return lm_fail(m->err, LM_EFORMAT, "%s: %s is no SentencePiece message: its bytes end early or have no sense",
		       m->path, what);
}

static struct view text_of(const struct pb_field *f) { return (struct view){ (const char *)f->p, f->n }; }

static float float_of(uint64_t bits)
{
	uint32_t u = (uint32_t)bits;
	float v;
	memcpy(&v, &u, sizeof v);
	return v;
}

static int read_piece(struct spm *m, int i, const struct pb_field *msg)
{
	struct pb r = pb_begin(msg->p, msg->n);
	struct spm_piece *p = &m->piece[i];
	struct pb_field f;
	p->type = TYPE_NORMAL;
	while (pb_next(&r, &f))
		if (f.num == 1 && f.wire == PB_BYTES) p->text = text_of(&f);
		else if (f.num == 2 && f.wire == PB_FIXED32) p->score = float_of(f.v);
		else if (f.num == 3 && f.wire == PB_VARINT && f.v >= TYPE_NORMAL && f.v <= TYPE_BYTE) p->type = (int)f.v;
	if (r.bad) return lm_fail(m->err, LM_EFORMAT, "%s: piece %d is no SentencePiece message", m->path, i);
	if (p->text.n == 0) return lm_fail(m->err, LM_EFORMAT, "%s: piece %d has no text", m->path, i);
	if (isnan(p->score)) return lm_fail(m->err, LM_EFORMAT, "%s: the score of piece %d is no number", m->path, i);
	return 0;
}

static int read_trainer(struct spm *m, const struct pb_field *msg)
{
	static const uint8_t role[] = { [0] = TOK_UNK, [1] = TOK_BOS, [2] = TOK_EOS, [3] = TOK_PAD };
	struct pb r = pb_begin(msg->p, msg->n);
	struct pb_field f;
	while (pb_next(&r, &f)) {
		if (f.wire == PB_VARINT) {
			if (f.num == 3) m->model = f.v <= SPM_CHAR ? (int)f.v : 0;
			if (f.num == 24) m->suffix = f.v != 0;
			if (f.num == 35) m->bytes = f.v != 0;
		}
		if (f.wire == PB_BYTES) {
			if (f.num == 44) m->unk_surface = text_of(&f);
			if (f.num >= 45 && f.num <= 48 && f.n) m->role[role[f.num - 45]] = text_of(&f);
		}
	}
	return r.bad ? broken(m, "trainer_spec") : 0;
}

static int read_norm(struct spm *m, struct spm_norm *o, const struct pb_field *msg, const char *what)
{
	struct pb r = pb_begin(msg->p, msg->n);
	struct pb_field f;
	while (pb_next(&r, &f))
		if (f.num == 2 && f.wire == PB_BYTES) o->charsmap = text_of(&f);
		else if (f.wire == PB_VARINT && f.num == 3) o->dummy = f.v != 0;
		else if (f.wire == PB_VARINT && f.num == 4) o->remove = f.v != 0;
		else if (f.wire == PB_VARINT && f.num == 5) o->escape = f.v != 0;
	return r.bad ? broken(m, what) : 0;
}

static int count_pieces(struct spm *m, const void *data, size_t size)
{
	struct pb r = pb_begin(data, size);
	struct pb_field f;
	while (pb_next(&r, &f)) {
		if (f.num != PIECES || f.wire != PB_BYTES) continue;
		if (m->n == MAX_PIECES)
			return lm_fail(m->err, LM_ELIMIT, "%s has more than %d pieces", m->path, MAX_PIECES);
		m->n++;
	}
	if (r.bad || !m->n)
		return lm_fail(m->err, LM_EFORMAT, "%s is no SentencePiece model: it %s", m->path,
			       r.bad ? "is not a protobuf message" : "has no pieces");
	m->piece = lm_calloc((size_t)m->n, sizeof *m->piece);
	return m->piece ? 0 : lm_fail(m->err, LM_ENOMEM, "out of memory for %d pieces", m->n);
}

static int read_model(struct spm *m, const void *data, size_t size)
{
	struct pb r = pb_begin(data, size);
	struct pb_field f;
	int rc = count_pieces(m, data, size);
	for (int i = 0; !rc && pb_next(&r, &f);) {
		if (f.wire != PB_BYTES) continue;
		if (f.num == PIECES) rc = read_piece(m, i++, &f);
		else if (f.num == TRAINER) rc = read_trainer(m, &f);
		else if (f.num == NORMALIZER) rc = read_norm(m, &m->norm, &f, "normalizer_spec");
		else if (f.num == DENORMALIZER) rc = read_norm(m, &m->denorm, &f, "denormalizer_spec");
	}
	return rc;
}

static bool is_byte_piece(struct view v)
{
	return v.n == 6 && !memcmp(v.s, "<0x", 3) && v.s[5] == '>' && strchr("0123456789ABCDEF", v.s[3]) &&
	       strchr("0123456789ABCDEF", v.s[4]);
}

/* What the library refuses to load. */
static int check(struct spm *m)
{
	int n_bytes = 0;
	m->unk = -1;
	for (int i = 0; i < m->n; i++) {
		const struct spm_piece *p = &m->piece[i];
		if (p->type == TYPE_UNKNOWN && m->unk >= 0)
			return lm_fail(m->err, LM_EFORMAT, "%s: pieces %d and %d are both the unknown one", m->path, m->unk, i);
		if (p->type == TYPE_UNKNOWN) m->unk = i;
		if (p->type != TYPE_BYTE) continue;
		if (!m->bytes || !is_byte_piece(p->text))
			return lm_fail(m->err, LM_EFORMAT, "%s: piece %d is of the type byte, but %s", m->path, i,
				       m->bytes ? "not of the form <0x00>" : "byte_fallback is off");
		n_bytes++;
	}
	if (m->unk < 0) return lm_fail(m->err, LM_EFORMAT, "%s has no piece of the type unknown", m->path);
	if (m->bytes && n_bytes < 256)
		return lm_fail(m->err, LM_EFORMAT, "%s: byte_fallback is on, but only %d of 256 bytes have a piece", m->path,
			       n_bytes);
	if (m->model < SPM_UNIGRAM)
		return lm_fail(m->err, LM_EUNSUPPORTED, "%s: model_type of trainer_spec is none that we know", m->path);
	return 0;
}

/* ---- the model "word": whole words or nothing ------------------------------------------------------------ */
/* A word begins at each mark.  Neighbouring unknown words are one unknown token. */
static int whole_words(const struct tok *t, struct model_work *w, const char *s, size_t n, tok_put *put, void *ud)
{
	bool unknown = false;
	int rc = 0;
	(void)w;
	for (size_t from = 0, to; !rc && from < n; from = to) {
		size_t skip = from + 3 <= n && !memcmp(s + from, MARK, 3) ? 3 : 1;
		const char *next = from + skip < n ? memmem(s + from + skip, n - from - skip, MARK, 3) : NULL;
		to = next ? (size_t)(next - s) : n;
		int32_t id = vocab_id(t, s + from, to - from);
		unsigned type = id >= 0 ? t->piece[id].type : 0;
		if (type == TYPE_UNKNOWN || type == TYPE_CONTROL || type == TYPE_BYTE) id = -1;
		if (id >= 0) rc = put(ud, id);
		else if (t->byte_fallback)
			for (size_t i = from; !rc && i < to; i++) rc = put(ud, t->byte_id[(uint8_t)s[i]]);
		else if (!unknown) rc = put(ud, t->unk);
		unknown = id < 0;
	}
	return rc;
}
static const struct model model_whole_words = { .word = whole_words };

/* ---- the parts, in the words of tokenizer.json ----------------------------------------------------------- */
static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static json_t *charsmap(struct view v)
{
	struct lm_buf b = { 0 };
	const uint8_t *p = (const uint8_t *)v.s;
	for (size_t i = 0; i < v.n; i += 3) {
		uint32_t x = (uint32_t)p[i] << 16 | (i + 1 < v.n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < v.n ? p[i + 2] : 0);
		char c[4] = { base64[x >> 18], base64[x >> 12 & 63], i + 1 < v.n ? base64[x >> 6 & 63] : '=',
			      i + 2 < v.n ? base64[x & 63] : '=' };
		lm_buf_add(&b, c, 4);
	}
	json_t *s = b.bad ? NULL : json_stringn(b.p ? b.p : "", b.n);
	lm_buf_free(&b);
	return s;
}

/* Texts that the normalizer leaves alone; those that are no UTF-8 cannot occur. */
static json_t *user_defined(const struct spm *m)
{
	json_t *a = json_array();
	for (int i = 0; a && i < m->n; i++) {
		const struct spm_piece *p = &m->piece[i];
		if (p->type == TYPE_USER && lm_utf8_valid(p->text.s, p->text.n) &&
		    json_array_append_new(a, json_stringn(p->text.s, p->text.n))) {
			json_decref(a);
			return NULL;
		}
	}
	return a;
}

/* "legacy": false of tokenizer_config.json: a first space before the whole text, not after each special token. */
static bool prefix_first(const struct spm *m, const struct folder *f)
{
	return m->norm.dummy && !m->suffix && json_is_false(json_object_get(f->config, "legacy"));
}

static json_t *norm_spec(const struct spm *m, bool first)
{
	return json_pack("{s:s, s:o, s:b, s:b, s:b, s:b, s:o}", "type", "SentencePiece", "precompiled_charsmap",
			 charsmap(m->norm.charsmap), "add_dummy_prefix", m->norm.dummy && !first,
			 "remove_extra_whitespaces", m->norm.remove, "escape_whitespaces", m->norm.escape, "treat_whitespace_as_suffix", m->suffix,
			 "user_defined_symbols", user_defined(m));
}

static json_t *decoder_spec(const struct spm *m, int unk)
{
	json_t *surface = json_stringn(m->unk_surface.s, m->unk_surface.n);
	return json_pack("{s:s, s:b, s:b, s:i, s:o}", "type", "SentencePiece", "add_dummy_prefix", m->norm.dummy,
			 "remove_extra_whitespaces", m->norm.remove, "unk_id", unk, "unk_surface",
			 surface ? surface : json_string(""));
}

static int make_parts(const struct spm *m, const struct folder *f, struct tok *t)
{
	if (m->denorm.charsmap.n)
		return lm_fail(m->err, LM_EUNSUPPORTED, "%s: a denormalizer_spec with rules is not supported", m->path);
	bool first = prefix_first(m, f);
	json_t *pre = first ? json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", MARK, "prepend_scheme",
					"first", "split", 0) : json_null();
	return tok_parts(t, norm_spec(m, first), pre, decoder_spec(m, t->unk), m->err);
}

/* ---- the vocabulary -------------------------------------------------------------------------------------- */
/* fairseq's models (XLM-R) keep <s>, <pad>, </s>, <unk> first, and so shift the pieces; <mask> comes last. */
enum { FAIRSEQ_UNK = 3 };
static int piece_id(const struct folder *f, int i)
{
	static const int first[] = { FAIRSEQ_UNK, 0, 2 };
	return !(f->row->flags & ROW_FAIRSEQ) ? i : i < 3 ? first[i] : i + 1;
}

static int add_fairseq(const struct spm *m, struct tok *t)
{
	int rc = vocab_copy(t, 1, "<pad>", 5, TYPE_CONTROL, m->err);
	return rc ? rc : vocab_copy(t, m->n + 1, "<mask>", 6, TYPE_CONTROL, m->err);
}

static const char *base_text(const void *vocab, int id, size_t *n)
{
	const struct spm *m = vocab;
	if (id < m->n) {
		*n = m->piece[id].text.n;
		return m->piece[id].text.s;
	}
	const char *s = id == m->n ? "<pad>" : "<mask>";   /* fairseq's */
	*n = strlen(s);
	return s;
}

static int fill(const struct spm *m, const struct folder *f, struct tok *t)
{
	int rc = vocab_scores(t, m->err);
	for (int i = 0; !rc && i < m->n; i++) {
		const struct spm_piece *p = &m->piece[i];
		int id = piece_id(f, i);
		rc = vocab_set(t, id, p->text.s, p->text.n, (unsigned)p->type, m->err);
		t->own_score[id] = p->score;
	}
	return !rc && f->row->flags & ROW_FAIRSEQ ? add_fairseq(m, t) : rc;
}

static void set_model(const struct spm *m, const struct folder *f, struct tok *t)
{
	t->model = m->model == SPM_UNIGRAM ? &model_unigram : m->model == SPM_WORD ? &model_whole_words : &model_bpe;
	t->rank_by = m->model == SPM_BPE ? RANK_SCORE : RANK_MERGES;      /* characters: no merges at all */
	t->byte_fallback = m->bytes;
	t->fuse_unk = t->float_sums = true;
	t->unk = piece_id(f, m->unk);
	t->role[TOK_UNK] = t->unk;
}

/* User-defined symbols, of the models that know them; control symbols stand in the text where special parsing is on. */
static int add_symbols(const struct spm *m, const struct folder *f, struct tok *t)
{
	bool cut = m->model == SPM_BPE || m->model == SPM_CHAR;
	int rc = 0;
	for (int i = 0; !rc && i < f->n_base; i++) {
		const struct piece *p = &t->piece[i];
		if (p->type == TYPE_CONTROL || p->type == TYPE_UNKNOWN)
			rc = added_add(t->added, piece_text(t, i), p->len, i, ADDED_SPECIAL, m->err);
		else if (p->type == TYPE_USER && cut)
			rc = added_add(t->added, piece_text(t, i), p->len, i, ADDED_NORMALIZED, m->err);
	}
	return rc;
}

static void set_roles(const struct spm *m, struct tok *t)
{
	for (int r = 0; r <= TOK_MASK; r++) {
		int32_t id = m->role[r].n && r != TOK_UNK ? vocab_id(t, m->role[r].s, m->role[r].n) : -1;
		if (id >= 0 && t->piece[id].type == TYPE_CONTROL) t->role[r] = id;
	}
}

static int build(const struct spm *m, struct folder *f, const void *data, struct tok **out)
{
	bool fairseq = f->row->flags & ROW_FAIRSEQ;
	int n_base = m->n + (fairseq ? 2 : 0), n_all;
	if (fairseq && (m->n < 3 || m->unk || m->piece[1].type != TYPE_CONTROL || m->piece[2].type != TYPE_CONTROL))
		return lm_fail(m->err, LM_EFORMAT, "%s: pieces 0 to 2 are not <unk>, <s> and </s>, as this tokenizer_class has them",
			       m->path);
	int rc = folder_place(f, n_base, base_text, m, &n_all, m->err);
	if (rc) return rc;
	struct tok *t = vocab_new(n_all, m->err);
	if (!t) return m->err ? m->err->code : LM_ENOMEM;
	t->base = data;
	rc = fill(m, f, t);
	if (!rc) rc = folder_texts(f, t, m->err);
	if (!rc) set_model(m, f, t);
	if (!rc) rc = vocab_index(t, m->err);
	if (!rc && m->model == SPM_CHAR) rc = vocab_begin_merges(t, 0, m->err);
	if (!rc) set_roles(m, t);
	if (!rc) rc = add_symbols(m, f, t);
	if (!rc) rc = make_parts(m, f, t);
	if (!rc) rc = folder_apply(f, t, m->err);
	if (!rc) rc = vocab_finish(t, m->err);
	if (rc) tok_free(t);
	else *out = t;
	return rc;
}

int spm_load(struct tok **out, struct folder *f, const char *path, const void *data, size_t size, struct lm_err *err)
{
	struct spm m = { .path = path, .model = SPM_UNIGRAM, .norm = { { "", 0 }, true, true, true },
			 .role = { [TOK_BOS] = { "<s>", 3 }, [TOK_EOS] = { "</s>", 4 }, [TOK_PAD] = { "<pad>", 5 } },
			 .unk_surface = { " \xE2\x81\x87 ", 5 }, .err = err };
	*out = NULL;
	int rc = read_model(&m, data, size);
	if (!rc) rc = check(&m);
	if (!rc) rc = build(&m, f, data, out);
	lm_free(m.piece);
	return rc;
}
