/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LAPIC's timer: one-shot, periodic and TSC-deadline.
 *
 * References: [1] Intel SDM vol. 3A 11.5.4 and 11.5.4.1.
 *
 * Theory of operation. The count is never counted: it is a function of guest
 * time since timer_start_ns. lapic_timer_poll(), on the vCPU's thread, is the
 * only place where an expiry happens; it compares with the clock, so that a
 * host timer which comes early, late or twice does no harm. A masked timer
 * needs no host timer: what expired meanwhile is found at the next poll.
 *
 * Periods shorter than LAPIC_MIN_PERIOD_NS count as programmed, but raise their
 * interrupt at most that often: each costs the host a timer, a wake-up of the
 * event loop and a kick, and a guest could otherwise occupy a host CPU with a
 * periodic timer alone. No system we know uses a tick below 100 us. One-shot
 * and deadline timers need no limit, as the guest has to arm each one.
 */
#include "vmm/lapic_internal.h"

#include "arch/platform.h"

#define LAPIC_MIN_PERIOD_NS 50000ull

_Static_assert(PLAT_LAPIC_TIMER_KHZ == 1000000, "counts are ns here");

static struct vm_clock *lapic_clock(const struct lapic *lapic)
{
	return &lapic->vcpu->vm->clock;
}

static u64 lapic_timer_period(const struct lapic *lapic)
{
	return (u64)lapic->regs.timer_icr
	       << lapic_timer_shift(lapic->regs.timer_dcr);
}

/* Did the timer expire? Then reload or stop it. */
static bool lapic_timer_expire(struct lapic *lapic, u64 now)
{
	struct lapic_regs *regs = &lapic->regs;
	u64 elapsed, period;

	if (lapic_timer_mode(lapic) == LAPIC_TSC_DEADLINE) {
		if (!regs->tsc_deadline ||
		    clock_tsc(lapic_clock(lapic)) < regs->tsc_deadline)
			return false;
		regs->tsc_deadline = 0;
		return true;
	}
	elapsed = now - regs->timer_start_ns;
	period = lapic_timer_period(lapic);
	if (!regs->timer_running || elapsed < period)
		return false;
	if (lapic_timer_mode(lapic) == LAPIC_PERIODIC)
		regs->timer_start_ns += elapsed - elapsed % period;
	else
		regs->timer_running = 0;
	return true;
}

static void lapic_timer_rearm(struct lapic *lapic, u64 now)
{
	struct lapic_regs *regs = &lapic->regs;
	bool by_tsc = lapic_timer_mode(lapic) == LAPIC_TSC_DEADLINE;
	bool active = by_tsc ? regs->tsc_deadline : regs->timer_running;
	u64 deadline, period;

	if (!active || (regs->lvt[LVT_TIMER] & LVT_MASKED)) {
		timer_disarm(&lapic->timer);
		return;
	}
	if (by_tsc) {
		deadline =
			clock_tsc_to_ns(lapic_clock(lapic), regs->tsc_deadline);
	} else {
		period = lapic_timer_period(lapic);
		deadline = now + period - (now - regs->timer_start_ns);
		if (lapic_timer_mode(lapic) == LAPIC_PERIODIC &&
		    period < LAPIC_MIN_PERIOD_NS)
			deadline = now + LAPIC_MIN_PERIOD_NS;
	}
	/* The conversion rounds down: where that is too early by one ns, the
	 * poll finds nothing and this arms for the next. */
	timer_arm(&lapic->timer, max_u64(deadline, now + 1));
}

void lapic_timer_poll(struct lapic *lapic)
{
	if (lapic_timer_expire(lapic, clock_ns(lapic_clock(lapic))))
		lapic_local(lapic, LVT_TIMER);
}

void lapic_timer_update(struct lapic *lapic)
{
	lapic_timer_poll(lapic);
	lapic_timer_rearm(lapic, clock_ns(lapic_clock(lapic)));
}

u32 lapic_timer_current(struct lapic *lapic)
{
	struct lapic_regs *regs = &lapic->regs;
	u64 elapsed;

	/* [1] 11.5.4.1: reads zero in TSC-deadline mode. */
	if (lapic_timer_mode(lapic) == LAPIC_TSC_DEADLINE)
		return 0;
	lapic_timer_poll(lapic);
	if (!regs->timer_running)
		return 0;
	elapsed = clock_ns(lapic_clock(lapic)) - regs->timer_start_ns;
	elapsed >>= lapic_timer_shift(regs->timer_dcr);
	/* The clock may have passed the end since the poll. */
	return elapsed < regs->timer_icr ? regs->timer_icr - (u32)elapsed : 0;
}

void lapic_timer_set_initial(struct lapic *lapic, u32 count)
{
	struct lapic_regs *regs = &lapic->regs;

	/* [1] 11.5.4.1: ignored in TSC-deadline mode. */
	if (lapic_timer_mode(lapic) == LAPIC_TSC_DEADLINE)
		return;
	lapic_timer_poll(lapic);
	regs->timer_icr = count;
	regs->timer_running = count != 0;
	regs->timer_start_ns = clock_ns(lapic_clock(lapic));
	lapic_timer_update(lapic);
}

void lapic_timer_set_divide(struct lapic *lapic, u32 dcr)
{
	struct lapic_regs *regs = &lapic->regs;
	u64 now, counts;

	/* The count stays, and goes on at the new pace. */
	lapic_timer_poll(lapic);
	now = clock_ns(lapic_clock(lapic));
	counts = (now - regs->timer_start_ns) >>
		 lapic_timer_shift(regs->timer_dcr);
	regs->timer_dcr = dcr;
	regs->timer_start_ns = now - (counts << lapic_timer_shift(dcr));
	lapic_timer_update(lapic);
}

void lapic_timer_set_lvt(struct lapic *lapic, u32 lvt)
{
	struct lapic_regs *regs = &lapic->regs;
	bool was_tsc, is_tsc;

	lapic_timer_poll(lapic);
	was_tsc = lapic_timer_mode(lapic) == LAPIC_TSC_DEADLINE;
	regs->lvt[LVT_TIMER] = lvt;
	is_tsc = lapic_timer_mode(lapic) == LAPIC_TSC_DEADLINE;
	/* [1] 11.5.4.1: a change to or from TSC-deadline mode disarms. */
	if (was_tsc != is_tsc) {
		regs->tsc_deadline = 0;
		regs->timer_running = 0;
		regs->timer_icr = 0;
	}
	lapic_timer_update(lapic);
}

void lapic_timer_set_deadline(struct lapic *lapic, u64 tsc)
{
	/* [1] 11.5.4.1: ignored in the other modes. */
	if (lapic_timer_mode(lapic) != LAPIC_TSC_DEADLINE)
		return;
	lapic_timer_poll(lapic);
	lapic->regs.tsc_deadline = tsc;
	lapic_timer_update(lapic);
}

void lapic_timer_fire(struct timer *timer, u64 now_ns)
{
	struct lapic *lapic = container_of(timer, struct lapic, timer);

	lapic_mail(lapic, BIT(LVT_TIMER), VCPU_EV_TIMER);
}
