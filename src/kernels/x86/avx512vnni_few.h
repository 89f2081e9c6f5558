/* avx512vnni_few.h - what the two kernels for few tokens share: tiles of 1 to 6 tokens, and the leaves of 32 rows times up to
 * FEW_MAX tokens, whose sums stay in memory (L1) between blocks. */
#pragma once
#include "kernels/x86/avx512vnni_gemm.h"

enum { MT = 6 };                         /* tokens of a tile: 12 sums, 12 dots, 2 vectors of weights and one of x in registers */

/* n tokens in tiles of nearly one size. */
INLINE int few_tiles(int n) { return (n + MT - 1) / MT; }
INLINE int few_tile(int n, int tiles, int i) { return (n + i) / tiles; }

struct xrow { const char *p; size_t stride; int cols; };      /* of token 0 of a tile */

struct few_sums {
	_Alignas(64) float acc[FEW_MAX][NR];
	float part[LEAVES][FEW_MAX][NR];
	struct walk walk;
};

INLINE void few_start(struct few_sums *s, int64_t n, int n_tok)
{
	s->walk = walk_start(n);
	memset(s->acc, 0, (size_t)n_tok * sizeof s->acc[0]);
}
/* After unit b. */
INLINE void few_step(struct few_sums *s, int64_t b, int n_tok)
{
	if (b + 1 != s->walk.end) return;
	float (*part)[NR] = s->part[walk_close(&s->walk)];
	for (int t = 0; t < n_tok; t++)
#pragma GCC unroll 2
		for (int z = 0; z < 2; z++) {
			_mm512_store_ps(part[t] + 16 * z, _mm512_load_ps(s->acc[t] + 16 * z));
			_mm512_store_ps(s->acc[t] + 16 * z, _mm512_setzero_ps());
		}
}
INLINE void few_store(float *y, int64_t ys, const struct few_sums *s, int rows, int n_tok)
{
	for (int t = 0; t < n_tok; t++)
		for (int z = 0; z < 2 && 16 * z < rows; z++) {
			__m512 part[LEAVES];
			for (int i = 0; i < LEAVES; i++) part[i] = _mm512_load_ps(s->part[i][t] + 16 * z);
			_mm512_mask_storeu_ps(y + t * ys + 16 * z, lanes(rows - 16 * z), walk_join(part, s->walk.has));
		}
}

/* The slot of a type, from the file's own few(). */
#define FEW(id, type)                                                                                        \
	static void few_##id(float *y, int64_t ys, const void *w, int64_t stride, const void *x, int rows,   \
			     int n_tok, int cols)                                                            \
	{                                                                                                    \
		few(y, ys, w, stride, x, rows, n_tok, cols, type);                                           \
	}
