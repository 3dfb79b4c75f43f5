/* SPDX-License-Identifier: Apache-2.0 */
/* NMI. */
#include "interrupts.h"

static volatile unsigned nmis, depth, deepest;
static unsigned resend;
static bool iret_inside;

static void send_nmi(void)
{
	apic_send(0, ICR_NMI | ICR_ASSERT | ICR_SELF);
}

static void nmi(struct frame *frame)
{
	unsigned before = ++nmis;

	depth++;
	if (depth > deepest)
		deepest = depth;
	take_note(frame);
	for (; resend; resend--)
		send_nmi();
	__asm__ volatile("nop; nop; nop");
	/* [1] 6.7.1: held back, not taken. */
	expect_eq(nmis, before);
	if (iret_inside) {
		iret_inside = false;
		send_nmi();
		/* Any IRET lets the next one in, also this one's. */
		__asm__ volatile("int3");
		__asm__ volatile("nop");
		expect_eq(nmis, before + 1);
	}
	depth--;
}

static void ignore(struct frame *frame)
{
}

static void reset(void)
{
	nmis = depth = deepest = 0;
	taken_reset();
}

void test_nmi(void)
{
	handler_set(NMI, nmi);
	handler_set(BP, ignore);
	/* IF does not matter. */
	reset();
	irq_disable();
	send_nmi();
	__asm__ volatile("nop");
	expect_eq(nmis, 1);
	irq_enable();
	send_nmi();
	__asm__ volatile("nop");
	irq_disable();
	expect_eq(nmis, 2);
	/* Three while one is handled: one more, at the same place. */
	reset();
	resend = 3;
	send_nmi();
	__asm__ volatile("nop; nop");
	expect_eq(nmis, 2);
	expect_eq(deepest, 1);
	expect_eq(taken_ip[0], taken_ip[1]);
	/* And it is not masked for good. */
	send_nmi();
	__asm__ volatile("nop");
	expect_eq(nmis, 3);
	reset();
	iret_inside = true;
	send_nmi();
	__asm__ volatile("nop");
	expect_eq(nmis, 2);
	expect_eq(deepest, 2);
	/* [1] 6.9: before a maskable interrupt, if both are there. */
	reset();
	resend = 1;
	raise_irq(MIDDLE);
	send_nmi();
	__asm__ volatile("nop");
	drain();
	expect_eq(taken_count, 3);
	expect_eq(taken[0], NMI);
	expect_eq(taken[1], NMI);
	expect_eq(taken[2], MIDDLE);
	handler_set(NMI, NULL);
	handler_set(BP, NULL);
}
