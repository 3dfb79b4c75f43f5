/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions about descriptor tables and descriptors: LGDT, LIDT, LLDT, LTR
 * and their stores; LAR, LSL, VERR, VERW, ARPL.
 *
 * References: [1] Intel SDM vol. 2 (each instruction), vol. 3A 2.4, 5.10.
 */
#include "bt_ops.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"

/* [1] vol. 3A 2.5, CR4.UMIP. */
static void check_umip(struct bt_cpu *c)
{
	if (c->cr4 & CR4_UMIP && c->cpl)
		bt_gp(c);
}

/* ---- GDTR and IDTR ----------------------------------------------------- */

static void store_table(struct bt_cpu *c, const struct bt_insn *i,
			const struct x86_table *table)
{
	unsigned w = bt_mode64(c) ? W64 : W32;
	gva_t va;

	check_umip(c);
	va = bt_operand(c, i, 2 + (1u << w), true);
	bt_probe(c, va, 2 + (1u << w), true);
	bt_store16(c, va, table->limit);
	bt_store(c, (va + 2) & c->lin_mask, w, table->base);
}

void bt_op_sgdt(struct bt_cpu *c, const struct bt_insn *i)
{
	store_table(c, i, &c->gdtr);
}

void bt_op_sidt(struct bt_cpu *c, const struct bt_insn *i)
{
	store_table(c, i, &c->idtr);
}

/* A 16-bit operand size takes 24 bits of base. */
static void load_table(struct bt_cpu *c, const struct bt_insn *i,
		       struct x86_table *table)
{
	unsigned w = bt_mode64(c) ? W64 : W32;
	u16 limit;
	gva_t va;
	u64 base;

	bt_need_cpl0(c);
	va = bt_operand(c, i, 2 + (1u << w), false);
	limit = bt_load16(c, va);
	base = bt_load(c, (va + 2) & c->lin_mask, w);
	if (w == W64 && !x86_is_canonical(base))
		bt_gp(c);
	if (w == W32 && i->width == W16)
		base &= 0xffffff;
	table->limit = limit;
	table->base = base;
}

void bt_op_lgdt(struct bt_cpu *c, const struct bt_insn *i)
{
	load_table(c, i, &c->gdtr);
}

void bt_op_lidt(struct bt_cpu *c, const struct bt_insn *i)
{
	load_table(c, i, &c->idtr);
}

/* ---- LDTR and TR ------------------------------------------------------- */

static void store_selector(struct bt_cpu *c, const struct bt_insn *i, u16 sel)
{
	bt_need_protected(c);
	check_umip(c);
	if (i->mem)
		bt_store16(c, bt_operand(c, i, 2, true), sel);
	else
		bt_set_reg(c, i->a, i->width, sel);
}

void bt_op_sldt(struct bt_cpu *c, const struct bt_insn *i)
{
	store_selector(c, i, c->seg[X86_LDTR].selector);
}

void bt_op_str(struct bt_cpu *c, const struct bt_insn *i)
{
	store_selector(c, i, c->seg[X86_TR].selector);
}

static u16 operand16(struct bt_cpu *c, const struct bt_insn *i)
{
	return i->mem ? bt_get_rm16(c, i) : *bt_r16(c, i->a);
}

/* What LLDT and LTR share: a system descriptor in the GDT of type `type`, or
 * of `type` and those in `also`. */
static void load_system(struct bt_cpu *c, u16 sel, u32 types, struct bt_desc *d)
{
	u16 attr;

	if (sel & SEL_TI)
		bt_raise_error(c, VEC_GP, SEL_ERR(sel));
	bt_desc_load(c, sel, 0, VEC_GP, d);
	attr = bt_desc_attr(d);
	if (attr & SEG_S || !(types >> (attr & SEG_TYPE) & 1))
		bt_raise_error(c, VEC_GP, SEL_ERR(sel));
	if (!(attr & SEG_P))
		bt_raise_error(c, VEC_NP, SEL_ERR(sel));
	if (!bt_long_mode(c))
		return;
	bt_desc_load_high(c, sel, 0, d);
	if (!x86_is_canonical(d->high << 32 | (d->raw >> 16 & 0xffffff) |
			      (d->raw >> 32 & 0xff000000)))
		bt_raise_error(c, VEC_GP, SEL_ERR(sel));
}

void bt_op_lldt(struct bt_cpu *c, const struct bt_insn *i)
{
	const u32 ldt = 1 << 2;
	struct bt_desc d;
	u16 sel;

	bt_need_protected(c);
	bt_need_cpl0(c);
	sel = operand16(c, i);
	if (bt_sel_null(sel)) {
		bt_null_segment(&c->seg[X86_LDTR], sel);
		return;
	}
	load_system(c, sel, ldt, &d);
	bt_desc_to_segment(&d, sel, &c->seg[X86_LDTR]);
}

void bt_op_ltr(struct bt_cpu *c, const struct bt_insn *i)
{
	const u32 tss16 = 1 << 1, tss32 = 1 << 9;
	const unsigned busy = 2;
	struct bt_desc d;
	u16 sel;

	bt_need_protected(c);
	bt_need_cpl0(c);
	sel = operand16(c, i);
	if (bt_sel_null(sel))
		bt_gp(c);
	load_system(c, sel, bt_long_mode(c) ? tss32 : tss16 | tss32, &d);
	bt_store_sys(c, d.va + 5, 1, (d.raw >> 40 & 0xff) | busy);
	bt_desc_to_segment(&d, sel, &c->seg[X86_TR]);
	c->seg[X86_TR].attr |= busy;
}

/* ---- looking at descriptors -------------------------------------------- */

/* ZF is the whole answer; the other flags stay. */
static void answer(struct bt_cpu *c, bool yes)
{
	c->aflags = (u16)((c->aflags & ~AF_ZF) | (yes ? AF_ZF : 0));
}

/* True if the descriptor exists and CPL and RPL may see it. */
static bool visible(struct bt_cpu *c, u16 sel, struct bt_desc *d)
{
	u16 attr;

	if (!bt_desc_find(c, sel, 8, &d->va))
		return false;
	d->raw = bt_load_sys(c, d->va, 8);
	d->high = 0;
	attr = bt_desc_attr(d);
	if (bt_desc_is_code(d) && attr & SEG_CONFORMING)
		return true;
	return bt_desc_dpl(d) >= c->cpl && bt_desc_dpl(d) >= (sel & SEL_RPL);
}

static u16 selector_operand(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_need_protected(c);
	return i->mem ? bt_get_rm16(c, i) : *bt_r16(c, i->b);
}

/* [1] vol. 2, LAR: table of types, bit per type. Bits 19:16, the limit's, are
 * undefined; CPUs leave them in. */
void bt_op_lar(struct bt_cpu *c, const struct bt_insn *i)
{
	const u32 legacy = 0x1a3e, lma = 0x1a04;
	u16 sel = selector_operand(c, i);
	struct bt_desc d;
	bool ok = visible(c, sel, &d);

	if (ok && !(bt_desc_attr(&d) & SEG_S))
		ok = (bt_long_mode(c) ? lma : legacy) >>
			     (bt_desc_attr(&d) & SEG_TYPE) &
		     1;
	if (ok)
		bt_set_reg(c, i->a, i->width, d.raw >> 32 & 0xffff00);
	answer(c, ok);
}

void bt_op_lsl(struct bt_cpu *c, const struct bt_insn *i)
{
	const u32 legacy = 0x0a0e, lma = 0x0a04;
	u16 sel = selector_operand(c, i);
	struct x86_segment s;
	struct bt_desc d;
	bool ok = visible(c, sel, &d);

	if (ok && !(bt_desc_attr(&d) & SEG_S))
		ok = (bt_long_mode(c) ? lma : legacy) >>
			     (bt_desc_attr(&d) & SEG_TYPE) &
		     1;
	if (ok) {
		bt_desc_to_segment(&d, sel, &s);
		bt_set_reg(c, i->a, i->width, s.limit);
	}
	answer(c, ok);
}

static u16 verify_operand(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_need_protected(c);
	return operand16(c, i);
}

void bt_op_verr(struct bt_cpu *c, const struct bt_insn *i)
{
	u16 sel = verify_operand(c, i);
	struct bt_desc d;
	bool ok = visible(c, sel, &d) && bt_desc_attr(&d) & SEG_S;

	if (ok && bt_desc_attr(&d) & SEG_CODE)
		ok = bt_desc_attr(&d) & SEG_READABLE;
	answer(c, ok);
}

void bt_op_verw(struct bt_cpu *c, const struct bt_insn *i)
{
	u16 sel = verify_operand(c, i);
	struct bt_desc d;
	bool ok = visible(c, sel, &d);

	answer(c,
	       ok && (bt_desc_attr(&d) & (SEG_S | SEG_CODE | SEG_WRITABLE)) ==
			       (SEG_S | SEG_WRITABLE));
}

void bt_op_arpl(struct bt_cpu *c, const struct bt_insn *i)
{
	u16 rpl = *bt_r16(c, i->mem ? i->a : i->b) & SEL_RPL;
	gva_t va = 0;
	u16 sel;

	bt_need_protected(c);
	if (i->mem) {
		va = bt_operand(c, i, 2, true);
		bt_probe(c, va, 2, true);
		sel = bt_load16(c, va);
	} else {
		sel = *bt_r16(c, i->a);
	}
	if ((sel & SEL_RPL) < rpl) {
		sel = (u16)((sel & ~SEL_RPL) | rpl);
		if (i->mem)
			bt_store16(c, va, sel);
		else
			*bt_r16(c, i->a) = sel;
		answer(c, true);
		return;
	}
	answer(c, false);
}
