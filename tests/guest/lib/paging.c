/* SPDX-License-Identifier: Apache-2.0 */
/* Page tables of the three kinds that matter. */
#include "paging.h"

#include "expect.h"
#include "x86.h"

#define ADDRESS 0x000ffffffffff000ull

extern u8 boot_pml4[];

static u64 load(struct paging *paging, ulong addr)
{
	if (paging->entry_len == 4)
		return *(volatile u32 *)addr;
	return *(volatile u64 *)addr;
}

static void store(struct paging *paging, ulong addr, u64 entry)
{
	if (paging->entry_len == 4)
		*(volatile u32 *)addr = (u32)entry;
	else
		*(volatile u64 *)addr = entry;
}

static ulong entry_address(struct paging *paging, ulong table, ulong gva,
			   int level)
{
	int shift = 12 + paging->index_bits * (level - 1);
	ulong index = gva >> shift & ((1ul << paging->index_bits) - 1);

	return table + index * paging->entry_len;
}

/* A PDPTE of PAE paging has neither W nor U: they are reserved. */
static u64 table_bits(struct paging *paging, int level)
{
	if (paging->kind == PAGING_PAE && level == 3)
		return PTE_P;
	return PTE_P | PTE_W | PTE_U;
}

static ulong find(struct paging *paging, ulong gva, int level)
{
	ulong table = paging->root;

	for (int at = paging->levels; at > level; at--) {
		ulong addr = entry_address(paging, table, gva, at);
		u64 entry = load(paging, addr);

		if (!(entry & PTE_P) || (at < 4 && (entry & PTE_PS))) {
			entry = (ulong)page_alloc() | table_bits(paging, at);
			store(paging, addr, entry);
		}
		table = (ulong)(entry & ADDRESS);
	}
	return entry_address(paging, table, gva, level);
}

void paging_set(struct paging *paging, ulong gva, int level, u64 entry)
{
	store(paging, find(paging, gva, level), entry);
}

u64 paging_get(struct paging *paging, ulong gva, int level)
{
	return load(paging, find(paging, gva, level));
}

void paging_map(struct paging *paging, ulong gva, int level, u64 entry)
{
	paging_set(paging, gva, level, entry);
	page_flush((void *)gva);
}

void paging_init(struct paging *paging, enum paging_kind kind)
{
	static const struct paging kinds[] = {
		[PAGING_2LEVEL] = {PAGING_2LEVEL, 2, 10, 4, 0},
		[PAGING_PAE] = {PAGING_PAE, 3, 9, 8, 0},
		[PAGING_4LEVEL] = {PAGING_4LEVEL, 4, 9, 8, 0},
	};
	u64 step;

	*paging = kinds[kind];
	paging->root = (ulong)page_alloc();
	step = 1ull << (12 + paging->index_bits);
	for (u64 gpa = 0; gpa < 1ull << 32; gpa += step)
		paging_set(paging, (ulong)gpa, 2, gpa | PTE_P | PTE_W | PTE_PS);
}

void paging_boot(struct paging *paging)
{
	*paging = (struct paging){PAGING_4LEVEL, 4, 9, 8, (ulong)boot_pml4};
}
