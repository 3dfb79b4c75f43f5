/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding of host instructions; see emit.h. */
#include "engine/bt/emit.h"

void em_bytes(struct emit *e, u64 val, unsigned count)
{
	if ((u64)(e->end - e->at) < count) {
		e->full = true;
		return;
	}
	for (unsigned k = 0; k < count; k++)
		*e->at++ = (u8)(val >> (8 * k));
}

static unsigned rex_of(u32 op, unsigned reg, struct em_rm rm)
{
	unsigned rex = op & EM_W ? 8 : 0;

	rex |= reg >> 3 << 2;
	if (rm.index != EM_NONE)
		rex |= (unsigned)rm.index >> 3 << 1;
	if (rm.base != EM_NONE)
		rex |= (unsigned)rm.base >> 3;
	return rex;
}

/* [1] 2.3.5; R, X and B are stored inverted. */
static void put_vex(struct emit *e, u32 op, unsigned rex)
{
	unsigned pp = op & EM_66 ? 1 : op & EM_F3 ? 2 : op & EM_F2 ? 3 : 0;

	em_byte(e, 0xc4);
	em_byte(e, (~rex & 7) << 5 | (op >> 8 & 3));
	em_byte(e, (op & EM_W ? 0x80u : 0) | (~op >> EM_VVVV & 15) << 3 |
			   (op & EM_L ? 4u : 0) | pp);
}

static void put_prefixes(struct emit *e, u32 op, unsigned rex)
{
	if (op & EM_VEX) {
		put_vex(e, op, rex);
		return;
	}
	if (op & EM_LOCK)
		em_byte(e, 0xf0);
	if (op & EM_66)
		em_byte(e, 0x66);
	if (op & EM_F3)
		em_byte(e, 0xf3);
	if (op & EM_F2)
		em_byte(e, 0xf2);
	if (rex || op & EM_REX)
		em_byte(e, 0x40 | rex);
	if (op & EM_0F3A)
		em_byte(e, 0x0f);
	if ((op & EM_0F3A) == EM_0F38)
		em_byte(e, 0x38);
	if ((op & EM_0F3A) == EM_0F3A)
		em_byte(e, 0x3a);
}

/* [1] tables 2-2 and 2-3: RSP and R12 as base need a SIB byte, RBP and R13 a
 * displacement. */
static void put_mem(struct emit *e, unsigned reg, struct em_rm rm)
{
	bool sib =
		rm.index != EM_NONE || rm.base == EM_NONE || (rm.base & 7) == 4;
	unsigned index = rm.index == EM_NONE ? 4 : rm.index & 7;
	unsigned base = rm.base == EM_NONE ? 5 : rm.base & 7;
	unsigned mod = 2;

	if (rm.base == EM_NONE || (rm.disp == 0 && base != 5))
		mod = 0;
	else if (rm.disp == (s8)rm.disp)
		mod = 1;
	em_byte(e, mod << 6 | (reg & 7) << 3 | (sib ? 4 : base));
	if (sib)
		em_byte(e, (unsigned)rm.scale << 6 | index << 3 | base);
	if (mod == 2 || rm.base == EM_NONE)
		em_bytes(e, (u32)rm.disp, 4);
	else if (mod == 1)
		em_byte(e, (u8)rm.disp);
}

void em_insn(struct emit *e, u32 op, unsigned reg, struct em_rm rm)
{
	put_prefixes(e, op, rex_of(op, reg, rm));
	em_byte(e, op & 0xff);
	if (rm.mem)
		put_mem(e, reg, rm);
	else
		em_byte(e, 0xc0 | (reg & 7) << 3 | (rm.base & 7));
}

void em_short(struct emit *e, u32 op, unsigned reg)
{
	put_prefixes(e, op, rex_of(op, 0, em_reg(reg)));
	em_byte(e, (op & 0xff) | (reg & 7));
}

static u8 *put_disp(struct emit *e)
{
	u8 *at = e->at;

	em_bytes(e, 0, 4);
	return at;
}

u8 *em_jmp(struct emit *e)
{
	em_byte(e, 0xe9);
	return put_disp(e);
}

u8 *em_jcc(struct emit *e, unsigned cc)
{
	em_byte(e, 0x0f);
	em_byte(e, 0x80 | cc);
	return put_disp(e);
}

u8 *em_call(struct emit *e)
{
	em_byte(e, 0xe8);
	return put_disp(e);
}

void em_to(struct emit *e, u8 *disp, const u8 *target)
{
	s64 delta = target - (disp + 4);

	if (e->full)
		return;
	for (unsigned k = 0; k < 4; k++)
		disp[k] = (u8)((u64)delta >> (8 * k));
}
