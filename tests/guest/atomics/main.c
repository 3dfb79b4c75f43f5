/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locked operations of all CPUs at once: no addition is lost, no ticket given
 * twice, whatever the width, the alignment or the instruction.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 9.1.2 (bus locking: what LOCK goes with,
 *     and that it holds across cache lines and pages)
 */
#include "expect.h"
#include "fault.h"
#include "paging.h"
#include "print.h"
#include "smp.h"

enum { PAGE = 4096, ADDS = 3000, BITS = 2048, EDGES = 4 };

struct numbers {
	u8 byte;
	u16 word;
	u32 dword, ticket, ticket_sum, cmpxchg, toggled, lock, plain;
	ulong reg;
	u64 cmpxchg8b __attribute__((aligned(8)));
	ulong pair[2] __attribute__((aligned(16)));
	u32 bitmap[BITS / 32], claimed, released;
};

static volatile struct numbers n;
static u8 *edge; /* the middle of two pages */
static volatile u32 arrived;

/* All CPUs leave it together. */
static void barrier(void)
{
	unsigned count = smp_count();
	u32 ticket = __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
	u32 all = (ticket + count - 1) / count * count;

	while (arrived < all)
		cpu_pause();
}

static void add_widths(void)
{
	for (u32 i = 0; i < ADDS; i++) {
		__asm__ volatile("lock incb %0" : "+m"(n.byte) : : "cc");
		__asm__ volatile("lock addw $3, %0" : "+m"(n.word) : : "cc");
		__asm__ volatile("lock subl $1, %0" : "+m"(n.dword) : : "cc");
		__asm__ volatile("lock add %1, %0"
				 : "+m"(n.reg)
				 : "r"(1ul)
				 : "cc");
	}
}

static void take_tickets(void)
{
	for (u32 i = 0; i < ADDS; i++) {
		u32 ticket = 1;

		__asm__ volatile("lock xaddl %0, %1"
				 : "+r"(ticket), "+m"(n.ticket)
				 :
				 : "cc");
		__asm__ volatile("lock addl %1, %0"
				 : "+m"(n.ticket_sum)
				 : "r"(ticket)
				 : "cc");
	}
}

/* Four variables by CMPXCHG: the value found is the one compared. */
static void exchange(void)
{
	for (u32 i = 0; i < ADDS; i++) {
		u32 old = n.cmpxchg;
		u8 done;

		do {
			__asm__ volatile("lock cmpxchgl %3, %1; sete %2"
					 : "+a"(old), "+m"(n.cmpxchg),
					   "=q"(done)
					 : "r"(old + 1)
					 : "cc");
		} while (!done);
	}
}

static void exchange8(void)
{
	for (u32 i = 0; i < ADDS; i++) {
		u32 low = 0, high = 0;
		u8 done;

		do {
			u64 next = ((u64)high << 32 | low) + 0x100000001;

			__asm__ volatile("lock cmpxchg8b %2; sete %3"
					 : "+a"(low), "+d"(high),
					   "+m"(n.cmpxchg8b), "=m"(done)
					 : "b"((u32)next),
					   "c"((u32)(next >> 32))
					 : "cc");
		} while (!done);
	}
}

/* A pair of registers' width: both halves count, and half an exchange would
 * set them apart. CMPXCHG16B in 64-bit builds. */
static void exchange_pair(void)
{
	for (u32 i = 0; i < ADDS; i++) {
		ulong low = 0, high = 0;
		u8 done;

		do {
			__asm__ volatile(
				FOR_WIDTH("lock cmpxchg8b",
					  "lock cmpxchg16b") " %2; sete %3"
				: "+a"(low), "+d"(high), "+m"(n.pair),
				  "=m"(done)
				: "b"(low + 1), "c"(high - 1)
				: "cc");
		} while (!done);
	}
}

/* Every bit is set by one CPU only, and taken back by one only. */
static void claim_bits(void)
{
	u32 mine = 0, back = 0;
	u8 was;

	for (ulong bit = 0; bit < BITS; bit++) {
		__asm__ volatile("lock bts %2, %0; setc %1"
				 : "+m"(n.bitmap), "=q"(was)
				 : "r"(bit)
				 : "cc", "memory");
		mine += !was;
	}
	__atomic_add_fetch(&n.claimed, mine, __ATOMIC_SEQ_CST);
	barrier();
	for (ulong bit = BITS; bit-- > 0;) {
		__asm__ volatile("lock btr %2, %0; setc %1"
				 : "+m"(n.bitmap), "=q"(was)
				 : "r"(bit)
				 : "cc", "memory");
		back += was;
	}
	__atomic_add_fetch(&n.released, back, __ATOMIC_SEQ_CST);
}

/* Bits of the CPU's own in one byte, by OR, XOR, AND, BTC, NOT and NEG: the
 * others' stay. NOT and NEG come in pairs that undo each other. */
static void toggle(unsigned index)
{
	u32 mine = 1u << index * 4, mistakes = 0;
	ulong bit = index * 4 + 1;

	for (u32 i = 0; i < ADDS; i++) {
		__asm__ volatile("lock orl %1, %0"
				 : "+m"(n.toggled)
				 : "r"(mine)
				 : "cc");
		mistakes += !(n.toggled & mine);
		__asm__ volatile("lock btc %1, %0"
				 : "+m"(n.toggled)
				 : "r"(bit)
				 : "cc", "memory");
		mistakes += (n.toggled >> bit & 1) != !(i & 1);
		__asm__ volatile("lock andl %1, %0"
				 : "+m"(n.toggled)
				 : "r"(~mine)
				 : "cc");
		mistakes += !!(n.toggled & mine);
		__asm__ volatile("lock xorl %1, %0"
				 : "+m"(n.toggled)
				 : "r"(mine)
				 : "cc");
	}
	__atomic_add_fetch(&n.plain, mistakes << 24, __ATOMIC_SEQ_CST);
}

/* XCHG is locked without a prefix. */
static void spin_lock(void)
{
	for (u32 i = 0; i < ADDS; i++) {
		u32 taken = 1;

		for (;;) {
			__asm__ volatile("xchg %0, %1"
					 : "+r"(taken), "+m"(n.lock)
					 :
					 : "memory");
			if (!taken)
				break;
			cpu_pause();
		}
		n.plain++;
		__asm__ volatile("movl $0, %0" : "=m"(n.lock) : : "memory");
	}
}

/*
 * On both sides of the page boundary, and beside it with whole words of either
 * side: one counter of 8 bytes (4 in 32-bit builds), whose upper half the odd
 * CPUs count for themselves.
 */
static void add_crossing(unsigned index)
{
	volatile ulong *whole = (ulong *)(edge - sizeof(ulong) / 2);
	volatile u16 *upper = (u16 *)edge;

	for (u32 i = 0; i < ADDS; i++) {
		if (index & 1)
			__asm__ volatile("lock incw %0"
					 : "+m"(*upper)
					 :
					 : "cc", "memory");
		else
			__asm__ volatile("lock add %1, %0"
					 : "+m"(*whole)
					 : "r"(1ul)
					 : "cc", "memory");
	}
}

/* Across the ends of lines. */
static volatile u32 *place(int at)
{
	return (volatile u32 *)(edge + 1024 + at * 64 + at / 2);
}

static void add_places(void)
{
	for (u32 i = 0; i < ADDS / 8; i++) {
		for (int at = -8; at < 0; at++) {
			__asm__ volatile("lock incl %0"
					 : "+m"(*place(at))
					 :
					 : "cc", "memory");
		}
	}
}

static void work(unsigned index)
{
	barrier();
	add_widths();
	barrier();
	take_tickets();
	barrier();
	exchange();
	barrier();
	exchange8();
	barrier();
	exchange_pair();
	barrier();
	claim_bits();
	barrier();
	spin_lock();
	barrier();
	toggle(index);
	barrier();
	add_crossing(index);
	barrier();
	add_places();
	barrier();
}

/* 64-bit builds: two pages that are no neighbours in memory. */
static void set_up_edge(void)
{
	struct paging paging;
	u8 *upper = page_alloc();
	u8 *lower = pages_alloc(2);

	edge = lower + PAGE;
	if (FOR_WIDTH(1, 0))
		return;
	paging_boot(&paging);
	paging_map(&paging, TEST_BASE, 1, (ulong)lower | PTE_P | PTE_W);
	paging_map(&paging, TEST_BASE + PAGE, 1, (ulong)upper | PTE_P | PTE_W);
	edge = (u8 *)TEST_BASE + PAGE;
}

static void check(unsigned count)
{
	u32 adds = ADDS * count, evens = (count + 1) / 2 * ADDS;
	u32 odds = count / 2 * ADDS;
	unsigned half = sizeof(ulong) * 4;

	expect_eq(n.byte, (u8)adds);
	expect_eq(n.word, (u16)(3 * adds));
	expect_eq(n.dword, -adds);
	expect_eq(n.reg, adds);
	expect_eq(n.ticket, adds);
	expect_eq(n.ticket_sum, (u32)((u64)adds * (adds - 1) / 2));
	expect_eq(n.cmpxchg, adds);
	expect_eq(n.cmpxchg8b, (u64)adds << 32 | adds);
	expect_eq(n.pair[0], adds);
	expect_eq(n.pair[1], -(ulong)adds);
	expect_eq(n.claimed, BITS);
	expect_eq(n.released, BITS);
	expect_eq(n.plain, adds); /* and no mistake of toggle() */
	expect_eq(n.lock, 0);
	expect_eq(*(volatile ulong *)(edge - sizeof(ulong) / 2),
		  evens + ((ulong)(u16)odds << half));
}

static void check_places(unsigned count)
{
	for (int at = -8; at < 0; at++)
		expect_eq(*place(at), ADDS / 8 * count);
}

int main(void)
{
	unsigned count = smp_count();

	set_up_edge();
	if (!smp_start(work))
		return 0;
	work(0);
	smp_wait();
	check(count);
	check_places(count);
	return 0;
}
