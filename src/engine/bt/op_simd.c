/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIMD and x87 instructions: the checks a CPU makes, the operand in reach, and
 * the stub that runs the instruction itself.
 *
 * References: [1] Intel SDM vol. 3A 2.5 (CR0.EM, TS, MP), 13.1 (CR4.OSFXSR),
 *                 vol. 2A 2.4 (exception classes of SSE and AVX),
 *                 vol. 1 8.1.8 (x87 instruction and data pointers).
 */
#include "engine/bt/simd.h"

#include "bt_ops.h"
#include "engine/bt/fpu.h"
#include "engine/bt/mem.h"
#include "engine/bt/signals.h"
#include "engine/bt/sys.h"
#include "arch/xsave.h"

/* [1] tables 2-16 and following, in their order. */
void bt_fpu_check(struct bt_cpu *c, u32 attrs)
{
	if (attrs & ROW_AVX) {
		if (!(c->cr0 & CR0_PE) || !(c->cr4 & CR4_OSXSAVE) ||
		    (c->xcr0 & (XCR0_SSE | XCR0_AVX)) != (XCR0_SSE | XCR0_AVX))
			bt_ud(c);
	} else if (attrs & ROW_SSE) {
		if (c->cr0 & CR0_EM || !(c->cr4 & CR4_OSFXSR))
			bt_ud(c);
	} else if (attrs & ROW_MMX) {
		if (c->cr0 & CR0_EM)
			bt_ud(c);
	} else if (c->cr0 & CR0_EM) {
		bt_raise(c, VEC_NM);
	}
	if (c->cr0 & CR0_TS)
		bt_raise(c, VEC_NM);
}

static inline const struct bt_row *begin(struct bt_cpu *c,
					 const struct bt_insn *i)
{
	const struct bt_row *row = &bt_rows[i->row];

	bt_fpu_check(c, row->attrs);
	return row;
}

/*
 * [1] vol. 1 8.1.8: kept by all but the control instructions. To be called
 * when the stub has run: until then an error of the instruction before may be
 * due, and the pointers are that one's.
 */
static inline void note_pointers(struct bt_cpu *c, const struct bt_row *row,
				 const struct bt_insn *i)
{
	if ((row->attrs & (ROW_X87 | ROW_CONTROL)) != ROW_X87)
		return;
	c->fip = c->rip;
	c->fcs = c->seg[X86_CS].selector;
	c->fop = (u16)((row->opcode & 7) << 8 | i->v);
	if (!i->mem)
		return;
	c->fdp = bt_ea(c, i);
	c->fds = c->seg[i->seg].selector;
}

/* Loads the state last: finding the operand may have led outside. */
static inline u64 run(struct bt_cpu *c, const struct bt_row *row,
		      const struct bt_insn *i, const void *mem, u64 rax)
{
	bt_fpu_load(c);
	rax = bt_call_stub(c, i, mem, rax);
	note_pointers(c, row, i);
	return rax;
}

/* Does an instruction with a memory operand use the x87 registers, and so wait?
 * FNSTCW and FNSTSW do not, FLDCW does; CVTPI2PS and CVTPI2PD from memory have
 * nothing to do with MMX registers (P). */
static bool waits(const struct bt_row *row)
{
	const char *o = row->operands;

	if (row->attrs & ROW_X87)
		return !(row->attrs & ROW_CONTROL && row->attrs & ROW_MEMW);
	while (*o && *o != 'P')
		o++;
	return row->attrs & ROW_MMX && *o;
}

/*
 * Before a fault of the operand: an error that is due comes first, as it does
 * on silicon. In the stub the host would see to it by itself.
 */
static void check_pending(struct bt_cpu *c, const struct bt_row *row)
{
	u16 fsw;

	if (!waits(row))
		return;
	bt_fpu_load(c);
	__asm__ volatile("fnstsw %0" : "=m"(fsw));
	if (fsw & FSW_ES)
		bt_raise(c, VEC_MF);
}

/* The manuals of both vendors want an aligned operand for SHA; AMD's CPUs take
 * any, Zen 3 and 4 at least, and translated code runs on them. */
static bool takes_unaligned(const struct bt_cpu *c, const struct bt_row *row)
{
	return row->attrs & ROW_UNALIGNED ||
	       (row->feature == FEAT_SHA && bt_is_amd(c));
}

static void check_alignment(struct bt_cpu *c, const struct bt_row *row,
			    gva_t va, unsigned size)
{
	bool aligned =
		row->attrs & ROW_VEX ? row->attrs & ROW_ALIGNED : size >= 16;

	if (unlikely(aligned && va & (size - 1)) && !takes_unaligned(c, row)) {
		check_pending(c, row);
		bt_gp(c);
	}
}

static void *find_slowly(struct bt_cpu *c, const struct bt_row *row, gva_t va,
			 unsigned size, bool write)
{
	check_pending(c, row);
	return bt_ptr_slow(c, va, size, write);
}

/* Where to read the operand: the guest's own page, or a copy; NULL for the
 * register form. */
static const void *source(struct bt_cpu *c, const struct bt_row *row,
			  const struct bt_insn *i)
{
	unsigned size;
	const void *p;
	gva_t va;

	if (!i->mem)
		return NULL;
	size = bt_simd_size(row, i);
	va = bt_operand(c, i, size, false);
	check_alignment(c, row, va, size);
	p = bt_rptr(c, va, size);
	if (unlikely(!p))
		p = find_slowly(c, row, va, size, false);
	if (unlikely(!p)) {
		bt_load_bytes(c, va, c->bounce, size);
		p = c->bounce;
	}
	return p;
}

static void simd_plain(struct bt_cpu *c, const struct bt_insn *i)
{
	const struct bt_row *row = begin(c, i);

	run(c, row, i, source(c, row, i), 0);
}

/* [1] vol. 1 8.5: an x87 store with an unmasked error leaves memory alone, but
 * for an inexact result. No error was due before: it would have been raised. */
static bool stored(const struct bt_row *row)
{
	u16 fsw, fcw;

	if ((row->attrs & (ROW_X87 | ROW_CONTROL)) != ROW_X87)
		return true;
	__asm__ volatile("fnstsw %0; fnstcw %1" : "=m"(fsw), "=m"(fcw));
	return !(fsw & ~fcw & (FSW_ERRORS & ~FSW_PE));
}

static void simd_store(struct bt_cpu *c, const struct bt_insn *i)
{
	const struct bt_row *row = begin(c, i);
	unsigned size = bt_simd_size(row, i);
	gva_t va = bt_operand(c, i, size, true);
	void *p;

	check_alignment(c, row, va, size);
	p = bt_wptr(c, va, size);
	if (unlikely(!p))
		p = find_slowly(c, row, va, size, true);
	if (likely(p != NULL)) {
		run(c, row, i, p, 0);
		return;
	}
	/* What it stores depends on nothing in memory; FSTP pops only when it
	 * runs, and it runs only when the store cannot fault any more. */
	bt_probe(c, va, size, true);
	run(c, row, i, c->bounce, 0);
	if (stored(row))
		bt_store_bytes(c, va, c->bounce, size);
}

static void simd_gpr_in(struct bt_cpu *c, const struct bt_insn *i)
{
	const struct bt_row *row = begin(c, i);

	run(c, row, i, NULL, *bt_r64(c, i->b));
}

/* The destination is i->a; 32 bits clear the rest. */
static void simd_gpr_out(struct bt_cpu *c, const struct bt_insn *i)
{
	const struct bt_row *row = begin(c, i);
	u64 val = run(c, row, i, source(c, row, i), 0);

	if (i->rexw)
		*bt_r64(c, i->a) = val;
	else
		bt_set32(c, i->a, (u32)val);
}

static void simd_ax_out(struct bt_cpu *c, const struct bt_insn *i)
{
	const struct bt_row *row = begin(c, i);

	*bt_r16(c, BT_REG(X86_RAX)) = (u16)run(c, row, i, NULL, 0);
}

static void simd_flags_out(struct bt_cpu *c, const struct bt_insn *i)
{
	const struct bt_row *row = begin(c, i);

	c->aflags = (u16)run(c, row, i, source(c, row, i), 0);
}

static void simd_flags_in(struct bt_cpu *c, const struct bt_insn *i)
{
	const struct bt_row *row = begin(c, i);

	run(c, row, i, NULL, c->aflags);
}

/* PCMPESTRI and its kin: lengths in EAX and EDX, index in ECX. */
static void simd_string(struct bt_cpu *c, const struct bt_insn *i)
{
	const struct bt_row *row = begin(c, i);
	const void *mem = source(c, row, i);
	const u8 *stub = bt_stub_code(c, i);
	u64 rax = c->gpr[X86_RAX], rcx = c->gpr[X86_RCX];

	bt_fpu_load(c);
	__asm__ volatile("call *%2"
			 : "+a"(rax), "+c"(rcx)
			 : "r"(stub), "D"(mem), "d"(c->gpr[X86_RDX])
			 : "cc", "memory");
	c->aflags = (u16)rax;
	if (row->opcode & 1) /* 61, 63: the forms that return an index */
		c->gpr[X86_RCX] = rcx;
}

void (*bt_simd_function(const struct bt_row *row, const struct bt_insn *i,
			enum stub_kind kind))(struct bt_cpu *c,
					      const struct bt_insn *i)
{
	switch (kind) {
	case STUB_STORE:
		return simd_store;
	case STUB_GPR_IN:
		return simd_gpr_in;
	case STUB_GPR_OUT:
		return row->operands[0] == 'A' ? simd_ax_out : simd_gpr_out;
	case STUB_FLAGS_OUT:
		return simd_flags_out;
	case STUB_FLAGS_IN:
		return simd_flags_in;
	case STUB_STRING:
		return simd_string;
	default:
		return simd_plain;
	}
}

/* The unit's exception inside a stub, out of the signal handler. */
void bt_simd_landing(struct bt_cpu *c, u64 vector)
{
	/* [1] 2.5: without OSXMMEXCPT it is an invalid opcode. */
	if (vector == VEC_XM && !(c->cr4 & CR4_OSXMMEXCPT))
		bt_ud(c);
	bt_raise(c, (u8)vector);
}

/* Rows name this one; stub.c replaces it when it attaches the stub. */
void bt_op_simd(struct bt_cpu *c, const struct bt_insn *i)
{
	bt_ud(c);
}
