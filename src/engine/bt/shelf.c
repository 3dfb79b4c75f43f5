/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shelves: what a vCPU remembers of address spaces that are not the present
 * one, by PCID.
 *
 * References: [1] Intel SDM vol. 3A 4.10.1 (PCIDs), 4.10.4.1 (what
 *             invalidates), 4.10.4.2 (what need not be invalidated).
 *
 * Theory of operation
 * -------------------
 * Translated code knows one TLB and one set of landings per MMU mode, at fixed
 * places. So a MOV to CR3 that changes the PCID puts their entries for the low
 * half away, and fetches back those that the new PCID had, if the guest lets it
 * keep them (bit 63). They are few: whatever a process touched in its turn. The
 * high half stays where it is, or goes altogether if not all of it is global
 * (tlb.c).
 *
 * What a shelf holds must not be older than what a CPU may remember:
 *  - What invalidates a PCID drops its shelf: MOV to CR3 without bit 63,
 *    INVPCID; whatever flushes everything drops all of them.
 *  - Global pages belong to all PCIDs, and INVLPG, which looks at no shelf,
 *    must reach them: a space with such pages in the low half is not kept.
 *  - A page may become code meanwhile (bt_vm.claims): then no entry to write to
 *    it comes back, unless it is no code any more.
 *  - Landings lead to translations: those of before a flush of the code do not
 *    come back.
 *  - The number of fetches (bt_cpu.fetch) is this space's own, so the entries
 *    of the jump cache are good again.
 *  - A shelf is for one root: whoever gives a PCID to other tables, with bit 63
 *    set, finds nothing there. A CPU need not do that, but may.
 */
#include "engine/bt/check.h"
#include "engine/bt/jit.h"
#include "engine/bt/sys.h"
#include "engine/bt/vm.h"

static struct bt_shelf *find(struct bt_cpu *c, u64 pcid)
{
	for (unsigned k = 0; k < BT_SHELVES; k++)
		if (c->shelf[k].used && (c->shelf[k].cr3 & CR3_PCID) == pcid)
			return &c->shelf[k];
	return NULL;
}

/* An empty one, or the one that has not been used for longest. */
static struct bt_shelf *choose(struct bt_cpu *c)
{
	struct bt_shelf *best = &c->shelf[0];

	for (unsigned k = 0; k < BT_SHELVES; k++) {
		if (!c->shelf[k].used)
			return &c->shelf[k];
		if (c->shelf[k].turn < best->turn)
			best = &c->shelf[k];
	}
	return best;
}

void bt_shelf_drop(struct bt_cpu *c, u64 pcid)
{
	struct bt_shelf *s = find(c, pcid);

	if (s)
		s->used = false;
}

void bt_shelf_drop_all(struct bt_cpu *c)
{
	for (unsigned k = 0; k < BT_SHELVES; k++)
		c->shelf[k].used = false;
}

/* ---- putting away ------------------------------------------------------ */

static void put_tlb(struct bt_shelf *s, const struct bt_cpu *c, unsigned mode)
{
	const struct bt_tlb *t = &c->mmu[mode];
	unsigned logged = t->low_count < BT_TLB_LOG ? t->low_count : BT_TLB_LOG;
	unsigned count = 0;

	for (unsigned k = 0; k < logged && count < BT_SHELF_PAGES; k++) {
		unsigned index = t->low[k];
		const struct bt_tlb_entry *e = &t->e[index];

		if (e->read >> 63 || e->read == bt_tlb_none(index))
			continue;
		s->page[mode][count++] = (struct bt_shelf_page){
			.tag = e->read,
			.addend = e->addend,
			.writable = e->write == e->read,
		};
	}
	s->pages[mode] = (u16)count;
}

/* Of users; a kernel's code in the low half is rare. */
static void put_landings(struct bt_shelf *s, const struct bt_cpu *c)
{
	const struct bt_landing_log *log = &c->land_log[MMU_USER];
	const struct bt_landing *l = &c->land[bt_landing_base(MMU_USER)];
	unsigned logged =
		log->count < BT_LANDING_LOG ? log->count : BT_LANDING_LOG;
	unsigned count = 0;

	/* Not ready: they are of before a flush, and so is their log. */
	if (!(c->land_ready >> MMU_USER & 1))
		logged = 0;
	for (unsigned k = 0; k < logged && count < BT_SHELF_LANDINGS; k++)
		if (!(-l[log->at[k]].key >> 63)) {
			s->at[count] = log->at[k];
			s->landing[count++] = l[log->at[k]];
		}
	s->landings = (u16)count;
}

void bt_shelf_put(struct bt_cpu *c, u64 cr3)
{
	struct bt_shelf *s = find(c, cr3 & CR3_PCID);

	if (c->low_global) {
		if (s)
			s->used = false;
		return;
	}
	if (!s)
		s = choose(c);
	s->used = true;
	s->cr3 = cr3;
	s->turn = ++c->shelf_turn;
	s->claims = c->bvm->claims;
	s->epoch = c->bvm->epoch;
	for (unsigned m = 0; m < MMU_COUNT; m++)
		put_tlb(s, c, m);
	put_landings(s, c);
	s->fetch = c->fetch[0];
	for (unsigned k = 0; k < ARRAY_SIZE(s->fetched); k++)
		s->fetched[k] = c->fetched[0][k];
	for (unsigned k = 0; k < ARRAY_SIZE(s->large_slots); k++)
		s->large_slots[k] = c->large_slots[k];
}

/* ---- fetching back ----------------------------------------------------- */

/* May this entry write? Where it does is noted again: the page may have been
 * code, and no longer be. */
static bool may_write(struct bt_cpu *c, const struct bt_shelf_page *p,
		      unsigned mode, unsigned index)
{
	const u8 *hva = (const u8 *)(p->tag + p->addend);

	for (unsigned k = 0; p->writable && k < c->bvm->ram_count; k++) {
		const struct bt_ram *ram = &c->bvm->ram[k];
		u64 off = (u64)(hva - ram->hva);

		if (off >= ram->len)
			continue;
		if (__atomic_load_n(&ram->lines[off >> 12], __ATOMIC_SEQ_CST))
			return false;
		bt_tlb_note_writer(c, ram, ram->gpa + off, mode, index);
		return true;
	}
	return false;
}

static void take_tlb(const struct bt_shelf *s, struct bt_cpu *c, unsigned mode)
{
	struct bt_tlb *t = &c->mmu[mode];
	bool claimed = s->claims != c->bvm->claims;

	for (unsigned k = 0; k < s->pages[mode]; k++) {
		const struct bt_shelf_page *p = &s->page[mode][k];
		unsigned index = p->tag >> 12 & (BT_TLB_ENTRIES - 1);
		bool writable =
			claimed ? may_write(c, p, mode, index) : p->writable;

		bt_tlb_note_low(t, index);
		t->e[index] = (struct bt_tlb_entry){
			.read = p->tag,
			.write = writable ? p->tag : bt_tlb_none(index),
			.addend = p->addend,
			.host = p->tag + p->addend,
		};
		t->filled = true;
	}
}

bool bt_shelf_take(struct bt_cpu *c, u64 cr3)
{
	struct bt_shelf *s = find(c, cr3 & CR3_PCID);

	if (!s)
		return false;
	s->used = false;
	if (s->cr3 != cr3)
		return false;
	for (unsigned m = 0; m < MMU_COUNT; m++)
		take_tlb(s, c, m);
	if (s->epoch == c->bvm->epoch)
		bt_jit_land_again(c, s->at, s->landing, s->landings);
	c->fetch[0] = s->fetch;
	for (unsigned k = 0; k < ARRAY_SIZE(s->fetched); k++)
		c->fetched[0][k] = s->fetched[k];
	for (unsigned k = 0; k < ARRAY_SIZE(s->large_slots); k++)
		c->large_slots[k] = s->large_slots[k];
	return true;
}
