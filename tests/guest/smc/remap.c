/* SPDX-License-Identifier: Apache-2.0 */
/* Code that changes because another page is there. */
#include "smc.h"

#define AT(gva) ((u8 *)(gva))

static u8 *page_a, *page_b;

static void map(ulong gva, const u8 *page, u64 bits)
{
	paging_map(&paging, gva, 1, page ? (ulong)page | bits : 0);
}

/* [1] 4.10.4.1: after INVLPG the new page runs, whatever ran before. */
static void test_invlpg(void)
{
	code_mov(page_a, 0xa);
	code_mov(page_b, 0xb);
	for (unsigned i = 0; i < 50; i++) {
		map(TEST_BASE, page_a, PTE_P);
		expect_eq(code_run(AT(TEST_BASE)), 0xa);
		map(TEST_BASE, page_b, PTE_P);
		expect_eq(code_run(AT(TEST_BASE)), 0xb);
	}
}

/* The same by other tables. */
static void test_cr3(void)
{
	struct paging other;
	ulong cr3 = cr3_read();

	paging_init(&other, paging.kind);
	paging_set(&other, TEST_BASE, 1, (ulong)page_b | PTE_P);
	map(TEST_BASE, page_a, PTE_P);
	for (unsigned i = 0; i < 50; i++) {
		cr3_write(other.root);
		expect_eq(code_run(AT(TEST_BASE)), 0xb);
		cr3_write(cr3);
		expect_eq(code_run(AT(TEST_BASE)), 0xa);
	}
}

/* [1] 9.1.3: through another linear address, with a serializing instruction
 * between. */
static void test_alias(void)
{
	map(TEST_BASE, page_a, PTE_P);
	map(TEST_BASE + PAGE, page_a, PTE_P | PTE_W);
	for (u32 i = 0; i < 50; i++) {
		code_mov(AT(TEST_BASE + PAGE), i);
		serialize();
		expect_eq(code_run(AT(TEST_BASE)), i);
		expect_eq(code_run(page_a), i);
		*(volatile u32 *)(page_a + MOV_VALUE) = ~i;
		serialize();
		expect_eq(code_run(AT(TEST_BASE)), ~i);
	}
	map(TEST_BASE + PAGE, NULL, 0);
	/* Code runs from a page that is not writable, and stays when a store
	 * to it faults. */
	map(TEST_BASE, page_a, PTE_P);
	code_mov(page_a, 77);
	serialize();
	expect_eq(code_run(AT(TEST_BASE)), 77);
	TRY("movb $1, 1(%0)", : : "r"(TEST_BASE) : "memory");
	expect_fault(PF, PF_P | PF_W);
	expect_eq(code_run(AT(TEST_BASE)), 77);
}

/* A page that has been written to in several ways before it becomes code: by
 * each of them it changes. */
static void test_writers(void)
{
	const unsigned ways = 3;

	for (u32 i = 0; i < 24; i++) {
		u8 *page = page_alloc();
		u8 *way[] = {AT(TEST_BASE), AT(TEST_BASE + PAGE), page};

		map(TEST_BASE, page, PTE_P | PTE_W);
		map(TEST_BASE + PAGE, page, PTE_P | PTE_W);
		/* With one, two and three of them having been used. */
		for (unsigned k = 0; k <= i % ways; k++)
			way[(i + k) % ways][PAGE - 1] = (u8)i;
		code_mov(way[i % ways], i);
		serialize();
		expect_eq(code_run(page), i);
		for (unsigned k = 0; k < ways; k++) {
			code_mov(way[(i + k) % ways], ~i - k);
			serialize();
			expect_eq(code_run(page), ~i - k);
		}
		/* Without the long way of a write to code that is known. */
		*(volatile u32 *)(way[(i + 1) % ways] + MOV_VALUE) = i;
		serialize();
		expect_eq(code_run(page), i);
	}
	map(TEST_BASE, page_a, PTE_P);
	map(TEST_BASE + PAGE, NULL, 0);
}

static ulong fetch_error(ulong error)
{
	/* [2] 4.7: I/D is there with NXE (or SMEP), not without. */
	return error | FOR_WIDTH(0, PF_I);
}

/* Runs it where it ends in a fault. */
static void run_to_fault(ulong ip)
{
	TRY("jmp *%0", : : "r"(ip) : "memory", "eax");
}

static void expect_fetch(ulong ip, ulong cr2, ulong error)
{
	expect_fault_ip(PF, fetch_error(error), ip);
	expect_eq(fault.cr2, cr2);
}

/* An instruction on both sides of a page boundary: each page is looked up for
 * itself, RIP is the instruction's, CR2 the byte's that is not there. */
static void test_boundary(void)
{
	ulong edge = TEST_BASE + PAGE, ip = edge - 2;
	u8 *first = pages_alloc(1);

	code_mov(code + PAGE - 2, 0x11223344);
	for (unsigned i = 0; i < 16; i++) {
		first[PAGE - 16 + i] = code[PAGE - 16 + i];
		page_a[i] = page_b[i] = code[PAGE + i];
	}
	*(volatile u16 *)(page_b + 1) = 0x5566;
	map(TEST_BASE, first, PTE_P);
	map(edge, page_a, PTE_P);
	expect_eq(code_run(AT(ip)), 0x11223344);
	map(edge, page_b, PTE_P);
	expect_eq(code_run(AT(ip)), 0x55663344);
	map(edge, NULL, 0);
	run_to_fault(ip);
	expect_fetch(ip, edge, 0);
	map(edge, page_a, PTE_P);
	expect_eq(code_run(AT(ip)), 0x11223344);
	/* A store into its second part, through another address. */
	*(volatile u8 *)(page_a + 2) = 0x99;
	serialize();
	expect_eq(code_run(AT(ip)), 0x99223344);
	if (FOR_WIDTH(0, 1)) {
		map(edge, page_a, PTE_P | PTE_NX);
		run_to_fault(ip);
		expect_fetch(ip, edge, PF_P);
		map(TEST_BASE, first, PTE_P | PTE_NX);
		run_to_fault(ip);
		expect_fetch(ip, ip, PF_P);
		map(TEST_BASE, first, PTE_P);
	}
	/* One that ends at the boundary runs; the next faults as its own. */
	first[PAGE - 2] = 0x90;
	first[PAGE - 1] = 0x90;
	map(edge, NULL, 0);
	run_to_fault(ip);
	expect_fetch(edge, edge, 0);
	/* A jump's target is fetched after the jump is made. */
	run_to_fault(edge + 5);
	expect_fetch(edge + 5, edge + 5, 0);
	map(TEST_BASE, NULL, 0);
	/* [1] 4.10.4.3: a page that becomes present needs no INVLPG. */
	paging_set(&paging, edge, 1, (ulong)page_b | PTE_P);
	code_mov(page_b, 0x42);
	expect_eq(code_run(AT(edge)), 0x42);
	map(edge, NULL, 0);
}

/* The second page may be any, physical page 0 too. */
static void test_into_page_zero(void)
{
	ulong edge = TEST_BASE + PAGE, alias = edge + PAGE;
	volatile u8 *zero = AT(alias);
	u8 saved[4];

	page_a[PAGE - 2] = 0xb8;
	page_a[PAGE - 1] = 0x44;
	map(TEST_BASE, page_a, PTE_P);
	paging_map(&paging, edge, 1, PTE_P);
	paging_map(&paging, alias, 1, PTE_P | PTE_W);
	for (unsigned i = 0; i < 4; i++) {
		saved[i] = zero[i];
		zero[i] = i < 3 ? (u8)(0x33 - 0x11 * i) : 0xc3;
	}
	expect_eq(code_run(AT(edge - 2)), 0x11223344);
	zero[2] = 0x99;
	serialize();
	expect_eq(code_run(AT(edge - 2)), 0x99223344);
	for (unsigned i = 0; i < 4; i++)
		zero[i] = saved[i];
	map(TEST_BASE, NULL, 0);
	map(edge, NULL, 0);
	map(alias, NULL, 0);
}

/* The second page may be the first one again. */
static void test_into_itself(void)
{
	ulong edge = TEST_BASE + PAGE;

	page_a[PAGE - 2] = 0xb8;
	page_a[PAGE - 1] = 0x44;
	page_a[0] = 0x33;
	page_a[1] = 0x22;
	page_a[2] = 0x11;
	page_a[3] = 0xc3;
	map(TEST_BASE, page_a, PTE_P);
	map(edge, page_a, PTE_P);
	expect_eq(code_run(AT(edge - 2)), 0x11223344);
	*(volatile u8 *)(page_a + 2) = 0x99;
	serialize();
	expect_eq(code_run(AT(edge - 2)), 0x99223344);
	*(volatile u8 *)(page_a + PAGE - 1) = 0x55;
	serialize();
	expect_eq(code_run(AT(edge - 2)), 0x99223355);
	map(TEST_BASE, NULL, 0);
	map(edge, NULL, 0);
}

/*
 * Code in a page table: the walk sets bits in an instruction. B0 is the last
 * byte of an entry that is not present; the next one's flags are what MOV to AL
 * takes, and its second byte is RET: bits 9 and 8 (free and G), and 1100 of the
 * page's address.
 */
static void test_table(void)
{
	const u8 mov_al = 0xb0;
	u8 *page = pages_alloc(16);
	ulong gva = TEST_BASE + PAGE, table;
	volatile u8 *entry;

	while (((ulong)page >> 12 & 15) != 0xc)
		page += PAGE;
	map(gva, page, PTE_P | PTE_W | 0x300);
	table = paging_get(&paging, gva, 2) & ~(PAGE - 1ul);
	entry = AT(table + paging.entry_len);
	entry[-1] = mov_al;
	page[0] = 0xc3;
	for (unsigned i = 0; i < 20; i++) {
		map(gva, page, PTE_P | PTE_W | 0x300);
		serialize();
		expect_eq(code_run((u8 *)entry - 1) & 0xff, PTE_P | PTE_W);
		if (i & 1) /* by a fetch */
			code_run(AT(gva));
		else
			(void)*(volatile u8 *)gva;
		serialize();
		expect_eq(code_run((u8 *)entry - 1) & 0xff,
			  PTE_P | PTE_W | PTE_A);
		*(volatile u8 *)gva = 0xc3;
		serialize();
		expect_eq(code_run((u8 *)entry - 1) & 0xff,
			  PTE_P | PTE_W | PTE_A | PTE_D);
	}
	entry[-1] = 0;
	map(gva, NULL, 0);
}

void test_remap(void)
{
	page_a = page_alloc();
	page_b = page_alloc();
	test_invlpg();
	test_cr3();
	test_alias();
	test_writers();
	test_boundary();
	test_into_page_zero();
	test_into_itself();
	test_table();
}
