/* Any bytes as a PyTorch checkpoint; those that begin neither as a zip archive nor as the old stream are taken as the
 * pickle of an archive with two storages. */
#include "fuzz/raw.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_le(struct lm_buf *b, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++) lm_buf_char(b, (char)(i < 8 ? v >> 8 * i : 0));
}

static void put_local(struct lm_buf *b, struct lm_buf *table, const char *name, const void *p, size_t n)
{
	size_t at = b->n;
	lm_buf_add(b, "PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18);
	put_le(b, n, 4);
	put_le(b, n, 4);
	put_le(b, strlen(name), 4);
	lm_buf_str(b, name);
	lm_buf_add(b, p, n);
	lm_buf_add(table, "PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	put_le(table, n, 4);
	put_le(table, n, 4);
	put_le(table, strlen(name), 14);
	put_le(table, at, 4);
	lm_buf_str(table, name);
}

static void as_pickle(struct lm_buf *b, const uint8_t *data, size_t size)
{
	static const uint8_t zero[64] = { 0 };
	struct lm_buf table = { 0 };
	put_local(b, &table, "a/data.pkl", data, size);
	put_local(b, &table, "a/data/0", zero, 64);
	put_local(b, &table, "a/data/1", zero, 6);
	size_t at = b->n;
	lm_buf_add(b, table.p, table.n);
	lm_buf_add(b, "PK\5\6\0\0\0\0\3\0\3\0", 12);
	put_le(b, table.n, 4);
	put_le(b, at, 4);
	put_le(b, 0, 2);
	raw_must(!table.bad && !b->bad, "no memory");
	lm_buf_free(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct raw_open o;
	struct lm_err err = { 0 };
	struct lm_buf b = { 0 };
	bool whole = size >= 4 && (!memcmp(data, "PK", 2) || !memcmp(data, "\x80\2\x8a\12", 4));
	if (!whole) {
		as_pickle(&b, data, size);
		data = (const uint8_t *)b.p;
		size = b.n;
	}
	raw_begin(&o);
	int rc = torch_read(&o.h, 0, data, size, &err);
	raw_end(&o, rc, &err, data, size);
	lm_buf_free(&b);
	return 0;
}
