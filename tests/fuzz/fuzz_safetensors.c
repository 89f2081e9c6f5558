/* Any bytes as a .safetensors file: refused with a sentence, or every tensor lies in the file and the tensors fill it. */
#include "fuzz/raw.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct raw_open o;
	struct lm_err err = { 0 };
	uint64_t sum = size >= 8 ? 8 + le64(data) : 0;
	raw_begin(&o);
	int rc = safetensors_read(&o.h, 0, data, size, &err);
	for (int i = 0; !rc && i < o.h.n_raw; i++) sum += o.h.raw[i].size;
	raw_must(rc || sum == size, "bytes that belong to no tensor, or to two");
	raw_end(&o, rc, &err, data, size);
	return 0;
}

/* Half of the inputs: a header that is mostly right for data that is mostly there. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static uint64_t rnd_st(uint64_t *s, uint64_t n)
{
	*s = *s * 6364136223846793005u + 1442695040888963407u;
	return (*s >> 33) % n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	uint64_t s = seed * 0x9E3779B97F4A7C15u + 1, off = 0;
	char head[2048];
	size_t n = 0;
	if (seed & 1) {
		size = LLVMFuzzerMutate(data, size, max_size);
		if (size > 8 && seed & 6) {                    /* the length follows the text */
			const uint8_t *end = memchr(data + 8, 0, size - 8);
			uint64_t len = end ? (uint64_t)(end - data - 8) : size - 8;
			memcpy(data, &len, 8);
		}
		return size;
	}
	n += (size_t)sprintf(head + n, "{");
	for (uint64_t i = 0, k = rnd_st(&s, 6); i < k; i++) {
		const struct raw_info *t = &raw_info[rnd_st(&s, RAW_COUNT)];
		uint64_t dim[3] = { 1, 1, 1 }, dims = rnd_st(&s, 4), bits = (uint64_t)t->bits;
		n += (size_t)sprintf(head + n, "%s\"t%d\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", (int)(i - rnd_st(&s, 30) / 29), t->name);
		for (uint64_t d = 0; d < dims; d++) bits *= dim[d] = rnd_st(&s, 5);
		for (uint64_t d = 0; d < dims; d++) n += (size_t)sprintf(head + n, "%s%d", d ? "," : "", (int)dim[d]);
		uint64_t end = off + bits / 8 + rnd_st(&s, 20) / 19;
		n += (size_t)sprintf(head + n, "],\"data_offsets\":[%d,%d]}", (int)(off - (off && !rnd_st(&s, 20))), (int)end);
		off = end;
	}
	n += (size_t)sprintf(head + n, "}%*s", (int)rnd_st(&s, 8), "");
	if (8 + n + off > max_size) return size;
	uint64_t len = n;
	memcpy(data, &len, 8);
	memcpy(data + 8, head, n);
	for (uint64_t i = 0; i < off; i++) data[8 + n + i] = (uint8_t)i;
	return 8 + n + off;
}
#endif
