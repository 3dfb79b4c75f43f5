/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions: raising, and what becomes of one that meets another.
 *
 * References: [1] Intel SDM vol. 3A 6.15, tables 6-4 and 6-5; 17.2.3 (DR6).
 *
 * Theory of operation: bt_raise() notes the exception in c->exc and unwinds to
 * the run loop, which calls bt_deliver_pending(). If that faults in its turn,
 * it unwinds to the same place with c->delivering telling what was under way.
 */
#include "engine/bt/sys.h"

#include <stdio.h>

static _Noreturn void throw(struct bt_cpu * c)
{
	/* Delivery and far transfers borrow rights (bt_as_cpl). */
	c->cpl = bt_protected(c) ? bt_seg_dpl(&c->seg[X86_SS]) & 3 : 0;
	bt_update_tlb(c);
	bt_longjmp(c->jmp);
}

void bt_raise(struct bt_cpu *c, u8 vector)
{
	c->exc.vector = vector;
	c->exc.has_error = false;
	c->exc.soft = false;
	c->exc.error = 0;
	throw(c);
}

void bt_raise_error(struct bt_cpu *c, u8 vector, u32 error)
{
	c->exc.vector = vector;
	c->exc.has_error = true;
	c->exc.soft = false;
	c->exc.error = error;
	throw(c);
}

void bt_raise_pf(struct bt_cpu *c, gva_t addr, u32 error)
{
	c->cr2 = addr;
	bt_raise_error(c, VEC_PF, error);
}

/* The VM ends here; nothing is delivered to the guest. */
void bt_refuse_fetch(struct bt_cpu *c, gva_t va, gpa_t pa)
{
	struct vcpu_exit *e = c->exit;

	bt_stop(c, VCPU_EXIT_GUEST);
	bt_leave(c);
	snprintf(e->message, sizeof(e->message),
		 "host/guest translation fault at rip %#llx: address %#llx "
		 "(physical %#llx) is no code",
		 (unsigned long long)c->rip, (unsigned long long)va,
		 (unsigned long long)pa);
	bt_enter(c);
	throw(c);
}

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

/* [1] table 6-4. */
static enum fault_class classify(int vector)
{
	switch (vector) {
	case VEC_DE:
	case VEC_TS:
	case VEC_NP:
	case VEC_SS:
	case VEC_GP:
		return CONTRIBUTORY;
	case VEC_PF:
		return PAGE_FAULT;
	case VEC_DF:
		return DOUBLE_FAULT;
	default:
		return BENIGN;
	}
}

static void triple_fault(struct bt_cpu *c, u8 vector)
{
	struct vcpu_exit *e = c->exit;

	bt_stop(c, VCPU_EXIT_SHUTDOWN);
	bt_leave(c);
	snprintf(e->message, sizeof(e->message),
		 "triple fault at rip %#llx (cs %#x, cpl %u): exception %u in "
		 "the delivery of %u, then %u in that of the double fault; "
		 "error %#x, cr2 %#llx",
		 (unsigned long long)c->rip, c->seg[X86_CS].selector, c->cpl,
		 c->chain[1], c->chain[0], vector, c->exc.error,
		 (unsigned long long)c->cr2);
	bt_enter(c);
}

void bt_deliver_pending(struct bt_cpu *c)
{
	struct bt_event event = {
		.vector = c->exc.vector,
		.kind = c->exc.soft ? EVENT_SOFT : EVENT_FAULT,
		.has_error = c->exc.has_error,
		.error = c->exc.error,
	};
	enum fault_class first =
		c->delivering < 0 ? BENIGN : classify(c->delivering);
	enum fault_class second = classify(event.vector);

	if (unlikely(c->attention & ATTN_STOP))
		return; /* thrown only to get out of the instruction */
	c->stat.faults[event.vector & 31]++;
	/* [1] table 6-5. */
	if (first == DOUBLE_FAULT && second != BENIGN) {
		c->delivering = -1;
		triple_fault(c, event.vector);
		return;
	}
	if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
	    (first == PAGE_FAULT && second != BENIGN)) {
		c->chain[0] = (u8)c->delivering;
		c->chain[1] = event.vector;
		event.vector = VEC_DF;
		event.has_error = true;
		event.error = 0;
	}
	c->end = NULL;
	bt_deliver_event(c, &event);
}
