/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading segment registers: MOV, POP, LDS and its kin.
 *
 * References: [1] Intel SDM vol. 2, MOV, POP, LDS (pseudo-code); vol. 3A
 *                 3.4.2, 3.4.4, 5.4.1 (null selectors), 6.8.3 (MOV SS).
 *             [2] AMD APM vol. 2 4.5.
 *
 * A null selector clears the base on either vendor, as CPUID promises.
 */
#include "bt_ops.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"

void bt_null_segment(struct x86_segment *s, u16 sel)
{
	s->base = 0;
	s->limit = 0;
	s->selector = sel;
	s->attr = SEG_UNUSABLE;
}

/* [1] vol. 3A 20.1.1. Limit and size stay as they were ("unreal" mode). */
void bt_real_segment(struct x86_segment *s, u16 sel)
{
	if (s->attr & SEG_UNUSABLE)
		s->limit = 0xffff;
	s->attr = (s->attr & (SEG_DB | SEG_G)) | SEG_P | SEG_S | SEG_WRITABLE |
		  SEG_ACCESSED;
	s->selector = sel;
	s->base = (u32)sel << 4;
}

void bt_flat_code(struct x86_segment *s, u16 sel, unsigned dpl, bool code64)
{
	s->base = 0;
	s->limit = 0xffffffff;
	s->selector = sel;
	s->attr =
		(u16)(SEG_P | SEG_S | SEG_CODE | SEG_READABLE | SEG_ACCESSED |
		      SEG_G | dpl << SEG_DPL_SHIFT | (code64 ? SEG_L : SEG_DB));
}

void bt_flat_stack(struct x86_segment *s, u16 sel, unsigned dpl)
{
	s->base = 0;
	s->limit = 0xffffffff;
	s->selector = sel;
	s->attr = (u16)(SEG_P | SEG_S | SEG_WRITABLE | SEG_ACCESSED | SEG_G |
			SEG_DB | dpl << SEG_DPL_SHIFT);
}

void bt_check_ss(struct bt_cpu *c, u16 sel, u8 cpl, struct bt_blame blame,
		 struct x86_segment *s)
{
	const u16 kind = SEG_S | SEG_CODE | SEG_WRITABLE;
	struct bt_desc d;

	bt_desc_load(c, sel, blame.ext, blame.vector, &d);
	if ((sel & SEL_RPL) != cpl || bt_desc_dpl(&d) != cpl ||
	    (bt_desc_attr(&d) & kind) != (SEG_S | SEG_WRITABLE))
		bt_raise_error(c, blame.vector, SEL_ERR(sel) | blame.ext);
	if (!(bt_desc_attr(&d) & SEG_P))
		bt_raise_error(c, VEC_SS, SEL_ERR(sel) | blame.ext);
	bt_desc_set_accessed(c, &d);
	bt_desc_to_segment(&d, sel, s);
}

static void load_ss(struct bt_cpu *c, u16 sel)
{
	struct x86_segment s;

	if (bt_sel_null(sel)) {
		/* [1] 5.4.1.1: only for 64-bit code below privilege 3. */
		if (!bt_mode64(c) || c->cpl == 3 || (sel & SEL_RPL) != c->cpl)
			bt_gp(c);
		bt_null_segment(&s, sel);
		s.attr |= (u16)(c->cpl << SEG_DPL_SHIFT);
	} else {
		bt_check_ss(c, sel, c->cpl, (struct bt_blame){VEC_GP, 0}, &s);
	}
	c->seg[X86_SS] = s;
	bt_update_mode(c);
}

static void load_data(struct bt_cpu *c, unsigned seg, u16 sel)
{
	u32 error = SEL_ERR(sel);
	struct bt_desc d;
	u16 attr;

	if (bt_sel_null(sel)) {
		bt_null_segment(&c->seg[seg], sel);
		bt_update_segment(c, seg);
		return;
	}
	bt_desc_load(c, sel, 0, VEC_GP, &d);
	attr = bt_desc_attr(&d);
	if (!(attr & SEG_S) || (attr & (SEG_CODE | SEG_READABLE)) == SEG_CODE)
		bt_raise_error(c, VEC_GP, error);
	if ((attr & (SEG_CODE | SEG_CONFORMING)) !=
	    (SEG_CODE | SEG_CONFORMING)) {
		unsigned dpl = bt_desc_dpl(&d);

		if (dpl < c->cpl || dpl < (sel & SEL_RPL))
			bt_raise_error(c, VEC_GP, error);
	}
	if (!(attr & SEG_P))
		bt_raise_error(c, VEC_NP, error);
	bt_desc_set_accessed(c, &d);
	bt_desc_to_segment(&d, sel, &c->seg[seg]);
	bt_update_segment(c, seg);
}

void bt_load_segment(struct bt_cpu *c, unsigned seg, u16 sel)
{
	if (!bt_protected(c)) {
		bt_real_segment(&c->seg[seg], sel);
		if (seg == X86_SS)
			bt_update_mode(c);
		else
			bt_update_segment(c, seg);
	} else if (seg == X86_SS) {
		load_ss(c, sel);
	} else {
		load_data(c, seg, sel);
	}
}

/* [1] 6.8.3: no interrupt or debug trap before the stack pointer is set. */
static void shadow_ss(struct bt_cpu *c, unsigned seg)
{
	if (seg == X86_SS)
		bt_set_shadow(c, BT_SHADOW_MOVSS);
}

void bt_op_mov_se(struct bt_cpu *c, const struct bt_insn *i)
{
	unsigned seg = i->a & 7;
	u16 sel;

	if (seg == X86_CS || seg >= X86_SEGS)
		bt_ud(c);
	sel = i->mem ? bt_get_rm16(c, i) : *bt_r16(c, i->b);
	bt_load_segment(c, seg, sel);
	shadow_ss(c, seg);
}

void bt_op_mov_es(struct bt_cpu *c, const struct bt_insn *i)
{
	unsigned seg = (i->mem ? i->a : i->b) & 7;

	if (seg >= X86_SEGS)
		bt_ud(c);
	if (i->mem)
		bt_store16(c, bt_operand(c, i, 2, true), c->seg[seg].selector);
	else
		bt_set_reg(c, i->a, i->width, c->seg[seg].selector);
}

/* The opcodes 07 17 1F and 0F A1, A9 have the register in bits 5:3. */
static void pop_segment(struct bt_cpu *c, const struct bt_insn *i, unsigned w)
{
	unsigned seg = bt_rows[i->row].opcode >> 3 & 7;
	u64 mask = c->stack_mask;
	u64 rsp = c->gpr[X86_RSP];
	u16 sel = (u16)bt_peek(c, w, 0);

	bt_load_segment(c, seg, sel);
	/* The stack's size was that of the old SS. */
	rsp = (rsp & ~mask) | ((rsp + (1u << w)) & mask);
	c->gpr[X86_RSP] = mask == 0xffffffff ? rsp & mask : rsp;
	shadow_ss(c, seg);
}

void bt_op_pop_seg16(struct bt_cpu *c, const struct bt_insn *i)
{
	pop_segment(c, i, W16);
}

void bt_op_pop_seg32(struct bt_cpu *c, const struct bt_insn *i)
{
	pop_segment(c, i, W32);
}

void bt_op_pop_seg64(struct bt_cpu *c, const struct bt_insn *i)
{
	pop_segment(c, i, W64);
}

static void load_far_pointer(struct bt_cpu *c, const struct bt_insn *i,
			     unsigned seg)
{
	unsigned w = i->width;
	unsigned size = 1u << w;
	gva_t va;
	u64 off;

	/* [2] vol. 3, LSS: there is no m16:64. */
	if (w == W64 && bt_is_amd(c))
		size = 4;
	va = bt_operand(c, i, size + 2, false);
	off = size == 8 ? bt_load64(c, va) : bt_load(c, va, size / 2);
	bt_load_segment(c, seg, bt_load16(c, (va + size) & c->lin_mask));
	bt_set_reg(c, i->a, w, off);
	shadow_ss(c, seg);
}

void bt_op_les(struct bt_cpu *c, const struct bt_insn *i)
{
	load_far_pointer(c, i, X86_ES);
}

void bt_op_lds(struct bt_cpu *c, const struct bt_insn *i)
{
	load_far_pointer(c, i, X86_DS);
}

void bt_op_lss(struct bt_cpu *c, const struct bt_insn *i)
{
	load_far_pointer(c, i, X86_SS);
}

void bt_op_lfs(struct bt_cpu *c, const struct bt_insn *i)
{
	load_far_pointer(c, i, X86_FS);
}

void bt_op_lgs(struct bt_cpu *c, const struct bt_insn *i)
{
	load_far_pointer(c, i, X86_GS);
}
