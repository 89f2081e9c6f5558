/* opts.c - the option table of the verbs that run a model, and what must hold between its values. */
#include "base/json.h"
#include "cli/cli.h"
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define AT(f) .offset = offsetof(struct cli, f)
#define SAMPLE(f) .offset = offsetof(struct cli, sampling) + offsetof(struct lm_sampling, f)
#define GIVEN(f) .given = offsetof(struct cli, f) + 1
#define FLAG(f) .type = OPT_FLAG, AT(f), .value = true
#define INT(f, lo, hi) .type = OPT_INT, AT(f), .min = lo, .max = hi
#define STR(f) .type = OPT_STR, AT(f)
#define REAL(f, lo, hi) .type = OPT_FLOAT, SAMPLE(f), .min = lo, .max = hi

static const char MODEL[] = "Model", RUN[] = "Run", CONTEXT[] = "Context and processor",
		  SAMPLING[] = "Sampling", CHAT[] = "Chat", SCORE[] = "score, tokenize, detokenize",
		  EMBED[] = "embed, classify, rerank",
		  SERVER[] = "Server", OTHER[] = "Other";

/* clang-format off: a row a line */
const struct opt cli_table[] = {
	{ "--model -m", "FILE", STR(model), .group = MODEL, .help = "the model: a GGUF file, a folder with one, or a Hugging Face folder" },
	{ "--device -dev", "NAME", STR(device), .group = MODEL, .help = "cpu (default), ref, cuda:N, metal" },
	{ "--cpu-only", NULL, .type = OPT_STR, AT(device), .optional = true, .missing = "cpu", .choices = "cpu", .no_env = true },
	{ "--lora", "PATH", .type = OPT_LIST, AT(lora), .group = MODEL, .help = "a LoRA adapter: PEFT folder or GGUF; repeatable, or A,B" },
	{ "--lora-scaled", "PATH:S", .type = OPT_LIST, AT(lora_scaled), .group = MODEL, .help = "the same at weight S; repeatable, or A:S,B:T" },
	{ "--list-devices", NULL, FLAG(list_devices), .group = MODEL, .help = "the devices of this build and machine", .no_env = true },
	{ "--precision --dtype", "TYPE", STR(precision), .group = MODEL, .help = "float weights become f32, f16 or bf16; auto (default): as in the file",
	  .choices = "auto f32 f16 bf16 float32 float16 bfloat16 half float" },
	{ "--quantize --quantization", "TYPE", STR(quantize), .group = MODEL,
	  .help = "the layers' float weights are quantised on load: q8_0 (int8), q4_0 (int4), nf4",
	  .choices = "none q8_0 int8 nf4 q4_0 int4" },

	{ "--prompt -p", "TEXT", STR(prompt), .group = RUN, .help = "answer this and exit; standard input that is no terminal is added" },
	{ "--file -f", "FILE", STR(file), .group = RUN, .help = "prompt (or what to score) from a file; - is standard input" },
	{ "--tokens", "IDS", STR(tokens), .group = RUN, .help = "prompt as token ids, 1,2,3: taken as they are" },
	{ "--predict -n --n-predict --max-output-length --max-new-tokens --max-tokens", "N", INT(n_predict, -2, INT32_MAX), .group = RUN,
	  .help = "tokens to generate at most; -1 (default): to the end" },
	{ "--raw -no-cnv --no-conversation", NULL, FLAG(raw), .group = RUN, .help = "plain completion, without the chat template" },
	{ "--interactive -i -cnv --conversation", NULL, FLAG(interactive), .group = RUN, .help = "a conversation in the terminal" },
	{ "--single-turn -st", NULL, FLAG(single_turn), .group = RUN, .help = "one turn only" },
	{ "--json", NULL, FLAG(json), .group = RUN, .help = "the result as JSON", .no_env = true },
	{ "--escape -e", NULL, FLAG(escape), .group = RUN, .help = "\\n \\t \\\\ \\xHH in -p and --stop are escapes (default: literal text)" },
	{ "--no-escape", NULL, .type = OPT_FLAG, AT(escape), .value = false },
	{ "--special -sp", NULL, FLAG(special), .group = RUN, .help = "show control tokens in the text" },
	{ "--stop", "TEXT", .type = OPT_LIST, AT(stop), .group = RUN, .help = "end at this text, which is not shown; repeatable" },

	{ "--ctx-size -c --context-size --max-model-len", "N", INT(n_ctx, 0, 1 << 30), .group = CONTEXT,
	  .help = "context in tokens; 0 (default): the model's" },
	{ "--threads -t", "N", INT(n_threads, -1, 1024), .group = CONTEXT, .help = "default: the processors this process may use" },
	{ "--fast", NULL, FLAG(fast), .group = CONTEXT, .help = "f32 weights by OpenBLAS where that is faster: bytes may depend on the batch" },
	{ "--batch-size -b", "N", INT(n_batch, 1, 1 << 20), .group = CONTEXT, .help = "prompt tokens computed at once (512)" },
	{ "--ubatch-size -ub", "N", INT(n_ubatch, 1, 1 << 20), .group = CONTEXT, .help = "the same; the smaller one counts" },
	{ "--cache-type-k -ctk", "TYPE", STR(kv_k), .group = CONTEXT, .help = "K/V cache: f16 (default), f32, q8_0", .choices = "f16 f32 q8_0" },
	{ "--dry-run", NULL, FLAG(dry_run), .group = CONTEXT, .help = "the memory and work that the model would take; nothing is run", .no_env = true },
	{ "--cache-type-v -ctv", "TYPE", STR(kv_v), .group = CONTEXT, .help = "the same: K and V are of one type", .choices = "f16 f32 q8_0" },

	{ "--seed -s", "N", .type = OPT_U64, SAMPLE(seed), .min = -1, .group = SAMPLING, .help = "same seed, same text; default: random", GIVEN(seed_given) },
	{ "--temp --temperature", "T", REAL(temperature, 0, 100), .group = SAMPLING, .help = "0 takes the likeliest token (0.8)" },
	{ "--top-k", "N", .type = OPT_INT, SAMPLE(top_k), .min = -1, .max = INT32_MAX, .group = SAMPLING, .help = "the N likeliest only; 0: all (40)" },
	{ "--top-p", "P", REAL(top_p, 0, 1), .group = SAMPLING, .help = "the likeliest that sum to P; 1: all (0.95)" },
	{ "--min-p", "P", REAL(min_p, 0, 1), .group = SAMPLING, .help = "at least P times the likeliest; 0: all (0.05)" },
	{ "--typical --typical-p", "P", REAL(typical_p, 0, 1), .group = SAMPLING, .help = "locally typical; 1: off (1)" },
	{ "--repeat-penalty --repetition-penalty", "X", REAL(repeat, 0.01, 100), .group = SAMPLING, .help = "divides what was said; 1: off (1)" },
	{ "--repeat-last-n", "N", .type = OPT_INT, SAMPLE(repeat_last_n), .min = -1, .max = INT32_MAX, .group = SAMPLING,
	  .help = "tokens that penalties look back; -1: the context (64)" },
	{ "--presence-penalty", "X", REAL(presence, -100, 100), .group = SAMPLING, .help = "taken off what was said; 0: off (0)" },
	{ "--frequency-penalty", "X", REAL(frequency, -100, 100), .group = SAMPLING, .help = "times how often it was said; 0: off (0)" },
	{ "--logit-bias -l", "ID+B", .type = OPT_LIST, AT(logit_bias), .group = SAMPLING, .help = "adds B (or -B) to the logit of token ID; repeatable" },
	{ "--ignore-eos", NULL, .type = OPT_FLAG, SAMPLE(ignore_eos), .value = true, .group = SAMPLING, .help = "never end before -n tokens" },

	{ "--system-prompt -sys", "TEXT", STR(system), .group = CHAT, .help = "the system message" },
	{ "--system-prompt-file -sysf", "FILE", STR(system_file), .group = CHAT, .help = "the system message from a file" },
	{ "--chat-template", "NAME", STR(chat_template), .group = CHAT, .help = "built-in template (chatml, ...) or its text" },
	{ "--chat-template-file", "FILE", STR(chat_template_file), .group = CHAT, .help = "template from a file" },

	{ "--stdin", NULL, FLAG(from_stdin), .group = SCORE, .help = "one input per line of standard input, answered at once", .no_env = true },
	{ "--no-bos", NULL, FLAG(no_bos), .group = SCORE, .help = "no BOS, EOS, CLS or SEP" },
	{ "--no-special", NULL, FLAG(no_special), .group = SCORE, .help = "control tokens in the text are plain text" },
	{ "--logprobs-out", "FILE", STR(logprobs_out), .group = SCORE, .help = "all log-probabilities, f32 [n][n_vocab], little endian", .no_env = true },

	{ "--pooling", "HOW", STR(pooling), .group = EMBED, .help = "rows to vector: mean, cls, last, max; default: as the model says",
	  .choices = "mean cls last max mean_sqrt_len weightedmean" },
	{ "--dimensions", "N", INT(dimensions, 1, 1 << 20), .group = EMBED, .help = "the first N elements of the vector only" },
	{ "--normalize", NULL, .type = OPT_FLAG, AT(normalize_flag), .value = true, .group = EMBED, .help = "vectors of length 1; default: as the model says" },
	{ "--no-normalize", NULL, .type = OPT_FLAG, AT(no_normalize), .value = true, .group = EMBED, .help = "vectors as the model gives them" },
	{ "--prompt-name", "NAME", STR(prompt_name), .group = EMBED, .help = "one of the model's own prompts goes before each text" },
	{ "--no-truncate", NULL, FLAG(no_truncate), .group = EMBED, .help = "a text too long for the model is an error, not cut" },
	{ "--query", "TEXT", STR(query), .group = EMBED, .help = "rerank: what the texts are to answer (-p too)" },
	{ "--top-n", "N", INT(top_n, 1, INT32_MAX), .group = EMBED, .help = "rerank: the best N only" },

	{ "--serve", "PORT", INT(port, 0, 65535), .optional = true, .missing = "8080", .group = SERVER, .help = "serve the model over HTTP (8080)",
	  GIVEN(serve), .no_env = true },
	{ "--host", "ADDRESS", STR(host), .group = SERVER, .help = "address to listen on (127.0.0.1)" },
	{ "--port", "PORT", INT(port, 0, 65535), .group = SERVER, .help = "port to listen on (8080)" },
	{ "--alias -a --served-model-name", "NAME", STR(alias), .group = SERVER, .help = "the model's name for clients" },
	{ "--api-key", "KEY", STR(api_key), .group = SERVER, .help = "clients must know this key" },

	{ "--quiet -q", NULL, FLAG(quiet), .group = OTHER, .help = "no remarks and no timing on stderr" },
	{ "--verbose -v", NULL, FLAG(verbose), .group = OTHER, .help = "more remarks on stderr" },
	{ "--version", NULL, FLAG(version), .group = OTHER, .help = "the version", .no_env = true },
	{ "--help -h", NULL, FLAG(help), .group = OTHER, .help = "this text", .no_env = true },

	/* Accepted for llama.cpp's command lines: the first two with a remark, the rest change nothing here. */
	{ "--gpu-layers -ngl --n-gpu-layers", "N", STR(gpu_layers) },
	{ "--no-mmap", NULL, FLAG(no_mmap) },
	{ "--jinja --mmap --mlock --warmup --no-warmup --perf --no-perf --show-timings --simple-io --no-display-prompt --cont-batching -cb "
	  "--no-context-shift --log-disable --log-prefix --log-timestamps --kv-offload -kvo --no-kv-offload -nkvo --repack "
	  "--no-repack -nr --op-offload --no-op-offload --no-host --kv-unified -kvu --swa-full --no-progress",
	  NULL, FLAG(ignored_flag) },
	{ "--flash-attn -fa", "on|off|auto", STR(ignored), .optional = true, .missing = "on", .choices = "on off auto 1 0 true false enabled disabled" },
	{ "--color -co", "on|off|auto", STR(ignored), .optional = true, .missing = "on", .choices = "on off auto" },
	{ "--threads-batch -tb --numa --prio --prio-batch --poll --poll-batch --keep --defrag-thold -dt --split-mode -sm --main-gpu -mg "
	  "--tensor-split -ts --verbosity -lv --log-verbosity --fit -fit", "VALUE", STR(ignored) },
};
/* clang-format on */
const int n_cli_table = sizeof cli_table / sizeof *cli_table;

void cli_defaults(struct cli *c)
{
	*c = (struct cli){
		.n_predict = -1, .n_batch = 512, .n_ubatch = 512, .port = 8080, .host = "127.0.0.1"
	};
	lm_sampling_default(&c->sampling);
}

/* ---- values with a grammar of their own -------------------------------------------------------------- */
int cli_ids(const char *text, int32_t **ids, int *n, struct lm_err *err)
{
	size_t cap = strlen(text) / 2 + 1;
	*ids = lm_malloc(cap * sizeof **ids);
	*n = 0;
	if (!*ids) return lm_fail(err, LM_ENOMEM, "out of memory for token ids");
	static const char between[] = ", \t\r\n[]";
	for (const char *s = text + strspn(text, between); *s; s += strspn(s, between)) {
		char *end = NULL;
		errno = 0;
		long v = strtol(s, &end, 10);
		size_t len = strcspn(s, between);
		if (end != s + len || errno || v < 0 || v > INT32_MAX) {
			lm_free(*ids);
			*ids = NULL;
			return lm_fail(err, LM_EINVAL, "'%.*s' is not a token id", (int)(len < 40 ? len : 40),
				       s);
		}
		(*ids)[(*n)++] = (int32_t)v;
		s = end;
	}
	return 0;
}

int cli_json_ids(const char *s, size_t len, int32_t **ids, int *n, struct lm_err *err)
{
	json_t *v = lm_json_parse(s, len, err), *x;
	size_t i;
	*ids = NULL;
	*n = 0;
	int rc = v ? 0 : err->code;
	if (!rc && !json_is_array(v)) rc = lm_fail(err, LM_EFORMAT, "expected a JSON array of token ids");
	if (!rc) {
		*ids = lm_malloc((json_array_size(v) + 1) * sizeof **ids);
		if (!*ids) rc = lm_fail(err, LM_ENOMEM, "out of memory for token ids");
	}
	if (!rc) json_array_foreach(v, i, x) {
		json_int_t id = json_is_integer(x) ? json_integer_value(x) : -1;
		if (id < 0 || id > INT32_MAX) {
			rc = lm_fail(err, LM_EINVAL, "element %zu is not a token id", i);
			break;
		}
		(*ids)[(*n)++] = (int32_t)id;
	}
	json_decref(v);
	if (rc) {
		lm_free(*ids);
		*ids = NULL;
	}
	return rc;
}

static int hex(char ch)
{
	if (ch >= '0' && ch <= '9') return ch - '0';
	ch = (char)(ch | 0x20);
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

size_t cli_unescape(char *s, size_t n)
{
	static const char from[] = "nrt\\'\"", to[] = "\n\r\t\\'\"";
	size_t out = 0;
	for (size_t i = 0; i < n; i++) {
		const char *at = s[i] == '\\' && i + 1 < n && s[i + 1] ? strchr(from, s[i + 1]) : NULL;
		if (at) {
			s[out++] = to[at - from];
			i++;
		} else if (s[i] == '\\' && i + 3 < n && s[i + 1] == 'x' && hex(s[i + 2]) >= 0 &&
			   hex(s[i + 3]) >= 0) {
			s[out++] = (char)(hex(s[i + 2]) << 4 | hex(s[i + 3]));
			i += 3;
		} else s[out++] = s[i];
	}
	return out;
}

/* "15043+1.5", "15043-inf" */
static int parse_bias(struct cli *c, struct lm_err *err)
{
	struct lm_logit_bias *b = lm_calloc((size_t)c->logit_bias.n, sizeof *b);
	if (!b) return lm_fail(err, LM_ENOMEM, "out of memory for --logit-bias");
	c->sampling.bias = b;
	for (int i = 0; i < c->logit_bias.n; i++) {
		const char *text = c->logit_bias.v[i];
		char *sign = NULL, *end = NULL;
		errno = 0;
		long id = strtol(text, &sign, 10);
		bool ok = sign != text && (*sign == '+' || *sign == '-') && id >= 0 && id <= INT32_MAX &&
			  !errno;
		float v = ok ? strtof(sign, &end) : 0;
		if (!ok || end == sign + 1 || *end || isnan(v) || v == INFINITY)
			return lm_fail(err, LM_EINVAL, "--logit-bias takes ID+B or ID-B, not '%.80s'", text);
		b[i] = (struct lm_logit_bias){ (int32_t)id, v };
		c->sampling.n_bias = i + 1;
	}
	return 0;
}

/* ---- what must hold between options ------------------------------------------------------------------ */
static int check(struct cli *c, struct lm_err *err)
{
	bool text = c->prompt || c->file;
	if (c->tokens && (text || c->interactive))
		return lm_fail(err, LM_EINVAL,
			       "--tokens is the whole prompt: -p, -f and -i do not go with it");
	if (c->interactive && c->json)
		return lm_fail(err, LM_EINVAL, "--json gives one result: it does not go with --interactive");
	if (c->system && c->system_file)
		return lm_fail(err, LM_EINVAL, "--system-prompt and --system-prompt-file exclude each other");
	if ((c->system || c->system_file) && (c->raw || c->tokens))
		return lm_fail(err, LM_EINVAL,
			       "--system-prompt needs the chat template, which --raw and --tokens leave out");
	if (c->chat_template && c->chat_template_file)
		return lm_fail(err, LM_EINVAL, "--chat-template and --chat-template-file exclude each other");
	if (c->normalize_flag && c->no_normalize)
		return lm_fail(err, LM_EINVAL, "--normalize and --no-normalize exclude each other");
	if (c->kv_k && c->kv_v && strcmp(c->kv_k, c->kv_v) != 0)
		return lm_fail(err, LM_EINVAL,
			       "--cache-type-k %s and --cache-type-v %s: K and V are of one type here",
			       c->kv_k, c->kv_v);
	for (int i = 0; i < c->stop.n; i++)
		if (!*c->stop.v[i]) return lm_fail(err, LM_EINVAL, "--stop takes a text that is not empty");
	return 0;
}

static const char *device_name(const char *s)
{
	static const char *const same[][2] = { { "none", "cpu" }, { "mps", "metal" }, { "cuda", "cuda:0" } };
	for (size_t i = 0; s && i < sizeof same / sizeof *same; i++)
		if (strcmp(s, same[i][0]) == 0) return same[i][1];
	return s;
}

int cli_parse(struct cli *c, int argc, char **argv, struct lm_err *err)
{
	cli_defaults(c);
	int rc = opt_parse(c, cli_table, n_cli_table, argc, argv, &c->words, err);
	if (!rc && c->logit_bias.n) rc = parse_bias(c, err);
	if (!rc) rc = cli_adapters(&c->adapter, &c->n_adapter, &c->lora, &c->lora_scaled, err);
	if (!rc) rc = check(c, err);
	if (rc) return rc;
	if (c->seed_given && c->sampling.seed == UINT64_MAX) c->seed_given = false;   /* -s -1 */
	c->device = device_name(c->device);
	if (c->escape) {                           /* argv is ours to write */
		for (int i = 0; i < c->stop.n; i++) {
			char *s = (char *)(uintptr_t)c->stop.v[i];
			s[cli_unescape(s, strlen(s))] = 0;
		}
	}
	return 0;
}

void cli_free(struct cli *c)
{
	lm_free((void *)(uintptr_t)c->sampling.bias);
	opt_list_free(&c->words);
	opt_list_free(&c->stop);
	opt_list_free(&c->logit_bias);
	opt_list_free(&c->lora);
	opt_list_free(&c->lora_scaled);
	lm_free(c->adapter);
}
