/* Containers written by the safetensors and torch packages (tools/gold_raw.py): every tensor must come back with the
 * name, dtype, shape and bytes that those packages read. */
#include "format/hf.h"
#include "test.h"

#define DIR "tests/fixtures/raw/"

struct open { struct hf h; struct file f; };

static void begin(struct open *o, const char *dir)
{
	*o = (struct open){ .f = { .path = "", .hash_key = { 1, 2 } } };
	o->f.arena = lm_arena_new(1 << 10);
	o->h = (struct hf){ .f = &o->f, .dir = dir };
}

static void end(struct open *o)
{
	hf_close(&o->h);
	for (int i = 0; i < o->f.n_parts; i++) lm_map_close(&o->f.part[i]);
	lm_free(o->f.part);
	lm_arena_free(o->f.arena);
}

/* "NAME" DTYPE 2x3 HEX: looked up, compared, marked as used. */
static void check(const struct open *o, const char *file, char *line)
{
	char *end = strrchr(line, '"'), type[16], shape[64], name[64] = "";
	assert_non_null(end);
	end[1] = 0;
	json_t *v = json_loads(line, JSON_DECODE_ANY, NULL);
	assert_non_null(v);
	strcpy(name, json_string_value(v));
	json_decref(v);
	struct raw *r = raw_find(&o->h, name);
	if (!r) fail_msg("%s: no tensor %s", file, name);
	int used = 0;
	assert_int_equal(sscanf(end + 2, "%15s %63s %n", type, shape, &used), 2);
	assert_string_equal(raw_info[r->type].name, type);
	char *p = shape;
	for (int d = 0; d < r->n_dims; d++, p++) assert_int_equal(strtoll(p, &p, 10), r->dim[d]);
	assert_true(r->n_dims == 0 ? !strcmp(shape, "-") : p[-1] == 0);
	const char *hex = end + 2 + used;
	assert_int_equal(r->size, *hex == '-' ? 0 : strlen(hex) / 2);
	for (uint64_t i = 0; i < r->size; i++) {
		unsigned b;
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &b), 1);
		if (r->data[i] != b) fail_msg("%s: tensor %s differs at byte %d", file, name, (int)i);
	}
	const struct lm_map *part = &o->f.part[r->part];
	assert_true(r->data == part->data + r->off && r->off + r->size <= part->size);
	assert_false(r->used);
	r->used = true;
}

static void all_used(const struct open *o, const char *file)
{
	for (int i = 0; i < o->h.n_raw; i++)
		if (!o->h.raw[i].used) fail_msg("%s: tensor %s is not in the package's", file, o->h.raw[i].name);
}

LM_TEST(raw_is_what_the_packages_read)
{
	FILE *gold = fopen(DIR "raw.gold", "r");
	char line[4096], file[200] = "";
	struct open o;
	struct lm_err err;
	int cases = 0, tensors = 0;
	assert_non_null(gold);
	while (fgets(line, sizeof line, gold)) {
		line[strcspn(line, "\n")] = 0;
		if (*line != '=') {
			check(&o, file, line);
			tensors++;
			continue;
		}
		if (cases++) all_used(&o, file), end(&o);
		snprintf(file, sizeof file, DIR "%.100s", line + 2);
		begin(&o, file);
		assert_ok(raw_open(&o.h, file, &err), err);
	}
	all_used(&o, file);
	end(&o);
	fclose(gold);
	assert_int_equal(cases, 17);
	assert_int_equal(tensors, 145);
}

LM_TEST(raw_find_of_what_is_not_there)
{
	struct open o;
	struct lm_err err;
	begin(&o, DIR "safe");
	assert_ok(raw_open(&o.h, DIR "safe", &err), err);
	assert_null(raw_find(&o.h, "all"));
	assert_null(raw_find(&o.h, ""));
	end(&o);
}

LM_TEST(raw_plain_layout_keeps_the_mapping)
{
	struct open o;
	struct lm_err err;
	begin(&o, DIR "safe");
	assert_ok(raw_open(&o.h, DIR "safe", &err), err);
	assert_ok(layouts_open(&o.h, &err), err);
	const struct tensor *t = hf_tensor(&o.h, "all.I64");
	struct raw *r = raw_find(&o.h, "all.I64");
	assert_true(t && r && t->data == r->data && t->type == DT_I64 && r->used && !t->how);
	t = hf_tensor(&o.h, "all.F64");                     /* a scalar */
	assert_true(t && t->n_dims == 1 && t->dim[0] == 1 && t->size == 8);
	for (int i = 0; i < o.h.n_raw; i++) {
		r = &o.h.raw[i];
		bool have = raw_info[r->type].type != DT_COUNT && r->size > 0;
		assert_true(r->used == have && (hf_tensor(&o.h, r->name) != NULL) == have);
	}
	end(&o);
}
