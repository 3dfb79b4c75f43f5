/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables of the three kinds that matter. Tables are pages of page_alloc()
 * and reached by their physical address: the first 4 GiB stay mapped onto
 * themselves.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, chapter 4
 */
#pragma once

#include "types.h"

/* [1] tables 4-14 to 4-20 */
#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_U BIT(2)
#define PTE_A BIT(5)
#define PTE_D BIT(6)
#define PTE_PS BIT(7)
#define PTE_G BIT(8)
#define PTE_NX BIT(63)

enum paging_kind { PAGING_2LEVEL, PAGING_PAE, PAGING_4LEVEL };

struct paging {
	enum paging_kind kind;
	u8 levels;
	u8 index_bits;
	u8 entry_len;
	ulong root;
};

/* Where tests may map what they like: large pages of the map onto itself are
 * replaced there, no RAM and no device is behind it. */
#define TEST_BASE 0x60000000ul
#define USER_BASE 0x70000000ul

/* New tables that map 4 GiB onto themselves for the kernel, in large pages
 * (two levels need CR4.PSE for that). */
void paging_init(struct paging *paging, enum paging_kind kind);
/* The tables that start.S made, 64-bit builds only. */
void paging_boot(struct paging *paging);

/* Entry of gva at a level, 1 being the one of a 4 KiB page. Tables on the way
 * are made, present, writable and for the user. */
void paging_set(struct paging *paging, ulong gva, int level, u64 entry);
u64 paging_get(struct paging *paging, ulong gva, int level);
/* paging_set() without the stale translation. */
void paging_map(struct paging *paging, ulong gva, int level, u64 entry);
