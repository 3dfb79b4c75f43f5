/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC, in either mode, and the I/O APIC's registers. */
#include "apic.h"

#include "fault.h"

#define APIC_ADDRESS 0xfee00000ul
#define IOAPIC_ADDRESS 0xfec00000ul

enum { MSR_X2APIC = 0x800, SVR_ENABLE = 0x100, FEATURE_X2APIC = 21 };

static bool is_x2(void)
{
	return msr_read(MSR_APIC_BASE) & APIC_BASE_X2;
}

u32 apic_read(enum apic_register reg)
{
	if (is_x2())
		return (u32)msr_read(MSR_X2APIC + reg / 16);
	return *(volatile u32 *)(APIC_ADDRESS + reg);
}

void apic_write(enum apic_register reg, u32 val)
{
	if (is_x2())
		msr_write(MSR_X2APIC + reg / 16, val);
	else
		*(volatile u32 *)(APIC_ADDRESS + reg) = val;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

u32 apic_id(void)
{
	u32 id = apic_read(APIC_ID);

	return is_x2() ? id : id >> 24;
}

void apic_send(u32 dest, u32 icr)
{
	if (is_x2()) {
		msr_write(MSR_X2APIC + APIC_ICR / 16, (u64)dest << 32 | icr);
		return;
	}
	apic_write(APIC_ICR_HIGH, dest << 24);
	apic_write(APIC_ICR, icr);
	while (apic_read(APIC_ICR) & ICR_PENDING)
		cpu_pause();
}

/* A spurious interrupt has no bit in ISR and gets no EOI, [1] 11.9. */
static void ignore(struct frame *frame)
{
}

void apic_enable(void)
{
	handler_set(APIC_SPURIOUS, ignore);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_SVR, SVR_ENABLE | APIC_SPURIOUS);
}

bool apic_set_x2(bool x2)
{
	u64 base = msr_read(MSR_APIC_BASE) & ~(APIC_BASE_X2 | APIC_BASE_ENABLE);

	if (x2 && !(cpuid(1, 0).ecx & BIT(FEATURE_X2APIC)))
		return false;
	msr_write(MSR_APIC_BASE, base);
	msr_write(MSR_APIC_BASE, base | APIC_BASE_ENABLE);
	if (x2)
		msr_write(MSR_APIC_BASE,
			  base | APIC_BASE_ENABLE | APIC_BASE_X2);
	apic_enable();
	return true;
}

u32 ioapic_read(u8 reg)
{
	*(volatile u32 *)IOAPIC_ADDRESS = reg;
	return *(volatile u32 *)(IOAPIC_ADDRESS + 0x10);
}

void ioapic_write(u8 reg, u32 val)
{
	*(volatile u32 *)IOAPIC_ADDRESS = reg;
	*(volatile u32 *)(IOAPIC_ADDRESS + 0x10) = val;
}

void ioapic_route(unsigned pin, u64 entry)
{
	u8 reg = (u8)(0x10 + 2 * pin);

	ioapic_write(reg, 0x10000); /* masked meanwhile */
	ioapic_write(reg + 1, (u32)(entry >> 32));
	ioapic_write(reg, (u32)entry);
}

void pic_mask_all(void)
{
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}
