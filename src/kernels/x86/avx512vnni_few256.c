/* avx512vnni_few256.c - K-quants (DOT_X256) times 2 to FEW_MAX tokens: sequences that generate together.
 *
 * A panel of the whole K would be written to L2 and read back once; here one block of 32 rows is unpacked into L1, met by all
 * tokens and forgotten, while the next 32 rows are fetched line by line.  So memory, unpacking and products overlap, and the
 * activation rows are read as they are.  The shifts of x choose among four copies of the sub-scales. */
#include "kernels/x86/avx512vnni_codes256.h"
#include "kernels/x86/avx512vnni_few.h"

/* Codes of types without minima are unsigned: w + zero. */
INLINE int log2_zero(int type) { return type == Q6_K ? 5 : 2; }

/* One block of 32 rows.  sc: the sub-scales times 1, 2, 4, 8 (those that are used).  pair: words of two sub-blocks' minima, or where there are none, scales. */
struct wblock {
	uint8_t q[64][2][64];
	int32_t sc[16][4][NR], pair[8][NR];
	float d[NR], dmin[NR];
};

/* ---- unpacking ------------------------------------------------------------------------------------------------ */
/* Bit h: some token's block has a group shifted by h.  Mostly two of the four do, and stores are what unpacking waits for. */
INLINE unsigned shifts_of(const char *h, size_t stride, int n_tok)
{
	__m128i u = _mm_setzero_si128();
	for (int t = 0; t < n_tok; t++) u = _mm_or_si128(u, _mm_sllv_epi16(_mm_set1_epi16(1), load128(h + (size_t)t * stride)));
	u = _mm_or_si128(u, _mm_srli_si128(u, 8));
	uint64_t v = (uint64_t)_mm_cvtsi128_si64(u);
	return (unsigned)((v | v >> 16 | v >> 32 | v >> 48) & 15);
}
/* Scales 4 g .. 4 g + 3 are signed bytes of each row's dword v. */
INLINE void put_scales(struct wblock *o, int g, int z, __m512i v, unsigned shifts)
{
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++) {
		__m512i s = _mm512_srai_epi32(_mm512_slli_epi32(v, (unsigned)(24 - 8 * j)), 24);
#pragma GCC unroll 4
		for (int h = 0; h < 4; h++)
			if (shifts >> h & 1) _mm512_store_si512(o->sc[4 * g + j][h] + 16 * z, _mm512_slli_epi32(s, (unsigned)h));
	}
}

INLINE void unpack(struct wblock *o, const struct rows16 *r, int64_t at, int z, unsigned shifts, int type)
{
	const struct head256 h = head256(r, at, type);
	codes256(o->q, r, at, z, type);
	_mm512_store_ps(o->d + 16 * z, h.d);
	if (has_min(type)) _mm512_store_ps(o->dmin + 16 * z, h.dmin);
#pragma GCC unroll 4
	for (int g = 0; g < n_sub(type) / 4; g++) {
		put_scales(o, g, z, h.sc[g], shifts);
		put_pairs(o->pair, g, z, has_min(type) ? h.mn[g] : h.sc[g]);
	}
}

/* ---- one block of nt tokens --------------------------------------------------------------------------------- */
/* acc[t][z] after one block b; the last tokens of a step fetch `lines` lines from f on. */
INLINE void tile(float acc[][NR], const struct wblock *w, const struct xrow *x, int64_t b, const uint8_t *f, int lines, int nt, int type)
{
	const int steps = 64 / n_sub(type), per = (lines + n_sub(type) - 1) / n_sub(type);
	const char *p[MT];
	__m512i dot[MT][2];
#pragma GCC unroll 6
	for (int t = 0; t < nt; t++) {
		p[t] = x->p + (size_t)t * x->stride;
		dot[t][0] = dot[t][1] = _mm512_setzero_si512();
	}
	for (int j = 0; j < n_sub(type); j++) {
		__m512i s[MT][2];
		for (int l = 0; l < per; l++, f += 64) _mm_prefetch((const char *)f, _MM_HINT_T1);
#pragma GCC unroll 6
		for (int t = 0; t < nt; t++) s[t][0] = s[t][1] = _mm512_setzero_si512();
#pragma GCC unroll 8
		for (int i = 0; i < steps; i++) {
			__m512i w0 = _mm512_load_si512(w->q[j * steps + i][0]), w1 = _mm512_load_si512(w->q[j * steps + i][1]);
#pragma GCC unroll 6
			for (int t = 0; t < nt; t++) {
				__m512i v = dup32(p[t] + 256 * b + 4 * (j * steps + i));
				s[t][0] = _mm512_dpbusd_epi32(s[t][0], w0, v);
				s[t][1] = _mm512_dpbusd_epi32(s[t][1], w1, v);
			}
		}
#pragma GCC unroll 6
		for (int t = 0; t < nt; t++) {
			const int16_t *h = (const int16_t *)(const void *)(p[t] + x256_h(x->cols)) + 8 * b;
			const int32_t *sc = w->sc[j][h[n_sub(type) == 8 ? j : j / 2]];
			dot[t][0] = _mm512_add_epi32(dot[t][0], _mm512_mullo_epi32(s[t][0], load512(sc)));
			dot[t][1] = _mm512_add_epi32(dot[t][1], _mm512_mullo_epi32(s[t][1], load512(sc + 16)));
		}
	}
	for (int t = 0; t < nt; t++) {
		const char *sum = type == Q4_K || type == Q5_K ? p[t] + x256_s32(x->cols) + 16 * b : p[t] + x256_s16(x->cols) + 32 * b;
		const __m512 dx = dupf((const float *)(const void *)(p[t] + x256_d(x->cols)) + b);
#pragma GCC unroll 2
		for (int z = 0; z < 2; z++) {
			__m512i m = _mm512_setzero_si512(), i = dot[t][z];
#pragma GCC unroll 8
			for (int k = 0; k < n_sub(type) / 2; k++)
				m = _mm512_dpwssd_epi32(m, load512(w->pair[k] + 16 * z), dup32(sum + 4 * k));
			if (!has_min(type)) i = _mm512_sub_epi32(i, _mm512_slli_epi32(m, (unsigned)log2_zero(type)));
			__m512 d = _mm512_mul_ps(_mm512_load_ps(w->d + 16 * z), dx), a = _mm512_load_ps(acc[t] + 16 * z);
			a = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(i), a);
			if (has_min(type)) a = _mm512_fnmadd_ps(_mm512_mul_ps(_mm512_load_ps(w->dmin + 16 * z), dx), _mm512_cvtepi32_ps(m), a);
			_mm512_store_ps(acc[t] + 16 * z, a);
		}
	}
}

INLINE void few(float *y, int64_t ys, const void *w, int64_t stride, const void *xp, int rows, int n_tok, int cols, int type)
{
	_Alignas(64) struct wblock wb;
	struct few_sums sums;
	const size_t xs = x256_bytes(cols);
	const int tiles = few_tiles(n_tok), n = cols / 256, size = block_size(type);
	for (int r0 = 0; r0 < rows; r0 += NR) {
		const uint8_t *base = (const uint8_t *)w + (int64_t)r0 * stride, *next = base + NR * stride;
		struct rows16 r[2] = { panel_rows(base, stride, rows - r0 < NR ? rows - r0 : NR, 0),
		                       panel_rows(base, stride, rows - r0 < NR ? rows - r0 : NR, 1) };
		few_start(&sums, n, n_tok);
		for (int64_t b = 0; b < n; b++) {
			const unsigned shifts = shifts_of((const char *)xp + x256_h(cols) + 16 * b, xs, n_tok);
			unpack(&wb, &r[0], b * size, 0, shifts, type);
			unpack(&wb, &r[1], b * size, 1, shifts, type);
			const int lines = (NR * size / 64 + tiles - 1) / tiles;
			for (int i = 0, t0 = 0; i < tiles; i++) {
				const int nt = few_tile(n_tok, tiles, i);
				const struct xrow x = { (const char *)xp + (size_t)t0 * xs, xs, cols };
				const uint8_t *f = next + b * NR * size + (int64_t)i * lines * 64;
				switch (nt) {
				case 1: tile(sums.acc + t0, &wb, &x, b, f, lines, 1, type); break;
				case 2: tile(sums.acc + t0, &wb, &x, b, f, lines, 2, type); break;
				case 3: tile(sums.acc + t0, &wb, &x, b, f, lines, 3, type); break;
				case 4: tile(sums.acc + t0, &wb, &x, b, f, lines, 4, type); break;
				case 5: tile(sums.acc + t0, &wb, &x, b, f, lines, 5, type); break;
				case 6: tile(sums.acc + t0, &wb, &x, b, f, lines, 6, type); break;
				}
				t0 += nt;
			}
			few_step(&sums, b, n_tok);
		}
		few_store(y + r0, ys, &sums, rows - r0, n_tok);
	}
}
FEW(q2_k, Q2_K)
FEW(q3_k, Q3_K)
FEW(q4_k, Q4_K)
FEW(q5_k, Q5_K)
FEW(q6_k, Q6_K)

void kern_avx512vnni_few256(struct kern *k)
{
	k->few[DT_Q2_K] = few_q2_k;
	k->few[DT_Q3_K] = few_q3_k;
	k->few[DT_Q4_K] = few_q4_k;
	k->few[DT_Q5_K] = few_q5_k;
	k->few[DT_Q6_K] = few_q6_k;
}
