/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of hosts.c about accesses to memory: how wide they are, how much of
 * them has happened when they fault, and what comes first.
 *
 * References: [1] Intel SDM vol. 2, the instructions' pages.
 *             [2] Intel SDM vol. 3B, 22.31.1 (selector pushes and pops).
 *             [3] Intel SDM vol. 1, 8.6 (when numeric exceptions are reported).
 */
#include "silicon.h"

#include <string.h>

/* What cannot be read, or written, is a fault in the interpreter's run. */
static bool readable(u64 va, unsigned len)
{
	return va >= DATA && va + len <= DATA + DATA_BYTES;
}

static bool writable(u64 va, unsigned len)
{
	return va >= DATA && va + len <= DATA + DATA_WRITABLE;
}

/* ES to GS, in the tables' words. */
static bool is_segment(const struct bt_row *row)
{
	return row->operands[0] && row->operands[1] == 'S' && !row->operands[2];
}

/* The case where every page is there; its memory from OPEN on. */
static const u8 *run_open(struct interpreter *in, const struct dispute *d,
			  struct outcome *o)
{
	static u8 memory[OPEN_BYTES];

	memset(memory, 0, sizeof(memory));
	memcpy(memory + (DATA - OPEN), d->before, DATA_BYTES);
	interpreter_run_open(in, d->c, memory, o);
	return memory;
}

static void set_patch(struct outcome *o, u64 at, const u8 *bytes, u8 len)
{
	o->patch.at = at;
	o->patch.len = len;
	memcpy(o->patch.bytes, bytes, len);
}

static u64 operand(const struct test_case *c)
{
	return c->target + (c->uses_gs ? c->state.gs_base : 0);
}

static u64 stack(const struct test_case *c, u64 rsp)
{
	return c->form.code == W32 ? (u32)rsp : rsp;
}

/* [1], PUSH, leaves it open for 32-bit operands whether four bytes are written
 * or two; [2]: two on all but the Pentium. */
bool host_push_half(struct interpreter *in, const struct dispute *d,
		    struct outcome *o)
{
	const struct test_case *c = d->c;
	u64 sp = stack(c, c->state.gpr[X86_RSP] - 4);
	const u8 *memory;

	if (!is_segment(&bt_rows[c->form.row]) || c->form.code != W32 ||
	    c->form.size != SIZE_PLAIN || !writable(sp, 2))
		return false;
	if (o->vector == NO_FAULT) {
		set_patch(o, sp + 2, d->before + (sp + 2 - DATA), 2);
		return true;
	}
	memory = run_open(in, d, o);
	set_patch(o, sp, memory + (sp - OPEN), 2);
	return true;
}

/* [2]: two bytes are read, whatever the operand's size. */
bool host_pop_half(struct interpreter *in, const struct dispute *d,
		   struct outcome *o)
{
	const struct test_case *c = d->c;

	if (!is_segment(&bt_rows[c->form.row]) || o->vector != VEC_PF ||
	    !readable(stack(c, c->state.gpr[X86_RSP]), 2))
		return false;
	run_open(in, d, o);
	return true;
}

/* [1], CALL, checks the target, then the stack, and pushes then. */
bool host_call_pushed(struct interpreter *in, const struct dispute *d,
		      struct outcome *o)
{
	const struct test_case *c = d->c;
	u64 sp = c->state.gpr[X86_RSP] - 8, next = c->state.rip + c->len;

	(void)in;
	if (c->form.code != W64 || o->vector != VEC_GP || !writable(sp, 8))
		return false;
	set_patch(o, sp, (const u8 *)&next, 8);
	return true;
}

/* [1] has the transition to MMX be the first that these do. Of it only TOP is
 * to be seen, and that the stack's registers have other numbers. */
bool host_mmx_first(struct interpreter *in, const struct dispute *d,
		    struct outcome *o)
{
	struct xsave_legacy *x = (void *)o->state.xsave;
	u8 st[8][16];
	unsigned top = x->fsw >> 11 & 7;

	(void)in;
	if (!d->c->form.mem || o->vector == NO_FAULT)
		return false;
	memcpy(st, x->st, sizeof(st));
	for (unsigned k = 0; k < 8; k++)
		memcpy(x->st[(k + top) & 7], st[k], 16);
	x->fsw &= (u16) ~(7u << 11);
	return true;
}

/* Of the masked stores of VEX: is the k-th byte stored? */
static bool stored(const struct test_case *c, unsigned k)
{
	const struct xsave_legacy *x = (const void *)c->state.xsave;
	const struct bt_row *row = &bt_rows[c->form.row];
	unsigned n = c->insn.v / 8, size = row_is(row, "vmaskmovps") ? 4 : 8;
	const u8 *high = c->state.xsave + XSAVE_YMM + 16 * n;

	if (row_is(row, "vpmaskmov"))
		size = c->insn.rexw ? 8 : 4;
	k |= size - 1;
	return (k < 16 ? x->xmm[n][k] : high[k - 16]) >> 7;
}

/* No manual says which of an operand's bytes a #PF is reported at. Intel's CPUs
 * have the last that is to be stored. */
bool host_masked_last(struct interpreter *in, const struct dispute *d,
		      struct outcome *o)
{
	const struct test_case *c = d->c;
	unsigned k = operand_bytes(c);

	(void)in;
	if (o->vector != VEC_PF)
		return false;
	while (k && !stored(c, k - 1))
		k--;
	if (!k)
		return false;
	o->cr2 = operand(c) + k - 1;
	return true;
}

/* And of MASKMOVDQU's operand they look at the second half first. */
bool host_masked_half(struct interpreter *in, const struct dispute *d,
		      struct outcome *o)
{
	u64 rdi = d->c->state.gpr[X86_RDI];
	u64 at = d->c->insn.asize == W32 ? (u32)rdi : rdi;

	(void)in;
	if (o->vector != VEC_PF || writable(at + 8, 8))
		return false;
	for (at += 8; writable(at, 1); at++)
		;
	o->cr2 = at;
	o->error = PF_U | PF_W | (readable(at, 1) ? PF_P : 0);
	return true;
}

/* The case with an operand that is there. */
static void run_moved(struct interpreter *in, const struct dispute *d,
		      struct outcome *o)
{
	struct test_case moved = *d->c;
	struct dispute there = *d;

	moved.insn.b = moved.insn.x = BT_REG_ZERO;
	moved.insn.seg = X86_DS;
	moved.insn.disp = DATA;
	there.c = &moved;
	run_open(in, &there, o);
}

/* [3]: the unit reports when the instruction runs; which of the two is first
 * is left open. It has neither stored nor popped. */
bool host_numeric_first(struct interpreter *in, const struct dispute *d,
			struct outcome *o)
{
	const struct xsave_legacy *x;
	struct outcome there = {0};

	if (o->vector == NO_FAULT)
		return false;
	run_moved(in, d, &there);
	x = (const void *)there.state.xsave;
	if (there.vector != NO_FAULT || !(x->fsw & 0x80))
		return false;
	*o = there;
	return true;
}

/* The conversion comes before the store: its exception, if it has one, or its
 * flags. */
bool host_mxcsr_first(struct interpreter *in, const struct dispute *d,
		      struct outcome *o)
{
	struct xsave_legacy *x = (void *)o->state.xsave;
	const struct xsave_legacy *y;
	struct outcome there = {0};

	if (o->vector == NO_FAULT)
		return false;
	run_moved(in, d, &there);
	if (there.vector == VEC_XM)
		*o = there;
	y = (const void *)there.state.xsave;
	x->mxcsr = y->mxcsr;
	return true;
}

/* Two stores, the second of which faults. */
bool host_tbyte_half(struct interpreter *in, const struct dispute *d,
		     struct outcome *o)
{
	struct outcome open = {0};
	u64 at = operand(d->c);
	const u8 *memory;

	if (!row_is(&bt_rows[d->c->form.row], "fbstp") &&
	    bt_rows[d->c->form.row].mem_size != 10)
		return false;
	if (o->vector != VEC_PF || !writable(at, 8))
		return false;
	memory = run_open(in, d, &open);
	set_patch(o, at, memory + (at - OPEN), 8);
	return true;
}

/* [1] has "MASK[MAXVL-1:128] := 0" before the first element. */
bool host_gather_mask(struct interpreter *in, const struct dispute *d,
		      struct outcome *o)
{
	const struct test_case *c = d->c;

	(void)in;
	if (o->vector != VEC_PF || c->form.vex_l)
		return false;
	memset(o->state.xsave + XSAVE_YMM + 16 * (c->insn.v / 8), 0, 16);
	return true;
}

/* And the same of the destination behind the last; an element that has arrived
 * has taken the high half with it. */
bool host_gather_target(struct interpreter *in, const struct dispute *d,
			struct outcome *o)
{
	const struct test_case *c = d->c;

	(void)in;
	if (o->vector != VEC_PF || c->form.vex_l)
		return false;
	memset(o->state.xsave + XSAVE_YMM + 16 * c->insn.a, 0, 16);
	return true;
}
