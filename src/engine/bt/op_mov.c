/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: moves, extensions, exchanges of registers, conditional moves and
 * sets, flags as a byte.
 *
 * References: [1] Intel SDM vol. 2A-2D, the instructions' pages.
 *             [2] AMD APM vol. 3, MOVSXD.
 */
#include "engine/bt/ops.h"

#include "bt_ops.h"
#include "engine/bt/sys.h"

/* ---- MOV, LEA ---------------------------------------------------------- */

#define DEFINE_MOV(bits, unused)                                         \
	OP(mov_rr##bits)                                                 \
	{                                                                \
		bt_set##bits(c, i->a, bt_get##bits(c, i->b));            \
	}                                                                \
	OP(mov_ri##bits)                                                 \
	{                                                                \
		bt_set##bits(c, i->a, (u##bits)i->imm);                  \
	}                                                                \
	OP(mov_rm##bits)                                                 \
	{                                                                \
		bt_set##bits(c, i->a, bt_get_rm##bits(c, i));            \
	}                                                                \
	OP(mov_mr##bits)                                                 \
	{                                                                \
		bt_store##bits(c, bt_operand(c, i, bits / 8, true),      \
			       bt_get##bits(c, i->a));                   \
	}                                                                \
	OP(mov_mi##bits)                                                 \
	{                                                                \
		bt_store##bits(c, bt_operand(c, i, bits / 8, true),      \
			       (u##bits)i->imm);                         \
	}                                                                \
	OP(mov_ao##bits)                                                 \
	{                                                                \
		gva_t va = bt_lin(c, i->seg, i->imm64, bits / 8, false); \
                                                                         \
		bt_set##bits(c, BT_REG(X86_RAX), bt_load##bits(c, va));  \
	}                                                                \
	OP(mov_oa##bits)                                                 \
	{                                                                \
		gva_t va = bt_lin(c, i->seg, i->imm64, bits / 8, true);  \
                                                                         \
		bt_store##bits(c, va, bt_get##bits(c, BT_REG(X86_RAX))); \
	}

FOR_ALL(DEFINE_MOV, )

#define DEFINE_MOVABS_LEA(bits, unused)                      \
	OP(movabs##bits)                                     \
	{                                                    \
		bt_set##bits(c, i->a, (u##bits)i->imm64);    \
	}                                                    \
	OP(lea##bits)                                        \
	{                                                    \
		bt_set##bits(c, i->a, (u##bits)bt_ea(c, i)); \
	}

FOR_V(DEFINE_MOVABS_LEA, )

/* ---- extensions -------------------------------------------------------- */

/* name, bits of the source, its type as extended */
#define DEFINE_EXTEND(bits, name, from, type)                                \
	OP(name##_rr##bits)                                                  \
	{                                                                    \
		bt_set##bits(c, i->a, (u##bits)(type)bt_get##from(c, i->b)); \
	}                                                                    \
	OP(name##_rm##bits)                                                  \
	{                                                                    \
		bt_set##bits(c, i->a, (u##bits)(type)bt_get_rm##from(c, i)); \
	}

FOR_V(DEFINE_EXTEND, movzx8, 8, u8)
FOR_V(DEFINE_EXTEND, movzx16, 16, u16)
FOR_V(DEFINE_EXTEND, movsx8, 8, s8)
FOR_V(DEFINE_EXTEND, movsx16, 16, s16)

/* Without REX.W it is an odd MOV. */
DEFINE_EXTEND(32, movsxd, 32, s32)
DEFINE_EXTEND(64, movsxd, 32, s32)

OP(movsxd_rr16)
{
	bt_set16(c, i->a, bt_get16(c, i->b));
}

/* With 66, [1] has a source of 16 bits; [2] knows none but 32, and that is what
 * AMD's CPUs read: at the end of a page they fault. */
OP(movsxd_rm16)
{
	bt_set16(c, i->a,
		 bt_is_amd(c) ? (u16)bt_get_rm32(c, i) : bt_get_rm16(c, i));
}

/* CBW, CWDE, CDQE and CWD, CDQ, CQO. */
#define DEFINE_SIGN(bits, half, signed_half, signed_full)                      \
	OP(cbw##bits)                                                          \
	{                                                                      \
		signed_half val =                                              \
			(signed_half)bt_get##half(c, BT_REG(X86_RAX));         \
                                                                               \
		bt_set##bits(c, BT_REG(X86_RAX), (u##bits)val);                \
	}                                                                      \
	OP(cwd##bits)                                                          \
	{                                                                      \
		signed_full val =                                              \
			(signed_full)bt_get##bits(c, BT_REG(X86_RAX));         \
                                                                               \
		bt_set##bits(c, BT_REG(X86_RDX), (u##bits)(val < 0 ? -1 : 0)); \
	}

DEFINE_SIGN(16, 8, s8, s16)
DEFINE_SIGN(32, 16, s16, s32)
DEFINE_SIGN(64, 32, s32, s64)

/* ---- XCHG of registers (memory: op_atomic.c), XLAT --------------------- */

#define DEFINE_XCHG(bits, unused)                  \
	OP(xchg_rr##bits)                          \
	{                                          \
		u##bits a = bt_get##bits(c, i->a); \
		u##bits b = bt_get##bits(c, i->b); \
                                                   \
		bt_set##bits(c, i->a, b);          \
		bt_set##bits(c, i->b, a);          \
	}

FOR_ALL(DEFINE_XCHG, )

/* 90+r. With rAX itself it is NOP, and leaves the upper half of RAX alone
 * ([1] NOP). */
#define DEFINE_XCHG_A(bits, unused)                           \
	OP(xchg_za##bits)                                     \
	{                                                     \
		u##bits a = bt_get##bits(c, BT_REG(X86_RAX)); \
		u##bits z = bt_get##bits(c, i->a);            \
                                                              \
		if (i->a == BT_REG(X86_RAX))                  \
			return;                               \
		bt_set##bits(c, BT_REG(X86_RAX), z);          \
		bt_set##bits(c, i->a, a);                     \
	}

FOR_V(DEFINE_XCHG_A, )

OP(xlat)
{
	u64 off = c->gpr[X86_RBX] + (u8)c->gpr[X86_RAX];
	gva_t va = bt_lin(c, i->seg, off & bt_addr_mask[i->asize], 1, false);

	bt_set8(c, BT_REG(X86_RAX), bt_load8(c, va));
}

/* ---- CMOVcc, SETcc ----------------------------------------------------- */

/* The source is read, and a 32-bit destination extended, whatever the
 * condition ([1] CMOVcc). */
#define DEFINE_CMOV_WIDTH(bits, name, test)                              \
	OP(cmov##name##_rr##bits)                                        \
	{                                                                \
		u32 f = c->aflags;                                       \
		u##bits d = bt_get##bits(c, i->a);                       \
                                                                         \
		bt_set##bits(c, i->a, test ? bt_get##bits(c, i->b) : d); \
	}                                                                \
	OP(cmov##name##_rm##bits)                                        \
	{                                                                \
		u##bits s = bt_get_rm##bits(c, i);                       \
		u32 f = c->aflags;                                       \
                                                                         \
		bt_set##bits(c, i->a, test ? s : bt_get##bits(c, i->a)); \
	}

#define DEFINE_CMOV(name, test) FOR_V(DEFINE_CMOV_WIDTH, name, (test))

#define DEFINE_SET(name, test)                                           \
	OP(set##name##_r)                                                \
	{                                                                \
		u32 f = c->aflags;                                       \
                                                                         \
		bt_set8(c, i->a, (test) ? 1 : 0);                        \
	}                                                                \
	OP(set##name##_m)                                                \
	{                                                                \
		u32 f = c->aflags;                                       \
                                                                         \
		bt_store8(c, bt_operand(c, i, 1, true), (test) ? 1 : 0); \
	}

FOR_CONDITIONS(DEFINE_CMOV)
FOR_CONDITIONS(DEFINE_SET)

/* ---- flags ------------------------------------------------------------- */

OP(sahf)
{
	u16 flags = (u16)(bt_get8(c, BT_REG(X86_RAX) + 1) << 8);

	c->aflags = (c->aflags & AF_OF) | AF_ONE |
		    (flags & (AF_SF | AF_ZF | AF_AF | AF_PF | AF_CF));
}

OP(lahf)
{
	bt_set8(c, BT_REG(X86_RAX) + 1, (u8)(c->aflags >> 8));
}

OP(cmc)
{
	c->aflags ^= AF_CF;
}

OP(clc)
{
	c->aflags &= (u16)~AF_CF;
}

OP(stc)
{
	c->aflags |= AF_CF;
}

OP(cld)
{
	c->eflags &= ~(u32)FLAG_DF;
}

OP(std)
{
	c->eflags |= FLAG_DF;
}

OP(nop)
{
}
