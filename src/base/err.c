/* err.c - one sentence and a code; time and the log sink. */
#include "base/base.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Copies src to dst with control characters (C0, DEL, C1) and bytes that are not UTF-8 as \xNN, so that a name from a
 * file cannot drive a terminal.  What does not fit is cut at a whole character. */
static void escape(char *dst, size_t cap, const char *src)
{
	size_t n = 0, len = strlen(src);
	for (size_t i = 0; i < len;) {
		uint32_t cp;
		int k = lm_utf8_next(src + i, len - i, &cp);
		bool plain = cp >= 0x20 && cp != 0x7f && !(cp >= 0x80 && cp < 0xa0) && (cp != 0xFFFD || k == 3);
		if (n + (plain ? (size_t)k : 4 * (size_t)k) + 1 > cap) break;
		for (int j = 0; j < k; j++, i++) {
			if (plain) dst[n++] = src[i];
			else n += (size_t)snprintf(dst + n, cap - n, "\\x%02x", (unsigned char)src[i]);
		}
	}
	dst[n] = 0;
}

int lm_fail(struct lm_err *err, int code, const char *fmt, ...)
{
	if (!err) return code;
	char text[2048];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	err->code = code;
	escape(err->msg, sizeof err->msg, text);
	return code;
}

int lm_context(struct lm_err *err, const char *fmt, ...)
{
	if (!err) return LM_EINVAL;
	char text[2048], old[sizeof err->msg];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n < 0) n = 0;
	if ((size_t)n >= sizeof text) n = (int)sizeof text - 1;
	memcpy(old, err->msg, sizeof old);
	snprintf(text + n, sizeof text - (size_t)n, "%s", old);
	escape(err->msg, sizeof err->msg, text);
	return err->code;
}

double lm_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void (*log_fn)(void *, enum lm_level, const char *);
static void *log_ud;

void lm_log_sink(void (*fn)(void *ud, enum lm_level, const char *line), void *ud)
{
	log_fn = fn;
	log_ud = ud;
}

void lm_log(enum lm_level level, const char *fmt, ...)
{
	if (!log_fn) return;
	char raw[2048], line[2048];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof raw, fmt, ap);
	va_end(ap);
	escape(line, sizeof line, raw);
	log_fn(log_ud, level, line);
}
