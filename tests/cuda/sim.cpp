/* sim.cpp - a CUDA device in one host thread: the fibers behind src/cuda/shim.h and a stand-in for
 * src/cuda/runtime.c.
 *
 * A block's threads are fibers; a fiber runs until it ends, or waits at a barrier or a shuffle.  A warp goes
 * through its shuffles as far as it can, then the next one runs; a barrier opens when all have come.  When
 * nobody can go on, the kernel is wrong, and the block is dropped as it stands: kernels own nothing that
 * would have to be released.
 *
 * Device memory is closed (PROT_NONE) except while a kernel or a copy runs, so a host access is a crash here
 * as on a device; each allocation ends at a closed page, so that a write past the end is a crash too. */
#include "cuda/runtime.h"
#include "cuda/shim.h"
#include "sim.h"
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

enum { MAX_THREADS = 1024, STACK = 64 << 10, STAGGER = 5 * 64, SHARED = 48 << 10, MAX_ALLOCS = 4096 };
enum wait { READY, AT_BARRIER, AT_SHUFFLE, ENDED };

struct fiber {
	void *sp;
	enum wait wait;
	int line;            /* of the barrier or shuffle it waits at */
	uint32_t value, got; /* shuffle: what it gives and what it takes */
	unsigned mask;
	int from;
	dim3 thread;
};

thread_local sim_here sim_here_now;
static struct fiber fibers[MAX_THREADS], *running;
static void *scheduler_sp;
static char *stacks;
static int order[MAX_THREADS], n_threads;
static enum sim_order chosen;
static uint32_t shuffle_state;
alignas(16) static unsigned char shared_bytes[SHARED];
static size_t shared_used;
static void (*block_body)(void *);
static void *block_ctx;
static const char *kernel_name;
static char fault[400], told[400];

/* ---- faults ------------------------------------------------------------------------------------- */
__attribute__((format(printf, 1, 2))) static void set_fault(const char *fmt, ...)
{
	char what[200];
	va_list ap;
	if (fault[0]) return; /* the first one tells most */
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	snprintf(fault, sizeof fault, "%s, block (%u,%u): %s", kernel_name, sim_here_now.block.x,
		 sim_here_now.block.y, what);
}

const char *sim_fault(void)
{
	if (!fault[0]) return NULL;
	memcpy(told, fault, sizeof told);
	fault[0] = 0;
	return told;
}

/* ---- switching ---------------------------------------------------------------------------------- */
#ifdef __x86_64__
// clang-format off
/* Saves what a call must keep, changes stacks.  jmp, not ret: the return predictor cannot be right here. */
extern "C" void sim_switch(void **save, void *to);
asm(".text\n.globl sim_switch\n.type sim_switch,@function\nsim_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\n"
    "pop %rax\njmp *%rax\n.size sim_switch,.-sim_switch\n");
// clang-format on

static void *fresh_stack(char *top, void (*entry)())
{
	void **sp = (void **)top;
	*--sp = nullptr; /* where entry would return to; leaves the alignment a call leaves */
	*--sp = (void *)entry;
	return sp - 6;
}
#else
static ucontext_t contexts[MAX_THREADS], scheduler_context;
static void sim_switch(void **save, void *to)
{
	ucontext_t *from = save == &scheduler_sp ? &scheduler_context : (ucontext_t *)*save;
	swapcontext(from, to == scheduler_sp ? &scheduler_context : (ucontext_t *)to);
}
static void *fresh_stack(char *top, void (*entry)())
{
	ucontext_t *c = &contexts[(size_t)(top - stacks) / STACK];
	getcontext(c);
	c->uc_stack.ss_sp = top - STACK / 2;
	c->uc_stack.ss_size = STACK / 2;
	c->uc_link = &scheduler_context;
	makecontext(c, entry, 0);
	return c;
}
#endif

static void wait_as(enum wait w)
{
	running->wait = w;
	sim_switch(&running->sp, scheduler_sp);
}

static void fiber_main()
{
	block_body(block_ctx);
	wait_as(ENDED);
}

/* ---- what a kernel calls ------------------------------------------------------------------------ */
void sim_syncthreads(const char *, int line)
{
	running->line = line;
	wait_as(AT_BARRIER);
}

int sim_lane()
{
	return (int)(running - fibers) % 32;
}

uint32_t sim_shuffle(unsigned mask, uint32_t mine, int from_lane, const char *, int line)
{
	running->line = line;
	running->value = mine;
	running->mask = mask;
	running->from = from_lane & 31;
	wait_as(AT_SHUFFLE);
	return running->got;
}

void *sim_dyn_shared()
{
	return shared_bytes;
}

/* ---- one block ---------------------------------------------------------------------------------- */
static uint32_t shuffle_next(uint32_t n) /* xorshift: the order is free, but the same on every run */
{
	shuffle_state ^= shuffle_state << 13;
	shuffle_state ^= shuffle_state >> 17;
	shuffle_state ^= shuffle_state << 5;
	return shuffle_state % n;
}

static void shuffle_ints(int *v, int n)
{
	for (int i = n - 1; i > 0; i--) {
		int j = (int)shuffle_next((uint32_t)i + 1), t = v[i];
		v[i] = v[j];
		v[j] = t;
	}
}

static void choose_order(void)
{
	int warps[MAX_THREADS / 32], n_warps = (n_threads + 31) / 32, n = 0;
	for (int i = 0; i < n_threads; i++) order[i] = chosen == SIM_REVERSE ? n_threads - 1 - i : i;
	if (chosen != SIM_SHUFFLED) return;
	for (int w = 0; w < n_warps; w++) warps[w] = w;
	shuffle_ints(warps, n_warps);
	for (int w = 0; w < n_warps; w++) {
		int first = n;
		for (int l = warps[w] * 32; l < n_threads && l < warps[w] * 32 + 32; l++) order[n++] = l;
		shuffle_ints(order + first, n - first);
	}
}

/* Frees everyone at the barrier when all threads are there; true when it did. */
static bool open_barrier(void)
{
	int first = -1;
	for (int i = 0; i < n_threads; i++) {
		if (fibers[i].wait != AT_BARRIER) return false;
		if (first < 0) first = i;
		if (fibers[i].line != fibers[first].line) {
			set_fault("divergent __syncthreads: thread %d waits in line %d, thread %d in line %d",
				  first, fibers[first].line, i, fibers[i].line);
			return false;
		}
	}
	for (int i = 0; i < n_threads; i++) fibers[i].wait = READY;
	return true;
}

/* Lets the lanes of one warp exchange their values when all of the mask are there. */
static bool open_shuffle(int warp)
{
	struct fiber *w = fibers + warp * 32;
	int n = n_threads - warp * 32 < 32 ? n_threads - warp * 32 : 32;
	bool moved = false;
	for (int l = 0; l < n; l++) {
		if (w[l].wait != AT_SHUFFLE) continue;
		unsigned here = 0;
		for (int k = 0; k < n; k++)
			if (w[k].wait == AT_SHUFFLE && w[k].line == w[l].line && w[k].mask == w[l].mask)
				here |= 1u << k;
		if (!(w[l].mask >> l & 1))
			set_fault("thread %d shuffles under a mask without it", warp * 32 + l);
		if ((here & w[l].mask) != w[l].mask) continue;
		unsigned mask = w[l].mask;
		for (int k = 0; k < n; k++)
			if (mask >> k & 1) w[k].got = mask >> w[k].from & 1 ? w[w[k].from].value : 0x7fc0dead;
		for (int k = 0; k < n; k++)
			if (mask >> k & 1) w[k].wait = READY;
		moved = true;
	}
	return moved;
}

static void say_stuck(void)
{
	static const char *const at[] = { "runs", "waits at __syncthreads in line",
					  "waits at a shuffle in line", "has returned, last waited in line" };
	int a = -1, b = -1;
	for (int i = 0; i < n_threads && a < 0; i++)
		if (fibers[i].wait != ENDED) a = i;
	for (int i = 0; i < n_threads && b < 0; i++)
		if (fibers[i].wait != fibers[a].wait || fibers[i].line != fibers[a].line) b = i;
	if (b < 0) b = a; /* a mask that names lanes the block does not have */
	set_fault("divergent: thread %d %s %d, thread %d %s %d", a, at[fibers[a].wait], fibers[a].line, b,
		  at[fibers[b].wait], fibers[b].line);
}

/* Takes one warp, the lanes at order[i..j), as far as it gets without the others; true when it moved.  That a
 * fast warp is far ahead of a slow one is what shows a missing barrier. */
static bool run_warp(int i, int j)
{
	bool moved = false, again = true;
	while (again && !fault[0]) {
		again = false;
		for (int k = i; k < j; k++) {
			struct fiber *f = &fibers[order[k]];
			if (f->wait != READY) continue;
			running = f;
			sim_here_now.thread = f->thread;
			sim_switch(&scheduler_sp, f->sp);
			moved = true;
		}
		again = open_shuffle(order[i] / 32);
	}
	return moved;
}

/* Every warp once; false when all threads have ended or a fault is there. */
static bool run_round(void)
{
	bool moved = false;
	int ended = 0, next;
	for (int i = 0; i < n_threads; i = next) {
		for (next = i + 1; next < n_threads && order[next] / 32 == order[i] / 32;) next++;
		moved |= run_warp(i, next);
	}
	for (int i = 0; i < n_threads; i++) ended += fibers[i].wait == ENDED;
	if (ended == n_threads) return false;
	moved |= open_barrier();
	if (!moved) say_stuck();
	return !fault[0];
}

static void run_block(void)
{
	for (int i = 0; i < n_threads; i++) {
		unsigned u = (unsigned)i, nx = sim_here_now.block_dim.x, ny = sim_here_now.block_dim.y;
		char *top = stacks + (size_t)i * STACK + STACK - (size_t)(i % 16) * STAGGER;
		fibers[i] = fiber();
		fibers[i].thread = dim3(u % nx, u / nx % ny, u / (nx * ny));
		fibers[i].sp = fresh_stack(top - 64, fiber_main);
	}
	memset(shared_bytes, 0xff, shared_used); /* NaN */
	while (run_round()) {
	}
}

/* ---- device memory ------------------------------------------------------------------------------ */
static struct {
	char *map, *p;
	size_t open_bytes, bytes;
} allocs[MAX_ALLOCS];
static int n_allocs;

static void open_memory(bool open)
{
	for (int i = 0; i < n_allocs; i++)
		if (allocs[i].map)
			mprotect(allocs[i].map, allocs[i].open_bytes,
				 open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

extern "C" const char *gpu_alloc(void **p, size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (n + 15) & ~(size_t)15,
	       open = (whole + page - 1) / page * page;
	*p = NULL;
	if (n_allocs == MAX_ALLOCS || n == 0) return "out of memory";
	void *map = mmap(NULL, open + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) return "out of memory";
	allocs[n_allocs].map = (char *)map;
	allocs[n_allocs].p = (char *)map + open - whole;
	allocs[n_allocs].open_bytes = open;
	allocs[n_allocs].bytes = open + page;
	*p = allocs[n_allocs++].p;
	return NULL;
}

extern "C" void gpu_free(void *p)
{
	for (int i = 0; p && i < n_allocs; i++)
		if (allocs[i].p == p) {
			munmap(allocs[i].map, allocs[i].bytes);
			allocs[i] = allocs[--n_allocs];
			return;
		}
	if (p) set_fault("gpu_free of what was never allocated");
}

static const char *copy(void *dst, size_t dst_pitch, const void *src, size_t src_pitch, size_t width,
			size_t rows)
{
	open_memory(true);
	for (size_t r = 0; r < rows; r++)
		memcpy((char *)dst + r * dst_pitch, (const char *)src + r * src_pitch, width);
	open_memory(false);
	return NULL;
}
extern "C" const char *gpu_write(void *dst, size_t dp, const void *src, size_t sp, size_t width, size_t rows)
{
	return copy(dst, dp, src, sp, width, rows);
}
extern "C" const char *gpu_read(void *dst, size_t dp, const void *src, size_t sp, size_t width, size_t rows)
{
	return copy(dst, dp, src, sp, width, rows);
}

/* ---- the rest of the runtime -------------------------------------------------------------------- */
extern "C" const char *gpu_count(int *n)
{
	*n = 1;
	return NULL;
}
extern "C" const char *gpu_describe(int, struct gpu_info *out)
{
	snprintf(out->name, sizeof out->name, "simulated");
	out->memory = (size_t)1 << 30;
	out->major = 8;
	out->minor = 0;
	return NULL;
}
extern "C" const char *gpu_select(int)
{
	return NULL;
}
extern "C" const char *gpu_wait(void)
{
	return sim_fault();
}

void sim_set_order(enum sim_order o)
{
	chosen = o;
	shuffle_state = 2463534242u;
}

static bool make_stacks(void)
{
	if (stacks) return true;
	void *p = mmap(NULL, (size_t)MAX_THREADS * STACK, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p != MAP_FAILED) stacks = (char *)p;
	return stacks != NULL;
}

void sim_run(const char *kernel, dim3 grid, dim3 block, size_t smem, void (*body)(void *), void *ctx)
{
	size_t threads = (size_t)block.x * block.y * block.z;
	if (fault[0]) return; /* sticky, as on a device */
	kernel_name = kernel;
	sim_here_now.block_dim = block;
	sim_here_now.grid_dim = grid;
	if (!threads || threads > MAX_THREADS || smem > SHARED || !grid.x || !grid.y || !grid.z ||
	    grid.y > 65535 || grid.z > 65535 || !make_stacks()) {
		set_fault("cannot be launched: grid (%u,%u,%u), %zu threads, %zu bytes", grid.x, grid.y,
			  grid.z, threads, smem);
		return;
	}
	n_threads = (int)threads;
	shared_used = smem;
	block_body = body;
	block_ctx = ctx;
	open_memory(true);
	for (unsigned z = 0; z < grid.z; z++)
		for (unsigned y = 0; y < grid.y; y++)
			for (unsigned x = 0; x < grid.x && !fault[0]; x++) {
				sim_here_now.block = dim3(x, y, z);
				choose_order();
				run_block();
			}
	open_memory(false);
}
