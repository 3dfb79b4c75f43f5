/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Analysis of a block before it is emitted: which arithmetic flags are live
 * before each instruction, which accesses to the stack one check at the block's
 * head covers, and what it needs of the FPU.
 *
 * Flags are taken to be live behind the block.
 */
#include "bt_ops.h"
#include "engine/bt/jit_translate.h"

/* ---- flags ------------------------------------------------------------- */

/* Shifts by CL or by zero leave all flags as they are: nothing is killed. The
 * tables say so by listing all flags as read. */
static bool is_shift(const struct bt_row *row)
{
	if (row->map == 1)
		return row->opcode == 0xa4 || row->opcode == 0xa5 ||
		       row->opcode == 0xac || row->opcode == 0xad;
	return row->map == 0 && !(row->attrs & ROW_VEX) &&
	       (row->opcode == 0xc0 || row->opcode == 0xc1 ||
		row->opcode == 0xd2 || row->opcode == 0xd3);
}

u16 bt_jit_flags_read(const struct bt_row *row)
{
	if (!is_shift(row))
		return row->flags_read;
	/* RCL and RCR. */
	return row->map == 0 && (row->reg & ~1) == 2 ? FLAG_CF : 0;
}

u16 bt_jit_flags_defined(const struct bt_insn *i)
{
	const struct bt_row *row = &bt_rows[i->row];

	return is_shift(row) || i->rep ? 0 : row->flags_written;
}

static u16 shift_live(const struct bt_insn *i, const struct bt_row *row,
		      u16 behind)
{
	bool by_cl = row->map == 1 ? row->opcode & 1 : row->opcode >= 0xd2;
	unsigned mask = i->width == W64 ? 63 : 31;
	u16 read = bt_jit_flags_read(row);

	if (by_cl || !(i->imm & mask))
		return behind | read;
	return (u16)(behind & ~(row->flags_written | row->flags_undef)) | read;
}

static u16 live_before(const struct bt_insn *i, u16 behind)
{
	const struct bt_row *row = &bt_rows[i->row];

	if (row->jit_class == JIT_CALLED)
		return JIT_FLAGS;
	if (is_shift(row))
		return shift_live(i, row, behind);
	return (u16)((behind & ~(row->flags_written | row->flags_undef)) |
		     row->flags_read);
}

u16 bt_jit_live(const struct bt_block *b, unsigned n)
{
	u16 live = JIT_FLAGS;

	for (unsigned m = b->count; m-- > n;)
		live = live_before(&b->insn[m], live);
	return live;
}

static void analyse_flags(struct jit *j)
{
	u16 live = JIT_FLAGS;

	j->note[j->b->count].live = live;
	for (unsigned n = j->b->count; n-- > 0;) {
		live = live_before(&j->b->insn[n], live);
		j->note[n].live = live;
	}
}

/* ---- the stack window -------------------------------------------------- */

#define WINDOW_MAX 2048

/* What WIDE adds, around RSP at the beginning and at the end: pushes and calls
 * below, the frame above. */
enum { WIDE_BELOW = 32, WIDE_ABOVE = 192 };

struct stack {
	bool known; /* `at` is where RSP is, from the block's entry */
	s64 at;
	s64 lo, hi;
};

static bool cover(struct stack *s, s64 from, s64 size)
{
	s64 lo = from < s->lo || s->lo == s->hi ? from : s->lo;
	s64 hi = from + size > s->hi || s->lo == s->hi ? from + size : s->hi;

	if (!s->known || hi - lo > WINDOW_MAX || lo < -65536 || hi > 65536)
		return false;
	s->lo = lo;
	s->hi = hi;
	return true;
}

/* RSP as the destination: ADD, SUB with an immediate are followed. */
static void move_rsp(struct stack *s, const struct bt_insn *i,
		     const struct bt_row *row)
{
	bool group1 =
		row->map == 0 && (row->opcode == 0x81 || row->opcode == 0x83);

	if (group1 && i->width == W64 && (row->reg == 0 || row->reg == 5))
		s->at += row->reg == 0 ? i->imm : -(s64)i->imm;
	else
		s->known = false;
}

/* Does a copied instruction write guest RSP? */
static bool writes_rsp(const struct bt_insn *i, const struct bt_row *row)
{
	bool e_first = row->operands[0] == 'E' || row->operands[0] == 'Z' ||
		       row->operands[0] == 'R';
	u8 e = e_first ? i->a : i->b, g = e_first ? i->b : i->a;

	if (row->jit_ops & JIT_V_W && i->v == BT_REG(X86_RSP))
		return true;
	if (i->mem)
		return (row->jit_ops & JIT_G_W) && i->a == BT_REG(X86_RSP);
	return (row->jit_ops & JIT_E_W && e == BT_REG(X86_RSP)) ||
	       (row->jit_ops & JIT_G_W && g == BT_REG(X86_RSP));
}

static bool note_copy(struct stack *s, const struct bt_insn *i,
		      const struct bt_row *row)
{
	bool window = jit_is_stack_operand(i) &&
		      cover(s, s->at + i->disp, jit_operand_size(i));

	if (writes_rsp(i, row))
		move_rsp(s, i, row);
	return window;
}

static bool note_push(struct stack *s, const struct bt_insn *i)
{
	bool window;

	if (i->width != W64) {
		s->known = false;
		return false;
	}
	window = cover(s, s->at - 8, 8);
	/* PUSH of memory has a second access, which may be the window's too. */
	if (i->mem && jit_is_stack_operand(i) && !cover(s, s->at + i->disp, 8))
		window = false;
	s->at -= 8;
	return window;
}

static bool note_pop(struct stack *s, const struct bt_insn *i)
{
	bool window = i->width == W64 && cover(s, s->at, 8);

	s->at += 8;
	if (i->width != W64 || i->a == BT_REG(X86_RSP))
		s->known = false;
	return window;
}

static bool note_call(struct stack *s, const struct bt_insn *i)
{
	bool window = i->width == W64 && cover(s, s->at - 8, 8);

	s->at -= 8;
	return window;
}

static bool note_lea(struct stack *s, const struct bt_insn *i)
{
	if (i->a != BT_REG(X86_RSP))
		return false;
	if (jit_is_stack_operand(i) && i->width == W64)
		s->at += i->disp;
	else
		s->known = false;
	return false;
}

bool bt_jit_moves_rsp(const struct bt_insn *i)
{
	return !i->mem && i->a == BT_REG(X86_RSP);
}

static bool note_stack(struct stack *s, const struct bt_insn *i)
{
	const struct bt_row *row = &bt_rows[i->row];

	switch (row->jit_class) {
	case JIT_COPY:
	case JIT_SIMD:
		return note_copy(s, i, row);
	case JIT_PUSH:
		return note_push(s, i);
	case JIT_CALL:
		return note_call(s, i);
	case JIT_RET:
		return i->width == W64 && cover(s, s->at, 8);
	case JIT_POP:
		return note_pop(s, i);
	case JIT_LEA:
		return note_lea(s, i);
	case JIT_PUSHF:
		return note_push(s, i);
	case JIT_SYS:
		/* Behind CLAC less is allowed than where the window was
		 * checked. */
		if (i->fn == bt_op_clac || bt_jit_moves_rsp(i))
			s->known = false;
		return false;
	case JIT_STRING:
	case JIT_NOP:
	case JIT_JCC:
	case JIT_JMP:
		return false;
	default: /* it may do anything to RSP */
		s->known = false;
		return false;
	}
}

static void widen(struct stack *s)
{
	cover(s, s->at - WIDE_BELOW, WIDE_BELOW + WIDE_ABOVE);
	s->known = true;
	cover(s, -WIDE_BELOW, WIDE_BELOW + WIDE_ABOVE);
}

static void analyse_stack(struct jit *j)
{
	struct stack s = {.known = true};

	for (unsigned n = 0; n < j->b->count; n++)
		j->note[n].window = note_stack(&s, &j->b->insn[n]);
	j->t->sp_known = s.known && s.at == (s32)s.at;
	j->t->sp = (s32)s.at;
	if (j->level == LEVEL_WIDE && s.lo != s.hi)
		widen(&s);
	j->t->win_lo = (s32)s.lo;
	j->t->win_size = (s32)(s.hi - s.lo);
}

static void analyse_fpu(struct jit *j)
{
	for (unsigned n = 0; n < j->b->count; n++) {
		const struct bt_insn *i = &j->b->insn[n];
		const struct bt_row *row = &bt_rows[i->row];

		if (row->jit_class == JIT_SIMD && i->fn != bt_op_ud)
			j->t->fpu |= bt_jit_fpu_needed(row);
	}
}

void jit_analyse(struct jit *j)
{
	analyse_flags(j);
	analyse_fpu(j);
	for (unsigned n = 0; n < j->b->count; n++)
		j->note[n].window = false;
	j->t->win_lo = j->t->win_size = 0;
	j->t->sp_known = false;
	if (j->level != LEVEL_PLAIN)
		analyse_stack(j);
}
