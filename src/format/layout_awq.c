/* layout_awq.c - AWQ, version gemm: P.qweight I32 [K][N/8], P.qzeros I32 [G][N/8], P.scales [G][N], four bits packed
 * along N.  w[n][k] = (q[k][n] - z[g][n]) * s[g][n], g = k / group.
 * GOTCHA: columns 8j..8j+7 lie in the nibbles 0 4 1 5 2 6 3 7 of word j. */
#include "format/layouts.h"
#include <string.h>
#include <strings.h>

static const uint8_t shift[8] = { 0, 16, 4, 20, 8, 24, 12, 28 };

/* Four nibbles to every other byte. */
static uint64_t spread(uint64_t v)
{
	v = (v | v << 24) & 0x000000ff000000ff;
	return (v | v << 12) & 0x000f000f000f000f;
}

static void column(const struct ints *w, int64_t row, int64_t n, int64_t col, uint8_t *out)
{
	const uint8_t *words = w->q.data + col * w->q.dim[1] * 4;
	if (col + 24 < w->cols) __builtin_prefetch(words + 24 * w->q.dim[1] * 4 + row / 2);       /* columns are pages apart */
	for (int64_t i = 0; i < n;) {
		int at = (int)((row + i) % 8);
		uint32_t v = lay_u32(words + (row + i) / 8 * 4);
		if (at == 0 && n - i >= 8) {
			uint64_t eight = spread(v & 0xffff) | spread(v >> 16) << 8;
			memcpy(out + i, &eight, sizeof eight);
			i += 8;
			continue;
		}
		for (; at < 8 && i < n; at++, i++) out[i] = (uint8_t)(v >> shift[at] & 15);
	}
}

static int zero_at(const struct ints *w, int64_t row, int64_t g)
{
	return (int)(lay_u32(w->zero.data + (g * w->zero.dim[1] + row / 8) * 4) >> shift[row % 8] & 15);
}

static int add(struct hf *h, int64_t group, struct raw *q, size_t base, struct lm_err *err)
{
	struct ints w = { .bits = 4, .column = column, .zero_at = zero_at, .scale_row = 1 };
	struct raw *scales, *zeros;
	char dims[128];
	int rc;
	if ((rc = lay_need(h, q, base, ".scales", &scales, err))) return rc;
	if ((rc = lay_need(h, q, base, ".qzeros", &zeros, err))) return rc;
	if (q->type != RAW_I32 || q->n_dims != 2 || q->dim[0] < 1 || q->dim[1] < 1)
		return lm_fail(err, LM_EFORMAT, "%.150s: %s %s, expected I32 with two dimensions", q->name,
		               raw_info[q->type].name, lay_dims(dims, sizeof dims, q->n_dims, q->dim));
	w.cols = q->dim[0];
	w.rows = w.scale_group = q->dim[1] * 8;
	w.group = group < 0 || group > w.cols ? w.cols : group;
	if (w.cols % w.group && scales->n_dims == 2 && scales->dim[0] > 0 && w.cols % scales->dim[0] == 0)
		w.group = w.cols / scales->dim[0];
	w.groups = (w.cols + w.group - 1) / w.group;
	if ((rc = lay_is(scales, LAY_FLOAT, err, w.groups, w.rows))) return rc;
	if ((rc = lay_is(zeros, 1 << RAW_I32, err, w.groups, q->dim[1]))) return rc;
	w.q = *q;
	w.scale = *scales;
	w.zero = *zeros;
	w.symmetric = ints_all(zeros->data, w.groups, zeros->dim[1] * 4, w.rows, 4, 8);
	q->used = scales->used = zeros->used = true;
	return ints_add(h, q, base, &w, err);
}

int layout_awq(struct hf *h, const json_t *config, struct lm_err *err)
{
	const char *version = json_string_value(json_object_get(config, "version"));
	int64_t bits, group;
	int rc;
	if (version && strcasecmp(version, "gemm"))
		return lm_fail(err, LM_EUNSUPPORTED, "quantization_config: version of awq is \"%.60s\", expected gemm", version);
	if ((rc = lay_int(config, json_object_get(config, "bits") ? "bits" : "w_bit", 4, 4, 4, &bits, err))) return rc;
	if ((rc = lay_int(config, json_object_get(config, "group_size") ? "group_size" : "q_group_size", -1, INT32_MAX, 128,
	                  &group, err)))
		return rc;
	if (group == 0) return lm_fail(err, LM_EFORMAT, "quantization_config: \"group_size\" is 0, expected -1 or 1 and more");
	for (int i = 0; !rc && i < h->n_raw; i++) {
		size_t base = lay_base(h->raw[i].name, ".qweight");
		if (base) rc = add(h, group, &h->raw[i], base, err);
	}
	return rc;
}
