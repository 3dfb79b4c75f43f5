/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Far jumps and calls, call gates included.
 *
 * References: [1] Intel SDM vol. 2, CALL, JMP (pseudo-code); vol. 3A 5.8.
 *             [2] AMD APM vol. 3, CALL (Far), JMP (Far): no m16:64 pointers.
 *
 * Not emulated: task gates and TSS descriptors as targets (bt_no_task_switch).
 */
#include "bt_ops.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"

enum {
	TYPE_TSS16 = 1,
	TYPE_TSS16_BUSY = 3,
	TYPE_CALL16 = 4,
	TYPE_TASK_GATE = 5,
	TYPE_TSS32 = 9,
	TYPE_TSS32_BUSY = 11,
	TYPE_CALL32 = 12, /* 64-bit in long mode */
};

struct target {
	u16 sel;
	u64 off;
	u8 width; /* enum bt_width: of pushes */
	bool call;
	struct bt_desc desc;
};

/* ---- shared ------------------------------------------------------------ */

/* Where execution goes on, checked against the segment that will be CS. */
static u64 check_target_ip(struct bt_cpu *c, const struct x86_segment *cs,
			   u64 ip)
{
	if (bt_long_mode(c) && cs->attr & SEG_L) {
		if (!x86_is_canonical(ip))
			bt_gp(c);
	} else if ((u32)ip > cs->limit) {
		bt_gp(c);
	} else {
		ip = (u32)ip;
	}
	return ip;
}

static void check_long_code(struct bt_cpu *c, const struct bt_desc *d,
			    u32 error)
{
	const u16 both = SEG_L | SEG_DB;

	if (bt_long_mode(c) && (bt_desc_attr(d) & both) == both)
		bt_raise_error(c, VEC_GP, error);
}

static void push_return(struct bt_cpu *c, struct bt_stack *stack)
{
	bt_stack_push(c, stack, c->seg[X86_CS].selector);
	bt_stack_push(c, stack, c->gpr[17]);
}

static void load_cs(struct bt_cpu *c, const struct x86_segment *cs, u64 ip)
{
	c->seg[X86_CS] = *cs;
	bt_update_mode(c);
	c->gpr[17] = ip;
}

/* ---- code segment ------------------------------------------------------ */

static void far_to_code(struct bt_cpu *c, const struct target *t)
{
	u32 error = SEL_ERR(t->sel);
	u16 attr = bt_desc_attr(&t->desc);
	unsigned dpl = bt_desc_dpl(&t->desc), rpl = t->sel & SEL_RPL;
	struct x86_segment cs;
	struct bt_stack stack;
	u64 ip;

	if (attr & SEG_CONFORMING ? dpl > c->cpl
				  : (dpl != c->cpl || rpl > c->cpl))
		bt_raise_error(c, VEC_GP, error);
	check_long_code(c, &t->desc, error);
	if (!(attr & SEG_P))
		bt_raise_error(c, VEC_NP, error);
	bt_desc_to_segment(&t->desc, (u16)((t->sel & ~SEL_RPL) | c->cpl), &cs);
	ip = check_target_ip(c, &cs, t->off);
	if (t->call) {
		bt_stack_current(c, &stack, t->width);
		push_return(c, &stack);
		bt_set_sp(c, stack.sp);
	}
	bt_desc_set_accessed(c, &t->desc);
	load_cs(c, &cs, ip);
}

/* ---- call gate --------------------------------------------------------- */

struct call_gate {
	u16 sel;
	u64 off;
	u8 count; /* parameters to copy */
	u8 width;
	struct bt_desc code;
};

static void load_call_gate(struct bt_cpu *c, const struct target *t,
			   struct call_gate *g)
{
	u64 raw = t->desc.raw;
	struct bt_desc high = t->desc;

	g->sel = raw >> 16 & 0xffff;
	g->off = (raw & 0xffff) | (raw >> 32 & 0xffff0000);
	g->count = raw >> 32 & 0x1f;
	g->width = (raw >> 40 & SEG_TYPE) == TYPE_CALL32 ? W32 : W16;
	if (g->width == W16)
		g->off &= 0xffff;
	if (bt_long_mode(c)) {
		bt_desc_load_high(c, t->sel, 0, &high);
		g->off = (g->off & 0xffffffff) | high.high << 32;
		g->count = 0;
		g->width = W64;
	}
}

static void check_call_gate(struct bt_cpu *c, const struct target *t,
			    struct call_gate *g)
{
	unsigned dpl = bt_desc_dpl(&t->desc), rpl = t->sel & SEL_RPL;
	u32 error = SEL_ERR(t->sel);
	u16 attr;

	if (dpl < c->cpl || dpl < rpl)
		bt_raise_error(c, VEC_GP, error);
	if (!(bt_desc_attr(&t->desc) & SEG_P))
		bt_raise_error(c, VEC_NP, error);
	load_call_gate(c, t, g);
	error = SEL_ERR(g->sel);
	if (bt_sel_null(g->sel))
		bt_gp(c);
	bt_desc_load(c, g->sel, 0, VEC_GP, &g->code);
	attr = bt_desc_attr(&g->code);
	if (!bt_desc_is_code(&g->code) || bt_desc_dpl(&g->code) > c->cpl)
		bt_raise_error(c, VEC_GP, error);
	if (bt_long_mode(c) && (attr & (SEG_L | SEG_DB)) != SEG_L)
		bt_raise_error(c, VEC_GP, error);
	if (!t->call && !(attr & SEG_CONFORMING) &&
	    bt_desc_dpl(&g->code) != c->cpl)
		bt_raise_error(c, VEC_GP, error);
	if (!(attr & SEG_P))
		bt_raise_error(c, VEC_NP, error);
}

static void inner_stack(struct bt_cpu *c, const struct call_gate *g, u8 cpl,
			struct x86_segment *ss, struct bt_stack *stack)
{
	stack->width = g->width;
	if (bt_long_mode(c)) {
		bt_null_segment(ss, cpl);
		ss->attr |= (u16)(cpl << SEG_DPL_SHIFT);
		stack->base = 0;
		stack->mask = ~0ull;
		stack->seg = NULL;
		stack->error = 0;
		stack->sp = bt_tss_rsp(c, cpl, 0);
		return;
	}
	bt_tss_stack(c, cpl, 0, ss, &stack->sp);
	stack->base = ss->base;
	stack->mask = ss->attr & SEG_DB ? 0xffffffff : 0xffff;
	stack->sp &= stack->mask;
	stack->seg = ss;
	stack->error = SEL_ERR(ss->selector);
}

static void copy_parameters(struct bt_cpu *c, const struct call_gate *g,
			    struct bt_stack *stack)
{
	u32 params[31];
	unsigned n = g->count;

	for (unsigned k = 0; k < n; k++)
		params[k] = (u32)bt_peek(c, g->width, k << g->width);
	bt_as_cpl(c, (u8)bt_desc_dpl(&g->code));
	bt_stack_push(c, stack, c->seg[X86_SS].selector);
	bt_stack_push(c, stack, c->gpr[X86_RSP]);
	for (unsigned k = n; k-- > 0;)
		bt_stack_push(c, stack, params[k]);
}

static void call_inner(struct bt_cpu *c, const struct call_gate *g)
{
	u8 cpl = (u8)bt_desc_dpl(&g->code);
	struct x86_segment cs, ss;
	struct bt_stack stack;
	u64 ip;

	inner_stack(c, g, cpl, &ss, &stack);
	bt_desc_to_segment(&g->code, (u16)((g->sel & ~SEL_RPL) | cpl), &cs);
	ip = check_target_ip(c, &cs, g->off);
	copy_parameters(c, g, &stack);
	push_return(c, &stack);
	bt_desc_set_accessed(c, &g->code);
	c->seg[X86_SS] = ss;
	if (stack.mask == 0xffff)
		c->gpr[X86_RSP] = (c->gpr[X86_RSP] & ~0xffffull) | stack.sp;
	else
		c->gpr[X86_RSP] = stack.sp;
	load_cs(c, &cs, ip);
}

static void far_through_gate(struct bt_cpu *c, const struct target *t)
{
	struct x86_segment cs;
	struct bt_stack stack;
	struct call_gate g;
	u64 ip;

	check_call_gate(c, t, &g);
	if (t->call && !(bt_desc_attr(&g.code) & SEG_CONFORMING) &&
	    bt_desc_dpl(&g.code) < c->cpl) {
		call_inner(c, &g);
		return;
	}
	bt_desc_to_segment(&g.code, (u16)((g.sel & ~SEL_RPL) | c->cpl), &cs);
	ip = check_target_ip(c, &cs, g.off);
	if (t->call) {
		bt_stack_current(c, &stack, g.width);
		/* A gate of long mode leads to 64-bit code and its stack. */
		if (bt_long_mode(c)) {
			stack.base = 0;
			stack.mask = ~0ull;
			stack.seg = NULL;
			stack.sp = c->gpr[X86_RSP];
		}
		push_return(c, &stack);
		c->gpr[X86_RSP] =
			stack.mask == 0xffff
				? (c->gpr[X86_RSP] & ~0xffffull) | stack.sp
				: stack.sp;
	}
	bt_desc_set_accessed(c, &g.code);
	load_cs(c, &cs, ip);
}

/* ---- entry points ------------------------------------------------------ */

static void far_system(struct bt_cpu *c, const struct target *t)
{
	u32 error = SEL_ERR(t->sel);

	switch (bt_desc_attr(&t->desc) & SEG_TYPE) {
	case TYPE_CALL16:
		if (bt_long_mode(c))
			break;
		far_through_gate(c, t);
		return;
	case TYPE_CALL32:
		far_through_gate(c, t);
		return;
	case TYPE_TSS16:
	case TYPE_TASK_GATE:
	case TYPE_TSS32:
		if (bt_long_mode(c))
			break;
		bt_no_task_switch(c, error);
	default:
		break;
	}
	bt_raise_error(c, VEC_GP, error);
}

static void far_real(struct bt_cpu *c, const struct target *t)
{
	struct bt_stack stack;

	if (t->off > c->seg[X86_CS].limit)
		bt_gp(c);
	if (t->call) {
		bt_stack_current(c, &stack, t->width);
		push_return(c, &stack);
		bt_set_sp(c, stack.sp);
	}
	bt_real_segment(&c->seg[X86_CS], t->sel);
	bt_update_mode(c);
	c->gpr[17] = t->off;
}

static void far_transfer(struct bt_cpu *c, struct target *t)
{
	if (!bt_protected(c)) {
		far_real(c, t);
		return;
	}
	if (bt_sel_null(t->sel))
		bt_gp(c);
	bt_desc_load(c, t->sel, 0, VEC_GP, &t->desc);
	if (bt_desc_is_code(&t->desc))
		far_to_code(c, t);
	else if (bt_desc_attr(&t->desc) & SEG_S)
		bt_raise_error(c, VEC_GP, SEL_ERR(t->sel));
	else
		far_system(c, t);
}

static void far_immediate(struct bt_cpu *c, const struct bt_insn *i, bool call)
{
	struct target t = {
		.sel = (u16)i->disp,
		.off = i->width == W16 ? (u16)i->imm : (u32)i->imm,
		.width = i->width,
		.call = call,
	};

	far_transfer(c, &t);
}

static void far_indirect(struct bt_cpu *c, const struct bt_insn *i, bool call)
{
	unsigned w = i->width == W64 && bt_is_amd(c) ? W32 : i->width;
	struct target t = {.width = i->width, .call = call};
	gva_t va = bt_operand(c, i, (1u << w) + 2, false);

	t.off = bt_load(c, va, w);
	t.sel = bt_load16(c, (va + (1u << w)) & c->lin_mask);
	far_transfer(c, &t);
}

void bt_op_ljmp_p(struct bt_cpu *c, const struct bt_insn *i)
{
	far_immediate(c, i, false);
}

void bt_op_ljmp_m(struct bt_cpu *c, const struct bt_insn *i)
{
	far_indirect(c, i, false);
}

void bt_op_lcall_p(struct bt_cpu *c, const struct bt_insn *i)
{
	far_immediate(c, i, true);
}

void bt_op_lcall_m(struct bt_cpu *c, const struct bt_insn *i)
{
	far_indirect(c, i, true);
}
