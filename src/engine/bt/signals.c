/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGFPE, SIGILL, SIGSEGV and SIGBUS of stubs.
 *
 * References: [1] Intel SDM vol. 3A 6.15 (vectors 6, 16, 19).
 *             [2] sigaction(2), "The siginfo_t argument to a SA_SIGINFO
 *                 handler"; the kernel puts the vector into REG_TRAPNO.
 *
 * SIGFPE is #MF or #XM. SIGILL is an encoding that this host's CPU knows to be
 * invalid and the tables do not: #UD. SIGSEGV and SIGBUS cannot happen, as the
 * operand's place was found valid: they are told and passed on, like all that
 * happens elsewhere. Runs on the alternate stack if the thread has one.
 */
#include "engine/bt/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "engine/bt/jit.h"
#include "engine/bt/stub.h"
#include "engine/bt/vm.h"

static const int fault_signals[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS};
static struct sigaction previous[ARRAY_SIZE(fault_signals)];

_Thread_local struct bt_cpu *bt_live_cpu;

static bool in_stub(const struct bt_cpu *c, u64 rip)
{
	const struct codebuf *code;

	if (!c || !c->fpu_live)
		return false;
	code = &c->bvm->stubs->code;
	return rip - (u64)code->exec < code->size;
}

/* The vector that the guest sees; 0: the fault is not the guest's. */
static unsigned vector_of(int number, const greg_t *regs)
{
	if (number == SIGFPE)
		return regs[REG_TRAPNO] == VEC_XM ? VEC_XM : VEC_MF;
	return number == SIGILL ? VEC_UD : 0;
}

static void complain(const struct bt_cpu *c, int number, u64 address)
{
	char text[128];
	int len = snprintf(text, sizeof(text),
			   "vireo: internal error: signal %d at %#llx in a "
			   "stub, guest rip %#llx\n",
			   number, (unsigned long long)address,
			   (unsigned long long)c->rip);

	if (write(STDERR_FILENO, text, (size_t)len) < 0)
		return; /* nobody left to tell */
}

static void pass_on(int number, siginfo_t *info, void *context)
{
	for (unsigned k = 0; k < ARRAY_SIZE(fault_signals); k++) {
		const struct sigaction *old = &previous[k];

		if (fault_signals[k] != number)
			continue;
		if (old->sa_flags & SA_SIGINFO)
			old->sa_sigaction(number, info, context);
		else if (old->sa_handler == SIG_DFL ||
			 old->sa_handler == SIG_IGN)
			signal(number, SIG_DFL); /* it happens again */
		else
			old->sa_handler(number);
	}
}

/*
 * An instruction in translated code has changed nothing when it faults: it is
 * run again by its C function, which raises what the guest is to see.
 */
static void leave_translation(struct bt_cpu *c, greg_t *regs)
{
	static const u8 where[X86_GPRS] = {
		REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_R11, REG_RBP,
		REG_RSI, REG_RDI, 0,	   0,	    0,	     0,
		REG_R12, REG_R13, REG_R14, REG_R15,
	};

	for (unsigned n = 0; n < X86_GPRS; n++)
		if (n < X86_R8 || n > X86_R11)
			c->gpr[n] = (u64)regs[where[n]];
	bt_set_arith(c, (u32)regs[REG_EFL]);
	c->jit_site = (u32)((u64)regs[REG_RIP] - (u64)c->bvm->jit->code.exec);
	regs[REG_RSP] = (greg_t)c;
	regs[REG_RIP] = (greg_t)c->bvm->jit->fault;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *regs = uc->uc_mcontext.gregs;
	struct bt_cpu *c = bt_live_cpu;
	unsigned vector;

	if (c && bt_jit_covers(c, (u64)regs[REG_RIP])) {
		leave_translation(c, regs);
		return;
	}
	if (!in_stub(c, (u64)regs[REG_RIP])) {
		pass_on(number, info, context);
		return;
	}
	vector = vector_of(number, regs);
	if (!vector) {
		complain(c, number, (u64)info->si_addr);
		pass_on(number, info, context);
		return;
	}
	/* As if the landing had been called from where the stub was. */
	regs[REG_RSP] = (regs[REG_RSP] & ~15ll) - 8;
	regs[REG_RIP] = (greg_t)bt_simd_landing;
	regs[REG_RDI] = (greg_t)c;
	regs[REG_RSI] = vector;
}

int bt_signals_init(struct err *err)
{
	struct sigaction action = {
		.sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
	};

	sigemptyset(&action.sa_mask);
	for (unsigned k = 0; k < ARRAY_SIZE(fault_signals); k++) {
		struct sigaction old;

		if (sigaction(fault_signals[k], NULL, &old) == 0 &&
		    old.sa_flags & SA_SIGINFO && old.sa_sigaction == on_fault)
			continue;
		if (sigaction(fault_signals[k], &action, &previous[k]) < 0)
			return err_set(err, -errno,
				       "cannot catch signal %d: %s",
				       fault_signals[k], strerror(errno));
	}
	return 0;
}
