/* SPDX-License-Identifier: Apache-2.0 */
/* 16-bit protected mode, gates between rings, and questions about selectors;
 * see modes.h. */
#include "modes.h"

enum {
	CODE16 = SPARE,
	STACK16 = SPARE + 8,
	CALL_GATE = SPARE + 16,
	CONFORMING = SPARE + 24,
	TABLE = SPARE + 32,
	USER_NOWRITE = (SPARE + 40) | 3,
};

BLOB_CODE(code16, 16,
	  "push %ax\n" /* 16 bits wide: a word */
	  "mov %sp, %bx\n"
	  "pop %cx\n"
	  "mov $0x5678, %ax\n"
	  "movl $0x12345678, %edx\n"
	  "lretl");

/* A far call into a 16-bit segment whose base is the code. */
static void test_code16(void)
{
	struct {
		u32 offset;
		u16 selector;
	} __attribute__((packed)) target = {0, CODE16};
	ulong a = 0xaaaa0000, b = 0xbbbb0000, c = 0xcccc0000, d = 0;

	gdt_set(CODE16, segment((u32)(ulong)code16, 0xfff, SEG_EXEC));
	__asm__ volatile("lcall *%4"
			 : "+a"(a), "+b"(b), "+c"(c), "+d"(d)
			 : "m"(target)
			 : "memory");
	expect_eq(a, 0xaaaa5678);
	expect_eq(b >> 16, 0xbbbb);
	expect_eq(c, 0xcccc0000);
	expect_eq(d, 0x12345678);
	/* Beyond the limit of the segment. */
	target.offset = 0x1000;
	TRY("lcall *%0", : : "m"(target) : "memory");
	if (!lax_fault("far-limit", GP, CODE16, try_start))
		expect_fault(GP, 0);
}

/* [1] 3.4.5: B clear, the stack pointer is SP and the rest stays. */
static void test_stack16(void)
{
	static u32 words[4];
	ulong sp;

	gdt_set(STACK16, segment((u32)(ulong)words, 0xffff, SEG_DATA));
	TRY("mov %w1, %%ss\n"
	    "mov $0x12340008, %%esp\n"
	    "push $0x55\n"
	    "mov %%esp, %0\n"
	    "mov %w2, %%ss\n"
	    "mov try_sp, %%esp",
	    : "=&r"(sp)
	    : "r"(STACK16), "r"(KERNEL_DATA)
	    : "memory");
	expect_no_fault();
	expect_eq(sp, 0x12340004);
	expect_eq(words[1], 0x55);
}

BLOB(user_call, "push $0x1111\n"
		"push $0x2222\n"
		"lcall $0x73, $0\n"
		"mov %esp, %ecx\n"
		"mov %cs, %edx");

__asm__(".text\n"
	"gate_target:\n"
	"	mov	%esp, gate_sp\n"
	"	mov	8(%esp), %eax\n"
	"	mov	%eax, gate_words\n"
	"	mov	12(%esp), %eax\n"
	"	mov	%eax, gate_words + 4\n"
	"	mov	%cs, gate_cs\n"
	"	lret	$8\n");
u32 gate_sp, gate_words[2];
u16 gate_cs;

/* [1] 5.8.5: to ring 0 with two words of parameters, and back. */
static void test_call_gate(void)
{
	ulong target = (ulong)gate_target;

	gdt_set(CALL_GATE, (target & 0xffff) | (u64)KERNEL_CODE << 16 |
				   2ull << 32 |
				   (u64)(GATE_CALL | GATE_DPL3) << 32 |
				   (u64)(target >> 16) << 48);
	user_run(user_call, user_call_end, 0);
	expect_eq(fault.vector, BP);
	expect_eq(gate_words[0], 0x2222);
	expect_eq(gate_words[1], 0x1111);
	expect_eq(gate_cs, KERNEL_CODE);
	expect_eq(fault.frame.dx, USER_CODE32);
	expect_eq(fault.frame.cx, user_stack());
	/* A gate above the caller. */
	gdt_set(CALL_GATE, gdt_get(CALL_GATE) & ~((u64)GATE_DPL3 << 32));
	user_run(user_call, user_call_end, 0);
	expect_eq(fault.vector, GP);
	expect_eq(fault.error, CALL_GATE);
}

BLOB(user_conform, "lcall $0x7b, $0\n");
__asm__(".text\n"
	"conforming_target:\n"
	"	mov	%cs, %eax\n"
	"	lret\n");

/* [1] 5.8.1.2: a conforming segment runs at the caller's level. */
static void test_conforming(void)
{
	gdt_set(CONFORMING, segment((u32)(ulong)conforming_target, 0xfff,
				    SEG_EXEC | SEG_D | SEG_DOWN));
	user_run(user_conform, user_conform_end, 0);
	expect_eq(fault.vector, BP);
	expect_eq(fault.frame.ax, CONFORMING | 3);
	gdt_set(CONFORMING, segment((u32)(ulong)conforming_target, 0xfff,
				    SEG_EXEC | SEG_D));
	user_run(user_conform, user_conform_end, 0);
	expect_eq(fault.vector, GP);
	expect_eq(fault.error, CONFORMING);
}

static bool verify_read(u16 selector)
{
	bool fine;

	__asm__("verr %w1" : "=@ccz"(fine) : "r"(selector));
	return fine;
}

static bool verify_write(u16 selector)
{
	bool fine;

	__asm__("verw %w1" : "=@ccz"(fine) : "r"(selector));
	return fine;
}

static void test_questions(void)
{
	ulong val = 0;
	bool fine;

	expect(verify_read(KERNEL_CODE));
	expect(!verify_write(KERNEL_CODE));
	expect(verify_write(KERNEL_DATA));
	expect(!verify_read(0));
	expect(!verify_read(TASK));
	expect(!verify_write(KERNEL_DATA | 3));
	__asm__("lsl %2, %0" : "+r"(val), "=@ccz"(fine) : "r"((ulong)TASK));
	expect(fine);
	expect_eq(val, 103);
	__asm__("lsl %2, %0"
		: "+r"(val), "=@ccz"(fine)
		: "r"((ulong)KERNEL_DATA));
	expect(fine);
	expect_eq(val, 0xffffffff);
	__asm__("lar %2, %0"
		: "+r"(val), "=@ccz"(fine)
		: "r"((ulong)KERNEL_DATA));
	expect(fine);
	expect_eq(val & 0xf0ff00, 0xc09300);
	__asm__("lar %2, %0" : "+r"(val), "=@ccz"(fine) : "r"(0x7ff8ul));
	expect(!fine);
	val = KERNEL_DATA;
	__asm__("arpl %w2, %w0" : "+r"(val), "=@ccz"(fine) : "r"(3));
	expect(fine);
	expect_eq(val, KERNEL_DATA | 3);
	__asm__("arpl %w2, %w0" : "+r"(val), "=@ccz"(fine) : "r"(2));
	expect(!fine);
	expect_eq(val, KERNEL_DATA | 3);
}

/* A local table of one entry. */
static void test_local_table(void)
{
	static u64 table[1];
	u32 val = 0;

	table[0] = segment((u32)(ulong)&gate_words, 0xf, SEG_DATA | SEG_D);
	gdt_set(TABLE, segment((u32)(ulong)table, sizeof(table) - 1,
			       SEG_P | 2ull << 40));
	gate_words[1] = 0x77665544;
	__asm__ volatile("lldt %w0" : : "r"(TABLE));
	TRY("mov %w1, %%fs; mov %%fs:4, %0", : "=r"(val) : "r"(4) : "memory");
	expect_no_fault();
	expect_eq(val, 0x77665544);
	TRY("mov %w0, %%fs", : : "r"(12) : "memory");
	expect_fault(GP, 12);
	__asm__ volatile("mov %w0, %%fs; lldt %w0" : : "r"(0));
}

void test_width(void)
{
	test_code16();
	test_stack16();
	test_call_gate();
	test_conforming();
	test_questions();
	test_local_table();
}
