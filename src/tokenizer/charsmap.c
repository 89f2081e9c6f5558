/* charsmap.c - the compiled rules of sentencepiece: u32 bytes of trie, a double-array trie of u32
 * (darts-clone), then the replacements, each ended by NUL; a key's value is where its replacement begins.
 * GOTCHA: the `tokenizers` library takes the *shortest* key that a grapheme cluster of up to 5 bytes begins
 * with and drops the rest of the cluster; sentencepiece the longest key at each place.  Same file, different
 * texts. */
#include "tokenizer/norm_impl.h"
#include "tokenizer/norm_cluster.h"

enum {
	MAX_KEY = 256, /* bytes of a key that can match: a cyclic trie ends there */
	MAX_PUT = 4096,
	MAX_CLUSTER = 5
};

struct charsmap {
	uint32_t *unit;
	size_t n_unit, n_text;
	char *text;
	/* Of ASCII characters, so that plain text need not walk the trie: it is a key, or begins one that
	 * goes on in ASCII; it begins any key. */
	bool plain_key[128], any_key[128];
};

static size_t offset(uint32_t u)
{
	return (size_t)(u >> 10) << ((u & 1u << 9) >> 6);
}

/* The value of the shortest or longest key that s[0..n) begins with, its length in *len; -1 if there is none.
 */
static int64_t lookup(const struct charsmap *m, const char *s, size_t n, bool longest, size_t *len)
{
	int64_t value = -1;
	if (n > MAX_KEY) n = MAX_KEY;
	size_t at = offset(m->unit[0]);
	for (size_t i = 0; i < n && s[i]; i++) {
		at ^= (unsigned char)s[i];
		if (at >= m->n_unit) break;
		uint32_t u = m->unit[at];
		if ((u & 0x800000FFu) != (unsigned char)s[i]) break;
		at ^= offset(u);
		if (at >= m->n_unit) break;
		if (u & 0x100) {
			value = m->unit[at] & 0x7FFFFFFF;
			*len = i + 1;
			if (!longest) break;
		}
	}
	return value;
}

/* ---- reading ---- */
static int digit(unsigned char c)
{
	if (c >= 'A' && c <= 'Z') return c - 'A';
	if (c >= 'a' && c <= 'z') return c - 'a' + 26;
	if (c >= '0' && c <= '9') return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Canonical base64; out has room for 3 bytes for each 4 characters.  false: it is not. */
static bool base64(const char *s, size_t n, unsigned char *out, size_t *n_out)
{
	if (n % 4) return false;
	size_t k = 0;
	for (size_t i = 0; i < n; i += 4) {
		bool last = i + 4 == n;
		int pad = last ? (s[i + 3] == '=') + (s[i + 3] == '=' && s[i + 2] == '=') : 0;
		uint32_t v = 0;
		for (int j = 0; j < 4; j++) {
			int d = j >= 4 - pad ? 0 : digit((unsigned char)s[i + (size_t)j]);
			if (d < 0) return false;
			v = v << 6 | (uint32_t)d;
		}
		if (pad && v & ((1u << 8 * pad) - 1)) return false;
		for (int j = 0; j < 3 - pad; j++) out[k++] = (unsigned char)(v >> (16 - 8 * j));
	}
	*n_out = k;
	return true;
}

/* Every unit that may end a key leads to a replacement inside the text. */
static int check(const struct charsmap *m, struct lm_err *err)
{
	if (!lm_utf8_valid(m->text, m->n_text))
		return lm_fail(err, LM_EFORMAT, "precompiled_charsmap: its replacements are not UTF-8");
	for (size_t i = 0; i < m->n_unit; i++) {
		uint32_t u = m->unit[i];
		if (u >> 31 || !(u & 0x100)) continue;
		size_t at = i ^ offset(u);
		uint32_t v = at < m->n_unit ? m->unit[at] & 0x7FFFFFFF : UINT32_MAX;
		if (v >= m->n_text || ((unsigned char)m->text[v] & 0xC0) == 0x80)
			return lm_fail(err, LM_EFORMAT,
				       "precompiled_charsmap: unit %zu of %zu leads to no replacement (%zu "
				       "bytes of them)",
				       i, m->n_unit, m->n_text);
	}
	const char *s = m->text, *end = s + m->n_text;
	for (const char *z; s < end; s = z + 1) {
		z = memchr(s, 0, (size_t)(end - s));
		if (!z) z = end;
		if (z - s > MAX_PUT)
			return lm_fail(
				err, LM_ELIMIT,
				"precompiled_charsmap: a replacement of %zu bytes, at most %d are taken",
				(size_t)(z - s), MAX_PUT);
	}
	return 0;
}

static bool child(const struct charsmap *m, size_t base, unsigned b)
{
	size_t at = base ^ b;
	return at < m->n_unit && (m->unit[at] & 0x800000FFu) == b;
}

static void note_ascii(struct charsmap *m)
{
	size_t root = offset(m->unit[0]);
	for (unsigned b = 1; b < 128; b++) {
		if (!child(m, root, b)) continue;
		uint32_t u = m->unit[root ^ b];
		m->any_key[b] = true;
		m->plain_key[b] = u & 0x100;
		for (unsigned c = 1; c < 128; c++) m->plain_key[b] |= child(m, root ^ b ^ offset(u), c);
	}
}

/* Is s[0], n > 0, an ASCII character that stands for itself, whatever is around it? */
static inline bool plain(const struct charsmap *m, const char *s, size_t n)
{
	unsigned char b = (unsigned char)s[0], c = n > 1 ? (unsigned char)s[1] : 0;
	return b < 0x80 && (!m || (!m->plain_key[b] && (c < 0x80 || !m->any_key[b])));
}

static int take_units(struct charsmap *m, const unsigned char *p, size_t n, struct lm_err *err)
{
	struct lm_cursor c = { p, p + n, false };
	uint32_t size = lm_read_u32le(&c);
	m->n_unit = size / 4;
	if (c.bad || m->n_unit == 0 || m->n_unit > (n - 4) / 4)
		return lm_fail(err, LM_EFORMAT,
			       "precompiled_charsmap: %zu bytes cannot hold a trie of %u bytes", n, size);
	m->n_text = n - 4 - 4 * m->n_unit;
	m->unit = lm_calloc(m->n_unit, sizeof *m->unit);
	m->text = lm_malloc(m->n_text + 1);
	if (!m->unit || !m->text)
		return lm_fail(err, LM_ENOMEM, "out of memory for a charsmap of %zu bytes", n);
	for (size_t i = 0; i < m->n_unit; i++) m->unit[i] = lm_read_u32le(&c);
	memcpy(m->text, c.p, m->n_text);
	m->text[m->n_text] = 0;
	int rc = check(m, err);
	if (rc == 0) note_ascii(m);
	return rc;
}

int charsmap_new(struct charsmap **out, const char *s, size_t n, struct lm_err *err)
{
	*out = NULL;
	if (n == 0) return 0;
	unsigned char *bytes = lm_malloc(n / 4 * 3 + 3);
	struct charsmap *m = lm_calloc(1, sizeof *m);
	size_t len = 0;
	int rc = 0;
	if (!bytes || !m)
		rc = lm_fail(err, LM_ENOMEM, "out of memory for a charsmap of %zu bytes", n);
	else if (!base64(s, n, bytes, &len))
		rc = lm_fail(err, LM_EFORMAT, "precompiled_charsmap is not base64");
	else
		rc = take_units(m, bytes, len, err);
	lm_free(bytes);
	if (rc == 0)
		*out = m;
	else
		charsmap_free(m);
	return rc;
}

void charsmap_free(struct charsmap *m)
{
	if (!m) return;
	lm_free(m->unit);
	lm_free(m->text);
	lm_free(m);
}

/* ---- use ---- */
static int ended(const struct lm_buf *out, size_t limit, struct lm_err *err)
{
	if (out->bad) return lm_fail(err, LM_ENOMEM, "out of memory for a normalized text");
	if (out->n <= limit) return 1;
	return lm_fail(err, LM_ELIMIT,
		       "precompiled_charsmap makes a text of more than %zu bytes out of a short one", limit);
}

/* s[0..n) as `tokenizers` looks it up; false: nothing stands for it. */
static bool transform(const struct charsmap *m, const char *s, size_t n, struct lm_buf *out, const char *done)
{
	size_t len;
	int64_t v = lookup(m, s, n, false, &len);
	if (v < 0) return false;
	lm_buf_add(out, done, (size_t)(s - done));
	lm_buf_str(out, m->text + v);
	return true;
}

int charsmap_clusters(const struct charsmap *m, const uint16_t *flags, struct norm_work *w, const char *s,
		      size_t n, struct lm_buf *out, struct lm_err *err)
{
	const char *done = s, *end = s + n; /* what comes before is in *out */
	bool any = false;
	for (size_t i = 0; i < n && out->n <= w->limit;) {
		if (plain(m, s + i, n - i) && s[i] != '\r' &&
		    (i + 1 == n || (unsigned char)s[i + 1] < 0x80)) {
			i++;
			continue;
		}
		size_t to = i + norm_cluster(flags, s + i, n - i);
		if (to - i <= MAX_CLUSTER && transform(m, s + i, to - i, out, done)) {
			any = true;
			done = s + to;
			i = to;
		}
		while (i < to && out->n <= w->limit) {
			size_t at = i;
			norm_take(s, &i);
			if (!transform(m, s + at, i - at, out, done)) continue;
			any = true;
			done = s + i;
		}
	}
	if (!any) return 0;
	lm_buf_add(out, done, (size_t)(end - done));
	return ended(out, w->limit, err);
}

/* What sentencepiece reads at s[0..n), n > 0: *put, *n_put; returns the bytes that it stands for. */
static size_t prefix(const struct charsmap *m, const struct added *keep, const char *s, size_t n,
		     const char **put, size_t *n_put)
{
	size_t len = keep ? added_at(keep, s, n, true) : 0;
	if (len) {
		*put = s;
		return *n_put = len;
	}
	int64_t v = !m || plain(m, s, n) ? -1 : lookup(m, s, n, true, &len);
	if (v >= 0) {
		*put = m->text + v;
		*n_put = strlen(*put);
		return len;
	}
	norm_take(s, &len);
	*put = s;
	return *n_put = len;
}

int charsmap_spm(const struct charsmap *m, struct spm_opts o, struct norm_work *w, const char *s, size_t n,
		 struct lm_buf *out, struct lm_err *err)
{
	const char *space = o.escape ? "\xE2\x96\x81" : " ", *put;
	size_t n_space = strlen(space), i = 0, k;
	while (o.trim && i < n) { /* spaces at the beginning */
		size_t len = prefix(m, o.keep, s + i, n - i, &put, &k);
		if (k != 1 || *put != ' ') break;
		i += len;
	}
	if (i == n) return ended(out, w->limit, err);
	if (o.dummy_prefix && !o.suffix) lm_buf_add(out, space, n_space);
	for (bool after = o.trim; i < n && out->n <= w->limit;) {
		size_t same = i;
		while (!o.keep && same < n && s[same] != ' ' && plain(m, s + same, n - same)) same++;
		if (same > i) {
			lm_buf_add(out, s + i, same - i);
			i = same;
			after = false;
			continue;
		}
		i += prefix(m, o.keep, s + i, n - i, &put, &k);
		for (; after && k && *put == ' '; put++) k--;
		if (k == 0) continue;
		after = o.trim && put[k - 1] == ' ';
		for (const char *z; o.escape && (z = memchr(put, ' ', k)); put = z + 1) {
			lm_buf_add(out, put, (size_t)(z - put));
			lm_buf_add(out, space, n_space);
			k -= (size_t)(z + 1 - put);
		}
		lm_buf_add(out, put, k);
	}
	while (o.trim && out->n >= n_space && memcmp(out->p + out->n - n_space, space, n_space) == 0)
		out->n -= n_space;
	if (o.dummy_prefix && o.suffix) lm_buf_add(out, space, n_space);
	return ended(out, w->limit, err);
}
