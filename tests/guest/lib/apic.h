/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC, in either mode, and the I/O APIC's registers. Interrupts
 * come through handler_set(); the handler calls apic_eoi() itself.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, chapter 11
 * [2] Intel 82093AA I/O APIC data sheet, order number 290566-001, 3.0
 */
#pragma once

#include "types.h"

/* [1] table 11-1; the MSR is 0x800 plus a sixteenth, 11.12.1. */
enum apic_register {
	APIC_ID = 0x20,
	APIC_VERSION = 0x30,
	APIC_TPR = 0x80,
	APIC_PPR = 0xa0,
	APIC_EOI = 0xb0,
	APIC_LDR = 0xd0,
	APIC_DFR = 0xe0,
	APIC_SVR = 0xf0,
	APIC_ISR = 0x100,
	APIC_TMR = 0x180,
	APIC_IRR = 0x200,
	APIC_ESR = 0x280,
	APIC_ICR = 0x300,
	APIC_ICR_HIGH = 0x310,
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_LVT_ERROR = 0x370,
	APIC_TIMER_INITIAL = 0x380,
	APIC_TIMER_CURRENT = 0x390,
	APIC_TIMER_DIVIDE = 0x3e0,
	APIC_SELF_IPI = 0x3f0, /* x2APIC only */
};

/* [1] 11.6.1 */
#define ICR_FIXED 0x0000u
#define ICR_NMI 0x0400u
#define ICR_INIT 0x0500u
#define ICR_STARTUP 0x0600u
#define ICR_LOGICAL 0x0800u
#define ICR_PENDING 0x1000u
#define ICR_ASSERT 0x4000u
#define ICR_LEVEL 0x8000u
#define ICR_SELF 0x40000u
#define ICR_ALL 0x80000u
#define ICR_OTHERS 0xc0000u

#define APIC_SPURIOUS 0xff
#define APIC_BASE_X2 BIT(10)
#define APIC_BASE_ENABLE BIT(11)

/* On, accepting everything, spurious vector 0xff. Each CPU for itself. */
void apic_enable(void);
/* Off and on again in the other mode, [1] 11.12.5. False: not offered. */
bool apic_set_x2(bool x2);

u32 apic_read(enum apic_register reg);
void apic_write(enum apic_register reg, u32 val);
void apic_eoi(void);
u32 apic_id(void);
/* Sends and waits until it is sent. dest is an APIC ID, or ignored with a
 * shorthand in icr. */
void apic_send(u32 dest, u32 icr);

u32 ioapic_read(u8 reg);
void ioapic_write(u8 reg, u32 val);
/* Redirection entry of a pin: [2] 3.2.4. */
void ioapic_route(unsigned pin, u64 entry);

/* Masks both 8259 chips. */
void pic_mask_all(void);
