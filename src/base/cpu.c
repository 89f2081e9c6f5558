/* cpu.c - what the processor and its operating system offer, once, at start. */
#include "base/cpu.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

/* flags: what a machine must have to be of this level */
const struct cpu_level cpu_levels[] = {
	{ "c", 0 },
	{ "avx2", CPU_AVX2 },
	{ "avxvnni", CPU_AVX2 | CPU_AVXVNNI },
	{ "avx512", CPU_AVX2 | CPU_AVX512 },
	{ "avx512vnni", CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI },
	{ "neon", CPU_NEON },
	{ "dotprod", CPU_NEON | CPU_DOTPROD },
	{ "i8mm", CPU_NEON | CPU_DOTPROD | CPU_I8MM },
};
const int n_cpu_levels = sizeof cpu_levels / sizeof *cpu_levels;

#if defined(__x86_64__)
static unsigned bit(unsigned word, int n) { return word >> n & 1; }

unsigned cpu_detect(void)
{
	unsigned a, b, c, d, b7 = 0, c7 = 0, a71 = 0, x;
	if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
	unsigned fma = bit(c, 12) & bit(c, 29);               /* FMA, F16C */
	if (!bit(c, 27) || !bit(c, 28)) return 0;              /* OSXSAVE, AVX */
	unsigned xcr0, hi;
	__asm__("xgetbv" : "=a"(xcr0), "=d"(hi) : "c"(0));
	bool ymm = (xcr0 & 0x06) == 0x06, zmm = (xcr0 & 0xE6) == 0xE6;   /* saved by the operating system */
	if (__get_cpuid_count(7, 0, &x, &b7, &c7, &d) && x >= 1) __get_cpuid_count(7, 1, &a71, &b, &c, &d);
	if (!ymm || !fma || !bit(b7, 5)) return 0;
	unsigned flags = CPU_AVX2;
	if (bit(a71, 4)) flags |= CPU_AVXVNNI;
	if (zmm && bit(b7, 16) && bit(b7, 17) && bit(b7, 30) && bit(b7, 31)) {   /* F DQ BW VL */
		flags |= CPU_AVX512;
		if (bit(c7, 11)) flags |= CPU_AVX512VNNI;
		if (bit(c7, 11) && bit(c7, 1)) flags |= CPU_AVX512VBMI;
	}
	return flags;
}

static void read_model(char *out, size_t cap)
{
	unsigned r[12];
	for (unsigned i = 0; i < 3; i++)
		if (!__get_cpuid(0x80000002u + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3]))
			return;
	char brand[sizeof r + 1] = "";
	memcpy(brand, r, sizeof r);
	const char *s = brand + strspn(brand, " ");
	if (*s) snprintf(out, cap, "%s", s);
}
#else
#if defined(__aarch64__) && defined(__linux__)
unsigned cpu_detect(void)
{
	unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
	unsigned flags = 0;
	if (cap >> 1 & 1) flags |= CPU_NEON;                  /* HWCAP_ASIMD, _ASIMDDP, HWCAP2_I8MM */
	if (flags && (cap >> 20 & 1)) flags |= CPU_DOTPROD;
	if ((flags & CPU_DOTPROD) && (cap2 >> 13 & 1)) flags |= CPU_I8MM;
	return flags;
}
#elif defined(__aarch64__) && defined(__APPLE__)
static bool has(const char *name)
{
	int v = 0;
	size_t n = sizeof v;
	return sysctlbyname(name, &v, &n, NULL, 0) == 0 && v;
}

unsigned cpu_detect(void)
{
	unsigned flags = CPU_NEON;
	if (has("hw.optional.arm.FEAT_DotProd")) flags |= CPU_DOTPROD;
	if ((flags & CPU_DOTPROD) && has("hw.optional.arm.FEAT_I8MM")) flags |= CPU_I8MM;
	return flags;
}
#else
unsigned cpu_detect(void) { return 0; }
#endif

static void read_model(char *out, size_t cap)
{
#ifdef __APPLE__
	sysctlbyname("machdep.cpu.brand_string", out, &cap, NULL, 0);
#else
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];
	while (f && fgets(line, sizeof line, f)) {
		char *colon = strchr(line, ':');
		if (!colon || strncasecmp(line, "model name", 10) != 0) continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(out, cap, "%s", colon + 1 + strspn(colon + 1, " "));
		break;
	}
	if (f) fclose(f);
#endif
}
#endif

/* Everything that a machine capped at level i may use: that level, those below it in its family, and what
 * comes on top of the highest one without a level of its own. */
static unsigned allowed(int i)
{
	unsigned mask = cpu_levels[i].flags;
	for (int k = 0; k < i; k++)
		if ((cpu_levels[k].flags & CPU_NEON) == (mask & CPU_NEON)) mask |= cpu_levels[k].flags;
	return mask & CPU_AVX512VNNI ? mask | CPU_AVX512VBMI : mask;
}

static int no_level(const char *level, bool known, unsigned have, struct lm_err *err)
{
	struct lm_buf b = { 0 };
	for (int i = 0; i < n_cpu_levels; i++)
		if ((have & cpu_levels[i].flags) == cpu_levels[i].flags)
			lm_buf_fmt(&b, "%s%s", b.n ? ", " : "", cpu_levels[i].name);
	int rc = lm_fail(err, LM_EINVAL, "CPU level '%.64s' %s: this machine has %s", level,
	                 known ? "is not available" : "is not known", lm_buf_cstr(&b));
	lm_buf_free(&b);
	return rc;
}

int cpu_flags(unsigned *out, const char *level, struct lm_err *err)
{
	unsigned have = cpu_detect();
	if (!level || !*level) {
		*out = have;
		return 0;
	}
	for (int i = 0; i < n_cpu_levels; i++) {
		unsigned need = cpu_levels[i].flags;
		if (strcmp(level, cpu_levels[i].name) != 0) continue;
		if ((have & need) != need) return no_level(level, true, have, err);
		*out = have & allowed(i);
		return 0;
	}
	return no_level(level, false, have, err);
}

const char *cpu_name(unsigned flags)
{
	for (int i = n_cpu_levels; i-- > 0;)
		if ((flags & cpu_levels[i].flags) == cpu_levels[i].flags) return cpu_levels[i].name;
	return "c";
}

static char model[128] = "unknown";
static void model_once(void) { read_model(model, sizeof model); }

const char *cpu_model(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, model_once);
	return model;
}
