/* SPDX-License-Identifier: Apache-2.0 */
/* TF through SYSCALL and SYSRET. */
#include "debug.h"

BLOB(user_syscall, "syscall\n"
		   "user_syscall_1: nop\n nop");

extern const u8 kernel_entry[];

__asm__(".text\n"
	"kernel_entry: nop\n"
	"	orl $0x100, %r11d\n"
	"	sysretq\n");

/* TF as SYSCALL has left it decides on the trap; with TF masked, [2] SYSCALL,
 * there is none. SYSRET's trap comes before the next instruction: not in the
 * manuals, but how silicon has it, so that a debugger sees the instruction
 * after SYSCALL. */
void test_width(void)
{
	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SCE);
	msr_write(MSR_STAR, (u64)(KERNEL_CODE) << 32 | (u64)(USER_CODE32)
							       << 48);
	msr_write(MSR_LSTAR, (ulong)kernel_entry);
	msr_write(MSR_SFMASK, EFLAGS_TF | EFLAGS_IF);
	user_run(user_syscall, user_syscall_end, 0);
	expect_fault_ip(DB, 0, user_text() + 2);
	expect_eq(fault.dr6 & DR6_BITS, DR6_BS);
	expect_eq(fault.cs, USER_CODE64);
	user_flags = 2 | EFLAGS_TF;
	user_run(user_syscall, user_syscall_end, 0);
	expect_fault_ip(DB, 0, user_text() + 2);
	expect_eq(fault.cs, USER_CODE64);
	msr_write(MSR_SFMASK, 0);
	user_flags = 2 | EFLAGS_TF;
	user_run(user_syscall, user_syscall_end, 0);
	expect_fault_ip(DB, 0, (ulong)kernel_entry);
	expect_eq(fault.cs, KERNEL_CODE);
	msr_write(MSR_EFER, msr_read(MSR_EFER) & ~EFER_SCE);
}
