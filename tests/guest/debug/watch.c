/* SPDX-License-Identifier: Apache-2.0 */
/* Breakpoints. */
#include "debug.h"

enum kind { EXEC, WRITE, PORT, ACCESS };

static u8 data[64] __attribute__((aligned(64)));
static ulong dr7;

static void watch(int n, ulong addr, enum kind kind, unsigned len)
{
	static const u8 lens[] = {0, 0, 1, 0, 3, 0, 0, 0, 2};

	switch (n) {
	case 0:
		dr0_write(addr);
		break;
	case 1:
		dr1_write(addr);
		break;
	case 2:
		dr2_write(addr);
		break;
	default:
		dr3_write(addr);
	}
	dr7 &= ~(0xful << (16 + 4 * n) | 3ul << 2 * n);
	dr7 |= ((ulong)lens[len] << 2 | kind) << (16 + 4 * n) | 1ul << 2 * n;
	dr7_write(dr7);
}

static void watch_none(void)
{
	dr7 = 0;
	dr7_write(0);
}

/* DR6 after one access to data + off; 0: no #DB. */
static ulong touch(unsigned off, unsigned width, bool write)
{
	volatile u8 *at = data + off;
	ulong val;

	switch (width * 2 + write) {
	case 2:
		TRY("movb (%1), %b0", : "=q"(val) : "r"(at) : "memory");
		break;
	case 3:
		TRY("movb $1, (%0)", : : "r"(at) : "memory");
		break;
	case 4:
		TRY("movw (%1), %w0", : "=r"(val) : "r"(at) : "memory");
		break;
	case 5:
		TRY("movw $1, (%0)", : : "r"(at) : "memory");
		break;
	case 8:
		TRY("movl (%1), %k0", : "=r"(val) : "r"(at) : "memory");
		break;
	case 9:
		TRY("movl $1, (%0)", : : "r"(at) : "memory");
		break;
	case 16:
		TRY(FOR_WIDTH("movl", "movq") " (%1), %0",
		    : "=r"(val)
		    : "r"(at)
		    : "memory");
		break;
	default:
		TRY(FOR_WIDTH("movl", "movq") " $1, (%0)",
		    :
		    : "r"(at)
		    : "memory");
	}
	if (fault.vector == NO_FAULT)
		return 0;
	expect_trap(DB, 0);
	return fault.dr6 & DR6_BITS;
}

/* [1] 18.2.5: every overlap counts, whatever the access begins at. */
static void test_overlap(void)
{
	static const u8 widths[] = {1, 2, 4, sizeof(ulong)};

	for (unsigned i = 0; i < ARRAY_SIZE(widths); i++) {
		for (unsigned j = 0; j < ARRAY_SIZE(widths); j++) {
			unsigned len = widths[i], width = widths[j];

			watch(0, (ulong)data + 16, WRITE, len);
			watch(3, (ulong)data + 16, ACCESS, len);
			for (unsigned off = 6; off < 28; off++) {
				bool hit = off < 16 + len && 16 < off + width;

				expect_eq(touch(off, width, true),
					  hit ? DR6_B0 | DR6_B3 : 0);
				expect_eq(touch(off, width, false),
					  hit ? DR6_B3 : 0);
			}
		}
	}
	watch_none();
	/* The address is aligned to the length. */
	watch(1, (ulong)data + 18, ACCESS, 4);
	expect_eq(touch(16, 1, false), DR6_B1);
	expect_eq(touch(19, 1, false), DR6_B1);
	expect_eq(touch(20, 1, false), 0);
	watch_none();
}

/* [1] 18.2.5: whatever instruction it is that reads or writes. */
static void test_accesses(void)
{
	ulong from = (ulong)data, to = (ulong)data + 32, count = 10;
	ulong stack = (ulong)page_alloc() + 2048;

	watch(2, from, WRITE, 4);
	TRY("lock incl %0", : "+m"(*(u32 *)data) : : "memory", "cc");
	expect_trap(DB, 0);
	expect_eq(fault.dr6 & DR6_BITS, DR6_B2);
	/* CMPXCHG writes in any case, [2]. */
	TRY("lock cmpxchg %1, %0",
	    : "+m"(*(u32 *)data)
	    : "r"(1), "a"(0x12345)
	    : "memory", "cc");
	expect_trap(DB, 0);
	TRY("cmpl $0, %0", : : "m"(*(u32 *)data) : "memory", "cc");
	expect_no_fault();
	watch(2, stack - sizeof(ulong), WRITE, sizeof(ulong));
	TRY("mov %0, %%" FOR_WIDTH("esp", "rsp") "; push $1",
	    :
	    : "r"(stack)
	    : "memory");
	expect_trap(DB, 0);
	watch_none();

	watch(0, from + 5, ACCESS, 1);
	TRY("movsb",
	    : "=S"(from), "=D"(to)
	    : "0"(from + 5), "1"(to)
	    : "memory");
	expect_trap(DB, 0);
	watch(0, (ulong)data + 37, WRITE, 1);
	from = (ulong)data;
	to = (ulong)data + 32;
	/* After that iteration, or a few later where strings are fast:
	 * [1] 18.2.5; the registers say what is done. */
	TRY("rep movsb", : "+S"(from), "+D"(to), "+c"(count) : : "memory");
	expect_eq(fault.vector, DB);
	expect_eq(fault.dr6 & DR6_BITS, DR6_B0);
	expect(count <= 4);
	expect_eq(fault.ip, count ? try_start : try_end);
	expect_eq(from, (ulong)data + 10 - count);
	expect_eq(to, (ulong)data + 42 - count);
	watch_none();
}

static void test_enable(void)
{
	watch(0, (ulong)data, WRITE, 1);
	dr7_write(dr7 ^ 3); /* G0 instead of L0 */
	expect_eq(touch(0, 1, true), DR6_B0);
	dr7_write(dr7 & ~3ul);
	expect_eq(touch(0, 1, true), 0);
	watch_none();
	/* [1] figure 18-1: bits that are always 1, and 0. */
	expect_eq(dr7_read(), 0x400);
	dr6_write(0);
	expect_eq(dr6_read() & ~BIT(11), 0xffff07f0);
	dr6_write(0xffffffff);
	expect_eq(dr6_read() & 0x1000, 0);
	expect_eq(dr6_read() & DR6_BITS, DR6_BITS);
	dr6_write(0xffff0ff0);
}

/* [3] 6.8.3: the trap of MOV SS's own operand waits with it. */
static void test_mov_ss(void)
{
	static u16 selector = KERNEL_DATA;

	watch(1, (ulong)&selector, ACCESS, 2);
	TRY("mov %0, %%ss; nop; nop", : : "m"(selector) : "memory");
	expect_fault_ip(DB, 0, try_end - 1);
	expect_eq(fault.dr6 & DR6_BITS, DR6_B1);
	watch_none();
}

/* ---- code -------------------------------------------------------------- */

SNIPPET(code, "code_0: nop\n"
	      "code_1: xor %ecx, %ecx\n"
	      "code_2: add $1, %ecx\n"
	      "	cmp $3, %ecx\n"
	      "	jne code_2\n"
	      "code_3: ");
LABEL(code_0);
LABEL(code_1);
LABEL(code_2);
LABEL(code_3);

SNIPPET(code_rep, "mov $9, %ecx\n"
		  "lea buffer, " DI "\n"
		  "code_rep_1: rep stosb\n"
		  "code_rep_2: nop");
LABEL(code_rep_1);
LABEL(code_rep_2);

SNIPPET(code_ss, "mov %ss, %eax\n"
		 "mov %eax, %ss\n"
		 "code_ss_1: nop\n"
		 "code_ss_2: nop");
LABEL(code_ss_1);
LABEL(code_ss_2);

SNIPPET(code_fault, "nop\n"
		    "code_fault_1: ud2\n"
		    "nop");
LABEL(code_fault_1);

static void skip_two(struct frame *frame)
{
	expect_eq(debug_log.count, 1);
	frame->ip += 2;
}

/* [1] 18.3.1.1: before the instruction, and before its faults; RF gets over
 * it once, for a repeated one until it is done. */
static void test_code(void)
{
	watch(0, (ulong)code_0, EXEC, 1);
	watch(1, (ulong)code_2, EXEC, 1);
	watch(2, (ulong)code_3, EXEC, 1);
	watch(3, (ulong)code_2 + 1, EXEC, 1); /* not where one begins */
	debug_run(code, false);
	expect_count(5);
	expect_debug(0, code_0, DR6_B0);
	expect_debug(1, code_2, DR6_B1);
	expect_debug(2, code_2, DR6_B1);
	expect_debug(3, code_2, DR6_B1);
	expect_debug(4, code_3, DR6_B2);
	expect_eq(debug_log.cx[1], 0);
	expect_eq(debug_log.cx[3], 2);
	watch_none();
	debug_run(code, false);
	expect_count(0);

	watch(0, (ulong)code_rep_1, EXEC, 1);
	watch(1, (ulong)code_rep_2, EXEC, 1);
	debug_run(code_rep, false);
	expect_count(2);
	expect_debug(0, code_rep_1, DR6_B0);
	expect_debug(1, code_rep_2, DR6_B1);
	expect_eq(debug_log.cx[0], 9);

	watch(0, (ulong)code_fault_1, EXEC, 1);
	handler_set(UD, skip_two);
	debug_run(code_fault, false);
	handler_set(UD, NULL);
	expect_count(1);
	expect_debug(0, code_fault_1, DR6_B0);
	/* [3] 6.8.3 */
	watch(0, (ulong)code_ss_1, EXEC, 1);
	watch(1, (ulong)code_ss_2, EXEC, 1);
	debug_run(code_ss, false);
	expect_count(1);
	expect_debug(0, code_ss_2, DR6_B1);
	watch_none();
}

SNIPPET(both, "both_1: movb $1, buffer\n"
	      "both_2: nop");
LABEL(both_1);
LABEL(both_2);

/* A step and a breakpoint on data at once are one exception. */
static void test_both(void)
{
	watch(2, (ulong)buffer, WRITE, 1);
	debug_run(both, true);
	expect_count(7);
	expect_debug(2, both_1, DR6_BS);
	expect_debug(3, both_2, DR6_BS | DR6_B2);
	watch_none();
}

/* ---- ports ------------------------------------------------------------- */

enum { FREE_PORT = 0x80 };

static ulong touch_port(u16 port, u8 *text)
{
	ulong si = (ulong)text;

	if (text)
		TRY("outsb", : "+S"(si) : "d"(port) : "memory");
	else
		TRY("in %%dx, %%al", : : "d"(port) : "eax", "memory");
	if (fault.vector == NO_FAULT)
		return 0;
	expect_trap(DB, 0);
	return fault.dr6 & DR6_BITS;
}

/* [1] 18.2.4: R/W 10 with CR4.DE. */
static void test_ports(void)
{
	u8 text[] = {0};

	cr4_write(cr4_read() | CR4_DE);
	watch(0, FREE_PORT, PORT, 1);
	expect_eq(touch_port(FREE_PORT, NULL), DR6_B0);
	expect_eq(touch_port(FREE_PORT, text), DR6_B0);
	expect_eq(touch_port(FREE_PORT + 1, NULL), 0);
	watch(1, FREE_PORT, PORT, 4);
	expect_eq(touch_port(FREE_PORT, NULL), DR6_B0 | DR6_B1);
	expect_eq(touch_port(FREE_PORT + 3, NULL), DR6_B1);
	expect_eq(touch_port(FREE_PORT + 4, NULL), 0);
	/* Memory of the same address is another matter. */
	expect_eq(touch(0, 1, true), 0);
	watch_none();
	expect_eq(touch_port(FREE_PORT, NULL), 0);
	cr4_write(cr4_read() & ~CR4_DE);
}

BLOB(user_write, "push $1\n nop");

static void test_user(void)
{
	watch(0, user_stack() - sizeof(ulong), WRITE, 4);
	user_run(user_write, user_write_end, 0);
	expect_fault_ip(DB, 0, user_text() + 2);
	expect_eq(fault.cs & 3, 3);
	expect_eq(fault.dr6 & DR6_BITS, DR6_B0);
	watch_none();
}

void test_watch(void)
{
	if (lax("breakpoints"))
		return;
	test_overlap();
	test_accesses();
	test_enable();
	test_mov_ss();
	test_code();
	test_both();
	test_ports();
	test_user();
}
