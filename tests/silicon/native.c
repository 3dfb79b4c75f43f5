/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A case on the host's CPU.
 *
 * References: [1] Linux arch/x86/include/uapi/asm/sigcontext.h (the signal
 *                 frame and the XSAVE image in it).
 *
 * INT3 enters the handler, which keeps the frame's registers and puts the
 * case's in their place; returning from it starts the instruction. Behind the
 * instruction, and everywhere it may jump to, is INT3 again, so that however
 * it ends the handler runs: it takes the outcome out of the frame and puts
 * back what it kept. Selecting code segment 23h makes it 32-bit code.
 *
 * The handler may find FS and GS changed by the instruction: no thread-local
 * storage before their bases are back.
 */
#include "silicon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define USER_CS32 0x23
#define USER_DS 0x2b
#define FRAME_MAGIC 0x46505853u /* [1] FP_XSTATE_MAGIC1 */
#define FRAME_MAGIC_AT 464

enum phase { IDLE, ENTERING, RUNNING };

struct native {
	u8 *view;
	volatile enum phase phase;
	const struct test_case *in;
	struct outcome *out;
	gregset_t kept;
	struct sigaction engine[32]; /* the interpreter's own handlers */
	u64 fs_base;
};

static struct native native;

static const int gpr_slot[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8,	 REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static void copy(void *dst, const void *src, size_t len)
{
	__asm__ volatile("rep movsb"
			 : "+D"(dst), "+S"(src), "+c"(len)
			 :
			 : "memory");
}

static void put_fpu(u8 *image, const u8 *from)
{
	copy(image, from, 28); /* MXCSR_MASK stays */
	copy(image + 32, from + 32, 416 - 32);
	copy(image + XSAVE_YMM, from + XSAVE_YMM, 256);
	*xsave_header(image) |= XSAVE_MASK;
}

/* Components in their initial state are left out of the image. */
static void take_fpu(u8 *to, const u8 *image)
{
	copy(to, image, XSAVE_BYTES);
}

static __attribute__((no_stack_protector)) void enter(ucontext_t *uc)
{
	const struct machine_state *s = &native.in->state;
	greg_t *g = uc->uc_mcontext.gregs;

	copy(native.kept, g, sizeof(native.kept));
	for (unsigned k = 0; k < 16; k++)
		g[gpr_slot[k]] = (greg_t)s->gpr[k];
	g[REG_RIP] = (greg_t)s->rip;
	g[REG_EFL] = s->flags;
	if (native.in->form.code == W32)
		g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | USER_CS32;
	put_fpu((void *)uc->uc_mcontext.fpregs, s->xsave);
	native.phase = RUNNING;
}

static __attribute__((no_stack_protector)) void leave(ucontext_t *uc)
{
	struct outcome *o = native.out;
	greg_t *g = uc->uc_mcontext.gregs;
	struct xsave_legacy *x = (void *)uc->uc_mcontext.fpregs;

	for (unsigned k = 0; k < 16; k++)
		o->state.gpr[k] = (u64)g[gpr_slot[k]];
	o->state.rip = (u64)g[REG_RIP];
	o->state.flags = (u32)g[REG_EFL];
	o->state.selector[X86_SS] = (u16)((u64)g[REG_CSGSFS] >> 48);
	o->vector = (int)g[REG_TRAPNO];
	o->error = (u32)g[REG_ERR];
	o->cr2 = (u64)g[REG_CR2];
	take_fpu(o->state.xsave, (const u8 *)x);
	x->fcw = 0x37f;
	x->fsw = 0;
	x->ftw = 0;
	x->mxcsr = MXCSR_RESET;
	copy(g, native.kept, sizeof(native.kept));
	native.phase = IDLE;
}

/* And make them what they were. Loading FS changes its base. */
static __attribute__((no_stack_protector)) void take_selectors(u16 *selector)
{
	__asm__ volatile("mov %%es, %0" : "=m"(selector[X86_ES]));
	__asm__ volatile("mov %%ds, %0" : "=m"(selector[X86_DS]));
	__asm__ volatile("mov %%fs, %0" : "=m"(selector[X86_FS]));
	__asm__ volatile("mov %%gs, %0" : "=m"(selector[X86_GS]));
	__asm__ volatile("mov %k0, %%fs; mov %k0, %%gs; wrfsbase %1; "
			 "wrgsbase %q0"
			 :
			 : "r"(0ull), "r"(native.fs_base));
}

static __attribute__((no_stack_protector)) void on_signal(int number,
							  siginfo_t *info,
							  void *context)
{
	struct sigaction fatal = {.sa_handler = SIG_DFL};

	if (native.phase == ENTERING) {
		enter(context);
	} else if (native.phase == RUNNING) {
		take_selectors(native.out->state.selector);
		leave(context);
	} else if (native.engine[number].sa_flags & SA_SIGINFO) {
		native.engine[number].sa_sigaction(number, info, context);
	} else {
		sigaction(number, &fatal, NULL); /* a bug of the test */
	}
}

/* The jump into the handler and back. Registers beyond those that a call may
 * change are put back by the handler. */
static __attribute__((noinline)) void trap(void)
{
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; int3"
			 :
			 : "r"(USER_DS)
			 : "memory", "cc");
}

void native_run(const struct test_case *c, struct outcome *out)
{
	u8 *code = (u8 *)CODE_START;
	u64 rip;

	memcpy(code, c->bytes, c->len);
	memset(code + c->len, 0xcc, 16 - c->len);
	native.in = c;
	native.out = out;
	if (c->uses_gs)
		__asm__ volatile("wrgsbase %0" : : "r"(c->state.gs_base));
	/* Returning from the handler restores neither NT nor ID. */
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() &
				       ~(u64)(FLAG_NT | FLAG_ID));
	native.phase = ENTERING;
	trap();
	memset(code, 0xcc, 16);
	rip = out->state.rip;
	/* INT3, or a jump to where nothing can be executed: it is done. */
	if (out->vector == VEC_BP) {
		out->vector = NO_FAULT;
		out->state.rip = rip - 1;
	} else if (out->vector == VEC_PF && out->cr2 == rip &&
		   rip != c->state.rip) {
		out->vector = NO_FAULT;
	}
}

u8 *native_memory(void)
{
	return native.view;
}

static void *map(u64 at, u64 len, int prot, int fd)
{
	int flags = MAP_SHARED | MAP_POPULATE;

	if (at)
		flags |= MAP_FIXED_NOREPLACE;
	if (fd < 0)
		flags |= MAP_ANONYMOUS;
	return mmap((void *)at, len, prot, flags, fd, 0);
}

static int map_window(void)
{
	int fd = memfd_create("silicon-data", MFD_CLOEXEC), ret = 0;

	if (fd < 0 || ftruncate(fd, DATA_BYTES) < 0)
		return -errno;
	native.view = map(0, DATA_BYTES, PROT_READ | PROT_WRITE, fd);
	if (native.view == MAP_FAILED ||
	    map(DATA, DATA_BYTES, PROT_READ | PROT_WRITE, fd) == MAP_FAILED ||
	    mprotect((void *)(DATA + DATA_WRITABLE), DATA_BYTES - DATA_WRITABLE,
		     PROT_READ) ||
	    map(CODE, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, -1) ==
		    MAP_FAILED)
		ret = -errno;
	close(fd);
	if (!ret)
		memset((void *)CODE, 0xcc, CODE_BYTES);
	return ret;
}

int native_init(void)
{
	static const int signals[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP};
	struct sigaction action = {.sa_sigaction = on_signal,
				   .sa_flags = SA_SIGINFO | SA_ONSTACK |
					       SA_NODEFER};
	stack_t stack = {.ss_size = KIB(128)};
	int ret = map_window();

	if (ret)
		return ret;
	__asm__ volatile("rdfsbase %0" : "=r"(native.fs_base));
	stack.ss_sp = map(0, stack.ss_size, PROT_READ | PROT_WRITE, -1);
	if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL))
		return -errno;
	for (unsigned k = 0; k < ARRAY_SIZE(signals); k++)
		if (sigaction(signals[k], &action, &native.engine[signals[k]]))
			return -errno;
	return 0;
}
