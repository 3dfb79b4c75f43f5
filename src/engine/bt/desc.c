/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: finding them in the GDT and the LDT, reading and unpacking
 * them, and the limit and rights checks of a loaded segment.
 *
 * References: [1] Intel SDM vol. 3A 3.4 (descriptors), 5.2-5.6 (checks),
 *                 vol. 1 20.5 (I/O permission bitmap).
 */
#include "engine/bt/mem.h"
#include "engine/bt/sys.h"

bool bt_desc_find(struct bt_cpu *c, u16 sel, unsigned bytes, gva_t *va)
{
	u32 off = sel & ~7u, limit = c->gdtr.limit;
	u64 base = c->gdtr.base;

	if (bt_sel_null(sel))
		return false;
	if (sel & SEL_TI) {
		const struct x86_segment *ldt = &c->seg[X86_LDTR];

		if (ldt->attr & SEG_UNUSABLE || !(ldt->attr & SEG_P))
			return false;
		base = ldt->base;
		limit = ldt->limit;
	}
	if ((u64)off + bytes - 1 > limit)
		return false;
	*va = base + off;
	if (!bt_long_mode(c))
		*va &= 0xffffffff;
	return true;
}

void bt_desc_load(struct bt_cpu *c, u16 sel, u32 ext, u8 vector,
		  struct bt_desc *d)
{
	if (!bt_desc_find(c, sel, 8, &d->va))
		bt_raise_error(c, vector, SEL_ERR(sel) | ext);
	d->raw = bt_load_sys(c, d->va, 8);
	d->high = 0;
}

/* [1] 3.5.2: the type field of the fourth doubleword must be zero. */
void bt_desc_load_high(struct bt_cpu *c, u16 sel, u32 ext, struct bt_desc *d)
{
	gva_t va;

	if (!bt_desc_find(c, sel, 16, &va))
		bt_raise_error(c, VEC_GP, SEL_ERR(sel) | ext);
	d->high = bt_load_sys(c, va + 8, 8);
	if (d->high >> 40 & 0x1f)
		bt_raise_error(c, VEC_GP, SEL_ERR(sel) | ext);
}

void bt_desc_set_accessed(struct bt_cpu *c, const struct bt_desc *d)
{
	u8 type = d->raw >> 40 & 0xff;

	if (!(type & SEG_ACCESSED))
		bt_store_sys(c, d->va + 5, 1, type | SEG_ACCESSED);
}

void bt_desc_to_segment(const struct bt_desc *d, u16 sel, struct x86_segment *s)
{
	u32 limit = (u32)(d->raw & 0xffff) | (u32)(d->raw >> 32 & 0xf0000);

	s->attr = bt_desc_attr(d);
	if (s->attr & SEG_S)
		s->attr |= SEG_ACCESSED;
	s->limit = s->attr & SEG_G ? limit << 12 | 0xfff : limit;
	s->base = (d->raw >> 16 & 0xffffff) | (d->raw >> 32 & 0xff000000);
	if (!(s->attr & SEG_S))
		s->base |= (d->high & 0xffffffff) << 32;
	s->selector = sel;
}

bool bt_seg_fits(const struct x86_segment *s, u64 off, unsigned size)
{
	u64 last = off + size - 1;

	if ((s->attr & (SEG_S | SEG_CODE | SEG_EXPAND_DOWN)) ==
	    (SEG_S | SEG_EXPAND_DOWN)) {
		u64 top = s->attr & SEG_DB ? 0xffffffff : 0xffff;

		return off > s->limit && last <= top;
	}
	return last <= s->limit;
}

/* [1] 5.3 and 5.5. In real mode only the limit counts ([1] 20.1). */
void bt_seg_check(struct bt_cpu *c, unsigned seg, u64 off, unsigned size,
		  bool write)
{
	const struct x86_segment *s = &c->seg[seg];
	bool ok = true;

	if (bt_protected(c)) {
		if (s->attr & SEG_UNUSABLE)
			ok = false;
		else if (s->attr & SEG_CODE)
			ok = !write && s->attr & SEG_READABLE;
		else
			ok = !write || s->attr & SEG_WRITABLE;
	}
	if (!ok || !bt_seg_fits(s, off, size))
		bt_raise_error(c, seg == X86_SS ? VEC_SS : VEC_GP, 0);
}

void bt_check_ip(struct bt_cpu *c, u64 ip)
{
	if (bt_mode64(c) ? !x86_is_canonical(ip) : ip > c->seg[X86_CS].limit)
		bt_gp(c);
}

/* [1] vol. 1 20.5.2: two bytes are read, so the map ends with one of ones. */
static bool io_bitmap_allows(struct bt_cpu *c, u16 port, unsigned size)
{
	const struct x86_segment *tr = &c->seg[X86_TR];
	const u32 map_base_off = 0x66, tss_limit = 0x67;
	u32 bits, off;

	if ((tr->attr & (SEG_P | 0xd)) != (SEG_P | 0x9) ||
	    tr->limit < tss_limit)
		return false;
	off = (u32)bt_load_sys(c, tr->base + map_base_off, 2) + port / 8;
	if (off + 1 > tr->limit)
		return false;
	bits = (u32)bt_load_sys(c, tr->base + off, 2) >> (port & 7);
	return !(bits & ((1u << size) - 1));
}

void bt_io_check(struct bt_cpu *c, u16 port, unsigned size)
{
	if (bt_protected(c) && c->cpl > bt_iopl(c) &&
	    !io_bitmap_allows(c, port, size))
		bt_gp(c);
	if (unlikely(c->dr[7] & 0xff))
		bt_watch_io(c, port, size);
}
