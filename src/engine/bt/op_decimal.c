/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: decimal adjustment, which 64-bit code does not have.
 *
 * References: [1] Intel SDM vol. 2A, DAA, DAS, AAA, AAS, AAM, AAD.
 *
 * The flags that the manual leaves undefined are those of the addition or
 * subtraction that the adjustment is; AMD's CPUs show them so.
 */
#include "engine/bt/ops.h"

#include "bt_ops.h"

#define DEFINE_KERNEL(bits, op)                                             \
	static inline u##bits op##_flags##bits(struct bt_cpu *c, u##bits d, \
					       u##bits s)                   \
	{                                                                   \
		u32 flags;                                                  \
                                                                            \
		asm(#op " %[s], %[d]" SAVE_FLAGS                            \
		    : [d] "+r"(d), "=a"(flags)                              \
		    : [s] "r"(s)                                            \
		    : "cc");                                                \
		c->aflags = (u16)flags;                                     \
		return d;                                                   \
	}

DEFINE_KERNEL(8, add)
DEFINE_KERNEL(8, sub)
DEFINE_KERNEL(16, add)
DEFINE_KERNEL(16, sub)

static void set_carries(struct bt_cpu *c, bool carry, bool adjust)
{
	u32 flags = c->aflags & ~(AF_CF | AF_AF);

	c->aflags = (u16)(flags | (carry ? AF_CF : 0) | (adjust ? AF_AF : 0));
}

static bool low_digit_over(const struct bt_cpu *c, u8 al)
{
	return (al & 15) > 9 || c->aflags & AF_AF;
}

OP(daa)
{
	u8 al = (u8)c->gpr[X86_RAX];
	bool low = low_digit_over(c, al);
	bool high = al > 0x99 || c->aflags & AF_CF;
	u8 add = (low ? 6 : 0) + (high ? 0x60 : 0);

	bt_set8(c, BT_REG(X86_RAX), add_flags8(c, al, add));
	set_carries(c, high, low);
}

OP(das)
{
	u8 al = (u8)c->gpr[X86_RAX];
	bool low = low_digit_over(c, al);
	bool high = al > 0x99 || c->aflags & AF_CF;
	u8 sub = (low ? 6 : 0) + (high ? 0x60 : 0);

	bt_set8(c, BT_REG(X86_RAX), sub_flags8(c, al, sub));
	set_carries(c, high || (low && al < 6), low);
}

OP(aaa)
{
	u16 ax = (u16)c->gpr[X86_RAX];
	bool over = low_digit_over(c, (u8)ax);

	ax = add_flags16(c, ax, over ? 0x106 : 0);
	bt_set16(c, BT_REG(X86_RAX), ax & 0xff0f);
	set_carries(c, over, over);
}

OP(aas)
{
	u16 ax = (u16)c->gpr[X86_RAX];
	bool over = low_digit_over(c, (u8)ax);

	ax = sub_flags16(c, ax, over ? 0x106 : 0);
	bt_set16(c, BT_REG(X86_RAX), ax & 0xff0f);
	set_carries(c, over, over);
}

OP(aam)
{
	u8 al = (u8)c->gpr[X86_RAX], base = (u8)i->imm;

	if (!base)
		bt_raise(c, VEC_DE);
	bt_set8(c, BT_REG(X86_RAX) + 1, al / base);
	bt_set8(c, BT_REG(X86_RAX), add_flags8(c, al % base, 0));
}

OP(aad)
{
	u8 al = (u8)c->gpr[X86_RAX], ah = bt_get8(c, BT_REG(X86_RAX) + 1);

	al = add_flags8(c, al, (u8)(ah * (u8)i->imm));
	bt_set16(c, BT_REG(X86_RAX), al);
}
