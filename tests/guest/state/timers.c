/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers that run at the point. Afterwards each comes as often as it should
 * and not before its time; how late is the host's affair.
 */
#include "state.h"

enum {
	TICK = 0x61,
	DIVIDE_BY_4 = 1,
	ONE_SHOT = 0,
	PERIODIC = 1 << 17,
	DEADLINE = 2 << 17,
	COUNT = 25000000, /* by 4: 100 ms */
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_TSC_ADJUST = 0x3b,
};

static volatile u32 ticks;
static volatile u64 tick_tsc;

static void tick(struct frame *frame)
{
	ticks++;
	tick_tsc = tsc_read();
	apic_eoi();
}

/* Sleeps until one more has come. */
static void wait_tick(void)
{
	for (u32 seen = ticks; ticks == seen;)
		irq_wait();
}

static void start(u32 mode, u32 count)
{
	handler_set(TICK, tick);
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_4);
	apic_write(APIC_LVT_TIMER, mode | TICK);
	apic_write(APIC_TIMER_INITIAL, count);
}

/* How long a count takes is measured, by the same timer. */
void point_one_shot(void)
{
	u64 took, began;
	u32 left;

	began = tsc_read();
	start(ONE_SHOT, COUNT / 4);
	wait_tick();
	took = tick_tsc - began;
	/* Once with a look at the count, once without. */
	for (u32 i = 0; i < 2; i++) {
		began = tsc_read();
		start(ONE_SHOT, COUNT);
		reach();
		left = apic_read(APIC_TIMER_CURRENT);
		expect(left <= COUNT);
		expect_eq(apic_read(APIC_TIMER_INITIAL), COUNT);
		expect_eq(apic_read(APIC_TIMER_DIVIDE), DIVIDE_BY_4);
		wait_tick();
		expect_eq(apic_read(APIC_TIMER_CURRENT), 0);
		/* The measured one may itself have been late: no less than half
		 * of what it says. */
		if (!i)
			expect(tick_tsc > began);
		expect_eq(ticks, i + 2);
	}
	expect(took > 0);
}

void point_periodic(void)
{
	start(PERIODIC, COUNT / 8);
	wait_tick();
	reach();
	wait_tick();
	wait_tick();
	expect(ticks >= 3);
	expect_eq(apic_read(APIC_TIMER_INITIAL), COUNT / 8);
	apic_write(APIC_TIMER_INITIAL, 0);
	/* Stopped is stopped. */
	irq_enable();
	cpu_pause();
	irq_disable();
	expect_eq(apic_read(APIC_TIMER_CURRENT), 0);
}

/* The TSC says when, also where TSC_ADJUST moved it. */
static void deadline(u64 after)
{
	u64 when;

	handler_set(TICK, tick);
	apic_write(APIC_LVT_TIMER, DEADLINE | TICK);
	__asm__ volatile("mfence" : : : "memory");
	when = tsc_read() + after;
	msr_write(MSR_TSC_DEADLINE, when);
	reach();
	/* Zero, once it came. */
	expect(msr_read(MSR_TSC_DEADLINE) == when ||
	       msr_read(MSR_TSC_DEADLINE) == 0);
	wait_tick();
	expect(tick_tsc >= when);
	expect_eq(msr_read(MSR_TSC_DEADLINE), 0);
}

void point_deadline(void)
{
	if (!(cpuid(1, 0).ecx & BIT(24))) {
		skip("deadline");
		return;
	}
	deadline(200000000);
	if (cpuid(7, 0).ebx & 2) {
		msr_write(MSR_TSC_ADJUST, 1ull << 40);
		expect(tsc_read() > 1ull << 40);
		deadline(200000000);
		expect_eq(msr_read(MSR_TSC_ADJUST), 1ull << 40);
	}
	expect(ticks > 0);
}

/* ---- 8254 -------------------------------------------------------------- */

enum { PIT0 = 0x40, PIT2 = 0x42, PIT_CONTROL = 0x43, PORT_61 = 0x61, PIN = 2 };

static void pit_tick(struct frame *frame)
{
	ticks++;
	apic_eoi();
}

static void pit_start(u8 control, u16 count)
{
	outb(PIT_CONTROL, control);
	outb(PIT0, (u8)count);
	outb(PIT0, count >> 8);
}

void point_pit(void)
{
	handler_set(TICK, pit_tick);
	ioapic_route(PIN, TICK);
	/* Mode 2: again and again. */
	pit_start(0x34, 20000);
	wait_tick();
	reach();
	wait_tick();
	wait_tick();
	/* Channel 2, gate open, mode 0, at the point half read: latched. */
	outb(PORT_61, 1);
	outb(PIT_CONTROL, 0xb0);
	outb(PIT2, 0x34);
	reach();
	outb(PIT2, 0xf2);
	outb(PIT_CONTROL, 0x80);
	inb(PIT2);
	reach();
	inb(PIT2);
	expect_eq(inb(PORT_61) & 3, 1);
	/* Mode 0: once. */
	pit_start(0x30, 60000);
	ticks = 0;
	reach();
	wait_tick();
	irq_enable();
	for (u32 i = 0; i < 100; i++)
		cpu_pause();
	irq_disable();
	expect_eq(ticks, 1);
}
