/* c.c - the portable kernels: the contract of exact.h written out, 16 lanes and fmaf.  Every other instruction set
 * is compared with these functions by memcmp (tests/check_kern.c); their speed does not matter. */
#include "kernels/kern.h"

static float f16_at(const void *p)
{
	uint16_t h;
	memcpy(&h, p, sizeof h);
	return quant_f16_to_f32(h);
}

/* ---- DOT_X32 ------------------------------------------------------------------------------------------- */
struct b32 { int8_t q[32]; float d, m; };            /* one block as the contract sees it */
typedef void unpack32(struct b32 *o, const void *src);

static void unpack_q4_0(struct b32 *o, const void *src)
{
	const struct block_q4_0 *b = src;
	o->d = f16_at(&b->d);
	for (int i = 0; i < 16; i++) {
		o->q[i] = (int8_t)((b->q[i] & 15) - 8);
		o->q[i + 16] = (int8_t)((b->q[i] >> 4) - 8);
	}
}

static void unpack_q4_1(struct b32 *o, const void *src)
{
	const struct block_q4_1 *b = src;
	o->d = f16_at(&b->d);
	o->m = f16_at(&b->m);
	for (int i = 0; i < 16; i++) {
		o->q[i] = (int8_t)(b->q[i] & 15);
		o->q[i + 16] = (int8_t)(b->q[i] >> 4);
	}
}

/* 32 five-bit values: nibbles of q, fifth bits in h (bit i belongs to element i) */
static void five_bits(int8_t o[32], const uint8_t q[16], const uint8_t h[4], int zero)
{
	uint32_t bits = (uint32_t)h[0] | (uint32_t)h[1] << 8 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 24;
	for (int i = 0; i < 16; i++) {
		o[i] = (int8_t)(((q[i] & 15) | (int)(bits >> i & 1) << 4) - zero);
		o[i + 16] = (int8_t)(((q[i] >> 4) | (int)(bits >> (i + 16) & 1) << 4) - zero);
	}
}

static void unpack_q5_0(struct b32 *o, const void *src)
{
	const struct block_q5_0 *b = src;
	o->d = f16_at(&b->d);
	five_bits(o->q, b->q, b->h, 16);
}

static void unpack_q5_1(struct b32 *o, const void *src)
{
	const struct block_q5_1 *b = src;
	o->d = f16_at(&b->d);
	o->m = f16_at(&b->m);
	five_bits(o->q, b->q, b->h, 0);
}

static void unpack_q8_0(struct b32 *o, const void *src)
{
	const struct block_q8_0 *b = src;
	o->d = f16_at(&b->d);
	memcpy(o->q, b->q, 32);
}

static int dot_i8(const int8_t *a, const int8_t *b, int n)
{
	int s = 0;
	for (int i = 0; i < n; i++) s += a[i] * b[i];
	return s;
}

static float row_x32(const uint8_t *w, const uint8_t *x, int cols, unpack32 *unpack, size_t size, bool has_min)
{
	const int8_t *xq = (const int8_t *)x;
	const float *dx = (const float *)(x + x32_d(cols)), *ds = (const float *)(x + x32_ds(cols));
	int64_t n = cols / 32;
	float part[LEAVES] = { 0 };
	unsigned has = 0;
	for (int l = 0; l < LEAVES; l++) {
		float acc = 0;
		for (int64_t b = leaf_at(l, n); b < leaf_at(l + 1, n); b++) {
			struct b32 o;
			unpack(&o, w + (size_t)b * size);
			acc = fmaf(o.d * dx[b], (float)dot_i8(o.q, xq + 32 * b, 32), acc);
			if (has_min) acc = fmaf(o.m, ds[b], acc);
			has |= 1u << l;
		}
		part[l] = acc;
	}
	return leaf_join(part, has);
}

#define GEMV_X32(id, block, has_min)                                                                          \
	static void gemv_##id(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)     \
	{                                                                                                     \
		for (int r = 0; r < rows; r++)                                                                \
			y[r] = row_x32((const uint8_t *)w + r * stride, x, cols, unpack_##id, sizeof(block), has_min); \
	}
GEMV_X32(q4_0, struct block_q4_0, false)
GEMV_X32(q4_1, struct block_q4_1, true)
GEMV_X32(q5_0, struct block_q5_0, false)
GEMV_X32(q5_1, struct block_q5_1, true)
GEMV_X32(q8_0, struct block_q8_0, false)

/* ---- DOT_X256: 16 sub-blocks of 16 elements (formats with sub-blocks of 32 name each scale twice) ------- */
struct b256 { int8_t q[256]; int sc[16], mn[16]; float d, dmin; };
typedef void unpack256(struct b256 *o, const void *src);

static void unpack_q2_k(struct b256 *o, const void *src)
{
	const struct block_q2_k *b = src;
	o->d = f16_at(&b->d);
	o->dmin = f16_at(&b->dmin);
	for (int j = 0; j < 16; j++) {
		o->sc[j] = b->sc[j] & 15;
		o->mn[j] = b->sc[j] >> 4;
	}
	for (int i = 0; i < 256; i++)           /* 128 elements share 32 bytes, 32 elements a bit pair */
		o->q[i] = (int8_t)(b->q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3);
}

static void unpack_q3_k(struct b256 *o, const void *src)
{
	const struct block_q3_k *b = src;
	o->d = f16_at(&b->d);
	for (int j = 0; j < 16; j++) {          /* 6-bit scales: low nibbles in bytes 0-7, high bit pairs in 8-11 */
		int lo = j < 8 ? b->sc[j] & 15 : b->sc[j - 8] >> 4;
		o->sc[j] = (lo | (b->sc[8 + j % 4] >> (j / 4 * 2) & 3) << 4) - 32;
	}
	for (int i = 0; i < 256; i++) {
		int lo = b->q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
		o->q[i] = (int8_t)((lo | (b->h[i % 32] >> (i / 32) & 1) << 2) - 4);
	}
}

/* Scale and minimum j of 8, six bits each, packed in 12 bytes (Q4_K, Q5_K). */
static void k4_scale(const uint8_t s[12], int j, int *sc, int *mn)
{
	if (j < 4) {
		*sc = s[j] & 63;
		*mn = s[j + 4] & 63;
	} else {
		*sc = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
		*mn = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
	}
}

static void unpack_q4_k(struct b256 *o, const void *src)
{
	const struct block_q4_k *b = src;
	o->d = f16_at(&b->d);
	o->dmin = f16_at(&b->dmin);
	for (int j = 0; j < 16; j++) k4_scale(b->sc, j / 2, &o->sc[j], &o->mn[j]);
	for (int i = 0; i < 256; i++)           /* 64 elements share 32 bytes: low nibbles, then high */
		o->q[i] = (int8_t)(b->q[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15);
}

static void unpack_q5_k(struct b256 *o, const void *src)
{
	const struct block_q5_k *b = src;
	o->d = f16_at(&b->d);
	o->dmin = f16_at(&b->dmin);
	for (int j = 0; j < 16; j++) k4_scale(b->sc, j / 2, &o->sc[j], &o->mn[j]);
	for (int i = 0; i < 256; i++) {
		int lo = b->q[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
		o->q[i] = (int8_t)(lo | (b->h[i % 32] >> (i / 32) & 1) << 4);
	}
}

static void unpack_q6_k(struct b256 *o, const void *src)
{
	const struct block_q6_k *b = src;
	o->d = f16_at(&b->d);
	for (int j = 0; j < 16; j++) o->sc[j] = b->sc[j];
	for (int i = 0; i < 256; i++) {
		int half = i / 128, k = i % 128;
		int lo = b->ql[half * 64 + k % 64] >> (k / 64 * 4) & 15;
		o->q[i] = (int8_t)((lo | (b->qh[half * 32 + k % 32] >> (k / 32 * 2) & 3) << 4) - 32);
	}
}

static float row_x256(const uint8_t *w, const uint8_t *x, int cols, unpack256 *unpack, size_t size, bool has_min)
{
	const int8_t *xq = (const int8_t *)x;
	const float *dx = (const float *)(x + x256_d(cols));
	const int16_t *s16 = (const int16_t *)(x + x256_s16(cols)), *h = (const int16_t *)(x + x256_h(cols));
	int64_t n = cols / 256;
	float part[LEAVES] = { 0 };
	unsigned has = 0;
	for (int l = 0; l < LEAVES; l++) {
		float acc = 0;
		for (int64_t b = leaf_at(l, n); b < leaf_at(l + 1, n); b++) {
			struct b256 o;
			int dot = 0, min = 0;
			unpack(&o, w + (size_t)b * size);
			for (int j = 0; j < 16; j++) {
				dot += o.sc[j] * (1 << h[8 * b + j / 2]) * dot_i8(o.q + 16 * j, xq + 256 * b + 16 * j, 16);
				if (has_min) min += o.mn[j] * s16[16 * b + j];
			}
			acc = fmaf(o.d * dx[b], (float)dot, acc);
			if (has_min) acc = fmaf(-(o.dmin * dx[b]), (float)min, acc);
			has |= 1u << l;
		}
		part[l] = acc;
	}
	return leaf_join(part, has);
}

#define GEMV_X256(id, block, has_min)                                                                         \
	static void gemv_##id(float *y, const void *w, int64_t stride, const void *x, int rows, int cols)     \
	{                                                                                                     \
		for (int r = 0; r < rows; r++)                                                                \
			y[r] = row_x256((const uint8_t *)w + r * stride, x, cols, unpack_##id, sizeof(block), has_min); \
	}
GEMV_X256(q2_k, struct block_q2_k, true)
GEMV_X256(q3_k, struct block_q3_k, false)
GEMV_X256(q4_k, struct block_q4_k, true)
GEMV_X256(q5_k, struct block_q5_k, true)
GEMV_X256(q6_k, struct block_q6_k, false)

/* ---- DOT_F32 --------------------------------------------------------------------------------------------- */
static float fold16(float a[16])
{
	for (int w = 8; w > 0; w /= 2)
		for (int i = 0; i < w; i++) a[i] += a[i + w];
	return a[0];
}

/* Decodes elements [k, k+32) of a row; past `cols` they are zero. */
typedef void decode32(float o[32], const void *w, int k, int cols);

static void decode_f32(float o[32], const void *w, int k, int cols)
{
	int n = cols - k < 32 ? cols - k : 32;
	memset(o, 0, 32 * sizeof o[0]);
	memcpy(o, (const char *)w + (size_t)k * 4, (size_t)n * 4);
}

static void decode_f16(float o[32], const void *w, int k, int cols)
{
	for (int i = 0; i < 32; i++) o[i] = k + i < cols ? f16_at((const char *)w + 2 * (size_t)(k + i)) : 0;
}

static void decode_bf16(float o[32], const void *w, int k, int cols)
{
	for (int i = 0; i < 32; i++) {
		uint16_t h = 0;
		if (k + i < cols) memcpy(&h, (const char *)w + 2 * (size_t)(k + i), 2);
		o[i] = quant_bf16_to_f32(h);
	}
}

static void decode_nf4(float o[32], const void *w, int k, int cols)
{
	const struct block_nf4 *b = (const struct block_nf4 *)w + k / 64;
	float absmax;
	memcpy(&absmax, &b->absmax, sizeof absmax);
	(void)cols;                              /* rows are whole blocks of 64 */
	for (int i = 0; i < 32; i += 2) {
		uint8_t v = b->q[(k % 64 + i) / 2];
		o[i] = quant_nf4_code[v >> 4] * absmax;
		o[i + 1] = quant_nf4_code[v & 15] * absmax;
	}
}

/* Types whose blocks are 32 elements; longer blocks as one that has the same head and a part of the rest. */
static void decode_short(float o[32], const void *w, int k, enum dtype t)
{
	const struct dtype_info *i = quant_info(t);
	i->decode(o, (const char *)w + k / 32 * i->block_bytes, 32);
}

static void decode_long(float o[32], const void *w, int k, enum dtype t, enum dtype part)
{
	int size = quant_info(t)->block_bytes, small = quant_info(part)->block_bytes, rest = (size - small) / 3;
	char b[64];
	const char *from = (const char *)w + k / 128 * size;
	memcpy(b, from, (size_t)(small - rest));
	memcpy(b + small - rest, from + small - rest + k % 128 / 32 * rest, (size_t)rest);
	quant_info(part)->decode(o, b, 32);
}

static void decode_fp4(float o[32], const void *w, int k, int cols)
{
	float all[64];
	(void)cols;
	quant_info(DT_FP4)->decode(all, (const struct block_fp4 *)w + k / 64, 64);
	memcpy(o, all + k % 64, 32 * sizeof o[0]);
}

#define SHORT(id, t) static void decode_##id(float o[32], const void *w, int k, int cols) { (void)cols; decode_short(o, w, k, t); }
#define LONG(id, t, part) static void decode_##id(float o[32], const void *w, int k, int cols) { (void)cols; decode_long(o, w, k, t, part); }
SHORT(mxfp4, DT_MXFP4)
SHORT(z4_32, DT_Z4_32)
SHORT(z8_32, DT_Z8_32)
SHORT(f8_32, DT_F8_32)
SHORT(bnb8, DT_BNB8)
LONG(z4_128, DT_Z4_128, DT_Z4_32)
LONG(z8_128, DT_Z8_128, DT_Z8_32)
LONG(f8_128, DT_F8_128, DT_F8_32)

static float row_f32(const void *w, const float *x, int cols, decode32 *decode)
{
	int64_t n = (cols + 31) / 32;
	float part[LEAVES] = { 0 };
	unsigned has = 0;
	for (int l = 0; l < LEAVES; l++) {
		float acc[16] = { 0 };
		for (int64_t u = leaf_at(l, n); u < leaf_at(l + 1, n); u++) {
			float o[32], v[32];
			int k = (int)u * 32;
			decode(o, w, k, cols);
			decode_f32(v, x, k, cols);
			for (int i = 0; i < (cols - k > 16 ? 32 : 16); i++) acc[i % 16] = fmaf(o[i], v[i], acc[i % 16]);
			has |= 1u << l;
		}
		part[l] = fold16(acc);
	}
	return leaf_join(part, has);
}

#define GEMV_F32(id)                                                                                      \
	static void gemv_##id(float *y, const void *w, int64_t stride, const void *x, int rows, int cols) \
	{                                                                                                 \
		for (int r = 0; r < rows; r++) y[r] = row_f32((const char *)w + r * stride, x, cols, decode_##id); \
	}
GEMV_F32(f32)
GEMV_F32(f16)
GEMV_F32(bf16)
GEMV_F32(nf4)
GEMV_F32(fp4)
GEMV_F32(mxfp4)
GEMV_F32(z4_32)
GEMV_F32(z4_128)
GEMV_F32(z8_32)
GEMV_F32(z8_128)
GEMV_F32(f8_32)
GEMV_F32(f8_128)
GEMV_F32(bnb8)

/* ---- activation rows ----------------------------------------------------------------------------------- */
/* The largest |x|, as bits, so that a NaN wins. */
static float abs_max(const float *x, int n)
{
	uint32_t max = 0;
	float a;
	for (int i = 0; i < n; i++) {
		uint32_t u;
		memcpy(&u, x + i, 4);
		u &= 0x7fffffff;
		max = u > max ? u : max;
	}
	memcpy(&a, &max, 4);
	return a;
}

/* One block of n elements; returns the scale. */
static float quant_block(int8_t *q, const float *x, int n)
{
	float a = abs_max(x, n);
	if (!(a >= X_TINY && a < INFINITY)) {
		memset(q, 0, (size_t)n);
		return a < X_TINY ? 0 : a;
	}
	float id = 127.0f / a;
	for (int i = 0; i < n; i++) q[i] = (int8_t)rintf(x[i] * id);
	return a / 127.0f;
}

/* A block of 256 with its eight shifts. */
static float quant_block256(int8_t *q, int16_t *h, const float *x)
{
	float a = abs_max(x, 256);
	memset(q, 0, 256);
	memset(h, 0, 8 * sizeof *h);
	if (!(a >= X_TINY && a < INFINITY)) return a < X_TINY ? 0 : a;
	for (int j = 0; j < 8; j++) {
		float b = abs_max(x + 32 * j, 32), id = 127.0f / a;
		int e = b * 8 <= a ? 3 : b * 4 <= a ? 2 : b * 2 <= a ? 1 : 0;
		id *= (float)(1 << e);
		for (int i = 0; i < 32; i++) q[32 * j + i] = (int8_t)rintf(x[32 * j + i] * id);
		h[j] = (int16_t)(3 - e);
	}
	return a / 127.0f * 0.125f;
}

static int sum_i8(const int8_t *q, int n)
{
	int s = 0;
	for (int i = 0; i < n; i++) s += q[i];
	return s;
}

static void quant_x32(void *dst, const float *x, int n)
{
	char *p = dst;
	int8_t *q = dst;
	float *d = (float *)(p + x32_d(n)), *ds = (float *)(p + x32_ds(n));
	int32_t *sum = (int32_t *)(p + x32_sum(n));
	for (int b = 0; b < n / 32; b++) {
		d[b] = quant_block(q + 32 * b, x + 32 * b, 32);
		sum[b] = sum_i8(q + 32 * b, 32);
		ds[b] = d[b] * (float)sum[b];
	}
}

static void quant_x256(void *dst, const float *x, int n)
{
	char *p = dst;
	int8_t *q = dst;
	float *d = (float *)(p + x256_d(n));
	int16_t *s16 = (int16_t *)(p + x256_s16(n)), *s32 = (int16_t *)(p + x256_s32(n));
	int16_t *h = (int16_t *)(p + x256_h(n));
	for (int b = 0; b < n / 256; b++) d[b] = quant_block256(q + 256 * b, h + 8 * b, x + 256 * b);
	for (int j = 0; j < n / 16; j++) s16[j] = (int16_t)(sum_i8(q + 16 * j, 16) * (1 << h[j / 2]));
	for (int j = 0; j < n / 32; j++) s32[j] = (int16_t)(s16[2 * j] + s16[2 * j + 1]);
}

static void to_f16(uint16_t *dst, const float *x, int n)
{
	for (int i = 0; i < n; i++) dst[i] = quant_f32_to_f16(x[i]);
}

void kern_c_rows(struct kern *k);               /* c_rows.c */
void kern_c_ssm(struct kern *k);                /* c_ssm.c */

void kern_init_c(struct kern *k)
{
	static const struct { enum dtype t; kern_gemv *gemv; } table[] = {
		{ DT_F32, gemv_f32 },   { DT_F16, gemv_f16 },   { DT_BF16, gemv_bf16 }, { DT_NF4, gemv_nf4 },
		{ DT_Q4_0, gemv_q4_0 }, { DT_Q4_1, gemv_q4_1 }, { DT_Q5_0, gemv_q5_0 }, { DT_Q5_1, gemv_q5_1 },
		{ DT_Q8_0, gemv_q8_0 }, { DT_Q2_K, gemv_q2_k }, { DT_Q3_K, gemv_q3_k }, { DT_Q4_K, gemv_q4_k },
		{ DT_Q5_K, gemv_q5_k }, { DT_Q6_K, gemv_q6_k }, { DT_FP4, gemv_fp4 },   { DT_MXFP4, gemv_mxfp4 },
		{ DT_Z4_32, gemv_z4_32 }, { DT_Z4_128, gemv_z4_128 }, { DT_Z8_32, gemv_z8_32 }, { DT_Z8_128, gemv_z8_128 },
		{ DT_F8_32, gemv_f8_32 }, { DT_F8_128, gemv_f8_128 }, { DT_BNB8, gemv_bnb8 },
	};
	*k = (struct kern){ 0 };
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) k->w[table[i].t].gemv = table[i].gemv;
	k->quant_x32 = quant_x32;
	k->quant_x256 = quant_x256;
	k->to_f16 = to_f16;
	kern_c_rows(k);
	kern_c_ssm(k);
}
