/* SPDX-License-Identifier: Apache-2.0 */
/* The RTC's three interrupts: [5]. */
#include "timers.h"

enum {
	SECONDS_ALARM = 1,
	MINUTES_ALARM = 3,
	HOURS_ALARM = 5,
	REG_A = 10,
	REG_B = 11,
	REG_C = 12,
	REG_D = 13,
	RATE_1024 = 0x26,
	B_24H = 2,
	B_UPDATE = 0x10,
	B_ALARM = 0x20,
	B_PERIODIC = 0x40,
	C_IRQ = 0x80,
	ANY = 0xff,
	PIN = 8,
};

static volatile u8 causes;

static u8 rtc_read(u8 reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

static void rtc_write(u8 reg, u8 val)
{
	outb(0x70, reg);
	outb(0x71, val);
}

/* Reading C ends the interrupt at the chip. */
static void on_rtc(struct frame *frame)
{
	causes = rtc_read(REG_C);
	tick_apic(frame);
}

/* What the last cause has left on its way is taken first. */
static void enable(u8 what)
{
	rtc_write(REG_B, B_24H);
	rtc_read(REG_C);
	drain();
	ticks = 0;
	rtc_write(REG_B, B_24H | what);
}

static void test_periodic(void)
{
	u32 start = inl(PM_TIMER);

	rtc_write(REG_A, RATE_1024);
	enable(B_PERIODIC);
	wait_ticks(1);
	start = inl(PM_TIMER);
	ticks = 0;
	wait_ticks(20);
	expect_eq(causes & (C_IRQ | B_PERIODIC), C_IRQ | B_PERIODIC);
	/* 20 in 19.5 ms, of 3579545 / 1024 each; none of them early. */
	expect(inl(PM_TIMER) - start >= 18 * 3495);
}

static void test_update(void)
{
	u8 second;

	enable(B_UPDATE);
	wait_ticks(1);
	second = rtc_read(0);
	expect_eq(causes & (C_IRQ | B_UPDATE), C_IRQ | B_UPDATE);
	/* Again in a second, and not before the seconds go on. */
	wait_ticks(2);
	expect(rtc_read(0) != second);
}

static void test_alarm(void)
{
	rtc_write(SECONDS_ALARM, ANY);
	rtc_write(MINUTES_ALARM, ANY);
	rtc_write(HOURS_ALARM, ANY);
	enable(B_ALARM);
	wait_ticks(1);
	expect_eq(causes & (C_IRQ | B_ALARM), C_IRQ | B_ALARM);
	enable(0);
}

void test_rtc(void)
{
	handler_set(TIMER, on_rtc);
	expect_eq(rtc_read(REG_D), 0x80);
	ioapic_route(PIN, (u64)apic_id() << 56 | TIMER);
	test_periodic();
	test_update();
	test_alarm();
	ioapic_route(PIN, 0x10000);
	/* [6]: a counter of 24 or 32 bits that runs. */
	for (u32 start = inl(PM_TIMER), now = start; now == start;)
		now = inl(PM_TIMER);
}
