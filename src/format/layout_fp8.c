/* layout_fp8.c - 8-bit floats: P.weight F8_E4M3 (or E5M2) with P.weight_scale_inv or P.weight_scale.
 * GOTCHA: weight_scale_inv is multiplied, in spite of its name. */
#include "format/layouts.h"
#include <math.h>
#include <string.h>

/* fbgemm, Mistral, ModelOpt: scales of activations and of the cache; weights do not need them. */
static const char *const unused[] = { ".input_scale", ".input_scale_ub", ".activation_scale", ".output_scale", ".k_scale",
                                      ".v_scale", ".q_scale", ".prob_output_scale" };

struct f8 {
	struct derived d;
	struct raw w, s;
	enum dtype type;
	int64_t rows, cols;                  /* of one matrix */
	int64_t block_rows, block_cols;
	int64_t step_matrix, step_row;       /* of s: to the next matrix's scales, to the next row of blocks */
};

static float element(const struct f8 *f, uint8_t q)
{
	return f->w.type == RAW_F8_E4M3 ? quant_e4m3_to_f32(q) : quant_f16_to_f32((uint16_t)(q << 8));
}

static int make_row(const struct f8 *f, int64_t row, char *dst, struct lm_err *err)
{
	const uint8_t *q = f->w.data + row * f->cols;
	int64_t first = row / f->rows * f->step_matrix + row % f->rows / f->block_rows * f->step_row;
	int step = f->type == DT_F8_128 ? 128 : f->type == DT_F8_32 ? 32 : 1;
	float s = 0;
	for (int64_t c = 0; c < f->cols; c += step) {
		if (c % f->block_cols == 0) {
			s = lay_f32(&f->s, first + c / f->block_cols);
			if (!isfinite(s)) return lay_not_finite(f->s.name, first + c / f->block_cols, s, err);
		}
		float v = step == 1 ? element(f, q[c]) * s : s;
		memcpy(dst, &v, 4);
		if (step > 1) memcpy(dst + 4, q + c, (size_t)step);
		dst += step > 1 ? 4 + step : 4;
	}
	return 0;
}

static int make_f8(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct f8 *f = (const struct f8 *)d;
	int64_t bytes = quant_row_bytes(f->type, f->cols);
	int rc = 0;
	for (int64_t r = 0; !rc && r < n; r++) rc = make_row(f, row + r, (char *)dst + r * bytes, err);
	return rc;
}

static enum dtype pick_type(const struct f8 *f)
{
	bool one = f->block_cols >= f->cols;
	if (f->w.type != RAW_F8_E4M3 || f->cols % 32 || (!one && f->block_cols % 32)) return DT_F32;
	return f->cols % 128 || (!one && f->block_cols % 128) ? DT_F8_32 : DT_F8_128;
}

static int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

/* Which block of the weights a scale is for: the size config.json gives, else equal parts. */
static int blocks(struct f8 *f, int64_t matrices, int64_t br, int64_t bc, struct lm_err *err)
{
	const struct raw *s = &f->s;
	int64_t n = lay_count(s), sr, sc;
	char dims[128];
	f->block_rows = f->rows;
	f->block_cols = f->cols;
	if (n == 1) return 0;
	sr = s->n_dims > 1 ? s->dim[s->n_dims - 2] : n;
	sc = s->n_dims > 1 ? s->dim[s->n_dims - 1] : 1;
	bool fits = sr > 0 && sc > 0 && sr <= f->rows && sc <= f->cols && (n == sr * sc || n == matrices * sr * sc);
	if (fits && br > 0 && bc > 0 && sr == ceil_div(f->rows, br) && sc == ceil_div(f->cols, bc)) {
		f->block_rows = br;
		f->block_cols = bc;
	} else if (fits && f->rows % sr == 0 && f->cols % sc == 0) {
		f->block_rows = f->rows / sr;
		f->block_cols = f->cols / sc;
	} else
		return lm_fail(err, LM_EFORMAT, "%.150s: %s scales for %lldx%lld weights, expected one, one a row or one a block",
		               s->name, lay_dims(dims, sizeof dims, s->n_dims, s->dim), (long long)f->rows, (long long)f->cols);
	f->step_row = sc;
	f->step_matrix = sr * sc;
	if (matrices > 1 && n == sr * sc)
		return lm_fail(err, LM_EFORMAT, "%.150s: scales of one matrix, expected %lld", s->name, (long long)matrices);
	return 0;
}

int f8_add(struct hf *h, struct raw *w, size_t base, struct raw *scale, int64_t block_rows, int64_t block_cols, struct lm_err *err)
{
	struct f8 f = { .d.rows = make_f8, .w = *w, .s = *scale };
	char dims[128];
	int rc;
	if (w->n_dims < 2 || w->n_dims > 3 || w->size == 0)
		return lm_fail(err, LM_EFORMAT, "%.150s: %s weights with a scale, expected two or three dimensions", w->name,
		               lay_dims(dims, sizeof dims, w->n_dims, w->dim));
	if (!((LAY_FLOAT | LAY_E8M0) >> scale->type & 1))
		return lm_fail(err, LM_EFORMAT, "%.150s: %s, expected scales of F32, F16, BF16, U8 or F8_E8M0", scale->name,
		               raw_info[scale->type].name);
	f.rows = w->dim[w->n_dims - 2];
	f.cols = w->dim[w->n_dims - 1];
	if ((rc = blocks(&f, w->n_dims == 3 ? w->dim[0] : 1, block_rows, block_cols, err))) return rc;
	f.type = pick_type(&f);
	w->used = scale->used = true;
	return lay_add(h, w, base, w->name + base, f.type, w->n_dims, w->dim, &f, sizeof f, err);
}

int layout_fp8(struct hf *h, const json_t *config, struct lm_err *err)
{
	const json_t *block = json_object_get(config, "weight_block_size");
	int64_t br = json_integer_value(json_array_get(block, 0)), bc = json_integer_value(json_array_get(block, 1));
	int rc = 0;
	for (int i = 0; !rc && i < h->n_raw; i++) {
		struct raw *w = &h->raw[i], *s;
		if (w->type != RAW_F8_E4M3 && w->type != RAW_F8_E5M2) continue;
		size_t n = strlen(w->name);
		s = lay_peer(h, w, n, "_scale_inv");
		if (!s) s = lay_peer(h, w, n, "_scale");
		/* bare, they would be taken for the weights */
		if (!s && w->n_dims > 1 && lay_base(w->name, ".weight")) rc = lay_need(h, w, n, "_scale", &s, err);
		if (s) rc = f8_add(h, w, n, s, br, bc, err);
	}
	lay_drop(h, unused, sizeof unused / sizeof *unused);
	return rc;
}

/* ModelOpt: FP8 as above, NVFP4 as P.weight U8 [N][K/2], P.weight_scale F8_E4M3, P.weight_scale_2; the cache's scales
 * stand beside k_proj and v_proj. */
int layout_modelopt(struct hf *h, const json_t *config, struct lm_err *err)
{
	int rc = layout_fp8(h, config, err);
	for (int i = 0; !rc && i < h->n_raw; i++) {
		struct raw *w = &h->raw[i], *scale, *global;
		size_t base = lay_base(w->name, ".weight");
		if (!base || w->type != RAW_U8 || w->used) continue;
		if ((rc = lay_need(h, w, base, ".weight_scale", &scale, err))) break;
		if ((rc = lay_need(h, w, base, ".weight_scale_2", &global, err))) break;
		rc = nv4_add(h, w, base, scale, global, false, err);
	}
	return rc;
}
