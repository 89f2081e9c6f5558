/* layouts.c - raw tensors -> tensors under the checkpoint's names. */
#include "format/layouts.h"
#include "base/json.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

int hf_add_tensor(struct hf *h, const struct tensor *t, struct lm_err *err)
{
	if (h->n_t == h->cap_t) {
		int cap = h->cap_t ? 2 * h->cap_t : 64;
		size_t bytes;
		struct tensor *p = NULL;
		if (lm_mul_size((size_t)cap, sizeof *p, &bytes)) p = lm_realloc(h->t, bytes);
		if (!p) return lm_fail(err, LM_ENOMEM, "%.300s: out of memory", h->dir);
		h->t = p;
		h->cap_t = cap;
	}
	h->t[h->n_t++] = *t;
	return 0;
}

const struct tensor *hf_tensor(const struct hf *h, const char *name)
{
	int64_t i = index_find(h->f, &h->ts, name);
	return i < 0 ? NULL : &h->t[i];
}

/* ---- names ------------------------------------------------------------------------------------------------ */
enum { NAME = 1024 };

size_t lay_base(const char *name, const char *suffix)
{
	size_t n = strlen(name), k = strlen(suffix);
	return n > k && !strcmp(name + n - k, suffix) ? n - k : 0;
}

struct raw *lay_peer(const struct hf *h, const struct raw *r, size_t base, const char *suffix)
{
	char name[NAME];
	int n = snprintf(name, sizeof name, "%.*s%s", (int)(base < NAME ? base : NAME), r->name, suffix);
	return n > 0 && n < NAME ? raw_find(h, name) : NULL;
}

int lay_need(const struct hf *h, const struct raw *r, size_t base, const char *suffix, struct raw **out, struct lm_err *err)
{
	*out = lay_peer(h, r, base, suffix);
	if (*out) return 0;
	return lm_fail(err, LM_EFORMAT, "%.150s: expected %.*s%s beside it, which is missing", r->name,
	               (int)(base < 150 ? base : 150), r->name, suffix);
}

void lay_drop(const struct hf *h, const char *const *suffix, int n)
{
	for (int i = 0; i < h->n_raw; i++)
		for (int k = 0; k < n; k++)
			if (lay_base(h->raw[i].name, suffix[k])) h->raw[i].used = true;
}

/* ---- shapes and values ------------------------------------------------------------------------------------ */
const char *lay_dims(char *buf, size_t size, int n_dims, const int64_t *dim)
{
	size_t at = 0;
	buf[0] = 0;
	if (n_dims == 0) snprintf(buf, size, "scalar");
	for (int i = 0; i < n_dims && at < size; i++)
		at += (size_t)snprintf(buf + at, size - at, i ? "x%lld" : "%lld", (long long)dim[i]);
	return buf;
}

int lay_check(const struct raw *r, unsigned types, int n_dims, const int64_t *dim, struct lm_err *err)
{
	bool same = (types >> r->type & 1) && r->n_dims == n_dims;
	for (int i = 0; same && i < n_dims; i++) same = r->dim[i] == dim[i];
	if (same) return 0;
	char found[128], want[128], names[96] = "";
	size_t at = 0;
	for (int t = 0; t < RAW_COUNT && at < sizeof names; t++)
		if (types >> t & 1)
			at += (size_t)snprintf(names + at, sizeof names - at, at ? " or %s" : "%s", raw_info[t].name);
	return lm_fail(err, LM_EFORMAT, "%.150s: %s %s, expected %s %s", r->name, raw_info[r->type].name,
	               lay_dims(found, sizeof found, r->n_dims, r->dim), names, lay_dims(want, sizeof want, n_dims, dim));
}

int64_t lay_count(const struct raw *r)
{
	return (int64_t)(r->size * 8 / (uint64_t)raw_info[r->type].bits);
}

float lay_f32(const struct raw *r, int64_t i)
{
	const uint8_t *p = r->data + (size_t)i * (size_t)(raw_info[r->type].bits / 8);
	float f;
	switch (r->type) {
	case RAW_F16: return quant_f16_to_f32((uint16_t)(p[0] | p[1] << 8));
	case RAW_BF16: return quant_bf16_to_f32((uint16_t)(p[0] | p[1] << 8));
	case RAW_F8_E4M3: return quant_e4m3_to_f32(*p);
	case RAW_U8:
	case RAW_E8M0: return *p == 255 ? NAN : ldexpf(1, *p - 127);
	default: memcpy(&f, p, sizeof f); return f;
	}
}

int lay_not_finite(const char *name, int64_t i, float v, struct lm_err *err)
{
	return lm_fail(err, LM_EFORMAT, "%.200s: element %lld is %f, expected a finite number", name, (long long)i,
	               (double)v);
}

int lay_add(struct hf *h, const struct raw *r, size_t base, const char *suffix, enum dtype type, int n_dims,
            const int64_t *dim, const void *d, size_t bytes, struct lm_err *err)
{
	struct tensor t = { .type = type, .n_dims = n_dims, .dim = { 1, 1, 1, 1 } };
	int64_t row = quant_row_bytes(type, dim[n_dims - 1]);
	bool ok = row > 0;
	t.size = (uint64_t)row;
	for (int i = 0; i < n_dims; i++) {
		t.dim[i] = dim[i];
		ok = ok && dim[i] > 0 && (i == n_dims - 1 || lm_mul_u64(t.size, (uint64_t)dim[i], &t.size));
	}
	char shape[128];
	if (!ok)
		return lm_fail(err, LM_EFORMAT, "%.150s: weights of %s, expected every dimension to be 1 or more", r->name,
		               lay_dims(shape, sizeof shape, n_dims, dim));
	char *name = lm_new(h->f->arena, char, base + strlen(suffix) + 1);
	struct derived *how = lm_alloc(h->f->arena, 1, bytes, 16);
	struct tensor *from = lm_new(h->f->arena, struct tensor, 1);
	if (!name || !how || !from) return lm_fail(err, LM_ENOMEM, "%.300s: out of memory", h->dir);
	memcpy(name, r->name, base);
	memcpy(name + base, suffix, strlen(suffix) + 1);
	memcpy(how, d, bytes);
	*from = (struct tensor){ .name = r->name, .data = r->data, .size = r->size };     /* for file_done */
	how->from = from;
	t.name = name;
	t.how = how;
	return hf_add_tensor(h, &t, err);
}

int lay_int(const json_t *config, const char *name, int64_t lo, int64_t hi, int64_t otherwise, int64_t *out,
            struct lm_err *err)
{
	const json_t *v = json_object_get(config, name);
	*out = otherwise;
	if (!v || json_is_null(v)) return 0;
	*out = json_integer_value(v);
	if (json_is_integer(v) && *out >= lo && *out <= hi) return 0;
	if (!json_is_integer(v))
		return lm_fail(err, LM_EFORMAT, "quantization_config: \"%s\" is %s, expected a number from %lld to %lld", name,
		               lm_json_kind(v), (long long)lo, (long long)hi);
	return lm_fail(err, LM_EUNSUPPORTED, "quantization_config: \"%s\" is %lld, expected %lld to %lld", name,
	               (long long)*out, (long long)lo, (long long)hi);
}

/* ---- all of it -------------------------------------------------------------------------------------------- */
static const struct { const char *method; layout_fn *open; } layouts[] = {
	{ "bitsandbytes", layout_bnb }, { "mxfp4", layout_mxfp4 }, { "fp8", layout_fp8 },
	{ "fbgemm_fp8", layout_fp8 },   { "modelopt", layout_modelopt }, { "compressed-tensors", layout_ct },
	{ "awq", layout_awq },          { "gptq", layout_gptq },
};

/* A tensor of a type that we have, as it lies.  A scalar becomes a vector of one; dimensions over four (of an image
 * model, which is ignored later) fold into the first.  One without elements has no shape here: it stays unused. */
static int plain(struct hf *h, struct raw *r, struct lm_err *err)
{
	struct tensor t = { .name = r->name, .type = raw_info[r->type].type, .data = r->data, .size = r->size };
	int fold = r->n_dims > 4 ? r->n_dims - 4 : 0;
	if (t.type == DT_COUNT || r->size == 0) return 0;
	t.n_dims = r->n_dims ? r->n_dims - fold : 1;
	for (int d = 0; d < 4; d++) t.dim[d] = d + fold < r->n_dims ? r->dim[d + fold] : 1;
	for (int d = 0; d < fold; d++) t.dim[0] *= r->dim[d];
	r->used = true;
	return hf_add_tensor(h, &t, err);
}

static int config_of(const struct hf *h, const json_t **out, struct lm_err *err)
{
	static const char *const names[] = { "quantization_config", "compression_config" };
	const json_t *text = json_object_get(h->config, "text_config");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const json_t *q = json_object_get(h->config, names[i]);
		if (!q || json_is_null(q)) q = json_object_get(text, names[i]);
		if (!q || json_is_null(q)) continue;
		*out = q;
		if (json_is_object(q)) return 0;
		return lm_fail(err, LM_EFORMAT, "config.json: %s is %s, expected an object", names[i], lm_json_kind(q));
	}
	return 0;
}

static int quantised(struct hf *h, const json_t *q, struct lm_err *err)
{
	const char *method = json_string_value(json_object_get(q, "quant_method"));
	if (!method && (json_object_get(q, "load_in_4bit") || json_object_get(q, "load_in_8bit"))) method = "bitsandbytes";
	for (size_t i = 0; method && i < sizeof layouts / sizeof *layouts; i++)
		if (!strcmp(method, layouts[i].method)) return layouts[i].open(h, q, err);
	return lm_fail(err, LM_EUNSUPPORTED,
	               "quantization_config: quant_method is \"%.60s\", expected one of bitsandbytes, mxfp4, fp8, fbgemm_fp8, "
	               "modelopt, compressed-tensors, awq, gptq", method ? method : "(missing)");
}

int layouts_open(struct hf *h, struct lm_err *err)
{
	const json_t *q = NULL;
	int rc = config_of(h, &q, err);
	if (!rc && q) rc = quantised(h, q, err);
	for (int i = 0; !rc && i < h->n_raw; i++)
		if (!h->raw[i].used) rc = plain(h, &h->raw[i], err);
	if (rc) return rc;
	return index_build(h->f, &h->ts, h->t, sizeof *h->t, h->n_t, "tensor", err);
}
