/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: shifts and rotates.
 *
 * References: [1] Intel SDM vol. 2B, RCL/RCR/ROL/ROR, SAL/SAR/SHL/SHR, SHLD,
 *                 SHRD.
 *
 * The host masks the count as the guest's CPU would. A count of zero leaves
 * the flags, so they are loaded first; a memory operand is written all the
 * same.
 */
#include "engine/bt/ops.h"

#include "bt_ops.h"

#define DEFINE_SHIFT(bits, op)                                               \
	static inline u##bits op##_by##bits(struct bt_cpu *c, u##bits d,     \
					    u8 count)                        \
	{                                                                    \
		u32 flags = c->aflags;                                       \
                                                                             \
		asm(LOAD_FLAGS #op " %%cl, %[d]" SAVE_FLAGS                  \
		    : [d] "+r"(d), "+a"(flags)                               \
		    : "c"(count)                                             \
		    : "cc");                                                 \
		c->aflags = (u16)flags;                                      \
		return d;                                                    \
	}                                                                    \
	static inline void op##_mem##bits(struct bt_cpu *c,                  \
					  const struct bt_insn *i, u8 count) \
	{                                                                    \
		gva_t va = bt_operand(c, i, bits / 8, true);                 \
		u##bits##_any *p =                                           \
			bt_rmw_begin(c, va, bits / 8, false, &c->scratch);   \
                                                                             \
		*p = op##_by##bits(c, *p, count);                            \
		bt_rmw_end(c, va, bits / 8, false, p, &c->scratch);          \
	}                                                                    \
	OP(op##_ri##bits)                                                    \
	{                                                                    \
		u##bits d = bt_get##bits(c, i->a);                           \
                                                                             \
		bt_set##bits(c, i->a, op##_by##bits(c, d, (u8)i->imm));      \
	}                                                                    \
	OP(op##_rc##bits)                                                    \
	{                                                                    \
		u##bits d = bt_get##bits(c, i->a);                           \
                                                                             \
		bt_set##bits(c, i->a,                                        \
			     op##_by##bits(c, d, (u8)c->gpr[X86_RCX]));      \
	}                                                                    \
	OP(op##_mi##bits)                                                    \
	{                                                                    \
		op##_mem##bits(c, i, (u8)i->imm);                            \
	}                                                                    \
	OP(op##_mc##bits)                                                    \
	{                                                                    \
		op##_mem##bits(c, i, (u8)c->gpr[X86_RCX]);                   \
	}

FOR_ALL(DEFINE_SHIFT, rol)
FOR_ALL(DEFINE_SHIFT, ror)
FOR_ALL(DEFINE_SHIFT, rcl)
FOR_ALL(DEFINE_SHIFT, rcr)
FOR_ALL(DEFINE_SHIFT, shl)
FOR_ALL(DEFINE_SHIFT, shr)
FOR_ALL(DEFINE_SHIFT, sar)

/* SHLD and SHRD: the bits that come in are the second register's. */
#define DEFINE_DOUBLE_SHIFT(bits, op)                                        \
	static inline u##bits op##_by##bits(struct bt_cpu *c, u##bits d,     \
					    u##bits s, u8 count)             \
	{                                                                    \
		u32 flags = c->aflags;                                       \
                                                                             \
		asm(LOAD_FLAGS #op " %%cl, %[s], %[d]" SAVE_FLAGS            \
		    : [d] "+r"(d), "+a"(flags)                               \
		    : [s] "r"(s), "c"(count)                                 \
		    : "cc");                                                 \
		c->aflags = (u16)flags;                                      \
		return d;                                                    \
	}                                                                    \
	static inline void op##_reg##bits(struct bt_cpu *c,                  \
					  const struct bt_insn *i, u8 count) \
	{                                                                    \
		bt_set##bits(c, i->a,                                        \
			     op##_by##bits(c, bt_get##bits(c, i->a),         \
					   bt_get##bits(c, i->b), count));   \
	}                                                                    \
	static inline void op##_mem##bits(struct bt_cpu *c,                  \
					  const struct bt_insn *i, u8 count) \
	{                                                                    \
		gva_t va = bt_operand(c, i, bits / 8, true);                 \
		u##bits##_any *p =                                           \
			bt_rmw_begin(c, va, bits / 8, false, &c->scratch);   \
                                                                             \
		*p = op##_by##bits(c, *p, bt_get##bits(c, i->a), count);     \
		bt_rmw_end(c, va, bits / 8, false, p, &c->scratch);          \
	}                                                                    \
	OP(op##_rri##bits)                                                   \
	{                                                                    \
		op##_reg##bits(c, i, (u8)i->imm);                            \
	}                                                                    \
	OP(op##_rrc##bits)                                                   \
	{                                                                    \
		op##_reg##bits(c, i, (u8)c->gpr[X86_RCX]);                   \
	}                                                                    \
	OP(op##_mri##bits)                                                   \
	{                                                                    \
		op##_mem##bits(c, i, (u8)i->imm);                            \
	}                                                                    \
	OP(op##_mrc##bits)                                                   \
	{                                                                    \
		op##_mem##bits(c, i, (u8)c->gpr[X86_RCX]);                   \
	}

FOR_V(DEFINE_DOUBLE_SHIFT, shld)
FOR_V(DEFINE_DOUBLE_SHIFT, shrd)
