/* bench.c - `lmrun bench`: prompt and generation speed of models through the engine, as llama-bench reports them, with
 * what they are worth: GB/s of weights read against the memory bandwidth measured in the same run. */
#include "base/cpu.h"
#include "base/json.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include "quant/quant.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct bench {
	struct opt_list models;
	int n_prompt, n_gen, depth, n_seqs, reps, n_threads, n_batch;
	const char *format, *device, *only, *kv, *text;
	bool kernels, f32, json, lines, help;     /* lines: jsonl */
};
#define AT(f) offsetof(struct bench, f)
static const struct opt table[] = {
	{ .name = "--model -m", .arg = "FILE", .type = OPT_LIST, .offset = AT(models), .group = "bench", .help = "model, repeatable" },
	{ .name = "--n-prompt -p", .arg = "N", .type = OPT_INT, .offset = AT(n_prompt), .min = 0, .max = 1 << 20, .help = "prompt tokens (512; 0: off)", .no_env = true },
	{ .name = "--n-gen -n", .arg = "N", .type = OPT_INT, .offset = AT(n_gen), .min = 0, .max = 1 << 20, .help = "generated tokens (128; 0: off)", .no_env = true },
	{ .name = "--n-depth -d", .arg = "N", .type = OPT_INT, .offset = AT(depth), .min = 0, .max = 1 << 20, .help = "tokens that are there before, unmeasured (0)", .no_env = true },
	{ .name = "--parallel -np", .arg = "N", .type = OPT_INT, .offset = AT(n_seqs), .min = 1, .max = BENCH_SEQS, .help = "sequences that generate together (1)", .no_env = true },
	{ .name = "--repetitions -r", .arg = "N", .type = OPT_INT, .offset = AT(reps), .min = 1, .max = 1000, .help = "repetitions (5)", .no_env = true },
	{ .name = "--threads -t", .arg = "N", .type = OPT_INT, .offset = AT(n_threads), .min = 0, .max = 1024, .help = "threads (all)" },
	{ .name = "--batch-size -b", .arg = "N", .type = OPT_INT, .offset = AT(n_batch), .min = 1, .max = 1 << 16, .help = "prefill chunk (512)" },
	{ .name = "--cache-type-k --cache-type-v -ctk -ctv", .arg = "TYPE", .type = OPT_STR, .offset = AT(kv), .help = "KV cache type (f16)" },
	{ .name = "--device -dev", .arg = "NAME", .type = OPT_STR, .offset = AT(device), .help = "cpu, ref, cuda:N, metal" },
	{ .name = "--output -o", .arg = "FORMAT", .type = OPT_STR, .offset = AT(format), .choices = "md json jsonl", .help = "md, json or jsonl", .no_env = true },
	{ .name = "--json", .type = OPT_FLAG, .value = true, .offset = AT(json), .help = "the same as -o json", .no_env = true },
	{ .name = "--kernels", .type = OPT_FLAG, .value = true, .offset = AT(kernels), .help = "every kernel slot instead of models", .no_env = true },
	{ .name = "--type", .arg = "NAME", .type = OPT_STR, .offset = AT(only), .help = "with --kernels: one weight type, or rows: all that is no product with weights", .no_env = true },
	{ .name = "--f32", .type = OPT_FLAG, .value = true, .offset = AT(f32), .help = "our f32 products beside OpenBLAS's (libopenblas.so.0) instead", .no_env = true },
	{ .name = "--tokenize", .arg = "FILE", .type = OPT_STR, .offset = AT(text), .help = "the models' tokenizers over a text instead", .no_env = true },
	{ .name = "--help -h", .type = OPT_FLAG, .value = true, .offset = AT(help), .help = "this text", .no_env = true },
};

static double peak_rss(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_maxrss * 1024;
}

/* What its products could reach: those of float weights are f32, all others int8. */
static double peak(const struct lm_model_info *m, const struct bench_limits *l)
{
	enum dtype t;
	bool f = quant_from_name(m->quant, &t, NULL) == 0 && quant_info(t)->dot == DOT_F32;
	return f ? l->f32 : l->i8;
}

static void json_row(const struct bench *b, const struct lm_model_info *m, const struct bench_test *t, const struct bench_result *r, double ttft, const struct bench_limits *l, bool first)
{
	struct lm_buf o = { 0 };
	char when[32];
	time_t now = time(NULL);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	double n = (double)t->n * t->n_seqs;
	lm_buf_fmt(&o, "%s{\"build_version\":\"" LMRUN_VERSION "\",\"cpu_info\":", b->lines ? "" : first ? "  " : ",\n  ");
	lm_json_string(&o, cpu_model(), strlen(cpu_model()));
	lm_buf_str(&o, ",\"model_filename\":");
	lm_json_string(&o, m->path, strlen(m->path));
	lm_buf_fmt(&o, ",\"backends\":\"%s\",\"model_type\":\"%s %s\",\"model_size\":%llu,\"model_n_params\":%llu,\"n_batch\":%d,\"n_threads\":%d,\"type_k\":\"%s\",\"n_prompt\":%d,\"n_gen\":%d,\"n_depth\":%d,\"n_seqs\":%d,\"test_time\":\"%s\","
	           "\"avg_ns\":%.0f,\"stddev_ns\":%.0f,\"avg_ts\":%.6g,\"stddev_ts\":%.6g,\"samples_ns\":[",
	           m->device, m->arch, m->quant, (unsigned long long)m->n_bytes, (unsigned long long)m->n_params,
	           b->n_batch ? b->n_batch : 512, m->n_threads, b->kv ? b->kv : "f16", t->gen ? 0 : t->n, t->gen ? t->n : 0, t->depth, t->n_seqs, when, 1e9 * n / r->mean, 1e9 * n / r->mean * r->dev / r->mean,
	           r->mean, r->dev);
	for (int i = 0; i < r->n; i++) lm_buf_fmt(&o, "%s%.0f", i ? "," : "", 1e9 * n / r->ts[i]);
	lm_buf_str(&o, "],\"samples_ts\":[");
	for (int i = 0; i < r->n; i++) lm_buf_fmt(&o, "%s%.6g", i ? "," : "", r->ts[i]);
	lm_buf_fmt(&o, "],\"load_ms\":%.2f,\"ttft_ms\":%.2f,\"peak_rss_bytes\":%.0f,\"weights_gbps\":%.3f,\"read_gbps\":%.3f,"
	           "\"linear_gops\":%.1f,\"peak_gops\":%.1f,\"int8_gops\":%.1f,\"f32_gops\":%.1f,\"kv_bytes\":%.0f}",
	           m->t_load * 1e3, ttft * 1e3, peak_rss(), r->gbps, l->read, r->gops, peak(m, l), l->i8, l->f32,
	           (double)m->kv_bytes / m->n_ctx);
	if (b->lines) lm_buf_char(&o, '\n');
	fputs(lm_buf_cstr(&o), stdout);
	lm_buf_free(&o);
}

static void head(const struct bench_limits *l)
{
	printf("%s; limits: memory read %.1f GB/s, int8 %.0f Gop/s, f32 %.0f Gop/s\n\n| model                    |        size |    params | device | thr |            test |                t/s | weights and layers, of the limit | load ms | ttft ms | peak MiB |\n"
	       "|--------------------------|-------------|-----------|--------|-----|-----------------|--------------------|----------------------------------|---------|---------|----------|\n",
	       cpu_model(), l->read, l->i8, l->f32);
}

static void row(const struct bench *b, const struct lm_model_info *m, const struct bench_test *t, const struct bench_result *r, double ttft, const struct bench_limits *l, bool first)
{
	char test[48], rate[48] = "";
	if (b->json) {
		json_row(b, m, t, r, ttft, l, first);
		return;
	}
	if (first) head(l);
	int k = snprintf(test, sizeof test, t->gen ? "tg%d" : "pp%d", t->n);
	if (t->n_seqs > 1) k += snprintf(test + k, sizeof test - (size_t)k, " x %d", t->n_seqs);
	if (t->depth) snprintf(test + k, sizeof test - (size_t)k, " @ d%d", t->depth);
	if (t->gen) snprintf(rate, sizeof rate, "%.1f GB/s (%.0f %%)", r->gbps, 100 * r->gbps / l->read);
	else snprintf(rate, sizeof rate, "%.0f Gop/s (%.0f %%)", r->gops, 100 * r->gops / peak(m, l));
	printf("| %-24.24s | %7.2f MiB | %7.2f M | %-6s | %3d | %15s | %9.2f ± %-6.2f | %-32s | %7.1f | %7.1f | %8.1f |\n", m->name, (double)m->n_bytes / 1048576,
	       (double)m->n_params * 1e-6, m->device, m->n_threads, test, r->mean, r->dev, rate, m->t_load * 1e3, ttft * 1e3, peak_rss() / 1048576);
}

static int bench_model(const struct bench *b, const char *path, const struct bench_limits *l, bool *first, struct lm_err *err)
{
	struct bench_test tests[] = { { false, b->n_prompt, b->depth, 1, b->reps }, { true, b->n_gen, b->depth, b->n_seqs, b->reps } };
	struct lm_engine_opt o = { .model = path, .device = b->device, .n_threads = b->n_threads, .n_batch = b->n_batch, .kv_type = b->kv,
				   .cpu_level = getenv("LMRUN_CPU") };
	static struct bench_result r;
	struct lm_engine *e;
	double t0 = lm_now(), ttft;
	for (int k = 0; k < 2; k++)
		if (bench_context(&tests[k]) > o.n_ctx) o.n_ctx = bench_context(&tests[k]);
	int rc = lm_engine_open(&e, &o, err);
	if (rc) return rc;
	rc = bench_first(e, err);
	ttft = lm_now() - t0;                     /* from opening the file to the first token */
	for (int k = 0; k < 2 && !rc; k++) {
		if (!tests[k].n) continue;
		rc = bench_run(e, &tests[k], &r, err);
		if (rc) break;
		row(b, lm_info(e), &tests[k], &r, ttft, l, *first);
		*first = false;
	}
	lm_engine_close(e);
	return rc;
}

/* What was printed has reached its file; a reader that went away is none of our concern. */
static int written(void)
{
	errno = 0;
	if ((fflush(stdout) == 0 && !ferror(stdout)) || errno == EPIPE) return CLI_OK;
	return cli_say(CLI_FAILED, "cannot write the result: %s", errno ? strerror(errno) : "an earlier write failed");
}

int bench_main(int argc, char **argv)
{
	struct bench b = { .n_prompt = 512, .n_gen = 128, .n_seqs = 1, .reps = 5 };
	struct opt_list rest = { 0 };
	struct lm_err err = { 0 };
	int n_opt = (int)(sizeof table / sizeof table[0]), status = CLI_OK;
	bool first = true;
	if (opt_parse(&b, table, n_opt, argc, argv, &rest, &err)) return cli_say(CLI_USAGE, "%s", err.msg);
	b.lines = b.format && strcmp(b.format, "jsonl") == 0;
	b.json |= b.lines || (b.format && strcmp(b.format, "json") == 0);
	for (int i = 0; i < rest.n; i++)
		if (i || strcmp(rest.v[i], "bench")) return cli_say(CLI_USAGE, "bench: %s is no option (models are given with -m)", rest.v[i]);
	if (b.help) {
		struct lm_buf h = { 0 };
		opt_help(&h, table, n_opt);
		fputs(lm_buf_cstr(&h), stdout);
		lm_buf_free(&h);
		return written();
	}
	enum dtype only;
	if (b.only && strcmp(b.only, "rows") && quant_from_name(b.only, &only, &err)) return cli_say(CLI_USAGE, "bench: %s", err.msg);
	if (b.f32) return bench_f32(b.json, &err) ? cli_fail_open(&err) : written();
	if (b.kernels) return bench_kernels(b.json, b.only) ? cli_say(CLI_MEMORY, "bench: out of memory") : written();
	if (b.models.n == 0) return cli_say(CLI_USAGE, "bench: no model (-m FILE, repeatable)");
	if (b.text) {
		if (bench_tokenize(b.models.v, b.models.n, b.text, b.reps, b.json, &err)) return cli_fail_open(&err);
		return written();
	}
	struct bench_limits limits;
	bench_limits(&limits, b.n_threads, false);
	if (b.json && !b.lines) fputs("[\n", stdout);
	for (int i = 0; i < b.models.n && status == CLI_OK; i++)
		if (bench_model(&b, b.models.v[i], &limits, &first, &err)) status = cli_fail_open(&err);
	if (b.json && !b.lines) printf("\n]\n");
	opt_list_free(&b.models);
	opt_list_free(&rest);
	return status == CLI_OK ? written() : status;
}
