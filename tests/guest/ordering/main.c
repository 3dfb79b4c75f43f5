/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What CPUs may see of each other's loads and stores: litmus tests of the
 * manual's rules, many rounds each, all cells fresh; and stale translations,
 * which are gone once every CPU has invalidated them.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 9.2.3 (examples of memory ordering),
 *     4.10.4 and 4.10.5 (invalidation, propagation to other CPUs),
 *     4.8 (accessed and dirty)
 */
#include "apic.h"
#include "expect.h"
#include "fault.h"
#include "paging.h"
#include "print.h"
#include "smp.h"

enum { ROUNDS = 3000, BATCH = 10, FLUSH = 0x50, REMAPS = 150 };

/* Each variable in a line of its own. */
struct cell {
	volatile u32 x, pad1[15], y, pad2[15];
	volatile u32 r[4], pad3[12];
};

/* One part for each CPU; the accesses are volatile, so the compiler leaves
 * them as they stand. `forbidden` looks at what they have read. */
struct litmus {
	const char *name;
	unsigned cpus;
	void (*part[4])(struct cell *c);
	bool (*forbidden)(const struct cell *c);
};

static struct cell *cells;
static volatile u32 arrived;

static void barrier(void)
{
	unsigned count = smp_count();
	u32 ticket = __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
	u32 all = (ticket + count - 1) / count * count;

	while (arrived < all)
		cpu_pause();
}

/* ---- [1] 9.2.3.4: a load may pass an older store, unless fenced -------- */

static void sb0(struct cell *c)
{
	c->x = 1;
	c->r[0] = c->y;
}

static void sb1(struct cell *c)
{
	c->y = 1;
	c->r[1] = c->x;
}

static void sb0_mfence(struct cell *c)
{
	c->x = 1;
	__asm__ volatile("mfence" : : : "memory");
	c->r[0] = c->y;
}

static void sb1_mfence(struct cell *c)
{
	c->y = 1;
	__asm__ volatile("mfence" : : : "memory");
	c->r[1] = c->x;
}

/* 9.2.3.9: loads and stores do not pass locked instructions. */
static void sb0_locked(struct cell *c)
{
	c->x = 1;
	__asm__ volatile("lock incl %0" : "+m"(c->r[2]) : : "cc", "memory");
	c->r[0] = c->y;
}

static void sb1_locked(struct cell *c)
{
	u32 one = 1;

	__asm__ volatile("xchg %0, %1" : "+r"(one), "+m"(c->y) : : "memory");
	c->r[1] = c->x;
}

static bool both_missed(const struct cell *c)
{
	return !c->r[0] && !c->r[1];
}

static bool nothing(const struct cell *c)
{
	return false;
}

/* ---- [1] 9.2.3.2: stores in order, loads in order ---------------------- */

static void mp0(struct cell *c)
{
	c->x = 1;
	c->y = 1;
}

static void mp1(struct cell *c)
{
	c->r[0] = c->y;
	c->r[1] = c->x;
}

static bool second_without_first(const struct cell *c)
{
	return c->r[0] && !c->r[1];
}

/* The same from a string store, whose stores may pass each other, to a store
 * behind it, which may not pass them: 9.2.4.1. */
static void string0(struct cell *c)
{
	volatile u32 *at = &c->x;
	ulong count = 1;

	__asm__ volatile("rep stosl; movl $1, %2"
			 : "+D"(at), "+c"(count), "=m"(c->y)
			 : "a"(1)
			 : "memory");
}

/* ---- [1] 9.2.3.3: a store does not pass an older load ------------------ */

static void lb0(struct cell *c)
{
	c->r[0] = c->x;
	c->y = 1;
}

static void lb1(struct cell *c)
{
	c->r[1] = c->y;
	c->x = 1;
}

static bool both_seen(const struct cell *c)
{
	return c->r[0] && c->r[1];
}

/* ---- [1] 9.2.3.7: all others see two CPUs' stores in one order --------- */

static void iriw0(struct cell *c)
{
	c->x = 1;
}

static void iriw1(struct cell *c)
{
	c->r[0] = c->x;
	c->r[1] = c->y;
}

static void iriw2(struct cell *c)
{
	c->y = 1;
}

static void iriw3(struct cell *c)
{
	c->r[2] = c->y;
	c->r[3] = c->x;
}

static bool two_orders(const struct cell *c)
{
	return c->r[0] && !c->r[1] && c->r[2] && !c->r[3];
}

static const struct litmus litmuses[] = {
	{"SB", 2, {sb0, sb1}, nothing},
	{"SB, mfence", 2, {sb0_mfence, sb1_mfence}, both_missed},
	{"SB, locked", 2, {sb0_locked, sb1_locked}, both_missed},
	{"MP", 2, {mp0, mp1}, second_without_first},
	{"MP, string", 2, {string0, mp1}, second_without_first},
	{"LB", 2, {lb0, lb1}, both_seen},
	{"IRIW", 4, {iriw0, iriw1, iriw2, iriw3}, two_orders},
};

static void clear(struct cell *c)
{
	c->x = c->y = 0;
	for (unsigned i = 0; i < 4; i++)
		c->r[i] = 0;
}

static void play(const struct litmus *litmus, unsigned index)
{
	for (unsigned round = 0; round < ROUNDS; round += BATCH) {
		barrier();
		if (index >= litmus->cpus)
			continue;
		for (unsigned i = 0; i < BATCH; i++)
			litmus->part[index](&cells[round + i]);
	}
	barrier();
}

static void check(const struct litmus *litmus)
{
	unsigned bad = 0, missed = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		bad += litmus->forbidden(&cells[i]);
		missed += both_missed(&cells[i]);
		clear(&cells[i]);
	}
	if (!expect_eq(bad, 0))
		print("  %s\n", litmus->name);
	if (litmus->forbidden == nothing)
		print("%s: %u of %u passed a store\n", litmus->name, missed,
		      ROUNDS);
}

static void play_all(unsigned index)
{
	for (unsigned i = 0; i < ARRAY_SIZE(litmuses); i++) {
		if (litmuses[i].cpus > smp_count())
			continue;
		play(&litmuses[i], index);
		if (index == 0)
			check(&litmuses[i]);
		barrier();
	}
}

/* ---- translations ------------------------------------------------------ */

static struct paging paging;
static ulong mapped_page;
static volatile u32 flushed, stop, faults, writes;
static volatile u32 *const window = (u32 *)TEST_BASE;

static void on_flush(struct frame *frame)
{
	page_flush(window);
	__atomic_add_fetch(&flushed, 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

/* Another CPU's access while the page is away: until it is back. */
static void on_fault(struct frame *frame)
{
	expect_eq(cr2_read() & ~0xffful, TEST_BASE);
	__atomic_add_fetch(&faults, 1, __ATOMIC_SEQ_CST);
	irq_enable();
	while (!(paging_get(&paging, TEST_BASE, 1) & PTE_P))
		cpu_pause();
	irq_disable();
}

static void write_window(unsigned index)
{
	irq_enable();
	while (!stop) {
		window[index] = window[index] + 1;
		writes++;
	}
	irq_disable();
}

static void shoot_down(unsigned others)
{
	flushed = 0;
	page_flush(window);
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | FLUSH);
	while (flushed < others)
		cpu_pause();
}

static u32 sum(unsigned others)
{
	const volatile u32 *page = (u32 *)mapped_page;
	u32 total = 0;

	for (unsigned i = 1; i <= others; i++)
		total += page[i];
	return total;
}

static volatile u64 *entry_of(ulong gva)
{
	ulong table = paging.root;

	for (int level = 4; level > 1; level--) {
		ulong index = gva >> (3 + 9 * level) & 511;

		table = ((volatile u64 *)table)[index] & 0x000ffffffffff000ul;
	}
	return &((volatile u64 *)table)[gva >> 12 & 511];
}

/* [1] 4.10.5: after the last CPU has invalidated, nobody uses the old entry;
 * and 4.8: who has written has set the dirty bit in the entry before it was
 * taken away. */
static void test_shootdown(unsigned others)
{
	volatile u64 *entry = entry_of(TEST_BASE);
	u32 total = 0, late = 0, clean = 0;

	for (unsigned i = 0; i < REMAPS; i++) {
		u64 old = __atomic_exchange_n(entry, 0, __ATOMIC_SEQ_CST);
		u32 now;

		shoot_down(others);
		now = sum(others);
		for (unsigned wait = 0; wait < 100; wait++)
			cpu_pause();
		late += sum(others) != now;
		clean += now != total && !(old & PTE_D);
		total = now;
		*entry = mapped_page | PTE_P | PTE_W;
		for (unsigned wait = 0; wait < 100; wait++)
			cpu_pause();
	}
	expect_eq(late, 0);
	expect_eq(clean, 0);
	stop = true;
	smp_wait();
	expect(writes > 0);
	expect(faults > 0);
}

static void work(unsigned index)
{
	play_all(index);
	write_window(index);
}

int main(void)
{
	unsigned others = smp_count() - 1;

	pic_mask_all();
	cells = pages_alloc((ROUNDS * sizeof(struct cell) + 4095) / 4096);
	paging_boot(&paging);
	mapped_page = (ulong)page_alloc();
	paging_map(&paging, TEST_BASE, 1, mapped_page | PTE_P | PTE_W);
	handler_set(FLUSH, on_flush);
	handler_set(PF, on_fault);
	if (!smp_start(work))
		return 0;
	play_all(0);
	test_shootdown(others);
	return 0;
}
