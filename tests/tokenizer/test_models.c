/* Goldens of the models alone, word to ids (tools/gold_models.py): every combination of options against
 * `tokenizers`, `sentencepiece` and `tiktoken`; 1 MB of one letter; and where words may be cut. */
#include "test.h"
#include "tokenizer/tok_impl.h"
#include <jansson.h>

static int keep(void *ud, int32_t id)
{
	json_array_append_new(ud, json_integer(id));
	return 0;
}

static bool flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static int number(const json_t *o, const char *key, int def)
{
	const json_t *v = json_object_get(o, key);
	return v ? (int)json_integer_value(v) : def;
}

static struct affix affix(const json_t *o, const char *key)
{
	struct affix a = { 0 };
	const json_t *v = json_object_get(o, key);
	if (!v) return a;
	a.n = (uint8_t)json_string_length(v);
	memcpy(a.s, json_string_value(v), a.n);
	return a;
}

static const struct model *model(const char *name)
{
	if (!strcmp(name, "bpe")) return &model_bpe;
	if (!strcmp(name, "unigram")) return &model_unigram;
	if (!strcmp(name, "wordpiece")) return &model_wordpiece;
	return &model_wordlevel;
}

static struct tok *make(const json_t *vocab, const json_t *o, struct lm_err *e)
{
	const json_t *tokens = json_object_get(vocab, "tokens"), *merges = json_object_get(vocab, "merges");
	const json_t *types = json_object_get(vocab, "types"), *scores = json_object_get(vocab, "scores"), *v;
	struct tok *t = vocab_new((int64_t)json_array_size(tokens), e);
	const char *rank = json_string_value(json_object_get(o, "rank"));
	size_t i;
	assert_non_null(t);
	t->model = model(json_string_value(json_object_get(o, "model")));
	t->rank_by = !rank ? RANK_MERGES : !strcmp(rank, "score") ? RANK_SCORE : RANK_ID;
	t->bytes = flag(o, "bytes");
	t->byte_fallback = flag(o, "byte_fallback");
	t->fuse_unk = flag(o, "fuse_unk");
	t->ignore_merges = flag(o, "ignore_merges");
	t->any_type = flag(o, "any_type");
	t->float_sums = flag(o, "float_sums");
	t->unk = number(o, "unk", -1);
	t->max_chars = number(o, "max_chars", 100);
	t->start = affix(o, "start");
	t->cont = affix(o, "cont");
	t->end = affix(o, "end");
	json_array_foreach((json_t *)tokens, i, v)
	{
		unsigned type = types ? (unsigned)json_integer_value(json_array_get(types, i)) : TYPE_NORMAL;
		assert_ok(vocab_copy(t, (int32_t)i, json_string_value(v), json_string_length(v), type, e),
			  *e);
	}
	assert_ok(vocab_begin_merges(t, (int64_t)json_array_size(merges), e), *e);
	json_array_foreach((json_t *)merges, i, v)
	{
		const json_t *a = json_array_get(v, 0), *b = json_array_get(v, 1);
		struct lm_buf pair = { 0 };
		lm_buf_add(&pair, json_string_value(a), json_string_length(a));
		lm_buf_char(&pair, ' ');
		lm_buf_add(&pair, json_string_value(b), json_string_length(b));
		assert_ok(
			vocab_merge(t, (int)i, pair.p, json_string_length(a), json_string_length(b), true, e),
			*e);
		lm_buf_free(&pair);
	}
	if (scores) assert_ok(vocab_scores(t, e), *e);
	json_array_foreach((json_t *)scores, i, v) t->own_score[i] = (float)json_number_value(v);
	scores = json_object_get(vocab, "scores64");
	if (scores) t->score64 = lm_calloc((size_t)t->n, sizeof *t->score64);
	json_array_foreach((json_t *)scores, i, v) t->score64[i] = json_number_value(v);
	assert_ok(vocab_index(t, e), *e);
	assert_ok(vocab_finish(t, e), *e);
	return t;
}

static void work_free(struct model_work *w)
{
	lm_free(w->sym);
	lm_free(w->tree);
	lm_free(w->letters);
	lm_free(w->own);
}

struct runs {
	const json_t *want;
	size_t at;
	int64_t left; /* of the run at - 1 */
	bool bad;
};
static int next_run(void *ud, int32_t id)
{
	struct runs *r = ud;
	if (!r->left && r->at < json_array_size(r->want))
		r->left = json_integer_value(json_array_get(json_array_get(r->want, r->at++), 1));
	r->bad |= !r->left || id != json_integer_value(json_array_get(json_array_get(r->want, r->at - 1), 0));
	r->left -= r->left > 0;
	return 0;
}

/* 1 MB of one letter: it would take hours if it were quadratic. */
static int long_differs(const struct tok *t, struct model_work *w, const json_t *o)
{
	struct runs r = { .want = json_object_get(o, "runs") };
	if (!r.want) return 0;
	size_t n = 1 << 20;
	char *s = lm_malloc(n);
	assert_non_null(s);
	memset(s, 'a', n);
	assert_int_equal(0, t->model->word(t, w, s, n, next_run, &r));
	lm_free(s);
	if (r.left || r.at < json_array_size(r.want)) r.bad = true;
	if (r.bad) printf("1 MB of one letter differs\n");
	return r.bad;
}

/* The number of texts whose ids are not the reference's; the first is printed. */
static int differ(const json_t *vocab, const json_t *texts, const json_t *o)
{
	struct lm_err e = { 0 };
	struct tok *t = make(vocab, o, &e);
	struct model_work w = { 0 };
	int bad = long_differs(t, &w, o);
	size_t i;
	json_t *v;
	json_array_foreach((json_t *)texts, i, v)
	{
		json_t *got = json_array(), *want = json_array_get(json_object_get(o, "ids"), i);
		assert_int_equal(
			0, t->model->word(t, &w, json_string_value(v), json_string_length(v), keep, got));
		if (!json_equal(got, want) && !bad++) {
			char *a = json_dumps(got, 0), *b = json_dumps(want, 0),
			     *s = json_dumps(v, JSON_ENCODE_ANY);
			char *name = json_dumps(json_object_get(o, "vocab"), JSON_ENCODE_ANY);
			printf("%s: %s\n  got  %s\n  want %s\n", name, s, a, b);
			free(a), free(b), free(s), free(name);
		}
		json_decref(got);
	}
	work_free(&w);
	tok_free(t);
	return bad;
}

LM_TEST(models_gold)
{
	json_t *vocabs = json_object(), *texts = json_object();
	const char *path = "tests/fixtures/tok/models.json";
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int cases = 0, bad = 0;
	while ((n = getline(&line, &cap, f)) > 0) {
		json_error_t je;
		json_t *o = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &je);
		if (!o) fail_msg("%s: %s", path, je.text);
		const char *vocab = json_string_value(json_object_get(o, "vocab"));
		const char *list = json_string_value(json_object_get(o, "texts"));
		if (!vocab) {
			json_object_set(texts, list, json_object_get(o, "list"));
		} else if (!list) {
			json_object_set(vocabs, vocab, o);
		} else {
			int k = differ(json_object_get(vocabs, vocab), json_object_get(texts, list), o);
			if (k) {
				json_object_del(o, "ids");
				char *s = json_dumps(o, 0);
				printf("%d texts differ: %s\n", k, s);
				free(s);
			}
			bad += k;
			cases++;
		}
		json_decref(o);
	}
	free(line);
	fclose(f);
	json_decref(vocabs);
	json_decref(texts);
	assert_true(cases > 100);
	assert_int_equal(bad, 0);
}

static struct tok *few(const char *const *text, int n, int unk)
{
	struct lm_err e = { 0 };
	struct tok *t = vocab_new(n, &e);
	assert_non_null(t);
	t->model = &model_bpe;
	t->unk = unk;
	for (int i = 0; i < n; i++) assert_ok(vocab_copy(t, i, text[i], strlen(text[i]), TYPE_NORMAL, &e), e);
	assert_ok(vocab_begin_merges(t, 0, &e), e);
	assert_ok(vocab_index(t, &e), e);
	assert_ok(vocab_finish(t, &e), e);
	return t;
}

/* Where text may be cut into words: not after what some token has before U+2581. */
LM_TEST(models_cut)
{
	static const char *const plain[] = { "<unk>", MARK, "a", MARK "a", MARK MARK };
	static const char *const glued[] = { "<unk>", MARK, ">" MARK "a", MARK "b" MARK MARK };
	static const char *const odd[] = { "<unk>", MARK, "<0xE2>" MARK };
	static const char *const unk[] = { "<unk>", MARK, "a<unk>" MARK "b" };
	uint8_t none[32] = { 0 };
	struct tok *t = few(plain, 5, 0);
	assert_true(t->cut_words);
	assert_memory_equal(t->glue, none, sizeof none);
	tok_free(t);
	t = few(glued, 4, 0);
	assert_true(t->cut_words);
	assert_int_equal(t->glue['>' / 8], 1 << '>' % 8);
	assert_int_equal(t->glue['b' / 8], 1 << 'b' % 8);
	tok_free(t);
	t = few(glued, 4, -1); /* what is unknown vanishes */
	assert_false(t->cut_words);
	tok_free(t);
	t = few(odd, 3, 0);
	assert_false(t->cut_words);
	tok_free(t);
	t = few(unk, 3, 0);
	assert_false(t->cut_words);
	tok_free(t);
}
