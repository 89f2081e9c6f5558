/* Pre-quantised checkpoints against what their own libraries make of them (tools/gold_layouts.py): every weight bit
 * for bit, in the type that docs/decisions.md names; malformed ones by their sentence. */
#include "format/derive.h"
#include "format/hf.h"
#include "test.h"

#define DIR "tests/format/layouts/"

struct open { struct hf h; struct file f; json_t *cases; };

static void begin(struct open *o)
{
	*o = (struct open){ .f = { .path = "", .hash_key = { 1, 2 } } };
	o->f.arena = lm_arena_new(1 << 10);
	o->h = (struct hf){ .f = &o->f, .dir = DIR };
}

static void end(struct open *o)
{
	hf_close(&o->h);
	for (int i = 0; i < o->f.n_parts; i++) lm_map_close(&o->f.part[i]);
	lm_free(o->f.part);
	lm_arena_free(o->f.arena);
}

static int open_case(struct open *o, const char *name, json_t *config, struct lm_err *err)
{
	char path[200];
	snprintf(path, sizeof path, DIR "%s.safetensors", name);
	begin(o);
	o->h.config = json_incref(config);
	int rc = raw_open(&o->h, path, err);
	return rc ? rc : layouts_open(&o->h, err);
}

static uint32_t bits(float f)
{
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	return (u & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : u;
}

/* f in the precision of the reference's result */
static float rounded(float f, enum dtype t)
{
	return t == DT_F16 ? quant_f16_to_f32(quant_f32_to_f16(f)) : t == DT_BF16 ? quant_bf16_to_f32(quant_f32_to_bf16(f)) : f;
}

/* All rows at once and in odd pieces give the same bytes. */
static float *floats_of(const struct tensor *t, int64_t n)
{
	int64_t rows = tensor_n_rows(t), cols = n / rows, bytes = quant_row_bytes(t->type, cols);
	assert_true(bytes > 0 && (uint64_t)(bytes * rows) == t->size);
	char *all = malloc((size_t)t->size), *piece = malloc((size_t)t->size);
	float *f = malloc((size_t)n * sizeof *f);
	struct lm_err err;
	assert_true(all && piece && f);
	assert_ok(tensor_rows(t, 0, rows, all, &err), err);
	for (int64_t r = 0, k = 1; r < rows; r += k, k = k % 37 + 1)
		assert_ok(tensor_rows(t, r, r + k < rows ? k : rows - r, piece + r * bytes, &err), err);
	assert_memory_equal(all, piece, t->size);
	for (int64_t r = 0; r < rows; r++) quant_info(t->type)->decode(f + r * cols, all + r * bytes, cols);
	free(piece);
	free(all);
	return f;
}

static void compare(const char *name, const struct tensor *t, const struct tensor *gold)
{
	int64_t n = 1;
	assert_int_equal(t->n_dims, gold->n_dims);
	for (int d = 0; d < t->n_dims; d++) {
		assert_int_equal(t->dim[d], gold->dim[d]);
		n *= t->dim[d];
	}
	float *got = floats_of(t, n), *want = floats_of(gold, n);
	for (int64_t i = 0; i < n; i++)
		/* GGUF's MXFP4 has one zero where checkpoints have two */
		if (bits(rounded(got[i], gold->type)) != bits(want[i]) && !(t->type == DT_MXFP4 && got[i] == 0 && want[i] == 0))
			fail_msg("%s: %s element %d: %a, expected %a", name, t->name, (int)i, (double)got[i], (double)want[i]);
	free(got);
	free(want);
}

/* The form with sorted columns, where there is one: the same weights, none left out.  Rounded to what the plain form holds. */
static int compare_sorted(const char *name, const struct tensor *t)
{
	const int32_t *order = NULL;
	const struct tensor *s = tensor_sorted(t, &order);
	if (!s) return 0;
	int64_t rows = t->dim[0], cols = t->dim[1];
	assert_true(s->dim[0] == rows && s->dim[1] == cols && s->size < t->size && quant_info(s->type)->block_elems > 1);
	float *got = floats_of(s, rows * cols), *want = floats_of(t, rows * cols);
	bool *met = calloc((size_t)cols, sizeof *met);
	for (int64_t i = 0; i < cols; i++) {
		assert_true(met && order[i] >= 0 && order[i] < cols && !met[order[i]]);
		met[order[i]] = true;
	}
	for (int64_t i = 0; i < rows * cols; i++) {
		float w = want[i / cols * cols + order[i % cols]];
		if (bits(rounded(got[i], t->type)) != bits(w))
			fail_msg("%s: %s sorted, element %d: %a, expected %a", name, t->name, (int)i, (double)got[i], (double)w);
	}
	free(met);
	free(got);
	free(want);
	return 1;
}

static json_t *cases(void)
{
	json_t *j = json_load_file(DIR "cases.json", 0, NULL);
	assert_non_null(j);
	return j;
}

LM_TEST(layouts_are_what_their_libraries_read)
{
	json_t *all = cases(), *c, *type;
	const char *name, *weight;
	struct lm_err err;
	int n = 0, golds = 0, sorted = 0;
	json_object_foreach(all, name, c) {
		struct open o;
		if (json_object_get(c, "expect")) continue;
		n++;
		if (open_case(&o, name, c, &err)) fail_msg("%s: %s", name, err.msg);
		json_object_foreach(json_object_get(c, "types"), weight, type) {
			const struct tensor *t = hf_tensor(&o.h, weight);
			if (!t) fail_msg("%s: no %s", name, weight);
			if (strcmp(quant_info(t->type)->name, json_string_value(type)))
				fail_msg("%s: %s is %s, expected %s", name, weight, quant_info(t->type)->name, json_string_value(type));
		}
		for (int i = 0; i < o.h.n_t; i++) {
			const struct tensor *t = &o.h.t[i], *from = t->how ? t->how->from : t;
			sorted += compare_sorted(name, t);
			if (!from || !from->data || from->size < t->size / 8) fail_msg("%s: %s: file_done does not find its bytes", name, t->name);
		}
		for (int i = 0; i < o.h.n_t; i++) {
			char of[100];
			const struct tensor *gold = &o.h.t[i];
			const char *colon = strstr(gold->name, ":gold");
			if (!colon) continue;
			snprintf(of, sizeof of, "%.*s", (int)(colon - gold->name), gold->name);
			if (!hf_tensor(&o.h, of)) fail_msg("%s: no %s", name, of);
			compare(name, hf_tensor(&o.h, of), gold);
			golds++;
		}
		for (int i = 0; i < o.h.n_raw; i++)
			if (!o.h.raw[i].used) fail_msg("%s: nobody took %s", name, o.h.raw[i].name);
		end(&o);
	}
	json_decref(all);
	assert_int_equal(n, 17);
	assert_int_equal(golds, 73);
	assert_int_equal(sorted, 2);
}

/* Matrices of more rows than are unpacked together, and no multiple of them: a row alone is as it is among all others. */
static void add_random(struct hf *h, const char *name, enum raw_type type, int64_t rows, int64_t cols, uint32_t mask)
{
	struct lm_err err;
	struct raw r = { .name = name, .type = type, .n_dims = cols ? 2 : 1, .dim = { rows, cols } };
	size_t n = (size_t)(rows * (cols ? cols : 1));
	uint32_t *p = lm_alloc(h->f->arena, n, sizeof *p, 16), seed = 7;
	assert_non_null(p);
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		p[i] = type == RAW_F32 ? 0x3f800000u | seed >> 9 : mask == UINT32_MAX ? seed : (uint32_t)(i * 37 % n) / mask;
	}
	r.data = (const uint8_t *)p;
	r.size = n * sizeof *p;
	assert_ok(raw_add(h, &r, &err), err);
}

LM_TEST(layouts_tall)
{
	enum { ROWS = 1160, COLS = 96, GROUP = 32 };
	static const char *const configs[] = { "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32}",
		"{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32}", "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32}" };
	for (int c = 0; c < 3; c++) {
		const int32_t *order = NULL;
		struct lm_err err;
		struct open o;
		begin(&o);
		o.h.config = json_pack("{s:o}", "quantization_config", json_loads(configs[c], 0, NULL));
		add_random(&o.h, "a.qweight", RAW_I32, c ? COLS / 8 : COLS, c ? ROWS : ROWS / 8, UINT32_MAX);
		add_random(&o.h, "a.qzeros", RAW_I32, COLS / GROUP, ROWS / 8, UINT32_MAX);
		add_random(&o.h, "a.scales", RAW_F32, COLS / GROUP, ROWS, 0);
		if (c == 2) add_random(&o.h, "a.g_idx", RAW_I32, COLS, 0, GROUP);
		assert_ok(index_build(&o.f, &o.h.raws, o.h.raw, sizeof *o.h.raw, o.h.n_raw, "tensor", &err), err);
		assert_ok(layouts_open(&o.h, &err), err);
		const struct tensor *t = hf_tensor(&o.h, "a.weight"), *s = t ? tensor_sorted(t, &order) : NULL;
		assert_non_null(t);
		assert_int_equal(s != NULL, c == 2);
		free(floats_of(t, ROWS * COLS));
		assert_int_equal(compare_sorted(configs[c], t), c == 2);
		end(&o);
	}
}

/* The first error of opening, or else of making rows. */
LM_TEST(layouts_name_what_is_wrong)
{
	json_t *all = cases(), *c;
	const char *name;
	int n = 0;
	json_object_foreach(all, name, c) {
		const char *want = json_string_value(json_object_get(c, "expect"));
		struct lm_err err = { 0 };
		struct open o;
		if (!want) continue;
		n++;
		int rc = open_case(&o, name, c, &err);
		for (int i = 0; !rc && i < o.h.n_t; i++) {
			void *p = malloc((size_t)o.h.t[i].size);
			rc = tensor_rows(&o.h.t[i], 0, tensor_n_rows(&o.h.t[i]), p, &err);
			free(p);
		}
		if (rc != LM_EFORMAT && rc != LM_EUNSUPPORTED) fail_msg("%s: opened, expected: %s", name, want);
		if (!strstr(err.msg, want)) fail_msg("%s: \"%s\", expected: %s", name, err.msg, want);
		end(&o);
	}
	json_decref(all);
	assert_int_equal(n, 48);
}
