/* SPDX-License-Identifier: Apache-2.0 */
/* Compatibility mode, SYSCALL, and the bases of FS and GS; see modes.h. */
#include "modes.h"

enum { USER_CODE16 = SPARE | 3 };

BLOB_CODE(compat, 32,
	  "inc %eax\n" /* a REX prefix in 64-bit mode */
	  "xor %ebx, %ebx\n"
	  "mov %esp, %ecx\n"
	  "push %eax\n"
	  "sub %esp, %ecx\n" /* four bytes */
	  "call 1f\n"
	  "1: pop %edx\n"
	  "aam\n");
BLOB_CODE(compat16, 16,
	  "mov $0x1234, %ax\n"
	  "inc %bx\n"
	  "call 1f\n"
	  "1: pop %dx\n"
	  "mov $0x55667788, %ecx\n");
BLOB_CODE(compat_wrap, 32, "mov 0x7ffffff8(%eax,%eax), %ecx");

static void test_compat(void)
{
	user_run32(compat, compat_end, 0x11);
	expect_eq(fault.vector, BP);
	expect_eq(fault.cs, USER_CODE32);
	expect_eq(fault.frame.cx, 4);
	expect_eq(fault.frame.ax, 0x0108); /* 0x12 in digits: 18 */
	expect_eq(fault.frame.dx, user_text() + 13);
	/* Addresses are 32 bits wide: the sum goes round to 0x100000 - 8... */
	user_run32(compat_wrap, compat_wrap_end, 0x40080004);
	expect_eq(fault.vector, PF);
	expect_eq(fault.cr2, 0x100000);
	/* Bases count there, unlike in 64-bit mode. */
	gdt_set(USER_CODE16,
		segment((u32)user_text(), 0xffff, SEG_EXEC | SEG_DPL(3)));
	user_run_at(compat16, compat16_end, USER_CODE16, 0);
	expect_eq(fault.vector, BP);
	expect_eq((u16)fault.frame.ax, 0x1234);
	expect_eq(fault.frame.cx, 0x55667788);
	expect_eq((u16)fault.frame.dx, 7);
}

/* [1] 5.8.1: from 64-bit code to 32-bit code of ring 0 and back. */
static void test_kernel_compat(void)
{
	ulong val = 0xffffffff00000000, high = 0x1234567800000001;

	TRY("push $0x38\n"
	    "push $1f\n"
	    "lretq\n"
	    ".code32\n"
	    "1: inc %%eax\n"
	    "inc %%ebx\n"
	    "ljmp $8, $2f\n"
	    ".code64\n"
	    "2:",
	    : "+a"(val), "+b"(high)
	    :
	    : "memory", "cc");
	expect_no_fault();
	expect_eq(val, 1);
	expect_eq((u32)high, 2);
}

__asm__(".text\n"
	"syscall_entry:\n"
	"	mov	%rcx, syscall_rcx\n"
	"	mov	%r11, syscall_r11\n"
	"	pushf\n"
	"	pop	%r12\n"
	"	mov	%cs, %r13d\n"
	"	mov	%ss, %r14d\n"
	"	test	%rax, %rax\n"
	"	jz	1f\n"
	"	sysretl\n"
	"1:	sysretq\n");
u64 syscall_rcx, syscall_r11;

BLOB(user_syscall, "stc\n"
		   "std\n"
		   "syscall\n"
		   "mov %cs, %edx\n"
		   "mov %ss, %ebx\n"
		   "pushf\n"
		   "pop %rsi\n"
		   "cld");
BLOB(user_sysret32, "mov $1, %eax\n"
		    "syscall\n"
		    "mov %cs, %edx");

/* [1] 5.8.8 */
static void test_syscall(void)
{
	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SCE);
	msr_write(MSR_STAR, (u64)(USER_CODE32) << 48 | (u64)KERNEL_CODE << 32);
	msr_write(MSR_LSTAR, (ulong)syscall_entry);
	msr_write(MSR_SFMASK, EFLAGS_DF | EFLAGS_IF);

	user_run(user_syscall, user_syscall_end, 0);
	expect_eq(fault.vector, BP);
	expect_eq(syscall_rcx, user_text() + 4);
	expect_eq(syscall_r11 & (EFLAGS_CF | EFLAGS_DF), EFLAGS_CF | EFLAGS_DF);
	expect_eq_lax("syscall-flags",
		      fault.frame.r12 & (EFLAGS_CF | EFLAGS_DF | EFLAGS_IF),
		      EFLAGS_CF, 0);
	expect_eq(fault.frame.r13, KERNEL_CODE);
	expect_eq(fault.frame.r14, KERNEL_DATA);
	expect_eq(fault.frame.dx, USER_CODE64);
	expect_eq(fault.frame.bx, USER_DATA);
	expect_eq(fault.frame.si & (EFLAGS_CF | EFLAGS_DF),
		  EFLAGS_CF | EFLAGS_DF);

	user_run(user_sysret32, user_sysret32_end, 0);
	expect_eq(fault.vector, BP);
	expect_eq(fault.frame.dx, USER_CODE32);
	expect_eq(fault.cs, USER_CODE32);
	msr_write(MSR_EFER, msr_read(MSR_EFER) & ~EFER_SCE);
}

static void test_bases(void)
{
	static const u64 words[2] = {0x1111, 0x2222};
	u64 val;

	msr_write(MSR_FS_BASE, (ulong)&words[0]);
	TRY("mov %%fs:8, %0", : "=r"(val) : : "memory");
	expect_eq(val, 0x2222);
	msr_write(MSR_GS_BASE, (ulong)&words[0]);
	msr_write(MSR_KERNEL_GS_BASE, (ulong)&words[1]);
	TRY("swapgs; mov %%gs:0, %0; swapgs", : "=r"(val) : : "memory");
	expect_eq(val, 0x2222);
	TRY("mov %%gs:0, %0", : "=r"(val) : : "memory");
	expect_eq(val, 0x1111);
	expect_eq(msr_read(MSR_KERNEL_GS_BASE), (ulong)&words[1]);
	/* Bases of DS, ES and SS do not count, nor does that of a selector
	 * once the register has been written. */
	gdt_set(SPARE, segment(0x1000, 0xfffff, SEG_DATA | SEG_D | SEG_G));
	TRY("mov %w1, %%ds; mov (%2), %0; mov %w3, %%ds",
	    : "=&r"(val)
	    : "r"(SPARE), "r"(&words[0]), "r"(KERNEL_DATA)
	    : "memory");
	expect_eq(val, 0x1111);
	__asm__ volatile("mov %w0, %%fs" : : "r"(SPARE));
	expect_eq(msr_read(MSR_FS_BASE), 0x1000);
	__asm__ volatile("mov %w0, %%fs" : : "r"(KERNEL_DATA));
	expect_eq(msr_read(MSR_FS_BASE), 0);

	TRY("rdfsbase %0", : "=r"(val) : : "memory");
	expect_fault(UD, 0);
	if (!(cpuid(7, 0).ebx & 1)) {
		skip("fsgsbase");
		return;
	}
	cr4_write(cr4_read() | CR4_FSGSBASE);
	TRY("wrfsbase %1; rdfsbase %0", : "=r"(val) : "r"(words) : "memory");
	expect_no_fault();
	expect_eq(val, (ulong)words);
	TRY("wrgsbase %0", : : "r"(BIT(47)) : "memory");
	if (!lax_fault("base-canonical", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
	cr4_write(cr4_read() & ~CR4_FSGSBASE);
}

/* 32-bit results clear the upper half, others keep it; REX changes bytes. */
static void test_widths(void)
{
	ulong val = ~0ul;

	__asm__("movl $1, %k0" : "+r"(val));
	expect_eq(val, 1);
	val = ~0ul;
	__asm__("movw $1, %w0" : "+r"(val));
	expect_eq(val, 0xffffffffffff0001);
	__asm__("mov $0x1234, %%eax; mov %%ah, %%bl; movzbl %%bl, %k0"
		: "=r"(val)
		:
		: "eax", "ebx");
	expect_eq(val, 0x12);
	/* The address-size prefix cuts addresses to 32 bits. */
	TRY("mov (%k1), %k0", : "=r"(val) : "r"(0xffffffff00100000) : "memory");
	expect_no_fault();
	expect_eq((u32)val, 0x1badb002);
}

void test_width(void)
{
	test_compat();
	test_kernel_compat();
	test_syscall();
	test_bases();
	test_widths();
}
