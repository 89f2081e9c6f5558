/* gguf_write.c - see gguf_write.h.  The head is made in memory; the rows of one tensor after the other are shared by the
 * threads, each of which writes what it made at its place. */
#include "format/gguf_write.h"
#include <string.h>

enum { ALIGN = 32, VERSION = 3, PIECE = 1 << 20 /* bytes that a thread makes at a time */, MAX_THREADS = 64 };

static void put32(struct lm_buf *b, uint32_t v)
{
	uint8_t p[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24) };
	lm_buf_add(b, p, 4);
}

static void put64(struct lm_buf *b, uint64_t v)
{
	put32(b, (uint32_t)v);
	put32(b, (uint32_t)(v >> 32));
}

void gguf_put_str(struct lm_buf *b, const char *s, size_t n)
{
	put64(b, n);
	lm_buf_add(b, s, n);
}

/* ---- keys ------------------------------------------------------------------------------------------------ */
static void head(struct gguf_keys *k, const char *name, enum file_type type)
{
	gguf_put_str(&k->b, name, strlen(name));
	put32(&k->b, (uint32_t)type);
	k->n++;
}

void gguf_key_u32(struct gguf_keys *k, const char *name, uint32_t v)
{
	head(k, name, FT_U32);
	put32(&k->b, v);
}

void gguf_key_bool(struct gguf_keys *k, const char *name, bool v)
{
	head(k, name, FT_BOOL);
	lm_buf_char(&k->b, v);
}

void gguf_key_str(struct gguf_keys *k, const char *name, const char *s, size_t n)
{
	head(k, name, FT_STR);
	gguf_put_str(&k->b, s, n);
}

void gguf_key_arr(struct gguf_keys *k, const char *name, enum file_type elem, uint64_t n, const void *p, size_t size)
{
	head(k, name, FT_ARR);
	put32(&k->b, (uint32_t)elem);
	put64(&k->b, n);
	lm_buf_add(&k->b, p, size);
}

void gguf_key_copy(struct gguf_keys *k, const struct file *f, int i)
{
	enum file_type type, elem;
	int64_t n;
	uint64_t size;
	const char *name = file_key(f, i, &type, &elem, &n);
	const void *p = file_raw(f, i, &size);
	if (type == FT_STR) gguf_key_str(k, name, p, (size_t)size);
	else if (type == FT_ARR) gguf_key_arr(k, name, elem, (uint64_t)n, p, (size_t)size);
	else {
		head(k, name, type);
		lm_buf_add(&k->b, p, (size_t)size);
	}
}

void gguf_keys_free(struct gguf_keys *k)
{
	lm_buf_free(&k->b);
	*k = (struct gguf_keys){ 0 };
}

/* ---- tensors --------------------------------------------------------------------------------------------- */
struct job {
	struct lm_out out;
	struct lm_pool *pool;
	const struct gguf_tensor *t;
	gguf_rows_fn *rows;
	void *ud;
	int at;                                            /* the tensor being written */
	uint64_t off;                                      /* of its data in the file */
	int64_t n_rows, row;                               /* row: bytes */
	struct { struct gguf_tmp from, to; struct lm_err err; } thread[MAX_THREADS];
};

void *gguf_room(struct gguf_tmp *tmp, size_t n)
{
	if (n <= tmp->size) return tmp->p;
	void *p = lm_realloc(tmp->p, n);
	if (p) *tmp = (struct gguf_tmp){ p, n };
	return p;
}

/* Rows and bytes of a row; LM_EINVAL names a tensor that no file can have. */
static int measure(const struct gguf_tensor *t, int64_t *n_rows, int64_t *row, uint64_t *size, struct lm_err *err)
{
	uint64_t n = 1;
	bool ok = t->n_dims >= 1 && t->n_dims <= 4 && t->type < DT_NF4;
	*row = ok ? quant_row_bytes(t->type, t->dim[t->n_dims - 1]) : -1;
	for (int d = 0; ok && d + 1 < t->n_dims; d++) ok = t->dim[d] > 0 && lm_mul_u64(n, (uint64_t)t->dim[d], &n);
	ok = ok && *row > 0 && lm_mul_u64(n, (uint64_t)*row, size) && *size < (uint64_t)1 << 62;
	*n_rows = (int64_t)n;
	return ok ? 0 : lm_fail(err, LM_EINVAL, "%.100s: a GGUF cannot hold it in this type and shape", t->name);
}

static uint64_t padded(uint64_t n) { return (n + ALIGN - 1) / ALIGN * ALIGN; }

static int make_head(struct lm_buf *b, const struct gguf_keys *k, const struct gguf_tensor *t, int n, struct lm_err *err)
{
	uint64_t off = 0, size;
	lm_buf_str(b, "GGUF");
	put32(b, VERSION);
	put64(b, (uint64_t)n);
	put64(b, k->n);
	lm_buf_add(b, k->b.p ? k->b.p : "", k->b.n);
	for (int i = 0; i < n; i++) {
		int64_t rows, row;
		int rc = measure(&t[i], &rows, &row, &size, err);
		if (rc) return rc;
		gguf_put_str(b, t[i].name, strlen(t[i].name));
		put32(b, (uint32_t)t[i].n_dims);
		for (int d = t[i].n_dims; d-- > 0;) put64(b, (uint64_t)t[i].dim[d]);
		put32(b, (uint32_t)t[i].type);
		put64(b, off);
		if (!lm_add_u64(off, padded(size), &off)) return lm_fail(err, LM_ELIMIT, "the tensors are too large for a file");
	}
	static const char zeros[ALIGN];
	lm_buf_add(b, zeros, padded(b->n) - b->n);
	return b->bad || k->b.bad ? lm_fail(err, LM_ENOMEM, "out of memory for the metadata") : 0;
}

static int write_rows(struct job *j, int64_t lo, int64_t hi, int tid)
{
	struct lm_err *err = &j->thread[tid].err;
	size_t n = (size_t)((hi - lo) * j->row);
	void *p = gguf_room(&j->thread[tid].to, n);
	if (!p) return lm_fail(err, LM_ENOMEM, "out of memory for rows of %.100s", j->t[j->at].name);
	int rc = j->rows(j->ud, j->at, lo, hi - lo, p, &j->thread[tid].from, err);
	return rc ? rc : lm_out_write(&j->out, j->off + (uint64_t)(lo * j->row), p, n, err);
}

static void run(void *ctx, int tid, int n_threads)
{
	struct job *j = ctx;
	int64_t lo, hi, step = PIECE / j->row > 0 ? PIECE / j->row : 1;
	(void)n_threads;
	while (lm_pool_next(j->pool, j->n_rows, step, &lo, &hi))
		if (!j->thread[tid].err.code) write_rows(j, lo, hi, tid);
}

static int write_all(struct job *j, uint64_t off, int n, struct lm_err *err)
{
	static const char zeros[ALIGN];
	for (j->at = 0; j->at < n; j->at++) {
		uint64_t size;
		int rc = measure(&j->t[j->at], &j->n_rows, &j->row, &size, err);
		if (rc) return rc;
		j->off = off;
		lm_pool_run(j->pool, run, j);
		for (int i = 0; i < MAX_THREADS; i++)
			if (j->thread[i].err.code) return lm_fail(err, j->thread[i].err.code, "%s", j->thread[i].err.msg);
		rc = lm_out_write(&j->out, off + size, zeros, (size_t)(padded(size) - size), err);
		if (rc) return rc;
		off += padded(size);
	}
	return 0;
}

static int write_file(struct job *j, const char *path, const struct lm_buf *first, int n, struct lm_err *err)
{
	int rc = lm_out_open(&j->out, path, err);
	if (rc) return rc;
	rc = lm_out_write(&j->out, 0, first->p, first->n, err);
	if (!rc) rc = write_all(j, first->n, n, err);
	if (!rc) return lm_out_done(&j->out, err);
	lm_out_close(&j->out);
	return rc;
}

int gguf_write(const char *path, const struct gguf_keys *k, const struct gguf_tensor *t, int n, gguf_rows_fn *rows,
               void *ud, int n_threads, struct lm_err *err)
{
	struct lm_buf first = { 0 };
	int rc = make_head(&first, k, t, n, err);
	struct job *j = rc ? NULL : lm_calloc(1, sizeof *j);
	if (!n_threads) n_threads = lm_cpu_count();
	if (!rc && !j) rc = lm_fail(err, LM_ENOMEM, "out of memory for writing");
	if (!rc) {
		j->t = t;
		j->rows = rows;
		j->ud = ud;
		j->pool = lm_pool_new(n_threads < MAX_THREADS ? n_threads : MAX_THREADS);
		rc = j->pool ? write_file(j, path, &first, n, err) : lm_fail(err, LM_ENOMEM, "out of memory for threads");
		lm_pool_free(j->pool);
		for (int i = 0; i < MAX_THREADS; i++) {
			lm_free(j->thread[i].from.p);
			lm_free(j->thread[i].to.p);
		}
	}
	lm_free(j);
	lm_buf_free(&first);
	return rc;
}
