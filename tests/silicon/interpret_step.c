/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One record of the interpreter. Compiled, as the engine is, with general
 * registers only: the guest's SIMD registers are live in the host's until
 * they are saved.
 */
#include "interpret_step.h"

#include "engine/bt/fpu.h"
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
