/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several CPUs: they start by INIT and SIPI, see each other's stores, lose no
 * locked addition, and take interrupts from each other.
 *
 * References:
 * [1] Intel SDM 325462-080, volume 3A, 9.1 (locked operations), 9.2 (memory
 *     ordering), 11.6 (interprocessor interrupts)
 */
#include "apic.h"
#include "fault.h"
#include "smp.h"

enum { ADDS = 20000, WAKE = 0x50, NMIS = 3, CMPXCHGS = 5000 };

static volatile u32 added, swapped, ids[CPUS_MAX], woken, nmis, waiting;
static volatile bool stop;

static void wake(struct frame *frame)
{
	__atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

static void count_nmi(struct frame *frame)
{
	__atomic_add_fetch(&nmis, 1, __ATOMIC_SEQ_CST);
}

static void add_up(void)
{
	for (int i = 0; i < ADDS; i++)
		__asm__ volatile("lock incl %0" : "+m"(added) : : "cc");
	for (int i = 0; i < CMPXCHGS; i++) {
		u32 old = swapped;

		while (!__atomic_compare_exchange_n(&swapped, &old, old + 1,
						    false, __ATOMIC_SEQ_CST,
						    __ATOMIC_SEQ_CST))
			;
	}
}

static void other(unsigned index)
{
	ids[index] = apic_id();
	add_up();
	__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
	/* Asleep until the first CPU's interrupts have come. */
	while (!stop)
		irq_wait_lax();
}

static void test_ids(unsigned count)
{
	ids[0] = apic_id();
	for (unsigned i = 0; i < count; i++) {
		for (unsigned j = 0; j < i; j++)
			expect(ids[i] != ids[j]);
	}
}

/* Every sleeping CPU is woken once by each interrupt to the others. */
static void test_wake(unsigned count)
{
	for (u32 round = 1; round <= 100; round++) {
		apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | WAKE);
		while (woken < round * (count - 1))
			cpu_pause();
	}
	expect_eq(woken, 100 * (count - 1));
	for (u32 round = 1; round <= NMIS; round++) {
		apic_send(0, ICR_NMI | ICR_ASSERT | ICR_OTHERS);
		while (nmis < round * (count - 1))
			cpu_pause();
	}
	expect_eq(nmis, NMIS * (count - 1));
}

int main(void)
{
	unsigned count = smp_count();

	pic_mask_all();
	handler_set(WAKE, wake);
	handler_set(NMI, count_nmi);
	if (!smp_start(other))
		return 0;
	add_up();
	while (waiting < count - 1)
		cpu_pause();
	expect_eq(added, ADDS * count);
	expect_eq(swapped, CMPXCHGS * count);
	test_ids(count);
	test_wake(count);
	stop = true;
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | WAKE);
	smp_wait();
	expect_eq(smp_returned(), count - 1);
	return 0;
}
