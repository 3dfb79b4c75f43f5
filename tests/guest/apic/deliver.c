/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets an interrupt: [1] 11.6. Several CPUs, in xAPIC and x2APIC mode. */
#include "apic_test.h"

enum { LOWEST = 0x100 };

static volatile bool stop, x2;
static volatile u32 waiting;

static unsigned index_of(u32 id)
{
	for (unsigned i = 0; i < smp_count(); i++) {
		if (ids[i] == id)
			return i;
	}
	return CPUS_MAX - 1;
}

static void on_one(struct frame *frame)
{
	__atomic_add_fetch(&hits[index_of(apic_id())], 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

static void on_wake(struct frame *frame)
{
	apic_eoi();
}

/* Flat logical IDs in xAPIC mode. */
static void set_up(unsigned index)
{
	if (x2)
		apic_set_x2(true);
	ids[index] = apic_id();
	if (!x2) {
		apic_write(APIC_DFR, 0xffffffff);
		apic_write(APIC_LDR, 1u << (24 + index));
	}
}

static void other(unsigned index)
{
	set_up(index);
	__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
	while (!stop)
		irq_wait();
}

/* Sends, and waits for that many to arrive; then a little for more. */
static void send(u32 dest, u32 icr, unsigned expected)
{
	hits_reset();
	apic_send(dest, ICR_ASSERT | ONE | icr);
	for (unsigned i = 0; i < 20000000 && hits_total() < expected; i++) {
		drain();
		cpu_pause();
	}
	for (unsigned i = 0; i < 200; i++)
		drain();
	expect_eq(hits_total(), expected);
}

static void test_physical(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		send(ids[i], ICR_FIXED, 1);
		expect_eq(hits[i], 1);
	}
	send(x2 ? 0xffffffff : 0xff, ICR_FIXED, count);
	send(0x7f, ICR_FIXED, 0);
}

static void test_shorthands(unsigned count)
{
	send(0, ICR_FIXED | ICR_SELF, 1);
	expect_eq(hits[0], 1);
	send(0, ICR_FIXED | ICR_ALL, count);
	send(0, ICR_FIXED | ICR_OTHERS, count - 1);
	expect_eq(hits[0], 0);
}

static u32 logical(unsigned index)
{
	if (x2)
		return (ids[index] >> 4) << 16 | 1u << (ids[index] & 15);
	return 1u << index;
}

/* [1] 11.6.2.2: a set of CPUs; lowest priority is one of the set. */
static void test_logical(unsigned count)
{
	for (u32 set = 0; set < 1u << count; set++) {
		unsigned members = 0;
		u32 dest = 0;

		for (unsigned i = 0; i < count; i++) {
			if (set >> i & 1) {
				dest |= logical(i);
				members++;
			}
		}
		send(dest, ICR_LOGICAL | ICR_FIXED, members);
		for (unsigned i = 0; i < count; i++)
			expect_eq(hits[i], set >> i & 1);
		send(dest, ICR_LOGICAL | LOWEST, members ? 1 : 0);
		for (unsigned i = 0; i < count; i++)
			expect(set >> i & 1 || !hits[i]);
	}
}

/* [1] 11.6.2.4: by task priority. This CPU's is raised, so another is chosen
 * where there is one. */
static void test_lowest(unsigned count)
{
	if (count < 2)
		return;
	apic_write(APIC_TPR, 0x20);
	for (unsigned i = 0; i < 16; i++) {
		send(logical(0) | logical(1), ICR_LOGICAL | LOWEST, 1);
		expect_eq_lax("lowest-priority", hits[0], 0, 1);
	}
	apic_write(APIC_TPR, 0);
}

/* [1] 11.6.2.2: cluster model, xAPIC only: high half the cluster's number. */
static void test_cluster(void)
{
	apic_write(APIC_DFR, 0x0fffffff);
	apic_write(APIC_LDR, 0x32u << 24);
	/* The others have the flat model, and are members of nothing. */
	send(0x32, ICR_LOGICAL | ICR_FIXED | ICR_SELF, 1);
	hits_reset();
	apic_send(0x3f, ICR_LOGICAL | ICR_ASSERT | ONE);
	for (unsigned i = 0; i < 200; i++)
		drain();
	expect_eq(hits[0], 1);
	hits_reset();
	apic_send(0x42, ICR_LOGICAL | ICR_ASSERT | ONE);
	apic_send(0x31, ICR_LOGICAL | ICR_ASSERT | ONE);
	for (unsigned i = 0; i < 200; i++)
		drain();
	expect_eq(hits[0], 0);
	apic_write(APIC_DFR, 0xffffffff);
}

static void run(bool in_x2)
{
	unsigned count = smp_count();

	x2 = in_x2;
	stop = false;
	waiting = 0;
	if (!smp_start(other))
		return;
	set_up(0);
	while (waiting < count - 1)
		cpu_pause();
	test_physical(count);
	test_shorthands(count);
	test_logical(count);
	test_lowest(count);
	stop = true;
	/* Once: between looking at it and HLT a CPU takes no interrupt. */
	apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | WAKE);
	while (lax("vmrun-shadow") && smp_returned() + 1 < count) {
		apic_send(0, ICR_FIXED | ICR_ASSERT | ICR_OTHERS | WAKE);
		for (unsigned i = 0; i < 100000; i++)
			cpu_pause();
	}
	smp_wait();
	if (!x2)
		test_cluster();
}

void test_deliver(void)
{
	handler_set(ONE, on_one);
	handler_set(WAKE, on_wake);
	run(false);
	if (cpuid(1, 0).ecx & BIT(21))
		run(true);
	apic_set_x2(false);
}
