/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Far returns: RETF and IRET; and the software interrupts INT n, INT3, INTO,
 * INT1 that IRET undoes.
 *
 * References: [1] Intel SDM vol. 2, RET, IRET, INT n (pseudo-code); vol. 3A
 *                 5.8.6, 6.7.1 (NMI unmasked by IRET), 17.3.1.1 (RF).
 *
 * Not emulated: return to a nested task and to virtual-8086 mode (#GP).
 */
#include "bt_ops.h"
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"

/* What was popped, and what it leads to. */
struct ret {
	u64 ip, sp;
	u32 flags;
	u16 cs_sel, ss_sel;
	struct x86_segment cs, ss;
	bool outer;	 /* to a lesser privilege */
	bool pops_stack; /* SS:RSP were on the stack */
};

/* ---- checks ------------------------------------------------------------ */

static void check_return_cs(struct bt_cpu *c, struct ret *r)
{
	unsigned rpl = r->cs_sel & SEL_RPL;
	u32 error = SEL_ERR(r->cs_sel);
	struct bt_desc d;
	unsigned dpl;
	u16 attr;

	if (bt_sel_null(r->cs_sel))
		bt_gp(c);
	bt_desc_load(c, r->cs_sel, 0, VEC_GP, &d);
	attr = bt_desc_attr(&d);
	dpl = bt_desc_dpl(&d);
	if (!bt_desc_is_code(&d) || rpl < c->cpl)
		bt_raise_error(c, VEC_GP, error);
	if (attr & SEG_CONFORMING ? dpl > rpl : dpl != rpl)
		bt_raise_error(c, VEC_GP, error);
	if (bt_long_mode(c) && (attr & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB))
		bt_raise_error(c, VEC_GP, error);
	if (!(attr & SEG_P))
		bt_raise_error(c, VEC_NP, error);
	bt_desc_set_accessed(c, &d);
	bt_desc_to_segment(&d, r->cs_sel, &r->cs);
	r->outer = rpl > c->cpl;
}

static bool returns_to_64(struct bt_cpu *c, const struct ret *r)
{
	return bt_long_mode(c) && r->cs.attr & SEG_L;
}

static void check_return_ip(struct bt_cpu *c, struct ret *r)
{
	if (returns_to_64(c, r)) {
		if (!x86_is_canonical(r->ip))
			bt_gp(c);
		return;
	}
	if ((u32)r->ip > r->cs.limit)
		bt_gp(c);
	r->ip = (u32)r->ip;
}

static void check_return_ss(struct bt_cpu *c, struct ret *r)
{
	u8 cpl = r->cs_sel & SEL_RPL;

	if (!bt_sel_null(r->ss_sel)) {
		bt_check_ss(c, r->ss_sel, cpl, (struct bt_blame){VEC_GP, 0},
			    &r->ss);
		return;
	}
	if (!returns_to_64(c, r) || cpl == 3 || (r->ss_sel & SEL_RPL) != cpl)
		bt_gp(c);
	bt_null_segment(&r->ss, r->ss_sel);
	r->ss.attr |= (u16)(cpl << SEG_DPL_SHIFT);
}

/* [1] 5.8.6, step 6: nothing of the inner level stays reachable. */
static void drop_inner_segments(struct bt_cpu *c)
{
	static const u8 segs[] = {X86_ES, X86_DS, X86_FS, X86_GS};
	const u16 conforming = SEG_CODE | SEG_CONFORMING;

	for (unsigned k = 0; k < ARRAY_SIZE(segs); k++) {
		struct x86_segment *s = &c->seg[segs[k]];

		if (s->attr & SEG_UNUSABLE ||
		    (s->attr & conforming) == conforming ||
		    bt_seg_dpl(s) >= c->cpl)
			continue;
		bt_null_segment(s, 0);
		bt_update_segment(c, segs[k]);
	}
}

/* ---- the switch -------------------------------------------------------- */

static void load_sp(struct bt_cpu *c, u64 sp)
{
	if (c->stack_mask == 0xffff)
		c->gpr[X86_RSP] =
			(c->gpr[X86_RSP] & ~0xffffull) | (sp & 0xffff);
	else
		c->gpr[X86_RSP] = sp & c->stack_mask;
}

/* `popped` bytes came off the present stack. */
static void commit(struct bt_cpu *c, const struct ret *r, unsigned popped)
{
	if (!r->pops_stack)
		bt_set_sp(c, c->gpr[X86_RSP] + popped);
	c->seg[X86_CS] = r->cs;
	if (r->pops_stack)
		c->seg[X86_SS] = r->ss;
	bt_update_code(c);
	if (r->pops_stack)
		load_sp(c, r->sp);
	c->gpr[17] = r->ip;
	if (r->outer)
		drop_inner_segments(c);
}

/* ---- RETF -------------------------------------------------------------- */

static void lret_real(struct bt_cpu *c, unsigned w, unsigned extra)
{
	u64 ip = bt_peek(c, w, 0);
	u16 cs = (u16)bt_peek(c, w, 1u << w);

	if (ip > c->seg[X86_CS].limit)
		bt_gp(c);
	bt_set_sp(c, c->gpr[X86_RSP] + (2u << w) + extra);
	bt_real_segment(&c->seg[X86_CS], cs);
	bt_update_mode(c);
	c->gpr[17] = ip;
}

/* CB has no immediate: imm is zero. */
void bt_op_lret(struct bt_cpu *c, const struct bt_insn *i)
{
	unsigned w = i->width, size = 1u << w, extra = (u16)i->imm;
	struct ret r;

	if (!bt_protected(c)) {
		lret_real(c, w, extra);
		return;
	}
	r.ip = bt_peek(c, w, 0);
	r.cs_sel = (u16)bt_peek(c, w, size);
	check_return_cs(c, &r);
	check_return_ip(c, &r);
	r.pops_stack = r.outer;
	if (r.outer) {
		r.sp = bt_peek(c, w, 2 * size + extra) + extra;
		r.ss_sel = (u16)bt_peek(c, w, 3 * size + extra);
		check_return_ss(c, &r);
	}
	commit(c, &r, 2 * size + extra);
}

/* ---- IRET -------------------------------------------------------------- */

static void unmask_nmi(struct bt_cpu *c)
{
	c->nmi_masked = 0;
	if (c->nmi_pending)
		bt_attend(c, ATTN_EVENTS);
}

/* [1] vol. 2, IRET: by the privilege before the return. */
static u32 iret_flag_mask(const struct bt_cpu *c, unsigned w)
{
	u32 mask = FLAG_ARITH | FLAG_TF | FLAG_DF | FLAG_NT;

	if (w != W16)
		mask |= FLAG_RF | FLAG_AC | FLAG_ID;
	if (c->cpl <= bt_iopl(c))
		mask |= FLAG_IF;
	if (c->cpl == 0)
		mask |= FLAG_IOPL;
	return mask;
}

static void iret_real(struct bt_cpu *c, unsigned w)
{
	unsigned size = 1u << w;
	u64 ip = bt_peek(c, w, 0);
	u16 cs = (u16)bt_peek(c, w, size);
	u32 flags = (u32)bt_peek(c, w, 2 * size);
	u32 mask = iret_flag_mask(c, w);

	if (ip > c->seg[X86_CS].limit)
		bt_gp(c);
	bt_set_sp(c, c->gpr[X86_RSP] + 3 * size);
	bt_real_segment(&c->seg[X86_CS], cs);
	bt_update_mode(c);
	bt_set_flags(c, (bt_flags(c) & ~mask) | (flags & mask));
	c->gpr[17] = ip;
}

static void check_iret_modes(struct bt_cpu *c, u32 flags, unsigned w)
{
	if (bt_long_mode(c) || w == W16 || !(flags & FLAG_VM) || c->cpl)
		return;
	c->stat.vm86++;
	bt_complain(c, "IRET to virtual-8086 mode at rip %#llx: not offered",
		    (unsigned long long)c->rip);
	bt_gp(c);
}

static void iret_protected(struct bt_cpu *c, unsigned w)
{
	unsigned size = 1u << w;
	u32 mask = iret_flag_mask(c, w);
	struct ret r;

	r.ip = bt_peek(c, w, 0);
	r.cs_sel = (u16)bt_peek(c, w, size);
	r.flags = (u32)bt_peek(c, w, 2 * size);
	check_iret_modes(c, r.flags, w);
	check_return_cs(c, &r);
	r.pops_stack = r.outer || bt_mode64(c);
	if (r.pops_stack) {
		r.sp = bt_peek(c, w, 3 * size);
		r.ss_sel = (u16)bt_peek(c, w, 4 * size);
		check_return_ss(c, &r);
	}
	check_return_ip(c, &r);
	commit(c, &r, 3 * size);
	bt_set_flags(c, (bt_flags(c) & ~mask) | (r.flags & mask));
}

void bt_op_iret(struct bt_cpu *c, const struct bt_insn *i)
{
	unmask_nmi(c);
	if (!bt_protected(c)) {
		iret_real(c, i->width);
		return;
	}
	if (c->eflags & FLAG_NT) {
		if (bt_long_mode(c))
			bt_gp(c);
		bt_no_task_switch(c, 0);
	}
	iret_protected(c, i->width);
}

/* ---- software interrupts ----------------------------------------------- */

void bt_op_int(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_deliver(c, (u8)i->imm, true, false, 0);
}

void bt_op_int3(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_deliver(c, VEC_BP, true, false, 0);
}

void bt_op_into(struct bt_cpu *c, const struct bt_insn *i)
{
	if (c->aflags & AF_OF)
		bt_deliver(c, VEC_OF, true, false, 0);
}

/* [1] vol. 2, INT1: as hardware would, and DR6 stays. */
void bt_op_int1(struct bt_cpu *c, const struct bt_insn *i)
{
	const struct bt_event event = {.vector = VEC_DB, .kind = EVENT_ICEBP};

	bt_deliver_event(c, &event);
}
