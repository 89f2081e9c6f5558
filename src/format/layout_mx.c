/* layout_mx.c - four-bit floats (e2m1) under 8-bit scales: MXFP4 of gpt-oss and of compressed-tensors, NVFP4.
 * GOTCHAS
 *   - checkpoints have element 2j in the low nibble of byte j, GGUF's blocks the first half in the low nibbles;
 *   - gpt-oss has [E][N][K/32][16] for a projection from K to N, while its float checkpoints have [E][K][N] under the same
 *     name: the type tells them apart. */
#include "format/layouts.h"
#include <math.h>
#include <string.h>

static const float e2m1[16] = { 0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -.5f, -1, -1.5f, -2, -3, -4, -6 };

struct fp4 {
	struct derived d;
	struct raw q, s, g;
	enum dtype type;
	int64_t cols;
	bool divide;
};

static int element(const uint8_t *q, int64_t i) { return q[i / 2] >> (i % 2 * 4) & 15; }

/* n elements, whose first half goes to the low nibbles of n/2 bytes */
static void halves(uint8_t *dst, const uint8_t *q, int n)
{
	for (int j = 0; j < n / 2; j++) dst[j] = (uint8_t)(element(q, j) | element(q, j + n / 2) << 4);
}

/* ---- MXFP4 ------------------------------------------------------------------------------------------------ */
static int make_mx(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct fp4 *f = (const struct fp4 *)d;
	int64_t per = f->cols / 32, first = row * per;
	struct block_mxfp4 *b = dst;
	for (int64_t i = first; i < first + n * per; i++, b++) {
		b->e = f->s.data[i];
		if (b->e == 255) return lay_not_finite(f->s.name, i, NAN, err);
		halves(b->q, f->q.data + i * 16, 32);
	}
	return 0;
}

int mx4_add(struct hf *h, struct raw *q, size_t base, const char *suffix, struct raw *scale, int n_dims, const int64_t *dim,
            struct lm_err *err)
{
	struct fp4 f = { .d.rows = make_mx, .q = *q, .s = *scale, .type = DT_MXFP4, .cols = dim[n_dims - 1] };
	q->used = scale->used = true;
	return lay_add(h, q, base, suffix, DT_MXFP4, n_dims, dim, &f, sizeof f, err);
}

int layout_mxfp4(struct hf *h, const json_t *config, struct lm_err *err)
{
	int rc = 0;
	char dims[128];
	(void)config;
	for (int i = 0; !rc && i < h->n_raw; i++) {
		struct raw *q = &h->raw[i], *scale;
		size_t base = lay_base(q->name, "_blocks");
		if (!base) continue;
		if ((rc = lay_need(h, q, base, "_scales", &scale, err))) break;
		if (q->type != RAW_U8 || q->n_dims != 4 || q->dim[3] != 16)
			return lm_fail(err, LM_EFORMAT, "%.150s: %s %s, expected U8 experts x rows x groups x 16", q->name,
			               raw_info[q->type].name, lay_dims(dims, sizeof dims, q->n_dims, q->dim));
		if ((rc = lay_is(scale, LAY_E8M0, err, q->dim[0], q->dim[1], q->dim[2]))) break;
		int64_t cols = q->size ? q->dim[2] * 32 : 0;
		rc = mx4_add(h, q, base, "", scale, 3, (int64_t[]){ q->dim[0], q->dim[1], cols }, err);
	}
	return rc;
}

/* ---- NVFP4 ------------------------------------------------------------------------------------------------ */
static void put_floats(const struct fp4 *f, float g, const uint8_t *q, int64_t first, char *dst)
{
	for (int64_t c = 0; c < f->cols; c++) {
		float s = lay_f32(&f->s, first + c / 16), v = e2m1[element(q, c)] * (f->divide ? s / g : s * g);
		memcpy(dst + 4 * c, &v, 4);
	}
}

static int make_nv(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct fp4 *f = (const struct fp4 *)d;
	int64_t bytes = quant_row_bytes(f->type, f->cols), per = f->cols / 16;
	float g = lay_f32(&f->g, 0);
	if (!(g > 0 && isfinite(g)))
		return lm_fail(err, LM_EFORMAT, "%.200s: is %f, expected a finite number above 0", f->g.name, (double)g);
	for (int64_t r = row; r < row + n; r++) {
		const uint8_t *q = f->q.data + r * f->cols / 2;
		struct block_nv4 *b = (struct block_nv4 *)((char *)dst + (r - row) * bytes);
		for (int64_t i = r * per; i < (r + 1) * per; i++)
			if (f->s.data[i] % 128 == 127) return lay_not_finite(f->s.name, i, NAN, err);
		if (f->type == DT_F32) put_floats(f, g, q, r * per, (char *)b);
		else
			for (int64_t c = 0; c < f->cols; c += 64, b++) {
				b->g = f->divide ? g : -g;
				memcpy(b->d, f->s.data + r * per + c / 16, 4);
				for (int k = 0; k < 4; k++) halves(b->q + 8 * k, q + c / 2 + 8 * k, 16);
			}
	}
	return 0;
}

int nv4_add(struct hf *h, struct raw *q, size_t base, struct raw *scale, struct raw *global, bool divide, struct lm_err *err)
{
	struct fp4 f = { .d.rows = make_nv, .q = *q, .s = *scale, .g = *global, .divide = divide };
	char dims[128];
	int rc;
	if (q->type != RAW_U8 || q->n_dims != 2 || q->size == 0 || q->dim[1] > INT64_MAX / 2)
		return lm_fail(err, LM_EFORMAT, "%.150s: %s %s, expected U8 with two dimensions", q->name, raw_info[q->type].name,
		               lay_dims(dims, sizeof dims, q->n_dims, q->dim));
	f.cols = q->dim[1] * 2;
	if (f.cols % 16)
		return lm_fail(err, LM_EFORMAT, "%.150s: rows of %lld weights, expected a multiple of 16", q->name, (long long)f.cols);
	if ((rc = lay_is(scale, 1 << RAW_F8_E4M3, err, q->dim[0], f.cols / 16))) return rc;
	if (lay_count(global) != 1 || !(LAY_FLOAT >> global->type & 1))
		return lm_fail(err, LM_EFORMAT, "%.150s: %s %s, expected one number of F32", global->name,
		               raw_info[global->type].name, lay_dims(dims, sizeof dims, global->n_dims, global->dim));
	f.type = f.cols % 64 ? DT_F32 : DT_NV4;
	q->used = scale->used = global->used = true;
	return lay_add(h, q, base, ".weight", f.type, 2, (int64_t[]){ q->dim[0], f.cols }, &f, sizeof f, err);
}
