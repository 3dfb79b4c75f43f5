/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts; see interrupts.h. */
#include "interrupts.h"

volatile unsigned taken_count;
volatile u32 taken[LIMIT];
volatile ulong taken_ip[LIMIT];

void taken_reset(void)
{
	taken_count = 0;
}

void take_note(struct frame *frame)
{
	unsigned at = taken_count++;

	if (at < LIMIT) {
		taken[at] = (u32)frame->vector;
		taken_ip[at] = frame->ip;
	}
}

static void take(struct frame *frame)
{
	take_note(frame);
	apic_eoi();
}

void raise_irq(u8 vector)
{
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_SELF | vector);
}

void drain(void)
{
	irq_enable();
	__asm__ volatile("nop; nop");
	irq_disable();
}

int main(void)
{
	pic_mask_all();
	apic_enable();
	handler_set(LOW, take);
	handler_set(MIDDLE, take);
	handler_set(MIDDLE2, take);
	handler_set(HIGH, take);
	test_shadows();
	test_nmi();
	test_priority();
	return 0;
}
