/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local APIC, one per vCPU, for engines that have no in-kernel one.
 *
 * References: [1] Intel SDM vol. 3A chapter 11 (APIC), 11.12 (x2APIC).
 *             [2] AMD APM vol. 2 chapter 16.
 *
 * Threads: registers are read and written by the owning vCPU's thread only.
 * IRR bits arrive from any thread, atomically; whoever sets one calls
 * vcpu_notify(), so that a running or halted vCPU looks.
 */
#pragma once

#include "util/types.h"
#include "vmm/timer.h"

struct vcpu;
struct vm;

enum lapic_delivery { /* [1] table 11-3, ICR and LVT bits 10:8 */
		      LAPIC_FIXED = 0,
		      LAPIC_LOWEST = 1,
		      LAPIC_SMI = 2,
		      LAPIC_NMI = 4,
		      LAPIC_INIT = 5,
		      LAPIC_SIPI = 6,
		      LAPIC_EXTINT = 7,
};

enum lapic_lvt {
	LVT_CMCI,
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
	u32 ldr, dfr, svr, tpr, esr, esr_pending;
	u32 icr_lo, icr_hi;
	u32 lvt[LVT_COUNT];
	u32 timer_icr, timer_dcr;
	u64 timer_start_ns; /* guest ns when the current count began */
	u32 isr[8], tmr[8];
	_Atomic u32 irr[8];
};

struct lapic {
	struct lapic_regs regs;
	struct vcpu *vcpu;
	struct timer timer;
	_Atomic u32 timer_due; /* set by the timer, consumed by the vCPU */
};

int lapic_init(struct lapic *lapic, struct vcpu *vcpu);
void lapic_fini(struct lapic *lapic);
/* RESET (init: false) or INIT (init: true, APIC base and ID stay). */
void lapic_reset(struct lapic *lapic, bool init);

/* The 4 KiB page at APIC_BASE; 32-bit registers at 16-byte steps. */
u32 lapic_mmio_read(struct lapic *lapic, u32 off);
void lapic_mmio_write(struct lapic *lapic, u32 off, u32 val);
/* MSRs 0x800..0x8ff, 0x1b and 0x6e0. false: #GP(0). */
bool lapic_msr_read(struct lapic *lapic, u32 msr, u64 *val);
bool lapic_msr_write(struct lapic *lapic, u32 msr, u64 val);

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
void lapic_eoi(struct lapic *lapic);
/* LINT0 in ExtINT mode, or the APIC disabled: the 8259 reaches this vCPU. */
bool lapic_accepts_extint(const struct lapic *lapic);

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
