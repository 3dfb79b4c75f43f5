/* SPDX-License-Identifier: Apache-2.0 */
/* Two-level and PAE paging, in 32-bit mode. */
#include "paging_test.h"

enum { LARGE_4M = 4 << 20 };

static void common(struct bench *bench)
{
	test_accessed_dirty(bench);
	test_not_present(bench);
	test_write(bench);
	test_user(bench);
	test_rights(bench);
	test_flush(bench);
	if (!(bench->paging.kind == PAGING_PAE && lax("pdpte-accessed")))
		test_global(bench);
}

static void paging_on(struct bench *bench, ulong cr4)
{
	cr4_write(cr4_read() | cr4);
	cr3_write(bench->paging.root);
	cr0_write(cr0_read() | CR0_PG | CR0_WP);
	user_map(&bench->paging);
}

static void paging_off(ulong cr4)
{
	cr0_write(cr0_read() & ~CR0_PG);
	cr4_write(cr4_read() & ~cr4);
}

static void large_pages(struct bench *bench, ulong size)
{
	ulong base = (ulong)bench->page_a & -size;
	ulong gva = TEST_BASE + 2 * LARGE_4M;
	ulong a = gva + (ulong)bench->page_a - base;

	paging_map(&bench->paging, gva, 2, base | PTE_P | PTE_W | PTE_PS);
	expect_eq(*AT(a), WORD_A);
	expect_eq(paging_get(&bench->paging, gva, 2) & (PTE_A | PTE_D), PTE_A);
	WRITE(a);
	expect_no_fault();
	expect_eq(paging_get(&bench->paging, gva, 2) & (PTE_A | PTE_D),
		  PTE_A | PTE_D);
	*bench->page_a = WORD_A;
	paging_map(&bench->paging, gva, 2, base | PTE_P | PTE_PS);
	WRITE(a);
	expect_page_fault(PF_P | PF_W, a);
	paging_map(&bench->paging, gva, 2,
		   base | PTE_P | PTE_PS | (size == LARGE ? BIT(13) : BIT(21)));
	READ(a);
	expect_reserved(0, a);
	paging_map(&bench->paging, gva, 2, 0);
}

static void test_two_levels(struct bench *bench)
{
	paging_init(&bench->paging, PAGING_2LEVEL);
	paging_on(bench, CR4_PSE);
	common(bench);
	large_pages(bench, LARGE_4M);
	/* Addresses end at 4 GiB, and no bit of an entry is reserved there. */
	bench_map(bench, PTE_P | PTE_W | PTE_PS);
	READ(TEST_BASE);
	expect_no_fault();
	paging_off(CR4_PSE);
}

/* [1] 4.4.1: reserved bits of the four are refused by MOV CR3. */
static void test_top_entries(struct bench *bench)
{
	ulong root = bench->paging.root;
	volatile u64 *top = (volatile u64 *)root;
	u64 entry = top[2];

	top[2] = entry | PTE_W;
	TRY("mov %0, %%cr3", : : "r"(root) : "memory");
	if (!lax_fault("pae-cr3", NO_FAULT, 0, 0))
		expect_fault(GP, 0);
	expect_eq(cr3_read(), root);
	top[2] = entry & ~PTE_P;
	TRY("mov %0, %%cr3", : : "r"(root) : "memory");
	expect_no_fault();
	READ(0x80000000ul);
	expect_page_fault(0, 0x80000000ul);
	top[2] = entry;
	cr3_write(root);
	READ(0x80000000ul);
	expect_no_fault();
}

static void test_pae(struct bench *bench)
{
	u64 efer = msr_read(MSR_EFER);

	paging_init(&bench->paging, PAGING_PAE);
	msr_write(MSR_EFER, efer | EFER_NXE);
	paging_on(bench, CR4_PAE);
	common(bench);
	test_no_execute(bench);
	large_pages(bench, LARGE);
	test_top_entries(bench);
	/* [1] table 4-11: reserved up to bit 62. */
	bench_map(bench, PTE_P | BIT(62));
	READ(TEST_BASE);
	expect_reserved(0, TEST_BASE);
	paging_off(CR4_PAE);
	msr_write(MSR_EFER, efer);
}

int main(void)
{
	struct bench bench;

	bench_init(&bench);
	test_two_levels(&bench);
	test_pae(&bench);
	return 0;
}
