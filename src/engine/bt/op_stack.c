/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: the stack, but for POP of a segment and POPF, which change the
 * machine's mode.
 *
 * References: [1] Intel SDM vol. 2B, PUSH, POP, PUSHA, POPA, ENTER, LEAVE,
 *                 PUSHF.
 *             [2] AMD APM vol. 3, the same.
 */
#include "engine/bt/ops.h"

#include "bt_ops.h"

/* ---- PUSH and POP ------------------------------------------------------ */

/* PUSH rSP stores the old value, POP rSP leaves the new one ([1] PUSH, POP).
 */
#define DEFINE_PUSH(bits, unused)                           \
	OP(push_z##bits)                                    \
	{                                                   \
		bt_push(c, W##bits, bt_get##bits(c, i->a)); \
	}                                                   \
	OP(push_i##bits)                                    \
	{                                                   \
		bt_push(c, W##bits, (u64)(s64)i->imm);      \
	}                                                   \
	OP(push_e_r##bits)                                  \
	{                                                   \
		bt_push(c, W##bits, bt_get##bits(c, i->a)); \
	}                                                   \
	OP(push_e_m##bits)                                  \
	{                                                   \
		bt_push(c, W##bits, bt_get_rm##bits(c, i)); \
	}                                                   \
	OP(pop_z##bits)                                     \
	{                                                   \
		u64 val = bt_pop(c, W##bits);               \
                                                            \
		bt_set##bits(c, i->a, (u##bits)val);        \
	}                                                   \
	OP(pop_e_r##bits)                                   \
	{                                                   \
		u64 val = bt_pop(c, W##bits);               \
                                                            \
		bt_set##bits(c, i->a, (u##bits)val);        \
	}

FOR_V(DEFINE_PUSH, )

/* The address is computed with rSP already incremented ([1] POP). */
static void pop_memory(struct bt_cpu *c, const struct bt_insn *i,
		       unsigned width)
{
	u64 val = bt_peek(c, width, 0), old = c->gpr[X86_RSP], ea;

	bt_set_sp(c, old + (1u << width));
	ea = bt_ea(c, i);
	c->gpr[X86_RSP] = old;
	bt_store(c, bt_lin(c, i->seg, ea, 1u << width, true), width, val);
	bt_set_sp(c, old + (1u << width));
}

/* AMD's CPUs store a zero-extended selector ([2] PUSH). ES, CS, SS, DS are
 * opcodes 06, 0E, 16, 1E; FS and GS are 0F A0 and 0F A8. */
static void push_selector(struct bt_cpu *c, const struct bt_insn *i,
			  unsigned width)
{
	unsigned seg = bt_rows[i->row].opcode >> 3 & 7;

	bt_push(c, width, c->seg[seg].selector);
}

/* [1] PUSHF: VM and RF are stored as zero. */
static void push_flags(struct bt_cpu *c, unsigned width)
{
	bt_push(c, width, bt_flags(c) & ~(u32)(FLAG_VM | FLAG_RF));
}

/* ---- PUSHA and POPA ---------------------------------------------------- */

/* They lie in two pages at most: the highest of the eight is probed, as it is
 * the first to be stored, then the lowest. */
static void push_all(struct bt_cpu *c, unsigned width)
{
	unsigned size = 1u << width;
	u64 sp = c->gpr[X86_RSP], at = (sp - size) & c->stack_mask;

	bt_probe(c, bt_lin(c, X86_SS, at, size, true), size, true);
	at = (sp - 8 * size) & c->stack_mask;
	bt_probe(c, bt_lin(c, X86_SS, at, size, true), size, true);
	for (unsigned n = 0; n < 8; n++) {
		at = (sp - (n + 1) * size) & c->stack_mask;
		bt_store(c, bt_lin(c, X86_SS, at, size, true), width,
			 c->gpr[X86_RAX + n]);
	}
	bt_set_sp(c, sp - 8 * size);
}

/* rSP's own slot is read but skipped ([1] POPA). All are read before the first
 * register changes. */
static void pop_all(struct bt_cpu *c, unsigned width)
{
	unsigned size = 1u << width;
	u64 val[8];

	for (unsigned n = 0; n < 8; n++)
		val[n] = bt_peek(c, width, n * size);
	for (unsigned n = 0; n < 8; n++)
		if (X86_RDI - n != X86_RSP)
			bt_set_reg(c, BT_REG(X86_RDI - n), width, val[n]);
	bt_set_sp(c, c->gpr[X86_RSP] + 8 * size);
}

/* ---- ENTER and LEAVE --------------------------------------------------- */

static gva_t stack_address(struct bt_cpu *c, u64 off, unsigned size, bool write)
{
	return bt_lin(c, X86_SS, off & c->stack_mask, size, write);
}

/* [1] ENTER: the frame pointers of `level` - 1 outer frames are copied, then
 * the new one's is stored. A write at the final rSP must be possible: that is
 * found out last, when the frame is in memory already. */
static void enter(struct bt_cpu *c, const struct bt_insn *i, unsigned width)
{
	unsigned size = 1u << width, level = (u32)i->disp & 31;
	u64 bp = c->gpr[X86_RBP], sp = c->gpr[X86_RSP] - size, frame = sp;
	u64 final = sp - level * size - (u16)i->imm;

	bt_store(c, stack_address(c, sp, size, true), width, bp);
	for (unsigned n = 1; n < level; n++) {
		u64 val = bt_load(
			c, stack_address(c, bp - n * size, size, false), width);

		sp -= size;
		bt_store(c, stack_address(c, sp, size, true), width, val);
	}
	if (level)
		bt_store(c, stack_address(c, sp - size, size, true), width,
			 frame & c->stack_mask);
	bt_probe(c, stack_address(c, final, size, true), size, true);
	bt_set_reg(c, BT_REG(X86_RBP), width, frame & c->stack_mask);
	bt_set_sp(c, final);
}

static inline void leave(struct bt_cpu *c, unsigned width)
{
	u64 bp = c->gpr[X86_RBP];
	u64 val = bt_load(c, stack_address(c, bp, 1u << width, false), width);

	bt_set_sp(c, bp + (1u << width));
	bt_set_reg(c, BT_REG(X86_RBP), width, val);
}

#define DEFINE_BY_WIDTH(bits, unused)         \
	OP(pop_e_m##bits)                     \
	{                                     \
		pop_memory(c, i, W##bits);    \
	}                                     \
	OP(push_seg##bits)                    \
	{                                     \
		push_selector(c, i, W##bits); \
	}                                     \
	OP(pushf##bits)                       \
	{                                     \
		push_flags(c, W##bits);       \
	}                                     \
	OP(pusha##bits)                       \
	{                                     \
		push_all(c, W##bits);         \
	}                                     \
	OP(popa##bits)                        \
	{                                     \
		pop_all(c, W##bits);          \
	}                                     \
	OP(enter##bits)                       \
	{                                     \
		enter(c, i, W##bits);         \
	}                                     \
	OP(leave##bits)                       \
	{                                     \
		leave(c, W##bits);            \
	}

FOR_V(DEFINE_BY_WIDTH, )
