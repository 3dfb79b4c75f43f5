/* SPDX-License-Identifier: Apache-2.0 */
/* The LAPIC's timer: [4]. */
#include "timers.h"

enum {
	COUNT = 2000000,
	PERIODIC = 0x20000,
	DEADLINE = 0x40000,
	MASKED = 0x10000,
	DIVIDE_1 = 0xb,
	DIVIDE_2 = 0,
	DIVIDE_128 = 0xa,
	MSR_TSC_DEADLINE = 0x6e0,
	FEATURE_DEADLINE = 24,
};

static u32 current(void)
{
	return apic_read(APIC_TIMER_CURRENT);
}

/* A count of 0 stops the timer; one that had run out by then tells nothing. */
static void test_stop(void)
{
	unsigned before, tries = 0;

	do {
		before = ticks;
		apic_write(APIC_TIMER_INITIAL, COUNT);
		apic_write(APIC_TIMER_INITIAL, 0);
		expect_eq(current(), 0);
		drain();
	} while (ticks != before && ++tries < TRIES);
	irq_enable();
	pit_wait(20000);
	irq_disable();
	expect_eq(ticks, before);
}

static void test_one_shot(void)
{
	u32 first, second;

	handler_set(TIMER, tick_apic);
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_1);
	apic_write(APIC_LVT_TIMER, TIMER);
	ticks = 0;
	apic_write(APIC_TIMER_INITIAL, COUNT);
	first = current();
	second = current();
	expect(first <= COUNT && second <= first);
	wait_ticks(1);
	expect_eq(current(), 0);
	expect_eq(apic_read(APIC_TIMER_INITIAL), COUNT);
	irq_enable();
	pit_wait(20000);
	irq_disable();
	expect_eq(ticks, 1);
	test_stop();
	ticks = 1;
	/* Masked, it counts all the same, and its tick is lost. */
	apic_write(APIC_LVT_TIMER, TIMER | MASKED);
	apic_write(APIC_TIMER_INITIAL, 1000);
	while (current())
		;
	apic_write(APIC_LVT_TIMER, TIMER);
	irq_enable();
	pit_wait(2000);
	irq_disable();
	expect_eq_lax("timer-masked", ticks, 1, 2);
}

/* Count and TSC of one PIT interval; once more where the host was away between
 * the two. */
static void count_both(u64 *counted, u64 *tsc)
{
	u64 start, begun, end, read;
	unsigned tries = 0;

	do {
		start = tsc_read();
		apic_write(APIC_TIMER_INITIAL, ~0u);
		begun = tsc_read();
		pit_wait(20000);
		end = tsc_read();
		*counted = ~0u - current();
		read = tsc_read();
		*tsc = read - start;
	} while ((begun - start + read - end) * 50 > *tsc && ++tries < 200);
}

/* The count that runs in one PIT interval, by divisor. */
static void test_divide(void)
{
	u64 counted[3], tsc[3];
	static const u8 divide[] = {DIVIDE_1, DIVIDE_2, DIVIDE_128};

	apic_write(APIC_LVT_TIMER, TIMER | MASKED);
	for (unsigned i = 0; i < 3; i++) {
		apic_write(APIC_TIMER_DIVIDE, divide[i]);
		count_both(&counted[i], &tsc[i]);
	}
	expect(about(counted[0], tsc[0], 2 * counted[1], tsc[1], 10));
	expect(about(counted[0], tsc[0], 128 * counted[2], tsc[2], 10));
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_1);
	apic_write(APIC_TIMER_INITIAL, 0);
}

/* Ten periods take no less than that, measured against one long count. */
static bool periods_hold(void)
{
	u64 start, took;
	u32 count;

	apic_write(APIC_LVT_TIMER, TIMER | PERIODIC);
	ticks = 0;
	apic_write(APIC_TIMER_INITIAL, COUNT);
	start = tsc_read();
	wait_ticks(10);
	took = tsc_read() - start;
	count = current();
	expect(count <= COUNT);
	apic_write(APIC_TIMER_INITIAL, 0);
	drain();
	apic_write(APIC_LVT_TIMER, TIMER);
	ticks = 0;
	apic_write(APIC_TIMER_INITIAL, 10 * COUNT);
	start = tsc_read();
	wait_ticks(1);
	start = tsc_read() - start;
	expect_eq(ticks, 1);
	return took * 10 >= start * 5;
}

/* Once more where the host was away in the long one. */
static void test_periodic(void)
{
	unsigned tries = 0;

	while (tries < TRIES && !periods_hold())
		tries++;
	expect(tries < TRIES);
}

/* 0 takes a deadline back; once more where it had passed by then. */
static void test_no_deadline(void)
{
	unsigned before, tries = 0;
	u64 deadline, have;

	do {
		before = ticks;
		deadline = tsc_read() + 20000000;
		msr_write(MSR_TSC_DEADLINE, deadline);
		have = msr_read(MSR_TSC_DEADLINE);
		msr_write(MSR_TSC_DEADLINE, 0);
		drain();
	} while (ticks != before && ++tries < TRIES);
	expect_eq(have, deadline);
	irq_enable();
	while (tsc_read() < deadline + 10000000)
		;
	irq_disable();
	expect_eq(ticks, before);
}

static void test_deadline(void)
{
	u64 deadline;

	if (!(cpuid(1, 0).ecx & BIT(FEATURE_DEADLINE))) {
		skip("deadline");
		return;
	}
	/* In another mode the MSR reads 0 and ignores writes. */
	apic_write(APIC_LVT_TIMER, TIMER);
	msr_write(MSR_TSC_DEADLINE, tsc_read() + 1000);
	expect_eq(msr_read(MSR_TSC_DEADLINE), 0);
	apic_write(APIC_LVT_TIMER, TIMER | DEADLINE);
	__asm__ volatile("mfence" : : : "memory");
	ticks = 0;
	for (unsigned i = 1; i <= 5; i++) {
		deadline = tsc_read() + 5000000;
		msr_write(MSR_TSC_DEADLINE, deadline);
		wait_ticks(i);
		expect(tsc_read() >= deadline);
		expect_eq(msr_read(MSR_TSC_DEADLINE), 0);
	}
	/* The initial count does nothing here. */
	apic_write(APIC_TIMER_INITIAL, 1000);
	expect_eq(current(), 0);
	test_no_deadline();
	/* One in the past comes at once. */
	ticks = 0;
	msr_write(MSR_TSC_DEADLINE, 1);
	wait_ticks(1);
	/* A change of mode disarms it. */
	msr_write(MSR_TSC_DEADLINE, tsc_read() + 10000000);
	apic_write(APIC_LVT_TIMER, TIMER);
	apic_write(APIC_LVT_TIMER, TIMER | DEADLINE);
	expect_eq(msr_read(MSR_TSC_DEADLINE), 0);
	apic_write(APIC_LVT_TIMER, MASKED);
}

/* The TSC does not go back, and can be set. */
static void test_tsc(void)
{
	u64 last = tsc_read(), now;

	for (unsigned i = 0; i < 10000; i++) {
		now = tsc_read();
		expect(now >= last);
		last = now;
	}
}

void test_lapic(void)
{
	test_one_shot();
	test_divide();
	test_periodic();
	test_deadline();
	test_tsc();
}
