/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LAPIC's registers, priorities and end of interrupt, in xAPIC and x2APIC
 * mode. The timer is in lapic_timer.c, messages are in lapic_deliver.c.
 *
 * References: [1] Intel SDM (253668) vol. 3A chapter 11, section numbers as of
 *                 edition 083.
 *
 * Not emulated: the APIC bus of the P6 and its arbitration registers (APR and
 * RRD read zero, as on the Pentium 4 and later), level-triggered LINT pins,
 * writable APIC IDs, CMCI.
 */
#include "vmm/lapic_internal.h"

#include "arch/x86_state.h"

#include "arch/cpuid.h"
#include "util/log.h"
#include "vmm/trace.h"

/* Version 0x14, EOI broadcast suppression ([1] 11.4.8, 11.8.5). */
#define LAPIC_VERSION_VALUE (0x14u | (LVT_COUNT - 1) << 16 | 1u << 24)

/* ---- Register table ---- */

enum reg_access { /* xAPIC page, x2APIC MSR */
		  XR = 1,
		  XW = 2,
		  MR = 4,
		  MW = 8,
		  RW = XR | XW | MR | MW,
		  RO = XR | MR,
};

/*
 * What there is, [1] tables 11-1 and 11-6; index: offset / 16. `bits` are those
 * that are defined: the page keeps them, an MSR write with others faults.
 */
static const struct reg_info {
	u8 access;
	u32 bits;
} reg_infos[LAPIC_REGS_END / 16] = {
	[LAPIC_ID / 16] = {RO | XW, 0},
	[LAPIC_VERSION / 16] = {RO, 0},
	[LAPIC_TPR / 16] = {RW, 0xff},
	[LAPIC_APR / 16] = {XR, 0},
	[LAPIC_PPR / 16] = {RO, 0},
	[LAPIC_EOI / 16] = {XW | MW, 0},
	[LAPIC_RRD / 16] = {XR, 0},
	[LAPIC_LDR / 16] = {RO | XW, 0xff000000},
	[LAPIC_DFR / 16] = {XR | XW, 0xf0000000},
	[LAPIC_SVR / 16] = {RW, 0x13ff},
	[LAPIC_ISR / 16 ... LAPIC_IRR / 16 + 7] = {RO, 0},
	[LAPIC_ESR / 16] = {RW, 0},
	[LAPIC_ICR_LO / 16] = {RW, 0xcdfff},
	[LAPIC_ICR_HI / 16] = {XR | XW, 0xff000000},
	[LAPIC_LVT / 16 + LVT_TIMER] = {RW, 0x710ff},
	[LAPIC_LVT / 16 + LVT_THERMAL] = {RW, 0x117ff},
	[LAPIC_LVT / 16 + LVT_PERF] = {RW, 0x117ff},
	[LAPIC_LVT / 16 + LVT_LINT0] = {RW, 0x1f7ff},
	[LAPIC_LVT / 16 + LVT_LINT1] = {RW, 0x1f7ff},
	[LAPIC_LVT / 16 + LVT_ERROR] = {RW, 0x110ff},
	[LAPIC_TIMER_ICR / 16] = {RW, 0xffffffff},
	[LAPIC_TIMER_CCR / 16] = {RO, 0},
	[LAPIC_TIMER_DCR / 16] = {RW, 0xb},
	[LAPIC_SELF_IPI / 16] = {MW, 0xff},
};

/* The defined bits of a register that this vCPU has. */
static u32 lapic_reg_bits(const struct lapic *lapic, u32 reg)
{
	u32 bits = reg_infos[reg / 16].bits;

	if (reg == LAPIC_LVT &&
	    !cpu_has(lapic->vcpu->vm->cpu, FEAT_TSC_DEADLINE))
		bits &= ~(LAPIC_TSC_DEADLINE << LVT_TIMER_MODE_SHIFT);
	return bits;
}

/* Read-only in LVT entries and the ICR: delivery status, remote IRR. */
#define LVT_READ_ONLY 0x5000u
#define ICR_READ_ONLY 0x1000u

/* ---- State that others see ---- */

static bool lapic_delivers(u32 lvt, enum lapic_delivery how)
{
	return !(lvt & LVT_MASKED) && (lvt >> 8 & 7) == how;
}

static bool lapic_is_x2apic(const struct lapic *lapic)
{
	return lapic->regs.apic_base & APIC_BASE_EXTD;
}

/* Where the LINT pins lead. */
static u64 lapic_pin_route(const struct lapic *lapic)
{
	const u32 *lvt = lapic->regs.lvt;
	u64 route = 0;

	/* [1] 11.4.3: a disabled APIC leaves the pins as if there were none. */
	if (!(lapic->regs.apic_base & APIC_BASE_EN))
		return LAPIC_ROUTE_EXTINT | LAPIC_ROUTE_NMI1;
	if (lapic_delivers(lvt[LVT_LINT0], LAPIC_EXTINT))
		route = LAPIC_ROUTE_EXTINT;
	else if (lapic_delivers(lvt[LVT_LINT0], LAPIC_NMI))
		route = LAPIC_ROUTE_NMI0;
	else if (!(lvt[LVT_LINT0] & LVT_MASKED))
		route = LAPIC_ROUTE_LINT0;
	if (lapic_delivers(lvt[LVT_LINT1], LAPIC_NMI))
		route |= LAPIC_ROUTE_NMI1;
	return route;
}

/* Tell senders what they need to know of us. */
static void lapic_publish(struct lapic *lapic)
{
	const struct lapic_regs *regs = &lapic->regs;
	u32 model = regs->dfr >> DFR_MODEL_SHIFT;
	u64 route = lapic_pin_route(lapic);

	route |= lapic_is_x2apic(lapic) ? regs->ldr | LAPIC_ROUTE_X2APIC
					: regs->ldr >> 24;
	if (regs->apic_base & APIC_BASE_EN)
		route |= LAPIC_ROUTE_ON;
	if (regs->svr & SVR_ENABLE)
		route |= LAPIC_ROUTE_ENABLED;
	if (model == DFR_FLAT)
		route |= LAPIC_ROUTE_FLAT;
	if (model == DFR_CLUSTER)
		route |= LAPIC_ROUTE_CLUSTER;
	atomic_store(&lapic->route, route);
}

/* Registers to their values after RESET ([1] 11.4.7.1), the mode's kept. */
static void lapic_clear(struct lapic *lapic)
{
	struct lapic_regs *regs = &lapic->regs;
	unsigned id = lapic->vcpu->id, i;

	regs->id = id << 24;
	regs->ldr = 0;
	if (lapic_is_x2apic(lapic)) {
		regs->id = id;
		regs->ldr = (id >> 4) << 16 | 1u << (id & 15);
	}
	regs->dfr = 0xffffffff;
	regs->svr = 0xff;
	__atomic_store_n(&regs->tpr, 0, __ATOMIC_RELAXED);
	regs->esr = regs->esr_pending = 0;
	regs->icr_lo = regs->icr_hi = 0;
	for (i = 0; i < LVT_COUNT; i++)
		regs->lvt[i] = LVT_MASKED;
	regs->timer_icr = regs->timer_dcr = regs->timer_running = 0;
	regs->timer_start_ns = regs->tsc_deadline = 0;
	lapic_publish(lapic);
	for (i = 0; i < 8; i++) {
		regs->isr[i] = 0;
		atomic_store(&regs->tmr[i], 0);
		atomic_store(&regs->irr[i], 0);
	}
	atomic_store(&lapic->mail, 0);
	timer_disarm(&lapic->timer);
}

void lapic_reset(struct lapic *lapic, bool init)
{
	/* [1] 11.4.7.3: INIT keeps the base address, the mode and the ID. */
	if (!init) {
		lapic->regs.apic_base = APIC_DEFAULT_BASE;
		if (lapic->vcpu->vm->irqchip == VM_IRQCHIP_PC)
			lapic->regs.apic_base |= APIC_BASE_EN;
		if (lapic->vcpu->id == 0)
			lapic->regs.apic_base |= APIC_BASE_BSP;
	}
	lapic_clear(lapic);
}

int lapic_init(struct lapic *lapic, struct vcpu *vcpu)
{
	lapic->vcpu = vcpu;
	timer_init(&lapic->timer, &vcpu->vm->timers, NULL, lapic_timer_fire);
	lapic_reset(lapic, false);
	return 0;
}

void lapic_fini(struct lapic *lapic)
{
	if (lapic->vcpu)
		timer_fini(&lapic->timer);
}

/* What no guest can have written is not taken from a file either: the rest of
 * this code counts on it. */
static void lapic_sanitize(struct lapic *lapic)
{
	struct lapic_regs *regs = &lapic->regs;
	u64 addr = (BIT(lapic->vcpu->vm->cpu->maxphyaddr) - 1) & ~0xfffull;
	unsigned i;

	regs->apic_base &= addr | APIC_BASE_BSP | APIC_BASE_EXTD | APIC_BASE_EN;
	if (!(regs->apic_base & APIC_BASE_EN))
		regs->apic_base &= ~APIC_BASE_EXTD;
	regs->id = lapic->vcpu->id;
	if (!lapic_is_x2apic(lapic))
		regs->id <<= 24;
	regs->tpr &= 0xff;
	regs->svr &= lapic_reg_bits(lapic, LAPIC_SVR);
	regs->timer_dcr &= lapic_reg_bits(lapic, LAPIC_TIMER_DCR);
	for (i = 0; i < LVT_COUNT; i++)
		regs->lvt[i] &= lapic_reg_bits(lapic, LAPIC_LVT + 16 * i);
	/* A count of 0 does not run, least of all in periods. */
	regs->timer_running = regs->timer_running && regs->timer_icr;
}

void lapic_loaded(struct lapic *lapic)
{
	lapic_sanitize(lapic);
	lapic_publish(lapic);
	lapic_timer_update(lapic);
	/* Whatever was pending must be found. */
	vcpu_notify(lapic->vcpu);
}

void lapic_virtual_wire(struct lapic *lapic)
{
	struct lapic_regs *regs = &lapic->regs;

	regs->svr |= SVR_ENABLE;
	regs->lvt[LVT_LINT1] = LAPIC_NMI << 8;
	if (regs->apic_base & APIC_BASE_BSP)
		regs->lvt[LVT_LINT0] = LAPIC_EXTINT << 8;
	lapic_publish(lapic);
}

/* ---- Local events ---- */

/* One LVT entry fires ([1] 11.5.1). False: its vector is below 16. */
static bool lapic_fire_lvt(struct lapic *lapic, enum lapic_lvt source)
{
	u32 lvt = lapic->regs.lvt[source];

	if (lvt & LVT_MASKED)
		return true;
	switch (lvt >> 8 & 7) {
	case LAPIC_FIXED:
		if ((lvt & 0xff) < 16)
			return false;
		lapic_accept(lapic, lvt & 0xff, false);
		break;
	case LAPIC_NMI:
		vcpu_post(lapic->vcpu, VCPU_EV_NMI);
		break;
	case LAPIC_INIT:
		vcpu_post(lapic->vcpu, VCPU_EV_INIT);
		break;
	case LAPIC_SMI:
		atomic_fetch_add(&lapic->smis_ignored, 1);
		break;
	default: /* ExtINT: the engine asks the 8259 itself */
		break;
	}
	/* A performance interrupt masks itself ([1] 11.5.1). */
	if (source == LVT_PERF)
		lapic->regs.lvt[source] |= LVT_MASKED;
	return true;
}

void lapic_error(struct lapic *lapic, u32 esr_bit)
{
	/* [1] 11.5.3: one interrupt until ESR is written. */
	bool armed = !lapic->regs.esr_pending;

	lapic->regs.esr_pending |= esr_bit;
	if (armed && !lapic_fire_lvt(lapic, LVT_ERROR))
		lapic->regs.esr_pending |= ESR_RECEIVE_ILLEGAL;
}

void lapic_local(struct lapic *lapic, enum lapic_lvt source)
{
	if (!(lapic->regs.apic_base & APIC_BASE_EN))
		return;
	if (!lapic_fire_lvt(lapic, source))
		lapic_error(lapic, ESR_RECEIVE_ILLEGAL);
}

static void lapic_take_mail(struct lapic *lapic)
{
	u32 mail = atomic_exchange(&lapic->mail, 0);
	unsigned i;

	if (mail & LAPIC_MAIL_BAD_VECTOR)
		lapic_error(lapic, ESR_RECEIVE_ILLEGAL);
	if (mail & BIT(LVT_TIMER))
		lapic_timer_update(lapic);
	for (i = LVT_TIMER + 1; i < LVT_COUNT; i++)
		if (mail & BIT(i))
			lapic_local(lapic, i);
}

static inline void lapic_check_mail(struct lapic *lapic)
{
	if (unlikely(atomic_load(&lapic->mail)))
		lapic_take_mail(lapic);
}

void lapic_settle(struct lapic *lapic)
{
	lapic_check_mail(lapic);
	lapic_timer_update(lapic);
}

/* ---- Priorities, [1] 11.8.3 ---- */

static int lapic_top_isr(const struct lapic *lapic)
{
	int i;

	for (i = 7; i >= 0; i--)
		if (lapic->regs.isr[i])
			return i * 32 + 31 - __builtin_clz(lapic->regs.isr[i]);
	return -1;
}

static int lapic_top_irr(const struct lapic *lapic)
{
	u32 word;
	int i;

	for (i = 7; i >= 0; i--) {
		word = atomic_load_explicit(&lapic->regs.irr[i],
					    memory_order_acquire);
		if (word)
			return i * 32 + 31 - __builtin_clz(word);
	}
	return -1;
}

static u32 lapic_ppr(const struct lapic *lapic)
{
	int isr = lapic_top_isr(lapic);
	u32 tpr = lapic->regs.tpr, in_service = isr < 0 ? 0 : (u32)isr & 0xf0;

	return (tpr & 0xf0) >= in_service ? tpr : in_service;
}

int lapic_pending(struct lapic *lapic)
{
	int vector;

	lapic_check_mail(lapic);
	vector = lapic_top_irr(lapic);
	if (vector < 0 || !(lapic->regs.apic_base & APIC_BASE_EN))
		return -1;
	/* Classes are compared, not vectors. */
	return (u32)vector >> 4 > lapic_ppr(lapic) >> 4 ? vector : -1;
}

/* A priority fell: is something deliverable now? */
static void lapic_recheck(struct lapic *lapic)
{
	if (lapic_pending(lapic) >= 0)
		vcpu_notify(lapic->vcpu);
}

void lapic_ack(struct lapic *lapic, u8 vector)
{
	u32 bit = 1u << (vector & 31);

	atomic_fetch_and(&lapic->regs.irr[vector >> 5], ~bit);
	lapic->regs.isr[vector >> 5] |= bit;
}

void lapic_eoi(struct lapic *lapic)
{
	int vector = lapic_top_isr(lapic);
	u32 bit;

	if (vector < 0)
		return;
	bit = 1u << (vector & 31);
	lapic->regs.isr[vector >> 5] &= ~bit;
	/* [1] 11.8.5 */
	if ((atomic_load(&lapic->regs.tmr[vector >> 5]) & bit) &&
	    !(lapic->regs.svr & SVR_NO_EOI_BROADCAST))
		irq_eoi(&lapic->vcpu->vm->irq, (u8)vector);
	lapic_recheck(lapic);
}

bool lapic_eoi_may_wait(const struct lapic *lapic)
{
	int vector = lapic_top_isr(lapic);

	return vector >= 0 && lapic_top_irr(lapic) < 0 &&
	       !(atomic_load(&lapic->regs.tmr[vector >> 5]) &
		 1u << (vector & 31));
}

static void lapic_set_tpr(struct lapic *lapic, u32 tpr)
{
	bool fell = tpr < lapic->regs.tpr;

	__atomic_store_n(&lapic->regs.tpr, tpr, __ATOMIC_RELAXED);
	if (fell)
		lapic_recheck(lapic);
}

u8 lapic_get_cr8(const struct lapic *lapic)
{
	return lapic->regs.tpr >> 4;
}

void lapic_set_cr8(struct lapic *lapic, u8 cr8)
{
	lapic_set_tpr(lapic, (cr8 & 0xfu) << 4);
}

/* ---- Registers, both modes ---- */

static u32 lapic_read(struct lapic *lapic, u32 reg)
{
	const struct lapic_regs *regs = &lapic->regs;
	unsigned word = reg >> 4 & 7;

	switch (reg) {
	case LAPIC_ID:
		return regs->id;
	case LAPIC_VERSION:
		return LAPIC_VERSION_VALUE;
	case LAPIC_TPR:
		return regs->tpr;
	case LAPIC_PPR:
		return lapic_ppr(lapic);
	case LAPIC_LDR:
		return regs->ldr;
	case LAPIC_DFR:
		return regs->dfr;
	case LAPIC_SVR:
		return regs->svr;
	case LAPIC_ISR ... LAPIC_ISR + 0x70:
		return regs->isr[word];
	case LAPIC_TMR ... LAPIC_TMR + 0x70:
		return atomic_load(&regs->tmr[word]);
	case LAPIC_IRR ... LAPIC_IRR + 0x70:
		return atomic_load(&regs->irr[word]);
	case LAPIC_ESR:
		return regs->esr;
	case LAPIC_ICR_LO:
		return regs->icr_lo;
	case LAPIC_ICR_HI:
		return regs->icr_hi;
	case LAPIC_LVT ... LAPIC_LVT + 16 * LVT_ERROR:
		return regs->lvt[(reg - LAPIC_LVT) >> 4];
	case LAPIC_TIMER_ICR:
		return regs->timer_icr;
	case LAPIC_TIMER_CCR:
		return lapic_timer_current(lapic);
	case LAPIC_TIMER_DCR:
		return regs->timer_dcr;
	default: /* write-only, or of the P6 */
		return 0;
	}
}

/* [1] 11.9; 11.4.7.2: software-disabled, every entry is masked. */
static void lapic_write_svr(struct lapic *lapic, u32 val)
{
	unsigned i;

	lapic->regs.svr = val;
	if (!(val & SVR_ENABLE)) {
		lapic_timer_set_lvt(lapic,
				    lapic->regs.lvt[LVT_TIMER] | LVT_MASKED);
		for (i = LVT_TIMER + 1; i < LVT_COUNT; i++)
			lapic->regs.lvt[i] |= LVT_MASKED;
	}
	lapic_publish(lapic);
}

static void lapic_write_lvt(struct lapic *lapic, enum lapic_lvt entry, u32 val)
{
	val &= ~LVT_READ_ONLY;
	if (!(lapic->regs.svr & SVR_ENABLE))
		val |= LVT_MASKED;
	if (entry == LVT_TIMER) {
		lapic_timer_set_lvt(lapic, val);
		return;
	}
	lapic->regs.lvt[entry] = val;
	if (entry != LVT_LINT0 && entry != LVT_LINT1)
		return;
	lapic_publish(lapic);
	/* INTR may be up already. */
	if (entry == LVT_LINT0 && lapic_accepts_extint(lapic))
		vcpu_notify(lapic->vcpu);
}

static void lapic_write_icr(struct lapic *lapic, u32 lo, u32 dest)
{
	lapic->regs.icr_lo = lo & ~ICR_READ_ONLY;
	lapic_send_ipi(lapic, lo, dest);
}

/* val holds only bits that are defined. */
static void lapic_write(struct lapic *lapic, u32 reg, u32 val)
{
	struct lapic_regs *regs = &lapic->regs;

	switch (reg) {
	case LAPIC_TPR:
		lapic_set_tpr(lapic, val);
		break;
	case LAPIC_EOI:
		lapic_eoi(lapic);
		break;
	case LAPIC_LDR:
		regs->ldr = val;
		lapic_publish(lapic);
		break;
	case LAPIC_DFR:
		regs->dfr = val | 0x0fffffff;
		lapic_publish(lapic);
		break;
	case LAPIC_SVR:
		lapic_write_svr(lapic, val);
		break;
	case LAPIC_ESR:
		regs->esr = regs->esr_pending;
		regs->esr_pending = 0;
		break;
	case LAPIC_ICR_LO: /* xAPIC; x2APIC has both halves in one */
		lapic_write_icr(lapic, val, regs->icr_hi >> 24);
		break;
	case LAPIC_ICR_HI:
		regs->icr_hi = val;
		break;
	case LAPIC_LVT ... LAPIC_LVT + 16 * LVT_ERROR:
		lapic_write_lvt(lapic, (reg - LAPIC_LVT) >> 4, val);
		break;
	case LAPIC_TIMER_ICR:
		lapic_timer_set_initial(lapic, val);
		break;
	case LAPIC_TIMER_DCR:
		lapic_timer_set_divide(lapic, val);
		break;
	case LAPIC_SELF_IPI: /* [1] 11.12.11 */
		lapic_send_ipi(lapic, val | 1u << 18, 0);
		break;
	default: /* the ID, and what is read-only */
		break;
	}
}

/* ---- The page ---- */

/* Registers are at multiples of 16; what lies between is undefined. */
static u8 lapic_mmio_access(struct lapic *lapic, u32 off)
{
	u8 access = 0;

	if (off < LAPIC_REGS_END)
		access = reg_infos[off / 16].access & (XR | XW);
	if (!access)
		lapic_error(lapic, ESR_ILLEGAL_REGISTER);
	return off % 16 ? 0 : access;
}

u32 lapic_mmio_read(struct lapic *lapic, u32 off)
{
	lapic_check_mail(lapic);
	return lapic_mmio_access(lapic, off) & XR ? lapic_read(lapic, off) : 0;
}

void lapic_mmio_write(struct lapic *lapic, u32 off, u32 val)
{
	lapic_check_mail(lapic);
	if (lapic_mmio_access(lapic, off) & XW)
		lapic_write(lapic, off, val & lapic_reg_bits(lapic, off));
}

/* ---- MSRs ---- */

/* [1] 11.12.5: which mode may follow which. */
static bool lapic_mode_change_ok(const struct lapic *lapic, u64 val)
{
	u64 from = lapic->regs.apic_base & (APIC_BASE_EN | APIC_BASE_EXTD);
	u64 to = val & (APIC_BASE_EN | APIC_BASE_EXTD);

	if (to & APIC_BASE_EXTD)
		return cpu_has(lapic->vcpu->vm->cpu, FEAT_X2APIC) &&
		       (to & APIC_BASE_EN) && from != 0;
	return !(from & APIC_BASE_EXTD) || to == 0;
}

static bool lapic_write_base(struct lapic *lapic, u64 val)
{
	struct lapic_regs *regs = &lapic->regs;
	u64 old = regs->apic_base;
	u64 addr = (BIT(lapic->vcpu->vm->cpu->maxphyaddr) - 1) & ~0xfffull;

	if (val & ~(addr | APIC_BASE_BSP | APIC_BASE_EXTD | APIC_BASE_EN))
		return false;
	if (lapic->vcpu->vm->irqchip == VM_IRQCHIP_NONE && val & APIC_BASE_EN)
		return false;
	if (!lapic_mode_change_ok(lapic, val))
		return false;
	/* Who is the BSP was decided at RESET. */
	regs->apic_base = (val & ~APIC_BASE_BSP) | (old & APIC_BASE_BSP);
	trace(TRACE_LAPIC, "vcpu %u apic base %#llx", lapic->vcpu->id,
	      (unsigned long long)regs->apic_base);
	if (!((val ^ old) & (APIC_BASE_EN | APIC_BASE_EXTD)))
		return true;
	if (!(val & APIC_BASE_EXTD)) {
		/* Disabled or enabled: as after RESET ([1] 11.4.3). */
		lapic_clear(lapic);
		vcpu_notify(lapic->vcpu);
		return true;
	}
	/* [1] 11.12.5.1: all but the IDs and the ICR's high half stays. */
	regs->id = lapic->vcpu->id;
	regs->ldr = (regs->id >> 4) << 16 | 1u << (regs->id & 15);
	regs->icr_hi = 0;
	lapic_publish(lapic);
	return true;
}

static bool lapic_x2apic_read(struct lapic *lapic, u32 reg, u64 *val)
{
	if (reg >= LAPIC_REGS_END || !(reg_infos[reg / 16].access & MR))
		return false;
	lapic_check_mail(lapic);
	*val = lapic_read(lapic, reg);
	if (reg == LAPIC_ICR_LO)
		*val |= (u64)lapic->regs.icr_hi << 32;
	return true;
}

static bool lapic_x2apic_write(struct lapic *lapic, u32 reg, u64 val)
{
	u64 bits;

	if (reg >= LAPIC_REGS_END || !(reg_infos[reg / 16].access & MW))
		return false;
	bits = lapic_reg_bits(lapic, reg);
	if (reg == LAPIC_ICR_LO)
		bits |= 0xffffffffull << 32;
	if (val & ~bits)
		return false;
	lapic_check_mail(lapic);
	if (reg == LAPIC_ICR_LO) {
		lapic->regs.icr_hi = val >> 32;
		lapic_write_icr(lapic, (u32)val, val >> 32);
		return true;
	}
	lapic_write(lapic, reg, (u32)val);
	return true;
}

bool lapic_msr_read(struct lapic *lapic, u32 msr, u64 *val)
{
	if (msr == MSR_APIC_BASE) {
		*val = lapic->regs.apic_base;
		return true;
	}
	if (msr == MSR_TSC_DEADLINE) {
		if (!cpu_has(lapic->vcpu->vm->cpu, FEAT_TSC_DEADLINE))
			return false;
		lapic_timer_poll(lapic);
		*val = lapic->regs.tsc_deadline;
		return true;
	}
	if (msr < MSR_X2APIC_FIRST || msr > MSR_X2APIC_LAST ||
	    !lapic_is_x2apic(lapic))
		return false;
	return lapic_x2apic_read(lapic, (msr - MSR_X2APIC_FIRST) << 4, val);
}

bool lapic_msr_write(struct lapic *lapic, u32 msr, u64 val)
{
	if (msr == MSR_APIC_BASE)
		return lapic_write_base(lapic, val);
	if (msr == MSR_TSC_DEADLINE) {
		if (!cpu_has(lapic->vcpu->vm->cpu, FEAT_TSC_DEADLINE))
			return false;
		lapic_timer_set_deadline(lapic, val);
		return true;
	}
	if (msr < MSR_X2APIC_FIRST || msr > MSR_X2APIC_LAST ||
	    !lapic_is_x2apic(lapic))
		return false;
	return lapic_x2apic_write(lapic, (msr - MSR_X2APIC_FIRST) << 4, val);
}

/* ---- vCPU state ---- */

void lapic_to_state(const struct lapic *lapic, struct x86_state *state)
{
	state->cr8 = lapic_get_cr8(lapic);
	state->msr.apic_base = lapic->regs.apic_base;
	state->tsc_deadline = lapic->regs.tsc_deadline;
	if (state->tsc_deadline)
		state->tsc_deadline += state->msr.tsc_adjust;
}

void lapic_from_state(struct lapic *lapic, const struct x86_state *state)
{
	u64 bsp = lapic->regs.apic_base & APIC_BASE_BSP;
	u64 base = (state->msr.apic_base & ~APIC_BASE_BSP) | bsp;
	u64 deadline = state->tsc_deadline;

	if (base != lapic->regs.apic_base)
		lapic_msr_write(lapic, MSR_APIC_BASE, base);
	if (state->cr8 != lapic_get_cr8(lapic))
		lapic_set_cr8(lapic, state->cr8 & 15);
	if (deadline)
		deadline -= state->msr.tsc_adjust;
	if (deadline != lapic->regs.tsc_deadline)
		lapic_msr_write(lapic, MSR_TSC_DEADLINE, deadline);
}
