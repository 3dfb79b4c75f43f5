/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FPU and SIMD state to and from guest memory: FXSAVE, XSAVE and theirs,
 * and MXCSR alone.
 *
 * References: [1] Intel SDM vol. 1 chapter 13 (XSAVE), 10.5 (FXSAVE),
 *                 10.2.3 (MXCSR), vol. 2 the instructions' pages.
 *             [2] AMD APM vol. 2 11.5 (XSAVE).
 *
 * The state is first put into bt_cpu.xsave, which is a valid image with every
 * component filled in, and copied from there. XSAVEOPT has the init
 * optimization but not the modified one ([1] 13.9 leaves that free). Not
 * offered: FFXSR, XSAVES and supervisor components.
 */
#include "bt_ops.h"
#include "engine/bt/fpu.h"
#include "engine/bt/simd.h"
#include "engine/bt/span.h"
#include "arch/xsave.h"

/* Where things are in the legacy region ([1] table 13-1). */
enum legacy_offset {
	LEGACY_MXCSR = 24,
	LEGACY_ST = 32,
	LEGACY_XMM = 160,
	LEGACY_END = 416,
};
#define XSAVE_EXTENDED (XSAVE_LEGACY_BYTES + XSAVE_HEADER_BYTES)

/* What of the legacy region an instruction moves. */
struct legacy_parts {
	bool x87, mxcsr, xmm;
};

static struct xsave_legacy *legacy_of(struct bt_cpu *c)
{
	return (struct xsave_legacy *)(void *)c->xsave;
}

/* [1] 13.5.2: only eight registers outside 64-bit code. */
static unsigned xmm_count(const struct bt_cpu *c)
{
	return bt_mode64(c) ? 16 : 8;
}

/* ---- legacy region ----------------------------------------------------- */

/* [1] table 13-1: without REX.W a selector and 32 bits for each pointer. */
static void make_head(struct bt_cpu *c, const struct bt_insn *i, u64 head[4])
{
	bt_copy(head, c->xsave, LEGACY_ST);
	head[0] = head[0] << 16 >> 16 | (u64)c->fop << 48;
	head[1] = c->fip;
	head[2] = c->fdp;
	if (!i->rexw) {
		head[1] = (u32)c->fip | (u64)c->fcs << 32;
		head[2] = (u32)c->fdp | (u64)c->fds << 32;
	}
}

static void take_pointers(struct bt_cpu *c, const struct bt_insn *i,
			  const u64 head[3])
{
	c->fop = head[0] >> 48 & 0x7ff;
	c->fip = i->rexw ? head[1] : (u32)head[1];
	c->fdp = i->rexw ? head[2] : (u32)head[2];
	c->fcs = i->rexw ? 0 : (u16)(head[1] >> 32);
	c->fds = i->rexw ? 0 : (u16)(head[2] >> 32);
}

/* The image holds the state. */
static void legacy_write(struct bt_cpu *c, const struct bt_insn *i, gva_t va,
			 struct legacy_parts parts)
{
	unsigned xmm_end = LEGACY_XMM + 16 * xmm_count(c), from, to;
	u64 head[4];

	make_head(c, i, head);
	from = parts.x87 ? 0 : LEGACY_MXCSR;
	to = parts.mxcsr ? LEGACY_ST : LEGACY_MXCSR;
	if (from < to)
		bt_write_span(c, (va + from) & c->lin_mask, (u8 *)head + from,
			      to - from);
	from = parts.x87 ? LEGACY_ST : LEGACY_XMM;
	to = parts.xmm ? xmm_end : LEGACY_XMM;
	if (from < to)
		bt_write_span(c, (va + from) & c->lin_mask, c->xsave + from,
			      to - from);
}

/* What no register holds: reserved bits, and what follows from others, as the
 * CPU has it behind FXRSTOR. */
static void tidy_x87(struct xsave_legacy *x)
{
	x->fcw = (u16)((x->fcw & FCW_WRITABLE) | FCW_FIXED);
	x->fsw &= (u16) ~(FSW_ES | FSW_B);
	if (x->fsw & ~x->fcw & FSW_ERRORS)
		x->fsw |= FSW_ES | FSW_B;
	x->reserved = 0;
	for (unsigned k = 0; k < ARRAY_SIZE(x->st); k++)
		bt_zero(x->st[k] + 10, 6);
}

static void legacy_read_x87(struct bt_cpu *c, const struct bt_insn *i, gva_t va)
{
	u64 head[3];

	bt_read_span(c, va, head, sizeof(head));
	bt_copy(c->xsave, head, sizeof(head));
	take_pointers(c, i, head);
	bt_read_span(c, (va + LEGACY_ST) & c->lin_mask, c->xsave + LEGACY_ST,
		     LEGACY_XMM - LEGACY_ST);
	tidy_x87(legacy_of(c));
}

static void legacy_init_x87(struct bt_cpu *c)
{
	bt_zero(c->xsave, LEGACY_MXCSR);
	bt_zero(c->xsave + LEGACY_ST, LEGACY_XMM - LEGACY_ST);
	legacy_of(c)->fcw = FCW_INIT;
	c->fip = c->fdp = 0;
	c->fop = c->fcs = c->fds = 0;
}

static void legacy_read_xmm(struct bt_cpu *c, gva_t va)
{
	bt_read_span(c, (va + LEGACY_XMM) & c->lin_mask, c->xsave + LEGACY_XMM,
		     16 * xmm_count(c));
}

/* [1] 10.5.1.2, 13.8.1: reserved bits of a new MXCSR are #GP(0). */
static u32 read_mxcsr(struct bt_cpu *c, gva_t va)
{
	u32 mxcsr = bt_load32(c, va);

	if (mxcsr & ~MXCSR_MASK)
		bt_gp(c);
	return mxcsr;
}

/* ---- FXSAVE, FXRSTOR --------------------------------------------------- */

static gva_t fx_area(struct bt_cpu *c, const struct bt_insn *i, bool write)
{
	gva_t va;

	if (c->cr0 & (CR0_EM | CR0_TS))
		bt_raise(c, VEC_NM);
	va = bt_operand(c, i, XSAVE_LEGACY_BYTES, write);
	if (va & 15)
		bt_gp(c);
	bt_probe_span(c, va, XSAVE_LEGACY_BYTES, write);
	return va;
}

/* [1] 10.5.1: SSE state belongs to it only with CR4.OSFXSR. */
static struct legacy_parts fx_parts(const struct bt_cpu *c)
{
	bool sse = c->cr4 & CR4_OSFXSR;

	return (struct legacy_parts){.x87 = true, .mxcsr = sse, .xmm = sse};
}

void bt_op_fxsave(struct bt_cpu *c, const struct bt_insn *i)
{
	gva_t va = fx_area(c, i, true);

	bt_fpu_save(c);
	legacy_write(c, i, va, fx_parts(c));
}

void bt_op_fxrstor(struct bt_cpu *c, const struct bt_insn *i)
{
	gva_t va = fx_area(c, i, false);
	struct legacy_parts parts = fx_parts(c);
	u32 mxcsr = parts.mxcsr ? read_mxcsr(c, va + LEGACY_MXCSR) : 0;

	bt_fpu_save(c);
	legacy_read_x87(c, i, va);
	*xsave_header(c->xsave) |= XCR0_X87;
	if (!parts.xmm)
		return;
	legacy_of(c)->mxcsr = mxcsr;
	legacy_read_xmm(c, va);
	*xsave_header(c->xsave) |= XCR0_SSE;
}

/* ---- components -------------------------------------------------------- */

struct component {
	u32 standard; /* offset in the standard format */
	u32 size;
	bool align; /* to 64 bytes in the compacted format */
};

/* [1] vol. 2, CPUID leaf 0Dh, subleaves from 2 on: as the guest was told. */
static struct component component_of(const struct bt_cpu *c, unsigned n)
{
	const struct cpu_policy *policy = c->policy;

	for (unsigned k = 0; k < policy->count; k++) {
		const struct cpuid_leaf *leaf = &policy->leaves[k];

		if (leaf->leaf == 0xd && leaf->subleaf == n)
			return (struct component){.standard = leaf->ebx,
						  .size = leaf->eax,
						  .align = leaf->ecx >> 1 & 1};
	}
	return (struct component){.standard = XSAVE_EXTENDED};
}

/* [1] 13.5.3: the upper halves of YMM8 to YMM15 stay outside 64-bit code. */
static unsigned component_bytes(const struct bt_cpu *c, unsigned n, u32 size)
{
	return n == 2 ? 16 * xmm_count(c) : size;
}

/*
 * Visits the extended components of `present` in order: where each is in the
 * guest's area. `present` is XCOMP_BV for the compacted format ([1] 13.4.3).
 */
struct layout {
	u64 present; /* left to visit */
	bool compacted;
	u32 next;
	/* the current one */
	unsigned n;
	u32 offset;
	struct component part;
};

static struct layout layout_begin(u64 present, bool compacted)
{
	return (struct layout){
		.present = present & ~(XCR0_X87 | XCR0_SSE | XSAVE_COMPACTED),
		.compacted = compacted,
		.next = XSAVE_EXTENDED,
	};
}

static bool layout_next(const struct bt_cpu *c, struct layout *l)
{
	if (!l->present)
		return false;
	l->n = (unsigned)__builtin_ctzll(l->present);
	l->present &= l->present - 1;
	l->part = component_of(c, l->n);
	l->offset = l->part.standard;
	if (l->compacted) {
		if (l->part.align)
			l->next = (l->next + 63) & ~63u;
		l->offset = l->next;
		l->next += l->part.size;
	}
	return true;
}

/* Up to the end of the last component of `which`. */
static unsigned area_size(const struct bt_cpu *c, struct layout l, u64 which)
{
	unsigned size = XSAVE_EXTENDED;

	while (layout_next(c, &l))
		if (which >> l.n & 1)
			size = l.offset + component_bytes(c, l.n, l.part.size);
	return size;
}

/* ---- XSAVE ------------------------------------------------------------- */

static u64 requested(const struct bt_cpu *c)
{
	return ((u64)(u32)c->gpr[X86_RDX] << 32 | (u32)c->gpr[X86_RAX]) &
	       c->xcr0;
}

static void xsave_check(struct bt_cpu *c)
{
	if (!(c->cr4 & CR4_OSXSAVE))
		bt_ud(c);
	if (c->cr0 & CR0_TS)
		bt_raise(c, VEC_NM);
}

static gva_t xsave_area(struct bt_cpu *c, const struct bt_insn *i,
			unsigned size, bool write)
{
	gva_t va = bt_operand(c, i, size, write);

	if (va & 63)
		bt_gp(c);
	bt_probe_span(c, va, size, write);
	return va;
}

static void write_extended(struct bt_cpu *c, gva_t va, struct layout l,
			   u64 which)
{
	while (layout_next(c, &l))
		if (which >> l.n & 1)
			bt_write_span(c, (va + l.offset) & c->lin_mask,
				      c->xsave + l.part.standard,
				      component_bytes(c, l.n, l.part.size));
}

/* [1] 13.7 and, with `optimize`, 13.9. */
static void xsave(struct bt_cpu *c, const struct bt_insn *i, bool optimize)
{
	u64 mask = requested(c), in_use, which, bv;
	struct legacy_parts parts;
	gva_t va;

	xsave_check(c);
	va = xsave_area(c, i, area_size(c, layout_begin(mask, false), mask),
			true);
	bt_fpu_save(c);
	in_use = *xsave_header(c->xsave);
	which = optimize ? mask & in_use : mask;
	parts.x87 = which & XCR0_X87;
	parts.xmm = which & XCR0_SSE;
	parts.mxcsr = mask & (XCR0_SSE | XCR0_AVX);
	legacy_write(c, i, va, parts);
	write_extended(c, va, layout_begin(mask, false), which);
	va = (va + XSAVE_LEGACY_BYTES) & c->lin_mask;
	bv = bt_load64(c, va);
	bt_store64(c, va, (bv & ~mask) | (in_use & mask));
}

void bt_op_xsave(struct bt_cpu *c, const struct bt_insn *i)
{
	xsave(c, i, false);
}

void bt_op_xsaveopt(struct bt_cpu *c, const struct bt_insn *i)
{
	xsave(c, i, true);
}

/* [1] 13.10. */
void bt_op_xsavec(struct bt_cpu *c, const struct bt_insn *i)
{
	u64 mask = requested(c), which;
	struct legacy_parts parts;
	gva_t va;

	xsave_check(c);
	va = xsave_area(c, i, area_size(c, layout_begin(mask, true), mask),
			true);
	bt_fpu_save(c);
	which = *xsave_header(c->xsave);
	if (legacy_of(c)->mxcsr != MXCSR_RESET)
		which |= XCR0_SSE;
	which &= mask;
	parts.x87 = which & XCR0_X87;
	parts.xmm = parts.mxcsr = which & XCR0_SSE;
	legacy_write(c, i, va, parts);
	write_extended(c, va, layout_begin(mask, true), which);
	va = (va + XSAVE_LEGACY_BYTES) & c->lin_mask;
	bt_store64(c, va, which);
	bt_store64(c, (va + 8) & c->lin_mask, mask | XSAVE_COMPACTED);
}

/* ---- XRSTOR ------------------------------------------------------------ */

/* [1] 13.8: what makes a header invalid. */
static bool header_valid(const struct bt_cpu *c, const u64 header[8])
{
	u64 bv = header[0], comp = header[1] & ~XSAVE_COMPACTED, rest = 0;

	/* Standard: bytes 8 to 23 are zero, the others are not looked at. */
	if (!(header[1] & XSAVE_COMPACTED))
		return !(bv & ~c->xcr0) && !header[1] && !header[2];
	for (unsigned k = 2; k < 8; k++)
		rest |= header[k];
	return cpu_has(c->policy, FEAT_XSAVEC) && !(comp & ~c->xcr0) &&
	       !(bv & ~comp) && !rest;
}

static void restore_extended(struct bt_cpu *c, gva_t va, struct layout l,
			     u64 which)
{
	while (layout_next(c, &l))
		if (which >> l.n & 1)
			bt_read_span(c, (va + l.offset) & c->lin_mask,
				     c->xsave + l.part.standard,
				     component_bytes(c, l.n, l.part.size));
}

static void init_extended(struct bt_cpu *c, u64 which)
{
	struct layout l = layout_begin(which, false);

	while (layout_next(c, &l))
		bt_zero(c->xsave + l.part.standard,
			component_bytes(c, l.n, l.part.size));
}

struct restore {
	u64 load, init; /* components */
	bool compacted;
	u32 mxcsr;
	u64 present; /* for the layout */
};

static void restore_legacy(struct bt_cpu *c, const struct bt_insn *i, gva_t va,
			   const struct restore *r)
{
	if (r->load & XCR0_X87)
		legacy_read_x87(c, i, va);
	else if (r->init & XCR0_X87)
		legacy_init_x87(c);
	if (r->load & XCR0_SSE)
		legacy_read_xmm(c, va);
	else if (r->init & XCR0_SSE)
		bt_zero(c->xsave + LEGACY_XMM, 16 * xmm_count(c));
}

/* [1] 13.8.1, 13.8.2: when MXCSR comes from memory, is initialized, or stays
 * as it is. */
static u32 restored_mxcsr(struct bt_cpu *c, gva_t va, const struct restore *r)
{
	u64 both = r->load | r->init;
	bool load = r->compacted ? r->load & XCR0_SSE
				 : both & (XCR0_SSE | XCR0_AVX);
	u32 now = legacy_of(c)->mxcsr;

	if (load)
		return read_mxcsr(c, (va + LEGACY_MXCSR) & c->lin_mask);
	return both & XCR0_SSE ? MXCSR_RESET : now;
}

void bt_op_xrstor(struct bt_cpu *c, const struct bt_insn *i)
{
	u64 mask = requested(c), header[8], *own = xsave_header(c->xsave);
	struct restore r;
	struct layout l;
	gva_t va;

	xsave_check(c);
	va = xsave_area(c, i, XSAVE_EXTENDED, false);
	bt_read_span(c, (va + XSAVE_LEGACY_BYTES) & c->lin_mask, header,
		     sizeof(header));
	if (!header_valid(c, header))
		bt_gp(c);
	r.load = mask & header[0];
	r.init = mask & ~header[0];
	r.compacted = header[1] & XSAVE_COMPACTED;
	r.present = r.compacted ? header[1] : mask;
	l = layout_begin(r.present, r.compacted);
	/* All that is asked for, to be loaded or not, as on silicon. */
	bt_probe_span(c, va, area_size(c, l, mask), false);
	bt_fpu_save(c);
	r.mxcsr = restored_mxcsr(c, va, &r);
	restore_legacy(c, i, va, &r);
	restore_extended(c, va, l, r.load);
	init_extended(c, r.init);
	legacy_of(c)->mxcsr = r.mxcsr;
	/* Outside 64-bit code half of the registers were not initialized. */
	*own = (*own & ~mask) | (bt_mode64(c) ? r.load : mask);
}

/* ---- MXCSR ------------------------------------------------------------- */

void bt_op_ldmxcsr(struct bt_cpu *c, const struct bt_insn *i)
{
	u32 mxcsr;

	bt_fpu_check(c, bt_rows[i->row].attrs);
	mxcsr = read_mxcsr(c, bt_operand(c, i, 4, false));
	bt_fpu_load(c);
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}

void bt_op_stmxcsr(struct bt_cpu *c, const struct bt_insn *i)
{
	u32 mxcsr = legacy_of(c)->mxcsr;

	bt_fpu_check(c, bt_rows[i->row].attrs);
	if (c->fpu_live)
		__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	bt_store32(c, bt_operand(c, i, 4, true), mxcsr);
}
