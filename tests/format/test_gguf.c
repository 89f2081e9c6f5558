/* Files written by the gguf package (tools/make_gguf_fixtures.py): every value must come back. */
#include "format/file.h"
#include "test.h"

#define DIR "tests/fixtures/gguf/"

static struct file *must_open(const char *path)
{
	struct file *f;
	struct lm_err e;
	assert_ok(file_open(&f, path, &e), e);
	return f;
}

static void same_str(const char *s, size_t n, const char *want)
{
	assert_int_equal(n, strlen(want));
	assert_memory_equal(s, want, n);
}

static void check_scalars(const struct file *f)
{
	static const struct { const char *key; int64_t v; } ints[] = {
		{ "t.u8", 200 }, { "t.i8", -100 }, { "t.u16", 60000 }, { "t.i16", -30000 }, { "t.u32", 4000000000 },
		{ "t.i32", -2000000000 }, { "t.i64", -((int64_t)1 << 62) }, { "t.whole", 3 },
	};
	int64_t i;
	uint32_t u;
	float x;
	double d;
	bool b;
	for (size_t k = 0; k < sizeof ints / sizeof ints[0]; k++) {
		assert_true(file_i64(f, ints[k].key, &i));
		assert_true(i == ints[k].v);
		assert_true(file_u32(f, ints[k].key, &u) == (i >= 0));
		if (i >= 0) assert_int_equal(u, i);
		assert_true(file_f64(f, ints[k].key, &d) && d == (double)ints[k].v);
	}
	assert_true(file_f32(f, "t.f32", &x) && x == 0.1f);
	assert_true(file_f64(f, "t.f32", &d) && d == (double)0.1f);
	assert_true(file_f64(f, "t.f64", &d) && d == 1e-5);
	assert_true(file_f32(f, "t.f64", &x) && x == 1e-5f);
	assert_true(file_bool(f, "t.yes", &b) && b);
	assert_true(file_bool(f, "t.no", &b) && !b);
	/* inexact or of another kind counts as absent */
	assert_false(file_i64(f, "t.u64", &i));
	assert_false(file_f64(f, "t.u64", &d));
	assert_false(file_i64(f, "t.f32", &i));
	assert_false(file_f32(f, "t.u32", &x) && x != 4000000000.0f);
	assert_false(file_f32(f, "t.str", &x));
	assert_false(file_i64(f, "t.yes", &i));
	assert_false(file_bool(f, "t.u8", &b));
	assert_false(file_i64(f, "t.absent", &i));
	assert_true(file_has(f, "t.u64"));
	assert_false(file_has(f, "t.absent"));
	assert_false(file_has(f, ""));
}

static void check_strings(const struct file *f)
{
	const char *s;
	size_t n;
	char want[32];
	assert_true(file_str(f, "t.str", &s, &n));
	same_str(s, n, "zwei W\xc3\xb6rter");
	assert_true(file_str(f, "t.empty", &s, &n));
	assert_int_equal(n, 0);
	assert_true(file_str(f, "general.architecture", &s, &n));
	same_str(s, n, "tiny");
	assert_false(file_str(f, "t.u8", &s, &n));
	assert_false(file_str(f, "a.str", &s, &n));
	assert_int_equal(file_arr_len(f, "a.str"), 3);
	assert_int_equal(file_arr_len(f, "t.str"), -1);
	assert_int_equal(file_arr_len(f, "a.many"), 100);
	for (int i = 99; i >= 0; i--) {
		snprintf(want, sizeof want, "token %d", i);
		assert_true(file_arr_str(f, "a.many", i, &s, &n));
		same_str(s, n, want);
	}
	assert_false(file_arr_str(f, "a.many", -1, &s, &n));
	assert_false(file_arr_str(f, "a.many", 100, &s, &n));
	assert_false(file_arr_str(f, "a.i32", 0, &s, &n));
	assert_true(file_arr_str(f, "a.str", 1, &s, &n));
	same_str(s, n, "");
	uint64_t at = 0;
	int count = 0;
	for (; file_arr_str_next(f, "a.many", &at, &s, &n); count++) {
		snprintf(want, sizeof want, "token %d", count);
		same_str(s, n, want);
	}
	assert_int_equal(count, 100);
	assert_false(file_arr_str_next(f, "a.many", &at, &s, &n));
	at = 0;
	assert_false(file_arr_str_next(f, "a.i32", &at, &s, &n));
	assert_false(file_arr_str_next(f, "absent", &at, &s, &n));
}

static void check_arrays(const struct file *f)
{
	static const struct { const char *key; enum file_type t; int64_t v[2]; } ints[] = {
		{ "a.u8", FT_U8, { 0, 255 } }, { "a.i8", FT_I8, { -128, 127 } }, { "a.u16", FT_U16, { 0, 65535 } },
		{ "a.i16", FT_I16, { -32768, 32767 } }, { "a.u32", FT_U32, { 0, UINT32_MAX } },
		{ "a.i32", FT_I32, { INT32_MIN, INT32_MAX } }, { "a.i64", FT_I64, { INT64_MIN, INT64_MAX } },
	};
	int64_t v, n;
	float x;
	enum file_type t;
	for (size_t k = 0; k < sizeof ints / sizeof ints[0]; k++) {
		assert_non_null(file_arr_raw(f, ints[k].key, &t, &n));
		assert_int_equal(t, ints[k].t);
		assert_int_equal(n, 2);
		for (int i = 0; i < 2; i++) assert_true(file_arr_i64(f, ints[k].key, i, &v) && v == ints[k].v[i]);
		assert_false(file_arr_i64(f, ints[k].key, 2, &v));
		assert_false(file_arr_i64(f, ints[k].key, -1, &v));
	}
	assert_true(file_arr_i64(f, "a.u64", 0, &v) && v == 0);
	assert_false(file_arr_i64(f, "a.u64", 1, &v));
	assert_true(file_arr_f32(f, "a.u64", 1, &x) && x == 0x1p63f);
	assert_true(file_arr_f32(f, "a.f32", 0, &x) && x == 0.5f);
	assert_true(file_arr_f32(f, "a.f32", 1, &x) && x == -2.0f);
	assert_true(file_arr_f32(f, "a.f64", 0, &x) && x == 0.25f);
	assert_false(file_arr_f32(f, "a.f64", 1, &x));      /* 1e300 is no float */
	assert_false(file_arr_f32(f, "a.i32", 1, &x));      /* 2^31-1 neither */
	const uint8_t *b = file_arr_raw(f, "a.bool", &t, &n);
	assert_true(b && t == FT_BOOL && n == 2 && b[0] == 1 && b[1] == 0);
	assert_false(file_arr_i64(f, "a.bool", 0, &v));
	assert_null(file_arr_raw(f, "a.str", &t, &n));
	assert_null(file_arr_raw(f, "t.u8", &t, &n));
}

static void check_keys(const struct file *f)
{
	enum file_type t, e;
	int64_t n;
	uint64_t size;
	assert_string_equal(file_key(f, 0, &t, NULL, NULL), "general.architecture");
	assert_int_equal(t, FT_STR);
	int i = 0;
	while (strcmp(file_key(f, i, &t, &e, &n), "t.u64")) i++;
	assert_true(t == FT_U64 && e == FT_U64 && n == 1);
	const uint8_t *p = file_raw(f, i, &size);
	assert_int_equal(size, 8);
	for (int k = 0; k < 8; k++) assert_int_equal(p[k], 0xff);
	while (strcmp(file_key(f, i, &t, &e, &n), "a.str")) i++;
	assert_true(t == FT_ARR && e == FT_STR && n == 3);
	p = file_raw(f, i, &size);
	assert_int_equal(size, 3 * 8 + 4);
	assert_null(file_key(f, file_n_keys(f), &t, &e, &n));
	assert_null(file_key(f, -1, &t, &e, &n));
	assert_null(file_raw(f, file_n_keys(f), &size));
}

static void check_shape(const struct file *f, const char *name, enum dtype type, int n_dims, int64_t a, int64_t b,
                        int64_t c, int64_t d, uint64_t size)
{
	const struct tensor *t = file_tensor(f, name);
	assert_non_null(t);
	assert_string_equal(t->name, name);
	assert_int_equal(t->type, type);
	assert_int_equal(t->n_dims, n_dims);
	assert_true(t->dim[0] == a && t->dim[1] == b && t->dim[2] == c && t->dim[3] == d);
	assert_int_equal(t->size, size);
	assert_null(t->how);
}

static void check_tensors(const struct file *f)
{
	float x[128];
	assert_int_equal(file_count(f), 6);
	check_shape(f, "one", DT_F32, 1, 5, 1, 1, 1, 20);
	check_shape(f, "mat", DT_F16, 2, 3, 4, 1, 1, 24);
	check_shape(f, "cube", DT_F32, 3, 2, 3, 4, 1, 96);
	check_shape(f, "four", DT_I32, 4, 2, 1, 3, 2, 48);
	check_shape(f, "q8_0", DT_Q8_0, 2, 2, 64, 1, 1, 4 * 34);
	check_shape(f, "q4_1", DT_Q4_1, 2, 2, 64, 1, 1, 4 * 20);
	assert_null(file_tensor(f, "q4"));
	assert_null(file_tensor(f, ""));
	assert_null(file_at(f, 6));
	assert_null(file_at(f, -1));
	assert_string_equal(file_at(f, 0)->name, "one");
	memcpy(x, file_tensor(f, "cube")->data, 96);
	for (int i = 0; i < 24; i++) assert_true(x[i] == (float)i);
	for (int i = 0; i < 12; i++) {
		uint16_t h;
		memcpy(&h, (const char *)file_tensor(f, "mat")->data + 2 * i, 2);
		assert_true(quant_f16_to_f32(h) == (float)i);
	}
	/* 0..127 in blocks of 32: q8_0 is within half a step of 127/127, q4_1 of 31/15 */
	quant_info(DT_Q8_0)->decode(x, file_tensor(f, "q8_0")->data, 128);
	for (int i = 0; i < 128; i++) assert_float_equal(x[i], i, 0.51);
	quant_info(DT_Q4_1)->decode(x, file_tensor(f, "q4_1")->data, 128);
	for (int i = 0; i < 128; i++) assert_float_equal(x[i], i, 1.1);
}

static void check_types(const char *path, int version)
{
	struct file *f = must_open(path);
	struct file_about a = file_about(f);
	assert_string_equal(file_path(f), path);
	assert_string_equal(a.container, "GGUF");
	assert_int_equal(a.version, version);
	assert_int_equal(a.alignment, 32);
	assert_int_equal(a.n_parts, 1);
	check_scalars(f);
	check_strings(f);
	check_arrays(f);
	check_keys(f);
	check_tensors(f);
	file_close(f);
}

LM_TEST(gguf_every_type) { check_types(DIR "types.gguf", 3); }
LM_TEST(gguf_version_2) { check_types(DIR "v2.gguf", 2); }

LM_TEST(gguf_alignment)
{
	struct file *f = must_open(DIR "aligned.gguf");
	assert_int_equal(file_about(f).alignment, 256);
	for (int i = 0; i < 2; i++) assert_int_equal(file_offset(f, i, NULL) % 256, 0);
	float x;
	memcpy(&x, (const char *)file_tensor(f, "b")->data + 4, 4);
	assert_true(x == 1.0f);
	file_close(f);
}

LM_TEST(gguf_split_opens_by_any_part)
{
	static const char *const paths[] = { DIR "split-00001-of-00003.gguf", DIR "split-00002-of-00003.gguf",
		                             DIR "split-00003-of-00003.gguf" };
	for (int k = 0; k < 3; k++) {
		struct file *f = must_open(paths[k]);
		const char *s;
		size_t n;
		assert_int_equal(file_count(f), 5);
		assert_int_equal(file_about(f).n_parts, 3);
		assert_int_equal(file_bytes(f), 384 + 288 + 192);
		assert_string_equal(file_path(f), paths[k]);
		assert_true(file_str(f, "t.str", &s, &n));
		same_str(s, n, "in the first part");
		for (int i = 0; i < 5; i++) {
			char name[32];
			float x;
			int part;
			snprintf(name, sizeof name, "blk.%d.weight", i);
			assert_string_equal(file_at(f, i)->name, name);
			assert_ptr_equal(file_tensor(f, name), file_at(f, i));
			memcpy(&x, (const char *)file_at(f, i)->data + 4, 4);
			assert_true(x == 100.0f * (float)i + 1);
			file_offset(f, i, &part);
			assert_int_equal(part, i / 2);
		}
		file_close(f);
	}
}

LM_TEST(gguf_that_cannot_be_opened)
{
	static const struct { const char *path; int code; const char *says; } c[] = {
		{ DIR "absent.gguf", LM_EIO, "absent.gguf: No such file" },
		{ DIR, LM_EIO, "directory" },
		{ "/dev/null", LM_EIO, "regular file" },
		{ "", LM_EIO, "No such file" },
	};
	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		struct file *f = (struct file *)1;
		struct lm_err e;
		assert_int_equal(file_open(&f, c[i].path, &e), c[i].code);
		assert_null(f);
		if (!strstr(e.msg, c[i].says)) fail_msg("'%s' lacks '%s'", e.msg, c[i].says);
		assert_int_equal(file_open(&f, c[i].path, NULL), c[i].code);
	}
	file_close(NULL);
}

LM_TEST(gguf_long_path_keeps_the_sentence)
{
	char path[2000] = "tests/fixtures";
	struct file *f;
	struct lm_err e;
	while (strlen(path) < 1500) strcat(path, "/.");
	strcat(path, "/bad_gguf.bin");
	assert_int_equal(file_open(&f, path, &e), LM_EFORMAT);
	assert_non_null(strstr(e.msg, "bad_gguf.bin: begins with the bytes"));
}
