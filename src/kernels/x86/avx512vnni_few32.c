/* avx512vnni_few32.c - types with blocks of 32 (DOT_X32) times 2 to FEW_MAX tokens: see avx512vnni_few256.c.  A step is up to
 * eight blocks, so that what a step costs besides the products is small. */
#include "kernels/x86/avx512vnni_codes32.h"
#include "kernels/x86/avx512vnni_few.h"

enum { STEP = 8 };                       /* blocks */

/* Codes of types without minima are unsigned: w + zero. */
INLINE int zero_of(int type) { return type == Q4_0 ? 8 : type == Q5_0 ? 16 : type == Q8_0 ? 128 : 0; }

/* ---- a step of nt tokens -------------------------------------------------------------------------------------- */
/* acc[t][z] after the blocks [b, b + n); `per` lines from f on are fetched with each. */
INLINE void tile(float acc[][NR], const struct wblock *w, const struct xrow *x, int64_t b, int n, const uint8_t *f, int per, int nt, int type)
{
	const char *p[MT];
	__m512 a[MT][2];
#pragma GCC unroll 6
	for (int t = 0; t < nt; t++) {
		p[t] = x->p + (size_t)t * x->stride;
		a[t][0] = _mm512_load_ps(acc[t]), a[t][1] = _mm512_load_ps(acc[t] + 16);
	}
	for (int64_t end = b + n; b < end; b++, w++) {
		__m512i s[MT][2];
		for (int l = 0; l < per; l++, f += 64) _mm_prefetch((const char *)f, _MM_HINT_T1);
#pragma GCC unroll 6
		for (int t = 0; t < nt; t++) {
			const __m512i zero = _mm512_set1_epi32(-zero_of(type) & 0xffff);      /* |sum of x| is below 2^15 */
			s[t][0] = _mm512_setzero_si512();
			if (zero_of(type)) s[t][0] = _mm512_dpwssd_epi32(s[t][0], zero, dup32(p[t] + x32_sum(x->cols) + 4 * b));
			s[t][1] = s[t][0];
		}
#pragma GCC unroll 8
		for (int i = 0; i < 8; i++) {
			__m512i w0 = _mm512_load_si512(w->q[i][0]), w1 = _mm512_load_si512(w->q[i][1]);
#pragma GCC unroll 6
			for (int t = 0; t < nt; t++) {
				__m512i v = dup32(p[t] + 32 * b + 4 * i);
				s[t][0] = _mm512_dpbusd_epi32(s[t][0], w0, v);
				s[t][1] = _mm512_dpbusd_epi32(s[t][1], w1, v);
			}
		}
#pragma GCC unroll 6
		for (int t = 0; t < nt; t++) {
			const __m512 dx = dupf((const float *)(const void *)(p[t] + x32_d(x->cols)) + b);
#pragma GCC unroll 2
			for (int z = 0; z < 2; z++) {
				a[t][z] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_load_ps(w->d + 16 * z), dx), _mm512_cvtepi32_ps(s[t][z]), a[t][z]);
				if (has_min(type))
					a[t][z] = _mm512_fmadd_ps(_mm512_load_ps(w->m + 16 * z),
					                          dupf((const float *)(const void *)(p[t] + x32_ds(x->cols)) + b), a[t][z]);
			}
		}
	}
#pragma GCC unroll 6
	for (int t = 0; t < nt; t++) _mm512_store_ps(acc[t], a[t][0]), _mm512_store_ps(acc[t] + 16, a[t][1]);
}

INLINE void few(float *y, int64_t ys, const void *w, int64_t stride, const void *xp, int rows, int n_tok, int cols, int type)
{
	_Alignas(64) struct wblock wb[STEP];
	struct few_sums sums;
	const size_t xs = x32_bytes(cols);
	const int tiles = few_tiles(n_tok), n = cols / 32, size = block_size(type);
	const int per = (NR * size / 64 + tiles) / tiles;
	for (int r0 = 0; r0 < rows; r0 += NR) {
		const uint8_t *base = (const uint8_t *)w + (int64_t)r0 * stride, *next = base + NR * stride;
		struct rows16 r[2] = { panel_rows(base, stride, rows - r0 < NR ? rows - r0 : NR, 0),
		                       panel_rows(base, stride, rows - r0 < NR ? rows - r0 : NR, 1) };
		few_start(&sums, n, n_tok);
		for (int64_t b = 0; b < n;) {
			/* a step ends with a leaf */
			const int m = sums.walk.end - b < STEP ? (int)(sums.walk.end - b) : STEP;
			for (int i = 0; i < m; i++) {
				unpack32(&wb[i], &r[0], (b + i) * size, 0, type);
				unpack32(&wb[i], &r[1], (b + i) * size, 1, type);
			}
			for (int i = 0, t0 = 0; i < tiles; i++) {
				const int nt = few_tile(n_tok, tiles, i);
				const struct xrow x = { (const char *)xp + (size_t)t0 * xs, xs, cols };
				const uint8_t *f = next + b * NR * size + (int64_t)i * m * per * 64;
				switch (nt) {
				case 1: tile(sums.acc + t0, wb, &x, b, m, f, per, 1, type); break;
				case 2: tile(sums.acc + t0, wb, &x, b, m, f, per, 2, type); break;
				case 3: tile(sums.acc + t0, wb, &x, b, m, f, per, 3, type); break;
				case 4: tile(sums.acc + t0, wb, &x, b, m, f, per, 4, type); break;
				case 5: tile(sums.acc + t0, wb, &x, b, m, f, per, 5, type); break;
				case 6: tile(sums.acc + t0, wb, &x, b, m, f, per, 6, type); break;
				}
				t0 += nt;
			}
			b += m;
			few_step(&sums, b - 1, n_tok);
		}
		few_store(y + r0, ys, &sums, rows - r0, n_tok);
	}
}
FEW(q4_0, Q4_0)
FEW(q4_1, Q4_1)
FEW(q5_0, Q5_0)
FEW(q5_1, Q5_1)
FEW(q8_0, Q8_0)

void kern_avx512vnni_few32(struct kern *k)
{
	k->few[DT_Q4_0] = few_q4_0;
	k->few[DT_Q4_1] = few_q4_1;
	k->few[DT_Q5_0] = few_q5_0;
	k->few[DT_Q5_1] = few_q5_1;
	k->few[DT_Q8_0] = few_q8_0;
}
