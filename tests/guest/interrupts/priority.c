/* SPDX-License-Identifier: Apache-2.0 */
/* Which interrupt comes first, and which has to wait. */
#include "interrupts.h"

static volatile u32 ppr_inside, isr_inside;

static bool bit(enum apic_register base, u8 vector)
{
	u32 word = apic_read((enum apic_register)(base + vector / 32 * 16));

	return word >> (vector & 31) & 1;
}

static void take(struct frame *frame)
{
	take_note(frame);
	apic_eoi();
}

/* Notes, then lets others in before it says that it is done. */
static void nest(struct frame *frame)
{
	take_note(frame);
	ppr_inside = apic_read(APIC_PPR);
	isr_inside = bit(APIC_ISR, (u8)frame->vector);
	raise_irq(LOW);
	raise_irq(MIDDLE2);
	raise_irq(HIGH);
	drain();
	apic_eoi();
	drain();
}

/* [1] 11.8.3: by class, then by vector, from the highest. */
static void test_order(void)
{
	taken_reset();
	raise_irq(MIDDLE);
	raise_irq(LOW);
	raise_irq(HIGH);
	raise_irq(MIDDLE2);
	raise_irq(MIDDLE); /* a second one before the first is taken */
	expect(bit(APIC_IRR, MIDDLE));
	expect(bit(APIC_IRR, LOW));
	drain();
	expect_eq(taken_count, 4);
	expect_eq(taken[0], HIGH);
	expect_eq(taken[1], MIDDLE2);
	expect_eq(taken[2], MIDDLE);
	expect_eq(taken[3], LOW);
	expect(!bit(APIC_IRR, MIDDLE));
}

/* [1] 11.8.3.1: while one is in service, only a higher class interrupts. */
static void test_nesting(void)
{
	taken_reset();
	handler_set(MIDDLE, nest);
	raise_irq(MIDDLE);
	drain();
	handler_set(MIDDLE, take);
	expect_eq(ppr_inside, MIDDLE);
	expect_eq(isr_inside, 1);
	expect_eq(taken_count, 4);
	expect_eq(taken[1], HIGH);
	expect_eq(taken[2], MIDDLE2);
	expect_eq(taken[3], LOW);
	expect_eq(apic_read(APIC_PPR), 0);
	expect(!bit(APIC_ISR, MIDDLE));
}

/* [1] 11.8.3.1: TPR holds back its class and below. */
static void test_task_priority(void)
{
	taken_reset();
	apic_write(APIC_TPR, MIDDLE);
	expect_eq(apic_read(APIC_PPR), MIDDLE);
	raise_irq(LOW);
	raise_irq(MIDDLE2);
	drain();
	expect_eq(taken_count, 0);
	raise_irq(HIGH);
	drain();
	expect_eq(taken_count, 1);
	expect_eq(taken[0], HIGH);
	/* Lowered with IF open, it lets them in at once. */
	irq_enable();
	apic_write(APIC_TPR, LOW);
	__asm__ volatile("nop");
	expect_eq(taken_count, 2);
	apic_write(APIC_TPR, 0);
	__asm__ volatile("nop");
	irq_disable();
	expect_eq(taken_count, 3);
	expect_eq(taken[1], MIDDLE2);
	expect_eq(taken[2], LOW);
}

#define SET_CR8 FOR_WIDTH("nop # %0", "mov %0, %%cr8")
#define GET_CR8 FOR_WIDTH("mov $7, %0", "mov %%cr8, %0")

/* [1] 11.8.6: CR8 is bits 7 to 4 of TPR. 64-bit builds. */
static void test_cr8(void)
{
	ulong val;

	taken_reset();
	__asm__ volatile(SET_CR8 : : "r"(5ul));
	expect_eq(apic_read(APIC_TPR), 0x50);
	raise_irq(MIDDLE);
	drain();
	expect_eq(taken_count, 0);
	apic_write(APIC_TPR, 0x73);
	__asm__ volatile(GET_CR8 : "=r"(val));
	expect_eq(val, 7);
	irq_enable();
	__asm__ volatile(SET_CR8 "\n nop" : : "r"(4ul));
	irq_disable();
	expect_eq(taken_count, 1);
	__asm__ volatile(SET_CR8 : : "r"(0ul));
	TRY(SET_CR8, : : "r"(16ul));
	if (!lax_fault("cr8", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
}

void test_priority(void)
{
	test_order();
	test_nesting();
	test_task_priority();
	if (FOR_WIDTH(0, 1))
		test_cr8();
}
