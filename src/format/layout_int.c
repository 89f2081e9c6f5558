/* layout_int.c - integers under scales and zeros, from whatever packing, to blocks along a row. */
#include "format/derive.h"
#include "format/layouts.h"
#include <math.h>
#include <string.h>

enum { TILE = 512 };                        /* rows worked on together: packings across rows then read whole cache lines */
struct cell { float scale; int zero; };      /* of a group and a row of the tile */

uint32_t ints_field(const uint8_t *p, int64_t stride, int64_t i, int bits)
{
	int64_t word = i * bits / 32;
	int off = (int)(i * bits % 32);
	uint32_t v = lay_u32(p + word * stride) >> off;
	if (off + bits > 32) v |= lay_u32(p + (word + 1) * stride) << (32 - off);
	return v & ((1u << bits) - 1);
}

/* Eight nibbles become bytes. */
static void spread(uint8_t *out, uint32_t nibbles)
{
	uint64_t v = nibbles;
	v = (v | v << 16) & 0x0000ffff0000ffff;
	v = (v | v << 8) & 0x00ff00ff00ff00ff;
	v = (v | v << 4) & 0x0f0f0f0f0f0f0f0f;
	memcpy(out, &v, sizeof v);
}

void ints_fetch(const struct ints *w, const uint8_t *row0, int64_t row_step, int64_t word_step, int64_t n, int64_t col,
                int m, uint8_t *out)
{
	int bits = w->bits, per = 32 / bits;
	if (32 % bits) {
		for (int k = 0; k < m; k++)
			for (int64_t i = 0; i < n; i++)
				out[i * 32 + k] = (uint8_t)ints_field(row0 + i * row_step, word_step, col + k, bits);
		return;
	}
	for (int k = 0; k < m; k += per) {
		const uint8_t *p = row0 + (col + k) / per * word_step;
		int e = m - k < per ? m - k : per;
		for (int64_t i = 0; i < n; i++) {
			uint32_t v = lay_u32(p + i * row_step);
			if (bits == 4 && e == 8) {
				spread(out + i * 32 + k, v);
				continue;
			}
			for (int j = 0; j < e; j++) out[i * 32 + k + j] = (uint8_t)(v >> (j * bits) & ((1u << bits) - 1));
		}
	}
}

void ints_column(const struct ints *w, const uint8_t *row0, int64_t row_step, int64_t word_step, int64_t n, int64_t col,
                 uint8_t *out)
{
	int bits = w->bits, per = 32 / bits, shift = (int)(col % per) * bits;
	const uint8_t *p = row0 + col / per * word_step, mask = (uint8_t)((1u << bits) - 1);
	if (32 % bits)
		for (int64_t i = 0; i < n; i++) out[i] = (uint8_t)ints_field(row0 + i * row_step, word_step, col, bits);
	else
		for (int64_t i = 0; i < n; i++) out[i] = (uint8_t)(lay_u32(p + i * row_step) >> shift) & mask;
}

/* ---- tiles ------------------------------------------------------------------------------------------------ */
/* Bytes [by, by+8) of a[j] against bytes [by, by+8) of a[j + by]: one step of turning eight words of eight bytes. */
static void swap(uint64_t *a, uint64_t *b, int by, uint64_t mask)
{
	uint64_t t = (*a >> by ^ *b) & mask;
	*b ^= t;
	*a ^= t << by;
}

/* q[i][k] = c[k][i] */
static void turn(uint8_t q[TILE][32], const uint8_t c[32][TILE])
{
	for (int i = 0; i < TILE; i += 8)
		for (int k = 0; k < 32; k += 8) {
			uint64_t a[8];
			for (int j = 0; j < 8; j++) memcpy(&a[j], c[k + j] + i, 8);
			for (int j = 0; j < 4; j++) swap(&a[j], &a[j + 4], 32, 0x00000000ffffffff);
			for (int j = 0; j < 8; j += j % 4 ? 3 : 1) swap(&a[j], &a[j + 2], 16, 0x0000ffff0000ffff);
			for (int j = 0; j < 8; j += 2) swap(&a[j], &a[j + 1], 8, 0x00ff00ff00ff00ff);
			for (int j = 0; j < 8; j++) memcpy(q[i + j] + k, &a[j], 8);
		}
}

static void read_tile(const struct ints *w, int64_t row, int64_t n, int64_t col, int m, uint8_t q[TILE][32])
{
	uint8_t c[32][TILE];
	if (!w->order && w->fetch) {
		w->fetch(w, row, n, col, m, q[0]);
		return;
	}
	if (m < 32 || n < TILE) memset(c, 0, sizeof c);
	for (int k = 0; k < m; k++) w->column(w, row, n, w->order ? w->order[col + k] : col + k, c[k]);
	turn(q, c);
}

/* ---- rows ------------------------------------------------------------------------------------------------- */
static int fill_cells(const struct ints *w, int64_t row, int64_t n, int64_t tile, struct cell *c, struct lm_err *err)
{
	for (int64_t g = 0; g < w->groups; g++)
		for (int64_t i = 0; i < n; i++) {
			int64_t at = (row + i) * w->scale_row + g * w->scale_group;
			float s = lay_f32(&w->scale, at);
			if (!isfinite(s)) return lay_not_finite(w->name, at, s, err);
			c[g * tile + i] = (struct cell){ s, w->symmetric ? 1 << (w->bits - 1) : w->zero_at(w, row + i, g) };
		}
	return 0;
}

/* Low nibbles are the first half of the 32. */
static void nibbles(uint8_t *dst, const uint8_t *q, int add)
{
	for (int j = 0; j < 16; j++) dst[j] = (uint8_t)((q[j] + add) | (q[j + 16] + add) << 4);
}

static void put_block(const struct ints *w, char *row, int64_t col, const uint8_t *q, struct cell c)
{
	int half = 1 << (w->bits - 1);
	size_t b32 = (size_t)(col / 32), b128 = (size_t)(col / 128), at = (size_t)(col % 128);
	struct block_q4_0 *q40 = (struct block_q4_0 *)row + b32;
	struct block_q8_0 *q80 = (struct block_q8_0 *)row + b32;
	struct block_z4_32 *z4 = (struct block_z4_32 *)row + b32;
	struct block_z8_32 *z8 = (struct block_z8_32 *)row + b32;
	struct block_z4_128 *z4l = (struct block_z4_128 *)row + b128;
	struct block_z8_128 *z8l = (struct block_z8_128 *)row + b128;

	switch (w->type) {
	case DT_Q4_0:
		q40->d = quant_f32_to_f16(c.scale);
		nibbles(q40->q, q, 8 - half);
		break;
	case DT_Q8_0:
		q80->d = quant_f32_to_f16(c.scale);
		for (int j = 0; j < 32; j++) q80->q[j] = (int8_t)(q[j] - half);
		break;
	case DT_Z4_32:
		z4->d = c.scale;
		z4->z = (int8_t)c.zero;
		nibbles(z4->q, q, 0);
		break;
	case DT_Z4_128:
		z4l->d = c.scale;
		z4l->z = (int8_t)c.zero;
		nibbles(z4l->q + at / 2, q, 0);
		break;
	case DT_Z8_32:
		z8->d = c.scale;
		z8->z = (int16_t)(c.zero - half);
		for (int j = 0; j < 32; j++) z8->q[j] = (int8_t)(q[j] - half);
		break;
	default:
		z8l->d = c.scale;
		z8l->z = (int16_t)(c.zero - half);
		for (int j = 0; j < 32; j++) z8l->q[at + (size_t)j] = (int8_t)(q[j] - half);
	}
}

/* at: where the cells of each column's group begin */
static void put_floats(const struct ints *w, char *row, int64_t col, int m, const uint8_t *q, const struct cell *cells,
                       const int64_t at[32])
{
	const struct dtype_info *to = quant_info(w->type);
	float v[32];
	for (int k = 0; k < m; k++) v[k] = (float)(q[k] - cells[at[k]].zero) * cells[at[k]].scale;
	to->encode(row + col * to->block_bytes, v, NULL, m);
}

static int make_ints(const struct derived *d, int64_t row, int64_t n, void *dst, struct lm_err *err)
{
	const struct ints *w = (const struct ints *)d;
	int64_t bytes = quant_row_bytes(w->type, w->cols), tile = n < TILE ? n : TILE;
	bool floats = w->type == DT_F32 || w->type == DT_F16 || w->type == DT_BF16;
	struct cell *cells = lm_calloc((size_t)w->groups, (size_t)tile * sizeof *cells);
	int rc = cells ? 0 : lm_fail(err, LM_ENOMEM, "out of memory for %.200s", w->name);

	for (int64_t r = 0; !rc && r < n; r += tile) {
		int64_t t = n - r < tile ? n - r : tile;
		char *to = (char *)dst + r * bytes;
		if ((rc = fill_cells(w, row + r, t, tile, cells, err))) break;
		for (int64_t col = 0; col < w->cols; col += 32) {
			uint8_t q[TILE][32];
			int64_t at[32];
			int m = w->cols - col < 32 ? (int)(w->cols - col) : 32;
			read_tile(w, row + r, t, col, m, q);
			for (int k = 0; k < m; k++) at[k] = (w->g_idx ? w->g_idx[col + k] : (col + k) / w->group) * tile;
			for (int64_t i = 0; i < t; i++) {
				if (floats) put_floats(w, to + i * bytes, col, m, q[i], cells + i, at);
				else put_block(w, to + i * bytes, col, q[i], cells[at[0] + i]);
			}
		}
	}
	lm_free(cells);
	return rc;
}

/* ---- what the checkpoint says ------------------------------------------------------------------------------ */
int ints_order(struct hf *h, struct ints *w, const struct raw *g_idx, struct lm_err *err)
{
	bool plain = true;
	int rc = lay_is(g_idx, 1 << RAW_I32, err, w->cols);
	if (rc) return rc;
	int32_t *g = lm_new(h->f->arena, int32_t, w->cols);
	if (!g) return lm_fail(err, LM_ENOMEM, "%.300s: out of memory", h->dir);
	for (int64_t i = 0; i < w->cols; i++) {
		g[i] = (int32_t)lay_u32(g_idx->data + i * 4);
		if (g[i] < 0 || g[i] >= w->groups)
			return lm_fail(err, LM_EFORMAT, "%.150s: element %lld is %d, expected a group from 0 to %lld", g_idx->name,
			               (long long)i, (int)g[i], (long long)w->groups - 1);
		plain &= g[i] == i / w->group;
	}
	w->g_idx = plain ? NULL : g;
	return 0;
}

bool ints_all(const uint8_t *p, int64_t n, int64_t step, int64_t rows, int bits, uint32_t value)
{
	uint32_t period[8] = { 0 };              /* 32 fields fill `bits` words */
	for (int i = 0; i < 32; i++) {
		int at = i * bits, off = at % 32;
		period[at / 32] |= value << off;
		if (off + bits > 32) period[at / 32 + 1] |= value >> (32 - off);
	}
	int64_t words = rows / 32 * bits;
	for (int64_t k = 0; k < n; k++, p += step) {
		for (int64_t i = 0; i < words; i++)
			if (lay_u32(p + i * 4) != period[i % bits]) return false;
		for (int64_t i = rows / 32 * 32; i < rows; i++)
			if (ints_field(p, 4, i, bits) != value) return false;
	}
	return true;
}

/* ---- types ------------------------------------------------------------------------------------------------ */
static bool scales_are_f16(const struct ints *w)
{
	if (w->scale.type == RAW_F16) return true;
	for (int64_t i = 0, n = lay_count(&w->scale); i < n; i++) {
		float s = lay_f32(&w->scale, i);
		if (quant_f16_to_f32(quant_f32_to_f16(s)) != s) return false;
	}
	return true;
}

/* Columns in the order of activations make groups that no block along a row can have: floats, rounded as the reference
 * rounds them, to the type of the scales.  (And sorted by group they have blocks again: sort.) */
static enum dtype pick_type(const struct ints *w)
{
	if (w->g_idx) return raw_info[w->scale.type].type;
	if (w->cols % 32 || (w->groups > 1 && w->group % 32)) return DT_F32;
	if (w->symmetric && scales_are_f16(w)) return w->bits <= 4 ? DT_Q4_0 : DT_Q8_0;
	if (w->cols % 128 || (w->groups > 1 && w->group % 128)) return w->bits <= 4 ? DT_Z4_32 : DT_Z8_32;
	return w->bits <= 4 ? DT_Z4_128 : DT_Z8_128;
}

/* The last orders are kept: products of one input have the same one, and then share what is made of that input. */
static const int32_t *keep_order(struct hf *h, int32_t *order, int64_t n)
{
	enum { KEEP = sizeof h->order / sizeof *h->order };
	for (int i = 0; i < KEEP; i++)
		if (h->order[i].n == n && !memcmp(h->order[i].at, order, (size_t)n * sizeof *order)) return h->order[i].at;
	h->order[h->n_order++ % KEEP] = (struct hf_order){ order, n };
	return order;
}

/* Columns by group, if the groups are then even. */
static int sort(struct hf *h, struct ints *w, struct lm_err *err)
{
	int32_t *order = lm_new(h->f->arena, int32_t, w->cols), *start = lm_calloc((size_t)w->groups + 1, sizeof *start);
	struct ints *by = lm_new(h->f->arena, struct ints, 1);
	struct tensor *t = lm_new(h->f->arena, struct tensor, 1);
	bool even = true;
	if (!order || !start || !by || !t) {
		lm_free(start);
		return lm_fail(err, LM_ENOMEM, "%.300s: out of memory", h->dir);
	}
	for (int64_t i = 0; i < w->cols; i++) start[w->g_idx[i] + 1]++;
	for (int64_t g = 0; g < w->groups; g++) {
		int64_t first = g * w->group, n = w->cols - first < w->group ? w->cols - first : w->group;
		even &= start[g + 1] == n;
		start[g + 1] += start[g];
	}
	for (int64_t i = 0; i < w->cols; i++) order[start[w->g_idx[i]]++] = (int32_t)i;
	lm_free(start);
	*by = *w;
	by->g_idx = NULL;
	by->type = pick_type(by);
	if (!even || by->type == DT_F32) return 0;
	by->order = keep_order(h, order, w->cols);
	*t = (struct tensor){ .name = w->name, .type = by->type, .n_dims = 2, .dim = { w->rows, w->cols, 1, 1 }, .how = &by->d };
	t->size = (uint64_t)(w->rows * quant_row_bytes(by->type, w->cols));      /* less than that of the floats, which lay_add checks */
	w->sorted = t;
	return 0;
}

const struct tensor *tensor_sorted(const struct tensor *t, const int32_t **order)
{
	const struct ints *w = !t->data && t->how && t->how->rows == make_ints ? (const struct ints *)t->how : NULL;
	if (!w || !w->sorted) return NULL;
	*order = ((const struct ints *)w->sorted->how)->order;
	return w->sorted;
}

int ints_add(struct hf *h, const struct raw *r, size_t base, struct ints *w, struct lm_err *err)
{
	int rc;
	w->d.rows = make_ints;
	w->name = w->scale.name;
	w->type = pick_type(w);
	if (w->g_idx && (rc = sort(h, w, err))) return rc;
	return lay_add(h, r, base, ".weight", w->type, 2, (int64_t[]){ w->rows, w->cols }, w, sizeof *w, err);
}
