/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine's trace points write; each leaves the guest first. */
#include "engine/bt/bt_trace.h"

#include "engine/bt/decode.h"
#include "engine/bt/disasm.h"
#include "engine/bt/vm.h"
#include "vmm/trace.h"

void bt_trace_block(struct bt_cpu *c, const struct bt_block *b)
{
	bt_leave(c);
	trace_emit("block", "rip %#llx pa %#llx, %u instructions",
		   (unsigned long long)c->gpr[17], (unsigned long long)b->pa,
		   b->count);
	bt_enter(c);
}

/* The block's first bytes, as many as one instruction can have. */
static unsigned first_bytes(const struct bt_cpu *c, const struct bt_block *b,
			    u8 bytes[BT_MAX_INSN])
{
	unsigned here = 4096 - (b->pa & 0xfff), n;

	for (n = 0; n < BT_MAX_INSN; n++) {
		gpa_t pa = n < here ? b->pa + n : b->pa2 + n - here;
		const struct bt_ram *ram = bt_ram_find(c->bvm, pa);

		if (!ram || (n >= here && !b->pa2))
			break;
		bytes[n] = ram->hva[pa - ram->gpa];
	}
	return n;
}

void bt_trace_insn(struct bt_cpu *c, const struct bt_block *b)
{
	u8 bytes[BT_MAX_INSN];
	struct bt_parts parts;
	struct bt_insn insn;
	char text[96];

	bt_leave(c);
	bt_decode(bytes, first_bytes(c, b, bytes), b->code, c->policy->features,
		  &insn, &parts);
	bt_disasm(&insn, &parts, c->gpr[17], text, sizeof(text));
	trace_emit("insn",
		   "rip %#llx %-32s rax %#llx rcx %#llx rdx %#llx rsp %#llx "
		   "flags %#x",
		   (unsigned long long)c->gpr[17], text,
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
