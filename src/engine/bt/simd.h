/* SPDX-License-Identifier: Apache-2.0 */
/* Running SIMD and x87 instructions on the host's unit. */
#pragma once

#include "engine/bt/stub.h"
#include "engine/bt/vm.h"

/* The operation for a ROW_SIMD record of this kind. */
void (*bt_simd_function(const struct bt_row *row, const struct bt_insn *i,
			enum stub_kind kind))(struct bt_cpu *c,
					      const struct bt_insn *i);

/* #UD or #NM as CR0, CR4 and XCR0 demand for the row's class. */
void bt_fpu_check(struct bt_cpu *c, u32 attrs);

static inline const u8 *bt_stub_code(const struct bt_cpu *c,
				     const struct bt_insn *i)
{
	return c->bvm->stubs->code.exec + (u32)i->imm;
}

/* Run the record's stub; the guest's state is live. Returns RAX. */
static inline u64 bt_call_stub(struct bt_cpu *c, const struct bt_insn *i,
			       const void *mem, u64 rax)
{
	__asm__ volatile("call *%1"
			 : "+a"(rax)
			 : "r"(bt_stub_code(c, i)), "D"(mem)
			 : "cc", "memory");
	return rax;
}
