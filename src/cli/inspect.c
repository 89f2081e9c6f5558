/* inspect.c - `lmrun inspect FILE`: what a model file or a Hugging Face folder holds, for people and as JSON.
 * Text from the file reaches a terminal only through show(), except the template, which is asked for verbatim. */
#include "base/json.h"
#include "cli/cli.h"
#include "engine/path.h"
#include "format/file.h"
#include "tokenizer/folder.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LONG_ARRAY = 32, FEW = 4, SHOWN = 100 };

struct inspect {
	bool json, full, tensors, template, tokenizer, help;
};
#define FLAG(field, spelling, text)                                                                            \
	{                                                                                                      \
		.name = spelling, .type = OPT_FLAG, .offset = offsetof(struct inspect, field),                 \
		.group = "inspect", .help = text, .value = true, .no_env = true                                \
	}
static const struct opt table[] = {
	FLAG(tensors, "--tensors",
	     "list the tensors: name, type, shape (rows first), bytes, offset in the file"),
	FLAG(tokenizer, "--tokenizer", "sum up the tokenizer: sizes, kinds of tokens, special tokens"),
	FLAG(template, "--template", "print the chat template, exactly, and nothing else"),
	FLAG(json, "--json", "everything as JSON; shape as the file has it: of a GGUF fastest dimension first"),
	FLAG(full, "--full", "arrays of over 32 elements in full"),
	FLAG(help, "--help -h", "this text"),
};
enum { N_TABLE = sizeof table / sizeof table[0] };

/* ---- values --------------------------------------------------------------------------------------------- */
/* s[0..n) in quotes for a terminal: control characters and bytes that are no UTF-8 as \xNN, cut after `max` bytes. */
static void show(struct lm_buf *b, const char *s, size_t n, size_t max)
{
	size_t i = 0;
	lm_buf_char(b, '"');
	while (i < n && i < max) {
		uint32_t cp;
		size_t len = (size_t)lm_utf8_next(s + i, n - i, &cp);
		bool real = cp != 0xFFFD || (len == 3 && memcmp(s + i, "\xef\xbf\xbd", 3) == 0);
		if (cp == '\n')
			lm_buf_str(b, "\\n");
		else if (cp == '"' || cp == '\\')
			lm_buf_fmt(b, "\\%c", (char)cp);
		else if (real && cp >= 0x20 && !(cp >= 0x7f && cp < 0xa0))
			lm_buf_add(b, s + i, len);
		else
			for (size_t k = 0; k < len; k++) lm_buf_fmt(b, "\\x%02x", (unsigned char)s[i + k]);
		i += len;
	}
	lm_buf_str(b, i < n ? "...\"" : "\"");
}

/* One number or bool at p; returns its size. */
static size_t number(struct lm_buf *b, enum file_type t, const uint8_t *p, bool json)
{
	union {
		uint8_t u8;
		int8_t i8;
		uint16_t u16;
		int16_t i16;
		uint32_t u32;
		int32_t i32;
		uint64_t u64;
		int64_t i64;
		float f32;
		double f64;
	} v = { 0 };
	memcpy(&v, p, file_type_size[t]);
	switch (t) {
	case FT_U8: lm_buf_fmt(b, "%u", v.u8); break;
	case FT_I8: lm_buf_fmt(b, "%d", v.i8); break;
	case FT_U16: lm_buf_fmt(b, "%u", v.u16); break;
	case FT_I16: lm_buf_fmt(b, "%d", v.i16); break;
	case FT_U32: lm_buf_fmt(b, "%u", v.u32); break;
	case FT_I32: lm_buf_fmt(b, "%d", v.i32); break;
	case FT_U64: lm_buf_fmt(b, "%llu", (unsigned long long)v.u64); break;
	case FT_I64: lm_buf_fmt(b, "%lld", (long long)v.i64); break;
	case FT_BOOL: lm_buf_str(b, v.u8 ? "true" : "false"); break;
	case FT_F32:
		if (json || isfinite(v.f32))
			lm_json_f32(b, v.f32);
		else
			lm_buf_fmt(b, "%g", (double)v.f32);
		break;
	case FT_F64:
		if (json || isfinite(v.f64))
			lm_json_f64(b, v.f64);
		else
			lm_buf_fmt(b, "%g", v.f64);
		break;
	default: break;
	}
	return file_type_size[t];
}

static void string(struct lm_buf *b, const char *s, size_t n, bool json, size_t max)
{
	if (json)
		lm_json_string(b, s, n);
	else
		show(b, s, n, max);
}

/* The first `max` elements of array key i, with ", " between. */
static void elements(struct lm_buf *b, const struct file *f, int i, int64_t max, bool json)
{
	enum file_type elem;
	int64_t n;
	const char *s, *key = file_key(f, i, NULL, &elem, &n);
	uint64_t at = 0, size;
	size_t len;
	const uint8_t *p = file_raw(f, i, &size);
	for (int64_t k = 0; k < n && k < max && !b->bad; k++) {
		if (k) lm_buf_str(b, json ? "," : ", ");
		if (elem != FT_STR)
			p += number(b, elem, p, json);
		else if (file_arr_str_next(f, key, &at, &s, &len))
			string(b, s, len, json, SHOWN / 2);
	}
}

static void value(struct lm_buf *b, const struct file *f, int i, const struct inspect *o)
{
	enum file_type type, elem;
	int64_t n;
	uint64_t size;
	file_key(f, i, &type, &elem, &n);
	const uint8_t *p = file_raw(f, i, &size);
	if (type == FT_STR) {
		string(b, (const char *)p, (size_t)size, o->json, o->full ? SIZE_MAX : SHOWN);
	} else if (type != FT_ARR) {
		number(b, type, p, o->json);
	} else if (!o->json) {
		int64_t few = o->full ? n : n <= LONG_ARRAY && elem != FT_STR ? n : FEW;
		lm_buf_char(b, '[');
		elements(b, f, i, few, false);
		lm_buf_str(b, n > few ? ", ...]" : "]");
	} else if (o->full || n <= LONG_ARRAY) {
		lm_buf_char(b, '[');
		elements(b, f, i, n, true);
		lm_buf_char(b, ']');
	} else {
		lm_buf_fmt(b, "{\"type\":\"%s\",\"length\":%lld,\"first\":[", file_type_name[elem],
		           (long long)n);
		elements(b, f, i, LONG_ARRAY, true);
		lm_buf_str(b, "]}");
	}
}

/* ---- JSON ----------------------------------------------------------------------------------------------- */
static void json_tensor(struct lm_buf *b, const struct file *f, int i)
{
	const struct tensor *t = file_at(f, i);
	int part;
	uint64_t off = file_offset(f, i, &part);
	lm_buf_str(b, i ? ",\n  {\"name\":" : "\n  {\"name\":");
	lm_json_string(b, t->name, strlen(t->name));
	lm_buf_fmt(b, ",\"type\":\"%s\",\"shape\":[", quant_info(t->type)->name);
	for (int d = t->n_dims - 1; d >= 0; d--) lm_buf_fmt(b, "%lld%s", (long long)t->dim[d], d ? "," : "");
	if (part < 0) lm_buf_str(b, "],\"derived\":true");
	else lm_buf_fmt(b, "],\"offset\":%llu", (unsigned long long)off);
	lm_buf_fmt(b, ",\"bytes\":%llu", (unsigned long long)t->size);
	if (part >= 0 && file_about(f).n_parts > 1) lm_buf_fmt(b, ",\"part\":%d", part + 1);
	lm_buf_char(b, '}');
}

static void json_file(struct lm_buf *b, const struct file *f, const struct inspect *o)
{
	struct file_about a = file_about(f);
	lm_buf_str(b, "{\"file\":");
	lm_json_string(b, file_path(f), strlen(file_path(f)));
	lm_buf_fmt(b,
	           ",\"container\":\"%s\",\"version\":%d,\"alignment\":%llu,\"parts\":%d,\"bytes\":%llu,\n "
	           "\"metadata\":{",
	           a.container, a.version, (unsigned long long)a.alignment, a.n_parts,
	           (unsigned long long)file_bytes(f));
	for (int i = 0; i < file_n_keys(f); i++) {
		const char *key = file_key(f, i, NULL, NULL, NULL);
		lm_buf_str(b, i ? ",\n  " : "\n  ");
		lm_json_string(b, key, strlen(key));
		lm_buf_char(b, ':');
		value(b, f, i, o);
	}
	lm_buf_str(b, "},\n \"tensors\":[");
	for (int i = 0; i < file_count(f); i++) json_tensor(b, f, i);
	lm_buf_str(b, "]}\n");
}

/* ---- text ----------------------------------------------------------------------------------------------- */
static double n_elements(const struct tensor *t)
{
	return (double)t->dim[0] * (double)t->dim[1] * (double)t->dim[2] * (double)t->dim[3];
}

static void text_head(struct lm_buf *b, const struct file *f)
{
	static const char *const about[] = { "general.architecture", "general.name", "general.basename",
		                             "general.size_label", "general.license" };
	struct file_about a = file_about(f);
	const char *s;
	size_t n;
	double all = 0;
	show(b, file_path(f), strlen(file_path(f)), 1000);
	lm_buf_fmt(b, ": %s", a.container);
	if (!file_is_folder(f)) lm_buf_fmt(b, " version %d", a.version);
	lm_buf_fmt(b, ", %.1f MiB", (double)file_bytes(f) / 1048576);
	if (a.n_parts > 1) lm_buf_fmt(b, " in %d parts", a.n_parts);
	if (!file_is_folder(f)) lm_buf_fmt(b, ", alignment %llu", (unsigned long long)a.alignment);
	lm_buf_char(b, '\n');
	for (size_t i = 0; i < sizeof about / sizeof about[0]; i++) {
		if (!file_str(f, about[i], &s, &n)) continue;
		lm_buf_fmt(b, "  %-14s ", about[i] + 8);
		show(b, s, n, SHOWN);
		lm_buf_char(b, '\n');
	}
	for (int i = 0; i < file_count(f); i++) all += n_elements(file_at(f, i));
	lm_buf_fmt(b, "  %-14s %.2f million in %d tensors\n", "parameters", all / 1e6, file_count(f));
}

static void text_types(struct lm_buf *b, const struct file *f)
{
	struct { double elems, bytes; int n; } sum[DT_COUNT] = { 0 };
	for (int i = 0; i < file_count(f); i++) {
		const struct tensor *t = file_at(f, i);
		sum[t->type].n++;
		sum[t->type].elems += n_elements(t);
		sum[t->type].bytes += (double)t->size;
	}
	lm_buf_str(b, "\ntypes\n");
	for (int t = 0; t < DT_COUNT; t++) {
		if (!sum[t].n) continue;
		lm_buf_fmt(b, "  %-8s %5d tensors %10.2f million values %8.1f MiB, %.3g bits each\n",
		           quant_info((enum dtype)t)->name, sum[t].n, sum[t].elems / 1e6, sum[t].bytes / 1048576,
		           8 * sum[t].bytes / sum[t].elems);
	}
}

/* A name in the width of a column; it is the file's own, so it goes through show() too. */
static void column(struct lm_buf *b, const char *name, int width)
{
	size_t from = b->n;
	show(b, name, strlen(name), SHOWN);
	if (b->bad) return;
	memmove(b->p + from, b->p + from + 1, b->n - from - 2); /* without the quotes */
	b->n -= 2;
	b->p[b->n] = 0;
	lm_buf_fmt(b, "%*s ", (int)(b->n - from) < width ? width - (int)(b->n - from) : 0, "");
}

static void text_keys(struct lm_buf *b, const struct file *f, const struct inspect *o)
{
	lm_buf_fmt(b, "\nkeys (%d)\n", file_n_keys(f));
	for (int i = 0; i < file_n_keys(f); i++) {
		enum file_type type, elem;
		int64_t n;
		char kind[48];
		const char *key = file_key(f, i, &type, &elem, &n);
		if (type == FT_ARR)
			snprintf(kind, sizeof kind, "%s[%lld]", file_type_name[elem], (long long)n);
		else
			snprintf(kind, sizeof kind, "%s", file_type_name[type]);
		lm_buf_str(b, "  ");
		column(b, key, 40);
		lm_buf_fmt(b, "%-15s ", kind);
		value(b, f, i, o);
		lm_buf_char(b, '\n');
	}
}

static void text_tensors(struct lm_buf *b, const struct file *f)
{
	lm_buf_fmt(b, "\ntensors (%d)\n", file_count(f));
	for (int i = 0; i < file_count(f); i++) {
		const struct tensor *t = file_at(f, i);
		char shape[100];
		int n = 0, part;
		uint64_t off = file_offset(f, i, &part);
		for (int d = 0; d < t->n_dims; d++)
			n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%lld", d ? " x " : "",
			              (long long)t->dim[d]);
		lm_buf_str(b, "  ");
		column(b, t->name, 36);
		lm_buf_fmt(b, "%-8s %-20s %12llu bytes ", quant_info(t->type)->name, shape, (unsigned long long)t->size);
		if (part < 0) lm_buf_str(b, "derived");
		else lm_buf_fmt(b, "at %llu", (unsigned long long)off);
		if (part >= 0 && file_about(f).n_parts > 1) lm_buf_fmt(b, " of part %d", part + 1);
		lm_buf_char(b, '\n');
	}
}

/* ---- tokenizer ------------------------------------------------------------------------------------------ */
static void token_kinds(struct lm_buf *b, const struct file *f)
{
	static const char *const kind[] = { "undefined",    "normal", "unknown", "control",
		                            "user defined", "unused", "byte" };
	int64_t count[8] = { 0 }, v;
	int64_t n = file_arr_len(f, "tokenizer.ggml.token_type");
	for (int64_t i = 0; i < n; i++) {
		bool known = file_arr_i64(f, "tokenizer.ggml.token_type", i, &v) && v >= 0 && v < 7;
		count[known ? v : 7]++;
	}
	for (int k = 0; k < 8; k++)
		if (count[k])
			lm_buf_fmt(b, "  %-22s %lld\n", k < 7 ? kind[k] : "of another kind",
			           (long long)count[k]);
}

/* tokenizer.ggml.*: strings and flags as they are, *_token_id with the token's text, the rest by length. */
static void text_tokenizer(struct lm_buf *b, const struct file *f, const struct inspect *o)
{
	static const char prefix[] = "tokenizer.ggml.", tail[] = "_token_id";
	lm_buf_str(b, "\ntokenizer\n");
	for (int i = 0; i < file_n_keys(f); i++) {
		enum file_type type, elem;
		int64_t n, id;
		const char *key = file_key(f, i, &type, &elem, &n), *s;
		size_t len = strlen(key);
		if (strncmp(key, prefix, sizeof prefix - 1)) continue;
		lm_buf_str(b, "  ");
		column(b, key + sizeof prefix - 1, 22);
		if (type == FT_ARR)
			lm_buf_fmt(b, "%lld", (long long)n);
		else
			value(b, f, i, o);
		if (len >= sizeof tail && !strcmp(key + len - (sizeof tail - 1), tail) &&
		    file_i64(f, key, &id)) {
			lm_buf_char(b, ' ');
			if (file_arr_str(f, "tokenizer.ggml.tokens", id, &s, &len))
				show(b, s, len, SHOWN);
			else
				lm_buf_str(b, "(no such token)");
		}
		lm_buf_char(b, '\n');
	}
	token_kinds(b, f);
}

/* Of a folder: what its own files make. */
static int folder_tokenizer(struct lm_buf *b, const struct file *f, struct lm_err *err)
{
	static const char *const role[] = { "bos", "eos", "eot", "pad", "unk", "sep", "cls", "mask" };
	struct tok *t;
	lm_buf_str(b, "\ntokenizer\n");
	if (!folder_has_tokenizer(file_dir(f))) {
		lm_buf_str(b, "  none\n");
		return 0;
	}
	int rc = tok_open(&t, file_dir(f), err);
	if (rc) return rc;
	lm_buf_fmt(b, "  %-22s %d\n", "tokens", tok_vocab(t));
	for (int i = 0; i <= TOK_MASK; i++) {
		char text[256];
		int32_t id = tok_special(t, (enum tok_role)i);
		int n = id < 0 ? 0 : tok_bytes(t, id, true, text, sizeof text);
		if (id < 0) continue;
		lm_buf_fmt(b, "  %-22s %d ", role[i], (int)id);
		show(b, text, (size_t)n < sizeof text ? (size_t)n : sizeof text, SHOWN);
		lm_buf_char(b, '\n');
	}
	tok_free(t);
	return 0;
}

static int template_only(struct lm_buf *b, const struct file *f, struct lm_err *err)
{
	int rc = file_is_folder(f) ? folder_template(file_dir(f), NULL, b, err) : file_template(f, NULL, b, err);
	return rc == 1 ? lm_fail(err, LM_EIO, "%s: has no chat template", file_path(f)) : rc;
}

/* ---- a file of weights without its model ---------------------------------------------------------------- */
struct items { struct lm_buf *b; bool json; int n; double bytes; };

static int add_item(void *ud, const struct file_item *t)
{
	struct items *s = ud;
	struct lm_buf *b = s->b;
	if (s->json) {
		lm_buf_str(b, s->n ? ",\n  {\"name\":" : "\n  {\"name\":");
		lm_json_string(b, t->name, strlen(t->name));
		lm_buf_fmt(b, ",\"type\":\"%s\",\"shape\":[", t->type);
		for (int d = 0; d < t->n_dims; d++) lm_buf_fmt(b, "%s%lld", d ? "," : "", (long long)t->dim[d]);
		lm_buf_fmt(b, "],\"offset\":%llu,\"bytes\":%llu}", (unsigned long long)t->off, (unsigned long long)t->size);
	} else {
		lm_buf_str(b, "  ");
		column(b, t->name, 48);
		lm_buf_fmt(b, "%-8s", t->type);
		for (int d = 0; d < t->n_dims; d++) lm_buf_fmt(b, "%s%lld", d ? " x " : " ", (long long)t->dim[d]);
		lm_buf_fmt(b, "%s, %llu bytes at %llu\n", t->n_dims ? "" : " scalar", (unsigned long long)t->size,
		           (unsigned long long)t->off);
	}
	s->n++;
	s->bytes += (double)t->size;
	return b->bad ? LM_ENOMEM : 0;
}

static int weights(struct lm_buf *b, const char *path, const struct inspect *o, struct lm_err *err)
{
	struct items s = { .b = b, .json = o->json };
	if (o->json) {
		lm_buf_str(b, "{\"file\":");
		lm_json_string(b, path, strlen(path));
		lm_buf_str(b, ",\"container\":\"weights\",\n \"tensors\":[");
	}
	int rc = file_items(path, add_item, &s, err);
	if (b->bad) return lm_fail(err, LM_ENOMEM, "out of memory");
	if (o->json) lm_buf_str(b, "]}\n");
	else lm_buf_fmt(b, "%d tensors, %.1f MiB\n", s.n, s.bytes / 1048576);
	return rc;
}

/* ---- the verb ------------------------------------------------------------------------------------------- */
static int write_out(struct lm_buf *b)
{
	int status = CLI_OK;
	if (b->bad)
		status = cli_say(CLI_MEMORY, "out of memory");
	else if ((status = cli_write(lm_buf_cstr(b), b->n)) == -1)
		status = CLI_OK;                       /* a reader that went away */
	lm_buf_free(b);
	return status;
}

static int model(struct lm_buf *b, const char *path, const struct inspect *o, struct lm_err *err)
{
	struct lm_buf at = { 0 };
	struct file *f;
	bool tokenizer;
	int rc = path_model(path, false, &at, &tokenizer, err);
	if (!rc) rc = file_open(&f, at.p, err);
	lm_buf_free(&at);
	if (rc) return rc;
	if (o->json) {
		json_file(b, f, o);
	} else if (o->template) {
		rc = template_only(b, f, err);
	} else {
		text_head(b, f);
		text_types(b, f);
		text_keys(b, f, o);
		if (o->tokenizer && file_is_folder(f)) rc = folder_tokenizer(b, f, err);
		else if (o->tokenizer) text_tokenizer(b, f, o);
		if (o->tensors) text_tensors(b, f);
	}
	file_close(f);
	return rc;
}

static int report(const char *path, const struct inspect *o)
{
	struct lm_buf b = { 0 };
	struct lm_err err;
	if (!(file_is_weights(path) ? weights(&b, path, o, &err) : model(&b, path, o, &err))) return write_out(&b);
	lm_buf_free(&b);
	return cli_fail_open(&err);
}

int inspect_main(int argc, char **argv)
{
	struct inspect o = { 0 };
	struct opt_list words = { 0 };
	struct lm_err err;
	int status;
	if (opt_parse(&o, table, N_TABLE, argc, argv, &words, &err)) {
		status = cli_fail(&err);
	} else if (o.help) {
		struct lm_buf b = { 0 };
		lm_buf_str(&b, "usage: lmrun inspect FILE_OR_FOLDER [options]\n");
		opt_help(&b, table, N_TABLE);
		status = write_out(&b);
	} else if (words.n != 1) {
		status = cli_say(CLI_USAGE, "inspect takes one model file, not %d; try: lmrun inspect FILE",
		                 words.n);
	} else {
		status = report(words.v[0], &o);
	}
	opt_list_free(&words);
	return status;
}
