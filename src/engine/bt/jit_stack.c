/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUSH, POP and LEAVE in translated code, 64 bits wide; other widths are done
 * by their functions.
 *
 * References: [1] Intel SDM vol. 2B, PUSH, POP, LEAVE.
 */
#include "engine/bt/jit_translate.h"

/* [RSP + off] as a host operand: H_A, or by the window's addend in H_B. */
static struct em_rm stack_place(struct jit *j, s32 off, bool write)
{
	if (j->note[j->n].window)
		return jit_window_place(j, off);
	em_insn(&j->e, OP_LEA, H_A, em_at(H_SP, off));
	jit_check(j, 8, write);
	return em_at(H_A, 0);
}

static void move_rsp(struct jit *j, s32 by)
{
	em_insn(&j->e, OP_LEA, H_SP, em_at(H_SP, by));
}

/* The value of PUSH [mem] into H_C, kept over the second check in bt_cpu. */
static void push_memory(struct jit *j)
{
	const struct bt_insn *i = jit_insn(j);
	struct em_rm place;

	if (j->note[j->n].window && jit_is_stack_operand(i)) {
		em_insn(&j->e, OP_LOAD, H_C, jit_window_place(j, i->disp));
		em_insn(&j->e, OP_STORE, H_C, jit_window_place(j, -8));
		move_rsp(j, -8);
		return;
	}
	jit_address(j);
	jit_check(j, 8, false);
	em_insn(&j->e, OP_LOAD, H_C, em_at(H_A, 0));
	em_insn(&j->e, OP_STORE, H_C, JIT_FIELD(jit_value));
	place = stack_place(j, -8, true);
	em_insn(&j->e, OP_LOAD, H_C, JIT_FIELD(jit_value));
	em_insn(&j->e, OP_STORE, H_C, place);
	move_rsp(j, -8);
}

void jit_push(struct jit *j)
{
	const struct bt_insn *i = jit_insn(j);
	bool imm = jit_row(j)->operands[0] == 'I';
	struct em_rm place;

	if (i->width != W64) {
		jit_by_function(j);
		return;
	}
	if (i->mem) {
		push_memory(j);
		return;
	}
	place = stack_place(j, -8, true);
	if (imm) {
		em_insn(&j->e, OP_MOV_IMM, 0, place);
		em_bytes(&j->e, (u32)i->imm, 4);
	} else {
		unsigned src = jit_use(j, i->a / 8, H_C);

		em_insn(&j->e, OP_STORE, src, place);
	}
	move_rsp(j, -8);
}

void jit_pop(struct jit *j)
{
	const struct bt_insn *i = jit_insn(j);
	unsigned n = i->a / 8;
	struct em_rm place;

	if (i->width != W64) {
		jit_by_function(j);
		return;
	}
	place = stack_place(j, 0, false);
	if (n == X86_RSP) {
		em_insn(&j->e, OP_LOAD, H_SP, place);
		return;
	}
	if (jit_in_memory(n)) {
		em_insn(&j->e, OP_LOAD, H_C, place);
		em_insn(&j->e, OP_STORE, H_C, jit_gpr(n));
	} else {
		em_insn(&j->e, OP_LOAD, n, place);
	}
	move_rsp(j, 8);
}

/* The host's flags are the arithmetic ones; RF is clear between instructions.
 */
void jit_pushf(struct jit *j)
{
	bool live = j->note[j->n + 1].live;
	struct emit *e = &j->e;
	struct em_rm place;

	if (jit_insn(j)->width != W64) {
		jit_by_function(j);
		return;
	}
	place = stack_place(j, -8, true);
	if (live)
		jit_save_flags(j);
	em_byte(e, 0x9c); /* pushfq */
	em_short(e, 0x58, H_C);
	em_insn(e, OP_GROUP1_32, 4, em_reg(H_C));
	em_bytes(e, FLAG_ARITH, 4);
	em_insn(e, 0x0b, H_C, JIT_FIELD(eflags));
	em_insn(e, OP_GROUP1_8, 1, em_reg(H_C));
	em_byte(e, FLAG_1);
	em_insn(e, OP_STORE, H_C, place);
	if (live)
		jit_restore_flags(j);
	move_rsp(j, -8);
}

/* RSP changes only when the access has been found good. */
void jit_leave(struct jit *j)
{
	if (jit_insn(j)->width != W64) {
		jit_by_function(j);
		return;
	}
	em_mov(&j->e, H_A, X86_RBP);
	jit_check(j, 8, false);
	em_insn(&j->e, OP_LEA, H_SP, em_at(X86_RBP, 8));
	em_insn(&j->e, OP_LOAD, X86_RBP, em_at(H_A, 0));
}
