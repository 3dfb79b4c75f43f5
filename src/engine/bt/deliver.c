/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery of exceptions and interrupts through the IDT.
 *
 * References: [1] Intel SDM vol. 3A 6.10-6.14, 7.7 (TSS); vol. 2A, INT n
 *                 (the pseudo-code, followed check by check).
 *             [2] AMD APM vol. 2 8.7-8.9; vol. 3, INT.
 *
 * Not emulated: task gates and with them task switches (#GP with the gate's
 * error code, counted), virtual-8086 mode.
 */
#include "engine/bt/bt_trace.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"
#include "vmm/trace.h"

struct gate {
	u64 off;
	u16 selector;
	u8 type; /* [1] table 3-2 */
	u8 dpl;
	u8 ist;
	bool present;
};

enum gate_type {
	GATE_TASK = 5,
	GATE_INT16 = 6,
	GATE_TRAP16 = 7,
	GATE_INT32 = 14,
	GATE_TRAP32 = 15,
};

/* What the handler starts with, loaded when every push has worked. */
struct entry {
	struct x86_segment cs, ss;
	struct bt_stack stack;
	u8 cpl;
	bool new_ss;
};

void bt_no_task_switch(struct bt_cpu *c, u32 error)
{
	c->stat.task_switch++;
	bt_complain(c, "task switch at rip %#llx: not emulated, #GP",
		    (unsigned long long)c->rip);
	bt_raise_error(c, VEC_GP, error);
}

void bt_as_cpl(struct bt_cpu *c, u8 cpl)
{
	if (c->cpl == cpl)
		return;
	c->cpl = cpl;
	bt_update_tlb(c);
}

void bt_stack_current(struct bt_cpu *c, struct bt_stack *stack, unsigned width)
{
	stack->base = c->seg_base[X86_SS];
	stack->sp = bt_sp(c);
	stack->mask = c->stack_mask;
	stack->seg = bt_mode64(c) ? NULL : &c->seg[X86_SS];
	stack->error = 0;
	stack->width = (u8)width;
}

void bt_stack_push(struct bt_cpu *c, struct bt_stack *stack, u64 val)
{
	unsigned size = 1u << stack->width;
	u64 sp = (stack->sp - size) & stack->mask;
	gva_t va = stack->base + sp;

	if (stack->seg) {
		if (!bt_seg_fits(stack->seg, sp, size))
			bt_raise_error(c, VEC_SS, stack->error);
		va &= 0xffffffff;
	} else if (!x86_is_canonical(va)) {
		bt_raise_error(c, VEC_SS, stack->error);
	}
	bt_store(c, va, stack->width, val);
	stack->sp = sp;
}

u64 bt_tss_rsp(struct bt_cpu *c, unsigned slot, u32 ext)
{
	const struct x86_segment *tr = &c->seg[X86_TR];
	u32 off = 4 + 8 * slot;
	u64 rsp;

	if (off + 7 > tr->limit)
		bt_raise_error(c, VEC_TS, SEL_ERR(tr->selector) | ext);
	rsp = bt_load_sys(c, tr->base + off, 8);
	if (!x86_is_canonical(rsp))
		bt_raise_error(c, VEC_SS, ext);
	return rsp;
}

/* [1] 7.2.1 and 7.6: SP and SS of each level in the 32- and 16-bit TSS. */
void bt_tss_stack(struct bt_cpu *c, u8 cpl, u32 ext, struct x86_segment *ss,
		  u64 *sp)
{
	const struct x86_segment *tr = &c->seg[X86_TR];
	bool wide = tr->attr & 8;
	u32 size = wide ? 4 : 2;
	u32 off = size + 2 * size * cpl;
	u16 sel;

	if (off + size + 1 > tr->limit)
		bt_raise_error(c, VEC_TS, SEL_ERR(tr->selector) | ext);
	*sp = bt_load_sys(c, tr->base + off, size);
	sel = (u16)bt_load_sys(c, tr->base + off + size, 2);
	if (bt_sel_null(sel))
		bt_raise_error(c, VEC_TS, ext);
	bt_check_ss(c, sel, cpl, (struct bt_blame){VEC_TS, (u8)ext}, ss);
}

static void load_gate(struct bt_cpu *c, u8 vector, u32 ext, struct gate *g)
{
	unsigned size = bt_long_mode(c) ? 16 : 8;
	u32 error = vector * 8u + 2 + ext;
	gva_t va = c->idtr.base + (u64)vector * size;
	u64 raw;

	if ((u32)vector * size + size - 1 > c->idtr.limit)
		bt_raise_error(c, VEC_GP, error);
	raw = bt_load_sys(c, size == 8 ? va & 0xffffffff : va, 8);
	g->off = (raw & 0xffff) | (raw >> 32 & 0xffff0000);
	g->selector = raw >> 16 & 0xffff;
	g->type = raw >> 40 & 0x1f;
	g->dpl = raw >> 45 & 3;
	g->present = raw >> 47 & 1;
	g->ist = 0;
	if (size == 16) {
		g->ist = raw >> 32 & 7;
		g->off |= bt_load_sys(c, va + 8, 4) << 32;
	}
}

static void check_gate(struct bt_cpu *c, const struct bt_event *event, u32 ext,
		       const struct gate *g)
{
	u32 error = event->vector * 8u + 2 + ext;

	switch (g->type) {
	case GATE_TASK:
	case GATE_INT16:
	case GATE_TRAP16:
		if (bt_long_mode(c))
			bt_raise_error(c, VEC_GP, error);
		break;
	case GATE_INT32:
	case GATE_TRAP32:
		break;
	default:
		bt_raise_error(c, VEC_GP, error);
	}
	if (event->kind == EVENT_SOFT && g->dpl < c->cpl)
		bt_raise_error(c, VEC_GP, error);
	if (!g->present)
		bt_raise_error(c, VEC_NP, error);
	if (g->type == GATE_TASK)
		bt_no_task_switch(c, error);
}

/* The handler's code segment; sets the new privilege level. */
static void check_code(struct bt_cpu *c, const struct gate *g, u32 ext,
		       struct entry *to)
{
	u32 error = SEL_ERR(g->selector) | ext;
	struct bt_desc d;
	u16 attr;

	if (bt_sel_null(g->selector))
		bt_raise_error(c, VEC_GP, ext);
	bt_desc_load(c, g->selector, ext, VEC_GP, &d);
	attr = bt_desc_attr(&d);
	if (!bt_desc_is_code(&d) || bt_desc_dpl(&d) > c->cpl)
		bt_raise_error(c, VEC_GP, error);
	if (bt_long_mode(c) && (attr & (SEG_L | SEG_DB)) != SEG_L)
		bt_raise_error(c, VEC_GP, error);
	if (!(attr & SEG_P))
		bt_raise_error(c, VEC_NP, error);
	to->cpl = attr & SEG_CONFORMING ? c->cpl : (u8)bt_desc_dpl(&d);
	bt_desc_set_accessed(c, &d);
	bt_desc_to_segment(&d, (u16)((g->selector & ~SEL_RPL) | to->cpl),
			   &to->cs);
}

/* [1] 6.14.2, 6.14.4, 6.14.5: 64-bit handlers get an aligned stack. */
static void choose_stack64(struct bt_cpu *c, const struct gate *g, u32 ext,
			   struct entry *to)
{
	struct bt_stack *stack = &to->stack;

	*stack = (struct bt_stack){.mask = ~0ull, .error = ext, .width = W64};
	if (g->ist)
		stack->sp = bt_tss_rsp(c, 3 + g->ist, ext);
	else if (to->cpl < c->cpl)
		stack->sp = bt_tss_rsp(c, to->cpl, ext);
	else
		stack->sp = c->gpr[X86_RSP];
	stack->sp &= ~15ull;
	to->new_ss = to->cpl < c->cpl;
	if (to->new_ss) {
		bt_null_segment(&to->ss, to->cpl);
		to->ss.attr |= (u16)(to->cpl << SEG_DPL_SHIFT);
	}
}

static void choose_stack(struct bt_cpu *c, const struct gate *g, u32 ext,
			 struct entry *to)
{
	struct bt_stack *stack = &to->stack;

	bt_stack_current(c, stack, g->type & 8 ? W32 : W16);
	stack->error = ext;
	to->new_ss = to->cpl < c->cpl;
	if (!to->new_ss)
		return;
	bt_tss_stack(c, to->cpl, ext, &to->ss, &stack->sp);
	stack->base = to->ss.base;
	stack->mask = to->ss.attr & SEG_DB ? 0xffffffff : 0xffff;
	stack->sp &= stack->mask;
	stack->seg = &to->ss;
	stack->error = SEL_ERR(to->ss.selector) | ext;
}

static u64 saved_ip(const struct bt_cpu *c, const struct bt_event *event)
{
	bool next = event->kind == EVENT_SOFT || event->kind == EVENT_ICEBP;

	return next ? c->gpr[17] : c->rip;
}

/* [1] 17.3.1.1: RF keeps an instruction breakpoint from firing again. */
static u32 saved_flags(const struct bt_cpu *c, const struct bt_event *event)
{
	u32 flags = bt_flags(c);

	if ((event->kind == EVENT_FAULT && event->vector != VEC_DF) ||
	    c->repeating)
		flags |= FLAG_RF;
	return flags;
}

static void push_frame(struct bt_cpu *c, const struct bt_event *event,
		       struct entry *to)
{
	struct bt_stack *stack = &to->stack;

	if (to->new_ss || bt_long_mode(c)) {
		bt_stack_push(c, stack, c->seg[X86_SS].selector);
		bt_stack_push(c, stack, c->gpr[X86_RSP]);
	}
	bt_stack_push(c, stack, saved_flags(c, event));
	bt_stack_push(c, stack, c->seg[X86_CS].selector);
	bt_stack_push(c, stack, saved_ip(c, event));
	if (event->has_error)
		bt_stack_push(c, stack, event->error);
}

static void deliver_protected(struct bt_cpu *c, const struct bt_event *event)
{
	u32 ext = event->kind == EVENT_SOFT ? 0 : 1;
	u32 cleared = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM;
	struct entry to;
	struct gate g;

	load_gate(c, event->vector, ext, &g);
	check_gate(c, event, ext, &g);
	check_code(c, &g, ext, &to);
	if (bt_long_mode(c))
		choose_stack64(c, &g, ext, &to);
	else
		choose_stack(c, &g, ext, &to);
	if (!(g.type & 8))
		g.off &= 0xffff;
	bt_as_cpl(c, to.cpl);
	push_frame(c, event, &to);
	if (bt_long_mode(c) ? !x86_is_canonical(g.off) : g.off > to.cs.limit)
		bt_raise_error(c, VEC_GP, ext);

	if (!(g.type & 1)) /* an interrupt gate */
		cleared |= FLAG_IF;
	c->eflags &= ~cleared;
	c->seg[X86_CS] = to.cs;
	if (to.new_ss)
		c->seg[X86_SS] = to.ss;
	if (to.stack.mask == 0xffff)
		c->gpr[X86_RSP] &= ~0xffffull;
	else
		c->gpr[X86_RSP] = 0;
	c->gpr[X86_RSP] |= to.stack.sp;
	bt_update_code(c);
	c->rip = c->gpr[17] = g.off;
}

/* [1] vol. 3A 20.1.4: the interrupt vector table. No error codes. */
static void deliver_real(struct bt_cpu *c, const struct bt_event *event)
{
	u32 off = event->vector * 4u;
	struct bt_stack stack;
	u32 vector;

	if (off + 3 > c->idtr.limit)
		bt_gp(c);
	vector = (u32)bt_load_sys(c, c->idtr.base + off, 4);
	bt_stack_current(c, &stack, W16);
	bt_stack_push(c, &stack, bt_flags(c));
	bt_stack_push(c, &stack, c->seg[X86_CS].selector);
	bt_stack_push(c, &stack, saved_ip(c, event));
	if ((vector & 0xffff) > c->seg[X86_CS].limit)
		bt_gp(c);
	bt_set_sp(c, stack.sp);
	c->eflags &= ~(u32)(FLAG_TF | FLAG_IF | FLAG_AC | FLAG_RF);
	bt_real_segment(&c->seg[X86_CS], (u16)(vector >> 16));
	bt_update_mode(c);
	c->rip = c->gpr[17] = vector & 0xffff;
}

void bt_deliver_event(struct bt_cpu *c, const struct bt_event *event)
{
	if (trace_on(TRACE_FAULT))
		bt_trace_event(c, event->vector, event->error);
	c->delivering = event->vector;
	if (event->kind == EVENT_SOFT || event->kind == EVENT_INTERRUPT)
		c->delivering += BT_BENIGN;
	if (bt_protected(c))
		deliver_protected(c, event);
	else
		deliver_real(c, event);
	c->delivering = -1;
	c->shadow = 0;
	c->stepping = 0;
	/* An instruction that faulted did not hit its data breakpoints. */
	if (event->kind == EVENT_FAULT)
		c->dr6_pending = 0;
	c->repeating = 0;
}

void bt_deliver(struct bt_cpu *c, u8 vector, bool soft, bool has_error,
		u32 error)
{
	const struct bt_event event = {
		.vector = vector,
		.kind = soft ? EVENT_SOFT : EVENT_FAULT,
		.has_error = has_error,
		.error = error,
	};

	bt_deliver_event(c, &event);
}
