/* Every codec against independent ones: tests/fixtures/quant.bin, made by tools/gold_quant.py, says what. */
#include <math.h>
#include "quant/quant.h"
#include "test.h"

#pragma pack(push, 1)
struct head { char kind, name[15]; uint32_t n, elems, bytes, n_random; uint64_t hash; };
#pragma pack(pop)

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static uint64_t word(uint64_t i)
{
	return mix((i + 1) * 0x9e3779b97f4a7c15);
}

static uint32_t bits(float f)
{
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	return (u & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : u;
}

/* Heap blocks of the exact size, at an odd address when `odd`: sanitizers see any step outside. */
static uint8_t *copy_odd(const void *p, size_t n)
{
	uint8_t *q = malloc(n + 1);
	assert_non_null(q);
	if (p) memcpy(q + 1, p, n);
	return q;
}

static void decode_stored(const struct dtype_info *d, const struct head *h, const uint8_t *blocks,
                          const uint8_t *want)
{
	size_t n = (size_t)h->n * h->elems;
	uint8_t *src = copy_odd(blocks, (size_t)h->n * h->bytes);
	float *got = malloc(n * sizeof *got), w;
	assert_non_null(got);
	d->decode(got, src + 1, (int64_t)n);
	for (size_t i = 0; i < n; i++) {
		memcpy(&w, want + 4 * i, 4);
		if (bits(got[i]) != bits(w))
			fail_msg("%s block %zu element %zu: %a, expected %a", d->name, i / h->elems, i % h->elems,
			         (double)got[i], (double)w);
	}
	free(got);
	free(src);
}

static void decode_random(const struct dtype_info *d, const struct head *h)
{
	size_t n = (size_t)h->n_random * h->elems, size = (size_t)h->n_random * h->bytes;
	uint8_t *src = malloc(size + 8);
	float *got = malloc(n * sizeof *got);
	assert_true(src && got);
	for (size_t i = 0; i < size; i += 8) memcpy(src + i, &(uint64_t){ word(i / 8) }, 8);
	d->decode(got, src, (int64_t)n);
	uint64_t sum = 0;
	for (size_t i = 0; i < n; i++) sum += mix(bits(got[i]) + ((uint64_t)i << 32));
	if (sum != h->hash) fail_msg("%s: %u random blocks decode to other bits", d->name, h->n_random);
	free(got);
	free(src);
}

static void encode_stored(const struct dtype_info *d, const struct head *h, const uint8_t *x,
                          const uint8_t *want)
{
	size_t n = (size_t)h->n * h->elems;
	uint8_t *got = copy_odd(NULL, (size_t)h->n * h->bytes);
	float *src = malloc(n * sizeof *src);
	assert_non_null(src);
	memcpy(src, x, n * sizeof *src);
	d->encode(got + 1, src, NULL, (int64_t)n);
	for (size_t i = 0; i < (size_t)h->n * h->bytes; i++)
		if (got[i + 1] != want[i])
			fail_msg("%s block %zu byte %zu: %02x, expected %02x", d->name, i / h->bytes, i % h->bytes,
			         got[i + 1], want[i]);
	free(src);
	free(got);
}

static void encode_random(const struct dtype_info *d, const struct head *h)
{
	size_t n = (size_t)h->n_random * h->elems, size = (size_t)h->n_random * h->bytes;
	uint8_t *got = malloc(size);
	float *src = malloc(n * sizeof *src);
	assert_true(src && got);
	for (size_t i = 0; i < n; i++) {
		int e = (int)(word((UINT64_C(1) << 32) + i / h->elems) % 80) - 71;
		src[i] = ldexpf((float)(int32_t)(word(i) >> 32), e);
	}
	d->encode(got, src, NULL, (int64_t)n);
	uint64_t sum = 0;
	for (size_t i = 0; i < size; i++) sum += mix(got[i] + ((uint64_t)i << 32));
	if (sum != h->hash) fail_msg("%s: %u random blocks encode to other bytes", d->name, h->n_random);
	free(src);
	free(got);
}

/* Runs `kind` records; seen[t] tells which types had one. */
static void run(char kind, bool seen[DT_COUNT])
{
	struct lm_map m;
	struct lm_err err;
	assert_ok(lm_map_open(&m, "tests/fixtures/quant.bin", &err), err);
	struct lm_cursor c = { m.data, m.data + m.size, false };
	while (c.p < c.end) {
		struct head h;
		const uint8_t *p = lm_read_bytes(&c, sizeof h);
		assert_non_null(p);
		memcpy(&h, p, sizeof h);
		size_t packed = (size_t)h.n * h.bytes, plain = (size_t)h.n * h.elems * 4;
		const uint8_t *a = lm_read_bytes(&c, h.kind == 'D' ? packed : plain);
		const uint8_t *b = lm_read_bytes(&c, h.kind == 'D' ? plain : packed);
		assert_true(a && b);
		if (h.kind != kind) continue;
		enum dtype t;
		assert_ok(quant_from_name(h.name, &t, &err), err);
		const struct dtype_info *d = quant_info(t);
		assert_int_equal(d->block_elems, h.elems);
		assert_int_equal(d->block_bytes, h.bytes);
		assert_true(h.n > 0 && h.n_random > 0);
		seen[t] = true;
		if (kind == 'D') {
			decode_stored(d, &h, a, b);
			decode_random(d, &h);
		} else {
			assert_non_null(d->encode);
			encode_stored(d, &h, a, b);
			encode_random(d, &h);
		}
	}
	lm_map_close(&m);
}

LM_TEST(quant_every_type_decodes_as_its_reference)
{
	bool seen[DT_COUNT] = { false };
	run('D', seen);
	for (int t = 0; t < DT_COUNT; t++)
		if (seen[t] != !!quant_info((enum dtype)t))
			fail_msg("type %d has a row or a golden record, not both", t);
}

LM_TEST(quant_every_encoder_encodes_as_its_reference)
{
	bool seen[DT_COUNT] = { false };
	run('E', seen);
	for (int t = 0; t < DT_COUNT; t++) {
		const struct dtype_info *d = quant_info((enum dtype)t);
		if (seen[t] != (d && d->encode)) fail_msg("type %d has an encoder or a golden record, not both", t);
	}
}

/* NaN, infinities and overflowing ranges have no defined bytes: but no undefined behaviour, and a block whose
 * numbers are not finite must not come back as plausible small weights. */
LM_TEST(quant_encoders_take_any_float)
{
	static const float odd[] = { NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f, -0.0f };
	for (int t = 0; t < DT_COUNT; t++) {
		const struct dtype_info *d = quant_info((enum dtype)t);
		if (!d || !d->encode) continue;
		for (int trial = 0; trial < 200; trial++) {
			float x[64], y[64];
			uint8_t out[64 * 4];
			bool finite = true;
			for (int i = 0; i < 64; i++) {
				uint64_t w = word((uint64_t)trial * 64 + (uint64_t)i);
				x[i] = w % 5 ? (float)(w >> 40) : odd[(w >> 8) % 7];
			}
			for (int i = 0; i < d->block_elems; i++) finite &= isfinite(x[i]) && fabsf(x[i]) < 1e38f;
			d->encode(out, x, NULL, 64);
			d->decode(y, out, 64);
			bool back = true;
			for (int i = 0; i < d->block_elems; i++) back &= isfinite(y[i]) && fabsf(y[i]) < 1e38f;
			if (!finite && t != DT_F16) assert_false(back);
		}
	}
}
