/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local APIC, one per vCPU, for engines that have no in-kernel one.
 *
 * References: [1] Intel SDM vol. 3A chapter 11 (APIC), 11.12 (x2APIC).
 *             [2] AMD APM vol. 2 chapter 16.
 *
 * Threads: registers are read and written by the owning vCPU's thread only.
 * What others may touch is atomic:
 *   irr, tmr   a message's vector and trigger mode; whoever newly sets an IRR
 *              bit calls vcpu_notify(), so that a running or halted vCPU looks
 *   mail       local events (timer expiry, LINT pins, a received bad vector)
 *              that need registers to act on; the owner takes them in
 *              lapic_pending() and before it reads a register
 *   route      what senders need to know of this LAPIC, published by the owner
 *              whenever a register that matters to them changes
 * The timer callback (event loop) only mails and posts VCPU_EV_TIMER; the owner
 * then looks at the clock, sets the IRR bit and arms the next period. An engine
 * therefore calls lapic_pending() for VCPU_EV_TIMER as for VCPU_EV_INTR.
 */
#pragma once

#include "arch/x86.h"
#include "util/types.h"
#include "vmm/timer.h"

struct vcpu;
struct vm;
struct x86_state;

enum lapic_delivery { /* [1] table 11-3, ICR and LVT bits 10:8 */
		      LAPIC_FIXED = 0,
		      LAPIC_LOWEST = 1,
		      LAPIC_SMI = 2,
		      LAPIC_NMI = 4,
		      LAPIC_INIT = 5,
		      LAPIC_SIPI = 6,
		      LAPIC_EXTINT = 7,
};

/* In the order of their registers from 0x320. There is no CMCI entry, as
 * MCG_CAP offers none. */
enum lapic_lvt {
	LVT_TIMER,
	LVT_THERMAL,
	LVT_PERF,
	LVT_LINT0,
	LVT_LINT1,
	LVT_ERROR,
	LVT_COUNT,
};

/* All that the guest can observe; saved and loaded as it is. */
struct lapic_regs {
	u64 apic_base;	  /* IA32_APIC_BASE: base, EXTD (x2APIC), EN, BSP */
	u64 tsc_deadline; /* IA32_TSC_DEADLINE, 0: disarmed */
	u32 id;		  /* xAPIC: bits 31:24; x2APIC: all */
	u32 ldr, dfr, svr, tpr;
	u32 esr;	 /* as the last write latched it */
	u32 esr_pending; /* seen since */
	u32 icr_lo, icr_hi;
	u32 lvt[LVT_COUNT];
	u32 timer_icr, timer_dcr;
	u32 timer_running;  /* the current count is not zero */
	u64 timer_start_ns; /* guest ns when the current count began */
	u32 isr[8];
	_Atomic u32 tmr[8], irr[8];
};

struct lapic {
	struct lapic_regs regs;
	struct vcpu *vcpu;
	struct timer timer;
	_Atomic u32 mail;	  /* BIT(enum lapic_lvt), LAPIC_MAIL_* */
	_Atomic u64 route;	  /* LAPIC_ROUTE_*, logical ID in 31:0 */
	_Atomic u64 smis_ignored; /* no SMM: counted, dropped */
};

int lapic_init(struct lapic *lapic, struct vcpu *vcpu);
void lapic_fini(struct lapic *lapic);
/* RESET (init: false) or INIT (init: true, APIC base and ID stay). */
void lapic_reset(struct lapic *lapic, bool init);
/* After regs were filled from a saved state, which may say anything: correct
 * what is impossible, rebuild everything else. */
void lapic_loaded(struct lapic *lapic);
/* Bring the registers to the present, so that they hold all there is to save:
 * local events that came and a timer that expired. While its vCPU is parked, or
 * by its thread. */
void lapic_settle(struct lapic *lapic);
/*
 * What firmware leaves behind (virtual wire mode, MP specification 3.6.2.2):
 * enabled, the 8259 on the BSP's LINT0, NMI on LINT1. For boards that start a
 * kernel without firmware.
 */
void lapic_virtual_wire(struct lapic *lapic);

/*
 * The three registers of a LAPIC that are also in the vCPU's state: base
 * address and mode, CR8, the deadline (there in the vCPU's own TSC). For
 * engines' get_state and set_state.
 */
void lapic_to_state(const struct lapic *lapic, struct x86_state *state);
void lapic_from_state(struct lapic *lapic, const struct x86_state *state);

/* True where gpa is in this vCPU's register page (xAPIC mode only). */
static inline bool lapic_mmio_covers(const struct lapic *lapic, gpa_t gpa)
{
	u64 base = lapic->regs.apic_base;

	return ((gpa ^ base) & ~0xfffull) == 0 &&
	       (base & (APIC_BASE_EN | APIC_BASE_EXTD)) == APIC_BASE_EN;
}

/* The 4 KiB page at APIC_BASE; 32-bit registers at 16-byte steps. */
u32 lapic_mmio_read(struct lapic *lapic, u32 off);
void lapic_mmio_write(struct lapic *lapic, u32 off, u32 val);
/* MSRs 0x800..0x8ff, 0x1b and 0x6e0. false: #GP(0). */
bool lapic_msr_read(struct lapic *lapic, u32 msr, u64 *val);
bool lapic_msr_write(struct lapic *lapic, u32 msr, u64 val);

/* Bus clocks a count of the timer, as a shift ([1] figure 11-10: bits 3, 1
 * and 0 are 000: 2, 001: 4, ... 111: 1). */
static inline unsigned lapic_timer_shift(u32 dcr)
{
	return (((dcr & 3) | (dcr >> 1 & 4)) + 1) & 7;
}

/* CR8 is TPR bits 7:4. */
u8 lapic_get_cr8(const struct lapic *lapic);
void lapic_set_cr8(struct lapic *lapic, u8 cr8);

/*
 * The highest deliverable vector, -1 if none or masked by priority. Does not
 * look at the 8259 (see lapic_accepts_extint).
 */
int lapic_pending(struct lapic *lapic);
/* IRR -> ISR of the vector lapic_pending() returned. */
void lapic_ack(struct lapic *lapic, u8 vector);
/* The end of the interrupt in service, by register, MSR or PV EOI. */
void lapic_eoi(struct lapic *lapic);
/*
 * True where the EOI of the interrupt in service may be told late, as PV EOI
 * does: it is edge-triggered and nothing else waits.
 */
bool lapic_eoi_may_wait(const struct lapic *lapic);
/* LINT0 in ExtINT mode, or the APIC disabled: the 8259 reaches this vCPU. */
bool lapic_accepts_extint(const struct lapic *lapic);

/* A local interrupt source pulses: LINT pins, PMU, thermal. Any thread. */
void lapic_raise_local(struct lapic *lapic, enum lapic_lvt source);
/* The 8259's INTR went up; it is wired to every LAPIC's LINT0. Any thread. */
void lapic_extint_raised(struct vm *vm);

/* A message on the APIC bus: IPI, IOAPIC or MSI. Any thread. */
struct lapic_msg {
	u32 dest; /* APIC ID or logical mask; 0xff / 0xffffffff: all */
	bool logical;
	u8 delivery; /* enum lapic_delivery */
	u8 vector;
	bool level; /* trigger mode: TMR bit, EOI broadcast */
};
/* True if at least one LAPIC accepted it. */
bool lapic_deliver(struct vm *vm, const struct lapic_msg *msg);
/* [1] 11.11: address 0xfeexxxxx and data of an MSI. */
bool lapic_deliver_msi(struct vm *vm, u64 addr, u32 data);
