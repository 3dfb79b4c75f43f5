/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page walk: no paging, 32-bit, PAE and 4-level, with accessed and dirty
 * bits set as hardware sets them.
 *
 * References: [1] Intel SDM vol. 3A chapter 4: 4.3 (32-bit), 4.4 (PAE),
 *             4.5 (4-level), 4.6 (access rights), 4.7 (#PF error code),
 *             4.8 (accessed and dirty flags).
 *
 * Not emulated: 5-level paging, protection keys, shadow stacks (not offered).
 */
#include "engine/bt/walk.h"

#include "engine/bt/check.h"
#include "engine/bt/vm.h"

struct level {
	gpa_t pa; /* of the entry */
	u64 entry;
};

struct walk {
	struct bt_cpu *c;
	gva_t va;
	unsigned depth;
	struct level level[4];
	u64 rights; /* PTE_W and PTE_U and-ed, PTE_NX or-ed */
	u64 leaf_size;
	u32 fault; /* enum x86_pf without the access's own bits */
	bool faulted;
};

static u64 read_entry(struct bt_cpu *c, gpa_t pa, unsigned size)
{
	const struct bt_ram *ram = bt_ram_find(c->bvm, pa);
	const u8 *p;

	/* Page tables outside RAM read as all-ones, as an empty bus does. */
	if (!ram)
		return size == 8 ? ~0ull : 0xffffffff;
	p = ram->hva + (pa - ram->gpa);
	if (size == 8)
		return *(const volatile u64 *)(const void *)p;
	return *(const volatile u32 *)(const void *)p;
}

/*
 * Set bits in an entry that still holds what the walk read. False: somebody
 * changed it meanwhile, and the walk starts over.
 */
static bool update_entry(struct bt_cpu *c, struct level *l, unsigned size,
			 u64 bits)
{
	const struct bt_ram *ram = bt_ram_find(c->bvm, l->pa);
	u64 want = l->entry | bits;
	bool ok;

	/* In ROM the bits stay as they are, as on a machine. */
	if (want == l->entry || !ram || !(ram->rights & MEM_W))
		return true;
	bt_check_walk(c, ram->hva + (l->pa - ram->gpa), size);
	if (size == 8) {
		u64 old = l->entry;

		ok = __atomic_compare_exchange_n(
			(u64 *)(void *)(ram->hva + (l->pa - ram->gpa)), &old,
			want, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	} else {
		u32 old = (u32)l->entry;

		ok = __atomic_compare_exchange_n(
			(u32 *)(void *)(ram->hva + (l->pa - ram->gpa)), &old,
			(u32)want, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	l->entry = want;
	if (ok) /* a page table may hold code */
		bt_code_check(c, ram, l->pa, size);
	return ok;
}

/* Bits that must be zero in every 8-byte entry ([1] tables 4-14 to 4-20). */
static u64 reserved_bits(const struct bt_cpu *c)
{
	u64 mask = ~0ull << c->policy->maxphyaddr & 0x000fffffffffffffull;

	if (!bt_long_mode(c)) /* PAE: bits 62:52 are reserved too */
		mask |= 0x7ff0000000000000ull;
	if (!(c->msr.efer & EFER_NXE))
		mask |= PTE_NX;
	return mask;
}

static bool walk_fault(struct walk *w, u32 code)
{
	w->faulted = true;
	w->fault = code;
	return false;
}

static bool take_entry(struct walk *w, gpa_t pa, unsigned size, u64 reserved)
{
	struct level *l = &w->level[w->depth++];

	l->pa = pa;
	l->entry = read_entry(w->c, pa, size);
	if (!(l->entry & PTE_P))
		return walk_fault(w, 0);
	if (l->entry & reserved)
		return walk_fault(w, PF_P | PF_RSVD);
	w->rights = (w->rights & (l->entry | PTE_NX)) | (l->entry & PTE_NX);
	return true;
}

/* [1] 4.3: two levels of 4-byte entries, 4 MiB pages with CR4.PSE. */
static bool walk_32(struct walk *w)
{
	struct bt_cpu *c = w->c;
	u64 pde;

	w->rights = PTE_W | PTE_U;
	if (!take_entry(w, (c->cr3 & 0xfffff000) + (w->va >> 22 & 0x3ff) * 4, 4,
			0))
		return false;
	w->rights &= ~PTE_NX;
	pde = w->level[0].entry;
	if (pde & PTE_PS && c->cr4 & CR4_PSE) {
		/* PSE-36: bits 20:13 are address bits 39:32; 21 reserved. */
		if (pde & BIT(21))
			return walk_fault(w, PF_P | PF_RSVD);
		w->leaf_size = MIB(4);
		return true;
	}
	w->leaf_size = KIB(4);
	return take_entry(w, (pde & 0xfffff000) + (w->va >> 12 & 0x3ff) * 4, 4,
			  0);
}

#define ENTRY_ADDR 0x000ffffffffff000ull

static bool walk_64_level(struct walk *w, gpa_t *table, unsigned shift,
			  u64 reserved)
{
	u64 entry;

	if (!take_entry(w, *table + (w->va >> shift & 0x1ff) * 8, 8, reserved))
		return false;
	entry = w->level[w->depth - 1].entry;
	*table = entry & ENTRY_ADDR;
	return true;
}

/* The levels that PAE and 4-level paging share: PDE and PTE. */
static bool walk_pd_pt(struct walk *w, gpa_t table, u64 reserved)
{
	if (!walk_64_level(w, &table, 21, reserved))
		return false;
	if (w->level[w->depth - 1].entry & PTE_PS) {
		/* [1] table 4-18: bits 20:13 of a 2 MiB page are reserved. */
		if (w->level[w->depth - 1].entry & 0x1fe000)
			return walk_fault(w, PF_P | PF_RSVD);
		w->leaf_size = MIB(2);
		return true;
	}
	w->leaf_size = KIB(4);
	return walk_64_level(w, &table, 12, reserved);
}

/* [1] 4.4: the PDPTEs were loaded into registers with CR3. */
static bool walk_pae(struct walk *w)
{
	u64 pdpte = w->c->pdpte[w->va >> 30 & 3];

	w->rights = PTE_W | PTE_U;
	if (!(pdpte & PTE_P))
		return walk_fault(w, 0);
	return walk_pd_pt(w, pdpte & ENTRY_ADDR, reserved_bits(w->c));
}

/* [1] 4.5 */
static bool walk_4level(struct walk *w)
{
	u64 reserved = reserved_bits(w->c);
	gpa_t table = w->c->cr3 & ENTRY_ADDR;
	u64 pdpte;

	w->rights = PTE_W | PTE_U;
	if (!walk_64_level(w, &table, 39, reserved | PTE_PS) ||
	    !walk_64_level(w, &table, 30, reserved))
		return false;
	pdpte = w->level[w->depth - 1].entry;
	if (!(pdpte & PTE_PS))
		return walk_pd_pt(w, table, reserved);
	/* [1] table 4-16: a 1 GiB page, bits 29:13 reserved. */
	if (!cpu_has(w->c->policy, FEAT_PDPE1GB) || pdpte & 0x3fffe000)
		return walk_fault(w, PF_P | PF_RSVD);
	w->leaf_size = GIB(1);
	return true;
}

/* [1] 4.6.1, after a complete walk. */
static bool access_allowed(const struct bt_cpu *c, u64 rights,
			   const struct bt_access *a)
{
	bool user_page = rights & PTE_U;

	if (a->user && !user_page)
		return false;
	if (a->fetch) {
		if (rights & PTE_NX)
			return false;
		return a->user || !user_page || !(c->cr4 & CR4_SMEP);
	}
	if (!a->user && user_page && a->smap && c->cr4 & CR4_SMAP)
		return false;
	if (a->write && !(rights & PTE_W))
		return !a->user && !(c->cr0 & CR0_WP);
	return true;
}

static bool fail(struct bt_cpu *c, gva_t va, u32 error,
		 const struct bt_access *a)
{
	if (a->no_fault)
		return false;
	if (a->write)
		error |= PF_W;
	if (a->user)
		error |= PF_U;
	/* [1] 4.7: the I/D flag only where the two can differ. */
	if (a->fetch && (c->msr.efer & EFER_NXE || c->cr4 & CR4_SMEP))
		error |= PF_I;
	bt_raise_pf(c, va, error);
}

static gpa_t leaf_address(const struct walk *w)
{
	u64 leaf = w->level[w->depth - 1].entry;
	u64 offset = w->va & (w->leaf_size - 1);

	if (w->leaf_size == MIB(4))
		return (leaf & 0xffc00000) | (leaf & 0x1fe000) << 19 | offset;
	if (!(w->c->cr4 & CR4_PAE))
		return (leaf & 0xfffff000) | offset;
	return (leaf & ENTRY_ADDR & ~(w->leaf_size - 1)) | offset;
}

/* [1] 4.8. False: an entry changed under us. */
static bool set_accessed(struct walk *w, bool write)
{
	unsigned size = w->c->cr4 & CR4_PAE ? 8 : 4;

	for (unsigned k = 0; k < w->depth; k++) {
		u64 bits = PTE_A;

		if (k == w->depth - 1 && write)
			bits |= PTE_D;
		if (!update_entry(w->c, &w->level[k], size, bits))
			return false;
	}
	return true;
}

bool bt_walk(struct bt_cpu *c, gva_t va, const struct bt_access *a,
	     struct bt_page *page)
{
	struct walk w;
	u64 leaf;

	if (!(c->cr0 & CR0_PG)) {
		*page = (struct bt_page){.pa = (u32)va, .writable = true};
		return true;
	}
	do {
		w = (struct walk){.c = c, .va = va};
		if (bt_long_mode(c))
			walk_4level(&w);
		else if (c->cr4 & CR4_PAE)
			walk_pae(&w);
		else
			walk_32(&w);
		if (w.faulted)
			return fail(c, va, w.fault, a);
		if (!access_allowed(c, w.rights, a))
			return fail(c, va, PF_P, a);
	} while (!set_accessed(&w, a->write));
	leaf = w.level[w.depth - 1].entry;
	page->pa = leaf_address(&w);
	page->global = leaf & PTE_G && c->cr4 & CR4_PGE;
	page->large = w.leaf_size > KIB(4);
	page->writable = leaf & PTE_D &&
			 (w.rights & PTE_W || (!a->user && !(c->cr0 & CR0_WP)));
	return true;
}
