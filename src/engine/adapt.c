/* adapt.c - adapters of an engine: opened with the model, chosen by each request. */
#include "engine/engine.h"
#include "format/overlay.h"
#include <math.h>
#include <string.h>

enum { MAX_ADAPTERS = 256 };

static int open_adapters(struct lm_engine *e, const struct lm_engine_opt *o, struct lm_err *err)
{
	int rc;

	if (o->n_lora < 0 || o->n_lora > MAX_ADAPTERS)
		return lm_fail(err, LM_EINVAL, "%d adapters, at most %d are possible", o->n_lora, MAX_ADAPTERS);
	e->adapter = lm_calloc((size_t)o->n_lora, sizeof(struct adapter *));
	e->lora_scale = lm_calloc((size_t)o->n_lora, sizeof *e->lora_scale);
	if (!e->adapter || !e->lora_scale) return lm_fail(err, LM_ENOMEM, "out of memory for %d adapters", o->n_lora);
	for (int i = 0; i < o->n_lora; i++) {
		if (!isfinite(o->lora[i].scale))
			return lm_fail(err, LM_EINVAL, "%s: the adapter's weight is not a finite number", o->lora[i].path);
		if ((rc = adapter_open(&e->adapter[i], o->lora[i].path, e->file, err))) return rc;
		e->lora_scale[i] = o->lora[i].scale;
		e->n_lora = i + 1;
	}
	e->info.n_lora = e->n_lora;
	return 0;
}

int adapt_load(struct lm_engine *e, const struct lm_engine_opt *o, const struct model_opt *how, struct lm_err *err)
{
	const struct file *f = e->file;
	int rc;

	if (o->n_lora) {
		if ((rc = open_adapters(e, o, err))) return rc;
		if ((rc = overlay_full(&e->view, e->file, (const struct adapter *const *)e->adapter, e->lora_scale, e->n_lora, err)))
			return rc;
		if (e->view) f = e->view;
	}
	if ((rc = model_load(&e->model, f, e->be, how, err))) return rc;
	for (int i = 0; i < 2; i++) e->salt_key[i] = (uint32_t)lm_random_seed();
	if (!e->n_lora) return 0;
	return model_lora(e->model, (const struct adapter *const *)e->adapter, e->lora_scale, e->n_lora, err);
}

void adapt_free(struct lm_engine *e)
{
	file_close(e->view);
	for (int i = 0; i < e->n_lora; i++) adapter_close(e->adapter[i]);
	lm_free((void *)e->adapter);
	lm_free(e->lora_scale);
}

/* A number for these weights, 0 for none at all.  Chained blocks of a keyed generator: whoever chooses weights cannot
 * choose two sets with one number. */
static uint64_t salt_of(const struct lm_engine *e, const float *w)
{
	uint32_t s[4] = { 0 }, ctr[4];
	bool any = false;

	for (int i = 0; i < e->n_lora; i++) {
		any |= w[i] != 0;
		memcpy(ctr, s, sizeof ctr);
		memcpy(&ctr[2], &w[i], sizeof ctr[2]);
		ctr[3] ^= (uint32_t)i;
		lm_philox(s, ctr, e->salt_key);
	}
	return any ? ((uint64_t)s[0] << 32 | s[1]) | 1 : 0;
}

int adapt_request(struct lm_request *r, const struct lm_prompt *p, struct lm_err *err)
{
	const struct lm_engine *e = r->e;
	float *w;

	if (p->lora && p->n_lora != e->n_lora)
		return lm_fail(err, LM_EINVAL, "%d adapter weights, the engine has %d adapters", p->n_lora, e->n_lora);
	if (!e->n_lora) return r->p.lora = NULL, 0;
	r->p.lora = w = lm_new(r->arena, float, e->n_lora);
	if (!w) return lm_fail(err, LM_ENOMEM, "out of memory for adapter weights");
	for (int i = 0; i < e->n_lora; i++) {
		w[i] = p->lora ? p->lora[i] : e->lora_scale[i];
		if (!isfinite(w[i])) return lm_fail(err, LM_EINVAL, "the weight of adapter %d is not a finite number", i + 1);
		w[i] += 0.0f;                            /* -0 is 0: weights are compared as bytes */
	}
	r->salt = salt_of(e, w);
	return 0;
}
