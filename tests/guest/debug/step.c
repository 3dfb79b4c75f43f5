/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single steps. A snippet under TF is entered by a CALL that is the first step,
 * so that entry 0 of the log is the snippet's first address; two pushes, two
 * pops and the return frame its own instructions.
 */
#include "debug.h"

enum { BEFORE = 3, AFTER = 3, SOFT = 0x80 };

/* The log is: entry, two pushes, these addresses, two pops, the return. */
static void check(void (*snippet)(void), const ulong *ips, unsigned count)
{
	debug_run(snippet, true);
	if (!expect_eq(debug_log.count, BEFORE + count + AFTER - 1))
		for (unsigned i = 0; i < debug_log.count && i < LIMIT; i++)
			print("  step %u at %lx\n", i, debug_log.ip[i]);
	expect_debug(0, snippet, DR6_BS);
	for (unsigned i = 0; i < count; i++)
		expect_debug(BEFORE + i, ips[i], DR6_BS);
}

#define CHECK(snippet, ...)                           \
	do {                                          \
		const ulong ips[] = {__VA_ARGS__};    \
                                                      \
		check(snippet, ips, ARRAY_SIZE(ips)); \
	} while (0)

/* Addresses after each step: the second push is at entry 2's address. */
SNIPPET(plain, "nop\n"
	       "plain_1: inc %eax\n"
	       "plain_2: jmp plain_3\n"
	       "nop\n"
	       "plain_3: call plain_5\n"
	       "plain_4: jmp plain_6\n"
	       "plain_5: ret\n"
	       "plain_6: cpuid\n"
	       "plain_7: rdtsc\n"
	       "plain_8: in $0x80, %al\n"
	       "plain_9: jc plain_10\n"
	       "plain_10: xor %ecx, %ecx\n"
	       "plain_11: ");
LABEL(plain_1);
LABEL(plain_2);
LABEL(plain_3);
LABEL(plain_4);
LABEL(plain_5);
LABEL(plain_6);
LABEL(plain_7);
LABEL(plain_8);
LABEL(plain_9);
LABEL(plain_10);
LABEL(plain_11);

/* [1] 18.3.1.4: after each instruction that began with TF set. */
static void test_plain(void)
{
	CHECK(plain, (ulong)plain_1, (ulong)plain_2, (ulong)plain_3,
	      (ulong)plain_5, (ulong)plain_4, (ulong)plain_6, (ulong)plain_7,
	      (ulong)plain_8, (ulong)plain_9, (ulong)plain_10, (ulong)plain_11);
	for (unsigned i = 0; i < debug_log.count; i++)
		expect(debug_log.flags[i] & EFLAGS_TF);
}

SNIPPET(flags_off, "pushf\n"
		   "flags_off_1: andl $~0x100, (" SP ")\n"
		   "flags_off_2: popf\n"
		   "flags_off_3: nop\n nop\n"
		   "pushf\n orl $0x100, (" SP ")\n popf\n"
		   "flags_off_4: nop\n"
		   "flags_off_5: ");
LABEL(flags_off_1);
LABEL(flags_off_2);
LABEL(flags_off_3);
LABEL(flags_off_4);
LABEL(flags_off_5);

/* POPF that clears TF began with it set; the one that sets it did not. */
static void test_popf(void)
{
	CHECK(flags_off, (ulong)flags_off_1, (ulong)flags_off_2,
	      (ulong)flags_off_3, (ulong)flags_off_5);
	expect(!(debug_log.flags[BEFORE + 2] & EFLAGS_TF));
	expect(debug_log.flags[BEFORE + 3] & EFLAGS_TF);
}

SNIPPET(stack_segment, "mov %ss, %eax\n"
		       "stack_segment_1: mov %eax, %ss\n"
		       "stack_segment_2: nop\n"
		       "stack_segment_3: push " AX "\n"
		       "stack_segment_4: pop " AX "\n"
		       "stack_segment_5: ");
LABEL(stack_segment_1);
LABEL(stack_segment_3);
LABEL(stack_segment_4);
LABEL(stack_segment_5);

/* [3] 6.8.3: MOV SS holds the trap back, and it is not made up for. */
static void test_mov_ss(void)
{
	CHECK(stack_segment, (ulong)stack_segment_1, (ulong)stack_segment_3,
	      (ulong)stack_segment_4, (ulong)stack_segment_5);
}

SNIPPET(repeat, "mov $3, %ecx\n"
		"repeat_1: lea buffer, " DI "\n"
		"repeat_2: rep stosb\n"
		"repeat_3: nop\n"
		"repeat_4: rep stosb\n"
		"repeat_5: mov $5, %ecx\n"
		"repeat_6: movb $1, buffer+2\n"
		"repeat_7: lea buffer, " DI "\n"
		"repeat_8: xor %eax, %eax\n"
		"repeat_9: movw $0, buffer\n"
		"repeat_10: repe scasb\n"
		"repeat_11: ");
LABEL(repeat_1);
LABEL(repeat_2);
LABEL(repeat_3);
LABEL(repeat_4);
LABEL(repeat_5);
LABEL(repeat_6);
LABEL(repeat_7);
LABEL(repeat_8);
LABEL(repeat_9);
LABEL(repeat_10);
LABEL(repeat_11);

/* [2] REP: each iteration is a step; RF is set between them, [1] 18.3.1.1. */
static void test_repeat(void)
{
	unsigned n = BEFORE;

	CHECK(repeat, (ulong)repeat_1, (ulong)repeat_2, (ulong)repeat_2,
	      (ulong)repeat_2, (ulong)repeat_3, (ulong)repeat_4,
	      (ulong)repeat_5, (ulong)repeat_6, (ulong)repeat_7,
	      (ulong)repeat_8, (ulong)repeat_9, (ulong)repeat_10,
	      (ulong)repeat_10, (ulong)repeat_10, (ulong)repeat_11);
	expect_eq(debug_log.cx[n + 1], 3);
	expect_eq(debug_log.cx[n + 2], 2);
	expect_eq(debug_log.cx[n + 3], 1);
	expect_eq(debug_log.cx[n + 4], 0);
	expect_eq(debug_log.cx[n + 14], 2);
	if (lax("rf"))
		return;
	expect(!(debug_log.flags[n + 1] & EFLAGS_RF));
	expect(debug_log.flags[n + 2] & EFLAGS_RF);
	expect(debug_log.flags[n + 3] & EFLAGS_RF);
	expect(!(debug_log.flags[n + 4] & EFLAGS_RF));
}

SNIPPET(software, "nop\n"
		  "software_1: int $0x80\n"
		  "software_2: nop\n"
		  "software_3: int3\n"
		  "nop\n"
		  "software_4: ud2\n"
		  "software_5: nop\n"
		  "software_6: ");
LABEL(software_1);
LABEL(software_3);
LABEL(software_4);
LABEL(software_6);

static void ignore(struct frame *frame)
{
	expect(!(flags_read() & EFLAGS_TF));
	expect(frame->flags & EFLAGS_TF);
}

static void skip_two(struct frame *frame)
{
	ignore(frame);
	frame->ip += 2;
}

/* [1] 18.3.1.4: INT clears TF, so that there is no trap after it; the next is
 * one instruction after the handler's IRET. A fault is no end of a step. */
static void test_software(void)
{
	handler_set(SOFT, ignore);
	handler_set(BP, ignore);
	handler_set(UD, skip_two);
	CHECK(software, (ulong)software_1, (ulong)software_3, (ulong)software_4,
	      (ulong)software_6);
	handler_set(SOFT, NULL);
	handler_set(BP, NULL);
	handler_set(UD, NULL);
}

SNIPPET(halt, "nop\n"
	      "halt_1: hlt\n"
	      "halt_2: nop\n"
	      "halt_3: ");
LABEL(halt_1);
LABEL(halt_2);
LABEL(halt_3);

/* [2] HLT: a debug exception ends it, IF or not. */
static void test_halt(void)
{
	CHECK(halt, (ulong)halt_1, (ulong)halt_2, (ulong)halt_3);
}

BLOB(user_icebp, ".byte 0xf1\n nop");
BLOB(user_int1, "int $1");

/* [2] INT1 does not look at the gate's privilege, INT 1 does; neither leaves
 * anything in DR6. */
static void test_int1(void)
{
	user_run(user_icebp, user_icebp_end, 0);
	if (!lax_fault("int1", UD, 0, user_text()))
		expect_fault_ip(DB, 0, user_text() + 1);
	expect_eq(fault.dr6 & DR6_BITS, 0);
	user_run(user_int1, user_int1_end, 0);
	if (!lax_fault("gate-error", GP, DB * GATE_LEN | ERROR_IDT,
		       user_text()))
		expect_fault_ip(GP, DB * 8 | ERROR_IDT, user_text());
	TRY("int $1", : : : "memory");
	expect_trap(DB, 0);
	expect_eq(fault.dr6 & DR6_BITS, 0);
}

void test_steps(void)
{
	test_plain();
	test_popf();
	test_mov_ss();
	test_repeat();
	test_software();
	if (!lax("halt-step"))
		test_halt();
	test_int1();
}
