/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address spaces by PCID: what one holds is never another's, and what has been
 * invalidated does not come back with the space; see paging_test.h.
 *
 * [1] 4.10.1 (PCIDs), 4.10.2.4 (global pages), 4.10.4.1 (what invalidates).
 */
#include "paging_test.h"

enum { CR3_KEEP = 63, SPACES = 10, TIMES = 12, INVPCID = 10, PCID = 17 };
enum { ADDRESS, SINGLE, ALL, NONGLOBAL };

/* Pages at TEST_BASE: data, code, and a second way to the code. */
#define DATA TEST_BASE
#define CODE (TEST_BASE + PAGE)
#define ALIAS (TEST_BASE + 2 * PAGE)

struct space {
	struct paging paging;
	ulong cr3; /* without CR3_KEEP */
	u32 *data;
	u8 *code;
};

static struct space spaces[SPACES];
static struct space *const one = &spaces[1], *const two = &spaces[2];

/* mov eax, val; ret */
static void write_code(volatile u8 *at, u32 val)
{
	at[0] = 0xb8;
	for (unsigned k = 0; k < 4; k++)
		at[1 + k] = (u8)(val >> (8 * k));
	at[5] = 0xc3;
}

static u32 run_code(void)
{
	u32 got;

	__asm__ volatile("call *%1"
			 : "=a"(got)
			 : "r"(CODE)
			 : "rcx", "rdx", "memory", "cc");
	return got;
}

static void keep(const struct space *s)
{
	cr3_write(s->cr3 | BIT(CR3_KEEP));
}

static void forget(const struct space *s)
{
	cr3_write(s->cr3);
}

static void make(struct space *s, u32 number)
{
	paging_init(&s->paging, PAGING_4LEVEL);
	s->cr3 = s->paging.root | number;
	s->data = page_alloc();
	s->code = page_alloc();
	s->data[0] = number;
	write_code(s->code, 0x1000 + number);
	paging_set(&s->paging, DATA, 1, (ulong)s->data | PTE_P | PTE_W);
	paging_set(&s->paging, CODE, 1, (ulong)s->code | PTE_P);
	paging_set(&s->paging, ALIAS, 1, (ulong)s->code | PTE_P | PTE_W);
}

/* In turns: each finds its own. */
static void test_turns(u32 end)
{
	for (u32 n = 0; n < TIMES; n++)
		for (u32 k = 1; k < end; k++) {
			keep(&spaces[k]);
			expect_eq(*AT(DATA), k);
			expect_eq(AT(DATA)[1], n);
			AT(DATA)[1] = n + 1;
			expect_eq(run_code(), 0x1000 + k);
		}
	for (u32 k = 1; k < end; k++) {
		expect_eq(spaces[k].data[1], TIMES);
		spaces[k].data[1] = 0;
	}
}

/* What `two` has at DATA and CODE becomes that of `one`, and back. */
static void map_two(bool own)
{
	const struct space *s = own ? two : one;

	paging_set(&two->paging, DATA, 1, (ulong)s->data | PTE_P | PTE_W);
	paging_set(&two->paging, CODE, 1, (ulong)s->code | PTE_P);
}

static void expect_two(bool own)
{
	expect_eq(*AT(DATA), own ? 2 : 1);
	expect_eq(run_code(), 0x1000 + (own ? 2 : 1));
}

static void invpcid(ulong type, u64 pcid, u64 addr)
{
	const u64 descriptor[2] = {pcid, addr};

	__asm__ volatile("invpcid %0, %1"
			 :
			 : "m"(descriptor), "r"(type)
			 : "memory");
}

/* Changed while another space is the present one, then invalidated from there:
 * the old mapping is not to be seen with CR3_KEEP either. */
static void test_invalidated(void)
{
	bool own = true;

	for (unsigned n = 0; n < TIMES * 5; n++) {
		keep(two);
		expect_two(own);
		keep(one);
		expect_eq(*AT(DATA), 1);
		own = !own;
		map_two(own);
		switch (n % 5) {
		case 0:
			invpcid(ADDRESS, 2, DATA);
			invpcid(ADDRESS, 2, CODE);
			break;
		case 1:
			invpcid(SINGLE, 2, 0);
			break;
		case 2:
			invpcid(ALL, 0, 0);
			break;
		case 3:
			invpcid(NONGLOBAL, 0, 0);
			break;
		default: /* [1]: MOV to CR3 without bit 63, of that PCID */
			forget(two);
			expect_two(own);
			keep(one);
		}
		expect_eq(*AT(DATA), 1);
		keep(two);
		expect_two(own);
		/* In the present space, INVLPG is enough. */
		own = !own;
		map_two(own);
		page_flush(AT(DATA));
		page_flush(AT(CODE));
		expect_two(own);
		keep(one);
		keep(two);
		expect_two(own);
	}
	map_two(true);
	forget(two);
}

/* A page is written in one space and becomes code in another: the first one's
 * right to write, which it had found out before, must not hide the change. */
static void test_code(void)
{
	for (u32 n = 0; n < TIMES * 4; n++) {
		u8 *page = page_alloc();

		write_code(page, n);
		paging_set(&one->paging, ALIAS, 1, (ulong)page | PTE_P | PTE_W);
		paging_set(&two->paging, CODE, 1, (ulong)page | PTE_P);
		forget(one);
		*(volatile u8 *)(ALIAS + 100) = 1;
		forget(two);
		for (unsigned k = 0; k < 6; k++)
			expect_eq(run_code(), n);
		keep(one);
		write_code((volatile u8 *)ALIAS, ~n);
		keep(two);
		expect_eq(run_code(), ~n);
	}
	paging_set(&one->paging, ALIAS, 1, (ulong)one->code | PTE_P | PTE_W);
	paging_set(&two->paging, CODE, 1, (ulong)two->code | PTE_P);
	forget(one);
	forget(two);
}

/* [1] 4.10.2.4, 4.10.4.1: INVLPG of a global page reaches all PCIDs. */
static void test_global_page(void)
{
	const u64 bits = PTE_P | PTE_W | PTE_G;

	cr4_write(cr4_read() | CR4_PGE);
	paging_set(&one->paging, DATA, 1, (ulong)one->data | bits);
	paging_set(&two->paging, DATA, 1, (ulong)one->data | bits);
	forget(one);
	forget(two);
	for (unsigned n = 0; n < TIMES; n++) {
		const struct space *s = n & 1 ? one : two;

		keep(two);
		(void)*AT(DATA);
		keep(one);
		(void)*AT(DATA);
		paging_set(&one->paging, DATA, 1, (ulong)s->data | bits);
		paging_set(&two->paging, DATA, 1, (ulong)s->data | bits);
		page_flush(AT(DATA));
		expect_eq(*AT(DATA), s->data[0]);
		keep(two);
		expect_eq(*AT(DATA), s->data[0]);
	}
	cr4_write(cr4_read() & ~CR4_PGE);
	paging_set(&one->paging, DATA, 1, (ulong)one->data | PTE_P | PTE_W);
	map_two(true);
	forget(one);
	forget(two);
}

/* [1] 4.10.4.1: with CR4.PCIDE cleared, all PCIDs are forgotten. */
static void test_off(const struct space *zero)
{
	keep(two);
	expect_two(true);
	forget(zero);
	cr4_write(cr4_read() & ~CR4_PCIDE);
	map_two(false);
	cr4_write(cr4_read() | CR4_PCIDE);
	keep(two);
	expect_two(false);
	map_two(true);
	forget(two);
	expect_two(true);
}

void test_spaces(struct bench *bench)
{
	struct space zero = {.cr3 = bench->paging.root};
	ulong cr4 = cr4_read();

	if (!(cpuid(1, 0).ecx & BIT(PCID)) ||
	    !(cpuid(7, 0).ebx & BIT(INVPCID))) {
		skip("pcid");
		return;
	}
	for (u32 k = 1; k < SPACES; k++)
		make(&spaces[k], k);
	cr4_write(cr4 | CR4_PCIDE);
	for (u32 k = 1; k < SPACES; k++)
		forget(&spaces[k]);
	test_turns(4);
	test_turns(SPACES); /* more than an engine may remember */
	test_invalidated();
	test_code();
	test_global_page();
	test_off(&zero);
	forget(&zero);
	cr4_write(cr4);
}
