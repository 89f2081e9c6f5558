/* Every folder of tests/model/hf against transformers (tools/tiny_hf.py), in BF16 as stored and rewritten in F32 and F16, and
 * against itself: how the rows of a prompt are cut into passes must not change a byte. */
#include "gold.h"
#include "model/arch.h"
#include <dirent.h>
#include <jansson.h>
#include <sys/stat.h>

#define ROOT "tests/model/hf"
#define MADE "build/folders"
enum { MAX_CASES = 200, MAX_SEQ = 64, MAX_ROWS = MAX_SEQ * 256 };

/* ---- goldens */
struct folder_gold { struct lm_buf b; int n_seqs, n_vocab; };
struct gold_seq { int n, n_greedy; const int32_t *ids, *greedy; const float *lp; };

static struct folder_gold read_gold(const char *name)
{
	struct folder_gold g = { { 0 }, 0, 0 };
	struct lm_err e = { 0 };
	char path[256];

	snprintf(path, sizeof path, ROOT "/%s.gold", name);
	assert_ok(lm_read_file(&g.b, path, 1 << 20, &e), e);
	assert_true(g.b.n > 16 && !memcmp(g.b.p, "LMGOLD2", 8));
	memcpy(&g.n_seqs, g.b.p + 8, 4);
	memcpy(&g.n_vocab, g.b.p + 12, 4);
	return g;
}

static struct gold_seq gold_at(const struct folder_gold *g, int i)
{
	struct gold_seq s = { 0 };
	const char *p = g->b.p + 16;

	for (int k = 0; k <= i; k++) {
		memcpy(&s.n, p, 4);
		memcpy(&s.n_greedy, p + 4, 4);
		s.ids = (const int32_t *)(const void *)(p + 8);
		s.greedy = s.ids + s.n;
		s.lp = (const float *)(const void *)(s.greedy + s.n_greedy);
		p = (const char *)(s.lp + (size_t)s.n * (size_t)g->n_vocab);
	}
	assert_true(p <= g->b.p + g->b.n && s.n + s.n_greedy <= MAX_SEQ && s.n * g->n_vocab <= MAX_ROWS);
	return s;
}

/* Largest |difference| of n rows of log-probabilities. */
static double worst_of(const float *logits, const float *lp, int n, int v)
{
	double worst = 0;

	for (int r = 0; r < n; r++, logits += v, lp += v) {
		double top = logits[0], sum = 0;
		for (int i = 0; i < v; i++) top = fmax(top, logits[i]);
		for (int i = 0; i < v; i++) sum += exp(logits[i] - top);
		for (int i = 0; i < v; i++) {
			double d = fabs(logits[i] - top - log(sum) - lp[i]);
			worst = d > worst || d != d ? d : worst;
		}
	}
	return worst;
}

/* ---- folders: found by themselves, and rewritten in another type */
struct names { int n; char name[MAX_CASES][64]; };

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

static void list_cases(struct names *out)
{
	DIR *d = opendir(ROOT);
	struct dirent *e;
	struct stat st;
	char path[512];

	assert_non_null(d);
	out->n = 0;
	while ((e = readdir(d))) {
		snprintf(path, sizeof path, ROOT "/%s/config.json", e->d_name);
		if (e->d_name[0] == '.' || stat(path, &st)) continue;
		assert_true(out->n < MAX_CASES && strlen(e->d_name) < sizeof out->name[0]);
		strcpy(out->name[out->n++], e->d_name);
	}
	closedir(d);
	qsort(out->name, (size_t)out->n, sizeof out->name[0], by_name);
	assert_true(out->n > 40);
}

static void put_file(const char *path, const void *p, size_t n)
{
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

/* n BF16 values as f32, or as f16 when that holds all of them; false: it does not. */
static bool retype(struct lm_buf *out, const uint8_t *src, size_t n, bool half)
{
	size_t from = out->n;
	for (size_t i = 0; i < n; i++) {
		uint16_t h;
		memcpy(&h, src + 2 * i, 2);
		float f = quant_bf16_to_f32(h);
		uint16_t as_half = quant_f32_to_f16(f);
		if (half && quant_f16_to_f32(as_half) != f) {
			out->n = from;
			return false;
		}
		if (half) lm_buf_add(out, &as_half, 2);
		else lm_buf_add(out, &f, 4);
	}
	return true;
}

/* One file of safetensors with its BF16 tensors in another type. */
static void rewrite(const char *from, const char *to, bool half)
{
	struct lm_buf in = { 0 }, data = { 0 }, out = { 0 };
	struct lm_err e = { 0 };
	const char *name;
	json_t *head, *t;
	uint64_t n;

	assert_ok(lm_read_file(&in, from, 1 << 20, &e), e);
	memcpy(&n, in.p, 8);
	assert_non_null(head = json_loadb(in.p + 8, n, 0, NULL));
	json_object_foreach(head, name, t) {
		json_t *at = json_object_get(t, "data_offsets");
		if (!at) continue;
		uint64_t a = (uint64_t)json_integer_value(json_array_get(at, 0)),
			 z = (uint64_t)json_integer_value(json_array_get(at, 1)), begin = data.n;
		const uint8_t *src = (const uint8_t *)in.p + 8 + n + a;
		if (!strcmp(json_string_value(json_object_get(t, "dtype")), "BF16") && retype(&data, src, (z - a) / 2, half))
			json_object_set_new(t, "dtype", json_string(half ? "F16" : "F32"));
		else
			lm_buf_add(&data, src, z - a);
		json_object_set_new(t, "data_offsets", json_pack("[II]", (json_int_t)begin, (json_int_t)data.n));
	}
	char *text = json_dumps(head, JSON_COMPACT);
	n = strlen(text);
	lm_buf_add(&out, &n, 8);
	lm_buf_add(&out, text, n);
	lm_buf_add(&out, data.p, data.n);
	put_file(to, out.p, out.n);
	free(text);
	json_decref(head);
	lm_buf_free(&in), lm_buf_free(&data), lm_buf_free(&out);
}

static void copy_folder(const char *name, bool half, char out[512])
{
	char from[700], to[1100];
	struct lm_err e = { 0 };
	struct dirent *d;

	snprintf(from, sizeof from, ROOT "/%s", name);
	snprintf(out, 512, MADE "/%s-%s", name, half ? "f16" : "f32");
	mkdir("build", 0777), mkdir(MADE, 0777), mkdir(out, 0777);
	DIR *dir = opendir(from);
	assert_non_null(dir);
	while ((d = readdir(dir))) {
		if (d->d_name[0] == '.') continue;
		snprintf(from, sizeof from, ROOT "/%s/%s", name, d->d_name);
		snprintf(to, sizeof to, "%s/%s", out, d->d_name);
		size_t n = strlen(to);
		if (n > 12 && !strcmp(to + n - 12, ".safetensors")) {
			rewrite(from, to, half);
		} else {
			struct lm_buf b = { 0 };
			assert_ok(lm_read_file(&b, from, 1 << 20, &e), e);
			put_file(to, b.p, b.n);
			lm_buf_free(&b);
		}
	}
	closedir(dir);
}

/* ---- the tests */
/* Is a sequence of n positions beyond what LongRoPE's short factors serve? */
static bool beyond(const struct rig *r, int n)
{
	int limit = model_info(r->m)->n_ctx_short;
	return limit && n > limit;
}

/* The golden's sequences, and its greedy tokens one at a time.  The largest difference; bad counts wrong tokens. */
static double against(struct rig *r, const struct folder_gold *g, int *bad)
{
	static float out[MAX_ROWS];
	double worst = 0;

	for (int i = 0; i < g->n_seqs; i++) {
		struct gold_seq s = gold_at(g, i);
		int32_t ids[MAX_SEQ];
		memcpy(ids, s.ids, (size_t)s.n * 4);
		memcpy(ids + s.n, s.greedy, (size_t)s.n_greedy * 4);
		r->extended[0] = beyond(r, s.n);
		rig_run(r, ids, 0, s.n, 0, NULL, out);
		double d = worst_of(out, s.lp, s.n, g->n_vocab);
		worst = d > worst || d != d ? d : worst;
		const float *last = out + (s.n - 1) * g->n_vocab;
		for (int k = 0; k < s.n_greedy; k++, last = out) {
			int top = 0;
			for (int t = 1; t < g->n_vocab; t++) top = last[t] > last[top] ? t : top;
			*bad += top != s.greedy[k];
			bool anew = beyond(r, s.n + k + 1) && !r->extended[0];
			r->extended[0] |= anew;
			if (anew) rig_run(r, ids, 0, s.n + k, 0, NULL, out);
			rig_run(r, ids, s.n + k, 1, 0, NULL, out);
		}
	}
	return worst;
}

static void golden(const char *type, bool cpu, double bound)
{
	struct names c;
	int bad = 0;

	list_cases(&c);
	for (int i = 0; i < c.n; i++) {
		char path[512];
		struct rig r;
		struct folder_gold g = read_gold(c.name[i]);
		int wrong = 0;
		if (type) copy_folder(c.name[i], !strcmp(type, "f16"), path);
		else snprintf(path, sizeof path, ROOT "/%s", c.name[i]);
		rig_open(&r, path, rig_device(cpu), DT_F32, MAX_SEQ);
		assert_int_equal(r.n_vocab, g.n_vocab);
		double worst = against(&r, &g, &wrong);
		if (!(worst <= bound) || wrong)
			print_error("%s: differs from transformers by %g, %d greedy tokens\n", c.name[i], worst, wrong), bad++;
		lm_buf_free(&g.b);
		rig_close(&r);
	}
	assert_int_equal(bad, 0);
}

LM_TEST(folders_f32_ref) { golden("f32", false, 1e-4); }
LM_TEST(folders_f32_cpu) { golden("f32", true, 2e-3); }
LM_TEST(folders_bf16_ref) { golden(NULL, false, 1e-4); }
LM_TEST(folders_bf16_cpu) { golden(NULL, true, 2e-2); }
LM_TEST(folders_f16_cpu) { golden("f16", true, 2e-2); }

/* Two sequences in one pass: `a` whole beside the last rows of `b`, whose first rows went before. */
static void interleaved(struct rig *r, const int32_t *tok, int n, float *out)
{
	int32_t ids[2 * MAX_SEQ], pos[2 * MAX_SEQ], seq[2 * MAX_SEQ], half = n / 2;
	uint8_t want[2 * MAX_SEQ] = { 0 };
	struct lm_err e = { 0 };

	rig_run(r, tok, 0, half, 1, NULL, out);
	for (int i = 0; i < n; i++) ids[i] = tok[i], pos[i] = i, seq[i] = 0, want[i] = 1;
	for (int i = half; i < n; i++) {
		int k = n + i - half;
		ids[k] = tok[i], pos[k] = i, seq[k] = 1, want[k] = 1;
	}
	struct batch b = { .at = { 2 * n - half, 2, ids, pos, seq, r->tables, r->slots }, .want = want,
			   .extended = r->extended };
	assert_ok(model_forward(r->m, r->s, &b, out, &e), e);
}

static void same(const char *name, const char *what, const float *a, const float *b, int n)
{
	if (memcmp(a, b, (size_t)n * sizeof *a)) fail_msg("%s: %s gives other bytes", name, what);
}

static void consistent(const char *name, bool cpu)
{
	static float whole[MAX_ROWS], out[2 * MAX_ROWS];
	struct folder_gold g = read_gold(name);
	struct gold_seq s = gold_at(&g, g.n_seqs - 1);
	int n = s.n, v = g.n_vocab, half = n / 2;
	char path[512];
	struct rig r;

	snprintf(path, sizeof path, ROOT "/%s", name);
	rig_open(&r, path, rig_device(cpu), DT_F32, 2 * MAX_SEQ);
	r.extended[0] = r.extended[1] = beyond(&r, n);
	rig_run(&r, s.ids, 0, n, 0, NULL, whole);
	for (int step = 1; step <= 7; step += 3) {
		for (int i = 0; i < n; i += step)
			rig_run(&r, s.ids, i, n - i < step ? n - i : step, 0, NULL, out + i * v);
		same(name, "a prompt in passes of a few rows", whole, out, n * v);
	}
	/* the sequence went on with other tokens, and comes back */
	rig_run(&r, s.ids, half, half, 0, NULL, out);
	rig_run(&r, s.ids, 0, half, 0, NULL, out);
	rig_run(&r, s.ids, half, n - half, 0, NULL, out);
	same(name, "a rewind", whole + half * v, out, (n - half) * v);
	interleaved(&r, s.ids, n, out);
	same(name, "another sequence in the same pass", whole, out, n * v);
	same(name, "a first half in another pass", whole + half * v, out + n * v, (n - half) * v);
	lm_buf_free(&g.b);
	rig_close(&r);
}

LM_TEST(folders_cuts_ref)
{
	struct names c;
	list_cases(&c);
	for (int i = 0; i < c.n; i++) consistent(c.name[i], false);
}
LM_TEST(folders_cuts_cpu)
{
	struct names c;
	list_cases(&c);
	for (int i = 0; i < c.n; i++) consistent(c.name[i], true);
}

/* A sequence within the original context and one beyond it in the same pass. */
LM_TEST(folders_longrope_side_by_side)
{
	static float apart[2][MAX_ROWS], out[2 * MAX_ROWS];
	struct folder_gold g = read_gold("phi3-long");
	struct gold_seq a = gold_at(&g, 1), b = gold_at(&g, 2);
	int32_t ids[2 * MAX_SEQ], pos[2 * MAX_SEQ], seq[2 * MAX_SEQ];
	uint8_t want[2 * MAX_SEQ];
	struct lm_err e = { 0 };
	struct rig r;

	rig_open(&r, ROOT "/phi3-long", rig_device(true), DT_F32, 2 * MAX_SEQ);
	assert_false(beyond(&r, a.n));
	assert_true(beyond(&r, b.n));
	r.extended[1] = 1;
	rig_run(&r, a.ids, 0, a.n, 0, NULL, apart[0]);
	rig_run(&r, b.ids, 0, b.n, 1, NULL, apart[1]);
	for (int i = 0; i < a.n + b.n; i++) {
		seq[i] = i >= a.n, pos[i] = seq[i] ? i - a.n : i, want[i] = 1;
		ids[i] = seq[i] ? b.ids[pos[i]] : a.ids[pos[i]];
	}
	struct batch both = { .at = { a.n + b.n, 2, ids, pos, seq, r.tables, r.slots }, .want = want, .extended = r.extended };
	assert_ok(model_forward(r.m, r.s, &both, out, &e), e);
	same("phi3-long", "a longer sequence in the same pass", apart[0], out, a.n * g.n_vocab);
	same("phi3-long", "a shorter sequence in the same pass", apart[1], out + a.n * g.n_vocab, b.n * g.n_vocab);
	lm_buf_free(&g.b);
	rig_close(&r);
}

/* Law 5: a row has a golden among the folders, or says that it has none. */
LM_TEST(folders_every_row)
{
	bool has[256] = { false };
	static const char *const roots[] = { ROOT, "tests/model/enc" };

	assert_true(n_arch < 256);
	for (int k = 0; k < 2; k++) {
		DIR *d = opendir(roots[k]);
		struct dirent *e;
		while (d && (e = readdir(d))) {
			char path[600];
			struct file *f;
			const char *s;
			size_t n;
			snprintf(path, sizeof path, "%s/%s", roots[k], e->d_name);
			if (e->d_name[0] == '.' || strchr(e->d_name, '.') || file_open(&f, path, NULL)) continue;
			assert_true(file_str(f, "general.architecture", &s, &n));
			for (int i = 0; i < n_arch; i++)
				has[i] |= strlen(arch_table[i].name) == n && !memcmp(s, arch_table[i].name, n);
			file_close(f);
		}
		if (d) closedir(d);
	}
	for (int i = 0; i < n_arch; i++)
		if (has[i] == arch_table[i].untested)
			fail_msg("%s: %s", arch_table[i].name, has[i] ? "has a golden, yet says untested" : "has no golden");
}
