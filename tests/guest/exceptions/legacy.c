/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only 32-bit mode has: #OF, #BR, #TS, limits of segments, decimal
 * adjustment.
 */
#include "exceptions.h"

enum {
	LIMITED = SPARE + 8,
	RING1_CODE = (SPARE + 16) | 1,
	RING1_DATA = (SPARE + 24) | 1,
	RING1_GATE = 0x81,
};

static void test_traps(void)
{
	static const s32 bounds[2] = {-4, 4};

	TRY("add %0, %0; into", : : "a"(0x80000000) : "cc");
	expect_trap(OF, 0);
	TRY("xor %0, %0; into", : : "a"(0) : "cc");
	expect_no_fault();
	TRY("bound %0, %1", : : "a"(4), "m"(bounds) : "memory");
	expect_no_fault();
	TRY("bound %0, %1", : : "a"(5), "m"(bounds) : "memory");
	expect_fault(BR, 0);
	TRY("bound %0, %1", : : "a"(-5), "m"(bounds) : "memory");
	expect_fault(BR, 0);
	TRY(".byte 0x62, 0xc0", : : : "memory"); /* bound with a register */
	expect_fault(UD, 0);
	TRY(".byte 0xd4, 0", : : "a"(7) : "cc"); /* aam by 0 */
	expect_fault(DE, 0);
}

static void expect_limit(void)
{
	if (!lax_fault("seg-limit", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
}

/* [1] 5.3: the last byte must be within the limit. */
static void test_limits(void)
{
	gdt_set(LIMITED, segment(0x100000, 0xfff, SEG_DATA | SEG_D));
	__asm__ volatile("mov %w0, %%fs" : : "r"(LIMITED));
	TRY("mov %%fs:0xffc, %%eax", : : : "memory", "eax");
	expect_no_fault();
	TRY("mov %%fs:0xffd, %%eax", : : : "memory", "eax");
	expect_limit();
	TRY("mov %%fs:0x1000, %%al", : : : "memory", "eax");
	expect_limit();
	gdt_set(LIMITED,
		segment(0x100000, 0xfff, (SEG_DATA & ~SEG_WRITE) | SEG_D));
	__asm__ volatile("mov %w0, %%fs" : : "r"(LIMITED));
	TRY("mov %%eax, %%fs:0", : : : "memory");
	expect_limit();
	/* Expand-down: valid is what is above the limit. */
	gdt_set(LIMITED, segment(0, 0xfff, SEG_DATA | SEG_D | SEG_DOWN));
	__asm__ volatile("mov %w0, %%fs" : : "r"(LIMITED));
	TRY("mov %%fs:0xfff, %%al", : : : "memory", "eax");
	expect_limit();
	TRY("mov %%fs:0x1000, %%al", : : : "memory", "eax");
	expect_no_fault();
	/* Code that cannot be read. */
	gdt_set(LIMITED, SEG_FLAT | SEG_G | SEG_D | (SEG_EXEC & ~SEG_WRITE));
	TRY("mov %w0, %%fs", : : "r"(LIMITED) : "memory");
	expect_fault(GP, LIMITED);
	TRY("mov %%cs:0x100000, %%al", : : : "memory", "eax");
	expect_no_fault();
	TRY("mov %0, %%cs:0x100000", : : "a"(0) : "memory");
	expect_limit();
	/* A null segment loads, and faults when used. */
	__asm__ volatile("mov %w0, %%fs" : : "r"(0));
	TRY("mov %%fs:0, %%al", : : : "memory", "eax");
	expect_limit();
	TRY("mov %w0, %%ss", : : "r"(0) : "memory");
	expect_fault(GP, 0);
	TRY("mov %0, %%ds; mov %1, %%ds",
	    :
	    : "r"(KERNEL_CODE), "r"(KERNEL_DATA)
	    : "memory");
	expect_no_fault();
}

BLOB(user_ring1, "int $0x81");

/*
 * [1] 6.15, #TS, and [2] INT: the stack of ring 1 comes from the task state.
 * The fault itself is delivered on the stack of ring 0, which is good.
 */
static void test_task_state(void)
{
	const u64 flat = SEG_FLAT | SEG_G | SEG_D | SEG_DPL(1);

	gdt_set(RING1_CODE, flat | SEG_EXEC);
	gdt_set(RING1_DATA, flat | SEG_DATA);
	gate_set(RING1_GATE, RING1_CODE & ~3u, user_text() + 16,
		 GATE_INTERRUPT | GATE_DPL3);
	task_set_stack(1, user_stack() - 512);

	task_set_stack_segment(1, 0);
	user_run(user_ring1, user_ring1_end, 0);
	expect_fault_ip(TS, 0, user_text());
	task_set_stack_segment(1, KERNEL_DATA);
	user_run(user_ring1, user_ring1_end, 0);
	expect_fault_ip(TS, KERNEL_DATA, user_text());
	task_set_stack_segment(1, 0x7ff9);
	user_run(user_ring1, user_ring1_end, 0);
	expect_fault_ip(TS, 0x7ff8, user_text());
	task_set_stack_segment(1, RING1_DATA);
	gdt_set(RING1_DATA, (flat | SEG_DATA) & ~SEG_P);
	user_run(user_ring1, user_ring1_end, 0);
	if (!lax_fault("ts-stack", TS, RING1_DATA & ~3, user_text()))
		expect_fault_ip(SS, RING1_DATA & ~3, user_text());
	gdt_set(RING1_DATA, flat | SEG_DATA);
	task_set_stack_segment(1, KERNEL_DATA);
	gate_reset(RING1_GATE);
}

void test_width(void)
{
	test_traps();
	test_limits();
	test_task_state();
}
