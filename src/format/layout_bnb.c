/* layout_bnb.c - bitsandbytes.
 *   4 bits   P.weight (bytes, whatever its dtype), P.weight.absmax, P.weight.quant_map, P.weight.quant_state.bitsandbytes__nf4
 *            or __fp4: JSON; absmax itself quantised: P.weight.nested_absmax, P.weight.nested_quant_map
 *   int8     P.weight I8, P.SCB F32, P.weight_format U8
 * GOTCHAS
 *   - the first element of a pair is in the high nibble;
 *   - blocks run over the flattened matrix: unless rows are whole blocks of 64, only floats can have them. */
#include "format/layouts.h"
#include "base/json.h"
#include <math.h>
#include <string.h>

struct bnb4 {
	struct derived d;
	struct raw q, absmax, outer;         /* outer: nested_absmax */
	float code[16], inner[256];          /* quant_map, nested_quant_map */
	float offset;
	int64_t block, nested;               /* elements; nested 0: absmax is f32 */
	int64_t cols;
	enum dtype type;
};

/* ---- rows ------------------------------------------------------------------------------------------------- */
static float absmax_at(const struct bnb4 *f, int64_t block)
{
	if (!f->nested) return lay_f32(&f->absmax, block);
	return f->inner[f->absmax.data[block]] * lay_f32(&f->outer, block / f->nested) + f->offset;
}

static int make_4bit(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct bnb4 *f = (const struct bnb4 *)d;
	struct block_nf4 *b = dst;
	int64_t from = row * f->cols, to = from + n * f->cols;
	float a = 0;
	for (int64_t i = from; i < to; i++) {
		if (i == from || i % f->block == 0) a = absmax_at(f, i / f->block);
		if (!isfinite(a)) return lay_not_finite(f->nested ? f->outer.name : f->absmax.name, i / f->block, a, err);
		if (f->type == DT_F32) {
			float v = f->code[f->q.data[i / 2] >> (i % 2 ? 0 : 4) & 15] * a;
			memcpy((char *)dst + (i - from) * 4, &v, 4);
			continue;
		}
		b->absmax = a;
		memcpy(b++->q, f->q.data + i / 2, 32);
		i += 63;
	}
	return 0;
}

/* ---- what the file says ------------------------------------------------------------------------------------- */
/* n values of a table into out. */
static int table(const struct hf *h, const struct raw *r, size_t base, const char *suffix, int n, float *out, struct lm_err *err)
{
	struct raw *t;
	int rc = lay_need(h, r, base, suffix, &t, err);
	if (!rc) rc = lay_is(t, 1 << RAW_F32, err, n);
	for (int i = 0; !rc && i < n; i++) {
		out[i] = lay_f32(t, i);
		if (!isfinite(out[i])) rc = lay_not_finite(t->name, i, out[i], err);
	}
	if (!rc) t->used = true;
	return rc;
}

static int state_int(const json_t *state, const char *name, const struct raw *r, int64_t *out, struct lm_err *err)
{
	const json_t *v = json_object_get(state, name);
	*out = json_integer_value(v);
	if (json_is_integer(v) && *out > 0) return 0;
	return lm_fail(err, LM_EFORMAT, "%.150s: its \"%s\" is %s, expected a number above 0", r->name, name,
	               json_is_integer(v) ? "0 or less" : lm_json_kind(v));
}

/* Dimensions from the state; *n elements. */
static int shape_of(const json_t *state, const struct raw *r, int64_t dim[4], int *n_dims, int64_t *n, struct lm_err *err)
{
	const json_t *shape = json_object_get(state, "shape");
	*n_dims = (int)json_array_size(shape);
	*n = 1;
	bool ok = *n_dims >= 1 && json_array_size(shape) <= 4;
	for (int i = 0; ok && i < *n_dims; i++) {
		dim[i] = json_integer_value(json_array_get(shape, (size_t)i));
		ok = dim[i] > 0 && !__builtin_mul_overflow(*n, dim[i], n);
	}
	return ok ? 0 : lm_fail(err, LM_EFORMAT, "%.150s: its \"shape\" is no list of one to four numbers above 0", r->name);
}

static int nested(const struct hf *h, struct bnb4 *f, const json_t *state, const struct raw *r, size_t base, int64_t blocks,
                  struct lm_err *err)
{
	struct raw *outer;
	const json_t *offset = json_object_get(state, "nested_offset");
	const char *type = json_string_value(json_object_get(state, "nested_dtype"));
	int rc = state_int(state, "nested_blocksize", r, &f->nested, err);
	if (rc) return rc;
	if (!json_is_number(offset))
		return lm_fail(err, LM_EFORMAT, "%.150s: its \"nested_offset\" is %s, expected a number", r->name, lm_json_kind(offset));
	if (type && strcmp(type, "float32"))
		return lm_fail(err, LM_EUNSUPPORTED, "%.150s: its \"nested_dtype\" is \"%.40s\", expected float32", r->name, type);
	f->offset = (float)json_number_value(offset);
	if ((rc = table(h, r, base, ".nested_quant_map", 256, f->inner, err))) return rc;
	if ((rc = lay_need(h, r, base, ".nested_absmax", &outer, err))) return rc;
	if ((rc = lay_is(outer, 1 << RAW_F32, err, blocks / f->nested + (blocks % f->nested != 0)))) return rc;
	outer->used = true;
	f->outer = *outer;
	return 0;
}

/* The types have bitsandbytes' own codes; rows must be whole blocks of theirs. */
static enum dtype pick_type(const struct bnb4 *f, bool nf4)
{
	if (f->cols % 64 || f->block % 64 || memcmp(f->code, nf4 ? quant_nf4_code : quant_fp4_code, sizeof f->code)) return DT_F32;
	return nf4 ? DT_NF4 : DT_FP4;
}

static int add_4bit(struct hf *h, struct raw *r, size_t base, bool nf4, const json_t *state, struct lm_err *err)
{
	struct bnb4 f = { .d.rows = make_4bit };
	struct raw *q, *absmax;
	int64_t dim[4], n;
	int n_dims, rc;
	if ((rc = lay_need(h, r, base, "", &q, err))) return rc;
	if ((rc = lay_need(h, r, base, ".absmax", &absmax, err))) return rc;
	if ((rc = shape_of(state, r, dim, &n_dims, &n, err))) return rc;
	if ((rc = state_int(state, "blocksize", r, &f.block, err))) return rc;
	if ((rc = table(h, r, base, ".quant_map", 16, f.code, err))) return rc;
	if (q->size != (uint64_t)n / 2 + (uint64_t)(n & 1))
		return lm_fail(err, LM_EFORMAT, "%.150s: %llu bytes for %lld weights of 4 bits, expected %lld", q->name,
		               (unsigned long long)q->size, (long long)n, (long long)(n / 2 + (n & 1)));
	int64_t blocks = n / f.block + (n % f.block != 0);
	bool twice = absmax->type == RAW_U8;
	if ((rc = lay_is(absmax, twice ? 1 << RAW_U8 : 1 << RAW_F32, err, blocks))) return rc;
	if (twice && (rc = nested(h, &f, state, r, base, blocks, err))) return rc;
	f.q = *q;
	f.absmax = *absmax;
	f.cols = dim[n_dims - 1];
	f.type = pick_type(&f, nf4);
	q->used = absmax->used = r->used = true;
	return lay_add(h, q, base, "", f.type, n_dims, dim, &f, sizeof f, err);
}

/* ---- int8 ------------------------------------------------------------------------------------------------- */
struct bnb8 { struct derived d; struct raw q, scb; int64_t cols; enum dtype type; };

static int make_int8(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct bnb8 *f = (const struct bnb8 *)d;
	struct block_bnb8 *b = dst;
	for (int64_t r = row; r < row + n; r++) {
		float s = lay_f32(&f->scb, r);
		const uint8_t *q = f->q.data + r * f->cols;
		if (!isfinite(s)) return lay_not_finite(f->scb.name, r, s, err);
		for (int64_t c = 0; f->type == DT_F32 && c < f->cols; c++) {
			float v = (float)(int8_t)q[c] * s * 7.874015718698502e-3f;
			memcpy((char *)dst + ((r - row) * f->cols + c) * 4, &v, 4);
		}
		for (int64_t c = 0; f->type == DT_BNB8 && c < f->cols; c += 32, b++) {
			b->d = s;
			memcpy(b->q, q + c, 32);
		}
	}
	return 0;
}

static int add_int8(struct hf *h, struct raw *scb, size_t base, struct lm_err *err)
{
	struct bnb8 f = { .d.rows = make_int8 };
	struct raw *q, *format = lay_peer(h, scb, base, ".weight_format");
	char dims[128];
	int rc = lay_need(h, scb, base, ".weight", &q, err);
	if (rc) return rc;
	if (q->type != RAW_I8 || q->n_dims != 2 || q->size == 0)
		return lm_fail(err, LM_EFORMAT, "%.150s: %s %s, expected I8 with two dimensions", q->name, raw_info[q->type].name,
		               lay_dims(dims, sizeof dims, q->n_dims, q->dim));
	if ((rc = lay_is(scb, 1 << RAW_F32, err, q->dim[0]))) return rc;
	if (format && (format->size != 1 || format->data[0] != 0))
		return lm_fail(err, LM_EUNSUPPORTED, "%.150s: is not 0, expected weights in rows", format->name);
	f.q = *q;
	f.scb = *scb;
	f.cols = q->dim[1];
	f.type = f.cols % 32 ? DT_F32 : DT_BNB8;
	q->used = scb->used = true;
	if (format) format->used = true;
	return lay_add(h, q, base, ".weight", f.type, 2, q->dim, &f, sizeof f, err);
}

int layout_bnb(struct hf *h, const json_t *config, struct lm_err *err)
{
	int rc = 0;
	(void)config;
	for (int i = 0; !rc && i < h->n_raw; i++) {
		struct raw *r = &h->raw[i];
		size_t nf4 = lay_base(r->name, ".quant_state.bitsandbytes__nf4"), fp4 = lay_base(r->name, ".quant_state.bitsandbytes__fp4");
		size_t scb = lay_base(r->name, ".SCB");
		if (scb) rc = add_int8(h, r, scb, err);
		if (!nf4 && !fp4) continue;
		struct lm_err e;
		json_t *state = lm_json_parse((const char *)r->data, (size_t)r->size, &e);
		if (!state) return lm_fail(err, e.code, "%.150s: %s", r->name, e.msg);
		rc = add_4bit(h, r, nf4 ? nf4 : fp4, nf4 != 0, state, err);
		json_decref(state);
	}
	return rc;
}
