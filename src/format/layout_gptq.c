/* layout_gptq.c - GPTQ: P.qweight I32 [K*bits/32][N] packed along K, P.qzeros I32 [G][N*bits/32] along N, P.scales
 * [G][N], P.g_idx I32 [K].  w[n][k] = (q[k][n] - z[g][n]) * s[g][n], g = g_idx[k].
 * GOTCHAS
 *   - format "gptq" stores zeros minus one, "gptq_v2" as they are;
 *   - three bits run across words: 32 fields are three words;
 *   - GPTQModel's "dynamic" gives modules their own bits: shapes tell, config.json only where there is no g_idx. */
#include "format/layouts.h"
#include <string.h>

struct gptq { bool v2; int64_t bits, group; };

static void fetch(const struct ints *w, int64_t row, int64_t n, int64_t col, int m, uint8_t *out)
{
	ints_fetch(w, w->q.data + row * 4, 4, w->rows * 4, n, col, m, out);
}

static void column(const struct ints *w, int64_t row, int64_t n, int64_t col, uint8_t *out)
{
	ints_column(w, w->q.data + row * 4, 4, w->rows * 4, n, col, out);
}

static int zero_v2(const struct ints *w, int64_t row, int64_t g)
{
	return (int)ints_field(w->zero.data + g * w->zero.dim[1] * 4, 4, row, w->bits);
}

static int zero_v1(const struct ints *w, int64_t row, int64_t g)
{
	return zero_v2(w, row, g) + 1;
}

static int64_t words(int64_t n, int64_t bits) { return n / 32 * bits + (n % 32 * bits + 31) / 32; }

/* Bits, columns, groups from the shapes. */
static int shape(struct ints *w, const struct gptq *c, const struct raw *q, const struct raw *scales, const struct raw *g_idx,
                 struct lm_err *err)
{
	char dims[128];
	int64_t bits = c->bits, packed = q->dim[0];
	if (q->type != RAW_I32 || q->n_dims != 2 || q->dim[0] < 1 || q->dim[1] < 1)
		return lm_fail(err, LM_EFORMAT, "%.150s: %s %s, expected I32 with two dimensions", q->name,
		               raw_info[q->type].name, lay_dims(dims, sizeof dims, q->n_dims, q->dim));
	if (scales->n_dims != 2 || !(LAY_FLOAT >> scales->type & 1) || scales->dim[0] < 1)
		return lm_fail(err, LM_EFORMAT, "%.150s: %s %s, expected F16, BF16 or F32 with two dimensions", scales->name,
		               raw_info[scales->type].name, lay_dims(dims, sizeof dims, scales->n_dims, scales->dim));
	w->rows = q->dim[1];
	w->cols = packed / bits * 32 + packed % bits * 32 / bits;
	if (g_idx && g_idx->n_dims == 1 && g_idx->dim[0] > 0) {
		w->cols = g_idx->dim[0];
		for (bits = 2; bits < 8 && words(w->cols, bits) != packed; bits++) { }
	}
	if ((bits != 2 && bits != 3 && bits != 4 && bits != 8) || words(w->cols, bits) != packed)
		return lm_fail(err, LM_EFORMAT, "%.150s: %lld words for %lld inputs, expected 2, 3, 4 or 8 bits each", q->name,
		               (long long)packed, (long long)w->cols);
	w->bits = (int)bits;
	w->groups = scales->dim[0];
	w->group = c->group < 0 || c->group > w->cols ? w->cols : c->group;
	if ((w->cols + w->group - 1) / w->group == w->groups) return 0;
	if (w->cols % w->groups)
		return lm_fail(err, LM_EFORMAT, "%.150s: %lld groups of %lld inputs, expected groups of %lld", scales->name,
		               (long long)w->groups, (long long)w->cols, (long long)w->group);
	w->group = w->cols / w->groups;
	return 0;
}

static int add(struct hf *h, const struct gptq *c, struct raw *q, size_t base, struct lm_err *err)
{
	struct ints w = { .fetch = fetch, .column = column, .zero_at = c->v2 ? zero_v2 : zero_v1 };
	struct raw *scales, *zeros, *g_idx = lay_peer(h, q, base, ".g_idx");
	int rc;
	if ((rc = lay_need(h, q, base, ".scales", &scales, err))) return rc;
	if ((rc = lay_need(h, q, base, ".qzeros", &zeros, err))) return rc;
	if ((rc = shape(&w, c, q, scales, g_idx, err))) return rc;
	if ((rc = lay_is(scales, LAY_FLOAT, err, w.groups, w.rows))) return rc;
	if ((rc = lay_is(zeros, 1 << RAW_I32, err, w.groups, words(w.rows, w.bits)))) return rc;
	if (g_idx && (rc = ints_order(h, &w, g_idx, err))) return rc;
	w.q = *q;
	w.scale = *scales;
	w.zero = *zeros;
	w.scale_row = 1;
	w.scale_group = w.rows;
	w.symmetric = ints_all(zeros->data, w.groups, zeros->dim[1] * 4, w.rows, w.bits,
	                       (1u << (w.bits - 1)) - (c->v2 ? 0 : 1));
	q->used = scales->used = zeros->used = true;
	if (g_idx) g_idx->used = true;
	return ints_add(h, q, base, &w, err);
}

int layout_gptq(struct hf *h, const json_t *config, struct lm_err *err)
{
	const char *format = json_string_value(json_object_get(config, "checkpoint_format"));
	struct gptq c = { .v2 = format && !strcmp(format, "gptq_v2") };
	int rc;
	if ((format && !c.v2 && strcmp(format, "gptq")) || json_is_true(json_object_get(config, "is_marlin_format")))
		return lm_fail(err, LM_EUNSUPPORTED, "quantization_config: checkpoint_format is \"%.60s\", expected gptq or gptq_v2",
		               format ? format : "marlin");
	if ((rc = lay_int(config, "bits", 2, 8, 4, &c.bits, err))) return rc;
	if ((rc = lay_int(config, "group_size", -1, INT32_MAX, -1, &c.group, err))) return rc;
	if (c.group == 0) return lm_fail(err, LM_EFORMAT, "quantization_config: \"group_size\" is 0, expected -1 or 1 and more");
	for (int i = 0; !rc && i < h->n_raw; i++) {
		size_t base = lay_base(h->raw[i].name, ".qweight");
		if (base) rc = add(h, &c, &h->raw[i], base, err);
	}
	return rc;
}
