/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code in large global pages of the highest 2 GiB, as a kernel's is: chained
 * across pages, and yet gone when the mapping goes. And each CPU has a mapping
 * of its own.
 *
 * References: [1] Intel SDM 325462-080, volume 3A, 4.10.2.4 (global pages),
 *                 4.10.4.1 (INVLPG), 9.1.3 (cross-modifying code).
 */
#include "expect.h"
#include "fault.h"
#include "paging.h"
#include "print.h"
#include "smp.h"
#include "user.h"

#define HIGH 0xffffffff90000000ul
#define LARGE 0x200000ul
#define BITS (PTE_P | PTE_W | PTE_PS | PTE_G)

enum { CALLER = 0x1100, CALLEE = 0x2200, LOOPS = 40, ROUNDS = 20000 };

static struct paging paging;
/* Large pages: with the caller, and three with other callees, of which the
 * first lies behind it in physical memory, too. */
static u8 *caller, *callee[3];

BLOB(user_code, "int3");

/* mov $val, %eax; call to CALLEE in the next large page; inc %eax; ret */
static void make_caller(u8 *at, u32 val)
{
	u8 *p = at + CALLER;

	p[0] = 0xb8;
	*(u32 *)(p + 1) = val;
	p[5] = 0xe8;
	*(u32 *)(p + 6) = (u32)(LARGE + CALLEE - (CALLER + 10));
	p[10] = 0xff;
	p[11] = 0xc0;
	p[12] = 0xc3;
}

/* add $val, %eax; jmp there and back over a page; ret */
static void make_callee(u8 *at, u8 val)
{
	u8 *p = at + CALLEE;

	p[0] = 0x83;
	p[1] = 0xc0;
	p[2] = val;
	p[3] = 0xe9; /* to the page behind */
	*(u32 *)(p + 4) = 0x1000 - 8;
	p[8] = 0xc3;
	p[0x1000] = 0xe9; /* back to the RET */
	*(u32 *)(p + 0x1001) = (u32)(8 - 0x1005);
}

static u32 run(void)
{
	u32 val;

	__asm__ volatile("call *%1"
			 : "=a"(val)
			 : "r"(HIGH + CALLER)
			 : "memory", "cc");
	return val;
}

static void expect_runs(u32 val)
{
	u32 wrong = 0;

	for (unsigned i = 0; i < LOOPS; i++)
		wrong += run() != val;
	expect_eq(wrong, 0);
}

/* One INVLPG is enough ([1] 4.10.4.1), wherever in the page. */
static void remap(ulong entry)
{
	paging_map(&paging, HIGH + LARGE, 2, entry);
	if (!lax("large-invlpg"))
		return;
	page_flush((void *)(HIGH + LARGE + CALLEE));
	page_flush((void *)(HIGH + LARGE + CALLEE + 0x1000));
}

static void map(unsigned which)
{
	remap((ulong)callee[which] | BITS);
}

static void test_remap(void)
{
	expect_runs(102);
	for (unsigned i = 0; i < 6; i++) {
		map(1);
		expect_runs(103);
		map(2);
		expect_runs(104);
		map(0);
		expect_runs(102);
	}
}

/* What was chained to is not there, or no code, any more. */
static void test_faults(void)
{
	ulong ip = HIGH + LARGE + CALLEE;

	expect_runs(102);
	remap((ulong)callee[0] | BITS | PTE_NX);
	TRY("call *%0", : : "r"(HIGH + CALLER) : "rax", "memory");
	expect_fault_ip(PF, PF_P | PF_I, ip);
	expect_eq(fault.cr2, ip);
	map(0);
	expect_runs(102);
	remap(0);
	TRY("call *%0", : : "r"(HIGH + CALLER) : "rax", "memory");
	expect_fault_ip(PF, PF_I, ip);
	map(0);
	expect_runs(102);
}

/* Written to through the map onto itself. */
static void test_patch(void)
{
	for (u8 i = 1; i < 30; i++) {
		((volatile u8 *)callee[0])[CALLEE + 2] = i;
		cpuid(0, 0);
		expect_eq(run(), 101u + i);
		((volatile u8 *)caller)[CALLER + 1] = 100;
		cpuid(0, 0);
		expect_eq(run(), 101u + i);
	}
	((volatile u8 *)callee[0])[CALLEE + 2] = 1;
	cpuid(0, 0);
	expect_runs(102);
}

/* ---- another CPU ------------------------------------------------------- */

static struct paging others;
static volatile u32 mistakes;

static void run_other(unsigned index)
{
	u32 wrong = 0;

	cr4_write(cr4_read() | CR4_PGE);
	cr3_write(others.root);
	page_flush((void *)HIGH);
	page_flush((void *)(HIGH + LARGE));
	for (unsigned i = 0; i < ROUNDS; i++)
		wrong += run() != 103;
	__atomic_add_fetch(&mistakes, wrong, __ATOMIC_SEQ_CST);
}

static void test_other(void)
{
	u32 wrong = 0;

	paging_init(&others, paging.kind);
	paging_set(&others, HIGH, 2, (ulong)caller | BITS);
	paging_set(&others, HIGH + LARGE, 2, (ulong)callee[1] | BITS);
	if (!smp_start(run_other))
		return;
	for (unsigned i = 0; i < ROUNDS; i++)
		wrong += run() != 102;
	smp_wait();
	expect_eq(wrong, 0);
	expect_eq(mistakes, 0);
}

int main(void)
{
	ulong base = (ulong)pages_alloc(5 * 512);

	caller = (u8 *)((base + LARGE - 1) & ~(LARGE - 1));
	make_caller(caller, 100);
	for (u8 k = 0; k < 3; k++) {
		callee[k] = caller + (k + 1) * LARGE;
		make_callee(callee[k], k + 1);
	}
	cr4_write(cr4_read() | CR4_PGE);
	paging_boot(&paging);
	paging_map(&paging, HIGH, 2, (ulong)caller | BITS);
	map(0);
	user_run(user_code, user_code_end, 0);
	test_remap();
	test_faults();
	test_patch();
	test_other();
	return 0;
}
