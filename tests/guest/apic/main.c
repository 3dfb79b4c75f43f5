/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt controllers; see apic_test.h. */
#include "apic_test.h"

volatile unsigned hits[CPUS_MAX];
volatile u32 ids[CPUS_MAX];

void hits_reset(void)
{
	for (unsigned i = 0; i < CPUS_MAX; i++)
		hits[i] = 0;
}

unsigned hits_total(void)
{
	unsigned total = 0;

	for (unsigned i = 0; i < CPUS_MAX; i++)
		total += hits[i];
	return total;
}

void send_self(u8 vector)
{
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_SELF | vector);
}

void drain(void)
{
	irq_enable();
	__asm__ volatile("nop; nop");
	irq_disable();
}

bool apic_bit(enum apic_register base, u8 vector)
{
	u32 word = apic_read((enum apic_register)(base + vector / 32 * 16));

	return word >> (vector & 31) & 1;
}

int main(void)
{
	pic_mask_all();
	apic_enable();
	test_registers();
	test_lines();
	test_x2apic();
	apic_set_x2(false);
	test_deliver();
	return 0;
}
