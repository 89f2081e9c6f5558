/* layouts.c - raw tensors -> tensors under the checkpoint's names. */
#include "format/hf.h"
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

int layouts_open(struct hf *h, struct lm_err *err)
{
	int rc = 0;
	const json_t *q = json_object_get(h->config, "quantization_config");
	if (json_is_object(q)) {
		const char *method = json_string_value(json_object_get(q, "quant_method"));
		return lm_fail(err, LM_EUNSUPPORTED, "%.300s: quantised weights of the kind \"%.40s\" are not read", h->dir,
		               method ? method : "(unnamed)");
	}
	for (int i = 0; !rc && i < h->n_raw; i++)
		if (!h->raw[i].used) rc = plain(h, &h->raw[i], err);
	return rc ? rc : index_build(h->f, &h->ts, h->t, sizeof *h->t, h->n_t, "tensor", err);
}
