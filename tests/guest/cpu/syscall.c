/* SPDX-License-Identifier: Apache-2.0 */
/* SYSCALL, SYSENTER and the ways back, SWAPGS, the bases of FS and GS. */
#include "cpu.h"

#define NOT_CANONICAL 0x0000800000000000ul

/* What the kernel's entry found. */
struct entry {
	ulong cx, r11, flags, sp, cs, ss;
};

struct entry entry;
u8 stack[4096] __attribute__((aligned(16)));

extern const u8 entry_64[], entry_32[], entry_sysenter[];

/* On no stack but its own, so that nothing of the caller's is needed. */
__asm__(".text\n"
	"entry_note:\n"
	"	mov %rcx, entry\n"
	"	mov %r11, entry + 8\n"
	"	mov %rsp, entry + 24\n"
	"	lea stack + 4096, %rsp\n"
	"	pushf\n"
	"	pop entry + 16\n"
	"	mov %cs, entry + 32\n"
	"	mov %ss, entry + 40\n"
	"	mov entry + 24, %rsp\n"
	"	jmp *%rbx\n"
	"entry_64:\n"
	"	lea 1f, %rbx\n"
	"	jmp entry_note\n"
	"1:	sysretq\n"
	"entry_32:\n"
	"	lea 1f, %rbx\n"
	"	jmp entry_note\n"
	"1:	sysretl\n"
	"entry_sysenter:\n"
	"	lea 1f, %rbx\n"
	"	jmp entry_note\n"
	"1:	mov %rdi, %rdx\n"
	"	mov %rsi, %rcx\n"
	"	sysexitq\n");

BLOB(user_syscall, "syscall\n"
		   "user_syscall_1: mov %ss, %eax\n"
		   "mov %cs, %ecx");
BLOB_CODE(user_syscall32, 32,
	  "mov $0x11111111, %ecx\n"
	  "syscall\n"
	  "user_syscall32_1: nop");
BLOB(user_sysenter, "lea user_sysenter_1(%rip), %rdi\n"
		    "mov %rsp, %rsi\n"
		    "sysenter\n"
		    "user_sysenter_1: mov %ss, %eax\n"
		    "mov %cs, %ecx");
extern const u8 user_syscall_1[], user_syscall32_1[], user_sysenter_1[];

/* [1] SYSCALL, SYSRET. */
static void test_syscall64(void)
{
	ulong next = user_text() + (ulong)(user_syscall_1 - user_syscall);

	msr_write(MSR_LSTAR, (ulong)entry_64);
	msr_write(MSR_SFMASK, EFLAGS_IF | EFLAGS_DF | EFLAGS_CF);
	user_flags = 2 | EFLAGS_CF | EFLAGS_ZF | EFLAGS_DF | EFLAGS_AC;
	user_run(user_syscall, user_syscall_end, 0);
	expect_eq(fault.vector, BP);
	expect_eq(entry.cx, next);
	expect_eq(entry.r11, 2 | EFLAGS_CF | EFLAGS_ZF | EFLAGS_DF | EFLAGS_AC);
	/* By [1] only what is in SFMASK is cleared. */
	expect_eq_lax("syscall-flags", entry.flags, 2 | EFLAGS_ZF | EFLAGS_AC,
		      2 | EFLAGS_AC);
	expect_eq(entry.sp, user_stack());
	expect_eq((u16)entry.cs, KERNEL_CODE);
	expect_eq((u16)entry.ss, KERNEL_DATA);
	/* Back: selectors from STAR, with RPL 3, flags from r11. */
	expect_eq((u16)fault.frame.cx, USER_CODE64);
	expect_eq((u16)fault.frame.ax, USER_DATA);
	expect_eq(fault.cs, USER_CODE64);
	expect_eq(fault.flags & ~EFLAGS_RF, entry.r11);
}

/* From compatibility mode: AMD's goes to CSTAR, Intel's is #UD. */
static void test_syscall32(void)
{
	ulong next = user_text() + (ulong)(user_syscall32_1 - user_syscall32);

	msr_write(MSR_CSTAR, (ulong)entry_32);
	user_run32(user_syscall32, user_syscall32_end, 0);
	if (!is_amd()) {
		expect_fault_ip(UD, 0, next - 2);
		return;
	}
	expect_eq(fault.vector, BP);
	expect_eq(fault.cs, USER_CODE32);
	expect_eq(entry.cx, next);
	expect_eq((u16)entry.cs, KERNEL_CODE);
}

/* [1] SYSENTER, [3]: AMD has none in long mode. */
static void test_sysenter(void)
{
	ulong at = user_text() + 10;

	msr_write(MSR_SYSENTER_CS, KERNEL_CODE);
	msr_write(MSR_SYSENTER_ESP, (ulong)stack + sizeof(stack));
	msr_write(MSR_SYSENTER_EIP, (ulong)entry_sysenter);
	user_run(user_sysenter, user_sysenter_end, 0);
	if (is_amd()) {
		expect_fault_ip(UD, 0, at);
		if (lax("sysexit-ud"))
			return;
		TRY("sysexitq", : : : "memory");
		expect_fault(UD, 0);
		return;
	}
	/* SYSEXIT takes its selectors 32 and 40 above SYSENTER_CS. */
	expect_eq(fault.vector, BP);
	expect_eq(entry.sp, (ulong)stack + sizeof(stack));
	expect_eq(entry.flags & EFLAGS_IF, 0);
	expect_eq((u16)entry.cs, KERNEL_CODE);
	expect_eq((u16)entry.ss, KERNEL_DATA);
	expect_eq((u16)fault.frame.cx, USER_CODE64);
	expect_eq((u16)fault.frame.ax, USER_DATA64);
	msr_write(MSR_SYSENTER_CS, 0);
	user_run(user_sysenter, user_sysenter_end, 0);
	expect_fault_ip(GP, 0, at);
	TRY("sysexitq", : : : "memory");
	expect_fault(GP, 0);
}

static void test_bases(void)
{
	ulong val;

	msr_write(MSR_GS_BASE, 0x1111);
	msr_write(MSR_KERNEL_GS_BASE, 0x2222);
	__asm__ volatile("swapgs" : : : "memory");
	expect_eq(msr_read(MSR_GS_BASE), 0x2222);
	expect_eq(msr_read(MSR_KERNEL_GS_BASE), 0x1111);
	__asm__ volatile("swapgs" : : : "memory");
	/* A selector into GS clears its base, but not the other one. */
	msr_write(MSR_FS_BASE, (ulong)stack);
	*(volatile u32 *)(stack + 8) = 0xabcdef;
	__asm__ volatile("mov %%fs:8, %k0" : "=r"(val));
	expect_eq((u32)val, 0xabcdef);
	__asm__ volatile("mov %w0, %%gs" : : "r"(KERNEL_DATA));
	expect_eq(msr_read(MSR_GS_BASE), 0);
	expect_eq(msr_read(MSR_KERNEL_GS_BASE), 0x2222);
	__asm__ volatile("mov %w0, %%gs" : : "r"(0));
	if (!(cpuid(7, 0).ebx & BIT(0))) {
		TRY("rdfsbase %0", : "=a"(val));
		expect_fault(UD, 0);
		return;
	}
	cr4_write(cr4_read() & ~CR4_FSGSBASE);
	TRY("rdfsbase %0", : "=a"(val));
	expect_fault(UD, 0);
	cr4_write(cr4_read() | CR4_FSGSBASE);
	TRY("rdfsbase %0", : "=a"(val));
	expect_no_fault();
	expect_eq(val, (ulong)stack);
	TRY("wrgsbase %0", : : "a"(0x123456789ul));
	expect_eq(msr_read(MSR_GS_BASE), 0x123456789);
	TRY("wrgsbase %k0", : : "a"(0x9abcdef0u));
	expect_eq(msr_read(MSR_GS_BASE), 0x9abcdef0);
	TRY("rdgsbase %k0", : "+a"(val));
	expect_eq(val, 0x9abcdef0);
	TRY("wrfsbase %0", : : "a"(NOT_CANONICAL));
	if (!lax_fault("base-canonical", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
	cr4_write(cr4_read() & ~CR4_FSGSBASE);
	msr_write(MSR_FS_BASE, 0);
	msr_write(MSR_GS_BASE, 0);
}

void test_syscall(void)
{
	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SCE);
	msr_write(MSR_STAR, (u64)KERNEL_CODE << 32 | (u64)USER_CODE32 << 48);
	test_syscall64();
	test_syscall32();
	test_sysenter();
	test_bases();
	msr_write(MSR_EFER, msr_read(MSR_EFER) & ~EFER_SCE);
}
