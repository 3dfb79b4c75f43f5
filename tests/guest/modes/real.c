/* SPDX-License-Identifier: Apache-2.0 */
/* Real mode; see modes.h. */
#include "modes.h"

enum { MAGIC = 0x1badb002, IMAGE = 0x100000 };

static struct real_regs regs;

/* Runs a blob with eax to edx as given. */
#define RUN(name, a, b, c, d)                           \
	do {                                            \
		regs = (struct real_regs){.eax = (a),   \
					  .ebx = (b),   \
					  .ecx = (c),   \
					  .edx = (d),   \
					  .eflags = 2}; \
		real_run(name, name##_end, &regs);      \
	} while (0)

REAL_BLOB(add16, "add %bx, %ax\n");
REAL_BLOB(add32, "addl %ebx, %eax\n");
REAL_BLOB(high, "mov %ax, %ds\n"
		"mov 0x10, %eax\n"
		"mov %bx, %ds");
REAL_BLOB(big, "movl %fs:(%ebx), %eax");
REAL_BLOB(offsets, "movw $0x1234, (%bx,%si)\n"
		   "movw (%bx,%si), %ax\n"
		   "lea -1(%bx), %dx");
REAL_BLOB(machine_word, "smsw %ax");
REAL_BLOB(far_jump, "ljmp $0x900, $1f - far_jump\n"
		    "1: mov %cs, %ax\n"
		    "call 2f\n"
		    "2: pop %bx");
REAL_BLOB(wrap, "mov %sp, %bp\n"
		"mov $0, %sp\n"
		"push %ax\n"
		"mov %sp, %dx\n"
		"pop %bx\n"
		"mov %bp, %sp");
REAL_BLOB(loops, "xor %ax, %ax\n"
		 "1: inc %ax\n"
		 "loop 1b\n"
		 "mov $0x10000, %ecx\n"
		 "jcxz 2f\n"
		 "mov $0, %ax\n"
		 "2:");
REAL_BLOB(string, "rep movsb");

static void test_operands(void)
{
	RUN(add16, 0x1111ffff, 2, 0, 0);
	expect_eq(regs.eax, 0x11110001);
	expect_eq(regs.eflags & EFLAGS_CF, EFLAGS_CF);
	RUN(add32, 0x1111ffff, 2, 0, 0);
	expect_eq(regs.eax, 0x11120001);
	RUN(offsets, 0, REAL_DATA, 0, 0);
	expect_eq(regs.eax, 0x1234);
	expect_eq(regs.edx, REAL_DATA - 1);
	RUN(machine_word, 0, 0, 0, 0);
	expect_eq(regs.eax & 1, 0);
	RUN(loops, 0, 0, 5, 0);
	expect_eq(regs.eax, 5);
	/* LOOP counts with CX: 0x10000 is 0, and goes round. */
	RUN(loops, 0, 0, 0x10003, 0);
	expect_eq(regs.eax, 3);
}

static void test_addresses(void)
{
	/* 0xffff:0x10 is the first byte beyond 1 MiB: nothing masks it. */
	RUN(high, 0xffff, 0, 0, 0);
	expect_eq(regs.eax, MAGIC);
	RUN(big, 0, IMAGE, 0, 0);
	expect_eq(regs.eax, MAGIC);
	RUN(far_jump, 0, 0, 0, 0);
	expect_eq(regs.eax, 0x900);
	expect(regs.ebx < 0x100);
	/* The stack pointer goes round in 16 bits. */
	RUN(wrap, 0x5a5a, 0, 0, 0);
	expect_eq(regs.ebx, 0x5a5a);
	expect_eq(regs.edx, 0xfffe);
	*(volatile u32 *)REAL_DATA = 0x44332211;
	*(volatile u32 *)(REAL_DATA + 16) = 0;
	regs = (struct real_regs){.esi = REAL_DATA,
				  .ecx = 0xabcd0004,
				  .edi = REAL_DATA + 16,
				  .eflags = 2};
	real_run(string, string_end, &regs);
	expect_eq(*(volatile u32 *)(REAL_DATA + 16), 0x44332211);
	expect_eq(regs.ecx, 0xabcd0000);
	expect_eq(regs.esi, REAL_DATA + 4);
}

/* Vectors 0, 6 and 13 come here: dx says which, cx where; the handler goes on
 * at the label. */
#define HANDLERS                                                        \
	"jmp 1f\n"                                                      \
	".balign 16\n"                                                  \
	"mov $0, %dx\n jmp 5f\n .balign 16\n"  /* at 0x10: vector 0 */  \
	"mov $6, %dx\n jmp 5f\n .balign 16\n"  /* at 0x20: vector 6 */  \
	"mov $13, %dx\n jmp 5f\n .balign 16\n" /* at 0x30: vector 13 */ \
	"mov $12, %dx\n jmp 5f\n .balign 16\n" /* at 0x40: vector 12 */ \
	"5: pop %cx\n add $4, %sp\n jmp 9f\n"                           \
	"1: mov $99, %dx\n"

REAL_BLOB(interrupts, "jmp 1f\n"
		      ".balign 16\n" /* at 0x10 */
		      "pushf\n pop %bx\n"
		      "mov %sp, %bp\n"
		      "mov 4(%bp), %cx\n" /* flags that were pushed */
		      "mov 2(%bp), %dx\n" /* cs */
		      "incl %eax\n"
		      "iret\n"
		      "1: sti\n"
		      "int $0x40\n"
		      "pushf\n pop %si\n"
		      "cli");
REAL_BLOB(divide, HANDLERS "xor %cl, %cl\n"
			   "7: div %cl\n"
			   "9: sub $7b - divide + 0x9000, %cx");
REAL_BLOB(undefined, HANDLERS "7: sldt %ax\n"
			      "9: sub $7b - undefined + 0x9000, %cx");
/* andn %edx, %ecx, %eax; in real mode LES with a register: no VEX there. */
REAL_BLOB(vex, HANDLERS "7: .byte 0xc4, 0xe2, 0x70, 0xf2, 0xc2\n"
			"9: sub $7b - vex + 0x9000, %cx");
REAL_BLOB(beyond, HANDLERS "mov $0xffff, %bx\n"
			   "7: mov (%bx), %ax\n"
			   "9: sub $7b - beyond + 0x9000, %cx");
REAL_BLOB(beyond_stack, HANDLERS "mov %sp, %di\n"
				 "mov $0xffff, %bp\n"
				 "7: mov (%bp), %ax\n"
				 "9: sub $7b - beyond_stack + 0x9000, %cx");

/* [1] 21.1.4: flags, CS and IP in words, IF and TF cleared, no error code. */
static void test_interrupts(void)
{
	*real_vector(0x40) = REAL_CODE + 0x10;
	RUN(interrupts, 7, 0, 0, 0);
	expect_eq(regs.eax, 8);
	expect_eq(regs.ebx & EFLAGS_IF, 0);
	expect_eq(regs.ecx & EFLAGS_IF, EFLAGS_IF);
	expect_eq(regs.edx, 0);
	expect_eq(regs.esi & EFLAGS_IF, EFLAGS_IF);

	*real_vector(DE) = REAL_CODE + 0x10;
	*real_vector(UD) = REAL_CODE + 0x20;
	*real_vector(GP) = REAL_CODE + 0x30;
	*real_vector(SS) = REAL_CODE + 0x40;
	RUN(divide, 1, 0, 0, 0);
	expect_eq(regs.edx, DE);
	expect_eq((u16)regs.ecx, 0);
	RUN(undefined, 1, 0, 0, 0);
	expect_eq(regs.edx, UD);
	expect_eq((u16)regs.ecx, 0);
	RUN(vex, 1, 0, 0, 0);
	expect_eq(regs.edx, UD);
	expect_eq((u16)regs.ecx, 0);
	if (lax("seg-limit"))
		return;
	RUN(beyond, 1, 0, 0, 0);
	expect_eq(regs.edx, GP);
	expect_eq((u16)regs.ecx, 0);
	RUN(beyond_stack, 1, 0, 0, 0);
	expect_eq(regs.edx, SS);
	expect_eq((u16)regs.ecx, 0);
}

void test_real(void)
{
	test_operands();
	test_addresses();
	test_interrupts();
}
