/* SPDX-License-Identifier: Apache-2.0 */
/* Four-level paging: common rules, large pages, reserved bits, features. */
#include "paging_test.h"

/* Beyond the map of 4 GiB, within the first entry of the top table. */
#define HIGH 0x4000000000ul

static u8 address_width(void)
{
	return (u8)cpuid(0x80000008, 0).eax;
}

/* [1] table 4-16 to 4-20 */
static void test_reserved(struct bench *bench)
{
	u8 width = address_width();

	if (width < 52) {
		bench_map(bench, PTE_P | PTE_W | BIT(51));
		READ(TEST_BASE);
		expect_reserved(0, TEST_BASE);
		bench_map(bench, PTE_P | PTE_W | BIT(width));
		WRITE(TEST_BASE);
		expect_reserved(PF_W, TEST_BASE);
	}
	/* Bits 52 to 62 are the software's. */
	bench_map(bench, PTE_P | BIT(52) | BIT(58) | BIT(9) | BIT(11));
	READ(TEST_BASE);
	expect_no_fault();
	/* A large page begins on its boundary. */
	paging_map(&bench->paging, HIGH, 2, PTE_P | PTE_PS | BIT(13));
	READ(HIGH);
	expect_reserved(0, HIGH);
	paging_map(&bench->paging, HIGH, 2, 0);
	/* The top table has no pages. */
	paging_map(&bench->paging, HIGH * 8, 4,
		   (ulong)page_alloc() | PTE_P | PTE_PS);
	READ(HIGH * 8);
	expect_reserved(0, HIGH * 8);
	paging_map(&bench->paging, HIGH * 8, 4, 0);
}

static void test_2m(struct bench *bench)
{
	ulong base = (ulong)bench->page_a & -(ulong)LARGE;
	ulong offset = (ulong)bench->page_a - base;
	ulong a = HIGH + offset;

	paging_map(&bench->paging, HIGH, 2, base | PTE_P | PTE_W | PTE_PS);
	expect_eq(*AT(a), WORD_A);
	expect_eq(paging_get(&bench->paging, HIGH, 2) & (PTE_A | PTE_D), PTE_A);
	WRITE(a);
	expect_no_fault();
	expect_eq(paging_get(&bench->paging, HIGH, 2) & (PTE_A | PTE_D),
		  PTE_A | PTE_D);
	*bench->page_a = WORD_A;
	/* INVLPG of any address in it forgets all of it. */
	expect_eq(*AT(HIGH + offset + PAGE), WORD_B);
	paging_set(&bench->paging, HIGH, 2, 0);
	page_flush(AT(a));
	READ(HIGH + offset + PAGE);
	expect_page_fault(0, HIGH + offset + PAGE);
	/* And to a table of small pages. */
	paging_map(&bench->paging, a, 1, (ulong)bench->page_b | PTE_P);
	expect_eq(*AT(a), WORD_B);
	paging_map(&bench->paging, HIGH, 2, 0);
}

static void test_1g(struct bench *bench)
{
	ulong gva = HIGH + (1ul << 30);

	if (!(cpuid(0x80000001, 0).edx & BIT(26))) {
		paging_map(&bench->paging, gva, 3, PTE_P | PTE_PS);
		READ(gva);
		expect_reserved(0, gva);
		paging_map(&bench->paging, gva, 3, 0);
		return;
	}
	paging_map(&bench->paging, gva, 3, PTE_P | PTE_W | PTE_PS);
	expect_eq(*AT(gva + (ulong)bench->page_a), WORD_A);
	expect_eq(*AT(gva + (ulong)bench->page_b), WORD_B);
	expect_eq(paging_get(&bench->paging, gva, 3) & (PTE_A | PTE_D), PTE_A);
	WRITE(gva + (ulong)bench->page_a);
	expect_eq(paging_get(&bench->paging, gva, 3) & PTE_D, PTE_D);
	*bench->page_a = WORD_A;
	paging_map(&bench->paging, gva, 3, PTE_P | PTE_PS | BIT(13));
	READ(gva);
	expect_reserved(0, gva);
	paging_map(&bench->paging, gva, 3, 0);
}

int main(void)
{
	struct bench bench;

	bench_init(&bench);
	paging_boot(&bench.paging);
	test_accessed_dirty(&bench);
	test_not_present(&bench);
	test_write(&bench);
	test_user(&bench);
	test_rights(&bench);
	test_flush(&bench);
	test_global(&bench);
	test_no_execute(&bench);
	test_reserved(&bench);
	test_2m(&bench);
	test_1g(&bench);
	test_smep(&bench);
	test_smap(&bench);
	test_umip(&bench);
	test_pcid(&bench);
	test_spaces(&bench);
	return 0;
}
