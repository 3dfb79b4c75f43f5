/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code at the end of a page: what comes next is there, is not, may not be
 * executed, belongs to the other side; or the address space ends. Each piece
 * runs often enough to be translated and chained before its surroundings
 * change, and once more afterwards.
 *
 * References: [1] Intel SDM vol. 3A 4.7 (error codes of fetches), vol. 1
 *                 3.3.7.1 (canonical addresses), vol. 2 (CALL, JMP: #GP(0)
 *                 where the target is not canonical).
 */
#include "fault.h"
#include "print.h"
#include "user.h"

enum { TIMES = 16, PAGE = 4096, BIT_SMEP = 1 << 7 };

/* The pages' places: where nothing is odd, and at both edges of the hole. */
#define PLAIN TEST_BASE
#define LOW_EDGE 0x7ffffffff000ul
#define HIGH_EDGE 0xffff800000000000ul

static struct paging paging;
static u8 *first, *second; /* PLAIN and behind it */
static bool user;

/* ---- pieces of code ---------------------------------------------------- */

enum kind { RUNS_ON, CROSSES, JUMPS, CALLS };

struct piece {
	const char *name;
	enum kind kind;
	u8 bytes[12];
	u8 len;
	u8 beyond; /* bytes of it in the second page */
	u8 last;   /* length of the last instruction */
};

static const struct piece pieces[] = {
	{"runs on", RUNS_ON, {0xff, 0xc0, 0xff, 0xc0}, 4, 0, 2},
	{"a condition that does not hold",
	 RUNS_ON,
	 {0x39, 0xc0, 0x75, 0x10},
	 4,
	 0,
	 2},
	{"a store", RUNS_ON, {0x89, 0x44, 0x24, 0xf0}, 4, 0, 4},
	{"a push", RUNS_ON, {0x58, 0x50}, 2, 0, 1},
	{"crosses", CROSSES, {0x05, 1, 0, 0, 0}, 5, 3, 5},
	{"crosses, with memory", CROSSES, {0x01, 0x44, 0x24, 0xf0}, 4, 1, 4},
	{"crosses behind another",
	 CROSSES,
	 {0x31, 0xc0, 0x05, 1, 0, 0, 0},
	 7,
	 4,
	 5},
	{"a jump", JUMPS, {0xeb, 0x00}, 2, 0, 2},
	{"a wide jump", JUMPS, {0xe9, 0, 0, 0, 0}, 5, 0, 5},
	{"a condition that holds", JUMPS, {0x39, 0xc0, 0x74, 0x00}, 4, 0, 2},
	{"a call", CALLS, {0xe8, 0, 0, 0, 0}, 5, 0, 5},
};

/* In the second page it ends by RET for the kernel, by INT3 for the user. */
static void place(const struct piece *p)
{
	volatile u8 *to = first + PAGE - (p->len - p->beyond);

	for (unsigned n = 0; n < p->len; n++) {
		if (n == p->len - (unsigned)p->beyond)
			to = second - n;
		to[n] = p->bytes[n];
	}
	for (unsigned n = 0; n < 4; n++)
		((volatile u8 *)second)[p->beyond + n] = user ? 0xcc : 0xc3;
}

static ulong entry(const struct piece *p, ulong page)
{
	return page + PAGE - (ulong)(p->len - p->beyond);
}

static ulong last(const struct piece *p, ulong page)
{
	return entry(p, page) + p->len - p->last;
}

static void run(ulong ip)
{
	if (!user) {
		TRY("call *%0", : : "r"(ip) : "rax", "memory", "cc");
		return;
	}
	try_begin();
	user_enter(ip, user_stack() - 64, 0,
		   USER_CODE64 | (ulong)USER_DATA << 16);
}

/* It came to its end. */
static void expect_end(const struct piece *p, ulong page)
{
	if (user)
		expect_fault_ip(BP, 0, page + PAGE + p->beyond + 1);
	else
		expect_no_fault();
}

/* ---- rights of the second page ----------------------------------------- */

static u64 mine(const void *page)
{
	return (ulong)page | PTE_P | PTE_W | (user ? PTE_U : 0);
}

static void expect_fetch_fault(const struct piece *p, ulong error)
{
	ulong ip = p->kind == CROSSES ? last(p, PLAIN) : PLAIN + PAGE;

	for (unsigned n = 0; n < 3; n++) {
		run(entry(p, PLAIN));
		if (!expect_fault_ip(PF, error | (user ? PF_U : 0), ip))
			print("  %s, %s\n", p->name, user ? "user" : "kernel");
		expect_eq(fault.cr2, PLAIN + PAGE);
	}
}

static void change_rights(const struct piece *p, u64 entry_then, ulong error)
{
	paging_map(&paging, PLAIN + PAGE, 1, mine(second));
	for (unsigned n = 0; n < TIMES; n++) {
		run(entry(p, PLAIN));
		expect_end(p, PLAIN);
	}
	paging_map(&paging, PLAIN + PAGE, 1, entry_then);
	expect_fetch_fault(p, error);
	paging_map(&paging, PLAIN + PAGE, 1, mine(second));
	run(entry(p, PLAIN));
	expect_end(p, PLAIN);
}

static void test_rights(const struct piece *p)
{
	bool smep = cpuid(7, 0).ebx & BIT_SMEP;

	place(p);
	change_rights(p, 0, PF_I);
	change_rights(p, mine(second) | PTE_NX, PF_P | PF_I);
	if (user)
		change_rights(p, mine(second) & ~PTE_U, PF_P | PF_I);
	if (user || !smep)
		return;
	cr4_write(cr4_read() | CR4_SMEP);
	change_rights(p, mine(second) | PTE_U, PF_P | PF_I);
	cr4_write(cr4_read() & ~CR4_SMEP);
}

/* Another page comes there, with other code. */
static void test_exchange(const struct piece *p)
{
	u8 *other = page_alloc();

	place(p);
	for (unsigned n = 0; n < PAGE; n++)
		other[n] = 0x0f; /* UD2 */
	for (unsigned n = 1; n < PAGE; n += 2)
		other[n] = 0x0b;
	for (unsigned n = 0; n < TIMES; n++) {
		run(entry(p, PLAIN));
		expect_end(p, PLAIN);
	}
	if (p->kind == CROSSES)
		return; /* UD2 would be an immediate */
	paging_map(&paging, PLAIN + PAGE, 1, mine(other));
	run(entry(p, PLAIN));
	expect_fault_ip(UD, 0, PLAIN + PAGE);
	paging_map(&paging, PLAIN + PAGE, 1, mine(second));
}

/* ---- the ends of the address space ------------------------------------- */

static void expect_gp(ulong ip, const char *name)
{
	if (!expect_fault_ip(GP, 0, ip))
		print("  %s, %s\n", name, user ? "user" : "kernel");
}

/* A call or a jump that leads out is #GP itself, and nothing has been pushed;
 * what runs out faults where it has got to. */
static void test_low_edge(const struct piece *p)
{
	volatile u64 *pushed = (u64 *)(user_stack() - 64 - 8);
	ulong ip = p->kind == RUNS_ON ? LOW_EDGE + PAGE : last(p, LOW_EDGE);

	place(p);
	paging_map(&paging, LOW_EDGE, 1, mine(first));
	for (unsigned n = 0; n < TIMES; n++) {
		run(entry(p, PLAIN));
		expect_end(p, PLAIN);
	}
	for (unsigned n = 0; n < TIMES; n++) {
		if (user)
			*pushed = 0x5a5a;
		run(entry(p, LOW_EDGE));
		expect_gp(ip, p->name);
		if (user)
			expect_eq(*pushed, p->kind == CALLS ? 0x5a5a : *pushed);
	}
	run(entry(p, PLAIN));
	expect_end(p, PLAIN);
}

/* The same downwards: CALL and JMP to below the first page of the high half. */
static void test_high_edge(bool call)
{
	static const u8 back[2][5] = {{0xe9, 0xf0, 0xff, 0xff, 0xff},
				      {0xe8, 0xf0, 0xff, 0xff, 0xff}};
	volatile u64 *pushed = (u64 *)(user_stack() - 64 - 8);
	volatile u8 *to = second, *target = first + PAGE + 5 - 16;

	for (unsigned n = 0; n < 5; n++)
		to[n] = back[call][n];
	to[5] = *target = user ? 0xcc : 0xc3;
	paging_map(&paging, HIGH_EDGE, 1, mine(second));
	for (unsigned n = 0; n < TIMES; n++) {
		run(PLAIN + PAGE);
		if (user)
			expect_fault_ip(BP, 0, PLAIN + PAGE + 5 - 16 + 1);
		else
			expect_no_fault();
	}
	for (unsigned n = 0; n < TIMES; n++) {
		if (user)
			*pushed = 0x5a5a;
		run(HIGH_EDGE);
		expect_gp(HIGH_EDGE, call ? "a call back" : "a jump back");
		if (user)
			expect_eq(*pushed, 0x5a5a);
	}
}

/* ---- the whole --------------------------------------------------------- */

static void test_all(void)
{
	paging_map(&paging, PLAIN, 1, mine(first));
	paging_map(&paging, PLAIN + PAGE, 1, mine(second));
	for (unsigned n = 0; n < ARRAY_SIZE(pieces); n++) {
		test_rights(&pieces[n]);
		test_exchange(&pieces[n]);
		test_low_edge(&pieces[n]);
	}
	test_high_edge(false);
	test_high_edge(true);
}

int main(void)
{
	paging_boot(&paging);
	user_map(&paging);
	first = page_alloc();
	second = page_alloc();
	test_all();
	user = true;
	test_all();
	return 0;
}
