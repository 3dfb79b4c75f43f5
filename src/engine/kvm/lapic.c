/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's LAPIC from and to its model in vcpu->lapic.
 *
 * References: kvm.h [1] 4.57, 4.58 (KVM_GET_LAPIC: the register page as in the
 * manual, x2APIC IDs whole with KVM_CAP_X2APIC_API).
 *
 * Theory of operation, the timer. The kernel counts in real time even while
 * the vCPU does not run, and an expiry that it has not yet turned into an IRR
 * bit is in no register: read late, a one-shot timer's interrupt would be lost.
 * So the vCPU's own thread reads the count as it leaves run(). An entry with a
 * signal pending executes no instruction, but makes the kernel turn expiries
 * into IRR bits; the count is read after it, and where it is zero the same is
 * done once more for what expired in between. What expires later is found by
 * the model, for which the count stood at that moment. In TSC-deadline mode
 * there is no such gap: the deadline stays in its MSR until then. A vCPU that
 * did not run has the timer it was given.
 */
#include "engine/kvm/kvm.h"

#include <string.h>
#include <sys/syscall.h>
#include <signal.h>
#include <unistd.h>

#include "arch/x86.h"

enum page {
	PAGE_ID = 0x20,
	PAGE_VERSION = 0x30,
	PAGE_TPR = 0x80,
	PAGE_LDR = 0xd0,
	PAGE_DFR = 0xe0,
	PAGE_SVR = 0xf0,
	PAGE_ISR = 0x100,
	PAGE_TMR = 0x180,
	PAGE_IRR = 0x200,
	PAGE_ESR = 0x280,
	PAGE_ICR_LO = 0x300,
	PAGE_ICR_HI = 0x310,
	PAGE_LVT = 0x320,
	PAGE_TIMER_ICR = 0x380,
	PAGE_TIMER_CCR = 0x390,
	PAGE_TIMER_DCR = 0x3e0,
	/* Delivery status and remote IRR: never set between instructions. */
	LVT_STATUS = 0x5000,
	LVT_TIMER_PERIODIC = 1 << 17,
	LVT_TIMER_DEADLINE = 2 << 17,
	LVT_TIMER_MODES = 3 << 17,
};

static u32 page_get(const struct kvm_lapic_state *page, unsigned reg)
{
	u32 val;

	memcpy(&val, page->regs + reg, sizeof(val));
	return val;
}

static void page_put(struct kvm_lapic_state *page, unsigned reg, u32 val)
{
	memcpy(page->regs + reg, &val, sizeof(val));
}

/* The LVT in the order of the manual's addresses, as in the model. */
static void page_fill(const struct lapic_regs *regs,
		      struct kvm_lapic_state *page)
{
	page_put(page, PAGE_ID, regs->id);
	page_put(page, PAGE_VERSION, 0x14 | (LVT_COUNT - 1) << 16);
	page_put(page, PAGE_TPR, regs->tpr);
	page_put(page, PAGE_LDR, regs->ldr);
	page_put(page, PAGE_DFR, regs->dfr);
	page_put(page, PAGE_SVR, regs->svr);
	for (unsigned i = 0; i < 8; i++) {
		page_put(page, PAGE_ISR + 16 * i, regs->isr[i]);
		page_put(page, PAGE_TMR + 16 * i, regs->tmr[i]);
		page_put(page, PAGE_IRR + 16 * i, regs->irr[i]);
	}
	page_put(page, PAGE_ESR, regs->esr);
	page_put(page, PAGE_ICR_LO, regs->icr_lo);
	page_put(page, PAGE_ICR_HI, regs->icr_hi);
	for (unsigned i = 0; i < LVT_COUNT; i++)
		page_put(page, PAGE_LVT + 16 * i, regs->lvt[i]);
	page_put(page, PAGE_TIMER_ICR, regs->timer_icr);
	page_put(page, PAGE_TIMER_DCR, regs->timer_dcr);
}

int kvm_lapic_put(struct kvm_cpu *k)
{
	struct lapic *lapic = &k->vcpu->lapic;
	struct kvm_lapic_state page = {0};
	u64 deadline;
	int ret;

	/* Also brings the model to the present: mail, expired timers. */
	page_put(&page, PAGE_TIMER_CCR, lapic_mmio_read(lapic, PAGE_TIMER_CCR));
	timer_disarm(&lapic->timer);
	page_fill(&lapic->regs, &page);
	/* The mode decides how the page is read. */
	ret = kvm_set_msr(k, MSR_APIC_BASE, lapic->regs.apic_base);
	if (!ret)
		ret = kvm_ioctl(k->fd, KVM_SET_LAPIC, &page);
	deadline = lapic->regs.tsc_deadline;
	if (!ret && deadline)
		ret = kvm_set_msr(k, MSR_TSC_DEADLINE,
				  deadline + k->msrs.tsc_adjust);
	k->timer_ns = 0;
	return ret;
}

/* ---- back -------------------------------------------------------------- */

/* No guest instruction runs: the signal is found pending before the first. */
static void inject_expiries(struct kvm_cpu *k)
{
	sigset_t set;

	__atomic_store_n(&k->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	syscall(SYS_tgkill, getpid(), (int)syscall(SYS_gettid), kvm_signal());
	kvm_ioctl_num(k->fd, KVM_RUN, 0);
	sigemptyset(&set);
	sigaddset(&set, kvm_signal());
	while (sigtimedwait(&set, NULL, &(const struct timespec){0}) > 0)
		;
}

void kvm_lapic_note_timer(struct kvm_cpu *k)
{
	struct kvm_lapic_state page;
	u32 modes;

	for (unsigned round = 0; round < 2; round++) {
		inject_expiries(k);
		if (kvm_ioctl(k->fd, KVM_GET_LAPIC, &page))
			return;
		k->timer_ns = clock_ns(&k->vcpu->vm->clock);
		k->timer_count = page_get(&page, PAGE_TIMER_CCR);
		modes = page_get(&page, PAGE_LVT) & LVT_TIMER_MODES;
		if (k->timer_count || !page_get(&page, PAGE_TIMER_ICR) ||
		    modes == LVT_TIMER_DEADLINE)
			return;
	}
}

/* Did the kernel make the timer's interrupt out of an expiry? Elsewhere but in
 * KVM_RUN it does so only where it posts interrupts to a CPU. */
static bool timer_came(const struct lapic_regs *before,
		       const struct kvm_lapic_state *page)
{
	u32 vector = before->lvt[LVT_TIMER] & 0xff;
	u32 irr = page_get(page, PAGE_IRR + 16 * (vector / 32));

	return (irr & ~before->irr[vector / 32]) >> (vector & 31) & 1;
}

/* `regs` are those that the kernel was given. */
static void get_timer(struct kvm_cpu *k, const struct kvm_lapic_state *page,
		      struct lapic_regs *regs)
{
	u32 mode = page_get(page, PAGE_LVT) & LVT_TIMER_MODES;
	u64 ns = k->timer_ns, adjust = 0, deadline = 0;
	bool is_periodic = mode == LVT_TIMER_PERIODIC;
	u32 count = k->timer_count;

	/* The vCPU has not run since: it is as it was, and what expired
	 * meanwhile is the model's to find. */
	if (!ns && !timer_came(regs, page))
		return;
	if (!ns) {
		ns = clock_ns(&k->vcpu->vm->clock);
		count = page_get(page, PAGE_TIMER_CCR);
	}
	regs->timer_icr = page_get(page, PAGE_TIMER_ICR);
	regs->timer_dcr = page_get(page, PAGE_TIMER_DCR);
	regs->timer_running = 0;
	regs->tsc_deadline = 0;
	if (mode == LVT_TIMER_DEADLINE) {
		kvm_get_msr(k, MSR_TSC_DEADLINE, &deadline);
		kvm_get_msr(k, MSR_TSC_ADJUST, &adjust);
		if (deadline)
			regs->tsc_deadline = deadline - adjust;
		return;
	}
	/* A periodic one stands at zero until the kernel gets round to it: it
	 * has not made the interrupt of that yet. */
	if (!count && !is_periodic)
		return;
	if (!regs->timer_icr)
		return;
	regs->timer_running = 1;
	regs->timer_start_ns = ns - ((u64)(regs->timer_icr - count)
				     << lapic_timer_shift(regs->timer_dcr));
}

int kvm_lapic_get(struct kvm_cpu *k)
{
	struct lapic *lapic = &k->vcpu->lapic;
	struct lapic_regs *regs = &lapic->regs;
	struct kvm_lapic_state page;
	int ret = kvm_ioctl(k->fd, KVM_GET_LAPIC, &page);

	if (!ret)
		ret = kvm_get_msr(k, MSR_APIC_BASE, &regs->apic_base);
	if (ret)
		return ret;
	get_timer(k, &page, regs);
	regs->id = page_get(&page, PAGE_ID);
	regs->ldr = page_get(&page, PAGE_LDR);
	regs->dfr = page_get(&page, PAGE_DFR);
	regs->svr = page_get(&page, PAGE_SVR);
	regs->tpr = page_get(&page, PAGE_TPR);
	regs->esr = page_get(&page, PAGE_ESR);
	regs->esr_pending = 0;
	regs->icr_lo = page_get(&page, PAGE_ICR_LO);
	regs->icr_hi = page_get(&page, PAGE_ICR_HI);
	for (unsigned i = 0; i < LVT_COUNT; i++)
		regs->lvt[i] =
			page_get(&page, PAGE_LVT + 16 * i) & ~(u32)LVT_STATUS;
	for (unsigned i = 0; i < 8; i++) {
		regs->isr[i] = page_get(&page, PAGE_ISR + 16 * i);
		regs->tmr[i] = page_get(&page, PAGE_TMR + 16 * i);
		regs->irr[i] = page_get(&page, PAGE_IRR + 16 * i);
	}
	lapic_loaded(lapic);
	return 0;
}
