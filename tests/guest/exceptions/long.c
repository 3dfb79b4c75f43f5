/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What 64-bit mode has: canonical addresses, opcodes that it does not, error
 * codes of SYSCALL and its kin.
 *
 * References:
 * [3] Intel SDM 325462-080, volume 1, 3.3.7.1 (canonical), 6.5 (not in 64-bit
 *     mode)
 */
#include "exceptions.h"

#include "paging.h"

#define NOT_CANONICAL 0x0000800000000000ul

static void test_canonical(void)
{
	struct paging paging;
	ulong val = NOT_CANONICAL;

	TRY("mov (%0), %%eax", : : "b"(val) : "memory", "eax");
	expect_fault(GP, 0);
	/* The last byte counts, too. */
	paging_boot(&paging);
	paging_map(&paging, val - 4096, 1, (ulong)page_alloc() | PTE_P);
	TRY("mov (%0), %%eax", : : "b"(val - 4) : "memory", "eax");
	expect_no_fault();
	TRY("mov (%0), %%eax", : : "b"(val - 2) : "memory", "eax");
	expect_fault(GP, 0);
	/* The stack that #SS itself would use is no good. */
	gate_set_ist(SS, 1);
	TRY("mov %0, %%rsp; push %%rax", : : "b"(val + 64) : "memory");
	if (!(fault.vector == DF && lax("ss-canonical")))
		expect_fault_ip(SS, 0, try_end - 1);
	TRY("xchg %0, %%rbp; mov (%%rbp), %%eax",
	    : "+b"(val)
	    :
	    : "memory", "eax");
	if (!lax_fault("ss-canonical", GP, 0, try_end - 3))
		expect_fault_ip(SS, 0, try_end - 3);
	/* The fault came between the two: rbp is still the other's. */
	__asm__ volatile("xchg %0, %%rbp" : "+b"(val));
	gate_reset(SS);
	TRY("invlpg (%0)", : : "b"(NOT_CANONICAL) : "memory");
	expect_no_fault();
	TRY("wrmsr",
	    :
	    : "c"(MSR_FS_BASE), "a"(0), "d"(NOT_CANONICAL >> 32)
	    : "memory");
	if (!lax_fault("msr-canonical", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
	TRY("wrmsr",
	    :
	    : "c"(MSR_LSTAR), "a"(0), "d"(NOT_CANONICAL >> 32)
	    : "memory");
	if (!lax_fault("msr-canonical", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
}

/* [3] 6.5 */
static void test_not_in_64bit(void)
{
	TRY(".byte 0x06", : : : "memory"); /* push es */
	expect_fault(UD, 0);
	TRY(".byte 0x27", : : : "memory"); /* daa */
	expect_fault(UD, 0);
	TRY(".byte 0x37", : : : "memory"); /* aaa */
	expect_fault(UD, 0);
	TRY(".byte 0x60", : : : "memory"); /* pusha */
	expect_fault(UD, 0);
	TRY(".byte 0x82, 0xc0, 0", : : : "memory"); /* second form of 0x80 */
	expect_fault(UD, 0);
	TRY(".byte 0x9a, 0, 0, 0, 0, 8, 0", : : : "memory"); /* call far */
	expect_fault(UD, 0);
	TRY(".byte 0xce", : : : "memory"); /* into */
	expect_fault(UD, 0);
	TRY(".byte 0xd4, 0x0a", : : : "memory"); /* aam */
	expect_fault(UD, 0);
	TRY(".byte 0xd6", : : : "memory"); /* salc */
	expect_fault(UD, 0);
	TRY(".byte 0xea, 0, 0, 0, 0, 8, 0", : : : "memory"); /* jmp far */
	expect_fault(UD, 0);
}

static void expect_no_jump(ulong from)
{
	if (!lax_fault("rip-canonical", GP, 0, NOT_CANONICAL))
		expect_fault_ip(GP, 0, from);
}

static void test_transfers(void)
{
	/* [2] JMP, RET: the target is checked before the jump is made. */
	TRY("jmp *%0", : : "a"(NOT_CANONICAL) : "memory");
	expect_no_jump(try_start);
	TRY("push %0; ret", : : "a"(NOT_CANONICAL) : "memory");
	expect_no_jump(try_end - 1);
	TRY("push $0x10; push %%rsp; pushf; push $8; push %0; iretq",
	    :
	    : "a"(NOT_CANONICAL)
	    : "memory");
	expect_no_jump(try_end - 2);
	TRY("push $0x10; push %%rsp; pushf; push $0x10; push %0; iretq",
	    :
	    : "a"(0x1000ul)
	    : "memory");
	expect_fault_ip(GP, KERNEL_DATA, try_end - 2);
	/* [2] IRET: no tasks in long mode. */
	TRY("pushf; orl $0x4000, (%%rsp); popf; iretq", : : : "memory", "cc");
	expect_fault_ip(GP, 0, try_end - 2);
	/* A null SS is fine for ring 0. */
	TRY("mov %w0, %%ss; push %%rax; pop %%rax; mov %w1, %%ss",
	    :
	    : "r"(0), "r"(KERNEL_DATA)
	    : "memory");
	expect_no_fault();
}

static void test_control64(void)
{
	ulong cr4 = cr4_read();

	TRY("mov %0, %%cr4", : : "r"(cr4 & ~CR4_PAE) : "memory");
	expect_fault(GP, 0);
	TRY("mov %0, %%cr0", : : "r"(cr0_read() | BIT(32)) : "memory");
	if (!lax_fault("cr-high", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
	if (!lax("cr3-reserved")) {
		TRY("mov %0, %%cr3", : : "r"(cr3_read() | BIT(60)) : "memory");
		expect_fault(GP, 0);
	}
	TRY("mov %0, %%cr8", : : "r"(0x10ul) : "memory");
	if (!lax_fault("cr8", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
	TRY("wrmsr",
	    :
	    : "c"(MSR_EFER), "a"((u32)(msr_read(MSR_EFER) & ~EFER_LME)), "d"(0)
	    : "memory");
	expect_fault(GP, 0);
	TRY("mov %0, %%dr7", : : "r"(BIT(32)) : "memory");
	expect_fault(GP, 0);
}

BLOB(user_swapgs, "swapgs");
BLOB(user_sysret, "sysretq");
BLOB(user_syscall, "syscall");
BLOB(user_load, "mov (%rax), %eax");
BLOB(user_cmpxchg, "lea 8(%rsp), %rdi\n"
		   "user_cmpxchg_at: lock cmpxchg16b -16(%rdi)");
extern const u8 user_cmpxchg_at[];

static void test_user64(void)
{
	msr_write(MSR_EFER, msr_read(MSR_EFER) & ~EFER_SCE);
	user_run(user_swapgs, user_swapgs_end, 0);
	expect_fault_ip(GP, 0, user_text());
	user_run(user_syscall, user_syscall_end, 0);
	expect_fault_ip(UD, 0, user_text());
	TRY("syscall", : : : "memory", "rcx", "r11");
	expect_fault(UD, 0);
	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SCE);
	user_run(user_sysret, user_sysret_end, 0);
	expect_fault_ip(GP, 0, user_text());
	msr_write(MSR_EFER, msr_read(MSR_EFER) & ~EFER_SCE);

	user_run(user_load, user_load_end, NOT_CANONICAL);
	expect_fault_ip(GP, 0, user_text());
	/* The kernel's page: present, read, from ring 3. */
	user_run(user_load, user_load_end, 0x100000);
	expect_fault_ip(PF, PF_P | PF_U, user_text());
	expect_eq(fault.cr2, 0x100000);
	/* [2] CMPXCHG16B: not on a boundary of 16. */
	user_run(user_cmpxchg, user_cmpxchg_end, 0);
	expect_fault_ip(GP, 0,
			user_text() + (ulong)(user_cmpxchg_at - user_cmpxchg));
}

void test_width(void)
{
	test_canonical();
	test_not_in_64bit();
	test_transfers();
	if (!lax("control-bits"))
		test_control64();
	test_user64();
}
