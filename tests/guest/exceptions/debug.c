/* SPDX-License-Identifier: Apache-2.0 */
/*
 * #DB: traps and faults, and what DR6 says of them.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3B, 18.2 (registers), 18.3.1 (conditions)
 */
#include "exceptions.h"

enum {
	DR6_B0 = 1,
	DR6_BD = 1 << 13,
	DR6_BS = 1 << 14,
	DR7_L0 = 1,
	DR7_GD = 1 << 13,
	DR7_WRITE0 = 1 << 16,
	DR7_ACCESS0 = 3 << 16,
	DR7_FOUR0 = 3 << 18,
	DR6_BITS = 0xe00f,
};

static volatile u32 watched;
static unsigned hits;

__asm__(".text\n"
	"debug_target:\n"
	"	nop\n"
	"	ret\n");

static void count_and_go_on(struct frame *frame)
{
	hits++;
	frame->flags |= EFLAGS_RF;
}

static void test_single_step(void)
{
	ulong val;

	TRY("pushf; orl $0x100, (" SP "); popf; nop", : : : "memory", "cc");
	expect_trap(DB, 0);
	expect_eq(fault.dr6 & DR6_BITS, DR6_BS);
	/* The trap is taken with TF clear, and saved flags have it set. */
	expect(fault.flags & EFLAGS_TF);
	/* A fault comes before the step is over: no trap. */
	TRY("pushf; orl $0x100, (" SP "); popf; ud2", : : : "memory", "cc");
	expect_fault_ip(UD, 0, try_end - 2);
	/* [1] 18.3.1.4: MOV SS holds the trap back by one instruction. */
	TRY("mov %%ss, %0; pushf; orl $0x100, (" SP "); popf;"
	    "mov %0, %%ss; nop",
	    : "=&r"(val)
	    :
	    : "memory", "cc");
	expect_trap(DB, 0);
	TRY(".byte 0xf1", : : : "memory"); /* int1 */
	if (!lax_fault("int1", UD, 0, try_start))
		expect_trap(DB, 0);
	expect_eq(fault.dr6 & DR6_BITS, 0);
}

static void test_data(void)
{
	u32 val;

	dr0_write((ulong)&watched);
	dr7_write(DR7_L0 | DR7_WRITE0 | DR7_FOUR0);
	TRY("movl $1, %0", : "=m"(watched) : : "memory");
	expect_trap(DB, 0);
	expect_eq(fault.dr6 & DR6_BITS, DR6_B0);
	expect_eq(watched, 1);
	TRY("movl %1, %0", : "=r"(val) : "m"(watched) : "memory");
	expect_no_fault();
	TRY("movb $2, %0", : "=m"(((volatile u8 *)&watched)[3]) : : "memory");
	expect_trap(DB, 0);
	dr7_write(DR7_L0 | DR7_ACCESS0 | DR7_FOUR0);
	TRY("movl %1, %0", : "=r"(val) : "m"(watched) : "memory");
	expect_trap(DB, 0);
	expect_eq(fault.dr6 & DR6_BITS, DR6_B0);
	dr7_write(0);
	TRY("movl $3, %0", : "=m"(watched) : : "memory");
	expect_no_fault();
}

static void test_code(void)
{
	dr0_write((ulong)debug_target);
	dr7_write(DR7_L0);
	TRY("call debug_target", : : : "memory");
	expect_fault_ip(DB, 0, (ulong)debug_target);
	expect_eq(fault.dr6 & DR6_BITS, DR6_B0);
	/* [1] 18.3.1.1: IRET with RF gets over it, once. */
	handler_set(DB, count_and_go_on);
	debug_target();
	expect_eq(hits, 1);
	debug_target();
	expect_eq(hits, 2);
	handler_set(DB, NULL);
	dr7_write(0);
}

/* [1] 18.2.4: GD faults, and is off in the handler. */
static void test_general_detect(void)
{
	ulong val;

	TRY("mov %1, %%dr7; mov %%dr0, %0",
	    : "=&a"(val)
	    : "r"((ulong)DR7_GD)
	    : "memory");
	expect_fault_ip(DB, 0, try_end - 3);
	expect_eq(fault.dr6 & DR6_BITS, DR6_BD);
	expect_eq(dr7_read(), 0x400);
}

static void test_registers(void)
{
	ulong val;

	/* [1] 18.2.2: DR4 is DR6 unless DE is set, then it is undefined. */
	cr4_write(cr4_read() | CR4_DE);
	TRY("mov %%dr4, %0", : "=r"(val) : : "memory");
	expect_fault(UD, 0);
	cr4_write(cr4_read() & ~CR4_DE);
	dr6_write(0xffff0ff0);
	TRY("mov %%dr4, %0", : "=r"(val) : : "memory");
	expect_no_fault();
	expect_eq(val & 0xffffeff0, dr6_read() & 0xffffeff0);
}

void test_debug(void)
{
	test_single_step();
	if (!lax("breakpoints")) {
		test_data();
		test_code();
	}
	if (!lax("gd"))
		test_general_detect();
	test_registers();
}
