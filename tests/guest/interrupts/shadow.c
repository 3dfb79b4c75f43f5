/* SPDX-License-Identifier: Apache-2.0 */
/* IF, and the instructions after which no interrupt comes. */
#include "interrupts.h"

#include "user.h"

#define SP FOR_WIDTH("%esp", "%rsp")
#define AX FOR_WIDTH("%eax", "%rax")
#define IRET FOR_WIDTH("iret", "iretq")

SNIPPET(sti_nop, "sti\n"
		 "sti_nop_1: nop\n"
		 "sti_nop_2: nop\n"
		 "cli");
LABEL(sti_nop_2);
SNIPPET(sti_cli, "sti\n cli\n nop");
SNIPPET(sti_sti, "sti\n sti\n"
		 "sti_sti_1: nop\n"
		 "cli");
LABEL(sti_sti_1);
SNIPPET(sti_hlt, "sti\n hlt\n"
		 "sti_hlt_1: cli");
LABEL(sti_hlt_1);
SNIPPET(sti_jump, "sti\n jmp sti_jump_1\n"
		  "nop\n"
		  "sti_jump_1: nop\n"
		  "cli");
LABEL(sti_jump_1);
SNIPPET(sti_popf, "pushf\n sti\n popf\n nop");
SNIPPET(popf_open, "pushf\n orl $0x200, (" SP ")\n popf\n"
		   "popf_open_1: nop\n"
		   "cli");
LABEL(popf_open_1);
SNIPPET(iret_open,
	FOR_WIDTH("",
		  "mov %rsp, %rax\n push $0x10\n push %rax\n") "pushf\n orl "
							       "$0x200, (" SP
							       ")\n push $8\n "
							       "push "
							       "$iret_open_"
							       "1\n" IRET "\n"
							       "iret_open_1: "
							       "nop\n"
							       "cli");
LABEL(iret_open_1);
/* STI's shadow is over for the second of two. */
SNIPPET(sti_fault, "sti\n"
		   "sti_fault_1: ud2\n"
		   "sti_fault_2: nop\n cli");
LABEL(sti_fault_1);
LABEL(sti_fault_2);

/* Runs it with an interrupt pending; where it came, 0 for not at all. */
static ulong where(void (*snippet)(void))
{
	ulong ip;

	taken_reset();
	raise_irq(MIDDLE);
	snippet();
	expect(!(flags_read() & EFLAGS_IF));
	expect(taken_count <= 1);
	ip = taken_count ? taken_ip[0] : 0;
	drain();
	expect_eq(taken_count, 1);
	return ip;
}

static void get_over_it(struct frame *frame)
{
	/* The fault came first, and its frame has IF open. */
	expect_eq(taken_count, 0);
	expect(frame->flags & EFLAGS_IF);
	frame->ip += 2;
}

/* [2] STI: one instruction more, if IF was clear. POPF, IRET: none. */
static void test_if(void)
{
	expect_eq(where(sti_nop), (ulong)sti_nop_2);
	expect_eq(where(sti_cli), 0);
	expect_eq(where(sti_sti), (ulong)sti_sti_1);
	expect_eq(where(sti_hlt), (ulong)sti_hlt_1);
	expect_eq(where(sti_jump), (ulong)sti_jump_1);
	expect_eq(where(sti_popf), 0);
	expect_eq(where(popf_open), (ulong)popf_open_1);
	expect_eq(where(iret_open), (ulong)iret_open_1);
	/* The instruction in the shadow faults: its handler runs with IF
	 * clear, and after its IRET nothing holds the interrupt back. */
	handler_set(UD, get_over_it);
	expect_eq(where(sti_fault), (ulong)sti_fault_2);
	handler_set(UD, NULL);
}

/* ---- MOV SS, against a timer ------------------------------------------- */

enum { TICKS = 300, TIMER = 0x70 };

static volatile unsigned ticks, inside, in_shadow;

/* Every second instruction is in a MOV SS shadow, and marked by its opcode:
 * 0x90 NOP; the ones where an interrupt may be are 0xfc CLD. */
SNIPPET(mov_ss, ".rept 64\n"
		"	mov %ss, %eax\n"
		"	mov %eax, %ss\n"
		"	nop\n"
		"	cld\n"
		".endr\n"
		"mov_ss_end:");
LABEL(mov_ss_end);
SNIPPET(pop_ss, ".rept 64\n"
		"	push " AX "\n"
		"	cld\n"
		"	pop " AX "\n"
		"	mov %eax, %ss\n"
		"	nop\n"
		".endr\n"
		"pop_ss_end:");
LABEL(pop_ss_end);

static bool is_in(ulong ip, void (*snippet)(void), const u8 *end)
{
	return ip >= (ulong)snippet && ip < (ulong)end;
}

static void tick(struct frame *frame)
{
	ticks++;
	if (is_in(frame->ip, mov_ss, mov_ss_end) ||
	    is_in(frame->ip, pop_ss, pop_ss_end)) {
		inside++;
		in_shadow += *(const volatile u8 *)frame->ip == 0x90;
	}
	apic_eoi();
}

static void timer_start(void)
{
	ticks = 0;
	handler_set(TIMER, tick);
	apic_write(APIC_TIMER_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, TIMER | 0x20000);
	apic_write(APIC_TIMER_INITIAL, 60000);
}

static void timer_stop(void)
{
	apic_write(APIC_LVT_TIMER, 0x10000);
	apic_write(APIC_TIMER_INITIAL, 0);
	drain();
}

static void run_with_ss(void (*snippet)(void))
{
	__asm__ volatile("mov %0, %%" FOR_WIDTH("eax", "rax") "\n\t"
							      "call *%1"
			 :
			 : "r"((ulong)KERNEL_DATA), "c"(snippet)
			 : "eax", "edx", "memory", "cc");
}

/* [1] 6.8.3: none between MOV SS and the end of the next instruction. */
static void test_mov_ss(void)
{
	inside = in_shadow = 0;
	timer_start();
	irq_enable();
	while (inside < TICKS) {
		run_with_ss(mov_ss);
		run_with_ss(pop_ss);
	}
	irq_disable();
	expect(!in_shadow || lax("vmrun-shadow"));
	timer_stop(); /* a last tick, if one waits, comes in a row of NOPs */
}

/* ---- CLI against a timer ----------------------------------------------- */

static volatile ulong shared, added;

static void tick_add(struct frame *frame)
{
	ticks++;
	shared++;
	added++;
	apic_eoi();
}

/* [1] 6.8.1: what runs with IF clear is not interrupted, however often IF is
 * opened for one instruction between. */
static void test_cli(void)
{
	ulong mine = 0;

	shared = added = 0;
	timer_start();
	handler_set(TIMER, tick_add);
	while (ticks < TICKS) {
		ulong val = shared;

		for (unsigned i = 0; i < 20; i++)
			cpu_pause();
		shared = val + 1;
		mine++;
		irq_enable();
		__asm__ volatile("nop");
		irq_disable();
	}
	timer_stop();
	expect_eq(shared, mine + added);
	/* HLT after STI never sleeps past an interrupt that is there. */
	ticks = 0;
	timer_start();
	handler_set(TIMER, tick_add);
	while (ticks < 50)
		irq_wait();
	timer_stop();
	handler_set(TIMER, NULL);
}

/* ---- ring 3 ------------------------------------------------------------ */

BLOB(user_spin, "jmp .");

/* [1] 6.12.1: from ring 3 an interrupt finds the ring 0 stack. */
static void test_user(void)
{
	taken_reset();
	handler_set(MIDDLE, NULL);
	raise_irq(MIDDLE);
	user_flags = 2 | EFLAGS_IF;
	user_run(user_spin, user_spin_end, 0);
	expect_fault_ip(MIDDLE, 0, user_text());
	expect_eq(fault.cs & 3, 3);
	expect_eq(fault.frame.sp, user_stack());
	expect(fault.flags & EFLAGS_IF);
	expect(!(flags_read() & EFLAGS_IF));
	apic_eoi();
}

static void trap_gate(struct frame *frame)
{
	take_note(frame);
	taken_ip[0] = flags_read();
	apic_eoi();
}

/* [1] 6.12.1.3: an interrupt gate clears IF, a trap gate does not. */
static void test_gates(void)
{
	struct table_pointer idt;
	ulong entry;
	u32 *word;

	__asm__ volatile("sidt %0" : "=m"(idt));
	word = (u32 *)(idt.base + MIDDLE * GATE_LEN);
	entry = (word[0] & 0xffff) | (word[1] & 0xffff0000);
	handler_set(MIDDLE, trap_gate);
	taken_reset();
	raise_irq(MIDDLE);
	drain();
	expect_eq(taken_ip[0] & (EFLAGS_IF | EFLAGS_TF), 0);
	gate_set(MIDDLE, KERNEL_CODE, entry, GATE_TRAP);
	taken_reset();
	raise_irq(MIDDLE);
	drain();
	expect_eq(taken_ip[0] & (EFLAGS_IF | EFLAGS_TF), EFLAGS_IF);
	gate_reset(MIDDLE);
}

void test_shadows(void)
{
	test_if();
	test_mov_ss();
	test_cli();
	test_user();
	test_gates();
}
