/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One record of the interpreter, one translation, and both. Compiled, as the
 * engine is, with general registers only: the guest's SIMD registers are live
 * in the host's until they are saved.
 */
#include "interpret_step.h"

#include "engine/bt/check.h"
#include "engine/bt/fpu.h"
#include "engine/bt/jit.h"
#include "engine/bt/sys.h"

int interpret_step(struct bt_cpu *c, const struct bt_insn *i)
{
	if (bt_setjmp(c->jmp)) {
		bt_fpu_save(c);
		return c->exc.vector;
	}
	i->fn(c, i);
	bt_fpu_save(c);
	return -1;
}

int translate_step(struct bt_cpu *c, struct bt_trans *t)
{
	if (bt_setjmp(c->jmp)) {
		bt_fpu_save(c);
		return c->exc.vector;
	}
	bt_jit_once(c, t);
	bt_fpu_save(c);
	return -1;
}

int check_step(struct bt_cpu *c, struct bt_block *b)
{
	if (bt_setjmp(c->jmp)) {
		bt_fpu_save(c);
		return c->exc.vector;
	}
	/* The first call of a turn only takes the exclusive section. */
	while (!c->check->held)
		bt_check_run(c, b);
	bt_check_run(c, b);
	bt_fpu_save(c);
	return -1;
}
