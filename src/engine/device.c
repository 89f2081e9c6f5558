/* device.c - see device.h. */
#include "engine/device.h"
#include "base/cpu.h"
#include "cuda/cuda.h"
#include "engine/lmrun.h"
#include "metal/metal.h"
#include <stdlib.h>
#include <string.h>

int device_open(struct backend **out, const char *name, int n_threads, const char *cpu_level, struct lm_err *err)
{
	*out = NULL;
	if (!name || !*name || strcmp(name, "cpu") == 0) return backend_cpu(out, n_threads, cpu_level, err);
	if (strcmp(name, "ref") == 0) return backend_ref(out, err);
	if (strcmp(name, "metal") == 0) return backend_metal(out, err);
	if (strcmp(name, "cuda") == 0) return backend_cuda(out, 0, err);
	if (strncmp(name, "cuda:", 5) == 0 && strlen(name + 5) - 1 < 4 && strspn(name + 5, "0123456789") == strlen(name + 5))
		return backend_cuda(out, atoi(name + 5), err);
	return lm_fail(err, LM_EINVAL, "no device is called '%s': there are cpu, ref, cuda:N and metal", name);
}

char *lm_devices(void)
{
	struct lm_buf b = { 0 };
	unsigned flags = cpu_detect();
	lm_buf_fmt(&b, "cpu     %s, %s, %d threads\n", cpu_model(), cpu_name(flags), lm_cpu_count());
	lm_buf_str(&b, "ref     the reference in plain C, slow\n");
	cuda_list(&b);
	metal_list(&b);
	if (!b.bad) return b.p;
	lm_buf_free(&b);
	return NULL;
}
