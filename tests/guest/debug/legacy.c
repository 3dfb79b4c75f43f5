/* SPDX-License-Identifier: Apache-2.0 */
/* TF through SYSENTER. */
#include "debug.h"

BLOB(user_sysenter, "sysenter\n nop");

extern const u8 kernel_entry[];

__asm__(".text\n"
	"kernel_entry: nop\n"
	"	ud2\n");

/* [2] SYSENTER leaves TF: the step ends at the kernel's first instruction. */
void test_width(void)
{
	static u8 stack[1024] __attribute__((aligned(16)));

	msr_write(MSR_SYSENTER_CS, KERNEL_CODE);
	msr_write(MSR_SYSENTER_ESP, (ulong)(stack + sizeof(stack)));
	msr_write(MSR_SYSENTER_EIP, (ulong)kernel_entry);
	user_flags = 2 | EFLAGS_TF | EFLAGS_IF;
	user_run(user_sysenter, user_sysenter_end, 0);
	expect_fault_ip(DB, 0, (ulong)kernel_entry);
	expect_eq(fault.dr6 & DR6_BITS, DR6_BS);
	expect_eq(fault.cs, KERNEL_CODE);
	expect_eq(fault.flags & (EFLAGS_TF | EFLAGS_IF), EFLAGS_TF);
	msr_write(MSR_SYSENTER_CS, 0);
}
