/* Any bytes as an adapter of a tiny llama: a byte that says which half of them is adapter_config.json (0: none, a GGUF),
 * then both.  It opens or is refused with a sentence; what opens is merged, or that is refused, and can be read. */
#include "format/overlay.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void adapter_must(bool ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "fuzz_adapter: %s\n", what);
	abort();
}

static void adapter_rows(const struct tensor *t)
{
	struct lm_err err = { 0 };
	char *p = lm_malloc((size_t)t->size ? (size_t)t->size : 1);
	if (p && tensor_rows(t, 0, tensor_n_rows(t), p, &err)) adapter_must(*err.msg, "rows fail without a sentence");
	lm_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct file *base;
	struct lm_err err = { 0 };
	struct adapter *a = NULL;
	struct file *f = NULL;
	size_t n = size > 2 ? (size_t)data[0] | (size_t)data[1] << 8 : 0;
	float one = 1;

	if (!base && file_open(&base, "tests/model/tiny/llama.gguf", &err)) adapter_must(false, err.msg);
	if (size < 2) return 0;
	if (n > size - 2) n = size - 2;
	char *config = n ? malloc(n) : NULL;
	uint8_t *rest = malloc(size - 2 - n + 1);
	if (n) memcpy(config, data + 2, n);
	memcpy(rest, data + 2 + n, size - 2 - n);
	if (adapter_open_mem(&a, config, n, rest, size - 2 - n, base, &err)) {
		adapter_must(err.code < 0 && *err.msg && !a, "refused without a sentence");
	} else {
		if (overlay_merge(&f, base, (const struct adapter *const *)&a, &one, 1, &err))
			adapter_must(err.code < 0 && *err.msg, "not merged without a sentence");
		else
			for (int i = 0; i < file_count(f); i++) adapter_rows(file_at(f, i));
		file_close(f);
		adapter_close(a);
	}
	free(config);
	free(rest);
	return 0;
}
