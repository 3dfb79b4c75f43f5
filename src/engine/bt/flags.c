/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that change system flags: POPF, CLI, STI, CLAC, STAC.
 *
 * References: [1] Intel SDM vol. 2 (each); vol. 3A 6.8.1.
 *
 * Not offered: CR4.VME and PVI, hence no virtual interrupt flag.
 */
#include "bt_ops.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"

/* [1] vol. 2B, POPF, table 4-16. */
static void popf(struct bt_cpu *c, unsigned width)
{
	u32 mask = FLAG_ARITH | FLAG_TF | FLAG_DF | FLAG_NT;
	u32 val = (u32)bt_pop(c, width);

	if (width != W16)
		mask |= FLAG_AC | FLAG_ID | FLAG_RF; /* RF: cleared */
	if (c->cpl <= bt_iopl(c))
		mask |= FLAG_IF;
	if (c->cpl == 0)
		mask |= FLAG_IOPL;
	bt_set_flags(c, (bt_flags(c) & ~mask) | (val & mask & ~(u32)FLAG_RF));
}

void bt_op_popf16(struct bt_cpu *c, const struct bt_insn *i)
{
	popf(c, W16);
}

void bt_op_popf32(struct bt_cpu *c, const struct bt_insn *i)
{
	popf(c, W32);
}

void bt_op_popf64(struct bt_cpu *c, const struct bt_insn *i)
{
	popf(c, W64);
}

void bt_op_cli(struct bt_cpu *c, const struct bt_insn *i)
{
	if (c->cpl > bt_iopl(c))
		bt_gp(c);
	c->eflags &= ~(u32)FLAG_IF;
}

void bt_op_sti(struct bt_cpu *c, const struct bt_insn *i)
{
	if (c->cpl > bt_iopl(c))
		bt_gp(c);
	if (c->eflags & FLAG_IF)
		return;
	c->eflags |= FLAG_IF;
	bt_set_shadow(c, BT_SHADOW_STI); /* [1] 6.8.1 */
	if (c->intr_hint)
		bt_attend(c, ATTN_EVENTS);
}

static void set_ac(struct bt_cpu *c, u32 ac)
{
	if (c->cpl)
		bt_ud(c);
	c->eflags = (c->eflags & ~(u32)FLAG_AC) | ac;
	bt_update_tlb(c);
}

void bt_op_clac(struct bt_cpu *c, const struct bt_insn *i)
{
	set_ac(c, 0);
}

void bt_op_stac(struct bt_cpu *c, const struct bt_insn *i)
{
	set_ac(c, FLAG_AC);
}
