/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the LAPIC's files share: lapic.c (registers), lapic_timer.c and
 * lapic_deliver.c (messages between LAPICs). Section numbers: lapic.h [1].
 */
#pragma once

#include <stdatomic.h>

#include "vmm/lapic.h"
#include "vmm/vm.h"

/* Register offsets, [1] table 11-1. */
enum lapic_reg {
	LAPIC_ID = 0x20,
	LAPIC_VERSION = 0x30,
	LAPIC_TPR = 0x80,
	LAPIC_APR = 0x90,
	LAPIC_PPR = 0xa0,
	LAPIC_EOI = 0xb0,
	LAPIC_RRD = 0xc0,
	LAPIC_LDR = 0xd0,
	LAPIC_DFR = 0xe0,
	LAPIC_SVR = 0xf0,
	LAPIC_ISR = 0x100,
	LAPIC_TMR = 0x180,
	LAPIC_IRR = 0x200,
	LAPIC_ESR = 0x280,
	LAPIC_ICR_LO = 0x300,
	LAPIC_ICR_HI = 0x310,
	LAPIC_LVT = 0x320, /* enum lapic_lvt, 16 bytes each */
	LAPIC_TIMER_ICR = 0x380,
	LAPIC_TIMER_CCR = 0x390,
	LAPIC_TIMER_DCR = 0x3e0,
	LAPIC_SELF_IPI = 0x3f0, /* x2APIC only */
	LAPIC_REGS_END = 0x400,
};

enum lapic_bits {
	SVR_ENABLE = 1 << 8,
	SVR_NO_EOI_BROADCAST = 1 << 12,
	LVT_MASKED = 1 << 16,
	LVT_TIMER_MODE_SHIFT = 17,
	DFR_FLAT = 0xf,
	DFR_CLUSTER = 0x0,
	DFR_MODEL_SHIFT = 28,
	/* [1] 11.5.3 */
	ESR_SEND_ILLEGAL = 1 << 5,
	ESR_RECEIVE_ILLEGAL = 1 << 6,
	ESR_ILLEGAL_REGISTER = 1 << 7,
};

enum lapic_timer_mode { /* [1] 11.5.4, LVT timer bits 18:17 */
			LAPIC_ONE_SHOT = 0,
			LAPIC_PERIODIC = 1,
			LAPIC_TSC_DEADLINE = 2,
};

/* Mail beside BIT(enum lapic_lvt): a message had a vector below 16. */
#define LAPIC_MAIL_BAD_VECTOR (1u << 31)

/* lapic->route above the logical ID (xAPIC: LDR bits 31:24, moved to 7:0) */
#define LAPIC_ROUTE_ON BIT(32)	    /* APIC_BASE.EN */
#define LAPIC_ROUTE_ENABLED BIT(33) /* SVR bit 8 */
#define LAPIC_ROUTE_X2APIC BIT(34)
#define LAPIC_ROUTE_FLAT BIT(35) /* DFR, xAPIC only */
#define LAPIC_ROUTE_CLUSTER BIT(36)
#define LAPIC_ROUTE_EXTINT BIT(37) /* INTR reaches the vCPU */
#define LAPIC_ROUTE_LINT0 BIT(38)  /* unmasked, but neither it nor NMI */
#define LAPIC_ROUTE_NMI0 BIT(39)   /* LINT0 is an NMI pin */
#define LAPIC_ROUTE_NMI1 BIT(40)   /* LINT1 is one */

static inline u64 lapic_route(const struct lapic *lapic)
{
	return atomic_load_explicit(&lapic->route, memory_order_acquire);
}

/* Set vector in IRR, with its trigger mode. Any thread. */
void lapic_accept(struct lapic *lapic, u8 vector, bool level);
void lapic_mail(struct lapic *lapic, u32 bits, u32 events);

/* Owner's thread. */
void lapic_error(struct lapic *lapic, u32 esr_bit);
void lapic_local(struct lapic *lapic, enum lapic_lvt source);
/* icr_lo as written, dest as the mode has it (8 or 32 bits). */
void lapic_send_ipi(struct lapic *lapic, u32 icr_lo, u32 dest);

static inline unsigned lapic_timer_mode(const struct lapic *lapic)
{
	return lapic->regs.lvt[LVT_TIMER] >> LVT_TIMER_MODE_SHIFT & 3;
}

/* Bring the timer's registers to the present and raise what expired. */
void lapic_timer_poll(struct lapic *lapic);
/* The same, and arm the host's timer for the next expiry that the guest will
 * hear of. */
void lapic_timer_update(struct lapic *lapic);
u32 lapic_timer_current(struct lapic *lapic);
void lapic_timer_set_initial(struct lapic *lapic, u32 count);
void lapic_timer_set_divide(struct lapic *lapic, u32 dcr);
void lapic_timer_set_lvt(struct lapic *lapic, u32 lvt);
void lapic_timer_set_deadline(struct lapic *lapic, u64 tsc);
void lapic_timer_fire(struct timer *timer, u64 now_ns);
