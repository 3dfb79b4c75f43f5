/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: BMI1 and BMI2.
 *
 * References: [1] Intel SDM vol. 2, the instructions' pages; 2.8 (exceptions
 *                 of VEX-encoded instructions on general registers).
 *
 * G is ModRM.reg, E ModRM.rm (register or memory), B VEX.vvvv. The host's
 * assembler has the operands in reverse order.
 */
#include "engine/bt/ops.h"

#include "bt_ops.h"

/* [1] table 2-35: there is no VEX in real mode, whose code sizes protected
 * mode has too; the decoder cannot tell. */
static inline void need_protected(struct bt_cpu *c)
{
	if (unlikely(!bt_protected(c)))
		bt_ud(c);
}

/* Two sources: asm operands in the order that `sources` gives. */
#define DEFINE_TWO(bits, op, sources, forms_r, forms_m, in, out)             \
	static inline void op##_of##bits(struct bt_cpu *c,                   \
					 const struct bt_insn *i, u##bits e) \
	{                                                                    \
		u##bits b = bt_get##bits(c, i->v), d;                        \
		u32 flags = c->aflags;                                       \
                                                                             \
		asm(in #op " " sources ", %[d]" out                          \
		    : [d] "=r"(d), "+&a"(flags)                              \
		    : [e] "r"(e), [b] "r"(b)                                 \
		    : "cc");                                                 \
		c->aflags = (u16)flags;                                      \
		bt_set##bits(c, i->a, d);                                    \
	}                                                                    \
	OP(op##_##forms_r##bits)                                             \
	{                                                                    \
		need_protected(c);                                           \
		op##_of##bits(c, i, bt_get##bits(c, i->b));                  \
	}                                                                    \
	OP(op##_##forms_m##bits)                                             \
	{                                                                    \
		need_protected(c);                                           \
		op##_of##bits(c, i, bt_get_rm##bits(c, i));                  \
	}

#define GBE "%[e], %[b]", rrr, rrm
#define GEB "%[b], %[e]", rrr, rmr

FOR_Y(DEFINE_TWO, andn, GBE, LOAD_FLAGS, SAVE_FLAGS)
FOR_Y(DEFINE_TWO, bzhi, GEB, LOAD_FLAGS, SAVE_FLAGS)
FOR_Y(DEFINE_TWO, bextr, GEB, LOAD_FLAGS, SAVE_FLAGS)
FOR_Y(DEFINE_TWO, pext, GBE, "", "")
FOR_Y(DEFINE_TWO, pdep, GBE, "", "")
FOR_Y(DEFINE_TWO, shlx, GEB, "", "")
FOR_Y(DEFINE_TWO, sarx, GEB, "", "")
FOR_Y(DEFINE_TWO, shrx, GEB, "", "")

/* The lowest set bit: B is the destination. */
#define DEFINE_LOWEST(bits, op)                                              \
	static inline void op##_of##bits(struct bt_cpu *c,                   \
					 const struct bt_insn *i, u##bits e) \
	{                                                                    \
		u##bits d;                                                   \
		u32 flags = c->aflags;                                       \
                                                                             \
		asm(LOAD_FLAGS #op " %[e], %[d]" SAVE_FLAGS                  \
		    : [d] "=r"(d), "+&a"(flags)                              \
		    : [e] "r"(e)                                             \
		    : "cc");                                                 \
		c->aflags = (u16)flags;                                      \
		bt_set##bits(c, i->v, d);                                    \
	}                                                                    \
	OP(op##_rr##bits)                                                    \
	{                                                                    \
		need_protected(c);                                           \
		op##_of##bits(c, i, bt_get##bits(c, i->b));                  \
	}                                                                    \
	OP(op##_rm##bits)                                                    \
	{                                                                    \
		need_protected(c);                                           \
		op##_of##bits(c, i, bt_get_rm##bits(c, i));                  \
	}

FOR_Y(DEFINE_LOWEST, blsr)
FOR_Y(DEFINE_LOWEST, blsmsk)
FOR_Y(DEFINE_LOWEST, blsi)

/* [1] MULX: rDX times E; if both destinations are one, the high half stays. */
#define DEFINE_MULX_RORX(bits, unused)                                       \
	static inline void mulx_by##bits(struct bt_cpu *c,                   \
					 const struct bt_insn *i, u##bits e) \
	{                                                                    \
		u##bits lo, hi, rdx = bt_get##bits(c, BT_REG(X86_RDX));      \
                                                                             \
		asm("mulx %[e], %[lo], %[hi]"                                \
		    : [lo] "=r"(lo), [hi] "=r"(hi)                           \
		    : [e] "r"(e), "d"(rdx));                                 \
		bt_set##bits(c, i->v, lo);                                   \
		bt_set##bits(c, i->a, hi);                                   \
	}                                                                    \
	OP(mulx_rrr##bits)                                                   \
	{                                                                    \
		need_protected(c);                                           \
		mulx_by##bits(c, i, bt_get##bits(c, i->b));                  \
	}                                                                    \
	OP(mulx_rrm##bits)                                                   \
	{                                                                    \
		need_protected(c);                                           \
		mulx_by##bits(c, i, bt_get_rm##bits(c, i));                  \
	}                                                                    \
	static inline u##bits rotated##bits(u##bits val, unsigned count)     \
	{                                                                    \
		count &= bits - 1;                                           \
		return val >> count | val << (-count & (bits - 1));          \
	}                                                                    \
	OP(rorx_rri##bits)                                                   \
	{                                                                    \
		need_protected(c);                                           \
		u##bits val = bt_get##bits(c, i->b);                         \
                                                                             \
		bt_set##bits(c, i->a, rotated##bits(val, (u8)i->imm));       \
	}                                                                    \
	OP(rorx_rmi##bits)                                                   \
	{                                                                    \
		need_protected(c);                                           \
		u##bits val = bt_get_rm##bits(c, i);                         \
                                                                             \
		bt_set##bits(c, i->a, rotated##bits(val, (u8)i->imm));       \
	}

FOR_Y(DEFINE_MULX_RORX, )
