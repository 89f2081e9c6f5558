/* layout_ct.c - compressed-tensors: one module's tensors show its format, config.json only bits and blocks.
 *   P.weight_packed I32, P.weight_scale, P.weight_shape [, P.weight_zero_point, P.weight_g_idx]    pack-quantized
 *   P.weight I8, P.weight_scale [, P.weight_zero_point]                                            int-quantized
 *   P.weight F8_E4M3, P.weight_scale                                                               float-quantized
 *   P.weight_packed U8, P.weight_scale F8_E4M3, P.weight_global_scale                              nvfp4-pack-quantized
 *   P.weight_packed U8, P.weight_scale U8                                                          mxfp4-pack-quantized
 * w = (q - zero) * scale; fields and zeros are stored plus 2^(bits-1), which cancels. */
#include "format/layouts.h"
#include <stdio.h>
#include <string.h>

static const char *const unused[] = { ".input_scale", ".input_zero_point", ".input_global_scale", ".output_scale",
                                      ".output_zero_point", ".k_scale", ".v_scale", ".q_scale", ".weight_g_idx" };

struct ct { unsigned bits; int64_t block[2]; };      /* bits: 1 << num_bits of every group */

static int64_t words(int64_t n, int64_t bits) { return n / 32 * bits + (n % 32 * bits + 31) / 32; }

/* ---- fields ----------------------------------------------------------------------------------------------- */
static void fetch_packed(const struct ints *w, int64_t row, int64_t n, int64_t col, int m, uint8_t *out)
{
	int64_t bytes = w->q.dim[1] * 4;
	ints_fetch(w, w->q.data + row * bytes, bytes, 4, n, col, m, out);
}

static void column_packed(const struct ints *w, int64_t row, int64_t n, int64_t col, uint8_t *out)
{
	int64_t bytes = w->q.dim[1] * 4;
	ints_column(w, w->q.data + row * bytes, bytes, 4, n, col, out);
}

static void fetch_bytes(const struct ints *w, int64_t row, int64_t n, int64_t col, int m, uint8_t *out)
{
	for (int64_t i = 0; i < n; i++)
		for (int k = 0; k < m; k++) out[i * 32 + k] = w->q.data[(row + i) * w->cols + col + k] ^ 0x80;
}

static int zero_packed(const struct ints *w, int64_t row, int64_t g)
{
	return (int)ints_field(w->zero.data + g * 4, w->zero.dim[1] * 4, row, w->bits);
}

static int zero_byte(const struct ints *w, int64_t row, int64_t g)
{
	return (int8_t)w->zero.data[row * w->scale_row + g * w->scale_group] + (1 << (w->bits - 1));
}

/* ---- scales and zeros --------------------------------------------------------------------------------------- */
/* One, one a row, or one a group of columns. */
static int scales(struct ints *w, const struct raw *s, struct lm_err *err)
{
	int64_t n = lay_count(s), g = s->n_dims == 2 ? s->dim[1] : 1;
	char dims[128];
	w->groups = 1;
	if (n == w->rows && (s->n_dims == 1 || (s->n_dims == 2 && g == 1))) w->scale_row = 1;
	else if (n > 1 && s->n_dims == 2 && s->dim[0] == w->rows && g > 0 && w->cols % g == 0) {
		w->groups = w->scale_row = g;
		w->scale_group = 1;
	} else if (n != 1) n = -1;
	if (n < 1 || !(LAY_FLOAT >> s->type & 1))
		return lm_fail(err, LM_EFORMAT, "%.150s: %s %s for %lldx%lld weights, expected floats: one, one a row or one a group",
		               s->name, raw_info[s->type].name, lay_dims(dims, sizeof dims, s->n_dims, s->dim), (long long)w->rows,
		               (long long)w->cols);
	w->group = w->cols / w->groups;
	w->scale = *s;
	return 0;
}

static int zeros(struct ints *w, struct raw *z, struct lm_err *err)
{
	w->symmetric = !z;
	if (!z) return 0;
	z->used = true;
	w->zero = *z;
	w->zero_at = z->type == RAW_I32 ? zero_packed : zero_byte;
	if (z->type == RAW_I32) return lay_is(z, 1 << RAW_I32, err, words(w->rows, w->bits), w->groups);
	if (z->type == RAW_I8 && lay_count(z) == lay_count(&w->scale)) return 0;
	return lay_check(z, 1 << RAW_I8, w->scale.n_dims, w->scale.dim, err);
}

/* ---- modules ------------------------------------------------------------------------------------------------ */
static int shape_of(struct ints *w, const struct raw *q, const struct raw *shape, struct lm_err *err)
{
	int wide = shape->type == RAW_I64 ? 8 : 4;
	int rc = lay_is(shape, 1 << RAW_I64 | 1 << RAW_I32, err, 2);
	if (rc) return rc;
	uint64_t rows = lay_u32(shape->data), cols = lay_u32(shape->data + wide);
	if (wide == 8) rows = le64(shape->data), cols = le64(shape->data + 8);
	if (q->n_dims != 2 || rows != (uint64_t)q->dim[0] || cols < 1 || cols > (uint64_t)q->size * 8 || q->size == 0)
		return lm_fail(err, LM_EFORMAT, "%.150s: says %llu x %llu, which is not what %.150s holds", shape->name,
		               (unsigned long long)rows, (unsigned long long)cols, q->name);
	w->rows = (int64_t)rows;
	w->cols = (int64_t)cols;
	return 0;
}

static int add_packed(struct hf *h, const struct ct *c, struct raw *q, size_t base, struct lm_err *err)
{
	struct ints w = { .fetch = fetch_packed, .column = column_packed };
	struct raw *scale, *shape, *order = lay_peer(h, q, base, ".weight_g_idx");
	int rc, bits = 1;
	if ((rc = lay_need(h, q, base, ".weight_scale", &scale, err))) return rc;
	if ((rc = lay_need(h, q, base, ".weight_shape", &shape, err))) return rc;
	if ((rc = shape_of(&w, q, shape, err))) return rc;
	while (bits <= 8 && !((c->bits >> bits & 1) && words(w.cols, bits) == q->dim[1])) bits++;
	if (bits > 8)
		return lm_fail(err, LM_EFORMAT, "%.150s: %lld words for rows of %lld weights, expected the num_bits of a config_group",
		               q->name, (long long)q->dim[1], (long long)w.cols);
	w.bits = bits;
	if ((rc = scales(&w, scale, err))) return rc;
	if ((rc = zeros(&w, lay_peer(h, q, base, ".weight_zero_point"), err))) return rc;
	if (order && order->size >= 4 && lay_u32(order->data) != UINT32_MAX && (rc = ints_order(h, &w, order, err))) return rc;
	w.q = *q;
	q->used = scale->used = shape->used = true;
	return ints_add(h, q, base, &w, err);
}

static int add_bytes(struct hf *h, struct raw *q, size_t base, struct raw *scale, struct lm_err *err)
{
	struct ints w = { .fetch = fetch_bytes, .bits = 8 };
	char dims[128];
	int rc;
	if (q->n_dims != 2 || q->size == 0)
		return lm_fail(err, LM_EFORMAT, "%.150s: %s, expected two dimensions", q->name,
		               lay_dims(dims, sizeof dims, q->n_dims, q->dim));
	w.rows = q->dim[0];
	w.cols = q->dim[1];
	if ((rc = scales(&w, scale, err))) return rc;
	if ((rc = zeros(&w, lay_peer(h, q, base, ".weight_zero_point"), err))) return rc;
	w.q = *q;
	q->used = scale->used = true;
	return ints_add(h, q, base, &w, err);
}

static int add_fp4(struct hf *h, struct raw *q, size_t base, struct lm_err *err)
{
	struct raw *scale, *global = lay_peer(h, q, base, ".weight_global_scale");
	int rc = lay_need(h, q, base, ".weight_scale", &scale, err);
	char dims[128];
	if (rc) return rc;
	if (global || scale->type == RAW_F8_E4M3) {
		rc = global ? 0 : lay_need(h, q, base, ".weight_global_scale", &global, err);
		return rc ? rc : nv4_add(h, q, base, scale, global, true, err);
	}
	if (q->n_dims != 2 || q->dim[1] % 16 || q->size == 0)
		return lm_fail(err, LM_EFORMAT, "%.150s: U8 %s, expected two dimensions, the last a multiple of 16", q->name,
		               lay_dims(dims, sizeof dims, q->n_dims, q->dim));
	if ((rc = lay_is(scale, LAY_E8M0, err, q->dim[0], q->dim[1] / 16))) return rc;
	return mx4_add(h, q, base, ".weight", scale, 2, (int64_t[]){ q->dim[0], q->dim[1] * 2 }, err);
}

static int add_module(struct hf *h, const struct ct *c, struct raw *r, struct lm_err *err)
{
	size_t packed = lay_base(r->name, ".weight_packed"), base = packed ? packed : lay_base(r->name, ".weight");
	struct raw *scale = base ? lay_peer(h, r, base, ".weight_scale") : NULL;
	int rc = 0;
	if (!base || r->used) return 0;
	if (packed && r->type == RAW_U8) rc = add_fp4(h, r, base, err);
	else if (packed) {
		char dims[128];
		if (r->type != RAW_I32)
			return lm_fail(err, LM_EFORMAT, "%.150s: %s %s, expected I32 or U8", r->name, raw_info[r->type].name,
			               lay_dims(dims, sizeof dims, r->n_dims, r->dim));
		rc = add_packed(h, c, r, base, err);
	} else if (r->type == RAW_I8) {
		if (!scale) rc = lay_need(h, r, base, ".weight_scale", &scale, err);
		if (!rc) rc = add_bytes(h, r, base, scale, err);
	} else if ((r->type == RAW_F8_E4M3 || r->type == RAW_F8_E5M2) && (scale || r->n_dims > 1)) {
		if (!scale && (rc = lay_need(h, r, base, ".weight_scale", &scale, err))) return rc;
		if (lay_peer(h, r, base, ".weight_zero_point"))
			return lm_fail(err, LM_EUNSUPPORTED, "%.150s: 8-bit floats with a zero point, expected none", r->name);
		rc = f8_add(h, r, strlen(r->name), scale, c->block[0], c->block[1], err);
	}
	return rc;
}

/* ---- config.json -------------------------------------------------------------------------------------------- */
static int check_format(const json_t *v, struct lm_err *err)
{
	static const char *const known[] = { "dense", "pack-quantized", "int-quantized", "naive-quantized", "float-quantized",
		"nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized", "mixed-precision" };
	const char *s = json_string_value(v);
	if (!v || json_is_null(v)) return 0;
	for (size_t i = 0; s && i < sizeof known / sizeof *known; i++)
		if (!strcmp(s, known[i])) return 0;
	return lm_fail(err, LM_EUNSUPPORTED, "quantization_config: format of compressed-tensors is \"%.60s\", which is not read",
	               s ? s : "(no string)");
}

static int read_group(struct ct *c, const json_t *group, struct lm_err *err)
{
	const json_t *w = json_object_get(group, "weights"), *block = json_object_get(w, "block_structure");
	int64_t bits;
	int rc = check_format(json_object_get(group, "format"), err);
	if (rc || !json_is_object(w)) return rc;
	if ((rc = lay_int(w, "num_bits", 1, 8, 8, &bits, err))) return rc;
	c->bits |= 1u << bits;
	if (json_is_array(block) && json_array_size(block) == 2)
		for (int i = 0; i < 2; i++) c->block[i] = json_integer_value(json_array_get(block, (size_t)i));
	return 0;
}

int layout_ct(struct hf *h, const json_t *config, struct lm_err *err)
{
	struct ct c = { 0 };
	json_t *groups = json_object_get(config, "config_groups"), *group;
	const json_t *sparse = json_object_get(config, "sparsity_config"), *turn = json_object_get(config, "transform_config");
	const json_t *sparse_format = json_object_get(sparse, "format");
	const char *name;
	int rc = check_format(json_object_get(config, "format"), err);
	if (!rc && sparse_format) rc = check_format(sparse_format, err);
	if (!rc && json_object_size(json_object_get(turn, "config_groups")))
		rc = lm_fail(err, LM_EUNSUPPORTED, "quantization_config: has a \"transform_config\", which is not read");
	if (rc) return rc;
	json_object_foreach(groups, name, group) if (!rc) rc = read_group(&c, group, err);
	for (int i = 0; !rc && i < h->n_raw; i++) rc = add_module(h, &c, &h->raw[i], err);
	lay_drop(h, unused, sizeof unused / sizeof *unused);
	return rc;
}
