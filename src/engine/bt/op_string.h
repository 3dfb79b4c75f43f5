/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What string operations in memory (op_string.c) and to ports (op_io.c) share:
 * their two sides, and the driver of the repeated ones.
 *
 * References: [1] Intel SDM vol. 2B, REP/REPE/REPNE; vol. 1 7.3.9 (string
 *                 operations).
 *
 * Theory of operation
 * -------------------
 * A repeated instruction advances in steps. A step does as many units as lie
 * in one page on each side, or one. It performs its accesses first and moves
 * rSI and rDI after, and the driver then moves rCX: whenever an access faults
 * or `attention` stops the instruction, the registers tell exactly what is
 * done and what is left, and RIP is still the instruction's.
 */
#pragma once

#include "engine/bt/ops.h"

/* A side of the operation: rSI in any segment or rDI in ES. */
struct side {
	u8 reg, seg;
	bool write;
};

static inline struct side source(const struct bt_insn *i)
{
	return (struct side){X86_RSI, i->seg, false};
}

static inline struct side target(bool write)
{
	return (struct side){X86_RDI, X86_ES, write};
}

static inline gva_t side_address(struct bt_cpu *c, const struct bt_insn *i,
				 struct side s)
{
	return bt_lin(c, s.seg, bt_get_addr(c, s.reg, i->asize), 1u << i->width,
		      s.write);
}

static inline void side_advance(struct bt_cpu *c, const struct bt_insn *i,
				struct side s, u64 units)
{
	u64 bytes = units << i->width;

	if (c->eflags & FLAG_DF)
		bytes = -bytes;
	bt_set_addr(c, s.reg, i->asize, c->gpr[s.reg] + bytes);
}

/*
 * Units from here that one page and one turn of the address hold, at most
 * `units`. 0: only the slow way will do (a unit across pages, DF, a segment
 * whose limit counts, a debugger that steps).
 */
static u64 side_span(struct bt_cpu *c, const struct bt_insn *i, struct side s,
		     u64 units)
{
	u64 off = bt_get_addr(c, s.reg, i->asize);
	u64 turn = (bt_addr_mask[i->asize] - off) >> i->width;
	u64 page;

	if (c->eflags & FLAG_DF || c->seg_check >> s.seg & 1 ||
	    c->attention & ATTN_STEP)
		return 0;
	page = (4096 - (side_address(c, i, s) & 0xfff)) >> i->width;
	return min_u64(units, min_u64(page, turn));
}

/* Does at least one unit, at most `units`; returns how many. */
typedef u64 step_fn(struct bt_cpu *c, const struct bt_insn *i, u64 units,
		    u16 *flags);

/* [1] REP: what ends a CMPS or SCAS before the count does. */
static inline bool repeat_ends(const struct bt_insn *i, u16 flags)
{
	return (i->rep == REP_REPZ) != cond_e(flags);
}

/*
 * Flags reach the guest when the instruction stops: a fault on the way leaves
 * those from before it ([1] REP).
 */
static inline void repeat(struct bt_cpu *c, const struct bt_insn *i,
			  step_fn *step, bool compares)
{
	u64 left = bt_get_addr(c, X86_RCX, i->asize);
	u16 flags = c->aflags;

	while (left) {
		u64 done = step(c, i, left, &flags);

		left -= done;
		c->stat.rep += done;
		bt_set_addr(c, X86_RCX, i->asize, left);
		if (compares && repeat_ends(i, flags))
			break;
		if (left && unlikely(c->attention & ~(u32)ATTN_CHECK)) {
			c->gpr[17] = c->rip;
			c->end = NULL;
			c->repeating = 1;
			break;
		}
	}
	c->aflags = flags;
}

static inline void string(struct bt_cpu *c, const struct bt_insn *i,
			  step_fn *step, bool compares)
{
	u16 flags = c->aflags;

	if (i->rep) {
		repeat(c, i, step, compares);
		return;
	}
	step(c, i, 1, &flags);
	c->aflags = flags;
}
