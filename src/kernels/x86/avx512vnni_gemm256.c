/* avx512vnni_gemm256.c - GEMM of the K-quants (DOT_X256).
 * Sub-blocks go in pairs.  The sum of codes * x of the second one is moved to the upper half of its dword, the first one's is
 * added below from a bias of 2^15, and one vpdpwssd multiplies both by their scales, shifted for the token.  Sums that
 * might not fit 16 bits (`wide`: pack_x knows the bound) are taken in 32 bits with vpmulld instead; no bytes differ.
 * Zen 4 has every multiply on two of its four pipes, so that only multiplies count: 76 per 64 useful ones for
 * Q4_K, 74 for Q6_K, where vpmulld for all took 80 and 82.  Intel: 21 instead of 24 uops per 16 useful ones. */
#include "kernels/x86/avx512vnni_codes256.h"

/* One block of 32 rows, and of 6 tokens; one packed activation serves all types.  Scales, minima, shifts and sums of x
 * are pairs of words: h of each group of 32 for types with 16 sub-blocks, h2 of two groups for those with 8; start is
 * -32 * (sum of 16 x, not shifted), for Q6_K.  Bit p of wide[i]: pair p may not fit 16 bits, for Q4_K, Q5_K, Q6_K. */
struct wblock {
	uint8_t q[64][2][64];
	int32_t sc[8][NR], mn[8][NR];
	float d[NR], dmin[NR];
};
struct xtile {
	int32_t q[64][MR], h2[4][MR], s32[4][MR];
	float d[MR];
	int32_t wide[3], h[8][MR], s16[8][MR], start[16][MR];
};

static size_t panel_bytes(int cols)
{
	return (size_t)(cols / 256) * sizeof(struct wblock);
}
static size_t xp_bytes(int n_tok, int cols)
{
	return n_tiles(n_tok) * (size_t)(cols / 256) * sizeof(struct xtile);
}

/* The pairs of sub-blocks of one block whose sums may leave 16 bits, from the sums of |x| and of x.  A sum of codes up to
 * `code` lies within code * (sum of the positive x, resp. of the negative ones); Q6_K's codes are -32 to 31. */
static void mark_wide(struct xtile *o, const char *q, const int16_t *s16, const int16_t *h)
{
	int64_t abs8[32]; /* sums of 8 |x| */
	for (int i = 0; i < 4; i++)
		_mm512_storeu_si512(abs8 + 8 * i,
				    _mm512_sad_epu8(_mm512_abs_epi8(load512(q + 64 * i)), _mm512_setzero_si512()));
	for (int g = 0; g < 8; g++) {
		int32_t a = (int32_t)(abs8[4 * g] + abs8[4 * g + 1]), b = (int32_t)(abs8[4 * g + 2] + abs8[4 * g + 3]);
		int32_t sum = (s16[2 * g] + s16[2 * g + 1]) >> h[g], side = (a + b + (sum < 0 ? -sum : sum)) / 2;
		o->wide[0] |= (side > INT16_MAX / 15) << g / 2;
		o->wide[1] |= (side > INT16_MAX / 31) << g / 2;
		o->wide[2] |= (a > INT16_MAX / 32 || b > INT16_MAX / 32) << g;
	}
}

static void pack_x(void *xp, const void *x, int n_tok, int cols)
{
	struct xtile *o = xp;
	size_t stride = x256_bytes(cols);
	for (int t0 = 0; t0 < n_tok; t0 += MR) {
		const char *row = (const char *)x + (size_t)t0 * stride;
		int n = n_tok - t0 < MR ? n_tok - t0 : MR;
		for (int b = 0; b < cols / 256; b++, o++) {
			pack_codes(o->q[0], row + 256 * b, stride, n, 64);
			pack_codes(o->s16[0], row + x256_s16(cols) + 32 * b, stride, n, 8);
			pack_codes(o->s32[0], row + x256_s32(cols) + 16 * b, stride, n, 4);
			pack_codes(o->h2[0], row + x256_h(cols) + 16 * b, stride, n, 4);
			memset(o->wide, 0, sizeof o->wide);
			for (int t = 0; t < MR; t++) {
				const char *p = row + (size_t)(t < n ? t : 0) * stride;
				const int16_t *s16 = (const int16_t *)(p + x256_s16(cols)) + 16 * b;
				const int16_t *h = (const int16_t *)(p + x256_h(cols)) + 8 * b;
				o->d[t] = ((const float *)(p + x256_d(cols)))[b];
				for (int j = 0; j < 8; j++) o->h[j][t] = h[j] << 16 | h[j];
				for (int j = 0; j < 16; j++) o->start[j][t] = -32 * (s16[j] >> h[j / 2]);
				mark_wide(o, p + 256 * b, s16, h);
			}
		}
	}
}

/* ---- weights ------------------------------------------------------------------------------------------------ */
INLINE void pack(void *panel, const void *w, int64_t stride, int rows, int cols, int type)
{
	for (int z = 0; z < 2; z++) {
		struct rows16 r = panel_rows(w, stride, rows, z);
		struct wblock *o = panel;
		for (int64_t b = 0; b < cols / 256; b++, o++) {
			const struct head256 h = head256(&r, b * block_size(type), type);
			codes256(o->q, &r, b * block_size(type), z, type);
			_mm512_store_ps(o->d + 16 * z, h.d);
			if (has_min(type)) _mm512_store_ps(o->dmin + 16 * z, h.dmin);
#pragma GCC unroll 4
			for (int g = 0; g < n_sub(type) / 4; g++) {
				put_pairs(o->sc, g, z, h.sc[g]);
				if (has_min(type)) put_pairs(o->mn, g, z, h.mn[g]);
			}
		}
	}
}
#define PACK(id, type)                                                                                       \
	static void pack_##id(void *panel, const void *w, int64_t stride, int rows, int cols)                \
	{                                                                                                    \
		pack(panel, w, stride, rows, cols, type);                                                    \
	}
PACK(q2_k, Q2_K)
PACK(q3_k, Q3_K)
PACK(q4_k, Q4_K)
PACK(q5_k, Q5_K)
PACK(q6_k, Q6_K)

/* ---- the tile
 * ------------------------------------------------------------------------------------------------------------
 */
INLINE __m512i start(const struct xtile *x, int j, int t, int type)
{
	if (has_min(type)) return _mm512_setzero_si512();
	return type == Q6_K ? dup32(&x->start[j][t])
			    : _mm512_srai_epi32(dup32(&x->start[j][t]), 3); /* Q3_K: zero is 4 */
}
/* s += codes * x over sub-block j */
INLINE void sub_dots(__m512i s[MR][2], const struct wblock *w, const struct xtile *x, int j, int nt, int type)
{
	const int steps = 64 / n_sub(type);
#pragma GCC unroll 8
	for (int i = 0; i < steps; i++) {
		__m512i w0 = _mm512_load_si512(w->q[j * steps + i][0]), w1 = _mm512_load_si512(w->q[j * steps + i][1]);
#pragma GCC unroll 6
		for (int t = 0; t < nt; t++) {
			__m512i v = dup32(&x->q[j * steps + i][t]);
			s[t][0] = _mm512_dpbusd_epi32(s[t][0], w0, v);
			s[t][1] = _mm512_dpbusd_epi32(s[t][1], w1, v);
		}
	}
}
/* The scales of pair p for token t. */
INLINE __m512i scales(const struct wblock *w, const struct xtile *x, int p, int t, int z, int type)
{
	return _mm512_sllv_epi16(load512(w->sc[p] + 16 * z), dup32(n_sub(type) == 8 ? &x->h2[p][t] : &x->h[p][t]));
}

/* A pair in 32 bits: exact for every input. */
static __attribute__((noinline)) void pair_wide(__m512i dot[MR][2], const struct wblock *w, const struct xtile *x, int p, int nt,
						int type)
{
	for (int j = 0; j < 2; j++) {
		__m512i s[MR][2];
		for (int t = 0; t < MR; t++) s[t][0] = s[t][1] = start(x, 2 * p + j, t, type);
		sub_dots(s, w, x, 2 * p + j, MR, type);
		for (int t = 0; t < nt; t++)
			for (int z = 0; z < 2; z++) {
				__m512i sc = scales(w, x, p, t, z, type);
				sc = _mm512_srai_epi32(j ? sc : _mm512_slli_epi32(sc, 16), 16);
				dot[t][z] = _mm512_add_epi32(dot[t][z], _mm512_mullo_epi32(s[t][z], sc));
			}
	}
}

/* dot += scale * sum over the pair p of sub-blocks */
INLINE void pair_dots(__m512i dot[MR][2], const struct wblock *w, const struct xtile *x, int p, int nt, int type)
{
	const __m512i bias = _mm512_set1_epi32(1 << 15);
	__m512i s[MR][2];
#pragma GCC unroll 6
	for (int t = 0; t < nt; t++) s[t][0] = s[t][1] = start(x, 2 * p + 1, t, type);
	sub_dots(s, w, x, 2 * p + 1, nt, type);
#pragma GCC unroll 6
	for (int t = 0; t < nt; t++) {
		__m512i first = _mm512_add_epi32(start(x, 2 * p, t, type), bias);
#pragma GCC unroll 2
		for (int z = 0; z < 2; z++) s[t][z] = _mm512_add_epi32(_mm512_slli_epi32(s[t][z], 16), first);
	}
	sub_dots(s, w, x, 2 * p, nt, type);
#pragma GCC unroll 6
	for (int t = 0; t < nt; t++)
#pragma GCC unroll 2
		for (int z = 0; z < 2; z++)
			dot[t][z] = _mm512_dpwssd_epi32(dot[t][z], _mm512_xor_si512(s[t][z], bias), scales(w, x, p, t, z, type));
}

/* I of one block */
INLINE void block_dots(__m512i dot[MR][2], const struct wblock *w, const struct xtile *x, int nt, int type)
{
	const int32_t wide = type == Q4_K ? x->wide[0] : type == Q5_K ? x->wide[1] : type == Q6_K ? x->wide[2] : 0;
#pragma GCC unroll 6
	for (int t = 0; t < nt; t++) dot[t][0] = dot[t][1] = _mm512_setzero_si512();
	for (int p = 0; p < n_sub(type) / 2; p++) {
		if (__builtin_expect(wide >> p & 1, 0)) {
			__m512i v[MR][2];
			memcpy(v, dot, (size_t)nt * sizeof v[0]);
			pair_wide(v, w, x, p, nt, type);
			memcpy(dot, v, (size_t)nt * sizeof v[0]);
		} else {
			pair_dots(dot, w, x, p, nt, type);
		}
	}
}

INLINE __m512 subtract_min(__m512 acc, const struct wblock *w, const struct xtile *x, int t, int z, int type)
{
	__m512i m = _mm512_setzero_si512();
#pragma GCC unroll 8
	for (int p = 0; p < n_sub(type) / 2; p++)
		m = _mm512_dpwssd_epi32(m, load512(w->mn[p] + 16 * z),
					dup32(type == Q2_K ? &x->s16[p][t] : &x->s32[p][t]));
	return _mm512_fnmadd_ps(_mm512_mul_ps(_mm512_load_ps(w->dmin + 16 * z), dupf(&x->d[t])),
				_mm512_cvtepi32_ps(m), acc);
}

INLINE void tile(float *y, int64_t ys, const struct wblock *w, const struct xtile *x, int rows, int n, int nt,
		 int type)
{
	__m512 acc[MR][2];
	struct tree tree;
	tree_start(&tree, acc, nt, n);
	fetch_tile(y, ys, nt);
	for (int b = 0; b < n; b++, w++, x++) {
		__m512i dot[MR][2];
		block_dots(dot, w, x, nt, type);
#pragma GCC unroll 6
		for (int t = 0; t < nt; t++)
#pragma GCC unroll 2
			for (int z = 0; z < 2; z++) {
				__m512 d = _mm512_mul_ps(_mm512_load_ps(w->d + 16 * z), dupf(&x->d[t]));
				acc[t][z] = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(dot[t][z]), acc[t][z]);
				if (has_min(type)) acc[t][z] = subtract_min(acc[t][z], w, x, t, z, type);
			}
		tree_step(&tree, acc, nt, b);
	}
	store_tile(y, ys, acc, nt, rows);
}

INLINE void run(float *y, int64_t ys, const void *panel, const void *xp, int rows, int n_tok, int cols,
		int type)
{
	const struct xtile *x = xp;
	int n = cols / 256, t = 0;
	for (; t + MR <= n_tok; t += MR, x += n) tile(y + t * ys, ys, panel, x, rows, n, MR, type);
	y += t * ys;
	switch (n_tok - t) {
	case 5: tile(y, ys, panel, x, rows, n, 5, type); break;
	case 4: tile(y, ys, panel, x, rows, n, 4, type); break;
	case 3: tile(y, ys, panel, x, rows, n, 3, type); break;
	case 2: tile(y, ys, panel, x, rows, n, 2, type); break;
	case 1: tile(y, ys, panel, x, rows, n, 1, type); break;
	}
}
#define RUN(id, type)                                                                                        \
	static void run_##id(float *y, int64_t ys, const void *panel, const void *xp, int rows, int n_tok,   \
			     int cols)                                                                       \
	{                                                                                                    \
		run(y, ys, panel, xp, rows, n_tok, cols, type);                                              \
	}
RUN(k2, Q2_K)
RUN(k3, Q3_K)
RUN(k4, Q4_K)
RUN(k5, Q5_K)
RUN(k6, Q6_K)

static const struct kern_gemm k2 = {NR, MR, panel_bytes, xp_bytes, pack_x, run_k2};
static const struct kern_gemm k3 = {NR, MR, panel_bytes, xp_bytes, pack_x, run_k3};
static const struct kern_gemm k4 = {NR, MR, panel_bytes, xp_bytes, pack_x, run_k4};
static const struct kern_gemm k5 = {NR, MR, panel_bytes, xp_bytes, pack_x, run_k5};
static const struct kern_gemm k6 = {NR, MR, panel_bytes, xp_bytes, pack_x, run_k6};

INLINE void set(struct kern *k, enum dtype t, kern_pack *p, const struct kern_gemm *g)
{
	k->w[t].pack = p;
	k->w[t].gemm = g;
}
void kern_avx512vnni_gemm256(struct kern *k)
{
	set(k, DT_Q2_K, pack_q2_k, &k2);
	set(k, DT_Q3_K, pack_q3_k, &k3);
	set(k, DT_Q4_K, pack_q4_k, &k4);
	set(k, DT_Q5_K, pack_q5_k, &k5);
	set(k, DT_Q6_K, pack_q6_k, &k6);
}
