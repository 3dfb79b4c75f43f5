/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MC146818A, after [1] its data sheet, on a VM whose clock the test moves.
 * Expected dates come from the C library.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "irq_record.h"
#include "vm_fixture.h"

enum { SEC, SEC_ALARM, MIN, MIN_ALARM, HOUR, HOUR_ALARM, WDAY, DAY, MONTH };
enum { YEAR = 9, A, B, C, D, CENTURY = 0x32, IRQ = 8 };
enum { PIE = 0x40, AIE = 0x20, UIE = 0x10, BIN = 0x04, H24 = 0x02 };

#define SECOND NS_PER_SEC

struct bench {
	struct vm *vm;
	struct device *dev;
	struct irq_record irq;
};

static u8 rtc(struct bench *b, unsigned reg)
{
	fixture_outb(b->vm, 0x70, (u8)reg);
	return fixture_inb(b->vm, 0x71);
}

static void set(struct bench *b, unsigned reg, unsigned val)
{
	fixture_outb(b->vm, 0x70, (u8)reg);
	fixture_outb(b->vm, 0x71, (u8)val);
}

static void later(struct bench *b, u64 ns)
{
	fixture_time(b->vm, clock_ns(&b->vm->clock) + ns);
}

static int setup(void **state)
{
	static struct bench b;

	b = (struct bench){.vm = fixture_vm(1)};
	irq_record_attach(&b.irq, &b.vm->irq);
	b.dev = fixture_device(b.vm, "rtc", NULL);
	fixture_time(b.vm, SECOND);
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	vm_destroy(((struct bench *)*state)->vm);
	return 0;
}

static unsigned bcd(int val)
{
	return (unsigned)(val / 10 << 4 | val % 10);
}

/* Set a date as an operating system does, binary and 24 h. */
static void set_date(struct bench *b, time_t t)
{
	struct tm tm;

	gmtime_r(&t, &tm);
	set(b, B, 0x80 | BIN | H24);
	set(b, SEC, (unsigned)tm.tm_sec);
	set(b, MIN, (unsigned)tm.tm_min);
	set(b, HOUR, (unsigned)tm.tm_hour);
	set(b, WDAY, (unsigned)tm.tm_wday + 1);
	set(b, DAY, (unsigned)tm.tm_mday);
	set(b, MONTH, (unsigned)tm.tm_mon + 1);
	set(b, YEAR, (unsigned)(tm.tm_year % 100));
	set(b, CENTURY, (unsigned)(19 + tm.tm_year / 100));
	set(b, B, BIN | H24);
	rtc(b, C);
}

static void expect_date(struct bench *b, time_t t)
{
	struct tm tm;

	gmtime_r(&t, &tm);
	assert_int_equal(rtc(b, SEC), tm.tm_sec);
	assert_int_equal(rtc(b, MIN), tm.tm_min);
	assert_int_equal(rtc(b, HOUR), tm.tm_hour);
	assert_int_equal(rtc(b, WDAY), tm.tm_wday + 1);
	assert_int_equal(rtc(b, DAY), tm.tm_mday);
	assert_int_equal(rtc(b, MONTH), tm.tm_mon + 1);
	assert_int_equal(rtc(b, YEAR), tm.tm_year % 100);
	assert_int_equal(rtc(b, CENTURY), 19 + tm.tm_year / 100);
}

/* ---- time ---- */

static void test_starts_at_wall_time(void **state)
{
	struct bench *b = *state;

	/* 2024-02-29 23:59:58 UTC at guest ns 0; BCD, 24 h as a BIOS has it */
	b->vm->clock.wall_offset_ns = 1709251198 * SECOND;
	assert_int_equal(rtc(b, C), 0x00); /* the jump is no event */
	assert_int_equal(rtc(b, A), 0x26);
	assert_int_equal(rtc(b, B), 0x02);
	assert_int_equal(rtc(b, D), 0x80);
	assert_int_equal(rtc(b, HOUR), 0x23);
	assert_int_equal(rtc(b, MIN), 0x59);
	assert_int_equal(rtc(b, SEC), 0x59);
	assert_int_equal(rtc(b, WDAY), 5);
	later(b, SECOND);
	assert_int_equal(rtc(b, SEC), 0);
	assert_int_equal(rtc(b, DAY), 0x01);
	assert_int_equal(rtc(b, MONTH), 0x03);
	assert_int_equal(rtc(b, YEAR), 0x24);
	assert_int_equal(rtc(b, CENTURY), 0x20);
}

static void test_dates(void **state)
{
	struct bench *b = *state;
	u32 seed = 7;

	for (int i = 0; i < 2000; i++) {
		/* 1970 to 2242 */
		time_t t = (time_t)fixture_random(&seed) * 2 + i % 2;

		set_date(b, t);
		expect_date(b, t);
		later(b, SECOND);
		expect_date(b, t + 1);
	}
	set_date(b, 4107542399); /* 2100-02-28 23:59:59: no leap year */
	later(b, SECOND);
	assert_int_equal(rtc(b, DAY), 1);
	assert_int_equal(rtc(b, MONTH), 3);
}

static void test_formats(void **state)
{
	struct bench *b = *state;

	for (int hour = 0; hour < 24; hour++) {
		int twelve = (hour + 11) % 12 + 1;
		unsigned pm = hour >= 12 ? 0x80 : 0;

		set_date(b, 86400 * 365 + hour * 3600 + 35 * 60);
		assert_int_equal(rtc(b, HOUR), hour);
		set(b, B, BIN);
		assert_int_equal(rtc(b, HOUR), (unsigned)twelve | pm);
		set(b, B, H24);
		assert_int_equal(rtc(b, HOUR), bcd(hour));
		assert_int_equal(rtc(b, MIN), 0x35);
		set(b, B, 0);
		assert_int_equal(rtc(b, HOUR), bcd(twelve) | pm);
		/* And back the same way. */
		set(b, HOUR, bcd(twelve) | pm);
		set(b, B, BIN | H24);
		assert_int_equal(rtc(b, HOUR), hour);
	}
}

static void test_set_stops_the_clock(void **state)
{
	struct bench *b = *state;

	set_date(b, 1000000);
	later(b, SECOND / 4);
	set(b, B, 0x80 | BIN | H24);
	later(b, 10 * SECOND);
	expect_date(b, 1000000);
	set(b, SEC, 50);
	assert_int_equal(rtc(b, SEC), 50);
	set(b, B, BIN | H24);
	assert_int_equal(rtc(b, SEC), 50);
	/* Its place within the second stayed: 1/4 s over. */
	later(b, SECOND * 3 / 4 - 1);
	assert_int_equal(rtc(b, SEC), 50);
	later(b, 1);
	assert_int_equal(rtc(b, SEC), 51);
}

static void test_divider_reset(void **state)
{
	struct bench *b = *state;

	set_date(b, 1000000);
	set(b, A, 0x76);
	later(b, 10 * SECOND);
	expect_date(b, 1000000);
	set(b, A, 0x26);
	later(b, SECOND / 2 - 1);
	expect_date(b, 1000000);
	later(b, 1);
	expect_date(b, 1000001);
}

static void test_update_in_progress(void **state)
{
	struct bench *b = *state;
	u64 until_uip = SECOND - 2228000;

	set_date(b, 1000000); /* on a full second, as the clock was */
	assert_int_equal(rtc(b, A), 0x26);
	later(b, until_uip - 1);
	assert_int_equal(rtc(b, A), 0x26);
	later(b, 1);
	assert_int_equal(rtc(b, A), 0xa6);
	expect_date(b, 1000000);
	later(b, 2228000);
	assert_int_equal(rtc(b, A), 0x26);
	expect_date(b, 1000001);
	set(b, B, 0x80 | BIN | H24);
	later(b, until_uip);
	assert_int_equal(rtc(b, A), 0x26); /* no update while set */
}

/* ---- interrupts ---- */

static void test_flags_without_interrupts(void **state)
{
	struct bench *b = *state;

	set_date(b, 1000000);
	set(b, SEC_ALARM, 42);
	assert_int_equal(rtc(b, C), 0x00);
	later(b, SECOND / 2);
	assert_int_equal(rtc(b, C), 0x40); /* 1,024 Hz */
	later(b, SECOND / 2);
	assert_int_equal(rtc(b, C), 0x50);
	assert_int_equal(rtc(b, C), 0x00); /* reading clears */
	assert_false(b->irq.level[IRQ]);
	/* Nobody waits: nothing runs. */
	assert_int_equal(b->vm->timers.count, 0);
}

static void test_update_interrupt(void **state)
{
	struct bench *b = *state;

	set_date(b, 1000000);
	set(b, B, UIE | BIN | H24);
	later(b, SECOND - 1);
	assert_false(b->irq.level[IRQ]);
	later(b, 1);
	assert_true(b->irq.level[IRQ]);
	/* Signalled once, it needs no timer until it is read. */
	assert_int_equal(b->vm->timers.count, 0);
	later(b, 3 * SECOND);
	assert_int_equal(b->irq.edges[IRQ], 1);
	assert_int_equal(rtc(b, C), 0xd0);
	assert_false(b->irq.level[IRQ]);
	later(b, SECOND);
	assert_int_equal(b->irq.edges[IRQ], 2);
	/* The line is up: the other events need no timer either. */
	set(b, B, UIE | PIE | AIE | BIN | H24);
	assert_int_equal(b->vm->timers.count, 0);
	set(b, B, 0x80 | UIE | BIN | H24); /* SET clears UIE */
	assert_int_equal(rtc(b, B), 0x80 | BIN | H24);
}

static struct bench *slow_bench;
static u64 slow_ns;

/* A host that is away once, as the chip looks at its line. */
static void slow_line(void *arg, unsigned gsi, bool level)
{
	struct vm_clock *clock = &slow_bench->vm->clock;

	clock->paused_tsc += slow_ns;
	slow_ns = 0;
	irq_record_set(arg, gsi, level);
}

/* The next period begins while register C is read: that is an edge of its own,
 * without which no interrupt would ever come again. */
static void test_event_while_reading(void **state)
{
	static const struct irq_engine_ops ops = {.set = slow_line};
	struct bench *b = *state;

	slow_bench = b;
	b->vm->irq.engine = &ops;
	set(b, A, 0x26);
	set(b, B, PIE | BIN | H24);
	rtc(b, C);
	b->irq.edges[IRQ] = 0;
	later(b, SECOND / 1024 + 1);
	assert_true(b->irq.level[IRQ]);
	slow_ns = SECOND / 1024;
	assert_int_equal(rtc(b, C), 0xc0);
	later(b, SECOND / 1024);
	assert_true(b->irq.level[IRQ]);
	assert_int_equal(b->irq.edges[IRQ], 2);
}

static void test_periodic_rates(void **state)
{
	static const unsigned hz[16] = {0,    256, 128, 8192, 4096, 2048,
					1024, 512, 256, 128,  64,   32,
					16,   8,   4,	2};
	struct bench *b = *state;

	for (unsigned rate = 0; rate < 16; rate++) {
		u64 end;

		set(b, A, 0x20 | rate);
		set(b, B, PIE | BIN | H24);
		rtc(b, C);
		b->irq.edges[IRQ] = 0;
		end = clock_ns(&b->vm->clock) + SECOND;
		while (clock_ns(&b->vm->clock) < end) {
			u64 next = b->vm->timers.count
					   ? b->vm->timers.heap[0]->deadline_ns
					   : end;

			fixture_time(b->vm, min_u64(next, end));
			rtc(b, C);
		}
		assert_int_equal(b->irq.edges[IRQ], hz[rate]);
		set(b, B, BIN | H24);
		assert_int_equal(b->vm->timers.count, 0);
	}
}

/* Seconds until an alarm fires, at most a day and a bit. */
static unsigned alarm_after(struct bench *b)
{
	unsigned i;

	set(b, B, AIE | BIN | H24);
	rtc(b, C);
	for (i = 0; i < 90000 && !b->irq.level[IRQ]; i++)
		later(b, SECOND);
	set(b, B, BIN | H24);
	rtc(b, C);
	return i;
}

static void test_alarm(void **state)
{
	static const struct {
		u8 hour, min, sec;
		unsigned after; /* from 10:20:30 */
	} cases[] = {
		{10, 20, 31, 1},       {10, 20, 30, 86400},
		{10, 20, 29, 86399},   {10, 21, 0, 30},
		{9, 0, 0, 81570},      {0xff, 21, 0, 30},
		{0xff, 20, 30, 3600},  {0xff, 0xff, 30, 60},
		{0xff, 0xff, 0xc0, 1}, {11, 0xff, 0xff, 2370},
		{0, 0, 0, 49170},      {24, 0, 0, 90000},
		{10, 60, 0, 90000},    {0xff, 0xff, 0x7f, 90000},
		{0xff, 0xff, 29, 59},  {0xff, 20, 29, 3599},
		{11, 0xff, 7, 2377},
	};
	struct bench *b = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		set_date(b, 86400 * 400 + 10 * 3600 + 20 * 60 + 30);
		set(b, HOUR_ALARM, cases[i].hour);
		set(b, MIN_ALARM, cases[i].min);
		set(b, SEC_ALARM, cases[i].sec);
		assert_int_equal(alarm_after(b), cases[i].after);
	}
}

static void test_alarm_in_bcd_pm(void **state)
{
	struct bench *b = *state;

	set_date(b, 86400 * 400 + 12 * 3600 + 59 * 60 + 59);
	set(b, B, AIE); /* BCD, 12 h */
	set(b, HOUR_ALARM, 0x81);
	set(b, MIN_ALARM, 0x00);
	set(b, SEC_ALARM, 0x10);
	rtc(b, C);
	later(b, 11 * SECOND - 1);
	assert_false(b->irq.level[IRQ]);
	later(b, 1);
	assert_true(b->irq.level[IRQ]);
	assert_int_equal(rtc(b, C) & 0xa0, 0xa0);
}

/* ---- memory and life ---- */

static void test_memory(void **state)
{
	struct bench *b = *state;

	assert_int_equal(rtc(b, 0x15) | rtc(b, 0x16) << 8, 640);
	assert_int_equal(rtc(b, 0x17) | rtc(b, 0x18) << 8, 0);
	for (unsigned i = 0x33; i < 0x80; i++)
		set(b, i, i ^ 0x5a);
	for (unsigned i = 0x33; i < 0x80; i++)
		assert_int_equal(rtc(b, i), i ^ 0x5a);
	set(b, 0x0f, 0x0a); /* shutdown status outlives a reset */
	device_reset_all(b->vm);
	assert_int_equal(rtc(b, 0x0f), 0x0a);
	assert_int_equal(rtc(b, 0x7f), 0x25);
	set(b, C, 0xff); /* for reading only */
	set(b, D, 0x00);
	assert_int_equal(rtc(b, C), 0);
	assert_int_equal(rtc(b, D), 0x80);
	assert_int_equal(fixture_inb(b->vm, 0x70), 0xff);
}

static void test_memory_sizes(void **state)
{
	static const struct {
		u64 ram;
		unsigned above_1m, above_16m, above_4g;
	} cases[] = {
		{MIB(16), 15 * 1024, 0, 0},
		{MIB(64), 63 * 1024, 48 * 16, 0},
		{MIB(2048), 0xffff, 2032 * 16, 0},
		{GIB(6), 0xffff, 3056 * 16, 3 * 16384},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench b = {.vm = fixture_vm(1)};

		mem_fini(&b.vm->mem);
		assert_int_equal(mem_init(&b.vm->mem, cases[i].ram, NULL), 0);
		fixture_device(b.vm, "rtc", NULL);
		assert_int_equal(rtc(&b, 0x30) | rtc(&b, 0x31) << 8,
				 cases[i].above_1m);
		assert_int_equal(rtc(&b, 0x34) | rtc(&b, 0x35) << 8,
				 cases[i].above_16m);
		assert_int_equal(rtc(&b, 0x5b) | rtc(&b, 0x5c) << 8 |
					 rtc(&b, 0x5d) << 16,
				 cases[i].above_4g);
		vm_destroy(b.vm);
	}
}

static void test_reset_pin(void **state)
{
	struct bench *b = *state;

	set_date(b, 1000000);
	set(b, B, UIE | PIE | AIE | 0x08 | BIN | H24);
	later(b, SECOND);
	assert_true(b->irq.level[IRQ]);
	device_reset_all(b->vm);
	assert_false(b->irq.level[IRQ]);
	assert_int_equal(rtc(b, B), BIN | H24);
	expect_date(b, 1000001);
	assert_int_equal(b->vm->timers.count, 0);
}

static void test_save_load(void **state)
{
	struct bench *b = *state;
	struct device_blob blob;
	struct err err = {0};

	set_date(b, 1000000);
	set(b, B, UIE | BIN | H24);
	fixture_outb(b->vm, 0x70, 0x80 | MIN);
	assert_int_equal(device_save(b->dev, &blob, &err), 0);
	set_date(b, 5);
	assert_int_equal(device_load(b->dev, &blob, &err), 0);
	assert_int_equal(fixture_inb(b->vm, 0x71), 1000000 / 60 % 60);
	expect_date(b, 1000000);
	later(b, SECOND);
	assert_true(b->irq.level[IRQ]);
	memset(blob.data, 0xff, blob.size);
	assert_int_equal(device_load(b->dev, &blob, &err), -EINVAL);
	expect_date(b, 1000001);
}

/* While the VM was paused wall time went on: an alarm that is not over comes
 * so much earlier, one that is over at once. */
static void test_pause(void **state)
{
	struct bench *b = *state;

	set_date(b, 1000000);
	set(b, SEC_ALARM, (1000000 + 30) % 60);
	set(b, MIN_ALARM, 0xff);
	set(b, HOUR_ALARM, 0xff);
	set(b, B, AIE | BIN | H24);
	rtc(b, C);
	later(b, SECOND);
	b->vm->clock.wall_offset_ns += 19 * SECOND;
	device_resume_all(b->vm);
	expect_date(b, 1000020);
	later(b, 9 * SECOND);
	assert_false(b->irq.level[IRQ]);
	later(b, SECOND);
	assert_true(b->irq.level[IRQ]);
	rtc(b, C);
	b->vm->clock.wall_offset_ns += 100 * SECOND;
	device_resume_all(b->vm);
	assert_true(b->irq.level[IRQ]);
}

/* Any bytes at all: the chip goes on and no host timer spins. */
static void test_nonsense(void **state)
{
	struct bench *b = *state;
	u32 seed = 99;

	for (int i = 0; i < 50000; i++) {
		set(b,
		    fixture_random(&seed) % 16 == 15
			    ? CENTURY
			    : fixture_random(&seed) % 16,
		    fixture_random(&seed) & 0xff);
		rtc(b, fixture_random(&seed) & 0x7f);
		if (i % 16 == 0)
			later(b, SECOND / 64);
	}
	set(b, A, 0x26);
	set_date(b, 1000000);
	expect_date(b, 1000000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_starts_at_wall_time),
		TEST(test_dates),
		TEST(test_formats),
		TEST(test_set_stops_the_clock),
		TEST(test_divider_reset),
		TEST(test_update_in_progress),
		TEST(test_flags_without_interrupts),
		TEST(test_update_interrupt),
		TEST(test_event_while_reading),
		TEST(test_periodic_rates),
		TEST(test_alarm),
		TEST(test_alarm_in_bcd_pm),
		TEST(test_memory),
		TEST(test_memory_sizes),
		TEST(test_reset_pin),
		TEST(test_save_load),
		TEST(test_pause),
		TEST(test_nonsense),
	};
#undef TEST

	return cmocka_run_group_tests_name("rtc", tests, NULL, NULL);
}
