/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory as operations see it: effective addresses, loads, stores and
 * read-modify-write, with the software TLB checked inline and everything else
 * (walks, MMIO, page-crossing, code pages, watchpoints, alignment checks) in
 * tlb.c.
 *
 * A store that faults has written nothing. An instruction with several
 * accesses calls bt_probe() for the later ones first.
 */
#pragma once

#include "engine/bt/bt.h"

static const u64 bt_addr_mask[4] = {0, 0xffff, 0xffffffff, ~0ull};

/* Offset part of the memory operand, wrapped to the address size. */
static inline u64 bt_ea(struct bt_cpu *c, const struct bt_insn *i)
{
	u64 ea = *bt_r64(c, i->b) + (*bt_r64(c, i->x) << i->scale) +
		 (u64)(s64)i->disp;

	return ea & bt_addr_mask[i->asize];
}

/* seg.c: limit and rights of a segment that is not flat; raises. */
void bt_seg_check(struct bt_cpu *c, unsigned seg, u64 off, unsigned size,
		  bool write);

/* Linear address of [seg:off], `size` bytes; checks the segment. */
static inline gva_t bt_lin(struct bt_cpu *c, unsigned seg, u64 off,
			   unsigned size, bool write)
{
	if (unlikely(c->seg_check >> seg & 1))
		bt_seg_check(c, seg, off, size, write);
	return (off + c->seg_base[seg]) & c->lin_mask;
}

/* Linear address of the instruction's memory operand. */
static inline gva_t bt_operand(struct bt_cpu *c, const struct bt_insn *i,
			       unsigned size, bool write)
{
	return bt_lin(c, i->seg, bt_ea(c, i), size, write);
}

/*
 * Slow paths. `size` is 1, 2, 4 or 8; `seg` only chooses #SS or #GP for a
 * non-canonical address.
 */
u64 bt_load_slow(struct bt_cpu *c, gva_t va, unsigned size);
void bt_store_slow(struct bt_cpu *c, gva_t va, unsigned size, u64 val);
/* Any size up to 4096, bytes in order, faults before the first byte. */
void bt_load_bytes(struct bt_cpu *c, gva_t va, void *dst, unsigned len);
void bt_store_bytes(struct bt_cpu *c, gva_t va, const void *src, unsigned len);
/* Raise what a write (or read) of [va, va+size) would raise; no access. */
void bt_probe(struct bt_cpu *c, gva_t va, unsigned size, bool write);
/*
 * Host pointer to [va, va+size) for reading or writing, if it is plain RAM
 * within a page and no code page (when writing); NULL: use the slow paths.
 * Raises on a fault.
 */
void *bt_ptr_slow(struct bt_cpu *c, gva_t va, unsigned size, bool write);
/* As the CPU itself: descriptor tables, TSS; CPL and SMAP do not count. */
u64 bt_load_sys(struct bt_cpu *c, gva_t va, unsigned size);
void bt_store_sys(struct bt_cpu *c, gva_t va, unsigned size, u64 val);
/* Physical memory: RAM or, through the bus, devices. */
u64 bt_phys_load(struct bt_cpu *c, gpa_t pa, unsigned size);
void bt_phys_store(struct bt_cpu *c, gpa_t pa, unsigned size, u64 val);

static inline void *bt_tlb_hit(struct bt_cpu *c, gva_t va, unsigned size,
			       bool write)
{
	const struct bt_tlb_entry *e =
		&c->tlb->e[va >> 12 & (BT_TLB_ENTRIES - 1)];

	if (likely((va ^ (write ? e->write : e->read)) <= 4096 - size))
		return (void *)(va + e->addend);
	return NULL;
}

static inline const void *bt_rptr(struct bt_cpu *c, gva_t va, unsigned size)
{
	return bt_tlb_hit(c, va, size, false);
}

static inline void *bt_wptr(struct bt_cpu *c, gva_t va, unsigned size)
{
	return bt_tlb_hit(c, va, size, true);
}

#define BT_DEFINE_ACCESS(bits, type)                                        \
	static inline u##bits bt_load##bits(struct bt_cpu *c, gva_t va)     \
	{                                                                   \
		const void *p = bt_rptr(c, va, bits / 8);                   \
                                                                            \
		if (likely(p != NULL))                                      \
			return *(const volatile type *)p;                   \
		return (u##bits)bt_load_slow(c, va, bits / 8);              \
	}                                                                   \
	static inline void bt_store##bits(struct bt_cpu *c, gva_t va,       \
					  u##bits val)                      \
	{                                                                   \
		void *p = bt_wptr(c, va, bits / 8);                         \
                                                                            \
		if (likely(p != NULL))                                      \
			*(volatile type *)p = val;                          \
		else                                                        \
			bt_store_slow(c, va, bits / 8, val);                \
	}                                                                   \
	static inline u##bits bt_get_rm##bits(struct bt_cpu *c,             \
					      const struct bt_insn *i)      \
	{                                                                   \
		return bt_load##bits(c, bt_operand(c, i, bits / 8, false)); \
	}

BT_DEFINE_ACCESS(8, u8)
BT_DEFINE_ACCESS(16, u16_any)
BT_DEFINE_ACCESS(32, u32_any)
BT_DEFINE_ACCESS(64, u64_any)

static inline u64 bt_load(struct bt_cpu *c, gva_t va, unsigned width)
{
	const void *p = bt_rptr(c, va, 1u << width);

	if (unlikely(!p))
		return bt_load_slow(c, va, 1u << width);
	switch (width) {
	case W8:
		return *(const volatile u8 *)p;
	case W16:
		return *(const volatile u16_any *)p;
	case W32:
		return *(const volatile u32_any *)p;
	default:
		return *(const volatile u64_any *)p;
	}
}

static inline void bt_store(struct bt_cpu *c, gva_t va, unsigned width, u64 val)
{
	void *p = bt_wptr(c, va, 1u << width);

	if (unlikely(!p)) {
		bt_store_slow(c, va, 1u << width, val);
		return;
	}
	switch (width) {
	case W8:
		*(volatile u8 *)p = (u8)val;
		break;
	case W16:
		*(volatile u16_any *)p = (u16)val;
		break;
	case W32:
		*(volatile u32_any *)p = (u32)val;
		break;
	default:
		*(volatile u64_any *)p = val;
	}
}

/*
 * Read-modify-write. p is the place if it is plain RAM (then the operation
 * works on it directly, atomically if locked); NULL if it is not:
 *
 *     p = bt_rmw_begin(c, va, size, locked, &tmp);   // p is never NULL:
 *     *p = ...;                                       // tmp or the RAM
 *     bt_rmw_end(c, va, size, locked, p, &tmp);
 *
 * In between nothing may raise. The slow case with `locked` holds the
 * exclusive section from begin to end, unless it is a device's: those are read
 * and written without.
 */
void *bt_rmw_begin_slow(struct bt_cpu *c, gva_t va, unsigned size, bool locked,
			u64 *tmp);
void bt_rmw_end_slow(struct bt_cpu *c, unsigned size, u64 tmp);

static inline void *bt_rmw_begin(struct bt_cpu *c, gva_t va, unsigned size,
				 bool locked, u64 *tmp)
{
	void *p = bt_wptr(c, va, size);

	return likely(p != NULL) ? p
				 : bt_rmw_begin_slow(c, va, size, locked, tmp);
}

static inline void bt_rmw_end(struct bt_cpu *c, gva_t va, unsigned size,
			      bool locked, void *p, u64 *tmp)
{
	if (unlikely(p == tmp))
		bt_rmw_end_slow(c, size, *tmp);
}

/* ---- stack ------------------------------------------------------------- */

/* RSP/ESP/SP by the stack's size; writes keep the other bits. */
static inline u64 bt_sp(struct bt_cpu *c)
{
	return c->gpr[X86_RSP] & c->stack_mask;
}

static inline void bt_set_sp(struct bt_cpu *c, u64 sp)
{
	u64 mask = c->stack_mask;

	/* A 32-bit stack pointer is written as a 32-bit register. */
	if (mask == 0xffff)
		c->gpr[X86_RSP] = (c->gpr[X86_RSP] & ~mask) | (sp & mask);
	else
		c->gpr[X86_RSP] = sp & mask;
}

static inline void bt_push(struct bt_cpu *c, unsigned width, u64 val)
{
	u64 sp = (c->gpr[X86_RSP] - (1u << width)) & c->stack_mask;

	bt_store(c, bt_lin(c, X86_SS, sp, 1u << width, true), width, val);
	bt_set_sp(c, sp);
}

/* The value at the top; the caller advances with bt_set_sp() when done. */
static inline u64 bt_peek(struct bt_cpu *c, unsigned width, unsigned depth)
{
	u64 sp = (c->gpr[X86_RSP] + depth) & c->stack_mask;

	return bt_load(c, bt_lin(c, X86_SS, sp, 1u << width, false), width);
}

static inline u64 bt_pop(struct bt_cpu *c, unsigned width)
{
	u64 val = bt_peek(c, width, 0);

	bt_set_sp(c, c->gpr[X86_RSP] + (1u << width));
	return val;
}

/* ---- control transfer -------------------------------------------------- */

/* seg.c: near jump target checks: CS limit (#GP), canonical (#GP). */
void bt_check_ip(struct bt_cpu *c, u64 ip);

static inline void bt_jump_near(struct bt_cpu *c, u64 ip)
{
	ip &= c->ip_mask;
	if (unlikely((c->seg_check >> X86_CS & 1) || !x86_is_canonical(ip)))
		bt_check_ip(c, ip);
	c->gpr[17] = ip;
}
