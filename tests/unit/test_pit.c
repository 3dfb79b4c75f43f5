/* SPDX-License-Identifier: Apache-2.0 */
/* The 8254 as a device: ports, latches, port 0x61, IRQ 0 in guest time. */
#include "unit.h"

#include <string.h>

#include "vm_fixture.h"

enum { CH0 = 0x40, CH1 = 0x41, CH2 = 0x42, CONTROL = 0x43, PORT61 = 0x61 };

/* 105 ticks are 88000 ns; the first ns of a tick. */
static u64 tick_ns(u64 tick)
{
	return (tick * 88000 + 104) / 105;
}

struct board {
	struct vm *vm;
	unsigned rises;
	u64 last_rise_ns;
	bool level;
};

static void board_set(void *engine_vm, unsigned gsi, bool level)
{
	struct board *b = engine_vm;

	assert_int_equal(gsi, 0);
	if (level && !b->level) {
		b->rises++;
		b->last_rise_ns = clock_ns(&b->vm->clock);
	}
	b->level = level;
}

static const struct irq_engine_ops board_irq = {.set = board_set};

static int setup(void **state)
{
	static struct board board;

	board = (struct board){.vm = fixture_vm(1)};
	board.vm->irq.engine = &board_irq;
	board.vm->irq.engine_vm = &board;
	fixture_device(board.vm, "pit", NULL);
	*state = &board;
	return 0;
}

static int teardown(void **state)
{
	struct board *b = *state;

	vm_destroy(b->vm);
	return 0;
}

static void program(struct vm *vm, unsigned ch, u8 control, u16 count)
{
	fixture_outb(vm, CONTROL, control);
	fixture_outb(vm, CH0 + ch, count & 0xff);
	fixture_outb(vm, CH0 + ch, count >> 8);
}

static u16 read16(struct vm *vm, unsigned ch)
{
	u16 low = fixture_inb(vm, CH0 + ch);

	return low | fixture_inb(vm, CH0 + ch) << 8;
}

static void test_one_shot(void **state)
{
	struct board *b = *state;

	fixture_time(b->vm, tick_ns(50));
	program(b->vm, 0, 0x30, 1000);
	assert_false(b->level);
	fixture_time(b->vm, tick_ns(50 + 1 + 1000) - 1);
	assert_int_equal(b->rises, 0);
	assert_int_equal(read16(b->vm, 0), 1);
	fixture_time(b->vm, tick_ns(50 + 1 + 1000));
	assert_int_equal(b->rises, 1);
	assert_int_equal(read16(b->vm, 0), 0);
	/* It goes on counting, silently. */
	fixture_time(b->vm, tick_ns(50 + 1 + 1000) + 5 * NS_PER_SEC);
	assert_int_equal(b->rises, 1);
	assert_int_equal(b->vm->timers.count, 0);
}

/* A guest that trusts in firmware for the mode. */
static void test_no_control_word(void **state)
{
	struct board *b = *state;

	fixture_time(b->vm, 5 * NS_PER_SEC);
	assert_int_equal(b->rises, 0);
	assert_int_equal(b->vm->timers.count, 0);
	for (unsigned i = 0; i < 3; i++) {
		u64 now = clock_ns(&b->vm->clock) * 105 / 88000;

		fixture_outb(b->vm, CH0, 0xe8);
		fixture_outb(b->vm, CH0, 0x03);
		fixture_time(b->vm, tick_ns(now + 1 + 1000) - 1);
		assert_int_equal(b->rises, i);
		fixture_time(b->vm, tick_ns(now + 1 + 1000));
		assert_int_equal(b->rises, i + 1);
	}
}

/* Mode 0: the low byte of a new count stops the old one, OUT falls. */
static void test_half_count(void **state)
{
	struct board *b = *state;

	program(b->vm, 0, 0x30, 1000);
	fixture_time(b->vm, tick_ns(1 + 300));
	fixture_outb(b->vm, CH0, 50);
	fixture_time(b->vm, tick_ns(5000));
	assert_int_equal(read16(b->vm, 0), 700);
	assert_int_equal(b->rises, 0);
	fixture_outb(b->vm, CH0, 0);
	fixture_time(b->vm, tick_ns(5000 + 1 + 50));
	assert_int_equal(b->rises, 1);
	fixture_outb(b->vm, CH0, 50);
	assert_false(b->level);
}

/* 100 Hz for an hour: 11932 ticks each, and not a tick off at the end. */
static void test_no_drift(void **state)
{
	struct board *b = *state;
	const u64 n = 11932, turns = 360000;

	program(b->vm, 0, 0x34, n);
	b->rises = 0;
	fixture_time(b->vm, tick_ns(1 + n * turns) - 1);
	assert_int_equal(b->rises, turns - 1);
	fixture_time(b->vm, tick_ns(1 + n * turns));
	assert_int_equal(b->rises, turns);
	assert_int_equal(b->last_rise_ns, tick_ns(1 + n * turns));
}

static void test_square_rate(void **state)
{
	struct board *b = *state;

	program(b->vm, 0, 0x36, 1001);
	b->rises = 0;
	fixture_time(b->vm, tick_ns(1 + 1001 * 10));
	assert_int_equal(b->rises, 10);
	/* A new count takes over at the end of the half under way. */
	fixture_outb(b->vm, CH0, 100);
	fixture_outb(b->vm, CH0, 0);
	fixture_time(b->vm, tick_ns(1 + 1001 * 10 + 501 + 50));
	assert_int_equal(b->rises, 11);
	fixture_time(b->vm, tick_ns(1 + 1001 * 10 + 501 + 50 + 100));
	assert_int_equal(b->rises, 12);
}

/* Edges that came while nobody ran become one. */
static void test_late(void **state)
{
	struct board *b = *state;

	program(b->vm, 0, 0x34, 1000);
	b->rises = 0;
	b->vm->clock.paused_tsc = tick_ns(1 + 1000 * 7 + 3);
	fixture_time(b->vm, tick_ns(1 + 1000 * 7 + 3));
	assert_int_equal(b->rises, 1);
	fixture_time(b->vm, tick_ns(1 + 1000 * 8));
	assert_int_equal(b->rises, 2);
	/* Seen by a read before the timer: reported once. */
	b->vm->clock.paused_tsc = tick_ns(1 + 1000 * 9);
	read16(b->vm, 0);
	assert_int_equal(b->rises, 3);
	fixture_time(b->vm, tick_ns(1 + 1000 * 9 + 500));
	assert_int_equal(b->rises, 3);
}

static void test_latch(void **state)
{
	struct board *b = *state;

	program(b->vm, 0, 0x34, 0x4321);
	fixture_time(b->vm, tick_ns(1 + 0x21));
	fixture_outb(b->vm, CONTROL, 0x00);
	fixture_time(b->vm, tick_ns(1 + 0x1000));
	/* A second latch does not replace the first. */
	fixture_outb(b->vm, CONTROL, 0x00);
	assert_int_equal(read16(b->vm, 0), 0x4300);
	assert_int_equal(read16(b->vm, 0), 0x3321);
}

static void test_read_back(void **state)
{
	struct board *b = *state;

	program(b->vm, 0, 0x34, 1000);
	fixture_outb(b->vm, CONTROL, 0xe2); /* status of 0: not loaded yet */
	assert_int_equal(fixture_inb(b->vm, CH0), 0xf4);
	fixture_time(b->vm, tick_ns(1 + 999));
	fixture_outb(b->vm, CONTROL, 0xc2); /* both; OUT is low */
	assert_int_equal(fixture_inb(b->vm, CH0), 0x34);
	assert_int_equal(read16(b->vm, 0), 1);
	/* Channels 1 and 2 alone. */
	fixture_outb(b->vm, CONTROL, 0x7a); /* 1: mode 5, both bytes */
	fixture_outb(b->vm, CONTROL, 0x91); /* 2: low byte, mode 0, BCD */
	fixture_outb(b->vm, CONTROL, 0xec);
	assert_int_equal(fixture_inb(b->vm, CH1), 0xfa);
	assert_int_equal(fixture_inb(b->vm, CH2), 0x51);
	assert_int_not_equal(fixture_inb(b->vm, CH0), 0xf4);
	assert_int_equal(fixture_inb(b->vm, CONTROL), 0xff);
}

static void test_byte_access(void **state)
{
	struct board *b = *state;

	fixture_outb(b->vm, CONTROL, 0x24); /* high byte only, mode 2 */
	fixture_outb(b->vm, CH0, 0x12);
	fixture_time(b->vm, tick_ns(1));
	assert_int_equal(fixture_inb(b->vm, CH0), 0x12);
	fixture_outb(b->vm, CONTROL, 0x14); /* low byte only */
	fixture_outb(b->vm, CH0, 0x80);
	fixture_time(b->vm, tick_ns(2));
	assert_int_equal(fixture_inb(b->vm, CH0), 0x80);
	fixture_time(b->vm, tick_ns(5));
	assert_int_equal(fixture_inb(b->vm, CH0), 0x7d);
}

/* As systems calibrate: channel 2 in mode 0 behind its gate, OUT in 0x61. */
static void test_speaker(void **state)
{
	struct board *b = *state;

	assert_int_equal(fixture_inb(b->vm, PORT61) & ~0x10, 0);
	fixture_outb(b->vm, PORT61, 0xfe);
	assert_int_equal(fixture_inb(b->vm, PORT61) & ~0x10, 0x0e);
	fixture_outb(b->vm, PORT61, 0);
	program(b->vm, 2, 0xb0, 500);
	fixture_time(b->vm, tick_ns(2000));
	assert_int_equal(read16(b->vm, 2), 500);
	assert_false(fixture_inb(b->vm, PORT61) & 0x20);
	fixture_outb(b->vm, PORT61, 1);
	fixture_time(b->vm, tick_ns(2499));
	assert_false(fixture_inb(b->vm, PORT61) & 0x20);
	fixture_time(b->vm, tick_ns(2500));
	assert_true(fixture_inb(b->vm, PORT61) & 0x20);
	assert_int_equal(b->rises, 0);
}

static void test_refresh(void **state)
{
	struct board *b = *state;
	unsigned toggles = 0, last = fixture_inb(b->vm, PORT61) & 0x10, now;
	u64 ns;

	for (ns = 0; ns < 1000000; ns += 1000) {
		fixture_time(b->vm, ns);
		now = fixture_inb(b->vm, PORT61) & 0x10;
		toggles += now != last;
		last = now;
	}
	assert_in_range(toggles, 65, 67); /* 15.09 us each */
}

/* Leaving a one-shot that has not expired for mode 2 raises OUT. */
static void test_mode_change(void **state)
{
	struct board *b = *state;

	program(b->vm, 0, 0x30, 60000);
	assert_false(b->level);
	fixture_outb(b->vm, CONTROL, 0x34);
	assert_true(b->level);
	assert_int_equal(b->vm->timers.count, 0);
}

static void test_save(void **state)
{
	struct board *b = *state;
	struct device *dev = device_find(b->vm, "pit0");
	struct device_blob blob, bad;
	struct err err = {0};

	program(b->vm, 0, 0x34, 1000);
	fixture_time(b->vm, tick_ns(1 + 2500));
	assert_int_equal(device_save(dev, &blob, &err), 0);
	program(b->vm, 0, 0x30, 7);
	assert_int_equal(device_load(dev, &blob, &err), 0);
	assert_int_equal(read16(b->vm, 0), 500);
	b->rises = 0;
	fixture_time(b->vm, tick_ns(1 + 3000));
	assert_int_equal(b->rises, 1);
	/* A period of 0 would divide by it. */
	bad = blob;
	memset(bad.data + 24, 0, 4);
	assert_int_not_equal(device_load(dev, &bad, &err), 0);
	assert_int_equal(read16(b->vm, 0), 1000);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_one_shot),
		CASE(test_half_count),
		CASE(test_no_control_word),
		CASE(test_no_drift),
		CASE(test_square_rate),
		CASE(test_late),
		CASE(test_latch),
		CASE(test_read_back),
		CASE(test_byte_access),
		CASE(test_speaker),
		CASE(test_refresh),
		CASE(test_mode_change),
		CASE(test_save),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
