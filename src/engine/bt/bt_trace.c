/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine's trace points write; each leaves the guest first. */
#include "engine/bt/bt_trace.h"

#include "vmm/trace.h"

void bt_trace_block(struct bt_cpu *c, const struct bt_block *b)
{
	bt_leave(c);
	trace_emit("block", "rip %#llx pa %#llx, %u instructions",
		   (unsigned long long)c->gpr[17], (unsigned long long)b->pa,
		   b->count);
	bt_enter(c);
}

void bt_trace_insn(struct bt_cpu *c, const struct bt_insn *i)
{
	const struct bt_row *row = &bt_rows[i->row];

	bt_leave(c);
	trace_emit("insn",
		   "rip %#llx %s%s %s rax %#llx rcx %#llx rdx %#llx "
		   "rsp %#llx flags %#x",
		   (unsigned long long)c->gpr[17], i->lock ? "lock " : "",
		   row->name, row->operands,
		   (unsigned long long)c->gpr[X86_RAX],
		   (unsigned long long)c->gpr[X86_RCX],
		   (unsigned long long)c->gpr[X86_RDX],
		   (unsigned long long)c->gpr[X86_RSP], bt_flags(c));
	bt_enter(c);
}

void bt_trace_event(struct bt_cpu *c, u8 vector, u32 error)
{
	bt_leave(c);
	trace_emit("fault", "vector %u error %#x rip %#llx cpl %u cr2 %#llx",
		   vector, error, (unsigned long long)c->rip, c->cpl,
		   (unsigned long long)c->cr2);
	bt_enter(c);
}

void bt_trace_msr(struct bt_cpu *c, bool write, u32 msr, u64 val)
{
	bt_leave(c);
	trace_emit("msr", "rip %#llx %s %#x %s %#llx",
		   (unsigned long long)c->rip, write ? "write" : "read", msr,
		   write ? "to" : "is", (unsigned long long)val);
	bt_enter(c);
}
