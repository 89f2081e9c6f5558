/* common.c - saying things on stderr, opening the model, one answer streamed to stdout. */
#include "base/json.h"
#include "cli/cli.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TEMPLATE = 16 << 20, POLL_MS = 50 };

/* ---- stderr ------------------------------------------------------------------------------------------ */
int cli_say(int status, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("lmrun: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return status;
}

void cli_note(const struct cli *c, const char *fmt, ...)
{
	if (c->quiet) return;
	va_list ap;
	va_start(ap, fmt);
	fputs("lmrun: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

int cli_fail_open(const struct lm_err *err)
{
	bool no_model = err->code == LM_EFORMAT || err->code == LM_EUNSUPPORTED || err->code == LM_ELIMIT;
	if (no_model) return cli_say(CLI_MODEL, "%s", err->msg);
	return cli_fail(err);
}

int cli_fail(const struct lm_err *err)
{
	int status = err->code == LM_EINVAL ? CLI_USAGE : err->code == LM_ENOMEM ? CLI_MEMORY
		: err->code == LM_ECANCELED ? CLI_INTERRUPTED : CLI_FAILED;
	return cli_say(status, "%s", err->msg);
}

/* ---- Ctrl-C ------------------------------------------------------------------------------------------ */
static volatile sig_atomic_t interrupts;

static void count_interrupt(int sig)
{
	(void)sig;
	if (++interrupts > 2) _exit(CLI_INTERRUPTED);      /* someone means it */
}

static void leave(int sig)
{
	(void)sig;
	_exit(CLI_INTERRUPTED);
}

void cli_catch_interrupts(bool on)
{
	struct sigaction sa = { .sa_handler = on ? count_interrupt : leave };
	interrupts = 0;
	sigaction(SIGINT, &sa, NULL);
}

/* ---- the model --------------------------------------------------------------------------------------- */
static int no_model(void)
{
	return cli_say(CLI_USAGE,
		       "no model given: use -m FILE.gguf (`make models` fetches small ones into models/, "
		       "`make demo` tries one)");
}

static int template_text(const struct cli *c, struct lm_buf *b, const char **text)
{
	struct lm_err err = { 0 };
	*text = c->chat_template;
	if (!c->chat_template_file) return CLI_OK;
	if (lm_read_file(b, c->chat_template_file, MAX_TEMPLATE, &err)) return cli_fail(&err);
	*text = lm_buf_cstr(b);
	return CLI_OK;
}

/* Options that only matter with a GPU, or that we do without, are said rather than swallowed. */
static void remarks(const struct cli *c)
{
	bool cpu = !c->device || strcmp(c->device, "cpu") == 0 || strcmp(c->device, "ref") == 0;
	if (c->gpu_layers && cpu && strcmp(c->gpu_layers, "0") != 0)
		cli_note(c,
			 "--gpu-layers %s: the model runs on the CPU (--device chooses another, "
			 "--list-devices names them)",
			 c->gpu_layers);
	if (c->no_mmap) cli_note(c, "--no-mmap: the file is mapped all the same");
	if (!c->kv_k != !c->kv_v)
		cli_note(c, "K and V are of one type: both are %s", c->kv_k ? c->kv_k : c->kv_v);
}

static int not_opened(const struct lm_engine_opt *o, const struct lm_err *err)
{
	bool absent = err->code == LM_EIO && access(o->model, F_OK) != 0;
	bool tmpl = o->chat_template && err->code != LM_ENOMEM && strncmp(err->msg, "chat template", 13) == 0;
	if (absent) return cli_say(CLI_FAILED, "%s (`make models` fetches small models into models/)", err->msg);
	return tmpl ? cli_say(CLI_FAILED, "%s", err->msg) : cli_fail_open(err);
}

static struct lm_engine_opt engine_opt(const struct cli *c)
{
	return (struct lm_engine_opt){ .model = c->model,
				       .device = c->device,
				       .n_threads = c->n_threads > 0 ? c->n_threads : 0,
				       .n_ctx = c->n_ctx,
				       .n_batch = c->n_batch < c->n_ubatch ? c->n_batch : c->n_ubatch,
				       .kv_type = c->kv_k ? c->kv_k : c->kv_v,
				       .lora = c->adapter,
				       .n_lora = c->n_adapter,
				       .cpu_level = getenv("LMRUN_CPU"),
				       .precision = c->precision,
				       .quantize = c->quantize,
				       .fast = c->fast,
				       .dry = c->dry_run };
}

int cli_open(struct lm_engine **e, const struct cli *c, bool vocab_only, const char *kv_type)
{
	struct lm_buf b = { 0 };
	struct lm_err err = { 0 };
	struct lm_engine_opt o = engine_opt(c);
	o.vocab_only = vocab_only;
	if (kv_type) o.kv_type = kv_type;
	if (!c->model) return no_model();
	int status = template_text(c, &b, &o.chat_template);
	if (status == CLI_OK && !vocab_only) remarks(c);
	if (status == CLI_OK && lm_engine_open(e, &o, &err)) status = not_opened(&o, &err);
	if (status == CLI_OK && !vocab_only && !c->pooled && !c->dry_run && lm_heads(*e)->encoder)
		status = cli_say(CLI_MODEL, "%s is an encoder: it answers no prompts (`lmrun embed` gives vectors, "
				 "`lmrun classify` classes)", lm_info(*e)->name);
	lm_buf_free(&b);
	return status;
}

/* ---- stdout: unbuffered, so that each token is seen at once ------------------------------------------ */
int cli_write(const char *s, size_t n)
{
	while (n) {
		ssize_t k = write(STDOUT_FILENO, s, n);
		if (k < 0 && errno == EINTR) continue;
		if (k < 0 && errno == EPIPE) return -1;
		if (k < 0) return cli_say(CLI_FAILED, "cannot write the result: %s", strerror(errno));
		s += k;
		n -= (size_t)k;
	}
	return CLI_OK;
}

/* ---- messages to prompt ------------------------------------------------------------------------------ */
int cli_render(struct lm_engine *e, const struct turn *t, int n, char **text, struct lm_err *err)
{
	struct lm_buf b = { 0 };
	lm_buf_str(&b, "{\"add_generation_prompt\":true,\"messages\":[");
	for (int i = 0; i < n; i++) {
		lm_buf_fmt(&b, "%s{\"role\":\"%s\",\"content\":", i ? "," : "", t[i].role);
		lm_json_string(&b, t[i].text, t[i].len);
		if (t[i].n_thought) {
			lm_buf_str(&b, ",\"reasoning_content\":");
			lm_json_string(&b, t[i].thought, t[i].n_thought);
		}
		lm_buf_char(&b, '}');
	}
	lm_buf_str(&b, "]}");
	int rc = b.bad ? lm_fail(err, LM_ENOMEM, "out of memory for the conversation")
		       : lm_render_chat(e, b.p, b.n, text, err);
	lm_buf_free(&b);
	if (rc == LM_EINVAL && err) rc = err->code = LM_EFORMAT;       /* the template's word, not a flag's */
	return rc;
}

/* ---- one answer -------------------------------------------------------------------------------------- */
static bool keep_token(struct answer *a, int32_t id)
{
	if (a->n == a->cap) {
		int cap = a->cap ? 2 * a->cap : 256;
		int32_t *ids = lm_realloc(a->ids, (size_t)cap * sizeof *ids);
		if (!ids) return false;
		a->ids = ids;
		a->cap = cap;
	}
	a->ids[a->n++] = id;
	return true;
}

struct run { struct answer *a; struct lm_engine *e; struct lm_request *r; struct lm_reader *reader; bool show; };

static void put(struct run *k, const char *s, size_t n)
{
	struct answer *a = k->a;
	lm_buf_add(&a->text, s, n);
	int rc = k->show && !a->closed && !a->failed ? cli_write(s, n) : 0;
	a->closed |= rc < 0;
	a->failed |= rc > 0;
	if (rc || a->text.bad) lm_cancel(k->r);
}

/* One form of showing reasoning, whatever the model's own is. */
static int take_part(void *ud, enum lm_part part, int call, const char *id, const char *s, size_t n)
{
	struct run *k = ud;
	struct answer *a = k->a;
	bool thought = part == LM_REASONING;
	(void)call, (void)id;
	if (thought && !a->thinking) put(k, "<think>\n", 8);
	if (!thought && a->thinking) put(k, "\n</think>\n\n", 11);
	a->thinking = thought;
	lm_buf_add(thought ? &a->thought : &a->content, s, n);
	put(k, s, n);
	return 0;
}

static int take_text(struct run *k, const struct lm_event *ev, struct lm_err *err)
{
	bool end = k->reader && ev->token >= 0 && lm_is_end(k->e, ev->token);   /* comes for its marker's sake */
	if (ev->token >= 0 && !end && !keep_token(k->a, ev->token)) k->a->text.bad = true;
	if (k->reader) return lm_reader_push(k->reader, ev->text, ev->len, take_part, k, err);
	put(k, ev->text, ev->len);
	return 0;
}

static void take_done(struct answer *a, const struct lm_event *ev)
{
	a->finish = ev->finish;
	a->n_prompt = ev->n_prompt;
	a->n_cached = ev->n_cached;
	a->n_out = ev->n_out;
	a->t_prompt = ev->t_prompt;
	a->t_out = ev->t_out;
}

int cli_answer(struct answer *a, struct lm_engine *e, const struct lm_prompt *p, bool show,
	       struct lm_err *err)
{
	struct run k = { .a = a, .e = e, .show = show };
	*a = (struct answer){ 0 };
	int rc = p->markers ? lm_reader_new(&k.reader, e, "{}", 2, p->text, true, err) : 0;
	if (!rc) rc = lm_submit(&k.r, e, p, err);
	if (rc) {
		lm_reader_free(k.reader);
		return rc;
	}
	cli_catch_interrupts(true);
	for (struct lm_event ev;;) {
		bool got = lm_next(k.r, &ev, POLL_MS);
		if (interrupts && !a->interrupted) {
			a->interrupted = true;
			lm_cancel(k.r);
		}
		if (!got) continue;
		if (ev.kind == LM_TEXT && !rc && (rc = take_text(&k, &ev, err))) lm_cancel(k.r);
		if (ev.kind == LM_DONE) take_done(a, &ev);
		if (ev.kind == LM_FAILED) {
			rc = ev.err.code;
			if (err) *err = ev.err;
		}
		if (ev.kind == LM_DONE || ev.kind == LM_FAILED) break;
	}
	if (k.reader && !rc) rc = lm_reader_end(k.reader, take_part, &k, err);
	cli_catch_interrupts(false);
	lm_request_free(k.r);
	lm_reader_free(k.reader);
	return !rc && (a->text.bad || a->content.bad || a->thought.bad) ? lm_fail(err, LM_ENOMEM, "out of memory for the answer") : rc;
}

void cli_answer_free(struct answer *a)
{
	lm_buf_free(&a->text);
	lm_buf_free(&a->content);
	lm_buf_free(&a->thought);
	lm_free(a->ids);
	*a = (struct answer){ 0 };
}

void cli_fill(struct lm_prompt *p, const struct cli *c)
{
	p->stop = c->stop.v;
	p->n_stop = c->stop.n;
	p->max_tokens = c->n_predict < 0 ? -1 : c->n_predict;
	p->special = c->special;
	p->sampling = c->sampling;
}

static double rate(int n, double t) { return t > 0 ? n / t : 0; }

void cli_timing(const struct cli *c, const struct lm_engine *e, const struct answer *a)
{
	char cached[40] = "";
	if (a->n_cached) snprintf(cached, sizeof cached, " (%d known)", a->n_cached);
	cli_note(c, "load %.2f s | prompt %d tokens%s, %.1f tok/s | generation %d tokens, %.1f tok/s",
		 lm_info(e)->t_load, a->n_prompt, cached, rate(a->n_prompt - a->n_cached, a->t_prompt),
		 a->n_out, rate(a->n_out, a->t_out));
}

void cli_seed(struct cli *c)
{
	if (c->seed_given) return;
	c->sampling.seed = lm_random_seed();
	if (c->sampling.temperature > 0) cli_note(c, "seed %llu", (unsigned long long)c->sampling.seed);
}

bool cli_line(struct lm_buf *b)
{
	int ch;
	b->n = 0;
	while ((ch = getc(stdin)) != EOF && ch != '\n') lm_buf_char(b, (char)ch);
	lm_buf_add(b, "", 0);
	return ch != EOF || b->n;
}
