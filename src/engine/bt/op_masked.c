/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that touch only some elements of their memory operand: masked
 * moves and gathers.
 *
 * References: [1] Intel SDM vol. 2 MASKMOVDQU, MASKMOVQ, VMASKMOV, VPMASKMOV,
 *                 VGATHERDPS and the others, 2.3.12 (VSIB).
 *
 * A masked move whose whole operand lies in reach runs as a stub like any
 * other. Otherwise only the elements that the mask names may fault (but for
 * MASKMOVQ and MASKMOVDQU): they are probed one by one, and the stub works on
 * a copy. A gather is done here,
 * element by element on the state's image, so that a fault leaves the elements
 * done, and their masks, as a CPU does.
 */
#include "bt_ops.h"
#include "engine/bt/fpu.h"
#include "engine/bt/mem.h"
#include "engine/bt/simd.h"
#include "arch/xsave.h"

/* ---- registers in the image -------------------------------------------- */

/* 8 bytes of a YMM register: 0, 1 the XMM half, 2, 3 the upper half. */
static u64 *ymm_part(struct bt_cpu *c, unsigned n, unsigned part)
{
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)c->xsave;
	u8 *p = part < 2 ? x->xmm[n] : c->xsave + XSAVE_AVX + 16 * n;

	return (u64 *)(void *)(p + 8 * (part & 1));
}

static u64 get_element(struct bt_cpu *c, unsigned n, unsigned k, unsigned size)
{
	u64 val = *ymm_part(c, n, k * size / 8);

	return size == 8 ? val : (u32)(val >> (k & 1) * 32);
}

static void set_element(struct bt_cpu *c, unsigned n, unsigned k, unsigned size,
			u64 val)
{
	u64 *part = ymm_part(c, n, k * size / 8);

	if (size == 8)
		*part = val;
	else
		((u32_any *)part)[k & 1] = (u32)val;
}

/* ---- masked moves ------------------------------------------------------ */

struct masked {
	gva_t va;
	unsigned size; /* of the operand */
	unsigned element;
	u32 active; /* a bit per element */
};

static u32 sign_bits(const u64 part[4], const struct masked *m)
{
	const u8 *bytes = (const u8 *)part;
	u32 active = 0;

	for (unsigned k = 0; k < m->size / m->element; k++)
		active |= (u32)(bytes[(k + 1) * m->element - 1] >> 7) << k;
	return active;
}

/* The mask is the YMM or XMM register n; puts the state into its image. */
static void mask_from_ymm(struct bt_cpu *c, unsigned n, struct masked *m)
{
	u64 part[4];

	bt_fpu_save(c);
	for (unsigned k = 0; k < 4; k++)
		part[k] = k * 8 < m->size ? *ymm_part(c, n, k) : 0;
	m->active = sign_bits(part, m);
}

/* MM n is the physical register; the image is ordered from the top. */
static void mask_from_mm(struct bt_cpu *c, unsigned n, struct masked *m)
{
	struct xsave_legacy *x = (struct xsave_legacy *)(void *)c->xsave;
	u64 part[4] = {0};

	bt_fpu_save(c);
	if (x->fsw & FSW_ES) /* comes before a fault of the operand */
		bt_raise(c, VEC_MF);
	part[0] = *(u64 *)(void *)x->st[(n - (x->fsw >> 11)) & 7];
	m->active = sign_bits(part, m);
}

static gva_t element_va(const struct bt_cpu *c, const struct masked *m,
			unsigned k)
{
	return (m->va + k * m->element) & c->lin_mask;
}

static unsigned width_of(unsigned element)
{
	return (unsigned)__builtin_ctz(element);
}

static u64 bounce_get(struct bt_cpu *c, const struct masked *m, unsigned k)
{
	u64 val = 0;

	for (unsigned j = 0; j < m->element; j++)
		val |= (u64)c->bounce[k * m->element + j] << (8 * j);
	return val;
}

static void store_active(struct bt_cpu *c, const struct bt_insn *i,
			 const struct masked *m)
{
	unsigned width = width_of(m->element), count = m->size / m->element;

	for (unsigned k = 0; k < count; k++)
		if (m->active >> k & 1)
			bt_probe(c, element_va(c, m, k), m->element, true);
	bt_fpu_load(c);
	bt_call_stub(c, i, c->bounce, 0);
	for (unsigned k = 0; k < count; k++)
		if (m->active >> k & 1)
			bt_store(c, element_va(c, m, k), width,
				 bounce_get(c, m, k));
}

static void load_active(struct bt_cpu *c, const struct bt_insn *i,
			const struct masked *m)
{
	unsigned width = width_of(m->element);

	for (unsigned k = 0; k < m->size / m->element; k++) {
		u64 val = 0;

		if (m->active >> k & 1)
			val = bt_load(c, element_va(c, m, k), width);
		for (unsigned j = 0; j < m->element; j++)
			c->bounce[k * m->element + j] = (u8)(val >> (8 * j));
	}
	bt_fpu_load(c);
	bt_call_stub(c, i, c->bounce, 0);
}

/*
 * The stub stores to [RDI] as the guest's instruction does to DS:[rDI]. Whether
 * masked-out bytes fault is the CPU's choice ([1] MASKMOVDQU); AMD's do.
 */
static void maskmov(struct bt_cpu *c, const struct bt_insn *i, struct masked *m)
{
	u64 off = c->gpr[X86_RDI] & bt_addr_mask[i->asize];
	void *p;

	bt_fpu_check(c, bt_rows[i->row].attrs);
	m->element = 1;
	m->va = bt_lin(c, i->seg, off, m->size, true);
	p = bt_wptr(c, m->va, m->size);
	if (likely(p != NULL)) {
		bt_fpu_load(c);
		bt_call_stub(c, i, p, 0);
		return;
	}
	if (m->size == 8)
		mask_from_mm(c, i->b & 7, m);
	else
		mask_from_ymm(c, i->b, m);
	bt_probe(c, m->va, m->size, true);
	store_active(c, i, m);
}

void bt_op_maskmovq(struct bt_cpu *c, const struct bt_insn *i)
{
	maskmov(c, i, &(struct masked){.size = 8});
}

void bt_op_maskmovdqu(struct bt_cpu *c, const struct bt_insn *i)
{
	maskmov(c, i, &(struct masked){.size = 16});
}

static struct masked vmaskmov(struct bt_cpu *c, const struct bt_insn *i,
			      bool write)
{
	const struct bt_row *row = &bt_rows[i->row];
	bool integer = row->opcode >= 0x80; /* VPMASKMOVD, VPMASKMOVQ */
	bool wide = integer ? i->rexw : row->opcode & 1;
	struct masked m;

	bt_fpu_check(c, row->attrs);
	m.size = i->width ? 32 : 16;
	m.element = wide ? 8 : 4;
	m.va = bt_operand(c, i, m.size, write);
	m.active = 0;
	return m;
}

void bt_op_vmaskmov_load(struct bt_cpu *c, const struct bt_insn *i)
{
	struct masked m = vmaskmov(c, i, false);
	const void *p = bt_rptr(c, m.va, m.size);

	if (likely(p != NULL)) {
		bt_fpu_load(c);
		bt_call_stub(c, i, p, 0);
		return;
	}
	mask_from_ymm(c, i->v / 8, &m);
	load_active(c, i, &m);
}

void bt_op_vmaskmov_store(struct bt_cpu *c, const struct bt_insn *i)
{
	struct masked m = vmaskmov(c, i, true);
	void *p = bt_wptr(c, m.va, m.size);

	if (likely(p != NULL)) {
		bt_fpu_load(c);
		bt_call_stub(c, i, p, 0);
		return;
	}
	mask_from_ymm(c, i->v / 8, &m);
	store_active(c, i, &m);
}

/* ---- gathers ----------------------------------------------------------- */

struct gather {
	unsigned dst, mask, index; /* registers */
	unsigned count;
	unsigned element;	/* bytes */
	unsigned index_element; /* bytes */
};

/* [1] VPGATHERDD: opcodes 90 and 92 have doubleword indices, 91 and 93
 * quadwords; W chooses the element. */
static struct gather gather_of(const struct bt_insn *i)
{
	struct gather g = {
		.dst = i->a,
		.mask = i->v / 8,
		.index = i->x / 8,
		.element = i->rexw ? 8 : 4,
		.index_element = bt_rows[i->row].opcode & 1 ? 8 : 4,
	};
	unsigned bytes = i->width ? 32 : 16;

	g.count = bytes /
		  (g.element > g.index_element ? g.element : g.index_element);
	return g;
}

static gva_t gather_va(struct bt_cpu *c, const struct bt_insn *i,
		       const struct gather *g, unsigned k)
{
	u64 index = get_element(c, g->index, k, g->index_element), off;

	if (g->index_element == 4)
		index = (u64)(s64)(s32)index;
	off = *bt_r64(c, i->b) + (index << i->scale) + (u64)(s64)i->disp;
	return bt_lin(c, i->seg, off & bt_addr_mask[i->asize], g->element,
		      false);
}

/* The elements that take part have all ones in the mask, the others zero, as
 * in [1]'s first loop. */
static void spread_mask(struct bt_cpu *c, const struct gather *g)
{
	for (unsigned k = 0; k < g->count; k++) {
		u64 sign = get_element(c, g->mask, k, g->element) >>
			   (8 * g->element - 1);

		set_element(c, g->mask, k, g->element, 0 - sign);
	}
}

/* What lies above the elements becomes zero, in mask and destination. */
static void clear_above(struct bt_cpu *c, const struct gather *g, unsigned n)
{
	for (unsigned part = g->count * g->element / 8; part < 4; part++)
		*ymm_part(c, n, part) = 0;
}

void bt_op_vgather(struct bt_cpu *c, const struct bt_insn *i)
{
	struct gather g = gather_of(i);

	/* Without SIB, and so with 16-bit addressing, there is no index; no
	 * two registers may be the same. */
	if (i->x == BT_REG_ZERO || i->asize == W16 || g.dst == g.mask ||
	    g.dst == g.index || g.mask == g.index)
		bt_ud(c);
	bt_fpu_check(c, bt_rows[i->row].attrs);
	bt_fpu_save(c);
	*xsave_header(c->xsave) |= XCR0_SSE | XCR0_AVX;
	spread_mask(c, &g);
	for (unsigned k = 0; k < g.count; k++) {
		u64 val;

		if (!get_element(c, g.mask, k, g.element))
			continue;
		val = bt_load(c, gather_va(c, i, &g, k), width_of(g.element));
		set_element(c, g.dst, k, g.element, val);
		set_element(c, g.mask, k, g.element, 0);
	}
	clear_above(c, &g, g.dst);
	clear_above(c, &g, g.mask);
}
