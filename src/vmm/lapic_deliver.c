/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between LAPICs: who is meant, and what it does to them.
 *
 * References: [1] Intel SDM vol. 3A 11.6 (IPIs, destinations), 11.8.1 (which
 *                 messages are accepted), 11.11 (MSI), 11.12.10 (x2APIC).
 *
 * All of it runs on any thread and looks at lapic->route only.
 *
 * Not emulated: SMIs (there is no SMM; counted), and ExtINT as a message (an
 * 8259 reaches a vCPU through LINT0).
 */
#include "util/log.h"
#include "vmm/lapic_internal.h"
#include "vmm/trace.h"

/* ---- Destinations ---- */

/* [1] 11.6.2: all-ones is everybody, in either mode. 0xff comes from senders
 * with eight bits (xAPIC, IOAPIC, MSI). There is no APIC ID 255 here. */
static bool lapic_is_broadcast(u32 dest)
{
	return dest == 0xff || dest == 0xffffffff;
}

/* [1] 11.6.2.2, and 11.12.10.2 for x2APIC. */
static bool lapic_match_logical(u64 route, u32 dest)
{
	u32 id = (u32)route;

	if (route & LAPIC_ROUTE_X2APIC)
		return dest == 0xffffffff ||
		       (dest >> 16 == id >> 16 && (dest & id & 0xffff) != 0);
	if (lapic_is_broadcast(dest))
		return true;
	if (dest > 0xff)
		return false;
	if (route & LAPIC_ROUTE_FLAT)
		return (dest & id) != 0;
	if (route & LAPIC_ROUTE_CLUSTER)
		return (dest >> 4 == id >> 4 || dest >> 4 == 0xf) &&
		       (dest & id & 0xf) != 0;
	return false;
}

_Static_assert(VM_MAX_VCPUS <= 64, "a set of LAPICs is one word");

/* The LAPICs a message is for, bit = vCPU number. */
static u64 lapic_targets(const struct vm *vm, const struct lapic_msg *msg)
{
	bool all = !msg->logical && lapic_is_broadcast(msg->dest);
	u64 route, set = 0;
	unsigned i;

	if (!msg->logical && !all && msg->dest >= vm->vcpu_count)
		return 0;
	/* An APIC ID is the vCPU's number and cannot be changed. */
	if (!msg->logical && !all) {
		route = lapic_route(&vm->vcpus[msg->dest]->lapic);
		return route & LAPIC_ROUTE_ON ? BIT(msg->dest) : 0;
	}
	for (i = 0; i < vm->vcpu_count; i++) {
		route = lapic_route(&vm->vcpus[i]->lapic);
		if ((route & LAPIC_ROUTE_ON) &&
		    (all || lapic_match_logical(route, msg->dest)))
			set |= BIT(i);
	}
	return set;
}

/*
 * [1] 11.6.2.4: of the LAPICs in `set` that take interrupts, one with the
 * lowest task priority. Among equals the vector decides, so that one device's
 * interrupts stay on one vCPU and different ones spread.
 */
static u64 lapic_arbitrate(const struct vm *vm, u64 set, u8 vector)
{
	unsigned count = vm->vcpu_count, best = 0, best_tpr = ~0u, i, n, tpr;
	const struct lapic *lapic;

	for (i = 0; i < count; i++) {
		n = (vector + i) % count;
		lapic = &vm->vcpus[n]->lapic;
		if (!(set & BIT(n)) ||
		    !(lapic_route(lapic) & LAPIC_ROUTE_ENABLED))
			continue;
		/* Another thread's register: a hint, however old. */
		tpr = __atomic_load_n(&lapic->regs.tpr, __ATOMIC_RELAXED) >> 4;
		if (tpr < best_tpr) {
			best_tpr = tpr;
			best = n;
		}
	}
	return best_tpr == ~0u ? 0 : BIT(best);
}

/* ---- Acceptance ---- */

void lapic_mail(struct lapic *lapic, u32 bits, u32 events)
{
	atomic_fetch_or(&lapic->mail, bits);
	vcpu_post(lapic->vcpu, events);
}

void lapic_accept(struct lapic *lapic, u8 vector, bool level)
{
	u32 bit = 1u << (vector & 31);
	_Atomic u32 *tmr = &lapic->regs.tmr[vector >> 5];

	/* Before IRR: who sees the vector finds its trigger mode. */
	if (level)
		atomic_fetch_or(tmr, bit);
	else if (atomic_load_explicit(tmr, memory_order_relaxed) & bit)
		atomic_fetch_and(tmr, ~bit);
	/* Where the bit was set already, its setter notifies. */
	if (!(atomic_fetch_or(&lapic->regs.irr[vector >> 5], bit) & bit))
		vcpu_notify(lapic->vcpu);
}

static bool lapic_receive_fixed(struct lapic *lapic,
				const struct lapic_msg *msg)
{
	/* [1] 11.4.7.2: software-disabled, it takes none. */
	if (!(lapic_route(lapic) & LAPIC_ROUTE_ENABLED))
		return false;
	if (msg->vector < 16) {
		lapic_mail(lapic, LAPIC_MAIL_BAD_VECTOR, VCPU_EV_INTR);
		return true;
	}
	lapic_accept(lapic, msg->vector, msg->level);
	return true;
}

/* [1] 11.8.1 */
static bool lapic_receive(struct lapic *lapic, const struct lapic_msg *msg)
{
	switch (msg->delivery) {
	case LAPIC_FIXED:
	case LAPIC_LOWEST:
		return lapic_receive_fixed(lapic, msg);
	case LAPIC_NMI:
		vcpu_post(lapic->vcpu, VCPU_EV_NMI);
		return true;
	case LAPIC_INIT:
		vcpu_post(lapic->vcpu, VCPU_EV_INIT);
		return true;
	case LAPIC_SIPI:
		atomic_store(&lapic->vcpu->sipi_vector, msg->vector);
		vcpu_post(lapic->vcpu, VCPU_EV_SIPI);
		return true;
	case LAPIC_SMI:
		atomic_fetch_add(&lapic->smis_ignored, 1);
		log_guest("SMI to vCPU %u ignored", lapic->vcpu->id);
		return true;
	default:
		log_guest("interrupt message of unsupported type %u ignored",
			  msg->delivery);
		return false;
	}
}

static bool lapic_deliver_set(struct vm *vm, u64 set,
			      const struct lapic_msg *msg)
{
	bool accepted = false;

	if (msg->delivery == LAPIC_LOWEST && (set & (set - 1)))
		set = lapic_arbitrate(vm, set, msg->vector);
	for (; set; set &= set - 1)
		accepted |= lapic_receive(
			&vm->vcpus[__builtin_ctzll(set)]->lapic, msg);
	return accepted;
}

/* ---- Senders ---- */

bool lapic_deliver(struct vm *vm, const struct lapic_msg *msg)
{
	bool accepted = lapic_deliver_set(vm, lapic_targets(vm, msg), msg);

	trace(TRACE_LAPIC, "message vector %u type %u to %s %#x: %s",
	      msg->vector, msg->delivery, msg->logical ? "set" : "id",
	      msg->dest, accepted ? "taken" : "refused");
	return accepted;
}

/* [1] 11.11.1 and 11.11.2. A level de-assert is no message of its own. */
bool lapic_deliver_msi(struct vm *vm, u64 addr, u32 data)
{
	struct lapic_msg msg = {
		.dest = addr >> 12 & 0xff,
		.logical = addr & BIT(2),
		.delivery = data >> 8 & 7,
		.vector = data & 0xff,
		.level = data & BIT(15),
	};

	if (addr >> 20 != 0xfee)
		return false;
	if (msg.level && !(data & BIT(14)))
		return true;
	/* The redirection hint: any one of those named. */
	if ((addr & BIT(3)) && msg.logical && msg.delivery == LAPIC_FIXED)
		msg.delivery = LAPIC_LOWEST;
	return lapic_deliver(vm, &msg);
}

enum lapic_shorthand { /* [1] 11.6.1, ICR bits 19:18 */
		       LAPIC_NO_SHORTHAND,
		       LAPIC_SELF,
		       LAPIC_ALL,
		       LAPIC_OTHERS,
};

void lapic_send_ipi(struct lapic *lapic, u32 icr_lo, u32 dest)
{
	struct vm *vm = lapic->vcpu->vm;
	struct lapic_msg msg = {
		.dest = dest,
		.logical = icr_lo & BIT(11),
		.delivery = icr_lo >> 8 & 7,
		.vector = icr_lo & 0xff,
		/* Trigger mode matters to INIT only ([1] 11.6.1). */
		.level = false,
	};
	unsigned shorthand = icr_lo >> 18 & 3;

	/* INIT level de-assert: no effect since the Pentium 4. */
	if (msg.delivery == LAPIC_INIT &&
	    (icr_lo & (BIT(15) | BIT(14))) == BIT(15))
		return;
	if (msg.delivery <= LAPIC_LOWEST && msg.vector < 16) {
		lapic_error(lapic, ESR_SEND_ILLEGAL);
		return;
	}
	if (shorthand == LAPIC_SELF) {
		lapic_receive(lapic, &msg);
		return;
	}
	if (shorthand == LAPIC_NO_SHORTHAND) {
		lapic_deliver(vm, &msg);
		return;
	}
	msg.logical = false;
	msg.dest = 0xffffffff;
	dest = lapic->vcpu->id;
	lapic_deliver_set(vm,
			  lapic_targets(vm, &msg) &
				  ~(shorthand == LAPIC_OTHERS ? BIT(dest) : 0),
			  &msg);
}

/* ---- Local sources ---- */

void lapic_raise_local(struct lapic *lapic, enum lapic_lvt source)
{
	u64 route = lapic_route(lapic);

	/* NMIs do not wait until the vCPU looks for interrupts. */
	if ((source == LVT_LINT0 && (route & LAPIC_ROUTE_NMI0)) ||
	    (source == LVT_LINT1 && (route & LAPIC_ROUTE_NMI1))) {
		vcpu_post(lapic->vcpu, VCPU_EV_NMI);
		return;
	}
	lapic_mail(lapic, BIT(source), VCPU_EV_INTR);
}

void lapic_extint_raised(struct vm *vm)
{
	struct lapic *lapic;
	unsigned i;
	u64 route;

	for (i = 0; i < vm->vcpu_count; i++) {
		lapic = &vm->vcpus[i]->lapic;
		route = lapic_route(lapic);
		if (route & LAPIC_ROUTE_EXTINT)
			vcpu_notify(lapic->vcpu);
		else if (route & (LAPIC_ROUTE_LINT0 | LAPIC_ROUTE_NMI0))
			lapic_raise_local(lapic, LVT_LINT0);
	}
}

bool lapic_accepts_extint(const struct lapic *lapic)
{
	return lapic_route(lapic) & LAPIC_ROUTE_EXTINT;
}
