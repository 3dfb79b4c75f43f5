/* SPDX-License-Identifier: Apache-2.0 */
/* Run one instruction on the host's CPU with given registers. */
#include "bt_host.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

struct bt_host bt_host;

/* Offsets are those of struct bt_host. */
__asm__(".text\n"
	".globl bt_host_enter, bt_host_return\n"
	"bt_host_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14\n"
	"	push %r15\n"
	"	mov %rsp, bt_host+144(%rip)\n"
	"	push bt_host+128(%rip)\n"
	"	popfq\n"
	"	mov bt_host+0(%rip), %rax\n"
	"	mov bt_host+8(%rip), %rcx\n"
	"	mov bt_host+16(%rip), %rdx\n"
	"	mov bt_host+24(%rip), %rbx\n"
	"	mov bt_host+32(%rip), %rsp\n"
	"	mov bt_host+40(%rip), %rbp\n"
	"	mov bt_host+48(%rip), %rsi\n"
	"	mov bt_host+56(%rip), %rdi\n"
	"	mov bt_host+64(%rip), %r8\n"
	"	mov bt_host+72(%rip), %r9\n"
	"	mov bt_host+80(%rip), %r10\n"
	"	mov bt_host+88(%rip), %r11\n"
	"	mov bt_host+96(%rip), %r12\n"
	"	mov bt_host+104(%rip), %r13\n"
	"	mov bt_host+112(%rip), %r14\n"
	"	mov bt_host+120(%rip), %r15\n"
	"	jmp *bt_host+136(%rip)\n"
	"bt_host_return:\n"
	"	mov %rax, bt_host+0(%rip)\n"
	"	mov %rcx, bt_host+8(%rip)\n"
	"	mov %rdx, bt_host+16(%rip)\n"
	"	mov %rbx, bt_host+24(%rip)\n"
	"	mov %rsp, bt_host+32(%rip)\n"
	"	mov %rbp, bt_host+40(%rip)\n"
	"	mov %rsi, bt_host+48(%rip)\n"
	"	mov %rdi, bt_host+56(%rip)\n"
	"	mov %r8, bt_host+64(%rip)\n"
	"	mov %r9, bt_host+72(%rip)\n"
	"	mov %r10, bt_host+80(%rip)\n"
	"	mov %r11, bt_host+88(%rip)\n"
	"	mov %r12, bt_host+96(%rip)\n"
	"	mov %r13, bt_host+104(%rip)\n"
	"	mov %r14, bt_host+112(%rip)\n"
	"	mov %r15, bt_host+120(%rip)\n"
	"	mov bt_host+144(%rip), %rsp\n"
	"	pushfq\n"
	"	pop bt_host+128(%rip)\n"
	"	cld\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");

_Static_assert(offsetof(struct bt_host, flags) == 128, "as above");
_Static_assert(offsetof(struct bt_host, code) == 136, "as above");
_Static_assert(offsetof(struct bt_host, own_sp) == 144, "as above");

/* Registers stay as the fault left them; go on behind the instruction. Any
 * other fault is the test's own. */
static void on_fault(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)info;
	if ((u64)uc->uc_mcontext.gregs[REG_RIP] - bt_host.code > 15) {
		signal(number, SIG_DFL);
		return;
	}
	bt_host.signal = number;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(u64)bt_host_return;
}

bool bt_host_init(void)
{
	static const int faults[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP};
	struct sigaction action = {.sa_sigaction = on_fault,
				   .sa_flags = SA_SIGINFO | SA_ONSTACK};
	size_t size = KIB(64);
	stack_t stack = {.ss_size = size};
	void *page;

	page = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (page == MAP_FAILED)
		return false;
	bt_host.code = (u64)page;
	stack.ss_sp = (u8 *)page + 4096;
	sigaltstack(&stack, NULL);
	for (unsigned k = 0; k < ARRAY_SIZE(faults); k++)
		sigaction(faults[k], &action, NULL);
	return true;
}

void bt_host_set_code(const u8 *bytes, unsigned len)
{
	static const u8 jump[] = {0xff, 0x25, 0, 0, 0, 0}; /* jmp *0(%rip) */
	u64 back = (u64)bt_host_return;
	u8 *code = (u8 *)bt_host.code;

	memcpy(code, bytes, len);
	memcpy(code + len, jump, sizeof(jump));
	memcpy(code + len + sizeof(jump), &back, sizeof(back));
}

void bt_host_run(void)
{
	bt_host.signal = 0;
	bt_host_enter();
}
