/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens between two instructions: interrupts, INIT and SIPI, halts,
 * single steps and breakpoints.
 *
 * References: [1] Intel SDM vol. 3A 6.9 table 6-2 (priorities), 6.8 (masking
 *                 and shadows), 9.4.3 (INIT and SIPI), 17.2, 17.3.
 *
 * Theory of operation. The order of attend_once() is that of [1] table 6-2.
 *
 * A shadow: STI and MOV SS note it with the address behind them. A boundary
 * at that address lets one instruction run with c->shadow still set; any other
 * takes it down. Nothing has to be attended to while nothing else happens.
 *
 * A single step: the boundary that finds TF sets c->stepping and lets one
 * instruction run; the one after it makes the trap of that. Delivery clears
 * c->stepping: an instruction that faulted did not end.
 *
 * intr_hint says that the LAPIC or the 8259 might have an interrupt for us. A
 * VCPU_EV_INTR sets it, an empty look clears it, so that opening IF costs
 * nothing while it is clear. Whoever lowers a priority posts VCPU_EV_INTR.
 */
#include "arch/x86_state.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"
#include "vmm/vm.h"

/* ---- leaving run() ----------------------------------------------------- */

void bt_stop(struct bt_cpu *c, enum vcpu_exit_kind kind)
{
	c->exit->kind = kind;
	c->exit->rip = c->rip;
	c->exit->message[0] = 0;
	bt_attend(c, ATTN_STOP);
}

static enum bt_next leave(struct bt_cpu *c, enum vcpu_exit_kind kind)
{
	c->exit->kind = kind;
	c->exit->rip = c->rip;
	c->exit->message[0] = 0;
	return BT_LEAVE;
}

/* ---- breakpoints, [1] 17.2.4 ------------------------------------------- */

bool bt_watches(const struct bt_cpu *c, unsigned kinds)
{
	u64 dr7 = c->dr[7];

	for (unsigned n = 0; n < 4; n++)
		if (dr7 >> (2 * n) & 3 &&
		    kinds >> (dr7 >> (16 + 4 * n) & 3) & 1)
			return true;
	return false;
}

/* B0..B3 of those of `kinds` that overlap [addr, addr+size). */
static u64 watch_matches(const struct bt_cpu *c, unsigned kinds, u64 addr,
			 unsigned size)
{
	static const u8 lengths[] = {1, 2, 8, 4};
	u64 dr7 = c->dr[7], hits = 0;

	for (unsigned n = 0; n < 4; n++) {
		u64 len = lengths[dr7 >> (18 + 4 * n) & 3];
		u64 start = c->dr[n] & ~(len - 1);

		if (!(dr7 >> (2 * n) & 3) ||
		    !(kinds >> (dr7 >> (16 + 4 * n) & 3) & 1))
			continue;
		if (addr < start + len && start < addr + size)
			hits |= BIT(n);
	}
	return hits;
}

static void watch_trap(struct bt_cpu *c, u64 hits)
{
	if (!hits)
		return;
	c->dr6_pending |= hits;
	bt_attend(c, ATTN_TRAP);
}

void bt_watch_hit(struct bt_cpu *c, gva_t va, unsigned size, bool write)
{
	unsigned kinds = write ? WATCH_WRITE | WATCH_ACCESS : WATCH_ACCESS;

	watch_trap(c, watch_matches(c, kinds, va, size));
}

/* [1] 17.2.4: R/W 10 is I/O with CR4.DE, else undefined. */
void bt_watch_io(struct bt_cpu *c, u16 port, unsigned size)
{
	if (c->cr4 & CR4_DE)
		watch_trap(c, watch_matches(c, WATCH_IO, port, size));
}

static void deliver_debug(struct bt_cpu *c, u64 causes)
{
	const struct bt_event event = {.vector = VEC_DB, .kind = EVENT_TRAP};

	c->dr[6] = (c->dr[6] & ~0xfull) | causes;
	c->dr[7] &= ~DR7_GD;
	c->dr6_pending = 0;
	c->mp_state = X86_MP_RUNNABLE;
	c->stat.faults[VEC_DB]++;
	bt_deliver_event(c, &event);
}

/* Traps of the instruction that has just ended. */
static bool take_traps(struct bt_cpu *c)
{
	if (c->stepping) {
		c->stepping = 0;
		c->dr6_pending |= DR6_BS;
	}
	if (likely(!c->dr6_pending))
		return false;
	/* [1] 6.8.3: after MOV SS a data breakpoint waits, a step is lost. */
	if (c->shadow == BT_SHADOW_MOVSS) {
		c->dr6_pending &= ~DR6_BS;
		return false;
	}
	deliver_debug(c, c->dr6_pending);
	return true;
}

/* An instruction breakpoint is a fault of the next instruction. */
static bool take_code_breakpoint(struct bt_cpu *c)
{
	gva_t va = (c->seg_base[X86_CS] + c->rip) & c->lin_mask;
	u64 hits;

	/* [1] 17.3.1.1: as if RF were set until a repeated one has ended. */
	if (c->eflags & FLAG_RF || c->repeating || c->shadow == BT_SHADOW_MOVSS)
		return false;
	hits = watch_matches(c, WATCH_EXEC, va, 1);
	if (!hits)
		return false;
	deliver_debug(c, hits);
	return true;
}

/* ---- the mailbox -------------------------------------------------------- */

/* True: run() returns. */
static bool take_mail(struct bt_cpu *c)
{
	u32 events = __atomic_exchange_n((u32 *)&c->vcpu->events, 0,
					 __ATOMIC_SEQ_CST);

	if (events & (VCPU_EV_INTR | VCPU_EV_TIMER))
		c->intr_hint = 1;
	if (events & VCPU_EV_NMI)
		c->nmi_pending = 1;
	/* [1] 9.4 */
	if (events & (VCPU_EV_INIT | VCPU_EV_SIPI))
		bt_take_init(c, events);
	return events & VCPU_EV_KICK;
}

/*
 * A kick finds no trap of the last instruction still owed, as a vCPU's state
 * has no place for one: it is delivered first. After MOV SS that takes one
 * instruction more ([1] 6.8.3), after a row of them no second one.
 */
static bool kick_waits(struct bt_cpu *c)
{
	if (likely(!c->stepping && !c->dr6_pending)) {
		c->kick_waited = 0;
		return false;
	}
	if (c->kick_waited++)
		c->shadow = 0;
	__atomic_fetch_or((u32 *)&c->vcpu->events, VCPU_EV_KICK,
			  __ATOMIC_SEQ_CST);
	bt_attend(c, ATTN_EVENTS);
	return true;
}

/* ---- NMI and interrupts ------------------------------------------------ */

static bool take_nmi(struct bt_cpu *c)
{
	const struct bt_event event = {
		.vector = VEC_NMI,
		.kind = EVENT_INTERRUPT,
	};

	if (!c->nmi_pending || c->nmi_masked || c->shadow == BT_SHADOW_MOVSS)
		return false;
	c->nmi_pending = 0;
	c->nmi_masked = 1;
	c->mp_state = X86_MP_RUNNABLE;
	c->stat.interrupts++;
	bt_deliver_event(c, &event);
	return true;
}

/* The vector of a maskable interrupt, acknowledged; -1: none. */
static int acknowledge(struct bt_cpu *c)
{
	struct lapic *lapic = &c->vcpu->lapic;
	struct irq_router *irq = &c->vcpu->vm->irq;
	int vector;

	bt_leave(c);
	bt_pv_eoi_sync(c);
	/* [1] 11.8.1: ExtINT bypasses the priorities. */
	if (lapic_accepts_extint(lapic) && irq_extint_pending(irq)) {
		vector = (int)irq_extint_ack(irq);
	} else {
		vector = lapic_pending(lapic);
		if (vector >= 0) {
			lapic_ack(lapic, (u8)vector);
			bt_pv_eoi_offer(c);
		}
	}
	bt_enter(c);
	return vector;
}

static bool take_interrupt(struct bt_cpu *c)
{
	struct bt_event event = {.kind = EVENT_INTERRUPT};
	int vector;

	if (likely(!c->intr_hint) || !(c->eflags & FLAG_IF) || c->shadow)
		return false;
	/* Cleared first: what arrives from here on posts VCPU_EV_INTR. */
	c->intr_hint = 0;
	vector = acknowledge(c);
	if (vector < 0)
		return false;
	/* There may be more; seen when IF opens again. */
	c->intr_hint = 1;
	c->mp_state = X86_MP_RUNNABLE;
	c->stat.interrupts++;
	event.vector = (u8)vector;
	bt_deliver_event(c, &event);
	return true;
}

/* ---- the boundary ------------------------------------------------------ */

/* An exception that a loaded state still owes. */
static bool take_saved_exception(struct bt_cpu *c)
{
	if (likely(!c->exc.pending))
		return false;
	c->exc.pending = false;
	/* #DB between two instructions is a trap: no RF in its image. */
	if (c->exc.vector == VEC_DB)
		bt_deliver_event(c, &(const struct bt_event){
					    .vector = VEC_DB,
					    .kind = EVENT_TRAP,
				    });
	else
		bt_deliver_pending(c);
	return true;
}

/* And an interrupt that was acknowledged before the state was saved. */
static bool take_saved_interrupt(struct bt_cpu *c)
{
	struct bt_event event = {.kind = EVENT_INTERRUPT};

	if (likely(c->intr_owed < 0))
		return false;
	event.vector = (u8)c->intr_owed;
	c->intr_owed = -1;
	c->mp_state = X86_MP_RUNNABLE;
	bt_deliver_event(c, &event);
	return true;
}

/* Once only: a loop may come back to the address. */
static void age_shadow(struct bt_cpu *c)
{
	if (c->shadow && c->gpr[17] != c->shadow_ip)
		c->shadow = 0;
	c->shadow_ip = ~c->gpr[17];
}

/* True: something was delivered, look again. */
static bool deliver_one(struct bt_cpu *c)
{
	return take_saved_exception(c) || take_saved_interrupt(c) ||
	       take_traps(c) || take_nmi(c) || take_interrupt(c);
}

static enum bt_next go_on(struct bt_cpu *c)
{
	bool step = c->eflags & FLAG_TF;

	c->stepping = step;
	c->repeating = 0;
	/* RF is for one instruction; the one that sets it attends. */
	c->eflags &= ~(u32)FLAG_RF;
	if (likely(!step && !c->shadow && !bt_watches(c, WATCH_EXEC)))
		return BT_RUN_BLOCK;
	bt_attend(c, ATTN_STEP);
	return BT_RUN_ONE;
}

enum bt_next bt_attend_all(struct bt_cpu *c)
{
	const u32 mine =
		ATTN_EVENTS | ATTN_STEP | ATTN_TRAP | ATTN_HALT | ATTN_STOP;
	u32 why = __atomic_fetch_and((u32 *)&c->attention, ~mine,
				     __ATOMIC_SEQ_CST) &
		  mine;

	c->rip = c->gpr[17] &= c->ip_mask;
	for (;;) {
		if (why & ATTN_STOP)
			return BT_LEAVE;
		if (why & ATTN_EVENTS && take_mail(c) && !kick_waits(c)) {
			bt_attend(c, why);
			return leave(c, VCPU_EXIT_KICK);
		}
		if (c->mp_state == X86_MP_WAIT_SIPI)
			return leave(c, VCPU_EXIT_HALT);
		age_shadow(c);
		why = 0;
		if (!deliver_one(c)) {
			if (c->mp_state == X86_MP_HALTED)
				return leave(c, VCPU_EXIT_HALT);
			if (likely(!(c->dr[7] & 0xff)) ||
			    !take_code_breakpoint(c))
				return go_on(c);
		}
		/* A delivery that ended in a triple fault. */
		why = __atomic_fetch_and((u32 *)&c->attention, ~mine,
					 __ATOMIC_SEQ_CST) &
		      mine;
	}
}
